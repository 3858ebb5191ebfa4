//! Policies, builds, forks, faults, permissions, saved states, the layout of the server product.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Bench, REPOSITORY, bench, settings};
use crate::simulator::azure_devops::git::pkt_line::frame;
use crate::simulator::azure_devops::state::seed::{ALICE, WEB_SHOP};
use crate::simulator::start;

const POLICIES: &str = "Fabrikam/_apis/policy/configurations";
const BUILD: &str = "0609b952-1397-4640-95ec-e00a01b2c241";
const MINIMUM_REVIEWERS: &str = "fa4e907d-c16b-4a4c-9dfa-4906e5d171dd";

fn add(path: &str, content: &str) -> Value {
    json!([{"changeType": "add", "item": {"path": path}, "newContent": {"content": content, "contentType": "rawtext"}}])
}

async fn require(bench: &Bench, kind: &str, mut settings: Value) {
    settings["scope"] =
        json!([{"repositoryId": WEB_SHOP, "refName": "refs/heads/main", "matchKind": "exact"}]);
    let body = json!({"type": {"id": kind}, "isEnabled": true, "isBlocking": true, "settings": settings});
    bench.ok("alice", Method::POST, POLICIES, Some(body)).await;
}

async fn open(bench: &Bench, branch: &str) -> (u64, String) {
    let new = json!({"sourceRefName": format!("refs/heads/{branch}"), "targetRefName": "refs/heads/main", "title": branch});
    let made = bench.ok("agent", Method::POST, &format!("{REPOSITORY}/pullrequests"), Some(new)).await;
    let id = made["pullRequestId"].as_u64().unwrap();
    (id, format!("{REPOSITORY}/pullRequests/{id}"))
}

async fn complete(bench: &Bench, path: &str) {
    let now = bench.get(path).await;
    let body = json!({"status": "completed", "lastMergeSourceCommit": now["lastMergeSourceCommit"]});
    bench.ok("alice", Method::PATCH, path, Some(body)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_refuse_until_the_build_is_green_and_somebody_approves() {
    let bench = bench(None).await;
    require(&bench, BUILD, json!({"buildDefinitionId": 1})).await;
    require(&bench, MINIMUM_REVIEWERS, json!({"minimumApproverCount": 1})).await;
    bench.push_branch("agent/broken", add("/config/extra.json", "{\"a\": }")).await;
    let (id, path) = open(&bench, "agent/broken").await;
    let builds = format!("Fabrikam/_apis/build/builds?branchName=refs/pull/{id}/merge");
    let done = |list: &Value| list["value"].as_array().unwrap().iter().any(|b| b["result"] == "failed");
    let build = bench.until(&builds, done).await["value"]
        .as_array()
        .unwrap()
        .iter()
        .find(|b| b["result"] == "failed")
        .unwrap()["id"]
        .clone();
    let timeline = bench.get(&format!("Fabrikam/_apis/build/builds/{build}/timeline")).await;
    let failed: Vec<&Value> = timeline["records"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|r| r["result"] == "failed" && r["type"] == "Task")
        .collect();
    assert!(
        failed[0]["issues"][0]["message"].as_str().unwrap().contains("config/extra.json(1,1)"),
        "{failed:?}"
    );
    let results = bench.get(&format!("Fabrikam/_apis/test/runs/{build}/results?outcomes=Failed")).await;
    assert_eq!(results["count"], 1);

    complete(&bench, &path).await;
    let refused = bench.until(&path, |p| p["mergeStatus"] == "rejectedByPolicy").await;
    assert_eq!(refused["status"], "active");

    // Nobody pushes to a protected branch, over REST or git.
    let tip = bench.get(&format!("{REPOSITORY}/refs?filter=heads/main")).await["value"][0]["objectId"]
        .as_str()
        .unwrap()
        .to_owned();
    let push = json!({"refUpdates": [{"name": "refs/heads/main", "oldObjectId": tip}], "commits": [{"comment": "c", "changes": add("/n.txt", "x")}]});
    let (status, value) = bench.ask("alice", Method::POST, &format!("{REPOSITORY}/pushes"), Some(push)).await;
    assert_eq!(
        (status, value["typeKey"].as_str()),
        (StatusCode::FORBIDDEN, Some("GitRefUpdateRejectedByPolicyException"))
    );
    let mut body =
        frame(format!("{tip} {} refs/heads/main\0report-status side-band-64k\n", "b".repeat(40)).as_bytes());
    body.extend(b"0000");
    let git = bench.url("Fabrikam/_git/web-shop/git-receive-pack");
    let answer = bench.client.post(git).basic_auth("x", Some("demo-bob")).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("ng refs/heads/main TF402455: Pushes to this branch are not permitted")
    );

    // The repair makes the build green; with an approval auto-complete does the rest.
    let source = bench.get(&path).await["lastMergeSourceCommit"]["commitId"].clone();
    let mut edit = add("/config/extra.json", "{\"a\": 1}");
    edit[0]["changeType"] = json!("edit");
    let push = json!({"refUpdates": [{"name": "refs/heads/agent/broken", "oldObjectId": source}], "commits": [{"comment": "Repair", "changes": edit}]});
    bench.ok("agent", Method::POST, &format!("{REPOSITORY}/pushes"), Some(push)).await;
    assert_eq!(bench.get(&format!("{path}/iterations")).await["count"], 2);
    let auto = json!({"autoCompleteSetBy": {"id": ALICE}});
    bench.ok("alice", Method::PATCH, &path, Some(auto)).await;
    bench.ok("alice", Method::PUT, &format!("{path}/reviewers/{ALICE}"), Some(json!({"vote": 10}))).await;
    bench.until(&path, |p| p["status"] == "completed").await;
    bench.running.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_and_forks_end_as_they_should() {
    let bench = bench(None).await;
    bench.push_branch("a", add("/same.txt", "one\n")).await;
    bench.push_branch("b", add("/same.txt", "two\n")).await;
    let ((_, first), (_, second)) = (open(&bench, "a").await, open(&bench, "b").await);
    bench.until(&first, |p| p["mergeStatus"] == "succeeded").await;
    complete(&bench, &first).await;
    bench.until(&first, |p| p["status"] == "completed").await;
    let conflict = bench.until(&second, |p| p["mergeStatus"] == "conflicts").await;
    assert!(conflict["mergeFailureMessage"].as_str().unwrap().contains("/same.txt"));

    let fork =
        json!({"name": "web-shop.bob", "project": {"id": "Fabrikam"}, "parentRepository": {"id": WEB_SHOP}});
    let fork = bench.ok("bob", Method::POST, "Fabrikam/_apis/git/repositories", Some(fork)).await;
    assert_eq!(fork["isFork"], true);
    let own = format!("Fabrikam/_apis/git/repositories/{}", fork["id"].as_str().unwrap());
    let tip = bench.get(&format!("{own}/refs?filter=heads/main")).await["value"][0]["objectId"].clone();
    let push = json!({"refUpdates": [{"name": "refs/heads/idea", "oldObjectId": tip}], "commits": [{"comment": "c", "changes": add("/idea.txt", "x")}]});
    bench.ok("bob", Method::POST, &format!("{own}/pushes"), Some(push)).await;
    let new = json!({"sourceRefName": "refs/heads/idea", "targetRefName": "refs/heads/main", "title": "From a fork",
        "forkSource": {"repository": {"id": fork["id"]}}});
    let made = bench.ok("bob", Method::POST, &format!("{REPOSITORY}/pullrequests"), Some(new)).await;
    let path = format!("{REPOSITORY}/pullRequests/{}", made["pullRequestId"]);
    assert_eq!(
        bench.until(&path, |p| p["mergeStatus"] == "succeeded").await["forkSource"]["repository"]["name"],
        "web-shop.bob"
    );
    complete(&bench, &path).await;
    bench.until(&path, |p| p["status"] == "completed").await;
    assert_eq!(bench.get(&format!("{REPOSITORY}/items?path=/idea.txt")).await["path"], "/idea.txt");
    bench.running.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_strike_once_and_say_what_the_service_would() {
    let bench = bench(None).await;
    let origin = bench.running.organization_url.as_str().trim_end_matches("/contoso").to_owned();
    let arm = async |fault: Value| {
        let sent =
            bench.client.post(format!("{origin}/_simulator/faults")).json(&fault).send().await.unwrap();
        assert_eq!(sent.status(), 200);
    };
    let url = bench.url("_apis/projects?api-version=7.1");
    let ask = async || bench.client.get(&url).bearer_auth(&bench.token).send().await;
    arm(json!({"route": "GET projects", "nth": 1, "kind": "throttle", "args": {"retry_after": 7}})).await;
    let throttled = ask().await.unwrap();
    assert_eq!(
        (throttled.status().as_u16(), throttled.headers()["retry-after"].to_str().unwrap()),
        (429, "7")
    );
    assert_eq!(ask().await.unwrap().status(), 200);
    arm(json!({"route": "projects", "kind": "retry_after_on_success", "args": {"seconds": 1}})).await;
    assert!(ask().await.unwrap().headers().contains_key("x-ratelimit-delay"));
    arm(json!({"route": "projects", "kind": "expired_token"})).await;
    assert_eq!(ask().await.unwrap().status(), 203);
    arm(json!({"route": "projects", "kind": "reset_before"})).await;
    assert!(ask().await.is_err());
    arm(json!({"route": "projects", "kind": "truncate"})).await;
    assert!(ask().await.unwrap().bytes().await.is_err());
    // After a reset the effect stands although no answer came.
    arm(json!({"route": "POST pushes", "kind": "reset_after"})).await;
    let tip =
        bench.get(&format!("{REPOSITORY}/refs?filter=heads/main")).await["value"][0]["objectId"].clone();
    let body = json!({"refUpdates": [{"name": "refs/heads/x", "oldObjectId": tip}], "commits": [{"comment": "c", "changes": add("/x", "x")}]});
    let push = bench
        .client
        .post(bench.url(&format!("{REPOSITORY}/pushes?api-version=7.1")))
        .bearer_auth(&bench.token);
    assert!(push.json(&body).send().await.is_err());
    assert_eq!(bench.get(&format!("{REPOSITORY}/refs?filter=heads/x")).await["count"], 1);
    let ledger: Value = bench
        .client
        .get(format!("{origin}/_simulator/ledger?kind=push"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        ledger["value"].as_array().unwrap().last().unwrap()["account"],
        "ado-coworker@contoso.example"
    );
    bench.running.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permissions_and_licences_refuse_with_the_real_codes() {
    let bench = bench(None).await;
    let origin = bench.running.organization_url.as_str().trim_end_matches("/contoso").to_owned();
    let set = async |body: Value| {
        let sent = bench.client.post(format!("{origin}/_simulator/access")).json(&body).send().await.unwrap();
        assert_eq!(sent.status(), 200);
    };
    set(json!({"person": "ado-coworker", "scope": "web-shop", "permission": "CreateBranch", "denied": true}))
        .await;
    let tip =
        bench.get(&format!("{REPOSITORY}/refs?filter=heads/main")).await["value"][0]["objectId"].clone();
    let body = json!([{"name": "refs/heads/no", "oldObjectId": "0".repeat(40), "newObjectId": tip}]);
    let refused = bench.ok("agent", Method::POST, &format!("{REPOSITORY}/refs"), Some(body)).await;
    assert_eq!(
        (refused["value"][0]["updateStatus"].as_str(), refused["value"][0]["success"].as_bool()),
        (Some("createBranchPermissionRequired"), Some(false))
    );
    set(json!({"person": "bob", "licence": "stakeholder"})).await;
    let (status, value) = bench.ask("bob", Method::GET, REPOSITORY, None).await;
    assert_eq!((status.as_u16(), value["typeKey"].as_str()), (404, Some("GitRepositoryNotFoundException")));
    let title = json!([{"op": "add", "path": "/fields/System.Title", "value": "still allowed"}]);
    bench.ok("bob", Method::POST, "Fabrikam/_apis/wit/workitems/$Issue", Some(title)).await;
    bench.running.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_state_comes_back_and_the_server_layout_is_served() {
    let bench = bench(None).await;
    bench.push_branch("kept", add("/kept.txt", "x")).await;
    let saved = tempfile::tempdir().unwrap();
    bench.running.save_to(saved.path()).unwrap();
    bench.running.shutdown().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut again = settings(data.path().to_owned(), None);
    again.load = Some(saved.path().to_owned());
    let running = start(again).await.unwrap();
    let origin = running.organization_url.as_str().trim_end_matches("/contoso").to_owned();
    let client = super::client();
    let get = async |path: String| -> Value {
        client
            .get(format!("{origin}/{path}"))
            .basic_auth("", Some("demo-alice"))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    let item = get(format!("contoso/{REPOSITORY}/items?path=/kept.txt&version=kept&api-version=7.1")).await;
    assert_eq!(item["path"], "/kept.txt");
    let areas = get("tfs/DefaultCollection/_apis/ResourceAreas?api-version=7.1-preview".into()).await;
    assert_eq!(areas["count"], 0);
    let projects = get("TFS/defaultcollection/_apis/projects?api-version=7.1".into()).await;
    assert!(projects["value"][0]["url"].as_str().unwrap().contains("/TFS/defaultcollection/_apis/projects/"));
    running.shutdown().await.unwrap();
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut taken = settings(tempfile::tempdir().unwrap().path().to_owned(), None);
    taken.model_port = port.local_addr().unwrap().port();
    let error = start(taken).await.err().unwrap().to_string();
    assert!(
        error.contains(&port.local_addr().unwrap().port().to_string()) && error.contains("stand-in model"),
        "{error}"
    );
}
