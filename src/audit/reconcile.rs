//! The record beside what the organisation says: what the agent user did there and no run did.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use crate::action::Action;
use crate::azure_devops::{Deed, Did};
use crate::journal::{Entry, Journal, JournalError, Logged};

/// How far the clocks of the journal and of Azure DevOps may be apart.
const SKEW: SignedDuration = SignedDuration::from_secs(30);
/// How long a write may have gone on whose end was never written down.
const LONGEST: SignedDuration = SignedDuration::from_mins(10);

/// A write that the record holds.
#[derive(Debug)]
struct Written {
    from: Timestamp,
    to: Timestamp,
    kind: &'static str,
    /// Number of the work item or pull request, as far as one is named.
    object: Option<String>,
    branch: Option<String>,
    /// Work items that it links or mentions, and so changes.
    items: Vec<String>,
}

/// What the record says that was written outside.
#[derive(Debug, Default)]
pub struct Known {
    activities: HashSet<String>,
    made: HashSet<(String, String)>,
    commits: HashSet<String>,
    writes: Vec<Written>,
}

impl Known {
    /// Everything that `journal` holds of runs that changed at or after `since`.
    ///
    /// # Errors
    /// When the journal fails. An entry that does not read back is passed over: what it says is then
    /// found as not recorded.
    pub async fn of(journal: &Journal, since: Timestamp) -> Result<Self, JournalError> {
        let mut known = Self::default();
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
                let read = record.into_iter().filter_map(|entry| {
                    let body = entry.body?;
                    let read = serde_json::from_str(&body).ok()?;
                    Some(Logged { seq: entry.seq, ts: entry.ts, body, entry: read })
                });
                read.for_each(|logged| known.take(&logged));
            }
        }
        Ok(known)
    }

    fn take(&mut self, logged: &Logged) {
        let at = Timestamp::from_microsecond(logged.ts).unwrap_or(Timestamp::UNIX_EPOCH);
        match &logged.entry {
            Entry::Exchanged { exchanges, .. } => {
                self.activities.extend(exchanges.iter().filter_map(|one| one.activity_id.clone()).map(lower));
            }
            Entry::Intended { action, .. } => {
                let later = at.checked_add(LONGEST).unwrap_or(at);
                self.writes.push(Written {
                    from: at,
                    to: later,
                    kind: action.kind(),
                    object: object(action),
                    branch: branch(action),
                    items: items(action),
                });
            }
            Entry::Performed { effect, .. } => {
                let part = |name: &str| effect.as_ref().and_then(|effect| effect.get(name)?.as_str());
                self.activities.extend(part("activity_id").map(|id| lower(id.to_owned())));
                self.commits.extend(part("commit").map(|commit| lower(commit.to_owned())));
                if let (Some(kind), Some(id)) = (part("kind"), part("id")) {
                    self.made.insert((kind.to_owned(), id.to_owned()));
                }
                if let Some(write) = self.writes.last_mut().filter(|write| write.from <= at) {
                    write.to = at;
                    write.object = write.object.take().or_else(|| part("id").map(str::to_owned));
                }
            }
            _ => {}
        }
    }

    /// Whether the record knows of a deed: by the id of its request, by the thing that was made, or by a
    /// write to the same thing at that time.
    pub fn has(&self, deed: &Deed) -> bool {
        if deed.activity_id.as_ref().is_some_and(|id| self.activities.contains(&lower(id.clone()))) {
            return true;
        }
        let made = |kind: &str, id: &str| self.made.contains(&(kind.to_owned(), id.to_owned()));
        match deed.did {
            Did::Audited => false,
            Did::Pushed => {
                let (commit, branch) = deed.object.split_once(' ').unwrap_or((&deed.object, ""));
                self.commits.contains(&commit.to_lowercase())
                    && self.at_that_time(deed, |write| {
                        write.kind.starts_with("git.") && write.branch.as_deref() == Some(branch)
                    })
            }
            Did::OpenedPullRequest => made("pull_request", &deed.object),
            Did::QueuedBuild => made("build", &deed.object),
            Did::Commented => {
                let pull_request = deed.object.split('/').next().unwrap_or_default();
                self.at_that_time(deed, |write| {
                    write.kind.starts_with("thread.") && write.object.as_deref() == Some(pull_request)
                })
            }
            Did::ChangedWorkItem => self.at_that_time(deed, |write| match write.kind {
                "work_item.create" | "work_item.update" | "work_item.comment" => {
                    write.object.as_deref() == Some(deed.object.as_str())
                }
                _ => write.items.contains(&deed.object),
            }),
        }
    }

    fn at_that_time(&self, deed: &Deed, fits: impl Fn(&Written) -> bool) -> bool {
        let near = |write: &&Written| {
            let from = write.from.checked_sub(SKEW).unwrap_or(write.from);
            let to = write.to.checked_add(SKEW).unwrap_or(write.to);
            (from..=to).contains(&deed.at)
        };
        self.writes.iter().filter(near).any(fits)
    }
}

fn lower(id: String) -> String {
    id.to_lowercase()
}

fn object(action: &Action) -> Option<String> {
    match action {
        Action::UpdateWorkItem { id, .. } | Action::CommentOnWorkItem { id, .. } => Some(id.to_string()),
        Action::CreateThread { pull_request_id, .. }
        | Action::ReplyToThread { pull_request_id, .. }
        | Action::SetThreadStatus { pull_request_id, .. } => Some(pull_request_id.to_string()),
        _ => None,
    }
}

fn items(action: &Action) -> Vec<String> {
    let mentioned = |text: &str| -> Vec<String> {
        let numbers = text
            .split('#')
            .skip(1)
            .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        numbers.filter(|number| !number.is_empty()).collect()
    };
    match action {
        Action::CreatePullRequest { work_item_ids, title, description, .. } => {
            let linked = work_item_ids.iter().map(ToString::to_string);
            linked.chain(mentioned(title)).chain(mentioned(description)).collect()
        }
        Action::Push { message, .. } => mentioned(message),
        _ => Vec::new(),
    }
}

fn branch(action: &Action) -> Option<String> {
    match action {
        Action::Push { branch, .. } | Action::CreateBranch { branch, .. } => Some(branch.as_str().to_owned()),
        _ => None,
    }
}
