//! Builds: the list, and one with its steps and logs.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::super::state::build::{Build, BuildReason, BuildResult, BuildStatus, StepResult};
use super::super::state::{Project, World};
use super::code::{Code, branch_name};
use super::page::{Fault, Page, Place, Visitor, Who, show as render};
use super::text::{ago, instant, short};

/// Builds of the list.
const MAX_BUILDS: usize = 100;

/// A build in a list.
pub struct BuildLine {
    id: u32,
    url: String,
    definition: String,
    number: String,
    status: (&'static str, &'static str),
    reason: String,
    branch: String,
    by: Who,
    when: String,
    instant: String,
}

/// The page of a build.
pub fn build_url(place: &Place, id: u32) -> String {
    format!("{}/_build/results?buildId={id}", place.path)
}

fn status(build: &Build) -> (&'static str, &'static str) {
    match (build.status, build.result) {
        (BuildStatus::Completed, Some(BuildResult::Succeeded)) => ("Succeeded", "done"),
        (BuildStatus::Completed, Some(BuildResult::Canceled)) => ("Canceled", "todo"),
        (BuildStatus::Completed, _) => ("Failed", "bad"),
        (BuildStatus::InProgress | BuildStatus::Cancelling, _) => ("Running", "doing"),
        _ => ("Queued", "todo"),
    }
}

fn line(world: &World, place: &Place, build: &Build) -> BuildLine {
    let pull = build.pull_request.as_ref().map(|(id, _)| id);
    BuildLine {
        id: build.id,
        url: build_url(place, build.id),
        definition: world
            .definitions
            .get(&build.definition)
            .map_or_else(String::new, |found| found.name.clone()),
        number: build.number.clone(),
        status: status(build),
        reason: match (build.reason, pull) {
            (_, Some(id)) => format!("for pull request {id}"),
            (BuildReason::IndividualCi, _) => "after a push".to_owned(),
            _ => "by hand".to_owned(),
        },
        branch: branch_name(&build.branch).to_owned(),
        by: Who::of(world, build.requested_by),
        when: ago(world.now(), build.queued),
        instant: instant(build.queued),
    }
}

fn is_in(world: &World, project: &Project, build: &Build) -> bool {
    world.definitions.get(&build.definition).is_some_and(|found| found.project == project.id)
}

#[derive(Template)]
#[template(path = "simulator/builds.html")]
struct BuildsPage {
    page: Page,
    builds: Vec<BuildLine>,
    definitions: Vec<(u32, String)>,
}

/// `/{organization}/{project}/_build`
pub async fn list(visitor: Visitor, Path((_, name)): Path<(String, String)>) -> Result<Response, Fault> {
    let world = visitor.organisation.lock();
    let project = world.visible_project(visitor.reader(), &name)?;
    let place = Place::of(&world, project);
    let builds = world.builds.values().rev().filter(|build| is_in(&world, project, build)).take(MAX_BUILDS);
    let definitions = world.definitions.values().filter(|found| found.project == project.id);
    Ok(render(&BuildsPage {
        page: visitor.page_in(&world, project, "builds", "Builds"),
        builds: builds.map(|build| line(&world, &place, build)).collect(),
        definitions: definitions.map(|found| (found.id, found.name.clone())).collect(),
    }))
}

struct StepView {
    name: String,
    status: (&'static str, &'static str),
    problems: Vec<(String, Option<String>)>,
    log: String,
}

#[derive(Template)]
#[template(path = "simulator/build.html")]
struct BuildPage {
    page: Page,
    place: Place,
    build: BuildLine,
    commit: Option<(String, String)>,
    pull: Option<(u32, String)>,
    steps: Vec<StepView>,
}

/// Which build.
#[derive(Deserialize)]
pub struct Chosen {
    #[serde(rename = "buildId")]
    build: u32,
}

/// `/{organization}/{project}/_build/results?buildId=`
pub async fn show(
    visitor: Visitor,
    Path((_, name)): Path<(String, String)>,
    Query(chosen): Query<Chosen>,
) -> Result<Response, Fault> {
    let world = visitor.organisation.lock();
    let project = world.visible_project(visitor.reader(), &name)?;
    let build = world.build(project.id, chosen.build)?;
    let place = Place::of(&world, project);
    let repository =
        world.definitions.get(&build.definition).and_then(|found| world.repositories.get(&found.repository));
    let code = repository.map(|repository| Code::of(&world, &place, repository));
    let at = |path: &str| Some(code.as_ref()?.at(&format!("/{path}"), &format!("GC{}", build.commit)));
    let steps = build.steps.iter().map(|step| StepView {
        name: step.name.clone(),
        status: match (step.result, step.started) {
            (Some(StepResult::Succeeded), _) => ("Succeeded", "done"),
            (Some(StepResult::Failed), _) => ("Failed", "bad"),
            (Some(_), _) => ("Skipped", "todo"),
            (None, Some(_)) => ("Running", "doing"),
            (None, None) => ("Waiting", "todo"),
        },
        problems: step
            .findings
            .iter()
            .flat_map(|finding| &finding.problems)
            .map(|problem| {
                (format!("{}:{}: {}", problem.path, problem.line, problem.message), at(&problem.path))
            })
            .collect(),
        log: step.log.join("\n"),
    });
    let line = line(&world, &place, build);
    let mut page = visitor.page_in(&world, project, "builds", format!("{} {}", line.definition, line.number));
    page.refresh = !build.is_done();
    let pull = build
        .pull_request
        .as_ref()
        .and_then(|(id, _)| Some((*id, format!("{}/pullrequest/{id}", code.as_ref()?.path))));
    let commit =
        code.as_ref().map(|code| (short(&build.commit), format!("{}/commit/{}", code.path, build.commit)));
    Ok(render(&BuildPage { page, build: line, commit, pull, steps: steps.collect(), place }))
}

/// What is to be built.
#[derive(Deserialize)]
pub struct Wish {
    definition: u32,
    #[serde(default)]
    branch: String,
}

/// `POST /{organization}/{project}/_build`
pub async fn queue(
    visitor: Visitor,
    Path((_, name)): Path<(String, String)>,
    Form(wish): Form<Wish>,
) -> Result<Response, Fault> {
    let mut world = visitor.organisation.lock();
    let actor = visitor.actor(&mut world);
    let project = world.visible_project(actor, &name)?;
    let (place, id) = (Place::of(&world, project), project.id);
    let branch = (!wish.branch.is_empty()).then(|| format!("refs/heads/{}", branch_name(&wish.branch)));
    let build = world.queue_build(actor, id, wish.definition, branch.as_deref(), None, None)?;
    Ok(Redirect::to(&build_url(&place, build)).into_response())
}
