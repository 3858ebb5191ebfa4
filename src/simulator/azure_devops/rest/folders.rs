//! Folders of build definitions, and the queues that builds run in.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::render::stamp;
use crate::simulator::azure_devops::state::folders::Folder;
use crate::simulator::azure_devops::state::{Outcome, Project, World};

/// The project as folders name it: without its description.
fn short(call: &Call<'_>, world: &World, project: &Project) -> Value {
    let mut value = call.view(world).project(project);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("description");
    }
    value
}

/// The path of the address: in it, as it was recorded, or in its query, as it is documented.
fn path<'c>(call: &'c Call<'_>) -> Option<&'c str> {
    let path = call.optional("path").or_else(|| call.query.get("path"));
    path.filter(|path| !path.trim_matches(['\\', '/']).is_empty())
}

fn render(call: &Call<'_>, world: &World, project: &Project, folder: &Folder) -> Value {
    let view = call.view(world);
    let mut value = json!({"path": folder.path});
    if let Some(description) = &folder.description {
        value["description"] = json!(description);
    }
    value["createdOn"] = json!(stamp(folder.created));
    value["createdBy"] = view.identity(folder.created_by);
    if let Some((by, at)) = folder.changed {
        value["lastChangedDate"] = json!(stamp(at));
        value["lastChangedBy"] = view.identity(by);
    }
    value["project"] = short(call, world, project);
    value
}

/// `GET build/folders` and those at and below a path.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?;
    let path = path(call);
    let found = world.folders_below(project.id, path)?;
    let mut shown: Vec<Value> = Vec::new();
    if path.is_none() {
        let updated = stamp(project.updated);
        shown.push(json!({"path": "\\", "createdOn": updated, "project": short(call, &world, project)}));
    }
    shown.extend(found.into_iter().map(|folder| render(call, &world, project, folder)));
    if call.query.get("queryOrder").is_some_and(|order| order.eq_ignore_ascii_case("folderDescending")) {
        shown.reverse();
    }
    Ok(Reply::list(shown))
}

fn shown(call: &Call<'_>, world: &World, path: &str) -> Outcome<Reply> {
    let project = call.project(world)?;
    let found = world.folders_below(project.id, Some(path))?;
    Ok(Reply::ok(found.first().map(|folder| render(call, world, project, folder)).unwrap_or_default()))
}

fn of(call: &Call<'_>, world: &World) -> Outcome<(Uuid, String)> {
    Ok((call.project(world)?.id, path(call).unwrap_or_default().to_owned()))
}

/// `PUT build/folders/{path}`.
pub fn create(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let (project, path) = of(call, &world)?;
    let made = world.make_folder(call.actor, project, &path, body["description"].as_str())?;
    shown(call, &world, &made)
}

/// `POST build/folders/{path}`: path and description.
pub fn update(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let (project, path) = of(call, &world)?;
    let (to, description) = (body["path"].as_str(), body["description"].as_str());
    let changed = world.change_folder(call.actor, project, &path, to, description)?;
    shown(call, &world, &changed)
}

/// `DELETE build/folders/{path}`.
pub fn delete(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let (project, path) = of(call, &world)?;
    world.remove_folder(call.actor, project, &path)?;
    Ok(Reply::empty(204))
}

/// `GET distributedtask/queues` and one of them. The small build engine has one agent in each.
pub fn queues(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let pools = [("Default", false), ("Azure Pipelines", true)];
    let all = (1..).zip(pools).map(|(id, (name, hosted))| {
        json!({
            "id": id, "projectId": project, "name": name,
            "pool": {
                "id": id, "scope": world.instance_id, "name": name, "isHosted": hosted, "poolType": "automation",
                "size": 1, "isLegacy": false, "options": "none",
            },
        })
    });
    let named = call.query.get("queueName").or(call.query.get("queueNames"));
    let mut all = all.filter(|queue| {
        let name = queue["name"].as_str().unwrap_or_default();
        named.is_none_or(|names| names.split(',').any(|one| one.trim().eq_ignore_ascii_case(name)))
    });
    match call.optional("queueId") {
        None => Ok(Reply::list(all.collect())),
        Some(_) => {
            let wanted = call.number("queueId")?;
            let missing = || {
                let text = format!("No agent queue found with identifier {wanted}.");
                Refusal::new(404, "TaskAgentQueueNotFoundException", text)
            };
            all.find(|queue| queue["id"] == wanted).map(Reply::ok).ok_or_else(missing)
        }
    }
}
