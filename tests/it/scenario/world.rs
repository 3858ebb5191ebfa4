//! One scenario's world: the simulated organisation, and the co-worker in it, over real HTTP.
//!
//! The co-worker runs within this process, with a clock that can be moved, or is the built program.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ado_coworker::app::App;
use ado_coworker::clock::Clock;
use ado_coworker::config::Settings;
use ado_coworker::simulator::{self, entra, tokens};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::file::{Model, Scenario};
use crate::harness::{HOOK, Process};
use crate::people::Browser;

/// How often the clock of a world follows the real one.
const TICK: Duration = Duration::from_millis(4);

/// The file of the program's log, in the folder of its world.
const LOG: &str = "log.txt";

/// How the co-worker is run.
#[derive(Clone)]
pub enum Runs {
    /// Within this process, by a clock that can be moved.
    Within,
    /// As this program, with these defences switched off.
    Program { path: String, without: String },
}

pub struct World {
    pub simulation: Option<simulator::Running>,
    pub organization: String,
    pub model: String,
    pub page: String,
    pub http: reqwest::Client,
    /// None where the program has its own clock.
    pub clock: Option<Clock>,
    /// Requests, effects and people before the first act.
    pub before: (u64, u64),
    /// Seeded and made objects, by kind, in order.
    pub made: HashMap<&'static str, Vec<u64>>,
    pub agent_id: String,
    /// Answers to acts that were not those that were wanted.
    pub wrong: std::sync::Mutex<Vec<String>>,
    browsers: Mutex<HashMap<String, Arc<Mutex<Browser>>>>,
    known: Mutex<Vec<String>>,
    stop: CancellationToken,
    server: Option<tokio::task::JoinHandle<anyhow::Result<()>>>,
    program: Option<Process>,
    folder: tempfile::TempDir,
}

fn folder() -> tempfile::TempDir {
    // Memory, where there is such a folder: no scenario is about the disk.
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

impl World {
    pub async fn start(scenario: &Scenario, runs: &Runs) -> Self {
        let folder = folder();
        let clock = match runs {
            Runs::Within => Clock::stepped(Clock::Real.now()),
            Runs::Program { .. } => Clock::Real,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listening = listener.local_addr().unwrap();
        let page = format!("http://{listening}");
        let simulation = simulator::start(simulation(&clock, listening, folder.path())).await.unwrap();
        let organization = simulation.organization_url.to_string().trim_end_matches('/').to_owned();
        let settings = settings(scenario, &simulation, folder.path(), listening);
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(follow(clock.clone())));
        let mut model = simulation.model_url.to_string().trim_end_matches('/').to_owned();
        if scenario.model == Model::Obedient {
            model.push_str("/obedient");
        }
        let (mut server, mut program) = (None, None);
        match runs {
            Runs::Within => {
                let mut own = Settings::default();
                settings.iter().for_each(|(name, value)| own.set(name, value));
                let mut config = own.check_own().unwrap_or_else(|error| panic!("{}: {error}", scenario.id));
                config.web.listen_address = listening;
                config.web.local_person = "bob".into();
                let url = format!("{page}/").parse().unwrap();
                let app = App::build(config, url, clock.clone()).await.unwrap();
                server = Some(tokio::spawn(app.serve(listener, stop.clone())));
            }
            Runs::Program { path, without } => {
                drop(listener);
                program = Some(started(path, without, &settings, folder.path()).await);
            }
        }
        Self {
            simulation: Some(simulation),
            organization,
            model,
            page,
            http: ado_coworker::config::http_client().unwrap(),
            clock: Some(clock).filter(|clock| matches!(clock, Clock::Stepped(_))),
            before: (0, 0),
            made: HashMap::new(),
            agent_id: tokens::AGENT_USER_ID.to_owned(),
            wrong: std::sync::Mutex::default(),
            browsers: Mutex::default(),
            known: Mutex::new(["alice", "bob", "carol"].map(str::to_owned).to_vec()),
            stop,
            server,
            program,
            folder,
        }
    }

    pub async fn stop(mut self) {
        if let Some(program) = self.program.take() {
            program.stop().await;
        }
        self.stop.cancel();
        if let Some(server) = self.server.take() {
            server.await.unwrap().unwrap();
        }
        if let Some(simulation) = self.simulation.take() {
            simulation.shutdown().await.unwrap();
        }
    }

    /// Everything that stands in the files of the journal, as it is on the disk.
    pub fn journal_bytes(&self) -> String {
        let files = std::fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().path());
        let own = files.filter(|path| path.to_string_lossy().contains("journal.db"));
        own.map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()).collect()
    }

    /// What the program has logged.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(LOG)).unwrap()
    }

    pub fn simulation(&self) -> &simulator::Running {
        self.simulation.as_ref().expect("it runs until it is stopped")
    }

    /// Asks the organisation as a person; status and answer.
    pub async fn ask(&self, who: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.meet(who).await;
        let url = format!("{}{path}", self.organization);
        let request = self.http.request(method.parse().unwrap(), &url);
        let request = match who {
            "agent" => request.header("authorization", self.agent_token().await),
            who => request.basic_auth(who, Some(format!("demo-{who}"))),
        };
        let patch = path.to_ascii_lowercase().contains("/wit/workitems/") && !path.contains("/comments");
        let request = match (body.is_null(), patch) {
            (true, _) => request,
            (_, true) => request.header("content-type", "application/json-patch+json").body(body.to_string()),
            _ => request.json(body),
        };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The same, which must succeed.
    pub async fn send(&self, who: &str, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(who, method, path, &body).await;
        assert!((200..300).contains(&status), "{who}: {method} {path} answered {status}: {answer}");
        answer
    }

    pub async fn get(&self, who: &str, path: &str) -> Value {
        self.send(who, "GET", path, Value::Null).await
    }

    /// Somebody whom nobody has invited yet comes as a guest of the project.
    async fn meet(&self, who: &str) {
        let mut known = self.known.lock().await;
        if who != "agent" && !known.iter().any(|name| name == who) {
            drop(known);
            self.invite(json!({ "name": who, "display_name": who, "project": "Fabrikam" })).await;
            known = self.known.lock().await;
            known.push(who.to_owned());
        }
    }

    pub async fn invite(&self, newcomer: Value) {
        let name = newcomer["name"].as_str().unwrap_or_default().to_owned();
        let answer = self.control("people", &newcomer).await;
        assert!(answer["id"].is_string(), "{name} cannot be added: {answer}");
        self.known.lock().await.push(name);
    }

    /// The agent's bearer token, as the sidecar gives it.
    async fn agent_token(&self) -> String {
        let base = self.simulation().sidecar_url.as_str().trim_end_matches('/').to_owned();
        let query =
            format!("AgentIdentity={}&AgentUsername={}", tokens::AGENT_IDENTITY_ID, tokens::AGENT_USER_UPN);
        let url = format!("{base}/AuthorizationHeaderUnauthenticated/ado?{query}");
        let answer: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        answer["authorizationHeader"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    fn origin(&self) -> String {
        url::Url::parse(&self.organization).unwrap().origin().ascii_serialization()
    }

    /// A control order of the simulator.
    pub async fn control(&self, command: &str, body: &Value) -> Value {
        let url = format!("{}/_simulator/{command}", self.origin());
        let request = if body.is_null() { self.http.get(url) } else { self.http.post(url).json(body) };
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Asks the co-worker's page, as a person where one is given, else as who sits at the machine.
    pub async fn page(&self, who: Option<&str>, path: &str, body: Option<Value>) -> (u16, Value) {
        let response = match who {
            None => {
                let url = format!("{}{path}", self.page);
                let request = match &body {
                    Some(body) => self.http.post(url).json(body),
                    None => self.http.get(url),
                };
                request.send().await.unwrap()
            }
            Some("agent") => {
                let token = self.agent_token().await;
                let url = format!("{}{path}", self.page);
                let request = self.http.post(url).header("authorization", token);
                request.json(&body.unwrap_or(Value::Null)).send().await.unwrap()
            }
            Some(who) => {
                let browser = self.browser(who).await;
                let mut browser = browser.lock().await;
                match body {
                    Some(body) => browser.post(path, body).await,
                    None => browser.get(path).await,
                }
            }
        };
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The browser of a person who has signed in.
    async fn browser(&self, who: &str) -> Arc<Mutex<Browser>> {
        let mut browsers = self.browsers.lock().await;
        if let Some(found) = browsers.get(who) {
            return found.clone();
        }
        let mut browser = Browser::with(self.http.clone(), &self.page);
        browser.sign_in(who).await;
        let browser = Arc::new(Mutex::new(browser));
        browsers.insert(who.to_owned(), browser.clone());
        browser
    }

    /// Moves time, where it can be moved.
    pub fn advance(&self, seconds: u64) {
        let clock =
            self.clock.as_ref().expect("'advance' needs a clock that can be moved: run it within the test");
        clock.advance(Duration::from_secs(seconds));
    }

    pub fn note(&mut self, kind: &'static str, id: u64) {
        self.made.entry(kind).or_default().push(id);
    }

    pub fn newest(&self, kind: &str) -> Option<u64> {
        self.made.get(kind)?.last().copied()
    }
}

async fn follow(clock: Clock) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(TICK).await;
        let now = Instant::now();
        clock.advance(now - last);
        last = now;
    }
}

fn simulation(clock: &Clock, page: SocketAddr, folder: &Path) -> simulator::Settings {
    simulator::Settings {
        listen: "127.0.0.1".parse().unwrap(),
        organization_port: 0,
        entra_port: 0,
        sidecar_port: 0,
        model_port: 0,
        data: folder.join("organization"),
        load: None,
        clock: clock.clone(),
        pace: Duration::ZERO,
        webhook: Some(simulator::Webhook {
            url: format!("http://{page}/webhooks/azure-devops").parse().unwrap(),
            username: HOOK.0.into(),
            password: HOOK.1.into(),
        }),
        seed: 1,
        provisioned: true,
    }
}

fn settings(
    scenario: &Scenario,
    running: &simulator::Running,
    folder: &Path,
    listening: SocketAddr,
) -> HashMap<String, String> {
    let model = running.model_url.as_str().trim_end_matches('/');
    let (endpoint, deployment, key) = match &scenario.model {
        Model::StandIn => (model.to_owned(), "stand-in".to_owned(), None),
        Model::Obedient => (format!("{model}/obedient"), "obedient".to_owned(), None),
        Model::Endpoint { url, deployment, key } => (url.clone(), deployment.clone(), key.clone()),
    };
    let groups = format!(
        "approver={};auditor={};admin={};break_glass={}",
        entra::GROUP_APPROVERS,
        entra::GROUP_AUDITORS,
        entra::GROUP_ADMINS,
        entra::GROUP_ADMINS
    );
    let database = format!("sqlite:{}", folder.join("journal.db").display());
    let mut settings: HashMap<String, String> = [
        ("AZURE_DEVOPS_ORGANIZATION_URL", running.organization_url.as_str()),
        ("AZURE_DEVOPS_PROJECT", "Fabrikam"),
        ("AZURE_DEVOPS_REPOSITORY", "web-shop"),
        ("SIDECAR_URL", running.sidecar_url.as_str()),
        ("AZURE_TENANT_ID", tokens::TENANT_ID),
        ("AGENT_IDENTITY_ID", tokens::AGENT_IDENTITY_ID),
        ("AGENT_USERNAME", tokens::AGENT_USER_UPN),
        ("SIGN_IN_CLIENT_ID", entra::SIGN_IN_CLIENT_ID),
        ("BLUEPRINT_ID", tokens::BLUEPRINT_ID),
        ("AZURE_AUTHORITY_HOST", running.entra_url.as_str()),
        ("GRAPH_URL", running.entra_url.as_str()),
        ("ROLE_GROUPS", &groups),
        ("AGENT_OWNER", "alice@contoso.example"),
        ("AGENT_SPONSOR", "alice@contoso.example"),
        ("WEBHOOK_USERNAME", HOOK.0),
        ("WEBHOOK_PASSWORD", HOOK.1),
        ("DATABASE_URL", &database),
        ("AZURE_OPENAI_ENDPOINT", &endpoint),
        ("AZURE_OPENAI_DEPLOYMENT", &deployment),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    settings.insert("LISTEN_ADDRESS".into(), listening.to_string());
    if let Some(variable) = key {
        settings.insert("AZURE_OPENAI_API_KEY".into(), variable_of(&variable));
    }
    if let Some(policy) = &scenario.policy {
        let path = folder.join("policy.toml");
        std::fs::write(&path, policy).unwrap();
        settings.insert("POLICY_FILE".into(), path.display().to_string());
    }
    let folder = folder.display().to_string();
    let own =
        scenario.settings.iter().map(|(name, value)| (name.clone(), value.replace("{{folder}}", &folder)));
    settings.extend(own);
    settings
}

#[allow(clippy::disallowed_methods, reason = "the key of an endpoint stands in no scenario file")]
fn variable_of(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("model.key names {name}, which is not set"))
}

#[allow(clippy::disallowed_methods, reason = "the test starts the product as a user does")]
async fn started(path: &str, without: &str, settings: &HashMap<String, String>, folder: &Path) -> Process {
    let log = std::fs::File::create(folder.join(LOG)).unwrap();
    let mut own = tokio::process::Command::new(path);
    own.arg("serve").env_clear().current_dir(std::env::temp_dir()).kill_on_drop(true);
    own.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(log);
    own.envs(settings).env("ADO_COWORKER_WEAKEN", without).env("LOG", "debug");
    let mut process = Process::start(own);
    process.told("ready").await;
    process
}
