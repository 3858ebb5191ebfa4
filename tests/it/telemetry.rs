//! What an operator sees from outside: metrics as Prometheus reads them, and traces at a collector.

mod collector;

use std::collections::BTreeMap;

use ado_coworker::meter::INSTRUMENTS;

use serde_json::json;

use crate::harness::{World, eventually};
use crate::house::read;
use crate::postgres;

/// An order whose words must be seen nowhere.
const SENTENCE: &str =
    "Create an issue titled 'Zanzibar timeout', push a fix to a new branch, and open a PR for it.";

/// A sample of Prometheus' text: name, labels, value.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Reads the text as Prometheus does (text format 0.0.4); panics where it cannot.
fn parse(text: &str) -> Samples {
    let mut samples = Samples::new();
    let mut types = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ').unwrap();
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} is told twice");
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, pairs(labels.strip_suffix('}').unwrap())),
            None => (series, BTreeMap::new()),
        };
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':'), "{line}");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let known = types.contains_key(name) || family.is_some_and(|family| types.contains_key(family));
        assert!(known, "{name} has no type");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(samples.insert((name.to_owned(), labels), value).is_none(), "twice: {line}");
    }
    samples
}

fn pairs(labels: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = labels;
    while let Some((name, after)) = rest.split_once("=\"") {
        let end = after.find('"').unwrap();
        found.insert(name.trim_start_matches(',').to_owned(), after[..end].to_owned());
        rest = &after[end + 1..];
    }
    assert!(rest.is_empty(), "{labels}");
    found
}

/// The sum of every sample of this name with these labels.
fn sum(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |has: &BTreeMap<String, String>| {
        labels.iter().all(|(key, value)| has.get(*key).is_some_and(|v| v == value))
    };
    samples.iter().filter(|((n, has), _)| n == name && fits(has)).map(|(_, value)| value).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_a_run_did_and_nothing_that_was_said() {
    let world = World::start().await;
    let run = world
        .order("Create an issue titled 'Zanzibar timeout', push a fix to a new branch, and open a PR for it.")
        .await;
    assert_eq!(run["status"], "done", "{run:#}");
    let answer = world.http.get(format!("{}/metrics", world.page)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text().await.unwrap();
    let samples = parse(&text);
    let at_least = |name: &str, labels: &[(&str, &str)], least: f64| {
        let found = sum(&samples, name, labels);
        assert!(found >= least, "{name} {labels:?} is {found}\n{text}");
    };
    at_least("adoc_runs_ended_total", &[("status", "done")], 1.0);
    at_least("gen_ai_client_operation_duration_seconds_count", &[("gen_ai_operation_name", "chat")], 3.0);
    at_least("gen_ai_client_token_usage_sum", &[("gen_ai_token_type", "input")], 100.0);
    at_least("adoc_tool_duration_seconds_count", &[("tool", "push_changes"), ("outcome", "ok")], 1.0);
    at_least("adoc_policy_decisions_total", &[("outcome", "allow")], 3.0);
    at_least("adoc_azure_duration_seconds_count", &[("area", "git"), ("status", "201")], 1.0);
    at_least("adoc_azure_duration_seconds_count", &[("area", "wit")], 1.0);
    at_least("adoc_sidecar_duration_seconds_count", &[("profile", "ado"), ("outcome", "ok")], 1.0);
    at_least("adoc_journal_commit_duration_seconds_count", &[], 10.0);
    at_least("adoc_journal_commit_batch_sum", &[], 10.0);
    at_least("process_resident_memory_bytes", &[], 1_000_000.0);
    // Labels are few, and none of them is a text or an id of somebody.
    let known: Vec<String> = INSTRUMENTS.iter().map(|instrument| instrument.exposed()).collect();
    for (name, _) in samples.keys() {
        assert!(
            known.iter().any(|known| name.starts_with(known.as_str())),
            "{name} is no instrument of ours"
        );
    }
    assert!(samples.len() < 1_000, "{}", samples.len());
    for said in ["Zanzibar", run["id"].as_str().unwrap(), "agent/", "eyJ"] {
        assert!(!text.contains(said), "{said} is in the metrics");
    }
}

async fn metrics(world: &World) -> Samples {
    let answer = world.http.get(format!("{}/metrics", world.page)).send().await.unwrap();
    parse(&answer.text().await.unwrap())
}

/// The run as it waits for a service that asked for a pause.
async fn laid_aside(world: &World, id: &str) {
    eventually(&format!("run {id} to be laid aside"), async || {
        (world.run(id).await["waiting_for"] == "rate_limit").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_asks_one_run_for_a_long_pause_is_left_alone_by_all() {
    let world = World::start().await;
    world
        .fault(json!({"route": "POST workitems", "nth": 1, "kind": "throttle", "args": {"retry_after": 300}}))
        .await;
    let first = world.begin("Create an issue titled 'One'.").await;
    laid_aside(&world, &first).await;
    let asked = sum(&metrics(&world).await, "adoc_azure_duration_seconds_count", &[]);
    // The fault is spent: what the second run meets is only what is known of the first.
    let second = world.begin("Create an issue titled 'Two'.").await;
    laid_aside(&world, &second).await;
    let samples = metrics(&world).await;
    assert_eq!(sum(&samples, "adoc_azure_duration_seconds_count", &[]), asked, "nothing was sent meanwhile");
    assert_eq!(sum(&samples, "adoc_leases_held", &[]), 0.0, "both are rows, and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_one_process_was_asked_for_is_kept_by_another() {
    use sqlx::Connection as _;
    let database = postgres::database().await;
    let world = World::start_set("0", &[("DATABASE_URL", &database), ("ROLE", "web")]).await;
    let role = [("ROLE", "worker"), ("PUBLIC_URL", world.page.as_str())];
    world
        .fault(json!({"route": "POST workitems", "nth": 1, "kind": "throttle", "args": {"retry_after": 300}}))
        .await;
    let (one, _) = world.beside(&role).await;
    let first = world.begin("Create an issue titled 'One'.").await;
    laid_aside(&world, &first).await;
    let mut database = sqlx::PgConnection::connect(&database).await.unwrap();
    eventually("the pause to be told to the others", async || {
        let sql = "SELECT value FROM marks WHERE name = 'quiet.azure_devops'";
        sqlx::query(sql).fetch_optional(&mut database).await.unwrap().map(|_| ())
    })
    .await;
    assert!(one.stop().await);
    // It was never told itself, and the fault is spent.
    let (two, health) = world.beside(&role).await;
    let second = world.begin("Create an issue titled 'Two'.").await;
    laid_aside(&world, &second).await;
    let answer = world.http.get(format!("{health}/metrics")).send().await.unwrap();
    let samples = parse(&answer.text().await.unwrap());
    assert!(sum(&samples, "gen_ai_client_operation_duration_seconds_count", &[]) >= 1.0, "it worked the run");
    assert_eq!(sum(&samples, "adoc_azure_duration_seconds_count", &[("area", "wit")]), 0.0);
    assert!(two.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_pause_is_waited_out_in_place_also_after_a_success() {
    let world = World::start().await;
    world
        .fault(json!({"route": "POST workitems", "nth": 1, "kind": "retry_after_on_success", "args": {"retry_after": 1}}))
        .await;
    world.script(json!([{ "kind": "throttle", "retry_after": 1 }])).await;
    let run = world.order(SENTENCE).await;
    assert_eq!(run["status"], "done", "{run:#}");
    let kinds: Vec<&str> =
        run["steps"].as_array().unwrap().iter().filter_map(|step| step["kind"].as_str()).collect();
    assert!(!kinds.contains(&"notice"), "it was not laid aside: {kinds:?}");
    let samples = metrics(&world).await;
    assert!(sum(&samples, "adoc_throttle_wait_seconds_count", &[("system", "azure_devops")]) >= 1.0);
}

/// Every name of a metric in the dashboard.
fn in_dashboard(text: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !is_name(c)).map(str::to_owned);
    words.filter(|word| ["adoc_", "gen_ai_client_", "process_"].iter().any(|p| word.starts_with(p))).collect()
}

#[test]
fn the_dashboard_shows_what_is_measured_and_all_of_it() {
    let text = read("deploy/grafana/ado-coworker.json");
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let used: Vec<String> =
        targets.flat_map(|target| in_dashboard(target["expr"].as_str().unwrap())).collect();
    assert!(used.len() > 20);
    let family = |name: &str| {
        let ends = ["_bucket", "_sum", "_count"];
        ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    for name in &used {
        let known = INSTRUMENTS.iter().any(|i| i.exposed() == *name || i.exposed() == family(name));
        assert!(known, "{name} is in the dashboard and is not measured");
    }
    for instrument in INSTRUMENTS {
        let name = instrument.exposed();
        assert!(
            used.iter().any(|used| *used == name || family(used) == name),
            "{name} is not in the dashboard"
        );
    }
    assert_eq!(in_dashboard("sum(rate(adoc_made_up_total[5m]))"), ["adoc_made_up_total"]);
}
