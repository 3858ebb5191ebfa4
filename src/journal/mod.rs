//! Durable truth: the only place that knows SQL.
//!
//! Purpose: keeps runs, their logs, the queue and what came in from outside; tells watchers.
//! Invariant: a log is append-only and hash-chained; what a caller was told is written is on
//! disk; only the holder of a run's current fence may add to its work.
//! Must never know: models, tools, Azure DevOps, HTTP.

mod approvals;
mod feed;
mod holder;
mod log;
mod rows;
mod sqlite;
mod view;
mod words;
mod writer;

#[cfg(test)]
mod tests;

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::{Notify, broadcast};

use crate::clock::Clock;
use crate::event::OutsideEvent;
use crate::fault_point;

pub use feed::Notice;
pub use holder::Holder;
pub use log::{
    Call, Entry, Link, Logged, Outcome, Person, Recorded, RunId, Source, Status, Usage, WaitingFor,
};
pub use rows::{Claim, IntakeRow, IntakeStatus, JournalError, NewRun, Received, RunRow};
pub use view::{RunView, Step, StepKind, StepStatus, Write};
pub use words::Cleaner;

/// Connections that read.
const READERS: u32 = 4;
/// How long a connection waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Notices about changed runs held for a slow listener.
const CHANGES: usize = 256;
/// Most log entries read at once.
pub const PAGE: i64 = 1_000;

/// What the writer can be asked to do.
enum Command {
    Create {
        id: RunId,
        run: NewRun,
        ts: i64,
    },
    Append {
        run: RunId,
        fence: Option<i64>,
        known: i64,
        entries: Vec<Entry>,
        ts: i64,
    },
    Claim {
        run: Option<RunId>,
        holder: String,
        ts: i64,
        until: i64,
    },
    Renew {
        claim: Claim,
        until: i64,
    },
    Release {
        claim: Claim,
    },
    Receive {
        id: String,
        key: String,
        summary: String,
        event: OutsideEvent,
        refused: Option<String>,
        ts: i64,
    },
    ClaimIntake {
        ts: i64,
        until: i64,
    },
    Settle {
        id: String,
        status: IntakeStatus,
        reason: Option<String>,
        run: Option<RunId>,
        ts: i64,
    },
    Redeliver {
        id: String,
        ts: i64,
    },
}

/// What the writer answers.
enum Answer {
    Log(Vec<Logged>),
    Claimed(Option<Claim>),
    Received(Received),
    Intake(Option<IntakeRow>),
    Done(bool),
}

/// The journal. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    writer: writer::Writer,
    readers: SqlitePool,
    feed: Arc<feed::Feed>,
    work: Arc<Notify>,
    changes: broadcast::Sender<RunId>,
    clock: Clock,
    clean: Option<Cleaner>,
}

impl Journal {
    /// Opens (and makes, where missing) the database that `url` (`sqlite:<path>`) names.
    ///
    /// # Errors
    /// [`JournalError::Open`] when it cannot be opened or its schema is newer than this program.
    pub async fn open(url: &str, clock: Clock) -> Result<Self, JournalError> {
        let fault = |error: &dyn std::fmt::Display| JournalError::Open(error.to_string());
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|e| fault(&e))?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        if let Some(folder) = options.get_filename().parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|e| fault(&format!("{}: {e}", folder.display())))?;
        }
        let one = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await;
        let one = one.map_err(|e| fault(&e))?;
        sqlx::migrate!("src/journal/migrations").run(&one).await.map_err(|error| match error {
            sqlx::migrate::MigrateError::VersionMissing(version) => JournalError::Open(format!(
                "the database has schema {version}, which this program does not know; use a newer ado-coworker"
            )),
            other => fault(&other),
        })?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).min_connections(1);
        let readers = readers.connect_with(options.read_only(true)).await.map_err(|e| fault(&e))?;
        Ok(Self {
            writer: writer::Writer::start(one),
            readers,
            feed: Arc::default(),
            work: Arc::default(),
            changes: broadcast::Sender::new(CHANGES),
            clock,
            clean: None,
        })
    }

    fn now(&self) -> i64 {
        self.clock.now().as_microsecond()
    }

    /// Makes a run and queues it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn create(&self, run: NewRun) -> Result<RunId, JournalError> {
        let run = self.cleaned_run(run);
        let id = RunId::generate();
        fault_point::pass("journal.before_create");
        self.writer.write(Command::Create { id: id.clone(), run, ts: self.now() }).await?;
        fault_point::pass("journal.after_create");
        self.work.notify_waiters();
        self.told(&id);
        Ok(id)
    }

    /// Adds entries to a run's log as its holder, and gives every entry after `known`, the holder's
    /// own and those that others added meanwhile, in order.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] when another worker holds the run by now.
    pub async fn append(
        &self,
        claim: &Claim,
        known: i64,
        entries: Vec<Entry>,
    ) -> Result<Vec<Logged>, JournalError> {
        self.add(claim.run.clone(), Some(claim.fence), known, entries).await
    }

    /// Adds an entry from outside the work: a person's words, a request to stop.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn add_from_outside(&self, run: &RunId, entry: Entry) -> Result<i64, JournalError> {
        let log = self.add(run.clone(), None, i64::MAX, vec![self.cleaned_entry(entry)]).await?;
        self.work.notify_waiters();
        Ok(log.last().map_or(0, |logged| logged.seq))
    }

    async fn add(
        &self,
        run: RunId,
        fence: Option<i64>,
        known: i64,
        entries: Vec<Entry>,
    ) -> Result<Vec<Logged>, JournalError> {
        let command = Command::Append { run: run.clone(), fence, known, entries, ts: self.now() };
        fault_point::pass("journal.before_append");
        let Answer::Log(log) = self.writer.write(command).await? else { return Err(JournalError::Closed) };
        fault_point::pass("journal.after_append");
        if let Some(last) = log.last() {
            let complete =
                log.iter().any(|l| matches!(l.entry, Entry::Replied { .. } | Entry::Finished { .. }));
            self.feed.appended(&run, last.seq, complete);
        }
        self.told(&run);
        Ok(log)
    }

    fn told(&self, run: &RunId) {
        // Nobody may be listening.
        let _ = self.changes.send(run.clone());
    }

    /// Takes the oldest run that is due, for `lease`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim(&self, holder: &str, lease: Duration) -> Result<Option<Claim>, JournalError> {
        self.take(None, holder, lease).await
    }

    /// Takes this run, when it is due and nobody holds it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim_run(
        &self,
        run: &RunId,
        holder: &str,
        lease: Duration,
    ) -> Result<Option<Claim>, JournalError> {
        self.take(Some(run.clone()), holder, lease).await
    }

    async fn take(
        &self,
        run: Option<RunId>,
        holder: &str,
        lease: Duration,
    ) -> Result<Option<Claim>, JournalError> {
        let ts = self.now();
        let command = Command::Claim { run, holder: holder.to_owned(), ts, until: ts + micros(lease) };
        match self.writer.write(command).await? {
            Answer::Claimed(claim) => Ok(claim),
            _ => Err(JournalError::Closed),
        }
    }

    /// Holds a run for another `lease` from now. False when it is no longer ours.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool, JournalError> {
        let until = self.now() + micros(lease);
        self.done(Command::Renew { claim: claim.clone(), until }).await
    }

    /// Gives a run back to the queue.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release(&self, claim: &Claim) -> Result<bool, JournalError> {
        let released = self.done(Command::Release { claim: claim.clone() }).await?;
        self.work.notify_waiters();
        Ok(released)
    }

    async fn done(&self, command: Command) -> Result<bool, JournalError> {
        match self.writer.write(command).await? {
            Answer::Done(done) => Ok(done),
            _ => Err(JournalError::Closed),
        }
    }

    /// Ends when there may be work: a new run, a message, an event, or after `at_most`.
    pub async fn work_arrives(&self, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, self.work.notified()).await;
    }

    /// Writes down what came from outside, once per key. `refused` settles it at once as ignored.
    ///
    /// # Errors
    /// When it cannot be written: the sender must be told to come again.
    pub async fn receive(
        &self,
        key: &str,
        summary: &str,
        event: OutsideEvent,
        refused: Option<String>,
    ) -> Result<Received, JournalError> {
        let command = Command::Receive {
            id: uuid::Uuid::now_v7().simple().to_string(),
            key: remembered(key),
            summary: summary.to_owned(),
            event,
            refused,
            ts: self.now(),
        };
        if fault_point::is_off("commit_before_answer") {
            return Ok(self.receive_later(command));
        }
        fault_point::pass("journal.before_receive");
        match self.writer.write(command).await? {
            Answer::Received(received) => {
                fault_point::pass("journal.after_receive");
                self.work.notify_waiters();
                Ok(received)
            }
            _ => Err(JournalError::Closed),
        }
    }

    /// What a test puts in place of the write when that defence is switched off.
    fn receive_later(&self, command: Command) -> Received {
        let writer = self.writer.clone();
        tokio::spawn(async move {
            // Long enough for the answer to be on its way.
            tokio::time::sleep(Duration::from_millis(200)).await;
            fault_point::pass("journal.before_receive");
            writer.write(command).await
        });
        Received { id: String::new(), duplicate: false }
    }

    /// Takes the oldest event that nobody has judged, for `lease`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim_intake(&self, lease: Duration) -> Result<Option<IntakeRow>, JournalError> {
        let ts = self.now();
        match self.writer.write(Command::ClaimIntake { ts, until: ts + micros(lease) }).await? {
            Answer::Intake(row) => Ok(row),
            _ => Err(JournalError::Closed),
        }
    }

    /// Settles the fate of an event.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn settle(
        &self,
        id: &str,
        status: IntakeStatus,
        reason: Option<String>,
        run: Option<RunId>,
    ) -> Result<(), JournalError> {
        let command = Command::Settle { id: id.to_owned(), status, reason, run, ts: self.now() };
        fault_point::pass("journal.before_settle");
        self.done(command).await?;
        fault_point::pass("journal.after_settle");
        Ok(())
    }

    /// Puts an event back to be judged again. False when there is no such event.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn redeliver(&self, id: &str) -> Result<bool, JournalError> {
        let found = self.done(Command::Redeliver { id: id.to_owned(), ts: self.now() }).await?;
        self.work.notify_waiters();
        Ok(found)
    }

    /// A run's row.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn run(&self, id: &RunId) -> Result<Option<RunRow>, JournalError> {
        sqlite::run(&self.readers, id).await
    }

    /// The newest runs first, at most `limit`; `before` (microseconds) pages back.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn runs(&self, limit: i64, before: Option<i64>) -> Result<Vec<RunRow>, JournalError> {
        sqlite::runs(&self.readers, limit, before.unwrap_or(i64::MAX)).await
    }

    /// The newest run about `subject` that has not ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn active_run_about(&self, subject: &str) -> Result<Option<RunRow>, JournalError> {
        sqlite::active_run_about(&self.readers, subject).await
    }

    /// How many runs have not ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unfinished(&self) -> Result<i64, JournalError> {
        sqlite::unfinished(&self.readers).await
    }

    /// Entries of a run after `after`, oldest first, at most [`PAGE`].
    ///
    /// # Errors
    /// When the store fails or an entry does not read back.
    pub async fn log(&self, run: &RunId, after: i64) -> Result<Vec<Logged>, JournalError> {
        sqlite::log(&self.readers, run, after, PAGE).await
    }

    /// The record of a run as stored and hashed, entries after `after`, at most [`PAGE`]. Unlike
    /// [`Journal::log`] it gives entries that no longer read back, too.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn record(&self, run: &RunId, after: i64) -> Result<Vec<Recorded>, JournalError> {
        sqlite::record(&self.readers, run, after, PAGE).await
    }

    /// The whole log of a run.
    ///
    /// # Errors
    /// When the store fails or an entry does not read back.
    pub async fn whole_log(&self, run: &RunId) -> Result<Vec<Logged>, JournalError> {
        let mut log: Vec<Logged> = Vec::new();
        loop {
            let page = self.log(run, log.last().map_or(0, |l| l.seq)).await?;
            let full = page.len() as i64 == PAGE;
            log.extend(page);
            if !full {
                return Ok(log);
            }
        }
    }

    /// What came in, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn intake(&self, limit: i64) -> Result<Vec<IntakeRow>, JournalError> {
        sqlite::intake(&self.readers, limit).await
    }

    /// One event that came in.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn intake_row(&self, id: &str) -> Result<Option<IntakeRow>, JournalError> {
        sqlite::intake_row(&self.readers, id).await
    }

    /// The sequence number of the first entry whose hash or place is wrong, or none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn first_fault(&self, run: &RunId) -> Result<Option<i64>, JournalError> {
        sqlite::first_fault(&self.readers, run).await
    }

    /// Watches a run: the unfinished model turn so far, and what happens from now on. A watcher
    /// that falls behind reads the log again.
    pub fn watch(&self, run: &RunId) -> (Option<Notice>, broadcast::Receiver<Notice>) {
        self.feed.watch(run)
    }

    /// Tells of every run that changes.
    pub fn changes(&self) -> broadcast::Receiver<RunId> {
        self.changes.subscribe()
    }

    /// Words of a model turn that is not complete; `restart` throws away what there was of it.
    pub fn words(&self, run: &RunId, turn: u32, restart: bool, text: &str) {
        self.feed.words(run, turn, restart, text);
    }
}

/// The key under which an event is known. With the defence switched off, no longer than this process lives.
fn remembered(key: &str) -> String {
    match fault_point::is_off("stored_dedup") {
        true => format!("{key}:{}", std::process::id()),
        false => key.to_owned(),
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}
