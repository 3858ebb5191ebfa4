//! What Entra puts into tokens and says in refusals, for the simulated principals.

use serde_json::{Map, Value, json};

use crate::simulator::tokens::{AGENT_IDENTITY_ID, AGENT_USER_ID, AGENT_USER_UPN, BLUEPRINT_ID, TENANT_ID};

const INVALID_CLIENT: &str = "A configuration issue is preventing authentication - check the error message from the \
    server for details. You can modify the configuration in the application registration portal. See \
    https://aka.ms/msal-net-invalid-client for details.  Original exception: ";

/// An Entra error as the library passes it on in `detail`.
pub fn refusal(code: u32, now: jiff::Timestamp) -> String {
    let (invalid_client, words) = words(code);
    let stamp = now.strftime("%Y-%m-%d %H:%M:%SZ");
    let (trace, correlation) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let prefix = if invalid_client { INVALID_CLIENT } else { "" };
    format!(
        "{prefix}AADSTS{code}: {words} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}"
    )
}

/// Whether Entra calls it `invalid_client`, and its words.
fn words(code: u32) -> (bool, String) {
    let words = match code {
        65_001 => format!(
            "The user or administrator has not consented to use the application with ID '{AGENT_IDENTITY_ID}' \
             named 'ado-coworker'. Send an interactive authorization request for this user and resource."
        ),
        7_000_215 => format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
             value, not the client secret ID, for a secret added to app '{BLUEPRINT_ID}'."
        ),
        7_000_222 => format!("The provided client secret keys for app '{BLUEPRINT_ID}' are expired."),
        700_016 => format!("Application with identifier was not found in the directory '{TENANT_ID}'."),
        7_000_112 => format!("Application '{AGENT_IDENTITY_ID}' is disabled."),
        50_034 => format!("The user account does not exist in the directory '{TENANT_ID}'."),
        50_057 => "The user account is disabled.".to_owned(),
        50_105 => "The signed in user is not assigned to a role for the application.".to_owned(),
        53_003 => "Access has been blocked by Conditional Access policies.".to_owned(),
        50_076 => "Multi-factor authentication is required by an administrator's policy.".to_owned(),
        90_002 => "Tenant not found. Check that the tenant id is right.".to_owned(),
        500_011 => "The resource principal was not found in the tenant.".to_owned(),
        _ => "The request was refused.".to_owned(),
    };
    let invalid_client = matches!(
        code,
        7_000_215 | 7_000_222 | 7_000_216 | 7_000_218 | 70_021 | 700_211..=700_229 | 700_024 | 700_027
    );
    (invalid_client, words)
}

/// The claim as text, or nothing.
pub fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> &'a str {
    claims.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn common(agent: bool) -> Map<String, Value> {
    let app = if agent { AGENT_IDENTITY_ID } else { BLUEPRINT_ID };
    let mut claims = Map::from_iter([
        ("ver".to_owned(), json!("1.0")),
        ("appid".to_owned(), json!(app)),
        ("appidacr".to_owned(), json!(if agent { "2" } else { "1" })),
        ("app_displayname".to_owned(), json!("ado-coworker")),
        ("xms_act_fct".to_owned(), json!(if agent { "3 11 9" } else { "3 9" })),
    ]);
    if agent {
        claims.insert("xms_par_app_azp".to_owned(), json!(BLUEPRINT_ID));
    }
    claims
}

fn with(mut claims: Map<String, Value>, more: Value) -> Map<String, Value> {
    if let Value::Object(more) = more {
        claims.extend(more);
    }
    claims
}

/// The claims of the blueprint or the agent identity acting as an application.
pub fn app_claims(agent: bool) -> Map<String, Value> {
    let id = if agent { AGENT_IDENTITY_ID } else { BLUEPRINT_ID };
    let facets = if agent { "11 3 9" } else { "3 9" };
    with(
        common(agent),
        json!({"idtyp": "app", "oid": id, "sub": id, "roles": [], "xms_sub_fct": facets, "xms_idrel": "28 7"}),
    )
}

/// The claims of the agent user.
pub fn agent_user_claims() -> Map<String, Value> {
    with(
        common(true),
        json!({"acr": "0", "idtyp": "user", "name": "ado-coworker", "oid": AGENT_USER_ID,
            "sub": "pairwise-of-ado-coworker", "scp": "user_impersonation", "unique_name": AGENT_USER_UPN,
            "upn": AGENT_USER_UPN, "xms_sub_fct": "3 13", "xms_idrel": "1 32"}),
    )
}

/// The claims of a person for whom the agent acts.
pub fn on_behalf_claims(person: &Map<String, Value>, agent: bool) -> Map<String, Value> {
    with(
        common(agent),
        json!({"acr": "1", "idtyp": "user", "name": person.get("name"), "oid": person.get("oid"),
            "sub": format!("pairwise-of-{}", text(person, "oid")), "scp": "user_impersonation",
            "unique_name": person.get("upn"), "upn": person.get("upn"), "xms_sub_fct": "3 12", "xms_idrel": "1 12"}),
    )
}
