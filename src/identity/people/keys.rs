//! Entra's metadata and signing keys: fetched when needed, kept for a day, fetched again for a key
//! that is not among them, but not as often as somebody likes to send such a key.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::PeopleError;
use super::token::Key;
use crate::clock::{Clock, add};
use crate::http::{read_body, reason};

/// How long keys are used without looking for newer ones (TOKENS.md §5).
const KEEP: Duration = Duration::from_secs(24 * 3_600);
/// Longest time for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Most keys that are read.
const MAX_KEYS: usize = 64;
/// Most fetches in [`WINDOW`].
const MAX_FETCHES: usize = 10;
/// See [`MAX_FETCHES`].
const WINDOW: Duration = Duration::from_secs(60);

/// What the tenant publishes.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: Url,
    keys: Vec<Key>,
    until: Timestamp,
}

impl Published {
    pub(super) fn key(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: Url,
    jwks_uri: Url,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// The keys of one tenant.
pub(super) struct Keys {
    http: reqwest::Client,
    clock: Clock,
    /// Entra with the tenant: `https://login.microsoftonline.com/{tenant}`.
    base: String,
    tenant: String,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    published: Option<Arc<Published>>,
    fetches: VecDeque<Timestamp>,
}

impl Keys {
    pub(super) fn new(http: reqwest::Client, clock: Clock, authority: &Url, tenant: &str) -> Self {
        let base = format!("{}/{tenant}", authority.as_str().trim_end_matches('/'));
        Self { http, clock, base, tenant: tenant.to_owned(), held: Mutex::default() }
    }

    /// What the tenant publishes, at most a day old.
    ///
    /// # Errors
    /// [`PeopleError::Keys`].
    pub(super) async fn published(&self) -> Result<Arc<Published>, PeopleError> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        match &held.published {
            Some(published) if now < published.until => Ok(published.clone()),
            // Old keys serve on while Entra is away.
            Some(published) => {
                let old = published.clone();
                Ok(self.fetch(&mut held).await.unwrap_or(old))
            }
            None => self.fetch(&mut held).await,
        }
    }

    /// The same with the key `id` in it, fetched again if it is not there yet.
    ///
    /// # Errors
    /// [`PeopleError::Keys`], or [`PeopleError::Token`] when Entra does not publish the key.
    pub(super) async fn with_key(&self, id: &str) -> Result<Arc<Published>, PeopleError> {
        let published = self.published().await?;
        if published.key(id).is_some() {
            return Ok(published);
        }
        let mut held = self.held.lock().await;
        // Somebody else may have fetched meanwhile.
        let newer = held.published.clone().filter(|newer| newer.key(id).is_some());
        let published = match newer {
            Some(newer) => newer,
            None => self.fetch(&mut held).await?,
        };
        match published.key(id) {
            Some(_) => Ok(published),
            None => Err(PeopleError::Token("is signed by a key that Entra does not publish".into())),
        }
    }

    async fn fetch(&self, held: &mut Held) -> Result<Arc<Published>, PeopleError> {
        let now = self.clock.now();
        held.fetches.retain(|at| add(*at, WINDOW) > now);
        if held.fetches.len() >= MAX_FETCHES {
            return Err(PeopleError::Keys("they were fetched too often in the last minute".into()));
        }
        held.fetches.push_back(now);
        let metadata: Metadata =
            self.read(&format!("{}/v2.0/.well-known/openid-configuration", self.base)).await?;
        // Entra's issuer names the tenant whatever address it was asked at.
        let ours = format!("/{}/v2.0", self.tenant.to_ascii_lowercase());
        if !metadata.issuer.to_ascii_lowercase().ends_with(&ours) {
            return Err(PeopleError::Keys("its metadata is that of another tenant".into()));
        }
        for url in [&metadata.authorization_endpoint, &metadata.jwks_uri] {
            if url.scheme() != "https" && !self.base.starts_with("http://") {
                return Err(PeopleError::Keys("its metadata names an address that is not https".into()));
            }
        }
        let set: KeySet = self.read(metadata.jwks_uri.as_str()).await?;
        let keys: Vec<Key> = set.keys.iter().take(MAX_KEYS).filter_map(Key::read).collect();
        let published = Arc::new(Published {
            issuer: metadata.issuer,
            authorization_endpoint: metadata.authorization_endpoint,
            keys,
            until: add(now, KEEP),
        });
        held.published = Some(published.clone());
        Ok(published)
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T, PeopleError> {
        let failed = |cause: String| PeopleError::Keys(cause);
        let answer = self.http.get(url).timeout(TIMEOUT).send().await.map_err(|e| failed(reason(e)))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(failed(format!("it answered {status}")));
        }
        let body = read_body(answer, MAX_ANSWER_BYTES).await.map_err(|error| failed(error.to_string()))?;
        serde_json::from_slice(&body)
            .map_err(|_| failed("its answer is not the JSON of OpenID Connect".into()))
    }
}
