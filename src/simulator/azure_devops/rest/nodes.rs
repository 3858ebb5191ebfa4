//! Areas and iterations.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::tree::{Dates, Tree, no_node};
use crate::simulator::azure_devops::state::{Outcome, Project, World};

/// Levels that one answer shows at most.
const DEPTH: usize = 20;

/// The node with everything `depth` levels below it.
fn node(call: &Call<'_>, project: &Project, tree: Tree, at: usize, depth: usize) -> Value {
    let (kind, label, group) = match tree {
        Tree::Areas => ("area", "Area", "Areas"),
        Tree::Iterations => ("iteration", "Iteration", "Iterations"),
    };
    let paths = project.paths(tree);
    let path = paths.get(at).map(String::as_str).unwrap_or_default();
    let is_child =
        |p: &String| p.rsplit_once('\\').is_some_and(|(above, _)| above.eq_ignore_ascii_case(path));
    let children: Vec<usize> = (0..paths.len()).filter(|n| is_child(&paths[*n])).collect();
    let (root, inner) = path.split_once('\\').unwrap_or((path, ""));
    let full = if inner.is_empty() { String::new() } else { format!("\\{inner}") };
    let (number, identifier) = project.node_ids(tree, at);
    let mut value = json!({
        "id": number, "identifier": identifier, "name": path.rsplit('\\').next(), "structureType": kind,
        "hasChildren": !children.is_empty(), "path": format!("\\{root}\\{label}{full}"),
        "url": url(&call.base, project, group, inner),
    });
    let (start, finish) = project.iteration_dates.get(&at).copied().unwrap_or_default();
    if tree == Tree::Iterations && (start.is_some() || finish.is_some()) {
        value["attributes"] = json!({"startDate": start, "finishDate": finish});
    }
    if depth > 0 && !children.is_empty() {
        value["children"] =
            children.into_iter().map(|child| node(call, project, tree, child, depth - 1)).collect();
    }
    value
}

/// Address of the node at `inner`, a path without the root.
pub(super) fn url(base: &str, project: &Project, group: &str, inner: &str) -> String {
    let encoded = |name| percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    let tail: String =
        inner.split('\\').filter(|n| !n.is_empty()).map(|n| format!("/{}", encoded(n))).collect();
    let readable = tail.replace("%2D", "-").replace("%5F", "_").replace("%2E", ".").replace("%7E", "~");
    format!("{base}/{}/_apis/wit/classificationNodes/{group}{readable}", project.id)
}

/// The same with links, which only the node that was asked for has.
fn whole(call: &Call<'_>, project: &Project, tree: Tree, at: usize, depth: usize) -> Value {
    let mut found = node(call, project, tree, at, depth);
    let own = found["url"].as_str().unwrap_or_default().to_owned();
    found["_links"] = json!({"self": {"href": own}});
    if let Some((parent, _)) = own.rsplit_once('/').filter(|_| at != 0) {
        found["_links"]["parent"] = json!({"href": parent});
    }
    found
}

fn tree_of(call: &Call<'_>) -> Outcome<Tree> {
    // The official Node client leaves the zero out of the address: "areas" is number 0.
    match call.optional("structureGroup").unwrap_or("areas").to_ascii_lowercase().as_str() {
        "areas" | "area" | "0" => Ok(Tree::Areas),
        "iterations" | "iteration" | "1" => Ok(Tree::Iterations),
        _ => Err(Refusal::invalid("structureGroup (areas or iterations)")),
    }
}

/// Project, tree, and position of the node that the address names.
fn place(call: &Call<'_>, world: &World) -> Outcome<(Uuid, Tree, usize)> {
    let (project, tree) = (call.project(world)?, tree_of(call)?);
    // Clients write a path with slashes or backslashes, and with one in front.
    let below = call.optional("path").unwrap_or_default();
    let names = below.split(['/', '\\']).filter(|name| !name.is_empty());
    let path = std::iter::once(project.name.as_str()).chain(names).collect::<Vec<_>>().join("\\");
    let at = project.node(tree, &path).ok_or_else(|| no_node(&path))?;
    Ok((project.id, tree, at))
}

fn depth(call: &Call<'_>) -> usize {
    call.query.get("depth").and_then(|d| d.parse().ok()).unwrap_or(0usize).min(DEPTH)
}

/// `GET classificationnodes`: both roots, or those with `$ids`.
pub fn roots(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?;
    let Some(ids) = call.query.get("ids") else {
        let roots = [Tree::Areas, Tree::Iterations].map(|tree| node(call, project, tree, 0, depth(call)));
        return Ok(Reply::list(roots.to_vec()));
    };
    let omit = call.query.get("errorPolicy").is_some_and(|p| p.eq_ignore_ascii_case("omit") || p == "2");
    let mut found = Vec::new();
    for id in ids.split(',').map(str::trim) {
        let number: u64 = id.parse().map_err(|_| Refusal::invalid("ids"))?;
        let at = |tree| project.node_numbered(tree, number).map(|at| (tree, at));
        match at(Tree::Areas).or_else(|| at(Tree::Iterations)) {
            Some((tree, at)) => found.push(whole(call, project, tree, at, depth(call))),
            None if omit => found.push(Value::Null),
            None => return Err(no_node(id)),
        }
    }
    Ok(Reply::list(found))
}

/// `GET classificationnodes/{areas|iterations}/{path}`.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    if call.optional("structureGroup").is_none() {
        return roots(call);
    }
    let world = call.organisation.lock();
    let (_, tree, at) = place(call, &world)?;
    Ok(Reply::ok(whole(call, call.project(&world)?, tree, at, depth(call))))
}

fn dates(body: &Value) -> Outcome<Dates> {
    let date = |key: &str| match &body["attributes"][key] {
        Value::Null => Ok(None),
        given => given.as_str().and_then(moment).map(Some).ok_or_else(|| Refusal::invalid(key)),
    };
    let (start, finish) = (date("startDate")?, date("finishDate")?);
    if start.zip(finish).is_some_and(|(start, finish)| start > finish) {
        return Err(Refusal::invalid("finishDate (it is before startDate)"));
    }
    Ok((start, finish))
}

/// An instant, or a day.
fn moment(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| format!("{}T00:00:00Z", text.get(..10)?).parse().ok())
}

/// `POST classificationnodes/{group}/{path}`: a new node below the path, or with `id` one that moves
/// there.
pub fn create(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let (project, tree, parent) = place(call, &world)?;
    let known = |number: u64| {
        let found = world.projects.get(&project).and_then(|p| p.node_numbered(tree, number));
        found.ok_or_else(|| no_node(&number.to_string()))
    };
    let (status, at) = match body["id"].as_u64().filter(|id| *id != 0) {
        Some(number) => {
            let at = known(number)?;
            world.move_node(call.actor, project, tree, at, parent)?;
            (200, at)
        }
        None => {
            let name = body["name"].as_str().unwrap_or_default();
            (201, world.add_node(call.actor, project, tree, parent, name, dates(&body)?)?)
        }
    };
    Ok(placed(status, &whole(call, call.project(&world)?, tree, at, 0)))
}

/// An answer that says where the node is now.
fn placed(status: u16, node: &Value) -> Reply {
    Reply::json(status, node).header("location", node["url"].as_str().unwrap_or_default().to_owned())
}

/// `PATCH classificationnodes/{group}/{path}`: name and dates.
pub fn update(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let (project, tree, at) = place(call, &world)?;
    world.change_node(call.actor, project, tree, at, body["name"].as_str(), dates(&body)?)?;
    Ok(placed(200, &whole(call, call.project(&world)?, tree, at, 0)))
}

/// `DELETE classificationnodes/{group}/{path}?$reclassifyId=`: what was there goes to that node, or to
/// the root.
pub fn delete(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let (project, tree, at) = place(call, &world)?;
    let heir = match call.query.get("reclassifyId") {
        None => 0,
        Some(text) => {
            let number = text.parse().map_err(|_| Refusal::invalid("$reclassifyId"))?;
            call.project(&world)?.node_numbered(tree, number).ok_or_else(|| no_node(text))?
        }
    };
    world.delete_node(call.actor, project, tree, at, heir)?;
    Ok(Reply::empty(204))
}
