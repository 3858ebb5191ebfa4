//! A sidecar on a free port, before a simulated Entra on another.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Map, Value};
use tower::ServiceExt as _;

use super::*;
use crate::simulator::entra::keys::text;
use crate::simulator::entra::tests::{ADO_SCOPE, Bench as Tenant, claims as decoded};
use crate::simulator::tokens::{AGENT_IDENTITY_ID, AGENT_USER_ID, AGENT_USER_UPN};

const AGENT: &str = "AgentIdentity=44444444-dddd-4ddd-8ddd-444444444444";
const USER: &str = "AgentUsername=ado-coworker@contoso.example";
const APP: &str = "optionsOverride.RequestAppToken=true";
const FORCE: &str = "optionsOverride.AcquireTokenOptions.ForceRefresh=true";

struct Bench {
    tenant: Tenant,
    base: String,
}

async fn bench(change: impl FnOnce(&mut Settings)) -> Bench {
    let tenant = Tenant::start().await;
    let mut settings = Settings::connected(tenant.clock.clone(), &tenant.entra).unwrap();
    change(&mut settings);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let service =
        router(tenant.authority.clone(), settings).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    Bench { tenant, base }
}

impl Bench {
    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.tenant.http.request(method, format!("{}{path}", self.base))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        read(self.request(reqwest::Method::GET, path)).await
    }

    async fn ask(&self, query: &str) -> (u16, Value) {
        self.get(&format!("/AuthorizationHeaderUnauthenticated/ado?{query}")).await
    }

    async fn claims(&self, query: &str) -> Map<String, Value> {
        let (status, body) = self.ask(query).await;
        assert_eq!(status, 200, "{body}");
        self.verified(&body)
    }

    fn verified(&self, body: &Value) -> Map<String, Value> {
        let header = body["authorizationHeader"].as_str().unwrap();
        self.tenant.authority.verify(header.strip_prefix("Bearer ").unwrap(), AUDIENCE_AZURE_DEVOPS).unwrap()
    }

    /// The detail of the 401 that the query meets.
    async fn refusal(&self, query: &str) -> String {
        let (status, body) = self.ask(query).await;
        assert_eq!((status, &body["title"]), (401, &json!("Unauthorized")), "{body}");
        body["detail"].as_str().unwrap().to_owned()
    }

    async fn control(&self, path: &str, body: Value) {
        let (status, answer) = read(self.request(reqwest::Method::POST, path).json(&body)).await;
        assert_eq!(status, 204, "{answer}");
    }

    /// The grants that Entra has been asked for since the last look.
    async fn grants(&self, seen: &mut usize) -> Vec<String> {
        let address = format!("{}/_simulator/entra/sign-ins", self.tenant.base);
        let (_, log) = read(self.tenant.http.get(address)).await;
        let log = log["sign_ins"].as_array().unwrap();
        let new = log[*seen..].iter().map(|own| own["grant"].as_str().unwrap().to_owned()).collect();
        *seen = log.len();
        new
    }

    async fn uti(&self, query: &str) -> String {
        text(&self.claims(query).await, "uti").to_owned()
    }
}

async fn read(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body = response.text().await.unwrap();
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

fn agent_user() -> String {
    format!("{AGENT}&{USER}")
}

#[tokio::test]
async fn an_agent_user_gets_a_token_of_its_own() {
    let bench = bench(|_| ()).await;
    let claims = bench.claims(&agent_user()).await;
    assert_eq!((text(&claims, "oid"), text(&claims, "upn")), (AGENT_USER_ID, AGENT_USER_UPN));
    assert_eq!((text(&claims, "appid"), text(&claims, "idtyp")), (AGENT_IDENTITY_ID, "user"));
    assert_eq!((text(&claims, "xms_sub_fct"), text(&claims, "xms_par_app_azp")), ("3 13", BLUEPRINT_ID));
    let by_id = bench.claims(&format!("agentidentity={AGENT_IDENTITY_ID}&AgentUserId={AGENT_USER_ID}")).await;
    assert_eq!(text(&by_id, "upn"), AGENT_USER_UPN);
    let (status, body) =
        bench.get(&format!("/AuthorizationHeaderUnauthenticated/aoai?{}", agent_user())).await;
    let header = body["authorizationHeader"].as_str().unwrap_or_else(|| panic!("{status} {body}"));
    assert!(bench.tenant.authority.verify(&header[7..], AUDIENCE_COGNITIVE_SERVICES).is_ok());
}

#[tokio::test]
async fn without_an_instance_it_starts_a_tenant_of_its_own() {
    let bench = bench(|settings| *settings = Settings::new(settings.clock.clone())).await;
    assert_eq!(text(&bench.claims(&agent_user()).await, "oid"), AGENT_USER_ID);
    assert_eq!(bench.grants(&mut 0).await.len(), 0, "the other tenant was not asked");
}

#[tokio::test]
async fn parameters_without_sense_fall_back_silently() {
    let bench = bench(|_| ()).await;
    let plain = bench.claims(&format!("AgentIdentity=&{USER}&{APP}")).await;
    assert_eq!(text(&plain, "appid"), BLUEPRINT_ID, "a blank agent ignores the user too");
    let alone = bench.claims(&format!("{USER}&{APP}")).await;
    assert_eq!((text(&alone, "appid"), text(&alone, "idtyp")), (BLUEPRINT_ID, "app"));
    let no_guid = bench.refusal(&format!("{AGENT}&AgentUserId=alice")).await;
    assert!(no_guid.starts_with("No account or login hint"), "{no_guid}");
    let as_app = bench.claims(&format!("{AGENT}&AgentUserId=alice&{APP}")).await;
    assert_eq!((text(&as_app, "oid"), text(&as_app, "idtyp")), (AGENT_IDENTITY_ID, "app"));
    let both =
        bench.claims(&format!("{AGENT}&{USER}&AgentUserId=00000000-0000-4000-8000-000000000000")).await;
    assert_eq!(text(&both, "oid"), AGENT_USER_ID, "the name wins");
    let scope = "optionsOverride.Scopes=api://AzureADTokenExchange/.default";
    let path = format!("{APP}&{scope}&optionsOverride.AcquireTokenOptions.FmiPath={AGENT_IDENTITY_ID}");
    let (_, body) = bench.ask(&path).await;
    let exchange = decoded(&body["authorizationHeader"].as_str().unwrap()[7..]);
    assert!(text(&exchange, "sub").ends_with(AGENT_IDENTITY_ID));
    let forced_app = bench.claims(&format!("{}&{APP}", agent_user())).await;
    assert_eq!(text(&forced_app, "oid"), AGENT_IDENTITY_ID, "the application's path is forced");
}

#[tokio::test]
async fn a_closed_gate_drops_the_agent_without_an_error() {
    let bench = bench(|settings| settings.allow_overrides_unauthenticated = false).await;
    assert!(bench.refusal(&agent_user()).await.starts_with("No account"));
    bench.control("/_simulator/configure", json!({"profile": "ado", "request_app_token": true})).await;
    assert_eq!(text(&bench.claims(&agent_user()).await, "appid"), BLUEPRINT_ID);
    // Version 1.0.0 has no gates.
    bench
        .control(
            "/_simulator/configure",
            json!({"version": "1.0.0", "profile": "ado", "request_app_token": false}),
        )
        .await;
    let path = format!("/AuthorizationHeaderUnauthenticated/ado?{}", agent_user());
    let (status, body) = read(bench.request(reqwest::Method::GET, &path).header("Host", "localhost")).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(text(&bench.verified(&body), "oid"), AGENT_USER_ID);
}

#[tokio::test]
async fn refusals_have_the_shape_of_the_real_ones() {
    let bench = bench(|_| ()).await;
    let (status, body) =
        bench.get(&format!("/AuthorizationHeaderUnauthenticated/ado2?{}", agent_user())).await;
    assert_eq!((status, &body["title"], &body["status"]), (400, &json!("Bad Request"), &json!(400)));
    assert!(body["detail"].as_str().unwrap().starts_with("No scopes found for the API 'ado2'"));
    let response = bench.request(reqwest::Method::GET, "/AuthorizationHeader/ado").send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["www-authenticate"]),
        (401, &"Bearer".parse().unwrap())
    );
    let response =
        bench.request(reqwest::Method::GET, "/Validate").bearer_auth("nonsense").send().await.unwrap();
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{challenge}");
    assert_eq!(bench.get("/AuthorizationHeader").await.0, 404);
    assert_eq!(read(bench.request(reqwest::Method::POST, "/AuthorizationHeader/ado")).await.0, 405);
    assert_eq!(read(bench.request(reqwest::Method::GET, "/DownstreamApi/ado")).await.0, 405);
}

#[tokio::test]
async fn entras_refusals_come_through_as_401_with_its_words() {
    let bench =
        bench(|settings| settings.credentials.push(Credential::Secret("second, never tried".into()))).await;
    for (query, what, body, expected) in [
        (
            agent_user(),
            "revoke-grant",
            json!({"resource": AUDIENCE_AZURE_DEVOPS}),
            "AADSTS65001: The user or administrator has not consented",
        ),
        (agent_user(), "disable", json!({"id": AGENT_USER_UPN}), "AADSTS50057: "),
        (agent_user(), "disable", json!({"id": BLUEPRINT_ID}), "AADSTS7000112: "),
        (agent_user(), "conditional-access", json!({"control": "block"}), "AADSTS53003: "),
        (agent_user(), "remove-principal", json!({"id": AUDIENCE_AZURE_DEVOPS}), "AADSTS500011: "),
        (agent_user(), "expire-secret", json!({}), "A configuration issue is preventing authentication"),
        (
            format!("{AGENT}&AgentUsername=nobody@contoso.example"),
            "enable",
            json!({"id": BLUEPRINT_ID}),
            "AADSTS50034: ",
        ),
        (
            format!("AgentIdentity=12345678-aaaa-4aaa-8aaa-111111111111&{USER}"),
            "enable",
            json!({"id": BLUEPRINT_ID}),
            "AADSTS700016: ",
        ),
        (
            format!("{}&optionsOverride.AcquireTokenOptions.Tenant=invalid-tenant", agent_user()),
            "enable",
            json!({"id": BLUEPRINT_ID}),
            "AADSTS90002: ",
        ),
    ] {
        bench.tenant.reset().await;
        bench.control("/_simulator/restart", json!({})).await;
        bench.tenant.control(what, body).await;
        let detail = bench.refusal(&query).await;
        assert!(detail.starts_with(expected), "{what}: {detail}");
        assert!(detail.contains("Trace ID: ") && detail.contains("Correlation ID: "), "{detail}");
    }
    bench.tenant.reset().await;
    bench.control("/_simulator/configure", json!({"client_secret": "wrong"})).await;
    let detail = bench.refusal(&agent_user()).await;
    assert!(detail.contains("for details.  Original exception: AADSTS7000215: "), "{detail}");
}

#[tokio::test]
async fn what_is_wrong_with_the_sidecar_itself_is_only_in_its_log() {
    let file = Credential::AssertionFile("/nonexistent/token".into());
    let bench = bench(|settings| settings.credentials = vec![file]).await;
    for change in [json!({}), json!({"instance": "http://127.0.0.1:9", "client_secret": "any"})] {
        bench.control("/_simulator/configure", change).await;
        let (status, body) = bench.ask(&agent_user()).await;
        assert_eq!((status, &body["detail"]), (500, &json!("An unexpected error occurred.")));
    }
}

#[tokio::test]
async fn federated_credentials_take_the_place_of_the_secret() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_owned();
    let bench = bench(|settings| settings.credentials = vec![Credential::AssertionFile(path)]).await;
    let tenant = &bench.tenant;
    let address = format!("{}/_simulator/entra/cluster-token", tenant.base);
    let account = json!({"namespace": "agents", "service_account": "coworker"});
    let (_, token) = read(tenant.http.post(address).json(&account)).await;
    std::fs::write(file.path(), token["token"].as_str().unwrap()).unwrap();
    assert!(bench.refusal(&agent_user()).await.contains("AADSTS70021: "));
    tenant.federate(&format!("{}/cluster", tenant.base), "system:serviceaccount:agents:coworker").await;
    assert_eq!(text(&bench.claims(&agent_user()).await, "oid"), AGENT_USER_ID);
}

#[tokio::test]
async fn a_managed_identity_takes_the_place_of_the_secret() {
    let tenant = Tenant::start().await;
    let host = Url::parse(&format!("{}/metadata/identity/oauth2/token", tenant.base)).unwrap();
    let mut settings = Settings::connected(tenant.clock.clone(), &tenant.entra).unwrap();
    settings.credentials = vec![Credential::ManagedIdentity(host)];
    let issuer = format!("https://login.microsoftonline.com/{TENANT_ID}/v2.0");
    tenant.federate(&issuer, crate::simulator::entra::tests::MANAGED_IDENTITY_ID).await;
    let query = format!("/AuthorizationHeaderUnauthenticated/ado?{}", agent_user());
    let request = axum::http::Request::get(query).body(axum::body::Body::empty()).unwrap();
    let response = router(tenant.authority.clone(), settings).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_caller_of_the_blueprint_is_let_in_at_the_authenticated_routes() {
    let bench = bench(|_| ()).await;
    let person = bench.tenant.signed_in("alice", &format!("api://{BLUEPRINT_ID}/access_as_user")).await;
    let path = format!("/AuthorizationHeader/ado?{AGENT}");
    let response = bench.request(reqwest::Method::GET, &path).bearer_auth(&person).send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-cache, no-store, must-revalidate");
    let obo = bench.verified(&response.json().await.unwrap());
    assert_eq!((text(&obo, "upn"), text(&obo, "appid")), ("alice@contoso.example", AGENT_IDENTITY_ID));
    // With an agent user named, who calls does not matter.
    let path = format!("/AuthorizationHeader/ado?{}", agent_user());
    let (_, body) = read(bench.request(reqwest::Method::GET, &path).bearer_auth(&person)).await;
    assert_eq!(text(&bench.verified(&body), "oid"), AGENT_USER_ID);
    // Without an agent it is the blueprint that acts for the person, and nobody has granted that.
    let (status, body) =
        read(bench.request(reqwest::Method::GET, "/AuthorizationHeader/ado").bearer_auth(&person)).await;
    assert!(status == 401 && body["detail"].as_str().unwrap().starts_with("AADSTS65001: "), "{body}");
    let (status, body) = read(bench.request(reqwest::Method::GET, "/Validate").bearer_auth(&person)).await;
    assert_eq!((status, &body["protocol"], &body["token"]), (200, &json!("Bearer"), &json!(person)));
    assert_eq!(body["claims"]["preferred_username"], "alice@contoso.example");
    let other = bench.tenant.signed_in("alice", ADO_SCOPE).await;
    assert_eq!(read(bench.request(reqwest::Method::GET, "/Validate").bearer_auth(&other)).await.0, 401);
    // The keys are fetched again when the tenant has rotated them.
    bench.tenant.control("rotate-keys", json!({})).await;
    let newer = bench.tenant.signed_in("bob", &format!("api://{BLUEPRINT_ID}/access_as_user")).await;
    assert_eq!(read(bench.request(reqwest::Method::GET, "/Validate").bearer_auth(&newer)).await.0, 200);
    bench.tenant.clock.advance(Duration::from_secs(2 * 3_600));
    assert_eq!(read(bench.request(reqwest::Method::GET, "/Validate").bearer_auth(&newer)).await.0, 401);
}

#[tokio::test]
async fn version_1_1_answers_this_machine_only_and_everybody_about_health() {
    let tenant = Tenant::start().await;
    let settings = Settings::connected(tenant.clock.clone(), &tenant.entra).unwrap();
    let router = router(tenant.authority.clone(), settings);
    let status = async |path: &str, ip: &str| {
        let address: SocketAddr = format!("{ip}:9").parse().unwrap();
        let request = axum::http::Request::get(path).extension(axum::extract::ConnectInfo(address));
        let request = request.body(axum::body::Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    let path = format!("/AuthorizationHeaderUnauthenticated/ado?{}", agent_user());
    assert_eq!(status(&path, "10.0.0.7").await, 403);
    assert_eq!(status("/Validate", "10.0.0.7").await, 403);
    assert_eq!(status(&path, "127.0.0.9").await, 200);
    assert_eq!(status(&path, "[::ffff:127.0.0.1]").await, 200);
    assert_eq!(status("/healthz", "10.0.0.7").await, 200);
}

#[tokio::test]
async fn version_1_0_0_answers_to_localhost_only() {
    let bench = bench(|settings| settings.version = Version::V1_0_0).await;
    for path in ["/healthz".to_owned(), format!("/AuthorizationHeaderUnauthenticated/ado?{}", agent_user())] {
        let (status, body) = bench.get(&path).await;
        assert!(status == 400 && body.as_str().unwrap().contains("Invalid Hostname"), "{path}: {body}");
        for host in ["localhost", "localhost:5000"] {
            let request = bench.request(reqwest::Method::GET, &path).header("Host", host);
            assert_eq!(read(request).await.0, 200, "{path}");
        }
    }
    assert_eq!(
        read(bench.request(reqwest::Method::GET, "/openapi/v1.json").header("Host", "localhost")).await.0,
        404
    );
    bench.control("/_simulator/configure", json!({"development": true})).await;
    assert_eq!(bench.get("/healthz").await.0, 200);
    let (status, described) = bench.get("/openapi/v1.json").await;
    assert_eq!((status, &described["openapi"]), (200, &json!("3.0.1")));
}

#[tokio::test]
async fn version_1_0_0_has_no_gates_and_honours_another_address() {
    let closed = |version| {
        move |settings: &mut Settings| {
            settings.version = version;
            settings.allow_overrides_unauthenticated = false;
            settings.allow_downstream_overrides_unauthenticated = false;
            let base = settings.instance.clone().unwrap().join("v1.0/").unwrap();
            let me = settings.profiles.iter_mut().find(|profile| profile.name == "me").unwrap();
            me.base_url = Some(base);
        }
    };
    let path = format!("/AuthorizationHeaderUnauthenticated/ado?{}", agent_user());
    // What 1.1 drops in silence, 1.0.0 does.
    let first = bench(closed(Version::V1_0_0)).await;
    let local = |path: &str| first.request(reqwest::Method::GET, path).header("Host", "localhost");
    let (status, body) = read(local(&path)).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(first.verified(&body)["oid"], AGENT_USER_ID);
    let later = bench(closed(Version::V1_1)).await;
    let (status, body) = later.get(&path).await;
    assert!(status == 401 && body["detail"].as_str().unwrap().starts_with("No account"), "{body}");
    // A caller may send 1.0.0's call, with its token, to an address of its own; later ones ignore it.
    let to = |base: &str| {
        format!("/DownstreamApiUnauthenticated/me?{}&optionsOverride.BaseUrl={base}", agent_user())
    };
    let elsewhere = to("http://127.0.0.1:1/");
    let astray = first.request(reqwest::Method::POST, &elsewhere).header("Host", "localhost");
    assert_eq!(read(astray).await.0, 500, "it went where it was sent, and nobody was there");
    let open = |settings: &mut Settings| {
        closed(Version::V1_1)(settings);
        settings.allow_downstream_overrides_unauthenticated = true;
    };
    let open = bench(open).await;
    let path = format!("{elsewhere}&optionsOverride.RelativePath=me");
    let (status, body) = read(open.request(reqwest::Method::POST, &path)).await;
    assert_eq!((status, &body["statusCode"]), (200, &json!(200)), "{body}");
}

#[tokio::test]
async fn tokens_are_kept_until_refresh_or_expiry() {
    let bench = bench(|_| ()).await;
    let query = agent_user();
    let first = bench.uti(&query).await;
    assert_eq!(bench.uti(&query).await, first);
    assert_ne!(
        bench.uti(&format!("{AGENT}&AgentUserId={AGENT_USER_ID}")).await,
        first,
        "name and id are two entries"
    );
    let forced = bench.uti(&format!("{query}&{FORCE}")).await;
    assert_ne!(forced, first);
    bench.tenant.clock.advance(Duration::from_secs(2 * 3_600));
    assert_ne!(bench.uti(&query).await, forced);
    bench.control("/_simulator/configure", json!({"version": "1.0.0", "development": true})).await;
    assert_ne!(bench.uti(&query).await, bench.uti(&query).await, "1.0.0 keeps no user's token");
}

#[tokio::test]
async fn a_kept_token_outlives_a_revoked_grant_until_a_refresh() {
    let bench = bench(|_| ()).await;
    let query = agent_user();
    let first = bench.uti(&query).await;
    bench.tenant.control("revoke-grant", json!({"resource": AUDIENCE_AZURE_DEVOPS})).await;
    assert_eq!(bench.uti(&query).await, first);
    assert!(bench.refusal(&format!("{query}&{FORCE}")).await.starts_with("AADSTS65001: "));
    bench.control("/_simulator/restart", json!({})).await;
    assert!(bench.refusal(&query).await.starts_with("AADSTS65001: "));
}

#[tokio::test]
async fn an_expired_token_is_refreshed_silently_and_else_by_the_legs() {
    let bench = bench(|_| ()).await;
    let query = agent_user();
    let mut seen = 0;
    bench.claims(&query).await;
    assert_eq!(bench.grants(&mut seen).await, ["client_credentials", "client_credentials", "user_fic"]);
    bench.claims(&format!("{query}&{FORCE}")).await;
    assert_eq!(bench.grants(&mut seen).await, ["user_fic"], "the exchange tokens are kept");
    bench.tenant.clock.advance(Duration::from_secs(2 * 3_600));
    bench.claims(&query).await;
    assert_eq!(bench.grants(&mut seen).await, ["client_credentials", "refresh_token"]);
    // Revoked sessions end the refresh token; the three legs still work.
    bench.tenant.control("revoke-sessions", json!({"user": AGENT_USER_UPN})).await;
    bench.tenant.clock.advance(Duration::from_secs(2 * 3_600));
    bench.claims(&query).await;
    let all = ["client_credentials", "refresh_token", "client_credentials", "user_fic"];
    assert_eq!(bench.grants(&mut seen).await, all);
    // The first leg is asked again after its hour, and then an expired secret is noticed.
    bench.tenant.control("expire-secret", json!({})).await;
    bench.claims(&query).await;
    bench.tenant.clock.advance(Duration::from_secs(2 * 3_600));
    assert!(bench.refusal(&query).await.contains("AADSTS7000222: "));
}

#[tokio::test]
async fn a_downstream_call_is_made_by_the_sidecar_and_mostly_lost() {
    let graph = |settings: &mut Settings| {
        let base = settings.instance.clone().unwrap().join("v1.0/").unwrap();
        let me = settings.profiles.iter_mut().find(|profile| profile.name == "me").unwrap();
        me.base_url = Some(base);
        settings.allow_downstream_overrides_unauthenticated = true;
    };
    let bench = bench(graph).await;
    let path = |relative: &str| {
        format!("/DownstreamApiUnauthenticated/me?{}&optionsOverride.RelativePath={relative}", agent_user())
    };
    let (status, body) = read(bench.request(reqwest::Method::POST, &path("me"))).await;
    assert_eq!((status, &body["statusCode"]), (200, &json!(200)), "{body}");
    let me: Value = serde_json::from_str(body["content"].as_str().unwrap()).unwrap();
    assert_eq!(me["id"], AGENT_USER_ID);
    assert_eq!(body["headers"]["Content-Type"], json!(["application/json"]));
    assert!(body["headers"].get("request-id").is_none() && body["headers"].get("Request-Id").is_none());
    let (status, body) = read(bench.request(reqwest::Method::POST, &path("users"))).await;
    assert_eq!((status, &body["statusCode"]), (200, &json!(403)), "a refusal downstream is no refusal here");
    let ado = format!("/DownstreamApiUnauthenticated/ado?{}", agent_user());
    assert_eq!(read(bench.request(reqwest::Method::POST, &ado)).await.0, 500, "no BaseUrl");
}

#[tokio::test]
async fn a_test_can_expire_break_and_mend() {
    let bench = bench(|_| ()).await;
    let query = agent_user();
    let (_, before) = bench.ask(&query).await;
    bench.control("/_simulator/expire", json!({"lifetime_seconds": 10})).await;
    let old = &before["authorizationHeader"].as_str().unwrap()[7..];
    assert!(bench.tenant.authority.verify(old, AUDIENCE_AZURE_DEVOPS).is_err());
    assert_eq!(text(&decoded(old), "oid"), AGENT_USER_ID);
    let claims = bench.claims(&query).await;
    assert_eq!(claims["exp"].as_i64().unwrap(), bench.tenant.clock.now().as_second() + 10);
    bench.control("/_simulator/break", json!({"times": 1, "aadsts": 7_000_215})).await;
    assert!(bench.refusal(&query).await.contains("Original exception: AADSTS7000215"));
    assert_eq!(bench.ask(&query).await.0, 200);
    bench.control("/_simulator/break", json!({"times": 2})).await;
    assert_eq!(bench.ask(&query).await.0, 500);
    bench.control("/_simulator/configure", json!({"foreign_callers": true, "remove_profile": "aoai"})).await;
    assert_eq!(bench.ask(&query).await, (403, json!("")));
    assert_eq!(read(bench.request(reqwest::Method::DELETE, "/_simulator")).await.0, 204);
    assert_eq!(bench.ask(&query).await.0, 200);
    assert_eq!(bench.get(&format!("/AuthorizationHeaderUnauthenticated/aoai?{query}")).await.0, 200);
    // A fault of Entra that passes is met with one more try.
    bench.control("/_simulator/restart", json!({})).await;
    bench.tenant.control("fail", json!({"aadsts": 50_000, "times": 5})).await;
    let clock = bench.tenant.clock.clone();
    let ticking = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            clock.advance(Duration::from_millis(100));
        }
    });
    assert!(bench.refusal(&query).await.starts_with("AADSTS50000: "));
    bench.tenant.control("fail", json!({"aadsts": 90_033, "times": 1})).await;
    assert_eq!(bench.ask(&query).await.0, 200);
    ticking.abort();
}
