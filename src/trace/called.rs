//! The requests to outside systems that a piece of work made, by the ids that both sides know.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::Context;
use opentelemetry::trace::FutureExt as _;
use serde::{Deserialize, Serialize};

/// Most requests of one piece of work that are kept; the first ones are.
pub const MAX_CALLS: usize = 64;

/// A request to an outside system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Called {
    /// `azure_devops` or `model`.
    pub system: String,
    /// Method.
    pub method: String,
    /// Template of the path, without what was put into it.
    pub route: String,
    /// HTTP status; none where no answer came.
    pub status: Option<u16>,
    /// The id that was sent along.
    pub sent: String,
    /// The system's own id of the request: Azure DevOps' ActivityId, or the model's request id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity_id: Option<String>,
    /// Entra's id of the token that was brought (`uti`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// How long it took until the answer began, in milliseconds.
    pub duration_ms: u64,
}

impl Called {
    /// Whether it was answered, and not refused.
    pub fn is_ok(&self) -> bool {
        self.status.is_some_and(|status| status < 400)
    }
}

/// The requests of the work under way, in its context.
#[derive(Clone, Debug, Default)]
struct Calls(Arc<Mutex<Vec<Called>>>);

/// Does `work` and gives the requests that it made.
pub async fn collecting<F: Future>(work: F) -> (F::Output, Vec<Called>) {
    let calls = Calls::default();
    let context = Context::current_with_value(calls.clone());
    let output = work.with_context(context).await;
    let mut made = calls.0.lock().unwrap_or_else(PoisonError::into_inner);
    (output, std::mem::take(&mut *made))
}

/// Keeps a request for whoever [`collecting`] waits for it.
pub fn called(call: impl FnOnce() -> Called) {
    Context::map_current(|context| {
        let Some(Calls(calls)) = context.get::<Calls>() else { return };
        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() < MAX_CALLS {
            calls.push(call());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(sent: &str) -> Called {
        Called {
            system: "model".into(),
            method: "POST".into(),
            route: "chat/completions".into(),
            status: Some(200),
            sent: sent.to_owned(),
            activity_id: None,
            token: None,
            duration_ms: 1,
        }
    }

    #[tokio::test]
    async fn each_piece_of_work_has_its_own_requests_and_not_too_many() {
        called(|| one("nobody waits for this"));
        let work = |name: &'static str| async move {
            for _ in 0..2 {
                tokio::task::yield_now().await;
                called(|| one(name));
            }
        };
        let (a, b) = tokio::join!(collecting(work("a")), collecting(work("b")));
        assert_eq!((a.1, b.1), (vec![one("a"), one("a")], vec![one("b"), one("b")]));
        let ((), many) = collecting(async { (0..MAX_CALLS + 5).for_each(|_| called(|| one("c"))) }).await;
        assert_eq!(many.len(), MAX_CALLS);
    }
}
