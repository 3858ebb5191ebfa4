//! One work item with its discussion, links and history.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use serde::Deserialize;
use uuid::Uuid;

use super::super::state::{FieldValue, LINK_TYPES, Relation, Target, Update, World};
use super::page::{Fault, Page, Place, Visitor, Who, show as render};
use super::text::{ago, clean, instant, markdown, short};
use super::told::{Told, about_work_item};
use super::work_items::{ItemLine, date, item_line, members};

/// Fields whose changes say nothing to a reader.
const SILENT: [&str; 9] = [
    "System.Rev",
    "System.ChangedDate",
    "System.ChangedBy",
    "System.Watermark",
    "System.AuthorizedDate",
    "System.AuthorizedAs",
    "System.RevisedDate",
    "System.CommentCount",
    "System.Reason",
];

struct CommentView {
    id: u32,
    who: Who,
    html: String,
    when: String,
    instant: String,
}

struct Change {
    who: Who,
    what: String,
    when: String,
    instant: String,
}

struct Link {
    name: String,
    text: String,
    url: String,
}

#[derive(Template)]
#[template(path = "simulator/work_item.html")]
struct ItemPage {
    page: Page,
    place: Place,
    item: ItemLine,
    rev: u32,
    description: String,
    description_html: String,
    tags: String,
    states: Vec<&'static str>,
    people: Vec<Who>,
    created: String,
    comments: Vec<CommentView>,
    changes: Vec<Change>,
    links: Vec<Link>,
    told: Vec<Told>,
}

/// What the address of a page adds.
#[derive(Default, Deserialize)]
pub struct Look {
    told: Option<String>,
}

/// `/{organization}/{project}/_workitems/edit/{id}`
pub async fn show(
    visitor: Visitor,
    Path((_, name, id)): Path<(String, String, u32)>,
    Query(look): Query<Look>,
) -> Result<Response, Fault> {
    let world = visitor.organisation.lock();
    world.visible_project(visitor.reader(), &name)?;
    let item = world.visible_work_item(visitor.reader(), id)?;
    let project = world.projects.get(&item.project).ok_or_else(|| Fault::missing("Its project is gone."))?;
    let place = Place::of(&world, project);
    let now = world.now();
    let written = |text: &str, format: Option<&str>| match format {
        Some(format) if format.eq_ignore_ascii_case("markdown") => markdown(text, &place.path),
        _ if text.contains('<') => clean(text),
        _ => markdown(text, &place.path),
    };
    let description = item.text("System.Description").to_owned();
    let format = item.formats.get("System.Description").map(String::as_str);
    let comments = item.comments.iter().filter(|comment| !comment.deleted).map(|comment| CommentView {
        id: comment.id,
        who: Who::of(&world, comment.created_by),
        html: written(&comment.text, Some(&comment.format)),
        when: ago(now, comment.created),
        instant: instant(comment.created),
    });
    let kind = project.process.find(item.kind());
    let told = about_work_item(&world, id);
    let mut page =
        visitor.page_in(&world, project, "items", format!("{} {id}: {}", item.kind(), item.title()));
    page.refresh = look.told.is_some() && told.iter().any(Told::is_pending);
    Ok(render(&ItemPage {
        item: item_line(&world, item),
        rev: item.rev,
        description_html: written(&description, format),
        description,
        tags: item.text("System.Tags").to_owned(),
        states: kind.map(|kind| kind.states.iter().map(|state| state.name).collect()).unwrap_or_default(),
        people: members(&world, project),
        created: match item.fields.get("System.CreatedBy") {
            Some(FieldValue::Person(id)) => format!("{}, ", Who::of(&world, *id).name),
            _ => String::new(),
        } + &date(item, "System.CreatedDate").map_or_else(String::new, |then| ago(now, then)),
        comments: comments.collect(),
        changes: item.updates.iter().rev().filter_map(|update| change(&world, update)).collect(),
        links: item.relations.iter().map(|relation| link(&world, &place, relation)).collect(),
        told: if look.told.is_some() { told } else { Vec::new() },
        page,
        place,
    }))
}

fn change(world: &World, update: &Update) -> Option<Change> {
    let mut parts: Vec<String> = Vec::new();
    for (field, (_, after)) in update.fields.iter().filter(|(field, _)| !SILENT.contains(&field.as_str())) {
        let name = field.rsplit('.').next().unwrap_or(field);
        match (field.as_str(), after) {
            _ if update.id == 1 => {}
            ("System.History", _) => {}
            ("System.Description", _) => parts.push("changed the description".to_owned()),
            (_, Some(FieldValue::Person(id))) => {
                parts.push(format!("set {name} to {}", Who::of(world, *id).name))
            }
            (_, Some(FieldValue::Text(text))) => parts.push(format!("set {name} to “{text}”")),
            (_, Some(FieldValue::Integer(number))) => parts.push(format!("set {name} to {number}")),
            (_, None) => parts.push(format!("cleared {name}")),
            _ => {}
        }
    }
    if update.id == 1 {
        parts.push("created it".to_owned());
    }
    parts.extend(update.added.iter().map(|relation| format!("added a link ({})", link_name(relation))));
    parts.extend(update.removed.iter().map(|relation| format!("removed a link ({})", link_name(relation))));
    let (who, at) = (Who::of(world, update.by), update.date);
    let what = parts.join(", ");
    (!what.is_empty()).then(|| Change { who, what, when: ago(world.now(), at), instant: instant(at) })
}

fn link_name(relation: &Relation) -> String {
    let known =
        LINK_TYPES.iter().find(|(reference, ..)| *reference == relation.rel).map(|(_, name, _)| *name);
    known.map(str::to_owned).or(relation.name.clone()).unwrap_or_else(|| relation.rel.clone())
}

fn link(world: &World, place: &Place, relation: &Relation) -> Link {
    let name = link_name(relation);
    let (text, url) = match &relation.target {
        Target::WorkItem(id) => {
            let title = world.work_items.get(id).map_or("", |item| item.title());
            (format!("{id}: {title}"), format!("{}/_workitems/edit/{id}", place.path))
        }
        Target::Url(url) => artifact(world, place, url).unwrap_or_else(|| {
            let safe = url.starts_with("http://") || url.starts_with("https://");
            (
                relation.comment.clone().unwrap_or_else(|| url.clone()),
                if safe { url.clone() } else { String::new() },
            )
        }),
    };
    Link { name, text, url }
}

/// The text and page of a pull request, commit or branch that an artifact link names.
fn artifact(world: &World, place: &Place, url: &str) -> Option<(String, String)> {
    let (kind, rest) = url.strip_prefix("vstfs:///Git/")?.split_once('/')?;
    let rest = rest.replace("%2F", "/").replace("%2f", "/");
    let mut parts = rest.splitn(3, '/').skip(1);
    let repository = world.repositories.get(&Uuid::try_parse(parts.next()?).ok()?)?;
    let (code, id) = (place.code(repository), parts.next()?);
    Some(match kind {
        "PullRequestId" => {
            let title = id
                .parse()
                .ok()
                .and_then(|id: u32| world.pull_requests.get(&id))
                .map_or("", |pull| &pull.title);
            (format!("{id}: {title}"), format!("{code}/pullrequest/{id}"))
        }
        "Commit" => (short(id), format!("{code}/commit/{id}")),
        _ => (id.trim_start_matches("GB").to_owned(), format!("{code}?version={id}")),
    })
}
