//! Projects and teams.

use super::{Call, PAGE, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::Outcome;
use serde_json::{Value, json};

/// `GET projects` and `GET projects/{id}`.
pub fn projects(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let view = call.view(&world);
    if let Some(id) = call.optional("projectId") {
        let project = world.visible_project(call.actor, id)?;
        return Ok(Reply::ok(view.full_project(project, call.query.flag("includeCapabilities"))));
    }
    let mut visible: Vec<_> =
        world.projects.values().filter(|p| p.members.contains(&call.actor.id)).collect();
    visible.sort_by(|a, b| a.name.cmp(&b.name));
    call.continued(visible.into_iter().map(|p| view.project(p)).collect(), PAGE)
}

/// `GET projects/{id}/teams` and one of them.
pub fn teams(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = world.visible_project(call.actor, call.text("projectId"))?;
    let team = call.view(&world).team(project);
    match call.optional("teamId") {
        None => Ok(Reply::list(vec![team])),
        Some(id) if is_team(&project.team, id) => Ok(Reply::ok(team)),
        Some(id) => Err(no_team(id)),
    }
}

/// `GET _apis/teams`.
pub fn all_teams(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let visible = world.projects.values().filter(|p| p.members.contains(&call.actor.id));
    let teams: Vec<Value> = visible.map(|p| call.view(&world).team(p)).collect();
    Ok(Reply::list(call.page(teams, PAGE)?))
}

/// `GET projects/{id}/teams/{team}/members`.
pub fn members(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = world.visible_project(call.actor, call.text("projectId"))?;
    if !is_team(&project.team, call.text("teamId")) {
        return Err(no_team(call.text("teamId")));
    }
    let view = call.view(&world);
    let members =
        project.members.difference(&project.guests).map(|id| json!({"isTeamAdmin": false, "identity": view.identity(*id)}));
    Ok(Reply::list(members.collect()))
}

fn is_team(team: &(uuid::Uuid, String), text: &str) -> bool {
    team.0.to_string().eq_ignore_ascii_case(text) || team.1.eq_ignore_ascii_case(text)
}

fn no_team(id: &str) -> Refusal {
    Refusal::new(404, "TeamNotFoundException", format!("The team with id '{id}' does not exist."))
}
