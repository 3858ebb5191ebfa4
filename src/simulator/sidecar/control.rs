//! Control for tests: expire tokens, break and delay requests.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::Sidecar;

/// Longest delay that a test may ask for, in milliseconds.
const MAX_DELAY_MS: u64 = 600_000;
/// What a test asked for.
#[derive(Default)]
pub struct Faults {
    /// How often requests still fail, and how.
    broken: Option<(u32, Break)>,
    /// How often requests are still held back, and how long.
    delayed: (u32, Duration),
    /// The life of new tokens.
    pub lifetime_seconds: Option<i64>,
    /// How it is configured differently for now.
    pub configured: Configured,
}

/// What a test changes in the configuration, without a restart.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Configured {
    /// `Sidecar:AllowOverrides:GetAuthorizationHeaderUnauthenticated` is false.
    pub gate_closed: bool,
    /// `RequestAppToken` is true on every profile.
    pub request_app_token: bool,
    /// Claims that new tokens do not have.
    pub without_claims: Vec<String>,
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
        .route("/_simulator/configure", post(configure))
        .route("/_simulator/expire", post(expire))
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
    sidecar.cache.lock().unwrap_or_else(PoisonError::into_inner).clear();
    sidecar.faults.lock().unwrap_or_else(PoisonError::into_inner).lifetime_seconds = how.lifetime_seconds;
    match sidecar.authority.expire_all() {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn configure(State(sidecar): State<Arc<Sidecar>>, Json(how): Json<Configured>) -> StatusCode {
    sidecar.cache.lock().unwrap_or_else(PoisonError::into_inner).clear();
    sidecar.faults.lock().unwrap_or_else(PoisonError::into_inner).configured = how;
    StatusCode::NO_CONTENT
}

async fn break_next(State(sidecar): State<Arc<Sidecar>>, Json(how): Json<Break>) -> StatusCode {
    sidecar.faults.lock().unwrap_or_else(PoisonError::into_inner).broken = Some((how.times, how));
    StatusCode::NO_CONTENT
}

async fn delay_next(State(sidecar): State<Arc<Sidecar>>, Json(how): Json<Delay>) -> StatusCode {
    let delay = Duration::from_millis(how.ms.min(MAX_DELAY_MS));
    sidecar.faults.lock().unwrap_or_else(PoisonError::into_inner).delayed = (how.times, delay);
    StatusCode::NO_CONTENT
}

async fn mend(State(sidecar): State<Arc<Sidecar>>) -> StatusCode {
    *sidecar.faults.lock().unwrap_or_else(PoisonError::into_inner) = Faults::default();
    StatusCode::NO_CONTENT
}
