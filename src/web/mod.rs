//! The doors for people and other systems: page, JSON API, event streams, webhooks.
//!
//! Purpose: turns requests into journal entries, and the journal into pages and streams.
//! Invariant: everything shown is read from the journal, and a step has one rendering, used by the
//! first page and by every live update; nothing that came from outside reaches a page unescaped or
//! unsanitised; no request that another site sent is acted on.
//! Must never know: agents, tools, models, Azure DevOps.

mod api;
mod approvals;
mod assets;
mod audit;
mod budget;
mod card;
mod diff;
mod doctor;
mod events;
mod guard;
mod hooks;
mod identity;
mod input;
mod kill;
mod leave;
mod markdown;
mod pages;
mod policy;
mod problem;
mod ready;
mod replay;
mod rights;
mod sessions;
mod shown;
mod sign_in;
mod steps;
mod stream;
mod text;
mod viewer;
mod when;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{MethodRouter, get, post};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock::Clock;
use crate::config;
use crate::identity::people::People;
use crate::journal::Journal;
use crate::policy::InForce;

pub use doctor::{CheckShown, Checkup};
pub use ready::Ready;

/// How long requests under way may take after shutdown began.
const DRAIN: Duration = Duration::from_secs(5);
/// Most event streams at once; each holds a connection.
const MAX_WATCHERS: usize = 512;

/// What the page and the API need. Everything in it is cheap to clone.
#[derive(Clone)]
pub struct State {
    /// Where runs and events are written and read.
    pub journal: Journal,
    /// Time.
    pub clock: Clock,
    /// Settings of the page and the webhooks.
    pub config: config::Web,
    /// Where the co-worker works.
    pub organization: Organization,
    /// Name of the model deployment, as configured.
    pub model: String,
    /// Whether the model is reached with a key: for development only, and said so.
    pub model_key: bool,
    /// How people sign in, where they do.
    pub people: Option<Arc<People>>,
    /// Ids and names of the co-worker itself: a token that names one is never a person's.
    pub agents: Arc<[String]>,
    /// Says whether a person may see the project that is served, asked with that person's own token
    /// (A35). None where the agent cannot act on people's behalf.
    pub rights: Option<Rights>,
    /// Says who the co-worker is, once that has been verified.
    pub who: Who,
    /// Goes through everything that the co-worker needs.
    pub doctor: Checkup,
    /// The rules in force.
    pub policy: Arc<InForce>,
    /// Which parts of the process are up.
    pub ready: Ready,
    /// Cancelled when the process is to end: streams end, readiness goes.
    pub closing: CancellationToken,
}

/// Gives the verified identity, or none while it is not verified. Called for every page: it must
/// answer from memory.
pub type Who = Arc<dyn Fn() -> Option<WhoShown> + Send + Sync>;

/// Whether the person with this object id, whose own token this is, sees the project; an error says in
/// words why that could not be found out.
pub type Rights = Arc<dyn Fn(String, SecretString) -> BoxFuture<'static, Result<bool, String>> + Send + Sync>;

/// The organisation as the page shows it.
#[derive(Clone, Debug)]
pub struct Organization {
    /// Its URL.
    pub url: Url,
    /// The project served.
    pub project: String,
    /// The repository served.
    pub repository: String,
}

/// Who the co-worker is, from a token that was checked. Never the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhoShown {
    /// Account of the agent user.
    pub agent_user: String,
    /// Object id of the agent user.
    pub agent_user_id: Option<String>,
    /// Application id of the agent identity.
    pub agent_identity: String,
    /// Application id of the blueprint, where it is known.
    pub blueprint: Option<String>,
    /// Whether the token says by its facets that it is an agent user's.
    pub has_agent_facets: bool,
    /// The token's claims.
    pub claims: Vec<ClaimShown>,
    /// When the token it was read from expires.
    pub token_expires: Timestamp,
}

/// A claim of a token, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimShown {
    /// Its name.
    pub name: String,
    /// Its value, cut.
    pub value: String,
    /// What it means here; empty for one that is not known.
    pub meaning: &'static str,
}

impl State {
    /// How `path` (with its leading slash) is reached from outside.
    fn public(&self, path: &str) -> String {
        match &self.config.public_url {
            Some(url) => format!("{}{path}", url.as_str().trim_end_matches('/')),
            None => format!("http://{}{path}", self.config.listen_address),
        }
    }

    /// Whether people can sign in.
    fn has_sign_in(&self) -> bool {
        self.people.is_some()
    }
}

/// What the handlers share.
struct App {
    state: State,
    watchers: Arc<tokio::sync::Semaphore>,
    sessions: sessions::Sessions,
    rights: rights::Checked,
    checked: doctor::Last,
    /// Who stopped everything, as of the newest request.
    halt: std::sync::Mutex<Option<crate::journal::Halt>>,
}

type Shared = axum::extract::State<Arc<App>>;

/// One API route: its path, its methods, and what answers.
struct Route {
    path: &'static str,
    #[cfg_attr(not(test), allow(dead_code, reason = "the test of openapi.json reads it"))]
    methods: &'static [&'static str],
    answers: MethodRouter<Arc<App>>,
}

fn route(path: &'static str, methods: &'static [&'static str], answers: MethodRouter<Arc<App>>) -> Route {
    Route { path, methods, answers }
}

/// Everything that `openapi.json` describes.
fn api_routes() -> Vec<Route> {
    vec![
        route("/api/runs", &["get", "post"], get(api::list).post(api::create)),
        route("/api/runs/{id}", &["get"], get(api::show)),
        route("/api/runs/{id}/events", &["get"], get(stream::watch)),
        route("/api/runs/{id}/messages", &["post"], post(api::message)),
        route("/api/runs/{id}/cancel", &["post"], post(api::cancel)),
        route("/api/runs/{id}/kill", &["post"], post(kill::one)),
        route(
            "/api/kill",
            &["get", "post", "delete"],
            get(kill::show).post(kill::stop_all).delete(kill::go_on),
        ),
        route("/api/approvals", &["get"], get(approvals::list)),
        route("/api/approvals/{id}", &["get"], get(approvals::show)),
        route("/api/approvals/{id}/decision", &["post"], post(approvals::decide)),
        route("/api/approvals/{id}/revoke", &["post"], post(leave::revoke)),
        route("/api/events", &["get"], get(events::list)),
        route("/api/events/{id}/redeliver", &["post"], post(events::redeliver)),
        route("/api/doctor", &["get"], get(doctor::list)),
        route("/api/audit/{run}", &["get"], get(audit::show)),
        route("/api/openapi.json", &["get"], get(assets::openapi)),
        route("/webhooks/azure-devops", &["post"], post(hooks::receive)),
        route("/healthz", &["get"], get(ready::health)),
        route("/readyz", &["get"], get(ready::readiness)),
        route("/metrics", &["get"], get(ready::metrics)),
    ]
}

/// The pages for people, and what they load.
fn page_routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(pages::home))
        .route("/runs", get(pages::runs).post(pages::start))
        .route("/runs/recent", get(pages::recent))
        .route("/runs/{id}", get(pages::run))
        .route("/runs/{id}/timeline", get(pages::timeline))
        .route("/runs/{id}/messages", post(pages::message))
        .route("/runs/{id}/cancel", post(pages::cancel))
        .route("/runs/{id}/kill", post(kill::one_form))
        .route("/runs/{id}/replay", get(replay::page))
        .route("/runs/{id}/replay/rows", get(replay::rows))
        .route("/runs/{id}/replay/entries/{seq}", get(replay::entry))
        .route("/kill", post(kill::stop_all_form))
        .route("/kill/lift", post(kill::go_on_form))
        .route("/approvals", get(approvals::inbox))
        .route("/approvals/{id}", get(approvals::page))
        .route("/approvals/{id}/decision", post(approvals::answer))
        .route("/approvals/{id}/revoke", post(leave::take_back))
        .route("/events", get(pages::events))
        .route("/events/{id}", get(pages::event))
        .route("/events/{id}/redeliver", post(pages::redeliver))
        .route("/policy", get(policy::page))
        .route("/doctor", get(doctor::page).post(doctor::again))
        .route("/identity", get(identity::page))
        .route("/sign-in", get(sign_in::begin))
        .route("/sign-in/callback", get(sign_in::finish))
        .route("/sign-out", post(sign_in::end))
        .route("/static/app.css", get(assets::css))
        .route("/static/app.js", get(assets::js))
        .route("/static/replay.css", get(assets::replay_css))
        .route("/static/replay.js", get(assets::replay_js))
        .route("/static/icon.svg", get(assets::icon))
}

/// Everything that is served, over `state`.
pub fn router(state: State) -> Router {
    let app = shared(state);
    let router = api_routes().into_iter().fold(page_routes(), |r, route| r.route(route.path, route.answers));
    guard::around(router, &app).with_state(app)
}

/// What a process serves that only works the queue: whether it is well, and what it counted.
pub fn health_router(state: State) -> Router {
    let router = Router::new()
        .route("/healthz", get(ready::health))
        .route("/readyz", get(ready::readiness))
        .route("/metrics", get(ready::metrics));
    router.with_state(shared(state))
}

fn shared(state: State) -> Arc<App> {
    let sessions = sessions::Sessions::new(state.journal.clone());
    Arc::new(App {
        state,
        watchers: Arc::new(tokio::sync::Semaphore::new(MAX_WATCHERS)),
        sessions,
        rights: rights::Checked::default(),
        checked: doctor::Last::default(),
        halt: std::sync::Mutex::default(),
    })
}

/// Serves until `shutdown` is cancelled, then lets requests under way end for a few seconds.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let stop = shutdown.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
    tokio::select! {
        ended = std::future::IntoFuture::into_future(server) => ended,
        () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN).await } => {
            tracing::warn!("requests were still under way when the time to end them was over");
            Ok(())
        }
    }
}
