//! The record of a run as something to look through: a timeline to play, filter and link into, and
//! every entry in full. Text only: nothing in a record becomes markup, an image or a script.
//!
//! Whoever looks is written down in the house's log, so that looking does not change the record that
//! is looked at.

mod detail;
mod rows;

use askama::Template;
use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::input::{RunPath, Window};
use super::kill::may_stop_all;
use super::pages::page as rendered;
use super::problem::Problem;
use super::shown::{RunLine, Shell};
use super::viewer::Viewer;
use super::{App, Shared};
use crate::config::Role;
use crate::journal::{Entry, Note, PAGE, RunId, RunRow, Source};
use detail::Detail;
use rows::Row;

#[derive(Template)]
#[template(path = "replay.html")]
struct Replay {
    shell: Shell,
    run: RunLine,
    live: bool,
    may_kill: bool,
    lanes: [(&'static str, &'static str); 6],
}

#[derive(Template)]
#[template(path = "replay_entry.html")]
struct One {
    detail: Detail,
}

/// The lanes of the timeline: name and title.
const LANES: [(&str, &str); 6] = [
    ("human", "Human"),
    ("model", "Model"),
    ("policy", "Policy"),
    ("approval", "Approval"),
    ("azure_devops", "Azure DevOps"),
    ("run", "Run"),
];

/// Refuses who may not read this record: auditors read all, who gave an order reads what became of it.
/// Where nobody signs in, who sits at this machine is the only reader there can be.
pub(super) async fn may_read(app: &App, viewer: &Viewer, run: &RunId) -> Result<RunRow, Problem> {
    let row = app.state.journal.run(run).await?.ok_or_else(|| Problem::no_run(run.as_str()))?;
    if viewer.is(Role::Auditor) || (viewer.local && !app.state.has_sign_in()) {
        return Ok(row);
    }
    let first = app.state.journal.entry(run, 1).await?;
    if let Some(Entry::Created { requested_by, source, .. }) = first.map(|logged| logged.entry) {
        let person = &viewer.person;
        let own = match (&person.oid, viewer.local) {
            (Some(oid), _) => {
                let account = |a: &String, b: &String| a.eq_ignore_ascii_case(b);
                requested_by.oid.as_ref().is_some_and(|other| account(oid, other))
                    || matches!((&person.account, &requested_by.account), (Some(a), Some(b)) if account(a, b))
            }
            (None, true) => source != Source::Webhook && requested_by.oid.is_none(),
            (None, false) => false,
        };
        if own {
            return Ok(row);
        }
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "The record of a run is read by who gave the order, and by auditors.",
        match app.state.has_sign_in() && viewer.local {
            true => "Sign in as an auditor (/sign-in), or as who gave the order.",
            false => "Ask an administrator to put you into a group that ROLE_GROUPS lists for auditor.",
        },
    ))
}

/// Writes down that somebody looks: without that, nobody does.
pub(super) async fn viewed(app: &App, viewer: &Viewer, run: &RunId, how: &str) -> Result<(), Problem> {
    let note = Note::Viewed { by: viewer.person.clone(), run: run.clone(), how: how.to_owned() };
    app.state.journal.note(note).await?;
    Ok(())
}

/// `GET /runs/{id}/replay`.
pub(super) async fn page(app: Shared, viewer: Viewer, RunPath(id): RunPath) -> Result<Response, Problem> {
    let row = may_read(&app, &viewer, &id).await?;
    viewed(&app, &viewer, &id, "replay").await?;
    let run = RunLine::from(&row);
    rendered(&Replay {
        shell: Shell::new(&app, &viewer, "runs", &format!("Replay: {}", run.title)),
        live: !row.status.is_final(),
        may_kill: may_stop_all(&viewer) || viewer.is(Role::Instructor),
        lanes: LANES,
        run,
    })
}

/// `GET /runs/{id}/replay/rows?after=`: the timeline, a page at a time.
pub(super) async fn rows(
    app: Shared,
    viewer: Viewer,
    RunPath(id): RunPath,
    window: Window,
) -> Result<Json<Value>, Problem> {
    let row = may_read(&app, &viewer, &id).await?;
    let log = app.state.journal.log(&id, window.after.unwrap_or(0)).await?;
    let more = log.len() as i64 == PAGE;
    let rows: Vec<Row> = log.iter().map(Row::of).collect();
    Ok(Json(json!({ "rows": rows, "more": more, "live": !row.status.is_final() })))
}

/// `GET /runs/{id}/replay/entries/{seq}`: one entry in full.
pub(super) async fn entry(
    app: Shared,
    viewer: Viewer,
    Path((id, seq)): Path<(String, i64)>,
) -> Result<Response, Problem> {
    let id = RunId::parse(&id).filter(|id| !id.is_house()).ok_or_else(|| Problem::no_run(&id))?;
    let row = may_read(&app, &viewer, &id).await?;
    let (logged, recorded) =
        (app.state.journal.entry(&id, seq).await?, app.state.journal.recorded(&id, seq).await?);
    let (Some(logged), Some(recorded)) = (logged, recorded) else {
        return Err(Problem::missing(
            format!("The record has no entry {seq}."),
            "Choose one from the timeline.",
        ));
    };
    let detail = Detail::of(&app, &viewer, &row, &logged, &recorded).await?;
    rendered(&One { detail })
}
