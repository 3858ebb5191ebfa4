//! What a call came to: in words for the model, one line for people, and numbers for operators.

use serde_json::{Value, json};

use super::text;
use crate::digest::Digest;
use crate::journal::Outcome;
use crate::mask::Hit;
use crate::policy::approval::Approval;
use crate::policy::{self, Verdict};
use crate::{meter, trace};

/// Most bytes of a tool's result that the model is given.
pub(super) const MAX_RESULT_BYTES: usize = 48 * 1024;
/// A result that tells what went wrong and what to do.
pub(super) fn failure(error: &str, remedy: &str) -> Outcome {
    Outcome {
        ok: false,
        content: json!({ "error": error, "remedy": remedy }).to_string(),
        summary: error.to_owned(),
        ..Outcome::default()
    }
}

/// The same result, which tells of what an earlier attempt at the call had done.
pub(super) fn with_done(outcome: Outcome, done: Vec<Value>) -> Outcome {
    if done.is_empty() {
        return outcome;
    }
    let count = done.len();
    let mut content = serde_json::from_str(&outcome.content).unwrap_or_else(|_| json!({}));
    content["already_done"] = json!(done);
    content["remedy"] = json!(
        "An earlier attempt at this call was interrupted after it had done what already_done lists. Do not do \
         that again: read what is there now and go on from it."
    );
    let summary = format!("{} (an earlier attempt had done {count} of its writes)", outcome.summary);
    Outcome { content: content.to_string(), summary, ..outcome }
}

/// A result that says that people were asked.
pub(super) fn waits(approval: &Approval) -> Outcome {
    let code = approval.code();
    let rules = approval.request.verdict.rules.join(", ");
    let content = json!({
        "status": "pending_approval",
        "id": approval.request.id,
        "code": code,
        "rule": rules,
        "message": approval.request.verdict.message,
        "remedy": "A person decides. It was not done yet and is done by itself when they approve. Do not call this again and do \
                   not try a way around it. Go on with what does not depend on it; if there is nothing, end your answer by \
                   naming what waits.",
    });
    Outcome {
        ok: true,
        content: content.to_string(),
        summary: format!("Waits for approval {code}: {}", approval.request.target.what),
        ..Outcome::default()
    }
}

pub(super) fn refused(verdict: &Verdict) -> Outcome {
    let rules = verdict.rules.join(", ");
    let error = match verdict.rules.is_empty() {
        true => format!("Not allowed. {}", verdict.message),
        false => format!("Not allowed by rule {rules}. {}", verdict.message),
    };
    failure(
        error.trim_end(),
        "Do not try this again as it is, nor a way around it. Go on without it, or say in your answer what was not \
         possible.",
    )
}

/// Cuts a result to what the model is given, and says so.
pub(super) fn limited(mut outcome: Outcome) -> Outcome {
    if outcome.content.len() > MAX_RESULT_BYTES {
        let half = MAX_RESULT_BYTES / 2;
        let head = &outcome.content[..text::floor(&outcome.content, half)];
        let tail = &outcome.content[text::ceil(&outcome.content, outcome.content.len() - half)..];
        let cut = outcome.content.len() - head.len() - tail.len();
        outcome.content = json!({
            "cut": format!("{cut} bytes in the middle were left out. Ask for a smaller part."),
            "head": head,
            "tail": tail,
        })
        .to_string();
    }
    outcome
}

/// Tells of a decision of the rules with this hash: counts it, and leaves a span.
pub(super) fn counted(action: &str, verdict: &Verdict, rules: &Digest) {
    let rule = verdict.rules.first().map_or("none", String::as_str);
    meter::policy_decision(verdict.outcome.as_str(), rule);
    trace::point("run_guardrail policy", || {
        let verdict_type = match verdict.outcome {
            policy::Outcome::Allow => "allow",
            policy::Outcome::Ask => "escalate",
            policy::Outcome::Deny => "deny",
        };
        vec![
            trace::attribute(trace::OPERATION, "run_guardrail"),
            trace::attribute(trace::GUARDRAIL_TARGET, "input"),
            trace::attribute(trace::GUARDRAIL_SUBTYPE, "tool_call"),
            trace::attribute(trace::GUARDRAIL_VERDICT, verdict_type),
            trace::attribute(trace::GUARDRAIL_RULE, rule.to_owned()),
            trace::attribute(trace::GUARDRAIL_POLICY, rules.to_string()),
            trace::attribute(trace::ACTION, action.to_owned()),
            trace::attribute(trace::DECISION, verdict.outcome.as_str()),
        ]
    });
}

/// A call's id for a span: the service makes it, but the model's words could stand in its place.
pub(super) fn plain_id(id: &str) -> String {
    let plain = id.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if plain { id.to_owned() } else { "unusable".to_owned() }
}

/// Tells that secrets were hidden in a result.
pub(super) fn masked(hits: &[Hit]) {
    if hits.is_empty() {
        return;
    }
    hits.iter().for_each(|hit| meter::mask_hits(&hit.class, hit.count));
    trace::point("run_guardrail masker", || {
        vec![
            trace::attribute(trace::OPERATION, "run_guardrail"),
            trace::attribute(trace::GUARDRAIL_TARGET, "output"),
            trace::attribute(trace::GUARDRAIL_SUBTYPE, "tool_call"),
            trace::attribute(trace::GUARDRAIL_VERDICT, "modify"),
            trace::attribute(trace::GUARDRAIL_MODIFIED, true),
        ]
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_result_is_cut_in_the_middle_and_says_so() {
        let outcome = Outcome { content: "é".repeat(MAX_RESULT_BYTES), ..Outcome::default() };
        let content = limited(outcome).content;
        assert!(content.len() < 2 * MAX_RESULT_BYTES && content.contains("left out"));
    }
}
