//! The pages. Each is whole without JavaScript; with it, the same fragments are fetched again.

use askama::Template;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};

use super::card::Card;
use super::input::{FormText, MAX_INSTRUCTION_CHARS, RunPath, Window};
use super::problem::Problem;
use super::shown::{EventLine, RunLine, RunShown, Shell};
use super::viewer::Viewer;
use super::{App, Shared, api, budget, events as intake, rights};
use crate::config::Role;
use crate::journal::{IntakeStatus, RunId};

/// The fates that the list of events can be narrowed to.
const FATES: &[(&str, &str)] = &[
    ("", "All"),
    ("received", "Not looked at yet"),
    ("running", "Started a run"),
    ("merged", "Joined a run"),
    ("done", "Run ended"),
    ("ignored", "Ignored"),
    ("failed", "Failed"),
    ("parked", "Needs a person"),
];
/// Runs beside a new conversation.
const RECENT: i64 = 12;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    shell: Shell,
    runs: Vec<RunLine>,
    text: String,
    /// Sentences that can be sent with one press, each with what happens then.
    offers: Vec<(String, String)>,
    trouble: Option<Problem>,
    max_chars: usize,
}

#[derive(Template)]
#[template(path = "recent.html")]
struct Recent {
    runs: Vec<RunLine>,
}

#[derive(Template)]
#[template(path = "runs.html")]
struct Runs {
    shell: Shell,
    runs: Vec<RunLine>,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "run.html")]
struct Run {
    shell: Shell,
    run: RunShown,
    text: String,
    trouble: Option<Problem>,
    max_chars: usize,
}

/// What changed in a run's page.
#[derive(Template)]
#[template(path = "timeline.html")]
pub(super) struct Timeline {
    pub(super) run: RunShown,
}

#[derive(Template)]
#[template(path = "events.html")]
struct Events {
    shell: Shell,
    events: Vec<EventLine>,
    /// Name in the address, and words.
    fates: &'static [(&'static str, &'static str)],
    /// The fate that is shown; empty for all.
    chosen: &'static str,
    /// It begins with the newest.
    newest: bool,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "event.html")]
struct Event {
    shell: Shell,
    event: EventLine,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    shell: Shell,
    problem: &'a Problem,
    reason: &'static str,
}

pub(super) fn page(template: &impl Template) -> Result<Response, Problem> {
    template.render().map(|text| Html(text).into_response()).map_err(|error| {
        tracing::error!(%error, "a page could not be rendered");
        Problem::ours()
    })
}

/// A problem as a page; as JSON where even that fails.
pub(super) fn problem(app: &App, viewer: &Viewer, problem: &Problem) -> Response {
    let reason = match problem.status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::SERVICE_UNAVAILABLE => "Not available right now",
        StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => "Refused",
        StatusCode::UNAUTHORIZED => "Sign in first",
        StatusCode::CONFLICT => "Too late",
        status if status.is_client_error() => "That did not work",
        _ => "Something went wrong",
    };
    let shell = Shell::new(app, viewer, "", reason);
    match page(&ProblemPage { shell, problem, reason }) {
        Ok(mut response) => {
            *response.status_mut() = problem.status;
            response
        }
        Err(other) => other.into_response(),
    }
}

/// `GET /`.
pub(super) async fn home(app: Shared, viewer: Viewer) -> Result<Response, Problem> {
    let text = app.state.config.suggestion.clone().unwrap_or_default();
    home_page(&app, &viewer, text, None).await
}

async fn home_page(
    app: &App,
    viewer: &Viewer,
    text: String,
    trouble: Option<Problem>,
) -> Result<Response, Problem> {
    let rows = app.state.journal.runs(RECENT, None).await?;
    let runs = rows.iter().map(RunLine::from).collect();
    let status = trouble.as_ref().map(|problem| problem.status);
    let shell = Shell::new(app, viewer, "new", "New conversation");
    let mut response = page(&Home {
        shell,
        runs,
        text,
        offers: app.state.config.offers.clone(),
        trouble,
        max_chars: MAX_INSTRUCTION_CHARS,
    })?;
    *response.status_mut() = status.unwrap_or(StatusCode::OK);
    Ok(response)
}

/// `GET /runs/recent`: the list beside a new conversation.
pub(super) async fn recent(app: Shared) -> Result<Response, Problem> {
    let rows = app.state.journal.runs(RECENT, None).await?;
    page(&Recent { runs: rows.iter().map(RunLine::from).collect() })
}

/// `GET /runs`.
pub(super) async fn runs(app: Shared, viewer: Viewer, window: Window) -> Result<Response, Problem> {
    let rows = app.state.journal.runs(window.limit, window.before).await?;
    let full = i64::try_from(rows.len()).is_ok_and(|n| n == window.limit);
    let runs: Vec<RunLine> = rows.iter().map(RunLine::from).collect();
    let older = runs.last().filter(|_| full).map(|line| line.created.exact.clone());
    page(&Runs { shell: Shell::new(&app, &viewer, "runs", "Runs"), runs, older })
}

/// `POST /runs`: the form of a new conversation.
pub(super) async fn start(
    app: Shared,
    viewer: Viewer,
    FormText(text): FormText,
) -> Result<Response, Problem> {
    if let Err(trouble) = rights::check(&app, &viewer).await {
        return home_page(&app, &viewer, text, Some(trouble)).await;
    }
    match api::start(&app.state, &viewer, &text).await {
        Ok(id) => Ok(Redirect::to(&format!("/runs/{id}")).into_response()),
        // What was typed is not lost.
        Err(trouble) => home_page(&app, &viewer, text, Some(trouble)).await,
    }
}

/// `GET /runs/{id}`.
pub(super) async fn run(app: Shared, viewer: Viewer, RunPath(id): RunPath) -> Result<Response, Problem> {
    run_page(&app, &viewer, &id, String::new(), None).await
}

async fn run_page(
    app: &App,
    viewer: &Viewer,
    id: &RunId,
    text: String,
    trouble: Option<Problem>,
) -> Result<Response, Problem> {
    let run = read(app, viewer, id, 0).await?;
    let shell = Shell::new(app, viewer, "runs", &run.line.title);
    let status = trouble.as_ref().map(|problem| problem.status);
    let mut response = page(&Run { shell, run, text, trouble, max_chars: MAX_INSTRUCTION_CHARS })?;
    *response.status_mut() = status.unwrap_or(StatusCode::OK);
    Ok(response)
}

async fn read(app: &App, viewer: &Viewer, id: &RunId, after: i64) -> Result<RunShown, Problem> {
    let row = app.state.journal.run(id).await?.ok_or_else(|| Problem::no_run(id.as_str()))?;
    let log = app.state.journal.whole_log(id).await?;
    let mut run = RunShown::new(&row, &log, after, app.state.clock.now());
    run.budget = budget::Shown::of(&budget::of_run(&app.state, id).await?);
    run.cards = run.approvals.iter().map(|approval| Card::new(&app.state, viewer, id, approval)).collect();
    Ok(run)
}

/// `GET /runs/{id}/timeline?after=`: what changed since.
pub(super) async fn timeline(
    app: Shared,
    viewer: Viewer,
    RunPath(id): RunPath,
    window: Window,
) -> Result<Response, Problem> {
    page(&Timeline { run: read(&app, &viewer, &id, window.after.unwrap_or(0)).await? })
}

/// `POST /runs/{id}/messages`: the form under a run.
pub(super) async fn message(
    app: Shared,
    viewer: Viewer,
    RunPath(id): RunPath,
    FormText(text): FormText,
) -> Result<Response, Problem> {
    if let Err(trouble) = rights::check(&app, &viewer).await {
        return run_page(&app, &viewer, &id, text, Some(trouble)).await;
    }
    match api::say(&app.state, &viewer, &id, &text).await {
        Ok(seq) => Ok(Redirect::to(&format!("/runs/{id}#step-{seq}")).into_response()),
        Err(trouble) => run_page(&app, &viewer, &id, text, Some(trouble)).await,
    }
}

/// `POST /runs/{id}/cancel`: the Stop button.
pub(super) async fn cancel(app: Shared, viewer: Viewer, RunPath(id): RunPath) -> Result<Response, Problem> {
    match api::stop(&app.state, &viewer, &id).await {
        // It ended before the stop came: that is what was wanted.
        Err(problem) if problem.status != StatusCode::CONFLICT => Err(problem),
        _ => Ok(Redirect::to(&format!("/runs/{id}")).into_response()),
    }
}

/// `GET /events`.
pub(super) async fn events(app: Shared, viewer: Viewer, window: Window) -> Result<Response, Problem> {
    let rows = intake::page_of(&app.state, &window).await?;
    let events = rows.iter().map(EventLine::new).collect();
    let older = intake::older(&rows, &window);
    let chosen = window.status.map(IntakeStatus::as_str).unwrap_or_default();
    let newest = window.before_event.is_none();
    let shell = Shell::new(&app, &viewer, "events", "Events");
    page(&Events { shell, events, fates: FATES, chosen, newest, older })
}

/// `GET /events/{id}`: goes on to the run, once there is one.
pub(super) async fn event(app: Shared, viewer: Viewer, Path(id): Path<String>) -> Result<Response, Problem> {
    let row = app.state.journal.intake_row(&id).await?.ok_or_else(|| Problem::no_event(&id))?;
    if let Some(run) = &row.run {
        return Ok(Redirect::to(&format!("/runs/{run}")).into_response());
    }
    let event = EventLine::new(&row);
    let waits = event.open;
    let mut response = page(&Event { shell: Shell::new(&app, &viewer, "events", "Event"), event })?;
    if waits {
        // The page looks again by itself until the fate is known, also without JavaScript.
        response.headers_mut().insert("refresh", HeaderValue::from_static("2"));
    }
    Ok(response)
}

/// `POST /events/{id}/redeliver`.
pub(super) async fn redeliver(
    app: Shared,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    viewer.needs(Role::Instructor)?;
    intake::again(&app.state, &id).await?;
    Ok(Redirect::to(&format!("/events#event-{id}")).into_response())
}
