//! Reading the bodies of pull request operations.

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::threads::{NewComment, NewThread};
use crate::simulator::azure_devops::state::{
    CommentType, Completion, MergeStrategy, Outcome, Position, Status, StatusState, ThreadContext,
    ThreadStatus, World,
};

/// A flag as boolean or text; the official examples send both.
pub fn flag(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| match value.as_str()?.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    })
}

/// A number as number or text.
pub fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|n| u32::try_from(n).ok()).or_else(|| value.as_str()?.trim().parse().ok())
}

/// The id of an identity, also by account or name.
///
/// # Errors
/// 400 for an unknown one.
pub fn identity(world: &World, value: &Value) -> Outcome<Uuid> {
    let text = value["id"].as_str().or(value.as_str()).or(value["uniqueName"].as_str()).unwrap_or_default();
    let known = world.find_person(text).map(|p| p.id);
    known.ok_or_else(|| Refusal::invalid(format!("id (no identity is called '{}')", text.escape_default())))
}

/// `completionOptions`.
///
/// # Errors
/// 400 for an unknown strategy.
pub fn completion(value: &Value) -> Outcome<Option<Completion>> {
    if value.is_null() {
        return Ok(None);
    }
    let strategy = match &value["mergeStrategy"] {
        Value::Null if flag(&value["squashMerge"]) == Some(true) => MergeStrategy::Squash,
        Value::Null => MergeStrategy::NoFastForward,
        given => MergeStrategy::from_json(given).ok_or_else(|| Refusal::invalid("mergeStrategy"))?,
    };
    let is = |key: &str| flag(&value[key]).unwrap_or(false);
    let text = |key: &str| value[key].as_str().filter(|t| !t.is_empty()).map(str::to_owned);
    Ok(Some(Completion {
        strategy,
        delete_source: is("deleteSourceBranch"),
        transition_work_items: is("transitionWorkItems"),
        message: text("mergeCommitMessage"),
        bypass: is("bypassPolicy"),
        bypass_reason: text("bypassReason"),
        by_auto_complete: false,
    }))
}

/// A status on a pull request or commit.
///
/// # Errors
/// 400 without state or context name.
pub fn status(body: &Value, by: Uuid, now: Timestamp) -> Outcome<Status> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let state = StatusState::from_json(&body["state"]).ok_or_else(|| Refusal::invalid("state"))?;
    let name = text(&body["context"]["name"]).filter(|n| !n.is_empty());
    Ok(Status {
        id: 0,
        state,
        description: text(&body["description"]).unwrap_or_default(),
        target_url: text(&body["targetUrl"]),
        name: name.ok_or_else(|| Refusal::invalid("context.name"))?,
        genre: text(&body["context"]["genre"]),
        iteration: number(&body["iterationId"]),
        created_by: by,
        created: now,
    })
}

/// A thread.
///
/// # Errors
/// 400 for a bad position or state.
pub fn thread(body: &Value) -> Outcome<NewThread> {
    let comments = body["comments"].as_array().cloned().unwrap_or_default();
    let properties = body["properties"].as_object().cloned().unwrap_or_default();
    Ok(NewThread {
        comments: comments.iter().map(comment).collect(),
        status: thread_status(&body["status"])?,
        context: context(&body["threadContext"])?,
        review_context: Some(body["pullRequestThreadContext"].clone()).filter(Value::is_object),
        properties: properties
            .into_iter()
            .map(|(key, value)| (key, crate::simulator::azure_devops::state::threads::typed(value)))
            .collect(),
    })
}

/// A comment.
pub fn comment(body: &Value) -> NewComment {
    NewComment {
        content: body["content"].as_str().unwrap_or_default().to_owned(),
        parent: number(&body["parentCommentId"]).unwrap_or(0),
        kind: CommentType::from_json(&body["commentType"]),
    }
}

/// The state of a thread.
///
/// # Errors
/// 400 for an unknown one.
pub fn thread_status(value: &Value) -> Outcome<Option<ThreadStatus>> {
    match value {
        Value::Null => Ok(None),
        given => ThreadStatus::from_json(given).map(Some).ok_or_else(|| Refusal::invalid("status")),
    }
}

fn context(value: &Value) -> Outcome<Option<ThreadContext>> {
    let Some(path) = value["filePath"].as_str() else { return Ok(None) };
    let position = |key: &str| -> Outcome<Option<Position>> {
        let given = &value[key];
        if given.is_null() {
            return Ok(None);
        }
        let line = number(&given["line"]).ok_or_else(|| Refusal::invalid(format!("{key}.line")))?;
        Ok(Some(Position { line, offset: number(&given["offset"]).unwrap_or(0) }))
    };
    Ok(Some(ThreadContext {
        file_path: path.to_owned(),
        left_file_start: position("leftFileStart")?,
        left_file_end: position("leftFileEnd")?,
        right_file_start: position("rightFileStart")?,
        right_file_end: position("rightFileEnd")?,
    }))
}
