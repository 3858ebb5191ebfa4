//! The shape of a work item.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::FieldValue;

/// A work item with its history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkItem {
    /// Id, unique in the organisation.
    pub id: u32,
    /// Its project.
    pub project: Uuid,
    /// Grows by one with each saved change of fields.
    pub rev: u32,
    /// Stored fields by reference name.
    pub fields: BTreeMap<String, FieldValue>,
    /// `multilineFieldsFormat`.
    pub formats: BTreeMap<String, String>,
    /// Links.
    pub relations: Vec<Relation>,
    /// Discussion, oldest first.
    pub comments: Vec<WorkItemComment>,
    /// Fields as they were at each revision.
    pub revisions: Vec<Revision>,
    /// What each save changed.
    pub updates: Vec<Update>,
    /// In the recycle bin since, and by whom.
    pub deleted: Option<(Timestamp, Uuid)>,
}

/// A link.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Relation {
    /// Type, `System.LinkTypes.Related`.
    pub rel: String,
    /// To what.
    pub target: Target,
    /// `attributes.name`.
    pub name: Option<String>,
    /// `attributes.comment`.
    pub comment: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// Number, for links to things outside.
    pub id: u32,
}

/// What a link points at.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum Target {
    /// Another work item.
    WorkItem(u32),
    /// An artifact, page or file.
    Url(String),
}

/// A comment of the discussion.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkItemComment {
    /// Number, unique in the organisation.
    pub id: u32,
    /// Text as given.
    pub text: String,
    /// `markdown` or `html`.
    pub format: String,
    /// Who.
    pub created_by: Uuid,
    /// When.
    pub created: Timestamp,
    /// Who changed it last.
    pub modified_by: Uuid,
    /// When.
    pub modified: Timestamp,
    /// Grows with each change.
    pub version: u32,
    /// Deleted.
    pub deleted: bool,
    /// Who reacted, by the kind of reaction.
    #[serde(default)]
    pub reactions: BTreeMap<String, BTreeSet<Uuid>>,
}

/// Fields at one revision.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Revision {
    /// Number.
    pub rev: u32,
    /// Fields then.
    pub fields: BTreeMap<String, FieldValue>,
    /// Comments there were.
    pub comments: usize,
    /// When it was saved.
    pub date: Timestamp,
}

/// One save.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Update {
    /// Number, from 1.
    pub id: u32,
    /// Revision it made, or the one it left as it was.
    pub rev: u32,
    /// Who.
    pub by: Uuid,
    /// When.
    pub date: Timestamp,
    /// Changed fields: before and after.
    pub fields: BTreeMap<String, (Option<FieldValue>, Option<FieldValue>)>,
    /// New links.
    pub added: Vec<Relation>,
    /// Removed links.
    pub removed: Vec<Relation>,
    /// Text of a comment made with it.
    pub history: Option<String>,
}

impl WorkItem {
    /// The text of a stored field, or nothing.
    pub fn text(&self, reference: &str) -> &str {
        self.fields.get(reference).and_then(FieldValue::as_text).unwrap_or_default()
    }

    /// Title.
    pub fn title(&self) -> &str {
        self.text("System.Title")
    }

    /// Type name.
    pub fn kind(&self) -> &str {
        self.text("System.WorkItemType")
    }

    /// State name.
    pub fn state(&self) -> &str {
        self.text("System.State")
    }

    /// Who it is assigned to.
    pub fn assigned_to(&self) -> Option<Uuid> {
        match self.fields.get("System.AssignedTo") {
            Some(FieldValue::Person(id)) => Some(*id),
            _ => None,
        }
    }

    /// Comments that are not deleted.
    pub fn comment_count(&self) -> usize {
        self.comments.iter().filter(|c| !c.deleted).count()
    }

    /// Its parent.
    pub fn parent(&self) -> Option<u32> {
        self.relations.iter().find(|r| r.rel == "System.LinkTypes.Hierarchy-Reverse").and_then(|r| {
            match r.target {
                Target::WorkItem(id) => Some(id),
                Target::Url(_) => None,
            }
        })
    }
}

/// Link types: reference name, name, and the reference name of the other side.
pub const LINK_TYPES: &[(&str, &str, &str)] = &[
    ("System.LinkTypes.Hierarchy-Forward", "Child", "System.LinkTypes.Hierarchy-Reverse"),
    ("System.LinkTypes.Hierarchy-Reverse", "Parent", "System.LinkTypes.Hierarchy-Forward"),
    ("System.LinkTypes.Related", "Related", "System.LinkTypes.Related"),
    ("System.LinkTypes.Dependency-Forward", "Successor", "System.LinkTypes.Dependency-Reverse"),
    ("System.LinkTypes.Dependency-Reverse", "Predecessor", "System.LinkTypes.Dependency-Forward"),
    ("System.LinkTypes.Duplicate-Forward", "Duplicate", "System.LinkTypes.Duplicate-Reverse"),
    ("System.LinkTypes.Duplicate-Reverse", "Duplicate Of", "System.LinkTypes.Duplicate-Forward"),
    ("Microsoft.VSTS.Common.TestedBy-Forward", "Tested By", "Microsoft.VSTS.Common.TestedBy-Reverse"),
    ("Microsoft.VSTS.Common.TestedBy-Reverse", "Tests", "Microsoft.VSTS.Common.TestedBy-Forward"),
];

/// Relation types that point outside of work items: reference name and name.
pub const RESOURCE_TYPES: &[(&str, &str)] =
    &[("Hyperlink", "Hyperlink"), ("AttachedFile", "Attached File"), ("ArtifactLink", "Artifact Link")];
