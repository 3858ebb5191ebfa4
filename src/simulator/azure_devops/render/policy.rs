//! Policies, their evaluations, and service hook subscriptions.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{View, put, stamp};
use crate::simulator::azure_devops::state::hooks::{Notification, Subscription};
use crate::simulator::azure_devops::state::policies::{Evaluation, Policy, policy_name};

impl View<'_> {
    /// PolicyTypeRef.
    pub fn policy_type(&self, project: Uuid, kind: Uuid) -> Value {
        let url = format!("{}/{project}/_apis/policy/types/{kind}", self.base);
        json!({"id": kind, "url": url, "displayName": policy_name(kind)})
    }

    /// PolicyConfiguration.
    pub fn policy(&self, policy: &Policy) -> Value {
        let url = format!("{}/{}/_apis/policy/configurations/{}", self.base, policy.project, policy.id);
        let kind = self.policy_type(policy.project, policy.kind);
        json!({
            "createdBy": self.identity(policy.created_by),
            "createdDate": stamp(policy.created),
            "isEnabled": policy.enabled,
            "isBlocking": policy.blocking,
            "isDeleted": false,
            "settings": policy.settings,
            "isEnterpriseManaged": false,
            "_links": {"self": {"href": url}, "policyType": {"href": kind["url"]}},
            "revision": policy.revision,
            "id": policy.id,
            "url": url,
            "type": kind,
        })
    }

    /// PolicyEvaluationRecord.
    pub fn evaluation(&self, pull_request: u32, project: Uuid, evaluation: &Evaluation) -> Value {
        let Some(policy) = self.world.policies.get(&evaluation.policy) else { return Value::Null };
        let id = Uuid::from_u128((u128::from(pull_request) << 64) | u128::from(evaluation.policy));
        let started = self.world.pull_requests.get(&pull_request).map(|p| stamp(p.created));
        let artifact = format!("vstfs:///CodeReview/CodeReviewId/{project}/{pull_request}");
        let mut map = Map::new();
        map.insert("configuration".into(), self.policy(policy));
        map.insert("artifactId".into(), json!(artifact));
        map.insert("evaluationId".into(), json!(id));
        put(&mut map, "startedDate", started.clone());
        if matches!(evaluation.status, "approved" | "rejected") {
            put(&mut map, "completedDate", started);
        }
        map.insert("status".into(), json!(evaluation.status));
        let context = evaluation.build.map(|id| json!({"buildId": id, "isExpired": false}));
        put(&mut map, "context", context);
        Value::Object(map)
    }

    /// Subscription; the password is masked.
    pub fn subscription(&self, found: &Subscription) -> Value {
        let url = format!("{}/_apis/hooks/subscriptions/{}", self.base, found.id);
        let mut consumer = found.consumer_inputs.clone();
        if let Some(password) = consumer.get_mut("basicAuthPassword") {
            *password = "********".into();
        }
        let host = consumer.get("url").and_then(|u| url::Url::parse(u).ok());
        let host = host.and_then(|u| u.host_str().map(str::to_owned)).unwrap_or_default();
        let kind = crate::simulator::azure_devops::state::hooks::EVENT_TYPES.iter();
        let description = kind.clone().find(|(n, ..)| *n == found.event_type).map_or("", |(_, _, text)| text);
        let mut shown = json!({
            "id": found.id,
            "url": url,
            "status": found.status,
            "publisherId": found.publisher,
            "eventType": found.event_type,
            "resourceVersion": found.resource_version,
            "eventDescription": description,
            "consumerId": "webHooks",
            "consumerActionId": "httpRequest",
            "actionDescription": format!("To host {host}"),
            "createdBy": self.identity(found.created_by),
            "createdDate": stamp(found.created),
            "modifiedBy": self.identity(found.created_by),
            "modifiedDate": stamp(found.modified),
            "publisherInputs": found.publisher_inputs,
            "consumerInputs": consumer,
            "_links": {
                "self": {"href": url},
                "notifications": {"href": format!("{url}/notifications")},
            },
        });
        // The service names retries only where there were some.
        if found.probation_retries > 0 {
            shown["probationRetries"] = json!(found.probation_retries);
        }
        shown
    }

    /// Notification with what was sent and answered.
    pub fn notification(&self, subscription: &Subscription, entry: &Notification) -> Value {
        // What the delivery carried, less its own numbers: they stand beside it.
        let mut event = entry.body.clone();
        if let Some(fields) = event.as_object_mut() {
            fields.retain(|name, value| {
                !matches!(name.as_str(), "subscriptionId" | "notificationId") && !value.is_null()
            });
        }
        let mut details = json!({
            "eventType": subscription.event_type,
            "event": event,
            "publisherId": subscription.publisher,
            "consumerId": "webHooks",
            "consumerActionId": "httpRequest",
            "request": format!("Method: POST\r\nURI: {}", subscription.consumer_inputs.get("url").map_or("", |u| u)),
            "requestAttempts": entry.attempts,
            "requestDuration": entry.duration_ms as f64 / 1000.0,
        });
        let answer = entry.answer_status.map(|s| format!("Status Code: {s}\r\n{}", entry.answer));
        for (name, text) in [("response", answer), ("errorMessage", entry.error.clone())] {
            if let Some(text) = text {
                details[name] = json!(text);
            }
        }
        json!({
            "id": entry.id,
            "subscriptionId": subscription.id,
            "subscriberId": subscription.created_by,
            "eventId": entry.event_id,
            "status": entry.status,
            "result": entry.result,
            "createdDate": stamp(entry.created),
            "modifiedDate": stamp(entry.modified),
            "details": details,
        })
    }
}
