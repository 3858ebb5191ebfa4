//! Published keys of an issuer, fetched as every resource server does it: discovery, then the keys.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::keys::PublicKey;

/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest time for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// The HTTP client of a simulated server: with timeouts and without redirects.
///
/// # Errors
/// When TLS cannot be set up.
#[allow(clippy::disallowed_methods, reason = "the simulator may not use the product's own client")]
pub fn client() -> anyhow::Result<reqwest::Client> {
    // An error means that a provider is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()?)
}

/// The signing keys of the issuer whose metadata is at `{address}/.well-known/openid-configuration`.
/// Only `https` is trusted, and `http` on this machine.
///
/// # Errors
/// When the issuer cannot be reached or publishes no keys.
pub async fn fetch(http: &reqwest::Client, address: &str) -> anyhow::Result<Vec<PublicKey>> {
    let metadata = format!("{}/.well-known/openid-configuration", address.trim_end_matches('/'));
    let metadata = read(http, &metadata).await?;
    let keys = metadata.get("jwks_uri").and_then(Value::as_str).context("the issuer names no jwks_uri")?;
    Ok(PublicKey::read_all(&read(http, keys).await?))
}

async fn read(http: &reqwest::Client, address: &str) -> anyhow::Result<Value> {
    let address = url::Url::parse(address)?;
    let here = match address.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    anyhow::ensure!(address.scheme() == "https" || here, "{address} is neither https nor on this machine");
    let response = http.get(address.clone()).send().await?.error_for_status()?;
    Ok(serde_json::from_slice(&body(response).await.with_context(|| format!("reading {address}"))?)?)
}

/// The body of an answer, up to the limit.
///
/// # Errors
/// When it breaks off or is too large.
pub async fn body(mut response: reqwest::Response) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        anyhow::ensure!(bytes.len() + chunk.len() <= MAX_ANSWER_BYTES, "the answer is too large");
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
