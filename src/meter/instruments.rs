//! Every instrument: its name, its kind, its unit, what it says.
//!
//! `gen_ai.*` are names of OpenTelemetry's conventions for generative AI, which are in development:
//! they stand here and nowhere else, so that a change of theirs is a change of this file. `adoc.*`
//! are our own.

use metrics::Unit;

/// What an instrument does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Stands where it was set last.
    Gauge,
    /// Counts values by size, up to these bounds.
    Histogram(&'static [f64]),
}

/// One thing that is counted or measured.
#[derive(Clone, Copy, Debug)]
pub struct Instrument {
    /// Its name, as OpenTelemetry writes names.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// What it says, one sentence.
    pub help: &'static str,
}

impl Instrument {
    /// Its name in Prometheus' text, without the `_bucket`, `_sum` and `_count` of a histogram.
    pub fn exposed(&self) -> String {
        let name = self.name.replace('.', "_");
        let unit = if self.unit == Unit::Count { "" } else { self.unit.as_str() };
        let named = unit.is_empty() || name.ends_with(unit);
        let unit = if named { String::new() } else { format!("_{unit}") };
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{name}{unit}{total}")
    }
}

/// Seconds of a call to a model (the conventions' own bounds).
const CALL: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// Seconds of a request to a service.
const REQUEST: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0];
/// Seconds of a commit.
const COMMIT: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Tokens of a call (the conventions' own bounds).
const TOKENS: &[f64] =
    &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0];
/// Commands of a commit.
const BATCH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Seconds that people take.
const PEOPLE: &[f64] = &[10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0];
/// Seconds of a pause that a service asked for.
const PAUSE: &[f64] = &[0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0];

macro_rules! instruments {
    ($($constant:ident $name:literal $kind:expr, $unit:ident, $help:literal;)*) => {
        $(pub(super) const $constant: &str = $name;)*

        /// All of them.
        pub const INSTRUMENTS: &[Instrument] =
            &[$(Instrument { name: $name, kind: $kind, unit: Unit::$unit, help: $help }),*];
    };
}

instruments! {
    RUNS_UNFINISHED "adoc.runs.unfinished" Kind::Gauge, Count, "Runs in the journal that have not ended, by status and what they wait for.";
    RUNS_ENDED "adoc.runs.ended" Kind::Counter, Count, "Runs that this process ended, by how.";
    QUEUE_LENGTH "adoc.queue.length" Kind::Gauge, Count, "Runs in the journal that a worker may take now.";
    QUEUE_AGE "adoc.queue.age" Kind::Gauge, Seconds, "How long the longest of them has been due.";
    EVENTS "adoc.events" Kind::Counter, Count, "Events from outside, by fate.";
    EVENTS_WAITING "adoc.events.waiting" Kind::Gauge, Count, "Events in the journal that have not been judged.";
    MODEL_DURATION "gen_ai.client.operation.duration" Kind::Histogram(CALL), Seconds, "Time of a call to the model, its repetitions included.";
    MODEL_TOKENS "gen_ai.client.token.usage" Kind::Histogram(TOKENS), Count, "Tokens of a call to the model, by kind.";
    MODEL_COST "adoc.model.cost" Kind::Counter, Count, "Cost of calls to the model by the prices of the rules, in millionths of their currency.";
    TOOL_DURATION "adoc.tool.duration" Kind::Histogram(REQUEST), Seconds, "Time of a tool call, by what it came to.";
    POLICY_DECISIONS "adoc.policy.decisions" Kind::Counter, Count, "Decisions of the rules, by outcome and rule.";
    APPROVAL_WAIT "adoc.approval.wait" Kind::Histogram(PEOPLE), Seconds, "Time from asking people to their answer or the end of the time for it.";
    MASK_HITS "adoc.mask.hits" Kind::Counter, Count, "Secrets hidden in what tools read, by class.";
    INJECTION_FLAGS "adoc.injection.flags" Kind::Counter, Count, "What was taken out of texts because it could mislead, by case.";
    AZURE_DURATION "adoc.azure.duration" Kind::Histogram(REQUEST), Seconds, "Time of a request to Azure DevOps, by area and status.";
    SIDECAR_DURATION "adoc.sidecar.duration" Kind::Histogram(REQUEST), Seconds, "Time of a request for a token to the auth sidecar.";
    THROTTLE_WAIT "adoc.throttle.wait" Kind::Histogram(PAUSE), Seconds, "Time that a request waited because a service asked for a pause.";
    COMMIT_DURATION "adoc.journal.commit.duration" Kind::Histogram(COMMIT), Seconds, "Time of a commit of the journal, its sync included.";
    COMMIT_BATCH "adoc.journal.commit.batch" Kind::Histogram(BATCH), Count, "Commands that shared a commit.";
    APPEND_DURATION "adoc.audit.append.duration" Kind::Histogram(COMMIT), Seconds, "Time until entries of a run's record were on disk.";
    LEASES_HELD "adoc.leases.held" Kind::Gauge, Count, "Runs that this process holds.";
    LEASES_LOST "adoc.leases.lost" Kind::Counter, Count, "Runs that another worker took from this process.";
    SUBSCRIBERS "adoc.sse.subscribers" Kind::Gauge, Count, "Event streams that are open.";
    MEMORY "process.resident_memory" Kind::Gauge, Bytes, "Memory of this process that is in use.";
}
