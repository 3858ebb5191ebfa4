//! Looks for events at intervals: at short ones where nothing brings them, at long ones to find what
//! a lost or disabled service hook missed.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::agent::TriageError;
use crate::azure_devops::Error;
use crate::config::Triggers;
use crate::http::backoff;

/// Between two looks, where looking is how events are found. A look asks a dozen questions, more
/// where many pull requests are open; the service allows many times that (FACTS §5).
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Between two looks for what service hooks missed.
const RECONCILE_EVERY: Duration = Duration::from_secs(10 * 60);
/// Before the first look for what was missed while the process was down.
const FIRST_RECONCILE: Duration = Duration::from_secs(60);
/// What is younger is left to the service hooks, where there are any: they are faster, and they may
/// be sent again for a few minutes.
const GRACE: Duration = Duration::from_secs(20);
/// Longest pause after looks that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);
/// Name of the turn that replicas take.
const TURN: &str = "looked.turn";

impl Worker {
    /// Looks for events until `stop` is cancelled.
    pub async fn watch(self, triggers: Triggers, stop: CancellationToken) {
        if let Err(error) = self.agent.began().await {
            tracing::warn!(%error, "when this journal began is not written down yet");
        }
        let every = if triggers.poll { LOOK_EVERY } else { RECONCILE_EVERY };
        let grace = if triggers.webhook { GRACE } else { Duration::ZERO };
        let mut wait = if triggers.poll { Duration::ZERO } else { FIRST_RECONCILE };
        let mut failed = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.agent.clock().sleep(wait) => {}
            }
            // One replica looks for all. A turn is a little shorter than the pause, so that it is over.
            let turn = match self.journal.halted().await {
                Ok(None) => self.journal.take_turn(TURN, every * 3 / 4).await,
                // Nothing is asked while everything is stopped.
                Ok(Some(_)) => Ok(false),
                Err(error) => Err(error),
            };
            let looked = match turn {
                Ok(true) => self.agent.look(grace).await,
                Ok(false) => Ok(0),
                Err(error) => Err(TriageError::Journal(error)),
            };
            wait = match looked {
                Ok(found) => {
                    if found > 0 {
                        tracing::info!(found, "found events by looking");
                    }
                    failed = 0;
                    // Replicas and neighbours do not look in step.
                    every * 4 / 5 + backoff(1, every / 5, every / 5)
                }
                Err(error) => {
                    failed += 1;
                    tracing::warn!(%error, "looking for events failed");
                    let asked = match &error {
                        TriageError::Later(
                            Error::Throttled { after, .. } | Error::Unavailable { after, .. },
                        ) => *after,
                        _ => None,
                    };
                    backoff(failed, every, LONGEST_PAUSE)
                        .max(asked.unwrap_or_default())
                        .min(LONGEST_PAUSE.max(every))
                }
            };
        }
    }
}
