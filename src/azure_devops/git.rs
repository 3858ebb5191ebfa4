//! Reads of repositories: branches, files, commits, pushes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::people::{IdentityRef, List, Person};
use super::routes::{COMMIT, COMMITS, ITEMS, PUSH_BY_ID, PUSHES, REFS, REPOSITORY};
use super::transport::Question;
use super::{Client, Error, limits};
use crate::action::{BranchName, CommitId, ItemPath, RepositoryRef};

/// Most references that one request gives (FACTS §6).
const REFS_PER_PAGE: u32 = 1_000;

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repository {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Id of its project.
    pub project_id: String,
    /// Name of its project.
    pub project: String,
    /// Default branch; `None` for an empty repository, or where the name is not one we accept.
    pub default_branch: Option<BranchName>,
    /// Disabled repositories cannot be read or written.
    pub is_disabled: bool,
    /// Its page.
    pub web_url: String,
}

/// A branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Branch {
    /// Name.
    pub name: BranchName,
    /// The commit at its tip.
    pub tip: CommitId,
    /// Who created it, where the service says.
    pub creator: Option<Person>,
    /// Its page.
    pub web_url: String,
}

/// Which state of the repository is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// The tip of a branch.
    Branch(BranchName),
    /// One commit.
    Commit(CommitId),
}

/// How deep a folder is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recursion {
    /// The folder's own entries.
    OneLevel,
    /// Everything below.
    Full,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Path with a leading slash; as stored, so it may be one that we would not write.
    pub path: String,
    /// What it is.
    pub kind: ItemKind,
    /// Git's id of the content.
    pub object_id: String,
}

/// What an [`Item`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A submodule.
    Submodule,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// Id.
    pub id: CommitId,
    /// Author's name. Anybody can write anything here: it proves nothing.
    pub author_name: String,
    /// Author's mail address; proves nothing.
    pub author_email: String,
    /// When it was authored.
    pub date: Option<Timestamp>,
    /// Message; in lists the service cuts it, [`Client::commit`] gives all of it.
    pub message: String,
    /// Its page.
    pub web_url: String,
}

/// A push: who really moved a branch, as the service authenticated them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Push {
    /// Number.
    pub id: u32,
    /// Who pushed.
    pub by: Person,
    /// When.
    pub date: Option<Timestamp>,
    /// What moved; empty in lists.
    pub moved: Vec<BranchMove>,
}

/// A branch that a push moved, made or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BranchMove {
    /// Its name without `refs/heads/`.
    pub branch: String,
    /// The commit at its tip now; none where it was deleted.
    pub tip: Option<CommitId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRepository {
    id: String,
    name: String,
    project: RawProject,
    default_branch: Option<String>,
    is_disabled: Option<bool>,
}

#[derive(Deserialize)]
struct RawProject {
    id: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRef {
    name: String,
    object_id: String,
    creator: Option<IdentityRef>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawItem {
    path: String,
    object_id: Option<String>,
    git_object_type: Option<String>,
    is_folder: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawCommit {
    commit_id: String,
    author: Option<RawSignature>,
    comment: Option<String>,
}

#[derive(Default, Deserialize)]
struct RawSignature {
    name: Option<String>,
    email: Option<String>,
    date: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPush {
    push_id: u32,
    pushed_by: Option<IdentityRef>,
    date: Option<Timestamp>,
    ref_updates: Option<Vec<RawRefUpdate>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRefUpdate {
    name: Option<String>,
    new_object_id: Option<String>,
}

impl RawRefUpdate {
    fn branch_move(self) -> Option<BranchMove> {
        let branch = self.name?.strip_prefix("refs/heads/")?.to_owned();
        let tip = self.new_object_id.filter(|id| id.bytes().any(|digit| digit != b'0'));
        Some(BranchMove { branch, tip: tip.and_then(|id| commit_id(&id).ok()) })
    }
}

impl From<RawPush> for Push {
    fn from(raw: RawPush) -> Self {
        let moved = raw.ref_updates.unwrap_or_default().into_iter().filter_map(RawRefUpdate::branch_move);
        Self {
            id: raw.push_id,
            by: raw.pushed_by.unwrap_or_default().into(),
            date: raw.date,
            moved: moved.collect(),
        }
    }
}

impl Version {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Branch(name) => ("branch", name.as_str()),
            Self::Commit(id) => ("commit", id.as_str()),
        }
    }
}

impl RawItem {
    fn into_item(self) -> Item {
        let kind = match (self.is_folder, self.git_object_type.as_deref()) {
            (Some(true), _) | (_, Some("tree")) => ItemKind::Folder,
            (_, Some("commit")) => ItemKind::Submodule,
            _ => ItemKind::File,
        };
        Item { path: self.path, kind, object_id: self.object_id.unwrap_or_default() }
    }
}

impl Client {
    /// A repository by project and name or id.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn repository(&self, repository: &RepositoryRef) -> Result<Repository, Error> {
        let segments = [repository.project.as_str(), repository.repository.as_str()];
        let found: RawRepository = self.ask(Question::of(&REPOSITORY, &segments)).await?;
        let template = "{project}/_git/{repository}";
        let web_url = self.transport.address.web(template, &[&found.project.name, &found.name], &[]);
        Ok(Repository {
            default_branch: found.default_branch.and_then(|name| BranchName::new(&name).ok()),
            is_disabled: found.is_disabled == Some(true),
            web_url,
            id: found.id,
            name: found.name,
            project_id: found.project.id,
            project: found.project.name,
        })
    }

    /// The branch of exactly this name; `None` when there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn branch(
        &self,
        repository: &RepositoryRef,
        branch: &BranchName,
    ) -> Result<Option<Branch>, Error> {
        let segments = [repository.project.as_str(), repository.repository.as_str()];
        let full = branch.full();
        let filter = format!("heads/{branch}");
        let mut continuation: Option<String> = None;
        // The filter is a prefix: `heads/main` also finds `heads/main2` (FACTS §8).
        for _ in 0..limits::PAGES {
            let mut question =
                Question::of(&REFS, &segments).with("filter", &filter).with("$top", REFS_PER_PAGE);
            if let Some(token) = &continuation {
                question = question.with("continuationToken", token);
            }
            let answer = self.ask_page::<List<RawRef>>(question).await?;
            let mut found = answer.value.value.unwrap_or_default().into_iter();
            if let Some(found) = found.find(|found| found.name == full) {
                let tip = commit_id(&found.object_id)?;
                let web_url = self.transport.address.branch(
                    &repository.project,
                    &repository.repository,
                    branch.as_str(),
                );
                let creator = found.creator.map(Person::from);
                return Ok(Some(Branch { name: branch.clone(), tip, creator, web_url }));
            }
            continuation = answer.continuation;
            if continuation.is_none() {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Lists `folder` (`None`: the root) at `version`; the folder itself is left out.
    ///
    /// # Errors
    /// [`Error`]; [`Error::TooLarge`] past [`limits::LISTING_BYTES`].
    pub async fn items(
        &self,
        repository: &RepositoryRef,
        version: &Version,
        folder: Option<&ItemPath>,
        recursion: Recursion,
    ) -> Result<Vec<Item>, Error> {
        let segments = [repository.project.as_str(), repository.repository.as_str()];
        let (kind, name) = version.parts();
        let scope = folder.map_or("/", ItemPath::as_str);
        let question = Question::of(&ITEMS, &segments)
            .with("scopePath", scope)
            .with("recursionLevel", if recursion == Recursion::Full { "full" } else { "oneLevel" })
            .with("versionDescriptor.version", name)
            .with("versionDescriptor.versionType", kind)
            .with("$format", "json")
            .at_most(limits::LISTING_BYTES);
        let found = self.ask::<List<RawItem>>(question).await?.value.unwrap_or_default();
        let items = found.into_iter().map(RawItem::into_item);
        Ok(items.filter(|item| !(item.kind == ItemKind::Folder && item.path == scope)).collect())
    }

    /// The bytes of a file at `version`, at most `limit` (see [`limits::FILE_BYTES`]).
    ///
    /// # Errors
    /// [`Error`]; [`Error::TooLarge`] past the limit, [`Error::NotFound`] where there is no such file.
    pub async fn file(
        &self,
        repository: &RepositoryRef,
        version: &Version,
        path: &ItemPath,
        limit: usize,
    ) -> Result<Vec<u8>, Error> {
        let segments = [repository.project.as_str(), repository.repository.as_str()];
        let (kind, name) = version.parts();
        let question = Question::of(&ITEMS, &segments)
            .with("path", path.as_str())
            .with("versionDescriptor.version", name)
            .with("versionDescriptor.versionType", kind)
            .with("$format", "octetStream")
            .at_most(limit);
        Ok(self.transport.ask_bytes(question).await?.value)
    }

    /// The last `most` commits that `version` leads to, newest first. Author fields are what the
    /// committer wrote; see [`Client::pushes`] for who really moved a branch.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn commits(
        &self,
        repository: &RepositoryRef,
        version: &Version,
        most: u32,
    ) -> Result<Vec<Commit>, Error> {
        let segments = [repository.project.as_str(), repository.repository.as_str()];
        let (kind, name) = version.parts();
        let question = Question::of(&COMMITS, &segments)
            .with("searchCriteria.itemVersion.version", name)
            .with("searchCriteria.itemVersion.versionType", kind)
            .with("searchCriteria.$top", most);
        let found = self.ask::<List<RawCommit>>(question).await?.value.unwrap_or_default();
        found.into_iter().map(|raw| self.commit_from(repository, raw)).collect()
    }

    /// One commit with its whole message.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn commit(&self, repository: &RepositoryRef, id: &CommitId) -> Result<Commit, Error> {
        let segments = [repository.project.as_str(), repository.repository.as_str(), id.as_str()];
        let raw = self.ask(Question::of(&COMMIT, &segments)).await?;
        self.commit_from(repository, raw)
    }

    pub(super) fn commit_from(&self, repository: &RepositoryRef, raw: RawCommit) -> Result<Commit, Error> {
        let id = commit_id(&raw.commit_id)?;
        let author = raw.author.unwrap_or_default();
        let web_url = self.transport.address.commit(&repository.project, &repository.repository, id.as_str());
        Ok(Commit {
            id,
            author_name: author.name.unwrap_or_default(),
            author_email: author.email.unwrap_or_default(),
            date: author.date,
            message: raw.comment.unwrap_or_default(),
            web_url,
        })
    }

    /// The last `most` pushes to `branch`, newest first: who moved it, as the service saw them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pushes(
        &self,
        repository: &RepositoryRef,
        branch: &BranchName,
        most: u32,
    ) -> Result<Vec<Push>, Error> {
        let segments = [repository.project.as_str(), repository.repository.as_str()];
        let question = Question::of(&PUSHES, &segments)
            .with("searchCriteria.refName", branch.full())
            .with("searchCriteria.includeRefUpdates", true)
            .with("$top", most);
        let found = self.ask::<List<RawPush>>(question).await?.value.unwrap_or_default();
        Ok(found.into_iter().map(Push::from).collect())
    }

    /// A push with the branches that it moved.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn push_by_id(&self, repository: &RepositoryRef, id: u32) -> Result<Push, Error> {
        let number = id.to_string();
        let segments = [repository.project.as_str(), repository.repository.as_str(), &number];
        let question =
            Question::of(&PUSH_BY_ID, &segments).with("includeRefUpdates", true).with("includeCommits", 1);
        Ok(self.ask::<RawPush>(question).await?.into())
    }
}

/// A commit id that the service gave.
pub(super) fn commit_id(text: &str) -> Result<CommitId, Error> {
    CommitId::new(text).map_err(|_| Error::unreadable("a commit id", None))
}
