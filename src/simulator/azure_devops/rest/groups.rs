//! Groups of Graph, and who is in which.

use serde_json::{Value, json};
use uuid::Uuid;

use super::identities::{by_descriptor, no_subject};
use super::{Call, PAGE, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::render::{descriptor, descriptor_of};
use crate::simulator::azure_devops::state::teams::Team;
use crate::simulator::azure_devops::state::{Outcome, Project, World, patch};

/// Subject descriptor of a group.
pub(super) fn group_descriptor(id: Uuid) -> String {
    descriptor(id).replacen("aad.", "vssgp.", 1)
}

/// Subject descriptor of a project, which groups are made in.
pub(super) fn scope_descriptor(id: Uuid) -> String {
    descriptor(id).replacen("aad.", "scp.", 1)
}

/// GraphGroup.
pub(super) fn render(call: &Call<'_>, project: &Project, group: &Team) -> Value {
    let link =
        |resource: &str, own: &str| json!({"href": format!("{}/_apis/Graph/{resource}/{own}", call.base)});
    let own = group_descriptor(group.id);
    json!({
        "subjectKind": "group",
        "description": group.description,
        "domain": format!("vstfs:///Classification/TeamProject/{}", project.id),
        "principalName": format!("[{}]\\{}", project.name, group.name),
        "mailAddress": null,
        "origin": "vsts",
        "originId": group.id,
        "displayName": group.name,
        "_links": {
            "self": link("Groups", &own),
            "memberships": link("Memberships", &own),
            "membershipState": link("MembershipStates", &own),
            "storageKey": link("StorageKeys", &own),
        },
        "url": link("Groups", &own)["href"],
        "descriptor": own,
    })
}

/// Projects that the caller may see.
fn visible<'w>(call: &Call<'_>, world: &'w World) -> impl Iterator<Item = &'w Project> {
    let own = call.actor.id;
    world.projects.values().filter(move |p| p.members.contains(&own))
}

/// The group with a descriptor, among those that the caller may see.
pub(super) fn find<'w>(call: &Call<'_>, world: &'w World, wanted: &str) -> Option<(&'w Project, Team)> {
    let fits = |group: &Team| group_descriptor(group.id).eq_ignore_ascii_case(wanted);
    visible(call, world).find_map(|p| Some((p, p.all_groups().into_iter().find(fits)?)))
}

/// `GET graph/groups`, and one of them.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    if let Some(wanted) = call.optional("groupDescriptor") {
        let (project, group) = find(call, &world, wanted).ok_or_else(|| no_subject(wanted))?;
        return Ok(Reply::ok(render(call, project, &group)));
    }
    let scope = call.query.get("scopeDescriptor");
    let here = |p: &&Project| scope.is_none_or(|s| scope_descriptor(p.id).eq_ignore_ascii_case(s));
    let of = |p: &Project| p.all_groups().iter().map(|g| render(call, p, g)).collect::<Vec<_>>();
    let all: Vec<Value> = visible(call, &world).filter(here).flat_map(of).collect();
    call.continued(all, PAGE, |group| group)
}

/// `POST graph/groups?scopeDescriptor=`.
pub fn create(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let Some(scope) = call.query.get("scopeDescriptor") else {
        return Err(Refusal::invalid(
            "scopeDescriptor (groups are made in a project; see graph/descriptors)",
        ));
    };
    let project = visible(call, &world).find(|p| scope_descriptor(p.id).eq_ignore_ascii_case(scope));
    let project = project.ok_or_else(|| no_subject(scope))?.id;
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let id = world.add_group(call.actor, project, text("displayName"), text("description"))?;
    let url = format!("{}/_apis/Graph/Groups/{}", call.base, group_descriptor(id));
    Ok(shown(call, &world, id, 201)?.header("location", url))
}

fn shown(call: &Call<'_>, world: &World, id: Uuid, status: u16) -> Outcome<Reply> {
    let (project, group) = world.group(id).ok_or_else(|| no_subject(&id.to_string()))?;
    Ok(Reply::json(status, &render(call, project, &group)))
}

fn named(call: &Call<'_>, world: &World, parameter: &str) -> Outcome<Uuid> {
    let wanted = call.text(parameter);
    find(call, world, wanted).map(|(_, group)| group.id).ok_or_else(|| no_subject(wanted))
}

/// `PATCH graph/groups/{descriptor}`, as JSON Patch.
pub fn update(call: &Call<'_>) -> Outcome<Reply> {
    let operations = patch::parse(&call.json()?)?;
    let mut world = call.organisation.lock();
    let id = named(call, &world, "groupDescriptor")?;
    let of = |path: &str| {
        let fits = |o: &&patch::Operation| o.op != "test" && o.path.eq_ignore_ascii_case(path);
        operations.iter().rfind(fits).and_then(|o| o.value.as_str())
    };
    world.change_group(call.actor, id, of("/displayName"), of("/description"))?;
    shown(call, &world, id, 200)
}

/// `DELETE graph/groups/{descriptor}`.
pub fn delete(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let id = named(call, &world, "groupDescriptor")?;
    world.remove_group(call.actor, id)?;
    Ok(Reply::empty(204))
}

/// `GET graph/memberships/{subject}`: the groups that a subject is in, or with `direction=down` what is in
/// a group. Guests work in a project and are in no team of it.
pub fn memberships(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let wanted = call.text("subjectDescriptor");
    if call.query.get("direction").is_some_and(|d| d.eq_ignore_ascii_case("down") || d == "2") {
        let (_, group) = find(call, &world, wanted).ok_or_else(|| no_subject(wanted))?;
        let people = group.members.iter().filter_map(|id| world.person(*id)).map(descriptor_of);
        let inside = people.chain(group.nested.iter().map(|id| group_descriptor(*id)));
        return Ok(Reply::list(inside.map(|member| membership(call, wanted, &member)).collect()));
    }
    let id = subject(call, &world, wanted)?;
    let groups = visible(call, &world).flat_map(Project::all_groups);
    let around = groups.filter(|g| g.members.contains(&id) || g.nested.contains(&id));
    Ok(Reply::list(around.map(|g| membership(call, &group_descriptor(g.id), wanted)).collect()))
}

fn subject(call: &Call<'_>, world: &World, wanted: &str) -> Outcome<Uuid> {
    match find(call, world, wanted) {
        Some((_, group)) => Ok(group.id),
        None => by_descriptor(world, wanted).map(|person| person.id),
    }
}

/// `GET` and `HEAD graph/memberships/{subject}/{container}`.
pub fn membership_of(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let (member, container) = (call.text("subjectDescriptor"), call.text("containerDescriptor"));
    let id = subject(call, &world, member)?;
    let found =
        find(call, &world, container).filter(|(_, g)| g.members.contains(&id) || g.nested.contains(&id));
    found.ok_or_else(|| no_subject(container))?;
    Ok(Reply::ok(membership(call, container, member)))
}

fn set(call: &Call<'_>, on: bool) -> Outcome<()> {
    let mut world = call.organisation.lock();
    let member = subject(call, &world, call.text("subjectDescriptor"))?;
    let group = named(call, &world, "containerDescriptor")?;
    world.set_membership(call.actor, member, group, on)
}

/// `PUT graph/memberships/{subject}/{container}`.
pub fn add_membership(call: &Call<'_>) -> Outcome<Reply> {
    set(call, true)?;
    let (member, container) = (call.text("subjectDescriptor"), call.text("containerDescriptor"));
    Ok(Reply::json(201, &membership(call, container, member)))
}

/// `DELETE graph/memberships/{subject}/{container}`.
pub fn remove_membership(call: &Call<'_>) -> Outcome<Reply> {
    set(call, false)?;
    Ok(Reply::empty(200))
}

fn membership(call: &Call<'_>, container: &str, member: &str) -> Value {
    let graph = |kind: &str, key: &str| json!({"href": format!("{}/_apis/Graph/{kind}/{key}", call.base)});
    let kind = if member.starts_with("vssgp.") { "Groups" } else { "Users" };
    json!({"containerDescriptor": container, "memberDescriptor": member, "_links": {
        "self": graph("Memberships", &format!("{member}/{container}")), "member": graph(kind, member),
        "container": graph("Groups", container),
    }})
}
