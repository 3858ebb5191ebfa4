//! Every SQL statement of the product, compiled once for each back end.
//!
//! `super` is the back end: its connection, its pool, its rows, its locks. Placeholders are numbered
//! (`$1`), and nothing here may be true of one back end only. A statement whose answer nobody needs goes
//! to [`Transaction::ahead`]; all others ask [`Transaction::db`] for the connection, which does those
//! first. The transaction's beginning and its COMMIT go the same way.

mod append;
mod approvals;
mod claim;
mod erase;
mod house;
mod intake;
mod look;
mod read;
mod seal;
mod seen;
mod sessions;
mod spent;

use super::super::{Committed, Unsure};
use super::{BEGIN, Connection, Several, Store};
use crate::fault_point;
use crate::journal::JournalError;
use crate::journal::command::{Answer, Command};
use crate::journal::standing::Told;

pub(in crate::journal) use approvals::{approval, approvals, asked_since, open_grants};
pub(in crate::journal) use erase::{erasable, naming};
pub(in crate::journal) use house::halted;
pub(in crate::journal) use look::look;
pub(in crate::journal) use read::{
    active_run_about, backlog, first_fault, intake, intake_row, log, newest_run_about, record, run, run_ids,
    runs, since, unfinished,
};
pub(in crate::journal) use seal::{checkpoints, heads, newest_head, record_keys, unsigned};
pub(in crate::journal) use seen::{active_subjects, mark_of, runs_from_events, seen, seen_of};
pub(in crate::journal) use sessions::{joined_since, session};
pub(in crate::journal) use spent::spent;

/// What a command came to: the outer error aborts the transaction; the inner one is this command's
/// own answer, and then it has changed nothing.
type Applied = Result<Result<Answer, JournalError>, sqlx::Error>;

/// A transaction under way.
struct Transaction<'a> {
    store: &'a Store,
    db: &'a mut Connection,
    /// The store's time, microseconds since 1970.
    now: i64,
    /// Statements whose answers nobody waits for: sent with the next whose answer somebody does.
    ahead: &'a mut Several,
    told: &'a mut Told,
}

/// Does the commands in one transaction.
pub(super) async fn commit(
    store: &Store,
    db: &mut Connection,
    commands: &[&Command],
    unsure: &mut Option<Unsure>,
) -> Result<Committed, sqlx::Error> {
    let now = store.now(db).await?;
    let (mut ahead, mut told) = (Several::default(), Told::default());
    ahead.next(BEGIN);
    let mut answers: Vec<Option<_>> = commands.iter().map(|_| None).collect();
    for looking in [false, true] {
        for (answer, command) in answers.iter_mut().zip(commands) {
            if command.looks_for_work() == looking {
                let work = Transaction { store, db, now, ahead: &mut ahead, told: &mut told };
                *answer = Some(work.apply(command).await?);
            }
        }
    }
    let committed = Committed { answers: answers.into_iter().flatten().collect(), told };
    let name = store.seal(db, &mut ahead, &committed.told).await?;
    fault_point::pass("journal.before_commit");
    ahead.next("COMMIT");
    let committed = match name {
        None => {
            ahead.rows(db).await?;
            committed
        }
        Some(name) => {
            let sent = unsure.insert(Unsure { transaction: name, committed });
            ahead.rows(db).await?;
            let told = Told::default();
            let committed = std::mem::replace(&mut sent.committed, Committed { answers: Vec::new(), told });
            *unsure = None;
            committed
        }
    };
    fault_point::pass("journal.after_commit");
    Ok(committed)
}

impl Transaction<'_> {
    /// The connection, when all that was put off is done.
    async fn db(&mut self) -> Result<&mut Connection, sqlx::Error> {
        if !self.ahead.is_empty() {
            std::mem::take(self.ahead).rows(self.db).await?;
        }
        Ok(self.db)
    }

    async fn apply(mut self, command: &Command) -> Applied {
        match command {
            Command::Create { id, run, drafts, join, settles } => {
                self.create(id, run, drafts, *join, settles.as_ref()).await
            }
            Command::Append { run, fence, known, drafts, settles } => {
                self.append(run, *fence, *known, drafts, settles.as_ref()).await
            }
            Command::Claim { run, holder, lease, limits } => {
                self.claim(run.as_ref(), holder, *lease, limits).await
            }
            Command::Renew { claim, lease } => self.renew(claim, *lease).await,
            Command::Release { claim } => self.release(claim).await,
            Command::Receive(delivered) => self.receive(delivered).await,
            Command::ClaimIntake { token, lease } => self.claim_intake(token, *lease).await,
            Command::Settle(settled) => Ok(Ok(Answer::Done(self.settle(settled).await?))),
            Command::Postpone { token, after } => self.postpone(token, *after).await,
            Command::See { event, seen } => self.see(event, seen).await,
            Command::Mark { name, value, keep } => self.mark(name, *value, *keep).await,
            Command::TakeTurn { name, every } => self.take_turn(name, *every).await,
            Command::Sweep { older_than, most } => self.sweep(*older_than, *most).await,
            Command::KeepSession { key, body, ends_at, oid, groups } => {
                self.keep_session(key, body, *ends_at, (oid.as_str(), groups.as_deref())).await
            }
            Command::EndSession { key } => self.end_session(key).await,
            Command::Redeliver { id } => self.redeliver(id).await,
            Command::Erase { what, most } => self.erase(what, *most).await,
            Command::Hold { run, held } => self.keep(run, *held).await,
            Command::Halt { by, reason, draft } => self.halt(by, reason, draft).await,
            Command::Lift { draft } => self.lift(draft).await,
            Command::Sign { public_key, checkpoints } => self.sign(public_key, checkpoints).await,
        }
    }
}
