//! Mints and checks the bearer tokens of the simulated world.
//!
//! One [`Authority`] is shared by the servers of one simulation, as one Entra tenant is shared by
//! the real ones. Tokens are JWTs signed with a key made at start; nothing is ever committed.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Map, Value, json};

use crate::clock::Clock;

/// The tenant of the simulated organisation.
pub const TENANT_ID: &str = "11111111-aaaa-4aaa-8aaa-111111111111";
/// Application id of the agent identity blueprint.
pub const BLUEPRINT_ID: &str = "22222222-bbbb-4bbb-8bbb-222222222222";
/// Application id, and object id, of the agent identity.
pub const AGENT_IDENTITY_ID: &str = "44444444-dddd-4ddd-8ddd-444444444444";
/// Object id of the agent user.
pub const AGENT_USER_ID: &str = "55555555-eeee-4eee-8eee-555555555555";
/// User principal name of the agent user.
pub const AGENT_USER_UPN: &str = "ado-coworker@contoso.example";
/// Resource (audience) of Azure DevOps.
pub const AUDIENCE_AZURE_DEVOPS: &str = "499b84ac-1321-427f-aa17-267ca6975798";
/// Resource (audience) of Azure OpenAI.
pub const AUDIENCE_COGNITIVE_SERVICES: &str = "https://cognitiveservices.azure.com";

/// How many signing keys are kept, so that a token of an old one is known to have expired.
const MAX_KEYS: usize = 64;

/// Signs tokens and says whether one is good.
pub struct Authority {
    /// Oldest first; the last one signs.
    keys: RwLock<Vec<hmac::Key>>,
    clock: Clock,
}

/// Why a token was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// Not three base64url parts with JSON inside.
    #[error("the token is malformed")]
    Malformed,
    /// Signed by somebody else.
    #[error("the token's signature is not ours")]
    Signature,
    /// For another resource.
    #[error("the token's audience is {0}")]
    Audience(String),
    /// Past its `exp`.
    #[error("the token has expired")]
    Expired,
}

impl Authority {
    /// An authority with a fresh random key.
    ///
    /// # Errors
    /// When the machine's random source fails.
    pub fn new(clock: Clock) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self { keys: RwLock::new(vec![fresh_key()?]), clock }))
    }

    /// Makes every token signed so far count as expired, whatever its `exp` says.
    ///
    /// # Errors
    /// When the machine's random source fails.
    pub fn expire_all(&self) -> anyhow::Result<()> {
        let key = fresh_key()?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.push(key);
        let surplus = keys.len().saturating_sub(MAX_KEYS);
        keys.drain(..surplus);
        Ok(())
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.last().map(|key| hmac::sign(key, text.as_bytes()).as_ref().to_vec()).unwrap_or_default()
    }

    /// Whether the key that signed is the current one.
    fn check(&self, text: &str, signature: &[u8]) -> Result<(), Refused> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let signed = |key: &&hmac::Key| hmac::verify(key, text.as_bytes(), signature).is_ok();
        match keys.iter().rev().position(|key| signed(&key)) {
            Some(0) => Ok(()),
            Some(_) => Err(Refused::Expired),
            None => Err(Refused::Signature),
        }
    }

    /// A signed token with these claims; `iat`, `nbf`, `exp` (now + `lifetime_seconds`), `iss`,
    /// `tid` and a fresh `uti` are added.
    pub fn mint(&self, claims: Map<String, Value>, lifetime_seconds: i64) -> String {
        let now = self.clock.now().as_second();
        let mut body = Map::new();
        body.insert("iss".into(), json!(format!("https://sts.windows.net/{TENANT_ID}/")));
        body.insert("tid".into(), json!(TENANT_ID));
        body.insert("iat".into(), json!(now));
        body.insert("nbf".into(), json!(now));
        body.insert("exp".into(), json!(now + lifetime_seconds));
        body.insert("uti".into(), json!(uuid::Uuid::new_v4().simple().to_string()));
        body.extend(claims);
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(Value::Object(body).to_string()));
        let signature = self.sign(&text);
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The claims of `token` when it is ours, current and for `audience`.
    ///
    /// # Errors
    /// [`Refused`] says why it is not.
    pub fn verify(&self, token: &str, audience: &str) -> Result<Map<String, Value>, Refused> {
        let (text, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refused::Malformed)?;
        self.check(text, &signature)?;
        let (_, body) = text.split_once('.').ok_or(Refused::Malformed)?;
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| Refused::Malformed)?;
        let claims: Map<String, Value> = serde_json::from_slice(&body).map_err(|_| Refused::Malformed)?;
        let found = claims.get("aud").and_then(Value::as_str).unwrap_or_default();
        if found != audience {
            return Err(Refused::Audience(found.to_owned()));
        }
        let expires = claims.get("exp").and_then(Value::as_i64).unwrap_or(0);
        if expires <= self.clock.now().as_second() {
            return Err(Refused::Expired);
        }
        Ok(claims)
    }
}

fn fresh_key() -> anyhow::Result<hmac::Key> {
    hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new())
        .map_err(|_| anyhow::anyhow!("the machine's random source failed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn claims(audience: &str) -> Map<String, Value> {
        Map::from_iter([("aud".to_owned(), json!(audience))])
    }

    #[test]
    fn a_token_is_good_for_its_audience_until_it_expires() {
        let clock = Clock::stepped(jiff::Timestamp::UNIX_EPOCH);
        let authority = Authority::new(clock.clone()).unwrap();
        let token = authority.mint(claims("a"), 60);
        assert_eq!(authority.verify(&token, "a").unwrap()["tid"], json!(TENANT_ID));
        assert_eq!(authority.verify(&token, "b"), Err(Refused::Audience("a".into())));
        clock.advance(Duration::from_secs(60));
        assert_eq!(authority.verify(&token, "a"), Err(Refused::Expired));
    }

    #[test]
    fn strangers_and_changed_tokens_are_refused() {
        let authority = Authority::new(Clock::Real).unwrap();
        let other = Authority::new(Clock::Real).unwrap().mint(claims("a"), 60);
        assert_eq!(authority.verify(&other, "a"), Err(Refused::Signature));
        assert_eq!(authority.verify("x", "a"), Err(Refused::Malformed));
    }

    #[test]
    fn expire_all_ends_old_tokens_and_not_new_ones() {
        let authority = Authority::new(Clock::Real).unwrap();
        let old = authority.mint(claims("a"), 60);
        authority.expire_all().unwrap();
        assert_eq!(authority.verify(&old, "a"), Err(Refused::Expired));
        assert!(authority.verify(&authority.mint(claims("a"), 60), "a").is_ok());
    }
}
