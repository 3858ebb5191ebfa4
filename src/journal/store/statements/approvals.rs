//! Approvals, kept beside the logs.

use std::collections::BTreeMap;

use sqlx::Row as _;

use super::super::{Pool, Row};
use super::Transaction;
use crate::journal::approvals::{Kept, fold, named};
use crate::journal::chain::Draft;
use crate::journal::{JournalError, RunId};
use crate::policy::approval::Approval;

impl Transaction<'_> {
    /// Moves the approvals that new entries are about. An entry that does not follow from where its
    /// approval is refuses the whole command, before anything of it is written.
    pub(super) async fn move_approvals(
        &mut self,
        run: &RunId,
        drafts: &[Draft],
    ) -> Result<Result<(), JournalError>, sqlx::Error> {
        let entries = || drafts.iter().map(|draft| &draft.entry);
        let mut kept = BTreeMap::new();
        for id in named(entries()) {
            let sql = concat!("SELECT run_id, body FROM approvals WHERE id = $1", for_update!());
            if let Some(row) = sqlx::query(sql).bind(id).fetch_optional(self.db().await?).await? {
                let (run, approval) = approval_of(&row)?;
                kept.insert(id.to_owned(), Kept { run, approval });
            }
        }
        if let Err(error) = fold(run, entries(), &mut kept, self.now) {
            return Ok(Err(error));
        }
        for (id, kept) in kept {
            let sql = "INSERT INTO approvals (id, run_id, state, requested_at, expires_at, grant_until, body) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET \
                       state = excluded.state, grant_until = excluded.grant_until, body = excluded.body";
            let body = serde_json::to_string(&kept.approval)
                .map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
            sqlx::query(sql)
                .bind(&id)
                .bind(kept.run.as_str())
                .bind(kept.approval.state.as_str())
                .bind(kept.approval.requested_at)
                .bind(kept.approval.request.expires_at)
                .bind(kept.approval.leave_until())
                .bind(&body)
                .execute(self.db().await?)
                .await?;
        }
        Ok(Ok(()))
    }
}

fn approval_of(row: &Row) -> Result<(RunId, Approval), sqlx::Error> {
    let body: String = row.try_get(1)?;
    let approval = serde_json::from_str(&body).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok((RunId(row.try_get(0)?), approval))
}

pub(in crate::journal) async fn approval(
    db: &Pool,
    id: &str,
) -> Result<Option<(RunId, Approval)>, sqlx::Error> {
    let sql = "SELECT run_id, body FROM approvals WHERE id = $1";
    sqlx::query(sql).bind(id).fetch_optional(db).await?.map(|row| approval_of(&row)).transpose()
}

pub(in crate::journal) async fn approvals(
    db: &Pool,
    state: Option<&str>,
    limit: i64,
) -> Result<Vec<(RunId, Approval)>, sqlx::Error> {
    let sql = "SELECT run_id, body FROM approvals WHERE state = COALESCE($1, state) \
               ORDER BY requested_at DESC, id LIMIT $2";
    sqlx::query(sql).bind(state).bind(limit).fetch_all(db).await?.iter().map(approval_of).collect()
}

pub(in crate::journal) async fn asked_since(db: &Pool, ts: i64) -> Result<(i64, Option<i64>), sqlx::Error> {
    let sql = "SELECT COUNT(*), MIN(requested_at) FROM approvals WHERE requested_at > $1";
    let row = sqlx::query(sql).bind(ts).fetch_one(db).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

pub(in crate::journal) async fn open_grants(
    db: &Pool,
    now: i64,
    limit: i64,
) -> Result<Vec<Approval>, sqlx::Error> {
    let sql =
        "SELECT run_id, body FROM approvals WHERE grant_until > $1 ORDER BY requested_at DESC, id LIMIT $2";
    let rows = sqlx::query(sql).bind(now).bind(limit).fetch_all(db).await?;
    rows.iter().map(|row| approval_of(row).map(|(_, approval)| approval)).collect()
}
