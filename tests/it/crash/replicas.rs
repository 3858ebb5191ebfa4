//! Two processes share one journal, and one of them dies or stands still past its lease.

use std::sync::Arc;
use std::time::Duration;

use ado_coworker::clock::Clock;
use ado_coworker::journal::{Journal, RunId};

use super::site::{SENTENCE, Site, signal};
use super::{Ending, at_once, chosen, differences, report, twin};
use crate::crash::audit::Evidence;
use crate::crash::proxy::{Manner, Proxy};
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

/// How long a replica stands still: longer than its lease.
const PAUSE: Duration = Duration::from_secs(13);

/// What happens to the replica that holds the run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Misfortune {
    Killed,
    Paused,
    /// Killed when an effect is there and its answer is not.
    LosesAnswerAndDies,
    /// Both replicas are cut off from the database for so many seconds.
    DatabaseGone(u64),
}

/// Where the replicas keep their journal.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Store {
    File,
    Server,
}

/// A PostgreSQL that is reached through a proxy.
async fn server(site: &mut Site) -> Proxy {
    let mut url = url::Url::parse(&crate::postgres::database().await).unwrap();
    let address = format!("127.0.0.1:{}", url.port().unwrap()).parse().unwrap();
    let proxy = Proxy::start(Some(address), Arc::default()).await;
    url.set_port(Some(proxy.address.port())).unwrap();
    site.set("DATABASE_URL", url.to_string());
    proxy
}

/// Who holds the run meets its fate at a seeded byte; the other one finishes the job.
async fn story(store: Store, misfortune: Misfortune, seed: u32) -> Ending {
    let twin = twin().await;
    let mut site = Site::start().await;
    let database = match store {
        Store::File => None,
        Store::Server => Some(server(&mut site).await),
    };
    assert!(site.open().await, "{}", site.log());
    let pids = [site.pid(), site.open_replica().await];
    let offset = chosen(&format!("{misfortune:?} {seed}"), (twin.bytes / 3) as usize) as u64;
    let at = site.meter.bytes() + offset;
    if misfortune == Misfortune::LosesAnswerAndDies {
        site.outside[0].behave(Manner::LoseAnswers("POST "));
    }
    let id = site.order(SENTENCE).await;
    let name = format!("{store:?} {misfortune:?} at byte {offset}");
    let end = tokio::time::Instant::now() + PATIENCE;
    while site.meter.bytes() < at && site.outside[0].lost() == 0 {
        assert!(tokio::time::Instant::now() < end, "{name}: it never came so far");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let first = std::fs::read_to_string(site.folder().join("log-1")).unwrap();
    let holder = pids[usize::from(!first.contains("worker.run_claimed"))];
    match (misfortune, &database) {
        (Misfortune::DatabaseGone(seconds), Some(database)) => {
            database.behave(Manner::Refuse);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            database.behave(Manner::Honest);
        }
        // Past its lease. On one file it may stand still with the file's lock, and then all wait.
        (Misfortune::Paused, _) => {
            signal("STOP", holder);
            tokio::time::sleep(PAUSE).await;
            signal("CONT", holder);
        }
        _ => signal("KILL", holder),
    }
    site.outside[0].behave(Manner::Honest);
    until_finished(&site.database(), &id).await;
    let run = site.settled(&id).await;
    site.review(&run).await;
    site.close().await;
    let evidence = Evidence::of(&site, Vec::new()).await;
    let mut faults = evidence.violations();
    faults.extend(differences(&evidence, twin));
    let (deaths, resumed) = (site.fate.deaths, Vec::new());
    Ending { name, faults, deaths, resumed, ambiguous: evidence.ambiguous(), missed: false }
}

async fn stories(store: Store, kinds: &[Misfortune], seeds: u32) {
    let stories = (0..seeds).flat_map(|seed| kinds.iter().map(move |kind| story(store, *kind, seed)));
    let endings: Vec<Ending> =
        futures_util::stream::iter(stories).buffer_unordered(at_once()).collect().await;
    report(&format!("two replicas on one journal ({store:?}), {kinds:?}"), endings.len(), &endings);
}

const OF_ONE: [Misfortune; 3] = [Misfortune::Killed, Misfortune::Paused, Misfortune::LosesAnswerAndDies];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn another_replica_finishes_what_a_dead_or_paused_one_began() {
    stories(Store::File, &OF_ONE, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn replicas_on_one_server_survive_each_other_and_its_absence() {
    let kinds = [OF_ONE[0], OF_ONE[1], OF_ONE[2], Misfortune::DatabaseGone(5)];
    stories(Store::Server, &kinds, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/soak.sh"]
async fn soak_replicas() {
    stories(Store::File, &OF_ONE, 10).await;
    stories(Store::Server, &OF_ONE, 10).await;
    stories(Store::Server, &[Misfortune::DatabaseGone(30)], 5).await;
}
