//! Delegated grants and conditional access policies (SETUP.md §3.9 and §6).

use axum::http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Fault, Outcome, room, unknown};
use crate::simulator::entra::State;
use crate::simulator::entra::directory::{Grant, Policy, Target, same};

const READ: [&str; 2] = ["DelegatedPermissionGrant.ReadWrite.All", "Directory.Read.All"];
const WRITE: [&str; 1] = ["DelegatedPermissionGrant.ReadWrite.All"];
/// Scopes that no agent may be granted (SETUP.md §3.9).
const BLOCKED: [&str; 4] = [
    "Application.ReadWrite.All",
    "RoleManagement.ReadWrite.All",
    "User.ReadWrite.All",
    "Directory.AccessAsUser.All",
];

pub(super) fn answer(state: &mut State, call: &Call<'_>, path: &[&str]) -> Outcome {
    call.need(if call.method == "GET" { &READ } else { &WRITE })?;
    match (call.method, path) {
        ("GET", []) => {
            call.list(state.directory.grants.iter().filter(|own| own.since <= call.now).map(shown))
        }
        ("POST", []) => create(state, call),
        ("GET", [id]) => {
            let found = state.directory.grants.iter().find(|own| own.id == *id && own.since <= call.now);
            found.map(|own| (StatusCode::OK, shown(own))).ok_or_else(|| Fault::missing(id))
        }
        ("PATCH", [id]) => {
            let scope = call.need_text("scope")?;
            let found = state.directory.grants.iter_mut().find(|own| own.id == *id && own.since <= call.now);
            found.ok_or_else(|| Fault::missing(id))?.scope = scope;
            Ok((StatusCode::NO_CONTENT, Value::Null))
        }
        ("DELETE", [id]) => {
            let before = state.directory.grants.len();
            state.directory.grants.retain(|own| own.id != *id);
            match state.directory.grants.len() == before {
                true => Err(Fault::missing(id)),
                false => Ok((StatusCode::NO_CONTENT, Value::Null)),
            }
        }
        _ => unknown(call),
    }
}

fn create(state: &mut State, call: &Call<'_>) -> Outcome {
    let directory = &state.directory;
    room(&directory.grants)?;
    let (client, resource, scope) =
        (call.need_text("clientId")?, call.need_text("resourceId")?, call.need_text("scope")?);
    let owner = |id: &str| directory.principal(id, call.now).ok_or_else(|| Fault::missing(id));
    let (client, resource) = (owner(&client)?, owner(&resource)?);
    let user = match (call.need_text("consentType")?.as_str(), call.text("principalId")?) {
        ("Principal", Some(id)) => {
            let known = directory.user(&id, call.now).filter(|user| same(&user.id, &id));
            Some(known.ok_or_else(|| Fault::missing(&id))?.id.clone())
        }
        ("AllPrincipals", None) => None,
        _ => return Err(Fault::bad("Invalid combination of 'consentType' and 'principalId'.")),
    };
    let known = directory
        .application(&resource.app_id, call.now)
        .map(|app| app.scopes.as_slice())
        .unwrap_or_default();
    for one in scope.split_whitespace() {
        if BLOCKED.contains(&one) {
            return Err(Fault::bad(format!("The permission '{one}' cannot be granted to an agent.")));
        }
        if !known.iter().any(|scope| same(&scope.1, one)) {
            return Err(Fault::bad(format!("The scope '{one}' is not offered by the resource.")));
        }
    }
    let twin =
        |own: &&Grant| same(&own.client, &client.id) && same(&own.resource, &resource.id) && own.user == user;
    if directory.grants.iter().any(|own| twin(&own)) {
        return Err(Fault::conflict("Permission entry already exists."));
    }
    let made = Grant {
        id: Uuid::new_v4().simple().to_string(),
        client: client.id.clone(),
        resource: resource.id.clone(),
        user,
        scope,
        since: state.seen_from(call.now),
    };
    let answer = shown(&made);
    state.directory.grants.push(made);
    Ok((StatusCode::CREATED, answer))
}

fn shown(own: &Grant) -> Value {
    let kind = if own.user.is_some() { "Principal" } else { "AllPrincipals" };
    json!({"id": own.id, "clientId": own.client, "consentType": kind, "principalId": own.user,
        "resourceId": own.resource, "scope": own.scope})
}

/// Conditional access: read, made and deleted; the rule itself is in the token endpoint.
pub(super) fn policies(state: &mut State, call: &Call<'_>, path: &[&str]) -> Outcome {
    match (call.method, path) {
        ("GET", []) => {
            call.need(&["Policy.Read.All"])?;
            call.list(state.directory.policies.iter().map(|own| own.body.clone()))
        }
        ("POST", []) => {
            call.need(&["Policy.ReadWrite.ConditionalAccess"])?;
            room(&state.directory.policies)?;
            let policy = read(call)?;
            let answer = policy.body.clone();
            state.directory.policies.push(policy);
            Ok((StatusCode::CREATED, answer))
        }
        ("DELETE", [id]) => {
            call.need(&["Policy.ReadWrite.ConditionalAccess"])?;
            let before = state.directory.policies.len();
            state.directory.policies.retain(|own| own.id != *id);
            match state.directory.policies.len() == before {
                true => Err(Fault::missing(id)),
                false => Ok((StatusCode::NO_CONTENT, Value::Null)),
            }
        }
        _ => unknown(call),
    }
}

fn read(call: &Call<'_>) -> Result<Policy, Fault> {
    call.need_text("displayName")?;
    let enabled = match call.need_text("state")?.as_str() {
        "enabled" => true,
        "disabled" | "enabledForReportingButNotEnforced" => false,
        _ => return Err(Fault::bad("Invalid value specified for property 'state' of resource.")),
    };
    let texts = |pointer: &str| -> Vec<&str> {
        let all = call.body.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        all.iter().filter_map(Value::as_str).collect()
    };
    let controls = texts("/grantControls/builtInControls");
    let multifactor = controls == ["mfa"];
    if !multifactor && controls != ["block"] {
        return Err(Fault::bad("Only the grant controls 'block' and 'mfa' are offered here."));
    }
    let agents = texts("/conditions/clientApplications/includeAgentIdServicePrincipals");
    let agents = agents.iter().map(|one| match *one {
        "All" => Target::AllAgents,
        id => Target::One(id.to_owned()),
    });
    let users = texts("/conditions/users/includeUsers");
    let users = users.iter().map(|one| match *one {
        "AllAgentIdUsers" => Target::AllAgentUsers,
        id => Target::One(id.to_owned()),
    });
    let targets: Vec<Target> = agents.chain(users).collect();
    if targets.is_empty() {
        return Err(Fault::bad("The policy names neither agents nor users."));
    }
    let id = Uuid::new_v4().to_string();
    let mut body = call.body.clone();
    body["id"] = json!(id);
    Ok(Policy { id, targets, multifactor, enabled, body })
}
