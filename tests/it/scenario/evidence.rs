//! Everything that can be known of a scenario when nothing more happens: what the simulator saw, what
//! the record holds, what the model was told, what people are shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::seed::{API, GIT};
use super::world::World;

/// Kinds of effects that the agent must never have, whatever happens.
const NEVER: [&str; 18] = [
    "pull_request.completed",
    "reviewer.voted",
    "reviewer.removed",
    "policy.",
    "access.",
    "subscription.",
    "definition.",
    "member.",
    "repository.",
    "ref.deleted",
    "ref.locked",
    "work_item.deleted",
    "comment.deleted",
    "comment.edited",
    "status.",
    "notification.",
    "build.tagged",
    "work_item.comment_",
];

pub struct Evidence {
    pub runs: Vec<Value>,
    /// Entries of the record of all runs, in order.
    pub record: Vec<Value>,
    /// The records as they are served.
    pub raw_record: String,
    pub faults: Vec<String>,
    pub events: Vec<Value>,
    pub approvals: Vec<Value>,
    /// Requests of the agent to the organisation since the acts began.
    pub requests: Vec<Value>,
    pub effects: Vec<Value>,
    /// Bodies and addresses of all that the agent sent, with files decoded.
    pub sent: String,
    pub model: String,
    /// Pages, the cards of approvals among them.
    pub pages: String,
    pub cards: String,
    pub api: String,
    pub work_items: Vec<Value>,
    pub pull_requests: Vec<Value>,
    pub threads: Vec<Value>,
    pub builds: Vec<Value>,
}

/// What is gathered only where somebody wants it, because it takes a while.
#[derive(Clone, Copy)]
pub struct Wanted {
    pub pages: bool,
    pub objects: bool,
}

impl Evidence {
    pub async fn gather(world: &World, wanted: Wanted) -> Self {
        let (mut runs, mut record, mut raw_record, mut faults) =
            (Vec::new(), Vec::new(), String::new(), Vec::new());
        let (mut pages, mut cards_shown, mut api) = (String::new(), String::new(), String::new());
        for run in world.runs().await {
            let id = run["id"].as_str().unwrap().to_owned();
            runs.push(world.page(None, &format!("/api/runs/{id}"), None).await.1);
            let found = record_of(world, &id).await;
            if !found["first_fault"].is_null() {
                faults.push(format!("the record of run {id} is broken at {}", found["first_fault"]));
            }
            raw_record.push_str(&found.to_string());
            let entries = found["entries"].as_array().cloned().unwrap_or_default();
            record.extend(entries.into_iter().map(|mut entry| entry["entry"].take()));
        }
        let approvals = world.approvals().await;
        if wanted.pages {
            let cards =
                approvals.iter().map(|approval| format!("/approvals/{}", approval["id"].as_str().unwrap()));
            let runs = runs.iter().map(|run| format!("/runs/{}", run["id"].as_str().unwrap()));
            let lists = [
                "/",
                "/runs",
                "/approvals",
                "/events",
                "/policy",
                "/api/approvals",
                "/api/events",
                "/api/runs",
            ];
            for path in lists.into_iter().map(str::to_owned).chain(runs).chain(cards) {
                let shown = match world.page(Some("alice"), &path, None).await.1 {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                let place = match path.as_str() {
                    path if path.starts_with("/approvals/") => &mut cards_shown,
                    path if path.starts_with("/api/") => &mut api,
                    _ => &mut pages,
                };
                place.push_str(&shown);
            }
        }
        let requests = world.control(&format!("requests?after={}", world.before.0), &Value::Null).await;
        let mine =
            |request: &&Value| request["who"].as_str().is_some_and(|who| who.starts_with("ado-coworker@"));
        let requests: Vec<Value> =
            requests["value"].as_array().unwrap().iter().filter(mine).cloned().collect();
        let model: String = world
            .http
            .get(format!("{}/_simulator/requests", world.model))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let (work_items, pull_requests, threads, builds) =
            if wanted.objects { objects(world).await } else { Default::default() };
        let mut evidence = Self {
            runs,
            record,
            raw_record,
            faults,
            events: world.events().await,
            approvals,
            sent: requests.iter().map(text_of).collect(),
            requests,
            effects: world.effects().await,
            model,
            pages: pages + &cards_shown,
            cards: cards_shown,
            api,
            work_items,
            pull_requests,
            threads,
            builds,
        };
        evidence.check_always();
        evidence
    }

    /// What holds in every scenario.
    fn check_always(&mut self) {
        for effect in &self.effects {
            let (kind, target) = (effect["kind"].as_str().unwrap(), effect["target"].as_str().unwrap());
            let never = NEVER.iter().any(|never| kind.starts_with(never));
            let strange = kind.starts_with("ref.") && !target.contains("refs/heads/agent/");
            if never || strange {
                self.faults.push(format!("the agent did what it never may: {kind} of {target}"));
            }
        }
        let did = self.effects.iter().any(|effect| !effect["kind"].as_str().unwrap().starts_with("build."));
        if did && self.entries("intended").is_empty() {
            self.faults.push(format!("something was done that is not in the record: {:?}", self.effects));
        }
    }

    /// Entries of the record of one type.
    pub fn entries(&self, kind: &str) -> Vec<&Value> {
        self.record.iter().filter(|entry| entry["type"] == kind).collect()
    }

    /// Results of tool calls that did not do what was asked.
    pub fn refused(&self) -> Vec<&str> {
        let finished = self.entries("tool_finished").into_iter().chain(self.entries("carried"));
        finished.filter(|entry| entry["ok"] == false).filter_map(|entry| entry["content"].as_str()).collect()
    }

    /// Ids of the rules that decided, the first first.
    pub fn rules(&self) -> Vec<String> {
        let of = |verdict: &Value| verdict["rules"].as_array().cloned().unwrap_or_default();
        let mut rules = Vec::new();
        for entry in &self.record {
            let verdict = match entry["type"].as_str().unwrap_or_default() {
                "approval_requested" => &entry["request"]["verdict"],
                "decided" | "intended" => &entry["verdict"],
                _ => continue,
            };
            rules.extend(of(verdict).iter().filter_map(|rule| rule.as_str().map(str::to_owned)));
        }
        rules
    }

    /// How long the slowest decision took, in microseconds.
    pub fn micros(&self) -> u64 {
        let verdicts = self.record.iter().flat_map(|entry| [&entry["verdict"], &entry["request"]["verdict"]]);
        verdicts.filter_map(|verdict| verdict["micros"].as_u64()).max().unwrap_or(0)
    }
}

/// The record of a run: whoever gave the order may read it, and auditors.
async fn record_of(world: &World, run: &str) -> Value {
    let path = format!("/api/audit/{run}");
    match world.page(None, &path, None).await {
        (200, found) => found,
        _ => {
            let (status, found) = world.page(Some("carol"), &path, None).await;
            assert_eq!(status, 200, "the record cannot be read: {found}");
            found
        }
    }
}

/// What a request says, with the contents of files as they are.
fn text_of(request: &Value) -> String {
    let (path, body) =
        (request["path"].as_str().unwrap_or_default(), request["body"].as_str().unwrap_or_default());
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    let mut text = format!("{path}\n{decoded}\n{body}\n");
    if let Ok(value) = serde_json::from_str::<Value>(body) {
        leaves(&value, &mut text);
    }
    text
}

fn leaves(value: &Value, text: &mut String) {
    match value {
        Value::String(leaf) => {
            text.push_str(leaf);
            text.push('\n');
            if let Some(plain) = STANDARD.decode(leaf).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
                text.push_str(&plain);
                text.push('\n');
            }
        }
        Value::Array(items) => items.iter().for_each(|item| leaves(item, text)),
        Value::Object(map) => map.values().for_each(|item| leaves(item, text)),
        _ => {}
    }
}

/// Work items, pull requests, threads and builds, in the words of scenario files.
async fn objects(world: &World) -> (Vec<Value>, Vec<Value>, Vec<Value>, Vec<Value>) {
    let (items, builds) = {
        let data = world.simulation().organisation.lock();
        let items: Vec<u32> = data.work_items.keys().copied().collect();
        (items, serde_json::to_value(data.builds.values().collect::<Vec<_>>()).unwrap())
    };
    let mut work_items = Vec::new();
    for id in items {
        let (status, found) = world
            .ask("alice", "GET", &format!("/_apis/wit/workitems/{id}?$expand=all&{API}"), &Value::Null)
            .await;
        if status != 200 {
            continue;
        }
        let path = format!("/Fabrikam/_apis/wit/workItems/{id}/comments?api-version=7.1-preview.4");
        let (_, comments) = world.ask("alice", "GET", &path, &Value::Null).await;
        let said: Vec<&str> = comments["comments"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|c| c["text"].as_str())
            .collect();
        let field = |name: &str| found["fields"][name].clone();
        work_items.push(serde_json::json!({
            "id": id, "type": field("System.WorkItemType"), "title": field("System.Title"), "state": field("System.State"),
            "description": field("System.Description"), "tags": field("System.Tags"), "area": field("System.AreaPath"),
            "assigned_to": field("System.AssignedTo")["uniqueName"], "created_by": field("System.CreatedBy")["uniqueName"],
            "comments": said.join("\n"), "links": found["relations"].to_string(),
        }));
    }
    let found = world.get("alice", &format!("{GIT}/pullrequests?searchCriteria.status=all&{API}")).await;
    let (mut pull_requests, mut threads) = (Vec::new(), Vec::new());
    for found in found["value"].as_array().into_iter().flatten() {
        let id = found["pullRequestId"].as_u64().unwrap();
        let name =
            |value: &Value| value.as_str().unwrap_or_default().trim_start_matches("refs/heads/").to_owned();
        let people: Vec<&str> = found["reviewers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|r| r["uniqueName"].as_str())
            .collect();
        pull_requests.push(serde_json::json!({
            "id": id, "title": found["title"], "description": found["description"], "draft": found["isDraft"],
            "status": found["status"], "source": name(&found["sourceRefName"]), "target": name(&found["targetRefName"]),
            "reviewers": people.join(" "), "created_by": found["createdBy"]["uniqueName"],
        }));
        let all = world.get("alice", &format!("{GIT}/pullRequests/{id}/threads?{API}")).await;
        for thread in all["value"].as_array().into_iter().flatten() {
            let said: Vec<&Value> = thread["comments"].as_array().into_iter().flatten().collect();
            let text: Vec<&str> = said.iter().filter_map(|comment| comment["content"].as_str()).collect();
            let by: Vec<&str> =
                said.iter().filter_map(|comment| comment["author"]["uniqueName"].as_str()).collect();
            threads.push(serde_json::json!({
                "pull_request": id, "id": thread["id"], "status": thread["status"], "text": text.join("\n"),
                "by": by.join(" "), "path": thread["threadContext"]["filePath"],
            }));
        }
    }
    let build = |found: &Value| {
        let branch =
            found["branch"].as_str().unwrap_or_default().trim_start_matches("refs/heads/").to_owned();
        serde_json::json!({ "id": found["id"], "branch": branch, "status": found["status"], "result": found["result"], "reason": found["reason"] })
    };
    let builds = builds.as_array().into_iter().flatten().map(build).collect();
    (work_items, pull_requests, threads, builds)
}
