//! Reads the body of a service hook delivery, down to ids.

use jiff::Timestamp;
use serde_json::Value;

use super::OutsideEvent;

/// Longest key or kind that is kept, in characters.
const MAX_TEXT: usize = 200;

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
    /// When it happened, as the sender says.
    pub created: Option<Timestamp>,
    /// Why nothing can follow from it, where that is plain from its kind or form.
    pub ignored: Option<String>,
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

/// Types that are known and never acted on, each with the reason that people read.
const NEVER_ACTED_ON: &[(&str, &str)] = &[
    ("ms.vss-pipelines.run-state-changed-event", "A pipeline run is followed by its build (build.complete)."),
    (
        "ms.vss-pipelines.stage-state-changed-event",
        "Stages are not followed, only whole builds (build.complete).",
    ),
    (
        "ms.vss-pipelines.job-state-changed-event",
        "Jobs are not followed, only whole builds (build.complete).",
    ),
    ("ms.vss-pipelinechecks-events.approval-pending", "Approving a pipeline stage is left to people."),
    ("ms.vss-pipelinechecks-events.approval-completed", "Approving a pipeline stage is left to people."),
];

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
    let event = read_event(event_type, resource);
    let ignored = event.is_none().then(|| why_ignored(event_type));
    let event = event.unwrap_or(OutsideEvent::Other {});
    let event_type = clean(event_type);
    Ok(Delivery {
        // The event id is shared by project-level and repository-level subscriptions.
        dedup_key: format!("{event_type}:{}", clean(id)),
        summary: summarise(&event_type, &event),
        created: text("createdDate").and_then(|text| text.parse().ok()),
        event_type,
        event,
        ignored,
    })
}

fn why_ignored(event_type: &str) -> String {
    if let Some((_, why)) = NEVER_ACTED_ON.iter().find(|(name, _)| *name == event_type) {
        return (*why).to_owned();
    }
    match event_type {
        "ms.vss-code.git-pullrequest-comment-event" => {
            "It does not name its pull request; subscribe to resource version 2.0 and send all details."
                .to_owned()
        }
        "git.push"
        | "git.pullrequest.created"
        | "git.pullrequest.updated"
        | "git.pullrequest.merged"
        | "workitem.created"
        | "workitem.updated"
        | "workitem.commented"
        | "workitem.deleted"
        | "workitem.restored"
        | "build.complete" => "It lacks its ids; let the service hook send all resource details.".to_owned(),
        other => format!("Events of type {} are not acted on.", clean(other)),
    }
}

fn clean(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(MAX_TEXT).collect()
}

fn read_event(event_type: &str, resource: &Value) -> Option<OutsideEvent> {
    match event_type {
        "ms.vss-code.git-pullrequest-comment-event" => read_comment(resource),
        "git.pullrequest.created" | "git.pullrequest.updated" | "git.pullrequest.merged" => {
            Some(OutsideEvent::PullRequestChanged {
                repository_id: repository_id(resource)?,
                pull_request_id: number(resource.get("pullRequestId")?)?,
            })
        }
        // In an update `id` is the update's number; the item is `workItemId`. The official sample
        // has 0 there and the item in `revision` (events/README).
        "workitem.updated" => {
            let named = resource.get("workItemId").and_then(number).filter(|id| *id > 0);
            let work_item_id = named.or_else(|| number(resource.pointer("/revision/id")?))?;
            Some(OutsideEvent::WorkItemChanged { work_item_id })
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

/// Version 2.0 has comment and pull request; version 1.0 the comment only, whose links name the rest
/// (events/README).
fn read_comment(resource: &Value) -> Option<OutsideEvent> {
    let comment = resource.get("comment").unwrap_or(resource);
    let links = || {
        ["threads", "self", "pullRequests", "repository"]
            .into_iter()
            .filter_map(|name| comment.get("_links")?.get(name)?.get("href")?.as_str())
    };
    let linked = |before: &str| links().find_map(|href| after(href, before));
    let from_link = |before: &str| linked(before).and_then(|text| text.parse().ok());
    let pull_request = resource.get("pullRequest");
    let repository_id = pull_request
        .and_then(repository_id)
        .or_else(|| uuid::Uuid::parse_str(linked("/repositories/")?).ok().map(|id| id.to_string()))?;
    let pull_request_id = pull_request.and_then(|found| number(found.get("pullRequestId")?));
    Some(OutsideEvent::PullRequestCommented {
        repository_id,
        pull_request_id: pull_request_id.or_else(|| from_link("/pullrequests/"))?,
        thread_id: from_link("/threads/"),
        comment_id: number(comment.get("id")?)?,
    })
}

/// The segment of a link that follows `before`, in any letter case.
fn after<'a>(href: &'a str, before: &str) -> Option<&'a str> {
    // Only ASCII letters change, so that places stay where they were.
    let at = href.to_ascii_lowercase().find(before)? + before.len();
    href.get(at..)?.split(['/', '?', '#']).next().filter(|part| !part.is_empty())
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|n| u32::try_from(n).ok())
}

fn repository_id(value: &Value) -> Option<String> {
    let id = value.get("repository")?.get("id")?.as_str()?;
    uuid::Uuid::parse_str(id).ok().map(|id| id.to_string())
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
        OutsideEvent::WorkItemChanged { work_item_id, .. } => {
            let what = event_type.rsplit('.').next().unwrap_or("changed");
            format!("work item {work_item_id} {what}")
        }
        OutsideEvent::Pushed { push_id, .. } => format!("push {push_id}"),
        OutsideEvent::BuildCompleted { build_id, .. } => format!("build {build_id} completed"),
        OutsideEvent::Other {} => format!("an event of type {event_type}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const REPOSITORY: &str = "d5bb1147-bd9f-4ae1-8554-aec3d164f94c";

    fn comment() -> Value {
        json!({
            "id": "1e869c69-418c-4ef6-b2f1-ee95fcad149f", "notificationId": 3,
            "eventType": "ms.vss-code.git-pullrequest-comment-event",
            "createdDate": "2026-11-22T04:03:27.2879096Z",
            "resource": {
                "comment": { "id": 2, "_links": { "threads": {
                    "href": format!("http://x/contoso/_apis/git/repositories/{REPOSITORY}/pullRequests/12/threads/7") } } },
                "pullRequest": { "pullRequestId": 12, "repository": { "id": REPOSITORY } }
            }
        })
    }

    fn parsed(body: &Value) -> Delivery {
        parse_delivery(body.to_string().as_bytes()).unwrap()
    }

    fn commented(thread_id: Option<u32>) -> OutsideEvent {
        OutsideEvent::PullRequestCommented {
            repository_id: REPOSITORY.into(),
            pull_request_id: 12,
            thread_id,
            comment_id: 2,
        }
    }

    #[test]
    fn a_comment_is_reduced_to_its_ids() {
        let delivery = parsed(&comment());
        assert_eq!(delivery.event, commented(Some(7)));
        assert_eq!(delivery.created.unwrap().as_second(), 1_795_320_207);
        let mut again = comment();
        again["notificationId"] = json!(9);
        assert_eq!(parsed(&again).dedup_key, delivery.dedup_key);
    }

    #[test]
    fn a_comment_of_version_1_names_the_rest_in_its_links() {
        let mut old = comment();
        old["resource"] = old["resource"]["comment"].take();
        assert_eq!(parsed(&old).event, commented(Some(7)));
        old["resource"]["_links"] =
            json!({"repository": {"href": format!("http://x/_apis/git/repositories/{REPOSITORY}")}});
        let delivery = parsed(&old);
        assert_eq!(delivery.event, OutsideEvent::Other {});
        assert!(delivery.ignored.unwrap().contains("2.0"));
    }

    #[test]
    fn an_update_of_a_work_item_names_the_item_not_the_update() {
        let item = |resource: Value| {
            parsed(&json!({"id": "e", "eventType": "workitem.updated", "resource": resource}))
        };
        let expected = OutsideEvent::WorkItemChanged { work_item_id: 17 };
        assert_eq!(item(json!({"id": 3, "workItemId": 17})).event, expected);
        assert_eq!(item(json!({"id": 3, "workItemId": 0, "revision": {"id": 17}})).event, expected);
    }

    /// The forms of the official samples and of recorded deliveries, reduced to what counts.
    #[test]
    fn every_type_has_its_ids_or_a_reason() {
        let repository = json!({ "id": REPOSITORY, "name": "Fabrikam", "unheard_of": [1] });
        let pull_request = json!({ "repository": repository, "pullRequestId": 1, "status": "completed" });
        let changed =
            OutsideEvent::PullRequestChanged { repository_id: REPOSITORY.into(), pull_request_id: 1 };
        let item = OutsideEvent::WorkItemChanged { work_item_id: 5 };
        let pushed = OutsideEvent::Pushed { repository_id: REPOSITORY.into(), push_id: 14 };
        let built = OutsideEvent::BuildCompleted { build_id: 2 };
        let known = [
            ("git.pullrequest.created", pull_request.clone(), &changed),
            ("git.pullrequest.updated", pull_request.clone(), &changed),
            ("git.pullrequest.merged", pull_request, &changed),
            (
                "git.push",
                json!({ "repository": repository, "pushId": 14, "commits": [], "refUpdates": [] }),
                &pushed,
            ),
            ("workitem.created", json!({ "id": 5, "rev": 1, "fields": {} }), &item),
            ("workitem.commented", json!({ "id": 5, "rev": 4, "fields": { "System.History": "hi" } }), &item),
            ("workitem.deleted", json!({ "id": 5, "rev": 1 }), &item),
            ("workitem.restored", json!({ "id": 5, "rev": 1 }), &item),
            (
                "workitem.updated",
                json!({ "id": 2, "workItemId": 0, "rev": 2, "revision": { "id": 5 } }),
                &item,
            ),
            (
                "build.complete",
                json!({ "id": 2, "status": "succeeded", "definition": { "definitionType": "xaml" } }),
                &built,
            ),
            ("build.complete", json!({ "id": 2, "status": "completed", "result": "failed" }), &built),
        ];
        for (kind, resource, expected) in known {
            let delivery = parsed(&json!({ "id": "e", "eventType": kind, "resource": resource, "more": {} }));
            assert_eq!((&delivery.event, &delivery.ignored), (expected, &None), "{kind}");
            assert!(
                delivery.event.group().is_some() != kind.starts_with("git.push") || kind == "build.complete"
            );
            // Without details there is nothing to go by, and people are told what to set.
            let bare = parsed(&json!({ "id": "e", "eventType": kind, "resource": null }));
            assert!(bare.ignored.unwrap().contains("send all"), "{kind}");
        }
        for kind in ["run", "stage", "job"] {
            let kind = format!("ms.vss-pipelines.{kind}-state-changed-event");
            let why =
                parsed(&json!({ "id": "e", "eventType": kind, "resource": { "id": 1 } })).ignored.unwrap();
            assert!(why.contains("build.complete"), "{why}");
        }
        for kind in [
            "ms.vss-pipelinechecks-events.approval-pending",
            "ms.vss-pipelinechecks-events.approval-completed",
        ] {
            let why = parsed(&json!({ "id": "e", "eventType": kind })).ignored.unwrap();
            assert!(why.contains("left to people"), "{why}");
        }
    }

    #[test]
    fn what_is_not_a_delivery_is_said_to_be_none() {
        assert_eq!(parse_delivery(b"[1]").unwrap_err(), NotUnderstood::NotJson);
        assert_eq!(parse_delivery(b"{\"id\":\"x\"}").unwrap_err(), NotUnderstood::Missing("eventType"));
        let other = parse_delivery(b"{\"id\":\"x\",\"eventType\":\"tfvc.checkin\"}").unwrap();
        assert_eq!(other.event, OutsideEvent::Other {});
        assert!(other.ignored.unwrap().contains("tfvc.checkin"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..400, href in "\\PC{0,80}") {
            let _ = parse_delivery(&body);
            let text = comment().to_string();
            let _ = parse_delivery(&text.as_bytes()[..cut.min(text.len())]);
            let mut odd = comment();
            odd["resource"]["comment"]["_links"]["threads"]["href"] = json!(format!("{href}/threads/{href}"));
            let _ = parsed(&odd);
        }
    }
}
