//! Claims work from the journal, keeps its leases, and lets go of it when the process stops.

mod look;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::{Agent, Left, TriageError};
use crate::clock;
use crate::fault_point;
use crate::journal::{Claim, IntakeStatus, Journal, JournalError, Judging, RunId, SWEEP};
use crate::meter;
use crate::trace::Span;

/// Runs worked at the same time by one process.
pub const MAX_CONCURRENT_RUNS: usize = 16;
/// How long a claim holds without being renewed.
pub const LEASE: Duration = Duration::from_secs(10);
/// How often a claim is renewed.
const RENEW: Duration = Duration::from_secs(3);
/// Longest time between two looks for work, when nothing announces any.
const POLL: Duration = Duration::from_millis(500);
/// How long an event is held while it is judged.
const INTAKE_LEASE: Duration = Duration::from_secs(60);
/// Pause before an event is judged again that could not be judged because something outside was down.
const JUDGE_AGAIN: Duration = Duration::from_secs(10);
/// Pause before old events are forgotten for the first time, and between portions of many.
const FIRST_SWEEP: Duration = Duration::from_secs(60);
/// Pause between two times that old events are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);
/// How long steps under way may take after the process was told to stop.
const DRAIN: Duration = Duration::from_secs(20);

/// Works the queue of one journal.
#[derive(Clone)]
pub struct Worker {
    journal: Journal,
    agent: Arc<Agent>,
    holder: String,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Worker {
    /// A worker with a name of its own.
    pub fn new(journal: Journal, agent: Arc<Agent>) -> Self {
        Self {
            journal,
            agent,
            holder: format!("worker-{}", uuid::Uuid::new_v4().simple()),
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT_RUNS)),
            tasks: TaskTracker::new(),
        }
    }

    /// Works until `stop` is cancelled, then lets steps under way end.
    pub async fn work(self, stop: CancellationToken) {
        let mut work = self.journal.work();
        let clock = self.agent.clock().clone();
        let (mut well, mut sweep_at) = (true, clock::add(clock.now(), FIRST_SWEEP));
        while !stop.is_cancelled() {
            work.mark_unchanged();
            if clock.now() >= sweep_at {
                sweep_at = clock::add(clock.now(), self.sweep().await);
            }
            match self.look(&stop).await {
                Ok(()) => well = true,
                // Said once: the journal tries for a while before it gives up, and so do we.
                Err(error) if well => {
                    well = false;
                    tracing::error!(%error, "the queue cannot be read; trying again");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                _ = tokio::time::timeout(POLL, work.changed()) => {}
            }
        }
        self.tasks.close();
        if tokio::time::timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("steps were still under way; their runs go on when the leases end");
        }
    }

    /// Forgets a portion of what need not be kept; gives the time to the next one.
    async fn sweep(&self) -> Duration {
        match self.journal.sweep().await {
            Ok(gone) if gone == SWEEP.unsigned_abs() => FIRST_SWEEP,
            Ok(_) => SWEEP_EVERY,
            Err(error) => {
                tracing::warn!(%error, "old events could not be forgotten");
                SWEEP_EVERY
            }
        }
    }

    /// Takes everything that is due and there is room for.
    async fn look(&self, stop: &CancellationToken) -> Result<(), JournalError> {
        while !stop.is_cancelled()
            && let Some(judging) = self.journal.claim_intake(INTAKE_LEASE).await?
        {
            fault_point::pass("worker.event_claimed");
            self.judge(&judging).await?;
        }
        while !stop.is_cancelled() {
            let Ok(permit) = self.permits.clone().try_acquire_owned() else { return Ok(()) };
            let Some(claim) = self.journal.claim(&self.holder, LEASE).await? else { return Ok(()) };
            fault_point::pass("worker.run_claimed");
            let (worker, stop) = (self.clone(), stop.clone());
            self.tasks.spawn(async move {
                worker.hold(claim, stop).await;
                drop(permit);
            });
        }
        Ok(())
    }

    async fn judge(&self, judging: &Judging) -> Result<(), JournalError> {
        // All that wait about the same thing are judged in the trace of the first.
        let first = judging.events.first().map_or("", |event| event.id.as_str());
        let span = Span::of_run(first, true, "judge_event", Vec::new);
        match span.over(self.agent.triage(judging)).await {
            Ok(()) => Ok(()),
            // An event is not lost because somebody must repair the agent's identity first.
            Err(TriageError::Later(error)) if error.may_pass() || error.is_identity() => {
                tracing::warn!(%error, "an event cannot be judged now");
                self.journal.postpone(judging, JUDGE_AGAIN).await.map(|_| ())
            }
            Err(TriageError::Later(error)) => {
                let reason = Some(format!("{error} {}", error.remedy()));
                self.journal.settle(judging, IntakeStatus::Failed, reason, None).await.map(|_| ())
            }
            // Another worker has them, or a person redelivered them meanwhile.
            Err(TriageError::Journal(JournalError::Superseded)) => Ok(()),
            Err(TriageError::Journal(error)) => Err(error),
        }
    }

    /// Works one run and keeps its lease.
    async fn hold(&self, claim: Claim, stop: CancellationToken) {
        let stop = stop.child_token();
        let renewal = tokio::spawn(renew(self.journal.clone(), claim.clone(), stop.clone()));
        let left = self.agent.advance(claim.clone(), &stop).await;
        renewal.abort();
        match left {
            Ok(Left::Settled) => {}
            Ok(Left::Stopped) => {
                if let Err(error) = self.journal.release(&claim).await {
                    tracing::warn!(run = %claim.run, %error, "a run could not be handed back");
                }
            }
            Ok(Left::Lost) => {
                meter::lease_lost();
                tracing::warn!(run = %claim.run, "another worker holds this run now");
            }
            Err(error) => {
                tracing::error!(run = %claim.run, %error, "the record failed; the run is left alone")
            }
        }
    }

    /// Works this one run until it settles; nothing else is claimed. False: it is held elsewhere.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn work_only(&self, run: &RunId, stop: &CancellationToken) -> Result<bool, JournalError> {
        let Some(claim) = self.journal.claim_run(run, &self.holder, LEASE).await? else { return Ok(false) };
        self.hold(claim, stop.clone()).await;
        Ok(true)
    }
}

/// Renews a claim until it is lost; then whoever works the run is stopped.
async fn renew(journal: Journal, claim: Claim, stop: CancellationToken) {
    loop {
        tokio::time::sleep(RENEW).await;
        match journal.renew(&claim, LEASE).await {
            Ok(true) => {}
            Ok(false) => return stop.cancel(),
            Err(error) => tracing::warn!(run = %claim.run, %error, "a lease could not be renewed"),
        }
    }
}
