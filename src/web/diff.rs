//! A unified diff, taken apart for display.

use super::text::{cut, visible};

/// Most lines that are shown.
const MAX_LINES: usize = 1_500;
/// Longest line that is shown, in characters.
const MAX_LINE_CHARS: usize = 500;

/// A diff, file by file.
#[derive(Clone, Debug, Default)]
pub(super) struct Diff {
    pub(super) files: Vec<File>,
    pub(super) added: usize,
    pub(super) removed: usize,
    /// Lines that are not shown.
    pub(super) hidden: usize,
}

/// The changes of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) lines: Vec<Line>,
}

/// One line of a diff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// `add`, `del`, `ctx`, `hunk` or `note`; also the style's name.
    pub(super) class: &'static str,
    /// Line number in the file after the change; before it, for a removed line.
    pub(super) number: String,
    pub(super) text: String,
}

/// Where the reader of a diff stands.
#[derive(Default)]
struct Hunk {
    old: u32,
    new: u32,
    old_left: u32,
    new_left: u32,
}

impl Diff {
    /// Takes `text` apart. What is not a diff is shown as it is.
    pub(super) fn parse(text: &str) -> Self {
        let (mut diff, mut hunk, mut shown) = (Self::default(), Hunk::default(), 0);
        for line in text.lines() {
            let inside = hunk.old_left > 0 || hunk.new_left > 0;
            if !inside && let Some(name) = line.strip_prefix("--- ") {
                diff.files.push(File { name: path(name), lines: Vec::new() });
                continue;
            }
            if !inside && let Some(name) = line.strip_prefix("+++ ") {
                if let Some(file) = diff.files.last_mut().filter(|_| path(name) != "/dev/null") {
                    file.name = path(name);
                }
                continue;
            }
            if !inside && (line.starts_with("diff ") || line.starts_with("index ")) {
                continue;
            }
            let line = hunk.take(line, inside);
            match line.class {
                "add" => diff.added += 1,
                "del" => diff.removed += 1,
                _ => {}
            }
            if shown == MAX_LINES {
                diff.hidden += 1;
                continue;
            }
            shown += 1;
            if diff.files.is_empty() {
                diff.files.push(File::default());
            }
            if let Some(file) = diff.files.last_mut() {
                file.lines.push(line);
            }
        }
        diff
    }
}

impl Hunk {
    fn take(&mut self, text: &str, inside: bool) -> Line {
        if !inside && let Some(hunk) = Self::header(text) {
            *self = hunk;
            return line("hunk", None, text);
        }
        if !inside {
            return line("note", None, text);
        }
        match text.as_bytes().first() {
            Some(b'+') => line("add", Some(step(&mut self.new, &mut self.new_left)), text),
            Some(b'-') => line("del", Some(step(&mut self.old, &mut self.old_left)), text),
            Some(b'\\') => line("note", None, text),
            _ => {
                step(&mut self.old, &mut self.old_left);
                line("ctx", Some(step(&mut self.new, &mut self.new_left)), text)
            }
        }
    }

    /// Reads `@@ -12,3 +12,4 @@`.
    fn header(text: &str) -> Option<Self> {
        let (old, rest) = text.strip_prefix("@@ -")?.split_once(" +")?;
        let (new, _) = rest.split_once(" @@")?;
        let range = |range: &str| -> Option<(u32, u32)> {
            let (start, length) = range.split_once(',').unwrap_or((range, "1"));
            Some((start.parse().ok()?, length.parse().ok()?))
        };
        let ((old, old_left), (new, new_left)) = (range(old)?, range(new)?);
        Some(Self { old, new, old_left, new_left })
    }
}

fn step(number: &mut u32, left: &mut u32) -> u32 {
    let this = *number;
    *number = number.saturating_add(1);
    *left = left.saturating_sub(1);
    this
}

fn line(class: &'static str, number: Option<u32>, text: &str) -> Line {
    let text = visible(text);
    let short = cut(&text, MAX_LINE_CHARS).map(|start| format!("{start}…"));
    let number = number.map(|n| n.to_string()).unwrap_or_default();
    Line { class, number, text: short.unwrap_or_else(|| text.into_owned()) }
}

fn path(name: &str) -> String {
    let name = name.split('\t').next().unwrap_or(name);
    name.strip_prefix("a/").or_else(|| name.strip_prefix("b/")).unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_diff_is_told_apart_also_where_lines_look_like_headers() {
        let text = "--- a/src/x.sql\n+++ b/src/x.sql\n@@ -7,3 +7,3 @@ fn\n a\n--- old\n+++ new\n b\n--- a/y\n+++ /dev/null\n@@ -1 +0,0 @@\n-z\n";
        let diff = Diff::parse(text);
        assert_eq!((diff.files.len(), diff.added, diff.removed), (2, 1, 2));
        let kinds: Vec<_> = diff.files[0].lines.iter().map(|l| (l.class, l.number.as_str())).collect();
        assert_eq!(kinds, [("hunk", ""), ("ctx", "7"), ("del", "8"), ("add", "8"), ("ctx", "9")]);
        let hidden = Diff::parse("--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+if admin\u{202e} {\n");
        assert_eq!(hidden.files[0].lines[1].text, "+if admin⟨U+202E⟩ {");
        assert_eq!((diff.files[0].name.as_str(), diff.files[1].name.as_str()), ("src/x.sql", "y"));
    }

    #[test]
    fn a_long_diff_says_what_it_hides() {
        let text = format!("--- a/x\n+++ b/x\n@@ -0,0 +1,2000 @@\n{}", "+line\n".repeat(2_000));
        let diff = Diff::parse(&text);
        assert_eq!((diff.added, diff.hidden), (2_000, 2_001 - MAX_LINES));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "([-+ @\\\\]|@@ -1,2 \\+[0-9]{1,12} @@|\n|é|\\PC){0,80}") {
            Diff::parse(&text);
        }
    }
}
