//! What is peculiar to SQLite: one file, one writer, the process's own clock.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{ACQUIRE_TIMEOUT, Backend, Committed, Fault, READERS, Unsure, is_unreachable, migration_fault};
use crate::clock::Clock;
use crate::journal::JournalError;
use crate::journal::command::Command;
use crate::journal::sole::Presence;
use crate::journal::standing::Told;

pub(in crate::journal) type Connection = sqlx::SqliteConnection;
pub(super) type Pool = sqlx::SqlitePool;
/// The back end, as the statements call it.
pub(super) type Store = Sqlite;
pub(super) type Row = sqlx::sqlite::SqliteRow;
pub(super) type Database = sqlx::Sqlite;

/// How a transaction that writes begins: a deferred one that reads first and then writes fails at
/// once when the file is taken.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
/// How a transaction begins whose reads all see the same state.
pub(super) const SNAPSHOT: &str = "BEGIN";
/// How long a connection waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages that each reading connection keeps, in KiB with a minus: what is read once in a while is left
/// to the system.
const READER_CACHE: &str = "-256";
/// Name of the part of `DATABASE_URL` that limits the size of the file, in pages of 4 KiB.
const MAX_PAGES: &str = "max_page_count=";

/// One writer holds the whole file, so no row needs a lock.
macro_rules! for_update {
    () => {
        ""
    };
}
/// One writer takes everything in turn.
macro_rules! skip_locked {
    () => {
        ""
    };
}

#[path = "statements/mod.rs"]
#[allow(clippy::duplicate_mod, reason = "the statements are compiled for each back end")]
pub(in crate::journal) mod statements;

/// The SQLite back end.
pub(in crate::journal) struct Sqlite {
    options: SqliteConnectOptions,
    clock: Clock,
    /// Held as long as this process has the file.
    _presence: Option<Presence>,
}

/// Comes to the file; whatever was held when nobody else is there is due at once.
async fn take_from_the_dead(
    options: &SqliteConnectOptions,
    db: &mut Connection,
    clock: &Clock,
) -> anyhow::Result<Option<Presence>> {
    let Some((presence, alone)) = Presence::enter(options.get_filename())? else { return Ok(None) };
    if alone {
        let now = clock.now().as_microsecond();
        for sql in [
            "UPDATE runs SET lease_until = $1, due_at = $1 WHERE status = 'running' AND due_at > $1",
            "UPDATE intake SET due_at = $1 WHERE status = 'received' AND holder IS NOT NULL AND due_at > $1",
        ] {
            sqlx::query(sql).bind(now).execute(&mut *db).await?;
        }
    }
    Ok(Some(presence.settle().await?))
}

/// Options for the file that `url` names.
pub(in crate::journal) fn options(url: &str) -> Result<SqliteConnectOptions, JournalError> {
    let fault = |error: &dyn std::fmt::Display| JournalError::Open(error.to_string());
    let (rest, limit) = limit(url)?;
    let mut options = SqliteConnectOptions::from_str(&rest)
        .map_err(|e| fault(&e))?
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // What is erased is not left lying in free pages.
        .pragma("secure_delete", "ON")
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    if let Some(pages) = limit {
        options = options.pragma("max_page_count", pages.to_string());
    }
    Ok(options)
}

/// Takes the limit on the size out of a URL.
fn limit(url: &str) -> Result<(String, Option<u32>), JournalError> {
    let Some((path, query)) = url.split_once('?') else { return Ok((url.to_owned(), None)) };
    let (limits, others): (Vec<&str>, Vec<&str>) =
        query.split('&').partition(|part| part.starts_with(MAX_PAGES));
    let pages = limits.first().and_then(|part| part.strip_prefix(MAX_PAGES));
    let pages = pages.map(|text| {
        text.parse().map_err(|_| {
            JournalError::Open(format!("in DATABASE_URL {MAX_PAGES}{text} is not a number of pages"))
        })
    });
    let rest = if others.is_empty() { path.to_owned() } else { format!("{path}?{}", others.join("&")) };
    Ok((rest, pages.transpose()?))
}

impl Sqlite {
    /// Opens, and where missing makes, the file that `url` names, and the pool that reads it.
    pub(in crate::journal) async fn open(url: &str, clock: Clock) -> Result<(Self, Pool), JournalError> {
        let fault = |error: &dyn std::fmt::Display| JournalError::Open(error.to_string());
        let options = options(url)?.create_if_missing(true);
        if let Some(folder) = options.get_filename().parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|e| fault(&format!("{}: {e}", folder.display())))?;
        }
        let mut one = options.connect().await.map_err(|e| fault(&e))?;
        sqlx::migrate!("src/journal/migrations/sqlite")
            .run_direct(None, &mut one, false)
            .await
            .map_err(|error| migration_fault(&error))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(1)
            // A file does not hang up: nobody has to ask before each read whether it is still there.
            .test_before_acquire(false)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.clone().read_only(true).pragma("cache_size", READER_CACHE))
            .await
            .map_err(|e| fault(&e))?;
        let presence = take_from_the_dead(&options, &mut one, &clock).await.map_err(|e| fault(&e))?;
        Ok((Self { options, clock, _presence: presence }, readers))
    }

    /// The store's time: the process's own.
    pub(super) async fn now(&self, _: &mut Connection) -> Result<i64, sqlx::Error> {
        Ok(self.clock.now().as_microsecond())
    }

    /// Under whose name this process adds up: nobody's, one adds at a time.
    pub(super) fn writer(&self) -> &str {
        ""
    }

    /// What comes last in a transaction, after what was put off until then; gives its name, where it has
    /// one.
    pub(super) async fn seal(
        &self,
        _: &mut Connection,
        _: &mut Several,
        _: &Told,
    ) -> Result<Option<String>, sqlx::Error> {
        Ok(None)
    }
}

/// Statements that are done one after the other and sent together: each sending is a word to the
/// connection's thread and one back.
#[derive(Default)]
pub(super) struct Several(sqlx::QueryBuilder<Database>, usize);

impl Several {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.1 == 0
    }

    /// One more, which begins with `sql`.
    pub(super) fn next(&mut self, sql: &str) -> &mut sqlx::QueryBuilder<Database> {
        if self.1 > 0 {
            self.0.push("; ");
        }
        self.1 += 1;
        self.0.push(sql)
    }

    /// Does them, and gives the rows of all of them.
    pub(super) async fn rows(mut self, db: &mut Connection) -> Result<Vec<Row>, sqlx::Error> {
        self.0.build().fetch_all(db).await
    }
}

/// Waits for whoever else uses `name`: nobody, there is one writer.
pub(super) async fn lock(_: &mut Connection, _: &str) -> Result<(), sqlx::Error> {
    Ok(())
}

/// What it takes to look at the file that `url` names: a pool that cannot write, how the notes of a schema
/// are counted, and this program's newest schema.
pub(in crate::journal) async fn to_look(url: &str) -> Result<(Pool, &'static str, i64), JournalError> {
    let options = options(url)?.create_if_missing(false).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT);
    let pool = pool.connect_with(options).await.map_err(|error| JournalError::Open(error.to_string()))?;
    let known = sqlx::migrate!("src/journal/migrations/sqlite").iter().map(|m| m.version).max();
    let tables = "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
    Ok((pool, tables, known.unwrap_or_default()))
}

impl Backend for Sqlite {
    type Connection = Connection;

    // A slow disk is waited for: the commit goes on in its thread, whoever stops waiting for it.
    const COMMIT_TIMEOUT: Option<Duration> = None;

    async fn connect(&self) -> Result<Connection, sqlx::Error> {
        self.options.connect().await
    }

    async fn commit(
        &self,
        db: &mut Connection,
        commands: &[&Command],
        unsure: &mut Option<Unsure>,
    ) -> Result<Committed, sqlx::Error> {
        statements::commit(self, db, commands, unsure).await
    }

    async fn happened(&self, _: &mut Connection, _: &str) -> Result<Option<bool>, sqlx::Error> {
        // A commit of SQLite that fails did not take place, or was fatal.
        Ok(Some(false))
    }

    fn judge(error: &sqlx::Error) -> Fault {
        let sqlx::Error::Database(error) = error else {
            return if is_unreachable(error) { Fault::Passing } else { Fault::Refused };
        };
        // Extended result codes keep the primary one in their lowest byte.
        let code = error.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
        match code {
            Some(SQLITE_BUSY | SQLITE_LOCKED) => Fault::Passing,
            Some(SQLITE_FULL) => Fault::Full,
            Some(SQLITE_IOERR | SQLITE_CORRUPT | SQLITE_NOTADB) => Fault::Fatal,
            _ => Fault::Refused,
        }
    }
}

/// Primary result codes (<https://www.sqlite.org/rescode.html>).
const SQLITE_BUSY: u32 = 5;
const SQLITE_LOCKED: u32 = 6;
const SQLITE_IOERR: u32 = 10;
const SQLITE_CORRUPT: u32 = 11;
const SQLITE_FULL: u32 = 13;
const SQLITE_NOTADB: u32 = 26;
