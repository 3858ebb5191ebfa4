//! Sign-in of people: code with PKCE, device code, refresh.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::simulator::entra::seed::{GROUP_ADMINS, GROUP_APPROVERS, GROUP_INSTRUCTORS, SIGN_IN_CLIENT_ID};
use crate::simulator::tokens::AUDIENCE_AZURE_DEVOPS;

const VERIFIER: &str = "a-verifier-that-is-long-enough-to-be-one-0123456789";
const REDIRECT: &str = "http://127.0.0.1:4192/sign-in/callback";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, VERIFIER.as_bytes()))
}

fn request<'a>(scope: &'a str, challenge: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("client_id", SIGN_IN_CLIENT_ID),
        ("response_type", "code"),
        ("redirect_uri", REDIRECT),
        ("scope", scope),
        ("state", "s&1"),
        ("nonce", "n1"),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
    ]
}

fn redeeming(code: &str) -> Vec<(&str, &str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("client_id", SIGN_IN_CLIENT_ID),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ]
}

impl Bench {
    fn authorize(&self) -> String {
        format!("{}/{TENANT_ID}/oauth2/v2.0/authorize", self.base)
    }

    /// What comes back to the application after `user` was picked.
    async fn pick(&self, user: &str, scope: &str) -> Vec<(String, String)> {
        let challenge = challenge();
        let mut form = request(scope, &challenge);
        form.push(("user", user));
        let response = self.http.post(self.authorize()).form(&form).send().await.unwrap();
        assert_eq!(response.status(), 302, "{}", response.text().await.unwrap());
        let target = Url::parse(response.headers()["location"].to_str().unwrap()).unwrap();
        assert!(target.as_str().starts_with(REDIRECT), "{target}");
        target.query_pairs().into_owned().collect()
    }

    async fn redeem(&self, user: &str, scope: &str) -> Value {
        let fields = self.pick(user, scope).await;
        let code = &fields.iter().find(|field| field.0 == "code").unwrap_or_else(|| panic!("{fields:?}")).1;
        let (status, body) = self.token(&redeeming(code)).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The access token of a person.
    pub async fn signed_in(&self, user: &str, scope: &str) -> String {
        self.redeem(user, scope).await["access_token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_person_picks_a_name_and_the_application_gets_a_checked_id_token() {
    let bench = Bench::start().await;
    let challenge = challenge();
    let page =
        bench.http.get(bench.authorize()).query(&request("openid profile", &challenge)).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    for text in ["Alice Martin", "bob@contoso.example", "Carol Nguyen", "simulated", "s&amp;1"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains(AGENT_USER_UPN), "an agent user cannot sign in");
    let fields = bench.pick("alice@contoso.example", "openid profile offline_access").await;
    assert!(fields.contains(&("state".into(), "s&1".into())));
    let code_given = &fields.iter().find(|field| field.0 == "code").unwrap().1;
    let form = redeeming(code_given);
    assert_eq!(bench.refusal(&changed(&form, "code_verifier", Some("wrong"))).await, 501_481);
    assert_eq!(bench.refusal(&changed(&form, "code_verifier", None)).await, 900_144);
    assert_eq!(bench.refusal(&changed(&form, "redirect_uri", Some("http://127.0.0.1:1/x"))).await, 500_112);
    let (status, body) = bench.token(&form).await;
    assert_eq!(status, 200, "{body}");
    let keys = jwks::fetch(&bench.http, &format!("{}/{TENANT_ID}/v2.0", bench.base)).await.unwrap();
    let id_token = Unchecked::read(body["id_token"].as_str().unwrap()).unwrap();
    id_token.check(&keys).unwrap();
    let own = &id_token.claims;
    assert_eq!((&own["aud"], &own["nonce"]), (&json!(SIGN_IN_CLIENT_ID), &json!("n1")));
    assert_eq!(
        (&own["name"], &own["preferred_username"]),
        (&json!("Alice Martin"), &json!("alice@contoso.example"))
    );
    assert_eq!(own["groups"], json!([GROUP_INSTRUCTORS, GROUP_APPROVERS, GROUP_ADMINS]));
    assert_eq!(own["iss"], format!("https://login.microsoftonline.com/{TENANT_ID}/v2.0"));
    // A code works once, and using it again ends what it gave.
    assert_eq!(bench.refusal(&form).await, 54_005);
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", SIGN_IN_CLIENT_ID),
        ("refresh_token", body["refresh_token"].as_str().unwrap()),
    ];
    assert_eq!(bench.refusal(&refresh).await, 9_002_313);
}

#[tokio::test]
async fn too_many_groups_are_only_pointed_at() {
    let bench = Bench::start().await;
    bench.control("groups-overage", json!({"user": "bob@contoso.example"})).await;
    let body = bench.redeem("bob", "openid").await;
    let own = claims(body["id_token"].as_str().unwrap());
    assert!(own.get("groups").is_none() && own["_claim_names"]["groups"] == "src1", "{own:?}");
    let endpoint = own["_claim_sources"]["src1"]["endpoint"].as_str().unwrap();
    let token = body["access_token"].as_str().unwrap();
    let request = bench.http.post(endpoint).bearer_auth(token).json(&json!({"securityEnabledOnly": true}));
    let groups: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(groups["value"], json!([GROUP_INSTRUCTORS]));
}

#[tokio::test]
async fn a_code_goes_only_where_the_application_is_registered() {
    let bench = Bench::start().await;
    let challenge = challenge();
    let form = request("openid", &challenge);
    for (name, value, expected) in [
        ("redirect_uri", Some("https://evil.example/callback"), "AADSTS50011"),
        ("redirect_uri", Some("http://127.0.0.1.evil.example/"), "AADSTS50011"),
        ("client_id", Some("12345678-aaaa-4aaa-8aaa-111111111111"), "AADSTS700016"),
        ("code_challenge", None, "AADSTS900144"),
        ("response_type", Some("token"), "AADSTS90023"),
        ("scope", None, "AADSTS900144"),
    ] {
        let page =
            bench.http.get(bench.authorize()).query(&changed(&form, name, value)).send().await.unwrap();
        assert_eq!(page.status(), 400, "{name}");
        let text = page.text().await.unwrap();
        assert!(text.contains(expected), "{name} {text}");
    }
    let fields = bench.pick("", "openid").await;
    assert!(fields.contains(&("error".into(), "access_denied".into())), "{fields:?}");
    bench.control("disable", json!({"id": "bob@contoso.example"})).await;
    assert!(bench.pick("bob", "openid").await[1].1.starts_with("AADSTS50057"));
    assert!(bench.pick(AGENT_USER_UPN, "openid").await[1].1.starts_with("AADSTS50034"));
    let code_given = bench.pick("carol", "openid").await.remove(0).1;
    bench.clock.advance(Duration::from_secs(600));
    assert_eq!(bench.refusal(&redeeming(&code_given)).await, 70_008);
}

#[tokio::test]
async fn a_device_waits_until_somebody_has_signed_in() {
    let bench = Bench::start().await;
    let path = format!("/{TENANT_ID}/oauth2/v2.0/devicecode");
    let scope = format!("{ADO_SCOPE} openid offline_access");
    let start = [("client_id", SIGN_IN_CLIENT_ID), ("scope", scope.as_str())];
    let (status, device) = bench.post(&path, &start).await;
    assert_eq!(status, 200, "{device}");
    assert_eq!((&device["expires_in"], &device["interval"]), (&json!(900), &json!(5)));
    let user_code = device["user_code"].as_str().unwrap().to_owned();
    assert!(device["message"].as_str().unwrap().contains(&user_code));
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let form = [
        ("grant_type", grant),
        ("client_id", SIGN_IN_CLIENT_ID),
        ("device_code", device["device_code"].as_str().unwrap()),
    ];
    let (status, body) = bench.token(&form).await;
    assert_eq!((status, code(&body), body["error"].as_str()), (400, 70_016, Some("authorization_pending")));
    assert_eq!(bench.refusal(&changed(&form, "device_code", Some("x"))).await, 70_018);
    let page = device["verification_uri"].as_str().unwrap();
    assert!(bench.http.get(page).send().await.unwrap().text().await.unwrap().contains("Alice Martin"));
    let typed = [("user_code", user_code.to_lowercase()), ("user", "alice@contoso.example".into())];
    assert_eq!(bench.http.post(page).form(&typed).send().await.unwrap().status(), 200);
    let (status, body) = bench.token(&form).await;
    assert_eq!(status, 200, "{body}");
    let token = body["access_token"].as_str().unwrap();
    let own = bench.authority.verify(token, AUDIENCE_AZURE_DEVOPS).unwrap();
    assert_eq!((&own["upn"], &own["appid"]), (&json!("alice@contoso.example"), &json!(SIGN_IN_CLIENT_ID)));
    assert_eq!(bench.refusal(&form).await, 70_018);
    let (_, device) = bench.post(&path, &start).await;
    let form = changed(&form, "device_code", device["device_code"].as_str());
    let declined = [("user_code", device["user_code"].as_str().unwrap()), ("decline", "yes")];
    bench.http.post(page).form(&declined).send().await.unwrap();
    assert_eq!(bench.token(&form).await.1["error"], "authorization_declined");
    bench.clock.advance(Duration::from_secs(900));
    assert_eq!(bench.refusal(&form).await, 70_019);
    let (_, body) = bench.post(&path, &changed(&start, "client_id", Some(BLUEPRINT_ID))).await;
    assert_eq!(code(&body), 7_000_218);
}
