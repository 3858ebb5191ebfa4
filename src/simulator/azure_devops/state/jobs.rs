//! What is due later: merge attempts, completions, deliveries. The clock decides when.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::World;
use super::deliveries::Delivery;
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
    /// Send a notification.
    Deliver {
        /// Subscription.
        subscription: Uuid,
        /// Notification.
        notification: u32,
    },
}

impl World {
    /// Adds a job that is due after `delay`.
    pub(super) fn schedule(&mut self, delay: Duration, kind: JobKind) {
        let due = clock::add(self.now(), delay);
        self.data.jobs.push(Job { due, kind });
        self.touch();
        self.wake.notify_one();
    }

    /// When the next job is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.jobs.iter().map(|j| j.due).min()
    }

    /// Runs what is due, in order, and returns the notifications to be sent. A few at a time, so
    /// that others get the state in between; [`World::next_due`] tells whether there is more.
    pub fn run_due(&mut self) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for _ in 0..AT_ONCE {
            let now = self.clock.now();
            let next =
                self.jobs.iter().enumerate().filter(|(_, j)| j.due <= now).min_by_key(|(at, j)| (j.due, *at));
            let Some((at, _)) = next else { return deliveries };
            let job = self.data.jobs.remove(at);
            self.touch();
            let outcome = match job.kind {
                JobKind::MergePreview { pull_request } => self.merge_preview(pull_request),
                JobKind::Complete { pull_request } => self.complete(pull_request),
                JobKind::Build { build } => self.advance_build(build),
                JobKind::Deliver { subscription, notification } => {
                    deliveries.extend(self.start_delivery(subscription, notification));
                    Ok(())
                }
            };
            if let Err(refusal) = outcome {
                tracing::warn!(%refusal, "a background job of the simulated organisation failed");
            }
        }
        deliveries
    }
}
