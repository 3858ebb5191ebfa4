//! Starts the real binary as a user would, and asks it over real HTTP.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

/// Longest time for anything a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running `demo`.
pub struct Demo {
    child: Child,
    _lines: Lines<BufReader<ChildStdout>>,
    /// Base URL of the page.
    pub page: String,
    /// URL of the simulated organisation.
    pub organization: String,
    /// Where it keeps what it keeps.
    pub data: std::path::PathBuf,
    pub http: reqwest::Client,
}

/// A command of the product, with nothing of this machine's settings.
#[allow(clippy::disallowed_methods, reason = "the test starts the product as a user does")]
pub fn command(arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ado-coworker"));
    // Keeps .env files and settings of the developer out of the test.
    let folder = std::env::temp_dir();
    command.args(arguments).env_clear().current_dir(folder).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

impl Demo {
    pub async fn start(data: &std::path::Path) -> Self {
        Self::start_set(data, &[]).await
    }

    /// With further settings.
    pub async fn start_set(data: &std::path::Path, more: &[(&str, &str)]) -> Self {
        let folder = data.to_str().unwrap();
        let arguments = ["demo", "--port", "0", "--simulator-port", "0", "--pace", "0", "--data", folder];
        let mut command = command(&arguments);
        command.envs(more.iter().copied());
        let mut child = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = async || {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("the demo gets ready");
            line.unwrap().expect("the demo did not end")
        };
        let ready = next().await;
        let page = ready.strip_prefix("ready ").unwrap_or_else(|| panic!("'{ready}'")).to_owned();
        let organization = next().await;
        let organization = organization.split(' ').nth(1).unwrap().to_owned();
        assert!(next().await.starts_with("model "));
        let http = ado_coworker::config::http_client().unwrap();
        Self { child, _lines: lines, page, organization, data: data.to_owned(), http }
    }

    /// Ends it as an operator would, and waits.
    pub async fn stop(mut self) {
        let pid = self.child.id().expect("it runs").to_string();
        signal("TERM", &pid).await;
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it stops in time");
        assert!(status.unwrap().success(), "a stopped demo ends with status 0");
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let response = self.http.post(format!("{}{path}", self.page)).json(&body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> Value {
        let response = self.http.get(format!("{}{path}", self.page)).send().await.unwrap();
        assert!(response.status().is_success(), "{path} answered {}", response.status());
        response.json().await.unwrap()
    }

    /// Gives an order and waits for its end.
    pub async fn order(&self, instruction: &str) -> Value {
        let (status, made) = self.post("/api/runs", json!({ "instruction": instruction })).await;
        assert_eq!(status, 202, "{made}");
        self.ended(made["id"].as_str().unwrap()).await
    }

    /// Waits for the end of a run.
    pub async fn ended(&self, id: &str) -> Value {
        let path = format!("/api/runs/{id}");
        eventually(&format!("the end of run {id}"), async || {
            let run = self.get(&path).await;
            let status = run["status"].as_str().unwrap();
            (!["queued", "running"].contains(&status)).then_some(run)
        })
        .await
    }

    /// Asks the organisation as a person.
    pub async fn as_person(&self, person: &str, path: &str) -> Value {
        let url = format!("{}{path}", self.organization);
        let request = self.http.get(&url).basic_auth(person, Some(format!("demo-{person}")));
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{url} answered {}", response.status());
        response.json().await.unwrap()
    }

    /// Sends something to the organisation as a person.
    pub async fn send_as(&self, person: &str, method: &str, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.organization);
        let request = self.http.request(method.parse().unwrap(), &url).json(&body);
        let request = request.basic_auth(person, Some(format!("demo-{person}")));
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{url} answered {status}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }
}

/// Tries until there is something, or panics with `what`.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[allow(clippy::disallowed_methods, reason = "the test stops the product as an operator does")]
async fn signal(name: &str, pid: &str) {
    let status = tokio::process::Command::new("kill").args(["-s", name, pid]).status().await.unwrap();
    assert!(status.success());
}

/// A simulated world and a serving co-worker, each a process of its own.
pub struct World {
    _simulation: Process,
    server: Process,
    settings: Vec<(&'static str, String)>,
    pub page: String,
    pub organization: String,
    pub model: String,
    pub http: reqwest::Client,
    _folder: tempfile::TempDir,
}

/// A started command, and what it says on standard output.
pub struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Ends it as an operator would, and waits; whether it ended well.
    pub async fn stop(mut self) -> bool {
        signal("TERM", &self.child.id().expect("it runs").to_string()).await;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it stops in time");
        ended.unwrap().success()
    }

    pub fn start(mut command: tokio::process::Command) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The second word of the next line, which begins with `name`.
    pub async fn told(&mut self, name: &str) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("it gets ready").unwrap().expect("it did not end");
        let (first, rest) = line.split_once(' ').unwrap();
        assert_eq!(first, name, "{line}");
        rest.split(' ').next().unwrap().to_owned()
    }
}

/// Webhook credentials of a [`World`].
pub const HOOK: (&str, &str) = ("hook", "hook-password");

/// Settings of a co-worker in a simulated world.
pub fn settings(
    organization: &str,
    sidecar: &str,
    model: &str,
    folder: &std::path::Path,
) -> Vec<(&'static str, String)> {
    vec![
        ("AZURE_DEVOPS_ORGANIZATION_URL", organization.to_owned()),
        ("AZURE_DEVOPS_PROJECT", "Fabrikam".into()),
        ("AZURE_DEVOPS_REPOSITORY", "web-shop".into()),
        ("SIDECAR_URL", sidecar.to_owned()),
        ("AGENT_IDENTITY_ID", "44444444-dddd-4ddd-8ddd-444444444444".into()),
        ("AGENT_USERNAME", "ado-coworker@contoso.example".into()),
        ("AZURE_OPENAI_ENDPOINT", model.to_owned()),
        ("AZURE_OPENAI_DEPLOYMENT", "stand-in".into()),
        ("DATABASE_URL", format!("sqlite:{}", folder.join("journal.db").display())),
        ("LISTEN_ADDRESS", "127.0.0.1:0".into()),
        ("WEBHOOK_USERNAME", HOOK.0.into()),
        ("WEBHOOK_PASSWORD", HOOK.1.into()),
    ]
}

/// Settings with which people of the simulated tenant sign in.
fn sign_in(entra: &str) -> [(&'static str, String); 6] {
    use ado_coworker::simulator::{entra as tenant, tokens};
    let (approvers, admins) = (tenant::GROUP_APPROVERS, tenant::GROUP_ADMINS);
    let groups = format!(
        "approver={approvers};auditor={};admin={admins};break_glass={admins}",
        tenant::GROUP_AUDITORS
    );
    [
        ("AZURE_TENANT_ID", tokens::TENANT_ID.to_owned()),
        ("SIGN_IN_CLIENT_ID", tenant::SIGN_IN_CLIENT_ID.to_owned()),
        ("BLUEPRINT_ID", tokens::BLUEPRINT_ID.to_owned()),
        ("AZURE_AUTHORITY_HOST", entra.to_owned()),
        ("GRAPH_URL", entra.to_owned()),
        ("ROLE_GROUPS", groups),
    ]
}

impl World {
    pub async fn start() -> Self {
        Self::start_paced("0").await
    }

    /// With a model that takes this many milliseconds for a word.
    pub async fn start_paced(pace: &str) -> Self {
        Self::start_set(pace, &[]).await
    }

    /// The same, with further settings of the co-worker.
    pub async fn start_set(pace: &str, more: &[(&'static str, &str)]) -> Self {
        Self::begun(pace, more, false).await
    }

    /// A world in which people sign in, as in the demo.
    pub async fn with_people(more: &[(&'static str, &str)]) -> Self {
        Self::begun("0", more, true).await
    }

    async fn begun(pace: &str, more: &[(&'static str, &str)], people: bool) -> Self {
        let mut simulation = Process::start(command(&["simulate", "--simulator-port", "0", "--pace", pace]));
        let organization = crate::recorder::recorded(&simulation.told("ready").await).await;
        let sidecar = simulation.told("sidecar").await;
        let model = simulation.told("model").await;
        let entra = simulation.told("entra").await;
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(&organization, &sidecar, &model, folder.path());
        if people {
            settings.extend(sign_in(&entra));
        }
        settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let (server, page) = Self::serve(&settings).await;
        let http = ado_coworker::config::http_client().unwrap();
        let (_simulation, _folder) = (simulation, folder);
        Self { _simulation, server, settings, page, organization, model, http, _folder }
    }

    async fn serve(settings: &[(&'static str, String)]) -> (Process, String) {
        let mut serve = command(&["serve"]);
        serve.envs(settings.iter().cloned());
        let mut server = Process::start(serve);
        let page = server.told("ready").await;
        (server, page)
    }

    /// Starts another process of the same co-worker, with further settings; gives it and its address.
    pub async fn beside(&self, more: &[(&'static str, &str)]) -> (Process, String) {
        let mut settings = self.settings.clone();
        settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Self::serve(&settings).await
    }

    /// Does a command with the co-worker's settings; its exit status and what it printed.
    pub async fn does(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = command(arguments);
        command.envs(self.settings.iter().cloned()).stderr(Stdio::piped());
        let output = command.output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
    }

    /// One of the co-worker's settings.
    pub fn setting(&self, name: &str) -> &str {
        &self.settings.iter().rev().find(|(own, _)| *own == name).unwrap().1
    }

    /// Kills the co-worker without warning and starts it again on the same data.
    pub async fn kill_and_restart(&mut self) {
        self.server.child.kill().await.unwrap();
        (self.server, self.page) = Self::serve(&self.settings).await;
    }

    /// Has the model do this with its next requests.
    pub async fn script(&self, behaviours: Value) {
        let url = format!("{}/_simulator/script", self.model.trim_end_matches('/'));
        let response = self.http.post(url).json(&behaviours).send().await.unwrap();
        let status = response.status();
        assert!(status.is_success(), "{status}: {}", response.text().await.unwrap());
    }

    /// The organisation's controls.
    fn control(&self, what: &str) -> String {
        let host = url::Url::parse(&self.organization).unwrap().origin().ascii_serialization();
        format!("{host}/_simulator/{what}")
    }

    /// The co-worker's own token, as anybody on this machine could take it from the sidecar.
    pub async fn agent_token(&self) -> String {
        let setting = |name: &str| &self.settings.iter().find(|(known, _)| *known == name).unwrap().1;
        let sidecar = setting("SIDECAR_URL").trim_end_matches('/');
        let (agent, user) = (setting("AGENT_IDENTITY_ID"), setting("AGENT_USERNAME"));
        let url = format!(
            "{sidecar}/AuthorizationHeaderUnauthenticated/ado?AgentIdentity={agent}&AgentUsername={user}"
        );
        let answer: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        answer["authorizationHeader"].as_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned()
    }

    /// Takes all faults away.
    pub async fn heal(&self) {
        assert!(self.http.delete(self.control("faults")).send().await.unwrap().status().is_success());
    }

    /// The faults that are armed, with how often each was met.
    pub async fn faults(&self) -> Value {
        self.http.get(self.control("faults")).send().await.unwrap().json().await.unwrap()
    }

    /// Asks the organisation, or sends it something, as a person.
    pub async fn as_person(&self, person: &str, method: &str, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.organization);
        let request = self.http.request(method.parse().unwrap(), &url);
        let request = request.basic_auth(person, Some(format!("demo-{person}")));
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{url} answered {status}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Asks the page.
    pub async fn get(&self, path: &str) -> Value {
        let response = self.http.get(format!("{}{path}", self.page)).send().await.unwrap();
        assert!(response.status().is_success(), "{path} answered {}", response.status());
        response.json().await.unwrap()
    }

    /// Puts a fault into the organisation.
    pub async fn fault(&self, fault: Value) {
        let response = self.http.post(self.control("faults")).json(&fault).send().await.unwrap();
        let status = response.status();
        assert!(status.is_success(), "{status}: {}", response.text().await.unwrap());
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let response = self.http.post(format!("{}{path}", self.page)).json(&body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    /// The run as it is now.
    pub async fn run(&self, id: &str) -> Value {
        self.http.get(format!("{}/api/runs/{id}", self.page)).send().await.unwrap().json().await.unwrap()
    }

    /// Begins a run; its id.
    pub async fn begin(&self, instruction: &str) -> String {
        let (status, made) = self.post("/api/runs", json!({ "instruction": instruction })).await;
        assert_eq!(status, 202, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    /// Gives an order and waits until the run has settled.
    pub async fn order(&self, instruction: &str) -> Value {
        let id = self.begin(instruction).await;
        self.settled(&id).await
    }

    /// Waits until a run has ended or waits for a person.
    pub async fn settled(&self, id: &str) -> Value {
        eventually(&format!("the end of run {id}"), async || {
            let run = self.run(id).await;
            let by_itself = ["queued", "running"].contains(&run["status"].as_str().unwrap())
                || run["waiting_for"] == "rate_limit";
            (!by_itself).then_some(run)
        })
        .await
    }
}
