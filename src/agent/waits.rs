//! How long a run waits: for an outside system that is not well, and for people.

use std::time::Duration;

use super::state::RunState;
use super::{Agent, sentence};
use crate::clock;
use crate::journal::{Entry, Holder, JournalError, WaitingFor};
use crate::meter;
use crate::policy::approval::{Approval, Change};

/// Pause after the first failure of an outside system; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How long after an approval's end a run looks at it, in microseconds: the store's clock may stand
/// a little behind.
const EXPIRY_MARGIN: i64 = 250_000;

impl Agent {
    /// When a waiting run looks at its approvals by itself: just after the first of them ends.
    pub(super) fn wake_at(&self, state: &RunState) -> Option<i64> {
        let expiry = state.approvals.first_expiry()?;
        let now = self.clock.now().as_microsecond();
        Some(expiry.max(now).saturating_add(EXPIRY_MARGIN))
    }

    /// Ends approvals whose time is over. True: something was written.
    pub(super) async fn expire(&self, holder: &mut Holder, state: &RunState) -> Result<bool, JournalError> {
        let now = self.clock.now().as_microsecond();
        let over = |approval: &&Approval| now >= approval.request.expires_at;
        let ended = |approval: &Approval| Entry::ApprovalChanged {
            id: approval.request.id.clone(),
            what: Change::Expired,
        };
        let waited = |approval: &Approval| {
            Duration::from_micros(u64::try_from(now.saturating_sub(approval.requested_at)).unwrap_or(0))
        };
        let waited: Vec<Duration> = state.approvals.unsettled().filter(over).map(waited).collect();
        let entries: Vec<Entry> = state.approvals.unsettled().filter(over).map(ended).collect();
        if entries.is_empty() {
            return Ok(false);
        }
        match holder.record(entries).await {
            Ok(_) => {
                waited.into_iter().for_each(|waited| meter::approval("expired", waited));
                Ok(true)
            }
            // The store's clock stands a little behind ours, or somebody decided just now.
            Err(JournalError::Approval(_)) => {
                holder.read_on().await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Lays the run aside until an outside system may be well again.
    pub(super) async fn pause(
        &self,
        holder: &mut Holder,
        state: &RunState,
        what: String,
        remedy: String,
        after: Option<Duration>,
    ) -> Result<bool, JournalError> {
        let pause = FIRST_PAUSE.saturating_mul(1 << state.outages.min(8)).min(LONGEST_PAUSE);
        let pause = after.map_or(pause, |after| after.max(pause));
        let wake_at = clock::add(self.clock.now(), pause).as_microsecond();
        let reason = format!("{} It is tried again in {} s.", sentence(&what), pause.as_secs().max(1));
        tracing::warn!(run = %holder.run(), %what, pause_s = pause.as_secs(), "laid aside");
        // A long outage is told now and then, not each time.
        let told = state.outages == 0 || state.outages.is_power_of_two();
        let trouble = Entry::Trouble { what: reason.clone(), remedy: Some(remedy) };
        let waiting = Entry::Waiting { waiting_for: WaitingFor::RateLimit, reason, wake_at: Some(wake_at) };
        Ok(!holder.record(told.then_some(trouble).into_iter().chain([waiting]).collect()).await?)
    }
}
