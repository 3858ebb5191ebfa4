//! What came in from outside, with its fate, over JSON.

use std::collections::HashMap;

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::input::Window;
use super::problem::Problem;
use super::viewer::Viewer;
use super::when::rfc3339;
use super::{Shared, State};
use crate::config::Role;
use crate::journal::{IntakeRow, IntakeStatus, JournalError, RunId, Status};

/// `GET /api/events`.
pub(super) async fn list(app: Shared, window: Window) -> Result<Json<Value>, Problem> {
    let rows = app.state.journal.intake(window.limit).await?;
    let fates = Fates::read(&app.state, &rows).await?;
    let events: Vec<Value> = rows.iter().map(|row| shown(&app.state, row, fates.of(row))).collect();
    Ok(Json(json!({"events": events})))
}

fn shown(state: &State, row: &IntakeRow, fate: &'static str) -> Value {
    let mut event = Map::new();
    event.insert("id".into(), json!(row.id));
    event.insert("url".into(), json!(state.public(&format!("/events/{}", row.id))));
    event.insert("type".into(), json!(row.kind));
    event.insert("summary".into(), json!(row.summary));
    event.insert("status".into(), json!(fate));
    if let Some(reason) = &row.reason {
        event.insert("reason".into(), json!(reason));
    }
    if let Some(run) = &row.run {
        event.insert("run".into(), json!(run));
    }
    event.insert("event".into(), json!(row.event));
    event.insert("received_at".into(), json!(rfc3339(row.received_at)));
    Value::Object(event)
}

/// `POST /api/events/{id}/redeliver`.
pub(super) async fn redeliver(
    app: Shared,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    viewer.needs(Role::Instructor)?;
    again(&app.state, &id).await?;
    let url = app.state.public(&format!("/events/{id}"));
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id, "status": "received", "url": url}))).into_response())
}

/// Puts an event back to be judged again.
pub(super) async fn again(state: &State, id: &str) -> Result<(), Problem> {
    if state.journal.redeliver(id).await? { Ok(()) } else { Err(Problem::no_event(id)) }
}

/// How far events have come: that of their runs, once they have started one.
pub(super) struct Fates(HashMap<RunId, Status>);

impl Fates {
    /// Looks up the runs that `rows` started.
    pub(super) async fn read(state: &State, rows: &[IntakeRow]) -> Result<Self, JournalError> {
        let mut runs = HashMap::new();
        for run in
            rows.iter().filter(|row| row.status == IntakeStatus::Running).filter_map(|row| row.run.as_ref())
        {
            if !runs.contains_key(run)
                && let Some(row) = state.journal.run(run).await?
            {
                runs.insert(run.clone(), row.status);
            }
        }
        Ok(Self(runs))
    }

    /// The fate of one of them (CONTRACTS: event status).
    pub(super) fn of(&self, row: &IntakeRow) -> &'static str {
        match (row.status, row.run.as_ref().and_then(|run| self.0.get(run))) {
            (IntakeStatus::Running, Some(Status::Done | Status::Refused | Status::Cancelled)) => "done",
            (IntakeStatus::Running, Some(Status::Failed)) => "failed",
            (IntakeStatus::Running, Some(Status::Parked)) => "parked",
            (status, _) => status.as_str(),
        }
    }
}
