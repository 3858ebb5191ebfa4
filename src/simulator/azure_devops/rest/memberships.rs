//! Which groups somebody is in, and who is in a group.

use serde_json::{Value, json};

use super::identities::{by_descriptor, group_descriptor, no_subject};
use super::{Call, Reply};
use crate::simulator::azure_devops::render::descriptor_of;
use crate::simulator::azure_devops::state::{Outcome, Project};

fn is_group(project: &Project, descriptor: &str) -> bool {
    group_descriptor(project.team.0).eq_ignore_ascii_case(descriptor)
}

/// `GET graph/memberships/{subject}`: the teams of a person, or with `direction=down` the people of a
/// team. Guests work in a project and are in no team of it.
pub fn list(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let wanted = call.text("subjectDescriptor");
    let visible = || world.projects.values().filter(|p| p.members.contains(&call.actor.id));
    if call.query.get("direction").is_some_and(|d| d.eq_ignore_ascii_case("down") || d == "2") {
        let team = visible().find(|p| is_group(p, wanted)).ok_or_else(|| no_subject(wanted))?;
        let people = team.members.difference(&team.guests).filter_map(|id| world.person(*id));
        return Ok(Reply::list(people.map(|p| membership(call, wanted, &descriptor_of(p))).collect()));
    }
    if visible().any(|p| is_group(p, wanted)) {
        return Ok(Reply::list(Vec::new()));
    }
    let id = by_descriptor(&world, wanted)?.id;
    let teams = visible().filter(|p| p.members.contains(&id) && !p.guests.contains(&id));
    Ok(Reply::list(teams.map(|p| membership(call, &group_descriptor(p.team.0), wanted)).collect()))
}

/// `GET` and `HEAD graph/memberships/{subject}/{container}`.
pub fn one(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let (member, container) = (call.text("subjectDescriptor"), call.text("containerDescriptor"));
    let id = by_descriptor(&world, member)?.id;
    let team = world.projects.values().find(|p| is_group(p, container));
    let is_in = |p: &&Project| p.members.contains(&id) && !p.guests.contains(&id);
    team.filter(is_in).ok_or_else(|| no_subject(container))?;
    Ok(Reply::ok(membership(call, container, member)))
}

fn membership(call: &Call<'_>, container: &str, member: &str) -> Value {
    let graph = |kind: &str, key: &str| json!({"href": format!("{}/_apis/Graph/{kind}/{key}", call.base)});
    json!({"containerDescriptor": container, "memberDescriptor": member, "_links": {
        "self": graph("Memberships", &format!("{member}/{container}")), "member": graph("Users", member),
        "container": graph("Groups", container),
    }})
}
