//! What went wrong at Azure DevOps, from status, typeKey and code (FACTS §3, §4); message texts
//! can be localised and decide nothing except through their TF or VS code.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use serde_json::Value;

use super::remedies;
use crate::http::{plain, retry_after};
use crate::identity::IdentityError;

/// Longest message that is kept, in characters.
const MAX_MESSAGE_CHARS: usize = 500;
/// Longest typeKey that is kept, in characters.
const MAX_KEY_CHARS: usize = 100;

/// What the service said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The service's name of the error, for example `GitRepositoryNotFoundException`.
    pub type_key: Option<String>,
    /// Its words, one line, cut.
    pub message: String,
    /// Its id of the request: what Microsoft support asks for.
    pub activity_id: Option<String>,
}

impl Failure {
    /// A failure of ours, without an answer of the service.
    pub(super) fn said(message: String) -> Self {
        Self { message, ..Self::default() }
    }

    /// Whether typeKey or message code is one of `codes`.
    pub(super) fn is_any(&self, codes: &[&str]) -> bool {
        let code = self.code();
        codes.iter().any(|wanted| {
            self.type_key.as_deref().is_some_and(|key| key.eq_ignore_ascii_case(wanted))
                || code == Some(*wanted)
        })
    }

    /// The code at the beginning of the message, for example `TF401019`.
    pub fn code(&self) -> Option<&str> {
        let end = self.message.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.message.len());
        let code = &self.message[..end];
        let digits = code.strip_prefix("TF").or_else(|| code.strip_prefix("VS"))?;
        (digits.len() >= 5 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let status = self.status.map(|status| format!("HTTP {status}"));
        let activity = self.activity_id.as_ref().map(|id| format!("ActivityId {id}"));
        let known: Vec<String> = [status, self.type_key.clone(), activity].into_iter().flatten().collect();
        if known.is_empty() { Ok(()) } else { write!(f, " ({})", known.join(", ")) }
    }
}

/// Why a request to Azure DevOps gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Absent, or not visible to the agent user; the service does not say which.
    #[error("not found: {0}")]
    NotFound(Failure),
    /// The agent user lacks a permission.
    #[error("not permitted: {0}")]
    Forbidden(Failure),
    /// The token was not taken, also after it was renewed.
    #[error("Azure DevOps did not accept the sign-in: {0}")]
    SignInRequired(Failure),
    /// Too many requests. Nothing happened.
    #[error("Azure DevOps is throttling{}: {failure}", after.map(|after| format!(" for {} s", after.as_secs())).unwrap_or_default())]
    Throttled {
        /// How long the service asks to wait.
        after: Option<Duration>,
        /// What it said.
        failure: Failure,
    },
    /// Somebody else changed it meanwhile, or its state does not allow it. Nothing happened.
    #[error("changed meanwhile: {0}")]
    Conflict(Failure),
    /// A branch policy of the organisation refused it. Nothing happened.
    #[error("refused by a policy of the repository: {0}")]
    PolicyRefused(Failure),
    /// The request is not acceptable. Nothing happened.
    #[error("not acceptable: {0}")]
    Invalid(Failure),
    /// The service failed. A write may have happened.
    #[error("Azure DevOps is not available: {failure}")]
    Unavailable {
        /// How long the service asks to wait.
        after: Option<Duration>,
        /// What it said.
        failure: Failure,
    },
    /// No usable answer.
    #[error("no answer from Azure DevOps: {failure}")]
    Transport {
        /// Whether the request left this machine, so that a write may have happened.
        sent: bool,
        /// What broke.
        failure: Failure,
    },
    /// The answer, or the file asked for, is larger than the limit.
    #[error("too large: {0}")]
    TooLarge(Failure),
    /// There is no token.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Codes of errors that mean: the thing is absent, whatever the status.
const ABSENT: &[&str] = &[
    "ProjectDoesNotExistException",
    "ProjectDoesNotExistWithNameException",
    "GitRepositoryNotFoundException",
    "GitItemNotFoundException",
    "GitUnresolvableToCommitException",
    "GitPullRequestNotFoundException",
    "WorkItemUnauthorizedAccessException",
];
/// Codes that mean: the state moved on, or does not allow it.
const MOVED_ON: &[&str] = &[
    "GitReferenceStaleException",
    "TF401028",
    "GitPullRequestExistsException",
    "TF401179",
    "GitPullRequestNotEditableException",
    "TF401181",
    "GitPullRequestStaleException",
    "TestPatchOperationFailedException",
    "VS403351",
    "WorkItemRevisionMismatchException",
    "TF26071",
];
/// Codes that mean: a branch policy refuses.
const POLICY: &[&str] = &["TF402455", "GitRefUpdateRejectedByPolicyException"];
/// Codes that mean: a permission is missing.
const PERMISSION: &[&str] = &["TF401027", "GitNeedsPermissionException", "AccessCheckException"];
/// Codes that mean: too many requests.
const THROTTLED: &[&str] = &["TF400733"];

impl Error {
    /// A refusal of ours, before anything is sent.
    pub(super) fn invalid(message: String) -> Self {
        Self::Invalid(Failure::said(message))
    }

    /// A 2xx answer that cannot be read as what was asked for.
    pub(super) fn unreadable(what: &str, activity_id: Option<String>) -> Self {
        let message = format!("the answer is not {what}");
        Self::Transport { sent: true, failure: Failure { message, activity_id, ..Failure::default() } }
    }

    /// Makes the error for an answer with a status outside 200–299, or with a sign-in page.
    pub(super) fn from_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Self {
        let failure = said(status, headers, body);
        let after = retry_after(headers, now);
        if is_sign_in(status, headers) {
            return Self::SignInRequired(failure);
        }
        match status.as_u16() {
            429 => Self::Throttled { after, failure },
            _ if failure.is_any(THROTTLED) => Self::Throttled { after, failure },
            _ if failure.is_any(POLICY) => Self::PolicyRefused(failure),
            _ if failure.is_any(MOVED_ON) => Self::Conflict(failure),
            _ if failure.is_any(PERMISSION) => Self::Forbidden(failure),
            _ if failure.is_any(ABSENT) => Self::NotFound(failure),
            403 => Self::Forbidden(failure),
            404 | 410 => Self::NotFound(failure),
            409 | 412 => Self::Conflict(failure),
            413 => Self::TooLarge(failure),
            408 | 500.. => Self::Unavailable { after, failure },
            _ => Self::Invalid(failure),
        }
    }

    /// What the service said; `None` when it was not asked.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::NotFound(failure)
            | Self::Forbidden(failure)
            | Self::SignInRequired(failure)
            | Self::Conflict(failure)
            | Self::PolicyRefused(failure)
            | Self::Invalid(failure)
            | Self::TooLarge(failure)
            | Self::Throttled { failure, .. }
            | Self::Unavailable { failure, .. }
            | Self::Transport { failure, .. } => Some(failure),
            Self::Identity(_) => None,
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Identity(error) => error.remedy(),
            other => remedies::remedy(other).to_owned(),
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Throttled { .. } | Self::Unavailable { .. } | Self::Transport { .. } => true,
            Self::Identity(error) => error.is_transient(),
            _ => false,
        }
    }

    /// Whether there is no token to ask with.
    pub fn is_identity(&self) -> bool {
        matches!(self, Self::Identity(_))
    }

    /// Whether a write that ended so may have happened all the same: look it up before repeating it.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Transport { sent: true, .. })
    }
}

/// Whether an answer is the sign-in page or a redirect to it instead of what was asked for.
pub(super) fn is_sign_in(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_html = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"));
    match status.as_u16() {
        401 | 203 | 300..=399 => true,
        200..=299 => is_html,
        _ => false,
    }
}

/// The service's id of the request.
pub(super) fn activity_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("ActivityId").or_else(|| headers.get("X-VSS-E2EID"))?.to_str().ok()?;
    Some(plain(text, MAX_KEY_CHARS))
}

/// `body` without the byte-order mark that some answers begin with.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

fn said(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let json: Option<Value> = serde_json::from_slice(without_mark(body)).ok();
    // Some endpoints wrap a system exception as {"count": 1, "value": {"Message": …}}.
    let error = json.as_ref().map(|json| json.get("value").filter(|value| value.is_object()).unwrap_or(json));
    let text = |name: &str| error.and_then(|error| error.get(name)).and_then(Value::as_str);
    let header = headers
        .get("X-TFS-ServiceError")
        .and_then(|value| value.to_str().ok())
        .map(|value| percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned());
    let is_text = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let message = text("message")
        .or_else(|| text("Message"))
        .map(str::to_owned)
        .or(header)
        .or_else(|| is_text.then(|| String::from_utf8_lossy(body).into_owned()))
        .filter(|message| !message.trim().is_empty())
        .unwrap_or_else(|| unexplained(status, headers));
    Failure {
        status: Some(status.as_u16()),
        type_key: text("typeKey").map(|key| plain(key, MAX_KEY_CHARS)),
        message: plain(&message, MAX_MESSAGE_CHARS),
        activity_id: activity_id(headers),
    }
}

fn unexplained(status: StatusCode, headers: &HeaderMap) -> String {
    let target =
        headers.get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| url::Url::parse(to).ok());
    match target.as_ref().and_then(|url| url.host_str()) {
        Some(host) => format!("redirected to {host}"),
        None if is_sign_in(status, headers) => "a sign-in page instead of an answer".into(),
        None => status.canonical_reason().unwrap_or("no explanation").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, headers: &[(&'static str, &str)], body: &str) -> Error {
        let headers =
            headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect();
        Error::from_answer(
            StatusCode::from_u16(status).unwrap(),
            &headers,
            body.as_bytes(),
            Timestamp::UNIX_EPOCH,
        )
    }

    fn kind(error: &Error) -> &'static str {
        match error {
            Error::NotFound(_) => "not found",
            Error::Forbidden(_) => "forbidden",
            Error::SignInRequired(_) => "sign in",
            Error::Throttled { .. } => "throttled",
            Error::Conflict(_) => "conflict",
            Error::PolicyRefused(_) => "policy",
            Error::Invalid(_) => "invalid",
            Error::Unavailable { .. } => "unavailable",
            Error::Transport { .. } => "transport",
            Error::TooLarge(_) => "too large",
            Error::Identity(_) => "identity",
        }
    }

    /// FACTS §4, row by row: status, typeKey, beginning of the message, what it is here.
    const ROWS: &[(u16, &str, &str, &str)] = &[
        (
            404,
            "ProjectDoesNotExistWithNameException",
            "TF200016: The following project does not exist: X.",
            "not found",
        ),
        (
            404,
            "ProjectDoesNotExistException",
            "VS800075: The project with id 'x' does not exist",
            "not found",
        ),
        (
            400,
            "ProjectDoesNotExistException",
            "VS800075: The project with id 'x' does not exist",
            "not found",
        ),
        (404, "GitRepositoryNotFoundException", "TF401019: The Git repository with name", "not found"),
        (404, "GitItemNotFoundException", "TF401174: The item '/x' could not be found", "not found"),
        (
            404,
            "GitUnresolvableToCommitException",
            "TF401175:The version descriptor <Branch: x >",
            "not found",
        ),
        (409, "GitReferenceStaleException", "TF401028: The reference 'refs/heads/x' has already", "conflict"),
        (400, "", "The path '/x' specified in the add operation already exists.", "invalid"),
        (403, "GitRefUpdateRejectedByPolicyException", "TF402455: Pushes to this branch", "policy"),
        (403, "", "TF402455: Pushes to this branch are not permitted", "policy"),
        (400, "", "TF402455: Pushes to this branch are not permitted", "policy"),
        (403, "GitNeedsPermissionException", "TF401027: You need the Git 'GenericContribute'", "forbidden"),
        (403, "", "", "forbidden"),
        (
            404,
            "GitPullRequestNotFoundException",
            "TF401180: The requested pull request was not found.",
            "not found",
        ),
        (409, "GitPullRequestExistsException", "TF401179: An active pull request for", "conflict"),
        (400, "GitPullRequestCannotBeActivated", "TF401398: The pull request cannot be activated", "invalid"),
        (
            400,
            "GitPullRequestNotEditableException",
            "TF401181: The pull request cannot be edited",
            "conflict",
        ),
        (409, "", "TF401181: The pull request cannot be edited due to its state.", "conflict"),
        (400, "InvalidArgumentValueException", "Invalid argument value.\r\nParameter name: x", "invalid"),
        (409, "GitPullRequestStaleException", "", "conflict"),
        (404, "WorkItemUnauthorizedAccessException", "TF401232: Work item 7 does not exist", "not found"),
        (400, "RuleValidationException", "TF401320: Rule Error for field State.", "invalid"),
        (
            412,
            "TestPatchOperationFailedException",
            "VS403351: Test Operation for path /rev failed",
            "conflict",
        ),
        (400, "WorkItemRevisionMismatchException", "TF26071: This work item has been changed", "conflict"),
        (400, "WorkItemFieldInvalidTreeNameException", "TF401347: Invalid tree name", "invalid"),
        (400, "WorkItemTrackingFieldDefinitionNotFoundException", "TF51535: Cannot find field x.", "invalid"),
        (
            415,
            "VssRequestContentTypeNotSupportedException",
            "The request indicated a Content-Type",
            "invalid",
        ),
        (400, "", "VS402337: The number of work items returned exceeds the size limit", "invalid"),
        (429, "", "TF400733: The request has been canceled", "throttled"),
        (503, "", "TF400733: The request has been canceled", "throttled"),
        (503, "", "TF24668: The following team project collection is stopped", "unavailable"),
        (500, "", "", "unavailable"),
        (401, "", "TF400813: The user 'x' is not authorized to access this resource.", "sign in"),
        (
            401,
            "AccessCheckException",
            "Access Denied: The Personal Access Token used has expired.",
            "sign in",
        ),
        (400, "VssInvalidPreviewVersionException", "The requested version \"7.1\"", "invalid"),
        (404, "VssResourceNotFoundException", "API resource location x is not registered", "not found"),
        (413, "", "", "too large"),
    ];

    #[test]
    fn every_row_of_the_fact_sheet_becomes_its_error_with_a_remedy() {
        for (status, key, message, expected) in ROWS {
            let mut body = serde_json::json!({ "$id": "1", "innerException": null, "message": message, "eventId": 3000 });
            if !key.is_empty() {
                body["typeKey"] = (*key).into();
            }
            let error = answered(
                *status,
                &[("ActivityId", "a-1"), ("Content-Type", "application/json")],
                &body.to_string(),
            );
            assert_eq!(kind(&error), *expected, "{status} {key} {message}");
            let failure = error.failure().unwrap();
            assert_eq!((failure.status, failure.activity_id.as_deref()), (Some(*status), Some("a-1")));
            assert!(!failure.message.is_empty() && error.remedy().ends_with('.'), "{error}");
            assert_eq!(error.may_have_happened(), *expected == "unavailable", "{error}");
        }
    }

    #[test]
    fn sign_in_pages_and_redirects_are_not_taken_for_answers() {
        let html = [("Content-Type", "text/html; charset=utf-8")];
        for status in [200, 203, 302, 401] {
            assert_eq!(kind(&answered(status, &html, "<html>Sign In</html>")), "sign in", "{status}");
        }
        let error =
            answered(302, &[("Location", "https://spsprodcus1.vssps.visualstudio.com/_signin?secret=1")], "");
        assert!(error.to_string().contains("redirected to spsprodcus1.vssps.visualstudio.com"), "{error}");
        assert!(!error.to_string().contains("secret"));
        assert_eq!(kind(&answered(503, &html, "<html>down</html>")), "unavailable");
        assert_eq!(kind(&answered(404, &html, "<html>nothing</html>")), "not found");
    }

    #[test]
    fn other_bodies_are_read_too() {
        let marked = answered(503, &[], "\u{feff}{\"message\":\"TF24668: stopped\"}");
        assert_eq!(marked.failure().unwrap().code(), Some("TF24668"));
        let wrapped = answered(400, &[], r#"{"count":1,"value":{"Message":"The field is wrong."}}"#);
        assert_eq!(wrapped.failure().unwrap().message, "The field is wrong.");
        let text = answered(
            404,
            &[("Content-Type", "text/plain"), ("X-TFS-ServiceError", "The+controller%20is+absent")],
            "x",
        );
        assert_eq!(text.failure().unwrap().message, "The controller is absent");
        let long = answered(400, &[], &format!(r#"{{"message":"a\n{}"}}"#, "b".repeat(9_000)));
        assert!(long.failure().unwrap().message.chars().count() <= MAX_MESSAGE_CHARS + 1);
        let after = answered(429, &[("Retry-After", "12")], "");
        assert!(matches!(after, Error::Throttled { after: Some(after), .. } if after.as_secs() == 12));
    }
}
