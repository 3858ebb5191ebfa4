//! A co-worker that may die, in a world that does not: each a process of its own, with proxies of
//! ours between them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::Instant;

use super::proxy::{Meter, Proxy};
use crate::harness::{HOOK, settings};

/// Longest time for anything that is waited for: a lease, a pause and a resent delivery fit in.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(25);
/// Longest time for one request to the page.
const REQUEST: Duration = Duration::from_secs(5);
/// What the webhooks subscribe to.
const COMMENTED: &str = "ms.vss-code.git-pullrequest-comment-event";
pub const SENTENCE: &str =
    "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it.";

/// The binary with the feature `fail-points`, which `scripts/test.sh` builds and names; else the
/// one without, which is enough for faults of the outside.
#[allow(clippy::disallowed_methods, reason = "a switch of the tests, not a setting of the product")]
fn binary() -> PathBuf {
    let Some(path) = std::env::var_os("ADO_COWORKER_TEST_CRASH_BINARY").map(PathBuf::from) else {
        return PathBuf::from(env!("CARGO_BIN_EXE_ado-coworker"));
    };
    assert!(path.is_file(), "{} is not there: run scripts/test.sh --only crash", path.display());
    path
}

/// A command of the product, with nothing of this machine's settings.
#[allow(clippy::disallowed_methods, reason = "the test starts the product as a user does")]
fn command(arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(binary());
    command.args(arguments).env_clear().current_dir(std::env::temp_dir()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

#[allow(clippy::disallowed_methods, reason = "the test kills and pauses the product as a machine does")]
pub fn signal(name: &str, pid: u32) {
    // 0 is a process that is gone, and to `kill` this whole group.
    if pid == 0 {
        return;
    }
    // It may be dead already, which is what is wanted.
    let _ = std::process::Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

fn socket(url: &str) -> SocketAddr {
    let url = url::Url::parse(url).unwrap();
    format!("127.0.0.1:{}", url.port().unwrap()).parse().unwrap()
}

/// `url` with the proxy in place of what it names.
fn through(url: &str, proxy: &Proxy) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_port(Some(proxy.address.port())).unwrap();
    url.to_string().trim_end_matches('/').to_owned()
}

/// A process of ours and what it says.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(mut command: tokio::process::Command) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The second word of the next line, which begins with `name`; none when it ended before.
    async fn told(&mut self, name: &str) -> Option<String> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("it gets ready");
        let line = line.unwrap()?;
        let (first, rest) = line.split_once(' ').unwrap();
        assert_eq!(first, name, "{line}");
        rest.split(' ').next().map(str::to_owned)
    }

    fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }
}

/// What happened to the co-worker while it worked.
#[derive(Debug, Default)]
pub struct Fate {
    /// How often it died.
    pub deaths: u32,
    /// From each start after a death to the first byte for the outside.
    pub resumed: Vec<Duration>,
}

/// The world, and the co-worker in it.
pub struct Site {
    _simulation: Process,
    agent: Option<Process>,
    /// Others that share the journal.
    replicas: Vec<Process>,
    /// Of the organisation, past the proxies.
    pub organization: String,
    pub model: String,
    pub sidecar: String,
    pub page: String,
    /// Between the co-worker and organisation, sidecar, model.
    pub outside: [Proxy; 3],
    /// Between the organisation's service hooks and the co-worker.
    pub hook: Proxy,
    pub meter: Arc<Meter>,
    pub fate: Fate,
    pub http: reqwest::Client,
    /// What the next start of the co-worker is armed with, and what every start is.
    pub armed_once: String,
    pub armed: String,
    /// Deaths that are expected; more are a fault.
    pub most_deaths: u32,
    settings: Vec<(&'static str, String)>,
    folder: tempfile::TempDir,
    starts: u32,
    /// A start after a death, until something of it is seen outside.
    waiting_since: Option<Instant>,
}

impl Site {
    /// The world; the co-worker is not started yet.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Kept where the end of the test takes it away, also when it ends by force.
        let organization = folder.path().join("organization");
        let save = ["--save", organization.to_str().unwrap()];
        let simulate = [&["simulate", "--simulator-port", "0", "--pace", "0"][..], &save].concat();
        let mut simulation = Process::start(command(&simulate));
        let mut said = Vec::new();
        for name in ["ready", "sidecar", "model"] {
            said.push(simulation.told(name).await.expect("the simulation lives"));
        }
        let [organization, sidecar, model] = <[String; 3]>::try_from(said).unwrap();
        let meter = Arc::new(Meter::default());
        let outside = [
            Proxy::start(Some(socket(&organization)), meter.clone()).await,
            Proxy::start(Some(socket(&sidecar)), Arc::default()).await,
            Proxy::start(Some(socket(&model)), meter.clone()).await,
        ];
        let hook = Proxy::start(None, Arc::default()).await;
        let mut settings = settings(
            &through(&organization, &outside[0]),
            &through(&sidecar, &outside[1]),
            &through(&model, &outside[2]),
            folder.path(),
        );
        // It is the same at every start, as in a real deployment: links to a run lead there.
        settings.push(("PUBLIC_URL", format!("http://{}", hook.address)));
        settings.push(("LOG", "warn,fault_point=trace".into()));
        let site = Self {
            _simulation: simulation,
            agent: None,
            replicas: Vec::new(),
            organization,
            model,
            sidecar,
            page: String::new(),
            outside,
            hook,
            meter,
            fate: Fate::default(),
            http: ado_coworker::config::http_client().unwrap(),
            armed_once: String::new(),
            armed: String::new(),
            most_deaths: 2,
            settings,
            folder,
            starts: 0,
            waiting_since: None,
        };
        site.subscribe().await;
        site
    }

    /// Has the organisation tell the co-worker of comments on pull requests.
    async fn subscribe(&self) {
        let project = self.as_alice("GET", "/_apis/projects/Fabrikam", Value::Null).await.unwrap();
        let body = json!({
            "publisherId": "tfs", "eventType": COMMENTED, "resourceVersion": "2.0",
            "consumerId": "webHooks", "consumerActionId": "httpRequest",
            "publisherInputs": { "projectId": project["id"] },
            "consumerInputs": { "url": format!("http://{}/webhooks/azure-devops", self.hook.address),
                "basicAuthUsername": HOOK.0, "basicAuthPassword": HOOK.1 }
        });
        self.as_alice("POST", "/_apis/hooks/subscriptions", body).await.unwrap();
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn database(&self) -> String {
        let named = self.settings.iter().find(|(name, _)| *name == "DATABASE_URL");
        named.map(|(_, url)| url.clone()).unwrap()
    }

    /// Changes a setting of the co-worker's next start.
    pub fn set(&mut self, name: &'static str, value: String) {
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value));
    }

    /// Log lines of all starts so far.
    pub fn log(&self) -> String {
        let read =
            |n| std::fs::read_to_string(self.folder.path().join(format!("log-{n}"))).unwrap_or_default();
        (1..=self.starts).map(read).collect()
    }

    /// The points that were passed, in order.
    pub fn passed(&self) -> Vec<String> {
        let log = self.log();
        let named = |line: &str| line.split("passed ").nth(1).map(|point| point.trim().to_owned());
        log.lines().filter_map(named).collect()
    }

    pub fn pid(&self) -> u32 {
        self.agent.as_ref().map_or(0, Process::pid)
    }

    /// Starts the co-worker with what is armed. False: it ended before it was ready.
    pub async fn open(&mut self) -> bool {
        let once = std::mem::take(&mut self.armed_once);
        let Some((agent, page)) = self.serve(&format!("{once};{}", self.armed)).await else { return false };
        self.hook.lead_to(Some(socket(&page)));
        self.page = page;
        self.agent = Some(agent);
        true
    }

    /// Starts one more that shares the journal; nothing leads to it. Its process id.
    pub async fn open_replica(&mut self) -> u32 {
        let (agent, _) = self.serve(&self.armed.clone()).await.expect("a replica starts");
        let pid = agent.pid();
        self.replicas.push(agent);
        pid
    }

    async fn serve(&mut self, armed: &str) -> Option<(Process, String)> {
        self.starts += 1;
        let log = std::fs::File::create(self.folder.path().join(format!("log-{}", self.starts))).unwrap();
        let mut serve = command(&["serve"]);
        serve.envs(self.settings.iter().cloned()).env("FAILPOINTS", armed.trim_matches(';')).stderr(log);
        let mut agent = Process::start(serve);
        let page = agent.told("ready").await?;
        Some((agent, page))
    }

    /// Ends the co-worker as an operator does.
    pub async fn close(&mut self) {
        self.hook.lead_to(None);
        for mut agent in self.agent.take().into_iter().chain(self.replicas.drain(..)) {
            signal("TERM", agent.pid());
            tokio::time::timeout(PATIENCE, agent.child.wait()).await.expect("it stops in time").unwrap();
        }
    }

    /// Kills the co-worker, if it still lives.
    pub async fn kill(&mut self) {
        if let Some(agent) = &mut self.agent {
            agent.child.kill().await.unwrap();
        }
    }

    /// Starts the co-worker again when it is dead.
    pub async fn revive(&mut self) {
        self.measure();
        let dead = match &mut self.agent {
            Some(agent) => agent.child.try_wait().unwrap().is_some(),
            None => true,
        };
        if !dead {
            return;
        }
        self.hook.lead_to(None);
        self.fate.deaths += 1;
        let (deaths, most) = (self.fate.deaths, self.most_deaths);
        assert!(deaths <= most, "it died {deaths} times:\n{}", last_lines(&self.log()));
        let since = Instant::now();
        self.meter.watch();
        self.agent = None;
        if self.open().await {
            self.waiting_since = Some(since);
        }
    }

    fn measure(&mut self) {
        if let (Some(since), Some(first)) = (self.waiting_since, self.meter.first()) {
            self.waiting_since = None;
            self.fate.resumed.push(first.duration_since(since));
        }
    }

    /// Looks until there is something, and starts the co-worker again whenever it is dead.
    pub async fn until<T>(&mut self, what: &str, mut look: impl AsyncFnMut(&Site) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            self.revive().await;
            if let Some(found) = look(self).await {
                self.measure();
                return found;
            }
            if Instant::now() > end {
                let runs = self.get("/api/runs").await;
                panic!("waited in vain for {what}; runs: {runs:?}\n{}", last_lines(&self.log()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the page answers; none while it does not.
    pub async fn get(&self, path: &str) -> Option<Value> {
        let request = self.http.get(format!("{}{path}", self.page)).timeout(REQUEST);
        let response = request.send().await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        response.json().await.ok()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let request = self.http.post(format!("{}{path}", self.page)).json(body).timeout(REQUEST);
        let response = request.send().await.ok()?;
        Some((response.status().as_u16(), response.json().await.ok()?))
    }

    /// Asks or tells the organisation as a person, past the proxies.
    pub async fn as_alice(&self, method: &str, path: &str, body: Value) -> Option<Value> {
        let join = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}{path}{join}api-version=7.1", self.organization);
        let request = self.http.request(method.parse().unwrap(), url);
        let request = request.basic_auth("alice", Some("demo-alice"));
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success() || status == 404, "{method} {path} answered {status}: {text}");
        (status != 404).then(|| serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// What stands under `/_simulator` of one of the simulated servers.
    pub async fn simulator(&self, server: &str, command: &str, body: Option<Value>) -> Value {
        let origin = url::Url::parse(server).unwrap().origin().ascii_serialization();
        let url = format!("{origin}/_simulator/{command}");
        let request = match &body {
            Some(body) => self.http.post(url).json(body),
            None => self.http.get(url),
        };
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{command} answered {status}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Gives an order once, as a person would: one that was not acknowledged is looked for before it
    /// is given again.
    pub async fn order(&mut self, instruction: &str) -> String {
        let body = json!({ "instruction": instruction });
        self.until("the order to be taken", async |site| {
            let runs = site.get("/api/runs").await?;
            let known = runs["runs"].as_array()?.iter().find(|run| run["instruction"] == instruction);
            if let Some(run) = known {
                return run["id"].as_str().map(str::to_owned);
            }
            let (status, made) = site.post("/api/runs", &body).await?;
            (status == 202).then(|| made["id"].as_str().map(str::to_owned))?
        })
        .await
    }

    /// Waits until a run has ended or waits for a person.
    pub async fn settled(&mut self, id: &str) -> Value {
        let path = format!("/api/runs/{id}");
        self.until(&format!("the end of run {id}"), async |site| {
            let run = site.get(&path).await?;
            let under_way = ["queued", "running"].contains(&run["status"].as_str()?)
                || ["rate_limit", "build"].contains(&run["waiting_for"].as_str().unwrap_or_default());
            (!under_way).then_some(run)
        })
        .await
    }

    /// A person's comment on a pull request; its thread.
    pub async fn comment(&self, pull_request: u64, text: &str) -> u64 {
        let path = format!("/Fabrikam/_apis/git/repositories/web-shop/pullRequests/{pull_request}/threads");
        let comments = json!([{ "parentCommentId": 0, "content": text, "commentType": "text" }]);
        let body = json!({ "comments": comments, "status": "active" });
        self.as_alice("POST", &path, body).await.unwrap()["id"].as_u64().unwrap()
    }

    /// The main job and the review follow-up, to the end of both. Gives both runs.
    pub async fn story(&mut self) -> [Value; 2] {
        let id = self.order(SENTENCE).await;
        let first = self.settled(&id).await;
        let second = self.review(&first).await;
        [first, second]
    }

    /// A person's comment on the pull request of a run, and what follows; nothing without one.
    pub async fn review(&mut self, first: &Value) -> Value {
        let links = first["links"].as_array().cloned().unwrap_or_default();
        let Some(link) = links.iter().find(|link| link["kind"] == "pull_request") else {
            return Value::Null;
        };
        let number = link["url"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
        self.comment(number, "make the timeout configurable").await;
        let woken = self
            .until("the run that the comment starts", async |site| {
                let runs = site.get("/api/runs").await?;
                let woken = runs["runs"].as_array()?.iter().find(|run| run["source"] == "webhook")?;
                woken["id"].as_str().map(str::to_owned)
            })
            .await;
        let second = self.settled(&woken).await;
        self.quiet().await;
        second
    }

    /// Waits until every event that the organisation has sent is judged, and every run has settled.
    pub async fn quiet(&mut self) {
        self.until("all events to be judged", async |site| {
            let state = site.simulator(&site.organization, "state", None).await;
            if super::audit::deliveries(&state).iter().any(|delivery| !delivery.is_over) {
                return None;
            }
            let events = site.get("/api/events").await?;
            if events["events"].as_array()?.iter().any(|event| event["status"] == "received") {
                return None;
            }
            let runs = site.get("/api/runs").await?;
            let busy =
                |run: &Value| ["queued", "running"].contains(&run["status"].as_str().unwrap_or_default());
            (!runs["runs"].as_array()?.iter().any(busy)).then_some(())
        })
        .await;
    }
}

/// The end of a log, for a failing test.
pub fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
