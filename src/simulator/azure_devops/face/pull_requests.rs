//! The list of pull requests.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use serde::Deserialize;

use super::super::state::{Project, PullRequest, PullRequestStatus, Reviewer, Thread, ThreadStatus, World};
use super::code::{Code, branch_name};
use super::page::{Fault, Page, Place, Visitor, Who, show};
use super::text::ago;

/// A pull request in a list.
pub struct PullLine {
    /// Number.
    pub id: u32,
    /// Title.
    pub title: String,
    /// Its page.
    pub url: String,
    /// State in words, and its colour class.
    pub status: (&'static str, &'static str),
    /// Draft.
    pub draft: bool,
    /// Author.
    pub by: Who,
    /// Branches.
    pub branches: (String, String),
    /// When it was opened.
    pub when: String,
    /// Reviewers and votes.
    pub votes: Vec<Vote>,
    /// Threads that wait for somebody.
    pub open_threads: usize,
}

/// A reviewer's vote.
pub struct Vote {
    /// Reviewer.
    pub who: Who,
    /// In words.
    pub words: &'static str,
    /// Its colour class.
    pub tone: &'static str,
    /// Must approve.
    pub required: bool,
}

fn vote(world: &World, reviewer: &Reviewer) -> Vote {
    let (words, tone) = match reviewer.vote {
        10 => ("approved", "done"),
        5 => ("approved with suggestions", "done"),
        -5 => ("waits for the author", "doing"),
        -10 => ("rejected", "bad"),
        _ if reviewer.declined => ("declined", "todo"),
        _ => ("no vote yet", "todo"),
    };
    Vote { who: Who::of(world, reviewer.id), words, tone, required: reviewer.required }
}

fn status(pull: &PullRequest) -> (&'static str, &'static str) {
    match pull.status {
        PullRequestStatus::Completed => ("Completed", "done"),
        PullRequestStatus::Abandoned => ("Abandoned", "todo"),
        _ => ("Active", "doing"),
    }
}

/// Whether a thread waits for somebody.
pub fn is_open(thread: &Thread) -> bool {
    matches!(thread.status, Some(ThreadStatus::Active | ThreadStatus::Pending)) && !thread.deleted
}

/// Pull requests of a project (or one repository of it) that the visitor may read, newest first.
pub fn lines(
    world: &World,
    visitor: &Visitor,
    project: &Project,
    repository: Option<uuid::Uuid>,
    wanted: Option<PullRequestStatus>,
) -> Vec<PullLine> {
    let place = Place::of(world, project);
    let mut lines = Vec::new();
    for pull in world.pull_requests.values().rev() {
        let Some(home) = world.repositories.get(&pull.repository) else { continue };
        let here = home.project == project.id && repository.is_none_or(|id| id == home.id);
        let state = wanted.is_none_or(|wanted| wanted == pull.status);
        if !here || !state || world.visible_pull_request(visitor.reader(), pull.id).is_err() {
            continue;
        }
        lines.push(PullLine {
            id: pull.id,
            title: pull.title.clone(),
            url: format!("{}/pullrequest/{}", place.code(home), pull.id),
            status: status(pull),
            draft: pull.is_draft,
            by: Who::of(world, pull.created_by),
            branches: (source_of(world, pull), branch_name(&pull.target_ref).to_owned()),
            when: ago(world.now(), pull.created),
            votes: pull.reviewers.iter().map(|reviewer| vote(world, reviewer)).collect(),
            open_threads: pull.threads.iter().filter(|thread| is_open(thread)).count(),
        });
    }
    lines
}

/// The source branch; that of a fork with the fork's name.
fn source_of(world: &World, pull: &PullRequest) -> String {
    let branch = branch_name(&pull.source_ref);
    let fork = world.repositories.get(&pull.source_repository).filter(|own| own.id != pull.repository);
    fork.map_or(branch.to_owned(), |fork| format!("{}:{branch}", fork.name))
}

#[derive(Template)]
#[template(path = "simulator/pull_requests.html")]
struct ListPage {
    page: Page,
    code: Code,
    pulls: Vec<PullLine>,
    shown: &'static str,
}

/// What the list shows.
#[derive(Default, Deserialize)]
pub struct Filter {
    #[serde(default, rename = "_a")]
    shown: String,
}

/// `/{organization}/{project}/_git/{repository}/pullrequests`
pub async fn list(
    visitor: Visitor,
    Path((_, project, name)): Path<(String, String, String)>,
    Query(filter): Query<Filter>,
) -> Result<Response, Fault> {
    let world = visitor.organisation.lock();
    let repository = world.visible_repository(visitor.reader(), Some(&project), &name)?;
    let project = world.visible_project(visitor.reader(), &project)?;
    let (shown, wanted) = match filter.shown.as_str() {
        "completed" => ("completed", PullRequestStatus::Completed),
        "abandoned" => ("abandoned", PullRequestStatus::Abandoned),
        _ => ("active", PullRequestStatus::Active),
    };
    let pulls = lines(&world, &visitor, project, Some(repository.id), Some(wanted));
    let code = Code::of(&world, &Place::of(&world, project), repository);
    Ok(show(&ListPage {
        page: visitor.page_in(&world, project, "pulls", "Pull requests"),
        code,
        pulls,
        shown,
    }))
}
