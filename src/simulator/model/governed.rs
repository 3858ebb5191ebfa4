//! What the mind does where people have a say: it asks to change a build definition, tries to push
//! to a protected branch, and goes on when an approval was decided.

use serde_json::{Value, json};

use super::conversation::{Conversation, Done, Turn, text};
use super::replay::{Change, Mind, Reply};
use super::words::{edit, find};

/// Asks for a step in the build definition.
pub const ADD_STEP: &str = r"\badd\s+(?:an?|the)\s+(?:\w+\s+)?step\b[^\n]*?\b(?:to|in)\s+(?:the\s+)?(?:file\s+)?(<\d+>|/?[\w./-]*azure-pipelines[\w.-]*\.ya?ml)";
/// Asks for a push straight to a protected branch.
pub const PUSH_PROTECTED: &str =
    r"\bpush\b[^\n]*?\b(?:straight |directly )?to\s+(?:the\s+)?(?:branch\s+)?(main|master)\b";
/// A notice of the program about an approval.
const NOTICE: &str = r"^\[notice of the program[^\]]*\]\s*approval (\w+) of (\w+): ([^\n]*)";
/// Before the result of a call that was approved.
const RESULT: &str = "Result of the call: ";
/// The step that is added; the definition ends with its list of steps.
const STEP: &str = "\n\n  - script: npm run lint\n    displayName: Lint";

/// Puts what a notice says where the call's result stands, and takes up the work where it stopped.
pub fn settle(chat: &mut Conversation) {
    while let Some(at) =
        chat.turns.iter().position(|turn| matches!(turn, Turn::User(said) if is_notice(said)))
    {
        let Turn::User(said) = chat.turns.remove(at) else { return };
        let Some((code, result)) = decided(&said) else { continue };
        let waited = |turn: &Turn| matches!(turn, Turn::Done(done) if text(&done.result, "code") == code);
        let Some(call) = chat.turns.iter().position(waited) else { continue };
        if let Turn::Done(done) = &mut chat.turns[call] {
            done.result = result;
        }
        // What was said while it waited was no end.
        if let Some(answer) = chat.turns[call..].iter().position(|turn| matches!(turn, Turn::Answer)) {
            chat.turns.remove(call + answer);
        }
    }
}

fn is_notice(said: &str) -> bool {
    find(NOTICE, said).is_some()
}

fn decided(said: &str) -> Option<(String, Value)> {
    let found = find(NOTICE, said)?;
    let result = match said.split_once(RESULT) {
        Some((_, result)) => serde_json::from_str(result).unwrap_or(Value::String(result.to_owned())),
        None => json!({ "error": format!("approval {} of {}: {}", &found[1], &found[2], &found[3]) }),
    };
    Some((found[1].to_owned(), result))
}

/// What to say of a call that waits for people; none where it does not.
pub fn waits(done: &Done) -> Option<String> {
    (text(&done.result, "status") == "pending_approval").then(|| {
        format!(
            "`{}` waits for approval {} of a person (rule {}). It is done by itself when they approve.",
            done.name,
            text(&done.result, "code"),
            text(&done.result, "rule")
        )
    })
}

impl Mind<'_> {
    /// Adds a step to the build definition, on a new branch.
    pub fn add_step(&self, path: &str) -> Result<String, Reply> {
        let path = format!("/{}", path.trim_start_matches('/'));
        let file = self.read(&path, &Value::Null)?;
        let Some(last) = text(&file, "text").lines().rev().find(|line| !line.trim().is_empty()) else {
            return Ok(format!("`{path}` is empty, so there is no list of steps to add to."));
        };
        let edits = vec![json!({"old_text": last, "new_text": format!("{last}{STEP}")})];
        let subject = "Add a lint step to the build".to_owned();
        let body = format!("{subject}, at the end of `{path}`.");
        let change = Change {
            subject: subject.clone(),
            body,
            base: file["commit"].clone(),
            changes: vec![edit(&path, edits)],
        };
        self.push(&change, &subject, &Value::Null, Value::Null)?;
        Ok(self.finish("That is done."))
    }

    /// Tries what was asked for: a push to a protected branch.
    pub fn push_protected(&self, branch: &str) -> Result<String, Reply> {
        let path = "/README.md";
        let file = self.read(path, &json!(branch))?;
        let Some(first) = text(&file, "text").lines().next() else {
            return Ok(format!("`{path}` is empty, so there is nothing to change."));
        };
        let edits = vec![json!({"old_text": first, "new_text": format!("{first} (edited)")})];
        let subject = "Edit the title of the README".to_owned();
        let change = Change {
            subject: subject.clone(),
            body: String::new(),
            base: file["commit"].clone(),
            changes: vec![edit(path, edits)],
        };
        self.push(&change, &subject, &Value::Null, json!(branch))?;
        Ok(self.finish("That is done."))
    }
}

#[cfg(test)]
mod tests {
    use super::super::patterns::answer;
    use super::*;

    fn chat(messages: Value) -> Conversation {
        let tool = |name: &str| json!({"type": "function", "function": {"name": name}});
        Conversation::read(&json!({"messages": messages, "tools": [tool("read_file"), tool("push_changes")]}))
    }

    fn call(id: &str, name: &str, arguments: Value) -> Value {
        let function = json!({"name": name, "arguments": arguments.to_string()});
        json!({"role": "assistant", "content": "", "tool_calls": [{"id": id, "type": "function", "function": function}]})
    }

    fn result(id: &str, content: Value) -> Value {
        json!({"role": "tool", "tool_call_id": id, "content": content.to_string()})
    }

    #[test]
    fn it_says_what_waits_and_goes_on_when_it_was_decided() {
        let mut said = vec![json!({"role": "user", "content": "Add a lint step to azure-pipelines.yml."})];
        let Reply::Call { name, arguments, .. } = answer(&chat(json!(said))) else { panic!() };
        assert_eq!((name.as_str(), &arguments["path"]), ("read_file", &json!("/azure-pipelines.yml")));
        said.push(call("a", "read_file", arguments));
        said.push(result("a", json!({"text": "steps:\n  - script: x\n", "commit": "c"})));
        let Reply::Call { name, arguments, .. } = answer(&chat(json!(said))) else { panic!() };
        assert_eq!(name, "push_changes");
        said.push(call("b", "push_changes", arguments));
        said.push(result("b", json!({"status": "pending_approval", "code": "K7F3", "rule": "ci"})));
        let Reply::Text(waiting) = answer(&chat(json!(said))) else { panic!() };
        assert!(waiting.contains("waits for approval K7F3"), "{waiting}");
        said.push(json!({"role": "assistant", "content": waiting}));
        let notice = |how: &str| {
            format!("[Notice of the program, not of a person] Approval K7F3 of push_changes: {how}")
        };
        let mut yes = said.clone();
        let pushed = r#"{"branch":"agent/x","commit":"abcdef1234","files":["/azure-pipelines.yml"],"url":"http://o/b"}"#;
        let done = notice(&format!("alice approved it. It is done. Result of the call: {pushed}"));
        yes.push(json!({"role": "user", "content": done}));
        let Reply::Text(end) = answer(&chat(json!(yes))) else { panic!() };
        assert!(end.contains("agent/x") && end.contains("That is done."), "{end}");
        said.push(json!({"role": "user", "content": notice("alice said no. It was not done.")}));
        let Reply::Text(end) = answer(&chat(json!(said))) else { panic!() };
        assert!(end.contains("alice said no"), "{end}");
    }

    #[test]
    fn it_tries_the_protected_branch_when_told_to() {
        let said = json!([{"role": "user", "content": "Push a change of the README straight to main."}]);
        let Reply::Call { name, arguments, .. } = answer(&chat(said)) else { panic!() };
        assert_eq!((name.as_str(), &arguments["branch"]), ("read_file", &json!("main")));
    }
}
