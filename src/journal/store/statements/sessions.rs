//! People who have signed in.

use super::super::Pool;
use super::{Applied, Transaction};
use crate::journal::command::Answer;

impl Transaction<'_> {
    /// Keeps a session; those that have ended go. Notes which groups the person is in, where all are
    /// known.
    pub(super) async fn keep_session(
        &mut self,
        key: &str,
        body: &str,
        ends_at: i64,
        (oid, groups): (&str, Option<&[String]>),
    ) -> Applied {
        if let Some(groups) = groups {
            self.note_groups(oid, groups).await?;
        }
        sqlx::query("DELETE FROM sessions WHERE ends_at < $1")
            .bind(self.now)
            .execute(self.db().await?)
            .await?;
        let sql = "INSERT INTO sessions (key, body, ends_at) VALUES ($1, $2, $3) ON CONFLICT (key) \
                   DO UPDATE SET body = excluded.body, ends_at = excluded.ends_at";
        sqlx::query(sql).bind(key).bind(body).bind(ends_at).execute(self.db().await?).await?;
        Ok(Ok(Answer::Done(true)))
    }

    async fn note_groups(&mut self, oid: &str, groups: &[String]) -> Result<(), sqlx::Error> {
        let sql = "SELECT grp FROM memberships WHERE oid = $1";
        let known: Vec<String> = sqlx::query_scalar(sql).bind(oid).fetch_all(self.db().await?).await?;
        // Who is seen for the first time was in these groups before, as far as anybody can tell; the
        // row without a group says that the person is known.
        let since = if known.is_empty() { 0 } else { self.now };
        for group in
            groups.iter().map(String::as_str).chain([""]).filter(|group| !known.iter().any(|k| k == group))
        {
            let sql = "INSERT INTO memberships (oid, grp, since) VALUES ($1, $2, $3) ON CONFLICT (oid, grp) DO NOTHING";
            sqlx::query(sql).bind(oid).bind(group).bind(since).execute(self.db().await?).await?;
        }
        for gone in known.iter().filter(|known| !known.is_empty() && !groups.contains(known)) {
            let sql = "DELETE FROM memberships WHERE oid = $1 AND grp = $2";
            sqlx::query(sql).bind(oid).bind(gone.as_str()).execute(self.db().await?).await?;
        }
        Ok(())
    }

    /// Ends a session.
    pub(super) async fn end_session(&mut self, key: &str) -> Applied {
        sqlx::query("DELETE FROM sessions WHERE key = $1").bind(key).execute(self.db().await?).await?;
        Ok(Ok(Answer::Done(true)))
    }
}

/// Groups in which somebody was first seen after an instant.
pub(in crate::journal) async fn joined_since(
    db: &Pool,
    oid: &str,
    since: i64,
) -> Result<Vec<String>, sqlx::Error> {
    let sql = "SELECT grp FROM memberships WHERE oid = $1 AND since > $2 AND grp <> '' ORDER BY grp";
    sqlx::query_scalar(sql).bind(oid).bind(since).fetch_all(db).await
}

/// A session's body.
pub(in crate::journal) async fn session(db: &Pool, key: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT body FROM sessions WHERE key = $1").bind(key).fetch_optional(db).await
}
