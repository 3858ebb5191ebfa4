//! Builds: what became of one and why it failed; starting one.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Desk, Fault, Tool, Work, pull_requests, read, schema, trust, words};
use crate::action::{Action, BranchName, CommitId};
use crate::azure_devops::{Build, BuildResult, BuildStatus, FailedStep, PullRequest};
use crate::journal::{Link, Outcome};
use crate::policy::{Facts, Label};

/// Builds that are looked at to find the newest of each definition.
const MAX_BUILDS: u32 = 50;
/// Most failed steps and failed tests that are told.
const MAX_FAILURES: usize = 20;
/// Most lines of the log of a failed step that are shown.
const LOG_LINES: usize = 80;
/// Longest message or line that is shown, in characters.
const MAX_TEXT: usize = 1_000;

pub(super) const GET: Tool = Tool {
    name: "get_build",
    description: "Reads a build: state, result, and for a failed one its failed steps and tests and the end of the log. \
                  Give exactly one: id, or pull_request_id or branch for the newest build of it.",
    parameters: schema::strict::<Get>,
    run: |desk, arguments| Box::pin(get(desk, arguments)) as Work<'_>,
};

pub(super) const QUEUE: Tool = Tool {
    name: "queue_build",
    description: "Starts a build of a branch. Pushes and pull requests start their builds by themselves where the team \
                  set that up: look with get_build first. definition is a name; null where there is only one.",
    parameters: schema::strict::<Queue>,
    run: |desk, arguments| Box::pin(queue(desk, arguments)) as Work<'_>,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Get {
    id: Option<u32>,
    pull_request_id: Option<u32>,
    branch: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Queue {
    branch: String,
    definition: Option<String>,
}

async fn get(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let args: Get = read(arguments)?;
    desk.gate.read("build.read").await?;
    let branch = args.branch.filter(|name| !name.trim().is_empty());
    let (of, builds, tip) = match (args.id, args.pull_request_id, branch) {
        (Some(id), None, None) => (format!("build {id}"), vec![one(desk, id).await?], None),
        (None, Some(id), None) => {
            desk.gate.read("pull_request.read").await?;
            let found = desk.toolbox.azure.pull_request(&desk.toolbox.served, id).await?;
            pull_requests::place(desk, &found)?;
            let tip = found.source_commit.clone();
            (format!("pull request {id}"), newest_of(desk, &found).await?, tip)
        }
        (None, None, Some(name)) => {
            let branch = BranchName::new(&name)?;
            let found = desk.toolbox.azure.branch(&desk.toolbox.served, &branch).await?;
            let Some(found) = found else {
                return Err(words(format!("There is no branch {branch}."), "Give a branch that is there."));
            };
            (format!("branch {branch}"), newest(desk, &[branch.full()]).await?, Some(found.tip))
        }
        _ => {
            return Err(words(
                "Give exactly one of id, pull_request_id and branch.",
                "Give null for the others.",
            ));
        }
    };
    let Some(build) = told_of(&builds) else {
        let note = "No build was started for it. It is not known whether the change builds: do not claim that it does.";
        let content = json!({ "builds": [], "note": note });
        let summary = format!("No build of {of}");
        return Ok(Outcome { ok: true, content: content.to_string(), summary, ..Outcome::default() });
    };
    let mut content = shown(build);
    if let Some(tip) = tip {
        content["is_of_newest_commit"] = json!(build.source_commit.as_ref().map(|commit| *commit == tip));
    }
    let others: Vec<Value> = builds
        .iter()
        .filter(|other| other.id != build.id)
        .map(|b| json!({ "id": b.id, "definition": b.definition, "status": b.status, "result": b.result }))
        .collect();
    if !others.is_empty() {
        content["other_definitions"] = json!(others);
    }
    explain(desk, build, &mut content).await?;
    let log = trust::source(
        desk,
        "build_log",
        format!("build:{}", build.id),
        &content.to_string(),
        Label::Untrusted,
    );
    desk.saw(log);
    Ok(Outcome {
        ok: true,
        content: content.to_string(),
        summary: format!("Build {} of {}: {}", build.number, build.definition, state(build)),
        target_url: Some(build.web_url.clone()),
        ..Outcome::default()
    })
}

fn shown(build: &Build) -> Value {
    json!({
        "id": build.id, "number": build.number, "definition": build.definition, "status": build.status,
        "result": build.result, "reason": build.reason, "branch": build.branch, "commit": build.source_commit,
        "requested_for": build.requested_for.name, "finished": build.finished, "url": build.web_url,
    })
}

async fn one(desk: &Desk<'_>, id: u32) -> Result<Build, Fault> {
    let served = &desk.toolbox.served;
    let build = desk.toolbox.azure.build(&served.project, id).await?;
    let repository = desk.toolbox.repository().await?;
    if build.repository_id.eq_ignore_ascii_case(&repository.id) {
        return Ok(build);
    }
    Err(words(
        format!("Build {id} is not of the repository {}.", served.repository),
        "Only builds of that repository can be read.",
    ))
}

/// The newest build of each definition for any of `references`, newest first.
async fn newest(desk: &Desk<'_>, references: &[String]) -> Result<Vec<Build>, Fault> {
    let repository = desk.toolbox.repository().await?;
    let project = &desk.toolbox.served.project;
    let mut all = Vec::new();
    for reference in references {
        all.extend(desk.toolbox.azure.builds(project, &repository.id, reference, MAX_BUILDS).await?);
    }
    all.sort_by_key(|build| std::cmp::Reverse(build.id));
    let mut newest: Vec<Build> = Vec::new();
    for build in all {
        if !newest.iter().any(|known| known.definition_id == build.definition_id) {
            newest.push(build);
        }
    }
    Ok(newest)
}

async fn newest_of(desk: &Desk<'_>, found: &PullRequest) -> Result<Vec<Build>, Fault> {
    let merge = format!("refs/pull/{}/merge", found.id);
    newest(desk, &[merge, format!("refs/heads/{}", found.source_branch)]).await
}

/// Whether the newest build of each definition for a pull request succeeded and is of its newest
/// commit; also where there is no build.
pub(super) async fn is_green(desk: &mut Desk<'_>, found: &PullRequest) -> Result<bool, Fault> {
    desk.gate.read("build.read").await?;
    let builds = newest_of(desk, found).await?;
    Ok(builds.iter().all(|build| is_good(build, found.source_commit.as_ref())))
}

fn is_good(build: &Build, tip: Option<&CommitId>) -> bool {
    // Where the service does not say what was built, its result has to do.
    let is_stale = build.source_commit.is_some() && build.source_commit.as_ref() != tip;
    build.result == Some(BuildResult::Succeeded) && !is_stale
}

/// The build to tell of: one that failed, else one that is under way, else the newest.
fn told_of(builds: &[Build]) -> Option<&Build> {
    let first = |wanted: fn(&Build) -> bool| builds.iter().find(|build| wanted(build));
    first(|build| build.result == Some(BuildResult::Failed))
        .or_else(|| first(|build| build.status != BuildStatus::Completed))
        .or_else(|| builds.first())
}

fn state(build: &Build) -> &'static str {
    match (build.status, build.result) {
        (BuildStatus::Completed, Some(BuildResult::Succeeded)) => "succeeded",
        (BuildStatus::Completed, Some(BuildResult::PartiallySucceeded)) => "partially succeeded",
        (BuildStatus::Completed, Some(BuildResult::Failed)) => "failed",
        (BuildStatus::Completed, Some(BuildResult::Canceled)) => "canceled",
        (BuildStatus::Completed, None) => "ended",
        (BuildStatus::InProgress, _) => "under way",
        (BuildStatus::Cancelling, _) => "being canceled",
        _ => "waiting to start",
    }
}

/// Adds what went wrong, or that it has not ended.
async fn explain(desk: &Desk<'_>, build: &Build, content: &mut Value) -> Result<(), Fault> {
    if build.status != BuildStatus::Completed {
        content["note"] =
            json!("It has not ended. Do not wait by asking again: say in your answer that it is under way.");
        return Ok(());
    }
    if build.result == Some(BuildResult::Succeeded) {
        return Ok(());
    }
    let (azure, project) = (&desk.toolbox.azure, desk.toolbox.served.project.as_str());
    let steps = azure.failed_steps(project, build.id).await?;
    let tests = azure.test_summary(project, build.id, MAX_FAILURES).await?;
    let step = |step: &FailedStep| {
        let errors: Vec<String> = step.errors.iter().take(MAX_FAILURES).map(|text| brief(text)).collect();
        json!({ "name": step.name, "result": step.result, "errors": errors })
    };
    content["failed_steps"] = steps.iter().take(MAX_FAILURES).map(step).collect();
    if tests.total > 0 {
        let failed = tests.failed.iter();
        let failed: Vec<Value> = failed
            .map(|test| json!({ "name": test.name, "message": brief(&test.message), "stack": brief(&test.stack) }))
            .collect();
        content["tests"] = json!({ "total": tests.total, "failed": failed });
    }
    if let Some((name, log)) = steps.iter().find_map(|step| Some((&step.name, step.log_id?))) {
        let tail = azure.log_tail(project, build.id, log, LOG_LINES).await?;
        let lines: Vec<String> = tail.lines.iter().map(|line| brief(line)).collect();
        content["log"] = json!({ "step": name, "lines": tail.total, "end": lines.join("\n") });
    }
    Ok(())
}

fn brief(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

async fn queue(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let args: Queue = read(arguments)?;
    let name = BranchName::new(&args.branch)?;
    desk.gate.read("build.read").await?;
    let served = desk.toolbox.served.clone();
    let Some(branch) = desk.toolbox.azure.branch(&served, &name).await? else {
        return Err(words(format!("There is no branch {name}."), "Push the changes first."));
    };
    let repository = desk.toolbox.repository().await?;
    let definitions = desk.toolbox.azure.build_definitions(&served.project, &repository.id).await?;
    let wanted = args.definition.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let fits: Vec<_> = definitions
        .iter()
        .filter(|found| wanted.is_none_or(|wanted| found.name.eq_ignore_ascii_case(wanted)))
        .collect();
    let definition = match fits.as_slice() {
        [one] => (*one).clone(),
        _ => {
            let names: Vec<&str> = definitions.iter().map(|found| found.name.as_str()).collect();
            let remedy = match names.is_empty() {
                true => "Nothing builds this repository: go on without a build.".to_owned(),
                false => format!("Give one of: {}.", names.join(", ")),
            };
            return Err(words("It is not clear which definition is meant.", remedy));
        }
    };
    let me = desk.toolbox.me().await?;
    let own = desk.toolbox.azure.own_builds(&served, definition.id, &name, me).await?;
    let action = Action::QueueBuild {
        repository: served,
        definition_id: definition.id,
        branch: branch.name.clone(),
        after: own.first().map_or(0, |build| build.id),
    };
    let facts = Facts {
        branch: Some(name.as_str().to_owned()),
        own_branch: branch.creator.is_some_and(|creator| creator.id == me.id),
        ..desk.gate.facts(action.kind())
    };
    desk.gate.shown().names.insert("definition_id".to_owned(), definition.name.clone());
    let effect = desk.gate.write(action, facts).await?;
    let (title, url) = (effect.title.unwrap_or_default(), effect.web_url.unwrap_or_default());
    let id = effect.id.and_then(|id| id.parse::<u32>().ok());
    let content = json!({ "id": id, "definition": definition.name, "branch": name, "url": url });
    Ok(Outcome {
        ok: true,
        content: content.to_string(),
        summary: format!("Started a build of {name}: {title}"),
        target_url: Some(url.clone()),
        links: vec![Link { kind: "build".into(), title, url }],
        diff: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure_devops::Person;

    fn build(id: u32, status: BuildStatus, result: Option<BuildResult>) -> Build {
        let text = String::new;
        Build {
            id,
            number: text(),
            definition: text(),
            definition_id: id,
            status,
            result,
            reason: text(),
            branch: text(),
            commit: None,
            source_commit: None,
            repository_id: text(),
            requested_for: Person::default(),
            queued: None,
            finished: None,
            web_url: text(),
        }
    }

    #[test]
    fn green_is_a_success_of_the_newest_commit() {
        let commit = |digit: &str| CommitId::new(&digit.repeat(40)).unwrap();
        let tip = commit("1");
        let mut found = build(1, BuildStatus::Completed, Some(BuildResult::Succeeded));
        assert!(is_good(&found, Some(&tip)), "the service does not say what was built");
        found.source_commit = Some(commit("2"));
        assert!(!is_good(&found, Some(&tip)), "an older commit was built");
        found.source_commit = Some(tip.clone());
        assert!(is_good(&found, Some(&tip)));
        found.result = None;
        assert!(!is_good(&found, Some(&tip)), "it has not ended");
    }

    #[test]
    fn a_failure_is_told_before_anything_else() {
        let good = build(3, BuildStatus::Completed, Some(BuildResult::Succeeded));
        let going = build(2, BuildStatus::InProgress, None);
        let bad = build(1, BuildStatus::Completed, Some(BuildResult::Failed));
        let told = |builds: &[Build]| told_of(builds).map(|build| build.id);
        assert_eq!(told(&[good.clone(), going.clone(), bad]), Some(1));
        assert_eq!(told(&[good.clone(), going]), Some(2));
        assert_eq!(told(&[good]), Some(3));
        assert_eq!(told(&[]), None);
    }
}
