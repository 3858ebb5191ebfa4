use axum::body::Body;
use tower::ServiceExt as _;

use super::*;

const AGENT: &str = "AgentIdentity=44444444-dddd-4ddd-8ddd-444444444444";
const USER: &str = "AgentUsername=ado-coworker@contoso.example";

struct Bench {
    router: Router,
    authority: Arc<Authority>,
    clock: Clock,
}

fn bench(change: impl FnOnce(&mut Settings)) -> Bench {
    let clock = Clock::stepped(jiff::Timestamp::UNIX_EPOCH);
    let authority = Authority::new(clock.clone()).unwrap();
    let mut settings = Settings::new(clock.clone());
    change(&mut settings);
    Bench { router: router(authority.clone(), settings), authority, clock }
}

impl Bench {
    async fn send(
        &self,
        request: axum::http::request::Builder,
        body: &str,
    ) -> (StatusCode, HeaderMap, Value) {
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.send(axum::http::Request::get(path), "").await;
        (status, body)
    }

    async fn claims(&self, query: &str) -> Map<String, Value> {
        let (status, body) = self.get(&format!("/AuthorizationHeaderUnauthenticated/ado?{query}")).await;
        assert_eq!(status, 200, "{body}");
        let header = body["authorizationHeader"].as_str().unwrap().to_owned();
        self.authority.verify(header.strip_prefix("Bearer ").unwrap(), AUDIENCE_AZURE_DEVOPS).unwrap()
    }

    async fn control(&self, path: &str, body: &str) {
        let request = axum::http::Request::post(path).header("content-type", "application/json");
        assert_eq!(self.send(request, body).await.0, 204);
    }
}

#[tokio::test]
async fn an_agent_user_gets_a_token_of_its_own() {
    let bench = bench(|_| ());
    let claims = bench.claims(&format!("{AGENT}&{USER}")).await;
    let text = |name| text_of(&claims, name);
    assert_eq!((text("oid"), text("upn")), (AGENT_USER_ID, AGENT_USER_UPN));
    assert_eq!((text("appid"), text("idtyp")), (AGENT_IDENTITY_ID, "user"));
    assert_eq!((text("xms_sub_fct"), text("xms_par_app_azp")), ("3 13", BLUEPRINT_ID));
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!((3_600..=5_400).contains(&life));
    let by_id = bench.claims(&format!("agentidentity={AGENT_IDENTITY_ID}&AgentUserId={AGENT_USER_ID}")).await;
    assert_eq!(text_of(&by_id, "upn"), AGENT_USER_UPN);
}

fn text_of<'a>(claims: &'a Map<String, Value>, name: &str) -> &'a str {
    claims.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[tokio::test]
async fn parameters_without_sense_fall_back_silently() {
    let bench = bench(|_| ());
    let app = "optionsOverride.RequestAppToken=true";
    let plain = bench.claims(&format!("AgentIdentity=&{USER}&{app}")).await;
    assert_eq!(text_of(&plain, "oid"), BLUEPRINT_ID, "a blank agent ignores the user too");
    let no_guid = format!("/AuthorizationHeaderUnauthenticated/ado?{AGENT}&AgentUserId=alice");
    let (status, body) = bench.get(&no_guid).await;
    assert_eq!(status, 401);
    assert!(body["detail"].as_str().unwrap().starts_with("No account"), "{body}");
    let both =
        bench.claims(&format!("{AGENT}&{USER}&AgentUserId=00000000-0000-4000-8000-000000000000")).await;
    assert_eq!(text_of(&both, "oid"), AGENT_USER_ID, "the name wins");
    assert_eq!(text_of(&bench.claims(&format!("{AGENT}&{app}")).await, "idtyp"), "app");
}

#[tokio::test]
async fn a_closed_gate_drops_the_agent_without_an_error() {
    let bench = bench(|settings| {
        settings.allow_overrides_unauthenticated = false;
        settings.profiles[0].request_app_token = true;
    });
    assert_eq!(text_of(&bench.claims(&format!("{AGENT}&{USER}")).await, "oid"), BLUEPRINT_ID);
}

#[tokio::test]
async fn refusals_have_the_shape_of_the_real_ones() {
    let bench = bench(|_| ());
    let (status, body) = bench.get(&format!("/AuthorizationHeaderUnauthenticated/ado2?{AGENT}&{USER}")).await;
    assert_eq!((status, &body["title"]), (StatusCode::BAD_REQUEST, &json!("Bad Request")));
    assert!(body["detail"].as_str().unwrap().starts_with("No scopes found for the API 'ado2'"));
    let (status, body) =
        bench.get(&format!("/AuthorizationHeaderUnauthenticated/ado?{AGENT}&AgentUsername=x@y")).await;
    assert!(status == 401 && body["detail"].as_str().unwrap().starts_with("AADSTS50034: "), "{body}");
    let (status, headers, _) = bench.send(axum::http::Request::get("/AuthorizationHeader/ado"), "").await;
    assert_eq!(
        (status, &headers["www-authenticate"]),
        (StatusCode::UNAUTHORIZED, &"Bearer".parse().unwrap())
    );
    assert_eq!(bench.get("/AuthorizationHeader").await.0, 404);
    assert_eq!(bench.send(axum::http::Request::post("/AuthorizationHeader/ado"), "").await.0, 405);
}

#[tokio::test]
async fn a_caller_of_the_blueprint_is_let_in_at_the_authenticated_route() {
    let bench = bench(|_| ());
    let claims = json!({"aud": format!("api://{BLUEPRINT_ID}"), "idtyp": "user", "oid": "o-alice", "upn": "alice@contoso.example"});
    let Value::Object(claims) = claims else { unreachable!() };
    let token = bench.authority.mint(claims, 600);
    let request = axum::http::Request::get(format!("/AuthorizationHeader/ado?{AGENT}"));
    let (status, headers, body) =
        bench.send(request.header("authorization", format!("Bearer {token}")), "").await;
    assert_eq!(
        (status, &headers["cache-control"]),
        (StatusCode::OK, &"no-cache, no-store, must-revalidate".parse().unwrap())
    );
    let header = body["authorizationHeader"].as_str().unwrap();
    let obo = bench.authority.verify(&header[7..], AUDIENCE_AZURE_DEVOPS).unwrap();
    assert_eq!((text_of(&obo, "upn"), text_of(&obo, "appid")), ("alice@contoso.example", AGENT_IDENTITY_ID));
}

#[tokio::test]
async fn only_this_machine_may_ask_and_everybody_may_ask_for_health() {
    let bench = bench(|_| ());
    let from = |path: &str, ip: &str| {
        let address: SocketAddr = format!("{ip}:9").parse().unwrap();
        axum::http::Request::get(path.to_owned()).extension(ConnectInfo(address))
    };
    let path = format!("/AuthorizationHeaderUnauthenticated/ado?{AGENT}&{USER}");
    assert_eq!(bench.send(from(&path, "10.0.0.7"), "").await.0, 403);
    assert_eq!(bench.send(from(&path, "127.0.0.9"), "").await.0, 200);
    assert_eq!(bench.send(from(&path, "[::ffff:127.0.0.1]"), "").await.0, 200);
    assert_eq!(bench.send(from("/healthz", "10.0.0.7"), "").await.0, 200);
}

#[tokio::test]
async fn tokens_are_cached_until_refresh_or_expiry() {
    let bench = bench(|_| ());
    let query = format!("{AGENT}&{USER}");
    let uti = async |query: &str| text_of(&bench.claims(query).await, "uti").to_owned();
    let first = uti(&query).await;
    assert_eq!(uti(&query).await, first);
    let forced = uti(&format!("{query}&optionsOverride.AcquireTokenOptions.ForceRefresh=true")).await;
    assert_ne!(forced, first);
    bench.clock.advance(Duration::from_secs(2 * 3_600));
    assert_ne!(uti(&query).await, forced);
}

#[tokio::test]
async fn a_test_can_expire_and_break() {
    let bench = bench(|_| ());
    let query = format!("{AGENT}&{USER}");
    let path = format!("/AuthorizationHeaderUnauthenticated/ado?{query}");
    let (_, before) = bench.get(&path).await;
    bench.control("/_simulator/expire", "{\"lifetime_seconds\": 10}").await;
    let old = &before["authorizationHeader"].as_str().unwrap()[7..];
    assert!(bench.authority.verify(old, AUDIENCE_AZURE_DEVOPS).is_err());
    let claims = bench.claims(&query).await;
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 10);
    bench.control("/_simulator/break", "{\"times\": 1, \"aadsts\": 7000215}").await;
    let (status, body) = bench.get(&path).await;
    assert!(status == 401 && body["detail"].as_str().unwrap().contains("Original exception: AADSTS7000215"));
    assert_eq!(bench.get(&path).await.0, 200);
    bench.control("/_simulator/break", "{\"times\": 2}").await;
    assert_eq!(bench.get(&path).await.0, 500);
    assert_eq!(bench.get(&path).await.0, 500);
    assert_eq!(bench.get(&path).await.0, 200);
}
