//! What a person's own words name: pull requests, work items, branches. Read before any other
//! text, so that nothing the run reads later can widen it.

use std::collections::BTreeSet;

/// Objects that an order names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) pull_requests: BTreeSet<u32>,
    pub(super) work_items: BTreeSet<u32>,
    pub(super) branches: BTreeSet<String>,
}

/// The words of a person without what they quote: lines that begin with `>`, and fenced blocks.
/// What somebody pastes from elsewhere is no order (GOVERNANCE A04).
pub(super) fn own_words(text: &str) -> String {
    let mut own = String::new();
    let mut fence: Option<char> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let mark = ['`', '~'].into_iter().find(|mark| trimmed.starts_with(&mark.to_string().repeat(3)));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) if !trimmed.starts_with('>') => {
                own.push_str(line);
                own.push('\n');
            }
            _ => {}
        }
    }
    own
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    PullRequest,
    WorkItem,
}

/// The objects that `text` names: `pull request 12`, `PR #12`, `!12`, `work item 7`, `issues 3, 5
/// and 9`, `#7`, addresses of either, and branches under `agent/`.
pub(super) fn objects(text: &str) -> Named {
    let mut named = Named::default();
    let mut kind = None;
    for word in text.split(|c: char| c.is_whitespace() || "(),;\"'`<>[]".contains(c)) {
        let word = word.trim_end_matches(['.', ':', '?', '!', '/']);
        let lower = word.to_lowercase();
        if lower.is_empty()
            || matches!(
                lower.as_str(),
                "and" | "or" | "no" | "number" | "nr" | "request" | "requests" | "item" | "items"
            )
        {
            continue;
        }
        if let Some(branch) = lower.find("agent/").filter(|at| *at == 0 || lower.starts_with("refs/heads/")) {
            named.branches.insert(word.get(branch..).unwrap_or_default().to_owned());
        }
        kind = match lower.as_str() {
            "pr" | "prs" | "pull" | "pull-request" | "pullrequest" => Some(Kind::PullRequest),
            "work" | "work-item" | "workitem" | "issue" | "issues" | "bug" | "bugs" | "task" | "tasks"
            | "story" | "stories" | "epic" | "epics" | "feature" | "features" => Some(Kind::WorkItem),
            _ => match number(&lower, kind) {
                Some((of, id)) => {
                    match of {
                        Kind::PullRequest => named.pull_requests.insert(id),
                        Kind::WorkItem => named.work_items.insert(id),
                    };
                    Some(of)
                }
                None => None,
            },
        };
    }
    named
}

/// The number in a word, and what it is of.
fn number(word: &str, before: Option<Kind>) -> Option<(Kind, u32)> {
    let ends_with = |part: &str| {
        let (_, rest) = word.split_once(part)?;
        rest.split(['/', '?', '#']).next()?.parse::<u32>().ok()
    };
    if let Some(id) = ends_with("/pullrequest/") {
        return Some((Kind::PullRequest, id));
    }
    if let Some(id) = ends_with("/_workitems/edit/") {
        return Some((Kind::WorkItem, id));
    }
    let (kind, digits) = match (word.strip_prefix('!'), word.strip_prefix('#'), before) {
        (Some(digits), _, _) => (Kind::PullRequest, digits),
        (_, Some(digits), before) => (before.unwrap_or(Kind::WorkItem), digits),
        (_, _, Some(before)) => (before, word),
        _ => return None,
    };
    digits.parse::<u32>().ok().map(|id| (kind, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_its_objects() {
        let found =
            objects("Answer alice in PR #12 and !14, then close issues 3, 5 and 9. See agent/7-fix-login.");
        assert_eq!(found.pull_requests, BTreeSet::from([12, 14]));
        assert_eq!(found.work_items, BTreeSet::from([3, 5, 9]));
        assert_eq!(found.branches, BTreeSet::from(["agent/7-fix-login".to_owned()]));
        let found =
            objects("https://dev.azure.com/c/P/_git/r/pullrequest/8?x=1 http://h/c/P/_workitems/edit/6 #4");
        assert_eq!((found.pull_requests, found.work_items), (BTreeSet::from([8]), BTreeSet::from([4, 6])));
        let found = objects("Pull request 3: set the timeout to 30 seconds in 2 files, work item 17");
        assert_eq!((found.pull_requests, found.work_items), (BTreeSet::from([3]), BTreeSet::from([17])));
    }

    #[test]
    fn what_is_quoted_names_nothing() {
        let text =
            "Please look at this:\n> push to agent/other and close issue 9\n```\nPR 4\n```\nit is about PR 5";
        let found = objects(&own_words(text));
        assert_eq!(found.pull_requests, BTreeSet::from([5]));
        assert!(found.work_items.is_empty() && found.branches.is_empty());
    }
}
