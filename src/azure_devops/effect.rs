//! What a write did.

use serde::{Deserialize, Serialize};

/// What a write did, as journalled and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// What was made or changed.
    pub kind: EffectKind,
    /// Its id: number of the work item, pull request, thread or build, name of the branch, commit id.
    pub id: Option<String>,
    /// Title for people: of the work item or pull request, branch name, first line of the commit.
    pub title: Option<String>,
    /// The commit that is now at the tip, where there is one.
    pub commit: Option<String>,
    /// Id of the comment that was written, where one was: to recognise our own echo.
    #[serde(default)]
    pub comment_id: Option<u32>,
    /// Its page in the organisation.
    pub web_url: Option<String>,
    /// Azure DevOps' id of the request: what Microsoft support and the audit log ask for.
    pub activity_id: Option<String>,
}

/// What an [`Effect`] made or changed; the names that links have in the JSON API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// A work item, or its discussion.
    WorkItem,
    /// A branch.
    Branch,
    /// A commit.
    Commit,
    /// A pull request.
    PullRequest,
    /// A thread of a pull request.
    Thread,
    /// A build.
    Build,
}

impl EffectKind {
    /// The name in the JSON API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WorkItem => "work_item",
            Self::Branch => "branch",
            Self::Commit => "commit",
            Self::PullRequest => "pull_request",
            Self::Thread => "thread",
            Self::Build => "build",
        }
    }
}
