//! What is missing before the co-worker can work, and what heals it.
//!
//! Purpose: [`Doctor::examine`] goes through every prerequisite in the order in which they build
//! on each other, and gives one [`Check`] for each, with the reason and the remedy.
//! Invariant: it only reads. Its clients are its own and impatient: nothing waits as long as a run
//! would, and a token is asked for past every cache, so that what is shown is true now. No check
//! holds a token or a secret.
//! Must never know: runs, tools, the page that shows it.

pub mod admin;
pub mod deployment;
mod identity;
mod looking;
mod model;
mod organization;
mod own;
mod permissions;
mod service_hooks;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::azure_devops;
use crate::clock::Clock;
use crate::config::{Config, Fault, Foreign};
use crate::identity::Identity;
use crate::journal::Journal;
use crate::policy::Policy;

/// Longest time for all questions to sidecar and organisation together.
const OUTSIDE_BUDGET: Duration = Duration::from_secs(15);
/// Longest time that one request waits for a service that is busy or starting.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, but something should be known or changed.
    Warning,
    /// It does not work.
    Failed,
    /// Not looked at.
    Skipped,
}

impl Status {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name for machines.
    pub id: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// How it ended.
    pub status: Status,
    /// What was found.
    pub reason: String,
    /// What to do; empty when there is nothing to do.
    pub remedy: String,
}

/// Id and title of a check.
type Line = (&'static str, &'static str);

const SETTINGS: Line = ("settings", "Settings");
const COLLECT: Line = ("collect", "To collect first");
const FOREIGN_SECRETS: Line = ("foreign_secrets", "Secrets of others");
const SIDECAR: Line = ("sidecar", "Auth sidecar");
const FAMILY: Line = ("sidecar_version", "Sidecar version");
const GATES: Line = ("gates", "Sidecar gates");
const TOKEN: Line = ("token", "Agent user's token");
const CLOCK: Line = ("clock", "Clock");
const AZURE_DEVOPS: Line = ("azure_devops", "Azure DevOps");
const MEMBER: Line = ("member", "Membership");
const PROJECT: Line = ("project", "Project");
const REPOSITORY: Line = ("repository", "Repository");
const WORK_ITEMS: Line = ("work_items", "Work items");
const LICENCE: Line = ("licence", "Access level");
const READ_CODE: Line = ("permission.read_code", "May read code");
const PUSH: Line = ("permission.push", "May push");
const CREATE_BRANCH: Line = ("permission.create_branch", "May create branches");
const PULL_REQUESTS: Line = ("permission.pull_requests", "May open pull requests");
const QUEUE_BUILDS: Line = ("permission.queue_builds", "May start builds");
const READ_WORK_ITEMS: Line = ("permission.read_work_items", "May read work items");
const WRITE_WORK_ITEMS: Line = ("permission.write_work_items", "May write work items");
const SURPLUS: Line = ("permission.surplus", "No more than needed");
const FIRST_WRITE: Line = ("permission.first_write", "Known at the first write");
const SERVICE_HOOKS: Line = ("service_hooks", "Service hooks");
const LOOKING: Line = ("looking", "Looking for events");
const MODEL: Line = ("model", "Model");
const DATABASE: Line = ("database", "Database");
const RECORD_KEY: Line = ("record_key", "Key of the record");
const API_KEY: Line = ("secret.azure_openai_api_key", "Model key");
const WEBHOOK_PASSWORD: Line = ("secret.webhook_password", "Webhook password");
const DATABASE_PASSWORD: Line = ("secret.database_password", "Database password");

/// The checks that ask sidecar or organisation, in order.
const OUTSIDE: &[Line] = &[
    SIDECAR,
    FAMILY,
    GATES,
    TOKEN,
    CLOCK,
    AZURE_DEVOPS,
    MEMBER,
    PROJECT,
    REPOSITORY,
    WORK_ITEMS,
    LICENCE,
    READ_CODE,
    PUSH,
    CREATE_BRANCH,
    PULL_REQUESTS,
    QUEUE_BUILDS,
    READ_WORK_ITEMS,
    WRITE_WORK_ITEMS,
    SURPLUS,
    FIRST_WRITE,
    SERVICE_HOOKS,
];
/// The checks after those.
const LAST: &[Line] = &[LOOKING, MODEL, DATABASE, RECORD_KEY, API_KEY, WEBHOOK_PASSWORD, DATABASE_PASSWORD];

/// The list while it grows.
#[derive(Default)]
struct Findings(Vec<Check>);

impl Findings {
    fn add(&mut self, line: Line, status: Status, reason: impl Into<String>, remedy: impl Into<String>) {
        let (id, title) = line;
        let (reason, remedy) = (reason.into(), remedy.into());
        self.0.push(Check { id, title, status, reason, remedy });
    }

    fn ok(&mut self, line: Line, reason: impl Into<String>) {
        self.add(line, Status::Ok, reason, "");
    }

    fn warn(&mut self, line: Line, reason: impl Into<String>, remedy: impl Into<String>) {
        self.add(line, Status::Warning, reason, remedy);
    }

    fn fail(&mut self, line: Line, reason: impl Into<String>, remedy: impl Into<String>) {
        self.add(line, Status::Failed, reason, remedy);
    }

    fn skip(&mut self, line: Line, reason: impl Into<String>) {
        self.add(line, Status::Skipped, reason, "");
    }

    /// A request to the organisation that failed.
    fn refused(&mut self, line: Line, error: &azure_devops::Error) {
        self.fail(line, sentence(&error.to_string()), error.remedy());
    }

    fn skip_missing(&mut self, lines: &[Line], reason: &str) {
        for line in lines {
            if self.0.iter().all(|check| check.id != line.0) {
                self.skip(*line, reason);
            }
        }
    }

    /// Puts the checks of `lines` into their order; a check is found in the order it is made.
    fn in_order(mut self, lines: &[Line]) -> Vec<Check> {
        let place = |check: &Check| lines.iter().position(|line| line.0 == check.id);
        self.0.sort_by_key(|check| place(check).unwrap_or(usize::MAX));
        self.0
    }
}

/// `text` with a capital at its beginning and an end.
fn sentence(text: &str) -> String {
    let mut chars = text.trim().chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    let whole = format!("{first}{}", chars.as_str());
    if whole.ends_with(['.', '!', '?', '…', ')']) { whole } else { format!("{whole}.") }
}

/// Examines one co-worker.
pub struct Doctor {
    config: Config,
    policy: Arc<Policy>,
    http: reqwest::Client,
    clock: Clock,
    journal: Option<Journal>,
}

/// What one examination works with: clients that hold nothing from an earlier one.
struct Bag<'a> {
    doctor: &'a Doctor,
    identity: Arc<Identity>,
    azure: azure_devops::Client,
}

impl Doctor {
    /// Examines the co-worker of `config` under the rules of `policy`. `journal` is the open one
    /// of a process that serves; without one, that of `config` is looked at.
    pub fn new(
        config: Config,
        policy: Arc<Policy>,
        http: reqwest::Client,
        clock: Clock,
        journal: Option<Journal>,
    ) -> Self {
        Self { config, policy, http, clock, journal }
    }

    /// Every check, in order. Takes at most half a minute.
    pub async fn examine(&self) -> Vec<Check> {
        let (http, clock) = (self.http.clone(), self.clock.clone());
        let identity = Identity::with_patience(&self.config.identity, http.clone(), clock.clone(), PATIENCE);
        let azure = azure_devops::Client::with_patience(
            &self.config.azure_devops,
            identity.clone(),
            http,
            clock,
            PATIENCE,
        );
        let bag = Bag { doctor: self, identity, azure };
        let mut findings = Findings::default();
        self.settings(&mut findings);
        let in_time = tokio::time::timeout(OUTSIDE_BUDGET, bag.outside(&mut findings)).await.is_ok();
        if !in_time {
            findings.skip_missing(OUTSIDE, "No time was left: earlier answers took too long.");
        }
        self.looking(&mut findings).await;
        bag.model(&mut findings).await;
        self.database(&mut findings).await;
        self.record_key(&mut findings);
        self.static_secrets(&mut findings);
        let lines: Vec<Line> =
            [SETTINGS, COLLECT, FOREIGN_SECRETS].iter().chain(OUTSIDE).chain(LAST).copied().collect();
        findings.in_order(&lines)
    }
}

impl Bag<'_> {
    async fn outside(&self, findings: &mut Findings) {
        let known = self.sidecar(findings).await;
        let reached = self.reach(findings).await;
        self.compare_clocks(findings, &known, reached.as_ref());
        let Some((reached, _)) = reached else {
            return findings.skip_missing(OUTSIDE, "Azure DevOps does not answer.");
        };
        if !known.token {
            return findings.skip_missing(OUTSIDE, "There is no token that could be used.");
        }
        self.compare_tenants(findings, &known, &reached);
        self.organization(findings).await;
    }
}

/// The list when the settings cannot be used: nothing else can be looked at.
pub fn without_settings(faults: &[Fault], foreign: &Foreign) -> Vec<Check> {
    let mut findings = Findings::default();
    own::faults(&mut findings, faults);
    own::collect(&mut findings, faults);
    own::foreign(&mut findings, foreign);
    let reason = "The settings cannot be used.";
    findings.skip_missing(OUTSIDE, reason);
    findings.skip_missing(LAST, reason);
    findings.0
}

/// Whether nothing failed.
pub fn is_well(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.status != Status::Failed)
}
