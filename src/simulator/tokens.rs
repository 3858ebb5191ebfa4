//! Signs and checks the bearer tokens of the simulated world.
//!
//! One [`Authority`] is shared by the servers of one simulation, as one Entra tenant is shared by
//! the real ones. Tokens are JWTs signed with RS256 by keys that are made at start and published by
//! the simulated Entra; nothing is ever committed.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use serde_json::{Map, Value, json};

use super::entra::keys::{Bad, PublicKey, SigningKey, Unchecked, text};
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
/// Resource (audience) of Microsoft Graph.
pub const AUDIENCE_GRAPH: &str = "https://graph.microsoft.com";
/// Issuer of tokens of version 1, which resources get (TOKENS.md §2).
pub const ISSUER_V1: &str = "https://sts.windows.net/11111111-aaaa-4aaa-8aaa-111111111111/";
/// Issuer of tokens of version 2: exchange tokens, id tokens, tokens for the blueprint.
pub const ISSUER_V2: &str = "https://login.microsoftonline.com/11111111-aaaa-4aaa-8aaa-111111111111/v2.0";

/// How many signing keys are kept, so that a token of an old one is known to have expired.
const MAX_KEYS: usize = 64;
/// How far a token's start may lie in the future, in seconds, as common validators allow.
const CLOCK_SKEW_SECONDS: i64 = 300;

/// Signs tokens and says whether one is good.
pub struct Authority {
    /// Oldest first; the last one signs.
    keys: RwLock<Vec<Key>>,
    /// The life of new access tokens in seconds, when a test has set it.
    lifetime: RwLock<Option<i64>>,
    left_out: RwLock<Vec<String>>,
    clock: Clock,
}

/// A key that may still be in the making: finding one takes a while, and a start does not wait.
#[derive(Clone)]
struct Key {
    pair: Arc<OnceLock<Option<SigningKey>>>,
    /// Tokens of this key no longer count.
    ended: bool,
}

impl Key {
    fn started() -> anyhow::Result<Self> {
        let key = Self { pair: Arc::default(), ended: false };
        let making = key.clone();
        std::thread::Builder::new().name("signing-key".into()).spawn(move || {
            making.get();
        })?;
        Ok(key)
    }

    /// The pair; waits for it, or makes it if nobody has begun.
    fn get(&self) -> Option<&SigningKey> {
        let make = || {
            SigningKey::generate()
                .inspect_err(|error| tracing::error!(%error, "no signing key; tokens will not be signed"))
                .ok()
        };
        self.pair.get_or_init(make).as_ref()
    }
}

/// Why a token was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// Not three base64url parts with JSON inside, signed with RS256.
    #[error("the token is malformed")]
    Malformed,
    /// Signed by somebody else.
    #[error("the token's signature is not ours")]
    Signature,
    /// Of another tenant.
    #[error("the token's issuer is {0}")]
    Issuer(String),
    /// For another resource.
    #[error("the token's audience is {0}")]
    Audience(String),
    /// Not yet good: its `nbf` lies in the future.
    #[error("the token is not valid yet")]
    Early,
    /// Past its `exp`.
    #[error("the token has expired")]
    Expired,
}

impl Authority {
    /// An authority with a fresh random key, which is made in the background.
    ///
    /// # Errors
    /// When the machine cannot start a thread.
    pub fn new(clock: Clock) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            keys: RwLock::new(vec![Key::started()?]),
            lifetime: RwLock::default(),
            left_out: RwLock::default(),
            clock,
        }))
    }

    /// The time by which tokens are made and checked.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Gives new access tokens of the simulated Entra this life in seconds instead of a drawn one.
    pub fn set_lifetime(&self, seconds: Option<i64>) {
        *self.lifetime.write().unwrap_or_else(PoisonError::into_inner) = seconds;
    }

    /// What [`Authority::set_lifetime`] has set.
    pub fn lifetime(&self) -> Option<i64> {
        *self.lifetime.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves these claims out of every token that is signed from now on.
    pub fn leave_out(&self, claims: Vec<String>) {
        *self.left_out.write().unwrap_or_else(PoisonError::into_inner) = claims;
    }

    /// Makes every token signed so far count as expired, whatever its `exp` says.
    ///
    /// # Errors
    /// When the machine cannot start a thread.
    pub fn expire_all(&self) -> anyhow::Result<()> {
        self.rotate(true)
    }

    /// Signs with a new key from now on. The old ones stay published and good, unless `end_old`.
    ///
    /// # Errors
    /// When the machine cannot start a thread.
    pub fn rotate(&self, end_old: bool) -> anyhow::Result<()> {
        let key = Key::started()?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.iter_mut().for_each(|old| old.ended |= end_old);
        keys.push(key);
        let surplus = keys.len().saturating_sub(MAX_KEYS);
        keys.drain(..surplus);
        Ok(())
    }

    fn keys(&self) -> Vec<Key> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The published keys as a JWKS, newest first. Waits for a key in the making.
    pub fn jwks(&self) -> Value {
        let keys = self.keys();
        let published = keys.iter().rev().filter(|key| !key.ended).filter_map(Key::get);
        json!({"keys": published.map(|key| key.public().jwk(Some(ISSUER_V2))).collect::<Vec<_>>()})
    }

    /// A signed token with exactly these claims and a fresh `uti`. Empty when no key could be made,
    /// which the log tells.
    pub fn sign(&self, mut claims: Map<String, Value>) -> String {
        claims.entry("uti").or_insert_with(|| json!(token_id()));
        for name in self.left_out.read().unwrap_or_else(PoisonError::into_inner).iter() {
            claims.shift_remove(name);
        }
        let keys = self.keys();
        keys.last().and_then(Key::get).and_then(|key| key.sign(&claims).ok()).unwrap_or_default()
    }

    /// A signed token with these claims; `iat`, `nbf`, `exp` (now + `lifetime_seconds`), `iss`,
    /// `tid` and a fresh `uti` are added where they are not given.
    pub fn mint(&self, claims: Map<String, Value>, lifetime_seconds: i64) -> String {
        let now = self.clock.now().as_second();
        let mut body = Map::new();
        body.insert("iss".into(), json!(ISSUER_V1));
        body.insert("tid".into(), json!(TENANT_ID));
        body.insert("iat".into(), json!(now));
        body.insert("nbf".into(), json!(now));
        body.insert("exp".into(), json!(now + lifetime_seconds));
        body.extend(claims);
        self.sign(body)
    }

    /// The claims of `token` when it is ours, current and for `audience`.
    ///
    /// # Errors
    /// [`Refused`] says why it is not.
    pub fn verify(&self, token: &str, audience: &str) -> Result<Map<String, Value>, Refused> {
        let unchecked = Unchecked::read(token).map_err(|_| Refused::Malformed)?;
        self.check_signature(&unchecked)?;
        let claims = unchecked.claims;
        let issuer = text(&claims, "iss");
        if issuer != ISSUER_V1 && issuer != ISSUER_V2 {
            return Err(Refused::Issuer(issuer.to_owned()));
        }
        let found = text(&claims, "aud");
        if found != audience {
            return Err(Refused::Audience(found.to_owned()));
        }
        let now = self.clock.now().as_second();
        if claims.get("nbf").and_then(Value::as_i64).is_some_and(|from| from > now + CLOCK_SKEW_SECONDS) {
            return Err(Refused::Early);
        }
        if claims.get("exp").and_then(Value::as_i64).unwrap_or(0) <= now {
            return Err(Refused::Expired);
        }
        Ok(claims)
    }

    /// Checks only that one of our keys signed, and that it still counts.
    pub(super) fn check_signature(&self, token: &Unchecked<'_>) -> Result<(), Refused> {
        let keys = self.keys();
        let signed = |key: &&Key| key.get().is_some_and(|pair| pair.public().id == token.key_id);
        let key = keys.iter().rev().find(signed).ok_or(Refused::Signature)?;
        let public: &PublicKey = key.get().map(SigningKey::public).ok_or(Refused::Signature)?;
        match token.check_with(public) {
            Ok(()) if key.ended => Err(Refused::Expired),
            Ok(()) => Ok(()),
            Err(Bad::Malformed) => Err(Refused::Malformed),
            Err(_) => Err(Refused::Signature),
        }
    }
}

/// A token's own id, as Entra writes it: 16 random bytes in base64url.
fn token_id() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes())
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
        let mut foreign = claims("a");
        foreign.insert("iss".into(), json!("https://sts.windows.net/other/"));
        let foreign = authority.mint(foreign, 60);
        assert_eq!(
            authority.verify(&foreign, "a"),
            Err(Refused::Issuer("https://sts.windows.net/other/".into()))
        );
        clock.advance(Duration::from_secs(60));
        assert_eq!(authority.verify(&token, "a"), Err(Refused::Expired));
        clock.jump(jiff::Timestamp::UNIX_EPOCH - jiff::SignedDuration::from_secs(301));
        assert_eq!(authority.verify(&token, "a"), Err(Refused::Early));
    }

    #[test]
    fn strangers_and_changed_tokens_are_refused() {
        let authority = Authority::new(Clock::Real).unwrap();
        let other = Authority::new(Clock::Real).unwrap().mint(claims("a"), 60);
        assert_eq!(authority.verify(&other, "a"), Err(Refused::Signature));
        assert_eq!(authority.verify("x", "a"), Err(Refused::Malformed));
        let own = authority.mint(claims("a"), 60);
        let (text, _) = own.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        assert_eq!(authority.verify(&format!("{text}.{signature}"), "a"), Err(Refused::Signature));
    }

    #[test]
    fn expire_all_ends_old_tokens_and_rotation_does_not() {
        let authority = Authority::new(Clock::Real).unwrap();
        let old = authority.mint(claims("a"), 60);
        authority.rotate(false).unwrap();
        assert!(authority.verify(&old, "a").is_ok());
        assert_eq!(authority.jwks()["keys"].as_array().unwrap().len(), 2);
        authority.expire_all().unwrap();
        assert_eq!(authority.verify(&old, "a"), Err(Refused::Expired));
        assert_eq!(authority.jwks()["keys"].as_array().unwrap().len(), 1);
        assert!(authority.verify(&authority.mint(claims("a"), 60), "a").is_ok());
    }
}
