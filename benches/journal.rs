//! How fast the journal is, synced: events received per second and their slowest percent, opening
//! and taking up work with many unfinished runs, bytes of a step; and what the chain of hashes costs
//! each entry. Run with
//! `cargo bench --bench journal`; `JOURNAL_URL=postgres://…` has it measure a server's empty database.

use std::path::Path;
use std::time::{Duration, Instant};

use ado_coworker::clock::Clock;
use ado_coworker::event::OutsideEvent;
use ado_coworker::journal::{
    Entry, Journal, JournalError, NewRun, Person, RunId, SALT_BYTES, Source, commitment, entry_hash,
};

/// Those who deliver at the same time.
const SENDERS: usize = 64;
/// Events in all.
const EVENTS: usize = 20_000;
/// Runs that nobody has ended.
const UNFINISHED: usize = 10_000;
/// Steps of a run.
const STEPS: usize = 200;
/// Bytes of a step's text.
const TEXT: usize = 600;
/// How long a claim holds.
const LEASE: Duration = Duration::from_secs(60);

fn run(n: usize) -> NewRun {
    NewRun {
        instruction: format!("order {n}"),
        source: Source::Chat,
        requested_by: Person::named("bench"),
        project: "Fabrikam".into(),
        repository: "web-shop".into(),
        subject: None,
        trigger: None,
    }
}

async fn events(journal: &Journal) -> Result<(), JournalError> {
    let since = Instant::now();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let journal = journal.clone();
            tokio::spawn(async move {
                let mut took = Vec::with_capacity(EVENTS / SENDERS);
                for n in 0..EVENTS / SENDERS {
                    let (begun, event) = (Instant::now(), OutsideEvent::WorkItemChanged { work_item_id: 1 });
                    journal
                        .receive(&format!("bench:{sender}-{n}"), "work item 1 updated", event, None)
                        .await?;
                    took.push(begun.elapsed());
                }
                Ok::<_, JournalError>(took)
            })
        })
        .collect();
    let mut took = Vec::new();
    for sender in senders {
        took.extend(sender.await.map_err(|error| JournalError::Store(error.to_string()))??);
    }
    let all = since.elapsed();
    took.sort();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let rate = took.len() as f64 / all.as_secs_f64();
    println!("events   {rate:>9.0} /s   p50 {:.2} ms   p99 {:.2} ms   at {SENDERS} senders", at(50), at(99));
    Ok(())
}

async fn opening(url: &str, journal: Journal) -> Result<(), JournalError> {
    for chunk in 0..UNFINISHED / 250 {
        let made = (0..250).map(|n| journal.create(run(chunk * 250 + n)));
        for made in futures_util::future::join_all(made).await {
            made?;
        }
    }
    drop(journal);
    let since = Instant::now();
    let journal = Journal::open(url, Clock::Real).await?;
    let opened = since.elapsed();
    let claim = journal.claim("bench", LEASE).await?;
    let (opened, taken) = (opened.as_secs_f64() * 1e3, since.elapsed().as_secs_f64() * 1e3);
    println!(
        "open     {opened:>9.1} ms  first run taken after {taken:.1} ms ({}), {UNFINISHED} unfinished",
        claim.is_some()
    );
    Ok(())
}

async fn steps(journal: &Journal, file: Option<&Path>) -> Result<(), JournalError> {
    let id = journal.create(run(0)).await?;
    let Some(claim) = journal.claim_run(&id, "bench", LEASE).await? else { return Ok(()) };
    let size = || file.and_then(|file| Some(std::fs::metadata(file).ok()?.len())).unwrap_or(0);
    let (mut since, mut known, mut bytes) = (Instant::now(), 2, size());
    for step in 1..=STEPS {
        let entry = Entry::Trouble { what: "x".repeat(TEXT), remedy: None };
        known = journal.append(&claim, known, vec![entry]).await?.last().map_or(known, |logged| logged.seq);
        if step == 10 || step == STEPS {
            let per =
                since.elapsed().as_secs_f64() * 1e3 / if step == 10 { 10.0 } else { (STEPS - 10) as f64 };
            println!(
                "step     {per:>9.2} ms  at step {step}, {} bytes more in the file",
                size().saturating_sub(bytes)
            );
            (since, bytes) = (Instant::now(), size());
        }
    }
    Ok(())
}

/// What makes an entry part of the chain: its commitment and its hash.
fn chain() {
    const ENTRIES: i64 = 100_000;
    let (run, body, salt) = (RunId::generate(), "x".repeat(TEXT), [7; SALT_BYTES]);
    let (since, mut head) = (Instant::now(), String::new());
    for seq in 1..=ENTRIES {
        head = entry_hash(&run, seq, seq, &commitment(&salt, &body), &head).as_str().to_owned();
    }
    let each = since.elapsed().as_secs_f64() * 1e6 / ENTRIES as f64;
    println!("chain    {each:>9.2} us  an entry of {TEXT} bytes ({})", head.len());
}

#[allow(clippy::disallowed_methods, reason = "a measurement has no settings")]
fn server() -> Option<String> {
    std::env::var("JOURNAL_URL").ok()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    chain();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("journal.db");
    let server = server();
    let url = server.clone().unwrap_or_else(|| format!("sqlite:{}", file.display()));
    let file = server.is_none().then_some(file.as_path());
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let journal = Journal::open(&url, Clock::Real).await?;
        steps(&journal, file).await?;
        events(&journal).await?;
        opening(&url, journal).await?;
        Ok(())
    })
}
