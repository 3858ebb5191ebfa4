//! What a call came to, in words for the model and one line for people.

use serde_json::json;

use super::Interrupted;
use crate::azure_devops::Error;
use crate::journal::Outcome;
use crate::policy::Verdict;
use crate::policy::approval::Approval;

/// Most bytes of a tool's result that the model is given.
const MAX_RESULT_BYTES: usize = 48 * 1024;
/// How long to leave a system alone that is down and does not say for how long.
const OUTAGE_PAUSE: std::time::Duration = std::time::Duration::from_secs(2);

/// A result that tells what went wrong and what to do.
pub(super) fn failure(error: &str, remedy: &str) -> Outcome {
    Outcome {
        ok: false,
        content: json!({ "error": error, "remedy": remedy }).to_string(),
        summary: error.to_owned(),
        ..Outcome::default()
    }
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
        let head = &outcome.content[..floor(&outcome.content, half)];
        let tail = &outcome.content[ceil(&outcome.content, outcome.content.len() - half)..];
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

pub(super) fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// What an error of Azure DevOps means for the call: words for the model, or a wait.
pub(super) fn settle(error: Error) -> Result<Outcome, Interrupted> {
    let later = |after| Interrupted::Later { after, what: error.to_string(), remedy: error.remedy() };
    match &error {
        Error::Throttled { after, .. } => Err(later(after.unwrap_or(OUTAGE_PAUSE))),
        Error::Unavailable { .. } | Error::Transport { .. } | Error::Identity(_) => Err(later(OUTAGE_PAUSE)),
        _ => Ok(failure(&error.to_string(), &error.remedy())),
    }
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
