//! What a layout should be.

use super::super::Findings;
use super::{
    CREDENTIAL, Container, FILE, GATES, HARDENING, IDENTITIES, LINES, Layout, NETWORK, PORT, SECRETS,
    TOKEN_FILE, VERSION,
};

/// The gate without which the agent's parameters are ignored since 1.1.0.
const GATE: &str = "Sidecar__AllowOverrides__GetAuthorizationHeaderUnauthenticated";
/// Beginnings of names whose values the agent must not have.
const SIDECARS: [&str; 2] = ["azuread__", "blueprint_client_secret"];
/// Other names whose values could open Entra or Azure DevOps.
const STRAY: [&str; 5] = [
    "azure_client_secret",
    "azure_federated_token_file",
    "azure_devops_ext_pat",
    "azure_devops_pat",
    "azure_password",
];

/// Judges everything.
pub(super) fn judge(findings: &mut Findings, layout: &Layout) {
    let sidecars: Vec<&Container> = layout.containers.iter().filter(|one| one.is_sidecar()).collect();
    let agents: Vec<&Container> = layout.containers.iter().filter(|one| one.is_agent()).collect();
    if sidecars.is_empty() || agents.is_empty() {
        let lacks =
            if sidecars.is_empty() { "no auth sidecar" } else { "no container with the agent's settings" };
        findings.fail(
            FILE,
            format!("The {} has {lacks}.", layout.kind),
            "The sidecar is known by its image (auth-sidecar), the agent by SIDECAR_URL or AGENT_IDENTITY_ID among its \
             variables.",
        );
        return findings.skip_missing(LINES, "Agent and sidecar are not both there.");
    }
    let names = |all: &[&Container]| all.iter().map(|one| one.name.clone()).collect::<Vec<_>>().join(", ");
    findings.ok(FILE, format!("A {}: agent {}, sidecar {}.", layout.kind, names(&agents), names(&sidecars)));
    network(findings, &agents, &sidecars);
    port(findings, &sidecars, &agents);
    version(findings, &sidecars);
    gates(findings, &sidecars);
    credential(findings, &sidecars);
    secrets(findings, &agents, &sidecars);
    token_file(findings, &agents);
    identities(findings, &agents, &sidecars);
    hardening(findings, &agents, &sidecars);
}

fn network(findings: &mut Findings, agents: &[&Container], sidecars: &[&Container]) {
    let apart: Vec<&str> = agents
        .iter()
        .filter(|agent| !sidecars.iter().any(|sidecar| sidecar.network == agent.network))
        .map(|agent| agent.name.as_str())
        .collect();
    if apart.is_empty() {
        let elsewhere = agents.iter().find(|agent| {
            agent
                .variable("SIDECAR_URL")
                .is_some_and(|url| !url.contains("//localhost") && !url.contains("//127."))
        });
        return match elsewhere {
            None => findings.ok(NETWORK, "Agent and sidecar share a network namespace."),
            Some(agent) => findings.fail(
                NETWORK,
                format!("They share a network namespace, but {} does not call localhost.", agent.name),
                "Set SIDECAR_URL to http://localhost and the sidecar's port.",
            ),
        };
    }
    findings.fail(
        NETWORK,
        format!(
            "{} and the sidecar have network namespaces of their own: since 1.1.0 the sidecar answers them with an \
             empty 403, and before with 400 unless the host is named localhost.",
            apart.join(", ")
        ),
        "In compose give the sidecar network_mode: service:AGENT; in Kubernetes put both into one pod; and call \
         http://localhost.",
    );
}

fn port(findings: &mut Findings, sidecars: &[&Container], agents: &[&Container]) {
    let open = sidecars.iter().find(|sidecar| !sidecar.published.is_empty());
    if let Some(sidecar) = open {
        return findings.fail(
            PORT,
            format!("{} is reached from outside by {}.", sidecar.name, sidecar.published.join(", ")),
            "Take it away: whoever reaches that port gets tokens of the blueprint and of all its agents.",
        );
    }
    if let Some(sidecar) = sidecars.iter().find(|sidecar| sidecar.host_network) {
        return findings.fail(
            PORT,
            format!("{} has the host's own network, so everything on the host reaches it.", sidecar.name),
            "Give it the agent's network namespace instead.",
        );
    }
    // In a shared namespace the agent's published ports could lead to the sidecar.
    let wanted = sidecars.iter().filter_map(|sidecar| sidecar.variable("ASPNETCORE_URLS"));
    let ports: Vec<&str> = wanted.filter_map(|url| url.rsplit(':').next()).collect();
    let leads = agents.iter().flat_map(|agent| &agent.published).find(|shown| {
        let inner = shown.rsplit(':').next().unwrap_or_default();
        ports.contains(&inner.split('/').next().unwrap_or_default())
    });
    match leads {
        Some(shown) => findings.fail(
            PORT,
            format!("The agent publishes {shown}, which leads to the sidecar in the shared namespace."),
            "Publish the agent's own port only.",
        ),
        None => findings.ok(PORT, "Nothing leads to the sidecar from outside."),
    }
}

/// Major and minor number of the sidecar's tag.
fn family(image: &str) -> Option<(u32, u32)> {
    let tag = image.rsplit_once(':').map(|(_, tag)| tag)?;
    let mut numbers = tag.split(['.', '-']).map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn version(findings: &mut Findings, sidecars: &[&Container]) {
    for sidecar in sidecars {
        if sidecar
            .variable("ASPNETCORE_ENVIRONMENT")
            .is_some_and(|name| name.eq_ignore_ascii_case("Development"))
        {
            return findings.fail(
                VERSION,
                format!("{} runs as Development: it answers whoever reaches its port.", sidecar.name),
                "Leave ASPNETCORE_ENVIRONMENT out.",
            );
        }
        match family(&sidecar.image) {
            Some((1, 0)) => {
                return findings.warn(
                    VERSION,
                    format!(
                        "{} is of version 1.0: it has no gates and trusts the name of the host.",
                        sidecar.name
                    ),
                    "Take 1.1 or newer, with the gate opened.",
                );
            }
            Some(_) => {}
            None => {
                return findings.warn(
                    VERSION,
                    format!("The image of {} has no version in its tag.", sidecar.name),
                    "Pin a tag, such as 1.1.2-azurelinux3.0-distroless.",
                );
            }
        }
    }
    findings.ok(VERSION, "Its version is pinned, of the line 1.1 or newer.");
}

fn gates(findings: &mut Findings, sidecars: &[&Container]) {
    for sidecar in sidecars.iter().filter(|sidecar| family(&sidecar.image) != Some((1, 0))) {
        let open = sidecar.variable(GATE).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let unseen = sidecar.unseen.join(", ");
        match (open, sidecar.variable(GATE), unseen.is_empty()) {
            (true, ..) => {}
            (false, None, false) => {
                return findings.warn(
                    GATES,
                    format!("{GATE} is not in this file; it may be in {unseen}."),
                    "See that it is true there: else the agent's parameters are ignored without an error.",
                );
            }
            _ => {
                return findings.fail(
                    GATES,
                    format!("{} does not honour the agent identity: its gate is closed.", sidecar.name),
                    format!(
                        "Set {GATE}=true; since 1.1.0 it is false by default, and nothing tells the caller."
                    ),
                );
            }
        }
    }
    findings.ok(GATES, "The gate for the agent's parameters is open.");
}

fn credential(findings: &mut Findings, sidecars: &[&Container]) {
    for sidecar in sidecars {
        let kind =
            (0..10).find_map(|at| sidecar.variable(&format!("AzureAd__ClientCredentials__{at}__SourceType")));
        match kind {
            Some("ClientSecret") => {
                return findings.warn(
                    CREDENTIAL,
                    "A client secret: it stays good until somebody changes it.",
                    "For development only. A federated credential replaces it: `setup apply --managed-identity` or \
                     `--service-account`.",
                );
            }
            Some(kind) => return findings.ok(CREDENTIAL, format!("{kind}: no secret.")),
            None => {}
        }
    }
    let unseen: Vec<&str> = sidecars.iter().flat_map(|one| &one.unseen).map(String::as_str).collect();
    match unseen.is_empty() {
        true => findings.fail(
            CREDENTIAL,
            "The sidecar has no credential (AADSTS7000216).",
            "Set AzureAd__ClientCredentials__0__SourceType and what it needs.",
        ),
        false => findings.skip(CREDENTIAL, format!("It is not in this file but in {}.", unseen.join(", "))),
    }
}

fn secrets(findings: &mut Findings, agents: &[&Container], sidecars: &[&Container]) {
    for agent in agents {
        let begins = |name: &&String| {
            let name = name.to_ascii_lowercase();
            SIDECARS.iter().any(|start| name.starts_with(start))
        };
        if let Some(name) = agent.variables.keys().find(begins) {
            return findings.fail(
                SECRETS,
                format!(
                    "{} is given {name}, which belongs to the sidecar; `serve` refuses to start with it.",
                    agent.name
                ),
                "Give it to the sidecar's container only.",
            );
        }
        let shared =
            agent.unseen.iter().find(|own| sidecars.iter().any(|sidecar| sidecar.unseen.contains(own)));
        if let Some(shared) = shared {
            return findings.fail(
                SECRETS,
                format!(
                    "{} and the sidecar both take {shared}: what is the sidecar's gets into the agent.",
                    agent.name
                ),
                "Give each its own file or object.",
            );
        }
        let stray = |name: &&String| STRAY.contains(&name.to_ascii_lowercase().as_str());
        if let Some(name) = agent.variables.keys().find(stray) {
            return findings.fail(
                SECRETS,
                format!("{} is given {name}, which could open Entra or Azure DevOps.", agent.name),
                "Take it out: the agent has no credential of its own.",
            );
        }
        if agent.variable("AZURE_OPENAI_API_KEY").is_some() {
            return findings.warn(
                SECRETS,
                format!("{} is given AZURE_OPENAI_API_KEY, which is meant for development.", agent.name),
                "Leave it out: the sidecar's profile aoai gives a token instead.",
            );
        }
    }
    let files: Vec<&str> = agents.iter().flat_map(|agent| &agent.unseen).map(String::as_str).collect();
    match files.is_empty() {
        true => findings.ok(SECRETS, "No secret of the identity is given to the agent."),
        false => findings.warn(
            SECRETS,
            format!("The agent also takes {}, which is not seen here.", files.join(", ")),
            "List the agent's variables one by one, so that nothing else gets in.",
        ),
    }
}

fn token_file(findings: &mut Findings, agents: &[&Container]) {
    let found = agents.iter().find(|agent| !agent.token_files.is_empty());
    match found {
        Some(agent) => findings.fail(
            TOKEN_FILE,
            format!(
                "{} gets {}: with it, it could speak for the blueprint.",
                agent.name,
                agent.token_files.join(", ")
            ),
            "Mount it into the sidecar's container only; with AKS workload identity set the annotation \
             azure.workload.identity/skip-containers to the agent's container.",
        ),
        None => findings.ok(TOKEN_FILE, "The agent's container gets no token file of the cluster."),
    }
}

fn identities(findings: &mut Findings, agents: &[&Container], sidecars: &[&Container]) {
    for agent in agents {
        let id = agent.variable("AGENT_IDENTITY_ID");
        let blueprint = sidecars.iter().filter(|one| one.network == agent.network);
        let mut blueprint = blueprint.filter_map(|one| one.variable("AzureAd__ClientId"));
        if id.is_some() && blueprint.any(|blueprint| Some(blueprint) == id) {
            return findings.fail(
                IDENTITIES,
                format!("{} has the blueprint's id as AGENT_IDENTITY_ID.", agent.name),
                "AGENT_IDENTITY_ID is the agent identity, AzureAd__ClientId the blueprint.",
            );
        }
        let twin = agents.iter().find(|other| {
            other.name != agent.name
                && id.is_some_and(|id| !id.starts_with('$'))
                && other.variable("AGENT_IDENTITY_ID") == id
        });
        if let Some(twin) = twin {
            return findings.fail(
                IDENTITIES,
                format!("{} and {} have the same agent identity.", agent.name, twin.name),
                "Give each deployment an agent identity of its own; several may share a blueprint.",
            );
        }
        let sqlite = !agent.variable("DATABASE_URL").is_some_and(|url| url.starts_with("postgres"));
        if agent.replicas > 1 && sqlite {
            return findings.fail(
                IDENTITIES,
                format!(
                    "{} has {} replicas over SQLite, which is for one process.",
                    agent.name, agent.replicas
                ),
                "Take one replica, or PostgreSQL in DATABASE_URL.",
            );
        }
    }
    findings.ok(IDENTITIES, "Each agent has an identity of its own.");
}

fn hardening(findings: &mut Findings, agents: &[&Container], sidecars: &[&Container]) {
    let mut faults = Vec::new();
    for one in agents.iter().chain(sidecars) {
        let said = [
            (one.root, "may run as root"),
            (one.privileged, "has more rights than it needs"),
            (one.writable, "can write its file system"),
        ];
        faults.extend(said.iter().filter(|(is, _)| *is).map(|(_, words)| format!("{} {words}", one.name)));
    }
    match faults.is_empty() {
        true => findings
            .ok(HARDENING, "Neither runs as root, with rights, or on a file system that it can write."),
        false => findings.warn(
            HARDENING,
            format!("{}.", faults.join("; ")),
            "Run both as an ordinary user, without capabilities, on a read-only file system.",
        ),
    }
}
