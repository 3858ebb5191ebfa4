//! What is erased when its time is over: bodies with their salts, class by class. The chain holds, and
//! the house's log says how much was erased; that entry joins the chain over the ends of runs.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::journal::{Class, Erasable, Journal, JournalError, Note};

/// How long decisions, approvals and writes are kept (GOVERNANCE §5.3).
pub const KEEP_DECISIONS: Duration = days(400);
/// How long arguments and results of tools are kept.
pub const KEEP_BODIES: Duration = days(30);
/// How long the words to and from the model are kept.
pub const KEEP_TRANSCRIPTS: Duration = days(30);
/// Between two times.
const EVERY: Duration = days(1);
/// How often it looks whether it is time.
const LOOK: Duration = Duration::from_secs(60 * 60);
/// Before it looks for the first time.
const FIRST: Duration = Duration::from_secs(120);
/// Name of the turn that replicas take.
const TURN: &str = "retention.turn";
/// Why it is done, in the house's log.
const OVER: &str = "their time was over";

const fn days(n: u64) -> Duration {
    Duration::from_secs(n * 24 * 60 * 60)
}

/// How many bodies of each class.
pub type Counts = BTreeMap<String, u64>;

/// How long a class is kept.
pub fn kept(class: Class) -> Duration {
    match class {
        Class::Transcripts => KEEP_TRANSCRIPTS,
        Class::Bodies => KEEP_BODIES,
        Class::Decisions => KEEP_DECISIONS,
    }
}

fn due(clock: &Clock) -> [(Class, Erasable); 3] {
    let before = |class| {
        let kept = i64::try_from(kept(class).as_micros()).unwrap_or(i64::MAX);
        clock.now().as_microsecond().saturating_sub(kept)
    };
    Class::ALL.map(|class| (class, Erasable::Old(class, before(class))))
}

/// How many bodies have their time behind them. Erases nothing.
///
/// # Errors
/// When the journal fails.
pub async fn foresee(journal: &Journal, clock: &Clock) -> Result<Counts, JournalError> {
    let mut counts = Counts::new();
    for (class, what) in due(clock) {
        counts.insert(class.as_str().to_owned(), journal.erasable(&what).await?);
    }
    // What is older than decisions is in their class, too, until it is erased by its own.
    let older: u64 = older_than_decisions(journal, clock).await?;
    if let Some(decisions) = counts.get_mut(Class::Decisions.as_str()) {
        *decisions = decisions.saturating_sub(older);
    }
    Ok(counts)
}

async fn older_than_decisions(journal: &Journal, clock: &Clock) -> Result<u64, JournalError> {
    let [.., (_, decisions)] = due(clock);
    let Erasable::Old(_, before) = decisions else { return Ok(0) };
    let transcripts = journal.erasable(&Erasable::Old(Class::Transcripts, before)).await?;
    Ok(transcripts + journal.erasable(&Erasable::Old(Class::Bodies, before)).await?)
}

/// Erases what has its time behind it, and writes down how much that was.
///
/// # Errors
/// When the journal fails; what was erased by then is erased.
pub async fn apply(journal: &Journal, clock: &Clock) -> Result<Counts, JournalError> {
    let mut counts = Counts::new();
    for (class, what) in due(clock) {
        let mut erased = 0;
        loop {
            let portion = journal.erase(what.clone()).await?;
            erased += portion;
            if portion == 0 {
                break;
            }
        }
        counts.insert(class.as_str().to_owned(), erased);
    }
    if counts.values().any(|count| *count > 0) {
        journal.note(Note::RetentionApplied { reason: OVER.to_owned(), erased: counts.clone() }).await?;
    }
    Ok(counts)
}

/// Erases everything of the runs that a person ordered or steered, who is named by id or account. Runs
/// that are under way or held are left. With `dry_run` it only counts. Gives how many runs and bodies.
///
/// # Errors
/// When the journal fails.
pub async fn forget(journal: &Journal, id: &str, dry_run: bool) -> Result<(usize, u64), JournalError> {
    let runs = journal.runs_instructed_by(id).await?;
    let what = Erasable::Runs(runs.clone());
    let count = journal.erasable(&what).await?;
    if !dry_run && count > 0 {
        journal.erase(what).await?;
        let erased = Counts::from([("runs".to_owned(), runs.len() as u64), ("all".to_owned(), count)]);
        // Not whom: that is what was to be forgotten.
        journal
            .note(Note::RetentionApplied { reason: "a person is to be forgotten".to_owned(), erased })
            .await?;
    }
    Ok((runs.len(), count))
}

/// Erases once a day, on one replica, until `stop`.
pub async fn work(journal: Journal, clock: Clock, stop: CancellationToken) {
    let mut wait = FIRST;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(wait) => {}
        }
        wait = LOOK;
        match journal.take_turn(TURN, EVERY).await {
            Ok(true) => {}
            Ok(false) => continue,
            Err(error) => {
                tracing::warn!(%error, "whether bodies are to be erased cannot be told now");
                continue;
            }
        }
        // First what would be done, so that the log says it even where doing it fails.
        let found = match foresee(&journal, &clock).await {
            Ok(found) if found.values().all(|count| *count == 0) => continue,
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "bodies whose time is over cannot be counted");
                continue;
            }
        };
        tracing::info!(?found, "erasing bodies whose time is over");
        match apply(&journal, &clock).await {
            Ok(erased) => tracing::info!(?erased, "bodies were erased; the chain holds"),
            Err(error) => tracing::warn!(%error, "not all bodies whose time is over were erased"),
        }
    }
}
