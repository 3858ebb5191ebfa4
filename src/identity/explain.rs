//! The claims of a token in plain words (TOKENS.md §2). Never the token.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::http::plain;

/// Longest value that is shown, in characters.
const MAX_VALUE_CHARS: usize = 200;
/// Most claims that are shown.
const MAX_CLAIMS: usize = 60;

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// Its value, cut.
    pub value: String,
    /// What it means here; empty for one that is not known.
    pub meaning: &'static str,
}

/// Name and meaning of the claims that matter, in the order in which they are shown.
const KNOWN: &[(&str, &str)] = &[
    ("aud", "What the token is for: only this resource takes it."),
    ("iss", "Who issued it: Entra, for this tenant."),
    ("tid", "The tenant."),
    ("idtyp", "Whether it stands for a user or for an application alone."),
    ("oid", "Object id in Entra of whom it stands for: the agent user, unless it is another kind of token."),
    ("upn", "User principal name of whom it stands for."),
    ("unique_name", "The same name, as older tokens write it."),
    ("preferred_username", "The same name, as newer tokens write it."),
    ("name", "Display name of whom it stands for."),
    ("sub", "The same as this resource knows it; another one for each resource."),
    ("appid", "The application that acts: here the agent identity."),
    ("azp", "The application that acts: here the agent identity."),
    ("app_displayname", "Display name of the application."),
    ("appidacr", "How the application proved itself: 1 by a secret, 2 by a certificate or assertion."),
    ("azpacr", "How the application proved itself: 1 by a secret, 2 by a certificate or assertion."),
    ("xms_par_app_azp", "The blueprint that the agent identity belongs to; for audit, never a right."),
    ("scp", "What the application may do as this user."),
    ("roles", "What the application may do by itself; an agent user's token has none."),
    ("xms_act_fct", "Kinds of the acting application; 11 is an agent identity."),
    ("xms_sub_fct", "Kinds of the user; 13 is an agent user, 11 an agent identity alone."),
    ("xms_idrel", "The user's relation to the tenant; 1 is a member, 5 a guest."),
    ("acr", "0: no strong sign-in. An agent user cannot answer a prompt."),
    ("amr", "How a person signed in; an agent user's token has none."),
    ("iat", "Issued at; often dated back five minutes."),
    ("nbf", "Not good before."),
    ("exp", "Good until. A new one is asked for five minutes earlier."),
    ("uti", "The token's own id: find it by this in Entra's sign-in log."),
    ("sid", "The session, to find related sign-ins."),
    ("ver", "Form of the token: 1.0 or 2.0."),
];
/// Claims that hold an instant, in seconds since 1970.
const INSTANTS: [&str; 3] = ["iat", "nbf", "exp"];

/// The claims, those that are known first.
pub(super) fn explain(claims: &Map<String, Value>) -> Vec<Claim> {
    let known = KNOWN.iter().filter_map(|(name, meaning)| {
        let value = shown(name, claims.get(*name)?);
        Some(Claim { name: (*name).to_owned(), value, meaning })
    });
    let rest = claims.iter().filter(|(name, _)| KNOWN.iter().all(|(known, _)| known != name));
    let rest = rest.map(|(name, value)| Claim {
        name: plain(name, MAX_VALUE_CHARS),
        value: shown(name, value),
        meaning: "",
    });
    known.chain(rest).take(MAX_CLAIMS).collect()
}

fn shown(name: &str, value: &Value) -> String {
    let instant = value.as_i64().filter(|_| INSTANTS.contains(&name));
    let text = match (instant.and_then(|second| Timestamp::from_second(second).ok()), value) {
        (Some(instant), _) => instant.to_string(),
        (None, Value::String(text)) => text.clone(),
        (None, other) => other.to_string(),
    };
    plain(&text, MAX_VALUE_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn known_claims_come_first_with_their_meaning_and_instants_are_readable() {
        let claims = json!({"zzz": [1], "exp": 1_800_000_000, "aud": "x", "uti": "eyJ".repeat(20)});
        let shown = explain(claims.as_object().unwrap());
        let names: Vec<&str> = shown.iter().map(|claim| claim.name.as_str()).collect();
        assert_eq!(names, ["aud", "exp", "uti", "zzz"]);
        assert_eq!(shown[1].value, "2027-01-15T08:00:00Z");
        assert_eq!((shown[2].value.as_str(), shown[3].value.as_str()), ("[token]", "[1]"));
        assert!(shown[0].meaning.ends_with('.') && shown[3].meaning.is_empty());
    }
}
