//! Reads of builds: state, what failed, the end of a log, failed tests, definitions.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::git::commit_id;
use super::people::{IdentityRef, List, Person};
use super::routes::{
    BUILD, BUILD_LOG, BUILD_LOGS, BUILD_TIMELINE, BUILDS, DEFINITIONS, TEST_RESULTS, TEST_RUNS,
};
use super::transport::Question;
use super::{Client, Error, Me, limits};
use crate::action::{BranchName, CommitId, RepositoryRef};

/// Most definitions that are listed.
const MAX_DEFINITIONS: u32 = 200;
/// Newest builds of a branch among which the co-worker's own are looked for.
const MAX_OWN_BUILDS: u32 = 50;
/// The service's name of a build that somebody asked for.
const MANUAL: &str = "manual";

/// A build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Build {
    /// Number, unique in the organisation.
    pub id: u32,
    /// Its name for people, for example `20261122.3`.
    pub number: String,
    /// Name of its definition.
    pub definition: String,
    /// Number of its definition.
    pub definition_id: u32,
    /// Whether it has ended.
    pub status: BuildStatus,
    /// How it ended; none before.
    pub result: Option<BuildResult>,
    /// `manual`, `individualCI`, `pullRequest` and so on, as the service says.
    pub reason: String,
    /// What is built: a branch without `refs/heads/`, or `refs/pull/{id}/merge`.
    pub branch: String,
    /// The commit that is built; of a pull request the merge preview.
    pub commit: Option<CommitId>,
    /// The commit of the source branch that it was started for: the built one, except for a build
    /// of a pull request; none where the service does not say.
    pub source_commit: Option<CommitId>,
    /// Id of the repository that is built.
    pub repository_id: String,
    /// Who asked for it.
    pub requested_for: Person,
    /// When it was queued.
    pub queued: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Its page.
    pub web_url: String,
}

/// Status of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildStatus {
    /// Queued.
    NotStarted,
    /// Under way.
    InProgress,
    /// Ended.
    Completed,
    /// Is being stopped.
    Cancelling,
    /// Waits.
    Postponed,
    /// Something that we do not know.
    Unknown,
}

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildResult {
    /// Everything went well.
    Succeeded,
    /// Some steps failed that do not matter to it.
    PartiallySucceeded,
    /// It failed.
    Failed,
    /// It was stopped.
    Canceled,
}

/// A step that did not go well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedStep {
    /// Name.
    pub name: String,
    /// `failed`, `canceled` or `abandoned`, as the service says.
    pub result: String,
    /// Errors that it reported.
    pub errors: Vec<String>,
    /// Its log.
    pub log_id: Option<u32>,
}

/// The end of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogTail {
    /// Lines of the whole log.
    pub total: usize,
    /// The last of them.
    pub lines: Vec<String>,
}

/// What the tests of a build say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TestSummary {
    /// Tests that were run.
    pub total: u32,
    /// Those that failed; the first of them.
    pub failed: Vec<FailedTest>,
}

/// A failed test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedTest {
    /// Name.
    pub name: String,
    /// Error message.
    pub message: String,
    /// Stack trace.
    pub stack: String,
}

/// A build definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// Number.
    pub id: u32,
    /// Name.
    pub name: String,
    /// The file that defines it, where it is defined by one.
    pub yaml: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawBuild {
    id: u32,
    build_number: Option<String>,
    status: Option<String>,
    result: Option<String>,
    reason: Option<String>,
    source_branch: Option<String>,
    source_version: Option<String>,
    definition: Option<RawDefinition>,
    repository: Option<RawRepository>,
    requested_for: Option<IdentityRef>,
    queue_time: Option<Timestamp>,
    finish_time: Option<Timestamp>,
    trigger_info: Option<Value>,
}

#[derive(Deserialize)]
struct RawDefinition {
    id: u32,
    name: Option<String>,
    process: Option<RawProcess>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawProcess {
    yaml_filename: Option<String>,
}

#[derive(Deserialize)]
struct RawRepository {
    id: Option<String>,
}

#[derive(Deserialize)]
struct RawTimeline {
    records: Option<Vec<RawRecord>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRecord {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    result: Option<String>,
    start_time: Option<Timestamp>,
    order: Option<i64>,
    log: Option<RawLog>,
    issues: Option<Vec<RawIssue>>,
}

#[derive(Deserialize)]
struct RawIssue {
    #[serde(rename = "type")]
    kind: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLog {
    id: u32,
    line_count: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTestRun {
    id: u32,
    total_tests: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTestResult {
    test_case_title: Option<String>,
    automated_test_name: Option<String>,
    error_message: Option<String>,
    stack_trace: Option<String>,
}

fn status(name: Option<&str>) -> BuildStatus {
    match name.map(str::to_ascii_lowercase).as_deref() {
        Some("notstarted") => BuildStatus::NotStarted,
        Some("inprogress") => BuildStatus::InProgress,
        Some("completed") => BuildStatus::Completed,
        Some("cancelling") => BuildStatus::Cancelling,
        Some("postponed") => BuildStatus::Postponed,
        _ => BuildStatus::Unknown,
    }
}

fn result(name: Option<&str>) -> Option<BuildResult> {
    match name.map(str::to_ascii_lowercase).as_deref() {
        Some("succeeded") => Some(BuildResult::Succeeded),
        Some("partiallysucceeded") => Some(BuildResult::PartiallySucceeded),
        Some("failed") => Some(BuildResult::Failed),
        Some("canceled") => Some(BuildResult::Canceled),
        _ => None,
    }
}

impl RawRecord {
    fn failed(&self) -> bool {
        self.result.as_deref().is_some_and(|result| {
            ["failed", "canceled", "abandoned"].iter().any(|bad| result.eq_ignore_ascii_case(bad))
        })
    }

    fn is_task(&self) -> bool {
        self.kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("task"))
    }

    fn into_step(self) -> FailedStep {
        let is_error =
            |issue: &RawIssue| issue.kind.as_deref().is_none_or(|k| k.eq_ignore_ascii_case("error"));
        let issues = self.issues.unwrap_or_default().into_iter().filter(is_error);
        FailedStep {
            name: self.name.unwrap_or_default(),
            result: self.result.unwrap_or_default(),
            errors: issues.filter_map(|issue| issue.message).collect(),
            log_id: self.log.map(|log| log.id),
        }
    }
}

impl Client {
    /// Builds of a repository that ended at or after `since`, newest first, at most `most`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn finished_builds(
        &self,
        project: &str,
        repository_id: &str,
        since: Timestamp,
        most: u32,
    ) -> Result<Vec<Build>, Error> {
        let segments = [project];
        let question = Question::of(&BUILDS, &segments)
            .with("repositoryId", repository_id)
            .with("repositoryType", "TfsGit")
            .with("statusFilter", "completed")
            .with("minTime", since)
            .with("queryOrder", "finishTimeDescending")
            .with("$top", most);
        let found = self.ask::<List<RawBuild>>(question).await?.value.unwrap_or_default();
        let builds = found.into_iter().map(|raw| self.build_from(project, raw));
        // What `minTime` is compared with follows the order that is asked for; to be sure:
        Ok(builds.filter(|build| build.finished.is_none_or(|at| at >= since)).collect())
    }

    /// The newest `most` builds of `reference` (`refs/heads/…` or `refs/pull/{id}/merge`) of a
    /// repository, newest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn builds(
        &self,
        project: &str,
        repository_id: &str,
        reference: &str,
        most: u32,
    ) -> Result<Vec<Build>, Error> {
        let segments = [project];
        let question = Question::of(&BUILDS, &segments)
            .with("repositoryId", repository_id)
            .with("repositoryType", "TfsGit")
            .with("branchName", reference)
            .with("queryOrder", "queueTimeDescending")
            .with("$top", most);
        let found = self.ask::<List<RawBuild>>(question).await?.value.unwrap_or_default();
        Ok(found.into_iter().map(|raw| self.build_from(project, raw)).collect())
    }

    /// The builds of a branch that `me` asked for by hand, newest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn own_builds(
        &self,
        repository: &RepositoryRef,
        definition: u32,
        branch: &BranchName,
        me: &Me,
    ) -> Result<Vec<Build>, Error> {
        let id = self.repository(repository).await?.id;
        let mut found = self.builds(&repository.project, &id, &branch.full(), MAX_OWN_BUILDS).await?;
        found.retain(|build| {
            build.definition_id == definition && build.reason == MANUAL && build.requested_for.id == me.id
        });
        found.sort_by_key(|build| std::cmp::Reverse(build.id));
        Ok(found)
    }

    /// A build.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn build(&self, project: &str, id: u32) -> Result<Build, Error> {
        let raw = self.ask(Question::of(&BUILD, &[project, &id.to_string()])).await?;
        Ok(self.build_from(project, raw))
    }

    /// The steps of a build that did not go well, in their order; where none says so, the job or
    /// stage that failed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn failed_steps(&self, project: &str, build: u32) -> Result<Vec<FailedStep>, Error> {
        let segments = [project, &build.to_string()];
        // A build that has not begun has no timeline: 204, or null.
        let found = self.ask::<Option<RawTimeline>>(Question::of(&BUILD_TIMELINE, &segments)).await?;
        let records = found.and_then(|timeline| timeline.records).unwrap_or_default();
        let mut failed: Vec<RawRecord> = records.into_iter().filter(RawRecord::failed).collect();
        failed.sort_by_key(|record| (record.start_time, record.order));
        let (tasks, frames): (Vec<RawRecord>, Vec<RawRecord>) =
            failed.into_iter().partition(RawRecord::is_task);
        let told = |frame: &RawRecord| frame.issues.as_ref().is_some_and(|issues| !issues.is_empty());
        let frames = frames.into_iter().filter(|frame| tasks.is_empty() || told(frame)).collect::<Vec<_>>();
        Ok(tasks.into_iter().chain(frames).map(RawRecord::into_step).collect())
    }

    /// The last `most` lines of one log of a build.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn log_tail(&self, project: &str, build: u32, log: u32, most: usize) -> Result<LogTail, Error> {
        let (build, number) = (build.to_string(), log.to_string());
        let logs = self.ask::<List<RawLog>>(Question::of(&BUILD_LOGS, &[project, &build])).await?;
        let count = logs.value.unwrap_or_default().into_iter().find(|found| found.id == log);
        let count = count.and_then(|found| usize::try_from(found.line_count?).ok());
        let segments = [project, build.as_str(), number.as_str()];
        let mut question = Question::of(&BUILD_LOG, &segments);
        let first = count.map_or(1, |count| count.saturating_sub(most) + 1);
        if first > 1 {
            question = question.with("startLine", first);
        }
        let mut lines = self.ask::<List<String>>(question).await?.value.unwrap_or_default();
        let total = count.unwrap_or(lines.len()).max(lines.len());
        lines.drain(..lines.len().saturating_sub(most));
        Ok(LogTail { total, lines })
    }

    /// What the tests of a build say; the first `most` that failed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn test_summary(&self, project: &str, build: u32, most: usize) -> Result<TestSummary, Error> {
        let segments = [project];
        let question =
            Question::of(&TEST_RUNS, &segments).with("buildUri", format!("vstfs:///Build/Build/{build}"));
        let runs = self.ask::<List<RawTestRun>>(question).await?.value.unwrap_or_default();
        let mut summary = TestSummary::default();
        for run in runs.into_iter().take(limits::TEST_RUNS) {
            summary.total = summary.total.saturating_add(run.total_tests.unwrap_or(0));
            let left = most.saturating_sub(summary.failed.len());
            if left == 0 {
                continue;
            }
            let number = run.id.to_string();
            let segments = [project, number.as_str()];
            let question =
                Question::of(&TEST_RESULTS, &segments).with("outcomes", "Failed").with("$top", left);
            let found = self.ask::<List<RawTestResult>>(question).await?.value.unwrap_or_default();
            summary.failed.extend(found.into_iter().take(left).map(|test| FailedTest {
                name: test.automated_test_name.or(test.test_case_title).unwrap_or_default(),
                message: test.error_message.unwrap_or_default(),
                stack: test.stack_trace.unwrap_or_default(),
            }));
        }
        Ok(summary)
    }

    /// The definitions that build a repository.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn build_definitions(
        &self,
        project: &str,
        repository_id: &str,
    ) -> Result<Vec<Definition>, Error> {
        let segments = [project];
        let question = Question::of(&DEFINITIONS, &segments)
            .with("repositoryId", repository_id)
            .with("repositoryType", "TfsGit")
            // Without it the file of a definition is not told.
            .with("includeAllProperties", "true")
            .with("$top", MAX_DEFINITIONS);
        let found = self.ask::<List<RawDefinition>>(question).await?.value.unwrap_or_default();
        let definition = |raw: RawDefinition| Definition {
            id: raw.id,
            name: raw.name.unwrap_or_default(),
            yaml: raw.process.and_then(|process| process.yaml_filename),
        };
        Ok(found.into_iter().map(definition).collect())
    }

    pub(super) fn build_from(&self, project: &str, raw: RawBuild) -> Build {
        let commit = |text: &str| commit_id(text).ok();
        let built = raw.source_version.as_deref().and_then(commit);
        let trigger = raw.trigger_info.unwrap_or_default();
        let branch = raw.source_branch.unwrap_or_default();
        // A pull request is built as its merge preview, which is nobody's commit.
        let source = match branch.starts_with("refs/pull/") {
            true => trigger["pr.sourceSha"].as_str().and_then(commit),
            false => built.clone(),
        };
        let definition = raw.definition;
        Build {
            id: raw.id,
            number: raw.build_number.unwrap_or_default(),
            definition_id: definition.as_ref().map_or(0, |found| found.id),
            definition: definition.and_then(|found| found.name).unwrap_or_default(),
            status: status(raw.status.as_deref()),
            result: result(raw.result.as_deref()),
            reason: raw.reason.unwrap_or_default(),
            branch: branch.strip_prefix("refs/heads/").map(str::to_owned).unwrap_or(branch),
            source_commit: source,
            commit: built,
            repository_id: raw.repository.and_then(|found| found.id).unwrap_or_default(),
            requested_for: raw.requested_for.unwrap_or_default().into(),
            queued: raw.queue_time,
            finished: raw.finish_time,
            web_url: self.transport.address.build(project, raw.id),
        }
    }
}
