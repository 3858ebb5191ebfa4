//! Membership, access levels, access control entries and their evaluation; the tenant beside it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Bench, bench, settings};
use crate::simulator::start;

const GIT: &str = "2e9eb7ed-3c0a-47d4-87c1-0ffdd275fd87";
const ENTITLEMENTS: &str = "_apis/userentitlements";

impl Bench {
    /// A call of an API of which there is only a preview.
    async fn preview(&self, who: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let separator = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}api-version=7.1-preview.4", self.url(path));
        let request = self.client.request(method, url).basic_auth("", Some(format!("demo-{who}")));
        let kind = if body.as_ref().is_some_and(Value::is_array) { "json-patch+json" } else { "json" };
        let request = request.header("content-type", format!("application/{kind}"));
        let answer =
            request.body(body.map(|body| body.to_string()).unwrap_or_default()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    /// Whether the agent has these bits on the repository.
    async fn has(&self, bits: u32, token: &str) -> bool {
        let body = json!({"evaluations": [
            {"securityNamespaceId": GIT, "token": token, "permissions": bits}]});
        let path = "_apis/security/permissionevaluationbatch";
        let answer = self.ok("agent", Method::POST, path, Some(body)).await;
        let one =
            self.get(&format!("_apis/permissions/{GIT}/{bits}?tokens={token}")).await["value"][0].clone();
        assert_eq!(answer["evaluations"][0]["value"], one, "both doors say the same");
        one == true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_gives_and_takes_and_its_removal_undoes_it() {
    let bench = bench(None).await;
    let repository = bench.get("Fabrikam/_apis/git/repositories/web-shop").await;
    let (id, project) = (repository["id"].as_str().unwrap(), repository["project"]["id"].as_str().unwrap());
    let token = format!("repoV2/{project}/{id}");
    let people = "_apis/identities?searchFilter=General&filterValue=ado-coworker";
    let descriptor = bench.get(people).await["value"][0]["descriptor"].as_str().unwrap().to_owned();
    assert!(bench.has(4, &token).await && !bench.has(8, &token).await);
    let path = format!("_apis/accesscontrolentries/{GIT}");
    let entry = |token: &str, allow: u32, deny: u32| {
        json!({"token": token, "merge": true, "accessControlEntries": [
            {"descriptor": descriptor, "allow": allow, "deny": deny, "extendedinfo": {}}]})
    };
    let (status, _) = bench.ask("bob", Method::POST, &path, Some(entry(&token, 8, 0))).await;
    assert_eq!(status.as_u16(), 403, "only who administers");
    bench.ok("alice", Method::POST, &path, Some(entry(&token, 8, 4))).await;
    assert!(bench.has(8, &token).await && !bench.has(4, &token).await);
    // What is nearer wins over what is inherited, and a merge adds.
    bench.ok("alice", Method::POST, &path, Some(entry(&format!("repoV2/{project}"), 4, 8))).await;
    assert!(bench.has(8, &token).await && !bench.has(4, &token).await);
    bench.ok("alice", Method::POST, &path, Some(entry(&token, 0, 32_768))).await;
    let lists =
        bench.ok("alice", Method::GET, &format!("_apis/accesscontrollists/{GIT}?token={token}"), None).await;
    let own = &lists["value"][0]["acesDictionary"][&descriptor];
    assert_eq!((&own["allow"], &own["deny"]), (&json!(8), &json!(4 + 32_768)));
    let gone = percent_encoding::utf8_percent_encode(&descriptor, percent_encoding::NON_ALPHANUMERIC);
    let gone = format!("{path}?token={token}&descriptors={gone}");
    assert_eq!(bench.ok("alice", Method::DELETE, &gone, None).await, true);
    assert!(
        bench.has(4, &token).await && !bench.has(8, &token).await,
        "the project's entry is inherited now"
    );
    bench.running.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_from_the_tenant_and_leave_again() {
    let bench = bench(None).await;
    let add = |who: &str, level: &str| {
        json!({"accessLevel": {"licensingSource": "account", "accountLicenseType": level},
            "user": {"principalName": who, "subjectKind": "user"}})
    };
    // A failure is told inside of a 200.
    let (status, answer) = bench
        .preview("alice", Method::POST, ENTITLEMENTS, Some(add("nobody@contoso.example", "express")))
        .await;
    assert_eq!((status, &answer["isSuccess"]), (200, &json!(false)));
    assert!(
        answer["operationResult"]["errors"][0]["value"].as_str().unwrap().contains("not found"),
        "{answer}"
    );
    let (status, _) =
        bench.preview("bob", Method::POST, ENTITLEMENTS, Some(add("carol@contoso.example", "express"))).await;
    assert_eq!(status, 403);
    let name = "ado-coworker@contoso.example";
    let path = format!("{ENTITLEMENTS}?$filter=name%20eq%20'{name}'");
    let (_, found) = bench.preview("alice", Method::GET, &path, None).await;
    let id = found["members"][0]["id"].as_str().unwrap().to_owned();
    let level = json!([{"op": "replace", "path": "/accessLevel",
        "value": {"licensingSource": "account", "accountLicenseType": "stakeholder"}}]);
    let (_, changed) =
        bench.preview("alice", Method::PATCH, &format!("{ENTITLEMENTS}/{id}"), Some(level)).await;
    assert_eq!(changed["userEntitlement"]["accessLevel"]["accountLicenseType"], "stakeholder");
    let (status, _) = bench.ask("agent", Method::GET, super::REPOSITORY, None).await;
    assert_eq!(status.as_u16(), 404, "a stakeholder sees no repository");
    let (status, _) = bench.preview("alice", Method::DELETE, &format!("{ENTITLEMENTS}/{id}"), None).await;
    assert_eq!(status, 204);
    let (status, left) = bench.ask("agent", Method::GET, "_apis/projects", None).await;
    assert_eq!(status.as_u16(), 401);
    assert!(left["message"].as_str().unwrap().starts_with("TF400813"), "{left}");
    let (_, back) = bench.preview("alice", Method::POST, ENTITLEMENTS, Some(add(name, "express"))).await;
    assert_eq!((&back["isSuccess"], &back["operationResult"]["userId"]), (&json!(true), &json!(id)));
    bench.running.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tenant_is_saved_beside_the_organisation() {
    let first = bench(None).await;
    let entra = |bench: &Bench, path: &str| format!("{}_simulator/entra{path}", bench.running.entra_url);
    let off = json!({"id": "55555555-eeee-4eee-8eee-555555555555"});
    let sent = first.client.post(entra(&first, "/disable")).json(&off).send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 204);
    let saved = tempfile::tempdir().unwrap();
    first.running.save_to(saved.path()).unwrap();
    first.running.shutdown().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut again = settings(data.path().to_owned(), None);
    again.load = Some(saved.path().to_owned());
    // What is kept wins over how a fresh one would begin.
    again.provisioned = false;
    let running = start(again).await.unwrap();
    let url = format!("{}_simulator/entra", running.entra_url);
    let tenant: Value = super::client().get(url).send().await.unwrap().json().await.unwrap();
    let user = tenant["users"].as_array().unwrap().iter().find(|user| user["parent"].is_string()).unwrap();
    assert_eq!(user["enabled"], false, "{tenant:#}");
    // The blueprint has this start's secret, so that the sidecar still gets as far as the user.
    let ask = "AuthorizationHeaderUnauthenticated/ado?AgentIdentity=44444444-dddd-4ddd-8ddd-444444444444&AgentUsername=\
               ado-coworker@contoso.example";
    let answer = super::client().get(format!("{}{ask}", running.sidecar_url)).send().await.unwrap();
    let text = answer.text().await.unwrap();
    assert!(text.contains("AADSTS50057"), "{text}");
    running.shutdown().await.unwrap();
}
