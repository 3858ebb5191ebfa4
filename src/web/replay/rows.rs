//! One line of the timeline for each entry.

use serde::Serialize;

use crate::journal::{Entry, Logged, Status};
use crate::policy::Outcome;
use crate::policy::approval::{Answer, Change};
use crate::trace::Called;

use super::super::steps::one_line;
use super::super::when::rfc3339;

/// What a placeholder of a hidden secret begins with (GOVERNANCE §3.4).
const PLACEHOLDER: &str = "[[secret:";

/// An entry in the timeline.
#[derive(Debug, Serialize)]
pub(in crate::web) struct Row {
    seq: i64,
    ts: String,
    /// Microseconds since 1970.
    us: i64,
    lane: &'static str,
    #[serde(rename = "type")]
    kind: String,
    words: String,
    /// `allow`, `ask`, `deny`, `ok` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    /// The rules that decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<String>,
    /// What to look at twice: `deny`, `mask`, `taint`, `break glass`, `kill`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    marks: Vec<&'static str>,
}

/// What a line says besides its place.
struct Said {
    lane: &'static str,
    words: String,
    outcome: Option<&'static str>,
    rules: Vec<String>,
    marks: Vec<&'static str>,
}

impl Row {
    pub(in crate::web) fn of(logged: &Logged) -> Self {
        let mut said = said(&logged.entry);
        if logged.body.contains(PLACEHOLDER) {
            said.marks.push("mask");
        }
        Self {
            seq: logged.seq,
            ts: rfc3339(logged.ts),
            us: logged.ts,
            lane: said.lane,
            kind: kind(logged),
            words: one_line(&said.words),
            outcome: said.outcome,
            rules: said.rules,
            marks: said.marks,
        }
    }
}

/// The type of an entry as it is recorded.
pub(super) fn kind(logged: &Logged) -> String {
    #[derive(serde::Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        kind: String,
    }
    match logged.entry {
        Entry::Erased => "erased".to_owned(),
        _ => serde_json::from_str::<Typed>(&logged.body).map_or_else(|_| "unknown".to_owned(), |t| t.kind),
    }
}

fn judged(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allow => "allow",
        Outcome::Ask => "ask",
        Outcome::Deny => "deny",
    }
}

fn done(ok: bool) -> Option<&'static str> {
    Some(if ok { "ok" } else { "failed" })
}

fn plain(lane: &'static str, words: impl Into<String>) -> Said {
    Said { lane, words: words.into(), outcome: None, rules: Vec::new(), marks: Vec::new() }
}

/// The lane of an entry.
pub(super) fn lane(entry: &Entry) -> &'static str {
    said(entry).lane
}

fn said(entry: &Entry) -> Said {
    match entry {
        Entry::Created { requested_by, source, .. } => plain(
            "human",
            format!("Ordered by {} ({})", requested_by.name, source.as_str().replace('_', " ")),
        ),
        Entry::Message { from, text } => plain("human", format!("{}: {text}", from.name)),
        Entry::CancelRequested { by } => plain("human", format!("{} asked to stop", by.name)),
        Entry::Killed { by, .. } => {
            Said { marks: vec!["kill"], ..plain("human", format!("{} ended it at once", by.name)) }
        }
        Entry::ReviewAsked { work_item, why_not, .. } => {
            let why = why_not.as_deref().map(|why| format!("; no work item was made: {why}"));
            let words = format!("A review of the broken glass was asked for{}", why.unwrap_or_default());
            Said {
                marks: vec!["break glass"],
                outcome: done(work_item.is_some()),
                ..plain("approval", words)
            }
        }
        Entry::Prepared { .. } => plain("model", "Prompts, tools and rules were chosen"),
        Entry::Replied { text, calls, model, .. } => {
            let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
            let words = match (text.trim().is_empty(), names.is_empty()) {
                (true, false) => format!("Calls {}", names.join(", ")),
                (false, false) => format!("{text} — calls {}", names.join(", ")),
                (false, true) => text.clone(),
                (true, true) => format!("{model} answered with nothing"),
            };
            plain("model", words)
        }
        Entry::TaintChanged { label, sources, flags, .. } => {
            let read: Vec<&str> = sources.iter().map(|source| source.object.as_str()).collect();
            let label = serde_json::to_value(label).unwrap_or_default();
            let label = label.as_str().unwrap_or_default().to_owned();
            let words = format!("Trust in what was read: {label}. {} {}", read.join(", "), flags.join(", "));
            Said { marks: vec!["taint"], ..plain("policy", words) }
        }
        Entry::Decided { .. } | Entry::Intended { .. } => decision(entry),
        Entry::ApprovalRequested { .. } | Entry::ApprovalChanged { .. } | Entry::Carried { .. } => {
            approval(entry)
        }
        Entry::ToolStarted { tool, .. } => plain("azure_devops", format!("{tool} began")),
        Entry::ToolFinished { tool, outcome, .. } => Said {
            outcome: done(outcome.ok),
            ..plain("azure_devops", format!("{tool}: {}", outcome.summary))
        },
        Entry::Performed { effect, error, .. } => performed(effect.as_ref(), error.as_deref()),
        Entry::Exchanged { exchanges, .. } => {
            let failed = !exchanges.iter().all(Called::is_ok);
            let words = match exchanges.as_slice() {
                [one] => format!("{} {}", one.method, one.route),
                all => format!("{} requests", all.len()),
            };
            Said { outcome: done(!failed), ..plain("azure_devops", words) }
        }
        Entry::Trouble { what, .. } => Said { outcome: Some("failed"), ..plain("run", what.clone()) },
        Entry::Waiting { reason, .. } => plain("run", format!("Waits: {reason}")),
        Entry::Resumed {} => plain("run", "Goes on"),
        Entry::Finished { status, answer, .. } => Said {
            outcome: done(*status == Status::Done),
            ..plain("run", format!("{}: {answer}", status.as_str()))
        },
        Entry::House { .. } => plain("run", "Something of the house"),
        Entry::Erased => plain("run", "The body of this entry was erased; the chain still holds"),
        Entry::Unknown => plain("run", "An entry of another version of the program"),
    }
}

fn decision(entry: &Entry) -> Said {
    let (action, verdict) = match entry {
        Entry::Decided { action, verdict, .. } => (action.as_str(), verdict),
        Entry::Intended { action, verdict, .. } => (action.kind(), verdict),
        _ => return plain("policy", ""),
    };
    let marks = if verdict.outcome == Outcome::Deny { vec!["deny"] } else { Vec::new() };
    let outcome = Some(judged(verdict.outcome));
    let words = format!("{action} {}", verdict.message);
    Said { outcome, rules: verdict.rules.clone(), marks, ..plain("policy", words) }
}

fn approval(entry: &Entry) -> Said {
    match entry {
        Entry::ApprovalRequested { request } => Said {
            outcome: Some("ask"),
            rules: request.verdict.rules.clone(),
            ..plain("approval", format!("{} is left to people", request.action.kind()))
        },
        Entry::ApprovalChanged { what: Change::Decided(decision), .. } => {
            let (outcome, did) = match decision.answer {
                Answer::Approve => ("allow", "approved"),
                Answer::Deny => ("deny", "denied"),
            };
            let mut marks = if outcome == "deny" { vec!["deny"] } else { Vec::new() };
            if decision.break_glass.is_some() {
                marks.push("break glass");
            }
            let words = format!("{} {did}. {}", decision.by.who.name, decision.reason);
            Said { outcome: Some(outcome), marks, ..plain("approval", words) }
        }
        Entry::ApprovalChanged { what, .. } => {
            let name = serde_json::to_value(what).ok().and_then(|value| match value {
                serde_json::Value::String(name) => Some(name),
                serde_json::Value::Object(map) => map.keys().next().cloned(),
                _ => None,
            });
            plain("approval", format!("Approval: {}", name.unwrap_or_default().replace('_', " ")))
        }
        Entry::Carried { outcome, .. } => Said {
            outcome: done(outcome.ok),
            ..plain("approval", format!("Carried out: {}", outcome.summary))
        },
        _ => plain("approval", ""),
    }
}

fn performed(effect: Option<&serde_json::Value>, error: Option<&str>) -> Said {
    let part = |name: &str| effect.and_then(|effect| effect.get(name)).and_then(|part| part.as_str());
    let words = match error {
        Some(error) => error.to_owned(),
        None => format!(
            "Wrote {} {}",
            part("kind").unwrap_or_default().replace('_', " "),
            part("title").or_else(|| part("id")).unwrap_or_default()
        ),
    };
    Said { outcome: done(error.is_none()), ..plain("azure_devops", words) }
}
