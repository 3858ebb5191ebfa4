//! The house's own log: what happens to no run in particular (everything was stopped, a record was
//! looked at, bodies were erased), chained and signed like a run's; and the switch that stops all.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::chain::Draft;
use super::command::{Answer, Command};
use super::store::read;
use super::{Entry, Journal, JournalError, Person, RunId, RunView, Status};
use crate::policy::approval::Change;

/// How often ending a run is tried when its approvals change meanwhile.
const MAX_TRIES: u32 = 3;

/// Something that concerns no run alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Note {
    /// Everything was stopped.
    Halted {
        /// Who did it.
        by: Person,
        /// Why.
        reason: String,
    },
    /// It goes on.
    Lifted {
        /// Who let it.
        by: Person,
    },
    /// Somebody looked at the record of a run.
    Viewed {
        /// Who.
        by: Person,
        /// Which run's.
        run: RunId,
        /// How: `replay` or `record`.
        how: String,
    },
    /// A run's bodies are kept from erasure, or no longer.
    Held {
        /// Who decided it.
        by: Person,
        /// Which run's.
        run: RunId,
        /// Whether they are kept.
        held: bool,
    },
    /// Bodies were erased.
    RetentionApplied {
        /// Why: their time was over, or a person is to be forgotten.
        reason: String,
        /// How many bodies of each class.
        erased: std::collections::BTreeMap<String, u64>,
    },
}

/// Everything is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// Who did it.
    pub by: Person,
    /// When, microseconds since 1970.
    pub at: i64,
    /// Why; may be empty.
    pub reason: String,
}

/// What is written when a run is ended at once.
fn end_of(view: &RunView, by: &Person, reason: &str) -> Vec<Entry> {
    let why = format!("{} ended the run.", by.name);
    let open = view.approvals.iter().filter(|approval| !approval.state.is_final());
    let mut entries: Vec<Entry> = open
        .map(|approval| Entry::ApprovalChanged {
            id: approval.request.id.clone(),
            what: Change::Cancelled { why: why.clone() },
        })
        .collect();
    entries.push(Entry::Killed { by: by.clone(), reason: reason.to_owned() });
    entries.push(Entry::Finished {
        status: Status::Cancelled,
        answer: format!("Ended at once by {}.", by.name),
        remedy: Some(
            "What was under way may have been done: look in Azure DevOps. A message sends the run on.".into(),
        ),
    });
    entries
}

impl RunId {
    /// The name of the house's log in the record: no run has it.
    pub fn house() -> Self {
        Self("0".repeat(32))
    }

    /// Whether this names the house's log.
    pub fn is_house(&self) -> bool {
        self.0.bytes().all(|digit| digit == b'0')
    }
}

impl Journal {
    /// Writes something into the house's log.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn note(&self, note: Note) -> Result<i64, JournalError> {
        self.add_from_outside(&RunId::house(), Entry::House { note }).await
    }

    /// Stops everything, durably and for all replicas: no run and no event is worked until
    /// [`Journal::lift`], and whoever holds one has lost it. False: it was stopped already.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn halt(&self, by: Person, reason: String) -> Result<bool, JournalError> {
        let note = Note::Halted { by: by.clone(), reason: reason.clone() };
        let draft = Draft::of(Entry::House { note })?;
        let done = self.switched(Command::Halt { by, reason, draft }).await?;
        self.let_go_of_all();
        Ok(done)
    }

    /// Lets everything go on. False: nothing was stopped.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn lift(&self, by: Person) -> Result<bool, JournalError> {
        let draft = Draft::of(Entry::House { note: Note::Lifted { by } })?;
        self.switched(Command::Lift { draft }).await
    }

    /// Ends a run at once: whoever works it has lost it. False: it has ended already.
    ///
    /// # Errors
    /// When there is no such run, or it cannot be written.
    pub async fn kill(&self, run: &RunId, by: &Person, reason: &str) -> Result<bool, JournalError> {
        let mut tries = 0;
        loop {
            let row = self.run(run).await?.ok_or_else(|| JournalError::UnknownRun(run.clone()))?;
            if row.status.is_final() {
                return Ok(false);
            }
            // A record that cannot be read keeps nobody from ending its run.
            let log = self.whole_log(run).await.unwrap_or_default();
            let drafts = Arc::new(Draft::all(end_of(&RunView::of(&log), by, reason))?);
            let command =
                Command::Append { run: run.clone(), fence: None, known: i64::MAX, drafts, settles: None };
            match self.soon(command).await {
                // Somebody decided on one of its approvals at this very moment.
                Err(JournalError::Approval(_)) if tries < MAX_TRIES => tries += 1,
                Err(error) => return Err(error),
                Ok(_) => {
                    self.let_go(run);
                    return Ok(true);
                }
            }
        }
    }

    async fn switched(&self, command: Command) -> Result<bool, JournalError> {
        match self.soon(command).await? {
            Answer::Done(done) => Ok(done),
            _ => Err(JournalError::Closed),
        }
    }

    /// Who stopped everything, where somebody did.
    ///
    /// # Errors
    /// When the store fails: then nothing may be done, either.
    pub async fn halted(&self) -> Result<Option<Halt>, JournalError> {
        let body: Option<String> = read!(self, halted())?;
        let read = |body: String| {
            // Stopped it is, whatever another version wrote of the reason.
            let unknown = Halt { by: Person::named("somebody"), at: 0, reason: String::new() };
            serde_json::from_str(&body).unwrap_or(unknown)
        };
        Ok(body.map(read))
    }
}
