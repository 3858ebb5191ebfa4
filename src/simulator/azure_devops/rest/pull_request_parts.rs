//! What hangs on a pull request: reviewers, labels, iterations, commits, statuses, properties.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::pull_request_input::{flag, identity, status};
use super::pull_requests::{found, work_item_ref};
use super::{Call, PAGE, PAGE_MAX, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::patch;
use crate::simulator::azure_devops::state::threads::typed;
use crate::simulator::azure_devops::state::{Iteration, Outcome, PullRequest, World};

/// `GET reviewers` and one of them.
pub fn reviewers(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let pull_request = found(call, &world)?;
    let view = call.view(&world);
    if call.optional("reviewerId").is_some() {
        let id = call.guid("reviewerId")?;
        let entry = pull_request.reviewers.iter().find(|r| r.id == id);
        let missing = || {
            Refusal::new(
                404,
                "GitPullRequestReviewerNotFoundException",
                format!("The reviewer {id} was not found."),
            )
        };
        return Ok(Reply::ok(view.reviewer(pull_request, entry.ok_or_else(missing)?)));
    }
    Ok(Reply::list(pull_request.reviewers.iter().map(|r| view.reviewer(pull_request, r)).collect()))
}

fn shown(call: &Call<'_>, world: &World, id: u32, reviewer: Uuid) -> Value {
    let found = world.pull_requests.get(&id);
    let entry = found.and_then(|p| p.reviewers.iter().find(|r| r.id == reviewer).map(|r| (p, r)));
    entry.map(|(p, r)| call.view(world).reviewer(p, r)).unwrap_or_default()
}

fn vote(body: &Value) -> Option<i32> {
    body["vote"].as_i64().and_then(|v| i32::try_from(v).ok()).or_else(|| body["vote"].as_str()?.parse().ok())
}

/// `PUT reviewers/{id}`: add, vote, require.
pub fn set_reviewer(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let id = found(call, &world)?.id;
    let reviewer = identity(&world, &json!({"id": call.text("reviewerId")}))?;
    world.set_reviewer(call.actor, id, reviewer, vote(&body), flag(&body["isRequired"]))?;
    Ok(Reply::ok(shown(call, &world, id, reviewer)))
}

/// `POST reviewers`: add several.
pub fn add_reviewers(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let id = found(call, &world)?.id;
    let mut ids = Vec::new();
    for entry in body.as_array().into_iter().flatten() {
        let reviewer = identity(&world, entry)?;
        world.set_reviewer(call.actor, id, reviewer, None, flag(&entry["isRequired"]))?;
        ids.push(reviewer);
    }
    Ok(Reply::list(ids.into_iter().map(|r| shown(call, &world, id, r)).collect()))
}

/// `PATCH reviewers` sets votes back; `PATCH reviewers/{id}` changes flags.
pub fn patch_reviewer(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let id = found(call, &world)?.id;
    if call.optional("reviewerId").is_none() {
        for entry in body.as_array().into_iter().flatten() {
            let reviewer = identity(&world, entry)?;
            world.set_reviewer(call.actor, id, reviewer, Some(0), None)?;
        }
        return Ok(Reply::empty(200));
    }
    let reviewer = call.guid("reviewerId")?;
    world.set_reviewer(call.actor, id, reviewer, None, flag(&body["isRequired"]))?;
    Ok(Reply::ok(shown(call, &world, id, reviewer)))
}

/// `DELETE reviewers/{id}`.
pub fn remove_reviewer(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let id = found(call, &world)?.id;
    world.remove_reviewer(call.actor, id, call.guid("reviewerId")?)?;
    Ok(Reply::empty(200))
}

/// `GET labels`.
pub fn labels(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let pull_request = found(call, &world)?;
    let view = call.view(&world);
    if let Some(wanted) = call.optional("labelIdOrName") {
        let label = pull_request
            .labels
            .iter()
            .find(|l| l.name.eq_ignore_ascii_case(wanted) || l.id.to_string() == wanted);
        let missing =
            || Refusal::new(404, "LabelNotFoundException", format!("The label {wanted} was not found."));
        return Ok(Reply::ok(view.label(pull_request, label.ok_or_else(missing)?)));
    }
    Ok(Reply::list(pull_request.labels.iter().map(|l| view.label(pull_request, l)).collect()))
}

/// `POST labels`.
pub fn add_label(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let id = found(call, &world)?.id;
    let label = world.add_label(call.actor, id, body["name"].as_str().unwrap_or_default())?;
    Ok(Reply::ok(call.view(&world).label(found(call, &world)?, &label)))
}

/// `DELETE labels/{idOrName}`.
pub fn remove_label(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let id = found(call, &world)?.id;
    world.remove_label(call.actor, id, call.text("labelIdOrName"))?;
    Ok(Reply::empty(200))
}

/// `GET workitems`.
pub fn work_items(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let id = found(call, &world)?.id;
    Ok(Reply::list(world.work_items_of(id).into_iter().map(|w| work_item_ref(call, w)).collect()))
}

fn iteration<'p>(call: &Call<'_>, pull_request: &'p PullRequest) -> Outcome<&'p Iteration> {
    let wanted = call.number("iterationId")?;
    let missing = || {
        Refusal::new(
            404,
            "GitPullRequestIterationNotFoundException",
            format!("The iteration {wanted} was not found."),
        )
    };
    pull_request.iterations.iter().find(|i| i.id == wanted).ok_or_else(missing)
}

/// `GET iterations` and one of them.
pub fn iterations(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let pull_request = found(call, &world)?;
    let view = call.view(&world);
    if call.optional("iterationId").is_some() {
        return Ok(Reply::ok(view.iteration(pull_request, iteration(call, pull_request)?)));
    }
    Ok(Reply::list(pull_request.iterations.iter().map(|i| view.iteration(pull_request, i)).collect()))
}

/// `GET iterations/{n}/changes?compareTo=`.
pub fn iteration_changes(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let pull_request = found(call, &world)?;
    let now = iteration(call, pull_request)?;
    let compare: u32 =
        call.query.get("compareTo").unwrap_or("0").parse().map_err(|_| Refusal::invalid("compareTo"))?;
    let store = world.store(pull_request.repository)?;
    let start = match compare {
        0 => &now.common,
        n => {
            &pull_request
                .iterations
                .iter()
                .find(|i| i.id == n)
                .ok_or_else(|| Refusal::invalid("compareTo"))?
                .source
        }
    };
    let tracking = tracking_ids(&store, pull_request)?;
    let all = store.changes(Some(start), &now.source)?;
    let skip = call.query.count("skip")?.unwrap_or(0);
    let top = call.query.count("top")?.unwrap_or(PAGE).min(PAGE_MAX);
    let entries: Vec<Value> = all
        .iter()
        .zip(1usize..)
        .skip(skip)
        .take(top)
        .map(|(change, number)| {
            let mut item = Map::new();
            crate::simulator::azure_devops::render::put(&mut item, "objectId", change.sha.clone());
            crate::simulator::azure_devops::render::put(&mut item, "originalObjectId", change.original_sha.clone());
            item.insert("path".into(), json!(change.path));
            let tracked = tracking.iter().position(|p| *p == change.path).map_or(number, |at| at + 1);
            let mut value =
                json!({"changeTrackingId": tracked, "changeId": number, "item": item, "changeType": change.kind.name()});
            if let Some(original) = &change.original_path {
                value["originalPath"] = json!(original);
            }
            value
        })
        .collect();
    let mut body = json!({"changeEntries": entries});
    if all.len() > skip + top {
        body["nextSkip"] = json!(skip + top);
        body["nextTop"] = json!(top);
    }
    Ok(Reply::ok(body))
}

/// Paths in the order in which they first appeared: a file keeps its number over iterations.
fn tracking_ids(
    store: &crate::simulator::azure_devops::git::store::Store,
    found: &PullRequest,
) -> Outcome<Vec<String>> {
    let mut paths: Vec<String> = Vec::new();
    for iteration in &found.iterations {
        for change in store.changes(Some(&iteration.common), &iteration.source)? {
            if !paths.contains(&change.path) {
                paths.push(change.path);
            }
        }
    }
    Ok(paths)
}

/// `GET commits` of a pull request or iteration, newest first.
pub fn commits(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let pull_request = found(call, &world)?;
    let home = world.repositories.get(&pull_request.repository).ok_or_else(Refusal::pull_request)?;
    let store = world.store(home.id)?;
    let last = pull_request.iterations.last().ok_or_else(Refusal::pull_request)?;
    let iteration =
        if call.optional("iterationId").is_some() { iteration(call, pull_request)? } else { last };
    let commits = store.history(&iteration.source, &[&iteration.common], PAGE_MAX)?;
    call.continued(commits, PAGE, |c| call.view(&world).commit(home, &c))
}

/// `GET statuses` and one of them.
pub fn statuses(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let pull_request = found(call, &world)?;
    let view = call.view(&world);
    let owner = view.pull_request_url(pull_request);
    let home = world.repositories.get(&pull_request.repository);
    let of = call.optional("iterationId").map(|_| call.number("iterationId")).transpose()?;
    if call.optional("statusId").is_some() {
        let id = call.number("statusId")?;
        let missing =
            || Refusal::new(404, "GitStatusNotFoundException", format!("The status {id} was not found."));
        let entry = pull_request.statuses.iter().find(|s| s.id == id).ok_or_else(missing)?;
        return Ok(Reply::ok(view.status(&owner, home, entry)));
    }
    let fits = pull_request.statuses.iter().filter(|s| of.is_none() || s.iteration == of);
    Ok(Reply::list(fits.map(|s| view.status(&owner, home, s)).collect()))
}

/// `POST statuses`.
pub fn add_status(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let id = found(call, &world)?.id;
    let mut entry = status(&body, call.actor.id, world.now())?;
    if call.optional("iterationId").is_some() {
        entry.iteration = Some(iteration(call, found(call, &world)?)?.id);
    }
    let made = world.add_status(call.actor, id, entry)?;
    let pull_request = found(call, &world)?;
    let view = call.view(&world);
    let home = world.repositories.get(&pull_request.repository);
    Ok(Reply::ok(view.status(&view.pull_request_url(pull_request), home, &made)))
}

/// `DELETE statuses/{id}`.
pub fn remove_status(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let id = found(call, &world)?.id;
    world.remove_status(call.actor, id, call.number("statusId")?)?;
    Ok(Reply::empty(204))
}

/// `GET properties`.
pub fn properties(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let pull_request = found(call, &world)?;
    let mut value = Map::new();
    value.insert("Microsoft.Git.PullRequest.IsDraft".into(), typed(json!(pull_request.is_draft.to_string())));
    value.insert("Microsoft.Git.PullRequest.SourceRefName".into(), typed(json!(pull_request.source_ref)));
    value.insert("Microsoft.Git.PullRequest.TargetRefName".into(), typed(json!(pull_request.target_ref)));
    value.extend(pull_request.properties.iter().map(|(k, v)| (k.clone(), typed(v.clone()))));
    Ok(Reply::ok(json!({"count": value.len(), "value": value})))
}

/// `PATCH properties`.
pub fn patch_properties(call: &Call<'_>) -> Outcome<Reply> {
    let operations = patch::parse(&call.json()?)?;
    {
        let mut world = call.organisation.lock();
        let id = found(call, &world)?.id;
        world.patch_properties(call.actor, id, &operations)?;
    }
    properties(call)
}
