//! Cleans the words of an action before they are judged: no remote images, no HTML, no hidden
//! characters, nothing that a build agent would obey; and finds the hosts they point to (F3).

use std::collections::{BTreeMap, BTreeSet};

use crate::action::{Action, FileChange};
use crate::mask::sanitise::{self, Cleaned, Flag, Hosts};
use crate::weaken::{Defence, off};

/// Kinds of files that a page shows with what they point to.
const SHOWN: [&str; 10] =
    [".md", ".markdown", ".svg", ".html", ".htm", ".css", ".xml", ".mdx", ".ipynb", ".rst"];

/// What was cleaned, and where the words point to.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Hosts that are not on the egress list, sorted.
    pub(super) new_hosts: Vec<String>,
    /// What was taken out.
    pub(super) flags: BTreeMap<Flag, u32>,
}

/// The action with clean words. Contents of files stay as they are: they are judged, not changed.
pub(super) fn clean(mut action: Action, hosts: &Hosts) -> (Action, Found) {
    let mut cleaner = Cleaner { hosts, found: Found::default(), unknown: BTreeSet::new() };
    if !off(Defence::SanitiseOut) {
        cleaner.action(&mut action);
    } else {
        cleaner.unknown.extend(sanitise::unknown_hosts(&words(&action), hosts));
    }
    cleaner.found.new_hosts = cleaner.unknown.into_iter().collect();
    (action, cleaner.found)
}

struct Cleaner<'h> {
    hosts: &'h Hosts,
    found: Found,
    unknown: BTreeSet<String>,
}

impl Cleaner<'_> {
    fn action(&mut self, action: &mut Action) {
        match action {
            Action::CreateWorkItem { title, description, .. } => {
                self.plain(title);
                self.markdown(description);
            }
            Action::UpdateWorkItem { fields, .. } => {
                for (name, value) in fields.iter_mut() {
                    match name.as_str() {
                        "System.Description" | "Microsoft.VSTS.Common.AcceptanceCriteria" => {
                            self.markdown(value)
                        }
                        _ => self.plain(value),
                    }
                }
            }
            Action::CommentOnWorkItem { text, .. }
            | Action::CreateThread { text, .. }
            | Action::ReplyToThread { text, .. } => self.markdown(text),
            Action::Push { message, .. } => self.plain(message),
            Action::CreatePullRequest { title, description, .. } => {
                self.plain(title);
                self.markdown(description);
            }
            Action::UpdatePullRequest { title, description, .. } => {
                title.iter_mut().for_each(|title| self.plain(title));
                description.iter_mut().for_each(|text| self.markdown(text));
            }
            Action::CreateBranch { .. }
            | Action::PublishPullRequest { .. }
            | Action::RedraftPullRequest { .. }
            | Action::AbandonPullRequest { .. }
            | Action::QueueBuild { .. }
            | Action::SetThreadStatus { .. } => {}
        }
    }

    fn markdown(&mut self, text: &mut String) {
        let cleaned = sanitise::markdown(text, self.hosts);
        self.take(text, cleaned);
    }

    /// Titles and messages: addresses in them become links on some pages.
    fn plain(&mut self, text: &mut String) {
        let cleaned = sanitise::plain(text);
        self.unknown.extend(sanitise::unknown_hosts(&cleaned.text, self.hosts));
        self.take(text, cleaned);
    }

    fn take(&mut self, text: &mut String, cleaned: Cleaned) {
        for (flag, count) in cleaned.flags {
            *self.found.flags.entry(flag).or_default() += count;
        }
        self.unknown.extend(cleaned.unknown_hosts);
        *text = cleaned.text;
    }
}

/// The hosts that new lines of a diff point to, in files that a page shows with what they point to.
/// A diff that was cut counts as a whole.
pub(super) fn hosts_in_diff(diff: &str, hosts: &Hosts) -> Vec<String> {
    let mut shown = false;
    let mut added = String::new();
    for line in diff.lines() {
        if let Some(path) = line.strip_prefix("+++ ") {
            let path = path.trim().to_lowercase();
            shown = SHOWN.iter().any(|end| path.ends_with(end));
        } else if let Some(text) = line.strip_prefix('+').filter(|_| shown) {
            added.push_str(text);
            added.push('\n');
        }
    }
    sanitise::unknown_hosts(&added, hosts)
}

/// Every text of an action that people or machines outside would read.
pub(super) fn words(action: &Action) -> String {
    let mut all = String::new();
    let mut add = |text: &str| {
        all.push_str(text);
        all.push('\n');
    };
    match action {
        Action::CreateWorkItem { title, description, .. }
        | Action::CreatePullRequest { title, description, .. } => {
            add(title);
            add(description);
        }
        Action::UpdateWorkItem { fields, .. } => fields.values().for_each(|value| add(value)),
        Action::CommentOnWorkItem { text, .. }
        | Action::CreateThread { text, .. }
        | Action::ReplyToThread { text, .. } => add(text),
        Action::UpdatePullRequest { title, description, .. } => {
            title.iter().chain(description).for_each(|text| add(text));
        }
        Action::Push { message, changes, .. } => {
            add(message);
            for change in changes {
                if let FileChange::Add { content, .. } = change
                    && let crate::action::Content::Text(text) = content
                {
                    add(text);
                }
            }
        }
        _ => {}
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        Hosts::new(["dev.azure.com"]).unwrap()
    }

    #[test]
    fn images_commands_and_strange_hosts_do_not_pass_unseen() {
        let action = Action::CommentOnWorkItem {
            project: "P".into(),
            id: 1,
            text: "done ![x](https://evil.example/?d=1) see [it](//other.example) <b>x</b>\n##vso[task.x]1"
                .into(),
        };
        let (action, found) = clean(action, &hosts());
        let text = words(&action);
        assert!(
            !text.contains("evil.example") && !text.contains("<b>") && !text.contains("##vso["),
            "{text}"
        );
        assert_eq!(found.new_hosts, ["other.example"]);
        assert!(
            found.flags.contains_key(&Flag::RemoteImage) && found.flags.contains_key(&Flag::PipelineCommand)
        );
        let (again, found) = clean(action.clone(), &hosts());
        assert_eq!(again, action, "cleaning twice is cleaning once: an approved action keeps its digest");
        assert!(found.flags.is_empty());
    }

    #[test]
    fn new_lines_of_pages_are_searched_for_hosts() {
        let diff = "--- a/README.md\n+++ b/README.md\n-![a](https://old.example)\n+![a](https://new.example)\n\
                    --- a/src/a.ts\n+++ b/src/a.ts\n+fetch('https://api.example')\n";
        assert_eq!(hosts_in_diff(diff, &hosts()), ["new.example"]);
    }
}
