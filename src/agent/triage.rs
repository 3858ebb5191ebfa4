//! What an event from outside means: nothing, words for a run that is under way, or a new run.
//!
//! Only ids come in; the objects are read again here. The agent never acts on what it did itself.

use super::{Agent, prompts};
use crate::azure_devops::{Error, PullRequestStatus, Writer};
use crate::event::OutsideEvent;
use crate::journal::{Entry, IntakeRow, IntakeStatus, JournalError, NewRun, Person, RunId, Source};

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Ignored, merged or running.
    pub status: IntakeStatus,
    /// Why, in words.
    pub reason: Option<String>,
    /// The run it started or joined.
    pub run: Option<RunId>,
}

/// Why an event could not be judged now.
#[derive(Debug, thiserror::Error)]
pub enum TriageError {
    /// Azure DevOps could not be asked; it may be possible later.
    #[error("{0}")]
    Later(Error),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl From<Error> for TriageError {
    fn from(error: Error) -> Self {
        Self::Later(error)
    }
}

fn ignored(reason: &str) -> Fate {
    Fate { status: IntakeStatus::Ignored, reason: Some(reason.to_owned()), run: None }
}

impl Agent {
    /// Decides on an event and, where it means work, starts or steers the run.
    ///
    /// # Errors
    /// [`TriageError`]: the event stays to be judged again.
    pub async fn triage(&self, row: &IntakeRow) -> Result<Fate, TriageError> {
        match &row.event {
            OutsideEvent::PullRequestCommented { repository_id, pull_request_id, thread_id, comment_id } => {
                let Some(thread) = thread_id else {
                    return Ok(ignored(
                        "The delivery does not name the thread; subscribe to resource version 2.0.",
                    ));
                };
                match self.comment(repository_id, *pull_request_id, *thread, *comment_id).await {
                    Err(TriageError::Later(Error::NotFound(_))) => {
                        Ok(ignored("The pull request is not there, or not visible to the co-worker."))
                    }
                    other => other,
                }
            }
            _ => Ok(ignored("No work follows from this kind of event.")),
        }
    }

    async fn comment(
        &self,
        repository_id: &str,
        id: u32,
        thread: u32,
        comment: u32,
    ) -> Result<Fate, TriageError> {
        let repository = self.toolbox.repository().await?;
        if !repository.id.eq_ignore_ascii_case(repository_id) {
            return Ok(ignored("It is in a repository that this co-worker does not serve."));
        }
        let me = self.toolbox.me().await?;
        let found = self.toolbox.pull_request(id).await?;
        if found.created_by.id != me.id {
            return Ok(ignored("The pull request is not the co-worker's own."));
        }
        if found.status != PullRequestStatus::Active {
            return Ok(ignored("The pull request is closed."));
        }
        let threads = self.toolbox.threads(id).await?;
        let said = threads
            .iter()
            .find(|found| found.id == thread)
            .and_then(|thread| thread.comments.iter().find(|found| found.id == comment));
        let Some(said) = said else { return Ok(ignored("The comment was deleted.")) };
        if said.author.id == me.id {
            return Ok(ignored("The co-worker wrote it itself."));
        }
        if said.written_by == Writer::System {
            return Ok(ignored("Azure DevOps wrote it, not a person."));
        }
        let from = Person {
            name: said.author.name.clone(),
            account: said.author.account.clone(),
            id: Some(said.author.id.clone()),
            oid: None,
        };
        let text = prompts::review_comment(id, thread, &from.name, &said.text);
        self.order(format!("{}{id}", prompts::PULL_REQUEST_SUBJECT), from, text).await
    }

    /// Words for the run about `subject` that is under way, else a new run.
    async fn order(&self, subject: String, from: Person, text: String) -> Result<Fate, TriageError> {
        if let Some(active) = self.journal.active_run_about(&subject).await? {
            let entry = Entry::Message { from, text };
            self.journal.add_from_outside(&active.id, entry).await?;
            let reason = Some("Joined the run that was under way.".to_owned());
            return Ok(Fate { status: IntakeStatus::Merged, reason, run: Some(active.id) });
        }
        let served = self.toolbox.served();
        let run = NewRun {
            instruction: text,
            source: Source::Webhook,
            requested_by: from,
            project: served.project.clone(),
            repository: served.repository.clone(),
            subject: Some(subject),
            trigger: None,
        };
        let run = self.journal.create(run).await?;
        Ok(Fate { status: IntakeStatus::Running, reason: None, run: Some(run) })
    }
}
