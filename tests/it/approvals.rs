//! What the rules leave to people: asked, decided by the right ones, carried out once.

use serde_json::{Value, json};

use crate::harness::{Demo, eventually};
use crate::people::Browser;

const ASKS: &str = "Add a lint step to azure-pipelines.yml.";

/// Begins the run that asks, and waits until it waits; its id and the approval.
async fn asked(demo: &Demo) -> (String, Value) {
    let run = demo.order(ASKS).await;
    assert_eq!((&run["status"], &run["waiting_for"]), (&json!("waiting"), &json!("approval")), "{run:#}");
    let id = run["id"].as_str().unwrap().to_owned();
    let found = demo.get("/api/approvals?state=pending").await;
    let mine = |approval: &&Value| approval["run"] == json!(id);
    let approval = found["approvals"].as_array().unwrap().iter().find(mine).cloned();
    (id, approval.expect("it is in the list"))
}

async fn signed_in(demo: &Demo, who: &str) -> Browser {
    let mut browser = Browser::new(&demo.page);
    browser.sign_in(who).await;
    browser
}

fn path(approval: &Value) -> String {
    format!("/api/approvals/{}/decision", approval["id"].as_str().unwrap())
}

fn yes(approval: &Value) -> Value {
    json!({ "decision": "approve", "digest": approval["digest"], "reason": "" })
}

/// Branches that the co-worker made, and how many pushes the organisation saw.
async fn made(demo: &Demo) -> (Vec<String>, usize) {
    let git = "/Fabrikam/_apis/git/repositories/web-shop";
    let refs = demo.as_person("alice", &format!("{git}/refs?filter=heads/agent/&api-version=7.1")).await;
    let names = refs["value"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap().to_owned());
    let pushes = demo.as_person("alice", &format!("{git}/pushes?api-version=7.1")).await;
    let by_agent = |push: &&Value| {
        push["pushedBy"]["displayName"].as_str().unwrap_or_default().contains("oworker")
            || push["pushedBy"]["uniqueName"].as_str().unwrap_or_default().starts_with("ado-coworker")
    };
    (names.collect(), pushes["value"].as_array().unwrap().iter().filter(by_agent).count())
}

async fn ended(demo: &Demo, id: &str) -> Value {
    eventually("the run to end", async || {
        let run = demo.get(&format!("/api/runs/{id}")).await;
        let over = ["done", "failed", "parked", "refused", "cancelled"];
        over.contains(&run["status"].as_str().unwrap()).then_some(run)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_asks_waits_for_the_right_person_and_is_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let before = made(&demo).await;
    let (id, approval) = asked(&demo).await;
    assert_eq!(made(&demo).await, before, "nothing is made before it is approved");
    assert_eq!(approval["you_may_decide"], false, "the local person is not signed in");
    assert!(approval["diff"].as_str().unwrap().contains("+  - script: npm run lint"), "{approval:#}");

    let (status, problem) = demo.post(&path(&approval), yes(&approval)).await;
    assert_eq!(status, 403, "{problem}");
    assert!(problem["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()));
    let mut bob = signed_in(&demo, "bob").await;
    assert_eq!(
        bob.post(&path(&approval), yes(&approval)).await.status(),
        403,
        "who gave the order does not approve"
    );
    let mut alice = signed_in(&demo, "alice").await;
    let mut other = yes(&approval);
    other["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    assert_eq!(alice.post(&path(&approval), other).await.status(), 409, "she saw another action");
    let card = alice.text(&format!("/approvals/{}", approval["id"].as_str().unwrap())).await;
    for part in
        [approval["code"].as_str().unwrap(), "npm run lint", "Approve</button>", "Deny</button>", "bob"]
    {
        assert!(card.contains(part), "{part} is missing in {card}");
    }

    // Two presses at the same moment: one decides.
    let mut twin = signed_in(&demo, "alice").await;
    let place = path(&approval);
    let (first, second) = tokio::join!(alice.post(&place, yes(&approval)), twin.post(&place, yes(&approval)));
    let mut statuses = [first.status().as_u16(), second.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let run = ended(&demo, &id).await;
    assert_eq!(run["status"], "done", "{run:#}");
    assert!(run["answer"].as_str().unwrap().contains("That is done."), "{run:#}");
    let after = made(&demo).await;
    assert_eq!(after.0.len(), before.0.len() + 1, "{after:?}");
    let approval = demo.get(&format!("/api/approvals/{}", approval["id"].as_str().unwrap())).await;
    assert_eq!(approval["state"], "executed", "{approval:#}");
    let record = demo.get(&format!("/api/audit/{id}")).await.to_string();
    assert_eq!(record.matches("\"action\":\"git.push\"").count().min(2), 2, "asked, then intended");
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_reaches_the_model_as_words_and_a_pending_question_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let before = made(&demo).await;
    let (id, approval) = asked(&demo).await;
    demo.stop().await;
    let demo = Demo::start(folder.path()).await;
    let mut alice = signed_in(&demo, "alice").await;
    let no = |reason: &str| json!({ "decision": "deny", "digest": approval["digest"], "reason": reason });
    assert_eq!(alice.post(&path(&approval), no(" ")).await.status(), 422, "a no needs a reason");
    let answer = alice.post(&path(&approval), no("Not before the release.")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    let run = ended(&demo, &id).await;
    assert_eq!(run["status"], "done", "{run:#}");
    assert!(run["answer"].as_str().unwrap().contains("said no"), "{run:#}");
    assert_eq!(made(&demo).await, before, "nothing was made");
    assert_eq!(alice.post(&path(&approval), yes(&approval)).await.status(), 409, "it is decided");
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_main_is_refused_and_a_stopped_run_takes_its_questions_along() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let run = demo.order("Push a change of the README straight to main.").await;
    assert_eq!(run["status"], "done", "{run:#}");
    assert!(run["answer"].as_str().unwrap().contains("protected-branches"), "{run:#}");
    let (id, approval) = asked(&demo).await;
    let (status, _) = demo.post(&format!("/api/runs/{id}/cancel"), json!({})).await;
    assert_eq!(status, 202);
    assert_eq!(ended(&demo, &id).await["status"], "cancelled");
    let approval = demo.get(&format!("/api/approvals/{}", approval["id"].as_str().unwrap())).await;
    assert_eq!(approval["state"], "cancelled");
    let mut alice = signed_in(&demo, "alice").await;
    assert_eq!(alice.post(&path(&approval), yes(&approval)).await.status(), 409);
    demo.stop().await;
}
