//! Pull requests: create, change, follow pushes, merge and complete.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::access::Permission;
use super::jobs::JobKind;
use super::{
    Actor, Completion, Counters, Iteration, IterationReason, Label, MergeStatus, Outcome, PullRequest,
    PullRequestStatus, RefUpdate, Reviewer, World, ZERO_SHA,
};
use crate::simulator::azure_devops::refusal::Refusal;

/// Longest title, in characters.
const TITLE: usize = 400;
/// Longest description, in characters.
const DESCRIPTION: usize = 4_000;
/// Between a change and the merge attempt, and between the wish to complete and completion.
pub const MERGE_DELAY: Duration = Duration::from_millis(400);

/// A pull request to be created.
#[derive(Clone, Debug)]
pub struct NewPullRequest {
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
    /// Full name of the source branch.
    pub source_ref: String,
    /// Full name of the target branch.
    pub target_ref: String,
    /// Repository of the source, when it is a fork.
    pub source_repository: Option<Uuid>,
    /// Draft.
    pub is_draft: bool,
    /// Reviewers, and whether each is required.
    pub reviewers: Vec<(Uuid, bool)>,
    /// Work items to link.
    pub work_items: Vec<u32>,
    /// Labels.
    pub labels: Vec<String>,
    /// How to complete it one day.
    pub completion: Option<Completion>,
}

/// Changes to a pull request; absent fields stay.
#[derive(Clone, Debug, Default)]
pub struct PullRequestChange {
    /// Title.
    pub title: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// Draft or published.
    pub is_draft: Option<bool>,
    /// Another target branch.
    pub target_ref: Option<String>,
    /// Abandon, reactivate, complete.
    pub status: Option<PullRequestStatus>,
    /// How to complete.
    pub completion: Option<Completion>,
    /// Who sets auto-complete; the zero GUID takes it back.
    pub auto_complete_by: Option<Uuid>,
    /// `lastMergeSourceCommit.commitId`, needed to complete.
    pub source_commit: Option<String>,
}

impl World {
    /// A pull request that `actor` may read.
    ///
    /// # Errors
    /// 404 otherwise.
    pub fn visible_pull_request(&self, actor: Actor, id: u32) -> Outcome<&PullRequest> {
        let found = self.pull_requests.get(&id).ok_or_else(Refusal::pull_request)?;
        let repository = self.repository(found.repository)?;
        if !self.may(actor.id, repository.project, Some(repository.id), Permission::GenericRead) {
            return Err(Refusal::pull_request());
        }
        Ok(found)
    }

    /// Creates a pull request and returns its number.
    ///
    /// # Errors
    /// 400 for branches, title or reviewers that cannot be; 409 when one is active already; 403
    /// without permission.
    pub fn create_pull_request(
        &mut self,
        actor: Actor,
        repository: Uuid,
        new: NewPullRequest,
    ) -> Outcome<u32> {
        let target = self.repository(repository)?.clone();
        self.require_git(actor, &target, Permission::PullRequestContribute)?;
        let source_repository = new.source_repository.unwrap_or(repository);
        check_texts(&new.title, &new.description)?;
        self.check_branches(source_repository, &new.source_ref, repository, &new.target_ref)?;
        self.refuse_second(source_repository, &new.source_ref, repository, &new.target_ref)?;
        for (id, _) in &new.reviewers {
            self.check_reviewer(*id)?;
        }
        for id in &new.work_items {
            // Before anything is made: a pull request that cannot be linked as asked is not made.
            let project = self.visible_work_item(actor, *id)?.project;
            self.require_work_item_write(actor, project)?;
        }
        let id = Counters::next(&mut self.data.next.pull_request);
        let reviewers = new.reviewers.iter().map(|(id, required)| Reviewer::new(*id, *required)).collect();
        let labels = new.labels.into_iter().map(|name| Label { id: self.new_id(), name }).collect();
        let pull_request = PullRequest {
            id,
            repository,
            source_repository,
            title: new.title,
            description: new.description,
            source_ref: new.source_ref,
            target_ref: new.target_ref,
            status: PullRequestStatus::Active,
            is_draft: new.is_draft,
            created_by: actor.id,
            created: self.now(),
            closed: None,
            closed_by: None,
            merge_status: MergeStatus::Queued,
            merge_message: None,
            merge_id: self.new_id(),
            source_commit: String::new(),
            target_commit: String::new(),
            merge_commit: None,
            reviewers,
            labels,
            iterations: Vec::new(),
            threads: Vec::new(),
            statuses: Vec::new(),
            properties: Default::default(),
            completion: new.completion,
            completion_queued: None,
            completion_by: None,
            auto_complete_by: None,
        };
        self.data.pull_requests.insert(id, pull_request);
        self.add_iteration(actor, id, IterationReason::Create)?;
        self.record(actor, "pull_request.created", format!("pull_request/{id}"));
        for work_item in new.work_items {
            self.link_pull_request(actor, work_item, id)?;
        }
        self.queue_merge(id);
        self.queue_validation(actor, id)?;
        self.emit_pull_request(id, "git.pullrequest.created", actor, "created", None);
        Ok(id)
    }

    fn check_branches(&self, source: Uuid, source_ref: &str, target: Uuid, target_ref: &str) -> Outcome<()> {
        let has = |repository: Uuid, name: &str| {
            name.starts_with("refs/heads/")
                && self.repositories.get(&repository).is_some_and(|r| r.refs.contains_key(name))
        };
        let same = source == target && source_ref == target_ref;
        if same || !has(source, source_ref) || !has(target, target_ref) {
            return Err(Refusal::pull_request_branches());
        }
        Ok(())
    }

    fn refuse_second(&self, source: Uuid, source_ref: &str, target: Uuid, target_ref: &str) -> Outcome<()> {
        let second = self.pull_requests.values().any(|p| {
            p.status == PullRequestStatus::Active
                && p.repository == target
                && p.source_repository == source
                && p.source_ref == source_ref
                && p.target_ref == target_ref
        });
        if second { Err(Refusal::pull_request_exists()) } else { Ok(()) }
    }

    /// Changes a pull request.
    ///
    /// # Errors
    /// 400 for what its state does not allow or for bad values, 409 when the source has moved.
    pub fn update_pull_request(&mut self, actor: Actor, id: u32, change: PullRequestChange) -> Outcome<()> {
        let now = self.pull_requests.get(&id).ok_or_else(Refusal::pull_request)?.clone();
        let target = self.repository(now.repository)?.clone();
        self.require_git(actor, &target, Permission::PullRequestContribute)?;
        let reactivates =
            now.status == PullRequestStatus::Abandoned && change.status == Some(PullRequestStatus::Active);
        if now.status != PullRequestStatus::Active && !reactivates {
            return Err(Refusal::pull_request_closed());
        }
        let title = change.title.as_deref().unwrap_or(&now.title);
        let description = change.description.as_deref().unwrap_or(&now.description);
        check_texts(title, description)?;
        if let Some(target_ref) = &change.target_ref {
            self.check_branches(now.source_repository, &now.source_ref, now.repository, target_ref)?;
        }
        if change.status == Some(PullRequestStatus::Completed) {
            check_completion(&now, &change)?;
        } else if change.source_commit.is_some() {
            return Err(Refusal::invalid(
                "You can only specify LastMergeSourceCommit when completing a pull request.",
            ));
        }
        if let Some(by) = change.auto_complete_by.filter(|by| !by.is_nil() && *by != actor.id) {
            let _ = by;
            return Err(Refusal::invalid("autoCompleteSetBy (only the caller can be named)"));
        }
        if reactivates {
            self.check_branches(now.source_repository, &now.source_ref, now.repository, &now.target_ref)?;
            self.refuse_second(now.source_repository, &now.source_ref, now.repository, &now.target_ref)?;
        }
        self.apply_change(actor, id, change)
    }

    fn apply_change(&mut self, actor: Actor, id: u32, change: PullRequestChange) -> Outcome<()> {
        let now = self.now();
        let Some(found) = self.data.pull_requests.get_mut(&id) else { return Ok(()) };
        let retargeted = change.target_ref.as_ref().is_some_and(|t| *t != found.target_ref);
        let published = found.is_draft && change.is_draft == Some(false);
        found.title = change.title.unwrap_or(std::mem::take(&mut found.title));
        found.description = change.description.unwrap_or(std::mem::take(&mut found.description));
        found.is_draft = change.is_draft.unwrap_or(found.is_draft);
        found.target_ref = change.target_ref.unwrap_or(std::mem::take(&mut found.target_ref));
        found.completion = change.completion.or(found.completion.take());
        if let Some(by) = change.auto_complete_by {
            found.auto_complete_by = (!by.is_nil()).then_some(by);
            found.completion.get_or_insert_default();
        }
        let mut verb = "updated";
        match change.status {
            Some(PullRequestStatus::Abandoned) => {
                found.status = PullRequestStatus::Abandoned;
                found.closed = Some(now);
                found.closed_by = Some(actor.id);
                found.merge_status = MergeStatus::NotSet;
                found.merge_commit = None;
                found.auto_complete_by = None;
                // A completion on its way ends here, also when the pull request comes back in time.
                found.completion_queued = None;
                found.completion_by = None;
                verb = "abandoned";
            }
            Some(PullRequestStatus::Active) if found.status == PullRequestStatus::Abandoned => {
                found.status = PullRequestStatus::Active;
                found.closed = None;
                found.closed_by = None;
                verb = "reactivated";
            }
            Some(PullRequestStatus::Completed) => {
                found.completion_queued = Some(now);
                found.completion_by = Some(actor.id);
                found.merge_status = MergeStatus::Queued;
                found.merge_commit = None;
                found.completion.get_or_insert_default();
                verb = "completion queued";
            }
            _ => {}
        }
        let kind = format!("pull_request.{}", verb.replace(' ', "_"));
        self.record(actor, &kind, format!("pull_request/{id}"));
        if retargeted {
            self.add_iteration(actor, id, IterationReason::Retarget)?;
        }
        if verb == "completion queued" {
            self.schedule(MERGE_DELAY, JobKind::Complete { pull_request: id });
        } else if verb == "reactivated" || retargeted {
            self.queue_merge(id);
        }
        if published || verb == "reactivated" {
            self.queue_validation(actor, id)?;
        }
        if verb == "abandoned" || verb == "reactivated" {
            let text = format!("{} the pull request", verb);
            self.status_thread(actor, id, verb, &text);
        }
        self.emit_pull_request(id, "git.pullrequest.updated", actor, verb, Some("StatusUpdateNotification"));
        self.try_auto_complete(id);
        Ok(())
    }

    pub(super) fn status_thread(&mut self, actor: Actor, id: u32, verb: &str, text: &str) {
        let name = self.person(actor.id).map(|p| p.display_name.clone()).unwrap_or_default();
        let status = if verb == "reactivated" { "Active".to_owned() } else { capitalised(verb) };
        self.system_thread(
            id,
            &format!("{name} {text}"),
            vec![("CodeReviewThreadType", json!("StatusUpdate")), ("CodeReviewStatus", json!(status))],
        );
    }

    /// Starts a new merge attempt soon.
    pub(super) fn queue_merge(&mut self, id: u32) {
        if let Some(found) = self.data.pull_requests.get_mut(&id) {
            found.merge_status = MergeStatus::Queued;
            found.merge_commit = None;
        }
        self.schedule(MERGE_DELAY, JobKind::MergePreview { pull_request: id });
    }

    fn add_iteration(&mut self, actor: Actor, id: u32, reason: IterationReason) -> Outcome<()> {
        let Some(found) = self.pull_requests.get(&id) else { return Ok(()) };
        let tip = |repository: Uuid, name: &str| {
            self.repositories.get(&repository).and_then(|r| r.refs.get(name)).map(|r| r.sha.clone())
        };
        let Some(source) = tip(found.source_repository, &found.source_ref) else { return Ok(()) };
        let Some(target) = tip(found.repository, &found.target_ref) else { return Ok(()) };
        let store = self.store(found.repository)?;
        if found.source_repository != found.repository && !store.is_commit(&source) {
            store.borrow_objects(&self.store(found.source_repository)?, &source)?;
        }
        let common = store.merge_base(&source, &target).unwrap_or_else(|| target.clone());
        let created = self.now();
        let Some(found) = self.data.pull_requests.get_mut(&id) else { return Ok(()) };
        let iteration = Iteration {
            id: u32::try_from(found.iterations.len()).unwrap_or(u32::MAX).saturating_add(1),
            author: actor.id,
            created,
            source: source.clone(),
            target: target.clone(),
            common,
            reason,
        };
        found.source_commit = source;
        found.target_commit = target;
        found.iterations.push(iteration);
        Ok(())
    }

    /// What a push does to pull requests: a new iteration where the source moved, a new merge
    /// attempt where the target moved.
    pub(super) fn pull_requests_after_push(
        &mut self,
        actor: Actor,
        repository: Uuid,
        updates: &[RefUpdate],
    ) -> Outcome<()> {
        let active: Vec<u32> = self
            .pull_requests
            .values()
            .filter(|p| p.status == PullRequestStatus::Active)
            .map(|p| p.id)
            .collect();
        for id in active {
            let Some(found) = self.pull_requests.get(&id) else { continue };
            let source = updates
                .iter()
                .find(|u| found.source_repository == repository && u.name == found.source_ref)
                .cloned();
            let target = updates.iter().any(|u| found.repository == repository && u.name == found.target_ref);
            if let Some(update) = source.filter(|u| u.new != ZERO_SHA) {
                let forced =
                    update.old != ZERO_SHA && !self.store(repository)?.contains(&update.new, &update.old);
                let reason = if forced { IterationReason::ForcePush } else { IterationReason::Push };
                self.add_iteration(actor, id, reason)?;
                self.push_thread(actor, id, &update)?;
                self.queue_merge(id);
                self.queue_validation(actor, id)?;
                self.reset_votes_after_push(id);
                let verb = "updated the source branch of";
                self.emit_pull_request(id, "git.pullrequest.updated", actor, verb, Some("PushNotification"));
            } else if target {
                self.queue_merge(id);
            }
        }
        Ok(())
    }

    fn push_thread(&mut self, actor: Actor, id: u32, update: &RefUpdate) -> Outcome<()> {
        let Some(found) = self.pull_requests.get(&id) else { return Ok(()) };
        let store = self.store(found.source_repository)?;
        let new: Vec<String> =
            store.history(&update.new, &[&update.old], 100)?.into_iter().map(|c| c.sha).collect();
        let (account, name) =
            self.person(actor.id).map(|p| (p.account.clone(), p.display_name.clone())).unwrap_or_default();
        let content = format!("The reference {} was updated.", update.name);
        self.system_thread(
            id,
            &content,
            vec![
                ("CodeReviewThreadType", json!("RefUpdate")),
                ("CodeReviewRefName", json!(update.name)),
                ("CodeReviewRefNewCommits", json!(new.join(";"))),
                ("CodeReviewRefNewCommitsCount", json!(new.len())),
                ("CodeReviewRefNewHeadCommit", json!(update.new)),
                ("CodeReviewRefUpdatedBy", json!(account)),
                ("CodeReviewRefUpdatedByDisplayName", json!(name)),
                ("CodeReviewRefUpdatedByTfId", json!(actor.id)),
            ],
        );
        Ok(())
    }

    /// Sets or removes properties, with JSON Patch on the top level.
    ///
    /// # Errors
    /// 400 for another kind of operation.
    pub fn patch_properties(
        &mut self,
        actor: Actor,
        id: u32,
        operations: &[super::patch::Operation],
    ) -> Outcome<()> {
        let Some(found) = self.data.pull_requests.get_mut(&id) else { return Err(Refusal::pull_request()) };
        for operation in operations {
            let key = operation.path.trim_start_matches('/').replace("~1", "/").replace("~0", "~");
            match (operation.op.as_str(), key.as_str(), &operation.value) {
                ("add" | "replace", "", Value::Object(map)) => found.properties.extend(map.clone()),
                ("add" | "replace", key, value) if !key.is_empty() => {
                    found.properties.insert(key.to_owned(), value.clone());
                }
                ("remove", key, _) => {
                    found.properties.remove(key);
                }
                _ => return Err(Refusal::invalid("path (a property name is needed)")),
            }
        }
        self.record(actor, "pull_request.properties", format!("pull_request/{id}"));
        Ok(())
    }
}

fn check_texts(title: &str, description: &str) -> Outcome<()> {
    if title.trim().is_empty() || title.chars().count() > TITLE {
        return Err(Refusal::invalid(format!(
            "title (a pull request needs a title of 1 to {TITLE} characters)"
        )));
    }
    if description.chars().count() > DESCRIPTION {
        return Err(Refusal::invalid(format!("description (at most {DESCRIPTION} characters)")));
    }
    Ok(())
}

fn check_completion(now: &PullRequest, change: &PullRequestChange) -> Outcome<()> {
    let Some(given) = &change.source_commit else {
        return Err(Refusal::invalid(
            "You must specify a valid LastMergeSourceCommit to perform this operation.",
        ));
    };
    if now.is_draft && change.is_draft != Some(false) {
        return Err(Refusal::invalid("status (a draft pull request cannot be completed; publish it first)"));
    }
    if !given.eq_ignore_ascii_case(&now.source_commit) {
        return Err(Refusal::pull_request_stale());
    }
    Ok(())
}

/// `main` of `refs/heads/main`.
pub fn short(name: &str) -> &str {
    name.strip_prefix("refs/heads/").unwrap_or(name)
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
