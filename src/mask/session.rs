//! One run's masking: placeholders, and the vault that remembers what they stand for.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use ring::hmac;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use serde_json::Value;

use super::placeholder::{self, Placeholder};
use super::restore::Piece;
use super::span::Span;
use super::{MAX_TEXT_BYTES, Masker, json, scan, stream};

/// Length in bytes of the key that makes placeholders.
pub const SESSION_KEY_BYTES: usize = 32;
/// Most secrets that one session remembers. Later ones are hidden all the same, but not restored.
pub const MAX_VAULT_ENTRIES: usize = 10_000;
/// Most places that are remembered for one secret.
const MAX_ORIGINS: usize = 8;
/// How often masked text is read again for what masking has laid bare.
const MAX_ROUNDS: usize = 3;
/// Letters of an id: 30 bits.
const ID_LETTERS: usize = 6;
/// Letters of an id when shorter ones are taken.
const MAX_ID_LETTERS: usize = 12;

/// Where a text came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A file at a commit.
    File {
        /// The project's id.
        project: String,
        /// The repository's id.
        repository: String,
        /// The path from the root.
        path: String,
        /// The commit it was read at.
        commit: String,
    },
    /// A field of a work item.
    WorkItem {
        /// The project's id.
        project: String,
        /// The work item's number.
        id: u64,
        /// The field's reference name.
        field: String,
    },
    /// Anything else, in words.
    Other(String),
}

impl Origin {
    /// Whether both are the same file, at whatever commit.
    pub fn same_file(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::File { project, repository, path, .. },
                Self::File { project: project2, repository: repository2, path: path2, .. },
            ) => project == project2 && repository == repository2 && path == path2,
            _ => false,
        }
    }
}

/// How often a class was found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hit {
    /// The class.
    pub class: String,
    /// How many were hidden.
    pub count: u32,
}

/// Text that is fit for the model, the journal and the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked {
    /// The text with placeholders.
    pub text: String,
    /// What was hidden, sorted by class.
    pub hits: Vec<Hit>,
    /// How many look-alikes of placeholders were broken.
    pub forged: u32,
    /// Bytes cut off at the end because the text was too long.
    pub cut_bytes: usize,
    /// Whether a known secret was still there after masking, so that the whole text was hidden.
    /// Record this as `mask.leak`.
    pub leak: bool,
}

struct Entry {
    /// Kept so that two values never share an id; zeroised on drop.
    value: SecretString,
    class: &'static str,
    origins: Vec<Origin>,
}

/// The masking of one run. Dropping it forgets and zeroises every secret that it saw.
pub struct Session {
    masker: Arc<Masker>,
    key: Zeroizing<[u8; SESSION_KEY_BYTES]>,
    vault: Mutex<HashMap<String, Entry>>,
}

/// The part of `text` that is masked, and how many bytes are left out.
pub(super) fn capped(text: &str) -> (&str, usize) {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (text.get(..end).unwrap_or_default(), text.len() - end)
}

/// The words that stand for what was cut off.
pub(super) fn cut_notice(bytes: usize) -> String {
    format!("\n[{bytes} bytes more are not shown: the text is longer than {MAX_TEXT_BYTES} bytes]")
}

impl Session {
    pub(super) fn new(masker: Arc<Masker>, key: Zeroizing<[u8; SESSION_KEY_BYTES]>) -> Self {
        Self { masker, key, vault: Mutex::new(HashMap::new()) }
    }

    /// Masks text from outside. Whatever looks like a placeholder in it is broken first, so that
    /// nobody can write one.
    pub fn mask_text(&self, text: &str, origin: &Origin) -> Masked {
        self.mask(text, origin, true)
    }

    /// Masks text that has been masked before, or that the model wrote: placeholders that this
    /// session gave out stay, all others are broken.
    pub fn mask_again(&self, text: &str, origin: &Origin) -> Masked {
        self.mask(text, origin, false)
    }

    /// Masks every text in a JSON document, and what its structure says is secret: secret
    /// variables, parameters of service connections, headers.
    pub fn mask_json(&self, value: &mut Value, origin: &Origin) -> Vec<Hit> {
        let mut counts = BTreeMap::new();
        json::mask(self, value, origin, &mut counts);
        hits(counts)
    }

    /// A stream of text from outside, masked as it comes.
    pub fn stream(&self, origin: Origin) -> stream::MaskStream<'_> {
        stream::MaskStream::new(self, origin)
    }

    /// The secrets in text that is about to leave; see [`Masker::scan_outgoing`].
    pub fn scan_outgoing(&self, text: &str) -> Vec<super::Finding> {
        self.masker.scan_outgoing(text)
    }

    /// The placeholders in a text. Where none may stand, any of them is a reason to refuse; one
    /// that is not `issued` is forged.
    pub fn placeholders(&self, text: &str) -> Vec<Placeholder> {
        let vault = self.vault.lock().unwrap_or_else(PoisonError::into_inner);
        placeholder::find(text)
            .into_iter()
            .map(|(class, id, start, end)| Placeholder {
                issued: vault.get(id).is_some_and(|entry| entry.class == class),
                class: class.to_owned(),
                id: id.to_owned(),
                start,
                end,
            })
            .collect()
    }

    /// Where the secret behind a placeholder was read, for the approval card. Never its value.
    pub fn origins(&self, id: &str) -> Vec<Origin> {
        let vault = self.vault.lock().unwrap_or_else(PoisonError::into_inner);
        vault.get(id).map(|entry| entry.origins.clone()).unwrap_or_default()
    }

    /// Masks `text[seen..end]`; what stands around it is read, too. Unless this is the `last`
    /// chance, the end moves to the front of a secret that it would cut. Returns the masked text,
    /// the end, and what was hidden.
    pub(super) fn mask_between(
        &self,
        text: &str,
        seen: usize,
        end: usize,
        last: bool,
        origin: &Origin,
    ) -> (String, usize, Vec<Hit>) {
        let mut spans = scan::find(text, &self.masker.search());
        let cut = spans.iter().find(|span| span.start < end && end < span.end);
        let end = cut.filter(|_| !last).map_or(end, |span| span.start.max(seen));
        spans.retain(|span| span.end > seen && span.start < end);
        for span in &mut spans {
            span.start = span.start.max(seen) - seen;
            span.end = span.end.min(end) - seen;
        }
        let part = text.get(seen..end).unwrap_or_default();
        let mut counts = BTreeMap::new();
        let mut out = self.replace(part, &spans, &placeholder::forged(part), origin, &mut counts);
        if !scan::known(&out, &self.masker.search()).is_empty() {
            out = self.issue("text", part, origin);
            counts.insert("text".to_owned(), 1);
        }
        (out, end, hits(counts))
    }

    fn mask(&self, text: &str, origin: &Origin, outside: bool) -> Masked {
        let (kept, cut_bytes) = capped(text);
        let spans = scan::find(kept, &self.masker.search());
        let issued: Vec<usize> = if outside {
            Vec::new()
        } else {
            self.placeholders(kept).into_iter().filter(|p| p.issued).map(|p| p.start + 1).collect()
        };
        let breaks: Vec<usize> =
            placeholder::forged(kept).into_iter().filter(|at| issued.binary_search(at).is_err()).collect();
        let mut counts = BTreeMap::new();
        let mut out = self.replace(kept, &spans, &breaks, origin, &mut counts);
        // What stood in the way of a rule may now be a placeholder: read again until nothing is found.
        for _ in 0..MAX_ROUNDS {
            let spans = if counts.is_empty() { Vec::new() } else { scan::find(&out, &self.masker.search()) };
            if spans.is_empty() {
                break;
            }
            out = self.replace(&out, &spans, &[], origin, &mut counts);
        }
        // Verify: what the process knows must be gone, whatever the rules above did.
        let leak = !scan::known(&out, &self.masker.search()).is_empty();
        if leak {
            out = self.issue("text", text, origin);
            counts.insert("text".to_owned(), 1);
        } else if cut_bytes > 0 {
            out.push_str(&cut_notice(cut_bytes));
        }
        let forged = u32::try_from(breaks.len()).unwrap_or(u32::MAX);
        Masked { text: out, hits: hits(counts), forged, cut_bytes, leak }
    }

    /// `text` cut into what is shown and what is hidden.
    pub(super) fn pieces<'t>(&self, text: &'t str, origin: &Origin) -> Vec<Piece<'t>> {
        let mut pieces = Vec::new();
        let mut at = 0;
        for span in scan::find(text, &self.masker.search()) {
            let value = text.get(span.start..span.end).unwrap_or_default();
            pieces.push(Piece::Plain(text.get(at..span.start).unwrap_or_default()));
            pieces.push(Piece::Secret { placeholder: self.issue(span.class, value, origin), value });
            at = span.end;
        }
        pieces.push(Piece::Plain(text.get(at..).unwrap_or_default()));
        pieces
    }

    fn replace(
        &self,
        text: &str,
        spans: &[Span],
        breaks: &[usize],
        origin: &Origin,
        counts: &mut BTreeMap<String, u32>,
    ) -> String {
        let mut out = String::with_capacity(text.len() + spans.len() * 32);
        let mut breaks = breaks.iter().copied().peekable();
        let mut at = 0;
        let mut copy = |out: &mut String, from: usize, to: usize| {
            let mut from = from;
            while let Some(offset) = breaks.next_if(|offset| *offset <= to) {
                if offset > from {
                    out.push_str(text.get(from..offset).unwrap_or_default());
                    out.push(' ');
                    from = offset;
                }
            }
            out.push_str(text.get(from..to).unwrap_or_default());
        };
        for span in spans {
            copy(&mut out, at, span.start);
            out.push_str(&self.issue(span.class, text.get(span.start..span.end).unwrap_or_default(), origin));
            *counts.entry(span.class.to_owned()).or_insert(0) += 1;
            at = span.end;
        }
        copy(&mut out, at, text.len());
        out
    }

    /// The placeholder for `value`, which the vault remembers with its origin.
    pub(super) fn issue(&self, class: &'static str, value: &str, origin: &Origin) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.as_slice());
        let mut context = hmac::Context::with_key(&key);
        context.update(class.as_bytes());
        context.update(&[0]);
        context.update(value.as_bytes());
        let digest = context.sign();
        let mut vault = self.vault.lock().unwrap_or_else(PoisonError::into_inner);
        for letters in ID_LETTERS..=MAX_ID_LETTERS {
            let id = placeholder::id(digest.as_ref(), letters);
            let room = vault.len() < MAX_VAULT_ENTRIES;
            match vault.get_mut(&id) {
                Some(entry) if !entry.is(class, value) => continue,
                Some(entry) if entry.origins.len() < MAX_ORIGINS && !entry.origins.contains(origin) => {
                    entry.origins.push(origin.clone());
                }
                Some(_) => {}
                None if room => {
                    let entry =
                        Entry { value: SecretString::from(value), class, origins: vec![origin.clone()] };
                    vault.insert(id.clone(), entry);
                }
                None => {}
            }
            return format!("{}{class}:{id}]]", placeholder::OPEN);
        }
        // Seven ids of one value all taken by others: not to be expected, and still hidden.
        format!("{}{class}:full]]", placeholder::OPEN)
    }
}

impl Entry {
    fn is(&self, class: &str, value: &str) -> bool {
        use secrecy::ExposeSecret as _;
        self.class == class && self.value.expose_secret() == value
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

fn hits(counts: BTreeMap<String, u32>) -> Vec<Hit> {
    counts.into_iter().map(|(class, count)| Hit { class, count }).collect()
}
