//! `audit access`: rights granted beside rights used.

use std::sync::Arc;

use clap::Args;
use jiff::SignedDuration;
use serde::Serialize;
use serde_json::json;

use super::super::policies;
use super::open;
use crate::audit::{Usage, Used, usage};
use crate::clock::Clock;
use crate::config::{self, Config, Settings};
use crate::doctor::{Check, Doctor, Status};
use crate::identity::{Audience, Identity};

/// Options of `audit access`.
#[derive(Args, Debug)]
pub struct Options {
    /// How far to look back.
    #[arg(long, default_value_t = 90)]
    days: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A right, whether the agent user has it, and whether it used it.
#[derive(Debug, Serialize)]
struct Right {
    id: String,
    title: String,
    /// `yes`, `no`, or `unknown`.
    granted: &'static str,
    /// What was found.
    found: String,
    used: u64,
    last_used: Option<jiff::Timestamp>,
    unused: bool,
}

/// The doctor's checks that read rights.
const CHECKS: [&str; 8] = [
    "permission.read_code",
    "permission.push",
    "permission.create_branch",
    "permission.pull_requests",
    "permission.queue_builds",
    "permission.read_work_items",
    "permission.write_work_items",
    "licence",
];
/// The check that names rights beyond what is needed.
const SURPLUS: &str = "permission.surplus";

pub(super) async fn access(options: &Options) -> anyhow::Result<u8> {
    let config = Settings::read()?.check()?;
    let journal = open().await?;
    let (clock, http) = (Clock::Real, config::http_client()?);
    let since = clock.now() - SignedDuration::from_hours(24 * i64::from(options.days));
    let used = usage::of(&journal, since).await?;
    let policy = Arc::new(policies::load(&config)?);
    let doctor = Doctor::new(config.clone(), policy, http.clone(), clock.clone(), Some(journal));
    let checks = doctor.examine().await;
    let mut rights: Vec<Right> =
        checks.iter().filter(|check| CHECKS.contains(&check.id)).map(|check| right(check, &used)).collect();
    rights.extend(checks.iter().filter(|check| check.id == SURPLUS).filter_map(surplus));
    rights.extend(grants(&config, http, clock, &used).await);
    let unused: Vec<&Right> = rights.iter().filter(|right| right.unused).collect();
    if options.json {
        let names: Vec<&str> = unused.iter().map(|right| right.id.as_str()).collect();
        println!("{}", json!({ "days": options.days, "rights": rights, "unused": names }));
        return Ok(0);
    }
    println!("granted  used  last used             right");
    for right in &rights {
        let last = right
            .last_used
            .map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        println!("{:8} {:>4}  {last:20}  {} ({})", right.granted, right.used, right.title, right.found);
    }
    match unused.is_empty() {
        true => println!("\nEvery right that is granted was used in the last {} days.", options.days),
        false => {
            println!("\nGranted and not used in the last {} days:", options.days);
            unused.iter().for_each(|right| println!("  {}: {}", right.title, right.found));
        }
    }
    Ok(0)
}

fn of(used: &Usage, id: &str) -> Used {
    used.get(id).copied().unwrap_or_default()
}

fn right(check: &Check, used: &Usage) -> Right {
    let granted = match check.status {
        Status::Ok => "yes",
        Status::Failed => "no",
        Status::Warning | Status::Skipped => "unknown",
    };
    let used = of(used, check.id);
    Right {
        id: check.id.to_owned(),
        title: check.title.to_owned(),
        granted,
        found: check.reason.trim_end_matches('.').to_owned(),
        used: used.times,
        last_used: used.last,
        unused: granted == "yes" && used.times == 0,
    }
}

/// Rights that nothing here ever needs are never used.
fn surplus(check: &Check) -> Option<Right> {
    let named = check.status == Status::Warning && !check.reason.starts_with("It cannot be read");
    named.then(|| Right {
        id: check.id.to_owned(),
        title: "More than needed".to_owned(),
        granted: "yes",
        found: check.reason.trim_end_matches('.').to_owned(),
        used: 0,
        last_used: None,
        unused: true,
    })
}

/// The delegated grants, as the agent user's own tokens name them.
async fn grants(config: &Config, http: reqwest::Client, clock: Clock, used: &Usage) -> Vec<Right> {
    let identity = Identity::new(&config.identity, http, clock);
    let mut rights = Vec::new();
    let total = Used {
        times: used.iter().filter(|(id, _)| id.starts_with("permission.")).map(|(_, used)| used.times).sum(),
        last: used
            .iter()
            .filter(|(id, _)| id.starts_with("permission."))
            .filter_map(|(_, used)| used.last)
            .max(),
    };
    let scopes = match identity.bearer(Audience::AzureDevOps).await {
        Ok(_) => identity.claims().into_iter().find(|claim| claim.name == "scp").map(|claim| claim.value),
        Err(_) => None,
    };
    let scopes = scopes.unwrap_or_default();
    for scope in scopes.split_whitespace() {
        rights.push(Right {
            id: format!("grant.azure_devops.{scope}"),
            title: format!("Grant {scope} for Azure DevOps"),
            granted: "yes",
            found: "in the agent user's token".to_owned(),
            used: total.times,
            last_used: total.last,
            unused: total.times == 0,
        });
    }
    let model = of(used, "model");
    let by_token = config.model.api_key.is_none();
    rights.push(Right {
        id: "grant.model".to_owned(),
        title: "The model".to_owned(),
        granted: if by_token { "yes" } else { "unknown" },
        found: if by_token { "by the agent user's token" } else { "by a key, which is not the agent user's" }
            .to_owned(),
        used: model.times,
        last_used: model.last,
        unused: by_token && model.times == 0,
    });
    rights
}
