//! The fields of work items: names, types, values.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A stored value.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub enum FieldValue {
    /// Text, HTML or Markdown, a tree path, or tags.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Double(f64),
    /// An instant.
    Date(Timestamp),
    /// An identity.
    Person(Uuid),
}

/// Type of a field, with the names of `FieldType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// One line, at most 255 characters.
    String,
    /// Whole number.
    Integer,
    /// Number.
    Double,
    /// Instant.
    DateTime,
    /// Long text with HTML or Markdown.
    Html,
    /// Discussion.
    History,
    /// Area or iteration.
    TreePath,
    /// Tags.
    PlainText,
    /// Identity.
    Identity,
}

/// A field that exists.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// `System.Title`.
    pub reference: &'static str,
    /// `Title`.
    pub name: &'static str,
    /// Type.
    pub kind: FieldKind,
    /// Clients cannot write it.
    pub read_only: bool,
}

impl FieldKind {
    /// Name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            FieldKind::String | FieldKind::Identity => "string",
            FieldKind::Integer => "integer",
            FieldKind::Double => "double",
            FieldKind::DateTime => "dateTime",
            FieldKind::Html => "html",
            FieldKind::History => "history",
            FieldKind::TreePath => "treePath",
            FieldKind::PlainText => "plainText",
        }
    }
}

const fn field(reference: &'static str, name: &'static str, kind: FieldKind, read_only: bool) -> Field {
    Field { reference, name, kind, read_only }
}

/// Every field served.
pub const FIELDS: &[Field] = &[
    field("System.Id", "ID", FieldKind::Integer, true),
    field("System.Rev", "Rev", FieldKind::Integer, true),
    field("System.Title", "Title", FieldKind::String, false),
    field("System.WorkItemType", "Work Item Type", FieldKind::String, false),
    field("System.State", "State", FieldKind::String, false),
    field("System.Reason", "Reason", FieldKind::String, false),
    field("System.AssignedTo", "Assigned To", FieldKind::Identity, false),
    field("System.Description", "Description", FieldKind::Html, false),
    field("System.Tags", "Tags", FieldKind::PlainText, false),
    field("System.History", "History", FieldKind::History, false),
    field("System.AreaPath", "Area Path", FieldKind::TreePath, false),
    field("System.AreaId", "Area ID", FieldKind::Integer, true),
    field("System.NodeName", "Node Name", FieldKind::String, true),
    field("System.IterationPath", "Iteration Path", FieldKind::TreePath, false),
    field("System.IterationId", "Iteration ID", FieldKind::Integer, true),
    field("System.TeamProject", "Team Project", FieldKind::String, true),
    field("System.CreatedDate", "Created Date", FieldKind::DateTime, true),
    field("System.CreatedBy", "Created By", FieldKind::Identity, true),
    field("System.ChangedDate", "Changed Date", FieldKind::DateTime, true),
    field("System.ChangedBy", "Changed By", FieldKind::Identity, true),
    field("System.AuthorizedDate", "Authorized Date", FieldKind::DateTime, true),
    field("System.AuthorizedAs", "Authorized As", FieldKind::Identity, true),
    field("System.RevisedDate", "Revised Date", FieldKind::DateTime, true),
    field("System.Watermark", "Watermark", FieldKind::Integer, true),
    field("System.CommentCount", "Comment Count", FieldKind::Integer, true),
    field("System.Parent", "Parent", FieldKind::Integer, true),
    field("System.BoardColumn", "Board Column", FieldKind::String, true),
    field("Microsoft.VSTS.Common.Priority", "Priority", FieldKind::Integer, false),
    field("Microsoft.VSTS.Common.Severity", "Severity", FieldKind::String, false),
    field("Microsoft.VSTS.Common.StateChangeDate", "State Change Date", FieldKind::DateTime, true),
    field("Microsoft.VSTS.Common.ActivatedDate", "Activated Date", FieldKind::DateTime, true),
    field("Microsoft.VSTS.Common.ActivatedBy", "Activated By", FieldKind::Identity, true),
    field("Microsoft.VSTS.Common.ResolvedDate", "Resolved Date", FieldKind::DateTime, true),
    field("Microsoft.VSTS.Common.ResolvedBy", "Resolved By", FieldKind::Identity, true),
    field("Microsoft.VSTS.Common.ClosedDate", "Closed Date", FieldKind::DateTime, true),
    field("Microsoft.VSTS.Common.ClosedBy", "Closed By", FieldKind::Identity, true),
    field("Microsoft.VSTS.Common.AcceptanceCriteria", "Acceptance Criteria", FieldKind::Html, false),
    field("Microsoft.VSTS.Common.StackRank", "Stack Rank", FieldKind::Double, false),
    field("Microsoft.VSTS.Common.ValueArea", "Value Area", FieldKind::String, false),
    field("Microsoft.VSTS.Common.Activity", "Activity", FieldKind::String, false),
    field("Microsoft.VSTS.TCM.ReproSteps", "Repro Steps", FieldKind::Html, false),
    field("Microsoft.VSTS.TCM.SystemInfo", "System Info", FieldKind::Html, false),
    field("Microsoft.VSTS.Scheduling.Effort", "Effort", FieldKind::Double, false),
    field("Microsoft.VSTS.Scheduling.StoryPoints", "Story Points", FieldKind::Double, false),
    field("Microsoft.VSTS.Scheduling.RemainingWork", "Remaining Work", FieldKind::Double, false),
    field("Microsoft.VSTS.Scheduling.CompletedWork", "Completed Work", FieldKind::Double, false),
    field("Microsoft.VSTS.Scheduling.OriginalEstimate", "Original Estimate", FieldKind::Double, false),
    field("Microsoft.VSTS.Scheduling.StartDate", "Start Date", FieldKind::DateTime, false),
    field("Microsoft.VSTS.Scheduling.TargetDate", "Target Date", FieldKind::DateTime, false),
    field("Microsoft.VSTS.Scheduling.FinishDate", "Finish Date", FieldKind::DateTime, false),
    field("Microsoft.VSTS.Scheduling.DueDate", "Due Date", FieldKind::DateTime, false),
];

/// A field by reference name or name, ignoring case.
pub fn find(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|f| f.reference.eq_ignore_ascii_case(name) || f.name.eq_ignore_ascii_case(name))
}

impl FieldValue {
    /// The text inside, for text values.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            FieldValue::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        FieldValue::Text(text.to_owned())
    }
}
