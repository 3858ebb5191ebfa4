//! What is due later: merge attempts, completions, deliveries. The clock decides when.
//!
//! Merge attempts and the reading of a build's files take long in a large repository. Such a job gives
//! [`Work`], which is done without the state; what it found is then put into the state.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::build_plan::{Planned, Reading};
use super::completion::{Attempt, Attempted};
use super::deliveries::Delivery;
use super::{Organisation, Outcome, World};
use crate::clock;

/// Jobs that run before somebody else may have the state.
const AT_ONCE: usize = 4;

/// Due work.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Job {
    /// When.
    pub due: Timestamp,
    /// What.
    pub kind: JobKind,
}

/// Kinds of due work.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum JobKind {
    /// Try to merge, for `mergeStatus`.
    MergePreview {
        /// Number.
        pull_request: u32,
    },
    /// Merge and close.
    Complete {
        /// Number.
        pull_request: u32,
    },
    /// Take a build one state further.
    Build {
        /// Number.
        build: u32,
    },
    /// Take an operation one state further.
    Operate {
        /// Id.
        operation: Uuid,
    },
    /// Send a notification.
    Deliver {
        /// Subscription.
        subscription: Uuid,
        /// Notification.
        notification: u32,
    },
}

/// The long part of a job.
pub(super) enum Work {
    /// A merge attempt.
    Merge(Attempt),
    /// The files of a build.
    Read(Reading),
}

impl Organisation {
    /// Runs a few of the due jobs, the long parts without holding the state. Returns the notifications to
    /// be sent, and when the next job is due.
    pub fn run_due(&self) -> (Vec<Delivery>, Option<Timestamp>) {
        let (deliveries, work) = {
            let mut world = self.lock();
            let found = world.take_due();
            world.under_way += 1;
            found
        };
        for work in work {
            let done = work.run();
            self.lock().finish(done);
        }
        let mut world = self.lock();
        world.under_way -= 1;
        (deliveries, world.next_due())
    }
}

impl Work {
    fn run(self) -> Done {
        match self {
            Work::Merge(attempt) => Done::Merge(attempt.run()),
            Work::Read(reading) => Done::Read(reading.build, reading.run()),
        }
    }
}

/// What the long part of a job gave.
enum Done {
    Merge(Outcome<Attempted>),
    Read(u32, Outcome<Planned>),
}

impl World {
    /// Adds a job that is due after `delay`.
    pub(super) fn schedule(&mut self, delay: Duration, kind: JobKind) {
        let due = clock::add(self.now(), delay);
        let key = self.jobs.last_key_value().map_or(0, |(last, _)| last + 1);
        self.data.jobs.insert(key, Job { due, kind });
        self.touch();
        self.wake.notify_one();
    }

    /// When the next job is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.jobs.values().map(|j| j.due).min()
    }

    /// Whether a job is being done right now.
    pub fn is_working(&self) -> bool {
        self.under_way > 0
    }

    /// Runs a few due jobs to their end, for whoever holds the state anyway.
    pub fn run_due(&mut self) -> Vec<Delivery> {
        let (deliveries, work) = self.take_due();
        for work in work {
            let done = work.run();
            self.finish(done);
        }
        deliveries
    }

    fn finish(&mut self, done: Done) {
        let outcome = match done {
            Done::Merge(done) => done.and_then(|done| self.merge_attempted(done)),
            Done::Read(build, done) => self.build_planned(build, done),
        };
        tell(outcome);
    }

    /// Takes due jobs in order, a few at a time, so that others get the state in between.
    fn take_due(&mut self) -> (Vec<Delivery>, Vec<Work>) {
        let (mut deliveries, mut work) = (Vec::new(), Vec::new());
        for _ in 0..AT_ONCE {
            let now = self.clock.now();
            let next = self.jobs.iter().filter(|(_, j)| j.due <= now).min_by_key(|(at, j)| (j.due, **at));
            let Some(at) = next.map(|(at, _)| *at) else { break };
            let Some(job) = self.data.jobs.remove(&at) else { break };
            self.touch();
            let outcome = match job.kind {
                JobKind::MergePreview { pull_request } => {
                    work.extend(self.merge_preview(pull_request).map(Work::Merge));
                    Ok(())
                }
                JobKind::Complete { pull_request } => self.complete(pull_request),
                JobKind::Build { build } => {
                    work.extend(self.advance_build(build).map(Work::Read));
                    Ok(())
                }
                JobKind::Operate { operation } => self.operate(operation),
                JobKind::Deliver { subscription, notification } => {
                    deliveries.extend(self.start_delivery(subscription, notification));
                    Ok(())
                }
            };
            tell(outcome);
        }
        (deliveries, work)
    }
}

fn tell(outcome: Outcome<()>) {
    if let Err(refusal) = outcome {
        tracing::warn!(%refusal, "a background job of the simulated organisation failed");
    }
}
