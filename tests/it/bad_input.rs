//! What comes in wrong is said clearly where the person looks, and nothing hangs.

use serde_json::{Value, json};

use crate::harness::{HOOK, PATIENCE, Process, World, command, eventually, settings};

/// Summaries of the tool calls of a run.
fn tools(run: &Value) -> Vec<(String, String)> {
    let steps = run["steps"].as_array().unwrap();
    let tool = |step: &Value| Some((step["tool"].as_str()?.to_owned(), step["status"].as_str()?.to_owned()));
    steps.iter().filter_map(tool).collect()
}

fn call(name: &str, arguments: Value) -> Value {
    json!({ "name": name, "arguments": arguments })
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_cannot_be_taken_are_refused_with_words() {
    let world = World::start().await;
    for (body, status, word) in [
        (json!({ "instruction": "  " }), 400, "empty"),
        (json!({ "instruction": "x".repeat(17_000) }), 413, "long"),
        (json!({ "instruction": "hello", "project": "Nowhere" }), 404, "Nowhere"),
        (json!({ "instruction": "hello", "repository": "nothing" }), 404, "nothing"),
        (json!({ "instruction": 7 }), 400, ""),
        (json!({}), 400, "instruction"),
    ] {
        let (found, problem) = world.post("/api/runs", body).await;
        assert_eq!(found, status, "{problem}");
        let text = problem.to_string();
        assert!(text.contains(word), "'{word}' is not in {text}");
        assert!(problem["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{text}");
    }
    let response =
        world.http.get(format!("{}/api/runs/{}", world.page, "0".repeat(32))).send().await.unwrap();
    assert_eq!(response.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_misbehaves_does_not_hang_or_break_the_run() {
    let world = World::start().await;

    // Malformed arguments, an unknown tool, several calls at once: the model hears what is wrong.
    world
        .script(json!([
            { "kind": "calls", "calls": [call("read_file", json!("{\"path\": \"/READ")), call("dance", json!({}))] },
            { "kind": "calls", "calls": [
                call("list_files", json!({ "path": null, "branch": null, "recursive": false })),
                call("read_file", json!({ "path": "/../etc/passwd", "branch": null, "start_line": null, "end_line": null }))
            ] },
            { "kind": "reply", "text": "That is all." }
        ]))
        .await;
    let run = world.order("look around").await;
    assert_eq!(run["status"], "done", "{run:#}");
    let expected =
        [("read_file", "failed"), ("dance", "failed"), ("list_files", "ok"), ("read_file", "failed")];
    assert_eq!(tools(&run), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));

    // Nothing at all, three times.
    world.script(json!([{ "kind": "empty" }, { "kind": "empty" }, { "kind": "empty" }])).await;
    let run = world.order("say something").await;
    assert_eq!(run["status"], "failed");
    assert!(run["answer"].as_str().unwrap().contains("nothing to act on"), "{run:#}");
    assert!(run["remedy"].is_string());

    // A stream that breaks is asked for again, and a short throttle is waited out.
    world
        .script(json!([
            { "kind": "broken_stream", "after": 2 },
            { "kind": "throttle", "retry_after": 1 },
            { "kind": "throttle", "retry_after": 1, "gateway": true },
            { "kind": "reply", "text": "Here I am." }
        ]))
        .await;
    let run = world.order("are you there?").await;
    assert_eq!((&run["status"], &run["answer"]), (&json!("done"), &json!("Here I am.")), "{run:#}");

    // A refusal of the content filter ends the run with a remedy.
    world.script(json!([{ "kind": "content_filter" }])).await;
    let run = world.order("something else").await;
    assert_eq!(run["status"], "failed");
    assert!(run["remedy"].is_string(), "{run:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_devops_is_waited_for_and_a_moved_branch_is_told() {
    let world = World::start().await;
    let throttle = json!({ "route": "GET refs", "nth": 1, "kind": "throttle", "args": { "retry_after": 1 } });
    world.fault(throttle).await;
    let list = || call("list_files", json!({ "path": null, "branch": null, "recursive": true }));
    world
        .script(json!([{ "kind": "calls", "calls": [list()] }, { "kind": "reply", "text": "Listed." }]))
        .await;
    let run = world.order("list").await;
    assert_eq!((&run["status"], tools(&run)[0].1.as_str()), (&json!("done"), "ok"), "{run:#}");

    // The base is one that the branch does not stand at, and the branch of main is not ours.
    let change = |branch: &str, base: &str| {
        let change =
            json!({ "path": "/new.txt", "action": "add", "content": "x\n", "edits": null, "new_path": null });
        let (branch, base) = (Some(branch).filter(|b| !b.is_empty()), Some(base).filter(|b| !b.is_empty()));
        call(
            "push_changes",
            json!({ "branch": branch, "work_item_id": null, "message": "Add a file",
            "base_commit": base, "changes": [change] }),
        )
    };
    world
        .script(json!([
            { "kind": "calls", "calls": [change("", &"a".repeat(40))] },
            { "kind": "calls", "calls": [change("main", "")] },
            { "kind": "reply", "text": "It moved." }
        ]))
        .await;
    let run = world.order("push").await;
    let found = tools(&run);
    assert_eq!((found[0].1.as_str(), found[1].1.as_str()), ("failed", "refused"), "{run:#}");
    let untouched = world
        .http
        .get(format!(
            "{}/Fabrikam/_apis/git/repositories/web-shop/items?path=/new.txt&api-version=7.1",
            world.organization
        ))
        .basic_auth("alice", Some("demo-alice"))
        .send()
        .await
        .unwrap();
    assert_eq!(untouched.status(), 404, "main is untouched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_text_is_told_to_be_none() {
    let world = World::start().await;
    let base = format!("{}/Fabrikam/_apis/git/repositories/web-shop", world.organization);
    let refs: Value = world
        .http
        .get(format!("{base}/refs?filter=heads/main&api-version=7.1"))
        .basic_auth("alice", Some("demo-alice"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let tip = refs["value"][0]["objectId"].as_str().unwrap();
    let push = json!({
        "refUpdates": [{ "name": "refs/heads/main", "oldObjectId": tip }],
        "commits": [{ "comment": "Add a picture", "changes": [{ "changeType": "add", "item": { "path": "/logo.png" },
            "newContent": { "content": "iVBORw0KGgoA/w==", "contentType": "base64encoded" } }] }]
    });
    let pushed = world.http.post(format!("{base}/pushes?api-version=7.1")).json(&push);
    let pushed = pushed.basic_auth("alice", Some("demo-alice")).send().await.unwrap();
    assert_eq!(pushed.status(), 201, "{}", pushed.text().await.unwrap());
    let read = call(
        "read_file",
        json!({ "path": "/logo.png", "branch": null, "start_line": null, "end_line": null }),
    );
    world
        .script(json!([{ "kind": "calls", "calls": [read] }, { "kind": "reply", "text": "A picture." }]))
        .await;
    let run = world.order("read the logo").await;
    assert_eq!(tools(&run)[0], ("read_file".to_owned(), "failed".to_owned()));
    assert!(run.to_string().contains("not a UTF-8 text file"), "{run:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_judged_without_scaring_the_sender() {
    let world = World::start().await;
    let url = format!("{}/webhooks/azure-devops", world.page);
    let known =
        json!({ "id": "e-1", "eventType": "workitem.updated", "resource": { "id": 1, "workItemId": 1 } });
    let unknown = json!({ "id": "e-2", "eventType": "tfvc.checkin", "resource": {} });
    for (password, body, status) in [
        ("wrong", known.to_string(), 401),
        (HOOK.1, "{not json".to_owned(), 200),
        (HOOK.1, unknown.to_string(), 200),
        (HOOK.1, known.to_string(), 200),
        (HOOK.1, known.to_string(), 200),
        (HOOK.1, format!("\"{}\"", "x".repeat(5 * 1024 * 1024)), 413),
    ] {
        let request = world.http.post(&url).basic_auth(HOOK.0, Some(password)).body(body.clone());
        // A body over the limit may be refused before it is read to its end.
        let Ok(response) = request.header("content-type", "application/json").send().await else {
            assert_eq!(status, 413);
            continue;
        };
        assert_eq!(response.status(), status, "{}", body.chars().take(80).collect::<String>());
    }
    let events = eventually("the events to be judged", async || {
        let events: Value =
            world.http.get(format!("{}/api/events", world.page)).send().await.unwrap().json().await.unwrap();
        let events = events["events"].as_array().unwrap().clone();
        events.iter().all(|event| event["status"] == "ignored").then_some(events)
    })
    .await;
    assert_eq!(
        events.len(),
        3,
        "the one with wrong credentials and the repeated one are not there: {events:#?}"
    );
    assert!(events.iter().all(|event| event["reason"].as_str().is_some_and(|reason| !reason.is_empty())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_comes_up_late_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // Ports as `simulate` lays them out: organisation, Entra, sidecar, model.
    let port = |n: u16| format!("http://127.0.0.1:{}", free + n);
    let organization = format!("{}/contoso", port(0));
    let mut serve = command(&["serve"]);
    serve.envs(settings(&organization, &port(2), &port(3), folder.path()));
    let mut server = Process::start(serve);
    let page = server.told("ready").await;
    let http = ado_coworker::config::http_client().unwrap();
    let body = json!({ "instruction": "What can you do?" });
    let made: Value =
        http.post(format!("{page}/api/runs")).json(&body).send().await.unwrap().json().await.unwrap();
    let run = format!("{page}/api/runs/{}", made["id"].as_str().unwrap());
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let shown: Value = http.get(&run).send().await.unwrap().json().await.unwrap();
    assert!(["running", "waiting"].contains(&shown["status"].as_str().unwrap()), "{shown:#}");
    let free = free.to_string();
    let mut simulation = Process::start(command(&["simulate", "--simulator-port", &free, "--pace", "0"]));
    simulation.told("ready").await;
    let shown = eventually("the run to end", async || {
        let shown: Value = http.get(&run).send().await.unwrap().json().await.unwrap();
        (shown["status"] == "done").then_some(shown)
    })
    .await;
    assert!(shown["answer"].as_str().unwrap().contains("scripted"), "it says what it is: {shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_ports_that_do_not_fit_are_named() {
    let output = command(&["serve"]).stderr(std::process::Stdio::piped()).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    for name in ["AZURE_DEVOPS_ORGANIZATION_URL", "SIDECAR_URL", "AZURE_OPENAI_ENDPOINT"] {
        assert!(text.contains(name), "{text}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (option, other) in [("--port", "--simulator-port"), ("--simulator-port", "--port")] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let mut demo = command(&["demo", option, &port, other, "0", "--data", data]);
        let output = demo.stderr(std::process::Stdio::piped()).output();
        let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends").unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&port) && text.contains(option), "{option}: {text}");
    }
}
