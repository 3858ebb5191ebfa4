//! Looks for what happened in Azure DevOps, where no service hook brings it or one was lost.
//!
//! What is found is written down as an event, exactly as a delivery is, and judged by the same code.
//! A version that was judged already is not written down again, so that nothing is judged twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::Agent;
use super::triage::{
    TriageError, assignment_or_mention, build_version, comment_version, push_version, review_version,
};
use crate::action::BranchName;
use crate::azure_devops::{BuildResult, Comment, PullRequest, Role, Thread, Writer};
use crate::event::{self, OutsideEvent};
use crate::journal::{FOUND, FOUND_AT, LOOKED_AT};

/// Most pull requests that are listed in each role.
const MAX_LISTED: usize = 100;
/// Most pull requests whose threads are read in one look; the others have their turn in the next.
const MAX_READ: usize = 25;
/// Most changed work items that are read in one look.
const MAX_ITEMS: usize = 25;
/// Most builds that are read in one look.
const MAX_BUILDS: u32 = 50;
/// The service's lists may be behind by this much.
const OVERLAP: Duration = Duration::from_secs(60);

const ITEMS_SINCE: &str = "looked.work_items";
const BUILDS_SINCE: &str = "looked.builds";

/// Where the next look goes on in the list of other people's pull requests.
#[derive(Default)]
pub(super) struct Cursor(AtomicUsize);

/// One look.
struct Look {
    /// Younger things are left to the service hooks.
    until: Timestamp,
    found: usize,
}

/// An event as it will be written down.
struct Candidate {
    /// The name that the service has for such events.
    kind: &'static str,
    version: String,
    event: OutsideEvent,
    summary: String,
}

const COMMENT: &str = "ms.vss-code.git-pullrequest-comment-event";

impl Agent {
    /// Looks once at everything and writes down what nobody has judged. What is younger than `grace`
    /// is left alone, so that a service hook can bring it first. Gives how many events it found.
    ///
    /// # Errors
    /// [`TriageError`]; what was found until then is written down.
    pub async fn look(&self, grace: Duration) -> Result<usize, TriageError> {
        let now = self.clock.now();
        let lead = jiff::SignedDuration::try_from(grace).unwrap_or_default();
        let mut look = Look { until: now.checked_sub(lead).unwrap_or(now), found: 0 };
        self.look_at_pull_requests(&mut look).await?;
        self.look_at_work_items(&mut look).await?;
        let micros = self.clock.now().as_microsecond();
        self.journal.set_mark(LOOKED_AT, micros).await?;
        if look.found > 0 {
            let before = self.journal.mark(FOUND, 0).await?;
            let found = i64::try_from(look.found).unwrap_or(i64::MAX);
            self.journal.set_mark(FOUND, before.saturating_add(found)).await?;
            self.journal.set_mark(FOUND_AT, micros).await?;
        }
        Ok(look.found)
    }

    /// Writes down those that nobody judged.
    async fn found(&self, look: &mut Look, candidates: Vec<Candidate>) -> Result<(), TriageError> {
        let versions: Vec<String> = candidates.iter().map(|found| found.version.clone()).collect();
        let seen = self.journal.seen(&versions).await?;
        for found in candidates.into_iter().filter(|found| !seen.contains(&found.version)) {
            let key = format!("{}:look:{}", found.kind, found.version);
            let summary = format!("{}, found by looking", found.summary);
            let group = found.event.group();
            let received = self
                .journal
                .receive_about(&key, &summary, found.event, None, group.as_deref(), Duration::ZERO)
                .await?;
            look.found += usize::from(!received.duplicate);
        }
        Ok(())
    }

    async fn look_at_pull_requests(&self, look: &mut Look) -> Result<(), TriageError> {
        let me = self.toolbox.me().await?;
        let (azure, served) = (self.toolbox.reads(), self.toolbox.served());
        let own = azure.active_pull_requests(served, Some(Role::Author(&me.id)), MAX_LISTED).await?;
        let reviewed = azure.active_pull_requests(served, Some(Role::Reviewer(&me.id)), MAX_LISTED).await?;
        let all = azure.active_pull_requests(served, None, MAX_LISTED).await?;
        let known = |found: &PullRequest| own.iter().chain(&reviewed).any(|other| other.id == found.id);
        let mut others: Vec<PullRequest> = all.into_iter().filter(|found| !known(found)).collect();
        if !others.is_empty() {
            let at = self.cursor.0.fetch_add(MAX_READ, Ordering::Relaxed) % others.len();
            others.rotate_left(at);
        }
        for found in own.iter().chain(&reviewed).chain(&others).take(MAX_READ) {
            self.look_at_threads(look, found, found.created_by.id.eq_ignore_ascii_case(&me.id)).await?;
        }
        for found in reviewed.iter().chain(&others) {
            self.look_at_request(look, found, &me.id).await?;
        }
        self.look_at_builds(look, &own).await?;
        self.look_at_runs(look, &own).await
    }

    async fn look_at_threads(
        &self,
        look: &mut Look,
        found: &PullRequest,
        is_own: bool,
    ) -> Result<(), TriageError> {
        let me = self.toolbox.me().await?;
        let repository_id = self.toolbox.repository().await?.id.clone();
        let threads = self.toolbox.reads().threads(self.toolbox.served(), found.id).await?;
        let mut candidates = Vec::new();
        for (thread, comment) in spoken(&threads) {
            let speaks = is_own || super::triage::mentions(&comment.text, &me.id);
            let is_theirs =
                comment.written_by == Writer::Person && !comment.author.id.eq_ignore_ascii_case(&me.id);
            let is_settled = comment.edited.is_none_or(|at| at <= look.until);
            if speaks && is_theirs && is_settled && self.too_old(comment.edited).await?.is_none() {
                candidates.push(Candidate {
                    kind: COMMENT,
                    version: comment_version(found.id, thread, comment),
                    event: OutsideEvent::PullRequestCommented {
                        repository_id: repository_id.clone(),
                        pull_request_id: found.id,
                        thread_id: Some(thread),
                        comment_id: comment.id,
                    },
                    summary: format!("comment on pull request {}", found.id),
                });
            }
        }
        self.found(look, candidates).await
    }

    /// Somebody else's pull request that asks for the co-worker.
    async fn look_at_request(
        &self,
        look: &mut Look,
        found: &PullRequest,
        me: &str,
    ) -> Result<(), TriageError> {
        let is_settled = found.created.is_none_or(|at| at <= look.until);
        let mentioned = super::triage::mentions(&found.description, me);
        let asked = found.reviewers.iter().any(|reviewer| reviewer.person.id.eq_ignore_ascii_case(me));
        if !is_settled || !(mentioned || asked) {
            return Ok(());
        }
        let version = match asked {
            true => review_version(found.id),
            // Lists cut descriptions, so that which text it is can only be told by reading it whole.
            false => match self.described_version(found.id).await? {
                Some(version) => version,
                None => return Ok(()),
            },
        };
        let event = OutsideEvent::PullRequestChanged {
            repository_id: self.toolbox.repository().await?.id.clone(),
            pull_request_id: found.id,
        };
        let (kind, summary) = ("git.pullrequest.created", format!("pull request {}", found.id));
        self.found(look, vec![Candidate { kind, version, event, summary }]).await
    }

    /// Builds of the co-worker's own pull requests that ended.
    async fn look_at_builds(&self, look: &mut Look, own: &[PullRequest]) -> Result<(), TriageError> {
        let began = look.until.as_microsecond();
        let since = self.journal.mark(BUILDS_SINCE, began).await?;
        if own.is_empty() {
            return Ok(self.journal.set_mark(BUILDS_SINCE, began).await?);
        }
        let since = earlier(Timestamp::from_microsecond(since).unwrap_or(look.until));
        let (azure, project) = (self.toolbox.reads(), &self.toolbox.served().project);
        let repository = &self.toolbox.repository().await?.id;
        let builds = azure.finished_builds(project, repository, since, MAX_BUILDS).await?;
        let is_own = |branch: &str| {
            own.iter().any(|found| {
                branch == found.source_branch || branch == format!("refs/pull/{}/merge", found.id)
            })
        };
        let candidates = builds
            .iter()
            .filter(|build| is_own(&build.branch) && build.finished.is_none_or(|at| at <= look.until))
            .filter(|build| matches!(build.result, Some(BuildResult::Failed | BuildResult::Succeeded)))
            .map(|build| Candidate {
                kind: "build.complete",
                version: build_version(build.id),
                event: OutsideEvent::BuildCompleted { build_id: build.id },
                summary: format!("build {} completed", build.id),
            })
            .collect();
        self.found(look, candidates).await?;
        Ok(self.journal.set_mark(BUILDS_SINCE, began).await?)
    }

    /// What a run under way has to know: its pull request was closed, somebody pushed to its branch.
    async fn look_at_runs(&self, look: &mut Look, own: &[PullRequest]) -> Result<(), TriageError> {
        let (azure, served) = (self.toolbox.reads(), self.toolbox.served());
        let repository_id = self.toolbox.repository().await?.id.clone();
        let me = self.toolbox.me().await?;
        for subject in self.journal.active_subjects().await? {
            let Some(id) = subject.strip_prefix("pull_request:").and_then(|id| id.parse::<u32>().ok()) else {
                continue;
            };
            let Some(found) = own.iter().find(|found| found.id == id) else {
                let found = azure.pull_request(served, id).await?;
                if found.status != crate::azure_devops::PullRequestStatus::Active {
                    let event = OutsideEvent::PullRequestChanged {
                        repository_id: repository_id.clone(),
                        pull_request_id: id,
                    };
                    let (kind, summary) = ("git.pullrequest.updated", format!("pull request {id} closed"));
                    let version = format!("closed:{id}");
                    self.found(look, vec![Candidate { kind, version, event, summary }]).await?;
                }
                continue;
            };
            let Ok(branch) = BranchName::new(&found.source_branch) else { continue };
            for push in azure.pushes(served, &branch, 1).await? {
                if !push.by.id.eq_ignore_ascii_case(&me.id) {
                    let event =
                        OutsideEvent::Pushed { repository_id: repository_id.clone(), push_id: push.id };
                    let (kind, version) = ("git.push", push_version(push.id));
                    let summary = format!("push {}", push.id);
                    self.found(look, vec![Candidate { kind, version, event, summary }]).await?;
                }
            }
        }
        Ok(())
    }

    /// Work items that changed since the last look.
    async fn look_at_work_items(&self, look: &mut Look) -> Result<(), TriageError> {
        let until = look.until.as_microsecond();
        let mark = self.journal.mark(ITEMS_SINCE, until).await?;
        let since = earlier(Timestamp::from_microsecond(mark).unwrap_or(look.until));
        let project = &self.toolbox.served().project;
        let changed = self.toolbox.reads().changed_work_items(project, since, MAX_ITEMS).await?;
        // Past the limit, the next look begins where this one ends.
        let whole = changed.len() < MAX_ITEMS;
        let mut reached = mark;
        for (id, at) in changed {
            if at > look.until {
                break;
            }
            reached = reached.max(at.as_microsecond());
            if let Some(version) = assignment_or_mention(self, id).await? {
                let event = OutsideEvent::WorkItemChanged { work_item_id: id };
                let summary = format!("{} changed", event::work_item(id).replace(['_', ':'], " "));
                self.found(look, vec![Candidate { kind: "workitem.updated", version, event, summary }])
                    .await?;
            }
        }
        Ok(self.journal.set_mark(ITEMS_SINCE, if whole { until.max(mark) } else { reached }).await?)
    }
}

/// Every comment with its thread.
fn spoken(threads: &[Thread]) -> Vec<(u32, &Comment)> {
    threads.iter().flat_map(|thread| thread.comments.iter().map(|comment| (thread.id, comment))).collect()
}

fn earlier(at: Timestamp) -> Timestamp {
    let overlap = jiff::SignedDuration::try_from(OVERLAP).unwrap_or_default();
    at.checked_sub(overlap).unwrap_or(Timestamp::MIN)
}
