//! A simulated Microsoft Entra tenant, with the part of Microsoft Graph that provisions agents.
//!
//! Purpose: token endpoint, sign-in pages, published keys and Graph on one port, so that the agent's
//! three legs, people's sign-in and the set-up run against signatures that are really checked.
//! Invariant: a token is issued only after every check of TOKENS.md §7 in its order; secrets and keys
//! are random and only in memory, and of a secret only a hash is saved.
//! It must never know: the sidecar, Azure DevOps, or what a token is used for.

mod claims;
mod control;
mod credential;
mod directory;
mod error;
mod graph;
pub mod jwks;
pub mod keys;
mod legs;
mod people;
mod scope;
mod seed;
mod sessions;
mod storage;
#[cfg(test)]
pub(in crate::simulator) mod tests;
mod token;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, State as Extracted};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

pub use error::Refusal;
pub use seed::{GROUP_ADMINS, GROUP_APPROVERS, GROUP_AUDITORS, SETUP_CLIENT_ID, SIGN_IN_CLIENT_ID};
pub use storage::{bring, keep};

use super::tokens::{Authority, ISSUER_V2, TENANT_ID};
use crate::clock::add;
use directory::Directory;
use sessions::Sessions;

/// Largest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// How the tenant starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its own address, as others reach it: `http://127.0.0.1:4194`.
    pub base: Url,
    /// Whether the co-worker's blueprint, agent identity, agent user and grants exist; without them
    /// it is a tenant before `setup`.
    pub provisioned: bool,
    /// Folder in which the tenant is kept beside the organisation; none keeps it in memory only.
    pub data: Option<PathBuf>,
}

/// The tenant.
pub struct Entra {
    authority: Arc<Authority>,
    /// Issuer of the tokens of a simulated Kubernetes cluster; made when first asked for.
    cluster: OnceLock<Option<Arc<Authority>>>,
    /// Without a slash at the end.
    base: String,
    http: reqwest::Client,
    /// What a reset goes back to.
    first: Directory,
    blueprint_secret: String,
    state: Mutex<State>,
}

/// What changes.
#[derive(Default)]
struct State {
    directory: Directory,
    sessions: Sessions,
    /// How long new objects take to be seen.
    replication: Duration,
    /// Refusals that a test asked for, with how often.
    injected: Option<(u32, u32)>,
}

impl Entra {
    /// A tenant with people, groups and the resources that every tenant has; see
    /// [`Settings::provisioned`] for the rest. Its tokens are signed by `authority`.
    ///
    /// # Errors
    /// When the machine's random source fails, no HTTP client can be built, or what is kept in the
    /// folder cannot be read.
    pub fn new(authority: Arc<Authority>, settings: &Settings) -> anyhow::Result<Arc<Self>> {
        let blueprint_secret = random_text()?;
        let now = authority.clock().now();
        let first = seed::directory(now, settings.provisioned.then_some(blueprint_secret.as_str()));
        let kept = settings.data.as_deref().map(storage::load).transpose()?.flatten();
        let directory = kept.map(|kept| storage::renewed(kept, now, &blueprint_secret));
        let state = State { directory: directory.unwrap_or_else(|| first.clone()), ..State::default() };
        Ok(Arc::new(Self {
            authority,
            cluster: OnceLock::new(),
            base: settings.base.as_str().trim_end_matches('/').to_owned(),
            http: jwks::client()?,
            first,
            blueprint_secret,
            state: Mutex::new(state),
        }))
    }

    /// The client secret of the seeded blueprint, for the sidecar's development configuration.
    pub fn blueprint_secret(&self) -> &str {
        &self.blueprint_secret
    }

    /// Its own address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Somebody of the tenant, by object id or user principal name: object id, user principal name,
    /// display name.
    pub fn find_user(&self, id_or_name: &str) -> Option<(String, String, String)> {
        let now = self.now();
        let state = self.lock();
        state
            .directory
            .user(id_or_name, now)
            .map(|user| (user.id.clone(), user.upn.clone(), user.name.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.authority.clock().now()
    }

    /// Who signs the tokens of the simulated cluster.
    fn cluster(&self) -> Option<&Arc<Authority>> {
        let start = || Authority::new(self.authority.clock().clone()).ok();
        self.cluster.get_or_init(start).as_ref()
    }

    fn cluster_issuer(&self) -> String {
        format!("{}/cluster", self.base)
    }
}

impl State {
    /// From when an object made now is seen.
    fn seen_from(&self, now: Timestamp) -> Timestamp {
        add(now, self.replication)
    }
}

/// 32 random bytes as text.
fn random_text() -> anyhow::Result<String> {
    use base64::Engine as _;
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 32];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the machine's random source failed"))?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

/// The routes of the tenant: token endpoint, sign-in, keys, Graph under `/v1.0` and `/beta`, the
/// managed identity endpoint, a simulated cluster's issuer under `/cluster`.
///
/// Control for tests is under `/_simulator/entra`; see its README in `control.rs`.
pub fn router(entra: Arc<Entra>) -> Router {
    Router::new()
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(discovery))
        .route("/{tenant}/discovery/v2.0/keys", get(published))
        .route("/{tenant}/oauth2/v2.0/token", post(token::route))
        .route("/{tenant}/oauth2/v2.0/devicecode", post(people::device_code))
        .route("/{tenant}/oauth2/v2.0/authorize", get(people::page).post(people::chosen))
        .route("/{tenant}/oauth2/v2.0/logout", get(people::logout))
        .route("/devicelogin", get(people::device_page).post(people::device_chosen))
        .route("/metadata/identity/oauth2/token", get(credential::managed_identity))
        .route("/cluster/.well-known/openid-configuration", get(cluster_discovery))
        .route("/cluster/openid/v1/jwks", get(cluster_published))
        .route("/v1.0/{*path}", any(graph::route))
        .route("/beta/{*path}", any(graph::route))
        .merge(control::routes())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(entra)
}

type Shared = Extracted<Arc<Entra>>;

async fn discovery(Extracted(entra): Shared, Path(tenant): Path<String>) -> Response {
    if let Err(refusal) = token::check_tenant(&tenant) {
        return refusal.answer(None, entra.now());
    }
    let own = |path: &str| format!("{}/{TENANT_ID}/{path}", entra.base);
    Json(json!({
        "issuer": ISSUER_V2,
        "authorization_endpoint": own("oauth2/v2.0/authorize"),
        "token_endpoint": own("oauth2/v2.0/token"),
        "device_authorization_endpoint": own("oauth2/v2.0/devicecode"),
        "end_session_endpoint": own("oauth2/v2.0/logout"),
        "jwks_uri": own("discovery/v2.0/keys"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nonce", "preferred_username", "name", "tid", "oid"],
        "code_challenge_methods_supported": ["S256"],
        "tenant_region_scope": "EU",
    }))
    .into_response()
}

async fn published(Extracted(entra): Shared, Path(tenant): Path<String>) -> Response {
    match token::check_tenant(&tenant) {
        Ok(()) => off_the_loop(move || entra.authority.jwks()).await,
        Err(refusal) => refusal.answer(None, entra.now()),
    }
}

async fn cluster_discovery(Extracted(entra): Shared) -> Json<Value> {
    let issuer = entra.cluster_issuer();
    let keys = format!("{issuer}/openid/v1/jwks");
    Json(json!({"issuer": issuer, "jwks_uri": keys, "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"]}))
}

async fn cluster_published(Extracted(entra): Shared) -> Response {
    off_the_loop(move || entra.cluster().map_or(Value::Null, |cluster| cluster.jwks())).await
}

/// Runs what may wait for a key in the making where waiting hurts nobody.
async fn off_the_loop(work: impl FnOnce() -> Value + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => Json(value).into_response(),
        Err(_) => axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
