//! A chat as the mind reads it: who said what, which tool was called and what came back.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// One thing said or done, in order.
#[derive(Debug)]
pub enum Turn {
    /// A person's (or the application's) message.
    User(String),
    /// A finished answer, without calls.
    Answer,
    /// A tool call together with its result.
    Done(Done),
}

/// A tool call together with its result.
#[derive(Debug)]
pub struct Done {
    /// The tool's name.
    pub name: String,
    /// Its arguments; null when they were not JSON.
    pub arguments: Value,
    /// Its result; a JSON string when it was not JSON.
    pub result: Value,
}

impl Done {
    /// The error that the result carries, with its remedy.
    pub fn error(&self) -> Option<String> {
        let error = self.result.get("error").filter(|error| !error.is_null())?;
        let error = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
        let remedy = self.result.get("remedy").and_then(Value::as_str).unwrap_or_default();
        Some(format!("{error} {remedy}").trim().to_owned())
    }
}

/// A chat and the tools on offer.
#[derive(Debug, Default)]
pub struct Conversation {
    /// All system (and developer) texts, joined.
    pub system: String,
    /// Everything after them.
    pub turns: Vec<Turn>,
    tools: HashMap<String, Value>,
}

impl Conversation {
    /// Reads a request that [`super::wire::check`] has found valid.
    pub fn read(request: &Value) -> Self {
        let mut chat = Self::default();
        for tool in list(request, "tools") {
            let function = &tool["function"];
            let name = function["name"].as_str().unwrap_or_default().to_owned();
            chat.tools.insert(name, function["parameters"].clone());
        }
        if request.get("tool_choice").and_then(Value::as_str) == Some("none") {
            chat.tools.clear();
        }
        let mut results: HashMap<&str, String> = HashMap::new();
        for message in list(request, "messages") {
            if let Some(id) = message.get("tool_call_id").and_then(Value::as_str) {
                results.insert(id, content(message));
            }
        }
        for message in list(request, "messages") {
            match message["role"].as_str().unwrap_or_default() {
                "system" | "developer" => {
                    chat.system.push_str(&content(message));
                    chat.system.push('\n');
                }
                "user" => chat.turns.push(Turn::User(content(message))),
                "assistant" => chat.push_assistant(message, &results),
                _ => {}
            }
        }
        super::governed::settle(&mut chat);
        chat
    }

    fn push_assistant(&mut self, message: &Value, results: &HashMap<&str, String>) {
        let calls = list(message, "tool_calls");
        if calls.is_empty() {
            self.turns.push(Turn::Answer);
        }
        for call in calls {
            let function = &call["function"];
            let arguments = function["arguments"].as_str().unwrap_or_default();
            let result = call["id"].as_str().and_then(|id| results.get(id)).cloned().unwrap_or_default();
            self.turns.push(Turn::Done(Done {
                name: function["name"].as_str().unwrap_or_default().to_owned(),
                arguments: serde_json::from_str(arguments).unwrap_or(Value::Null),
                result: serde_json::from_str(&result).unwrap_or(Value::String(result)),
            }));
        }
    }

    /// Whether the application offers this tool.
    pub fn offers(&self, tool: &str) -> bool {
        self.tools.contains_key(tool)
    }

    /// `arguments` in the form that the tool's schema asks for: what it does not know is left out, and
    /// what it wants and we do not give is null.
    pub fn fit(&self, tool: &str, arguments: &Value) -> Value {
        let Some(properties) = self.tools.get(tool).and_then(|schema| schema["properties"].as_object())
        else {
            return arguments.clone();
        };
        let fitted: Map<String, Value> = properties
            .keys()
            .map(|key| (key.clone(), arguments.get(key).cloned().unwrap_or(json!(null))))
            .collect();
        Value::Object(fitted)
    }
}

/// The list at `key`, or an empty one.
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The text at `key`, or an empty one.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The text of a message, whether given as a string or as parts.
pub fn content(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().map(|part| text(part, "text")).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_take_the_shape_of_the_schema() {
        let chat = Conversation::read(&json!({"messages": [], "tools": [{"type": "function", "function":
            {"name": "t", "parameters": {"properties": {"a": {}, "b": {}}}}}]}));
        assert_eq!(chat.fit("t", &json!({"a": 1, "c": 2})), json!({"a": 1, "b": null}));
        assert!(!chat.offers("u"));
    }
}
