//! Tokens besides the agent user's: of a person on whose behalf the agent identity reads, and, only to
//! be looked at, the agent identity's own.
//!
//! Whatever comes of such a token, nothing is ever written with it: writes are the agent user's.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::sidecar::{Principal, Wanted};
use super::{Audience, Claim, Identity, IdentityError, RENEW_BEFORE, Token, claims, explain};
use crate::clock;

/// Most tokens kept; beyond that all are forgotten.
const MAX_KEPT: usize = 500;

/// Tokens on people's behalf, by audience, person and the person's own token.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<Held, Token>>);

/// For what, for whom, and the digest of the token that the person came with.
type Held = (Audience, String, [u8; 32]);

/// The kinds of token that an agent identity can get (TOKENS.md §2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// The agent identity's own, as an application.
    Application,
    /// The agent user's: the one that everything here is done with.
    AgentUser,
    /// A person's, with the agent identity acting.
    OnBehalfOf,
}

impl Identity {
    /// A token for `audience` on behalf of the person `oid`, whose own token for the blueprint is
    /// `person`. It was checked to be that person's, through the agent identity. For reading only.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub async fn on_behalf_of(
        &self,
        audience: Audience,
        person: &SecretString,
        oid: &str,
    ) -> Result<SecretString, IdentityError> {
        let hash: [u8; 32] = Sha256::digest(person.expose_secret().as_bytes()).into();
        let key = (audience, oid.to_ascii_lowercase(), hash);
        let now = self.clock.now();
        let kept = self.delegated.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(token) = kept.filter(|token| now < token.renew_at) {
            return Ok(token.secret);
        }
        let principal = Principal::Person(person);
        let wanted = Wanted { audience, principal, force: false };
        let secret = self.call().token(wanted, clock::add(now, self.patience)).await?;
        let expires_at = claims::check_delegated(&secret, audience, &self.settings, oid, now)?;
        let lead = jiff::SignedDuration::try_from(RENEW_BEFORE).unwrap_or_default();
        let renew_at = expires_at.checked_sub(lead).unwrap_or(Timestamp::MIN);
        let mut tokens = self.delegated.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, token| token.renew_at > now);
        if tokens.len() >= MAX_KEPT {
            tokens.clear();
        }
        tokens.insert(key, Token { secret: secret.clone(), renew_at, expires_at });
        Ok(secret)
    }

    /// The claims of a token of `kind` for Azure DevOps, in plain words, whether or not it is one that
    /// would be used. `person` is somebody's own token, which [`TokenKind::OnBehalfOf`] needs. The token
    /// is kept nowhere.
    ///
    /// # Errors
    /// When there is none to look at.
    pub async fn look_at(
        &self,
        kind: TokenKind,
        person: Option<&SecretString>,
    ) -> Result<Vec<Claim>, IdentityError> {
        let principal = match (kind, person) {
            (TokenKind::Application, _) => Principal::AgentIdentity,
            (TokenKind::AgentUser, _) => Principal::AgentUser,
            (TokenKind::OnBehalfOf, Some(token)) => Principal::Person(token),
            (TokenKind::OnBehalfOf, None) => return Err(IdentityError::PersonRefused),
        };
        let wanted = Wanted { audience: Audience::AzureDevOps, principal, force: false };
        let secret = self.call().token(wanted, clock::add(self.clock.now(), self.patience)).await?;
        Ok(explain::explain(&claims::decode(secret.expose_secret())?))
    }
}
