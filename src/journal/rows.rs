//! What the journal is asked and what it answers.

use crate::policy::approval::Refusal;

use super::{Person, RunId, Source, Status, WaitingFor};
use crate::event::{OutsideEvent, Trigger};

/// Why the journal refused.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The database cannot be opened or was made by a newer program.
    #[error("the journal cannot be opened: {0}")]
    Open(String),
    /// The database failed. Nothing of the command was kept.
    #[error("the journal could not write or read: {0}")]
    Store(String),
    /// No such run.
    #[error("there is no run {0}")]
    UnknownRun(RunId),
    /// The database did not answer in time. Nothing of the command was kept.
    #[error("the journal does not answer")]
    Unavailable,
    /// There is no space left for the database. Nothing of the command was kept.
    #[error("the journal is full")]
    Full,
    /// The events of a claim are no longer its: another worker has them, or they are settled.
    #[error("these events are judged elsewhere by now")]
    Superseded,
    /// No such approval.
    #[error("there is no approval {0}")]
    UnknownApproval(String),
    /// What was to happen to an approval does not follow from where it is.
    #[error("{0}")]
    Approval(Refusal),
    /// Another worker holds the run now.
    #[error("run {0} is held by another worker")]
    Fenced(RunId),
    /// A stored entry does not read back.
    #[error("entry {seq} of run {run} cannot be read: {reason}")]
    Corrupt {
        /// Which run.
        run: RunId,
        /// Which entry.
        seq: i64,
        /// Why.
        reason: String,
    },
    /// The process is ending.
    #[error("the journal is closed")]
    Closed,
}

/// A run that is to be made.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// What was asked for.
    pub instruction: String,
    /// How.
    pub source: Source,
    /// By whom.
    pub requested_by: Person,
    /// Project served.
    pub project: String,
    /// Repository served.
    pub repository: String,
    /// What it is about, for example `pull_request:12`.
    pub subject: Option<String>,
    /// What in Azure DevOps began it; none for an order from a person.
    pub trigger: Option<Trigger>,
}

/// A run as the lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Which.
    pub id: RunId,
    /// Where it is.
    pub status: Status,
    /// What it waits for.
    pub waiting_for: Option<WaitingFor>,
    /// What was asked first.
    pub instruction: String,
    /// How it came to be.
    pub source: Source,
    /// Display name of who asked.
    pub requested_by: String,
    /// What it is about.
    pub subject: Option<String>,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
    /// Sequence number of its newest entry.
    pub last_seq: i64,
    /// Hash of that entry.
    pub head: String,
    /// The newest entry under a signature; 0: none.
    pub signed_to: i64,
}

/// A held run. Every write of the holder names the fence, and a stale one is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which run.
    pub run: RunId,
    /// The holder's number; the next holder's is larger.
    pub fence: i64,
}

/// How much may be under way at once, over all replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Runs of one project.
    pub per_project: i64,
    /// Runs in one repository. Runs about one thing are always one after the other.
    pub per_repository: i64,
    /// Runs with one model deployment.
    pub per_model: i64,
    /// The deployment that this process works with.
    pub model: String,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_project: 32, per_repository: 16, per_model: 64, model: String::new() }
    }
}

/// Events about one thing that are being judged together, oldest first. Every write that settles
/// them is refused when another worker has them by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judging {
    /// The events, at least one.
    pub events: Vec<IntakeRow>,
    pub(super) token: String,
}

/// Where an order went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// The run.
    pub run: RunId,
    /// Whether it was under way already and was given the words.
    pub joined: bool,
}

/// What came in from outside, with its fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntakeRow {
    /// Which.
    pub id: String,
    /// Its type, as the sender names it.
    pub kind: String,
    /// One line for people.
    pub summary: String,
    /// The ids in it.
    pub event: OutsideEvent,
    /// Its fate so far.
    pub status: IntakeStatus,
    /// Why, where it was ignored or failed.
    pub reason: Option<String>,
    /// The run it started or joined.
    pub run: Option<RunId>,
    /// Microseconds since 1970.
    pub received_at: i64,
}

/// What the whole journal holds that has not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Runs that have not ended: status, what they wait for, how many.
    pub unfinished: Vec<(Status, Option<WaitingFor>, i64)>,
    /// Runs that a worker may take now.
    pub due: i64,
    /// Since when the first of them is due, microseconds since 1970.
    pub due_since: Option<i64>,
    /// Events that have not been judged.
    pub events: i64,
}

/// Fate of what came in (CONTRACTS: event status).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IntakeStatus {
    /// Written down, not looked at yet.
    Received,
    /// Nothing to do; the reason says why.
    Ignored,
    /// Joined a run that was under way.
    Merged,
    /// Started a run.
    Running,
    /// The run it started ended well, or as it had to.
    Done,
    /// Could not be judged, or its run failed; the reason says why.
    Failed,
    /// Stopped for a person to look at.
    Parked,
}

impl IntakeStatus {
    /// The name in API and journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Ignored => "ignored",
            Self::Merged => "merged",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Parked => "parked",
        }
    }

    /// Every fate.
    pub const ALL: [Self; 7] =
        [Self::Received, Self::Ignored, Self::Merged, Self::Running, Self::Done, Self::Failed, Self::Parked];

    /// The fate with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// Answer to [`Journal::receive`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Id of the intake row, the first one's for a duplicate.
    pub id: String,
    /// Whether it had come before.
    pub duplicate: bool,
}

/// An entry as it stands in the record, with its place in the chain of hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Sequence number in the run, from 1.
    pub seq: i64,
    /// When, microseconds since 1970, UTC.
    pub ts: i64,
    /// The JSON text as stored; none when it was erased.
    pub body: Option<String>,
    /// The salt of its commitment, hexadecimal; erased together with the body.
    pub salt: Option<String>,
    /// `hmac-sha256:` and the HMAC-SHA-256 of the body under the salt.
    pub commitment: String,
    /// Hash of the entry before; empty for the first.
    pub prev: String,
    /// Hash of this entry: of `prev`, run, sequence number, time and commitment.
    pub hash: String,
}
