//! What is said about an approval: where it is, what is asked, what happened to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Approver, Edits, GrantAsked, Use, Verdict, Who};
use crate::action::Action;
use crate::digest::Digest;

/// Where an approval is (GOVERNANCE §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Asked for, not judged yet.
    Requested,
    /// Waits for people.
    Pending,
    /// Some of the people that are needed have approved.
    PartiallyApproved,
    /// May be carried out, once.
    Approved,
    /// Is being carried out.
    Executing,
    /// Was carried out.
    Executed,
    /// Was refused by the service, or could not be carried out.
    Failed,
    /// It is not known whether it was carried out; the target is asked.
    Unknown,
    /// A person said no.
    Denied,
    /// Nobody decided, or it was not carried out, in time.
    Expired,
    /// The run ended or was stopped.
    Cancelled,
    /// The action or its target is not the one that was shown any more.
    Superseded,
    /// Was approved, and may not be carried out after all.
    Revoked,
    /// The rules deny it.
    Refused,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 14] = [
        Self::Requested,
        Self::Pending,
        Self::PartiallyApproved,
        Self::Approved,
        Self::Executing,
        Self::Executed,
        Self::Failed,
        Self::Unknown,
        Self::Denied,
        Self::Expired,
        Self::Cancelled,
        Self::Superseded,
        Self::Revoked,
        Self::Refused,
    ];

    /// The name in API and journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Pending => "pending",
            Self::PartiallyApproved => "partially_approved",
            Self::Approved => "approved",
            Self::Executing => "executing",
            Self::Executed => "executed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
            Self::Refused => "refused",
        }
    }

    /// The state with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether people can still decide.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Requested | Self::Pending | Self::PartiallyApproved)
    }

    /// Whether nothing more can happen to it.
    pub fn is_final(self) -> bool {
        !self.is_open() && !matches!(self, Self::Approved | Self::Executing | Self::Unknown)
    }
}

/// What is asked, frozen. The action has contents of files by their digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Id: 32 hexadecimal digits.
    pub id: String,
    /// The run that asks.
    pub run: String,
    /// The tool call of the run it belongs to, from 1.
    pub step: u32,
    /// Which write of that call, from 1.
    pub write: u32,
    /// The tool.
    pub tool: String,
    /// Exactly what would be written.
    pub action: Action,
    /// Its digest.
    pub digest: Digest,
    /// The version of what it changes; compared again before it is carried out.
    pub target: Target,
    /// What the judge said, and on which facts.
    pub verdict: Verdict,
    /// Who gave the order behind the run.
    pub requested_by: Who,
    /// The co-worker's own ids: never people who decide.
    pub agent: Vec<String>,
    /// Text of others that was read before.
    pub taint: Vec<Source>,
    /// What else a person needs to see.
    pub shown: Shown,
    /// When it ends undecided, microseconds since 1970.
    pub expires_at: i64,
    /// The approval that this one takes the place of.
    pub supersedes: Option<String>,
}

/// What an action changes, and the version of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// In words, for example `branch agent/7-x`.
    pub what: String,
    /// Its version: a commit, a revision; empty where there is nothing that could move.
    pub version: String,
    /// Its page.
    pub url: Option<String>,
}

/// A text of somebody else that the run had read when it asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// What it is, for example `comment 3 in pull request 12`.
    pub what: String,
    /// Its page.
    pub url: Option<String>,
    /// Who wrote it, where that is known.
    pub author: Option<Who>,
}

/// What a card shows besides the action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Unified diff of a push, without secrets.
    pub diff: Option<String>,
    /// Fields as they are now.
    pub before: BTreeMap<String, String>,
    /// Names for the ids in the action, for example the build definition's.
    pub names: BTreeMap<String, String>,
    /// What to look at twice.
    pub flags: Vec<String>,
    /// The model's own words. Untrusted.
    pub rationale: String,
}

/// What a person answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It may be done.
    Approve,
    /// It may not.
    Deny,
}

/// A person's decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Who, with what they were when they decided.
    pub by: Approver,
    /// What.
    pub answer: Answer,
    /// The digest that they saw.
    pub digest: Digest,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// What they changed before they approved.
    #[serde(default)]
    pub edits: Option<Edits>,
    /// Leave for more than this once.
    #[serde(default)]
    pub grant: Option<GrantAsked>,
    /// The ticket of a decision against the usual way.
    #[serde(default)]
    pub break_glass: Option<String>,
}

/// What happens to an approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A person decided.
    Decided(Box<Decision>),
    /// It begins to be carried out. Only once: the write is synced before anything is sent.
    Executing {
        /// Digest of the action as computed again now.
        digest: Digest,
        /// Version of the target as read again now.
        target: String,
    },
    /// It was carried out.
    Executed,
    /// The service refused it, or it failed for good.
    Failed {
        /// Why.
        error: String,
    },
    /// The process ended, or no answer came, while it was carried out.
    Unknown {
        /// What is known.
        why: String,
    },
    /// The target was asked: it was not carried out.
    NotDone,
    /// Its time is over.
    Expired,
    /// The run ended.
    Cancelled {
        /// By whom or why.
        why: String,
    },
    /// The action or its target changed.
    Superseded {
        /// How.
        why: String,
    },
    /// It was approved, and may not be done after all.
    Revoked {
        /// Why.
        why: String,
        /// The person who did it; none where the program did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Who>,
    },
    /// Its grant was used for another action.
    GrantUsed {
        /// What for.
        used: Use,
    },
    /// A grant is taken back.
    GrantEnded {
        /// Why.
        why: String,
        /// The person who did it; none where the program did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Who>,
    },
}

/// Why a change is not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The person may not decide on this.
    #[error("{0}")]
    NotEligible(String),
    /// The sign-in is too old.
    #[error("the sign-in is older than 12 hours")]
    StaleSignIn,
    /// It cannot be decided any more.
    #[error("it is {} already", .0.as_str().replace('_', " "))]
    Closed(State),
    /// Its time is over.
    #[error("its time is over")]
    Expired,
    /// The person saw another action than the one that waits.
    #[error("the digest is not the one of the action that waits")]
    OtherDigest,
    /// The person has approved it before.
    #[error("{0} has approved it before")]
    Twice(String),
    /// A reason is missing or too short.
    #[error("{0}")]
    Reason(String),
    /// What the person changed cannot be changed.
    #[error("{0}")]
    Edit(String),
    /// More leave than the rule gives.
    #[error("{0}")]
    Grant(String),
    /// The target moved.
    #[error("the target moved: it is {found} and was {wanted}")]
    TargetMoved {
        /// The version that was approved.
        wanted: String,
        /// The version now.
        found: String,
    },
    /// This does not follow from where it is.
    #[error("{change} does not follow from {}", .state.as_str())]
    OutOfOrder {
        /// Where it is.
        state: State,
        /// What was to happen.
        change: &'static str,
    },
}

impl Change {
    /// Its name in the record.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Decided(_) => "decided",
            Self::Executing { .. } => "executing",
            Self::Executed => "executed",
            Self::Failed { .. } => "failed",
            Self::Unknown { .. } => "unknown",
            Self::NotDone => "not_done",
            Self::Expired => "expired",
            Self::Cancelled { .. } => "cancelled",
            Self::Superseded { .. } => "superseded",
            Self::Revoked { .. } => "revoked",
            Self::GrantUsed { .. } => "grant_used",
            Self::GrantEnded { .. } => "grant_ended",
        }
    }

    /// Whether people do this, and not the worker of the run.
    pub fn is_by_a_person(&self) -> bool {
        matches!(self, Self::Decided(_) | Self::Revoked { .. } | Self::GrantEnded { .. })
    }
}
