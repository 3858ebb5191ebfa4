//! The secrets that this process knows, in every form in which they might be written.
//!
//! Exact search, no guess: plain, reversed, hexadecimal, base64 at each of the three alignments in
//! both alphabets, percent-encoded, and escaped for JSON.

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::zeroize::Zeroizing;

use super::span::{Certainty, Span};

/// Shortest value, in bytes, that is searched for: shorter ones occur by chance.
pub const MIN_KNOWN_BYTES: usize = 6;
/// Longest value, in bytes.
pub const MAX_KNOWN_BYTES: usize = 16 * 1024;
/// Of a long form only so many bytes at its end are searched for; the rest is compared.
const MAX_PATTERN_BYTES: usize = 96;

/// A value and what it is.
pub(super) struct Known {
    pub class: &'static str,
    pub value: Zeroizing<String>,
}

/// One automaton over all forms of all known values.
#[derive(Default)]
pub(super) struct Search {
    automaton: Option<AhoCorasick>,
    forms: Vec<(usize, Zeroizing<Vec<u8>>)>,
    classes: Vec<&'static str>,
}

impl Search {
    /// Over `known`. An automaton that cannot be built (too large) is an error, not a blind spot.
    pub fn new<'k>(known: impl IntoIterator<Item = &'k Known>) -> Result<Self, aho_corasick::BuildError> {
        let mut forms = Vec::new();
        let mut classes = Vec::new();
        for (index, one) in known.into_iter().enumerate() {
            classes.push(one.class);
            forms.extend(forms_of(one.value.as_bytes()).into_iter().map(|form| (index, form)));
        }
        let tails = forms.iter().map(|(_, form)| form.get(tail(form)..).unwrap_or_default());
        let automaton = if forms.is_empty() {
            None
        } else {
            Some(AhoCorasick::builder().match_kind(MatchKind::Standard).build(tails)?)
        };
        Ok(Self { automaton, forms, classes })
    }

    /// Where known values stand in `text`.
    pub fn find(&self, text: &str) -> Vec<Span> {
        let Some(automaton) = &self.automaton else { return Vec::new() };
        let bytes = text.as_bytes();
        automaton
            .find_overlapping_iter(bytes)
            .filter_map(|found| {
                let (index, form) = self.forms.get(found.pattern().as_usize())?;
                let class = *self.classes.get(*index)?;
                // The head of a long form, as far as it is there.
                let head = form.get(..tail(form)).unwrap_or_default();
                let before = bytes.get(..found.start()).unwrap_or_default();
                let same = head.iter().rev().zip(before.iter().rev()).take_while(|(a, b)| a == b).count();
                let mut start = found.start() - same;
                let mut end = found.end();
                while !text.is_char_boundary(start) {
                    start -= 1;
                }
                while !text.is_char_boundary(end) {
                    end += 1;
                }
                Some(Span { start, end, class, certainty: Certainty::Known })
            })
            .collect()
    }
}

fn tail(form: &[u8]) -> usize {
    form.len().saturating_sub(MAX_PATTERN_BYTES)
}

fn forms_of(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms: Vec<Vec<u8>> = vec![value.to_vec(), value.iter().rev().copied().collect()];
    let hex = |upper: bool, before: &str| -> Vec<u8> {
        value
            .iter()
            .flat_map(|byte| {
                let digits = if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
                format!("{before}{digits}").into_bytes()
            })
            .collect()
    };
    forms.extend([hex(false, ""), hex(true, ""), hex(false, "%"), hex(true, "%")]);
    for shift in 0..3 {
        forms.push(aligned(value, shift, &STANDARD_NO_PAD));
        forms.push(aligned(value, shift, &URL_SAFE_NO_PAD));
    }
    for upper in [true, false] {
        forms.push(percent_encoded(value, upper));
    }
    if let Ok(quoted) = serde_json::to_vec(&String::from_utf8_lossy(value)) {
        forms.push(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_vec());
    }
    forms.sort();
    forms.dedup();
    forms.into_iter().filter(|form| form.len() >= MIN_KNOWN_BYTES).map(Zeroizing::new).collect()
}

/// The characters of base64 that depend on `value` alone when `shift` unknown bytes stand before.
fn aligned(value: &[u8], shift: usize, alphabet: &base64::engine::GeneralPurpose) -> Vec<u8> {
    let mut bytes = vec![0; shift];
    bytes.extend_from_slice(value);
    let text = alphabet.encode(Zeroizing::new(bytes)).into_bytes();
    let first = (shift * 8).div_ceil(6);
    let last = (shift + value.len()) * 8 / 6;
    text.get(first..last).unwrap_or_default().to_vec()
}

/// As a form or an address writes it: everything but letters, digits and `-._~`.
fn percent_encoded(value: &[u8], upper: bool) -> Vec<u8> {
    value
        .iter()
        .flat_map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) => vec![*byte],
            byte if upper => format!("%{byte:02X}").into_bytes(),
            byte => format!("%{byte:02x}").into_bytes(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(value: &str) -> Search {
        Search::new(&[Known { class: "test", value: Zeroizing::new(value.to_owned()) }]).unwrap()
    }

    #[test]
    fn every_form_is_found_at_every_alignment() {
        let value = "Tr0ub4dor&3/+x";
        let search = search(value);
        for before in ["", "a", "ab", "abc"] {
            let text = format!("{before}{value}tail");
            for alphabet in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                let encoded = alphabet.encode(&text);
                assert_eq!(search.find(&encoded).len(), 1, "{encoded}");
            }
        }
        assert!(search.find("Tr0ub4dor%263%2F%2Bx").len() == 1);
        assert!(search.find("x+/3&rod4bu0rT").len() == 1);
        assert!(search.find("nothing here").is_empty());
    }

    #[test]
    fn a_long_value_is_found_whole_by_its_end() {
        let value: String = (0..400).map(|n| char::from(b'a' + u8::try_from(n * 7 % 26).unwrap())).collect();
        let text = format!("-- {value} --");
        let spans = search(&value).find(&text);
        assert!(spans.iter().any(|span| span.start == 3 && span.end == 403));
    }
}
