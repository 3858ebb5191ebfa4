//! What differs between two commits: files, and the folders above them.

use std::collections::BTreeMap;

use git2::{Delta, DiffFindOptions, Oid};

use super::store::Store;
use crate::simulator::azure_devops::refusal::Refusal;

/// Kind of a change, with the names of `VersionControlChangeType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// New.
    Add,
    /// Other content.
    Edit,
    /// Gone.
    Delete,
    /// Moved, same content.
    Rename,
    /// Moved, other content.
    EditRename,
}

/// One changed file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Path now, or before when it is gone.
    pub path: String,
    /// Path before, when it moved.
    pub original_path: Option<String>,
    /// Object now.
    pub sha: Option<String>,
    /// Object before.
    pub original_sha: Option<String>,
    /// Whether it is a folder.
    pub folder: bool,
    /// What happened.
    pub kind: Kind,
}

impl Kind {
    /// Name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Add => "add",
            Kind::Edit => "edit",
            Kind::Delete => "delete",
            Kind::Rename => "rename",
            Kind::EditRename => "edit, rename",
        }
    }

    /// Key in `changeCounts`.
    pub fn count_name(self) -> &'static str {
        match self {
            Kind::Add => "Add",
            Kind::Edit => "Edit",
            Kind::Delete => "Delete",
            Kind::Rename | Kind::EditRename => "Rename",
        }
    }
}

impl Store {
    /// Changed files between two commits (`None` = the empty tree), sorted by path.
    ///
    /// # Errors
    /// When a commit cannot be read.
    pub fn changes(&self, from: Option<&str>, to: &str) -> Result<Vec<Change>, Refusal> {
        let new = self.git.find_commit(Oid::from_str(to)?)?.tree()?;
        let old = match from {
            Some(sha) => Some(self.git.find_commit(Oid::from_str(sha)?)?.tree()?),
            None => None,
        };
        let mut diff = self.git.diff_tree_to_tree(old.as_ref(), Some(&new), None)?;
        diff.find_similar(Some(DiffFindOptions::new().renames(true)))?;
        let mut changes: Vec<Change> = diff.deltas().filter_map(|delta| change(&delta)).collect();
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(changes)
    }

    /// [`Store::changes`] with the folders above the files, as the diff operations list them.
    ///
    /// # Errors
    /// When a commit cannot be read.
    pub fn changes_with_folders(&self, from: Option<&str>, to: &str) -> Result<Vec<Change>, Refusal> {
        let files = self.changes(from, to)?;
        let mut all: BTreeMap<String, Change> = BTreeMap::new();
        for file in files {
            for folder in parents(&file.path).chain(file.original_path.iter().flat_map(|p| parents(p))) {
                if all.contains_key(folder) {
                    continue;
                }
                let sha = self.entry(to, folder).filter(|e| e.folder).map(|e| e.sha);
                let original_sha =
                    from.and_then(|sha| self.entry(sha, folder)).filter(|e| e.folder).map(|e| e.sha);
                let kind = match (&original_sha, &sha) {
                    (None, _) => Kind::Add,
                    (_, None) => Kind::Delete,
                    _ => Kind::Edit,
                };
                let path = folder.to_owned();
                all.insert(
                    path.clone(),
                    Change { path, original_path: None, sha, original_sha, folder: true, kind },
                );
            }
            all.insert(file.path.clone(), file);
        }
        Ok(all.into_values().collect())
    }
}

/// `/a`, `/a/b` of `/a/b/c`.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).map(|(at, _)| &path[..at])
}

fn change(delta: &git2::DiffDelta<'_>) -> Option<Change> {
    let path = |file: git2::DiffFile<'_>| file.path().map(|p| format!("/{}", p.to_string_lossy()));
    let (old, new) = (delta.old_file(), delta.new_file());
    let (old_sha, new_sha) = (old.id().to_string(), new.id().to_string());
    let same = old_sha == new_sha;
    let (kind, original_path) = match delta.status() {
        Delta::Added | Delta::Copied => (Kind::Add, None),
        Delta::Deleted => (Kind::Delete, None),
        Delta::Renamed if same => (Kind::Rename, path(delta.old_file())),
        Delta::Renamed => (Kind::EditRename, path(delta.old_file())),
        Delta::Modified | Delta::Typechange => (Kind::Edit, None),
        _ => return None,
    };
    Some(Change {
        path: path(if kind == Kind::Delete { old } else { new })?,
        original_path,
        sha: (kind != Kind::Delete).then_some(new_sha),
        original_sha: (kind != Kind::Add).then_some(old_sha),
        folder: false,
        kind,
    })
}
