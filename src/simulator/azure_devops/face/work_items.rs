//! Work items: the list, and what a person does with them.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::state::patch::Operation;
use super::super::state::{FieldValue, Project, WorkItem, World};
use super::page::{Fault, Page, Place, Visitor, Who, show as render};
use super::text::ago;

/// Rows of the list.
const MAX_ROWS: usize = 500;
/// A work item in a list.
pub struct ItemLine {
    /// Number.
    pub id: u32,
    /// Type.
    pub kind: String,
    /// Title.
    pub title: String,
    /// State.
    pub state: String,
    /// Name of its state's colour class.
    pub tone: &'static str,
    /// Whose it is.
    pub assigned: Option<Who>,
    /// Last change.
    pub changed: Option<Timestamp>,
    /// Last change in words.
    pub when: String,
}

/// The line of a work item.
pub fn item_line(world: &World, item: &WorkItem) -> ItemLine {
    let changed = date(item, "System.ChangedDate");
    ItemLine {
        id: item.id,
        kind: item.kind().to_owned(),
        title: item.title().to_owned(),
        state: item.state().to_owned(),
        tone: tone(world, item),
        assigned: item.assigned_to().map(|id| Who::of(world, id)),
        changed,
        when: changed.map_or_else(String::new, |then| ago(world.now(), then)),
    }
}

/// An instant that a field holds.
pub fn date(item: &WorkItem, field: &str) -> Option<Timestamp> {
    match item.fields.get(field) {
        Some(FieldValue::Date(at)) => Some(*at),
        _ => None,
    }
}

fn tone(world: &World, item: &WorkItem) -> &'static str {
    let process = world.projects.get(&item.project).map(|project| project.process);
    let state = process.and_then(|process| process.find(item.kind())?.state(item.state()));
    match state.map(|state| state.category) {
        Some("InProgress" | "Resolved") => "doing",
        Some("Completed") => "done",
        _ => "todo",
    }
}

#[derive(Template)]
#[template(path = "simulator/work_items.html")]
struct ListPage {
    page: Page,
    place: Place,
    items: Vec<ItemLine>,
    kinds: Vec<&'static str>,
    filter: Filter,
}

/// What the list shows.
#[derive(Default, Deserialize)]
pub struct Filter {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    state: String,
}

/// `/{organization}/{project}/_workitems`
pub async fn list(
    visitor: Visitor,
    Path((_, name)): Path<(String, String)>,
    Query(filter): Query<Filter>,
) -> Result<Response, Fault> {
    let world = visitor.organisation.lock();
    let project = world.visible_project(visitor.reader(), &name)?;
    let shown = |item: &&WorkItem| {
        let open = item.state() != "Done";
        item.project == project.id
            && item.deleted.is_none()
            && (filter.kind.is_empty() || item.kind() == filter.kind)
            && match filter.state.as_str() {
                "open" => open,
                "done" => !open,
                _ => true,
            }
    };
    let items = world.work_items.values().rev().filter(shown).take(MAX_ROWS);
    let items = items.map(|item| item_line(&world, item)).collect();
    let page = visitor.page_in(&world, project, "items", "Work items");
    let kinds = project.process.types().iter().map(|kind| kind.name).collect();
    Ok(render(&ListPage { page, place: Place::of(&world, project), items, kinds, filter }))
}

#[derive(Template)]
#[template(path = "simulator/work_item_new.html")]
struct NewPage {
    page: Page,
    place: Place,
    kind: &'static str,
    people: Vec<Who>,
}

/// `/{organization}/{project}/_workitems/create/{type}`
pub async fn blank(
    visitor: Visitor,
    Path((_, name, kind)): Path<(String, String, String)>,
) -> Result<Response, Fault> {
    let world = visitor.organisation.lock();
    let project = world.visible_project(visitor.reader(), &name)?;
    let found =
        project.process.find(&kind).ok_or_else(|| Fault::missing(&format!("There is no type “{kind}”.")))?;
    let page = visitor.page_in(&world, project, "items", format!("New {}", found.name));
    let people = members(&world, project);
    Ok(render(&NewPage { page, place: Place::of(&world, project), kind: found.name, people }))
}

/// The members of a project, people first.
pub fn members(world: &World, project: &Project) -> Vec<Who> {
    let mut all: Vec<Who> = project.members.iter().map(|id| Who::of(world, *id)).collect();
    all.sort_by_key(|who| (who.agent, who.short.clone()));
    all
}

/// The fields of a form.
#[derive(Deserialize)]
pub struct Fields {
    title: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    assigned: String,
    #[serde(default)]
    tags: Option<String>,
    #[serde(default)]
    rev: Option<u32>,
}

fn set(path: &str, value: Value) -> Operation {
    Operation { op: "add".into(), path: path.into(), from: None, value }
}

fn field(reference: &str, value: &str) -> Operation {
    set(&format!("/fields/{reference}"), json!(value))
}

/// Browsers send line ends as CRLF; texts are kept with LF.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// `POST /{organization}/{project}/_workitems/create/{type}`
pub async fn create(
    visitor: Visitor,
    Path((_, name, kind)): Path<(String, String, String)>,
    Form(fields): Form<Fields>,
) -> Result<Response, Fault> {
    let mut world = visitor.organisation.lock();
    let actor = visitor.actor(&mut world);
    let project = world.visible_project(actor, &name)?.clone();
    let mut operations = vec![field("System.Title", fields.title.trim())];
    if !fields.description.trim().is_empty() {
        operations.push(set("/multilineFieldsFormat/System.Description", json!("Markdown")));
        operations.push(field("System.Description", &lines(&fields.description)));
    }
    if !fields.assigned.is_empty() {
        operations.push(field("System.AssignedTo", &account(&world, &fields.assigned)));
    }
    let item = world.create_work_item(actor, project.id, &kind, &operations, false)?;
    let place = Place::of(&world, &project);
    Ok(Redirect::to(&format!("{}/_workitems/edit/{}?told=1", place.path, item.id)).into_response())
}

fn account(world: &World, name: &str) -> String {
    world.find_person(name).map_or_else(|| name.to_owned(), |person| person.account.clone())
}

/// `POST /{organization}/{project}/_workitems/edit/{id}`
pub async fn save(
    visitor: Visitor,
    Path((_, name, id)): Path<(String, String, u32)>,
    Form(fields): Form<Fields>,
) -> Result<Response, Fault> {
    let mut world = visitor.organisation.lock();
    let actor = visitor.actor(&mut world);
    let place = Place::of(&world, world.visible_project(actor, &name)?);
    let item = world.visible_work_item(actor, id)?.clone();
    let mut operations = Vec::new();
    let mut differs = |reference: &str, new: &str| {
        if item.text(reference) != new {
            operations.push(field(reference, new));
        }
    };
    differs("System.Title", fields.title.trim());
    differs("System.State", fields.state.as_deref().unwrap_or(item.state()));
    differs("System.Tags", fields.tags.as_deref().unwrap_or(item.text("System.Tags")).trim());
    let description = lines(&fields.description);
    if item.text("System.Description") != description {
        operations.push(set("/multilineFieldsFormat/System.Description", json!("Markdown")));
        operations.push(field("System.Description", &description));
    }
    let assigned = item.assigned_to().map_or_else(String::new, |id| Who::of(&world, id).short);
    if assigned != fields.assigned {
        operations.push(field("System.AssignedTo", &account(&world, &fields.assigned)));
    }
    let mut query = "";
    if !operations.is_empty() {
        if let Some(rev) = fields.rev {
            let test = Operation { op: "test".into(), path: "/rev".into(), from: None, value: json!(rev) };
            operations.insert(0, test);
        }
        world.update_work_item(actor, id, &operations, false)?;
        query = "?told=1";
    }
    Ok(Redirect::to(&format!("{}/_workitems/edit/{id}{query}", place.path)).into_response())
}

/// A comment from a form.
#[derive(Deserialize)]
pub struct Words {
    text: String,
}

/// `POST /{organization}/{project}/_workitems/edit/{id}/comments`
pub async fn comment(
    visitor: Visitor,
    Path((_, name, id)): Path<(String, String, u32)>,
    Form(words): Form<Words>,
) -> Result<Response, Fault> {
    let mut world = visitor.organisation.lock();
    let actor = visitor.actor(&mut world);
    let place = Place::of(&world, world.visible_project(actor, &name)?);
    let comment = world.comment_on_work_item(actor, id, &lines(&words.text), "markdown")?;
    Ok(Redirect::to(&format!("{}/_workitems/edit/{id}?told=1#comment-{comment}", place.path)).into_response())
}
