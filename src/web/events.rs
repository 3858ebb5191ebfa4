//! What came in from outside, with its fate, over JSON.

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
use crate::journal::IntakeRow;

/// `GET /api/events`.
pub(super) async fn list(app: Shared, window: Window) -> Result<Json<Value>, Problem> {
    let rows = page_of(&app.state, &window).await?;
    let events: Vec<Value> = rows.iter().map(|row| shown(&app.state, row)).collect();
    let older = older(&rows, &window).map(|query| app.state.public(&format!("/api/events?{query}")));
    Ok(Json(json!({"events": events, "older": older})))
}

/// The part of the list that is wanted.
pub(super) async fn page_of(state: &State, window: &Window) -> Result<Vec<IntakeRow>, Problem> {
    Ok(state.journal.intake_page(window.limit, window.status, window.before_event.as_deref()).await?)
}

/// The query of what came before these; none at the end.
pub(super) fn older(rows: &[IntakeRow], window: &Window) -> Option<String> {
    let full = i64::try_from(rows.len()).is_ok_and(|n| n == window.limit);
    let last = rows.last().filter(|_| full)?;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(status) = window.status {
        query.append_pair("status", status.as_str());
    }
    query.append_pair("limit", &window.limit.to_string()).append_pair("before", &last.id);
    Some(query.finish())
}

fn shown(state: &State, row: &IntakeRow) -> Value {
    let mut event = Map::new();
    event.insert("id".into(), json!(row.id));
    event.insert("url".into(), json!(state.public(&format!("/events/{}", row.id))));
    event.insert("type".into(), json!(row.kind));
    event.insert("summary".into(), json!(row.summary));
    event.insert("status".into(), json!(row.status));
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
