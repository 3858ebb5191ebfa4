//! Projects and teams.

use super::{Call, PAGE, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::operations::Task;
use crate::simulator::azure_devops::state::teams::no_team;
use crate::simulator::azure_devops::state::{Outcome, Process, Project, World};
use serde_json::{Value, json};
use uuid::Uuid;

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

/// `POST projects`: begins an operation.
pub fn create_project(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let template = body["capabilities"]["processTemplate"]["templateTypeId"].as_str();
    let named = |wanted: &str| {
        let known = [Process::Basic, Process::Agile];
        known.into_iter().find(|p| p.template_id().eq_ignore_ascii_case(wanted))
    };
    let process = match template {
        None => Process::Basic,
        Some(wanted) => named(wanted).ok_or_else(|| {
            Refusal::invalid(
                "templateTypeId (the simulator has the processes Basic and Agile; see process/processes)",
            )
        })?,
    };
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    begin(call, Task::Create { name: text("name"), description: text("description"), process })
}

/// `PATCH projects/{id}`: begins an operation.
pub fn change_project(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    let project = call.organisation.lock().visible_project(call.actor, call.text("projectId"))?.id;
    begin(call, Task::Change { project, name: text("name"), description: text("description") })
}

/// `DELETE projects/{id}`: begins an operation.
pub fn delete_project(call: &Call<'_>) -> Outcome<Reply> {
    let project = call.organisation.lock().visible_project(call.actor, call.text("projectId"))?.id;
    begin(call, Task::Delete { project })
}

fn begin(call: &Call<'_>, task: Task) -> Outcome<Reply> {
    let id = call.organisation.lock().begin_operation(call.actor, task)?;
    let url = format!("{}/_apis/operations/{id}", call.base);
    Ok(Reply::json(202, &json!({"id": id, "status": "notSet", "url": url})))
}

/// `GET operations/{id}`.
pub fn operation(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let id = call.guid("operationId")?;
    let mine = world.operations.get(&id).filter(|o| o.by.0 == call.actor.id);
    let missing =
        || Refusal::new(404, "OperationNotFoundException", format!("The operation {id} was not found."));
    let found = mine.ok_or_else(missing)?;
    let url = format!("{}/_apis/operations/{id}", call.base);
    let mut value = json!({"id": id, "status": found.status, "url": url, "_links": {"self": {"href": url}}});
    if let Some(error) = &found.error {
        value["resultMessage"] = json!(error);
    }
    Ok(Reply::ok(value))
}

/// `GET projects/{id}/teams` and one of them.
pub fn teams(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = world.visible_project(call.actor, call.text("projectId"))?;
    let view = call.view(&world);
    let identity = call.query.flag("expandIdentity");
    match call.optional("teamId") {
        None => {
            let all = project.all_teams().iter().map(|team| view.team(project, team, identity)).collect();
            Ok(Reply::list(call.page(all, PAGE)?))
        }
        Some(id) => {
            let team = project.find_team(id).ok_or_else(|| no_team(id))?;
            Ok(Reply::ok(view.team(project, &team, identity)))
        }
    }
}

/// `POST projects/{id}/teams`.
pub fn create_team(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let project = world.visible_project(call.actor, call.text("projectId"))?.id;
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let id = world.add_team(call.actor, project, text("name"), text("description"))?;
    shown_team(call, &world, id, 201)
}

/// `PATCH projects/{id}/teams/{team}`.
pub fn change_team(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let (project, team) = team_of(call, &world)?;
    world.change_team(call.actor, project, team, body["name"].as_str(), body["description"].as_str())?;
    shown_team(call, &world, team, 200)
}

/// `DELETE projects/{id}/teams/{team}`.
pub fn delete_team(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let (project, team) = team_of(call, &world)?;
    world.remove_team(call.actor, project, team)?;
    Ok(Reply::empty(204))
}

fn team_of(call: &Call<'_>, world: &World) -> Outcome<(Uuid, Uuid)> {
    let project = world.visible_project(call.actor, call.text("projectId"))?;
    let id = call.text("teamId");
    Ok((project.id, project.find_team(id).ok_or_else(|| no_team(id))?.id))
}

fn shown_team(call: &Call<'_>, world: &World, team: Uuid, status: u16) -> Outcome<Reply> {
    let project = world.visible_project(call.actor, call.text("projectId"))?;
    let team = project.find_team(&team.to_string()).ok_or_else(|| no_team(&team.to_string()))?;
    Ok(Reply::json(status, &call.view(world).team(project, &team, true)))
}

/// `GET _apis/teams`.
pub fn all_teams(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let visible = world.projects.values().filter(|p| p.members.contains(&call.actor.id));
    let view = call.view(&world);
    let of = |p| Project::all_teams(p).into_iter().map(move |team| view.team(p, &team, false));
    Ok(Reply::list(call.page(visible.flat_map(of).collect::<Vec<Value>>(), PAGE)?))
}

/// `GET projects/{id}/teams/{team}/members`.
pub fn members(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = world.visible_project(call.actor, call.text("projectId"))?;
    let id = call.text("teamId");
    let team = project.find_team(id).ok_or_else(|| no_team(id))?;
    let view = call.view(&world);
    let members = team.members.iter().map(|id| json!({"isTeamAdmin": false, "identity": view.identity(*id)}));
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
