//! The one gate: policy, then the intent written down and synced, then execution, then the record.
//!
//! Every outside read and write of a tool goes through here. A write that was written down before
//! a crash is not sent again blindly: when its outcome is in the record, that outcome is used; when
//! it is not, the target is asked; what cannot be told parks the run for a person.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::ending::settle;
use super::results::counted;
use super::{Fault, Interrupted, OfRun, Toolbox, facts, target, veil};
use crate::action::Action;
use crate::azure_devops::Effect;
use crate::fault_point;
use crate::journal::{Entry, Holder, Journal, JournalError, Logged};
use crate::mask::Session;
use crate::mask::sanitise::Flag;
use crate::policy::approval::{Approval, Change, Edits, Shown, State};
use crate::policy::{Ahead, Facts, Outcome as Judged, Permit, Policy, Verdict};
use crate::weaken::{Defence, off};

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
    tool: &'a str,
    pub(super) writes: u32,
    pub(super) earlier: Vec<EarlierWrite>,
    cancel: &'a CancellationToken,
    of_run: OfRun<'a>,
    /// The approval that this call carries out.
    pub(super) carries: Option<Approval>,
    shown: Shown,
    /// What was taken out of outgoing words.
    pub(super) flags: BTreeMap<Flag, u32>,
}

impl<'a> Gate<'a> {
    pub(super) fn new(
        toolbox: &'a Toolbox,
        holder: &'a mut Holder,
        session: Arc<Session>,
        call: super::Call<'a>,
    ) -> Self {
        Self {
            toolbox,
            holder,
            session,
            step: call.step,
            tool: call.name,
            writes: 0,
            earlier: call.earlier,
            cancel: call.cancel,
            carries: call.of_run.carries.cloned(),
            of_run: call.of_run,
            shown: Shown::default(),
            flags: BTreeMap::new(),
        }
    }

    pub(super) fn toolbox(&self) -> &'a Toolbox {
        self.toolbox
    }

    pub(super) fn of_run(&self) -> &OfRun<'a> {
        &self.of_run
    }

    pub(super) fn tool(&self) -> &str {
        self.tool
    }

    pub(super) fn journal(&self) -> &Journal {
        self.holder.journal()
    }

    /// Microseconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.toolbox.now().as_microsecond()
    }

    pub(super) async fn record(&mut self, entries: Vec<Entry>) -> Result<(), Fault> {
        self.holder.record(entries).await?;
        Ok(())
    }

    /// What a person who is asked will see besides the action itself.
    pub(super) fn shown(&mut self) -> &mut Shown {
        &mut self.shown
    }

    pub(super) fn take_shown(&mut self) -> Shown {
        std::mem::take(&mut self.shown)
    }

    /// Tells the notify address of an approval, where there is one.
    pub(super) fn notify(&self, approval: &Approval) {
        if let Some(notifier) = &self.toolbox.notifier {
            notifier.waits(approval, &self.public_url());
        }
    }

    /// The placeholders of the run.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Number of the tool call in the run.
    pub(super) fn step(&self) -> u32 {
        self.step
    }

    /// Id of the run.
    pub(super) fn run(&self) -> &str {
        self.holder.run().as_str()
    }

    /// What was logged in this call so far.
    pub(super) fn unseen(&self) -> &[Logged] {
        self.holder.unseen()
    }

    /// Where the run can be seen.
    pub(super) fn run_url(&self) -> String {
        format!("{}/runs/{}", self.public_url(), self.run())
    }

    /// How the page is reached, without a slash at the end.
    pub(super) fn public_url(&self) -> String {
        self.toolbox.public_url.as_str().trim_end_matches('/').to_owned()
    }

    /// Nothing more is done once the run is to end. A stop of everything is heard like one of the run.
    fn alive(&self) -> Result<(), Fault> {
        if self.cancel.is_cancelled() { Err(Interrupted::Cancelled.into()) } else { Ok(()) }
    }

    /// The same before a write, for which the journal is asked: another process may have stopped everything
    /// a moment ago.
    async fn free_to_write(&self) -> Result<(), Fault> {
        self.alive()?;
        match self.journal().halted().await? {
            Some(_) => Err(Interrupted::Cancelled.into()),
            None => Ok(()),
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
        let calls_per_minute = self.of_run.standing.calls_in_minute(self.now());
        let facts = Facts { calls_per_minute, taint: self.of_run.standing.label, ..self.facts(action) };
        let verdict = self.toolbox.policy.get().decide(&facts);
        // Reads that are allowed are many, and not recorded.
        if verdict.outcome == Judged::Allow {
            counted(action, &verdict, self.toolbox.policy.get().hash());
            return Ok(());
        }
        match self.judged(|policy| Err(policy.decide(&facts).on(&facts))) {
            Err(verdict) => self.refuse(action, verdict).await,
            Ok(_) => Ok(()),
        }
    }

    /// Has the judge decide, and makes the verdict fit for the record: named, timed, without secrets.
    pub(super) fn judged(
        &self,
        decide: impl FnOnce(&Policy) -> Result<(Permit, Verdict), Verdict>,
    ) -> Result<(Permit, Verdict), Verdict> {
        let policy = self.toolbox.policy.get();
        let since = Instant::now();
        let judged = decide(&policy);
        let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let noted = |verdict: Verdict| {
            let facts = verdict.facts.and_then(|facts| veil::facts(&self.session, facts));
            Verdict { id: uuid::Uuid::now_v7().simple().to_string(), micros, facts, ..verdict }
        };
        match judged {
            Ok((permit, verdict)) => Ok((permit, noted(verdict))),
            Err(verdict) => Err(noted(verdict)),
        }
    }

    async fn refuse<T>(&mut self, action: &str, verdict: crate::policy::Verdict) -> Result<T, Fault> {
        let entry = Entry::Decided { step: self.step, action: action.to_owned(), verdict: verdict.clone() };
        counted(action, &verdict, self.toolbox.policy.get().hash());
        self.holder.record(vec![entry]).await?;
        Err(Fault::Refused(verdict))
    }

    /// These facts, with what the action itself says of its place.
    pub(super) fn placed(&self, action: &Action, facts: Facts) -> Facts {
        Facts {
            project: action.project().to_owned(),
            project_served: action.project() == self.toolbox.served.project,
            ..facts
        }
    }

    /// Whether a write of this call is in the record, as begun or done.
    pub(super) fn was_written(&self, write: u32) -> bool {
        self.earlier.iter().any(|earlier| earlier.write == write)
    }

    /// What is known of a write of this call.
    pub(super) fn earlier(&self, write: u32) -> Option<EarlierWrite> {
        self.earlier.iter().find(|earlier| earlier.write == write).cloned()
    }

    /// Judges an action that comes after the next write of this call, so that nothing is made for
    /// what is then refused or left to a person.
    pub(super) async fn foresee(&mut self, action: &Action, facts: Facts) -> Result<(), Fault> {
        let (action, facts) = self.as_approved(action.clone(), facts);
        let (action, facts) = Box::pin(facts::complete(self, action, facts)).await?;
        let is_known = action.digest().is_ok_and(|digest| self.is_of_earlier(&digest));
        if is_known {
            return Ok(());
        }
        self.afford(action.kind(), self.writes + 2).await?;
        if self.carries_out(&action).await? {
            return Ok(());
        }
        let Err(verdict) = self.judged(|policy| Err(policy.decide(&facts).on(&facts))) else { return Ok(()) };
        match verdict.outcome {
            Judged::Allow => Ok(()),
            Judged::Deny => self.refuse(action.kind(), verdict).await,
            Judged::Ask if self.granted(&action, &facts).await?.is_some() => Ok(()),
            Judged::Ask => Err(Box::pin(self.ask(action, facts, verdict, self.writes + 2)).await),
        }
    }

    /// Refuses a write that a budget has no room for. Notices of the program's own are counted, and go
    /// out: people must hear of what waits for them.
    pub(super) async fn afford(&self, kind: &str, write: u32) -> Result<(), Fault> {
        if write >= super::asking::NOTICES {
            return Ok(());
        }
        let spent = self.journal().spent(self.holder.run(), self.now()).await?;
        match self.toolbox.policy.get().budgets().over(&spent, Ahead::Write(kind)) {
            Some(over) => Err(Interrupted::OverBudget(over).into()),
            None => Ok(()),
        }
    }

    fn is_of_earlier(&self, digest: &crate::digest::Digest) -> bool {
        self.earlier.iter().any(|earlier| earlier.action.digest().is_ok_and(|known| known == *digest))
    }

    /// Performs `action`, when the judge allows it on these facts, or people have.
    pub(super) fn write(&mut self, action: Action, facts: Facts) -> BoxFuture<'_, Result<Effect, Fault>> {
        // Of its own: it is large, and every tool that writes would carry it.
        Box::pin(self.write_now(action, facts))
    }

    async fn write_now(&mut self, action: Action, facts: Facts) -> Result<Effect, Fault> {
        self.free_to_write().await?;
        self.writes += 1;
        let write = self.writes;
        let (action, facts) = self.as_approved(action, facts);
        if let Some(earlier) = self.earlier(write)
            && let Some(effect) = self.settled(&earlier, action.kind()).await?
        {
            return Ok(effect);
        }
        let (action, facts) = Box::pin(facts::complete(self, action, facts)).await?;
        if self.carries_out(&action).await? {
            return Box::pin(self.carry_out(action, facts, write)).await;
        }
        match self.judged(|policy| policy.permit(action.clone(), &facts)) {
            Ok((permit, verdict)) => Box::pin(self.perform(permit, verdict, write, None)).await,
            Err(verdict) if verdict.outcome == Judged::Ask => {
                let Some((proof, entry)) = self.granted(&action, &facts).await? else {
                    return Err(Box::pin(self.ask(action, facts, verdict, write)).await);
                };
                match self.judged(|policy| policy.permit_approved(action, &facts, &proof)) {
                    Ok((permit, verdict)) => {
                        Box::pin(self.perform(permit, verdict, write, Some(entry))).await
                    }
                    Err(verdict) => self.refuse(&facts.action, verdict).await,
                }
            }
            Err(verdict) => self.refuse(action.kind(), verdict).await,
        }
    }

    /// The action as the approver changed it, where this call carries such an approval out.
    pub(super) fn approved_form(&self, action: Action) -> Action {
        let Some(approval) = &self.carries else { return action };
        let edits = approval.decisions.iter().rev().find_map(|(_, decision)| decision.edits.clone());
        let Some(edits) = edits.filter(|edits| !edits.is_empty()) else { return action };
        let edits = match action.kind() {
            "git.create_branch" => edits.of_branch(),
            kind if kind == approval.request.action.kind() => edits,
            _ => Edits::default(),
        };
        // What cannot be changed stays, and its digest is then not the approved one.
        edits.apply(&action).unwrap_or(action)
    }

    /// The same, with the facts that its changes change.
    fn as_approved(&self, action: Action, facts: Facts) -> (Action, Facts) {
        let original = action.clone();
        let action = self.approved_form(action);
        if action == original {
            return (action, facts);
        }
        let facts = match &action {
            Action::Push { branch, changes, .. } => {
                let paths = changes.iter().flat_map(crate::action::FileChange::paths);
                Facts {
                    branch: Some(branch.as_str().to_owned()),
                    paths: paths.map(|path| path.as_str().to_owned()).collect(),
                    ..facts
                }
            }
            Action::CreateBranch { branch, .. } => {
                Facts { branch: Some(branch.as_str().to_owned()), ..facts }
            }
            _ => facts,
        };
        (action, facts)
    }

    /// Whether this is the action of the approval that the call carries out. Another action of the
    /// same kind in its place means that what was approved is not what would be done.
    async fn carries_out(&mut self, action: &Action) -> Result<bool, Fault> {
        let Some(approval) = &self.carries else { return Ok(false) };
        if approval.state != State::Approved || approval.request.action.kind() != action.kind() {
            return Ok(false);
        }
        if action.digest().is_ok_and(|digest| digest == approval.digest) || off(Defence::ApprovalDigest) {
            return Ok(true);
        }
        let why = "the action would not be the one that was approved any more".to_owned();
        self.changed(Change::Superseded { why: why.clone() }).await?;
        Err(Fault::NotCarried(why))
    }

    /// Writes down what became of the approval.
    async fn changed(&mut self, what: Change) -> Result<(), Fault> {
        let Some(entry) = self.moves(what) else { return Ok(()) };
        self.record(vec![entry]).await
    }

    /// The entry for what becomes of the approval; none where it does not follow.
    fn moves(&mut self, what: Change) -> Option<Entry> {
        let now = self.now();
        let approval = self.carries.as_mut()?;
        approval.apply(&what, now).ok()?;
        Some(Entry::ApprovalChanged { id: approval.request.id.clone(), what })
    }

    /// Carries an approved action out: judged again now, on the version that was approved.
    async fn carry_out(&mut self, action: Action, facts: Facts, write: u32) -> Result<Effect, Fault> {
        let Some(mut approval) = self.carries.clone() else {
            return Err(Fault::NotCarried("there is no approval".to_owned()));
        };
        let target = target::read(self.toolbox, &action).await?.version;
        let begins = Change::Executing { digest: approval.digest.clone(), target };
        if let Err(refusal) = approval.apply(&begins, self.now()) {
            let why = refusal.to_string();
            let ends = match refusal {
                crate::policy::approval::Refusal::Expired => Change::Expired,
                _ => Change::Superseded { why: why.clone() },
            };
            self.changed(ends).await?;
            return Err(Fault::NotCarried(why));
        }
        let Some(proof) = approval.proof() else {
            return Err(Fault::NotCarried("the approval covers nothing".to_owned()));
        };
        match self.judged(|policy| policy.permit_approved(action, &facts, &proof)) {
            Ok((permit, verdict)) => {
                let entry = self.moves(begins);
                self.perform(permit, verdict, write, entry).await
            }
            Err(verdict) => {
                let why =
                    format!("The rules deny it now ({}). {}", verdict.rules.join(", "), verdict.message);
                self.changed(Change::Revoked { why: why.clone(), by: None }).await?;
                Err(Fault::NotCarried(why))
            }
        }
    }

    /// Writes the intent down, together with `first`; then does it, and writes down what it did.
    pub(super) async fn perform(
        &mut self,
        permit: Permit,
        verdict: Verdict,
        write: u32,
        first: Option<Entry>,
    ) -> Result<Effect, Fault> {
        let step = self.step;
        self.afford(permit.action().kind(), write).await?;
        counted(permit.action().kind(), &verdict, self.toolbox.policy.get().hash());
        let intent = Entry::Intended {
            step,
            write,
            action: permit.action().for_record(),
            digest: permit.digest().clone(),
            verdict,
        };
        fault_point::pass("gate.before_intent");
        if !fault_point::is_off("intent") {
            match self.holder.record(first.into_iter().chain([intent]).collect()).await {
                // Somebody took it back, or used the grant up, at this very moment.
                Err(JournalError::Approval(refusal)) => {
                    self.holder.read_on().await?;
                    return Err(Fault::NotCarried(refusal.to_string()));
                }
                other => other?,
            };
        }
        fault_point::pass("gate.after_intent");
        let (action, intended) = (permit.action().clone(), self.toolbox.now());
        let performed = match self.toolbox.azure.guarded(self.holder.guard()).perform(permit).await {
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
        let ends = match &performed {
            Ok(_) => Change::Executed,
            // The service asks for patience: it certainly did not do it.
            Err(error) if settle(error.clone()).is_err() => Change::NotDone,
            Err(error) => Change::Failed { error: format!("{error}. {}", error.remedy()) },
        };
        let mut entries = vec![Entry::Performed { step, write, effect, error }];
        entries.extend(self.ends(&action, ends));
        self.holder.record(entries).await?;
        fault_point::pass("gate.after_outcome");
        Ok(performed?)
    }

    /// What the end of a write means for the approval that is carried out; none where the write is
    /// another one.
    pub(super) fn ends(&mut self, action: &Action, what: Change) -> Option<Entry> {
        let approval = self.carries.as_ref()?;
        let under_way = matches!(approval.state, State::Executing | State::Unknown);
        let its_own = action.digest().is_ok_and(|digest| digest == approval.digest)
            || (off(Defence::ApprovalDigest) && action.kind() == approval.request.action.kind());
        (under_way && its_own).then(|| self.moves(what))?
    }
}
