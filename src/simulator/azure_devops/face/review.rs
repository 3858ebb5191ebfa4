//! What a person does with a pull request: comment, answer, vote, complete, abandon.

use axum::Form;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::super::state::pull_requests::PullRequestChange;
use super::super::state::threads::{NewComment, NewThread};
use super::super::state::{
    Actor, Completion, Position, PullRequestStatus, ThreadContext, ThreadStatus, World,
};
use super::page::{Fault, Place, Visitor};

type Address = Path<(String, String, String, u32)>;

/// Finds the pull request and gives its page's address.
fn page(world: &World, actor: Actor, project: &str, repository: &str, id: u32) -> Result<String, Fault> {
    let found = world.visible_repository(actor, Some(project), repository)?;
    let place = Place::of(world, world.visible_project(actor, project)?);
    if world.visible_pull_request(actor, id)?.repository != found.id {
        return Err(Fault::missing(&format!("Pull request {id} belongs to another repository.")));
    }
    Ok(format!("{}/pullrequest/{id}", place.code(found)))
}

/// A new comment, on a line or on the whole.
#[derive(Deserialize)]
pub struct Opening {
    text: String,
    #[serde(default)]
    file: String,
    #[serde(default)]
    line: u32,
    #[serde(default)]
    side: String,
}

/// `POST …/pullrequest/{id}/threads`
pub async fn open_thread(
    visitor: Visitor,
    Path((_, project, repository, id)): Address,
    Form(opening): Form<Opening>,
) -> Result<Response, Fault> {
    let mut world = visitor.organisation.lock();
    let actor = visitor.actor(&mut world);
    let page = page(&world, actor, &project, &repository, id)?;
    let context = (!opening.file.is_empty()).then(|| {
        let (start, end) =
            (Position { line: opening.line, offset: 1 }, Position { line: opening.line, offset: 2 });
        let left = opening.side == "left";
        ThreadContext {
            file_path: opening.file.clone(),
            left_file_start: left.then_some(start),
            left_file_end: left.then_some(end),
            right_file_start: (!left).then_some(start),
            right_file_end: (!left).then_some(end),
        }
    });
    let comment = NewComment { content: opening.text.replace("\r\n", "\n"), ..NewComment::default() };
    let new = NewThread { comments: vec![comment], context, ..NewThread::default() };
    let thread = world.create_thread(actor, id, new)?;
    Ok(Redirect::to(&format!("{page}?told={thread}#thread-{thread}")).into_response())
}

/// An answer to a thread, its new state, or both.
#[derive(Deserialize)]
pub struct Answer {
    #[serde(default)]
    text: String,
    #[serde(default)]
    status: String,
}

/// `POST …/pullrequest/{id}/threads/{thread}`
pub async fn answer_thread(
    visitor: Visitor,
    Path((_, project, repository, id, thread)): Path<(String, String, String, u32, u32)>,
    Form(answer): Form<Answer>,
) -> Result<Response, Fault> {
    let mut world = visitor.organisation.lock();
    let actor = visitor.actor(&mut world);
    let page = page(&world, actor, &project, &repository, id)?;
    let status = ThreadStatus::from_text(&answer.status);
    let text = answer.text.trim();
    if text.is_empty() && status.is_none() {
        return Err(Fault::unusable("Please write an answer or choose a state."));
    }
    if !text.is_empty() {
        let comment = NewComment { content: text.replace("\r\n", "\n"), parent: 1, kind: None };
        world.add_comment(actor, id, thread, &comment)?;
    }
    let found = world.visible_pull_request(actor, id)?.threads.iter().find(|found| found.id == thread);
    let before = found.and_then(|found| found.status);
    if let Some(status) = status.filter(|status| before != Some(*status)) {
        world.set_thread_status(actor, id, thread, status)?;
    }
    let told = if text.is_empty() { String::new() } else { format!("?told={thread}") };
    Ok(Redirect::to(&format!("{page}{told}#thread-{thread}")).into_response())
}

/// A vote.
#[derive(Deserialize)]
pub struct Ballot {
    vote: i32,
}

/// `POST …/pullrequest/{id}/vote`
pub async fn vote(
    visitor: Visitor,
    Path((_, project, repository, id)): Address,
    Form(ballot): Form<Ballot>,
) -> Result<Response, Fault> {
    let mut world = visitor.organisation.lock();
    let actor = visitor.actor(&mut world);
    let page = page(&world, actor, &project, &repository, id)?;
    world.set_reviewer(actor, id, actor.id, Some(ballot.vote), None)?;
    Ok(Redirect::to(&page).into_response())
}

/// What becomes of a pull request.
#[derive(Deserialize)]
pub struct Fate {
    state: String,
}

/// `POST …/pullrequest/{id}/state`
pub async fn change_state(
    visitor: Visitor,
    Path((_, project, repository, id)): Address,
    Form(fate): Form<Fate>,
) -> Result<Response, Fault> {
    let mut world = visitor.organisation.lock();
    let actor = visitor.actor(&mut world);
    let page = page(&world, actor, &project, &repository, id)?;
    let source = world.visible_pull_request(actor, id)?.source_commit.clone();
    let mut change = PullRequestChange::default();
    match fate.state.as_str() {
        "complete" => {
            change.status = Some(PullRequestStatus::Completed);
            change.source_commit = Some(source);
            change.completion = Some(Completion {
                delete_source: true,
                transition_work_items: true,
                ..Completion::default()
            });
        }
        "abandon" => change.status = Some(PullRequestStatus::Abandoned),
        "reactivate" => change.status = Some(PullRequestStatus::Active),
        "publish" => change.is_draft = Some(false),
        "draft" => change.is_draft = Some(true),
        other => return Err(Fault::unusable(&format!("A pull request cannot be put into “{other}”."))),
    }
    world.update_pull_request(actor, id, change)?;
    Ok(Redirect::to(&page).into_response())
}
