//! Writing: commits made of file changes, merges, and references.

use git2::{MergeOptions, Oid, Time};

use super::staging::Staging;
use super::store::{Signature, Store, read_signature};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::ZERO_SHA;

type Outcome<T> = Result<T, Refusal>;

/// Longest item path, in bytes.
const PATH_BYTES: usize = 2_000;

/// One change of a push.
#[derive(Clone, Debug)]
pub enum FileChange {
    /// A file that must not be there yet.
    Add(String, Vec<u8>),
    /// A file that must be there.
    Edit(String, Vec<u8>),
    /// A file that must be there.
    Delete(String),
    /// A file that moves, perhaps with other content.
    Rename {
        /// Old path.
        from: String,
        /// New path, which must be free.
        to: String,
        /// New content.
        content: Option<Vec<u8>>,
    },
}

/// A tag object.
#[derive(Debug, PartialEq, Eq)]
pub struct Tag {
    /// Name, without `refs/tags/`.
    pub name: String,
    /// Message.
    pub message: String,
    /// Who made it, and when.
    pub by: Option<Signature>,
    /// What it is about.
    pub target: String,
}

/// How a merge went.
#[derive(Debug, PartialEq, Eq)]
pub enum Merge {
    /// The merged commit.
    Done(String),
    /// Files that conflict.
    Conflicts(Vec<String>),
}

/// The path inside the tree, when it can be one.
///
/// # Errors
/// 400 for empty and dotted segments, `.git`, backslashes, NUL and over-long paths.
pub fn clean_path(path: &str) -> Outcome<&str> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let bad_segment = |s: &str| {
        s.is_empty() || s == "." || s == ".." || s.trim_end_matches('.').eq_ignore_ascii_case(".git")
    };
    let bad_character = inner.contains(['\\', '\0', '\n', '\r']);
    if inner.len() > PATH_BYTES || bad_character || inner.split('/').any(bad_segment) {
        return Err(Refusal::invalid(format!("path ('{}' is not a valid item path)", path.escape_default())));
    }
    Ok(inner)
}

impl Store {
    /// Writes one commit on `parent` (none: a root commit) and returns its id; no reference moves.
    ///
    /// # Errors
    /// 400 when a change does not fit the tree it is applied to.
    pub fn write_commit(
        &self,
        parent: Option<&str>,
        changes: &[FileChange],
        message: &str,
        author: &Signature,
        committer: &Signature,
    ) -> Outcome<String> {
        let parent = parent.map(|sha| self.git.find_commit(Oid::from_str(sha)?)).transpose()?;
        let base = match &parent {
            Some(commit) => commit.tree()?,
            None => self.git.find_tree(self.git.treebuilder(None)?.write()?)?,
        };
        let mut staging = Staging::new(self, base);
        for change in changes {
            staging.apply(change)?;
        }
        let tree = self.git.find_tree(staging.finish()?)?;
        let message = if message.ends_with('\n') { message.to_owned() } else { format!("{message}\n") };
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        let id = self.git.commit(None, &sign(author)?, &sign(committer)?, &message, &tree, &parents)?;
        Ok(id.to_string())
    }

    /// Points `name` at `new` when it is at `old` (zeros: absent; `new` zeros: delete).
    ///
    /// # Errors
    /// 409 when it is somewhere else.
    pub fn move_reference(&self, name: &str, old: &str, new: &str, reason: &str) -> Outcome<()> {
        let stale = |_| Refusal::stale_reference(name);
        if new == ZERO_SHA {
            let mut reference = self.git.find_reference(name).map_err(stale)?;
            if reference.target().map(|t| t.to_string()).as_deref() != Some(old) {
                return Err(Refusal::stale_reference(name));
            }
            return Ok(reference.delete()?);
        }
        let new = Oid::from_str(new)?;
        if old == ZERO_SHA {
            self.git.reference(name, new, false, reason).map_err(stale)?;
        } else {
            self.git.reference_matching(name, new, true, Oid::from_str(old)?, reason).map_err(stale)?;
        }
        Ok(())
    }

    /// Writes a tag object about a commit and returns its id; no reference moves.
    ///
    /// # Errors
    /// 404 when there is no such object.
    pub fn write_tag(&self, name: &str, target: &str, message: &str, by: &Signature) -> Outcome<String> {
        let oid = self.find(target).ok_or_else(|| Refusal::object(target, ""))?;
        let object = self.git.find_object(oid, None)?;
        Ok(self.git.tag_annotation_create(name, &object, &sign(by)?, message)?.to_string())
    }

    /// The name, message, author and target of a tag object.
    pub fn read_tag(&self, sha: &str) -> Option<Tag> {
        let tag = self.git.find_tag(self.find(sha)?).ok()?;
        Some(Tag {
            name: String::from_utf8_lossy(tag.name_bytes()).into_owned(),
            message: tag.message_bytes().map(|m| String::from_utf8_lossy(m).into_owned()).unwrap_or_default(),
            by: tag.tagger().map(|by| read_signature(&by)),
            target: tag.target_id().to_string(),
        })
    }

    /// Sets a reference that no one else writes, such as `refs/pull/1/merge`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_reference(&self, name: &str, sha: &str) -> Outcome<()> {
        self.git.reference(name, Oid::from_str(sha)?, true, "simulator")?;
        Ok(())
    }

    /// Merges `theirs` into `ours`. With `squash` the commit has `ours` as its only parent.
    ///
    /// # Errors
    /// When a commit cannot be read.
    pub fn merge(
        &self,
        ours: &str,
        theirs: &str,
        squash: bool,
        message: &str,
        by: &Signature,
    ) -> Outcome<Merge> {
        let ours = self.git.find_commit(Oid::from_str(ours)?)?;
        let theirs = self.git.find_commit(Oid::from_str(theirs)?)?;
        let base = self.git.merge_base(ours.id(), theirs.id()).ok();
        // Where one side has everything of the other, the result is that side's tree as it is.
        let tree = if base == Some(theirs.id()) {
            ours.tree()?
        } else if base == Some(ours.id()) {
            theirs.tree()?
        } else {
            let mut options = MergeOptions::new();
            options.find_renames(true);
            let mut index = self.git.merge_commits(&ours, &theirs, Some(&options))?;
            if index.has_conflicts() {
                return Ok(Merge::Conflicts(conflicts(&index)?));
            }
            self.git.find_tree(index.write_tree_to(&self.git)?)?
        };
        let signature = sign(by)?;
        let parents = if squash { vec![&ours] } else { vec![&ours, &theirs] };
        Ok(Merge::Done(self.git.commit(None, &signature, &signature, message, &tree, &parents)?.to_string()))
    }

    /// The paths that keep `theirs` from being merged into `ours`, each with the kind of its conflict.
    ///
    /// # Errors
    /// When a commit cannot be read.
    pub fn conflicts_between(&self, ours: &str, theirs: &str) -> Outcome<Vec<(String, &'static str)>> {
        let ours = self.git.find_commit(Oid::from_str(ours)?)?;
        let theirs = self.git.find_commit(Oid::from_str(theirs)?)?;
        let mut options = MergeOptions::new();
        options.find_renames(true);
        let index = self.git.merge_commits(&ours, &theirs, Some(&options))?;
        let mut found = Vec::new();
        for conflict in index.conflicts()? {
            let conflict = conflict?;
            let entry = conflict.our.as_ref().or(conflict.their.as_ref()).or(conflict.ancestor.as_ref());
            if let Some(entry) = entry {
                found.push((format!("/{}", String::from_utf8_lossy(&entry.path)), kind_of(&conflict)));
            }
        }
        Ok(found)
    }

    /// Puts the commits of `theirs` that `onto` lacks on top of `onto`, oldest first.
    ///
    /// # Errors
    /// When a commit cannot be read.
    pub fn rebase(&self, onto: &str, theirs: &str, by: &Signature) -> Outcome<Merge> {
        let mut commits = self.history(theirs, &[onto], usize::MAX)?;
        commits.reverse();
        let mut tip = onto.to_owned();
        for commit in commits.iter().filter(|c| c.parents.len() < 2) {
            let ours = self.git.find_commit(Oid::from_str(&tip)?)?;
            let picked = self.git.find_commit(Oid::from_str(&commit.sha)?)?;
            let mut index = self.git.cherrypick_commit(&picked, &ours, 0, None)?;
            if index.has_conflicts() {
                return Ok(Merge::Conflicts(conflicts(&index)?));
            }
            let tree = self.git.find_tree(index.write_tree_to(&self.git)?)?;
            let author = sign(&commit.author)?;
            let id = self.git.commit(None, &author, &sign(by)?, &commit.message, &tree, &[&ours])?;
            tip = id.to_string();
        }
        Ok(Merge::Done(tip))
    }

    /// Copies every object that `sha` needs from another repository on disk.
    ///
    /// # Errors
    /// When the other repository cannot be read.
    pub fn borrow_objects(&self, other: &Store, sha: &str) -> Outcome<()> {
        let mut pack = other.git.packbuilder()?;
        let found = other.git.find_object(Oid::from_str(sha)?, None)?;
        // A tag may be an object of its own, at a commit or at anything else.
        if found.kind() != Some(git2::ObjectType::Commit) {
            pack.insert_recursive(found.id(), None)?;
        }
        if let Ok(commit) = found.peel(git2::ObjectType::Commit) {
            let mut walk = other.git.revwalk()?;
            walk.push(commit.id())?;
            pack.insert_walk(&mut walk)?;
        }
        let mut bytes = git2::Buf::new();
        pack.write_buf(&mut bytes)?;
        let database = self.git.odb()?;
        let mut writer = database.packwriter()?;
        std::io::Write::write_all(&mut writer, &bytes)
            .map_err(|e| Refusal::new(500, "GitServerException", e.to_string()))?;
        writer.commit()?;
        Ok(())
    }
}

/// What kind of conflict it is, seen from the branch that is merged in.
fn kind_of(conflict: &git2::IndexConflict) -> &'static str {
    match (&conflict.ancestor, &conflict.our, &conflict.their) {
        (None, Some(_), Some(_)) => "addAdd",
        (Some(_), None, Some(_)) => "editDelete",
        (Some(_), Some(_), None) => "deleteEdit",
        _ => "editEdit",
    }
}

fn conflicts(index: &git2::Index) -> Outcome<Vec<String>> {
    let mut paths = Vec::new();
    for conflict in index.conflicts()? {
        let conflict = conflict?;
        if let Some(entry) = conflict.our.or(conflict.their).or(conflict.ancestor) {
            paths.push(format!("/{}", String::from_utf8_lossy(&entry.path)));
        }
    }
    Ok(paths)
}

fn sign(signature: &Signature) -> Outcome<git2::Signature<'static>> {
    // git forbids these characters in names; the service drops them as well.
    let clean = |text: &str| text.replace(['<', '>', '\n', '\0'], "");
    let time = Time::new(signature.date.as_second(), 0);
    Ok(git2::Signature::new(&clean(&signature.name), &clean(&signature.email), &time)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_paths_are_refused_and_ordinary_ones_are_not() {
        for bad in [
            "",
            "/",
            "/../etc/passwd",
            "/a/../../b",
            "/a//b",
            "/.git/config",
            "/.GIT/x",
            "/a\\b",
            "/a/./b",
            "/a\0",
        ] {
            assert!(clean_path(bad).is_err(), "{bad:?}");
        }
        assert_eq!(clean_path("/src/login.ts").unwrap(), "src/login.ts");
        assert_eq!(clean_path("README.md").unwrap(), "README.md");
        assert_eq!(clean_path("/ä b/.gitignore").unwrap(), "ä b/.gitignore");
    }
}
