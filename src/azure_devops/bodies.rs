//! What is sent, as JSON: the bodies of pushes, pull requests and threads.

use serde_json::{Value, json};

use super::{Error, limits};
use crate::action::{Action, Anchor, Author, BranchName, CommitId, Content, FileChange, ThreadStatus};

pub(super) fn push_body(
    branch: &BranchName,
    old_commit: &CommitId,
    message: &str,
    author: &Author,
    changes: &[FileChange],
) -> Value {
    let author = json!({ "name": author.name, "email": author.email });
    let changes: Vec<Value> = changes.iter().map(change).collect();
    json!({
        "refUpdates": [{ "name": branch.full(), "oldObjectId": old_commit.as_str() }],
        "commits": [{ "comment": message, "author": author, "committer": author, "changes": changes }],
    })
}

fn change(change: &FileChange) -> Value {
    match change {
        FileChange::Add { path, content } => {
            json!({ "changeType": "add", "item": { "path": path.as_str() }, "newContent": new_content(content) })
        }
        FileChange::Edit { path, content } => {
            json!({ "changeType": "edit", "item": { "path": path.as_str() }, "newContent": new_content(content) })
        }
        FileChange::Delete { path } => json!({ "changeType": "delete", "item": { "path": path.as_str() } }),
        FileChange::Rename { path, new_path } => {
            json!({ "changeType": "rename", "sourceServerItem": path.as_str(), "item": { "path": new_path.as_str() } })
        }
    }
}

fn new_content(content: &Content) -> Value {
    match content {
        // Whether the service keeps a byte-order mark of raw text is not known; bytes it keeps.
        Content::Text(text) if text.starts_with('\u{feff}') => {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::STANDARD.encode(text);
            json!({ "content": bytes, "contentType": "base64encoded" })
        }
        Content::Text(text) => json!({ "content": text, "contentType": "rawtext" }),
        Content::Base64(text) => json!({ "content": text, "contentType": "base64encoded" }),
    }
}

pub(super) fn new_pull_request(action: &Action) -> Result<Value, Error> {
    let Action::CreatePullRequest { source, target, title, description, reviewer_ids, work_item_ids, .. } =
        action
    else {
        return Err(Error::invalid("not a new pull request".into()));
    };
    if title.trim().is_empty() {
        return Err(Error::invalid("the title is empty".into()));
    }
    limits::check("title", title, limits::PULL_REQUEST_TITLE)?;
    limits::check("description", description, limits::PULL_REQUEST_DESCRIPTION)?;
    let reviewers: Vec<Value> = reviewer_ids.iter().map(|id| json!({ "id": id })).collect();
    let work_items: Vec<Value> = work_item_ids.iter().map(|id| json!({ "id": id.to_string() })).collect();
    Ok(json!({
        "sourceRefName": source.full(), "targetRefName": target.full(), "title": title, "description": description,
        "isDraft": true, "reviewers": reviewers, "workItemRefs": work_items,
    }))
}

/// A new thread, at its place where it has one.
///
/// A half-filled place breaks the page of the pull request for people, and a path without a
/// leading slash looks like a deleted file: [`Anchor`] cannot say either.
pub(super) fn new_thread(text: &str, status: ThreadStatus, anchor: Option<&Anchor>) -> Value {
    let comment = json!({ "parentCommentId": 0, "content": text, "commentType": "text" });
    let mut body = json!({ "comments": [comment], "status": status.as_str() });
    let Some(anchor) = anchor else { return body };
    let (start, end) = match anchor.is_left {
        true => ("leftFileStart", "leftFileEnd"),
        false => ("rightFileStart", "rightFileEnd"),
    };
    body["threadContext"] = json!({
        "filePath": anchor.path.as_str(),
        start: { "line": anchor.start_line, "offset": anchor.start_offset },
        end: { "line": anchor.end_line, "offset": anchor.end_offset },
    });
    // Both iterations alike: compared with where the branches parted (CommentIterationContext).
    let iteration =
        json!({ "firstComparingIteration": anchor.iteration, "secondComparingIteration": anchor.iteration });
    body["pullRequestThreadContext"] =
        json!({ "changeTrackingId": anchor.change_tracking_id, "iterationContext": iteration });
    body
}
