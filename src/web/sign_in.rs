//! Signing in and out at the page: to Entra and back, with PKCE and no secret.

use std::time::Duration;

use axum::extract::Query;
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use url::Url;

use super::guard::{host_is_loopback, is_loopback};
use super::problem::Problem;
use super::sessions::{LIFE, SessionKey};
use super::{App, Shared, State};
use crate::identity::people::{self, People, PeopleError};

/// Name of the cookie with the session's id.
const SESSION: &str = "ado-coworker-session";
/// Name of the cookie that leads from one half of a sign-in to the other.
const BEGUN: &str = "ado-coworker-sign-in";
/// Put before the names where the browser is to take them over https only, for this host only.
const HOST_ONLY: &str = "__Host-";
/// How long a sign-in may take.
const PATIENCE: Duration = Duration::from_secs(900);
/// Longest address to come back to, in bytes.
const MAX_BACK_BYTES: usize = 500;
/// Longest account in a hint, in bytes.
const MAX_HINT_BYTES: usize = 200;
/// Where Entra sends the browser back to.
const CALLBACK: &str = "/sign-in/callback";

/// What is asked of `/sign-in`.
#[derive(Deserialize)]
pub(super) struct Asked {
    /// Where to go afterwards.
    to: Option<String>,
    /// The account to offer first.
    #[serde(rename = "as")]
    hint: Option<String>,
}

/// What comes back from Entra.
#[derive(Deserialize)]
pub(super) struct Returned {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// What the browser keeps while it is at Entra. It is the browser's own secret, not ours.
#[derive(Serialize, Deserialize)]
struct Begun {
    state: String,
    nonce: String,
    verifier: String,
    redirect: Url,
    to: String,
}

impl Begun {
    fn written(&self) -> Option<String> {
        Some(URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).ok()?))
    }

    fn read(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

impl From<PeopleError> for Problem {
    fn from(error: PeopleError) -> Self {
        let status = match &error {
            PeopleError::Agent => StatusCode::FORBIDDEN,
            PeopleError::Token(_) => StatusCode::UNAUTHORIZED,
            PeopleError::SignIn(crate::identity::SignInError::Unreachable { .. })
            | PeopleError::Keys(_)
            | PeopleError::Graph(_) => StatusCode::SERVICE_UNAVAILABLE,
            PeopleError::SignIn(_) => StatusCode::FORBIDDEN,
            PeopleError::Random => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let text = error.to_string();
        let mut letters = text.chars();
        let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        Self::new(status, format!("{first}{}.", letters.as_str().trim_end_matches('.')), error.remedy())
    }
}

fn people(app: &App) -> Result<&People, Problem> {
    app.state.people.as_deref().ok_or_else(|| {
        Problem::missing(
            "Nobody can sign in here.",
            "Set SIGN_IN_CLIENT_ID, AZURE_TENANT_ID and ROLE_GROUPS, and start again.",
        )
    })
}

/// `GET /sign-in?to=&as=`: on to Entra.
pub(super) async fn begin(
    app: Shared,
    headers: HeaderMap,
    jar: CookieJar,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let redirect = redirect(&app.state, &headers)?;
    let hint = asked.hint.filter(|hint| !hint.is_empty() && hint.len() <= MAX_HINT_BYTES);
    let begun = people(&app)?.begin(&redirect, hint.as_deref()).await?;
    let kept = Begun {
        state: begun.state,
        nonce: begun.nonce,
        verifier: begun.verifier.expose_secret().to_owned(),
        to: asked.to.filter(|to| is_own(to)).unwrap_or_else(|| "/".to_owned()),
        redirect,
    };
    let kept = kept.written().ok_or_else(Problem::ours)?;
    let jar = jar.add(cookie(&app.state, BEGUN, kept, PATIENCE));
    Ok((jar, Redirect::to(begun.url.as_str())).into_response())
}

/// `GET /sign-in/callback`: back from Entra.
pub(super) async fn finish(
    app: Shared,
    jar: CookieJar,
    Query(returned): Query<Returned>,
) -> Result<Response, Problem> {
    let again = "Begin once more at /sign-in, in this browser, and let it take cookies.";
    let strange = |detail: &str| Problem::new(StatusCode::FORBIDDEN, detail, again);
    let begun = jar.get(&name(&app.state, BEGUN)).and_then(|cookie| Begun::read(cookie.value()));
    let begun =
        begun.ok_or_else(|| strange("This browser has not begun a sign-in here, or took too long."))?;
    let state = returned.state.unwrap_or_default();
    if !people::same_secret(&state, &begun.state) {
        return Err(strange("This answer belongs to another sign-in."));
    }
    let people = people(&app)?;
    if let Some(error) = returned.error {
        return Err(people::refused(&error, returned.error_description.as_deref().unwrap_or_default()).into());
    }
    let code = returned.code.ok_or_else(|| strange("Entra sent neither a code nor an error."))?;
    let signed_in = people.finish(&code, &begun.redirect, &begun.nonce, &begun.verifier.into()).await?;
    // Whoever held an older session in this browser leaves it.
    if let Some(key) = session_key(&app.state, &jar) {
        app.sessions.end(&key).await?;
    }
    let id = people::random()?;
    let session = app.sessions.begin(&id, signed_in, app.state.clock.now()).await?;
    tracing::info!(oid = session.oid, groups_complete = session.groups_complete, "somebody signed in");
    let jar = jar.add(gone(&app.state, BEGUN)).add(cookie(&app.state, SESSION, id, LIFE));
    Ok((jar, Redirect::to(&begun.to)).into_response())
}

/// `POST /sign-out`: ends the session here; that with Entra is the browser's own.
pub(super) async fn end(app: Shared, jar: CookieJar) -> Result<Response, Problem> {
    if let Some(key) = session_key(&app.state, &jar) {
        app.sessions.end(&key).await?;
    }
    Ok((jar.add(gone(&app.state, SESSION)), Redirect::to("/")).into_response())
}

/// The session that a request brings, whether or not it is still one.
pub(super) fn session_key(state: &State, jar: &CookieJar) -> Option<SessionKey> {
    jar.get(&name(state, SESSION)).map(|cookie| SessionKey::of(cookie.value()))
}

/// Where Entra is to send the browser back to: PUBLIC_URL; on this machine the name by which the
/// browser has come, because cookies belong to names.
fn redirect(state: &State, headers: &HeaderMap) -> Result<Url, Problem> {
    let here = state.config.public_url.as_ref().is_none_or(is_loopback) && host_is_loopback(headers);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|_| here);
    let address = match host {
        Some(host) => format!("http://{host}{CALLBACK}"),
        None => state.public(CALLBACK),
    };
    Url::parse(&address).map_err(|_| Problem::ours())
}

/// Whether `to` is a place of this page: nobody is led elsewhere by a link to us.
fn is_own(to: &str) -> bool {
    to.len() <= MAX_BACK_BYTES
        && to.starts_with('/')
        && !to[1..].starts_with(['/', '\\'])
        && to.chars().all(|c| c.is_ascii_graphic())
}

fn is_secure(state: &State) -> bool {
    state.config.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
}

fn name(state: &State, name: &str) -> String {
    if is_secure(state) { format!("{HOST_ONLY}{name}") } else { name.to_owned() }
}

fn cookie(state: &State, own: &str, value: String, life: Duration) -> Cookie<'static> {
    // The browser comes back from Entra by a link of another site: `Strict` would hide the cookie.
    Cookie::build((name(state, own), value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(is_secure(state))
        .max_age(life.try_into().unwrap_or_default())
        .build()
}

fn gone(state: &State, own: &str) -> Cookie<'static> {
    cookie(state, own, String::new(), Duration::ZERO)
}
