//! Who assigned a work item, and which work items changed: what events follow from.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::people::{IdentityRef, List, Person};
use super::routes::{WIQL, WORK_ITEM_UPDATES, WORK_ITEMS_BATCH};
use super::transport::Question;
use super::work_items::{RawQueryResult, RawWorkItem, person, text};
use super::{Client, Error, limits};

/// Updates in one page.
const UPDATES_PER_PAGE: usize = 200;
/// The field that says who works on an item.
const ASSIGNED_TO: &str = "System.AssignedTo";
/// The field that says when an item changed last.
const CHANGED: &str = "System.ChangedDate";

/// One change of who works on a work item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Number of the update that made it.
    pub update: u32,
    /// Who works on it since; none: nobody.
    pub to: Option<Person>,
    /// Who made the change, as the service authenticated them.
    pub by: Person,
    /// When.
    pub at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawUpdate {
    id: u32,
    revised_by: Option<IdentityRef>,
    #[serde(default)]
    fields: Option<Map<String, Value>>,
}

impl RawUpdate {
    fn assignment(self) -> Option<Assignment> {
        let fields = self.fields?;
        let change = fields.get(ASSIGNED_TO)?.as_object()?;
        // `revisedDate` says until when an update was the newest one; when it was made is a field.
        let at = fields.get(CHANGED).and_then(|change| change.get("newValue"));
        Some(Assignment {
            update: self.id,
            to: person(change, "newValue"),
            by: self.revised_by.unwrap_or_default().into(),
            at: at.and_then(Value::as_str).and_then(|text| text.parse().ok()),
        })
    }
}

impl Client {
    /// The last change of who works on a work item; none where it was never assigned.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn last_assignment(&self, project: &str, id: u32) -> Result<Option<Assignment>, Error> {
        let number = id.to_string();
        let segments = [project, &number];
        let (mut last, mut read) = (None, 0);
        for _ in 0..limits::PAGES {
            let question = Question::of(&WORK_ITEM_UPDATES, &segments)
                .with("$top", UPDATES_PER_PAGE)
                .with("$skip", read);
            let page = self.ask::<List<RawUpdate>>(question).await?.value.unwrap_or_default();
            let count = page.len();
            read += count;
            last = page.into_iter().filter_map(RawUpdate::assignment).next_back().or(last);
            if count < UPDATES_PER_PAGE {
                break;
            }
        }
        Ok(last)
    }

    /// The work items of `project` that changed at or after `since`, with the time of their last
    /// change, longest ago first, at most `most`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn changed_work_items(
        &self,
        project: &str,
        since: Timestamp,
        most: usize,
    ) -> Result<Vec<(u32, Timestamp)>, Error> {
        let query = format!(
            "SELECT [System.Id] FROM WorkItems WHERE [System.TeamProject] = @project AND [System.ChangedDate] >= \
             '{since}' ORDER BY [System.ChangedDate]"
        );
        let segments = [project];
        let question = Question::of(&WIQL, &segments)
            .with("timePrecision", true)
            .with("$top", most)
            .body(json!({ "query": query }));
        let found: RawQueryResult = self.ask(question).await?;
        let ids: Vec<u32> =
            found.work_items.unwrap_or_default().iter().map(|item| item.id).take(most).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let body = json!({ "ids": ids, "fields": ["System.Id", CHANGED], "errorPolicy": "omit" });
        let question = Question::of(&WORK_ITEMS_BATCH, &segments).body(body);
        let page = self.ask::<List<Option<RawWorkItem>>>(question).await?.value.unwrap_or_default();
        let dated = |raw: RawWorkItem| Some((raw.id, text(&raw.fields, CHANGED).parse().ok()?));
        let mut items: Vec<(u32, Timestamp)> = page.into_iter().flatten().filter_map(dated).collect();
        items.sort_by_key(|(id, at)| (*at, *id));
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_that_assigns_says_to_whom_and_by_whom() {
        let update = |fields: Value| {
            let raw =
                json!({"id": 4, "rev": 4, "revisedBy": {"id": "b", "displayName": "Bob"}, "fields": fields});
            serde_json::from_value::<RawUpdate>(raw).unwrap().assignment()
        };
        let assigned = update(json!({
            "System.ChangedDate": {"newValue": "2026-11-22T04:00:00Z"},
            "System.AssignedTo": {"oldValue": {"id": "a"}, "newValue": {"id": "c", "displayName": "Carol"}},
        }))
        .unwrap();
        assert_eq!((assigned.to.unwrap().id, assigned.by.id, assigned.update), ("c".into(), "b".into(), 4));
        assert!(assigned.at.is_some());
        assert_eq!(update(json!({"System.AssignedTo": {"oldValue": {"id": "a"}}})).unwrap().to, None);
        assert_eq!(update(json!({"System.State": {"newValue": "Done"}})), None);
    }
}
