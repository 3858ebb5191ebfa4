//! A run as people and the API see it: a fold over its log.

use serde::Serialize;
use serde_json::Value;

use super::{Entry, Link, Logged, Outcome, Status, Usage};
use crate::policy::Outcome as Judged;
use crate::policy::approval::{Answer, Approval, Change, State};

/// Everything that can be told of a run from its log.
#[derive(Clone, Debug, Default)]
pub struct RunView {
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// What was made, in order, each thing once.
    pub links: Vec<Link>,
    /// Tokens of all turns.
    pub usage: Usage,
    /// The newest answer.
    pub answer: Option<String>,
    /// What a person can do, where the run did not end well.
    pub remedy: Option<String>,
    /// Why it waits, where it does.
    pub waiting_reason: Option<String>,
    /// The model that answered last, as it named itself.
    pub model: Option<String>,
    /// Model turns so far.
    pub turns: u32,
    /// What was left to people, in order.
    pub approvals: Vec<Approval>,
    /// Sequence number of the newest entry.
    pub last_seq: i64,
    /// Which step asked for which approval.
    asking: Vec<(String, usize)>,
    /// Where each tool call is among the steps, by its number.
    places: Vec<(u32, usize)>,
}

/// What kind of thing a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// A person said something.
    Message,
    /// The model said something.
    Reply,
    /// A tool call.
    Tool,
    /// Something the run tells of itself: trouble, waiting, the end.
    Notice,
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Under way.
    Running,
    /// Did what was asked.
    Ok,
    /// Did not.
    Failed,
    /// Was not allowed.
    Refused,
    /// Waits for people.
    Waiting,
}

/// One thing in the timeline.
#[derive(Clone, Debug)]
pub struct Step {
    /// Sequence number of the entry that began it.
    pub seq: i64,
    /// Sequence number of the newest entry that changed it.
    pub changed: i64,
    /// When it began, microseconds since 1970.
    pub ts: i64,
    /// What it is.
    pub kind: StepKind,
    /// How it stands.
    pub status: StepStatus,
    /// Who said it: a person's or the model's name.
    pub from: String,
    /// Words: a message, a reply, a summary.
    pub text: String,
    /// Tool name.
    pub tool: Option<String>,
    /// Arguments of the tool.
    pub arguments: Value,
    /// What the model was given.
    pub result: String,
    /// Where the thing can be seen.
    pub target_url: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Unified diff of a push.
    pub diff: Option<String>,
    /// What was written outside, or was not allowed to be.
    pub writes: Vec<Write>,
    /// What a person can do, where it did not go well.
    pub remedy: Option<String>,
}

/// One outside write of a step, and what the judge said.
#[derive(Clone, Debug)]
pub struct Write {
    /// The action's name.
    pub action: String,
    /// Allow, ask or deny.
    pub outcome: Judged,
    /// The rules that decided.
    pub rules: Vec<String>,
    /// Short form of the action's digest; none where it was not allowed.
    pub digest: Option<String>,
}

impl RunView {
    /// Folds a whole log.
    pub fn of(log: &[Logged]) -> Self {
        let mut view = Self::default();
        for logged in log {
            view.apply(logged);
        }
        view
    }

    /// Takes the next entry.
    pub fn apply(&mut self, logged: &Logged) {
        self.last_seq = logged.seq;
        match &logged.entry {
            Entry::Message { from, text } => {
                let mut step = Step::new(logged, StepKind::Message, text);
                step.from = from.name.clone();
                self.waiting_reason = None;
                self.remedy = None;
                self.steps.push(step);
            }
            Entry::Replied { text, usage, model, duration_ms, .. } => {
                self.turns += 1;
                // What went wrong before is over.
                self.remedy = None;
                self.model = Some(model.clone());
                self.usage.input += usage.input;
                self.usage.cached += usage.cached;
                self.usage.output += usage.output;
                if !text.trim().is_empty() {
                    let mut step = Step::new(logged, StepKind::Reply, text);
                    step.from = model.clone();
                    step.duration_ms = Some(*duration_ms);
                    self.steps.push(step);
                }
            }
            Entry::ToolStarted { step: number, tool, arguments, .. } => {
                let mut step = Step::new(logged, StepKind::Tool, "");
                step.status = StepStatus::Running;
                step.tool = Some(tool.clone());
                step.arguments = arguments.clone();
                self.places.push((*number, self.steps.len()));
                self.steps.push(step);
            }
            Entry::Decided { step, .. } | Entry::Intended { step, .. } | Entry::ToolFinished { step, .. } => {
                self.in_step(*step, logged)
            }
            Entry::ApprovalRequested { request } => {
                self.approvals.push(Approval::request((**request).clone(), logged.ts));
                let write = Write {
                    action: request.action.kind().to_owned(),
                    outcome: request.verdict.outcome,
                    rules: request.verdict.rules.clone(),
                    digest: Some(request.digest.short().to_owned()),
                };
                self.asking.push((request.id.clone(), self.place_of(request.step)));
                if let Some(step) = self.asking_step(&request.id) {
                    step.writes.push(write);
                }
            }
            Entry::ApprovalChanged { id, what } => self.approval_changed(logged, id, what),
            Entry::Carried { id, outcome, .. } => self.carried(logged, id, outcome),
            Entry::ReviewAsked { id, work_item, why_not } => {
                let asked = self.approvals.iter().find(|known| known.request.id == *id);
                let code = asked.map(Approval::code).unwrap_or_default();
                let text = match why_not {
                    None => format!(
                        "The glass was broken for {code}: a work item asks for the review within 24 hours."
                    ),
                    Some(why) => format!(
                        "The glass was broken for {code}, and no work item could ask for the review: {why}"
                    ),
                };
                let mut step = Step::new(logged, StepKind::Notice, &text);
                step.status = if why_not.is_some() { StepStatus::Failed } else { StepStatus::Ok };
                step.remedy = why_not.as_ref().map(|_| "Make the work item by hand.".to_owned());
                step.target_url.clone_from(work_item);
                self.steps.push(step);
                self.links.extend(work_item.clone().map(|url| Link {
                    kind: "work_item".into(),
                    title: format!("Review of {code}"),
                    url,
                }));
            }
            Entry::Trouble { what, remedy } => {
                let mut step = Step::new(logged, StepKind::Notice, what);
                step.status = StepStatus::Failed;
                step.remedy = remedy.clone();
                self.remedy.clone_from(remedy);
                self.steps.push(step);
            }
            Entry::Waiting { reason, .. } => self.waiting_reason = Some(reason.clone()),
            Entry::Resumed {} => self.waiting_reason = None,
            Entry::CancelRequested { by } => {
                let text = format!("{} asked to stop.", by.name);
                self.steps.push(Step::new(logged, StepKind::Notice, &text));
            }
            Entry::Killed { by, reason } => {
                let why = if reason.is_empty() { String::new() } else { format!(" {reason}") };
                let text = format!("{} ended it at once.{why}", by.name);
                self.steps.push(Step::new(logged, StepKind::Notice, &text));
            }
            Entry::Finished { status, answer, remedy } => {
                self.finish(logged, *status, answer, remedy.as_deref())
            }
            Entry::Erased => {}
            Entry::Unknown => {
                let text = "This entry was written by another version of the program.";
                self.steps.push(Step::new(logged, StepKind::Notice, text));
            }
            Entry::Created { .. }
            | Entry::Prepared { .. }
            | Entry::Performed { .. }
            | Entry::TaintChanged { .. }
            | Entry::Exchanged { .. }
            | Entry::House { .. } => {}
        }
    }

    /// The place of a tool call among the steps.
    fn place_of(&self, step: u32) -> usize {
        // By its number, not by counting: of an old run the first calls may be erased.
        let known = self.places.iter().rev().find(|(number, _)| *number == step);
        known.map_or(usize::MAX, |(_, at)| *at)
    }

    fn asking_step(&mut self, id: &str) -> Option<&mut Step> {
        let at = self.asking.iter().find(|(known, _)| known == id).map(|(_, at)| *at)?;
        self.steps.get_mut(at)
    }

    fn approval_changed(&mut self, logged: &Logged, id: &str, what: &Change) {
        let Some(approval) = self.approvals.iter_mut().find(|known| known.request.id == id) else { return };
        // The journal took it, so it is possible.
        let _ = approval.apply(what, logged.ts);
        let (state, why, code) = (approval.state, approval.why.clone(), approval.code());
        if let Change::Decided(decision) = what {
            let who = &decision.by.who.name;
            let did = match (decision.answer, state) {
                (Answer::Deny, _) => format!("{who} denied {code}. {}", decision.reason),
                (Answer::Approve, State::PartiallyApproved) => {
                    format!("{who} approved {code}; more people are needed.")
                }
                (Answer::Approve, _) => format!("{who} approved {code}. {}", decision.reason),
            };
            self.steps.push(Step::new(logged, StepKind::Notice, did.trim_end()));
        }
        if let Change::GrantEnded { by: Some(who), .. } = what {
            let text = format!("{} ended the leave of {code} for more of its kind.", who.name);
            self.steps.push(Step::new(logged, StepKind::Notice, &text));
        }
        let ended = state.is_final() && state != State::Executed;
        if let Some(step) = self.asking_step(id).filter(|_| ended) {
            step.changed = logged.seq;
            step.status = if state == State::Denied { StepStatus::Refused } else { StepStatus::Failed };
            let why = if why.is_empty() { String::new() } else { format!(": {why}") };
            step.text = format!("Approval {code} is {}{why}", state.as_str().replace('_', " "));
        }
    }

    fn carried(&mut self, logged: &Logged, id: &str, outcome: &Outcome) {
        let Some(step) = self.asking_step(id) else { return };
        step.changed = logged.seq;
        step.finish(outcome);
        step.status = if outcome.ok { StepStatus::Ok } else { StepStatus::Failed };
        self.link(outcome);
    }

    fn link(&mut self, outcome: &Outcome) {
        for link in &outcome.links {
            if !self.links.iter().any(|known| known.url == link.url) {
                self.links.push(link.clone());
            }
        }
    }

    fn in_step(&mut self, step: u32, logged: &Logged) {
        let at = self.place_of(step);
        let Some(step) = self.steps.get_mut(at) else { return };
        // An approved action is shown by its approval. A result can come when the run had ended in the call.
        let ends = matches!(logged.entry, Entry::ToolFinished { .. });
        if step.status != StepStatus::Running && !ends {
            return;
        }
        step.changed = logged.seq;
        match &logged.entry {
            Entry::Decided { action, verdict, .. } => step.writes.push(Write {
                action: action.clone(),
                outcome: verdict.outcome,
                rules: verdict.rules.clone(),
                digest: None,
            }),
            Entry::Intended { action, digest, verdict, .. } => step.writes.push(Write {
                action: action.kind().to_owned(),
                outcome: verdict.outcome,
                rules: verdict.rules.clone(),
                digest: Some(digest.short().to_owned()),
            }),
            Entry::ToolFinished { outcome, duration_ms, .. } => {
                let refused = step.writes.iter().any(|write| write.outcome != Judged::Allow);
                let waits = step.writes.iter().any(|write| write.outcome == Judged::Ask);
                step.status = match (outcome.ok, refused) {
                    (true, _) if waits => StepStatus::Waiting,
                    (true, _) => StepStatus::Ok,
                    (false, true) => StepStatus::Refused,
                    (false, false) => StepStatus::Failed,
                };
                step.finish(outcome);
                step.duration_ms = Some(*duration_ms);
                self.link(outcome);
            }
            _ => {}
        }
    }

    fn finish(&mut self, logged: &Logged, status: Status, answer: &str, remedy: Option<&str>) {
        self.answer = Some(answer.to_owned());
        self.remedy = remedy.map(str::to_owned);
        self.waiting_reason = None;
        // A call that was under way when the run ended is not under way any more.
        for step in self.steps.iter_mut().filter(|step| step.status == StepStatus::Running) {
            step.status = StepStatus::Failed;
            step.changed = logged.seq;
        }
        if status != Status::Done {
            let mut step = Step::new(logged, StepKind::Notice, answer);
            step.status = match status {
                Status::Cancelled => StepStatus::Ok,
                Status::Refused => StepStatus::Refused,
                _ => StepStatus::Failed,
            };
            step.remedy = remedy.map(str::to_owned);
            self.steps.push(step);
        }
    }
}

impl Step {
    fn finish(&mut self, outcome: &Outcome) {
        self.text = outcome.summary.clone();
        self.result = outcome.content.clone();
        self.target_url = outcome.target_url.clone();
        self.diff = outcome.diff.clone();
    }

    fn new(logged: &Logged, kind: StepKind, text: &str) -> Self {
        Self {
            seq: logged.seq,
            changed: logged.seq,
            ts: logged.ts,
            kind,
            status: StepStatus::Ok,
            from: String::new(),
            text: text.to_owned(),
            tool: None,
            arguments: Value::Null,
            result: String::new(),
            target_url: None,
            duration_ms: None,
            diff: None,
            writes: Vec::new(),
            remedy: None,
        }
    }
}
