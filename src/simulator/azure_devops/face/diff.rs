//! Two versions of a file as lines for reading: what stayed, went and came, near each change.

use std::fmt::Write as _;

use similar::{ChangeTag, TextDiff};

use super::super::git::diff::{Change, Kind};
use super::super::git::store::Store;
use super::super::refusal::Refusal;

/// Unchanged lines shown around a change.
const CONTEXT: usize = 4;
/// Largest file shown, in bytes.
pub const MAX_BYTES: usize = 512 * 1024;
/// Most lines shown of one file's diff.
const MAX_ROWS: usize = 3_000;
/// Most files of one diff.
const MAX_FILES: usize = 200;

/// One changed file.
#[derive(Debug, Default)]
pub struct FileDiff {
    /// Path with a leading slash.
    pub path: String,
    /// `added`, `edited`, `deleted`, `renamed`.
    pub verb: &'static str,
    /// Where it was before, when it moved.
    pub moved_from: Option<String>,
    /// Lines that came.
    pub added: usize,
    /// Lines that went.
    pub removed: usize,
    /// The lines.
    pub rows: Vec<Row>,
    /// Why no lines are shown.
    pub note: Option<&'static str>,
}

/// One line.
#[derive(Debug, Default, Clone)]
pub struct Row {
    /// `same`, `gone`, `new`, `gap`.
    pub kind: &'static str,
    /// Number before; 0 for none.
    pub old: usize,
    /// Number after; 0 for none.
    pub new: usize,
    /// The line as safe HTML, with the changed words marked.
    pub html: String,
}

impl Row {
    /// The side a comment on this line belongs to.
    pub fn side(&self) -> &'static str {
        if self.new == 0 { "left" } else { "right" }
    }

    /// The line number on that side.
    pub fn line(&self) -> usize {
        if self.new == 0 { self.old } else { self.new }
    }

    /// The sign in front.
    pub fn sign(&self) -> &'static str {
        match self.kind {
            "new" => "+",
            "gone" => "−",
            _ => " ",
        }
    }
}

/// The files that differ between two commits.
///
/// # Errors
/// When a commit or object cannot be read.
pub fn between(store: &Store, from: Option<&str>, to: &str) -> Result<Vec<FileDiff>, Refusal> {
    store.changes(from, to)?.iter().take(MAX_FILES).map(|change| file(store, change)).collect()
}

fn file(store: &Store, change: &Change) -> Result<FileDiff, Refusal> {
    let verb = match change.kind {
        Kind::Add => "added",
        Kind::Edit => "edited",
        Kind::Delete => "deleted",
        Kind::Rename | Kind::EditRename => "renamed",
    };
    let (path, moved_from) = (change.path.clone(), change.original_path.clone());
    let mut diff = FileDiff { path, verb, moved_from, ..FileDiff::default() };
    let read = |sha: &Option<String>| sha.as_ref().map_or(Ok(Vec::new()), |sha| store.blob(sha));
    let (old, new) = (read(&change.original_sha)?, read(&change.sha)?);
    match (readable(&old), readable(&new)) {
        (Some(old), Some(new)) => compare(&mut diff, &old, &new),
        _ if old.len().max(new.len()) > MAX_BYTES => diff.note = Some("This file is too large to show."),
        _ => diff.note = Some("This file is not text."),
    }
    Ok(diff)
}

/// The file as text, without its byte-order mark; nothing when it is not text or too large.
pub fn readable(bytes: &[u8]) -> Option<String> {
    let text =
        (bytes.len() <= MAX_BYTES && !bytes.contains(&0)).then(|| std::str::from_utf8(bytes).ok())??;
    Some(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())
}

fn compare(diff: &mut FileDiff, old: &str, new: &str) {
    let compared = TextDiff::from_lines(old, new);
    for (at, group) in compared.grouped_ops(CONTEXT).iter().enumerate() {
        if at > 0 {
            diff.rows.push(Row { kind: "gap", ..Row::default() });
        }
        for change in group.iter().flat_map(|op| compared.iter_inline_changes(op)) {
            let kind = match change.tag() {
                ChangeTag::Equal => "same",
                ChangeTag::Delete => "gone",
                ChangeTag::Insert => "new",
            };
            diff.added += usize::from(kind == "new");
            diff.removed += usize::from(kind == "gone");
            if diff.rows.len() >= MAX_ROWS {
                diff.note = Some("Only the first lines of this change are shown.");
                continue;
            }
            let number = |index: Option<usize>| index.map_or(0, |index| index + 1);
            let html =
                marked(change.iter_strings_lossy().map(|(marked, words)| (marked, words.into_owned())));
            diff.rows.push(Row {
                kind,
                old: number(change.old_index()),
                new: number(change.new_index()),
                html,
            });
        }
    }
}

fn marked(pieces: impl Iterator<Item = (bool, String)>) -> String {
    let mut html = String::new();
    for (is_marked, words) in pieces {
        let words = escape(words.trim_end_matches(['\r', '\n']));
        // Writing into a String does not fail.
        let _ = if is_marked && !words.is_empty() {
            write!(html, "<mark>{words}</mark>")
        } else {
            write!(html, "{words}")
        };
    }
    html
}

/// Text as HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_numbers_and_changed_words_are_marked() {
        let mut diff = FileDiff::default();
        compare(&mut diff, "a\nlet timeout = 1;\nc\n", "a\nlet timeout = <2>;\nc\nd\n");
        let kinds: Vec<_> = diff.rows.iter().map(|row| (row.kind, row.old, row.new)).collect();
        assert_eq!(kinds, [("same", 1, 1), ("gone", 2, 0), ("new", 0, 2), ("same", 3, 3), ("new", 0, 4)]);
        assert_eq!((diff.added, diff.removed), (2, 1));
        assert!(
            diff.rows[2].html.contains("&lt;2&gt;") && diff.rows[2].html.contains("<mark>"),
            "{}",
            diff.rows[2].html
        );
        assert_eq!((diff.rows[1].side(), diff.rows[1].line()), ("left", 2));
    }

    #[test]
    fn only_text_is_readable() {
        assert_eq!(readable(b"\xef\xbb\xbfa").as_deref(), Some("a"));
        assert_eq!(readable(b"a\0b"), None);
        assert_eq!(readable(b"\xff"), None);
    }
}
