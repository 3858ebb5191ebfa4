//! Answering flat WIQL from the state.

use std::borrow::Cow;
use std::cmp::Ordering;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use uuid::Uuid;

use super::access::Permission;
use super::fields::{Field, FieldKind};
use super::wiql::{Condition, Operand, Operator, Query};
use super::work_item_patch::parse_date;
use super::{Actor, FieldValue, Outcome, WorkItem, World};
use crate::simulator::azure_devops::refusal::Refusal;

/// Ids a query gives at most.
const RESULTS: usize = 20_000;

/// What a query is asked in.
struct Frame<'a> {
    world: &'a World,
    actor: Actor,
    project: Option<Uuid>,
    precise: bool,
}

/// A condition whose operands are worked out: that is done once, and not for each work item.
enum Check<'q> {
    All(Vec<Check<'q>>),
    Any(Vec<Check<'q>>),
    Not(Box<Check<'q>>),
    Test(&'static Field, Operator, Vec<Wanted<'q>>),
}

/// What a field is compared with.
enum Wanted<'q> {
    /// None stands for "no value".
    Value(Option<FieldValue>),
    /// Whatever the work item has in this field.
    Field(&'q str),
}

impl World {
    /// Ids of the work items that meet the query, sorted as it asks (else by id), at most `top`.
    ///
    /// # Errors
    /// 400 for macros without a project, values that do not fit, and too many results.
    pub fn query_work_items(
        &self,
        actor: Actor,
        query: &Query,
        project: Option<Uuid>,
        precise: bool,
        top: Option<usize>,
    ) -> Outcome<Vec<u32>> {
        let frame = Frame { world: self, actor, project, precise };
        let check = query.condition.as_ref().map(|condition| frame.check(condition)).transpose()?;
        // A query without a project looks at every project that the caller may read.
        let may_read = |id: &&Uuid| self.may(actor.id, **id, None, Permission::WorkItemRead);
        let readable: Vec<Uuid> = self.projects.keys().filter(may_read).copied().collect();
        let is_seen = |item: &&WorkItem| item.deleted.is_none() && readable.contains(&item.project);
        let is_found = |item: &&WorkItem| check.as_ref().is_none_or(|check| frame.holds(check, item));
        let mut found: Vec<&WorkItem> = self.work_items.values().filter(is_seen).filter(is_found).collect();
        if !query.order.is_empty() {
            found = sorted(found, &query.order, &frame);
        }
        let limit = top.unwrap_or(usize::MAX);
        if limit > RESULTS && found.len() > RESULTS {
            return Err(Refusal::new(
                400,
                "WorkItemTrackingQueryResultSizeLimitExceededException",
                format!(
                    "VS402337: The number of work items returned exceeds the size limit of {RESULTS}. Change the query to return fewer items."
                ),
            ));
        }
        Ok(found.into_iter().take(limit).map(|w| w.id).collect())
    }

    /// A field of a work item, stored or computed.
    pub fn field_of<'w>(&self, item: &'w WorkItem, reference: &str) -> Option<Cow<'w, FieldValue>> {
        let whole = |n: usize| FieldValue::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        Some(Cow::Owned(match reference {
            "System.Id" => FieldValue::Integer(i64::from(item.id)),
            "System.Rev" => FieldValue::Integer(i64::from(item.rev)),
            "System.CommentCount" => whole(item.comment_count()),
            "System.Parent" => FieldValue::Integer(i64::from(item.parent()?)),
            "System.NodeName" => FieldValue::from(item.text("System.AreaPath").rsplit('\\').next()?),
            "System.BoardColumn" => FieldValue::from(item.state()),
            "System.AuthorizedDate" => return item.fields.get("System.ChangedDate").map(Cow::Borrowed),
            "System.AuthorizedAs" => return item.fields.get("System.ChangedBy").map(Cow::Borrowed),
            "System.History" => {
                FieldValue::Text(item.comments.iter().map(|c| c.text.as_str()).collect::<Vec<_>>().join("\n"))
            }
            stored => return item.fields.get(stored).map(Cow::Borrowed),
        }))
    }
}

impl Frame<'_> {
    fn value<'w>(&self, field: &Field, item: &'w WorkItem) -> Option<Cow<'w, FieldValue>> {
        self.world.field_of(item, field.reference)
    }

    fn check<'q>(&self, condition: &'q Condition) -> Outcome<Check<'q>> {
        let each = |all: &'q [Condition]| all.iter().map(|one| self.check(one)).collect::<Outcome<Vec<_>>>();
        Ok(match condition {
            Condition::And(all) => Check::All(each(all)?),
            Condition::Or(any) => Check::Any(each(any)?),
            Condition::Not(inner) => Check::Not(Box::new(self.check(inner)?)),
            Condition::Test(field, operator, operands) => {
                let wanted = operands.iter().map(|operand| self.wanted(field, operand));
                Check::Test(field, *operator, wanted.collect::<Outcome<_>>()?)
            }
        })
    }

    fn holds(&self, check: &Check<'_>, item: &WorkItem) -> bool {
        match check {
            Check::All(all) => all.iter().all(|one| self.holds(one, item)),
            Check::Any(any) => any.iter().any(|one| self.holds(one, item)),
            Check::Not(inner) => !self.holds(inner, item),
            Check::Test(field, operator, wanted) => {
                let value = self.value(field, item);
                if *operator == Operator::Empty {
                    return value.is_none();
                }
                wanted.iter().any(|wanted| match wanted {
                    Wanted::Value(wanted) => {
                        self.compare(field, *operator, wanted.as_ref(), value.as_deref())
                    }
                    Wanted::Field(other) => {
                        let other = self.world.field_of(item, other);
                        let day = match other.as_deref() {
                            Some(FieldValue::Date(date)) if !self.precise => {
                                Some(FieldValue::Date(day_of(*date)))
                            }
                            _ => None,
                        };
                        let other = day.as_ref().or(other.as_deref());
                        self.compare(field, *operator, other, value.as_deref())
                    }
                })
            }
        }
    }

    fn compare(
        &self,
        field: &Field,
        operator: Operator,
        wanted: Option<&FieldValue>,
        value: Option<&FieldValue>,
    ) -> bool {
        let text =
            |v: Option<&FieldValue>| v.map(|v| text_of(v, self.world)).unwrap_or_default().to_lowercase();
        let tags = field.reference == "System.Tags";
        match operator {
            Operator::Contains | Operator::ContainsWords if tags => {
                let wanted = text(wanted);
                text(value).split(';').any(|t| t.trim() == wanted.trim())
            }
            Operator::Contains => text(value).contains(&text(wanted)),
            Operator::ContainsWords => {
                let words = text(value);
                text(wanted)
                    .split_whitespace()
                    .all(|w| words.split(|c: char| !c.is_alphanumeric()).any(|x| x == w))
            }
            Operator::Under => {
                let (path, root) = (text(value), text(wanted));
                path == root || path.starts_with(&format!("{root}\\"))
            }
            _ => {
                let order = compare_options(value, wanted, self.world);
                let both = value.is_some() && wanted.is_some();
                match operator {
                    Operator::Equal | Operator::In => order == Ordering::Equal,
                    Operator::NotEqual => order != Ordering::Equal,
                    Operator::Less => both && order == Ordering::Less,
                    Operator::LessEqual => both && order != Ordering::Greater,
                    Operator::Greater => both && order == Ordering::Greater,
                    _ => both && order != Ordering::Less,
                }
            }
        }
    }

    /// The operand as a value of the field's type; an empty text stands for "no value".
    fn wanted<'q>(&self, field: &Field, operand: &'q Operand) -> Outcome<Wanted<'q>> {
        let home = self.project.and_then(|p| self.world.projects.get(&p));
        let needs_project = || Refusal::query("TF51011: The macro needs a project; ask inside a project.");
        let misfit = |what: &str| {
            Refusal::query(format!("The value «{what}» does not fit the field {}.", field.reference))
        };
        Ok(Wanted::Value(Some(match operand {
            Operand::Me => FieldValue::Person(self.actor.id),
            Operand::Project => FieldValue::Text(home.ok_or_else(needs_project)?.name.clone()),
            Operand::CurrentIteration => {
                FieldValue::Text(home.ok_or_else(needs_project)?.iterations[0].clone())
            }
            Operand::Today(days) => {
                let today = self.world.now().to_zoned(TimeZone::UTC).date();
                let date = today.checked_add(days.days()).map_err(|_| misfit("@today"))?;
                FieldValue::Date(midnight(date).ok_or_else(|| misfit("@today"))?)
            }
            Operand::Field(other) => return Ok(Wanted::Field(other)),
            #[allow(clippy::cast_possible_truncation, reason = "ids and ranks are small")]
            Operand::Number(number) if field.kind == FieldKind::Integer => {
                FieldValue::Integer(*number as i64)
            }
            Operand::Number(number) => FieldValue::Double(*number),
            Operand::Text(text) if text.is_empty() => return Ok(Wanted::Value(None)),
            Operand::Text(text) => match field.kind {
                FieldKind::Integer => FieldValue::Integer(text.parse().map_err(|_| misfit(text))?),
                FieldKind::Double => FieldValue::Double(text.parse().map_err(|_| misfit(text))?),
                FieldKind::DateTime => {
                    let date = parse_date(text).ok_or_else(|| misfit(text))?;
                    if !self.precise && day_of(date) != date {
                        return Err(Refusal::query(
                            "TF51204: You cannot supply a time with the date when running a query using date precision.",
                        ));
                    }
                    FieldValue::Date(date)
                }
                FieldKind::Identity => match self.world.find_person(text) {
                    Some(person) => FieldValue::Person(person.id),
                    None => FieldValue::Text(text.clone()),
                },
                _ => FieldValue::Text(text.clone()),
            },
        })))
    }
}

/// What a field is sorted by, worked out once for each work item.
#[derive(PartialEq, PartialOrd)]
enum Key {
    Nothing,
    Number(f64),
    Date(Timestamp),
    Text(String),
}

fn sorted<'w>(
    found: Vec<&'w WorkItem>,
    order: &[(&'static Field, bool)],
    frame: &Frame<'_>,
) -> Vec<&'w WorkItem> {
    let key = |field: &Field, item: &WorkItem| match frame.value(field, item).as_deref() {
        None => Key::Nothing,
        #[allow(clippy::cast_precision_loss, reason = "ids stay far below 2^53")]
        Some(FieldValue::Integer(number)) => Key::Number(*number as f64),
        Some(FieldValue::Double(number)) => Key::Number(*number),
        Some(FieldValue::Date(date)) => Key::Date(*date),
        Some(other) => Key::Text(text_of(other, frame.world).to_lowercase()),
    };
    let keys = |item: &WorkItem| order.iter().map(|(field, _)| key(field, item)).collect::<Vec<_>>();
    let mut keyed: Vec<_> = found.into_iter().map(|item| (keys(item), item)).collect();
    keyed.sort_by(|(a, _), (b, _)| {
        let each = order.iter().zip(a.iter().zip(b));
        each.map(|((_, descending), (a, b))| {
            let order = a.partial_cmp(b).unwrap_or(Ordering::Equal);
            if *descending { order.reverse() } else { order }
        })
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
    });
    keyed.into_iter().map(|(_, item)| item).collect()
}

fn midnight(date: jiff::civil::Date) -> Option<Timestamp> {
    date.to_zoned(TimeZone::UTC).ok().map(|z| z.timestamp())
}

fn day_of(date: Timestamp) -> Timestamp {
    midnight(date.to_zoned(TimeZone::UTC).date()).unwrap_or(date)
}

fn text_of(value: &FieldValue, world: &World) -> String {
    match value {
        FieldValue::Text(text) => text.clone(),
        FieldValue::Integer(number) => number.to_string(),
        FieldValue::Double(number) => number.to_string(),
        FieldValue::Date(date) => date.to_string(),
        FieldValue::Person(id) => {
            world.person(*id).map(|p| format!("{} <{}>", p.display_name, p.account)).unwrap_or_default()
        }
    }
}

/// The order of two texts, whatever the case of their letters.
fn compare_texts(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() {
        // Most are, and then nothing has to be looked up.
        return a
            .bytes()
            .map(|byte| byte.to_ascii_lowercase())
            .cmp(b.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    a.chars().flat_map(char::to_lowercase).cmp(b.chars().flat_map(char::to_lowercase))
}

#[allow(clippy::cast_precision_loss, reason = "ids stay far below 2^53")]
fn compare_options(one: Option<&FieldValue>, other: Option<&FieldValue>, world: &World) -> Ordering {
    match (one, other) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(FieldValue::Integer(a)), Some(FieldValue::Integer(b))) => a.cmp(b),
        (Some(FieldValue::Double(a)), Some(FieldValue::Double(b))) => a.total_cmp(b),
        (Some(FieldValue::Integer(a)), Some(FieldValue::Double(b))) => (*a as f64).total_cmp(b),
        (Some(FieldValue::Double(a)), Some(FieldValue::Integer(b))) => a.total_cmp(&(*b as f64)),
        // Without timePrecision a query speaks of days: the operand is a midnight.
        (Some(FieldValue::Date(a)), Some(FieldValue::Date(b))) if day_of(*b) == *b => day_of(*a).cmp(b),
        (Some(FieldValue::Date(a)), Some(FieldValue::Date(b))) => a.cmp(b),
        (Some(FieldValue::Person(a)), Some(FieldValue::Person(b))) if a == b => Ordering::Equal,
        (Some(FieldValue::Text(a)), Some(FieldValue::Text(b))) => compare_texts(a, b),
        (Some(a), Some(b)) => compare_texts(&text_of(a, world), &text_of(b, world)),
    }
}
