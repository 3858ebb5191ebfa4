//! Approvals as they stand, moved with the entries of logs.

use std::collections::BTreeMap;

use sqlx::Row as _;

use super::super::{Pool, Row};
use super::Transaction;
use crate::journal::approvals::{Kept, fold, named};
use crate::journal::chain::Draft;
use crate::journal::{JournalError, RunId};
use crate::policy::approval::Approval;

impl Transaction<'_> {
    /// Moves the approvals that entries are about, or refuses the entries.
    pub(super) async fn move_approvals(
        &mut self,
        run: &RunId,
        drafts: &[Draft],
    ) -> Result<Result<(), JournalError>, sqlx::Error> {
        let mut kept = BTreeMap::new();
        for id in named(drafts.iter().map(|draft| &draft.entry)) {
            let sql = concat!("SELECT run_id, body FROM approvals WHERE id = $1", for_update!());
            if let Some(row) = sqlx::query(sql).bind(id).fetch_optional(&mut *self.db).await? {
                let (run, approval) = approval_of(&row)?;
                kept.insert(id.to_owned(), Kept { run, approval });
            }
        }
        if let Err(error) = fold(run, drafts.iter().map(|draft| &draft.entry), &mut kept, self.now) {
            return Ok(Err(error));
        }
        for (id, kept) in &kept {
            let sql = "INSERT INTO approvals (id, run_id, state, requested_at, expires_at, grant_until, body) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET \
                       state = excluded.state, grant_until = excluded.grant_until, body = excluded.body";
            let body = serde_json::to_string(&kept.approval).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
            sqlx::query(sql)
                .bind(id.as_str())
                .bind(kept.run.as_str())
                .bind(kept.approval.state.as_str())
                .bind(kept.approval.requested_at)
                .bind(kept.approval.request.expires_at)
                .bind(kept.approval.leave_until())
                .bind(body)
                .execute(&mut *self.db)
                .await?;
        }
        Ok(Ok(()))
    }
}

fn approval_of(row: &Row) -> Result<(RunId, Approval), sqlx::Error> {
    let body: String = row.try_get(1)?;
    let approval = serde_json::from_str(&body).map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
    Ok((RunId(row.try_get(0)?), approval))
}

/// One approval, and the run that asked.
pub(in crate::journal) async fn approval(
    db: &Pool,
    id: &str,
) -> Result<Option<(RunId, Approval)>, sqlx::Error> {
    let sql = "SELECT run_id, body FROM approvals WHERE id = $1";
    let row = sqlx::query(sql).bind(id).fetch_optional(db).await?;
    row.map(|row| approval_of(&row)).transpose()
}

/// Approvals in one state, or all, newest first.
pub(in crate::journal) async fn approvals(
    db: &Pool,
    state: Option<&str>,
    limit: i64,
) -> Result<Vec<(RunId, Approval)>, sqlx::Error> {
    let rows = match state {
        Some(state) => {
            let sql = "SELECT run_id, body FROM approvals WHERE state = $1 ORDER BY requested_at DESC LIMIT $2";
            sqlx::query(sql).bind(state).bind(limit).fetch_all(db).await?
        }
        None => {
            let sql = "SELECT run_id, body FROM approvals ORDER BY requested_at DESC LIMIT $1";
            sqlx::query(sql).bind(limit).fetch_all(db).await?
        }
    };
    rows.iter().map(approval_of).collect()
}

/// How many were asked for since, and when the first of them was.
pub(in crate::journal) async fn asked_since(db: &Pool, ts: i64) -> Result<(i64, Option<i64>), sqlx::Error> {
    let sql = "SELECT COUNT(*), MIN(requested_at) FROM approvals WHERE requested_at > $1";
    let row = sqlx::query(sql).bind(ts).fetch_one(db).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Those that give leave for more actions.
pub(in crate::journal) async fn open_grants(
    db: &Pool,
    now: i64,
    limit: i64,
) -> Result<Vec<Approval>, sqlx::Error> {
    let sql = "SELECT run_id, body FROM approvals WHERE grant_until > $1 ORDER BY requested_at DESC LIMIT $2";
    let rows = sqlx::query(sql).bind(now).bind(limit).fetch_all(db).await?;
    rows.iter().map(|row| approval_of(row).map(|(_, approval)| approval)).collect()
}
