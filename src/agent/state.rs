//! The core of a run, without input or output: what has happened goes in, what to do next comes out.
//!
//! The same log gives the same state and the same next move, so a run goes on after a crash where
//! it was, and a recorded run replays to the same decisions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::held::{Approvals, Held};
use crate::event::Trigger;
use crate::journal::{Call, Entry, Logged, Person, Status, WaitingFor};
use crate::model::{Conversation, ConversationError, Message, ToolCall};
use crate::tools::{ASK_PERSON, EarlierWrite, FIRST_NOTICE, Standing};

/// Replies in a row that hold nothing to act on before the run ends.
pub const MAX_EMPTY_REPLIES: u32 = 3;
/// The same call with the same failing result this often in a row ends the run.
pub const MAX_SAME_FAILURES: u32 = 3;
/// Waits in a row for an outside system that is down before the run ends: with the pauses of
/// [`super::waits`] about a day.
pub const MAX_OUTAGES: u32 = 295;
/// The same when somebody has asked the run to stop: about a minute.
pub const MAX_OUTAGES_OF_A_STOP: u32 = 5;

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Write down prompts, tools and rules.
    Prepare,
    /// Ask the model for this turn.
    AskModel {
        /// Number of the turn, from 1.
        turn: u32,
    },
    /// Work on a tool call.
    RunTool {
        /// Number of the call in the run, from 1.
        step: u32,
        /// The call.
        call: Call,
        /// Sequence number of its start, where that is in the log already.
        started: Option<i64>,
        /// Writes of this step that the log knows.
        earlier: Vec<EarlierWrite>,
        /// The run ends or had ended in it: it is not made again, only what it had begun is looked up.
        closing: bool,
    },
    /// Tell of a broken glass and ask for its review.
    Review {
        /// The approval and its call.
        held: Box<Held>,
    },
    /// Make the call behind an approval again: this is how an approved action is carried out.
    Carry {
        /// The approval and its call.
        held: Box<Held>,
        /// As of a tool call.
        closing: bool,
    },
    /// Lay the run aside until something happens.
    Wait {
        /// For what.
        waiting_for: WaitingFor,
        /// In words.
        reason: String,
    },
    /// End the run.
    Finish {
        /// How.
        status: Status,
        /// Answer or fault.
        answer: String,
        /// What a person can do.
        remedy: Option<String>,
    },
    /// It has ended.
    Nothing,
}

/// Who asked for the run and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Who.
    pub requested_by: Person,
    /// Project served.
    pub project: String,
    /// Repository served.
    pub repository: String,
    /// What it is about.
    pub subject: Option<String>,
    /// What in Azure DevOps began it.
    pub trigger: Option<Trigger>,
}

/// A run, folded from its log.
#[derive(Default)]
pub struct RunState {
    /// Who asked and for what; none until the first entry is read.
    pub order: Option<Order>,
    /// What the model is given.
    pub conversation: Conversation,
    /// Waits in a row for a system that is down.
    pub outages: u32,
    /// What waits for people, and what they decided.
    pub approvals: Approvals,
    /// What the model said before its newest calls.
    pub said: String,
    /// The newest pull request or work item that the run wrote to: kind and number.
    pub newest: Option<(String, u32)>,
    /// What the run has done and read, for the judge.
    pub standing: Standing,
    prepared: bool,
    /// Words that the model has not been given, with their sequence numbers.
    unread: Vec<(i64, String)>,
    read_to: i64,
    pending: Vec<Call>,
    /// The call under way, and where its start is in the log.
    begun: Option<(i64, Call)>,
    writes: Vec<EarlierWrite>,
    /// The run ended in the call under way, after it had begun to write.
    left_open: bool,
    question: Option<String>,
    answer: Option<String>,
    cancelled_by: Option<String>,
    unknown_entry: bool,
    /// It has ended.
    pub ended: bool,
    turn: u32,
    step: u32,
    empty_replies: u32,
    same_failures: u32,
    last_failure: Option<(String, String, String)>,
    fault: Option<ConversationError>,
}

impl RunState {
    /// Takes the next entry of the log.
    pub fn apply(&mut self, logged: &Logged) {
        self.read_to = logged.seq;
        self.standing.apply(logged);
        match &logged.entry {
            Entry::Created { requested_by, project, repository, subject, trigger, .. } => {
                self.order = Some(Order {
                    requested_by: requested_by.clone(),
                    project: project.clone(),
                    repository: repository.clone(),
                    subject: subject.clone(),
                    trigger: trigger.clone(),
                });
            }
            Entry::Message { text, .. } => self.message(logged.seq, text),
            Entry::Prepared { system, .. } => {
                self.say(&Message::System { text: system.clone() });
                self.prepared = true;
            }
            Entry::Replied { turn, read_to, text, calls, .. } => {
                // An older program went on without a look at what had been begun.
                if std::mem::take(&mut self.left_open) {
                    self.begun = None;
                    self.writes.clear();
                    std::mem::take(&mut self.pending).into_iter().for_each(|call| self.not_made(call));
                }
                self.hand_over(*read_to);
                self.replied(*turn, text, calls);
            }
            Entry::ToolStarted { step, call_id, .. } => {
                self.step = *step;
                let call = self.pending.iter().find(|call| call.id == *call_id);
                self.begun = call.map(|call| (logged.seq, call.clone()));
                self.writes.clear();
            }
            Entry::Intended { step, write, action, .. } => {
                let intended = Timestamp::from_microsecond(logged.ts).unwrap_or(Timestamp::MIN);
                let earlier = EarlierWrite { write: *write, action: action.clone(), intended, effect: None };
                self.in_writes(*step, |writes| {
                    writes.retain(|known| known.write != *write);
                    writes.push(earlier.clone());
                });
            }
            Entry::Performed { step, write, effect, .. } => self.performed(*step, *write, effect.as_ref()),
            Entry::ApprovalRequested { request } => {
                // While a call is made again it can ask for something else.
                let begun = self.begun.as_ref().map(|(_, call)| call);
                let call = begun.or_else(|| self.approvals.call_of(request.step)).cloned();
                if let Some(call) = call {
                    self.approvals.requested(request, &call, &self.writes, logged.ts);
                }
            }
            Entry::ApprovalChanged { id, what } => {
                if let Some(notice) = self.approvals.changed(id, what, logged.ts) {
                    self.notice(logged.seq, notice);
                }
            }
            Entry::Carried { id, outcome, .. } => {
                self.outages = 0;
                if let Some(notice) = self.approvals.carried(id, outcome) {
                    self.notice(logged.seq, notice);
                }
            }
            Entry::ReviewAsked { id, .. } => {
                self.outages = 0;
                self.approvals.reviewed(id);
            }
            Entry::ToolFinished { call_id, tool, outcome, .. } => {
                self.tool_finished(call_id, tool, outcome.ok, &outcome.content);
            }
            Entry::Waiting { waiting_for: WaitingFor::RateLimit, .. } => self.outages += 1,
            Entry::CancelRequested { by } => {
                self.cancelled_by = Some(by.name.clone());
                self.outages = 0;
            }
            Entry::Finished { .. } => self.finished(),
            Entry::Unknown | Entry::Erased => self.unknown_entry = true,
            Entry::Decided { .. }
            | Entry::TaintChanged { .. }
            | Entry::Trouble { .. }
            | Entry::Waiting { .. }
            | Entry::Exchanged { .. }
            | Entry::Killed { .. }
            | Entry::House { .. }
            | Entry::Resumed {} => {}
        }
    }

    /// Writes of a step: of the one under way, and of the approvals that it asked for.
    fn in_writes(&mut self, step: u32, change: impl Fn(&mut Vec<EarlierWrite>)) {
        if self.begun.is_some() && step == self.step {
            change(&mut self.writes);
        }
        self.approvals.writes_of(step).for_each(change);
    }

    fn performed(&mut self, step: u32, write: u32, effect: Option<&Value>) {
        self.in_writes(step, |writes| match effect {
            Some(effect) => {
                for earlier in writes.iter_mut().filter(|earlier| earlier.write == write) {
                    earlier.effect = Some(effect.clone());
                }
            }
            // It certainly did not happen: it may be tried again.
            None => writes.retain(|earlier| earlier.write != write),
        });
        let part = |name: &str| effect?.get(name)?.as_str();
        if write < FIRST_NOTICE
            && let (Some(kind @ ("pull_request" | "work_item")), Some(id)) = (part("kind"), part("id"))
            && let Ok(id) = id.parse()
        {
            self.newest = Some((kind.to_owned(), id));
        }
    }

    /// Something that the program itself tells the model.
    fn notice(&mut self, seq: i64, text: String) {
        self.unread.push((seq, text));
        self.answer = None;
    }

    fn say(&mut self, message: &Message) {
        if let Err(fault) = self.conversation.push(message) {
            self.fault.get_or_insert(fault);
        }
    }

    fn message(&mut self, seq: i64, text: &str) {
        self.unread.push((seq, text.to_owned()));
        self.ended = false;
        self.cancelled_by = None;
        self.question = None;
        self.answer = None;
        self.outages = 0;
        self.empty_replies = 0;
        self.same_failures = 0;
    }

    /// Makes the conversation ready to be sent: with every word that came until now. Gives the
    /// sequence number up to which the log is in it.
    pub fn before_request(&mut self) -> i64 {
        self.hand_over(self.read_to);
        self.read_to
    }

    /// Puts words that came until `read_to` into the conversation. Called only where a request is
    /// or was made, so that it never happens between a call and its result.
    fn hand_over(&mut self, read_to: i64) {
        for (seq, text) in std::mem::take(&mut self.unread) {
            match seq <= read_to {
                true => self.say(&Message::User { text }),
                false => self.unread.push((seq, text)),
            }
        }
    }

    fn replied(&mut self, turn: u32, text: &str, calls: &[Call]) {
        self.turn = turn;
        self.outages = 0;
        if calls.is_empty() && text.trim().is_empty() {
            self.empty_replies += 1;
            let text = "Your last reply was empty or cut off. Call a tool, or answer in words.".to_owned();
            self.say(&Message::User { text });
            return;
        }
        self.empty_replies = 0;
        text.clone_into(&mut self.said);
        let tool_calls = calls
            .iter()
            .map(|c| ToolCall { id: c.id.clone(), name: c.name.clone(), arguments: c.arguments.clone() })
            .collect();
        self.say(&Message::Assistant { text: text.to_owned(), tool_calls });
        self.pending = calls.to_vec();
        if calls.is_empty() && self.unread.is_empty() {
            self.answer = Some(text.to_owned());
        }
    }

    fn tool_finished(&mut self, call_id: &str, tool: &str, ok: bool, content: &str) {
        self.outages = 0;
        let Some(at) = self.pending.iter().position(|call| call.id == call_id) else { return };
        let call = self.pending.remove(at);
        self.say(&Message::Tool { call_id: call_id.to_owned(), content: content.to_owned() });
        self.begun = None;
        self.left_open = false;
        self.writes.clear();
        if ok {
            self.same_failures = 0;
            self.last_failure = None;
        } else {
            let failure = (call.name, call.arguments.clone(), content.to_owned());
            let same = self.last_failure.as_ref() == Some(&failure);
            self.same_failures = if same { self.same_failures + 1 } else { 1 };
            self.last_failure = Some(failure);
        }
        if tool == ASK_PERSON && ok {
            // Words that came before the question was asked are no answer, but they are words.
            self.question = question_of(&call.arguments).filter(|_| self.unread.is_empty());
        }
    }

    fn finished(&mut self) {
        // What a call had begun to write is looked up, should the run go on: that is its result.
        self.begun.take_if(|_| self.writes.is_empty());
        self.left_open = self.begun.is_some();
        let open = self.begun.as_ref().map(|(_, call)| call.clone());
        // Every other call has its result now, though the run ended before it was made.
        for call in std::mem::take(&mut self.pending) {
            if open.as_ref().is_none_or(|open| open.id != call.id) {
                self.not_made(call);
            }
        }
        self.pending.extend(open);
        self.question = None;
        self.cancelled_by = None;
        self.ended = true;
    }

    fn not_made(&mut self, call: Call) {
        let content = json!({ "error": "The run ended before this call was made." }).to_string();
        self.say(&Message::Tool { call_id: call.id, content });
    }

    /// Where a notice about an approval belongs: what the run is about, else what it wrote to last.
    pub fn place(&self) -> Option<(String, u32)> {
        let subject = self.order.as_ref().and_then(|order| order.subject.as_deref()).and_then(|subject| {
            let (kind, id) = subject.split_once(':')?;
            Some((kind.to_owned(), id.parse().ok()?))
        });
        subject.or_else(|| self.newest.clone())
    }

    /// Who asked it to stop, where nobody has sent it on since.
    pub fn stopped_by(&self) -> Option<&str> {
        self.cancelled_by.as_deref()
    }

    /// Number of the call that is begun next.
    pub fn next_step(&self) -> u32 {
        self.step + 1
    }

    /// What to do next.
    pub fn next(&self) -> Next {
        if self.ended {
            return Next::Nothing;
        }
        // Before everything else, also before a stop: the glass stays broken.
        if let Some(held) = self.approvals.to_review().filter(|_| self.outages <= self.patience()) {
            return Next::Review { held: Box::new(held.clone()) };
        }
        let stopped = self.cancelled_by.is_some() && !self.unknown_entry && self.outages <= self.patience();
        if let Some(look) = self.last_look().filter(|_| stopped) {
            return look;
        }
        if let Some(end) = self.end() {
            return end;
        }
        if !self.prepared {
            return Next::Prepare;
        }
        if let Some((seq, call)) = &self.begun {
            return self.go_on_with(*seq, call, self.left_open);
        }
        if let Some(call) = self.pending.first() {
            let (call, earlier) = (call.clone(), self.writes.clone());
            return Next::RunTool { step: self.next_step(), call, started: None, earlier, closing: false };
        }
        if let Some(held) = self.approvals.to_carry() {
            return Next::Carry { held: Box::new(held.clone()), closing: false };
        }
        if let Some(question) = &self.question {
            return Next::Wait { waiting_for: WaitingFor::Person, reason: question.clone() };
        }
        if self.answer.is_some() && self.approvals.open().next().is_some() {
            return Next::Wait { waiting_for: WaitingFor::Approval, reason: self.approvals.waits_for() };
        }
        if let Some(answer) = &self.answer {
            return Next::Finish { status: Status::Done, answer: answer.clone(), remedy: None };
        }
        Next::AskModel { turn: self.turn + 1 }
    }

    /// How many waits in a row for a system that is down are borne.
    fn patience(&self) -> u32 {
        if self.cancelled_by.is_some() { MAX_OUTAGES_OF_A_STOP } else { MAX_OUTAGES }
    }

    fn go_on_with(&self, started: i64, call: &Call, closing: bool) -> Next {
        let (call, earlier) = (call.clone(), self.writes.clone());
        Next::RunTool { step: self.step, call, started: Some(started), earlier, closing }
    }

    /// What a run that is stopped looks up before it ends: no write is left open of which it can be told
    /// whether it happened.
    fn last_look(&self) -> Option<Next> {
        if let Some((seq, call)) = self.begun.as_ref().filter(|_| !self.writes.is_empty()) {
            return Some(self.go_on_with(*seq, call, true));
        }
        let held = self.approvals.executing()?;
        Some(Next::Carry { held: Box::new(held.clone()), closing: true })
    }

    /// The reasons that end a run before its answer.
    fn end(&self) -> Option<Next> {
        let fail = |answer: &str, remedy: &str| {
            Some(Next::Finish {
                status: Status::Failed,
                answer: answer.to_owned(),
                remedy: Some(remedy.to_owned()),
            })
        };
        if self.unknown_entry {
            return Some(Next::Finish {
                status: Status::Parked,
                answer: "This run's log holds an entry of another version of the program.".into(),
                remedy: Some("Work this run with the version that wrote it, or start it again.".into()),
            });
        }
        if let Some(name) = &self.cancelled_by {
            return Some(Next::Finish {
                status: Status::Cancelled,
                answer: format!("Stopped by {name}."),
                remedy: None,
            });
        }
        if let Some(fault) = &self.fault {
            return fail(
                &format!("The conversation cannot go on: {fault}"),
                "Start a smaller piece of work.",
            );
        }
        let is_at_work = self.answer.is_none() || self.approvals.to_carry().is_some();
        if is_at_work && self.outages > self.patience() {
            return fail(
                "An outside system stayed out of reach for a day.",
                "See the notices above, then send the run on with a message.",
            );
        }
        if self.answer.is_some() || self.begun.is_some() {
            return None;
        }
        if self.empty_replies >= MAX_EMPTY_REPLIES {
            return fail(
                "The model answered with nothing to act on, three times.",
                "Try again or use another model.",
            );
        }
        if self.same_failures >= MAX_SAME_FAILURES {
            return fail(
                "The same tool call failed the same way three times in a row.",
                "See the last tool call; give more detail in a message to go on.",
            );
        }
        None
    }
}

fn question_of(arguments: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(arguments).ok()?;
    value.get("question")?.as_str().map(str::to_owned)
}
