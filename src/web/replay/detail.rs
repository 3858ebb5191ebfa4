//! One entry in full: what the model saw of it beside everything else that is known.

use serde_json::Value;

use super::super::card::Card;
use super::super::diff::Diff;
use super::super::problem::Problem;
use super::super::steps::{Field, field, web_address};
use super::super::text::{cut, visible};
use super::super::viewer::Viewer;
use super::super::when::{Moment, duration};
use super::super::{App, text};
use super::rows::{kind, lane};
use crate::journal::{Entry, Logged, Recorded, RunRow};
use crate::policy::Verdict;
use crate::trace::Called;

/// Longest text that is shown whole, in characters; the record has all of it.
const MAX_SEEN: usize = 100_000;

/// One entry.
pub(super) struct Detail {
    pub(super) seq: i64,
    pub(super) kind: String,
    pub(super) lane: &'static str,
    pub(super) lane_words: String,
    pub(super) moment: Moment,
    /// What the model was given or gave, as it was: masked.
    pub(super) seen: Option<Seen>,
    pub(super) fields: Vec<Field>,
    pub(super) place: Vec<Field>,
    pub(super) diff: Option<Diff>,
    pub(super) card: Option<Card>,
    pub(super) url: Option<String>,
    pub(super) exchanges: Vec<Asked>,
    /// What the rules in force would say now.
    pub(super) now: Option<String>,
}

/// A text that went to or came from the model.
pub(super) struct Seen {
    pub(super) title: &'static str,
    pub(super) text: String,
}

/// A request to Azure DevOps.
pub(super) struct Asked {
    pub(super) what: String,
    pub(super) status: String,
    pub(super) failed: bool,
    pub(super) activity: String,
    pub(super) took: String,
}

impl From<&Called> for Asked {
    fn from(one: &Called) -> Self {
        Self {
            what: format!("{} {}", one.method, one.route),
            status: one.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string()),
            failed: !one.is_ok(),
            activity: one.activity_id.clone().unwrap_or_default(),
            took: duration(one.duration_ms),
        }
    }
}

impl Detail {
    pub(super) async fn of(
        app: &App,
        viewer: &Viewer,
        row: &RunRow,
        logged: &Logged,
        recorded: &Recorded,
    ) -> Result<Self, Problem> {
        let entry = &logged.entry;
        let approval = match entry {
            Entry::ApprovalRequested { request } => Some(&request.id),
            Entry::ApprovalChanged { id, .. } | Entry::Carried { id, .. } => Some(id),
            _ => None,
        };
        let card = match approval {
            Some(id) => app.state.journal.approval(id).await?,
            None => None,
        };
        let card = card.map(|(run, approval)| Card::new(&app.state, viewer, &run, &approval));
        let exchanges = match entry {
            Entry::Exchanged { exchanges, .. } => exchanges.iter().map(Asked::from).collect(),
            _ => Vec::new(),
        };
        let signed = match logged.seq <= row.signed_to {
            true => format!("yes, up to entry {}", row.signed_to),
            false => "not yet".to_owned(),
        };
        let place = vec![
            field("hash", recorded.hash.clone()),
            field("hash before", recorded.prev.clone()),
            field("commitment", recorded.commitment.clone()),
            field("signed", signed),
        ];
        Ok(Self {
            seq: logged.seq,
            kind: kind(logged),
            lane: lane(entry),
            lane_words: lane(entry).replace('_', " "),
            moment: Moment::of(logged.ts),
            seen: seen(entry),
            fields: fields(logged),
            place,
            diff: diff_of(entry).map(Diff::parse),
            card,
            url: url_of(entry),
            exchanges,
            now: verdict_of(entry).and_then(|verdict| decided_now(app, verdict)),
        })
    }
}

fn seen(entry: &Entry) -> Option<Seen> {
    let (title, text) = match entry {
        Entry::Message { text, .. } => ("What the model saw", text.clone()),
        Entry::Prepared { system, .. } => ("What the model was told at first", system.clone()),
        Entry::ToolFinished { outcome, .. } | Entry::Carried { outcome, .. } => {
            ("What the model saw (masked)", pretty_text(&outcome.content))
        }
        Entry::Replied { text, calls, .. } => {
            let calls: Vec<String> = calls
                .iter()
                .map(|call| format!("\n{} {}", call.name, pretty_text(&call.arguments)))
                .collect();
            ("What the model said", format!("{text}{}", calls.concat()).trim().to_owned())
        }
        Entry::ToolStarted { arguments, .. } => ("What the model asked for", pretty(arguments)),
        Entry::Intended { action, .. } => {
            ("What was sent", serde_json::to_value(action).map(|action| pretty(&action)).unwrap_or_default())
        }
        _ => return None,
    };
    let text = visible(&text);
    let shown = match cut(&text, MAX_SEEN) {
        Some(start) => format!("{start}\n… cut here; the record has all of it"),
        None => text.into_owned(),
    };
    Some(Seen { title, text: shown })
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// JSON set in lines; anything else as it is.
fn pretty_text(text: &str) -> String {
    serde_json::from_str(text).map_or_else(|_| text.to_owned(), |value: Value| pretty(&value))
}

/// Everything in the entry that is not in [`seen`] or shown in its own way.
fn fields(logged: &Logged) -> Vec<Field> {
    const SHOWN: [&str; 9] =
        ["type", "text", "system", "content", "arguments", "calls", "diff", "exchanges", "request"];
    let Ok(Value::Object(body)) = serde_json::from_str::<Value>(&logged.body) else { return Vec::new() };
    let is_intent = matches!(logged.entry, Entry::Intended { .. });
    body.into_iter()
        .filter(|(name, value)| {
            !(SHOWN.contains(&name.as_str()) || value.is_null() || is_intent && name == "action")
        })
        .map(|(name, value)| match value {
            Value::String(text) => field(&name, text),
            other => field(&name, pretty(&other)),
        })
        .collect()
}

fn diff_of(entry: &Entry) -> Option<&str> {
    match entry {
        Entry::ToolFinished { outcome, .. } | Entry::Carried { outcome, .. } => outcome.diff.as_deref(),
        _ => None,
    }
}

fn url_of(entry: &Entry) -> Option<String> {
    let url = match entry {
        Entry::ToolFinished { outcome, .. } | Entry::Carried { outcome, .. } => outcome.target_url.as_deref(),
        Entry::Performed { effect, .. } => effect.as_ref()?.get("web_url")?.as_str(),
        Entry::ApprovalRequested { request } => request.target.url.as_deref(),
        _ => None,
    };
    web_address(url?)
}

fn verdict_of(entry: &Entry) -> Option<&Verdict> {
    match entry {
        Entry::Decided { verdict, .. } | Entry::Intended { verdict, .. } => Some(verdict),
        Entry::ApprovalRequested { request } => Some(&request.verdict),
        _ => None,
    }
}

fn decided_now(app: &App, verdict: &Verdict) -> Option<String> {
    let facts = verdict.facts.as_deref()?;
    let now = app.state.policy.get().decide(facts);
    let outcome = serde_json::to_value(now.outcome).ok()?;
    let rules = if now.rules.is_empty() { "no rule".to_owned() } else { now.rules.join(", ") };
    let same = if now.outcome == verdict.outcome { "the same" } else { "another" };
    Some(text::visible(&format!("{} by {rules}: {same} outcome", outcome.as_str()?)).into_owned())
}
