//! Two processes share one journal, and one of them dies or stands still past its lease.

use std::time::Duration;

use ado_coworker::clock::Clock;
use ado_coworker::journal::{Journal, RunId};

use super::site::{SENTENCE, Site, signal};
use super::{AT_ONCE, Ending, chosen, differences, report, twin};
use crate::crash::audit::Evidence;
use crate::crash::proxy::Manner;
use futures_util::StreamExt as _;

/// Longest time until a run has ended: a lease and the work.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until a run has ended, looking at the store, because the page may stand still.
pub async fn until_finished(database: &str, id: &str) {
    let journal = Journal::open(database, Clock::Real).await.unwrap();
    let id = RunId::parse(id).unwrap();
    let end = tokio::time::Instant::now() + PATIENCE;
    while !journal.run(&id).await.unwrap().unwrap().status.is_final() {
        assert!(tokio::time::Instant::now() < end, "the other replica did not finish run {id}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What happens to the replica that holds the run.
#[derive(Clone, Copy, Debug)]
enum Misfortune {
    Killed,
    Paused,
    /// Killed when an effect is there and its answer is not.
    LosesAnswerAndDies,
}

/// The holder meets its fate at a seeded byte; the other one finishes the job.
async fn story(misfortune: Misfortune, seed: u32) -> Ending {
    let twin = twin().await;
    let mut site = Site::start().await;
    assert!(site.open().await);
    let first = site.pid();
    let offset = chosen(&format!("{misfortune:?} {seed}"), (twin.bytes / 3) as usize) as u64;
    let at = site.meter.bytes() + offset;
    if let Misfortune::LosesAnswerAndDies = misfortune {
        site.outside[0].behave(Manner::LoseAnswers("POST "));
    }
    let id = site.order(SENTENCE).await;
    let name = format!("{misfortune:?} at byte {offset}");
    while site.meter.bytes() < at && site.outside[0].lost() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    signal(if let Misfortune::Paused = misfortune { "STOP" } else { "KILL" }, first);
    site.outside[0].behave(Manner::Honest);
    site.open_replica().await;
    until_finished(&site.database(), &id).await;
    signal("CONT", first);
    let run = site.settled(&id).await;
    site.review(&run).await;
    site.close().await;
    let evidence = Evidence::of(&site, Vec::new()).await;
    let mut faults = evidence.violations();
    faults.extend(differences(&evidence, twin));
    let (deaths, resumed) = (site.fate.deaths, Vec::new());
    Ending { name, faults, deaths, resumed, ambiguous: evidence.ambiguous() }
}

async fn stories(seeds: u32) {
    let kinds = [Misfortune::Killed, Misfortune::Paused, Misfortune::LosesAnswerAndDies];
    let stories = (0..seeds).flat_map(|seed| kinds.map(|kind| story(kind, seed)));
    let endings: Vec<Ending> = futures_util::stream::iter(stories).buffer_unordered(AT_ONCE).collect().await;
    report("two replicas on one journal, one killed, paused, or cut off", endings.len(), &endings);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn another_replica_finishes_what_a_dead_or_paused_one_began() {
    stories(1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/soak.sh"]
async fn soak_replicas() {
    stories(20).await;
}
