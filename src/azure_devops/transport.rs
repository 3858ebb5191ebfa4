//! One request to Azure DevOps: bearer, headers, version, retries, limits. The only place that
//! sends anything there.

use std::sync::Arc;
use std::time::{Duration, Instant};

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
use super::{Error, Failure, Guard};
use crate::clock::Clock;
use crate::fault_point;
use crate::http::{BodyError, Quiet, read_body, reason};
use crate::identity::{Audience, Identity};
use crate::meter;
use crate::policy::Permit;
use crate::trace::{self, Span};

/// Longest time for one attempt, from connecting to the last byte.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(100);

/// Everything that calls share.
pub(super) struct Transport {
    pub(super) address: Address,
    pub(super) identity: Arc<Identity>,
    pub(super) http: reqwest::Client,
    clock: Clock,
    /// Longest time that one request waits in all.
    patience: Duration,
    /// The pause that the service asked for; all callers are one user to it.
    pub(super) quiet: Arc<Quiet>,
}

/// A question: route, its segments, its query, and the largest answer taken.
pub(super) struct Question<'a> {
    route: &'a Read,
    segments: &'a [&'a str],
    query: Vec<(&'a str, String)>,
    body: Option<Value>,
    limit: usize,
    accept: &'static str,
}

impl<'a> Question<'a> {
    pub(super) fn of(route: &'a Read, segments: &'a [&'a str]) -> Self {
        let accept = "application/json";
        let (query, limit) = (Vec::new(), ANSWER_BYTES);
        Self { route, segments, query, body: None, limit, accept }
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
}

/// An answer that was understood.
pub(super) struct Answer<T> {
    pub(super) value: T,
    pub(super) activity_id: Option<String>,
    /// Where the next page begins.
    pub(super) continuation: Option<String>,
}

/// A request as it is sent, each attempt alike.
struct Request<'a> {
    method: Method,
    template: &'static str,
    url: Url,
    accept: &'static str,
    body: Option<(&'static str, Vec<u8>)>,
    limit: usize,
    safety: Safety,
    guard: Option<&'a Guard>,
    /// Sent as the agent user, and not with a person's own token.
    as_agent: bool,
}

impl Request<'_> {
    fn what(&self) -> String {
        format!("{} {}", reqwest::Method::from(self.method), self.template)
    }

    fn span(&self) -> Span {
        let span = Span::request(self.what(), || {
            vec![
                trace::attribute(trace::METHOD, reqwest::Method::from(self.method).to_string()),
                trace::attribute(trace::TEMPLATE, self.template),
                trace::attribute(trace::SERVER, self.url.host_str().unwrap_or_default().to_owned()),
            ]
        });
        span.set(trace::E2EID, span.guid());
        span
    }

    /// The part of the service that answers, as its routes name it.
    fn area(&self) -> &'static str {
        let after = self.template.split("_apis/").nth(1).unwrap_or_default();
        after.split('/').next().unwrap_or_default()
    }
}

impl Transport {
    pub(super) fn new(
        organization: &Url,
        identity: Arc<Identity>,
        http: reqwest::Client,
        clock: Clock,
        patience: Duration,
    ) -> Self {
        let address = Address::new(organization);
        let quiet = Arc::new(Quiet::new("azure_devops"));
        Self { address, identity, http, clock, patience, quiet }
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
        let request = Request { as_agent: false, ..self.prepared(question)? };
        Ok(self.attempt(&request, token, json).await?.value)
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
        guard: Option<&Guard>,
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
            template: route.template,
            url,
            accept: "application/json",
            body: Some((route.content_type, bytes)),
            limit: ANSWER_BYTES,
            safety: Safety::Write,
            guard,
            as_agent: true,
        };
        self.send(request, json).await
    }

    fn prepared<'a>(&self, question: Question<'a>) -> Result<Request<'a>, Error> {
        let Read { method, host, template, version } = question.route;
        let mut url = self.address.url(*host, template, question.segments)?;
        url.query_pairs_mut().extend_pairs(&question.query).append_pair("api-version", version);
        Ok(Request {
            method: *method,
            template,
            url,
            accept: question.accept,
            body: question.body.map(|body| ("application/json", body.to_string().into_bytes())),
            limit: question.limit,
            safety: Safety::Read,
            guard: None,
            as_agent: true,
        })
    }

    async fn send<T>(
        &self,
        request: Request<'_>,
        understand: fn(Vec<u8>, Option<String>) -> Result<T, Error>,
    ) -> Result<Answer<T>, Error> {
        let mut token = self.identity.bearer(Audience::AzureDevOps).await?;
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
            // What the service asked for is waited out by all, at the head of this loop.
            let is_asked = matches!(
                error,
                Error::Throttled { after: Some(_), .. } | Error::Unavailable { after: Some(_), .. }
            );
            if !is_asked {
                self.clock.sleep(wait).await;
                waited += wait;
            }
        }
    }

    /// Waits out the pause that the service asked for, and says how long that took.
    async fn keep_quiet(&self, waited: Duration) -> Result<Duration, Error> {
        let pause = self.quiet.wait(&self.clock, self.patience.saturating_sub(waited)).await;
        let pause = pause.map_err(|left| {
            let failure =
                Failure::said("the service asked for a pause that has not ended; nothing was sent".into());
            Error::Throttled { after: Some(left), failure }
        })?;
        if !pause.is_zero() {
            meter::throttled(self.quiet.system(), pause);
        }
        Ok(pause)
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
        if request.guard.is_some_and(|may_send| !may_send()) {
            let message = "another worker has this run by now; nothing was sent".to_owned();
            return Err(Error::Transport { sent: false, failure: Failure::said(message) });
        }
        let (since, span) = (Instant::now(), request.span());
        let response = self.request(request, token, &span)?.send().await.map_err(|error| {
            self.told(request, &span, since, 0, None);
            span.failed("no_answer");
            let sent = !error.is_connect();
            Error::Transport { sent, failure: Failure::said(reason(error)) }
        })?;
        fault_point::pass(after);
        let (status, headers) = (response.status(), response.headers().clone());
        let now = self.clock.now();
        // It comes on a 200 as well, and then means the next call (FACTS §5).
        if request.as_agent {
            self.quiet.hear(&headers, now);
        }
        let activity_id = activity_id(&headers);
        self.told(request, &span, since, status.as_u16(), activity_id.clone());
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

    /// Tells of an answered request: by the ids that both sides know.
    fn told(&self, request: &Request<'_>, span: &Span, since: Instant, status: u16, given: Option<String>) {
        meter::azure_call(request.area(), status, since.elapsed());
        span.set(trace::STATUS, i64::from(status));
        span.set_some(trace::ACTIVITY, given.clone());
        let token = self.identity.token_id(Audience::AzureDevOps).filter(|_| request.as_agent);
        span.set_some(trace::TOKEN_ID, token.clone());
        trace::called(|| trace::Called {
            system: self.quiet.system().to_owned(),
            method: reqwest::Method::from(request.method).to_string(),
            route: request.template.to_owned(),
            status: (status > 0).then_some(status),
            sent: span.guid(),
            activity_id: given,
            token,
            duration_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }

    fn request(
        &self,
        request: &Request<'_>,
        token: &SecretString,
        span: &Span,
    ) -> Result<reqwest::RequestBuilder, Error> {
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
            .header("X-TFS-Session", span.session())
            .header("X-VSS-E2EID", span.guid())
            .header("traceparent", span.traceparent());
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
