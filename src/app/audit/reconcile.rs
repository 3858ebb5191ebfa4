//! `audit reconcile`.

use anyhow::Context as _;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::open;
use crate::action::RepositoryRef;
use crate::audit::Known;
use crate::azure_devops::{Client, Deed};
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::identity::Identity;

/// How far it looks back when nothing is said, in days.
const DAYS: i64 = 7;

/// Options of `audit reconcile`.
#[derive(Args, Debug)]
pub struct Options {
    /// Only what was done since: a day (2026-11-22) or an instant (RFC 3339); without it, seven days.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn reconcile(options: &Options) -> anyhow::Result<u8> {
    let config = Settings::read()?.check()?;
    let clock = Clock::Real;
    let since = match &options.since {
        Some(text) => instant(text).with_context(|| format!("--since {text} is no day and no instant"))?,
        None => clock.now() - SignedDuration::from_hours(24 * DAYS),
    };
    let journal = open().await?;
    let http = config::http_client()?;
    let identity = Identity::new(&config.identity, http.clone(), clock.clone());
    let azure = Client::new(&config.azure_devops, identity, http, clock);
    let me = azure.who_am_i().await.context("asking who the agent user is")?;
    let served = RepositoryRef {
        project: config.azure_devops.project.clone(),
        repository: config.azure_devops.repository.clone(),
    };
    let (audited, log) = match azure.audited(&me.id, me.account.as_deref(), since).await {
        Ok(deeds) => (deeds, "read".to_owned()),
        // Most agents may not, and need not.
        Err(error) => (Vec::new(), format!("not read: {error}")),
    };
    let mut deeds: Vec<Deed> = audited;
    deeds.extend(azure.pushed_by(&served, &me.id, since).await.context("reading pushes")?);
    deeds.extend(azure.pull_requests_by(&served, &me.id, since).await.context("reading pull requests")?);
    let items = azure.work_item_changes_by(&served.project, &me.id, since).await;
    deeds.extend(items.context("reading changes of work items")?);
    deeds.extend(azure.builds_by(&served.project, &me.id, since).await.context("reading builds")?);
    // The record last: what is done while we read is then in it.
    let known = Known::of(&journal, since).await?;
    let (recorded, mut strange): (Vec<Deed>, Vec<Deed>) = deeds.into_iter().partition(|deed| known.has(deed));
    strange.sort_by_key(|deed| deed.at);
    let status = u8::from(!strange.is_empty());
    if options.json {
        println!(
            "{}",
            json!({ "since": since, "agent_user": me.account, "audit_log": log, "recorded": recorded.len(),
                    "unrecorded": strange })
        );
        return Ok(status);
    }
    for deed in &strange {
        let activity = deed.activity_id.as_deref().unwrap_or("-");
        println!("NOT RECORDED  {}  {}  {}  ActivityId {activity}", deed.at, deed.object, deed.what);
    }
    println!("{} deeds of the agent user are in the record, {} are not", recorded.len(), strange.len());
    if log != "read" {
        eprintln!(
            "note: the organisation's audit log was {log}. With the right 'View audit log' it would be compared by \
             ActivityId; pushes, pull requests, comments, work items and builds were."
        );
    }
    Ok(status)
}

fn instant(text: &str) -> Option<Timestamp> {
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    text.parse().ok().or_else(|| Some(day()?.timestamp()))
}
