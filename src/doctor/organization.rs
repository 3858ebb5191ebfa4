//! The organisation as the agent user sees it: membership, project, repository, work items.

use super::{Bag, Findings, LICENCE, MEMBER, OUTSIDE, PROJECT, REPOSITORY, WORK_ITEMS, sentence};
use crate::action::RepositoryRef;
use crate::azure_devops::{Error, Failure, Project, Repository};
use crate::config::AgentUser;

/// Repositories that are named when the one asked for is not among them.
const MAX_NAMED: usize = 5;
/// The service's code for a query that finds more than it gives (FACTS §4).
const TOO_MANY: &str = "VS402337";
/// The newest work item, to be read as a run would read it.
const NEWEST: &str = "SELECT [System.Id] FROM WorkItems WHERE [System.TeamProject] = @project \
                      ORDER BY [System.ChangedDate] DESC";

impl Bag<'_> {
    /// Everything that needs a token.
    pub(super) async fn organization(&self, findings: &mut Findings) {
        if !self.member(findings).await {
            return findings.skip_missing(OUTSIDE, "Azure DevOps does not let the agent user in.");
        }
        let Some(project) = self.project(findings).await else {
            return findings.skip_missing(OUTSIDE, "The project cannot be read.");
        };
        let (repository, visible) = self.repository(findings).await;
        let items = self.work_items(findings).await;
        licence(findings, visible, items);
        self.permissions(findings, &project, repository.as_ref()).await;
        self.service_hooks(findings, &project, repository.as_ref()).await;
    }

    async fn member(&self, findings: &mut Findings) -> bool {
        let me = match self.azure.who_am_i().await {
            Ok(me) => me,
            Err(error) => {
                let (reason, remedy) = sign_in(&error);
                findings.fail(MEMBER, reason, remedy);
                return false;
            }
        };
        let account = me.account.clone().unwrap_or_default();
        let expected = match &self.doctor.config.identity.agent_user {
            AgentUser::Username(name) if !account.is_empty() => Some(name),
            _ => None,
        };
        match expected.filter(|name| !name.eq_ignore_ascii_case(&account)) {
            Some(name) => findings.warn(
                MEMBER,
                format!("The organisation knows the agent user as {account}, not as {name}."),
                "If it was renamed in Entra, the organisation follows within a day; else check AGENT_USERNAME.",
            ),
            None => findings.ok(MEMBER, format!("The organisation knows the agent user as {}.", me.name)),
        }
        true
    }

    async fn project(&self, findings: &mut Findings) -> Option<Project> {
        let name = &self.doctor.config.azure_devops.project;
        match self.azure.project(name).await {
            Ok(project) => {
                findings.ok(PROJECT, format!("{} can be read.", project.name));
                Some(project)
            }
            Err(error) => {
                findings.refused(PROJECT, &error);
                None
            }
        }
    }

    /// The repository, and whether any repository of the project can be seen, where that is known.
    async fn repository(&self, findings: &mut Findings) -> (Option<Repository>, Option<bool>) {
        let served = &self.doctor.config.azure_devops;
        let wanted = RepositoryRef { project: served.project.clone(), repository: served.repository.clone() };
        let error = match self.azure.repository(&wanted).await {
            Ok(found) => {
                readable(findings, &found);
                return (Some(found), Some(true));
            }
            Err(error) => error,
        };
        if !matches!(error, Error::NotFound(_)) {
            findings.refused(REPOSITORY, &error);
            return (None, None);
        }
        let reason = sentence(&error.to_string());
        match self.azure.repository_names(&served.project).await {
            Ok(names) if !names.is_empty() => {
                let named: Vec<&str> = names.iter().map(String::as_str).take(MAX_NAMED).collect();
                let remedy = format!(
                    "The agent user sees {} in this project: correct AZURE_DEVOPS_REPOSITORY, or let it read this one.",
                    named.join(", ")
                );
                findings.fail(REPOSITORY, reason, remedy);
                (None, Some(true))
            }
            listed => {
                findings.fail(REPOSITORY, reason, error.remedy());
                (None, listed.is_ok().then_some(false))
            }
        }
    }

    async fn work_items(&self, findings: &mut Findings) -> bool {
        let project = &self.doctor.config.azure_devops.project;
        let newest = match self.azure.query_work_items(project, NEWEST, 1).await {
            Ok(found) => found,
            // It answers; there are too many to look for the newest.
            Err(error) if error.failure().and_then(Failure::code) == Some(TOO_MANY) => {
                findings.ok(WORK_ITEMS, "They answer; there are very many.");
                return true;
            }
            Err(error) => {
                findings.refused(WORK_ITEMS, &error);
                return false;
            }
        };
        let Some(newest) = newest.first() else {
            findings.warn(
                WORK_ITEMS,
                "The project answers, but no work item can be seen.",
                "If it has some, let the agent user view work items in its area (project settings, areas, security).",
            );
            return true;
        };
        match self.azure.work_item(project, newest.id).await {
            Ok(item) => findings.ok(WORK_ITEMS, format!("Work item {} can be read.", item.id)),
            Err(error) => {
                findings.refused(WORK_ITEMS, &error);
                return false;
            }
        }
        true
    }
}

fn readable(findings: &mut Findings, found: &Repository) {
    if found.is_disabled {
        findings.fail(
            REPOSITORY,
            format!("{} is disabled.", found.name),
            "Enable it in the project's settings, or name another in AZURE_DEVOPS_REPOSITORY.",
        );
    } else if found.default_branch.is_none() {
        findings.warn(
            REPOSITORY,
            format!("{} can be read, but it is empty.", found.name),
            "Push a first commit: the co-worker needs a branch to begin from.",
        );
    } else {
        findings.ok(REPOSITORY, format!("{} can be read.", found.name));
    }
}

/// With Stakeholder access, repositories look absent while work items answer (FACTS §4).
fn licence(findings: &mut Findings, visible: Option<bool>, items: bool) {
    match (visible, items) {
        (Some(true), _) => findings.ok(LICENCE, "Basic or higher: repositories answer."),
        (Some(false), true) => findings.fail(
            LICENCE,
            "Every repository looks absent while work items answer: the access level is probably Stakeholder.",
            "Give the agent user Basic access (organisation settings, users).",
        ),
        _ => findings.skip(LICENCE, "It cannot be told while neither repositories nor work items answer."),
    }
}

/// What a refusal at the door means: there are several, and each has its own remedy (FACTS §3).
fn sign_in(error: &Error) -> (String, String) {
    let Error::SignInRequired(failure) = error else {
        return (sentence(&error.to_string()), error.remedy());
    };
    if failure.code() == Some("TF400813") {
        return (
            sentence(&format!("the organisation does not know the agent user: {failure}")),
            error.remedy(),
        );
    }
    let what = match failure.status {
        Some(status @ (203 | 200)) => format!("Azure DevOps shows its sign-in page (HTTP {status})"),
        Some(status @ 300..=399) => format!("Azure DevOps sends to its sign-in page (HTTP {status})"),
        _ => "Azure DevOps does not take the token (HTTP 401)".to_owned(),
    };
    let remedy = "Check that the organisation is connected to the agent's tenant, that the sidecar's profile ado asks \
                  for Azure DevOps (Scopes__0 = 499b84ac-1321-427f-aa17-267ca6975798/.default), that the \
                  organisation's policies allow the agent user, and that the agent user is a member.";
    (format!("{what}, also for a renewed token: {failure}."), remedy.to_owned())
}
