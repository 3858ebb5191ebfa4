//! `doctor` against the simulated world: nothing fails when all is well, and each fault turns its
//! own line red, with words that heal it.

use std::sync::Arc;
use std::time::Duration;

use ado_coworker::action::RepositoryRef;
use ado_coworker::azure_devops::{Client, Error, Failure};
use ado_coworker::clock::{self, Clock};
use ado_coworker::config::{self, Settings};
use ado_coworker::doctor::{Check, Doctor, Status, is_well};
use ado_coworker::{identity, policy};
use serde_json::{Value, json};

use crate::harness::{self, Demo, Process, command};

/// An address where nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";
/// How the co-worker is reached, as far as the organisation knows.
const PUBLIC_URL: &str = "http://127.0.0.1:9";
const TENANT: &str = "11111111-aaaa-4aaa-8aaa-111111111111";
const COMMENTED: &str = "ms.vss-code.git-pullrequest-comment-event";

/// A simulated world to be examined in.
struct Ward {
    _simulation: Process,
    organization: String,
    sidecar: String,
    model: String,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

impl Ward {
    async fn open() -> Self {
        let mut simulation = Process::start(command(&["simulate", "--simulator-port", "0", "--pace", "0"]));
        let organization = simulation.told("ready").await;
        let sidecar = simulation.told("sidecar").await;
        let model = simulation.told("model").await;
        let http = config::http_client().unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { _simulation: simulation, organization, sidecar, model, http, folder }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut all = harness::settings(&self.organization, &self.sidecar, &self.model, self.folder.path());
        all.push(("AZURE_TENANT_ID", TENANT.into()));
        all.push(("PUBLIC_URL", PUBLIC_URL.into()));
        all
    }

    /// Examined here, with some settings changed.
    async fn examined(&self, changes: &[(&str, &str)]) -> List {
        self.examined_at(changes, Clock::Real).await
    }

    async fn examined_at(&self, changes: &[(&str, &str)], clock: Clock) -> List {
        let mut settings = Settings::default();
        self.settings().iter().for_each(|(name, value)| settings.set(name, value));
        changes.iter().for_each(|(name, value)| settings.set(name, value));
        let rules = Arc::new(policy::parse(policy::DEFAULT_POLICY).unwrap());
        let config = settings.check_own().unwrap();
        List(Doctor::new(config, rules, self.http.clone(), clock, None).examine().await)
    }

    async fn send(&self, method: &str, url: String, body: Value) -> Value {
        let request = self.http.request(method.parse().unwrap(), &url).json(&body);
        let response = request.basic_auth("alice", Some("demo-alice")).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{url} answered {status}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    async fn sidecar(&self, command: &str, body: Value) {
        self.send("POST", format!("{}_simulator/{command}", slash(&self.sidecar)), body).await;
    }

    async fn sidecar_mended(&self) {
        self.send("DELETE", format!("{}_simulator", slash(&self.sidecar)), Value::Null).await;
    }

    fn host(&self) -> String {
        url::Url::parse(&self.organization).unwrap().origin().ascii_serialization()
    }

    async fn fault(&self, fault: Value) {
        self.send("DELETE", format!("{}/_simulator/faults", self.host()), Value::Null).await;
        self.send("POST", format!("{}/_simulator/faults", self.host()), fault).await;
    }

    async fn access(&self, change: Value) {
        self.send("POST", format!("{}/_simulator/access", self.host()), change).await;
    }

    async fn script(&self, behaviours: Value) {
        self.send("POST", format!("{}_simulator/script", slash(&self.model)), behaviours).await;
    }

    /// Makes the service hook that the co-worker wants; its id.
    async fn hook(&self, version: &str) -> (String, Value) {
        let api = format!("{}/_apis", self.organization);
        let project = self.send("GET", format!("{api}/projects/Fabrikam?api-version=7.1"), Value::Null).await;
        let body = json!({
            "publisherId": "tfs", "eventType": COMMENTED, "resourceVersion": version,
            "consumerId": "webHooks", "consumerActionId": "httpRequest",
            "publisherInputs": {"projectId": project["id"]},
            "consumerInputs": {"url": format!("{PUBLIC_URL}/webhooks/azure-devops")},
        });
        let url = format!("{api}/hooks/subscriptions?api-version=7.1");
        let made = self.send("POST", url, body.clone()).await;
        (format!("{api}/hooks/subscriptions/{}?api-version=7.1", made["id"].as_str().unwrap()), body)
    }
}

fn slash(url: &str) -> String {
    format!("{}/", url.trim_end_matches('/'))
}

struct List(Vec<Check>);

impl List {
    fn at(&self, id: &str) -> &Check {
        self.0.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no {id} in {:#?}", self.0))
    }

    /// The line has this status and says all of these words.
    #[track_caller]
    fn says(&self, id: &str, status: Status, words: &[&str]) {
        let check = self.at(id);
        assert_eq!(check.status, status, "{check:#?}");
        let text = format!("{} {}", check.reason, check.remedy);
        for word in words {
            assert!(text.contains(word), "'{word}' is not in {text}");
        }
        let heals = matches!(status, Status::Warning | Status::Failed);
        assert_eq!(!check.remedy.is_empty(), heals, "{check:#?}");
    }

    /// Only these lines failed.
    #[track_caller]
    fn failed(&self, ids: &[&str]) {
        let failed: Vec<&str> =
            self.0.iter().filter(|check| check.status == Status::Failed).map(|check| check.id).collect();
        assert_eq!(failed, ids, "{:#?}", self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_in_the_simulated_world() {
    let ward = Ward::open().await;
    ward.hook("2.0").await;
    let list = ward.examined(&[("AZURE_OPENAI_API_KEY", "a-key")]).await;
    assert!(is_well(&list.0), "{:#?}", list.0);
    let odd: Vec<&str> = list.0.iter().filter(|c| c.status != Status::Ok).map(|c| c.id).collect();
    let expected = [
        "permission.first_write",
        "looking",
        "record_key",
        "secret.azure_openai_api_key",
        "secret.webhook_password",
    ];
    assert_eq!(odd, expected, "{:#?}", list.0);
    list.says("secret.azure_openai_api_key", Status::Warning, &["development", "aoai"]);
    list.says("secret.webhook_password", Status::Warning, &["not signed"]);
    list.says("token", Status::Ok, &["ado-coworker@contoso.example", "44444444-dddd"]);
    list.says("database", Status::Ok, &["none yet"]);
    assert!(!ward.folder.path().join("journal.db").exists(), "doctor only reads");

    // Nothing was written, and nothing of a token is shown.
    let ledger = ward.send("GET", format!("{}/_simulator/ledger", ward.host()), Value::Null).await;
    let by_agent = |entry: &&Value| entry.to_string().contains("55555555-eeee-4eee-8eee-555555555555");
    assert_eq!(ledger["value"].as_array().unwrap().iter().filter(by_agent).count(), 0, "{ledger:#}");
    assert!(!format!("{:?}", list.0).contains("eyJ"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecar_and_its_gates() {
    let ward = Ward::open().await;
    let list = ward.examined(&[("SIDECAR_URL", NOBODY)]).await;
    list.failed(&["sidecar"]);
    list.says("sidecar", Status::Failed, &["did not answer", "Start the auth sidecar"]);
    for id in ["sidecar_version", "gates", "token", "member", "project", "service_hooks", "model"] {
        assert_eq!(list.at(id).status, Status::Skipped, "{id}");
        assert!(!list.at(id).reason.is_empty());
    }
    list.says("azure_devops", Status::Ok, &[]);

    ward.sidecar("configure", json!({ "allow_overrides_unauthenticated": false })).await;
    let list = ward.examined(&[]).await;
    list.says("gates", Status::Failed, &["ignored", "GetAuthorizationHeaderUnauthenticated=true"]);
    list.says("token", Status::Skipped, &[]);
    ward.sidecar(
        "configure",
        json!({ "allow_overrides_unauthenticated": false, "profile": "ado", "request_app_token": true }),
    )
    .await;
    let list = ward.examined(&[]).await;
    list.says("gates", Status::Failed, &["blueprint", "GetAuthorizationHeaderUnauthenticated=true"]);
    ward.sidecar(
        "configure",
        json!({ "allow_overrides_unauthenticated": true, "profile": "ado", "request_app_token": true }),
    )
    .await;
    let list = ward.examined(&[]).await;
    list.says("gates", Status::Ok, &[]);
    list.says("token", Status::Failed, &["agent identity's own token", "RequestAppToken"]);
    ward.sidecar_mended().await;
    ward.sidecar("configure", json!({ "without_claims": ["xms_act_fct", "xms_sub_fct"] })).await;
    let list = ward.examined(&[]).await;
    list.says("token", Status::Warning, &["facets"]);
    ward.sidecar("configure", json!({ "without_claims": ["scp"] })).await;
    ward.examined(&[]).await.says("token", Status::Warning, &["user_impersonation"]);
    ward.sidecar_mended().await;
    ward.sidecar("expire", json!({ "lifetime_seconds": -10 })).await;
    ward.examined(&[]).await.says("token", Status::Failed, &["expiry", "clocks"]);
    ward.sidecar("break", json!({ "status": 500, "times": 40 })).await;
    ward.examined(&[]).await.says("token", Status::Failed, &["500", "sidecar's log"]);
    ward.sidecar_mended().await;

    let other = [("AZURE_TENANT_ID", "99999999-aaaa-4aaa-8aaa-111111111111")];
    ward.examined(&other).await.says("token", Status::Failed, &["tenant", "AZURE_TENANT_ID"]);
    let nobody = [("AGENT_USERNAME", "nobody@contoso.example")];
    ward.examined(&nobody).await.says("token", Status::Failed, &["AADSTS50034", "AGENT_USERNAME"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_entra_has_its_own_remedy() {
    let ward = Ward::open().await;
    eprintln!("{} codes of Entra, each with its own line:", identity::CAUSES.len());
    for cause in identity::CAUSES {
        eprintln!("  AADSTS{} {}", cause.code, cause.cause);
        ward.sidecar("break", json!({ "aadsts": cause.code, "times": 100 })).await;
        let list = ward.examined(&[]).await;
        let code = format!("AADSTS{}:", cause.code);
        list.says("token", Status::Failed, &[code.as_str(), cause.cause, cause.remedy]);
        list.says("gates", Status::Skipped, &[]);
        list.says("member", Status::Skipped, &[]);
        list.failed(&["token", "model"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_organisation_is_told_apart() {
    let ward = Ward::open().await;
    ward.hook("2.0").await;
    let list = ward.examined(&[("AZURE_DEVOPS_ORGANIZATION_URL", &format!("{NOBODY}/contoso"))]).await;
    list.failed(&["azure_devops"]);
    list.says("member", Status::Skipped, &["does not answer"]);
    for (fault, words) in [
        (json!({"kind": "expired_token"}), &["does not take the token (HTTP 401)", "499b84ac"][..]),
        (json!({"kind": "sign_in_page"}), &["sign-in page (HTTP 203)", "connected to the agent's tenant"]),
        (
            json!({"kind": "sign_in_page", "args": {"status": 302}}),
            &["sends to its sign-in page (HTTP 302)", "connected to the agent's tenant"],
        ),
        (json!({"kind": "unknown_user"}), &["TF400813", "does not know the agent user", "Basic access"]),
        (json!({"kind": "throttle", "args": {"retry_after": 30}}), &["throttling for 30 s", "Wait"]),
        (
            json!({"kind": "server_error", "args": {"status": 503}}),
            &["not available", "503", "Try again later"],
        ),
    ] {
        let mut fault = fault;
        fault["route"] = json!("ConnectionData");
        fault["nth"] = json!(0);
        ward.fault(fault).await;
        let list = ward.examined(&[]).await;
        list.failed(&["member"]);
        list.says("member", Status::Failed, words);
        list.says("project", Status::Skipped, &["does not let the agent user in"]);
    }
    ward.fault(json!({"route": "nothing", "nth": 1, "kind": "latency"})).await;

    let list = ward.examined(&[("AZURE_DEVOPS_PROJECT", "Nowhere")]).await;
    list.failed(&["project"]);
    list.says("project", Status::Failed, &["TF200016", "Nowhere", "Check the project's name"]);
    list.says("repository", Status::Skipped, &[]);
    let list = ward.examined(&[("AZURE_DEVOPS_REPOSITORY", "nothing")]).await;
    list.failed(&["repository"]);
    list.says("repository", Status::Failed, &["TF401019", "web-shop", "AZURE_DEVOPS_REPOSITORY"]);
    list.says("work_items", Status::Ok, &[]);
    list.says("licence", Status::Ok, &[]);
    list.says("permission.push", Status::Skipped, &[]);

    ward.fault(json!({"route": "GET workItems", "nth": 0, "kind": "server_error"})).await;
    ward.examined(&[]).await.says("work_items", Status::Failed, &["500"]);
    ward.fault(json!({"route": "nothing", "nth": 1, "kind": "latency"})).await;
}

/// What a run meets where doctor has nothing to look at: each with words of its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told_by_its_own_code() {
    let ward = Ward::open().await;
    let mut settings = Settings::default();
    ward.settings().iter().for_each(|(name, value)| settings.set(name, value));
    let config = settings.check_own().unwrap();
    let identity = identity::Identity::new(&config.identity, ward.http.clone(), Clock::Real);
    let azure = Client::new(&config.azure_devops, identity, ward.http.clone(), Clock::Real);
    let repository = RepositoryRef { project: "Fabrikam".into(), repository: "nothing".into() };
    let missing = [
        ("TF401232", "work item", azure.work_item("Fabrikam", 9_999).await.map(drop)),
        ("TF200016", "project", azure.project("Nowhere").await.map(drop)),
        ("TF401019", "repository", azure.repository(&repository).await.map(drop)),
    ];
    let mut remedies = std::collections::BTreeSet::new();
    for (code, what, found) in missing {
        let error = found.unwrap_err();
        let remedy = error.remedy();
        assert!(matches!(error, Error::NotFound(_)), "{error:?}");
        assert_eq!(error.failure().and_then(Failure::code), Some(code), "{error}");
        assert!(remedy.contains(what), "{code}: {remedy}");
        assert!(remedies.insert(remedy.clone()), "{code} shares its remedy: {remedy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_and_access_level() {
    let ward = Ward::open().await;
    ward.hook("2.0").await;
    let agent = "ado-coworker";
    for (permission, scope, id, words) in [
        ("GenericContribute", "web-shop", "permission.push", "Contribute"),
        ("CreateBranch", "web-shop", "permission.create_branch", "Create branch"),
        ("PullRequestContribute", "web-shop", "permission.pull_requests", "Contribute to pull requests"),
        ("QueueBuilds", "Fabrikam", "permission.queue_builds", "Queue builds"),
        ("WorkItemWrite", "Fabrikam", "permission.write_work_items", "Edit work items"),
    ] {
        let change =
            |denied| json!({"person": agent, "scope": scope, "permission": permission, "denied": denied});
        ward.access(change(true)).await;
        let list = ward.examined(&[]).await;
        list.failed(&[id]);
        list.says(id, Status::Failed, &[words, "Allow it"]);
        ward.access(change(false)).await;
    }
    let hidden = json!({"person": agent, "scope": "Fabrikam", "permission": "WorkItemRead"});
    ward.access(hidden).await;
    let list = ward.examined(&[]).await;
    assert_ne!(list.at("work_items").status, Status::Ok);
    list.says("permission.read_work_items", Status::Failed, &["View work items"]);
    let shown = json!({"person": agent, "scope": "Fabrikam", "permission": "WorkItemRead", "denied": false});
    ward.access(shown).await;

    ward.fault(json!({"route": "Permissions", "nth": 0, "kind": "server_error", "args": {"status": 500}}))
        .await;
    let list = ward.examined(&[]).await;
    list.failed(&[]);
    list.says("permission.push", Status::Warning, &["cannot be read", "first write"]);
    ward.fault(json!({"route": "nothing", "nth": 1, "kind": "latency"})).await;

    ward.access(json!({"person": agent, "licence": "stakeholder"})).await;
    let list = ward.examined(&[]).await;
    list.failed(&["repository", "licence", "permission.queue_builds"]);
    list.says("licence", Status::Failed, &["Stakeholder", "Basic access"]);
    list.says("work_items", Status::Ok, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn service_hooks_are_looked_for() {
    let ward = Ward::open().await;
    let list = ward.examined(&[]).await;
    list.failed(&["service_hooks"]);
    let address = format!("{PUBLIC_URL}/webhooks/azure-devops");
    list.says("service_hooks", Status::Failed, &["No service hook", &address]);

    let (old, _) = ward.hook("1.0").await;
    ward.examined(&[]).await.says("service_hooks", Status::Failed, &["old version", "2.0"]);
    ward.send("DELETE", old, Value::Null).await;
    let (url, mut body) = ward.hook("2.0").await;
    ward.examined(&[]).await.says("service_hooks", Status::Ok, &[&address]);
    body["status"] = json!("disabledByUser");
    ward.send("PUT", url, body).await;
    ward.examined(&[]).await.says("service_hooks", Status::Failed, &["switched off", "Enable it"]);

    let blind = json!({"person": "ado-coworker", "scope": "Fabrikam", "permission": "ViewSubscriptions"});
    ward.access(blind).await;
    ward.examined(&[]).await.says("service_hooks", Status::Warning, &["may not see", &address]);
    let nowhere = [("PUBLIC_URL", "https://elsewhere.contoso.example")];
    ward.examined(&nowhere).await.says("service_hooks", Status::Warning, &["elsewhere"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn model_and_clock() {
    let ward = Ward::open().await;
    ward.hook("2.0").await;
    let list = ward.examined(&[("AZURE_OPENAI_ENDPOINT", NOBODY)]).await;
    list.failed(&["model"]);
    list.says("model", Status::Failed, &["does not answer", "AZURE_OPENAI_ENDPOINT"]);
    ward.script(json!([{ "kind": "deployment_not_found" }])).await;
    let list = ward.examined(&[]).await;
    list.says("model", Status::Failed, &["no deployment stand-in", "AZURE_OPENAI_DEPLOYMENT"]);
    ward.script(json!([{ "kind": "throttle", "retry_after": 3_600 }])).await;
    ward.examined(&[]).await.says("model", Status::Failed, &["busy", "quota"]);

    let now = Clock::Real.now();
    let ahead = |seconds| Clock::stepped(clock::add(now, Duration::from_secs(seconds)));
    let list = ward.examined_at(&[], ahead(120)).await;
    list.says("clock", Status::Warning, &["ahead of", "time service"]);
    let list = ward.examined_at(&[], ahead(1_200)).await;
    list.says("clock", Status::Failed, &["ahead of", "Tokens are refused"]);
}

async fn run(ward: &Ward, arguments: &[&str], changes: &[(&str, &str)]) -> (i32, String) {
    let mut command = command(arguments);
    command.envs(ward.settings()).envs(changes.iter().copied());
    let output = tokio::time::timeout(harness::PATIENCE, command.output()).await.unwrap().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_tell_people_and_machines() {
    let ward = Ward::open().await;
    ward.hook("2.0").await;
    let (code, text) = run(&ward, &["doctor"], &[]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("ok         Settings"), "{text}");
    assert!(text.contains("0 failed"), "{text}");
    let (code, text) = run(&ward, &["doctor", "--json"], &[("AZURE_DEVOPS_PROJECT", "Nowhere")]).await;
    let json: Value = serde_json::from_str(&text).unwrap();
    let project = json["checks"].as_array().unwrap().iter().find(|check| check["id"] == "project").unwrap();
    assert_eq!((code, &project["status"]), (1, &json!("failed")), "{text}");
    for part in ["id", "title", "status", "reason", "remedy"] {
        assert!(project[part].is_string(), "{project}");
    }

    // Settings that cannot be used, and secrets of the sidecar.
    let (code, text) = run(&ward, &["doctor"], &[("AGENT_IDENTITY_ID", "x"), ("LISTEN_ADDRESS", "y")]).await;
    assert_eq!(code, 1);
    assert!(text.contains("AGENT_IDENTITY_ID") && text.contains("LISTEN_ADDRESS"), "{text}");
    assert!(text.contains("skipped    Membership"), "{text}");
    let foreign = [("AzureAd__ClientCredentials__0__ClientSecret", "s3cret-value")];
    let (code, text) = run(&ward, &["doctor"], &foreign).await;
    assert_eq!(code, 1);
    assert!(
        text.contains("failed     Secrets of others") && text.contains("ok         Membership"),
        "{text}"
    );
    assert!(!text.contains("s3cret-value"));
    let (code, text) = run(&ward, &["doctor"], &[("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token")]).await;
    assert_eq!(code, 0);
    assert!(text.contains("warning    Secrets of others"), "{text}");

    // The token's claims, never the token.
    let (code, text) = run(&ward, &["token", "show"], &[]).await;
    assert_eq!(code, 0, "{text}");
    for words in ["55555555-eeee", "user_impersonation", "13 is an agent user", "agent user's token"] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    ward.sidecar(
        "configure",
        json!({ "allow_overrides_unauthenticated": false, "profile": "ado", "request_app_token": true }),
    )
    .await;
    let (code, json) = run(&ward, &["token", "show", "--json"], &[]).await;
    let shown: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &shown["accepted"]), (1, &json!(false)), "{json}");
    assert!(shown["reason"].as_str().unwrap().contains("blueprint"), "{json}");
    assert!(!text.contains("eyJ") && !json.contains("eyJ"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_has_no_failed_line_on_page_and_api() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let list = demo.get("/api/doctor").await;
    let checks = list["checks"].as_array().unwrap();
    let with = |status: &str| -> Vec<&str> {
        checks.iter().filter(|check| check["status"] == status).map(|c| c["id"].as_str().unwrap()).collect()
    };
    assert_eq!(with("failed"), Vec::<&str>::new(), "{list:#}");
    assert_eq!(with("warning"), ["record_key", "secret.webhook_password"], "{list:#}");
    let page = demo.http.get(format!("{}/doctor", demo.page)).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Nothing failed") && page.contains("Check again"), "{page}");
    demo.stop().await;
}
