//! The list of everything that the co-worker needs, as a page and over JSON.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Json;
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::problem::Problem;
use super::shown::{Badge, Shell};
use super::viewer::Viewer;
use super::when::Moment;
use super::{App, Shared, pages};

/// A page shows a list that is not older than this; its button makes a new one.
const FRESH: Duration = Duration::from_secs(60);

/// One check, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckShown {
    /// Its name for machines.
    pub id: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// `ok`, `warning`, `failed` or `skipped`.
    pub status: &'static str,
    /// What was found.
    pub reason: String,
    /// What to do; empty when there is nothing to do.
    pub remedy: String,
}

/// Goes through all checks now. May take half a minute.
pub type Checkup = Arc<dyn Fn() -> BoxFuture<'static, Vec<CheckShown>> + Send + Sync>;

/// The last list. Only one is made at a time, because making one asks everybody outside.
pub(super) type Last = Mutex<Option<Checked>>;

/// A list and when it was complete.
#[derive(Clone)]
pub(super) struct Checked {
    at: Timestamp,
    checks: Arc<Vec<CheckShown>>,
}

/// The list, made now unless there is one that was completed after `since`.
async fn checked(app: &App, since: Timestamp) -> Checked {
    let mut last = app.checked.lock().await;
    if let Some(last) = last.as_ref().filter(|last| last.at > since) {
        return last.clone();
    }
    let checks = Arc::new((app.state.doctor)().await);
    let new = Checked { at: app.state.clock.now(), checks };
    *last = Some(new.clone());
    new
}

/// `GET /api/doctor`.
pub(super) async fn list(app: Shared) -> Json<Value> {
    let checked = checked(&app, app.state.clock.now()).await;
    Json(json!({ "checks": *checked.checks }))
}

struct Line {
    id: &'static str,
    title: &'static str,
    status: &'static str,
    badge: Badge,
    reason: String,
    remedy: String,
}

struct Verdict {
    words: String,
    tone: &'static str,
}

#[derive(Template)]
#[template(path = "doctor.html")]
struct Page {
    shell: Shell,
    verdict: Verdict,
    at: Moment,
    checks: Vec<Line>,
}

fn badge(status: &str) -> Badge {
    match status {
        "ok" => Badge { words: "Ok", tone: "good" },
        "warning" => Badge { words: "Warning", tone: "wait" },
        "failed" => Badge { words: "Failed", tone: "bad" },
        _ => Badge { words: "Not checked", tone: "quiet" },
    }
}

fn verdict(checks: &[CheckShown]) -> Verdict {
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    match (count("failed"), count("warning")) {
        (0, 0) => Verdict { words: "Everything is in place".into(), tone: "good" },
        (0, warnings) => Verdict { words: format!("Nothing failed. Warnings: {warnings}"), tone: "good" },
        (failed, 0) => Verdict { words: format!("Failed: {failed}"), tone: "bad" },
        (failed, warnings) => {
            Verdict { words: format!("Failed: {failed}. Warnings: {warnings}"), tone: "bad" }
        }
    }
}

/// `GET /doctor`.
pub(super) async fn page(app: Shared, viewer: Viewer) -> Result<Response, Problem> {
    let lead = jiff::SignedDuration::try_from(FRESH).unwrap_or_default();
    let since = app.state.clock.now().checked_sub(lead).unwrap_or(Timestamp::MIN);
    let checked = checked(&app, since).await;
    let checks = checked.checks.iter().map(|check| Line {
        id: check.id,
        title: check.title,
        status: check.status,
        badge: badge(check.status),
        reason: check.reason.clone(),
        remedy: check.remedy.clone(),
    });
    pages::page(&Page {
        shell: Shell::new(&app, &viewer, "doctor", "Doctor"),
        verdict: verdict(&checked.checks),
        at: Moment::at(checked.at),
        checks: checks.collect(),
    })
}

/// `POST /doctor`: the button.
pub(super) async fn again(app: Shared) -> Response {
    checked(&app, app.state.clock.now()).await;
    Redirect::to("/doctor").into_response()
}
