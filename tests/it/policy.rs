//! The policy commands, as an operator types them.

use serde_json::{Value, json};

use crate::harness::command;
use crate::house::root;

/// Exit status, standard output and standard error.
async fn typed(arguments: &[&str]) -> (i32, String, String) {
    let mut command = command(arguments);
    command.stderr(std::process::Stdio::piped());
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_rule_file_is_checked_tested_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = root().join("policies/default.toml");
    let shipped = shipped.to_str().unwrap();
    let (status, out, _) = typed(&["policy", "check", shipped]).await;
    assert_eq!((status, out.contains("well")), (0, true), "{out}");
    let (status, out, _) = typed(&["policy", "test", "--json"]).await;
    let tested: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &tested["failed"]), (0, &json!(0)), "{out}");
    assert!(tested["passed"].as_u64().unwrap() > 40);

    let bad = folder.path().join("bad.toml");
    for (text, word) in [
        (
            "version = 1\n[[rule]]\nid = \"a\"\neffect = \"deny\"\naction = [\"git.push\"]\nbrnach = [\"main\"]\n",
            "brnach",
        ),
        (
            "version = 1\n[[rule]]\nid = \"a\"\neffect = \"ask\"\naction = [\"git.push\"]\napprovers = { any_of = [\"nobody\"] }\n",
            "nobody",
        ),
        (
            "version = 1\n[[rule]]\nid = \"a\"\neffect = \"allow\"\naction = [\"git.push\"]\n[[rule.test]]\nfacts = { action = \"git.push\" }\nexpect = \"deny\"\n",
            "test 1",
        ),
    ] {
        std::fs::write(&bad, text).unwrap();
        let (status, _, error) = typed(&["policy", "check", bad.to_str().unwrap()]).await;
        assert!(status == 1 && error.contains(word), "{status} {error}");
    }
    assert_eq!(typed(&["policy", "check", "/not/there.toml"]).await.0, 2);
    assert_eq!(typed(&["policy", "explain", "--facts", "{\"brnach\":1}"]).await.0, 2);

    let facts = json!({ "action": "git.push", "branch": "main", "project_served": true }).to_string();
    let (status, out, _) = typed(&["policy", "explain", "--facts", &facts]).await;
    assert!(status == 0 && out.starts_with("git.push: deny") && out.contains("protected-branches"), "{out}");
    let (_, out, _) = typed(&["policy", "explain", "--facts", &facts, "--json"]).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["verdict"]["outcome"], "deny");
}

#[tokio::test]
async fn recorded_decisions_are_compared_under_two_rule_files() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = std::fs::read_to_string(root().join("policies/default.toml")).unwrap();
    let place = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let old = place("old.toml", &shipped);
    let strict =
        shipped.replace("deleted_over = 5", "deleted_over = 0").replace("deleted = 6", "deleted = 1");
    let new = place("new.toml", &strict);
    let facts = |deleted: u32| {
        json!({ "type": "intended", "verdict": { "outcome": "allow", "rules": ["own-branches"], "facts": {
            "action": "git.push", "branch": "agent/1", "project_served": true, "own_branch": true, "run_object": true,
            "deleted": deleted } } })
    };
    let lines = place("recording.jsonl", &format!("{}\n{}\n", facts(0), facts(2)));
    let (status, out, error) = typed(&["policy", "diff", &old, &new, "--replay", &lines, "--json"]).await;
    assert_eq!(status, 0, "{error}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["decisions"], told["differences"].as_array().unwrap().len()), (&json!(2), 1), "{told}");
    assert_eq!(
        (&told["differences"][0]["old"], &told["differences"][0]["new"]),
        (&json!("allow"), &json!("ask"))
    );
    assert_eq!(typed(&["policy", "diff", &old, &new, "--replay", "/not/there"]).await.0, 2);
}

/// The name that switches defences off is in no ordinary program.
#[test]
#[cfg(not(feature = "weaken"))]
fn the_program_does_not_know_the_switch() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_ado-coworker")).unwrap();
    let name = ["ADO_COWORKER", "WEAKEN"].join("_");
    assert!(!program.windows(name.len()).any(|window| window == name.as_bytes()));
}
