//! What a token says, and whether it is the agent user's.
//!
//! The signature is not ours to check: only the resource can, with Entra's keys. This check exists
//! because the sidecar silently falls back to other principals (SIDECAR.md §4.1, §5).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Audience, Fallback, IdentityError};
use crate::config::{self, AgentUser};
use crate::http::plain;

/// Facet of an agent identity, in `xms_act_fct` and `xms_sub_fct` (TOKENS.md §2.7).
const FACET_AGENT_IDENTITY: i64 = 11;
/// Facet of an agent user, in `xms_sub_fct`.
const FACET_AGENT_USER: i64 = 13;
/// Longest value of a claim that is shown, in characters.
const MAX_SHOWN_CHARS: usize = 120;

/// Facts of a checked token: who we are to the outside. Never the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Who {
    /// Object id of the agent user in Entra.
    pub object_id: Option<String>,
    /// User principal name of the agent user.
    pub username: Option<String>,
    /// Display name of the agent user.
    pub name: Option<String>,
    /// Application id of the agent identity (`appid` or `azp`).
    pub agent_identity_id: String,
    /// Application id of the blueprint, where the token names it; for display only.
    pub blueprint_id: Option<String>,
    /// Tenant.
    pub tenant_id: Option<String>,
    /// `idtyp`: `user`, or absent.
    pub token_type: Option<String>,
    /// Whether the token carries agent facets; when absent nothing more could be checked.
    pub has_agent_facets: bool,
    /// `uti`: the token's own id, to find it in the sign-in log.
    pub token_id: Option<String>,
    /// When the token expires.
    pub expires_at: Timestamp,
}

/// Checks that `token` is the agent user's, for `audience`, current at `now`.
///
/// # Errors
/// [`IdentityError`] names the claim that is wrong, or the fall-back that happened.
pub(super) fn check(
    token: &SecretString,
    audience: Audience,
    settings: &config::Identity,
    now: Timestamp,
) -> Result<Who, IdentityError> {
    let claims = Claims(decode(token.expose_secret())?);
    check_audience(&claims, audience)?;
    check_tenant(&claims, settings)?;
    let expires_at = check_expiry(&claims, now)?;
    check_principal(&claims, settings)?;
    Ok(Who {
        object_id: claims.owned("oid"),
        username: claims.owned("upn").or_else(|| claims.owned("unique_name")),
        name: claims.owned("name"),
        agent_identity_id: settings.agent_identity_id.clone(),
        blueprint_id: claims.owned("xms_par_app_azp"),
        tenant_id: claims.owned("tid"),
        token_type: claims.owned("idtyp"),
        has_agent_facets: claims.text("xms_sub_fct").is_some() || claims.text("xms_act_fct").is_some(),
        token_id: claims.owned("uti"),
        expires_at,
    })
}

/// Checks that `token` stands for the person `oid`, with the agent identity acting. Gives its expiry.
///
/// # Errors
/// As [`check`].
pub(super) fn check_delegated(
    token: &SecretString,
    audience: Audience,
    settings: &config::Identity,
    oid: &str,
    now: Timestamp,
) -> Result<Timestamp, IdentityError> {
    let claims = Claims(decode(token.expose_secret())?);
    check_audience(&claims, audience)?;
    check_tenant(&claims, settings)?;
    let expires_at = check_expiry(&claims, now)?;
    let same = |found: Option<&str>, expected: &str| found.is_some_and(|f| f.eq_ignore_ascii_case(expected));
    let is_agents = |facet: &i64| [FACET_AGENT_USER, FACET_AGENT_IDENTITY].contains(facet);
    let is_person = same(claims.text("oid"), oid)
        && claims.text("idtyp").is_none_or(|kind| kind.eq_ignore_ascii_case("user"))
        && claims.facets("xms_sub_fct").is_none_or(|facets| !facets.iter().any(is_agents));
    let fallback = match (is_person, same(claims.application(), &settings.agent_identity_id)) {
        (true, true) => return Ok(expires_at),
        (true, false) => Fallback::OtherApplicationForUser,
        (false, _) => Fallback::NotThePerson,
    };
    Err(IdentityError::WrongPrincipal {
        fallback,
        expected: format!("person {oid} through application {}", settings.agent_identity_id),
        found: format!(
            "object id {} through application {}, idtyp {}",
            claims.shown("oid"),
            claims.application().map_or_else(|| "absent".into(), |app| plain(app, MAX_SHOWN_CHARS)),
            claims.shown("idtyp"),
        ),
    })
}

pub(super) fn decode(token: &str) -> Result<Map<String, Value>, IdentityError> {
    let mut parts = token.split('.');
    let (Some(_), Some(body), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(IdentityError::Unreadable("the token is not a JWT"));
    };
    let bytes = URL_SAFE_NO_PAD
        .decode(body.trim_end_matches('='))
        .map_err(|_| IdentityError::Unreadable("the token's claims are not base64url"))?;
    serde_json::from_slice(&bytes)
        .map_err(|_| IdentityError::Unreadable("the token's claims are not a JSON object"))
}

struct Claims(Map<String, Value>);

impl Claims {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(|text| plain(text, MAX_SHOWN_CHARS))
    }

    fn shown(&self, name: &str) -> String {
        self.owned(name).unwrap_or_else(|| "absent".into())
    }

    /// v1 tokens name the application in `appid`, v2 tokens in `azp`.
    fn application(&self) -> Option<&str> {
        self.text("appid").or_else(|| self.text("azp"))
    }

    /// The facets of a claim: `None` when absent, unknown numbers kept, other text dropped.
    fn facets(&self, name: &str) -> Option<Vec<i64>> {
        Some(self.text(name)?.split_whitespace().filter_map(|part| part.parse().ok()).collect())
    }
}

fn check_audience(claims: &Claims, audience: Audience) -> Result<(), IdentityError> {
    let normal = |text: &str| {
        let lower = text.trim_end_matches('/').to_ascii_lowercase();
        lower.strip_prefix("api://").map(str::to_owned).unwrap_or(lower)
    };
    let found = claims.text("aud").map(normal);
    if found.is_some_and(|found| audience.names().contains(&found.as_str())) {
        return Ok(());
    }
    Err(IdentityError::WrongToken {
        claim: "audience",
        found: claims.shown("aud"),
        expected: audience.names().join(" or "),
    })
}

fn check_tenant(claims: &Claims, settings: &config::Identity) -> Result<(), IdentityError> {
    let Some(expected) = &settings.tenant_id else { return Ok(()) };
    if claims.text("tid").is_some_and(|tid| tid.eq_ignore_ascii_case(expected)) {
        return Ok(());
    }
    Err(IdentityError::WrongToken { claim: "tenant", found: claims.shown("tid"), expected: expected.clone() })
}

fn check_expiry(claims: &Claims, now: Timestamp) -> Result<Timestamp, IdentityError> {
    let seconds =
        claims.0.get("exp").and_then(|exp| exp.as_i64().or_else(|| exp.as_f64().map(|exp| exp as i64)));
    let expires_at = seconds
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or(IdentityError::Unreadable("the token has no expiry"))?;
    if expires_at > now {
        return Ok(expires_at);
    }
    Err(IdentityError::WrongToken {
        claim: "expiry",
        found: expires_at.to_string(),
        expected: format!("later than {now}"),
    })
}

fn check_principal(claims: &Claims, settings: &config::Identity) -> Result<(), IdentityError> {
    let same =
        |found: Option<&str>, expected: &str| found.is_some_and(|found| found.eq_ignore_ascii_case(expected));
    let agent = settings.agent_identity_id.as_str();
    let is_app_token = claims.text("idtyp").is_some_and(|kind| kind.eq_ignore_ascii_case("app"))
        || (claims.application().is_some()
            && same(claims.text("oid"), claims.application().unwrap_or_default()))
        || (claims.text("scp").is_none() && claims.0.contains_key("roles"));
    let user_matches = match &settings.agent_user {
        AgentUser::ObjectId(id) => same(claims.text("oid"), &id.to_string()),
        AgentUser::Username(name) => {
            ["upn", "unique_name", "preferred_username"].iter().any(|claim| same(claims.text(claim), name))
        }
    };
    let subject = claims.facets("xms_sub_fct");
    let actor = claims.facets("xms_act_fct");
    let contradicts = claims.text("idtyp").is_some_and(|kind| !kind.eq_ignore_ascii_case("user"))
        || subject.is_some_and(|f| !f.contains(&FACET_AGENT_USER) || f.contains(&FACET_AGENT_IDENTITY))
        || actor.is_some_and(|facets| !facets.contains(&FACET_AGENT_IDENTITY));
    let fallback = match (same(claims.application(), agent), is_app_token, user_matches, contradicts) {
        (false, true, ..) => Fallback::OtherApplication,
        (false, false, ..) => Fallback::OtherApplicationForUser,
        (true, true, ..) => Fallback::AgentIdentityAlone,
        (true, false, false, _) => Fallback::OtherUser,
        (true, false, true, true) => Fallback::NotAnAgentUser,
        (true, false, true, false) => return Ok(()),
    };
    let user = match &settings.agent_user {
        AgentUser::ObjectId(id) => id.to_string(),
        AgentUser::Username(name) => name.clone(),
    };
    let application = claims.application().map_or_else(|| "absent".into(), |app| plain(app, MAX_SHOWN_CHARS));
    Err(IdentityError::WrongPrincipal {
        fallback,
        expected: format!("user {user} through application {agent}"),
        found: format!(
            "user {} (object id {}) through application {application}, idtyp {}, facets {}",
            claims.owned("upn").unwrap_or_else(|| claims.shown("unique_name")),
            claims.shown("oid"),
            claims.shown("idtyp"),
            claims.shown("xms_sub_fct"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::fake::{self, token};
    use serde_json::json;

    fn judged(changes: &[(&str, Value)]) -> Result<Who, IdentityError> {
        let mut claims = fake::claims(Audience::AzureDevOps, fake::NOW + 3_600);
        for (name, value) in changes {
            if value.is_null() {
                claims.remove(*name);
            } else {
                claims.insert((*name).into(), value.clone());
            }
        }
        let now = Timestamp::from_second(fake::NOW).unwrap();
        check(&token(&claims).into(), Audience::AzureDevOps, &fake::settings("http://localhost:1"), now)
    }

    fn fallback(changes: &[(&str, Value)]) -> Fallback {
        match judged(changes) {
            Err(IdentityError::WrongPrincipal { fallback, .. }) => fallback,
            other => panic!("{other:?}"),
        }
    }

    fn wrong(changes: &[(&str, Value)]) -> &'static str {
        match judged(changes) {
            Err(IdentityError::WrongToken { claim, .. }) => claim,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_agent_users_token_is_taken_in_both_versions() {
        let who = judged(&[]).unwrap();
        assert_eq!(who.username.as_deref(), Some("ado-coworker@contoso.example"));
        assert!(who.has_agent_facets);
        let v2 = [("appid", Value::Null), ("azp", json!(fake::AGENT_IDENTITY.to_ascii_uppercase()))];
        judged(&v2).unwrap();
        let bare = [("idtyp", Value::Null), ("xms_sub_fct", Value::Null), ("xms_act_fct", Value::Null)];
        assert!(!judged(&bare).unwrap().has_agent_facets);
        judged(&[("aud", json!("api://499B84AC-1321-427f-aa17-267ca6975798/"))]).unwrap();
    }

    #[test]
    fn every_silent_fallback_is_named() {
        let blueprint = json!("22222222-bbbb-4bbb-8bbb-222222222222");
        let app_only = [("appid", blueprint.clone()), ("idtyp", json!("app")), ("upn", Value::Null)];
        assert_eq!(fallback(&app_only), Fallback::OtherApplication);
        assert_eq!(fallback(&[("appid", blueprint)]), Fallback::OtherApplicationForUser);
        assert_eq!(fallback(&[("appid", Value::Null)]), Fallback::OtherApplicationForUser);
        let alone = [("idtyp", Value::Null), ("oid", json!(fake::AGENT_IDENTITY)), ("upn", Value::Null)];
        assert_eq!(fallback(&alone), Fallback::AgentIdentityAlone);
        let roles = [("idtyp", Value::Null), ("scp", Value::Null), ("roles", json!(["x"]))];
        assert_eq!(fallback(&roles), Fallback::AgentIdentityAlone);
        assert_eq!(fallback(&[("upn", json!("alice@contoso.example"))]), Fallback::OtherUser);
        assert_eq!(fallback(&[("upn", Value::Null)]), Fallback::OtherUser);
    }

    #[test]
    fn facets_and_type_may_be_absent_but_not_contradict() {
        for subject in ["3 12", "3 11 9", "13 11", "x"] {
            assert_eq!(fallback(&[("xms_sub_fct", json!(subject))]), Fallback::NotAnAgentUser, "{subject}");
        }
        assert_eq!(fallback(&[("xms_act_fct", json!("3 9"))]), Fallback::NotAnAgentUser);
        assert_eq!(fallback(&[("idtyp", json!("device"))]), Fallback::NotAnAgentUser);
    }

    #[test]
    fn a_token_on_somebodys_behalf_is_that_persons_through_the_agent_identity() {
        let person = "a1e3e000-0000-4000-8000-000000000001";
        let judged = |changes: &[(&str, Value)]| {
            let mut claims = fake::claims(Audience::AzureDevOps, fake::NOW + 3_600);
            claims.insert("oid".into(), json!(person));
            claims.insert("xms_sub_fct".into(), json!("3 12"));
            claims.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            let now = Timestamp::from_second(fake::NOW).unwrap();
            let settings = fake::settings("http://localhost:1");
            check_delegated(&token(&claims).into(), Audience::AzureDevOps, &settings, person, now)
        };
        assert_eq!(judged(&[]).unwrap().as_second(), fake::NOW + 3_600);
        let fallback = |changes: &[(&str, Value)]| match judged(changes) {
            Err(IdentityError::WrongPrincipal { fallback, .. }) => fallback,
            other => panic!("{other:?}"),
        };
        let blueprint = json!("22222222-bbbb-4bbb-8bbb-222222222222");
        assert_eq!(fallback(&[("appid", blueprint)]), Fallback::OtherApplicationForUser);
        assert_eq!(
            fallback(&[("oid", json!("b04f0000-0000-4000-8000-000000000002"))]),
            Fallback::NotThePerson
        );
        assert_eq!(fallback(&[("idtyp", json!("app"))]), Fallback::NotThePerson);
        assert_eq!(fallback(&[("xms_sub_fct", json!("3 13"))]), Fallback::NotThePerson);
        let other = judged(&[("aud", json!("https://graph.microsoft.com"))]).unwrap_err();
        assert!(matches!(other, IdentityError::WrongToken { claim: "audience", .. }), "{other}");
    }

    #[test]
    fn audience_tenant_and_expiry_are_checked() {
        assert_eq!(wrong(&[("aud", json!("https://graph.microsoft.com"))]), "audience");
        assert_eq!(wrong(&[("aud", Value::Null)]), "audience");
        assert_eq!(wrong(&[("tid", json!("99999999-aaaa-4aaa-8aaa-111111111111"))]), "tenant");
        assert_eq!(wrong(&[("tid", Value::Null)]), "tenant");
        assert_eq!(wrong(&[("exp", json!(fake::NOW))]), "expiry");
        assert!(matches!(judged(&[("exp", Value::Null)]), Err(IdentityError::Unreadable(_))));
    }

    #[test]
    fn a_malformed_token_is_an_error_without_the_token_in_it() {
        for bad in ["", "opaque-secret-value", "a.b", "a.%.c", "a.e30.c", "a.W10.c", "a.b.c.d"] {
            let now = Timestamp::from_second(fake::NOW).unwrap();
            let settings = fake::settings("http://localhost:1");
            let error = check(&bad.to_owned().into(), Audience::Model, &settings, now).unwrap_err();
            assert!(!error.to_string().contains("opaque-secret-value"));
        }
    }
}
