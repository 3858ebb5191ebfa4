//! The small honest build engine: checks that read the pushed files.
//!
//! A check never claims more than it looked at: it runs no code, it reads text.

use globset::Glob;
use serde::{Deserialize, Serialize};

use crate::simulator::azure_devops::wire_enum::wire_enum;

/// Problems told of one check.
const PROBLEMS: usize = 50;

wire_enum! {
    /// What a check asks of a file.
    CheckKind {
        Exists = 1 "exists", Contains = 2 "contains", NotContains = 3 "notContains", Json = 4 "json",
        Brackets = 5 "brackets",
    }
}

/// A check.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The step it belongs to, `Compile`.
    pub step: String,
    /// What it checks, in words; the name of the test case.
    pub name: String,
    /// Kind.
    pub kind: CheckKind,
    /// Which files, as a glob without a leading slash.
    pub files: String,
    /// The text that must or must not be there.
    #[serde(default)]
    pub text: String,
}

/// Something wrong in a file.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Problem {
    /// Path without a leading slash; empty when it is about no file.
    pub path: String,
    /// Line from 1; 0 when it is about no line.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// How a check went.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Finding {
    /// Its name.
    pub name: String,
    /// Files it looked at.
    pub files: usize,
    /// What it found; empty when all is well.
    pub problems: Vec<Problem>,
}

impl Check {
    /// A check from its parts.
    pub fn new(step: &str, name: &str, kind: CheckKind, files: &str, text: &str) -> Self {
        Self { step: step.into(), name: name.into(), kind, files: files.into(), text: text.into() }
    }

    /// Whether the glob can be used.
    pub fn is_valid(&self) -> bool {
        Glob::new(&self.files).is_ok()
    }

    /// Looks at the files: path without a leading slash, content.
    pub fn run(&self, files: &[(String, Vec<u8>)]) -> Finding {
        let mut finding = Finding { name: self.name.clone(), files: 0, problems: Vec::new() };
        let Ok(glob) = Glob::new(&self.files) else {
            let message = format!("{} is not a pattern", self.files);
            finding.problems.push(Problem { path: String::new(), line: 0, message });
            return finding;
        };
        let glob = glob.compile_matcher();
        for (path, content) in files.iter().filter(|(path, _)| glob.is_match(path)) {
            finding.files += 1;
            let text = String::from_utf8_lossy(content);
            if let Some((line, message)) = self.problem(&text)
                && finding.problems.len() < PROBLEMS
            {
                finding.problems.push(Problem { path: path.clone(), line, message });
            }
        }
        if finding.files == 0 && matches!(self.kind, CheckKind::Exists | CheckKind::Contains) {
            let message = format!("no file matches {}", self.files);
            finding.problems.push(Problem { path: String::new(), line: 0, message });
        }
        finding
    }

    fn problem(&self, text: &str) -> Option<(usize, String)> {
        match self.kind {
            CheckKind::Exists => None,
            CheckKind::Contains if text.contains(&self.text) => None,
            CheckKind::Contains => Some((1, format!("'{}' is missing", self.text))),
            CheckKind::NotContains => {
                let line = text.lines().position(|l| l.contains(&self.text))?;
                Some((line + 1, format!("'{}' must not be here", self.text.trim())))
            }
            CheckKind::Json => {
                let text = text.strip_prefix('\u{feff}').unwrap_or(text);
                let error = serde_json::from_str::<serde_json::Value>(text).err()?;
                Some((error.line(), format!("not valid JSON: {error}")))
            }
            CheckKind::Brackets => unbalanced(text),
        }
    }
}

/// The first bracket that does not fit, outside of strings and comments.
fn unbalanced(text: &str) -> Option<(usize, String)> {
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut line = 1;
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        match c {
            '\n' => line += 1,
            '\\' => {
                letters.next();
            }
            '/' if letters.peek() == Some(&'/') => while letters.next_if(|c| *c != '\n').is_some() {},
            '/' if letters.peek() == Some(&'*') => {
                let mut last = ' ';
                for c in letters.by_ref() {
                    line += usize::from(c == '\n');
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
            }
            '"' | '\'' => {
                // A text ends at its quote, or at the end of the line.
                while let Some(inner) = letters.next_if(|x| *x != '\n') {
                    if inner == '\\' {
                        letters.next_if(|x| *x != '\n');
                    } else if inner == c {
                        break;
                    }
                }
            }
            '`' => {
                // The text of a template: expressions inside are brackets again.
                if open.last().is_some_and(|(c, _)| *c == '`') {
                    open.pop();
                } else {
                    open.push(('`', line));
                    line += skip_template(&mut letters);
                }
            }
            '(' | '[' | '{' => open.push((c, line)),
            ')' | ']' | '}' => {
                let fits = match open.pop() {
                    Some(('(', _)) => c == ')',
                    Some(('[', _)) => c == ']',
                    Some(('{', _)) => c == '}',
                    _ => false,
                };
                if !fits {
                    return Some((line, format!("'{c}' closes nothing")));
                }
                if c == '}' && open.last().is_some_and(|(c, _)| *c == '`') {
                    line += skip_template(&mut letters);
                }
            }
            _ => {}
        }
    }
    open.pop().map(|(c, line)| (line, format!("'{c}' is never closed")))
}

/// Skips to the end of a template's text, or into its next expression; gives the lines passed.
fn skip_template(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> usize {
    let mut lines = 0;
    while let Some(c) = letters.peek() {
        match c {
            '`' => return lines,
            '$' => {
                letters.next();
                if letters.peek() == Some(&'{') {
                    return lines;
                }
            }
            '\\' => {
                letters.next();
                letters.next();
            }
            _ => {
                lines += usize::from(*c == '\n');
                letters.next();
            }
        }
    }
    lines
}

/// The checks of the demo's build definition.
pub fn web_shop() -> Vec<Check> {
    use CheckKind::{Brackets, Json, NotContains};
    vec![
        Check::new("Install", "package.json can be read", Json, "package.json", ""),
        Check::new("Compile", "Brackets of the sources fit", Brackets, "src/**/*.ts", ""),
        Check::new("Compile", "Brackets of the tests fit", Brackets, "test/**/*.ts", ""),
        Check::new("Compile", "No conflict markers", NotContains, "**/*.{ts,json,md,yml}", "<<<<<<< "),
        Check::new("Test", "Configuration is valid JSON", Json, "config/*.json", ""),
        Check::new("Test", "No test is run alone", NotContains, "test/**/*.ts", "test.only("),
        Check::new("Test", "No debugger statement is left", NotContains, "src/**/*.ts", "debugger;"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(kind: CheckKind, text: &str, content: &str) -> Finding {
        Check::new("s", "n", kind, "**/*.ts", text).run(&[("src/a.ts".into(), content.into())])
    }

    #[test]
    fn brackets_are_counted_outside_of_strings_comments_and_templates() {
        let fine = "const a = `x ${f({ b: \"}\" })} y`; // )\n/* ( */ if (a) { g('\\''); }\nconst r = /\\(/;\nlet t = `a\n${`b${1}`}`;";
        assert!(
            run(CheckKind::Brackets, "", fine).problems.is_empty(),
            "{:?}",
            run(CheckKind::Brackets, "", fine)
        );
        assert_eq!(run(CheckKind::Brackets, "", "f(\n{\n]").problems[0].line, 3);
        assert_eq!(run(CheckKind::Brackets, "", "a\nf(").problems[0].message, "'(' is never closed");
        assert_eq!(run(CheckKind::Brackets, "", "`${a").problems.len(), 1);
    }

    #[test]
    fn a_push_can_break_and_repair_each_kind() {
        assert_eq!(run(CheckKind::Json, "", "{\"a\": }").problems.len(), 1);
        assert!(run(CheckKind::Json, "", "\u{feff}{\"a\": 1}").problems.is_empty());
        assert_eq!(run(CheckKind::NotContains, "debugger;", "a\n debugger;").problems[0].line, 2);
        assert_eq!(run(CheckKind::Contains, "x", "y").problems.len(), 1);
        let none = Check::new("s", "n", CheckKind::Exists, "no/*.rs", "").run(&[("a.ts".into(), vec![])]);
        assert_eq!((none.files, none.problems.len()), (0, 1));
    }
}
