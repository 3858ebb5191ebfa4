//! Runs: made, taken, written to, given back.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, watch};

use super::chain::Draft;
use super::command::{Answer, Command, Settled};
use super::{
    Claim, Entry, IntakeStatus, Journal, JournalError, Judging, Logged, NewRun, Notice, Ordered, RunId,
};
use crate::fault_point;
use crate::meter;
use crate::policy::SpentBy;

impl Journal {
    /// Makes a run and queues it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn create(&self, run: NewRun) -> Result<RunId, JournalError> {
        self.make(run, false, None).await.map(|ordered| ordered.run)
    }

    /// Gives an order that comes from `judging`, and settles its events in the same commit: words
    /// for the run about the same subject that is under way (the events are then merged), else a new
    /// run (they are running).
    ///
    /// # Errors
    /// [`JournalError::Superseded`] when another worker has the events by now.
    pub async fn order(&self, run: NewRun, judging: &Judging) -> Result<Ordered, JournalError> {
        let settles = Settled {
            token: judging.token.clone(),
            only: None,
            status: IntakeStatus::Running,
            reason: None,
            run: None,
        };
        self.make(run, true, Some(settles)).await
    }

    async fn make(&self, run: NewRun, join: bool, settles: Option<Settled>) -> Result<Ordered, JournalError> {
        let run = self.cleaned_run(run);
        let entries = vec![
            Entry::Created {
                source: run.source,
                requested_by: run.requested_by.clone(),
                project: run.project.clone(),
                repository: run.repository.clone(),
                subject: run.subject.clone(),
                trigger: run.trigger.clone(),
            },
            Entry::Message { from: run.requested_by.clone(), text: run.instruction.clone() },
        ];
        let drafts = Draft::all(entries)?;
        let from_event = settles.is_some();
        let command = Command::Create { id: RunId::generate(), run, drafts, join, settles };
        fault_point::pass("journal.before_create");
        let answer = self.soon(command).await?;
        fault_point::pass("journal.after_create");
        match answer {
            Answer::Made { run, joined } => {
                let fate = if joined { IntakeStatus::Merged } else { IntakeStatus::Running };
                meter::events(fate.as_str(), u64::from(from_event));
                Ok(Ordered { run, joined })
            }
            _ => Err(JournalError::Closed),
        }
    }

    /// Adds entries to a run's log as its holder, and gives every entry after `known`, the holder's
    /// own and those that others added meanwhile, in order.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] when another worker holds the run by now.
    pub async fn append(
        &self,
        claim: &Claim,
        known: i64,
        entries: Vec<Entry>,
    ) -> Result<Vec<Logged>, JournalError> {
        self.append_counted(claim, known, entries).await.map(|(log, _)| log)
    }

    /// The same, with what is used by then where the entries come before a look at budgets.
    pub(super) async fn append_counted(
        &self,
        claim: &Claim,
        known: i64,
        entries: Vec<Entry>,
    ) -> Result<(Vec<Logged>, Option<SpentBy>), JournalError> {
        let drafts = Arc::new(Draft::all(entries)?);
        let (run, fence) = (claim.run.clone(), Some(claim.fence));
        let command = Command::Append { run, fence, known, drafts: drafts.clone(), settles: None };
        fault_point::pass("journal.before_append");
        let since = Instant::now();
        let answer = self.writer.write(command).await?;
        fault_point::pass("journal.after_append");
        meter::appended(since.elapsed());
        let Answer::Appended { others: mut log, own } = answer else { return Err(JournalError::Closed) };
        let mut spent = None;
        if let Some(placed) = own {
            let last = drafts.last().map(|draft| &draft.entry);
            if last.is_some_and(Entry::leaves_the_run) {
                self.held_until(claim, None);
            }
            if let Some(Entry::Finished { status, .. }) = last {
                meter::run_ended(status.as_str());
            }
            // The writer has let go of them by now.
            let own = Arc::unwrap_or_clone(drafts).into_iter().zip(placed.first..);
            log.extend(own.map(|(draft, seq)| draft.logged(seq, placed.ts)));
            spent = placed.spent.map(|spent| *spent);
        }
        Ok((log, spent))
    }

    /// Adds an entry from outside the work: a person's words, a request to stop. Gives its sequence
    /// number.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn add_from_outside(&self, run: &RunId, entry: Entry) -> Result<i64, JournalError> {
        self.add(run, entry, None).await
    }

    /// Adds an entry from outside that comes from one event of `judging`, and settles that event as
    /// merged in the same commit.
    ///
    /// # Errors
    /// [`JournalError::Superseded`] when another worker has the events by now.
    pub async fn steer(
        &self,
        run: &RunId,
        entry: Entry,
        judging: &Judging,
        event: &str,
        reason: Option<String>,
    ) -> Result<i64, JournalError> {
        let token = judging.token.clone();
        let (only, run_of_it) = (Some(event.to_owned()), Some(run.clone()));
        let settled = Settled { token, only, status: IntakeStatus::Merged, reason, run: run_of_it };
        self.add(run, entry, Some(settled)).await
    }

    async fn add(&self, run: &RunId, entry: Entry, settles: Option<Settled>) -> Result<i64, JournalError> {
        let settled = settles.is_some();
        let drafts = Arc::new(vec![Draft::of(self.cleaned_entry(entry))?]);
        let command = Command::Append { run: run.clone(), fence: None, known: i64::MAX, drafts, settles };
        fault_point::pass("journal.before_append");
        let answer = self.soon(command).await?;
        fault_point::pass("journal.after_append");
        meter::events(IntakeStatus::Merged.as_str(), u64::from(settled));
        match answer {
            Answer::Appended { own: Some(placed), .. } => Ok(placed.first),
            _ => Err(JournalError::Closed),
        }
    }

    /// Takes a run that is due, for `lease`, within the limits; the project with the fewest runs
    /// under way comes first, and in it the run that is due longest. A run that ended its worker too
    /// often is parked instead.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim(&self, holder: &str, lease: Duration) -> Result<Option<Claim>, JournalError> {
        self.take(None, holder, lease).await
    }

    /// Takes this run, when it is due and nobody holds it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim_run(
        &self,
        run: &RunId,
        holder: &str,
        lease: Duration,
    ) -> Result<Option<Claim>, JournalError> {
        self.take(Some(run.clone()), holder, lease).await
    }

    async fn take(
        &self,
        run: Option<RunId>,
        holder: &str,
        lease: Duration,
    ) -> Result<Option<Claim>, JournalError> {
        let limits = self.limits.as_ref().clone();
        let command = Command::Claim { run, holder: holder.to_owned(), lease, limits };
        let until = Instant::now() + lease;
        match self.writer.write(command).await? {
            Answer::Claimed(claim) => {
                if let Some(claim) = &claim {
                    self.held_until(claim, Some(until));
                }
                Ok(claim)
            }
            _ => Err(JournalError::Closed),
        }
    }

    /// Whether this process surely still holds a run: by its own steady clock, counted from before
    /// the lease was asked for. A process that stood still past its lease learns it here.
    pub fn holds(&self, claim: &Claim) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(&claim.run).is_some_and(|(fence, until)| *fence == claim.fence && Instant::now() < *until)
    }

    /// Nothing is held any more, as far as this process knows.
    pub(super) fn let_go_of_all(&self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// This run is not held any more, as far as this process knows.
    pub fn let_go(&self, run: &RunId) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(run);
    }

    fn held_until(&self, claim: &Claim, until: Option<Instant>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        held.retain(|run, (_, until)| *run != claim.run && *until > now);
        held.extend(until.map(|until| (claim.run.clone(), (claim.fence, until))));
        meter::leases(held.len());
    }

    /// Holds a run for another `lease` from now. False when it is no longer ours.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool, JournalError> {
        let until = Instant::now() + lease;
        let held = self.done(Command::Renew { claim: claim.clone(), lease }).await?;
        self.held_until(claim, held.then_some(until));
        Ok(held)
    }

    /// Gives a run back to the queue.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release(&self, claim: &Claim) -> Result<bool, JournalError> {
        self.done(Command::Release { claim: claim.clone() }).await
    }

    /// Changes whenever there may be work: a new run, a message, an event, room for another run.
    pub fn work(&self) -> watch::Receiver<u64> {
        self.bus.work()
    }

    /// Watches a run: the unfinished model turn so far, and what happens from now on. A watcher
    /// that falls behind reads the log again.
    pub fn watch(&self, run: &RunId) -> (Option<Notice>, broadcast::Receiver<Notice>) {
        self.bus.feed.watch(run)
    }

    /// Tells of every run that changes.
    pub fn changes(&self) -> broadcast::Receiver<RunId> {
        self.bus.changes()
    }

    /// Words of a model turn that is not complete; `restart` throws away what there was of it. They
    /// reach watchers of this process only.
    pub fn words(&self, run: &RunId, turn: u32, restart: bool, text: &str) {
        self.bus.feed.words(run, turn, restart, text);
    }
}
