//! Compose files.

use yaml_rust2::Yaml;
use yaml_rust2::yaml::Hash;

use super::{Container, text, texts};

/// The services as containers; a service behind a profile counts too.
pub(super) fn containers(services: &Hash) -> Vec<Container> {
    services.iter().filter_map(|(name, service)| Some(container(&text(name)?, service))).collect()
}

fn container(name: &str, service: &Yaml) -> Container {
    let mut found = Container {
        name: name.to_owned(),
        image: text(&service["image"]).unwrap_or_default(),
        published: ports(&service["ports"]),
        replicas: service["deploy"]["replicas"].as_i64().or(service["scale"].as_i64()).unwrap_or(1),
        privileged: service["privileged"].as_bool().unwrap_or(false)
            || !texts(&service["cap_add"]).is_empty(),
        writable: service["read_only"].as_bool() != Some(true),
        ..Container::default()
    };
    let user = text(&service["user"]);
    found.root = user.is_some_and(|user| user == "root" || user.split(':').next() == Some("0"));
    let mode = text(&service["network_mode"]).unwrap_or_default();
    found.host_network = mode == "host";
    found.network = match mode.split_once(':') {
        Some(("service" | "container", other)) => other.to_owned(),
        _ => name.to_owned(),
    };
    match &service["environment"] {
        Yaml::Hash(all) => {
            for (name, value) in all {
                let Some(name) = text(name) else { continue };
                found.variables.insert(name, text(value).unwrap_or_default());
            }
        }
        list => {
            for entry in texts(list) {
                let (name, value) = entry.split_once('=').unwrap_or((&entry, ""));
                found.variables.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    let files = match &service["env_file"] {
        Yaml::Array(all) => all.iter().filter_map(|one| text(one).or_else(|| text(&one["path"]))).collect(),
        one => texts(one),
    };
    found.unseen = files;
    let volumes = match &service["volumes"] {
        Yaml::Array(all) => all.iter().filter_map(|one| text(one).or_else(|| text(&one["source"]))).collect(),
        _ => Vec::new(),
    };
    for volume in volumes {
        if volume.contains("azure-identity-token") || volume.contains("/var/run/secrets") {
            found.token_files.push(format!("the volume {volume}"));
        }
    }
    found
}

/// Ports that are published on the host, as written.
fn ports(value: &Yaml) -> Vec<String> {
    let shown = |one: &Yaml| {
        text(one).or_else(|| {
            let port = text(&one["published"]).or_else(|| text(&one["target"]))?;
            Some(format!("port {port}"))
        })
    };
    value.as_vec().map(|all| all.iter().filter_map(shown).collect()).unwrap_or_default()
}
