//! Service hooks: subscriptions, what happened, and how each delivery went.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

pub use super::deliveries::{Answer, Delivery};
use super::jobs::JobKind;
use super::table::Table;
use super::{Actor, Outcome, World};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::wire_enum::wire_enum;

/// Notifications kept for one subscription.
const HISTORY: u32 = 500;
/// Between an effect and its delivery.
const DELIVERY_DELAY: Duration = Duration::from_millis(20);
/// Subscriptions one organisation takes.
const SUBSCRIPTIONS: usize = 1_000;

/// Event types served, with the resource version and a name for people.
pub const EVENT_TYPES: &[(&str, &str, &str)] = &[
    ("git.push", "1.0", "Code pushed"),
    ("git.pullrequest.created", "1.0", "Pull request created"),
    ("git.pullrequest.updated", "1.0", "Pull request updated"),
    ("git.pullrequest.merged", "1.0", "Pull request merge attempted"),
    ("ms.vss-code.git-pullrequest-comment-event", "2.0", "Pull request commented on"),
    ("workitem.created", "1.0", "Work item created"),
    ("workitem.updated", "1.0", "Work item updated"),
    ("workitem.commented", "1.0", "Work item commented on"),
    ("workitem.deleted", "1.0", "Work item deleted"),
    ("build.complete", "1.0", "Build completed"),
];

wire_enum! {
    /// State of a subscription.
    SubscriptionStatus {
        Enabled = 0 "enabled", OnProbation = 10 "onProbation", DisabledByUser = 20 "disabledByUser",
        DisabledBySystem = 30 "disabledBySystem",
    }
}
wire_enum! {
    /// State of a notification.
    NotificationStatus { Queued = 0 "queued", Processing = 10 "processing", RequestInProgress = 20 "requestInProgress", Completed = 100 "completed" }
}
wire_enum! {
    /// How a notification ended.
    NotificationResult { Pending = 0 "pending", Succeeded = 10 "succeeded", Failed = 20 "failed", Filtered = 30 "filtered" }
}

/// Who wants to hear of what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subscription {
    /// Id.
    pub id: Uuid,
    /// `tfs`.
    pub publisher: String,
    /// Event type.
    pub event_type: String,
    /// `1.0` or `2.0`.
    pub resource_version: String,
    /// Filters.
    pub publisher_inputs: BTreeMap<String, String>,
    /// Address, credentials, detail.
    pub consumer_inputs: BTreeMap<String, String>,
    /// State.
    pub status: SubscriptionStatus,
    /// Failed resends on probation so far.
    pub probation_retries: u32,
    /// Who made it.
    pub created_by: Uuid,
    /// When.
    pub created: Timestamp,
    /// Last change.
    pub modified: Timestamp,
    /// Deliveries by number, so the oldest is first.
    pub notifications: Table<u32, Notification>,
    /// Number of the last notification.
    pub last_notification: u32,
}

/// One event for one subscription.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Notification {
    /// Number within the subscription.
    pub id: u32,
    /// Id of the event.
    pub event_id: Uuid,
    /// State.
    pub status: NotificationStatus,
    /// Result.
    pub result: NotificationResult,
    /// When it was queued.
    pub created: Timestamp,
    /// Last change.
    pub modified: Timestamp,
    /// Body of the request.
    pub body: Value,
    /// Requests made.
    pub attempts: u32,
    /// Status of the last answer.
    pub answer_status: Option<u16>,
    /// Start of the last answer.
    pub answer: String,
    /// Why there was none.
    pub error: Option<String>,
    /// Milliseconds the last request took.
    pub duration_ms: u64,
    /// Resends on probation.
    pub probation: bool,
}

/// Something that happened, before filters.
pub(super) struct Event {
    pub kind: &'static str,
    pub project: Uuid,
    pub text: String,
    pub resource: Value,
    /// Facts that filters look at, by the name of the filter.
    pub facts: Vec<(&'static str, String)>,
}

impl World {
    /// Adds a subscription, or replaces `existing`.
    ///
    /// # Errors
    /// 400 for an unknown event or a bad address, 404 for an unknown subscription.
    pub fn set_subscription(
        &mut self,
        actor: Actor,
        existing: Option<Uuid>,
        event_type: &str,
        resource_version: Option<&str>,
        mut publisher_inputs: BTreeMap<String, String>,
        consumer_inputs: BTreeMap<String, String>,
    ) -> Outcome<Uuid> {
        let bad = |text: String| Refusal::new(400, "SubscriptionInputException", text);
        let known = EVENT_TYPES.iter().find(|(name, ..)| name.eq_ignore_ascii_case(event_type));
        let (event_type, version, _) =
            known.ok_or_else(|| bad(format!("The event type '{event_type}' is not known.")))?;
        let url = consumer_inputs.get("url").map(String::as_str).unwrap_or_default();
        let parsed = url::Url::parse(url).ok().filter(|u| matches!(u.scheme(), "http" | "https"));
        parsed.ok_or_else(|| bad(format!("The input 'url' ({url}) is not an HTTP address.")))?;
        let project = publisher_inputs.get("projectId").map(String::as_str).unwrap_or_default();
        if !project.is_empty() {
            self.visible_project(actor, project)?;
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS && existing.is_none() {
            return Err(bad(format!("An organisation takes at most {SUBSCRIPTIONS} subscriptions.")));
        }
        let id = match existing {
            Some(id) if self.subscriptions.contains_key(&id) => id,
            Some(id) => return Err(unknown_subscription(id)),
            None => self.new_id(),
        };
        publisher_inputs.entry("tfsSubscriptionId".into()).or_insert_with(|| id.to_string());
        let old = self.data.subscriptions.remove(&id);
        let now = self.now();
        let mut new = Subscription {
            id,
            publisher: "tfs".into(),
            event_type: (*event_type).into(),
            resource_version: resource_version.filter(|v| !v.is_empty()).unwrap_or(version).to_owned(),
            publisher_inputs,
            consumer_inputs,
            status: SubscriptionStatus::Enabled,
            probation_retries: 0,
            created_by: actor.id,
            created: now,
            modified: now,
            notifications: Table::default(),
            last_notification: 0,
        };
        if let Some(old) = old {
            new.created_by = old.created_by;
            new.created = old.created;
            new.notifications = old.notifications;
            new.last_notification = old.last_notification;
            // A masked password in a PUT keeps the one that was set.
            let masked = |v: &String| !v.is_empty() && v.chars().all(|c| c == '*');
            if new.consumer_inputs.get("basicAuthPassword").is_some_and(masked) {
                let kept = old.consumer_inputs.get("basicAuthPassword").cloned().unwrap_or_default();
                new.consumer_inputs.insert("basicAuthPassword".into(), kept);
            }
        }
        self.data.subscriptions.insert(id, new);
        self.record(actor, "subscription.set", format!("subscription/{id}"));
        Ok(id)
    }

    /// Enables or disables a subscription.
    ///
    /// # Errors
    /// 404 for an unknown one.
    pub fn enable_subscription(&mut self, actor: Actor, id: Uuid, enabled: bool) -> Outcome<()> {
        let found = self.data.subscriptions.get_mut(&id).ok_or_else(|| unknown_subscription(id))?;
        found.status = if enabled { SubscriptionStatus::Enabled } else { SubscriptionStatus::DisabledByUser };
        found.probation_retries = 0;
        self.record(actor, "subscription.enabled", format!("subscription/{id}={enabled}"));
        Ok(())
    }

    /// Removes a subscription.
    ///
    /// # Errors
    /// 404 for an unknown one.
    pub fn delete_subscription(&mut self, actor: Actor, id: Uuid) -> Outcome<()> {
        self.data.subscriptions.remove(&id).ok_or_else(|| unknown_subscription(id))?;
        self.record(actor, "subscription.deleted", format!("subscription/{id}"));
        Ok(())
    }

    /// Queues an event for every subscription whose filters let it through.
    pub(super) fn emit(&mut self, event: Event) {
        let event_id = self.new_id();
        let wanted: Vec<Uuid> =
            self.subscriptions.values().filter(|s| s.wants(&event)).map(|s| s.id).collect();
        for id in wanted {
            self.queue_notification(id, event_id, &event);
        }
    }

    fn queue_notification(&mut self, id: Uuid, event_id: Uuid, event: &Event) {
        let now = self.now();
        let envelope = crate::simulator::azure_devops::render::envelope(self, event_id, event.project);
        let Some(found) = self.data.subscriptions.get_mut(&id) else { return };
        found.last_notification += 1;
        let number = found.last_notification;
        let body = found.body(envelope, number, event, now);
        let entry = Notification {
            id: number,
            event_id,
            status: NotificationStatus::Queued,
            result: NotificationResult::Pending,
            created: now,
            modified: now,
            body,
            attempts: 0,
            answer_status: None,
            answer: String::new(),
            error: None,
            duration_ms: 0,
            probation: false,
        };
        found.notifications.insert(number, entry);
        found.notifications.remove(&number.saturating_sub(HISTORY));
        self.schedule(DELIVERY_DELAY, JobKind::Deliver { subscription: id, notification: number });
    }
}

impl Subscription {
    /// Whether the event goes through the filters; during probation new events are lost.
    fn wants(&self, event: &Event) -> bool {
        let filter = |(key, wanted): (&String, &String)| {
            if wanted.is_empty() || matches!(key.as_str(), "hostId" | "tfsSubscriptionId") {
                return true;
            }
            if key == "projectId" {
                return Uuid::try_parse(wanted) == Ok(event.project);
            }
            let mut facts =
                event.facts.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, v)| v);
            let wanted = wanted.strip_prefix("refs/heads/").unwrap_or(wanted);
            match key.as_str() {
                "areaPath" => facts.any(|f| f == wanted || f.starts_with(&format!("{wanted}\\"))),
                "commentPattern" => facts.any(|f| f.to_lowercase().contains(&wanted.to_lowercase())),
                _ => facts.any(|f| f.eq_ignore_ascii_case(wanted)),
            }
        };
        self.event_type == event.kind
            && self.status == SubscriptionStatus::Enabled
            && self.publisher_inputs.iter().all(filter)
    }

    fn body(&self, mut envelope: Value, number: u32, event: &Event, now: Timestamp) -> Value {
        let detail =
            |key: &str| self.consumer_inputs.get(key).map(|v| v.to_ascii_lowercase()).unwrap_or_default();
        let message = |choice: &str| {
            let all = json!({"text": event.text, "html": event.text, "markdown": event.text});
            match choice {
                "none" => Value::Null,
                "" | "all" => all,
                one => json!({one: event.text}),
            }
        };
        let mut resource = event.resource.clone();
        // Version 1.0 of the comment event carries the comment alone.
        if event.kind == "ms.vss-code.git-pullrequest-comment-event" && self.resource_version == "1.0" {
            resource = resource["comment"].take();
        }
        let resource = match detail("resourceDetailsToSend").as_str() {
            "none" => Value::Null,
            "minimal" => minimal(&resource),
            _ => resource,
        };
        envelope["subscriptionId"] = json!(self.id);
        envelope["notificationId"] = json!(number);
        envelope["eventType"] = json!(self.event_type);
        envelope["publisherId"] = json!(self.publisher);
        envelope["message"] = message(&detail("messagesToSend"));
        envelope["detailedMessage"] = message(&detail("detailedMessagesToSend"));
        envelope["resource"] = resource;
        envelope["resourceVersion"] = json!(self.resource_version);
        envelope["createdDate"] = json!(now.to_string());
        crate::simulator::azure_devops::render::ordered_envelope(envelope)
    }
}

fn minimal(resource: &Value) -> Value {
    let keys = ["id", "workItemId", "rev", "pullRequestId", "pushId", "status", "url"];
    Value::Object(keys.iter().filter_map(|k| Some(((*k).to_owned(), resource.get(*k)?.clone()))).collect())
}

/// 404 for a subscription.
pub fn unknown_subscription(id: Uuid) -> Refusal {
    Refusal::new(404, "SubscriptionNotFoundException", format!("The subscription {id} was not found."))
}
