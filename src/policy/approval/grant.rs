//! Leave for more than one action: the same kind, on the same thing, ordered by the same person,
//! for a while and a number of times. Never for what must be looked at each time, and suspended as
//! soon as the run reads text that the approver had not seen listed.

use serde::{Deserialize, Serialize};

use super::{Approval, Decision, Refusal, Source, Who};
use crate::action::{Action, FileChange};
use crate::digest::Digest;
use crate::policy::Grant;

/// How long a window is open where the approver says nothing, in minutes.
pub const WINDOW_MINUTES: u32 = 60;
/// Longest window, in minutes.
pub const MAX_WINDOW_MINUTES: u32 = 8 * 60;
/// How often a grant can be used where the approver says nothing.
const USES: u32 = 10;
/// Most uses of one grant.
const MAX_USES: u32 = 50;
/// Actions that are looked at each time.
const NEVER: [&str; 5] = [
    "pull_request.complete",
    "pull_request.auto_complete",
    "pull_request.vote",
    "policy.update",
    "service_connection.update",
];

/// What an approver asks for besides this one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantAsked {
    /// How far.
    pub kind: Grant,
    /// For how long, in minutes.
    #[serde(default)]
    pub minutes: Option<u32>,
    /// How often.
    #[serde(default)]
    pub uses: Option<u32>,
}

/// One use of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// The run that used it.
    pub run: String,
    /// The action's name.
    pub action: String,
    /// What it changes.
    pub resource: String,
    /// Digest of the action.
    pub digest: Digest,
    /// Who gave the order behind the run.
    pub requested_by: Who,
    /// Texts of others that the run had read.
    pub taint: Vec<Source>,
}

/// Leave for more than one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenGrant {
    /// How far.
    pub kind: Grant,
    /// The action's name.
    pub action: String,
    /// What may be changed.
    pub resource: String,
    /// Whose orders it is for: never the approver's own.
    pub requested_by: Who,
    /// The run that asked.
    pub run: String,
    /// Texts that the approver saw listed.
    pub taint: Vec<Source>,
    /// When it ends, microseconds since 1970.
    pub until: i64,
    /// How often it can still be used.
    pub left: u32,
    /// How often it could be used at first.
    #[serde(default)]
    pub uses: u32,
    /// What it was used for last.
    pub last: Option<Digest>,
    /// Why it ended early.
    pub ended: Option<String>,
}

/// What an action changes, as one name: two actions with the same name and kind are "of this kind".
pub fn resource(action: &Action) -> String {
    let place = format!("{}/{}", action.project(), action.repository().unwrap_or_default());
    match action {
        Action::CreateWorkItem { .. } => format!("{place} work items"),
        Action::UpdateWorkItem { id, .. } | Action::CommentOnWorkItem { id, .. } => format!("{place}#{id}"),
        Action::CreateBranch { branch, .. } | Action::Push { branch, .. } => format!("{place}@{branch}"),
        Action::QueueBuild { branch, definition_id, .. } => format!("{place}@{branch} build {definition_id}"),
        Action::CreatePullRequest { source, target, .. } => format!("{place}@{source}..{target}"),
        Action::UpdatePullRequest { pull_request_id, .. }
        | Action::PublishPullRequest { pull_request_id, .. }
        | Action::RedraftPullRequest { pull_request_id, .. }
        | Action::AbandonPullRequest { pull_request_id, .. }
        | Action::CreateThread { pull_request_id, .. }
        | Action::ReplyToThread { pull_request_id, .. }
        | Action::SetThreadStatus { pull_request_id, .. } => format!("{place}!{pull_request_id}"),
    }
}

/// Whether a file defines what build machines do.
fn defines_builds(path: &str) -> bool {
    let path = path.to_lowercase();
    let name = path.rsplit('/').next().unwrap_or_default();
    let yaml = name.ends_with(".yml") || name.ends_with(".yaml");
    (yaml && (name.starts_with("azure-pipelines") || name.contains(".pipeline.")))
        || path.starts_with("/.azuredevops/")
        || path.starts_with("/.github/workflows/")
}

fn never(approval: &Approval) -> bool {
    let action = approval.action();
    let touches_builds = approval.request.verdict.facts.as_ref().is_some_and(|facts| facts.touches_ci);
    let paths = match action {
        Action::Push { changes, .. } => changes.iter().flat_map(FileChange::paths).collect(),
        _ => Vec::new(),
    };
    touches_builds || NEVER.contains(&action.kind()) || paths.iter().any(|path| defines_builds(path.as_str()))
}

/// The grant that an approver asks for; none for `once`.
pub(super) fn open(
    approval: &Approval,
    decision: &Decision,
    asked: &GrantAsked,
    at: i64,
) -> Result<Option<OpenGrant>, Refusal> {
    let no = |why: &str| Err(Refusal::Grant(why.to_owned()));
    if asked.kind == Grant::Once {
        return Ok(None);
    }
    if decision.break_glass.is_some() || never(approval) {
        return no("This has to be looked at each time: approve it once.");
    }
    if asked.kind > approval.request.terms().grant {
        return no("The rule does not give leave for that long: approve it once, or for less.");
    }
    let minutes = asked.minutes.unwrap_or(WINDOW_MINUTES);
    let uses = asked.uses.unwrap_or(USES);
    if !(1..=MAX_WINDOW_MINUTES).contains(&minutes) || !(1..=MAX_USES).contains(&uses) {
        return no("Give 1 to 480 minutes and 1 to 50 uses.");
    }
    Ok(Some(OpenGrant {
        kind: asked.kind,
        action: approval.action().kind().to_owned(),
        resource: resource(approval.action()),
        requested_by: approval.request.requested_by.clone(),
        run: approval.request.run.clone(),
        taint: approval.request.taint.clone(),
        until: at.saturating_add(i64::from(minutes) * 60_000_000),
        left: uses,
        uses,
        last: None,
        ended: None,
    }))
}

impl OpenGrant {
    /// Whether it covers an action now, of a run, or why not.
    ///
    /// # Errors
    /// [`Refusal::Grant`].
    pub fn covers(&self, used: &Use, at: i64) -> Result<(), Refusal> {
        let no = |why: &str| Err(Refusal::Grant(why.to_owned()));
        if !self.is_open() || at >= self.until {
            return no("the grant has ended");
        }
        if self.action != used.action || self.resource != used.resource {
            return no("the grant is for another action or another thing");
        }
        if !self.requested_by.same(&used.requested_by) {
            return no("the grant is for orders of another person");
        }
        if self.kind == Grant::Session && self.run != used.run {
            return no("the grant is for another run");
        }
        match used.taint.iter().all(|source| self.taint.contains(source)) {
            true => Ok(()),
            false => no("the run has read more since the grant was given"),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.ended.is_none() && self.left > 0
    }

    pub(super) fn take(&mut self, used: &Use, at: i64) -> Result<(), Refusal> {
        self.covers(used, at)?;
        self.left -= 1;
        self.last = Some(used.digest.clone());
        Ok(())
    }

    pub(super) fn was_used_for(&self, digest: &Digest) -> bool {
        self.last.as_ref() == Some(digest)
    }

    pub(super) fn end(&mut self, why: &str) {
        self.ended.get_or_insert_with(|| why.to_owned());
    }
}
