//! The record beside what the organisation says, and rights beside their use.

use serde_json::{Value, json};

use crate::harness::World;

const JOB: &str =
    "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it.";

/// The agent user's bearer, as the co-worker itself would get it.
async fn bearer(world: &World) -> String {
    let url = format!(
        "{}/AuthorizationHeaderUnauthenticated/ado",
        world.setting("SIDECAR_URL").trim_end_matches('/')
    );
    let query = [
        ("AgentIdentity", world.setting("AGENT_IDENTITY_ID")),
        ("AgentUsername", world.setting("AGENT_USERNAME")),
    ];
    let answer: Value = world
        .http
        .get(url)
        .query(&query)
        .header("host", "localhost")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    answer["authorizationHeader"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

async fn reconciled(world: &World) -> (i32, Value) {
    let (status, text) = world.does(&["audit", "reconcile", "--json"]).await;
    let line = text.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{text}"));
    (status, serde_json::from_str(line).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_agents_token_did_outside_the_product_is_found() {
    let world = World::start().await;
    let run = world.order(JOB).await;
    assert_eq!(run["status"], "done", "{run}");
    let (status, told) = reconciled(&world).await;
    assert_eq!((status, &told["unrecorded"]), (0, &json!([])), "{told}");
    assert!(told["recorded"].as_u64().unwrap() >= 3, "{told}");
    assert!(told["audit_log"].as_str().unwrap().starts_with("not read"), "it may not view it: {told}");

    // Somebody has the token and comments on a work item that no run touched.
    let path = "/Fabrikam/_apis/wit/workItems/1/comments?api-version=7.1-preview.4";
    let request = world.http.post(format!("{}{path}", world.organization));
    let made =
        request.header("authorization", bearer(&world).await).json(&json!({ "text": "psst" })).send().await;
    let made = made.unwrap();
    assert!(made.status().is_success(), "{}", made.text().await.unwrap());
    let activity = made.headers().get("activityid").expect("an ActivityId").to_str().unwrap().to_owned();
    let (status, told) = reconciled(&world).await;
    let strange = told["unrecorded"].as_array().unwrap();
    assert_eq!((status, strange.len()), (1, 1), "{told}");
    assert_eq!(
        (&strange[0]["did"], &strange[0]["object"]),
        (&"changed_work_item".into(), &"1".into()),
        "{told}"
    );

    // With the right to view the audit log it is found by its ActivityId, too, and nothing else is.
    let me: Value = identity(&world).await;
    let entry = json!({ "token": "AllPermissions", "merge": true,
        "accessControlEntries": [{ "descriptor": me["descriptor"], "allow": 1, "deny": 0 }] });
    let path = "/_apis/accesscontrolentries/a6cc6381-a1ca-4b36-b3c1-4e65211e82b6?api-version=7.1";
    let request = world.http.post(format!("{}{path}", world.organization)).json(&entry);
    let granted = request.basic_auth("alice", Some("demo-alice")).send().await.unwrap();
    assert!(granted.status().is_success(), "{}", granted.text().await.unwrap());
    let (status, told) = reconciled(&world).await;
    assert_eq!((status, &told["audit_log"]), (1, &"read".into()), "{told}");
    let by_id: Vec<&Value> =
        told["unrecorded"].as_array().unwrap().iter().filter(|deed| deed["did"] == "audited").collect();
    assert!(!by_id.is_empty(), "{told}");
    for deed in by_id {
        assert!(deed["activity_id"].as_str().unwrap().eq_ignore_ascii_case(&activity), "{told}");
    }
    let (status, text) = world.does(&["audit", "reconcile"]).await;
    assert!(status == 1 && text.contains("NOT RECORDED"), "{text}");
}

async fn identity(world: &World) -> Value {
    let query = "searchFilter=General&filterValue=ado-coworker@contoso.example&api-version=7.1";
    let request = world.http.get(format!("{}/_apis/identities?{query}", world.organization));
    let found: Value =
        request.basic_auth("alice", Some("demo-alice")).send().await.unwrap().json().await.unwrap();
    found["value"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_no_recorded_call_used_are_named() {
    let world = World::start().await;
    assert_eq!(world.order("List the open work items").await["status"], "done");
    let (status, text) = world.does(&["audit", "access", "--days", "30", "--json"]).await;
    let line = text.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{text}"));
    let told: Value = serde_json::from_str(line).unwrap();
    assert_eq!(status, 0, "{told}");
    let right = |id: &str| {
        let all = told["rights"].as_array().unwrap();
        all.iter().find(|right| right["id"] == id).unwrap_or_else(|| panic!("{id}: {told}")).clone()
    };
    assert_eq!(right("permission.push")["granted"], "yes");
    assert!(right("permission.read_work_items")["used"].as_u64().unwrap() > 0, "{told}");
    let unused: Vec<&str> = told["unused"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(unused.contains(&"permission.push") && unused.contains(&"permission.queue_builds"), "{told}");
    assert!(!unused.contains(&"permission.read_work_items") && !unused.contains(&"grant.model"), "{told}");
    let (_, text) = world.does(&["audit", "access"]).await;
    assert!(
        text.contains("Granted and not used in the last 90 days:") && text.contains("May push"),
        "{text}"
    );
}
