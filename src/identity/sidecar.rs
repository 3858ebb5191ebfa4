//! The sidecar's token route: how it is asked, what its answers mean, when it is asked again.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HOST, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::{Audience, EntraRefusal, IdentityError};
use crate::clock::Clock;
use crate::config::{self, AgentUser};
use crate::fault_point;
use crate::http::{Quiet, backoff, plain, read_body, reason};
use crate::meter;
use crate::trace::{self, Span};

/// Longest time for one answer; a cold sidecar walks three exchanges with Entra.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// AADSTS500133: an assertion is past its end (TOKENS.md).
const ASSERTION_ENDED: u32 = 500_133;
/// First wait between attempts.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Longest wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Largest answer, in bytes; tokens have a few thousand.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Longest text of a failure that is kept, in characters.
const MAX_DETAIL_CHARS: usize = 600;

/// Whose token is asked for (SIDECAR.md §4.2).
#[derive(Clone, Copy)]
pub(super) enum Principal<'a> {
    /// The agent user's.
    AgentUser,
    /// The agent identity's own, as an application.
    AgentIdentity,
    /// A person's, with the agent identity acting; the person's token for the blueprint goes along.
    Person(&'a SecretString),
}

/// What is asked for.
pub(super) struct Wanted<'a> {
    pub(super) audience: Audience,
    pub(super) principal: Principal<'a>,
    /// Past the sidecar's cache.
    pub(super) force: bool,
}

/// One request for a token, with its attempts.
pub(super) struct Call<'a> {
    pub(super) settings: &'a config::Identity,
    pub(super) http: &'a reqwest::Client,
    pub(super) clock: &'a Clock,
    pub(super) quiet: &'a Quiet,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Success {
    authorization_header: SecretString,
}

#[derive(Deserialize)]
struct Problem {
    detail: Option<String>,
    title: Option<String>,
}

impl Call<'_> {
    /// Asks until there is a token, a failure that waiting cannot heal, or `deadline` is reached.
    ///
    /// # Errors
    /// The last failure.
    pub(super) async fn token(
        &self,
        wanted: Wanted<'_>,
        deadline: Timestamp,
    ) -> Result<SecretString, IdentityError> {
        let audience = wanted.audience;
        // Finds the request again in Entra's log: the trace of the work it is for, where there is one.
        let correlation_id = trace::current().unwrap_or_else(uuid::Uuid::new_v4).to_string();
        let url = self.url(&wanted, &correlation_id)?;
        let started = self.clock.now();
        let mut attempt = 0;
        loop {
            attempt += 1;
            // A pause that outlasts the caller's patience is left to the sidecar to repeat.
            let patience = deadline.duration_since(self.clock.now());
            let pause = self.quiet.wait(self.clock, Duration::try_from(patience).unwrap_or_default()).await;
            if let Some(pause) = pause.ok().filter(|pause| !pause.is_zero()) {
                meter::throttled(self.quiet.system(), pause);
            }
            let (since, span) = (Instant::now(), request_span(&wanted, &correlation_id));
            let answer = span.over(self.attempt(url.clone(), &wanted, &span)).await;
            let outcome = if answer.is_ok() { "ok" } else { "failed" };
            meter::sidecar_call(audience.profile(), outcome, since.elapsed());
            let mut error = match answer {
                Ok(token) => return Ok(token),
                Err(error) => error,
            };
            if let IdentityError::Unreachable { waited_seconds, .. } = &mut error {
                *waited_seconds =
                    u64::try_from(self.clock.now().duration_since(started).as_secs()).unwrap_or(0);
            }
            let wait = backoff(attempt, FIRST_WAIT, LONGEST_WAIT);
            let code = error.aadsts();
            span.failed("no_token");
            if let IdentityError::Entra(refusal) = &error {
                span.set_some(trace::ENTRA_TRACE, refusal.trace_id.clone());
            }
            // The sidecar's own assertion ended on the way: it makes a new one. A person's stays ended.
            let renewed = code == Some(ASSERTION_ENDED) && !matches!(wanted.principal, Principal::Person(_));
            if !(error.is_transient() || renewed) || crate::clock::add(self.clock.now(), wait) > deadline {
                tracing::warn!(audience = audience.profile(), correlation_id, attempt, code, %error, "no token");
                return Err(error);
            }
            tracing::debug!(audience = audience.profile(), correlation_id, attempt, code, %error, "asking again");
            self.clock.sleep(wait).await;
        }
    }

    fn url(&self, wanted: &Wanted<'_>, correlation_id: &str) -> Result<Url, IdentityError> {
        let mut url = self.settings.sidecar_url.clone();
        let route = route(wanted);
        let path = format!("{}/{route}/{}", url.path().trim_end_matches('/'), wanted.audience.profile());
        url.set_path(&path);
        let (user, value) = match &self.settings.agent_user {
            AgentUser::Username(name) => ("AgentUsername", name.clone()),
            AgentUser::ObjectId(id) => ("AgentUserId", id.to_string()),
        };
        // A blank one makes the sidecar sign in as somebody else without a word (SIDECAR.md §4.1).
        if self.settings.agent_identity_id.trim().is_empty() || value.trim().is_empty() {
            return Err(IdentityError::ParametersIgnored);
        }
        let mut query = url.query_pairs_mut();
        query.append_pair("AgentIdentity", &self.settings.agent_identity_id);
        match wanted.principal {
            Principal::AgentUser => query.append_pair(user, &value),
            Principal::AgentIdentity => query.append_pair("optionsOverride.RequestAppToken", "true"),
            Principal::Person(_) => &mut query,
        };
        query.append_pair("optionsOverride.AcquireTokenOptions.CorrelationId", correlation_id);
        if wanted.force {
            query.append_pair("optionsOverride.AcquireTokenOptions.ForceRefresh", "true");
        }
        drop(query);
        Ok(url)
    }

    async fn attempt(
        &self,
        url: Url,
        wanted: &Wanted<'_>,
        span: &Span,
    ) -> Result<SecretString, IdentityError> {
        let address = url.origin().ascii_serialization();
        let unreachable =
            |cause| IdentityError::Unreachable { address: address.clone(), waited_seconds: 0, cause };
        fault_point::pass("sidecar.before_token");
        // Version 1.0.0 takes no other host name (SIDECAR.md §6).
        let mut request = self.http.get(url).header(HOST, HeaderValue::from_static("localhost"));
        request = request.header("traceparent", span.traceparent());
        if let Principal::Person(token) = wanted.principal {
            let bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()));
            let mut bearer = bearer.map_err(|_| IdentityError::PersonRefused)?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        let response =
            request.timeout(ATTEMPT_TIMEOUT).send().await.map_err(|error| unreachable(reason(error)))?;
        fault_point::pass("sidecar.after_token");
        let status = response.status().as_u16();
        span.set(trace::STATUS, i64::from(status));
        self.quiet.hear(response.headers(), self.clock.now());
        let body =
            read_body(response, MAX_ANSWER_BYTES).await.map_err(|error| unreachable(error.to_string()))?;
        if status == 200 { success(&body) } else { Err(refusal(status, &body, wanted.audience, &address)) }
    }
}

fn route(wanted: &Wanted<'_>) -> &'static str {
    match wanted.principal {
        Principal::Person(_) => "AuthorizationHeader",
        Principal::AgentUser | Principal::AgentIdentity => "AuthorizationHeaderUnauthenticated",
    }
}

fn request_span(wanted: &Wanted<'_>, correlation_id: &str) -> Span {
    let template = format!("{}/{}", route(wanted), wanted.audience.profile());
    Span::request(format!("GET {template}"), || {
        vec![
            trace::attribute(trace::METHOD, "GET"),
            trace::attribute(trace::TEMPLATE, template.clone()),
            trace::attribute(trace::CORRELATION, correlation_id.to_owned()),
        ]
    })
}

fn success(body: &[u8]) -> Result<SecretString, IdentityError> {
    let answer: Success = serde_json::from_slice(body)
        .map_err(|_| IdentityError::Unreadable("it is not the JSON of an authorization header"))?;
    let (scheme, token) = answer
        .authorization_header
        .expose_secret()
        .split_once(' ')
        .ok_or(IdentityError::Unreadable("the authorization header has no scheme"))?;
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(IdentityError::Unreadable("the authorization header is not a bearer token"));
    }
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(IdentityError::Unreadable("the bearer token has characters that no token has"));
    }
    Ok(token.to_owned().into())
}

fn refusal(status: u16, body: &[u8], audience: Audience, address: &str) -> IdentityError {
    let text = String::from_utf8_lossy(body);
    let problem = serde_json::from_slice::<Problem>(body).ok();
    let detail = problem.and_then(|p| p.detail.or(p.title)).unwrap_or_default();
    if let Some(refusal) = entra(&detail) {
        return IdentityError::Entra(refusal);
    }
    match status {
        403 if body.is_empty() => IdentityError::NotLoopback,
        400 if text.contains("Invalid Hostname") => IdentityError::HostRefused,
        400 if detail.starts_with("No scopes found") => {
            IdentityError::ProfileMissing { profile: audience.profile() }
        }
        // Only the authenticated routes answer so: to the token that was brought (SIDECAR.md §7).
        401 if body.is_empty() => IdentityError::PersonRefused,
        401 if detail.starts_with("No account") => IdentityError::ParametersIgnored,
        404 | 405 => IdentityError::NotASidecar { address: address.to_owned(), status },
        200..=399 => IdentityError::NotASidecar { address: address.to_owned(), status },
        _ => {
            let detail =
                if detail.is_empty() { "no explanation".into() } else { plain(&detail, MAX_DETAIL_CHARS) };
            IdentityError::Sidecar { status, detail }
        }
    }
}

/// Reads Entra's code and ids out of a problem's detail: it is all that the sidecar passes on
/// (SIDECAR.md §7). Separators are line ends in older answers and blanks in newer ones.
pub(super) fn entra(detail: &str) -> Option<EntraRefusal> {
    let start = detail.find("AADSTS")?;
    let words = &detail[start..];
    let digits: String = words.chars().skip("AADSTS".len()).take_while(char::is_ascii_digit).collect();
    let code = digits.parse().ok()?;
    let id = |label: &str| {
        let at = words.find(label)? + label.len();
        let text = words[at..].trim_start().get(..36)?;
        uuid::Uuid::parse_str(text).ok().map(|id| id.to_string())
    };
    Some(EntraRefusal {
        code,
        detail: plain(words, MAX_DETAIL_CHARS),
        trace_id: id("Trace ID:"),
        correlation_id: id("Correlation ID:"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "http://localhost:5000";

    fn refused(status: u16, detail: &str) -> IdentityError {
        let body =
            serde_json::json!({"type": "t", "title": "T", "status": status, "detail": detail}).to_string();
        refusal(status, body.as_bytes(), Audience::AzureDevOps, ADDRESS)
    }

    #[test]
    fn entra_codes_and_ids_are_read_in_both_forms() {
        let ids = "0a0a0a0a-0000-0000-0000-000000000001";
        for separator in [" ", "\r\n"] {
            let detail = format!(
                "AADSTS65001: Not consented.{separator}Trace ID: {ids}{separator}Correlation ID: {ids}"
            );
            let IdentityError::Entra(refusal) = refused(401, &detail) else { panic!() };
            assert_eq!(refusal.code, 65001);
            assert_eq!(refusal.trace_id.as_deref(), Some(ids));
            assert_eq!(refusal.correlation_id.as_deref(), Some(ids));
            assert!(!refusal.detail.contains('\n'));
        }
        let wrapped = "A configuration issue is preventing authentication. Original exception: AADSTS7000215: Invalid \
                       client secret provided. Trace ID: none";
        let IdentityError::Entra(refusal) = refused(401, wrapped) else { panic!() };
        assert_eq!((refusal.code, refusal.trace_id), (7_000_215, None));
        assert!(IdentityError::Entra(refusal_of(7_000_215)).remedy().contains("secret"));
        assert_eq!(entra("AADSTS: nothing"), None);
    }

    fn refusal_of(code: u32) -> EntraRefusal {
        EntraRefusal { code, detail: String::new(), trace_id: None, correlation_id: None }
    }

    #[test]
    fn the_sidecars_own_refusals_are_told_apart() {
        assert_eq!(refusal(403, b"", Audience::Model, ADDRESS), IdentityError::NotLoopback);
        let html = b"<h2>Bad Request - Invalid Hostname</h2>";
        assert_eq!(refusal(400, html, Audience::Model, ADDRESS), IdentityError::HostRefused);
        let missing = refused(400, "No scopes found for the API 'ado' or in optionsOverride.");
        assert_eq!(missing, IdentityError::ProfileMissing { profile: "ado" });
        let ignored = refused(401, "No account or login hint was passed to the AcquireTokenSilent call.");
        assert_eq!(ignored, IdentityError::ParametersIgnored);
        assert_eq!(refusal(401, b"", Audience::Model, ADDRESS), IdentityError::PersonRefused);
        assert!(matches!(refusal(404, b"", Audience::Model, ADDRESS), IdentityError::NotASidecar { .. }));
        let fault = refused(500, "An unexpected error occurred.");
        assert!(fault.is_transient(), "{fault}");
        assert!(!missing.is_transient() && !ignored.is_transient());
        for error in [missing, ignored, fault, IdentityError::NotLoopback, IdentityError::HostRefused] {
            assert!(error.remedy().len() > 20, "{error}");
        }
    }

    #[test]
    fn an_answer_must_be_a_bearer_header() {
        for bad in [
            "<html>",
            "{}",
            r#"{"authorizationHeader":"Bearer"}"#,
            r#"{"authorizationHeader":"PoP abc"}"#,
            r#"{"authorizationHeader":"Bearer "}"#,
            r#"{"authorizationHeader":"Bearer a\nX: y"}"#,
        ] {
            assert!(matches!(success(bad.as_bytes()), Err(IdentityError::Unreadable(_))), "{bad}");
        }
        assert!(success(br#"{"authorizationHeader":"Bearer a.b.c","more":1}"#).is_ok());
    }
}
