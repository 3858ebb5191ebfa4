//! What waits for people: the inbox, the card of one approval, and decisions (CONTRACTS: JSON API).
//! A decision is an entry in the run's log; whether it is possible is decided by the state machine,
//! in the transaction that writes it.

use std::time::Duration;

use askama::Template;
use axum::Json;
use axum::extract::{Path, Query};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::card::{self, Card};
use super::input::{JsonBody, MAX_BODY_BYTES, read_body};
use super::pages::page as rendered;
use super::problem::Problem;
use super::shown::Shell;
use super::viewer::Viewer;
use super::{App, Shared, leave};
use crate::digest::Digest;
use crate::journal::{Entry, JournalError, RunId};
use crate::meter;
use crate::policy::Grant;
use crate::policy::approval::{Answer, Approval, Change, Decision, Edits, GrantAsked, Refusal, State};

/// Body of `POST /api/approvals/{id}/decision`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decided {
    decision: Answer,
    digest: Digest,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    edits: Option<Edits>,
    /// Leave for more than this once.
    #[serde(default)]
    grant: Option<GrantAsked>,
    /// The ticket, to break the glass.
    #[serde(default)]
    ticket: Option<String>,
}

/// Which approvals are wanted.
#[derive(Deserialize)]
pub(super) struct Wanted {
    state: Option<String>,
}

#[derive(Template)]
#[template(path = "approvals.html")]
struct Inbox {
    shell: Shell,
    open: Vec<Card>,
    /// Leave for more than one action.
    grants: Vec<leave::Shown>,
    settled: Vec<Card>,
}

#[derive(Template)]
#[template(path = "approval.html")]
struct One {
    shell: Shell,
    card: Card,
    trouble: Option<Problem>,
}

/// `GET /api/approvals?state=`.
pub(super) async fn list(
    app: Shared,
    viewer: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let state = match wanted.state.as_deref().filter(|state| !state.is_empty()) {
        None => None,
        Some(name) => Some(State::parse(name).ok_or_else(|| {
            let names: Vec<&str> = State::ALL.into_iter().map(State::as_str).collect();
            Problem::bad("There is no such state.", format!("Give one of: {}.", names.join(", ")))
        })?),
    };
    let now = app.state.clock.now().as_microsecond();
    // One whose time is over stands in the journal as it was until its run looks at it.
    let stored = state.filter(|state| *state != State::Expired);
    let found = app.state.journal.approvals(stored).await?;
    let fits = |approval: &Approval| state.is_none_or(|state| approval.state_at(now) == state);
    let shown: Vec<Value> = found
        .iter()
        .filter(|(_, approval)| fits(approval))
        .map(|(run, approval)| card::json(&app.state, &viewer, run, approval))
        .collect();
    Ok(Json(json!({ "approvals": shown })))
}

/// `GET /api/approvals/{id}`.
pub(super) async fn show(
    app: Shared,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (run, approval) = find(&app, &id).await?;
    Ok(Json(card::json(&app.state, &viewer, &run, &approval)))
}

pub(super) async fn find(app: &App, id: &str) -> Result<(RunId, Approval), Problem> {
    app.state.journal.approval(id).await?.ok_or_else(|| Problem::no_approval(id))
}

/// `POST /api/approvals/{id}/decision`.
pub(super) async fn decide(
    app: Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    JsonBody(decided): JsonBody<Decided>,
) -> Result<Response, Problem> {
    // Who they are and which groups they are in is asked again for a decision.
    let viewer = viewer.of_now(&app).await?;
    let (run, approval) = decided_on(&app, &viewer, &id, decided).await?;
    Ok(Json(card::json(&app.state, &viewer, &run, &approval)).into_response())
}

/// Writes a decision down, where it is possible; the approval as it then is.
async fn decided_on(
    app: &App,
    viewer: &Viewer,
    id: &str,
    decided: Decided,
) -> Result<(RunId, Approval), Problem> {
    let (run, approval) = find(app, id).await?;
    // Who may decide is who is in the group now, not who was when signing in (GOVERNANCE §4.1).
    let (viewer, is_new) = viewer.clone().of_now(app).await?.settled(app).await?;
    let answer = match decided.decision {
        Answer::Approve => "approve",
        Answer::Deny => "deny",
    };
    let decision = Decision {
        by: card::approver(&viewer, &approval),
        answer: decided.decision,
        digest: decided.digest,
        reason: decided.reason.trim().to_owned(),
        edits: decided.edits.filter(|edits| !edits.is_empty()),
        grant: decided.grant.filter(|grant| grant.kind != Grant::Once),
        break_glass: decided
            .ticket
            .map(|ticket| ticket.trim().to_owned())
            .filter(|ticket| !ticket.is_empty()),
    };
    let entry = Entry::ApprovalChanged { id: id.to_owned(), what: Change::Decided(Box::new(decision)) };
    match app.state.journal.add_from_outside(&run, entry).await {
        Err(JournalError::Approval(Refusal::NotEligible(why))) if is_new => {
            let why =
                format!("{why} Groups that you were put into within the last 24 hours do not count yet.");
            Err(JournalError::Approval(Refusal::NotEligible(why)).into())
        }
        other => other.map(|_| ()).map_err(Problem::from),
    }?;
    let waited = app.state.clock.now().as_microsecond().saturating_sub(approval.requested_at);
    meter::approval(answer, Duration::from_micros(u64::try_from(waited).unwrap_or(0)));
    find(app, id).await
}

/// `GET /approvals`: what waits, then what was decided lately.
pub(super) async fn inbox(app: Shared, viewer: Viewer) -> Result<Response, Problem> {
    let found = app.state.journal.approvals(None).await?;
    let cards = found.iter().map(|(run, approval)| Card::new(&app.state, &viewer, run, approval));
    let (open, settled): (Vec<Card>, Vec<Card>) = cards.partition(|card| card.open);
    let now = app.state.clock.now().as_microsecond();
    let granted = app.state.journal.open_grants(now).await?;
    let grants = granted.iter().filter_map(|approval| leave::Shown::of(&viewer, approval, now)).collect();
    rendered(&Inbox { shell: Shell::new(&app, &viewer, "approvals", "Approvals"), open, grants, settled })
}

/// `GET /approvals/{id}`.
pub(super) async fn page(app: Shared, viewer: Viewer, Path(id): Path<String>) -> Result<Response, Problem> {
    one(&app, &viewer, &id, None).await
}

/// The page of one approval, with what went wrong.
pub(super) async fn one(
    app: &App,
    viewer: &Viewer,
    id: &str,
    trouble: Option<Problem>,
) -> Result<Response, Problem> {
    let (run, approval) = find(app, id).await?;
    let card = Card::new(&app.state, viewer, &run, &approval);
    let title = format!("Approval {}", card.code);
    let status = trouble.as_ref().map(|problem| problem.status);
    let shell = Shell::new(app, viewer, "approvals", &title);
    let mut response = rendered(&One { shell, card, trouble })?;
    if let Some(status) = status {
        *response.status_mut() = status;
    }
    Ok(response)
}

/// `POST /approvals/{id}/decision`: the buttons of a card.
pub(super) async fn answer(
    app: Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Result<Response, Problem> {
    let bytes = read_body(&headers, body, MAX_BODY_BYTES).await?;
    let (_, approval) = find(&app, &id).await?;
    let decided = form(&bytes, &approval)?;
    let viewer = viewer.of_now(&app).await?;
    match decided_on(&app, &viewer, &id, decided).await {
        Ok((run, _)) => Ok(Redirect::to(&format!("/runs/{run}")).into_response()),
        Err(trouble) => one(&app, &viewer, &id, Some(trouble)).await,
    }
}

/// What a card's form says. A field that is as it was is no change.
fn form(bytes: &[u8], approval: &Approval) -> Result<Decided, Problem> {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(bytes)
        .map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n")))
        .collect();
    let get =
        |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim().to_owned());
    let given = |name: &str| get(name).filter(|value| !value.is_empty());
    let asked = get("decision").unwrap_or_default();
    let digest = serde_json::from_value(json!(get("digest").unwrap_or_default()));
    let (decision, kind) = match asked.as_str() {
        "approve" => (Answer::Approve, Grant::Once),
        "approve_kind" => (Answer::Approve, Grant::Session),
        "deny" => (Answer::Deny, Grant::Once),
        _ => {
            return Err(Problem::bad("The form does not say what was decided.", "Use a button of the card."));
        }
    };
    let mut edits = Edits::default();
    if given("changes").is_some() && decision == Answer::Approve {
        edits.title = given("title").filter(|title| given("title_was").as_ref() != Some(title));
        edits.branch = given("branch").filter(|branch| given("branch_was").as_ref() != Some(branch));
        let kept: Vec<String> =
            pairs.iter().filter(|(name, _)| name == "keep").map(|(_, value)| value.clone()).collect();
        let all = match &approval.request.action {
            crate::action::Action::Push { changes, .. } => changes.len(),
            _ => kept.len(),
        };
        edits.files = (kept.len() < all).then_some(kept);
    }
    Ok(Decided {
        decision,
        digest: digest.map_err(|_| Problem::bad("The form has no digest.", "Load the page again."))?,
        reason: get("reason").unwrap_or_default(),
        edits: Some(edits),
        grant: Some(GrantAsked { kind, minutes: None, uses: None }),
        ticket: given("ticket"),
    })
}
