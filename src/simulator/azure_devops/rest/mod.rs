//! The REST API: parse, authorise, call the state, render.
//!
//! Purpose: the manners of the service. [`answer`] finds the route in our own table, judges the
//! api-version, finds out who is calling, and hands a [`Call`] to one handler; the headers that
//! are always there are added at the end. Invariant: a handler decides nothing that the state
//! could decide. It must never touch a repository's references or a counter itself.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method};
use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::Refusal;
use super::render::View;
use super::state::{Actor, Organisation, Outcome, Project, Repository, World};
use crate::simulator::tokens::Authority;

mod attachments;
mod audit;
pub mod auth;
mod builds;
mod change_input;
mod commits;
mod core;
mod definitions;
mod discovery;
mod entitlements;
mod folders;
mod groups;
mod hooks;
mod identities;
mod items;
mod nodes;
mod policies;
mod pull_request_input;
mod pull_request_parts;
mod pull_requests;
mod queries;
mod query;
mod reactions;
mod reply;
mod repositories;
mod routes;
mod search;
mod security;
mod tags;
mod teams;
mod threads;
mod version;
mod work_item_parts;
mod work_items;
mod zip;

pub use query::Query;
pub use reply::Reply;

/// Entries a list gives when nothing else is asked for.
pub const PAGE: usize = 100;
/// Entries a list gives at most.
pub const PAGE_MAX: usize = 1_000;

/// One authorised request on a known route.
pub struct Call<'a> {
    /// The organisation.
    pub organisation: &'a Organisation,
    /// Who calls.
    pub actor: Actor,
    /// Address of the organisation as the caller wrote it, without a slash at the end.
    pub base: String,
    /// Values of the template's placeholders.
    pub parameters: Vec<(&'static str, String)>,
    /// Query.
    pub query: Query,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Whether this is the layout of the server product.
    pub on_premises: bool,
}

/// A request before anything is known about it.
pub struct Incoming {
    /// Method.
    pub method: Method,
    /// Decoded path segments after the organisation.
    pub segments: Vec<String>,
    /// Path as it came, for messages.
    pub path: String,
    /// Query.
    pub query: Query,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Address of the organisation as the caller wrote it.
    pub base: String,
    /// Whether this is the layout of the server product.
    pub on_premises: bool,
    /// ActivityId.
    pub activity: Uuid,
}

/// Answers a request below `_apis`.
pub fn answer(organisation: &Organisation, authority: &Arc<Authority>, incoming: Incoming) -> Reply {
    let suppress = incoming
        .headers
        .get("x-tfs-fedauthredirect")
        .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"suppress"));
    if incoming.method == Method::OPTIONS {
        return discovery::options(&incoming.segments);
    }
    let caller = match auth::caller(organisation, authority, &incoming.headers) {
        Ok(id) => id,
        Err(refused) => return auth::sign_in(refused, suppress, &incoming.base),
    };
    let Some(found) = routes::find(&incoming.method, &incoming.segments) else {
        return routes::unknown(&incoming.method, &incoming.segments, &incoming.path)
            .with_user(organisation, caller);
    };
    let served = match version::judge(&incoming.query, &incoming.headers, found.location, &incoming.method) {
        Ok(served) => served,
        Err(refusal) => return Reply::refusal(&refusal).with_user(organisation, caller),
    };
    let call = Call {
        organisation,
        actor: Actor { id: caller, activity: incoming.activity },
        base: incoming.base,
        parameters: found.parameters,
        query: incoming.query,
        headers: incoming.headers,
        body: incoming.body,
        on_premises: incoming.on_premises,
    };
    let reply = match (found.handler)(&call) {
        Ok(reply) => reply.with_version(&served),
        Err(refusal) => Reply::refusal(&refusal),
    };
    reply.with_user(organisation, caller)
}

/// The name of the route that answers a request, for faults and logs.
pub fn route_name(method: &Method, segments: &[String]) -> Option<&'static str> {
    routes::find(method, segments).map(|f| f.location.resource)
}

impl Call<'_> {
    /// A placeholder's value, or an empty text.
    pub fn text(&self, name: &str) -> &str {
        self.parameters.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v.as_str())
    }

    /// A placeholder's value, when the segment was there.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// A placeholder that is a number.
    pub fn number(&self, name: &str) -> Outcome<u32> {
        self.text(name)
            .parse()
            .map_err(|_| Refusal::invalid(format!("{name} ('{}' is not a number)", self.text(name))))
    }

    /// A placeholder that is a GUID.
    pub fn guid(&self, name: &str) -> Outcome<Uuid> {
        Uuid::try_parse(self.text(name)).map_err(|_| {
            Refusal::invalid(format!("{name} ('{}' is not a GUID)", self.text(name).escape_default()))
        })
    }

    /// The project of the address.
    pub fn project<'w>(&self, world: &'w World) -> Outcome<&'w Project> {
        match self.optional("project") {
            Some(project) => world.visible_project(self.actor, project),
            None => Err(Refusal::project_name("")),
        }
    }

    /// The project of the address, when there is one.
    pub fn optional_project<'w>(&self, world: &'w World) -> Outcome<Option<&'w Project>> {
        self.optional("project").map(|p| world.visible_project(self.actor, p)).transpose()
    }

    /// The repository of the address.
    pub fn repository<'w>(&self, world: &'w World) -> Outcome<&'w Repository> {
        // Templates call it so or so, and clients fill them in by name.
        let named = self.optional("repositoryId").or_else(|| self.optional("repositoryNameOrId"));
        world.visible_repository(self.actor, self.optional("project"), named.unwrap_or_default())
    }

    /// The body as JSON.
    pub fn json(&self) -> Outcome<Value> {
        let text = self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.body);
        serde_json::from_slice(text).map_err(Refusal::body_unreadable)
    }

    /// The body as a JSON Patch document, with the media type the service insists on.
    pub fn patch(&self) -> Outcome<Vec<super::state::patch::Operation>> {
        let given = self.headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
        if !given.to_ascii_lowercase().starts_with("application/json-patch+json") {
            let kind = given.split(';').next().unwrap_or_default();
            return Err(Refusal::new(
                415,
                "VssRequestContentTypeNotSupportedException",
                format!(
                    "The request indicated a Content-Type of \"{kind}\" for method type \"POST\" which is not \
                     supported. Valid content types for this method are: application/json-patch+json."
                ),
            ));
        }
        super::state::patch::parse(&self.json()?)
    }

    /// The state, rendered with the caller's base address.
    pub fn view<'w>(&'w self, world: &'w World) -> View<'w> {
        View { world, base: &self.base }
    }

    /// Cuts one page out of a list by `$top` and `$skip` (or without the dollar).
    pub fn page<T>(&self, list: Vec<T>, default: usize) -> Outcome<Vec<T>> {
        let (skip, top) = (self.query.count("skip")?.unwrap_or(0), self.query.count("top")?);
        Ok(list.into_iter().skip(skip).take(top.unwrap_or(default).min(PAGE_MAX)).collect())
    }

    /// Cuts one page by `continuationToken` and sets the header for the next.
    pub fn continued<T>(&self, list: Vec<T>, default: usize, render: impl Fn(T) -> Value) -> Outcome<Reply> {
        let start = match self.query.get("continuationToken") {
            Some(token) => {
                token.parse::<usize>().map_err(|_| Refusal::invalid("continuationToken (unknown token)"))?
            }
            None => self.query.count("skip")?.unwrap_or(0),
        };
        let top = self.query.count("top")?.unwrap_or(default).min(PAGE_MAX);
        let more = list.len() > start.saturating_add(top);
        let page: Vec<Value> = list.into_iter().skip(start).take(top).map(render).collect();
        let reply = Reply::list(page);
        Ok(if more { reply.header("x-ms-continuationtoken", (start + top).to_string()) } else { reply })
    }
}

/// `{"count", "value"}`.
pub fn listed(values: Vec<Value>) -> Value {
    json!({"count": values.len(), "value": values})
}
