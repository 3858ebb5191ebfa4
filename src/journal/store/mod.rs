//! The two back ends, SQLite and PostgreSQL.
//!
//! The statements stand once, in `statements/`, and are compiled for each back end: both know
//! numbered placeholders (`$1`), `ON CONFLICT` and `RETURNING`. What truly differs (how a transaction
//! begins, row locks, whose clock counts, how replicas are told, what an error means) is in
//! `sqlite.rs` and `postgres.rs`.

pub(super) mod postgres;
pub(super) mod sqlite;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::JournalError;
use super::command::{Answer, Command};
use super::standing::Told;

/// The folder of the SQLite file that `url` names, whether it is there or not; none for another store.
pub fn folder_of(url: &str) -> Option<PathBuf> {
    let options = sqlite::options(url.starts_with("sqlite:").then_some(url)?).ok()?;
    Some(options.get_filename().parent().unwrap_or(Path::new("")).to_path_buf())
}

/// Connections of one process that read.
const READERS: u32 = 4;
/// Longest time for one read.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(8);
/// Longest wait for a connection that reads.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest value of a text that is kept outside the record, in characters.
const MAX_SHOWN_TEXT: usize = 20_000;

/// A back end as the writer sees it.
pub(super) trait Backend: Send + Sync + 'static {
    /// Its connection.
    type Connection: Send;

    /// Longest time for one commit. None where a commit that is given up could still take place
    /// without anybody being able to tell.
    const COMMIT_TIMEOUT: Option<Duration>;

    /// Opens the connection that writes.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, sqlx::Error>> + Send;

    /// Does the commands in one transaction. `unsure` is set while it is not known whether the
    /// commit took place.
    fn commit(
        &self,
        db: &mut Self::Connection,
        commands: &[&Command],
        unsure: &mut Option<Unsure>,
    ) -> impl Future<Output = Result<Committed, sqlx::Error>> + Send;

    /// Whether a transaction whose commit was not answered took place; none while it is under way.
    fn happened(
        &self,
        db: &mut Self::Connection,
        transaction: &str,
    ) -> impl Future<Output = Result<Option<bool>, sqlx::Error>> + Send;

    /// What an error means.
    fn judge(error: &sqlx::Error) -> Fault;
}

/// What a transaction came to.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) answers: Vec<Result<Answer, JournalError>>,
    pub(super) told: Told,
}

/// A transaction that was sent off to be committed.
#[derive(Debug)]
pub(super) struct Unsure {
    /// Its name in the store.
    pub(super) transaction: String,
    /// What it comes to, if it took place.
    pub(super) committed: Committed,
}

/// What an error of the store means for the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The store cannot be reached or is taken; it may be well again soon.
    Passing,
    /// There is no space. What was asked for is refused; the rest of the product goes on.
    Full,
    /// The store refused this statement.
    Refused,
    /// The disk failed. What is on it is not known any more, so the process must end.
    Fatal,
}

/// The pools that read.
#[derive(Clone)]
pub(super) enum Readers {
    Sqlite(sqlx::SqlitePool),
    Postgres(sqlx::PgPool),
}

/// Reads with a statement of the same name, on whichever back end there is.
macro_rules! read {
    ($journal:expr, $name:ident ( $($argument:expr),* )) => {
        match &$journal.readers {
            $crate::journal::store::Readers::Sqlite(pool) => {
                $crate::journal::store::in_time($crate::journal::store::sqlite::statements::$name(pool, $($argument),*)).await
            }
            $crate::journal::store::Readers::Postgres(pool) => {
                $crate::journal::store::in_time($crate::journal::store::postgres::statements::$name(pool, $($argument),*)).await
            }
        }
    };
}
pub(super) use read;

/// Whether an error says that the store could not be asked, and not that it refused.
fn is_unreachable(error: &sqlx::Error) -> bool {
    use sqlx::Error;
    matches!(
        error,
        Error::Io(_)
            | Error::Tls(_)
            // A connection that broke in the middle of an answer.
            | Error::Protocol(_)
            | Error::PoolTimedOut
            | Error::PoolClosed
            | Error::WorkerCrashed
    )
}

/// The answer of a read, or that the store cannot be reached.
pub(super) async fn in_time<T>(
    read: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, JournalError> {
    match tokio::time::timeout(READ_TIMEOUT, read).await {
        Ok(answer) => answer.map_err(|error| JournalError::Store(error.to_string())),
        Err(_) => Err(JournalError::Unavailable),
    }
}

/// A text for a column of its own: without NUL, which PostgreSQL does not keep, and not endless. The
/// record has every text whole.
fn column(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(MAX_SHOWN_TEXT).collect()
}

/// What a failed migration means, for people.
fn migration_fault(error: &sqlx::migrate::MigrateError) -> JournalError {
    use sqlx::migrate::MigrateError;
    JournalError::Open(match error {
        MigrateError::VersionMissing(version) => format!(
            "the database has schema {version}, which this program does not know; use a newer ado-coworker"
        ),
        MigrateError::VersionMismatch(version) => format!(
            "the database was made by another build of ado-coworker (its schema {version} differs from this \
             one's); use that build, or name another database in DATABASE_URL"
        ),
        other => other.to_string(),
    })
}
