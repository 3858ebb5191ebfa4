//! `doctor` and `token show`: what an operator looks at first.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{cli, policies};
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::doctor::{self, Check, Doctor, Status};
use crate::identity::{Audience, Identity};
use crate::web;

/// Columns of the printed list before the text.
const INDENT: usize = 11;
/// Width of the printed text, in columns.
const WIDTH: usize = 100;
/// Longest time that `token show` waits for the sidecar.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prints the list. Gives the exit status.
pub(super) async fn doctor(told: &cli::Told) -> anyhow::Result<u8> {
    let checks = examined(&Settings::read()?).await?;
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

/// Prints the claims of the agent user's token. Gives the exit status: 1 when it would not be used.
pub(super) async fn show_token(told: &cli::Told) -> anyhow::Result<u8> {
    let config = Settings::read()?.check()?;
    let identity = Identity::with_patience(&config.identity, config::http_client()?, Clock::Real, PATIENCE);
    let examined = match identity.examine(Audience::AzureDevOps).await {
        Ok(examined) => examined,
        Err(error) => anyhow::bail!("{error}\n{}", error.remedy()),
    };
    let refused = examined.who.as_ref().err();
    if told.json {
        let reason = refused.map(ToString::to_string);
        let remedy = refused.map(|error| error.remedy());
        let shown = json!({
            "accepted": refused.is_none(), "reason": reason, "remedy": remedy, "claims": examined.claims
        });
        println!("{}", serde_json::to_string_pretty(&shown)?);
        return Ok(u8::from(refused.is_some()));
    }
    match refused {
        None => println!("The sidecar gives the agent user's token for Azure DevOps.\n"),
        Some(error) => println!("This token would not be used: {error}.\n{}\n", error.remedy()),
    }
    let wide = examined.claims.iter().map(|claim| claim.name.chars().count()).max().unwrap_or(0);
    for claim in &examined.claims {
        println!("{:wide$}  {}", claim.name, claim.value);
        if !claim.meaning.is_empty() {
            println!("{:wide$}  {}", "", claim.meaning);
        }
    }
    Ok(u8::from(refused.is_some()))
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
