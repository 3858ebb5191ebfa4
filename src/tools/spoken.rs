//! What the model says, on its way to the journal and to those who watch: without secrets, like
//! everything else that is kept or shown.

use std::sync::Arc;

use super::{Toolbox, veil};
use crate::journal::RunId;
use crate::mask::{Certainty, Session};
use crate::model::Reply;
use crate::weaken::{Defence, off};

/// The words of one turn as they arrive.
pub struct Spoken {
    session: Arc<Session>,
    text: String,
    /// Bytes of it that watchers have.
    told: usize,
    /// A secret is in it: the rest is shown when the turn is whole.
    held: bool,
}

impl Toolbox {
    /// Listens to a turn of this run.
    pub fn spoken(&self, run: &RunId) -> Spoken {
        Spoken { session: self.veil.of(run), text: String::new(), told: 0, held: false }
    }
}

impl Spoken {
    /// Takes a piece; gives what watchers can see of it now: whole words, as long as no secret is
    /// among them.
    pub fn push(&mut self, piece: &str) -> String {
        self.text.push_str(piece);
        if self.held {
            return String::new();
        }
        let Some(end) = self.text.rfind(char::is_whitespace) else { return String::new() };
        let whole = &self.text[..end];
        self.held = is_secret(&self.session, whole);
        let new = whole.get(self.told..).filter(|_| !self.held).unwrap_or_default().to_owned();
        self.told += new.len();
        new
    }

    /// The turn begins anew.
    pub fn restart(&mut self) {
        self.text.clear();
        (self.told, self.held) = (0, false);
    }

    /// The whole turn as it is kept and shown. Placeholders that the run was given stay.
    pub fn whole(&self, reply: Reply) -> Reply {
        if off(Defence::Mask) {
            return reply;
        }
        let mut reply = Reply { text: veil::again(&self.session, &reply.text), ..reply };
        for call in &mut reply.tool_calls {
            // What the gate would not let out is not kept either; all else is the model's own, because
            // it is carried out as it is written here.
            if is_secret(&self.session, &call.arguments) {
                call.arguments = veil::again(&self.session, &call.arguments);
            }
        }
        reply
    }
}

fn is_secret(session: &Session, text: &str) -> bool {
    let sure = |found: &crate::mask::Finding| found.certainty != Certainty::Guess;
    !off(Defence::Mask) && session.scan_outgoing(text).iter().any(sure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Masker;
    use crate::model::{Finish, ToolCall, Usage};

    fn key() -> String {
        format!("{}{}", "ghp_", "Zx9Qw8Er7Ty6Ui5Op4As3Df2Gh1Jk0LzXcVb")
    }

    fn spoken() -> Spoken {
        let session = Arc::new(Arc::new(Masker::new([]).unwrap()).session([7; 32]));
        Spoken { session, text: String::new(), told: 0, held: false }
    }

    #[test]
    fn words_are_shown_as_they_come_and_a_secret_never() {
        let mut spoken = spoken();
        let mut shown = String::new();
        for piece in ["The to", "ken is ", &key()[..10], &key()[10..], " and ", "more. "] {
            shown.push_str(&spoken.push(piece));
        }
        assert_eq!(shown, "The token is");
        spoken.restart();
        assert_eq!(spoken.push("All is well "), "All is well");
        assert_eq!(spoken.push("here.\n"), " here.");
    }

    #[test]
    fn a_reply_is_kept_without_secrets_and_else_as_it_is() {
        let call = |arguments: String| ToolCall { id: "1".into(), name: "x".into(), arguments };
        let plain = r#"{"text":"password = \"changeme\" in the README"}"#.to_owned();
        let reply = Reply {
            text: format!("It is {}.", key()),
            refused: false,
            tool_calls: vec![call(format!("{{\"text\":\"{}\"}}", key())), call(plain.clone())],
            finish: Finish::ToolCalls,
            usage: Usage::default(),
            model: "m".into(),
            request_id: None,
            response_id: None,
            attempts: 1,
        };
        let kept = spoken().whole(reply);
        assert!(!format!("{kept:?}").contains(&key()), "{kept:?}");
        assert!(serde_json::from_str::<serde_json::Value>(&kept.tool_calls[0].arguments).is_ok());
        assert_eq!(kept.tool_calls[1].arguments, plain);
    }
}
