//! Files on work items and pull requests, and the conflicts of a pull request.

use serde_json::{Value, json};
use uuid::Uuid;

use super::pull_requests::found;
use super::{Call, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::render::stamp;
use crate::simulator::azure_devops::state::attachments::{Attachment, no_attachment};
use crate::simulator::azure_devops::state::{MergeStatus, Outcome, World};

/// `POST wit/attachments?fileName=`.
pub fn upload(call: &Call<'_>) -> Outcome<Reply> {
    if call.query.get("uploadType").is_some_and(|kind| kind.eq_ignore_ascii_case("chunked")) {
        return Err(Refusal::invalid("uploadType (only simple uploads are served; send the file at once)"));
    }
    let name = call.query.get("fileName").unwrap_or("attachment");
    let mut world = call.organisation.lock();
    let own = call.optional_project(&world)?.map(|project| project.id);
    // Without a project in the address it is readable in the first one that the caller works in.
    let any = || world.projects.values().find(|p| p.members.contains(&call.actor.id)).map(|p| p.id);
    let project = own.or_else(any).ok_or_else(|| Refusal::project_name(""))?;
    let id = world.attach(call.actor, project, None, name, &call.body)?;
    let encoded: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let url = format!("{}/_apis/wit/attachments/{id}?fileName={encoded}", call.base);
    Ok(Reply::json(201, &json!({"id": id, "url": url})))
}

/// `GET wit/attachments/{id}`.
pub fn download(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let wanted = call.guid("id")?;
    let found = world.visible_attachment(call.actor, wanted)?;
    if found.pull_request.is_some() {
        // That one is asked for at its pull request, under the rights of code.
        return Err(no_attachment(&wanted.to_string()));
    }
    content(&world, found, call.query.get("fileName").unwrap_or(&found.name))
}

fn content(world: &World, found: &Attachment, name: &str) -> Outcome<Reply> {
    let bytes = std::fs::read(world.attachment_path(found.id)).map_err(|_| no_attachment(&found.name))?;
    let ascii: String =
        name.chars().map(|c| if c.is_ascii_graphic() && c != '"' { c } else { '_' }).collect();
    let reply = Reply::bytes(200, "application/octet-stream", bytes);
    // What somebody uploaded never runs as a page of this host.
    Ok(reply
        .header("content-disposition", format!("attachment; filename=\"{ascii}\""))
        .header("x-content-type-options", "nosniff".into()))
}

fn render(call: &Call<'_>, world: &World, found: &Attachment) -> Outcome<Value> {
    let pull_request = super::pull_requests::found(call, world)?;
    let owner = call.view(world).pull_request_url(pull_request);
    let name = percent_encoding::utf8_percent_encode(&found.name, percent_encoding::NON_ALPHANUMERIC);
    let url = format!("{owner}/attachments/{name}");
    Ok(json!({
        "_links": {"self": {"href": url}, "pullRequest": {"href": owner}},
        "id": found.number, "author": call.view(world).identity(found.by), "displayName": found.name,
        "contentHash": found.content_hash, "createdDate": stamp(found.created), "url": url, "properties": {},
    }))
}

/// The file of the address on its pull request.
fn named<'w>(call: &Call<'_>, world: &'w World) -> Outcome<&'w Attachment> {
    let (id, name) = (found(call, world)?.id, call.text("fileName"));
    let same = |a: &&Attachment| a.pull_request == Some(id) && a.name.eq_ignore_ascii_case(name);
    world.attachments.values().find(same).ok_or_else(|| no_attachment(name))
}

/// `GET pullRequests/{id}/attachments`, and the bytes of one.
pub fn of_pull_request(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    if call.optional("fileName").is_some() {
        let found = named(call, &world)?;
        return content(&world, found, &found.name);
    }
    let id = found(call, &world)?.id;
    let mut own: Vec<&Attachment> =
        world.attachments.values().filter(|a| a.pull_request == Some(id)).collect();
    own.sort_by_key(|a| a.number);
    Ok(Reply::list(own.into_iter().map(|a| render(call, &world, a)).collect::<Outcome<Vec<_>>>()?))
}

/// `POST pullRequests/{id}/attachments/{fileName}`.
pub fn add_to_pull_request(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let pull_request = found(call, &world)?;
    let (id, repository) = (pull_request.id, pull_request.repository);
    let project = world.repositories.get(&repository).ok_or_else(Refusal::pull_request)?.project;
    let made = world.attach(call.actor, project, Some(id), call.text("fileName"), &call.body)?;
    let made = world.attachments.get(&made).ok_or_else(|| no_attachment(call.text("fileName")))?;
    Ok(Reply::json(201, &render(call, &world, made)?))
}

/// `DELETE pullRequests/{id}/attachments/{fileName}`.
pub fn remove_from_pull_request(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let id: Uuid = named(call, &world)?.id;
    world.detach(call.actor, id)?;
    Ok(Reply::empty(200))
}

/// `GET pullRequests/{id}/conflicts` and one of them: what the merge of both branches runs into.
pub fn conflicts(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let pull_request = found(call, &world)?;
    let home = world.repositories.get(&pull_request.repository).ok_or_else(Refusal::pull_request)?;
    let (source, target) = (&pull_request.source_commit, &pull_request.target_commit);
    let found = match pull_request.merge_status {
        MergeStatus::Conflicts => world.store(home.id)?.conflicts_between(target, source)?,
        _ => Vec::new(),
    };
    let view = call.view(&world);
    let owner = view.pull_request_url(pull_request);
    let commit =
        |sha: &str| json!({"commitId": sha, "url": format!("{}/commits/{sha}", view.repository_url(home))});
    let base = world.store(home.id)?.merge_base(target, source);
    let render = |(number, (path, kind)): (usize, (String, &'static str))| {
        let url = format!("{owner}/conflicts/{number}");
        let mut value = json!({
            "_links": {"self": {"href": url}}, "conflictId": number, "conflictPath": path, "conflictType": kind,
            "mergeSourceCommit": commit(source), "mergeTargetCommit": commit(target),
            "mergeOrigin": {"pullRequestId": pull_request.id}, "resolutionStatus": "unresolved",
            "resolutionError": "none", "url": url,
        });
        if let Some(base) = &base {
            value["mergeBaseCommit"] = commit(base);
        }
        value
    };
    let mut all = (1..).zip(found).map(render);
    match call.optional("conflictId") {
        None => Ok(Reply::list(all.collect())),
        Some(_) => {
            let wanted = call.number("conflictId")?;
            let missing = || {
                let text = format!("TF401395: The conflict {wanted} was not found.");
                Refusal::new(404, "GitConflictNotFoundException", text)
            };
            all.find(|c| c["conflictId"] == wanted).map(Reply::ok).ok_or_else(missing)
        }
    }
}
