//! Control for tests and for the demo's teaching: what an administrator, an attacker or time would do.
//!
//! `POST /_simulator/entra/…` with JSON; each answers 204, or 400 with the reason as text:
//! `disable` and `enable {"id"}` (application id, object id or user principal name);
//! `revoke-grant {"resource", "user"?}`; `revoke-sessions {"user"}`;
//! `rotate-keys {"end_old"?}`; `expire-secret {"application"?}`;
//! `conditional-access {"blueprint"? | "id"?, "control": "block" | "mfa"}`;
//! `require-assignment {"id", "required"?}`; `remove-principal {"id"}`;
//! `replication {"seconds"}`; `groups-overage {"user", "on"?}`;
//! `lifetime {"seconds"?}` of new access tokens;
//! `fail {"aadsts", "times"?}` for the next requests of the token endpoint;
//! `cluster-token {"namespace", "service_account", "audience"?, "seconds"?}` answers `{"token"}`.
//! `GET /_simulator/entra/sign-ins` lists the requests of the token endpoint, oldest first;
//! `GET /_simulator/entra` shows the tenant without secrets, `DELETE` puts it back to its start.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Extracted;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::credential::EXCHANGE_AUDIENCE;
use super::directory::{Policy, Target, same};
use super::{Entra, State};
use crate::simulator::tokens::BLUEPRINT_ID;

/// Longest replication delay, in seconds.
const MAX_REPLICATION_SECONDS: u64 = 3_600;
/// Life of a projected token where none is given, in seconds.
const CLUSTER_TOKEN_SECONDS: i64 = 3_600;

type Shared = Extracted<Arc<Entra>>;
type Done = Result<StatusCode, (StatusCode, String)>;

/// The routes under `/_simulator/entra`.
pub(super) fn routes() -> Router<Arc<Entra>> {
    let at = |name: &str| format!("/_simulator/entra/{name}");
    Router::new()
        .route("/_simulator/entra", get(show).delete(reset))
        .route(&at("sign-ins"), get(sign_ins))
        .route(&at("disable"), post(|state, body| switch(state, body, false)))
        .route(&at("enable"), post(|state, body| switch(state, body, true)))
        .route(&at("revoke-grant"), post(revoke_grant))
        .route(&at("revoke-sessions"), post(revoke_sessions))
        .route(&at("rotate-keys"), post(rotate_keys))
        .route(&at("expire-secret"), post(expire_secret))
        .route(&at("conditional-access"), post(conditional_access))
        .route(&at("require-assignment"), post(require_assignment))
        .route(&at("remove-principal"), post(remove_principal))
        .route(&at("replication"), post(replication))
        .route(&at("groups-overage"), post(groups_overage))
        .route(&at("lifetime"), post(lifetime))
        .route(&at("fail"), post(fail))
        .route(&at("cluster-token"), post(cluster_token))
}

fn unknown(id: &str) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, format!("the tenant has no '{id}'"))
}

fn done_if(found: bool, id: &str) -> Done {
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(unknown(id)) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Id {
    id: String,
}

async fn switch(Extracted(entra): Shared, Json(Id { id }): Json<Id>, on: bool) -> Done {
    let now = entra.now();
    let mut state = entra.lock();
    let principal =
        state.directory.principals.iter_mut().find(|own| same(&own.id, &id) || same(&own.app_id, &id));
    if let Some(own) = principal {
        own.enabled = on;
        return Ok(StatusCode::NO_CONTENT);
    }
    let user = state.directory.user_mut(&id, now).map(|user| user.enabled = on);
    done_if(user.is_some(), &id)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    resource: String,
    user: Option<String>,
}

async fn revoke_grant(Extracted(entra): Shared, Json(how): Json<Revoke>) -> Done {
    let now = entra.now();
    let mut state = entra.lock();
    let resource = state.directory.resource(&how.resource).map(|app| app.app_id.clone());
    let resource = resource.and_then(|id| state.directory.principal_of(&id, now)).map(|own| own.id.clone());
    let resource = resource.ok_or_else(|| unknown(&how.resource))?;
    let user = match &how.user {
        Some(name) => Some(state.directory.user(name, now).ok_or_else(|| unknown(name))?.id.clone()),
        None => None,
    };
    let before = state.directory.grants.len();
    state.directory.grants.retain(|own| own.resource != resource || (user.is_some() && own.user != user));
    done_if(state.directory.grants.len() < before, "such grant")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    user: String,
    #[serde(default = "yes")]
    on: bool,
}

fn yes() -> bool {
    true
}

async fn revoke_sessions(Extracted(entra): Shared, Json(how): Json<User>) -> Done {
    let now = entra.now();
    let mut state = entra.lock();
    // What was given in this very instant ends too.
    let from = crate::clock::add(now, Duration::from_nanos(1));
    let user = state.directory.user_mut(&how.user, now).map(|user| user.valid_from = from);
    done_if(user.is_some(), &how.user)
}

async fn groups_overage(Extracted(entra): Shared, Json(how): Json<User>) -> Done {
    let now = entra.now();
    let user = entra.lock().directory.user_mut(&how.user, now).map(|user| user.overage = how.on);
    done_if(user.is_some(), &how.user)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    #[serde(default)]
    end_old: bool,
}

async fn rotate_keys(Extracted(entra): Shared, Json(how): Json<Rotate>) -> Done {
    let failed = |error: anyhow::Error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    entra.authority.rotate(how.end_old).map(|()| StatusCode::NO_CONTENT).map_err(failed)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expire {
    application: Option<String>,
}

async fn expire_secret(Extracted(entra): Shared, Json(how): Json<Expire>) -> Done {
    let now = entra.now();
    let id = how.application.as_deref().unwrap_or(BLUEPRINT_ID);
    let mut state = entra.lock();
    let application = state.directory.application_mut(id, now);
    let expired = application.map(|app| app.secrets.iter_mut().for_each(|own| own.ends = now.min(own.ends)));
    done_if(expired.is_some(), id)
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Control {
    Block,
    Mfa,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Access {
    blueprint: Option<String>,
    id: Option<String>,
    control: Control,
}

async fn conditional_access(Extracted(entra): Shared, Json(how): Json<Access>) -> Done {
    let agents = |id: String| {
        let body = json!({"clientApplications": {"includeAgentIdServicePrincipals": [id]}});
        (Target::ChildrenOf(id), body)
    };
    let (target, conditions) = match (how.blueprint, how.id) {
        (None, None) => agents(BLUEPRINT_ID.into()),
        (Some(blueprint), None) => agents(blueprint),
        (None, Some(id)) => (Target::One(id.clone()), json!({"users": {"includeUsers": [id]}})),
        (Some(_), Some(_)) => {
            return Err((StatusCode::BAD_REQUEST, "give 'blueprint' or 'id', not both".into()));
        }
    };
    let mut state = entra.lock();
    if state.directory.policies.len() >= super::directory::MAX_OBJECTS {
        return Err((StatusCode::BAD_REQUEST, "there are too many policies".into()));
    }
    let id = uuid::Uuid::new_v4().to_string();
    let multifactor = how.control == Control::Mfa;
    let control = if multifactor { "mfa" } else { "block" };
    let body = json!({"id": id, "displayName": "set by a test", "state": "enabled",
        "conditions": conditions, "grantControls": {"operator": "OR", "builtInControls": [control]}});
    state.directory.policies.push(Policy { id, targets: vec![target], multifactor, enabled: true, body });
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assignment {
    id: String,
    #[serde(default = "yes")]
    required: bool,
}

async fn require_assignment(Extracted(entra): Shared, Json(how): Json<Assignment>) -> Done {
    let mut state = entra.lock();
    let id = &how.id;
    let found = state.directory.principals.iter_mut().find(|own| same(&own.id, id) || same(&own.app_id, id));
    done_if(found.map(|own| own.assignment_required = how.required).is_some(), id)
}

async fn remove_principal(Extracted(entra): Shared, Json(Id { id }): Json<Id>) -> Done {
    let mut state = entra.lock();
    let before = state.directory.principals.len();
    state.directory.principals.retain(|own| !same(&own.id, &id) && !same(&own.app_id, &id));
    done_if(state.directory.principals.len() < before, &id)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delay {
    seconds: u64,
}

async fn replication(Extracted(entra): Shared, Json(how): Json<Delay>) -> StatusCode {
    entra.lock().replication = Duration::from_secs(how.seconds.min(MAX_REPLICATION_SECONDS));
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lifetime {
    seconds: Option<i64>,
}

async fn lifetime(Extracted(entra): Shared, Json(how): Json<Lifetime>) -> StatusCode {
    entra.authority.set_lifetime(how.seconds);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fail {
    aadsts: u32,
    #[serde(default = "once")]
    times: u32,
}

fn once() -> u32 {
    1
}

async fn fail(Extracted(entra): Shared, Json(how): Json<Fail>) -> StatusCode {
    entra.lock().injected = (how.times > 0).then_some((how.aadsts, how.times));
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Projected {
    namespace: String,
    service_account: String,
    audience: Option<String>,
    seconds: Option<i64>,
}

/// The token that a cluster would project into a pod; its keys are published under `/cluster`.
async fn cluster_token(Extracted(entra): Shared, Json(how): Json<Projected>) -> Response {
    let now = entra.now().as_second();
    let claims = json!({
        "iss": entra.cluster_issuer(), "aud": [how.audience.as_deref().unwrap_or(EXCHANGE_AUDIENCE)],
        "sub": format!("system:serviceaccount:{}:{}", how.namespace, how.service_account),
        "iat": now, "nbf": now, "exp": now + how.seconds.unwrap_or(CLUSTER_TOKEN_SECONDS),
    });
    match (claims, entra.cluster()) {
        (Value::Object(claims), Some(cluster)) => {
            Json(json!({"token": cluster.sign(claims)})).into_response()
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn reset(Extracted(entra): Shared) -> StatusCode {
    entra.authority.set_lifetime(None);
    *entra.lock() = State { directory: entra.first.clone(), ..State::default() };
    StatusCode::NO_CONTENT
}

async fn sign_ins(Extracted(entra): Shared) -> Json<Value> {
    let state = entra.lock();
    let shown = state.sessions.log.iter().map(|own| {
        json!({"at": own.at.to_string(), "grant": own.grant, "client": own.client, "scope": own.scope,
            "aadsts": own.code, "correlation_id": own.correlation})
    });
    Json(json!({"sign_ins": shown.collect::<Vec<_>>()}))
}

/// The tenant without secrets.
async fn show(Extracted(entra): Shared) -> Json<Value> {
    let state = entra.lock();
    let directory = &state.directory;
    let applications = directory.applications.iter().map(|app| {
        let ends: Vec<String> = app.secrets.iter().map(|own| own.ends.to_string()).collect();
        let federated: Vec<Value> = app
            .federated
            .iter()
            .map(|own| json!({"issuer": own.issuer, "subject": own.subject, "audience": own.audience}))
            .collect();
        json!({"app_id": app.app_id, "name": app.name, "secrets_end": ends, "federated": federated})
    });
    let principals = directory.principals.iter().map(|own| {
        json!({"id": own.id, "app_id": own.app_id, "name": own.name, "enabled": own.enabled,
            "kind": format!("{:?}", own.kind)})
    });
    let users = directory
        .users
        .iter()
        .map(|user| json!({"id": user.id, "upn": user.upn, "enabled": user.enabled, "parent": user.parent}));
    let grants = directory.grants.iter().map(
        |own| json!({"client": own.client, "resource": own.resource, "user": own.user, "scope": own.scope}),
    );
    Json(json!({
        "applications": applications.collect::<Vec<_>>(), "principals": principals.collect::<Vec<_>>(),
        "users": users.collect::<Vec<_>>(), "grants": grants.collect::<Vec<_>>(),
        "policies": directory.policies.iter().map(|own| &own.body).collect::<Vec<_>>(),
        "replication_seconds": state.replication.as_secs(),
        "refresh_tokens": state.sessions.refresh.len(),
    }))
}
