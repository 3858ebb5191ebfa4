//! Who people are: connection data, identities, Graph.

use serde_json::{Value, json};

use super::groups::{self, group_descriptor, scope_descriptor};
use super::{Call, PAGE, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::render::descriptor_of;
use crate::simulator::azure_devops::state::{Outcome, Person, SYSTEM_ID, World};

/// `GET connectionData`.
pub fn connection_data(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let user = world.person(call.actor.id).map(|p| call.view(&world).connection_identity(p));
    Ok(Reply::ok(json!({
        "authenticatedUser": user,
        "authorizedUser": user,
        "instanceId": world.instance_id,
        "deploymentId": "ed30ce5c-9d0a-f73c-3580-4315c7f84d83",
        "deploymentType": if call.on_premises { "onPremises" } else { "hosted" },
        "locationServiceData": {
            "serviceOwner": "00025394-6065-48ca-87d9-7f5672854ef7",
            "defaultAccessMappingMoniker": "PublicAccessMapping",
            "lastChangeId": 1,
            "lastChangeId64": 1,
        },
    })))
}

fn people(world: &World) -> impl Iterator<Item = &Person> {
    world.people.values().filter(|p| p.id != SYSTEM_ID)
}

/// `GET identities`: by search, ids or descriptors.
pub fn identities(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let view = call.view(&world);
    if let Some(id) = call.optional("identityId") {
        let found = people(&world).find(|p| p.id.to_string().eq_ignore_ascii_case(id));
        return Ok(Reply::ok(found.map_or(Value::Null, |p| view.full_identity(p))));
    }
    let listed = |name: &str| {
        call.query.get(name).map(|v| v.split(',').map(|s| s.trim().to_ascii_lowercase()).collect::<Vec<_>>())
    };
    let by_key = |keys: Vec<String>, of: &dyn Fn(&Person) -> String| {
        let found = |key: &String| {
            people(&world).find(|p| of(p) == *key).map_or(Value::Null, |p| view.full_identity(p))
        };
        Reply::list(keys.iter().map(found).collect())
    };
    if let Some(ids) = listed("identityIds") {
        return Ok(by_key(ids, &|p| p.id.to_string()));
    }
    if let Some(keys) = listed("subjectDescriptors") {
        return Ok(by_key(keys, &|p| descriptor_of(p).to_ascii_lowercase()));
    }
    let Some(wanted) = call.query.get("filterValue").map(str::to_lowercase) else {
        return Err(Refusal::invalid(
            "filterValue (give searchFilter and filterValue, identityIds or subjectDescriptors)",
        ));
    };
    let filter = call.query.get("searchFilter").unwrap_or("General").to_ascii_lowercase();
    let fits = |p: &&Person| {
        let (account, name) = (p.account.to_lowercase(), p.display_name.to_lowercase());
        match filter.as_str() {
            "accountname" | "mailaddress" => account == wanted,
            "displayname" => name == wanted,
            "localgroupname" => false,
            // General search finds by the start of any part of the name or of the account.
            _ => {
                account.starts_with(&wanted)
                    || name.starts_with(&wanted)
                    || name.split(' ').any(|part| part.starts_with(&wanted))
            }
        }
    };
    Ok(Reply::list(people(&world).filter(fits).map(|p| view.full_identity(p)).collect()))
}

/// `GET graph/users` and one of them.
pub fn users(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let view = call.view(&world);
    match call.optional("userDescriptor") {
        Some(wanted) => Ok(Reply::ok(view.graph_user(by_descriptor(&world, wanted)?))),
        None => call.continued(people(&world).collect(), PAGE, |p| view.graph_user(p)),
    }
}

pub(super) fn by_descriptor<'w>(world: &'w World, wanted: &str) -> Outcome<&'w Person> {
    people(world).find(|p| descriptor_of(p).eq_ignore_ascii_case(wanted)).ok_or_else(|| {
        Refusal::new(
            404,
            "GraphSubjectNotFoundException",
            format!("VS860016: Could not find the subject {wanted}."),
        )
    })
}

pub(super) fn no_subject(wanted: &str) -> Refusal {
    let text = format!("VS860016: Could not find the subject {wanted}.");
    Refusal::new(404, "GraphSubjectNotFoundException", text)
}

/// `POST graph/subjectlookup`.
pub fn subject_lookup(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let world = call.organisation.lock();
    let view = call.view(&world);
    let mut found = serde_json::Map::new();
    let keys = body["lookupKeys"].as_array().into_iter().flatten().take(super::PAGE_MAX);
    for wanted in keys.filter_map(|k| k["descriptor"].as_str()) {
        let group = groups::find(call, &world, wanted);
        let person = by_descriptor(&world, wanted).ok();
        let subject = group.map(|(p, group)| groups::render(call, p, &group));
        let subject = subject.or_else(|| Some(view.graph_user(person?)));
        found.extend(subject.map(|subject| (wanted.to_owned(), subject)));
    }
    Ok(Reply::ok(json!({"count": found.len(), "value": found})))
}

/// `GET graph/descriptors/{id}`.
pub fn descriptors(call: &Call<'_>) -> Outcome<Reply> {
    let id = call.guid("storageKey")?;
    let world = call.organisation.lock();
    let known = world.person(id).map(|person| (descriptor_of(person), "Users"));
    let known = known
        .or_else(|| world.group(id).map(|(_, group)| (group_descriptor(group.id), "Groups")))
        .or_else(|| world.projects.get(&id).map(|project| (scope_descriptor(project.id), "Scopes")));
    let (value, kind) = known.ok_or_else(|| {
        Refusal::new(
            404,
            "StorageKeyNotFoundException",
            format!("VS860018: Could not find the storage key {id}."),
        )
    })?;
    let graph = |kind: &str, key: &str| json!({"href": format!("{}/_apis/Graph/{kind}/{key}", call.base)});
    let id = id.to_string();
    Ok(Reply::ok(json!({"value": value, "_links": {
        "self": graph("Descriptors", &id), "storageKey": graph("StorageKeys", &value), "subject": graph(kind, &value),
    }})))
}

/// `GET graph/storagekeys/{descriptor}`.
pub fn storage_keys(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let wanted = call.text("subjectDescriptor");
    let id = match groups::find(call, &world, wanted) {
        Some((_, group)) => group.id,
        None => by_descriptor(&world, wanted)?.id,
    };
    let graph = |kind: &str, key: &str| json!({"href": format!("{}/_apis/Graph/{kind}/{key}", call.base)});
    Ok(Reply::ok(json!({"value": id, "_links": {
        "self": graph("StorageKeys", wanted), "descriptor": graph("Descriptors", &id.to_string()),
    }})))
}

/// `POST graph/subjectquery`.
pub fn subject_query(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let wanted = body["query"].as_str().unwrap_or_default().to_lowercase();
    let kinds = body["subjectKind"].as_array().cloned().unwrap_or_default();
    let users =
        kinds.is_empty() || kinds.iter().any(|k| k.as_str().is_some_and(|k| k.eq_ignore_ascii_case("user")));
    let world = call.organisation.lock();
    let view = call.view(&world);
    let fits = |p: &&Person| {
        users
            && !wanted.is_empty()
            && (p.display_name.to_lowercase().contains(&wanted)
                || p.account.to_lowercase().starts_with(&wanted))
    };
    Ok(Reply::list(people(&world).filter(fits).map(|p| view.graph_user(p)).collect()))
}
