//! Repositories and their references.

use std::collections::HashSet;

use uuid::Uuid;

use super::access::Permission;
use super::{Actor, Counters, Outcome, Push, RefUpdate, Reference, Repository, World, ZERO_SHA};
use crate::simulator::azure_devops::git::store::{Signature, Store};
use crate::simulator::azure_devops::refusal::Refusal;

/// Longest reference name, in bytes.
const REFERENCE_BYTES: usize = 250;
/// Commits named in one push.
pub const PUSH_COMMITS: usize = 100;
/// What one commit adds to the size of a repository, roughly.
const COMMIT_BYTES: u64 = 801;
/// Longest repository name, in characters.
const REPOSITORY_NAME: usize = 64;

/// How one entry of `POST refs` went, with the names of `GitRefUpdateStatus`.
#[derive(Clone, Debug)]
pub struct RefResult {
    /// What was asked.
    pub update: RefUpdate,
    /// `succeeded`, `staleOldObjectId`, ...
    pub status: &'static str,
    /// Text for a refusal.
    pub message: Option<String>,
}

impl World {
    /// Opens the objects of a repository.
    ///
    /// # Errors
    /// When its folder is damaged.
    pub fn store(&self, repository: Uuid) -> Outcome<Store> {
        Store::open(&self.repository_folder(repository))
    }

    /// Folder of a repository.
    pub fn repository_folder(&self, repository: Uuid) -> std::path::PathBuf {
        self.root.join(format!("{repository}.git"))
    }

    /// A repository that an operation has already found.
    pub(super) fn repository(&self, id: Uuid) -> Outcome<&Repository> {
        self.repositories.get(&id).ok_or_else(|| Refusal::repository(&id.to_string()))
    }

    /// Makes an empty repository, or a fork of another one.
    ///
    /// # Errors
    /// 400 for a bad name, 409 for a taken one, 403 without permission.
    pub fn create_repository(
        &mut self,
        actor: Actor,
        project: Uuid,
        name: &str,
        parent: Option<Uuid>,
    ) -> Outcome<Uuid> {
        if !self.may(actor.id, project, None, Permission::CreateBranch) {
            return Err(Refusal::git_permission("CreateRepository", &self.account(actor.id), "project"));
        }
        let bad = name.is_empty()
            || name.chars().count() > REPOSITORY_NAME
            || name.starts_with(['.', '_'])
            || name.contains(['/', '\\', ':', '*', '?', '"', '<', '>', '|', '#', '%', '\0']);
        if bad {
            return Err(Refusal::invalid(format!(
                "name ('{}' is not a valid repository name)",
                name.escape_default()
            )));
        }
        if self.repositories.values().any(|r| r.project == project && r.name.eq_ignore_ascii_case(name)) {
            return Err(Refusal::new(
                409,
                "GitRepositoryNameAlreadyExistsException",
                format!("TF400948: A Git repository with the name {name} already exists."),
            ));
        }
        let id = self.new_id();
        let store = Store::create(&self.repository_folder(id))?;
        let mut repository = Repository {
            id,
            name: name.to_owned(),
            project,
            default_branch: None,
            refs: Default::default(),
            parent,
            size: 0,
        };
        if let Some(parent) = parent {
            let origin = self.repository(parent)?.clone();
            let from = self.store(parent)?;
            for (name, reference) in origin.refs.iter() {
                store.borrow_objects(&from, &reference.sha)?;
                store.set_reference(name, &reference.sha)?;
                let own = Reference { sha: reference.sha.clone(), creator: actor.id, locked_by: None };
                repository.refs.insert(name.clone(), own);
            }
            repository.default_branch = origin.default_branch;
            repository.size = origin.size;
        }
        self.data.repositories.insert(id, repository);
        self.record(actor, "repository.created", format!("repository/{name}"));
        Ok(id)
    }

    /// Renames a repository or changes its default branch.
    ///
    /// # Errors
    /// 404 for an unknown branch, 409 for a taken name.
    pub fn update_repository(
        &mut self,
        actor: Actor,
        id: Uuid,
        name: Option<&str>,
        default_branch: Option<&str>,
    ) -> Outcome<()> {
        let repository = self.repository(id)?;
        self.require_git(actor, repository, Permission::ManagePolicies)?;
        let (project, label) = (repository.project, repository.name.clone());
        if let Some(branch) = default_branch
            && !repository.refs.contains_key(branch)
        {
            return Err(Refusal::version(&format!("Branch: {branch}"), &label));
        }
        if let Some(name) = name {
            let taken =
                |r: &&Repository| r.project == project && r.id != id && r.name.eq_ignore_ascii_case(name);
            if name.is_empty() || self.repositories.values().any(|r| taken(&r)) {
                return Err(Refusal::new(
                    409,
                    "GitRepositoryNameAlreadyExistsException",
                    format!("TF400948: A Git repository with the name {name} already exists."),
                ));
            }
        }
        if let Some(repository) = self.data.repositories.get_mut(&id) {
            repository.name = name.map_or(repository.name.clone(), str::to_owned);
            repository.default_branch =
                default_branch.map(str::to_owned).or(repository.default_branch.take());
        }
        self.record(actor, "repository.updated", format!("repository/{label}"));
        Ok(())
    }

    /// Removes a repository with everything that hangs on it.
    ///
    /// # Errors
    /// 403 without permission, 500 when its folder cannot be removed.
    pub fn delete_repository(&mut self, actor: Actor, id: Uuid) -> Outcome<()> {
        let repository = self.repository(id)?;
        self.require_git(actor, repository, Permission::ManagePolicies)?;
        let label = repository.name.clone();
        std::fs::remove_dir_all(self.repository_folder(id)).map_err(|e| {
            Refusal::new(500, "GitServerException", format!("The repository could not be removed: {e}"))
        })?;
        self.data.repositories.remove(&id);
        self.data.pull_requests.retain(|p| p.repository != id && p.source_repository != id);
        self.data.definitions.retain(|d| d.repository != id);
        let definitions = &self.data.definitions;
        self.data.builds.retain(|b| definitions.contains_key(&b.definition));
        self.data.pushes.retain(|p| p.repository != id);
        self.data.commit_statuses.retain(|s| s.repository != id);
        let forks: Vec<Uuid> =
            self.repositories.values().filter(|r| r.parent == Some(id)).map(|r| r.id).collect();
        for fork in forks {
            if let Some(fork) = self.data.repositories.get_mut(&fork) {
                fork.parent = None;
            }
        }
        self.record(actor, "repository.deleted", format!("repository/{label}"));
        Ok(())
    }

    /// The mail address of an identity.
    pub fn account(&self, id: Uuid) -> String {
        self.person(id).map(|p| p.account.clone()).unwrap_or_default()
    }

    /// The identity as it signs commits, now.
    pub fn signature(&self, id: Uuid) -> Signature {
        let (name, email) = self
            .person(id)
            .map(|p| (p.display_name.clone(), p.account.clone()))
            .unwrap_or_else(|| ("unknown".into(), "unknown".into()));
        Signature { name, email, date: self.now() }
    }

    /// Whether `actor` may move `name` from `old` to `new`; nothing is changed.
    ///
    /// # Errors
    /// The refusal that REST answers and that git is told in an `ng` report.
    pub fn check_reference(&self, actor: Actor, repository: Uuid, update: &RefUpdate) -> Outcome<()> {
        let repository = self.repository(repository)?;
        let name = &update.name;
        let shape = git2::Reference::is_valid_name(name)
            && name.len() <= REFERENCE_BYTES
            && (name.starts_with("refs/heads/") || name.starts_with("refs/tags/"));
        if !shape {
            return Err(Refusal::reference_name(name));
        }
        let permission = match (update.old == ZERO_SHA, update.new == ZERO_SHA) {
            (true, _) => Permission::CreateBranch,
            _ => Permission::GenericContribute,
        };
        self.require_git(actor, repository, Permission::GenericContribute)?;
        self.require_git(actor, repository, permission)?;
        let current = repository.refs.get(name);
        if current.map_or(ZERO_SHA, |r| r.sha.as_str()) != update.old {
            return Err(Refusal::stale_reference(name));
        }
        if let Some(owner) = current.and_then(|r| r.locked_by).filter(|o| *o != actor.id) {
            let owner = self.account(owner);
            return Err(Refusal::new(
                403,
                "GitRefLockedException",
                format!("TF401021: The branch {name} is locked by {owner}, so it cannot be updated."),
            ));
        }
        let exempt = self.may(actor.id, repository.project, Some(repository.id), Permission::PolicyExempt);
        if current.is_some() && !exempt && self.is_protected(repository.id, name) {
            return Err(Refusal::reference_policy());
        }
        Ok(())
    }

    /// Moves references one by one, as `POST refs` does: a refused entry does not stop the rest.
    ///
    /// # Errors
    /// When the repository cannot be opened.
    pub fn update_references(
        &mut self,
        actor: Actor,
        repository: Uuid,
        updates: Vec<RefUpdate>,
    ) -> Outcome<Vec<RefResult>> {
        let store = self.store(repository)?;
        let mut results = Vec::new();
        let mut done = Vec::new();
        for mut update in updates {
            let mut outcome = self.check_reference(actor, repository, &update);
            if outcome.is_ok() && update.new != ZERO_SHA {
                let found =
                    store.find(&update.new).filter(|_| update.new.len() == 40).map(|id| id.to_string());
                // A branch is at a commit; a tag may be at anything.
                let branch = update.name.starts_with("refs/heads/");
                match found.filter(|sha| !branch || store.commit(sha).is_ok_and(|c| c.sha == *sha)) {
                    Some(sha) => update.new = sha,
                    None => outcome = Err(Refusal::object(&update.new, "")),
                }
            }
            if outcome.is_ok() && update.old != ZERO_SHA && update.new != ZERO_SHA {
                let forced =
                    update.name.starts_with("refs/heads/") && !store.contains(&update.new, &update.old);
                if forced && !self.may_force(actor, repository, &update.name) {
                    let account = self.account(actor.id);
                    outcome = Err(Refusal::git_permission("ForcePush", &account, "branch"));
                }
            }
            let outcome =
                outcome.and_then(|()| store.move_reference(&update.name, &update.old, &update.new, "rest"));
            let (status, message) = match outcome {
                Ok(()) => ("succeeded", None),
                Err(refusal) => (ref_status(&refusal), Some(refusal.message)),
            };
            if message.is_none() {
                done.push(update.clone());
            }
            results.push(RefResult { update, status, message });
        }
        if !done.is_empty() {
            self.references_moved(actor, repository, done)?;
        }
        Ok(results)
    }

    /// Whether `actor` may move a branch away from its commits: who made it may.
    pub fn may_force(&self, actor: Actor, repository: Uuid, name: &str) -> bool {
        let Some(found) = self.repositories.get(&repository) else { return false };
        self.may(actor.id, found.project, Some(repository), Permission::ForcePush)
            || found.refs.get(name).is_some_and(|r| r.creator == actor.id)
    }

    /// Locks or unlocks a branch.
    ///
    /// # Errors
    /// 404 for an unknown branch, 403 without permission.
    pub fn lock_branch(&mut self, actor: Actor, repository: Uuid, name: &str, locked: bool) -> Outcome<()> {
        let found = self.repository(repository)?;
        self.require_git(actor, found, Permission::GenericContribute)?;
        let label = found.name.clone();
        let missing = || Refusal::version(&format!("Branch: {name}"), &label);
        let repository = self.data.repositories.get_mut(&repository).ok_or_else(missing)?;
        let reference = repository.refs.get_mut(name).ok_or_else(missing)?;
        reference.locked_by = locked.then_some(actor.id);
        self.record(actor, if locked { "ref.locked" } else { "ref.unlocked" }, format!("{label}/{name}"));
        Ok(())
    }

    /// Puts references on disk back to where the state has them: a move that the state does not know was
    /// cut off by a kill, and nobody was told of it.
    ///
    /// # Errors
    /// When a repository cannot be read or written.
    pub fn agree_with_disk(&self) -> Outcome<()> {
        for repository in self.repositories.values() {
            let store = self.store(repository.id)?;
            let on_disk = store.references()?;
            // Strays first: `a` in the way of `a/b` has to go before that can be there.
            for (name, sha) in on_disk.iter().filter(|(n, _)| !repository.refs.contains_key(*n)) {
                store.move_reference(name, sha, ZERO_SHA, "")?;
            }
            for (name, reference) in repository.refs.iter().filter(|(n, r)| on_disk.get(*n) != Some(&r.sha)) {
                store.set_reference(name, &reference.sha)?;
            }
        }
        Ok(())
    }

    /// Takes note of references that moved on disk: the one place where a push has its effects,
    /// over REST and git alike. Returns the push.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn references_moved(
        &mut self,
        actor: Actor,
        repository: Uuid,
        updates: Vec<RefUpdate>,
    ) -> Outcome<Push> {
        let commits = self.new_commits(repository, &updates)?;
        let id = Counters::next(&mut self.data.next.push);
        let push = Push { id, repository, by: actor.id, date: self.now(), updates, commits };
        let mut label = String::new();
        if let Some(repository) = self.data.repositories.get_mut(&repository) {
            label.clone_from(&repository.name);
            repository.size += COMMIT_BYTES * u64::try_from(push.commits.len()).unwrap_or(0);
            for update in &push.updates {
                if update.new == ZERO_SHA {
                    repository.refs.remove(&update.name);
                    if repository.default_branch.as_ref() == Some(&update.name) {
                        // The default branch is always one that is there.
                        let mut branches = repository.refs.keys().filter(|n| n.starts_with("refs/heads/"));
                        repository.default_branch = branches.next().cloned();
                    }
                    continue;
                }
                let locked_by = repository.refs.get(&update.name).and_then(|r| r.locked_by);
                let creator = repository.refs.get(&update.name).map_or(actor.id, |r| r.creator);
                let reference = Reference { sha: update.new.clone(), creator, locked_by };
                repository.refs.insert(update.name.clone(), reference);
                if repository.default_branch.is_none() && update.name.starts_with("refs/heads/") {
                    repository.default_branch = Some(update.name.clone());
                }
            }
        }
        for update in &push.updates {
            let kind = match (update.old == ZERO_SHA, update.new == ZERO_SHA) {
                (true, _) => "ref.created",
                (_, true) => "ref.deleted",
                _ => "ref.updated",
            };
            self.record(actor, kind, format!("{label}/{}", update.name));
        }
        self.data.pushes.push(push.clone());
        self.record(actor, "push.created", format!("{label}/pushes/{id}"));
        self.emit_push(&push);
        self.builds_after_push(actor, &push)?;
        self.pull_requests_after_push(actor, repository, &push.updates)?;
        Ok(push)
    }
}

impl World {
    /// Commits that no reference led to before, newest first.
    fn new_commits(&self, repository: Uuid, updates: &[RefUpdate]) -> Outcome<Vec<String>> {
        let store = self.store(repository)?;
        let known: HashSet<&str> =
            self.repository(repository)?.refs.values().map(|r| r.sha.as_str()).collect();
        let mut commits = Vec::new();
        for update in updates.iter().filter(|u| u.new != ZERO_SHA && !known.contains(u.new.as_str())) {
            let Some(tip) = store.commit(&update.new).ok() else { continue };
            // Mostly it is one commit on top of a known one; else many references have to be walked.
            if tip.sha == update.new && tip.parents.iter().all(|p| known.contains(p.as_str())) {
                commits.push(tip.sha);
                continue;
            }
            let known: Vec<&str> = known.iter().copied().collect();
            commits.extend(store.history(&tip.sha, &known, PUSH_COMMITS)?.into_iter().map(|c| c.sha));
        }
        commits.dedup();
        commits.truncate(PUSH_COMMITS);
        Ok(commits)
    }
}

fn ref_status(refusal: &Refusal) -> &'static str {
    match refusal.type_key {
        "GitReferenceStaleException" => "staleOldObjectId",
        "InvalidGitRefNameException" => "invalidRefName",
        "GitRefUpdateRejectedByPolicyException" => "rejectedByPolicy",
        "GitRefLockedException" => "locked",
        "GitObjectDoesNotExistException" => "unresolvableToCommit",
        "GitNeedsPermissionException" if refusal.message.contains("'CreateBranch'") => {
            "createBranchPermissionRequired"
        }
        "GitNeedsPermissionException" if refusal.message.contains("'ForcePush'") => "forcePushRequired",
        "GitNeedsPermissionException" => "writePermissionRequired",
        _ => "unprocessed",
    }
}
