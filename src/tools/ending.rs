//! How a call can end: with a result, later, never, or with words for the model.

use std::time::Duration;

use super::failure;
use crate::action::Unacceptable;
use crate::azure_devops::{self, Error};
use crate::journal::{JournalError, Outcome};
use crate::policy::approval::Approval;
use crate::policy::{Over, Verdict};

/// How long to leave a system alone that is down and does not say for how long.
const OUTAGE_PAUSE: Duration = Duration::from_secs(2);

/// Why a call has no result now. Everything else is a result, in words.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// An outside system asks for patience or is down; the same call can be made later.
    #[error("{what}")]
    Later {
        /// Earliest time, from now.
        after: Duration,
        /// What happened, for people.
        what: String,
        /// What a person can do.
        remedy: String,
    },
    /// People were asked too often: the run waits, and the same call can be made later.
    #[error("{reason}")]
    AskedTooMuch {
        /// Why, for people.
        reason: String,
        /// When it goes on by itself, microseconds since 1970.
        wake_at: Option<i64>,
    },
    /// A budget leaves no room for a write.
    #[error("{0}")]
    OverBudget(Over),
    /// The agent has no identity to act with, and somebody must change something first.
    #[error("{what}")]
    NoIdentity {
        /// What Entra or the sidecar said, for people.
        what: String,
        /// What a person can do.
        remedy: String,
    },
    /// The run is to stop.
    #[error("stopped")]
    Cancelled,
    /// It cannot be told whether a write happened.
    #[error("{0}")]
    Unclear(String),
    /// The record cannot be written: nothing may be done.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What a tool's work can end with besides a result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{error}")]
    Words { error: String, remedy: String },
    #[error("{}", .0.message)]
    Refused(Verdict),
    /// People were asked; it waits for them.
    #[error("waits for approval {}", .0.code())]
    Waits(Box<Approval>),
    /// An approved action was not carried out after all; the log says why.
    #[error("{0}")]
    NotCarried(String),
    #[error(transparent)]
    Azure(#[from] azure_devops::Error),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<JournalError> for Fault {
    fn from(error: JournalError) -> Self {
        Self::Interrupted(Interrupted::Journal(error))
    }
}

impl From<Unacceptable> for Fault {
    fn from(error: Unacceptable) -> Self {
        words(error.to_string(), "Correct the argument and call the tool again.")
    }
}

pub(super) fn words(error: impl Into<String>, remedy: impl Into<String>) -> Fault {
    Fault::Words { error: error.into(), remedy: remedy.into() }
}

/// What an error of Azure DevOps means for the call: words for the model, or a wait.
pub(super) fn settle(error: Error) -> Result<Outcome, Interrupted> {
    let later = |after| Interrupted::Later { after, what: error.to_string(), remedy: error.remedy() };
    match &error {
        Error::Throttled { after, .. } => Err(later(after.unwrap_or(OUTAGE_PAUSE))),
        // Waiting does not heal an identity that Entra refuses for good.
        Error::Identity(identity) if !identity.is_transient() => {
            Err(Interrupted::NoIdentity { what: error.to_string(), remedy: error.remedy() })
        }
        Error::Unavailable { .. } | Error::Transport { .. } | Error::Identity(_) => Err(later(OUTAGE_PAUSE)),
        _ => Ok(failure(&error.to_string(), &error.remedy())),
    }
}
