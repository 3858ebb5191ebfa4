//! Writes of which it is not known whether they happened: after a crash, or without an answer. The
//! record and the target are asked; what cannot be told parks the run for a person.

use jiff::Timestamp;

use super::asking::NOTICES;
use super::gate::{EarlierWrite, Gate};
use super::{Fault, Interrupted, ending};
use crate::action::{Action, BranchName, CommitId};
use crate::azure_devops::{Effect, Error, Lookup};
use crate::fault_point;
use crate::journal::Entry;
use crate::policy::approval::{Approval, Change};

impl Gate<'_> {
    /// The branch that an earlier attempt at this step began to make, and from which commit.
    pub(super) fn begun_branch(&self) -> Option<(BranchName, CommitId)> {
        let begun = self.earlier.iter().find_map(|earlier| match &earlier.action {
            Action::CreateBranch { branch, commit, .. } => Some((branch.clone(), commit.clone())),
            _ => None,
        });
        begun.or_else(|| self.carries.as_ref().and_then(frozen_new_branch))
    }

    /// The branch that an earlier attempt at this step pushed to, and the commit it pushed on: by now the
    /// branch may stand at what was pushed.
    pub(super) fn begun_push(&self) -> Option<(BranchName, CommitId)> {
        self.earlier.iter().find_map(|earlier| match &earlier.action {
            Action::Push { branch, old_commit, .. } => Some((branch.clone(), old_commit.clone())),
            _ => None,
        })
    }

    /// Writes of an earlier attempt at this call that this one has not come to; notices are not of them.
    pub(super) fn not_reached(&self) -> Vec<EarlierWrite> {
        let ahead = self.writes + 1..NOTICES;
        self.earlier.iter().filter(|earlier| ahead.contains(&earlier.write)).cloned().collect()
    }

    /// The effect of a write that an earlier attempt wrote down: from the record, else from the
    /// target. None: it did not happen and can be done now.
    pub(super) async fn settled(
        &mut self,
        earlier: &EarlierWrite,
        kind: &str,
    ) -> Result<Option<Effect>, Fault> {
        let before = earlier.action.kind();
        if before != kind {
            let text = format!("An earlier attempt at this step did {before} where {kind} comes now.");
            return Err(Interrupted::Unclear(text).into());
        }
        if let Some(effect) = earlier.effect.clone().and_then(|effect| serde_json::from_value(effect).ok()) {
            return Ok(Some(effect));
        }
        if fault_point::is_off("probe") {
            return Ok(None);
        }
        let (step, write) = (self.step(), earlier.write);
        let (effect, error, ends) = match self.look_up(&earlier.action, earlier.intended).await? {
            Lookup::Happened(effect) => (Some(effect), None, Change::Executed),
            Lookup::DidNotHappen => {
                (None, Some("It had not happened when it was looked for.".to_owned()), Change::NotDone)
            }
            Lookup::Unclear(why) => return Err(self.nobody_knows(&earlier.action, &why).await.into()),
        };
        let value = effect.as_ref().and_then(|effect| serde_json::to_value(effect).ok());
        let mut entries = vec![Entry::Performed { step, write, effect: value, error }];
        entries.extend(self.ends(&earlier.action, ends));
        self.record(entries).await?;
        Ok(effect)
    }

    /// What an earlier attempt at this call did that this attempt did not come to, as actions and their
    /// effects: the world may have moved on, or been moved by that very write. No intent is left open
    /// over it.
    pub(super) async fn left_behind(&mut self) -> (Vec<(&'static str, Effect)>, Result<(), Interrupted>) {
        let mut done = Vec::new();
        for earlier in self.not_reached() {
            let kind = earlier.action.kind();
            let interrupted = match self.settled(&earlier, kind).await {
                Ok(effect) => {
                    done.extend(effect.map(|effect| (kind, effect)));
                    continue;
                }
                Err(Fault::Interrupted(interrupted)) => interrupted,
                Err(Fault::Azure(error)) => match ending::settle(error.clone()) {
                    Ok(_) => self.nobody_knows(&earlier.action, &error.to_string()).await,
                    Err(interrupted) => interrupted,
                },
                Err(other) => self.nobody_knows(&earlier.action, &other.to_string()).await,
            };
            return (done, Err(interrupted));
        }
        (done, Ok(()))
    }

    async fn look_up(&self, action: &Action, intended: Timestamp) -> Result<Lookup, Fault> {
        let me = self.toolbox().me().await?;
        Ok(self.toolbox().azure.lookup(action, intended, me).await?)
    }

    /// No answer came to a write that may have happened: the target is asked.
    pub(super) async fn after_silence(
        &mut self,
        action: &Action,
        intended: Timestamp,
        error: Error,
    ) -> Result<Effect, Fault> {
        match self.look_up(action, intended).await? {
            Lookup::Happened(effect) => Ok(effect),
            // The service may still be at it: the intent stays open, and the target is asked again
            // before the write is repeated.
            Lookup::DidNotHappen => Err(Fault::Azure(error)),
            Lookup::Unclear(why) => Err(self.nobody_knows(action, &why).await.into()),
        }
    }

    /// It cannot be told whether this happened: the approval that is carried out says so.
    async fn nobody_knows(&mut self, action: &Action, why: &str) -> Interrupted {
        let why = format!("It cannot be told whether {} happened: {why}", action.kind());
        if let Some(entry) = self.ends(action, Change::Unknown { why: why.clone() })
            && let Err(error) = self.record(vec![entry]).await
        {
            return match error {
                Fault::Interrupted(interrupted) => interrupted,
                other => Interrupted::Unclear(other.to_string()),
            };
        }
        Interrupted::Unclear(why)
    }
}

/// The branch that an approved push goes to, where it was to be made for it.
fn frozen_new_branch(approval: &Approval) -> Option<(BranchName, CommitId)> {
    match approval.action() {
        Action::Push { branch, old_commit, .. } if approval.request.write > 1 => {
            Some((branch.clone(), old_commit.clone()))
        }
        _ => None,
    }
}
