//! The effect that needs a person: what a run asks, and what people answer, rightly and wrongly.

use std::collections::BTreeSet;

use ado_coworker::action::Action;
use ado_coworker::digest::Digest;
use ado_coworker::journal::{Entry, Logged, WaitingFor};
use ado_coworker::policy::approval::{
    Answer, Approval, Approver, Change, Decision, Request, Shown, State, Target, Who,
};
use ado_coworker::policy::{DEFAULT_APPROVER, Outcome, Terms, Verdict};

use super::{Dice, JournalError, Simulation, mark};

/// The effect of each run that a person has to approve.
pub const HELD: u32 = 2;
/// How long people may take, in microseconds.
const TIME: i64 = 20 * 60 * 1_000_000;
/// How often a run asks before it gives up.
const ASKS: usize = 3;
/// The version of what the effect changes.
const VERSION: &str = "v1";

/// What people said that the journal took.
#[derive(Default)]
pub struct People {
    yes: BTreeSet<String>,
    no: BTreeSet<String>,
}

/// What a run does about its held effect.
pub enum Held {
    /// Writes this; the last entry lets go of the run.
    Wait(Vec<Entry>),
    /// Writes this and goes on.
    Go(Vec<Entry>),
    /// Nobody lets it.
    GiveUp,
}

fn who(name: &str) -> Who {
    Who { name: name.to_owned(), ids: vec![format!("id-{name}")], ..Who::default() }
}

fn action(id: &str, text: &str) -> Action {
    Action::CommentOnWorkItem { project: id.to_owned(), id: 1, text: text.to_owned() }
}

fn request(run: &str, nth: usize, now: i64) -> Request {
    let id = format!("{run}-{nth}");
    let action = action(&id, "the effect");
    let digest = action.digest().unwrap();
    let verdict = Verdict {
        outcome: Outcome::Ask,
        terms: Some(Terms::default()),
        policy: digest.clone(),
        ..Verdict::default()
    };
    Request {
        run: run.to_owned(),
        step: HELD,
        write: 1,
        tool: "tool".to_owned(),
        target: Target { what: "item".to_owned(), version: VERSION.to_owned(), url: None },
        verdict,
        requested_by: who("bob"),
        agent: vec!["id-agent".to_owned()],
        taint: Vec::new(),
        shown: Shown::default(),
        expires_at: now + TIME,
        supersedes: None,
        action,
        digest,
        id,
    }
}

/// The approvals of a log, oldest first.
fn asked(log: &[Logged]) -> Vec<Approval> {
    let mut all: Vec<Approval> = Vec::new();
    for logged in log {
        match &logged.entry {
            Entry::ApprovalRequested { request } => {
                all.push(Approval::request((**request).clone(), logged.ts));
            }
            Entry::ApprovalChanged { id, what } => {
                let known = all.iter_mut().find(|known| known.request.id == *id).unwrap();
                known.apply(what, logged.ts).expect("the journal took it");
            }
            _ => {}
        }
    }
    all
}

fn changed(approval: &Approval, what: Change) -> Entry {
    Entry::ApprovalChanged { id: approval.request.id.clone(), what }
}

/// What comes before the held effect.
pub fn before(run: &str, log: &[Logged], now: i64) -> Held {
    let all = asked(log);
    let wait = |mut entries: Vec<Entry>, until: i64| {
        let (waiting_for, reason) = (WaitingFor::Approval, "a person decides".to_owned());
        entries.push(Entry::Waiting { waiting_for, reason, wake_at: Some(until + 1) });
        Held::Wait(entries)
    };
    let ask = |entries: Vec<Entry>| {
        let request = Box::new(request(run, all.len() + 1, now));
        let until = request.expires_at;
        wait(entries.into_iter().chain([Entry::ApprovalRequested { request }]).collect(), until)
    };
    let Some(last) = all.last() else { return ask(Vec::new()) };
    match last.state {
        State::Denied => Held::GiveUp,
        State::Approved | State::Pending if now >= last.request.expires_at => {
            Held::Go(vec![changed(last, Change::Expired)])
        }
        State::Pending => wait(Vec::new(), last.request.expires_at),
        State::Approved => {
            let (digest, target) = (last.digest.clone(), VERSION.to_owned());
            Held::Go(vec![changed(last, Change::Executing { digest, target }), mark("intent", HELD)])
        }
        _ if all.len() < ASKS => ask(Vec::new()),
        _ => Held::GiveUp,
    }
}

/// What comes after it.
pub fn after(log: &[Logged]) -> Vec<Entry> {
    let all = asked(log);
    let executing = all.iter().filter(|approval| approval.state == State::Executing);
    executing.map(|approval| changed(approval, Change::Executed)).collect()
}

/// An answer, and why the journal must not take it; none where it may.
fn answer(dice: &mut Dice, approval: &Approval, now: i64, calm: bool) -> (Change, Option<&'static str>) {
    let mut by = Approver {
        who: who("alice"),
        memberships: vec![DEFAULT_APPROVER.to_owned()],
        is_human: true,
        signed_in_at: Some(now),
    };
    let right = approval.digest.clone();
    match if calm { 9 } else { dice.below(10) } {
        0 => (decided(by, Answer::Deny, right), None),
        1 => {
            let other = action(&approval.request.id, "another effect").digest().unwrap();
            (decided(by, Answer::Approve, other), Some("for another effect"))
        }
        2 => {
            by.who = who("bob");
            (decided(by, Answer::Approve, right), Some("from who gave the order"))
        }
        3 => {
            by.who = who("agent");
            (decided(by, Answer::Approve, right), Some("from the agent"))
        }
        4 => {
            by.memberships = Vec::new();
            (decided(by, Answer::Approve, right), Some("from somebody of no group"))
        }
        5 => {
            by.is_human = false;
            (decided(by, Answer::Approve, right), Some("from a program"))
        }
        6 => (Change::Cancelled { why: "not wanted".to_owned() }, None),
        _ => (decided(by, Answer::Approve, right), None),
    }
}

fn decided(by: Approver, answer: Answer, digest: Digest) -> Change {
    let reason = "because".to_owned();
    Change::Decided(Box::new(Decision {
        by,
        answer,
        digest,
        reason,
        edits: None,
        grant: None,
        break_glass: None,
    }))
}

impl Simulation {
    /// A person looks at an approval, also at one that is over, and says something.
    pub(super) async fn somebody_decides(&mut self) -> Result<(), String> {
        let state = self.calm.then_some(State::Pending);
        let all = self.journal.approvals(state).await.map_err(|error| error.to_string())?;
        if all.is_empty() {
            return Ok(());
        }
        let (run, approval) = &all[self.dice.below(all.len() as u64) as usize];
        let now = self.clock.now().as_microsecond();
        let (change, wrong) = answer(&mut self.dice, approval, now, self.calm);
        let is_over = now >= approval.request.expires_at;
        let id = approval.request.id.clone();
        let said = Entry::ApprovalChanged { id: id.clone(), what: change.clone() };
        match (self.journal.add_from_outside(run, said).await, wrong) {
            (Ok(_), Some(wrong)) => Err(format!("3: an answer {wrong} was taken")),
            (Ok(_), None) if approval.state != State::Pending && approval.state != State::Approved => {
                Err(format!("3: {change:?} was taken of an approval that is {:?}", approval.state))
            }
            (Ok(_), None) => {
                if let Change::Decided(decision) = change {
                    if is_over {
                        return Err("3: an answer was taken after its time".to_owned());
                    }
                    let said = match decision.answer {
                        Answer::Approve => &mut self.people.yes,
                        Answer::Deny => &mut self.people.no,
                    };
                    if !said.insert(id) {
                        return Err("3: an answer was taken twice".to_owned());
                    }
                }
                Ok(())
            }
            (Err(JournalError::Approval(_)), _) => Ok(()),
            (Err(JournalError::Full | JournalError::Store(_)), _) if !self.calm => Ok(()),
            (Err(error), _) => Err(format!("an answer could not be written: {error}")),
        }
    }

    /// Whether somebody let a run have its held effect: by the approval that it goes by.
    pub(super) fn is_let(&self, log: &[Logged]) -> bool {
        let newest = asked(log).pop();
        newest.is_some_and(|approval| {
            let id = &approval.request.id;
            self.people.yes.contains(id) && !self.people.no.contains(id)
        })
    }
}
