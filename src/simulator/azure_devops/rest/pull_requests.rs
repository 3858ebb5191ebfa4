//! Pull requests: create, read, list, change.

use serde_json::{Value, json};
use uuid::Uuid;

use super::pull_request_input::{completion, flag, identity, number};
use super::{Call, PAGE, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::access::Permission;
use crate::simulator::azure_devops::state::pull_requests::{NewPullRequest, PullRequestChange};
use crate::simulator::azure_devops::state::{Outcome, PullRequest, PullRequestStatus, World};

/// The pull request of the address, inside the repository of the address when there is one.
pub fn found<'w>(call: &Call<'_>, world: &'w World) -> Outcome<&'w PullRequest> {
    let id = call.text("pullRequestId").parse().map_err(|_| Refusal::pull_request())?;
    let found = world.visible_pull_request(call.actor, id)?;
    if call.optional("repositoryId").is_some() && call.repository(world)?.id != found.repository {
        return Err(Refusal::pull_request());
    }
    if let Some(project) = call.optional_project(world)?
        && world.repositories.get(&found.repository).is_none_or(|r| r.project != project.id)
    {
        return Err(Refusal::pull_request());
    }
    Ok(found)
}

/// `GET pullrequests` and one of them.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    if call.optional("pullRequestId").is_none() {
        return list(call, &world);
    }
    let found = found(call, &world)?;
    let view = call.view(&world);
    let mut value = view.pull_request(found);
    if call.query.flag("includeWorkItemRefs") {
        let refs: Vec<Value> =
            world.work_items_of(found.id).iter().map(|id| work_item_ref(call, *id)).collect();
        if !refs.is_empty() {
            value["workItemRefs"] = json!(refs);
        }
    }
    if call.query.flag("includeCommits") {
        let home = world.repositories.get(&found.repository).ok_or_else(Refusal::pull_request)?;
        let store = world.store(home.id)?;
        let commits = store.history(&found.source_commit, &[&found.target_commit], PAGE)?;
        value["commits"] = commits.iter().map(|c| view.commit(home, c)).collect();
    }
    Ok(Reply::ok(value))
}

/// ResourceRef of a work item.
pub fn work_item_ref(call: &Call<'_>, id: u32) -> Value {
    json!({"id": id.to_string(), "url": format!("{}/_apis/wit/workItems/{id}", call.base)})
}

fn list(call: &Call<'_>, world: &World) -> Outcome<Reply> {
    let repository = match call.optional("repositoryId").or(call.query.criterion("repositoryId")) {
        Some(text) => Some(world.visible_repository(call.actor, call.optional("project"), text)?.id),
        None => None,
    };
    let project = call.optional_project(world)?.map(|p| p.id);
    let status = match call.query.criterion("status") {
        Some(text) => {
            PullRequestStatus::from_text(text).ok_or_else(|| Refusal::invalid("searchCriteria.status"))?
        }
        None => PullRequestStatus::Active,
    };
    let person = |name: &str| -> Outcome<Option<Uuid>> {
        call.query.criterion(name).map(|t| Uuid::try_parse(t).map_err(|_| Refusal::invalid(name))).transpose()
    };
    let (creator, reviewer) = (person("creatorId")?, person("reviewerId")?);
    let (source, target) = (call.query.criterion("sourceRefName"), call.query.criterion("targetRefName"));
    let title = call.query.criterion("title").map(str::to_lowercase);
    let fits = |p: &&PullRequest| {
        let home = world.repositories.get(&p.repository);
        let readable = home.is_some_and(|r| {
            project.is_none_or(|w| w == r.project)
                && world.may(call.actor.id, r.project, Some(r.id), Permission::GenericRead)
        });
        readable
            && repository.is_none_or(|r| r == p.repository)
            && (status == PullRequestStatus::All || status == PullRequestStatus::NotSet || status == p.status)
            && creator.is_none_or(|c| c == p.created_by)
            && reviewer.is_none_or(|r| p.reviewers.iter().any(|x| x.id == r))
            && source.is_none_or(|s| s == p.source_ref)
            && target.is_none_or(|t| t == p.target_ref)
            && title.as_ref().is_none_or(|t| p.title.to_lowercase().contains(t))
    };
    let all: Vec<&PullRequest> = world.pull_requests.values().rev().filter(fits).collect();
    let page = call.page(all, PAGE + 1)?;
    Ok(Reply::list(page.into_iter().map(|p| call.view(world).pull_request_in_list(p)).collect()))
}

/// `POST pullrequests`.
pub fn create(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let repository = call.repository(&world)?.id;
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let entries = |key: &str| body[key].as_array().cloned().unwrap_or_default();
    let mut reviewers = Vec::new();
    for entry in entries("reviewers") {
        reviewers.push((identity(&world, &entry)?, flag(&entry["isRequired"]).unwrap_or(false)));
    }
    let source_repository = match body["forkSource"]["repository"]["id"].as_str() {
        Some(id) => Some(world.visible_repository(call.actor, None, id)?.id),
        None => None,
    };
    let mut work_items = Vec::new();
    for entry in entries("workItemRefs") {
        work_items.push(number(&entry["id"]).ok_or_else(|| Refusal::invalid("workItemRefs.id"))?);
    }
    let new = NewPullRequest {
        title: text("title"),
        description: text("description"),
        source_ref: text("sourceRefName"),
        target_ref: text("targetRefName"),
        source_repository,
        is_draft: flag(&body["isDraft"]).unwrap_or(false),
        reviewers,
        work_items,
        labels: entries("labels").iter().filter_map(|l| l["name"].as_str().map(str::to_owned)).collect(),
        completion: completion(&body["completionOptions"])?,
    };
    let id = world.create_pull_request(call.actor, repository, new)?;
    let mut made =
        world.pull_requests.get(&id).map(|p| call.view(&world).pull_request(p)).unwrap_or_default();
    // Only the answer to the creation has labels although there are none.
    if made["labels"].is_null() {
        made["labels"] = json!([]);
    }
    Ok(Reply::json(201, &made))
}

/// `PATCH pullrequests/{id}`.
pub fn update(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let id = found(call, &world)?.id;
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    let status = match &body["status"] {
        Value::Null => None,
        given => Some(PullRequestStatus::from_json(given).ok_or_else(|| Refusal::invalid("status"))?),
    };
    let auto = &body["autoCompleteSetBy"];
    let auto_complete_by = match auto["id"].as_str() {
        Some(id) if Uuid::try_parse(id).is_ok_and(|u| u.is_nil()) => Some(Uuid::nil()),
        Some(_) => Some(identity(&world, auto)?),
        None => None,
    };
    for key in ["createdBy", "creationDate", "repository", "pullRequestId", "sourceRefName", "reviewers"] {
        if !body[key].is_null() {
            return Err(Refusal::invalid(format!(
                "You can only update reviewers, descriptions, titles, merge status, and status. ({key})"
            )));
        }
    }
    let change = PullRequestChange {
        title: text("title"),
        description: text("description"),
        is_draft: flag(&body["isDraft"]),
        target_ref: text("targetRefName"),
        status,
        completion: completion(&body["completionOptions"])?,
        auto_complete_by,
        source_commit: body["lastMergeSourceCommit"]["commitId"].as_str().map(str::to_owned),
    };
    world.update_pull_request(call.actor, id, change)?;
    let now = world.pull_requests.get(&id).map(|p| call.view(&world).pull_request(p));
    Ok(Reply::ok(now.unwrap_or_default()))
}

/// `POST pullrequestquery`: pull requests by commit.
pub fn query(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let world = call.organisation.lock();
    let repository = call.repository(&world)?.id;
    let queries = body["queries"].as_array().cloned().unwrap_or_default();
    let view = call.view(&world);
    let mut results = Vec::new();
    for query in &queries {
        let mut by_commit = serde_json::Map::new();
        for sha in query["items"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let fits = |p: &&PullRequest| {
                p.repository == repository
                    && (p.merge_commit.as_deref() == Some(sha)
                        || p.iterations.iter().any(|i| i.source == sha))
            };
            let list: Vec<Value> =
                world.pull_requests.values().filter(fits).map(|p| view.pull_request_in_list(p)).collect();
            if !list.is_empty() {
                by_commit.insert(sha.to_owned(), json!(list));
            }
        }
        results.push(Value::Object(by_commit));
    }
    Ok(Reply::ok(json!({"queries": queries, "results": results})))
}
