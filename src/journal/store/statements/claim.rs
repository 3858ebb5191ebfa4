//! The queue: who works which run, and how many at once.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::Row as _;

use super::super::lock;
use super::{Applied, Transaction};
use crate::journal::chain::Draft;
use crate::journal::command::{Answer, micros};
use crate::journal::standing::{MAX_ATTEMPTS, Standing, set_aside};
use crate::journal::{Claim, Limits, RunId};

/// The lock under which runs are counted and taken, and events taken together.
pub(super) const CLAIMS_LOCK: &str = "ado-coworker claims";
/// Most runs set aside while one is looked for.
const MAX_SET_ASIDE: usize = 8;

/// Runs under way, counted.
#[derive(Default)]
struct UnderWay {
    by_model: HashMap<String, i64>,
    by_project: HashMap<String, i64>,
    by_repository: HashMap<(String, String), i64>,
}

impl Transaction<'_> {
    pub(super) async fn claim(
        &mut self,
        run: Option<&RunId>,
        holder: &str,
        lease: Duration,
        limits: &Limits,
    ) -> Applied {
        lock(self.db().await?, CLAIMS_LOCK).await?;
        if self.is_halted().await? {
            return Ok(Ok(Answer::Claimed(None)));
        }
        for _ in 0..MAX_SET_ASIDE {
            let found = match run {
                Some(run) => self.this_one(run).await?,
                None => self.next_one(limits).await?,
            };
            let Some(id) = found else { break };
            let Some(mut standing) = self.standing(&id).await? else { break };
            if standing.attempts >= MAX_ATTEMPTS {
                let end = match Draft::of(set_aside()) {
                    Ok(end) => end,
                    Err(error) => return Ok(Err(error)),
                };
                self.write(&id, &mut standing, &[end], true).await?;
                continue;
            }
            return self.hold(id, standing, holder, lease, limits).await;
        }
        Ok(Ok(Answer::Claimed(None)))
    }

    async fn hold(
        &mut self,
        run: RunId,
        mut standing: Standing,
        holder: &str,
        lease: Duration,
        limits: &Limits,
    ) -> Applied {
        standing.held(holder, self.now + micros(lease));
        self.save(&run, &standing, true);
        let model = self.ahead.next("UPDATE runs SET model = ");
        model.push_bind(limits.model.as_str()).push(" WHERE id = ").push_bind(run.as_str());
        Ok(Ok(Answer::Claimed(Some(Claim { run, fence: standing.fence }))))
    }

    /// This run, when it is due and no other run about the same thing is under way.
    async fn this_one(&mut self, run: &RunId) -> Result<Option<RunId>, sqlx::Error> {
        let sql = concat!(
            "SELECT id FROM runs r WHERE id = $1 AND due_at <= $2 AND NOT EXISTS (SELECT 1 FROM runs x \
             WHERE x.status = 'running' AND x.subject = r.subject AND x.project = r.project \
             AND x.repository = r.repository AND x.lease_until > $2)",
            skip_locked!()
        );
        let query = sqlx::query_scalar(sql).bind(run.as_str()).bind(self.now);
        Ok(query.fetch_optional(self.db().await?).await?.map(RunId))
    }

    /// The oldest run that is due, of the project with the fewest under way, within the limits.
    async fn next_one(&mut self, limits: &Limits) -> Result<Option<RunId>, sqlx::Error> {
        let sql = "SELECT project, repository, MIN(due_at) FROM runs WHERE due_at <= $1 GROUP BY project, repository";
        let rows = sqlx::query(sql).bind(self.now).fetch_all(self.db().await?).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let under_way = self.under_way_now().await?;
        if under_way.by_model.get(&limits.model).is_some_and(|n| *n >= limits.per_model) {
            return Ok(None);
        }
        let mut places = Vec::new();
        for row in rows {
            let place: (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let oldest: i64 = row.try_get(2)?;
            let in_project = under_way.by_project.get(&place.0).copied().unwrap_or(0);
            let in_repository = under_way.by_repository.get(&place).copied().unwrap_or(0);
            if in_project < limits.per_project && in_repository < limits.per_repository {
                places.push((in_project, in_repository, oldest, place));
            }
        }
        places.sort();
        for (.., (project, repository)) in places {
            let found = self.oldest_in(&project, &repository).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn oldest_in(&mut self, project: &str, repository: &str) -> Result<Option<RunId>, sqlx::Error> {
        // Runs about the same thing write to the same branch: one after the other.
        let sql = concat!(
            "SELECT id FROM runs r WHERE project = $1 AND repository = $2 AND due_at <= $3 AND NOT EXISTS \
             (SELECT 1 FROM runs x WHERE x.status = 'running' AND x.subject = r.subject \
             AND x.project = r.project AND x.repository = r.repository AND x.lease_until > $3) \
             ORDER BY due_at LIMIT 1",
            skip_locked!()
        );
        let query = sqlx::query_scalar(sql).bind(project).bind(repository).bind(self.now);
        Ok(query.fetch_optional(self.db().await?).await?.map(RunId))
    }

    async fn under_way_now(&mut self) -> Result<UnderWay, sqlx::Error> {
        let sql = "SELECT project, repository, model, COUNT(*) FROM runs \
                   WHERE status = 'running' AND lease_until > $1 GROUP BY project, repository, model";
        let mut counted = UnderWay::default();
        for row in sqlx::query(sql).bind(self.now).fetch_all(self.db().await?).await? {
            let place: (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let (model, n): (Option<String>, i64) = (row.try_get(2)?, row.try_get(3)?);
            *counted.by_model.entry(model.unwrap_or_default()).or_default() += n;
            *counted.by_project.entry(place.0.clone()).or_default() += n;
            *counted.by_repository.entry(place).or_default() += n;
        }
        Ok(counted)
    }

    pub(super) async fn renew(&mut self, claim: &Claim, lease: Duration) -> Applied {
        let sql = "UPDATE runs SET lease_until = $1, due_at = $1 \
                   WHERE id = $2 AND fence = $3 AND holder IS NOT NULL";
        let until = self.now + micros(lease);
        let query = sqlx::query(sql).bind(until).bind(claim.run.as_str()).bind(claim.fence);
        Ok(Ok(Answer::Done(query.execute(self.db().await?).await?.rows_affected() == 1)))
    }

    pub(super) async fn release(&mut self, claim: &Claim) -> Applied {
        // Handed back on purpose: that is no attempt.
        let sql = "UPDATE runs SET holder = NULL, lease_until = NULL, status = 'queued', due_at = $3, attempts = 0 \
                   WHERE id = $1 AND fence = $2 AND status = 'running'";
        let query = sqlx::query(sql).bind(claim.run.as_str()).bind(claim.fence).bind(self.now);
        let done = query.execute(self.db().await?).await?.rows_affected() == 1;
        self.told.work |= done;
        Ok(Ok(Answer::Done(done)))
    }
}
