//! One form for everything that goes wrong: RFC 9457 with a remedy, as JSON or as a page.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::journal::JournalError;
use crate::policy::approval::Refusal;

/// Media type of a problem.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// Seconds after which a caller may come again when the journal could not write.
const COME_AGAIN: &str = "5";

/// What went wrong, and what can be done.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) detail: String,
    pub(super) remedy: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), remedy: remedy.into() }
    }

    /// 400.
    pub(super) fn bad(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail, remedy)
    }

    /// 404.
    pub(super) fn missing(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail, remedy)
    }

    /// 404 for a run.
    pub(super) fn no_run(id: &str) -> Self {
        let id: String = id.chars().take(40).collect();
        Self::missing(
            format!("There is no run {id}."),
            "Look for it in the list of runs (/runs, or /api/runs).",
        )
    }

    /// 404 for an event.
    pub(super) fn no_event(id: &str) -> Self {
        let id: String = id.chars().take(40).collect();
        Self::missing(
            format!("There is no event {id}."),
            "Look for it in the list of events (/events, or /api/events).",
        )
    }

    /// 404 for an approval.
    pub(super) fn no_approval(id: &str) -> Self {
        let id: String = id.chars().take(40).collect();
        Self::missing(
            format!("There is no approval {id}."),
            "Look for it in the list of approvals (/approvals, or /api/approvals).",
        )
    }

    /// What a refused decision means for who sent it.
    pub(super) fn refused(refusal: &Refusal) -> Self {
        let conflict = StatusCode::CONFLICT;
        let (status, remedy) = match refusal {
            Refusal::NotEligible(_) => (
                StatusCode::FORBIDDEN,
                "Sign in as somebody whom the rule names, and who neither gave the order nor wrote what led to it.",
            ),
            Refusal::StaleSignIn => (StatusCode::FORBIDDEN, "Sign out and sign in again, then decide."),
            Refusal::Closed(_) | Refusal::Expired | Refusal::Twice(_) | Refusal::OutOfOrder { .. } => {
                (conflict, "Look at the approval again: there is nothing more to decide here.")
            }
            Refusal::OtherDigest | Refusal::TargetMoved { .. } => {
                (conflict, "Load the approval again, look at what would be done now, and send its digest.")
            }
            Refusal::Reason(_) => (StatusCode::UNPROCESSABLE_ENTITY, "Say why, in the field reason."),
            Refusal::Edit(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "Change only what the card offers: title, description, branch within agent/, fewer files.",
            ),
            Refusal::Grant(_) => (StatusCode::UNPROCESSABLE_ENTITY, "Approve it once."),
        };
        let text = refusal.to_string();
        let mut letters = text.chars();
        let first = letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
        let full_stop = if text.ends_with('.') { "" } else { "." };
        Self::new(status, format!("{first}{}{full_stop}", letters.as_str()), remedy)
    }

    /// 404 for a path that nothing answers.
    pub(super) fn no_such_place() -> Self {
        Self::missing("There is nothing at this address.", "Check the address, or start from the first page.")
    }

    /// 500, after a fault of ours that was logged where it happened.
    pub(super) fn ours() -> Self {
        const REMEDY: &str = "Try again; if it happens again, the program's log says why.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here.", REMEDY)
    }

    /// The JSON object.
    pub(super) fn body(&self) -> serde_json::Value {
        json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "remedy": self.remedy,
        })
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(COME_AGAIN));
        }
        // The page's own middleware finds it here and renders it for people.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        match &error {
            JournalError::UnknownRun(run) => Self::no_run(run.as_str()),
            JournalError::UnknownApproval(id) => Self::no_approval(id),
            JournalError::Approval(refusal) => Self::refused(refusal),
            JournalError::Corrupt { run, seq, .. } => {
                tracing::error!(%error, "the record of a run cannot be read");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    format!("Entry {seq} of run {run} cannot be read."),
                    format!("GET /api/audit/{run} shows the record as it is stored and where it is broken."),
                )
            }
            JournalError::Full => {
                tracing::error!("the journal is full");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "There is no space left for the journal. Nothing was changed.",
                    "Make room on the disk of the database (DATABASE_URL), then try again; nothing need be restarted.",
                )
            }
            JournalError::Open(_)
            | JournalError::Store(_)
            | JournalError::Unavailable
            | JournalError::Superseded
            | JournalError::Fenced(_)
            | JournalError::Closed => {
                tracing::error!(%error, "the journal failed a request");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "The journal cannot be read or written right now. Nothing was changed.",
                    "Try again in a few seconds. If it goes on, check the disk and DATABASE_URL; the program's log says more.",
                )
            }
        }
    }
}
