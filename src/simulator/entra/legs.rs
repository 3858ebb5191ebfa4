//! The legs: exchange tokens, an application's own token, the agent user's, a person's.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::claims;
use super::credential::{Client, EXCHANGE_AUDIENCE};
use super::directory::{Kind, Principal, Target, User, same};
use super::error::Refusal;
use super::keys::Unchecked;
use super::scope::Asked;
use super::seed::{EXCHANGE_ID, GRAPH_ID, ROLE_CREATE_AS_MANAGER};
use super::sessions::{Refresh, keep};
use super::token::Form;
use super::{Entra, State, random_text};
use crate::simulator::tokens::{ISSUER_V1, ISSUER_V2, Refused};

/// Life of an exchange token, in seconds.
const EXCHANGE_LIFE_SECONDS: i64 = 3_600;
/// Shortest and longest life of an access token, in seconds (TOKENS.md §5).
const ACCESS_LIFE_SECONDS: (i64, i64) = (3_600, 5_400);

impl Entra {
    /// The life of a new access token: drawn, as Entra does, or what a test has set.
    pub(super) fn access_life(&self) -> i64 {
        let (shortest, longest) = ACCESS_LIFE_SECONDS;
        let drawn = i64::from(uuid::Uuid::new_v4().as_bytes()[0]) * (longest - shortest) / 255;
        self.authority.lifetime().unwrap_or(shortest + drawn)
    }
}

/// An answer with an access token of `life` seconds.
fn answered(token: &str, life: i64) -> Value {
    let left = (life - 1).max(0);
    json!({"token_type": "Bearer", "expires_in": left, "ext_expires_in": left, "access_token": token})
}

fn is_exchange(resource: &str) -> bool {
    same(resource, EXCHANGE_AUDIENCE) || same(resource, EXCHANGE_ID)
}

/// `client_credentials`: T1 of a blueprint, T2 of an agent identity, or an application's own token.
///
/// # Errors
/// The refusal of the first check that fails.
pub fn client_credentials(entra: &Arc<Entra>, client: &Client, form: &Form) -> Result<Value, Refusal> {
    let now = entra.now();
    let asked = Asked::read_for_application(form.need("scope")?)?;
    let state = entra.lock();
    if is_exchange(&asked.resource) {
        let token = match &client.principal.kind {
            Kind::AgentIdentity(parent) => {
                state.conditional_access(client, None)?;
                claims::agent_exchange(client, parent, now, EXCHANGE_LIFE_SECONDS)
            }
            _ => {
                let child = child_of(&state, client, form.need("fmi_path")?, now)?;
                claims::blueprint_exchange(client, &child, now, EXCHANGE_LIFE_SECONDS)
            }
        };
        drop(state);
        return Ok(answered(&entra.authority.sign(token), EXCHANGE_LIFE_SECONDS));
    }
    let (resource, _) = asked.resolve(&state.directory, now)?;
    state.conditional_access(client, None)?;
    let mut roles = state.directory.roles(&client.principal.id, resource, now);
    if client.principal.kind == Kind::Blueprint && same(&resource.app_id, GRAPH_ID) {
        roles.push(ROLE_CREATE_AS_MANAGER);
    }
    let life = entra.access_life();
    let token = claims::application(client, resource, &roles, now, life);
    drop(state);
    Ok(answered(&entra.authority.sign(token), life))
}

/// The child that `fmi_path` names.
fn child_of(state: &State, client: &Client, path: &str, now: Timestamp) -> Result<String, Refusal> {
    let found = state.directory.principal_of(path, now);
    let own = |child: &&Principal| matches!(&child.kind, Kind::AgentIdentity(parent) if same(parent, &client.principal.app_id));
    found.filter(own).map(|child| child.app_id.clone()).ok_or_else(|| Refusal::of(700_016, path))
}

impl State {
    /// Whether a policy stands in the way of this agent or user.
    pub(super) fn conditional_access(&self, client: &Client, user: Option<&User>) -> Result<(), Refusal> {
        let meets = |target: &Target| match target {
            Target::AllAgents => client.parent().is_some() && user.is_none(),
            Target::AllAgentUsers => user.is_some_and(|user| user.parent.is_some()),
            Target::ChildrenOf(blueprint) => client.parent().is_some_and(|parent| same(parent, blueprint)),
            Target::One(id) => same(&client.principal.id, id) || user.is_some_and(|user| same(&user.id, id)),
        };
        let policy = self.directory.policies.iter().find(|own| own.enabled && own.targets.iter().any(meets));
        match policy {
            Some(policy) if policy.multifactor => Err(Refusal::of(50_076, "the resource")),
            Some(_) => Err(Refusal::new(53_003)),
            None => Ok(()),
        }
    }
}

/// `user_fic`: the agent user's token, from T1 and T2.
///
/// # Errors
/// The refusal of the first check that fails.
pub fn agent_user(entra: &Arc<Entra>, client: &Client, form: &Form) -> Result<Value, Refusal> {
    let now = entra.now();
    let id = &client.principal.app_id;
    if client.parent().is_none() {
        return Err(Refusal::of(82_001, id));
    }
    let second = form.need("user_federated_identity_credential")?;
    let scope = form.need("scope")?;
    check_second(entra, second, id)?;
    let asked = Asked::read(scope)?;
    let state = entra.lock();
    let user = match (form.get("username"), form.get("user_id")) {
        (Some(name), _) => state.directory.user(name, now).ok_or_else(|| Refusal::of(50_034, name))?,
        (None, Some(object)) => {
            if object.parse::<uuid::Uuid>().is_err() {
                return Err(Refusal::of(50_000, "user_id is not an object id"));
            }
            state.directory.user(object, now).ok_or_else(|| Refusal::of(50_034, object))?
        }
        (None, None) => return Err(Refusal::of(900_144, "username")),
    };
    if user.enabled && !user.parent.as_deref().is_some_and(|parent| same(parent, &client.principal.id)) {
        return Err(Refusal::of(50_105, &user.upn));
    }
    let user = user.clone();
    issue(entra, state, client, &user, &Wanted { asked, scope, nonce: None })
}

/// T2 must be this agent identity's.
fn check_second(entra: &Entra, second: &str, id: &str) -> Result<(), Refusal> {
    let token = Unchecked::read(second).map_err(|_| Refusal::new(50_027))?;
    entra.authority.check_signature(&token).map_err(|refused| match refused {
        Refused::Expired => Refusal::new(500_133),
        _ => Refusal::new(50_013),
    })?;
    if token.text("aud") != EXCHANGE_ID || !same(token.text("azp"), id) || token.text("iss") != ISSUER_V2 {
        return Err(Refusal::of(50_013, "the second exchange token is not this agent identity's"));
    }
    in_time(entra, &token)
}

fn in_time(entra: &Entra, token: &Unchecked<'_>) -> Result<(), Refusal> {
    let expires = token.claims.get("exp").and_then(Value::as_i64).unwrap_or(0);
    if expires <= entra.now().as_second() { Err(Refusal::new(500_133)) } else { Ok(()) }
}

/// On-behalf-of: a token of the person whose token for the blueprint is the assertion.
///
/// # Errors
/// The refusal of the first check that fails.
pub fn on_behalf_of(entra: &Arc<Entra>, client: &Client, form: &Form) -> Result<Value, Refusal> {
    let now = entra.now();
    let blueprint = client.parent().unwrap_or(&client.principal.app_id);
    let assertion = form.need("assertion")?;
    let scope = form.need("scope")?;
    if form.get("requested_token_use") != Some("on_behalf_of") {
        return Err(Refusal::of(900_144, "requested_token_use"));
    }
    let token = Unchecked::read(assertion).map_err(|_| Refusal::new(50_027))?;
    entra.authority.check_signature(&token).map_err(|refused| match refused {
        Refused::Expired => Refusal::new(500_133),
        _ => Refusal::of(50_013, "the signature is not this tenant's"),
    })?;
    let audience = token.text("aud");
    let issuer = token.text("iss");
    let own = same(audience, blueprint) || same(audience, &format!("api://{blueprint}"));
    if !own || (issuer != ISSUER_V1 && issuer != ISSUER_V2) {
        return Err(Refusal::of(50_013, format!("its audience is '{audience}'")));
    }
    in_time(entra, &token)?;
    if token.text("idtyp") == "app" {
        return Err(Refusal::of(7_000_114, token.text("azp")));
    }
    let asked = Asked::read(scope)?;
    let state = entra.lock();
    let oid = token.text("oid");
    let user = state.directory.user(oid, now).ok_or_else(|| Refusal::of(50_034, oid))?.clone();
    issue(entra, state, client, &user, &Wanted { asked, scope, nonce: None })
}

/// What a user's token is asked for.
pub struct Wanted<'a> {
    /// The scope, read.
    pub asked: Asked,
    /// The scope, as it was sent.
    pub scope: &'a str,
    /// For the id token.
    pub nonce: Option<&'a str>,
}

/// Issues a user's token after the checks that all user flows share: enabled, resource, grant,
/// assignment, conditional access.
///
/// # Errors
/// The refusal of the first check that fails.
pub fn issue(
    entra: &Arc<Entra>,
    mut state: std::sync::MutexGuard<'_, State>,
    client: &Client,
    user: &User,
    wanted: &Wanted<'_>,
) -> Result<Value, Refusal> {
    let now = entra.now();
    let asked = &wanted.asked;
    if !user.enabled {
        return Err(Refusal::new(50_057));
    }
    let directory = &state.directory;
    let (resource, owner) = asked.resolve(directory, now)?;
    let granted = directory.granted(&client.principal.id, &owner.id, &user.id, now);
    let covered = asked.permissions.iter().all(|one| granted.iter().any(|has| same(has, one)));
    if granted.is_empty() || !covered {
        let principal = &client.principal;
        return Err(Refusal::of(65_001, format!("{}' named '{}", principal.app_id, principal.name)));
    }
    for gate in [owner, &client.principal] {
        let assigned = directory
            .assignments
            .iter()
            .any(|has| same(&has.principal, &user.id) && same(&has.resource, &gate.id));
        if gate.assignment_required && !assigned {
            return Err(Refusal::of(50_105, &user.upn));
        }
    }
    state.conditional_access(client, Some(user))?;
    let scopes = if asked.permissions.is_empty() { granted.join(" ") } else { asked.permissions.join(" ") };
    let life = entra.access_life();
    let mut token = claims::user(client, user, resource, &scopes, now, life);
    if resource.blueprint {
        claims::add_groups(&mut token, user, directory, &entra.base);
    }
    let id_token = asked.id_token.then(|| {
        claims::id_token(client, user, wanted.nonce, directory, &entra.base, now, EXCHANGE_LIFE_SECONDS)
    });
    // The permission to stay signed in is one of Graph's.
    let graph = directory.principal_of(GRAPH_ID, now).map(|found| found.id.as_str()).unwrap_or_default();
    let stays = asked.refresh_token
        && directory.granted(&client.principal.id, graph, &user.id, now).contains(&"offline_access");
    let named: Vec<String> = match same(&resource.app_id, GRAPH_ID) {
        true => scopes.split(' ').map(str::to_owned).collect(),
        false => scopes.split(' ').map(|scope| format!("{}/{scope}", asked.resource)).collect(),
    };
    let refresh = match stays {
        true => Some(random_text().map_err(|_| Refusal::new(90_033))?),
        false => None,
    };
    if let Some(token) = &refresh {
        let client = client.principal.app_id.clone();
        let entry = Refresh {
            token: token.clone(),
            client,
            user: user.id.clone(),
            scope: wanted.scope.into(),
            given: now,
        };
        keep(&mut state.sessions.refresh, entry);
    }
    drop(state);
    let mut answer = answered(&entra.authority.sign(token), life);
    answer["scope"] = json!(named.join(" "));
    if let Some(claims) = id_token {
        answer["id_token"] = json!(entra.authority.sign(claims));
    }
    if let Some(token) = refresh {
        answer["refresh_token"] = json!(token);
    }
    Ok(answer)
}
