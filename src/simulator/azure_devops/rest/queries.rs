//! Saved queries.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::render::stamp;
use crate::simulator::azure_devops::state::queries::{Root, Spot};
use crate::simulator::azure_devops::state::{Outcome, World};

/// Deepest level that one answer shows (the service has the same limit).
const DEPTH: usize = 2;

/// QueryHierarchyItem with `depth` levels below it.
fn render(call: &Call<'_>, world: &World, project: Uuid, spot: Spot, depth: usize) -> Value {
    let view = call.view(world);
    let below = world.queries_below(call.actor, project, spot);
    let url = |id: Uuid| format!("{}/{project}/_apis/wit/queries/{id}", call.base);
    let (root, own) = match spot {
        Spot::Top(root) => (root, None),
        Spot::Saved(id) => match world.queries.get(&id) {
            Some(query) => (query.root, Some(query)),
            None => return Value::Null,
        },
    };
    let top = root.id(project, call.actor.id);
    let id = own.map_or(top, |query| query.id);
    let is_folder = own.is_none_or(|query| query.wiql.is_none());
    let name = own.map_or(root.name(), |query| query.name.as_str());
    let path = match own {
        Some(query) => format!("{}/{name}", world.query_path(query.folder, root)),
        None => name.to_owned(),
    };
    let mut value = json!({"id": id, "name": name, "path": path});
    if let Some(query) = own {
        value["createdBy"] = view.identity(query.created_by);
        value["createdDate"] = json!(stamp(query.created));
        value["lastModifiedBy"] = view.identity(query.modified_by);
        value["lastModifiedDate"] = json!(stamp(query.modified));
    }
    if is_folder {
        (value["isFolder"], value["hasChildren"]) = (json!(true), json!(!below.is_empty()));
    } else {
        value["queryType"] = json!("flat");
    }
    value["isPublic"] = json!(root == Root::Shared);
    let wanted = call.query.get("expand").is_some_and(|e| !e.eq_ignore_ascii_case("none") && e != "0");
    if let Some(text) = own.and_then(|query| query.wiql.as_ref()).filter(|_| wanted) {
        value["wiql"] = json!(text);
    }
    if depth > 0 && !below.is_empty() {
        let inner = |query: &&super::super::state::queries::SavedQuery| {
            render(call, world, project, Spot::Saved(query.id), depth - 1)
        };
        value["children"] = below.iter().map(inner).collect();
    }
    let html = format!("{}/{project}/_queries/query/{id}", call.base);
    value["_links"] = json!({"self": {"href": url(id)}, "html": {"href": html}});
    if let Some(query) = own {
        value["_links"]["parent"] = json!({"href": url(query.folder.unwrap_or(top))});
        if !is_folder {
            let run = format!("{}/{project}/_apis/wit/wiql/{id}", call.base);
            value["_links"]["wiql"] = json!({"href": run});
        }
    }
    value["url"] = json!(url(id));
    value
}

fn depth(call: &Call<'_>) -> usize {
    call.query.get("depth").and_then(|d| d.parse().ok()).unwrap_or(0usize).min(DEPTH)
}

fn spot(call: &Call<'_>, world: &World, project: Uuid) -> Outcome<Spot> {
    world.query_spot(call.actor, project, call.text("query"))
}

/// `GET queries`: both folders at the top; `GET queries/{id or path}`.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?.id;
    if call.optional("query").is_some() {
        let spot = spot(call, &world, project)?;
        return Ok(Reply::ok(render(call, &world, project, spot, depth(call))));
    }
    if let Some(text) = call.query.get("filter").map(str::to_lowercase) {
        let fits = |q: &&super::super::state::queries::SavedQuery| {
            let seen = q.root == Root::Shared || q.created_by == call.actor.id;
            q.project == project && seen && q.name.to_lowercase().contains(&text)
        };
        let found = world.queries.values().filter(fits).map(|q| Spot::Saved(q.id));
        let shown = found.map(|spot| render(call, &world, project, spot, 0)).collect();
        return Ok(Reply::list(call.page(shown, super::PAGE)?));
    }
    let tops =
        [Root::Mine, Root::Shared].map(|root| render(call, &world, project, Spot::Top(root), depth(call)));
    Ok(Reply::list(tops.to_vec()))
}

/// `POST queries/{folder}`.
pub fn create(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let spot = spot(call, &world, project)?;
    let name = body["name"].as_str().unwrap_or_default();
    let text = match body["isFolder"].as_bool().unwrap_or(false) {
        true => None,
        false => Some(body["wiql"].as_str().ok_or_else(|| Refusal::invalid("wiql"))?),
    };
    let id = world.save_query(call.actor, project, spot, name, text)?;
    Ok(Reply::json(201, &render(call, &world, project, Spot::Saved(id), 0)))
}

fn saved(call: &Call<'_>, world: &World, project: Uuid) -> Outcome<Uuid> {
    match spot(call, world, project)? {
        Spot::Saved(id) => Ok(id),
        Spot::Top(_) => Err(Refusal::invalid("query (the folders at the top stay as they are)")),
    }
}

/// `PATCH queries/{id or path}`: name and text.
pub fn update(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let id = saved(call, &world, project)?;
    world.change_query(call.actor, id, body["name"].as_str(), body["wiql"].as_str())?;
    Ok(Reply::ok(render(call, &world, project, Spot::Saved(id), 0)))
}

/// `DELETE queries/{id or path}`.
pub fn delete(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let id = saved(call, &world, project)?;
    world.remove_query(call.actor, id)?;
    Ok(Reply::empty(204))
}
