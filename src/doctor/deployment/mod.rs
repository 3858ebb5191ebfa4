//! Reads a compose file or a Kubernetes manifest and says what in it does not fit the sidecar's
//! rules (SIDECAR.md §5, §6, §10).
//!
//! Invariant: it judges what the file says and nothing else; what lies in another file is named as
//! not seen. No value of a secret is shown.

mod compose;
mod judge;
mod kubernetes;

use std::collections::BTreeMap;
use std::path::Path;

use yaml_rust2::{Yaml, YamlLoader};

use super::{Check, Findings, Line};

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

const FILE: Line = ("deployment.file", "Deployment file");
const NETWORK: Line = ("deployment.network", "Sidecar's network");
const PORT: Line = ("deployment.sidecar_port", "Sidecar's port");
const VERSION: Line = ("deployment.sidecar_image", "Sidecar's image");
const GATES: Line = ("deployment.gates", "Sidecar's gates");
const CREDENTIAL: Line = ("deployment.credential", "Blueprint's credential");
const SECRETS: Line = ("deployment.agent_secrets", "Secrets in the agent");
const TOKEN_FILE: Line = ("deployment.token_file", "Token file");
const IDENTITIES: Line = ("deployment.identities", "Agent identities");
const HARDENING: Line = ("deployment.hardening", "Rights of the containers");

/// The checks of a file, in order.
const LINES: &[Line] =
    &[FILE, NETWORK, PORT, VERSION, GATES, CREDENTIAL, SECRETS, TOKEN_FILE, IDENTITIES, HARDENING];

/// A container of either kind of file.
#[derive(Clone, Debug, Default)]
struct Container {
    name: String,
    image: String,
    /// Variables that the file gives, with their values.
    variables: BTreeMap<String, String>,
    /// Names of files and objects that give further variables, which are not seen.
    unseen: Vec<String>,
    /// Whether one of those is an object or file for secrets.
    takes_secret: bool,
    /// How its ports are reached from outside, in words.
    published: Vec<String>,
    /// Containers with the same text share a network namespace.
    network: String,
    /// Whether it has the node's or host's own network.
    host_network: bool,
    /// Ways to a token file of the cluster, in words.
    token_files: Vec<String>,
    replicas: i64,
    root: bool,
    writable: bool,
    privileged: bool,
}

impl Container {
    /// A variable, in any letter case, as the sidecar reads its own.
    fn variable(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn is_sidecar(&self) -> bool {
        self.image.contains("auth-sidecar")
            || self.variables.keys().any(|name| name.to_ascii_lowercase().starts_with("downstreamapis__"))
    }

    fn is_agent(&self) -> bool {
        !self.is_sidecar()
            && (self.variable("SIDECAR_URL").is_some() || self.variable("AGENT_IDENTITY_ID").is_some())
    }
}

/// What a file holds.
struct Layout {
    kind: &'static str,
    containers: Vec<Container>,
}

/// Every check of the file at `path`.
pub fn examine(path: &Path) -> Vec<Check> {
    let mut findings = Findings::default();
    match read(path) {
        Ok(layout) => judge::judge(&mut findings, &layout),
        Err(problem) => {
            let remedy =
                "Give a compose file, or a Kubernetes manifest with a pod, a Deployment or a StatefulSet.";
            findings.fail(FILE, problem, remedy);
            findings.skip_missing(LINES, "The file cannot be used.");
        }
    }
    findings.in_order(LINES)
}

fn read(path: &Path) -> Result<Layout, String> {
    let shown = path.display();
    let size = std::fs::metadata(path).map_err(|error| format!("{shown} cannot be read: {error}."))?.len();
    if size > MAX_BYTES {
        return Err(format!("{shown} is larger than {MAX_BYTES} bytes."));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{shown} cannot be read: {error}."))?;
    parse(&text).map_err(|problem| format!("{shown} {problem}"))
}

fn parse(text: &str) -> Result<Layout, String> {
    let documents = YamlLoader::load_from_str(text).map_err(|error| format!("is not YAML: {error}."))?;
    let is_manifest = documents.iter().any(|one| !one["apiVersion"].is_badvalue());
    let layout = match is_manifest {
        true => Layout { kind: "Kubernetes manifest", containers: kubernetes::containers(&documents) },
        false => {
            let services = documents.first().map(|one| &one["services"]);
            let services =
                services.and_then(Yaml::as_hash).ok_or("is neither a compose file nor a manifest.")?;
            Layout { kind: "compose file", containers: compose::containers(services) }
        }
    };
    if layout.containers.is_empty() {
        return Err("has no container in it.".into());
    }
    Ok(layout)
}

/// A scalar as text.
fn text(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) | Yaml::Real(text) => Some(text.clone()),
        Yaml::Integer(number) => Some(number.to_string()),
        Yaml::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// The scalars of a list; a single one counts as a list of one.
fn texts(value: &Yaml) -> Vec<String> {
    match value {
        Yaml::Array(all) => all.iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests;
