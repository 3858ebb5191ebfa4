//! Checks all of a journal's record: every run, and the chain over their ends.

use std::collections::{BTreeMap, HashSet};

use super::bundle::{Bundle, BundleError};
use super::check::{Fault, Report, Trusted, all_ends, check_run};
use crate::journal::{HEADS, Head, Journal, RunId};

/// What the check of one run found.
#[derive(Clone, Debug, serde::Serialize)]
pub struct OfRun {
    /// The run.
    pub run: RunId,
    /// What was found.
    #[serde(flatten)]
    pub report: Report,
}

/// What the check of a whole journal found.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Whole {
    /// Runs that were read.
    pub runs: usize,
    /// Entries that were read.
    pub entries: i64,
    /// Entries whose body was erased.
    pub erased: i64,
    /// Whether every entry of every run is under a valid signature.
    pub signed: bool,
    /// Whether the head that the asker knows is in the chain over the ends of runs.
    pub anchored: bool,
    /// The newest hash of the chain over the ends of runs.
    pub head: Option<String>,
    /// Changes of the chain over the ends of runs.
    pub faults: Vec<Fault>,
    /// Runs that were changed.
    pub changed: Vec<OfRun>,
    /// Runs with entries that no signature covers.
    pub unsigned: Vec<RunId>,
}

impl Whole {
    /// Whether nothing was changed.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty() && self.changed.is_empty()
    }
}

/// Checks everything that `journal` holds.
///
/// # Errors
/// [`BundleError`] when the journal cannot be read.
pub async fn check_journal(journal: &Journal, trusted: Trusted<'_>) -> Result<Whole, BundleError> {
    // The runs first: what ends meanwhile is then known as a run.
    let heads = all_heads(journal).await?;
    let runs = journal.run_ids().await?;
    let keys = journal.record_keys().await?;
    let known: HashSet<&RunId> = runs.iter().collect();
    let mut whole = Whole { runs: runs.len(), signed: true, ..Whole::default() };
    whole.head = heads.last().map(|end| end.hash.clone());
    let checkpoints = journal.checkpoints(HEADS).await?;
    let newest = heads.last().map_or(0, |end| end.n);
    let checkpoints: Vec<_> = match all_heads(journal).await?.last() {
        // Ends that were signed while we read.
        Some(now) => checkpoints.into_iter().filter(|p| p.seq <= newest || p.seq > now.n).collect(),
        None => checkpoints,
    };
    let there = |run: &RunId| known.contains(run);
    whole.anchored = all_ends(&heads, &checkpoints, &keys, there, trusted, &mut whole.faults);
    let mut of_runs: BTreeMap<&RunId, Vec<Head>> = BTreeMap::new();
    for end in &heads {
        of_runs.entry(&end.run).or_default().push(end.clone());
    }
    for run in &runs {
        let mut bundle = Bundle::alone(journal, run).await?;
        bundle.keys.clone_from(&keys);
        bundle.heads = of_runs.remove(run).unwrap_or_default();
        let report = check_run(&bundle, trusted.key);
        whole.entries += report.entries;
        whole.erased += report.erased;
        if !report.faults.is_empty() {
            whole.changed.push(OfRun { run: run.clone(), report });
        } else if !report.signed {
            whole.unsigned.push(run.clone());
        }
    }
    whole.signed = whole.unsigned.is_empty() && whole.changed.is_empty() && whole.runs > 0;
    Ok(whole)
}

/// The whole chain over the ends of runs.
async fn all_heads(journal: &Journal) -> Result<Vec<Head>, BundleError> {
    let mut heads: Vec<Head> = Vec::new();
    loop {
        let page = journal.heads(heads.last().map_or(0, |end| end.n)).await?;
        if page.is_empty() {
            return Ok(heads);
        }
        heads.extend(page);
    }
}
