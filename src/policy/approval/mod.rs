//! Approvals: a person's decision on one exact action, as a pure state machine.
//!
//! Purpose: [`Approval`] is folded from the entries of a run's log. The journal folds it too, inside
//! the transaction that writes an entry, and refuses an entry that the machine does not allow.
//! Invariant: an approval is bound to the digest of its action. Nothing but an approval in the
//! state `executing`, or an open grant, gives a [`Proof`]; distinct eligible people only are counted;
//! time alone never approves.
//! Must never know: input, output, the clock, who is signed in.

mod edits;
mod grant;
mod people;
#[cfg(test)]
mod tests;
mod words;

use serde::{Deserialize, Serialize};

use super::{Outcome, Verdict};
use crate::action::Action;
use crate::digest::Digest;
use crate::weaken::{Defence, off};

pub use edits::Edits;
pub use grant::{GrantAsked, MAX_WINDOW_MINUTES, OpenGrant, Use, WINDOW_MINUTES, resource};
pub use people::{Approver, FRESH_SIGN_IN, Who};
pub use words::{Answer, Change, Decision, Refusal, Request, Shown, Source, State, Target};

/// Shortest reason for breaking the glass, in characters.
pub const BREAK_GLASS_REASON: usize = 20;
/// Longest reason that is taken, in characters.
pub const MAX_REASON: usize = 2_000;
/// Most approvals of one run that may be open at once: more wear people out (GOVERNANCE §4.1).
pub const MAX_OPEN: usize = 5;
/// Most approvals that one co-worker may ask for within an hour.
pub const MAX_PER_HOUR: i64 = 20;
/// The role of those who may break the glass.
pub const BREAK_GLASS: &str = "break_glass";

/// That an approval, or a grant, covers one exact action. Only the machine makes one.
#[derive(Debug)]
pub struct Proof {
    digest: Digest,
    approval: String,
}

impl Proof {
    /// Digest of the action that is covered.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Id of the approval behind it.
    pub fn approval(&self) -> &str {
        &self.approval
    }
}

/// An approval and everything that happened to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// What is asked.
    pub request: Request,
    /// Where it is.
    pub state: State,
    /// When it was asked, microseconds since 1970.
    pub requested_at: i64,
    /// When it last changed, microseconds since 1970.
    pub changed_at: i64,
    /// Who decided what, in order, with the time.
    pub decisions: Vec<(i64, Decision)>,
    /// The action after a person's changes.
    pub edited: Option<Action>,
    /// Digest of the action as it would be carried out now.
    pub digest: Digest,
    /// One more person is needed, because a change widened it.
    pub widened: bool,
    /// Why it is where it is, in words.
    pub why: String,
    /// Leave for more than this once.
    pub grant: Option<OpenGrant>,
    /// How often it was begun after it was known not to be done. Never two at once.
    pub executions: u32,
}

impl Approval {
    /// Begins with what the judge said: what is denied is refused at once.
    pub fn request(request: Request, at: i64) -> Self {
        let state = match request.verdict.outcome {
            Outcome::Deny => State::Refused,
            Outcome::Ask | Outcome::Allow => State::Pending,
        };
        Self {
            digest: request.digest.clone(),
            state,
            requested_at: at,
            changed_at: at,
            decisions: Vec::new(),
            edited: None,
            widened: false,
            why: String::new(),
            grant: None,
            executions: 0,
            request,
        }
    }

    /// The action as it would be carried out now, contents of files by digest.
    pub fn action(&self) -> &Action {
        self.edited.as_ref().unwrap_or(&self.request.action)
    }

    /// Four letters and digits that people can say: the beginning of the digest that was asked for. It
    /// stays when somebody changes the action, so that people and the model know which one is meant.
    pub fn code(&self) -> String {
        code(&self.request.digest)
    }

    /// Where it is at this time: one whose time is over is expired, whether or not that was
    /// written down yet.
    pub fn state_at(&self, now: i64) -> State {
        let waits = self.state.is_open() || self.state == State::Approved;
        if waits && now >= self.request.expires_at { State::Expired } else { self.state }
    }

    /// People who approved the action as it is now, each once.
    pub fn approved_by(&self) -> Vec<&Who> {
        let mut people: Vec<&Who> = Vec::new();
        for (_, decision) in &self.decisions {
            let approves = decision.answer == Answer::Approve && self.counts(decision);
            if approves && !people.iter().any(|known| known.same(&decision.by.who)) {
                people.push(&decision.by.who);
            }
        }
        people
    }

    /// Whether a decision was about the action as it is now.
    fn counts(&self, decision: &Decision) -> bool {
        match (&self.edited, &decision.edits) {
            (Some(_), Some(edits)) => edits
                .apply(&self.request.action)
                .is_ok_and(|action| digest_of(&action) == Some(self.digest.clone())),
            _ => decision.digest == self.digest || off(Defence::ApprovalDigest),
        }
    }

    /// How many more people have to approve.
    pub fn missing(&self) -> usize {
        let yes = |decision: &&Decision| decision.answer == Answer::Approve && self.counts(decision);
        let counted: Vec<&Decision> =
            self.decisions.iter().map(|(_, decision)| decision).filter(yes).collect();
        if counted.iter().any(|decision| decision.break_glass.is_some()) {
            return 0;
        }
        let people: Vec<&Approver> = counted.iter().map(|decision| &decision.by).collect();
        let approvers = self.request.terms().approvers;
        let wanted = approvers.min.max(1) as usize + usize::from(self.widened);
        wanted.saturating_sub(people::count(&approvers, &people))
    }

    /// The ticket, where the glass was broken.
    pub fn break_glass(&self) -> Option<&Decision> {
        let broke =
            |decision: &&Decision| decision.answer == Answer::Approve && decision.break_glass.is_some();
        self.decisions.iter().map(|(_, decision)| decision).find(broke)
    }

    /// Takes one change, or says why it is not possible; then nothing has changed.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn apply(&mut self, change: &Change, at: i64) -> Result<(), Refusal> {
        match change {
            Change::Decided(decision) => self.decide(decision, at)?,
            Change::Executing { digest, target } => self.begin(digest, target, at)?,
            Change::Executed => self.go(State::Executed, "", &[State::Executing, State::Unknown], change)?,
            Change::Failed { error } => {
                self.go(State::Failed, error, &[State::Executing, State::Unknown, State::Approved], change)?;
            }
            Change::Unknown { why } => self.go(State::Unknown, why, &[State::Executing], change)?,
            Change::NotDone => {
                self.go(State::Approved, "", &[State::Executing, State::Unknown], change)?;
            }
            Change::Expired => {
                if at < self.request.expires_at {
                    return Err(self.out_of_order(change));
                }
                self.go(
                    State::Expired,
                    "Nobody decided, or it was not carried out, in time.",
                    &WAITING,
                    change,
                )?;
            }
            Change::Cancelled { why } => self.go(State::Cancelled, why, &WAITING, change)?,
            Change::Superseded { why } => self.go(State::Superseded, why, &WAITING, change)?,
            Change::Revoked { why, by } => {
                self.is_no_agent(by.as_ref())?;
                self.go(State::Revoked, &told(why, by.as_ref()), &[State::Approved], change)?;
            }
            Change::GrantUsed { used } => match &mut self.grant {
                Some(grant) if LEAVE.contains(&self.state) => grant.take(used, at)?,
                _ => return Err(self.out_of_order(change)),
            },
            Change::GrantEnded { why, by } => {
                self.is_no_agent(by.as_ref())?;
                let open = self.grant.as_mut().filter(|grant| grant.is_open() && at < grant.until);
                match open {
                    Some(grant) => grant.end(&told(why, by.as_ref())),
                    None => return Err(self.out_of_order(change)),
                }
            }
        }
        self.changed_at = at;
        Ok(())
    }

    fn is_no_agent(&self, by: Option<&Who>) -> Result<(), Refusal> {
        match by.is_some_and(|who| self.request.agent.iter().any(|id| who.is_named(id))) {
            true => Err(Refusal::NotEligible("The co-worker takes nothing of its own back.".into())),
            false => Ok(()),
        }
    }

    fn out_of_order(&self, change: &Change) -> Refusal {
        Refusal::OutOfOrder { state: self.state, change: change.name() }
    }

    fn go(&mut self, to: State, why: &str, from: &[State], change: &Change) -> Result<(), Refusal> {
        if !from.contains(&self.state) {
            return Err(self.out_of_order(change));
        }
        self.state = to;
        why.clone_into(&mut self.why);
        Ok(())
    }

    fn decide(&mut self, decision: &Decision, at: i64) -> Result<(), Refusal> {
        if !self.state.is_open() {
            return Err(Refusal::Closed(self.state));
        }
        if at >= self.request.expires_at {
            return Err(Refusal::Expired);
        }
        people::may_decide(&self.request, decision, at)?;
        if decision.digest != self.digest && !off(Defence::ApprovalDigest) {
            return Err(Refusal::OtherDigest);
        }
        self.check_reason(decision)?;
        if decision.answer == Answer::Deny {
            self.state = State::Denied;
            self.why = decision.reason.trim().to_owned();
            self.decisions.push((at, decision.clone()));
            return Ok(());
        }
        let again = self.approved_by().iter().any(|known| known.same(&decision.by.who));
        if again && decision.edits.is_none() && !off(Defence::ApprovalPeople) {
            return Err(Refusal::Twice(decision.by.who.name.clone()));
        }
        let mut next = self.clone();
        if let Some(edits) = decision.edits.as_ref().filter(|edits| !edits.is_empty()) {
            let action = edits.apply(&self.request.action).map_err(Refusal::Edit)?;
            let digest =
                digest_of(&action).ok_or_else(|| Refusal::Edit("It cannot be written down.".into()))?;
            next.widened |= edits.widens(&self.request.action);
            (next.edited, next.digest) = (Some(action), digest);
        }
        if let Some(asked) = &decision.grant {
            next.grant = grant::open(&next, decision, asked, at)?;
        }
        next.decisions.push((at, decision.clone()));
        next.state = if next.missing() == 0 { State::Approved } else { State::PartiallyApproved };
        *self = next;
        Ok(())
    }

    fn check_reason(&self, decision: &Decision) -> Result<(), Refusal> {
        let length = decision.reason.trim().chars().count();
        if length > MAX_REASON {
            return Err(Refusal::Reason(format!(
                "The reason has {length} characters; at most {MAX_REASON} are taken."
            )));
        }
        if let Some(ticket) = &decision.break_glass {
            if length < BREAK_GLASS_REASON || ticket.trim().is_empty() {
                return Err(Refusal::Reason(format!(
                    "Breaking the glass needs a ticket and a reason of at least {BREAK_GLASS_REASON} characters."
                )));
            }
            return Ok(());
        }
        let is_needed = decision.answer == Answer::Deny || self.request.terms().require_reason;
        match is_needed && length == 0 {
            true => Err(Refusal::Reason("A reason is needed.".into())),
            false => Ok(()),
        }
    }

    /// The one way to execution: approved, in time, the same action on the same version.
    fn begin(&mut self, digest: &Digest, target: &str, at: i64) -> Result<(), Refusal> {
        let change = Change::Executing { digest: digest.clone(), target: target.to_owned() };
        if self.state != State::Approved || self.missing() > 0 {
            return Err(self.out_of_order(&change));
        }
        if at >= self.request.expires_at {
            return Err(Refusal::Expired);
        }
        if *digest != self.digest && !off(Defence::ApprovalDigest) {
            return Err(Refusal::OtherDigest);
        }
        if !off(Defence::ApprovalDigest) && target != self.request.target.version {
            let wanted = self.request.target.version.clone();
            return Err(Refusal::TargetMoved { wanted, found: target.to_owned() });
        }
        self.state = State::Executing;
        self.executions += 1;
        Ok(())
    }

    /// Until when it gives leave for more actions, microseconds since 1970; none where it does not.
    pub fn leave_until(&self) -> Option<i64> {
        let grant = self.grant.as_ref().filter(|grant| grant.is_open())?;
        LEAVE.contains(&self.state).then_some(grant.until)
    }

    /// The proof for the action that is being carried out; none in any other state.
    pub fn proof(&self) -> Option<Proof> {
        (self.state == State::Executing)
            .then(|| Proof { digest: self.digest.clone(), approval: self.request.id.clone() })
    }

    /// The proof for an action that this approval's grant was just used for.
    pub fn granted(&self, digest: &Digest) -> Option<Proof> {
        let used = self.grant.as_ref().is_some_and(|grant| grant.was_used_for(digest));
        used.then(|| Proof { digest: digest.clone(), approval: self.request.id.clone() })
    }
}

/// The states in which the grant of an approval counts: enough people have given it.
const LEAVE: [State; 3] = [State::Approved, State::Executing, State::Executed];

/// The states from which an approval can still end without being carried out.
const WAITING: [State; 4] = [State::Requested, State::Pending, State::PartiallyApproved, State::Approved];

fn digest_of(action: &Action) -> Option<Digest> {
    action.digest().ok()
}

fn told(why: &str, by: Option<&Who>) -> String {
    match by {
        Some(who) => format!("{} took it back. {why}", who.name).trim_end().to_owned(),
        None => why.to_owned(),
    }
}

/// Four letters and digits that people can say and hear apart.
pub fn code(digest: &Digest) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let number = u32::from_str_radix(digest.short(), 16).unwrap_or_default();
    let letter = |at: u32| char::from(LETTERS[(number >> (27 - 5 * at)) as usize & 31]);
    (0..4).map(letter).collect()
}
