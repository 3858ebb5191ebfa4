//! Reads of pull requests.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::git::{Commit, RawCommit, commit_id};
use super::people::{IdentityRef, List, Person};
use super::routes::{
    ITERATION_CHANGES, ITERATIONS, PULL_REQUEST, PULL_REQUEST_COMMITS, PULL_REQUEST_WORK_ITEMS, PULL_REQUESTS,
};
use super::transport::Question;
use super::{Client, Error, limits};
use crate::action::{BranchName, CommitId, RepositoryRef};

/// Changes in one page.
const CHANGES_PER_PAGE: u32 = 2_000;

/// A pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PullRequest {
    /// Number, unique in the organisation.
    pub id: u32,
    /// Title.
    pub title: String,
    /// Description, Markdown; in lists the service cuts it.
    pub description: String,
    /// Status.
    pub status: PullRequestStatus,
    /// Whether it is a draft.
    pub is_draft: bool,
    /// Branch that is merged, without `refs/heads/`.
    pub source_branch: String,
    /// Branch that it goes into, without `refs/heads/`.
    pub target_branch: String,
    /// Whether the source branch is in a fork: then it is not ours to push to.
    pub is_from_fork: bool,
    /// Who opened it.
    pub created_by: Person,
    /// When.
    pub created: Option<Timestamp>,
    /// Reviewers and their votes.
    pub reviewers: Vec<Reviewer>,
    /// Linked work items; empty in lists.
    pub work_item_ids: Vec<u32>,
    /// `succeeded`, `conflicts`, `queued` and so on, as the service says.
    pub merge_status: Option<String>,
    /// Tip of the source branch, as the pull request knows it.
    pub source_commit: Option<CommitId>,
    /// Tip of the target branch, as the pull request knows it.
    pub target_commit: Option<CommitId>,
    /// Name of its repository.
    pub repository: String,
    /// Name of its project.
    pub project: String,
    /// Its page.
    pub web_url: String,
}

/// Status of a pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PullRequestStatus {
    /// Open.
    Active,
    /// Given up.
    Abandoned,
    /// Merged.
    Completed,
    /// Something that we do not know.
    Unknown,
}

/// A reviewer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reviewer {
    /// Who.
    #[serde(flatten)]
    pub person: Person,
    /// 10 approved, 5 approved with suggestions, 0 none, -5 waits for the author, -10 rejected.
    pub vote: i32,
    /// Whether their approval is required.
    pub is_required: bool,
}

/// What somebody is to a pull request, by identity id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// Opened it.
    Author(&'a str),
    /// Is a reviewer of it.
    Reviewer(&'a str),
}

/// What a pull request changes, at its latest iteration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PullRequestChanges {
    /// The iteration, from 1; 0 when there is none yet.
    pub iteration: u32,
    /// The source branch as the iteration has it.
    pub source_commit: Option<CommitId>,
    /// Where source and target parted: the left side of the comparison.
    pub common_commit: Option<CommitId>,
    /// The files.
    pub files: Vec<ChangedFile>,
}

/// A changed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedFile {
    /// Path with a leading slash.
    pub path: String,
    /// `add`, `edit`, `delete`, `rename` and combinations, as the service says.
    pub change: String,
    /// Path before a rename.
    pub original_path: Option<String>,
    /// What a comment on this file must name.
    pub change_tracking_id: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawPullRequest {
    pub(super) pull_request_id: u32,
    pub(super) title: Option<String>,
    description: Option<String>,
    status: Option<String>,
    is_draft: Option<bool>,
    source_ref_name: Option<String>,
    target_ref_name: Option<String>,
    fork_source: Option<serde_json::Value>,
    created_by: Option<IdentityRef>,
    creation_date: Option<Timestamp>,
    reviewers: Option<Vec<RawReviewer>>,
    work_item_refs: Option<Vec<RawResource>>,
    merge_status: Option<String>,
    pub(super) last_merge_source_commit: Option<RawTip>,
    last_merge_target_commit: Option<RawTip>,
    repository: Option<RawRepository>,
}

#[derive(Deserialize)]
struct RawReviewer {
    #[serde(flatten)]
    identity: IdentityRef,
    vote: Option<i32>,
    #[serde(rename = "isRequired")]
    is_required: Option<bool>,
}

#[derive(Deserialize)]
struct RawResource {
    id: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawTip {
    commit_id: Option<String>,
}

#[derive(Deserialize)]
struct RawRepository {
    name: Option<String>,
    project: Option<RawProject>,
}

#[derive(Deserialize)]
struct RawProject {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawIteration {
    id: u32,
    source_ref_commit: Option<RawTip>,
    common_ref_commit: Option<RawTip>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawChanges {
    change_entries: Option<Vec<RawChange>>,
    next_skip: Option<u32>,
    next_top: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawChange {
    change_tracking_id: Option<u32>,
    change_type: Option<String>,
    original_path: Option<String>,
    item: Option<RawItem>,
}

#[derive(Deserialize)]
struct RawItem {
    path: Option<String>,
}

impl RawTip {
    pub(super) fn id(self) -> Option<CommitId> {
        commit_id(&self.commit_id?).ok()
    }
}

fn ids(resources: Option<Vec<RawResource>>) -> Vec<u32> {
    let id = |resource: RawResource| match resource.id {
        serde_json::Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|id| u32::try_from(id).ok()),
    };
    resources.unwrap_or_default().into_iter().filter_map(id).collect()
}

fn short(name: Option<String>) -> String {
    let name = name.unwrap_or_default();
    name.strip_prefix("refs/heads/").map(str::to_owned).unwrap_or(name)
}

fn status(name: Option<&str>) -> PullRequestStatus {
    match name.map(str::to_ascii_lowercase).as_deref() {
        Some("active") => PullRequestStatus::Active,
        Some("abandoned") => PullRequestStatus::Abandoned,
        Some("completed") => PullRequestStatus::Completed,
        _ => PullRequestStatus::Unknown,
    }
}

impl From<RawReviewer> for Reviewer {
    fn from(raw: RawReviewer) -> Self {
        let person = raw.identity.into();
        Self { person, vote: raw.vote.unwrap_or(0), is_required: raw.is_required == Some(true) }
    }
}

impl Client {
    /// A pull request with its whole description and its work items.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pull_request(&self, repository: &RepositoryRef, id: u32) -> Result<PullRequest, Error> {
        let number = id.to_string();
        let segments = [repository.project.as_str(), repository.repository.as_str(), &number];
        let question = Question::of(&PULL_REQUEST, &segments).with("includeWorkItemRefs", true);
        let raw: RawPullRequest = self.ask(question).await?;
        let refs_given = raw.work_item_refs.is_some();
        let mut found = self.pull_request_from(repository, raw);
        if !refs_given {
            // An older Server leaves the references out.
            let question = Question::of(&PULL_REQUEST_WORK_ITEMS, &segments);
            found.work_item_ids = ids(self.ask::<List<RawResource>>(question).await?.value);
        }
        Ok(found)
    }

    /// The active pull requests whose source is `branch`; descriptions may be cut.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn active_pull_requests_from(
        &self,
        repository: &RepositoryRef,
        branch: &BranchName,
    ) -> Result<Vec<PullRequest>, Error> {
        let all = self.pull_requests_from(repository, branch, "active").await?;
        Ok(all.into_iter().filter(|found| found.status == PullRequestStatus::Active).collect())
    }

    /// The newest pull requests whose source is `branch`, in `status` as the service names it (`all`
    /// for every one); descriptions may be cut.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pull_requests_from(
        &self,
        repository: &RepositoryRef,
        branch: &BranchName,
        status: &str,
    ) -> Result<Vec<PullRequest>, Error> {
        let segments = [repository.project.as_str(), repository.repository.as_str()];
        let question = Question::of(&PULL_REQUESTS, &segments)
            .with("searchCriteria.status", status)
            .with("searchCriteria.sourceRefName", branch.full())
            .with("$top", 100);
        let found = self.ask::<List<RawPullRequest>>(question).await?.value.unwrap_or_default();
        let all = found.into_iter().map(|raw| self.pull_request_from(repository, raw));
        Ok(all.filter(|found| found.source_branch == branch.as_str() && !found.is_from_fork).collect())
    }

    /// The newest `most` active pull requests of a repository: all of them, or those of one role.
    /// Descriptions may be cut.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn active_pull_requests(
        &self,
        repository: &RepositoryRef,
        of: Option<Role<'_>>,
        most: usize,
    ) -> Result<Vec<PullRequest>, Error> {
        let segments = [repository.project.as_str(), repository.repository.as_str()];
        let mut question = Question::of(&PULL_REQUESTS, &segments)
            .with("searchCriteria.status", "active")
            .with("$top", most);
        question = match of {
            Some(Role::Author(id)) => question.with("searchCriteria.creatorId", id),
            Some(Role::Reviewer(id)) => question.with("searchCriteria.reviewerId", id),
            None => question,
        };
        let found = self.ask::<List<RawPullRequest>>(question).await?.value.unwrap_or_default();
        Ok(found.into_iter().map(|raw| self.pull_request_from(repository, raw)).collect())
    }

    /// The commits of a pull request, newest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pull_request_commits(
        &self,
        repository: &RepositoryRef,
        id: u32,
    ) -> Result<Vec<Commit>, Error> {
        let number = id.to_string();
        let segments = [repository.project.as_str(), repository.repository.as_str(), &number];
        let found = self.ask::<List<RawCommit>>(Question::of(&PULL_REQUEST_COMMITS, &segments)).await?;
        found.value.unwrap_or_default().into_iter().map(|raw| self.commit_from(repository, raw)).collect()
    }

    /// The files that a pull request changes, compared with where it branched off.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pull_request_changes(
        &self,
        repository: &RepositoryRef,
        id: u32,
    ) -> Result<PullRequestChanges, Error> {
        let number = id.to_string();
        let segments = [repository.project.as_str(), repository.repository.as_str(), &number];
        let iterations = self.ask::<List<RawIteration>>(Question::of(&ITERATIONS, &segments)).await?.value;
        let latest = iterations.unwrap_or_default().into_iter().max_by_key(|iteration| iteration.id);
        let Some(RawIteration { id: iteration, source_ref_commit, common_ref_commit }) = latest else {
            let (source_commit, common_commit) = (None, None);
            return Ok(PullRequestChanges { iteration: 0, source_commit, common_commit, files: Vec::new() });
        };
        let source_commit = source_ref_commit.and_then(RawTip::id);
        let common_commit = common_ref_commit.and_then(RawTip::id);
        let latest = iteration.to_string();
        let segments = [segments[0], segments[1], segments[2], &latest];
        let (mut files, mut skip, mut top) = (Vec::new(), 0, CHANGES_PER_PAGE);
        for _ in 0..limits::PAGES {
            let question = Question::of(&ITERATION_CHANGES, &segments)
                .with("$compareTo", 0)
                .with("$top", top)
                .with("$skip", skip);
            let page: RawChanges = self.ask(question).await?;
            files.extend(page.change_entries.unwrap_or_default().into_iter().filter_map(changed_file));
            match (page.next_skip, page.next_top) {
                (Some(next), Some(next_top)) if next > skip && next_top > 0 => (skip, top) = (next, next_top),
                _ => break,
            }
        }
        Ok(PullRequestChanges { iteration, source_commit, common_commit, files })
    }

    pub(super) fn pull_request_from(&self, asked: &RepositoryRef, raw: RawPullRequest) -> PullRequest {
        let repository = raw.repository;
        let project = repository.as_ref().and_then(|found| found.project.as_ref()?.name.clone());
        let project = project.unwrap_or_else(|| asked.project.clone());
        let repository = repository.and_then(|found| found.name).unwrap_or_else(|| asked.repository.clone());
        PullRequest {
            id: raw.pull_request_id,
            title: raw.title.unwrap_or_default(),
            description: raw.description.unwrap_or_default(),
            status: status(raw.status.as_deref()),
            is_draft: raw.is_draft == Some(true),
            source_branch: short(raw.source_ref_name),
            target_branch: short(raw.target_ref_name),
            is_from_fork: raw.fork_source.is_some_and(|fork| !fork.is_null()),
            created_by: raw.created_by.unwrap_or_default().into(),
            created: raw.creation_date,
            reviewers: raw.reviewers.unwrap_or_default().into_iter().map(Reviewer::from).collect(),
            work_item_ids: ids(raw.work_item_refs),
            merge_status: raw.merge_status,
            source_commit: raw.last_merge_source_commit.and_then(RawTip::id),
            target_commit: raw.last_merge_target_commit.and_then(RawTip::id),
            web_url: self.transport.address.pull_request(&project, &repository, raw.pull_request_id),
            repository,
            project,
        }
    }
}

fn changed_file(raw: RawChange) -> Option<ChangedFile> {
    let path = raw.item.and_then(|item| item.path).or_else(|| raw.original_path.clone())?;
    let original_path = raw.original_path.filter(|original| *original != path);
    let change = raw.change_type.unwrap_or_default();
    Some(ChangedFile { path, change, original_path, change_tracking_id: raw.change_tracking_id })
}
