//! What the service hooks are told about each effect.

use serde_json::{Value, json};

use super::hooks::Event;
use super::pull_requests::short;
use super::{Actor, Push, World, ZERO_SHA};
use crate::simulator::azure_devops::render::View;

/// Facts that filters look at.
type Facts = Vec<(&'static str, String)>;

impl World {
    /// Whether anybody would be told of anything; rendering an event for nobody takes time.
    fn is_heard(&self) -> bool {
        !self.subscriptions.is_empty()
    }

    fn name_of(&self, id: uuid::Uuid) -> String {
        self.person(id).map(|p| p.display_name.clone()).unwrap_or_default()
    }

    /// `git.push`, one event for each branch.
    pub(super) fn emit_push(&mut self, push: &Push) {
        if !self.is_heard() {
            return;
        }
        let Some(repository) = self.repositories.get(&push.repository).cloned() else { return };
        let name = self.name_of(push.by);
        for update in push.updates.iter().filter(|u| u.name.starts_with("refs/heads/")) {
            let branch = short(&update.name).to_owned();
            let one = Push { updates: vec![update.clone()], ..push.clone() };
            let resource = View::of(self).push_event(&one);
            let verb = if update.new == ZERO_SHA { "deleted" } else { "pushed updates to" };
            let text = format!("{name} {verb} branch {branch} of repository {}.", repository.name);
            self.emit(Event {
                kind: "git.push",
                project: repository.project,
                text,
                resource,
                facts: vec![
                    ("repository", repository.id.to_string()),
                    ("branch", branch),
                    ("pushedBy", push.by.to_string()),
                ],
            });
        }
    }

    /// One of the pull request events.
    pub(super) fn emit_pull_request(
        &mut self,
        id: u32,
        kind: &'static str,
        actor: Actor,
        verb: &str,
        notification: Option<&'static str>,
    ) {
        let heard = self.is_heard().then(|| self.pull_request_event(id)).flatten();
        let Some((resource, project, mut facts)) = heard else { return };
        if let Some(notification) = notification {
            facts.push(("notificationType", notification.to_owned()));
        }
        let name = self.name_of(actor.id);
        let text = match verb {
            "created" => format!("{name} created pull request {id}"),
            "completed" | "abandoned" | "reactivated" => format!("{name} marked the pull request as {verb}"),
            _ => format!("{name} {verb} pull request {id}"),
        };
        self.emit(Event { kind, project, text, resource, facts });
    }

    fn pull_request_event(&self, id: u32) -> Option<(Value, uuid::Uuid, Facts)> {
        let found = self.pull_requests.get(&id)?;
        let project = self.repositories.get(&found.repository)?.project;
        let mut facts = vec![
            ("repository", found.repository.to_string()),
            ("branch", short(&found.target_ref).to_owned()),
            ("pullrequestCreatedBy", found.created_by.to_string()),
        ];
        facts.extend(found.reviewers.iter().map(|r| ("pullrequestReviewersContains", r.id.to_string())));
        Some((View::of(self).pull_request_event(found), project, facts))
    }

    /// A comment on a pull request was made, edited or deleted.
    pub(super) fn emit_comment(&mut self, id: u32, thread: u32, comment: u32, actor: Actor, verb: &str) {
        let Some((pull_request, project, facts)) = self.pull_request_event(id) else { return };
        let view = View::of(self);
        let Some(found) = self.pull_requests.get(&id) else { return };
        let entry = found.threads.iter().find(|t| t.id == thread);
        let entry = entry.and_then(|t| t.comments.iter().find(|c| c.id == comment).map(|c| (t, c)));
        let Some((thread, comment)) = entry else { return };
        let comment = view.comment_event(found, thread, comment);
        let name = self.name_of(actor.id);
        let text = match verb {
            "commented on" => format!("{name} has commented on a pull request"),
            _ => format!("{name} has {verb} a pull request comment"),
        };
        self.emit(Event {
            kind: "ms.vss-code.git-pullrequest-comment-event",
            project,
            text,
            resource: json!({"comment": comment, "pullRequest": pull_request}),
            facts,
        });
    }

    /// `workitem.created`, or `workitem.updated` and, with a comment, `workitem.commented`.
    pub(super) fn emit_work_item(&mut self, actor: Actor, id: u32, is_new: bool, commented: bool) {
        let name = self.name_of(actor.id);
        let Some(item) = self.work_items.get(&id).filter(|_| self.is_heard()) else { return };
        let (project, label) = (item.project, format!("{} #{id} ({})", item.kind(), item.title()));
        let mut facts = vec![
            ("areaPath", item.text("System.AreaPath").to_owned()),
            ("workItemType", item.kind().to_owned()),
        ];
        facts.extend(item.text("System.Tags").split(';').map(|t| ("tag", t.trim().to_owned())));
        let view = View::of(self);
        let whole = view.work_item_event(item);
        if is_new {
            let text = format!("{label} created by {name}.");
            self.emit(Event { kind: "workitem.created", project, text, resource: whole, facts });
            return;
        }
        let last = item.updates.last();
        let changed = last
            .iter()
            .flat_map(|u| u.fields.keys())
            .map(|f| ("changedFields", f.clone()))
            .collect::<Vec<_>>();
        let history = last.and_then(|u| u.history.clone()).unwrap_or_default();
        let update = view.work_item_update_event(item);
        let mut all = facts.clone();
        all.extend(changed);
        let text = format!("{label} updated by {name}.");
        self.emit(Event { kind: "workitem.updated", project, text, resource: update, facts: all });
        if commented {
            let mut resource = whole;
            resource["fields"]["System.History"] = json!(history);
            facts.push(("commentPattern", history));
            let text = format!("{label} commented on by {name}.");
            self.emit(Event { kind: "workitem.commented", project, text, resource, facts });
        }
    }

    /// `build.complete`.
    pub(super) fn emit_build(&mut self, id: u32) {
        let Some(build) = self.builds.get(&id).filter(|_| self.is_heard()) else { return };
        let Some(definition) = self.definitions.get(&build.definition) else { return };
        let result = build.result.map_or("none", |r| r.name());
        let status = if result == "canceled" { "Stopped" } else { result };
        let facts = vec![("definitionName", definition.name.clone()), ("buildStatus", status.to_owned())];
        let (project, text) = (definition.project, format!("Build {} {result}", build.number));
        let resource = View::of(self).build(build);
        self.emit(Event { kind: "build.complete", project, text, resource, facts });
    }

    /// `workitem.deleted`.
    pub(super) fn emit_work_item_deleted(&mut self, actor: Actor, id: u32) {
        let name = self.name_of(actor.id);
        let Some(item) = self.work_items.get(&id) else { return };
        let (project, text) =
            (item.project, format!("{} #{id} ({}) deleted by {name}.", item.kind(), item.title()));
        let facts = vec![
            ("areaPath", item.text("System.AreaPath").to_owned()),
            ("workItemType", item.kind().to_owned()),
        ];
        let resource = View::of(self).work_item_event(item);
        self.emit(Event { kind: "workitem.deleted", project, text, resource, facts });
    }
}
