//! What the entries of a log mean for the run's row. Pure.

use super::{Entry, RunId, Status, WaitingFor};

/// Claims in a row without progress after which a run is set aside (RELIABILITY §6.2, fault 16).
pub const MAX_ATTEMPTS: i64 = 3;

/// The part of a run's row that its entries move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) last_seq: i64,
    pub(super) head: String,
    pub(super) status: Status,
    pub(super) waiting_for: Option<WaitingFor>,
    pub(super) holder: Option<String>,
    pub(super) fence: i64,
    pub(super) lease_until: Option<i64>,
    pub(super) due_at: Option<i64>,
    pub(super) attempts: i64,
}

impl Standing {
    /// A run that was just made.
    pub(super) fn new(now: i64) -> Self {
        Self {
            last_seq: 0,
            head: String::new(),
            status: Status::Queued,
            waiting_for: None,
            holder: None,
            fence: 0,
            lease_until: None,
            due_at: Some(now),
            attempts: 0,
        }
    }

    /// Takes the next entry. Its place in the chain is the caller's affair.
    pub(super) fn take(&mut self, entry: &Entry, by_holder: bool, now: i64) {
        match entry {
            Entry::Waiting { waiting_for, wake_at, .. } => {
                self.rest(Status::Waiting);
                self.waiting_for = Some(*waiting_for);
                self.due_at = *wake_at;
            }
            Entry::Finished { status, .. } => self.rest(*status),
            Entry::Resumed {} if by_holder => {
                self.status = Status::Running;
                self.waiting_for = None;
            }
            // Words or a stop from outside wake a run that nobody holds, also one that had ended.
            Entry::Message { .. } | Entry::CancelRequested { .. } if !by_holder => self.wake(now),
            // So does a decision; what had ended has nothing that could be decided.
            Entry::ApprovalChanged { .. } if !by_holder && !self.status.is_final() => self.wake(now),
            // A step that is over: whoever comes next will not fall over it again.
            Entry::Replied { .. }
            | Entry::Performed { .. }
            | Entry::ToolFinished { .. }
            | Entry::Carried { .. }
                if by_holder =>
            {
                self.attempts = 0;
            }
            _ => {}
        }
    }

    /// Whether nothing but its log, and how often it was tried, is different.
    pub(super) fn stands_like(&self, other: &Self) -> bool {
        let Self {
            last_seq: _,
            head: _,
            attempts: _,
            status,
            waiting_for,
            holder,
            fence,
            lease_until,
            due_at,
        } = self;
        (status, waiting_for, holder, fence)
            == (&other.status, &other.waiting_for, &other.holder, &other.fence)
            && (lease_until, due_at) == (&other.lease_until, &other.due_at)
    }

    fn rest(&mut self, status: Status) {
        self.status = status;
        self.waiting_for = None;
        self.holder = None;
        self.lease_until = None;
        self.due_at = None;
        self.attempts = 0;
    }

    fn wake(&mut self, now: i64) {
        if self.holder.is_none() && !matches!(self.status, Status::Queued | Status::Running) {
            self.status = Status::Queued;
            self.waiting_for = None;
            self.due_at = Some(now);
            self.attempts = 0;
        }
    }

    /// Its holder from now on, until `until`.
    pub(super) fn held(&mut self, holder: &str, until: i64) {
        self.status = Status::Running;
        self.waiting_for = None;
        self.holder = Some(holder.to_owned());
        self.fence += 1;
        self.lease_until = Some(until);
        self.due_at = Some(until);
        self.attempts += 1;
    }
}

/// The end of a run that ended its worker each time.
pub(super) fn set_aside() -> Entry {
    Entry::Finished {
        status: Status::Parked,
        answer: format!(
            "This run was taken up {MAX_ATTEMPTS} times in a row and each time its worker came to an end before \
             the step was over. It was set aside so that it does no more harm."
        ),
        remedy: Some(
            "Look in the program's log for what ended it. To try again, send the run a message.".to_owned(),
        ),
    }
}

/// A log that grew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grown {
    pub(super) run: RunId,
    /// Sequence number of its newest entry.
    pub(super) seq: i64,
    /// Whether a model turn is complete by it.
    pub(super) complete: bool,
    /// Whether who holds the run wrote it, in this process.
    pub(super) by_holder: bool,
}

/// Something that was committed and that others want to know.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Runs whose log grew.
    pub(super) runs: Vec<Grown>,
    /// Whether there may be something to do for a worker.
    pub(super) work: bool,
}

impl Told {
    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty() && !self.work
    }
}
