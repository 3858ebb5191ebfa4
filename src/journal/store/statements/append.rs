//! Runs and their logs.

use super::super::super::column;
use super::super::{Row, lock};
use super::{Applied, Transaction, read};
use crate::fault_point;
use crate::journal::chain::{Draft, entry_hash, head_hash};
use crate::journal::command::{Answer, Placed, Settled};
use crate::journal::spent::counted_after;
use crate::journal::standing::{Grown, Standing};
use crate::journal::{Entry, IntakeStatus, JournalError, NewRun, Note, RunId, Status, WaitingFor};
use sqlx::Row as _;

/// Most entries that one statement writes.
const ROWS: usize = 16;
/// The lock under which the chain over the ends of runs grows.
const HEADS_LOCK: &str = "ado-coworker heads";

/// What is said of an event whose words went to a run that was there.
const JOINED: &str = "Joined the run that was under way.";

impl Transaction<'_> {
    pub(super) async fn create(
        &mut self,
        id: &RunId,
        new: &NewRun,
        drafts: &[Draft],
        join: bool,
        settles: Option<&Settled>,
    ) -> Applied {
        let active = match new.subject.as_deref().filter(|_| join) {
            Some(subject) => {
                // Two replicas that judge events about one subject must not start a run each.
                lock(
                    self.db().await?,
                    &format!("ado-coworker subject {}/{}/{subject}", new.project, new.repository),
                )
                .await?;
                self.under_way(new, subject).await?
            }
            None => None,
        };
        if let Some(settled) = settles {
            let settled = match &active {
                Some(active) => Settled {
                    status: IntakeStatus::Merged,
                    reason: settled.reason.clone().or_else(|| Some(JOINED.to_owned())),
                    run: Some(active.clone()),
                    ..settled.clone()
                },
                None => Settled { run: Some(id.clone()), ..settled.clone() },
            };
            if !self.settle(&settled).await? {
                return Ok(Err(JournalError::Superseded));
            }
        }
        if let Some(active) = active {
            // The first entry says that the run exists; the words after it are for whoever joins.
            let added =
                self.append(&active, None, i64::MAX, drafts.get(1..).unwrap_or_default(), None).await?;
            return Ok(added.map(|_| Answer::Made { run: active, joined: true }));
        }
        let mut standing = Standing::new(self.now);
        self.insert(id, new, &standing);
        self.write(id, &mut standing, drafts, false).await?;
        self.told.work = true;
        Ok(Ok(Answer::Made { run: id.clone(), joined: false }))
    }

    async fn under_way(&mut self, new: &NewRun, subject: &str) -> Result<Option<RunId>, sqlx::Error> {
        let sql = "SELECT id FROM runs WHERE subject = $1 AND project = $2 AND repository = $3 \
                   AND status IN ('queued', 'running', 'waiting') ORDER BY created_at DESC LIMIT 1";
        let query = sqlx::query_scalar(sql).bind(subject).bind(&new.project).bind(&new.repository);
        Ok(query.fetch_optional(self.db().await?).await?.map(RunId))
    }

    fn insert(&mut self, id: &RunId, new: &NewRun, standing: &Standing) {
        let sql = "INSERT INTO runs (id, status, instruction, source, requested_by, project, repository, subject, \
                   created_at, updated_at, last_seq, head, due_at) ";
        let now = self.now;
        self.ahead.next(sql).push_values([()], |mut row, ()| {
            row.push_bind(id.as_str()).push_bind(standing.status.as_str());
            row.push_bind(column(&new.instruction)).push_bind(new.source.as_str());
            row.push_bind(column(&new.requested_by.name));
            row.push_bind(column(&new.project)).push_bind(column(&new.repository));
            row.push_bind(new.subject.as_deref().map(column)).push_bind(now).push_bind(now);
            row.push("0").push("''").push_bind(standing.due_at);
        });
    }

    pub(super) async fn append(
        &mut self,
        run: &RunId,
        fence: Option<i64>,
        known: i64,
        drafts: &[Draft],
        settles: Option<&Settled>,
    ) -> Applied {
        let Some(mut standing) = self.standing(run).await? else {
            return Ok(Err(JournalError::UnknownRun(run.clone())));
        };
        let fenced = fence.is_some_and(|fence| standing.holder.is_none() || fence != standing.fence);
        if fenced && !fault_point::is_off("fence") {
            return Ok(Err(JournalError::Fenced(run.clone())));
        }
        // What others added since the holder last looked comes first in its answer.
        let others = if standing.last_seq > known {
            let rows = read::log_rows(self.db().await?, run, known, standing.last_seq - known).await?;
            match rows.into_iter().collect::<Result<Vec<_>, _>>() {
                Ok(others) => others,
                Err(error) => return Ok(Err(error)),
            }
        } else {
            Vec::new()
        };
        // A run is not ended or laid aside over words that its holder has not read.
        if fence.is_some() && !others.is_empty() && drafts.iter().any(|draft| draft.entry.leaves_the_run()) {
            return Ok(Ok(Answer::Appended { others, own: None }));
        }
        if let Err(error) = self.move_approvals(run, drafts).await? {
            return Ok(Err(error));
        }
        if let Some(settled) = settles
            && !self.settle(settled).await?
        {
            return Ok(Err(JournalError::Superseded));
        }
        let first = standing.last_seq + 1;
        self.write(run, &mut standing, drafts, fence.is_some()).await?;
        let counted = fence.is_some() && drafts.iter().any(|draft| counted_after(&draft.entry));
        let spent = if counted { Some(Box::new(self.spent(run).await?)) } else { None };
        Ok(Ok(Answer::Appended { others, own: Some(Placed { first, ts: self.now, spent }) }))
    }

    /// A run's row, which then stays as it is until the transaction ends.
    pub(super) async fn standing(&mut self, run: &RunId) -> Result<Option<Standing>, sqlx::Error> {
        let mut statements = std::mem::take(self.ahead);
        let sql = "SELECT last_seq, head, status, waiting_for, holder, fence, lease_until, due_at, attempts \
                   FROM runs WHERE id = ";
        statements.next(sql).push_bind(run.as_str()).push(for_update!());
        statements.rows(self.db).await?.first().map(read_standing).transpose()
    }

    /// Adds entries at the end of a log, and moves the run's row with them.
    pub(super) async fn write(
        &mut self,
        run: &RunId,
        standing: &mut Standing,
        drafts: &[Draft],
        by_holder: bool,
    ) -> Result<(), sqlx::Error> {
        let old = standing.clone();
        let (before, last) = (old.status, old.last_seq);
        let used = self.used(run, last, drafts).await?;
        let now = self.now;
        for drafts in drafts.chunks(ROWS) {
            let sql = "INSERT INTO log (run_id, seq, ts, body, salt, commitment, prev, hash) ";
            self.ahead.next(sql).push_values(drafts, |mut row, draft| {
                standing.last_seq += 1;
                let hash = entry_hash(run, standing.last_seq, now, &draft.commitment, &standing.head);
                let prev = std::mem::replace(&mut standing.head, hash.as_str().to_owned());
                row.push_bind(run.as_str()).push_bind(standing.last_seq).push_bind(now);
                row.push_bind(draft.body.as_str()).push_bind(&draft.salt[..]);
                row.push_bind(draft.commitment.as_str()).push_bind(prev).push_bind(hash.as_str());
                standing.take(&draft.entry, by_holder, now);
            });
        }
        self.spend(run, used);
        self.save(run, standing, !old.stands_like(standing));
        let complete = |draft: &Draft| matches!(draft.entry, Entry::Replied { .. } | Entry::Finished { .. });
        let complete = drafts.iter().any(complete);
        self.told.runs.push(Grown { run: run.clone(), seq: standing.last_seq, complete, by_holder });
        // Who is let go of leaves room for another, and who is woken wants to be worked.
        self.told.work |= before != standing.status || (!by_holder && standing.status == Status::Queued);
        let erased =
            |draft: &Draft| matches!(draft.entry, Entry::House { note: Note::RetentionApplied { .. } });
        if run.is_house() {
            // That something was erased stands in the chain over the ends of runs as well.
            return match drafts.iter().any(erased) {
                true => self.join_heads(run, standing).await,
                false => Ok(()),
            };
        }
        if standing.status.is_final() && before != standing.status {
            self.end(run, standing).await?;
        } else if before.is_final() && !standing.status.is_final() {
            self.event_goes_on(run).await?;
        }
        Ok(())
    }

    /// Writes a run's row; only the part that every entry moves, unless it stands differently: then no
    /// index has to follow.
    pub(super) fn save(&mut self, run: &RunId, standing: &Standing, whole: bool) {
        let update = self.ahead.next("UPDATE runs SET last_seq = ");
        update.push_bind(standing.last_seq).push(", head = ").push_bind(standing.head.as_str());
        update.push(", attempts = ").push_bind(standing.attempts);
        update.push(", updated_at = ").push_bind(self.now);
        if whole {
            update.push(", status = ").push_bind(standing.status.as_str());
            update.push(", waiting_for = ").push_bind(standing.waiting_for.map(WaitingFor::as_str));
            update.push(", holder = ").push_bind(standing.holder.as_deref());
            update.push(", fence = ").push_bind(standing.fence);
            update.push(", lease_until = ").push_bind(standing.lease_until);
            update.push(", due_at = ").push_bind(standing.due_at);
        }
        update.push(" WHERE id = ").push_bind(run.as_str());
    }

    /// The run has ended: its end joins the chain over all runs, and its event ends with it.
    async fn end(&mut self, run: &RunId, standing: &Standing) -> Result<(), sqlx::Error> {
        self.join_heads(run, standing).await?;
        self.event_ends(run, standing.status).await
    }

    async fn join_heads(&mut self, run: &RunId, standing: &Standing) -> Result<(), sqlx::Error> {
        lock(self.db().await?, HEADS_LOCK).await?;
        let last = sqlx::query("SELECT n, hash FROM heads ORDER BY n DESC LIMIT 1");
        let (n, prev): (i64, String) = match last.fetch_optional(self.db().await?).await? {
            Some(row) => (row.try_get(0)?, row.try_get(1)?),
            None => (0, String::new()),
        };
        let hash = head_hash(n + 1, run, standing.last_seq, &standing.head, &prev);
        let sql = "INSERT INTO heads (n, run_id, seq, head, prev, hash) ";
        self.ahead.next(sql).push_values([()], |mut row, ()| {
            row.push_bind(n + 1).push_bind(run.as_str()).push_bind(standing.last_seq);
            row.push_bind(standing.head.as_str()).push_bind(prev.as_str()).push_bind(hash.as_str());
        });
        Ok(())
    }
}

fn read_standing(row: &Row) -> Result<Standing, sqlx::Error> {
    let status: String = row.try_get(2)?;
    let waiting_for: Option<String> = row.try_get(3)?;
    Ok(Standing {
        last_seq: row.try_get(0)?,
        head: row.try_get(1)?,
        // A status of a newer program: nobody goes on here.
        status: Status::parse(&status).unwrap_or(Status::Parked),
        waiting_for: waiting_for.as_deref().and_then(WaitingFor::parse),
        holder: row.try_get(4)?,
        fence: row.try_get(5)?,
        lease_until: row.try_get(6)?,
        due_at: row.try_get(7)?,
        attempts: row.try_get(8)?,
    })
}
