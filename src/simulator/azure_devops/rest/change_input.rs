//! Reading the commits of a push.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use crate::simulator::azure_devops::git::change::FileChange;
use crate::simulator::azure_devops::git::store::Signature;
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::Outcome;
use crate::simulator::azure_devops::state::pushes::NewCommit;

/// The `commits` of a push body; `now` where no date is given.
///
/// # Errors
/// 400 for whatever cannot be read.
pub fn commits(list: &Value, now: Timestamp) -> Outcome<Vec<NewCommit>> {
    let list = list.as_array().ok_or_else(|| Refusal::invalid("commits (a list is needed)"))?;
    list.iter().map(|entry| commit(entry, now)).collect()
}

fn commit(entry: &Value, now: Timestamp) -> Outcome<NewCommit> {
    let changes =
        entry["changes"].as_array().ok_or_else(|| Refusal::invalid("changes (a list is needed)"))?;
    let parent = match &entry["parents"][0] {
        Value::String(sha) => Some(sha.to_ascii_lowercase()),
        Value::Object(map) => map.get("commitId").and_then(Value::as_str).map(str::to_ascii_lowercase),
        _ => None,
    };
    Ok(NewCommit {
        message: entry["comment"].as_str().unwrap_or_default().to_owned(),
        changes: changes.iter().map(change).collect::<Outcome<_>>()?,
        author: signature(&entry["author"], now)?,
        committer: signature(&entry["committer"], now)?,
        parent,
    })
}

fn signature(entry: &Value, now: Timestamp) -> Outcome<Option<Signature>> {
    if entry.is_null() {
        return Ok(None);
    }
    let text = |key: &str| entry[key].as_str().map(str::trim).filter(|t| !t.is_empty());
    let (Some(name), Some(email)) = (text("name"), text("email")) else {
        return Err(Refusal::invalid("author (name and email are needed)"));
    };
    let date = match text("date") {
        Some(date) => {
            date.parse().map_err(|_| Refusal::invalid("author.date (an ISO 8601 instant is needed)"))?
        }
        None => now,
    };
    Ok(Some(Signature { name: name.into(), email: email.into(), date }))
}

fn change(entry: &Value) -> Outcome<FileChange> {
    let path = entry["item"]["path"].as_str().ok_or_else(|| Refusal::invalid("item.path"))?.to_owned();
    let content = content(&entry["newContent"])?;
    let needed = |content: Option<Vec<u8>>| {
        content.ok_or_else(|| Refusal::invalid(format!("newContent (needed for {path})")))
    };
    // Names in any case, the flags of the enumeration, and combinations of both.
    let kinds: Vec<String> = match &entry["changeType"] {
        Value::Number(n) => {
            let flags = n.as_u64().unwrap_or(0);
            let names = [(1, "add"), (2, "edit"), (8, "rename"), (16, "delete")];
            names.iter().filter(|(f, _)| flags & f != 0).map(|(_, n)| (*n).to_owned()).collect()
        }
        Value::String(text) => text.split(',').map(|t| t.trim().to_ascii_lowercase()).collect(),
        _ => Vec::new(),
    };
    let has = |name: &str| kinds.iter().any(|k| k == name);
    if has("rename") || has("sourcerename") {
        let from = entry["sourceServerItem"]
            .as_str()
            .ok_or_else(|| Refusal::invalid("sourceServerItem"))?
            .to_owned();
        return Ok(FileChange::Rename { from, to: path, content });
    }
    if has("delete") {
        return Ok(FileChange::Delete(path));
    }
    if has("edit") {
        let content = needed(content)?;
        return Ok(FileChange::Edit(path, content));
    }
    if has("add") {
        let content = needed(content)?;
        return Ok(FileChange::Add(path, content));
    }
    Err(Refusal::invalid(format!(
        "changeType ({} is not one of add, edit, delete, rename)",
        entry["changeType"]
    )))
}

fn content(entry: &Value) -> Outcome<Option<Vec<u8>>> {
    let Some(text) = entry["content"].as_str() else { return Ok(None) };
    let encoded = match &entry["contentType"] {
        Value::Number(n) => n.as_u64() == Some(1),
        Value::String(kind) => kind.eq_ignore_ascii_case("base64encoded"),
        _ => false,
    };
    if !encoded {
        return Ok(Some(text.as_bytes().to_vec()));
    }
    STANDARD
        .decode(text.trim())
        .map(Some)
        .map_err(|_| Refusal::invalid("newContent.content (not valid base64)"))
}
