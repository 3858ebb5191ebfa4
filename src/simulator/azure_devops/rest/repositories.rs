//! Repositories, references, pushes, branch statistics.

use serde_json::{Value, json};

use super::change_input::commits as read_commits;
use super::{Call, PAGE, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::access::Permission;
use crate::simulator::azure_devops::state::{Outcome, RefUpdate, Repository, ZERO_SHA};

/// `GET repositories` and one of them.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let view = call.view(&world);
    if call.optional("repositoryId").is_some() {
        return Ok(Reply::ok(view.whole_repository(call.repository(&world)?)));
    }
    let project = call.optional_project(&world)?.map(|p| p.id);
    let visible = |r: &&Repository| {
        project.is_none_or(|p| p == r.project)
            && world.may(call.actor.id, r.project, Some(r.id), Permission::GenericRead)
    };
    Ok(Reply::list(world.repositories.values().filter(visible).map(|r| view.repository(r)).collect()))
}

/// `POST repositories`, also as a fork.
pub fn create(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let project = match body["project"]["id"].as_str().or(body["project"]["name"].as_str()) {
        Some(text) => world.visible_project(call.actor, text)?.id,
        None => call.project(&world)?.id,
    };
    let parent = match body["parentRepository"]["id"].as_str() {
        Some(id) => Some(world.visible_repository(call.actor, None, id)?.id),
        None => None,
    };
    let id =
        world.create_repository(call.actor, project, body["name"].as_str().unwrap_or_default(), parent)?;
    let made = world.repositories.get(&id).map(|r| call.view(&world).repository(r));
    Ok(Reply::json(201, &made.unwrap_or_default()))
}

/// `PATCH repositories/{id}`: name and default branch.
pub fn update(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let id = call.repository(&world)?.id;
    world.update_repository(call.actor, id, body["name"].as_str(), body["defaultBranch"].as_str())?;
    let now = world.repositories.get(&id).map(|r| call.view(&world).repository(r));
    Ok(Reply::ok(now.unwrap_or_default()))
}

/// `DELETE repositories/{id}`.
pub fn delete(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let id = call.repository(&world)?.id;
    world.delete_repository(call.actor, id)?;
    Ok(Reply::empty(204))
}

/// `GET repositories/{id}/forks/{collection}`.
pub fn forks(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let id = call.repository(&world)?.id;
    let forks = world.repositories.values().filter(|r| r.parent == Some(id));
    Ok(Reply::list(forks.map(|r| call.view(&world).fork_ref(r)).collect()))
}

/// `GET refs`.
pub fn refs(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let repository = call.repository(&world)?;
    let filter = call.optional("filter").or(call.query.get("filter")).unwrap_or_default();
    let contains = call.query.get("filterContains").unwrap_or_default();
    let prefix = format!("refs/{}", filter.trim_start_matches('/'));
    let peel = call.query.flag("peelTags");
    let store = world.store(repository.id)?;
    let wanted = |name: &str| name.starts_with(&prefix) && name.contains(contains);
    let found: Vec<_> = repository.refs.iter().filter(|(name, _)| wanted(name)).collect();
    call.continued(found, super::PAGE_MAX, |(name, reference)| {
        let mut value = call.view(&world).reference(repository, name, reference);
        if peel
            && name.starts_with("refs/tags/")
            && let Some(commit) = store.peel(&reference.sha).filter(|c| *c != reference.sha)
        {
            value["peeledObjectId"] = json!(commit);
        }
        value
    })
}

/// `POST refs`: create, move, delete, each on its own.
pub fn update_refs(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let list = body.as_array().filter(|l| !l.is_empty() && l.len() <= PAGE_MAX_UPDATES);
    let list = list.ok_or_else(|| Refusal::body_unreadable("a list of reference updates is needed"))?;
    let text = |entry: &Value, key: &str| {
        entry[key].as_str().map(str::to_owned).ok_or_else(|| Refusal::invalid(key))
    };
    let mut updates = Vec::new();
    for entry in list {
        let (old, new) = (text(entry, "oldObjectId")?, text(entry, "newObjectId")?);
        updates.push(RefUpdate {
            name: text(entry, "name")?,
            old: old.to_ascii_lowercase(),
            new: new.to_ascii_lowercase(),
        });
    }
    let mut world = call.organisation.lock();
    let repository = call.repository(&world)?.id;
    let results = world.update_references(call.actor, repository, updates)?;
    let render = |r: &crate::simulator::azure_devops::state::repositories::RefResult| {
        let mut value = json!({
            "repositoryId": repository, "name": r.update.name, "oldObjectId": r.update.old, "newObjectId": r.update.new,
            "isLocked": false, "updateStatus": r.status, "success": r.message.is_none(),
        });
        if let Some(message) = &r.message {
            value["customMessage"] = json!(message);
        }
        value
    };
    let value: Vec<Value> = results.iter().map(render).collect();
    Ok(Reply::ok(json!({"value": value, "count": value.len()})))
}

/// Reference updates in one request.
const PAGE_MAX_UPDATES: usize = 1_000;

/// `PATCH refs?filter=`: lock and unlock.
pub fn lock_ref(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let filter = call.optional("filter").or(call.query.get("filter")).unwrap_or_default();
    let name = format!("refs/{}", filter.trim_start_matches("refs/"));
    let locked =
        body["isLocked"].as_bool().ok_or_else(|| Refusal::invalid("isLocked (true or false is needed)"))?;
    let mut world = call.organisation.lock();
    let id = call.repository(&world)?.id;
    world.lock_branch(call.actor, id, &name, locked)?;
    let repository = call.repository(&world)?;
    let reference = repository.refs.get(&name).map(|r| call.view(&world).reference(repository, &name, r));
    Ok(Reply::ok(reference.unwrap_or_default()))
}

/// `POST pushes`.
pub fn push(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let updates = body["refUpdates"].as_array().filter(|l| l.len() == 1);
    let update =
        &updates.ok_or_else(|| Refusal::invalid("refUpdates (exactly one reference update is needed)"))?[0];
    let name = update["name"].as_str().ok_or_else(|| Refusal::invalid("refUpdates.name"))?;
    let old = update["oldObjectId"].as_str().unwrap_or(ZERO_SHA);
    let mut world = call.organisation.lock();
    let repository = call.repository(&world)?.id;
    let commits = read_commits(&body["commits"], world.now())?;
    let push = world.push(call.actor, repository, name, old, commits)?;
    Ok(Reply::json(201, &call.view(&world).push(&push, true)))
}

/// `GET pushes` and one of them.
pub fn pushes(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let repository = call.repository(&world)?.id;
    let view = call.view(&world);
    if call.optional("pushId").is_some() {
        let id = call.number("pushId")?;
        let push = world.pushes.iter().find(|p| p.id == id && p.repository == repository);
        let push = push.ok_or_else(|| {
            Refusal::new(404, "GitPushNotFoundException", format!("TF401175: The push {id} was not found."))
        })?;
        return Ok(Reply::ok(view.push(push, true)));
    }
    let branch = call.query.criterion("refName");
    let mine = world.pushes.iter().rev().filter(|p| p.repository == repository);
    let fits = mine.filter(|p| branch.is_none_or(|b| p.updates.iter().any(|u| u.name == b)));
    let page = call.page(fits.collect(), PAGE)?;
    Ok(Reply::list(page.into_iter().map(|p| view.push(p, false)).collect()))
}

/// `GET stats/branches`, all or one.
pub fn stats(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let repository = call.repository(&world)?;
    let store = world.store(repository.id)?;
    let base = call.query.get("baseVersionDescriptor.version").map(|v| format!("refs/heads/{v}"));
    let base = base.or_else(|| repository.default_branch.clone()).unwrap_or_default();
    let missing = |name: &str| Refusal::version(&format!("Branch: {name}"), &repository.name);
    let base_tip = &repository.refs.get(&base).ok_or_else(|| missing(&base))?.sha;
    let render = |name: &str| -> Outcome<Value> {
        let full = format!("refs/heads/{name}");
        let tip = &repository.refs.get(&full).ok_or_else(|| missing(name))?.sha;
        let (ahead, behind) = store.ahead_behind(tip, base_tip)?;
        let commit = call.view(&world).commit(repository, &store.commit(tip)?);
        Ok(
            json!({"commit": commit, "name": name, "aheadCount": ahead, "behindCount": behind, "isBaseVersion": full == base}),
        )
    };
    match call.optional("name").or(call.query.get("name")) {
        Some(name) => Ok(Reply::ok(render(name)?)),
        None => {
            let names = repository.refs.keys().filter_map(|n| n.strip_prefix("refs/heads/"));
            Ok(Reply::list(names.map(render).collect::<Outcome<Vec<_>>>()?))
        }
    }
}
