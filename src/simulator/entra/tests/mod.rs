//! A tenant on a free port, asked over HTTP.

mod graph;
mod legs;
mod people;
mod refusals;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use url::Url;

use super::keys::Unchecked;
pub use super::seed::MANAGED_IDENTITY_ID;
use super::{Entra, Settings, jwks, router};
use crate::clock::Clock;
use crate::simulator::tokens::{AGENT_IDENTITY_ID, AGENT_USER_UPN, Authority, BLUEPRINT_ID, TENANT_ID};

pub const ADO_SCOPE: &str = "499b84ac-1321-427f-aa17-267ca6975798/.default";
pub const EXCHANGE_SCOPE: &str = "api://AzureADTokenExchange/.default";
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

pub struct Bench {
    pub entra: Arc<Entra>,
    pub authority: Arc<Authority>,
    pub clock: Clock,
    pub base: String,
    pub http: reqwest::Client,
}

/// A status and a JSON body.
pub type Answer = (u16, Value);

impl Bench {
    pub async fn start() -> Self {
        Self::with(true).await
    }

    pub async fn with(provisioned: bool) -> Self {
        let clock = Clock::stepped(Timestamp::from_second(1_795_255_200).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let authority = Authority::new(clock.clone()).unwrap();
        let settings = Settings { base: Url::parse(&base).unwrap(), provisioned, data: None };
        let entra = Entra::new(authority.clone(), &settings).unwrap();
        let app = router(entra.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { entra, authority, clock, base, http: jwks::client().unwrap() }
    }

    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let response = self.http.post(format!("{}{path}", self.base)).form(form).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    pub async fn token(&self, form: &[(&str, &str)]) -> Answer {
        self.post(&format!("/{TENANT_ID}/oauth2/v2.0/token"), form).await
    }

    /// The code of the refusal that the form meets.
    pub async fn refusal(&self, form: &[(&str, &str)]) -> u64 {
        let (status, body) = self.token(form).await;
        assert!(status >= 400, "{body}");
        code(&body)
    }

    pub async fn control(&self, what: &str, body: Value) {
        let response =
            self.http.post(format!("{}/_simulator/entra/{what}", self.base)).json(&body).send().await;
        let response = response.unwrap();
        assert_eq!(response.status().as_u16(), 204, "{what}: {}", response.text().await.unwrap());
    }

    /// Puts the tenant back to its start.
    pub async fn reset(&self) {
        let response = self.http.delete(format!("{}/_simulator/entra", self.base)).send().await.unwrap();
        assert_eq!(response.status(), 204);
    }

    /// T1, or the refusal.
    pub async fn first(&self) -> Result<String, Value> {
        let secret = self.entra.blueprint_secret();
        let form = first_form(&[("client_secret", secret)]);
        given(self.token(&form).await)
    }

    /// T2, or the refusal.
    pub async fn second(&self, first: &str) -> Result<String, Value> {
        given(self.token(&agent_form("client_credentials", first, &[("scope", EXCHANGE_SCOPE)])).await)
    }

    /// The agent user's token by all three legs, or the refusal.
    pub async fn agent_user(&self, name: &str, scope: &str) -> Result<Value, Value> {
        let first = self.first().await?;
        let second = self.second(&first).await?;
        let more = [("scope", scope), ("username", name), ("user_federated_identity_credential", &second)];
        let (status, body) = self.token(&agent_form("user_fic", &first, &more)).await;
        if status == 200 { Ok(body) } else { Err(body) }
    }

    /// The refusal of the agent user's token for Azure DevOps.
    pub async fn agent_refusal(&self) -> u64 {
        code(&self.agent_user(AGENT_USER_UPN, ADO_SCOPE).await.unwrap_err())
    }
}

pub fn given((status, body): Answer) -> Result<String, Value> {
    match status {
        200 => Ok(body["access_token"].as_str().unwrap().to_owned()),
        _ => Err(body),
    }
}

pub fn code(body: &Value) -> u64 {
    let code = body["error_codes"][0].as_u64().unwrap_or_else(|| panic!("{body}"));
    assert!(body["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}: ")), "{body}");
    code
}

pub fn claims(token: &str) -> Map<String, Value> {
    Unchecked::read(token).unwrap().claims
}

pub fn first_form<'a>(proof: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_id", BLUEPRINT_ID),
        ("scope", EXCHANGE_SCOPE),
        ("fmi_path", AGENT_IDENTITY_ID),
    ];
    form.extend(proof);
    form
}

pub fn agent_form<'a>(
    grant: &'a str,
    first: &'a str,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut form = vec![
        ("grant_type", grant),
        ("client_id", AGENT_IDENTITY_ID),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", first),
    ];
    form.extend(more);
    form
}

/// The form with one field changed, or without it.
pub fn changed<'a>(
    form: &[(&'a str, &'a str)],
    name: &'a str,
    value: Option<&'a str>,
) -> Vec<(&'a str, &'a str)> {
    let mut form: Vec<_> = form.iter().copied().filter(|field| field.0 != name).collect();
    form.extend(value.map(|value| (name, value)));
    form
}

#[tokio::test]
async fn the_metadata_leads_to_the_keys_and_a_reset_to_the_start() {
    let bench = Bench::start().await;
    let keys = jwks::fetch(&bench.http, &format!("{}/{TENANT_ID}/v2.0", bench.base)).await.unwrap();
    let token = bench.first().await.unwrap();
    Unchecked::read(&token).unwrap().check(&keys).unwrap();
    bench.control("rotate-keys", json!({})).await;
    let newer = bench.first().await.unwrap();
    assert!(Unchecked::read(&newer).unwrap().check(&keys).is_err(), "a key that was not published yet");
    let keys = jwks::fetch(&bench.http, &format!("{}/{TENANT_ID}/v2.0", bench.base)).await.unwrap();
    assert_eq!(keys.len(), 2);
    for token in [token, newer] {
        Unchecked::read(&token).unwrap().check(&keys).unwrap();
    }
    bench.control("disable", json!({"id": AGENT_USER_UPN})).await;
    assert_eq!(bench.agent_refusal().await, 50_057);
    bench.reset().await;
    bench.agent_user(AGENT_USER_UPN, ADO_SCOPE).await.unwrap();
    let shown = bench.http.get(format!("{}/_simulator/entra", bench.base)).send().await.unwrap();
    assert!(!shown.text().await.unwrap().contains(bench.entra.blueprint_secret()), "secrets are not shown");
}
