//! Work items: read, write, batch, query.

use serde_json::{Value, json};

use super::pull_request_input::number;
use super::{Call, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::render::{Expand, stamp};
use crate::simulator::azure_devops::state::queries::{Spot, no_query};
use crate::simulator::azure_devops::state::teams::no_team;
use crate::simulator::azure_devops::state::{
    Outcome, Relation, Target, WorkItem, World, fields, patch, wiql,
};

/// Work items of one batch.
const BATCH: usize = 200;

fn expand(call: &Call<'_>, default: Expand) -> Outcome<Expand> {
    match call.query.get("expand") {
        Some(text) => Expand::from_text(text).ok_or_else(|| Refusal::invalid("$expand")),
        None => Ok(default),
    }
}

fn wanted_fields(list: Vec<String>) -> Outcome<Option<Vec<String>>> {
    for name in &list {
        if fields::find(name).is_none() {
            return Err(Refusal::field(name));
        }
    }
    Ok((!list.is_empty()).then_some(list))
}

fn split(text: Option<&str>) -> Vec<String> {
    text.unwrap_or_default().split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

fn in_project(call: &Call<'_>, world: &World, item: &WorkItem) -> Outcome<()> {
    match call.optional_project(world)? {
        Some(project) if project.id != item.project => Err(Refusal::work_item(item.id)),
        _ => Ok(()),
    }
}

/// `GET workitems/{id}` and `GET workitems?ids=`.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let fields = wanted_fields(split(call.query.get("fields")))?;
    let as_of =
        call.query.get("asOf").map(|d| d.parse().map_err(|_| Refusal::invalid("asOf"))).transpose()?;
    if call.optional("id").is_none() {
        let ids = split(call.query.get("ids"))
            .iter()
            .map(|id| id.parse().map_err(|_| Refusal::invalid("ids")))
            .collect::<Outcome<Vec<u32>>>()?;
        let omit = call.query.get("errorPolicy").is_some_and(|p| p.eq_ignore_ascii_case("omit") || p == "2");
        return many(call, &world, &ids, expand(call, Expand::default())?, fields.as_deref(), as_of, omit);
    }
    let id = call.number("id")?;
    let item = world.visible_work_item(call.actor, id)?;
    in_project(call, &world, item)?;
    if fields.is_some() && call.query.get("expand").is_some_and(|e| !e.eq_ignore_ascii_case("none")) {
        return Err(Refusal::new(
            400,
            "ConflictingParametersException",
            "The expand parameter can not be used with the fields parameter.",
        ));
    }
    // A single item always has its links.
    let expand = expand(call, Expand::default())?;
    let expand = Expand { links: fields.is_none(), ..expand };
    Ok(Reply::ok(at(call, &world, item, expand, fields.as_deref(), as_of)?))
}

/// The item now, or as it was at an instant.
fn at(
    call: &Call<'_>,
    world: &World,
    item: &WorkItem,
    expand: Expand,
    fields: Option<&[String]>,
    as_of: Option<jiff::Timestamp>,
) -> Outcome<Value> {
    let view = call.view(world);
    let Some(instant) = as_of else { return Ok(view.work_item(item, expand, fields)) };
    let then =
        item.revisions.iter().rev().find(|r| r.date <= instant).ok_or_else(|| Refusal::work_item(item.id))?;
    let mut old = item.clone();
    old.rev = then.rev;
    old.fields.clone_from(&then.fields);
    Ok(view.work_item(&old, expand, fields))
}

fn many(
    call: &Call<'_>,
    world: &World,
    ids: &[u32],
    expand: Expand,
    fields: Option<&[String]>,
    as_of: Option<jiff::Timestamp>,
    omit: bool,
) -> Outcome<Reply> {
    if ids.is_empty() || ids.len() > BATCH {
        return Err(Refusal::invalid(format!("ids (1 to {BATCH} ids are needed)")));
    }
    let mut values = Vec::new();
    for id in ids {
        match world
            .visible_work_item(call.actor, *id)
            .and_then(|item| at(call, world, item, expand, fields, as_of))
        {
            Ok(value) => values.push(value),
            Err(_) if omit => values.push(Value::Null),
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(Reply::list(values))
}

/// `POST workitemsbatch`.
pub fn batch_get(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let world = call.organisation.lock();
    let ids = body["ids"].as_array().into_iter().flatten();
    let ids = ids.map(|v| number(v).ok_or_else(|| Refusal::invalid("ids"))).collect::<Outcome<Vec<u32>>>()?;
    let names = body["fields"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let fields = wanted_fields(names.collect())?;
    let word =
        |value: &Value| value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|n| n.to_string()));
    let expand = word(&body["$expand"]).and_then(|t| Expand::from_text(&t)).unwrap_or_default();
    let omit = word(&body["errorPolicy"]).is_some_and(|p| p.eq_ignore_ascii_case("omit") || p == "2");
    let as_of = body["asOf"].as_str().and_then(|d| d.parse().ok());
    many(call, &world, &ids, expand, fields.as_deref(), as_of, omit)
}

/// `POST workitems/$Type`.
pub fn create(call: &Call<'_>) -> Outcome<Reply> {
    let operations = call.patch()?;
    let mut world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let only = call.query.flag("validateOnly");
    let item = world.create_work_item(call.actor, project, call.text("type"), &operations, only)?;
    let expand = Expand { links: true, relations: true, ..expand(call, Expand::default())? };
    Ok(Reply::ok(call.view(&world).work_item(&item, expand, None)))
}

/// `GET workitems/$Type`: what a new one starts with.
pub fn template(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let title = patch::parse(&json!([{"op": "add", "path": "/fields/System.Title", "value": "New"}]))?;
    let mut item = world.create_work_item(call.actor, project, call.text("type"), &title, true)?;
    item.fields.remove("System.Title");
    Ok(Reply::ok(call.view(&world).work_item(&item, Expand::default(), None)))
}

/// `PATCH workitems/{id}`.
pub fn update(call: &Call<'_>) -> Outcome<Reply> {
    let operations = call.patch()?;
    let mut world = call.organisation.lock();
    let id = call.number("id")?;
    in_project(call, &world, world.visible_work_item(call.actor, id)?)?;
    let item = world.update_work_item(call.actor, id, &operations, call.query.flag("validateOnly"))?;
    let expand = Expand { links: true, relations: true, ..expand(call, Expand::default())? };
    Ok(Reply::ok(call.view(&world).work_item(&item, expand, None)))
}

fn deleted(call: &Call<'_>, world: &World, item: &WorkItem) -> Value {
    let (when, by) = item.deleted.unwrap_or((world.now(), call.actor.id));
    let url = format!("{}/{}/_apis/wit/recyclebin/{}", call.base, item.project, item.id);
    let project = world.projects.get(&item.project).map(|p| p.name.clone());
    let who = world.person(by).map(|p| format!("{} <{}>", p.display_name, p.account));
    json!({
        "id": item.id,
        "code": 200,
        "deletedDate": stamp(when),
        "deletedBy": who,
        "name": item.title(),
        "type": item.kind(),
        "project": project,
        "url": url,
        "resource": call.view(world).work_item(item, Expand::default(), None),
    })
}

/// `DELETE workitems/{id}`.
pub fn delete(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let id = call.number("id")?;
    in_project(call, &world, world.visible_work_item(call.actor, id)?)?;
    let destroy = call.query.flag("destroy");
    let item = world.delete_work_item(call.actor, id, destroy)?;
    if destroy {
        return Ok(Reply::empty(204));
    }
    Ok(Reply::ok(deleted(call, &world, &item)))
}

/// `POST workitemsdelete`.
pub fn delete_many(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let destroy = body["destroy"].as_bool().unwrap_or(false);
    let ids: Vec<u32> = body["ids"].as_array().into_iter().flatten().filter_map(number).take(BATCH).collect();
    for id in &ids {
        world.visible_work_item(call.actor, *id)?;
    }
    let mut results = Vec::new();
    for id in ids {
        let item = world.delete_work_item(call.actor, id, destroy)?;
        results.push(deleted(call, &world, &item));
    }
    Ok(Reply::ok(json!({"results": results})))
}

/// `GET recyclebin` and one of it.
pub fn recycle_bin(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let gone = world.work_items.values().filter(|w| w.deleted.is_some() && w.project == project);
    if call.optional("id").is_some() {
        let id = call.number("id")?;
        let item = gone.into_iter().find(|w| w.id == id).ok_or_else(|| Refusal::work_item(id))?;
        return Ok(Reply::ok(deleted(call, &world, item)));
    }
    Ok(Reply::list(gone.map(|w| deleted(call, &world, w)).collect()))
}

/// `PATCH recyclebin/{id}` with `isDeleted: false`.
pub fn restore(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let id = call.number("id")?;
    let project = call.project(&world)?.id;
    if world.work_items.get(&id).is_none_or(|w| w.project != project) {
        return Err(Refusal::work_item(id));
    }
    world.restore_work_item(call.actor, id)?;
    let item = world.visible_work_item(call.actor, id)?;
    Ok(Reply::ok(call.view(&world).work_item(item, Expand::default(), None)))
}

/// `PATCH $batch`: several writes, each with its own answer.
pub fn batch_write(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let list = body.as_array().filter(|l| !l.is_empty() && l.len() <= BATCH);
    let list =
        list.ok_or_else(|| Refusal::body_unreadable(format!("a list of 1 to {BATCH} requests is needed")))?;
    let answers = list.iter().map(|entry| {
        let reply = one_of_batch(call, entry).unwrap_or_else(|refusal| Reply::refusal(&refusal));
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        json!({"code": reply.status, "headers": {"Content-Type": "application/json; charset=utf-8"}, "body": text})
    });
    Ok(Reply::list(answers.collect()))
}

fn one_of_batch(call: &Call<'_>, entry: &Value) -> Outcome<Reply> {
    let uri = entry["uri"].as_str().unwrap_or_default();
    let path = uri.split('?').next().unwrap_or_default();
    let (before, after) = path
        .split_once("/_apis/wit/workitems/")
        .or_else(|| path.split_once("/_apis/wit/workItems/"))
        .ok_or_else(|| Refusal::invalid(format!("uri ('{uri}' is not a work item)")))?;
    let operations = patch::parse(&entry["body"])?;
    let mut world = call.organisation.lock();
    let item = match after.strip_prefix('$') {
        Some(kind) => {
            let name = before.rsplit('/').next().unwrap_or_default();
            let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned();
            let kind = percent_encoding::percent_decode_str(kind).decode_utf8_lossy().into_owned();
            let project = world.visible_project(call.actor, &name)?.id;
            world.create_work_item(call.actor, project, &kind, &operations, false)?
        }
        None => {
            let id = after.parse().map_err(|_| Refusal::invalid("uri"))?;
            world.update_work_item(call.actor, id, &operations, false)?
        }
    };
    let expand = Expand { links: true, relations: true, fields: false };
    Ok(Reply::ok(call.view(&world).work_item(&item, expand, None)))
}

/// `POST artifacturiquery`: the work items that link to each address.
pub fn of_artifacts(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let world = call.organisation.lock();
    let wanted = body["artifactUris"].as_array().into_iter().flatten().filter_map(Value::as_str).take(BATCH);
    let mut found = serde_json::Map::new();
    for uri in wanted {
        let links = |item: &&WorkItem| {
            let here = |r: &Relation| matches!(&r.target, Target::Url(url) if url.eq_ignore_ascii_case(uri));
            item.relations.iter().any(here) && world.visible_work_item(call.actor, item.id).is_ok()
        };
        let items = world.work_items.values().filter(links).map(|item| item.id);
        let url = |id: u32| format!("{}/_apis/wit/workItems/{id}", call.base);
        found.insert(uri.to_owned(), items.map(|id| json!({"id": id, "url": url(id)})).collect());
    }
    Ok(Reply::ok(json!({"artifactUrisQueryResult": found})))
}

/// `POST wiql`.
pub fn wiql(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let text = body["query"].as_str().ok_or_else(|| Refusal::invalid("query"))?;
    run_query(call, &call.organisation.lock(), text)
}

/// `GET wiql/{id}`: runs a saved query.
pub fn saved_wiql(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let (project, id) = (call.project(&world)?.id, call.text("id"));
    let found = match world.query_spot(call.actor, project, id)? {
        Spot::Saved(found) => world.queries.get(&found).and_then(|query| query.wiql.as_deref()),
        Spot::Top(_) => None,
    };
    run_query(call, &world, found.ok_or_else(|| no_query(id))?)
}

fn run_query(call: &Call<'_>, world: &World, text: &str) -> Outcome<Reply> {
    let query = wiql::parse(text).map_err(Refusal::query)?;
    let project = call.optional_project(world)?.map(|p| p.id);
    if let Some(team) = call.optional("team") {
        call.project(world)?.find_team(team).ok_or_else(|| no_team(team))?;
    }
    let top = call.query.count("top")?;
    let ids = world.query_work_items(call.actor, &query, project, call.query.flag("timePrecision"), top)?;
    let column = |f: &fields::Field| json!({"referenceName": f.reference, "name": f.name, "url": format!("{}/_apis/wit/fields/{}", call.base, f.reference)});
    let mut value = json!({
        "queryType": "flat",
        "queryResultType": "workItem",
        "asOf": stamp(world.now()),
        "columns": query.columns.iter().map(|f| column(f)).collect::<Vec<_>>(),
    });
    if !query.order.is_empty() {
        let sort =
            query.order.iter().map(|(f, descending)| json!({"field": column(f), "descending": descending}));
        value["sortColumns"] = sort.collect();
    }
    let reference = |id: &u32| json!({"id": id, "url": format!("{}/_apis/wit/workItems/{id}", call.base)});
    value["workItems"] = ids.iter().map(reference).collect();
    Ok(Reply::ok(value))
}
