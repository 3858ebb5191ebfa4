//! What was judged, marks, and whose turn it is.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::Row as _;

use super::super::Pool;
use super::{Applied, Transaction};
use crate::journal::Seen;
use crate::journal::command::{Answer, micros};

/// How long a version is remembered, in microseconds. What is older is not acted on anyhow.
const KEPT: i64 = 400 * 24 * 60 * 60 * 1_000_000;
/// Most old versions forgotten with one write.
const FORGOTTEN: i64 = 100;
/// Most versions asked for in one statement.
const CHUNK: usize = 200;

impl Transaction<'_> {
    /// Remembers versions for `event`; gives those that are its own.
    pub(super) async fn see(&mut self, event: &str, seen: &[Seen]) -> Applied {
        let mut own = HashSet::new();
        for Seen { version, subject, kind } in seen {
            let sql = "INSERT INTO seen (version, event_id, subject, kind, at) VALUES ($1, $2, $3, $4, $5) \
                       ON CONFLICT (version) DO NOTHING";
            sqlx::query(sql)
                .bind(version)
                .bind(event)
                .bind(subject)
                .bind(kind.map(|kind| kind.as_str()))
                .bind(self.now)
                .execute(self.db().await?)
                .await?;
            let sql = "SELECT event_id FROM seen WHERE version = $1";
            let first: String = sqlx::query_scalar(sql).bind(version).fetch_one(self.db().await?).await?;
            if first == event {
                own.insert(version.clone());
            }
        }
        let sql = "DELETE FROM seen WHERE version IN (SELECT version FROM seen WHERE at < $1 LIMIT $2)";
        sqlx::query(sql).bind(self.now - KEPT).bind(FORGOTTEN).execute(self.db().await?).await?;
        Ok(Ok(Answer::Own(own)))
    }

    /// Sets a mark, or keeps the one there is.
    pub(super) async fn mark(&mut self, name: &str, value: i64, keep: bool) -> Applied {
        let sql = match keep {
            true => "INSERT INTO marks (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
            false => {
                "INSERT INTO marks (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
            }
        };
        sqlx::query(sql).bind(name).bind(value).execute(self.db().await?).await?;
        let sql = "SELECT value FROM marks WHERE name = $1";
        let value: i64 = sqlx::query_scalar(sql).bind(name).fetch_one(self.db().await?).await?;
        Ok(Ok(Answer::Mark(value)))
    }

    /// Takes a turn, when the last one was long enough ago.
    pub(super) async fn take_turn(&mut self, name: &str, every: Duration) -> Applied {
        let sql = "INSERT INTO marks (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE \
                   SET value = excluded.value WHERE marks.value <= $3";
        let query = sqlx::query(sql).bind(name).bind(self.now + micros(every)).bind(self.now);
        Ok(Ok(Answer::Done(query.execute(self.db().await?).await?.rows_affected() == 1)))
    }
}

/// Those of `versions` that somebody judged.
pub(in crate::journal) async fn seen(db: &Pool, versions: &[String]) -> Result<HashSet<String>, sqlx::Error> {
    let mut known = HashSet::new();
    for chunk in versions.chunks(CHUNK) {
        let places: Vec<String> = (1..=chunk.len()).map(|n| format!("${n}")).collect();
        // Only numbers of placeholders are put in.
        let sql =
            sqlx::AssertSqlSafe(format!("SELECT version FROM seen WHERE version IN ({})", places.join(", ")));
        let query = chunk.iter().fold(sqlx::query_scalar(sql), |query, version| query.bind(version));
        let found: Vec<String> = query.fetch_all(db).await?;
        known.extend(found);
    }
    Ok(known)
}

/// How many versions of this kind about `subject` were judged since.
pub(in crate::journal) async fn seen_of(
    db: &Pool,
    subject: &str,
    kind: &str,
    since: i64,
) -> Result<i64, sqlx::Error> {
    let sql = "SELECT COUNT(*) FROM seen WHERE subject = $1 AND kind = $2 AND at >= $3";
    sqlx::query_scalar(sql).bind(subject).bind(kind).bind(since).fetch_one(db).await
}

/// A mark.
pub(in crate::journal) async fn mark_of(db: &Pool, name: &str) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT value FROM marks WHERE name = $1").bind(name).fetch_optional(db).await
}

/// How many runs events began since, about `subject` or in all.
pub(in crate::journal) async fn runs_from_events(
    db: &Pool,
    subject: Option<&str>,
    since: i64,
) -> Result<i64, sqlx::Error> {
    let count = match subject {
        Some(subject) => {
            let sql =
                "SELECT COUNT(*) FROM runs WHERE subject = $1 AND source = 'webhook' AND created_at >= $2";
            sqlx::query_scalar(sql).bind(subject).bind(since).fetch_one(db)
        }
        None => {
            let sql = "SELECT COUNT(*) FROM runs WHERE source = 'webhook' AND created_at >= $1";
            sqlx::query_scalar(sql).bind(since).fetch_one(db)
        }
    };
    count.await
}

/// What runs that have not ended are about.
pub(in crate::journal) async fn active_subjects(db: &Pool, most: i64) -> Result<Vec<String>, sqlx::Error> {
    let sql = "SELECT DISTINCT subject FROM runs WHERE status IN ('queued', 'running', 'waiting') \
               AND subject IS NOT NULL ORDER BY subject LIMIT $1";
    let rows = sqlx::query(sql).bind(most).fetch_all(db).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
