//! What happens to a pull request by itself: merge attempts, auto-complete, completion.

use std::path::PathBuf;

use super::access::Permission;
use super::jobs::JobKind;
use super::pull_requests::{MERGE_DELAY, short};
use super::{
    Actor, Completion, MergeStatus, MergeStrategy, Outcome, PullRequest, PullRequestStatus, RefUpdate,
    SYSTEM_ID, World, ZERO_SHA,
};
use crate::simulator::azure_devops::git::change::Merge;
use crate::simulator::azure_devops::git::store::{Signature, Store};

/// A merge attempt, made without the state: it only adds objects.
pub(super) struct Attempt {
    pull_request: u32,
    folder: PathBuf,
    source: String,
    target: String,
    message: String,
    by: Signature,
}

/// A merge attempt and how it went.
pub(super) struct Attempted {
    attempt: Attempt,
    merged: Merge,
}

impl Attempt {
    pub(super) fn run(self) -> Outcome<Attempted> {
        let store = Store::open(&self.folder)?;
        let merged = store.merge(&self.target, &self.source, false, &self.message, &self.by)?;
        Ok(Attempted { attempt: self, merged })
    }
}

impl World {
    /// The merge attempt of an active pull request, to be made.
    pub(super) fn merge_preview(&mut self, id: u32) -> Option<Attempt> {
        let found = self.pull_requests.get(&id)?;
        if found.status != PullRequestStatus::Active || found.merge_status != MergeStatus::Queued {
            return None;
        }
        let target = self.repositories.get(&found.repository)?.refs.get(&found.target_ref)?.sha.clone();
        let message = format!(
            "Merge pull request {id} from {} into {}",
            short(&found.source_ref),
            short(&found.target_ref)
        );
        Some(Attempt {
            pull_request: id,
            folder: self.repository_folder(found.repository),
            source: found.source_commit.clone(),
            target,
            message,
            by: self.signature(found.created_by),
        })
    }

    /// Takes note of a merge attempt, unless something has moved meanwhile.
    pub(super) fn merge_attempted(&mut self, done: Attempted) -> Outcome<()> {
        let Attempted { attempt, merged } = done;
        let (id, target) = (attempt.pull_request, attempt.target);
        let Some(found) = self.pull_requests.get(&id) else { return Ok(()) };
        let tip = self.repository(found.repository)?.refs.get(&found.target_ref).map(|r| &r.sha);
        let waiting = found.status == PullRequestStatus::Active && found.merge_status == MergeStatus::Queued;
        if !waiting {
            return Ok(());
        }
        if found.source_commit != attempt.source || tip != Some(&target) {
            self.queue_merge(id);
            return Ok(());
        }
        let store = self.store(found.repository)?;
        let (status, text, commit) = match merged {
            Merge::Done(sha) => (MergeStatus::Succeeded, None, Some(sha)),
            Merge::Conflicts(paths) => {
                (MergeStatus::Conflicts, Some(format!("Conflicting files: {}", paths.join(", "))), None)
            }
        };
        if let Some(sha) = &commit {
            store.set_reference(&format!("refs/pull/{id}/merge"), sha)?;
        }
        if let Some(found) = self.data.pull_requests.get_mut(&id) {
            found.merge_status = status;
            found.merge_message = text;
            found.merge_commit = commit;
            found.target_commit = target;
        }
        let actor = Actor { id: SYSTEM_ID, activity: self.new_id() };
        self.record(actor, "pull_request.merge_attempted", format!("pull_request/{id}"));
        self.emit_pull_request(id, "git.pullrequest.merged", actor, "merged", None);
        self.try_auto_complete(id);
        Ok(())
    }

    /// Completes when auto-complete is set, the merge is good, and nothing blocks.
    pub fn try_auto_complete(&mut self, id: u32) {
        let Some(found) = self.pull_requests.get(&id) else { return };
        // What a policy refused before may complete by itself once the policy is content.
        let mergeable = matches!(found.merge_status, MergeStatus::Succeeded | MergeStatus::RejectedByPolicy);
        let ready = found.status == PullRequestStatus::Active
            && !found.is_draft
            && found.completion_queued.is_none()
            && mergeable;
        let Some(by) = found.auto_complete_by.filter(|_| ready) else { return };
        if !self.blocking_policies(id).is_empty() {
            return;
        }
        let now = self.now();
        if let Some(found) = self.data.pull_requests.get_mut(&id) {
            found.completion_queued = Some(now);
            found.completion_by = Some(by);
            found.completion.get_or_insert_default().by_auto_complete = true;
        }
        self.schedule(MERGE_DELAY, JobKind::Complete { pull_request: id });
    }

    /// Merges and closes, or says why not and stays active.
    pub(super) fn complete(&mut self, id: u32) -> Outcome<()> {
        let Some(found) = self.pull_requests.get(&id).cloned() else { return Ok(()) };
        let (Some(by), true) = (found.completion_by, found.status == PullRequestStatus::Active) else {
            return Ok(());
        };
        let actor = Actor { id: by, activity: self.new_id() };
        let options = found.completion.clone().unwrap_or_default();
        let repository = self.repository(found.repository)?.clone();
        let exempt = self.may(by, repository.project, Some(repository.id), Permission::PolicyExempt);
        let blocking = self.blocking_policies(id);
        let bypassed = options.bypass && exempt;
        if !blocking.is_empty() && !bypassed {
            let text = format!("The pull request is blocked by: {}.", blocking.join(", "));
            return self.completion_failed(actor, id, MergeStatus::RejectedByPolicy, text);
        }
        let Some(target) = repository.refs.get(&found.target_ref).map(|r| r.sha.clone()) else {
            return self.completion_failed(
                actor,
                id,
                MergeStatus::Failure,
                "The target branch is gone.".into(),
            );
        };
        let store = self.store(found.repository)?;
        let by_line = self.signature(by);
        let message = options.message.clone().unwrap_or_else(|| format!("Merged PR {id}: {}", found.title));
        let squash = options.strategy == MergeStrategy::Squash;
        let merged = match options.strategy {
            MergeStrategy::Rebase => store.rebase(&target, &found.source_commit, &by_line)?,
            MergeStrategy::RebaseMerge => match store.rebase(&target, &found.source_commit, &by_line)? {
                Merge::Done(tip) => store.merge(&target, &tip, false, &message, &by_line)?,
                conflicts => conflicts,
            },
            _ => store.merge(&target, &found.source_commit, squash, &message, &by_line)?,
        };
        let sha = match merged {
            Merge::Done(sha) => sha,
            Merge::Conflicts(paths) => {
                let text = format!("Conflicting files: {}", paths.join(", "));
                return self.completion_failed(actor, id, MergeStatus::Conflicts, text);
            }
        };
        store.move_reference(&found.target_ref, &target, &sha, "complete")?;
        self.close_completed(actor, id, &sha, &target);
        let update = RefUpdate { name: found.target_ref.clone(), old: target, new: sha };
        self.references_moved(actor, found.repository, vec![update])?;
        self.after_completion(actor, &found, &options)
    }

    fn close_completed(&mut self, actor: Actor, id: u32, sha: &str, target: &str) {
        let now = self.now();
        if let Some(found) = self.data.pull_requests.get_mut(&id) {
            found.status = PullRequestStatus::Completed;
            found.closed = Some(now);
            found.closed_by = Some(actor.id);
            found.merge_status = MergeStatus::Succeeded;
            found.merge_message = None;
            found.merge_commit = Some(sha.to_owned());
            found.target_commit = target.to_owned();
        }
        self.record(actor, "pull_request.completed", format!("pull_request/{id}"));
        self.status_thread(actor, id, "completed", "completed the pull request");
    }

    fn after_completion(&mut self, actor: Actor, found: &PullRequest, options: &Completion) -> Outcome<()> {
        if options.delete_source {
            let tip =
                self.repository(found.source_repository)?.refs.get(&found.source_ref).map(|r| r.sha.clone());
            if let Some(old) = tip {
                let update = RefUpdate { name: found.source_ref.clone(), old, new: ZERO_SHA.to_owned() };
                // A locked or protected source branch simply stays.
                self.update_references(actor, found.source_repository, vec![update])?;
            }
        }
        if options.transition_work_items {
            self.complete_linked_work_items(actor, found.id)?;
        }
        self.emit_pull_request(found.id, "git.pullrequest.merged", actor, "merged", None);
        self.emit_pull_request(
            found.id,
            "git.pullrequest.updated",
            actor,
            "completed",
            Some("StatusUpdateNotification"),
        );
        Ok(())
    }

    fn completion_failed(&mut self, actor: Actor, id: u32, status: MergeStatus, text: String) -> Outcome<()> {
        if let Some(found) = self.data.pull_requests.get_mut(&id) {
            found.merge_status = status;
            found.merge_message = Some(text);
            found.completion_queued = None;
            found.completion_by = None;
        }
        self.record(actor, "pull_request.completion_refused", format!("pull_request/{id}"));
        self.emit_pull_request(
            id,
            "git.pullrequest.updated",
            actor,
            "updated",
            Some("StatusUpdateNotification"),
        );
        Ok(())
    }
}
