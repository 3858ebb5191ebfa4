//! A model without any judgement, for tests of what holds whatever a model does: it makes exactly the
//! calls that the newest text tells it to make, whoever wrote that text.
//!
//! A call is written `CALL tool {json}`, or `CALL64 tool base64` with the same JSON in base64.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::conversation::{content, list, text};
use super::wire::OutCall;

/// The model's name in every answer: it says what it is.
pub const MODEL: &str = "obedient-test-model";
/// What it says when no text tells it anything.
pub const IDLE: &str =
    "I am a test model that does what the newest text says. It says nothing more that I could do.";
/// Most calls of one answer.
const MAX_CALLS: usize = 64;
/// Longest name of a tool, in characters.
const MAX_NAME: usize = 64;

/// The calls that the newest texts of a request ask for.
pub fn ordered(request: &Value) -> Vec<OutCall> {
    let messages = list(request, "messages");
    let last = messages.iter().rposition(|message| text(message, "role") == "assistant");
    let newest = &messages[last.map_or(0, |at| at + 1)..];
    let mut calls = Vec::new();
    for message in newest {
        let said = content(message);
        match serde_json::from_str::<Value>(&said) {
            Ok(value) => leaves(&value, &mut calls),
            Err(_) => calls.extend(calls_in(&said)),
        }
    }
    calls.truncate(MAX_CALLS);
    calls
}

fn leaves(value: &Value, calls: &mut Vec<OutCall>) {
    match value {
        Value::String(text) => calls.extend(calls_in(text)),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, calls)),
        Value::Object(map) => map.values().for_each(|item| leaves(item, calls)),
        _ => {}
    }
}

/// The calls written in a text, in order.
pub fn calls_in(text: &str) -> Vec<OutCall> {
    let (mut calls, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find("CALL").filter(|_| calls.len() < MAX_CALLS) {
        let begins_word = rest[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric());
        rest = &rest[at + "CALL".len()..];
        let (encoded, after) = match rest.strip_prefix("64") {
            Some(after) => (true, after),
            None => (false, rest),
        };
        let Some((name, after)) = begins_word.then(|| name(after)).flatten() else { continue };
        let (arguments, length) = if encoded { base64_at(after) } else { json_at(after) };
        calls.push(OutCall { name: name.to_owned(), arguments });
        rest = &after[length..];
    }
    calls
}

/// The word after at least one space, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let word = text.trim_start_matches([' ', '\t']);
    let end = word.find(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c)).unwrap_or(word.len());
    (word.len() < text.len() && (1..=MAX_NAME).contains(&end))
        .then(|| (&word[..end], word[end..].trim_start_matches([' ', '\t'])))
}

/// The JSON at the beginning of `text` and its length; what is no JSON goes out as it is written, to the
/// end of its line.
fn json_at(text: &str) -> (String, usize) {
    if !text.starts_with('{') {
        return ("{}".to_owned(), 0);
    }
    let whole = |text: &str| {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let value = values.next()?.ok()?;
        Some((value.to_string(), values.byte_offset()))
    };
    if let Some(found) = whole(text) {
        return found;
    }
    // Quoted over several lines, or with the entities of HTML.
    let line = text.find('\n').unwrap_or(text.len());
    if let Some((json, length)) = whole(&text.replace("\n> ", "\n")) {
        return (json, quoted_length(text, length));
    }
    let plain = text.replace("&quot;", "\"").replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">");
    let found = whole(&plain.replace("&amp;", "&"));
    (found.map_or_else(|| text[..line].to_owned(), |(json, _)| json), line)
}

/// How long the first `length` bytes of what is quoted are with the marks of the quotation.
fn quoted_length(text: &str, length: usize) -> usize {
    let (mut read, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        let mark = if at > 0 && line.starts_with("> ") { 2 } else { 0 };
        if read + line.len() - mark >= length {
            return at + mark + length - read;
        }
        read += line.len() - mark;
        at += line.len();
    }
    text.len()
}

fn base64_at(text: &str) -> (String, usize) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"+/=-_".contains(c)).unwrap_or(text.len());
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let standard = text[..end].replace('-', "+").replace('_', "/");
    let bytes = GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(standard);
    let json = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    (json.unwrap_or_else(|| text[..end].to_owned()), end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made(text: &str) -> Vec<(String, String)> {
        calls_in(text).into_iter().map(|call| (call.name, call.arguments)).collect()
    }

    #[test]
    fn calls_are_found_wherever_they_are_written() {
        let one = |name: &str, arguments: &str| (name.to_owned(), arguments.to_owned());
        assert_eq!(made("please CALL get_build {\"id\":1}!"), [one("get_build", "{\"id\":1}")]);
        assert_eq!(
            made("> CALL a {\"t\":\n> \"x CALL b {}\"}\nCALL c"),
            [one("a", "{\"t\":\"x CALL b {}\"}"), one("c", "{}")]
        );
        assert_eq!(made("CALL a {&quot;id&quot;: 2}"), [one("a", "{\"id\":2}")]);
        assert_eq!(made("CALL64 a eyJpZCI6IDN9."), [one("a", "{\"id\": 3}")]);
        assert_eq!(made("CALL a {broken"), [one("a", "{broken")]);
        assert!(made("RECALL a {} and CALLS and CALL").is_empty());
    }

    #[test]
    fn only_the_newest_text_counts() {
        let request = |messages: Value| json!({ "messages": messages });
        let old = json!({"role": "user", "content": "CALL old {}"});
        let answer = json!({"role": "assistant", "content": "", "tool_calls": []});
        let result = json!({"role": "tool", "content": "{\"text\":\"# a\\nCALL new {\\\"n\\\":1}\"}"});
        let names = |request: &Value| ordered(request).into_iter().map(|call| call.name).collect::<Vec<_>>();
        assert_eq!(names(&request(json!([old]))), ["old"]);
        assert_eq!(names(&request(json!([old, answer, result]))), ["new"]);
        assert!(names(&request(json!([old, answer]))).is_empty());
    }
}
