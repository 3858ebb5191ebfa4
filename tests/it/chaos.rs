//! Faults of the outside while the co-worker works: Azure DevOps, the model, the sidecar, the network,
//! the senders of webhooks, the readers of streams. The story ends as it does without them.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::crash::audit::Evidence;
use crate::crash::proxy::Manner;
use crate::crash::site::{SENTENCE, Site};
use crate::crash::watcher::Watcher;
use crate::crash::{calm, differences};
use crate::harness::HOOK;

/// Longest time that a stream may need to tell the end of a run.
const STREAM_END: Duration = Duration::from_secs(10);

async fn opened() -> Site {
    let mut site = Site::start().await;
    assert!(site.open().await, "{}", site.log());
    site
}

/// Tells the story to its end; what is there then is what is there without any fault.
async fn ends_as_without_faults(mut site: Site) {
    site.story().await;
    site.close().await;
    let evidence = Evidence::of(&site, Vec::new()).await;
    let mut faults = evidence.violations();
    faults.extend(differences(&evidence, calm().await));
    assert!(faults.is_empty(), "{}\n{}", faults.join("\n"), crate::crash::site::last_lines(&site.log()));
}

async fn arm(site: &Site, faults: Value) {
    site.simulator(&site.organization, "faults", Some(faults)).await;
}

fn fault(route: &str, nth: u32, kind: &str, args: Value) -> Value {
    json!({ "route": route, "nth": nth, "kind": kind, "args": args })
}

/// The writes of the story, as the simulated organisation names them.
const WRITES: [&str; 6] = [
    "POST /wit/workitems/$",
    "POST refs",
    "POST pushes",
    "POST pullrequests",
    "POST comments",
    "PATCH threads",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_azure_devops_that_stumbles_changes_nothing() {
    let site = opened().await;
    let short = json!({ "retry_after": 1 });
    let faults = json!([
        fault("*", 3, "expired_token", json!({})),
        fault("*", 6, "retry_after_on_success", short.clone()),
        fault("GET items", 2, "sign_in_page", json!({})),
        fault("GET items", 4, "truncate", json!({})),
        fault("GET refs", 1, "throttle", short.clone()),
        fault("POST pushes", 1, "throttle", short),
        fault("GET refs", 3, "server_error", json!({ "status": 503 })),
        fault("GET threads", 1, "latency", json!({ "ms": 500 })),
    ]);
    arm(&site, faults).await;
    ends_as_without_faults(site).await;
}

/// Rights and names that are gone for a moment: the run may give up in words, and makes nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_that_flicker_end_in_words_and_nothing_is_made_twice() {
    for nth in 1..=3 {
        let mut site = opened().await;
        let faults = json!([
            fault("GET refs", nth, "forbidden", json!({})),
            fault("GET items", nth, "not_found", json!({})),
            fault("POST pushes", nth, "forbidden", json!({})),
            fault("POST pullrequests", nth, "not_found", json!({})),
        ]);
        arm(&site, faults).await;
        for run in site.story().await {
            let status = run["status"].as_str().unwrap_or("none");
            assert!(["done", "failed", "none"].contains(&status), "{run:#}");
            assert!(status != "failed" || run["remedy"].is_string(), "{run:#}");
        }
        site.close().await;
        let found = Evidence::of(&site, Vec::new()).await.violations();
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_fail_after_their_effect_are_not_made_again() {
    let site = opened().await;
    let failing =
        WRITES.map(|route| fault(route, 1, "server_error", json!({ "status": 503, "after": true })));
    arm(&site, json!(failing)).await;
    ends_as_without_faults(site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_stumbles_changes_nothing() {
    let site = opened().await;
    let behaviours = json!([
        { "kind": "throttle", "retry_after": 1 }, { "kind": "server_error", "status": 500 },
        { "kind": "broken_stream", "after": 3 }, { "kind": "normal" },
        { "kind": "broken_stream", "after": 12 }, { "kind": "throttle", "retry_after": 1, "gateway": true },
    ]);
    site.simulator(&site.model, "script", Some(behaviours)).await;
    ends_as_without_faults(site).await;
}

/// Whatever the model does, its run ends, and what is written down of it holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_raves_ends_its_run_in_words() {
    let mut site = opened().await;
    let call = |name: &str, arguments: Value| json!({ "name": name, "arguments": arguments });
    let list = call("list_files", json!({ "path": null, "branch": null, "recursive": false }));
    let many: Vec<Value> = (0..40).map(|_| list.clone()).collect();
    for (behaviours, statuses) in [
        (
            json!([{ "kind": "calls", "calls": [list, list], "same_id": true }, { "kind": "reply", "text": "x" }]),
            vec!["done", "failed"],
        ),
        (
            json!([{ "kind": "calls", "calls": many }, { "kind": "reply", "text": "x" }]),
            vec!["done", "failed"],
        ),
        (json!([{ "kind": "reply", "text": "x".repeat(1_200_000) }]), vec!["done", "failed"]),
        (json!([{ "kind": "context_overflow" }]), vec!["failed"]),
        (json!([{ "kind": "empty" }, { "kind": "empty" }, { "kind": "empty" }]), vec!["failed"]),
        (
            json!([{ "kind": "unknown_tool" }, { "kind": "malformed_arguments" }, { "kind": "reply", "text": "x" }]),
            vec!["done"],
        ),
    ] {
        site.simulator(&site.model, "script", Some(behaviours)).await;
        let id = site.order(&format!("look around, {}", uuid::Uuid::new_v4())).await;
        let run = site.settled(&id).await;
        let status = run["status"].as_str().unwrap();
        assert!(statuses.contains(&status), "{statuses:?}: {run:#}");
        assert!(status == "done" || run["remedy"].is_string(), "{run:#}");
        let left = site.http.delete(format!("{}/_simulator/script", site.model.trim_end_matches('/')));
        left.send().await.unwrap();
    }
    site.close().await;
    let found = Evidence::of(&site, Vec::new()).await.violations();
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_stumbles_changes_nothing() {
    let site = opened().await;
    site.simulator(&site.sidecar, "break", Some(json!({ "times": 2, "status": 500 }))).await;
    site.simulator(&site.sidecar, "delay", Some(json!({ "times": 2, "ms": 300 }))).await;
    // Every token that is out there is refused from now on.
    site.simulator(&site.sidecar, "expire", Some(json!({}))).await;
    ends_as_without_faults(site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_somebody_else_is_never_used() {
    let mut site = Site::start().await;
    // A token of the application comes where one of the agent's user is wanted.
    let wrong = json!({ "profile": "ado", "request_app_token": true });
    site.simulator(&site.sidecar, "configure", Some(wrong)).await;
    assert!(site.open().await);
    let id = site.order(SENTENCE).await;
    site.until("the run to say what is wrong", async |site| {
        let run = site.get(&format!("/api/runs/{id}")).await?;
        let steps = run["steps"].as_array()?;
        let said = steps.iter().any(|step| step["status"] == "failed");
        (said || run["status"] == "failed" || run["waiting_for"] == "rate_limit").then_some(())
    })
    .await;
    site.close().await;
    let evidence = Evidence::of(&site, Vec::new()).await;
    assert_eq!(evidence.effects(), Vec::<String>::new(), "nothing was done with a wrong token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_network_changes_nothing() {
    // One byte at a time, for the sidecar and the model.
    let site = opened().await;
    site.outside[1].behave(Manner::Dribble);
    site.outside[2].behave(Manner::Dribble);
    let dribbling = ends_as_without_faults(site);

    // Nothing passes at first, in two ways.
    let site = opened().await;
    site.outside[0].behave(Manner::Refuse);
    site.outside[2].behave(Manner::BlackHole(Duration::from_secs(1)));
    let ways = [site.outside[0].way(), site.outside[2].way()];
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        ways.iter().for_each(|way| way.behave(Manner::Honest));
    });
    let closed = ends_as_without_faults(site);

    // The answer to every write to the repository is lost, always.
    let site = opened().await;
    site.outside[0].behave(Manner::LoseAnswers("POST /contoso/Fabrikam/_apis/git/"));
    let way = site.outside[0].way();
    let deaf = ends_as_without_faults(site);
    tokio::join!(dribbling, closed, deaf);
    assert!(way.lost() >= 4, "{} answers were lost", way.lost());
}

/// Deliveries of a burst that are under way at once.
const SENDERS: usize = 64;

/// A delivery as the service sends it.
fn delivery(event: &str, pull_request: u32, repository: &str) -> Value {
    json!({
        "id": event, "eventType": "ms.vss-code.git-pullrequest-comment-event", "resourceVersion": "2.0",
        "resource": {
            "comment": { "id": 1, "_links": { "threads": { "href":
                format!("http://x/_apis/git/repositories/{repository}/pullRequests/{pull_request}/threads/1") } } },
            "pullRequest": { "pullRequestId": pull_request, "repository": { "id": repository } }
        }
    })
}

async fn deliver(site: &Site, password: &str, body: Vec<u8>) -> u16 {
    let url = format!("{}/webhooks/azure-devops", site.page);
    let request = site.http.post(url).basic_auth(HOOK.0, Some(password)).body(body);
    // A body over the limit may be refused before it is read to its end.
    let answer = request.header("content-type", "application/json").send().await;
    answer.map_or(413, |answer| answer.status().as_u16())
}

async fn stored(site: &Site) -> usize {
    let journal = ado_coworker::journal::Journal::open(&site.database(), ado_coworker::clock::Clock::Real)
        .await
        .unwrap();
    journal.intake(20_000).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_of_webhooks_cannot_lose_or_double_an_event() {
    let mut site = opened().await;
    let repository = uuid::Uuid::new_v4().to_string();
    let body = |event: usize| delivery(&format!("e-{event}"), 99, &repository).to_string().into_bytes();

    // A slow sender holds a connection, and is nobody's trouble.
    let address = site.page.trim_start_matches("http://").to_owned();
    let mut slow = TcpStream::connect(&address).await.unwrap();
    slow.write_all(b"POST /webhooks/azure-devops HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{")
        .await
        .unwrap();

    assert_eq!(deliver(&site, "wrong", body(0)).await, 401);
    assert_eq!(deliver(&site, HOOK.1, vec![b'x'; 10 * 1024 * 1024]).await, 413);
    assert_eq!(deliver(&site, HOOK.1, b"\xff\xfe nonsense".to_vec()).await, 200);
    // A burst, each event twice and out of order, of a repository that is not there.
    let events = 5_000;
    let burst = (0..2 * events).map(|n| (n * 7919) % events).map(|event| deliver(&site, HOOK.1, body(event)));
    let mut answers = futures_util::stream::iter(burst).buffer_unordered(SENDERS);
    while let Some(status) = answers.next().await {
        assert_eq!(status, 200);
    }
    drop(answers);
    site.kill().await;
    site.until("it to be there again", async |site| site.get("/api/events").await.map(|_| ())).await;
    // The same again after a restart: nothing is new.
    for event in (0..events).step_by(500) {
        assert_eq!(deliver(&site, HOOK.1, body(event)).await, 200);
    }
    assert_eq!(stored(&site).await, events + 1, "each event once, and the nonsense");
    site.until("every event to be judged", async |site| {
        let events = site.get("/api/events?limit=200").await?;
        let open = |event: &Value| event["status"] == "received";
        (!events["events"].as_array()?.iter().any(open)).then_some(())
    })
    .await;
    let runs = site.get("/api/runs").await.unwrap();
    assert_eq!(runs["runs"], json!([]), "a repository that is not served starts nothing");
    drop(slow);
    site.close().await;
}

/// The database may have so many pages of 4 KiB: room for its tables and a few hundred events.
const PAGES: u32 = 120;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_loses_nothing() {
    let mut site = Site::start().await;
    let database = site.database();
    site.set("DATABASE_URL", format!("{database}?max_page_count={PAGES}"));
    assert!(site.open().await, "{}", site.log());
    let repository = uuid::Uuid::new_v4().to_string();
    let body = |event: usize| delivery(&format!("e-{event}"), 99, &repository).to_string().into_bytes();
    let (mut taken, mut refused) = (0, 0);
    while refused < 3 {
        assert!(taken < 5_000, "the disk never fills");
        match deliver(&site, HOOK.1, body(taken + refused)).await {
            200 => taken += 1,
            503 => refused += 1,
            other => panic!("a full disk was told as {other}"),
        }
    }
    // There is room again, and the sender comes again.
    site.close().await;
    site.set("DATABASE_URL", database);
    assert!(site.open().await, "{}", site.log());
    for event in 0..taken + refused {
        assert_eq!(deliver(&site, HOOK.1, body(event)).await, 200);
    }
    assert_eq!(stored(&site).await, taken + refused);
    site.close().await;
}

/// Kilobytes of memory that a process holds.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stall_or_vanish_cost_little_and_the_others_see_everything_once() {
    let mut site = opened().await;
    let long = "word ".repeat(4_000);
    site.simulator(&site.model, "script", Some(json!([{ "kind": "reply", "text": long }]))).await;
    let before = resident(site.pid());
    let id = site.order("say something long").await;
    let address = site.page.trim_start_matches("http://").to_owned();
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request = format!("GET /api/runs/{id}/events HTTP/1.1\r\nhost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    // Some vanish in the middle of a sentence.
    for mut stream in stalled.drain(..10) {
        let mut some = [0; 64];
        let _ = stream.read(&mut some).await;
    }
    let page = site.page.clone();
    let tabs = [0, 1].map(|_| Watcher::of(page.clone(), id.clone(), site.http.clone()));
    let run = site.settled(&id).await;
    assert_eq!(run["status"], "done", "{run:#}");
    let mut seen = Vec::new();
    for tab in tabs {
        seen.push(tab.close(STREAM_END).await);
    }
    assert!(seen.iter().all(|seen| seen.ended), "both tabs saw the end");
    let grown = resident(site.pid()).saturating_sub(before);
    assert!(grown < 64 * 1024, "{} stalled readers cost {grown} KiB", stalled.len());
    drop(stalled);
    site.close().await;
    let found = Evidence::of(&site, seen).await.violations();
    assert!(found.is_empty(), "{found:#?}");
}

/// A browser that is cut off again and again, and resumes by the last id that it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_again_and_again_is_the_log_exactly_once() {
    let mut site = opened().await;
    let page = format!("http://{}", site.hook.address);
    // The model takes its time, so that there is something to come back to.
    let slow = json!([{ "kind": "delay", "ms": 1500 }, { "kind": "delay", "ms": 1500 }, { "kind": "delay", "ms": 1500 }]);
    site.simulator(&site.model, "script", Some(slow)).await;
    let id = site.order(SENTENCE).await;
    let watcher = Watcher::of(page, id.clone(), site.http.clone());
    let mut entries = 0;
    for connections in 1..=3 {
        entries = site
            .until("a stream with something new", async |_| {
                let (made, seen) = watcher.progress();
                (made >= connections && seen > entries).then_some(seen)
            })
            .await;
        site.hook.cut();
    }
    site.settled(&id).await;
    let seen = watcher.close(STREAM_END).await;
    assert!(seen.ended && seen.connections > 3, "{seen:?}");
    site.close().await;
    let found = Evidence::of(&site, vec![seen]).await.violations();
    assert!(found.is_empty(), "{found:#?}");
}
