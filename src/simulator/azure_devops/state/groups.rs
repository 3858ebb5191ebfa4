//! Groups of a project: its teams, and security groups that somebody makes; who is in which.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::teams::Team;
use super::{Actor, Outcome, Project, World};
use crate::simulator::azure_devops::refusal::Refusal;

/// Groups of one project.
const GROUPS: usize = 500;
/// Longest name of a group, in characters.
const NAME: usize = 256;

impl Project {
    /// Teams and groups, the default team first.
    pub fn all_groups(&self) -> Vec<Team> {
        self.all_teams().into_iter().chain(self.teams.groups.iter().cloned()).collect()
    }
}

impl World {
    /// The group with this id, with its project.
    pub fn group(&self, id: Uuid) -> Option<(&Project, Team)> {
        self.projects.values().find_map(|p| Some((p, p.all_groups().into_iter().find(|g| g.id == id)?)))
    }

    /// Makes a security group.
    ///
    /// # Errors
    /// 400 for a bad name, 409 for a taken one, 403 for who does not administer.
    pub fn add_group(&mut self, actor: Actor, project: Uuid, name: &str, description: &str) -> Outcome<Uuid> {
        self.require_administrator(actor)?;
        self.check_group_name(project, None, name)?;
        let id = self.new_id();
        let (name, description) = (name.to_owned(), description.to_owned());
        let group = Team { id, name, description, members: BTreeSet::new(), nested: BTreeSet::new() };
        self.record(actor, "group.created", format!("group/{}", group.name));
        if let Some(home) = self.data.projects.get_mut(&project) {
            home.teams.groups.push(group);
        }
        Ok(id)
    }

    /// Renames or describes a security group; teams are changed as teams.
    ///
    /// # Errors
    /// As [`World::add_group`], 404 for what is none.
    pub fn change_group(
        &mut self,
        actor: Actor,
        id: Uuid,
        name: Option<&str>,
        description: Option<&str>,
    ) -> Outcome<()> {
        self.require_administrator(actor)?;
        let project = self.security_group(id)?;
        if let Some(name) = name {
            self.check_group_name(project, Some(id), name)?;
        }
        let home = self.data.projects.get_mut(&project);
        for group in home.into_iter().flat_map(|home| &mut home.teams.groups).filter(|g| g.id == id) {
            group.name = name.map_or(group.name.clone(), str::to_owned);
            group.description = description.map_or(group.description.clone(), str::to_owned);
        }
        self.record(actor, "group.changed", format!("group/{id}"));
        Ok(())
    }

    /// Removes a security group.
    ///
    /// # Errors
    /// 404 for what is none, 403 for who does not administer.
    pub fn remove_group(&mut self, actor: Actor, id: Uuid) -> Outcome<()> {
        self.require_administrator(actor)?;
        let project = self.security_group(id)?;
        if let Some(home) = self.data.projects.get_mut(&project) {
            home.teams.groups.retain(|group| group.id != id);
            // Nobody is in what is gone.
            for group in home.teams.groups.iter_mut().chain(&mut home.teams.more) {
                group.nested.remove(&id);
            }
        }
        self.record(actor, "group.deleted", format!("group/{id}"));
        Ok(())
    }

    /// Puts a person or a group into a group, or takes it out.
    ///
    /// # Errors
    /// 404 for an unknown group, 400 for a group in itself, 403 for who does not administer.
    pub fn set_membership(&mut self, actor: Actor, member: Uuid, group: Uuid, on: bool) -> Outcome<()> {
        self.require_administrator(actor)?;
        let Some((home, _)) = self.group(group) else { return Err(unknown(group)) };
        let (project, default) = (home.id, home.team.0);
        let is_person = self.people.contains_key(&member);
        if member == group || (!is_person && self.is_inside(group, member, 0)) {
            return Err(Refusal::invalid("containerDescriptor (a group cannot be in itself)"));
        }
        let Some(home) = self.data.projects.get_mut(&project) else { return Err(unknown(group)) };
        if group == default {
            // Its people are those of the project who were not only invited.
            match on {
                true => home.guests.remove(&member) | home.members.insert(member),
                false => home.guests.insert(member),
            };
        }
        for found in home.teams.groups.iter_mut().chain(&mut home.teams.more).filter(|g| g.id == group) {
            let set = if is_person { &mut found.members } else { &mut found.nested };
            let _ = if on { set.insert(member) } else { set.remove(&member) };
        }
        self.record(actor, "group.membership", format!("group/{group}/{member}={on}"));
        Ok(())
    }

    /// Whether `inner` is somewhere in `outer`.
    fn is_inside(&self, inner: Uuid, outer: Uuid, depth: usize) -> bool {
        let nested = self.group(outer).map(|(_, group)| group.nested).unwrap_or_default();
        depth < GROUPS && nested.iter().any(|one| *one == inner || self.is_inside(inner, *one, depth + 1))
    }

    fn security_group(&self, id: Uuid) -> Outcome<Uuid> {
        let own = |p: &&Project| p.teams.groups.iter().any(|group| group.id == id);
        self.projects.values().find(own).map(|p| p.id).ok_or_else(|| unknown(id))
    }

    fn check_group_name(&self, project: Uuid, own: Option<Uuid>, name: &str) -> Outcome<()> {
        let home = self.project_by_id(project)?;
        let bad = name.trim().is_empty()
            || name.chars().count() > NAME
            || name.contains(['/', '\\', '[', ']', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>'])
            || name.chars().any(char::is_control);
        if bad || home.teams.groups.len() >= GROUPS {
            return Err(Refusal::invalid(format!(
                "displayName ('{}' cannot be the name of a group)",
                name.escape_default()
            )));
        }
        if home.all_groups().iter().any(|g| Some(g.id) != own && g.name.eq_ignore_ascii_case(name)) {
            let text = format!("TF50220: A group with the name {name} already exists.");
            return Err(Refusal::new(409, "GroupCreationException", text));
        }
        Ok(())
    }
}

fn unknown(id: Uuid) -> Refusal {
    Refusal::new(404, "GraphSubjectNotFoundException", format!("VS860016: Could not find the subject {id}."))
}
