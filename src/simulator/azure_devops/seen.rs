//! The newest requests as they arrived, for whoever checks afterwards what was asked and sent.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use axum::http::request::Parts;
use serde::Serialize;
use serde_json::{Value, json};

use super::rest::Reply;

/// Requests that are remembered; the oldest go first.
const MAX_REMEMBERED: usize = 2_000;
/// Beginning of a body that is remembered, in bytes.
const MAX_BODY: usize = 256 * 1024;
/// Bytes of all bodies that are remembered.
const MAX_BODIES: usize = 16 * 1024 * 1024;

/// One request.
#[derive(Clone, Debug, Serialize)]
struct Seen {
    seq: u64,
    method: String,
    /// Path and query.
    path: String,
    /// Account of who asked; empty for a stranger.
    who: String,
    /// Status of the answer.
    status: u16,
    body: String,
}

/// The newest requests.
#[derive(Debug, Default)]
pub struct Requests(Mutex<(u64, usize, VecDeque<Seen>)>);

impl Requests {
    /// Remembers a request and how it was answered.
    pub(super) fn note(&self, parts: &Parts, body: &Bytes, reply: &Reply) {
        let user = reply.headers.iter().find(|(name, _)| name == "X-VSS-UserData");
        let who = user.and_then(|(_, value)| value.split_once(':')).map_or("", |(_, account)| account);
        let body = String::from_utf8_lossy(&body[..body.len().min(MAX_BODY)]).into_owned();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0 += 1;
        kept.1 += body.len();
        let (seq, path) = (kept.0, parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default());
        let method = parts.method.to_string();
        kept.2.push_back(Seen { seq, method, path, who: who.to_owned(), status: reply.status, body });
        while kept.2.len() > MAX_REMEMBERED || (kept.1 > MAX_BODIES && kept.2.len() > 1) {
            let gone = kept.2.pop_front().map_or(0, |gone| gone.body.len());
            kept.1 -= gone;
        }
    }

    /// Those after the `after`th, oldest first.
    pub(super) fn list(&self, after: u64) -> Value {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<&Seen> = kept.2.iter().filter(|seen| seen.seq > after).collect();
        json!({"count": found.len(), "value": found})
    }
}
