//! Copies of a text in which disguises are undone, with the way back to the original.
//!
//! A secret may be written with full-width letters, with invisible characters inside, over two
//! lines, or percent-encoded. Rules read the copy; what they find is mapped back, so that the
//! original bytes are hidden, disguise and all.

use icu_normalizer::ComposingNormalizerBorrowed;

/// Longest stretch, in bytes, that is looked at for one joint of two lines or two literals.
const MAX_JOINT_BYTES: usize = 200;

/// A changed copy of a text.
pub(super) struct Shadow {
    pub text: String,
    pieces: Vec<Piece>,
    /// Offsets in `text` where something between two neighbours was left out.
    pub joints: Vec<usize>,
}

/// A stretch of the copy and where it comes from.
struct Piece {
    at: usize,
    len: usize,
    from: usize,
    source: usize,
    exact: bool,
}

impl Shadow {
    fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), pieces: Vec::new(), joints: Vec::new() }
    }

    /// Copies `piece`, which stands at `from` in the source.
    fn copy(&mut self, piece: &str, from: usize) {
        if piece.is_empty() {
            return;
        }
        let at = self.text.len();
        self.text.push_str(piece);
        if let Some(last) = self.pieces.last_mut()
            && last.exact
            && last.from + last.source == from
        {
            last.len += piece.len();
            last.source += piece.len();
            return;
        }
        self.pieces.push(Piece { at, len: piece.len(), from, source: piece.len(), exact: true });
    }

    /// Writes `piece` for `source` bytes at `from`.
    fn swap(&mut self, piece: &str, from: usize, source: usize) {
        let at = self.text.len();
        self.text.push_str(piece);
        if !piece.is_empty() {
            self.pieces.push(Piece { at, len: piece.len(), from, source, exact: false });
        }
    }

    fn joint(&mut self) {
        self.joints.push(self.text.len());
    }

    /// Whether something was left out inside of `start..end` of the copy.
    pub fn crosses_joint(&self, start: usize, end: usize) -> bool {
        let first = self.joints.partition_point(|joint| *joint <= start);
        self.joints.get(first).is_some_and(|joint| *joint < end)
    }

    /// The bytes of the source that `start..end` of the copy stands for.
    pub fn origin(&self, start: usize, end: usize) -> (usize, usize) {
        if start >= end {
            return (0, 0);
        }
        let piece = |offset: usize| {
            let after = self.pieces.partition_point(|piece| piece.at <= offset);
            self.pieces.get(after.saturating_sub(1))
        };
        let from = piece(start).map_or(0, |p| if p.exact { p.from + (start - p.at) } else { p.from });
        let to =
            piece(end - 1).map_or(0, |p| if p.exact { p.from + (end - p.at) } else { p.from + p.source });
        (from, to)
    }
}

/// Whether `c` is shown as nothing, so that it can hide in the middle of a word.
pub(super) fn invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFFB}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// The copy without invisible characters, with compatible forms of letters folded to the plain
/// ones, continued lines joined, and `\u0041` and `&#65;` read. None when nothing would change.
pub(super) fn normalised(text: &str) -> Option<Shadow> {
    let has = |byte: u8| text.as_bytes().contains(&byte);
    let marks = |marks: &[&str]| marks.iter().any(|mark| text.contains(mark));
    let odd = !text.is_ascii()
        || has(0)
        || (has(b'\\') && marks(&["\\u00", "\\\n", "\\\r\n"]))
        || (has(b'&') && marks(&["&#"]));
    if !odd {
        return None;
    }
    let fold = ComposingNormalizerBorrowed::new_nfkc();
    let mut shadow = Shadow::with_capacity(text.len());
    let mut buffer = [0; 4];
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let width = c.len_utf8();
        let rest = text.get(at..).unwrap_or_default();
        if c == '\0' || invisible(c) {
            at += width;
        } else if let Some((plain, taken)) = escape(rest) {
            if let Some(plain) = plain {
                shadow.swap(plain.encode_utf8(&mut buffer), at, taken);
            }
            at += taken;
        } else if c.is_ascii() {
            shadow.copy(c.encode_utf8(&mut buffer), at);
            at += width;
        } else {
            let plain = fold.normalize(c.encode_utf8(&mut buffer)).into_owned();
            if rest.starts_with(&plain) {
                shadow.copy(&plain, at);
            } else {
                shadow.swap(&plain, at, width);
            }
            at += width;
        }
    }
    Some(shadow)
}

/// What an escape at the start of `rest` stands for, and its length; no character where it only
/// continues a line.
fn escape(rest: &str) -> Option<(Option<char>, usize)> {
    if let Some(after) = rest.strip_prefix('\\') {
        if after.starts_with('\n') {
            return Some((None, 2));
        }
        if after.starts_with("\r\n") {
            return Some((None, 3));
        }
        let digits = after.strip_prefix("u00")?.get(..2)?;
        let byte = u8::from_str_radix(digits, 16).ok().filter(|byte| (0x20..0x7f).contains(byte))?;
        return Some((Some(char::from(byte)), 6));
    }
    let after = rest.strip_prefix("&#")?;
    let end = after.bytes().take(6).position(|byte| byte == b';')?;
    let body = after.get(..end)?;
    let number = match body.strip_prefix(['x', 'X']) {
        Some(digits) => u8::from_str_radix(digits, 16).ok()?,
        None => body.parse().ok()?,
    };
    (0x20..0x7f).contains(&number).then(|| (Some(char::from(number)), end + 3))
}

/// The copy with percent-encoding read. None when there is none.
pub(super) fn percent_decoded(text: &str) -> Option<Shadow> {
    let bytes = text.as_bytes();
    let code = |at: usize| -> Option<u8> {
        let digits = bytes.get(at + 1..at + 3)?;
        if bytes.get(at) != Some(&b'%') || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|b| (0x20..0x7f).contains(b))
    };
    let first = text.match_indices('%').find(|(at, _)| code(*at).is_some())?.0;
    let mut shadow = Shadow::with_capacity(text.len());
    shadow.copy(text.get(..first)?, 0);
    let mut at = first;
    let mut buffer = [0; 4];
    while at < text.len() {
        if let Some(byte) = code(at) {
            shadow.swap(char::from(byte).encode_utf8(&mut buffer), at, 3);
            at += 3;
            continue;
        }
        let next = text.get(at + 1..).and_then(|rest| rest.find('%')).map_or(text.len(), |n| at + 1 + n);
        shadow.copy(text.get(at..next).unwrap_or_default(), at);
        at = next;
    }
    Some(shadow)
}

/// The copy with line breaks, indentation, time stamps of build logs, and joints of string
/// literals left out. None when there is nothing to join.
pub(super) fn joined(text: &str) -> Option<Shadow> {
    let bytes = text.as_bytes();
    let mut at = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r' | b'"' | b'\''))?;
    let mut shadow = Shadow::with_capacity(text.len());
    let mut from = 0;
    while at < bytes.len() {
        let joint = match bytes.get(at) {
            Some(b'\n' | b'\r') => Some((trailing(bytes, from, at), leading(bytes, at))),
            Some(b'"' | b'\'') => literal_joint(bytes, at).map(|end| (at, end)),
            _ => None,
        };
        let Some((stop, next)) = joint else {
            at += 1;
            continue;
        };
        shadow.copy(text.get(from..stop).unwrap_or_default(), from);
        shadow.joint();
        at = next;
        from = next;
    }
    if shadow.joints.is_empty() {
        return None;
    }
    shadow.copy(text.get(from..).unwrap_or_default(), from);
    Some(shadow)
}

/// Where the words of a line end, before blanks at its end.
fn trailing(bytes: &[u8], from: usize, line_end: usize) -> usize {
    let line = bytes.get(from..line_end).unwrap_or_default();
    from + line.iter().rposition(|b| !matches!(b, b' ' | b'\t' | b'\\' | b'^')).map_or(0, |last| last + 1)
}

/// Where the words of the next line begin.
fn leading(bytes: &[u8], line_end: usize) -> usize {
    let blank = |mut at: usize| {
        while matches!(bytes.get(at), Some(b'\n' | b'\r' | b' ' | b'\t')) {
            at += 1;
        }
        at
    };
    let at = blank(line_end);
    // 2026-11-21T22:41:03.1234567Z
    let stamp = bytes.get(at..).unwrap_or_default();
    let looks = stamp.get(4) == Some(&b'-') && stamp.get(10) == Some(&b'T');
    let length = stamp.iter().take(32).take_while(|b| b.is_ascii_digit() || b"-:.TZ".contains(b)).count();
    if looks && length >= 20 { blank(at + length) } else { at }
}

/// The end of `" + "` and its relatives, when one stands at `at`.
fn literal_joint(bytes: &[u8], at: usize) -> Option<usize> {
    let quote = *bytes.get(at)?;
    let between = bytes.get(at + 1..)?.iter().take(MAX_JOINT_BYTES);
    let mut operators = 0;
    for (offset, byte) in between.enumerate() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'+' | b'.' | b'&' | b'\\' => operators += 1,
            byte if *byte == quote => return (offset > 0 && operators <= 2).then_some(at + offset + 2),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back<'t>(text: &'t str, shadow: &Shadow, needle: &str) -> &'t str {
        let at = shadow.text.find(needle).unwrap();
        let (start, end) = shadow.origin(at, at + needle.len());
        &text[start..end]
    }

    #[test]
    fn plain_text_needs_no_copy() {
        assert!(normalised("let a = 1;\n").is_none());
        assert!(percent_decoded("100 % sure").is_none());
        assert!(joined("one line").is_none());
    }

    #[test]
    fn disguises_are_undone_and_lead_back() {
        let text = "é key ＡＢ\u{200B}C\u{E0041}d \\u0041&#66; end";
        let shadow = normalised(text).unwrap();
        assert!(shadow.text.contains("ABCd AB end"), "{}", shadow.text);
        assert_eq!(back(text, &shadow, "ABCd"), "ＡＢ\u{200B}C\u{E0041}d");
        assert_eq!(back(text, &shadow, "AB end"), "\\u0041&#66; end");
        assert_eq!(back(text, &shadow, "é key"), "é key");
    }

    #[test]
    fn percent_codes_are_read() {
        let text = "a%20b%3Dc%zz%";
        let shadow = percent_decoded(text).unwrap();
        assert_eq!(shadow.text, "a b=c%zz%");
        assert_eq!(back(text, &shadow, "b=c"), "b%3Dc");
    }

    #[test]
    fn lines_and_literals_are_joined() {
        let text =
            "2026-11-21T22:41:03.1234567Z abc  \n2026-11-21T22:41:03.1234567Z   def\nx = \"gh\" +\n  \"i\"";
        let shadow = joined(text).unwrap();
        assert!(shadow.text.ends_with("abcdefx = \"ghi\""), "{}", shadow.text);
        let at = shadow.text.find("ghi").unwrap();
        assert!(shadow.crosses_joint(at, at + 3));
        assert!(!shadow.crosses_joint(at, at + 2));
        assert_eq!(back(text, &shadow, "ghi"), "gh\" +\n  \"i");
    }
}
