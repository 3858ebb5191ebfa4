//! Work items, comments, updates, revisions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{View, stamp};
use crate::simulator::azure_devops::state::tree::Tree;
use crate::simulator::azure_devops::state::{
    FieldValue, Relation, Target, Update, WorkItem, WorkItemComment,
};

/// How much of a work item is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expand {
    /// Links.
    pub relations: bool,
    /// `_links`.
    pub links: bool,
    /// Computed fields.
    pub fields: bool,
}

impl Expand {
    /// Everything.
    pub const ALL: Self = Self { relations: true, links: true, fields: true };

    /// Reads `$expand`: none 0, relations 1, fields 2, links 3, all 4.
    pub fn from_text(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "none" | "0" => Self::default(),
            "relations" | "1" => Self { relations: true, ..Self::default() },
            "fields" | "2" => Self { fields: true, ..Self::default() },
            "links" | "3" => Self { links: true, ..Self::default() },
            "all" | "4" => Self::ALL,
            _ => return None,
        })
    }
}

impl View<'_> {
    /// Address of a work item inside its project.
    pub fn work_item_url(&self, item: &WorkItem) -> String {
        format!("{}/{}/_apis/wit/workItems/{}", self.base, item.project, item.id)
    }

    /// Address of a work item for people.
    pub fn work_item_web_url(&self, item: &WorkItem) -> String {
        format!("{}/{}/_workitems/edit/{}", self.base, item.project, item.id)
    }

    /// A field value on the wire.
    pub fn field_value(&self, value: &FieldValue) -> Value {
        match value {
            FieldValue::Text(text) => json!(text),
            FieldValue::Integer(number) => json!(number),
            FieldValue::Double(number) => json!(number),
            FieldValue::Date(date) => json!(stamp(*date)),
            FieldValue::Person(id) => self.identity(*id),
        }
    }

    /// `fields`; `wanted` limits them.
    pub fn work_item_fields(
        &self,
        item: &WorkItem,
        computed: bool,
        wanted: Option<&[String]>,
    ) -> Map<String, Value> {
        let order = [
            "System.AreaPath",
            "System.TeamProject",
            "System.IterationPath",
            "System.WorkItemType",
            "System.State",
            "System.Reason",
            "System.AssignedTo",
            "System.CreatedDate",
            "System.CreatedBy",
            "System.ChangedDate",
            "System.ChangedBy",
        ];
        let mut map = Map::new();
        let mut add = |name: &str, value: Value| {
            if wanted.is_none_or(|w| w.iter().any(|x| x.eq_ignore_ascii_case(name))) {
                map.insert(name.to_owned(), value);
            }
        };
        let explicit = wanted.is_some();
        if computed || explicit {
            add("System.Id", json!(item.id));
            add("System.Rev", json!(item.rev));
        }
        for name in order {
            if let Some(value) = item.fields.get(name) {
                add(name, self.field_value(value));
            }
        }
        add("System.CommentCount", json!(item.comment_count()));
        for (name, value) in item.fields.iter().filter(|(n, _)| !order.contains(&n.as_str())) {
            add(name, self.field_value(value));
        }
        if computed || explicit {
            for name in ["System.NodeName", "System.AuthorizedDate", "System.AuthorizedAs", "System.Parent"] {
                if let Some(value) = self.world.field_of(item, name) {
                    add(name, self.field_value(&value));
                }
            }
            if explicit {
                add("System.BoardColumn", json!(item.state()));
            }
            add("System.AreaId", json!(self.node_id(item, "System.AreaPath")));
            add("System.IterationId", json!(self.node_id(item, "System.IterationPath")));
            for (field, level) in
                [("System.AreaPath", "System.AreaLevel"), ("System.IterationPath", "System.IterationLevel")]
            {
                for (name, number) in item.text(field).split('\\').zip(1..) {
                    add(&format!("{level}{number}"), json!(name));
                }
            }
            add("System.PersonId", json!(279_163_667));
            add("System.RevisedDate", json!("9999-01-01T00:00:00Z"));
            add("System.Watermark", json!(item.updates.len()));
        } else if let Some(parent) = item.parent() {
            add("System.Parent", json!(parent));
        }
        map
    }

    fn node_id(&self, item: &WorkItem, field: &str) -> usize {
        let Some(project) = self.world.projects.get(&item.project) else { return 0 };
        let tree = if field == "System.AreaPath" { Tree::Areas } else { Tree::Iterations };
        project.node(tree, item.text(field)).map_or(0, |at| project.node_ids(tree, at).0)
    }

    /// WorkItem.
    pub fn work_item(&self, item: &WorkItem, expand: Expand, wanted: Option<&[String]>) -> Value {
        let mut map = Map::new();
        map.insert("id".into(), json!(item.id));
        map.insert("rev".into(), json!(item.rev));
        map.insert("fields".into(), Value::Object(self.work_item_fields(item, expand.fields, wanted)));
        map.insert("multilineFieldsFormat".into(), json!(item.formats));
        if expand.relations && !item.relations.is_empty() {
            map.insert("relations".into(), item.relations.iter().map(|r| self.relation(item, r)).collect());
        }
        if expand.links {
            map.insert("_links".into(), self.work_item_links(item));
        }
        map.insert("url".into(), json!(self.work_item_url(item)));
        Value::Object(map)
    }

    fn work_item_links(&self, item: &WorkItem) -> Value {
        let url = self.work_item_url(item);
        let wit = format!("{}/{}/_apis/wit", self.base, item.project);
        json!({
            "self": {"href": url},
            "workItemUpdates": {"href": format!("{url}/updates")},
            "workItemRevisions": {"href": format!("{url}/revisions")},
            "workItemComments": {"href": format!("{url}/comments")},
            "html": {"href": self.work_item_web_url(item)},
            "workItemType": {"href": format!("{wit}/workItemTypes/{}", item.kind().replace(' ', "%20"))},
            "fields": {"href": format!("{wit}/fields")},
        })
    }

    /// WorkItemRelation.
    pub fn relation(&self, item: &WorkItem, relation: &Relation) -> Value {
        let mut attributes = Map::new();
        let url = match &relation.target {
            Target::WorkItem(id) => {
                attributes.insert("isLocked".into(), json!(false));
                let project = self.world.work_items.get(id).map_or(item.project, |w| w.project);
                format!("{}/{project}/_apis/wit/workItems/{id}", self.base)
            }
            Target::Url(url) => {
                attributes.insert("authorizedDate".into(), json!(stamp(relation.created)));
                attributes.insert("id".into(), json!(relation.id));
                attributes.insert("resourceCreatedDate".into(), json!(stamp(relation.created)));
                attributes.insert("resourceModifiedDate".into(), json!(stamp(relation.created)));
                attributes.insert("revisedDate".into(), json!("9999-01-01T00:00:00Z"));
                url.clone()
            }
        };
        super::put(&mut attributes, "comment", relation.comment.clone());
        super::put(&mut attributes, "name", relation.name.clone());
        json!({"rel": relation.rel, "url": url, "attributes": attributes})
    }

    /// Comment of the discussion.
    pub fn work_item_comment(&self, item: &WorkItem, comment: &WorkItemComment) -> Value {
        let mut value = json!({
            "mentions": [],
            "workItemId": item.id,
            "id": comment.id,
            "commentId": comment.id,
            "version": comment.version,
            "text": comment.text,
            "createdBy": self.identity(comment.created_by),
            "createdDate": stamp(comment.created),
            "modifiedBy": self.identity(comment.modified_by),
            "modifiedDate": stamp(comment.modified),
            "format": comment.format,
            "isDeleted": comment.deleted,
            "url": format!("{}/comments/{}", self.work_item_url(item), comment.id),
        });
        if comment.format == "markdown" {
            value["renderedText"] = json!(comment.text);
        }
        value
    }

    /// WorkItemUpdate.
    pub fn work_item_update(&self, item: &WorkItem, update: &Update) -> Value {
        let mut map = Map::new();
        map.insert("id".into(), json!(update.id));
        map.insert("workItemId".into(), json!(item.id));
        map.insert("rev".into(), json!(update.rev));
        map.insert("revisedBy".into(), self.identity(update.by));
        let later = item.updates.iter().find(|u| u.id > update.id).map(|u| stamp(u.date));
        map.insert("revisedDate".into(), json!(later.unwrap_or_else(|| "9999-01-01T00:00:00Z".into())));
        let mut fields: Map<String, Value> = Map::new();
        for (name, (old, new)) in &update.fields {
            let mut change = Map::new();
            super::put(&mut change, "oldValue", old.as_ref().map(|v| self.field_value(v)));
            super::put(&mut change, "newValue", new.as_ref().map(|v| self.field_value(v)));
            fields.insert(name.clone(), Value::Object(change));
        }
        if let Some(text) = &update.history {
            fields.insert("System.History".into(), json!({"newValue": text}));
        }
        if !fields.is_empty() {
            map.insert("fields".into(), Value::Object(fields));
        }
        let mut relations = Map::new();
        for (key, list) in [("added", &update.added), ("removed", &update.removed)] {
            if !list.is_empty() {
                relations.insert(key.into(), list.iter().map(|r| self.relation(item, r)).collect());
            }
        }
        if !relations.is_empty() {
            map.insert("relations".into(), Value::Object(relations));
        }
        map.insert("url".into(), json!(format!("{}/updates/{}", self.work_item_url(item), update.id)));
        Value::Object(map)
    }

    /// The item as it was at a revision.
    pub fn work_item_revision(&self, item: &WorkItem, rev: u32) -> Option<Value> {
        let revision = item.revisions.iter().find(|r| r.rev == rev)?;
        let mut then = item.clone();
        then.fields.clone_from(&revision.fields);
        then.rev = rev;
        let mut value = self.work_item(&then, Expand::default(), None);
        value["url"] = json!(format!("{}/revisions/{rev}", self.work_item_url(item)));
        Some(value)
    }

    /// The flat form of version 1.0 events: identities as text.
    pub fn work_item_event(&self, item: &WorkItem) -> Value {
        let mut value = self.work_item(item, Expand { links: true, ..Expand::default() }, None);
        let flat: BTreeMap<&str, String> =
            item.fields.iter().filter_map(|(n, v)| Some((n.as_str(), self.flat(v)?))).collect();
        for (name, text) in flat {
            value["fields"][name] = json!(text);
        }
        if let Some(map) = value.as_object_mut() {
            map.shift_remove("multilineFieldsFormat");
            if !item.relations.is_empty() {
                map.insert(
                    "relations".into(),
                    item.relations.iter().map(|r| self.relation(item, r)).collect(),
                );
            }
        }
        value
    }

    fn flat(&self, value: &FieldValue) -> Option<String> {
        let FieldValue::Person(id) = value else { return None };
        self.world.person(*id).map(|p| format!("{} <{}>", p.display_name, p.account))
    }

    /// The resource of `workitem.updated`.
    pub fn work_item_update_event(&self, item: &WorkItem) -> Value {
        let Some(update) = item.updates.last() else { return Value::Null };
        let mut value = self.work_item_update(item, update);
        for (name, (old, new)) in &update.fields {
            for (key, side) in [("oldValue", old), ("newValue", new)] {
                if let Some(text) = side.as_ref().and_then(|v| self.flat(v)) {
                    value["fields"][name][key] = json!(text);
                }
            }
        }
        let url = self.work_item_url(item);
        value["_links"] = json!({
            "self": {"href": format!("{url}/updates/{}", update.id)},
            "parent": {"href": url},
            "workItemUpdates": {"href": format!("{url}/updates")},
        });
        let mut revision = self.work_item_event(item);
        revision["url"] = json!(format!("{url}/revisions/{}", item.rev));
        value["revision"] = revision;
        value
    }
}
