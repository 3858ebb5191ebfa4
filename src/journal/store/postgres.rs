//! What is peculiar to PostgreSQL: a server over a network, other replicas, the server's clock.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions as _, Row as _};

use super::{ACQUIRE_TIMEOUT, Backend, Committed, Fault, READERS, Unsure, is_unreachable, migration_fault};
use crate::clock::Clock;
use crate::journal::command::Command;
use crate::journal::feed::Bus;
use crate::journal::standing::{Grown, Told};
use crate::journal::{JournalError, RunId};

pub(in crate::journal) type Connection = sqlx::PgConnection;
pub(super) type Pool = sqlx::PgPool;
/// The back end, as the statements call it.
pub(super) type Store = Postgres;
pub(super) type Row = sqlx::postgres::PgRow;
pub(super) type Database = sqlx::Postgres;

/// How a transaction that writes begins; rows that it decides on are locked.
pub(super) const BEGIN: &str = "BEGIN";
/// How a transaction begins whose reads all see the same state.
pub(super) const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Tries to reach the server at start.
const START_TRIES: u32 = 5;
/// Pause between two of them; doubled each time.
const START_PAUSE: Duration = Duration::from_millis(500);
/// Pause before notices are asked for again after the server was lost.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// The channel that replicas tell each other on.
const CHANNEL: &str = "ado_coworker";
/// Most bytes of one notice; PostgreSQL takes less than 8,000.
const MAX_NOTICE: usize = 7_500;

/// A row that is decided on stays as it is until the transaction ends.
macro_rules! for_update {
    () => {
        " FOR UPDATE"
    };
}
/// What another replica is just taking is not waited for.
macro_rules! skip_locked {
    () => {
        " FOR UPDATE SKIP LOCKED"
    };
}

#[path = "statements/mod.rs"]
#[allow(clippy::duplicate_mod, reason = "the statements are compiled for each back end")]
pub(in crate::journal) mod statements;

/// The PostgreSQL back end.
pub(in crate::journal) struct Postgres {
    options: PgConnectOptions,
    clock: Clock,
    replica: String,
}

/// Statements that are done one after the other.
#[derive(Default)]
pub(super) struct Several(Vec<sqlx::QueryBuilder<Database>>);

impl Several {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more, which begins with `sql`.
    pub(super) fn next(&mut self, sql: &str) -> &mut sqlx::QueryBuilder<Database> {
        self.0.push_mut(sqlx::QueryBuilder::new(sql))
    }

    /// Does them, and gives the rows of all of them.
    pub(super) async fn rows(self, db: &mut Connection) -> Result<Vec<Row>, sqlx::Error> {
        let mut rows = Vec::new();
        for mut statement in self.0 {
            rows.append(&mut statement.build().fetch_all(&mut *db).await?);
        }
        Ok(rows)
    }
}

impl Postgres {
    /// Connects to the database that `url` names, brings its schema up to date, and gives the pool
    /// that reads. `replica` tells this process's notices from others'.
    pub(in crate::journal) async fn open(
        url: &str,
        clock: Clock,
        replica: &str,
    ) -> Result<(Self, Pool), JournalError> {
        let options = options(url)?;
        let mut one = connect_patiently(&options).await?;
        sqlx::migrate!("src/journal/migrations/postgres")
            .run_direct(None, &mut one, false)
            .await
            .map_err(|error| migration_fault(&error))?;
        let readers = PgPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options.clone());
        Ok((Self { options, clock, replica: replica.to_owned() }, readers))
    }

    /// The store's time, the same for all replicas. A stepped clock stands for the server's, too.
    pub(super) async fn now(&self, db: &mut Connection) -> Result<i64, sqlx::Error> {
        if matches!(self.clock, Clock::Stepped(_)) {
            return Ok(self.clock.now().as_microsecond());
        }
        let sql = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT";
        sqlx::query_scalar(sql).fetch_one(db).await
    }

    /// Under whose name this process adds up, so that it waits for no other.
    pub(super) fn writer(&self) -> &str {
        &self.replica
    }

    /// Does what was put off, tells the other replicas, once the transaction is committed, and names it.
    pub(super) async fn seal(
        &self,
        db: &mut Connection,
        ahead: &mut Several,
        told: &Told,
    ) -> Result<Option<String>, sqlx::Error> {
        let mut statements = std::mem::take(ahead);
        let name = statements.next("SELECT pg_current_xact_id()::TEXT");
        if !told.is_empty() {
            name.push(", pg_notify(").push_bind(CHANNEL).push(", ");
            name.push_bind(notice(&self.replica, told)).push(")::TEXT");
        }
        statements.rows(db).await?.last().ok_or(sqlx::Error::RowNotFound)?.try_get(0).map(Some)
    }
}

fn options(url: &str) -> Result<PgConnectOptions, JournalError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| JournalError::Open(error.to_string()))?
        .application_name("ado-coworker")
        // A process that was stopped in the middle of a transaction must not hold up the others.
        .options([
            ("statement_timeout", "10s"),
            ("lock_timeout", "5s"),
            ("idle_in_transaction_session_timeout", "5s"),
        ]);
    Ok(options.disable_statement_logging())
}

/// What it takes to look at the database that `url` names: a pool that cannot write, how the notes of a
/// schema are counted, and this program's newest schema.
pub(in crate::journal) async fn to_look(url: &str) -> Result<(Pool, &'static str, i64), JournalError> {
    let options = options(url)?.options([("default_transaction_read_only", "on")]);
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT);
    let pool = pool.connect_with(options.clone()).await;
    let pool = pool.map_err(|error| unreachable_server(&options, &error.to_string()))?;
    let known = sqlx::migrate!("src/journal/migrations/postgres").iter().map(|m| m.version).max();
    let tables = "SELECT COUNT(*) FROM pg_catalog.pg_tables WHERE tablename = '_sqlx_migrations' \
                  AND schemaname = ANY (current_schemas(false))";
    Ok((pool, tables, known.unwrap_or_default()))
}

/// Waits for whoever else uses `name`, until the transaction ends.
pub(super) async fn lock(db: &mut Connection, name: &str) -> Result<(), sqlx::Error> {
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))::TEXT";
    sqlx::query(sql).bind(name).execute(db).await.map(|_| ())
}

async fn connect_patiently(options: &PgConnectOptions) -> Result<Connection, JournalError> {
    let mut pause = START_PAUSE;
    for tried in 1.. {
        match tokio::time::timeout(ACQUIRE_TIMEOUT, options.connect()).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) if tried == START_TRIES || Postgres::judge(&error) != Fault::Passing => {
                return Err(unreachable_server(options, &error.to_string()));
            }
            Err(_) if tried == START_TRIES => {
                return Err(unreachable_server(options, "it does not answer"));
            }
            _ => tracing::warn!(host = options.get_host(), "the database cannot be reached; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err(JournalError::Unavailable)
}

fn unreachable_server(options: &PgConnectOptions, why: &str) -> JournalError {
    let (host, port) = (options.get_host(), options.get_port());
    let database = options.get_database().unwrap_or("(none)");
    JournalError::Open(format!(
        "database {database} at {host}:{port} cannot be used: {why}; check DATABASE_URL and that the server is up"
    ))
}

/// The words of a notice: the replica's name, `w` for work, `r <run> <seq> <0|1>` for a log that
/// grew, `*` where that is too much.
fn notice(replica: &str, told: &Told) -> String {
    let mut text = replica.to_owned();
    if told.work {
        text.push_str("\nw");
    }
    for Grown { run, seq, complete, .. } in &told.runs {
        let line = format!("\nr {run} {seq} {}", u8::from(*complete));
        if text.len() + line.len() > MAX_NOTICE {
            text.push_str("\n*");
            break;
        }
        text.push_str(&line);
    }
    text
}

/// Reads a notice of another replica. None: it is our own.
fn heard(replica: &str, text: &str) -> Option<(Told, bool)> {
    let mut lines = text.lines();
    if lines.next() == Some(replica) {
        return None;
    }
    let (mut told, mut everything) = (Told::default(), false);
    for line in lines {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("w"), ..) => told.work = true,
            (Some("r"), Some(run), Some(seq), Some(complete)) => {
                if let (Some(run), Ok(seq)) = (RunId::parse(run), seq.parse()) {
                    told.runs.push(Grown { run, seq, complete: complete == "1", by_holder: false });
                }
            }
            _ => everything = true,
        }
    }
    Some((told, everything))
}

/// Hands notices of other replicas on, until the process ends. After the server was lost, whoever
/// watches is told to look.
pub(in crate::journal) async fn listen(pool: Pool, replica: String, bus: std::sync::Arc<Bus>) {
    loop {
        if let Ok(mut listener) = PgListener::connect_with(&pool).await
            && listener.listen(CHANNEL).await.is_ok()
        {
            bus.look_again();
            while let Ok(Some(notice)) = listener.try_recv().await {
                if let Some((told, everything)) = heard(&replica, notice.payload()) {
                    bus.tell(&told);
                    if everything {
                        bus.look_again();
                    }
                }
            }
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

impl Backend for Postgres {
    type Connection = Connection;

    const COMMIT_TIMEOUT: Option<Duration> = Some(Duration::from_secs(15));

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

    async fn happened(&self, db: &mut Connection, transaction: &str) -> Result<Option<bool>, sqlx::Error> {
        let status: Option<String> = sqlx::query_scalar("SELECT pg_xact_status($1::TEXT::xid8)")
            .bind(transaction)
            .fetch_one(db)
            .await?;
        match status.as_deref() {
            Some("committed") => Ok(Some(true)),
            Some("aborted") => Ok(Some(false)),
            Some(_) => Ok(None),
            None => Err(sqlx::Error::Protocol("the server has forgotten the transaction".to_owned())),
        }
    }

    /// By SQLSTATE (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
    fn judge(error: &sqlx::Error) -> Fault {
        let sqlx::Error::Database(error) = error else {
            return if is_unreachable(error) { Fault::Passing } else { Fault::Refused };
        };
        let code = error.code().unwrap_or_default();
        match (code.get(..2), code.as_ref()) {
            (_, "53100") => Fault::Full,
            // Wrong password, no such database or role: waiting does not help.
            (_, "28P01" | "28000" | "3D000") => Fault::Refused,
            // Connection, too many of them, deadlock or timeout, being shut down or started, standby.
            (Some("08" | "40" | "53" | "55" | "57"), _) | (_, "25006" | "25P03") => Fault::Passing,
            _ => Fault::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_reads_back_and_our_own_is_not_heard() {
        let grown = |seq| Grown { run: RunId::generate(), seq, complete: true, by_holder: false };
        let told = Told { runs: vec![grown(7)], work: true };
        let text = notice("me", &told);
        assert_eq!(heard("me", &text), None);
        assert_eq!(heard("you", &text), Some((told, false)));
        let many = Told { runs: (0..500).map(grown).collect(), work: false };
        let text = notice("me", &many);
        assert!(text.len() < 8_000);
        let (some, everything) = heard("you", &text).unwrap();
        assert!(everything && some.runs.len() > 100);
    }
}
