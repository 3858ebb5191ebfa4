//! Leave that people gave and can take back: an approval that was not carried out yet, and a grant for
//! more actions of one kind. Taking back counts from the next decision of the judge on.

use axum::Json;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::approvals::{find, one};
use super::card;
use super::input::{JsonBody, MAX_BODY_BYTES, read_body};
use super::problem::Problem;
use super::viewer::Viewer;
use super::when::{Moment, rfc3339};
use super::{App, Shared};
use crate::config::Role;
use crate::journal::{Entry, RunId};
use crate::policy::Grant;
use crate::policy::approval::{Approval, Change, MAX_REASON, OpenGrant, State, Who};

/// Body of `POST /api/approvals/{id}/revoke`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TakenBack {
    #[serde(default)]
    reason: String,
}

/// A grant that is open, as the page lists it.
pub(super) struct Shown {
    pub(super) id: String,
    pub(super) code: String,
    /// What it gives leave for, in a sentence.
    pub(super) what: String,
    /// `3 of 10 uses left`.
    pub(super) left: String,
    pub(super) until: Moment,
    pub(super) by: String,
    pub(super) for_orders_of: String,
    /// Whether the viewer may end it.
    pub(super) may_end: bool,
}

impl Shown {
    pub(super) fn of(viewer: &Viewer, approval: &Approval, now: i64) -> Option<Self> {
        let grant =
            approval.grant.as_ref().filter(|_| approval.leave_until().is_some_and(|until| until > now))?;
        let names: Vec<&str> = approval.approved_by().iter().map(|who| who.name.as_str()).collect();
        Some(Self {
            id: approval.request.id.clone(),
            code: approval.code(),
            what: what(grant),
            left: format!("{} of {} uses left", grant.left, grant.uses.max(grant.left)),
            until: Moment::of(grant.until),
            by: names.join(", "),
            for_orders_of: grant.requested_by.name.clone(),
            may_end: may(viewer, approval).is_ok(),
        })
    }
}

fn what(grant: &OpenGrant) -> String {
    let reach = match grant.kind {
        Grant::Session => "in one run",
        Grant::Once | Grant::Window => "in every run",
    };
    format!("{} on {}, {reach}", grant.action, grant.resource)
}

/// A grant in the API.
pub(super) fn json(approval: &Approval, now: i64) -> Value {
    let Some(grant) = &approval.grant else { return Value::Null };
    json!({
        "kind": grant.kind,
        "action": grant.action,
        "resource": grant.resource,
        "for_orders_of": grant.requested_by.name,
        "until": rfc3339(grant.until),
        "uses": grant.uses.max(grant.left),
        "left": grant.left,
        "open": approval.leave_until().is_some_and(|until| until > now),
        "ended": grant.ended,
    })
}

/// Whether the viewer may take leave back: who gave it, and every approver and administrator.
/// Taking back never widens anything, so it asks for less than giving.
pub(super) fn may(viewer: &Viewer, approval: &Approval) -> Result<(), Problem> {
    let gave = approval.approved_by().iter().any(|who| who.same(&Who::from(&viewer.person)));
    let signed_in = viewer.signed_in_at.is_some() && !viewer.local;
    match signed_in && (gave || viewer.is(Role::Approver) || viewer.is(Role::Admin)) {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "Only who approved it, an approver or an administrator takes it back.",
            "Sign in as one of them (/sign-in).",
        )),
    }
}

/// Whether there is something to take back.
pub(super) fn is_open(approval: &Approval, now: i64) -> bool {
    approval.state_at(now) == State::Approved || approval.leave_until().is_some_and(|until| until > now)
}

/// `POST /api/approvals/{id}/revoke`.
pub(super) async fn revoke(
    app: Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    JsonBody(taken): JsonBody<TakenBack>,
) -> Result<Response, Problem> {
    let viewer = viewer.of_now(&app).await?;
    let (run, approval) = taken_back(&app, &viewer, &id, &taken.reason).await?;
    Ok(Json(card::json(&app.state, &viewer, &run, &approval)).into_response())
}

/// `POST /approvals/{id}/revoke`: the button of a card or of a grant.
pub(super) async fn take_back(
    app: Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let bytes = read_body(&headers, body, MAX_BODY_BYTES).await?;
    let reason = url::form_urlencoded::parse(&bytes).find(|(name, _)| name == "reason");
    let reason = reason.map(|(_, value)| value.into_owned()).unwrap_or_default();
    let viewer = viewer.of_now(&app).await?;
    match taken_back(&app, &viewer, &id, &reason).await {
        Ok(_) => Ok(Redirect::to(&format!("/approvals/{id}")).into_response()),
        Err(trouble) => one(&app, &viewer, &id, Some(trouble)).await,
    }
}

async fn taken_back(
    app: &App,
    viewer: &Viewer,
    id: &str,
    reason: &str,
) -> Result<(RunId, Approval), Problem> {
    let (run, approval) = find(app, id).await?;
    may(viewer, &approval)?;
    let why = reason.trim().to_owned();
    if why.chars().count() > MAX_REASON {
        return Err(Problem::bad("The reason is too long.", format!("Use at most {MAX_REASON} characters.")));
    }
    let by = Some(Who::from(&viewer.person));
    // An approval that is taken back takes its grant along.
    let what = match approval.state {
        State::Approved => Change::Revoked { why, by },
        _ if approval.grant.is_some() => Change::GrantEnded { why, by },
        _ => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "There is no leave to take back: it was not given, was used, or has ended.",
                "Look at the approval again.",
            ));
        }
    };
    app.state.journal.add_from_outside(&run, Entry::ApprovalChanged { id: id.to_owned(), what }).await?;
    find(app, id).await
}
