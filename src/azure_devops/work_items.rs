//! Reads of work items.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::people::{IdentityRef, List, Person};
use super::routes::{
    WIQL, WORK_ITEM, WORK_ITEM_COMMENTS, WORK_ITEM_REVISION, WORK_ITEM_TYPES, WORK_ITEMS_BATCH,
};
use super::transport::Question;
use super::{Client, Error, limits};

/// Comments in one page.
const COMMENTS_PER_PAGE: usize = 200;
/// Fields of a summary.
const SUMMARY_FIELDS: [&str; 8] = [
    "System.Id",
    "System.WorkItemType",
    "System.Title",
    "System.State",
    "System.AssignedTo",
    "System.ChangedBy",
    "System.TeamProject",
    "System.ChangedDate",
];

/// A work item.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkItem {
    /// Number, unique in the organisation.
    pub id: u32,
    /// Revision it was read at: what a change must name.
    pub rev: u32,
    /// Type, for example `Issue`.
    pub work_item_type: String,
    /// Title.
    pub title: String,
    /// State.
    pub state: String,
    /// Who works on it.
    pub assigned_to: Option<Person>,
    /// Who created it.
    pub created_by: Option<Person>,
    /// When.
    pub created: Option<Timestamp>,
    /// Who changed it last.
    pub changed_by: Option<Person>,
    /// Description; see `description_format`.
    pub description: String,
    /// How the description is written.
    pub description_format: TextFormat,
    /// Tags.
    pub tags: Vec<String>,
    /// Name of its project.
    pub project: String,
    /// Links.
    pub relations: Vec<WorkItemRelation>,
    /// Every field as the service gives it, by reference name.
    pub fields: BTreeMap<String, Value>,
    /// Its page.
    pub web_url: String,
}

impl WorkItem {
    /// Whether anybody may have said something in its discussion. False only where the item itself
    /// says that nobody did (`System.CommentCount`, in every recorded item); one that does not say has
    /// to be asked.
    pub fn has_comments(&self) -> bool {
        self.fields.get("System.CommentCount").and_then(Value::as_u64) != Some(0)
    }
}

/// How a long text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TextFormat {
    /// HTML.
    Html,
    /// Markdown.
    Markdown,
}

/// A link of a work item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkItemRelation {
    /// What it leads to, seen from the item that has it.
    pub kind: LinkKind,
    /// Number of the work item, pull request or build; `None` for the others.
    pub target_id: Option<u32>,
    /// The link as stored.
    pub url: String,
    /// What somebody wrote beside it.
    pub comment: Option<String>,
}

/// What a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// The parent.
    Parent,
    /// A child.
    Child,
    /// A related work item.
    Related,
    /// A pull request.
    PullRequest,
    /// A commit.
    Commit,
    /// A branch.
    Branch,
    /// A build.
    Build,
    /// A web address.
    Hyperlink,
    /// An attached file.
    Attachment,
    /// Something else.
    Other,
}

/// A work item in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkItemSummary {
    /// Number.
    pub id: u32,
    /// Type.
    pub work_item_type: String,
    /// Title.
    pub title: String,
    /// State.
    pub state: String,
    /// Who works on it.
    pub assigned_to: Option<Person>,
    /// Who changed it last.
    pub changed_by: Option<Person>,
    /// Name of its project.
    pub project: String,
    /// Its page.
    pub web_url: String,
}

/// A comment in a work item's discussion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkItemComment {
    /// Id.
    pub id: u32,
    /// Who wrote it.
    pub author: Person,
    /// Its text; see `format`.
    pub text: String,
    /// How it is written.
    pub format: TextFormat,
    /// When.
    pub created: Option<Timestamp>,
    /// Grows with every edit.
    pub version: u32,
    /// Who edited it last, or wrote it.
    pub edited_by: Person,
    /// When its text was changed last.
    pub edited: Option<Timestamp>,
}

/// A type of work items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkItemType {
    /// Name, for example `Issue`.
    pub name: String,
    /// Whether new items of it can be made.
    pub is_disabled: bool,
    /// Its states, in the service's order; empty where the service leaves them out.
    pub states: Vec<State>,
}

/// A state of a work item type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Name, for example `Doing`.
    pub name: String,
    /// `Proposed`, `InProgress`, `Resolved`, `Completed` or `Removed`.
    #[serde(default)]
    pub category: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawWorkItem {
    pub(super) id: u32,
    rev: Option<u32>,
    #[serde(default)]
    pub(super) fields: Map<String, Value>,
    relations: Option<Vec<RawRelation>>,
    multiline_fields_format: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct RawRelation {
    rel: String,
    url: Option<String>,
    #[serde(default)]
    attributes: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawComments {
    comments: Option<Vec<RawComment>>,
    continuation_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawComment {
    /// The definition of 7.1 says `id`, the official example `commentId` (FACTS §9).
    id: Option<u32>,
    comment_id: Option<u32>,
    text: Option<String>,
    format: Option<String>,
    created_by: Option<IdentityRef>,
    created_date: Option<Timestamp>,
    version: Option<u32>,
    modified_by: Option<IdentityRef>,
    modified_date: Option<Timestamp>,
    is_deleted: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawQueryResult {
    pub(super) work_items: Option<Vec<RawReference>>,
    work_item_relations: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct RawReference {
    pub(super) id: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawType {
    name: String,
    is_disabled: Option<bool>,
    states: Option<Vec<State>>,
}

pub(super) fn text(fields: &Map<String, Value>, name: &str) -> String {
    fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Identity fields are objects since api 5.0; older servers give `Name <mail>`.
pub(super) fn person(fields: &Map<String, Value>, name: &str) -> Option<Person> {
    match fields.get(name)? {
        Value::String(text) if !text.is_empty() => Some(Person { name: text.clone(), ..Person::default() }),
        object @ Value::Object(_) => IdentityRef::deserialize(object).ok().map(Person::from),
        _ => None,
    }
}

fn format(name: Option<&str>) -> TextFormat {
    match name {
        Some(name) if name.eq_ignore_ascii_case("markdown") => TextFormat::Markdown,
        _ => TextFormat::Html,
    }
}

impl RawComment {
    pub(super) fn number(&self) -> Option<u32> {
        self.id.or(self.comment_id)
    }
}

impl From<RawRelation> for WorkItemRelation {
    fn from(raw: RawRelation) -> Self {
        let url = raw.url.unwrap_or_default();
        let lower = url.to_ascii_lowercase();
        let kind = match raw.rel.as_str() {
            "System.LinkTypes.Hierarchy-Reverse" => LinkKind::Parent,
            "System.LinkTypes.Hierarchy-Forward" => LinkKind::Child,
            "System.LinkTypes.Related" => LinkKind::Related,
            "Hyperlink" => LinkKind::Hyperlink,
            "AttachedFile" => LinkKind::Attachment,
            "ArtifactLink" if lower.starts_with("vstfs:///git/pullrequestid/") => LinkKind::PullRequest,
            "ArtifactLink" if lower.starts_with("vstfs:///git/commit/") => LinkKind::Commit,
            "ArtifactLink" if lower.starts_with("vstfs:///git/ref/") => LinkKind::Branch,
            "ArtifactLink" if lower.starts_with("vstfs:///build/build/") => LinkKind::Build,
            _ => LinkKind::Other,
        };
        // Parts of an artifact link are separated by an escaped slash, in either letter case.
        let last = lower.rsplit('/').next().and_then(|part| part.rsplit("%2f").next());
        let is_numbered =
            !matches!(kind, LinkKind::Commit | LinkKind::Branch | LinkKind::Hyperlink | LinkKind::Attachment);
        let target_id = last.filter(|_| is_numbered).and_then(|part| part.parse().ok());
        let comment = raw.attributes.as_ref().and_then(|a| a.get("comment")).and_then(Value::as_str);
        Self { kind, target_id, comment: comment.map(str::to_owned), url }
    }
}

/// The tags in a field's text, which the service takes apart at commas, too.
pub(super) fn tags(text: &str) -> impl Iterator<Item = &str> {
    text.split([';', ',']).map(str::trim).filter(|tag| !tag.is_empty())
}

impl Client {
    /// A work item of `project` with its fields and links.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn work_item(&self, project: &str, id: u32) -> Result<WorkItem, Error> {
        let number = id.to_string();
        let segments = [project, &number];
        let raw: RawWorkItem = self.ask(Question::of(&WORK_ITEM, &segments).with("$expand", "all")).await?;
        Ok(self.work_item_from(project, raw))
    }

    /// The same as it was at a revision; without its links.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn work_item_revision(
        &self,
        project: &str,
        id: u32,
        rev: u32,
    ) -> Result<WorkItem, Error> {
        let (number, rev) = (id.to_string(), rev.to_string());
        let segments = [project, &number, &rev];
        let raw: RawWorkItem = self.ask(Question::of(&WORK_ITEM_REVISION, &segments)).await?;
        Ok(self.work_item_from(project, raw))
    }

    pub(super) fn work_item_from(&self, asked: &str, raw: RawWorkItem) -> WorkItem {
        let fields = &raw.fields;
        let formats = raw.multiline_fields_format.unwrap_or_default();
        let project = Some(text(fields, "System.TeamProject")).filter(|name| !name.is_empty());
        let project = project.unwrap_or_else(|| asked.to_owned());
        WorkItem {
            id: raw.id,
            rev: raw.rev.unwrap_or(0),
            work_item_type: text(fields, "System.WorkItemType"),
            title: text(fields, "System.Title"),
            state: text(fields, "System.State"),
            assigned_to: person(fields, "System.AssignedTo"),
            created_by: person(fields, "System.CreatedBy"),
            created: text(fields, "System.CreatedDate").parse().ok(),
            changed_by: person(fields, "System.ChangedBy"),
            description: text(fields, "System.Description"),
            description_format: format(formats.get("System.Description").and_then(Value::as_str)),
            tags: tags(&text(fields, "System.Tags")).map(str::to_owned).collect(),
            relations: raw.relations.unwrap_or_default().into_iter().map(WorkItemRelation::from).collect(),
            web_url: self.transport.address.work_item(&project, raw.id),
            project,
            fields: raw.fields.into_iter().collect(),
        }
    }

    /// The discussion of a work item, oldest first; of a very long one the newest comments.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn work_item_comments(&self, project: &str, id: u32) -> Result<Vec<WorkItemComment>, Error> {
        let number = id.to_string();
        let segments = [project, &number];
        let (mut found, mut continuation): (Vec<RawComment>, Option<String>) = (Vec::new(), None);
        for _ in 0..limits::PAGES {
            let mut question = Question::of(&WORK_ITEM_COMMENTS, &segments).with("$top", COMMENTS_PER_PAGE);
            if let Some(token) = &continuation {
                question = question.with("continuationToken", token);
            }
            let page: RawComments = self.ask(question).await?;
            found.extend(page.comments.unwrap_or_default());
            continuation = page.continuation_token.filter(|token| !token.is_empty());
            if continuation.is_none() {
                break;
            }
        }
        let kept = found.into_iter().filter(|comment| comment.is_deleted != Some(true));
        let mut comments: Vec<WorkItemComment> = kept
            .map(|raw| WorkItemComment {
                id: raw.number().unwrap_or(0),
                format: format(raw.format.as_deref()),
                version: raw.version.unwrap_or(1),
                edited_by: raw.modified_by.or_else(|| raw.created_by.clone()).unwrap_or_default().into(),
                edited: raw.modified_date.or(raw.created_date),
                author: raw.created_by.unwrap_or_default().into(),
                text: raw.text.unwrap_or_default(),
                created: raw.created_date,
            })
            .collect();
        comments.sort_by_key(|comment| comment.id);
        Ok(comments)
    }

    /// The first `most` work items that a flat WIQL query finds, in its order. `@project` is
    /// `project`.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Invalid`] for a query that is refused or not flat.
    pub async fn query_work_items(
        &self,
        project: &str,
        wiql: &str,
        most: usize,
    ) -> Result<Vec<WorkItemSummary>, Error> {
        limits::check("query", wiql, limits::WIQL)?;
        let segments = [project];
        let most = most.clamp(1, limits::QUERY_RESULTS);
        let question = Question::of(&WIQL, &segments).with("$top", most).body(json!({ "query": wiql }));
        let found: RawQueryResult = self.ask(question).await?;
        if found.work_item_relations.is_some_and(|relations| !relations.is_null()) {
            return Err(Error::invalid("only flat queries are taken: SELECT … FROM WorkItems".into()));
        }
        let ids: Vec<u32> =
            found.work_items.unwrap_or_default().iter().map(|item| item.id).take(most).collect();
        self.work_items(project, &ids).await
    }

    /// These work items in the order asked for; those that cannot be read are left out.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn work_items(&self, project: &str, ids: &[u32]) -> Result<Vec<WorkItemSummary>, Error> {
        let segments = [project];
        let mut found: BTreeMap<u32, WorkItemSummary> = BTreeMap::new();
        for batch in ids.chunks(limits::BATCH) {
            let body = json!({ "ids": batch, "fields": SUMMARY_FIELDS, "errorPolicy": "omit" });
            let question = Question::of(&WORK_ITEMS_BATCH, &segments).body(body);
            // `omit` puts null in the place of what cannot be read (FACTS §9).
            let page = self.ask::<List<Option<RawWorkItem>>>(question).await?.value.unwrap_or_default();
            let rows = page.into_iter().flatten().map(|raw| (raw.id, self.summary(project, &raw)));
            found.extend(rows);
        }
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    fn summary(&self, project: &str, raw: &RawWorkItem) -> WorkItemSummary {
        WorkItemSummary {
            id: raw.id,
            work_item_type: text(&raw.fields, "System.WorkItemType"),
            title: text(&raw.fields, "System.Title"),
            state: text(&raw.fields, "System.State"),
            assigned_to: person(&raw.fields, "System.AssignedTo"),
            changed_by: person(&raw.fields, "System.ChangedBy"),
            project: text(&raw.fields, "System.TeamProject"),
            web_url: self.transport.address.work_item(project, raw.id),
        }
    }

    /// The work item types of a project with their states.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn work_item_types(&self, project: &str) -> Result<Vec<WorkItemType>, Error> {
        let segments = [project];
        let found = self.ask::<List<RawType>>(Question::of(&WORK_ITEM_TYPES, &segments)).await?.value;
        let kind = |raw: RawType| WorkItemType {
            name: raw.name,
            is_disabled: raw.is_disabled == Some(true),
            states: raw.states.unwrap_or_default(),
        };
        Ok(found.unwrap_or_default().into_iter().map(kind).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(rel: &str, url: &str) -> (LinkKind, Option<u32>) {
        let raw =
            serde_json::from_value::<RawRelation>(json!({ "rel": rel, "url": url, "attributes": null }))
                .unwrap();
        let relation = WorkItemRelation::from(raw);
        (relation.kind, relation.target_id)
    }

    #[test]
    fn links_are_understood_in_either_letter_case() {
        let items = "https://dev.azure.com/c/1/_apis/wit/workItems/975";
        assert_eq!(relation("System.LinkTypes.Hierarchy-Forward", items), (LinkKind::Child, Some(975)));
        assert_eq!(relation("System.LinkTypes.Hierarchy-Reverse", items), (LinkKind::Parent, Some(975)));
        let pull_request = "vstfs:///Git/PullRequestId/a%2Fb%2F12";
        assert_eq!(relation("ArtifactLink", pull_request), (LinkKind::PullRequest, Some(12)));
        assert_eq!(
            relation("ArtifactLink", "vstfs:///git/pullrequestid/a%2fb%2f12"),
            (LinkKind::PullRequest, Some(12))
        );
        assert_eq!(relation("ArtifactLink", "vstfs:///Git/Commit/a%2Fb%2F12"), (LinkKind::Commit, None));
        assert_eq!(relation("ArtifactLink", "vstfs:///Build/Build/8"), (LinkKind::Build, Some(8)));
        assert_eq!(relation("Hyperlink", "https://x/1"), (LinkKind::Hyperlink, None));
        assert_eq!(relation("New.Kind", ""), (LinkKind::Other, None));
    }
}
