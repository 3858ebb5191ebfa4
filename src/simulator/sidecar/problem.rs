//! Failures, and the problem details that tell of them (SIDECAR.md §7).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// What MSAL writes before an `invalid_client`.
const INVALID_CLIENT: &str = "A configuration issue is preventing authentication - check the error message from the \
    server for details. You can modify the configuration in the application registration portal. See \
    https://aka.ms/msal-net-invalid-client for details.  Original exception: ";

/// A refusal on the way to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The profile is unknown or has no scopes.
    NoScopes,
    /// A user's token is wanted, and there is no user.
    NoAccount,
    /// Entra refused: its OAuth error and its words.
    Entra {
        /// `error`.
        error: String,
        /// `error_description`.
        words: String,
    },
    /// Anything else; the cause is only in the log.
    Inner(StatusCode),
}

impl Failure {
    /// A failure of the sidecar itself.
    pub const INNER: Self = Self::Inner(StatusCode::INTERNAL_SERVER_ERROR);

    /// A failure with the status that a test asked for.
    pub fn broken(status: u16) -> Self {
        Self::Inner(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
    }

    /// The answer for a request about `api`.
    pub fn answer(&self, api: &str) -> Response {
        let unauthorized = (StatusCode::UNAUTHORIZED, "section-15.5.2", "Unauthorized");
        let ((status, section, title), detail) = match self {
            Self::NoScopes => (
                (StatusCode::BAD_REQUEST, "section-15.5.1", "Bad Request"),
                format!(
                    "No scopes found for the API '{api}' or in optionsOverride. 'scopes' needs to be either a \
                     single value or a list of values."
                ),
            ),
            Self::NoAccount => {
                let detail = "No account or login hint was passed to the AcquireTokenSilent call.";
                (unauthorized, detail.to_owned())
            }
            Self::Entra { error, words } => {
                let before = if error == "invalid_client" { INVALID_CLIENT } else { "" };
                (unauthorized, format!("{before}{words}"))
            }
            Self::Inner(status) => (
                (*status, "section-15.6.1", "An error occurred while processing your request."),
                "An unexpected error occurred.".to_owned(),
            ),
        };
        details(status, section, title, &detail)
    }
}

/// Problem details of ASP.NET's form.
pub fn details(status: StatusCode, section: &str, title: &str, detail: &str) -> Response {
    let link = format!("https://tools.ietf.org/html/rfc9110#{section}");
    let body = json!({"type": link, "title": title, "status": status.as_u16(), "detail": detail});
    let mut response = (status, Json(body)).into_response();
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
