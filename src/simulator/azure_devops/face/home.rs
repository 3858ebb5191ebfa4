//! The organisation, a project, and the choice of the person one acts as.

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::super::state::{Organisation, PullRequestStatus, World};
use super::page::{COOKIE, Fault, Page, Place, Visitor, Who, people, segment, show};
use super::pull_requests::{PullLine, lines};
use super::text::{ago, instant};
use super::work_items::{ItemLine, item_line};

/// Entries of the newest effects that are shown.
const NEWEST: usize = 12;
/// Rows of a list on an overview.
const OVERVIEW: usize = 6;

struct ProjectLine {
    place: Place,
    description: String,
    open_items: usize,
    active_pulls: usize,
}

struct Effect {
    who: Who,
    thing: String,
    url: Option<String>,
    verb: String,
    when: String,
    instant: String,
}

#[derive(Template)]
#[template(path = "simulator/organization.html")]
struct OrganizationPage {
    page: Page,
    projects: Vec<ProjectLine>,
    members: Vec<Who>,
    effects: Vec<Effect>,
}

/// `/{organization}`
pub async fn organization(visitor: Visitor) -> Response {
    let world = visitor.organisation.lock();
    let projects = world.projects.values().filter(|project| project.members.contains(&visitor.person));
    let mut projects: Vec<ProjectLine> = projects
        .map(|project| {
            let open = |item: &&super::super::state::WorkItem| {
                item.project == project.id && item.deleted.is_none() && item.state() != "Done"
            };
            ProjectLine {
                place: Place::of(&world, project),
                description: project.description.clone(),
                open_items: world.work_items.values().filter(open).count(),
                active_pulls: lines(&world, &visitor, project, None, Some(PullRequestStatus::Active)).len(),
            }
        })
        .collect();
    projects.sort_by(|one, other| one.place.project.cmp(&other.place.project));
    let mut members: Vec<Who> =
        world.people.values().map(Who::from).filter(|who| !who.role.is_empty()).collect();
    members.sort_by_key(|who| (who.agent, who.short.clone()));
    let page = visitor.page(&world, world.organization.clone());
    show(&OrganizationPage { page, projects, members, effects: effects(&world) })
}

fn effects(world: &World) -> Vec<Effect> {
    let now = world.now();
    let entries = world.ledger.iter().rev().filter(|entry| world.person(entry.who).is_some()).take(NEWEST);
    entries
        .map(|entry| {
            let (noun, verb) = entry.kind.split_once('.').unwrap_or((&entry.kind, ""));
            let (thing, url) = match named(world, &entry.target) {
                Some((thing, url)) if entry.target.starts_with(noun) => (thing, url),
                Some((thing, url)) => (format!("{noun} on {thing}"), url),
                None if noun == "subscription" => ("service hook".to_owned(), None),
                None => (format!("{noun} {}", entry.target), None),
            };
            Effect {
                who: Who::of(world, entry.who),
                thing: thing.replace('_', " "),
                url,
                verb: verb.replace('_', " "),
                when: ago(now, entry.at),
                instant: instant(entry.at),
            }
        })
        .collect()
}

/// The name and page of a work item or pull request that a ledger entry is about.
fn named(world: &World, target: &str) -> Option<(String, Option<String>)> {
    let (noun, rest) = target.split_once('/')?;
    let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
    let id: u32 = digits.parse().ok()?;
    let (project, page) = match noun {
        "work_item" => (world.work_items.get(&id)?.project, format!("/_workitems/edit/{id}")),
        "pull_request" => {
            let repository = world.repositories.get(&world.pull_requests.get(&id)?.repository)?;
            (repository.project, format!("/_git/{}/pullrequest/{id}", segment(&repository.name)))
        }
        _ => return None,
    };
    let path = Place::of(world, world.projects.get(&project)?).path;
    Some((format!("{noun} {id}"), Some(format!("{path}{page}"))))
}

#[derive(Template)]
#[template(path = "simulator/project.html")]
struct ProjectPage {
    page: Page,
    place: Place,
    description: String,
    pulls: Vec<PullLine>,
    items: Vec<ItemLine>,
    repositories: Vec<(String, String)>,
}

/// `/{organization}/{project}`
pub async fn project(visitor: Visitor, Path((_, name)): Path<(String, String)>) -> Result<Response, Fault> {
    let world = visitor.organisation.lock();
    let project = world.visible_project(visitor.reader(), &name)?;
    let page = visitor.page_in(&world, project, "overview", project.name.clone());
    let place = Place::of(&world, project);
    let mut items: Vec<ItemLine> = world
        .work_items
        .values()
        .filter(|item| item.project == project.id && item.deleted.is_none() && item.state() != "Done")
        .map(|item| item_line(&world, item))
        .collect();
    items.sort_by_key(|item| std::cmp::Reverse(item.changed));
    items.truncate(OVERVIEW);
    let mut pulls = lines(&world, &visitor, project, None, Some(PullRequestStatus::Active));
    pulls.truncate(OVERVIEW);
    let repositories = world.repositories.values().filter(|repository| repository.project == project.id);
    let repositories = repositories.map(|found| (found.name.clone(), place.code(found))).collect();
    let description = project.description.clone();
    Ok(show(&ProjectPage { page, place, description, pulls, items, repositories }))
}

/// The choice of a person.
#[derive(Deserialize)]
pub struct Choice {
    person: String,
    back: String,
}

/// `POST /{organization}/_person`
pub async fn choose_person(
    State(organisation): State<Organisation>,
    Form(choice): Form<Choice>,
) -> Result<Response, Fault> {
    let known = people(&organisation.lock()).any(|person| person.name == choice.person);
    if !known {
        return Err(Fault::unusable(&format!("Nobody here is called “{}”.", choice.person)));
    }
    // Only a path of this host: two slashes would lead elsewhere.
    let back =
        if choice.back.starts_with('/') && !choice.back.starts_with("//") { &choice.back } else { "/" };
    let cookie = format!("{COOKIE}={}; Path=/; SameSite=Lax; HttpOnly", choice.person);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(back)).into_response())
}
