//! An answer that never comes, before or after the effect: nothing is made twice, nothing is lost.

use serde_json::{Value, json};

use crate::harness::{World, eventually};

const SENTENCE: &str =
    "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it.";

/// Every write of the main job.
const ROUTES: [&str; 4] = ["POST /wit/workitems/$", "POST refs", "POST pushes", "POST pullrequests"];

async fn as_alice(world: &World, method: &str, path: &str, body: Value) -> Value {
    let url = format!("{}{path}", world.organization);
    let request = world.http.request(method.parse().unwrap(), url).basic_auth("alice", Some("demo-alice"));
    let response = if body.is_null() { request.send() } else { request.json(&body).send() };
    response.await.unwrap().json().await.unwrap()
}

/// One work item, one pull request, one commit.
pub async fn check_made_once(world: &World) {
    let wiql =
        json!({ "query": "SELECT [System.Id] FROM workitems WHERE [System.Title] = 'Fix login timeout'" });
    let found = as_alice(world, "POST", "/Fabrikam/_apis/wit/wiql?api-version=7.1", wiql).await;
    assert_eq!(found["workItems"].as_array().unwrap().len(), 1, "{found:#}");
    let pulls = as_alice(world, "GET", "/Fabrikam/_apis/git/pullrequests?api-version=7.1", Value::Null).await;
    assert_eq!(pulls["count"], 1, "{pulls:#}");
    let id = pulls["value"][0]["pullRequestId"].as_u64().unwrap();
    let path = format!("/Fabrikam/_apis/git/repositories/web-shop/pullRequests/{id}/commits?api-version=7.1");
    let commits = as_alice(world, "GET", &path, Value::Null).await;
    assert_eq!(commits["count"], 1, "{commits:#}");
}

/// Every write of the main job loses its answer once.
async fn every_write_with(kind: &str) {
    let world = World::start().await;
    for route in ROUTES {
        world.fault(json!({ "route": route, "nth": 1, "kind": kind, "args": {} })).await;
    }
    let run = world.order(SENTENCE).await;
    assert_eq!(run["status"], "done", "{run:#}");
    check_made_once(&world).await;
    let armed = world.faults().await;
    assert_eq!(armed.to_string().matches("\"fired\":1").count(), ROUTES.len(), "{armed:#}");
    let trouble = run["steps"].as_array().unwrap().iter().filter(|step| step["status"] == "failed").count();
    match kind {
        // The effect is found at the target, and the run goes on at once.
        "reset_after" => assert_eq!(trouble, 0, "{run:#}"),
        // Nothing was there: each write was made after a pause.
        _ => assert!(trouble >= ROUTES.len(), "each fault was told: {run:#}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_found_and_not_repeated() {
    every_write_with("reset_after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_never_arrived_is_made_later() {
    every_write_with("reset_before").await;
}

/// How long a write takes whose answer is lost, in milliseconds: long enough to break what looks it up.
const SLOW_MS: u64 = 2_000;

/// Gives an order and loses the answer to `write`; while `look` does not work, nobody can tell whether it
/// happened. Gives the run, which waits.
async fn left_open(world: &World, order: &str, write: &str, look: &str) -> String {
    world.fault(json!({ "route": write, "nth": 1, "kind": "latency", "args": { "ms": SLOW_MS } })).await;
    world.fault(json!({ "route": write, "nth": 1, "kind": "reset_after", "args": {} })).await;
    let id = world.begin(order).await;
    eventually("the write", async || world.faults().await.to_string().contains("\"fired\":1").then_some(()))
        .await;
    world.fault(json!({ "route": look, "nth": 0, "kind": "server_error", "args": { "status": 503 } })).await;
    eventually("the run to be laid aside", async || {
        (world.run(&id).await["waiting_for"] == "rate_limit").then_some(())
    })
    .await;
    id
}

/// The tool call of this name that the page shows.
fn step<'a>(run: &'a Value, tool: &str) -> &'a Value {
    run["steps"].as_array().unwrap().iter().find(|step| step["tool"] == tool).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_looks_first_what_its_last_write_did() {
    let world = World::start().await;
    let id = left_open(&world, SENTENCE, "POST pullrequests", "GET pullrequests").await;
    let (status, _) = world.post(&format!("/api/runs/{id}/cancel"), json!({})).await;
    assert_eq!(status, 202);
    world.heal().await;
    let run = world.settled(&id).await;
    assert_eq!(run["status"], "cancelled", "{run:#}");
    check_made_once(&world).await;
    let links = run["links"].as_array().unwrap();
    assert!(links.iter().any(|link| link["kind"] == "pull_request"), "what was made is shown: {run:#}");
    let shown = step(&run, "create_pull_request");
    assert_eq!(shown["status"], "failed", "{shown:#}");
    assert!(shown["text"].as_str().unwrap().contains("an earlier attempt had done 1"), "{shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_sent_on_is_told_what_nobody_could_tell_before() {
    let world = World::start().await;
    let id = left_open(&world, SENTENCE, "POST pushes", "GET refs").await;
    // Where the push went is gone before anybody can look whether it arrived.
    let shop = "/Fabrikam/_apis/git/repositories/web-shop";
    let path = format!("{shop}/pushes?$top=1&searchCriteria.includeRefUpdates=true&api-version=7.1");
    let pushed = as_alice(&world, "GET", &path, Value::Null).await;
    let update = &pushed["value"][0]["refUpdates"][0];
    let gone = json!([{ "name": update["name"], "oldObjectId": update["newObjectId"],
        "newObjectId": "0".repeat(40) }]);
    let deleted = as_alice(&world, "POST", &format!("{shop}/refs?api-version=7.1"), gone).await;
    assert_eq!(deleted["value"][0]["success"], true, "{deleted:#}");
    world.heal().await;
    let run = world.settled(&id).await;
    assert_eq!(run["status"], "parked", "{run:#}");

    world.script(json!([{ "kind": "reply", "text": "I leave it." }])).await;
    let (status, _) = world.post(&format!("/api/runs/{id}/messages"), json!({ "text": "go on" })).await;
    assert_eq!(status, 202);
    let run = eventually("the run to go on", async || {
        let run = world.run(&id).await;
        (run["status"] == "done").then_some(run)
    })
    .await;
    assert_eq!(run["answer"], "I leave it.", "{run:#}");
    let shown = step(&run, "push_changes");
    assert!(shown["text"].as_str().unwrap().contains("cannot be told"), "{shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_work_item_is_found_under_those_of_others() {
    let world = World::start().await;
    let change = json!({ "id": 1, "title": "A better title", "description": null, "state": null,
        "assigned_to": null, "tags": "a; b", "link": null });
    let call = json!({ "kind": "calls", "calls": [{ "name": "update_work_item", "arguments": change }] });
    world.script(json!([call, { "kind": "reply", "text": "Changed." }])).await;
    let id = left_open(&world, "Change work item 1.", "PATCH workItems", "GET workItems").await;
    // Before anybody can look, somebody else changes it again.
    let item = "/Fabrikam/_apis/wit/workitems/1";
    let patch = json!([{ "op": "add", "path": "/fields/System.Tags", "value": "of alice" }]);
    let url = format!("{}{item}?api-version=7.1", world.organization);
    let request = world.http.patch(url).basic_auth("alice", Some("demo-alice"));
    let request = request.header("content-type", "application/json-patch+json").body(patch.to_string());
    assert!(request.send().await.unwrap().status().is_success());
    world.heal().await;

    let run = world.settled(&id).await;
    assert_eq!(run["status"], "done", "{run:#}");
    assert_eq!(step(&run, "update_work_item")["status"], "ok", "{run:#}");
    let updates = as_alice(&world, "GET", &format!("{item}/updates?api-version=7.1"), Value::Null).await;
    let titled = updates["value"].as_array().unwrap().iter();
    let titled = titled.filter(|one| one["fields"]["System.Title"]["newValue"] == "A better title").count();
    assert_eq!(titled, 1, "{updates:#}");
    let now = as_alice(&world, "GET", &format!("{item}?api-version=7.1"), Value::Null).await;
    assert_eq!(now["fields"]["System.Tags"], "a; b; of alice", "what alice added after it stays");
}
