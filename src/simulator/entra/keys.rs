//! Signing keys of the simulated tenant, and checking of signatures by published keys.
//!
//! Keys are made at start by the `rsa` crate and used through ring; none is ever written down.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::rand_core::{TryCryptoRng, TryRng};
use serde_json::{Map, Value, json};

/// Size of a key, as Entra's.
const KEY_BITS: usize = 2048;
/// Most published keys that are read of one issuer.
const MAX_PUBLISHED_KEYS: usize = 32;
/// Largest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 32 * 1024;
/// Characters of a key's id, as many as those of Entra's.
const KEY_ID_CHARS: usize = 27;

/// A key pair with the id under which its public half is published.
pub struct SigningKey {
    public: PublicKey,
    pair: RsaKeyPair,
}

impl SigningKey {
    /// Makes a key; takes some tens of milliseconds.
    ///
    /// # Errors
    /// When the machine's random source fails.
    pub fn generate() -> anyhow::Result<Self> {
        let mut random = Expander::seeded()?;
        let private = rsa::RsaPrivateKey::new(&mut random, KEY_BITS).context("making an RSA key")?;
        let der = private.to_pkcs1_der().context("encoding an RSA key")?;
        let pair = RsaKeyPair::from_der(der.as_bytes())
            .map_err(|error| anyhow::anyhow!("ring does not take the RSA key: {error}"))?;
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
        let mut id = URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, &public.n));
        id.truncate(KEY_ID_CHARS);
        Ok(Self { public: PublicKey { id, n: public.n, e: public.e }, pair })
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A JWT with these claims. Tokens of version 1 name the key twice, those of version 2 once
    /// (TOKENS.md §2).
    ///
    /// # Errors
    /// When the machine's random source fails.
    pub fn sign(&self, claims: &Map<String, Value>) -> anyhow::Result<String> {
        let id = &self.public.id;
        let head = match claims.get("ver").and_then(Value::as_str) {
            Some("2.0") => json!({"typ": "JWT", "alg": "RS256", "kid": id}),
            _ => json!({"typ": "JWT", "alg": "RS256", "x5t": id, "kid": id}),
        };
        let body = serde_json::to_vec(claims)?;
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(body));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| anyhow::anyhow!("the machine's random source failed"))?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// A published key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// `kid`.
    pub id: String,
    n: Vec<u8>,
    e: Vec<u8>,
}

impl PublicKey {
    /// As a member of a JWKS; `issuer` is told where there is one.
    pub fn jwk(&self, issuer: Option<&str>) -> Value {
        let mut key = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id, "x5t": self.id,
            "n": URL_SAFE_NO_PAD.encode(&self.n), "e": URL_SAFE_NO_PAD.encode(&self.e)});
        if let (Some(issuer), Some(key)) = (issuer, key.as_object_mut()) {
            key.insert("issuer".into(), json!(issuer));
        }
        key
    }

    /// The RSA keys of a JWKS; what is not one is left out.
    pub fn read_all(jwks: &Value) -> Vec<Self> {
        let keys = jwks.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let part = |key: &Value, name: &str| {
            key.get(name).and_then(Value::as_str).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        };
        let read = |key: &Value| {
            let id = key.get("kid")?.as_str()?.to_owned();
            (key.get("kty")? == "RSA").then_some(())?;
            Some(Self { id, n: part(key, "n")?, e: part(key, "e")? })
        };
        keys.iter().take(MAX_PUBLISHED_KEYS).filter_map(read).collect()
    }
}

/// Why a token's signature does not count.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// Not a JWT signed with RS256.
    #[error("the token is malformed")]
    Malformed,
    /// Its key is not among those published.
    #[error("the token's key {0} is not published")]
    UnknownKey(String),
    /// The key did not sign it.
    #[error("the token's signature is wrong")]
    Signature,
}

/// A JWT taken apart, not yet believed.
#[derive(Debug)]
pub struct Unchecked<'a> {
    text: &'a str,
    signature: Vec<u8>,
    /// The id of the key that it names.
    pub key_id: String,
    /// What it claims.
    pub claims: Map<String, Value>,
}

impl<'a> Unchecked<'a> {
    /// Takes a JWT apart. Other algorithms than RS256 are malformed.
    ///
    /// # Errors
    /// [`Bad::Malformed`].
    pub fn read(token: &'a str) -> Result<Self, Bad> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Bad::Malformed);
        }
        let (text, signature) = token.rsplit_once('.').ok_or(Bad::Malformed)?;
        let (head, body) = text.split_once('.').ok_or(Bad::Malformed)?;
        let json = |part: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Bad::Malformed)?;
            serde_json::from_slice::<Map<String, Value>>(&bytes).map_err(|_| Bad::Malformed)
        };
        let head = json(head)?;
        if head.get("alg").and_then(Value::as_str) != Some("RS256") {
            return Err(Bad::Malformed);
        }
        Ok(Self {
            text,
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| Bad::Malformed)?,
            key_id: head.get("kid").and_then(Value::as_str).unwrap_or_default().to_owned(),
            claims: json(body)?,
        })
    }

    /// A text claim, or nothing.
    pub fn text(&self, name: &str) -> &str {
        text(&self.claims, name)
    }

    /// Checks the signature with the published key that the token names.
    ///
    /// # Errors
    /// [`Bad`] says why it does not count.
    pub fn check(&self, keys: &[PublicKey]) -> Result<(), Bad> {
        let key = keys.iter().find(|key| key.id == self.key_id);
        self.check_with(key.ok_or_else(|| Bad::UnknownKey(self.key_id.clone()))?)
    }

    /// Checks the signature with `key`.
    ///
    /// # Errors
    /// [`Bad::Signature`].
    pub fn check_with(&self, key: &PublicKey) -> Result<(), Bad> {
        RsaPublicKeyComponents { n: &key.n, e: &key.e }
            .verify(&RSA_PKCS1_2048_8192_SHA256, self.text.as_bytes(), &self.signature)
            .map_err(|_| Bad::Signature)
    }
}

/// A text claim, or nothing.
pub fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> &'a str {
    claims.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A stream of random bytes from one seed of the machine: the `rsa` crate wants a source that
/// cannot fail halfway.
struct Expander {
    key: hmac::Key,
    block: u64,
}

impl Expander {
    fn seeded() -> anyhow::Result<Self> {
        let mut seed = [0; 32];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| anyhow::anyhow!("the machine's random source failed"))?;
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &seed), block: 0 })
    }
}

impl TryRng for Expander {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in target.chunks_mut(32) {
            let block = hmac::sign(&self.key, &self.block.to_be_bytes());
            self.block += 1;
            chunk.copy_from_slice(&block.as_ref()[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Expander {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_what_its_published_half_checks() {
        let key = SigningKey::generate().unwrap();
        let claims = Map::from_iter([("ver".to_owned(), json!("2.0")), ("a".to_owned(), json!(1))]);
        let token = key.sign(&claims).unwrap();
        let published =
            PublicKey::read_all(&json!({"keys": [key.public().jwk(None), {"kty": "EC", "kid": "x"}]}));
        assert_eq!(published, [key.public().clone()]);
        let unchecked = Unchecked::read(&token).unwrap();
        assert_eq!((unchecked.check(&published), &unchecked.claims), (Ok(()), &claims));
        assert_eq!(unchecked.check(&[]), Err(Bad::UnknownKey(key.public().id.clone())));
    }

    #[test]
    fn changed_tokens_and_other_algorithms_are_refused() {
        let key = SigningKey::generate().unwrap();
        let token = key.sign(&Map::new()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let changed = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(r#"{"a":2}"#), parts[2]);
        assert_eq!(Unchecked::read(&changed).unwrap().check_with(key.public()), Err(Bad::Signature));
        for algorithm in ["none", "HS256", "RS512"] {
            let head = URL_SAFE_NO_PAD.encode(json!({"alg": algorithm, "kid": "k"}).to_string());
            let other = format!("{head}.{}.{}", parts[1], parts[2]);
            assert_eq!(Unchecked::read(&other).err(), Some(Bad::Malformed), "{algorithm}");
        }
    }
}
