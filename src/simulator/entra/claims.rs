//! The claims of each kind of token (TOKENS.md §2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::credential::Client;
use super::directory::{Application, Directory, Kind, User, same};
use super::seed::{EXCHANGE_ID, GRAPH_ID};
use crate::simulator::tokens::{
    AUDIENCE_COGNITIVE_SERVICES, AUDIENCE_GRAPH, ISSUER_V1, ISSUER_V2, TENANT_ID,
};

/// Tokens are dated back by this, in seconds, against clocks that run behind.
const DATED_BACK_SECONDS: i64 = 300;

/// A token's claims.
pub type Claims = Map<String, Value>;

fn object(value: Value) -> Claims {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn join(mut first: Claims, second: Value) -> Claims {
    first.extend(object(second));
    first
}

/// Audience, issuer and times; `version` is 1 or 2.
fn frame(version: u8, audience: &str, now: Timestamp, life: i64) -> Claims {
    let from = now.as_second() - DATED_BACK_SECONDS;
    object(json!({
        "aud": audience, "iss": if version == 2 { ISSUER_V2 } else { ISSUER_V1 },
        "iat": from, "nbf": from, "exp": now.as_second() + life,
        "tid": TENANT_ID, "ver": if version == 2 { "2.0" } else { "1.0" },
    }))
}

/// A GUID as the path of an exchange token's subject writes it: the bytes of .NET's order in base64url.
pub fn packed(id: &str) -> String {
    let id = uuid::Uuid::parse_str(id).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(id.to_bytes_le())
}

/// The subject of a token for `child`, asked for by the blueprint `parent`.
pub fn exchange_subject(parent: &str, child: &str) -> String {
    format!("/eid1/c/pub/t/{}/a/{}/{child}", packed(TENANT_ID), packed(parent))
}

/// T1: the blueprint's token for one agent identity.
pub fn blueprint_exchange(client: &Client, child: &str, now: Timestamp, life: i64) -> Claims {
    let principal = &client.principal;
    join(
        frame(2, EXCHANGE_ID, now, life),
        json!({
            "azp": principal.app_id, "azpacr": client.proof.class(), "idtyp": "app", "oid": principal.id,
            "sub": exchange_subject(&principal.app_id, child),
            "xms_act_fct": "3 9", "xms_ficinfo": "CAAQABgAIAAoAjAA", "xms_idrel": "7 26", "xms_sub_fct": "3 9",
        }),
    )
}

/// T2: the agent identity's exchange token.
pub fn agent_exchange(client: &Client, parent: &str, now: Timestamp, life: i64) -> Claims {
    let id = &client.principal.id;
    join(
        frame(2, EXCHANGE_ID, now, life),
        json!({
            "azp": client.principal.app_id, "azpacr": "2", "idtyp": "app", "oid": id, "sub": id,
            "xms_act_fct": "3 9 11", "xms_ficinfo": "CAAQABgAIAAoAzAAOAE", "xms_idrel": "14 7",
            "xms_par_app_azp": parent, "xms_sub_fct": "9 3 11",
        }),
    )
}

/// The audience of tokens for a resource, as that resource knows itself.
pub fn audience(resource: &Application) -> String {
    match resource.identifier_uris.first() {
        _ if same(&resource.app_id, GRAPH_ID) => AUDIENCE_GRAPH.to_owned(),
        Some(uri) if same(uri, AUDIENCE_COGNITIVE_SERVICES) => uri.clone(),
        Some(uri) if !resource.first_party && resource.token_version != 2 => uri.clone(),
        _ => resource.app_id.clone(),
    }
}

/// The names of the client differ between the versions.
fn actor(client: &Client, version: u8) -> Claims {
    let (id, class) = (&client.principal.app_id, client.proof.class());
    let mut claims = match version {
        2 => object(json!({"azp": id, "azpacr": class})),
        _ => object(json!({"appid": id, "appidacr": class, "app_displayname": client.principal.name,
            "idp": ISSUER_V1})),
    };
    if let Kind::AgentIdentity(parent) = &client.principal.kind {
        claims.insert("xms_par_app_azp".into(), json!(parent));
    }
    claims
}

/// An application's own token.
pub fn application(
    client: &Client,
    resource: &Application,
    roles: &[&str],
    now: Timestamp,
    life: i64,
) -> Claims {
    let version = resource.token_version;
    let agent = matches!(client.principal.kind, Kind::AgentIdentity(_));
    let (act, sub, relation) = if agent { ("3 11 9", "11 3 9", "28 7") } else { ("3 9", "3 9", "7 26") };
    let id = &client.principal.id;
    let claims = join(frame(version, &audience(resource), now, life), Value::Object(actor(client, version)));
    join(
        claims,
        json!({
            "idtyp": "app", "oid": id, "sub": id, "roles": roles,
            "xms_act_fct": act, "xms_sub_fct": sub, "xms_idrel": relation,
        }),
    )
}

/// A user's token: the agent user's, or a person's with or without an agent.
pub fn user(
    client: &Client,
    user: &User,
    resource: &Application,
    scope: &str,
    now: Timestamp,
    life: i64,
) -> Claims {
    let version = resource.token_version;
    let agent = matches!(client.principal.kind, Kind::AgentIdentity(_));
    let (act, sub, relation) = match (&user.parent, agent) {
        (Some(_), _) => ("3 11 9", "3 13", "1 32"),
        (None, true) => ("3 9 11", "3 12", "1 12"),
        (None, false) => ("3 9", "3 12", "1 12"),
    };
    let mut claims =
        join(frame(version, &audience(resource), now, life), Value::Object(actor(client, version)));
    claims.extend(object(json!({
        "idtyp": "user", "name": user.name, "oid": user.id, "scp": scope,
        "sub": pairwise(&user.id, &resource.app_id),
        "xms_act_fct": act, "xms_sub_fct": sub, "xms_idrel": relation,
    })));
    if version == 2 {
        claims.insert("preferred_username".into(), json!(user.upn));
    } else {
        claims.extend(object(json!({"acct": 0, "unique_name": user.upn, "upn": user.upn})));
        // An agent user has no password and no second factor: rules that want one cannot be met.
        match user.parent {
            Some(_) => claims.insert("acr".into(), json!("0")),
            None => claims.insert("acr".into(), json!("1")),
        };
    }
    if user.parent.is_none() {
        claims.insert("amr".into(), json!(["pwd", "mfa"]));
    }
    claims
}

/// An id token for the page at which a person signs in.
pub fn id_token(
    client: &Client,
    user: &User,
    nonce: Option<&str>,
    directory: &Directory,
    base: &str,
    now: Timestamp,
    life: i64,
) -> Claims {
    let app_id = &client.principal.app_id;
    let mut claims = join(
        frame(2, app_id, now, life),
        json!({"oid": user.id, "sub": pairwise(&user.id, app_id), "name": user.name,
            "preferred_username": user.upn, "email": user.upn}),
    );
    if let Some(nonce) = nonce {
        claims.insert("nonce".into(), json!(nonce));
    }
    add_groups(&mut claims, user, directory, base);
    claims
}

/// The groups of a person, as applications get them that are registered for group claims: the client
/// for sign-in in its id tokens, the blueprint in its access tokens.
pub fn add_groups(claims: &mut Claims, user: &User, directory: &Directory, base: &str) {
    if user.overage {
        // More than 200 groups: the token only says where to ask.
        let endpoint = format!("{base}/v1.0/users/{}/getMemberObjects", user.id);
        claims.insert("_claim_names".into(), json!({"groups": "src1"}));
        claims.insert("_claim_sources".into(), json!({"src1": {"endpoint": endpoint}}));
    } else {
        let groups: Vec<&str> = directory.groups_of(&user.id).iter().map(|group| group.id.as_str()).collect();
        claims.insert("groups".into(), json!(groups));
    }
}

/// A person's id that is another one for every application.
fn pairwise(user: &str, application: &str) -> String {
    let text = format!("{} {}", user.to_ascii_lowercase(), application.to_ascii_lowercase());
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_of_an_exchange_token_is_that_of_the_real_one() {
        // Checked against two real tokens in TOKENS.md §2.1, with its fixture ids.
        assert_eq!(
            exchange_subject("22222222-bbbb-4bbb-8bbb-222222222222", "44444444-dddd-4ddd-8ddd-444444444444"),
            "/eid1/c/pub/t/EREREaqqqkqKqhEREREREQ/a/IiIiIru7u0uLuyIiIiIiIg/44444444-dddd-4ddd-8ddd-444444444444"
        );
    }
}
