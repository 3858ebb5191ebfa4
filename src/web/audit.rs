//! The record of a run, as it is stored and hashed.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::input::{RunPath, Window};
use super::problem::Problem;
use super::viewer::Viewer;
use super::when::rfc3339;
use super::{Shared, replay};
use crate::journal::{PAGE, Recorded, RunId};

#[derive(Serialize)]
struct Record {
    run: RunId,
    /// First entry whose hash or place is wrong.
    first_fault: Option<i64>,
    entries: Vec<Shown>,
    /// `after` for the next page, where there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<i64>,
}

#[derive(Serialize)]
struct Shown {
    seq: i64,
    ts: String,
    ts_us: i64,
    prev: String,
    hash: String,
    /// Binds the body: the HMAC-SHA-256 of its bytes under the salt.
    commitment: String,
    /// Hexadecimal; gone when the body was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    /// Byte for byte what the commitment binds; null when it was erased.
    entry: Box<RawValue>,
}

impl From<Recorded> for Shown {
    fn from(row: Recorded) -> Self {
        // A body that is no longer JSON is shown as a string: the record must be readable when it
        // is broken, then most of all.
        let raw = |body: String| {
            RawValue::from_string(body.clone()).or_else(|_| serde_json::value::to_raw_value(&body)).ok()
        };
        Self {
            seq: row.seq,
            ts: rfc3339(row.ts),
            ts_us: row.ts,
            prev: row.prev,
            hash: row.hash,
            commitment: row.commitment,
            salt: row.salt,
            entry: row.body.and_then(raw).unwrap_or_else(|| RawValue::NULL.to_owned()),
        }
    }
}

/// `GET /api/audit/{run}`.
pub(super) async fn show(
    app: Shared,
    viewer: Viewer,
    RunPath(run): RunPath,
    window: Window,
) -> Result<Response, Problem> {
    replay::may_read(&app, &viewer, &run).await?;
    if window.after.unwrap_or(0) == 0 {
        replay::viewed(&app, &viewer, &run, "record").await?;
    }
    let first_fault = app.state.journal.first_fault(&run).await?;
    let rows = app.state.journal.record(&run, window.after.unwrap_or(0)).await?;
    let full = rows.len() as i64 == PAGE;
    let next_after = rows.last().filter(|_| full).map(|row| row.seq);
    let entries = rows.into_iter().map(Shown::from).collect();
    Ok(Json(Record { run, first_fault, entries, next_after }).into_response())
}
