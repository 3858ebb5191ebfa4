//! Reviewers, votes and labels of a pull request.

use serde_json::json;
use uuid::Uuid;

use super::access::Permission;
use super::{Actor, Label, Outcome, PullRequest, PullRequestStatus, Reviewer, SYSTEM_ID, Status, World};
use crate::simulator::azure_devops::refusal::Refusal;

/// Votes that exist.
const VOTES: [i32; 5] = [10, 5, 0, -5, -10];
/// Reviewers and labels one pull request takes.
const ENTRIES: usize = 100;
/// Longest label, in characters.
const LABEL: usize = 128;

/// Takes out of `list` what `is_it` finds; whether there was any.
fn take_out<T>(list: &mut Vec<T>, is_it: impl Fn(&T) -> bool) -> bool {
    let before = list.len();
    list.retain(|one| !is_it(one));
    list.len() < before
}

impl Reviewer {
    /// A reviewer who has not voted.
    pub fn new(id: Uuid, required: bool) -> Self {
        Self { id, vote: 0, required, declined: false, flagged: false }
    }
}

impl World {
    /// That `id` can review.
    ///
    /// # Errors
    /// 400 for an unknown identity.
    pub(super) fn check_reviewer(&self, id: Uuid) -> Outcome<()> {
        if id == SYSTEM_ID || !self.people.contains_key(&id) {
            return Err(Refusal::invalid(format!("reviewers (no identity has the id {id})")));
        }
        Ok(())
    }

    /// An active pull request that `actor` may contribute to.
    pub(super) fn editable(&self, actor: Actor, id: u32) -> Outcome<&PullRequest> {
        let found = self.pull_requests.get(&id).ok_or_else(Refusal::pull_request)?;
        self.require_git(actor, self.repository(found.repository)?, Permission::PullRequestContribute)?;
        if found.status != PullRequestStatus::Active {
            return Err(Refusal::pull_request_closed());
        }
        Ok(found)
    }

    /// The same, to be changed.
    fn editable_mut(&mut self, actor: Actor, id: u32) -> Outcome<&mut PullRequest> {
        self.editable(actor, id)?;
        self.data.pull_requests.get_mut(&id).ok_or_else(Refusal::pull_request)
    }

    /// Adds or changes a reviewer; `vote` only for oneself (or 0, which asks for a new vote).
    ///
    /// # Errors
    /// 400 for an unknown identity or vote, 403 for a vote in another's name.
    pub fn set_reviewer(
        &mut self,
        actor: Actor,
        id: u32,
        reviewer: Uuid,
        vote: Option<i32>,
        required: Option<bool>,
    ) -> Outcome<Reviewer> {
        self.check_reviewer(reviewer)?;
        if let Some(vote) = vote {
            if !VOTES.contains(&vote) {
                return Err(Refusal::invalid(format!("vote ({vote} is not one of 10, 5, 0, -5, -10)")));
            }
            if vote != 0 && reviewer != actor.id {
                return Err(Refusal::new(
                    403,
                    "GitPullRequestVoteNotAllowedException",
                    "A vote can be given only in one's own name.",
                ));
            }
        }
        let found = self.editable_mut(actor, id)?;
        let place = found.reviewers.iter().position(|r| r.id == reviewer);
        if place.is_none() && found.reviewers.len() >= ENTRIES {
            return Err(Refusal::invalid(format!("reviewers (at most {ENTRIES})")));
        }
        let at = place.unwrap_or_else(|| {
            found.reviewers.push(Reviewer::new(reviewer, false));
            found.reviewers.len() - 1
        });
        let entry = &mut found.reviewers[at];
        entry.vote = vote.unwrap_or(entry.vote);
        entry.required = required.unwrap_or(entry.required);
        let result = entry.clone();
        self.reviewer_events(actor, id, &result, place.is_none(), vote.filter(|v| *v != 0));
        self.try_auto_complete(id);
        Ok(result)
    }

    fn reviewer_events(&mut self, actor: Actor, id: u32, entry: &Reviewer, added: bool, vote: Option<i32>) {
        let name =
            |world: &Self, id: Uuid| world.person(id).map(|p| p.display_name.clone()).unwrap_or_default();
        let (by, who) = (name(self, actor.id), name(self, entry.id));
        let target = format!("pull_request/{id}/reviewers/{}", self.account(entry.id));
        if added {
            self.record(actor, "reviewer.added", target.clone());
            if vote.is_none() {
                self.system_thread(
                    id,
                    &format!("{by} added {who} as a reviewer"),
                    vec![
                        ("CodeReviewThreadType", json!("ReviewersUpdate")),
                        ("CodeReviewReviewersUpdatedAddedDisplayName", json!(who)),
                        ("CodeReviewReviewersUpdatedAddedTfId", json!(entry.id.simple().to_string())),
                        ("CodeReviewReviewersUpdatedNumAdded", json!(1)),
                        ("CodeReviewReviewersUpdatedNumRemoved", json!(0)),
                    ],
                );
            }
            self.emit_reviewers(actor, id);
        }
        if let Some(vote) = vote {
            self.record(actor, "reviewer.voted", target);
            self.system_thread(
                id,
                &format!("{by} voted {vote}"),
                vec![
                    ("CodeReviewThreadType", json!("VoteUpdate")),
                    ("CodeReviewVotedByDisplayName", json!(by)),
                    ("CodeReviewVotedByTfId", json!(actor.id)),
                    ("CodeReviewVoteResult", json!(vote.to_string())),
                ],
            );
            let notification = Some("ReviewerVoteNotification");
            self.emit_pull_request(id, "git.pullrequest.updated", actor, "voted on", notification);
        }
    }

    fn emit_reviewers(&mut self, actor: Actor, id: u32) {
        let (kind, verb) = ("git.pullrequest.updated", "changed the reviewer list of");
        self.emit_pull_request(id, kind, actor, verb, Some("ReviewersUpdateNotification"));
    }

    /// Takes a reviewer away.
    ///
    /// # Errors
    /// 404 when it was none.
    pub fn remove_reviewer(&mut self, actor: Actor, id: u32, reviewer: Uuid) -> Outcome<()> {
        let found = self.editable_mut(actor, id)?;
        if !take_out(&mut found.reviewers, |r| r.id == reviewer) {
            return Err(Refusal::invalid(format!("reviewerId ({reviewer} is not a reviewer)")));
        }
        let account = self.account(reviewer);
        self.record(actor, "reviewer.removed", format!("pull_request/{id}/reviewers/{account}"));
        self.emit_reviewers(actor, id);
        self.try_auto_complete(id);
        Ok(())
    }

    /// Sets all votes back where a policy asks for it after a push.
    pub(super) fn reset_votes_after_push(&mut self, id: u32) {
        if self.policy_setting(id, super::policies::MINIMUM_REVIEWERS, "resetOnSourcePush") {
            self.reset_votes(id);
        }
    }

    /// Sets all votes back.
    pub fn reset_votes(&mut self, id: u32) {
        if let Some(found) = self.data.pull_requests.get_mut(&id) {
            found.reviewers.iter_mut().for_each(|r| r.vote = 0);
        }
        self.touch();
    }

    /// Adds a label; the one that is there stays as it is.
    ///
    /// # Errors
    /// 400 for an empty or over-long text.
    pub fn add_label(&mut self, actor: Actor, id: u32, name: &str) -> Outcome<Label> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > LABEL {
            return Err(Refusal::invalid(format!("name (a label has 1 to {LABEL} characters)")));
        }
        let new = Label { id: self.new_id(), name: name.to_owned() };
        let found = self.editable_mut(actor, id)?;
        if let Some(there) = found.labels.iter().find(|l| l.name.eq_ignore_ascii_case(name)) {
            return Ok(there.clone());
        }
        if found.labels.len() >= ENTRIES {
            return Err(Refusal::invalid(format!("labels (at most {ENTRIES})")));
        }
        found.labels.push(new.clone());
        self.record(actor, "label.added", format!("pull_request/{id}/labels/{name}"));
        Ok(new)
    }

    /// Removes a label by id or text.
    ///
    /// # Errors
    /// 404 when it is not there.
    pub fn remove_label(&mut self, actor: Actor, id: u32, label: &str) -> Outcome<()> {
        let found = self.editable_mut(actor, id)?;
        let is_it = |l: &Label| l.name.eq_ignore_ascii_case(label) || l.id.to_string() == label;
        if !take_out(&mut found.labels, is_it) {
            return Err(Refusal::new(
                404,
                "LabelNotFoundException",
                format!("The label {label} was not found."),
            ));
        }
        self.record(actor, "label.removed", format!("pull_request/{id}/labels/{label}"));
        Ok(())
    }

    /// Posts a status on a pull request; name and genre are the key, the latest counts.
    ///
    /// # Errors
    /// 404 for an unknown pull request, 403 without permission.
    pub fn add_status(&mut self, actor: Actor, id: u32, mut status: Status) -> Outcome<Status> {
        let found = self.pull_requests.get(&id).ok_or_else(Refusal::pull_request)?;
        self.require_git(actor, self.repository(found.repository)?, Permission::PullRequestContribute)?;
        // Numbers of removed ones are not given again while later ones are there.
        status.id = found.statuses.iter().map(|s| s.id).max().unwrap_or(0).saturating_add(1);
        let target = format!("pull_request/{id}/statuses/{}", status.name);
        if let Some(found) = self.data.pull_requests.get_mut(&id) {
            found.statuses.push(status.clone());
        }
        self.record(actor, "status.posted", target);
        self.try_auto_complete(id);
        Ok(status)
    }

    /// Removes a status.
    ///
    /// # Errors
    /// 404 when it is not there.
    pub fn remove_status(&mut self, actor: Actor, id: u32, status: u32) -> Outcome<()> {
        let found = self.editable_mut(actor, id)?;
        if !take_out(&mut found.statuses, |s| s.id == status) {
            return Err(Refusal::new(
                404,
                "GitStatusNotFoundException",
                format!("The status {status} was not found."),
            ));
        }
        self.record(actor, "status.removed", format!("pull_request/{id}/statuses/{status}"));
        Ok(())
    }
}
