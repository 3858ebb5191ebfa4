//! Tells of approvals at an address outside, for chat tools: what waits and a link, never a token or
//! the text of an action. It happens beside the work, is tried a few times, and is never waited for.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::policy::approval::Approval;

/// Longest time for one try.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often one notice is tried.
const TRIES: u32 = 3;
/// Pause before the second try; doubled with each further one.
const PAUSE: Duration = Duration::from_secs(1);
/// Notices under way at once; those that come on top are dropped, and the page has them all.
const MOST: usize = 16;

/// Sends notices to `NOTIFY_URL`. Its path may hold a secret of the chat tool, so it is never shown.
#[derive(Clone)]
pub struct Notifier {
    url: SecretString,
    http: reqwest::Client,
    clock: Clock,
    room: Arc<Semaphore>,
}

impl Notifier {
    /// A notifier for this address.
    pub fn new(url: SecretString, http: reqwest::Client, clock: Clock) -> Self {
        Self { url, http, clock, room: Arc::new(Semaphore::new(MOST)) }
    }

    /// An approval waits for people.
    pub fn waits(&self, approval: &Approval, public_url: &str) {
        let link = format!("{public_url}/approvals/{}", approval.request.id);
        let text = format!(
            "Approval {} is needed: {} on {}. {link}",
            approval.code(),
            approval.request.action.kind(),
            approval.request.target.what
        );
        self.send(json!({ "kind": "approval_needed", "text": text, "code": approval.code(), "url": link }));
    }

    /// Somebody broke the glass: for the owner and the sponsor of the co-worker.
    pub fn glass_broken(&self, approval: &Approval, public_url: &str) {
        let Some(decision) = approval.break_glass() else { return };
        let link = format!("{public_url}/approvals/{}", approval.request.id);
        let text = format!(
            "{} broke the glass for {} (ticket {}). To be reviewed within 24 hours. {link}",
            decision.by.who.name,
            approval.code(),
            decision.break_glass.as_deref().unwrap_or_default()
        );
        self.send(json!({ "kind": "glass_broken", "text": text, "code": approval.code(), "url": link }));
    }

    fn send(&self, body: Value) {
        let Ok(place) = self.room.clone().try_acquire_owned() else {
            tracing::warn!("too many notices are under way; one was dropped");
            return;
        };
        let notifier = self.clone();
        tokio::spawn(async move {
            notifier.try_to_send(&body).await;
            drop(place);
        });
    }

    async fn try_to_send(&self, body: &Value) {
        for tried in 0..TRIES {
            if tried > 0 {
                self.clock.sleep(PAUSE * 2_u32.pow(tried - 1)).await;
            }
            let request = self.http.post(self.url.expose_secret()).json(body).timeout(TIMEOUT);
            match request.send().await {
                Ok(answer) if answer.status().is_success() => return,
                Ok(answer) => tracing::warn!(status = %answer.status(), "a notice was not taken"),
                Err(error) => {
                    tracing::warn!(error = %error.without_url(), "a notice could not be sent");
                }
            }
        }
    }
}
