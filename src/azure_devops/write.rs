//! The one way to write. [`Client::perform`] takes a permit, does exactly one request for the
//! action inside it, and says what came of it. The writing routes are named nowhere else.

use serde::Deserialize;
use serde_json::{Value, json};

use super::bodies::{new_pull_request, new_thread, push_body};
use super::builds::RawBuild;
use super::effect::{Effect, EffectKind};
use super::people::List;
use super::pull_requests::{RawPullRequest, RawTip};
use super::routes::{Write, writing};
use super::threads::{RawComment, RawThread};
use super::transport::Answer;
use super::work_items::{self, RawWorkItem};
use super::{Client, Error, Failure, limits};
use crate::action::{Action, BranchName, CommitId, Relation, RepositoryRef, WorkItemLink};
use crate::http::plain;
use crate::policy::Permit;

/// What a reference looks like that does not exist yet.
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";
/// The first comment of a thread: replies hang below it (FACTS §8).
const FIRST_COMMENT: u32 = 1;
/// The fields of a work item that can be changed.
const WRITABLE_FIELDS: [&str; 7] = [
    "System.Title",
    "System.Description",
    "System.State",
    "System.AssignedTo",
    "System.Tags",
    "Microsoft.VSTS.Common.AcceptanceCriteria",
    "Microsoft.VSTS.TCM.ReproSteps",
];
/// Longest title in an [`Effect`], in characters.
const MAX_TITLE_CHARS: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefUpdate {
    #[serde(default)]
    success: Option<bool>,
    update_status: Option<String>,
    custom_message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pushed {
    commits: Option<Vec<RawTip>>,
    ref_updates: Option<Vec<Moved>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Moved {
    new_object_id: Option<String>,
}

impl Client {
    /// Does what the permit allows, with one request, and uses the permit up.
    ///
    /// # Errors
    /// [`Error`]. Where [`Error::may_have_happened`] says so, look the effect up before repeating it.
    pub async fn perform(&self, permit: Permit) -> Result<Effect, Error> {
        match permit.action() {
            Action::CreateWorkItem { project, work_item_type, .. } => {
                let patch = self.new_work_item(permit.action())?;
                let parts = [project.as_str(), work_item_type.as_str()];
                let answer = self.write(&permit, &writing::CREATE_WORK_ITEM, &parts, &[], &patch).await?;
                Ok(self.work_item_effect(project, answer))
            }
            Action::UpdateWorkItem { project, id, rev, fields, link } => {
                let patch = self.work_item_changes(*rev, fields, link.as_ref())?;
                let parts = [project.as_str(), &id.to_string()];
                let answer = self.write(&permit, &writing::UPDATE_WORK_ITEM, &parts, &[], &patch).await?;
                Ok(self.work_item_effect(project, answer))
            }
            Action::CommentOnWorkItem { project, id, text } => {
                self.comment_on_work_item(&permit, project, *id, text).await
            }
            Action::CreateBranch { repository, branch, commit } => {
                self.create_branch(&permit, repository, branch, commit).await
            }
            Action::Push { repository, branch, old_commit, message, author, changes } => {
                let body = push_body(branch, old_commit, message, author, changes)?;
                self.push(&permit, repository, message, &body).await
            }
            Action::CreatePullRequest { repository, .. } => {
                let body = new_pull_request(permit.action())?;
                self.create_pull_request(&permit, repository, &body).await
            }
            Action::UpdatePullRequest { repository, pull_request_id, title, description } => {
                let mut body = json!({});
                if let Some(title) = title {
                    limits::check("title", title, limits::PULL_REQUEST_TITLE)?;
                    body["title"] = json!(title);
                }
                if let Some(description) = description {
                    limits::check("description", description, limits::PULL_REQUEST_DESCRIPTION)?;
                    body["description"] = json!(description);
                }
                self.update_pull_request(&permit, repository, *pull_request_id, body).await
            }
            Action::PublishPullRequest { repository, pull_request_id } => {
                let body = json!({ "isDraft": false });
                self.update_pull_request(&permit, repository, *pull_request_id, body).await
            }
            Action::RedraftPullRequest { repository, pull_request_id } => {
                let body = json!({ "isDraft": true });
                self.update_pull_request(&permit, repository, *pull_request_id, body).await
            }
            Action::AbandonPullRequest { repository, pull_request_id } => {
                let body = json!({ "status": "abandoned" });
                self.update_pull_request(&permit, repository, *pull_request_id, body).await
            }
            Action::CreateThread { repository, pull_request_id, text, status, anchor } => {
                comment_text(text)?;
                let body = new_thread(text, *status, anchor.as_ref());
                self.create_thread(&permit, repository, *pull_request_id, &body).await
            }
            Action::QueueBuild { repository, definition_id, branch, .. } => {
                self.queue_build(&permit, &repository.project, *definition_id, branch).await
            }
            Action::ReplyToThread { repository, pull_request_id, thread_id, text } => {
                self.reply(&permit, repository, *pull_request_id, *thread_id, text).await
            }
            Action::SetThreadStatus { repository, pull_request_id, thread_id, status } => {
                let body = json!({ "status": status.as_str() });
                let parts = thread_parts(repository, *pull_request_id, *thread_id);
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                let answer: Answer<RawThread> =
                    self.write(&permit, &writing::UPDATE_THREAD, &parts, &[], &body).await?;
                Ok(self.thread_effect(repository, *pull_request_id, *thread_id, None, answer.activity_id))
            }
        }
    }

    async fn write<T: serde::de::DeserializeOwned>(
        &self,
        permit: &Permit,
        route: &Write,
        parts: &[&str],
        query: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answer<T>, Error> {
        self.transport.write(permit, route, parts, query, body, self.guard.as_ref()).await
    }

    fn new_work_item(&self, action: &Action) -> Result<Value, Error> {
        let Action::CreateWorkItem { title, description, assigned_to, parent_id, run_url, .. } = action
        else {
            return Err(Error::invalid("not a new work item".into()));
        };
        limits::check("title", title, limits::WORK_ITEM_TITLE)?;
        limits::check("description", description, limits::WORK_ITEM_TEXT)?;
        let mut patch = vec![add("/fields/System.Title", json!(title))];
        if !description.is_empty() {
            patch.push(add("/fields/System.Description", json!(description)));
            patch.push(add("/multilineFieldsFormat/System.Description", json!("Markdown")));
        }
        if let Some(account) = assigned_to {
            patch.push(add("/fields/System.AssignedTo", json!(account)));
        }
        if let Some(target_id) = parent_id {
            patch.push(self.linked(&WorkItemLink { relation: Relation::Parent, target_id: *target_id }));
        }
        if let Some(url) = run_url {
            let value = json!({ "rel": "Hyperlink", "url": url, "attributes": { "comment": "The run that created it" } });
            patch.push(add("/relations/-", value));
        }
        Ok(Value::Array(patch))
    }

    fn work_item_changes(
        &self,
        rev: u32,
        fields: &std::collections::BTreeMap<String, String>,
        link: Option<&WorkItemLink>,
    ) -> Result<Value, Error> {
        let mut patch = vec![json!({ "op": "test", "path": "/rev", "value": rev })];
        for (name, value) in fields {
            // Area, iteration, project and authors are nobody's to change here, whatever a rule says.
            if !WRITABLE_FIELDS.contains(&name.as_str()) {
                return Err(Error::invalid(format!(
                    "'{}' is not a field that can be changed",
                    plain(name, 60)
                )));
            }
            let limit = if name == "System.Title" { limits::WORK_ITEM_TITLE } else { limits::WORK_ITEM_TEXT };
            limits::check(name, value, limit)?;
            // `add` on tags merges with those that are there; `replace` sets them (FACTS §9).
            let op = if name == "System.Tags" { "replace" } else { "add" };
            patch.push(json!({ "op": op, "path": format!("/fields/{name}"), "value": value }));
            if name == "System.Description" {
                patch.push(add("/multilineFieldsFormat/System.Description", json!("Markdown")));
            }
        }
        patch.extend(link.map(|link| self.linked(link)));
        if patch.len() == 1 {
            return Err(Error::invalid("nothing to change was given".into()));
        }
        Ok(Value::Array(patch))
    }

    fn linked(&self, link: &WorkItemLink) -> Value {
        let rel = match link.relation {
            Relation::Parent => "System.LinkTypes.Hierarchy-Reverse",
            Relation::Child => "System.LinkTypes.Hierarchy-Forward",
            Relation::Related => "System.LinkTypes.Related",
        };
        let url = self.transport.address.work_item_resource(link.target_id);
        add("/relations/-", json!({ "rel": rel, "url": url }))
    }

    fn work_item_effect(&self, project: &str, answer: Answer<RawWorkItem>) -> Effect {
        let id = answer.value.id;
        let title = work_items::text(&answer.value.fields, "System.Title");
        Effect {
            id: Some(id.to_string()),
            title: Some(plain(&title, MAX_TITLE_CHARS)),
            web_url: Some(self.transport.address.work_item(project, id)),
            ..effect(EffectKind::WorkItem, answer.activity_id)
        }
    }

    async fn comment_on_work_item(
        &self,
        permit: &Permit,
        project: &str,
        id: u32,
        text: &str,
    ) -> Result<Effect, Error> {
        comment_text(text)?;
        let parts = [project, &id.to_string()];
        let query = [("format", "markdown")];
        let body = json!({ "text": text });
        let answer: Answer<work_items::RawComment> =
            self.write(permit, &writing::COMMENT_ON_WORK_ITEM, &parts, &query, &body).await?;
        Ok(Effect {
            id: Some(id.to_string()),
            comment_id: answer.value.number(),
            web_url: Some(self.transport.address.work_item(project, id)),
            ..effect(EffectKind::WorkItem, answer.activity_id)
        })
    }

    async fn create_branch(
        &self,
        permit: &Permit,
        repository: &RepositoryRef,
        branch: &BranchName,
        commit: &CommitId,
    ) -> Result<Effect, Error> {
        let body =
            json!([{ "name": branch.full(), "oldObjectId": NO_COMMIT, "newObjectId": commit.as_str() }]);
        let parts = [repository.project.as_str(), repository.repository.as_str()];
        let answer: Answer<List<RefUpdate>> =
            self.write(permit, &writing::UPDATE_REFS, &parts, &[], &body).await?;
        let update = answer.value.value.unwrap_or_default().pop();
        let update = update
            .ok_or_else(|| Error::unreadable("the update of a reference", answer.activity_id.clone()))?;
        // The status is 200 also when the update failed (FACTS §8).
        if update.success != Some(true) {
            return Err(refused(branch, update, answer.activity_id));
        }
        Ok(Effect {
            id: Some(branch.to_string()),
            title: Some(branch.to_string()),
            commit: Some(commit.to_string()),
            web_url: Some(self.transport.address.branch(
                &repository.project,
                &repository.repository,
                branch.as_str(),
            )),
            ..effect(EffectKind::Branch, answer.activity_id)
        })
    }

    async fn push(
        &self,
        permit: &Permit,
        repository: &RepositoryRef,
        message: &str,
        body: &Value,
    ) -> Result<Effect, Error> {
        let parts = [repository.project.as_str(), repository.repository.as_str()];
        let answer: Answer<Pushed> = self.write(permit, &writing::PUSH, &parts, &[], body).await?;
        let tip = answer.value.ref_updates.and_then(|mut moved| moved.pop()?.new_object_id);
        let tip = tip.and_then(|id| CommitId::new(&id).ok());
        let commit = answer.value.commits.and_then(|mut commits| commits.pop()?.id()).or(tip);
        let commit = commit.ok_or_else(|| Error::unreadable("a push", answer.activity_id.clone()))?;
        let address = &self.transport.address;
        Ok(Effect {
            id: Some(commit.to_string()),
            title: Some(plain(message.lines().next().unwrap_or_default(), MAX_TITLE_CHARS)),
            web_url: Some(address.commit(&repository.project, &repository.repository, commit.as_str())),
            commit: Some(commit.into()),
            ..effect(EffectKind::Commit, answer.activity_id)
        })
    }

    async fn create_pull_request(
        &self,
        permit: &Permit,
        repository: &RepositoryRef,
        body: &Value,
    ) -> Result<Effect, Error> {
        let parts = [repository.project.as_str(), repository.repository.as_str()];
        let answer: Answer<RawPullRequest> =
            self.write(permit, &writing::CREATE_PULL_REQUEST, &parts, &[], body).await?;
        let found = self.pull_request_from(repository, answer.value);
        Ok(Effect {
            id: Some(found.id.to_string()),
            title: Some(plain(&found.title, MAX_TITLE_CHARS)),
            commit: found.source_commit.map(String::from),
            web_url: Some(found.web_url),
            ..effect(EffectKind::PullRequest, answer.activity_id)
        })
    }

    async fn update_pull_request(
        &self,
        permit: &Permit,
        repository: &RepositoryRef,
        pull_request: u32,
        body: Value,
    ) -> Result<Effect, Error> {
        if body.as_object().is_none_or(serde_json::Map::is_empty) {
            return Err(Error::invalid("nothing to change was given".into()));
        }
        let id = pull_request.to_string();
        let parts = [repository.project.as_str(), repository.repository.as_str(), &id];
        let answer: Answer<RawPullRequest> =
            self.write(permit, &writing::UPDATE_PULL_REQUEST, &parts, &[], &body).await?;
        let found = self.pull_request_from(repository, answer.value);
        Ok(Effect {
            id: Some(found.id.to_string()),
            title: Some(plain(&found.title, MAX_TITLE_CHARS)),
            web_url: Some(found.web_url),
            ..effect(EffectKind::PullRequest, answer.activity_id)
        })
    }

    async fn create_thread(
        &self,
        permit: &Permit,
        repository: &RepositoryRef,
        pull_request: u32,
        body: &Value,
    ) -> Result<Effect, Error> {
        let id = pull_request.to_string();
        let parts = [repository.project.as_str(), repository.repository.as_str(), &id];
        let answer: Answer<RawThread> =
            self.write(permit, &writing::CREATE_THREAD, &parts, &[], body).await?;
        let thread = answer.value.id;
        Ok(self.thread_effect(repository, pull_request, thread, Some(FIRST_COMMENT), answer.activity_id))
    }

    async fn queue_build(
        &self,
        permit: &Permit,
        project: &str,
        definition: u32,
        branch: &BranchName,
    ) -> Result<Effect, Error> {
        let body = json!({ "definition": { "id": definition }, "sourceBranch": branch.full() });
        let answer: Answer<RawBuild> =
            self.write(permit, &writing::QUEUE_BUILD, &[project], &[], &body).await?;
        let found = self.build_from(project, answer.value);
        Ok(Effect {
            id: Some(found.id.to_string()),
            title: Some(plain(&format!("{} {}", found.definition, found.number), MAX_TITLE_CHARS)),
            web_url: Some(found.web_url),
            ..effect(EffectKind::Build, answer.activity_id)
        })
    }

    async fn reply(
        &self,
        permit: &Permit,
        repository: &RepositoryRef,
        pull_request: u32,
        thread: u32,
        text: &str,
    ) -> Result<Effect, Error> {
        comment_text(text)?;
        let body = json!({ "content": text, "parentCommentId": FIRST_COMMENT, "commentType": "text" });
        let parts = thread_parts(repository, pull_request, thread);
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let answer: Answer<RawComment> = self.write(permit, &writing::REPLY, &parts, &[], &body).await?;
        Ok(self.thread_effect(repository, pull_request, thread, Some(answer.value.id), answer.activity_id))
    }

    fn thread_effect(
        &self,
        repository: &RepositoryRef,
        pull_request: u32,
        thread: u32,
        comment_id: Option<u32>,
        activity_id: Option<String>,
    ) -> Effect {
        let page =
            self.transport.address.pull_request(&repository.project, &repository.repository, pull_request);
        Effect {
            id: Some(thread.to_string()),
            comment_id,
            web_url: Some(format!("{page}?discussionId={thread}")),
            ..effect(EffectKind::Thread, activity_id)
        }
    }
}

fn effect(kind: EffectKind, activity_id: Option<String>) -> Effect {
    Effect { kind, id: None, title: None, commit: None, comment_id: None, web_url: None, activity_id }
}

fn add(path: &str, value: Value) -> Value {
    json!({ "op": "add", "path": path, "value": value })
}

fn comment_text(text: &str) -> Result<(), Error> {
    if text.trim().is_empty() {
        return Err(Error::invalid("the comment is empty".into()));
    }
    limits::check("comment", text, limits::COMMENT)
}

fn thread_parts(repository: &RepositoryRef, pull_request: u32, thread: u32) -> [String; 4] {
    let RepositoryRef { project, repository } = repository.clone();
    [project, repository, pull_request.to_string(), thread.to_string()]
}

/// The error for a reference update that failed inside a 200 (names of `GitRefUpdateStatus`).
fn refused(branch: &BranchName, update: RefUpdate, activity_id: Option<String>) -> Error {
    let status = update.update_status.unwrap_or_default();
    let words = update.custom_message.filter(|words| !words.is_empty()).map(|words| plain(&words, 300));
    let message = match words {
        Some(words) => format!("the branch '{branch}' was not created: {status}: {words}"),
        None => format!("the branch '{branch}' was not created: {status}"),
    };
    let failure = Failure { message, activity_id, ..Failure::default() };
    match status.to_ascii_lowercase().as_str() {
        "staleoldobjectid" | "locked" | "refnameconflict" => Error::Conflict(failure),
        "rejectedbypolicy" | "rejectedbyplugin" => Error::PolicyRefused(failure),
        "forcepushrequired"
        | "writepermissionrequired"
        | "managenotepermissionrequired"
        | "createbranchpermissionrequired"
        | "createtagpermissionrequired" => Error::Forbidden(failure),
        _ => Error::Invalid(failure),
    }
}
