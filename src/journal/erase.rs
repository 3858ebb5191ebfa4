//! Erasing of bodies. What is erased loses its body and its salt; its place in the chain stays, and
//! so does the proof that nothing else was changed.

use super::command::{Answer, Command};
use super::store::read;
use super::{Entry, Journal, JournalError, Person, RunId};
use crate::journal::house::Note;

/// Most bodies erased in one commit.
pub const AT_ONCE: i64 = 500;

/// What kind of thing a body is, and so how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// What was said to and by the model.
    Transcripts,
    /// Arguments and results of tools.
    Bodies,
    /// Orders, decisions, approvals, what was written outside, the ends.
    Decisions,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Transcripts, Self::Bodies, Self::Decisions];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transcripts => "transcripts",
            Self::Bodies => "bodies",
            Self::Decisions => "decisions",
        }
    }

    /// How the bodies of this class begin; of [`Class::Decisions`] everything that no other has.
    pub(super) fn begins(self) -> &'static [&'static str] {
        match self {
            Self::Transcripts => {
                &["{\"type\":\"message\"%", "{\"type\":\"prepared\"%", "{\"type\":\"replied\"%"]
            }
            Self::Bodies => &[
                "{\"type\":\"tool_started\"%",
                "{\"type\":\"tool_finished\"%",
                "{\"type\":\"carried\"%",
                "{\"type\":\"trouble\"%",
                "{\"type\":\"waiting\"%",
            ],
            Self::Decisions => &["%"],
        }
    }
}

/// What is to be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erasable {
    /// Bodies of a class that were written before an instant (microseconds since 1970), of runs that
    /// have ended and are not held.
    Old(Class, i64),
    /// Every body of these runs, and the words with which lists show them.
    Runs(Vec<RunId>),
}

impl Journal {
    /// How many bodies are there to be erased. [`Erasable::Runs`] that have not ended or are held count
    /// as none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn erasable(&self, what: &Erasable) -> Result<u64, JournalError> {
        let count: i64 = read!(self, erasable(what))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Erases a portion, at most [`AT_ONCE`]; how many bodies that were.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn erase(&self, what: Erasable) -> Result<u64, JournalError> {
        match self.writer.write(Command::Erase { what, most: AT_ONCE }).await? {
            Answer::Gone(count) => Ok(count),
            _ => Err(JournalError::Closed),
        }
    }

    /// Keeps the bodies of a run from erasure, or no longer. False: there is no such run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn hold(&self, run: &RunId, held: bool, by: Person) -> Result<bool, JournalError> {
        let done = self.done(Command::Hold { run: run.clone(), held }).await?;
        if done {
            self.note(Note::Held { by, run: run.clone(), held }).await?;
        }
        Ok(done)
    }

    /// Runs that have ended and that the person with this id (in Entra or in Azure DevOps) or account
    /// ordered or steered.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn runs_instructed_by(&self, id: &str) -> Result<Vec<RunId>, JournalError> {
        // A text that merely names the person is looked at, and then passed over.
        let found: Vec<(RunId, i64)> = read!(self, naming(&id.to_lowercase()))?;
        let mut runs = Vec::new();
        for (run, seq) in found {
            let person = match self.entry(&run, seq).await?.map(|logged| logged.entry) {
                Some(Entry::Created { requested_by, .. }) => requested_by,
                Some(Entry::Message { from, .. }) => from,
                _ => continue,
            };
            let is =
                |known: &Option<String>| known.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(id));
            if (is(&person.oid) || is(&person.id) || is(&person.account)) && !runs.contains(&run) {
                runs.push(run);
            }
        }
        Ok(runs)
    }
}
