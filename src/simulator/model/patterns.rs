//! The mind of the stand-in: patterns over a conversation, nothing else.
//!
//! It decides from the newest request that one of its patterns understands; see [`super::replay`] for how
//! a piece of work goes on from call to call.

use serde_json::{Value, json};

use super::conversation::{Conversation, Turn, list, text};
use super::governed::{ADD_STEP, PUSH_PROTECTED};
use super::replay::{Change, Found, Mind, Reply};
use super::words::{
    CONVENTION, REVIEWER, Sentence, Wanted, capitalised, edit, find, link_item, link_pull_request, number,
    quoted, report_item, report_items, report_people, report_pull_request, short,
};
use crate::simulator::seed::recipes::{REPAIRS, Recipe};

/// Said when asked for something that no pattern covers.
pub const ABOUT: &str = "I am a scripted stand-in for a language model, not an AI: I follow a few fixed patterns. I can\n\n\
    - create a work item: `Create an issue titled 'Fix login timeout'`, also with `push a fix to a new branch, and open a PR for it` where I know the fault;\n\
    - change a text or a named value in a file: `change 'a' to 'b' in config/default.json and open a PR`, `set the page size to 30`;\n\
    - open a pull request from a branch, and answer a review comment that asks for such a change;\n\
    - comment on, close, move or assign a work item;\n\
    - summarise a work item or a pull request, list work items or files, and look up a person.";

const MAX_READS: usize = 12;
const MAX_SUBJECT: usize = 72;
const MAX_ITEMS: usize = 50;
macro_rules! item {
    () => {
        r"(?:the )?(?:work item|issue|task|epic|bug|#)\s*#?(\d+)"
    };
}
const CREATE: &str = r"\b(?:create|open|add|file|make|raise|write)\s+(?:me\s+)?(?:an?|the|one)\s+(?:new\s+)?(issue|task|epic|bug|work item)\b(?:\s+(?:titled|called|named|with (?:the )?title|about|for|to))*:?\s*(<\d+>|[^.,;:\n<]*)";
const DESCRIBED: &str = r"\bdescri(?:bed?|ption)\b(?:\s+(?:it|as|with|is|of))*:?\s*(<\d+>)";
const REPLACE: &str = r"\b(?:change|replace|rename|turn|correct)\s+(?:the (?:text|word|line)\s+)?(<\d+>)\s+(?:to|with|by|into)\s+(<\d+>)(?:\s+(?:in|of)\s+(?:the\s+)?(?:file\s+)?(<\d+>|[\w./-]*\w))?";
const SET: &str = r"\b(?:change|set|update|raise|lower|increase|decrease|reduce)\s+(?:the\s+)?(?:value of\s+|default of\s+)?([a-z_][\w .-]*?|<\d+>)\s+(?:from\s+(<\d+>|\S+)\s+)?(?:to|=)\s+(<\d+>|[\w.+-]*\w)(?:\s+(?:in|of)\s+(?:the\s+)?(?:file\s+)?(<\d+>|[\w./-]*\w))?";
const FIX: &str = r"\b(?:push|commit|implement|prepare|write|make)\s+(?:an?|the|your)\s+(?:\w+\s+)?(?:fix|repair|change|solution)|\b(?:push|implement|fix|repair|solve) (?:it|this|the|that)\b|^\W*(?:please\s+)?(?:fix|repair)\b|\bmake\b.*\bconfigurable\b";
#[rustfmt::skip]
const WORK_ON: &str = concat!(r"\b(?:fix|repair|solve|implement|resolve|work on|take|handle|start on|do)\b[^.\n]*?\b", item!());
const OPEN_PR: &str = r"\b(?:open|create|make|raise|submit)\b[^.\n]*?\b(?:pr|pull request)\b";
const PR_FROM: &str = r"\b(?:pr|pull request)\b[^.\n]*?\b(?:branch\s+(<\d+>|[\w./-]*\w)|(agent/[\w./-]*\w))";
const TITLED: &str = r"\b(?:pr|pull request)\b[^.\n]*?\b(?:titled|called|named)\s+(<\d+>)";
const ON_BRANCH: &str = r"\bbranch\s+(?:named\s+|called\s+)?(<\d+>|agent/[\w./-]*\w)";
const ASKED_BY: &str =
    r"(?m)^\W*(?:asked by|requested by|requester|who asked|person)\b\W*:\W*([a-z][\w.@ -]*\w)";
const REVIEW: &str = r"^\s*pull request (\d+): (.+?) commented in thread (\d+)";
const ITEM_EVENT: &str = r"^\s*work item #?(\d+): (.+?) (?:commented|mentioned|assigned)\b";
const THANKS: &str =
    r"^\W*(?:thanks|thank you|lgtm|looks good|great|nice|perfect|well done|approved)\b[^?]{0,60}$";
const SUMMARISE_PR: &str = r"\b(?:summari[sz]e|describe|explain|show|what is|what's|read|about|status of)\b[^.\n]*?\b(?:pull request|pr)\s*[#!]?(\d+)";
const SUMMARISE_ITEM: &str = concat!(
    r"\b(?:summari[sz]e|describe|explain|show|what is|what's|read|about|status of)\b[^.\n]*?\b",
    item!()
);
const LIST_FILES: &str = r"\b(?:list|show|which|what|see)\b[^.\n]*?\b(?:files|folders)\b(?:\s+(?:\w+ )*?(?:in|under|of)\s+(?:the\s+)?(?:folder\s+)?(<\d+>|/?[\w.-]+/[\w./-]*|(?:src|test|config|docs)\b))?";
const LIST_ITEMS: &str =
    r"\b(?:list|show|which|what|query|find)\b[^.\n]*?\b(work items|issues|tasks|epics|bugs)\b";
const COMMENT: &str = concat!(r"\bcomment\s+(?:(<\d+>)\s+)?on\s+", item!(), r"(?:[^<]*(<\d+>))?");
const MOVE: &str = concat!(
    r"\b(?:move|set|change|put|update)\s+(?:the )?(?:state of )?",
    item!(),
    r"(?:'s state)?\s+(?:to|as)\s+(<\d+>|to do|\w+)"
);
const CLOSE: &str = concat!(r"\b(?:close|finish|complete)\s+", item!());
const ASSIGN: &str = concat!(r"\bassign\s+", item!(), r"\s+to\s+(<\d+>|[\w.@-]*\w)");
const WHO: &str = r"\b(?:who is|find (?:the )?person|look up)\s+(<\d+>|[\w.@ -]*\w)";
#[rustfmt::skip]
const WORK: [&str; 18] = [
    ADD_STEP, PUSH_PROTECTED, REVIEW, ITEM_EVENT, COMMENT, MOVE, CLOSE, ASSIGN, CREATE, REPLACE, SET, FIX, WORK_ON, OPEN_PR, SUMMARISE_PR,
    SUMMARISE_ITEM, LIST_FILES, LIST_ITEMS,
];
const MAKES: [&str; 6] = [CREATE, REPLACE, SET, WORK_ON, FIX, OPEN_PR];

/// The next thing to say in this conversation.
pub fn answer(talk: &Conversation) -> Reply {
    let mut task = None;
    for (at, turn) in talk.turns.iter().enumerate().rev() {
        match turn {
            Turn::User(said) => {
                let read = Sentence::read(said);
                if WORK.iter().any(|pattern| read.has(pattern)) || read.has(WHO) {
                    task = Some((at, said, read));
                    break;
                }
            }
            Turn::Answer => break,
            Turn::Done(_) => {}
        }
    }
    let Some((at, said, task)) = task else { return Reply::Text(ABOUT.to_owned()) };
    let done = talk.turns[at..]
        .iter()
        .filter_map(|turn| if let Turn::Done(done) = turn { Some(done) } else { None });
    Mind::new(talk, said, task, done.collect()).work().map_or_else(|reply| reply, Reply::Text)
}

impl Mind<'_> {
    fn work(&self) -> Result<String, Reply> {
        let task = &self.task;
        if let Some(review) = find(REVIEW, self.said) {
            return self.review(number(&review[1]), number(&review[3]));
        }
        if let Some(event) = find(ITEM_EVENT, self.said) {
            return self.on_item(number(&event[1]));
        }
        if let Some(path) = task.first(ADD_STEP) {
            return self.add_step(&path);
        }
        if let Some(branch) = task.first(PUSH_PROTECTED) {
            return self.push_protected(&branch.to_lowercase());
        }
        if let Some(found) = find(COMMENT, &task.plain) {
            let words =
                found.get(1).or(found.get(3)).map_or(String::new(), |piece| task.value(piece.as_str()));
            return self.comment(number(&found[2]), &words);
        }
        if let Some(found) = find(MOVE, &task.plain) {
            return self.update(number(&found[1]), "state", &capitalised(&task.value(&found[2])));
        }
        if let Some(found) = find(CLOSE, &task.plain) {
            return self.update(number(&found[1]), "state", "Done");
        }
        if let Some(found) = find(ASSIGN, &task.plain) {
            return self.update(number(&found[1]), "assigned_to", &task.value(&found[2]));
        }
        if let Some(id) = task.first(SUMMARISE_PR).filter(|_| !task.has(CREATE)) {
            let pull =
                self.need("get_pull_request", json!({"id": number(&id)}), "I read the pull request.")?;
            return Ok(report_pull_request(&pull));
        } else if MAKES.iter().any(|pattern| task.has(pattern)) {
            return self.deliver();
        } else if let Some(id) = task.first(SUMMARISE_ITEM) {
            let item = self.need("get_work_item", json!({"id": number(&id)}), "I read the work item.")?;
            return Ok(report_item(&item));
        } else if task.has(LIST_FILES) {
            return self.list_files(task.first(LIST_FILES).as_deref().unwrap_or("/"));
        } else if let Some(kind) = task.first(LIST_ITEMS) {
            return self.list_work_items(&kind);
        }
        let name = task.first(WHO).unwrap_or_default();
        let found = self.need("find_person", json!({"name": name}), &format!("I look for {name}."))?;
        Ok(report_people(&name, list(&found, "people")))
    }

    /// Everything that creates: a work item, a change, a pull request, in this order as far as asked.
    fn deliver(&self) -> Result<String, Reply> {
        let (task, mut item) = (&self.task, Value::Null);
        if let Some(found) = find(CREATE, &task.plain) {
            item = self.create_work_item(&found[1].to_lowercase(), &capitalised(&task.value(&found[2])))?;
            if !MAKES[1..].iter().any(|pattern| task.has(pattern)) {
                return Ok(self.finish("That is done."));
            }
        } else if let Some(id) = task.first(WORK_ON) {
            item = self.need("get_work_item", json!({"id": number(&id)}), "I read the work item.")?;
            self.achieved(format!("Work item: {}", link_item(&item)));
        }
        Ok(match self.make(task, &item, task.has(OPEN_PR))? {
            Ok(()) => self.finish("That is done."),
            Err(why) => self.finish(&format!("No change was pushed: {why}\n\n{ABOUT}")),
        })
    }

    /// A work item was given to us or spoken about: do what was said there, or what it says itself.
    fn on_item(&self, id: u64) -> Result<String, Reply> {
        let said = quoted(self.said);
        let item = self.need("get_work_item", json!({"id": id}), "I read the work item.")?;
        if find(THANKS, &said).is_some() {
            return Ok(format!("Nothing is asked for in {}.", link_item(&item)));
        }
        let ask = Sentence::read(&said);
        let why = if said.is_empty() || MAKES.iter().any(|pattern| ask.has(pattern)) {
            self.make(&ask, &item, true)?.err()
        } else {
            Some("no pattern of mine fits it.".to_owned())
        };
        match why {
            None => Ok(self.finish("That is done.")),
            Some(why) => self.comment(id, &format!("I could not do that: {why}\n\n{ABOUT}")),
        }
    }

    /// A change on a new branch and, where wanted, a pull request for it.
    fn make(
        &self,
        ask: &Sentence,
        item: &Value,
        wants_pull_request: bool,
    ) -> Result<Result<(), String>, Reply> {
        let title = text(item, "title");
        let mut branch = ask.first(PR_FROM).map(Value::String);
        let (mut subject, mut body) = (title.to_owned(), String::new());
        if branch.is_none() {
            let own = Sentence::read(&format!("{title}\n{}", text(item, "description")));
            let created = self.task.has(CREATE);
            let asks = if created { vec![ask] } else { vec![ask, &own] };
            let more = if created { "" } else { own.plain.as_str() };
            let about = format!("{} {title} {more}", self.said);
            let change = match self.change(&asks, &about, &Value::Null, &[])? {
                Ok(change) => change,
                Err(why) => return Ok(Err(why)),
            };
            subject = if subject.is_empty() { change.subject.clone() } else { subject };
            let on = ask.first(ON_BRANCH).map_or(Value::Null, Value::String);
            branch = self.push(&change, &subject, &item["id"], on)?.get("branch").cloned();
            body = change.body;
        }
        if let Some(branch) = branch.filter(|_| wants_pull_request) {
            let subject =
                if subject.is_empty() { capitalised(branch.as_str().unwrap_or("Change")) } else { subject };
            self.open_pull_request(branch, &ask.first(TITLED).unwrap_or(subject), &body, &item["id"])?;
        }
        Ok(Ok(()))
    }

    fn create_work_item(&self, kind: &str, title: &str) -> Result<Value, Reply> {
        let kind = if matches!(kind, "task" | "epic") { capitalised(kind) } else { "Issue".to_owned() };
        if title.trim().is_empty() {
            return Err(self.stop(&format!("Please give the {kind} a title: `Create an {kind} titled '…'`.")));
        }
        let known = known(&format!("{title} {}", self.said)).filter(|_| self.task.has(FIX));
        let asked = || format!("Asked for in these words:\n\n> {}", self.said.replace('\n', "\n> "));
        let description = self.task.first(DESCRIBED).or(known.map(|recipe| recipe.problem.to_owned()));
        let arguments =
            json!({"type": kind, "title": title, "description": description.unwrap_or_else(asked)});
        let item = self.need("create_work_item", arguments, &format!("I create the {kind} first."))?;
        self.achieved(if item.is_null() {
            format!("“{title}” is not a work item.")
        } else {
            format!("Work item: {}", link_item(&item))
        });
        Ok(if item.is_null() { json!({"title": title}) } else { item })
    }

    /// Works out a change from what was asked in words, else from what is known about the repository.
    fn change(
        &self,
        asks: &[&Sentence],
        about: &str,
        branch: &Value,
        hints: &[String],
    ) -> Result<Found, Reply> {
        let mut why = "I do not know how to repair that by myself.".to_owned();
        for ask in asks {
            let replace = find(REPLACE, &ask.plain).map(|found| (found, false));
            let set = || find(SET, &ask.plain).map(|found| (found, true));
            let Some((found, named)) = replace.or_else(set) else { continue };
            let get = |at: usize| found.get(at).map(|piece| ask.value(piece.as_str()));
            let (name, from, to, file) =
                if named { (get(1), get(2), get(3), get(4)) } else { (get(1), None, get(2), get(3)) };
            let wanted = Wanted::new(name.unwrap_or_default(), from, to.unwrap_or_default(), file, named);
            match self.edit_one(&wanted, branch, hints)? {
                Err(reason) if named => why = reason,
                found => return Ok(found),
            }
        }
        known(about).map_or(Ok(Err(why)), |recipe| self.follow(recipe, branch))
    }

    /// Looks for the file in which `apply` finds something to change, the likeliest first.
    fn edit_one(&self, wanted: &Wanted, branch: &Value, hints: &[String]) -> Result<Found, Reply> {
        let everything = json!({"path": "/", "branch": branch, "recursive": true});
        let here = self.need("list_files", everything, "I look at the files.")?;
        let mut paths: Vec<&str> = list(&here, "paths").iter().filter_map(Value::as_str).collect();
        paths.retain(|path| !path.ends_with('/'));
        paths.sort_by_key(|path| (!hints.iter().any(|hint| hint == path), wanted.distance(path)));
        if let Some(file) = &wanted.file {
            let named = format!("/{}", file.trim_start_matches('/'));
            paths.retain(|path| path.to_lowercase().ends_with(&named.to_lowercase()));
            if here.is_null() {
                paths.push(&named);
                return self.edit_in(wanted, &paths, branch);
            } else if paths.is_empty() {
                return Ok(Err(format!("there is no file `{file}`.")));
            }
        }
        self.edit_in(wanted, &paths, branch)
    }

    fn edit_in(&self, wanted: &Wanted, paths: &[&str], branch: &Value) -> Result<Found, Reply> {
        for path in paths.iter().take(MAX_READS) {
            let file = self.read(path, branch)?;
            let Some((old, new)) = wanted.apply(text(&file, "text")) else { continue };
            let change = if text(&file, "text").matches(&old).count() == 1 {
                edit(path, vec![json!({"old_text": old, "new_text": new})])
            } else {
                let content = text(&file, "text").replace(&old, &new);
                json!({"path": path, "action": "edit", "content": content})
            };
            let body = format!("{} in `{path}`.\n\n```diff\n-{old}\n+{new}\n```", wanted.subject);
            let (subject, base) = (wanted.subject.clone(), file["commit"].clone());
            return Ok(Ok(Change { subject, body, base, changes: vec![change] }));
        }
        Ok(Err(format!("I read {} files and found no {} in them.", paths.len().min(MAX_READS), wanted.name)))
    }

    fn open_pull_request(&self, branch: Value, title: &str, body: &str, item: &Value) -> Result<(), Reply> {
        let asker = || find(ASKED_BY, &self.talk.system).map(|found| found[1].to_owned());
        let reviewer = match self.task.first(REVIEWER).as_deref() {
            Some("me" | "myself") => asker(),
            Some("someone" | "somebody" | "them" | "anyone" | "anybody" | "one") | None => None,
            Some(name) => Some(name.to_owned()),
        };
        let convention = find(CONVENTION, &self.talk.system).map(|found| found[1].to_owned());
        let named = reviewer.or(convention).or(self.conventions()?);
        let reviewers: Vec<String> = named.or_else(asker).into_iter().collect();
        let items: Vec<&Value> = Some(item).filter(|item| item.is_u64()).into_iter().collect();
        let closing = items.iter().map(|id| format!("\n\nWork item: #{id}")).collect::<String>();
        let description = format!("{}{closing}", if body.is_empty() { self.said } else { body });
        let arguments = json!({"source_branch": branch, "title": title, "description": description,
            "work_item_ids": items, "reviewers": reviewers});
        let opened = self.need("create_pull_request", arguments, "I open the pull request.")?;
        if !opened.is_null() {
            let reviewers: Vec<&str> = list(&opened, "reviewers").iter().filter_map(Value::as_str).collect();
            let who = if reviewers.is_empty() { "nobody yet".to_owned() } else { reviewers.join(", ") };
            let draft = if opened["is_draft"] == json!(true) { ", a draft" } else { "" };
            self.achieved(format!("{}{draft}; reviewer: {who}", link_pull_request(&opened)));
        }
        Ok(())
    }

    /// A person commented on a pull request: push what was asked for to its branch and reply.
    fn review(&self, id: u64, thread_id: u64) -> Result<String, Reply> {
        let pull =
            self.need("get_pull_request", json!({"id": id}), "I read the pull request and its threads.")?;
        let thread = list(&pull, "threads").iter().find(|thread| thread["id"] == json!(thread_id));
        let last = thread.and_then(|t| list(t, "comments").last()).map_or("", |c| text(c, "text"));
        let quoted = quoted(self.said);
        let comment = if quoted.is_empty() { last.to_owned() } else { quoted };
        if find(THANKS, &comment).is_some() {
            return Ok(format!(
                "Nothing is asked for in thread {thread_id} of {}.",
                link_pull_request(&pull)
            ));
        }
        let file = thread.map_or("", |thread| text(thread, "file"));
        let mut hints = vec![file.to_owned()];
        hints.extend(list(&pull, "changed_files").iter().filter_map(|f| f.as_str().map(str::to_owned)));
        let ask = Sentence::read(&comment);
        let about = format!("{comment} {file} {}", text(&pull, "title"));
        let change = match self.change(&[&ask], &about, &pull["source_branch"], &hints)? {
            Ok(change) => change,
            Err(why) => {
                let words = format!("I could not do that: {why}\n\n{ABOUT}");
                self.reply(id, thread_id, &words, Value::Null)?;
                return Ok(self.finish("I said in the thread what I cannot do."));
            }
        };
        let subject = capitalised(comment.lines().next().unwrap_or(&change.subject).trim_end_matches('.'));
        let subject: String = subject.chars().take(MAX_SUBJECT).collect();
        let item = list(&pull, "work_items").first().map_or(Value::Null, |item| item["id"].clone());
        let pushed = self.push(&change, &subject, &item, pull["source_branch"].clone())?;
        if pushed.is_null() {
            return Ok(self.finish("Nothing was changed."));
        }
        let commit = format!("[{}]({})", short(text(&pushed, "commit")), text(&pushed, "url"));
        self.reply(id, thread_id, &format!("Done in {commit}.\n\n{}", change.body), json!("fixed"))?;
        Ok(self.finish(&format!("I replied in thread {thread_id} of {}.", link_pull_request(&pull))))
    }

    fn comment(&self, id: u64, words: &str) -> Result<String, Reply> {
        self.need("comment_on_work_item", json!({"id": id, "text": words}), "I write the comment.")?;
        Ok(self.finish(&format!("I commented on work item {id}.")))
    }

    fn update(&self, id: u64, field: &str, value: &str) -> Result<String, Reply> {
        let value = if value.eq_ignore_ascii_case("to do") { "To Do" } else { value };
        let item =
            self.need("update_work_item", json!({"id": id, field: value}), "I update the work item.")?;
        Ok(self.finish(&format!("{} is now: {} {value}.", link_item(&item), field.replace('_', " "))))
    }

    fn list_files(&self, folder: &str) -> Result<String, Reply> {
        let path = format!("/{}", folder.trim_matches('/'));
        let here =
            self.need("list_files", json!({"path": path, "recursive": true}), "I look at the files.")?;
        let lines = list(&here, "paths").iter().filter_map(Value::as_str).map(|path| format!("- `{path}`\n"));
        Ok(format!("Files in `{path}` on {}:\n\n{}", text(&here, "branch"), lines.collect::<String>()))
    }

    fn list_work_items(&self, kind: &str) -> Result<String, Reply> {
        let kind = kind.to_lowercase();
        let kind = match kind.as_str() {
            "issues" | "tasks" | "epics" => {
                format!(" AND [System.WorkItemType] = '{}'", capitalised(kind.trim_end_matches('s')))
            }
            _ => String::new(),
        };
        let open = if self.task.has(r"\bopen\b") { " AND [System.State] <> 'Done'" } else { "" };
        let wiql = format!(
            "SELECT [System.Id] FROM WorkItems WHERE [System.TeamProject] = @project{kind}{open} ORDER BY [System.Id]"
        );
        let found =
            self.need("query_work_items", json!({"wiql": wiql, "top": MAX_ITEMS}), "I look for them.")?;
        Ok(report_items(list(&found, "work_items")))
    }
}

/// The known change that these words ask for.
fn known(about: &str) -> Option<&'static Recipe> {
    let about = about.to_lowercase();
    let has = |words: &&[&str]| words.iter().any(|word| about.contains(word));
    REPAIRS.iter().copied().find(|recipe| recipe.words.iter().all(has))
}

#[cfg(test)]
#[path = "patterns_test.rs"]
mod tests;
