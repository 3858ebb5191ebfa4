//! Applications and blueprints, with their secrets and federated credentials (SETUP.md §3.1–3.4).

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Fault, Outcome, people, room, unknown};
use crate::simulator::entra::directory::{Application, Federated, MAX_FEDERATED, Secret, same};
use crate::simulator::entra::{State, random_text};

/// Most secrets of one application.
const MAX_SECRETS: usize = 20;
/// Life of a secret whose end is not given, as in the real service: two years.
const SECRET_LIFE: SignedDuration = SignedDuration::from_hours(2 * 365 * 24);
const READ: [&str; 4] = [
    "Directory.Read.All",
    "Application.Read.All",
    "AgentIdentityBlueprint.ReadWrite.All",
    "AgentIdentityBlueprint.Create",
];
const CREDENTIALS: [&str; 2] =
    ["AgentIdentityBlueprint.AddRemoveCreds.All", "AgentIdentityBlueprint.ReadWrite.All"];
const PROPERTIES: [&str; 2] =
    ["AgentIdentityBlueprint.UpdateAuthProperties.All", "AgentIdentityBlueprint.ReadWrite.All"];

pub(super) fn answer(state: &mut State, call: &Call<'_>, path: &[&str]) -> Outcome {
    match (call.method, path) {
        ("GET", []) => {
            call.need(&READ)?;
            let seen =
                state.directory.applications.iter().filter(|app| !app.first_party && app.since <= call.now);
            call.list(seen.map(shown))
        }
        ("POST", []) => create(state, call),
        ("GET", [id]) => {
            call.need(&READ)?;
            Ok((StatusCode::OK, shown(find(state, id, call.now)?)))
        }
        ("PATCH", [id]) => change(state, call, id),
        ("DELETE", [id]) => {
            call.need(&["AgentIdentityBlueprint.DeleteRestore.All", "AgentIdentityBlueprint.ReadWrite.All"])?;
            let app_id = find(state, id, call.now)?.app_id.clone();
            state.directory.applications.retain(|app| app.app_id != app_id);
            state.directory.principals.retain(|principal| principal.app_id != app_id);
            Ok((StatusCode::NO_CONTENT, Value::Null))
        }
        ("GET", [id, "owners"]) => people(state, call, &find(state, id, call.now)?.owners),
        ("GET", [id, "sponsors"]) => people(state, call, &find(state, id, call.now)?.sponsors),
        ("POST", [id, "addPassword"]) => add_secret(state, call, id),
        ("POST", [id, "removePassword"]) => {
            call.need(&CREDENTIALS)?;
            let key = call.need_text("keyId")?;
            let secrets = &mut find_mut(state, id, call.now)?.secrets;
            let before = secrets.len();
            secrets.retain(|own| !same(&own.id, &key));
            if secrets.len() == before {
                Err(Fault::missing(&key))
            } else {
                Ok((StatusCode::NO_CONTENT, Value::Null))
            }
        }
        (method, [id, "federatedIdentityCredentials", rest @ ..]) => federated(state, call, method, id, rest),
        _ => unknown(call),
    }
}

fn find<'a>(state: &'a State, id: &str, now: Timestamp) -> Result<&'a Application, Fault> {
    let found = state.directory.application(id, now).filter(|app| !app.first_party);
    found.ok_or_else(|| Fault::missing(id))
}

fn find_mut<'a>(state: &'a mut State, id: &str, now: Timestamp) -> Result<&'a mut Application, Fault> {
    let found = state.directory.application_mut(id, now).filter(|app| !app.first_party);
    found.ok_or_else(|| Fault::missing(id))
}

fn create(state: &mut State, call: &Call<'_>) -> Outcome {
    let blueprint = call.kind().as_deref() == Some("agentidentityblueprint");
    call.need(&["AgentIdentityBlueprint.Create", "AgentIdentityBlueprint.ReadWrite.All"])?;
    room(&state.directory.applications)?;
    let name = call.need_text("displayName")?;
    let (owners, sponsors) = (call.bound(state, "owners")?, call.bound(state, "sponsors")?);
    if blueprint && sponsors.is_empty() {
        return Err(Fault::bad("No sponsor specified. Please provide at least one sponsor."));
    }
    let app_id = Uuid::new_v4().to_string();
    let application = Application {
        id: if blueprint { app_id.clone() } else { Uuid::new_v4().to_string() },
        app_id,
        name,
        blueprint,
        token_version: 1,
        owners,
        sponsors,
        since: state.seen_from(call.now),
        ..Application::default()
    };
    let answer = shown(&application);
    state.directory.applications.push(application);
    Ok((StatusCode::CREATED, answer))
}

fn change(state: &mut State, call: &Call<'_>, id: &str) -> Outcome {
    call.need(&PROPERTIES)?;
    let application = find_mut(state, id, call.now)?;
    if let Some(name) = call.text("displayName")? {
        application.name = name;
    }
    let texts = |value: &Value| -> Option<Vec<String>> {
        value.as_array()?.iter().map(|one| one.as_str().map(str::to_owned)).collect()
    };
    if let Some(uris) = call.body.get("identifierUris") {
        let uris = texts(uris)
            .ok_or_else(|| Fault::bad("Invalid value specified for property 'identifierUris'."))?;
        application.identifier_uris = uris;
    }
    if let Some(uris) =
        call.body.pointer("/publicClient/redirectUris").or(call.body.pointer("/spa/redirectUris"))
    {
        application.redirect_uris =
            texts(uris).ok_or_else(|| Fault::bad("Invalid value specified for property 'redirectUris'."))?;
    }
    if let Some(scopes) = call.body.pointer("/api/oauth2PermissionScopes").and_then(Value::as_array) {
        let pair = |scope: &Value| {
            let text = |name: &str| scope.get(name)?.as_str().map(str::to_owned);
            Some((text("id")?, text("value")?))
        };
        let scopes: Option<Vec<_>> = scopes.iter().map(pair).collect();
        application.scopes =
            scopes.ok_or_else(|| Fault::bad("Each permission scope needs 'id' and 'value'."))?;
    }
    match call.body.pointer("/api/requestedAccessTokenVersion").map(Value::as_u64) {
        Some(Some(2)) => application.token_version = 2,
        Some(_) => application.token_version = 1,
        None => {}
    }
    Ok((StatusCode::NO_CONTENT, Value::Null))
}

fn add_secret(state: &mut State, call: &Call<'_>, id: &str) -> Outcome {
    if state
        .directory
        .principal(id, call.now)
        .is_some_and(|own| matches!(own.kind, crate::simulator::entra::directory::Kind::AgentIdentity(_)))
    {
        return Err(super::principals::no_credentials());
    }
    call.need(&CREDENTIALS)?;
    let since = state.seen_from(call.now);
    let text = random_text().map_err(|error| {
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", error.to_string())
    })?;
    let given = call.body.get("passwordCredential").cloned().unwrap_or_default();
    let name = given.get("displayName").and_then(Value::as_str).unwrap_or_default().to_owned();
    let default_end = call.now.checked_add(SECRET_LIFE).unwrap_or(Timestamp::MAX);
    let ends = match given.get("endDateTime").and_then(Value::as_str) {
        Some(end) => {
            end.parse().map_err(|_| Fault::bad("Invalid value specified for property 'endDateTime'."))?
        }
        None => default_end,
    };
    let application = find_mut(state, id, call.now)?;
    if application.secrets.len() >= MAX_SECRETS {
        return Err(Fault::bad("The application has too many password credentials; remove one."));
    }
    let secret = Secret::new(Uuid::new_v4().to_string(), name, &text, ends, since);
    let mut answer = shown_secret(&secret);
    answer["secretText"] = json!(text);
    application.secrets.push(secret);
    Ok((StatusCode::OK, answer))
}

fn federated(state: &mut State, call: &Call<'_>, method: &str, id: &str, rest: &[&str]) -> Outcome {
    if method == "GET" {
        call.need(&READ)?;
    } else {
        call.need(&CREDENTIALS)?;
    }
    let since = state.seen_from(call.now);
    let application = find_mut(state, id, call.now)?;
    match (method, rest) {
        ("GET", []) => call.list(application.federated.iter().map(shown_federated)),
        ("POST", []) => {
            let audiences =
                call.body.get("audiences").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let [audience] = audiences else {
                return Err(Fault::bad("'audiences' must have exactly one value."));
            };
            let audience = audience.as_str().unwrap_or_default().to_owned();
            let (name, issuer, subject) =
                (call.need_text("name")?, call.need_text("issuer")?, call.need_text("subject")?);
            if application.federated.len() >= MAX_FEDERATED {
                return Err(Fault::bad("An application can have at most 20 federated identity credentials."));
            }
            let twin =
                |own: &&Federated| own.name == name || (own.issuer == issuer && own.subject == subject);
            if application.federated.iter().any(|own| twin(&own)) {
                return Err(Fault::conflict(
                    "A federated identity credential with this name, or this issuer and subject, exists already.",
                ));
            }
            let entry = Federated { id: Uuid::new_v4().to_string(), name, issuer, subject, audience, since };
            let answer = shown_federated(&entry);
            application.federated.push(entry);
            Ok((StatusCode::CREATED, answer))
        }
        ("DELETE", [credential]) => {
            let before = application.federated.len();
            application.federated.retain(|own| !same(&own.id, credential) && own.name != *credential);
            match application.federated.len() == before {
                true => Err(Fault::missing(credential)),
                false => Ok((StatusCode::NO_CONTENT, Value::Null)),
            }
        }
        _ => unknown(call),
    }
}

/// A secret without its text.
fn shown_secret(secret: &Secret) -> Value {
    json!({"keyId": secret.id, "displayName": secret.name, "hint": secret.hint, "secretText": null,
        "startDateTime": secret.since.to_string(), "endDateTime": secret.ends.to_string()})
}

fn shown_federated(own: &Federated) -> Value {
    json!({"id": own.id, "name": own.name, "issuer": own.issuer, "subject": own.subject,
        "audiences": [own.audience], "description": null})
}

fn shown(application: &Application) -> Value {
    let scopes: Vec<Value> = application
        .scopes
        .iter()
        .map(|(id, value)| {
            json!({"id": id, "value": value,
        "type": "User", "isEnabled": true})
        })
        .collect();
    let mut answer = json!({
        "id": application.id, "appId": application.app_id, "displayName": application.name,
        "identifierUris": application.identifier_uris, "signInAudience": "AzureADMyOrg",
        "createdDateTime": application.since.to_string(),
        "api": {"requestedAccessTokenVersion": (application.token_version == 2).then_some(2),
            "oauth2PermissionScopes": scopes},
        "publicClient": {"redirectUris": application.redirect_uris},
        "passwordCredentials": application.secrets.iter().map(shown_secret).collect::<Vec<_>>(),
        "keyCredentials": [],
    });
    if application.blueprint {
        answer["@odata.type"] = json!("#microsoft.graph.agentIdentityBlueprint");
    }
    answer
}
