//! Which groups somebody is in, and who is in a group.

use serde_json::{Value, json};

use super::identities::{by_descriptor, group_descriptor};
use super::{Call, Reply};
use crate::simulator::azure_devops::render::descriptor_of;
use crate::simulator::azure_devops::state::Outcome;

/// `GET graph/memberships/{subject}`: with `direction=down` the members of a group.
pub fn list(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let subject = call.text("subjectDescriptor");
    let own = |project: &crate::simulator::azure_devops::state::Project| group_descriptor(project.team.0);
    let pair = |container: &str, member: &str| membership(&call.base, container, member);
    if call.query.get("direction").is_some_and(|d| d.eq_ignore_ascii_case("down")) {
        let group = world.projects.values().find(|p| own(p).eq_ignore_ascii_case(subject));
        let members = group.into_iter().flat_map(|p| p.members.difference(&p.guests).map(move |m| (own(p), m)));
        let known = members.filter_map(|(group, id)| Some(pair(&group, &descriptor_of(world.person(*id)?))));
        return Ok(Reply::list(known.collect()));
    }
    let id = by_descriptor(&world, subject)?.id;
    let groups = world.projects.values().filter(|p| p.members.contains(&id) && !p.guests.contains(&id));
    Ok(Reply::list(groups.map(|p| pair(&own(p), subject)).collect()))
}

fn membership(base: &str, container: &str, member: &str) -> Value {
    let link = |kind: &str, key: &str| json!({"href": format!("{base}/_apis/Graph/{kind}/{key}")});
    json!({
        "containerDescriptor": container,
        "memberDescriptor": member,
        "_links": {
            "self": link("Memberships", &format!("{member}/{container}")),
            "member": link("Users", member),
            "container": link("Groups", container),
        },
    })
}
