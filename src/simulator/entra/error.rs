//! Refusals of the token endpoint: code, OAuth error, words, status (TOKENS.md §4 and §6).

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::simulator::tokens::TENANT_ID;

/// A refusal: one code of Entra, with what its words name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The number after `AADSTS`.
    pub code: u32,
    subject: Option<String>,
}

/// OAuth errors.
const CLIENT: &str = "invalid_client";
const GRANT: &str = "invalid_grant";
const REQUEST: &str = "invalid_request";
const SCOPE: &str = "invalid_scope";
const UNAUTHORIZED: &str = "unauthorized_client";
const INTERACTION: &str = "interaction_required";
const RESOURCE: &str = "invalid_resource";
const BUSY: &str = "temporarily_unavailable";

/// Code, OAuth error, words. `{}` in the words is the thing at fault, or the word after it in
/// brackets where the refusal names nothing.
const ROWS: &[(u32, &str, &str)] = &[
    (16_000, INTERACTION, "Nobody is signed in, and the request forbids to ask."),
    (28_000, REQUEST, "The scopes of the request belong to more than one resource."),
    (50_000, "server_error", "There was an error issuing a token: {}[the request could not be processed]."),
    (50_001, RESOURCE, "The resource '{}[of the request]' is disabled or does not exist."),
    (
        50_011,
        REQUEST,
        "The redirect URI '{}[of the request]' does not match the redirect URIs configured for the application.",
    ),
    (50_012, CLIENT, "Authentication of the client failed."),
    (
        50_013,
        GRANT,
        "Assertion failed signature validation or is not meant for this application: {}[its audience or issuer is wrong].",
    ),
    (
        50_020,
        GRANT,
        "User account '{}[of the request]' from another identity provider does not exist in this tenant.",
    ),
    (50_027, REQUEST, "JWT token is invalid or malformed."),
    (50_033, BUSY, "A transient error has occurred. Please try again."),
    (
        50_034,
        GRANT,
        "The user account {}[of the request] does not exist in the tenant directory. To sign into this application, the account must be added to the directory.",
    ),
    (50_057, GRANT, "The user account is disabled."),
    (
        50_076,
        INTERACTION,
        "Due to a configuration change made by your administrator, you must use multi-factor authentication to access '{}[the resource]'.",
    ),
    (
        50_079,
        INTERACTION,
        "Due to a configuration change made by your administrator, you must enroll in multifactor authentication to access '{}[the resource]'.",
    ),
    (
        50_105,
        GRANT,
        "The signed in user '{}[of the request]' is not assigned to a role for the application, and assignment is required.",
    ),
    (
        50_131,
        INTERACTION,
        "The device or the sign-in is not in the required state; a policy or a risk detection blocked it.",
    ),
    (50_173, GRANT, "The provided grant has expired due to it being revoked; a fresh token is needed."),
    (
        50_194,
        REQUEST,
        "Application '{}[of the request]' is not configured as a multi-tenant application. Use a tenant-specific endpoint.",
    ),
    (50_196, GRANT, "The server ended the operation because the client repeats the same request in a loop."),
    (53_000, INTERACTION, "The device is not in the required state: compliant."),
    (53_001, INTERACTION, "The device is not in the required state: domain joined."),
    (
        53_003,
        GRANT,
        "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
    ),
    (54_005, GRANT, "The authorization code was already redeemed; ask for a new one."),
    (
        65_001,
        GRANT,
        "The user or administrator has not consented to use the application with ID '{}[of the request]'. Send an interactive authorization request for this user and resource.",
    ),
    (65_004, "access_denied", "The user declined to sign in or to consent."),
    (65_005, REQUEST, "The application needs access to a resource that is not among its required resources."),
    (
        70_003,
        "unsupported_grant_type",
        "The application asked for an unsupported grant type '{}[of the request]'.",
    ),
    (70_008, GRANT, "The authorization code or refresh token has expired."),
    (
        70_011,
        SCOPE,
        "The provided value for the input parameter 'scope' is not valid. The scope '{}[of the request]' is not valid.",
    ),
    (
        70_016,
        "authorization_pending",
        "OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
    ),
    (70_018, "bad_verification_code", "Invalid verification code or device code."),
    (70_019, "expired_token", "The verification code has expired."),
    (70_020, "authorization_declined", "The person at the device declined the request."),
    (70_021, CLIENT, "No matching federated identity record found for the presented assertion."),
    (
        90_002,
        REQUEST,
        "Tenant '{}[of the request]' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.",
    ),
    (90_014, REQUEST, "The required field '{}[of the request]' is missing."),
    (90_023, REQUEST, "The request is not valid: {}[it is malformed]."),
    (90_024, BUSY, "The budget of the request was exceeded; a transient error. Please try again."),
    (90_033, BUSY, "A transient error has occurred. Please try again."),
    (90_055, BUSY, "Too many requests; the tenant is being throttled."),
    (90_094, GRANT, "An administrator's consent is required for the permission."),
    (82_001, UNAUTHORIZED, "Agent application '{}[of the request]' is not permitted to use this grant."),
    (
        500_011,
        RESOURCE,
        "The resource principal named {}[of the request] was not found in the tenant. This can happen if the application has not been installed by the administrator of the tenant.",
    ),
    (
        500_112,
        GRANT,
        "The reply address '{}[of the request]' does not match the reply address given when the code was requested.",
    ),
    (500_133, GRANT, "Assertion is not within its valid time range."),
    (
        501_481,
        GRANT,
        "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
    ),
    (530_032, GRANT, "Blocked by the security policy of the tenant."),
    (
        650_051,
        REQUEST,
        "The application cannot be granted: its service principal exists from a partial consent.",
    ),
    (
        650_057,
        RESOURCE,
        "The resource '{}[of the request]' is not listed in the requested permissions of the application.",
    ),
    (700_011, UNAUTHORIZED, "Application '{}[of the request]' was not found in the user's directory."),
    (
        700_016,
        UNAUTHORIZED,
        "Application with identifier '{}[of the request]' was not found in the directory. This can happen if the application has not been installed by the administrator of the tenant.",
    ),
    (700_022, SCOPE, "The provided value for the input parameter 'scope' contains more than one resource."),
    (700_024, CLIENT, "Client assertion is not within its valid time range."),
    (
        700_025,
        CLIENT,
        "Client '{}[of the request]' is public, so neither 'client_assertion' nor 'client_secret' should be presented.",
    ),
    (
        700_027,
        CLIENT,
        "The certificate or key with which the client assertion is signed is not registered: {}[signature check failed].",
    ),
    (
        700_211,
        CLIENT,
        "No matching federated identity record found for presented assertion issuer '{}[of the request]'.",
    ),
    (
        700_212,
        CLIENT,
        "No matching federated identity record found for presented assertion audience '{}[of the request]'.",
    ),
    (
        700_213,
        CLIENT,
        "No matching federated identity record found for presented assertion subject '{}[of the request]'.",
    ),
    (700_222, CLIENT, "Entra-issued tokens may not be used for this federated identity credential."),
    (
        700_223,
        CLIENT,
        "No federated identity credential of the application matches the presented subject '{}[of the request]' of an Entra-issued token.",
    ),
    (
        700_229,
        CLIENT,
        "Only app-only tokens can be used as the assertion of a federated identity credential.",
    ),
    (900_144, REQUEST, "The request body must contain the following parameter: '{}[of the request]'."),
    (
        1_002_012,
        SCOPE,
        "The provided value for scope {}[of the request] is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).",
    ),
    (7_000_112, UNAUTHORIZED, "Application '{}[of the request]' is disabled."),
    (7_000_114, UNAUTHORIZED, "Application '{}[of the request]' is not allowed to make on-behalf-of calls."),
    (
        7_000_215,
        CLIENT,
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{}[of the request]'.",
    ),
    (
        7_000_216,
        CLIENT,
        "'client_assertion', 'client_secret' or 'request' is required for the '{}[client_credentials]' grant type.",
    ),
    (
        7_000_218,
        CLIENT,
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    ),
    (7_000_222, CLIENT, "The provided client secret keys for app '{}[of the request]' are expired."),
    (
        7_000_272,
        CLIENT,
        "The key '{}[of the request]' that signed the assertion is not among the keys that its issuer publishes.",
    ),
    (
        7_002_137,
        CLIENT,
        "No matching federated identity record found for presented assertion subject '{}[of the request]'. The parent of an agent identity must ask for its token.",
    ),
    (9_002_313, REQUEST, "Invalid request. Request is malformed or invalid."),
];

impl Refusal {
    /// A refusal whose words name nothing in particular.
    pub fn new(code: u32) -> Self {
        Self { code, subject: None }
    }

    /// A refusal whose words name `subject`.
    pub fn of(code: u32, subject: impl Into<String>) -> Self {
        Self { code, subject: Some(subject.into()) }
    }

    fn row(&self) -> (&'static str, &'static str) {
        let row = ROWS.iter().find(|row| row.0 == self.code);
        row.map_or((GRANT, "The request was refused."), |row| (row.1, row.2))
    }

    /// The value of `error`: the one thing that a client may branch on.
    pub fn error(&self) -> &'static str {
        self.row().0
    }

    /// Status of the answer.
    pub fn status(&self) -> StatusCode {
        match (self.code, self.error()) {
            (90_055, _) => StatusCode::TOO_MANY_REQUESTS,
            (_, CLIENT) => StatusCode::UNAUTHORIZED,
            (_, BUSY) => StatusCode::SERVICE_UNAVAILABLE,
            (_, "server_error") => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    fn words(&self) -> String {
        let words = self.row().1;
        let Some((before, rest)) = words.split_once("{}[") else { return words.to_owned() };
        let (otherwise, after) = rest.split_once(']').unwrap_or((rest, ""));
        format!("{before}{}{after}", self.subject.as_deref().unwrap_or(otherwise))
    }

    /// `error_description`: the words with trace id, correlation id and time.
    pub fn describe(&self, trace: Uuid, correlation: Uuid, now: Timestamp) -> String {
        let (code, words, stamp) = (self.code, self.words(), stamp(now));
        format!("AADSTS{code}: {words} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}")
    }

    /// The answer of the token endpoint. `correlation` is the caller's `client-request-id`.
    pub fn answer(&self, correlation: Option<Uuid>, now: Timestamp) -> Response {
        let (trace, correlation) = (Uuid::new_v4(), correlation.unwrap_or_else(Uuid::new_v4));
        let code = self.code;
        let mut body = json!({
            "error": self.error(), "error_description": self.describe(trace, correlation, now),
            "error_codes": [code], "timestamp": stamp(now), "trace_id": trace, "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        });
        let more = match code {
            65_001 => Some(("suberror", json!("consent_required"))),
            53_003 => Some(("suberror", json!("message_only"))),
            50_076 | 50_079 => Some(("claims", json!(required_policy()))),
            _ => None,
        };
        if let (Some((name, value)), Some(body)) = (more, body.as_object_mut()) {
            body.insert(name.into(), value);
        }
        tracing::debug!(code, %trace, %correlation, "the simulated Entra refuses");
        let retry = (code == 90_055).then_some([(header::RETRY_AFTER, "5")]);
        (self.status(), retry, [(header::CACHE_CONTROL, "no-store, no-cache")], Json(body)).into_response()
    }
}

/// The `claims` of a conditional access answer: a text with JSON.
fn required_policy() -> String {
    let policy: Value = json!({"access_token": {"polids": {"essential": true,
        "values": [TENANT_ID.replace('1', "9")]}}});
    policy.to_string()
}

/// A time as Entra's errors write it.
fn stamp(now: Timestamp) -> String {
    now.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed_once_and_reads_well() {
        for (at, row) in ROWS.iter().enumerate() {
            assert!(ROWS[..at].iter().all(|other| other.0 != row.0), "{} twice", row.0);
            for refusal in [Refusal::new(row.0), Refusal::of(row.0, "x")] {
                let words = refusal.words();
                assert!(!words.contains(['{', '}', '[', ']']) && words.ends_with('.'), "{words}");
            }
        }
    }

    #[test]
    fn the_description_has_the_parts_that_a_client_can_read() {
        let now = Timestamp::from_second(1_795_255_200).unwrap();
        let (trace, correlation) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let text = Refusal::of(65_001, "a").describe(trace, correlation, now);
        assert!(text.starts_with("AADSTS65001: The user or administrator has not consented"), "{text}");
        let end = format!("Trace ID: {trace} Correlation ID: {correlation} Timestamp: 2026-11-21 10:00:00Z");
        assert!(text.ends_with(&end), "{text}");
    }

    #[test]
    fn statuses_follow_the_oauth_error() {
        let status = |code| Refusal::new(code).status().as_u16();
        let found = [7_000_215, 65_001, 90_055, 90_033, 50_000].map(status);
        assert_eq!(found, [401, 400, 429, 503, 500]);
    }
}
