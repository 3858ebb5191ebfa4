//! People change things while the agent works: it ends in words, and makes nothing twice.

use std::time::Duration;

use serde_json::{Value, json};

use super::audit::Evidence;
use super::site::{SENTENCE, Site};

/// How long the agent is held while a person acts.
const HELD: &str = "sleep(1500)";
const SHOP: &str = "/Fabrikam/_apis/git/repositories/web-shop";

/// Holds the agent at the `nth` passing of a point and waits until it is there.
async fn held_at(site: &mut Site, point: &str, nth: usize) -> String {
    site.armed_once = format!("{point}={}*off->1*{HELD}->off", nth - 1);
    assert!(site.open().await);
    let id = site.order(SENTENCE).await;
    site.until("the point", async |site| {
        (site.passed().iter().filter(|passed| *passed == point).count() >= nth).then_some(())
    })
    .await;
    id
}

/// The run ends by itself, in one of these ways, and nothing was made twice or without a record.
async fn ends(mut site: Site, id: &str, statuses: &[&str]) -> Value {
    let run = site.settled(id).await;
    site.close().await;
    let status = run["status"].as_str().unwrap();
    assert!(statuses.contains(&status), "{run:#}");
    let found = Evidence::of(&site, Vec::new()).await.violations();
    assert!(found.is_empty(), "{found:#?}");
    run
}

async fn branch(site: &Site) -> (String, String) {
    let refs = site.as_alice("GET", &format!("{SHOP}/refs?filter=heads/agent"), Value::Null).await.unwrap();
    let found = &refs["value"][0];
    (found["name"].as_str().unwrap().to_owned(), found["objectId"].as_str().unwrap().to_owned())
}

async fn delete_branch(site: &Site) {
    let (name, tip) = branch(site).await;
    let body = json!([{ "name": name, "oldObjectId": tip, "newObjectId": "0".repeat(40) }]);
    site.as_alice("POST", &format!("{SHOP}/refs"), body).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn a_branch_that_is_deleted_under_the_agent_is_told() {
    let mut site = Site::start().await;
    // The third write is the push: the branch goes before its pull request is made.
    let id = held_at(&mut site, "gate.after_outcome", 3).await;
    delete_branch(&site).await;
    let run = ends(site, &id, &["done", "failed"]).await;
    let links = run["links"].as_array().unwrap();
    assert!(!links.iter().any(|link| link["kind"] == "pull_request"), "there is nothing to review: {run:#}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn a_work_item_that_moves_and_a_branch_that_is_pushed_to_do_no_harm() {
    let mut site = Site::start().await;
    let id = held_at(&mut site, "gate.after_outcome", 2).await;
    // Between making the branch and the push somebody else pushes to it, and moves the work item.
    let (name, tip) = branch(&site).await;
    let change = json!({ "changeType": "add", "item": { "path": "/bob.txt" },
        "newContent": { "content": "bob", "contentType": "rawtext" } });
    let body = json!({ "refUpdates": [{ "name": name, "oldObjectId": tip }],
        "commits": [{ "comment": "Bob was here", "changes": [change] }] });
    site.as_alice("POST", &format!("{SHOP}/pushes"), body).await.unwrap();
    ends(site, &id, &["done", "failed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn a_pull_request_that_is_abandoned_is_not_made_again() {
    let mut site = Site::start().await;
    // The pull request is there, its outcome is not written yet, and the process dies meanwhile.
    let id = held_at(&mut site, "gate.before_outcome", 4).await;
    let body = json!({ "status": "abandoned" });
    site.as_alice("PATCH", &format!("{SHOP}/pullrequests/1"), body).await.unwrap();
    site.kill().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    ends(site, &id, &["done", "parked"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn what_a_call_did_is_recorded_though_it_cannot_be_made_again() {
    let mut site = Site::start().await;
    // The pull request is there, its outcome is not written yet; its branch goes, and the process dies:
    // the call that comes back cannot even ask for a pull request of that branch.
    let id = held_at(&mut site, "gate.before_outcome", 4).await;
    delete_branch(&site).await;
    site.kill().await;
    let run = ends(site, &id, &["done", "failed"]).await;
    let steps = run["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["tool"] == "create_pull_request").unwrap();
    assert!(step["text"].as_str().unwrap().contains("an earlier attempt"), "{step:#}");
    let links = run["links"].as_array().unwrap();
    assert!(links.iter().any(|link| link["kind"] == "pull_request"), "what was made is shown: {run:#}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn a_thread_that_is_resolved_meanwhile_is_not_opened_again() {
    let mut site = Site::start().await;
    assert!(site.open().await);
    let id = site.order(SENTENCE).await;
    let first = site.settled(&id).await;
    site.close().await;
    let before = site.passed().len();
    site.armed_once = format!("gate.before_intent=1*{HELD}->off");
    assert!(site.open().await);
    let link = first["links"].as_array().unwrap().iter().find(|link| link["kind"] == "pull_request").unwrap();
    let number = link["url"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
    let thread = site.comment(number, "make the timeout configurable").await;
    site.until("the point", async |site| {
        site.passed()[before..].contains(&"gate.before_intent".to_owned()).then_some(())
    })
    .await;
    let path = format!("{SHOP}/pullrequests/{number}/threads/{thread}");
    site.as_alice("PATCH", &path, json!({ "status": "fixed" })).await.unwrap();
    let woken = site
        .until("the run that the comment started", async |site| {
            let runs = site.get("/api/runs").await?;
            let woken = runs["runs"].as_array()?.iter().find(|run| run["source"] == "webhook")?;
            woken["id"].as_str().map(str::to_owned)
        })
        .await;
    site.settled(&woken).await;
    site.quiet().await;
    let now = site.as_alice("GET", &path, Value::Null).await.unwrap();
    assert_eq!(now["status"], "fixed", "{now:#}");
    ends(site, &woken, &["done"]).await;
}
