//! Approvals: folded beside the log, in the transaction that writes an entry, so that an entry which
//! the state machine does not allow is never written and people have one list over all runs.

use std::collections::BTreeMap;

use super::store::read;
use super::{Entry, Journal, JournalError, RunId};
use crate::policy::approval::{Approval, State};

/// Most approvals that one question gives.
pub const MAX_APPROVALS: i64 = 200;

/// An approval as it is kept: its id, the run that asked, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) run: RunId,
    pub(super) approval: Approval,
}

/// Takes the entries that are about to be written. `kept` has the approvals that they name.
///
/// # Errors
/// [`JournalError::Approval`] for the first that does not follow; nothing is then written.
pub(super) fn fold<'e>(
    run: &RunId,
    entries: impl Iterator<Item = &'e Entry>,
    kept: &mut BTreeMap<String, Kept>,
    now: i64,
) -> Result<(), JournalError> {
    for entry in entries {
        match entry {
            Entry::ApprovalRequested { request } => {
                let approval = Approval::request((**request).clone(), now);
                kept.insert(request.id.clone(), Kept { run: run.clone(), approval });
            }
            Entry::ApprovalChanged { id, what } => {
                let known = kept.get_mut(id).ok_or_else(|| JournalError::UnknownApproval(id.clone()))?;
                known.approval.apply(what, now).map_err(JournalError::Approval)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Ids of the approvals that entries are about.
pub(super) fn named<'e>(entries: impl Iterator<Item = &'e Entry>) -> Vec<&'e str> {
    let mut ids: Vec<&str> = entries
        .filter_map(|entry| match entry {
            Entry::ApprovalChanged { id, .. } => Some(id.as_str()),
            _ => None,
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

impl Journal {
    /// One approval, and the run that asked.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn approval(&self, id: &str) -> Result<Option<(RunId, Approval)>, JournalError> {
        read!(self, approval(id))
    }

    /// Approvals in one state, or all, newest first, at most [`MAX_APPROVALS`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn approvals(&self, state: Option<State>) -> Result<Vec<(RunId, Approval)>, JournalError> {
        read!(self, approvals(state.map(State::as_str), MAX_APPROVALS))
    }

    /// How many approvals were asked for since `ts` (microseconds), and when the first of them was.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn asked_since(&self, ts: i64) -> Result<(i64, Option<i64>), JournalError> {
        read!(self, asked_since(ts))
    }

    /// Approvals that give leave for more actions at `now` (microseconds).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open_grants(&self, now: i64) -> Result<Vec<Approval>, JournalError> {
        read!(self, open_grants(now, MAX_APPROVALS))
    }
}
