//! Whose words instruct (GOVERNANCE §6.1): a person of the served project, told by identity id.
//!
//! Asked of Azure DevOps each time, with a short memory. A name proves nothing, and neither does a
//! delivery.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::azure_devops::{Error, Group, IdentityKind, KnownIdentity};
use crate::clock;
use crate::tools::Toolbox;
use crate::weaken::{Defence, off};

/// How long an answer is kept: as long may somebody instruct who was taken out of the project.
const KEPT: Duration = Duration::from_secs(60);
/// Most answers kept.
const MAX_KEPT: usize = 1_000;

/// Whether somebody's words instruct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// They do.
    Instructs {
        /// Object id in Entra, where it is known.
        oid: Option<String>,
    },
    /// They are information only, and why; a sentence.
    DoesNot(String),
}

/// Decides on people, and remembers for a moment.
pub(in crate::agent) struct Authority {
    /// Groups whose members instruct; empty: every member of the project.
    groups: Vec<String>,
    kept: Mutex<HashMap<String, (Timestamp, Standing)>>,
}

impl Authority {
    /// `groups` are names or ids of groups (`ROLE_GROUPS`, role `instructor`); none means that every
    /// member of the served project instructs.
    pub(in crate::agent) fn new(groups: Vec<String>) -> Self {
        Self { groups, kept: Mutex::default() }
    }

    /// Whether the words of the identity with this id instruct.
    pub(super) async fn of(&self, toolbox: &Toolbox, id: &str, now: Timestamp) -> Result<Standing, Error> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if let Some((_, standing)) = kept.filter(|(until, _)| *until > now) {
            return Ok(standing);
        }
        let standing = self.decide(toolbox, id).await?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(id.to_owned(), (clock::add(now, KEPT), standing.clone()));
        Ok(standing)
    }

    async fn decide(&self, toolbox: &Toolbox, id: &str) -> Result<Standing, Error> {
        let known = if id.is_empty() { None } else { toolbox.reads().identity(id).await? };
        let Some(known) = known else {
            return Ok(Standing::DoesNot("Its author is not known to the organisation.".into()));
        };
        if off(Defence::InstructorCheck) {
            return Ok(Standing::Instructs { oid: known.object_id });
        }
        Ok(match self.why_not(toolbox, &known).await? {
            None => Standing::Instructs { oid: known.object_id },
            Some(why) => Standing::DoesNot(why),
        })
    }

    async fn why_not(&self, toolbox: &Toolbox, known: &KnownIdentity) -> Result<Option<String>, Error> {
        let name = &known.person.name;
        match known.kind {
            IdentityKind::Service => {
                return Ok(Some(format!("{name} is a service account, and those give no instructions.")));
            }
            IdentityKind::Group => return Ok(Some(format!("{name} is a group, not a person."))),
            IdentityKind::Person if !known.is_active => {
                return Ok(Some(format!("{name} is no longer active in the organisation.")));
            }
            IdentityKind::Person => {}
        }
        let project = &toolbox.served().project;
        if self.groups.is_empty() {
            let is_member =
                in_a_team(toolbox, &known.person.id).await? || in_project_group(toolbox, known).await?;
            let why = || {
                format!("{name} is not a member of the project {project}, so their words do not instruct.")
            };
            return Ok((!is_member).then(why));
        }
        let groups = toolbox.groups_of(known).await?;
        let named = groups.iter().any(|group| self.groups.iter().any(|wanted| is_named(group, wanted)));
        let why = || format!("{name} is in no group that may instruct (ROLE_GROUPS, instructor).");
        Ok((!named).then(why))
    }
}

async fn in_a_team(toolbox: &Toolbox, id: &str) -> Result<bool, Error> {
    let (azure, project) = (toolbox.reads(), &toolbox.served().project);
    for team in azure.teams(project).await? {
        let members = azure.team_members(project, &team.id).await?;
        if members.iter().any(|member| !member.is_group && member.id.eq_ignore_ascii_case(id)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether somebody is in a group of the project, also by way of other groups.
async fn in_project_group(toolbox: &Toolbox, known: &KnownIdentity) -> Result<bool, Error> {
    let project = &toolbox.repository().await?.project_id;
    let domain = format!("vstfs:///Classification/TeamProject/{project}");
    let groups = toolbox.groups_of(known).await?;
    Ok(groups.iter().any(|group| group.domain.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(&domain))))
}

/// Whether `wanted` names this group: by descriptor, by id, or by name with or without its scope.
fn is_named(group: &Group, wanted: &str) -> bool {
    let names = [
        Some(&group.descriptor),
        group.origin_id.as_ref(),
        Some(&group.principal_name),
        Some(&group.display_name),
    ];
    names.into_iter().flatten().any(|name| !name.is_empty() && name.eq_ignore_ascii_case(wanted.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_by_id_descriptor_or_name() {
        let group = Group {
            descriptor: "vssgp.abc".into(),
            display_name: "Maintainers".into(),
            principal_name: "[Fabrikam]\\Maintainers".into(),
            origin_id: Some("11111111-2222-4333-8444-555555555555".into()),
            domain: None,
        };
        for wanted in
            ["vssgp.abc", "maintainers", "[fabrikam]\\Maintainers", " 11111111-2222-4333-8444-555555555555 "]
        {
            assert!(is_named(&group, wanted), "{wanted}");
        }
        for wanted in ["", "Maintainer", "[Northwind]\\Maintainers"] {
            assert!(!is_named(&group, wanted), "{wanted}");
        }
    }
}
