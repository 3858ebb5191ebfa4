//! One host for everything: REST, git, control, and whatever else is asked for.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::{Extension, Router};
use futures_util::{StreamExt as _, stream};
use percent_encoding::percent_decode_str;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::control;
use super::face;
use super::faults::{Fault, FaultKind, Faults};
use super::git::http::{self, GitRequest};
use super::refusal::Refusal;
use super::rest::{self, Incoming, Query, Reply, auth};
use super::seen::Requests;
use super::state::{Actor, Organisation};
use super::wire::Connection;
use crate::simulator::tokens::Authority;

/// Largest REST body: the 25 MB of a push, in base64, with room for the rest.
const REST_BYTES: usize = 40 * 1024 * 1024;
/// Largest git body.
const GIT_BYTES: usize = 512 * 1024 * 1024;
/// Between the first half of a truncated answer and the end of its connection.
const CUT_AFTER: Duration = Duration::from_millis(50);
/// Segments of a path.
const SEGMENTS: usize = 64;

/// The simulated organisation as a server.
#[derive(Clone)]
pub struct Host {
    /// The state.
    pub organisation: Organisation,
    /// Who mints and checks tokens.
    pub authority: Arc<Authority>,
    /// What goes wrong.
    pub faults: Arc<Faults>,
    /// What was asked.
    pub requests: Arc<Requests>,
    /// Scheme, host and port.
    pub origin: String,
    /// One process of the service, as its headers name it.
    pub process: Uuid,
}

/// All routes of the host; requests that no other route takes come to [`dispatch`].
pub fn router(host: Host) -> Router {
    let pages = face::router(host.organisation.clone());
    Router::new().fallback(dispatch).layer(Extension(pages)).with_state(host)
}

/// What a path is about.
enum Place {
    Rest(Vec<String>, String, bool),
    Git {
        project: Option<String>,
        repository: String,
        service: String,
        base: String,
    },
    Control(String),
    /// A path that is not UTF-8, or deeper than anything here.
    Unreadable,
    Elsewhere,
}

async fn dispatch(
    State(host): State<Host>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Extension(pages): Extension<Router>,
    request: Request,
) -> Response {
    let activity = host.organisation.activity();
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let place = host.place(&path);
    if let Place::Control(command) = place {
        return finish(control::answer(&host, &parts, &command, body).await, &host, activity, &parts.headers);
    }
    if matches!(place, Place::Elsewhere) && parts.method != Method::HEAD && path != "/_signin" {
        return pages.oneshot(Request::from_parts(parts, body)).await.unwrap_or_else(|never| match never {});
    }
    let resource = match &place {
        Place::Rest(segments, ..) => rest::route_name(&parts.method, segments),
        Place::Git { service, .. } => Some(if service.ends_with("refs") { "info/refs" } else { "git" }),
        _ => None,
    };
    let struck = host.faults.strike(parts.method.as_str(), resource, &path);
    for fault in struck.iter().filter(|f| f.kind == FaultKind::Latency) {
        host.organisation.clock().sleep(Duration::from_millis(fault.number("ms", 1_000))).await;
    }
    if let Some(reply) = before(&struck, &connection, &parts.headers, &host) {
        return finish(reply, &host, activity, &parts.headers);
    }
    let limit = if matches!(place, Place::Git { .. }) { GIT_BYTES } else { REST_BYTES };
    // Who says beforehand that it is too much need not send it.
    let length = parts.headers.get(header::CONTENT_LENGTH);
    let length: Option<usize> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let body = match length {
        Some(length) if length > limit => None,
        _ => to_bytes(body, limit).await.ok(),
    };
    let Some(body) = body else {
        let refusal =
            Refusal::new(413, "RequestTooLargeException", format!("The body is larger than {limit} bytes."));
        return finish(Reply::refusal(&refusal), &host, activity, &parts.headers);
    };
    let reply = host.serve(place, &parts, path, body.clone(), activity).await;
    host.requests.note(&parts, &body, &reply);
    let reply = after(reply, &struck, &connection, &host);
    let truncated = struck.iter().any(|f| f.kind == FaultKind::Truncate);
    let mut response = finish(reply, &host, activity, &parts.headers);
    if truncated {
        response = truncate(response).await;
    }
    response
}

/// Faults that strike before there is any effect.
fn before(
    struck: &[Fault],
    connection: &Connection,
    headers: &axum::http::HeaderMap,
    host: &Host,
) -> Option<Reply> {
    struck.iter().find_map(|fault| match fault.kind {
        FaultKind::Throttle => Some(throttled(fault, host)),
        FaultKind::ServerError if fault.args["after"] != true => Some(server_error(fault)),
        // Rights and names are looked up on several machines, which do not always agree at once.
        FaultKind::Forbidden => {
            let refusal = Refusal::git_permission("GenericRead", "the user", "the repository");
            Some(Reply::refusal(&refusal))
        }
        FaultKind::NotFound => Some(Reply::refusal(&Refusal::repository("web-shop"))),
        FaultKind::ResetBefore => {
            connection.break_off();
            Some(Reply::empty(500))
        }
        FaultKind::ExpiredToken => {
            let suppress = headers.get("x-tfs-fedauthredirect").is_some();
            Some(auth::sign_in(auth::Unknown::Bad, suppress, &format!("{}/contoso", host.origin)))
        }
        FaultKind::SignInPage => {
            // The service answers so in two ways: with the page, or by sending to it.
            let why = match fault.number("status", 203) {
                302 => auth::Unknown::Missing,
                _ => auth::Unknown::Bad,
            };
            Some(auth::sign_in(why, false, &format!("{}/contoso", host.origin)))
        }
        FaultKind::UnknownUser => {
            let stranger = auth::Unknown::Stranger(crate::simulator::tokens::AGENT_USER_ID.into());
            Some(auth::sign_in(stranger, true, &format!("{}/contoso", host.origin)))
        }
        _ => None,
    })
}

/// Faults that strike after the effect.
fn after(mut reply: Reply, struck: &[Fault], connection: &Connection, host: &Host) -> Reply {
    for fault in struck {
        match fault.kind {
            FaultKind::RetryAfterOnSuccess => reply = limits(reply, fault, host, true),
            FaultKind::ServerError => reply = server_error(fault),
            FaultKind::ResetAfter => connection.break_off(),
            _ => {}
        }
    }
    reply
}

fn server_error(fault: &Fault) -> Reply {
    let status =
        u16::try_from(fault.number("status", 500)).ok().filter(|s| (500..600).contains(s)).unwrap_or(500);
    let text = "TF400898: An Internal Error Occurred. Activity Id: see the ActivityId header.";
    Reply::refusal(&Refusal::new(status, "TeamFoundationServerException", text))
}

fn throttled(fault: &Fault, host: &Host) -> Reply {
    let text = "TF400733: The request has been canceled: Request was blocked due to exceeding usage of resource \
                'Concurrency' in namespace 'User'.";
    limits(Reply::refusal(&Refusal::new(429, "RequestBlockedException", text)), fault, host, false)
}

/// The rate-limit headers of the documentation.
fn limits(reply: Reply, fault: &Fault, host: &Host, delayed: bool) -> Reply {
    let seconds = fault.number("retry_after", fault.number("seconds", 2));
    let now = host.organisation.clock().now().as_second();
    let reply = reply
        .header("Retry-After", seconds.to_string())
        .header("X-RateLimit-Resource", "TSTUs".into())
        .header("X-RateLimit-Limit", "200".into())
        .header("X-RateLimit-Remaining", "0".into())
        .header("X-RateLimit-Reset", (now + i64::try_from(seconds).unwrap_or(0)).to_string());
    if delayed { reply.header("X-RateLimit-Delay", format!("{seconds}.000")) } else { reply }
}

impl Host {
    fn place(&self, path: &str) -> Place {
        let decoded = |s: &str| percent_decode_str(s).decode_utf8().ok().map(std::borrow::Cow::into_owned);
        let segments: Option<Vec<String>> =
            path.split('/').filter(|s| !s.is_empty()).take(SEGMENTS + 1).map(decoded).collect();
        let Some(segments) = segments.filter(|s| s.len() <= SEGMENTS) else { return Place::Unreadable };
        if segments.first().is_some_and(|s| s == "_simulator") {
            return Place::Control(segments[1..].join("/"));
        }
        let name = super::state::seed::ORGANIZATION;
        let same = |at: usize, text: &str| segments.get(at).is_some_and(|s| s.eq_ignore_ascii_case(text));
        // The layout of the server product, and the deployment level without an organisation.
        let (skip, on_premises) = match () {
            () if same(0, name) => (1, false),
            () if same(0, "tfs") && same(1, "DefaultCollection") => (2, true),
            () if same(0, "_apis") => (0, false),
            () => return Place::Elsewhere,
        };
        let raw: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
        let prefix = if skip == 0 { name.to_owned() } else { raw[..skip].join("/") };
        let base = format!("{}/{prefix}", self.origin);
        let rest = segments[skip..].to_vec();
        if rest.iter().any(|s| s.eq_ignore_ascii_case("_apis")) {
            return Place::Rest(rest, base, on_premises);
        }
        git_place(&rest, base)
    }

    async fn serve(
        &self,
        place: Place,
        parts: &axum::http::request::Parts,
        path: String,
        body: Bytes,
        activity: Uuid,
    ) -> Reply {
        match place {
            Place::Rest(segments, base, on_premises) => {
                let incoming = Incoming {
                    method: parts.method.clone(),
                    segments,
                    path,
                    query: Query::parse(parts.uri.query().unwrap_or_default()),
                    headers: parts.headers.clone(),
                    body,
                    base,
                    on_premises,
                    activity,
                };
                let host = self.clone();
                // Handlers read and write files: keep them off the threads that serve sockets.
                let work = move || rest::answer(&host.organisation, &host.authority, incoming);
                tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
                    Reply::refusal(&Refusal::new(
                        500,
                        "TeamFoundationServerException",
                        "The simulator failed on this request.",
                    ))
                })
            }
            Place::Git { project, repository, service, base } => {
                let caller = match auth::caller(&self.organisation, &self.authority, &parts.headers) {
                    Ok(id) => id,
                    Err(_) => {
                        let text = b"The simulated organisation needs credentials.".to_vec();
                        return auth::challenge(Reply::bytes(401, "text/plain", text), &base);
                    }
                };
                let request = GitRequest {
                    method: parts.method.clone(),
                    project,
                    repository,
                    service,
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    headers: parts.headers.clone(),
                    body,
                    actor: Actor { id: caller, activity },
                };
                http::answer(&self.organisation, request).await
            }
            Place::Unreadable => Reply::refusal(&Refusal::invalid(format!(
                "path (it has to be UTF-8 and to have no more than {SEGMENTS} segments)"
            ))),
            Place::Control(_) | Place::Elsewhere => elsewhere(&parts.method, &path),
        }
    }
}

fn git_place(rest: &[String], base: String) -> Place {
    let Some(at) = rest.iter().position(|s| s.eq_ignore_ascii_case("_git")).filter(|at| *at <= 1) else {
        return Place::Elsewhere;
    };
    let service = rest[(at + 2).min(rest.len())..].join("/");
    if !matches!(service.as_str(), "info/refs" | "git-upload-pack" | "git-receive-pack") {
        return Place::Elsewhere;
    }
    Place::Git {
        project: (at == 1).then(|| rest[0].clone()),
        repository: rest[at + 1].clone(),
        service,
        base,
    }
}

fn elsewhere(method: &Method, path: &str) -> Reply {
    if path == "/_signin" {
        let page = "<!DOCTYPE html><html lang=\"en\"><head><title>Sign in</title></head><body><h1>Sign in</h1><p>The \
                    simulated organisation has no sign-in page: send a bearer token, or a password over Basic.</p>\
                    </body></html>";
        return Reply::bytes(200, "text/html; charset=utf-8", page.as_bytes().to_vec());
    }
    // Clients find the tenant of an organisation by asking for it without credentials.
    let reply = Reply::bytes(404, "text/plain", b"There is nothing here.".to_vec());
    if method == Method::HEAD {
        return reply.header("X-VSS-ResourceTenant", crate::simulator::tokens::TENANT_ID.into());
    }
    reply
}

/// Adds the headers that are always there.
fn finish(reply: Reply, host: &Host, activity: Uuid, asked: &axum::http::HeaderMap) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let session =
        asked.get("x-tfs-session").and_then(|v| v.to_str().ok()).and_then(|t| Uuid::try_parse(t).ok());
    let always = [
        ("X-TFS-ProcessId", host.process.to_string()),
        ("X-TFS-Session", session.unwrap_or(activity).to_string()),
        ("ActivityId", activity.to_string()),
        ("X-VSS-E2EID", activity.to_string()),
        ("X-FRAME-OPTIONS", "SAMEORIGIN".into()),
        ("X-MSEdge-Ref", format!("Ref A: {} Ref B: SIMULATOR", activity.simple())),
        ("P3P", "CP=\"CAO DSP COR ADMa DEV CONo TELo CUR PSA PSD TAI IVDo OUR SAMi BUS DEM NAV STA UNI COM INT PHY ONL FIN PUR LOC CNT\"".into()),
        ("Strict-Transport-Security", "max-age=31536000; includeSubDomains".into()),
        ("X-Content-Type-Options", "nosniff".into()),
    ];
    let headers = response.headers_mut();
    for (name, value) in always.into_iter().map(|(n, v)| (n.to_owned(), v)).chain(reply.headers) {
        let pair = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value));
        if let (Ok(name), Ok(value)) = pair {
            headers.append(name, value);
        }
    }
    headers.entry("cache-control").or_insert(HeaderValue::from_static("no-cache"));
    response
}

/// Announces the whole body and sends half of it.
async fn truncate(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, GIT_BYTES).await.unwrap_or_default();
    parts.headers.insert("content-length", HeaderValue::from(bytes.len()));
    let half = bytes.slice(..bytes.len() / 2);
    let cut = async {
        // What was sent must be on its way before the connection ends.
        tokio::time::sleep(CUT_AFTER).await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    };
    let body = stream::once(async { Ok(half) }).chain(stream::once(cut));
    Response::from_parts(parts, Body::from_stream(body))
}
