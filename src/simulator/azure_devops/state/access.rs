//! Who may do what.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::entries::{AREAS, BUILDS, GIT, HOOKS, ROOT_AREA};
use super::{Actor, Licence, Outcome, Project, Repository, World};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::wire_enum::wire_enum;

wire_enum! {
    /// A permission of a project or one of its repositories.
    Permission {
        GenericRead = 2 "GenericRead",
        GenericContribute = 4 "GenericContribute",
        ForcePush = 8 "ForcePush",
        CreateBranch = 16 "CreateBranch",
        PolicyExempt = 128 "PolicyExempt",
        PullRequestContribute = 16384 "PullRequestContribute",
        ManagePolicies = 2048 "EditPolicies",
        QueueBuilds = 32768 "QueueBuilds",
        WorkItemRead = 65536 "WorkItemRead",
        WorkItemWrite = 131072 "WorkItemWrite",
        EditSubscriptions = 262144 "EditSubscriptions",
        ViewSubscriptions = 524288 "ViewSubscriptions",
    }
}

/// A permission that a person does not have although membership would give it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Denial {
    /// Whose.
    pub person: Uuid,
    /// Id of the project or repository.
    pub scope: Uuid,
    /// Which.
    pub permission: Permission,
}

/// Where a permission is kept: namespace, bit, token.
fn securable(permission: Permission, project: Uuid, repository: Option<Uuid>) -> (Uuid, u32, String) {
    let code = || match repository {
        Some(repository) => format!("repoV2/{project}/{repository}"),
        None => format!("repoV2/{project}"),
    };
    // A project's root area has the project's id with a one mixed in.
    let area = || format!("vstfs:///Classification/Node/{}", Uuid::from_u128(project.as_u128() ^ ROOT_AREA));
    let hooks = || format!("PublisherSecurity/{project}");
    match permission {
        Permission::GenericRead => (GIT, 2, code()),
        Permission::GenericContribute => (GIT, 4, code()),
        Permission::ForcePush => (GIT, 8, code()),
        Permission::CreateBranch => (GIT, 16, code()),
        Permission::PolicyExempt => (GIT, 128, code()),
        Permission::ManagePolicies => (GIT, 2_048, code()),
        Permission::PullRequestContribute => (GIT, 16_384, code()),
        Permission::QueueBuilds => (BUILDS, 128, project.to_string()),
        Permission::WorkItemRead => (AREAS, 16, area()),
        Permission::WorkItemWrite => (AREAS, 32, area()),
        Permission::ViewSubscriptions => (HOOKS, 1, hooks()),
        Permission::EditSubscriptions => (HOOKS, 2, hooks()),
    }
}

impl World {
    /// Whether `actor` has `permission` on something of `project` (and `repository`).
    ///
    /// Members have everything but `PolicyExempt` and `ForcePush`, readers among them only what
    /// reading needs; an access control entry says otherwise for one person; a stakeholder has no
    /// repositories at all; a denial wins over everything.
    pub fn may(&self, actor: Uuid, project: Uuid, repository: Option<Uuid>, permission: Permission) -> bool {
        let member = self.projects.get(&project).is_some_and(|p| p.members.contains(&actor));
        let Some(person) = self.person(actor) else { return false };
        let work_items = matches!(permission, Permission::WorkItemRead | Permission::WorkItemWrite);
        let stakeholder = person.licence == Licence::Stakeholder && !work_items;
        let special = matches!(permission, Permission::PolicyExempt | Permission::ForcePush);
        let denied = self.denials.iter().any(|d| {
            d.person == actor
                && d.permission == permission
                && (d.scope == project || Some(d.scope) == repository)
        });
        if !member || stakeholder || denied {
            return false;
        }
        let reading = [Permission::GenericRead, Permission::WorkItemRead].contains(&permission);
        let by_role = !special && (reading || !self.readers.contains(&(project, actor)));
        let (namespace, bit, token) = securable(permission, project, repository);
        self.entry(actor, namespace, &token, bit).unwrap_or(by_role)
    }

    /// Refuses with TF401027 unless `actor` has `permission` on `repository`.
    pub fn require_git(&self, actor: Actor, repository: &Repository, permission: Permission) -> Outcome<()> {
        if self.may(actor.id, repository.project, Some(repository.id), permission) {
            return Ok(());
        }
        let identity = self.person(actor.id).map(|p| p.account.clone()).unwrap_or_default();
        Err(Refusal::git_permission(permission.name(), &identity, "repository"))
    }

    /// Sets or takes back a denial.
    pub fn set_denied(&mut self, denial: Denial, denied: bool) {
        self.data.denials.retain(|d| *d != denial);
        if denied {
            self.data.denials.push(denial);
        }
        self.touch();
    }

    /// Gives a person another access level.
    pub fn set_licence(&mut self, person: Uuid, licence: Licence) {
        if let Some(person) = self.data.people.get_mut(&person) {
            person.licence = licence;
            self.touch();
        }
    }

    /// A project by id or name when `actor` may see it; TF200016 or VS800075 otherwise.
    pub fn visible_project(&self, actor: Actor, text: &str) -> Outcome<&Project> {
        let missing = || match Uuid::try_parse(text) {
            Ok(_) => Refusal::project_id(text),
            Err(_) => Refusal::project_name(text),
        };
        self.find_project(text).filter(|p| p.members.contains(&actor.id)).ok_or_else(missing)
    }

    /// A repository by id, or by name inside `project`, when `actor` may read it.
    pub fn visible_repository(
        &self,
        actor: Actor,
        project: Option<&str>,
        text: &str,
    ) -> Outcome<&Repository> {
        let project = project.map(|p| self.visible_project(actor, p)).transpose()?.map(|p| p.id);
        let id = Uuid::try_parse(text).ok();
        self.repositories
            .values()
            .find(|r| {
                let here = project.is_none_or(|p| p == r.project);
                here && (Some(r.id) == id || (project.is_some() && r.name.eq_ignore_ascii_case(text)))
            })
            .filter(|r| self.may(actor.id, r.project, Some(r.id), Permission::GenericRead))
            .ok_or_else(|| Refusal::repository(text))
    }
}
