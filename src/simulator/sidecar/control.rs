//! Control for tests: expire tokens, break and delay requests, change the configuration.
//!
//! `configure` takes any of `version` ("1.0.0" or "1.1"), `development`, `allow_overrides`,
//! `allow_overrides_unauthenticated`, `client_id`, `tenant_id`, `client_secret`, `instance`,
//! `foreign_callers` (all callers count as coming from another machine), `profile` with
//! `request_app_token`, `audience` and `base_url`, `remove_profile`, and `without_claims` (claims that
//! new tokens do not have). `environment` is a whole new start with these variables, as the real
//! container has them; what else is given comes after it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::{Credential, Sidecar, Version, environment};

/// Longest delay that a test may ask for, in milliseconds.
const MAX_DELAY_MS: u64 = 600_000;
/// What a test asked for.
#[derive(Default)]
pub struct Faults {
    /// How often requests still fail, and how.
    broken: Option<(u32, Break)>,
    /// How often requests are still held back, and how long.
    delayed: (u32, Duration),
    /// Callers count as coming from another machine.
    pub foreign_callers: bool,
}

impl Faults {
    /// What happens to the request at hand.
    pub fn next(&mut self) -> (Duration, Option<Break>) {
        let (left, delay) = self.delayed;
        self.delayed.0 = left.saturating_sub(1);
        let broken = self.broken.filter(|(left, _)| *left > 0);
        self.broken = broken.map(|(left, how)| (left - 1, how));
        (if left > 0 { delay } else { Duration::ZERO }, broken.map(|(_, how)| how))
    }
}

/// The routes under `/_simulator`.
pub(super) fn routes() -> Router<Arc<Sidecar>> {
    Router::new()
        .route("/_simulator", delete(mend))
        .route("/_simulator/expire", post(expire))
        .route("/_simulator/restart", post(restart))
        .route("/_simulator/configure", post(configure))
        .route("/_simulator/break", post(break_next))
        .route("/_simulator/delay", post(delay_next))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expire {
    lifetime_seconds: Option<i64>,
}

/// How the next requests fail.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Break {
    #[serde(default = "once")]
    times: u32,
    /// With this code of Entra.
    pub aadsts: Option<u32>,
    /// Else with this status.
    #[serde(default = "internal")]
    pub status: u16,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delay {
    ms: u64,
    #[serde(default = "always")]
    times: u32,
}

fn once() -> u32 {
    1
}

fn always() -> u32 {
    u32::MAX
}

fn internal() -> u16 {
    500
}

async fn expire(State(sidecar): State<Arc<Sidecar>>, Json(how): Json<Expire>) -> StatusCode {
    sidecar.authority.set_lifetime(how.lifetime_seconds);
    let ended = sidecar.authority.expire_all();
    // Only now: until the old keys end, the legs go on keeping what they sign.
    sidecar.cache.clear();
    match ended {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn break_next(State(sidecar): State<Arc<Sidecar>>, Json(how): Json<Break>) -> StatusCode {
    sidecar.faults().broken = Some((how.times, how));
    StatusCode::NO_CONTENT
}

async fn delay_next(State(sidecar): State<Arc<Sidecar>>, Json(how): Json<Delay>) -> StatusCode {
    let delay = Duration::from_millis(how.ms.min(MAX_DELAY_MS));
    sidecar.faults().delayed = (how.times, delay);
    StatusCode::NO_CONTENT
}

/// What a restart of the process does: nothing is kept.
async fn restart(State(sidecar): State<Arc<Sidecar>>) -> StatusCode {
    sidecar.cache.clear();
    StatusCode::NO_CONTENT
}

async fn mend(State(sidecar): State<Arc<Sidecar>>) -> StatusCode {
    *sidecar.faults() = Faults::default();
    sidecar.authority.set_lifetime(None);
    sidecar.authority.leave_out(Vec::new());
    sidecar.cache.clear();
    *sidecar.settings.write().unwrap_or_else(PoisonError::into_inner) = sidecar.first.clone();
    StatusCode::NO_CONTENT
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Configure {
    version: Option<String>,
    development: Option<bool>,
    allow_overrides: Option<bool>,
    allow_overrides_unauthenticated: Option<bool>,
    client_id: Option<String>,
    tenant_id: Option<String>,
    client_secret: Option<String>,
    instance: Option<url::Url>,
    foreign_callers: Option<bool>,
    profile: Option<String>,
    request_app_token: Option<bool>,
    audience: Option<String>,
    base_url: Option<url::Url>,
    remove_profile: Option<String>,
    without_claims: Option<Vec<String>>,
    environment: Option<BTreeMap<String, String>>,
}

/// Changes the configuration, as a restart with other variables would; so nothing is kept either.
async fn configure(
    State(sidecar): State<Arc<Sidecar>>,
    Json(how): Json<Configure>,
) -> Result<StatusCode, (StatusCode, String)> {
    let bad = |words: &str| Err((StatusCode::BAD_REQUEST, words.to_owned()));
    let mut settings = sidecar.settings();
    if let Some(variables) = &how.environment {
        settings =
            environment::read(&settings, variables).map_err(|words| (StatusCode::BAD_REQUEST, words))?;
    }
    match how.version.as_deref() {
        None => {}
        Some("1.0.0") => settings.version = Version::V1_0_0,
        Some("1.1") => settings.version = Version::V1_1,
        Some(_) => return bad("the version is 1.0.0 or 1.1"),
    }
    let set = |target: &mut bool, value: Option<bool>| *target = value.unwrap_or(*target);
    set(&mut settings.development, how.development);
    set(&mut settings.allow_overrides, how.allow_overrides);
    set(&mut settings.allow_overrides_unauthenticated, how.allow_overrides_unauthenticated);
    settings.client_id = how.client_id.unwrap_or(settings.client_id);
    settings.tenant_id = how.tenant_id.unwrap_or(settings.tenant_id);
    settings.instance = how.instance.or(settings.instance);
    if let Some(secret) = how.client_secret {
        settings.credentials = vec![Credential::Secret(secret)];
    }
    settings.profiles.retain(|profile| how.remove_profile.as_ref() != Some(&profile.name));
    if let Some(name) = how.profile {
        let Some(profile) = settings.profiles.iter_mut().find(|profile| profile.name == name) else {
            return bad("there is no such profile");
        };
        set(&mut profile.request_app_token, how.request_app_token);
        profile.audience = how.audience.or_else(|| profile.audience.take());
        profile.base_url = how.base_url.or_else(|| profile.base_url.take());
    }
    if let Some(claims) = how.without_claims {
        sidecar.authority.leave_out(claims);
    }
    if let Some(foreign) = how.foreign_callers {
        sidecar.faults().foreign_callers = foreign;
    }
    *sidecar.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    sidecar.cache.clear();
    Ok(StatusCode::NO_CONTENT)
}
