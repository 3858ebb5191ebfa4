//! The changes of one commit, checked one after another and written as one tree.

use std::collections::{BTreeMap, HashSet};

use git2::build::TreeUpdateBuilder;
use git2::{FileMode, ObjectType, Oid, Tree};

use super::change::{FileChange, clean_path};
use super::store::Store;
use crate::simulator::azure_devops::refusal::Refusal;

type Outcome<T> = Result<T, Refusal>;
type File = (Oid, FileMode);

/// A tree with changes on top that are not written yet.
pub(super) struct Staging<'r> {
    store: &'r Store,
    base: Tree<'r>,
    /// Changed files; nothing for a deleted one.
    files: BTreeMap<String, Option<File>>,
    /// Folders above new files.
    folders: HashSet<String>,
}

impl<'r> Staging<'r> {
    pub(super) fn new(store: &'r Store, base: Tree<'r>) -> Self {
        Self { store, base, files: BTreeMap::new(), folders: HashSet::new() }
    }

    /// Puts one change on top of those before it.
    pub(super) fn apply(&mut self, change: &FileChange) -> Outcome<()> {
        match change {
            FileChange::Add(path, content) => {
                let path = clean_path(path)?;
                self.refuse_present(path)?;
                let blob = self.store.git.blob(content)?;
                self.put(path, (blob, FileMode::Blob));
            }
            FileChange::Edit(path, content) => {
                let path = clean_path(path)?;
                let (_, mode) = self.present(path, "edit")?;
                let blob = self.store.git.blob(content)?;
                self.put(path, (blob, mode));
            }
            FileChange::Delete(path) => {
                let path = clean_path(path)?;
                self.present(path, "delete")?;
                self.files.insert(path.to_owned(), None);
            }
            FileChange::Rename { from, to, content } => {
                let (from, to) = (clean_path(from)?, clean_path(to)?);
                let (old, mode) = self.present(from, "rename")?;
                self.refuse_present(to)?;
                let blob = content.as_ref().map(|c| self.store.git.blob(c)).transpose()?.unwrap_or(old);
                self.files.insert(from.to_owned(), None);
                self.put(to, (blob, mode));
            }
        }
        Ok(())
    }

    /// Writes the tree.
    pub(super) fn finish(self) -> Outcome<Oid> {
        let mut update = TreeUpdateBuilder::new();
        for (path, file) in &self.files {
            match file {
                Some((blob, mode)) => {
                    update.upsert(path.as_str(), *blob, *mode);
                }
                // What was added and deleted again was never in the tree.
                None if self.base.get_path(path.as_ref()).is_ok() => {
                    update.remove(path.as_str());
                }
                None => {}
            }
        }
        Ok(update.create_updated(&self.store.git, &self.base)?)
    }

    fn put(&mut self, path: &str, file: File) {
        self.folders.extend(path.match_indices('/').map(|(at, _)| path[..at].to_owned()));
        self.files.insert(path.to_owned(), Some(file));
    }

    fn file(&self, path: &str) -> Option<File> {
        if let Some(changed) = self.files.get(path) {
            return *changed;
        }
        let entry = self.base.get_path(path.as_ref()).ok().filter(|e| e.kind() == Some(ObjectType::Blob))?;
        let mode = match entry.filemode() {
            0o100_755 => FileMode::BlobExecutable,
            0o120_000 => FileMode::Link,
            _ => FileMode::Blob,
        };
        Some((entry.id(), mode))
    }

    fn is_folder(&self, path: &str) -> bool {
        self.folders.contains(path)
            || self.base.get_path(path.as_ref()).is_ok_and(|e| e.kind() != Some(ObjectType::Blob))
    }

    /// The file that an operation needs.
    fn present(&self, path: &str, operation: &str) -> Outcome<File> {
        self.file(path).ok_or_else(|| {
            Refusal::new(
                400,
                "GitItemNotFoundException",
                format!(
                    "The path '/{path}' specified in the {operation} operation does not exist. Please specify an \
                     existing file."
                ),
            )
        })
    }

    /// A file cannot stand where a file or folder is, nor below a file.
    fn refuse_present(&self, path: &str) -> Outcome<()> {
        let under_file = path.match_indices('/').any(|(at, _)| self.file(&path[..at]).is_some());
        if under_file || self.file(path).is_some() || self.is_folder(path) {
            return Err(Refusal::new(
                400,
                "GitDuplicatePathException",
                format!(
                    "The path '/{path}' specified in the add operation already exists. Please specify a new path."
                ),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::azure_devops::git::store::Signature;

    #[test]
    fn changes_of_one_commit_see_those_before_them() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let by = Signature { name: "n".into(), email: "e@x".into(), date: jiff::Timestamp::UNIX_EPOCH };
        let add = |path: &str| FileChange::Add(path.into(), b"x".to_vec());
        let write =
            |parent: Option<&str>, changes: &[FileChange]| store.write_commit(parent, changes, "m", &by, &by);
        let rename = FileChange::Rename { from: "/a/b".into(), to: "/c".into(), content: None };
        let first = write(None, &[add("/a/b"), rename, add("/d"), FileChange::Delete("/d".into())]).unwrap();
        let root = store.entry(&first, "/").unwrap();
        let paths: Vec<String> = store.below(&root, true).unwrap().into_iter().map(|e| e.path).collect();
        assert_eq!(paths, ["/c"]);
        for refused in [
            vec![add("/c")],
            vec![add("/c/below")],
            vec![add("/x/y"), add("/x")],
            vec![add("/x"), add("/x/y")],
            vec![FileChange::Delete("/d".into())],
            vec![FileChange::Delete("/c".into()), FileChange::Edit("/c".into(), vec![])],
        ] {
            assert_eq!(write(Some(&first), &refused).unwrap_err().status, 400, "{refused:?}");
        }
    }
}
