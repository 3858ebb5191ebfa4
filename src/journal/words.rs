//! The words of people, cleaned before they are written: every door writes through the journal, so
//! that none can forget it.

use std::sync::Arc;

use super::{Entry, Journal, NewRun, Person};
use crate::policy::approval::Change;

/// Takes out of a person's words what must not be kept.
pub type Cleaner = Arc<dyn Fn(&str) -> String + Send + Sync>;

impl Journal {
    /// The same journal, in which the words of people pass `clean` before they are written.
    #[must_use]
    pub fn cleaning(mut self, clean: Cleaner) -> Self {
        self.clean = Some(clean);
        self
    }

    fn cleaned(&self, text: String) -> String {
        self.clean.as_ref().map(|clean| clean(&text)).unwrap_or(text)
    }

    /// People choose their display names themselves.
    fn cleaned_person(&self, person: Person) -> Person {
        Person { name: self.cleaned(person.name), ..person }
    }

    pub(super) fn cleaned_run(&self, run: NewRun) -> NewRun {
        let requested_by = self.cleaned_person(run.requested_by);
        NewRun { instruction: self.cleaned(run.instruction), requested_by, ..run }
    }

    pub(super) fn cleaned_entry(&self, entry: Entry) -> Entry {
        match entry {
            Entry::Message { from, text } => {
                Entry::Message { from: self.cleaned_person(from), text: self.cleaned(text) }
            }
            Entry::CancelRequested { by } => Entry::CancelRequested { by: self.cleaned_person(by) },
            Entry::Killed { by, reason } => {
                Entry::Killed { by: self.cleaned_person(by), reason: self.cleaned(reason) }
            }
            // What people say about a decision is kept and shown, too.
            Entry::ApprovalChanged { id, what: Change::Decided(mut decision) } => {
                decision.by.who.name = self.cleaned(std::mem::take(&mut decision.by.who.name));
                decision.reason = self.cleaned(std::mem::take(&mut decision.reason));
                decision.break_glass = decision.break_glass.take().map(|ticket| self.cleaned(ticket));
                Entry::ApprovalChanged { id, what: Change::Decided(decision) }
            }
            Entry::ApprovalChanged { id, what: Change::Revoked { why, by } } => {
                Entry::ApprovalChanged { id, what: Change::Revoked { why: self.cleaned(why), by } }
            }
            Entry::ApprovalChanged { id, what: Change::GrantEnded { why, by } } => {
                Entry::ApprovalChanged { id, what: Change::GrantEnded { why: self.cleaned(why), by } }
            }
            other => other,
        }
    }
}
