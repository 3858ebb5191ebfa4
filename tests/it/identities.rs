//! The person at the command line, tokens at the doors, and identities that change during a run.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::harness::{PATIENCE, Process, command, eventually, settings};

pub const SENTENCE: &str =
    "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it.";
pub const AGENT: &str = "44444444-dddd-4ddd-8ddd-444444444444";
pub const USER: &str = "ado-coworker@contoso.example";

/// A simulated world with its Entra, and a serving co-worker to which people sign in.
pub struct Realm {
    _simulation: Process,
    _server: Process,
    settings: Vec<(&'static str, String)>,
    pub page: String,
    pub organization: String,
    pub sidecar: String,
    pub entra: String,
    pub http: reqwest::Client,
    pub folder: tempfile::TempDir,
}

impl Realm {
    async fn start(pace: &str) -> Self {
        Self::start_through(pace, async |sidecar| sidecar).await
    }

    /// The same with a way of its own to the sidecar: `line` gives the address to use in place of it.
    pub async fn start_through(pace: &str, line: impl AsyncFnOnce(String) -> String) -> Self {
        let mut simulation = Process::start(command(&["simulate", "--simulator-port", "0", "--pace", pace]));
        let organization = simulation.told("ready").await;
        let sidecar = simulation.told("sidecar").await;
        let model = simulation.told("model").await;
        let entra = simulation.told("entra").await;
        let folder = tempfile::tempdir().unwrap();
        let through = line(sidecar.clone()).await;
        let mut settings = settings(&organization, &through, &model, folder.path());
        settings.extend([
            ("SIGN_IN_CLIENT_ID", "77777777-ffff-4fff-8fff-777777777777".to_owned()),
            ("AZURE_TENANT_ID", "11111111-aaaa-4aaa-8aaa-111111111111".into()),
            ("BLUEPRINT_ID", "22222222-bbbb-4bbb-8bbb-222222222222".into()),
            ("AZURE_AUTHORITY_HOST", entra.clone()),
            ("GRAPH_URL", entra.clone()),
            ("ROLE_GROUPS", "approver=60000000-0000-4000-8000-000000000002".into()),
            ("LOG", "debug".into()),
            ("XDG_CONFIG_HOME", folder.path().join("config").display().to_string()),
        ]);
        let mut serve = command(&["serve"]);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        serve.envs(settings.iter().cloned()).stderr(log);
        let mut server = Process::start(serve);
        let page = server.told("ready").await;
        let http = ado_coworker::config::http_client().unwrap();
        Self {
            _simulation: simulation,
            _server: server,
            settings,
            page,
            organization,
            sidecar,
            entra,
            http,
            folder,
        }
    }

    /// Status, standard output and standard error of a command.
    pub async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = command(arguments);
        command.envs(self.settings.iter().cloned()).stderr(Stdio::piped());
        let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// `login`, with `who` at the browser.
    async fn log_in(&self, who: &str) {
        let mut command = command(&["login"]);
        command.envs(self.settings.iter().cloned()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let code = loop {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
            if let Some((_, code)) = line.split_once("enter the code ") {
                break code.split_whitespace().next().unwrap().trim_end_matches('.').to_owned();
            }
        };
        let form = [("user_code", code.as_str()), ("user", who)];
        let page = format!("{}/devicelogin", self.entra.trim_end_matches('/'));
        assert!(self.http.post(page).form(&form).send().await.unwrap().status().is_success());
        let status = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
        assert!(status.success());
    }

    fn kept(&self) -> std::path::PathBuf {
        self.folder.path().join("config/ado-coworker/sign-in.json")
    }

    fn token(&self) -> String {
        let kept: Value = serde_json::from_slice(&std::fs::read(self.kept()).unwrap()).unwrap();
        kept["access_token"].as_str().unwrap().to_owned()
    }

    pub async fn post(&self, path: &str, token: Option<&str>, body: Value) -> (u16, Value) {
        let mut request = self.http.post(format!("{}{path}", self.page)).json(&body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
    }

    async fn text(&self, path: &str) -> String {
        self.http.get(format!("{}{path}", self.page)).send().await.unwrap().text().await.unwrap()
    }

    pub async fn shown(&self, id: &str) -> Value {
        serde_json::from_str(&self.text(&format!("/api/runs/{id}")).await).unwrap()
    }

    pub async fn settled(&self, id: &str) -> Value {
        eventually(&format!("the end of run {id}"), async || {
            let run = self.shown(id).await;
            (!["queued", "running"].contains(&run["status"].as_str().unwrap())).then_some(run)
        })
        .await
    }

    /// A token of the sidecar, as anybody on this machine gets it.
    async fn ask_sidecar(&self, more: &str) -> String {
        let url = format!(
            "{}/AuthorizationHeaderUnauthenticated/ado?AgentIdentity={AGENT}&{more}",
            self.sidecar.trim_end_matches('/')
        );
        let answer: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        answer["authorizationHeader"].as_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned()
    }

    pub async fn control(&self, base: &str, what: &str, body: Value) {
        let url = format!("{}/_simulator/{what}", base.trim_end_matches('/'));
        let response = self.http.post(url).json(&body).send().await.unwrap();
        assert!(response.status().is_success(), "{what}: {}", response.text().await.unwrap());
    }

    /// Orders the whole job and waits until its first tool has run.
    pub async fn at_work(&self) -> String {
        let (status, made) = self.post("/api/runs", None, json!({"instruction": SENTENCE})).await;
        assert_eq!(status, 202, "{made}");
        let id = made["id"].as_str().unwrap().to_owned();
        eventually("the first step", async || {
            let run = self.shown(&id).await;
            let steps =
                run["steps"].as_array().is_some_and(|steps| steps.iter().any(|step| step["kind"] == "tool"));
            steps.then_some(())
        })
        .await;
        id
    }

    /// Who changed the organisation, as its ledger has it.
    pub async fn ledger(&self) -> Vec<Value> {
        let origin = url::Url::parse(&self.organization).unwrap().origin().ascii_serialization();
        let answer = self.http.get(format!("{origin}/_simulator/ledger")).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["value"].as_array().unwrap().clone()
    }

    async fn mend(&self) {
        for url in [format!("{}/_simulator/entra", self.entra), format!("{}/_simulator", self.sidecar)] {
            let url = url.replace("//_sim", "/_sim");
            assert!(self.http.delete(url).send().await.unwrap().status().is_success());
        }
        self.control(&self.sidecar, "restart", Value::Null).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_at_the_command_line_and_agents_do_not_pass_for_people() {
    let realm = Realm::start("0").await;
    let (code, out, _) = realm.run(&["whoami", "--json"]).await;
    assert_eq!((code, out.contains("\"signed_in\":false")), (1, true), "{out}");
    realm.log_in("alice").await;
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(realm.kept()).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let (code, out, _) = realm.run(&["whoami", "--json"]).await;
    let who: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &who["account"]), (0, &json!("alice@contoso.example")));
    assert_eq!(who["roles"], json!(["instructor", "approver"]));
    let token = realm.token();
    assert!(!out.contains(&token));

    // The server knows who asks.
    let (status, made) =
        realm.post("/api/runs", Some(&token), json!({"instruction": "List the open work items"})).await;
    assert_eq!(status, 202, "{made}");
    let run = realm.settled(made["id"].as_str().unwrap()).await;
    assert_eq!((&run["status"], &run["requested_by"]), (&json!("done"), &json!("Alice Martin")));
    let (code, _, told) = realm.run(&["run", "--url", &realm.page, "List the open work items"]).await;
    assert_eq!(code, 0, "{told}");
    let newest: Value = serde_json::from_str(&realm.text("/api/runs").await).unwrap();
    assert_eq!(newest["runs"][0]["requested_by"], "Alice Martin");

    // Agents are refused as such, and what is not a token of ours is none.
    let user = realm.ask_sidecar(&format!("AgentUsername={USER}")).await;
    let app = realm.ask_sidecar("optionsOverride.RequestAppToken=true").await;
    for path in ["/api/approvals/1/decision", "/api/runs"] {
        for agents in [&user, &app] {
            let (status, body) = realm.post(path, Some(agents), json!({"decision": "approve"})).await;
            assert_eq!(status, 403, "{path} {body}");
            assert!(body["detail"].as_str().unwrap().contains("agent's"), "{body}");
        }
    }
    let (head, tail) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", tail.chars().rev().collect::<String>());
    for bad in ["x", forged.as_str(), &format!("{head}.")] {
        let (status, body) = realm.post("/api/runs", Some(bad), json!({"instruction": "x"})).await;
        assert_eq!(status, 401, "{body}");
    }

    // Side by side, each as what it is.
    let (code, out, _) = realm.run(&["token", "show"]).await;
    assert_eq!(code, 0, "{out}");
    for words in
        ["agent user", "application alone", "on behalf of alice@contoso.example", "a1e3e000", "55555555-eeee"]
    {
        assert!(out.contains(words), "{words} is not in {out}");
    }
    let (_, out, _) = realm.run(&["token", "show", "--json"]).await;
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert!(shown["beside"]["application"]["claims"].to_string().contains("\"app\""), "{shown}");
    assert!(!out.contains("eyJ"));

    // Rights of others on the file are refused; signing out removes it.
    std::fs::set_permissions(realm.kept(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let (code, _, told) = realm.run(&["whoami"]).await;
    assert!(code == 1 && told.contains("chmod 600"), "{code} {told}");
    assert_eq!(realm.run(&["logout"]).await.0, 0);
    assert!(!realm.kept().exists());
    assert!(realm.run(&["logout"]).await.1.contains("Nobody was signed in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_access_to_the_project_gives_no_orders_for_it() {
    let realm = Realm::start("0").await;
    realm.log_in("bob").await;
    let token = realm.token();
    let api = format!("{}/_apis/userentitlements", realm.organization);
    let as_alice = |request: reqwest::RequestBuilder| request.basic_auth("alice", Some("demo-alice")).send();
    let found =
        as_alice(realm.http.get(format!("{api}?$filter=name%20eq%20%27bob%27&api-version=7.1-preview")))
            .await
            .unwrap();
    let status = found.status();
    let found: Value = found.json().await.unwrap();
    assert!(status.is_success(), "{found}");
    let id = found["members"][0]["id"].as_str().unwrap_or_else(|| panic!("{found}")).to_owned();
    let gone = as_alice(realm.http.delete(format!("{api}/{id}?api-version=7.1-preview"))).await.unwrap();
    assert!(gone.status().is_success(), "{}", gone.text().await.unwrap());
    let (status, body) =
        realm.post("/api/runs", Some(&token), json!({"instruction": "List the open work items"})).await;
    assert_eq!(status, 403, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("no access to the project 'Fabrikam'"), "{body}");
    // The local person is not asked.
    let (status, _) = realm.post("/api/runs", None, json!({"instruction": "List the open work items"})).await;
    assert_eq!(status, 202);
}

/// Forms in which a token could hide: as it is, base64 of it at each alignment, hexadecimal.
fn forms(token: &str) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
    // The middle is enough, and what stands before and after it does not matter then.
    let middle = &token.as_bytes()[token.len() / 2..token.len() / 2 + 48];
    let mut forms = vec![middle.to_vec()];
    for skip in 0..3 {
        let text = engine.encode(&middle[skip..]);
        forms.push(text.as_bytes()[..text.len() - 4].to_vec());
    }
    forms.push(middle.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes());
    forms
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_anywhere_after_a_whole_run() {
    let realm = Realm::start("0").await;
    realm.log_in("alice").await;
    let own = realm.token();
    let mut browser = crate::people::Browser::new(&realm.page);
    browser.sign_in("alice").await;
    let (status, made) = realm.post("/api/runs", Some(&own), json!({"instruction": SENTENCE})).await;
    assert_eq!(status, 202, "{made}");
    let id = made["id"].as_str().unwrap();
    assert_eq!(realm.settled(id).await["status"], "done");
    let user = realm.ask_sidecar(&format!("AgentUsername={USER}")).await;
    realm.post("/api/runs", Some(&user), json!({"instruction": "x"})).await;
    realm.post(&format!("/api/runs/{id}/messages"), Some("eyJhbGciOiJSUzI1NiJ9.e30.c2ln"), json!({})).await;

    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    for path in [
        "/",
        "/runs",
        "/events",
        "/doctor",
        "/identity",
        "/nowhere",
        "/api/runs",
        "/api/events",
        "/api/doctor",
        &format!("/runs/{id}"),
        &format!("/api/runs/{id}"),
        &format!("/api/audit/{id}"),
        "/sign-in/callback?code=x",
    ] {
        places.push((path.to_owned(), realm.text(path).await.into_bytes()));
        places.push((format!("{path} signed in"), browser.text(path).await.into_bytes()));
    }
    for entry in std::fs::read_dir(realm.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            places.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    assert!(
        places.iter().any(|(name, bytes)| name.ends_with("log") && !bytes.is_empty()),
        "the log was kept"
    );
    assert!(places.iter().any(|(name, _)| name.ends_with("journal.db")), "the journal is a file");
    let session = vec![browser.cookie("ado-coworker-session").into_bytes()];
    let secrets = [
        ("the agent user's token", forms(&user)),
        ("the person's token", forms(&own)),
        ("the session", session),
    ];
    for (what, forms) in &secrets {
        for form in forms {
            for (name, bytes) in &places {
                assert!(!bytes.windows(form.len()).any(|window| window == form), "{what} is in {name}");
            }
        }
    }
    // And nothing that looks like a signed token at all, but in what a person typed.
    let looks = regex::bytes::Regex::new(r"eyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}")
        .unwrap();
    for (name, bytes) in &places {
        assert!(!looks.is_match(bytes), "a token is in {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_taken_away_during_a_run_ends_it_with_a_remedy() {
    let realm = Realm::start("25").await;
    let blueprint = "22222222-bbbb-4bbb-8bbb-222222222222";
    let cases = [
        ("disable", json!({"id": AGENT}), "AADSTS7000112"),
        ("disable", json!({"id": USER}), "AADSTS50057"),
        ("disable", json!({"id": blueprint}), "AADSTS7000112"),
        (
            "revoke-grant",
            json!({"resource": "499b84ac-1321-427f-aa17-267ca6975798", "user": USER}),
            "AADSTS65001",
        ),
        ("expire-secret", json!({}), "AADSTS7000222"),
        ("conditional-access", json!({"control": "block"}), "AADSTS53003"),
    ];
    for (what, body, code) in cases {
        let id = realm.at_work().await;
        realm.control(&realm.entra, &format!("entra/{what}"), body).await;
        realm.control(&realm.sidecar, "expire", json!({})).await;
        realm.control(&realm.sidecar, "restart", Value::Null).await;
        let run = realm.settled(&id).await;
        let said = run.to_string();
        assert!(["failed", "parked", "waiting"].contains(&run["status"].as_str().unwrap()), "{what}: {said}");
        assert!(said.contains(code), "{what}: {code} is not in {said}");
        assert!(run["remedy"].as_str().is_some_and(|text| text.len() > 20), "{what}: {said}");
        realm.mend().await;
    }
    // Healed, the next one works; keys that rotate disturb nobody.
    realm.control(&realm.entra, "entra/rotate-keys", json!({})).await;
    let (_, made) = realm.post("/api/runs", None, json!({"instruction": "List the open work items"})).await;
    assert_eq!(realm.settled(made["id"].as_str().unwrap()).await["status"], "done");
    // Every change was the agent user's, whatever happened between.
    let text = json!(realm.ledger().await).to_string();
    assert!(text.contains("ado-coworker") && !text.contains("blueprint"), "{text}");
}
