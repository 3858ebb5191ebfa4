//! Settings of a team: its iterations and its areas.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::nodes::url as node_url;
use super::{Call, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::teams::{TeamWork, no_team};
use crate::simulator::azure_devops::state::tree::Tree;
use crate::simulator::azure_devops::state::{Outcome, Project, World};

/// A team's settings, with the addresses around them.
struct Place<'w> {
    project: &'w Project,
    team: Uuid,
    /// Address of the settings.
    url: String,
    base: &'w str,
    now: Timestamp,
}

/// The team of the address, or the project's own.
fn place<'w>(call: &'w Call<'_>, world: &'w World) -> Outcome<Place<'w>> {
    let project = call.project(world)?;
    let team = match call.optional("team") {
        Some(text) => project.find_team(text).ok_or_else(|| no_team(text))?.id,
        None => project.team.0,
    };
    let url = format!("{}/{}/{team}/_apis/work/teamsettings", call.base, project.id);
    Ok(Place { project, team, url, base: &call.base, now: world.now() })
}

impl Place<'_> {
    fn work(&self) -> TeamWork {
        self.project.work_of(self.team)
    }

    fn links(&self, own: &str) -> Value {
        let url = format!("{}/_apis/projects/{}", self.base, self.project.id);
        json!({
            "self": {"href": own}, "project": {"href": url},
            "team": {"href": format!("{url}/teams/{}", self.team)},
        })
    }

    /// Address of the iteration at a position.
    fn node(&self, at: usize) -> String {
        let path = self.project.paths(Tree::Iterations).get(at).map(String::as_str).unwrap_or_default();
        let inner = path.split_once('\\').map_or("", |(_, inner)| inner);
        node_url(self.base, self.project, "Iterations", inner)
    }

    fn settings(&self) -> Value {
        let mut links = self.links(&self.url);
        links["teamIterations"] = json!({"href": format!("{}/iterations", self.url)});
        links["teamFieldValues"] = json!({"href": format!("{}/teamfieldvalues", self.url)});
        if let Some(at) = self.work().backlog {
            links["classificationNode"] = json!({"href": self.node(at)});
        }
        let backlog = match self.work().backlog {
            None => json!({"id": Uuid::nil()}),
            Some(at) => {
                let path =
                    self.project.paths(Tree::Iterations).get(at).map(String::as_str).unwrap_or_default();
                let inner = path.split_once('\\').map_or("", |(_, inner)| inner);
                let (_, id) = self.project.node_ids(Tree::Iterations, at);
                json!({
                    "id": id, "name": path.rsplit('\\').next(), "path": inner, "url": self.node(at),
                })
            }
        };
        json!({
            "backlogIteration": backlog, "bugsBehavior": "off",
            "workingDays": ["monday", "tuesday", "wednesday", "thursday", "friday"],
            "backlogVisibilities": {"Microsoft.EpicCategory": true, "Microsoft.RequirementCategory": true},
            "defaultIteration": null, "defaultIterationMacro": "@currentIteration", "url": self.url,
            "_links": links,
        })
    }

    fn iteration(&self, at: usize) -> Value {
        let path = self.project.paths(Tree::Iterations).get(at).map(String::as_str).unwrap_or_default();
        let (_, id) = self.project.node_ids(Tree::Iterations, at);
        let (start, finish) = self.project.iteration_dates.get(&at).copied().unwrap_or_default();
        json!({
            "id": id, "name": path.rsplit('\\').next(), "path": path,
            "attributes": {"startDate": start, "finishDate": finish, "timeFrame": self.frame(at)},
            "url": format!("{}/iterations/{id}", self.url),
        })
    }

    /// `past`, `current` or `future`; without dates a sprint is a current one.
    fn frame(&self, at: usize) -> &'static str {
        let (start, finish) = self.project.iteration_dates.get(&at).copied().unwrap_or_default();
        let day = jiff::SignedDuration::from_hours(24);
        match (start, finish) {
            (Some(start), _) if self.now < start => "future",
            // The last day belongs to it.
            (_, Some(finish)) if finish.checked_add(day).is_ok_and(|end| self.now >= end) => "past",
            _ => "current",
        }
    }

    fn whole_iteration(&self, at: usize) -> Value {
        let mut shown = self.iteration(at);
        let own = shown["url"].as_str().unwrap_or_default().to_owned();
        let mut links = self.links(&own);
        links["teamSettings"] = json!({"href": self.url});
        links["teamIterations"] = json!({"href": format!("{}/iterations", self.url)});
        links["capacity"] = json!({"href": format!("{own}/capacities")});
        links["workitems"] = json!({"href": format!("{own}/workitems")});
        links["classificationNode"] = json!({"href": self.node(at)});
        links["teamDaysOff"] = json!({"href": format!("{own}/teamdaysoff")});
        shown["_links"] = links;
        shown
    }

    fn at(&self, id: &str) -> Option<usize> {
        let wanted = Uuid::try_parse(id).ok()?;
        let is_there = |at: &usize| !self.project.paths(Tree::Iterations)[*at].is_empty();
        let all = (0..self.project.paths(Tree::Iterations).len()).filter(is_there);
        all.into_iter().find(|at| self.project.node_ids(Tree::Iterations, *at).1 == wanted)
    }

    fn field_values(&self) -> Value {
        let work = self.work();
        let own = format!("{}/teamfieldvalues", self.url);
        let mut links = self.links(&own);
        links["teamSettings"] = json!({"href": self.url});
        links["areaPathClassificationNodes"] =
            json!({"href": node_url(self.base, self.project, "Areas", "")});
        let path = |at: usize| self.project.paths(Tree::Areas).get(at).filter(|path| !path.is_empty());
        let values = work.areas.iter().filter_map(|(at, below)| Some((path(*at)?, below)));
        let values: Vec<Value> =
            values.map(|(path, below)| json!({"value": path, "includeChildren": below})).collect();
        json!({
            "field": {
                "referenceName": "System.AreaPath",
                "url": format!("{}/_apis/wit/fields/System.AreaPath", self.base),
            },
            "defaultValue": work.default_area.and_then(path), "values": values, "url": own, "_links": links,
        })
    }
}

/// `GET teamsettings`.
pub fn settings(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    Ok(Reply::ok(place(call, &world)?.settings()))
}

/// `PATCH teamsettings`: the backlog's iteration.
pub fn change_settings(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let found = place(call, &world)?;
    let (project, team, mut work) = (found.project.id, found.team, found.work());
    if let Some(id) = body["backlogIteration"].as_str() {
        work.backlog = Some(found.at(id).ok_or_else(no_backlog)?);
    }
    world.set_team_work(call.actor, project, team, work)?;
    Ok(Reply::ok(place(call, &world)?.settings()))
}

fn no_backlog() -> Refusal {
    let text = "TF400497: The backlog iteration path that you specified is no longer valid.";
    let mut refusal = Refusal::new(400, "InvalidTeamSettingsException", text);
    refusal.namespace = "Microsoft.Azure.Boards.Agile.Common.Exceptions";
    refusal
}

fn no_iteration(id: &str) -> Refusal {
    Refusal::new(404, "TeamIterationNotFoundException", format!("The iteration {id} was not found."))
}

/// `GET teamsettings/iterations` and one of them.
pub fn iterations(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let found = place(call, &world)?;
    let work = found.work();
    if let Some(id) = call.optional("id") {
        let at = found.at(id).filter(|at| work.iterations.contains(at)).ok_or_else(|| no_iteration(id))?;
        return Ok(Reply::ok(found.whole_iteration(at)));
    }
    let is_there =
        |at: &&usize| found.project.paths(Tree::Iterations).get(**at).is_some_and(|p| !p.is_empty());
    let current = call.query.get("timeframe").is_some_and(|t| t.eq_ignore_ascii_case("current"));
    let own = work.iterations.iter().filter(is_there).filter(|at| !current || found.frame(**at) == "current");
    // At one time a team is in one sprint.
    let most = if current { 1 } else { usize::MAX };
    Ok(Reply::list(own.take(most).map(|at| found.iteration(*at)).collect()))
}

/// `POST teamsettings/iterations`: a sprint for the team.
pub fn add_iteration(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let found = place(call, &world)?;
    let id = body["id"].as_str().unwrap_or_default();
    let at = found.at(id).ok_or_else(|| no_iteration(id))?;
    let (project, team, mut work) = (found.project.id, found.team, found.work());
    // Only the default team may do without a backlog: it was set up with the project.
    if work.backlog.is_none() && team != found.project.team.0 {
        return Err(no_backlog());
    }
    work.iterations.insert(at);
    world.set_team_work(call.actor, project, team, work)?;
    Ok(Reply::json(201, &place(call, &world)?.whole_iteration(at)))
}

/// `DELETE teamsettings/iterations/{id}`.
pub fn remove_iteration(call: &Call<'_>) -> Outcome<Reply> {
    let mut world = call.organisation.lock();
    let found = place(call, &world)?;
    let (project, team, mut work) = (found.project.id, found.team, found.work());
    let id = call.text("id");
    let at = found.at(id).filter(|at| work.iterations.contains(at)).ok_or_else(|| no_iteration(id))?;
    work.iterations.remove(&at);
    world.set_team_work(call.actor, project, team, work)?;
    Ok(Reply::empty(204))
}

/// `GET teamsettings/teamfieldvalues`.
pub fn field_values(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    Ok(Reply::ok(place(call, &world)?.field_values()))
}

/// `PATCH teamsettings/teamfieldvalues`: the team's areas.
pub fn change_field_values(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let found = place(call, &world)?;
    let (project, team, mut work) = (found.project.id, found.team, found.work());
    let Some(default) = body["defaultValue"].as_str() else {
        let mut refusal = Refusal::new(400, "TeamFieldArgumentNullException", "DefaultValue");
        (refusal.namespace, refusal.event_id) = ("Microsoft.TeamFoundation.Work.WebApi.Exceptions", 0);
        return Err(refusal);
    };
    let area = |path: &str| {
        found.project.node(Tree::Areas, path).ok_or_else(|| Refusal::tree_path(-1, "System.AreaPath"))
    };
    work.default_area = Some(area(default)?);
    work.areas = Vec::new();
    for value in body["values"].as_array().into_iter().flatten() {
        let path = value["value"].as_str().unwrap_or_default();
        work.areas.push((area(path)?, value["includeChildren"].as_bool().unwrap_or(false)));
    }
    world.set_team_work(call.actor, project, team, work)?;
    Ok(Reply::ok(place(call, &world)?.field_values()))
}
