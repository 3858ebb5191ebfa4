//! Who may decide: members of the rules' panels at the time of the decision, each counted once,
//! and nobody who asked, who is the co-worker, or whose text led to the action. Admins are no
//! exception (GOVERNANCE §4.2).

use serde::{Deserialize, Serialize};

use super::{BREAK_GLASS, Decision, GrantKind, Refusal, Request, TTL_S};

/// How old a sign-in may be: 12 hours, in microseconds.
pub const FRESH_SIGN_IN: i64 = 12 * 3_600 * 1_000_000;
/// Who decides where a rule names nobody.
const DEFAULT_ROLE: &str = "approver";

/// A person, by everything that may tell them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Display name.
    pub name: String,
    /// Account (mail address), where known.
    pub account: Option<String>,
    /// Object id of Entra or identity id of Azure DevOps, where known.
    pub id: Option<String>,
}

impl Who {
    /// Whether both may be one person. Said yes too often rather than too seldom: it only ever
    /// keeps somebody from deciding, or from being counted twice.
    pub fn same(&self, other: &Self) -> bool {
        let equal = |a: &Option<String>, b: &Option<String>| match (a, b) {
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        };
        if equal(&self.id, &other.id) || equal(&self.account, &other.account) {
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

    fn is_named(&self, id: &str) -> bool {
        [&self.id, &self.account].into_iter().flatten().any(|own| own.eq_ignore_ascii_case(id))
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

/// One group of people that has to agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panel {
    /// Names of roles, or object ids of groups: a member of any of them counts.
    pub any_of: Vec<String>,
    /// How many distinct people.
    pub min: u32,
}

impl Panel {
    fn takes(&self, approver: &Approver) -> bool {
        approver
            .memberships
            .iter()
            .any(|own| self.any_of.iter().any(|wanted| wanted.eq_ignore_ascii_case(own)))
    }
}

/// What rules that ask want: joined over all of them, the strictest of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Who has to agree; every panel.
    pub panels: Vec<Panel>,
    /// Authors of text that led to the action may not decide.
    pub exclude_taint_authors: bool,
    /// How long it may wait, in seconds.
    pub ttl_s: u32,
    /// The widest grant that may be given.
    pub grant: GrantKind,
    /// Approving needs a reason too.
    pub reason: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            panels: vec![Panel { any_of: vec![DEFAULT_ROLE.to_owned()], min: 1 }],
            exclude_taint_authors: true,
            ttl_s: TTL_S,
            grant: GrantKind::Once,
            reason: false,
        }
    }
}

impl Terms {
    /// The terms of two rules that both ask.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for panel in other.panels {
            match self.panels.iter_mut().find(|known| known.any_of == panel.any_of) {
                Some(known) => known.min = known.min.max(panel.min),
                None => self.panels.push(panel),
            }
        }
        self.exclude_taint_authors |= other.exclude_taint_authors;
        self.ttl_s = self.ttl_s.min(other.ttl_s);
        self.grant = self.grant.min(other.grant);
        self.reason |= other.reason;
        self
    }

    /// The smallest number of people that could be enough; never nobody.
    pub(super) fn least(&self) -> usize {
        self.panels.iter().map(|panel| panel.min.max(1) as usize).max().unwrap_or(1)
    }

    /// How many more people the panel that lacks most needs; one person may sit in several.
    pub(super) fn missing(&self, approvers: &[&Approver]) -> usize {
        let lacking = |panel: &Panel| {
            let mut people: Vec<&Who> = Vec::new();
            for approver in approvers.iter().filter(|approver| panel.takes(approver)) {
                if !people.iter().any(|known| known.same(&approver.who)) {
                    people.push(&approver.who);
                }
            }
            (panel.min.max(1) as usize).saturating_sub(people.len())
        };
        self.panels.iter().map(lacking).max().unwrap_or(1)
    }

    /// Names of everybody who is asked, for people.
    pub fn asked(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.panels.iter().flat_map(|panel| panel.any_of.iter().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Whether a person may decide as they want to.
pub(super) fn may_decide(request: &Request, decision: &Decision, at: i64) -> Result<(), Refusal> {
    let approver = &decision.by;
    let terms = request.verdict.terms.clone().unwrap_or_default();
    let no = |why: String| Err(Refusal::NotEligible(why));
    let who = &approver.who;
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
    if terms.exclude_taint_authors && request.taint.iter().any(wrote) {
        return no(format!("{} wrote a text that the co-worker read before it asked.", who.name));
    }
    if decision.break_glass.is_some() {
        return match approver.memberships.iter().any(|own| own == BREAK_GLASS) {
            true => Ok(()),
            false => no(format!("{} is not among those who may break the glass.", who.name)),
        };
    }
    match terms.panels.iter().any(|panel| panel.takes(approver)) {
        true => Ok(()),
        false => no(format!("{} is in none of: {}.", who.name, terms.asked().join(", "))),
    }
}

impl Request {
    /// Why this person may not decide; none where they may.
    pub fn not_for(&self, approver: &Approver, at: i64) -> Option<Refusal> {
        let decision = Decision {
            by: approver.clone(),
            answer: super::Answer::Approve,
            digest: self.digest.clone(),
            reason: String::new(),
            edits: None,
            grant: None,
            break_glass: None,
        };
        may_decide(self, &decision, at).err()
    }
}
