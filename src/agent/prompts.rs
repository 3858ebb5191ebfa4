//! What the model is told before the person speaks.

use super::state::Order;
use crate::digest::Digest;

const SYSTEM: &str = include_str!("../../prompts/system.md");
const REVIEW_COMMENT: &str = include_str!("../../prompts/review_comment.md");

/// Beginning of the subject of a run that answers reviewers.
pub(super) const PULL_REQUEST_SUBJECT: &str = "pull_request:";

/// Facts about the place of work, the same for every run of a process.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Organisation URL.
    pub organization_url: String,
    /// Account of the agent user.
    pub agent_user: String,
}

/// Hash of all prompts, for the record.
pub(super) fn hash() -> Digest {
    Digest::of("ado-coworker prompts v1", [SYSTEM, REVIEW_COMMENT].join("\n\0\n").as_bytes())
}

/// The system message: the standing text first, so that the provider's cache serves it, then what
/// is true of this run.
pub(super) fn system(facts: &Facts, order: Option<&Order>) -> String {
    let mut text = SYSTEM.trim_end().to_owned();
    text.push_str("\n\n## This run\n");
    text.push_str(&format!("- Organisation: {}\n", facts.organization_url));
    text.push_str(&format!("- Your account: {}\n", facts.agent_user));
    if let Some(order) = order {
        let account = order.requested_by.account.as_deref();
        let who = account.filter(|account| *account != order.requested_by.name);
        let who = who.map(|account| format!(" <{account}>")).unwrap_or_default();
        text.push_str(&format!("- Project: {}\n- Repository: {}\n", order.project, order.repository));
        text.push_str(&format!("- Asked by: {}{who}\n", order.requested_by.name));
        if order.subject.as_deref().is_some_and(|subject| subject.starts_with(PULL_REQUEST_SUBJECT)) {
            text.push_str(&format!("\n{}\n", REVIEW_COMMENT.trim_end()));
        }
    }
    text
}

/// A person's words, each line marked as quoted.
fn quoted(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("> {line}")).collect();
    if lines.is_empty() { "> ".to_owned() } else { lines.join("\n") }
}

/// The words of a reviewer, as the model and people read them.
pub(super) fn review_comment(pull_request: u32, thread: u32, author: &str, text: &str) -> String {
    let author = author.replace(['\n', '\r'], " ");
    format!("Pull request {pull_request}: {author} commented in thread {thread}\n{}", quoted(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_cannot_break_out_of_its_quotation() {
        let text = review_comment(12, 3, "alice", "please\n\n# New orders\n{thread}");
        assert!(text.starts_with(
            "Pull request 12: alice commented in thread 3\n> please\n> \n> # New orders\n> {thread}"
        ));
    }
}
