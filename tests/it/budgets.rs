//! Budgets: looked at before a call, counted from the journal, and told in words.

use serde_json::{Value, json};

use crate::harness::{World, eventually};
use crate::house::root;

const SENTENCE: &str =
    "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it";

/// A world whose rules are those that ship, with these parts replaced; and the rule file.
async fn world(changes: &[(&str, &str)]) -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, rules(changes)).unwrap();
    let world = World::start_set("0", &[("POLICY_FILE", file.to_str().unwrap())]).await;
    (world, folder)
}

fn rules(changes: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(root().join("policies/default.toml")).unwrap();
    for (from, to) in changes {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, to);
    }
    text
}

/// Puts the rules that ship in force, and waits until they are.
async fn raise(world: &World, folder: &tempfile::TempDir) {
    std::fs::write(folder.path().join("policy.toml"), rules(&[])).unwrap();
    let run = world.begin("What is in the README?").await;
    eventually("the new rules", async || {
        let told = world.run(&run).await["budget"].clone();
        let is = |scope: &str, limit: u32| {
            meter(&told, scope, "turns").is_some_and(|turns| turns["limit"] == json!(limit))
        };
        (is("run", 60) && is("day", 50_000)).then_some(())
    })
    .await;
}

fn meter(budget: &Value, scope: &str, what: &str) -> Option<Value> {
    let all = budget.as_array()?;
    all.iter().find(|meter| meter["scope"] == scope && meter["limit_of"] == what).cloned()
}

async fn say(world: &World, id: &str, text: &str) {
    let (status, answer) = world.post(&format!("/api/runs/{id}/messages"), json!({ "text": text })).await;
    assert_eq!(status, 202, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_at_its_own_budget_and_goes_on_when_that_is_raised() {
    let (world, folder) = world(&[("turns = 60", "turns = 2")]).await;
    let run = world.order(SENTENCE).await;
    assert_eq!(run["status"], "failed", "{run:#}");
    assert_eq!(run["answer"], "The budget of this run is spent: 2 of 2 model calls.");
    let remedy = run["remedy"].as_str().unwrap();
    assert!(remedy.contains("turns in [budget.run]") && remedy.contains("message"), "{remedy}");
    let turns = meter(&run["budget"], "run", "turns").unwrap();
    assert_eq!((&turns["spent"], &turns["limit"], &turns["percent"]), (&json!(2), &json!(2), &json!(100)));
    let id = run["id"].as_str().unwrap();
    let page =
        world.http.get(format!("{}/runs/{id}", world.page)).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Budget: 100% used"), "{page}");

    // Words alone do not lift it.
    say(&world, id, "Go on.").await;
    let run = world.settled(id).await;
    assert_eq!((&run["status"], &run["usage"]["output"]), (&json!("failed"), &run["usage"]["output"]));
    raise(&world, &folder).await;
    say(&world, id, "Go on.").await;
    assert_eq!(world.settled(id).await["status"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_of_write_is_bounded_before_it_is_sent() {
    let (world, _folder) = world(&[("\"pull_request.create\" = 10", "\"pull_request.create\" = 0")]).await;
    let run = world.order(SENTENCE).await;
    assert_eq!(run["status"], "failed", "{run:#}");
    assert_eq!(run["answer"], "The budget of this run is spent: 0 of 0 writes of pull_request.create.");
    let kinds: Vec<&str> =
        run["links"].as_array().unwrap().iter().map(|link| link["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"commit") && !kinds.contains(&"pull_request"), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_day_is_counted_over_runs_and_restarts_and_lays_runs_aside() {
    let day = "[budget.day]\nturns = 50_000";
    let (mut world, folder) = world(&[(day, "[budget.day]\nturns = 4")]).await;
    let first = world.order("What is in the README?").await;
    assert_eq!(first["status"], "done", "{first:#}");
    let used = meter(&first["budget"], "day", "turns").unwrap()["spent"].as_u64().unwrap();
    assert!((1..4).contains(&used), "the test's own numbers: {used}");
    world.kill_and_restart().await;
    let run = world.order(SENTENCE).await;
    assert_eq!((&run["status"], &run["waiting_for"]), (&json!("waiting"), &json!("person")), "{run:#}");
    let why = run["waiting_reason"].as_str().unwrap();
    assert!(
        why.starts_with(
            "The budget of all runs today is spent: 4 of 4 model calls. It goes on by itself at "
        ),
        "{why}"
    );
    assert!(why.contains("00:00 UTC") && why.contains("turns in [budget.day]"), "{why}");
    raise(&world, &folder).await;
    let id = run["id"].as_str().unwrap();
    say(&world, id, "Go on.").await;
    assert_eq!(world.settled(id).await["status"], "done");
}
