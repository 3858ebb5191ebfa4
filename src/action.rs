//! One typed outside action, and its canonical digest.
//!
//! An [`Action`] says exactly what will be written to Azure DevOps: the judge decides on it, a
//! person approves it, the journal records it, and the client performs it. Its parts are typed so
//! that text from a model cannot become a route, a reference or a path it should not be:
//! [`BranchName`], [`CommitId`] and [`ItemPath`] refuse instead of repairing.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::{self, Digest};

/// Longest branch name that is accepted, in bytes.
pub const MAX_BRANCH_BYTES: usize = 200;
/// Longest item path that is accepted, in bytes.
pub const MAX_PATH_BYTES: usize = 1_000;

/// What makes a typed part unacceptable. The text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} '{given}' is not acceptable: {reason}")]
pub struct Unacceptable {
    what: &'static str,
    given: String,
    reason: &'static str,
}

fn refuse<T>(what: &'static str, given: &str, reason: &'static str) -> Result<T, Unacceptable> {
    let given = given.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    Err(Unacceptable { what, given, reason })
}

/// A branch name without `refs/heads/`, ASCII, legal for git (`git check-ref-format`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BranchName(String);

impl BranchName {
    /// Checks `name`; a leading `refs/heads/` is taken off.
    ///
    /// # Errors
    /// [`Unacceptable`] for an empty or overlong name, other than ASCII letters, digits and
    /// `-_./`, or a form that git refuses.
    pub fn new(name: &str) -> Result<Self, Unacceptable> {
        const WHAT: &str = "branch";
        let short = name.strip_prefix("refs/heads/").unwrap_or(name);
        if short.is_empty() || short.len() > MAX_BRANCH_BYTES {
            return refuse(WHAT, name, "give 1 to 200 characters");
        }
        if !short.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b)) {
            return refuse(WHAT, name, "use only ASCII letters, digits, '-', '_', '.' and '/'");
        }
        if short.starts_with("refs/") || short.starts_with('-') {
            return refuse(WHAT, name, "name a branch, not another kind of reference");
        }
        let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
        if short.split('/').any(bad_part) || short.contains("..") || short.ends_with('.') {
            return refuse(WHAT, name, "git does not allow empty parts, '..', a leading '.' or '.lock'");
        }
        Ok(Self(short.to_owned()))
    }

    /// The name without `refs/heads/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full reference, `refs/heads/…`.
    pub fn full(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

/// A full commit id: 40 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

impl CommitId {
    /// Checks `id`.
    ///
    /// # Errors
    /// [`Unacceptable`] unless it is 40 hexadecimal digits.
    pub fn new(id: &str) -> Result<Self, Unacceptable> {
        if id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(id.to_ascii_lowercase()))
        } else {
            refuse("commit id", id, "give all 40 hexadecimal digits")
        }
    }

    /// The 40 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

/// The path of a file in a repository: absolute, `/`-separated, without `.` or `..`, never inside
/// a `.git` folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ItemPath(String);

impl ItemPath {
    /// Checks `path`; a missing leading slash is added.
    ///
    /// # Errors
    /// [`Unacceptable`] for parent steps, `.git` folders, back slashes, drive letters, percent
    /// escapes, control, invisible or direction-changing characters, or an overlong path.
    pub fn new(path: &str) -> Result<Self, Unacceptable> {
        const WHAT: &str = "path";
        let body = path.strip_prefix('/').unwrap_or(path);
        if body.is_empty() || path.len() > MAX_PATH_BYTES {
            return refuse(WHAT, path, "give the path of a file, at most 1,000 bytes");
        }
        if body.chars().any(|c| c.is_control() || is_hidden(c) || matches!(c, '\\' | ':' | '%')) {
            return refuse(WHAT, path, "control or hidden characters, '\\', ':' and '%' are not allowed");
        }
        for part in body.split('/') {
            if part.is_empty() || part == "." || part == ".." {
                return refuse(WHAT, path, "empty parts, '.' and '..' are not allowed");
            }
            if part.ends_with(' ') || part.ends_with('.') || part.starts_with(' ') {
                return refuse(WHAT, path, "a part may not begin or end with a space, or end with a dot");
            }
            let lower = part.to_ascii_lowercase();
            if lower == ".git" || lower.starts_with("git~") {
                return refuse(WHAT, path, "git's own folder cannot be changed");
            }
        }
        Ok(Self(format!("/{body}")))
    }

    /// The path with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that change how text reads without being seen: zero-width, direction overrides,
/// tag characters.
pub fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        | '\u{ad}' | '\u{e0000}'..='\u{e007f}')
}

macro_rules! text_form {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = Unacceptable;
            fn try_from(text: String) -> Result<Self, Unacceptable> {
                Self::new(&text)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
    )*};
}
text_form!(BranchName, CommitId, ItemPath);

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
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Content::Base64(text) => write!(f, "Base64({} characters)", text.len()),
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
            Self::ReplyToThread { .. } => "thread.reply",
            Self::SetThreadStatus { .. } => "thread.set_status",
        }
    }

    /// The project it writes to.
    pub fn project(&self) -> &str {
        match self {
            Self::CreateWorkItem { project, .. }
            | Self::UpdateWorkItem { project, .. }
            | Self::CommentOnWorkItem { project, .. } => project,
            Self::CreateBranch { repository, .. }
            | Self::Push { repository, .. }
            | Self::CreatePullRequest { repository, .. }
            | Self::ReplyToThread { repository, .. }
            | Self::SetThreadStatus { repository, .. } => &repository.project,
        }
    }

    /// The repository it writes to, where it writes to one.
    pub fn repository(&self) -> Option<&str> {
        match self {
            Self::CreateWorkItem { .. } | Self::UpdateWorkItem { .. } | Self::CommentOnWorkItem { .. } => None,
            Self::CreateBranch { repository, .. }
            | Self::Push { repository, .. }
            | Self::CreatePullRequest { repository, .. }
            | Self::ReplyToThread { repository, .. }
            | Self::SetThreadStatus { repository, .. } => Some(&repository.repository),
        }
    }

    /// The canonical digest of exactly this action: what a permit and an approval are bound to.
    ///
    /// # Errors
    /// Never for the values that this type can hold; the signature keeps callers honest.
    pub fn digest(&self) -> Result<Digest, serde_json::Error> {
        Ok(Digest::of("ado-coworker action v1", digest::canonical(self)?.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn branch_names_are_what_git_and_policy_can_trust() {
        assert_eq!(BranchName::new("refs/heads/agent/1-x").unwrap().as_str(), "agent/1-x");
        for bad in ["", "m\u{0430}in", "a..b", "a//b", ".a", "a.lock", "-x", "refs/tags/v1", "a b", "a~1", "x."] {
            assert!(BranchName::new(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn paths_cannot_leave_the_tree_or_touch_git() {
        assert_eq!(ItemPath::new("src/a.ts").unwrap().as_str(), "/src/a.ts");
        let bad = [
            "", "/", "../a", "a/../b", "a/./b", ".git/config", "x/.GIT/hooks/y", ".git /x", "C:\\a", "a\\b",
            "%2e%2e/a", "a\0b", "a//b", "GIT~1/config", "a\u{202e}b", "/a/",
        ];
        for path in bad {
            assert!(ItemPath::new(path).is_err(), "{path:?} was accepted");
        }
    }

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

    proptest! {
        #[test]
        fn typed_parts_never_panic_and_keep_their_promise(text in "\\PC{0,60}") {
            if let Ok(path) = ItemPath::new(&text) {
                prop_assert!(path.as_str().starts_with('/'));
                prop_assert!(!path.as_str().split('/').any(|p| p == ".." || p.eq_ignore_ascii_case(".git")));
            }
            if let Ok(branch) = BranchName::new(&text) {
                prop_assert!(branch.as_str().is_ascii());
            }
        }
    }
}
