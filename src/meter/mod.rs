//! What is counted and measured, and the one place where it is read.
//!
//! Purpose: one function for each thing that happens; [`render`] gives all of it as Prometheus' text,
//! and, where a collector is told, it goes there as well.
//! Invariant: a label's values are few and never come from outside: names of ours, of rules, of
//! tools that exist, of a status. Counting neither waits nor fails; without [`start`] it does nothing.
//! Must never know: texts, ids of runs, tokens.

mod instruments;
mod recorder;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::PrometheusHandle;

use instruments as name;
pub use instruments::{INSTRUMENTS, Instrument, Kind};

/// Media type of [`render`].
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The provider's name in the conventions for generative AI.
pub const PROVIDER: &str = "azure.ai.openai";

static PROMETHEUS: OnceLock<PrometheusHandle> = OnceLock::new();
static SUBSCRIBERS: AtomicI64 = AtomicI64::new(0);

/// Starts counting; with `collector` also there. The first call counts.
pub fn start(collector: Option<&opentelemetry::metrics::Meter>) {
    if PROMETHEUS.get().is_some() {
        return;
    }
    let recorder = recorder::Recorder::new(collector);
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_ok() {
        let _ = PROMETHEUS.set(handle);
    }
}

/// Everything so far as Prometheus' text; empty before [`start`].
pub fn render() -> String {
    memory();
    PROMETHEUS.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Sorts what was measured into its classes. Without it, what is measured between two readings stays
/// in memory value by value: to be called every few seconds.
pub fn tidy() {
    memory();
    if let Some(handle) = PROMETHEUS.get() {
        handle.run_upkeep();
    }
}

fn memory() {
    if let Some(bytes) = resident_bytes() {
        gauge!(name::MEMORY).set(bytes);
    }
}

/// What Linux says of this process; none elsewhere.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// How many runs have this status, and wait for this, in the whole journal.
pub fn runs_unfinished(status: &'static str, waiting_for: &'static str, count: u32) {
    gauge!(name::RUNS_UNFINISHED, "status" => status, "waiting_for" => waiting_for).set(count);
}

/// A run ended.
pub fn run_ended(status: &'static str) {
    counter!(name::RUNS_ENDED, "status" => status).increment(1);
}

/// What waits for a worker in the whole journal: runs, since when the first of them, events.
pub fn queue(runs: u32, age: Duration, events: u32) {
    gauge!(name::QUEUE_LENGTH).set(runs);
    gauge!(name::QUEUE_AGE).set(age.as_secs_f64());
    gauge!(name::EVENTS_WAITING).set(events);
}

/// Events from outside took this turn.
pub fn events(fate: &'static str, count: u64) {
    counter!(name::EVENTS, "fate" => fate).increment(count);
}

/// A call to the model ended; `error` is its kind where it failed.
pub fn model_call(deployment: &str, took: Duration, error: Option<&'static str>) {
    histogram!(
        name::MODEL_DURATION,
        "gen_ai.operation.name" => "chat",
        "gen_ai.provider.name" => PROVIDER,
        "gen_ai.request.model" => deployment.to_owned(),
        "error.type" => error.unwrap_or_default(),
    )
    .record(took);
}

/// Tokens that a call read and wrote.
pub fn model_tokens(deployment: &str, input: u64, output: u64) {
    for (kind, tokens) in [("input", input), ("output", output)] {
        histogram!(
            name::MODEL_TOKENS,
            "gen_ai.operation.name" => "chat",
            "gen_ai.provider.name" => PROVIDER,
            "gen_ai.request.model" => deployment.to_owned(),
            "gen_ai.token.type" => kind,
        )
        .record(u32::try_from(tokens).unwrap_or(u32::MAX));
    }
}

/// What a call cost by the prices of the rules, in millionths of their currency.
pub fn model_cost(deployment: &str, millionths: u64) {
    counter!(name::MODEL_COST, "gen_ai.request.model" => deployment.to_owned()).increment(millionths);
}

/// A tool call ended.
pub fn tool_call(tool: &'static str, outcome: &'static str, took: Duration) {
    histogram!(name::TOOL_DURATION, "tool" => tool, "outcome" => outcome).record(took);
}

/// The rules decided, the first named rule first.
pub fn policy_decision(outcome: &'static str, rule: &str) {
    counter!(name::POLICY_DECISIONS, "outcome" => outcome, "rule" => rule.to_owned()).increment(1);
}

/// An approval was decided on, or its time is over.
pub fn approval(outcome: &'static str, wait: Duration) {
    histogram!(name::APPROVAL_WAIT, "outcome" => outcome).record(wait);
}

/// Secrets of a class were hidden; `class` is one of the masker's own list.
pub fn mask_hits(class: &str, count: u32) {
    counter!(name::MASK_HITS, "class" => class.to_owned()).increment(u64::from(count));
}

/// Something was taken out of a text; `case` is one of the cleaner's own list.
pub fn injection_flags(case: &str, count: u32) {
    counter!(name::INJECTION_FLAGS, "case" => case.to_owned()).increment(u64::from(count));
}

/// Azure DevOps answered; 0 is no answer.
pub fn azure_call(area: &'static str, status: u16, took: Duration) {
    histogram!(name::AZURE_DURATION, "area" => area, "status" => status.to_string()).record(took);
}

/// The sidecar was asked for a token of this profile.
pub fn sidecar_call(profile: &'static str, outcome: &'static str, took: Duration) {
    histogram!(name::SIDECAR_DURATION, "profile" => profile, "outcome" => outcome).record(took);
}

/// A request to `system` waited for the end of a pause.
pub fn throttled(system: &'static str, wait: Duration) {
    histogram!(name::THROTTLE_WAIT, "system" => system).record(wait);
}

/// The journal committed so many commands.
pub fn commit(commands: usize, took: Duration) {
    histogram!(name::COMMIT_DURATION).record(took);
    histogram!(name::COMMIT_BATCH).record(u32::try_from(commands).unwrap_or(u32::MAX));
}

/// Entries of a record are on disk.
pub fn appended(took: Duration) {
    histogram!(name::APPEND_DURATION).record(took);
}

/// So many runs are held by this process.
pub fn leases(held: usize) {
    gauge!(name::LEASES_HELD).set(u32::try_from(held).unwrap_or(u32::MAX));
}

/// Another worker has a run that was held here.
pub fn lease_lost() {
    counter!(name::LEASES_LOST).increment(1);
}

/// Somebody watches a stream, as long as this lives.
#[must_use = "who is not held is not counted"]
#[derive(Debug)]
pub struct Subscriber(());

/// Somebody begins to watch a stream.
pub fn subscriber() -> Subscriber {
    subscribers(SUBSCRIBERS.fetch_add(1, Ordering::Relaxed) + 1);
    Subscriber(())
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        subscribers(SUBSCRIBERS.fetch_sub(1, Ordering::Relaxed) - 1);
    }
}

fn subscribers(now: i64) {
    gauge!(name::SUBSCRIBERS).set(u32::try_from(now).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every function once.
    fn everything() {
        runs_unfinished("waiting", "approval", 2);
        run_ended("done");
        queue(1, Duration::from_secs(3), 4);
        events("received", 1);
        model_call("gpt", Duration::from_millis(30), None);
        model_tokens("gpt", 1_000, 20);
        model_cost("gpt", 2_500);
        tool_call("read_file", "ok", Duration::from_millis(4));
        policy_decision("deny", "built-in");
        approval("approve", Duration::from_secs(40));
        mask_hits("jwt", 2);
        injection_flags("hidden_characters", 1);
        azure_call("git", 200, Duration::from_millis(7));
        sidecar_call("ado", "ok", Duration::from_millis(7));
        throttled("azure_devops", Duration::from_secs(1));
        commit(3, Duration::from_millis(2));
        appended(Duration::from_millis(2));
        leases(1);
        lease_lost();
        drop(subscriber());
        memory();
    }

    #[test]
    fn each_instrument_is_exposed_under_the_name_that_it_says() {
        let recorder = recorder::Recorder::new(None);
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, everything);
        let text = handle.render();
        let exposed: BTreeSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let named: BTreeSet<String> = INSTRUMENTS.iter().map(Instrument::exposed).collect();
        assert_eq!(exposed, named.iter().map(String::as_str).collect());
        assert!(text.contains(r#"adoc_policy_decisions_total{outcome="deny",rule="built-in"} 1"#), "{text}");
        assert!(text.contains("gen_ai_client_operation_duration_seconds_bucket{"), "{text}");
        for instrument in INSTRUMENTS {
            assert!(text.contains(&format!("# HELP {} {}", instrument.exposed(), instrument.help)));
        }
    }
}
