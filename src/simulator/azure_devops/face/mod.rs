//! The web face of the organisation: pages at the addresses that Azure DevOps gives its own.
//!
//! Purpose: a person looks around and acts as somebody of the organisation, chosen in the header and
//! kept in a cookie; that is play, not security, so the face serves loopback only. Invariant: every
//! act goes through the same operations of [`super::state::World`] as REST, so permission, ledger and
//! service hooks are the same; a form of another site is refused. It must never know how REST renders,
//! nor who listens to the service hooks.

mod builds;
mod code;
mod conversation;
mod diff;
mod home;
mod hooks;
mod page;
mod pull_request;
mod pull_requests;
mod review;
mod text;
mod told;
mod work_item;
mod work_items;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::state::Organisation;

/// Largest form, in bytes.
const MAX_FORM_BYTES: usize = 1024 * 1024;
/// Nothing from elsewhere, in nobody's frame.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
    img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const SCRIPT: &str = include_str!("../../../../static/simulator.js");
const STYLE: &str = include_str!("../../../../static/simulator.css");

/// The pages of `organisation`; what no page stands at gives a page that says so.
pub fn router(organisation: Organisation) -> Router {
    let home = format!("/{}", organisation.lock().organization);
    // No `nest`: it would take the outer part of the address away from the handlers.
    let settings = |rest: &str| format!("/{{organization}}/_settings/serviceHooks{rest}");
    let project = |rest: &str| format!("/{{organization}}/{{project}}{rest}");
    let code = |rest: &str| project(&format!("/_git/{{repository}}{rest}"));
    Router::new()
        .route("/", get(async move || Redirect::to(&home)))
        .route("/_static/simulator.css", get(style))
        .route("/_static/simulator.js", get(script))
        .route("/{organization}", get(home::organization))
        .route("/{organization}/", get(home::organization))
        .route("/{organization}/_person", post(home::choose_person))
        .route(&settings(""), get(hooks::list))
        .route(&settings("/{subscription}/{notification}"), post(hooks::redeliver))
        .route(&project(""), get(home::project))
        .route(&project("/"), get(home::project))
        .route(&project("/_workitems"), get(work_items::list))
        .route(&project("/_workitems/create/{kind}"), get(work_items::blank).post(work_items::create))
        .route(&project("/_workitems/edit/{id}"), get(work_item::show).post(work_items::save))
        .route(&project("/_workitems/edit/{id}/comments"), post(work_items::comment))
        .route(&project("/_build"), get(builds::list).post(builds::queue))
        .route(&project("/_build/results"), get(builds::show))
        .route(&code(""), get(code::browse))
        .route(&code("/commits"), get(code::history))
        .route(&code("/commit/{sha}"), get(code::commit))
        .route(&code("/branches"), get(code::branches))
        .route(&code("/pullrequests"), get(pull_requests::list))
        .route(&code("/pullrequest/{id}"), get(pull_request::show))
        .route(&code("/pullrequest/{id}/threads"), post(review::open_thread))
        .route(&code("/pullrequest/{id}/threads/{thread}"), post(review::answer_thread))
        .route(&code("/pullrequest/{id}/vote"), post(review::vote))
        .route(&code("/pullrequest/{id}/state"), post(review::change_state))
        .fallback(page::nothing_here)
        .layer(middleware::from_fn(guard))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .with_state(organisation)
}

async fn style() -> impl IntoResponse {
    // The address carries a hash of the content, so the browser may keep it.
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, STYLE)
}

async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT)
}

/// Refuses posts of other sites and adds the headers of every page.
async fn guard(request: Request, next: Next) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD && !from_here(request.headers()) {
        let words = "This form was sent by another site, so nothing was done. Please open the page and send it again.\n";
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    let mut response = readable(next.run(request).await);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The page in place of a refusal that no handler of ours made: a number that is none, a form that lacks
/// a field or is too large, a method that nothing takes.
fn readable(response: Response) -> Response {
    let kind =
        response.headers().get(header::CONTENT_TYPE).map(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !response.status().is_client_error() || kind == Some(true) {
        return response;
    }
    let words = match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => "Nothing can be sent to this address.",
        StatusCode::PAYLOAD_TOO_LARGE => "This form is too large. A form takes at most 1 MiB.",
        StatusCode::BAD_REQUEST => "This address cannot be read: a part of it is not what belongs there.",
        _ => "This form cannot be read. Please open its page and send it again.",
    };
    page::Fault::of(response.status(), words).into_response()
}

/// Whether a post comes from a page of this host, or from no browser at all.
///
/// A host name of somebody else's could be made to lead here, so only addresses and names that
/// cannot be are taken: `localhost` and names without a dot.
fn from_here(headers: &HeaderMap) -> bool {
    let read = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = read(header::HOST);
    let origin = read(header::ORIGIN).map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
    let same_host = origin.is_none_or(|origin| Some(origin) == host);
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let url = host.and_then(|host| url::Url::parse(&format!("http://{host}")).ok());
    let ours = url.is_none_or(|url| url.domain().is_none_or(|name| !name.contains('.')));
    same_host && ours && site.is_none_or(|site| matches!(site, "same-origin" | "none"))
}

#[cfg(test)]
mod tests;
