//! Service hooks of Azure DevOps: checked, written down, answered; judged later by others.
//!
//! The service disables a subscription that fails, so everything that could be written down is
//! answered with 200, also what is ignored (D2, lessons 18, 21, 25).

use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Shared;
use super::input::read_body;
use super::problem::Problem;
use crate::clock;
use crate::config::WebhookCredentials;
use crate::digest::Digest;
use crate::event::{OutsideEvent, parse_delivery};
use crate::fault_point;

/// Largest delivery, in bytes; the service sends at most 2 MB.
const MAX_DELIVERY_BYTES: usize = 4 * 1024 * 1024;

/// How long an event waits for others about the same thing, so that they are judged together. What
/// comes later still joins the run that is under way.
const TOGETHER: Duration = Duration::from_secs(3);
/// What happened longer ago is not acted on (GOVERNANCE A27).
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// A header that brings the password where Basic credentials cannot be set.
const KEY_HEADER: &str = "x-hook-key";

/// What is written down of a delivery.
struct Reading {
    key: String,
    summary: String,
    event: OutsideEvent,
    ignored: Option<String>,
}

/// `POST /webhooks/azure-devops`.
pub(super) async fn receive(app: Shared, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    if let Err(why) = authorized(&parts.headers, app.state.config.webhook.as_ref()) {
        tracing::warn!(why, "a webhook delivery was refused");
        return Ok(refused(why));
    }
    let body = read_body(&parts.headers, body, MAX_DELIVERY_BYTES).await?;
    let reading = read(&body, app.state.clock.now());
    let ignored = reading.ignored.is_some();
    let group = reading.event.group();
    let journal = &app.state.journal;
    let received = journal
        .receive_about(
            &reading.key,
            &reading.summary,
            reading.event,
            reading.ignored,
            group.as_deref(),
            TOGETHER,
        )
        .await?;
    fault_point::pass("webhook.before_answer");
    let status = match (received.duplicate, ignored) {
        (true, _) => "duplicate",
        (false, true) => "ignored",
        (false, false) => "received",
    };
    let url = app.state.public(&format!("/events/{}", received.id));
    Ok(Json(json!({"status": status, "id": received.id, "url": url})).into_response())
}

/// Reduces a body to what is kept; total, because the sender must get a 200.
fn read(body: &[u8], now: Timestamp) -> Reading {
    match parse_delivery(body) {
        Ok(delivery) => {
            let is_old = delivery.created.is_some_and(|at| clock::add(at, MAX_AGE) < now);
            let ignored = delivery
                .ignored
                .or_else(|| is_old.then(|| "It happened more than seven days ago.".to_owned()));
            Reading { key: delivery.dedup_key, summary: delivery.summary, event: delivery.event, ignored }
        }
        Err(why) => Reading {
            // Without an id, the same bytes are the same event.
            key: format!("not_understood:{}", Digest::of("ado-coworker delivery", body)),
            summary: "a delivery that is not understood".to_owned(),
            event: OutsideEvent::Other {},
            ignored: Some(format!("It cannot be understood: {why}.")),
        },
    }
}

/// HTTP Basic, or the password alone in a header of its own.
fn authorized(headers: &HeaderMap, expected: Option<&WebhookCredentials>) -> Result<(), &'static str> {
    let expected = expected.ok_or("no credentials are configured for webhooks")?;
    if let Some(key) = headers.get(KEY_HEADER) {
        let password = expected.password.expose_secret().as_bytes();
        return if is_same(key.as_bytes(), password) { Ok(()) } else { Err("wrong key") };
    }
    let given = headers.get(AUTHORIZATION).ok_or("no credentials were sent")?;
    let encoded = given.to_str().ok().and_then(|value| value.split_once(' '));
    let (_, encoded) =
        encoded.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic")).ok_or("not Basic")?;
    let given = STANDARD.decode(encoded.trim()).map_err(|_| "the credentials are not base64")?;
    let expected = format!("{}:{}", expected.username, expected.password.expose_secret());
    if is_same(&given, expected.as_bytes()) { Ok(()) } else { Err("wrong user name or password") }
}

/// Compares digests, so that neither content nor length of what is expected shows in the time.
fn is_same(given: &[u8], expected: &[u8]) -> bool {
    Sha256::digest(given).as_slice().ct_eq(Sha256::digest(expected).as_slice()).into()
}

fn refused(why: &str) -> Response {
    let remedy = if why.starts_with("no credentials are") {
        "Set WEBHOOK_USERNAME and WEBHOOK_PASSWORD here, and the same two in the service hook."
    } else {
        "Use the user name and password that are set here as WEBHOOK_USERNAME and WEBHOOK_PASSWORD."
    };
    let mut response =
        Problem::new(StatusCode::UNAUTHORIZED, "The delivery does not bring the right credentials.", remedy)
            .into_response();
    let challenge = HeaderValue::from_static("Basic realm=\"service hooks\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_body_has_a_reading_and_the_same_one_each_time(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let now = Timestamp::UNIX_EPOCH;
            let (first, second) = (read(&body, now), read(&body, now));
            prop_assert_eq!(&first.key, &second.key);
            prop_assert!(!first.summary.is_empty());
            prop_assert!(first.key.len() <= 420 && first.key.contains(':'));
            // Random bytes are never a delivery that anyone would act on.
            prop_assert!(first.ignored.is_some());
        }

        #[test]
        fn whatever_stands_in_the_fields_is_kept_within_bounds(kind in "\\PC{0,400}", id in "\\PC{0,400}") {
            let body = json!({"eventType": kind, "id": id, "resource": {"id": kind}}).to_string();
            let reading = read(body.as_bytes(), Timestamp::UNIX_EPOCH);
            prop_assert!(reading.key.len() <= 420, "{}", reading.key);
            prop_assert!(reading.summary.len() <= 300);
        }
    }
}
