//! What an event from outside means: nothing, words for a run that is under way, or a new run.
//!
//! Only ids come in; the objects are read again here. The agent never acts on what it did itself.

use super::{Agent, prompts};
use crate::azure_devops::{Error, PullRequestStatus, Writer};
use crate::event::OutsideEvent;
use crate::journal::{IntakeRow, IntakeStatus, JournalError, Judging, NewRun, Person, Source};

/// What an event means.
enum Meaning {
    /// Nothing, and why.
    Nothing(String),
    /// An order.
    Order(NewRun),
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

fn ignored(reason: &str) -> Meaning {
    Meaning::Nothing(reason.to_owned())
}

impl Agent {
    /// Decides on events about one thing and settles them; where they mean work, a run is started or
    /// steered in the same commit.
    ///
    /// # Errors
    /// [`TriageError`]: the events stay to be judged again.
    pub async fn triage(&self, judging: &Judging) -> Result<(), TriageError> {
        let mut order: Option<NewRun> = None;
        for event in &judging.events {
            match (self.meaning(event).await?, &mut order) {
                (Meaning::Nothing(why), _) => {
                    self.journal.settle_one(judging, &event.id, IntakeStatus::Ignored, Some(why)).await?;
                }
                (Meaning::Order(run), None) => order = Some(run),
                (Meaning::Order(run), Some(order)) => {
                    order.instruction = format!("{}\n\n{}", order.instruction, run.instruction);
                }
            }
        }
        if let Some(order) = order {
            self.journal.order(order, judging).await?;
        }
        Ok(())
    }

    async fn meaning(&self, event: &IntakeRow) -> Result<Meaning, TriageError> {
        match &event.event {
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
    ) -> Result<Meaning, TriageError> {
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
        let served = self.toolbox.served();
        Ok(Meaning::Order(NewRun {
            instruction: text,
            source: Source::Webhook,
            requested_by: from,
            project: served.project.clone(),
            repository: served.repository.clone(),
            subject: Some(format!("{}{id}", prompts::PULL_REQUEST_SUBJECT)),
            trigger: None,
        }))
    }
}
