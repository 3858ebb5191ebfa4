//! `audit list | show | export`.

use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{open, run_id};
use crate::audit::{Bundle, export as export_bundle};
use crate::config::Settings;
use crate::journal::{Journal, Recorded};
use crate::policy;

/// Longest line of what an entry says, in characters.
const LINE: usize = 100;

pub(super) async fn list(limit: u32, as_json: bool) -> anyhow::Result<u8> {
    let journal = open().await?;
    let rows = journal.runs(i64::from(limit), None).await?;
    let head = journal.newest_head().await?;
    let keys = journal.record_keys().await?;
    if as_json {
        let runs: Vec<Value> = rows
            .iter()
            .map(|row| {
                json!({ "id": row.id, "status": row.status, "requested_by": row.requested_by,
                        "created_at": when(row.created_at), "updated_at": when(row.updated_at),
                        "entries": row.last_seq, "signed_to": row.signed_to, "hash": row.head })
            })
            .collect();
        let keys: Vec<Value> = keys
            .iter()
            .map(|key| {
                json!({ "id": key.id, "public_key": key.public_key, "first_used": when(key.first_used_us),
                        "last_used": when(key.last_used_us) })
            })
            .collect();
        let head = head.map(|head| json!({ "n": head.n, "hash": head.hash }));
        println!("{}", json!({ "runs": runs, "head": head, "keys": keys }));
        return Ok(0);
    }
    for row in &rows {
        let signed = match row.signed_to {
            0 => "not signed".to_owned(),
            to if to == row.last_seq => "signed".to_owned(),
            to => format!("signed up to entry {to}"),
        };
        let (entries, by, status) = (row.last_seq, &row.requested_by, row.status.as_str());
        println!("{}  {}  {status:9} {entries:>5} entries  {signed}  {by}", row.id, when(row.created_at));
    }
    if rows.is_empty() {
        println!("The record holds no runs.");
    }
    if let Some(head) = head {
        println!("\nend {} of a run, the newest: {}", head.n, head.hash);
        println!(
            "Note this hash elsewhere: `audit verify --head` then finds whole runs that were taken away."
        );
    }
    for key in keys {
        println!("key {} {} (used until {})", key.id, key.public_key, when(key.last_used_us));
    }
    Ok(0)
}

/// An instant, to the second.
pub(super) fn when(us: i64) -> String {
    let at = Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(super) async fn show(run: &str, as_json: bool) -> anyhow::Result<u8> {
    let run = run_id(run)?;
    let journal = open().await?;
    let row = journal.run(&run).await?.with_context(|| format!("there is no run {run}"))?;
    let mut after = 0;
    if as_json {
        let mut entries = Vec::new();
        while let Some(page) = page(&journal, &run, &mut after).await? {
            entries.extend(page.iter().map(shown));
        }
        println!(
            "{}",
            json!({ "run": run, "status": row.status, "signed_to": row.signed_to, "entries": entries })
        );
        return Ok(0);
    }
    while let Some(page) = page(&journal, &run, &mut after).await? {
        for entry in page {
            println!("{:>5}  {}  {}", entry.seq, when(entry.ts), words(&entry));
        }
    }
    Ok(0)
}

async fn page(
    journal: &Journal,
    run: &crate::journal::RunId,
    after: &mut i64,
) -> anyhow::Result<Option<Vec<Recorded>>> {
    let page = journal.record(run, *after).await?;
    *after = page.last().map_or(*after, |entry| entry.seq);
    Ok(Some(page).filter(|page| !page.is_empty()))
}

fn shown(entry: &Recorded) -> Value {
    let body = entry.body.as_deref().map(|body| {
        // A body that is no JSON any more is shown as it stands.
        serde_json::from_str::<Value>(body).unwrap_or_else(|_| Value::from(body))
    });
    json!({ "seq": entry.seq, "ts": when(entry.ts), "ts_us": entry.ts, "prev": entry.prev, "hash": entry.hash,
            "commitment": entry.commitment, "salt": entry.salt, "entry": body })
}

/// What an entry says, in one line: its type, and the first texts in it.
fn words(entry: &Recorded) -> String {
    let Some(body) = &entry.body else { return "(erased)".to_owned() };
    let Ok(Value::Object(body)) = serde_json::from_str::<Value>(body) else {
        return "(cannot be read)".to_owned();
    };
    let kind = body.get("type").and_then(Value::as_str).unwrap_or("?").to_owned();
    let told = body.iter().filter(|(name, _)| *name != "type").filter_map(|(name, value)| match value {
        Value::String(text) if !text.is_empty() => Some(format!("{name}={text}")),
        Value::Number(number) => Some(format!("{name}={number}")),
        Value::Bool(yes) => Some(format!("{name}={yes}")),
        _ => None,
    });
    let line: String = format!("{kind:18} {}", told.collect::<Vec<_>>().join(" "))
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match line.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.trim_end().to_owned(),
    }
}

pub(super) async fn export(run: &str, output: &Path, as_json: bool) -> anyhow::Result<u8> {
    let run = run_id(run)?;
    let journal = open().await?;
    let rules = match Settings::read()?.get("POLICY_FILE") {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("POLICY_FILE names {path}"))?,
        None => policy::DEFAULT_POLICY.to_owned(),
    };
    let bundle: Bundle = export_bundle(&journal, &run, &rules, output)
        .await
        .with_context(|| format!("no bundle was made in {}", output.display()))?;
    let signed_to =
        bundle.checkpoints.iter().filter(|point| point.chain == run.as_str()).map(|p| p.seq).max();
    let (entries, file) = (bundle.lines.len(), output.display());
    match as_json {
        true => println!(
            "{}",
            json!({ "run": run, "file": file.to_string(), "entries": entries, "hash": bundle.head,
                    "signed_to": signed_to.unwrap_or(0) })
        ),
        false => println!("{file}: {entries} entries, newest hash {}", bundle.head),
    }
    if signed_to.unwrap_or(0) < bundle.last_seq {
        eprintln!("warning: entries after {} are not signed yet", signed_to.unwrap_or(0));
    }
    Ok(0)
}
