use super::*;
use crate::doctor::Status;

const COMPOSE: &str = include_str!("../../../compose.yaml");
const SECRET: &str = include_str!("../../../deploy/kubernetes/secret.yaml");
const AKS: &str = include_str!("../../../deploy/kubernetes/aks-workload-identity.yaml");
const PROJECTED: &str = include_str!("../../../deploy/kubernetes/projected-token.yaml");

fn judged(text: &str) -> Vec<Check> {
    let mut findings = Findings::default();
    judge::judge(&mut findings, &parse(text).unwrap());
    findings.in_order(LINES)
}

#[test]
fn what_ships_has_no_fault() {
    for (name, text) in [("compose", COMPOSE), ("secret", SECRET), ("aks", AKS), ("projected", PROJECTED)] {
        let checks = judged(text);
        let failed: Vec<&Check> = checks.iter().filter(|check| check.status == Status::Failed).collect();
        assert!(failed.is_empty(), "{name}: {failed:#?}");
        let warned: Vec<&str> =
            checks.iter().filter(|check| check.status == Status::Warning).map(|check| check.id).collect();
        let expected: &[&str] = if name == "secret" { &["deployment.credential"] } else { &[] };
        assert_eq!(warned, expected, "{name}: {checks:#?}");
        assert_eq!(checks.len(), LINES.len());
    }
}

/// Replaces `old` in `text` and expects this line to turn to this status, with these words.
fn plant(text: &str, old: &str, new: &str, id: &str, status: Status, words: &str) {
    assert!(text.contains(old), "{old} is not in the file");
    let checks = judged(&text.replacen(old, new, 1));
    let check = checks.iter().find(|check| check.id == id).unwrap();
    assert_eq!(check.status, status, "{new}: {check:#?}");
    assert!(format!("{} {}", check.reason, check.remedy).contains(words), "{check:#?}");
}

#[test]
fn each_fault_of_a_compose_file_is_found() {
    use Status::{Failed, Warning};
    let c = |old: &str, new: &str, id: &str, status, words: &str| plant(COMPOSE, old, new, id, status, words);
    let shares = "network_mode: \"service:agent\"";
    c(
        shares,
        "ports: [\"5000:5000\"]\n    network_mode: \"service:agent\"",
        "deployment.sidecar_port",
        Failed,
        "5000:5000",
    );
    c(shares, "networks: [bridge]", "deployment.network", Failed, "empty 403");
    c(shares, "network_mode: host", "deployment.sidecar_port", Failed, "host's own network");
    c("http://localhost:5000", "http://sidecar:5000", "deployment.network", Failed, "localhost");
    c(
        "- \"127.0.0.1:4192:4192\"\n    environment:\n      AZURE_DEVOPS",
        "- \"5001:5000\"\n    environment:\n      AZURE_DEVOPS",
        "deployment.sidecar_port",
        Failed,
        "shared namespace",
    );
    let gate = "Sidecar__AllowOverrides__GetAuthorizationHeaderUnauthenticated: \"true\"";
    c(gate, "NOTHING: x", "deployment.gates", Warning, ".env.example");
    c(
        gate,
        "Sidecar__AllowOverrides__GetAuthorizationHeaderUnauthenticated: \"false\"",
        "deployment.gates",
        Failed,
        "gate is closed",
    );
    c(
        "DOTNET_EnableDiagnostics: \"0\"",
        "ASPNETCORE_ENVIRONMENT: Development",
        "deployment.sidecar_image",
        Failed,
        "Development",
    );
    c(":1.1.2-azure", ":1.0.0-azure", "deployment.sidecar_image", Warning, "1.0");
    c(":1.1.2-azurelinux3.0-distroless", "", "deployment.sidecar_image", Warning, "no version");
    let setting = "SIDECAR_URL: \"http://localhost:5000\"";
    for name in ["BLUEPRINT_CLIENT_SECRET", "AzureAd__ClientCredentials__0__ClientSecret"] {
        let with = format!("{setting}\n      {name}: s3cret-value");
        c(setting, &with, "deployment.agent_secrets", Failed, name);
        assert!(!format!("{:?}", judged(&COMPOSE.replacen(setting, &with, 1))).contains("s3cret-value"));
    }
    let files =
        format!("env_file: \"${{SIDECAR_ENV_FILE:-.env.example}}\"\n    environment:\n      {setting}");
    let text = COMPOSE.replacen(&format!("      {setting}\n"), "", 1);
    let text =
        text.replacen("    environment:\n      AZURE_DEVOPS", &format!("    {files}\n      AZURE_DEVOPS"), 1);
    let check = judged(&text).into_iter().find(|check| check.id == "deployment.agent_secrets").unwrap();
    assert_eq!(check.status, Failed, "{check:#?}");
}

#[test]
fn each_fault_of_a_manifest_is_found() {
    use Status::Failed;
    plant(
        AKS,
        "skip-containers: agent",
        "skip-containers: other",
        "deployment.token_file",
        Failed,
        "skip-containers",
    );
    plant(
        PROJECTED,
        "            - name: tmp\n",
        "            - name: identity-token\n              mountPath: /t\n            - name: tmp\n",
        "deployment.token_file",
        Failed,
        "identity-token",
    );
    plant(AKS, "  replicas: 1", "  replicas: 3", "deployment.identities", Failed, "SQLite");
    let id = "AGENT_IDENTITY_ID: \"44444444-dddd-4ddd-8ddd-444444444444\"";
    plant(
        AKS,
        id,
        "AGENT_IDENTITY_ID: \"22222222-bbbb-4bbb-8bbb-222222222222\"",
        "deployment.identities",
        Failed,
        "blueprint",
    );
    plant(
        AKS,
        "targetPort: http",
        "targetPort: 5000",
        "deployment.sidecar_port",
        Failed,
        "Service ado-coworker",
    );
    plant(
        AKS,
        "enableServiceLinks: false",
        "hostNetwork: true",
        "deployment.sidecar_port",
        Failed,
        "host's own",
    );
    plant(AKS, "SourceType: \"Signed", "Other: \"Signed", "deployment.credential", Failed, "7000216");
    let twice = format!("{AKS}---\n{}", AKS.replace("name: ado-coworker", "name: second"));
    let check = judged(&twice).into_iter().find(|check| check.id == "deployment.identities").unwrap();
    assert_eq!(check.status, Failed, "{check:#?}");
}

#[test]
fn what_is_no_deployment_is_said() {
    for (text, words) in [
        ("a: b", "neither a compose file"),
        ("services: {}", "no container"),
        ("{ a", "not YAML"),
        ("", "neither"),
    ] {
        assert!(parse(text).err().unwrap().contains(words), "{text}");
    }
    let checks = examine(Path::new("/nonexistent/compose.yaml"));
    assert_eq!((checks[0].id, checks[0].status), ("deployment.file", Status::Failed));
}
