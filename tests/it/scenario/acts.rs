//! What people and the outside do, in order, each when its condition is met.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ado_coworker::simulator::azure_devops::state::hooks::NotificationStatus;
use serde_json::{Map, Value, json};

use super::file::{Act, Deed, EventDeed, FileSeed, On};
use super::seed::{API, GIT, encoded};
use super::world::World;
use crate::harness::HOOK;

/// Longest time for anything that a scenario waits for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(25);
/// How far an idle world's clock is moved at once.
const NUDGE: Duration = Duration::from_millis(400);
/// A world is quiet when it was found so this often in a row.
const QUIET_LOOKS: u32 = 2;
/// What is due later than this is not waited for: a resend, the end of an approval.
const SOON: Duration = Duration::from_secs(60);

/// Conditions with a name of their own; besides them every kind of the ledger, `thread.status`.
const CONDITIONS: [&str; 16] = [
    "pull_request_created",
    "work_item_created",
    "branch_created",
    "pushed",
    "commented",
    "reviewer_added",
    "approval_requested",
    "approval_decided",
    "run_started",
    "run_waiting",
    "run_ended",
    "done",
    "build_done",
    "build_failed",
    "build_succeeded",
    "quiet",
];

pub fn check_conditions(after: &[String]) -> Result<(), String> {
    match after.iter().find(|name| !CONDITIONS.contains(&name.as_str()) && !name.contains('.')) {
        None => Ok(()),
        Some(name) => Err(format!(
            "there is no condition '{name}'; known are: {}, and every kind of effect, such as 'thread.status'",
            CONDITIONS.join(", ")
        )),
    }
}

impl World {
    /// Waits, moving time on while nothing else happens.
    pub async fn until(&self, what: &str, mut met: impl AsyncFnMut(&World) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !met(self).await {
            assert!(Instant::now() < end, "waited in vain until {what}");
            self.look().await;
        }
    }

    /// Waits until nothing more happens by itself.
    pub async fn until_quiet(&self) {
        assert!(self.comes_to_rest().await, "waited in vain until nothing more happens");
    }

    /// Whether there comes a time when nothing more happens by itself.
    pub async fn comes_to_rest(&self) -> bool {
        let (end, mut looks) = (Instant::now() + PATIENCE, 0);
        while looks < QUIET_LOOKS && Instant::now() < end {
            looks = if self.look().await { looks + 1 } else { 0 };
        }
        looks == QUIET_LOOKS
    }

    /// Looks after a moment; whether all is quiet. Moves the clock on where nobody works and something
    /// is due later.
    async fn look(&self) -> bool {
        tokio::time::sleep(LOOK).await;
        let (due, delivers) = self.outside();
        let runs = self.runs().await;
        if delivers || runs.iter().any(|run| run["status"] == "running" || run["status"] == "queued") {
            return false;
        }
        let waits = runs.iter().any(|run| run["waiting_for"] == "rate_limit")
            || self.events().await.iter().any(|event| event["status"] == "received");
        if let Some(clock) = self.clock.as_ref().filter(|_| waits || due) {
            clock.advance(NUDGE);
        }
        !waits && !due
    }

    /// Whether something of the organisation is due soon, and whether it is at work or sends something.
    fn outside(&self) -> (bool, bool) {
        let world = self.simulation().organisation.lock();
        let soon = ado_coworker::clock::add(world.clock().now(), SOON);
        let under_way = world.subscriptions.values().any(|subscription| {
            subscription
                .notifications
                .values()
                .any(|sent| sent.status == NotificationStatus::RequestInProgress)
        });
        (world.next_due().is_some_and(|due| due <= soon), under_way || world.is_working())
    }

    /// Runs, the oldest first.
    pub async fn runs(&self) -> Vec<Value> {
        let (_, all) = self.page(None, "/api/runs?limit=200", None).await;
        let mut runs = all["runs"].as_array().cloned().unwrap_or_default();
        runs.reverse();
        runs
    }

    pub async fn events(&self) -> Vec<Value> {
        let (_, all) = self.page(None, "/api/events?limit=200", None).await;
        all["events"].as_array().cloned().unwrap_or_default()
    }

    /// Approvals, the oldest first.
    pub async fn approvals(&self) -> Vec<Value> {
        let (_, all) = self.page(None, "/api/approvals", None).await;
        let mut all = all["approvals"].as_array().cloned().unwrap_or_default();
        all.sort_by_key(|approval| approval["requested_at"].as_str().unwrap_or_default().to_owned());
        all
    }

    async fn ledger(&self) -> Vec<Value> {
        let all = self.control(&format!("ledger?after={}", self.before.1), &Value::Null).await;
        all["value"].as_array().cloned().unwrap_or_default()
    }

    /// What the agent did in the organisation since the acts began.
    pub async fn effects(&self) -> Vec<Value> {
        let all = self.ledger().await;
        all.into_iter().filter(|entry| entry["who"] == self.agent_id.as_str()).collect()
    }

    async fn met(&self, condition: &str) -> bool {
        let did = async |kinds: &[&str]| {
            self.effects()
                .await
                .iter()
                .any(|entry| kinds.contains(&entry["kind"].as_str().unwrap_or_default()))
        };
        match condition {
            "pull_request_created" => did(&["pull_request.created"]).await,
            "work_item_created" => did(&["work_item.created"]).await,
            "branch_created" => did(&["ref.created"]).await,
            "pushed" => did(&["push.created"]).await,
            "commented" => did(&["work_item.commented", "thread.created", "comment.created"]).await,
            "reviewer_added" => did(&["reviewer.added"]).await,
            "approval_requested" => !self.approvals().await.is_empty(),
            "approval_decided" => self
                .approvals()
                .await
                .iter()
                .any(|a| a["state"] != "pending" && a["state"] != "partially_approved"),
            "run_started" => !self.runs().await.is_empty(),
            "run_waiting" => self.runs().await.iter().any(|run| run["status"] == "waiting"),
            "run_ended" | "done" => {
                let runs = self.runs().await;
                let over = |run: &Value| {
                    !["queued", "running", "waiting"].contains(&run["status"].as_str().unwrap())
                };
                !runs.is_empty() && runs.iter().all(over)
            }
            "build_done" | "build_failed" | "build_succeeded" => {
                let wanted = match condition {
                    "build_failed" => "=failed",
                    "build_succeeded" => "=succeeded",
                    _ => "=",
                };
                let done = |entry: &Value| {
                    entry["kind"] == "build.completed" && entry["target"].as_str().unwrap().contains(wanted)
                };
                self.ledger().await.iter().any(done)
            }
            "quiet" => self.look().await,
            kind => did(&[kind]).await,
        }
    }

    pub async fn act(&mut self, act: &Act) {
        for condition in &act.after {
            match condition.as_str() {
                "quiet" => self.until_quiet().await,
                name => self.until(name, async |world| world.met(name).await).await,
            }
        }
        let who = act.who.clone();
        let person = || who.clone().unwrap_or_else(|| "alice".to_owned());
        match &act.deed {
            Deed::Instruction { text, project, answer } => {
                self.instruct(who.as_deref(), &self.fill(text), project.as_deref(), *answer).await;
            }
            Deed::Message { text } => {
                let run = self.runs().await.pop().expect("there is a run to talk to");
                let path = format!("/api/runs/{}/messages", run["id"].as_str().unwrap());
                let (status, answer) =
                    self.page(who.as_deref(), &path, Some(json!({ "text": self.fill(text) }))).await;
                assert_eq!(status, 202, "{answer}");
            }
            Deed::Comment { on, text, path, times, every } => {
                for n in 0..(*times).max(1) {
                    if n > 0 && *every > 0 {
                        self.until_quiet().await;
                        self.advance(*every);
                    }
                    self.comment(&person(), on, text, path.as_deref()).await;
                }
            }
            Deed::Decide { approves, which, body, answer, times } => {
                self.decide(
                    &person(),
                    (*approves, *which),
                    body.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
                    *answer,
                    *times,
                )
                .await;
            }
            Deed::Push { branch, files, message } => {
                let branch = self.branch(branch).await;
                let (message, files) = (self.fill(message), files.iter().collect::<Vec<_>>());
                self.push(&person(), &branch, &message, &files).await;
            }
            Deed::Vote { on, vote } => {
                let id = self.pull_request(on).await;
                let reviewer = self.identity(&person()).await;
                let path = format!("{GIT}/pullRequests/{id}/reviewers/{reviewer}?{API}");
                self.send(&person(), "PUT", &path, json!({ "vote": vote, "id": reviewer })).await;
            }
            Deed::Fault(fault) => {
                let answer = self.control("faults", fault).await;
                assert!(answer.get("error").is_none(), "the fault is refused: {answer}");
            }
            Deed::Advance(seconds) => {
                // Leases of work that is under way would end.
                self.until_quiet().await;
                self.advance(*seconds);
            }
            Deed::Event(event) => self.deliver(event).await,
            Deed::Edit { on, text, fields, file } => {
                self.edit(&person(), on, text.as_deref(), fields, file.as_ref()).await
            }
            Deed::Stop => {
                let run = self.runs().await.pop().expect("there is a run to stop");
                let path = format!("/api/runs/{}/cancel", run["id"].as_str().unwrap());
                self.page(who.as_deref(), &path, Some(json!({}))).await;
            }
        }
    }

    /// Takes note where an answer is not the one that is wanted.
    fn answered(&self, what: &str, (status, said): (u16, &Value), wanted: Option<u64>) {
        if wanted.is_some_and(|wanted| wanted != u64::from(status)) {
            let why = format!("acts: {what} was answered with {status}: {said}");
            self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(why);
        }
    }

    async fn instruct(&mut self, who: Option<&str>, text: &str, project: Option<&str>, answer: Option<u64>) {
        let mut body = json!({ "instruction": text });
        if let Some(project) = project {
            body["project"] = project.into();
        }
        let (status, said) = self.page(who, "/api/runs", Some(body)).await;
        self.answered("the order", (status, &said), Some(answer.unwrap_or(202)));
    }

    /// The branch that is meant: `agent` is the newest of the agent's own.
    async fn branch(&self, name: &str) -> String {
        if !name.is_empty() && name != "agent" {
            return name.to_owned();
        }
        let own = self.effects().await;
        let made = own.iter().rev().find(|entry| entry["kind"] == "ref.created");
        let target = made.map(|entry| entry["target"].as_str().unwrap_or_default().to_owned());
        let target = target.unwrap_or_else(|| panic!("the agent has made no branch to push to"));
        target.rsplit_once("refs/heads/").map_or(target.clone(), |(_, name)| name.to_owned())
    }

    /// The pull request that is meant: a number, or the newest.
    async fn pull_request(&mut self, on: &On) -> u64 {
        if let Some(id) = on.pull_request {
            return id;
        }
        self.until("there is a pull request", async |world| world.newest_pull_request().await.is_some())
            .await;
        self.newest_pull_request().await.unwrap_or_default()
    }

    async fn newest_pull_request(&self) -> Option<u64> {
        let found = self.get("alice", &format!("{GIT}/pullrequests?searchCriteria.status=all&{API}")).await;
        found["value"].as_array()?.iter().filter_map(|found| found["pullRequestId"].as_u64()).max()
    }

    async fn comment(&mut self, who: &str, on: &On, text: &str, path: Option<&str>) {
        let code =
            self.approvals().await.first().map(|found| found["code"].as_str().unwrap_or_default().to_owned());
        let text = &code.map_or_else(|| text.to_owned(), |code| text.replace("{{code}}", &code));
        let item = on.work_item.or_else(|| self.newest("work_item").filter(|_| on.pull_request.is_none()));
        let has_pull_request = self.newest_pull_request().await.is_some();
        match item.filter(|_| on.work_item.is_some() || (on.thread.is_none() && !has_pull_request)) {
            Some(id) => self.comment_on_work_item(who, id, text).await,
            None => {
                let id = self.pull_request(on).await;
                self.comment_on_pull_request(who, id, on.thread, text, path).await;
            }
        }
    }

    async fn decide(
        &self,
        who: &str,
        decision: (bool, u64),
        body: Map<String, Value>,
        answer: Option<u64>,
        times: u64,
    ) {
        let (approves, which) = decision;
        let at = usize::try_from(which.max(1) - 1).unwrap();
        self.until("somebody is asked", async |world| world.approvals().await.len() > at).await;
        let approval = self.approvals().await.swap_remove(at);
        let mut sent =
            json!({ "decision": if approves { "approve" } else { "deny" }, "digest": approval["digest"] });
        for (key, value) in body {
            sent[key] = value;
        }
        let path = format!("/api/approvals/{}/decision", approval["id"].as_str().unwrap());
        let all = (0..times.max(1)).map(|_| self.page(Some(who), &path, Some(sent.clone())));
        for (status, said) in futures_util::future::join_all(all).await {
            self.answered(&format!("{who}'s decision"), (status, &said), answer);
        }
    }

    async fn deliver(&mut self, event: &EventDeed) {
        let body = match (&event.raw, &event.body) {
            (Some(raw), _) => self.fill(raw),
            (None, Some(body)) => self.fill(&body.to_string()),
            (None, None) => self.body_of(event).await.to_string(),
        };
        let user = event.user.clone().unwrap_or_else(|| HOOK.0.to_owned());
        let password = event.password.clone().unwrap_or_else(|| HOOK.1.to_owned());
        for _ in 0..event.times.max(1) {
            let mut request =
                self.http.post(format!("{}/webhooks/azure-devops", self.page)).body(body.clone());
            request = request.header("content-type", "application/json");
            if event.user.as_deref() != Some("") {
                request = request.basic_auth(&user, Some(&password));
            }
            for (name, value) in &event.headers {
                request = request.header(name, value);
            }
            let status = request.send().await.unwrap().status().as_u16();
            self.answered("the delivery", (status, &Value::Null), Some(event.answer.unwrap_or(200)));
        }
    }

    /// A delivery as the service sends it, about what there is.
    async fn body_of(&mut self, event: &EventDeed) -> Value {
        let repository = self.get("alice", &format!("{GIT}?{API}")).await["id"].clone();
        let resource = match event.kind.as_str() {
            kind if kind.starts_with("workitem.") => {
                let id = event.on.work_item.or(self.newest("work_item")).unwrap_or(1);
                json!({ "id": id, "workItemId": id, "rev": 1 })
            }
            "build.complete" => json!({ "id": self.newest("build").unwrap_or(1) }),
            "ms.vss-code.git-pullrequest-comment-event" => {
                let (id, thread) = (
                    self.pull_request(&event.on).await,
                    event.on.thread.or(self.newest("thread")).unwrap_or(1),
                );
                let repository = repository.as_str().unwrap();
                let href = format!(
                    "{}/_apis/git/repositories/{repository}/pullRequests/{id}/threads/{thread}",
                    self.organization
                );
                json!({ "comment": { "id": event.on.comment.unwrap_or(1), "_links": { "threads": { "href": href } } },
                    "pullRequest": { "pullRequestId": id, "repository": { "id": repository } } })
            }
            _ => {
                json!({ "pullRequestId": self.pull_request(&event.on).await, "repository": { "id": repository } })
            }
        };
        json!({ "id": uuid::Uuid::new_v4().to_string(), "eventType": event.kind, "resource": resource,
            "createdDate": self.simulation().organisation.clock().now().to_string() })
    }

    async fn edit(
        &mut self,
        who: &str,
        on: &On,
        text: Option<&str>,
        fields: &std::collections::BTreeMap<String, String>,
        file: Option<&FileSeed>,
    ) {
        if let Some(file) = file {
            let branch = self.branch(&file.branch).await;
            return self.push(who, &branch, "Edited", &[file]).await;
        }
        if on.pull_request.is_some() || on.thread.is_some() {
            let id = self.pull_request(on).await;
            let (path, body) = match on.thread.or(self.newest("thread")) {
                Some(thread) if text.is_some() => {
                    let comment = on.comment.unwrap_or(1);
                    let path = format!("{GIT}/pullRequests/{id}/threads/{thread}/comments/{comment}?{API}");
                    (path, json!({ "content": self.fill(text.unwrap_or_default()) }))
                }
                _ => {
                    let mut body = json!({});
                    for (from, to) in [("System.Title", "title"), ("System.Description", "description")] {
                        if let Some(value) = fields.get(from) {
                            body[to] = self.fill(value).into();
                        }
                    }
                    (format!("{GIT}/pullrequests/{id}?{API}"), body)
                }
            };
            self.send(who, "PATCH", &path, body).await;
            return;
        }
        let id = on.work_item.or(self.newest("work_item")).expect("there is a work item to edit");
        if let Some(text) = text {
            let comment = on.comment.or(self.newest("comment")).expect("there is a comment to edit");
            let path = format!(
                "/Fabrikam/_apis/wit/workItems/{id}/comments/{comment}?format=markdown&api-version=7.1-preview.4"
            );
            self.send(who, "PATCH", &path, json!({ "text": self.fill(text) })).await;
        }
        let patch: Vec<Value> = fields
            .iter()
            .map(|(name, value)| json!({ "op": "add", "path": format!("/fields/{name}"), "value": self.fill(value) }))
            .collect();
        if !patch.is_empty() {
            self.send(who, "PATCH", &format!("/_apis/wit/workitems/{id}?{API}"), Value::Array(patch)).await;
        }
    }

    /// A file of a branch, where it is there.
    pub async fn file(&self, branch: &str, path: &str) -> Option<String> {
        let path = encoded(&format!("/{}", path.trim_start_matches('/')));
        let query = format!(
            "path={path}&versionDescriptor.version={}&versionDescriptor.versionType=branch&includeContent=true&$format=json&{API}",
            encoded(branch)
        );
        let (status, found) = self.ask("alice", "GET", &format!("{GIT}/items?{query}"), &Value::Null).await;
        (status == 200).then(|| found["content"].as_str().unwrap_or_default().to_owned())
    }
}
