//! Delivering notifications: requests, answers, resends, probation (events/README, delivery).

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::hooks::{NotificationResult, NotificationStatus, SubscriptionStatus};
use super::jobs::JobKind;
use super::{Actor, World};

/// Waits before each quick resend, in seconds (events/README, delivery).
const RESENDS: [u64; 8] = [1, 2, 4, 8, 16, 32, 60, 60];
/// Waits before each resend on probation, in minutes.
const PROBATION: [u64; 7] = [20, 40, 80, 160, 320, 640, 900];
/// Bytes of an answer that are kept.
const ANSWER_BYTES: usize = 4_096;

/// A request to be made.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Subscription.
    pub subscription: Uuid,
    /// Notification.
    pub notification: u32,
    /// Event type, for faults.
    pub event_type: String,
    /// Where to.
    pub url: String,
    /// Headers of its own, one `Key:Value` a line.
    pub headers: String,
    /// Credentials.
    pub basic: Option<(String, String)>,
    /// What.
    pub body: Value,
}

/// How a request went.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status, when there was one.
    pub status: Option<u16>,
    /// Start of the body.
    pub body: String,
    /// Why there was none.
    pub error: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl World {
    /// Sends a notification again, now; returns whether there is one.
    pub fn redeliver(&mut self, actor: Actor, id: Uuid, notification: u32) -> bool {
        let found = self.subscriptions.get(&id).is_some_and(|s| s.notifications.contains_key(&notification));
        if found {
            self.schedule(Duration::ZERO, JobKind::Deliver { subscription: id, notification });
            self.record(
                actor,
                "notification.redelivered",
                format!("subscription/{id}/notifications/{notification}"),
            );
        }
        found
    }

    /// Marks a notification as being sent and gives the request.
    pub(super) fn start_delivery(&mut self, id: Uuid, notification: u32) -> Option<Delivery> {
        let now = self.now();
        let found = self.data.subscriptions.get_mut(&id)?;
        let stopped =
            matches!(found.status, SubscriptionStatus::DisabledBySystem | SubscriptionStatus::DisabledByUser);
        let entry = found.notifications.get_mut(&notification)?;
        if stopped {
            entry.status = NotificationStatus::Completed;
            entry.result = NotificationResult::Failed;
            entry.error = Some("The subscription is disabled.".into());
            return None;
        }
        entry.status = NotificationStatus::RequestInProgress;
        entry.modified = now;
        entry.attempts += 1;
        let input = |key: &str| found.consumer_inputs.get(key).cloned().unwrap_or_default();
        let user = input("basicAuthUsername");
        let password = input("basicAuthPassword");
        Some(Delivery {
            subscription: id,
            notification,
            event_type: found.event_type.clone(),
            url: input("url"),
            headers: input("httpHeaders"),
            basic: (!user.is_empty() || !password.is_empty()).then_some((user, password)),
            body: entry.body.clone(),
        })
    }

    /// Takes note of an answer and decides what comes next (events/README, delivery).
    pub fn delivery_answered(&mut self, id: Uuid, notification: u32, answer: Answer) {
        let now = self.now();
        let Some(found) = self.data.subscriptions.get_mut(&id) else { return };
        let Some(entry) = found.notifications.get_mut(&notification) else { return };
        entry.modified = now;
        entry.answer_status = answer.status;
        entry.answer = answer.body.chars().take(ANSWER_BYTES).collect();
        entry.error = answer.error;
        entry.duration_ms = u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX);
        let attempt = usize::try_from(entry.attempts).unwrap_or(usize::MAX);
        let transient = matches!(answer.status, None | Some(408 | 502 | 503 | 504));
        let mut wait = None;
        match answer.status {
            Some(200..=299) => {
                entry.status = NotificationStatus::Completed;
                entry.result = NotificationResult::Succeeded;
                found.status = SubscriptionStatus::Enabled;
                found.probation_retries = 0;
            }
            Some(410) => {
                entry.status = NotificationStatus::Completed;
                entry.result = NotificationResult::Failed;
                found.status = SubscriptionStatus::DisabledBySystem;
            }
            _ if transient && !entry.probation && attempt <= RESENDS.len() => {
                entry.status = NotificationStatus::Queued;
                wait = RESENDS.get(attempt.saturating_sub(1)).map(|s| Duration::from_secs(*s));
            }
            _ => {
                let tried = usize::try_from(found.probation_retries).unwrap_or(usize::MAX);
                entry.result = NotificationResult::Failed;
                match PROBATION.get(tried) {
                    Some(minutes) if entry.probation || found.status == SubscriptionStatus::Enabled => {
                        entry.probation = true;
                        entry.status = NotificationStatus::Queued;
                        found.status = SubscriptionStatus::OnProbation;
                        found.probation_retries += 1;
                        wait = Some(Duration::from_secs(minutes * 60));
                    }
                    Some(_) => entry.status = NotificationStatus::Completed,
                    None => {
                        entry.status = NotificationStatus::Completed;
                        found.status = SubscriptionStatus::DisabledBySystem;
                    }
                }
            }
        }
        self.touch();
        if let Some(wait) = wait {
            self.schedule(wait, JobKind::Deliver { subscription: id, notification });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::clock::Clock;
    use crate::simulator::azure_devops::state::seed::{ALICE, BOB, FABRIKAM, data};
    use crate::simulator::azure_devops::state::{Organisation, patch};

    /// A subscription, and a way to answer its deliveries in stepped time.
    struct Bench {
        organisation: Organisation,
        clock: Clock,
        subscription: Uuid,
        _folder: tempfile::TempDir,
    }

    fn bench() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::stepped(Timestamp::from_second(1_790_000_000).unwrap());
        let base = "http://x/contoso".to_owned();
        let organisation =
            Organisation::new(data(clock.now(), 3, true), folder.path().into(), base, clock.clone());
        let mut world = organisation.lock();
        let alice = Actor { id: ALICE, activity: world.new_id() };
        let consumer = BTreeMap::from([("url".to_owned(), "http://127.0.0.1:9/".to_owned())]);
        let subscription =
            world.set_subscription(alice, None, "workitem.created", None, BTreeMap::new(), consumer).unwrap();
        drop(world);
        Bench { organisation, clock, subscription, _folder: folder }
    }

    impl Bench {
        fn happen(&self) {
            let mut world = self.organisation.lock();
            let actor = Actor { id: BOB, activity: world.new_id() };
            let title =
                patch::parse(&json!([{"op": "add", "path": "/fields/System.Title", "value": "t"}])).unwrap();
            world.create_work_item(actor, FABRIKAM, "Issue", &title, false).unwrap();
        }

        /// Moves time to the next job, answers its delivery, and gives the seconds that passed.
        fn answer(&self, status: u16) -> Option<i64> {
            let before = self.clock.now();
            let due = self.organisation.lock().next_due()?;
            self.clock.jump(due);
            let deliveries = self.organisation.lock().run_due();
            for delivery in deliveries {
                let answer =
                    Answer { status: Some(status), body: String::new(), error: None, took: Duration::ZERO };
                self.organisation.lock().delivery_answered(
                    delivery.subscription,
                    delivery.notification,
                    answer,
                );
            }
            Some(due.duration_since(before).as_secs())
        }

        fn status(&self) -> SubscriptionStatus {
            self.organisation.lock().subscriptions[&self.subscription].status
        }
    }

    #[test]
    fn transient_failures_are_resent_eight_times_and_then_put_on_probation() {
        let bench = bench();
        bench.happen();
        bench.answer(503);
        let waits: Vec<i64> = (0..8).map(|_| bench.answer(503).unwrap()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(bench.status(), SubscriptionStatus::OnProbation);
        assert_eq!(bench.answer(200), Some(20 * 60));
        assert_eq!(bench.status(), SubscriptionStatus::Enabled);
    }

    #[test]
    fn an_enduring_failure_loses_new_events_until_a_success_and_ends_disabled() {
        let bench = bench();
        bench.happen();
        bench.answer(500);
        assert_eq!(bench.status(), SubscriptionStatus::OnProbation);
        bench.happen();
        assert_eq!(bench.organisation.lock().subscriptions[&bench.subscription].notifications.len(), 1);
        let waits: Vec<i64> = (0..7).map(|_| bench.answer(404).unwrap() / 60).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 900]);
        assert_eq!(bench.status(), SubscriptionStatus::DisabledBySystem);
        assert_eq!(bench.answer(200), None);
    }

    #[test]
    fn gone_disables_at_once() {
        let bench = bench();
        bench.happen();
        bench.answer(410);
        assert_eq!(bench.status(), SubscriptionStatus::DisabledBySystem);
    }
}
