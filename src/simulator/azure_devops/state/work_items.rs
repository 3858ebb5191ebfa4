//! Work items: create, change by JSON Patch under the rules of the process, link, discuss, delete.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::access::Permission;
use super::fields;
use super::patch::Operation;
use super::tree::Tree;
use super::{Actor, Counters, FieldValue, Outcome, Revision, Update, WorkItem, WorkItemComment, World};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::wire_enum::wire_enum;

/// Longest long text, in characters.
pub const LONG_TEXT: usize = 1_000_000;
wire_enum! {
    /// A reaction to a comment.
    Reaction {
        Like = 0 "like", Dislike = 1 "dislike", Heart = 2 "heart", Hooray = 3 "hooray", Smile = 4 "smile",
        Confused = 5 "confused",
    }
}
/// Revisions one work item may have over REST.
const REVISIONS: u32 = 10_000;

/// A change being made to a copy; nothing is saved until every rule holds.
pub(super) struct Draft {
    pub(super) item: WorkItem,
    pub(super) before: WorkItem,
    pub(super) history: Option<String>,
    pub(super) is_new: bool,
}

impl World {
    /// A work item that `actor` may read and that is not deleted.
    ///
    /// # Errors
    /// 404 otherwise.
    pub fn visible_work_item(&self, actor: Actor, id: u32) -> Outcome<&WorkItem> {
        self.work_items
            .get(&id)
            .filter(|w| w.deleted.is_none() && self.may(actor.id, w.project, None, Permission::WorkItemRead))
            .ok_or_else(|| Refusal::work_item(id))
    }

    pub(super) fn require_work_item_write(&self, actor: Actor, project: Uuid) -> Outcome<()> {
        if self.may(actor.id, project, None, Permission::WorkItemWrite) {
            return Ok(());
        }
        Err(Refusal::denied(
            "TF237111: The current user does not have permissions to save work items under the specified area path.",
        ))
    }

    /// Creates a work item from a JSON Patch document. With `validate_only` nothing is kept.
    ///
    /// # Errors
    /// 404 for an unknown type, 400 for a broken rule, 403 without permission.
    pub fn create_work_item(
        &mut self,
        actor: Actor,
        project: Uuid,
        kind: &str,
        operations: &[Operation],
        validate_only: bool,
    ) -> Outcome<WorkItem> {
        self.require_work_item_write(actor, project)?;
        let Some(home) = self.projects.get(&project) else {
            return Err(Refusal::project_id(&project.to_string()));
        };
        let kind = home.process.find(kind).ok_or_else(|| Refusal::work_item_type(kind, &home.name))?;
        let state = kind.states[0];
        let now = self.now();
        let mut stored: BTreeMap<String, FieldValue> = BTreeMap::new();
        let texts = [
            ("System.TeamProject", home.name.as_str()),
            ("System.AreaPath", &home.areas[0]),
            ("System.IterationPath", &home.iterations[0]),
            ("System.WorkItemType", kind.name),
            ("System.State", state.name),
            ("System.Reason", kind.reason(None, &state)),
        ];
        stored.extend(texts.map(|(k, v)| (k.to_owned(), FieldValue::from(v))));
        stored.insert("System.CreatedDate".into(), FieldValue::Date(now));
        stored.insert("System.CreatedBy".into(), FieldValue::Person(actor.id));
        stored.insert("Microsoft.VSTS.Common.StateChangeDate".into(), FieldValue::Date(now));
        stored.insert("Microsoft.VSTS.Common.Priority".into(), FieldValue::Integer(2));
        let item = WorkItem {
            id: self.next.work_item + 1,
            project,
            rev: 0,
            fields: stored,
            formats: BTreeMap::new(),
            relations: Vec::new(),
            comments: Vec::new(),
            revisions: Vec::new(),
            updates: Vec::new(),
            deleted: None,
        };
        let before = WorkItem { fields: BTreeMap::new(), ..item.clone() };
        let mut draft = Draft { item, before, history: None, is_new: true };
        self.apply_operations(actor, &mut draft, operations)?;
        self.check_rules(&draft)?;
        if validate_only {
            return Ok(draft.item);
        }
        Counters::next(&mut self.data.next.work_item);
        self.save(actor, draft)
    }

    /// Changes a work item by a JSON Patch document.
    ///
    /// # Errors
    /// 404 unknown, 412 when a `test` fails, 400 for a broken rule, 403 without permission.
    pub fn update_work_item(
        &mut self,
        actor: Actor,
        id: u32,
        operations: &[Operation],
        validate_only: bool,
    ) -> Outcome<WorkItem> {
        let item = self.visible_work_item(actor, id)?.clone();
        self.require_work_item_write(actor, item.project)?;
        if item.rev >= REVISIONS {
            return Err(Refusal::new(
                400,
                "WorkItemRevisionLimitExceededException",
                "VS403378: The work item has too many revisions.",
            ));
        }
        let mut draft = Draft { before: item.clone(), item, history: None, is_new: false };
        self.apply_operations(actor, &mut draft, operations)?;
        self.check_rules(&draft)?;
        if validate_only {
            return Ok(draft.item);
        }
        self.save(actor, draft)
    }

    /// Keeps a checked draft: revision, update, links on the other side, comment, ledger, hooks.
    pub(super) fn save(&mut self, actor: Actor, draft: Draft) -> Outcome<WorkItem> {
        let now = self.now();
        let Draft { mut item, before, history, is_new } = draft;
        let (added, removed) = difference(&item, &before);
        let outside = |r: &super::Relation| matches!(r.target, super::Target::Url(_));
        let fields_changed = item.fields != before.fields || item.formats != before.formats;
        let raises =
            is_new || fields_changed || history.is_some() || added.iter().chain(&removed).any(outside);
        if !raises && added.is_empty() && removed.is_empty() {
            return Ok(item);
        }
        if raises {
            item.rev += 1;
            item.fields.insert("System.ChangedDate".into(), FieldValue::Date(now));
            item.fields.insert("System.ChangedBy".into(), FieldValue::Person(actor.id));
            if let Some(text) = &history {
                let id = Counters::next(&mut self.data.next.comment);
                item.comments.push(WorkItemComment::new(id, text, "html", actor.id, now));
            }
            let comments = item.comment_count();
            item.revisions.push(Revision { rev: item.rev, fields: item.fields.clone(), comments, date: now });
        }
        let names: std::collections::BTreeSet<&String> =
            item.fields.keys().chain(before.fields.keys()).collect();
        let changes = names
            .into_iter()
            .filter(|name| item.fields.get(*name) != before.fields.get(*name))
            .map(|name| (name.clone(), (before.fields.get(name).cloned(), item.fields.get(name).cloned())))
            .collect();
        let update = Update {
            id: u32::try_from(item.updates.len()).unwrap_or(u32::MAX).saturating_add(1),
            rev: item.rev,
            by: actor.id,
            date: now,
            fields: changes,
            added: added.clone(),
            removed: removed.clone(),
            history: history.clone(),
        };
        item.updates.push(update);
        let id = item.id;
        self.data.work_items.insert(id, item.clone());
        let kind = if is_new { "work_item.created" } else { "work_item.updated" };
        self.record(actor, kind, format!("work_item/{id}"));
        self.mirror_links(actor, id, &added, &removed);
        self.emit_work_item(actor, id, is_new, history.is_some());
        Ok(item)
    }

    /// Adds a comment to the discussion.
    ///
    /// # Errors
    /// 404 unknown, 400 for an empty text, 403 without permission.
    pub fn comment_on_work_item(&mut self, actor: Actor, id: u32, text: &str, format: &str) -> Outcome<u32> {
        let item = self.visible_work_item(actor, id)?.clone();
        self.require_work_item_write(actor, item.project)?;
        check_long_text("System.History", text)?;
        if text.trim().is_empty() {
            return Err(Refusal::invalid("text (a comment needs a text)"));
        }
        let draft = Draft { before: item.clone(), item, history: Some(text.to_owned()), is_new: false };
        let saved = self.save(actor, draft)?;
        let comment = saved.comments.last().map_or(0, |c| c.id);
        if let Some(entry) = self.comment_mut(id, comment) {
            entry.format = format.to_owned();
        }
        self.record(actor, "work_item.commented", format!("work_item/{id}/comments/{comment}"));
        Ok(comment)
    }

    fn comment_mut(&mut self, id: u32, comment: u32) -> Option<&mut WorkItemComment> {
        self.data.work_items.get_mut(&id)?.comments.iter_mut().find(|c| c.id == comment)
    }

    /// Changes (or, without a text, deletes) one's own comment.
    ///
    /// # Errors
    /// 404 unknown, 403 for another's comment.
    pub fn change_work_item_comment(
        &mut self,
        actor: Actor,
        id: u32,
        comment: u32,
        text: Option<&str>,
    ) -> Outcome<WorkItemComment> {
        let project = self.visible_work_item(actor, id)?.project;
        self.require_work_item_write(actor, project)?;
        let now = self.now();
        let missing = || {
            Refusal::new(
                404,
                "WorkItemCommentNotFoundException",
                format!("The comment {comment} was not found."),
            )
        };
        let entry = self.comment_mut(id, comment).filter(|c| !c.deleted).ok_or_else(missing)?;
        if entry.created_by != actor.id {
            return Err(Refusal::denied("A comment can be changed only by its author."));
        }
        match text {
            Some(text) => text.clone_into(&mut entry.text),
            None => entry.deleted = true,
        }
        entry.version += 1;
        entry.modified = now;
        entry.modified_by = actor.id;
        let result = entry.clone();
        let kind = if text.is_some() { "work_item.comment_edited" } else { "work_item.comment_deleted" };
        self.record(actor, kind, format!("work_item/{id}/comments/{comment}"));
        Ok(result)
    }

    /// Reacts to a comment with a [`Reaction`], or takes the reaction back.
    ///
    /// # Errors
    /// 404 unknown, 400 for another reaction.
    pub fn react(&mut self, actor: Actor, id: u32, comment: u32, kind: &str, on: bool) -> Outcome<()> {
        self.visible_work_item(actor, id)?;
        let kind = Reaction::from_text(kind).ok_or_else(|| Refusal::invalid("reactionType"))?.name();
        let missing = || {
            let text = format!("The comment {comment} was not found.");
            Refusal::new(404, "WorkItemCommentNotFoundException", text)
        };
        let entry = self.comment_mut(id, comment).filter(|c| !c.deleted).ok_or_else(missing)?;
        let who = entry.reactions.entry(kind.to_owned()).or_default();
        if on {
            who.insert(actor.id)
        } else {
            who.remove(&actor.id)
        };
        self.record(actor, "work_item.reaction", format!("work_item/{id}/comments/{comment}={kind}"));
        Ok(())
    }

    /// Puts a work item into the recycle bin, or removes it for good.
    ///
    /// # Errors
    /// 404 unknown, 403 without permission.
    pub fn delete_work_item(&mut self, actor: Actor, id: u32, destroy: bool) -> Outcome<WorkItem> {
        let mut item = self.visible_work_item(actor, id)?.clone();
        self.require_work_item_write(actor, item.project)?;
        item.deleted = Some((self.now(), actor.id));
        let removed = std::mem::take(&mut item.relations);
        self.mirror_links(actor, id, &[], &removed);
        self.data.work_items.insert(id, item.clone());
        self.emit_work_item_deleted(actor, id);
        if destroy {
            self.data.work_items.remove(&id);
        }
        self.record(actor, "work_item.deleted", format!("work_item/{id}"));
        Ok(item)
    }

    /// Takes a work item back out of the recycle bin; its links stay removed.
    ///
    /// # Errors
    /// 404 when it is not there, 403 without permission.
    pub fn restore_work_item(&mut self, actor: Actor, id: u32) -> Outcome<()> {
        let bin = self.work_items.get(&id).filter(|w| w.deleted.is_some());
        let readable = bin.filter(|w| self.may(actor.id, w.project, None, Permission::WorkItemRead));
        let project = readable.ok_or_else(|| Refusal::work_item(id))?.project;
        self.require_work_item_write(actor, project)?;
        if let Some(item) = self.data.work_items.get_mut(&id) {
            item.deleted = None;
        }
        self.record(actor, "work_item.restored", format!("work_item/{id}"));
        Ok(())
    }

    fn check_rules(&self, draft: &Draft) -> Outcome<()> {
        let item = &draft.item;
        let Some(home) = self.projects.get(&item.project) else { return Ok(()) };
        if item.title().trim().is_empty() {
            return Err(Refusal::rule("System.Title", "Title", "required", "Required, InvalidEmpty"));
        }
        let kind =
            home.process.find(item.kind()).ok_or_else(|| Refusal::work_item_type(item.kind(), &home.name))?;
        if kind.state(item.state()).is_none() {
            return Err(Refusal::rule(
                "System.State",
                "State",
                "limitedToValues",
                "Required, HasValues, LimitedToValues, AllowsOldValue, InvalidListValue",
            ));
        }
        let shown_id = if draft.is_new { -1 } else { i64::from(item.id) };
        for (tree, field) in [(Tree::Areas, "System.AreaPath"), (Tree::Iterations, "System.IterationPath")] {
            if home.node(tree, item.text(field)).is_none() {
                return Err(Refusal::tree_path(shown_id, field));
            }
        }
        if let Some(FieldValue::Integer(priority)) = item.fields.get("Microsoft.VSTS.Common.Priority")
            && !(1..=4).contains(priority)
        {
            return Err(Refusal::rule(
                "Microsoft.VSTS.Common.Priority",
                "Priority",
                "limitedToValues",
                "HasValues, LimitedToValues, AllowsOldValue, InvalidListValue",
            ));
        }
        for name in item.fields.keys() {
            if !kind.has(name) {
                let label = fields::find(name).map_or(name.as_str(), |f| f.name);
                return Err(Refusal::rule(name, label, "invalidNotOldValue", "ReadOnly, InvalidNotOldValue"));
            }
        }
        Ok(())
    }
}

impl WorkItemComment {
    fn new(id: u32, text: &str, format: &str, by: Uuid, now: jiff::Timestamp) -> Self {
        Self {
            id,
            text: text.to_owned(),
            format: format.to_owned(),
            created_by: by,
            created: now,
            modified_by: by,
            modified: now,
            version: 1,
            deleted: false,
            reactions: BTreeMap::new(),
        }
    }
}

/// Links added and removed.
fn difference(now: &WorkItem, before: &WorkItem) -> (Vec<super::Relation>, Vec<super::Relation>) {
    let added = now.relations.iter().filter(|r| !before.relations.contains(r)).cloned().collect();
    let removed = before.relations.iter().filter(|r| !now.relations.contains(r)).cloned().collect();
    (added, removed)
}

/// That a long text is not over its limit.
pub(super) fn check_long_text(field: &str, text: &str) -> Outcome<()> {
    if text.chars().count() > LONG_TEXT {
        return Err(Refusal::rule(field, field, "tooLong", "InvalidTooLong"));
    }
    Ok(())
}

/// A JSON value as text, for fields that hold text.
pub(super) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
