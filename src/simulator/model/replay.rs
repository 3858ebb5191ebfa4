//! How the mind works without memory: a piece of work runs from its beginning for every request, and
//! each step that needs a tool finds its result in the conversation or becomes the next call.

use std::cell::RefCell;

use serde_json::{Value, json};

use super::conversation::{Conversation, Done, list, text};
use super::words::{CONVENTION, Sentence, edit, find, plain_path, short};
use crate::simulator::seed::recipes::Recipe;

const MAX_CALLS: usize = 40;
/// Arguments that tell two calls of one tool apart.
const TARGETS: [&str; 3] = ["path", "id", "pull_request_id"];

/// What the model says next.
#[derive(Debug, PartialEq)]
pub enum Reply {
    /// The final answer, Markdown.
    Text(String),
    /// One tool call, with a sentence before it.
    Call {
        /// What it is about to do.
        say: String,
        /// The tool.
        name: String,
        /// Its arguments, in the shape of its schema.
        arguments: Value,
    },
}

/// One piece of work and what has been done for it.
pub struct Mind<'a> {
    /// The whole conversation.
    pub talk: &'a Conversation,
    /// The request, word for word.
    pub said: &'a str,
    /// The request with its quoted pieces taken out.
    pub task: Sentence,
    /// The calls made for it.
    pub done: Vec<&'a Done>,
    achieved: RefCell<Vec<String>>,
}

/// A change that was worked out, or why it could not be.
pub type Found = Result<Change, String>;

/// A change to files, ready to be pushed.
pub struct Change {
    /// One line.
    pub subject: String,
    /// What it does, Markdown.
    pub body: String,
    /// The commit that its files were read at, or null.
    pub base: Value,
    /// The entries for `push_changes`.
    pub changes: Vec<Value>,
}

impl<'a> Mind<'a> {
    /// Begins at the beginning.
    pub fn new(talk: &'a Conversation, said: &'a str, task: Sentence, done: Vec<&'a Done>) -> Self {
        Self { talk, said, task, done, achieved: RefCell::default() }
    }

    /// The result of a call: from the conversation, else this call is what happens next. Null when the
    /// tool is not offered; the work then goes on without.
    pub fn need(&self, name: &str, arguments: Value, say: &str) -> Result<Value, Reply> {
        let arguments = self.talk.fit(name, &arguments);
        let same = |done: &&&Done| {
            let targets = |key| plain_path(&done.arguments[key]) == plain_path(&arguments[key]);
            done.name == name && done.arguments.is_object() && TARGETS.iter().all(|&key| targets(key))
        };
        let mut tries: Vec<&&Done> = self.done.iter().filter(same).collect();
        tries.sort_by_key(|done| done.error().is_some());
        let Some(done) = tries.first() else {
            if !self.talk.offers(name) {
                self.achieved.borrow_mut().push(format!("I have no tool `{name}`, so I went on without it."));
                return Ok(Value::Null);
            } else if self.done.len() >= MAX_CALLS {
                return Err(self.stop(&format!("I made {MAX_CALLS} calls and am still not done.")));
            }
            return Err(Reply::Call { say: say.to_owned(), name: name.to_owned(), arguments });
        };
        if let Some(waiting) = super::governed::waits(done) {
            return Err(self.stop(&waiting));
        }
        let words = done.result.as_str().map(str::to_owned);
        match done.error().or(words) {
            Some(error) => Err(self.stop(&format!("`{name}` failed: {error}"))),
            None => Ok(done.result.clone()),
        }
    }

    /// Ends the work here and says why and what was done before.
    pub fn stop(&self, why: &str) -> Reply {
        let before = self.achieved.borrow().iter().map(|line| format!("\n- {line}")).collect::<String>();
        let before = if before.is_empty() { before } else { format!("\n\nBefore that:\n{before}") };
        Reply::Text(format!("I stopped. {why}{before}"))
    }

    /// Notes a line for the final answer.
    pub fn achieved(&self, line: String) {
        self.achieved.borrow_mut().push(line);
    }

    /// The final answer: the lines noted, then `last`.
    pub fn finish(&self, last: &str) -> String {
        let lines = self.achieved.borrow().iter().map(|line| format!("- {line}\n")).collect::<String>();
        format!("{lines}\n{last}").trim().to_owned()
    }

    /// A file of a branch.
    pub fn read(&self, path: &str, branch: &Value) -> Result<Value, Reply> {
        self.need("read_file", json!({"path": path, "branch": branch}), &format!("I read `{path}`."))
    }

    /// Pushes a change; a null branch lets the tool name a new one.
    pub fn push(&self, change: &Change, message: &str, item: &Value, branch: Value) -> Result<Value, Reply> {
        let arguments = json!({"branch": branch, "work_item_id": item, "message": message,
            "base_commit": change.base, "changes": change.changes});
        let pushed = self.need("push_changes", arguments, "I push the change as one commit.")?;
        let (branch, commit) = (text(&pushed, "branch"), short(text(&pushed, "commit")));
        let files = list(&pushed, "files").iter().filter_map(Value::as_str).map(|f| format!("`{f}`"));
        let files = files.collect::<Vec<_>>().join(", ");
        if !pushed.is_null() {
            self.achieved(format!(
                "Branch: [{branch}]({}), commit `{commit}`: {files}",
                text(&pushed, "url")
            ));
        }
        Ok(pushed)
    }

    /// Replies in a review thread.
    pub fn reply(&self, id: u64, thread: u64, words: &str, status: Value) -> Result<Value, Reply> {
        let arguments = json!({"pull_request_id": id, "thread_id": thread, "text": words, "status": status});
        self.need("reply_to_thread", arguments, "I reply in the thread.")
    }

    /// The change of a recipe, fitted to the files as they are. A file is changed only when all its
    /// replacements fit, and nothing is when the first file is not.
    pub fn follow(&self, recipe: &Recipe, branch: &Value) -> Result<Found, Reply> {
        let here = self.need(
            "list_files",
            json!({"path": "/", "branch": branch, "recursive": true}),
            "I look at the files.",
        )?;
        let (mut changes, mut base) = (Vec::new(), here["commit"].clone());
        for (path, edits) in recipe.files {
            if !here.is_null() && !list(&here, "paths").contains(&json!(path)) {
                continue;
            }
            let file = self.read(path, branch)?;
            base = if file.is_null() { base } else { file["commit"].clone() };
            let fits = |old: &&&str| file.is_null() || text(&file, "text").contains(**old);
            let fitting = edits
                .iter()
                .map(|edit| Some(json!({"old_text": edit.old.iter().find(fits)?, "new_text": edit.new})));
            match fitting.collect::<Option<Vec<Value>>>() {
                Some(edits) => changes.push(edit(path, edits)),
                None if *path == recipe.files[0].0 => break,
                None => {}
            }
        }
        if changes.is_empty() {
            return Ok(Err("the fault that I know is not in the files as they are now.".to_owned()));
        }
        let subject = recipe.problem.lines().next().unwrap_or_default().to_owned();
        Ok(Ok(Change { subject, body: recipe.solution.to_owned(), base, changes }))
    }

    /// The reviewer that the repository's AGENTS.md names, where a listing showed that file.
    pub fn conventions(&self) -> Result<Option<String>, Reply> {
        let listed = self.done.iter().find(|done| done.name == "list_files");
        if !listed.is_some_and(|done| list(&done.result, "paths").contains(&json!("/AGENTS.md"))) {
            return Ok(None);
        }
        let file = self.read("/AGENTS.md", &Value::Null)?;
        Ok(find(CONVENTION, text(&file, "text")).map(|found| found[1].to_owned()))
    }
}
