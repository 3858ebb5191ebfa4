//! The shape of build definitions and builds.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::checks::{Check, Finding};
use crate::simulator::azure_devops::wire_enum::wire_enum;

wire_enum! {
    /// State of a build.
    BuildStatus {
        None = 0 "none", InProgress = 1 "inProgress", Completed = 2 "completed", Cancelling = 4 "cancelling",
        Postponed = 8 "postponed", NotStarted = 32 "notStarted", All = 47 "all",
    }
}
wire_enum! {
    /// How a build ended.
    BuildResult {
        None = 0 "none", Succeeded = 2 "succeeded", PartiallySucceeded = 4 "partiallySucceeded", Failed = 8 "failed",
        Canceled = 32 "canceled",
    }
}
wire_enum! {
    /// Why there is a build.
    BuildReason { Manual = 1 "manual", IndividualCi = 2 "individualCI", PullRequest = 256 "pullRequest" }
}

/// A build definition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Definition {
    /// Number.
    pub id: u32,
    /// Name.
    pub name: String,
    /// Its project.
    pub project: Uuid,
    /// The repository it builds.
    pub repository: Uuid,
    /// Path of its YAML file.
    pub yaml: String,
    /// What it checks.
    pub checks: Vec<Check>,
    /// Branches whose pushes start it.
    pub branches: Vec<String>,
    /// Who made it.
    pub author: Uuid,
    /// When.
    pub created: Timestamp,
    /// Grows with each change.
    pub revision: u32,
}

/// A build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Build {
    /// Number.
    pub id: u32,
    /// Number of the day, `20261122.1`.
    pub number: String,
    /// Its definition.
    pub definition: u32,
    /// State.
    pub status: BuildStatus,
    /// How it ended.
    pub result: Option<BuildResult>,
    /// Why.
    pub reason: BuildReason,
    /// Branch, or `refs/pull/1/merge`.
    pub branch: String,
    /// Commit that is built.
    pub commit: String,
    /// Pull request and the source commit that it validates.
    pub pull_request: Option<(u32, String)>,
    /// Who asked.
    pub requested_by: Uuid,
    /// When it was queued.
    pub queued: Timestamp,
    /// When it started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// `parameters` as given.
    pub parameters: Option<String>,
    /// First line of the commit's message, once the build has started.
    #[serde(default)]
    pub message: String,
    /// Tags that people put on it.
    #[serde(default)]
    pub tags: BTreeSet<String>,
    /// Its steps, once it has started.
    pub steps: Vec<Step>,
}

/// A step of a build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Name, `Compile`.
    pub name: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// How it ended.
    pub result: Option<StepResult>,
    /// What its checks found.
    pub findings: Vec<Finding>,
    /// Lines of its log.
    pub log: Vec<String>,
}

wire_enum! {
    /// How a step ended.
    StepResult { Succeeded = 0 "succeeded", Failed = 2 "failed", Canceled = 3 "canceled", Skipped = 4 "skipped" }
}

impl Build {
    /// Whether nothing more will happen to it.
    pub fn is_done(&self) -> bool {
        self.status == BuildStatus::Completed
    }
}
