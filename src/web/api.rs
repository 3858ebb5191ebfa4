//! Runs over JSON (CONTRACTS: JSON API).

use axum::Json;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::input::{JsonBody, RunPath, Window, words};
use super::problem::Problem;
use super::viewer::Viewer;
use super::when::rfc3339;
use super::{Shared, State, budget, rights};
use crate::config::Role;
use crate::journal::{Entry, NewRun, RunId, RunRow, RunView, Source, Step};

/// Body of `POST /api/runs`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    instruction: String,
    project: Option<String>,
    repository: Option<String>,
}

/// Body of `POST /api/runs/{id}/messages`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    text: String,
}

/// `POST /api/runs`.
pub(super) async fn create(
    app: Shared,
    viewer: Viewer,
    JsonBody(asked): JsonBody<Asked>,
) -> Result<Response, Problem> {
    let served = &app.state.organization;
    serves("project", asked.project.as_deref(), &served.project)?;
    serves("repository", asked.repository.as_deref(), &served.repository)?;
    rights::check(&app, &viewer).await?;
    let id = start(&app.state, &viewer, &asked.instruction).await?;
    let url = app.state.public(&format!("/runs/{id}"));
    let mut response = (StatusCode::ACCEPTED, Json(json!({"id": id, "url": url}))).into_response();
    if let Ok(value) = HeaderValue::from_str(&url) {
        response.headers_mut().insert(LOCATION, value);
    }
    Ok(response)
}

/// Queues a run for the person at the page.
pub(super) async fn start(state: &State, viewer: &Viewer, instruction: &str) -> Result<RunId, Problem> {
    viewer.needs(Role::Instructor)?;
    let run = NewRun {
        instruction: words("instruction", instruction)?,
        source: Source::Chat,
        requested_by: viewer.person.clone(),
        project: state.organization.project.clone(),
        repository: state.organization.repository.clone(),
        subject: None,
        trigger: None,
    };
    Ok(state.journal.create(run).await?)
}

/// Azure DevOps does not tell capitals from small letters in names.
fn serves(what: &str, asked: Option<&str>, served: &str) -> Result<(), Problem> {
    match asked {
        Some(asked) if asked.to_lowercase() != served.to_lowercase() => {
            let asked: String = asked.chars().take(80).collect();
            Err(Problem::missing(
                format!("The {what} '{asked}' is not served here."),
                format!("This co-worker serves the {what} '{served}'; name that or leave it out."),
            ))
        }
        _ => Ok(()),
    }
}

/// `GET /api/runs`.
pub(super) async fn list(app: Shared, window: Window) -> Result<Json<Value>, Problem> {
    let rows = app.state.journal.runs(window.limit, window.before).await?;
    let runs: Vec<Value> = rows.iter().map(|row| Value::Object(summary(&app.state, row))).collect();
    Ok(Json(json!({"runs": runs})))
}

/// `GET /api/runs/{id}`.
pub(super) async fn show(app: Shared, RunPath(id): RunPath) -> Result<Json<Value>, Problem> {
    let row = app.state.journal.run(&id).await?.ok_or_else(|| Problem::no_run(id.as_str()))?;
    let view = RunView::of(&app.state.journal.whole_log(&id).await?);
    let mut run = summary(&app.state, &row);
    run.insert("answer".into(), json!(view.answer));
    run.insert("steps".into(), view.steps.iter().map(step).collect());
    run.insert("links".into(), json!(view.links));
    run.insert("usage".into(), json!(view.usage));
    run.insert("budget".into(), budget::json(&budget::of_run(&app.state, &id).await?));
    let optional = [("model", view.model), ("remedy", view.remedy), ("waiting_reason", view.waiting_reason)];
    for (name, value) in optional {
        if let Some(value) = value {
            run.insert(name.into(), value.into());
        }
    }
    Ok(Json(Value::Object(run)))
}

fn summary(state: &State, row: &RunRow) -> Map<String, Value> {
    let mut run = Map::new();
    run.insert("id".into(), json!(row.id));
    run.insert("url".into(), json!(state.public(&format!("/runs/{}", row.id))));
    run.insert("status".into(), json!(row.status));
    if let Some(waiting_for) = row.waiting_for {
        run.insert("waiting_for".into(), json!(waiting_for));
    }
    run.insert("instruction".into(), json!(row.instruction));
    run.insert("source".into(), json!(row.source));
    run.insert("requested_by".into(), json!(row.requested_by));
    if let Some(subject) = &row.subject {
        run.insert("subject".into(), json!(subject));
    }
    run.insert("created_at".into(), json!(rfc3339(row.created_at)));
    run.insert("updated_at".into(), json!(rfc3339(row.updated_at)));
    run.insert("last_seq".into(), json!(row.last_seq));
    run
}

fn step(step: &Step) -> Value {
    let mut shown = Map::new();
    shown.insert("seq".into(), json!(step.seq));
    shown.insert("kind".into(), json!(step.kind));
    if let Some(tool) = &step.tool {
        shown.insert("tool".into(), json!(tool));
    }
    shown.insert("status".into(), json!(step.status));
    if let Some(url) = &step.target_url {
        shown.insert("target_url".into(), json!(url));
    }
    shown.insert("duration_ms".into(), json!(step.duration_ms));
    if !step.text.is_empty() {
        shown.insert("text".into(), json!(step.text));
    }
    Value::Object(shown)
}

/// `POST /api/runs/{id}/messages`: words for a run; one that has ended goes on with them.
pub(super) async fn message(
    app: Shared,
    viewer: Viewer,
    RunPath(id): RunPath,
    JsonBody(said): JsonBody<Said>,
) -> Result<Response, Problem> {
    rights::check(&app, &viewer).await?;
    let seq = say(&app.state, &viewer, &id, &said.text).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id, "seq": seq}))).into_response())
}

/// Adds a message of the person at the page to a run.
pub(super) async fn say(state: &State, viewer: &Viewer, id: &RunId, text: &str) -> Result<i64, Problem> {
    viewer.needs(Role::Instructor)?;
    let entry = Entry::Message { from: viewer.person.clone(), text: words("text", text)? };
    Ok(state.journal.add_from_outside(id, entry).await?)
}

/// `POST /api/runs/{id}/cancel`.
pub(super) async fn cancel(app: Shared, viewer: Viewer, RunPath(id): RunPath) -> Result<Response, Problem> {
    let seq = stop(&app.state, &viewer, &id).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id, "seq": seq}))).into_response())
}

/// Asks a run to stop.
pub(super) async fn stop(state: &State, viewer: &Viewer, id: &RunId) -> Result<i64, Problem> {
    viewer.needs(Role::Instructor)?;
    let row = state.journal.run(id).await?.ok_or_else(|| Problem::no_run(id.as_str()))?;
    if row.status.is_final() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            format!("The run has ended already: {}.", row.status.as_str()),
            "There is nothing to stop. A message makes it go on.",
        ));
    }
    let by = viewer.person.clone();
    Ok(state.journal.add_from_outside(id, Entry::CancelRequested { by }).await?)
}
