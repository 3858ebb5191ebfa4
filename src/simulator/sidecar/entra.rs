//! Requests to Entra's token endpoint, and the credential that goes with them.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::problem::Failure;
use super::{Credential, Settings};
use crate::simulator::entra::{Refusal, jwks};

/// The audience of what a managed identity is asked for.
const EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";
/// The kind of client assertion.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Largest projected token, in bytes.
const MAX_ASSERTION_BYTES: u64 = 64 * 1024;
/// Wait before the one retry that MSAL makes after a fault of the server.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// What the token endpoint gives.
#[derive(Clone, Deserialize)]
pub struct Granted {
    /// The token.
    pub access_token: String,
    /// Seconds that it lasts.
    pub expires_in: i64,
    /// To get the next one silently.
    pub refresh_token: Option<String>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
    error_description: String,
}

/// Fields of a form.
pub type Fields = Vec<(&'static str, String)>;

/// Asks the token endpoint of `tenant`.
///
/// # Errors
/// Entra's refusal, or an inner failure when there is no answer that one can read.
pub async fn ask(
    http: &reqwest::Client,
    settings: &Settings,
    tenant: &str,
    fields: &Fields,
    correlation: Option<Uuid>,
) -> Result<Granted, Failure> {
    let inner = |error: anyhow::Error| {
        tracing::error!(%error, "the sidecar gets no answer of Entra that it can read");
        Failure::INNER
    };
    let Some(instance) = &settings.instance else {
        return Err(inner(anyhow::anyhow!("AzureAd:Instance is not set")));
    };
    let tenant: String =
        percent_encoding::utf8_percent_encode(tenant, percent_encoding::NON_ALPHANUMERIC).collect();
    let address = format!("{}/{tenant}/oauth2/v2.0/token", instance.as_str().trim_end_matches('/'));
    let correlation = correlation.unwrap_or_else(Uuid::new_v4).to_string();
    let mut tried = false;
    loop {
        let request = http.post(&address).header("client-request-id", &correlation).form(fields);
        let response = request.send().await.map_err(|error| inner(error.without_url().into()))?;
        let status = response.status();
        if status.is_server_error() && !tried {
            tried = true;
            settings.clock.sleep(RETRY_WAIT).await;
            continue;
        }
        let body = jwks::body(response).await.map_err(inner)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| inner(error.into()));
        }
        let refused: Refused = serde_json::from_slice(&body).map_err(|error| inner(error.into()))?;
        return Err(Failure::Entra { error: refused.error, words: refused.error_description });
    }
}

/// The fields that prove the blueprint: the first configured credential that loads.
///
/// # Errors
/// An inner failure when none does; the cause is only in the log.
pub async fn credential(http: &reqwest::Client, settings: &Settings) -> Result<Fields, Failure> {
    for credential in &settings.credentials {
        let loaded = match credential {
            Credential::Secret(secret) => Ok(vec![("client_secret", secret.clone())]),
            Credential::AssertionFile(path) => projected(path).await.map(assertion),
            Credential::ManagedIdentity(address) => managed(http, address).await.map(assertion),
        };
        match loaded {
            Ok(fields) => return Ok(fields),
            Err(error) => {
                tracing::error!(%error, ?credential, "a credential of the sidecar cannot be loaded")
            }
        }
    }
    // Without any configured the request goes out bare, and Entra says so (AADSTS7000216).
    if settings.credentials.is_empty() { Ok(Fields::new()) } else { Err(Failure::INNER) }
}

/// The fields of a client assertion.
pub fn assertion(token: String) -> Fields {
    vec![("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", token)]
}

async fn projected(path: &std::path::Path) -> anyhow::Result<String> {
    use tokio::io::AsyncReadExt as _;
    let shown = path.display();
    let file = tokio::fs::File::open(path).await;
    let file = file
        .map_err(|_| anyhow::anyhow!("The file '{shown}' containing the signed assertion was not found."))?;
    let mut text = String::new();
    file.take(MAX_ASSERTION_BYTES).read_to_string(&mut text).await?;
    Ok(text.trim().to_owned())
}

async fn managed(http: &reqwest::Client, address: &url::Url) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: String,
    }
    let query = [("api-version", "2019-08-01"), ("resource", EXCHANGE_AUDIENCE)];
    let response = http.get(address.clone()).query(&query).header("Metadata", "true").send().await?;
    let body = jwks::body(response.error_for_status()?).await?;
    Ok(serde_json::from_slice::<Answer>(&body)?.access_token)
}

/// Entra's refusal with this code, as if it had been asked: what a test wants to see.
pub fn refused(code: u32, now: Timestamp) -> Failure {
    let refusal = Refusal::new(code);
    let words = refusal.describe(Uuid::new_v4(), Uuid::new_v4(), now);
    Failure::Entra { error: refusal.error().to_owned(), words }
}
