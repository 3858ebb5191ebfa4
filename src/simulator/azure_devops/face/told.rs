//! Who was told of what: the deliveries of service hooks that belong to something on a page.

use serde_json::Value;

use super::super::state::World;
use super::super::state::hooks::{Notification, NotificationResult, Subscription};
use super::page::Who;
use super::text::ago;

/// Deliveries shown beside one thing.
const NEWEST: usize = 3;
/// Longest answer of a receiver that is shown, in characters.
const MAX_ANSWER: usize = 200;

/// One delivery.
#[derive(Debug)]
pub struct Told {
    /// `pending`, `delivered`, `failed`.
    pub state: &'static str,
    /// What happened, for people.
    pub event: &'static str,
    /// The page of what the receiver made of it, when its answer named one.
    pub url: Option<String>,
    /// The receiver's answer or why there was none.
    pub detail: String,
    /// When.
    pub when: String,
}

impl Told {
    /// Whether the answer is still awaited.
    pub fn is_pending(&self) -> bool {
        self.state == "pending"
    }

    /// A delivery as pages show it.
    pub fn of(world: &World, subscription: &Subscription, notification: &Notification) -> Self {
        let known = super::super::state::hooks::EVENT_TYPES;
        let event = known
            .iter()
            .find(|(kind, ..)| *kind == subscription.event_type)
            .map_or("Event", |(.., name)| *name);
        let answer: Value = serde_json::from_str(&notification.answer).unwrap_or(Value::Null);
        let url =
            answer["url"].as_str().filter(|url| url.starts_with("http://") || url.starts_with("https://"));
        let detail = notification.error.clone().unwrap_or_else(|| {
            let status = notification.answer_status.map_or_else(String::new, |status| format!("{status} "));
            format!("{status}{}", notification.answer.chars().take(MAX_ANSWER).collect::<String>())
        });
        let state = match notification.result {
            NotificationResult::Succeeded | NotificationResult::Filtered => "delivered",
            NotificationResult::Failed => "failed",
            NotificationResult::Pending => "pending",
        };
        Self {
            state,
            event,
            url: url.map(str::to_owned),
            detail,
            when: ago(world.now(), notification.modified),
        }
    }
}

/// Deliveries about what a person last said in a thread of a pull request.
pub fn about_thread(world: &World, pull_request: u32, thread: u32) -> Vec<Told> {
    let tail = format!("/threads/{thread}");
    let found = world.pull_requests.get(&pull_request);
    let found = found.and_then(|pull| pull.threads.iter().find(|entry| entry.id == thread));
    let spoken =
        found.and_then(|entry| entry.comments.iter().rev().find(|said| !Who::of(world, said.author).agent));
    let last = spoken.map_or(0, |comment| comment.id);
    newest(world, |body| {
        let (comment, pull) = (&body["resource"]["comment"], &body["resource"]["pullRequest"]);
        let threads = comment["_links"]["threads"]["href"].as_str().unwrap_or_default();
        pull["pullRequestId"] == pull_request && threads.ends_with(&tail) && comment["id"] == last
    })
}

/// Deliveries about a work item, newest first.
pub fn about_work_item(world: &World, id: u32) -> Vec<Told> {
    newest(world, |body| {
        let kind = body["eventType"].as_str().unwrap_or_default();
        let resource = &body["resource"];
        kind.starts_with("workitem.") && (resource["workItemId"] == id || resource["id"] == id)
    })
}

fn newest(world: &World, wanted: impl Fn(&Value) -> bool) -> Vec<Told> {
    let mut found: Vec<(&Subscription, &Notification)> = world
        .subscriptions
        .values()
        .flat_map(|subscription| subscription.notifications.values().map(move |entry| (subscription, entry)))
        .filter(|(_, entry)| wanted(&entry.body))
        .collect();
    found.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.created));
    found.into_iter().take(NEWEST).map(|(subscription, entry)| Told::of(world, subscription, entry)).collect()
}
