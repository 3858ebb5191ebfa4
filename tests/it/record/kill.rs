//! Stopping everything, and one run; and nothing is done that cannot be recorded.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};

use crate::harness::{World, eventually};

const JOB: &str =
    "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it.";
const AGENT: &str = "ado-coworker@contoso.example";

/// What the agent user did in the organisation, as the organisation tells it.
async fn deeds(world: &World) -> Vec<String> {
    let host = url::Url::parse(&world.organization).unwrap().origin().ascii_serialization();
    let ledger: Value =
        world.http.get(format!("{host}/_simulator/ledger")).send().await.unwrap().json().await.unwrap();
    let all =
        ledger.as_array().or_else(|| ledger["value"].as_array()).or_else(|| ledger["entries"].as_array());
    let all = all.unwrap_or_else(|| panic!("{ledger}"));
    let own = all.iter().filter(|entry| entry["account"] == AGENT);
    own.map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect()
}

async fn ask(world: &World, method: &str, page: &str, path: &str, body: Value) -> (u16, Value) {
    let request = world.http.request(method.parse().unwrap(), format!("{page}{path}")).json(&body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
}

async fn under_way(world: &World, id: &str) -> i64 {
    eventually("the run is under way", async || {
        let run = world.run(id).await;
        let replied = run["steps"].as_array().unwrap().iter().any(|step| step["kind"] == "tool");
        (run["status"] == "running" && replied).then(|| run["last_seq"].as_i64().unwrap())
    })
    .await
}

/// Whether nothing happens for a while.
async fn stands_still(world: &World, id: &str) {
    let (run, done) = (world.run(id).await, deeds(world).await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let later = world.run(id).await;
    assert_eq!((&run["last_seq"], &run["status"]), (&later["last_seq"], &later["status"]), "{later}");
    assert_eq!(done, deeds(world).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_stops_at_once_for_all_replicas_and_across_a_restart_until_it_is_lifted() {
    let mut world = World::start_paced("60").await;
    let (beside, other) = world.beside(&[("ROLE", "web")]).await;
    let id = world.begin(JOB).await;
    under_way(&world, &id).await;
    // Through another process than the one that works.
    let (status, told) =
        ask(&world, "POST", &other, "/api/kill", json!({ "reason": "what is it doing?" })).await;
    assert_eq!(
        (status, &told["stopped"], &told["by"]),
        (200, &true.into(), &"local person".into()),
        "{told}"
    );
    assert_eq!(told["reason"], "what is it doing?");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.run(&id).await["status"], "queued");
    stands_still(&world, &id).await;
    let page = world.http.get(format!("{}/runs", world.page)).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Everything is stopped.") && page.contains("what is it doing?"), "{page}");

    world.kill_and_restart().await;
    let (_, told) = ask(&world, "GET", &world.page, "/api/kill", Value::Null).await;
    assert_eq!(told["stopped"], true, "it is stopped after a restart, too: {told}");
    let later = world.begin("List the open work items").await;
    stands_still(&world, &later).await;
    assert_eq!(world.run(&later).await["status"], "queued");

    let (status, told) = ask(&world, "DELETE", &world.page, "/api/kill", Value::Null).await;
    assert_eq!((status, &told["stopped"]), (200, &false.into()));
    assert_eq!(world.settled(&later).await["status"], "done");
    assert_eq!(world.settled(&id).await["status"], "done");
    let done = deeds(&world).await;
    for kind in ["work_item.created", "pull_request.created"] {
        assert_eq!(done.iter().filter(|did| *did == kind).count(), 1, "{kind} in {done:?}");
    }
    // Who did it stands in the house's log, which is checked like every other.
    let (status, text) = world.does(&["audit", "show", &"0".repeat(32)]).await;
    assert!(status == 0 && text.contains("house"), "{text}");
    let (status, text) = world.does(&["audit", "verify"]).await;
    assert_eq!(status, 0, "{text}");
    assert!(beside.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_killed_does_nothing_more() {
    let world = World::start_paced("60").await;
    let id = world.begin(JOB).await;
    under_way(&world, &id).await;
    let (status, told) = ask(&world, "POST", &world.page, &format!("/api/runs/{id}/kill"), Value::Null).await;
    assert_eq!(
        (status, &told["status"], &told["ended_now"]),
        (200, &"cancelled".into(), &true.into()),
        "{told}"
    );
    stands_still(&world, &id).await;
    let (status, told) = ask(&world, "POST", &world.page, &format!("/api/runs/{id}/kill"), Value::Null).await;
    assert_eq!((status, &told["ended_now"]), (200, &false.into()), "{told}");
    let (status, text) = world.does(&["audit", "verify", &id]).await;
    assert_eq!(status, 0, "{text}");
    // Another run is not touched by it.
    assert_eq!(world.order("List the open work items").await["status"], "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a62_nothing_is_done_that_cannot_be_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("full.db");
    // Six megabytes, of which another writer takes more than there are.
    let url = format!("sqlite:{}?max_page_count=1500", database.display());
    let world = World::start_set("60", &[("DATABASE_URL", &url)]).await;
    let id = world.begin(JOB).await;
    under_way(&world, &id).await;
    let mut other = sqlx::SqliteConnection::connect(&format!("sqlite:{}", database.display())).await.unwrap();
    other.execute("PRAGMA busy_timeout = 20000").await.unwrap();
    other.execute("CREATE TABLE junk (x BLOB)").await.unwrap();
    for _ in 0..8 {
        other.execute("INSERT INTO junk VALUES (randomblob(1000000))").await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    let done = deeds(&world).await;
    let intended: Vec<(String,)> =
        sqlx::query_as("SELECT body FROM log WHERE body LIKE '{\"type\":\"intended\"%'")
            .fetch_all(&mut other)
            .await
            .unwrap();
    let writes = done.iter().filter(|kind| kind.ends_with(".created") || kind.starts_with("push")).count();
    assert!(writes <= intended.len(), "{done:?} with {} intents", intended.len());
    let run = world.run(&id).await;
    assert_ne!(run["status"], "done", "the disk was full: {run}");
    other.execute("DROP TABLE junk").await.unwrap();
    other.close().await.unwrap();
    // With space it goes on by itself; a person sends it on if it was set aside meanwhile.
    let run = world.settled(&id).await;
    if run["status"] != "done" {
        world.post(&format!("/api/runs/{id}/messages"), json!({ "text": "Go on." })).await;
        assert_eq!(world.settled(&id).await["status"], "done");
    }
    let done = deeds(&world).await;
    for kind in ["work_item.created", "pull_request.created"] {
        assert_eq!(done.iter().filter(|did| *did == kind).count(), 1, "{kind} in {done:?}");
    }
}
