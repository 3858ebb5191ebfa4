//! Drives the mind with conversations as the agent leads them: a small world plays the tools.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::conversation::Conversation;
use super::*;
use crate::simulator::seed::web_shop;

/// Plays the tools over files, work items and pull requests.
struct World {
    branches: BTreeMap<String, BTreeMap<String, String>>,
    items: Vec<Value>,
    pulls: Vec<Value>,
    missing: Vec<&'static str>,
    broken: Vec<(&'static str, &'static str)>,
    messages: Vec<Value>,
    called: Vec<(String, Value)>,
}

const TOOLS: [(&str, &str); 13] = [
    ("query_work_items", "wiql top"),
    ("get_work_item", "id"),
    ("create_work_item", "type title description assigned_to parent_id"),
    ("update_work_item", "id title description state assigned_to tags link"),
    ("comment_on_work_item", "id text"),
    ("list_files", "path branch recursive"),
    ("read_file", "path branch start_line end_line"),
    ("push_changes", "branch work_item_id message base_commit changes"),
    ("get_pull_request", "id"),
    ("create_pull_request", "source_branch target_branch title description work_item_ids reviewers"),
    ("reply_to_thread", "pull_request_id thread_id text status"),
    ("find_person", "name"),
    ("ask_person", "question"),
];

impl World {
    fn new() -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let main = web_shop().into_iter().map(|(path, bytes)| (format!("/{path}"), text(bytes))).collect();
        let system = "You are ado-coworker. Project: Fabrikam. Asked by: bob.";
        Self {
            branches: BTreeMap::from([("main".to_owned(), main)]),
            items: Vec::new(),
            pulls: Vec::new(),
            missing: Vec::new(),
            broken: Vec::new(),
            messages: vec![json!({"role": "system", "content": system})],
            called: Vec::new(),
        }
    }

    /// Says something and plays until the model gives its answer.
    fn say(&mut self, words: &str) -> String {
        self.messages.push(json!({"role": "user", "content": words}));
        self.called.clear();
        for _ in 0..60 {
            let tools: Vec<Value> = TOOLS
                .iter()
                .filter(|(name, _)| !self.missing.contains(name))
                .map(|(name, keys)| {
                    let properties: serde_json::Map<_, _> =
                        keys.split(' ').map(|key| (key.to_owned(), json!({}))).collect();
                    json!({"type": "function", "function": {"name": name, "parameters": {"properties": properties}}})
                })
                .collect();
            let request = json!({"messages": self.messages, "tools": tools});
            match answer(&Conversation::read(&request)) {
                Reply::Text(text) => {
                    self.messages.push(json!({"role": "assistant", "content": text}));
                    return text;
                }
                Reply::Call { say, name, arguments } => {
                    let result = self.play(&name, &arguments);
                    let id = format!("call_{}", self.messages.len());
                    let function = json!({"name": name, "arguments": arguments.to_string()});
                    self.messages.push(json!({"role": "assistant", "content": say,
                        "tool_calls": [{"id": id, "type": "function", "function": function}]}));
                    let result = result.to_string();
                    self.messages.push(json!({"role": "tool", "tool_call_id": id, "content": result}));
                    self.called.push((name, arguments));
                }
            }
        }
        panic!("the model loops: {:?}", self.names());
    }

    fn names(&self) -> Vec<&str> {
        self.called.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn play(&mut self, name: &str, arguments: &Value) -> Value {
        if let Some((_, error)) = self.broken.iter().find(|(tool, _)| *tool == name) {
            return json!({"error": error, "remedy": "Ask an administrator."});
        }
        let branch = arguments["branch"].as_str().unwrap_or("main").to_owned();
        let path = arguments["path"].as_str().unwrap_or_default();
        match name {
            "create_work_item" => {
                let id = 10 + self.items.len();
                let mut item = arguments.clone();
                (item["id"], item["state"], item["url"]) =
                    (json!(id), json!("To Do"), json!(format!("http://o/w/{id}")));
                self.items.push(item.clone());
                item
            }
            "get_work_item" | "update_work_item" | "comment_on_work_item" => {
                let found = self.items.iter().find(|item| item["id"] == arguments["id"]);
                found.cloned().unwrap_or(json!({"error": "TF401232: no such work item"}))
            }
            "query_work_items" => json!({"work_items": self.items}),
            "list_files" => {
                let files = &self.branches[&branch];
                json!({"branch": branch, "commit": "c0ffee00", "paths": files.keys().collect::<Vec<_>>()})
            }
            "read_file" => match self.branches[&branch].get(path) {
                Some(text) => json!({"path": path, "branch": branch, "commit": "c0ffee00", "text": text}),
                None => json!({"error": "no such file"}),
            },
            "push_changes" => self.push(arguments),
            "create_pull_request" => {
                let mut pull = arguments.clone();
                (pull["id"], pull["is_draft"], pull["url"]) = (json!(7), json!(true), json!("http://o/p/7"));
                self.pulls.push(pull.clone());
                pull
            }
            "get_pull_request" => {
                self.pulls.first().cloned().unwrap_or(json!({"error": "TF401180: not found"}))
            }
            "reply_to_thread" => json!({"id": 1}),
            "find_person" => json!({"people": [{"name": "Alice", "account": "alice@contoso.example"}]}),
            other => panic!("no tool {other}"),
        }
    }

    fn push(&mut self, arguments: &Value) -> Value {
        let branch = arguments["branch"].as_str().unwrap_or("agent/10-new").to_owned();
        if arguments["branch"].is_null() {
            self.branches.remove(&branch);
        }
        let mut files = self.branches.get(&branch).unwrap_or(&self.branches["main"]).clone();
        for change in arguments["changes"].as_array().unwrap() {
            let text = files.get_mut(change["path"].as_str().unwrap()).unwrap();
            if let Some(content) = change["content"].as_str() {
                content.clone_into(text);
            }
            for edit in change["edits"].as_array().into_iter().flatten() {
                let old = edit["old_text"].as_str().unwrap();
                assert_eq!(text.matches(old).count(), 1, "{old} must be there once");
                *text = text.replacen(old, edit["new_text"].as_str().unwrap(), 1);
            }
        }
        self.branches.insert(branch.clone(), files);
        json!({"branch": branch, "commit": "abcdef0123456789", "files": ["/x"], "url": "http://o/b"})
    }

    fn file(&self, branch: &str, path: &str) -> &str {
        &self.branches[branch][path]
    }
}

const SENTENCE: &str =
    "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it.";

#[test]
fn the_sentence_makes_a_work_item_a_fix_and_a_pull_request() {
    let mut world = World::new();
    let answer = world.say(SENTENCE);
    let names = world.names();
    assert_eq!(names.first(), Some(&"create_work_item"));
    assert_eq!(names[1], "list_files");
    assert_eq!(names[names.len() - 1], "create_pull_request");
    assert_eq!(world.items[0]["title"], "Fix login timeout");
    assert_eq!(world.items[0]["type"], "Issue");
    assert!(world.file("agent/10-new", "/src/auth/login.ts").contains("LOGIN_TIMEOUT_SECONDS * 1000"));
    assert!(world.file("agent/10-new", "/test/login.test.ts").contains("lasts half an hour"));
    let push = &world.called.iter().find(|(name, _)| name == "push_changes").unwrap().1;
    assert_eq!((&push["work_item_id"], &push["base_commit"]), (&json!(10), &json!("c0ffee00")));
    assert_eq!(push["message"], "Fix login timeout");
    assert_eq!(world.pulls[0]["work_item_ids"], json!([10]));
    assert_eq!(world.pulls[0]["reviewers"], json!(["Alice"]), "named in AGENTS.md");
    for link in ["(http://o/w/10)", "(http://o/b)", "(http://o/p/7)"] {
        assert!(answer.contains(link), "{answer}");
    }
}

#[test]
fn other_sentences_of_the_form_work() {
    let mut world = World::new();
    world.say("Please create a task called \"Tidy the README's table\" with description 'It is crooked.'");
    assert_eq!(world.names(), ["create_work_item"]);
    let item = &world.items[0];
    assert_eq!((&item["type"], &item["title"]), (&json!("Task"), &json!("Tidy the README's table")));
    assert_eq!(item["description"], "It is crooked.");

    let answer =
        world.say("change '\"pageSize\": 20' to '\"pageSize\": 25' in config/default.json and open a PR");
    assert_eq!(
        world.names(),
        ["list_files", "read_file", "push_changes", "read_file", "create_pull_request"]
    );
    assert!(world.file("agent/10-new", "/config/default.json").contains("\"pageSize\": 25"));
    assert!(answer.contains("Pull request 7"));

    world.say("Set the page size to 30.");
    assert!(world.file("agent/10-new", "/config/default.json").contains("\"pageSize\": 30"));
    assert_eq!(world.names().last(), Some(&"push_changes"));
}

#[test]
fn a_work_item_can_carry_the_request() {
    let mut world = World::new();
    world.say("Create an issue titled 'Change `490` to `390` in config/default.json'");
    world.say("Work on issue 10 and open a PR");
    assert!(world.file("agent/10-new", "/config/default.json").contains("390"));
    assert_eq!(world.pulls[0]["work_item_ids"], json!([10]));
}

fn reviewed(world: &mut World, comment: &str) -> String {
    world.say(SENTENCE);
    let branch = json!("agent/10-new");
    let thread = json!({"id": 3, "status": "active", "file": "/src/auth/login.ts", "line": 6, "comments":
        [{"id": 1, "author": "alice", "who": "person", "text": comment}]});
    let pull = &mut world.pulls[0];
    (pull["source_branch"], pull["threads"]) = (branch, json!([thread]));
    pull["work_items"] = json!([{"id": 10, "title": "Fix login timeout"}]);
    pull["changed_files"] = json!(["/src/auth/login.ts", "/test/login.test.ts"]);
    let system = world.messages[0].clone();
    world.messages = vec![system];
    world.say(&format!(
        "Pull request 7: alice commented in thread 3\n> {comment}\nRead the pull request, push a fix to its branch, and reply in that thread."
    ))
}

#[test]
fn a_review_comment_makes_the_timeout_configurable() {
    let mut world = World::new();
    let answer = reviewed(&mut world, "make the timeout configurable");
    assert_eq!(world.names()[0], "get_pull_request");
    assert_eq!(world.names().last(), Some(&"reply_to_thread"));
    let push = &world.called.iter().find(|(name, _)| name == "push_changes").unwrap().1;
    assert_eq!(push["branch"], "agent/10-new");
    let reply = &world.called.last().unwrap().1;
    assert_eq!((&reply["thread_id"], &reply["status"]), (&json!(3), &json!("fixed")));
    assert!(world.file("agent/10-new", "/config/default.json").contains("loginTimeoutSeconds"));
    assert!(world.file("agent/10-new", "/src/auth/login.ts").contains("settings.loginTimeoutSeconds * 1000"));
    assert!(world.file("agent/10-new", "/test/login.test.ts").contains("the settings say"));
    assert!(answer.contains("thread 3"));
}

#[test]
fn a_review_comment_can_ask_for_a_change_in_words_or_for_too_much() {
    let mut world = World::new();
    reviewed(&mut world, "Please change 'half an hour' to 'thirty minutes'.");
    assert!(world.file("agent/10-new", "/src/auth/login.ts").contains("without activity: thirty minutes"));

    let mut world = World::new();
    let answer = reviewed(&mut world, "Could you rewrite this in Rust?");
    assert_eq!(world.names().last(), Some(&"reply_to_thread"));
    assert!(world.called.last().unwrap().1["text"].as_str().unwrap().contains("scripted stand-in"));
    assert_eq!(world.called.last().unwrap().1["status"], Value::Null);
    assert!(answer.contains("cannot"), "{answer}");

    let mut world = World::new();
    reviewed(&mut world, "Thanks, looks good!");
    assert_eq!(world.names(), ["get_pull_request"]);
}

#[test]
fn a_second_request_for_what_is_done_is_answered_and_not_pushed() {
    let mut world = World::new();
    reviewed(&mut world, "make the timeout configurable");
    world.called.clear();
    let again = "Pull request 7: alice commented in thread 3\n> make the timeout configurable\n";
    world.say(again);
    assert!(!world.names().contains(&"push_changes"));
    assert_eq!(world.names().last(), Some(&"reply_to_thread"));
}

#[test]
fn an_error_ends_the_work_with_plain_words() {
    let mut world = World::new();
    world.broken.push(("push_changes", "TF401027: no permission."));
    let answer = world.say(SENTENCE);
    assert!(
        answer
            .starts_with("I stopped. `push_changes` failed: TF401027: no permission. Ask an administrator.")
    );
    assert!(answer.contains("http://o/w/10"), "what was done before is named: {answer}");
    assert_eq!(world.names().iter().filter(|name| **name == "push_changes").count(), 1);
}

#[test]
fn missing_tools_are_done_without() {
    let mut world = World::new();
    world.missing = vec!["create_work_item", "list_files"];
    let answer = world.say(SENTENCE);
    assert!(answer.contains("no tool `create_work_item`"), "{answer}");
    assert!(world.pulls[0]["title"] == "Fix login timeout" && world.pulls[0]["work_item_ids"] == json!([]));
    world.missing = TOOLS.iter().map(|(name, _)| *name).collect();
    assert!(world.say(SENTENCE).contains("no tool `push_changes`"));
}

#[test]
fn a_fault_it_does_not_know_is_said_and_not_invented() {
    let mut world = World::new();
    let answer = world
        .say("Create an issue titled 'Fix cart rounding', push a fix to a new branch, and open a PR for it.");
    assert_eq!(world.names(), ["create_work_item"]);
    assert!(answer.contains("scripted stand-in") && answer.contains("http://o/w/10"), "{answer}");
    world.say("Fix the colours of the login page and open a PR for src/auth/login.ts");
    world.say("Create a task titled 'Login help', and make sure to open a PR for it.");
    world.say("change 'login nowhere timeout' to 'x' in src/auth/login.ts and open a PR");
    assert!(world.pulls.is_empty() && world.branches.len() == 1, "{:?}", world.names());
}

#[test]
fn it_summarises_lists_and_says_what_it_is() {
    let mut world = World::new();
    world.say(SENTENCE);
    assert!(world.say("Summarise work item 10").contains("Fix login timeout"));
    assert_eq!(world.names(), ["get_work_item"]);
    assert!(world.say("summarize pull request 7").contains("Pull request 7"));
    assert!(world.say("List the open issues").contains("Issue 10"));
    assert!(world.called[0].1["wiql"].as_str().unwrap().contains("'Issue'"));
    assert!(world.say("Which files are in src?").contains("login.ts"));
    assert!(world.say("Who is Alice?").contains("alice@contoso.example"));
    world.say("Move work item 10 to Doing");
    assert_eq!(world.called[0].1["state"], "Doing");
    world.say("Comment 'On it.' on issue 10");
    assert_eq!(world.called[0].1["text"], "On it.");
    assert_eq!(world.say("What is the weather like?"), ABOUT);
    assert!(world.names().is_empty());
}

#[test]
fn a_malformed_call_of_another_mind_is_made_again() {
    let call = |arguments: &str| {
        json!({"role": "assistant", "content": null, "tool_calls":
            [{"id": "a", "type": "function", "function": {"name": "get_work_item", "arguments": arguments}}]})
    };
    let result = json!({"role": "tool", "tool_call_id": "a", "content": "{\"error\": \"not JSON\"}"});
    let tools = json!([{"type": "function", "function": {"name": "get_work_item", "parameters": {"properties": {"id": {}}}}}]);
    let messages = json!([{"role": "user", "content": "summarise work item 4"}, call("{\"id\": "), result]);
    let chat = Conversation::read(&json!({"messages": messages, "tools": tools}));
    assert!(matches!(super::answer(&chat), Reply::Call { .. }));
}

#[test]
fn a_work_item_that_was_assigned_or_spoken_about_is_worked_on() {
    let mut world = World::new();
    world.say("Create an issue titled 'Login ends at once' with description 'Sign-in lasts two seconds.'");
    assert_eq!(world.names(), ["create_work_item"]);
    world.say("Work item 10: alice assigned it to you");
    assert!(world.file("agent/10-new", "/src/auth/login.ts").contains("LOGIN_TIMEOUT_SECONDS * 1000"));
    assert_eq!(world.pulls[0]["work_item_ids"], json!([10]));
    assert_eq!(world.pulls[0]["title"], "Login ends at once");

    let mut world = World::new();
    world.say("Create a task titled 'Prices'");
    world.say("Work item 10: bob commented\n> please set the fee cents to 390\n");
    assert!(world.file("agent/10-new", "/config/default.json").contains("\"feeCents\": 390"));
    world.say("Work item 10: bob commented\n> What do you think of it?");
    assert_eq!(world.names(), ["get_work_item", "comment_on_work_item"]);
    world.say("Work item 10: bob commented\n> Thanks!");
    assert_eq!(world.names(), ["get_work_item"]);
}

#[test]
fn the_reviewer_is_the_one_named() {
    let mut world = World::new();
    world.messages[0]["content"] = json!("A reviewer is asked for every change.\n- Asked by: Bob Keller\n");
    world.missing = vec!["list_files"];
    world.say("change '20' to '25' in config/default.json and open a PR");
    assert_eq!(world.pulls[0]["reviewers"], json!(["Bob Keller"]));
    world.say("change '20' to '25' in config/default.json and open a PR reviewed by carol");
    assert_eq!(world.pulls[1]["reviewers"], json!(["carol"]));
    world.say("change '20' to '25' in config/default.json, open a PR and ask someone to review it");
    assert_eq!(world.pulls[2]["reviewers"], json!(["Bob Keller"]));
}
