//! People who have signed in.

use super::super::Pool;
use super::{Applied, Transaction};
use crate::journal::command::Answer;

impl Transaction<'_> {
    /// Keeps a session; those that have ended go.
    pub(super) async fn keep_session(&mut self, key: &str, body: &str, ends_at: i64) -> Applied {
        sqlx::query("DELETE FROM sessions WHERE ends_at < $1").bind(self.now).execute(&mut *self.db).await?;
        let sql = "INSERT INTO sessions (key, body, ends_at) VALUES ($1, $2, $3) ON CONFLICT (key) \
                   DO UPDATE SET body = excluded.body, ends_at = excluded.ends_at";
        sqlx::query(sql).bind(key).bind(body).bind(ends_at).execute(&mut *self.db).await?;
        Ok(Ok(Answer::Done(true)))
    }

    /// Ends a session.
    pub(super) async fn end_session(&mut self, key: &str) -> Applied {
        sqlx::query("DELETE FROM sessions WHERE key = $1").bind(key).execute(&mut *self.db).await?;
        Ok(Ok(Answer::Done(true)))
    }
}

/// A session's body.
pub(in crate::journal) async fn session(db: &Pool, key: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT body FROM sessions WHERE key = $1").bind(key).fetch_optional(db).await
}
