//! Sign-in of people: authorization code with PKCE, device code, refresh.
//!
//! The pages ask for no password: one picks who one is, and they say that this is a simulation.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State as Extracted};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::credential::Client;
use super::directory::{Application, same};
use super::error::Refusal;
use super::legs::{Wanted, issue};
use super::scope::Asked;
use super::sessions::{Answer, CODE_LIFE, Code, DEVICE_LIFE, Device, keep};
use super::token::{Form, check_tenant, correlation};
use super::{Entra, State, random_text};
use crate::clock::add;

/// Seconds between two polls of a device.
const POLL_SECONDS: u64 = 5;
/// Letters of a user code: none that looks like another.
const CODE_LETTERS: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Longest text that a request may bring onto a page, in characters.
const MAX_ECHO_CHARS: usize = 4_000;

type Shared = Extracted<Arc<Entra>>;

/// A checked request of the authorization endpoint.
struct Request {
    client: String,
    application: String,
    redirect_uri: String,
    scope: String,
    state: Option<String>,
    nonce: Option<String>,
    challenge: Option<String>,
    form_post: bool,
}

impl Request {
    fn read(state: &State, form: &Form, now: Timestamp) -> Result<Self, Refusal> {
        let client = state.client(form.need("client_id")?, now)?;
        let missing = || Refusal::of(700_016, &client.principal.app_id);
        let application = client.application.as_ref().ok_or_else(missing)?;
        let redirect_uri = form.need("redirect_uri")?;
        if !may_redirect(application, redirect_uri) {
            return Err(Refusal::of(50_011, redirect_uri));
        }
        if form.need("response_type")? != "code" {
            return Err(Refusal::of(90_023, "only response_type=code is offered here"));
        }
        let scope = form.need("scope")?;
        Asked::read(scope)?;
        let challenge = form.get("code_challenge").map(str::to_owned);
        if challenge.is_some() && form.get("code_challenge_method") != Some("S256") {
            return Err(Refusal::of(90_023, "code_challenge_method must be S256"));
        }
        if challenge.is_none() && client.public() {
            return Err(Refusal::of(900_144, "code_challenge"));
        }
        let owned = |name: &str| form.get(name).map(str::to_owned);
        Ok(Self {
            client: client.principal.app_id.clone(),
            application: application.name.clone(),
            redirect_uri: redirect_uri.to_owned(),
            scope: scope.to_owned(),
            state: owned("state"),
            nonce: owned("nonce"),
            challenge,
            form_post: form.get("response_mode") == Some("form_post"),
        })
    }
}

/// Whether a code may be sent to `asked`: exactly as registered, but for a loopback address any port
/// will do (RFC 8252 §7.3), and any path where none is registered.
fn may_redirect(application: &Application, asked: &str) -> bool {
    let Ok(asked_url) = Url::parse(asked) else { return false };
    let fits = |own: &String| {
        let Ok(registered) = Url::parse(own) else { return false };
        let loopback = matches!(registered.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let any_path = registered.path() == "/";
        own == asked
            || loopback
                && registered.scheme() == asked_url.scheme()
                && registered.host_str() == asked_url.host_str()
                && asked_url.fragment().is_none()
                && (any_path || registered.path() == asked_url.path())
    };
    application.redirect_uris.iter().any(fits)
}

/// `GET /{tenant}/oauth2/v2.0/authorize`: the page on which one picks who one is.
pub async fn page(
    Extracted(entra): Shared,
    Path(tenant): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let form = Form::of_query(query.as_deref().unwrap_or_default());
    let now = entra.now();
    let mut state = entra.lock();
    let request = check_tenant(&tenant).and_then(|()| Request::read(&state, &form, now));
    let request = match request {
        Ok(request) => request,
        Err(refusal) => return refused(&refusal, now),
    };
    if form.get("prompt") == Some("none") {
        let fields = failure(&Refusal::new(16_000), now);
        return send_back(&request, &fields);
    }
    // With a hint a browser in which that person has signed in before is sent back at once.
    let hinted = form.get("login_hint").filter(|_| form.get("prompt").is_none());
    if let Some(user) = hinted.and_then(|hint| person(&state, hint, now).ok()) {
        return with_code(&mut state, request, user, now);
    }
    let mut hidden = String::new();
    for (name, value) in form.fields() {
        let (name, value) = (escape(name), escape(value));
        hidden.push_str(&format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">"));
    }
    let people = buttons(&state, form.get("login_hint"));
    let application = escape(&request.application);
    let body = format!(
        "<p>{application} asks you to sign in. Who are you?</p><form method=\"post\">{hidden}{people}\
         <button name=\"user\" value=\"\">Cancel</button></form>"
    );
    show(StatusCode::OK, "Sign in", &body)
}

/// One button for each person who can sign in; the hinted one first.
fn buttons(state: &State, hint: Option<&str>) -> String {
    let mut people: Vec<_> = state.directory.users.iter().filter(|user| user.parent.is_none()).collect();
    people.sort_by_key(|user| hint.is_none_or(|hint| !same(&user.upn, hint)));
    let button = |user: &&super::directory::User| {
        let (upn, name) = (escape(&user.upn), escape(&user.name));
        format!("<button name=\"user\" value=\"{upn}\">{name} <small>{upn}</small></button>")
    };
    people.iter().map(button).collect()
}

/// `POST /{tenant}/oauth2/v2.0/authorize`: somebody was picked.
pub async fn chosen(
    Extracted(entra): Shared,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = Form::read(&headers, &body);
    let now = entra.now();
    let mut state = entra.lock();
    let request = check_tenant(&tenant).and_then(|()| Request::read(&state, &form, now));
    let request = match request {
        Ok(request) => request,
        Err(refusal) => return refused(&refusal, now),
    };
    match form.get("user").ok_or(Refusal::new(65_004)).and_then(|name| person(&state, name, now)) {
        Err(refusal) => send_back(&request, &failure(&refusal, now)),
        Ok(user) => with_code(&mut state, request, user, now),
    }
}

/// Sends the browser back with a code for `user`.
fn with_code(state: &mut State, request: Request, user: String, now: Timestamp) -> Response {
    let Ok(code) = random_text() else { return send_back(&request, &failure(&Refusal::new(90_033), now)) };
    let entry = Code {
        code: code.clone(),
        client: request.client.clone(),
        redirect_uri: request.redirect_uri.clone(),
        user,
        scope: request.scope.clone(),
        nonce: request.nonce.clone(),
        challenge: request.challenge.clone(),
        until: add(now, CODE_LIFE),
        used: false,
    };
    keep(&mut state.sessions.codes, entry);
    send_back(&request, &[("code", code)])
}

/// The object id of a person who may sign in. Agent users have no password and cannot.
fn person(state: &State, name: &str, now: Timestamp) -> Result<String, Refusal> {
    let full = if name.contains('@') { name.to_owned() } else { format!("{name}@{}", super::seed::DOMAIN) };
    let found = state.directory.user(&full, now).filter(|user| user.parent.is_none());
    let user = found.ok_or_else(|| Refusal::of(50_034, &full))?;
    if user.enabled { Ok(user.id.clone()) } else { Err(Refusal::new(50_057)) }
}

fn failure(refusal: &Refusal, now: Timestamp) -> Vec<(&'static str, String)> {
    let words = refusal.describe(uuid::Uuid::new_v4(), uuid::Uuid::new_v4(), now);
    vec![("error", refusal.error().to_owned()), ("error_description", words)]
}

/// Sends the browser back to the application with `fields` and the request's state.
fn send_back(request: &Request, fields: &[(&'static str, String)]) -> Response {
    let state = request.state.iter().map(|state| ("state", state.clone()));
    let fields = fields.iter().cloned().chain(state);
    if request.form_post {
        let inputs: String = fields
            .map(|(name, value)| {
                format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(&value))
            })
            .collect();
        let target = escape(&request.redirect_uri);
        let body =
            format!("<form method=\"post\" action=\"{target}\">{inputs}<button>Continue</button></form>");
        return show(StatusCode::OK, "Signed in", &body);
    }
    let Ok(mut target) = Url::parse(&request.redirect_uri) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    target.query_pairs_mut().extend_pairs(fields);
    (StatusCode::FOUND, [(header::LOCATION, target.to_string()), (header::CACHE_CONTROL, "no-store".into())])
        .into_response()
}

/// `GET /{tenant}/oauth2/v2.0/logout`: nothing to end, since the tenant keeps no session.
pub async fn logout(Extracted(_): Shared, Path(_): Path<String>) -> Response {
    show(StatusCode::OK, "Signed out", "<p>You are signed out. You can close this page.</p>")
}

/// `authorization_code`: redeems a code.
///
/// # Errors
/// The refusal of the first check that fails.
pub fn redeem(entra: &Arc<Entra>, client: &Client, form: &Form) -> Result<Value, Refusal> {
    let now = entra.now();
    let (code, redirect) = (form.need("code")?, form.need("redirect_uri")?);
    let mut state = entra.lock();
    let found = state.sessions.codes.iter_mut().find(|own| own.code == code);
    let own = found.filter(|own| same(&own.client, &client.principal.app_id));
    let own = own.ok_or(Refusal::new(9_002_313))?;
    if own.used {
        // Somebody else may hold what was redeemed: it ends (RFC 6749 §4.1.2).
        let user = own.user.clone();
        state
            .sessions
            .refresh
            .retain(|entry| entry.user != user || !same(&entry.client, &client.principal.app_id));
        return Err(Refusal::new(54_005));
    }
    if own.until <= now {
        return Err(Refusal::new(70_008));
    }
    if own.redirect_uri != redirect {
        return Err(Refusal::of(500_112, redirect));
    }
    if let Some(challenge) = &own.challenge {
        let verifier = form.need("code_verifier")?;
        let hash = ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes());
        if URL_SAFE_NO_PAD.encode(hash) != *challenge {
            return Err(Refusal::new(501_481));
        }
    }
    own.used = true;
    let own = own.clone();
    let user = state.directory.user(&own.user, now).ok_or_else(|| Refusal::of(50_034, &own.user))?.clone();
    let wanted = Wanted { asked: Asked::read(&own.scope)?, scope: &own.scope, nonce: own.nonce.as_deref() };
    issue(entra, state, client, &user, &wanted)
}

/// `refresh_token`: a new access token, and a new refresh token in place of the old one.
///
/// # Errors
/// The refusal of the first check that fails.
pub fn refresh(entra: &Arc<Entra>, client: &Client, form: &Form) -> Result<Value, Refusal> {
    let now = entra.now();
    let given = form.need("refresh_token")?;
    let state = entra.lock();
    let found = state.sessions.refresh.iter().find(|own| own.token == given);
    let own = found.filter(|own| same(&own.client, &client.principal.app_id));
    let own = own.ok_or(Refusal::new(9_002_313))?.clone();
    if own.expired(now) {
        return Err(Refusal::new(70_008));
    }
    let user = state.directory.user(&own.user, now).ok_or_else(|| Refusal::of(50_034, &own.user))?.clone();
    if own.given < user.valid_from {
        return Err(Refusal::new(50_173));
    }
    let scope = form.get("scope").unwrap_or(&own.scope);
    let mut asked = Asked::read(scope)?;
    asked.refresh_token = true;
    issue(entra, state, client, &user, &Wanted { asked, scope, nonce: None })
}

/// `POST /{tenant}/oauth2/v2.0/devicecode`.
pub async fn device_code(
    Extracted(entra): Shared,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = Form::read(&headers, &body);
    let now = entra.now();
    match start_device(&entra, &tenant, &form, now) {
        Ok(answer) => Json(answer).into_response(),
        Err(refusal) => refusal.answer(correlation(&headers), now),
    }
}

fn start_device(entra: &Entra, tenant: &str, form: &Form, now: Timestamp) -> Result<Value, Refusal> {
    check_tenant(tenant)?;
    let mut state = entra.lock();
    let client = state.client(form.need("client_id")?, now)?;
    let scope = form.need("scope")?.to_owned();
    Asked::read(&scope)?;
    if !client.public() {
        return Err(Refusal::new(7_000_218));
    }
    let device_code = random_text().map_err(|_| Refusal::new(90_033))?;
    let random = uuid::Uuid::new_v4();
    // The bytes of a version 4 id are random but for two.
    let random =
        random.as_bytes().iter().enumerate().filter(|(at, _)| *at != 6 && *at != 8).map(|(_, byte)| *byte);
    let letters: Vec<char> =
        random.take(8).map(|byte| char::from(CODE_LETTERS[usize::from(byte) % CODE_LETTERS.len()])).collect();
    let user_code = format!("{}-{}", String::from_iter(&letters[..4]), String::from_iter(&letters[4..]));
    let device = Device {
        device_code: device_code.clone(),
        user_code: user_code.clone(),
        client: client.principal.app_id,
        scope,
        until: add(now, DEVICE_LIFE),
        answer: Answer::Pending,
    };
    keep(&mut state.sessions.devices, device);
    let page = format!("{}/devicelogin", entra.base);
    let message =
        format!("To sign in, open {page} in a web browser and enter the code {user_code} to authenticate.");
    Ok(json!({"user_code": user_code, "device_code": device_code, "verification_uri": page,
        "expires_in": DEVICE_LIFE.as_secs(), "interval": POLL_SECONDS, "message": message}))
}

/// The device grant: asks whether somebody has signed in meanwhile.
///
/// # Errors
/// AADSTS70016 as long as nobody has, or the refusal of the first check that fails.
pub fn poll(entra: &Arc<Entra>, client: &Client, form: &Form) -> Result<Value, Refusal> {
    let now = entra.now();
    let given = form.need("device_code")?;
    let mut state = entra.lock();
    let at = state.sessions.devices.iter().position(|own| own.device_code == given);
    let own = at.and_then(|at| state.sessions.devices.get(at)).cloned();
    let own = own.filter(|own| same(&own.client, &client.principal.app_id)).ok_or(Refusal::new(70_018))?;
    if own.until <= now {
        return Err(Refusal::new(70_019));
    }
    let user = match &own.answer {
        Answer::Pending => return Err(Refusal::new(70_016)),
        Answer::Declined => return Err(Refusal::new(70_020)),
        Answer::User(id) => id,
    };
    let user = state.directory.user(user, now).ok_or_else(|| Refusal::of(50_034, user))?.clone();
    if let Some(at) = at {
        state.sessions.devices.remove(at);
    }
    let wanted = Wanted { asked: Asked::read(&own.scope)?, scope: &own.scope, nonce: None };
    issue(entra, state, client, &user, &wanted)
}

/// `GET /devicelogin`: the page on which a user code is typed.
pub async fn device_page(Extracted(entra): Shared) -> Response {
    let state = entra.lock();
    let people = buttons(&state, None);
    let body = format!(
        "<p>Enter the code that your device shows, and pick who you are.</p><form method=\"post\">\
         <label>Code <input name=\"user_code\" autocomplete=\"off\" required></label>{people}\
         <button name=\"decline\" value=\"yes\">Decline</button></form>"
    );
    show(StatusCode::OK, "Sign in on a device", &body)
}

/// `POST /devicelogin`: `user_code` with `user`, or with `decline`.
pub async fn device_chosen(Extracted(entra): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let form = Form::read(&headers, &body);
    let now = entra.now();
    let mut state = entra.lock();
    let typed = form.get("user_code").unwrap_or_default().to_ascii_uppercase();
    let answer = match form.get("decline") {
        Some(_) => Ok(Answer::Declined),
        None => form.need("user").and_then(|name| person(&state, name, now)).map(Answer::User),
    };
    let device = state.sessions.devices.iter_mut().find(|own| own.user_code == typed && own.until > now);
    match (device, answer) {
        (None, _) => refused(&Refusal::new(70_018), now),
        (_, Err(refusal)) => refused(&refusal, now),
        (Some(device), Ok(answer)) => {
            device.answer = answer;
            show(StatusCode::OK, "Done", "<p>You can close this page and go back to your device.</p>")
        }
    }
}

/// A refusal as a page: nothing may be sent to an address that is not checked.
fn refused(refusal: &Refusal, now: Timestamp) -> Response {
    let words = refusal.describe(uuid::Uuid::new_v4(), uuid::Uuid::new_v4(), now);
    show(StatusCode::BAD_REQUEST, "Sorry, but we cannot sign you in", &format!("<p>{}</p>", escape(&words)))
}

fn escape(text: &str) -> String {
    let shown: String = text.chars().take(MAX_ECHO_CHARS).collect();
    shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn show(status: StatusCode, title: &str, body: &str) -> Response {
    let page = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>body{{font:16px/1.5 system-ui,sans-serif;\
         max-width:26rem;margin:3rem auto;padding:0 1rem}}button,input{{display:block;width:100%;margin:.5rem 0;\
         padding:.6rem;font:inherit;box-sizing:border-box}}small{{color:#555}}</style></head><body>\
         <h1>{title}</h1>{body}<p><small>This is a simulated Microsoft Entra: there are no passwords, and nobody \
         outside this machine is asked.</small></p></body></html>"
    );
    (status, [(header::CACHE_CONTROL, "no-store")], Html(page)).into_response()
}
