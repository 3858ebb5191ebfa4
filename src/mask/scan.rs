//! The search: one pass of one automaton finds anchors and words; each hit is then judged by its
//! own rule, close to where it stands. Disguised copies of the text are searched the same way.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::context::{self, Context};
use super::formats::{self, Format, SERVICES, Service};
use super::judge::{self, Strength, Style};
use super::known::Search;
use super::shadow::{self, Shadow};
use super::span::{Certainty, Span, union};
use super::{assign, decode, placeholder};

/// How often decoded text may be decoded again.
pub(super) const MAX_DECODE_DEPTH: usize = 2;
/// Length in bytes of the personal access tokens of Azure DevOps before 2024.
const OLD_PAT_BYTES: usize = 52;

/// Words that begin the names of secrets.
const WORDS: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "passwort",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "api key",
    "credential",
    "creds",
    "connectionstring",
    "key",
    "auth",
    "access",
    "api",
    "bearer",
    "_pat",
    "-pat",
    "sas_",
    "pat:",
    "pat=",
];

enum Trigger {
    Format(&'static Format),
    Service(&'static Service),
    Word,
    Context(Context),
}

struct Engine {
    automaton: AhoCorasick,
    triggers: Vec<(&'static str, Trigger)>,
}

/// Built once for the process. The anchors are constants, so a failure to build is found by the
/// first test; without an engine every text is refused (see `find`).
static ENGINE: LazyLock<Option<Engine>> = LazyLock::new(|| {
    let mut triggers: Vec<(&'static str, Trigger)> = Vec::new();
    for format in formats::all() {
        triggers.extend(format.anchors.iter().map(|anchor| (*anchor, Trigger::Format(format))));
    }
    for service in SERVICES {
        triggers.extend(service.names.iter().map(|name| (*name, Trigger::Service(service))));
    }
    triggers.extend(WORDS.iter().map(|word| (*word, Trigger::Word)));
    triggers.extend(context::ANCHORS.iter().map(|(anchor, kind)| (*anchor, Trigger::Context(*kind))));
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .kind(Some(AhoCorasickKind::DFA))
        .build(triggers.iter().map(|(anchor, _)| *anchor))
        .ok()?;
    Some(Engine { automaton, triggers })
});

/// The secrets in `text`, sorted, without overlap.
pub(super) fn find(text: &str, known: &Search) -> Vec<Span> {
    let shadow = shadow::normalised(text);
    let base = shadow.as_ref().map_or(text, |shadow| shadow.text.as_str());
    let mut spans = views(base, known, 0);
    if let Some(shadow) = &shadow {
        let map = |span: &mut Span| (span.start, span.end) = shadow.origin(span.start, span.end);
        spans.iter_mut().for_each(map);
    }
    let atoms = placeholder::atoms(text);
    let atom = |span: &Span| atoms.iter().any(|(start, end)| *start <= span.start && span.end <= *end);
    spans.retain(|span| span.certainty == Certainty::Known || !atom(span));
    union(spans)
}

/// What is found in `text` itself, in its joined and percent-decoded copies, and in what it holds
/// in base64 or hexadecimal.
fn views(text: &str, known: &Search, depth: usize) -> Vec<Span> {
    let mut spans = plain(text, known);
    let mapped = |shadow: &Shadow, span: Span| {
        let (start, end) = shadow.origin(span.start, span.end);
        Span { start, end, ..span }
    };
    if let Some(joined) = shadow::joined(text) {
        let crossing = anchored(&joined.text, known).into_iter();
        let crossing = crossing.filter(|span| joined.crosses_joint(span.start, span.end));
        // A token that is whole on its own line does not go on in the next one.
        let whole = |span: &Span| spans.iter().any(|one| one.start < span.end && span.start < one.end);
        let crossing: Vec<Span> = crossing
            .map(|span| mapped(&joined, span))
            .filter(|span| span.certainty == Certainty::Known || !whole(span))
            .collect();
        spans.extend(crossing);
    }
    if let Some(decoded) = shadow::percent_decoded(text) {
        let inner = if depth < MAX_DECODE_DEPTH {
            views(&decoded.text, known, depth + 1)
        } else {
            plain(&decoded.text, known)
        };
        spans.extend(inner.into_iter().map(|span| mapped(&decoded, span)));
    }
    if depth < MAX_DECODE_DEPTH {
        for run in decode::runs(text) {
            let inner = views(&run.text, known, depth + 1);
            if let Some(worst) = inner.iter().max_by_key(|span| span.certainty) {
                spans.push(Span { start: run.start, end: run.end, ..*worst });
            }
        }
    }
    spans
}

fn plain(text: &str, known: &Search) -> Vec<Span> {
    let mut spans = search(text, false);
    spans.extend(old_pats(text));
    spans.extend(known.find(text));
    spans
}

/// Only what needs no names and no structure: the copy has lost its lines.
fn anchored(text: &str, known: &Search) -> Vec<Span> {
    let mut spans = search(text, true);
    spans.extend(old_pats(text));
    spans.extend(known.find(text));
    spans
}

fn search(text: &str, formats_only: bool) -> Vec<Span> {
    let Some(engine) = ENGINE.as_ref() else {
        return vec![Span { start: 0, end: text.len(), class: "unsearchable", certainty: Certainty::Known }];
    };
    let mut spans = Vec::new();
    for hit in engine.automaton.find_overlapping_iter(text) {
        let Some((anchor, trigger)) = engine.triggers.get(hit.pattern().as_usize()) else { continue };
        let (start, end) = (hit.start(), hit.end());
        match trigger {
            Trigger::Format(format) => {
                if format.fold || text.get(start..end) == Some(*anchor) {
                    spans.extend(token(format, text, start, end));
                }
            }
            _ if formats_only => {}
            Trigger::Service(service) => spans.extend(service_key(service, text, start, end)),
            Trigger::Word => spans.extend(named(text, start, end)),
            Trigger::Context(context) => context::find(*context, text, start, end, &mut spans),
        }
    }
    spans
}

/// The token of `format` whose anchor stands at `start..end`.
fn token(format: &Format, text: &str, start: usize, end: usize) -> Option<Span> {
    let bytes = text.as_bytes();
    let from = match format.lead {
        None => start,
        Some((set, least, most)) => {
            let before = bytes.get(..start)?.iter().rev().take(most).take_while(|byte| set(**byte)).count();
            if before < least {
                return None;
            }
            start - before
        }
    };
    let to = formats::walk(format.rest, bytes, end, format.fold)?;
    let next = bytes.get(to).copied().unwrap_or_default();
    let value = text.get(from..to)?;
    let fits = !(touches(bytes, from, format.left) || (format.right)(next))
        && judge::entropy(value) >= format.bits
        && !value.ends_with("EXAMPLE")
        && (!format.random || judge::random(value));
    fits.then_some(Span { start: from, end: to, class: format.class, certainty: Certainty::Format })
}

/// Whether a byte of `set` stands right before `at`; the letter of an escape such as `\n` does not
/// count.
fn touches(bytes: &[u8], at: usize, set: formats::Alphabet) -> bool {
    let before = |n: usize| at.checked_sub(n).and_then(|index| bytes.get(index)).copied().unwrap_or_default();
    let escape = before(2) == b'\\' && matches!(before(1), b'n' | b'r' | b't');
    set(before(1)) && !escape
}

/// A value that a secret-sounding name is given.
fn named(text: &str, start: usize, end: usize) -> Option<Span> {
    let assignment = assign::read(text, start, end)?;
    let strength = judge::strength(&judge::plain(assignment.name))?;
    let value = text.get(assignment.start..assignment.end)?;
    let code = assignment.style == Style::Bare && assignment.next == b'.';
    if code || !judge::secret(strength, value, assignment.style) {
        return None;
    }
    let class = if strength == Strength::Password { "password" } else { "named-secret" };
    let certainty = if assignment.style == Style::Setting { Certainty::Format } else { Certainty::Guess };
    Some(Span { start: assignment.start, end: assignment.end, class, certainty })
}

/// A value of the shape that the keys of a named service have.
fn service_key(service: &Service, text: &str, start: usize, end: usize) -> Option<Span> {
    let assignment = assign::read(text, start, end)?;
    let value = text.get(assignment.start..assignment.end)?;
    let fits = service
        .shapes
        .iter()
        .any(|shape| formats::walk(shape, text.as_bytes(), assignment.start, true) == Some(assignment.end));
    (fits && judge::random(value) && !judge::reference(value)).then_some(Span {
        start: assignment.start,
        end: assignment.end,
        class: service.class,
        certainty: Certainty::Format,
    })
}

/// Azure DevOps tokens of the old form: 52 characters of lower-case base32, and nothing else to
/// know them by.
fn old_pats(text: &str) -> Vec<Span> {
    let runs = decode::find_runs(text.as_bytes(), formats::base32, OLD_PAT_BYTES);
    runs.into_iter()
        .filter(|(start, end)| {
            end - start == OLD_PAT_BYTES && old_pat(text.get(*start..*end).unwrap_or_default())
        })
        .map(|(start, end)| Span { start, end, class: "azure-devops-pat", certainty: Certainty::Format })
        .collect()
}

fn old_pat(value: &str) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    digits >= 3 && judge::entropy(value) >= 3.5
}

/// Where values that the process knows stand in `text`, in any disguise that `find` undoes.
pub(super) fn known(text: &str, known: &Search) -> Vec<Span> {
    let mut spans = known.find(text);
    if let Some(shadow) = shadow::normalised(text) {
        spans.extend(known.find(&shadow.text));
    }
    spans
}
