//! Builds that ended: a failed build of the co-worker's own pull request is repaired.

use super::{Agent, Meaning, Order, TriageError, judged, nothing, prompts};
use crate::action::BranchName;
use crate::azure_devops::{Build, BuildResult, PullRequest, PullRequestStatus};
use crate::event::{self, Trigger, TriggerKind};
use crate::journal::{Entry, Person, RunId, WaitingFor};

/// Most runs that repair one pull request in seven days, unless the repository says otherwise.
pub(super) const MAX_REPAIRS: i64 = 3;
/// Most runs that cause each other, one after the other, without a person in between.
pub(super) const MAX_HOPS: u32 = 4;
/// The commit trailer that names the run (CONTRACTS).
const TRAILER: &str = "Agent-Run: ";

/// The version of a build that ended.
pub(in crate::agent) fn build_version(build: u32) -> String {
    format!("build:{build}")
}

/// The run that made a commit, as far as this journal knows it.
struct Maker {
    run: RunId,
    requested_by: Person,
    hops: u32,
    is_active: bool,
}

impl Agent {
    pub(super) async fn build_completed(&self, id: u32) -> Result<Meaning, TriageError> {
        let build = self.toolbox.reads().build(&self.toolbox.served().project, id).await?;
        if !self.serves(&build.repository_id).await? {
            return Ok(nothing("It is a build of a repository that this co-worker does not serve."));
        }
        let Some(pull_request) = self.own_pull_request_of(&build).await? else {
            return Ok(nothing("It is not a build of an open pull request of the co-worker."));
        };
        let (tip, version) = (pull_request.source_commit.as_ref(), build_version(build.id));
        if tip.is_none() || build.source_commit.as_ref().or(build.commit.as_ref()) != tip {
            return Ok(judged(version, "It built an older commit of the pull request."));
        }
        match build.result {
            Some(BuildResult::Failed) => self.failed(&build, &pull_request).await,
            Some(BuildResult::Succeeded) => self.succeeded(&build, &pull_request).await,
            Some(BuildResult::PartiallySucceeded) => {
                Ok(judged(version, "It succeeded in part, which is left to people."))
            }
            Some(BuildResult::Canceled) => Ok(judged(version, "Somebody stopped it.")),
            None => Ok(nothing("It has not ended.")),
        }
    }

    /// The open pull request of the co-worker that was built.
    async fn own_pull_request_of(&self, build: &Build) -> Result<Option<PullRequest>, TriageError> {
        let (azure, served) = (self.toolbox.reads(), self.toolbox.served());
        let number = build.branch.strip_prefix("refs/pull/").and_then(|rest| rest.strip_suffix("/merge"));
        let candidates = match (number.map(str::parse), BranchName::new(&build.branch)) {
            (Some(Ok(id)), _) => vec![azure.pull_request(served, id).await?],
            (None, Ok(branch)) => azure.active_pull_requests_from(served, &branch).await?,
            _ => Vec::new(),
        };
        for found in candidates {
            if found.status == PullRequestStatus::Active && self.is_me(&found.created_by.id).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn failed(&self, build: &Build, pull_request: &PullRequest) -> Result<Meaning, TriageError> {
        let text = prompts::build_failed(pull_request.id, build.id, pull_request.source_commit.as_ref());
        let Some(maker) = self.maker(pull_request).await? else {
            let why = "Its newest commit was not made by a run of this co-worker.";
            return Ok(judged(build_version(build.id), why));
        };
        let subject = event::pull_request(pull_request.id);
        if maker.is_active && self.active(&subject).await?.is_none() {
            // The run that pushed has not ended: it repairs what it made.
            return Ok(Meaning::Tell { run: maker.run, text, version: Some(build_version(build.id)) });
        }
        let repairs = self.journal.seen_of(&subject, TriggerKind::BuildFailed, self.a_week_ago()).await?;
        let version = build_version(build.id);
        let most = self.toolbox.repository_settings().await?.repairs.map_or(MAX_REPAIRS, i64::from);
        if repairs >= most {
            let why = format!("{most} repairs were tried in a week: a person has to look at this build.");
            return Ok(judged(version, why));
        }
        let hops = maker.hops + 1;
        if hops > MAX_HOPS {
            let why =
                format!("{MAX_HOPS} runs caused each other with no person in between: a person has to look.");
            return Ok(judged(version, why));
        }
        let trigger = Trigger { kind: TriggerKind::BuildFailed, subject, author_id: None, version, hops };
        Ok(Meaning::Orders(vec![Order { trigger, from: maker.requested_by, text }]))
    }

    async fn succeeded(&self, build: &Build, pull_request: &PullRequest) -> Result<Meaning, TriageError> {
        let subject = event::pull_request(pull_request.id);
        let active = self.journal.active_run_about(&subject).await?;
        // A run that works looks at builds by itself; words would only come between.
        if let Some(row) = active.filter(|row| row.waiting_for == Some(WaitingFor::Build)) {
            let text = prompts::build_succeeded(pull_request.id, build.id);
            return Ok(Meaning::Tell { run: row.id, text, version: Some(build_version(build.id)) });
        }
        Ok(judged(
            build_version(build.id),
            match pull_request.is_draft {
                true => "It succeeded. The pull request stays a draft until somebody publishes it.",
                false => "It succeeded, and nothing is left to do.",
            },
        ))
    }

    /// The run that made the newest commit of a pull request of the co-worker. Trailers can be
    /// written by anybody, so the push must be the co-worker's own.
    async fn maker(&self, pull_request: &PullRequest) -> Result<Option<Maker>, TriageError> {
        let (azure, served) = (self.toolbox.reads(), self.toolbox.served());
        let (Some(tip), Ok(branch)) =
            (&pull_request.source_commit, BranchName::new(&pull_request.source_branch))
        else {
            return Ok(None);
        };
        let last = azure.pushes(served, &branch, 1).await?;
        let Some(last) = last.first() else { return Ok(None) };
        if !self.is_me(&last.by.id).await? {
            return Ok(None);
        }
        let message = azure.commit(served, tip).await?.message;
        let named = message.lines().rev().find_map(|line| line.trim().strip_prefix(TRAILER));
        let Some(run) = named.and_then(|text| RunId::parse(text.trim())) else { return Ok(None) };
        let Some(row) = self.journal.run(&run).await? else { return Ok(None) };
        let log = self.journal.log(&run, 0).await?;
        Ok(log.into_iter().find_map(|logged| match logged.entry {
            Entry::Created { requested_by, trigger, .. } => Some(Maker {
                run: run.clone(),
                requested_by,
                hops: trigger.map_or(0, |trigger| trigger.hops),
                is_active: !row.status.is_final(),
            }),
            _ => None,
        }))
    }
}
