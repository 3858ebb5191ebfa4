//! Kubernetes manifests.

use std::collections::BTreeMap;

use yaml_rust2::Yaml;

use super::{Container, text};

/// The objects of all documents, those inside lists too.
fn objects(documents: &[Yaml]) -> Vec<&Yaml> {
    let mut all = Vec::new();
    for document in documents {
        match document["items"].as_vec() {
            Some(items) => all.extend(items),
            None => all.push(document),
        }
    }
    all
}

fn kind(object: &Yaml) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

/// The containers of every pod, with what other objects of the file give them.
pub(super) fn containers(documents: &[Yaml]) -> Vec<Container> {
    let objects = objects(documents);
    let mut found = Vec::new();
    for object in &objects {
        let (spec, labels, annotations) = match kind(object) {
            "Pod" => (&object["spec"], &object["metadata"]["labels"], &object["metadata"]["annotations"]),
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
                let template = &object["spec"]["template"];
                (&template["spec"], &template["metadata"]["labels"], &template["metadata"]["annotations"])
            }
            _ => continue,
        };
        let name = object["metadata"]["name"].as_str().unwrap_or("pod");
        let pod = Pod {
            name,
            spec,
            labels,
            annotations,
            replicas: object["spec"]["replicas"].as_i64().unwrap_or(1),
        };
        let first = spec["initContainers"].as_vec().into_iter().flatten();
        let all = first.chain(spec["containers"].as_vec().into_iter().flatten());
        found.extend(all.map(|container| pod.container(container, &objects)));
    }
    found
}

struct Pod<'a> {
    name: &'a str,
    spec: &'a Yaml,
    labels: &'a Yaml,
    annotations: &'a Yaml,
    replicas: i64,
}

impl Pod<'_> {
    fn container(&self, container: &Yaml, objects: &[&Yaml]) -> Container {
        let name = container["name"].as_str().unwrap_or_default();
        let (own, all) = (&container["securityContext"], &self.spec["securityContext"]);
        let user = own["runAsUser"].as_i64().or(all["runAsUser"].as_i64());
        let not_root = own["runAsNonRoot"].as_bool().or(all["runAsNonRoot"].as_bool()).unwrap_or(false);
        let mut found = Container {
            name: format!("{}/{name}", self.name),
            image: text(&container["image"]).unwrap_or_default(),
            network: format!("pod {}", self.name),
            host_network: self.spec["hostNetwork"].as_bool().unwrap_or(false),
            replicas: self.replicas,
            root: user == Some(0) || (user.is_none() && !not_root),
            writable: own["readOnlyRootFilesystem"].as_bool() != Some(true),
            privileged: own["privileged"].as_bool().unwrap_or(false)
                || own["allowPrivilegeEscalation"].as_bool() == Some(true),
            ..Container::default()
        };
        variables(container, objects, &mut found);
        self.reached(container, objects, &mut found);
        self.token_files(container, name, &mut found);
        found
    }

    /// Ports of the container that a Service or the host opens.
    fn reached(&self, container: &Yaml, objects: &[&Yaml], found: &mut Container) {
        let ports = container["ports"].as_vec().map(Vec::as_slice).unwrap_or_default();
        for port in ports.iter().filter(|port| !port["hostPort"].is_badvalue()) {
            found.published.push(format!("hostPort {}", text(&port["hostPort"]).unwrap_or_default()));
        }
        let listens = container["env"].as_vec().into_iter().flatten().filter_map(|one| one["value"].as_str());
        let listens = listens.chain(found.variables.values().map(String::as_str));
        let mut own: Vec<String> = listens
            .filter_map(|url| url.strip_prefix("http://")?.rsplit_once(':').map(|(_, port)| port.to_owned()))
            .collect();
        own.retain(|_| found.is_sidecar());
        for port in ports {
            own.extend(text(&port["containerPort"]));
            own.extend(text(&port["name"]));
        }
        for service in objects.iter().filter(|object| kind(object) == "Service" && self.selected(object)) {
            let name = service["metadata"]["name"].as_str().unwrap_or_default();
            for port in service["spec"]["ports"].as_vec().into_iter().flatten() {
                let target = text(&port["targetPort"]).or_else(|| text(&port["port"])).unwrap_or_default();
                if own.contains(&target) {
                    found.published.push(format!("the Service {name}"));
                }
            }
        }
    }

    fn selected(&self, service: &Yaml) -> bool {
        let selector = service["spec"]["selector"].as_hash();
        selector.is_some_and(|all| {
            !all.is_empty()
                && all
                    .iter()
                    .all(|(name, value)| name.as_str().is_some_and(|name| self.labels[name] == *value))
        })
    }

    /// Ways by which the container gets a token of the cluster.
    fn token_files(&self, container: &Yaml, name: &str, found: &mut Container) {
        let volumes = self.spec["volumes"].as_vec().map(Vec::as_slice).unwrap_or_default();
        for mount in container["volumeMounts"].as_vec().into_iter().flatten() {
            let Some(source) = volumes.iter().find(|volume| volume["name"] == mount["name"]) else {
                continue;
            };
            let sources = source["projected"]["sources"].as_vec().into_iter().flatten();
            if sources.into_iter().any(|one| !one["serviceAccountToken"].is_badvalue()) {
                let volume = mount["name"].as_str().unwrap_or_default();
                found.token_files.push(format!("the volume {volume} with a service account's token"));
            }
        }
        let injected = text(&self.labels["azure.workload.identity/use"]).as_deref() == Some("true");
        let skipped = text(&self.annotations["azure.workload.identity/skip-containers"]).unwrap_or_default();
        if injected && !skipped.split(';').any(|one| one.trim() == name) {
            found
                .token_files
                .push("the token file that workload identity mounts into every container".into());
        }
    }
}

/// Variables of a container: given, or from objects of the same file.
fn variables(container: &Yaml, objects: &[&Yaml], found: &mut Container) {
    for source in container["envFrom"].as_vec().into_iter().flatten() {
        let map = source["configMapRef"]["name"].as_str();
        let secret = source["secretRef"]["name"].as_str();
        found.takes_secret |= secret.is_some();
        let data = match (map, secret) {
            (Some(name), _) => data_of(objects, "ConfigMap", name),
            (None, Some(name)) => data_of(objects, "Secret", name),
            _ => None,
        };
        match (data, map.or(secret)) {
            (Some(data), _) => found.variables.extend(data),
            (None, Some(name)) => found.unseen.push(name.to_owned()),
            _ => {}
        }
    }
    for variable in container["env"].as_vec().into_iter().flatten() {
        let Some(name) = variable["name"].as_str() else { continue };
        let from_secret = !variable["valueFrom"]["secretKeyRef"].is_badvalue();
        found.takes_secret |= from_secret;
        let value = text(&variable["value"]).unwrap_or_default();
        // A value that lies elsewhere is there all the same.
        found.variables.insert(name.to_owned(), if from_secret { "(secret)".into() } else { value });
    }
}

fn data_of(objects: &[&Yaml], wanted: &str, name: &str) -> Option<BTreeMap<String, String>> {
    let found = objects
        .iter()
        .find(|object| kind(object) == wanted && object["metadata"]["name"].as_str() == Some(name))?;
    let mut all = BTreeMap::new();
    for part in ["data", "stringData"] {
        for (name, value) in found[part].as_hash().into_iter().flatten() {
            all.extend(text(name).map(|name| (name, text(value).unwrap_or_default())));
        }
    }
    Some(all)
}
