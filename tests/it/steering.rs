//! People steer, stop and answer runs; a killed process goes on where it was.

use serde_json::{Value, json};

use crate::harness::{World, eventually};

fn calls(name: &str, arguments: Value) -> Value {
    json!({ "kind": "calls", "calls": [{ "name": name, "arguments": arguments }] })
}

fn listing() -> Value {
    calls("list_files", json!({ "path": null, "branch": null, "recursive": false }))
}

/// What the model was asked so far.
async fn requests(world: &World) -> Value {
    let url = format!("{}/_simulator/requests", world.model.trim_end_matches('/'));
    world.http.get(url).send().await.unwrap().json().await.unwrap()
}

/// Waits until the model thinks: a run can be under way for a while before it asks.
async fn asked(world: &World) {
    eventually("the model to be asked", async || requests(world).await["requests"].get(0).map(drop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_model_call_at_once_and_words_take_it_up_again() {
    let world = World::start().await;
    world.script(json!([{ "kind": "delay", "ms": 60_000 }])).await;
    let id = world.begin("think for a long time").await;
    asked(&world).await;
    let (status, _) = world.post(&format!("/api/runs/{id}/cancel"), json!({})).await;
    assert_eq!(status, 202);
    let run = world.settled(&id).await;
    assert_eq!(run["status"], "cancelled");
    let (status, problem) = world.post(&format!("/api/runs/{id}/cancel"), json!({})).await;
    assert_eq!(status, 409, "what has ended cannot be stopped: {problem}");

    world.script(json!([{ "kind": "reply", "text": "Here I am again." }])).await;
    let (status, _) = world.post(&format!("/api/runs/{id}/messages"), json!({ "text": "go on" })).await;
    assert_eq!(status, 202);
    let run = eventually("the run to go on", async || {
        let run = world.run(&id).await;
        (run["status"] == "done").then_some(run)
    })
    .await;
    assert_eq!(run["answer"], "Here I am again.");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_given_while_it_works_reach_the_model_before_it_ends() {
    let world = World::start().await;
    world
        .script(json!([
            { "kind": "delay", "ms": 1_500 },
            { "kind": "reply", "text": "Heard both." }
        ]))
        .await;
    let id = world.begin("What can you do?").await;
    asked(&world).await;
    let (status, _) =
        world.post(&format!("/api/runs/{id}/messages"), json!({ "text": "and be brief" })).await;
    assert_eq!(status, 202);
    let run = world.settled(&id).await;
    assert_eq!((&run["status"], &run["answer"]), (&json!("done"), &json!("Heard both.")), "{run:#}");
    let last = requests(&world).await.to_string();
    assert!(last.contains("and be brief"), "the model was given the words");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_waits_for_its_answer() {
    let world = World::start().await;
    world
        .script(json!([
            calls("ask_person", json!({ "question": "Which file?" })),
            { "kind": "reply", "text": "Thank you." }
        ]))
        .await;
    let id = world.begin("do something").await;
    let run = world.settled(&id).await;
    assert_eq!((&run["status"], &run["waiting_for"]), (&json!("waiting"), &json!("person")), "{run:#}");
    world.post(&format!("/api/runs/{id}/messages"), json!({ "text": "the README" })).await;
    let run = eventually("the run to go on", async || {
        let run = world.run(&id).await;
        (run["status"] == "done").then_some(run)
    })
    .await;
    assert_eq!(run["answer"], "Thank you.");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_runs_at_once_do_not_disturb_each_other() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for n in 0..8 {
        world.script(json!([listing()])).await;
        ids.push(world.begin(&format!("What can you do? ({n})")).await);
    }
    for id in ids {
        let run = world.settled(&id).await;
        assert_eq!(run["status"], "done", "{run:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_goes_on_and_makes_nothing_twice() {
    // Slow enough to be killed in the middle.
    let mut world = World::start_paced("20").await;
    let sentence =
        "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it.";
    let id = world.begin(sentence).await;
    eventually("the work item", async || {
        (!world.run(&id).await["links"].as_array().unwrap().is_empty()).then_some(())
    })
    .await;
    world.kill_and_restart().await;
    let run = world.settled(&id).await;
    assert_eq!(run["status"], "done", "{run:#}");
    crate::effects::check_made_once(&world).await;
}
