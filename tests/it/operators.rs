//! What operators ask with `doctor --admin` and `doctor --deployment`, and that the simulated sidecar
//! answers as its published description says.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::harness::{self, PATIENCE, Process, command};
use crate::house::root;

const TENANT: &str = "11111111-aaaa-4aaa-8aaa-111111111111";
const SETUP_CLIENT: &str = "88888888-ffff-4fff-8fff-888888888888";
const AGENT: &str = "44444444-dddd-4ddd-8ddd-444444444444";
const USER: &str = "55555555-eeee-4eee-8eee-555555555555";
const BLUEPRINT: &str = "22222222-bbbb-4bbb-8bbb-222222222222";

struct World {
    _simulation: Process,
    organization: String,
    sidecar: String,
    model: String,
    entra: String,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

impl World {
    async fn open() -> Self {
        let mut simulation = Process::start(command(&["simulate", "--simulator-port", "0", "--pace", "0"]));
        let organization = simulation.told("ready").await;
        let sidecar = simulation.told("sidecar").await;
        let model = simulation.told("model").await;
        let entra = simulation.told("entra").await.trim_end_matches('/').to_owned();
        let http = ado_coworker::config::http_client().unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { _simulation: simulation, organization, sidecar, model, entra, http, folder }
    }

    async fn entra(&self, path: &str, body: Value) {
        let url = format!("{}/_simulator/entra/{path}", self.entra);
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    }

    /// `doctor --admin` as alice.
    async fn seen_by_alice(&self) -> Vec<Value> {
        let mut doctor = command(&["doctor", "--admin", "--json"]);
        doctor.envs(harness::settings(&self.organization, &self.sidecar, &self.model, self.folder.path()));
        doctor.envs([("AZURE_TENANT_ID", TENANT), ("SETUP_CLIENT_ID", SETUP_CLIENT)]);
        doctor.envs([("AZURE_AUTHORITY_HOST", &self.entra), ("GRAPH_URL", &self.entra)]);
        let mut child = doctor.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let work = async {
            let code = loop {
                let line = lines.next_line().await.unwrap().expect("it asks for a sign-in");
                if let Some((_, code)) = line.split_once("enter the code ") {
                    break code.split_whitespace().next().unwrap().trim_end_matches('.').to_owned();
                }
            };
            let form = [("user_code", code.as_str()), ("user", "alice")];
            self.http.post(format!("{}/devicelogin", self.entra)).form(&form).send().await.unwrap();
            let mut text = String::new();
            child.stdout.take().unwrap().read_to_string(&mut text).await.unwrap();
            text
        };
        let text = tokio::time::timeout(PATIENCE, work).await.expect("doctor ends");
        let list: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        assert!(!text.contains("eyJ"), "no token is shown");
        list["checks"].as_array().unwrap().clone()
    }
}

#[track_caller]
fn says(list: &[Value], id: &str, status: &str, words: &[&str]) {
    let check = list.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id} in {list:#?}"));
    assert_eq!(check["status"], status, "{check:#}");
    for word in words {
        assert!(check.to_string().contains(word), "'{word}' is not in {check:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_sees_what_the_agent_cannot() {
    let world = World::open().await;
    let list = world.seen_by_alice().await;
    for id in [
        "agent_identity",
        "blueprint",
        "agent_user",
        "people",
        "grants",
        "all_principals",
        "conditional_access",
    ] {
        says(&list, &format!("admin.{id}"), "ok", &[]);
    }
    says(&list, "admin.people", "ok", &["alice@contoso.example"]);
    says(&list, "admin.blueprint_secrets", "warning", &["development", "federated credential replaces"]);
    says(&list, "admin.federated_credentials", "skipped", &[]);

    // Everything that the agent only meets as a code, each with its own line.
    world.entra("disable", json!({"id": AGENT})).await;
    world.entra("disable", json!({"id": USER})).await;
    world
        .entra("revoke-grant", json!({"resource": "499b84ac-1321-427f-aa17-267ca6975798", "user": USER}))
        .await;
    world.entra("conditional-access", json!({"blueprint": BLUEPRINT, "control": "block"})).await;
    world.entra("expire-secret", json!({})).await;
    let list = world.seen_by_alice().await;
    says(&list, "admin.agent_identity", "failed", &["AADSTS7000112"]);
    says(&list, "admin.agent_user", "failed", &["AADSTS50057"]);
    says(&list, "admin.grants", "failed", &["AADSTS65001", "Principal"]);
    says(&list, "admin.conditional_access", "failed", &["set by a test", "block"]);
    says(&list, "admin.blueprint_secrets", "warning", &["has ended"]);
}

#[tokio::test]
async fn a_deployment_file_is_read_without_any_setting() {
    let compose = root().join("compose.yaml");
    let good =
        command(&["doctor", "--deployment", compose.to_str().unwrap(), "--json"]).output().await.unwrap();
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stdout));
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("compose.yaml");
    let text = "services:\n  sidecar:\n    image: mcr.microsoft.com/entra-sdk/auth-sidecar:1.1.2\n    \
                ports: ['5001:5000']\n    environment: [AzureAd__ClientCredentials__0__SourceType=ClientSecret]\n  \
                agent:\n    image: coworker\n    environment:\n      SIDECAR_URL: http://sidecar:5000\n      \
                BLUEPRINT_CLIENT_SECRET: s3cret-value\n";
    std::fs::write(&bad, text).unwrap();
    let bad = command(&["doctor", "--deployment", bad.to_str().unwrap(), "--json"]).output().await.unwrap();
    assert_eq!(bad.status.code(), Some(1));
    let text = String::from_utf8(bad.stdout).unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    let list = list["checks"].as_array().unwrap();
    says(list, "deployment.network", "failed", &["empty 403"]);
    says(list, "deployment.sidecar_port", "failed", &["5001:5000"]);
    says(list, "deployment.gates", "failed", &["GetAuthorizationHeaderUnauthenticated"]);
    says(list, "deployment.agent_secrets", "failed", &["BLUEPRINT_CLIENT_SECRET"]);
    says(list, "deployment.credential", "warning", &["client secret"]);
    assert!(!text.contains("s3cret-value"));
}

// ---------------------------------------------------------------------------------------------
// The sidecar's published description.

/// What is wrong with `value` by `schema` of `document`, with the path to it.
fn faults(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.trim_start_matches('#');
        return faults(document, document.pointer(pointer).unwrap(), value, at);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => return Vec::new(),
    };
    let is = |kind: &&str| match *kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("the kind {other}"),
    };
    if !kinds.iter().any(is) {
        return vec![format!("{at} is {value}, not {kinds:?}")];
    }
    let mut found = Vec::new();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{at} lacks {name}"));
        }
    }
    let known = schema["properties"].as_object();
    for (name, inner) in value.as_object().into_iter().flatten() {
        let path = format!("{at}.{name}");
        match (known.and_then(|known| known.get(name)), &schema["additionalProperties"]) {
            (Some(schema), _) => found.extend(faults(document, schema, inner, &path)),
            (None, schema @ Value::Object(_)) => found.extend(faults(document, schema, inner, &path)),
            (None, _) => found.push(format!("{path} is not described")),
        }
    }
    for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(faults(document, &schema["items"], inner, &format!("{at}[{index}]")));
    }
    found
}

/// The description, where it is at hand beside the repository.
fn description() -> Option<Value> {
    let places = ["../shared/entra", "../../shared/entra"];
    let found = places.iter().map(|place| root().join(place).join("sidecar-openapi.json"));
    let text = found.into_iter().find_map(|path| std::fs::read_to_string(path).ok())?;
    Some(serde_json::from_str(&text).expect("the description is JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_sidecar_answers_as_its_description_says() {
    let Some(document) = description() else {
        eprintln!("the sidecar's description is not here: nothing to compare with");
        return;
    };
    let world = World::open().await;
    let base = world.sidecar.trim_end_matches('/').to_owned();
    let agent = format!("AgentIdentity={AGENT}&AgentUserId={USER}");
    let own = format!("/AuthorizationHeaderUnauthenticated/ado?{agent}");
    let answer: Value = world.http.get(format!("{base}{own}")).send().await.unwrap().json().await.unwrap();
    assert!(answer["authorizationHeader"].as_str().unwrap().starts_with("Bearer "));
    let host = url::Url::parse(&world.organization).unwrap().origin().ascii_serialization();
    let configure = json!({"profile": "ado", "base_url": format!("{host}/contoso/")});
    world.http.post(format!("{base}/_simulator/configure")).json(&configure).send().await.unwrap();
    let cases = [
        ("GET", own.as_str(), "/AuthorizationHeaderUnauthenticated/{apiName}"),
        (
            "GET",
            "/AuthorizationHeaderUnauthenticated/nothing",
            "/AuthorizationHeaderUnauthenticated/{apiName}",
        ),
        ("GET", "/AuthorizationHeaderUnauthenticated/ado", "/AuthorizationHeaderUnauthenticated/{apiName}"),
        ("GET", "/AuthorizationHeader/ado", "/AuthorizationHeader/{apiName}"),
        ("GET", "/Validate", "/Validate"),
        ("POST", "/DownstreamApiUnauthenticated/nothing", "/DownstreamApiUnauthenticated/{apiName}"),
        ("POST", "/DownstreamApiUnauthenticated/ado", "/DownstreamApiUnauthenticated/{apiName}"),
        ("POST", "/DownstreamApi/ado", "/DownstreamApi/{apiName}"),
    ];
    let mut statuses = std::collections::BTreeSet::new();
    for (method, path, template) in cases {
        let answer =
            world.http.request(method.parse().unwrap(), format!("{base}{path}")).send().await.unwrap();
        let status = answer.status().as_u16();
        statuses.insert(status);
        let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        let text = answer.text().await.unwrap();
        let described = &document["paths"][template][method.to_lowercase()]["responses"][status.to_string()];
        assert!(described.is_object(), "{method} {path} answers {status}, which is not described");
        // A missing inbound token is refused before the route, without a body (SIDECAR.md §7).
        if status == 401 && text.is_empty() {
            continue;
        }
        let (wanted, content) = described["content"].as_object().unwrap().iter().next().unwrap();
        assert!(kind.unwrap().starts_with(wanted.as_str()), "{method} {path}: not {wanted}");
        let value: Value = serde_json::from_str(&text).unwrap();
        let found = faults(&document, &content["schema"], &value, "answer");
        assert!(found.is_empty(), "{method} {path}: {found:?} in {value:#}");
    }
    assert!(statuses.is_superset(&[200, 400, 401].into()), "{statuses:?}");
}

#[test]
fn the_comparison_finds_what_is_planted() {
    let document = json!({"components": {"schemas": {"A": {"type": "object", "required": ["x"],
        "properties": {"x": {"type": ["null", "integer"]}}}}}});
    let found =
        |value: Value| faults(&document, &json!({"$ref": "#/components/schemas/A"}), &value, "a").len();
    assert_eq!(found(json!({"x": 1})), 0);
    assert_eq!(found(json!({"x": null})), 0);
    for bad in [json!({}), json!({"x": "1"}), json!([]), json!({"x": 1, "y": 2})] {
        assert_eq!(found(bad.clone()), 1, "{bad}");
    }
}
