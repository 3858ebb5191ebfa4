//! The wire format of chat completions: what a request must look like, answers, chunks, errors.

use std::collections::HashSet;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::conversation::{content, list, text};

/// The model's name in every answer: it says what it is.
pub const MODEL: &str = "stand-in";
/// Characters that count as one token. An honest estimate, as no tokenizer runs here.
const CHARS_PER_TOKEN: usize = 4;
/// Characters of tool arguments in one piece of the stream.
const ARGUMENT_PIECE: usize = 24;
/// Most messages and tools in a request, as the real service allows.
const MAX_MESSAGES: usize = 2_048;
const MAX_TOOLS: usize = 128;
const MAX_TOOL_NAME: usize = 64;

/// A refusal in the service's shape.
#[derive(Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// `{"error": …}`.
    pub body: Value,
    /// `retry-after` in seconds.
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// A refusal of what stands at `param`.
    pub fn invalid(param: &str, message: String) -> Self {
        let error =
            json!({"message": message, "type": "invalid_request_error", "param": param, "code": null});
        Self { status: StatusCode::BAD_REQUEST, body: json!({"error": error}), retry_after: None }
    }

    /// A refusal in the form of the service's gateway, whose code is a text.
    pub fn gateway(status: StatusCode, message: &str) -> Self {
        let error = json!({"code": status.as_u16().to_string(), "message": message});
        Self { status, body: json!({"error": error}), retry_after: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert("retry-after", HeaderValue::from(seconds));
            response.headers_mut().insert("retry-after-ms", HeaderValue::from(seconds.saturating_mul(1000)));
        }
        response
    }
}

/// Refuses what a real endpoint refuses: unknown roles, calls without results, results without calls,
/// tools that are not valid, schemas that are not strict where strict is asked for.
///
/// # Errors
/// A 400 in the service's shape that names the place.
pub fn check(request: &Value) -> Result<(), Refusal> {
    let messages = list(request, "messages");
    if messages.is_empty() || messages.len() > MAX_MESSAGES {
        return Err(Refusal::invalid(
            "messages",
            format!("'messages' must hold 1 to {MAX_MESSAGES} messages."),
        ));
    }
    if request.get("n").is_some_and(|n| !n.is_null() && *n != json!(1)) {
        return Err(Refusal::invalid("n", "This model gives one choice; leave 'n' out.".into()));
    }
    if request.get("stream_options").is_some_and(|o| !o.is_null()) && request["stream"] != json!(true) {
        return Err(Refusal::invalid(
            "stream_options",
            "'stream_options' is only allowed with 'stream'.".into(),
        ));
    }
    check_messages(messages)?;
    check_tools(list(request, "tools"))
}

fn check_messages(messages: &[Value]) -> Result<(), Refusal> {
    let mut waiting: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let here = format!("messages.[{at}].role");
        let role = text(message, "role");
        if role == "tool" {
            let id = text(message, "tool_call_id");
            let before = waiting.len();
            waiting.retain(|call| *call != id);
            if waiting.len() == before {
                let why = "messages with role 'tool' must answer a preceding message with 'tool_calls'";
                return Err(Refusal::invalid(&here, format!("Invalid parameter: {why} (id '{id}').")));
            }
            continue;
        }
        unanswered(&waiting, &here)?;
        let calls = list(message, "tool_calls");
        match role {
            "system" | "developer" | "user" if has_content(message) => {}
            "assistant" if has_content(message) || !calls.is_empty() => {}
            "system" | "developer" | "user" | "assistant" => {
                let here = format!("messages.[{at}].content");
                return Err(Refusal::invalid(
                    &here,
                    format!("Invalid value for '{here}': expected a text, got null."),
                ));
            }
            other => {
                let roles = "'system', 'assistant', 'user', 'tool' and 'developer'";
                return Err(Refusal::invalid(
                    &here,
                    format!("Invalid value: '{other}'. Supported values are {roles}."),
                ));
            }
        }
        for call in calls {
            if text(call, "id").is_empty()
                || text(&call["function"], "name").is_empty()
                || !call["function"]["arguments"].is_string()
            {
                let here = format!("messages.[{at}].tool_calls");
                let why = "each call needs 'id', 'function.name' and 'function.arguments' as a string";
                return Err(Refusal::invalid(&here, format!("Invalid '{here}': {why}.")));
            }
            waiting.push(text(call, "id"));
        }
    }
    unanswered(&waiting, "messages")
}

fn unanswered(waiting: &[&str], here: &str) -> Result<(), Refusal> {
    if waiting.is_empty() {
        return Ok(());
    }
    let message = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
         'tool_call_id'. The following tool_call_ids did not have response messages: {}",
        waiting.join(", ")
    );
    Err(Refusal::invalid(here, message))
}

fn has_content(message: &Value) -> bool {
    message.get("content").is_some_and(|content| content.is_string() || content.is_array())
}

fn check_tools(tools: &[Value]) -> Result<(), Refusal> {
    if tools.len() > MAX_TOOLS {
        return Err(Refusal::invalid("tools", format!("'tools' may hold at most {MAX_TOOLS} tools.")));
    }
    let mut names = HashSet::new();
    for (at, tool) in tools.iter().enumerate() {
        let function = &tool["function"];
        let name = text(function, "name");
        let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if text(tool, "type") != "function" || name.is_empty() || name.len() > MAX_TOOL_NAME || !letters {
            let here = format!("tools[{at}].function.name");
            return Err(Refusal::invalid(
                &here,
                format!(
                    "Invalid '{here}': '{name}' is not a name of 1 to {MAX_TOOL_NAME} letters, digits, '_' or '-'."
                ),
            ));
        }
        if !names.insert(name) {
            return Err(Refusal::invalid(
                "tools",
                format!("Tool names must be unique: '{name}' is there twice."),
            ));
        }
        if function["strict"] == json!(true) {
            strict(&function["parameters"], "()").map_err(|why| {
                let message = format!("Invalid schema for function '{name}': {why}.");
                Refusal::invalid(&format!("tools[{at}].function.parameters"), message)
            })?;
        }
    }
    Ok(())
}

/// Strict mode's rules: every property required, nothing additional, at every level.
fn strict(schema: &Value, place: &str) -> Result<(), String> {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        if schema["additionalProperties"] != json!(false) {
            return Err(format!(
                "In context={place}, 'additionalProperties' is required to be supplied and to be false"
            ));
        }
        let required: HashSet<&str> = list(schema, "required").iter().filter_map(Value::as_str).collect();
        for (name, property) in properties {
            if !required.contains(name.as_str()) {
                return Err(format!(
                    "In context={place}, 'required' must include every key in properties. Missing '{name}'"
                ));
            }
            strict(property, &format!("{place}.{name}"))?;
        }
    } else if place == "()" && schema["type"] != json!("object") {
        return Err("the schema must be of type 'object'".into());
    }
    for key in ["items", "anyOf", "$defs"] {
        match &schema[key] {
            Value::Array(all) => all.iter().try_for_each(|one| strict(one, &format!("{place}.{key}")))?,
            Value::Object(all) if key == "$defs" => {
                all.values().try_for_each(|one| strict(one, &format!("{place}.{key}")))?;
            }
            one @ Value::Object(_) => strict(one, &format!("{place}.{key}"))?,
            _ => {}
        }
    }
    Ok(())
}

/// One tool call as it goes out.
#[derive(Clone, Debug)]
pub struct OutCall {
    /// The tool's name.
    pub name: String,
    /// The arguments as text, valid JSON or not.
    pub arguments: String,
}

/// A whole answer before it is put on the wire.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `chatcmpl-…`.
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    /// Which model answers.
    pub model: &'static str,
    /// What is said.
    pub text: String,
    /// What is called.
    pub calls: Vec<OutCall>,
    /// Whether all calls go out under one id, as no good model does it.
    pub same_id: bool,
    /// Whether the text was cut.
    pub cut: bool,
    /// Tokens of the request.
    pub prompt_tokens: usize,
}

/// The estimated tokens of a request: its messages and tools.
pub fn prompt_tokens(request: &Value) -> usize {
    let said: usize = list(request, "messages")
        .iter()
        .map(|message| {
            content(message).chars().count()
                + message.get("tool_calls").map_or(0, |calls| calls.to_string().chars().count())
        })
        .sum();
    let tools = request.get("tools").map_or(0, |tools| tools.to_string().chars().count());
    (said + tools).div_ceil(CHARS_PER_TOKEN)
}

impl Answer {
    /// Cuts the text at the request's token limit, as a real model stops there.
    pub fn limit(mut self, request: &Value) -> Self {
        let limit = ["max_completion_tokens", "max_tokens"].iter().find_map(|key| request.get(key)?.as_u64());
        let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let chars = most.saturating_mul(CHARS_PER_TOKEN);
        if let Some((at, _)) = self.text.char_indices().nth(chars) {
            self.text.truncate(at);
            self.calls.clear();
            self.cut = true;
        }
        self
    }

    fn finish(&self) -> &'static str {
        match () {
            () if self.cut => "length",
            () if !self.calls.is_empty() => "tool_calls",
            () => "stop",
        }
    }

    fn usage(&self) -> Value {
        let calls: usize =
            self.calls.iter().map(|c| c.name.chars().count() + c.arguments.chars().count()).sum();
        let completion = (self.text.chars().count() + calls).div_ceil(CHARS_PER_TOKEN);
        json!({"prompt_tokens": self.prompt_tokens, "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0}})
    }

    fn call_id(&self, at: usize) -> String {
        let tail = self.id.trim_start_matches("chatcmpl-");
        format!("call_{}{}", tail.get(..20).unwrap_or(tail), if self.same_id { 0 } else { at })
    }

    /// The answer in one piece.
    pub fn whole(&self) -> Value {
        let calls: Vec<Value> = self
            .calls
            .iter()
            .enumerate()
            .map(|(at, call)| {
                json!({"id": self.call_id(at), "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments}})
            })
            .collect();
        let content = if self.text.is_empty() { Value::Null } else { json!(self.text) };
        let mut message =
            json!({"role": "assistant", "content": content, "refusal": null, "annotations": []});
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
        }
        json!({"id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "system_fingerprint": null, "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": harmless()}],
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": self.finish(),
                "content_filter_results": harmless()}],
            "usage": self.usage()})
    }

    /// The answer in pieces, as the data of server-sent events: first one without choices, as this
    /// service sends; text word by word; calls by index, name first and arguments in pieces.
    pub fn pieces(&self, with_usage: bool) -> Vec<Value> {
        let first = json!({"choices": [], "created": 0, "id": "", "model": "", "object": "",
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": harmless()}]});
        let mut pieces =
            vec![first, self.chunk(json!({"role": "assistant", "content": "", "refusal": null}), None)];
        for word in self.text.split_inclusive([' ', '\n']) {
            pieces.push(self.chunk(json!({"content": word}), None));
        }
        for (at, call) in self.calls.iter().enumerate() {
            let function = json!({"name": call.name, "arguments": ""});
            let head = json!({"index": at, "id": self.call_id(at), "type": "function", "function": function});
            pieces.push(self.chunk(json!({"tool_calls": [head]}), None));
            let letters: Vec<char> = call.arguments.chars().collect();
            for piece in letters.chunks(ARGUMENT_PIECE) {
                let function = json!({"arguments": piece.iter().collect::<String>()});
                pieces.push(self.chunk(json!({"tool_calls": [{"index": at, "function": function}]}), None));
            }
        }
        pieces.push(self.chunk(json!({}), Some(self.finish())));
        if with_usage {
            let mut last = self.chunk(json!({}), None);
            last["choices"] = json!([]);
            last["usage"] = self.usage();
            pieces.push(last);
        }
        pieces
    }

    fn chunk(&self, delta: Value, finish: Option<&str>) -> Value {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish,
            "content_filter_results": {}});
        json!({"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "system_fingerprint": null, "choices": [choice], "usage": null})
    }
}

fn harmless() -> Value {
    let safe = json!({"filtered": false, "severity": "safe"});
    json!({"hate": safe, "self_harm": safe, "sexual": safe, "violence": safe})
}

/// The headers that every answer of the service carries.
pub fn identify(headers: &mut HeaderMap, id: &str) {
    for name in ["apim-request-id", "x-ms-request-id", "x-request-id"] {
        if let Ok(value) = HeaderValue::from_str(id) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers.insert("x-ms-region", HeaderValue::from_static("simulator"));
}
