//! Whom the sidecar answers (SIDECAR.md §6), and that nobody keeps its answers.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use super::{Shared, Version};

/// Version 1.1: callers come from this machine, or over no network at all.
pub async fn loopback(State(sidecar): Shared, request: Request, next: Next) -> Response {
    let settings = sidecar.settings();
    let caller = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    let foreign = caller.is_some_and(|ip| !ip.is_loopback()) || sidecar.faults().foreign_callers;
    if settings.version == Version::V1_1 && !settings.development && foreign {
        return StatusCode::FORBIDDEN.into_response();
    }
    next.run(request).await
}

/// Version 1.0.0: the host's name is `localhost`.
pub async fn host(State(sidecar): Shared, request: Request, next: Next) -> Response {
    let settings = sidecar.settings();
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if settings.version == Version::V1_0_0 && !settings.development && !name.eq_ignore_ascii_case("localhost")
    {
        let page = "<!DOCTYPE HTML><HTML><HEAD><TITLE>Bad Request</TITLE></HEAD>\
                    <BODY><h2>Bad Request - Invalid Hostname</h2></BODY></HTML>";
        return (StatusCode::BAD_REQUEST, Html(page)).into_response();
    }
    next.run(request).await
}

/// Marks an answer as one that must not be kept.
pub fn uncached(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
    response
}
