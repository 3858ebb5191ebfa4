//! What a run has done and read so far, folded from its log: its own objects, its counts, its
//! taint. The same log gives the same standing, after a crash as well.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use serde_json::Value;

use super::asking::NOTICES;
use super::named;
use super::quotes::Quotes;
use crate::action::Action;
use crate::event::{Trigger, TriggerKind};
use crate::journal::{Entry, Logged, Person, Source};
use crate::policy::{Label, MAX_TAINT_SOURCES, TaintSource};

/// A minute, in microseconds.
const MINUTE: i64 = 60_000_000;
/// The same call so often in a row is a loop.
pub const MAX_SAME_CALLS: u32 = 6;

/// What a run has done and read so far.
#[derive(Debug, Default)]
pub struct Standing {
    source: Option<Source>,
    trigger: Option<Trigger>,
    requested_by: Option<Person>,
    /// The person's own words; none in a run that an event began.
    pub(super) order: String,
    pub(super) label: Label,
    pub(super) sources: Vec<TaintSource>,
    seen: HashSet<(String, String)>,
    pub(super) class_b: bool,
    pub(super) branches: BTreeSet<String>,
    pub(super) pull_requests: BTreeSet<u32>,
    pub(super) work_items: BTreeSet<u32>,
    pub(super) deleted: u32,
    pub(super) files: u32,
    pub(super) bytes: u64,
    writes: BTreeMap<&'static str, u32>,
    counted: HashSet<(u32, u32)>,
    intended: Option<Action>,
    calls: VecDeque<i64>,
    last_call: Option<(String, Value)>,
    same_calls: u32,
    /// What the step under way has read.
    reading: Vec<String>,
    pub(super) quotes: Quotes,
}

impl Standing {
    /// What these entries alone say.
    pub(super) fn of(log: &[Logged]) -> Self {
        let mut standing = Self::default();
        log.iter().for_each(|logged| standing.apply(logged));
        standing
    }

    /// Whether what the action is on was made by what this standing is of.
    pub(super) fn made_its_object(&self, action: &Action) -> bool {
        match action {
            Action::Push { branch, .. } | Action::CreatePullRequest { source: branch, .. } => {
                self.branches.contains(branch.as_str())
            }
            Action::UpdateWorkItem { id, .. } | Action::CommentOnWorkItem { id, .. } => {
                self.work_items.contains(id)
            }
            Action::CreateThread { pull_request_id, .. } | Action::ReplyToThread { pull_request_id, .. } => {
                self.pull_requests.contains(pull_request_id)
            }
            _ => false,
        }
    }

    /// Takes the next entry of the log.
    pub fn apply(&mut self, logged: &Logged) {
        match &logged.entry {
            Entry::Created { source, requested_by, subject, trigger, .. } => {
                self.source = Some(*source);
                self.requested_by = Some(requested_by.clone());
                self.trigger = trigger.clone();
                let about = trigger.as_ref().map(|trigger| trigger.subject.as_str());
                self.own(about.or(subject.as_deref()).unwrap_or_default());
            }
            // In a run that an event began, the words quote what others wrote: they name nothing.
            Entry::Message { text, .. } if !self.is_of_event() => self.ordered(text),
            Entry::TaintChanged { label, class_b, sources, .. } => {
                self.label = self.label.max(*label);
                self.class_b |= class_b;
                self.reading = sources.iter().map(|source| source.object.clone()).collect();
                for source in sources {
                    if self.seen.insert((source.object.clone(), source.hash.clone()))
                        && self.sources.len() < MAX_TAINT_SOURCES
                    {
                        self.sources.push(source.clone());
                    }
                }
            }
            Entry::ToolStarted { tool, arguments, .. } => self.started(logged.ts, tool, arguments),
            Entry::Intended { step, write, action, verdict, .. } => {
                if self.counted.insert((*step, *write)) {
                    *self.writes.entry(action.kind()).or_default() += 1;
                    if let Some(facts) = &verdict.facts {
                        self.deleted = self.deleted.saturating_add(facts.deleted);
                        self.files = self.files.saturating_add(facts.files);
                        self.bytes = self.bytes.saturating_add(facts.bytes);
                    }
                }
                // What the program wrote of its own accord is not the run's to work on.
                self.intended = (*write < NOTICES).then(|| action.clone());
            }
            Entry::Performed { effect: Some(effect), .. } => {
                if let Some(action) = self.intended.take() {
                    self.made(&action, effect);
                }
            }
            Entry::ToolFinished { outcome, .. } => {
                for object in std::mem::take(&mut self.reading) {
                    self.quotes.remember(&object, &outcome.content);
                }
            }
            _ => {}
        }
    }

    /// Whether an event began this run.
    pub(super) fn is_of_event(&self) -> bool {
        self.trigger.is_some() || self.source == Some(Source::Webhook)
    }

    pub(super) fn source(&self) -> Option<Source> {
        self.source
    }

    pub(super) fn requested_by(&self) -> Option<&Person> {
        self.requested_by.as_ref()
    }

    /// What kind of event began it.
    pub(super) fn kind(&self) -> Option<TriggerKind> {
        self.trigger.as_ref().map(|trigger| trigger.kind)
    }

    /// How often this run has done such a write.
    pub(super) fn writes(&self, action: &str) -> u32 {
        self.writes.get(action).copied().unwrap_or_default()
    }

    /// Calls of tools in the minute before `now`, microseconds since 1970.
    pub(super) fn calls_in_minute(&self, now: i64) -> u32 {
        let recent = self.calls.iter().filter(|at| now.saturating_sub(**at) < MINUTE).count();
        u32::try_from(recent).unwrap_or(u32::MAX)
    }

    /// How often the call under way was made in a row, itself included.
    pub(super) fn same_calls(&self) -> u32 {
        self.same_calls
    }

    /// Whether a text was read before, in this very form.
    pub(super) fn knows(&self, source: &TaintSource) -> bool {
        self.seen.contains(&(source.object.clone(), source.hash.clone()))
    }

    fn started(&mut self, at: i64, tool: &str, arguments: &Value) {
        self.calls.push_back(at);
        while self.calls.front().is_some_and(|first| at.saturating_sub(*first) >= MINUTE) {
            self.calls.pop_front();
        }
        let call = (tool.to_owned(), arguments.clone());
        self.same_calls = if self.last_call.as_ref() == Some(&call) { self.same_calls + 1 } else { 1 };
        self.last_call = Some(call);
    }

    /// Takes what a person's own words name as objects of the run.
    fn ordered(&mut self, text: &str) {
        let own = named::own_words(text);
        let found = named::objects(&own);
        self.pull_requests.extend(found.pull_requests);
        self.work_items.extend(found.work_items);
        self.branches.extend(found.branches);
        self.order.push_str(&own);
        self.order.push('\n');
    }

    /// Takes an object such as `pull_request:12` as the run's own.
    fn own(&mut self, object: &str) {
        let Some((kind, id)) = object.split_once(':') else { return };
        match (kind, id.parse::<u32>()) {
            ("pull_request", Ok(id)) => {
                self.pull_requests.insert(id);
            }
            ("work_item", Ok(id)) => {
                self.work_items.insert(id);
            }
            _ => {}
        }
    }

    fn made(&mut self, action: &Action, effect: &Value) {
        let number = effect.get("id").and_then(Value::as_str).and_then(|id| id.parse::<u32>().ok());
        match (action, number) {
            (Action::CreateBranch { branch, .. }, _) => {
                self.branches.insert(branch.as_str().to_owned());
            }
            (Action::CreateWorkItem { .. }, Some(id)) => {
                self.work_items.insert(id);
            }
            (Action::CreatePullRequest { .. }, Some(id)) => {
                self.pull_requests.insert(id);
            }
            _ => {}
        }
    }
}
