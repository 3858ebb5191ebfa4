//! Hides secrets in what comes in, and keeps them out of what goes out.
//!
//! What a tool read is masked before the model, the journal and the page see it. What would be
//! written outside is scanned: a secret, or a placeholder that stands for one, is refused in words.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::{Fault, words};
use crate::action::Action;
use crate::journal::{Outcome, RunId};
use crate::mask::{Certainty, Masker, Origin, SESSION_KEY_BYTES, Session};

/// Runs whose placeholders are remembered; the oldest is forgotten first, and what was hidden for
/// it is hidden anew when it is read again.
const MAX_SESSIONS: usize = 256;

/// The masking of all runs of a process.
pub(super) struct Veil {
    masker: Arc<Masker>,
    sessions: Mutex<VecDeque<(RunId, Arc<Session>)>>,
}

impl Veil {
    pub(super) fn new(masker: Arc<Masker>) -> Self {
        Self { masker, sessions: Mutex::default() }
    }

    /// The placeholders of a run.
    pub(super) fn of(&self, run: &RunId) -> Arc<Session> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, session)) = sessions.iter().find(|(known, _)| known == run) {
            return session.clone();
        }
        let session = Arc::new(self.masker.session(fresh_key()));
        sessions.push_back((run.clone(), session.clone()));
        if sessions.len() > MAX_SESSIONS {
            sessions.pop_front();
        }
        session
    }
}

/// 244 random bits, drawn by the machine's random source.
fn fresh_key() -> [u8; SESSION_KEY_BYTES] {
    let mut key = [0; SESSION_KEY_BYTES];
    let (first, second) = key.split_at_mut(16);
    first.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    second.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    key
}

/// Hides the secrets in a result.
pub(super) fn hide(session: &Session, tool: &str, mut outcome: Outcome) -> Outcome {
    let origin = Origin::Other(tool.to_owned());
    // In the JSON text an escaped character could stand before a secret and hide it.
    outcome.content = match serde_json::from_str::<Value>(&outcome.content) {
        Ok(mut value) => {
            session.mask_json(&mut value, &origin);
            value.to_string()
        }
        Err(_) => session.mask_text(&outcome.content, &origin).text,
    };
    outcome.summary = session.mask_text(&outcome.summary, &origin).text;
    outcome.diff = outcome.diff.map(|diff| session.mask_text(&diff, &origin).text);
    outcome
}

/// Refuses text that would carry a secret outside, or a placeholder that stands for one.
pub(super) fn check_outgoing(session: &Session, what: &str, text: &str) -> Result<(), Fault> {
    if let Some(placeholder) = session.placeholders(text).first() {
        return Err(words(
            format!("{what} holds a placeholder for a hidden secret ({}).", placeholder.class),
            "Leave lines with placeholders as they are: use edits that do not touch them, and do not quote them.",
        ));
    }
    let found = session.scan_outgoing(text).into_iter().find(|found| found.certainty != Certainty::Guess);
    match found {
        Some(found) => Err(words(
            format!("{what} holds what looks like a secret ({}).", found.class),
            "Secrets are not written into the organisation. Use a setting or a secret store, and say so.",
        )),
        None => Ok(()),
    }
}

/// Refuses an action whose words would carry a secret outside. Contents of files are checked where
/// it is known which of their lines are new.
pub(super) fn check_action(session: &Session, action: &Action) -> Result<(), Fault> {
    // What cannot be looked at does not leave.
    let Ok(Value::Object(mut parts)) = serde_json::to_value(action) else {
        return Err(words(
            "The text cannot be checked for secrets.",
            "Say in your answer what was not possible.",
        ));
    };
    parts.shift_remove("changes");
    let mut texts = Vec::new();
    parts.values().for_each(|value| collect(value, &mut texts));
    texts.into_iter().try_for_each(|text| check_outgoing(session, "The text", &text))
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(map) => map.values().for_each(|item| collect(item, texts)),
        _ => {}
    }
}

/// Refuses a new secret in a file: what stood there before is not ours to judge.
pub(super) fn check_file(session: &Session, path: &str, old: &str, new: &str) -> Result<(), Fault> {
    let before: std::collections::HashSet<&str> = old.lines().collect();
    let added: Vec<&str> = new.lines().filter(|line| !before.contains(line)).collect();
    check_outgoing(session, path, &added.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Arc<Session> {
        let masker = Arc::new(Masker::new([]).unwrap());
        Veil::new(masker).of(&RunId::generate())
    }

    /// Made of parts, so that no scanner of this tree takes it for one.
    fn key() -> String {
        format!("{}{}", "ghp_", "Zx9Qw8Er7Ty6Ui5Op4As3Df2Gh1Jk0LzXcVb")
    }

    #[test]
    fn a_secret_in_a_result_is_hidden_everywhere() {
        let content = serde_json::json!({ "text": format!("a\ntoken = \"{}\"\n", key()) }).to_string();
        let outcome = Outcome {
            content,
            summary: format!("token {}", key()),
            diff: Some(format!("+token = \"{}\"\n", key())),
            ..Outcome::default()
        };
        let hidden = hide(&session(), "read_file", outcome);
        let all = format!("{hidden:?}");
        assert!(!all.contains(&key()) && all.contains("[[secret:"), "{all}");
    }

    #[test]
    fn a_secret_or_its_placeholder_does_not_leave() {
        let session = session();
        assert!(check_outgoing(&session, "The text", &format!("see {}", key())).is_err());
        let masked = session.mask_text(&format!("token = \"{}\"", key()), &Origin::Other("t".into())).text;
        assert!(check_outgoing(&session, "The text", &masked).is_err());
        assert!(
            check_outgoing(&session, "The text", "commit 6258a2efa589c277ed97e3246b6a59faf0e29859").is_ok()
        );
        let old = format!("token = \"{}\"\nport = 1\n", key());
        let new = old.replace("port = 1", "port = 2");
        assert!(
            check_file(&session, "/c", &old, &new).is_ok(),
            "an old secret on another line is left alone"
        );
        assert!(check_file(&session, "/c", "port = 1\n", &new).is_err());
    }
}
