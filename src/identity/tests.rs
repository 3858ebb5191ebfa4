//! The identity against a sidecar on real HTTP.

use std::sync::Arc;

use axum::http::StatusCode;
use secrecy::ExposeSecret as _;

use super::fake::{self, NOW, Sidecar};
use super::*;

async fn identity() -> (Arc<Sidecar>, Arc<Identity>, Clock) {
    let (sidecar, address) = fake::start().await;
    let clock = Clock::stepped(Timestamp::from_second(NOW).unwrap());
    let http = config::http_client().unwrap();
    (sidecar, Identity::new(&fake::settings(&address), http, clock.clone()), clock)
}

/// Moves a stepped clock whenever somebody may sleep by it, until `work` is done.
async fn in_time<T>(clock: &Clock, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(Duration::from_millis(5)) => clock.advance(Duration::from_millis(500)),
        }
    }
}

fn problem(status: u16, detail: &str) -> (StatusCode, String) {
    let body = serde_json::json!({ "status": status, "detail": detail }).to_string();
    (StatusCode::from_u16(status).unwrap(), body)
}

#[tokio::test]
async fn a_token_is_asked_for_properly_and_cached_until_five_minutes_before_expiry() {
    let (sidecar, identity, clock) = identity().await;
    assert_eq!(identity.who(), None);
    let first = identity.bearer(Audience::AzureDevOps).await.unwrap();
    let again = identity.bearer(Audience::AzureDevOps).await.unwrap();
    assert_eq!(first.expose_secret(), again.expose_secret());
    let seen = sidecar.seen.lock().unwrap()[0].clone();
    assert_eq!((seen.profile.as_str(), seen.host.as_str()), ("ado", "localhost"));
    assert_eq!(seen.query["AgentIdentity"], fake::AGENT_IDENTITY);
    assert_eq!(seen.query["AgentUsername"], "ado-coworker@contoso.example");
    assert!(seen.query.contains_key("optionsOverride.AcquireTokenOptions.CorrelationId"));
    assert_eq!(identity.who().unwrap().expires_at.as_second(), NOW + 3_600);

    clock.advance(Duration::from_secs(3_600 - 301));
    identity.bearer(Audience::AzureDevOps).await.unwrap();
    assert_eq!(sidecar.count(), 1);
    *sidecar.expires.lock().unwrap() = NOW + 9_000;
    clock.advance(Duration::from_secs(2));
    identity.bearer(Audience::AzureDevOps).await.unwrap();
    assert_eq!(sidecar.count(), 2);
    identity.bearer(Audience::Model).await.unwrap();
    assert_eq!(sidecar.seen.lock().unwrap()[2].profile, "aoai");
}

#[tokio::test]
async fn callers_that_come_together_share_one_request_and_its_failure() {
    let (sidecar, identity, _clock) = identity().await;
    let many = || futures_util::future::join_all((0..20).map(|_| identity.bearer(Audience::AzureDevOps)));
    sidecar.answers.lock().unwrap().push_back(problem(401, "AADSTS50057: The user account is disabled."));
    for result in many().await {
        assert_eq!(result.unwrap_err().aadsts(), Some(50057));
    }
    assert_eq!(sidecar.count(), 1);
    assert!(many().await.into_iter().all(|result| result.is_ok()));
    assert_eq!(sidecar.count(), 2);
}

#[tokio::test]
async fn a_rejected_token_is_renewed_once_past_the_sidecars_cache() {
    let (sidecar, identity, _clock) = identity().await;
    let rejected = identity.bearer(Audience::AzureDevOps).await.unwrap();
    let (one, two) = tokio::join!(
        identity.renew(Audience::AzureDevOps, &rejected),
        identity.renew(Audience::AzureDevOps, &rejected)
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.expose_secret(), rejected.expose_secret());
    assert_eq!(one.expose_secret(), two.expose_secret());
    assert_eq!(sidecar.count(), 2);
    let seen = sidecar.seen.lock().unwrap()[1].clone();
    assert_eq!(seen.query["optionsOverride.AcquireTokenOptions.ForceRefresh"], "true");
}

#[tokio::test]
async fn a_sidecar_that_is_still_starting_is_waited_for() {
    let (sidecar, identity, clock) = identity().await;
    for _ in 0..3 {
        sidecar.answers.lock().unwrap().push_back(problem(503, "Unhealthy"));
    }
    in_time(&clock, identity.bearer(Audience::AzureDevOps)).await.unwrap();
    assert_eq!(sidecar.count(), 4);
}

#[tokio::test]
async fn a_sidecar_that_never_comes_is_an_error_within_the_patience() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let clock = Clock::stepped(Timestamp::from_second(NOW).unwrap());
    let identity = Identity::new(&fake::settings(&address), config::http_client().unwrap(), clock.clone());
    let error = in_time(&clock, identity.bearer(Audience::AzureDevOps)).await.unwrap_err();
    assert!(matches!(error, IdentityError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&address), "{error}");
    assert!(clock.now().as_second() - NOW <= 61);
}

#[tokio::test]
async fn another_principals_token_is_refused_and_never_cached() {
    let (sidecar, identity, _clock) = identity().await;
    let mut claims = fake::claims(Audience::AzureDevOps, NOW + 3_600);
    claims.insert("upn".into(), "alice@contoso.example".into());
    let token = fake::token(&claims);
    let body = serde_json::json!({ "authorizationHeader": format!("Bearer {token}") }).to_string();
    sidecar.answers.lock().unwrap().push_back((StatusCode::OK, body));
    let error = identity.bearer(Audience::AzureDevOps).await.unwrap_err();
    assert!(matches!(error, IdentityError::WrongPrincipal { fallback: Fallback::OtherUser, .. }), "{error}");
    assert!(!format!("{error:?} {error}").contains("eyJ"));
    assert_eq!(identity.who(), None);
    identity.bearer(Audience::AzureDevOps).await.unwrap();
}

#[tokio::test]
async fn the_last_minutes_of_a_token_bridge_a_sidecar_that_is_away_but_not_a_refusal() {
    let (sidecar, identity, clock) = identity().await;
    let first = identity.bearer(Audience::AzureDevOps).await.unwrap();
    clock.advance(Duration::from_secs(3_600 - 60));
    sidecar.answers.lock().unwrap().push_back(problem(503, "Unhealthy"));
    let second = identity.bearer(Audience::AzureDevOps).await.unwrap();
    assert_eq!(first.expose_secret(), second.expose_secret());
    assert_eq!(sidecar.count(), 2);
    sidecar.answers.lock().unwrap().push_back(problem(401, "AADSTS7000112: The application is disabled."));
    assert_eq!(identity.bearer(Audience::AzureDevOps).await.unwrap_err().aadsts(), Some(7_000_112));
}
