//! What has to come of a scenario, and whether it did.

use std::collections::BTreeMap;

use serde_json::Value;

use super::evidence::Wanted;
use super::table::{Read, Table, json};

/// What is said of objects of one kind.
#[derive(Default)]
pub struct Objects {
    /// How many the agent made.
    pub count: Option<u64>,
    /// Each has to fit one object at least.
    pub each: Vec<BTreeMap<String, Value>>,
}

pub struct FileWanted {
    pub path: String,
    pub branch: Option<String>,
    pub contains: Vec<String>,
    pub not_contains: Vec<String>,
    pub text: Option<String>,
    pub absent: bool,
}

/// A request as the simulator saw it, or an effect by its kind.
pub struct CallWanted {
    pub written: String,
    pub method: Option<String>,
    pub path: String,
    pub contains: Option<String>,
    pub count: Option<u64>,
}

pub struct Expect {
    pub status: Vec<String>,
    pub runs: Option<u64>,
    pub answer: Vec<String>,
    pub files: Vec<FileWanted>,
    pub work_items: Objects,
    pub pull_requests: Objects,
    pub threads: Objects,
    pub builds: Objects,
    pub untouched: Vec<String>,
    pub calls: Vec<CallWanted>,
    pub not_calls: Vec<CallWanted>,
    pub approvals: Option<Vec<String>>,
    pub outcome: Option<String>,
    pub rules: Vec<String>,
    /// Words of refused calls, of ignored events, names of what was cleaned.
    pub refused: Vec<String>,
    pub ignored: Vec<String>,
    pub cleaned: Vec<String>,
    /// Words that the model was told: proof that the case came as far as it says.
    pub told: Vec<String>,
    /// Where a text must not be: `sent`, `model`, `record`, `page` or `anywhere`.
    pub not_contains: BTreeMap<String, Vec<String>>,
}

const PROPERTIES: &[(&str, &[&str])] = &[
    (
        "work_items",
        &[
            "id",
            "type",
            "title",
            "state",
            "description",
            "tags",
            "area",
            "assigned_to",
            "created_by",
            "comments",
            "links",
        ],
    ),
    (
        "pull_requests",
        &["id", "title", "description", "draft", "status", "source", "target", "reviewers", "created_by"],
    ),
    ("threads", &["pull_request", "id", "status", "text", "by", "path"]),
    ("builds", &["id", "branch", "status", "result", "reason"]),
];
/// Properties of which a part has to fit; of the others the whole.
pub const PARTS: [&str; 9] =
    ["title", "description", "tags", "comments", "links", "reviewers", "text", "by", "assigned_to"];
const OUTCOMES: [&str; 6] = ["allow", "deny", "ask", "clean", "ignore", "mask"];
const PLACES: [&str; 6] = ["sent", "model", "record", "page", "card", "anywhere"];

impl Expect {
    pub fn read(mut table: Table) -> Read<Self> {
        let outcome = table.text("outcome")?;
        if let Some(other) = outcome.as_deref().filter(|outcome| !OUTCOMES.contains(outcome)) {
            return Err(format!("expect.outcome is '{other}'; known are: {}", OUTCOMES.join(", ")));
        }
        let not_contains = hidden(&mut table, outcome.as_deref())?;
        let expect = Self {
            status: table.texts("status")?,
            runs: table.number("runs")?,
            answer: table.texts("answer")?,
            files: files(&mut table)?,
            work_items: objects(&mut table, "work_items")?,
            pull_requests: objects(&mut table, "pull_requests")?,
            threads: objects(&mut table, "threads")?,
            builds: objects(&mut table, "builds")?,
            untouched: table.texts("untouched")?,
            calls: calls(&mut table, "calls")?,
            not_calls: calls(&mut table, "not_calls")?,
            approvals: approvals(&mut table)?,
            outcome,
            rules: table.texts("rules")?,
            refused: table.texts("refused")?,
            ignored: table.texts("ignored")?,
            cleaned: table.texts("cleaned")?,
            told: table.texts("told")?,
            not_contains,
        };
        table.done()?;
        Ok(expect)
    }

    /// Whether it names what must not happen: a case that only says how a run ended proves little.
    pub fn says_what_must_not_happen(&self) -> bool {
        let counted = self.calls.iter().any(|call| call.count.is_some());
        counted || !self.not_calls.is_empty() || !self.untouched.is_empty() || !self.not_contains.is_empty()
    }

    /// What has to be gathered to judge.
    pub fn wants(&self) -> Wanted {
        let objects = [&self.work_items, &self.pull_requests, &self.threads, &self.builds];
        Wanted {
            pages: self
                .not_contains
                .keys()
                .any(|place| ["page", "card", "anywhere"].contains(&place.as_str())),
            objects: objects.iter().any(|objects| !objects.each.is_empty()),
        }
    }

    pub fn outcome(&self) -> &str {
        self.outcome.as_deref().unwrap_or("-")
    }
}

fn call(written: String, text: &str) -> CallWanted {
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"];
    let (method, path) = match text.split_once(' ') {
        Some((method, path)) if methods.contains(&method) => (Some(method.to_owned()), path.trim()),
        _ if methods.contains(&text) => (Some(text.to_owned()), ""),
        _ => (None, text),
    };
    CallWanted { written, method, path: path.to_owned(), contains: None, count: None }
}

fn calls(table: &mut Table, key: &'static str) -> Read<Vec<CallWanted>> {
    let items = match table.value(key) {
        None => return Ok(Vec::new()),
        Some(toml::Value::Array(items)) => items,
        Some(one) => vec![one],
    };
    let mut found = Vec::new();
    for item in items {
        found.push(match item {
            toml::Value::String(text) => call(text.clone(), &text),
            toml::Value::Table(map) => {
                let written = map.to_string().replace('\n', " ");
                let mut own = Table::whole(map);
                let method = own.text("method")?;
                let path = own.text("path")?.or(own.text("route")?).or(own.text("kind")?).unwrap_or_default();
                let mut wanted = call(written, &path);
                wanted.method = wanted.method.or(method);
                wanted.contains = own.text("contains")?;
                wanted.count = own.number("count")?.or(own.number("times")?);
                own.done().map_err(|error| format!("expect.{key}: {error}"))?;
                wanted
            }
            other => {
                return Err(format!(
                    "expect.{key} has to be a list of texts or tables, and holds a {}",
                    other.type_str()
                ));
            }
        });
    }
    Ok(found)
}

fn objects(table: &mut Table, key: &'static str) -> Read<Objects> {
    let known = PROPERTIES.iter().find(|(name, _)| *name == key).map_or(&[][..], |(_, known)| known);
    let items = match table.value(key) {
        None => return Ok(Objects::default()),
        Some(toml::Value::Integer(count)) => {
            return Ok(Objects { count: u64::try_from(count).ok(), each: Vec::new() });
        }
        Some(toml::Value::Array(items)) => items,
        Some(one) => vec![one],
    };
    let count = items.is_empty().then_some(0);
    let mut each = Vec::new();
    for item in items {
        let map = match item {
            toml::Value::Table(map) => {
                map.into_iter().map(|(name, value)| (plain(key, name), value)).collect()
            }
            toml::Value::String(title) if key != "builds" => {
                let name = if key == "threads" { "text" } else { "title" };
                toml::Table::from_iter([(name.to_owned(), toml::Value::String(title))])
            }
            other => {
                return Err(format!(
                    "expect.{key} has to be a number or a list of tables, and holds a {}",
                    other.type_str()
                ));
            }
        };
        if let Some(strange) = map.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!(
                "expect.{key} has the unknown key '{strange}'; known here are: {}",
                known.join(", ")
            ));
        }
        each.push(map.into_iter().map(|(name, value)| (name, json(value))).collect());
    }
    Ok(Objects { count, each })
}

/// The property that is meant by a name that others use.
fn plain(kind: &str, name: String) -> String {
    let other = match (kind, name.as_str()) {
        ("pull_requests", "state") => "status",
        ("pull_requests", "is_draft") => "draft",
        ("pull_requests", "source_branch") => "source",
        ("pull_requests", "target_branch") => "target",
        ("pull_requests" | "work_items", "author") => "created_by",
        ("threads", "comments" | "contains" | "content") => "text",
        ("threads", "author") => "by",
        _ => return name,
    };
    other.to_owned()
}

/// A table from path to a part of the text, or a list of tables.
fn files(table: &mut Table) -> Read<Vec<FileWanted>> {
    let wanted = |path: String| FileWanted {
        path,
        branch: None,
        contains: vec![],
        not_contains: vec![],
        text: None,
        absent: false,
    };
    let items = match table.value("files") {
        None => return Ok(Vec::new()),
        Some(toml::Value::Table(map)) => {
            let one = |(path, value): (String, toml::Value)| match value {
                toml::Value::String(part) => Ok(FileWanted { contains: vec![part], ..wanted(path) }),
                toml::Value::Boolean(there) => Ok(FileWanted { absent: !there, ..wanted(path) }),
                other => Err(format!(
                    "expect.files.{path} has to be a part of its text, and is a {}",
                    other.type_str()
                )),
            };
            return map.into_iter().map(one).collect();
        }
        Some(toml::Value::Array(items)) => items,
        Some(other) => {
            return Err(format!("expect.files has to be a list of tables, and is a {}", other.type_str()));
        }
    };
    let mut found = Vec::new();
    for item in items {
        found.push(match item {
            toml::Value::String(path) => wanted(path),
            toml::Value::Table(map) => {
                let mut own = Table::whole(map);
                let file = FileWanted {
                    path: own.needed("path")?,
                    branch: own.text("branch")?,
                    contains: own.texts("contains")?,
                    not_contains: own.texts("not_contains")?,
                    text: own.text("text")?,
                    absent: own.flag("absent")?.unwrap_or(false),
                };
                own.done().map_err(|error| format!("expect.files: {error}"))?;
                file
            }
            other => return Err(format!("expect.files holds a {}; give tables with path", other.type_str())),
        });
    }
    Ok(found)
}

fn approvals(table: &mut Table) -> Read<Option<Vec<String>>> {
    use ado_coworker::policy::approval::State;
    let given = table.has("approvals");
    let found = table.texts("approvals")?;
    if let Some(strange) = found.iter().find(|name| State::parse(name).is_none()) {
        let names: Vec<&str> = State::ALL.into_iter().map(State::as_str).collect();
        return Err(format!("expect.approvals names '{strange}'; known are: {}", names.join(", ")));
    }
    // An empty list says that nobody is asked.
    Ok(given.then_some(found))
}

fn hidden(table: &mut Table, outcome: Option<&str>) -> Read<BTreeMap<String, Vec<String>>> {
    let text = |value: toml::Value| match value {
        toml::Value::String(text) => Ok(vec![text]),
        toml::Value::Array(items) => items
            .into_iter()
            .map(|item| {
                item.as_str().map(str::to_owned).ok_or("expect.not_contains has to hold texts".to_owned())
            })
            .collect(),
        other => Err(format!("expect.not_contains holds a {}; give texts", other.type_str())),
    };
    match table.value("not_contains") {
        None => Ok(BTreeMap::new()),
        Some(toml::Value::Table(map)) => {
            if let Some(strange) = map.keys().find(|name| !PLACES.contains(&name.as_str())) {
                return Err(format!(
                    "expect.not_contains has the unknown place '{strange}'; known are: {}",
                    PLACES.join(", ")
                ));
            }
            map.into_iter().map(|(place, value)| Ok((place, text(value)?))).collect()
        }
        // What is masked is nowhere; of anything else it matters that it did not leave.
        Some(value) => {
            let place = if outcome == Some("mask") { "anywhere" } else { "sent" };
            Ok(BTreeMap::from([(place.to_owned(), text(value)?)]))
        }
    }
}
