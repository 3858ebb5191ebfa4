//! Settings of a team: its iterations and its areas. Every team works in all of its project.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::{Outcome, Project, World};

/// The project of the address, whose team is the one of the address when that names one.
fn of<'w>(call: &Call<'_>, world: &'w World) -> Outcome<(&'w Project, String)> {
    let project = call.project(world)?;
    if let Some(team) = call.optional("team")
        && world.find_team(team).is_none_or(|p| p.id != project.id)
    {
        let text = format!("The team with id '{team}' does not exist.");
        return Err(Refusal::new(404, "TeamNotFoundException", text));
    }
    Ok((project, format!("{}/{}/{}/_apis/work/teamsettings", call.base, project.id, project.team.0)))
}

fn links(call: &Call<'_>, project: &Project, own: &str) -> Value {
    let url = format!("{}/_apis/projects/{}", call.base, project.id);
    json!({
        "self": {"href": own}, "project": {"href": url},
        "team": {"href": format!("{url}/teams/{}", project.team.0)},
    })
}

/// `GET teamsettings`.
pub fn settings(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let (project, url) = of(call, &world)?;
    let mut links = links(call, project, &url);
    links["teamIterations"] = json!({"href": format!("{url}/iterations")});
    links["teamFieldValues"] = json!({"href": format!("{url}/teamfieldvalues")});
    Ok(Reply::ok(json!({
        "backlogIteration": {"id": Uuid::nil()}, "bugsBehavior": "off",
        "workingDays": ["monday", "tuesday", "wednesday", "thursday", "friday"],
        "backlogVisibilities": {"Microsoft.EpicCategory": true, "Microsoft.RequirementCategory": true},
        "defaultIteration": null, "defaultIterationMacro": "@currentIteration", "url": url, "_links": links,
    })))
}

/// `GET teamsettings/iterations` and one of them.
pub fn iterations(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let (project, url) = of(call, &world)?;
    let render = |path: &String| {
        let id = super::work_item_parts::node_identifier(project, false, path);
        json!({
            "id": id, "name": path.rsplit('\\').next(), "path": path,
            "attributes": {"startDate": null, "finishDate": null, "timeFrame": "current"},
            "url": format!("{url}/iterations/{id}"),
        })
    };
    // The root is no iteration of a team.
    let mut all: Vec<Value> = project.iterations.iter().skip(1).map(render).collect();
    if let Some(wanted) = call.optional("id") {
        let found =
            all.into_iter().find(|i| i["id"].as_str().is_some_and(|id| id.eq_ignore_ascii_case(wanted)));
        let text = format!("The iteration {wanted} was not found.");
        return found.map(Reply::ok).ok_or_else(|| Refusal::new(404, "TeamIterationNotFoundException", text));
    }
    if call.query.get("timeframe").is_some_and(|t| t.eq_ignore_ascii_case("current")) {
        all.truncate(1);
    }
    Ok(Reply::list(all))
}

/// `GET teamsettings/teamfieldvalues`.
pub fn field_values(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let (project, url) = of(call, &world)?;
    let own = format!("{url}/teamfieldvalues");
    let mut links = links(call, project, &own);
    let areas = format!("{}/{}/_apis/wit/classificationNodes/Areas", call.base, project.id);
    links["teamSettings"] = json!({"href": url});
    links["areaPathClassificationNodes"] = json!({"href": areas});
    Ok(Reply::ok(json!({
        "field": {
            "referenceName": "System.AreaPath", "url": format!("{}/_apis/wit/fields/System.AreaPath", call.base),
        },
        "defaultValue": project.areas.first(),
        "values": project.areas.iter().take(1).map(|a| json!({"value": a, "includeChildren": true})).collect::<Vec<_>>(),
        "url": own, "_links": links,
    })))
}
