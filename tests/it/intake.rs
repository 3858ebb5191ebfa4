//! Events from service hooks and found by looking: who may instruct, what begins work, what is told,
//! what is ignored, and that nothing begins work twice.

use serde_json::{Value, json};

use crate::harness::{HOOK, World, eventually};

const SENTENCE: &str =
    "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it.";
const API: &str = "api-version=7.1";
const GIT: &str = "/Fabrikam/_apis/git/repositories/web-shop";
/// Every event type that a team would subscribe to.
const TYPES: [(&str, &str); 9] = [
    ("git.push", "1.0"),
    ("git.pullrequest.created", "1.0"),
    ("git.pullrequest.updated", "1.0"),
    ("git.pullrequest.merged", "1.0"),
    ("ms.vss-code.git-pullrequest-comment-event", "2.0"),
    ("workitem.created", "1.0"),
    ("workitem.updated", "1.0"),
    ("workitem.commented", "1.0"),
    ("build.complete", "1.0"),
];

impl World {
    async fn send(&self, who: &str, method: &str, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.organization);
        let request = self.http.request(method.parse().unwrap(), &url);
        let request = request.basic_auth(who, Some(format!("demo-{who}")));
        let request = match (path.contains("/wit/workitems/"), body.is_null()) {
            (_, true) => request,
            (true, _) => request.header("content-type", "application/json-patch+json").body(body.to_string()),
            (false, _) => request.json(&body),
        };
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{method} {url} answered {status}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Subscribes the co-worker to everything, by `times` subscriptions for each type.
    async fn subscribe(&self, times: usize) {
        for (kind, version) in TYPES {
            for _ in 0..times {
                let body = json!({
                    "publisherId": "tfs", "eventType": kind, "resourceVersion": version,
                    "consumerId": "webHooks", "consumerActionId": "httpRequest", "publisherInputs": {},
                    "consumerInputs": {
                        "url": format!("{}/webhooks/azure-devops", self.page),
                        "basicAuthUsername": HOOK.0, "basicAuthPassword": HOOK.1,
                    },
                });
                self.send("alice", "POST", &format!("/_apis/hooks/subscriptions?{API}"), body).await;
            }
        }
    }

    /// Adds somebody to the organisation; their identity id.
    async fn newcomer(&self, body: Value) -> String {
        let host = url::Url::parse(&self.organization).unwrap().origin().ascii_serialization();
        let answer = self.http.post(format!("{host}/_simulator/people")).json(&body).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// The co-worker's identity id in the organisation.
    async fn own_id(&self) -> String {
        let found = self
            .send(
                "alice",
                "GET",
                &format!("/_apis/identities?searchFilter=General&filterValue=ado-coworker&{API}"),
                Value::Null,
            )
            .await;
        found["value"][0]["id"].as_str().unwrap().to_owned()
    }

    /// A pull request of the co-worker: number and branch.
    async fn own_pull_request(&self) -> (u64, String) {
        let run = self.order(SENTENCE).await;
        assert_eq!(run["status"], "done", "{run:#}");
        let found = self.send("alice", "GET", &format!("{GIT}/pullrequests?{API}"), Value::Null).await;
        let found = &found["value"][0];
        (found["pullRequestId"].as_u64().unwrap(), found["sourceRefName"].as_str().unwrap().to_owned())
    }

    /// A pull request of bob's.
    async fn bobs_pull_request(&self, branch: &str, more: Value) -> u64 {
        let main = self.send("bob", "GET", &format!("{GIT}/refs?filter=heads/main&{API}"), Value::Null).await;
        let main = main["value"][0]["objectId"].clone();
        self.push("bob", &format!("refs/heads/{branch}"), main, "notes.md").await;
        let mut body = json!({
            "sourceRefName": format!("refs/heads/{branch}"), "targetRefName": "refs/heads/main", "title": "Notes",
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let made = self.send("bob", "POST", &format!("{GIT}/pullrequests?{API}"), body).await;
        made["pullRequestId"].as_u64().unwrap()
    }

    async fn push(&self, who: &str, branch: &str, tip: Value, file: &str) {
        let body = json!({
            "refUpdates": [{"name": branch, "oldObjectId": tip}],
            "commits": [{"comment": "notes", "changes": [{
                "changeType": "add", "item": {"path": format!("/{file}")},
                "newContent": {"content": "notes\n", "contentType": "rawtext"},
            }]}],
        });
        self.send(who, "POST", &format!("{GIT}/pushes?{API}"), body).await;
    }

    async fn comment(&self, who: &str, pull_request: u64, text: &str) -> u64 {
        let path = format!("{GIT}/pullRequests/{pull_request}/threads?{API}");
        let body = json!({"comments": [{"parentCommentId": 0, "content": text, "commentType": "text"}], "status": "active"});
        self.send(who, "POST", &path, body).await["id"].as_u64().unwrap()
    }

    async fn events(&self) -> Vec<Value> {
        let all = self.http.get(format!("{}/api/events?limit=200", self.page)).send().await.unwrap();
        all.json::<Value>().await.unwrap()["events"].as_array().unwrap().clone()
    }

    /// The event with this in its reason, once there is one.
    async fn ignored_because(&self, reason: &str) -> Value {
        eventually(&format!("an event ignored because '{reason}'"), async || {
            let events = self.events().await;
            let found =
                |e: &&Value| e["status"] == "ignored" && e["reason"].as_str().unwrap().contains(reason);
            events.iter().find(found).cloned()
        })
        .await
    }

    /// Runs that events began.
    async fn woken(&self) -> Vec<Value> {
        let all = self.http.get(format!("{}/api/runs?limit=100", self.page)).send().await.unwrap();
        let all: Value = all.json().await.unwrap();
        all["runs"].as_array().unwrap().iter().filter(|run| run["source"] == "webhook").cloned().collect()
    }

    /// The only run that events began, when it has ended.
    async fn woken_run(&self) -> Value {
        let id = eventually("a run that an event began", async || {
            self.woken().await.first().map(|run| run["id"].as_str().unwrap().to_owned())
        })
        .await;
        self.settled(&id).await
    }

    /// Everything that the model was asked.
    async fn requests(&self) -> String {
        let url = format!("{}/_simulator/requests", self.model.trim_end_matches('/'));
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }
}

fn reply(text: &str) -> Value {
    json!({ "kind": "reply", "text": text })
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_webhook_a_comment_is_found_and_answered() {
    let world = World::start_set("0", &[("TRIGGERS", "poll")]).await;
    let (pull_request, _) = world.own_pull_request().await;
    let thread = world.comment("alice", pull_request, "make the timeout configurable").await;
    let run = world.woken_run().await;
    assert_eq!(run["status"], "done", "{run:#}");
    let path = format!("{GIT}/pullRequests/{pull_request}/threads/{thread}?{API}");
    let found = world.send("alice", "GET", &path, Value::Null).await;
    assert_eq!(found["status"], "fixed", "{found:#}");
    let events = world.events().await;
    let summary = format!("comment on pull request {pull_request}, found by looking");
    let found = events.iter().find(|event| event["run"] == run["id"] && event["summary"] == summary.as_str());
    assert!(found.is_some(), "{events:#?}");
    let checks = world.http.get(format!("{}/api/doctor", world.page)).send().await.unwrap();
    let checks: Value = checks.json().await.unwrap();
    let looking = checks["checks"].as_array().unwrap().iter().find(|check| check["id"] == "looking").unwrap();
    assert!(
        looking["status"] == "ok" && looking["reason"].as_str().unwrap().contains("Looking has found"),
        "{looking:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_comments_are_one_run_that_sees_all_ten_and_each_is_judged_once() {
    let world = World::start().await;
    // Project-level and repository-level subscriptions bring everything twice.
    world.subscribe(2).await;
    let (pull_request, _) = world.own_pull_request().await;
    world
        .script(json!([reply("I have read them."), reply("I have read the rest."), reply("And more.")]))
        .await;
    for n in 0..10 {
        world.comment("alice", pull_request, &format!("remark number {n}, please mind it")).await;
    }
    let run = world.woken_run().await;
    let told = eventually("the model to be told all ten", async || {
        let requests = world.requests().await;
        (0..10).all(|n| requests.contains(&format!("remark number {n},"))).then_some(requests)
    })
    .await;
    assert!(told.contains("commented in thread"));
    eventually("every event to be judged", async || {
        world.events().await.iter().all(|event| event["status"] != "received").then_some(())
    })
    .await;
    assert_eq!(world.woken().await.len(), 1, "{:#?}", world.woken().await);

    // The same comment in another delivery: another event id, the same version.
    let (thread, before) = (1, world.events().await.len());
    let repository = world.send("alice", "GET", &format!("{GIT}?{API}"), Value::Null).await["id"].clone();
    let threads = world
        .send("alice", "GET", &format!("{GIT}/pullRequests/{pull_request}/threads?{API}"), Value::Null)
        .await;
    let threads = threads["value"].as_array().unwrap();
    let said = threads
        .iter()
        .find(|t| t["comments"][0]["content"].as_str().unwrap_or_default().contains("number 3,"));
    let id = said.map_or(thread, |t| t["id"].as_u64().unwrap());
    let body = json!({
        "id": "9e8f0a4e-0000-4000-8000-00000000000a", "eventType": "ms.vss-code.git-pullrequest-comment-event",
        "resource": {
            "comment": {"id": 1, "_links": {"threads": {"href": format!("http://x/_apis/git/repositories/{}/pullRequests/{pull_request}/threads/{id}", repository.as_str().unwrap())}}},
            "pullRequest": {"pullRequestId": pull_request, "repository": {"id": repository}},
        },
    });
    let request =
        world.http.post(format!("{}/webhooks/azure-devops", world.page)).basic_auth(HOOK.0, Some(HOOK.1));
    assert_eq!(request.json(&body).send().await.unwrap().status(), 200);
    world.ignored_because("judged already").await;
    assert_eq!(world.events().await.len(), before + 1);
    assert_eq!(world.settled(run["id"].as_str().unwrap()).await["status"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_people_of_the_project_instruct_and_names_prove_nothing() {
    let world = World::start().await;
    world.subscribe(1).await;
    let (pull_request, _) = world.own_pull_request().await;
    world.newcomer(json!({"name": "mallory", "display_name": "Alice Martin", "project": "Fabrikam"})).await;
    world.newcomer(json!({"name": "robot", "display_name": "Build Service", "project": "Fabrikam", "is_service": true, "in_team": true})).await;
    world.comment("mallory", pull_request, "complete this pull request").await;
    world.ignored_because("Alice Martin is not a member of the project Fabrikam").await;
    world.comment("robot", pull_request, "do as I say").await;
    world.ignored_because("is a service account").await;
    assert!(world.woken().await.is_empty());

    world.script(json!([reply("Yes.")])).await;
    world.comment("alice", pull_request, "is this right?").await;
    let run = world.woken_run().await;
    assert_eq!((&run["status"], &run["requested_by"]), (&json!("done"), &json!("Alice Martin")));
    world.comment("alice", pull_request, "thanks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_narrow_who_instructs() {
    let world = World::start_set("0", &[("ROLE_GROUPS", "instructor=Release Managers")]).await;
    world.subscribe(1).await;
    let (pull_request, _) = world.own_pull_request().await;
    world.comment("alice", pull_request, "make the timeout configurable").await;
    world.ignored_because("is in no group that may instruct").await;
    let world = World::start_set("0", &[("ROLE_GROUPS", "instructor=[Fabrikam]\\Fabrikam Team")]).await;
    world.subscribe(1).await;
    let (pull_request, _) = world.own_pull_request().await;
    world.script(json!([reply("Yes.")])).await;
    world.comment("alice", pull_request, "is this right?").await;
    assert_eq!(world.woken_run().await["status"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_item_is_worked_on_when_it_is_assigned_and_only_then() {
    let world = World::start().await;
    world.subscribe(1).await;
    let made = json!([{"op": "add", "path": "/fields/System.Title", "value": "Colours are off"}]);
    let item = world.send("bob", "POST", &format!("/Fabrikam/_apis/wit/workitems/$Issue?{API}"), made).await;
    let item = item["id"].as_u64().unwrap();
    world.ignored_because("not newly assigned").await;
    world.script(json!([reply("I will look at the colours.")])).await;
    let path = format!("/Fabrikam/_apis/wit/workitems/{item}?{API}");
    let assigned =
        json!([{"op": "add", "path": "/fields/System.AssignedTo", "value": "ado-coworker@contoso.example"}]);
    world.send("bob", "PATCH", &path, assigned).await;
    let run = world.woken_run().await;
    assert_eq!((&run["status"], &run["requested_by"]), (&json!("done"), &json!("Bob Keller")), "{run:#}");
    assert!(
        run["instruction"]
            .as_str()
            .unwrap()
            .starts_with(&format!("Work item {item}: Bob Keller assigned it to you"))
    );
    // Others go on changing it.
    let changed = json!([{"op": "add", "path": "/fields/System.Tags", "value": "colour"}]);
    world.send("carol", "PATCH", &path, changed).await;
    world.ignored_because("judged already").await;
    assert_eq!(world.woken().await.len(), 1);

    // A mention in its discussion, by identity.
    let me = world.own_id().await;
    world.script(json!([reply("Answered.")])).await;
    let comments =
        format!("/Fabrikam/_apis/wit/workItems/{item}/comments?format=markdown&api-version=7.1-preview.4");
    world.send("carol", "POST", &comments, json!({"text": "@ado-coworker is it done?"})).await;
    world
        .send("carol", "POST", &comments, json!({"text": format!("@<{me}> which colours do you mean?")}))
        .await;
    eventually("the mention to reach the model", async || {
        world.requests().await.contains("which colours do you mean?").then_some(())
    })
    .await;
    assert!(!world.requests().await.contains("is it done?"));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_pull_requests_are_looked_at_when_asked() {
    let world = World::start().await;
    world.subscribe(1).await;
    let me = world.own_id().await;
    let quiet = world.bobs_pull_request("bob/quiet", json!({})).await;
    world.ignored_because("neither a reviewer").await;
    world.comment("alice", quiet, "ado-coworker should see this").await;
    world.ignored_because("does not mention it").await;
    assert!(world.woken().await.is_empty());

    world.script(json!([reply("Looks right to me.")])).await;
    let reviewed = world.bobs_pull_request("bob/review", json!({"reviewers": [{"id": me}]})).await;
    let run = world.woken_run().await;
    assert_eq!(run["instruction"], format!("Pull request {reviewed}: Bob Keller asks you for a review."));
    assert!(world.requests().await.contains("never vote"), "the playbook of reviews is given");

    world.script(json!([reply("Here I am.")])).await;
    world.comment("alice", quiet, &format!("@<{}> what do you think?", me.to_uppercase())).await;
    eventually("the mention to reach the model", async || {
        world.requests().await.contains("what do you think?").then_some(())
    })
    .await;
    let run = eventually("the run about the mention", async || {
        world
            .woken()
            .await
            .into_iter()
            .find(|run| run["instruction"].as_str().unwrap().contains("mentioned you in thread"))
    })
    .await;
    assert_eq!(world.settled(run["id"].as_str().unwrap()).await["status"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_told_of_pushes_and_ends_with_its_pull_request() {
    let world = World::start().await;
    world.subscribe(1).await;
    let (pull_request, branch) = world.own_pull_request().await;
    world.script(json!([
        { "kind": "calls", "calls": [{ "name": "ask_person", "arguments": { "question": "Which one?" } }] },
        reply("Noted."),
        { "kind": "calls", "calls": [{ "name": "ask_person", "arguments": { "question": "And now?" } }] },
    ])).await;
    world.comment("alice", pull_request, "please change it").await;
    let run = world.woken_run().await;
    assert_eq!(run["waiting_for"], "person", "{run:#}");
    let id = run["id"].as_str().unwrap().to_owned();

    let filter = branch.trim_start_matches("refs/");
    let tip = world.send("bob", "GET", &format!("{GIT}/refs?filter={filter}&{API}"), Value::Null).await;
    world.push("bob", &branch, tip["value"][0]["objectId"].clone(), "bobs-notes.md").await;
    eventually("the run to be told of the push", async || {
        world.requests().await.contains("Bob Keller pushed to the branch").then_some(())
    })
    .await;
    // The answer to the push ended the run; another comment sends it on, and it asks again.
    world.comment("alice", pull_request, "go on").await;
    eventually("the run to wait again", async || {
        (world.run(&id).await["waiting_for"] == "person").then_some(())
    })
    .await;
    let path = format!("{GIT}/pullrequests/{pull_request}?{API}");
    world.send("alice", "PATCH", &path, json!({"status": "abandoned"})).await;
    let run = eventually("the run to end", async || {
        let run = world.run(&id).await;
        (run["status"] == "cancelled").then_some(run)
    })
    .await;
    assert_eq!(run["answer"], "Stopped by the end of its pull request.");
    assert!(world.events().await.iter().any(|e| e["status"] == "merged" && e["reason"].as_str().unwrap_or_default().contains("given up")));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_builds_of_its_own_are_repaired_three_times_and_no_more() {
    let world = World::start().await;
    world.subscribe(1).await;
    let (pull_request, branch) = world.own_pull_request().await;
    let repository = world.send("alice", "GET", &format!("{GIT}?{API}"), Value::Null).await["id"].clone();
    let definition = json!({
        "name": "always red", "repository": {"id": repository}, "process": {"yamlFilename": "/azure-pipelines.yml"},
        "simulatorChecks": [{"step": "Check", "name": "is never there", "kind": "contains", "files": "README.md", "text": "never there"}],
    });
    let definition =
        world.send("alice", "POST", &format!("/Fabrikam/_apis/build/definitions?{API}"), definition).await;
    for n in 1..=4 {
        world.script(json!([reply(&format!("Looked at failure {n}."))])).await;
        let build = json!({"definition": {"id": definition["id"]}, "sourceBranch": branch});
        let build = world.send("alice", "POST", &format!("/Fabrikam/_apis/build/builds?{API}"), build).await;
        if n == 4 {
            break;
        }
        let words = format!("Pull request {pull_request}: build {}", build["id"]);
        eventually(&format!("failure {n} to reach the model"), async || {
            world.requests().await.contains(&words).then_some(())
        })
        .await;
        eventually("the runs to end", async || {
            world.woken().await.iter().all(|run| run["status"] == "done").then_some(())
        })
        .await;
    }
    world.ignored_because("3 repairs were tried").await;
    let first = world.woken().await.pop().unwrap();
    assert!(first["instruction"].as_str().unwrap().contains("failed. Look into it."), "{first:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_events_is_narrowed_and_paged() {
    let world = World::start().await;
    for n in 0..5 {
        let body = json!({"id": format!("e{n}"), "eventType": "tfvc.checkin"});
        let request =
            world.http.post(format!("{}/webhooks/azure-devops", world.page)).header("X-Hook-Key", HOOK.1);
        assert_eq!(request.json(&body).send().await.unwrap().status(), 200);
    }
    let wrong = world
        .http
        .post(format!("{}/webhooks/azure-devops", world.page))
        .header("X-Hook-Key", "x")
        .send()
        .await;
    assert_eq!(wrong.unwrap().status(), 401);
    // Too much is refused in words, also to who is still sending.
    let request =
        world.http.post(format!("{}/webhooks/azure-devops", world.page)).header("X-Hook-Key", HOOK.1);
    let answer = request.body(vec![b' '; 9 * 1024 * 1024]).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    assert!(answer.text().await.unwrap().contains("4194304"));
    let get =
        async |url: String| -> Value { world.http.get(url).send().await.unwrap().json().await.unwrap() };
    let (mut url, mut seen) = (format!("{}/api/events?status=ignored&limit=2", world.page), Vec::new());
    loop {
        let page = get(url).await;
        seen.extend(page["events"].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().to_owned()));
        match page["older"].as_str() {
            Some(older) => url = older.to_owned(),
            None => break,
        }
    }
    let all = seen.len();
    seen.dedup();
    assert_eq!((all, seen.len()), (5, 5), "each once: {seen:?}");
    assert_eq!(get(format!("{}/api/events?status=running", world.page)).await["events"], json!([]));
    let bad = world.http.get(format!("{}/api/events?status=lost", world.page)).send().await.unwrap();
    assert_eq!(bad.status(), 400);
    let page = world
        .http
        .get(format!("{}/events?status=ignored", world.page))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(page.contains("Events of type tfvc.checkin are not acted on.") && page.contains("aria-current"));
}
