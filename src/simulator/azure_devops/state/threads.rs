//! Threads and comments of a pull request.

use serde_json::{Value, json};

use super::access::Permission;
use super::{
    Actor, Comment, CommentType, Counters, Outcome, SYSTEM_ID, Thread, ThreadContext, ThreadStatus, World,
};
use crate::simulator::azure_devops::refusal::Refusal;

/// Longest comment, in characters.
pub const COMMENT: usize = 150_000;
/// Comments of one thread.
const THREAD_COMMENTS: usize = 500;

/// A thread to be created.
#[derive(Clone, Debug, Default)]
pub struct NewThread {
    /// Comments: text, parent, kind.
    pub comments: Vec<NewComment>,
    /// State; `active` when absent.
    pub status: Option<ThreadStatus>,
    /// Where in a file.
    pub context: Option<ThreadContext>,
    /// `pullRequestThreadContext` as given.
    pub review_context: Option<Value>,
    /// Typed properties.
    pub properties: Vec<(String, Value)>,
}

/// A comment to be added.
#[derive(Clone, Debug, Default)]
pub struct NewComment {
    /// Markdown.
    pub content: String,
    /// The comment it answers, 0 for none.
    pub parent: u32,
    /// `codeChange` or, in all other cases, `text`.
    pub kind: Option<CommentType>,
}

impl World {
    fn commentable(&self, actor: Actor, id: u32) -> Outcome<()> {
        let found = self.visible_pull_request(actor, id)?;
        self.require_git(actor, self.repository(found.repository)?, Permission::PullRequestContribute)
    }

    fn thread_mut(&mut self, id: u32, thread: u32) -> Outcome<&mut Thread> {
        let found = self.data.pull_requests.get_mut(&id).ok_or_else(Refusal::pull_request)?;
        found.threads.iter_mut().find(|t| t.id == thread).ok_or_else(|| Refusal::thread(thread))
    }

    /// Starts a thread; returns its number.
    ///
    /// # Errors
    /// 400 without a text or with a bad position, 403 without permission.
    pub fn create_thread(&mut self, actor: Actor, id: u32, new: NewThread) -> Outcome<u32> {
        self.commentable(actor, id)?;
        if new.comments.is_empty() || new.comments.len() > THREAD_COMMENTS {
            return Err(Refusal::invalid("comments (a thread needs at least one comment)"));
        }
        new.comments.iter().try_for_each(|c| check_content(&c.content))?;
        if let Some(context) = &new.context {
            check_context(context)?;
        }
        let now = self.now();
        let thread = Counters::next(&mut self.data.next.thread);
        let comments: Vec<Comment> = new
            .comments
            .iter()
            .zip(1u32..)
            .map(|(c, number)| {
                let kind = c.kind.filter(|k| *k == CommentType::CodeChange).unwrap_or(CommentType::Text);
                Comment::new(number, c.parent, actor.id, &c.content, kind, now)
            })
            .collect();
        let count = comments.len();
        let mut properties: std::collections::BTreeMap<String, Value> = new.properties.into_iter().collect();
        properties.insert("Microsoft.TeamFoundation.Discussion.SupportsMarkdown".into(), typed(json!(1)));
        let entry = Thread {
            id: thread,
            published: now,
            updated: now,
            comments,
            status: Some(new.status.filter(|s| *s != ThreadStatus::Unknown).unwrap_or(ThreadStatus::Active)),
            context: new.context,
            review_context: new.review_context,
            properties,
            deleted: false,
        };
        if let Some(found) = self.data.pull_requests.get_mut(&id) {
            found.threads.push(entry);
        }
        self.record(actor, "thread.created", format!("pull_request/{id}/threads/{thread}"));
        for number in (1u32..).take(count) {
            self.emit_comment(id, thread, number, actor, "commented on");
        }
        Ok(thread)
    }

    /// Answers in a thread; returns the comment's number.
    ///
    /// # Errors
    /// 404 for an unknown thread, 400 without a text.
    pub fn add_comment(&mut self, actor: Actor, id: u32, thread: u32, new: &NewComment) -> Outcome<u32> {
        self.commentable(actor, id)?;
        check_content(&new.content)?;
        let now = self.now();
        let found = self.thread_mut(id, thread)?;
        if found.comments.len() >= THREAD_COMMENTS {
            return Err(Refusal::invalid(format!("comments (a thread takes at most {THREAD_COMMENTS})")));
        }
        if new.parent != 0 && !found.comments.iter().any(|c| c.id == new.parent) {
            return Err(Refusal::invalid(format!(
                "parentCommentId ({} is not a comment of the thread)",
                new.parent
            )));
        }
        let number = u32::try_from(found.comments.len()).unwrap_or(u32::MAX).saturating_add(1);
        let kind = new.kind.filter(|k| *k == CommentType::CodeChange).unwrap_or(CommentType::Text);
        found.comments.push(Comment::new(number, new.parent, actor.id, &new.content, kind, now));
        found.updated = now;
        self.record(
            actor,
            "comment.created",
            format!("pull_request/{id}/threads/{thread}/comments/{number}"),
        );
        self.emit_comment(id, thread, number, actor, "commented on");
        Ok(number)
    }

    /// Changes the text of one's own comment.
    ///
    /// # Errors
    /// 403 for another's comment, 404 for an unknown one.
    pub fn edit_comment(
        &mut self,
        actor: Actor,
        id: u32,
        thread: u32,
        comment: u32,
        content: &str,
    ) -> Outcome<()> {
        self.commentable(actor, id)?;
        check_content(content)?;
        let now = self.now();
        let entry = self.own_comment(actor, id, thread, comment)?;
        entry.content = content.to_owned();
        entry.updated = now;
        entry.content_updated = now;
        self.thread_mut(id, thread)?.updated = now;
        self.record(
            actor,
            "comment.edited",
            format!("pull_request/{id}/threads/{thread}/comments/{comment}"),
        );
        self.emit_comment(id, thread, comment, actor, "edited");
        Ok(())
    }

    /// Deletes one's own comment; it stays listed without its text.
    ///
    /// # Errors
    /// As [`World::edit_comment`].
    pub fn delete_comment(&mut self, actor: Actor, id: u32, thread: u32, comment: u32) -> Outcome<()> {
        self.commentable(actor, id)?;
        let now = self.now();
        let entry = self.own_comment(actor, id, thread, comment)?;
        entry.deleted = true;
        entry.content.clear();
        entry.updated = now;
        let found = self.thread_mut(id, thread)?;
        found.deleted = found.comments.iter().all(|c| c.deleted);
        found.updated = now;
        self.record(
            actor,
            "comment.deleted",
            format!("pull_request/{id}/threads/{thread}/comments/{comment}"),
        );
        self.emit_comment(id, thread, comment, actor, "deleted");
        Ok(())
    }

    fn own_comment(&mut self, actor: Actor, id: u32, thread: u32, comment: u32) -> Outcome<&mut Comment> {
        let found = self.thread_mut(id, thread)?;
        let entry = found.comments.iter_mut().find(|c| c.id == comment && !c.deleted).ok_or_else(|| {
            Refusal::new(404, "CommentNotFoundException", format!("The comment {comment} was not found."))
        })?;
        if entry.author != actor.id {
            return Err(Refusal::denied("A comment can be changed only by its author."));
        }
        Ok(entry)
    }

    /// Likes or unlikes a comment.
    ///
    /// # Errors
    /// 404 for an unknown comment.
    pub fn like_comment(
        &mut self,
        actor: Actor,
        id: u32,
        thread: u32,
        comment: u32,
        like: bool,
    ) -> Outcome<()> {
        self.commentable(actor, id)?;
        let found = self.thread_mut(id, thread)?;
        let entry =
            found.comments.iter_mut().find(|c| c.id == comment).ok_or_else(|| Refusal::thread(thread))?;
        entry.liked.retain(|who| *who != actor.id);
        if like {
            entry.liked.push(actor.id);
        }
        self.record(actor, "comment.liked", format!("pull_request/{id}/threads/{thread}/comments/{comment}"));
        Ok(())
    }

    /// Sets the state of a thread.
    ///
    /// # Errors
    /// 404 for an unknown thread.
    pub fn set_thread_status(
        &mut self,
        actor: Actor,
        id: u32,
        thread: u32,
        status: ThreadStatus,
    ) -> Outcome<()> {
        self.commentable(actor, id)?;
        let now = self.now();
        let found = self.thread_mut(id, thread)?;
        if found.status.is_none() {
            return Err(Refusal::invalid("status (a system thread has no status)"));
        }
        found.status = Some(status);
        found.updated = now;
        self.record(actor, "thread.status", format!("pull_request/{id}/threads/{thread}={}", status.name()));
        self.try_auto_complete(id);
        Ok(())
    }

    /// Adds a thread written by the system.
    pub(super) fn system_thread(&mut self, id: u32, content: &str, properties: Vec<(&str, Value)>) {
        let now = self.now();
        let thread = Counters::next(&mut self.data.next.thread);
        let comment = Comment::new(1, 0, SYSTEM_ID, content, CommentType::System, now);
        let properties = properties.into_iter().map(|(k, v)| (k.to_owned(), typed(v))).collect();
        if let Some(found) = self.data.pull_requests.get_mut(&id) {
            found.threads.push(Thread {
                id: thread,
                published: now,
                updated: now,
                comments: vec![comment],
                status: None,
                context: None,
                review_context: None,
                properties,
                deleted: false,
            });
        }
    }
}

/// A property value with the name of its type.
pub fn typed(value: Value) -> Value {
    let kind = match &value {
        Value::Number(_) => "System.Int32",
        Value::Bool(_) => "System.Boolean",
        Value::Object(map) if map.contains_key("$value") => return value,
        _ => "System.String",
    };
    json!({"$type": kind, "$value": value})
}

fn check_content(content: &str) -> Outcome<()> {
    if content.trim().is_empty() || content.chars().count() > COMMENT {
        return Err(Refusal::invalid(format!("content (a comment has 1 to {COMMENT} characters)")));
    }
    Ok(())
}

fn check_context(context: &ThreadContext) -> Outcome<()> {
    let lines =
        [context.left_file_start, context.left_file_end, context.right_file_start, context.right_file_end];
    let half = context.right_file_start.is_some() != context.right_file_end.is_some()
        || context.left_file_start.is_some() != context.left_file_end.is_some();
    if !context.file_path.starts_with('/') || half || lines.into_iter().flatten().any(|p| p.line == 0) {
        return Err(Refusal::invalid(
            "threadContext (filePath starts with /, lines count from 1, and both start and end are needed)",
        ));
    }
    Ok(())
}
