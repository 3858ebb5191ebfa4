//! Comments on pull requests, and pull requests that were opened, changed or closed.

use super::mentions::mentions;
use super::{Agent, Meaning, Order, Standing, TriageError, judged, nothing, order, person, prompts};
use crate::azure_devops::{Comment, PullRequest, PullRequestStatus, Writer};
use crate::digest::Digest;
use crate::event::{self, TriggerKind};
use crate::journal::Person;

/// The version of a comment: another edit is another version.
pub(in crate::agent) fn comment_version(pull_request: u32, thread: u32, comment: &Comment) -> String {
    let edited = comment.edited.map_or(0, |at| at.as_microsecond());
    format!("comment:{pull_request}/{thread}/{}@{edited}", comment.id)
}

/// The version of a request for a review: there is one for a pull request.
pub(in crate::agent) fn review_version(pull_request: u32) -> String {
    format!("review_request:{pull_request}")
}

/// The version of a pull request's description.
fn text_version(found: &PullRequest) -> String {
    let digest = Digest::of("ado-coworker description", found.description.as_bytes());
    format!("pull_request_text:{}@{}", found.id, digest.short())
}

impl Agent {
    /// The version of a description that mentions the co-worker; none where it does not.
    pub(in crate::agent) async fn described_version(&self, id: u32) -> Result<Option<String>, TriageError> {
        let found = self.toolbox.reads().pull_request(self.toolbox.served(), id).await?;
        let mentioned = mentions(&found.description, &self.toolbox.me().await?.id);
        Ok(mentioned.then(|| text_version(&found)))
    }

    pub(super) async fn comment(
        &self,
        repository_id: &str,
        id: u32,
        thread: u32,
        comment: u32,
    ) -> Result<Meaning, TriageError> {
        if !self.serves(repository_id).await? {
            return Ok(nothing("It is in a repository that this co-worker does not serve."));
        }
        let azure = self.toolbox.reads();
        let found = azure.pull_request(self.toolbox.served(), id).await?;
        let threads = azure.threads(self.toolbox.served(), id).await?;
        let said = threads
            .iter()
            .find(|found| found.id == thread)
            .and_then(|thread| thread.comments.iter().find(|found| found.id == comment));
        let Some(said) = said else { return Ok(nothing("The comment was deleted.")) };
        let version = comment_version(id, thread, said);
        if self.is_me(&said.author.id).await? {
            return Ok(judged(version, "The co-worker wrote it itself."));
        }
        if said.written_by == Writer::System {
            return Ok(judged(version, "Azure DevOps wrote it, not a person."));
        }
        if found.status != PullRequestStatus::Active {
            return Ok(judged(version, "The pull request is closed."));
        }
        let is_own = self.is_me(&found.created_by.id).await?;
        if !is_own && !mentions(&said.text, &self.toolbox.me().await?.id) {
            let why = "The pull request is not the co-worker's own, and the comment does not mention it.";
            return Ok(judged(version, why));
        }
        if let Some(why) = self.too_old(said.edited).await? {
            return Ok(judged(version, why));
        }
        let oid = match self.standing(&said.author.id).await? {
            Standing::Instructs { oid } => oid,
            Standing::DoesNot(why) => return Ok(judged(version, why)),
        };
        let from = Person { oid, ..person(&said.author) };
        let (kind, text) = if is_own {
            (TriggerKind::ReviewComment, prompts::review_comment(id, thread, &from.name, &said.text))
        } else {
            (
                TriggerKind::PullRequestMention,
                prompts::mentioned_in_thread(id, thread, &from.name, &said.text),
            )
        };
        Ok(Meaning::Orders(vec![order(kind, event::pull_request(id), version, from, text)]))
    }

    pub(super) async fn pull_request_changed(
        &self,
        repository_id: &str,
        id: u32,
    ) -> Result<Meaning, TriageError> {
        if !self.serves(repository_id).await? {
            return Ok(nothing("It is in a repository that this co-worker does not serve."));
        }
        let found = self.toolbox.reads().pull_request(self.toolbox.served(), id).await?;
        if found.status != PullRequestStatus::Active {
            return self.closed(&found).await;
        }
        if self.is_me(&found.created_by.id).await? {
            return Ok(nothing(
                "It is the co-worker's own pull request, and it waits for comments and builds.",
            ));
        }
        let mut orders = self.wanted_of(&found).await?;
        if orders.is_empty() {
            return Ok(nothing(
                "The co-worker is neither a reviewer of it nor mentioned in its description.",
            ));
        }
        match self.standing(&found.created_by.id).await? {
            Standing::Instructs { oid } => {
                orders.iter_mut().for_each(|order| order.from.oid.clone_from(&oid));
                Ok(Meaning::Orders(orders))
            }
            Standing::DoesNot(why) => Ok(judged(orders[0].trigger.version.clone(), why)),
        }
    }

    /// What somebody else's open pull request asks of the co-worker, whoever its author is.
    async fn wanted_of(&self, found: &PullRequest) -> Result<Vec<Order>, TriageError> {
        let me = self.toolbox.me().await?;
        let (subject, from) = (event::pull_request(found.id), person(&found.created_by));
        let mut orders = Vec::new();
        if found.reviewers.iter().any(|reviewer| reviewer.person.id.eq_ignore_ascii_case(&me.id)) {
            let text = prompts::review_request(found.id, &from.name);
            let version = review_version(found.id);
            orders.push(order(TriggerKind::ReviewRequest, subject.clone(), version, from.clone(), text));
        }
        if mentions(&found.description, &me.id) {
            let version = text_version(found);
            let text = prompts::mentioned_in_pull_request(found.id, &from.name, &found.description);
            orders.push(order(TriggerKind::PullRequestMention, subject, version, from, text));
        }
        Ok(orders)
    }

    /// A pull request that was merged or given up: what works on it stops.
    async fn closed(&self, found: &PullRequest) -> Result<Meaning, TriageError> {
        let how = match found.status {
            PullRequestStatus::Completed => "was merged",
            PullRequestStatus::Abandoned => "was given up",
            _ => "is closed",
        };
        Ok(match self.active(&event::pull_request(found.id)).await? {
            Some(run) => Meaning::Stop {
                run,
                by: "the end of its pull request",
                why: format!("The pull request {how}, so the run about it was stopped."),
            },
            None => nothing(format!("The pull request {how}, and no run is about it.")),
        })
    }
}
