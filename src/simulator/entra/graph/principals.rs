//! Service principals: of blueprints, agent identities, resources (SETUP.md §3.2, 3.5, 3.6, 3.8).

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Fault, Outcome, people, room, unknown};
use crate::simulator::entra::State;
use crate::simulator::entra::directory::{Assignment, Kind, Principal, same};
use crate::simulator::entra::seed::principal;

/// Most agent identities of one blueprint (SETUP.md §4).
const MAX_CHILDREN: usize = 250;
/// The names that the property of the blueprint has had (SETUP.md §3.5).
const PARENT_NAMES: [&str; 3] = ["agentIdentityBlueprintId", "agentIdentityBlueprintAppId", "agentAppId"];
const READ: [&str; 4] = [
    "Directory.Read.All",
    "Application.Read.All",
    "AgentIdentityBlueprintPrincipal.Create",
    "AgentIdentity.CreateAsManager",
];

pub(super) fn answer(state: &mut State, call: &Call<'_>, path: &[&str]) -> Outcome {
    match (call.method, path) {
        ("GET", []) => {
            call.need(&READ)?;
            let seen = state.directory.principals.iter().filter(|own| own.since <= call.now);
            let wanted = |own: &&Principal| match call.cast.as_deref() {
                Some("agentidentity") => matches!(own.kind, Kind::AgentIdentity(_)),
                Some("agentidentityblueprintprincipal") => own.kind == Kind::Blueprint,
                _ => true,
            };
            call.list(seen.filter(wanted).map(|own| shown(state, own)))
        }
        ("POST", []) => match call.kind().as_deref() {
            Some("agentidentity") => create_agent(state, call),
            other => create(state, call, other == Some("agentidentityblueprintprincipal")),
        },
        ("GET", [id]) => {
            call.need(&READ)?;
            Ok((StatusCode::OK, shown(state, find(state, id, call.now)?)))
        }
        ("PATCH", [id]) => change(state, call, id),
        ("DELETE", [id]) => {
            call.need(&["AgentIdentity.DeleteRestore.All", "AgentIdentityBlueprint.DeleteRestore.All"])?;
            let id = find(state, id, call.now)?.id.clone();
            state.directory.principals.retain(|own| own.id != id);
            state.directory.grants.retain(|grant| grant.client != id && grant.resource != id);
            Ok((StatusCode::NO_CONTENT, Value::Null))
        }
        ("GET", [id, "owners"]) => people(state, call, &find(state, id, call.now)?.owners),
        ("GET", [id, "sponsors"]) => people(state, call, &find(state, id, call.now)?.sponsors),
        (method, [id, "appRoleAssignments", rest @ ..]) => assignments(state, call, method, id, rest),
        ("POST", [id, "addPassword" | "addKey"]) => {
            let agent = matches!(find(state, id, call.now)?.kind, Kind::AgentIdentity(_));
            if agent { Err(no_credentials()) } else { unknown(call) }
        }
        _ => unknown(call),
    }
}

/// Agent identities hold no credentials of their own.
pub(super) fn no_credentials() -> Fault {
    let message = "Credentials are not supported on agent identities; add them to the blueprint.";
    Fault::new(StatusCode::BAD_REQUEST, "AgentIdentity_CredentialsNotSupported", message)
}

fn find<'a>(state: &'a State, id: &str, now: Timestamp) -> Result<&'a Principal, Fault> {
    // Graph takes servicePrincipals(appId='…') as well.
    let by_app = id.strip_prefix("appId='").and_then(|id| id.strip_suffix('\''));
    let found = match by_app {
        Some(app_id) => state.directory.principal_of(app_id, now),
        None => state.directory.principal(id, now),
    };
    found.ok_or_else(|| Fault::missing(id))
}

fn create(state: &mut State, call: &Call<'_>, blueprint: bool) -> Outcome {
    call.need(match blueprint {
        true => &["AgentIdentityBlueprintPrincipal.Create", "AgentIdentityBlueprint.ReadWrite.All"],
        false => &["AgentIdentityBlueprintPrincipal.Create", "Application.Read.All"],
    })?;
    room(&state.directory.principals)?;
    let app_id = call.need_text("appId")?;
    let application = state.directory.application(&app_id, call.now);
    let application = application.ok_or_else(|| match blueprint {
        true => Fault::new(
            StatusCode::BAD_REQUEST,
            "AgentBlueprintPrincipal_RequireAgentBlueprint",
            format!("The agent identity blueprint '{app_id}' does not exist."),
        ),
        false => Fault::bad(format!(
            "The appId '{app_id}' of the service principal does not reference a valid application object."
        )),
    })?;
    if state.directory.principals.iter().any(|own| same(&own.app_id, &app_id)) {
        return Err(Fault::conflict(format!(
            "The service principal cannot be created, since the appId '{app_id}' is in use."
        )));
    }
    let kind = if application.blueprint { Kind::Blueprint } else { Kind::Application };
    let since = state.seen_from(call.now);
    let made = principal(&Uuid::new_v4().to_string(), &application.app_id, &application.name, kind, since);
    let answer = shown(state, &made);
    state.directory.principals.push(made);
    Ok((StatusCode::CREATED, answer))
}

fn create_agent(state: &mut State, call: &Call<'_>) -> Outcome {
    let directory = &state.directory;
    let refuse = |status, code, message: &str| Err(Fault::new(status, code, message));
    let parent = PARENT_NAMES.iter().find_map(|name| call.body.get(name).and_then(Value::as_str));
    let parent =
        parent.ok_or_else(|| Fault::bad("A value is required for property 'agentIdentityBlueprintId'."))?;
    let own = directory.principal_of(&call.caller.application, call.now);
    if own.is_some_and(|own| matches!(own.kind, Kind::AgentIdentity(_))) {
        let code = "Error_AgentIdentitiesCreatingAgentIdentitiesNotAllowed";
        return refuse(StatusCode::FORBIDDEN, code, "Agent identities cannot create agent identities.");
    }
    call.need(&["AgentIdentity.CreateAsManager", "AgentIdentity.Create.All"])?;
    if call.caller.user.is_none() && !same(&call.caller.application, parent) {
        let code = "Error_AgentIdentitySelfCreateRequired";
        return refuse(StatusCode::FORBIDDEN, code, "A blueprint can create only its own agent identities.");
    }
    let Some(blueprint) = directory.principal_of(parent, call.now).filter(|own| own.kind == Kind::Blueprint)
    else {
        let code = "AgentIdentity_AgentBlueprintPrincipalDoesNotExist";
        let message = "The Agent Blueprint Principal for the Agent Blueprint does not exist.";
        return refuse(StatusCode::BAD_REQUEST, code, message);
    };
    let parent = blueprint.app_id.clone();
    let kind = Kind::AgentIdentity(parent);
    if directory.principals.iter().filter(|own| own.kind == kind).count() >= MAX_CHILDREN {
        let code = "AgentIdentity_LimitExceeded";
        return refuse(StatusCode::FORBIDDEN, code, "The blueprint has 250 agent identities already.");
    }
    room(&directory.principals)?;
    let sponsors = call.bound(state, "sponsors")?;
    if sponsors.is_empty() {
        return Err(Fault::bad("No sponsor specified. Please provide at least one sponsor."));
    }
    let id = Uuid::new_v4().to_string();
    let mut made = principal(&id, &id, &call.need_text("displayName")?, kind, state.seen_from(call.now));
    made.owners = call.bound(state, "owners")?;
    made.sponsors = sponsors;
    let answer = shown(state, &made);
    state.directory.principals.push(made);
    Ok((StatusCode::CREATED, answer))
}

fn change(state: &mut State, call: &Call<'_>, id: &str) -> Outcome {
    call.need(&["AgentIdentity.EnableDisable.All", "AgentIdentityBlueprint.ReadWrite.All"])?;
    let id = find(state, id, call.now)?.id.clone();
    let flag = |name: &str| match call.body.get(name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(Fault::bad(format!("Invalid value specified for property '{name}' of resource."))),
    };
    let (enabled, assignment, name) =
        (flag("accountEnabled")?, flag("appRoleAssignmentRequired")?, call.text("displayName")?);
    if let Some(own) = state.directory.principals.iter_mut().find(|own| own.id == id) {
        own.enabled = enabled.unwrap_or(own.enabled);
        own.assignment_required = assignment.unwrap_or(own.assignment_required);
        own.name = name.unwrap_or_else(|| own.name.clone());
    }
    Ok((StatusCode::NO_CONTENT, Value::Null))
}

fn assignments(state: &mut State, call: &Call<'_>, method: &str, id: &str, rest: &[&str]) -> Outcome {
    let id = find(state, id, call.now)?.id.clone();
    match (method, rest) {
        ("GET", []) => {
            call.need(&READ)?;
            let own =
                state.directory.assignments.iter().filter(|has| has.principal == id && has.since <= call.now);
            call.list(own.map(shown_assignment))
        }
        ("POST", []) => {
            call.need(&["AppRoleAssignment.ReadWrite.All"])?;
            room(&state.directory.assignments)?;
            let (principal, resource, role) =
                (call.need_text("principalId")?, call.need_text("resourceId")?, call.need_text("appRoleId")?);
            if !same(&principal, &id) {
                return Err(Fault::bad(
                    "'principalId' must be the object id of the service principal in the path.",
                ));
            }
            let owner = find(state, &resource, call.now)?;
            let known = state.directory.application(&owner.app_id, call.now);
            if !known.is_some_and(|app| app.roles.iter().any(|own| same(&own.0, &role))) {
                return Err(Fault::bad("Permission being assigned was not found on application."));
            }
            let twin = |has: &&Assignment| {
                same(&has.principal, &id) && same(&has.resource, &resource) && same(&has.role, &role)
            };
            if state.directory.assignments.iter().any(|has| twin(&has)) {
                return Err(Fault::bad("Permission being assigned already exists on the object."));
            }
            let since = state.seen_from(call.now);
            let made = Assignment { id: Uuid::new_v4().to_string(), principal: id, resource, role, since };
            let answer = shown_assignment(&made);
            state.directory.assignments.push(made);
            Ok((StatusCode::CREATED, answer))
        }
        ("DELETE", [assignment]) => {
            call.need(&["AppRoleAssignment.ReadWrite.All"])?;
            let before = state.directory.assignments.len();
            state.directory.assignments.retain(|has| has.id != *assignment);
            match state.directory.assignments.len() == before {
                true => Err(Fault::missing(assignment)),
                false => Ok((StatusCode::NO_CONTENT, Value::Null)),
            }
        }
        _ => unknown(call),
    }
}

fn shown_assignment(has: &Assignment) -> Value {
    json!({"id": has.id, "principalId": has.principal, "resourceId": has.resource, "appRoleId": has.role,
        "principalType": "ServicePrincipal", "createdDateTime": has.since.to_string()})
}

fn shown(state: &State, own: &Principal) -> Value {
    let application = state.directory.applications.iter().find(|app| same(&app.app_id, &own.app_id));
    let pairs = |pairs: &[(String, String)]| -> Vec<Value> {
        pairs.iter().map(|(id, value)| json!({"id": id, "value": value, "isEnabled": true})).collect()
    };
    let mut answer = json!({
        "id": own.id, "appId": own.app_id, "displayName": own.name, "accountEnabled": own.enabled,
        "appRoleAssignmentRequired": own.assignment_required, "servicePrincipalType": "Application",
        "createdDateTime": own.since.to_string(),
        "oauth2PermissionScopes": pairs(application.map(|app| app.scopes.as_slice()).unwrap_or_default()),
        "appRoles": pairs(application.map(|app| app.roles.as_slice()).unwrap_or_default()),
    });
    match &own.kind {
        Kind::AgentIdentity(parent) => {
            answer["@odata.type"] = json!("#microsoft.graph.agentIdentity");
            answer["servicePrincipalType"] = json!("ServiceIdentity");
            answer["agentIdentityBlueprintId"] = json!(parent);
            answer["createdByAppId"] = json!(parent);
        }
        Kind::Blueprint => answer["@odata.type"] = json!("#microsoft.graph.agentIdentityBlueprintPrincipal"),
        Kind::ManagedIdentity => answer["servicePrincipalType"] = json!("ManagedIdentity"),
        Kind::Application => {}
    }
    answer
}
