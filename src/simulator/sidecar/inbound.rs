//! Inbound tokens: who calls the authenticated routes, and `/Validate`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::{Settings, Shared, Sidecar, bearer, rules};
use crate::simulator::entra::jwks;
use crate::simulator::entra::keys::{Bad, PublicKey, Unchecked, text};
use crate::simulator::tokens::{ISSUER_V1, ISSUER_V2};

/// How far clocks may differ, in seconds.
const CLOCK_SKEW_SECONDS: i64 = 300;

/// Entra's published keys as last fetched; fetched again for a key that is not among them.
#[derive(Default)]
pub struct Keys(Mutex<Arc<Vec<PublicKey>>>);

impl Keys {
    fn known(&self) -> Arc<Vec<PublicKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn learn(&self, keys: Vec<PublicKey>) -> Arc<Vec<PublicKey>> {
        let keys = Arc::new(keys);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = keys.clone();
        keys
    }
}

/// Who calls, with a token for the blueprint.
pub struct Caller {
    /// The token as it came.
    pub token: String,
    /// What it claims.
    pub claims: Map<String, Value>,
}

/// Checks the inbound token.
///
/// # Errors
/// The answer that says why it is refused.
pub async fn caller(sidecar: &Sidecar, settings: &Settings, headers: &HeaderMap) -> Result<Caller, Response> {
    let Some(token) = bearer(headers) else {
        return Err((StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response());
    };
    match claims(sidecar, settings, token).await {
        Ok(claims) => Ok(Caller { token: token.to_owned(), claims }),
        Err(why) => {
            let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{why}\"");
            Err((StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response())
        }
    }
}

async fn claims(sidecar: &Sidecar, settings: &Settings, token: &str) -> Result<Map<String, Value>, String> {
    let unchecked = Unchecked::read(token).map_err(|bad| bad.to_string())?;
    match unchecked.check(&sidecar.keys.known()) {
        Ok(()) => {}
        Err(Bad::UnknownKey(_)) => {
            let keys = fetch(sidecar, settings).await.ok_or("The signature key was not found")?;
            unchecked.check(&keys).map_err(|_| "The signature key was not found")?;
        }
        Err(_) => return Err("The signature is invalid".into()),
    }
    let claims = unchecked.claims;
    let (issuer, audience) = (text(&claims, "iss"), text(&claims, "aud"));
    if issuer != ISSUER_V1 && issuer != ISSUER_V2 {
        return Err("The issuer is invalid".into());
    }
    let own = &settings.client_id;
    if !audience.eq_ignore_ascii_case(own) && !audience.eq_ignore_ascii_case(&format!("api://{own}")) {
        return Err(format!("The audience '{}' is invalid", audience.replace(['"', '\\'], "")));
    }
    let expires = claims.get("exp").and_then(Value::as_i64).unwrap_or(0);
    if expires + CLOCK_SKEW_SECONDS <= settings.clock.now().as_second() {
        return Err("The token expired".into());
    }
    Ok(claims)
}

async fn fetch(sidecar: &Sidecar, settings: &Settings) -> Option<Arc<Vec<PublicKey>>> {
    let instance = settings.instance.as_ref()?.as_str().trim_end_matches('/');
    let address = format!("{instance}/{}/v2.0", settings.tenant_id);
    let keys = jwks::fetch(sidecar.http().ok()?, &address).await;
    keys.inspect_err(|error| tracing::error!(%error, "Entra's keys cannot be read"))
        .ok()
        .map(|keys| sidecar.keys.learn(keys))
}

/// `GET /Validate`: the caller's token and its claims.
pub async fn validate(State(sidecar): Shared, headers: HeaderMap) -> Response {
    let settings = sidecar.connected().await;
    let caller = match caller(&sidecar, &settings, &headers).await {
        Ok(caller) => caller,
        Err(refused) => return refused,
    };
    let has = |scope: &String| text(&caller.claims, "scp").split_whitespace().any(|own| own == scope);
    if !settings.required_scopes.is_empty() && !settings.required_scopes.iter().any(has) {
        let wanted = settings.required_scopes.join(",");
        let words = format!(
            "IDW10203: The 'scope' or 'scp' claim does not contain scopes '{wanted}' or was not found. "
        );
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    let body = json!({"protocol": "Bearer", "token": caller.token, "claims": caller.claims});
    rules::uncached(Json(body).into_response())
}
