//! Builds: definitions, queueing, what happens over time, and what they mean for policies.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::access::Permission;
use super::build::{Build, BuildReason, BuildResult, BuildStatus, Definition, StepResult};
use super::build_plan::{Planned, Reading, stamp_log};
use super::checks::Check;
use super::jobs::JobKind;
use super::policies::Policy;
use super::{Actor, Counters, MergeStatus, Outcome, PullRequest, Push, World, ZERO_SHA};
use crate::simulator::azure_devops::refusal::Refusal;

/// From queueing to the start.
const QUEUE_TIME: Duration = Duration::from_millis(600);
/// What one step takes.
const STEP_TIME: Duration = Duration::from_millis(300);
/// Checks of one definition.
const CHECKS: usize = 500;

impl World {
    /// Adds a build definition, or changes the checks of the one with this name.
    ///
    /// # Errors
    /// 400 for a bad name or check, 403 without permission.
    pub fn set_definition(
        &mut self,
        actor: Actor,
        repository: Uuid,
        name: &str,
        yaml: &str,
        checks: Vec<Check>,
    ) -> Outcome<u32> {
        let home = self.repository(repository)?.clone();
        self.require_git(actor, &home, Permission::ManagePolicies)?;
        if name.trim().is_empty() || checks.len() > CHECKS || !checks.iter().all(Check::is_valid) {
            return Err(Refusal::invalid("definition (a name and readable checks are needed)"));
        }
        let same = |d: &&Definition| d.project == home.project && d.name.eq_ignore_ascii_case(name);
        let existing = self.definitions.values().find(same).map(|d| (d.id, d.revision));
        let (id, revision) = match existing {
            Some((id, revision)) => (id, revision + 1),
            None => (Counters::next(&mut self.data.next.definition), 1),
        };
        let definition = Definition {
            id,
            name: name.to_owned(),
            project: home.project,
            repository,
            yaml: yaml.to_owned(),
            checks,
            branches: home.default_branch.into_iter().collect(),
            author: actor.id,
            created: self.now(),
            revision,
        };
        self.data.definitions.insert(id, definition);
        self.record(actor, "definition.set", format!("definition/{name}"));
        Ok(id)
    }

    /// A definition of a project that `actor` may see.
    ///
    /// # Errors
    /// 404 otherwise.
    pub fn definition(&self, project: Uuid, id: u32) -> Outcome<&Definition> {
        let found = self.definitions.get(&id).filter(|d| d.project == project);
        found.ok_or_else(|| {
            Refusal::new(
                404,
                "DefinitionNotFoundException",
                format!("TF1530010: The build definition {id} could not be found."),
            )
        })
    }

    /// A build of a project.
    ///
    /// # Errors
    /// 404 otherwise.
    pub fn build(&self, project: Uuid, id: u32) -> Outcome<&Build> {
        let missing = || {
            Refusal::new(
                404,
                "BuildNotFoundException",
                format!("The requested build {id} could not be found."),
            )
        };
        let found = self.builds.get(&id).ok_or_else(missing)?;
        let here = self.definitions.get(&found.definition).is_some_and(|d| d.project == project);
        if here { Ok(found) } else { Err(missing()) }
    }

    /// Queues a build of a branch or commit.
    ///
    /// # Errors
    /// 400 for an unknown branch or commit, 403 without permission, 404 for an unknown definition.
    pub fn queue_build(
        &mut self,
        actor: Actor,
        project: Uuid,
        definition: u32,
        branch: Option<&str>,
        commit: Option<&str>,
        parameters: Option<String>,
    ) -> Outcome<u32> {
        let definition = self.definition(project, definition)?.clone();
        let repository = self.repository(definition.repository)?.clone();
        self.require_queue(actor, &definition)?;
        let branch = match branch.filter(|b| !b.is_empty()) {
            Some(name) if name.starts_with("refs/") => name.to_owned(),
            Some(name) => format!("refs/heads/{name}"),
            None => repository.default_branch.clone().unwrap_or_default(),
        };
        let missing = || {
            let text =
                format!("Could not queue the build because the version or branch {branch} was not found.");
            Refusal::new(400, "BuildRequestValidationFailedException", text)
        };
        let number =
            branch.strip_prefix("refs/pull/").and_then(|rest| rest.split('/').next()?.parse::<u32>().ok());
        if let Some(found) = number.and_then(|n| self.pull_requests.get(&n)).cloned() {
            return self.start_build(
                actor,
                &definition,
                BuildReason::PullRequest,
                branch,
                String::new(),
                Some(&found),
            );
        }
        let store = self.store(repository.id)?;
        let tip = repository.refs.get(&branch).map(|r| r.sha.clone()).ok_or_else(missing)?;
        let sha = match commit.filter(|c| !c.is_empty()) {
            Some(given) => store.peel(given).ok_or_else(missing)?,
            None => tip,
        };
        let id = self.start_build(actor, &definition, BuildReason::Manual, branch, sha, None)?;
        if let Some(build) = self.data.builds.get_mut(&id) {
            build.parameters = parameters;
        }
        Ok(id)
    }

    pub(super) fn require_queue(&self, actor: Actor, definition: &Definition) -> Outcome<()> {
        if self.may(actor.id, definition.project, Some(definition.repository), Permission::QueueBuilds) {
            return Ok(());
        }
        Err(Refusal::denied(format!(
            "TF50309: The following account does not have sufficient permissions to complete the operation: {}. The \
             following permissions are needed to perform this operation: Queue builds.",
            self.account(actor.id)
        )))
    }

    fn start_build(
        &mut self,
        actor: Actor,
        definition: &Definition,
        reason: BuildReason,
        branch: String,
        commit: String,
        pull_request: Option<&PullRequest>,
    ) -> Outcome<u32> {
        let id = Counters::next(&mut self.data.next.build);
        let now = self.now();
        let day = now.strftime("%Y%m%d").to_string();
        let today = self
            .builds
            .values()
            .filter(|b| b.definition == definition.id && b.number.starts_with(&day))
            .count();
        let build = Build {
            id,
            number: format!("{day}.{}", today + 1),
            definition: definition.id,
            status: BuildStatus::NotStarted,
            result: None,
            reason,
            branch,
            commit,
            pull_request: pull_request.map(|p| (p.id, p.source_commit.clone())),
            requested_by: actor.id,
            queued: now,
            started: None,
            finished: None,
            parameters: None,
            message: String::new(),
            tags: BTreeSet::new(),
            steps: Vec::new(),
        };
        self.data.builds.insert(id, build);
        self.record(actor, "build.queued", format!("build/{id}"));
        self.schedule(QUEUE_TIME, JobKind::Build { build: id });
        Ok(id)
    }

    /// Stops a build.
    ///
    /// # Errors
    /// 404 for an unknown one.
    pub fn cancel_build(&mut self, actor: Actor, project: Uuid, id: u32) -> Outcome<()> {
        if self.build(project, id)?.is_done() {
            return Ok(());
        }
        if let Some(build) = self.data.builds.get_mut(&id) {
            build.status = BuildStatus::Cancelling;
        }
        self.record(actor, "build.cancelled", format!("build/{id}"));
        self.schedule(STEP_TIME, JobKind::Build { build: id });
        Ok(())
    }

    /// Starts the builds that a push asks for.
    pub(super) fn builds_after_push(&mut self, actor: Actor, push: &Push) -> Outcome<()> {
        for update in push.updates.iter().filter(|u| u.new != ZERO_SHA) {
            let wanted =
                |d: &&Definition| d.repository == push.repository && d.branches.contains(&update.name);
            let definitions: Vec<Definition> = self.definitions.values().filter(wanted).cloned().collect();
            for definition in definitions {
                let (branch, sha) = (update.name.clone(), update.new.clone());
                self.start_build(actor, &definition, BuildReason::IndividualCi, branch, sha, None)?;
            }
        }
        Ok(())
    }

    /// Queues the validation builds of a pull request again.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn requeue_validation(&mut self, actor: Actor, id: u32) -> Outcome<()> {
        self.queue_validation(actor, id)
    }

    /// Queues a build for every build policy over the target; older ones of the same are stopped.
    pub(super) fn queue_validation(&mut self, actor: Actor, id: u32) -> Outcome<()> {
        let Some(found) = self.pull_requests.get(&id).cloned() else { return Ok(()) };
        for (_, definition) in self.validations(&found) {
            let Some(definition) = self.definitions.get(&definition).cloned() else { continue };
            let old = |b: &&Build| {
                b.definition == definition.id
                    && !b.is_done()
                    && b.pull_request.as_ref().is_some_and(|(p, _)| *p == id)
            };
            let old: Vec<u32> = self.builds.values().filter(old).map(|b| b.id).collect();
            for build in old {
                self.finish_build(build, BuildResult::Canceled);
            }
            let branch = format!("refs/pull/{id}/merge");
            self.start_build(
                actor,
                &definition,
                BuildReason::PullRequest,
                branch,
                String::new(),
                Some(&found),
            )?;
        }
        Ok(())
    }

    /// Takes a build one state further; one that starts has files to be read first.
    pub(super) fn advance_build(&mut self, id: u32) -> Option<Reading> {
        let build = self.builds.get(&id)?.clone();
        match build.status {
            BuildStatus::NotStarted => return self.begin_build(&build),
            BuildStatus::InProgress => self.next_step(&build),
            BuildStatus::Cancelling => self.finish_build(id, BuildResult::Canceled),
            _ => {}
        }
        None
    }

    fn begin_build(&mut self, build: &Build) -> Option<Reading> {
        let definition = self.definitions.get(&build.definition)?.clone();
        if build.pull_request.as_ref().is_some_and(|(p, _)| !self.pull_requests.contains_key(p)) {
            self.finish_build(build.id, BuildResult::Canceled);
            return None;
        }
        // The next step; also another beginning, should a kill come before the files are read.
        self.schedule(STEP_TIME, JobKind::Build { build: build.id });
        let mut commit = build.commit.clone();
        let mut conflict = false;
        if let Some((number, source)) = &build.pull_request {
            let found = self.pull_requests.get(number)?;
            if found.merge_status == MergeStatus::Queued && found.completion_queued.is_none() {
                // The merge commit is what gets built: wait for it.
                return None;
            }
            conflict = found.merge_status == MergeStatus::Conflicts;
            commit = found.merge_commit.clone().unwrap_or_else(|| source.clone());
        }
        let repository = self.repositories.get(&definition.repository)?;
        Some(Reading {
            build: build.id,
            folder: self.repository_folder(repository.id),
            repository: repository.name.clone(),
            branch: build.branch.clone(),
            definition,
            commit,
            conflict,
        })
    }

    /// Starts a build whose files were read; where they could not be, it has failed.
    pub(super) fn build_planned(&mut self, id: u32, done: Outcome<Planned>) -> Outcome<()> {
        let now = self.now();
        let done = done.inspect_err(|_| self.finish_build(id, BuildResult::Failed))?;
        let build = self.data.builds.get_mut(&id);
        if let Some(build) = build.filter(|b| b.status == BuildStatus::NotStarted) {
            build.status = BuildStatus::InProgress;
            build.started = Some(now);
            build.message = done.message;
            build.commit = done.commit;
            build.steps = done.steps;
            if let Some(first) = build.steps.first_mut() {
                first.started = Some(now);
            }
            self.touch();
        }
        Ok(())
    }

    /// Ends the running step and begins the next; after a failure the rest is skipped.
    fn next_step(&mut self, build: &Build) {
        let now = self.now();
        let Some(entry) = self.data.builds.get_mut(&build.id) else { return };
        let failed = entry.steps.iter().any(|s| s.result == Some(StepResult::Failed));
        let running = entry.steps.iter().position(|s| s.started.is_some() && s.finished.is_none());
        let Some(at) = running else {
            return self.finish_build(build.id, BuildResult::Succeeded);
        };
        let step = &mut entry.steps[at];
        let broken = step.findings.iter().any(|f| !f.problems.is_empty());
        step.finished = Some(now);
        step.result = Some(if broken { StepResult::Failed } else { StepResult::Succeeded });
        stamp_log(step, now);
        if broken {
            let rest = at + 1..entry.steps.len().saturating_sub(1);
            for step in &mut entry.steps[rest] {
                step.result = Some(StepResult::Skipped);
                step.log.clear();
            }
        }
        let next = entry.steps.iter_mut().find(|s| s.started.is_none() && s.result.is_none());
        if let Some(next) = next {
            next.started = Some(now);
            self.touch();
            self.schedule(STEP_TIME, JobKind::Build { build: build.id });
            return;
        }
        self.finish_build(
            build.id,
            if broken || failed { BuildResult::Failed } else { BuildResult::Succeeded },
        );
    }

    fn finish_build(&mut self, id: u32, result: BuildResult) {
        let now = self.now();
        let Some(build) = self.data.builds.get_mut(&id) else { return };
        if build.is_done() {
            return;
        }
        build.status = BuildStatus::Completed;
        build.result = Some(result);
        build.finished = Some(now);
        build.started.get_or_insert(now);
        for step in build.steps.iter_mut().filter(|s| s.result.is_none()) {
            step.result = Some(StepResult::Canceled);
            step.log.clear();
        }
        let (by, pull_request) = (build.requested_by, build.pull_request.as_ref().map(|(p, _)| *p));
        let actor = Actor { id: by, activity: self.new_id() };
        self.record(actor, "build.completed", format!("build/{id}={}", result.name()));
        self.emit_build(id);
        if let Some(pull_request) = pull_request {
            self.try_auto_complete(pull_request);
        }
    }

    /// How a build policy stands: by the newest build of the pull request's current source.
    pub(super) fn evaluate_build(&self, policy: &Policy, found: &PullRequest) -> (&'static str, Option<u32>) {
        let Some(definition) = policy.definition().filter(|d| self.definitions.contains_key(d)) else {
            return ("broken", None);
        };
        let current = |b: &&Build| {
            b.definition == definition
                && b.pull_request.as_ref().is_some_and(|(p, s)| *p == found.id && *s == found.source_commit)
        };
        let Some(build) = self.builds.values().rev().find(current) else { return ("queued", None) };
        let status = match (build.status, build.result) {
            (BuildStatus::Completed, Some(BuildResult::Succeeded)) => "approved",
            (BuildStatus::Completed, Some(BuildResult::Canceled)) => "queued",
            (BuildStatus::Completed, _) => "rejected",
            (BuildStatus::NotStarted, _) => "queued",
            _ => "running",
        };
        (status, Some(build.id))
    }
}
