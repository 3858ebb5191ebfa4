//! What happened outside, with the key that makes it happen once.
//!
//! Only ids are taken from a delivery; the objects are read again by API before anyone acts on
//! them, because a delivery's body is not trusted (GOVERNANCE §6.1).

mod delivery;

use serde::{Deserialize, Serialize};

pub use delivery::{Delivery, NotUnderstood, parse_delivery};

/// One event, reduced to ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OutsideEvent {
    /// A comment on a pull request was made, edited or deleted.
    PullRequestCommented {
        /// Repository id.
        repository_id: String,
        /// Pull request number.
        pull_request_id: u32,
        /// Thread, where the delivery names it.
        thread_id: Option<u32>,
        /// Comment in the thread.
        comment_id: u32,
    },
    /// A pull request was opened, changed or merged.
    PullRequestChanged {
        /// Repository id.
        repository_id: String,
        /// Pull request number.
        pull_request_id: u32,
    },
    /// A work item was made, changed or commented.
    WorkItemChanged {
        /// Work item.
        work_item_id: u32,
    },
    /// Commits arrived.
    Pushed {
        /// Repository id.
        repository_id: String,
        /// Push number.
        push_id: u32,
    },
    /// A build ended.
    BuildCompleted {
        /// Build.
        build_id: u32,
    },
    /// A type that this program does not act on.
    Other {},
}

impl OutsideEvent {
    /// What is judged together: events of one group that come shortly after each other are seen by
    /// one run. None where each stands alone.
    pub fn group(&self) -> Option<String> {
        match self {
            Self::PullRequestCommented { pull_request_id, .. }
            | Self::PullRequestChanged { pull_request_id, .. } => Some(pull_request(*pull_request_id)),
            Self::WorkItemChanged { work_item_id, .. } => Some(work_item(*work_item_id)),
            Self::Pushed { .. } | Self::BuildCompleted { .. } | Self::Other {} => None,
        }
    }
}

/// The subject of runs about a pull request. Its number is unique in the organisation.
pub fn pull_request(id: u32) -> String {
    format!("pull_request:{id}")
}

/// The subject of runs about a work item. Its number is unique in the organisation.
pub fn work_item(id: u32) -> String {
    format!("work_item:{id}")
}

/// What in Azure DevOps began a run. Fixed before any text of the work is read, so that what the
/// run may do can be told from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// What kind of work it is.
    pub kind: TriggerKind,
    /// The one object it is about: `pull_request:12` or `work_item:7`.
    pub subject: String,
    /// Identity id in Azure DevOps of the person whose words instruct; none where a fact alone
    /// began it (a build that ended).
    pub author_id: Option<String>,
    /// What was judged, with its version: the same version never begins work twice.
    pub version: String,
    /// How many runs caused each other to get here; 0 where a person began it.
    #[serde(default)]
    pub hops: u32,
}

/// The kinds of work that begin in Azure DevOps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// Somebody commented on a pull request of the co-worker.
    ReviewComment,
    /// The co-worker was made a reviewer of somebody's pull request.
    ReviewRequest,
    /// Somebody mentioned it in their pull request.
    PullRequestMention,
    /// A work item was assigned to it.
    WorkItemAssigned,
    /// Somebody mentioned it in a work item.
    WorkItemMention,
    /// A build of its own pull request failed.
    BuildFailed,
    /// A build of its own draft pull request succeeded.
    BuildSucceeded,
}

impl TriggerKind {
    /// The name in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReviewComment => "review_comment",
            Self::ReviewRequest => "review_request",
            Self::PullRequestMention => "pull_request_mention",
            Self::WorkItemAssigned => "work_item_assigned",
            Self::WorkItemMention => "work_item_mention",
            Self::BuildFailed => "build_failed",
            Self::BuildSucceeded => "build_succeeded",
        }
    }
}
