//! A run as a stream of server-sent events: its log from any point on, and the words of the turn
//! that is being written.
//!
//! The log is always read from the journal; a notice only says that there is more. So a watcher
//! that lags or misses a notice loses nothing, and a run that another process works is seen too.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::input::{RunPath, Window, sequence};
use super::problem::Problem;
use super::when::rfc3339;
use super::{App, Shared};
use crate::journal::{Entry, JournalError, Logged, Notice, PAGE, RunId};
use crate::meter;

/// Silence after which a comment keeps the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Silence after which the log is read without a notice, for entries of another process.
const RECHECK: Duration = Duration::from_secs(2);
/// How long a browser waits before it connects again.
const RECONNECT: Duration = Duration::from_secs(1);

/// `GET /api/runs/{id}/events`.
pub(super) async fn watch(
    app: Shared,
    RunPath(id): RunPath,
    window: Window,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let row = app.state.journal.run(&id).await?.ok_or_else(|| Problem::no_run(id.as_str()))?;
    let resumed = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        .filter(|id| !id.is_empty())
        .map(sequence)
        .transpose()?;
    let permit = app.watchers.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many streams are open.",
            "Close pages of this co-worker that you do not need.",
        )
    })?;
    let after = resumed.or(window.after).unwrap_or(0).min(row.last_seq);
    let watch = Watch::begin(app.0.clone(), id, after, permit);
    let events = stream::unfold(watch, |mut watch| async move {
        watch.next().await.map(|event| (Ok::<_, Infallible>(event), watch))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// One watcher of one run.
struct Watch {
    app: Arc<App>,
    run: RunId,
    /// Newest entry that was sent.
    sent: i64,
    /// Newest turn that is in the log; words of it are not sent any more.
    turn_in_log: u32,
    notices: Receiver<Notice>,
    /// Words of the unfinished turn from its beginning, to send after the log.
    so_far: Option<Notice>,
    queue: VecDeque<Event>,
    /// The log may hold more than was sent.
    behind: bool,
    ended: bool,
    _permit: OwnedSemaphorePermit,
    _counted: meter::Subscriber,
}

impl Watch {
    fn begin(app: Arc<App>, run: RunId, sent: i64, permit: OwnedSemaphorePermit) -> Self {
        // Watching begins before the log is read: what is added in between is seen twice, not never.
        let (so_far, notices) = app.state.journal.watch(&run);
        let queue = VecDeque::from([Event::default().retry(RECONNECT)]);
        Self {
            app,
            run,
            sent,
            turn_in_log: 0,
            notices,
            so_far,
            queue,
            behind: true,
            ended: false,
            _permit: permit,
            _counted: meter::subscriber(),
        }
    }

    /// The next event; none when the stream is over.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            if self.behind {
                if let Err(error) = self.catch_up().await {
                    // The browser connects again and goes on after the last id it has.
                    tracing::error!(%error, run = %self.run, "a stream ended because the log cannot be read");
                    return None;
                }
                continue;
            }
            let closing = self.app.state.closing.clone();
            tokio::select! {
                () = closing.cancelled() => return None,
                notice = tokio::time::timeout(RECHECK, self.notices.recv()) => match notice {
                    Ok(Ok(Notice::Appended { seq, .. })) => self.behind = seq > self.sent,
                    Ok(Ok(delta)) => self.send_words(delta),
                    // Notices were missed: the log and the unfinished turn are read again.
                    Ok(Err(RecvError::Lagged(_) | RecvError::Closed)) => self.watch_anew(),
                    Err(_) => self.behind = true,
                },
            }
        }
    }

    /// Sends a page of the log; when that was all, the unfinished turn, or the end.
    async fn catch_up(&mut self) -> Result<(), JournalError> {
        // The row first: what it says of the end is then not newer than the log that is read.
        let row = self.app.state.journal.run(&self.run).await?;
        let log = self.app.state.journal.log(&self.run, self.sent).await?;
        for logged in &log {
            self.sent = logged.seq;
            if let Entry::Replied { turn, .. } = logged.entry {
                self.turn_in_log = self.turn_in_log.max(turn);
            }
            self.queue.push_back(entry_event(logged));
        }
        self.behind = log.len() as i64 == PAGE;
        if self.behind {
            return Ok(());
        }
        if let Some(row) = row.filter(|row| row.status.is_final() && row.last_seq >= self.sent) {
            self.queue.push_back(end_event(row.status.as_str(), self.sent));
            self.ended = true;
        } else if let Some(words) = self.so_far.take() {
            self.send_words(words);
        }
        Ok(())
    }

    fn send_words(&mut self, notice: Notice) {
        let Notice::Delta { turn, offset, text } = notice else { return };
        if turn > self.turn_in_log {
            let data = json!({"turn": turn, "offset": offset, "text": text});
            self.queue.push_back(Event::default().event("delta").data(data.to_string()));
        }
    }

    fn watch_anew(&mut self) {
        (self.so_far, self.notices) = self.app.state.journal.watch(&self.run);
        self.behind = true;
    }
}

fn entry_event(logged: &Logged) -> Event {
    let mut data = serde_json::Map::new();
    data.insert("seq".into(), json!(logged.seq));
    data.insert("ts".into(), json!(rfc3339(logged.ts)));
    if let Ok(Value::Object(body)) = serde_json::from_str(&logged.body) {
        data.extend(body);
    }
    let kind =
        data.get("type").and_then(Value::as_str).filter(|kind| is_name(kind)).unwrap_or("unknown").to_owned();
    Event::default().id(logged.seq.to_string()).event(kind).data(Value::Object(data).to_string())
}

fn end_event(status: &str, seq: i64) -> Event {
    Event::default().event("end").data(json!({"status": status, "seq": seq}).to_string())
}

/// A type that a newer program wrote still has to be a name: an event's name is one line.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}
