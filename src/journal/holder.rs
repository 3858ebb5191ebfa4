//! Writing as the holder of a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Claim, Entry, Journal, JournalError, Logged, MAX_SILENCE, PAGE, RunId};
use crate::policy::SpentBy;
use crate::weaken::{Defence, off};

/// Pause before the second try at a read; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A held run and what its holder knows of its log. Everything written while working a run goes
/// through here, so that the holder also learns, in order, what others added meanwhile.
pub struct Holder {
    journal: Journal,
    claim: Claim,
    known: i64,
    /// How far the log was when the run was taken up.
    taken_at: i64,
    unseen: Vec<Logged>,
    /// What is written first in the next commit.
    deferred: Vec<Entry>,
    /// What was used, as the newest commit counted it.
    spent: Option<SpentBy>,
}

impl Holder {
    /// The holder of `claim`, who has read the log up to here.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take(journal: Journal, claim: Claim) -> Result<Self, JournalError> {
        let (unseen, deferred) = (Vec::new(), Vec::new());
        let mut holder = Self { journal, claim, known: 0, taken_at: 0, unseen, deferred, spent: None };
        holder.read_on().await?;
        holder.taken_at = holder.known;
        Ok(holder)
    }

    /// Whether an entry was there before the run was taken up by this holder.
    pub fn found(&self, seq: i64) -> bool {
        seq <= self.taken_at
    }

    /// The held run.
    pub fn run(&self) -> &RunId {
        &self.claim.run
    }

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The claim.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Asked right before something is done that cannot be taken back: whether the run is still held.
    pub fn guard(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        let (journal, claim) = (self.journal.clone(), self.claim.clone());
        Arc::new(move || journal.holds(&claim))
    }

    /// Puts an entry before those that are recorded next: it shares their commit, and is no more
    /// durable than they are.
    pub fn defer(&mut self, entry: Entry) {
        self.deferred.push(entry);
    }

    /// Writes entries, synced when this returns. False: others had added words that the holder has
    /// not read, and an entry that lets go of the run was therefore not written.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] when another worker holds the run by now.
    pub async fn record(&mut self, entries: Vec<Entry>) -> Result<bool, JournalError> {
        // Only an entry that lets go of the run can be left unwritten.
        let leaves = entries.last().filter(|entry| entry.leaves_the_run()).cloned();
        let before = leaves.as_ref().map(|_| self.deferred.clone()).unwrap_or_default();
        let entries: Vec<Entry> = self.deferred.drain(..).chain(entries).collect();
        let unrecorded = if off(Defence::RecordFailClosed) { entries.clone() } else { Vec::new() };
        self.spent = None;
        let log = match self.journal.append_counted(&self.claim, self.known, entries).await {
            Err(JournalError::Full | JournalError::Store(_) | JournalError::Unavailable)
                if off(Defence::RecordFailClosed) =>
            {
                let ts = jiff::Timestamp::UNIX_EPOCH.as_microsecond();
                let seqs = self.known + 1..;
                let logged = |(entry, seq)| Logged { seq, ts, body: String::new(), entry };
                unrecorded.into_iter().zip(seqs).map(logged).collect()
            }
            answer => {
                let (log, spent) = answer?;
                self.spent = spent;
                log
            }
        };
        let written = leaves.is_none() || log.last().map(|logged| &logged.entry) == leaves.as_ref();
        if !written {
            self.deferred = before;
        }
        self.known = log.last().map_or(self.known, |logged| logged.seq);
        self.unseen.extend(log);
        Ok(written)
    }

    /// What was used so far by the run and all that it counts in: of the newest commit where that counted,
    /// else asked for `now` (microseconds).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn spent(&mut self, now: i64) -> Result<SpentBy, JournalError> {
        match self.spent.take() {
            Some(spent) => Ok(spent),
            None => self.journal.spent(&self.claim.run, now).await,
        }
    }

    /// Takes what was logged since the last time, by anybody.
    pub fn take_unseen(&mut self) -> Vec<Logged> {
        std::mem::take(&mut self.unseen)
    }

    /// What was logged since the last time, left where it is.
    pub fn unseen(&self) -> &[Logged] {
        &self.unseen
    }

    /// Reads what others added since.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read_on(&mut self) -> Result<(), JournalError> {
        let (since, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let page = match self.journal.log(&self.claim.run, self.known).await {
                // A store that cannot be reached for a while does not cost what was done meanwhile.
                Err(JournalError::Store(_) | JournalError::Unavailable) if since.elapsed() < MAX_SILENCE => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
                answer => answer?,
            };
            let full = page.len() as i64 == PAGE;
            self.known = page.last().map_or(self.known, |logged| logged.seq);
            self.unseen.extend(page);
            if !full {
                return Ok(());
            }
        }
    }
}
