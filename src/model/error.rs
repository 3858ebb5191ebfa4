//! What can go wrong with a model call, what to do about it, and whether to try again.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

use super::clean::clean;
use super::conversation::ConversationError;

/// A server's wish to wait is believed up to this: nothing waits longer than a day.
const MAX_BELIEVED_WAIT: Duration = Duration::from_secs(24 * 3600);
/// Wait that [`ModelError::Throttled`] names where the server named none.
pub(super) const DEFAULT_THROTTLE: Duration = Duration::from_secs(30);

/// Why there is no reply. Never holds a token, a key or text of the conversation.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The model's rate limit is used up for longer than we wait inside a call.
    #[error("the model is busy for another {} s: {detail}", after.as_secs().max(1))]
    Throttled {
        /// Earliest time for the next try, from now.
        after: Duration,
        /// What the server said, shortened.
        detail: String,
    },
    /// The conversation and tools do not fit the model.
    #[error("the conversation is too long for the model: {detail}")]
    ContextTooLong {
        /// What the server said, shortened.
        detail: String,
    },
    /// The content filter refused the request. (A reply that it cut short is no error but has
    /// the finish `ContentFilter`.)
    #[error("the content filter refused the request: {detail}")]
    Filtered {
        /// What the server said, shortened.
        detail: String,
    },
    /// The request or the settings are wrong; the same call will fail again.
    #[error("the model refused the request: {detail}")]
    Invalid {
        /// What is wrong.
        detail: String,
    },
    /// The model did not accept who we are, also not with a renewed token.
    #[error("the model did not let the agent in: {detail}")]
    SignInRequired {
        /// What the server said, shortened.
        detail: String,
    },
    /// The model cannot be reached or fails.
    #[error("the model cannot be reached: {detail}")]
    Unavailable {
        /// What happened.
        detail: String,
    },
    /// The model's answer broke off, was not readable, or passed a limit.
    #[error("the model's answer could not be used: {detail}")]
    Broken {
        /// What happened.
        detail: String,
    },
    /// The caller asked to stop.
    #[error("the model call was stopped")]
    Cancelled,
    /// There is no token to call the model with.
    #[error("no token for the model: {0:#}")]
    Identity(anyhow::Error),
}

/// Why a [`BearerSource`](super::BearerSource) has no token, where waiting does not heal that: somebody
/// must change something first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NoBearer {
    /// What is wrong.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
}

impl ModelError {
    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Throttled { after, .. } => format!(
                "Try again in {} seconds, or raise the deployment's tokens-per-minute quota.",
                after.as_secs().max(1)
            ),
            Self::ContextTooLong { .. } => {
                "Ask for a smaller piece of work, or use a deployment with a larger context window.".into()
            }
            Self::Filtered { .. } => {
                "Word the request differently, or review the content filter of the deployment.".into()
            }
            Self::Invalid { .. } => "Check AZURE_OPENAI_ENDPOINT, AZURE_OPENAI_DEPLOYMENT and \
                AZURE_OPENAI_API_VERSION; the deployment must support streaming chat completions with tools."
                .into(),
            Self::SignInRequired { .. } => "Give the agent user the role Cognitive Services OpenAI User on the \
                Azure OpenAI resource and check the sidecar's aoai profile; with a key, check AZURE_OPENAI_API_KEY."
                .into(),
            Self::Unavailable { .. } => {
                "Check AZURE_OPENAI_ENDPOINT and the network, and the service's health; then try again.".into()
            }
            Self::Broken { .. } => "Try again; if it stays so, check what stands between here and the model.".into(),
            Self::Cancelled => "Start the run again if it is still wanted.".into(),
            Self::Identity(error) if error.is::<NoBearer>() => {
                error.downcast_ref::<NoBearer>().map(|no| no.remedy.clone()).unwrap_or_default()
            }
            Self::Identity(_) => "Check that the auth sidecar runs at SIDECAR_URL and has a profile aoai.".into(),
        }
    }

    /// Which of these it is, in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Throttled { .. } => "throttled",
            Self::ContextTooLong { .. } => "context_too_long",
            Self::Filtered { .. } => "filtered",
            Self::Invalid { .. } => "invalid",
            Self::SignInRequired { .. } => "sign_in_required",
            Self::Unavailable { .. } => "unavailable",
            Self::Broken { .. } => "broken",
            Self::Cancelled => "cancelled",
            Self::Identity(_) => "identity",
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Throttled { .. } | Self::Unavailable { .. } | Self::Broken { .. } => true,
            Self::Identity(error) => !error.is::<NoBearer>(),
            _ => false,
        }
    }
}

impl From<ConversationError> for ModelError {
    fn from(error: ConversationError) -> Self {
        match error {
            ConversationError::TooLarge { .. } => Self::ContextTooLong { detail: error.to_string() },
            _ => Self::Invalid { detail: error.to_string() },
        }
    }
}

/// Lets the error travel through the library and come out whole (`OpenAIError::Boxed`).
impl From<ModelError> for async_openai::error::OpenAIError {
    fn from(error: ModelError) -> Self {
        Self::Boxed(Box::new(error))
    }
}

/// Whether a failed attempt is worth another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// The same request fails again.
    Never,
    /// Once, with a renewed token.
    Renew,
    /// After the server's wish, or else after our own back-off.
    After(Option<Duration>),
}

/// One failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: ModelError,
    pub(super) retry: Retry,
}

impl Failure {
    pub(super) fn never(error: ModelError) -> Self {
        Self { error, retry: Retry::Never }
    }

    pub(super) fn again(error: ModelError) -> Self {
        Self { error, retry: Retry::After(None) }
    }

    /// The stream cannot be used but the next one may.
    pub(super) fn broken(detail: &str) -> Self {
        Self::again(ModelError::Broken { detail: detail.to_owned() })
    }
}

/// What a server's error body says, in whichever of the known forms it came.
#[derive(Debug, Default)]
pub(super) struct ServerMessage {
    code: String,
    message: String,
}

impl ServerMessage {
    /// Reads `{"error": {…}}` (Azure OpenAI), `{"error": "…"}`, and `{"statusCode", "message"}`
    /// (API Management). What is no JSON says nothing: a page of HTML helps nobody.
    pub(super) fn parse(body: &[u8]) -> Self {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        Self::of(value.get("error").unwrap_or(&value))
    }

    /// Reads the error object itself.
    pub(super) fn of(error: &Value) -> Self {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let inner = error.pointer("/innererror/code").and_then(text);
        let code = ["code", "type"].iter().find_map(|key| error.get(key).and_then(text)).or(inner);
        let message = error.get("message").and_then(text).or_else(|| text(error));
        Self { code: code.unwrap_or_default(), message: message.unwrap_or_default() }
    }

    fn mentions(&self, words: &[&str]) -> bool {
        let text = self.message.to_lowercase();
        words.iter().any(|word| text.contains(word))
    }

    fn is_filter(&self) -> bool {
        matches!(self.code.as_str(), "content_filter" | "ResponsibleAIPolicyViolation")
    }

    fn is_too_long(&self) -> bool {
        const WORDS: [&str; 3] = ["maximum context length", "context window", "context_length"];
        self.code == "context_length_exceeded" || self.mentions(&WORDS)
    }

    /// Quota for a day or a month, not for the minute: waiting inside a call is of no use.
    fn is_quota(&self) -> bool {
        self.code == "insufficient_quota"
            || self.mentions(&["out of call volume quota", "out of bandwidth quota"])
    }

    fn detail(&self, status: Option<StatusCode>) -> String {
        let status = status.map(|status| format!("HTTP {}", status.as_u16()));
        let is_new =
            |code: &String| !code.is_empty() && status.as_ref().is_none_or(|s| !s.ends_with(code.as_str()));
        let code = Some(clean(&self.code)).filter(is_new);
        let message = Some(clean(&self.message)).filter(|message| !message.is_empty());
        let parts: Vec<String> = [status, code, message].into_iter().flatten().collect();
        if parts.is_empty() { "the server gave no reason".to_owned() } else { parts.join(", ") }
    }

    /// The failure that this means when it comes inside a stream.
    pub(super) fn in_stream(&self) -> Failure {
        let detail = self.detail(None);
        if self.is_filter() {
            Failure::never(ModelError::Filtered { detail })
        } else if self.is_too_long() {
            Failure::never(ModelError::ContextTooLong { detail })
        } else {
            Failure::again(ModelError::Broken { detail })
        }
    }
}

/// What an answer other than success means.
pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Failure {
    let said = ServerMessage::parse(body);
    let wish = wish_to_wait(headers, now).or_else(|| wish_in_words(&said.message));
    let mut detail = said.detail(Some(status));
    if let Some(id) = request_id(headers) {
        detail.push_str(&format!(" (request id {id})"));
    }
    let throttled = |detail| ModelError::Throttled { after: wish.unwrap_or(DEFAULT_THROTTLE), detail };
    if said.is_quota() {
        return Failure::never(throttled(detail));
    }
    if status.is_client_error() && said.is_filter() {
        return Failure::never(ModelError::Filtered { detail });
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE || (status.is_client_error() && said.is_too_long()) {
        return Failure::never(ModelError::ContextTooLong { detail });
    }
    match status.as_u16() {
        401 => Failure { error: ModelError::SignInRequired { detail }, retry: Retry::Renew },
        403 => Failure::never(ModelError::SignInRequired { detail }),
        429 => Failure { error: throttled(detail), retry: Retry::After(wish) },
        408 | 409 | 500.. => Failure { error: ModelError::Unavailable { detail }, retry: Retry::After(wish) },
        300..=399 => {
            detail.push_str(": the endpoint points elsewhere, and a redirect is not followed with a token");
            Failure::never(ModelError::Invalid { detail })
        }
        _ => Failure::never(ModelError::Invalid { detail }),
    }
}

/// What a request that got no answer means. Repeating is safe: a model call changes nothing.
pub(super) fn of_transport(error: reqwest::Error) -> Failure {
    // The address may hold what a log should not; its host is in the settings anyway.
    let error = error.without_url();
    if error.is_builder() {
        return Failure::never(ModelError::Invalid {
            detail: format!("the request cannot be built: {error}"),
        });
    }
    let what = match (error.is_connect(), error.is_timeout()) {
        (true, true) => "no connection in time",
        (true, false) => "no connection",
        (false, true) => "no answer in time",
        (false, false) => "the connection broke before an answer came",
    };
    let mut detail = what.to_owned();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
    while let Some(inner) = cause {
        cause = inner.source();
        if cause.is_none() {
            detail.push_str(&format!(": {}", clean(&inner.to_string())));
        }
    }
    Failure::again(ModelError::Unavailable { detail })
}

/// The id that the service gave the call, for those who ask its operators.
pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    const NAMES: [&str; 3] = ["apim-request-id", "x-request-id", "x-ms-request-id"];
    const MAX_ID_CHARS: usize = 64;
    let fit = |id: &&str| {
        !id.is_empty()
            && id.len() <= MAX_ID_CHARS
            && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    NAMES.iter().find_map(|name| headers.get(*name)?.to_str().ok().filter(fit).map(str::to_owned))
}

/// `retry-after-ms`, else `Retry-After` in seconds or as a date.
fn wish_to_wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return believed(ms / 1000.0);
    }
    let after = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = after.parse::<f64>() {
        return believed(seconds);
    }
    let instant = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(after).ok()?;
    believed(instant.duration_since(now).as_secs_f64().max(0.0))
}

/// The wait that some 429 texts name where headers are missing: `… retry after 6 seconds`.
fn wish_in_words(message: &str) -> Option<Duration> {
    let words: Vec<&str> = message.split_whitespace().collect();
    words.windows(3).find_map(|window| match window {
        ["after" | "in", number, unit] if unit.starts_with("second") => believed(number.parse().ok()?),
        _ => None,
    })
}

fn believed(seconds: f64) -> Option<Duration> {
    let fit = seconds.is_finite() && seconds >= 0.0;
    fit.then(|| Duration::from_secs_f64(seconds.min(MAX_BELIEVED_WAIT.as_secs_f64())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &Value) -> Failure {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        of_answer(status, &map, body.to_string().as_bytes(), "2026-01-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn each_answer_has_its_meaning() {
        let filter = json!({"error": {"code": "content_filter", "message": "m", "param": "prompt", "status": 400,
            "innererror": {"code": "ResponsibleAIPolicyViolation"}}});
        let long = json!({"error": {"code": "context_length_exceeded", "message": "too many"}});
        let long_words = json!({"error": {"code": null, "type": "invalid_request_error",
            "message": "This model's maximum context length is 8192 tokens"}});
        let missing = json!({"error": {"code": "DeploymentNotFound", "message": "no such deployment"}});
        let none = json!(null);
        let cases: [(u16, &Value, &str, Retry); 12] = [
            (400, &filter, "Filtered", Retry::Never),
            (400, &long, "ContextTooLong", Retry::Never),
            (400, &long_words, "ContextTooLong", Retry::Never),
            (413, &none, "ContextTooLong", Retry::Never),
            (400, &none, "Invalid", Retry::Never),
            (404, &missing, "Invalid", Retry::Never),
            (302, &none, "Invalid", Retry::Never),
            (401, &none, "SignInRequired", Retry::Renew),
            (403, &none, "SignInRequired", Retry::Never),
            (408, &none, "Unavailable", Retry::After(None)),
            (409, &none, "Unavailable", Retry::After(None)),
            (503, &none, "Unavailable", Retry::After(None)),
        ];
        for (status, body, kind, retry) in cases {
            let failure = answer(status, &[], body);
            let debug = format!("{:?}", failure.error);
            assert!(debug.starts_with(kind), "{status} {body}: {debug}");
            assert_eq!(failure.retry, retry, "{status}");
            assert!(!failure.error.remedy().is_empty());
        }
    }

    #[test]
    fn the_wish_to_wait_is_read_from_every_form() {
        let gateway =
            json!({"statusCode": 429, "message": "Rate limit is exceeded. Try again in 26 seconds."});
        let wish = |headers: &[(&'static str, &str)], body: &Value| answer(429, headers, body).retry;
        let seconds = |s: f64| Retry::After(Some(Duration::from_secs_f64(s)));
        assert_eq!(wish(&[("retry-after-ms", "1500"), ("retry-after", "9")], &gateway), seconds(1.5));
        assert_eq!(wish(&[("retry-after", "9")], &gateway), seconds(9.0));
        assert_eq!(wish(&[("retry-after", "Thu, 01 Jan 2026 00:00:12 GMT")], &gateway), seconds(12.0));
        assert_eq!(wish(&[("retry-after", "Thu, 01 Jan 2015 00:00:12 GMT")], &gateway), seconds(0.0));
        assert_eq!(wish(&[], &gateway), seconds(26.0));
        assert_eq!(wish(&[("retry-after", "soon")], &json!({})), Retry::After(None));
        assert_eq!(wish(&[("retry-after", "NaN")], &json!({})), Retry::After(None));
        assert_eq!(wish(&[("retry-after", "1e300")], &json!({})), Retry::After(Some(MAX_BELIEVED_WAIT)));
        let quota = answer(403, &[("retry-after", "600")], &json!({"message": "Out of call volume quota."}));
        assert_eq!(quota.retry, Retry::Never);
        assert!(matches!(quota.error, ModelError::Throttled { after, .. } if after.as_secs() == 600));
    }

    #[test]
    fn no_prompt_and_no_key_gets_into_an_error() {
        let body = json!({"error": {"code": "invalid_value", "message": format!(
            "Invalid 'messages[1].content': \"the secret plan of contoso\"; key {} is wrong.\nIt isn't `a b`",
            "k".repeat(32)
        )}});
        let text = answer(400, &[("apim-request-id", "1234-abcd")], &body).error.to_string();
        assert_eq!(
            text,
            "the model refused the request: HTTP 400, invalid_value, Invalid 'messages[1].content': \"…\"; \
             key … is wrong. It isn't `…` (request id 1234-abcd)"
        );
    }

    #[test]
    fn a_page_of_html_is_not_repeated() {
        let failure = of_answer(
            StatusCode::BAD_GATEWAY,
            &HeaderMap::new(),
            b"<html>secret</html>",
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(failure.error.to_string(), "the model cannot be reached: HTTP 502");
    }
}
