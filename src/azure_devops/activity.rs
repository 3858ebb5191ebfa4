//! What somebody did in the organisation, as the organisation tells it: its audit log, and the traces
//! that work leaves on pushes, pull requests, work items and builds.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::people::{IdentityRef, List, Person};
use super::routes::{AUDIT_LOG, BUILDS, PULL_REQUESTS, PUSHES, WORK_ITEM_UPDATES};
use super::transport::Question;
use super::{Client, Error, limits};
use crate::action::RepositoryRef;

/// Items in one page.
const PER_PAGE: usize = 100;
/// Most work items whose changes are read.
const MAX_WORK_ITEMS: usize = 500;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Did {
    /// An entry of the audit log.
    Audited,
    /// A push, or a branch that was made or deleted.
    Pushed,
    /// A pull request was created.
    OpenedPullRequest,
    /// A comment in a pull request.
    Commented,
    /// A work item was made or changed.
    ChangedWorkItem,
    /// A build was asked for.
    QueuedBuild,
}

/// Something that somebody did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Deed {
    /// What.
    pub did: Did,
    /// To what: number of the pull request, work item or build, commit and branch of a push, name of an
    /// audited action.
    pub object: String,
    /// When.
    pub at: Timestamp,
    /// Azure DevOps' id of the request, where it is told.
    pub activity_id: Option<String>,
    /// In words.
    pub what: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLog {
    #[serde(default)]
    decorated_audit_log_entries: Vec<RawAudit>,
    continuation_token: Option<String>,
    #[serde(default)]
    has_more: bool,
    /// The documents' example has everything one level deeper.
    value: Option<Box<RawLog>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAudit {
    activity_id: Option<String>,
    actor_user_id: Option<String>,
    #[serde(rename = "actorUPN")]
    actor_upn: Option<String>,
    timestamp: Option<Timestamp>,
    action_id: Option<String>,
    details: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPush {
    push_id: u32,
    pushed_by: Option<IdentityRef>,
    date: Option<Timestamp>,
    ref_updates: Option<Vec<RawMove>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMove {
    name: Option<String>,
    new_object_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRequest {
    pull_request_id: u32,
    created_by: Option<IdentityRef>,
    creation_date: Option<Timestamp>,
    title: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawUpdate {
    id: u32,
    revised_by: Option<IdentityRef>,
    #[serde(default)]
    fields: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBuild {
    id: u32,
    build_number: Option<String>,
    requested_by: Option<IdentityRef>,
    reason: Option<String>,
    queue_time: Option<Timestamp>,
}

fn is_by(person: Option<IdentityRef>, id: &str) -> bool {
    Person::from(person.unwrap_or_default()).id.eq_ignore_ascii_case(id)
}

impl Client {
    /// What the organisation's audit log says that the user with this identity id or account did since.
    /// Only who may view the audit log is answered.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn audited(
        &self,
        id: &str,
        account: Option<&str>,
        since: Timestamp,
    ) -> Result<Vec<Deed>, Error> {
        let (mut deeds, mut token) = (Vec::new(), None::<String>);
        for _ in 0..limits::PAGES {
            let mut question = Question::of(&AUDIT_LOG, &[])
                .with("startTime", since)
                .with("batchSize", PER_PAGE)
                .with("skipAggregation", true);
            if let Some(token) = &token {
                question = question.with("continuationToken", token);
            }
            let mut page: RawLog = self.ask(question).await?;
            if let Some(inner) = page.value.take() {
                page = *inner;
            }
            for entry in page.decorated_audit_log_entries {
                let by_id = entry.actor_user_id.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(id));
                let by_account = match (entry.actor_upn.as_deref(), account) {
                    (Some(own), Some(account)) => own.eq_ignore_ascii_case(account),
                    _ => false,
                };
                let Some(at) = entry.timestamp.filter(|_| by_id || by_account) else { continue };
                deeds.push(Deed {
                    did: Did::Audited,
                    object: entry.action_id.unwrap_or_default(),
                    at,
                    activity_id: entry.activity_id,
                    what: entry.details.unwrap_or_default(),
                });
            }
            match page.continuation_token.filter(|_| page.has_more) {
                Some(next) => token = Some(next),
                None => break,
            }
        }
        Ok(deeds)
    }

    /// The pushes of the person with this identity id since.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pushed_by(
        &self,
        repository: &RepositoryRef,
        id: &str,
        since: Timestamp,
    ) -> Result<Vec<Deed>, Error> {
        let segments = [repository.project.as_str(), repository.repository.as_str()];
        let (mut deeds, mut read) = (Vec::new(), 0);
        for _ in 0..limits::PAGES {
            let question = Question::of(&PUSHES, &segments)
                .with("searchCriteria.pusherId", id)
                .with("searchCriteria.fromDate", since)
                .with("searchCriteria.includeRefUpdates", true)
                .with("$top", PER_PAGE)
                .with("$skip", read);
            let page = self.ask::<List<RawPush>>(question).await?.value.unwrap_or_default();
            let count = page.len();
            read += count;
            let mut older = false;
            for push in page {
                let Some(at) = push.date else { continue };
                older |= at < since;
                if at < since || !is_by(push.pushed_by, id) {
                    continue;
                }
                for moved in push.ref_updates.unwrap_or_default() {
                    let branch = moved.name.unwrap_or_default();
                    let commit = moved.new_object_id.unwrap_or_default();
                    deeds.push(Deed {
                        did: Did::Pushed,
                        what: format!("push {} moved {branch} to {commit}", push.push_id),
                        object: format!("{commit} {}", branch.trim_start_matches("refs/heads/")),
                        at,
                        activity_id: None,
                    });
                }
            }
            if count < PER_PAGE || older {
                break;
            }
        }
        Ok(deeds)
    }

    /// The pull requests that the person with this identity id created since, and the comments that
    /// they wrote in those and in active ones.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pull_requests_by(
        &self,
        repository: &RepositoryRef,
        id: &str,
        since: Timestamp,
    ) -> Result<Vec<Deed>, Error> {
        let segments = [repository.project.as_str(), repository.repository.as_str()];
        let question = Question::of(&PULL_REQUESTS, &segments)
            .with("searchCriteria.status", "all")
            .with("searchCriteria.creatorId", id)
            .with("$top", PER_PAGE);
        let found = self.ask::<List<RawRequest>>(question).await?.value.unwrap_or_default();
        let mut look: Vec<u32> = found.iter().map(|one| one.pull_request_id).collect();
        let own = found.into_iter().filter_map(|one| {
            let at = one.creation_date.filter(|at| *at >= since)?;
            is_by(one.created_by, id).then(|| Deed {
                did: Did::OpenedPullRequest,
                object: one.pull_request_id.to_string(),
                at,
                activity_id: None,
                what: format!("pull request {}: {}", one.pull_request_id, one.title.unwrap_or_default()),
            })
        });
        let mut deeds: Vec<Deed> = own.collect();
        let active = self.active_pull_requests(repository, None, PER_PAGE).await?;
        look.extend(active.iter().map(|one| one.id));
        look.sort_unstable();
        look.dedup();
        for pull_request in look {
            for thread in self.threads(repository, pull_request).await? {
                for comment in thread.comments {
                    let Some(at) = comment.published.filter(|at| *at >= since) else { continue };
                    let by_person = comment.written_by == super::Writer::Person;
                    if by_person && comment.author.id.eq_ignore_ascii_case(id) {
                        deeds.push(Deed {
                            did: Did::Commented,
                            object: format!("{pull_request}/{}/{}", thread.id, comment.id),
                            at,
                            activity_id: None,
                            what: format!(
                                "comment {} in thread {} of pull request {pull_request}",
                                comment.id, thread.id
                            ),
                        });
                    }
                }
            }
        }
        Ok(deeds)
    }

    /// The changes of work items that the person with this identity id made since.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn work_item_changes_by(
        &self,
        project: &str,
        id: &str,
        since: Timestamp,
    ) -> Result<Vec<Deed>, Error> {
        let mut deeds = Vec::new();
        for (item, _) in self.changed_work_items(project, since, MAX_WORK_ITEMS).await? {
            let number = item.to_string();
            let segments = [project, &number];
            let mut read = 0;
            for _ in 0..limits::PAGES {
                let question =
                    Question::of(&WORK_ITEM_UPDATES, &segments).with("$top", PER_PAGE).with("$skip", read);
                let page = self.ask::<List<RawUpdate>>(question).await?.value.unwrap_or_default();
                let count = page.len();
                read += count;
                for update in page {
                    // `revisedDate` says until when an update was the newest one; when it was made is a field.
                    let at = update.fields.as_ref().and_then(|fields| {
                        fields.get("System.ChangedDate")?.get("newValue")?.as_str()?.parse::<Timestamp>().ok()
                    });
                    let Some(at) = at.filter(|at| *at >= since) else { continue };
                    if is_by(update.revised_by, id) {
                        deeds.push(Deed {
                            did: Did::ChangedWorkItem,
                            object: number.clone(),
                            at,
                            activity_id: None,
                            what: format!("update {} of work item {item}", update.id),
                        });
                    }
                }
                if count < PER_PAGE {
                    break;
                }
            }
        }
        Ok(deeds)
    }

    /// The builds that the person with this identity id asked for since.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn builds_by(&self, project: &str, id: &str, since: Timestamp) -> Result<Vec<Deed>, Error> {
        let segments = [project];
        let question = Question::of(&BUILDS, &segments)
            .with("minTime", since)
            .with("queryOrder", "queueTimeDescending")
            .with("reasonFilter", "manual")
            .with("$top", PER_PAGE);
        let found = self.ask::<List<RawBuild>>(question).await?.value.unwrap_or_default();
        let own = found.into_iter().filter_map(|build| {
            let at = build.queue_time.filter(|at| *at >= since)?;
            // One that a push began is requested by who pushed.
            let by_hand = build.reason.as_deref() == Some("manual");
            (by_hand && is_by(build.requested_by, id)).then(|| Deed {
                did: Did::QueuedBuild,
                object: build.id.to_string(),
                at,
                activity_id: None,
                what: format!("build {}", build.build_number.unwrap_or_default()),
            })
        });
        Ok(own.collect())
    }
}
