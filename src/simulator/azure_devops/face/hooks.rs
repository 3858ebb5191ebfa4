//! Service hooks: who is told of what, and how each delivery went.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use uuid::Uuid;

use super::page::{Fault, Page, Visitor, segment, show};
use super::text::{ago, instant};
use super::told::Told;

/// Deliveries shown for one subscription.
const SHOWN: usize = 25;

struct Line {
    id: u32,
    told: Told,
    attempts: u32,
    duration_ms: u64,
    instant: String,
    body: String,
}

struct Hook {
    id: Uuid,
    event: &'static str,
    event_type: String,
    version: String,
    url: String,
    status: &'static str,
    changed: String,
    lines: Vec<Line>,
}

#[derive(Template)]
#[template(path = "simulator/hooks.html")]
struct HooksPage {
    page: Page,
    path: String,
    hooks: Vec<Hook>,
}

/// `/{organization}/_settings/serviceHooks`
pub async fn list(visitor: Visitor) -> Response {
    let world = visitor.organisation.lock();
    let mut hooks: Vec<Hook> = world
        .subscriptions
        .values()
        .map(|found| {
            let lines = found.notifications.values().rev().take(SHOWN).map(|entry| Line {
                id: entry.id,
                told: Told::of(&world, found, entry),
                attempts: entry.attempts,
                duration_ms: entry.duration_ms,
                instant: instant(entry.modified),
                body: serde_json::to_string_pretty(&entry.body).unwrap_or_default(),
            });
            let known = super::super::state::hooks::EVENT_TYPES;
            Hook {
                id: found.id,
                event: known
                    .iter()
                    .find(|(kind, ..)| *kind == found.event_type)
                    .map_or("Event", |(.., name)| *name),
                event_type: found.event_type.clone(),
                version: found.resource_version.clone(),
                url: found.consumer_inputs.get("url").cloned().unwrap_or_default(),
                status: found.status.name(),
                changed: ago(world.now(), found.modified),
                lines: lines.collect(),
            }
        })
        .collect();
    hooks.sort_by(|one, other| (one.lines.is_empty(), one.event).cmp(&(other.lines.is_empty(), other.event)));
    let page = visitor.page(&world, "Service hooks");
    let path = format!("/{}/_settings/serviceHooks", segment(&world.organization));
    show(&HooksPage { page, path, hooks })
}

/// `POST /{organization}/_settings/serviceHooks/{subscription}/{notification}`
pub async fn redeliver(
    visitor: Visitor,
    Path((organization, subscription, notification)): Path<(String, Uuid, u32)>,
) -> Result<Response, Fault> {
    let mut world = visitor.organisation.lock();
    let actor = visitor.actor(&mut world);
    if !world.redeliver(actor, subscription, notification) {
        return Err(Fault::missing("This delivery is no longer known."));
    }
    let path = format!("/{}/_settings/serviceHooks#{subscription}", segment(&organization));
    Ok(Redirect::to(&path).into_response())
}
