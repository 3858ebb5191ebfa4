//! Writing as the holder of a run.

use super::{Claim, Entry, Journal, JournalError, Logged, PAGE, RunId};

/// A held run and what its holder knows of its log. Everything written while working a run goes
/// through here, so that the holder also learns, in order, what others added meanwhile.
pub struct Holder {
    journal: Journal,
    claim: Claim,
    known: i64,
    unseen: Vec<Logged>,
}

impl Holder {
    /// The holder of `claim`, who has read the log up to `known`.
    pub fn new(journal: Journal, claim: Claim, known: i64) -> Self {
        Self { journal, claim, known, unseen: Vec::new() }
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

    /// Writes entries, synced when this returns. False: others had added words that the holder has
    /// not read, and an entry that lets go of the run was therefore not written.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] when another worker holds the run by now.
    pub async fn record(&mut self, entries: Vec<Entry>) -> Result<bool, JournalError> {
        let wanted = entries.last().cloned();
        let log = self.journal.append(&self.claim, self.known, entries).await?;
        let written = wanted.is_none() || log.last().map(|logged| &logged.entry) == wanted.as_ref();
        self.known = log.last().map_or(self.known, |logged| logged.seq);
        self.unseen.extend(log);
        Ok(written)
    }

    /// Takes what was logged since the last time, by anybody.
    pub fn take_unseen(&mut self) -> Vec<Logged> {
        std::mem::take(&mut self.unseen)
    }

    /// What was logged since the last time, left where it is.
    pub fn unseen(&self) -> &[Logged] {
        &self.unseen
    }

    /// Puts entries back that were taken and not used.
    pub fn give_back(&mut self, unseen: Vec<Logged>) {
        self.unseen.splice(0..0, unseen);
    }

    /// Reads what others added since.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read_on(&mut self) -> Result<(), JournalError> {
        loop {
            let page = self.journal.log(&self.claim.run, self.known).await?;
            let full = page.len() as i64 == PAGE;
            self.known = page.last().map_or(self.known, |logged| logged.seq);
            self.unseen.extend(page);
            if !full {
                return Ok(());
            }
        }
    }
}
