//! `audit verify`.

use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{open, open_at, run_id};
use crate::audit::{self, Bundle, Report, Trusted, Whole, check, check_journal};
use crate::journal::{Journal, RunId};

/// How a file of SQLite begins.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// Options of `audit verify`.
#[derive(Args, Debug)]
pub struct Options {
    /// A run's id, a bundle (tar file or unpacked folder) or a journal's file; without it, the journal
    /// that DATABASE_URL names.
    what: Option<String>,
    /// The only public key that may have signed: base64, PEM, or a file that holds it.
    #[arg(long, value_name = "KEY")]
    pubkey: Option<String>,
    /// A hash of the chain over the ends of runs that was noted earlier.
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn verify(options: &Options) -> anyhow::Result<u8> {
    let key = match &options.pubkey {
        Some(text) => Some(
            audit::public_key(text).with_context(|| format!("--pubkey {text} is no Ed25519 public key"))?,
        ),
        None => None,
    };
    let trusted = Trusted { key: key.as_deref(), head: options.head.as_deref() };
    let Some(what) = &options.what else {
        return of_journal(&open().await?, trusted, options).await;
    };
    let path = Path::new(what);
    if !path.exists() {
        let run = run_id(what).with_context(|| format!("there is no file {what}"))?;
        let bundle = Bundle::of_run(&open().await?, &run).await?;
        return Ok(told(&run, &check(&bundle, trusted), options));
    }
    if is_sqlite(path)? {
        return of_journal(&open_at(&format!("sqlite:{what}")).await?, trusted, options).await;
    }
    let bundle = Bundle::read(path).with_context(|| what.clone())?;
    Ok(told(&bundle.run, &check(&bundle, trusted), options))
}

fn is_sqlite(path: &Path) -> anyhow::Result<bool> {
    use std::io::Read as _;
    if path.is_dir() {
        return Ok(false);
    }
    let mut start = Vec::new();
    std::fs::File::open(path)?.take(SQLITE.len() as u64).read_to_end(&mut start)?;
    Ok(start == SQLITE)
}

fn told(run: &RunId, report: &Report, options: &Options) -> u8 {
    let ok = report.faults.is_empty();
    if options.json {
        let mut told = json!({ "ok": ok, "run": run, "first": report.faults.first() });
        if let (Some(told), Ok(serde_json::Value::Object(report))) =
            (told.as_object_mut(), serde_json::to_value(report))
        {
            told.extend(report);
        }
        println!("{told}");
        return u8::from(!ok);
    }
    print_faults(&format!("run {run}"), report);
    if ok {
        let erased = match report.erased {
            0 => String::new(),
            n => format!(", {n} of them erased"),
        };
        println!("run {run}: sound, {} entries{erased}", report.entries);
        if !report.signed {
            eprintln!("warning: entries after {} are not under a signature", report.signed_to);
        }
        anchor_warning(options, report.anchored);
    }
    u8::from(!ok)
}

fn print_faults(of: &str, report: &Report) {
    for fault in &report.faults {
        let kind = serde_json::to_value(fault.kind).unwrap_or_default();
        let kind = kind.as_str().unwrap_or("changed");
        match fault.seq {
            Some(seq) => println!("{of}: {kind} at entry {seq}: {}", fault.what),
            None => println!("{of}: {kind}: {}", fault.what),
        }
    }
}

fn anchor_warning(options: &Options, anchored: bool) {
    if !anchored {
        eprintln!(
            "warning: not anchored: without --head nobody can tell whether all of it was made anew{}",
            match options.pubkey {
                Some(_) => "",
                None => ", and without --pubkey not by whom it was signed",
            }
        );
    }
}

async fn of_journal(journal: &Journal, trusted: Trusted<'_>, options: &Options) -> anyhow::Result<u8> {
    let whole: Whole = check_journal(journal, trusted).await?;
    let ok = whole.is_sound();
    if options.json {
        let mut told = serde_json::to_value(&whole)?;
        told["ok"] = ok.into();
        println!("{told}");
        return Ok(u8::from(!ok));
    }
    for changed in &whole.changed {
        print_faults(&format!("run {}", changed.run), &changed.report);
    }
    for fault in &whole.faults {
        println!("ends of runs: {}", fault.what);
    }
    if ok {
        println!("sound: {} runs, {} entries", whole.runs, whole.entries);
        if let Some(head) = &whole.head {
            println!("newest end of a run: {head}");
        }
        if !whole.signed {
            eprintln!("warning: {} runs have entries that are not under a signature", whole.unsigned.len());
        }
        anchor_warning(options, whole.anchored);
    }
    Ok(u8::from(!ok))
}
