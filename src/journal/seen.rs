//! Which versions of outside objects were judged, so that an event that is seen in two ways, by a
//! service hook and by looking, begins work once. And marks: how far somebody has looked.

use std::collections::HashSet;
use std::time::Duration;

use super::command::{Answer, Command};
use super::store::read;
use super::{Journal, JournalError, RunRow};
use crate::event::TriggerKind;
use crate::weaken::{Defence, off};

/// Mark: when the last look for events was complete, microseconds since 1970.
pub const LOOKED_AT: &str = "looked.at";
/// Mark: when a look found something last.
pub const FOUND_AT: &str = "looked.found_at";
/// Mark: how many events looks have found in all.
pub const FOUND: &str = "looked.found";
/// Most subjects of runs under way that are listed.
const MAX_SUBJECTS: i64 = 200;

/// A version of an outside object that was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The object and its version, for example `comment:12/3/1@…`.
    pub version: String,
    /// What it is about, for example `pull_request:12`.
    pub subject: String,
    /// What work it meant, where it meant any.
    pub kind: Option<TriggerKind>,
}

impl Journal {
    /// Remembers versions for the event that saw them first; gives those that are this event's.
    /// The same event may ask again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn see(&self, event: &str, seen: Vec<Seen>) -> Result<HashSet<String>, JournalError> {
        if off(Defence::Dedup) {
            return Ok(seen.into_iter().map(|seen| seen.version).collect());
        }
        match self.writer.write(Command::See { event: event.to_owned(), seen }).await? {
            Answer::Own(own) => Ok(own),
            _ => Err(JournalError::Closed),
        }
    }

    /// Those of `versions` that somebody judged.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn seen(&self, versions: &[String]) -> Result<HashSet<String>, JournalError> {
        read!(self, seen(versions))
    }

    /// How many versions about `subject` meant work of this kind since (microseconds since 1970).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn seen_of(&self, subject: &str, kind: TriggerKind, since: i64) -> Result<i64, JournalError> {
        read!(self, seen_of(subject, kind.as_str(), since))
    }

    /// A mark, made with `first` where there is none.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn mark(&self, name: &str, first: i64) -> Result<i64, JournalError> {
        if let Some(value) = self.mark_if_any(name).await? {
            return Ok(value);
        }
        self.write_mark(name, first, true).await
    }

    /// A mark, where there is one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn mark_if_any(&self, name: &str) -> Result<Option<i64>, JournalError> {
        read!(self, mark_of(name))
    }

    /// Sets a mark.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn set_mark(&self, name: &str, value: i64) -> Result<(), JournalError> {
        self.write_mark(name, value, false).await.map(|_| ())
    }

    async fn write_mark(&self, name: &str, value: i64, keep: bool) -> Result<i64, JournalError> {
        match self.writer.write(Command::Mark { name: name.to_owned(), value, keep }).await? {
            Answer::Mark(value) => Ok(value),
            _ => Err(JournalError::Closed),
        }
    }

    /// Takes the next turn of something that one replica does at a time, when the last turn began
    /// at least `every` ago.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn take_turn(&self, name: &str, every: Duration) -> Result<bool, JournalError> {
        self.done(Command::TakeTurn { name: name.to_owned(), every }).await
    }

    /// How many runs events have begun since (microseconds since 1970), about `subject` or in all.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn runs_from_events(&self, subject: Option<&str>, since: i64) -> Result<i64, JournalError> {
        read!(self, runs_from_events(subject, since))
    }

    /// What runs that have not ended are about; the first 200.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn active_subjects(&self) -> Result<Vec<String>, JournalError> {
        read!(self, active_subjects(MAX_SUBJECTS))
    }

    /// The newest run about `subject`, ended or not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest_run_about(&self, subject: &str) -> Result<Option<RunRow>, JournalError> {
        read!(self, newest_run_about(subject))
    }
}
