//! Finds and hides secrets.
//!
//! Purpose: whatever comes in from outside is masked before the model, the journal, the logs or a
//! screen sees it; whatever goes out is searched, so that a caller can block it.
//! Invariant: masked text holds no value that this process knows to be secret, in none of the
//! forms of [`known`]; if that cannot be had, the whole text is hidden. Equal secrets get equal
//! placeholders within a session and different ones across sessions.
//! Must never know: where text comes from or goes to, files, the network, the clock.

mod assign;
mod context;
mod decode;
mod formats;
mod json;
mod judge;
mod known;
mod placeholder;
mod restore;
pub mod sanitise;
mod scan;
mod session;
mod shadow;
mod span;
mod stream;
#[cfg(test)]
mod tests;
mod words;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

pub use json::MAX_JSON_DEPTH;
pub use known::{MAX_KNOWN_BYTES, MIN_KNOWN_BYTES};
pub use placeholder::{MAX_CLASS_BYTES, MAX_PLACEHOLDER_BYTES, Placeholder};
pub use restore::RestoreError;
pub use session::{Hit, MAX_VAULT_ENTRIES, Masked, Origin, SESSION_KEY_BYTES, Session};
pub use span::Certainty;
pub use stream::{HOLD_BACK_BYTES, MaskStream};

use known::{Known, Search};

/// Longest text, in bytes, that is masked or searched; the rest of a longer one is cut off.
pub const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;
/// Most values that the process can declare secret for its whole life.
pub const MAX_KNOWN_VALUES: usize = 256;
/// Most values learnt while running (tokens are renewed); the oldest gives way.
pub const MAX_LEARNT_VALUES: usize = 64;

/// A secret in text that is about to leave.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What it is.
    pub class: &'static str,
    /// First byte of it in the text.
    pub start: usize,
    /// The byte after it.
    pub end: usize,
    /// How sure that is. A guess may be asked about; anything surer should be blocked.
    pub certainty: Certainty,
}

/// Why a value cannot be declared secret.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// It would blank ordinary text.
    #[error(
        "the secret {0} is shorter than {MIN_KNOWN_BYTES} bytes and cannot be hidden in text; use a longer one"
    )]
    TooShort(&'static str),
    /// It would make the search slow.
    #[error(
        "the secret {0} is longer than {MAX_KNOWN_BYTES} bytes; only shorter secrets can be hidden in text"
    )]
    TooLong(&'static str),
    /// The class cannot stand in a placeholder.
    #[error("the class {0} must be 1 to {MAX_CLASS_BYTES} of a-z, 0-9 and -")]
    BadClass(&'static str),
    /// There are too many.
    #[error("more than {MAX_KNOWN_VALUES} secrets were declared; declare fewer")]
    TooMany,
    /// The search could not be built.
    #[error("the search for known secrets cannot be built: {0}; declare fewer or shorter secrets")]
    Unsearchable(String),
}

/// Finds secrets: those that the process knows, and those that have a secret's form.
///
/// One for a process, shared by all sessions.
pub struct Masker {
    known: RwLock<Table>,
}

/// The tables by which secrets are found, as they stand in the source: their digest says by which a
/// record was cleaned.
pub const RULES: [&str; 6] = [
    include_str!("formats/azure.rs"),
    include_str!("formats/hosts.rs"),
    include_str!("formats/clouds.rs"),
    include_str!("formats/services.rs"),
    include_str!("assign.rs"),
    include_str!("words.rs"),
];

#[derive(Default)]
struct Table {
    declared: Vec<Known>,
    learnt: VecDeque<Known>,
    search: Arc<Search>,
}

impl Masker {
    /// A masker that knows these secrets of the process itself (class, value).
    ///
    /// # Errors
    /// When a value is too short or too long to be hidden, or there are too many.
    pub fn new(known: impl IntoIterator<Item = (&'static str, SecretString)>) -> Result<Self, KnownError> {
        let declared =
            known.into_iter().map(|(class, value)| check(class, &value)).collect::<Result<Vec<_>, _>>()?;
        if declared.len() > MAX_KNOWN_VALUES {
            return Err(KnownError::TooMany);
        }
        let search = build(&declared, &VecDeque::new())?;
        Ok(Self { known: RwLock::new(Table { declared, learnt: VecDeque::new(), search }) })
    }

    /// Learns a secret that came to be while running, such as a fresh bearer token. The oldest of
    /// more than [`MAX_LEARNT_VALUES`] is forgotten.
    ///
    /// # Errors
    /// As for [`Masker::new`]; what was known stays known.
    pub fn learn(&self, class: &'static str, value: &SecretString) -> Result<(), KnownError> {
        let one = check(class, value)?;
        let mut table = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &Known| known.value.as_str() == one.value.as_str();
        if table.declared.iter().any(same) || table.learnt.iter().any(same) {
            return Ok(());
        }
        table.learnt.push_back(one);
        if table.learnt.len() > MAX_LEARNT_VALUES {
            table.learnt.pop_front();
        }
        table.search = build(&table.declared, &table.learnt)?;
        Ok(())
    }

    /// The secrets in text that is about to leave. Placeholders are not findings; ask
    /// [`Session::placeholders`] for them. A text over [`MAX_TEXT_BYTES`] is one finding of the
    /// class `too-long`.
    pub fn scan_outgoing(&self, text: &str) -> Vec<Finding> {
        if text.len() > MAX_TEXT_BYTES {
            return vec![Finding {
                class: "too-long",
                start: 0,
                end: text.len(),
                certainty: Certainty::Known,
            }];
        }
        let spans = scan::find(text, &self.search());
        let found = spans.into_iter();
        found
            .map(|s| Finding { class: s.class, start: s.start, end: s.end, certainty: s.certainty })
            .collect()
    }

    /// `text` for a log or a metric: secrets become `[[secret:class]]`, without an id.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let (kept, cut) = session::capped(text);
        let spans = scan::find(kept, &self.search());
        if spans.is_empty() && cut == 0 {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(kept.len());
        let mut at = 0;
        for span in spans {
            out.push_str(kept.get(at..span.start).unwrap_or_default());
            out.push_str("[[secret:");
            out.push_str(span.class);
            out.push_str("]]");
            at = span.end;
        }
        out.push_str(kept.get(at..).unwrap_or_default());
        if cut > 0 {
            out.push_str(&session::cut_notice(cut));
        }
        if !self.search().find(&out).is_empty() {
            return Cow::Borrowed("[[secret:text]]");
        }
        Cow::Owned(out)
    }

    /// What a person typed, before anybody reads it: secrets hidden as in [`Masker::redact`], and
    /// whatever looks like a placeholder broken, so that nobody can write one.
    pub fn typed(&self, text: &str) -> String {
        let mut broken = String::with_capacity(text.len());
        let mut at = 0;
        for offset in placeholder::forged(text) {
            broken.push_str(text.get(at..offset).unwrap_or_default());
            broken.push(' ');
            at = offset;
        }
        broken.push_str(text.get(at..).unwrap_or_default());
        self.redact(&broken).into_owned()
    }

    /// A session: one run's placeholders. `key` makes them; draw it at random for each run.
    pub fn session(self: &Arc<Self>, key: [u8; SESSION_KEY_BYTES]) -> Session {
        Session::new(Arc::clone(self), Zeroizing::new(key))
    }

    fn search(&self) -> Arc<Search> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner).search)
    }
}

fn build(declared: &[Known], learnt: &VecDeque<Known>) -> Result<Arc<Search>, KnownError> {
    let all = declared.iter().chain(learnt);
    Search::new(all).map(Arc::new).map_err(|error| KnownError::Unsearchable(error.to_string()))
}

fn check(class: &'static str, value: &SecretString) -> Result<Known, KnownError> {
    let value = value.expose_secret();
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if class.is_empty() || class.len() > MAX_CLASS_BYTES || !class.bytes().all(fits) {
        return Err(KnownError::BadClass(class));
    }
    match value.len() {
        ..MIN_KNOWN_BYTES => Err(KnownError::TooShort(class)),
        MIN_KNOWN_BYTES..=MAX_KNOWN_BYTES => Ok(Known { class, value: Zeroizing::new(value.to_owned()) }),
        _ => Err(KnownError::TooLong(class)),
    }
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masker")
    }
}
