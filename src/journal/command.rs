//! What the writer can be asked to do, and what it answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::chain::Draft;
use super::{
    Checkpoint, Claim, Erasable, IntakeStatus, Judging, Limits, Logged, NewRun, Person, Received, RunId, Seen,
};
use crate::event::OutsideEvent;
use crate::policy::SpentBy;

/// Something to be written. Whatever time it needs, the writer takes from the store's clock.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "the largest is the commonest, and each moves once")]
pub(super) enum Command {
    /// Makes a run; with `join`, its words go to the run about the same subject instead, when one
    /// is under way.
    Create { id: RunId, run: NewRun, drafts: Vec<Draft>, join: bool, settles: Option<Settled> },
    /// Adds entries to a log.
    Append { run: RunId, fence: Option<i64>, known: i64, drafts: Arc<Vec<Draft>>, settles: Option<Settled> },
    /// Takes a run; any that is due, when none is named.
    Claim { run: Option<RunId>, holder: String, lease: Duration, limits: Limits },
    /// Holds a run for longer.
    Renew { claim: Claim, lease: Duration },
    /// Gives a run back.
    Release { claim: Claim },
    /// Writes down an event.
    Receive(Delivered),
    /// Takes events to be judged.
    ClaimIntake { token: String, lease: Duration },
    /// Settles the events of a claim.
    Settle(Settled),
    /// Gives the events of a claim back for a while.
    Postpone { token: String, after: Duration },
    /// Remembers versions of outside objects for the event that saw them first.
    See { event: String, seen: Vec<Seen> },
    /// Sets a mark; with `keep`, only where there is none.
    Mark { name: String, value: i64, keep: bool },
    /// Takes the next turn of something that one replica does at a time.
    TakeTurn { name: String, every: Duration },
    /// Forgets events that were settled long ago.
    Sweep { older_than: Duration, most: i64 },
    /// Keeps who has signed in.
    KeepSession { key: String, body: String, ends_at: i64, oid: String, groups: Option<Vec<String>> },
    /// Ends a session.
    EndSession { key: String },
    /// Puts an event back to be judged again.
    Redeliver { id: String },
    /// Erases bodies.
    Erase { what: Erasable, most: i64 },
    /// Keeps the bodies of a run from erasure, or no longer.
    Hold { run: RunId, held: bool },
    /// Stops everything.
    Halt { by: Person, reason: String, draft: Draft },
    /// Lets everything go on.
    Lift { draft: Draft },
    /// Writes down signatures over the record.
    Sign { public_key: String, checkpoints: Vec<Checkpoint> },
}

/// What came in.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) summary: String,
    pub(super) event: OutsideEvent,
    pub(super) refused: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) after: Duration,
}

/// The fate of the events of one claim.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) token: String,
    /// Only this one of them.
    pub(super) only: Option<String>,
    pub(super) status: IntakeStatus,
    pub(super) reason: Option<String>,
    pub(super) run: Option<RunId>,
}

impl Command {
    /// Whether it looks for work. Those come last in a commit: they take what is free, and hold
    /// the lock on the counts for the shortest time.
    pub(super) fn looks_for_work(&self) -> bool {
        matches!(self, Self::Claim { .. } | Self::ClaimIntake { .. })
    }
}

/// What the writer answers.
#[derive(Debug)]
pub(super) enum Answer {
    /// What others added after what the asker knew; and where its own entries stand, when they were
    /// written.
    Appended { others: Vec<Logged>, own: Option<Placed> },
    /// The run that was made or joined.
    Made { run: RunId, joined: bool },
    /// A run to work, or none.
    Claimed(Option<Claim>),
    /// An event that was written down.
    Received(Received),
    /// Events to judge, or none.
    Judging(Option<Judging>),
    /// Versions that are the asker's own.
    Own(HashSet<String>),
    /// A mark.
    Mark(i64),
    /// Whether it was done.
    Done(bool),
    /// How many rows are gone.
    Gone(u64),
}

/// Where entries were written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    /// Sequence number of the first.
    pub(super) first: i64,
    /// When, microseconds since 1970.
    pub(super) ts: i64,
    /// What is used with them, where they come before a look at budgets.
    pub(super) spent: Option<Box<SpentBy>>,
}

/// Microseconds of a duration.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}
