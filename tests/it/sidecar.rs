//! Our identity against the simulated sidecar: every silent fall-back it has is noticed.

use std::net::SocketAddr;
use std::sync::Arc;

use ado_coworker::clock::Clock;
use ado_coworker::config::{self, AgentUser};
use ado_coworker::identity::{Audience, Fallback, Identity, IdentityError};
use ado_coworker::simulator::{sidecar, tokens};
use secrecy::ExposeSecret as _;

async fn start(change: impl FnOnce(&mut sidecar::Settings)) -> (String, Arc<tokens::Authority>) {
    let authority = tokens::Authority::new(Clock::Real).unwrap();
    let mut settings = sidecar::Settings::new(Clock::Real);
    change(&mut settings);
    let router = sidecar::router(authority.clone(), settings);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    (address, authority)
}

fn settings(address: &str) -> config::Identity {
    config::Identity {
        sidecar_url: address.parse().unwrap(),
        tenant_id: Some(tokens::TENANT_ID.into()),
        agent_identity_id: tokens::AGENT_IDENTITY_ID.into(),
        agent_user: AgentUser::Username(tokens::AGENT_USER_UPN.into()),
    }
}

fn identity(settings: &config::Identity) -> Arc<Identity> {
    Identity::new(settings, config::http_client().unwrap(), Clock::Real)
}

#[tokio::test]
async fn both_audiences_are_served_and_renewed() {
    let (address, authority) = start(|_| ()).await;
    let identity = identity(&settings(&address));
    let token = identity.bearer(Audience::AzureDevOps).await.unwrap();
    authority.verify(token.expose_secret(), tokens::AUDIENCE_AZURE_DEVOPS).unwrap();
    let renewed = identity.renew(Audience::AzureDevOps, &token).await.unwrap();
    assert_ne!(token.expose_secret(), renewed.expose_secret());
    let model = identity.bearer(Audience::Model).await.unwrap();
    authority.verify(model.expose_secret(), tokens::AUDIENCE_COGNITIVE_SERVICES).unwrap();
    let who = identity.who().unwrap();
    assert_eq!(who.object_id.as_deref(), Some(tokens::AGENT_USER_ID));
    assert_eq!(who.blueprint_id.as_deref(), Some(tokens::BLUEPRINT_ID));
    let by_id = AgentUser::ObjectId(tokens::AGENT_USER_ID.parse().unwrap());
    let by_id = config::Identity { agent_user: by_id, ..settings(&address) };
    Identity::new(&by_id, config::http_client().unwrap(), Clock::Real).bearer(Audience::AzureDevOps).await.unwrap();
}

#[tokio::test]
async fn fall_backs_and_refusals_are_named() {
    let (address, _) = start(|settings| settings.allow_overrides_unauthenticated = false).await;
    let error = identity(&settings(&address)).bearer(Audience::AzureDevOps).await.unwrap_err();
    assert_eq!(error, IdentityError::ParametersIgnored);

    let (address, _) = start(|settings| {
        settings.allow_overrides_unauthenticated = false;
        settings.profiles[0].request_app_token = true;
    })
    .await;
    let error = identity(&settings(&address)).bearer(Audience::AzureDevOps).await.unwrap_err();
    assert!(matches!(error, IdentityError::WrongPrincipal { fallback: Fallback::OtherApplication, .. }), "{error}");

    let (address, _) = start(|settings| settings.profiles[0].request_app_token = true).await;
    let error = identity(&settings(&address)).bearer(Audience::AzureDevOps).await.unwrap_err();
    assert!(matches!(error, IdentityError::WrongPrincipal { fallback: Fallback::AgentIdentityAlone, .. }), "{error}");

    let (address, _) = start(|settings| settings.profiles[0].audience = None).await;
    let error = identity(&settings(&address)).bearer(Audience::AzureDevOps).await.unwrap_err();
    assert_eq!(error, IdentityError::ProfileMissing { profile: "ado" });

    let (address, _) = start(|settings| settings.profiles[0].audience = Some("https://graph.microsoft.com".into())).await;
    let error = identity(&settings(&address)).bearer(Audience::AzureDevOps).await.unwrap_err();
    assert!(matches!(error, IdentityError::WrongToken { claim: "audience", .. }), "{error}");

    let unknown = config::Identity { agent_user: AgentUser::Username("x@contoso.example".into()), ..settings(&address) };
    let error = identity(&unknown).bearer(Audience::AzureDevOps).await.unwrap_err();
    assert_eq!(error.aadsts(), Some(50034), "{error}");
    println!("{error}\n{}", error.remedy());
}
