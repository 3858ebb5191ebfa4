//! The journal on both of its stores: the same tests for SQLite and PostgreSQL.

mod events;
mod house;
mod memberships;
mod operation;
mod record;
mod replicas;
mod runs;
mod seen;
mod sessions;
mod spent;

use std::time::Duration;

use ado_coworker::clock::Clock;
use ado_coworker::journal::{Entry, Journal, NewRun, Person, Source, Status};

use crate::postgres;

/// How long the tests' claims hold.
const LEASE: Duration = Duration::from_secs(30);

/// A store for one test.
pub struct Store {
    url: String,
    /// The SQLite file is in it.
    _folder: tempfile::TempDir,
}

impl Store {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { url: format!("sqlite:{}", folder.path().join("journal.db").display()), _folder: folder }
    }

    async fn postgres() -> Self {
        Self { url: postgres::database().await, _folder: tempfile::tempdir().unwrap() }
    }

    async fn open(&self, clock: &Clock) -> Journal {
        Journal::open(&self.url, clock.clone()).await.unwrap()
    }

    /// Changes the database behind the journal's back.
    async fn sql(&self, sql: &'static str) {
        use sqlx::{Connection as _, Executor as _};
        if self.url.starts_with("sqlite:") {
            let mut attacker = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            attacker.execute(sqlx::raw_sql(sql)).await.unwrap();
            attacker.close().await.unwrap();
        } else {
            let mut attacker = sqlx::PgConnection::connect(&self.url).await.unwrap();
            attacker.execute(sqlx::raw_sql(sql)).await.unwrap();
            attacker.close().await.unwrap();
        }
    }
}

/// One test on each store.
macro_rules! on_both {
    ($($(#[$about:meta])* async fn $name:ident($store:ident: Store) $body:block)*) => {$(
        $(#[$about])*
        mod $name {
            use super::*;

            async fn check($store: Store) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                check(Store::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                check(Store::postgres().await).await;
            }
        }
    )*};
}
use on_both;

/// A clock that the test moves.
fn stepped() -> Clock {
    Clock::stepped(jiff::Timestamp::from_second(1_800_000_000).unwrap())
}

fn new_run(text: &str) -> NewRun {
    NewRun {
        instruction: text.into(),
        source: Source::Chat,
        requested_by: Person::named("bob"),
        project: "Fabrikam".into(),
        repository: "web-shop".into(),
        subject: None,
        trigger: None,
    }
}

fn about(text: &str, subject: &str) -> NewRun {
    NewRun { subject: Some(subject.into()), ..new_run(text) }
}

fn finished() -> Entry {
    Entry::Finished { status: Status::Done, answer: "Done.".into(), remedy: None }
}

fn trouble(text: &str) -> Entry {
    Entry::Trouble { what: text.into(), remedy: None }
}

fn message(text: &str) -> Entry {
    Entry::Message { from: Person::named("bob"), text: text.into() }
}
