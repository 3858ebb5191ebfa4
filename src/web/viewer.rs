//! Who is at the page: the person behind a request, and what that person may do.
//!
//! Invariant: a request has a viewer only by its session, by a person's token that was verified, or
//! because it comes from this machine's own local person; an agent is never one. The guard resolves
//! the viewer before any handler runs, so a handler that forgets to ask is not an open door.

use std::collections::BTreeSet;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum_extra::extract::CookieJar;
use jiff::Timestamp;
use secrecy::SecretString;

use super::guard::{host_is_loopback, is_loopback};
use super::problem::Problem;
use super::sessions::SessionKey;
use super::{App, State, sign_in};
use crate::config::Role;
use crate::identity::people::{self, Groups, PeopleError};
use crate::journal::{Person, Session};

/// Headers that a proxy adds: the request was not sent from this machine, whatever its host says.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// How long a new member of a group does not decide by it: 24 hours, in microseconds (GOVERNANCE §4.2).
const NEW_MEMBER: i64 = 24 * 3_600 * 1_000_000;

/// The person behind a request.
#[derive(Clone, Debug)]
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
    /// The session, where there is one.
    key: Option<SessionKey>,
    /// The token that the request brought, where it brought one.
    token: Option<SecretString>,
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
            key: None,
            token: None,
        }
    }

    fn of_session(state: &State, session: Session, key: SessionKey) -> Self {
        Self {
            roles: state.config.role_groups.roles(&session.groups),
            person: known(session.name, session.account, session.oid),
            groups: session.groups,
            groups_complete: session.groups_complete,
            signed_in_at: Some(session.signed_in_at),
            local: false,
            key: Some(key),
            token: None,
        }
    }

    /// The same person with the roles of this moment: Entra is asked for the groups again. For a
    /// decision that hangs on them.
    ///
    /// # Errors
    /// When the session has ended meanwhile.
    pub(super) async fn of_now(self, app: &App) -> Result<Self, Problem> {
        let (Some(people), Some(key)) = (&app.state.people, self.key.clone()) else { return Ok(self) };
        match app.sessions.find(&key, people, app.state.clock.now(), true).await? {
            Some(session) => Ok(Self::of_session(&app.state, session, key)),
            None => Err(unknown(&app.state)),
        }
    }

    /// The same person without the groups that they were put into lately: who can add people to a group
    /// must not decide through them at once. What is left, and whether something was taken away.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(super) async fn settled(mut self, app: &App) -> Result<(Self, bool), Problem> {
        let Some(oid) = self.person.oid.clone() else { return Ok((self, false)) };
        let since = app.state.clock.now().as_microsecond() - NEW_MEMBER;
        let new = app.state.journal.joined_since(&oid, since).await?;
        let before = self.groups.len();
        self.groups.retain(|group| !new.contains(group));
        self.roles = app.state.config.role_groups.roles(&self.groups);
        let changed = self.groups.len() < before;
        Ok((self, changed))
    }

    /// The person's own token, for what is read on the person's behalf.
    pub(super) async fn own_token(&self, app: &App) -> Option<SecretString> {
        match (&self.token, &self.key, &app.state.people) {
            (Some(token), ..) => Some(token.clone()),
            (None, Some(key), Some(people)) => app.sessions.token(key, people, app.state.clock.now()).await,
            _ => None,
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
    if let Some(token) = bearer(headers) {
        return by_token(&app.state, token).await;
    }
    let jar = CookieJar::from_headers(headers);
    if let (Some(people), Some(key)) = (&app.state.people, sign_in::session_key(&app.state, &jar))
        && let Some(session) = app.sessions.find(&key, people, app.state.clock.now(), false).await?
    {
        return Ok(Viewer::of_session(&app.state, session, key));
    }
    if may_be_local(&app.state, headers) {
        return Ok(Viewer::local(&app.state.config.local_person));
    }
    Err(unknown(&app.state))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim())
}

/// A program that brings a person's token. An agent's is refused as such, whatever else is wrong with it.
async fn by_token(state: &State, token: &str) -> Result<Viewer, Problem> {
    let agents: Vec<&str> = state.agents.iter().map(String::as_str).collect();
    if people::claims_to_be_an_agents(token, &agents) {
        return Err(PeopleError::Agent.into());
    }
    let Some(people) = &state.people else { return Err(unknown(state)) };
    let person = people.bearer(token).await?;
    let (groups, groups_complete) = match person.groups {
        Groups::Listed(groups) => (groups, true),
        Groups::TooMany => (Vec::new(), false),
    };
    Ok(Viewer {
        roles: state.config.role_groups.roles(&groups),
        person: known(person.name, person.account, person.oid),
        groups,
        groups_complete,
        signed_in_at: Some(person.signed_in_at),
        local: false,
        key: None,
        token: Some(token.to_owned().into()),
    })
}

fn known(name: String, account: Option<String>, oid: String) -> Person {
    Person { account, oid: Some(oid), ..Person::named(&name) }
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
