//! The files that pages load, inside the program; and the description of the API.

use std::sync::LazyLock;

use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::digest::Digest;

const CSS: &str = include_str!("../../static/app.css");
const JS: &str = include_str!("../../static/app.js");
const REPLAY_CSS: &str = include_str!("../../static/replay.css");
const REPLAY_JS: &str = include_str!("../../static/replay.js");
const ICON: &str = include_str!("../../static/icon.svg");
const OPENAPI: &str = include_str!("openapi.json");

/// Names these very bytes, so that a browser may keep them for ever.
pub(super) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all = [CSS, JS, REPLAY_CSS, REPLAY_JS, ICON].concat();
    Digest::of("ado-coworker assets", all.as_bytes()).short().to_owned()
});

fn file(kind: &'static str, text: &'static str) -> Response {
    let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
    ([(CONTENT_TYPE, HeaderValue::from_static(kind)), (CACHE_CONTROL, keep)], text).into_response()
}

pub(super) async fn css() -> Response {
    file("text/css; charset=utf-8", CSS)
}

pub(super) async fn js() -> Response {
    file("text/javascript; charset=utf-8", JS)
}

pub(super) async fn replay_css() -> Response {
    file("text/css; charset=utf-8", REPLAY_CSS)
}

pub(super) async fn replay_js() -> Response {
    file("text/javascript; charset=utf-8", REPLAY_JS)
}

pub(super) async fn icon() -> Response {
    file("image/svg+xml", ICON)
}

/// `GET /api/openapi.json`.
pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], OPENAPI).into_response()
}

#[cfg(test)]
pub(super) fn openapi_text() -> &'static str {
    OPENAPI
}
