//! Annotated tags, and the commits of one push.

use serde_json::json;

use super::{Call, PAGE, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::{Outcome, RefUpdate, World, ZERO_SHA};

/// `GET annotatedtags/{objectId}`.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    shown(call, &world, call.text("objectId"))
}

fn shown(call: &Call<'_>, world: &World, sha: &str) -> Outcome<Reply> {
    let repository = call.repository(world)?;
    let tag = world.store(repository.id)?.read_tag(sha);
    let tag = tag.ok_or_else(|| Refusal::object(sha, &repository.name))?;
    let view = call.view(world);
    Ok(Reply::ok(json!({
        "objectId": sha, "name": tag.name, "message": tag.message.trim_end(),
        "taggedBy": tag.by.as_ref().map(|by| view.user_date(by)),
        "taggedObject": {"objectId": tag.target, "objectType": "commit"},
        "url": format!("{}/annotatedTags/{sha}", view.repository_url(repository)),
    })))
}

/// `POST annotatedtags`.
pub fn create(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let text = |value: &serde_json::Value, name: &str| {
        value.as_str().filter(|v| !v.is_empty()).map(str::to_owned).ok_or_else(|| Refusal::invalid(name))
    };
    let name = text(&body["name"], "name")?;
    let name = name.strip_prefix("refs/tags/").unwrap_or(&name).to_owned();
    let target = text(&body["taggedObject"]["objectId"], "taggedObject.objectId")?;
    let message = text(&body["message"], "message")?;
    let mut world = call.organisation.lock();
    let repository = call.repository(&world)?.id;
    let mut update =
        RefUpdate { name: format!("refs/tags/{name}"), old: ZERO_SHA.into(), new: String::new() };
    world.check_reference(call.actor, repository, &update)?;
    let by = world.signature(call.actor.id);
    let sha = world.store(repository)?.write_tag(&name, &target, &message, &by)?;
    update.new.clone_from(&sha);
    let results = world.update_references(call.actor, repository, vec![update])?;
    if let Some(text) = results.into_iter().find_map(|r| r.message) {
        return Err(Refusal::new(409, "GitReferenceStaleException", text));
    }
    shown(call, &world, &sha)
}

/// `GET pushes/{id}/commits`.
pub fn of_push(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let repository = call.repository(&world)?;
    let id = call.number("pushId")?;
    let push = world.pushes.iter().find(|p| p.id == id && p.repository == repository.id);
    let missing =
        || Refusal::new(404, "GitPushNotFoundException", format!("TF401175: The push {id} was not found."));
    let store = world.store(repository.id)?;
    let commits = push.ok_or_else(missing)?.commits.iter().filter_map(|sha| store.commit(sha).ok());
    let page = call.page(commits.collect(), PAGE)?;
    Ok(Reply::list(page.iter().map(|c| call.view(&world).commit(repository, c)).collect()))
}

/// `GET recyclebin/repositories` and `GET deletedrepositories`: a deleted repository is gone here.
pub fn no_repositories(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    call.project(&world)?;
    Ok(Reply::list(Vec::new()))
}
