//! Builds: definitions, queue, state, timeline, logs, changes.

use serde_json::{Value, json};

use super::pull_request_input::number;
use super::{Call, PAGE, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::build::{Build, BuildReason, BuildResult, BuildStatus};
use crate::simulator::azure_devops::state::{Outcome, World};

/// `GET builds` and one of them.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let view = call.view(&world);
    if call.optional("buildId").is_some() {
        return Ok(Reply::ok(view.build(world.build(project, call.number("buildId")?)?)));
    }
    let numbers = |name: &str| -> Vec<u32> {
        call.query.get(name).unwrap_or_default().split(',').filter_map(|n| n.trim().parse().ok()).collect()
    };
    let (ids, definitions) = (numbers("buildIds"), numbers("definitions"));
    let status =
        call.query.get("statusFilter").and_then(BuildStatus::from_text).filter(|s| *s != BuildStatus::All);
    let result = call.query.get("resultFilter").and_then(BuildResult::from_text);
    let reason = call
        .query
        .get("reasonFilter")
        .filter(|r| !r.eq_ignore_ascii_case("all"))
        .and_then(BuildReason::from_text);
    let branch = call.query.get("branchName");
    let tags: Vec<&str> = call.query.get("tagFilters").unwrap_or_default().split(',').collect();
    let tags: Vec<&str> = tags.into_iter().filter(|t| !t.is_empty()).collect();
    let fits = |b: &&Build| {
        world.definitions.get(&b.definition).is_some_and(|d| d.project == project)
            && (ids.is_empty() || ids.contains(&b.id))
            && (definitions.is_empty() || definitions.contains(&b.definition))
            && status.is_none_or(|s| s == b.status)
            && result.is_none_or(|r| Some(r) == b.result)
            && reason.is_none_or(|r| r == b.reason)
            && branch.is_none_or(|name| name == b.branch)
            && tags.iter().all(|tag| b.tags.iter().any(|t| t.eq_ignore_ascii_case(tag)))
    };
    let mut found: Vec<&Build> = world.builds.values().rev().filter(fits).collect();
    if call.query.get("queryOrder").is_some_and(|o| o.to_ascii_lowercase().ends_with("ascending")) {
        found.reverse();
    }
    call.continued(found, PAGE, |b| view.build(b))
}

/// `POST builds`.
pub fn queue(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let definition = number(&body["definition"]["id"]).ok_or_else(|| Refusal::invalid("definition.id"))?;
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    let mut world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let (branch, version) = (text("sourceBranch"), text("sourceVersion"));
    let id = world.queue_build(
        call.actor,
        project,
        definition,
        branch.as_deref(),
        version.as_deref(),
        text("parameters"),
    )?;
    Ok(Reply::ok(call.view(&world).build(world.build(project, id)?)))
}

/// `PATCH builds/{id}` with `status: cancelling`.
pub fn update(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let id = call.number("buildId")?;
    if BuildStatus::from_json(&body["status"]) == Some(BuildStatus::Cancelling) {
        world.cancel_build(call.actor, project, id)?;
    }
    Ok(Reply::ok(call.view(&world).build(world.build(project, id)?)))
}

pub(super) fn found<'w>(call: &Call<'_>, world: &'w World) -> Outcome<&'w Build> {
    world.build(call.project(world)?.id, call.number("buildId")?)
}

/// `GET builds/{id}/timeline`.
pub fn timeline(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    Ok(Reply::ok(call.view(&world).timeline(found(call, &world)?)))
}

/// `GET builds/{id}/logs` and one of them.
pub fn logs(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let build = found(call, &world)?;
    let written =
        || build.steps.iter().zip(1usize..).filter(|(s, _)| s.finished.is_some() && !s.log.is_empty());
    if call.optional("logId").is_none() {
        return Ok(Reply::list(written().map(|(s, at)| call.view(&world).build_log(build, s, at)).collect()));
    }
    let id = call.number("logId")? as usize;
    let missing = || {
        Refusal::new(
            404,
            "BuildLogNotFoundException",
            format!("The log {id} of build {} was not found.", build.id),
        )
    };
    let (step, _) = written().find(|(_, at)| *at == id).ok_or_else(missing)?;
    let line = |name: &str| call.query.get(name).and_then(|n| n.parse::<usize>().ok());
    let start = line("startLine").unwrap_or(1).max(1) - 1;
    let end = line("endLine").unwrap_or(usize::MAX);
    let lines: Vec<&str> = step.log.iter().map(String::as_str).take(end).skip(start).collect();
    let accept = call.headers.get("accept").and_then(|v| v.to_str().ok()).unwrap_or_default();
    if accept.starts_with("application/json") {
        return Ok(Reply::ok(json!({"count": lines.len(), "value": lines})));
    }
    Ok(Reply::bytes(200, "text/plain; charset=utf-8", format!("{}\n", lines.join("\n")).into_bytes()))
}

/// `GET builds/{id}/changes`.
pub fn changes(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let build = found(call, &world)?;
    let definition = world.definitions.get(&build.definition).ok_or_else(|| Refusal::invalid("buildId"))?;
    let repository =
        world.repositories.get(&definition.repository).ok_or_else(|| Refusal::invalid("buildId"))?;
    let store = world.store(repository.id)?;
    let view = call.view(&world);
    let commits = if build.commit.is_empty() { Vec::new() } else { store.history(&build.commit, &[], 10)? };
    let render = |c: &crate::simulator::azure_devops::git::store::Commit| {
        json!({
            "id": c.sha, "message": c.message.lines().next(), "type": "TfsGit",
            "author": {"displayName": c.author.name, "uniqueName": c.author.email},
            "timestamp": c.author.date.to_string(),
            "location": view.commit_url(repository, &c.sha),
            "displayUri": format!("{}/commit/{}", view.repository_web_url(repository), c.sha),
        })
    };
    Ok(Reply::list(call.page(commits.iter().map(render).collect(), PAGE)?))
}

/// `GET builds/{id}/workitems`.
pub fn work_items(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let build = found(call, &world)?;
    let ids = build.pull_request.as_ref().map(|(p, _)| world.work_items_of(*p)).unwrap_or_default();
    Ok(Reply::list(ids.into_iter().map(|id| super::pull_requests::work_item_ref(call, id)).collect()))
}

/// `GET builds/{id}/artifacts`: there are none.
pub fn nothing(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    found(call, &world)?;
    Ok(Reply::list(Vec::new()))
}

/// `GET test/runs?buildUri=` or `?buildIds=`, and one of them.
pub fn test_runs(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let view = call.view(&world);
    if call.optional("runId").is_some() {
        let build = world.build(project, call.number("runId")?)?;
        return Ok(Reply::ok(view.test_run(build, &view.test_results(build))));
    }
    let wanted = call
        .query
        .get("buildUri")
        .or(call.query.get("buildIds"))
        .and_then(|t| t.rsplit('/').next()?.parse::<u32>().ok());
    let mine = world.builds.values().filter(|b| {
        wanted.is_none_or(|w| w == b.id)
            && world.definitions.get(&b.definition).is_some_and(|d| d.project == project)
    });
    let runs = mine.map(|b| (b, view.test_results(b))).filter(|(_, cases)| !cases.is_empty());
    Ok(Reply::list(call.page(runs.map(|(b, cases)| view.test_run(b, &cases)).collect(), PAGE)?))
}

/// `GET test/runs/{id}/results?outcomes=`.
pub fn test_results(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let build = world.build(call.project(&world)?.id, call.number("runId")?)?;
    let cases = call.view(&world).test_results(build);
    if call.optional("testCaseResultId").is_some() {
        let id = call.number("testCaseResultId")?;
        let found = cases.into_iter().find(|c| c["id"] == id);
        return found.map(Reply::ok).ok_or_else(|| {
            Refusal::new(404, "TestObjectNotFoundException", format!("The test result {id} was not found."))
        });
    }
    let outcomes = call.query.get("outcomes").map(str::to_lowercase);
    let fits = |c: &Value| {
        let outcome = c["outcome"].as_str().unwrap_or_default().to_lowercase();
        outcomes.as_ref().is_none_or(|o| o.split(',').any(|x| x.trim() == outcome))
    };
    Ok(Reply::list(call.page(cases.into_iter().filter(fits).collect(), PAGE)?))
}

/// `GET pipelines` and one of them.
pub fn pipelines(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let view = call.view(&world);
    if call.optional("pipelineId").is_some() {
        return Ok(Reply::ok(view.pipeline(world.definition(project, call.number("pipelineId")?)?)));
    }
    let mine = world.definitions.values().filter(|d| d.project == project);
    call.continued(mine.collect(), PAGE, |d| view.pipeline(d))
}

/// `GET pipelines/{id}/runs` and one of them.
pub fn runs(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let pipeline = world.definition(project, call.number("pipelineId")?)?.id;
    let view = call.view(&world);
    if call.optional("runId").is_some() {
        return Ok(Reply::ok(view.pipeline_run(world.build(project, call.number("runId")?)?)));
    }
    Ok(Reply::list(
        world
            .builds
            .values()
            .rev()
            .filter(|b| b.definition == pipeline)
            .map(|b| view.pipeline_run(b))
            .collect(),
    ))
}

/// `POST pipelines/{id}/runs`.
pub fn run(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let own = &body["resources"]["repositories"]["self"];
    let mut world = call.organisation.lock();
    let project = call.project(&world)?.id;
    let pipeline = call.number("pipelineId")?;
    let id = world.queue_build(
        call.actor,
        project,
        pipeline,
        own["refName"].as_str(),
        own["version"].as_str(),
        None,
    )?;
    Ok(Reply::ok(call.view(&world).pipeline_run(world.build(project, id)?)))
}
