//! What was said about a pull request.

use super::super::state::{PullRequest, World};
use super::diff::{FileDiff, Row};
use super::page::{Place, Who};
use super::pull_requests::is_open;
use super::text::{ago, instant, markdown};
use super::told::Told;

/// States a person can give a thread: value and words.
pub const THREAD_STATES: [(&str, &str); 6] = [
    ("active", "Active"),
    ("pending", "Pending"),
    ("fixed", "Resolved"),
    ("wontFix", "Won't fix"),
    ("byDesign", "By design"),
    ("closed", "Closed"),
];

/// A comment on a page.
pub struct CommentView {
    /// Who.
    pub who: Who,
    /// Safe HTML.
    pub html: String,
    /// When, in words.
    pub when: String,
    /// When.
    pub instant: String,
    /// Its text is gone.
    pub deleted: bool,
}

/// A thread on a page.
pub struct ThreadView {
    /// Number.
    pub id: u32,
    /// State on the wire.
    pub status: &'static str,
    /// State in words.
    pub status_words: &'static str,
    /// Waits for somebody.
    pub open: bool,
    /// Path of its file; empty for the whole.
    pub file: String,
    /// `left` or `right`.
    pub side: &'static str,
    /// Line on that side.
    pub line: usize,
    /// Oldest first.
    pub comments: Vec<CommentView>,
    /// Who was told of it.
    pub told: Vec<Told>,
}

impl ThreadView {
    /// The colour class of its state.
    pub fn tone(&self) -> &'static str {
        if self.open { "doing" } else { "done" }
    }

    /// Whether it belongs to this line.
    pub fn at(&self, file: &FileDiff, row: &Row) -> bool {
        self.file == file.path && self.side == row.side() && self.line == row.line()
    }
}

/// The threads of people, and what the service wrote down by itself.
pub fn conversation(world: &World, place: &Place, pull: &PullRequest) -> (Vec<ThreadView>, Vec<CommentView>) {
    let (mut threads, mut events) = (Vec::new(), Vec::new());
    for thread in pull.threads.iter().filter(|thread| !thread.deleted) {
        let comments: Vec<CommentView> = thread
            .comments
            .iter()
            .map(|comment| CommentView {
                who: Who::of(world, comment.author),
                html: markdown(&comment.content, &place.path),
                when: ago(world.now(), comment.published),
                instant: instant(comment.published),
                deleted: comment.deleted,
            })
            .collect();
        let Some(status) = thread.status else {
            events.extend(comments);
            continue;
        };
        let right = thread.context.as_ref().and_then(|context| context.right_file_start);
        let left = thread.context.as_ref().and_then(|context| context.left_file_start);
        let line = right.or(left).map_or(0, |position| usize::try_from(position.line).unwrap_or(0));
        let words = THREAD_STATES
            .iter()
            .find(|(value, _)| *value == status.name())
            .map_or("Active", |(_, words)| words);
        threads.push(ThreadView {
            id: thread.id,
            status: status.name(),
            status_words: words,
            open: is_open(thread),
            file: thread.context.as_ref().map_or_else(String::new, |context| context.file_path.clone()),
            side: if right.is_none() && left.is_some() { "left" } else { "right" },
            line,
            comments,
            told: Vec::new(),
        });
    }
    (threads, events)
}
