//! Words in and words out: quoted pieces, cached patterns, edits of named values, Markdown.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::{Captures, Regex};
use serde_json::{Value, json};

use super::conversation::{list, text};

/// Who should review, in a request.
pub const REVIEWER: &str = r"\breviewers?:\s*(<\d+>|[\w.@-]*\w)|\breviewer\s+(?:is\s+)?(<\d+>|(?-i:[A-Z])[\w.@-]*\w)|\b(?:ask|let)\s+([\w.@-]*\w)\s+(?:to\s+)?review|\breviewed by\s+([\w.@-]*\w)|\b([\w.@-]*\w) as (?:a |the )?reviewer";
/// Who reviews by convention, as a line of AGENTS.md or of the system text.
pub const CONVENTION: &str = r"(?m)^\W*reviewers?\W*:\W*([\w.@-]*\w)";

static COMPILED: LazyLock<Mutex<HashMap<&'static str, Regex>>> = LazyLock::new(Mutex::default);

/// Where `pattern` (case-insensitive) first matches in `text`. Patterns are compiled once.
pub fn find<'t>(pattern: &'static str, text: &'t str) -> Option<Captures<'t>> {
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if !compiled.contains_key(pattern) {
        compiled.insert(pattern, Regex::new(&format!("(?i){pattern}")).ok()?);
    }
    compiled.get(pattern)?.captures(text)
}

/// A sentence with its quoted pieces taken out, so that a pattern cannot match inside a title.
#[derive(Debug)]
pub struct Sentence {
    /// The sentence; each quoted piece is `<0>`, `<1>` and so on.
    pub plain: String,
    quoted: Vec<String>,
}

impl Sentence {
    /// Takes pieces in straight or curly quotes or back ticks out of `said`. An apostrophe inside a
    /// word neither opens nor closes a piece.
    pub fn read(said: &str) -> Self {
        let mut sentence = Self { plain: String::new(), quoted: Vec::new() };
        let mut rest = said;
        while let Some(start) = rest.chars().next() {
            let after_word = sentence.plain.chars().last().is_some_and(char::is_alphanumeric);
            let close = match start {
                '\'' | '"' | '`' if !after_word => start,
                '‘' => '’',
                '“' => '”',
                _ => '\0',
            };
            let body = &rest[start.len_utf8()..];
            if let Some(end) = closing(body, close) {
                sentence.plain.push_str(&format!("<{}>", sentence.quoted.len()));
                sentence.quoted.push(body[..end].to_owned());
                rest = &body[end + close.len_utf8()..];
            } else {
                sentence.plain.push(if start == '<' { '(' } else { start });
                rest = body;
            }
        }
        sentence
    }

    /// What a captured piece stands for: the quoted text of `<n>`, else the words themselves.
    pub fn value(&self, piece: &str) -> String {
        let piece = piece.trim();
        let number = piece.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')?.parse::<usize>().ok());
        number.and_then(|number| self.quoted.get(number).cloned()).unwrap_or_else(|| piece.to_owned())
    }

    /// The value of the first group of `pattern` that took part in a match.
    pub fn first(&self, pattern: &'static str) -> Option<String> {
        let found = find(pattern, &self.plain)?;
        found.iter().skip(1).flatten().map(|piece| self.value(piece.as_str())).next()
    }

    /// Whether `pattern` matches.
    pub fn has(&self, pattern: &'static str) -> bool {
        find(pattern, &self.plain).is_some()
    }
}

fn closing(body: &str, close: char) -> Option<usize> {
    if close == '\0' {
        return None;
    }
    let ends = |at: usize| !body[at + close.len_utf8()..].starts_with(char::is_alphanumeric);
    body.char_indices().find(|&(at, found)| at > 0 && found == close && ends(at)).map(|(at, _)| at)
}

/// A change of one text or one named value that somebody asked for.
pub struct Wanted {
    /// A line that says it, for a commit.
    pub subject: String,
    /// The old text, or the name of the value.
    pub name: String,
    /// The file, where one was named.
    pub file: Option<String>,
    from: Option<String>,
    to: String,
    named: bool,
}

impl Wanted {
    /// `name` is a text to replace, or the name of a value to set when `named`.
    pub fn new(name: String, from: Option<String>, to: String, file: Option<String>, named: bool) -> Self {
        let mut subject =
            if named { format!("Set {name} to {to}") } else { format!("Change '{name}' to '{to}'") };
        if let Some(file) = &file {
            subject.push_str(&format!(" in {file}"));
        }
        Self { subject: subject.replace('\n', " "), name, file, from, to, named }
    }

    /// The piece of `content` to replace and what to put there.
    pub fn apply(&self, content: &str) -> Option<(String, String)> {
        if !self.named {
            return content.contains(&self.name).then(|| (self.name.clone(), self.to.clone()));
        }
        let wanted = bare(self.name.rsplit('.').next().unwrap_or_default());
        let exact = content.lines().find_map(|line| self.set(line, |key| key == wanted));
        exact.or_else(|| content.lines().find_map(|line| self.set(line, |key| key.contains(&wanted))))
    }

    fn set(&self, line: &str, matches: impl Fn(&str) -> bool) -> Option<(String, String)> {
        const NAMED: &str = r#"["']?([a-z_][\w.-]*)["']?\s*(?::|=)\s*("[^"]*"|'[^']*'|[^\s,;{}"'][^,;{}]*[^\s,;{}]|[^\s,;{}"'])"#;
        let found = find(NAMED, line)?;
        let old = found[2].to_owned();
        let plain = old.trim_matches(['"', '\'']);
        let is_type = matches!(plain, "number" | "string" | "boolean" | "unknown" | "void");
        let other = self.from.as_ref().is_some_and(|from| from != plain);
        if !matches(&bare(&found[1])) || is_type || other {
            return None;
        }
        let quote = old.chars().next().filter(|first| matches!(first, '"' | '\''));
        let literal = self.to.parse::<f64>().is_ok() || matches!(self.to.as_str(), "true" | "false" | "null");
        let new = match quote {
            Some(quote) => format!("{quote}{}{quote}", self.to),
            None if literal || !line.trim_start().starts_with('"') => self.to.clone(),
            None => json!(self.to).to_string(),
        };
        let (before, after) = found.get(2).map(|value| (value.start(), value.end()))?;
        Some((
            line.trim_start().to_owned(),
            format!("{}{new}{}", &line[..before], &line[after..]).trim_start().to_owned(),
        ))
    }

    /// How unlikely it is that the value is in this file: settings first, then code, then words.
    pub fn distance(&self, path: &str) -> usize {
        let lower = path.to_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
        let settings = ends(&[".json", ".toml", ".yaml", ".yml", ".ini"]) && lower.contains("config");
        let named = bare(&self.name).contains(&bare(
            lower.rsplit('/').next().unwrap_or_default().split('.').next().unwrap_or_default(),
        ));
        match () {
            () if settings => 0,
            () if named => 1,
            () if lower.starts_with("/src/") => 2,
            () if ends(&[".md", ".txt"]) => 3,
            () if ends(&[".png", ".jpg", ".gif", ".ico", ".zip", ".pdf"]) => 9,
            () => 4,
        }
    }
}

fn bare(name: &str) -> String {
    name.chars().filter(|found| found.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A change of one file by replacements, as `push_changes` wants it.
pub fn edit(path: &str, edits: Vec<Value>) -> Value {
    json!({"path": path, "action": "edit", "content": null, "edits": edits, "new_path": null})
}

/// The quoted lines (`> …`) of an event's message.
pub fn quoted(said: &str) -> String {
    let lines = said.lines().filter_map(|line| Some(line.strip_prefix('>')?.trim()));
    lines.collect::<Vec<_>>().join("\n")
}

/// The number that a pattern of digits captured; 0 when it is too large to be one.
pub fn number(digits: &str) -> u64 {
    digits.parse().unwrap_or(0)
}

/// `words` with a capital first letter.
pub fn capitalised(words: &str) -> String {
    let mut letters = words.trim().chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// A path without its leading slash, so that both spellings of one path are equal.
pub fn plain_path(value: &Value) -> Value {
    value.as_str().map_or_else(|| value.clone(), |path| json!(path.trim_start_matches('/')))
}

/// The short form of a commit id.
pub fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

/// A Markdown link to a work item.
pub fn link_item(item: &Value) -> String {
    format!("[{} {}: {}]({})", text(item, "type"), item["id"], text(item, "title"), text(item, "url"))
}

/// A Markdown link to a pull request.
pub fn link_pull_request(pull: &Value) -> String {
    format!("[Pull request {}: {}]({})", pull["id"], text(pull, "title"), text(pull, "url"))
}

/// What a work item says, for a person.
pub fn report_item(item: &Value) -> String {
    let assigned = item["assigned_to"].as_str().filter(|who| !who.is_empty()).unwrap_or("nobody");
    let mut report = format!("{} is **{}**, assigned to {assigned}.", link_item(item), text(item, "state"));
    if !text(item, "description").is_empty() {
        report.push_str(&format!("\n\n{}", text(item, "description")));
    }
    for comment in list(item, "comments") {
        report.push_str(&format!(
            "\n- {}: {}",
            text(comment, "author"),
            text(comment, "text").replace('\n', " ")
        ));
    }
    report
}

/// Work items as a list.
pub fn report_items(items: &[Value]) -> String {
    if items.is_empty() {
        return "There are none.".to_owned();
    }
    let line = |item: &Value| {
        let who = item["assigned_to"].as_str().map_or(String::new(), |who| format!(", {who}"));
        format!(
            "- {} {}: {} ({}{who})\n",
            text(item, "type"),
            item["id"],
            text(item, "title"),
            text(item, "state")
        )
    };
    items.iter().map(line).collect()
}

/// People as a list.
pub fn report_people(name: &str, people: &[Value]) -> String {
    if people.is_empty() {
        return format!("I found nobody called {name}.");
    }
    people
        .iter()
        .map(|person| format!("- {} ({})\n", text(person, "name"), text(person, "account")))
        .collect()
}

/// What a pull request is about and how it stands, for a person.
pub fn report_pull_request(pull: &Value) -> String {
    let join = |key| list(pull, key).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    let draft = if pull["is_draft"] == json!(true) { ", a draft" } else { "" };
    let mut report = format!(
        "{} is **{}**{draft}: `{}` into `{}`, by {}.\n\n{}\n\n- Files: {}\n- Reviewers: {}",
        link_pull_request(pull),
        text(pull, "status"),
        text(pull, "source_branch"),
        text(pull, "target_branch"),
        text(pull, "created_by"),
        text(pull, "description"),
        join("changed_files"),
        join("reviewers"),
    );
    for item in list(pull, "work_items") {
        report.push_str(&format!("\n- Work item {}: {}", item["id"], text(item, "title")));
    }
    for thread in list(pull, "threads") {
        let Some(comment) = list(thread, "comments").iter().rev().find(|c| text(c, "who") != "system") else {
            continue;
        };
        let words = text(comment, "text").lines().next().unwrap_or_default();
        let (id, status) = (&thread["id"], text(thread, "status"));
        report.push_str(&format!("\n- Thread {id} ({status}): {}: {words}", text(comment, "author")));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_taken_out_and_apostrophes_left() {
        let sentence = Sentence::read("Don't create 'the customer's login' or “x” in `a/b.ts`.");
        assert_eq!(sentence.plain, "Don't create <0> or <1> in <2>.");
        assert_eq!(sentence.value("<0>"), "the customer's login");
        assert_eq!(sentence.value(" <2> "), "a/b.ts");
        assert_eq!(Sentence::read("it's 5 o'clock").plain, "it's 5 o'clock");
    }

    fn set(name: &str, to: &str, content: &str) -> Option<(String, String)> {
        Wanted::new(name.into(), None, to.into(), None, true).apply(content)
    }

    #[test]
    fn a_named_value_is_found_by_its_words_and_keeps_its_quotes() {
        let json = "{\n  \"pageSize\": 20,\n  \"currency\": \"EUR\"\n}";
        assert_eq!(
            set("page size", "30", json),
            Some(("\"pageSize\": 20,".into(), "\"pageSize\": 30,".into()))
        );
        assert_eq!(set("currency", "CHF", json).unwrap().1, "\"currency\": \"CHF\"");
        assert_eq!(set("delivery", "1", json), None);
        let code = "interface A { pageSize: number }\nconst MOST_OF_ONE_PRODUCT = 20;";
        assert_eq!(set("most of one product", "25", code).unwrap().1, "const MOST_OF_ONE_PRODUCT = 25;");
        assert_eq!(set("page size", "25", code), None);
    }

    #[test]
    fn a_value_other_than_the_old_one_named_is_left_alone() {
        let wanted = Wanted::new("fee".into(), Some("490".into()), "0".into(), None, true);
        assert!(wanted.apply("\"feeCents\": 490").is_some());
        assert!(wanted.apply("\"feeCents\": 500").is_none());
    }
}
