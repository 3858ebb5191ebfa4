//! Characters that are not seen: controls, terminal escapes, tags, zero width, direction.

use super::{Cleaned, Flag};

/// What a hidden character does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenKind {
    /// Turns the direction of what follows (U+202A to 202E, 2066 to 2069, and the marks).
    Bidi,
    /// Shown as nothing.
    Invisible,
    /// A control character other than tab and line breaks.
    Control,
}

/// A hidden character in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Hidden {
    /// Its first byte in the text.
    pub offset: usize,
    /// The character.
    pub character: char,
    /// What it does.
    pub kind: HiddenKind,
}

/// The hidden characters of a file that is about to be written. The file is not changed: a caller
/// holds it back for a person who sees what is in it.
pub fn hidden_characters(text: &str) -> Vec<Hidden> {
    let mut before = None;
    let mut found = Vec::new();
    for (offset, character) in text.char_indices() {
        let next = text.get(offset + character.len_utf8()..).and_then(|rest| rest.chars().next());
        // A byte order mark at the very start is how some editors write a file.
        let mark = offset == 0 && character == '\u{FEFF}';
        if let Some(kind) = kind(character, before, next).filter(|_| !mark) {
            found.push(Hidden { offset, character, kind });
        }
        before = Some(character);
    }
    found
}

fn kind(c: char, before: Option<char>, next: Option<char>) -> Option<HiddenKind> {
    match c {
        '\t' | '\n' | '\r' => None,
        '\u{200E}' | '\u{200F}' | '\u{061C}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
            Some(HiddenKind::Bidi)
        }
        // Joiners belong to several scripts and to emoji; the choice of a form to emoji.
        '\u{200C}' | '\u{200D}' if before.is_some_and(joins) && next.is_some_and(joins) => None,
        '\u{FE0E}' | '\u{FE0F}' if before.is_some_and(takes_form) => None,
        c if c.is_control() => Some(HiddenKind::Control),
        c if crate::mask::shadow::invisible(c) => Some(HiddenKind::Invisible),
        _ => None,
    }
}

fn joins(c: char) -> bool {
    c as u32 >= 0x0600 && (!crate::mask::shadow::invisible(c) || c == '\u{FE0F}')
}

fn takes_form(c: char) -> bool {
    matches!(c, '#' | '*' | '0'..='9' | '©' | '®')
        || (c as u32 >= 0x2000 && !crate::mask::shadow::invisible(c))
}

/// `text` without hidden characters and terminal escapes.
pub(super) fn strip(text: &str, cleaned: &mut Cleaned) -> String {
    if text.bytes().all(|byte| matches!(byte, 0x20..=0x7e | b'\t' | b'\n' | b'\r')) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let (mut bidi, mut invisible, mut control) = (0, 0, 0);
    let mut rest = text;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        match kind(c, before, after.chars().next()) {
            None => {
                out.push(c);
                before = Some(c);
            }
            Some(HiddenKind::Bidi) => bidi += 1,
            Some(HiddenKind::Invisible) => invisible += 1,
            Some(HiddenKind::Control) => {
                control += 1;
                if matches!(c, '\u{1b}' | '\u{9b}' | '\u{9d}') {
                    rest = behind_escape(c, after);
                    continue;
                }
            }
        }
        rest = after;
    }
    cleaned.flag(Flag::BidiControls, bidi);
    cleaned.flag(Flag::HiddenCharacters, invisible);
    cleaned.flag(Flag::ControlCharacters, control);
    out
}

/// What follows the terminal escape that began with `first`.
fn behind_escape(first: char, after: &str) -> &str {
    let (kind, body) = match first {
        '\u{9b}' => ('[', after),
        '\u{9d}' => (']', after),
        _ => match after.chars().next() {
            Some(kind @ ('[' | ']' | 'P' | '^' | '_' | 'X')) => (kind, after.get(1..).unwrap_or_default()),
            Some(c) if c.is_ascii() && !c.is_control() => return after.get(1..).unwrap_or_default(),
            _ => return after,
        },
    };
    if kind == '[' {
        // Parameters, then one letter.
        let length = body.bytes().take_while(|byte| (0x20..0x40).contains(byte)).count();
        let last = usize::from(body.as_bytes().get(length).is_some_and(|byte| (0x40..0x7f).contains(byte)));
        return body.get(length + last..).unwrap_or_default();
    }
    // A text up to BEL or ESC \ on the same line.
    let line = body.find(['\n', '\r']).unwrap_or(body.len());
    let head = body.get(..line).unwrap_or_default();
    match (head.find('\u{7}'), head.find("\u{1b}\\")) {
        (Some(bell), None) => body.get(bell + 1..),
        (Some(bell), Some(end)) if bell < end => body.get(bell + 1..),
        (_, Some(end)) => body.get(end + 2..),
        (None, None) => body.get(line..),
    }
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_turned_text_is_reported_where_it_turns() {
        let found = hidden_characters("\u{FEFF}if admin {\u{202E} }\u{2066}");
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|hidden| hidden.kind == HiddenKind::Bidi));
        assert_eq!(found[0].offset, 13);
        assert_eq!(hidden_characters("a\u{200D}b")[0].kind, HiddenKind::Invisible);
        assert!(hidden_characters("می‌خواهم 👩‍💻 ❤️").is_empty());
    }

    #[test]
    fn terminal_escapes_go_with_their_arguments() {
        let mut cleaned = Cleaned::default();
        let text =
            "a\u{1b}[1;31mb\u{1b}]8;;https://evil.example\u{7}link\u{1b}]8;;\u{1b}\\c\u{9b}2Jd\u{1b}ce\u{0}f";
        assert_eq!(strip(text, &mut cleaned), "ablinkcdef");
    }
}
