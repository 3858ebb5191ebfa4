//! Comments, updates, revisions, and what work items are made of.

use serde_json::{Value, json};

use super::{Call, PAGE_MAX, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::fields::{FIELDS, Field, FieldKind, find};
use crate::simulator::azure_devops::state::process::{COMMON, WorkItemType};
use crate::simulator::azure_devops::state::{LINK_TYPES, Outcome, Project, RESOURCE_TYPES, WorkItem, World};

fn item<'w>(call: &Call<'_>, world: &'w World, name: &str) -> Outcome<&'w WorkItem> {
    world.visible_work_item(call.actor, call.number(name)?)
}

fn no_comment(id: u32) -> Refusal {
    Refusal::new(404, "WorkItemCommentNotFoundException", format!("The comment {id} was not found."))
}

/// `GET comments`, newest first, and one of them.
pub fn comments(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let item = item(call, &world, "workItemId")?;
    let view = call.view(&world);
    let shown = item.comments.iter().filter(|c| !c.deleted || call.query.flag("includeDeleted"));
    if call.optional("commentId").is_some() {
        let id = call.number("commentId")?;
        let found = item.comments.iter().find(|c| c.id == id && !c.deleted).ok_or_else(|| no_comment(id))?;
        return Ok(Reply::ok(view.work_item_comment(item, found)));
    }
    let mut all: Vec<_> = shown.collect();
    if call.query.get("order").is_none_or(|o| !o.eq_ignore_ascii_case("asc")) {
        all.reverse();
    }
    let total = all.len();
    let start: usize = match call.query.get("continuationToken") {
        Some(token) => token.parse().map_err(|_| Refusal::invalid("continuationToken"))?,
        None => 0,
    };
    let top = call.query.count("top")?.unwrap_or(200).min(PAGE_MAX);
    let page: Vec<Value> =
        all.iter().skip(start).take(top).map(|c| view.work_item_comment(item, c)).collect();
    let mut body = json!({"totalCount": total, "count": page.len(), "comments": page});
    if total > start + top {
        let next = start + top;
        body["nextPage"] =
            json!(format!("{}/comments?%24top={top}&continuationToken={next}", view.work_item_url(item)));
        body["continuationToken"] = json!(next.to_string());
    }
    Ok(Reply::ok(body))
}

/// `POST comments?format=`.
pub fn add_comment(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let format = match call.query.get("format") {
        Some(text) if text.eq_ignore_ascii_case("markdown") || text == "0" => "markdown",
        _ => "html",
    };
    let mut world = call.organisation.lock();
    let id = call.number("workItemId")?;
    let made =
        world.comment_on_work_item(call.actor, id, body["text"].as_str().unwrap_or_default(), format)?;
    let item = item(call, &world, "workItemId")?;
    let comment = item.comments.iter().find(|c| c.id == made).ok_or_else(|| no_comment(made))?;
    Ok(Reply::ok(call.view(&world).work_item_comment(item, comment)))
}

/// `PATCH comments/{id}`.
pub fn edit_comment(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let text =
        body["text"].as_str().filter(|t| !t.trim().is_empty()).ok_or_else(|| Refusal::invalid("text"))?;
    let mut world = call.organisation.lock();
    let (id, comment) = (call.number("workItemId")?, call.number("commentId")?);
    let changed = world.change_work_item_comment(call.actor, id, comment, Some(text))?;
    Ok(Reply::ok(call.view(&world).work_item_comment(item(call, &world, "workItemId")?, &changed)))
}

/// `DELETE comments/{id}`.
pub fn delete_comment(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let (id, comment) = (call.number("workItemId")?, call.number("commentId")?);
    world.change_work_item_comment(call.actor, id, comment, None)?;
    Ok(Reply::empty(204))
}

/// `GET updates` and one of them.
pub fn updates(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let item = item(call, &world, "id")?;
    let view = call.view(&world);
    if call.optional("updateNumber").is_some() {
        let number = call.number("updateNumber")?;
        let found =
            item.updates.iter().find(|u| u.id == number).ok_or_else(|| Refusal::work_item(item.id))?;
        return Ok(Reply::ok(view.work_item_update(item, found)));
    }
    Ok(Reply::list(call.page(item.updates.iter().map(|u| view.work_item_update(item, u)).collect(), 200)?))
}

/// `GET revisions` and one of them.
pub fn revisions(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let item = item(call, &world, "id")?;
    let view = call.view(&world);
    if call.optional("revisionNumber").is_some() {
        let number = call.number("revisionNumber")?;
        return view
            .work_item_revision(item, number)
            .map(Reply::ok)
            .ok_or_else(|| Refusal::work_item(item.id));
    }
    let all = item.revisions.iter().filter_map(|r| view.work_item_revision(item, r.rev)).collect();
    Ok(Reply::list(call.page(all, 200)?))
}

fn states_of(kind: &WorkItemType) -> Vec<Value> {
    kind.states.iter().map(|s| json!({"name": s.name, "color": s.color, "category": s.category})).collect()
}

fn type_of(call: &Call<'_>, project: &Project) -> Outcome<&'static WorkItemType> {
    let wanted = call.text("type");
    project.process.find(wanted).ok_or_else(|| Refusal::work_item_type(wanted, &project.name))
}

fn render_type(call: &Call<'_>, project: &Project, kind: &WorkItemType) -> Value {
    let url =
        format!("{}/{}/_apis/wit/workItemTypes/{}", call.base, project.id, kind.name.replace(' ', "%20"));
    let icon = format!("{}/_apis/wit/workItemIcons/{}?color={}&v=2", call.base, kind.icon, kind.color);
    let fields: Vec<Value> = type_field_list(kind).map(|f| render_type_field(call, f, kind, false)).collect();
    let transitions: serde_json::Map<String, Value> = kind
        .states
        .iter()
        .map(|from| {
            let to: Vec<Value> = kind.states.iter().map(|s| json!({"to": s.name, "actions": null})).collect();
            (from.name.to_owned(), json!(to))
        })
        .collect();
    json!({
        "name": kind.name,
        "referenceName": kind.reference,
        "description": kind.description,
        "color": kind.color,
        "icon": {"id": kind.icon, "url": icon},
        "isDisabled": false,
        "xmlForm": "",
        "fields": fields,
        "fieldInstances": fields,
        "transitions": transitions,
        "states": states_of(kind),
        "url": url,
    })
}

fn type_field_list(kind: &WorkItemType) -> impl Iterator<Item = &'static Field> {
    COMMON.iter().chain(kind.fields).filter_map(|name| find(name))
}

fn render_type_field(call: &Call<'_>, field: &Field, kind: &WorkItemType, expanded: bool) -> Value {
    let required = matches!(
        field.reference,
        "System.Title" | "System.State" | "System.AreaPath" | "System.IterationPath"
    );
    let mut value = json!({
        "defaultValue": null,
        "alwaysRequired": required,
        "dependentFields": [],
        "referenceName": field.reference,
        "name": field.name,
        "url": format!("{}/_apis/wit/fields/{}", call.base, field.reference),
    });
    if expanded {
        value["allowedValues"] = match field.reference {
            "System.State" => kind.states.iter().map(|s| s.name).collect(),
            "Microsoft.VSTS.Common.Priority" => json!(["1", "2", "3", "4"]),
            _ => json!([]),
        };
        value["helpText"] = json!("");
    }
    value
}

/// `GET workitemtypes` and one of them.
pub fn types(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?;
    if call.optional("type").is_some() {
        return Ok(Reply::ok(render_type(call, project, type_of(call, project)?)));
    }
    Ok(Reply::list(project.process.types().iter().map(|t| render_type(call, project, t)).collect()))
}

/// `GET workitemtypes/{type}/states`.
pub fn states(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    Ok(Reply::list(states_of(type_of(call, call.project(&world)?)?)))
}

/// `GET workitemtypes/{type}/fields` and one of them.
pub fn type_fields(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let kind = type_of(call, call.project(&world)?)?;
    let expanded = call.query.get("expand").is_some_and(|e| !e.eq_ignore_ascii_case("none"));
    if let Some(wanted) = call.optional("field") {
        let field = find(wanted).filter(|f| kind.has(f.reference)).ok_or_else(|| Refusal::field(wanted))?;
        return Ok(Reply::ok(render_type_field(call, field, kind, expanded)));
    }
    Ok(Reply::list(type_field_list(kind).map(|f| render_type_field(call, f, kind, expanded)).collect()))
}

/// `GET workitemtypecategories` and one of them.
pub fn categories(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?;
    let of = |name: &str, reference: &str, default: &str| {
        let kinds = project.process.types().iter().filter(|t| t.name == default);
        let one = |t: &WorkItemType| json!({"name": t.name, "url": format!("{}/{}/_apis/wit/workItemTypes/{}", call.base, project.id, t.name.replace(' ', "%20"))});
        let list: Vec<Value> = kinds.map(one).collect();
        json!({"name": name, "referenceName": reference, "defaultWorkItemType": list.first(), "workItemTypes": list})
    };
    let requirement = if project.process.find("Issue").is_some() { "Issue" } else { "User Story" };
    let all = vec![
        of("Epic Category", "Microsoft.EpicCategory", "Epic"),
        of("Requirement Category", "Microsoft.RequirementCategory", requirement),
        of("Task Category", "Microsoft.TaskCategory", "Task"),
        of("Bug Category", "Microsoft.BugCategory", "Bug"),
    ];
    match call.optional("category") {
        None => Ok(Reply::list(all)),
        Some(wanted) => all
            .into_iter()
            .find(|c| c["referenceName"].as_str().is_some_and(|r| r.eq_ignore_ascii_case(wanted)))
            .map(Reply::ok)
            .ok_or_else(|| {
                Refusal::new(
                    404,
                    "WorkItemTypeCategoryNotFoundException",
                    format!("The category {wanted} was not found."),
                )
            }),
    }
}

fn render_field(call: &Call<'_>, field: &Field) -> Value {
    json!({
        "name": field.name,
        "referenceName": field.reference,
        "description": null,
        "type": field.kind.name(),
        "usage": "workItem",
        "readOnly": field.read_only,
        "canSortBy": !matches!(field.kind, FieldKind::Html | FieldKind::History),
        "isQueryable": true,
        "supportedOperations": [],
        "isIdentity": field.kind == FieldKind::Identity,
        "isPicklist": false,
        "isPicklistSuggested": false,
        "url": format!("{}/_apis/wit/fields/{}", call.base, field.reference),
    })
}

/// `GET fields` and one of them.
pub fn fields(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    call.optional_project(&world)?;
    match call.optional("fieldNameOrRefName") {
        Some(wanted) => {
            Ok(Reply::ok(render_field(call, find(wanted).ok_or_else(|| Refusal::field(wanted))?)))
        }
        None => Ok(Reply::list(FIELDS.iter().map(|f| render_field(call, f)).collect())),
    }
}

/// `GET workitemrelationtypes` and one of them.
pub fn relation_types(call: &Call<'_>) -> Outcome<Reply> {
    let url = |name: &str| format!("{}/_apis/wit/workItemRelationTypes/{name}", call.base);
    let links = LINK_TYPES.iter().map(|(reference, name, opposite)| {
        let tree = reference.contains("Hierarchy");
        json!({
            "attributes": {
                "usage": "workItemLink", "editable": true, "enabled": true, "acyclic": tree,
                "directional": reference != opposite, "singleTarget": tree && reference.ends_with("Reverse"),
                "topology": if tree { "tree" } else if reference == opposite { "network" } else { "dependency" },
                "remote": false, "isForward": !reference.ends_with("Reverse"), "oppositeEndReferenceName": opposite,
            },
            "referenceName": reference, "name": name, "url": url(reference),
        })
    });
    let resources = RESOURCE_TYPES.iter().map(|(reference, name)| {
        json!({
            "attributes": {"usage": "resourceLink", "editable": false, "enabled": true},
            "referenceName": reference, "name": name, "url": url(reference),
        })
    });
    let all: Vec<Value> = links.chain(resources).collect();
    match call.optional("relation") {
        None => Ok(Reply::list(all)),
        Some(wanted) => {
            let found = all
                .into_iter()
                .find(|r| r["referenceName"].as_str().is_some_and(|n| n.eq_ignore_ascii_case(wanted)));
            found
                .map(Reply::ok)
                .ok_or_else(|| Refusal::link(format!("VS402396: Unrecognized relation type '{wanted}'.")))
        }
    }
}

/// `GET tags`.
pub fn tags(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?;
    let mut names: Vec<String> = Vec::new();
    for item in world.work_items.values().filter(|w| w.project == project.id && w.deleted.is_none()) {
        for tag in item.text("System.Tags").split(';').map(str::trim).filter(|t| !t.is_empty()) {
            if !names.iter().any(|n| n.eq_ignore_ascii_case(tag)) {
                names.push(tag.to_owned());
            }
        }
    }
    names.sort_unstable();
    let render = |name: &String| json!({"id": name, "name": name, "url": format!("{}/{}/_apis/wit/tags/{name}", call.base, project.id)});
    Ok(Reply::list(names.iter().map(render).collect()))
}
