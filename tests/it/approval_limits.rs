//! What an approval cannot do: outlive its time, cover what moved, be given by those involved, happen
//! twice; and what people can do besides saying yes: change it, give leave for more, take it back,
//! break the glass.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{World, eventually};
use crate::house::root;
use crate::people::Browser;

const ASKS: &str = "Add a lint step to azure-pipelines.yml.";
const GIT: &str = "/Fabrikam/_apis/git/repositories/web-shop";

/// The rules that ship, with parts replaced wherever they stand.
fn rules(changes: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut text = std::fs::read_to_string(root().join("policies/default.toml")).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    std::fs::write(folder.path().join("policy.toml"), text).unwrap();
    folder
}

async fn world(rules: &tempfile::TempDir, more: &[(&'static str, &str)]) -> World {
    let file = rules.path().join("policy.toml");
    let mut settings = vec![("POLICY_FILE", file.to_str().unwrap())];
    settings.extend(more);
    World::with_people(&settings).await
}

async fn signed_in(world: &World, who: &str) -> Browser {
    let mut browser = Browser::new(&world.page);
    browser.sign_in(who).await;
    browser
}

/// Waits until a run waits for an approval; the approval.
async fn waits(world: &World, run: &str) -> Value {
    eventually("the run to ask", async || {
        let found = world.get("/api/approvals?state=pending").await;
        found["approvals"].as_array().unwrap().iter().find(|one| one["run"] == json!(run)).cloned()
    })
    .await
}

/// Begins the run that asks; its id and the approval.
async fn asked(world: &World) -> (String, Value) {
    let run = world.begin(ASKS).await;
    let approval = waits(world, &run).await;
    (run, approval)
}

async fn approval(world: &World, known: &Value) -> Value {
    world.get(&format!("/api/approvals/{}", known["id"].as_str().unwrap())).await
}

async fn in_state(world: &World, known: &Value, state: &str) -> Value {
    eventually(&format!("an approval that is {state}"), async || {
        Some(approval(world, known).await).filter(|one| one["state"] == json!(state))
    })
    .await
}

fn path(approval: &Value, what: &str) -> String {
    format!("/api/approvals/{}/{what}", approval["id"].as_str().unwrap())
}

fn yes(approval: &Value) -> Value {
    json!({ "decision": "approve", "digest": approval["digest"] })
}

async fn says(browser: &mut Browser, approval: &Value, decision: Value) -> (u16, Value) {
    let answer = browser.post(&path(approval, "decision"), decision).await;
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

/// Pushes to the branch that an approval is for: first lines of their commits.
async fn pushed(world: &World, approval: &Value) -> Vec<String> {
    let branch = approval["action"]["branch"].as_str().unwrap();
    let query = format!("{GIT}/commits?searchCriteria.itemVersion.version={branch}&api-version=7.1");
    let url = format!("{}{query}", world.organization);
    let request = world.http.get(url).basic_auth("alice", Some("demo-alice"));
    let answer = request.send().await.unwrap();
    if !answer.status().is_success() {
        return Vec::new();
    }
    let found: Value = answer.json().await.unwrap();
    let own = |commit: &&Value| commit["author"]["email"] == "ado-coworker@contoso.example";
    let commits = found["value"].as_array().unwrap().iter().filter(own);
    commits.map(|commit| commit["comment"].as_str().unwrap().lines().next().unwrap().to_owned()).collect()
}

async fn comments(world: &World, item: u64) -> Vec<String> {
    let path = format!("/Fabrikam/_apis/wit/workItems/{item}/comments?api-version=7.1-preview.4");
    let found = world.as_person("alice", "GET", &path, Value::Null).await;
    found["comments"].as_array().unwrap().iter().map(|one| one["text"].as_str().unwrap().to_owned()).collect()
}

/// Titles of work items that ask for the review of a broken glass.
async fn reviews(world: &World) -> Vec<String> {
    let body =
        json!({ "query": "SELECT [System.Id] FROM workitems WHERE [System.Title] CONTAINS 'broken glass'" });
    let found = world.as_person("alice", "POST", "/Fabrikam/_apis/wit/wiql?api-version=7.1", body).await;
    let mut titles = Vec::new();
    for item in found["workItems"].as_array().unwrap() {
        let path = format!("/Fabrikam/_apis/wit/workitems/{}?api-version=7.1", item["id"]);
        let item = world.as_person("alice", "GET", &path, Value::Null).await;
        titles.push(item["fields"]["System.Title"].as_str().unwrap().to_owned());
    }
    titles
}

async fn new_item(world: &World, who: &str) -> u64 {
    let url = format!("{}/Fabrikam/_apis/wit/workitems/$Issue?api-version=7.1", world.organization);
    let body = json!([{ "op": "add", "path": "/fields/System.Title", "value": "Talk about it" }]);
    let request = world.http.post(url).basic_auth(who, Some(format!("demo-{who}"))).body(body.to_string());
    let answer = request.header("content-type", "application/json-patch+json").send().await.unwrap();
    let made: Value = answer.json().await.unwrap();
    made["id"].as_u64().unwrap_or_else(|| panic!("{made}"))
}

async fn done(world: &World, run: &str) -> Value {
    let run = world.settled(run).await;
    assert_eq!(run["status"], "done", "{run:#}");
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn time_alone_never_approves() {
    let rules = rules(&[(
        "message = \"This changes what builds run.\"",
        "message = \"This changes what builds run.\"\nttl = \"2s\"",
    )]);
    let world = world(&rules, &[]).await;
    let mut alice = signed_in(&world, "alice").await;
    let (run, first) = asked(&world).await;
    in_state(&world, &first, "expired").await;
    let run = eventually("the run to go on without it", async || {
        Some(world.run(&run).await).filter(|run| run["status"] == "done")
    })
    .await;
    assert!(run["answer"].as_str().unwrap().contains("nobody decided in time"), "{run:#}");
    let (status, problem) = says(&mut alice, &first, yes(&first)).await;
    assert_eq!(status, 409, "{problem}");
    assert!(pushed(&world, &first).await.is_empty());
    assert_eq!(approval(&world, &first).await["state"], "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moved_since_it_was_asked_is_not_done() {
    let world = World::with_people(&[]).await;
    let (run, first) = asked(&world).await;
    // Somebody makes the branch that the push was to go to.
    let refs = world.as_person("alice", "GET", &format!("{GIT}/refs?filter=heads/main"), Value::Null).await;
    let name = format!("refs/heads/{}", first["action"]["branch"].as_str().unwrap());
    let made =
        json!([{ "name": name, "oldObjectId": "0".repeat(40), "newObjectId": refs["value"][0]["objectId"] }]);
    world.as_person("alice", "POST", &format!("{GIT}/refs?api-version=7.1"), made).await;
    let change = json!({ "changeType": "add", "item": { "path": "/alice.txt" },
        "newContent": { "content": "alice", "contentType": "rawtext" } });
    let push = json!({ "refUpdates": [{ "name": name, "oldObjectId": refs["value"][0]["objectId"] }],
        "commits": [{ "comment": "Alice was here", "changes": [change] }] });
    world.as_person("alice", "POST", &format!("{GIT}/pushes?api-version=7.1"), push).await;
    let mut alice = signed_in(&world, "alice").await;
    let (status, answer) = says(&mut alice, &first, yes(&first)).await;
    assert_eq!(status, 200, "{answer}");
    let ended = in_state(&world, &first, "superseded").await;
    assert!(!ended["reason"].as_str().unwrap().is_empty(), "{ended:#}");
    assert!(pushed(&world, &first).await.is_empty());
    let run = world.settled(&run).await;
    assert_ne!(run["status"], "failed", "the model is told in words: {run:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_between_yes_and_done_makes_it_once() {
    let mut world = World::with_people(&[]).await;
    // At once after the yes; and while the answer to the push is on its way.
    for slow in [false, true] {
        let (run, first) = asked(&world).await;
        let mut alice = signed_in(&world, "alice").await;
        if slow {
            let fault = json!({ "route": "POST pushes", "nth": 1, "kind": "reset_after", "args": {} });
            world.fault(fault).await;
        }
        let (status, answer) = says(&mut alice, &first, yes(&first)).await;
        assert_eq!(status, 200, "{answer}");
        if slow {
            eventually("the push", async || (!pushed(&world, &first).await.is_empty()).then_some(())).await;
        }
        world.kill_and_restart().await;
        let run = done(&world, &run).await;
        assert_eq!(pushed(&world, &first).await.len(), 1, "{run:#}");
        assert_eq!(approval(&world, &first).await["state"], "executed");
        let branch = first["action"]["branch"].as_str().unwrap();
        let found =
            world.as_person("alice", "GET", &format!("{GIT}/refs?filter=heads/{branch}"), Value::Null).await;
        assert_eq!(found["value"].as_array().unwrap().len(), 1, "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_people_at_once_one_decides_and_the_other_is_told() {
    let world = World::with_people(&[]).await;
    let (run, first) = asked(&world).await;
    let (mut alice, mut carol) = (signed_in(&world, "alice").await, signed_in(&world, "carol").await);
    let no = json!({ "decision": "deny", "digest": first["digest"], "reason": "Not today." });
    let ((yes_status, yes_told), (no_status, no_told)) =
        tokio::join!(says(&mut alice, &first, yes(&first)), says(&mut carol, &first, no));
    let loser = match (yes_status, no_status) {
        (200, 409) => no_told,
        (409, 200) => yes_told,
        other => panic!("{other:?}: {yes_told} {no_told}"),
    };
    let words = loser["detail"].as_str().unwrap();
    assert!(words.contains("already") && !loser["remedy"].as_str().unwrap().is_empty(), "{loser}");
    let run = done(&world, &run).await;
    assert_eq!(pushed(&world, &first).await.len(), usize::from(yes_status == 200), "{run:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_involved_does_not_decide_and_neither_does_an_agent() {
    let world = World::with_people(&[]).await;
    let (mut alice, mut carol) = (signed_in(&world, "alice").await, signed_in(&world, "carol").await);
    // Alice is an administrator, and gave the order.
    let answer = alice.post("/api/runs", json!({ "instruction": ASKS })).await;
    let made: Value = answer.json().await.unwrap();
    let own = waits(&world, made["id"].as_str().unwrap()).await;
    for decision in [
        yes(&own),
        json!({ "decision": "approve", "digest": own["digest"], "ticket": "INC-1",
        "reason": "It is an emergency, believe me." }),
    ] {
        let (status, problem) = says(&mut alice, &own, decision).await;
        assert_eq!(status, 403, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("nobody approves their own work"), "{problem}");
    }
    // The co-worker's own token, as anybody on this machine could take it from the sidecar.
    let token = world.agent_token().await;
    let url = format!("{}{}", world.page, path(&own, "decision"));
    let answer = world.http.post(url).bearer_auth(token).json(&yes(&own)).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    let (status, problem) = world.post(&path(&own, "decision"), yes(&own)).await;
    assert_eq!(status, 403, "the local person is not signed in: {problem}");
    assert_eq!(approval(&world, &own).await["state"], "pending");
    let mut bob = signed_in(&world, "bob").await;
    assert_eq!(says(&mut bob, &own, yes(&own)).await.0, 403, "bob is no approver");
    assert_eq!(says(&mut carol, &own, yes(&own)).await.0, 200);
    in_state(&world, &own, "executed").await;
    done(&world, made["id"].as_str().unwrap()).await;

    // Bob's order; but the co-worker has read what carol wrote before it asks.
    let item = new_item(&world, "carol").await;
    let read = json!({ "name": "get_work_item", "arguments": { "id": item } });
    let queue = json!({ "name": "queue_build", "arguments": { "branch": "main", "definition": null } });
    world
        .script(json!([
            { "kind": "calls", "calls": [read] },
            { "kind": "calls", "calls": [queue] },
            { "kind": "reply", "text": "It waits." }
        ]))
        .await;
    let run = world.begin("Look at what carol wants and build it.").await;
    let tainted = waits(&world, &run).await;
    assert!(!tainted["taint"].as_array().unwrap().is_empty(), "{tainted:#}");
    let (status, problem) = says(&mut carol, &tainted, yes(&tainted)).await;
    assert_eq!(status, 403, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("wrote a text"), "{problem}");
    assert_eq!(says(&mut alice, &tainted, yes(&tainted)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_may_change_it_and_the_model_is_told() {
    let world = World::with_people(&[]).await;
    let (run, first) = asked(&world).await;
    let mut alice = signed_in(&world, "alice").await;
    let change = |edits: Value| json!({ "decision": "approve", "digest": first["digest"], "edits": edits });
    for bad in
        [json!({ "branch": "main" }), json!({ "files": ["/other.txt"] }), json!({ "title": "two\nlines" })]
    {
        let (status, problem) = says(&mut alice, &first, change(bad)).await;
        assert_eq!(status, 422, "{problem}");
    }
    let (status, answer) = says(&mut alice, &first, change(json!({ "title": "Lint in the build" }))).await;
    assert_eq!(status, 200, "{answer}");
    assert_ne!(answer["digest"], first["digest"], "another action");
    done(&world, &run).await;
    assert_eq!(pushed(&world, &first).await, ["Lint in the build"]);
    let record = world.get(&format!("/api/audit/{run}")).await.to_string();
    assert!(record.contains("Lint in the build"));
    // What the run shows is what was done, not what was asked for.
    let shown = world.run(&run).await;
    let commit = shown["links"].as_array().unwrap().iter().find(|link| link["kind"] == "commit").unwrap();
    assert!(commit["title"].as_str().unwrap().ends_with(": Lint in the build"), "{commit}");

    // Further than what was asked for: one more person has to agree.
    let (_, second) = asked(&world).await;
    let edits = json!({ "decision": "approve", "digest": second["digest"], "edits": { "branch": "agent/elsewhere" } });
    let (status, wider) = says(&mut alice, &second, edits).await;
    assert_eq!((status, &wider["state"]), (200, &json!("partially_approved")), "{wider:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leave_for_more_has_caps_and_can_be_taken_back() {
    let asks = "[[rule]]\nid = \"ask-comments\"\neffect = \"ask\"\naction = [\"work_item.comment\"]\ngrant = \"window\"\n\n[[rule]]\nid = \"read\"";
    let rules = rules(&[("[[rule]]\nid = \"read\"", asks)]);
    let world = world(&rules, &[]).await;
    let item = new_item(&world, "bob").await;
    let say = |text: &str| json!({ "kind": "calls", "calls": [{ "name": "comment_on_work_item", "arguments": { "id": item, "text": text } }] });
    let stop = json!({ "kind": "reply", "text": "It waits." });
    world.script(json!([say("one"), stop])).await;
    let run = world.begin(&format!("Comment on work item {item}.")).await;
    let first = waits(&world, &run).await;
    let mut alice = signed_in(&world, "alice").await;
    let leave = |approval: &Value, kind: &str, uses: u32| json!({ "decision": "approve", "digest": approval["digest"], "grant": { "kind": kind, "minutes": 10, "uses": uses } });
    assert_eq!(says(&mut alice, &first, leave(&first, "window", 99)).await.0, 422, "over the cap");
    world.script(json!([say("two"), say("three"), stop])).await;
    assert_eq!(says(&mut alice, &first, leave(&first, "window", 1)).await.0, 200);
    let second = waits(&world, &run).await;
    assert_ne!(second["id"], first["id"]);
    let texts = comments(&world, item).await.join("\n");
    assert!(texts.contains("one") && texts.contains("two") && !texts.contains("three"), "{texts}");
    let used = approval(&world, &first).await["granted"].clone();
    assert_eq!(
        (&used["uses"], &used["left"], &used["open"]),
        (&json!(1), &json!(0), &json!(false)),
        "{used}"
    );

    // Given again, shown on the page, and taken back.
    world.script(json!([stop])).await;
    assert_eq!(says(&mut alice, &second, leave(&second, "window", 5)).await.0, 200);
    in_state(&world, &second, "executed").await;
    let page = alice.text("/approvals").await;
    assert!(page.contains("5 of 5 uses left") && page.contains("End it now"), "{page}");
    let mut bob = signed_in(&world, "bob").await;
    assert_eq!(bob.post(&path(&second, "revoke"), json!({})).await.status(), 403);
    let answer = alice.post(&path(&second, "revoke"), json!({ "reason": "That is enough." })).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    assert_eq!(alice.post(&path(&second, "revoke"), json!({})).await.status(), 409, "only once");
    let ended = approval(&world, &second).await["granted"].clone();
    assert!(ended["ended"].as_str().unwrap().contains("That is enough."), "{ended}");
    world.settled(&run).await;
    world.script(json!([say("four"), stop])).await;
    let (status, _) = world.post(&format!("/api/runs/{run}/messages"), json!({ "text": "Once more." })).await;
    assert_eq!(status, 202);
    waits(&world, &run).await;
    assert!(!comments(&world, item).await.join("\n").contains("four"));
    let record = world.get(&format!("/api/audit/{run}")).await.to_string();
    assert!(record.contains("grant_used") && record.contains("grant_ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_is_taken_back_before_it_is_carried_out() {
    let world = World::with_people(&[]).await;
    let (run, first) = asked(&world).await;
    let mut alice = signed_in(&world, "alice").await;
    world.fault(json!({ "route": "*", "nth": 0, "kind": "server_error", "args": {} })).await;
    assert_eq!(says(&mut alice, &first, yes(&first)).await.0, 200);
    let answer = alice.post(&path(&first, "revoke"), json!({ "reason": "I misread it." })).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    world.heal().await;
    let run = done(&world, &run).await;
    assert!(run["answer"].as_str().unwrap().contains("not done after all"), "{run:#}");
    let ended = approval(&world, &first).await;
    assert_eq!(ended["state"], "revoked");
    assert_eq!(ended["reason"], "Alice Martin took it back. I misread it.");
    assert!(pushed(&world, &first).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_may_want_a_reason() {
    let text = "message = \"This changes what builds run.\"";
    let rules = rules(&[(text, &format!("{text}\nrequire_reason = true"))]);
    let world = world(&rules, &[]).await;
    let (_, first) = asked(&world).await;
    let mut alice = signed_in(&world, "alice").await;
    let card = alice.text(&format!("/approvals/{}", first["id"].as_str().unwrap())).await;
    assert!(card.contains("the rule wants one"), "{card}");
    assert_eq!(says(&mut alice, &first, yes(&first)).await.0, 422);
    let mut reasoned = yes(&first);
    reasoned["reason"] = json!("The team wants it.");
    assert_eq!(says(&mut alice, &first, reasoned).await.0, 200);
}

/// Takes notices as a chat tool would; gives its address and what it got.
async fn chat_tool() -> (String, Arc<Mutex<Vec<Value>>>) {
    let got: Arc<Mutex<Vec<Value>>> = Arc::default();
    let keep = got.clone();
    let take = axum::routing::post(async move |axum::Json(body): axum::Json<Value>| {
        keep.lock().unwrap_or_else(PoisonError::into_inner).push(body);
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/hook", take)).await });
    (url, got)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_glass_is_told_and_reviewed_once() {
    let (url, got) = chat_tool().await;
    let mut world = World::with_people(&[("NOTIFY_URL", &url)]).await;
    let (run, first) = asked(&world).await;
    let mut alice = signed_in(&world, "alice").await;
    let broken = |ticket: &str, reason: &str| json!({ "decision": "approve", "digest": first["digest"], "ticket": ticket, "reason": reason });
    assert_eq!(says(&mut alice, &first, broken("INC-7", "too short")).await.0, 422);
    let mut carol = signed_in(&world, "carol").await;
    let reason = "The build is down and customers wait.";
    assert_eq!(says(&mut carol, &first, broken("INC-7", reason)).await.0, 403, "carol may not");
    let (status, answer) = says(&mut alice, &first, broken("INC-7", reason)).await;
    assert_eq!(status, 200, "{answer}");
    world.kill_and_restart().await;
    let run = done(&world, &run).await;
    assert_eq!(pushed(&world, &first).await.len(), 1);
    let code = first["code"].as_str().unwrap();
    let made = reviews(&world).await;
    assert!(made.len() == 1 && made[0].contains(code), "{made:?}");
    let title = format!("Review of {code}");
    assert!(run["links"].as_array().unwrap().iter().any(|link| link["title"] == json!(title)), "{run:#}");
    let record = world.get(&format!("/api/audit/{}", run["id"].as_str().unwrap())).await.to_string();
    assert!(record.contains("review_asked") && record.contains("built-in: notice"));
    let told = eventually("the notice", async || {
        let got = got.lock().unwrap_or_else(PoisonError::into_inner);
        got.iter().find(|notice| notice["kind"] == "glass_broken").cloned()
    })
    .await;
    let words = told["text"].as_str().unwrap();
    assert!(words.contains("Alice Martin") && words.contains("INC-7") && words.contains(code), "{words}");
    let page = alice_again(&world, &first).await;
    assert!(page.contains("The glass was broken for this, ticket INC-7"), "{page}");
    // Words for the run later on ask for nothing anew.
    let (status, _) = world
        .post(&format!("/api/runs/{}/messages", run["id"].as_str().unwrap()), json!({ "text": "Thanks." }))
        .await;
    assert_eq!(status, 202);
    world.settled(run["id"].as_str().unwrap()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(reviews(&world).await.len(), 1);
}

async fn alice_again(world: &World, known: &Value) -> String {
    let mut alice = signed_in(world, "alice").await;
    alice.text(&format!("/approvals/{}", known["id"].as_str().unwrap())).await
}
