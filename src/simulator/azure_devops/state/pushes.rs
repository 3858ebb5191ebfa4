//! Pushes over REST: one commit made of file changes on one branch.

use uuid::Uuid;

use super::{Actor, Outcome, Push, RefUpdate, World, ZERO_SHA};
use crate::simulator::azure_devops::git::change::FileChange;
use crate::simulator::azure_devops::git::store::Signature;
use crate::simulator::azure_devops::refusal::Refusal;

/// Files one push may change.
const PUSH_FILES: usize = 5_000;
/// Longest commit message, in bytes.
const MESSAGE_BYTES: usize = 100_000;

/// A commit to be made.
#[derive(Clone, Debug)]
pub struct NewCommit {
    /// Message.
    pub message: String,
    /// File changes, applied in order.
    pub changes: Vec<FileChange>,
    /// Author, else the caller.
    pub author: Option<Signature>,
    /// Committer, else the caller.
    pub committer: Option<Signature>,
    /// Parent, for a new branch.
    pub parent: Option<String>,
}

impl World {
    /// Makes commits and moves a branch to the last.
    ///
    /// For a branch that does not exist yet the base is `parents` of the first commit when `old`
    /// is zeros, or `old` itself (the older form); both are accepted.
    ///
    /// # Errors
    /// 409 when the branch is not at `old`; 400 when a change does not fit; 403 as
    /// [`World::check_reference`] says.
    pub fn push(
        &mut self,
        actor: Actor,
        repository: Uuid,
        branch: &str,
        old: &str,
        commits: Vec<NewCommit>,
    ) -> Outcome<Push> {
        let store = self.store(repository)?;
        let current = self.repository(repository)?.refs.get(branch).map(|r| r.sha.clone());
        let mut update =
            RefUpdate { name: branch.to_owned(), old: old.to_ascii_lowercase(), new: String::new() };
        let mut tip = (update.old != ZERO_SHA).then(|| update.old.clone());
        if current.is_none() {
            // A new branch: `old` may name the base.
            update.old = ZERO_SHA.to_owned();
            if tip.is_none() {
                tip = commits.first().and_then(|c| c.parent.clone());
            }
        }
        self.check_reference(actor, repository, &update)?;
        if commits.is_empty() {
            return Err(Refusal::invalid("commits (a push needs at least one commit)"));
        }
        if let Some(base) = &tip {
            let missing = || Refusal::object(base, "");
            tip = Some(
                store.find(base).filter(|o| store.is_commit(&o.to_string())).ok_or_else(missing)?.to_string(),
            );
        }
        for commit in commits {
            let too_many = commit.changes.len() > PUSH_FILES || commit.message.len() > MESSAGE_BYTES;
            if commit.changes.is_empty() || too_many || commit.message.trim().is_empty() {
                return Err(Refusal::invalid(format!(
                    "commits (a commit needs a message and between 1 and {PUSH_FILES} changes)"
                )));
            }
            let author = commit.author.unwrap_or_else(|| self.signature(actor.id));
            let committer = commit.committer.unwrap_or_else(|| self.signature(actor.id));
            let sha =
                store.write_commit(tip.as_deref(), &commit.changes, &commit.message, &author, &committer)?;
            tip = Some(sha);
        }
        update.new = tip.unwrap_or_default();
        store.move_reference(&update.name, &update.old, &update.new, "push")?;
        self.references_moved(actor, repository, vec![update])
    }
}

impl World {
    /// Posts a status on a commit.
    ///
    /// # Errors
    /// 403 without permission.
    pub fn add_commit_status(
        &mut self,
        actor: Actor,
        repository: Uuid,
        sha: &str,
        mut status: super::Status,
    ) -> Outcome<super::Status> {
        self.require_git(actor, self.repository(repository)?, super::access::Permission::GenericContribute)?;
        status.id = super::Counters::next(&mut self.data.next.status);
        let entry = super::CommitStatus { repository, sha: sha.to_owned(), status: status.clone() };
        self.data.commit_statuses.push(entry);
        self.record(actor, "status.posted", format!("commit/{sha}/statuses/{}", status.name));
        Ok(status)
    }
}
