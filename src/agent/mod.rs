//! One run, one step at a time; and what an event from outside means.
//!
//! Purpose: [`Agent::advance`] carries a run on until it ends, waits, or the process stops;
//! [`Agent::triage`] says what becomes of an event.
//! Invariant: everything that happened is in the journal before the next thing is done; the core
//! ([`state`]) does no input or output.
//! Must never know: HTTP, SQL, who is watching.

mod aside;
mod hear;
mod held;
mod look;
mod prompts;
mod state;
#[cfg(test)]
mod tests;
mod triage;
mod waits;
mod words;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::fault_point;
use crate::journal::{Call, Claim, Entry, Holder, Journal, JournalError, Logged, Status, Usage};
use crate::meter;
use crate::model::{self, Finish, Model, ModelError, Piece, Reply, ToolSchemas};
use crate::policy::approval::{Approval, Change, State};
use crate::policy::{Ahead, Spent, SpentBy, Tokens};
use crate::tools::{self, Toolbox};
use crate::trace::{self, Called, Span};

use held::Held;
pub use prompts::Facts as PromptFacts;
use state::{Next, RunState};
pub use triage::TriageError;

/// Works runs of one co-worker.
pub struct Agent {
    journal: Journal,
    model: Model,
    toolbox: Toolbox,
    schemas: ToolSchemas,
    clock: Clock,
    facts: PromptFacts,
    authority: triage::Authority,
    cursor: look::Cursor,
}

/// How work on a run ended for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The run ended or waits.
    Settled,
    /// The process is stopping; the run goes on elsewhere or later.
    Stopped,
    /// Another worker holds the run.
    Lost,
}

impl Left {
    fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Stopped => "stopped",
            Self::Lost => "lost",
        }
    }
}

impl Agent {
    /// An agent over these rooms. `instructors` names the groups whose members instruct it; none
    /// means every member of the served project.
    ///
    /// # Errors
    /// When the tool schemas are not fit to be sent; a fault of ours.
    pub fn new(
        journal: Journal,
        model: Model,
        toolbox: Toolbox,
        clock: Clock,
        facts: PromptFacts,
        instructors: Vec<String>,
    ) -> anyhow::Result<Self> {
        let authority = triage::Authority::new(instructors);
        let (schemas, cursor) = (Toolbox::schemas()?, look::Cursor::default());
        Ok(Self { journal, model, toolbox, schemas, clock, facts, authority, cursor })
    }

    /// The clock that it works by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Carries a claimed run on. `stop` is heeded between steps and ends a model call at once.
    ///
    /// # Errors
    /// When the journal cannot be read or written: then nothing more is done.
    pub async fn advance(&self, claim: Claim, stop: &CancellationToken) -> Result<Left, JournalError> {
        let name = &self.facts.agent_user;
        let span = Span::of_run(claim.run.as_str(), claim.fence == 1, format!("invoke_agent {name}"), || {
            vec![
                trace::attribute(trace::OPERATION, "invoke_agent"),
                trace::attribute(trace::PROVIDER, meter::PROVIDER),
                trace::attribute(trace::AGENT_ID, self.facts.agent_identity.clone()),
                trace::attribute(trace::AGENT_NAME, name.clone()),
                trace::attribute(trace::AGENT_VERSION, env!("CARGO_PKG_VERSION")),
                trace::attribute(trace::CONVERSATION, claim.run.as_str().to_owned()),
                trace::attribute(trace::FENCE, claim.fence),
            ]
        });
        let left = span.over(Box::pin(self.work_on(claim, stop))).await;
        match &left {
            Ok(left) => span.set(trace::LEFT, left.as_str()),
            Err(_) => span.failed("journal"),
        }
        left
    }

    async fn work_on(&self, claim: Claim, stop: &CancellationToken) -> Result<Left, JournalError> {
        let mut holder = Holder::take(self.journal.clone(), claim).await?;
        let mut state = RunState::default();
        let (cancel, lost) = (stop.child_token(), CancellationToken::new());
        let heard = hear::Heard { cancel: cancel.clone(), lost: lost.clone() };
        let listener = tokio::spawn(hear::listen(self.journal.clone(), holder.run().clone(), heard));
        let left = loop {
            for logged in holder.take_unseen() {
                state.apply(&logged);
            }
            if stop.is_cancelled() {
                break Ok(Left::Stopped);
            }
            // Whoever stops everything raises the fence of every held run, so what comes after is
            // refused where it is written down, which is before any tool; a call of the model that is
            // under way is ended by the listener.
            if lost.is_cancelled() {
                break Ok(Left::Lost);
            }
            // A message took the stop back which ended what was under way: it is taken up anew, with ears
            // for the next one.
            if cancel.is_cancelled() && state.stopped_by().is_none() && !state.ended {
                holder.read_on().await?;
                holder.take_unseen().iter().for_each(|logged| state.apply(logged));
                if state.stopped_by().is_none() && !state.ended {
                    break Ok(Left::Stopped);
                }
            }
            match self.step(&mut holder, &mut state, &cancel).await {
                Ok(true) => {}
                Ok(false) => break Ok(Left::Settled),
                Err(JournalError::Fenced(_)) => break Ok(Left::Lost),
                Err(error) => break Err(error),
            }
        };
        listener.abort();
        left
    }

    /// Does the next thing. False: there is nothing more to do for now.
    async fn step(
        &self,
        holder: &mut Holder,
        state: &mut RunState,
        cancel: &CancellationToken,
    ) -> Result<bool, JournalError> {
        if self.expire(holder, state).await? {
            return Ok(true);
        }
        match state.next() {
            Next::Nothing => Ok(false),
            Next::Prepare => {
                let order = state.order.as_ref();
                let words = self.repository_words(holder.run(), order).await;
                let entry = Entry::Prepared {
                    system: prompts::system(&self.facts, order, &words),
                    prompts: prompts::hash().to_string(),
                    tools: self.schemas.hash().to_string(),
                    policy: self.toolbox.policy().hash().to_string(),
                };
                holder.record(vec![entry]).await?;
                Ok(true)
            }
            Next::AskModel { turn } => {
                let spent = self.spent(holder).await?;
                match self.over(&spent, Ahead::Turn) {
                    Some(over) => self.out_of_budget(holder, state, &over).await,
                    None => self.ask_model(holder, state, turn, spent, cancel).await,
                }
            }
            Next::RunTool { step, call, started, earlier, closing } => {
                // One that was begun is counted already.
                if started.is_none()
                    && let Some(over) = self.over(&self.spent(holder).await?, Ahead::Step)
                {
                    return self.out_of_budget(holder, state, &over).await;
                }
                let step = Step { step, call, started, earlier, closing };
                self.run_tool(holder, state, step, cancel).await
            }
            Next::Review { held } => self.review(holder, state, &held, cancel).await,
            Next::Carry { held, closing } => self.carry(holder, state, *held, closing, cancel).await,
            Next::Wait { waiting_for, reason } => {
                let entry = Entry::Waiting { waiting_for, reason, wake_at: self.wake_at(state) };
                Ok(!holder.record(vec![entry]).await?)
            }
            Next::Finish { status, answer, remedy } => {
                Ok(!holder.record(aside::ending(state, status, answer, remedy)).await?)
            }
        }
    }

    /// Makes the call behind an approval again, so that the gate carries the approved action out.
    async fn carry(
        &self,
        holder: &mut Holder,
        state: &RunState,
        held: Held,
        closing: bool,
        cancel: &CancellationToken,
    ) -> Result<bool, JournalError> {
        let Some(order) = state.order.as_ref() else { return Ok(false) };
        let id = held.approval.request.id.clone();
        let step = held.approval.request.step;
        let since = Instant::now();
        let request = tools::Call {
            step,
            id: &held.call.id,
            name: &held.call.name,
            arguments: &held.call.arguments,
            again: true,
            closing,
            requested_by: &order.requested_by,
            earlier: held.writes.clone(),
            cancel,
            of_run: tools::OfRun {
                requested_by: &order.requested_by,
                carries: Some(&held.approval),
                approvals: state.approvals.all(),
                said: &state.said,
                place: state.place(),
                standing: &state.standing,
            },
        };
        match self.toolbox.run(holder, request).await {
            Ok(outcome) => {
                let duration_ms = millis(since.elapsed());
                let entry = match state_after(&held.approval, holder.unseen()) {
                    State::Executed => Entry::Carried { id, step, outcome, duration_ms },
                    // The call did not come to the action any more: what it worked on has changed.
                    State::Approved => {
                        Entry::ApprovalChanged { id, what: Change::Superseded { why: outcome.summary } }
                    }
                    _ => return Ok(true),
                };
                holder.record(vec![entry]).await?;
                Ok(true)
            }
            Err(interrupted) => self.interrupted(holder, state, interrupted).await,
        }
    }

    async fn ask_model(
        &self,
        holder: &mut Holder,
        state: &mut RunState,
        turn: u32,
        spent: SpentBy,
        cancel: &CancellationToken,
    ) -> Result<bool, JournalError> {
        let read_to = state.before_request();
        let (journal, run) = (self.journal.clone(), holder.run().clone());
        let (mut begun, mut spoken) = (false, self.toolbox.spoken(&run));
        let mut on_piece = |piece: Piece<'_>| match piece {
            Piece::Text(text) => {
                fault_point::pass("model.piece");
                let words = spoken.push(text);
                if !words.is_empty() {
                    journal.words(&run, turn, !begun, &words);
                    begun = true;
                }
            }
            Piece::Restart => {
                spoken.restart();
                journal.words(&run, turn, true, "");
            }
        };
        let since = Instant::now();
        fault_point::pass("model.before_reply");
        let asked = self.model.reply(&state.conversation, &self.schemas, &mut on_piece, cancel);
        let (reply, outside) = trace::collecting(asked).await;
        match reply {
            Ok(reply) => {
                fault_point::pass("model.after_reply");
                self.count_cost(&reply);
                let reply = replied(turn, read_to, spoken.whole(reply), since.elapsed(), outside);
                let begun = self.begun_with(state, &reply, spent);
                holder.record(std::iter::once(reply).chain(begun).collect()).await?;
                Ok(true)
            }
            Err(error) => {
                self.journal.words(holder.run(), turn, true, "");
                self.model_failed(holder, state, &error).await
            }
        }
    }

    /// The beginning of the first call of an answer, where the budgets leave room for it: it shares the
    /// answer's commit. `spent` is what was used before the answer.
    fn begun_with(&self, state: &RunState, reply: &Entry, mut spent: SpentBy) -> Option<Entry> {
        let Entry::Replied { calls, usage, duration_ms, .. } = reply else { return None };
        let Usage { input, output, cached } = *usage;
        spent.turn(self.model.deployment(), Tokens { input, cached, output }, *duration_ms);
        match self.over(&spent, Ahead::Step) {
            None => calls.first().map(|call| begun(state.next_step(), call)),
            // Looked at once more, and said in words, before the call.
            Some(_) => None,
        }
    }

    /// Counts what an answer cost by the prices in force.
    fn count_cost(&self, reply: &Reply) {
        let deployment = self.model.deployment();
        let model::Usage { input, output, cached } = reply.usage;
        let tokens = BTreeMap::from([(deployment.to_owned(), Tokens { input, cached, output })]);
        let spent = Spent { tokens, ..Spent::default() };
        meter::model_cost(deployment, self.toolbox.policy().budgets().cost(&spent));
    }

    async fn model_failed(
        &self,
        holder: &mut Holder,
        state: &RunState,
        error: &ModelError,
    ) -> Result<bool, JournalError> {
        match error {
            // Stopped by a person: the request is in the log. Stopped by the process: nothing to say.
            ModelError::Cancelled => {
                holder.read_on().await?;
                Ok(true)
            }
            ModelError::Throttled { after, .. } => {
                self.pause(holder, state, error.to_string(), error.remedy(), Some(*after)).await
            }
            error if error.may_pass() => {
                self.pause(holder, state, error.to_string(), error.remedy(), None).await
            }
            // As in a tool call: an identity that is refused for good is for a person.
            error @ ModelError::Identity(_) => {
                let (what, remedy) = (error.to_string(), error.remedy());
                self.interrupted(holder, state, tools::Interrupted::NoIdentity { what, remedy }).await
            }
            error => {
                let entry = Entry::Finished {
                    status: Status::Failed,
                    answer: sentence(&error.to_string()),
                    remedy: Some(error.remedy()),
                };
                Ok(!holder.record(vec![entry]).await?)
            }
        }
    }

    async fn run_tool(
        &self,
        holder: &mut Holder,
        state: &RunState,
        step: Step,
        cancel: &CancellationToken,
    ) -> Result<bool, JournalError> {
        let Step { step, call, started, earlier, closing } = step;
        let Some(order) = state.order.as_ref() else { return Ok(false) };
        if started.is_none() {
            holder.record(vec![begun(step, &call)]).await?;
        }
        let since = Instant::now();
        let request = tools::Call {
            step,
            id: &call.id,
            name: &call.name,
            arguments: &call.arguments,
            again: started.is_some_and(|seq| holder.found(seq)),
            closing,
            requested_by: &order.requested_by,
            earlier,
            cancel,
            of_run: tools::OfRun {
                requested_by: &order.requested_by,
                carries: None,
                approvals: state.approvals.all(),
                said: &state.said,
                place: state.place(),
                standing: &state.standing,
            },
        };
        match self.toolbox.run(holder, request).await {
            Ok(outcome) => {
                let duration_ms = millis(since.elapsed());
                let entry =
                    Entry::ToolFinished { step, call_id: call.id, tool: call.name, outcome, duration_ms };
                holder.record(vec![entry]).await?;
                Ok(true)
            }
            Err(interrupted) => self.interrupted(holder, state, interrupted).await,
        }
    }
}

/// Where an approval is after what was written down since.
fn state_after(approval: &Approval, log: &[Logged]) -> State {
    let mut approval = approval.clone();
    for logged in log {
        if let Entry::ApprovalChanged { id, what } = &logged.entry
            && *id == approval.request.id
        {
            // The journal took it, so it is possible.
            let _ = approval.apply(what, logged.ts);
        }
    }
    approval.state
}

struct Step {
    step: u32,
    call: Call,
    started: Option<i64>,
    earlier: Vec<tools::EarlierWrite>,
    closing: bool,
}

fn replied(turn: u32, read_to: i64, reply: Reply, took: Duration, outside: Vec<Called>) -> Entry {
    let finish = reply.finish.as_str().to_owned();
    // With another reason the last call may be cut off: none is made (model::Reply).
    let calls = match reply.finish {
        Finish::ToolCalls => reply.tool_calls,
        _ => Vec::new(),
    };
    Entry::Replied {
        turn,
        read_to,
        text: reply.text,
        calls: calls.into_iter().map(|c| Call { id: c.id, name: c.name, arguments: c.arguments }).collect(),
        finish,
        usage: Usage { input: reply.usage.input, cached: reply.usage.cached, output: reply.usage.output },
        model: reply.model,
        request_id: reply.request_id,
        duration_ms: millis(took),
        outside,
    }
}

fn begun(step: u32, call: &Call) -> Entry {
    Entry::ToolStarted {
        step,
        call_id: call.id.clone(),
        tool: call.name.clone(),
        arguments: shown_arguments(&call.arguments),
    }
}

fn shown_arguments(arguments: &str) -> Value {
    serde_json::from_str(arguments).unwrap_or_else(|_| Value::String(arguments.to_owned()))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// With a capital first letter and a full stop.
fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}
