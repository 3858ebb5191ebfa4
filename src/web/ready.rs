//! Whether the process lives, whether it can take work, and what it counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::Shared;
use super::problem::Problem;
use crate::meter;

/// Which parts of the process are up. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<Mutex<BTreeMap<&'static str, Option<String>>>>);

impl Ready {
    /// `part` is up.
    pub fn up(&self, part: &'static str) {
        self.set(part, None);
    }

    /// `part` is not up; `why` is shown to the operator.
    pub fn waits(&self, part: &'static str, why: &str) {
        self.set(part, Some(why.to_owned()));
    }

    fn set(&self, part: &'static str, why_not: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(part, why_not);
    }

    /// Each part that is not up, with the reason.
    fn missing(&self) -> Vec<String> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().filter_map(|(part, why)| Some(format!("{part}: {}", why.as_ref()?))).collect()
    }
}

/// `GET /healthz`: the process answers.
pub(super) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /metrics`: what was counted, as Prometheus reads it. Sums only, no texts and no ids, so it is
/// given to whoever reaches the port, as health is.
pub(super) async fn metrics() -> impl IntoResponse {
    ([(CONTENT_TYPE, meter::TEXT), (CACHE_CONTROL, "no-store")], meter::render())
}

/// `GET /readyz`: the journal answers, every part is up, and the process is not ending.
pub(super) async fn readiness(app: Shared) -> Result<Json<Value>, Problem> {
    let mut missing = app.state.ready.missing();
    if app.state.closing.is_cancelled() {
        missing.push("process: it is ending".to_owned());
    }
    if let Err(error) = app.state.journal.unfinished().await {
        tracing::error!(%error, "the journal does not answer");
        missing.push("journal: it cannot be read".to_owned());
    }
    if missing.is_empty() {
        return Ok(Json(json!({"status": "ready"})));
    }
    let detail = format!("Not ready. {}", missing.join("; "));
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail, "Wait, or look at the program's log."))
}
