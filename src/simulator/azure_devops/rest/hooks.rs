//! Service hook subscriptions and their deliveries.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, PAGE, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::access::Permission;
use crate::simulator::azure_devops::state::hooks::{EVENT_TYPES, Subscription, unknown_subscription};
use crate::simulator::azure_devops::state::{Outcome, World};

fn inputs(value: &Value) -> BTreeMap<String, String> {
    let text = |v: &Value| match v {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    value.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), text(v))).collect()
}

fn one<'w>(call: &Call<'_>, world: &'w World) -> Outcome<&'w Subscription> {
    let id = call.guid("subscriptionId")?;
    world.subscriptions.get(&id).ok_or_else(|| unknown_subscription(id))
}

/// `GET subscriptions` and one of them.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let view = call.view(&world);
    if call.optional("subscriptionId").is_some() {
        return Ok(Reply::ok(view.subscription(one(call, &world)?)));
    }
    // Who may not see subscriptions gets an empty list, not a refusal.
    let seen = |s: &Subscription| {
        let project = s.publisher_inputs.get("projectId").and_then(|id| Uuid::try_parse(id).ok());
        project.is_none_or(|id| world.may(call.actor.id, id, None, Permission::ViewSubscriptions))
    };
    let kind = call.query.get("eventType");
    let wanted =
        |s: &&Subscription| seen(s) && kind.is_none_or(|kind| kind.eq_ignore_ascii_case(&s.event_type));
    Ok(Reply::list(world.subscriptions.values().filter(wanted).map(|s| view.subscription(s)).collect()))
}

fn set(call: &Call<'_>, existing: Option<Uuid>) -> Outcome<Reply> {
    let body = call.json()?;
    for (key, only) in
        [("publisherId", "tfs"), ("consumerId", "webHooks"), ("consumerActionId", "httpRequest")]
    {
        if body[key].as_str().is_none_or(|v| !v.eq_ignore_ascii_case(only)) {
            return Err(Refusal::new(
                400,
                "SubscriptionInputException",
                format!("The only {key} served is '{only}'."),
            ));
        }
    }
    let mut world = call.organisation.lock();
    let id = world.set_subscription(
        call.actor,
        existing,
        body["eventType"].as_str().unwrap_or_default(),
        body["resourceVersion"].as_str(),
        inputs(&body["publisherInputs"]),
        inputs(&body["consumerInputs"]),
    )?;
    if let Some(status) = body["status"].as_str().filter(|_| existing.is_some()) {
        world.enable_subscription(call.actor, id, !status.to_ascii_lowercase().starts_with("disabled"))?;
    }
    let made = world.subscriptions.get(&id).map(|s| call.view(&world).subscription(s));
    Ok(Reply::ok(made.unwrap_or_default()))
}

/// `POST subscriptions`.
pub fn create(call: &Call<'_>) -> Outcome<Reply> {
    set(call, None)
}

/// `PUT subscriptions/{id}`.
pub fn replace(call: &Call<'_>) -> Outcome<Reply> {
    set(call, Some(call.guid("subscriptionId")?))
}

/// `DELETE subscriptions/{id}`.
pub fn delete(call: &Call<'_>) -> Outcome<Reply> {
    call.organisation.lock().delete_subscription(call.actor, call.guid("subscriptionId")?)?;
    Ok(Reply::empty(204))
}

/// `POST subscriptionsquery`.
pub fn query(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let world = call.organisation.lock();
    let wanted = inputs(&body["publisherInputFilters"][0]["conditions"]);
    let event = body["eventType"].as_str();
    let fits = |s: &&Subscription| {
        event.is_none_or(|e| e.eq_ignore_ascii_case(&s.event_type))
            && wanted.iter().all(|(k, v)| s.publisher_inputs.get(k).is_some_and(|x| x == v))
    };
    let mut value = body.clone();
    let results: Vec<Value> =
        world.subscriptions.values().filter(fits).map(|s| call.view(&world).subscription(s)).collect();
    value["results"] = json!(results);
    Ok(Reply::ok(value))
}

/// `GET subscriptions/{id}/notifications`, newest first, and one of them.
pub fn notifications(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let found = one(call, &world)?;
    let view = call.view(&world);
    if call.optional("notificationId").is_some() {
        let id = call.number("notificationId")?;
        let missing = || {
            Refusal::new(
                404,
                "NotificationNotFoundException",
                format!("The notification {id} was not found."),
            )
        };
        let entry = found.notifications.get(&id).ok_or_else(missing)?;
        return Ok(Reply::ok(view.notification(found, entry)));
    }
    let all: Vec<Value> = found.notifications.values().rev().map(|n| view.notification(found, n)).collect();
    Ok(Reply::list(call.page(all, PAGE)?))
}

/// `POST testnotifications`: sends the last notification of a subscription once more.
pub fn test(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let id = body["subscriptionId"].as_str().and_then(|t| Uuid::try_parse(t).ok());
    let id = id.ok_or_else(|| Refusal::invalid("subscriptionId"))?;
    let mut world = call.organisation.lock();
    let number = world.subscriptions.get(&id).ok_or_else(|| unknown_subscription(id))?.last_notification;
    if !world.redeliver(call.actor, id, number) {
        return Err(Refusal::new(
            400,
            "SubscriptionInputException",
            "The subscription has had no event yet.",
        ));
    }
    let found = world.subscriptions.get(&id).ok_or_else(|| unknown_subscription(id))?;
    let entry = found.notifications.values().next_back().map(|n| call.view(&world).notification(found, n));
    Ok(Reply::ok(entry.unwrap_or_default()))
}

/// `GET publishers/{id}/eventtypes` and one of them.
pub fn event_types(call: &Call<'_>) -> Outcome<Reply> {
    let render = |(id, version, name): &(&str, &str, &str)| {
        json!({
            "publisherId": "tfs", "id": id, "name": name, "description": name, "supportedResourceVersions": [version],
            "inputDescriptors": [],
            "url": format!("{}/_apis/hooks/publishers/tfs/eventTypes/{id}", call.base),
        })
    };
    match call.optional("eventTypeId") {
        None => Ok(Reply::list(EVENT_TYPES.iter().map(render).collect())),
        Some(wanted) => EVENT_TYPES
            .iter()
            .find(|(id, ..)| id.eq_ignore_ascii_case(wanted))
            .map(|e| Reply::ok(render(e)))
            .ok_or_else(|| {
                Refusal::new(
                    404,
                    "EventTypeNotFoundException",
                    format!("The event type {wanted} was not found."),
                )
            }),
    }
}

/// `GET publishers`.
pub fn publishers(call: &Call<'_>) -> Outcome<Reply> {
    let publisher = json!({
        "id": "tfs", "url": format!("{}/_apis/hooks/publishers/tfs", call.base), "name": "Azure DevOps Services",
        "description": "Events of the simulated organisation.",
        "serviceInstanceType": "00025394-6065-48ca-87d9-7f5672854ef7",
    });
    if call.optional("publisherId").is_some() {
        Ok(Reply::ok(publisher))
    } else {
        Ok(Reply::list(vec![publisher]))
    }
}

/// The one consumer: web hooks.
fn web_hooks(call: &Call<'_>) -> Value {
    let url = format!("{}/_apis/hooks/consumers/webHooks", call.base);
    let action = json!({
        "id": "httpRequest", "consumerId": "webHooks", "name": "Post via HTTP",
        "description": "Posts a JSON object about the event to a URL.", "url": format!("{url}/actions/httpRequest"),
        "supportedEventTypes": EVENT_TYPES.iter().map(|(id, ..)| *id).collect::<Vec<_>>(),
        "supportedResourceVersions": {}, "allowResourceVersionOverride": true, "inputDescriptors": [],
    });
    json!({
        "id": "webHooks", "name": "Web Hooks", "description": "Provides event communication via HTTP.", "url": url,
        "informationUrl": "", "authenticationType": "none", "inputDescriptors": [], "actions": [action],
    })
}

/// `GET consumers` and one of them.
pub fn consumers(call: &Call<'_>) -> Outcome<Reply> {
    match call.optional("consumerId") {
        None => Ok(Reply::list(vec![web_hooks(call)])),
        Some(id) if id.eq_ignore_ascii_case("webHooks") => Ok(Reply::ok(web_hooks(call))),
        Some(id) => Err(no_consumer(id)),
    }
}

fn no_consumer(id: &str) -> Refusal {
    Refusal::new(404, "ConsumerNotFoundException", format!("The consumer {id} was not found."))
}

/// `GET consumers/{id}/actions` and one of them.
pub fn actions(call: &Call<'_>) -> Outcome<Reply> {
    let id = call.text("consumerId");
    if !id.eq_ignore_ascii_case("webHooks") {
        return Err(no_consumer(id));
    }
    let action = web_hooks(call)["actions"][0].take();
    match call.optional("consumerActionId") {
        None => Ok(Reply::list(vec![action])),
        Some(id) if id.eq_ignore_ascii_case("httpRequest") => Ok(Reply::ok(action)),
        Some(id) => Err(no_consumer(id)),
    }
}

/// `POST notificationsquery`: deliveries of some subscriptions, newest first.
pub fn query_notifications(call: &Call<'_>) -> Outcome<Reply> {
    let mut body = call.json()?;
    let world = call.organisation.lock();
    let view = call.view(&world);
    let ids: Vec<Uuid> = body["subscriptionIds"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|id| Uuid::try_parse(id.as_str()?).ok())
        .collect();
    let most = body["maxResults"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(PAGE);
    let mine = world.subscriptions.values().filter(|s| ids.is_empty() || ids.contains(&s.id));
    let all = mine.flat_map(|s| s.notifications.values().rev().map(move |n| (s, n)));
    let results: Vec<Value> =
        all.take(most.min(super::PAGE_MAX)).map(|(s, n)| view.notification(s, n)).collect();
    body["results"] = json!(results);
    Ok(Reply::ok(body))
}
