//! Members of the organisation: who comes in from the tenant, with which access level and into
//! which projects, and who leaves (SETUP.md §5.1).

use std::sync::Arc;

use uuid::Uuid;

use super::{Actor, Licence, Outcome, Person, World};
use crate::simulator::azure_devops::refusal::Refusal;

/// Most members.
const MAX_MEMBERS: usize = 1_000;

/// Somebody of the connected tenant.
#[derive(Clone, Debug)]
pub struct Found {
    /// Object id.
    pub object_id: Uuid,
    /// User principal name.
    pub account: String,
    /// Display name.
    pub display_name: String,
}

/// Looks somebody up in the tenant that the organisation is connected to, by object id or user
/// principal name.
pub type Tenant = Arc<dyn Fn(&str) -> Option<Found> + Send + Sync>;

/// What a project group lets its members do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Only reads.
    Reader,
    /// Works.
    Contributor,
}

impl World {
    /// Connects the organisation to a tenant, so that its people can become members.
    pub fn connect(&mut self, tenant: Tenant) {
        self.tenant = Some(tenant);
    }

    /// Makes somebody of the tenant a member, or changes the access level of a member.
    ///
    /// # Errors
    /// 403 for who does not administer, 404 for somebody whom the tenant does not know.
    pub fn enter(
        &mut self,
        actor: Actor,
        who: &str,
        licence: Licence,
        projects: &[(Uuid, Group)],
    ) -> Outcome<Uuid> {
        self.require_administrator(actor)?;
        let unknown = || {
            let text = format!("VS403283: Could not add user '{who}' at this time. The user was not found.");
            Refusal::new(404, "IdentityNotFoundException", text)
        };
        let found = self.tenant.as_ref().and_then(|look| look(who)).ok_or_else(unknown)?;
        let known = self.people.values().find(|p| p.object_id == found.object_id).map(|p| p.id);
        if known.is_none() && self.people.len() >= MAX_MEMBERS {
            return Err(Refusal::invalid("user (the organisation is full)"));
        }
        let id = known.unwrap_or_else(|| self.new_id());
        let name = found.account.split('@').next().unwrap_or_default().to_owned();
        let person = self.people.get(&id).cloned().unwrap_or_else(|| Person {
            id,
            object_id: found.object_id,
            name,
            display_name: found.display_name,
            account: found.account,
            role: "member".into(),
            password: None,
            licence,
        });
        self.data.people.insert(id, Person { licence, ..person });
        self.data.left.remove(&id);
        self.enter_projects(id, projects);
        self.record(actor, "member.added", format!("member/{id}"));
        Ok(id)
    }

    /// Puts a member into groups of projects.
    pub fn enter_projects(&mut self, id: Uuid, projects: &[(Uuid, Group)]) {
        for (project, group) in projects {
            if let Some(project) = self.data.projects.get_mut(project) {
                project.members.insert(id);
            }
            match group {
                Group::Reader => self.data.readers.insert((*project, id)),
                Group::Contributor => self.data.readers.remove(&(*project, id)),
            };
        }
        self.touch();
    }

    /// Ends a membership. What the person did stays theirs.
    ///
    /// # Errors
    /// 403 for who does not administer, 404 for who is no member.
    pub fn leave(&mut self, actor: Actor, id: Uuid) -> Outcome<()> {
        self.require_administrator(actor)?;
        if !self.people.contains_key(&id) || self.left.contains(&id) {
            return Err(Refusal::new(404, "IdentityNotFoundException", format!("User {id} was not found.")));
        }
        let joined: Vec<Uuid> =
            self.projects.values().filter(|p| p.members.contains(&id)).map(|p| p.id).collect();
        for project in joined {
            if let Some(project) = self.data.projects.get_mut(&project) {
                project.members.remove(&id);
            }
        }
        self.data.readers.retain(|(_, person)| *person != id);
        self.data.entries.retain(|entry| entry.person != id);
        self.data.left.insert(id);
        self.record(actor, "member.removed", format!("member/{id}"));
        Ok(())
    }
}
