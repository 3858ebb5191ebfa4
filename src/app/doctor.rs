//! `doctor`: what an operator looks at first.

use std::sync::Arc;

use serde_json::json;

use super::{cli, policies};
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::doctor::admin::Administrator;
use crate::doctor::{self, Check, Doctor, Status};
use crate::identity::{DeviceSignIn, PUBLIC_AUTHORITY, SignInError};
use crate::web;

/// Columns of the printed list before the text.
const INDENT: usize = 11;
/// Width of the printed text, in columns.
const WIDTH: usize = 100;

/// Prints the list. Gives the exit status.
pub(super) async fn doctor(told: &cli::Doctor) -> anyhow::Result<u8> {
    let mut checks = match &told.deployment {
        Some(path) => doctor::deployment::examine(path),
        None => examined(&Settings::read()?).await?,
    };
    if told.admin {
        checks.extend(seen_by_administrator(&Settings::read()?).await?);
    }
    if told.json {
        println!("{}", serde_json::to_string_pretty(&json!({ "checks": checks }))?);
    } else {
        print!("{}", printed(&checks));
    }
    Ok(u8::from(!doctor::is_well(&checks)))
}

async fn examined(settings: &Settings) -> anyhow::Result<Vec<Check>> {
    let config = match settings.check_own() {
        Ok(config) => config,
        Err(faults) => return Ok(doctor::without_settings(&faults.0, settings.foreign())),
    };
    let policy = match policies::load(&config) {
        Ok(policy) => Arc::new(policy),
        Err(error) => {
            let fault = config::Fault { name: "POLICY_FILE".into(), problem: format!("{error:#}") };
            return Ok(doctor::without_settings(&[fault], settings.foreign()));
        }
    };
    Ok(Doctor::new(config, policy, config::http_client()?, Clock::Real, None).examine().await)
}

/// What an administrator can read, after signing in.
async fn seen_by_administrator(settings: &Settings) -> anyhow::Result<Vec<Check>> {
    // With unusable settings the list has said so already, and there is nobody to look up.
    let Ok(config) = settings.check_own() else { return Ok(Vec::new()) };
    let need = |name: &str, hint: &str| {
        let problem = format!("is not set; {hint}");
        let fault = config::Fault { name: name.to_owned(), problem };
        settings.get(name).map(str::to_owned).ok_or(config::Faults(vec![fault]))
    };
    let tenant = need("AZURE_TENANT_ID", "the tenant, a GUID")?;
    let client_id =
        need("SETUP_CLIENT_ID", "the public client that administrators sign in with (see README)")?;
    let authority = settings.get("AZURE_AUTHORITY_HOST").unwrap_or(PUBLIC_AUTHORITY).parse()?;
    let graph = settings.get("GRAPH_URL").unwrap_or("https://graph.microsoft.com").trim_end_matches('/');
    let http = config::http_client()?;
    let client = DeviceSignIn { http: http.clone(), clock: Clock::Real, authority, tenant, client_id };
    let scopes: Vec<String> =
        doctor::admin::PERMISSIONS.iter().map(|name| format!("https://graph.microsoft.com/{name}")).collect();
    let told = |error: SignInError| anyhow::anyhow!("{error}.\n{}", error.remedy());
    let prompt = client.begin(&scopes.join(" ")).await.map_err(told)?;
    eprintln!("{}", prompt.message);
    let token = client.finish(&prompt).await.map_err(told)?.access_token;
    let (graph, now) = (graph.to_owned(), Clock::Real.now());
    Ok(Administrator { config: &config, http, graph, token, now }.examine().await)
}

/// The list as the page asks for it.
pub(super) fn for_page(doctor: Doctor) -> web::Checkup {
    let doctor = Arc::new(doctor);
    Arc::new(move || {
        let doctor = doctor.clone();
        Box::pin(async move { doctor.examine().await.into_iter().map(shown).collect() })
    })
}

fn shown(check: Check) -> web::CheckShown {
    web::CheckShown {
        id: check.id,
        title: check.title,
        status: check.status.as_str(),
        reason: check.reason,
        remedy: check.remedy,
    }
}

fn printed(checks: &[Check]) -> String {
    let wide = checks.iter().map(|check| check.title.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let status = check.status.as_str();
        let gap = INDENT - status.len();
        let lead = format!("{status}{:gap$}{:wide$}  ", "", check.title);
        let under = " ".repeat(lead.chars().count());
        text.push_str(&wrapped(&lead, &under, &check.reason));
        if !check.remedy.is_empty() {
            text.push_str(&wrapped(&format!("{under}→ "), &format!("{under}  "), &check.remedy));
        }
    }
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let counted = [Status::Failed, Status::Warning, Status::Skipped, Status::Ok]
        .map(|status| format!("{} {}", count(status), status.as_str()));
    text.push_str(&format!("\n{}\n", counted.join(", ")));
    text
}

/// `words` in lines of at most [`WIDTH`] columns, the first after `lead`, the others after `under`.
fn wrapped(lead: &str, under: &str, words: &str) -> String {
    let (mut text, mut line, mut begun) = (String::new(), lead.to_owned(), false);
    for word in words.split_whitespace() {
        if begun && line.chars().count() + 1 + word.chars().count() > WIDTH.max(under.chars().count() + 40) {
            text.push_str(line.trim_end());
            text.push('\n');
            line = under.to_owned();
            begun = false;
        }
        if begun {
            line.push(' ');
        }
        line.push_str(word);
        begun = true;
    }
    text.push_str(line.trim_end());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_aligned_and_wraps_under_its_own_column() {
        let check = |title, status, reason: &str, remedy: &str| Check {
            id: "x",
            title,
            status,
            reason: reason.into(),
            remedy: remedy.into(),
        };
        let text = printed(&[
            check("Settings", Status::Ok, "They can be used.", ""),
            check("Project", Status::Failed, &"word ".repeat(40), "Correct it."),
        ]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ok         Settings  They can be used.");
        assert!(lines[1].starts_with("failed     Project   word"));
        assert!(
            lines[2].starts_with("                     word")
                && lines.iter().all(|l| l.chars().count() <= WIDTH)
        );
        assert!(text.contains("\n                     → Correct it.\n"));
        assert!(text.ends_with("\n1 failed, 0 warning, 0 skipped, 1 ok\n"), "{text}");
    }
}
