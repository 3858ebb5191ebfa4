//! Cases of the list that a scenario file cannot express: other tokens, start-up, people whose groups
//! nobody can find out.

use serde_json::{Value, json};

use super::file;
use super::world::{Runs, World};
use crate::harness::command;

/// A world in which an approval waits: the model asks to change the build definition.
async fn asked(settings: &str) -> World {
    let text = format!(
        r#"id = "case"
title = "An approval waits"
[settings]
{settings}
[model]
kind = "obedient"
[[act]]
kind = "instruction"
as = "bob"
text = '''CALL push_changes {{"branch":"agent/x","message":"Change","changes":[{{"path":"azure-pipelines.yml","action":"edit","content":"steps: []"}}]}}'''
[expect]
status = "waiting"
"#
    );
    let scenario = file::read(&text).unwrap_or_else(|error| panic!("{error}")).remove(0);
    let mut world = World::start(&scenario, &Runs::Within).await;
    world.seed(&scenario).await;
    for act in &scenario.acts {
        world.act(act).await;
    }
    world.until_quiet().await;
    assert_eq!(world.approvals().await.len(), 1);
    world
}

fn yes(approval: &Value) -> Value {
    json!({ "decision": "approve", "digest": approval["digest"], "reason": "" })
}

fn path(approval: &Value) -> String {
    format!("/api/approvals/{}/decision", approval["id"].as_str().unwrap())
}

impl World {
    /// The status of a decision that brings this header.
    async fn decided_with(&self, header: &str, approval: &Value) -> u16 {
        let request =
            self.http.post(format!("{}{}", self.page, path(approval))).header("authorization", header);
        request.json(&yes(approval)).send().await.unwrap().status().as_u16()
    }

    async fn token(&self, query: &str) -> String {
        let base = self.simulation().sidecar_url.as_str().trim_end_matches('/').to_owned();
        let url = format!("{base}/AuthorizationHeaderUnauthenticated/ado?{query}");
        let answer: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        answer["authorizationHeader"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

#[tokio::test]
async fn a39_no_token_of_an_agent_or_of_nobody_decides() {
    let world = asked("").await;
    let approval = world.approvals().await.remove(0);
    let agent = "AgentIdentity=44444444-dddd-4ddd-8ddd-444444444444";
    let user = format!("{agent}&AgentUsername=ado-coworker@contoso.example");
    let app = format!("{agent}&optionsOverride.RequestAppToken=true");
    let tokens = [world.token(&user).await, world.token(&app).await];
    for token in &tokens {
        assert_eq!(world.decided_with(token, &approval).await, 403);
    }
    // Cut, renamed, unsigned: no person's.
    let plain = tokens[0].trim_start_matches("Bearer ").to_owned();
    let unsigned = plain.rsplit_once('.').map(|(head, _)| format!("Bearer {head}.")).unwrap();
    for header in [
        unsigned,
        format!("bearer  {plain}"),
        "Bearer x.y.z".into(),
        "Bearer ".into(),
        format!("Bearer {}", &plain[1..]),
    ] {
        let status = world.decided_with(&header, &approval).await;
        assert!(status == 401 || status == 403, "{status}");
    }
    assert_eq!(world.approvals().await[0]["state"], "pending");
    assert!(world.effects().await.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a35_who_does_not_see_the_project_gives_no_orders_for_it() {
    let world = asked("").await;
    {
        let mut organisation = world.simulation().organisation.lock();
        let carol = organisation.find_person("carol").unwrap().id;
        let alice = organisation.find_person("alice").unwrap().id;
        let actor = ado_coworker::simulator::azure_devops::state::Actor {
            id: alice,
            activity: organisation.new_id(),
        };
        organisation.leave(actor, carol).unwrap();
    }
    let before = world.runs().await.len();
    let (status, said) =
        world.page(Some("carol"), "/api/runs", Some(json!({ "instruction": "Push to main" }))).await;
    assert_eq!(status, 403, "{said}");
    assert_eq!(world.runs().await.len(), before);
    world.stop().await;
}

#[tokio::test]
async fn a64_people_whose_groups_cannot_be_found_out_are_in_none() {
    let world = asked("GRAPH_URL = \"http://127.0.0.1:1\"").await;
    let approval = world.approvals().await.remove(0);
    let entra = world.simulation().entra_url.clone();
    let url = entra.join("/_simulator/entra/groups-overage").unwrap();
    let asked = world.http.post(url).json(&json!({ "user": "alice@contoso.example" })).send().await.unwrap();
    assert!(asked.status().is_success());
    let (status, said) = world.page(Some("alice"), &path(&approval), Some(yes(&approval))).await;
    assert_eq!(status, 403, "{said}");
    assert_eq!(world.approvals().await[0]["state"], "pending");
    // Carol's token lists her groups.
    let (status, said) = world.page(Some("carol"), &path(&approval), Some(yes(&approval))).await;
    assert_eq!(status, 200, "{said}");
    world.until_quiet().await;
    world.stop().await;
}

#[tokio::test]
async fn a63_nothing_starts_with_rules_or_settings_in_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    let settings = crate::harness::settings(
        "http://127.0.0.1:1/contoso",
        "http://127.0.0.1:1",
        "http://127.0.0.1:1",
        folder.path(),
    );
    let whole = ado_coworker::policy::DEFAULT_POLICY;
    let doubts = [
        (whole.replacen("branch = [\"main\"", "brnach = [\"main\"", 1), "brnach"),
        (whole.replacen("expect = \"deny\"", "expect = \"allow\"", 1), "test"),
        (whole.replacen("effect = \"deny\"", "effect = \"observe-only\"", 1), "observe-only"),
        (String::new(), "version"),
        ("version = 1\n[[rule]]\nid = \"a\"\neffect = \"ask\"\naction = [\"git.push\"]\napprovers = { any_of = [\"nobody\"] }\n".into(), "nobody"),
    ];
    for (text, word) in doubts {
        assert_ne!(text, whole);
        std::fs::write(&policy, text).unwrap();
        let mut serve = command(&["serve"]);
        serve.envs(settings.iter().cloned()).env("POLICY_FILE", &policy).stderr(std::process::Stdio::piped());
        let ended =
            tokio::time::timeout(crate::harness::PATIENCE, serve.output()).await.expect("it ends").unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && said.contains(word), "{word}: {:?} {said}", ended.status);
    }
    // A secret that cannot be hidden: the masker refuses, and so does the start.
    let mut serve = command(&["serve"]);
    serve.envs(settings.iter().cloned()).env("WEBHOOK_PASSWORD", "x").stderr(std::process::Stdio::piped());
    let ended =
        tokio::time::timeout(crate::harness::PATIENCE, serve.output()).await.expect("it ends").unwrap();
    assert!(!ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}
