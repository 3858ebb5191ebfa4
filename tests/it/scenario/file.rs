//! The scenario file format (CONTRACTS: Scenario files), down to what the runner does with it.
//! `tests/it/attacks/README.md` tells all keys.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::expected::Expect;
use super::table::{Read, Table, substitute};

/// One run of a file: a file with variants is several.
pub struct Scenario {
    pub id: String,
    pub title: String,
    pub model: Model,
    pub script: Vec<Value>,
    pub settings: BTreeMap<String, String>,
    /// A rule file in place of the one that ships.
    pub policy: Option<String>,
    /// What stops it: with each of these switched off it fails.
    pub defences: Vec<String>,
    pub people: Vec<Newcomer>,
    pub files: Vec<FileSeed>,
    pub work_items: Vec<WorkItemSeed>,
    pub pull_requests: Vec<PullRequestSeed>,
    pub builds: Vec<BuildSeed>,
    pub acts: Vec<Act>,
    pub expect: Expect,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Model {
    StandIn,
    Obedient,
    /// A real endpoint: address, deployment, and the variable that holds its key.
    Endpoint {
        url: String,
        deployment: String,
        key: Option<String>,
    },
}

pub struct Newcomer {
    pub name: String,
    pub display_name: String,
    pub in_team: bool,
    pub is_service: bool,
    /// Further projects that they are members of.
    pub projects: Vec<String>,
}

pub struct FileSeed {
    pub path: String,
    pub content: Vec<u8>,
    pub branch: String,
}

pub struct WorkItemSeed {
    /// The number that it has to get.
    pub id: Option<u64>,
    pub by: String,
    pub project: String,
    pub kind: String,
    pub title: String,
    pub description: String,
    pub state: Option<String>,
    pub assigned_to: Option<String>,
    pub tags: Option<String>,
    /// Who, and what.
    pub comments: Vec<(String, String)>,
}

pub struct PullRequestSeed {
    /// The number that it has to get.
    pub id: Option<u64>,
    pub by: String,
    pub title: String,
    pub description: String,
    pub source: Option<String>,
    pub target: String,
    pub is_draft: bool,
    pub files: Vec<FileSeed>,
    pub reviewers: Vec<String>,
    pub comments: Vec<(String, String)>,
}

pub struct BuildSeed {
    pub branch: Option<String>,
    pub pull_request: Option<u64>,
    pub fails: bool,
    /// Lines of the log of its last step.
    pub log: Vec<String>,
    pub definition: String,
    /// The file that the definition is read from.
    pub yaml: String,
}

/// What somebody does, when.
pub struct Act {
    pub who: Option<String>,
    pub after: Vec<String>,
    pub deed: Deed,
}

/// What a comment, an edit or a vote is on; nothing named means the newest there is.
#[derive(Clone, Default)]
pub struct On {
    pub work_item: Option<u64>,
    pub pull_request: Option<u64>,
    pub thread: Option<u64>,
    pub comment: Option<u64>,
}

pub enum Deed {
    Instruction {
        text: String,
        project: Option<String>,
        answer: Option<u64>,
    },
    Message {
        text: String,
    },
    /// So many times, with so many seconds between.
    Comment {
        on: On,
        text: String,
        path: Option<String>,
        times: u64,
        every: u64,
    },
    Decide {
        approves: bool,
        which: u64,
        body: BTreeMap<&'static str, Value>,
        answer: Option<u64>,
        times: u64,
    },
    Push {
        branch: String,
        files: Vec<FileSeed>,
        message: String,
    },
    Vote {
        on: On,
        vote: i64,
    },
    Fault(Value),
    Advance(u64),
    Event(Box<EventDeed>),
    Edit {
        on: On,
        text: Option<String>,
        fields: BTreeMap<String, String>,
        file: Option<FileSeed>,
    },
    Stop,
}

pub struct EventDeed {
    pub kind: String,
    pub on: On,
    pub body: Option<Value>,
    pub raw: Option<String>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub times: u64,
    pub answer: Option<u64>,
}

/// The scenarios of a file, one for each variant.
pub fn read(text: &str) -> Read<Vec<Scenario>> {
    let mut map = text.parse::<toml::Table>().map_err(|error| format!("it is no TOML: {error}"))?;
    let variants = Table::whole(map.clone()).tables("variant")?;
    map.remove("variant");
    let filled = |pairs: &BTreeMap<String, String>| {
        let mut value = toml::Value::Table(map.clone());
        substitute(&mut value, pairs);
        match value {
            toml::Value::Table(map) => Table::whole(map),
            _ => Table::whole(toml::Table::new()),
        }
    };
    if variants.is_empty() {
        return Ok(vec![scenario(filled(&BTreeMap::new()), "")?]);
    }
    let mut found = Vec::new();
    for (n, variant) in variants.into_iter().enumerate() {
        let pairs = variant.into_pairs()?;
        let name = pairs.get("name").cloned().unwrap_or_else(|| (n + 1).to_string());
        found.push(scenario(filled(&pairs), &name).map_err(|error| format!("variant {name}: {error}"))?);
    }
    Ok(found)
}

fn scenario(mut file: Table, variant: &str) -> Read<Scenario> {
    let id = file.needed("id")?;
    let base = file.text("base")?.unwrap_or_else(|| "web-shop".into());
    if base != "web-shop" {
        return Err(format!("base is '{base}', and the only known base is 'web-shop'"));
    }
    let (model, script) = model(file.table("model")?)?;
    let found = Scenario {
        id: if variant.is_empty() { id } else { format!("{id}/{variant}") },
        title: file.needed("title")?,
        model,
        script,
        settings: file.pairs("settings")?,
        policy: file.text("policy")?,
        defences: file.texts("defence")?,
        people: each(file.tables("person")?, newcomer)?,
        files: each(file.tables("file")?, file_seed)?,
        work_items: each(file.tables("work_item")?, work_item)?,
        pull_requests: each(file.tables("pull_request")?, pull_request)?,
        builds: each(file.tables("build")?, build)?,
        acts: each(file.tables("act")?, act)?,
        expect: Expect::read(
            file.table("expect")?.ok_or("[expect] is missing: say what has to come of it")?,
        )?,
    };
    file.done()?;
    if found.acts.is_empty() {
        return Err("there is no [[act]]: say what somebody does".into());
    }
    Ok(found)
}

/// Who something is from.
const BY: &[&str] = &["as", "author", "created_by"];
/// What somebody says.
const TEXT: &[&str] = &["text", "instruction", "comment_text", "content"];

fn each<T>(tables: Vec<Table>, read: impl Fn(&mut Table) -> Read<T>) -> Read<Vec<T>> {
    let one = |mut table: Table| {
        let found = read(&mut table)?;
        table.done()?;
        Ok(found)
    };
    tables.into_iter().map(one).collect()
}

fn model(table: Option<Table>) -> Read<(Model, Vec<Value>)> {
    let Some(mut table) = table else { return Ok((Model::StandIn, Vec::new())) };
    let kind = table.needed("kind")?;
    let script = match table.json("script") {
        None => Vec::new(),
        Some(Value::Array(steps)) => steps,
        Some(one) => vec![one],
    };
    let (url, deployment, key) = (table.text("url")?, table.text("deployment")?, table.text("key")?);
    table.done()?;
    let model = match kind.as_str() {
        "stand-in" => Model::StandIn,
        "obedient" => Model::Obedient,
        "endpoint" => Model::Endpoint {
            url: url.ok_or("model.url is missing: an endpoint needs its address")?,
            deployment: deployment.unwrap_or_else(|| "model".into()),
            key,
        },
        other => return Err(format!("model.kind is '{other}'; known are: stand-in, obedient, endpoint")),
    };
    Ok((model, script))
}

fn newcomer(table: &mut Table) -> Read<Newcomer> {
    let name = table.needed("name")?;
    Ok(Newcomer {
        display_name: table.text("display_name")?.unwrap_or_else(|| name.clone()),
        name,
        in_team: table.flag("in_team")?.unwrap_or(false),
        is_service: table.flag("is_service")?.unwrap_or(false),
        projects: table.texts("projects")?,
    })
}

fn file_seed(table: &mut Table) -> Read<FileSeed> {
    let path = table.needed("path")?;
    let (text, base64) = (table.text("text")?, table.text("base64")?);
    let content = match (text, base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => STANDARD
            .decode(text.split_whitespace().collect::<String>())
            .map_err(|error| format!("{}.base64: {error}", table.place()))?,
        _ => return Err(format!("{} needs either text or base64", table.place())),
    };
    Ok(FileSeed { path, content, branch: table.text("branch")?.unwrap_or_else(|| "main".into()) })
}

fn said(table: &mut Table) -> Read<(String, String)> {
    Ok((table.first(BY)?.unwrap_or_else(|| "alice".into()), table.first_of(TEXT)?))
}

fn work_item(table: &mut Table) -> Read<WorkItemSeed> {
    Ok(WorkItemSeed {
        id: table.number("id")?,
        by: table.first(BY)?.unwrap_or_else(|| "alice".into()),
        project: table.text("project")?.unwrap_or_else(|| "Fabrikam".into()),
        kind: table.text("type")?.unwrap_or_else(|| "Issue".into()),
        title: table.needed("title")?,
        description: table.first(&["description", "text", "body"])?.unwrap_or_default(),
        state: table.text("state")?,
        assigned_to: table.text("assigned_to")?,
        tags: table.text("tags")?,
        comments: each(table.tables("comment")?, said)?,
    })
}

fn pull_request(table: &mut Table) -> Read<PullRequestSeed> {
    Ok(PullRequestSeed {
        id: table.number("id")?,
        by: table.first(BY)?.unwrap_or_else(|| "bob".into()),
        title: table.needed("title")?,
        description: table.first(&["description", "text", "body"])?.unwrap_or_default(),
        source: table.first(&["source", "source_branch", "branch"])?,
        target: table.first(&["target", "target_branch"])?.unwrap_or_else(|| "main".into()),
        is_draft: table.flag("draft")?.or(table.flag("is_draft")?).unwrap_or(false),
        files: each(table.tables("file")?, file_seed)?,
        reviewers: table.texts("reviewers")?,
        comments: each(table.tables("comment")?, said)?,
    })
}

fn build(table: &mut Table) -> Read<BuildSeed> {
    let result = table.text("result")?.unwrap_or_else(|| "failed".into());
    if !["failed", "succeeded"].contains(&result.as_str()) {
        return Err(format!("{}.result is '{result}'; known are: failed, succeeded", table.place()));
    }
    let log = table.first(&["log", "text"])?.unwrap_or_default();
    Ok(BuildSeed {
        branch: table.text("branch")?,
        pull_request: table.number("pull_request")?,
        fails: result == "failed",
        log: log.lines().map(str::to_owned).collect(),
        definition: table.text("definition")?.unwrap_or_else(|| "checks".into()),
        yaml: table.text("yaml")?.unwrap_or_else(|| "/azure-pipelines.yml".into()),
    })
}

fn on(table: &mut Table) -> Read<On> {
    Ok(On {
        work_item: table.number("work_item")?,
        pull_request: table.number("pull_request")?,
        thread: table.number("thread")?,
        comment: table.number("comment")?,
    })
}

const KINDS: &str =
    "instruction, message, comment, approve, deny, push, vote, fault, advance, event, edit, stop";

fn act(table: &mut Table) -> Read<Act> {
    let kind = table.needed("kind")?;
    let (who, after) = (table.text("as")?, table.texts("after")?);
    super::acts::check_conditions(&after).map_err(|error| format!("{}.after: {error}", table.place()))?;
    let deed = match kind.as_str() {
        "instruction" => Deed::Instruction {
            text: table.first_of(TEXT)?,
            project: table.text("project")?,
            answer: table.number("answer")?,
        },
        "message" => Deed::Message { text: table.first_of(TEXT)? },
        "comment" => Deed::Comment {
            on: on(table)?,
            text: table.first_of(TEXT)?,
            path: table.text("path")?,
            times: table.number("times")?.unwrap_or(1),
            every: table.number("every")?.unwrap_or(0),
        },
        "approve" | "deny" => decide(table, kind == "approve")?,
        "push" => push(table)?,
        "vote" => Deed::Vote {
            on: on(table)?,
            vote: table.signed("vote")?.or(table.signed("value")?).unwrap_or(10),
        },
        "fault" => fault(table)?,
        "advance" => Deed::Advance(seconds(table)?),
        "event" => Deed::Event(Box::new(event(table)?)),
        "edit" => edit(table)?,
        "stop" => Deed::Stop,
        other => return Err(format!("{}.kind is '{other}'; known are: {KINDS}", table.place())),
    };
    Ok(Act { who, after, deed })
}

fn decide(table: &mut Table, approves: bool) -> Read<Deed> {
    let mut body = BTreeMap::new();
    for key in ["edits", "grant", "ticket", "digest"] {
        if let Some(value) = table.json(key) {
            body.insert(key, value);
        }
    }
    let reason = table.text("reason")?.unwrap_or_else(|| "Decided by a scenario.".into());
    body.insert("reason", reason.into());
    let (which, answer) = (table.number("approval")?.unwrap_or(1), table.number("answer")?);
    Ok(Deed::Decide { approves, which, body, answer, times: table.number("times")?.unwrap_or(1) })
}

fn push(table: &mut Table) -> Read<Deed> {
    let mut files = each(table.tables("file")?, file_seed)?;
    let branch = table.text("branch")?.unwrap_or_default();
    if let Some(path) = table.text("path")? {
        let content = table.text("text")?.unwrap_or_default().into_bytes();
        files.push(FileSeed { path, content, branch: branch.clone() });
    }
    if files.is_empty() {
        return Err(format!("{} needs a path with its text, or [[act.file]]", table.place()));
    }
    let message = table.text("message")?.unwrap_or_else(|| "A change".into());
    Ok(Deed::Push { branch, files, message })
}

/// `fault = "throttle"` beside `route`, or the whole fault of the simulator as a table.
fn fault(table: &mut Table) -> Read<Deed> {
    let missing = format!("{}.fault is missing, for example 'throttle'", table.place());
    let mut body = match table.json("fault") {
        Some(Value::String(kind)) => serde_json::json!({ "kind": kind, "route": table.needed("route")? }),
        Some(whole @ Value::Object(_)) => whole,
        _ => return Err(missing),
    };
    for key in ["nth", "args"] {
        if let Some(value) = table.json(key) {
            body[key] = value;
        }
    }
    Ok(Deed::Fault(body))
}

/// `seconds = 90`, `minutes = 31`, or `by = "31m"`.
fn seconds(table: &mut Table) -> Read<u64> {
    if let Some(seconds) = table.number("seconds")? {
        return Ok(seconds);
    }
    if let Some(minutes) = table.number("minutes")? {
        return Ok(minutes * 60);
    }
    if let Some(hours) = table.number("hours")? {
        return Ok(hours * 3_600);
    }
    let by = table.first_of(&["by", "duration"])?;
    let (number, unit) = by.split_at(by.trim_end_matches(char::is_alphabetic).len());
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 0,
    };
    match number.trim().parse::<u64>() {
        Ok(number) if unit > 0 => Ok(number * unit),
        _ => Err(format!("{}.by is '{by}'; write for example 90s, 31m, 2h or 8d", table.place())),
    }
}

fn event(table: &mut Table) -> Read<EventDeed> {
    Ok(EventDeed {
        kind: table.first(&["event", "event_type", "type"])?.unwrap_or_else(|| "workitem.updated".into()),
        on: on(table)?,
        body: table.json("body").or(table.json("payload")),
        raw: table.text("raw")?,
        user: table.text("user")?,
        password: table.text("password")?,
        headers: table.pairs("headers")?,
        times: table.number("times")?.unwrap_or(1),
        answer: table.number("answer")?,
    })
}

fn edit(table: &mut Table) -> Read<Deed> {
    let on = on(table)?;
    let mut fields = table.pairs("fields")?;
    for (key, field) in
        [("title", "System.Title"), ("description", "System.Description"), ("state", "System.State")]
    {
        if let Some(value) = table.text(key)? {
            fields.insert(field.to_owned(), value);
        }
    }
    let (text, path, branch) = (table.text("text")?, table.text("path")?, table.text("branch")?);
    let file = path.map(|path| FileSeed {
        path,
        content: text.clone().unwrap_or_default().into_bytes(),
        branch: branch.unwrap_or_else(|| "main".into()),
    });
    Ok(Deed::Edit { on, text: text.filter(|_| file.is_none()), fields, file })
}
