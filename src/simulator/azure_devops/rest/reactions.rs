//! Reactions to the comments of a work item.

use serde_json::{Value, json};

use super::{Call, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::work_items::Reaction;
use crate::simulator::azure_devops::state::{Outcome, WorkItem, WorkItemComment, World};

fn found<'w>(call: &Call<'_>, world: &'w World) -> Outcome<(&'w WorkItem, &'w WorkItemComment)> {
    let item = world.visible_work_item(call.actor, call.number("workItemId")?)?;
    let id = call.number("commentId")?;
    let comment = item.comments.iter().find(|c| c.id == id && !c.deleted).ok_or_else(|| {
        Refusal::new(404, "WorkItemCommentNotFoundException", format!("The comment {id} was not found."))
    })?;
    Ok((item, comment))
}

fn render(call: &Call<'_>, world: &World, kind: &str) -> Outcome<Value> {
    let (item, comment) = found(call, world)?;
    let kind = Reaction::from_text(kind).map_or("", Reaction::name);
    let who = comment.reactions.get(kind);
    let url = format!("{}/comments/{}/reactions/{kind}", call.view(world).work_item_url(item), comment.id);
    Ok(json!({
        "type": kind, "commentId": comment.id, "count": who.map_or(0, |w| w.len()),
        "isCurrentUserEngaged": who.is_some_and(|w| w.contains(&call.actor.id)), "url": url,
    }))
}

/// `GET reactions`.
pub fn list(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let (_, comment) = found(call, &world)?;
    let kinds = comment.reactions.iter().filter(|(_, who)| !who.is_empty());
    Ok(Reply::list(kinds.map(|(kind, _)| render(call, &world, kind)).collect::<Outcome<Vec<_>>>()?))
}

fn set(call: &Call<'_>, on: bool) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    // The official Node client leaves the zero out of the address: "like" is number 0.
    let kind = call.optional("reactionType").unwrap_or("like");
    world.react(call.actor, call.number("workItemId")?, call.number("commentId")?, kind, on)?;
    Ok(Reply::ok(render(call, &world, kind)?))
}

/// `PUT reactions/{kind}`.
pub fn add(call: &Call<'_>) -> Outcome<Reply> {
    set(call, true)
}

/// `DELETE reactions/{kind}`.
pub fn remove(call: &Call<'_>) -> Outcome<Reply> {
    set(call, false)
}
