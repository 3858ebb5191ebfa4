//! An answer that never comes, before or after the effect: nothing is made twice, nothing is lost.

use serde_json::{Value, json};

use crate::harness::World;

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
    let host = url::Url::parse(&world.organization).unwrap().origin().ascii_serialization();
    let armed = world.http.get(format!("{host}/_simulator/faults")).send().await.unwrap();
    let armed: Value = armed.json().await.unwrap();
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
