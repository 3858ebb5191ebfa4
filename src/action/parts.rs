//! Typed parts of an action: they refuse what is not acceptable instead of repairing it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest branch name that is accepted, in bytes.
pub const MAX_BRANCH_BYTES: usize = 200;
/// Longest item path that is accepted, in bytes.
pub const MAX_PATH_BYTES: usize = 1_000;

/// What makes a typed part unacceptable. The text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} '{given}' is not acceptable: {reason}")]
pub struct Unacceptable {
    what: &'static str,
    given: String,
    reason: &'static str,
}

fn refuse<T>(what: &'static str, given: &str, reason: &'static str) -> Result<T, Unacceptable> {
    let given = given.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    Err(Unacceptable { what, given, reason })
}

/// A branch name without `refs/heads/`, ASCII, legal for git (`git check-ref-format`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BranchName(String);

impl BranchName {
    /// Checks `name`; a leading `refs/heads/` is taken off.
    ///
    /// # Errors
    /// [`Unacceptable`] for an empty or overlong name, other than ASCII letters, digits and
    /// `-_./`, or a form that git refuses.
    pub fn new(name: &str) -> Result<Self, Unacceptable> {
        const WHAT: &str = "branch";
        let short = name.strip_prefix("refs/heads/").unwrap_or(name);
        if short.is_empty() || short.len() > MAX_BRANCH_BYTES {
            return refuse(WHAT, name, "give 1 to 200 characters");
        }
        if !short.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b)) {
            return refuse(WHAT, name, "use only ASCII letters, digits, '-', '_', '.' and '/'");
        }
        if short.starts_with("refs/") || short.starts_with('-') {
            return refuse(WHAT, name, "name a branch, not another kind of reference");
        }
        let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
        if short.split('/').any(bad_part) || short.contains("..") || short.ends_with('.') {
            return refuse(WHAT, name, "git does not allow empty parts, '..', a leading '.' or '.lock'");
        }
        Ok(Self(short.to_owned()))
    }

    /// The name without `refs/heads/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full reference, `refs/heads/…`.
    pub fn full(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

/// A full commit id: 40 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

impl CommitId {
    /// Checks `id`.
    ///
    /// # Errors
    /// [`Unacceptable`] unless it is 40 hexadecimal digits.
    pub fn new(id: &str) -> Result<Self, Unacceptable> {
        if id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(id.to_ascii_lowercase()))
        } else {
            refuse("commit id", id, "give all 40 hexadecimal digits")
        }
    }

    /// The 40 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

/// The path of a file in a repository: absolute, `/`-separated, without `.` or `..`, never inside
/// a `.git` folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ItemPath(String);

impl ItemPath {
    /// Checks `path`; a missing leading slash is added.
    ///
    /// # Errors
    /// [`Unacceptable`] for parent steps, `.git` folders, back slashes, drive letters, percent
    /// escapes, control, invisible or direction-changing characters, or an overlong path.
    pub fn new(path: &str) -> Result<Self, Unacceptable> {
        const WHAT: &str = "path";
        let body = path.strip_prefix('/').unwrap_or(path);
        if body.is_empty() || path.len() > MAX_PATH_BYTES {
            return refuse(WHAT, path, "give the path of a file, at most 1,000 bytes");
        }
        if body.chars().any(|c| c.is_control() || is_hidden(c) || matches!(c, '\\' | ':' | '%')) {
            return refuse(WHAT, path, "control or hidden characters, '\\', ':' and '%' are not allowed");
        }
        for part in body.split('/') {
            if part.is_empty() || part == "." || part == ".." {
                return refuse(WHAT, path, "empty parts, '.' and '..' are not allowed");
            }
            if part.ends_with(' ') || part.ends_with('.') || part.starts_with(' ') {
                return refuse(WHAT, path, "a part may not begin or end with a space, or end with a dot");
            }
            let lower = part.to_ascii_lowercase();
            if lower == ".git" || lower.starts_with("git~") {
                return refuse(WHAT, path, "git's own folder cannot be changed");
            }
        }
        Ok(Self(format!("/{body}")))
    }

    /// The path with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that change how text reads without being seen: zero-width, direction overrides,
/// tag characters.
pub fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        | '\u{ad}' | '\u{e0000}'..='\u{e007f}')
}

macro_rules! text_form {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = Unacceptable;
            fn try_from(text: String) -> Result<Self, Unacceptable> {
                Self::new(&text)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
    )*};
}
text_form!(BranchName, CommitId, ItemPath);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn branch_names_are_what_git_and_policy_can_trust() {
        assert_eq!(BranchName::new("refs/heads/agent/1-x").unwrap().as_str(), "agent/1-x");
        for bad in
            ["", "m\u{0430}in", "a..b", "a//b", ".a", "a.lock", "-x", "refs/tags/v1", "a b", "a~1", "x."]
        {
            assert!(BranchName::new(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn paths_cannot_leave_the_tree_or_touch_git() {
        assert_eq!(ItemPath::new("src/a.ts").unwrap().as_str(), "/src/a.ts");
        let bad = [
            "",
            "/",
            "../a",
            "a/../b",
            "a/./b",
            ".git/config",
            "x/.GIT/hooks/y",
            ".git /x",
            "C:\\a",
            "a\\b",
            "%2e%2e/a",
            "a\0b",
            "a//b",
            "GIT~1/config",
            "a\u{202e}b",
            "/a/",
        ];
        for path in bad {
            assert!(ItemPath::new(path).is_err(), "{path:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn typed_parts_never_panic_and_keep_their_promise(text in "\\PC{0,60}") {
            if let Ok(path) = ItemPath::new(&text) {
                prop_assert!(path.as_str().starts_with('/'));
                prop_assert!(!path.as_str().split('/').any(|p| p == ".." || p.eq_ignore_ascii_case(".git")));
            }
            if let Ok(branch) = BranchName::new(&text) {
                prop_assert!(branch.as_str().is_ascii());
            }
        }
    }
}
