//! One request to Azure DevOps: bearer, headers, version, retries, limits. The only place that
//! sends anything there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::address::Address;
use super::error::{activity_id, is_sign_in, without_mark};
use super::limits::{ANSWER_BYTES, FAILURE_BYTES, PUSH_BYTES};
use super::retry::{Safety, next_wait};
use super::routes::{Method, Read, Write};
use super::{Error, Exchange, Failure, Guard, exchange};
use crate::clock::{self, Clock};
use crate::fault_point;
use crate::http::{BodyError, read_body, reason, retry_after};
use crate::identity::{Audience, Identity};
use crate::policy::Permit;

/// Longest time for one attempt, from connecting to the last byte.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(100);
/// Longest pause that is kept for the service; its own window is five minutes (FACTS §5).
const MAX_PAUSE: Duration = Duration::from_secs(15 * 60);

/// Everything that calls share.
pub(super) struct Transport {
    pub(super) address: Address,
    pub(super) identity: Arc<Identity>,
    pub(super) http: reqwest::Client,
    clock: Clock,
    /// Longest time that one request waits in all.
    patience: Duration,
    /// Groups this process's requests in the service's own logs.
    session: HeaderValue,
    /// The service asked for silence until then; all callers are one user to it.
    quiet_until: Mutex<Timestamp>,
}

/// A question: route, its segments, its query, and the largest answer taken.
pub(super) struct Question<'a> {
    route: &'a Read,
    segments: &'a [&'a str],
    query: Vec<(&'a str, String)>,
    body: Option<Value>,
    limit: usize,
    accept: &'static str,
    traceparent: Option<&'a str>,
}

impl<'a> Question<'a> {
    pub(super) fn of(route: &'a Read, segments: &'a [&'a str]) -> Self {
        let accept = "application/json";
        let (query, limit) = (Vec::new(), ANSWER_BYTES);
        Self { route, segments, query, body: None, limit, accept, traceparent: None }
    }

    pub(super) fn with(mut self, name: &'a str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(super) fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(super) fn at_most(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    pub(super) fn bytes(self) -> Self {
        Self { accept: "application/octet-stream", ..self }
    }

    pub(super) fn traced(self, traceparent: Option<&'a str>) -> Self {
        Self { traceparent, ..self }
    }
}

/// An answer that was understood.
pub(super) struct Answer<T> {
    pub(super) value: T,
    pub(super) activity_id: Option<String>,
    /// Where the next page begins.
    pub(super) continuation: Option<String>,
}

/// In whose name a write is sent.
#[derive(Clone, Copy)]
pub(super) struct By<'a> {
    pub(super) traceparent: Option<&'a str>,
    pub(super) guard: Option<&'a Guard>,
}

/// A request as it is sent, each attempt alike.
struct Request<'a> {
    method: Method,
    /// Template of the route, for the record.
    route: &'static str,
    url: Url,
    accept: &'static str,
    body: Option<(&'static str, Vec<u8>)>,
    limit: usize,
    safety: Safety,
    by: By<'a>,
}

impl Transport {
    pub(super) fn new(
        organization: &Url,
        identity: Arc<Identity>,
        http: reqwest::Client,
        clock: Clock,
        patience: Duration,
    ) -> Self {
        let session = HeaderValue::try_from(uuid::Uuid::new_v4().to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("00000000-0000-0000-0000-000000000000"));
        let address = Address::new(organization);
        let quiet_until = Mutex::new(Timestamp::MIN);
        Self { address, identity, http, clock, patience, session, quiet_until }
    }

    /// Asks, and reads the answer as JSON.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn ask<T: DeserializeOwned>(&self, question: Question<'_>) -> Result<Answer<T>, Error> {
        self.send(self.prepared(question)?, json).await
    }

    /// Asks once with somebody's own `token` instead of the agent user's. Only questions: what writes
    /// is always the agent user.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn ask_as<T: DeserializeOwned>(
        &self,
        question: Question<'_>,
        token: &SecretString,
    ) -> Result<T, Error> {
        Ok(self.attempt(&self.prepared(question)?, token, json).await?.value)
    }

    /// Asks, and gives the answer's bytes.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn ask_bytes(&self, question: Question<'_>) -> Result<Answer<Vec<u8>>, Error> {
        self.send(self.prepared(question.bytes())?, |body, _| Ok(body)).await
    }

    /// Writes what `_permit` allows. It is held, not read: without one nothing is sent.
    ///
    /// # Errors
    /// [`Error`]; see [`Error::may_have_happened`].
    pub(super) async fn write<T: DeserializeOwned>(
        &self,
        _permit: &Permit,
        route: &Write,
        segments: &[&str],
        query: &[(&str, &str)],
        body: &Value,
        by: By<'_>,
    ) -> Result<Answer<T>, Error> {
        let mut url = self.address.url(super::address::Host::Main, route.template, segments)?;
        url.query_pairs_mut().extend_pairs(query).append_pair("api-version", route.version);
        let bytes = body.to_string().into_bytes();
        if bytes.len() > PUSH_BYTES {
            let message = format!("the request has {} bytes; at most {PUSH_BYTES} are sent", bytes.len());
            return Err(Error::TooLarge(Failure::said(message)));
        }
        let request = Request {
            method: route.method,
            route: route.template,
            url,
            accept: "application/json",
            body: Some((route.content_type, bytes)),
            limit: ANSWER_BYTES,
            safety: Safety::Write,
            by,
        };
        self.send(request, json).await
    }

    fn prepared<'a>(&self, question: Question<'a>) -> Result<Request<'a>, Error> {
        let Read { method, host, template, version } = question.route;
        let mut url = self.address.url(*host, template, question.segments)?;
        url.query_pairs_mut().extend_pairs(&question.query).append_pair("api-version", version);
        Ok(Request {
            method: *method,
            route: template,
            url,
            accept: question.accept,
            body: question.body.map(|body| ("application/json", body.to_string().into_bytes())),
            limit: question.limit,
            safety: Safety::Read,
            by: By { traceparent: question.traceparent, guard: None },
        })
    }

    async fn send<T>(
        &self,
        request: Request<'_>,
        understand: fn(Vec<u8>, Option<String>) -> Result<T, Error>,
    ) -> Result<Answer<T>, Error> {
        // `00-<trace id>-<parent id>-<flags>`
        let trace = request.by.traceparent.and_then(|text| text.split('-').nth(1));
        let mut token = self.identity.bearer_in(Audience::AzureDevOps, trace).await?;
        let (mut attempt, mut waited, mut renewed) = (0, Duration::ZERO, false);
        loop {
            waited += self.keep_quiet(waited).await?;
            attempt += 1;
            let error = match self.attempt(&request, &token, understand).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if matches!(error, Error::SignInRequired(_)) && !renewed {
                renewed = true;
                token = self.identity.renew(Audience::AzureDevOps, &token).await?;
                continue;
            }
            let path = request.url.path();
            let wait = next_wait(&error, request.safety, attempt, waited);
            let Some(wait) = wait.filter(|wait| waited.saturating_add(*wait) <= self.patience) else {
                tracing::debug!(method = ?request.method, path, attempt, %error, "request failed");
                return Err(error);
            };
            tracing::debug!(method = ?request.method, path, attempt, ?wait, %error, "sending again");
            self.clock.sleep(wait).await;
            waited += wait;
        }
    }

    /// Waits out the silence that the service asked for, and says how long that took.
    async fn keep_quiet(&self, waited: Duration) -> Result<Duration, Error> {
        let until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        let left = Duration::try_from(until.duration_since(self.clock.now())).unwrap_or(Duration::ZERO);
        if left.is_zero() {
            return Ok(left);
        }
        if waited.saturating_add(left) > self.patience {
            let failure =
                Failure::said("the service asked for a pause that has not ended; nothing was sent".into());
            return Err(Error::Throttled { after: Some(left), failure });
        }
        self.clock.sleep(left).await;
        Ok(left)
    }

    async fn attempt<T>(
        &self,
        request: &Request<'_>,
        token: &SecretString,
        understand: fn(Vec<u8>, Option<String>) -> Result<T, Error>,
    ) -> Result<Answer<T>, Error> {
        let (before, after) = match request.safety {
            Safety::Read => ("azure_devops.before_read", "azure_devops.after_read"),
            Safety::Write => ("azure_devops.before_write", "azure_devops.after_write"),
        };
        fault_point::pass(before);
        if request.by.guard.is_some_and(|may_send| !may_send()) {
            let message = "another worker has this run by now; nothing was sent".to_owned();
            return Err(Error::Transport { sent: false, failure: Failure::said(message) });
        }
        let (sending, since) = (self.request(request, token)?.send(), Instant::now());
        let answer = sending.await;
        exchange::tell(Exchange {
            method: reqwest::Method::from(request.method).to_string(),
            route: request.route,
            status: answer.as_ref().ok().map(|answer| answer.status().as_u16()),
            activity_id: answer.as_ref().ok().and_then(|answer| activity_id(answer.headers())),
            took: since.elapsed(),
        });
        let response = answer.map_err(|error| {
            let sent = !error.is_connect();
            Error::Transport { sent, failure: Failure::said(reason(error)) }
        })?;
        fault_point::pass(after);
        let (status, headers) = (response.status(), response.headers().clone());
        let now = self.clock.now();
        if let Some(pause) = retry_after(&headers, now) {
            // It comes on a 200 as well, and then means the next call (FACTS §5).
            let mut until = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
            *until = (*until).max(clock::add(now, pause.min(MAX_PAUSE)));
        }
        let activity_id = activity_id(&headers);
        let failed = !status.is_success() || is_sign_in(status, &headers);
        let limit = if failed { FAILURE_BYTES } else { request.limit };
        let body = match read_body(response, limit).await {
            Ok(body) => body,
            // What a refusal says is welcome, not needed.
            Err(_) if failed => Vec::new(),
            Err(error) => return Err(unread(&error, request.safety, status, activity_id)),
        };
        if failed {
            return Err(Error::from_answer(status, &headers, &body, now));
        }
        let continuation =
            headers.get("x-ms-continuationtoken").and_then(|token| token.to_str().ok()).map(str::to_owned);
        let value = understand(body, activity_id.clone())?;
        Ok(Answer { value, activity_id, continuation })
    }

    fn request(&self, request: &Request<'_>, token: &SecretString) -> Result<reqwest::RequestBuilder, Error> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
            .map_err(|_| Error::invalid("the bearer cannot be put in a header".into()))?;
        bearer.set_sensitive(true);
        let mut builder = self
            .http
            .request(request.method.into(), request.url.clone())
            .timeout(ATTEMPT_TIMEOUT)
            .header(AUTHORIZATION, bearer)
            .header(ACCEPT, request.accept)
            // Asks for a 401 instead of a sign-in page (FACTS §3).
            .header("X-TFS-FedAuthRedirect", "Suppress")
            .header("X-TFS-Session", self.session.clone())
            .header("X-VSS-E2EID", uuid::Uuid::new_v4().to_string());
        if let Some(traceparent) = request.by.traceparent.and_then(|text| HeaderValue::try_from(text).ok()) {
            builder = builder.header("traceparent", traceparent);
        }
        if let Some((content_type, body)) = &request.body {
            builder = builder.header(CONTENT_TYPE, *content_type).body(body.clone());
        }
        Ok(builder)
    }
}

fn json<T: DeserializeOwned>(body: Vec<u8>, activity_id: Option<String>) -> Result<T, Error> {
    serde_json::from_slice(without_mark(&body)).map_err(|error| {
        let at = format!("the JSON that was asked for (line {}, column {})", error.line(), error.column());
        Error::unreadable(&at, activity_id)
    })
}

fn unread(error: &BodyError, safety: Safety, status: StatusCode, activity_id: Option<String>) -> Error {
    let status = Some(status.as_u16());
    let failure = Failure { status, message: error.to_string(), activity_id, ..Failure::default() };
    match (error, safety) {
        (BodyError::TooLarge(_), Safety::Read) => Error::TooLarge(failure),
        // The write was accepted; only its answer is lost.
        _ => Error::Transport { sent: true, failure },
    }
}
