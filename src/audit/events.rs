//! The record as lines for another system: what happened, when, by whom and how it was decided, without
//! bodies. What people or the model wrote is not in it.

use serde_json::{Map, Value, json};

use crate::journal::{Entry, Journal, JournalError, Logged, Person, RunId};

/// Entries read at once.
pub const AT_ONCE: i64 = 500;

/// The next lines after `position`, in the order in which they were written, and the position of the
/// last. Entries that are younger than `settled` (microseconds since 1970) are left for later: another
/// replica may still be committing something older.
///
/// # Errors
/// When the journal fails.
pub async fn after(
    journal: &Journal,
    position: i64,
    settled: i64,
) -> Result<(Vec<Value>, i64), JournalError> {
    let mut lines = Vec::new();
    let mut last = position;
    for (run, logged) in journal.since(position, settled, AT_ONCE).await? {
        last = logged.ts;
        lines.push(line(&run, &logged));
    }
    Ok((lines, last))
}

fn line(run: &RunId, logged: &Logged) -> Value {
    let ts = jiff::Timestamp::from_microsecond(logged.ts).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let mut line = Map::new();
    line.insert("position".into(), json!(logged.ts));
    line.insert("ts".into(), json!(ts.to_string()));
    line.insert("run".into(), json!(run));
    line.insert("seq".into(), json!(logged.seq));
    let (kind, facts) = facts(&logged.entry);
    line.insert("type".into(), json!(kind));
    if let Value::Object(facts) = facts {
        line.extend(facts.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Value::Object(line)
}

/// Who, by ids; a display name says nothing to another system.
fn who(person: &Person) -> Value {
    json!({ "oid": person.oid, "id": person.id, "account": person.account })
}

/// The type of an entry and what may be told of it.
fn facts(entry: &Entry) -> (&'static str, Value) {
    match entry {
        Entry::Created { source, requested_by, project, repository, subject, .. } => (
            "created",
            json!({ "source": source, "actor": who(requested_by), "project": project,
                    "repository": repository, "subject": subject }),
        ),
        Entry::Message { from, text } => ("message", json!({ "actor": who(from), "bytes": text.len() })),
        Entry::Prepared { prompts, tools, policy, .. } => {
            ("prepared", json!({ "prompts": prompts, "tools": tools, "policy": policy }))
        }
        Entry::Replied { turn, calls, usage, model, request_id, duration_ms, .. } => (
            "replied",
            json!({ "turn": turn, "calls": calls.len(), "input_tokens": usage.input,
                    "output_tokens": usage.output, "model": model, "request_id": request_id,
                    "duration_ms": duration_ms }),
        ),
        Entry::ToolStarted { step, tool, .. } => ("tool_started", json!({ "step": step, "tool": tool })),
        Entry::ToolFinished { step, tool, outcome, duration_ms, .. } => (
            "tool_finished",
            json!({ "step": step, "tool": tool, "ok": outcome.ok, "duration_ms": duration_ms,
                    "target_url": outcome.target_url }),
        ),
        Entry::TaintChanged { step, label, class_b, sources, flags } => (
            "taint_changed",
            json!({ "step": step, "label": label, "secret": class_b, "sources": sources.len(), "flags": flags }),
        ),
        Entry::Decided { step, action, verdict } => (
            "decided",
            json!({ "step": step, "action": action, "outcome": verdict.outcome, "rules": verdict.rules,
                    "policy": verdict.policy }),
        ),
        Entry::Intended { step, action, digest, verdict, .. } => (
            "intended",
            json!({ "step": step, "action": action.kind(), "digest": digest, "outcome": verdict.outcome,
                    "rules": verdict.rules, "policy": verdict.policy }),
        ),
        Entry::Performed { step, effect, error, .. } => {
            let part = |name: &str| effect.as_ref().and_then(|effect| effect.get(name)).cloned();
            (
                "performed",
                json!({ "step": step, "ok": error.is_none(), "kind": part("kind"), "id": part("id"),
                        "commit": part("commit"), "activity_id": part("activity_id") }),
            )
        }
        Entry::Exchanged { step, exchanges } => {
            ("exchanged", json!({ "step": step, "exchanges": exchanges }))
        }
        Entry::ReviewAsked { id, work_item, why_not } => {
            ("review_asked", json!({ "approval": id, "work_item": work_item, "failed": why_not.is_some() }))
        }
        Entry::ApprovalRequested { request } => (
            "approval_requested",
            json!({ "step": request.step, "approval": request.id, "action": request.action.kind(),
                    "digest": request.digest, "rules": request.verdict.rules }),
        ),
        Entry::ApprovalChanged { id, what } => ("approval_changed", approval(id, what)),
        Entry::Carried { id, step, outcome, duration_ms } => {
            ("carried", json!({ "approval": id, "step": step, "ok": outcome.ok, "duration_ms": duration_ms }))
        }
        Entry::Trouble { .. } => ("trouble", Value::Null),
        Entry::Waiting { waiting_for, wake_at, .. } => {
            ("waiting", json!({ "waiting_for": waiting_for, "wake_at_us": wake_at }))
        }
        Entry::Resumed {} => ("resumed", Value::Null),
        Entry::CancelRequested { by } => ("cancel_requested", json!({ "actor": who(by) })),
        Entry::Killed { by, .. } => ("killed", json!({ "actor": who(by) })),
        Entry::Finished { status, .. } => ("finished", json!({ "status": status })),
        Entry::House { note } => ("house", json!({ "note": note })),
        Entry::Erased => ("erased", Value::Null),
        Entry::Unknown => ("unknown", Value::Null),
    }
}

fn approval(id: &str, what: &crate::policy::approval::Change) -> Value {
    use crate::policy::approval::Change;
    let name = match serde_json::to_value(what) {
        Ok(Value::String(name)) => Some(name),
        Ok(Value::Object(map)) => map.keys().next().cloned(),
        _ => None,
    };
    match what {
        Change::Decided(decision) => json!({
            "approval": id, "what": "decided", "answer": decision.answer,
            "actor": { "ids": decision.by.who.ids, "account": decision.by.who.account },
            "break_glass": decision.break_glass.is_some(),
        }),
        _ => json!({ "approval": id, "what": name }),
    }
}
