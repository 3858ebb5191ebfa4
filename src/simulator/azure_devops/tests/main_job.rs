//! The main job, what it refuses, who may ask, and what receivers hear.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{REPOSITORY, bench};
use crate::simulator::Webhook;
use crate::simulator::tokens::{AGENT_USER_ID, AGENT_USER_UPN, AUDIENCE_AZURE_DEVOPS};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_from_issue_to_merged_pull_request() {
    let bench = bench(None).await;
    let me = bench.get("_apis/connectionData").await;
    assert_eq!(me["authenticatedUser"]["id"], AGENT_USER_ID);
    let title = json!([{"op": "add", "path": "/fields/System.Title", "value": "Fix login timeout"}]);
    let issue = bench.ok("agent", Method::POST, "Fabrikam/_apis/wit/workitems/$Issue", Some(title)).await;
    assert_eq!((issue["rev"].as_u64(), issue["fields"]["System.State"].as_str()), (Some(1), Some("To Do")));
    let number = issue["id"].as_u64().unwrap();

    let changes = json!([{"changeType": "add", "item": {"path": "/src/fix.ts"}, "newContent": {"content": "let x = 1;\n", "contentType": "rawtext"}}]);
    let push = bench.push_branch("agent/fix", changes).await;
    assert_eq!(push["refUpdates"][0]["oldObjectId"], "0".repeat(40));
    assert_eq!(push["commits"][0]["author"]["email"], AGENT_USER_UPN);

    let new = json!({
        "sourceRefName": "refs/heads/agent/fix", "targetRefName": "refs/heads/main", "title": "Fix login timeout",
        "description": "Seconds, not milliseconds.", "isDraft": true, "workItemRefs": [{"id": number.to_string()}],
        "reviewers": [{"id": crate::simulator::azure_devops::state::seed::ALICE}],
    });
    let made =
        bench.ok("agent", Method::POST, &format!("{REPOSITORY}/pullrequests"), Some(new.clone())).await;
    assert_eq!((made["mergeStatus"].as_str(), made["isDraft"].as_bool()), (Some("queued"), Some(true)));
    let (status, again) =
        bench.ask("agent", Method::POST, &format!("{REPOSITORY}/pullrequests"), Some(new)).await;
    assert_eq!((status.as_u16(), again["typeKey"].as_str()), (409, Some("GitPullRequestExistsException")));

    let id = made["pullRequestId"].as_u64().unwrap();
    let path = format!("{REPOSITORY}/pullRequests/{id}");
    let merged = bench.until(&path, |p| p["mergeStatus"] == "succeeded").await;
    assert!(merged["lastMergeCommit"]["commitId"].is_string());
    assert_eq!(bench.get(&format!("{path}/workitems")).await["value"][0]["id"], number.to_string());
    assert_eq!(
        bench.get(&format!("{path}/iterations/1/changes")).await["changeEntries"][0]["item"]["path"],
        "/src/fix.ts"
    );

    let thread = json!({"comments": [{"content": "make the timeout configurable", "commentType": 1}], "status": 1,
        "threadContext": {"filePath": "/src/fix.ts", "rightFileStart": {"line": 1, "offset": 1}, "rightFileEnd": {"line": 1, "offset": 5}}});
    let thread = bench.ok("alice", Method::POST, &format!("{path}/threads"), Some(thread)).await;
    let threads = format!("{path}/threads/{}", thread["id"]);
    let answer = json!({"content": "Done", "parentCommentId": 1});
    assert_eq!(bench.ok("agent", Method::POST, &format!("{threads}/comments"), Some(answer)).await["id"], 2);
    let fixed = bench.ok("agent", Method::PATCH, &threads, Some(json!({"status": "fixed"}))).await;
    assert_eq!(fixed["status"], "fixed");

    let alice = merged["reviewers"][0]["id"].as_str().unwrap();
    let vote =
        bench.ok("alice", Method::PUT, &format!("{path}/reviewers/{alice}"), Some(json!({"vote": 10}))).await;
    assert_eq!(vote["vote"], 10);
    let complete = json!({"status": "completed", "isDraft": false, "lastMergeSourceCommit": merged["lastMergeSourceCommit"],
        "completionOptions": {"mergeStrategy": "squash", "deleteSourceBranch": true, "transitionWorkItems": true}});
    let queued = bench.ok("alice", Method::PATCH, &path, Some(complete)).await;
    assert_eq!((queued["status"].as_str(), queued["mergeStatus"].as_str()), (Some("active"), Some("queued")));
    bench.until(&path, |p| p["status"] == "completed").await;
    let item = bench.get(&format!("_apis/wit/workitems/{number}")).await;
    assert_eq!(item["fields"]["System.State"], "Done");
    let item =
        bench.get(&format!("{REPOSITORY}/items?path=/src/fix.ts&includeContent=true&$format=json")).await;
    assert_eq!(item["content"], "let x = 1;\n");
    let branches = bench.get(&format!("{REPOSITORY}/refs?filter=heads/agent")).await;
    assert_eq!(branches["count"], 0);
    bench.running.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_the_service_s_status_and_type_key() {
    let bench = bench(None).await;
    let changes = json!([{"changeType": "edit", "item": {"path": "/no.txt"}, "newContent": {"content": "x", "contentType": "rawtext"}}]);
    let push = |name: &str, old: String, changes: &Value| json!({"refUpdates": [{"name": name, "oldObjectId": old}], "commits": [{"comment": "c", "changes": changes}]});
    let add = json!([{"changeType": "add", "item": {"path": "/n.txt"}, "newContent": {"content": "x", "contentType": "rawtext"}}]);
    let cases = [
        ("agent", Method::GET, "_apis/nothing".to_owned(), None, 404, ""),
        (
            "agent",
            Method::GET,
            "Nowhere/_apis/git/repositories".into(),
            None,
            404,
            "ProjectDoesNotExistWithNameException",
        ),
        (
            "bob",
            Method::GET,
            "Northwind/_apis/git/repositories".into(),
            None,
            404,
            "ProjectDoesNotExistWithNameException",
        ),
        (
            "agent",
            Method::GET,
            "Fabrikam/_apis/git/repositories/none".into(),
            None,
            404,
            "GitRepositoryNotFoundException",
        ),
        (
            "agent",
            Method::GET,
            format!("{REPOSITORY}/items?path=/none"),
            None,
            404,
            "GitItemNotFoundException",
        ),
        (
            "agent",
            Method::GET,
            format!("{REPOSITORY}/items?path=/README.md&versionDescriptor.version=none"),
            None,
            404,
            "GitUnresolvableToCommitException",
        ),
        (
            "agent",
            Method::GET,
            "_apis/git/pullrequests/99".into(),
            None,
            404,
            "GitPullRequestNotFoundException",
        ),
        (
            "agent",
            Method::GET,
            "_apis/wit/workitems/9999".into(),
            None,
            404,
            "WorkItemUnauthorizedAccessException",
        ),
        (
            "agent",
            Method::PATCH,
            "_apis/wit/workitems/1".into(),
            Some(json!([{"op": "test", "path": "/rev", "value": 77}])),
            412,
            "TestPatchOperationFailedException",
        ),
        (
            "agent",
            Method::PATCH,
            "_apis/wit/workitems/1".into(),
            Some(json!([{"op": "add", "path": "/fields/System.State", "value": "Nope"}])),
            400,
            "RuleValidationException",
        ),
        (
            "agent",
            Method::PATCH,
            "_apis/wit/workitems/1".into(),
            Some(json!([{"op": "add", "path": "/fields/No.Such", "value": 1}])),
            400,
            "WorkItemTrackingFieldDefinitionNotFoundException",
        ),
        (
            "agent",
            Method::POST,
            format!("{REPOSITORY}/pushes"),
            Some(push("refs/heads/main", "a".repeat(40), &add)),
            409,
            "GitReferenceStaleException",
        ),
        (
            "agent",
            Method::POST,
            format!("{REPOSITORY}/pushes"),
            Some(push("refs/heads/x..y", "0".repeat(40), &add)),
            400,
            "InvalidGitRefNameException",
        ),
        (
            "agent",
            Method::POST,
            "_apis/wit/wiql".into(),
            Some(json!({"query": "SELECT"})),
            400,
            "WorkItemTrackingQueryException",
        ),
    ];
    for (who, method, path, body, status, key) in cases {
        let (got, value) = bench.ask(who, method, &path, body).await;
        assert_eq!(
            (got.as_u16(), value["typeKey"].as_str().unwrap_or_default()),
            (status, key),
            "{path}: {value}"
        );
    }
    let tip =
        bench.get(&format!("{REPOSITORY}/refs?filter=heads/main")).await["value"][0]["objectId"].clone();
    let body = push("refs/heads/main", tip.as_str().unwrap().into(), &changes);
    assert_eq!(bench.ask("agent", Method::POST, &format!("{REPOSITORY}/pushes"), Some(body)).await.0, 400);
    bench.running.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_credentials_get_a_page_a_redirect_or_a_challenge() {
    let bench = bench(None).await;
    let url = bench.url("_apis/projects?api-version=7.1");
    let status = |request: reqwest::RequestBuilder| async { request.send().await.unwrap().status().as_u16() };
    assert_eq!(status(bench.client.get(&url)).await, 302);
    assert_eq!(status(bench.client.get(&url).bearer_auth("x.y.z")).await, 203);
    let quiet = bench.client.get(&url).bearer_auth("x.y.z").header("X-TFS-FedAuthRedirect", "Suppress");
    assert_eq!(status(quiet).await, 401);
    assert_eq!(status(bench.client.get(&url).basic_auth("", Some("wrong"))).await, 401);
    let claims = json!({"aud": AUDIENCE_AZURE_DEVOPS, "oid": "99999999-0000-4000-8000-000000000000"});
    let stranger = bench.running.authority.mint(claims.as_object().unwrap().clone(), 60);
    let answer = bench.client.get(&url).bearer_auth(stranger).send().await.unwrap();
    assert!(answer.status() == 401 && answer.text().await.unwrap().contains("TF400813"));
    bench.running.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_reaches_the_receiver_with_credentials_and_is_listed() {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let receiver = axum::Router::new().fallback(move |headers: axum::http::HeaderMap, body: String| {
        let _ = sender.send((headers.get("authorization").cloned(), body));
        async { "{\"url\":\"http://127.0.0.1/runs/1\"}" }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    let bench = bench(Some(Webhook { url, username: "hook".into(), password: "secret".into() })).await;
    let changes = json!([{"changeType": "add", "item": {"path": "/a.txt"}, "newContent": {"content": "YQ==", "contentType": "base64encoded"}}]);
    bench.push_branch("agent/a", changes).await;
    let new =
        json!({"sourceRefName": "refs/heads/agent/a", "targetRefName": "refs/heads/main", "title": "A"});
    let id = bench.ok("agent", Method::POST, &format!("{REPOSITORY}/pullrequests"), Some(new)).await["pullRequestId"].clone();
    let thread = json!({"comments": [{"content": "please"}]});
    bench.ok("alice", Method::POST, &format!("{REPOSITORY}/pullrequests/{id}/threads"), Some(thread)).await;
    let mut kinds = Vec::new();
    let event: Value = loop {
        let (authorization, body) =
            tokio::time::timeout(Duration::from_secs(10), received.recv()).await.unwrap().unwrap();
        assert_eq!(authorization.unwrap(), "Basic aG9vazpzZWNyZXQ=");
        let event: Value = serde_json::from_str(&body).unwrap();
        kinds.push(event["eventType"].as_str().unwrap().to_owned());
        if kinds.last().unwrap().contains("comment-event") {
            break event;
        }
    };
    assert_eq!(event["resource"]["comment"]["content"], "please");
    assert_eq!(event["resource"]["pullRequest"]["pullRequestId"], id);
    assert_eq!(event["resourceVersion"], "2.0");
    assert!(
        event["resource"]["comment"]["_links"]["threads"]["href"].as_str().unwrap().contains("/threads/")
    );
    let path =
        format!("_apis/hooks/subscriptions/{}/notifications", event["subscriptionId"].as_str().unwrap());
    let list = bench.until(&path, |l| l["value"][0]["result"] == "succeeded").await;
    assert!(list["value"][0]["details"]["response"].as_str().unwrap().contains("runs/1"));
    bench.running.shutdown().await.unwrap();
}
