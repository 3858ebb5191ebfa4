//! Each leg, and what its tokens say.

use serde_json::json;

use super::*;
use crate::simulator::tokens::{
    AGENT_USER_ID, AUDIENCE_AZURE_DEVOPS, AUDIENCE_COGNITIVE_SERVICES, AUDIENCE_GRAPH,
};

#[tokio::test]
async fn the_three_legs_end_in_the_agent_users_token() {
    let bench = Bench::start().await;
    let first = bench.first().await.unwrap();
    let t1 = claims(&first);
    assert_eq!(
        t1["sub"],
        format!("/eid1/c/pub/t/EREREaqqqkqKqhEREREREQ/a/IiIiIru7u0uLuyIiIiIiIg/{AGENT_IDENTITY_ID}")
    );
    assert_eq!((&t1["azp"], &t1["azpacr"], &t1["ver"]), (&json!(BLUEPRINT_ID), &json!("1"), &json!("2.0")));
    assert_eq!(t1["exp"].as_i64().unwrap() - t1["iat"].as_i64().unwrap(), 3_900);
    let t2 = claims(&bench.second(&first).await.unwrap());
    assert_eq!((&t2["azp"], &t2["sub"]), (&json!(AGENT_IDENTITY_ID), &json!(AGENT_IDENTITY_ID)));
    assert_eq!((&t2["xms_par_app_azp"], &t2["xms_sub_fct"]), (&json!(BLUEPRINT_ID), &json!("9 3 11")));
    let scope = format!("{ADO_SCOPE} openid profile offline_access");
    let answer = bench.agent_user(AGENT_USER_UPN, &scope).await.unwrap();
    assert_eq!(answer["scope"], format!("{AUDIENCE_AZURE_DEVOPS}/user_impersonation"));
    assert!(answer["refresh_token"].is_string() && answer["id_token"].is_string(), "{answer}");
    let token = answer["access_token"].as_str().unwrap();
    let user = bench.authority.verify(token, AUDIENCE_AZURE_DEVOPS).unwrap();
    let expected = json!({"iss": format!("https://sts.windows.net/{TENANT_ID}/"), "acr": "0",
        "appid": AGENT_IDENTITY_ID, "appidacr": "2", "idtyp": "user", "oid": AGENT_USER_ID, "scp": "user_impersonation",
        "tid": TENANT_ID, "upn": AGENT_USER_UPN, "unique_name": AGENT_USER_UPN, "ver": "1.0",
        "xms_act_fct": "3 11 9", "xms_idrel": "1 32", "xms_par_app_azp": BLUEPRINT_ID, "xms_sub_fct": "3 13"});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&user[name], value, "{name}");
    }
    assert!(!user.contains_key("amr") && !user.contains_key("roles"));
    let life = user["exp"].as_i64().unwrap() - bench.clock.now().as_second();
    assert!((3_600..=5_400).contains(&life) && answer["expires_in"] == life - 1, "{life}");
    let head = token.split('.').next().unwrap();
    let head = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, head).unwrap();
    let head: Value = serde_json::from_slice(&head).unwrap();
    assert!(head["alg"] == "RS256" && head["kid"] == head["x5t"], "{head}");
}

#[tokio::test]
async fn the_agent_user_can_be_named_by_id_and_ask_for_other_resources() {
    let bench = Bench::start().await;
    let first = bench.first().await.unwrap();
    let second = bench.second(&first).await.unwrap();
    let scope = "https://cognitiveservices.azure.com/.default";
    let more =
        [("scope", scope), ("user_id", AGENT_USER_ID), ("user_federated_identity_credential", &second)];
    let token = given(bench.token(&agent_form("user_fic", &first, &more)).await).unwrap();
    assert!(bench.authority.verify(&token, AUDIENCE_COGNITIVE_SERVICES).is_ok());
    let graph = bench.agent_user(AGENT_USER_UPN, "openid").await.unwrap();
    let graph = bench.authority.verify(graph["access_token"].as_str().unwrap(), AUDIENCE_GRAPH).unwrap();
    assert!(graph["scp"].as_str().unwrap().contains("User.Read"));
}

#[tokio::test]
async fn an_agent_refreshes_with_its_blueprints_token_until_its_sessions_are_revoked() {
    let bench = Bench::start().await;
    let scope = format!("{ADO_SCOPE} offline_access");
    let answer = bench.agent_user(AGENT_USER_UPN, &scope).await.unwrap();
    let first = bench.first().await.unwrap();
    let refresh = answer["refresh_token"].as_str().unwrap();
    let form = agent_form("refresh_token", &first, &[("refresh_token", refresh)]);
    let (status, body) = bench.token(&form).await;
    assert!(status == 200 && body["refresh_token"] != refresh, "{body}");
    bench.control("revoke-sessions", json!({"user": AGENT_USER_UPN})).await;
    assert_eq!(bench.refusal(&form).await, 50_173);
    assert_eq!(bench.refusal(&changed(&form, "refresh_token", Some("made-up"))).await, 9_002_313);
}

#[tokio::test]
async fn applications_get_their_own_tokens() {
    let bench = Bench::start().await;
    let first = bench.first().await.unwrap();
    let form = agent_form("client_credentials", &first, &[("scope", "https://graph.microsoft.com/.default")]);
    let token = given(bench.token(&form).await).unwrap();
    let own = bench.authority.verify(&token, AUDIENCE_GRAPH).unwrap();
    assert_eq!(
        (&own["idtyp"], &own["oid"], &own["roles"]),
        (&json!("app"), &json!(AGENT_IDENTITY_ID), &json!([]))
    );
    assert_eq!((&own["xms_sub_fct"], own.get("scp"), own.get("upn")), (&json!("11 3 9"), None, None));
    // The blueprint's own token, proved by a Basic header.
    let form = [("grant_type", "client_credentials"), ("scope", "https://graph.microsoft.com/.default")];
    let address = format!("{}/{TENANT_ID}/oauth2/v2.0/token", bench.base);
    let request = bench.http.post(address).basic_auth(BLUEPRINT_ID, Some(bench.entra.blueprint_secret()));
    let body: Value = request.form(&form).send().await.unwrap().json().await.unwrap();
    let own = bench.authority.verify(body["access_token"].as_str().unwrap(), AUDIENCE_GRAPH).unwrap();
    assert_eq!(
        own["roles"],
        json!(["AgentIdUser.ReadWrite.IdentityParentedBy", "AgentIdentity.CreateAsManager"])
    );
    assert_eq!((&own["appid"], &own["xms_sub_fct"]), (&json!(BLUEPRINT_ID), &json!("3 9")));
}

#[tokio::test]
async fn an_agent_acts_on_behalf_of_a_person_who_signed_in_for_its_blueprint() {
    let bench = Bench::start().await;
    let person = bench.signed_in("alice", &format!("api://{BLUEPRINT_ID}/access_as_user")).await;
    assert_eq!(claims(&person)["aud"], BLUEPRINT_ID);
    let first = bench.first().await.unwrap();
    let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let more = [("scope", ADO_SCOPE), ("assertion", &person), ("requested_token_use", "on_behalf_of")];
    let form = agent_form(grant, &first, &more);
    let token = given(bench.token(&form).await).unwrap();
    let own = bench.authority.verify(&token, AUDIENCE_AZURE_DEVOPS).unwrap();
    assert_eq!((&own["upn"], &own["appid"]), (&json!("alice@contoso.example"), &json!(AGENT_IDENTITY_ID)));
    assert_eq!((&own["xms_sub_fct"], &own["xms_act_fct"]), (&json!("3 12"), &json!("3 9 11")));
    let other = bench.signed_in("alice", ADO_SCOPE).await;
    assert_eq!(bench.refusal(&changed(&form, "assertion", Some(&other))).await, 50_013);
    assert_eq!(bench.refusal(&changed(&form, "assertion", Some("nonsense"))).await, 50_027);
    assert_eq!(
        bench.refusal(&changed(&form, "scope", Some("https://graph.microsoft.com/.default"))).await,
        65_001
    );
    bench.clock.advance(std::time::Duration::from_secs(2 * 3_600));
    let first = bench.first().await.unwrap();
    assert_eq!(bench.refusal(&changed(&form, "client_assertion", Some(&first))).await, 500_133);
}
