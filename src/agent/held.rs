//! The approvals of a run, folded from its log: what waits for people, what is to be carried out,
//! and what the model is told of it. Without input or output, like the rest of the core.

use crate::journal::{Call, Outcome};
use crate::policy::approval::{Answer, Approval, Change, Decision, Request, State};
use crate::tools::EarlierWrite;

/// Begins every notice to the model that no person wrote.
const NOTICE: &str = "[Notice of the program, not of a person]";

/// An approval and the tool call that asked for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The approval.
    pub approval: Approval,
    /// The call, which is made again when it is approved.
    pub call: Call,
    /// Writes of that call that the log knows.
    pub writes: Vec<EarlierWrite>,
    carried: bool,
    /// A review of the broken glass was asked for.
    reviewed: bool,
}

impl Held {
    /// Whether the call has to be made again.
    fn is_to_carry(&self) -> bool {
        use State::{Approved, Executed, Executing, Unknown};
        !self.carried && matches!(self.approval.state, Approved | Executing | Unknown | Executed)
    }
}

/// All approvals of a run.
#[derive(Clone, Debug, Default)]
pub struct Approvals {
    held: Vec<Held>,
}

impl Approvals {
    /// One was asked for, by this call.
    pub fn requested(&mut self, request: &Request, call: &Call, writes: &[EarlierWrite], at: i64) {
        let approval = Approval::request(request.clone(), at);
        // A call that is made again keeps what it wrote before.
        let before = self.held.iter().find(|held| held.approval.request.step == request.step);
        let writes = before.map_or_else(|| writes.to_vec(), |held| held.writes.clone());
        self.held.push(Held { approval, call: call.clone(), writes, carried: false, reviewed: false });
    }

    /// The call of an earlier step that asked.
    pub fn call_of(&self, step: u32) -> Option<&Call> {
        self.held.iter().find(|held| held.approval.request.step == step).map(|held| &held.call)
    }

    /// Writes of a step that asked, where the step is not under way for the first time.
    pub fn writes_of(&mut self, step: u32) -> impl Iterator<Item = &mut Vec<EarlierWrite>> {
        self.held
            .iter_mut()
            .filter(move |held| held.approval.request.step == step)
            .map(|held| &mut held.writes)
    }

    /// Something happened to one. What the model is to be told, where it is told now.
    pub fn changed(&mut self, id: &str, what: &Change, at: i64) -> Option<String> {
        let held = self.held.iter_mut().find(|held| held.approval.request.id == id)?;
        // The journal took it, so it is possible; a grant of another run is not ours to follow.
        held.approval.apply(what, at).ok()?;
        let Approval { state, why, .. } = &held.approval;
        let of = format!("{NOTICE} Approval {} of {}", held.approval.code(), held.call.name);
        match (what, state) {
            (Change::Decided(decision), State::Denied) => Some(format!(
                "{of}: {} said no. It was not done. Their reason: {why}\nDo not try it again, nor a way around it; go on \
                 without it.",
                decision.by.who.name
            )),
            (_, State::Expired) => Some(format!(
                "{of}: nobody decided in time, so it was not done. Name it in your answer as left for a person."
            )),
            (_, State::Superseded) => Some(format!(
                "{of}: it was not done, because what it was asked for is not as it was: {why}\nIf it is still wanted, read \
                 again and call the tool again."
            )),
            (_, State::Revoked) => Some(format!("{of}: it was not done after all: {why}\nGo on without it.")),
            (_, State::Failed) => Some(format!("{of}: it was approved and tried, and failed: {why}")),
            _ => None,
        }
    }

    /// The call behind one was made again. What the model is told.
    pub fn carried(&mut self, id: &str, outcome: &Outcome) -> Option<String> {
        let held = self.held.iter_mut().find(|held| held.approval.request.id == id)?;
        held.carried = true;
        let approval = &held.approval;
        let names: Vec<&str> = approval.approved_by().iter().map(|who| who.name.as_str()).collect();
        let changes = approval.decisions.iter().rev().find_map(|(_, decision)| edits(decision));
        let how =
            changes.map_or("approved it".to_owned(), |edits| format!("approved it with changes: {edits}"));
        Some(format!(
            "{NOTICE} Approval {} of {}: {} {how}. It is done. Result of the call: {}",
            approval.code(),
            held.call.name,
            names.join(" and "),
            outcome.content
        ))
    }

    /// A review of this one was asked for.
    pub fn reviewed(&mut self, id: &str) {
        self.held
            .iter_mut()
            .filter(|held| held.approval.request.id == id)
            .for_each(|held| held.reviewed = true);
    }

    /// The next one for which the glass was broken and no review was asked for yet.
    pub fn to_review(&self) -> Option<&Held> {
        self.held.iter().find(|held| !held.reviewed && held.approval.break_glass().is_some())
    }

    /// The next approval whose call has to be made again.
    pub fn to_carry(&self) -> Option<&Held> {
        self.held.iter().find(|held| held.is_to_carry())
    }

    /// One whose action was begun, and whose end is not written down.
    pub fn executing(&self) -> Option<&Held> {
        self.held.iter().find(|held| held.is_to_carry() && held.approval.state == State::Executing)
    }

    /// Those that people have not decided on.
    pub fn open(&self) -> impl Iterator<Item = &Approval> {
        self.held.iter().map(|held| &held.approval).filter(|approval| approval.state.is_open())
    }

    /// Those that can still end without being carried out, when the run ends.
    pub fn unsettled(&self) -> impl Iterator<Item = &Approval> {
        let waits = |approval: &&Approval| approval.state.is_open() || approval.state == State::Approved;
        self.held.iter().map(|held| &held.approval).filter(waits)
    }

    /// Every approval of the run.
    pub fn all(&self) -> Vec<Approval> {
        self.held.iter().map(|held| held.approval.clone()).collect()
    }

    /// When the first of those that wait ends, microseconds since 1970.
    pub fn first_expiry(&self) -> Option<i64> {
        self.open().map(|approval| approval.request.expires_at).min()
    }

    /// What the run waits for, in words.
    pub fn waits_for(&self) -> String {
        let one = |approval: &Approval| {
            let asked = approval.request.terms().approvers.any_of.join(" or ");
            format!("{} ({}), from {asked}", approval.code(), approval.request.action.kind())
        };
        let all: Vec<String> = self.open().map(one).collect();
        format!("Waits for approval {}.", all.join("; "))
    }
}

fn edits(decision: &Decision) -> Option<String> {
    let edits =
        decision.edits.as_ref().filter(|edits| !edits.is_empty() && decision.answer == Answer::Approve)?;
    serde_json::to_string(edits).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;
    use crate::policy::Verdict;
    use crate::policy::approval::{Shown, Target, Who};

    fn held(state: State) -> Held {
        let action = Action::CommentOnWorkItem { project: "P".into(), id: 1, text: "t".into() };
        let digest = action.digest().unwrap();
        let request = Request {
            id: "a".into(),
            run: "r".into(),
            step: 1,
            write: 1,
            tool: "comment_on_work_item".into(),
            verdict: Verdict { policy: digest.clone(), ..Verdict::default() },
            action,
            digest,
            target: Target::default(),
            requested_by: Who::default(),
            agent: Vec::new(),
            taint: Vec::new(),
            shown: Shown::default(),
            expires_at: 0,
            supersedes: None,
        };
        let mut approval = Approval::request(request, 0);
        approval.state = state;
        let call = Call { id: "c".into(), name: "comment_on_work_item".into(), arguments: "{}".into() };
        Held { approval, call, writes: Vec::new(), carried: false, reviewed: false }
    }

    #[test]
    fn what_is_under_way_is_seen_behind_what_waits_for_its_turn() {
        let approvals = Approvals { held: vec![held(State::Approved), held(State::Executing)] };
        assert_eq!(approvals.to_carry().unwrap().approval.state, State::Approved);
        assert_eq!(approvals.executing().unwrap().approval.state, State::Executing);
        // What nobody could tell once is not looked up before an end for ever.
        let approvals = Approvals { held: vec![held(State::Unknown)] };
        assert!(approvals.to_carry().is_some() && approvals.executing().is_none());
    }
}
