//! Build definitions, builds, timelines, test results, pipeline runs.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{View, put, stamp};
use crate::simulator::azure_devops::state::build::{
    Build, BuildReason, BuildResult, BuildStatus, Definition, Step, StepResult,
};

/// Ids inside a timeline, made from the build and a position.
fn record_id(build: u32, position: usize) -> Uuid {
    Uuid::from_u128((u128::from(build) << 64) | 0xb01d_0000_0000_0000 | position as u128)
}

impl View<'_> {
    fn definition_url(&self, definition: &Definition) -> String {
        format!(
            "{}/{}/_apis/build/Definitions/{}?revision={}",
            self.base, definition.project, definition.id, definition.revision
        )
    }

    /// DefinitionReference.
    pub fn definition_ref(&self, definition: &Definition) -> Value {
        json!({
            "drafts": [],
            "id": definition.id,
            "name": definition.name,
            "url": self.definition_url(definition),
            "uri": format!("vstfs:///Build/Definition/{}", definition.id),
            "path": "\\",
            "type": "build",
            "queueStatus": "enabled",
            "revision": definition.revision,
            "project": self.project_ref(definition.project),
        })
    }

    /// BuildDefinitionReference as lists give it, or with `full` the whole definition.
    pub fn definition(&self, definition: &Definition, full: bool) -> Value {
        let web = format!("{}/{}/_build", self.base, definition.project);
        let mut map = Map::new();
        map.insert("_links".into(), json!({
            "self": {"href": self.definition_url(definition)},
            "web": {"href": format!("{web}/definition?definitionId={}", definition.id)},
            "editor": {"href": format!("{web}/designer?id={}&_a=edit-build-definition", definition.id)},
            "badge": {"href": format!("{}/{}/_apis/build/status/{}", self.base, definition.project, definition.id)},
        }));
        map.insert("quality".into(), json!("definition"));
        map.insert("authoredBy".into(), self.identity(definition.author));
        map.insert("drafts".into(), json!([]));
        let mut queue = self.queue();
        queue["_links"] = json!({"self": {"href": format!("{}/_apis/build/Queues/1", self.base)}});
        queue["url"] = json!(format!("{}/_apis/build/Queues/1", self.base));
        map.insert("queue".into(), queue);
        if let Value::Object(reference) = self.definition_ref(definition) {
            map.extend(reference);
        }
        map.insert("createdDate".into(), json!(stamp(definition.created)));
        if full {
            map.insert("process".into(), json!({"yamlFilename": definition.yaml, "type": 2}));
            if let Some(repository) = self.world.repositories.get(&definition.repository) {
                map.insert("repository".into(), json!({
                    "id": repository.id, "type": "TfsGit", "name": repository.name,
                    "url": self.repository_web_url(repository), "defaultBranch": repository.default_branch,
                    "clean": null, "checkoutSubmodules": false,
                }));
            }
            map.insert("triggers".into(), json!([{
                "branchFilters": definition.branches, "pathFilters": [], "settingsSourceType": 2, "batchChanges": false,
                "maxConcurrentBuildsPerBranch": 1, "triggerType": "continuousIntegration",
            }]));
            map.insert("properties".into(), json!({}));
            map.insert("tags".into(), json!([]));
            map.insert("jobAuthorizationScope".into(), json!("projectCollection"));
            map.insert("simulatorChecks".into(), json!(definition.checks));
        }
        Value::Object(map)
    }

    /// What started the build.
    fn trigger(&self, definition: &Definition, build: &Build) -> Value {
        match &build.pull_request {
            Some((number, source)) => json!({
                "pr.number": number.to_string(), "pr.sourceSha": source,
                "pr.sourceBranch": self.world.pull_requests.get(number).map(|p| p.source_ref.clone()),
                "pr.isFork": "False", "pr.triggerRepository.Type": "TfsGit",
            }),
            None if build.reason == BuildReason::IndividualCi => json!({
                "ci.sourceBranch": build.branch, "ci.sourceSha": build.commit, "ci.message": build.message,
                "ci.triggerRepository": definition.repository,
            }),
            None => json!({}),
        }
    }

    fn queue(&self) -> Value {
        json!({"id": 1, "name": "Azure Pipelines", "pool": {"id": 1, "name": "Azure Pipelines", "isHosted": true}})
    }

    /// Address of a build.
    pub fn build_url(&self, build: &Build) -> String {
        let project = self.world.definitions.get(&build.definition).map(|d| d.project).unwrap_or_default();
        format!("{}/{project}/_apis/build/Builds/{}", self.base, build.id)
    }

    /// Build.
    pub fn build(&self, build: &Build) -> Value {
        let Some(definition) = self.world.definitions.get(&build.definition) else { return Value::Null };
        let url = self.build_url(build);
        let lower = url.replace("/build/Builds/", "/build/builds/");
        let mut map = Map::new();
        map.insert("_links".into(), json!({
            "self": {"href": url},
            "web": {"href": format!("{}/{}/_build/results?buildId={}", self.base, definition.project, build.id)},
            "sourceVersionDisplayUri": {"href": format!("{lower}/sources")},
            "timeline": {"href": format!("{lower}/Timeline")},
            "badge": {"href": format!("{}/{}/_apis/build/status/{}", self.base, definition.project, definition.id)},
        }));
        map.insert("properties".into(), json!({}));
        map.insert("tags".into(), json!(build.tags));
        map.insert("validationResults".into(), json!([]));
        map.insert("plans".into(), json!([{"planId": record_id(build.id, 0)}]));
        map.insert("triggerInfo".into(), self.trigger(definition, build));
        map.insert("id".into(), json!(build.id));
        map.insert("buildNumber".into(), json!(build.number));
        map.insert("status".into(), json!(build.status));
        put(&mut map, "result", build.result.map(|r| r.name()));
        map.insert("queueTime".into(), json!(stamp(build.queued)));
        put(&mut map, "startTime", build.started.map(stamp));
        put(&mut map, "finishTime", build.finished.map(stamp));
        map.insert("url".into(), json!(url));
        map.insert("definition".into(), self.definition_ref(definition));
        let revision = build.number.rsplit('.').next().and_then(|n| n.parse::<u32>().ok());
        put(&mut map, "buildNumberRevision", revision);
        map.insert("project".into(), self.project_ref(definition.project));
        map.insert("uri".into(), json!(format!("vstfs:///Build/Build/{}", build.id)));
        map.insert("sourceBranch".into(), json!(build.branch));
        map.insert("sourceVersion".into(), json!(build.commit));
        map.insert("queue".into(), self.queue());
        map.insert("priority".into(), json!("normal"));
        map.insert("reason".into(), json!(build.reason));
        map.insert("requestedFor".into(), self.identity(build.requested_by));
        map.insert("requestedBy".into(), self.identity(build.requested_by));
        map.insert(
            "lastChangedDate".into(),
            json!(stamp(build.finished.or(build.started).unwrap_or(build.queued))),
        );
        map.insert("lastChangedBy".into(), self.identity(build.requested_by));
        put(&mut map, "parameters", build.parameters.clone());
        map.insert("orchestrationPlan".into(), json!({"planId": record_id(build.id, 0)}));
        map.insert("logs".into(), json!({"id": 0, "type": "Container", "url": format!("{lower}/logs")}));
        if let Some(repository) = self.world.repositories.get(&definition.repository) {
            map.insert(
                "repository".into(),
                json!({
                    "id": repository.id, "type": "TfsGit", "name": repository.name,
                    "url": self.repository_web_url(repository), "clean": null, "checkoutSubmodules": false,
                }),
            );
        }
        map.insert("keepForever".into(), json!(false));
        map.insert("retainedByRelease".into(), json!(false));
        map.insert("triggeredByBuild".into(), Value::Null);
        map.insert("appendCommitMessageToRunName".into(), json!(true));
        Value::Object(map)
    }

    /// Timeline: stage, phase, job, and one record for each step.
    pub fn timeline(&self, build: &Build) -> Value {
        let frame = [("Stage", "__default", 1), ("Phase", "Job", 2), ("Job", "Job", 3)];
        let result = build.result.map(|r| if r == BuildResult::None { "succeeded" } else { r.name() });
        let state = match build.status {
            BuildStatus::Completed => "completed",
            BuildStatus::InProgress | BuildStatus::Cancelling => "inProgress",
            _ => "pending",
        };
        let mut records = Vec::new();
        for (kind, name, position) in frame {
            let parent = (position > 1).then(|| record_id(build.id, position - 1));
            let errors: usize = if kind == "Job" { build.steps.iter().map(errors_of).sum() } else { 0 };
            records.push(json!({
                "previousAttempts": [], "id": record_id(build.id, position), "parentId": parent, "type": kind, "name": name,
                "startTime": build.started.map(stamp), "finishTime": build.finished.map(stamp), "currentOperation": null,
                "percentComplete": null, "state": state, "result": result, "resultCode": null, "changeId": position,
                "lastModified": "0001-01-01T00:00:00", "workerName": "Simulator 1", "order": 1, "details": null,
                "errorCount": errors, "warningCount": 0, "url": null, "log": null, "task": null, "attempt": 1,
                "identifier": name,
            }));
        }
        records.extend(build.steps.iter().zip(1usize..).map(|(step, at)| self.step_record(build, step, at)));
        json!({
            "records": records,
            "lastChangedBy": build.requested_by,
            "lastChangedOn": stamp(build.finished.or(build.started).unwrap_or(build.queued)),
            "id": record_id(build.id, 0),
            "changeId": records.len(),
            "url": format!("{}/Timeline/{}", self.build_url(build), record_id(build.id, 0)),
        })
    }

    fn step_record(&self, build: &Build, step: &Step, at: usize) -> Value {
        let state = match (step.started, step.result) {
            (_, Some(_)) => "completed",
            (Some(_), None) => "inProgress",
            (None, None) => "pending",
        };
        let shown = step.finished.is_some();
        let url = format!("{}/logs/{at}", self.build_url(build).replace("/build/Builds/", "/build/builds/"));
        let log = (shown && !step.log.is_empty()).then(|| json!({"id": at, "type": "Container", "url": url}));
        let problems = step.findings.iter().flat_map(|f| f.problems.iter().map(move |p| (f, p)));
        let issues: Vec<Value> = problems
            .filter(|_| shown)
            .map(|(finding, problem)| {
                let place = if problem.path.is_empty() { finding.name.clone() } else { format!("{}({},1)", problem.path, problem.line) };
                json!({
                    "type": "error", "category": "General", "message": format!("{place}: error: {}", problem.message),
                    "data": {"type": "error", "sourcepath": problem.path, "linenumber": problem.line.to_string(), "logFileLineNumber": "1"},
                })
            })
            .collect();
        json!({
            "previousAttempts": [], "id": record_id(build.id, 10 + at), "parentId": record_id(build.id, 3), "type": "Task",
            "name": step.name, "startTime": step.started.map(stamp), "finishTime": step.finished.map(stamp),
            "currentOperation": null, "percentComplete": null, "state": state, "result": step.result.map(StepResult::name),
            "resultCode": null, "changeId": 3 + at, "lastModified": "0001-01-01T00:00:00", "workerName": "Simulator 1",
            "order": at, "details": null, "errorCount": issues.len(), "warningCount": 0, "url": null, "log": log,
            "task": null, "attempt": 1, "identifier": null, "issues": issues,
        })
    }

    /// BuildLog of one step.
    pub fn build_log(&self, build: &Build, step: &Step, at: usize) -> Value {
        let url = format!("{}/logs/{at}", self.build_url(build).replace("/build/Builds/", "/build/builds/"));
        json!({
            "lineCount": step.log.len(), "createdOn": step.started.map(stamp), "lastChangedOn": step.finished.map(stamp),
            "id": at, "type": "Container", "url": url,
        })
    }

    /// TestRun of a build: one test case for each check of its `Test` step.
    pub fn test_run(&self, build: &Build, cases: &[Value]) -> Value {
        let project = self.world.definitions.get(&build.definition).map(|d| d.project).unwrap_or_default();
        let passed = cases.iter().filter(|c| c["outcome"] == "Passed").count();
        let reference = self.world.projects.get(&project);
        json!({
            "id": build.id, "name": format!("Tests of build {}", build.number), "isAutomated": true, "state": "Completed",
            "url": format!("{}/{project}/_apis/test/Runs/{}", self.base, build.id),
            "webAccessUrl": format!("{}/{project}/_build/results?buildId={}", self.base, build.id),
            "build": {"id": build.id.to_string(), "name": build.number, "url": self.build_url(build)},
            "project": {"id": project, "name": reference.map(|p| p.name.clone())},
            "startedDate": build.started.map(stamp), "completedDate": build.finished.map(stamp),
            "totalTests": cases.len(), "passedTests": passed, "incompleteTests": 0, "notApplicableTests": 0,
            "unanalyzedTests": cases.len() - passed, "revision": 1,
        })
    }

    /// TestCaseResults of a build.
    pub fn test_results(&self, build: &Build) -> Vec<Value> {
        let steps = build.steps.iter().filter(|s| s.name.starts_with("Test") && s.finished.is_some());
        let findings = steps.flat_map(|s| s.findings.iter());
        findings
            .zip(100_000u32..)
            .map(|(finding, id)| {
                let failed = !finding.problems.is_empty();
                let mut map = Map::new();
                map.insert("id".into(), json!(id));
                map.insert("testCaseTitle".into(), json!(finding.name));
                map.insert("automatedTestName".into(), json!(finding.name));
                map.insert("outcome".into(), json!(if failed { "Failed" } else { "Passed" }));
                map.insert("state".into(), json!("Completed"));
                map.insert("durationInMs".into(), json!(3.0));
                map.insert("priority".into(), json!(0));
                map.insert("testRun".into(), json!({"id": build.id.to_string(), "name": build.number}));
                map.insert("build".into(), json!({"id": build.id.to_string(), "name": build.number}));
                if failed {
                    let texts: Vec<String> = finding
                        .problems
                        .iter()
                        .map(|p| format!("{}:{}: {}", p.path, p.line, p.message))
                        .collect();
                    map.insert("errorMessage".into(), json!(texts.join("\n")));
                    map.insert("stackTrace".into(), json!(""));
                }
                Value::Object(map)
            })
            .collect()
    }

    /// Pipeline.
    pub fn pipeline(&self, definition: &Definition) -> Value {
        let url = format!(
            "{}/{}/_apis/pipelines/{}?revision={}",
            self.base, definition.project, definition.id, definition.revision
        );
        let web =
            format!("{}/{}/_build/definition?definitionId={}", self.base, definition.project, definition.id);
        json!({
            "_links": {"self": {"href": url}, "web": {"href": web}},
            "url": url, "id": definition.id, "revision": definition.revision, "name": definition.name, "folder": "\\",
        })
    }

    /// Run of a pipeline.
    pub fn pipeline_run(&self, build: &Build) -> Value {
        let Some(definition) = self.world.definitions.get(&build.definition) else { return Value::Null };
        let url = format!(
            "{}/{}/_apis/pipelines/{}/runs/{}",
            self.base, definition.project, definition.id, build.id
        );
        let state = match build.status {
            BuildStatus::Completed => "completed",
            BuildStatus::Cancelling => "canceling",
            _ => "inProgress",
        };
        let mut map = Map::new();
        map.insert("_links".into(), json!({
            "self": {"href": url},
            "web": {"href": format!("{}/{}/_build/results?buildId={}", self.base, definition.project, build.id)},
            "pipeline": {"href": self.pipeline(definition)["url"]},
        }));
        map.insert("pipeline".into(), self.pipeline(definition));
        map.insert("state".into(), json!(state));
        put(&mut map, "result", build.result.map(|r| r.name()));
        map.insert("createdDate".into(), json!(stamp(build.queued)));
        put(&mut map, "finishedDate", build.finished.map(stamp));
        map.insert("url".into(), json!(url));
        map.insert("resources".into(), json!({"repositories": {"self": {
            "repository": {"id": definition.repository, "type": "azureReposGit"}, "refName": build.branch, "version": build.commit,
        }}}));
        map.insert("id".into(), json!(build.id));
        map.insert("name".into(), json!(build.number));
        Value::Object(map)
    }
}

fn errors_of(step: &Step) -> usize {
    if step.finished.is_none() { 0 } else { step.findings.iter().map(|f| f.problems.len()).sum() }
}
