//! Policy configurations and evaluations.

use serde_json::Value;
use uuid::Uuid;

use super::{Call, PAGE, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::Outcome;
use crate::simulator::azure_devops::state::policies::{TYPES, unknown_policy};

/// `GET configurations` and one of them.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let view = call.view(&world);
    if call.optional("configurationId").is_some() {
        let id = call.number("configurationId")?;
        let policy =
            world.policies.get(&id).filter(|p| p.project == project).ok_or_else(|| unknown_policy(id))?;
        return Ok(Reply::ok(view.policy(policy)));
    }
    let kind = call.query.get("policyType").and_then(|t| Uuid::try_parse(t).ok());
    let mine = world.policies.values().filter(|p| p.project == project && kind.is_none_or(|k| k == p.kind));
    call.continued(mine.collect(), PAGE, |p| view.policy(p))
}

/// `GET git/policy/configurations?repositoryId=&refName=`.
pub fn of_branch(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let repository = call.query.get("repositoryId").and_then(|t| Uuid::try_parse(t).ok());
    let name = call.query.get("refName");
    let covers = |p: &&crate::simulator::azure_devops::state::policies::Policy| match (repository, name) {
        (Some(repository), Some(name)) => p.covers(repository, name),
        _ => true,
    };
    let mine = world.policies.values().filter(|p| p.project == project).filter(covers);
    Ok(Reply::list(mine.map(|p| call.view(&world).policy(p)).collect()))
}

fn set(call: &Call<'_>, existing: Option<u32>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let kind = body["type"]["id"].as_str().and_then(|t| Uuid::try_parse(t).ok());
    let kind = kind.ok_or_else(|| Refusal::invalid("type.id"))?;
    let flag = |key: &str| body[key].as_bool().unwrap_or(true);
    let (enabled, blocking) = (flag("isEnabled"), flag("isBlocking"));
    let id =
        world.set_policy(call.actor, project, existing, kind, enabled, blocking, body["settings"].clone())?;
    let policy = world.policies.get(&id).map(|p| call.view(&world).policy(p));
    Ok(Reply::ok(policy.unwrap_or_default()))
}

/// `POST configurations`.
pub fn create(call: &Call<'_>) -> Outcome<Reply> {
    set(call, None)
}

/// `PUT configurations/{id}`.
pub fn replace(call: &Call<'_>) -> Outcome<Reply> {
    set(call, Some(call.number("configurationId")?))
}

/// `DELETE configurations/{id}`.
pub fn delete(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let project = call.project(&world)?.id;
    world.delete_policy(call.actor, project, call.number("configurationId")?)?;
    Ok(Reply::empty(204))
}

/// `GET types` and one of them.
pub fn types(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let view = call.view(&world);
    if call.optional("typeId").is_some() {
        let id = call.guid("typeId")?;
        let missing = || {
            Refusal::new(404, "PolicyTypeNotFoundException", format!("The policy type {id} was not found."))
        };
        TYPES.iter().find(|(k, _)| *k == id).ok_or_else(missing)?;
        return Ok(Reply::ok(view.policy_type(project, id)));
    }
    Ok(Reply::list(TYPES.iter().map(|(id, _)| view.policy_type(project, *id)).collect()))
}

/// `GET evaluations?artifactId=vstfs:///CodeReview/CodeReviewId/{project}/{pull request}`.
pub fn evaluations(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let artifact = call.query.get("artifactId").unwrap_or_default();
    let artifact = percent_encoding::percent_decode_str(artifact).decode_utf8_lossy().into_owned();
    let number = artifact
        .strip_prefix("vstfs:///CodeReview/CodeReviewId/")
        .and_then(|rest| rest.split('/').nth(1)?.parse().ok());
    let id: u32 = number.ok_or_else(|| {
        Refusal::invalid("artifactId (vstfs:///CodeReview/CodeReviewId/{project}/{pull request} is needed)")
    })?;
    world.visible_pull_request(call.actor, id)?;
    let list: Vec<Value> =
        world.evaluate_policies(id).iter().map(|e| call.view(&world).evaluation(id, project, e)).collect();
    Ok(Reply::list(list))
}

/// The pull request and policy inside an evaluation id.
fn parts(id: Uuid) -> (u32, u32) {
    let value = id.as_u128();
    let low = |n: u128| u32::try_from(n & u128::from(u32::MAX)).unwrap_or(0);
    (low(value >> 64), low(value))
}

/// `GET evaluations/{id}`.
pub fn evaluation(call: &Call<'_>) -> Outcome<Reply> {
    if call.optional("evaluationId").is_none() {
        return evaluations(call);
    }
    let world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let (pull_request, policy) = parts(call.guid("evaluationId")?);
    world.visible_pull_request(call.actor, pull_request)?;
    let found = world.evaluate_policies(pull_request).into_iter().find(|e| e.policy == policy);
    let found = found.ok_or_else(|| unknown_policy(policy))?;
    Ok(Reply::ok(call.view(&world).evaluation(pull_request, project, &found)))
}

/// `PATCH evaluations/{id}`: queue its build again.
pub fn requeue(call: &Call<'_>) -> Outcome<Reply> {
    {
        let mut world = call.organisation.lock();
        let (pull_request, _) = parts(call.guid("evaluationId")?);
        world.visible_pull_request(call.actor, pull_request)?;
        world.requeue_validation(call.actor, pull_request)?;
    }
    evaluation(call)
}
