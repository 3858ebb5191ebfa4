//! One typed outside action, and its canonical digest.
//!
//! An [`Action`] says exactly what will be written to Azure DevOps: the judge decides on it, a
//! person approves it, the journal records it, and the client performs it. Its parts are typed so
//! that text from a model cannot become a route, a reference or a path it should not be:
//! [`BranchName`], [`CommitId`] and [`ItemPath`] refuse instead of repairing.

mod parts;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::{self, Digest};

pub use parts::{BranchName, CommitId, ItemPath, MAX_BRANCH_BYTES, MAX_PATH_BYTES, Unacceptable, is_hidden};

/// A repository, by the names the service knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RepositoryRef {
    /// Project name or id.
    pub project: String,
    /// Repository name or id.
    pub repository: String,
}

/// One file of a push, with the bytes it will have afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum FileChange {
    /// A new file.
    Add {
        /// Where.
        path: ItemPath,
        /// Its bytes, base64.
        content: Content,
    },
    /// New bytes for a file that exists.
    Edit {
        /// Which.
        path: ItemPath,
        /// All of its new bytes.
        content: Content,
    },
    /// The file goes away.
    Delete {
        /// Which.
        path: ItemPath,
    },
    /// The file moves, unchanged.
    Rename {
        /// From where.
        path: ItemPath,
        /// To where.
        new_path: ItemPath,
    },
}

impl FileChange {
    /// Every path this change touches.
    pub fn paths(&self) -> Vec<&ItemPath> {
        match self {
            FileChange::Add { path, .. } | FileChange::Edit { path, .. } | FileChange::Delete { path } => {
                vec![path]
            }
            FileChange::Rename { path, new_path } => vec![path, new_path],
        }
    }
}

/// Bytes of a file; in JSON as text where they are UTF-8, else as base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// UTF-8 text, exactly as stored (line endings and byte-order mark included).
    Text(String),
    /// Other bytes, base64.
    Base64(String),
    /// Bytes that are not kept here: their digest. Only in the record, never in what is performed.
    Digest(Digest),
}

impl Content {
    fn by_digest(&self) -> Self {
        match self {
            Self::Text(text) => Self::Digest(Digest::of("ado-coworker content v1", text.as_bytes())),
            Self::Base64(text) => Self::Digest(Digest::of("ado-coworker base64 v1", text.as_bytes())),
            Self::Digest(digest) => Self::Digest(digest.clone()),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Content::Base64(text) => write!(f, "Base64({} characters)", text.len()),
            Content::Digest(digest) => write!(f, "Digest({digest})"),
        }
    }
}

/// A link between two work items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkItemLink {
    /// `parent`, `child` or `related`, seen from the item that is changed.
    pub relation: Relation,
    /// The other item.
    pub target_id: u32,
}

/// How one work item relates to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The target is the parent.
    Parent,
    /// The target is a child.
    Child,
    /// Related, without order.
    Related,
}

/// The status of a comment thread, as Azure DevOps names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ThreadStatus {
    /// Open.
    Active,
    /// Waits for something.
    Pending,
    /// Repaired by a change.
    Fixed,
    /// Will not be changed.
    WontFix,
    /// Closed without saying why.
    Closed,
    /// Meant to be so.
    ByDesign,
}

impl ThreadStatus {
    /// The name in the REST API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Fixed => "fixed",
            Self::WontFix => "wontFix",
            Self::Closed => "closed",
            Self::ByDesign => "byDesign",
        }
    }
}

/// Where in a file of a pull request a thread stands. Whole by its type: both ends, and the
/// iteration they were measured in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The file.
    pub path: ItemPath,
    /// Whether the lines count in the file as it was before the pull request.
    pub is_left: bool,
    /// First line, from 1.
    pub start_line: u32,
    /// First character of it, from 1, in UTF-16 units.
    pub start_offset: u32,
    /// Last line, from 1.
    pub end_line: u32,
    /// The character after the last one, from 1, in UTF-16 units.
    pub end_offset: u32,
    /// The file's number in the iteration's list of changes.
    pub change_tracking_id: u32,
    /// The iteration in which the lines were counted, from 1.
    pub iteration: u32,
}

/// One write to Azure DevOps. The tag is the name that policy rules use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action")]
pub enum Action {
    /// A new work item.
    #[serde(rename = "work_item.create")]
    CreateWorkItem {
        /// Project name or id.
        project: String,
        /// Work item type, for example `Issue`.
        work_item_type: String,
        /// Title, at most 255 characters.
        title: String,
        /// Description, Markdown.
        description: String,
        /// Account of the person it is assigned to.
        assigned_to: Option<String>,
        /// Parent work item.
        parent_id: Option<u32>,
        /// Where the run can be seen; kept as a hyperlink so that a crash can find the item again.
        run_url: Option<String>,
    },
    /// Changed fields or links of a work item.
    #[serde(rename = "work_item.update")]
    UpdateWorkItem {
        /// Project name or id.
        project: String,
        /// Which item.
        id: u32,
        /// The revision it was read at; the write fails when it moved on.
        rev: u32,
        /// Field reference name to new value.
        fields: BTreeMap<String, String>,
        /// A link to add.
        link: Option<WorkItemLink>,
    },
    /// A comment in a work item's discussion.
    #[serde(rename = "work_item.comment")]
    CommentOnWorkItem {
        /// Project name or id.
        project: String,
        /// Which item.
        id: u32,
        /// Markdown.
        text: String,
    },
    /// A new branch at an existing commit.
    #[serde(rename = "git.create_branch")]
    CreateBranch {
        /// Where.
        #[serde(flatten)]
        repository: RepositoryRef,
        /// The new branch.
        branch: BranchName,
        /// Its first tip.
        commit: CommitId,
    },
    /// One commit of some files onto a branch that stands at `old_commit`.
    #[serde(rename = "git.push")]
    Push {
        /// Where.
        #[serde(flatten)]
        repository: RepositoryRef,
        /// The branch that moves.
        branch: BranchName,
        /// Its tip before; the write fails when it moved on.
        old_commit: CommitId,
        /// Commit message with the trailers.
        message: String,
        /// Name and mail address of the agent user: author and committer.
        author: Author,
        /// The files.
        changes: Vec<FileChange>,
    },
    /// A new draft pull request.
    #[serde(rename = "pull_request.create")]
    CreatePullRequest {
        /// Where.
        #[serde(flatten)]
        repository: RepositoryRef,
        /// From.
        source: BranchName,
        /// Into.
        target: BranchName,
        /// At most 400 characters.
        title: String,
        /// Markdown, at most 4,000 characters.
        description: String,
        /// Identity ids of reviewers.
        reviewer_ids: Vec<String>,
        /// Linked work items.
        work_item_ids: Vec<u32>,
    },
    /// New words for a pull request.
    #[serde(rename = "pull_request.update")]
    UpdatePullRequest {
        /// Where.
        #[serde(flatten)]
        repository: RepositoryRef,
        /// Which pull request.
        pull_request_id: u32,
        /// At most 400 characters.
        title: Option<String>,
        /// Markdown, at most 4,000 characters.
        description: Option<String>,
    },
    /// A draft becomes a pull request that people are asked to review.
    #[serde(rename = "pull_request.publish")]
    PublishPullRequest {
        /// Where.
        #[serde(flatten)]
        repository: RepositoryRef,
        /// Which pull request.
        pull_request_id: u32,
    },
    /// A pull request becomes a draft again.
    #[serde(rename = "pull_request.redraft")]
    RedraftPullRequest {
        /// Where.
        #[serde(flatten)]
        repository: RepositoryRef,
        /// Which pull request.
        pull_request_id: u32,
    },
    /// A pull request is given up; its branch stays.
    #[serde(rename = "pull_request.abandon")]
    AbandonPullRequest {
        /// Where.
        #[serde(flatten)]
        repository: RepositoryRef,
        /// Which pull request.
        pull_request_id: u32,
    },
    /// A new thread in a pull request.
    #[serde(rename = "thread.create")]
    CreateThread {
        /// Where.
        #[serde(flatten)]
        repository: RepositoryRef,
        /// Which pull request.
        pull_request_id: u32,
        /// Markdown.
        text: String,
        /// The status it begins with.
        status: ThreadStatus,
        /// The lines it stands at; none for a comment on the whole.
        anchor: Option<Anchor>,
    },
    /// A new build of a branch.
    #[serde(rename = "build.queue")]
    QueueBuild {
        /// Where.
        #[serde(flatten)]
        repository: RepositoryRef,
        /// Which definition.
        definition_id: u32,
        /// The branch that is built.
        branch: BranchName,
        /// The co-worker's newest build of that branch so far, 0 for none: a newer one is this one.
        #[serde(default)]
        after: u32,
    },
    /// A reply in a thread of a pull request.
    #[serde(rename = "thread.reply")]
    ReplyToThread {
        /// Where.
        #[serde(flatten)]
        repository: RepositoryRef,
        /// Which pull request.
        pull_request_id: u32,
        /// Which thread.
        thread_id: u32,
        /// Markdown.
        text: String,
    },
    /// A new status of a thread.
    #[serde(rename = "thread.set_status")]
    SetThreadStatus {
        /// Where.
        #[serde(flatten)]
        repository: RepositoryRef,
        /// Which pull request.
        pull_request_id: u32,
        /// Which thread.
        thread_id: u32,
        /// The new status.
        status: ThreadStatus,
    },
}

/// Name and mail address on a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Display name.
    pub name: String,
    /// Mail address.
    pub email: String,
}

impl Action {
    /// The name that policy rules use, for example `git.push`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CreateWorkItem { .. } => "work_item.create",
            Self::UpdateWorkItem { .. } => "work_item.update",
            Self::CommentOnWorkItem { .. } => "work_item.comment",
            Self::CreateBranch { .. } => "git.create_branch",
            Self::Push { .. } => "git.push",
            Self::CreatePullRequest { .. } => "pull_request.create",
            Self::UpdatePullRequest { .. } => "pull_request.update",
            Self::PublishPullRequest { .. } => "pull_request.publish",
            Self::RedraftPullRequest { .. } => "pull_request.redraft",
            Self::AbandonPullRequest { .. } => "pull_request.abandon",
            Self::CreateThread { .. } => "thread.create",
            Self::QueueBuild { .. } => "build.queue",
            Self::ReplyToThread { .. } => "thread.reply",
            Self::SetThreadStatus { .. } => "thread.set_status",
        }
    }

    /// The project it writes to.
    pub fn project(&self) -> &str {
        match self.place() {
            Ok(repository) => &repository.project,
            Err(project) => project,
        }
    }

    /// The repository it writes to, where it writes to one.
    pub fn repository(&self) -> Option<&str> {
        self.place().ok().map(|repository| repository.repository.as_str())
    }

    /// The repository, or else the project alone.
    fn place(&self) -> Result<&RepositoryRef, &str> {
        match self {
            Self::CreateWorkItem { project, .. }
            | Self::UpdateWorkItem { project, .. }
            | Self::CommentOnWorkItem { project, .. } => Err(project),
            Self::CreateBranch { repository, .. }
            | Self::Push { repository, .. }
            | Self::CreatePullRequest { repository, .. }
            | Self::UpdatePullRequest { repository, .. }
            | Self::PublishPullRequest { repository, .. }
            | Self::RedraftPullRequest { repository, .. }
            | Self::AbandonPullRequest { repository, .. }
            | Self::CreateThread { repository, .. }
            | Self::QueueBuild { repository, .. }
            | Self::ReplyToThread { repository, .. }
            | Self::SetThreadStatus { repository, .. } => Ok(repository),
        }
    }

    /// This action as the record keeps it: contents of files by their digest. The record is for
    /// years and many eyes; the repository keeps the bytes, and a diff without secrets is beside it.
    pub fn for_record(&self) -> Self {
        let mut kept = self.clone();
        if let Self::Push { changes, .. } = &mut kept {
            for change in changes {
                if let FileChange::Add { content, .. } | FileChange::Edit { content, .. } = change {
                    *content = content.by_digest();
                }
            }
        }
        kept
    }

    /// The canonical digest of exactly this action: what a permit and an approval are bound to. The
    /// action as the record keeps it has the same one, so that an auditor can compute it again.
    ///
    /// # Errors
    /// Never for the values that this type can hold; the signature keeps callers honest.
    pub fn digest(&self) -> Result<Digest, serde_json::Error> {
        Ok(Digest::of("ado-coworker action v1", digest::canonical(&self.for_record())?.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_depends_on_every_part() {
        let reply = |text: &str, thread_id| Action::ReplyToThread {
            repository: RepositoryRef { project: "P".into(), repository: "r".into() },
            pull_request_id: 1,
            thread_id,
            text: text.into(),
        };
        let digest = reply("a", 1).digest().unwrap();
        assert_eq!(digest, reply("a", 1).digest().unwrap());
        assert_ne!(digest, reply("b", 1).digest().unwrap());
        assert_ne!(digest, reply("a", 2).digest().unwrap());
        let text = serde_json::to_string(&reply("a", 1)).unwrap();
        assert_eq!(serde_json::from_str::<Action>(&text).unwrap(), reply("a", 1));
    }
}
