//! The webhook receiver and the live stream, as they are served, under the harness's addresses.

use std::sync::Arc;
use std::time::Duration;

use ado_coworker::clock::Clock;
use ado_coworker::journal::Journal;
use ado_coworker::policy::{self, InForce};
use ado_coworker::web;
use anyhow::Context as _;
use axum::ServiceExt;
use axum::extract::Request;
use axum::http::Uri;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use tower::Layer as _;

use super::{config, order};

/// When the harness's events happened, a little later.
const THEN: &str = "2026-01-01T00:01:00Z";

#[allow(clippy::disallowed_methods, reason = "the harness tells these by the environment")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

async fn state(file: &str, clock: Clock) -> anyhow::Result<web::State> {
    let mut config = config("http://127.0.0.1:9", "none", file)?;
    // The harness asks by the name `x`.
    config.web.public_url = Some("http://x/".parse()?);
    config.web.always_local = true;
    Ok(web::State {
        journal: Journal::open(config.database_url.expose_secret(), Clock::Real).await?,
        clock,
        organization: web::Organization {
            url: config.azure_devops.organization_url.clone(),
            project: config.azure_devops.project.clone(),
            repository: config.azure_devops.repository.clone(),
        },
        config: config.web,
        model: "none".into(),
        model_key: false,
        people: None,
        agents: Arc::from([]),
        rights: None,
        who: Arc::new(|| None),
        doctor: Arc::new(|| Box::pin(async { Vec::new() })),
        policy: Arc::new(InForce::new(policy::parse(policy::DEFAULT_POLICY)?)),
        ready: web::Ready::default(),
        closing: CancellationToken::new(),
    })
}

/// Serves `router` on `port`; what is asked at any address is asked at `path`.
async fn serve(router: axum::Router, port: u16, path: String) -> anyhow::Result<()> {
    let path: Uri = path.parse()?;
    let readdress = tower::util::MapRequestLayer::new(move |mut request: Request| {
        *request.uri_mut() = path.clone();
        request
    });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let service = readdress.layer(router);
    Ok(axum::serve(listener, ServiceExt::<Request>::into_make_service(service)).await?)
}

/// The receiver on port 9203.
pub async fn hook() -> anyhow::Result<()> {
    let file = told("HOOK_DB").context("HOOK_DB names the file of the journal")?;
    let state = state(&file, Clock::stepped(THEN.parse()?)).await?;
    // The harness counts the rows of a table of this name.
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{file}")).await?;
    sqlx::query("CREATE VIEW IF NOT EXISTS ev AS SELECT * FROM intake").execute(&pool).await?;
    pool.close().await;
    serve(web::router(state), 9203, "/webhooks/azure-devops".into()).await
}

/// The stream on port 9303.
pub async fn sse() -> anyhow::Result<()> {
    let rate: u32 = told("SSE_RATE").and_then(|text| text.parse().ok()).unwrap_or(50);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("journal.db").display().to_string();
    let state = state(&file, Clock::Real).await?;
    let (journal, run) = (state.journal.clone(), state.journal.create(order()).await?);
    let path = format!("/api/runs/{run}/events");
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
        let mut begun = false;
        loop {
            tick.tick().await;
            journal.words(&run, 1, !begun, "word ");
            begun = true;
        }
    });
    serve(web::router(state), 9303, path).await
}
