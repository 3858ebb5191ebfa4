//! What was said about a pull request.

use similar::{DiffOp, DiffTag, TextDiff};

use super::super::git::store::Store;
use super::super::state::{PullRequest, Thread, World};
use super::diff::{FileDiff, Row, readable};
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
    /// Line on that side, when it was written.
    pub line: usize,
    /// The line that it is now; 0 when it is gone.
    pub now_line: usize,
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
        self.file == file.path && self.side == row.side() && self.now_line == row.line()
    }
}

/// The threads of people, and what the service wrote down by itself.
pub fn conversation(
    world: &World,
    place: &Place,
    store: &Store,
    pull: &PullRequest,
) -> (Vec<ThreadView>, Vec<CommentView>) {
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
            now_line: if left.is_some() && right.is_none() {
                line
            } else {
                line_now(store, pull, thread, line)
            },
            comments,
            told: Vec::new(),
        });
    }
    (threads, events)
}

/// Where a line of the source branch stands after the pushes that came since it was written about.
fn line_now(store: &Store, pull: &PullRequest, thread: &Thread, line: usize) -> usize {
    let then = pull.iterations.iter().rev().find(|step| step.created <= thread.published);
    let (Some(then), Some(now), Some(context)) = (then, pull.iterations.last(), &thread.context) else {
        return line;
    };
    if then.source == now.source {
        return line;
    }
    let read = |commit: &str| {
        let entry = store.entry(commit, &context.file_path)?;
        readable(&store.blob(&entry.sha).ok()?)
    };
    let (Some(old), Some(new)) = (read(&then.source), read(&now.source)) else { return 0 };
    let compared = TextDiff::from_lines(old.as_str(), new.as_str());
    let index = line.saturating_sub(1);
    let same = |op: &&DiffOp| op.tag() == DiffTag::Equal && op.old_range().contains(&index);
    compared.ops().iter().find(same).map_or(0, |op| op.new_range().start + (index - op.old_range().start) + 1)
}
