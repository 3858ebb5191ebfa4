//! Each refusal that a newcomer can meet (TOKENS.md §6), and the order of the checks.

use std::time::Duration;

use super::*;
use crate::simulator::entra::seed::SIGN_IN_CLIENT_ID;
use crate::simulator::tokens::{AGENT_USER_ID, AUDIENCE_AZURE_DEVOPS};

const CLUSTER_SUBJECT: &str = "system:serviceaccount:agents:coworker";

#[tokio::test]
async fn a_refusal_has_the_documented_shape() {
    let bench = Bench::start().await;
    let form = first_form(&[("client_secret", "wrong")]);
    let correlation = uuid::Uuid::new_v4().to_string();
    let address = format!("{}/{TENANT_ID}/oauth2/v2.0/token", bench.base);
    let request = bench.http.post(address).header("client-request-id", &correlation).form(&form);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 401);
    let body: Value = response.json().await.unwrap();
    assert_eq!((code(&body), body["error"].as_str()), (7_000_215, Some("invalid_client")));
    assert_eq!(body["correlation_id"], correlation);
    assert_eq!(body["timestamp"], "2026-11-21 10:00:00Z");
    let words = body["error_description"].as_str().unwrap();
    let trace = body["trace_id"].as_str().unwrap();
    assert!(words.contains(&format!("Trace ID: {trace} Correlation ID: {correlation}")), "{words}");
    assert!(words.contains(BLUEPRINT_ID) && !words.contains("wrong"), "{words}");
}

#[tokio::test]
async fn requests_that_are_not_right_for_any_leg() {
    let bench = Bench::start().await;
    let form = first_form(&[("client_secret", bench.entra.blueprint_secret())]);
    for (tenant, expected) in [("99999999-aaaa-4aaa-8aaa-111111111111", 90_002), ("common", 50_194)] {
        let (_, body) = bench.post(&format!("/{tenant}/oauth2/v2.0/token"), &form).await;
        assert_eq!(code(&body), expected);
    }
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    for (name, value, expected) in [
        ("grant_type", None, 900_144),
        ("grant_type", Some("password"), 70_003),
        ("grant_type", Some(exchange), 82_001),
        ("client_id", None, 900_144),
        ("client_id", Some("12345678-aaaa-4aaa-8aaa-111111111111"), 700_016),
        ("client_id", Some(SIGN_IN_CLIENT_ID), 700_025),
        ("client_secret", None, 7_000_216),
        ("client_secret", Some("the id of the secret"), 7_000_215),
        ("scope", None, 900_144),
        ("scope", Some("api://AzureADTokenExchange"), 1_002_012),
        ("scope", Some("12345678-aaaa-4aaa-8aaa-111111111111/.default"), 500_011),
        ("fmi_path", None, 900_144),
        ("fmi_path", Some(""), 900_144),
        ("fmi_path", Some("12345678-aaaa-4aaa-8aaa-111111111111"), 700_016),
    ] {
        assert_eq!(bench.refusal(&changed(&form, name, value)).await, expected, "{name} {value:?}");
    }
    // The first check that fails decides: an unknown client comes before a missing secret.
    let both = changed(&changed(&form, "client_secret", None), "client_id", Some("unknown"));
    assert_eq!(bench.refusal(&both).await, 700_016);
}

#[tokio::test]
async fn a_secret_expires() {
    let bench = Bench::start().await;
    bench.first().await.unwrap();
    bench.control("expire-secret", json!({})).await;
    assert_eq!(code(&bench.first().await.unwrap_err()), 7_000_222);
}

#[tokio::test]
async fn the_agent_identity_proves_itself_by_its_blueprints_token_only() {
    let bench = Bench::start().await;
    let first = bench.first().await.unwrap();
    let second = bench.second(&first).await.unwrap();
    let form = agent_form("client_credentials", &first, &[("scope", ADO_SCOPE)]);
    let with = |token| changed(&form, "client_assertion", Some(token));
    assert_eq!(bench.refusal(&with("nonsense")).await, 50_027);
    // T2 is of the right audience, but its subject is no path to this agent.
    assert_eq!(bench.refusal(&with(&second)).await, 7_002_137);
    let stranger = Authority::new(bench.clock.clone()).unwrap().sign(claims(&first));
    assert_eq!(bench.refusal(&with(&stranger)).await, 700_027);
    let plain = changed(&changed(&form, "client_assertion", None), "client_secret", Some("any"));
    assert_eq!(bench.refusal(&plain).await, 7_000_215);
    bench.clock.advance(Duration::from_secs(3_600));
    assert_eq!(bench.refusal(&form).await, 700_024);
}

#[tokio::test]
async fn the_agent_users_leg_checks_both_tokens_and_the_user() {
    let bench = Bench::start().await;
    let first = bench.first().await.unwrap();
    let second = bench.second(&first).await.unwrap();
    let more =
        [("scope", ADO_SCOPE), ("username", AGENT_USER_UPN), ("user_federated_identity_credential", &second)];
    let form = agent_form("user_fic", &first, &more);
    assert_eq!(bench.token(&form).await.0, 200);
    for (name, value, expected) in [
        ("user_federated_identity_credential", None, 900_144),
        ("user_federated_identity_credential", Some(first.as_str()), 50_013),
        ("user_federated_identity_credential", Some("nonsense"), 50_027),
        ("username", None, 900_144),
        ("username", Some("nobody@contoso.example"), 50_034),
        // A person is not this agent's user.
        ("username", Some("alice@contoso.example"), 50_105),
        ("scope", Some("499b84ac-1321-427f-aa17-267ca6975798"), 70_011),
        ("scope", Some("499b84ac-1321-427f-aa17-267ca6975798/vso.code"), 65_001),
        (
            "scope",
            Some("https://graph.microsoft.com/.default https://cognitiveservices.azure.com/.default"),
            700_022,
        ),
    ] {
        assert_eq!(bench.refusal(&changed(&form, name, value)).await, expected, "{name} {value:?}");
    }
    let mut by_id = changed(&form, "username", None);
    by_id.push(("user_id", AGENT_USER_UPN));
    let (status, body) = bench.token(&by_id).await;
    assert_eq!((status, code(&body), body["error"].as_str()), (500, 50_000, Some("server_error")));
    by_id = changed(&by_id, "user_id", Some(AGENT_USER_ID));
    assert_eq!(bench.token(&by_id).await.0, 200);
    // A blueprint has no users.
    let secret = [("client_secret", bench.entra.blueprint_secret())];
    let own = changed(&first_form(&secret), "grant_type", Some("user_fic"));
    assert_eq!(bench.refusal(&own).await, 82_001);
}

#[tokio::test]
async fn what_an_administrator_switches_off_stays_off() {
    let bench = Bench::start().await;
    for (what, body, expected) in [
        ("disable", json!({"id": BLUEPRINT_ID}), 7_000_112),
        ("disable", json!({"id": AGENT_IDENTITY_ID}), 7_000_112),
        ("disable", json!({"id": AGENT_USER_UPN}), 50_057),
        ("revoke-grant", json!({"resource": AUDIENCE_AZURE_DEVOPS, "user": AGENT_USER_UPN}), 65_001),
        ("remove-principal", json!({"id": AUDIENCE_AZURE_DEVOPS}), 500_011),
        ("remove-principal", json!({"id": BLUEPRINT_ID}), 700_016),
        ("disable", json!({"id": AUDIENCE_AZURE_DEVOPS}), 50_001),
        ("require-assignment", json!({"id": AUDIENCE_AZURE_DEVOPS}), 50_105),
        ("conditional-access", json!({"control": "block"}), 53_003),
        ("conditional-access", json!({"id": AGENT_USER_ID, "control": "mfa"}), 50_076),
        ("fail", json!({"aadsts": 90_033}), 90_033),
    ] {
        bench.reset().await;
        bench.agent_user(AGENT_USER_UPN, ADO_SCOPE).await.unwrap();
        bench.control(what, body).await;
        assert_eq!(bench.agent_refusal().await, expected, "{what}");
    }
}

#[tokio::test]
async fn blocking_a_blueprints_children_leaves_others_alone() {
    let bench = Bench::start().await;
    bench.control("conditional-access", json!({"blueprint": BLUEPRINT_ID, "control": "block"})).await;
    let first = bench.first().await.unwrap();
    assert_eq!(code(&bench.second(&first).await.unwrap_err()), 53_003);
    let form = agent_form("client_credentials", &first, &[("scope", ADO_SCOPE)]);
    assert_eq!(bench.refusal(&form).await, 53_003);
    bench.signed_in("bob", ADO_SCOPE).await;
}

impl Bench {
    pub async fn federate(&self, issuer: &str, subject: &str) {
        let mut state = self.entra.lock();
        let now = self.clock.now();
        let blueprint = state.directory.application_mut(BLUEPRINT_ID, now).unwrap();
        blueprint.federated.push(crate::simulator::entra::directory::Federated {
            id: uuid::Uuid::new_v4().to_string(),
            name: subject.into(),
            issuer: issuer.into(),
            subject: subject.into(),
            audience: "api://AzureADTokenExchange".into(),
            since: now,
        });
    }

    async fn projected(&self, body: Value) -> String {
        let address = format!("{}/_simulator/entra/cluster-token", self.base);
        let answer: Value = self.http.post(address).json(&body).send().await.unwrap().json().await.unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    async fn federated(&self, token: &str) -> Result<String, Value> {
        let proof = [("client_assertion_type", JWT_BEARER), ("client_assertion", token)];
        given(self.token(&first_form(&proof)).await)
    }

    async fn federated_refusal(&self, token: &str) -> u64 {
        code(&self.federated(token).await.unwrap_err())
    }
}

#[tokio::test]
async fn a_clusters_token_is_checked_by_the_clusters_published_keys() {
    let bench = Bench::start().await;
    let issuer = format!("{}/cluster", bench.base);
    let own = json!({"namespace": "agents", "service_account": "coworker"});
    let token = bench.projected(own.clone()).await;
    assert_eq!(bench.federated_refusal(&token).await, 70_021);
    bench.federate("https://other.example", CLUSTER_SUBJECT).await;
    assert_eq!(bench.federated_refusal(&token).await, 700_211);
    bench.federate(&issuer, CLUSTER_SUBJECT).await;
    let t1 = bench.federated(&token).await.unwrap();
    assert_eq!(claims(&t1)["azpacr"], "2");
    let other = bench.projected(json!({"namespace": "agents", "service_account": "other"})).await;
    assert_eq!(bench.federated_refusal(&other).await, 700_213);
    let mut wrong = own.clone();
    wrong["audience"] = json!("https://kubernetes.default.svc");
    assert_eq!(bench.federated_refusal(&bench.projected(wrong).await).await, 700_212);
    let mut short = own;
    short["seconds"] = json!(60);
    let short = bench.projected(short).await;
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(bench.federated_refusal(&short).await, 700_024);
    // The cluster that signs is not the one that publishes.
    let stranger = Authority::new(bench.clock.clone()).unwrap().sign(claims(&token));
    assert_eq!(bench.federated_refusal(&stranger).await, 7_000_272);
}

#[tokio::test]
async fn a_managed_identity_is_known_by_its_object_id() {
    let bench = Bench::start().await;
    let address = format!(
        "{}/metadata/identity/oauth2/token?api-version=2019-08-01&resource=api://AzureADTokenExchange",
        bench.base
    );
    assert_eq!(bench.http.get(&address).send().await.unwrap().status(), 400);
    let answer = bench.http.get(&address).header("Metadata", "true").send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let issuer = format!("https://login.microsoftonline.com/{TENANT_ID}/v2.0");
    bench.federate(&issuer, "not the object id").await;
    assert_eq!(bench.federated_refusal(token).await, 700_223);
    let person = bench.signed_in("bob", &format!("api://{BLUEPRINT_ID}/access_as_user")).await;
    assert_eq!(bench.federated_refusal(&person).await, 700_229);
    let first = bench.first().await.unwrap();
    assert_eq!(bench.federated_refusal(&first).await, 7_002_137);
    bench.federate(&issuer, MANAGED_IDENTITY_ID).await;
    bench.federated(token).await.unwrap();
}
