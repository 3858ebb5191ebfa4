//! `setup` against the simulated Graph and Azure DevOps: from nothing to a co-worker that works,
//! again without a change, on after an interruption, and away again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Child;

use crate::harness::{PATIENCE, Process, command};

const TENANT: &str = "11111111-aaaa-4aaa-8aaa-111111111111";
const SETUP_CLIENT: &str = "88888888-ffff-4fff-8fff-888888888888";
const MANAGED_IDENTITY: &str = "99999999-eeee-4eee-8eee-999999999999";
const USER: &str = "reviewer@contoso.example";
const JOB: &str =
    "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it.";

/// A tenant and an organisation in which the co-worker does not exist.
struct Site {
    _simulation: Process,
    organization: String,
    sidecar: String,
    model: String,
    entra: String,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

/// A `setup` that ended.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Site {
    async fn open() -> Self {
        let arguments = ["simulate", "--unprovisioned", "--simulator-port", "0", "--pace", "0"];
        let mut simulation = Process::start(command(&arguments));
        let organization = simulation.told("ready").await;
        let sidecar = simulation.told("sidecar").await;
        let model = simulation.told("model").await;
        let entra = simulation.told("entra").await;
        let http = ado_coworker::config::http_client().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cut = |url: String| url.trim_end_matches('/').to_owned();
        let (sidecar, entra) = (cut(sidecar), cut(entra));
        Self { _simulation: simulation, organization, sidecar, model, entra, http, folder }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn setup(&self, what: &str, more: &[&str]) -> Child {
        let out = self.out();
        let mut arguments = vec!["setup", what, "--agent", "reviewer", "--out", out.to_str().unwrap()];
        arguments.extend(["--authority", &self.entra, "--graph", &self.entra, "--patience", "24"]);
        arguments.extend(more);
        let mut command = command(&arguments);
        command.stderr(std::process::Stdio::piped()).envs([
            ("AZURE_DEVOPS_ORGANIZATION_URL", self.organization.as_str()),
            ("AZURE_DEVOPS_PROJECT", "Fabrikam"),
            ("AZURE_DEVOPS_REPOSITORY", "web-shop"),
            ("AZURE_TENANT_ID", TENANT),
            ("SETUP_CLIENT_ID", SETUP_CLIENT),
            ("AGENT_USERNAME", USER),
            ("AZURE_OPENAI_ENDPOINT", self.model.as_str()),
            ("AZURE_OPENAI_DEPLOYMENT", "stand-in"),
            ("PUBLIC_URL", "http://127.0.0.1:9"),
        ]);
        command.spawn().unwrap()
    }

    /// Types the code of a started `setup` as this person; gives its standard error from there on.
    async fn sign_in(
        &self,
        child: &mut Child,
        person: &str,
    ) -> tokio::io::Lines<BufReader<tokio::process::ChildStderr>> {
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        let code = line.split("code ").nth(1).unwrap_or_else(|| panic!("{line}"));
        let code = code.split_whitespace().next().unwrap().trim_end_matches('.');
        let form = [("user_code", code), ("user", person)];
        let answer = self.http.post(format!("{}/devicelogin", self.entra)).form(&form).send().await.unwrap();
        assert!(answer.status().is_success(), "{line}");
        lines
    }

    /// Runs `setup` as alice, who administers tenant and organisation.
    async fn run(&self, what: &str, more: &[&str]) -> Ended {
        self.run_as("alice", what, more).await
    }

    async fn run_as(&self, person: &str, what: &str, more: &[&str]) -> Ended {
        let mut child = self.setup(what, more);
        let mut lines = self.sign_in(&mut child, person).await;
        let mut out = child.stdout.take().unwrap();
        let mut text = String::new();
        let mut err = String::new();
        let read = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                err.push_str(&line);
                err.push('\n');
            }
        };
        let all = async { tokio::join!(read, async { out.read_to_string(&mut text).await.unwrap() }) };
        tokio::time::timeout(PATIENCE * 2, all).await.expect("setup ends");
        let code = child.wait().await.unwrap().code().unwrap();
        Ended { code, out: text, err }
    }

    async fn entra(&self, command: &str, body: Value) -> Value {
        let url = format!("{}/_simulator/entra/{command}", self.entra);
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{command}: {}", answer.status());
        answer.json().await.unwrap_or(Value::Null)
    }

    async fn tenant(&self) -> Value {
        let url = format!("{}/_simulator/entra", self.entra);
        let mut tenant: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        // Signing in is not a change.
        tenant.as_object_mut().unwrap().remove("refresh_tokens");
        tenant
    }

    fn host(&self) -> String {
        url::Url::parse(&self.organization).unwrap().origin().ascii_serialization()
    }

    /// What was set up in the organisation, by kind; builds and the like go on by themselves.
    async fn effects(&self) -> Vec<String> {
        let url = format!("{}/_simulator/ledger", self.host());
        let ledger: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        let entries = ledger["value"].as_array().unwrap();
        let kinds = entries.iter().map(|entry| entry["kind"].as_str().unwrap().to_owned());
        // What the organisation does by itself after a run comes when it comes.
        kinds.filter(|kind| !kind.starts_with("build.") && kind != "pull_request.merge_attempted").collect()
    }

    /// Starts the sidecar with the file that `setup` wrote, as its container would be.
    async fn start_sidecar(&self, more: &[(&str, &str)]) {
        let mut variables = variables(&self.out().join("sidecar.env"));
        variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let url = format!("{}/_simulator/configure", self.sidecar);
        let body = json!({"environment": variables});
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// A command of the co-worker with the settings that `setup` wrote.
    async fn agent(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = command(arguments);
        command.envs(variables(&self.out().join("agent.env")));
        let journal = format!("sqlite:{}", self.folder.path().join("journal.db").display());
        command.env("SIDECAR_URL", &self.sidecar).env("DATABASE_URL", journal);
        let log = self.folder.path().join("agent.log");
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        command.stderr(std::fs::File::create(&log).unwrap()).stdout(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().unwrap();
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("{arguments:?} does not end: {}", said())).unwrap();
        assert!(!output.stdout.is_empty(), "{arguments:?} printed nothing: {}", said());
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    async fn doctor(&self) -> Vec<Value> {
        let (_, text) = self.agent(&["doctor", "--json"]).await;
        let list: Value = serde_json::from_str(&text).unwrap();
        list["checks"].as_array().unwrap().clone()
    }

    /// Nothing in the doctor's list failed.
    async fn is_well(&self) {
        let list = self.doctor().await;
        let failed: Vec<&Value> = list.iter().filter(|check| check["status"] == "failed").collect();
        assert!(failed.is_empty(), "{failed:#?}");
        let line = |id: &str| list.iter().find(|check| check["id"] == id).unwrap();
        for id in [
            "token",
            "member",
            "repository",
            "permission.push",
            "service_hooks",
            "permission.surplus",
            "model",
        ] {
            assert_eq!(line(id)["status"], "ok", "{:#}", line(id));
        }
    }
}

/// The variables of a file, as docker's `--env-file` reads them.
fn variables(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let pair = |line: &str| {
        let (name, value) = line.split_once('=').unwrap();
        (name.to_owned(), value.trim_matches('\'').to_owned())
    };
    lines.map(pair).collect()
}

fn outcomes(ended: &Ended) -> BTreeMap<String, String> {
    let told: Value =
        serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}{}", ended.out, ended.err));
    let steps = told["steps"].as_array().unwrap();
    let text = |step: &Value, name: &str| step[name].as_str().unwrap().to_owned();
    steps.iter().map(|step| (text(step, "id"), text(step, "outcome"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_a_coworker_that_works_and_away_again() {
    let site = Site::open().await;
    let first = site.run("apply", &["--yes", "--json"]).await;
    assert_eq!(first.code, 0, "{}", first.err);
    let made = outcomes(&first);
    for id in ["blueprint", "secret", "agent_identity", "agent_user", "azure_devops_grant", "membership"] {
        assert_eq!(made[id], "made", "{made:#?}");
    }
    for id in ["sponsor", "project", "graph_principal"] {
        assert_eq!(made[id], "there", "{made:#?}");
    }

    // The files: for their owner alone, the secret in the sidecar's and nowhere else.
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |name: &str| std::fs::metadata(site.out().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("sidecar.env"), mode("webhook-password")), (0o600, 0o600));
    let secret =
        variables(&site.out().join("sidecar.env"))["AzureAd__ClientCredentials__0__ClientSecret"].clone();
    let password = std::fs::read_to_string(site.out().join("webhook-password")).unwrap();
    for name in ["agent.env", "progress.json"] {
        let text = std::fs::read_to_string(site.out().join(name)).unwrap();
        assert!(!text.contains(&secret) && !text.contains(password.trim()), "{name}");
    }
    for told in [&first.out, &first.err] {
        assert!(
            !told.contains(&secret) && !told.contains(password.trim()) && !told.contains("eyJ"),
            "{told}"
        );
    }

    // Grants are for the one user, and the rights are those of the repository, nothing more.
    let tenant = site.tenant().await;
    let agent = variables(&site.out().join("agent.env"))["AGENT_IDENTITY_ID"].clone();
    let grants: Vec<&Value> = tenant["grants"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|grant| grant["client"] == agent.as_str())
        .collect();
    assert_eq!(grants.len(), 3);
    assert!(grants.iter().all(|grant| grant["user"].is_string()), "{grants:#?}");

    site.start_sidecar(&[]).await;
    site.is_well().await;
    let (code, answer) = site.agent(&["run", JOB]).await;
    assert_eq!(code, 0, "{answer}");
    assert!(answer.contains("pull"), "{answer}");

    // Once more: nothing changes.
    let before = (site.tenant().await, site.effects().await);
    let files = || ["agent.env", "sidecar.env"].map(|name| std::fs::read(site.out().join(name)).unwrap());
    let written = files();
    let again = site.run("apply", &["--json"]).await;
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(outcomes(&again).values().all(|outcome| outcome == "there"), "{}", again.out);
    assert_eq!((site.tenant().await, site.effects().await), before);
    assert_eq!(files(), written);

    // Away, and everybody is told clearly.
    let gone = site.run("teardown", &["--yes"]).await;
    assert_eq!(gone.code, 0, "{}", gone.err);
    let order =
        ["Stop the agent identity", "Grant of", "Membership", "gone     The agent user", "The blueprint,"];
    let at: Vec<usize> = order.iter().map(|words| gone.err.rfind(words).expect(words)).collect();
    assert!(at.is_sorted(), "{}", gone.err);
    assert!(!site.out().join("sidecar.env").exists() && site.out().join("agent.env").exists());
    let tenant = site.tenant().await.to_string();
    assert!(!tenant.contains(&agent) && !tenant.contains(USER), "{tenant}");
    let list = site.doctor().await;
    let token = list.iter().find(|check| check["id"] == "token").unwrap();
    assert_eq!(token["status"], "failed", "{token:#}");
    assert!(token["reason"].as_str().unwrap().contains("AADSTS700016"), "{token:#}");
    assert!(token["remedy"].as_str().unwrap().contains("principal"), "{token:#}");
    let (code, answer) = site.agent(&["run", JOB]).await;
    assert!(code == 1 || code == 3, "{code} {answer}");
    assert!(answer.contains("AADSTS700016"), "{answer}");
    let nothing = site.run("teardown", &["--yes"]).await;
    assert!(
        nothing.code == 0 && nothing.out.contains("nothing to take away"),
        "{}{}",
        nothing.out,
        nothing.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_prints_every_request_and_asks_nobody() {
    let site = Site::open().await;
    let plan = site.setup("plan", &["--json"]).wait_with_output().await.unwrap();
    assert!(plan.status.success());
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let steps = plan["steps"].as_array().unwrap();
    let requests: Vec<&Value> = steps.iter().flat_map(|step| step["requests"].as_array().unwrap()).collect();
    assert!(requests.iter().all(|request| request["method"].is_string() && request["url"].is_string()));
    let grant = requests.iter().find(|request| request["body"]["scope"] == "user_impersonation").unwrap();
    assert_eq!(grant["body"]["consentType"], "Principal");
    assert_eq!(grant["body"]["principalId"], "{agent_user}");
    let entry = requests.iter().find(|r| r["body"]["accessControlEntries"][0]["allow"] == 16_406).unwrap();
    assert_eq!(entry["body"]["accessControlEntries"][0]["deny"], 32_904);
    let asked = site.http.get(format!("{}/_simulator/entra/sign-ins", site.entra)).send().await.unwrap();
    assert_eq!(asked.json::<Value>().await.unwrap()["sign_ins"], json!([]));
    assert!(!site.out().exists(), "a plan writes nothing");

    // Without somebody who says yes, nothing happens.
    let mut child = site.setup("apply", &[]);
    let mut lines = site.sign_in(&mut child, "alice").await;
    let mut err = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        err.push_str(&line);
    }
    assert!(!child.wait().await.unwrap().success());
    assert!(err.contains("POST") && err.contains("--yes"), "{err}");
    assert!(!site.tenant().await.to_string().contains("reviewer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_setup_goes_on_and_makes_nothing_twice() {
    let site = Site::open().await;
    site.entra("replication", json!({"seconds": 2})).await;
    // Killed as soon as the agent identity is there, while others wait to be seen.
    let mut child = site.setup("apply", &["--yes", "--json"]);
    let mut lines = site.sign_in(&mut child, "alice").await;
    let reach = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("made     Agent identity 'reviewer'") {
                return;
            }
        }
        panic!("it ended before it could be killed");
    };
    tokio::time::timeout(PATIENCE, reach).await.unwrap();
    child.kill().await.unwrap();

    // As if the answer about the agent identity had been lost, too.
    let path = site.out().join("progress.json");
    let mut progress: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    progress["ids"].as_object_mut().unwrap().remove("agent_identity").expect("it was known");
    progress["begun"] = json!("agent_identity");
    std::fs::write(&path, progress.to_string()).unwrap();
    // The secret was made, and its answer was lost.
    std::fs::remove_file(site.out().join("sidecar.env")).unwrap();

    let ended = site.run("apply", &["--yes", "--json"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let steps = outcomes(&ended);
    assert_eq!(
        (steps["blueprint"].as_str(), steps["agent_identity"].as_str()),
        ("there", "there"),
        "{steps:#?}"
    );
    assert_eq!((steps["secret"].as_str(), steps["agent_user"].as_str()), ("made", "made"), "{steps:#?}");
    let tenant = site.tenant().await;
    let named = |list: &str, name: &str| {
        tenant[list].as_array().unwrap().iter().filter(|one| one["name"] == name).count()
    };
    assert_eq!(named("applications", "ado-coworker blueprint"), 1);
    assert_eq!(named("principals", "reviewer"), 1);
    site.start_sidecar(&[]).await;
    site.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_trust_roots_without_a_secret_work() {
    let site = Site::open().await;
    let ended = site.run("apply", &["--yes", "--json", "--managed-identity", MANAGED_IDENTITY]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(outcomes(&ended)["federated_credential"], "made");
    assert!(!variables(&site.out().join("sidecar.env")).keys().any(|name| name.ends_with("ClientSecret")));
    site.start_sidecar(&[]).await;
    site.is_well().await;

    // A service account of a cluster, by its projected token.
    let issuer = format!("{}/cluster", site.entra);
    let account = ["--yes", "--json", "--issuer", &issuer, "--service-account", "coworker/reviewer"];
    let ended = site.run("apply", &account).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let projected = json!({"namespace": "coworker", "service_account": "reviewer"});
    let token = site.entra("cluster-token", projected).await["token"].as_str().unwrap().to_owned();
    let file = site.folder.path().join("azure-identity-token");
    std::fs::write(&file, token).unwrap();
    let variable = [("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap())];
    site.start_sidecar(&variable).await;
    site.is_well().await;

    // Another account of the same cluster is not trusted.
    let other = json!({"namespace": "coworker", "service_account": "other"});
    let token = site.entra("cluster-token", other).await["token"].as_str().unwrap().to_owned();
    std::fs::write(&file, token).unwrap();
    site.start_sidecar(&variable).await;
    let list = site.doctor().await;
    let line = list.iter().find(|check| check["id"] == "token").unwrap();
    assert!(line["reason"].as_str().unwrap().contains("AADSTS700213"), "{line:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_what_is_missing() {
    let site = Site::open().await;
    let ended = site.run_as("bob", "apply", &["--yes"]).await;
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.contains("403") && ended.err.contains("Agent ID Administrator"), "{}", ended.err);
    let wrong = site.setup("plan", &["--user", "nobody"]).wait_with_output().await.unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--user"));
}
