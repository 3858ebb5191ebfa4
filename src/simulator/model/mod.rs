//! The stand-in model: an HTTP server that speaks the chat completions of Azure OpenAI, and a script
//! where the real service has a language model.
//!
//! Invariant: an answer depends on the request alone (and on behaviours that a test queued). Nothing of
//! a conversation is kept, as the real endpoint keeps nothing. It never claims to be an AI: its model
//! name is `stand-in` and it says what it is when it is asked for what it cannot do. Below `/obedient`
//! there is a second one, [`obedient`], for tests of what holds whatever a model does.
//! It must never know: the organisation, its state or the agent; it sees only what a model sees.

mod conversation;
mod governed;
mod obedient;
mod patterns;
mod replay;
mod script;
mod wire;
mod words;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::simulator::tokens::{AUDIENCE_COGNITIVE_SERVICES, Authority};
use conversation::Conversation;
use replay::Reply;
use script::{Behaviour, Script};
use wire::{Answer, OutCall, Refusal};

/// Largest request body, in bytes.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Requests that are remembered for `GET /_simulator/requests`.
const MAX_REMEMBERED: usize = 64;
/// Longest wait that a test may queue, in milliseconds.
const MAX_DELAY_MS: u64 = 600_000;
const CALL_OF_NOBODY: &str = "launch_rocket";

struct Model {
    pace: Duration,
    clock: Clock,
    authority: Arc<Authority>,
    script: Script,
    seen: Mutex<VecDeque<Value>>,
    /// Does what the newest text says, in place of thinking.
    obeys: bool,
}

/// The server's routes. `pace` is the pause between two words of a stream; zero streams at once.
/// Callers need a bearer token of `authority` for Azure OpenAI's audience, or any `api-key`.
///
/// Control for tests: `POST|GET|DELETE /_simulator/script` queues, lists and clears behaviours for the
/// next requests; `GET /_simulator/requests` shows the newest request bodies, oldest first. All of it is
/// there a second time below `/obedient`.
pub fn router(pace: Duration, clock: Clock, authority: Arc<Authority>) -> Router {
    let model = |obeys| {
        let (clock, authority) = (clock.clone(), authority.clone());
        Model { pace, clock, authority, script: Script::default(), seen: Mutex::default(), obeys }
    };
    endpoint(model(false)).nest("/obedient", endpoint(model(true)))
}

fn endpoint(model: Model) -> Router {
    Router::new()
        .route("/openai/v1/chat/completions", post(complete))
        .route("/openai/deployments/{deployment}/chat/completions", post(complete))
        .route("/_simulator/script", post(queue).get(queued).delete(clear))
        .route("/_simulator/requests", get(requests))
        .route("/healthz", get(|| async { "Healthy" }))
        .fallback(|| async { Refusal::gateway(StatusCode::NOT_FOUND, "Resource not found") })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Arc::new(model))
}

async fn complete(State(model): State<Arc<Model>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let id = uuid::Uuid::new_v4().to_string();
    let dated = uri.path().starts_with("/openai/deployments/");
    let mut response = match model.admit(&headers, dated, uri.query().unwrap_or_default(), &body) {
        Ok(request) => model.respond(&request, &id).await,
        Err(refusal) => refusal.into_response(),
    };
    wire::identify(response.headers_mut(), &id);
    response
}

impl Model {
    fn admit(&self, headers: &HeaderMap, dated: bool, query: &str, body: &[u8]) -> Result<Value, Refusal> {
        let read =
            |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        let bearer = read("authorization");
        let denied = |why: &str| Refusal::gateway(StatusCode::UNAUTHORIZED, why);
        if bearer.is_empty() && read("api-key").trim().is_empty() {
            return Err(denied("Access denied: give a bearer token for this resource or an api-key."));
        } else if !bearer.is_empty() {
            let token = bearer.strip_prefix("Bearer ").unwrap_or_default();
            let checked = self.authority.verify(token, AUDIENCE_COGNITIVE_SERVICES);
            checked.map_err(|why| {
                denied(&format!("Unauthorized. Access token is missing, invalid or expired: {why}."))
            })?;
        }
        if dated
            && !query.split('&').any(|pair| pair.strip_prefix("api-version=").is_some_and(|v| !v.is_empty()))
        {
            return Err(Refusal::gateway(StatusCode::NOT_FOUND, "Resource not found"));
        }
        let request: Value = serde_json::from_slice(body).map_err(|why| {
            Refusal::invalid("", format!("We could not parse the JSON body of your request: {why}."))
        })?;
        if !dated && conversation::text(&request, "model").is_empty() {
            return Err(Refusal::invalid("model", "You must provide a model parameter.".into()));
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push_back(request.clone());
        if seen.len() > MAX_REMEMBERED {
            seen.pop_front();
        }
        wire::check(&request)?;
        Ok(request)
    }

    async fn respond(&self, request: &Value, id: &str) -> Response {
        let orders = if self.obeys { obedient::ordered(request) } else { Vec::new() };
        // Where a text gives orders, what a test has queued waits.
        let behaviour = if orders.is_empty() { self.script.next() } else { Behaviour::Normal };
        let (mut text, mut calls, mut cut, mut breaks) = (String::new(), Vec::new(), false, None);
        match &behaviour {
            Behaviour::Reply { text: words } if self.obeys => {
                calls = obedient::calls_in(words);
                text = if calls.is_empty() { words.clone() } else { String::new() };
            }
            Behaviour::Reply { text: words } => text.clone_from(words),
            Behaviour::Calls { calls: raw, text: words, .. } => {
                text = words.clone().unwrap_or_default();
                let arguments =
                    |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                calls = raw
                    .iter()
                    .map(|c| OutCall { name: c.name.clone(), arguments: arguments(&c.arguments) })
                    .collect();
            }
            Behaviour::UnknownTool => {
                calls.push(OutCall { name: CALL_OF_NOBODY.into(), arguments: "{}".into() })
            }
            Behaviour::Empty => {}
            Behaviour::Throttle { retry_after, gateway } => return throttled(*retry_after, *gateway),
            Behaviour::DeploymentNotFound => return no_deployment().into_response(),
            Behaviour::ContextOverflow => return too_long().into_response(),
            Behaviour::ContentFilter => return filtered().into_response(),
            Behaviour::ServerError { status } => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Refusal::gateway(status, "The service failed, as a test asked it to.")
                    .into_response();
            }
            _ => {
                if let Behaviour::Delay { ms } = behaviour {
                    self.clock.sleep(Duration::from_millis(ms.min(MAX_DELAY_MS))).await;
                }
                if !orders.is_empty() {
                    calls = orders;
                } else if self.obeys {
                    text = obedient::IDLE.to_owned();
                } else {
                    (text, calls) = thought(request);
                }
            }
        }
        match behaviour {
            Behaviour::MalformedArguments => {
                for call in &mut calls {
                    call.arguments =
                        call.arguments.chars().take(call.arguments.chars().count() / 2).collect();
                }
            }
            Behaviour::Length => {
                text = text.chars().take(text.chars().count() / 2).collect();
                (calls, cut) = (Vec::new(), true);
            }
            Behaviour::BrokenStream { after } => breaks = Some(after),
            _ => {}
        }
        let same_id = matches!(behaviour, Behaviour::Calls { same_id: true, .. });
        let (id, created) = (format!("chatcmpl-{}", id.replace('-', "")), self.clock.now().as_second());
        let prompt_tokens = wire::prompt_tokens(request);
        self.send(
            request,
            &Answer { id, created, model: self.name(), text, calls, same_id, cut, prompt_tokens }
                .limit(request),
            breaks,
        )
    }

    fn name(&self) -> &'static str {
        if self.obeys { obedient::MODEL } else { wire::MODEL }
    }

    fn send(&self, request: &Value, answer: &Answer, breaks: Option<usize>) -> Response {
        let streams = request["stream"] == json!(true);
        if !streams && breaks.is_none() {
            return Json(answer.whole()).into_response();
        }
        let kind = if streams { "text/event-stream; charset=utf-8" } else { "application/json" };
        let mut pieces: Vec<Bytes> = if streams {
            let usage = request["stream_options"]["include_usage"] == json!(true);
            let data = answer.pieces(usage).into_iter().map(|piece| format!("data: {piece}\n\n").into());
            data.chain([Bytes::from_static(b"data: [DONE]\n\n")]).collect()
        } else {
            let whole = answer.whole().to_string();
            whole.as_bytes().chunks(whole.len().div_ceil(4).max(1)).map(Bytes::copy_from_slice).collect()
        };
        let broken = breaks.is_some_and(|after| {
            pieces.truncate(after);
            after < usize::MAX
        });
        let (pace, clock) = (self.pace, self.clock.clone());
        let paced = stream::iter(pieces).then(move |piece| {
            let clock = clock.clone();
            async move {
                if !pace.is_zero() {
                    clock.sleep(pace).await;
                }
                Ok::<_, Infallible>(piece)
            }
        });
        // One pause before the break lets the server send what it holds, so that the caller sees a cut.
        let end = stream::iter(broken.then_some(())).then(async |()| {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("the stream breaks here"))
        });
        let body = Body::from_stream(paced.map(|piece| piece.map_err(|never| match never {})).chain(end));
        ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], body).into_response()
    }
}

/// What the stand-in says, and what it calls.
fn thought(request: &Value) -> (String, Vec<OutCall>) {
    match patterns::answer(&Conversation::read(request)) {
        Reply::Text(words) => (words, Vec::new()),
        Reply::Call { say, name, arguments } => {
            (say, vec![OutCall { name, arguments: arguments.to_string() }])
        }
    }
}

fn throttled(seconds: u64, gateway: bool) -> Response {
    let message = format!("Rate limit is exceeded. Please retry after {seconds} seconds.");
    let body = if gateway {
        json!({"statusCode": 429, "message": message})
    } else {
        json!({"error": {"code": "429", "message": message}})
    };
    Refusal { status: StatusCode::TOO_MANY_REQUESTS, body, retry_after: Some(seconds) }.into_response()
}

fn no_deployment() -> Refusal {
    let message = "The API deployment for this resource does not exist. If you created the deployment within the last \
                   5 minutes, please wait a moment and try again.";
    let body = json!({"error": {"code": "DeploymentNotFound", "message": message}});
    Refusal { status: StatusCode::NOT_FOUND, body, retry_after: None }
}

fn too_long() -> Refusal {
    let message = "This model's maximum context length is 128000 tokens. However, your messages resulted in 131072 tokens. \
                   Please reduce the length of the messages.";
    let error = json!({"message": message, "type": "invalid_request_error", "param": "messages",
        "code": "context_length_exceeded"});
    Refusal { status: StatusCode::BAD_REQUEST, body: json!({"error": error}), retry_after: None }
}

fn filtered() -> Refusal {
    let found = json!({"hate": {"filtered": true, "severity": "high"}});
    let error = json!({"message": "The prompt triggered the content management policy. Please change it and try again.",
        "type": null, "param": "prompt", "code": "content_filter", "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": found}});
    Refusal { status: StatusCode::BAD_REQUEST, body: json!({"error": error}), retry_after: None }
}

async fn queue(State(model): State<Arc<Model>>, Json(more): Json<Vec<Behaviour>>) -> Response {
    match model.script.queue(more) {
        Ok(waiting) => Json(json!({"waiting": waiting})).into_response(),
        Err(why) => Refusal::invalid("", why).into_response(),
    }
}

async fn queued(State(model): State<Arc<Model>>) -> Json<Value> {
    Json(json!({"behaviours": model.script.waiting()}))
}

async fn clear(State(model): State<Arc<Model>>) -> StatusCode {
    model.script.clear();
    StatusCode::NO_CONTENT
}

async fn requests(State(model): State<Arc<Model>>) -> Json<Value> {
    Json(json!({"requests": *model.seen.lock().unwrap_or_else(PoisonError::into_inner)}))
}

#[cfg(test)]
#[path = "wire_test.rs"]
mod tests;
