//! A person's token, taken apart and checked as a resource server checks it (TOKENS.md §2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde_json::{Map, Value};

use super::PeopleError;
use super::groups::Groups;
use crate::http::plain;

/// Largest token that is looked at, in bytes; one with 200 groups has about 9,000.
const MAX_TOKEN_BYTES: usize = 32 * 1024;
/// How far the start of a token may lie in the future, in seconds: clocks differ.
const SKEW_SECONDS: i64 = 300;
/// Longest value that is kept of a claim, in characters.
const MAX_VALUE_CHARS: usize = 200;
/// Facets of agents: an agent identity, an agent user (TOKENS.md §2.7).
const AGENT_FACETS: [i64; 2] = [11, 13];

/// A public key of Entra.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: String,
    n: Vec<u8>,
    e: Vec<u8>,
}

impl Key {
    /// The RSA key of a JWK; none for what is no such key.
    pub(super) fn read(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?.trim_end_matches('=')).ok();
        // A leading zero is no part of the number, and ring takes none.
        let number = |name: &str| {
            let bytes = bytes(name)?;
            let start = bytes.iter().position(|byte| *byte != 0)?;
            Some(bytes[start..].to_vec())
        };
        if text("kty")? != "RSA" || text("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        Some(Self { id: text("kid")?.to_owned(), n: number("n")?, e: number("e")? })
    }
}

/// A token taken apart, not yet believed.
pub(super) struct Unchecked<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    pub(super) key_id: String,
    claims: Map<String, Value>,
}

/// What a token must say.
pub(super) struct Expected<'a> {
    /// Any of these issuers.
    pub(super) issuers: &'a [String],
    pub(super) tenant: &'a str,
    /// Application id of the audience.
    pub(super) audience: &'a str,
    /// Of an id token: what was sent with the request.
    pub(super) nonce: Option<&'a str>,
    pub(super) now: Timestamp,
}

/// A person, by a token that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Object id in Entra.
    pub oid: String,
    /// Display name.
    pub name: String,
    /// User principal name, where the token names one.
    pub account: Option<String>,
    /// The groups that the token lists.
    pub groups: Groups,
    /// When the token expires.
    pub expires_at: Timestamp,
    /// When the person last proved who it is, or else when the token was issued.
    pub signed_in_at: Timestamp,
}

impl<'a> Unchecked<'a> {
    /// Takes a JWT apart; of another algorithm than RS256 is none.
    ///
    /// # Errors
    /// [`PeopleError::Token`].
    pub(super) fn read(token: &'a str) -> Result<Self, PeopleError> {
        let malformed = || PeopleError::Token("is not a JWT signed with RS256".into());
        if token.len() > MAX_TOKEN_BYTES {
            return Err(PeopleError::Token("is too large".into()));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (head, body) = signed.split_once('.').ok_or_else(malformed)?;
        let object = |part: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
            serde_json::from_slice::<Map<String, Value>>(&bytes).ok()
        };
        let head = object(head).ok_or_else(malformed)?;
        if head.get("alg").and_then(Value::as_str) != Some("RS256") || head.contains_key("crit") {
            return Err(malformed());
        }
        Ok(Self {
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?,
            key_id: head.get("kid").and_then(Value::as_str).unwrap_or_default().to_owned(),
            claims: object(body).ok_or_else(malformed)?,
        })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn shown(&self, name: &str) -> Option<String> {
        self.text(name).map(|text| plain(text, MAX_VALUE_CHARS))
    }

    fn second(&self, name: &str) -> Option<i64> {
        self.claims.get(name).and_then(Value::as_i64)
    }

    /// Whether the token claims to be an agent's or an application's own. That is believed before
    /// anything is checked: it can only lead to a refusal (A39).
    pub(super) fn is_agents(&self, agents: &[&str]) -> bool {
        let facets = ["xms_sub_fct", "xms_act_fct"].iter().filter_map(|name| self.text(name));
        let mut facets = facets.flat_map(str::split_whitespace).filter_map(|part| part.parse::<i64>().ok());
        let names = ["oid", "appid", "azp", "upn", "unique_name", "preferred_username"];
        let is_agent = |value: &str| agents.iter().any(|agent| agent.eq_ignore_ascii_case(value));
        let is_application = match self.text("idtyp") {
            Some(kind) => !kind.eq_ignore_ascii_case("user"),
            // Application tokens have roles and no scope, or say so only by their subject.
            None => self.claims.contains_key("roles") && !self.claims.contains_key("scp"),
        };
        is_application
            || facets.any(|facet| AGENT_FACETS.contains(&facet))
            || names.iter().filter_map(|name| self.text(name)).any(is_agent)
    }

    /// Checks signature and claims.
    ///
    /// # Errors
    /// [`PeopleError::Token`] says which check failed.
    pub(super) fn check(&self, key: &Key, expected: &Expected<'_>) -> Result<Verified, PeopleError> {
        let wrong = |what: String| Err(PeopleError::Token(what));
        let components = RsaPublicKeyComponents { n: &key.n, e: &key.e };
        if components.verify(&RSA_PKCS1_2048_8192_SHA256, self.signed.as_bytes(), &self.signature).is_err() {
            return wrong("has a wrong signature".into());
        }
        let shown = |name: &str| self.shown(name).unwrap_or_else(|| "absent".into());
        if !self.text("iss").is_some_and(|issuer| expected.issuers.iter().any(|own| own == issuer)) {
            return wrong(format!("has the issuer {}", shown("iss")));
        }
        if !self.text("tid").is_some_and(|tenant| tenant.eq_ignore_ascii_case(expected.tenant)) {
            return wrong(format!("is of the tenant {}", shown("tid")));
        }
        let audience = self.text("aud").map(|aud| aud.strip_prefix("api://").unwrap_or(aud));
        if !audience.is_some_and(|audience| audience.eq_ignore_ascii_case(expected.audience)) {
            return wrong(format!("is for {}", shown("aud")));
        }
        let now = expected.now.as_second();
        let Some(expires) = self.second("exp").filter(|expires| *expires > now) else {
            return wrong("has expired".into());
        };
        if self.second("nbf").is_some_and(|from| from > now + SKEW_SECONDS) {
            return wrong("is not valid yet; compare the clocks".into());
        }
        if let Some(nonce) = expected.nonce
            && !self.text("nonce").is_some_and(|own| same_text(own, nonce))
        {
            return wrong("belongs to another sign-in".into());
        }
        let Some(oid) = self.shown("oid") else { return wrong("names nobody".into()) };
        let account = ["preferred_username", "upn", "unique_name"].iter().find_map(|name| self.shown(name));
        let instant = |name: &str| self.second(name).and_then(|second| Timestamp::from_second(second).ok());
        Ok(Verified {
            name: self.shown("name").or_else(|| account.clone()).unwrap_or_else(|| oid.clone()),
            account,
            oid,
            groups: Groups::of(&self.claims),
            expires_at: Timestamp::from_second(expires).unwrap_or(expected.now),
            signed_in_at: instant("auth_time").or_else(|| instant("iat")).unwrap_or(expected.now),
        })
    }
}

/// Compares without telling by its time where the difference is.
pub(super) fn same_text(left: &str, right: &str) -> bool {
    use subtle::ConstantTimeEq as _;
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn jwt(head: Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.{}", part(&head), part(claims), URL_SAFE_NO_PAD.encode("signature"))
    }

    fn is_agents(claims: Value) -> bool {
        let token = jwt(json!({"alg": "RS256", "kid": "k"}), &claims);
        Unchecked::read(&token).unwrap().is_agents(&["agent-id", "ado-coworker@contoso.example"])
    }

    #[test]
    fn agents_and_applications_are_known_by_any_of_their_marks() {
        for claims in [
            json!({"idtyp": "app"}),
            json!({"idtyp": "device"}),
            json!({"roles": ["x"]}),
            json!({"idtyp": "user", "xms_sub_fct": "3 13"}),
            json!({"idtyp": "user", "xms_act_fct": "9 11 3"}),
            json!({"oid": "AGENT-ID"}),
            json!({"azp": "agent-id", "scp": "x"}),
            json!({"upn": "ado-coworker@contoso.example", "scp": "x"}),
        ] {
            assert!(is_agents(claims.clone()), "{claims}");
        }
        for claims in [
            json!({"idtyp": "user", "xms_sub_fct": "3 12", "xms_act_fct": "3 9"}),
            json!({"scp": "x", "roles": []}),
        ] {
            assert!(!is_agents(claims.clone()), "{claims}");
        }
    }

    #[test]
    fn other_algorithms_and_broken_tokens_are_none() {
        let good = json!({"oid": "o"});
        for head in [
            json!({"alg": "none"}),
            json!({"alg": "HS256"}),
            json!({"alg": "RS256", "crit": ["x"]}),
            json!([]),
        ] {
            assert!(Unchecked::read(&jwt(head.clone(), &good)).is_err(), "{head}");
        }
        for bad in ["", "a.b", "a.b.c.d", &"x".repeat(MAX_TOKEN_BYTES + 1)] {
            assert!(Unchecked::read(bad).is_err());
        }
        let key = |n: &str, usage: &str| json!({"kty": "RSA", "kid": "k", "use": usage, "n": n, "e": "AQAB"});
        assert_eq!(
            Key::read(&key("AAEC", "sig")).unwrap().n,
            [1, 2],
            "a leading zero is no part of the number"
        );
        assert_eq!((Key::read(&key("AAEC", "enc")), Key::read(&key("%", "sig"))), (None, None));
    }
}
