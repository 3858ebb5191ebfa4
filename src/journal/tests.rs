use super::*;
use crate::policy::{Outcome as Judged, Verdict};

#[test]
fn an_unknown_entry_is_kept_and_not_guessed_at() {
    let entry: Entry = serde_json::from_str(r#"{"type":"dreamt","of":"sheep"}"#).unwrap();
    assert_eq!(entry, Entry::Unknown);
}

#[test]
fn the_view_tells_a_refused_step_from_a_failed_one() {
    let verdict = Verdict {
        outcome: Judged::Deny,
        rules: vec!["protected-branches".into()],
        message: "no".into(),
        policy: crate::digest::Digest::of("t", b""),
        ..Verdict::default()
    };
    let entries = [
        Entry::ToolStarted {
            step: 1,
            call_id: "c".into(),
            tool: "push_changes".into(),
            arguments: serde_json::json!({}),
        },
        Entry::Decided { step: 1, action: "git.push".into(), verdict },
        Entry::ToolFinished {
            step: 1,
            call_id: "c".into(),
            tool: "push_changes".into(),
            outcome: Outcome { summary: "not allowed".into(), ..Outcome::default() },
            duration_ms: 1,
        },
    ];
    let log: Vec<Logged> = entries
        .into_iter()
        .zip(1..)
        .map(|(entry, seq)| Logged { seq, ts: 0, body: String::new(), entry })
        .collect();
    let view = RunView::of(&log);
    assert_eq!(view.steps.len(), 1);
    assert_eq!(view.steps[0].status, StepStatus::Refused);
    assert_eq!(view.steps[0].changed, 3);
}

#[test]
fn a_result_finds_its_call_by_number_though_others_are_erased_and_the_run_had_ended() {
    let started = |step| Entry::ToolStarted {
        step,
        call_id: format!("c{step}"),
        tool: "push_changes".into(),
        arguments: serde_json::json!({}),
    };
    let finished = |step, ok| Entry::ToolFinished {
        step,
        call_id: format!("c{step}"),
        tool: "push_changes".into(),
        outcome: Outcome { ok, summary: format!("result {step}"), ..Outcome::default() },
        duration_ms: 1,
    };
    let end = Entry::Finished { status: Status::Parked, answer: "unclear".into(), remedy: None };
    let entries = [Entry::Erased, started(2), finished(2, true), started(3), end, finished(3, false)];
    let log: Vec<Logged> = entries
        .into_iter()
        .zip(1..)
        .map(|(entry, seq)| Logged { seq, ts: 0, body: String::new(), entry })
        .collect();
    let view = RunView::of(&log);
    let tools: Vec<_> = view.steps.iter().filter(|step| step.kind == StepKind::Tool).collect();
    assert_eq!((tools[0].text.as_str(), tools[0].status), ("result 2", StepStatus::Ok));
    assert_eq!((tools[1].text.as_str(), tools[1].status), ("result 3", StepStatus::Failed));
}
