//! What goes on by itself: due jobs, deliveries, saving.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::faults::{Fault, FaultKind, Faults};
use super::state::Organisation;
use super::state::deliveries::{Answer, Delivery};
use super::storage;

/// A receiver that takes longer counts as one that did not answer.
const DELIVERY_TIME: Duration = Duration::from_secs(20);
/// Between two looks at whether the log has become long.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Start of an answer that is kept.
const ANSWER_BYTES: usize = 4_096;
/// A delivery that is held back goes out by itself after this.
const HELD: Duration = Duration::from_secs(5);

/// Sends notifications.
#[derive(Clone)]
struct Courier {
    organisation: Organisation,
    faults: Arc<Faults>,
    client: reqwest::Client,
    held: Arc<Mutex<Vec<Delivery>>>,
}

/// Runs due jobs for ever.
///
/// # Errors
/// When no HTTP client can be made.
pub async fn run(organisation: Organisation, faults: Arc<Faults>) -> anyhow::Result<()> {
    let courier =
        Courier { organisation: organisation.clone(), faults, client: client()?, held: Arc::default() };
    loop {
        let work = organisation.clone();
        // Merges and builds read many files: keep them off the threads that serve sockets.
        let (deliveries, next) = tokio::task::spawn_blocking(move || work.run_due()).await?;
        for delivery in deliveries {
            // Struck here, in order: which task runs first is chance.
            let (courier, struck) = (courier.clone(), courier.faults.strike_hook(&delivery.event_type));
            tokio::spawn(async move { courier.send(delivery, struck).await });
        }
        let clock = organisation.clock().clone();
        match next {
            None => organisation.woken().await,
            Some(due) => {
                tokio::select! {
                    () = organisation.woken() => {}
                    () = clock.sleep(until(clock.now(), due)) => {}
                }
            }
        }
    }
}

fn until(now: Timestamp, due: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// Begins a new log whenever the old one has become long, for ever.
pub async fn keep(organisation: Organisation, data: PathBuf) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if !storage::is_due(&organisation) {
            continue;
        }
        let (organisation, data) = (organisation.clone(), data.clone());
        let saved = tokio::task::spawn_blocking(move || storage::save(&organisation, &data)).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!(%error, "the simulated organisation could not be saved");
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the simulator imports nothing of ours, so it builds its own client"
)]
fn client() -> anyhow::Result<reqwest::Client> {
    // Another part of the process may have chosen already; then that choice stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder()
        .timeout(DELIVERY_TIME)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent("VSServices/17.0 (simulator)")
        .no_proxy()
        .build()?)
}

impl Courier {
    /// Sends one notification under the armed faults.
    async fn send(self, delivery: Delivery, struck: Vec<Fault>) {
        for fault in struck.iter().filter(|f| f.kind == FaultKind::DelayHook) {
            self.organisation.clock().sleep(Duration::from_secs(fault.number("seconds", 10))).await;
        }
        if struck.iter().any(|f| f.kind == FaultKind::ReorderHooks) {
            self.held.lock().await.push(delivery);
            self.organisation.clock().sleep(HELD).await;
            return self.release().await;
        }
        let again = struck.iter().any(|f| f.kind == FaultKind::DuplicateHook);
        self.request(&delivery).await;
        if again {
            self.request(&delivery).await;
        }
        self.release().await;
    }

    /// Sends what was held back, after something else went out.
    async fn release(&self) {
        let held = std::mem::take(&mut *self.held.lock().await);
        for delivery in held {
            self.request(&delivery).await;
        }
    }

    async fn request(&self, delivery: &Delivery) {
        let started = Instant::now();
        let mut request = self.client.post(&delivery.url).json(&delivery.body);
        if let Some((user, password)) = &delivery.basic {
            request = request.basic_auth(user, Some(password));
        }
        for line in delivery.headers.lines() {
            if let Some((name, value)) = line.split_once(':') {
                request = request.header(name.trim(), value.trim());
            }
        }
        let answer = match request.send().await {
            Ok(mut response) => {
                let status = Some(response.status().as_u16());
                let mut body = Vec::new();
                while let Ok(Some(chunk)) = response.chunk().await {
                    body.extend_from_slice(&chunk);
                    if body.len() >= ANSWER_BYTES {
                        body.truncate(ANSWER_BYTES);
                        break;
                    }
                }
                let body = String::from_utf8_lossy(&body).into_owned();
                Answer { status, body, error: None, took: started.elapsed() }
            }
            Err(error) => {
                let text = format!("The receiver could not be reached: {error}");
                Answer { status: None, body: String::new(), error: Some(text), took: started.elapsed() }
            }
        };
        self.organisation.lock().delivery_answered(delivery.subscription, delivery.notification, answer);
    }
}
