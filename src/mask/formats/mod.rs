//! The table of secret formats: what a token of each issuer looks like, as data.
//!
//! A format is found by a literal that every such token holds (its anchor). From there the shape
//! is walked by hand: a fixed lead before the anchor, then parts after it. No regular expression
//! runs over the text, so a text without anchors costs one pass of one automaton.

mod azure;
mod clouds;
mod hosts;
mod services;

pub(super) use services::{SERVICES, Service};

/// A set of bytes.
pub(super) type Alphabet = fn(u8) -> bool;

/// One piece of a shape.
pub(super) enum Part {
    /// Exactly this text (in any case where the format folds).
    Text(&'static str),
    /// Between so many and so many bytes of a set, as many as there are.
    Run(Alphabet, usize, usize),
}

/// How one kind of secret is written.
pub(super) struct Format {
    /// The class in placeholders and findings.
    pub class: &'static str,
    /// Literals, one of which every token holds.
    pub anchors: &'static [&'static str],
    /// Whether case does not matter.
    pub fold: bool,
    /// Bytes before the anchor that belong to the token: the set, the fewest, the most.
    pub lead: Option<(Alphabet, usize, usize)>,
    /// What follows the anchor.
    pub rest: &'static [Part],
    /// Bytes that may not touch the token on the left.
    pub left: Alphabet,
    /// Bytes that may not touch the token on the right.
    pub right: Alphabet,
    /// Least Shannon entropy of the whole token, in bits for each character.
    pub bits: f32,
    /// Whether a token that reads like words is no token (for anchors that occur in code).
    pub random: bool,
}

impl Format {
    const fn new(class: &'static str, anchors: &'static [&'static str], rest: &'static [Part]) -> Self {
        Self {
            class,
            anchors,
            fold: false,
            lead: None,
            rest,
            left: none,
            right: none,
            bits: 2.0,
            random: false,
        }
    }

    const fn fold(mut self) -> Self {
        self.fold = true;
        self
    }

    const fn lead(mut self, set: Alphabet, least: usize, most: usize) -> Self {
        self.lead = Some((set, least, most));
        self
    }

    const fn edges(mut self, left: Alphabet, right: Alphabet) -> Self {
        self.left = left;
        self.right = right;
        self
    }

    const fn bits(mut self, bits: f32) -> Self {
        self.bits = bits;
        self
    }

    const fn random(mut self) -> Self {
        self.random = true;
        self
    }
}

/// Every format, in groups by issuer.
pub(super) fn all() -> impl Iterator<Item = &'static Format> {
    azure::FORMATS.iter().chain(hosts::FORMATS).chain(clouds::FORMATS).chain(services::FORMATS)
}

/// The end of the shape `parts` that starts at `at`, taking as much as fits.
pub(super) fn walk(parts: &[Part], text: &[u8], at: usize, fold: bool) -> Option<usize> {
    let Some((part, later)) = parts.split_first() else { return Some(at) };
    match part {
        Part::Text(literal) => {
            let end = at.checked_add(literal.len())?;
            let piece = text.get(at..end)?;
            let same = if fold {
                piece.eq_ignore_ascii_case(literal.as_bytes())
            } else {
                piece == literal.as_bytes()
            };
            if same { walk(later, text, end, fold) } else { None }
        }
        Part::Run(set, least, most) => {
            let here = text.get(at..)?;
            let longest = here.iter().take(*most).take_while(|byte| set(**byte)).count();
            (*least..=longest).rev().find_map(|count| walk(later, text, at + count, fold))
        }
    }
}

pub(super) fn none(_: u8) -> bool {
    false
}
pub(super) fn digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}
pub(super) fn hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}
pub(super) fn alpha(byte: u8) -> bool {
    byte.is_ascii_alphabetic()
}
pub(super) fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}
/// Upper-case letters and digits.
pub(super) fn capital(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}
/// The lower-case base32 alphabet of RFC 4648.
pub(super) fn base32(byte: u8) -> bool {
    byte.is_ascii_lowercase() || matches!(byte, b'2'..=b'7')
}
/// Letters, digits, underscore.
pub(super) fn word(byte: u8) -> bool {
    alnum(byte) || byte == b'_'
}
/// The URL-safe base64 alphabet.
pub(super) fn name(byte: u8) -> bool {
    word(byte) || byte == b'-'
}
/// The standard base64 alphabet, without padding.
pub(super) fn base64(byte: u8) -> bool {
    alnum(byte) || byte == b'+' || byte == b'/'
}
/// Both base64 alphabets, without padding.
pub(super) fn base64_any(byte: u8) -> bool {
    base64(byte) || byte == b'_' || byte == b'-'
}
/// Both base64 alphabets with padding.
pub(super) fn base64_padded(byte: u8) -> bool {
    base64_any(byte) || byte == b'='
}
/// URL-safe base64 with dots and padding.
pub(super) fn dotted(byte: u8) -> bool {
    name(byte) || byte == b'.' || byte == b'='
}
pub(super) fn equals(byte: u8) -> bool {
    byte == b'='
}
/// What the path of an address is made of.
pub(super) fn path(byte: u8) -> bool {
    dotted(byte) || matches!(byte, b'/' | b'@' | b'%' | b'?' | b'&')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_gives_back_what_the_next_part_needs() {
        let parts = [Part::Run(alnum, 2, 10), Part::Text("Z9")];
        assert_eq!(walk(&parts, b"abcZ9!", 0, false), Some(5));
        assert_eq!(walk(&parts, b"aZ9", 0, false), None);
        assert_eq!(walk(&parts, b"abcz9", 0, true), Some(5));
    }

    #[test]
    fn classes_fit_into_a_placeholder_and_anchors_are_not_empty() {
        for format in all() {
            assert!(format.class.len() <= crate::mask::MAX_CLASS_BYTES, "{}", format.class);
            assert!(format.class.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            assert!(format.anchors.iter().all(|anchor| !anchor.is_empty()));
        }
        for service in SERVICES {
            assert!(service.class.len() <= crate::mask::MAX_CLASS_BYTES, "{}", service.class);
        }
    }
}
