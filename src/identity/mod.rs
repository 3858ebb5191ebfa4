//! Who we are: bearer tokens of the agent's own user, from the auth sidecar only.
//!
//! Purpose: [`Identity::bearer`] gives a token that was checked to be the agent user's, made by
//! the agent identity, for the audience asked for; it caches it, renews it in time, and renews it
//! once more when an outside system rejects it.
//! Invariant: no token leaves this room unchecked, because the sidecar answers a parameter it
//! dislikes with a valid token of somebody else (SIDECAR.md §4). Tokens live in memory inside
//! [`SecretString`]; no error, log line or [`Who`] holds one.
//! Must never know: secrets of the blueprint, what a token is used for, Azure DevOps, the journal.

mod causes;
mod claims;
mod delegated;
mod device;
mod error;
mod explain;
pub mod people;
mod probe;
mod sidecar;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex as AsyncMutex;

use crate::clock::{self, Clock};
use crate::config;
use crate::http::Quiet;
use sidecar::{Principal, Wanted};

pub use causes::{CAUSES, Cause, cause};
pub use claims::Who;
pub use delegated::TokenKind;
pub use device::{DeviceSignIn, PUBLIC_AUTHORITY, Prompt, SignInError, Signed};
pub use error::{EntraRefusal, Fallback, IdentityError};
pub use explain::Claim;
pub use probe::{Family, Sidecar};

/// A token is renewed this long before it expires.
pub const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);
/// Longest time that one call waits for the sidecar, which may still be starting, in all attempts.
pub const SIDECAR_PATIENCE: Duration = Duration::from_secs(60);

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Azure DevOps, sidecar profile `ado`.
    AzureDevOps,
    /// The model's endpoint, sidecar profile `aoai`.
    Model,
}

impl Audience {
    /// Name of the sidecar's downstream API profile.
    pub fn profile(self) -> &'static str {
        match self {
            Self::AzureDevOps => "ado",
            Self::Model => "aoai",
        }
    }

    /// Forms in which a token may name this audience: the resource's application id, and the
    /// resource's URL where it has one (TOKENS.md §0, §2.7).
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::AzureDevOps => &["499b84ac-1321-427f-aa17-267ca6975798"],
            Self::Model => &["https://cognitiveservices.azure.com", "7d312290-28c8-473c-a0ed-8e53749b6d6d"],
        }
    }
}

/// The agent's identity. Shared by everything that calls outside.
pub struct Identity {
    settings: config::Identity,
    http: reqwest::Client,
    clock: Clock,
    patience: Duration,
    azure_devops: Line,
    model: Line,
    quiet: Arc<Quiet>,
    /// Tokens on people's behalf.
    delegated: delegated::Tokens,
    who: Mutex<Option<(Who, Vec<Claim>)>>,
}

/// The tokens of one audience: one request at a time, everybody else waits for its result.
#[derive(Default)]
struct Line {
    /// How many requests have ended; lets a caller see that one ended while it waited.
    ended: AtomicU64,
    held: AsyncMutex<Held>,
    /// Entra's id of the newest token.
    token_id: Mutex<Option<String>>,
}

#[derive(Default)]
struct Held {
    token: Option<Token>,
    /// How the last request failed, when it did.
    failure: Option<IdentityError>,
}

/// A token that passed the check.
#[derive(Clone)]
struct Token {
    secret: SecretString,
    renew_at: Timestamp,
    expires_at: Timestamp,
}

/// A token looked at. Never the token.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Who it stands for, or why it would not be used.
    pub who: Result<Who, IdentityError>,
    /// When it says that it was issued.
    pub issued_at: Option<Timestamp>,
    /// Its claims in plain words.
    pub claims: Vec<Claim>,
}

impl Identity {
    /// The identity that `settings` describe. Asks nobody yet.
    pub fn new(settings: &config::Identity, http: reqwest::Client, clock: Clock) -> Arc<Self> {
        Self::with_patience(settings, http, clock, SIDECAR_PATIENCE)
    }

    /// The same, waiting at most `patience` for a sidecar that does not answer well.
    pub fn with_patience(
        settings: &config::Identity,
        http: reqwest::Client,
        clock: Clock,
        patience: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            patience,
            settings: settings.clone(),
            http,
            clock,
            azure_devops: Line::default(),
            model: Line::default(),
            quiet: Arc::new(Quiet::new("sidecar")),
            delegated: delegated::Tokens::default(),
            who: Mutex::new(None),
        })
    }

    /// A checked token for `audience`: the cached one until [`RENEW_BEFORE`] its expiry, else a
    /// new one; while the sidecar is away the old one to its very end. Callers that come at the
    /// same time share one request, and its failure. Waits at most [`SIDECAR_PATIENCE`] for a
    /// sidecar that is still starting. A request to the sidecar that this leads to carries the id of the
    /// trace under way as its correlation id, so that Entra's log names it.
    ///
    /// # Errors
    /// [`IdentityError`], whose [`remedy`](IdentityError::remedy) says what to do.
    pub async fn bearer(&self, audience: Audience) -> Result<SecretString, IdentityError> {
        self.obtain(audience, None).await
    }

    /// A token in place of `rejected`, which the outside system did not take. When somebody else
    /// has renewed it meanwhile that token is given; else the sidecar is asked past its own cache.
    ///
    /// # Errors
    /// As [`Identity::bearer`].
    pub async fn renew(
        &self,
        audience: Audience,
        rejected: &SecretString,
    ) -> Result<SecretString, IdentityError> {
        self.obtain(audience, Some(rejected)).await
    }

    /// Entra's id (`uti`) of the token for `audience` that was checked last.
    pub fn token_id(&self, audience: Audience) -> Option<String> {
        self.line(audience).token_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The pause that the sidecar asked for.
    pub fn quiet(&self) -> Arc<Quiet> {
        self.quiet.clone()
    }

    fn line(&self, audience: Audience) -> &Line {
        match audience {
            Audience::AzureDevOps => &self.azure_devops,
            Audience::Model => &self.model,
        }
    }

    /// Facts of the Azure DevOps token that was checked last; `None` until one was. Never the token.
    pub fn who(&self) -> Option<Who> {
        self.who.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(who, _)| who.clone())
    }

    /// The claims of that token in plain words.
    pub fn claims(&self) -> Vec<Claim> {
        let held = self.who.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map(|(_, claims)| claims.clone()).unwrap_or_default()
    }

    /// Asks the sidecar for a token past all caches and says what it is, also when it is not one
    /// that would be used. The token itself is kept nowhere.
    ///
    /// # Errors
    /// When there is no token to look at; what the check found is inside [`Examined`].
    pub async fn examine(&self, audience: Audience) -> Result<Examined, IdentityError> {
        let deadline = clock::add(self.clock.now(), self.patience);
        let wanted = Wanted { audience, principal: Principal::AgentUser, force: true };
        let secret = self.call().token(wanted, deadline).await?;
        let claims = claims::decode(secret.expose_secret())?;
        let who = claims::check(&secret, audience, &self.settings, self.clock.now());
        let issued_at = claims.get("iat").and_then(serde_json::Value::as_i64);
        Ok(Examined {
            who,
            issued_at: issued_at.and_then(|second| Timestamp::from_second(second).ok()),
            claims: explain::explain(&claims),
        })
    }

    fn call(&self) -> sidecar::Call<'_> {
        sidecar::Call { settings: &self.settings, http: &self.http, clock: &self.clock, quiet: &self.quiet }
    }

    async fn obtain(
        &self,
        audience: Audience,
        rejected: Option<&SecretString>,
    ) -> Result<SecretString, IdentityError> {
        let line = self.line(audience);
        let seen = line.ended.load(Ordering::Acquire);
        let mut held = line.held.lock().await;
        if line.ended.load(Ordering::Acquire) != seen
            && let Some(failure) = &held.failure
        {
            return Err(failure.clone());
        }
        let is_rejected = |token: &Token| {
            rejected.is_some_and(|rejected| rejected.expose_secret() == token.secret.expose_secret())
        };
        if let Some(token) = &held.token
            && !is_rejected(token)
            && self.clock.now() < token.renew_at
        {
            return Ok(token.secret.clone());
        }
        // A token in its last minutes still serves while the sidecar is away; nobody waits then.
        let now = self.clock.now();
        let last = held.token.clone().filter(|token| !is_rejected(token) && now < token.expires_at);
        let patience = if last.is_some() { Duration::ZERO } else { self.patience };
        let force = rejected.is_some();
        let wanted = Wanted { audience, principal: Principal::AgentUser, force };
        let result = self.fetch(wanted, clock::add(now, patience)).await;
        *held = match (&result, last) {
            (Ok(token), _) => Held { token: Some(token.clone()), failure: None },
            (Err(error), Some(last)) if error.is_transient() => Held { token: Some(last), failure: None },
            (Err(error), _) => Held { token: None, failure: Some(error.clone()) },
        };
        line.ended.fetch_add(1, Ordering::Release);
        match (&held.token, result) {
            (Some(token), _) => Ok(token.secret.clone()),
            (None, result) => result.map(|token| token.secret),
        }
    }

    async fn fetch(&self, wanted: Wanted<'_>, deadline: Timestamp) -> Result<Token, IdentityError> {
        let audience = wanted.audience;
        let secret = self.call().token(wanted, deadline).await?;
        let who = claims::check(&secret, audience, &self.settings, self.clock.now())?;
        tracing::debug!(
            audience = audience.profile(),
            expires_at = %who.expires_at,
            token_id = who.token_id.as_deref(),
            "token checked"
        );
        *self.line(audience).token_id.lock().unwrap_or_else(PoisonError::into_inner) = who.token_id.clone();
        let lead = jiff::SignedDuration::try_from(RENEW_BEFORE).unwrap_or_default();
        let expires_at = who.expires_at;
        let renew_at = expires_at.checked_sub(lead).unwrap_or(expires_at);
        if audience == Audience::AzureDevOps {
            let claims = explain::explain(&claims::decode(secret.expose_secret())?);
            *self.who.lock().unwrap_or_else(PoisonError::into_inner) = Some((who, claims));
        }
        Ok(Token { secret, renew_at, expires_at })
    }
}
