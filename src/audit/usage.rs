//! Which rights the recorded calls used.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::journal::{Entry, Journal, JournalError, Logged};
use crate::trace::Called;

/// How often a right was used, and when last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Used {
    /// How many recorded calls needed it.
    pub times: u64,
    /// When last.
    pub last: Option<Timestamp>,
}

/// Use of rights by name: those of the doctor's checks (`permission.push`), `model`, `licence`.
pub type Usage = BTreeMap<&'static str, Used>;

/// The right that a write needs.
fn right_of_action(kind: &str) -> Option<&'static str> {
    match kind.split_once('.')? {
        ("git", "push") => Some("permission.push"),
        ("git", _) => Some("permission.create_branch"),
        ("pull_request" | "thread", _) => Some("permission.pull_requests"),
        ("build", _) => Some("permission.queue_builds"),
        ("work_item", _) => Some("permission.write_work_items"),
        _ => None,
    }
}

/// The right that an answered question needed; none for writes, which their actions tell.
fn right_of_question(asked: &Called) -> Option<&'static str> {
    let question = asked.method == "GET" || asked.route.contains("wiql") || asked.route.ends_with("batch");
    match () {
        () if !asked.is_ok() => None,
        () if asked.route.contains("codesearchresults") => Some("permission.read_code"),
        () if !question => None,
        () if asked.route.contains("_apis/git/") => Some("permission.read_code"),
        () if asked.route.contains("_apis/wit/") => Some("permission.read_work_items"),
        () => None,
    }
}

/// What the runs since used.
///
/// # Errors
/// When the journal fails. What does not read back counts as nothing.
pub async fn of(journal: &Journal, since: Timestamp) -> Result<Usage, JournalError> {
    let mut usage = Usage::new();
    for run in journal.run_ids().await? {
        let Some(row) = journal.run(&run).await? else { continue };
        if row.updated_at < since.as_microsecond() {
            continue;
        }
        let mut after = 0;
        loop {
            let record = journal.record(&run, after).await?;
            let Some(last) = record.last() else { break };
            after = last.seq;
            for entry in record.into_iter().filter(|entry| entry.ts >= since.as_microsecond()) {
                let Some(body) = entry.body else { continue };
                let Ok(read) = serde_json::from_str(&body) else { continue };
                take(&mut usage, &Logged { seq: entry.seq, ts: entry.ts, body, entry: read });
            }
        }
    }
    Ok(usage)
}

fn take(usage: &mut Usage, logged: &Logged) {
    let at = Timestamp::from_microsecond(logged.ts).ok();
    let mut count = |right: &'static str, times: u64| {
        let used = usage.entry(right).or_default();
        used.times += times;
        used.last = used.last.max(at);
    };
    match &logged.entry {
        Entry::Intended { action, .. } => {
            if let Some(right) = right_of_action(action.kind()) {
                count(right, 1);
                if !right.ends_with("work_items") {
                    count("licence", 1);
                }
            }
        }
        Entry::Exchanged { exchanges, .. } => {
            for right in exchanges.iter().filter_map(right_of_question) {
                count(right, 1);
                if right == "permission.read_code" {
                    count("licence", 1);
                }
            }
        }
        Entry::Replied { .. } => count("model", 1),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_needs_the_right_that_guards_it() {
        let asked = |method: &str, route: &str, status| Called {
            system: "azure_devops".into(),
            method: method.into(),
            route: route.into(),
            status,
            sent: String::new(),
            activity_id: None,
            token: None,
            duration_ms: 1,
        };
        let right = |method, route, status| right_of_question(&asked(method, route, status));
        let items = "{project}/_apis/git/repositories/{repository}/items";
        assert_eq!(right("GET", items, Some(200)), Some("permission.read_code"));
        assert_eq!(right("GET", items, Some(403)), None, "what was refused was not used");
        assert_eq!(right("POST", "{project}/_apis/wit/wiql", Some(200)), Some("permission.read_work_items"));
        assert_eq!(right("POST", "{project}/_apis/git/repositories/{repository}/pushes", Some(201)), None);
        assert_eq!(right_of_action("git.push"), Some("permission.push"));
        assert_eq!(right_of_action("thread.reply"), Some("permission.pull_requests"));
    }
}
