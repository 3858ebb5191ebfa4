//! A step of a run as the page shows it.

use serde_json::Value;

use super::diff::Diff;
use super::markdown;
use super::text::{cut, visible};
use super::when::{Moment, duration};
use crate::journal::{Link, Step, StepKind, StepStatus};
use crate::policy::Outcome as Judged;

/// Longest value of one argument or result field that is shown, in characters.
const MAX_VALUE_CHARS: usize = 8_000;
/// Longest one-line text, in characters.
const MAX_LINE_CHARS: usize = 160;
/// Most fields of arguments or of a result that are shown.
const MAX_FIELDS: usize = 40;

/// One article of the timeline.
pub(super) struct StepShown {
    pub(super) seq: i64,
    /// `message`, `reply`, `tool` or `notice`; also the style's name.
    pub(super) kind: &'static str,
    /// `running`, `ok`, `failed` or `refused`; also the style's name.
    pub(super) status: &'static str,
    pub(super) status_words: &'static str,
    pub(super) from: String,
    pub(super) text: String,
    /// The text rendered and sanitised, for a reply.
    pub(super) html: String,
    pub(super) moment: Moment,
    pub(super) duration: String,
    pub(super) remedy: Option<String>,
    /// The run ended with it.
    pub(super) ends: bool,
    pub(super) tool: Option<ToolShown>,
}

/// What a tool call shows besides.
pub(super) struct ToolShown {
    pub(super) name: String,
    pub(super) plain: String,
    pub(super) url: Option<String>,
    pub(super) arguments: Vec<Field>,
    pub(super) result: Vec<Field>,
    pub(super) writes: Vec<WriteShown>,
    pub(super) diff: Option<Diff>,
}

/// One named value.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) value: String,
    /// Set in lines of its own.
    pub(super) long: bool,
}

/// One outside write.
pub(super) struct WriteShown {
    pub(super) action: String,
    pub(super) allowed: bool,
    pub(super) verdict: &'static str,
    pub(super) rules: String,
    pub(super) digest: String,
}

/// A thing that was made.
pub(super) struct LinkShown {
    pub(super) kind: String,
    pub(super) title: String,
    pub(super) url: Option<String>,
}

impl From<&Link> for LinkShown {
    fn from(link: &Link) -> Self {
        let url = web_address(&link.url);
        Self { kind: link.kind.replace('_', " "), title: one_line(&link.title), url }
    }
}

impl From<&Step> for StepShown {
    fn from(step: &Step) -> Self {
        let status_words = match (step.kind, step.status) {
            (_, StepStatus::Running) => "Working",
            (_, StepStatus::Ok) => "Done",
            (_, StepStatus::Failed) => "Failed",
            (_, StepStatus::Refused) => "Not allowed",
            (_, StepStatus::Waiting) => "Waits for approval",
        };
        let is_reply = step.kind == StepKind::Reply;
        let text = match (&step.tool, step.text.is_empty()) {
            (Some(_), true) => about(&step.arguments),
            (Some(_), false) => visible(&step.text).into_owned(),
            _ => step.text.clone(),
        };
        Self {
            seq: step.seq,
            kind: kind(step.kind),
            status: status(step.status),
            status_words,
            from: step.from.clone(),
            html: if is_reply { markdown::render(&step.text) } else { String::new() },
            text: if is_reply { String::new() } else { text },
            moment: Moment::of(step.ts),
            duration: step.duration_ms.map(duration).unwrap_or_default(),
            remedy: step.remedy.clone(),
            ends: false,
            tool: step.tool.as_ref().map(|name| tool(name, step)),
        }
    }
}

fn kind(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Message => "message",
        StepKind::Reply => "reply",
        StepKind::Tool => "tool",
        StepKind::Notice => "notice",
    }
}

fn status(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Running => "running",
        StepStatus::Ok => "ok",
        StepStatus::Failed => "failed",
        StepStatus::Refused => "refused",
        StepStatus::Waiting => "waiting",
    }
}

fn tool(name: &str, step: &Step) -> ToolShown {
    let write = |write: &crate::journal::Write| WriteShown {
        action: write.action.clone(),
        allowed: write.outcome == Judged::Allow,
        verdict: match write.outcome {
            Judged::Allow => "allowed",
            Judged::Ask => "needs approval",
            Judged::Deny => "denied",
        },
        rules: if write.rules.is_empty() { "no rule matched".into() } else { write.rules.join(", ") },
        digest: write.digest.clone().unwrap_or_default(),
    };
    ToolShown {
        name: name.to_owned(),
        plain: plain_name(name),
        url: step.target_url.as_deref().and_then(web_address),
        arguments: fields(&step.arguments),
        result: result_fields(&step.result),
        writes: step.writes.iter().map(write).collect(),
        diff: step.diff.as_deref().filter(|diff| !diff.trim().is_empty()).map(Diff::parse),
    }
}

/// A tool in plain words. The names are the toolbox's (CONTRACTS); an unknown one is spelt out.
fn plain_name(tool: &str) -> String {
    let words = match tool {
        "query_work_items" => "Find work items",
        "get_work_item" => "Read a work item",
        "create_work_item" => "Create a work item",
        "update_work_item" => "Change a work item",
        "comment_on_work_item" => "Comment on a work item",
        "list_files" => "List files",
        "read_file" => "Read a file",
        "search_code" => "Search the code",
        "push_changes" => "Push a commit",
        "get_pull_request" => "Read a pull request",
        "create_pull_request" => "Open a pull request",
        "update_pull_request" => "Change a pull request",
        "reply_to_thread" => "Reply in a review thread",
        "create_thread" => "Start a review thread",
        "get_build" => "Read a build",
        "queue_build" => "Start a build",
        "find_person" => "Find a person",
        "ask_person" => "Ask a person",
        other => {
            let spelt: String = one_line(other).replace('_', " ");
            let mut letters = spelt.chars();
            return letters
                .next()
                .map(|first| first.to_uppercase().chain(letters).collect())
                .unwrap_or_default();
        }
    };
    words.to_owned()
}

/// One line that says what a call under way is about, from its arguments.
fn about(arguments: &Value) -> String {
    const TELLING: [&str; 12] = [
        "title",
        "message",
        "question",
        "path",
        "name",
        "text",
        "branch",
        "source_branch",
        "id",
        "pull_request_id",
        "work_item_id",
        "wiql",
    ];
    let value = TELLING.iter().find_map(|name| arguments.get(name).filter(|value| !value.is_null()));
    match value {
        Some(Value::String(text)) => one_line(text),
        Some(other) => one_line(&other.to_string()),
        None => String::new(),
    }
}

/// The first line of `text`, cut.
pub(super) fn one_line(text: &str) -> String {
    let line = visible(text.trim().lines().next().unwrap_or_default());
    match cut(&line, MAX_LINE_CHARS) {
        Some(start) => format!("{}…", start.trim_end()),
        None => line.into_owned(),
    }
}

fn result_fields(result: &str) -> Vec<Field> {
    match serde_json::from_str::<Value>(result) {
        Ok(value) => fields(&value),
        Err(_) if result.is_empty() => Vec::new(),
        Err(_) => vec![field("", result.to_owned())],
    }
}

fn fields(value: &Value) -> Vec<Field> {
    let words = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_array() && !item.is_object()) => {
            let plain = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            items.iter().map(plain).collect::<Vec<_>>().join("\n")
        }
        // Cannot fail: the value came from JSON.
        Value::Array(_) | Value::Object(_) => serde_json::to_string_pretty(value).unwrap_or_default(),
        other => other.to_string(),
    };
    match value {
        Value::Null => Vec::new(),
        Value::Object(map) => {
            // The marks around what came from outside are for the model.
            let is_mark = |name: &str| matches!(name, "outside_begins" | "outside_ends");
            let given = map.iter().filter(|(name, value)| !value.is_null() && !is_mark(name));
            given.take(MAX_FIELDS).map(|(name, value)| field(name, words(value))).collect()
        }
        other => vec![field("", words(other))],
    }
}

pub(super) fn field(name: &str, value: String) -> Field {
    let value = visible(&value);
    let value = match cut(&value, MAX_VALUE_CHARS) {
        Some(start) => format!("{start}\n… cut here; the record has all of it"),
        None => value.into_owned(),
    };
    Field { name: name.to_owned(), long: value.contains('\n') || value.len() > 100, value }
}

/// `url`, when it leads to the web and nowhere else.
pub(super) fn web_address(url: &str) -> Option<String> {
    let parsed = url::Url::parse(url).ok()?;
    matches!(parsed.scheme(), "http" | "https").then(|| parsed.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_call_under_way_says_what_it_is_about() {
        assert_eq!(about(&json!({"branch": "agent/1-x", "message": "Fix it\n\nbody"})), "Fix it");
        assert_eq!(about(&json!({"id": 7, "title": null})), "7");
        assert_eq!(about(&Value::Null), "");
    }

    #[test]
    fn tools_have_plain_names() {
        assert_eq!(plain_name("push_changes"), "Push a commit");
        assert_eq!(plain_name("launch_rocket"), "Launch rocket");
        assert_eq!(plain_name(""), "");
    }

    #[test]
    fn only_web_addresses_become_links() {
        assert_eq!(web_address("https://dev.azure.com/x").as_deref(), Some("https://dev.azure.com/x"));
        assert_eq!(web_address("javascript:alert(1)"), None);
        assert_eq!(web_address("/runs"), None);
    }

    #[test]
    fn long_values_are_cut_and_say_so() {
        let shown = fields(&json!({"text": "é".repeat(MAX_VALUE_CHARS + 1), "none": null}));
        assert_eq!(shown.len(), 1);
        assert!(shown[0].value.ends_with("the record has all of it"));
    }
}
