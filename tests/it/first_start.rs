//! A first start that is refused, or killed in the middle, leaves nothing that is in the way of the next.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{PATIENCE, Process, command};

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_used_are_told_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo");
    for (name, value, status, words) in [
        ("AZURE_OPENAI_API_KEY", "abc", 1, "shorter than 6 bytes"),
        ("AZURE_OPENAI_ENDPOINT", "nonsense", 2, "AZURE_OPENAI_ENDPOINT"),
        ("POLICY_FILE", "/nowhere/at-all.toml", 1, "at-all.toml"),
    ] {
        let mut demo = command(&["demo", "--port", "0", "--simulator-port", "0"]);
        demo.arg("--data").arg(&data).env(name, value).stderr(Stdio::piped());
        let ended = tokio::time::timeout(PATIENCE, demo.output()).await.expect("it ends").unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(status), "{name}: {said}");
        assert!(said.contains(words), "{name}: {said}");
        assert!(!data.exists(), "{name} leaves a folder behind");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_was_killed_anywhere_begins_anew() {
    let http = ado_coworker::config::http_client().unwrap();
    let mut killed = 0;
    // Seeding takes some tens of milliseconds after the process has begun.
    for pause in [5, 15, 25, 35, 45, 60, 80, 100, 130, 160, 200, 250, 320, 400] {
        let folder = tempfile::tempdir().unwrap();
        let simulate = || {
            let mut simulate = command(&["simulate", "--simulator-port", "0", "--pace", "0"]);
            simulate.arg("--save").arg(folder.path());
            simulate
        };
        for _ in 0..2 {
            let mut first = simulate().kill_on_drop(true).spawn().unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            first.start_kill().unwrap();
            first.wait().await.unwrap();
            killed += usize::from(!folder.path().join("state.json").exists());
        }
        let mut simulation = Process::start(simulate());
        let organization = simulation.told("ready").await;
        let get = async |path: &str| -> Value {
            let request = http.get(format!("{organization}/{path}")).basic_auth("alice", Some("demo-alice"));
            request.send().await.unwrap().json().await.unwrap()
        };
        let refs = get("Fabrikam/_apis/git/repositories/web-shop/refs?api-version=7.1").await;
        assert_eq!(refs["value"][0]["name"], "refs/heads/main", "after {pause} ms: {refs}");
        let items = get("Fabrikam/_apis/wit/workitems?ids=1,2,3,4,5,6&api-version=7.1").await;
        assert_eq!(items["count"], 6, "after {pause} ms: {items}");
        let repositories = get("_apis/git/repositories?api-version=7.1").await;
        assert_eq!(repositories["count"], 2, "after {pause} ms: {repositories}");
    }
    assert!(killed > 0, "at least one kill came before the state was written");
}
