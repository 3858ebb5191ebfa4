//! JSON Patch on a draft of a work item: fields, links, `test`.

use serde_json::{Value, json};

use super::fields::{self, FieldKind};
use super::patch::Operation;
use super::work_items::{Draft, check_long_text, plain};
use super::{Actor, FieldValue, LINK_TYPES, Outcome, RESOURCE_TYPES, Relation, Target, World};
use crate::simulator::azure_devops::refusal::Refusal;

/// Longest single-line text, in characters.
const LINE: usize = 255;
/// Tags of one work item.
const TAGS: usize = 100;
/// Links of one work item.
const LINKS: usize = 1_000;

impl World {
    pub(super) fn apply_operations(
        &self,
        actor: Actor,
        draft: &mut Draft,
        operations: &[Operation],
    ) -> Outcome<()> {
        for operation in operations {
            let path = operation.path.as_str();
            let lower = path.to_ascii_lowercase();
            if lower == "/rev" {
                test_rev(draft, operation)?;
            } else if let Some(field) = strip(path, "/fields/") {
                self.apply_field(draft, operation, field)?;
            } else if let Some(field) = strip(path, "/multilineFieldsFormat/") {
                let known = fields::find(field).ok_or_else(|| Refusal::field(field))?;
                let format = plain(&operation.value).unwrap_or_default();
                draft.item.formats.insert(known.reference.to_owned(), format);
            } else if lower == "/id" && operation.op == "add" {
                // Clients give negative ids to items of one batch; nothing to do for a single one.
            } else if let Some(place) = strip(path, "/relations/") {
                self.apply_relation(actor, draft, operation, place)?;
            } else {
                return Err(Refusal::new(
                    400,
                    "VssPropertyValidationException",
                    format!("The path {path} is not one of /fields, /relations, /rev."),
                ));
            }
        }
        Ok(())
    }

    fn apply_field(&self, draft: &mut Draft, operation: &Operation, name: &str) -> Outcome<()> {
        let field = fields::find(name).ok_or_else(|| Refusal::field(name))?;
        let reference = field.reference;
        match operation.op.as_str() {
            "test" => {
                let actual = draft.item.fields.get(reference).map_or(Value::Null, |v| self.simple_value(v));
                let same = plain(&actual) == plain(&operation.value);
                return if same {
                    Ok(())
                } else {
                    Err(Refusal::patch_test(&operation.path, &actual, &operation.value))
                };
            }
            "move" | "copy" => {
                let from = operation.from.as_deref().and_then(|f| strip(f, "/fields/")).unwrap_or_default();
                let source = fields::find(from).ok_or_else(|| Refusal::field(from))?.reference;
                let value = draft.item.fields.get(source).cloned();
                if operation.op == "move" {
                    draft.item.fields.remove(source);
                }
                value.map(|v| draft.item.fields.insert(reference.to_owned(), v));
                return Ok(());
            }
            _ => {}
        }
        if field.read_only {
            return Err(Refusal::rule(reference, field.name, "readOnly", "ReadOnly, InvalidNotOldValue"));
        }
        let empty = operation.value.is_null() || operation.value == json!("");
        if operation.op == "remove" || empty {
            draft.item.fields.remove(reference);
            return Ok(());
        }
        if field.kind == FieldKind::History {
            let text = plain(&operation.value).ok_or_else(|| bad_type(field))?;
            check_long_text(reference, &text)?;
            draft.history = Some(text);
            return Ok(());
        }
        let value = self.field_value(field, &operation.value)?;
        self.store_field(draft, field, operation, value)
    }

    fn store_field(
        &self,
        draft: &mut Draft,
        field: &fields::Field,
        operation: &Operation,
        value: FieldValue,
    ) -> Outcome<()> {
        let now = FieldValue::Date(self.now());
        match (field.reference, &value) {
            ("System.Tags", FieldValue::Text(text)) => {
                let old = if operation.op == "add" {
                    draft.item.text("System.Tags").to_owned()
                } else {
                    String::new()
                };
                draft.item.fields.insert("System.Tags".into(), merge_tags(&old, text)?);
                return Ok(());
            }
            ("System.State", FieldValue::Text(name)) => {
                let kind =
                    self.projects.get(&draft.item.project).and_then(|p| p.process.find(draft.item.kind()));
                let (from, to) =
                    (kind.and_then(|k| k.state(draft.item.state())), kind.and_then(|k| k.state(name)));
                if let (Some(kind), Some(to)) = (kind, to) {
                    if from.is_none_or(|f| f.name != to.name) {
                        let reason = FieldValue::from(kind.reason(from, to));
                        draft.item.fields.insert("System.Reason".into(), reason);
                        draft.item.fields.insert("Microsoft.VSTS.Common.StateChangeDate".into(), now);
                    }
                    draft.item.fields.insert("System.State".into(), FieldValue::from(to.name));
                    return Ok(());
                }
            }
            ("System.WorkItemType", FieldValue::Text(name)) => {
                let home = self.projects.get(&draft.item.project);
                let known = home.and_then(|p| p.process.find(name));
                let known =
                    known.ok_or_else(|| Refusal::work_item_type(name, home.map_or("", |p| &p.name)))?;
                draft.item.fields.insert("System.WorkItemType".into(), FieldValue::from(known.name));
                return Ok(());
            }
            _ => {}
        }
        draft.item.fields.insert(field.reference.to_owned(), value);
        Ok(())
    }

    fn field_value(&self, field: &fields::Field, value: &Value) -> Outcome<FieldValue> {
        let text = plain(value);
        let wrong = || bad_type(field);
        Ok(match field.kind {
            FieldKind::Integer => {
                let number = text.and_then(|t| t.trim().parse::<f64>().ok()).filter(|n| n.fract() == 0.0);
                #[allow(clippy::cast_possible_truncation, reason = "whole numbers of a field are small")]
                FieldValue::Integer(number.ok_or_else(wrong)? as i64)
            }
            FieldKind::Double => FieldValue::Double(
                text.and_then(|t| t.trim().parse().ok()).filter(|n: &f64| n.is_finite()).ok_or_else(wrong)?,
            ),
            FieldKind::DateTime => FieldValue::Date(text.as_deref().and_then(parse_date).ok_or_else(wrong)?),
            FieldKind::Identity => {
                let given = text.or_else(|| {
                    let name = ["uniqueName", "id", "displayName"];
                    name.iter().find_map(|k| value[*k].as_str().map(str::to_owned))
                });
                let given = given.ok_or_else(wrong)?;
                let person = self.find_person(&given);
                let known =
                    person.ok_or_else(|| Refusal::unknown_identity(&given, field.reference, field.name))?;
                FieldValue::Person(known.id)
            }
            FieldKind::Html | FieldKind::History | FieldKind::PlainText => {
                let text = text.ok_or_else(wrong)?;
                check_long_text(field.reference, &text)?;
                FieldValue::Text(text)
            }
            FieldKind::String | FieldKind::TreePath => {
                let text = text.ok_or_else(wrong)?;
                if text.chars().count() > LINE {
                    return Err(Refusal::rule(field.reference, field.name, "tooLong", "InvalidTooLong"));
                }
                FieldValue::Text(text)
            }
        })
    }

    /// A field value as plain JSON, identities as accounts.
    pub(super) fn simple_value(&self, value: &FieldValue) -> Value {
        match value {
            FieldValue::Text(text) => json!(text),
            FieldValue::Integer(number) => json!(number),
            FieldValue::Double(number) => json!(number),
            FieldValue::Date(date) => json!(date.to_string()),
            FieldValue::Person(id) => json!(self.account(*id)),
        }
    }

    fn apply_relation(
        &self,
        actor: Actor,
        draft: &mut Draft,
        operation: &Operation,
        place: &str,
    ) -> Outcome<()> {
        if place == "-" {
            if !matches!(operation.op.as_str(), "add" | "replace") {
                return Err(Refusal::link("A link is added at /relations/- and removed by its index."));
            }
            let relation = self.relation(actor, draft, &operation.value)?;
            let same = |r: &Relation| r.rel == relation.rel && same_target(&r.target, &relation.target);
            if draft.item.relations.iter().any(same) {
                return Err(Refusal::link("VS402398: Relation already exists."));
            }
            if relation.rel == "System.LinkTypes.Hierarchy-Reverse" && draft.item.parent().is_some() {
                return Err(Refusal::link(
                    "TF201036: You cannot add a Child link because a work item can have only one Parent link.",
                ));
            }
            if draft.item.relations.len() >= LINKS {
                return Err(Refusal::link(format!("VS402400: A work item takes at most {LINKS} links.")));
            }
            draft.item.relations.push(relation);
            return Ok(());
        }
        let mut parts = place.split('/');
        let index =
            parts.next().and_then(|n| n.parse::<usize>().ok()).filter(|n| *n < draft.item.relations.len());
        let index = index
            .ok_or_else(|| Refusal::link(format!("VS402399: There is no relation at index {place}.")))?;
        match (operation.op.as_str(), parts.next(), parts.next()) {
            ("remove", None, _) => {
                draft.item.relations.remove(index);
            }
            ("add" | "replace", Some("attributes"), Some("comment")) => {
                draft.item.relations[index].comment = plain(&operation.value);
            }
            ("test", ..) => {}
            _ => return Err(Refusal::link("Only the comment of a link can be changed.")),
        }
        Ok(())
    }

    fn relation(&self, actor: Actor, draft: &Draft, value: &Value) -> Outcome<Relation> {
        let rel = value["rel"].as_str().unwrap_or_default();
        let url = value["url"].as_str().unwrap_or_default();
        let attribute = |key: &str| value["attributes"][key].as_str().map(str::to_owned);
        let created = self.now();
        let comment = attribute("comment");
        if let Some((rel, name, _)) = LINK_TYPES.iter().find(|(r, ..)| r.eq_ignore_ascii_case(rel)) {
            let number =
                url.rsplit('/').next().and_then(|n| n.split('?').next()).and_then(|n| n.parse::<u32>().ok());
            let target = number.ok_or_else(|| {
                Refusal::link(format!("VS402397: The link target '{url}' is not a work item."))
            })?;
            self.visible_work_item(actor, target)?;
            if target == draft.item.id {
                return Err(Refusal::link("TF201035: You cannot add a link from a work item to itself."));
            }
            if rel.contains("Hierarchy") && self.is_above(target, draft.item.id, rel.ends_with("Forward")) {
                return Err(Refusal::link(
                    "TF201035: You cannot add this link because it would create a circular relationship.",
                ));
            }
            let has_parent = self.work_items.get(&target).is_some_and(|w| w.parent().is_some());
            if rel.ends_with("Hierarchy-Forward") && has_parent {
                return Err(Refusal::link(
                    "TF201036: You cannot add a Child link because a work item can have only one Parent link.",
                ));
            }
            let target = Target::WorkItem(target);
            return Ok(Relation {
                rel: (*rel).into(),
                target,
                name: Some((*name).into()),
                comment,
                created,
                id: 0,
            });
        }
        let known = RESOURCE_TYPES.iter().find(|(r, _)| r.eq_ignore_ascii_case(rel));
        let (rel, _) =
            known.ok_or_else(|| Refusal::link(format!("VS402396: Unrecognized relation type '{rel}'.")))?;
        if url.is_empty() || url.len() > 2_000 {
            return Err(Refusal::link("The link needs a url of at most 2000 characters."));
        }
        let name = attribute("name").filter(|n| !n.is_empty());
        if *rel == "ArtifactLink" {
            if name.is_none() {
                return Err(Refusal::link("Artifact links must have a valid name specified"));
            }
            self.check_artifact(actor, url)?;
        }
        let id = u32::try_from(draft.item.relations.len()).unwrap_or(0) + draft.item.id * 1_000;
        Ok(Relation { rel: (*rel).into(), target: Target::Url(url.to_owned()), name, comment, created, id })
    }

    /// Whether a hierarchy link would close a circle.
    fn is_above(&self, target: u32, item: u32, child_link: bool) -> bool {
        let (mut from, goal) = if child_link { (item, target) } else { (target, item) };
        // A chain of parents is short; the bound only guards against a damaged state.
        for _ in 0..1_000 {
            match self.work_items.get(&from).and_then(super::WorkItem::parent) {
                Some(parent) if parent == goal => return true,
                Some(parent) => from = parent,
                None => return false,
            }
        }
        true
    }

    /// No link points at nothing: pull requests, commits and branches must exist.
    fn check_artifact(&self, actor: Actor, url: &str) -> Outcome<()> {
        let missing = || {
            Refusal::link(format!(
                "The artifact '{url}' does not exist or you do not have permission to see it."
            ))
        };
        let Some(rest) = strip(url, "vstfs:///Git/") else { return Ok(()) };
        let rest = percent_encoding::percent_decode_str(rest).decode_utf8_lossy().into_owned();
        let mut parts = rest.splitn(4, '/');
        let (kind, _, repository) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        let last = parts.next().unwrap_or_default();
        let repository = self.visible_repository(actor, None, repository).map_err(|_| missing())?;
        let there = match kind {
            Some("PullRequestId") => {
                last.parse().ok().is_some_and(|n: u32| self.pull_requests.contains_key(&n))
            }
            Some("Commit") => self.store(repository.id)?.is_commit(last),
            Some("Ref") => {
                repository.refs.contains_key(&format!("refs/heads/{}", last.get(2..).unwrap_or_default()))
            }
            _ => true,
        };
        if there { Ok(()) } else { Err(missing()) }
    }
}

fn test_rev(draft: &Draft, operation: &Operation) -> Outcome<()> {
    let actual = json!(draft.before.rev);
    match operation.op.as_str() {
        "test" if plain(&operation.value) == plain(&actual) => Ok(()),
        "test" => Err(Refusal::patch_test("/rev", &actual, &operation.value)),
        _ => Err(Refusal::rule("System.Rev", "Rev", "readOnly", "ReadOnly, InvalidNotOldValue")),
    }
}

fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

fn bad_type(field: &fields::Field) -> Refusal {
    Refusal::rule(field.reference, field.name, "invalidType", "InvalidType")
}

/// Dates as clients write them: an instant, a local time, or a day.
pub(super) fn parse_date(text: &str) -> Option<jiff::Timestamp> {
    let text = text.trim();
    let zoned =
        |date: jiff::civil::DateTime| date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|z| z.timestamp());
    text.parse::<jiff::Timestamp>()
        .ok()
        .or_else(|| text.parse::<jiff::civil::DateTime>().ok().and_then(zoned))
        .or_else(|| text.parse::<jiff::civil::Date>().ok().and_then(|d| zoned(d.at(0, 0, 0, 0))))
}

fn merge_tags(old: &str, new: &str) -> Outcome<FieldValue> {
    let mut tags: Vec<&str> = Vec::new();
    for tag in old.split(';').chain(new.split([';', ','])).map(str::trim).filter(|t| !t.is_empty()) {
        if !tags.iter().any(|t| t.eq_ignore_ascii_case(tag)) {
            tags.push(tag);
        }
    }
    if tags.len() > TAGS {
        return Err(Refusal::rule("System.Tags", "Tags", "tooLong", "InvalidTooLong"));
    }
    tags.sort_by_key(|t| t.to_lowercase());
    Ok(FieldValue::Text(tags.join("; ")))
}

fn same_target(one: &Target, other: &Target) -> bool {
    match (one, other) {
        (Target::WorkItem(a), Target::WorkItem(b)) => a == b,
        (Target::Url(a), Target::Url(b)) => a.eq_ignore_ascii_case(b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_merge_without_doubles_and_dates_are_read_in_three_forms() {
        assert_eq!(merge_tags("b; A", "a; c").unwrap(), FieldValue::from("A; b; c"));
        assert!(parse_date("2026-01-02").is_some());
        assert!(parse_date("2026-01-02T03:04:05").is_some());
        assert!(parse_date("2026-01-02T03:04:05Z").is_some());
        assert!(parse_date("soon").is_none());
    }
}
