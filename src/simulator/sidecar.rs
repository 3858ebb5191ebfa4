//! A simulated Microsoft Entra auth sidecar, version line 1.1.
//!
//! Invariant: it does what the code of the real one does, not what its documentation says: parameters
//! that make no sense are ignored silently, closed gates drop the agent's parameters without an error,
//! and every refusal of Entra is a 401 whose `detail` carries the AADSTS text.
//! It must never know: Azure DevOps or the model; it only mints tokens for their audiences.

mod control;
mod entra;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::tokens::{
    AGENT_IDENTITY_ID, AGENT_USER_ID, AGENT_USER_UPN, AUDIENCE_AZURE_DEVOPS, AUDIENCE_COGNITIVE_SERVICES,
    Authority, BLUEPRINT_ID, TENANT_ID,
};
use crate::clock::{Clock, add};
use control::Break;

/// Shortest and longest life of a token, in seconds, as Entra draws them.
const LIFETIME_SECONDS: (i64, i64) = (3_600, 5_400);
/// A cached token is given out until this long before it expires, in seconds.
const CACHE_MARGIN_SECONDS: i64 = 300;
/// Most tokens kept.
const MAX_CACHED: usize = 100;
/// How the sidecar is configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `Sidecar:AllowOverrides:GetAuthorizationHeader`; on unless configured.
    pub allow_overrides: bool,
    /// `Sidecar:AllowOverrides:GetAuthorizationHeaderUnauthenticated`. Off in the real one unless
    /// configured; on in ours, because an agent that works by itself needs it.
    pub allow_overrides_unauthenticated: bool,
    /// `ASPNETCORE_ENVIRONMENT=Development`: callers need not come from this machine.
    pub development: bool,
    /// `DownstreamApis`: name and scope of each profile.
    pub profiles: Vec<Profile>,
    /// Time for expiry and delays; the authority's own clock.
    pub clock: Clock,
}

/// One entry of `DownstreamApis`.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The name in the path.
    pub name: String,
    /// The resource that tokens are for, without `/.default`; none when no scope is configured.
    pub audience: Option<String>,
    /// `RequestAppToken`.
    pub request_app_token: bool,
}

impl Settings {
    /// The profiles `ado` and `aoai`, with the gates that an agent user needs.
    pub fn new(clock: Clock) -> Self {
        let profile = |name: &str, audience: &str| Profile {
            name: name.to_owned(),
            audience: Some(audience.to_owned()),
            request_app_token: false,
        };
        Self {
            allow_overrides: true,
            allow_overrides_unauthenticated: true,
            development: false,
            profiles: vec![
                profile("ado", AUDIENCE_AZURE_DEVOPS),
                profile("aoai", AUDIENCE_COGNITIVE_SERVICES),
            ],
            clock,
        }
    }
}

struct Sidecar {
    authority: Arc<Authority>,
    settings: Settings,
    cache: Mutex<HashMap<String, Cached>>,
    faults: Mutex<control::Faults>,
}

struct Cached {
    token: String,
    until: jiff::Timestamp,
}

/// The routes of the sidecar. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, or
/// the rule that callers come from this machine has nothing to look at and lets everybody in.
///
/// Control for tests: `POST /_simulator/expire {"lifetime_seconds"?}` makes all tokens expired and may
/// give new ones another life; `POST /_simulator/break {"times"?, "aadsts"?, "status"?}` fails the next
/// requests; `POST /_simulator/delay {"ms", "times"?}` holds them back; `POST /_simulator/configure
/// {"gate_closed"?, "request_app_token"?, "without_claims"?}` changes the configuration; `DELETE
/// /_simulator` ends all three.
pub fn router(authority: Arc<Authority>, settings: Settings) -> Router {
    let sidecar =
        Arc::new(Sidecar { authority, settings, cache: Mutex::default(), faults: Mutex::default() });
    Router::new()
        .route("/AuthorizationHeader/{api}", get(authenticated))
        .route("/AuthorizationHeaderUnauthenticated/{api}", get(unauthenticated))
        .layer(middleware::from_fn_with_state(sidecar.clone(), loopback_only))
        .route("/healthz", get(|| async { "Healthy" }))
        .merge(control::routes())
        .with_state(sidecar)
}

async fn loopback_only(State(sidecar): State<Arc<Sidecar>>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    if !sidecar.settings.development && caller.is_some_and(|ip| !ip.is_loopback()) {
        return StatusCode::FORBIDDEN.into_response();
    }
    next.run(request).await
}

type Parameters = Query<Vec<(String, String)>>;

async fn unauthenticated(
    State(sidecar): State<Arc<Sidecar>>,
    Path(api): Path<String>,
    Query(query): Parameters,
) -> Response {
    let closed = sidecar.configured().gate_closed;
    let gate = sidecar.settings.allow_overrides_unauthenticated && !closed;
    sidecar.answer(&api, &Wanted::read(&query, gate), None).await
}

async fn authenticated(
    State(sidecar): State<Arc<Sidecar>>,
    Path(api): Path<String>,
    Query(query): Parameters,
    headers: HeaderMap,
) -> Response {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = given.and_then(|value| value.strip_prefix("Bearer ")) else {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response();
    };
    let blueprint = [format!("api://{BLUEPRINT_ID}"), BLUEPRINT_ID.to_owned()];
    let checked = sidecar.authority.verify(token, &blueprint[0]);
    match checked.or_else(|_| sidecar.authority.verify(token, &blueprint[1])) {
        Ok(caller) => {
            let gate = sidecar.settings.allow_overrides;
            sidecar.answer(&api, &Wanted::read(&query, gate), Some(&caller)).await
        }
        Err(why) => {
            let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{why}\"");
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
        }
    }
}

/// What the query asks for, after the silent rules.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    agent: Option<String>,
    user: Option<AgentUser>,
    app_token: bool,
    force: bool,
    scope: Option<String>,
    tenant: Option<String>,
}

#[derive(Debug, PartialEq)]
enum AgentUser {
    Name(String),
    Id(uuid::Uuid),
}

impl Wanted {
    fn read(query: &[(String, String)], gate: bool) -> Self {
        if !gate {
            return Self::default();
        }
        let get = |name: &str| {
            let found =
                query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
            found.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let set = |name: &str| get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let agent = get("AgentIdentity");
        let by_id = || get("AgentUserId").and_then(|id| id.parse().ok()).map(AgentUser::Id);
        let user = agent.as_ref().and_then(|_| get("AgentUsername").map(AgentUser::Name).or_else(by_id));
        Self {
            agent,
            user,
            app_token: set("optionsOverride.RequestAppToken"),
            force: set("optionsOverride.AcquireTokenOptions.ForceRefresh"),
            scope: get("optionsOverride.Scopes"),
            tenant: get("optionsOverride.AcquireTokenOptions.Tenant"),
        }
    }
}

/// A refusal on the way to a token.
#[derive(Debug)]
enum Failure {
    NoScopes,
    NoAccount,
    Entra(u32),
    Inner(StatusCode),
}

impl Sidecar {
    fn configured(&self) -> control::Configured {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).configured.clone()
    }

    async fn answer(&self, api: &str, wanted: &Wanted, caller: Option<&Map<String, Value>>) -> Response {
        let (delay, broken) = self.faults.lock().unwrap_or_else(PoisonError::into_inner).next();
        if !delay.is_zero() {
            self.settings.clock.sleep(delay).await;
        }
        let token = match broken {
            Some(Break { aadsts: Some(code), .. }) => Err(Failure::Entra(code)),
            Some(Break { status, .. }) => {
                Err(Failure::Inner(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)))
            }
            None => self.token(api, wanted, caller),
        };
        match token {
            Ok(token) => {
                let headers = [
                    (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
                    (header::PRAGMA, "no-cache"),
                    (header::EXPIRES, "0"),
                ];
                (headers, Json(json!({"authorizationHeader": format!("Bearer {token}")}))).into_response()
            }
            Err(failure) => self.problem(api, &failure),
        }
    }

    fn token(
        &self,
        api: &str,
        wanted: &Wanted,
        caller: Option<&Map<String, Value>>,
    ) -> Result<String, Failure> {
        let profile = self.settings.profiles.iter().find(|profile| profile.name == api);
        let scope = wanted.scope.as_deref().map(|scope| scope.trim_end_matches("/.default").to_owned());
        let audience =
            scope.or(profile.and_then(|profile| profile.audience.clone())).ok_or(Failure::NoScopes)?;
        if wanted.tenant.as_ref().is_some_and(|tenant| tenant != TENANT_ID) {
            return Err(Failure::Entra(90002));
        }
        let configured = self.configured();
        let app = wanted.app_token
            || configured.request_app_token
            || profile.is_some_and(|profile| profile.request_app_token);
        if wanted.agent.as_ref().is_some_and(|agent| !agent.eq_ignore_ascii_case(AGENT_IDENTITY_ID)) {
            return Err(Failure::Entra(700_016));
        }
        let agent = wanted.agent.is_some();
        let person = caller.filter(|claims| claims.get("idtyp") == Some(&json!("user")));
        let (principal, claims) = match (&wanted.user, person) {
            _ if app => (if agent { AGENT_IDENTITY_ID } else { BLUEPRINT_ID }, entra::app_claims(agent)),
            (Some(user), _) => (AGENT_USER_ID, agent_user(user)?),
            (None, Some(person)) => (entra::text(person, "oid"), entra::on_behalf_claims(person, agent)),
            (None, None) => return Err(Failure::NoAccount),
        };
        let now = self.settings.clock.now();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{audience} {principal} {app} {agent}");
        if let Some(cached) = cache.get(&key).filter(|cached| !wanted.force && cached.until > now) {
            return Ok(cached.token.clone());
        }
        let (shortest, longest) = LIFETIME_SECONDS;
        let spread = i64::from(uuid::Uuid::new_v4().as_bytes()[0]) * (longest - shortest) / 255;
        let asked = self.faults.lock().unwrap_or_else(PoisonError::into_inner).lifetime_seconds;
        let lifetime = asked.unwrap_or(shortest + spread);
        let mut all = Map::from_iter([("aud".to_owned(), json!(audience))]);
        all.extend(claims);
        all.retain(|name, _| !configured.without_claims.contains(name));
        let token = self.authority.mint(all, lifetime);
        let kept = u64::try_from(lifetime - CACHE_MARGIN_SECONDS).unwrap_or(0);
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(key, Cached { token: token.clone(), until: add(now, Duration::from_secs(kept)) });
        Ok(token)
    }

    fn problem(&self, api: &str, failure: &Failure) -> Response {
        let unauthorized = (StatusCode::UNAUTHORIZED, "section-15.5.2", "Unauthorized");
        let ((status, section, title), detail) = match failure {
            Failure::NoScopes => (
                (StatusCode::BAD_REQUEST, "section-15.5.1", "Bad Request"),
                format!(
                    "No scopes found for the API '{api}' or in optionsOverride. 'scopes' needs to be either a \
                     single value or a list of values."
                ),
            ),
            Failure::NoAccount => {
                let detail = "No account or login hint was passed to the AcquireTokenSilent call.";
                (unauthorized, detail.to_owned())
            }
            Failure::Entra(code) => (unauthorized, entra::refusal(*code, self.settings.clock.now())),
            Failure::Inner(status) => (
                (*status, "section-15.6.1", "An error occurred while processing your request."),
                "An unexpected error occurred.".to_owned(),
            ),
        };
        let link = format!("https://tools.ietf.org/html/rfc9110#{section}");
        let body = json!({"type": link, "title": title, "status": status.as_u16(), "detail": detail});
        let mut response = (status, Json(body)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

fn agent_user(user: &AgentUser) -> Result<Map<String, Value>, Failure> {
    let known = match user {
        AgentUser::Name(name) => name.eq_ignore_ascii_case(AGENT_USER_UPN),
        AgentUser::Id(id) => id.to_string() == AGENT_USER_ID,
    };
    if known { Ok(entra::agent_user_claims()) } else { Err(Failure::Entra(50_034)) }
}

#[cfg(test)]
mod tests;
