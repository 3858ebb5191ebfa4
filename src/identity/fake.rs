//! A tiny sidecar for tests: answers by a queue, else with a good token.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::Audience;
use crate::config;

pub(crate) const NOW: i64 = 1_795_000_000;
pub(crate) const AGENT_IDENTITY: &str = "44444444-dddd-4ddd-8ddd-444444444444";
const AGENT_USER: &str = "55555555-eeee-4eee-8eee-555555555555";
const TENANT: &str = "11111111-aaaa-4aaa-8aaa-111111111111";

pub(crate) fn settings(sidecar: &str) -> config::Identity {
    config::Identity {
        sidecar_url: sidecar.parse().unwrap(),
        tenant_id: Some(TENANT.into()),
        agent_identity_id: AGENT_IDENTITY.into(),
        agent_user: config::AgentUser::Username("ado-coworker@contoso.example".into()),
    }
}

pub(crate) fn claims(audience: Audience, expires: i64) -> Map<String, Value> {
    let claims = json!({
        "aud": audience.names()[0], "tid": TENANT, "exp": expires, "appid": AGENT_IDENTITY, "idtyp": "user",
        "oid": AGENT_USER, "upn": "ado-coworker@contoso.example", "scp": "user_impersonation",
        "xms_act_fct": "3 11 9", "xms_sub_fct": "3 13", "uti": uuid::Uuid::new_v4().to_string(),
    });
    claims.as_object().unwrap().clone()
}

pub(crate) fn token(claims: &Map<String, Value>) -> String {
    let part = |value: String| URL_SAFE_NO_PAD.encode(value);
    format!("{}.{}.sig", part(r#"{"alg":"none"}"#.into()), part(Value::Object(claims.clone()).to_string()))
}

/// What the fake saw: profile, query, host header.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) profile: String,
    pub(crate) query: HashMap<String, String>,
    pub(crate) host: String,
}

#[derive(Default)]
pub(crate) struct Sidecar {
    pub(crate) seen: Mutex<Vec<Seen>>,
    /// Answers to give first, in order.
    pub(crate) answers: Mutex<VecDeque<(StatusCode, String)>>,
    /// Expiry of the tokens given; 0 means an hour after [`NOW`].
    pub(crate) expires: Mutex<i64>,
}

impl Sidecar {
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn answer(
    State(sidecar): State<Arc<Sidecar>>,
    Path(profile): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    sidecar.seen.lock().unwrap().push(Seen { profile: profile.clone(), query, host });
    // Long enough that callers which come together really meet.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    if let Some(answer) = sidecar.answers.lock().unwrap().pop_front() {
        return answer.into_response();
    }
    let audience = if profile == "ado" { Audience::AzureDevOps } else { Audience::Model };
    let expires = match *sidecar.expires.lock().unwrap() {
        0 => NOW + 3_600,
        expires => expires,
    };
    let token = token(&claims(audience, expires));
    axum::Json(json!({ "authorizationHeader": format!("Bearer {token}") })).into_response()
}

/// Serves `router` on a free port of loopback; the address has no slash at the end.
pub(crate) async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

pub(crate) async fn start() -> (Arc<Sidecar>, String) {
    let sidecar = Arc::new(Sidecar::default());
    let router = axum::Router::new()
        .route("/AuthorizationHeaderUnauthenticated/{profile}", axum::routing::get(answer))
        .with_state(sidecar.clone());
    (sidecar, serve(router).await)
}
