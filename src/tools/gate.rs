//! The one gate: policy, then the intent written down and synced, then execution, then the record.
//!
//! Every outside read and write of a tool goes through here. A write that was written down before
//! a crash is not sent again blindly: when its outcome is in the record, that outcome is used; when
//! it is not, the target is asked; what cannot be told parks the run for a person.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Fault, Interrupted, Toolbox, failure, veil};
use crate::action::{Action, BranchName, CommitId};
use crate::azure_devops::{Effect, Error, Lookup};
use crate::fault_point;
use crate::journal::{Entry, Holder, Outcome};
use crate::mask::Session;
use crate::policy::{Facts, Outcome as Judged};

/// How long to leave a system alone that is down and does not say for how long.
const OUTAGE_PAUSE: std::time::Duration = std::time::Duration::from_secs(2);

/// A write of the current step that an earlier attempt wrote down.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlierWrite {
    /// Which write of the step, from 1.
    pub write: u32,
    /// Exactly what.
    pub action: Action,
    /// When it was written down.
    pub intended: Timestamp,
    /// What it did, where the record knows.
    pub effect: Option<Value>,
}

/// The gate of one tool call.
pub(super) struct Gate<'a> {
    toolbox: &'a Toolbox,
    holder: &'a mut Holder,
    session: Arc<Session>,
    step: u32,
    writes: u32,
    earlier: Vec<EarlierWrite>,
    cancel: &'a CancellationToken,
}

impl<'a> Gate<'a> {
    pub(super) fn new(
        toolbox: &'a Toolbox,
        holder: &'a mut Holder,
        session: Arc<Session>,
        step: u32,
        earlier: Vec<EarlierWrite>,
        cancel: &'a CancellationToken,
    ) -> Self {
        Self { toolbox, holder, session, step, writes: 0, earlier, cancel }
    }

    /// The placeholders of the run.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Number of the tool call in the run.
    pub(super) fn step(&self) -> u32 {
        self.step
    }

    /// The branch that an earlier attempt at this step began to make, and from which commit.
    pub(super) fn begun_branch(&self) -> Option<(BranchName, CommitId)> {
        self.earlier.iter().find_map(|earlier| match &earlier.action {
            Action::CreateBranch { branch, commit, .. } => Some((branch.clone(), commit.clone())),
            _ => None,
        })
    }

    /// Id of the run.
    pub(super) fn run(&self) -> &str {
        self.holder.run().as_str()
    }

    /// Where the run can be seen.
    pub(super) fn run_url(&self) -> String {
        let base = self.toolbox.public_url.as_str().trim_end_matches('/');
        format!("{base}/runs/{}", self.run())
    }

    fn alive(&self) -> Result<(), Fault> {
        match self.cancel.is_cancelled() {
            true => Err(Interrupted::Cancelled.into()),
            false => Ok(()),
        }
    }

    /// Facts about an action in the served project.
    pub(super) fn facts(&self, action: &str) -> Facts {
        Facts {
            action: action.to_owned(),
            project: self.toolbox.served.project.clone(),
            project_served: true,
            repository: Some(self.toolbox.served.repository.clone()),
            ..Facts::default()
        }
    }

    /// Asks leave to read, for example `git.read`.
    pub(super) async fn read(&mut self, action: &str) -> Result<(), Fault> {
        self.alive()?;
        let verdict = self.toolbox.policy.decide(&self.facts(action));
        if verdict.outcome == Judged::Allow {
            return Ok(());
        }
        self.refuse(action, verdict).await
    }

    async fn refuse<T>(&mut self, action: &str, verdict: crate::policy::Verdict) -> Result<T, Fault> {
        let entry = Entry::Decided { step: self.step, action: action.to_owned(), verdict: verdict.clone() };
        self.holder.record(vec![entry]).await?;
        Err(Fault::Refused(verdict))
    }

    /// Performs `action`, when the judge allows it on these facts.
    pub(super) async fn write(&mut self, action: Action, facts: Facts) -> Result<Effect, Fault> {
        self.alive()?;
        self.writes += 1;
        let (step, write) = (self.step, self.writes);
        if let Some(earlier) = self.earlier.iter().find(|earlier| earlier.write == write).cloned()
            && let Some(effect) = self.settled(&earlier, action.kind()).await?
        {
            return Ok(effect);
        }
        veil::check_action(&self.session, &action)?;
        let facts = Facts {
            project: action.project().to_owned(),
            project_served: action.project() == self.toolbox.served.project,
            ..facts
        };
        let kind = action.kind();
        let (permit, verdict) = match self.toolbox.policy.permit(action, &facts) {
            Ok(allowed) => allowed,
            Err(verdict) => return self.refuse(kind, verdict).await,
        };
        let intent = Entry::Intended {
            step,
            write,
            action: permit.action().for_record(),
            digest: permit.digest().clone(),
            verdict,
        };
        fault_point::pass("gate.before_intent");
        if !fault_point::is_off("intent") {
            self.holder.record(vec![intent]).await?;
        }
        fault_point::pass("gate.after_intent");
        let (action, intended) = (permit.action().clone(), self.toolbox.now());
        let performed = match self.toolbox.azure.perform(permit).await {
            Err(error) if error.may_have_happened() => {
                Ok(self.after_silence(&action, intended, error).await?)
            }
            other => other,
        };
        fault_point::pass("gate.before_outcome");
        let (effect, error) = match &performed {
            Ok(effect) => (serde_json::to_value(effect).ok(), None),
            Err(error) => (None, Some(error.to_string())),
        };
        self.holder.record(vec![Entry::Performed { step, write, effect, error }]).await?;
        fault_point::pass("gate.after_outcome");
        Ok(performed?)
    }

    /// The effect of a write that an earlier attempt wrote down: from the record, else from the
    /// target. None: it did not happen and can be done now.
    async fn settled(&mut self, earlier: &EarlierWrite, kind: &str) -> Result<Option<Effect>, Fault> {
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
        let (step, write) = (self.step, earlier.write);
        match self.look_up(&earlier.action, earlier.intended).await? {
            Lookup::Happened(effect) => {
                let value = serde_json::to_value(&effect).ok();
                self.holder
                    .record(vec![Entry::Performed { step, write, effect: value, error: None }])
                    .await?;
                Ok(Some(effect))
            }
            Lookup::DidNotHappen => {
                let error = Some("The process ended before it was sent.".to_owned());
                self.holder.record(vec![Entry::Performed { step, write, effect: None, error }]).await?;
                Ok(None)
            }
            Lookup::Unclear(why) => Err(Interrupted::Unclear(unclear(&earlier.action, &why)).into()),
        }
    }

    async fn look_up(&self, action: &Action, intended: Timestamp) -> Result<Lookup, Fault> {
        let me = self.toolbox.me().await?;
        Ok(self.toolbox.azure.lookup(action, intended, me).await?)
    }

    /// No answer came to a write that may have happened: the target is asked.
    async fn after_silence(
        &self,
        action: &Action,
        intended: Timestamp,
        error: Error,
    ) -> Result<Effect, Fault> {
        match self.look_up(action, intended).await? {
            Lookup::Happened(effect) => Ok(effect),
            // The service may still be at it: the intent stays open, and the target is asked again
            // before the write is repeated.
            Lookup::DidNotHappen => Err(Fault::Azure(error)),
            Lookup::Unclear(why) => Err(Interrupted::Unclear(unclear(action, &why)).into()),
        }
    }
}

fn unclear(action: &Action, why: &str) -> String {
    format!("It cannot be told whether {} happened: {why}", action.kind())
}

/// What an error of Azure DevOps means for the call: words for the model, or a wait.
pub(super) fn settle(error: Error) -> Result<Outcome, Interrupted> {
    let later = |after| Interrupted::Later { after, what: error.to_string(), remedy: error.remedy() };
    match &error {
        Error::Throttled { after, .. } => Err(later(after.unwrap_or(OUTAGE_PAUSE))),
        Error::Unavailable { .. } | Error::Transport { .. } | Error::Identity(_) => Err(later(OUTAGE_PAUSE)),
        _ => Ok(failure(&error.to_string(), &error.remedy())),
    }
}
