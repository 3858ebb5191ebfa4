//! Security: permissions of the caller, access control entries and lists, by namespace, bits and
//! token (SETUP.md §5.3).

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Call, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::render::claims_descriptor;
use crate::simulator::azure_devops::state::access::Permission;
use crate::simulator::azure_devops::state::entries::{AREAS, AUDIT, AccessEntry, BUILDS, GIT, HOOKS};
use crate::simulator::azure_devops::state::{Outcome, World};

/// Tokens or evaluations of one question, and entries of one change.
const MANY: usize = 100;
/// Area nodes of one project; their identifiers are the project's with a small number mixed in.
const NODES: u128 = 1 << 16;
type Namespace = (Uuid, &'static str, &'static str, &'static [(u32, &'static str)]);

/// Each namespace: id, name, separator of tokens, and its permissions as bit and name.
const NAMESPACES: &[Namespace] = &[
    (
        GIT,
        "Git Repositories",
        "/",
        &[
            (1, "Administer"),
            (2, "GenericRead"),
            (4, "GenericContribute"),
            (8, "ForcePush"),
            (16, "CreateBranch"),
            (32, "CreateTag"),
            (64, "ManageNote"),
            (128, "PolicyExempt"),
            (256, "CreateRepository"),
            (512, "DeleteRepository"),
            (1_024, "RenameRepository"),
            (2_048, "EditPolicies"),
            (4_096, "RemoveOthersLocks"),
            (8_192, "ManagePermissions"),
            (16_384, "PullRequestContribute"),
            (32_768, "PullRequestBypassPolicy"),
        ],
    ),
    (
        AREAS,
        "CSS",
        ":",
        &[
            (1, "GENERIC_READ"),
            (2, "GENERIC_WRITE"),
            (4, "CREATE_CHILDREN"),
            (8, "DELETE"),
            (16, "WORK_ITEM_READ"),
            (32, "WORK_ITEM_WRITE"),
        ],
    ),
    (
        HOOKS,
        "ServiceHooks",
        "/",
        &[
            (1, "ViewSubscriptions"),
            (2, "EditSubscriptions"),
            (4, "DeleteSubscriptions"),
            (8, "PublishEvents"),
        ],
    ),
    (AUDIT, "AuditLog", "/", &[(1, "Read"), (2, "Write"), (4, "Manage_Streams"), (8, "Delete_Streams")]),
    (
        BUILDS,
        "Build",
        "/",
        &[
            (1, "ViewBuilds"),
            (8, "DeleteBuilds"),
            (128, "QueueBuilds"),
            (1_024, "ViewBuildDefinition"),
            (2_048, "EditBuildDefinition"),
        ],
    ),
];

fn known(namespace: Uuid) -> Outcome<()> {
    if NAMESPACES.iter().any(|(id, ..)| *id == namespace) {
        return Ok(());
    }
    let text = format!("The security namespace with id {namespace} could not be found.");
    Err(Refusal::new(404, "InvalidSecurityNamespaceException", text))
}

/// `GET permissions/{securityNamespaceId}/{permissions}?tokens=`.
pub fn permissions(call: &Call<'_>) -> Outcome<Reply> {
    let namespace = call.guid("securityNamespaceId")?;
    let bits = call.number("permissions")?;
    let delimiter = call.query.get("delimiter").and_then(|d| d.chars().next()).unwrap_or(',');
    known(namespace)?;
    let world = call.organisation.lock();
    let tokens = call.query.get("tokens").unwrap_or_default();
    let answers = tokens
        .split(delimiter)
        .take(MANY)
        .map(|token| json!(has_all(&world, call.actor.id, namespace, bits, token)));
    Ok(Reply::list(answers.collect()))
}

/// `POST security/permissionevaluationbatch`: the same for many questions at once.
pub fn evaluate(call: &Call<'_>) -> Outcome<Reply> {
    let mut body = call.json()?;
    let world = call.organisation.lock();
    let all = body["evaluations"].as_array_mut().ok_or_else(|| Refusal::invalid("evaluations"))?;
    if all.len() > MANY {
        return Err(Refusal::invalid("evaluations (there are too many)"));
    }
    for one in all {
        let namespace = one["securityNamespaceId"].as_str().and_then(|id| Uuid::try_parse(id).ok());
        let namespace = namespace.ok_or_else(|| Refusal::invalid("securityNamespaceId"))?;
        known(namespace)?;
        let bits = one["permissions"].as_u64().and_then(|bits| u32::try_from(bits).ok()).unwrap_or(0);
        let token = one["token"].as_str().unwrap_or_default();
        one["value"] = json!(has_all(&world, call.actor.id, namespace, bits, token));
    }
    Ok(Reply::ok(body))
}

fn has_all(world: &World, actor: Uuid, namespace: Uuid, bits: u32, token: &str) -> bool {
    let mut each = (0..u32::BITS).map(|at| 1 << at).filter(|bit| bits & bit != 0);
    bits != 0 && each.all(|bit| has(world, actor, namespace, bit, token))
}

fn has(world: &World, actor: Uuid, namespace: Uuid, bit: u32, token: &str) -> bool {
    let parts: Vec<&str> = token.split('/').collect();
    let id = |at: usize| parts.get(at).and_then(|text| Uuid::try_parse(text).ok());
    let permission = match (namespace, bit) {
        (GIT, 2) => Permission::GenericRead,
        (GIT, 4) => Permission::GenericContribute,
        (GIT, 8) => Permission::ForcePush,
        (GIT, 16) => Permission::CreateBranch,
        (GIT, 128) => Permission::PolicyExempt,
        (GIT, 16_384) => Permission::PullRequestContribute,
        (AREAS, 1 | 16) => Permission::WorkItemRead,
        (AREAS, 32) => Permission::WorkItemWrite,
        (HOOKS, 1) => Permission::ViewSubscriptions,
        (HOOKS, 2 | 4) => Permission::EditSubscriptions,
        (BUILDS, 1 | 1_024) => Permission::GenericRead,
        (BUILDS, 128) => Permission::QueueBuilds,
        // No role of ours has it; an entry may.
        _ => return world.entry(actor, namespace, token, bit) == Some(true),
    };
    match namespace {
        GIT => id(1).is_some_and(|project| world.may(actor, project, id(2), permission)),
        AREAS => {
            let node = parts.last().and_then(|text| Uuid::try_parse(text).ok());
            let belongs = |project: &Uuid| node.is_some_and(|n| n.as_u128() ^ project.as_u128() < NODES);
            let project = world.projects.keys().find(|project| belongs(project));
            project.is_some_and(|project| world.may(actor, *project, None, permission))
        }
        BUILDS => id(0).is_some_and(|project| world.may(actor, project, None, permission)),
        _ => id(1).is_some_and(|project| world.may(actor, project, None, permission)),
    }
}

/// `GET securitynamespaces` and one of them.
pub fn namespaces(call: &Call<'_>) -> Outcome<Reply> {
    let wanted =
        call.optional("securityNamespaceId").map(|_| call.guid("securityNamespaceId")).transpose()?;
    let shown = NAMESPACES.iter().filter(|(id, ..)| wanted.is_none_or(|wanted| wanted == *id)).map(
        |(id, name, separator, actions)| {
            let action = |(bit, name): &(u32, &str)| json!({"bit": bit, "name": name, "displayName": name, "namespaceId": id});
            json!({
                "namespaceId": id, "name": name, "displayName": name, "separatorValue": separator,
                "elementLength": -1, "writePermission": 8_192, "readPermission": 2,
                "actions": actions.iter().map(action).collect::<Vec<_>>(),
            })
        },
    );
    Ok(Reply::list(shown.collect()))
}

/// The person of an identity descriptor.
fn person(world: &World, wanted: &str) -> Option<Uuid> {
    world.people.values().find(|p| claims_descriptor(p).eq_ignore_ascii_case(wanted)).map(|p| p.id)
}

fn shown(world: &World, entry: &AccessEntry, extended: bool) -> (String, Value) {
    let descriptor = world.person(entry.person).map(claims_descriptor).unwrap_or_default();
    let more = match extended {
        true => json!({"effectiveAllow": entry.allow, "effectiveDeny": entry.deny}),
        false => json!({}),
    };
    let shown =
        json!({"descriptor": descriptor, "allow": entry.allow, "deny": entry.deny, "extendedInfo": more});
    (descriptor, shown)
}

/// `POST accesscontrolentries/{securityNamespaceId}`.
pub fn set_entries(call: &Call<'_>) -> Outcome<Reply> {
    let namespace = call.guid("securityNamespaceId")?;
    known(namespace)?;
    let body = call.json()?;
    let token = body["token"].as_str().unwrap_or_default();
    let given = body["accessControlEntries"].as_array().map(Vec::as_slice).unwrap_or_default();
    if given.is_empty() || given.len() > MANY {
        return Err(Refusal::invalid("accessControlEntries"));
    }
    let mut world = call.organisation.lock();
    let mut wanted = Vec::new();
    for entry in given {
        let descriptor = entry["descriptor"].as_str().unwrap_or_default();
        let person = person(&world, descriptor).ok_or_else(|| {
            let text = format!("The identity with descriptor {descriptor} could not be found.");
            Refusal::new(404, "IdentityNotFoundException", text)
        })?;
        let bits = |name: &str| entry[name].as_u64().and_then(|bits| u32::try_from(bits).ok()).unwrap_or(0);
        let token = token.to_owned();
        wanted.push(AccessEntry { namespace, token, person, allow: bits("allow"), deny: bits("deny") });
    }
    let set = world.set_entries(call.actor, &wanted, body["merge"].as_bool().unwrap_or(false))?;
    Ok(Reply::list(set.iter().map(|entry| shown(&world, entry, false).1).collect()))
}

/// `DELETE accesscontrolentries/{securityNamespaceId}?token=&descriptors=`.
pub fn remove_entries(call: &Call<'_>) -> Outcome<Reply> {
    let namespace = call.guid("securityNamespaceId")?;
    known(namespace)?;
    let mut world = call.organisation.lock();
    let descriptors = call.query.get("descriptors").unwrap_or_default();
    let people: Vec<Uuid> = descriptors.split(',').filter_map(|one| person(&world, one.trim())).collect();
    let token = call.query.get("token").unwrap_or_default();
    let removed = world.remove_entries(call.actor, namespace, token, &people)?;
    Ok(Reply::ok(json!(removed)))
}

/// `GET accesscontrollists/{securityNamespaceId}?token=&descriptors=&includeExtendedInfo=&recurse=`.
pub fn lists(call: &Call<'_>) -> Outcome<Reply> {
    let namespace = call.guid("securityNamespaceId")?;
    known(namespace)?;
    let flag = |name: &str| call.query.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let (extended, recurse) = (flag("includeExtendedInfo"), flag("recurse"));
    let world = call.organisation.lock();
    world.require_administrator(call.actor)?;
    let token = call.query.get("token").map(str::to_lowercase);
    let people: Option<Vec<Uuid>> = call
        .query
        .get("descriptors")
        .map(|all| all.split(',').filter_map(|one| person(&world, one.trim())).collect());
    let mut lists: Vec<(String, Map<String, Value>)> = Vec::new();
    for entry in &world.entries {
        let own = entry.token.to_lowercase();
        let here = token.as_ref().is_none_or(|token| own == *token || (recurse && own.starts_with(token)));
        if entry.namespace != namespace || !here {
            continue;
        }
        if people.as_ref().is_some_and(|people| !people.contains(&entry.person)) {
            continue;
        }
        let (descriptor, shown) = shown(&world, entry, extended);
        match lists.iter_mut().find(|(token, _)| token.eq_ignore_ascii_case(&entry.token)) {
            Some((_, list)) => list.insert(descriptor, shown),
            None => {
                lists.push((entry.token.clone(), Map::from_iter([(descriptor, shown)])));
                None
            }
        };
    }
    let list = |(token, entries): (String, Map<String, Value>)| json!({"inheritPermissions": true, "token": token, "acesDictionary": entries});
    Ok(Reply::list(lists.into_iter().map(list).collect()))
}
