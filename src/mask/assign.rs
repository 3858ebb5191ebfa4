//! Reads `name = value` in the many ways in which code, settings, logs and markup write it.

use super::judge::Style;

/// Longest name, in bytes, that is read to each side of a word.
const MAX_NAME_BYTES: usize = 64;
/// Most bytes between a word and the sign that assigns.
const MAX_GAP_BYTES: usize = 24;
/// Longest value, in bytes.
const MAX_VALUE_BYTES: usize = 4096;

/// One assignment.
pub(super) struct Assignment<'t> {
    /// The whole name.
    pub name: &'t str,
    /// Where the value stands.
    pub start: usize,
    /// Where the value ends.
    pub end: usize,
    /// How it is written.
    pub style: Style,
    /// The byte after the value, 0 at the end of the text.
    pub next: u8,
}

/// Longest first, so that the longest matches.
const OPERATORS: &[&str] =
    &[":::=", ":::", "===", "!==", "::=", ":=", "=>", "==", "!=", "?=", "||", "->", ":", "=", ",", ">"];

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&self, offset: usize) -> u8 {
        self.bytes.get(self.at + offset).copied().unwrap_or_default()
    }

    fn skip(&mut self, set: fn(u8) -> bool, most: usize) -> usize {
        let from = self.at;
        while self.at - from < most && self.at < self.bytes.len() && set(self.byte(0)) {
            self.at += 1;
        }
        self.at - from
    }

    fn take(&mut self, literal: &str) -> bool {
        let found = self
            .bytes
            .get(self.at..self.at + literal.len())
            .is_some_and(|piece| piece.eq_ignore_ascii_case(literal.as_bytes()));
        if found {
            self.at += literal.len();
        }
        found
    }
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)
}
fn in_gap(byte: u8) -> bool {
    in_name(byte) || byte == b' ' || byte == b'\t'
}
fn closes(byte: u8) -> bool {
    b"\"'` \t])\\*".contains(&byte)
}
fn blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}
fn blank_or_break(byte: u8) -> bool {
    blank(byte) || byte == b'\n' || byte == b'\r'
}
fn opens(byte: u8) -> bool {
    b"\"'`".contains(&byte)
}
fn ends_bare(byte: u8) -> bool {
    byte <= b' ' || b"\"'`,;<>(){}[]|\\".contains(&byte)
}

/// The assignment to the name around `start..end` of `text`.
pub(super) fn read(text: &str, start: usize, end: usize) -> Option<Assignment<'_>> {
    let bytes = text.as_bytes();
    let before = bytes.get(..start)?.iter().rev().take(MAX_NAME_BYTES).take_while(|b| in_name(**b)).count();
    let from = start - before;
    let mut reader = Reader { text, bytes, at: end };
    reader.skip(in_name, MAX_NAME_BYTES);
    let name = text.get(from..reader.at)?;
    let setting = if name.starts_with("--") || (name.starts_with('-') && blank(reader.byte(0))) {
        flag(&mut reader)?
    } else {
        operator(&mut reader)?
    };
    let connection = preceding(bytes, from) == Some(b';');
    value(reader, name, setting || connection)
}

/// The last byte before `at` that is no blank.
fn preceding(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(..at)?.iter().rev().find(|byte| !blank(**byte)).copied()
}

/// `--password value`, `--password=value`.
fn flag(reader: &mut Reader<'_>) -> Option<bool> {
    if !reader.take("=") && reader.skip(blank, 4) == 0 {
        return None;
    }
    (reader.byte(0) != b'-').then_some(true)
}

/// Passes the sign that assigns. True where only a value can follow.
fn operator(reader: &mut Reader<'_>) -> Option<bool> {
    let word_end = reader.at;
    reader.skip(in_gap, MAX_GAP_BYTES);
    if reader.at > word_end && reader.text.get(word_end..reader.at)?.contains(['\t']) {
        reader.at = word_end;
    }
    reader.skip(closes, 6);
    let here = reader.at;
    // <add key="Password" value="…"/>, {"name": "password", "value": "…"}, - name: PASSWORD / value: …
    reader.skip(|byte| blank_or_break(byte) || byte == b',', 40);
    reader.skip(opens, 1);
    if reader.take("value") {
        reader.skip(closes, 4);
        if reader.take("=") || reader.take(":") {
            reader.skip(blank, 8);
            return Some(true);
        }
    }
    reader.at = here;
    let sign = OPERATORS.iter().find(|sign| reader.take(sign))?;
    if *sign == ":" {
        annotation(reader);
    }
    reader.skip(blank, 16);
    // set("token", || x), key, := x
    if *sign == "," && OPERATORS.iter().any(|sign| reader.take(sign)) {
        reader.skip(blank, 16);
    }
    Some(*sign == ">")
}

/// Passes the type in `name: type = value`.
fn annotation(reader: &mut Reader<'_>) {
    let here = reader.at;
    reader.skip(blank, 4);
    let length = reader.skip(|byte| in_name(byte) || b"<>[]|?&: ".contains(&byte), 48);
    if length == 0 || reader.byte(0) != b'=' || b"=>".contains(&reader.byte(1)) {
        reader.at = here;
        return;
    }
    reader.at += 1;
}

/// Reads the value that starts here.
fn value<'t>(mut reader: Reader<'t>, name: &'t str, setting: bool) -> Option<Assignment<'t>> {
    reader.take("\\");
    // r"…", b'…', @"…"
    if let Some(letters) = (1..3).find(|n| opens(reader.byte(*n)))
        && (0..letters).all(|n| b"fbruFBRUL@".contains(&reader.byte(n)))
    {
        reader.at += letters;
    }
    let quote = reader.byte(0);
    if !opens(quote) {
        return bare(reader, name, setting);
    }
    reader.skip(opens, 3);
    let start = reader.at;
    let rest = reader.bytes.get(start..)?;
    let length = rest.iter().take(MAX_VALUE_BYTES).position(|b| *b == quote || *b == b'\n' || *b == b'\r');
    let mut end = start + length.unwrap_or(rest.len().min(MAX_VALUE_BYTES));
    while end > start && !reader.text.is_char_boundary(end) {
        end -= 1;
    }
    if reader.bytes.get(end - 1) == Some(&b'\\') && end > start {
        end -= 1;
    }
    let next = reader.bytes.get(end).copied().unwrap_or_default();
    let style = if setting { Style::Setting } else { Style::Quoted };
    // A connection string between quotes is read name by name, not as one value.
    let inner = reader.text.get(start..end)?;
    let pairs = inner.contains(';') && inner.contains('=');
    let end = if pairs { start + inner.find(';').unwrap_or(inner.len()) } else { end };
    Some(Assignment { name, start, end, style, next })
}

fn bare<'t>(reader: Reader<'t>, name: &'t str, setting: bool) -> Option<Assignment<'t>> {
    let start = reader.at;
    let rest = reader.bytes.get(start..)?;
    let most = rest.len().min(MAX_VALUE_BYTES);
    let mut end = start + rest.iter().take(most).position(|byte| ends_bare(*byte)).unwrap_or(most);
    while end > start && (!reader.text.is_char_boundary(end) || reader.bytes.get(end - 1) == Some(&b'.')) {
        end -= 1;
    }
    let next = reader.bytes.get(end).copied().unwrap_or_default();
    let style = if setting || next == b';' && name_in_pairs(reader.bytes, start) {
        Style::Setting
    } else {
        Style::Bare
    };
    // A call, an index or a path into an object: code, not a value.
    let code = matches!(next, b'(' | b'[') || (next == b'{' && style == Style::Bare);
    (end > start && !code).then_some(Assignment { name, start, end, style, next })
}

/// Whether `at` is in a line of `name=value;` pairs.
fn name_in_pairs(bytes: &[u8], at: usize) -> bool {
    let line = bytes.get(..at).unwrap_or_default().iter().rev().take(400).take_while(|byte| **byte != b'\n');
    line.filter(|byte| **byte == b';').count() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_at<'t>(text: &'t str, word: &str) -> Option<(&'t str, &'t str, Style)> {
        let at = text.to_ascii_lowercase().find(word).unwrap();
        read(text, at, at + word.len()).map(|a| (a.name, &text[a.start..a.end], a.style))
    }

    #[test]
    fn every_way_to_write_a_value_is_read() {
        for (text, expected) in [
            ("password = \"a b\"", ("password", "a b", Style::Quoted)),
            ("\"my_password\": \"x1\",", ("my_password", "x1", Style::Quoted)),
            ("DB_PASSWORD=abc def", ("DB_PASSWORD", "abc", Style::Bare)),
            ("run --password abc", ("--password", "abc", Style::Setting)),
            ("<add key=\"password\" value=\"x y\"/>", ("password", "x y", Style::Setting)),
            ("{\"name\": \"password\", \"value\": \"z\"}", ("password", "z", Style::Setting)),
            ("- name: password\n  value: q7", ("password", "q7", Style::Setting)),
            ("<password>pw1</password>", ("password", "pw1", Style::Setting)),
            ("Server=a;User=b;password=p@ss;Max=1", ("password", "p@ss", Style::Setting)),
            ("const password: string = 'k1';", ("password", "k1", Style::Quoted)),
            ("secret_password => 'p'", ("secret_password", "p", Style::Quoted)),
            ("{\\\"password\\\": \\\"q1\\\"}", ("password", "q1", Style::Quoted)),
            ("password=rubble1", ("password", "rubble1", Style::Bare)),
        ] {
            assert_eq!(read_at(text, "password"), Some(expected), "{text}");
        }
    }

    #[test]
    fn calls_and_prose_are_no_assignments() {
        for text in
            ["password = read(x)", "the password of it", "password", "password = parts[1]", "password:"]
        {
            assert!(read_at(text, "password").is_none(), "{text}");
        }
    }
}
