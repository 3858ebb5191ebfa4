//! What comes in with a request, checked: bodies within their limits, ids, pages of a list.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::journal::{IntakeStatus, RunId};

/// Longest instruction or message, in characters.
pub(super) const MAX_INSTRUCTION_CHARS: usize = 16_000;
/// Largest body of an API request or a form, in bytes: the longest instruction, fully escaped.
pub(super) const MAX_BODY_BYTES: usize = 12 * MAX_INSTRUCTION_CHARS + 4_096;
/// Most bytes of a body that is too large which are read and thrown away.
const MAX_DRAINED_BYTES: usize = 32 * 1024 * 1024;
/// Longest time for that.
const MAX_DRAIN: Duration = Duration::from_secs(5);
/// Items of a list when the caller does not say.
const DEFAULT_ITEMS: i64 = 50;
/// Most items of a list.
const MAX_ITEMS: i64 = 200;

/// Reads a body of at most `limit` bytes.
pub(super) async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The body is larger than {limit} bytes."),
            "Send less at once.",
        )
    };
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    let mut chunks = body.into_data_stream();
    if announced.is_some_and(|length| length > limit) {
        drain(chunks).await;
        return Err(too_large());
    }
    let mut bytes: Vec<u8> = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|_| Problem::bad("The body ended before it was complete.", "Send it again."))?;
        if bytes.len() + chunk.len() > limit {
            drain(chunks).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

/// Reads on for a little: a client that is still sending when the connection ends may never read
/// the answer that tells it why.
async fn drain(mut chunks: BodyDataStream) {
    let mut left = MAX_DRAINED_BYTES;
    let drained = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
    };
    // Whether or not it came to its end, the answer goes out now.
    let _ = tokio::time::timeout(MAX_DRAIN, drained).await;
}

/// A JSON body.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind != "application/json" {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body is not announced as JSON.",
                "Send the header Content-Type: application/json.",
            ));
        }
        let bytes = read_body(&parts.headers, body, MAX_BODY_BYTES).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            Problem::bad(format!("The body cannot be read: {error}."), "Compare it with /api/openapi.json.")
        })
    }
}

/// The field `text` of a posted form; empty where it is missing.
pub(super) struct FormText(pub(super) String);

impl<S: Send + Sync> FromRequest<S> for FormText {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_body(&parts.headers, body, MAX_BODY_BYTES).await?;
        let text = url::form_urlencoded::parse(&bytes).find(|(name, _)| name == "text");
        // A form sends line ends as CR LF.
        Ok(Self(text.map(|(_, text)| text.replace("\r\n", "\n")).unwrap_or_default()))
    }
}

/// Checks words for the co-worker: not empty, not too long. `name` is what the caller calls them.
pub(super) fn words(name: &str, text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Problem::bad(format!("The {name} is empty."), "Say what the co-worker is to do."));
    }
    let length = text.chars().count();
    if length > MAX_INSTRUCTION_CHARS {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The {name} has {length} characters; at most {MAX_INSTRUCTION_CHARS} are taken."),
            "Shorten it, or put the long part into a work item or a file and name that.",
        ));
    }
    Ok(text.to_owned())
}

/// The run named in the path.
pub(super) struct RunPath(pub(super) RunId);

impl<S: Send + Sync> FromRequestParts<S> for RunPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::no_run("with this name"))?;
        let run = RunId::parse(&text).filter(|id| !id.is_house());
        run.map(Self).ok_or_else(|| Problem::no_run(&text))
    }
}

/// Which part of a list is wanted.
pub(super) struct Window {
    /// `after=`: a sequence number.
    pub(super) after: Option<i64>,
    /// `before=`: an instant, in microseconds.
    pub(super) before: Option<i64>,
    /// `before=`: the id of an event.
    pub(super) before_event: Option<String>,
    /// `limit=`.
    pub(super) limit: i64,
    /// `status=`: one kind of events.
    pub(super) status: Option<IntakeStatus>,
}

impl<S: Send + Sync> FromRequestParts<S> for Window {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let mut window =
            Self { after: None, before: None, before_event: None, limit: DEFAULT_ITEMS, status: None };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "after" => window.after = Some(sequence(&value)?),
                "before" if RunId::parse(&value).is_some() => window.before_event = Some(value.into_owned()),
                "before" => window.before = Some(instant(&value)?),
                "status" if !value.is_empty() => window.status = Some(status(&value)?),
                "limit" => window.limit = items(&value)?,
                _ => {}
            }
        }
        Ok(window)
    }
}

fn status(text: &str) -> Result<IntakeStatus, Problem> {
    IntakeStatus::parse(text).ok_or_else(|| {
        let names: Vec<&str> = IntakeStatus::ALL.iter().map(|status| status.as_str()).collect();
        Problem::bad("There is no such status of events.", format!("Give one of: {}.", names.join(", ")))
    })
}

/// Reads a sequence number.
pub(super) fn sequence(text: &str) -> Result<i64, Problem> {
    text.parse().ok().filter(|n| *n >= 0).ok_or_else(|| {
        Problem::bad(
            "The sequence number is not a whole number from 0.",
            "Give the last one you have, for example ?after=12.",
        )
    })
}

fn instant(text: &str) -> Result<i64, Problem> {
    text.parse::<Timestamp>().map(|instant| instant.as_microsecond()).map_err(|_| {
        Problem::bad("'before' is not an RFC 3339 time.", "Give the created_at of the last item you have.")
    })
}

fn items(text: &str) -> Result<i64, Problem> {
    text.parse().ok().filter(|n| (1..=MAX_ITEMS).contains(n)).ok_or_else(|| {
        Problem::bad("'limit' cannot be used.", format!("Give a whole number from 1 to {MAX_ITEMS}."))
    })
}
