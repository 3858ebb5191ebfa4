//! Where each text that a tool brings in comes from, and how far it is trusted (GOVERNANCE §6.1).

use std::collections::BTreeMap;

use super::Desk;
use super::standing::Standing;
use crate::action::BranchName;
use crate::azure_devops::{Me, Person};
use crate::digest::Digest;
use crate::journal::Entry;
use crate::mask::sanitise::Flag;
use crate::policy::{Label, TaintSource};
use crate::weaken::{Defence, off};

/// Most sources that one call reports by name; further ones are told together.
const MAX_SOURCES_OF_CALL: usize = 24;
/// Longest name of an object or a person that is kept, in characters.
const MAX_NAME: usize = 160;

/// A text from the served project, of this kind and object.
pub(super) fn source(desk: &Desk<'_>, kind: &str, object: String, text: &str, label: Label) -> TaintSource {
    TaintSource {
        kind: kind.to_owned(),
        object: short(&object),
        project: desk.toolbox.served.project.clone(),
        repository: None,
        author_id: None,
        author: None,
        label,
        hash: Digest::of("ado-coworker text v1", text.as_bytes()).short().to_owned(),
        url: None,
    }
}

/// How far a person's text is trusted, by who they are and never by what they are called.
pub(super) fn label_of(person: &Person, me: &Me, standing: &Standing) -> Label {
    if person.id == me.id {
        return Label::Trusted;
    }
    let asked = standing.requested_by().and_then(|person| person.id.as_deref());
    if !person.id.is_empty() && asked.is_some_and(|id| id.eq_ignore_ascii_case(&person.id)) {
        return Label::Instructor;
    }
    // People of the organisation itself have accounts of the same domain as the co-worker; guests,
    // services and builds do not.
    let domain = |account: &Option<String>| {
        let account = account.as_deref()?;
        // A guest's account holds its home domain: name_home.example#EXT#@tenant.
        if account.to_ascii_lowercase().contains("#ext#") {
            return None;
        }
        account.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase())
    };
    match (domain(&person.account), domain(&me.account)) {
        (Some(theirs), Some(ours)) if theirs == ours && !person.is_group => Label::Internal,
        _ => Label::Untrusted,
    }
}

impl Desk<'_> {
    /// Notes a text of a person. What the co-worker wrote itself is no news.
    pub(super) fn saw_text_of(
        &mut self,
        kind: &str,
        object: String,
        person: Option<&Person>,
        me: &Me,
        text: &str,
    ) {
        let label =
            person.map_or(Label::Untrusted, |person| label_of(person, me, self.gate.of_run().standing));
        if label == Label::Trusted || text.trim().is_empty() {
            return;
        }
        let mut found = source(self, kind, object, text, label);
        found.author_id = person.map(|person| person.id.clone()).filter(|id| !id.is_empty());
        found.author = person.map(|person| short(person.account.as_deref().unwrap_or(&person.name)));
        self.saw(found);
    }

    /// Notes text of files at `branch`: internal where it is the default branch, which people guard.
    pub(super) fn saw_files(&mut self, object: String, text: &str, branch: Option<&BranchName>) {
        let guarded = self.toolbox.repository.get().and_then(|found| found.default_branch.as_ref());
        let is_guarded = branch.is_some() && branch == guarded;
        let label = if is_guarded { Label::Internal } else { Label::Untrusted };
        let mut found = source(self, "file", object, text, label);
        found.repository = Some(self.toolbox.served.repository.clone());
        self.saw(found);
    }

    /// Says of the newest `count` texts which project they are in, as the service told it.
    pub(super) fn place_last(&mut self, count: usize, project: &str) {
        for source in self.sources.iter_mut().rev().take(count) {
            if source.kind == "work_item" || source.kind == "comment" {
                project.clone_into(&mut source.project);
            }
        }
    }

    /// Notes one text that was read.
    pub(super) fn saw(&mut self, source: TaintSource) {
        if self.sources.len() < MAX_SOURCES_OF_CALL {
            return self.sources.push(source);
        }
        // Too many to name: the last one stands for the rest, as bad as the worst of them.
        if let Some(last) = self.sources.last_mut() {
            last.label = last.label.max(source.label);
            if !last.object.ends_with(" and more") {
                last.object.push_str(" and more");
            }
            if last.project != source.project {
                last.project = source.project;
            }
            last.author_id = None;
            last.author = None;
        }
    }
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

/// The entry for what a call has read, when it changes how far the run is trusted.
pub(super) fn changed(
    standing: &Standing,
    step: u32,
    read: Vec<TaintSource>,
    class_b: bool,
    flags: &BTreeMap<Flag, u32>,
) -> Option<Entry> {
    let sources: Vec<TaintSource> = read.into_iter().filter(|source| !standing.knows(source)).collect();
    let highest = sources.iter().map(|source| source.label).max().unwrap_or_default();
    let label = if off(Defence::Taint) { Label::Trusted } else { standing.label.max(highest) };
    let class_b = standing.class_b || class_b;
    let flags: Vec<String> = flags.iter().map(|(flag, count)| format!("{}: {count}", named(*flag))).collect();
    let is_news = !sources.is_empty() || class_b != standing.class_b || !flags.is_empty();
    is_news.then_some(Entry::TaintChanged { step, label, class_b, sources, flags })
}

/// The flag's name in the record.
pub(super) fn named(flag: Flag) -> String {
    serde_json::to_value(flag).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_apart_by_id_and_account() {
        let person = |id: &str, name: &str, account: Option<&str>| Person {
            id: id.into(),
            name: name.into(),
            account: account.map(str::to_owned),
            is_group: false,
        };
        let me = Me {
            id: "me".into(),
            name: "ado-coworker".into(),
            account: Some("ado-coworker@contoso.example".into()),
            organization_id: None,
        };
        let standing = Standing::default();
        let label = |person: &Person| label_of(person, &me, &standing);
        assert_eq!(label(&person("me", "x", None)), Label::Trusted);
        assert_eq!(label(&person("a", "alice", Some("alice@CONTOSO.example"))), Label::Internal);
        assert_eq!(label(&person("b", "alice", Some("alice@evil.example"))), Label::Untrusted);
        assert_eq!(label(&person("c", "ado-coworker", None)), Label::Untrusted, "a name proves nothing");
        let guest = "mallory_evil.example#EXT#@contoso.example";
        assert_eq!(label(&person("d", "m", Some(guest))), Label::Untrusted);
    }
}
