//! Work items: query, read, create, change, comment.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Desk, Fault, Tool, Work, people, read, schema, text, threads, words};
use crate::action::{Action, Relation, WorkItemLink};
use crate::azure_devops::{Effect, Error, LinkKind, Me, Person, WorkItem, WorkItemComment, limits};
use crate::journal::{Link, Outcome};

/// Work items that a query gives when the model does not say how many.
const DEFAULT_TOP: u32 = 25;
/// Most work items that a query gives.
const MAX_TOP: u32 = 100;
/// Newest comments that are shown of a work item.
const MOST_COMMENTS: usize = 30;

pub(super) const QUERY: Tool = Tool {
    name: "query_work_items",
    description: "Finds work items with a flat WIQL query, for example SELECT [System.Id] FROM workitems WHERE \
                  [System.TeamProject] = @project AND [System.State] <> 'Done' ORDER BY [System.ChangedDate] DESC.",
    parameters: schema::strict::<Query>,
    run: |desk, arguments| Box::pin(query(desk, arguments)) as Work<'_>,
};

pub(super) const GET: Tool = Tool {
    name: "get_work_item",
    description: "Reads one work item with its description, links and comments.",
    parameters: schema::strict::<Get>,
    run: |desk, arguments| Box::pin(get(desk, arguments)) as Work<'_>,
};

pub(super) const CREATE: Tool = Tool {
    name: "create_work_item",
    description: "Creates a work item. The description is Markdown: what is wrong or wanted, and how one sees that \
                  it is done. assigned_to is a name or mail address.",
    parameters: schema::strict::<Create>,
    run: |desk, arguments| Box::pin(create(desk, arguments)) as Work<'_>,
};

pub(super) const UPDATE: Tool = Tool {
    name: "update_work_item",
    description: "Changes fields of a work item or links it to another. Give null for what stays as it is. \
                  link.relation is seen from the item that is changed.",
    parameters: schema::strict::<Update>,
    run: |desk, arguments| Box::pin(update(desk, arguments)) as Work<'_>,
};

pub(super) const COMMENT: Tool = Tool {
    name: "comment_on_work_item",
    description: "Adds a comment (Markdown) to the discussion of a work item.",
    parameters: schema::strict::<Comment>,
    run: |desk, arguments| Box::pin(comment(desk, arguments)) as Work<'_>,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    wiql: String,
    top: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Get {
    id: u32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Create {
    r#type: String,
    title: String,
    description: String,
    assigned_to: Option<String>,
    parent_id: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Update {
    id: u32,
    title: Option<String>,
    description: Option<String>,
    state: Option<String>,
    assigned_to: Option<String>,
    tags: Option<String>,
    link: Option<LinkTo>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LinkTo {
    relation: Relation,
    target_id: u32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Comment {
    id: u32,
    text: String,
}

async fn query(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let Query { wiql, top } = read(arguments)?;
    desk.gate.read("work_item.read").await?;
    let (azure, project) = (&desk.toolbox.azure, desk.toolbox.served.project.as_str());
    let top = top.unwrap_or(DEFAULT_TOP).clamp(1, MAX_TOP) as usize;
    let found = azure.query_work_items(project, &wiql, top).await?;
    let me = desk.toolbox.me().await?;
    for item in &found {
        let object = format!("work_item:{}", item.id);
        desk.saw_text_of("work_item", object, item.changed_by.as_ref(), me, &item.title);
        desk.place_last(1, &item.project);
    }
    let shown: Vec<Value> = found
        .iter()
        .map(|item| {
            json!({ "id": item.id, "type": item.work_item_type, "state": item.state, "title": item.title,
                    "assigned_to": name(&item.assigned_to) })
        })
        .collect();
    let summary = match found.len() {
        0 => "No work item matches".to_owned(),
        1 => "1 work item".to_owned(),
        n => format!("{n} work items"),
    };
    Ok(Outcome {
        ok: true,
        content: json!({ "work_items": shown }).to_string(),
        summary,
        ..Outcome::default()
    })
}

fn name(person: &Option<Person>) -> Option<&str> {
    person.as_ref().map(|person| person.name.as_str())
}

async fn get(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let Get { id } = read(arguments)?;
    desk.gate.read("work_item.read").await?;
    let (azure, project) = (&desk.toolbox.azure, desk.toolbox.served.project.as_str());
    let item = azure.work_item(project, id).await?;
    let comments = match item.has_comments() {
        true => azure.work_item_comments(project, id).await?,
        false => Vec::new(),
    };
    let me = desk.toolbox.me().await?;
    saw(desk, &item, &comments, me);
    Ok(shown(&item, &comments))
}

/// Notes what was read of a work item. Whoever changed it last may have written its words.
fn saw(desk: &mut Desk<'_>, item: &WorkItem, comments: &[WorkItemComment], me: &Me) {
    let object = format!("work_item:{}", item.id);
    let words = format!("{}\n{}\n{}", item.title, item.description, item.tags.join(" "));
    for author in [&item.created_by, &item.changed_by] {
        desk.saw_text_of("work_item", object.clone(), author.as_ref(), me, &words);
    }
    for comment in comments {
        let object = format!("{object}/comment:{}", comment.id);
        desk.saw_text_of("comment", object, Some(&comment.edited_by), me, &comment.text);
    }
    desk.place_last(comments.len() + 2, &item.project);
}

fn shown(item: &WorkItem, comments: &[WorkItemComment]) -> Outcome {
    let said: Vec<Value> = comments
        .iter()
        .rev()
        .take(MOST_COMMENTS)
        .map(|comment| json!({ "author": comment.author.name, "text": comment.text }))
        .collect();
    let links: Vec<Value> = item
        .relations
        .iter()
        .map(|link| json!({ "kind": link.kind, "target": link.target_id, "url": link_url(link.kind, &link.url) }))
        .collect();
    let content = json!({
        "id": item.id, "type": item.work_item_type, "title": item.title, "state": item.state,
        "assigned_to": name(&item.assigned_to), "created_by": name(&item.created_by),
        "description": item.description, "tags": item.tags, "url": item.web_url,
        "links": links, "comments": said,
    });
    Outcome {
        ok: true,
        content: content.to_string(),
        summary: format!("{} {}: {} ({})", item.work_item_type, item.id, item.title, item.state),
        target_url: Some(item.web_url.clone()),
        ..Outcome::default()
    }
}

/// Only a web address is worth showing; the others are named by their number.
fn link_url(kind: LinkKind, url: &str) -> Option<&str> {
    (kind == LinkKind::Hyperlink).then_some(url)
}

async fn create(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let args: Create = read(arguments)?;
    if args.title.trim().is_empty() {
        return Err(words("The title is empty.", "Give a short title."));
    }
    let (title, is_cut) = text::title(&args.title, limits::WORK_ITEM_TITLE);
    let (description, notes) = match is_cut {
        false => (args.description, Vec::new()),
        true => {
            let note = "The title was cut at 255 characters; the whole of it opens the description.";
            (text::with_whole_title(&args.title, &args.description), vec![note.to_owned()])
        }
    };
    let assigned_to = account_of(desk, args.assigned_to).await?;
    let run_url = Some(desk.gate.run_url());
    let action = Action::CreateWorkItem {
        project: desk.toolbox.served.project.clone(),
        work_item_type: args.r#type.clone(),
        title: title.clone(),
        description,
        assigned_to,
        parent_id: args.parent_id,
        run_url,
    };
    let facts = desk.gate.facts(action.kind());
    let effect = match desk.gate.write(action.clone(), facts).await {
        Err(Fault::Azure(error)) if is(&error, &["WorkItemTypeNotFoundException", "VS402323"]) => {
            return Err(no_type(desk, &args.r#type).await?);
        }
        other => other?,
    };
    // An approver may have changed it.
    let title = match desk.gate.approved_form(action) {
        Action::CreateWorkItem { title, .. } => title,
        _ => title,
    };
    Ok(written(&effect, &args.r#type, &title, "created", notes))
}

fn is(error: &Error, codes: &[&str]) -> bool {
    error.failure().is_some_and(|failure| {
        let found = [failure.type_key.as_deref(), failure.code()];
        found.into_iter().flatten().any(|found| codes.contains(&found))
    })
}

/// There is no such type: says which there are.
async fn no_type(desk: &Desk<'_>, name: &str) -> Result<Fault, Fault> {
    let types = desk.toolbox.azure.work_item_types(&desk.toolbox.served.project).await?;
    let names: Vec<&str> = types.iter().filter(|t| !t.is_disabled).map(|t| t.name.as_str()).collect();
    let remedy = format!("This project has: {}.", names.join(", "));
    Ok(words(format!("There is no work item type '{name}'."), remedy))
}

/// The type does not take the state: says which it takes.
async fn no_state(desk: &Desk<'_>, kind: &str, state: &str, error: Error) -> Result<Fault, Fault> {
    let types = desk.toolbox.azure.work_item_types(&desk.toolbox.served.project).await?;
    let states = types.into_iter().find(|found| found.name == kind).map(|found| found.states);
    let names: Vec<String> = states.unwrap_or_default().into_iter().map(|state| state.name).collect();
    if names.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(state)) {
        return Ok(error.into());
    }
    let remedy = format!("{kind} has the states: {}.", names.join(", "));
    Ok(words(format!("{kind} has no state '{state}'."), remedy))
}

async fn account_of(desk: &mut Desk<'_>, name: Option<String>) -> Result<Option<String>, Fault> {
    let Some(name) = name.filter(|name| !name.trim().is_empty()) else { return Ok(None) };
    let person = people::resolve(desk, &name).await?;
    Ok(person.account.or(Some(person.name)))
}

fn written(effect: &Effect, kind: &str, title: &str, done: &str, notes: Vec<String>) -> Outcome {
    let id = effect.id.clone().unwrap_or_default();
    let number: Value = id.parse::<u32>().map_or(Value::Null, Value::from);
    let url = effect.web_url.clone().unwrap_or_default();
    let mut content = json!({ "id": number, "type": kind, "title": title, "url": url, "result": done });
    if !notes.is_empty() {
        content["notes"] = json!(notes);
    }
    Outcome {
        ok: true,
        content: content.to_string(),
        summary: format!("{kind} {id}: {title}"),
        target_url: effect.web_url.clone(),
        links: vec![Link { kind: "work_item".into(), title: format!("{kind} {id}: {title}"), url }],
        diff: None,
    }
}

async fn update(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let args: Update = read(arguments)?;
    desk.gate.read("work_item.read").await?;
    let project = desk.toolbox.served.project.clone();
    let item = desk.toolbox.azure.work_item(&project, args.id).await?;
    let assigned_to = account_of(desk, args.assigned_to).await?;
    let title = args.title.as_deref().map(|title| text::title(title, limits::WORK_ITEM_TITLE));
    let whole_title = args.title.filter(|_| title.as_ref().is_some_and(|(_, is_cut)| *is_cut));
    let fields: BTreeMap<String, String> = [
        ("System.Title", title.map(|(title, _)| title)),
        ("System.Description", args.description),
        ("System.State", args.state.clone()),
        ("System.AssignedTo", assigned_to),
        ("System.Tags", args.tags),
    ]
    .into_iter()
    .filter_map(|(field, value)| Some((field.to_owned(), value?)))
    .collect();
    let link = args.link.map(|link| WorkItemLink { relation: link.relation, target_id: link.target_id });
    if fields.is_empty() && link.is_none() {
        return Err(words("Nothing to change was given.", "Give at least one field or a link."));
    }
    desk.gate.shown().before = fields.keys().map(|field| (field.clone(), before(&item, field))).collect();
    let action =
        Action::UpdateWorkItem { project: project.clone(), id: item.id, rev: item.rev, fields, link };
    let facts = desk.gate.facts(action.kind());
    let effect = match (desk.gate.write(action, facts).await, args.state) {
        (Err(Fault::Azure(error)), Some(state)) if is(&error, &["RuleValidationException", "TF401320"]) => {
            return Err(no_state(desk, &item.work_item_type, &state, error).await?);
        }
        (other, _) => other?,
    };
    let mut notes = Vec::new();
    if let Some(whole) = whole_title {
        let text = format!("The whole title: {}", whole.trim());
        let posted =
            threads::also(desk, false, Action::CommentOnWorkItem { project, id: item.id, text }).await?;
        notes.push(match posted {
            Ok(_) => "The title was cut at 255 characters; the whole of it stands in a comment.".to_owned(),
            Err(error) => {
                format!("The title was cut at 255 characters; the whole of it could not be posted: {error}")
            }
        });
    }
    let title = effect.title.clone().unwrap_or(item.title);
    Ok(written(&effect, &item.work_item_type, &title, "changed", notes))
}

/// A field as it is now, for a person who is asked.
fn before(item: &WorkItem, field: &str) -> String {
    match field {
        "System.Title" => item.title.clone(),
        "System.Description" => item.description.clone(),
        "System.State" => item.state.clone(),
        "System.AssignedTo" => {
            item.assigned_to.as_ref().map(|person| person.name.clone()).unwrap_or_default()
        }
        "System.Tags" => item.tags.join("; "),
        _ => String::new(),
    }
}

async fn comment(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let Comment { id, text } = read(arguments)?;
    if text.trim().is_empty() {
        return Err(words("The comment is empty.", "Give the text of the comment."));
    }
    let project = desk.toolbox.served.project.clone();
    let mut pieces = text::comments(&text).into_iter();
    let action =
        Action::CommentOnWorkItem { project: project.clone(), id, text: pieces.next().unwrap_or_default() };
    let facts = desk.gate.facts(action.kind());
    let effect = desk.gate.write(action, facts).await?;
    let said = |text: String| Action::CommentOnWorkItem { project: project.clone(), id, text };
    let notes = threads::rest(desk, false, pieces, said).await?;
    let mut content = json!({ "id": id, "comment_id": effect.comment_id, "url": effect.web_url });
    if !notes.is_empty() {
        content["notes"] = json!(notes);
    }
    Ok(Outcome {
        ok: true,
        content: content.to_string(),
        summary: format!("Commented on work item {id}"),
        target_url: effect.web_url,
        ..Outcome::default()
    })
}
