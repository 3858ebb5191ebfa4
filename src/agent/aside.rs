//! How a run is laid aside or ended before its answer: a system that is down, a budget that is spent,
//! a write of which nobody can tell whether it happened.

use jiff::tz::TimeZone;
use jiff::{ToSpan as _, Zoned};
use tokio_util::sync::CancellationToken;

use super::held::Held;
use super::state::RunState;
use super::{Agent, sentence};
use crate::journal::{Entry, Holder, JournalError, Status, WaitingFor};
use crate::policy::approval::{Approval, Change};
use crate::policy::{Ahead, Over, Scope, SpentBy};
use crate::tools::{self, Interrupted};

/// The entries with which a run ends: what waits for people ends with it.
pub(super) fn ending(state: &RunState, status: Status, answer: String, remedy: Option<String>) -> Vec<Entry> {
    let why = format!("The run ended: {}.", status.as_str());
    let cancelled = |approval: &Approval| Entry::ApprovalChanged {
        id: approval.request.id.clone(),
        what: Change::Cancelled { why: why.clone() },
    };
    let mut entries: Vec<Entry> = state.approvals.unsettled().map(cancelled).collect();
    entries.push(Entry::Finished { status, answer, remedy });
    entries
}

impl Agent {
    /// A call has no result now: waits, stops, or leaves the run to a person.
    pub(super) async fn interrupted(
        &self,
        holder: &mut Holder,
        state: &RunState,
        interrupted: Interrupted,
    ) -> Result<bool, JournalError> {
        match interrupted {
            Interrupted::Later { after, what, remedy } => {
                self.pause(holder, state, what, remedy, Some(after)).await
            }
            Interrupted::Cancelled => {
                holder.read_on().await?;
                Ok(true)
            }
            Interrupted::AskedTooMuch { reason, wake_at } => {
                let entry = Entry::Waiting { waiting_for: WaitingFor::Approval, reason, wake_at };
                Ok(!holder.record(vec![entry]).await?)
            }
            Interrupted::NoIdentity { what, .. } if let Some(name) = state.stopped_by() => {
                let answer = format!("Stopped by {name}. What it had begun could not be looked up: {what}");
                let remedy =
                    "Look in Azure DevOps what its last call did, or send the run on with a message.";
                let entries = ending(state, Status::Cancelled, sentence(&answer), Some(remedy.to_owned()));
                Ok(!holder.record(entries).await?)
            }
            Interrupted::NoIdentity { what, remedy } => {
                let (status, answer) = (Status::Parked, sentence(&what));
                let remedy = Some(format!("{remedy} Then send the run on with a message."));
                Ok(!holder.record(vec![Entry::Finished { status, answer, remedy }]).await?)
            }
            Interrupted::OverBudget(over) => self.out_of_budget(holder, state, &over).await,
            Interrupted::Unclear(what) => {
                let remedy = "Look in Azure DevOps whether it is there, then send the run on with a message.";
                let entry = Entry::Finished {
                    status: Status::Parked,
                    answer: sentence(&what),
                    remedy: Some(remedy.into()),
                };
                Ok(!holder.record(vec![entry]).await?)
            }
            Interrupted::Journal(error) => Err(error),
        }
    }

    /// Tells of a broken glass, and asks for its review.
    pub(super) async fn review(
        &self,
        holder: &mut Holder,
        state: &RunState,
        held: &Held,
        cancel: &CancellationToken,
    ) -> Result<bool, JournalError> {
        let Some(order) = state.order.as_ref() else { return Ok(false) };
        let call = tools::Call {
            step: held.approval.request.step,
            id: &held.call.id,
            name: &held.call.name,
            arguments: &held.call.arguments,
            again: true,
            closing: false,
            requested_by: &order.requested_by,
            earlier: held.writes.clone(),
            cancel,
            of_run: tools::OfRun {
                requested_by: &order.requested_by,
                carries: None,
                approvals: Vec::new(),
                said: "",
                place: state.place(),
                standing: &state.standing,
            },
        };
        match self.toolbox.ask_for_review(holder, call, &held.approval).await {
            Ok(()) => Ok(true),
            Err(interrupted) => self.interrupted(holder, state, interrupted).await,
        }
    }

    /// What was used so far by all that the run counts in, as the journal counts.
    pub(super) async fn spent(&self, holder: &mut Holder) -> Result<SpentBy, JournalError> {
        holder.spent(self.clock.now().as_microsecond()).await
    }

    /// The budget that leaves no room for what is ahead.
    pub(super) fn over(&self, spent: &SpentBy, ahead: Ahead<'_>) -> Option<Over> {
        self.toolbox.policy().budgets().over(spent, ahead)
    }

    /// Ends the run whose own budget is spent; lays it aside until the next day or month where it is
    /// one that it shares.
    pub(super) async fn out_of_budget(
        &self,
        holder: &mut Holder,
        state: &RunState,
        over: &Over,
    ) -> Result<bool, JournalError> {
        let Some(until) = self.next_period(over.scope()) else {
            let remedy = format!(
                "Split the work into smaller pieces. {} After that a message sends this run on.",
                over.remedy()
            );
            let entries = ending(state, Status::Failed, over.to_string(), Some(remedy));
            return Ok(!holder.record(entries).await?);
        };
        tracing::warn!(run = %holder.run(), %over, "laid aside");
        let when = until.strftime("%Y-%m-%d %H:%M UTC");
        let reason = format!(
            "{over} It goes on by itself at {when}. {} After that a message sends this run on at once.",
            over.remedy()
        );
        let wake_at = Some(until.timestamp().as_microsecond());
        let entry = Entry::Waiting { waiting_for: WaitingFor::Person, reason, wake_at };
        Ok(!holder.record(vec![entry]).await?)
    }

    /// When counting in this scope begins anew; none where it never does.
    fn next_period(&self, scope: Scope) -> Option<Zoned> {
        let now = self.clock.now().to_zoned(TimeZone::UTC);
        let today = now.start_of_day().ok()?;
        match scope {
            Scope::Run => None,
            Scope::Thread | Scope::Day => today.checked_add(1.day()).ok(),
            Scope::Project => today.first_of_month().ok()?.checked_add(1.month()).ok(),
        }
    }
}
