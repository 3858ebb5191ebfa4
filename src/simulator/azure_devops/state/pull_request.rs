//! The shape of a pull request and what hangs on it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::simulator::azure_devops::wire_enum::wire_enum;

wire_enum! {
    /// State of a pull request.
    PullRequestStatus {
        NotSet = 0 "notSet", Active = 1 "active", Abandoned = 2 "abandoned", Completed = 3 "completed", All = 4 "all",
    }
}
wire_enum! {
    /// How the last merge attempt went.
    MergeStatus {
        NotSet = 0 "notSet", Queued = 1 "queued", Conflicts = 2 "conflicts", Succeeded = 3 "succeeded",
        RejectedByPolicy = 4 "rejectedByPolicy", Failure = 5 "failure",
    }
}
wire_enum! {
    /// How a pull request is completed.
    MergeStrategy { NoFastForward = 1 "noFastForward", Squash = 2 "squash", Rebase = 3 "rebase", RebaseMerge = 4 "rebaseMerge" }
}
wire_enum! {
    /// State of a thread.
    ThreadStatus {
        Unknown = 0 "unknown", Active = 1 "active", Fixed = 2 "fixed", WontFix = 3 "wontFix", Closed = 4 "closed",
        ByDesign = 5 "byDesign", Pending = 6 "pending",
    }
}
wire_enum! {
    /// Kind of a comment.
    CommentType { Unknown = 0 "unknown", Text = 1 "text", CodeChange = 2 "codeChange", System = 3 "system" }
}
wire_enum! {
    /// State of a status posted on a pull request or commit.
    StatusState {
        NotSet = 0 "notSet", Pending = 1 "pending", Succeeded = 2 "succeeded", Failed = 3 "failed", Error = 4 "error",
        NotApplicable = 5 "notApplicable",
    }
}
wire_enum! {
    /// Why there is an iteration.
    IterationReason { Push = 0 "push", ForcePush = 1 "forcePush", Create = 2 "create", Rebase = 4 "rebase", Unknown = 8 "unknown", Retarget = 16 "retarget" }
}

/// A pull request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PullRequest {
    /// Number, unique in the organisation.
    pub id: u32,
    /// Where it merges to.
    pub repository: Uuid,
    /// Where it comes from: the same, or a fork.
    pub source_repository: Uuid,
    /// Title.
    pub title: String,
    /// Description, Markdown.
    pub description: String,
    /// Full name of the source branch.
    pub source_ref: String,
    /// Full name of the target branch.
    pub target_ref: String,
    /// State.
    pub status: PullRequestStatus,
    /// Not ready for review.
    pub is_draft: bool,
    /// Author.
    pub created_by: Uuid,
    /// When.
    pub created: Timestamp,
    /// When completed or abandoned.
    pub closed: Option<Timestamp>,
    /// By whom.
    pub closed_by: Option<Uuid>,
    /// Last merge attempt.
    pub merge_status: MergeStatus,
    /// Text about a failed attempt.
    pub merge_message: Option<String>,
    /// Id of the merge.
    pub merge_id: Uuid,
    /// Source of the last attempt.
    pub source_commit: String,
    /// Target of the last attempt.
    pub target_commit: String,
    /// Its result.
    pub merge_commit: Option<String>,
    /// Reviewers in order.
    pub reviewers: Vec<Reviewer>,
    /// Labels.
    pub labels: Vec<Label>,
    /// One per push to the source.
    pub iterations: Vec<Iteration>,
    /// Threads, oldest first.
    pub threads: Vec<Thread>,
    /// Statuses, oldest first.
    pub statuses: Vec<Status>,
    /// Properties set by clients.
    pub properties: BTreeMap<String, Value>,
    /// How it is to be completed.
    pub completion: Option<Completion>,
    /// When completion was asked for, while it is running or done.
    pub completion_queued: Option<Timestamp>,
    /// Who asked for completion.
    pub completion_by: Option<Uuid>,
    /// Who set auto-complete.
    pub auto_complete_by: Option<Uuid>,
}

/// A reviewer with a vote.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Reviewer {
    /// Who.
    pub id: Uuid,
    /// 10, 5, 0, -5 or -10.
    pub vote: i32,
    /// Must approve.
    pub required: bool,
    /// Declined to review.
    pub declined: bool,
    /// Flagged for attention.
    pub flagged: bool,
}

/// A label.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Label {
    /// Id.
    pub id: Uuid,
    /// Text.
    pub name: String,
}

/// The source branch as it was after one push.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Iteration {
    /// From 1.
    pub id: u32,
    /// Who pushed.
    pub author: Uuid,
    /// When.
    pub created: Timestamp,
    /// Source tip.
    pub source: String,
    /// Target tip.
    pub target: String,
    /// Their common ancestor.
    pub common: String,
    /// Why.
    pub reason: IterationReason,
}

/// A thread of comments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Thread {
    /// Number.
    pub id: u32,
    /// First comment.
    pub published: Timestamp,
    /// Last change.
    pub updated: Timestamp,
    /// Comments by number.
    pub comments: Vec<Comment>,
    /// Absent for system threads.
    pub status: Option<ThreadStatus>,
    /// Where in a file.
    pub context: Option<ThreadContext>,
    /// `pullRequestThreadContext` as given.
    pub review_context: Option<Value>,
    /// Typed properties, `$type` and `$value`.
    pub properties: BTreeMap<String, Value>,
    /// All its comments are deleted.
    pub deleted: bool,
}

/// A position in a file of the diff.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ThreadContext {
    /// Path with a leading slash.
    pub file_path: String,
    /// Start on the base side.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub left_file_start: Option<Position>,
    /// End on the base side.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub left_file_end: Option<Position>,
    /// Start on the new side.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub right_file_start: Option<Position>,
    /// End on the new side.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub right_file_end: Option<Position>,
}

/// A line (from 1) and a character offset.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// As given by the client.
    pub offset: u32,
}

/// A comment of a thread.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comment {
    /// From 1 inside the thread.
    pub id: u32,
    /// 0 for the first.
    pub parent: u32,
    /// Who.
    pub author: Uuid,
    /// Markdown; empty once deleted.
    pub content: String,
    /// When.
    pub published: Timestamp,
    /// Last change of anything.
    pub updated: Timestamp,
    /// Last change of the text.
    pub content_updated: Timestamp,
    /// Kind.
    pub kind: CommentType,
    /// Deleted.
    pub deleted: bool,
    /// Who liked it.
    pub liked: Vec<Uuid>,
}

/// A status posted by some other service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Number.
    pub id: u32,
    /// State.
    pub state: StatusState,
    /// Text.
    pub description: String,
    /// Link.
    pub target_url: Option<String>,
    /// `context.name`.
    pub name: String,
    /// `context.genre`.
    pub genre: Option<String>,
    /// Of which iteration.
    pub iteration: Option<u32>,
    /// Who.
    pub created_by: Uuid,
    /// When.
    pub created: Timestamp,
}

/// How a pull request is to be completed.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Completion {
    /// Strategy.
    pub strategy: MergeStrategy,
    /// Delete the source branch afterwards.
    pub delete_source: bool,
    /// Move linked work items to their completed state.
    pub transition_work_items: bool,
    /// Message of the merge commit.
    pub message: Option<String>,
    /// Complete although policies are not met, with the permission to do so.
    pub bypass: bool,
    /// Why.
    pub bypass_reason: Option<String>,
    /// Started by auto-complete.
    pub by_auto_complete: bool,
}

impl PullRequest {
    /// Artifact id as work items link to it, `project` being the repository's.
    pub fn artifact_id(&self, project: Uuid) -> String {
        format!("vstfs:///Git/PullRequestId/{project}%2f{}%2f{}", self.repository, self.id)
    }
}

impl Comment {
    /// A new comment.
    pub fn new(id: u32, parent: u32, author: Uuid, content: &str, kind: CommentType, now: Timestamp) -> Self {
        Self {
            id,
            parent,
            author,
            content: content.to_owned(),
            published: now,
            updated: now,
            content_updated: now,
            kind,
            deleted: false,
            liked: Vec::new(),
        }
    }
}

impl Default for Completion {
    fn default() -> Self {
        Self {
            strategy: MergeStrategy::NoFastForward,
            delete_source: false,
            transition_work_items: false,
            message: None,
            bypass: false,
            bypass_reason: None,
            by_auto_complete: false,
        }
    }
}
