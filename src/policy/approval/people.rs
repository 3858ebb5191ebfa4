//! Who may decide: members of the rules' panels at the time of the decision, each counted once,
//! and nobody who asked, who is the co-worker, or whose text led to the action. Admins are no
//! exception (GOVERNANCE §4.2).

use serde::{Deserialize, Serialize};

use super::{BREAK_GLASS, Decision, Refusal, Request};
use crate::policy::{Approvers, Terms};
use crate::weaken::{Defence, off};

/// How old a sign-in may be: 12 hours, in microseconds.
pub const FRESH_SIGN_IN: i64 = 12 * 3_600 * 1_000_000;

/// A person, by everything that may tell them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Display name.
    pub name: String,
    /// Account (mail address), where known.
    pub account: Option<String>,
    /// Object id in Entra and identity id in Azure DevOps, as far as known.
    pub ids: Vec<String>,
}

impl Who {
    /// Whether both may be one person. Said yes too often rather than too seldom: it only ever
    /// keeps somebody from deciding, or from being counted twice.
    pub fn same(&self, other: &Self) -> bool {
        let equal = |a: &Option<String>, b: &Option<String>| match (a, b) {
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        };
        let known = |id: &String| other.ids.iter().any(|other| other.eq_ignore_ascii_case(id));
        if self.ids.iter().any(known) || equal(&self.account, &other.account) {
            return true;
        }
        // Two that both have an account are told apart by it.
        let one_has_none = self.account.is_none() || other.account.is_none();
        one_has_none && self.names().iter().any(|name| other.names().contains(name))
    }

    /// What a person without an account may be called.
    fn names(&self) -> Vec<String> {
        let local = self.account.as_deref().and_then(|account| account.split('@').next());
        let first = self.name.split(' ').next();
        [Some(self.name.as_str()), local, first]
            .into_iter()
            .flatten()
            .filter(|name| !name.is_empty())
            .map(str::to_lowercase)
            .collect()
    }

    pub(super) fn is_named(&self, id: &str) -> bool {
        self.ids.iter().chain(&self.account).any(|own| own.eq_ignore_ascii_case(id))
    }
}

/// A person who decides, as they are at that moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approver {
    /// Who.
    pub who: Who,
    /// Names of roles and object ids of groups they are in now.
    pub memberships: Vec<String>,
    /// They signed in as a person: no agent's and no application's token.
    pub is_human: bool,
    /// When they signed in, microseconds since 1970; none where they did not.
    pub signed_in_at: Option<i64>,
}

impl Approver {
    fn is_in(&self, approvers: &Approvers) -> bool {
        let is = |wanted: &String| self.memberships.iter().any(|own| own.eq_ignore_ascii_case(wanted));
        approvers.any_of.iter().any(is)
    }
}

/// How many of these people count for a rule: members, each person once.
pub(super) fn count(approvers: &Approvers, people: &[&Approver]) -> usize {
    if off(Defence::ApprovalPeople) {
        return people.len();
    }
    let mut counted: Vec<&Who> = Vec::new();
    for approver in people.iter().filter(|approver| approver.is_in(approvers)) {
        if !counted.iter().any(|known| known.same(&approver.who)) {
            counted.push(&approver.who);
        }
    }
    counted.len()
}

/// Whether a person may decide as they want to.
pub(super) fn may_decide(request: &Request, decision: &Decision, at: i64) -> Result<(), Refusal> {
    let approver = &decision.by;
    let terms = request.terms();
    let no = |why: String| Err(Refusal::NotEligible(why));
    let who = &approver.who;
    if off(Defence::ApprovalPeople) {
        return Ok(());
    }
    if !approver.is_human {
        return no("Only people decide: the token is an agent's or an application's.".into());
    }
    let Some(signed_in_at) = approver.signed_in_at else {
        return no("Only people who are signed in decide.".into());
    };
    // A clock of another machine may stand a little behind ours.
    if at - signed_in_at > FRESH_SIGN_IN {
        return Err(Refusal::StaleSignIn);
    }
    if request.agent.iter().any(|id| who.is_named(id)) {
        return no("The co-worker does not decide on its own actions.".into());
    }
    if who.same(&request.requested_by) {
        return no(format!("{} gave the order, and nobody approves their own work.", who.name));
    }
    let wrote = |source: &super::Source| source.author.as_ref().is_some_and(|author| author.same(who));
    if terms.approvers.exclude_taint_authors && request.taint.iter().any(wrote) {
        return no(format!("{} wrote a text that the co-worker read before it asked.", who.name));
    }
    if decision.break_glass.is_some() {
        return match approver.memberships.iter().any(|own| own == BREAK_GLASS) {
            true => Ok(()),
            false => no(format!("{} is not among those who may break the glass.", who.name)),
        };
    }
    match approver.is_in(&terms.approvers) {
        true => Ok(()),
        false => no(format!("{} is in none of: {}.", who.name, terms.approvers.any_of.join(", "))),
    }
}

impl Request {
    /// What its rules want.
    pub fn terms(&self) -> Terms {
        self.verdict.terms.clone().unwrap_or_default()
    }

    /// Why this person may not decide; none where they may.
    pub fn not_for(&self, approver: &Approver, at: i64) -> Option<Refusal> {
        self.why_not(approver, at, None)
    }

    /// Why this person may not break the glass; none where they may.
    pub fn glass_not_for(&self, approver: &Approver, at: i64) -> Option<Refusal> {
        self.why_not(approver, at, Some(String::new()))
    }

    fn why_not(&self, approver: &Approver, at: i64, break_glass: Option<String>) -> Option<Refusal> {
        let decision = Decision {
            by: approver.clone(),
            answer: super::Answer::Approve,
            digest: self.digest.clone(),
            reason: String::new(),
            edits: None,
            grant: None,
            break_glass,
        };
        may_decide(self, &decision, at).err()
    }
}
