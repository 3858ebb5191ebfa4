//! Build definitions, and the tags of builds.

use serde_json::Value;
use uuid::Uuid;

use super::pull_request_input::number;
use super::{Call, PAGE, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::Outcome;

/// `GET definitions` and one of them.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let view = call.view(&world);
    if call.optional("definitionId").is_some() {
        return Ok(Reply::ok(
            view.definition(world.definition(project, call.number("definitionId")?)?, true),
        ));
    }
    let name = call.query.get("name").map(|n| n.trim_matches('*').to_lowercase());
    let repository = call.query.get("repositoryId").and_then(|t| Uuid::try_parse(t).ok());
    let mine = world.definitions.values().filter(|d| {
        d.project == project
            && name.as_ref().is_none_or(|n| d.name.to_lowercase().contains(n))
            && repository.is_none_or(|r| r == d.repository)
    });
    let full = call.query.get("includeAllProperties").is_some_and(|flag| flag.eq_ignore_ascii_case("true"));
    call.continued(mine.collect(), PAGE, |d| view.definition(d, full))
}

/// `POST definitions`; `simulatorChecks` says what the builds look at.
pub fn create(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let checks = match &body["simulatorChecks"] {
        Value::Null => Vec::new(),
        given => serde_json::from_value(given.clone())
            .map_err(|e| Refusal::invalid(format!("simulatorChecks ({e})")))?,
    };
    let mut world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let wanted =
        body["repository"]["id"].as_str().or(body["repository"]["name"].as_str()).unwrap_or_default();
    let repository = world.visible_repository(call.actor, call.optional("project"), wanted)?.id;
    let name = body["name"].as_str().unwrap_or_default();
    let yaml = body["process"]["yamlFilename"].as_str().unwrap_or("/azure-pipelines.yml");
    let id = world.set_definition(call.actor, repository, name, yaml, checks)?;
    Ok(Reply::ok(call.view(&world).definition(world.definition(project, id)?, true)))
}

/// `PUT definitions/{id}`: name and YAML file.
pub fn replace(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let id = call.number("definitionId")?;
    let found = world.definition(project, id)?.clone();
    let name = body["name"].as_str().unwrap_or(&found.name);
    let yaml = body["process"]["yamlFilename"].as_str().unwrap_or(&found.yaml);
    let revision = number(&body["revision"]).ok_or_else(|| Refusal::invalid("revision"))?;
    world.update_definition(call.actor, project, id, revision, name, yaml)?;
    Ok(Reply::ok(call.view(&world).definition(world.definition(project, id)?, true)))
}

/// `DELETE definitions/{id}`.
pub fn delete(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let project = call.project(&world)?.id;
    world.delete_definition(call.actor, project, call.number("definitionId")?)?;
    Ok(Reply::empty(204))
}

fn listed(tags: impl IntoIterator<Item = String>) -> Reply {
    Reply::list(tags.into_iter().map(Value::from).collect())
}

/// `GET builds/{id}/tags`.
pub fn build_tags(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    Ok(listed(super::builds::found(call, &world)?.tags.clone()))
}

fn set_tags(call: &Call<'_>, tags: &[String], on: bool) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let project = call.project(&world)?.id;
    Ok(listed(world.tag_build(call.actor, project, call.number("buildId")?, tags, on)?))
}

/// `PUT builds/{id}/tags/{tag}`.
pub fn add_build_tag(call: &Call<'_>) -> Outcome<Reply> {
    set_tags(call, &[call.text("tag").to_owned()], true)
}

/// `POST builds/{id}/tags` with a list.
pub fn add_build_tags(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let tags = body.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    set_tags(call, &tags.collect::<Vec<_>>(), true)
}

/// `DELETE builds/{id}/tags/{tag}`.
pub fn remove_build_tag(call: &Call<'_>) -> Outcome<Reply> {
    set_tags(call, &[call.text("tag").to_owned()], false)
}

/// `GET build/tags`: every tag of the project's builds.
pub fn all_tags(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let here = |definition: u32| world.definitions.get(&definition).is_some_and(|d| d.project == project);
    let tags: std::collections::BTreeSet<String> =
        world.builds.values().filter(|b| here(b.definition)).flat_map(|b| b.tags.iter().cloned()).collect();
    Ok(listed(tags))
}
