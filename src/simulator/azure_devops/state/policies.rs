//! Branch policies: what they ask for, and whether a pull request meets it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::access::Permission;
use super::{Actor, Counters, Outcome, PullRequest, PullRequestStatus, ThreadStatus, World};
use crate::simulator::azure_devops::refusal::Refusal;

/// Minimum number of reviewers.
pub const MINIMUM_REVIEWERS: Uuid = Uuid::from_u128(0xfa4e907d_c16b_4a4c_9dfa_4906e5d171dd);
/// Required reviewers.
pub const REQUIRED_REVIEWERS: Uuid = Uuid::from_u128(0xfd2167ab_b0be_447a_8ec8_39368250530e);
/// Build validation.
pub const BUILD: Uuid = Uuid::from_u128(0x0609b952_1397_4640_95ec_e00a01b2c241);
/// Work item linking.
pub const WORK_ITEM_LINKING: Uuid = Uuid::from_u128(0x40e92b44_2fe1_4dd6_b3d8_74a9c21d0c6e);
/// Comment requirements.
pub const COMMENTS: Uuid = Uuid::from_u128(0xc6a1889d_b943_4856_b76f_9e46bb6b0df2);
/// Merge strategy.
pub const MERGE_STRATEGY: Uuid = Uuid::from_u128(0xfa4e907d_c16b_4a4c_9dfa_4916e5d171ab);
/// Status check.
pub const STATUS: Uuid = Uuid::from_u128(0xcbdc66da_9728_4af8_aada_9a5a32e4a226);

/// Every policy type served: id and name.
pub const TYPES: [(Uuid, &str); 7] = [
    (MINIMUM_REVIEWERS, "Minimum number of reviewers"),
    (REQUIRED_REVIEWERS, "Required reviewers"),
    (BUILD, "Build"),
    (WORK_ITEM_LINKING, "Work item linking"),
    (COMMENTS, "Comment requirements"),
    (MERGE_STRATEGY, "Require a merge strategy"),
    (STATUS, "Status"),
];

/// A policy configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// Number.
    pub id: u32,
    /// Its project.
    pub project: Uuid,
    /// Its type.
    pub kind: Uuid,
    /// In force.
    pub enabled: bool,
    /// Refuses completion while not met.
    pub blocking: bool,
    /// Settings with `scope`.
    pub settings: Value,
    /// Who made it.
    pub created_by: Uuid,
    /// When.
    pub created: Timestamp,
    /// Grows with each change.
    pub revision: u32,
}

/// Whether a policy is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// Which policy.
    pub policy: u32,
    /// `approved`, `rejected`, `running`, `queued`, `notApplicable`, `broken`.
    pub status: &'static str,
    /// The build it waits for.
    pub build: Option<u32>,
}

impl Policy {
    /// Whether it speaks about `name` in `repository`.
    pub fn covers(&self, repository: Uuid, name: &str) -> bool {
        let text = |scope: &Value, key: &str| scope[key].as_str().map(str::to_owned);
        self.settings["scope"].as_array().is_some_and(|scopes| {
            scopes.iter().any(|scope| {
                let here =
                    text(scope, "repositoryId").is_none_or(|id| Uuid::try_parse(&id) == Ok(repository));
                let prefix = text(scope, "matchKind").is_some_and(|k| k.eq_ignore_ascii_case("prefix"));
                let named = text(scope, "refName")
                    .is_none_or(|n| if prefix { name.starts_with(&n) } else { n == name });
                here && named
            })
        })
    }

    fn number(&self, key: &str) -> usize {
        let value = &self.settings[key];
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        number.and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
    }

    /// The definition of a build policy.
    pub(super) fn definition(&self) -> Option<u32> {
        u32::try_from(self.number("buildDefinitionId")).ok().filter(|id| *id > 0)
    }

    fn flag(&self, key: &str) -> bool {
        let value = &self.settings[key];
        value.as_bool().unwrap_or_else(|| value.as_str().is_some_and(|v| v.eq_ignore_ascii_case("true")))
    }
}

impl World {
    /// Adds a policy, or replaces the settings of `existing`.
    ///
    /// # Errors
    /// 400 for an unknown type, 403 without permission, 404 for an unknown policy.
    #[allow(clippy::too_many_arguments, reason = "they are the fields of one configuration")]
    pub fn set_policy(
        &mut self,
        actor: Actor,
        project: Uuid,
        existing: Option<u32>,
        kind: Uuid,
        enabled: bool,
        blocking: bool,
        settings: Value,
    ) -> Outcome<u32> {
        self.require_policies(actor, project)?;
        if !TYPES.iter().any(|(id, _)| *id == kind) {
            return Err(Refusal::new(
                400,
                "PolicyTypeNotFoundException",
                format!("The policy type {kind} was not found."),
            ));
        }
        let settings = with_known_names(settings);
        if !settings["scope"].is_array() {
            return Err(Refusal::new(
                400,
                "PolicyImplementationException",
                "The settings need a scope array.",
            ));
        }
        let id = match existing {
            Some(id) if self.policies.get(&id).is_some_and(|p| p.project == project) => id,
            Some(id) => return Err(unknown_policy(id)),
            None => Counters::next(&mut self.data.next.policy),
        };
        let (created_by, created, revision) = self
            .policies
            .get(&id)
            .map_or((actor.id, self.now(), 1), |p| (p.created_by, p.created, p.revision + 1));
        let policy = Policy { id, project, kind, enabled, blocking, settings, created_by, created, revision };
        self.data.policies.insert(id, policy);
        self.record(actor, "policy.set", format!("policy/{id}"));
        Ok(id)
    }

    /// Removes a policy.
    ///
    /// # Errors
    /// 404 for an unknown one, 403 without permission.
    pub fn delete_policy(&mut self, actor: Actor, project: Uuid, id: u32) -> Outcome<()> {
        self.require_policies(actor, project)?;
        if self.policies.get(&id).is_none_or(|p| p.project != project) {
            return Err(unknown_policy(id));
        }
        self.data.policies.remove(&id);
        self.record(actor, "policy.deleted", format!("policy/{id}"));
        Ok(())
    }

    fn require_policies(&self, actor: Actor, project: Uuid) -> Outcome<()> {
        if self.may(actor.id, project, None, Permission::ManagePolicies) {
            return Ok(());
        }
        Err(Refusal::git_permission("EditPolicies", &self.account(actor.id), "project"))
    }

    /// Whether a blocking policy makes `name` take changes through pull requests only.
    pub fn is_protected(&self, repository: Uuid, name: &str) -> bool {
        self.policies.values().any(|p| p.enabled && p.blocking && p.covers(repository, name))
    }

    fn policies_of(&self, found: &PullRequest) -> Vec<&Policy> {
        let covers = |p: &&Policy| p.enabled && p.covers(found.repository, &found.target_ref);
        self.policies.values().filter(covers).collect()
    }

    /// Whether a policy of `kind` over this pull request has a setting switched on.
    pub(super) fn policy_setting(&self, id: u32, kind: Uuid, key: &str) -> bool {
        let Some(found) = self.pull_requests.get(&id) else { return false };
        self.policies_of(found).iter().any(|p| p.kind == kind && p.flag(key))
    }

    /// Build definitions whose success the pull request needs, with their policies.
    pub(super) fn validations(&self, found: &PullRequest) -> Vec<(u32, u32)> {
        let policies = self.policies_of(found);
        let builds = policies.iter().filter(|p| p.kind == BUILD && !p.flag("manualQueueOnly"));
        builds.filter_map(|p| Some((p.id, p.definition()?))).collect()
    }

    /// How the pull request stands with each policy over its target.
    pub fn evaluate_policies(&self, id: u32) -> Vec<Evaluation> {
        let Some(found) = self.pull_requests.get(&id) else { return Vec::new() };
        let evaluate = |policy: &&Policy| {
            let (status, build) = self.evaluate(policy, found);
            Evaluation { policy: policy.id, status, build }
        };
        self.policies_of(found).iter().map(evaluate).collect()
    }

    fn evaluate(&self, policy: &Policy, found: &PullRequest) -> (&'static str, Option<u32>) {
        let met = |yes: bool| (if yes { "approved" } else { "running" }, None);
        match policy.kind {
            MINIMUM_REVIEWERS => {
                let counts = |id: Uuid| id != found.created_by || policy.flag("creatorVoteCounts");
                let votes = found.reviewers.iter().filter(|r| r.vote >= 5 && counts(r.id)).count();
                let refused = found.reviewers.iter().any(|r| r.vote == -10) && !policy.flag("allowDownvotes");
                if refused {
                    ("rejected", None)
                } else {
                    met(votes >= policy.number("minimumApproverCount").max(1))
                }
            }
            REQUIRED_REVIEWERS => {
                let ids = policy.settings["requiredReviewerIds"].as_array().cloned().unwrap_or_default();
                let approved = |id: &Value| {
                    let id = id.as_str().and_then(|t| Uuid::try_parse(t).ok());
                    found.reviewers.iter().any(|r| Some(r.id) == id && r.vote >= 5)
                };
                met(ids.iter().all(approved))
            }
            WORK_ITEM_LINKING => met(!self.work_items_of(found.id).is_empty()),
            COMMENTS => {
                let open =
                    |s: Option<ThreadStatus>| matches!(s, Some(ThreadStatus::Active | ThreadStatus::Pending));
                met(!found.threads.iter().any(|t| !t.deleted && open(t.status)))
            }
            BUILD => self.evaluate_build(policy, found),
            STATUS => {
                let name = policy.settings["statusName"].as_str().unwrap_or_default();
                let last = found.statuses.iter().rev().find(|s| s.name == name);
                match last.map(|s| s.state.name()) {
                    Some("succeeded" | "notApplicable") => ("approved", None),
                    Some("failed" | "error") => ("rejected", None),
                    _ => ("queued", None),
                }
            }
            _ => ("approved", None),
        }
    }

    /// Names of the blocking policies that are not met, and reviewers who must approve still.
    pub fn blocking_policies(&self, id: u32) -> Vec<String> {
        let Some(found) = self.pull_requests.get(&id) else { return Vec::new() };
        if found.status != PullRequestStatus::Active {
            return Vec::new();
        }
        let unmet = self
            .evaluate_policies(id)
            .into_iter()
            .filter(|e| !matches!(e.status, "approved" | "notApplicable"));
        let blocking = unmet.filter_map(|e| self.policies.get(&e.policy).filter(|p| p.blocking));
        let mut names: Vec<String> = blocking.map(|p| policy_name(p.kind).to_owned()).collect();
        let missing = found.reviewers.iter().filter(|r| r.required && r.vote < 5);
        names.extend(missing.map(|r| format!("approval of {}", self.account(r.id))));
        names
    }
}

/// Names of settings that mean something here; clients write them in any letter case.
const SETTINGS: [&str; 20] = [
    "scope",
    "repositoryId",
    "refName",
    "matchKind",
    "minimumApproverCount",
    "creatorVoteCounts",
    "allowDownvotes",
    "resetOnSourcePush",
    "requiredReviewerIds",
    "buildDefinitionId",
    "queueOnSourceUpdateOnly",
    "manualQueueOnly",
    "displayName",
    "validDuration",
    "statusName",
    "statusGenre",
    "allowNoFastForward",
    "allowSquash",
    "allowRebase",
    "allowRebaseMerge",
];

/// Settings with known names as the service writes them.
fn with_known_names(settings: Value) -> Value {
    match settings {
        Value::Object(map) => {
            let name = |key: String| {
                let known = SETTINGS.iter().find(|known| known.eq_ignore_ascii_case(&key));
                known.map_or(key, |known| (*known).to_owned())
            };
            Value::Object(map.into_iter().map(|(key, value)| (name(key), with_known_names(value))).collect())
        }
        Value::Array(list) => list.into_iter().map(with_known_names).collect(),
        other => other,
    }
}

/// Display name of a policy type.
pub fn policy_name(kind: Uuid) -> &'static str {
    TYPES.iter().find(|(id, _)| *id == kind).map_or("Policy", |(_, name)| name)
}

/// 404 for a policy configuration.
pub fn unknown_policy(id: u32) -> Refusal {
    Refusal::new(
        404,
        "PolicyConfigurationNotFoundException",
        format!("The policy configuration {id} was not found."),
    )
}
