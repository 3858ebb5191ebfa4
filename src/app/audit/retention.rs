//! `audit retention`.

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{open, run_id};
use crate::audit::retention;
use crate::clock::Clock;
use crate::journal::{Class, Journal, Person};

/// Who decides at the command line.
const OPERATOR: &str = "the operator at the command line";
/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Options of `audit retention`.
#[derive(Args, Debug)]
pub struct Options {
    /// Only count what would be erased.
    #[arg(long)]
    dry_run: bool,
    /// Erase everything of the runs that this person ordered or steered: object id in Entra, identity id
    /// in Azure DevOps, or account.
    #[arg(long, value_name = "PERSON")]
    forget: Option<String>,
    /// Keep everything of this run, whatever its age: a legal hold.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["forget", "dry_run"])]
    hold: Option<String>,
    /// End the hold of this run.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["forget", "dry_run", "hold"])]
    release: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn retention(options: &Options) -> anyhow::Result<u8> {
    let journal = open().await?;
    if let Some((run, held)) =
        options.hold.as_ref().map(|run| (run, true)).or(options.release.as_ref().map(|run| (run, false)))
    {
        return hold(&journal, run, held, options).await;
    }
    let (erases, verb) = match options.dry_run {
        true => (false, "would be erased"),
        false => (true, "erased"),
    };
    if let Some(person) = &options.forget {
        let (runs, bodies) = retention::forget(&journal, person, !erases).await?;
        match options.json {
            true => println!("{}", json!({ "applied": erases, "runs": runs, "bodies": bodies })),
            false => println!("{bodies} bodies of {runs} runs {verb}"),
        }
        return Ok(0);
    }
    let counts = match erases {
        true => retention::apply(&journal, &Clock::Real).await?,
        false => retention::foresee(&journal, &Clock::Real).await?,
    };
    if options.json {
        println!("{}", json!({ "applied": erases, "erased": counts }));
        return Ok(0);
    }
    for class in Class::ALL {
        let count = counts.get(class.as_str()).copied().unwrap_or(0);
        let days = retention::kept(class).as_secs() / DAY;
        println!("{count:>7} {:11} older than {days} days {verb}", class.as_str());
    }
    Ok(0)
}

async fn hold(journal: &Journal, run: &str, held: bool, options: &Options) -> anyhow::Result<u8> {
    let run = run_id(run)?;
    journal
        .hold(&run, held, Person::named(OPERATOR))
        .await?
        .then_some(())
        .with_context(|| format!("there is no run {run}"))?;
    match (options.json, held) {
        (true, _) => println!("{}", json!({ "run": run, "held": held })),
        (false, true) => println!("run {run} is kept until its hold is ended"),
        (false, false) => println!("run {run} is erased in its time again"),
    }
    Ok(0)
}
