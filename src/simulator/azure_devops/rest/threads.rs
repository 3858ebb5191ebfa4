//! Threads and comments.

use super::pull_request_input::{comment, thread as read_thread, thread_status};
use super::pull_requests::found;
use super::{Call, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::{Comment, Outcome, PullRequest, Thread, World};

fn thread<'w>(call: &Call<'_>, world: &'w World) -> Outcome<(&'w PullRequest, &'w Thread)> {
    let pull_request = found(call, world)?;
    let id = call.number("threadId")?;
    let thread = pull_request.threads.iter().find(|t| t.id == id).ok_or_else(|| Refusal::thread(id))?;
    Ok((pull_request, thread))
}

fn one<'t>(call: &Call<'_>, thread: &'t Thread) -> Outcome<&'t Comment> {
    let id = call.number("commentId")?;
    let missing =
        || Refusal::new(404, "CommentNotFoundException", format!("The comment {id} was not found."));
    thread.comments.iter().find(|c| c.id == id).ok_or_else(missing)
}

/// `GET threads` and one of them.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let view = call.view(&world);
    if call.optional("threadId").is_some() {
        let (pull_request, thread) = thread(call, &world)?;
        return Ok(Reply::ok(view.thread(pull_request, thread)));
    }
    let pull_request = found(call, &world)?;
    Ok(Reply::list(pull_request.threads.iter().map(|t| view.thread(pull_request, t)).collect()))
}

/// `POST threads`.
pub fn create(call: &Call<'_>) -> Outcome<Reply> {
    let new = read_thread(&call.json()?)?;
    let mut world = call.organisation.lock();
    let id = found(call, &world)?.id;
    let made = world.create_thread(call.actor, id, new)?;
    let pull_request = found(call, &world)?;
    let thread = pull_request.threads.iter().find(|t| t.id == made);
    Ok(Reply::ok(thread.map(|t| call.view(&world).thread(pull_request, t)).unwrap_or_default()))
}

/// `PATCH threads/{id}`: the state.
pub fn update(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let (id, thread_id) = thread(call, &world).map(|(p, t)| (p.id, t.id))?;
    if let Some(status) = thread_status(&body["status"])? {
        world.set_thread_status(call.actor, id, thread_id, status)?;
    }
    let (pull_request, thread) = thread(call, &world)?;
    Ok(Reply::ok(call.view(&world).thread(pull_request, thread)))
}

/// `GET comments` and one of them.
pub fn comments(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let (pull_request, thread) = thread(call, &world)?;
    let view = call.view(&world);
    if call.optional("commentId").is_some() {
        return Ok(Reply::ok(view.comment(pull_request, thread, one(call, thread)?)));
    }
    Ok(Reply::list(thread.comments.iter().map(|c| view.comment(pull_request, thread, c)).collect()))
}

/// `POST comments`.
pub fn reply(call: &Call<'_>) -> Outcome<Reply> {
    let new = comment(&call.json()?);
    let mut world = call.organisation.lock();
    let (id, thread_id) = thread(call, &world).map(|(p, t)| (p.id, t.id))?;
    let number = world.add_comment(call.actor, id, thread_id, &new)?;
    let (pull_request, thread) = thread(call, &world)?;
    let made = thread.comments.iter().find(|c| c.id == number);
    Ok(Reply::ok(made.map(|c| call.view(&world).comment(pull_request, thread, c)).unwrap_or_default()))
}

/// `PATCH comments/{id}`.
pub fn edit(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let (id, thread_id) = thread(call, &world).map(|(p, t)| (p.id, t.id))?;
    let number = call.number("commentId")?;
    world.edit_comment(call.actor, id, thread_id, number, body["content"].as_str().unwrap_or_default())?;
    let (pull_request, thread) = thread(call, &world)?;
    Ok(Reply::ok(call.view(&world).comment(pull_request, thread, one(call, thread)?)))
}

/// `DELETE comments/{id}`.
pub fn delete(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let (id, thread_id) = thread(call, &world).map(|(p, t)| (p.id, t.id))?;
    world.delete_comment(call.actor, id, thread_id, call.number("commentId")?)?;
    Ok(Reply::empty(200))
}

/// `GET likes`.
pub fn likes(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let (_, thread) = thread(call, &world)?;
    let view = call.view(&world);
    Ok(Reply::list(one(call, thread)?.liked.iter().map(|id| view.identity(*id)).collect()))
}

/// `POST likes`.
pub fn like(call: &Call<'_>) -> Outcome<Reply> {
    set_like(call, true)
}

/// `DELETE likes`.
pub fn unlike(call: &Call<'_>) -> Outcome<Reply> {
    set_like(call, false)
}

fn set_like(call: &Call<'_>, on: bool) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let (id, thread_id) = thread(call, &world).map(|(p, t)| (p.id, t.id))?;
    world.like_comment(call.actor, id, thread_id, call.number("commentId")?, on)?;
    Ok(Reply::empty(200))
}
