//! Changes to the text of a file that leave everything else as it was, byte for byte.
//!
//! The model sees and writes text with LF; the file keeps its own line endings, byte-order mark
//! and the lack or presence of a last newline (LESSONS 2-4).

use super::{Fault, words};

/// Most replacements in one file of one push.
pub(super) const MAX_EDITS: usize = 50;
const BOM: &str = "\u{feff}";

/// Applies replacements in order. Each old text must be found exactly once.
pub(super) fn apply(path: &str, original: &str, edits: &[(String, String)]) -> Result<String, Fault> {
    if edits.is_empty() || edits.len() > MAX_EDITS {
        return Err(words(
            format!("{path}: give 1 to {MAX_EDITS} edits."),
            "Give the old text and the new text of each change.",
        ));
    }
    let mut text = original.to_owned();
    for (old, new) in edits {
        text = replace(path, &text, old, new)?;
    }
    if text == original {
        return Err(words(format!("{path}: the edits change nothing."), "Give a new text that differs."));
    }
    Ok(text)
}

/// A whole new text in the form of the old one: its line endings where they are all CRLF, its
/// byte-order mark.
pub(super) fn rewrite(original: &str, content: &str) -> String {
    let plain = content.strip_prefix(BOM).unwrap_or(content).replace("\r\n", "\n");
    let all_crlf =
        original.contains("\r\n") && original.matches('\n').count() == original.matches("\r\n").count();
    let text = if all_crlf { plain.replace('\n', "\r\n") } else { plain };
    if original.starts_with(BOM) { format!("{BOM}{text}") } else { text }
}

fn replace(path: &str, text: &str, old: &str, new: &str) -> Result<String, Fault> {
    let old = old.strip_prefix(BOM).unwrap_or(old).replace("\r\n", "\n");
    let new = new.strip_prefix(BOM).unwrap_or(new).replace("\r\n", "\n");
    if old.is_empty() {
        return Err(words(format!("{path}: an old_text is empty."), "Give the text that is to be replaced."));
    }
    let (plain, offsets) = normalise(text);
    let mut found = plain.match_indices(&old).map(|(at, _)| at);
    let Some(at) = found.next() else { return Err(not_found(path, &plain, &old)) };
    if let Some(second) = found.next() {
        let lines = [at, second].map(|at| 1 + plain[..at].matches('\n').count());
        return Err(words(
            format!("{path}: the old text stands more than once, at lines {} and {}.", lines[0], lines[1]),
            "Give more of the lines around it, so that it is found once.",
        ));
    }
    let (start, end) = (offsets.original(at), offsets.original(at + old.len()));
    let replaced = &text[start..end];
    let ending = ending_at(text, start, replaced);
    let new = if ending == "\r\n" { new.replace('\n', "\r\n") } else { new };
    Ok([&text[..start], &new, &text[end..]].concat())
}

/// Where each position of the LF text lies in the original.
struct Offsets {
    /// Positions, in the LF text, of line feeds that were CRLF.
    pairs: Vec<usize>,
}

impl Offsets {
    fn original(&self, at: usize) -> usize {
        at + self.pairs.partition_point(|pair| *pair < at)
    }
}

fn normalise(text: &str) -> (String, Offsets) {
    let mut plain = String::with_capacity(text.len());
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("\r\n") {
        plain.push_str(&rest[..at]);
        pairs.push(plain.len());
        plain.push('\n');
        rest = &rest[at + 2..];
    }
    plain.push_str(rest);
    (plain, Offsets { pairs })
}

/// The line ending in force at a place: the replaced text's own, else the next one after it, else
/// the last one before it.
fn ending_at(text: &str, start: usize, replaced: &str) -> &'static str {
    let kind = |text: &str, at: usize| if text[..at].ends_with('\r') { "\r\n" } else { "\n" };
    if let Some(at) = replaced.find('\n') {
        return kind(replaced, at);
    }
    let after = start + replaced.len();
    if let Some(at) = text[after..].find('\n') {
        return kind(text, after + at);
    }
    text[..start].rfind('\n').map_or("\n", |at| kind(text, at))
}

fn not_found(path: &str, plain: &str, old: &str) -> Fault {
    let remedy = match nearest(plain, old) {
        Some((line, text)) => {
            format!("The nearest line is {line}: `{text}`. Copy the old text exactly from the file.")
        }
        None => "Read the file again and copy the old text exactly.".to_owned(),
    };
    words(format!("{path}: the old text is not in the file."), remedy)
}

/// The line of `plain` that is most like the first line of `text`, where one is like it.
pub(super) fn nearest(plain: &str, text: &str) -> Option<(usize, String)> {
    let wanted = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let score = |line: &str| similar::TextDiff::from_chars(line.trim(), wanted).ratio();
    plain
        .lines()
        .take(20_000)
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| (i, line, if line.trim() == wanted { 1.0 } else { quick(line, wanted, &score) }))
        .max_by(|a, b| a.2.total_cmp(&b.2))
        .filter(|(_, _, score)| *score > 0.5)
        .map(|(i, line, _)| (i + 1, line.chars().take(200).collect::<String>().trim().to_owned()))
}

/// Skips the costly comparison of lines that cannot be near.
fn quick(line: &str, wanted: &str, score: &impl Fn(&str) -> f32) -> f32 {
    let (a, b) = (line.trim().len().max(1), wanted.len().max(1));
    if a > 500 || b > 500 || a.max(b) > 2 * a.min(b) { 0.0 } else { score(line) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str, old: &str, new: &str) -> Result<String, Fault> {
        apply("/f", text, &[(old.into(), new.into())])
    }

    #[test]
    fn line_endings_and_mark_stay_as_they_were() {
        let crlf = "\u{feff}a\r\nb\r\nc";
        assert_eq!(one(crlf, "b\nc", "x\ny\nz").unwrap(), "\u{feff}a\r\nx\r\ny\r\nz");
        let mixed = "a\nb\r\nc\n";
        assert_eq!(one(mixed, "b", "b1\nb2").unwrap(), "a\nb1\r\nb2\r\nc\n");
        assert_eq!(one(mixed, "c", "c1\nc2").unwrap(), "a\nb\r\nc1\nc2\n");
        assert_eq!(one("last", "last", "l1\nl2").unwrap(), "l1\nl2");
    }

    #[test]
    fn an_old_text_must_be_there_once() {
        let twice = one("x = 1\ny\nx = 1\n", "x = 1", "x = 2").unwrap_err();
        assert!(twice.to_string().contains("lines 1 and 3"), "{twice}");
        let Fault::Words { remedy, .. } =
            one("const timeout = 30;\n", "const timeout = 3;", "x").unwrap_err()
        else {
            panic!("words were expected")
        };
        assert!(remedy.contains("line is 1: `const timeout = 30;`"), "{remedy}");
        assert!(one("a", "", "b").is_err());
        assert!(one("a", "a", "a").is_err());
    }

    proptest! {
        #[test]
        fn bytes_outside_the_edit_never_change(
            before in "[a-c\r\n\u{e9}]{0,40}", after in "[a-c\r\n\u{e9}]{0,40}", new in "[x\n]{1,10}"
        ) {
            // A text that stands next to a lone CR must not be joined to it.
            let text = format!("{before}|OLD|{after}");
            let edited = one(&text, "|OLD|", &format!("|{new}|")).unwrap();
            let head = format!("{before}|");
            let tail = format!("|{after}");
            prop_assert!(edited.starts_with(&head) && edited.ends_with(&tail));
        }
    }
}
