//! The organisation over real HTTP, in one process.

mod access;
mod main_job;
mod rules;
mod time;
mod world;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::simulator::tokens::{AGENT_USER_ID, AGENT_USER_UPN, AUDIENCE_AZURE_DEVOPS};
use crate::simulator::{Running, Settings, Webhook, start};

const REPOSITORY: &str = "Fabrikam/_apis/git/repositories/web-shop";

/// A simulator with a client for it.
struct Bench {
    running: Running,
    client: reqwest::Client,
    token: String,
    folder: tempfile::TempDir,
}

async fn bench(webhook: Option<Webhook>) -> Bench {
    bench_at(webhook, Clock::Real).await
}

async fn bench_at(webhook: Option<Webhook>, clock: Clock) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { clock, ..settings(folder.path().to_owned(), webhook) };
    let running = start(settings).await.unwrap();
    let claims = json!({"aud": AUDIENCE_AZURE_DEVOPS, "oid": AGENT_USER_ID, "upn": AGENT_USER_UPN});
    let token = running.authority.mint(claims.as_object().unwrap().clone(), 3600);
    let client = client();
    Bench { running, client, token, folder }
}

fn settings(data: std::path::PathBuf, webhook: Option<Webhook>) -> Settings {
    Settings {
        listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
        organization_port: 0,
        entra_port: 0,
        sidecar_port: 0,
        model_port: 0,
        data,
        load: None,
        clock: Clock::Real,
        pace: Duration::ZERO,
        webhook,
        seed: 1,
        provisioned: true,
    }
}

#[allow(clippy::disallowed_methods, reason = "a test of the simulator builds its own client")]
fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

/// Serves on the demo's ports until it is ended, to be driven by other clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "serves until ended; run it by hand"]
async fn serve_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path().to_owned(), None);
    (settings.organization_port, settings.sidecar_port, settings.model_port) = (4193, 4195, 4196);
    let running = start(settings).await.unwrap();
    println!("serving {}", running.organization_url);
    tokio::signal::ctrl_c().await.unwrap();
    running.shutdown().await.unwrap();
}

impl Bench {
    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.running.organization_url)
    }

    async fn ask(&self, who: &str, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let separator = if path.contains('?') { '&' } else { '?' };
        let preview = ["comments", "evaluations", "connectionData"].iter().any(|p| path.contains(p));
        let version = if preview { "7.1-preview" } else { "7.1" };
        let url = format!("{}{separator}api-version={version}", self.url(path));
        let patch = path.contains("/wit/workitems/");
        let mut request = self.client.request(method, url);
        request = match who {
            "agent" => request.bearer_auth(&self.token),
            name => request.basic_auth("", Some(format!("demo-{name}"))),
        };
        if let Some(body) = body {
            let kind = if patch { "application/json-patch+json" } else { "application/json" };
            request = request.header("content-type", kind).body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        assert!(response.headers().contains_key("activityid"), "{path}");
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn ok(&self, who: &str, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, value) = self.ask(who, method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {value}");
        value
    }

    async fn get(&self, path: &str) -> Value {
        self.ok("agent", Method::GET, path, None).await
    }

    /// Asks until the answer fits.
    async fn until(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200 {
            let value = self.get(path).await;
            if fits(&value) {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{path} never fitted: {}", self.get(path).await);
    }

    async fn push_branch(&self, branch: &str, changes: Value) -> Value {
        let refs = self.get(&format!("{REPOSITORY}/refs?filter=heads/main")).await;
        let tip = refs["value"][0]["objectId"].clone();
        let body = json!({
            "refUpdates": [{"name": format!("refs/heads/{branch}"), "oldObjectId": tip}],
            "commits": [{"comment": "Change", "changes": changes}],
        });
        self.ok("agent", Method::POST, &format!("{REPOSITORY}/pushes"), Some(body)).await
    }
}
