//! What stands in the organisation before anybody acts, put there by the people it is from.

use ado_coworker::simulator::azure_devops::state::Actor;
use ado_coworker::simulator::azure_devops::state::checks::{Check, CheckKind};
use ado_coworker::simulator::azure_devops::state::members::Group;
use ado_coworker::simulator::azure_devops::state::seed::{ALICE, FABRIKAM, WEB_SHOP};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::file::{BuildSeed, FileSeed, PullRequestSeed, Scenario, WorkItemSeed};
use super::world::World;

pub const API: &str = "api-version=7.1";
pub const GIT: &str = "/Fabrikam/_apis/git/repositories/web-shop";
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

impl World {
    /// Puts everything there, then takes note of where the acts begin.
    pub async fn seed(&mut self, scenario: &Scenario) {
        for new in &scenario.people {
            if !["agent", "alice", "bob", "carol"].contains(&new.name.as_str()) {
                let body = json!({ "name": new.name, "display_name": new.display_name, "project": "Fabrikam",
                    "in_team": new.in_team, "is_service": new.is_service });
                self.invite(body).await;
            }
            let name = if new.name == "agent" { "ado-coworker" } else { &new.name };
            let mut world = self.simulation().organisation.lock();
            let id = world.find_person(name).expect("they were invited").id;
            for project in &new.projects {
                let project = world.find_project(project).expect("the project is there").id;
                world.enter_projects(id, &[(project, Group::Contributor)]);
            }
        }
        let mut branches: Vec<&str> = scenario.files.iter().map(|file| file.branch.as_str()).collect();
        branches.dedup();
        for branch in branches {
            let files: Vec<&FileSeed> = scenario.files.iter().filter(|file| file.branch == branch).collect();
            self.push("alice", branch, "Seeded files", &files).await;
        }
        for item in &scenario.work_items {
            self.seed_work_item(item).await;
        }
        for (n, found) in scenario.pull_requests.iter().enumerate() {
            self.seed_pull_request(n + 1, found).await;
        }
        for build in &scenario.builds {
            self.seed_build(build).await;
        }
        self.script(&scenario.script).await;
        self.until_quiet().await;
        self.before = (self.last("requests").await, self.last("ledger").await);
    }

    /// Tells the model what to say where no text gives it orders: texts, calls, or behaviours as its
    /// simulator knows them.
    async fn script(&self, steps: &[Value]) {
        if steps.is_empty() {
            return;
        }
        let behaviour = |step: &Value| match step {
            Value::String(text) => json!({ "kind": "reply", "text": self.fill(text) }),
            step if step.get("tool").is_some() => {
                let arguments = step.get("arguments").cloned().unwrap_or_else(|| json!({}));
                json!({ "kind": "calls", "calls": [{ "name": step["tool"], "arguments": arguments }] })
            }
            step => step.clone(),
        };
        let behaviours: Vec<Value> = steps.iter().map(behaviour).collect();
        let url = format!("{}/_simulator/script", self.model);
        let response = self.http.post(url).json(&behaviours).send().await.unwrap();
        let status = response.status();
        assert!(status.is_success(), "the script is refused: {}", response.text().await.unwrap());
    }

    async fn last(&self, what: &str) -> u64 {
        let all = self.control(what, &Value::Null).await;
        all["value"].as_array().and_then(|all| all.last()).map_or(0, |last| last["seq"].as_u64().unwrap())
    }

    /// The tip of a branch.
    pub async fn tip(&self, branch: &str) -> Option<String> {
        let found = self.get("alice", &format!("{GIT}/refs?filter=heads/{branch}&{API}")).await;
        let name = format!("refs/heads/{branch}");
        let found = found["value"].as_array()?.iter().find(|found| found["name"] == name.as_str())?;
        Some(found["objectId"].as_str()?.to_owned())
    }

    /// Pushes files; a branch that is not there begins at main.
    pub async fn push(&mut self, who: &str, branch: &str, message: &str, files: &[&FileSeed]) {
        let tip = self.tip(branch).await;
        let main = self.tip("main").await.expect("the seeded repository has its main branch");
        let mut changes = Vec::new();
        for file in files {
            let path = format!("/{}", file.path.trim_start_matches('/'));
            let at = tip.as_deref().unwrap_or(&main);
            let query = format!(
                "path={}&versionDescriptor.version={at}&versionDescriptor.versionType=commit&{API}",
                encoded(&path)
            );
            let (status, _) = self.ask(who, "GET", &format!("{GIT}/items?{query}"), &Value::Null).await;
            let kind = if status == 200 { "edit" } else { "add" };
            changes.push(json!({ "changeType": kind, "item": { "path": path },
                "newContent": { "content": STANDARD.encode(&file.content), "contentType": "base64encoded" } }));
        }
        let old = tip.clone().unwrap_or_else(|| NO_COMMIT.to_owned());
        let mut commit = json!({ "comment": message, "changes": changes });
        if tip.is_none() {
            commit["parents"] = json!([main]);
        }
        let body = json!({ "refUpdates": [{ "name": format!("refs/heads/{branch}"), "oldObjectId": old }], "commits": [commit] });
        self.send(who, "POST", &format!("{GIT}/pushes?{API}"), body).await;
    }

    async fn seed_work_item(&mut self, item: &WorkItemSeed) {
        let field = |name: &str, value: &str| json!({ "op": "add", "path": format!("/fields/{name}"), "value": value });
        let description = self.fill(&item.description);
        let mut patch =
            vec![field("System.Title", &self.fill(&item.title)), field("System.Description", &description)];
        if !description.trim_start().starts_with('<') {
            patch.push(json!({ "op": "add", "path": "/multilineFieldsFormat/System.Description", "value": "Markdown" }));
        }
        for (name, value) in [
            ("System.State", &item.state),
            ("System.AssignedTo", &item.assigned_to),
            ("System.Tags", &item.tags),
        ] {
            patch.extend(value.as_ref().map(|value| field(name, &account(value))));
        }
        let made = self
            .send(
                &item.by,
                "POST",
                &format!("/{}/_apis/wit/workitems/${}?{API}", item.project, item.kind),
                Value::Array(patch),
            )
            .await;
        let id = made["id"].as_u64().unwrap();
        let wanted = item.id.unwrap_or(id);
        assert_eq!(
            wanted, id,
            "the work item '{}' gets number {id}: seeds are numbered in order",
            item.title
        );
        self.note("work_item", id);
        for (who, text) in &item.comments {
            self.comment_on_work_item(who, id, text).await;
        }
    }

    pub async fn comment_on_work_item(&mut self, who: &str, id: u64, text: &str) {
        let path =
            format!("/Fabrikam/_apis/wit/workItems/{id}/comments?format=markdown&api-version=7.1-preview.4");
        let made = self.send(who, "POST", &path, json!({ "text": self.fill(text) })).await;
        let comment = made["id"].as_u64().or(made["commentId"].as_u64()).unwrap();
        self.note("comment", comment);
    }

    async fn seed_pull_request(&mut self, n: usize, seed: &PullRequestSeed) {
        let folder = if seed.by == "agent" { "agent" } else { "topic" };
        let source = seed.source.clone().unwrap_or_else(|| format!("{folder}/seeded-{n}"));
        let own = FileSeed {
            path: format!("docs/seeded-{n}.md"),
            content: b"Seeded.\n".to_vec(),
            branch: source.clone(),
        };
        let files: Vec<&FileSeed> =
            if seed.files.is_empty() { vec![&own] } else { seed.files.iter().collect() };
        self.push(&seed.by, &source, "Seeded change", &files).await;
        let mut reviewers = Vec::new();
        for name in &seed.reviewers {
            reviewers.push(json!({ "id": self.identity(name).await }));
        }
        let body = json!({
            "sourceRefName": format!("refs/heads/{source}"), "targetRefName": format!("refs/heads/{}", seed.target),
            "title": self.fill(&seed.title), "description": self.fill(&seed.description), "isDraft": seed.is_draft,
            "reviewers": reviewers,
        });
        let made = self.send(&seed.by, "POST", &format!("{GIT}/pullrequests?{API}"), body).await;
        let id = made["pullRequestId"].as_u64().unwrap();
        let wanted = seed.id.unwrap_or(id);
        assert_eq!(
            wanted, id,
            "the pull request '{}' gets number {id}: seeds are numbered in order",
            seed.title
        );
        self.note("pull_request", id);
        for (who, text) in &seed.comments {
            self.comment_on_pull_request(who, id, None, text, None).await;
        }
    }

    /// Begins a thread, or answers in one.
    pub async fn comment_on_pull_request(
        &mut self,
        who: &str,
        id: u64,
        thread: Option<u64>,
        text: &str,
        path: Option<&str>,
    ) {
        let text = self.fill(text);
        let threads = format!("{GIT}/pullRequests/{id}/threads");
        if let Some(thread) = thread {
            let body = json!({ "content": text, "parentCommentId": 1, "commentType": "text" });
            self.send(who, "POST", &format!("{threads}/{thread}/comments?{API}"), body).await;
            return;
        }
        let comment = json!({ "parentCommentId": 0, "content": text, "commentType": "text" });
        let mut body = json!({ "comments": [comment], "status": "active" });
        if let Some(path) = path {
            let place = json!({ "line": 1, "offset": 1 });
            body["threadContext"] =
                json!({ "filePath": path, "rightFileStart": place, "rightFileEnd": place });
        }
        let made = self.send(who, "POST", &format!("{threads}?{API}"), body).await;
        self.note("thread", made["id"].as_u64().unwrap());
    }

    /// Identity id of somebody.
    pub async fn identity(&self, name: &str) -> String {
        if ["agent", "ado-coworker"].contains(&name) {
            return self.agent_id.clone();
        }
        let path = format!("/_apis/identities?searchFilter=General&filterValue={name}&{API}");
        let found = self.get("alice", &path).await;
        found["value"][0]["id"].as_str().unwrap_or_else(|| panic!("nobody is called {name}")).to_owned()
    }

    /// A build whose log holds these lines: a check tells what it looks for and does not find.
    async fn seed_build(&mut self, seed: &BuildSeed) {
        let kind = if seed.fails { CheckKind::Contains } else { CheckKind::Exists };
        let mut checks = vec![Check::new("Test", "The tests pass", CheckKind::Exists, "README.md", "")];
        for (n, line) in seed.log.iter().enumerate() {
            let line = self.fill(line);
            let name = if seed.fails { format!("check {}", n + 1) } else { line.clone() };
            checks.push(Check::new("Test", &name, kind, "README.md", &line));
        }
        if seed.fails && seed.log.is_empty() {
            checks.push(Check::new("Test", "A test", CheckKind::Contains, "README.md", "what is not there"));
        }
        let branch = match (&seed.branch, seed.pull_request.or(self.newest("pull_request"))) {
            (Some(branch), _) => format!("refs/heads/{branch}"),
            (None, Some(id)) => format!("refs/pull/{id}/merge"),
            (None, None) => "refs/heads/main".to_owned(),
        };
        let id = {
            let mut world = self.simulation().organisation.lock();
            let actor = Actor { id: ALICE, activity: world.new_id() };
            let definition =
                world.set_definition(actor, WEB_SHOP, &seed.definition, &seed.yaml, checks).unwrap();
            world.queue_build(actor, FABRIKAM, definition, Some(&branch), None, None).unwrap()
        };
        self.note("build", u64::from(id));
        self.until("a seeded build ends", async |world| {
            world.simulation().organisation.lock().builds.get(&id).is_some_and(|build| build.is_done())
        })
        .await;
    }

    /// A text with what is known of this world put in, and the agent mentioned where it says `@agent`.
    pub fn fill(&self, text: &str) -> String {
        let mut text = text.replace("@agent", &format!("@<{}>", self.agent_id));
        for kind in ["work_item", "pull_request", "thread", "comment", "build"] {
            for (n, id) in self.made.get(kind).into_iter().flatten().enumerate() {
                text = text.replace(&format!("{{{{{kind}.{}}}}}", n + 1), &id.to_string());
            }
            if let Some(id) = self.newest(kind) {
                text = text.replace(&format!("{{{{{kind}}}}}"), &id.to_string());
            }
        }
        text = text.replace("{{organization}}", &self.organization).replace("{{page}}", &self.page);
        let sidecar = self.simulation().sidecar_url.as_str().trim_end_matches('/').to_owned();
        text = text.replace("{{sidecar}}", &sidecar);
        assert!(!text.contains("{{"), "something is not known here: {text}");
        text
    }
}

/// Short names are accounts of the demo's people.
fn account(value: &str) -> String {
    match value {
        "alice" | "bob" | "carol" => format!("{value}@contoso.example"),
        "agent" => "ado-coworker@contoso.example".to_owned(),
        other => other.to_owned(),
    }
}

pub fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
