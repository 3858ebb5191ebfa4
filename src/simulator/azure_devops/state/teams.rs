//! Teams beside the one that every project starts with, and what each team works on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::tree::Tree;
use super::{Actor, Outcome, Project, World};
use crate::simulator::azure_devops::refusal::Refusal;

/// Teams of one project.
const TEAMS: usize = 500;
/// Longest name of a team, in characters.
const NAME: usize = 64;

/// A team.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Team {
    /// Id.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// One line.
    pub description: String,
    /// Its people.
    pub members: BTreeSet<Uuid>,
    /// Groups in it.
    #[serde(default)]
    pub nested: BTreeSet<Uuid>,
}

/// Areas and iterations of a team, by position in the project's trees.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TeamWork {
    /// The iteration whose children are its sprints.
    pub backlog: Option<usize>,
    /// Its sprints.
    pub iterations: BTreeSet<usize>,
    /// Its areas, and whether with what is below.
    pub areas: Vec<(usize, bool)>,
    /// Where its new work items go.
    pub default_area: Option<usize>,
}

/// The teams of a project and what they work on, as it is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Teams {
    /// Teams beside the default one.
    pub more: Vec<Team>,
    /// Security groups.
    #[serde(default)]
    pub groups: Vec<Team>,
    /// Work of teams; the default team without an entry works on everything.
    pub work: BTreeMap<Uuid, TeamWork>,
}

impl Project {
    /// Every team, the default one first.
    pub fn all_teams(&self) -> Vec<Team> {
        let first = Team {
            id: self.team.0,
            name: self.team.1.clone(),
            description: "The default project team.".into(),
            members: self.members.difference(&self.guests).copied().collect(),
            nested: BTreeSet::new(),
        };
        std::iter::once(first).chain(self.teams.more.iter().cloned()).collect()
    }

    /// The team with this id or name, ignoring case.
    pub fn find_team(&self, text: &str) -> Option<Team> {
        let id = Uuid::try_parse(text).ok();
        self.all_teams().into_iter().find(|t| Some(t.id) == id || t.name.eq_ignore_ascii_case(text))
    }

    /// What a team works on.
    pub fn work_of(&self, team: Uuid) -> TeamWork {
        let kept = self.teams.work.get(&team).cloned();
        kept.unwrap_or_else(|| match team == self.team.0 {
            true => {
                let sprints = (1..self.iterations.len()).collect();
                TeamWork { iterations: sprints, areas: vec![(0, true)], default_area: Some(0), backlog: None }
            }
            false => TeamWork::default(),
        })
    }
}

/// 404 for a team.
pub fn no_team(id: &str) -> Refusal {
    Refusal::new(404, "TeamNotFoundException", format!("The team with id '{id}' does not exist."))
}

impl World {
    /// Adds a team, whose maker is its first member.
    ///
    /// # Errors
    /// 400 for a bad or taken name, 403 for who does not administer.
    pub fn add_team(&mut self, actor: Actor, project: Uuid, name: &str, description: &str) -> Outcome<Uuid> {
        self.require_administrator(actor)?;
        self.check_team_name(project, name)?;
        let id = self.new_id();
        let members = BTreeSet::from([actor.id]);
        if let Some(home) = self.data.projects.get_mut(&project) {
            let (name, description) = (name.to_owned(), description.to_owned());
            home.teams.more.push(Team { id, name, description, members, nested: BTreeSet::new() });
        }
        self.record(actor, "team.created", format!("team/{name}"));
        Ok(id)
    }

    /// Renames or describes a team.
    ///
    /// # Errors
    /// As [`World::add_team`].
    pub fn change_team(
        &mut self,
        actor: Actor,
        project: Uuid,
        team: Uuid,
        name: Option<&str>,
        description: Option<&str>,
    ) -> Outcome<()> {
        self.require_administrator(actor)?;
        let own = self.project_by_id(project)?.find_team(&team.to_string()).map(|t| t.name);
        if let Some(name) = name.filter(|n| own.as_ref().is_none_or(|own| !own.eq_ignore_ascii_case(n))) {
            self.check_team_name(project, name)?;
        }
        if let Some(home) = self.data.projects.get_mut(&project) {
            if home.team.0 == team {
                home.team.1 = name.map_or(home.team.1.clone(), str::to_owned);
            }
            for one in home.teams.more.iter_mut().filter(|t| t.id == team) {
                one.name = name.map_or(one.name.clone(), str::to_owned);
                one.description = description.map_or(one.description.clone(), str::to_owned);
            }
        }
        self.record(actor, "team.changed", format!("team/{team}"));
        Ok(())
    }

    /// Removes a team.
    ///
    /// # Errors
    /// 400 for the default team, 403 for who does not administer.
    pub fn remove_team(&mut self, actor: Actor, project: Uuid, team: Uuid) -> Outcome<()> {
        self.require_administrator(actor)?;
        let home = self.data.projects.get_mut(&project).filter(|home| home.team.0 != team);
        let home = home.ok_or_else(|| Refusal::invalid("teamId (the default team of a project stays)"))?;
        home.teams.more.retain(|one| one.id != team);
        home.teams.work.remove(&team);
        self.record(actor, "team.deleted", format!("team/{team}"));
        Ok(())
    }

    /// Sets what a team works on.
    ///
    /// # Errors
    /// 400 for a place that is not in the project's trees, 403 for who does not administer.
    pub fn set_team_work(&mut self, actor: Actor, project: Uuid, team: Uuid, work: TeamWork) -> Outcome<()> {
        self.require_administrator(actor)?;
        let home = self.project_by_id(project)?;
        let is_there = |tree, at: usize| home.paths(tree).get(at).is_some_and(|path| !path.is_empty());
        let mut areas = work.areas.iter().map(|(at, _)| *at).chain(work.default_area);
        let mut iterations = work.iterations.iter().copied().chain(work.backlog);
        if !areas.all(|at| is_there(Tree::Areas, at)) || !iterations.all(|at| is_there(Tree::Iterations, at))
        {
            return Err(Refusal::invalid("values (an area or iteration is not in the project)"));
        }
        if let Some(home) = self.data.projects.get_mut(&project) {
            home.teams.work.insert(team, work);
        }
        self.record(actor, "team.settings", format!("team/{team}"));
        Ok(())
    }

    fn check_team_name(&self, project: Uuid, name: &str) -> Outcome<()> {
        let home = self.project_by_id(project)?;
        let bad = name.trim().is_empty()
            || name.chars().count() > NAME
            || name
                .contains(['/', '\\', ':', '<', '>', '|', '?', '*', '"', '[', ']', ';', '+', ',', '=', '@'])
            || name.chars().any(char::is_control);
        if bad || home.teams.more.len() >= TEAMS {
            let text = format!("name ('{}' cannot be the name of a team)", name.escape_default());
            return Err(Refusal::invalid(text));
        }
        if home.find_team(name).is_some() {
            let text = format!("TF400857: A team with the name '{name}' already exists.");
            return Err(Refusal::new(400, "TeamAlreadyExistsException", text));
        }
        Ok(())
    }
}
