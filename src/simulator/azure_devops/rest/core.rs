//! Projects and teams.

use super::{Call, PAGE, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::{Outcome, Process};
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
    call.continued(visible, PAGE, |p| view.project(p))
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
    let members = project
        .members
        .difference(&project.guests)
        .map(|id| json!({"isTeamAdmin": false, "identity": view.identity(*id)}));
    Ok(Reply::list(members.collect()))
}

/// `GET process/processes` and one of them.
pub fn processes(call: &Call<'_>) -> Outcome<Reply> {
    let all = [Process::Basic, Process::Agile].map(|process| {
        let id = process.template_id();
        json!({
            "id": id, "description": format!("The work items and states of the {} process.", process.name()),
            "isDefault": process == Process::Basic, "type": "system",
            "url": format!("{}/_apis/process/processes/{id}", call.base), "name": process.name(),
        })
    });
    match call.optional("processId") {
        None => Ok(Reply::list(all.to_vec())),
        Some(wanted) => {
            let found = all.into_iter().find(|p| p["id"] == wanted.to_lowercase());
            let text = format!("VS402356: The process {wanted} does not exist.");
            found.map(Reply::ok).ok_or_else(|| Refusal::new(404, "ProcessNotFoundException", text))
        }
    }
}

/// `GET projects/{id}/properties`.
pub fn properties(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = world.visible_project(call.actor, call.text("projectId"))?;
    let all = [
        ("System.CurrentProcessTemplateId", json!(project.process.template_id())),
        ("System.Process Template", json!(project.process.name())),
        ("System.SourceControlGitEnabled", json!("True")),
    ];
    let keys = call.query.get("keys").unwrap_or_default().to_lowercase();
    let keys: Vec<&str> = keys.split(',').map(str::trim).filter(|k| !k.is_empty()).collect();
    let fits = |name: &str| {
        let name = name.to_lowercase();
        let one = |key: &&str| key.strip_suffix('*').map_or(name == **key, |start| name.starts_with(start));
        keys.is_empty() || keys.iter().any(one)
    };
    let shown = all.into_iter().filter(|(name, _)| fits(name));
    Ok(Reply::list(shown.map(|(name, value)| json!({"name": name, "value": value})).collect()))
}

fn is_team(team: &(uuid::Uuid, String), text: &str) -> bool {
    team.0.to_string().eq_ignore_ascii_case(text) || team.1.eq_ignore_ascii_case(text)
}

fn no_team(id: &str) -> Refusal {
    Refusal::new(404, "TeamNotFoundException", format!("The team with id '{id}' does not exist."))
}
