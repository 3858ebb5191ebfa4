//! Masking of JSON documents by their structure, before any rule reads their texts.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::judge::{self, Strength, Style};
use super::session::{Origin, Session};

/// Deepest nesting that is masked; what lies deeper is replaced by words.
pub const MAX_JSON_DEPTH: usize = 64;

/// Parameters of a service connection that are not secret (Azure DevOps, `authorization.parameters`).
const OPEN_PARAMETERS: &[&str] = &[
    "tenantid",
    "serviceprincipalid",
    "authenticationtype",
    "scheme",
    "scope",
    "role",
    "registry",
    "registrytype",
    "loginserver",
    "username",
    "accesstokentype",
    "azuretenantid",
    "workloadidentityfederationsubject",
    "workloadidentityfederationissuer",
    "workloadidentityfederationissuertype",
    "managedidentityid",
    "isduplicate",
    "appobjectid",
    "azurespnroleassignmentid",
    "azurespnpermissions",
];

/// Names whose value is secret whatever it looks like.
const SECRET_NAMES: &[&str] = &[
    "authorization",
    "proxyauthorization",
    "cookie",
    "setcookie",
    "xapikey",
    "ocpapimsubscriptionkey",
    "password",
    "passwd",
    "pwd",
    "clientsecret",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "privatekey",
    "apikey",
    "apitoken",
    "accountkey",
    "connectionstring",
    "sastoken",
    "passphrase",
    "serviceprincipalkey",
    "nugetapikey",
    "authtoken",
    "ticket",
    "personalaccesstoken",
    "sharedaccesskey",
    "clientassertion",
];

type Counts = BTreeMap<String, u32>;

/// Masks `value` in place.
pub(super) fn mask(session: &Session, value: &mut Value, origin: &Origin, counts: &mut Counts) {
    walk(session, value, origin, counts, 0);
}

fn walk(session: &Session, value: &mut Value, origin: &Origin, counts: &mut Counts, depth: usize) {
    if depth > MAX_JSON_DEPTH {
        *value = Value::String(format!("[not shown: nested deeper than {MAX_JSON_DEPTH}]"));
        return;
    }
    match value {
        Value::String(text) => plain(session, text, origin, counts),
        Value::Array(items) => {
            for item in items {
                walk(session, item, origin, counts, depth + 1);
            }
        }
        Value::Object(map) => object(session, map, origin, counts, depth),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn object(
    session: &Session,
    map: &mut Map<String, Value>,
    origin: &Origin,
    counts: &mut Counts,
    depth: usize,
) {
    let secret_variable = map.get("isSecret").and_then(Value::as_bool).unwrap_or(false);
    let named = map.get("name").or_else(|| map.get("key")).and_then(Value::as_str).map(judge::plain);
    for (key, value) in map.iter_mut() {
        let name = judge::plain(key);
        if secret_variable && name == "value" {
            whole(session, value, "secret-variable", origin, counts, depth);
        } else if name == "parameters" || name == "authorization" {
            connection(session, &name, value, origin, counts, depth);
        } else if let (Value::String(text), true) = (&mut *value, secret_name(&name)) {
            // An empty value or words of a schema say more unmasked.
            if judge::reference(text) {
                plain(session, text, origin, counts);
            } else {
                hide(session, text, "secret-field", origin, counts);
            }
        } else if let Value::String(text) = value {
            // {"name": "DbPassword", "value": "…"}: the name of the value stands beside it.
            let speaker = if name == "value" { named.as_deref().unwrap_or(&name) } else { &name };
            let secret = judge::strength(speaker)
                .is_some_and(|s| s != Strength::Weak && judge::secret(s, text, Style::Quoted));
            if secret {
                hide(session, text, "named-secret", origin, counts)
            } else {
                plain(session, text, origin, counts)
            }
        } else {
            walk(session, value, origin, counts, depth + 1);
        }
    }
    keys(session, map, origin, counts);
}

fn secret_name(name: &str) -> bool {
    SECRET_NAMES.contains(&name)
}

/// `authorization.parameters` of a service connection, or the header of that name.
fn connection(
    session: &Session,
    name: &str,
    value: &mut Value,
    origin: &Origin,
    counts: &mut Counts,
    depth: usize,
) {
    if name == "authorization" {
        if let Value::String(text) = value {
            return hide(session, text, "authorization-header", origin, counts);
        }
        if let Some(Value::Object(parameters)) = value.get_mut("parameters") {
            for (key, parameter) in parameters.iter_mut() {
                if !OPEN_PARAMETERS.contains(&judge::plain(key).as_str()) {
                    whole(session, parameter, "service-connection", origin, counts, depth);
                }
            }
        }
    }
    walk(session, value, origin, counts, depth + 1);
}

/// Hides every text in `value`.
fn whole(
    session: &Session,
    value: &mut Value,
    class: &'static str,
    origin: &Origin,
    counts: &mut Counts,
    depth: usize,
) {
    match value {
        Value::String(text) => hide(session, text, class, origin, counts),
        Value::Number(number) => {
            let mut text = number.to_string();
            hide(session, &mut text, class, origin, counts);
            *value = Value::String(text);
        }
        Value::Array(_) | Value::Object(_) => {
            let mut text = value.to_string();
            hide(session, &mut text, class, origin, counts);
            *value = Value::String(text);
        }
        Value::Null | Value::Bool(_) => walk(session, value, origin, counts, depth + 1),
    }
}

fn hide(session: &Session, text: &mut String, class: &'static str, origin: &Origin, counts: &mut Counts) {
    // What is a placeholder already, or the dots that stand for a secret, stays.
    if text.is_empty() || text.starts_with(super::placeholder::OPEN) || text.bytes().all(|byte| byte == b'*')
    {
        return plain(session, text, origin, counts);
    }
    *text = session.issue(class, text, origin);
    *counts.entry(class.to_owned()).or_insert(0) += 1;
}

fn plain(session: &Session, text: &mut String, origin: &Origin, counts: &mut Counts) {
    let masked = session.mask_text(text, origin);
    for hit in masked.hits {
        *counts.entry(hit.class).or_insert(0) += hit.count;
    }
    *text = masked.text;
}

/// Masks names too; two that become equal are told apart by a number.
fn keys(session: &Session, map: &mut Map<String, Value>, origin: &Origin, counts: &mut Counts) {
    let changes =
        |key: &String| key.len() >= super::MIN_KNOWN_BYTES && session.mask_text(key, origin).text != *key;
    if !map.keys().any(changes) {
        return;
    }
    for (key, value) in std::mem::take(map) {
        let mut name = key;
        plain(session, &mut name, origin, counts);
        let mut number = 2;
        let mut unique = name.clone();
        while map.contains_key(&unique) {
            unique = format!("{name} ({number})");
            number += 1;
        }
        map.insert(unique, value);
    }
}
