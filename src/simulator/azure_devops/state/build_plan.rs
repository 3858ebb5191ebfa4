//! What a build will do: its files are read and its checks run before any of it is shown.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;

use super::Outcome;
use super::build::{Definition, Step, StepResult};
use super::checks::Finding;
use crate::simulator::azure_devops::git::store::Store;

/// Bytes of all files that a build reads.
const READ_BYTES: usize = 256 * 1024 * 1024;

/// What a build has to read, without the state.
pub(super) struct Reading {
    pub build: u32,
    pub folder: PathBuf,
    pub repository: String,
    pub branch: String,
    pub definition: Definition,
    pub commit: String,
    pub conflict: bool,
}

/// What a build will do.
pub(super) struct Planned {
    pub commit: String,
    pub message: String,
    pub steps: Vec<Step>,
}

impl Reading {
    pub(super) fn run(self) -> Outcome<Planned> {
        let store = Store::open(&self.folder)?;
        let message = store.commit(&self.commit).map(|c| c.message).unwrap_or_default();
        let files = self.files(&store)?;
        let steps =
            plan(&self.definition, &files, &self.branch, &self.commit, &self.repository, self.conflict);
        let message = message.lines().next().unwrap_or_default().to_owned();
        Ok(Planned { commit: self.commit, message, steps })
    }

    fn files(&self, store: &Store) -> Outcome<Vec<(String, Vec<u8>)>> {
        let mut files = Vec::new();
        let mut budget = READ_BYTES;
        let globs: Vec<_> =
            self.definition.checks.iter().filter_map(|c| globset::Glob::new(&c.files).ok()).collect();
        let globs: Vec<_> = globs.iter().map(globset::Glob::compile_matcher).collect();
        let mut entries = Vec::new();
        for folder in folders(self.definition.checks.iter().map(|check| check.files.as_str())) {
            let Some(found) = store.entry(&self.commit, &format!("/{folder}")) else { continue };
            entries.extend(if found.folder { store.below(&found, true)? } else { vec![found] });
        }
        for entry in entries.into_iter().filter(|e| !e.folder && e.mode != 0o160_000) {
            let path = entry.path.trim_start_matches('/');
            // Only what a check asks for is read.
            if !globs.iter().any(|g| g.is_match(path)) {
                continue;
            }
            let content = store.blob(&entry.sha)?;
            let Some(left) = budget.checked_sub(content.len()) else { break };
            budget = left;
            files.push((path.to_owned(), content));
        }
        Ok(files)
    }
}

/// The places of a tree in which patterns can find anything: a pattern's beginning without signs. None is
/// below another.
fn folders<'g>(patterns: impl Iterator<Item = &'g str>) -> Vec<String> {
    let beginning = |pattern: &str| {
        let plain = |part: &&str| !part.contains(['*', '?', '[', ']', '{', '}', '!', '\\', ',']);
        pattern.split('/').take_while(plain).collect::<Vec<_>>().join("/")
    };
    let all: BTreeSet<String> = patterns.map(beginning).collect();
    let is_below = |path: &str, other: &str| {
        let rest = path.strip_prefix(other);
        other.is_empty() || rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let stands_alone = |path: &&String| !all.iter().any(|other| other != *path && is_below(path, other));
    all.iter().filter(stands_alone).cloned().collect()
}

/// The steps of a build with what its checks find, before any of it is shown.
fn plan(
    definition: &Definition,
    files: &[(String, Vec<u8>)],
    branch: &str,
    commit: &str,
    repository: &str,
    conflict: bool,
) -> Vec<Step> {
    let checkout = vec![
        format!("Syncing repository: {repository} (Git)"),
        format!("git checkout --progress --force {branch}"),
        format!("HEAD is now at {}", commit.get(..7).unwrap_or_default()),
    ];
    let mut steps = vec![
        step(
            "Initialize job",
            vec!["Agent name: 'Simulator 1'".into(), "Preparing the working folder".into()],
            Vec::new(),
        ),
        step(
            &format!("Checkout {repository}@{} to s", super::pull_requests::short(branch)),
            checkout,
            Vec::new(),
        ),
    ];
    if conflict {
        let message = "The pull request has conflicts with its target and cannot be built".to_owned();
        let problem = super::checks::Problem { path: String::new(), line: 0, message };
        steps[1].findings.push(Finding { name: "Merge".into(), files: 0, problems: vec![problem] });
    }
    let mut names: Vec<&str> = Vec::new();
    for check in &definition.checks {
        if !names.contains(&check.step.as_str()) {
            names.push(&check.step);
        }
    }
    for name in names {
        let checks = definition.checks.iter().filter(|c| c.step == name);
        let findings: Vec<Finding> = checks.map(|c| c.run(files)).collect();
        let lines = findings
            .iter()
            .map(|f| match f.problems.len() {
                0 => format!("ok: {} ({} files)", f.name, f.files),
                n => format!("not ok: {} ({n} problems in {} files)", f.name, f.files),
            })
            .collect();
        steps.push(step(name, lines, findings));
    }
    steps.push(step(
        "Finalize Job",
        vec!["Cleaning up task key".into(), "Start cleaning up orphan processes.".into()],
        Vec::new(),
    ));
    for step in &mut steps {
        for problem in step.findings.iter().flat_map(|f| f.problems.iter().map(move |p| (f, p))) {
            let (finding, problem) = problem;
            let line = match problem.path.as_str() {
                "" => format!("##[error]{}: {}", finding.name, problem.message),
                path => format!("##[error]{path}({},1): error: {}", problem.line, problem.message),
            };
            step.log.push(line);
        }
    }
    steps
}

fn step(name: &str, log: Vec<String>, findings: Vec<Finding>) -> Step {
    Step { name: name.to_owned(), started: None, finished: None, result: None, findings, log }
}

/// Puts the frame of a real log around the lines of a step, with the time on each.
pub(super) fn stamp_log(step: &mut Step, now: Timestamp) {
    let begun = step.started.unwrap_or(now);
    let mut lines = vec![format!("##[section]Starting: {}", step.name)];
    lines.append(&mut step.log);
    if step.result == Some(StepResult::Failed) {
        lines.push("##[error]The step failed with exit code 1.".into());
    }
    lines.push(format!("##[section]Finishing: {}", step.name));
    step.log = lines.into_iter().map(|line| format!("{begun:.7} {line}")).collect();
}

#[cfg(test)]
mod tests {
    use super::folders;

    #[test]
    fn only_what_a_pattern_can_find_is_walked() {
        let found = |patterns: &[&str]| folders(patterns.iter().copied());
        assert_eq!(
            found(&["src/**/*.ts", "src/auth/*.ts", "src-old/*", "README.md"]),
            ["README.md", "src", "src-old"]
        );
        assert_eq!(found(&["src/*.ts", "**/*.json"]), [""]);
        assert_eq!(found(&["a.{ts,js}"]), [""]);
        assert!(found(&[]).is_empty());
    }
}
