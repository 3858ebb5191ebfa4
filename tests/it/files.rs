//! What ships beside the program: compose.yaml, Dockerfile, .env.example, scripts.

use std::os::unix::fs::PermissionsExt as _;

use crate::house::{read, root};

/// Parts of names of variables that hold secrets.
const SECRET_WORDS: [&str; 7] =
    ["SECRET", "PASSWORD", "KEY", "TOKEN", "CREDENTIAL", "CERTIFICATE", "AZUREAD__"];

// ---------------------------------------------------------------------------------------------
// Reading YAML: nested maps, lists of plain values, comments. What it does not know it refuses.

/// Each plain value with the path that leads to it: `services.demo.ports`, `127.0.0.1:4192:4192`.
fn yaml(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    // The open maps, each with its indentation.
    let mut open: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = without_comment(line);
        let content = line.trim();
        if content.is_empty() {
            continue;
        }
        let refuse = |what: &str| Err(format!("line {}: {what}: {content}", number + 1));
        let indent = line.len() - line.trim_start().len();
        let item = content.strip_prefix("- ");
        // A list may stand at the indentation of the key that it belongs to.
        open.retain(|(at, _)| *at < indent || (item.is_some() && *at == indent));
        let path = |last: Option<&str>| {
            let names = open.iter().map(|(_, name)| name.as_str()).chain(last);
            names.collect::<Vec<_>>().join(".")
        };
        if content.starts_with(['{', '[', '&', '*', '?', '|', '>', '!']) || content.contains("<<:") {
            return refuse("only plain maps, lists and values are read");
        }
        match (item, content.split_once(':')) {
            (Some(value), _) => {
                let mapping =
                    value.ends_with(':') || (value.contains(": ") && !value.starts_with(['"', '\'']));
                if mapping || value.starts_with(['{', '[', '&', '*']) {
                    return refuse("a list of plain values is read, nothing else");
                }
                found.push((path(None), unquoted(value)));
            }
            (None, Some((key, ""))) => open.push((indent, unquoted(key))),
            (None, Some((key, value))) if value.starts_with(' ') => {
                if value.trim().starts_with(['{', '[', '&', '*', '|', '>']) {
                    return refuse("only plain values are read");
                }
                found.push((path(Some(&unquoted(key))), unquoted(value.trim())));
            }
            _ => return refuse("neither a key nor a list item"),
        }
    }
    Ok(found)
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    line.split(" #").next().unwrap_or_default()
}

fn unquoted(text: &str) -> String {
    let inner = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text).to_owned()
}

fn service_names(values: &[(String, String)]) -> Vec<String> {
    let mut names: Vec<String> = values
        .iter()
        .filter_map(|(path, _)| Some(path.strip_prefix("services.")?.split('.').next()?.to_owned()))
        .collect();
    names.dedup();
    names
}

/// Everything in a compose file that a deployment of ours must not have.
fn compose_faults(text: &str) -> Vec<String> {
    let values = match yaml(text) {
        Ok(values) => values,
        Err(error) => return vec![error],
    };
    let mut faults = Vec::new();
    for name in service_names(&values) {
        let of = |key: &str| -> Vec<&str> {
            let path = format!("services.{name}.{key}");
            values.iter().filter(|(at, _)| *at == path).map(|(_, value)| value.as_str()).collect()
        };
        let mut must = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("{name}: {what}"));
            }
        };
        must(
            of("ports").iter().all(|port| port.starts_with("127.0.0.1:")),
            "publishes a port beyond this machine",
        );
        must(of("read_only") == ["true"], "its file system can be written");
        must(of("cap_drop") == ["ALL"], "keeps capabilities");
        must(of("security_opt").contains(&"no-new-privileges:true"), "may gain privileges");
        must(!of("user").is_empty() && of("user").iter().all(|user| is_ordinary(user)), "runs as root");
        must(of("privileged").is_empty() && of("cap_add").is_empty(), "is given privileges");
        // The sidecar shares the agent's network and nothing else, has no port, and alone takes a
        // file of variables: the one with its credential.
        let is_sidecar = of("image").iter().any(|image| image.contains("auth-sidecar"));
        let network: &[&str] = if is_sidecar { &["service:agent"] } else { &[] };
        must(of("network_mode") == network && of("pid").is_empty(), "leaves its own namespaces");
        must(of("env_file").is_empty() || is_sidecar, "takes a whole file of variables");
        must(!is_sidecar || of("ports").is_empty(), "the sidecar is published");
        must(
            of("volumes").iter().all(|volume| !volume.starts_with(['/', '.', '~', '$'])),
            "sees a folder of this machine",
        );
        let prefix = format!("services.{name}.environment");
        for (path, value) in values.iter().filter(|(path, _)| path.starts_with(&prefix)) {
            // Either `NAME: value` in a map or `NAME=value` in a list.
            let variable = path.strip_prefix(&format!("{prefix}.")).unwrap_or(value).to_uppercase();
            let variable = variable.split('=').next().unwrap_or_default();
            // The place of a file that is mounted as a secret is none.
            let is_place = variable.ends_with("_FILE") && value.starts_with("/run/secrets/");
            must(
                is_place || !SECRET_WORDS.iter().any(|word| variable.contains(word)),
                &format!("is given the secret {variable}"),
            );
        }
    }
    faults
}

/// A numeric user that is not root: names can mean anything in an image.
fn is_ordinary(user: &str) -> bool {
    user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0))
}

#[test]
fn compose_publishes_on_this_machine_only_and_gives_no_rights() {
    let compose = read("compose.yaml");
    assert_eq!(compose_faults(&compose), Vec::<String>::new());
    let values = yaml(&compose).unwrap();
    assert_eq!(service_names(&values), ["demo", "agent", "sidecar"]);
    // Only the demo has no profile: a plain `up` runs it, and nothing else.
    let profiles: Vec<&str> =
        values.iter().filter(|(path, _)| path.ends_with("profiles")).map(|(path, _)| path.as_str()).collect();
    assert_eq!(profiles, ["services.agent.profiles", "services.sidecar.profiles"]);
    // The agent gets settings that it knows, each by its name.
    let known: Vec<&str> =
        ado_coworker::config::NAMES.iter().chain(&ado_coworker::config::MORE_NAMES).copied().collect();
    let given = values.iter().filter_map(|(path, _)| path.strip_prefix("services.agent.environment."));
    for name in given {
        assert!(known.contains(&name.trim_end_matches("_FILE")), "{name} is no setting");
    }
    for port in ["127.0.0.1:4192:4192", "127.0.0.1:4193:4193", "127.0.0.1:4194:4194"] {
        assert!(
            values.contains(&("services.demo.ports".to_owned(), port.to_owned())),
            "{port} is not published"
        );
    }
}

#[test]
fn the_compose_test_finds_what_is_planted() {
    let compose = read("compose.yaml");
    let plant = |old: &str, new: &str, fault: &str| {
        assert!(compose.contains(old), "{old} is not in compose.yaml");
        let faults = compose_faults(&compose.replacen(old, new, 1));
        assert!(faults.iter().any(|found| found.contains(fault)), "{new}: {faults:?}");
    };
    plant("\"127.0.0.1:4192:4192\"", "\"4192:4192\"", "beyond this machine");
    plant("\"127.0.0.1:4193:4193\"", "\"0.0.0.0:4193:4193\"", "beyond this machine");
    plant("read_only: true", "read_only: false", "can be written");
    plant("user: \"10001:10001\"", "user: \"0:0\"", "runs as root");
    plant("- ALL", "- NET_RAW", "keeps capabilities");
    plant(
        "    environment:\n",
        "    environment:\n      AzureAd__ClientSecret: x\n",
        "AZUREAD__CLIENTSECRET",
    );
    plant("    environment:\n", "    environment:\n      WEBHOOK_PASSWORD: x\n", "WEBHOOK_PASSWORD");
    plant("- demo:/data", "- /var/run/docker.sock:/var/run/docker.sock", "folder of this machine");
    plant("    ports:\n", "    ports: [\"4192:4192\"]\n    expose:\n", "only plain values");
    let list = "services:\n  a:\n    environment:\n    - BLUEPRINT_CLIENT_SECRET=x\n";
    assert!(compose_faults(list).iter().any(|fault| fault.contains("BLUEPRINT_CLIENT_SECRET")));
}

/// One `FROM` of a Dockerfile with the instructions after it.
struct Stage {
    from: String,
    name: String,
    instructions: Vec<String>,
}

fn stages(dockerfile: &str) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let lines = dockerfile.lines().filter(|line| !line.trim_start().starts_with('#'));
    let text = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["FROM", from, "AS", name] => {
                let (from, name) = ((*from).to_owned(), (*name).to_owned());
                stages.push(Stage { from, name, instructions: Vec::new() });
            }
            _ => stages
                .last_mut()
                .expect("a Dockerfile begins with FROM … AS …")
                .instructions
                .push(line.to_owned()),
        }
    }
    stages
}

#[test]
fn images_are_pinned_and_run_without_root() {
    let dockerfile = read("Dockerfile");
    let stages = stages(&dockerfile);
    for stage in &stages {
        let own = stages.iter().any(|other| other.name == stage.from);
        let tag = stage.from.rsplit_once(':').map(|(_, tag)| tag);
        assert!(own || tag.is_some_and(|tag| tag != "latest"), "{} is not pinned", stage.from);
    }
    for name in ["agent", "demo"] {
        let stage =
            stages.iter().find(|stage| stage.name == name).unwrap_or_else(|| panic!("no stage {name}"));
        let has = |start: &str| stage.instructions.iter().any(|line| line.starts_with(start));
        let user = stage.instructions.iter().filter_map(|line| line.strip_prefix("USER ")).next_back();
        assert!(user.is_some_and(is_ordinary), "{name} runs as {user:?}");
        assert!(has("HEALTHCHECK") && has("CMD"), "{name} has no HEALTHCHECK or no CMD");
        let git = stage.instructions.iter().any(|line| line.starts_with("RUN") && line.contains(" git "));
        assert_eq!(git, name == "demo", "git belongs into demo alone");
    }
    // What `docker build` makes when no target is given.
    assert_eq!(stages.last().map(|stage| stage.name.as_str()), Some("demo"));
}

#[test]
fn the_compiler_of_the_image_is_the_one_we_ask_for() {
    let manifest = read("Cargo.toml");
    let wanted = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    let wanted = wanted.expect("Cargo.toml has a rust-version");
    assert!(
        read("Dockerfile").contains(&format!("FROM rust:{wanted}.")),
        "the Dockerfile does not use {wanted}"
    );
}

#[test]
fn the_example_settings_change_nothing_when_copied() {
    for line in read(".env.example").lines() {
        assert!(line.is_empty() || line.starts_with('#'), "this line is a setting, not an example: {line}");
    }
}

#[test]
fn scripts_can_be_run() {
    for path in ["scripts/test.sh", "scripts/screenshot.sh", ".ci/run"] {
        let mode = std::fs::metadata(root().join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"))
            .permissions()
            .mode();
        assert_eq!(mode & 0o111, 0o111, "{path} is not executable");
        let text = read(path);
        assert!(
            text.starts_with("#!/usr/bin/env bash\n") && text.contains("\nset -euo pipefail\n"),
            "{path}"
        );
    }
}
