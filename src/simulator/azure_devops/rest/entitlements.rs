//! User entitlements: membership of the organisation and access level (SETUP.md §5.1).

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::members::Group;
use crate::simulator::azure_devops::state::{Licence, Outcome, Person, SYSTEM_ID, World};

/// Projects that one request may name.
const MAX_PROJECTS: usize = 50;

fn licence(level: &Value) -> Option<Licence> {
    let kind = level["accountLicenseType"].as_str().unwrap_or_default();
    if kind.eq_ignore_ascii_case("stakeholder") {
        return Some(Licence::Stakeholder);
    }
    let higher = ["express", "professional", "advanced"];
    higher.iter().any(|name| kind.eq_ignore_ascii_case(name)).then_some(Licence::Basic)
}

/// The projects and groups that a body names.
fn projects(world: &World, body: &Value) -> Outcome<Vec<(Uuid, Group)>> {
    let all = body["projectEntitlements"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.len() > MAX_PROJECTS {
        return Err(Refusal::invalid("projectEntitlements (there are too many)"));
    }
    let one = |entry: &Value| {
        let id = entry["projectRef"]["id"].as_str().unwrap_or_default();
        let project = world.find_project(id).ok_or_else(|| Refusal::project_id(id))?.id;
        match entry["group"]["groupType"].as_str().unwrap_or_default().to_ascii_lowercase().as_str() {
            "projectreader" => Ok((project, Group::Reader)),
            "projectcontributor" | "projectadministrator" => Ok((project, Group::Contributor)),
            _ => Err(Refusal::invalid("groupType")),
        }
    };
    all.iter().map(one).collect()
}

fn shown(call: &Call<'_>, world: &World, person: &Person) -> Value {
    let (kind, name) = match person.licence {
        Licence::Basic => ("express", "Basic"),
        Licence::Stakeholder => ("stakeholder", "Stakeholder"),
    };
    let entitlements = world.projects.values().filter(|p| p.members.contains(&person.id)).map(|project| {
        let reader = world.readers.contains(&(project.id, person.id));
        let (group, title) =
            if reader { ("projectReader", "Readers") } else { ("projectContributor", "Contributors") };
        json!({
            "group": {"groupType": group, "displayName": title}, "assignmentSource": "unknown",
            "projectRef": {"id": project.id, "name": project.name},
            "projectPermissionInherited": "notSet", "teamRefs": [],
        })
    });
    json!({
        "id": person.id,
        "user": call.view(world).graph_user(person),
        "accessLevel": {
            "licensingSource": "account", "accountLicenseType": kind, "msdnLicenseType": "none",
            "gitHubLicenseType": "none", "licenseDisplayName": name, "status": "active", "statusMessage": "",
            "assignmentSource": "unknown",
        },
        "dateCreated": "2026-01-01T00:00:00Z", "lastAccessedDate": "0001-01-01T00:00:00Z",
        "projectEntitlements": entitlements.collect::<Vec<_>>(), "extensions": [], "groupAssignments": [],
    })
}

/// An answer with the state after an operation; a refusal of the rules is told inside, with 200.
fn outcome(call: &Call<'_>, world: &World, done: Outcome<Uuid>, results: &str) -> Outcome<Reply> {
    let id = match done {
        Ok(id) => id,
        Err(refusal) if refusal.status == 403 => return Err(refusal),
        Err(refusal) => {
            let result = json!({"isSuccess": false, "userId": null, "result": null,
                "errors": [{"key": 5_030, "value": refusal.message}]});
            let list = if results == "operationResults" { json!([result]) } else { result };
            return Ok(Reply::ok(json!({"isSuccess": false, "userEntitlement": null, results: list})));
        }
    };
    let entitlement = world.person(id).map(|person| shown(call, world, person)).unwrap_or_default();
    let result = json!({"isSuccess": true, "userId": id, "errors": [], "result": entitlement});
    let list = if results == "operationResults" { json!([result]) } else { result };
    Ok(Reply::ok(json!({"isSuccess": true, "userEntitlement": entitlement, results: list})))
}

/// `POST userentitlements`.
pub fn add(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let user = &body["user"];
    let who = user["originId"].as_str().or(user["principalName"].as_str()).unwrap_or_default().to_owned();
    let mut world = call.organisation.lock();
    let wanted = licence(&body["accessLevel"]).ok_or_else(|| Refusal::invalid("accountLicenseType"));
    let wanted = wanted.and_then(|licence| Ok((licence, projects(&world, &body)?)));
    let done = wanted.and_then(|(licence, projects)| world.enter(call.actor, &who, licence, &projects));
    outcome(call, &world, done, "operationResult")
}

/// `PATCH userentitlements/{userId}`: access level and projects by JSON Patch.
pub fn change(call: &Call<'_>) -> Outcome<Reply> {
    let id = call.guid("userDescriptor")?;
    let operations = call.patch()?;
    let mut world = call.organisation.lock();
    world.require_administrator(call.actor)?;
    let done = member(&world, id).map(|person| person.id).and_then(|id| {
        for operation in &operations {
            match operation.path.to_ascii_lowercase().as_str() {
                "/accesslevel" => {
                    let licence = licence(&operation.value).ok_or_else(|| Refusal::invalid("accessLevel"))?;
                    world.set_licence(id, licence);
                }
                "/projectentitlements" => {
                    let entitlements = json!({"projectEntitlements": [operation.value]});
                    let projects = projects(&world, &entitlements)?;
                    world.enter_projects(id, &projects);
                }
                _ => return Err(Refusal::invalid("path")),
            }
        }
        Ok(id)
    });
    outcome(call, &world, done, "operationResults")
}

/// `DELETE userentitlements/{userId}`.
pub fn remove(call: &Call<'_>) -> Outcome<Reply> {
    call.organisation.lock().leave(call.actor, call.guid("userDescriptor")?)?;
    Ok(Reply::empty(204))
}

fn member(world: &World, id: Uuid) -> Outcome<&Person> {
    let missing = || Refusal::new(404, "IdentityNotFoundException", format!("User {id} was not found."));
    world.person(id).filter(|p| p.id != SYSTEM_ID && !world.left.contains(&p.id)).ok_or_else(missing)
}

/// `GET userentitlements/{userId}`, and the members whose name or address fits `$filter`.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    world.require_administrator(call.actor)?;
    if call.optional("userDescriptor").is_some() {
        return Ok(Reply::ok(shown(call, &world, member(&world, call.guid("userDescriptor")?)?)));
    }
    // `name eq 'text'` finds what the name or the address begins with.
    let wanted =
        call.query.get("filter").map(|filter| filter.split('\'').nth(1).unwrap_or_default().to_lowercase());
    let fits = |p: &&Person| {
        let known = p.id != SYSTEM_ID && !world.left.contains(&p.id);
        let named = |text: &str| text.to_lowercase().starts_with(wanted.as_deref().unwrap_or_default());
        known && (named(&p.account) || named(&p.display_name))
    };
    let members: Vec<Value> = world.people.values().filter(fits).map(|p| shown(call, &world, p)).collect();
    let count = members.len();
    Ok(Reply::ok(json!({
        "members": members, "items": members, "continuationToken": null, "totalCount": count,
    })))
}
