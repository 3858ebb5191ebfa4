//! What came in from outside, each with its fate.

use std::time::Duration;

use sqlx::Row as _;

use super::super::super::column;
use super::super::lock;
use super::claim::CLAIMS_LOCK;
use super::{Applied, Transaction, read};
use crate::journal::command::{Answer, Delivered, Settled, micros};
use crate::journal::standing::MAX_ATTEMPTS;
use crate::journal::{IntakeStatus, Judging, Received, RunId, Status};

/// Most events judged together.
const MAX_TOGETHER: i64 = 50;
/// Most events set aside while one is looked for.
const MAX_SET_ASIDE: usize = 8;

impl Transaction<'_> {
    pub(super) async fn receive(&mut self, delivered: &Delivered) -> Applied {
        let event = match serde_json::to_string(&delivered.event) {
            Ok(event) => event,
            Err(error) => return Err(sqlx::Error::Encode(Box::new(error))),
        };
        let status = if delivered.refused.is_some() { IntakeStatus::Ignored } else { IntakeStatus::Received };
        let due = delivered.refused.is_none().then(|| self.now + micros(delivered.after));
        let sql = "INSERT INTO intake (id, dedup_key, kind, summary, event, subject, status, reason, received_at, \
                   updated_at, due_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10) \
                   ON CONFLICT (dedup_key) DO NOTHING";
        let new = sqlx::query(sql)
            .bind(delivered.id.as_str())
            .bind(column(&delivered.key))
            .bind(column(delivered.key.split(':').next().unwrap_or_default()))
            .bind(column(&delivered.summary))
            .bind(event)
            .bind(delivered.subject.as_deref().map(column))
            .bind(status.as_str())
            .bind(delivered.refused.as_deref().map(column))
            .bind(self.now)
            .bind(due)
            .execute(self.db().await?)
            .await?
            .rows_affected();
        let (id, duplicate) = if new == 1 {
            self.told.work |= due.is_some();
            (delivered.id.clone(), false)
        } else {
            let sql = "SELECT id FROM intake WHERE dedup_key = $1";
            let known =
                sqlx::query_scalar(sql).bind(column(&delivered.key)).fetch_one(self.db().await?).await?;
            (known, true)
        };
        Ok(Ok(Answer::Received(Received { id, duplicate })))
    }

    /// Takes the oldest event that is due, and with it all that wait about the same subject.
    pub(super) async fn claim_intake(&mut self, token: &str, lease: Duration) -> Applied {
        // Two replicas must not each take some of the events about one thing.
        lock(self.db().await?, CLAIMS_LOCK).await?;
        if self.is_halted().await? {
            return Ok(Ok(Answer::Judging(None)));
        }
        for _ in 0..MAX_SET_ASIDE {
            let sql = concat!(
                "SELECT id, subject, attempts FROM intake i WHERE status = 'received' AND due_at <= $1 \
                 AND NOT EXISTS (SELECT 1 FROM intake x WHERE x.status = 'received' AND x.subject = i.subject \
                 AND x.holder IS NOT NULL AND x.due_at > $1) ORDER BY due_at LIMIT 1",
                skip_locked!()
            );
            let Some(row) = sqlx::query(sql).bind(self.now).fetch_optional(self.db().await?).await? else {
                break;
            };
            let (id, subject): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
            if row.try_get::<i64, _>(2)? >= MAX_ATTEMPTS {
                self.set_event_aside(&id).await?;
                continue;
            }
            let mut events = self.take_together(&id, subject.as_deref(), token, lease).await?;
            events.sort_by(|a, b| (a.received_at, &a.id).cmp(&(b.received_at, &b.id)));
            return Ok(Ok(Answer::Judging(Some(Judging { events, token: token.to_owned() }))));
        }
        Ok(Ok(Answer::Judging(None)))
    }

    async fn take_together(
        &mut self,
        id: &str,
        subject: Option<&str>,
        token: &str,
        lease: Duration,
    ) -> Result<Vec<crate::journal::IntakeRow>, sqlx::Error> {
        let sql = "UPDATE intake SET holder = $3, due_at = $5, attempts = attempts + 1 \
                   WHERE id = $1 OR id IN (SELECT id FROM intake WHERE status = 'received' AND subject = $2 \
                   AND (holder IS NULL OR due_at <= $4) AND attempts < $6 ORDER BY received_at LIMIT $7) \
                   RETURNING id, kind, summary, event, status, reason, run_id, received_at";
        let rows = sqlx::query(sql)
            .bind(id)
            .bind(subject)
            .bind(token)
            .bind(self.now)
            .bind(self.now + micros(lease))
            .bind(MAX_ATTEMPTS)
            .bind(MAX_TOGETHER)
            .fetch_all(self.db().await?)
            .await?;
        rows.iter().map(read::intake_of).collect()
    }

    async fn set_event_aside(&mut self, id: &str) -> Result<(), sqlx::Error> {
        let reason = format!(
            "It was looked at {MAX_ATTEMPTS} times and each time the worker came to an end over it. \
             The program's log may say why; redeliver it to try again."
        );
        let sql = "UPDATE intake SET status = 'parked', reason = $2, holder = NULL, due_at = NULL, updated_at = $3 \
                   WHERE id = $1";
        sqlx::query(sql).bind(id).bind(reason).bind(self.now).execute(self.db().await?).await?;
        Ok(())
    }

    /// Settles the events of a claim. False: they are no longer the claim's.
    pub(super) async fn settle(&mut self, settled: &Settled) -> Result<bool, sqlx::Error> {
        let sql = "UPDATE intake SET status = $2, reason = $3, run_id = $4, updated_at = $5, holder = NULL, \
                   due_at = NULL WHERE holder = $1 AND status = 'received' AND ($6 IS NULL OR id = $6)";
        let done = sqlx::query(sql)
            .bind(settled.token.as_str())
            .bind(settled.status.as_str())
            .bind(settled.reason.as_deref().map(column))
            .bind(settled.run.as_ref().map(RunId::as_str))
            .bind(self.now)
            .bind(settled.only.as_deref())
            .execute(self.db().await?)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    pub(super) async fn postpone(&mut self, token: &str, after: Duration) -> Applied {
        let sql = "UPDATE intake SET holder = NULL, due_at = $2, attempts = 0, updated_at = $3 \
                   WHERE holder = $1 AND status = 'received'";
        let query = sqlx::query(sql).bind(token).bind(self.now + micros(after)).bind(self.now);
        Ok(Ok(Answer::Done(query.execute(self.db().await?).await?.rows_affected() > 0)))
    }

    pub(super) async fn redeliver(&mut self, id: &str) -> Applied {
        let sql = "UPDATE intake SET status = 'received', reason = NULL, run_id = NULL, holder = NULL, due_at = $2, \
                   attempts = 0, updated_at = $2 WHERE id = $1";
        let done =
            sqlx::query(sql).bind(id).bind(self.now).execute(self.db().await?).await?.rows_affected() == 1;
        self.told.work |= done;
        Ok(Ok(Answer::Done(done)))
    }

    /// Forgets events that were settled long ago, the oldest first.
    pub(super) async fn sweep(&mut self, older_than: Duration, most: i64) -> Applied {
        let sql = "DELETE FROM intake WHERE id IN (SELECT id FROM intake WHERE received_at < $1 \
                   AND status NOT IN ('received', 'running') ORDER BY received_at LIMIT $2)";
        let query = sqlx::query(sql).bind(self.now - micros(older_than)).bind(most);
        Ok(Ok(Answer::Gone(query.execute(self.db().await?).await?.rows_affected())))
    }

    /// The run that an event started has ended.
    pub(super) async fn event_ends(&mut self, run: &RunId, status: Status) -> Result<(), sqlx::Error> {
        let fate = match status {
            Status::Failed => IntakeStatus::Failed,
            Status::Parked => IntakeStatus::Parked,
            _ => IntakeStatus::Done,
        };
        let sql = "UPDATE intake SET status = $2, updated_at = $3 WHERE run_id = $1 AND status = 'running'";
        let query = sqlx::query(sql).bind(run.as_str()).bind(fate.as_str()).bind(self.now);
        query.execute(self.db().await?).await.map(|_| ())
    }

    /// A person sent the run on that an event started and that had not ended well.
    pub(super) async fn event_goes_on(&mut self, run: &RunId) -> Result<(), sqlx::Error> {
        let sql = "UPDATE intake SET status = 'running', updated_at = $2 \
                   WHERE run_id = $1 AND status IN ('failed', 'parked')";
        sqlx::query(sql).bind(run.as_str()).bind(self.now).execute(self.db().await?).await.map(|_| ())
    }
}
