//! What a call came to: in words for the model, one line for people, and numbers for operators.

use serde_json::{Map, Value, json};

use super::text;
use crate::azure_devops::Effect;
use crate::digest::Digest;
use crate::journal::{Link, Outcome};
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

/// The same result, which tells of what an earlier attempt at the call had done: actions and their effects.
pub(super) fn with_done(mut outcome: Outcome, done: Vec<(&'static str, Effect)>) -> Outcome {
    if done.is_empty() {
        return outcome;
    }
    let count = done.len();
    let told: Vec<Value> = done
        .iter()
        .map(|(action, effect)| {
            let Effect { id, title, commit, web_url, .. } = effect;
            json!({ "action": action, "id": id, "title": title, "commit": commit, "url": web_url })
        })
        .collect();
    let mut content = match serde_json::from_str(&outcome.content) {
        Ok(Value::Object(known)) => known,
        _ => Map::from_iter([("result".to_owned(), json!(outcome.content))]),
    };
    content.insert("already_done".to_owned(), json!(told));
    let remedy = "An earlier attempt at this call was interrupted after it had done what already_done lists. Do not \
                  do that again: read what is there now and go on from it.";
    content.insert("remedy".to_owned(), json!(remedy));
    let summary = format!("{} (an earlier attempt had done {count} of its writes)", outcome.summary);
    outcome.links.extend(done.into_iter().filter_map(|(_, effect)| {
        let kind = effect.kind.as_str();
        let title = effect.title.or(effect.id).unwrap_or_else(|| kind.to_owned());
        Some(Link { kind: kind.to_owned(), title, url: effect.web_url? })
    }));
    Outcome { content: Value::Object(content).to_string(), summary, ..outcome }
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
    use crate::azure_devops::EffectKind;

    #[test]
    fn what_was_done_before_is_told_with_its_link_whatever_the_result_is() {
        let url = Some("https://dev.azure.com/contoso/Fabrikam/_git/web-shop/pullrequest/1".to_owned());
        let effect = Effect {
            kind: EffectKind::PullRequest,
            id: Some("1".to_owned()),
            title: Some("Fix login timeout".to_owned()),
            commit: None,
            comment_id: None,
            web_url: url.clone(),
            activity_id: None,
        };
        let failed = failure("There is no branch agent/7.", "Push the changes first.");
        assert_eq!(with_done(failed.clone(), Vec::new()), failed);
        let text = Outcome { content: "[1]".to_owned(), ..failed.clone() };
        for outcome in [failed, text] {
            let told = with_done(outcome, vec![("pull_request.create", effect.clone())]);
            let content: Value = serde_json::from_str(&told.content).unwrap();
            assert_eq!(content["already_done"][0]["url"], json!(url));
            assert!(content["remedy"].as_str().unwrap().starts_with("An earlier attempt"));
            assert_eq!((told.links.len(), told.links[0].kind.as_str()), (1, "pull_request"));
            assert!(told.summary.contains("1 of its writes"));
        }
    }

    #[test]
    fn a_long_result_is_cut_in_the_middle_and_says_so() {
        let outcome = Outcome { content: "é".repeat(MAX_RESULT_BYTES), ..Outcome::default() };
        let content = limited(outcome).content;
        assert!(content.len() < 2 * MAX_RESULT_BYTES && content.contains("left out"));
    }
}
