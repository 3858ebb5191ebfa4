//! What stands around every request: who may send it, how long it may take, and the headers that
//! keep a browser from being used against the person at it.

use std::any::Any;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;
use url::{Host, Url};

use super::problem::Problem;
use super::viewer::{self, Known, Viewer};
use super::{App, Shared, pages};

/// Longest time until an answer begins, its body's arrival included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Nothing but our own files, no frames, no inline code.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const SEC_FETCH_SITE: &str = "sec-fetch-site";
/// What everybody may ask for: files of the page, health, the way in, and what brings credentials of
/// its own. Everything else needs a viewer.
const OPEN: [&str; 7] =
    ["/static/", "/webhooks/", "/healthz", "/readyz", "/metrics", "/api/openapi.json", "/sign-in"];
/// Open paths whose answers do not depend on who asks.
const QUICK: [&str; 5] = ["/static/", "/webhooks/", "/healthz", "/readyz", "/metrics"];
/// Paths for programs: their problems stay JSON.
const FOR_PROGRAMS: [&str; 6] = ["/api/", "/webhooks/", "/healthz", "/readyz", "/metrics", "/static/"];

/// Puts the guards around `router`.
pub(super) fn around(router: Router<Arc<App>>, app: &Arc<App>) -> Router<Arc<App>> {
    router
        .fallback(|| async { Problem::no_such_place() })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "This address does not take this method.",
                "Compare it with /api/openapi.json.",
            )
        })
        .layer(from_fn_with_state(app.clone(), admit))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), dress))
        .layer(TraceLayer::new_for_http())
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    Problem::ours().into_response()
}

/// Refuses what another site sent, and ends what takes too long.
async fn admit(app: Shared, request: Request, next: Next) -> Response {
    let config = &app.state.config;
    let public = config.public_url.as_ref();
    // Published on loopback only, as a container may be, is loopback too.
    let on_loopback = config.listen_address.ip().is_loopback() || public.is_some_and(is_loopback);
    if on_loopback && !host_is_ours(request.headers(), public) {
        return Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "This address answers only to localhost, 127.0.0.1, [::1] and the host in PUBLIC_URL.",
            "Open it by one of those names, or set PUBLIC_URL to the name you use.",
        )
        .into_response();
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !reads && !sent_by_us(request.headers(), public) {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "This request was sent by a page of another site.",
            "Send it from this page, or from a program that is not a browser. Behind a proxy, set PUBLIC_URL.",
        )
        .into_response();
    }
    let is_open = OPEN.iter().any(|open| request.uri().path().starts_with(open));
    if !is_open && let Some(Known(Err(problem))) = request.extensions().get::<Known>() {
        return turned_away(&app, &request, problem);
    }
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The request took too long.",
            "Send it again; if it goes on, look at /readyz.",
        )
        .into_response(),
    }
}

/// A person who is not signed in is led to the sign-in; a program is told.
fn turned_away(app: &App, request: &Request, problem: &Problem) -> Response {
    let path = request.uri().path();
    let is_page = *request.method() == Method::GET && !FOR_PROGRAMS.iter().any(|p| path.starts_with(p));
    let is_fragment = request.headers().contains_key("x-fragment");
    if is_page && !is_fragment && app.state.has_sign_in() && problem.status == StatusCode::UNAUTHORIZED {
        let to: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
        return axum::response::Redirect::to(&format!("/sign-in?to={to}")).into_response();
    }
    let mut response = problem.clone().into_response();
    if problem.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Against DNS rebinding: a foreign name that resolves to this machine is not answered. What is
/// not a browser may leave the header out.
fn host_is_ours(headers: &HeaderMap, public: Option<&Url>) -> bool {
    let Some(value) = headers.get(HOST) else { return true };
    let Some(url) = value.to_str().ok().and_then(|host| Url::parse(&format!("http://{host}/")).ok()) else {
        return false;
    };
    is_loopback(&url) || public.is_some_and(|public| public.host() == url.host())
}

/// Whether the request names this machine itself.
pub(super) fn host_is_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.and_then(|host| Url::parse(&format!("http://{host}/")).ok()).is_some_and(|url| is_loopback(&url))
}

/// Whether `url` is this machine's.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Against cross-site requests: browsers say where a request comes from; other programs do not.
fn sent_by_us(headers: &HeaderMap, public: Option<&Url>) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Some(origin) = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok()) else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let own = host.and_then(|host| Url::parse(&format!("{}://{host}/", origin.scheme())).ok());
    [own.as_ref(), public].into_iter().flatten().any(|ours| ours.origin() == origin.origin())
}

/// Finds the viewer; security headers on everything; problems of pages as pages.
async fn dress(app: Shared, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let for_people = !FOR_PROGRAMS.iter().any(|p| path.starts_with(p));
    // Files and probes must not wait for the journal.
    let found = match QUICK.iter().any(|quick| path.starts_with(quick)) {
        true => Ok(Viewer::nobody()),
        false => viewer::find(&app, request.headers()).await,
    };
    if for_people
        && found.is_ok()
        && let Ok(halt) = app.state.journal.halted().await
    {
        *app.halt.lock().unwrap_or_else(PoisonError::into_inner) = halt;
    }
    let viewer = found.clone().ok();
    request.extensions_mut().insert(Known(found));
    let wants_fragment = request.headers().contains_key("x-fragment");
    let mut response = next.run(request).await;
    if for_people
        && !wants_fragment
        && let Some(problem) = response.extensions().get::<Problem>()
    {
        response = pages::problem(&app, &viewer.unwrap_or_else(Viewer::nobody), problem);
    }
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &'static str| {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    };
    set("content-security-policy", CONTENT_SECURITY_POLICY);
    set("x-content-type-options", "nosniff");
    set("x-frame-options", "DENY");
    set("referrer-policy", "no-referrer");
    set("cross-origin-opener-policy", "same-origin");
    set("cross-origin-resource-policy", "same-origin");
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn only_our_own_names_are_answered_on_loopback() {
        let public = Url::parse("https://coworker.contoso.com/").unwrap();
        for good in [
            "localhost:4192",
            "127.0.0.1:4192",
            "127.0.0.2",
            "[::1]:4192",
            "LOCALHOST",
            "coworker.contoso.com",
        ] {
            assert!(host_is_ours(&headers(&[("host", good)]), Some(&public)), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:4192",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "a b",
            "10.0.0.1",
        ] {
            assert!(!host_is_ours(&headers(&[("host", bad)]), Some(&public)), "{bad}");
        }
        assert!(host_is_ours(&headers(&[]), None));
    }

    #[test]
    fn a_foreign_page_cannot_write() {
        let public = Url::parse("https://coworker.contoso.com/").unwrap();
        let cases: [(&[(&'static str, &str)], bool); 10] = [
            (&[("host", "localhost:1")], true),
            (&[("host", "localhost:1"), ("sec-fetch-site", "same-origin"), ("origin", "null")], true),
            (&[("host", "localhost:1"), ("sec-fetch-site", "none")], true),
            (&[("host", "localhost:1"), ("sec-fetch-site", "same-site")], false),
            (
                &[
                    ("host", "localhost:1"),
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://localhost:1"),
                ],
                false,
            ),
            (&[("host", "localhost:1"), ("origin", "http://localhost:1")], true),
            (&[("host", "localhost:1"), ("origin", "http://localhost:2")], false),
            (&[("host", "localhost:1"), ("origin", "null")], false),
            (&[("host", "inside:1"), ("origin", "https://coworker.contoso.com")], true),
            (&[("host", "localhost:1"), ("origin", "https://evil.example")], false),
        ];
        for (pairs, expected) in cases {
            assert_eq!(sent_by_us(&headers(pairs), Some(&public)), expected, "{pairs:?}");
        }
    }
}
