//! The main job: the sentence, and then the reviewer's comment.

use serde_json::{Value, json};

use crate::harness::{Demo, eventually};

const SENTENCE: &str =
    "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it.";
const AGENT: &str = "ado-coworker@contoso.example";
const API: &str = "api-version=7.1";

fn link<'a>(run: &'a Value, kind: &str) -> &'a Value {
    let links = run["links"].as_array().unwrap();
    links.iter().find(|link| link["kind"] == kind).unwrap_or_else(|| panic!("no {kind} in {links:?}"))
}

/// The number at the end of a link.
fn number(link: &Value) -> u64 {
    let url = link["url"].as_str().unwrap();
    url.rsplit('/').next().unwrap().parse().unwrap_or_else(|_| panic!("{url}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sentence_then_a_review_comment_then_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;

    let run = demo.order(SENTENCE).await;
    assert_eq!(run["status"], "done", "{run:#}");
    let work_item = number(link(&run, "work_item"));
    let pull_request = number(link(&run, "pull_request"));
    check_work_item(&demo, work_item, pull_request).await;
    let (branch, fixed) = check_pull_request(&demo, pull_request, work_item).await;
    check_fix(&demo, &branch).await;
    check_clone(&demo, &branch).await;
    check_commits(&demo, run["id"].as_str().unwrap()).await;

    let thread = comment(&demo, pull_request, "make the timeout configurable").await;
    let woken = woken_run(&demo, 1).await;
    assert_eq!(woken["status"], "done", "{woken:#}");
    assert_eq!(woken["source"], "webhook");
    check_follow_up(&demo, pull_request, thread, &fixed).await;
    check_no_echo(&demo).await;

    let before = told(&demo).await;
    demo.stop().await;
    let demo = Demo::start(folder.path()).await;
    assert_eq!(told(&demo).await, before, "a restart shows the same runs");
    let item = demo.as_person("alice", &format!("/_apis/wit/workitems/{work_item}?{API}")).await;
    assert_eq!(item["fields"]["System.Title"], "Fix login timeout", "the organisation is kept as well");
    demo.stop().await;
}

/// The first call of an answer begins in the answer's own commit, and what a commit writes has its time.
async fn check_commits(demo: &Demo, id: &str) {
    let url = format!("{}/api/runs/{id}/events", demo.page);
    let stream = demo.http.get(url).send().await.unwrap().text().await.unwrap();
    let told = stream.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok());
    let told: Vec<Value> = told.collect();
    let begun: Vec<_> = told.windows(2).filter(|pair| pair[1]["type"] == "tool_started").collect();
    let with_answer = begun.iter().filter(|pair| pair[0]["type"] == "replied");
    assert!(with_answer.clone().count() > 3, "{told:#?}");
    with_answer.for_each(|pair| assert_eq!(pair[0]["ts"], pair[1]["ts"], "{pair:#?}"));
}

/// Every run with all that is told of it; without its address, whose port is another each time.
async fn told(demo: &Demo) -> Vec<Value> {
    let runs = demo.get("/api/runs").await;
    let mut told = Vec::new();
    for run in runs["runs"].as_array().unwrap() {
        let mut run = demo.get(&format!("/api/runs/{}", run["id"].as_str().unwrap())).await;
        run.as_object_mut().unwrap().remove("url");
        told.push(run);
    }
    told
}

async fn check_work_item(demo: &Demo, id: u64, pull_request: u64) {
    let item = demo.as_person("alice", &format!("/_apis/wit/workitems/{id}?$expand=relations&{API}")).await;
    assert_eq!(item["fields"]["System.WorkItemType"], "Issue");
    assert_eq!(item["fields"]["System.Title"], "Fix login timeout");
    assert_eq!(item["fields"]["System.CreatedBy"]["uniqueName"], AGENT);
    let relations = item["relations"].to_string().to_lowercase();
    assert!(relations.contains("pullrequestid"), "pull request {pull_request} is linked: {relations}");
}

async fn check_pull_request(demo: &Demo, id: u64, work_item: u64) -> (String, String) {
    let found = demo.as_person("alice", &format!("/_apis/git/pullrequests/{id}?{API}")).await;
    assert_eq!(found["isDraft"], true);
    assert_eq!(found["createdBy"]["uniqueName"], AGENT);
    assert_eq!(found["targetRefName"], "refs/heads/main");
    assert!(!found["description"].as_str().unwrap().is_empty());
    let reviewers: Vec<&str> =
        found["reviewers"].as_array().unwrap().iter().map(|r| r["uniqueName"].as_str().unwrap()).collect();
    assert!(!reviewers.is_empty() && !reviewers.contains(&AGENT), "{reviewers:?}");
    let branch = found["sourceRefName"].as_str().unwrap().strip_prefix("refs/heads/").unwrap().to_owned();
    assert_eq!(branch, format!("agent/{work_item}-fix-login-timeout"));
    let path = format!("/Fabrikam/_apis/git/repositories/web-shop/pullRequests/{id}/commits?{API}");
    let commits = demo.as_person("alice", &path).await;
    assert_eq!(commits["count"], 1, "one commit repairs it");
    (branch, commits["value"][0]["commitId"].as_str().unwrap().to_owned())
}

/// The change is what repairs the seeded bug: the file differs from main, and main is untouched.
async fn check_fix(demo: &Demo, branch: &str) {
    let base = "/Fabrikam/_apis/git/repositories/web-shop";
    let path = format!("{base}/diffs/commits?baseVersion=main&targetVersion={branch}&{API}");
    let diff = demo.as_person("alice", &path).await;
    let changes = diff["changes"].as_array().unwrap();
    assert!(
        changes.iter().any(|c| c["item"]["path"].as_str().unwrap().contains("login")
            || c["item"]["path"].as_str().unwrap().contains("session")
            || c["item"]["path"].as_str().unwrap().contains("auth")),
        "{changes:?}"
    );
    assert!(changes.iter().all(|c| c["changeType"] != "delete"));
}

/// `git clone` over HTTP shows the commits with the agent user as author.
async fn check_clone(demo: &Demo, branch: &str) {
    let folder = demo.data.join("clone");
    let url = format!("{}/Fabrikam/_git/web-shop", demo.organization).replace("://", "://alice:demo-alice@");
    git(&["clone", "-q", &url, folder.to_str().unwrap()]).await;
    let reference = format!("origin/{branch}");
    let log = git(&["-C", folder.to_str().unwrap(), "log", "-1", "--format=%ae%n%ce%n%B", &reference]).await;
    let mut lines = log.lines();
    assert_eq!((lines.next(), lines.next()), (Some(AGENT), Some(AGENT)));
    assert!(log.contains("\nAgent-Run: ") && log.contains("\nAgent-Step: "), "{log}");
}

#[allow(clippy::disallowed_methods, reason = "a real git client checks the simulated server")]
async fn git(arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::new("git");
    command.args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn comment(demo: &Demo, pull_request: u64, text: &str) -> u64 {
    let path = format!("/Fabrikam/_apis/git/repositories/web-shop/pullRequests/{pull_request}/threads?{API}");
    let body = json!({ "comments": [{ "parentCommentId": 0, "content": text, "commentType": "text" }],
        "status": "active" });
    demo.send_as("alice", "POST", &path, body).await["id"].as_u64().unwrap()
}

/// The `n`th run that a webhook started, when it has ended.
async fn woken_run(demo: &Demo, n: usize) -> Value {
    let id = eventually("a run that a webhook started", async || {
        let runs = demo.get("/api/runs").await;
        let woken: Vec<&Value> =
            runs["runs"].as_array().unwrap().iter().filter(|run| run["source"] == "webhook").collect();
        (woken.len() >= n).then(|| woken[0]["id"].as_str().unwrap().to_owned())
    })
    .await;
    demo.ended(&id).await
}

async fn check_follow_up(demo: &Demo, pull_request: u64, thread: u64, first: &str) {
    let base = format!("/Fabrikam/_apis/git/repositories/web-shop/pullRequests/{pull_request}");
    let commits = demo.as_person("alice", &format!("{base}/commits?{API}")).await;
    assert_eq!(commits["count"], 2, "{commits:#}");
    assert_eq!(commits["value"][1]["commitId"], first, "the first commit stays");
    let thread = demo.as_person("alice", &format!("{base}/threads/{thread}?{API}")).await;
    assert_eq!(thread["status"], "fixed");
    let comments = thread["comments"].as_array().unwrap();
    assert_eq!(comments.len(), 2, "{comments:?}");
    assert_eq!(comments[1]["author"]["uniqueName"], AGENT);
}

/// The co-worker's own comments and pushes came in as events too, and woke nobody.
async fn check_no_echo(demo: &Demo) {
    let events = eventually("every event to be judged", async || {
        let events = demo.get("/api/events").await;
        let events = events["events"].as_array().unwrap().clone();
        let own =
            events.iter().filter(|e| e["reason"].as_str().is_some_and(|r| r.contains("itself"))).count();
        (own >= 1 && events.iter().all(|event| event["status"] != "received")).then_some(events)
    })
    .await;
    let running = events.iter().filter(|event| event["run"].is_string()).count();
    assert_eq!(running, 1, "one event started a run: {events:#?}");
}
