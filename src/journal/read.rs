//! What can be read of the journal.

use super::store::read;
use super::{Backlog, IntakeRow, IntakeStatus, Journal, JournalError, Logged, PAGE, Recorded, RunId, RunRow};

impl Journal {
    /// A run's row.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn run(&self, id: &RunId) -> Result<Option<RunRow>, JournalError> {
        read!(self, run(id))
    }

    /// The newest runs first, at most `limit`; `before` (microseconds) pages back.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn runs(&self, limit: i64, before: Option<i64>) -> Result<Vec<RunRow>, JournalError> {
        read!(self, runs(limit, before.unwrap_or(i64::MAX)))
    }

    /// Every run, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn run_ids(&self) -> Result<Vec<RunId>, JournalError> {
        read!(self, run_ids())
    }

    /// The newest run about `subject` that has not ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn active_run_about(&self, subject: &str) -> Result<Option<RunRow>, JournalError> {
        read!(self, active_run_about(subject))
    }

    /// How many runs have not ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unfinished(&self) -> Result<i64, JournalError> {
        read!(self, unfinished())
    }

    /// What has not ended, at this instant (microseconds since 1970).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn backlog(&self, now: i64) -> Result<Backlog, JournalError> {
        read!(self, backlog(now))
    }

    /// Entries of a run after `after`, oldest first, at most [`PAGE`].
    ///
    /// # Errors
    /// When the store fails or an entry does not read back.
    pub async fn log(&self, run: &RunId, after: i64) -> Result<Vec<Logged>, JournalError> {
        read!(self, log(run, after, PAGE))?.into_iter().collect()
    }

    /// Entries of all logs, the house's with them, in the order in which they were written: after one
    /// instant and until another (microseconds since 1970). About `most` of them; those of one instant
    /// come together.
    ///
    /// # Errors
    /// When the store fails. An entry that does not read back is [`Entry::Unknown`](super::Entry).
    pub async fn since(
        &self,
        after: i64,
        until: i64,
        most: i64,
    ) -> Result<Vec<(RunId, Logged)>, JournalError> {
        let unknown = |error: JournalError| match error {
            JournalError::Corrupt { seq, .. } => seq,
            _ => 0,
        };
        let rows: Vec<(RunId, Result<Logged, JournalError>)> = read!(self, since(after, until, most))?;
        let read = |(run, entry): (RunId, Result<Logged, JournalError>)| {
            let entry = entry.unwrap_or_else(|error| Logged {
                seq: unknown(error),
                ts: until,
                body: String::new(),
                entry: super::Entry::Unknown,
            });
            (run, entry)
        };
        Ok(rows.into_iter().map(read).collect())
    }

    /// One entry of a run.
    ///
    /// # Errors
    /// When the store fails or the entry does not read back.
    pub async fn entry(&self, run: &RunId, seq: i64) -> Result<Option<Logged>, JournalError> {
        let found: Vec<Logged> = read!(self, log(run, seq - 1, 1))?.into_iter().collect::<Result<_, _>>()?;
        Ok(found.into_iter().find(|logged| logged.seq == seq))
    }

    /// One entry of a run as it is stored and hashed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recorded(&self, run: &RunId, seq: i64) -> Result<Option<Recorded>, JournalError> {
        Ok(read!(self, record(run, seq - 1, 1))?.into_iter().find(|recorded| recorded.seq == seq))
    }

    /// The record of a run as stored and hashed, entries after `after`, at most [`PAGE`]. Unlike
    /// [`Journal::log`] it gives entries that no longer read back, too.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn record(&self, run: &RunId, after: i64) -> Result<Vec<Recorded>, JournalError> {
        read!(self, record(run, after, PAGE))
    }

    /// The whole log of a run.
    ///
    /// # Errors
    /// When the store fails or an entry does not read back.
    pub async fn whole_log(&self, run: &RunId) -> Result<Vec<Logged>, JournalError> {
        let mut log: Vec<Logged> = Vec::new();
        loop {
            let page = self.log(run, log.last().map_or(0, |l| l.seq)).await?;
            let full = page.len() as i64 == PAGE;
            log.extend(page);
            if !full {
                return Ok(log);
            }
        }
    }

    /// What came in, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn intake(&self, limit: i64) -> Result<Vec<IntakeRow>, JournalError> {
        self.intake_page(limit, None, None).await
    }

    /// The same, of one fate only, and only what came in before the event `before`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn intake_page(
        &self,
        limit: i64,
        status: Option<IntakeStatus>,
        before: Option<&str>,
    ) -> Result<Vec<IntakeRow>, JournalError> {
        read!(self, intake(limit, status.map(IntakeStatus::as_str), before))
    }

    /// One event that came in.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn intake_row(&self, id: &str) -> Result<Option<IntakeRow>, JournalError> {
        read!(self, intake_row(id))
    }

    /// The sequence number of the first entry whose hash, commitment or place is wrong, or none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn first_fault(&self, run: &RunId) -> Result<Option<i64>, JournalError> {
        read!(self, first_fault(run))?.ok_or_else(|| JournalError::UnknownRun(run.clone()))
    }
}
