//! People and agent users (SETUP.md §3.7).

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Fault, Outcome, room, unknown};
use crate::simulator::entra::State;
use crate::simulator::entra::directory::{Kind, User, same};
use crate::simulator::entra::seed::DOMAIN;

const READ: [&str; 5] = [
    "Directory.Read.All",
    "User.Read.All",
    "AgentIdUser.ReadWrite.All",
    "AgentIdUser.ReadWrite.IdentityParentedBy",
    "User.ReadWrite.All",
];
const WRITE: [&str; 3] =
    ["AgentIdUser.ReadWrite.All", "AgentIdUser.ReadWrite.IdentityParentedBy", "User.ReadWrite.All"];
/// Characters of a user principal name besides letters and digits.
const NAME_MARKS: &str = "'.-_!#^~";

pub(super) fn answer(state: &mut State, call: &Call<'_>, path: &[&str]) -> Outcome {
    match (call.method, path) {
        ("GET", []) => {
            call.need(&READ)?;
            call.list(state.directory.users.iter().filter(|user| user.since <= call.now).map(shown))
        }
        ("POST", []) => create(state, call),
        ("GET", [id]) => {
            call.need(&READ)?;
            Ok((StatusCode::OK, shown(find(state, id, call.now)?)))
        }
        ("PATCH", [id]) => {
            call.need(&WRITE)?;
            may_change(state, call, id)?;
            let enabled = call.body.get("accountEnabled").and_then(Value::as_bool);
            let name = call.text("displayName")?;
            if let Some(user) = state.directory.user_mut(id, call.now) {
                user.enabled = enabled.unwrap_or(user.enabled);
                user.name = name.unwrap_or_else(|| user.name.clone());
            }
            Ok((StatusCode::NO_CONTENT, Value::Null))
        }
        ("DELETE", [id]) => {
            call.need(&WRITE)?;
            may_change(state, call, id)?;
            let id = find(state, id, call.now)?.id.clone();
            state.directory.users.retain(|user| user.id != id);
            state.directory.grants.retain(|grant| grant.user.as_ref() != Some(&id));
            Ok((StatusCode::NO_CONTENT, Value::Null))
        }
        ("PUT", [id, "manager", "$ref"]) => {
            call.need(&WRITE)?;
            let link = call.need_text("@odata.id")?;
            let manager = find(state, link.rsplit('/').next().unwrap_or_default(), call.now)?.id.clone();
            let user = state.directory.user_mut(id, call.now).ok_or_else(|| Fault::missing(id))?;
            user.manager = Some(manager);
            Ok((StatusCode::NO_CONTENT, Value::Null))
        }
        ("GET", [id, "manager"]) => {
            call.need(&READ)?;
            let manager =
                find(state, id, call.now)?.manager.as_deref().ok_or_else(|| Fault::missing("manager"))?;
            Ok((StatusCode::OK, shown(find(state, manager, call.now)?)))
        }
        (_, [id, rest @ ..]) => {
            let own = call.caller.user.as_deref().is_some_and(|user| same(user, id));
            if !own {
                call.need(&["GroupMember.Read.All"])?;
            }
            groups(state, call, id, rest)
        }
        _ => unknown(call),
    }
}

/// The caller's own object; needs no administrator.
pub(super) fn me(state: &State, call: &Call<'_>, path: &[&str]) -> Outcome {
    let bad = || Fault::bad("/me request is only valid with delegated authentication flow.");
    let id = call.caller.user.as_deref().ok_or_else(bad)?;
    if !call.caller.permissions.iter().any(|own| own.starts_with("User.Read")) {
        return Err(Fault::denied());
    }
    match (call.method, path) {
        ("GET", []) => Ok((StatusCode::OK, shown(find(state, id, call.now)?))),
        _ => groups(state, call, id, path),
    }
}

fn groups(state: &State, call: &Call<'_>, id: &str, path: &[&str]) -> Outcome {
    let groups = state.directory.groups_of(&find(state, id, call.now)?.id);
    match (call.method, path) {
        ("GET", ["memberOf" | "transitiveMemberOf"]) => call.list(groups.iter().map(|group| {
            json!({"@odata.type": "#microsoft.graph.group", "id": group.id, "displayName": group.name})
        })),
        ("POST", ["getMemberGroups" | "getMemberObjects"]) => {
            let ids: Vec<&str> = groups.iter().map(|group| group.id.as_str()).collect();
            Ok((StatusCode::OK, json!({"value": ids})))
        }
        _ => unknown(call),
    }
}

fn find<'a>(state: &'a State, id: &str, now: Timestamp) -> Result<&'a User, Fault> {
    state.directory.user(id, now).ok_or_else(|| Fault::missing(id))
}

/// A blueprint may change only the users of its own agent identities.
fn may_change(state: &State, call: &Call<'_>, id: &str) -> Result<(), Fault> {
    let user = find(state, id, call.now)?;
    if call.caller.user.is_some() {
        return Ok(());
    }
    let parent = user.parent.as_deref().and_then(|parent| state.directory.principal(parent, call.now));
    let own = |kind: &Kind| matches!(kind, Kind::AgentIdentity(blueprint) if same(blueprint, &call.caller.application));
    if parent.is_some_and(|parent| own(&parent.kind)) { Ok(()) } else { Err(Fault::denied()) }
}

fn create(state: &mut State, call: &Call<'_>) -> Outcome {
    call.need(&WRITE)?;
    room(&state.directory.users)?;
    let kind = call.body.get("@odata.type").and_then(Value::as_str).unwrap_or_default();
    if call.cast.as_deref() != Some("agentuser") && !kind.to_ascii_lowercase().ends_with("graph.agentuser") {
        return Err(Fault::bad("Only users of type microsoft.graph.agentUser can be created here."));
    }
    let parent = call.need_text("identityParentId")?;
    let upn = call.need_text("userPrincipalName")?;
    let name = call.need_text("displayName")?;
    call.need_text("mailNickname")?;
    let enabled = call.body.get("accountEnabled").and_then(Value::as_bool);
    let enabled = enabled
        .ok_or_else(|| Fault::bad("A value is required for property 'accountEnabled' of resource."))?;
    let (local, domain) = upn.split_once('@').unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || NAME_MARKS.contains(c);
    if local.is_empty() || !local.chars().all(allowed) {
        return Err(Fault::bad("Property userPrincipalName is invalid."));
    }
    if !same(domain, DOMAIN) {
        return Err(Fault::bad(
            "The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain names in your organization.",
        ));
    }
    let principal = state.directory.principal(&parent, call.now);
    let Some(Kind::AgentIdentity(blueprint)) = principal.map(|own| &own.kind) else {
        return Err(Fault::bad(format!(
            "The agent identity '{parent}' of 'identityParentId' does not exist."
        )));
    };
    if call.caller.user.is_none() && !same(blueprint, &call.caller.application) {
        return Err(Fault::denied());
    }
    if state.directory.users.iter().any(|user| same(&user.upn, &upn)) {
        return Err(Fault::bad(
            "Another object with the same value for property userPrincipalName already exists.",
        ));
    }
    if state.directory.users.iter().any(|user| user.parent.as_deref().is_some_and(|own| same(own, &parent))) {
        return Err(Fault::bad("An agent user for this agent identity already exists."));
    }
    let made = User {
        id: Uuid::new_v4().to_string(),
        upn,
        name,
        parent: Some(parent),
        enabled,
        administrator: false,
        overage: false,
        manager: None,
        valid_from: call.now,
        since: state.seen_from(call.now),
    };
    let answer = shown(&made);
    state.directory.users.push(made);
    Ok((StatusCode::CREATED, answer))
}

pub(super) fn shown(user: &User) -> Value {
    let mut answer = json!({"id": user.id, "userPrincipalName": user.upn, "displayName": user.name,
        "accountEnabled": user.enabled, "userType": "Member", "mail": null});
    if let Some(parent) = &user.parent {
        answer["@odata.type"] = json!("#microsoft.graph.agentUser");
        answer["identityParentId"] = json!(parent);
    }
    answer
}
