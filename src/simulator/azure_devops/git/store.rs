//! Reading a bare repository.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use git2::{ObjectType, Oid, Repository, Sort, TreeWalkMode, TreeWalkResult};
use jiff::Timestamp;

use crate::simulator::azure_devops::refusal::Refusal;

type Outcome<T> = Result<T, Refusal>;

/// Commits a walk visits at most.
const WALK_COMMITS: usize = 20_000;

/// Repositories that one thread keeps open, with what it has read of them.
const OPEN: usize = 16;

thread_local! {
    static KEPT: RefCell<HashMap<PathBuf, Rc<Repository>>> = RefCell::default();
}

/// An open bare repository.
pub struct Store {
    pub(super) git: Rc<Repository>,
}

/// A name and address in a commit, with the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Name.
    pub name: String,
    /// Mail address.
    pub email: String,
    /// When, to the second.
    pub date: Timestamp,
}

/// A commit, read.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its id.
    pub sha: String,
    /// Its tree.
    pub tree: String,
    /// Its parents.
    pub parents: Vec<String>,
    /// Author.
    pub author: Signature,
    /// Committer.
    pub committer: Signature,
    /// Whole message.
    pub message: String,
}

/// A file or folder of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path from the root with a leading slash.
    pub path: String,
    /// Object id.
    pub sha: String,
    /// Whether it is a folder.
    pub folder: bool,
    /// Mode as git writes it, `100644`.
    pub mode: i32,
}

impl Store {
    /// Makes an empty bare repository.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(path: &Path) -> Outcome<Self> {
        let mut options = git2::RepositoryInitOptions::new();
        options.bare(true).mkpath(true).initial_head("main");
        Ok(Self { git: Rc::new(Repository::init_opts(path, &options)?) })
    }

    /// Opens a bare repository.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &Path) -> Outcome<Self> {
        KEPT.with_borrow_mut(|kept| {
            if let Some(git) = kept.get(path).filter(|_| path.is_dir()) {
                return Ok(Self { git: git.clone() });
            }
            if kept.len() >= OPEN {
                kept.clear();
            }
            let git = Rc::new(Repository::open_bare(path)?);
            kept.insert(path.to_owned(), git.clone());
            Ok(Self { git })
        })
    }

    /// Branches and tags on disk, by full name.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn references(&self) -> Outcome<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for reference in self.git.references()? {
            let reference = reference?;
            let name = reference.name()?;
            if (name.starts_with("refs/heads/") || name.starts_with("refs/tags/"))
                && let Some(target) = reference.target()
            {
                all.insert(name.to_owned(), target.to_string());
            }
        }
        Ok(all)
    }

    /// The object id in `text`, when it is one and the object is here.
    pub fn find(&self, text: &str) -> Option<Oid> {
        if text.len() < 4 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let object = self.git.revparse_single(text).ok()?;
        Some(object.id())
    }

    /// Whether `sha` is a commit here.
    pub fn is_commit(&self, sha: &str) -> bool {
        self.commit(sha).is_ok()
    }

    /// A commit; a tag is followed to its commit.
    ///
    /// # Errors
    /// 404 when there is none.
    pub fn commit(&self, sha: &str) -> Outcome<Commit> {
        let missing = || Refusal::object(sha, "");
        let oid = self.find(sha).ok_or_else(missing)?;
        let object = self.git.find_object(oid, None)?;
        let commit = object.peel_to_commit().map_err(|_| missing())?;
        Ok(read_commit(&commit))
    }

    /// The commit that a tag or commit id leads to.
    pub fn peel(&self, sha: &str) -> Option<String> {
        self.commit(sha).ok().map(|c| c.sha)
    }

    /// The bytes of a blob.
    ///
    /// # Errors
    /// 404 when there is none.
    pub fn blob(&self, sha: &str) -> Outcome<Vec<u8>> {
        let oid = self.find(sha).ok_or_else(|| Refusal::object(sha, ""))?;
        let blob = self.git.find_blob(oid).map_err(|_| Refusal::object(sha, ""))?;
        Ok(blob.content().to_vec())
    }

    /// The file or folder at `path` in the tree of `commit`; the root is a folder.
    pub fn entry(&self, commit: &str, path: &str) -> Option<Entry> {
        let commit = self.git.find_commit(Oid::from_str(commit).ok()?).ok()?;
        let tree = commit.tree().ok()?;
        let inner = path.trim_matches('/');
        if inner.is_empty() {
            return Some(Entry {
                path: "/".into(),
                sha: tree.id().to_string(),
                folder: true,
                mode: 0o040_000,
            });
        }
        let found = tree.get_path(Path::new(inner)).ok()?;
        let folder = found.kind() == Some(ObjectType::Tree);
        Some(Entry { path: format!("/{inner}"), sha: found.id().to_string(), folder, mode: found.filemode() })
    }

    /// What is below a folder, one level or all, folders before what they hold.
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn below(&self, folder: &Entry, deep: bool) -> Outcome<Vec<Entry>> {
        let tree = self.git.find_tree(Oid::from_str(&folder.sha)?)?;
        let start = folder.path.trim_end_matches('/');
        let mut entries = Vec::new();
        tree.walk(TreeWalkMode::PreOrder, |parent, entry| {
            let (Ok(parent), Ok(name)) = (std::str::from_utf8(parent.as_bytes()), entry.name()) else {
                return TreeWalkResult::Skip;
            };
            let is_folder = entry.kind() == Some(ObjectType::Tree);
            entries.push(Entry {
                path: format!("{start}/{parent}{name}"),
                sha: entry.id().to_string(),
                folder: is_folder,
                mode: entry.filemode(),
            });
            if deep { TreeWalkResult::Ok } else { TreeWalkResult::Skip }
        })?;
        Ok(entries)
    }

    /// A tree by its own id.
    ///
    /// # Errors
    /// 404 when there is none.
    pub fn tree(&self, sha: &str) -> Outcome<Entry> {
        let missing = || Refusal::object(sha, "");
        let oid = self.find(sha).ok_or_else(missing)?;
        let tree = self.git.find_tree(oid).map_err(|_| missing())?;
        Ok(Entry { path: "/".into(), sha: tree.id().to_string(), folder: true, mode: 0o040_000 })
    }

    /// Commits reachable from `from` and not from `without`, newest first, at most `limit`.
    ///
    /// # Errors
    /// When an id is unknown.
    pub fn history(&self, from: &str, without: &[&str], limit: usize) -> Outcome<Vec<Commit>> {
        let mut walk = self.git.revwalk()?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
        walk.push(Oid::from_str(from)?)?;
        for sha in without {
            if let Ok(oid) = Oid::from_str(sha) {
                // Hiding what is not here is no error: it simply hides nothing.
                let _ = walk.hide(oid);
            }
        }
        let mut commits = Vec::new();
        for oid in walk.take(limit.min(WALK_COMMITS)) {
            commits.push(read_commit(&self.git.find_commit(oid?)?));
        }
        Ok(commits)
    }

    /// Commits on `ours` that `theirs` lacks, and the other way round.
    ///
    /// # Errors
    /// When an id is unknown.
    pub fn ahead_behind(&self, ours: &str, theirs: &str) -> Outcome<(usize, usize)> {
        Ok(self.git.graph_ahead_behind(Oid::from_str(ours)?, Oid::from_str(theirs)?)?)
    }

    /// The best common ancestor.
    pub fn merge_base(&self, one: &str, other: &str) -> Option<String> {
        let base = self.git.merge_base(Oid::from_str(one).ok()?, Oid::from_str(other).ok()?).ok()?;
        Some(base.to_string())
    }

    /// Whether `descendant` is `ancestor` or comes after it.
    pub fn contains(&self, descendant: &str, ancestor: &str) -> bool {
        descendant == ancestor || self.merge_base(descendant, ancestor).as_deref() == Some(ancestor)
    }
}

fn read_commit(commit: &git2::Commit<'_>) -> Commit {
    Commit {
        sha: commit.id().to_string(),
        tree: commit.tree_id().to_string(),
        parents: commit.parent_ids().map(|id| id.to_string()).collect(),
        author: read_signature(&commit.author()),
        committer: read_signature(&commit.committer()),
        message: String::from_utf8_lossy(commit.message_bytes()).into_owned(),
    }
}

pub(super) fn read_signature(signature: &git2::Signature<'_>) -> Signature {
    Signature {
        name: String::from_utf8_lossy(signature.name_bytes()).into_owned(),
        email: String::from_utf8_lossy(signature.email_bytes()).into_owned(),
        date: Timestamp::from_second(signature.when().seconds()).unwrap_or(Timestamp::UNIX_EPOCH),
    }
}
