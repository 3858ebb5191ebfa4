//! Carries one request to Azure OpenAI: the credential of each attempt, the retries, and the
//! bounds on what comes back.
//!
//! It sits beneath async-openai as its Tower service, because only there can an attempt wait for
//! a fresh token, and because the library's own retries neither know API Management's 429 nor
//! bound a server's wish to wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Request, Response};
use secrecy::{ExposeSecret as _, SecretString};

use super::BearerSource;
use super::clean::clean;
use super::error::{self, Failure, ModelError, Retry};
use crate::clock::Clock;
use crate::http::{IN_PLACE, Quiet};
use crate::meter;
use crate::trace::{self, Span};

/// Most attempts of one call, broken streams included.
pub const MAX_ATTEMPTS: u32 = 5;
/// Longest wait between two attempts that a server may ask for; a longer wish ends the call
/// as [`ModelError::Throttled`], so that the run can be put aside.
pub const MAX_RETRY_AFTER: Duration = IN_PLACE;
/// Longest time that one call spends waiting between attempts, all together.
pub const MAX_TOTAL_WAIT: Duration = Duration::from_secs(25);
/// Our own first wait between attempts; it doubles up to [`MAX_BACKOFF`].
const BACKOFF: Duration = Duration::from_millis(400);
/// Our own longest wait between attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(8);
/// Longest wait for a token.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(90);
/// Longest wait for the head of an answer. Below the shared client's own silence limit, so that
/// the words are ours.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(110);
/// Longest silence inside an answer; a model may think between its first event and its first word.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Most bytes of one answer on the wire: every token comes in an envelope of a few hundred bytes.
pub const MAX_WIRE_BYTES: usize = 64 * 1024 * 1024;
/// Most bytes of an error's body that are read, and longest time for it.
const MAX_ERROR_BYTES: usize = 16 * 1024;
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How an attempt says who calls.
pub(super) enum Credential {
    /// A key, for development only.
    Key(SecretString),
    /// A token of the agent's own user.
    Bearer(Arc<dyn BearerSource>),
}

/// What all calls share.
pub(super) struct Line {
    pub(super) http: reqwest::Client,
    pub(super) credential: Credential,
    pub(super) clock: Clock,
    pub(super) quiet: Arc<Quiet>,
}

/// What is known of one call over all its attempts.
#[derive(Debug, Default)]
pub(super) struct Call {
    state: Mutex<CallState>,
}

#[derive(Debug, Default)]
struct CallState {
    attempts: u32,
    waited: Duration,
    renewed: bool,
    request_id: Option<String>,
    cut: Option<Cut>,
}

/// Why we ended a body ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// It passed [`MAX_WIRE_BYTES`].
    TooLong,
    /// It was silent for [`IDLE_TIMEOUT`].
    Silent,
}

impl Call {
    fn state(&self) -> MutexGuard<'_, CallState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attempts so far.
    pub(super) fn attempts(&self) -> u32 {
        self.state().attempts
    }

    /// The service's id of the last attempt that was answered.
    pub(super) fn request_id(&self) -> Option<String> {
        self.state().request_id.clone()
    }

    /// Why the last body was ended by us, if it was.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.state().cut
    }

    /// How long to wait before another attempt; none when attempts or patience are used up.
    pub(super) fn wait(&self, retry: Retry) -> Option<Duration> {
        let mut state = self.state();
        if state.attempts >= MAX_ATTEMPTS {
            return None;
        }
        let wait = match retry {
            Retry::Never => return None,
            Retry::Renew if state.renewed => return None,
            Retry::Renew => {
                state.renewed = true;
                return Some(Duration::ZERO);
            }
            Retry::After(Some(wish)) if wish > MAX_RETRY_AFTER => return None,
            Retry::After(wish) => wish.unwrap_or_default().max(backoff(state.attempts, random())),
        };
        state.waited = state.waited.saturating_add(wait);
        (state.waited <= MAX_TOTAL_WAIT).then_some(wait)
    }
}

/// Half of the doubling wait for certain and the other half by chance, so that many runs that
/// were thrown back together do not come back together.
fn backoff(attempts: u32, chance: u32) -> Duration {
    let full = BACKOFF.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(MAX_BACKOFF);
    full / 2 + (full / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

fn random() -> u32 {
    // The last four bytes of such an id are random throughout.
    let [.., a, b, c, d] = uuid::Uuid::new_v4().into_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The Tower service of one call.
#[derive(Clone)]
pub(super) struct Carrier {
    pub(super) line: Arc<Line>,
    pub(super) call: Arc<Call>,
    pub(super) span: Arc<Span>,
}

impl tower::Service<HttpRequestFactory> for Carrier {
    type Response = Response;
    type Error = ModelError;
    type Future = BoxFuture<'static, Result<Response, ModelError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ModelError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, factory: HttpRequestFactory) -> Self::Future {
        let carrier = self.clone();
        Box::pin(async move { carrier.span.over(carrier.carry(&factory)).await })
    }
}

impl Carrier {
    /// Attempts until there is a stream, or no attempt is left.
    async fn carry(&self, factory: &HttpRequestFactory) -> Result<Response, ModelError> {
        let mut rejected: Option<SecretString> = None;
        loop {
            self.keep_quiet().await?;
            let credential = self.credential(rejected.as_ref()).await?;
            let Failure { error, retry } = match self.attempt(factory, &credential).await {
                Ok(response) => return Ok(self.bounded(response)),
                Err(failure) => failure,
            };
            // A key cannot be renewed.
            let retry = match (retry, &self.line.credential) {
                (Retry::Renew, Credential::Key(_)) => Retry::Never,
                (retry, _) => retry,
            };
            let Some(wait) = self.call.wait(retry) else { return Err(error) };
            let attempt = self.call.attempts();
            tracing::warn!(attempt, wait_ms = wait.as_millis(), %error, "the model call failed, trying again");
            if matches!(retry, Retry::After(Some(_))) {
                meter::throttled(self.line.quiet.system(), wait);
            }
            rejected = (retry == Retry::Renew).then_some(credential);
            self.line.clock.sleep(wait).await;
        }
    }

    /// The key, or a token that is fresh for this attempt.
    async fn credential(&self, rejected: Option<&SecretString>) -> Result<SecretString, ModelError> {
        let source = match &self.line.credential {
            Credential::Key(key) => return Ok(key.clone()),
            Credential::Bearer(source) => source,
        };
        let token = match rejected {
            None => source.bearer(),
            Some(rejected) => source.renew(rejected),
        };
        tokio::select! {
            token = token => token.map_err(ModelError::Identity),
            () = self.line.clock.sleep(TOKEN_TIMEOUT) => {
                Err(ModelError::Identity(anyhow::anyhow!("none came within {} s", TOKEN_TIMEOUT.as_secs())))
            }
        }
    }

    async fn attempt(
        &self,
        factory: &HttpRequestFactory,
        credential: &SecretString,
    ) -> Result<Response, Failure> {
        let mut request = factory.build().await.map_err(|error| {
            let detail = format!("the request cannot be built: {}", clean(&error.to_string()));
            Failure::never(ModelError::Invalid { detail })
        })?;
        let span = Span::request("POST chat/completions", || {
            vec![
                trace::attribute(trace::METHOD, "POST"),
                trace::attribute(trace::TEMPLATE, "chat/completions"),
            ]
        });
        self.sign(&mut request, credential, &span)?;
        {
            let mut state = self.call.state();
            state.attempts += 1;
            state.cut = None;
        }
        let since = Instant::now();
        let answer = tokio::select! {
            answer = self.line.http.execute(request) => answer.map_err(|error| {
                self.told(&span, since, 0, None);
                error::of_transport(error)
            })?,
            () = self.line.clock.sleep(FIRST_BYTE_TIMEOUT) => {
                let detail = format!("no answer within {} s", FIRST_BYTE_TIMEOUT.as_secs());
                return Err(Failure::again(ModelError::Unavailable { detail }));
            }
        };
        let (status, headers) = (answer.status(), answer.headers().clone());
        let (given, now) = (error::request_id(&headers), self.line.clock.now());
        self.told(&span, since, status.as_u16(), given.clone());
        self.call.state().request_id = given;
        self.line.quiet.hear(&headers, now);
        if !status.is_success() {
            let body = self.error_body(answer).await;
            let failure = error::of_answer(status, &headers, &body, now);
            if let (ModelError::Throttled { .. }, Retry::After(Some(wish))) = (&failure.error, failure.retry)
            {
                // It may stand in the words only.
                self.line.quiet.ask(wish, now);
            }
            return Err(failure);
        }
        match headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) {
            Some(kind) if !kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream") => {
                let kind = clean(kind);
                let detail = format!("HTTP {} with {kind} instead of an event stream", status.as_u16());
                Err(Failure::never(ModelError::Invalid { detail }))
            }
            _ => Ok(answer),
        }
    }

    /// Waits out the pause that the deployment asked for, whoever was told.
    async fn keep_quiet(&self) -> Result<(), ModelError> {
        let quiet = &self.line.quiet;
        let pause = quiet.wait(&self.line.clock, MAX_RETRY_AFTER).await;
        let pause = pause.map_err(|after| {
            let detail = "it asked for a pause that has not ended; nothing was sent".to_owned();
            ModelError::Throttled { after, detail }
        })?;
        if !pause.is_zero() {
            meter::throttled(quiet.system(), pause);
        }
        Ok(())
    }

    /// Tells of an answered attempt: by the ids that both sides know.
    fn told(&self, span: &Span, since: Instant, status: u16, given: Option<String>) {
        span.set(trace::STATUS, i64::from(status));
        span.set(trace::CLIENT_REQUEST, span.guid());
        span.set_some(trace::MODEL_REQUEST, given.clone());
        if !(200..300).contains(&status) {
            span.failed("refused");
        }
        let token = match &self.line.credential {
            Credential::Key(_) => None,
            Credential::Bearer(source) => source.token_id(),
        };
        span.set_some(trace::TOKEN_ID, token.clone());
        trace::called(|| trace::Called {
            system: self.line.quiet.system().to_owned(),
            method: "POST".to_owned(),
            route: "chat/completions".to_owned(),
            status: (status > 0).then_some(status),
            sent: span.guid(),
            activity_id: given,
            token,
            duration_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }

    fn sign(&self, request: &mut Request, credential: &SecretString, span: &Span) -> Result<(), Failure> {
        let (name, text) = match &self.line.credential {
            Credential::Key(_) => ("api-key", credential.expose_secret().to_owned()),
            Credential::Bearer(_) => {
                (AUTHORIZATION.as_str(), format!("Bearer {}", credential.expose_secret()))
            }
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            let error = anyhow::anyhow!("it has characters that no header can hold");
            Failure::never(ModelError::Identity(error))
        })?;
        value.set_sensitive(true);
        let headers = request.headers_mut();
        headers.insert(name, value);
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        for (name, id) in [("traceparent", span.traceparent()), ("x-ms-client-request-id", span.guid())] {
            // Both are hexadecimal digits.
            headers.extend(HeaderValue::try_from(id).ok().map(|id| (HeaderName::from_static(name), id)));
        }
        Ok(())
    }

    /// The beginning of an error's body; what is cut off or comes late is not missed.
    async fn error_body(&self, answer: Response) -> Vec<u8> {
        let mut body = Vec::new();
        let mut pieces = answer.bytes_stream();
        let read = async {
            while let Some(Ok(piece)) = pieces.next().await {
                let room = MAX_ERROR_BYTES - body.len();
                body.extend_from_slice(&piece[..piece.len().min(room)]);
                if body.len() == MAX_ERROR_BYTES {
                    break;
                }
            }
        };
        tokio::select! {
            () = read => {}
            () = self.line.clock.sleep(ERROR_BODY_TIMEOUT) => {}
        }
        body
    }

    /// The same answer with a body that ends at [`MAX_WIRE_BYTES`] and after [`IDLE_TIMEOUT`] of
    /// silence. The library buffers without bound behind this, so the bound must stand before it.
    fn bounded(&self, answer: Response) -> Response {
        let (status, headers) = (answer.status(), answer.headers().clone());
        let (clock, call) = (self.line.clock.clone(), self.call.clone());
        let pieces = Box::pin(answer.bytes_stream());
        let body = futures_util::stream::unfold((pieces, 0), move |(mut pieces, seen)| {
            let (clock, call) = (clock.clone(), call.clone());
            async move {
                let cut = |cut| {
                    call.state().cut = Some(cut);
                    Err(std::io::Error::other("ended by the receiver"))
                };
                let (piece, seen) = tokio::select! {
                    piece = pieces.next() => match piece? {
                        Ok(piece) if seen + piece.len() > MAX_WIRE_BYTES => (cut(Cut::TooLong), MAX_WIRE_BYTES),
                        Ok(piece) => { let seen = seen + piece.len(); (Ok(piece), seen) }
                        Err(error) => (Err(std::io::Error::other(error)), seen),
                    },
                    () = clock.sleep(IDLE_TIMEOUT) => (cut(Cut::Silent), seen),
                };
                Some((piece, (pieces, seen)))
            }
        });
        let mut bounded = axum::http::Response::new(reqwest::Body::wrap_stream(body));
        *bounded.status_mut() = status;
        *bounded.headers_mut() = headers;
        bounded.into()
    }
}

/// The error that the library hands back, ours taken out of its wrapping.
pub(super) fn unwrap(error: OpenAIError, call: &Call) -> Failure {
    match (error, call.cut()) {
        (OpenAIError::Boxed(boxed), _) => match boxed.downcast::<ModelError>() {
            // The carrier has used up its attempts on it already.
            Ok(error) => Failure::never(*error),
            Err(_) => Failure::broken("the library failed in a way that it does not explain"),
        },
        (_, Some(Cut::TooLong)) => {
            let detail = format!("it is longer than {MAX_WIRE_BYTES} bytes on the wire");
            Failure::never(ModelError::Broken { detail })
        }
        (_, Some(Cut::Silent)) => {
            Failure::broken(&format!("nothing more came within {} s", IDLE_TIMEOUT.as_secs()))
        }
        // The library's text repeats the content, which may be anything: it is not passed on.
        (OpenAIError::JSONDeserialize(..), _) => Failure::broken("an event of the stream is not readable"),
        (OpenAIError::StreamError(_), _) => Failure::broken("the stream broke off"),
        (OpenAIError::Reqwest(error), _) => error::of_transport(error),
        (OpenAIError::InvalidArgument(text), _) => {
            Failure::never(ModelError::Invalid { detail: clean(&text) })
        }
        (OpenAIError::ApiError(_), _) => Failure::broken("the library reports a refusal that was none"),
        (_, _) => Failure::broken("the library failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_within_bounds_and_end() {
        assert_eq!(backoff(1, 0), BACKOFF / 2);
        assert_eq!(backoff(3, u32::MAX), BACKOFF * 4);
        assert_eq!(backoff(u32::MAX, u32::MAX), MAX_BACKOFF);
        let call = Call::default();
        call.state().attempts = 1;
        assert_eq!(call.wait(Retry::Never), None);
        assert_eq!(call.wait(Retry::After(Some(MAX_RETRY_AFTER + Duration::from_secs(1)))), None);
        assert_eq!(call.wait(Retry::After(Some(MAX_RETRY_AFTER))), Some(MAX_RETRY_AFTER));
        assert_eq!(call.wait(Retry::After(Some(MAX_RETRY_AFTER))), None, "the total is used up");
        assert_eq!(call.wait(Retry::Renew), Some(Duration::ZERO));
        assert_eq!(call.wait(Retry::Renew), None);
        let call = Call::default();
        call.state().attempts = MAX_ATTEMPTS;
        assert_eq!(call.wait(Retry::After(None)), None);
    }
}
