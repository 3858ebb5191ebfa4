//! Permissions, as far as they can be read without a write.

use super::{
    Bag, CREATE_BRANCH, FIRST_WRITE, Findings, Line, PULL_REQUESTS, PUSH, QUEUE_BUILDS, READ_CODE,
    READ_WORK_ITEMS, SURPLUS, WRITE_WORK_ITEMS, sentence,
};
use crate::azure_devops::{Error, Project, Repository};
use crate::policy::{Facts, Outcome};

/// Security namespace of Git repositories (SETUP.md §5.3).
const GIT: &str = "2e9eb7ed-3c0a-47d4-87c1-0ffdd275fd87";
/// Security namespace of areas.
const AREAS: &str = "83e28ad4-2d72-4ceb-97b0-c7726d5502c3";

/// Security namespace of builds; its token is the project's id.
const BUILDS: &str = "33344d9c-fc72-4d6f-aba5-fa317101a7e9";

/// A permission and the actions that need it.
struct Need {
    line: Line,
    /// Actions of the rules; none means that nothing works without it.
    actions: &'static [&'static str],
    bit: u32,
    /// As the security page calls it.
    name: &'static str,
}

const ON_CODE: &[Need] = &[
    Need { line: READ_CODE, actions: &[], bit: 2, name: "Read" },
    Need { line: PUSH, actions: &["git.push"], bit: 4, name: "Contribute" },
    Need { line: CREATE_BRANCH, actions: &["git.create_branch"], bit: 16, name: "Create branch" },
    Need {
        line: PULL_REQUESTS,
        actions: &["pull_request.create", "thread.reply"],
        bit: 16_384,
        name: "Contribute to pull requests",
    },
];
const ON_WORK_ITEMS: &[Need] = &[
    Need { line: READ_WORK_ITEMS, actions: &[], bit: 16, name: "View work items in this node" },
    Need {
        line: WRITE_WORK_ITEMS,
        actions: &["work_item.create", "work_item.update", "work_item.comment"],
        bit: 32,
        name: "Edit work items in this node",
    },
];
const ON_BUILDS: Need =
    Need { line: QUEUE_BUILDS, actions: &["build.queue"], bit: 128, name: "Queue builds" };
/// Permissions on code that the co-worker never needs.
const NOT_NEEDED: &[(u32, &str)] = &[
    (8, "Force push"),
    (128, "Bypass policies when pushing"),
    (8_192, "Manage permissions"),
    (32_768, "Bypass policies when completing pull requests"),
];

impl Bag<'_> {
    /// Each permission that the tools need under the rules in force.
    pub(super) async fn permissions(
        &self,
        findings: &mut Findings,
        project: &Project,
        repository: Option<&Repository>,
    ) {
        if let Some(found) = repository {
            let token = format!("repoV2/{}/{}", found.project_id, found.id);
            let place = format!("repository {}", found.name);
            for need in ON_CODE {
                self.permission(findings, need, GIT, &token, &place).await;
            }
            self.surplus(findings, &token).await;
        } else {
            let reason = "The repository cannot be read.";
            findings.skip_missing(&[READ_CODE, PUSH, CREATE_BRANCH, PULL_REQUESTS, SURPLUS], reason);
        }
        let place = format!("project {}", project.name);
        self.permission(findings, &ON_BUILDS, BUILDS, &project.id, &place).await;
        match self.azure.root_area(&project.name).await {
            Ok(area) => {
                let token = format!("vstfs:///Classification/Node/{area}");
                let place = format!("area {}", project.name);
                for need in ON_WORK_ITEMS {
                    self.permission(findings, need, AREAS, &token, &place).await;
                }
            }
            Err(error) => {
                for need in ON_WORK_ITEMS {
                    unknown(findings, need.line, &error);
                }
            }
        }
        findings.skip(
            FIRST_WRITE,
            "Branch policies, rights on single branches and areas, and rules of work item types show at a first write.",
        );
    }

    async fn permission(
        &self,
        findings: &mut Findings,
        need: &Need,
        namespace: &str,
        token: &str,
        place: &str,
    ) {
        if !need.actions.is_empty() && !need.actions.iter().any(|action| self.may_be_allowed(action)) {
            return findings.skip(need.line, "No rule of the policy allows what would need it.");
        }
        match self.azure.has_permission(namespace, need.bit, token).await {
            Ok(true) => findings.ok(need.line, format!("{} on {place}.", need.name)),
            Ok(false) => findings.fail(
                need.line,
                format!("The agent user does not have '{}' on {place}.", need.name),
                format!("Allow it for the agent user or a group of its: security of {place}."),
            ),
            Err(error) => unknown(findings, need.line, &error),
        }
    }

    /// Whether the rules allow `action`, or ask a person, in the best case.
    fn may_be_allowed(&self, action: &str) -> bool {
        let served = &self.doctor.config.azure_devops;
        let facts = Facts {
            action: action.to_owned(),
            project: served.project.clone(),
            project_served: true,
            repository: Some(served.repository.clone()),
            branch: Some("agent/doctor".to_owned()),
            own_pull_request: true,
            own_branch: true,
            run_object: true,
            build_green: true,
            ..Facts::default()
        };
        self.doctor.policy.decide(&facts).outcome != Outcome::Deny
    }

    async fn surplus(&self, findings: &mut Findings, token: &str) {
        let mut held = Vec::new();
        for (bit, name) in NOT_NEEDED {
            match self.azure.has_permission(GIT, *bit, token).await {
                Ok(true) => held.push(*name),
                Ok(false) => {}
                Err(error) => return unknown(findings, SURPLUS, &error),
            }
        }
        if held.is_empty() {
            findings.ok(SURPLUS, "It can neither force a push nor pass by branch policies.");
        } else {
            findings.warn(
                SURPLUS,
                format!("The agent user has more than it needs on code: {}.", held.join(", ")),
                "Deny these for the agent user in the repository's security.",
            );
        }
    }
}

/// The right to read one's rights may be missing too; that alone keeps nothing from working.
fn unknown(findings: &mut Findings, line: Line, error: &Error) {
    findings.warn(
        line,
        format!("It cannot be read: {}", sentence(&error.to_string())),
        "Look at the security page for the agent user; else the first write shows it.",
    );
}
