//! Parts of the bench `peer`.

pub mod adapter;
pub mod doors;
pub mod fill;
pub mod work;

use ado_coworker::config::{Config, Settings};
use anyhow::Context as _;

/// The value after `--name`, else `other`.
pub fn after<T: std::str::FromStr>(arguments: &[String], name: &str, other: T) -> T {
    let at = arguments.iter().position(|argument| argument == name);
    at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(other)
}

/// The rules that ship, with budgets that no measured run meets: they are asked all the same.
fn policy() -> anyhow::Result<String> {
    let mut policy: toml::Table = ado_coworker::policy::DEFAULT_POLICY.parse()?;
    let budget = policy.get_mut("budget").and_then(toml::Value::as_table_mut).context("there are budgets")?;
    for limits in budget.iter_mut().filter_map(|(_, limits)| limits.as_table_mut()) {
        for (name, limit) in limits.iter_mut() {
            match (name.as_str(), limit) {
                ("wall_time", limit) => *limit = "3000d".into(),
                (_, toml::Value::Integer(limit)) => *limit = 1_000_000_000,
                (_, toml::Value::Float(limit)) => *limit = 1e9,
                _ => {}
            }
        }
    }
    Ok(policy.to_string())
}

/// Settings for a co-worker whose outside world is at `world`, with its journal in `file`.
pub fn config(world: &str, deployment: &str, file: &str) -> anyhow::Result<Config> {
    let mut settings = Settings::default();
    let rules = format!("{file}.policy.toml");
    std::fs::write(&rules, policy()?)?;
    for (name, value) in [
        ("AZURE_DEVOPS_ORGANIZATION_URL", format!("{world}/bench")),
        ("AZURE_DEVOPS_PROJECT", "Fabrikam".into()),
        ("AZURE_DEVOPS_REPOSITORY", "web-shop".into()),
        ("SIDECAR_URL", world.to_owned()),
        ("AGENT_IDENTITY_ID", adapter::AGENT_IDENTITY.into()),
        ("AGENT_USERNAME", adapter::AGENT_USER.into()),
        ("AZURE_OPENAI_ENDPOINT", world.to_owned()),
        ("AZURE_OPENAI_DEPLOYMENT", deployment.to_owned()),
        ("DATABASE_URL", format!("sqlite:{file}")),
        ("LISTEN_ADDRESS", "127.0.0.1:9203".into()),
        ("POLICY_FILE", rules),
        ("WEBHOOK_USERNAME", "hook".into()),
        ("WEBHOOK_PASSWORD", "secret".into()),
    ] {
        settings.set(name, &value);
    }
    Ok(settings.check_own()?)
}

/// An order, as somebody gives it.
pub fn order() -> ado_coworker::journal::NewRun {
    ado_coworker::journal::NewRun {
        instruction: "Read the work items one after another and summarise them.".into(),
        source: ado_coworker::journal::Source::Chat,
        requested_by: ado_coworker::journal::Person::named("bench"),
        project: "Fabrikam".into(),
        repository: "web-shop".into(),
        subject: None,
        trigger: None,
    }
}
