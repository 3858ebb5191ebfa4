//! A simulated Microsoft Entra auth sidecar, of version 1.0.0 or of the line 1.1.
//!
//! Invariant: it does what the code of the real one does, not what its documentation says: parameters
//! that make no sense are ignored silently, closed gates drop the agent's parameters without an error,
//! and every refusal of Entra is a 401 whose `detail` carries the AADSTS text. It holds no key: each
//! token comes from the Entra at its `instance`, leg by leg, over HTTP.
//! It must never know: what Azure DevOps or the model do with its tokens.

mod control;
mod description;
mod downstream;
mod entra;
mod environment;
mod inbound;
mod legs;
mod problem;
mod rules;
mod wanted;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde_json::json;
use tokio::sync::OnceCell;
use url::Url;

use super::entra::Entra;
use super::tokens::{
    AUDIENCE_AZURE_DEVOPS, AUDIENCE_COGNITIVE_SERVICES, AUDIENCE_GRAPH, Authority, BLUEPRINT_ID, TENANT_ID,
};
use crate::clock::Clock;
use control::Break;
use problem::Failure;
use wanted::Wanted;

/// Largest body that is passed on, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The version families, which differ in whom they answer and in what they ignore (SIDECAR.md §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.0.0: callers must name the host `localhost`; no gates.
    V1_0_0,
    /// 1.1.0 and later: callers must come from this machine; gates.
    V1_1,
}

/// One entry of `AzureAd:ClientCredentials`.
#[derive(Clone)]
pub enum Credential {
    /// `ClientSecret`.
    Secret(String),
    /// `SignedAssertionFilePath`: a projected token, read at each use.
    AssertionFile(PathBuf),
    /// `SignedAssertionFromManagedIdentity`, asked at this address of the host.
    ManagedIdentity(Url),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret(_) => f.write_str("Secret(…)"),
            Self::AssertionFile(path) => f.debug_tuple("AssertionFile").field(path).finish(),
            Self::ManagedIdentity(url) => f.debug_tuple("ManagedIdentity").field(&url.as_str()).finish(),
        }
    }
}

/// How the sidecar is configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which family of versions it is.
    pub version: Version,
    /// `AzureAd:Instance`: the address of Entra. Without one the sidecar starts a simulated tenant of
    /// its own on a free port of this machine, and uses its secret.
    pub instance: Option<Url>,
    /// `AzureAd:TenantId`.
    pub tenant_id: String,
    /// `AzureAd:ClientId`: the blueprint.
    pub client_id: String,
    /// `AzureAd:ClientCredentials`; the first that loads is used.
    pub credentials: Vec<Credential>,
    /// `AzureAd:Scopes`: what a token must have at `/Validate`.
    pub required_scopes: Vec<String>,
    /// `Sidecar:AllowOverrides:GetAuthorizationHeader`; on unless configured.
    pub allow_overrides: bool,
    /// `Sidecar:AllowOverrides:GetAuthorizationHeaderUnauthenticated`. Off in the real one unless
    /// configured; on in ours, because an agent that works by itself needs it.
    pub allow_overrides_unauthenticated: bool,
    /// `Sidecar:AllowOverrides:CallDownstreamApi`; on unless configured.
    pub allow_downstream_overrides: bool,
    /// `Sidecar:AllowOverrides:CallDownstreamApiUnauthenticated`; off unless configured.
    pub allow_downstream_overrides_unauthenticated: bool,
    /// `ASPNETCORE_ENVIRONMENT=Development`: neither the host's name nor the caller's address matters.
    pub development: bool,
    /// `DownstreamApis`: name, scopes and address of each profile.
    pub profiles: Vec<Profile>,
    /// Time for expiry and delays; the authority's own clock.
    pub clock: Clock,
}

/// One entry of `DownstreamApis`.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The name in the path.
    pub name: String,
    /// The resource that `Scopes` names, without `/.default`; none when no scope is configured.
    pub audience: Option<String>,
    /// `RequestAppToken`.
    pub request_app_token: bool,
    /// `BaseUrl`; only `DownstreamApi` uses it.
    pub base_url: Option<Url>,
    /// `RelativePath`.
    pub relative_path: String,
    /// `HttpMethod`; GET unless configured.
    pub method: Option<String>,
}

impl Settings {
    /// Version 1.1 with the profiles `ado`, `aoai` and `me`, and the gates that an agent user needs.
    pub fn new(clock: Clock) -> Self {
        let profile = |name: &str, resource: &str| Profile {
            name: name.to_owned(),
            audience: Some(resource.to_owned()),
            ..Profile::default()
        };
        Self {
            version: Version::V1_1,
            instance: None,
            tenant_id: TENANT_ID.to_owned(),
            client_id: BLUEPRINT_ID.to_owned(),
            credentials: Vec::new(),
            required_scopes: Vec::new(),
            allow_overrides: true,
            allow_overrides_unauthenticated: true,
            allow_downstream_overrides: true,
            allow_downstream_overrides_unauthenticated: false,
            development: false,
            profiles: vec![
                profile("ado", AUDIENCE_AZURE_DEVOPS),
                profile("aoai", AUDIENCE_COGNITIVE_SERVICES),
                profile("me", AUDIENCE_GRAPH),
            ],
            clock,
        }
    }

    /// As [`Settings::new`], with `entra` as its instance and its blueprint's development secret.
    ///
    /// # Errors
    /// When the tenant's own address is none.
    pub fn connected(clock: Clock, entra: &Entra) -> anyhow::Result<Self> {
        Ok(Self {
            instance: Some(Url::parse(entra.base())?),
            credentials: vec![Credential::Secret(entra.blueprint_secret().to_owned())],
            ..Self::new(clock)
        })
    }
}

struct Sidecar {
    authority: Arc<Authority>,
    /// As it was started.
    first: Settings,
    /// As it is now; control may change it.
    settings: RwLock<Settings>,
    http: OnceLock<Option<reqwest::Client>>,
    own: OnceCell<(Url, String)>,
    cache: legs::Cache,
    keys: inbound::Keys,
    faults: Mutex<control::Faults>,
}

impl Sidecar {
    /// The settings with an Entra to ask: the configured one, or one that is started now.
    async fn connected(&self) -> Settings {
        let mut settings = self.settings();
        if settings.instance.is_none() {
            let own = self.own.get_or_try_init(|| own_tenant(self.authority.clone())).await;
            match own {
                Ok((instance, secret)) => {
                    settings.instance = Some(instance.clone());
                    if settings.credentials.is_empty() {
                        settings.credentials = vec![Credential::Secret(secret.clone())];
                    }
                }
                Err(error) => tracing::error!(%error, "the sidecar can start no tenant of its own"),
            }
        }
        settings
    }

    fn settings(&self) -> Settings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn faults(&self) -> MutexGuard<'_, control::Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one client for Entra and downstream APIs; built at first use.
    fn http(&self) -> Result<&reqwest::Client, Failure> {
        let build = || {
            super::entra::jwks::client()
                .inspect_err(|error| tracing::error!(%error, "the sidecar has no HTTP client"))
                .ok()
        };
        self.http.get_or_init(build).as_ref().ok_or(Failure::INNER)
    }
}

/// Starts a simulated tenant; it ends with the process.
async fn own_tenant(authority: Arc<Authority>) -> anyhow::Result<(Url, String)> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let base = Url::parse(&format!("http://{}", listener.local_addr()?))?;
    let tenant =
        Entra::new(authority, &super::entra::Settings { base: base.clone(), provisioned: true, data: None })?;
    let secret = tenant.blueprint_secret().to_owned();
    tokio::spawn(async move { axum::serve(listener, super::entra::router(tenant)).await });
    Ok((base, secret))
}

/// The routes of the sidecar. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, or
/// the rule that callers come from this machine has nothing to look at and lets everybody in.
/// `authority` signs for a tenant of its own, and serves the control that expires all tokens.
///
/// Control for tests: `POST /_simulator/expire {"lifetime_seconds"?}` makes all tokens expired and may
/// give new ones another life; `POST /_simulator/restart` empties the cache; `POST /_simulator/break
/// {"times"?, "aadsts"?, "status"?}` fails the next requests; `POST /_simulator/delay {"ms", "times"?}`
/// holds them back; `POST /_simulator/configure {…}` changes settings, see `control.rs`;
/// `DELETE /_simulator` ends all of it.
pub fn router(authority: Arc<Authority>, settings: Settings) -> Router {
    let sidecar = Arc::new(Sidecar {
        authority,
        first: settings.clone(),
        settings: RwLock::new(settings),
        http: OnceLock::new(),
        own: OnceCell::new(),
        cache: legs::Cache::default(),
        keys: inbound::Keys::default(),
        faults: Mutex::default(),
    });
    Router::new()
        .route("/AuthorizationHeader/{api}", get(authenticated))
        .route("/AuthorizationHeaderUnauthenticated/{api}", get(unauthenticated))
        .route("/DownstreamApi/{api}", post(downstream::authenticated))
        .route("/DownstreamApiUnauthenticated/{api}", post(downstream::unauthenticated))
        .route("/Validate", get(inbound::validate))
        .route("/openapi/v1.json", get(description::describe))
        .layer(middleware::from_fn_with_state(sidecar.clone(), rules::loopback))
        .route("/healthz", get(|| async { "Healthy" }))
        .layer(middleware::from_fn_with_state(sidecar.clone(), rules::host))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .merge(control::routes())
        .with_state(sidecar)
}

type Shared = State<Arc<Sidecar>>;
type Parameters = Query<Vec<(String, String)>>;

async fn unauthenticated(
    State(sidecar): Shared,
    Path(api): Path<String>,
    Query(query): Parameters,
) -> Response {
    let settings = sidecar.connected().await;
    let gate = settings.version == Version::V1_0_0 || settings.allow_overrides_unauthenticated;
    let wanted = Wanted::read(&query, gate, settings.version);
    sidecar.header(&settings, &api, &wanted, None).await
}

async fn authenticated(
    State(sidecar): Shared,
    Path(api): Path<String>,
    Query(query): Parameters,
    headers: HeaderMap,
) -> Response {
    let settings = sidecar.connected().await;
    match inbound::caller(&sidecar, &settings, &headers).await {
        Ok(caller) => {
            let gate = settings.version == Version::V1_0_0 || settings.allow_overrides;
            let wanted = Wanted::read(&query, gate, settings.version);
            sidecar.header(&settings, &api, &wanted, Some(&caller.token)).await
        }
        Err(refused) => refused,
    }
}

impl Sidecar {
    async fn header(
        &self,
        settings: &Settings,
        api: &str,
        wanted: &Wanted,
        caller: Option<&str>,
    ) -> Response {
        match self.token(settings, api, wanted, caller).await {
            Ok(token) => rules::uncached(
                Json(json!({"authorizationHeader": format!("Bearer {token}")})).into_response(),
            ),
            Err(failure) => failure.answer(api),
        }
    }

    /// A token as wanted, after what a test has asked for.
    async fn token(
        &self,
        settings: &Settings,
        api: &str,
        wanted: &Wanted,
        caller: Option<&str>,
    ) -> Result<String, Failure> {
        let (delay, broken) = self.faults().next();
        if !delay.is_zero() {
            settings.clock.sleep(delay).await;
        }
        match broken {
            Some(Break { aadsts: Some(code), .. }) => Err(entra::refused(code, settings.clock.now())),
            Some(Break { status, .. }) => Err(Failure::broken(status)),
            None => self.acquire(settings, api, wanted, caller).await,
        }
    }
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok())?;
    let (scheme, token) = given.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests;
