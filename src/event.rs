//! What happened outside, with the key that makes it happen once.
//!
//! Only ids are taken from a delivery; the objects are read again by API before anyone acts on
//! them, because a delivery's body is not trusted (GOVERNANCE §6.1).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest key or kind that is kept, in characters.
const MAX_TEXT: usize = 200;

/// One event, reduced to ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OutsideEvent {
    /// A comment on a pull request was made, edited or deleted.
    PullRequestCommented {
        /// Repository id.
        repository_id: String,
        /// Pull request number.
        pull_request_id: u32,
        /// Thread, where the delivery names it.
        thread_id: Option<u32>,
        /// Comment in the thread.
        comment_id: u32,
    },
    /// A pull request was opened, changed or merged.
    PullRequestChanged {
        /// Repository id.
        repository_id: String,
        /// Pull request number.
        pull_request_id: u32,
    },
    /// A work item was made, changed or commented.
    WorkItemChanged {
        /// Work item.
        work_item_id: u32,
    },
    /// Commits arrived.
    Pushed {
        /// Repository id.
        repository_id: String,
        /// Push number.
        push_id: u32,
    },
    /// A build ended.
    BuildCompleted {
        /// Build.
        build_id: u32,
    },
    /// A type that this program does not act on.
    Other {},
}


/// What in Azure DevOps began a run. Fixed before any text of the work is read, so that what the
/// run may do can be told from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// What kind of work it is.
    pub kind: TriggerKind,
    /// The one object it is about: `pull_request:12` or `work_item:7`.
    pub subject: String,
    /// Identity id in Azure DevOps of the person whose words instruct; none where a fact alone
    /// began it (a build that ended).
    pub author_id: Option<String>,
    /// What was judged, with its version: the same version never begins work twice.
    pub version: String,
    /// How many runs caused each other to get here; 0 where a person began it.
    #[serde(default)]
    pub hops: u32,
}

/// The kinds of work that begin in Azure DevOps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// Somebody commented on a pull request of the co-worker.
    ReviewComment,
    /// The co-worker was made a reviewer of somebody's pull request.
    ReviewRequest,
    /// Somebody mentioned it in their pull request.
    PullRequestMention,
    /// A work item was assigned to it.
    WorkItemAssigned,
    /// Somebody mentioned it in a work item.
    WorkItemMention,
    /// A build of its own pull request failed.
    BuildFailed,
    /// A build of its own draft pull request succeeded.
    BuildSucceeded,
}

impl TriggerKind {
    /// The name in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReviewComment => "review_comment",
            Self::ReviewRequest => "review_request",
            Self::PullRequestMention => "pull_request_mention",
            Self::WorkItemAssigned => "work_item_assigned",
            Self::WorkItemMention => "work_item_mention",
            Self::BuildFailed => "build_failed",
            Self::BuildSucceeded => "build_succeeded",
        }
    }
}

/// A delivery as understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The sender's name of the type, for example `git.pullrequest.created`.
    pub event_type: String,
    /// Equal for the same event, however often and by whichever subscription it comes.
    pub dedup_key: String,
    /// The ids.
    pub event: OutsideEvent,
    /// One line for people, from ids only.
    pub summary: String,
}

/// Why a delivery is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUnderstood {
    /// Not a JSON object.
    #[error("the body is not a JSON object")]
    NotJson,
    /// Lacks what every delivery has.
    #[error("the body has no {0}")]
    Missing(&'static str),
}

/// Reads the body of a service hook delivery.
///
/// # Errors
/// [`NotUnderstood`] when it is not a delivery at all; a delivery of an unknown type is
/// [`OutsideEvent::Other`].
pub fn parse_delivery(body: &[u8]) -> Result<Delivery, NotUnderstood> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let value: Value = serde_json::from_slice(body).map_err(|_| NotUnderstood::NotJson)?;
    let object = value.as_object().ok_or(NotUnderstood::NotJson)?;
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let event_type = text("eventType").ok_or(NotUnderstood::Missing("eventType"))?;
    let id = text("id").ok_or(NotUnderstood::Missing("id"))?;
    let resource = object.get("resource").unwrap_or(&Value::Null);
    let event = read_event(event_type, resource).unwrap_or(OutsideEvent::Other {});
    let event_type = clean(event_type);
    // The event id is shared by project-level and repository-level subscriptions.
    let dedup_key = format!("{event_type}:{}", clean(id));
    let summary = summarise(&event_type, &event);
    Ok(Delivery { event_type, dedup_key, event, summary })
}

fn clean(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(MAX_TEXT).collect()
}

fn read_event(event_type: &str, resource: &Value) -> Option<OutsideEvent> {
    match event_type {
        "ms.vss-code.git-pullrequest-comment-event" => {
            let pull_request = resource.get("pullRequest")?;
            let comment = resource.get("comment")?;
            Some(OutsideEvent::PullRequestCommented {
                repository_id: repository_id(pull_request)?,
                pull_request_id: number(pull_request.get("pullRequestId")?)?,
                thread_id: thread_id(comment),
                comment_id: number(comment.get("id")?)?,
            })
        }
        "git.pullrequest.created" | "git.pullrequest.updated" | "git.pullrequest.merged" => {
            Some(OutsideEvent::PullRequestChanged {
                repository_id: repository_id(resource)?,
                pull_request_id: number(resource.get("pullRequestId")?)?,
            })
        }
        // In an update `id` is the update's number; the item is `workItemId`.
        "workitem.updated" => {
            Some(OutsideEvent::WorkItemChanged { work_item_id: number(resource.get("workItemId")?)? })
        }
        "workitem.created" | "workitem.commented" | "workitem.deleted" | "workitem.restored" => {
            Some(OutsideEvent::WorkItemChanged { work_item_id: number(resource.get("id")?)? })
        }
        "git.push" => Some(OutsideEvent::Pushed {
            repository_id: repository_id(resource)?,
            push_id: number(resource.get("pushId")?)?,
        }),
        "build.complete" => Some(OutsideEvent::BuildCompleted { build_id: number(resource.get("id")?)? }),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|n| u32::try_from(n).ok())
}

fn repository_id(value: &Value) -> Option<String> {
    let id = value.get("repository")?.get("id")?.as_str()?;
    uuid::Uuid::parse_str(id).ok().map(|id| id.to_string())
}

/// The thread is named only in links, at the end of `…/threads/{id}` (events/README).
fn thread_id(comment: &Value) -> Option<u32> {
    let href = comment.get("_links")?.get("threads")?.get("href")?.as_str()?;
    let tail = &href[href.rfind("/threads/")? + "/threads/".len()..];
    tail.split(['/', '?']).next()?.parse().ok()
}

fn summarise(event_type: &str, event: &OutsideEvent) -> String {
    match event {
        OutsideEvent::PullRequestCommented { pull_request_id, .. } => {
            format!("comment on pull request {pull_request_id}")
        }
        OutsideEvent::PullRequestChanged { pull_request_id, .. } => {
            let what = event_type.rsplit('.').next().unwrap_or("changed");
            format!("pull request {pull_request_id} {what}")
        }
        OutsideEvent::WorkItemChanged { work_item_id } => {
            let what = event_type.rsplit('.').next().unwrap_or("changed");
            format!("work item {work_item_id} {what}")
        }
        OutsideEvent::Pushed { push_id, .. } => format!("push {push_id}"),
        OutsideEvent::BuildCompleted { build_id } => format!("build {build_id} completed"),
        OutsideEvent::Other {} => format!("an event of type {event_type}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn comment() -> Value {
        json!({
            "id": "1e869c69-418c-4ef6-b2f1-ee95fcad149f", "notificationId": 3,
            "eventType": "ms.vss-code.git-pullrequest-comment-event",
            "resource": {
                "comment": { "id": 2, "_links": { "threads": {
                    "href": "http://x/contoso/_apis/git/repositories/d5bb1147-bd9f-4ae1-8554-aec3d164f94c/pullRequests/12/threads/7" } } },
                "pullRequest": { "pullRequestId": 12, "repository": { "id": "d5bb1147-bd9f-4ae1-8554-aec3d164f94c" } }
            }
        })
    }

    #[test]
    fn a_comment_is_reduced_to_its_ids() {
        let delivery = parse_delivery(comment().to_string().as_bytes()).unwrap();
        assert_eq!(
            delivery.event,
            OutsideEvent::PullRequestCommented {
                repository_id: "d5bb1147-bd9f-4ae1-8554-aec3d164f94c".into(),
                pull_request_id: 12,
                thread_id: Some(7),
                comment_id: 2,
            }
        );
        let mut again = comment();
        again["notificationId"] = json!(9);
        assert_eq!(parse_delivery(again.to_string().as_bytes()).unwrap().dedup_key, delivery.dedup_key);
    }

    #[test]
    fn an_update_of_a_work_item_names_the_item_not_the_update() {
        let body =
            json!({"id": "e", "eventType": "workitem.updated", "resource": {"id": 3, "workItemId": 17}});
        let delivery = parse_delivery(body.to_string().as_bytes()).unwrap();
        assert_eq!(delivery.event, OutsideEvent::WorkItemChanged { work_item_id: 17 });
    }

    #[test]
    fn what_is_not_a_delivery_is_said_to_be_none() {
        assert_eq!(parse_delivery(b"[1]").unwrap_err(), NotUnderstood::NotJson);
        assert_eq!(parse_delivery(b"{\"id\":\"x\"}").unwrap_err(), NotUnderstood::Missing("eventType"));
        let other = parse_delivery(b"{\"id\":\"x\",\"eventType\":\"tfvc.checkin\"}").unwrap();
        assert_eq!(other.event, OutsideEvent::Other {});
    }

    proptest! {
        #[test]
        fn parsing_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..400) {
            let _ = parse_delivery(&body);
            let text = comment().to_string();
            let _ = parse_delivery(&text.as_bytes()[..cut.min(text.len())]);
        }
    }
}
