//! The switch that stops everything.

use super::super::{Pool, lock};
use super::claim::CLAIMS_LOCK;
use super::{Applied, Transaction};
use crate::journal::chain::Draft;
use crate::journal::command::Answer;
use crate::journal::{Halt, JournalError, Person, RunId};

impl Transaction<'_> {
    pub(super) async fn halt(&mut self, by: &Person, reason: &str, draft: &Draft) -> Applied {
        let halt = Halt { by: by.clone(), at: self.now, reason: reason.to_owned() };
        let body = match serde_json::to_string(&halt) {
            Ok(body) => body,
            Err(error) => return Ok(Err(JournalError::Store(error.to_string()))),
        };
        // Whoever is just taking a run has it before this, or not at all.
        lock(self.db().await?, CLAIMS_LOCK).await?;
        let sql = "INSERT INTO halt (one, body) VALUES (1, $1) ON CONFLICT DO NOTHING";
        if sqlx::query(sql).bind(body).execute(self.db().await?).await?.rows_affected() == 0 {
            return Ok(Ok(Answer::Done(false)));
        }
        // A higher fence: what their holders still write is refused.
        let sql = "UPDATE runs SET status = 'queued', holder = NULL, lease_until = NULL, due_at = $1, \
                   fence = fence + 1, attempts = 0 WHERE status = 'running'";
        sqlx::query(sql).bind(self.now).execute(self.db().await?).await?;
        let sql = "UPDATE intake SET holder = NULL, due_at = $1, attempts = 0 \
                   WHERE status = 'received' AND holder IS NOT NULL";
        sqlx::query(sql).bind(self.now).execute(self.db().await?).await?;
        self.told.work = true;
        self.write_house(draft).await
    }

    pub(super) async fn lift(&mut self, draft: &Draft) -> Applied {
        if sqlx::query("DELETE FROM halt").execute(self.db().await?).await?.rows_affected() == 0 {
            return Ok(Ok(Answer::Done(false)));
        }
        self.told.work = true;
        self.write_house(draft).await
    }

    /// Writes into the house's log.
    pub(super) async fn write_house(&mut self, draft: &Draft) -> Applied {
        let drafts = std::slice::from_ref(draft);
        let added = self.append(&RunId::house(), None, i64::MAX, drafts, None).await?;
        Ok(added.map(|_| Answer::Done(true)))
    }

    /// Whether everything is stopped.
    pub(super) async fn is_halted(&mut self) -> Result<bool, sqlx::Error> {
        let found: Option<i32> =
            sqlx::query_scalar("SELECT 1 FROM halt").fetch_optional(self.db().await?).await?;
        Ok(found.is_some())
    }
}

pub(in crate::journal) async fn halted(db: &Pool) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT body FROM halt").fetch_optional(db).await
}
