//! Threads of pull requests: who said what, where.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::people::{IdentityRef, List, Person};
use super::routes::THREADS;
use super::transport::Question;
use super::{Client, Error};
use crate::action::{RepositoryRef, ThreadStatus};

/// A thread of a pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Thread {
    /// Id, unique in the pull request.
    pub id: u32,
    /// Status; `None` for system threads and for statuses that we do not know.
    pub status: Option<ThreadStatus>,
    /// The file it stands at, with a leading slash; `None` for a comment on the whole.
    pub file: Option<String>,
    /// First line it stands at, from 1.
    pub line: Option<u32>,
    /// Which version of the file the line counts in.
    pub side: Option<Side>,
    /// Its comments that were not deleted, in order.
    pub comments: Vec<Comment>,
}

/// A version of a compared file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Before the pull request.
    Left,
    /// With the pull request.
    Right,
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comment {
    /// Id, from 1 inside its thread.
    pub id: u32,
    /// The comment it answers; 0 for none.
    pub parent_id: u32,
    /// Who wrote it.
    pub author: Person,
    /// Whether a person or the service itself wrote it.
    pub written_by: Writer,
    /// Its text, Markdown.
    pub text: String,
    /// When.
    pub published: Option<Timestamp>,
    /// When its text was changed last; the time it was published where it was not.
    pub edited: Option<Timestamp>,
}

/// Who writes a comment. Whether a person is ourselves is told by [`Me::id`](super::Me::id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Writer {
    /// A person, or a program with an account.
    Person,
    /// Azure DevOps: votes, pushes, status changes.
    System,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawThread {
    pub(super) id: u32,
    status: Option<String>,
    thread_context: Option<Context>,
    comments: Option<Vec<RawComment>>,
    is_deleted: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    file_path: Option<String>,
    left_file_start: Option<Position>,
    right_file_start: Option<Position>,
}

#[derive(Deserialize)]
struct Position {
    line: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawComment {
    pub(super) id: u32,
    parent_comment_id: Option<u32>,
    author: Option<IdentityRef>,
    content: Option<String>,
    comment_type: Option<String>,
    published_date: Option<Timestamp>,
    last_content_updated_date: Option<Timestamp>,
    is_deleted: Option<bool>,
}

/// The status that `name` means, in any letter case.
pub(super) fn status(name: &str) -> Option<ThreadStatus> {
    use ThreadStatus::{Active, ByDesign, Closed, Fixed, Pending, WontFix};
    [Active, Pending, Fixed, WontFix, Closed, ByDesign]
        .into_iter()
        .find(|s| s.as_str().eq_ignore_ascii_case(name))
}

impl From<RawComment> for Comment {
    fn from(raw: RawComment) -> Self {
        let is_system = raw.comment_type.is_some_and(|kind| kind.eq_ignore_ascii_case("system"));
        Self {
            id: raw.id,
            parent_id: raw.parent_comment_id.unwrap_or(0),
            author: raw.author.unwrap_or_default().into(),
            written_by: if is_system { Writer::System } else { Writer::Person },
            text: raw.content.unwrap_or_default(),
            published: raw.published_date,
            edited: raw.last_content_updated_date.or(raw.published_date),
        }
    }
}

impl From<RawThread> for Thread {
    fn from(raw: RawThread) -> Self {
        let context = raw.thread_context;
        let right = context.as_ref().and_then(|context| context.right_file_start.as_ref());
        let left = context.as_ref().and_then(|context| context.left_file_start.as_ref());
        let place = right.map(|at| (at.line, Side::Right)).or_else(|| left.map(|at| (at.line, Side::Left)));
        let comments = raw.comments.unwrap_or_default().into_iter();
        Self {
            id: raw.id,
            status: raw.status.as_deref().and_then(status),
            line: place.map(|(line, _)| line),
            side: place.map(|(_, side)| side),
            file: context.and_then(|context| context.file_path),
            comments: comments
                .filter(|comment| comment.is_deleted != Some(true))
                .map(Comment::from)
                .collect(),
        }
    }
}

impl Client {
    /// Every thread of a pull request that is not deleted, system threads included.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn threads(&self, repository: &RepositoryRef, pull_request: u32) -> Result<Vec<Thread>, Error> {
        let id = pull_request.to_string();
        let segments = [repository.project.as_str(), repository.repository.as_str(), &id];
        let found =
            self.ask::<List<RawThread>>(Question::of(&THREADS, &segments)).await?.value.unwrap_or_default();
        Ok(found.into_iter().filter(|thread| thread.is_deleted != Some(true)).map(Thread::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_says_where_it_stands_and_who_spoke() {
        let json = serde_json::json!({
            "id": 3, "status": "WontFix", "properties": {}, "isDeleted": false,
            "threadContext": { "filePath": "/a.ts", "leftFileStart": null, "rightFileStart": { "line": 5, "offset": 1 } },
            "comments": [
                { "id": 1, "parentCommentId": 0, "commentType": "text", "content": "why?", "usersLiked": [],
                  "author": { "id": "x", "displayName": "Alice", "uniqueName": "alice@contoso.example" } },
                { "id": 2, "parentCommentId": 1, "commentType": "text", "isDeleted": true },
                { "id": 3, "parentCommentId": 0, "commentType": "System", "content": "voted" },
            ],
        });
        let thread = Thread::from(serde_json::from_value::<RawThread>(json).unwrap());
        assert_eq!(
            (thread.status, thread.line, thread.side),
            (Some(ThreadStatus::WontFix), Some(5), Some(Side::Right))
        );
        assert_eq!(thread.comments.len(), 2);
        assert_eq!(thread.comments[0].author.name, "Alice");
        assert_eq!(thread.comments[1].written_by, Writer::System);
    }
}
