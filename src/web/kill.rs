//! Stopping: everything, until somebody lets it go on, or one run for good. At once, by a write to
//! the journal that takes every run from whoever works it.

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::input::{MAX_BODY_BYTES, RunPath, read_body};
use super::problem::Problem;
use super::viewer::Viewer;
use super::when::{Moment, rfc3339};
use super::{App, Shared};
use crate::config::Role;
use crate::journal::{Halt, RunId};

/// Longest reason, in characters.
const MAX_REASON_CHARS: usize = 500;

/// The body, which may be left out.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    reason: String,
}

/// Everything is stopped, as the pages say it.
pub(super) struct HaltShown {
    pub(super) by: String,
    pub(super) at: Moment,
    pub(super) reason: String,
    /// Whether who looks at it may let it go on.
    pub(super) may_lift: bool,
}

impl HaltShown {
    pub(super) fn new(halt: &Halt, viewer: &Viewer) -> Self {
        Self {
            by: halt.by.name.clone(),
            at: Moment::of(halt.at),
            reason: halt.reason.clone(),
            may_lift: may_stop_all(viewer),
        }
    }
}

/// Administrators; and who sits at this machine, who could end the process as well.
pub(super) fn may_stop_all(viewer: &Viewer) -> bool {
    viewer.local || viewer.is(Role::Admin)
}

async fn asked(request: Request) -> Result<Asked, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read_body(&parts.headers, body, MAX_BODY_BYTES).await?;
    let kind = parts.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let asked: Asked = match () {
        () if bytes.is_empty() => Asked::default(),
        () if kind.starts_with("application/x-www-form-urlencoded") => {
            let field = url::form_urlencoded::parse(&bytes).find(|(name, _)| name == "reason");
            Asked { reason: field.map(|(_, reason)| reason.into_owned()).unwrap_or_default() }
        }
        () => serde_json::from_slice(&bytes).map(Option::unwrap_or_default).map_err(|error| {
            Problem::bad(
                format!("The body cannot be read: {error}."),
                "Send {\"reason\": \"…\"}, or nothing.",
            )
        })?,
    };
    let reason: String = asked.reason.trim().chars().take(MAX_REASON_CHARS).collect();
    Ok(Asked { reason })
}

fn needs_admin(viewer: &Viewer) -> Result<(), Problem> {
    if may_stop_all(viewer) { Ok(()) } else { viewer.needs(Role::Admin) }
}

async fn halt(app: &App, viewer: &Viewer, request: Request) -> Result<(), Problem> {
    let reason = asked(request).await?.reason;
    needs_admin(viewer)?;
    if app.state.journal.halt(viewer.person.clone(), reason).await? {
        tracing::warn!(by = %viewer.person.name, "everything was stopped");
    }
    Ok(())
}

async fn lift(app: &App, viewer: &Viewer) -> Result<(), Problem> {
    needs_admin(viewer)?;
    if app.state.journal.lift(viewer.person.clone()).await? {
        tracing::warn!(by = %viewer.person.name, "what was stopped goes on");
    }
    Ok(())
}

async fn state(app: &App) -> Result<Json<Value>, Problem> {
    Ok(Json(match app.state.journal.halted().await? {
        Some(halt) => {
            json!({ "stopped": true, "by": halt.by.name, "at": rfc3339(halt.at), "reason": halt.reason,
                    "lift": "DELETE /api/kill" })
        }
        None => json!({ "stopped": false }),
    }))
}

/// `GET /api/kill`.
pub(super) async fn show(app: Shared, _: Viewer) -> Result<Json<Value>, Problem> {
    state(&app).await
}

/// `POST /api/kill`.
pub(super) async fn stop_all(app: Shared, viewer: Viewer, request: Request) -> Result<Json<Value>, Problem> {
    halt(&app, &viewer, request).await?;
    state(&app).await
}

/// `DELETE /api/kill`.
pub(super) async fn go_on(app: Shared, viewer: Viewer) -> Result<Json<Value>, Problem> {
    lift(&app, &viewer).await?;
    state(&app).await
}

/// `POST /kill`: the button on the pages.
pub(super) async fn stop_all_form(
    app: Shared,
    viewer: Viewer,
    request: Request,
) -> Result<Response, Problem> {
    halt(&app, &viewer, request).await?;
    Ok(Redirect::to("/runs").into_response())
}

/// `POST /kill/lift`: the button on the banner.
pub(super) async fn go_on_form(app: Shared, viewer: Viewer) -> Result<Response, Problem> {
    lift(&app, &viewer).await?;
    Ok(Redirect::to("/runs").into_response())
}

async fn end(app: &App, viewer: &Viewer, id: &RunId, request: Request) -> Result<bool, Problem> {
    let reason = asked(request).await?.reason;
    if !may_stop_all(viewer) {
        viewer.needs(Role::Instructor)?;
    }
    Ok(app.state.journal.kill(id, &viewer.person, &reason).await?)
}

/// `POST /api/runs/{id}/kill`.
pub(super) async fn one(
    app: Shared,
    viewer: Viewer,
    RunPath(id): RunPath,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let ended_now = end(&app, &viewer, &id, request).await?;
    let row = app.state.journal.run(&id).await?.ok_or_else(|| Problem::no_run(id.as_str()))?;
    Ok(Json(json!({ "id": id, "status": row.status, "ended_now": ended_now })))
}

/// `POST /runs/{id}/kill`: the button of a run.
pub(super) async fn one_form(
    app: Shared,
    viewer: Viewer,
    RunPath(id): RunPath,
    request: Request,
) -> Result<Response, Problem> {
    end(&app, &viewer, &id, request).await?;
    Ok(Redirect::to(&format!("/runs/{id}")).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_stopped_by_administrators_and_by_who_sits_here() {
        let mut viewer = Viewer::nobody();
        for role in [Role::Instructor, Role::Approver, Role::Auditor, Role::BreakGlass] {
            viewer.roles.insert(role);
        }
        assert!(!may_stop_all(&viewer));
        assert_eq!(needs_admin(&viewer).unwrap_err().status, axum::http::StatusCode::FORBIDDEN);
        viewer.roles.insert(Role::Admin);
        assert!(may_stop_all(&viewer) && needs_admin(&viewer).is_ok());
        assert!(may_stop_all(&Viewer::local("bob")));
    }
}
