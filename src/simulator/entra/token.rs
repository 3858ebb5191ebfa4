//! The token endpoint: tenant, form, client, credential, then the leg (TOKENS.md §7).

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State as Extracted};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use uuid::Uuid;

use super::error::Refusal;
use super::sessions::{SignIn, keep};
use super::{Entra, credential, legs, people, seed};
use crate::simulator::tokens::TENANT_ID;

/// The grants, by their long names.
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const ON_BEHALF_OF: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Longest field in the log, in characters.
const MAX_LOGGED_CHARS: usize = 200;

/// A form's fields.
#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a body; one of another content type has no fields, as Entra sees it.
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Self {
        let kind =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("application/x-www-form-urlencoded") {
            return Self::default();
        }
        Self(url::form_urlencoded::parse(body).into_owned().collect())
    }

    /// A query string's fields.
    pub fn of_query(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// A field that is there and not blank.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim());
        found.filter(|value| !value.is_empty())
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// AADSTS900144 when it is not.
    pub fn need(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::of(900_144, name))
    }

    /// All fields.
    pub fn fields(&self) -> &[(String, String)] {
        &self.0
    }

    /// Adds what a Basic header says, unless the body says it.
    fn with_basic(mut self, headers: &HeaderMap) -> Self {
        use base64::Engine as _;
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let text = given
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|value| base64::engine::general_purpose::STANDARD.decode(value).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some((id, secret)) = text.as_deref().and_then(|text| text.split_once(':')) {
            for (name, value) in [("client_id", id), ("client_secret", secret)] {
                if self.get(name).is_none() {
                    self.0.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        self
    }
}

/// `POST /{tenant}/oauth2/v2.0/token`.
pub async fn route(
    Extracted(entra): Extracted<Arc<Entra>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let correlation = correlation(&headers);
    let form = Form::read(&headers, &body).with_basic(&headers);
    let outcome = answer(&entra, &tenant, &form).await;
    let field = |name: &str| form.get(name).unwrap_or_default().chars().take(MAX_LOGGED_CHARS).collect();
    let entry = SignIn {
        at: entra.now(),
        grant: field("grant_type"),
        client: field("client_id"),
        scope: field("scope"),
        code: outcome.as_ref().err().map(|refusal| refusal.code),
        correlation,
    };
    keep(&mut entra.lock().sessions.log, entry);
    match outcome {
        Ok(granted) => ([(header::CACHE_CONTROL, "no-store, no-cache")], Json(granted)).into_response(),
        Err(refusal) => refusal.answer(correlation, entra.now()),
    }
}

/// The id with which a caller finds its request again.
pub fn correlation(headers: &HeaderMap) -> Option<Uuid> {
    headers.get("client-request-id").and_then(|value| value.to_str().ok()).and_then(|id| id.parse().ok())
}

/// Whether `tenant` is the name of this one.
///
/// # Errors
/// AADSTS90002, or 50194 for the endpoints of many tenants.
pub fn check_tenant(tenant: &str) -> Result<(), Refusal> {
    let many = ["common", "organizations", "consumers"];
    if many.iter().any(|name| name.eq_ignore_ascii_case(tenant)) {
        return Err(Refusal::new(50_194));
    }
    let own = tenant.eq_ignore_ascii_case(TENANT_ID) || tenant.eq_ignore_ascii_case(seed::DOMAIN);
    if own { Ok(()) } else { Err(Refusal::of(90_002, tenant)) }
}

async fn answer(entra: &Arc<Entra>, tenant: &str, form: &Form) -> Result<Value, Refusal> {
    check_tenant(tenant)?;
    entra.lock().injected()?;
    let grant = form.need("grant_type")?;
    let id = form.need("client_id")?;
    let client = entra.lock().client(id, entra.now())?;
    if grant == TOKEN_EXCHANGE {
        return Err(Refusal::of(82_001, id));
    }
    let client = credential::prove(entra, client, form, grant).await?;
    match grant {
        "client_credentials" => legs::client_credentials(entra, &client, form),
        "user_fic" => legs::agent_user(entra, &client, form),
        ON_BEHALF_OF => legs::on_behalf_of(entra, &client, form),
        "refresh_token" => people::refresh(entra, &client, form),
        "authorization_code" => people::redeem(entra, &client, form),
        DEVICE_CODE => people::poll(entra, &client, form),
        other => Err(Refusal::of(70_003, other)),
    }
}
