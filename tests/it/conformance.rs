//! Clients that we did not write, against the real binary: the official Python client, and git.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{PATIENCE, Process, command};
use crate::recorder::recorded;

/// Where the test script puts the Python with the official client.
const PYTHON: &str = ".test/venv/bin/python";
/// What the official client's checks may take.
const PYTHON_PATIENCE: std::time::Duration = std::time::Duration::from_secs(180);

/// A running `simulate`.
pub struct Simulation {
    _process: Process,
    /// The organisation, through the recorder when there is one.
    pub organization: String,
    sidecar: String,
    folder: tempfile::TempDir,
    http: reqwest::Client,
}

impl Simulation {
    async fn start() -> Self {
        let mut found = Self::unrecorded().await;
        found.organization = recorded(&found.organization).await;
        found
    }

    /// For requests that no client sends.
    pub async fn unrecorded() -> Self {
        let mut process = Process::start(command(&["simulate", "--simulator-port", "0", "--pace", "0"]));
        let organization = process.told("ready").await;
        let sidecar = process.told("sidecar").await;
        let http = ado_coworker::config::http_client().unwrap();
        Self { _process: process, organization, sidecar, folder: tempfile::tempdir().unwrap(), http }
    }

    /// A request as a person; status and body.
    async fn ask(&self, who: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}/{path}", self.organization.trim_end_matches('/'));
        let request = self.http.request(method.parse().unwrap(), url);
        let mut request = request.basic_auth(who, Some(format!("demo-{who}")));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    /// A control order.
    async fn control(&self, path: &str, body: Value) {
        let origin = url::Url::parse(&self.organization).unwrap().origin().ascii_serialization();
        let response =
            self.http.post(format!("{origin}/_simulator/{path}")).json(&body).send().await.unwrap();
        let status = response.status();
        assert!(status.is_success(), "{status}: {}", response.text().await.unwrap());
    }

    /// The clone address of the seeded repository, with somebody's credentials inside.
    fn remote(&self, who: &str, password: &str) -> String {
        let address = format!("{}/Fabrikam/_git/web-shop", self.organization.trim_end_matches('/'));
        address.replacen("http://", &format!("http://{who}:{password}@"), 1)
    }

    /// Runs git in a folder below the test's own, away from this machine's settings.
    async fn git(&self, folder: &str, arguments: &[&str]) -> Output {
        let mut git = program("git");
        git.args(["-c", "user.name=Bob Keller", "-c", "user.email=bob@contoso.example"]);
        git.args(arguments).current_dir(self.folder.path().join(folder));
        for (name, value) in [("GIT_TERMINAL_PROMPT", "0"), ("GIT_CONFIG_NOSYSTEM", "1"), ("LC_ALL", "C")] {
            git.env(name, value);
        }
        git.env("HOME", self.folder.path());
        tokio::time::timeout(PATIENCE, git.output()).await.expect("git ends").unwrap()
    }

    /// Runs git, which must succeed; what it printed.
    async fn git_ok(&self, folder: &str, arguments: &[&str]) -> String {
        let output = self.git(folder, arguments).await;
        assert!(output.status.success(), "git {arguments:?}: {}", told(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    async fn tip(&self, branch: &str) -> Option<String> {
        let path =
            format!("Fabrikam/_apis/git/repositories/web-shop/refs?filter=heads/{branch}&api-version=7.1");
        let (_, found) = self.ask("alice", "GET", &path, None).await;
        let refs = found["value"].as_array().unwrap();
        let exact = refs.iter().find(|r| r["name"] == format!("refs/heads/{branch}"));
        exact.map(|r| r["objectId"].as_str().unwrap().to_owned())
    }

    /// A clone by bob, with one new commit on `branch`.
    async fn clone_with_commit(&self, name: &str, branch: &str) -> String {
        self.git_ok("", &["clone", "--quiet", &self.remote("bob", "demo-bob"), name]).await;
        self.git_ok(name, &["checkout", "--quiet", "-B", branch]).await;
        std::fs::write(self.folder.path().join(name).join("from-git.md"), "# Written by git\n").unwrap();
        self.git_ok(name, &["add", "from-git.md"]).await;
        self.git_ok(name, &["commit", "--quiet", "-m", "Write from git"]).await;
        self.git_ok(name, &["rev-parse", "HEAD"]).await.trim().to_owned()
    }
}

#[allow(clippy::disallowed_methods, reason = "the tests drive clients that we did not write")]
fn program(name: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(name);
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    command
}

/// What a program said on standard error.
fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The Python that has the official client; `None` when it may be absent and is.
#[allow(clippy::disallowed_methods, reason = "switches of the tests, not settings of the product")]
fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let given = std::env::var_os("ADO_COWORKER_TEST_PYTHON").map(PathBuf::from);
    let wanted = given.is_some();
    let python = root.join(given.unwrap_or_else(|| PYTHON.into()));
    if python.is_file() {
        return Some(python);
    }
    let missing = format!("{} is not there; scripts/test.sh --only test makes it", python.display());
    assert!(!wanted, "ADO_COWORKER_TEST_PYTHON names a Python with azure-devops: {missing}");
    println!("SKIPPED: the official Python client was not run: {missing}");
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_python_client_does_its_work() {
    let Some(python) = python() else { return };
    let world = Simulation::start().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/conformance.py");
    let mut client = program(python.to_str().unwrap());
    client.arg("-B").arg(script).arg(&world.organization).current_dir(world.folder.path());
    let output = tokio::time::timeout(PYTHON_PATIENCE, client.output()).await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("ok"), "{said}\n{}", told(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn git_clones_whole_shallow_and_partial() {
    let world = Simulation::start().await;
    let remote = world.remote("bob", "demo-bob");
    let pushed = world.clone_with_commit("whole", "feature/second").await;
    world.git_ok("whole", &["push", "--quiet", "origin", "feature/second"]).await;
    assert_eq!(
        world.git_ok("whole", &["rev-parse", "origin/main"]).await.trim(),
        world.tip("main").await.unwrap()
    );
    assert!(world.folder.path().join("whole/src/auth/session.ts").is_file());

    let shallow = ["clone", "--quiet", "--depth", "1", "--branch", "feature/second", &remote, "shallow"];
    world.git_ok("", &shallow).await;
    assert_eq!(world.git_ok("shallow", &["rev-list", "--all", "--count"]).await.trim(), "1");
    assert_eq!(world.git_ok("shallow", &["rev-parse", "HEAD"]).await.trim(), pushed);
    assert_eq!(world.git_ok("shallow", &["rev-parse", "--is-shallow-repository"]).await.trim(), "true");
    world.git_ok("shallow", &["fetch", "--quiet", "--unshallow"]).await;
    assert_eq!(world.git_ok("shallow", &["rev-list", "--count", "HEAD"]).await.trim(), "2");

    world.git_ok("", &["clone", "--quiet", "--no-checkout", "--filter=blob:none", &remote, "partial"]).await;
    let missing = ["rev-list", "--objects", "--all", "--missing=print"];
    let listed = world.git_ok("partial", &missing).await;
    assert!(listed.lines().any(|line| line.starts_with('?')), "the server sent every blob: {listed}");
    let readme = world.git_ok("partial", &["show", "HEAD:README.md"]).await;
    assert!(readme.starts_with('#'), "a missing blob is fetched when it is asked for: {readme}");
    world.git_ok("partial", &["fsck", "--connectivity-only"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn git_pushes_and_the_service_sees_it() {
    let world = Simulation::start().await;
    let commit = world.clone_with_commit("work", "feature/from-git").await;
    world.git_ok("work", &["push", "--quiet", "origin", "HEAD"]).await;
    assert_eq!(world.tip("feature/from-git").await.as_deref(), Some(commit.as_str()));
    let path =
        "Fabrikam/_apis/git/repositories/web-shop/pushes?searchCriteria.refName=refs/heads/feature/from-git";
    let (_, pushes) = world.ask("alice", "GET", &format!("{path}&api-version=7.1"), None).await;
    assert_eq!(pushes["value"][0]["pushedBy"]["displayName"], "Bob Keller", "{pushes}");
    // What the service makes of it can be fetched again: the preview of a merge.
    let new = json!({"sourceRefName": "refs/heads/feature/from-git", "targetRefName": "refs/heads/main", "title": "t"});
    let path = "Fabrikam/_apis/git/repositories/web-shop/pullrequests?api-version=7.1";
    let (status, opened) = world.ask("bob", "POST", path, Some(new)).await;
    assert_eq!(status, 201, "{opened}");
    let id = opened["pullRequestId"].as_u64().unwrap();
    crate::harness::eventually("the preview of the merge", async || {
        let path = format!("_apis/git/pullrequests/{id}?api-version=7.1");
        let (_, found) = world.ask("bob", "GET", &path, None).await;
        (found["mergeStatus"] == "succeeded").then_some(())
    })
    .await;
    world.git_ok("work", &["fetch", "--quiet", "origin", &format!("refs/pull/{id}/merge")]).await;
    let parents = world.git_ok("work", &["rev-list", "--parents", "-1", "FETCH_HEAD"]).await;
    assert_eq!(parents.split_whitespace().count(), 3, "{parents}");
    world.git_ok("work", &["push", "--quiet", "origin", ":feature/from-git"]).await;
    assert_eq!(world.tip("feature/from-git").await, None);
    // The same again, with nothing to do, and one that is not a fast-forward.
    world.git_ok("work", &["push", "--quiet", "origin", "HEAD:refs/heads/feature/again"]).await;
    world.git_ok("work", &["commit", "--quiet", "--amend", "-m", "Another"]).await;
    let refused = world.git("work", &["push", "origin", "+HEAD:refs/heads/main~1"]).await;
    assert!(!refused.status.success(), "a name that is none was taken");
    let older = world.git("work", &["push", "origin", "HEAD:refs/heads/feature/again"]).await;
    assert!(!older.status.success() && told(&older).contains("rejected"), "{}", told(&older));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn git_is_refused_by_policy_permission_and_wrong_credentials() {
    let world = Simulation::start().await;
    world.clone_with_commit("work", "main").await;
    let (_, shop) =
        world.ask("alice", "GET", "Fabrikam/_apis/git/repositories/web-shop?api-version=7.1", None).await;
    let policy = json!({
        "isEnabled": true, "isBlocking": true, "type": {"id": "fa4e907d-c16b-4a4c-9dfa-4906e5d171dd"},
        "settings": {"minimumApproverCount": 1, "scope": [
            {"repositoryId": shop["id"], "refName": "refs/heads/main", "matchKind": "exact"}]},
    });
    let path = "Fabrikam/_apis/policy/configurations?api-version=7.1";
    let (status, made) = world.ask("alice", "POST", path, Some(policy)).await;
    assert_eq!(status, 200, "{made}");
    let before = world.tip("main").await;
    let pushed = world.git("work", &["push", "origin", "HEAD:main"]).await;
    let said = told(&pushed);
    let wanted = "TF402455: Pushes to this branch are not permitted; you must use a pull request to update this branch.";
    assert!(said.contains("[remote rejected]") && said.contains(wanted), "{said}");
    assert!(!pushed.status.success() && world.tip("main").await == before);
    // One refused reference stops no other, unless the push is to be done as a whole.
    let both = ["HEAD:main", "HEAD:refs/heads/feature/whole"];
    let whole = world.git("work", &[&["push", "--atomic", "origin"], &both[..]].concat()).await;
    assert!(!whole.status.success() && world.tip("feature/whole").await.is_none(), "{}", told(&whole));
    let both = ["HEAD:main", "HEAD:refs/heads/feature/beside"];
    let pushed = world.git("work", &[&["push", "origin"], &both[..]].concat()).await;
    let said = told(&pushed);
    assert!(said.contains(wanted) && said.contains("[new branch]") && !pushed.status.success(), "{said}");
    assert!(world.tip("feature/beside").await.is_some() && world.tip("main").await == before);

    for (permission, name) in [("CreateBranch", "feature/new"), ("GenericContribute", "feature/beside")] {
        let denial = json!({"person": "bob", "scope": "web-shop", "permission": permission});
        world.control("access", denial.clone()).await;
        world.git_ok("work", &["commit", "--quiet", "--allow-empty", "-m", permission]).await;
        let pushed = world.git("work", &["push", "origin", &format!("HEAD:refs/heads/{name}")]).await;
        let said = told(&pushed);
        let wanted = format!("TF401027: You need the Git '{permission}' permission to perform this action.");
        assert!(!pushed.status.success() && said.contains(&wanted), "{said}");
        world
            .control(
                "access",
                json!({"person": "bob", "scope": "web-shop", "permission": permission, "denied": false}),
            )
            .await;
    }

    let wrong = world.git("", &["clone", "--quiet", &world.remote("bob", "wrong"), "wrong"]).await;
    assert!(!wrong.status.success() && told(&wrong).contains("Authentication failed"), "{}", told(&wrong));
    let remote = world.remote("bob", "demo-bob").replace("web-shop", "web-shop.git");
    let absent = world.git("", &["clone", "--quiet", &remote, "absent"]).await;
    assert!(!absent.status.success() && told(&absent).contains("not found"), "{}", told(&absent));
    let remote = world.remote("bob", "demo-bob").replace("Fabrikam/_git/web-shop", "Northwind/_git/ledger");
    let hidden = world.git("", &["clone", "--quiet", &remote, "hidden"]).await;
    assert!(!hidden.status.success(), "bob may not see Northwind");
    let stale = ["-c", "http.extraHeader=Authorization: Bearer not.a.token", "ls-remote"];
    let anonymous = world.remote("x", "y").replace("x:y@", "");
    let stale = world.git("", &[&stale[..], &[&anonymous]].concat()).await;
    assert!(!stale.status.success(), "a bad bearer token was taken");
    let token = agent_token(&world).await;
    let header = format!("http.extraHeader=Authorization: {token}");
    world.git_ok("", &["-c", &header, "ls-remote", "--exit-code", &anonymous, "refs/heads/main"]).await;
}

/// The agent user's bearer token, as the sidecar gives it.
async fn agent_token(world: &Simulation) -> String {
    let base = world.sidecar.trim_end_matches('/');
    let query =
        "AgentIdentity=44444444-dddd-4ddd-8ddd-444444444444&AgentUsername=ado-coworker@contoso.example";
    let url = format!("{base}/AuthorizationHeaderUnauthenticated/ado?{query}");
    let response = world.http.get(url).send().await.unwrap();
    let answer: Value = response.json().await.unwrap();
    answer["authorizationHeader"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}
