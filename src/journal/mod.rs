//! Durable truth: the only place that knows SQL.
//!
//! Purpose: keeps runs, their logs, the queue and what came in from outside; tells watchers.
//! Invariant: a log is append-only and hash-chained; what a caller was told is written is on
//! disk; only the holder of a run's current fence may add to its work.
//! Must never know: models, tools, Azure DevOps, HTTP.
//!
//! To add something that is written: a variant of `command::Command` (with all it needs; times come
//! from the store's clock) and of `Answer` where no other fits; its statements as a method of
//! `Transaction` in a file of its topic under `store/statements/`, which is compiled for both back
//! ends; a line in `Transaction::apply`; a method of [`Journal`] in the file of its topic here. To
//! add something that is read: a function in `store/statements/read.rs` (or a file beside it) that
//! takes the pool first, and a method that calls it with `read!`. A new table is a migration of the
//! same number and meaning in `migrations/sqlite` and `migrations/postgres`; how one store alone keeps
//! a table (0015) is a number that the other leaves out. What an entry of a log means for its run's
//! row is in `standing.rs`.

mod approvals;
mod backup;
mod chain;
mod command;
mod erase;
mod feed;
mod holder;
mod house;
mod intake;
mod log;
mod look;
mod read;
mod rows;
mod seal;
mod seen;
mod sessions;
mod sole;
mod spent;
mod standing;
mod store;
mod view;
mod words;
mod work;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Clock;
use command::{Answer, Command};
use store::{Readers, postgres, sqlite};

pub use backup::backup;
pub use chain::{SALT_BYTES, commitment, entry_hash, head_hash};
pub use erase::{Class, Erasable};
pub use feed::Notice;
pub use holder::Holder;
pub use house::{Halt, Note};
pub use intake::{KEEP_EVENTS, SWEEP};
pub use log::{Call, Entry, Link, Logged, Outcome, Person, RunId, Source, Status, Usage, WaitingFor};
pub use look::{Found, look};
pub use rows::{
    Backlog, Claim, IntakeRow, IntakeStatus, JournalError, Judging, Limits, NewRun, Ordered, Received,
    Recorded, RunRow,
};
pub use seal::{Checkpoint, HEADS, Head, RecordKey, Unsigned};
pub use seen::{FOUND, FOUND_AT, LOOKED_AT, Seen};
pub use sessions::Session;
pub use standing::MAX_ATTEMPTS;
pub use store::folder_of;
pub use view::{RunView, Step, StepKind, StepStatus, Write};
pub use words::Cleaner;

/// Most log entries read at once.
pub const PAGE: i64 = 1_000;
/// How long those who wait for somebody outside wait for the store: then they say that it does not
/// answer, and nothing of what they asked for is done.
const OUTSIDE_PATIENCE: Duration = Duration::from_secs(8);
/// How long a write and a holder's read are tried while the store cannot be reached.
const MAX_SILENCE: Duration = Duration::from_secs(90);

/// The journal. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    writer: writer::Writer,
    readers: Readers,
    bus: Arc<feed::Bus>,
    limits: Arc<Limits>,
    clean: Option<Cleaner>,
    /// The runs that this process holds: the fence, and until when by its own steady clock.
    held: Arc<Mutex<HashMap<RunId, (i64, Instant)>>>,
    /// Ends the task that listens to other replicas.
    _listening: Option<Arc<DropGuard>>,
}

impl Journal {
    /// Opens the database that `url` names: `sqlite:<path>`, made where it is missing, or
    /// `postgres://…`. With a stepped clock that clock counts; else SQLite takes the process's time
    /// and PostgreSQL the server's.
    ///
    /// # Errors
    /// [`JournalError::Open`] when it cannot be opened or its schema is newer than this program.
    pub async fn open(url: &str, clock: Clock) -> Result<Self, JournalError> {
        let bus = Arc::new(feed::Bus::new());
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let replica = uuid::Uuid::new_v4().simple().to_string();
            let (store, readers) = postgres::Postgres::open(url, clock, &replica).await?;
            let stop = CancellationToken::new();
            let listen = postgres::listen(readers.clone(), replica, bus.clone());
            tokio::spawn(stop.clone().run_until_cancelled_owned(listen));
            return Ok(Self {
                writer: writer::Writer::start(store, bus.clone()),
                readers: Readers::Postgres(readers),
                bus,
                limits: Arc::default(),
                clean: None,
                held: Arc::default(),
                _listening: Some(Arc::new(stop.drop_guard())),
            });
        }
        let (store, readers) = sqlite::Sqlite::open(url, clock).await?;
        Ok(Self {
            writer: writer::Writer::start(store, bus.clone()),
            readers: Readers::Sqlite(readers),
            bus,
            limits: Arc::default(),
            clean: None,
            held: Arc::default(),
            _listening: None,
        })
    }

    /// The same journal, whose claims keep to these limits.
    pub fn limited(mut self, limits: Limits) -> Self {
        self.limits = Arc::new(limits);
        self
    }

    /// Ends when the disk failed, with the reason: the process must then end, too, because what it
    /// was told is written may not be there.
    pub async fn failure(&self) -> String {
        self.writer.failure().await
    }

    /// Does a command that somebody outside waits for.
    async fn soon(&self, command: Command) -> Result<Answer, JournalError> {
        match tokio::time::timeout(OUTSIDE_PATIENCE, self.writer.write(command)).await {
            Ok(answer) => answer,
            Err(_) => Err(JournalError::Unavailable),
        }
    }

    async fn done(&self, command: Command) -> Result<bool, JournalError> {
        match self.writer.write(command).await? {
            Answer::Done(done) => Ok(done),
            _ => Err(JournalError::Closed),
        }
    }
}
