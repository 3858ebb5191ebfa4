//! Hooks that come late, twice or in another order; time that is moved by hand; a process that is killed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::{Json, Router};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Bench, bench, bench_at, settings};
use crate::clock::Clock;
use crate::simulator::azure_devops::state::Data;
use crate::simulator::azure_devops::storage;
use crate::simulator::{Webhook, start};

/// What a receiver of service hooks was told, as event types and titles.
type Heard = Arc<Mutex<Vec<String>>>;

async fn receiver() -> (Webhook, Heard) {
    let heard = Heard::default();
    let hear = |State(heard): State<Heard>, Json(body): Json<Value>| async move {
        let title = body["resource"]["fields"]["System.Title"].as_str().unwrap_or_default().to_owned();
        if body["eventType"] == "workitem.created" {
            heard.lock().unwrap().push(title);
        }
    };
    let routes = Router::new().fallback(hear).with_state(heard.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (Webhook { url, username: "u".into(), password: "p".into() }, heard)
}

async fn create(bench: &Bench, title: &str) {
    let title = json!([{"op": "add", "path": "/fields/System.Title", "value": title}]);
    bench.ok("alice", Method::POST, "Fabrikam/_apis/wit/workitems/$Issue", Some(title)).await;
}

async fn control(bench: &Bench, method: Method, command: &str, body: Value) -> Value {
    let origin = bench.running.organization_url.origin().ascii_serialization();
    let url = format!("{origin}/_simulator/{command}");
    let request = bench.client.request(method, url).header("content-type", "application/json");
    request.body(body.to_string()).send().await.unwrap().json().await.unwrap()
}

/// Waits until `count` events were heard, and a little longer for one too many.
async fn heard_after(heard: &Heard, count: usize) -> Vec<String> {
    for _ in 0..400 {
        if heard.lock().unwrap().len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    heard.lock().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_come_twice_late_and_in_another_order_on_demand() {
    let (webhook, heard) = receiver().await;
    let bench = bench(Some(webhook)).await;
    let arm = |kind: &str, nth: u32, args: Value| {
        let fault = json!({"route": "workitem.created", "nth": nth, "kind": kind, "args": args});
        control(&bench, Method::POST, "faults", fault)
    };
    arm("duplicate_hook", 1, json!({})).await;
    create(&bench, "twice").await;
    assert_eq!(heard_after(&heard, 2).await, ["twice", "twice"]);

    heard.lock().unwrap().clear();
    control(&bench, Method::DELETE, "faults", Value::Null).await;
    arm("reorder_hooks", 1, json!({})).await;
    create(&bench, "first").await;
    create(&bench, "second").await;
    assert_eq!(heard_after(&heard, 2).await, ["second", "first"]);

    heard.lock().unwrap().clear();
    control(&bench, Method::DELETE, "faults", Value::Null).await;
    arm("delay_hook", 1, json!({"seconds": 1})).await;
    create(&bench, "late").await;
    create(&bench, "in time").await;
    assert_eq!(heard_after(&heard, 2).await, ["in time", "late"]);
    bench.running.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_stepped_time_nothing_happens_by_itself() {
    let bench = bench_at(None, Clock::stepped("2026-03-02T09:00:00Z".parse().unwrap())).await;
    let build = json!({"definition": {"id": 1}, "sourceBranch": "refs/heads/main"});
    while control(&bench, Method::POST, "step", Value::Null).await["left"] != 0 {}
    let made = bench.ok("alice", Method::POST, "Fabrikam/_apis/build/builds", Some(build)).await;
    let path = format!("Fabrikam/_apis/build/builds/{}", made["id"]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.get(&path).await["status"], "notStarted");
    let step = control(&bench, Method::POST, "step", Value::Null).await;
    assert!(step["left"].as_u64() > Some(0), "{step}");
    assert_eq!(bench.get(&path).await["status"], "inProgress");
    let before = control(&bench, Method::GET, "clock", Value::Null).await;
    assert_eq!(before["stepped"], true);
    let after = control(&bench, Method::POST, "clock", json!({"advance_seconds": 30})).await;
    assert!(after["now"].as_str() > before["now"].as_str(), "{before} {after}");
    while control(&bench, Method::POST, "step", Value::Null).await["left"] != 0 {}
    let ended = bench.get(&path).await;
    assert_eq!((&ended["status"], &ended["result"]), (&json!("completed"), &json!("succeeded")));
    let jumped = control(&bench, Method::POST, "clock", json!({"jump_to": "2026-02-01T00:00:00Z"})).await;
    assert_eq!(jumped["now"], "2026-02-01T00:00:00Z");
    let refused = control(&bench, Method::POST, "clock", json!({"advance_seconds": -1})).await;
    assert!(refused["error"].is_string(), "{refused}");
    bench.running.shutdown().await.unwrap();
}

/// The state as the next start would find it.
fn on_disk(bench: &Bench) -> Value {
    serde_json::to_value(storage::load(bench.folder.path()).unwrap()).unwrap()
}

fn in_memory(bench: &Bench) -> Value {
    let world = bench.running.organisation.lock();
    let data: &Data = &world;
    serde_json::to_value(data).unwrap()
}

/// Most looks at what is on disk.
const LOOKS: usize = 100;

/// What is on disk is what it knows. What became of a delivery answers nobody, and may be there a
/// moment later.
async fn is_kept(bench: &Bench) {
    for _ in 0..LOOKS {
        if on_disk(bench) == in_memory(bench) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never became the same: {}\n{}", on_disk(bench), in_memory(bench));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_a_kill() {
    let (webhook, heard) = receiver().await;
    let bench = bench(Some(webhook)).await;
    create(&bench, "kept").await;
    let change = json!([{"changeType": "add", "item": {"path": "/kept.md"}, "newContent": {"content": "x", "contentType": "rawtext"}}]);
    bench.push_branch("agent/kept", change).await;
    let new = json!({"sourceRefName": "refs/heads/agent/kept", "targetRefName": "refs/heads/main", "title": "Kept"});
    let path = format!("{}/pullrequests", super::REPOSITORY);
    bench.ok("agent", Method::POST, &path, Some(new)).await;
    heard_after(&heard, 1).await;
    while !bench.running.organisation.lock().jobs.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // No shutdown and no save: only what was written while it ran.
    is_kept(&bench).await;
    // Half a line, as a kill leaves it, is no line.
    let generation = bench.running.organisation.lock().generation;
    let log = bench.folder.path().join(format!("state.{generation}.log"));
    let text = std::fs::read(&log).unwrap();
    assert!(text.len() > 1_000, "the log holds {} bytes", text.len());
    std::fs::write(&log, [&text[..], b"{\"work_items\": {\"1\":"].concat()).unwrap();
    is_kept(&bench).await;
    std::fs::write(&log, text).unwrap();
    // A new log takes over, with nothing lost.
    storage::save(&bench.running.organisation, bench.folder.path()).unwrap();
    create(&bench, "after").await;
    assert!(!log.exists());
    is_kept(&bench).await;
    let copy = tempfile::tempdir().unwrap();
    bench.running.save_to(copy.path()).unwrap();
    let other = tempfile::tempdir().unwrap();
    let mut again = settings(other.path().to_owned(), None);
    again.load = Some(copy.path().to_owned());
    let again = start(again).await.unwrap();
    let found = again.organisation.lock();
    assert!(found.work_items.values().any(|w| w.title() == "after"));
    drop(found);
    again.shutdown().await.unwrap();
    bench.running.shutdown().await.unwrap();
}
