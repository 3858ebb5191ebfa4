//! A journal with many runs that have not ended.

use ado_coworker::clock::Clock;
use ado_coworker::journal::{Entry, Journal, Limits, WaitingFor};
use anyhow::Context as _;

use super::order;

/// Runs made together.
const TOGETHER: usize = 250;
/// How long a claim holds.
const LEASE: std::time::Duration = std::time::Duration::from_secs(60);

/// `peer fill FILE N [waiting]`.
pub async fn fill(arguments: &[String]) -> anyhow::Result<()> {
    let file = arguments.get(1).context("name the file")?;
    let count: usize = arguments.get(2).context("say how many")?.parse()?;
    // All of a portion are taken at once.
    let most = i64::try_from(TOGETHER)?;
    let limits =
        Limits { per_project: most, per_repository: most, per_model: most, model: "script".to_owned() };
    let journal = Journal::open(&format!("sqlite:{file}"), Clock::Real).await?.limited(limits);
    let waiting = arguments.get(3).is_some();
    for begun in (0..count).step_by(TOGETHER) {
        let made = (begun..count.min(begun + TOGETHER)).map(|_| async {
            let run = journal.create(order()).await?;
            if waiting {
                let claim = journal.claim_run(&run, "bench", LEASE).await?.context("it can be taken")?;
                let (waiting_for, reason) = (WaitingFor::Person, "Which one?".to_owned());
                journal
                    .append(&claim, i64::MAX, vec![Entry::Waiting { waiting_for, reason, wake_at: None }])
                    .await?;
            }
            anyhow::Ok(())
        });
        for made in futures_util::future::join_all(made).await {
            made?;
        }
    }
    println!("{count} runs in {file}");
    Ok(())
}
