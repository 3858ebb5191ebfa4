//! Who is at the page: the person behind a request, and what that person may do.
//!
//! Invariant: a request has a viewer only by its session, by a person's token that was verified, or
//! because it comes from this machine's own local person; an agent is never one. The guard resolves
//! the viewer before any handler runs, so a handler that forgets to ask is not an open door.

use std::collections::BTreeSet;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use super::guard::{host_is_loopback, is_loopback};
use super::problem::Problem;
use super::{App, State};
use crate::config::Role;
use crate::journal::Person;

/// Headers that a proxy adds: the request was not sent from this machine, whatever its host says.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// The person behind a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Viewer {
    /// Name, account and object id in Entra; of the local person the name only.
    pub(super) person: Person,
    /// What that person may do here.
    pub(super) roles: BTreeSet<Role>,
    /// Object ids of groups in Entra.
    pub(super) groups: Vec<String>,
    /// Whether these are all groups: when Entra did not list them and could not be asked they
    /// count as none.
    pub(super) groups_complete: bool,
    /// When the person signed in; none for the local person.
    pub(super) signed_in_at: Option<Timestamp>,
    /// Not signed in, on this machine: may instruct, and nothing else.
    pub(super) local: bool,
}

impl Viewer {
    /// The person at this machine who is not signed in.
    pub(super) fn local(name: &str) -> Self {
        Self {
            person: Person::named(name),
            roles: BTreeSet::from([Role::Instructor]),
            groups: Vec::new(),
            groups_complete: true,
            signed_in_at: None,
            local: true,
        }
    }

    /// Somebody of whom nothing is known, for the page that says so.
    pub(super) fn nobody() -> Self {
        Self { roles: BTreeSet::new(), local: false, ..Self::local("nobody") }
    }

    /// Whether the viewer has `role`.
    pub(super) fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Refuses a viewer without `role`.
    pub(super) fn needs(&self, role: Role) -> Result<(), Problem> {
        if self.is(role) {
            return Ok(());
        }
        let name = role.as_str();
        let remedy = match self.local {
            true => format!("Sign in as somebody who is {name} (/sign-in)."),
            false => {
                format!("Ask an administrator to put you into a group that ROLE_GROUPS lists for {name}.")
            }
        };
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("This needs the role {name}, which you do not have."),
            remedy,
        ))
    }
}

/// What the guard found; the extractor reads it.
#[derive(Clone)]
pub(super) struct Known(pub(super) Result<Viewer, Problem>);

/// Who sent a request with these headers.
pub(super) async fn find(app: &App, headers: &HeaderMap) -> Result<Viewer, Problem> {
    if may_be_local(&app.state, headers) {
        return Ok(Viewer::local(&app.state.config.local_person));
    }
    Err(unknown(&app.state))
}

fn unknown(state: &State) -> Problem {
    let remedy = match state.has_sign_in() {
        true => "Sign in (/sign-in), or send a person's token from `ado-coworker login`.",
        false => {
            "Open the page on the machine it runs on, or have people sign in: set SIGN_IN_CLIENT_ID, AZURE_TENANT_ID \
             and ROLE_GROUPS."
        }
    };
    Problem::new(StatusCode::UNAUTHORIZED, "You are not signed in.", remedy)
}

/// Whether who is not signed in counts as the person at this machine (CONTRACTS: Demo organisation).
fn may_be_local(state: &State, headers: &HeaderMap) -> bool {
    let config = &state.config;
    if config.always_local {
        return true;
    }
    match &config.public_url {
        Some(url) if is_loopback(url) => true,
        None => config.listen_address.ip().is_loopback(),
        // Others reach it through something in front: they sign in, where that is configured; where
        // it is not, only what surely did not come through there is the local person's.
        Some(_) => {
            let direct =
                !FORWARDED.iter().any(|name| headers.contains_key(*name)) && host_is_loopback(headers);
            !state.has_sign_in() && config.listen_address.ip().is_loopback() && direct
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<Known>() {
            Some(Known(found)) => found.clone(),
            None => Err(Problem::ours()),
        }
    }
}
