//! The one pure judge: rules in TOML over facts computed in Rust.
//!
//! Purpose: says `allow`, `ask` or `deny` for one exact action, and which rule said so.
//! Invariant: deny beats ask beats allow, and what no rule allows is denied; deciding cannot fail.
//! A [`Permit`] can be made only here, only by an allowing decision, and holds the very action it
//! was given for, so that nothing else can be written with it.
//! Must never know: models, prompts, the network, the time of day.

mod actions;
pub mod approval;
mod budget;
mod check;
mod conditions;
mod error;
mod explain;
mod facts;
mod fixed;
mod force;
mod matcher;
mod replay;
mod rules;
mod terms;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::digest::Digest;
use crate::mask::sanitise::Hosts;
use crate::weaken::{Defence, off};

pub use actions::{KNOWN as KNOWN_ACTIONS, is_read};
pub use budget::{Ahead, Budgets, Meter, Over, Quantity, Scope, Spent, SpentBy, Tokens};
pub use error::PolicyError;
pub use explain::{Explanation, RuleShown, RuleTrace};
pub use facts::{Facts, Instructor, Label, Level, MAX_TAINT_SOURCES, TaintSource, Trigger, Verdict};
pub use force::InForce;
pub use replay::{Compared, Difference, compare};
pub use rules::{Tested, parse, parse_and_test};
pub use terms::{Approvers, DEFAULT_APPROVER, Grant, ROLES, Terms, is_object_id};

/// The rules that ship with the product.
pub const DEFAULT_POLICY: &str = include_str!("../../policies/default.toml");

/// Actions that a notice of the co-worker's own may be: a comment that leads to an approval, the
/// work item that asks for a review of a broken glass.
const NOTICES: [&str; 3] = ["work_item.comment", "thread.create", "work_item.create"];
/// The rule that is named where a notice was allowed.
const BUILT_IN: &str = "built-in: notice";

/// What the judge says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Go on.
    Allow,
    /// A person has to approve it.
    Ask,
    /// Not possible.
    Deny,
}

impl Outcome {
    /// The name in rules, API and record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Leave to perform one exact action. Only a decision makes one; performing it uses it up.
#[derive(Debug)]
pub struct Permit {
    action: Action,
    digest: Digest,
}

impl Permit {
    /// The action that may be performed.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// Its digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Gives up the permit for its action.
    pub fn into_action(self) -> Action {
        self.action
    }
}

/// A checked set of rules.
#[derive(Debug)]
pub struct Policy {
    matcher: matcher::Matcher,
    hash: Digest,
    egress: Vec<String>,
    hosts: Hosts,
    budgets: Budgets,
}

impl Policy {
    /// Decides on `facts`. Total: every input has an answer, and doubt is a denial.
    pub fn decide(&self, facts: &Facts) -> Verdict {
        let matched = self.matcher.matching(facts);
        let (watching, deciding): (Vec<_>, Vec<_>) = matched.into_iter().partition(|rule| rule.observes);
        let fixed: Vec<&fixed::Fixed> = fixed::RULES.iter().filter(|rule| (rule.matches)(facts)).collect();
        // The program's own rules narrow what a file allows; by themselves they allow nothing.
        let listed = deciding.iter().map(|rule| rule.effect).max();
        let own = fixed.iter().map(|rule| rule.effect).max();
        let outcome = listed.map_or(Outcome::Deny, |listed| own.map_or(listed, |own| own.max(listed)));
        let decided: Vec<_> = deciding.iter().filter(|rule| rule.effect == outcome).collect();
        let narrowed = fixed.iter().filter(|rule| rule.effect == outcome && listed.is_some());
        let mut rules: Vec<String> = decided.iter().map(|rule| rule.id.clone()).collect();
        rules.extend(narrowed.clone().map(|rule| rule.id.to_owned()));
        let told = decided.iter().find_map(|rule| rule.message.clone());
        let told = told.or_else(|| narrowed.clone().next().map(|rule| rule.message.to_owned()));
        let message = match listed {
            None => format!("No rule allows {} here.", facts.action),
            Some(_) => told.unwrap_or_default(),
        };
        let observed = watching.iter().filter(|rule| rule.effect > outcome);
        let observed = observed.map(|rule| format!("{}: {}", rule.id, rule.effect)).collect();
        let verdict =
            Verdict { outcome, rules, message, policy: self.hash.clone(), observed, ..Verdict::default() };
        match outcome {
            Outcome::Ask => asked(verdict, decided.iter().filter_map(|rule| rule.terms.as_ref())),
            _ => verdict,
        }
    }

    /// Decides on `action` and, when it is allowed, gives the permit for it.
    ///
    /// # Errors
    /// The verdict, when it is not `allow`.
    pub fn permit(&self, action: Action, facts: &Facts) -> Result<(Permit, Verdict), Verdict> {
        let verdict = self.decide(facts).on(facts);
        // An action and facts that name different things is a fault of ours: doubt is a denial.
        let digest = action.digest().ok().filter(|_| facts.action == action.kind());
        match (verdict.outcome, digest) {
            (Outcome::Allow, Some(digest)) => Ok((Permit { action, digest }, verdict)),
            (Outcome::Allow, None) => Err(Verdict {
                outcome: Outcome::Deny,
                message: "The facts do not describe this action.".into(),
                rules: Vec::new(),
                ..verdict
            }),
            _ => Err(verdict),
        }
    }

    /// Decides again, now, on an action that people approved: their approval stands in for `ask`
    /// and for nothing else.
    ///
    /// # Errors
    /// The verdict, when it is `deny`, or when the proof is for another action.
    pub fn permit_approved(
        &self,
        action: Action,
        facts: &Facts,
        proof: &approval::Proof,
    ) -> Result<(Permit, Verdict), Verdict> {
        let verdict = self.decide(facts).on(facts);
        let digest = action.digest().ok().filter(|_| facts.action == action.kind());
        let digest = digest.filter(|digest| digest == proof.digest() || off(Defence::ApprovalDigest));
        match (verdict.outcome, digest) {
            (Outcome::Allow | Outcome::Ask, Some(digest)) => Ok((Permit { action, digest }, verdict)),
            (Outcome::Deny, _) => Err(verdict),
            (_, None) => Err(Verdict {
                outcome: Outcome::Deny,
                message: "The approval is for another action.".into(),
                rules: Vec::new(),
                ..verdict
            }),
        }
    }

    /// Decides on a notice of the co-worker's own: a fixed list that no rule widens, and that a
    /// rule which denies the action narrows.
    ///
    /// # Errors
    /// The verdict, when it is not one of those, or denied.
    pub fn permit_notice(&self, action: Action, facts: &Facts) -> Result<(Permit, Verdict), Verdict> {
        let verdict = self.decide(facts).on(facts);
        let denied = verdict.outcome == Outcome::Deny && !verdict.rules.is_empty();
        let listed =
            NOTICES.contains(&action.kind()) && facts.action == action.kind() && facts.project_served;
        match action.digest() {
            Ok(digest) if listed && !denied => {
                let rules = vec![BUILT_IN.to_owned()];
                let verdict = Verdict {
                    outcome: Outcome::Allow,
                    rules,
                    message: String::new(),
                    terms: None,
                    ..verdict
                };
                Ok((Permit { action, digest }, verdict))
            }
            _ => Err(Verdict { outcome: Outcome::Deny, terms: None, ..verdict }),
        }
    }

    /// Hash of the rule file.
    pub fn hash(&self) -> &Digest {
        &self.hash
    }

    /// Whether a rule looks at the groups of who gave the order: then they are worth asking for.
    pub fn asks_for_groups(&self) -> bool {
        let asks = |condition: &conditions::Condition| matches!(condition, conditions::Condition::Group(_));
        self.matcher.rules.iter().any(|rule| rule.conditions.iter().any(asks))
    }

    /// How much runs may use.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Hosts that outgoing text may point to, as the file lists them.
    pub fn egress(&self) -> &[String] {
        &self.egress
    }

    /// The same list, for looking hosts up.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Refuses approvers that cannot be found: `known` says whether a role or group can be.
    ///
    /// # Errors
    /// [`PolicyError::Approvers`] for the first that is not.
    pub fn resolve(&self, known: impl Fn(&str) -> bool) -> Result<(), PolicyError> {
        for rule in &self.matcher.rules {
            let groups = rule.terms.iter().flat_map(|terms| &terms.approvers.any_of);
            if let Some(group) = groups.into_iter().find(|group| !known(group)) {
                return Err(PolicyError::Approvers { rule: rule.id.clone(), group: group.clone() });
            }
        }
        Ok(())
    }
}

/// The verdict with terms that satisfy every rule that asks.
fn asked<'t>(verdict: Verdict, terms: impl Iterator<Item = &'t Terms>) -> Verdict {
    let mut all: Option<Terms> = None;
    for one in terms {
        all = match all {
            None => Some(one.clone()),
            Some(so_far) => match so_far.and(one) {
                Some(both) => Some(both),
                None => {
                    let message = format!(
                        "{} The rules {} want approvers that nobody is both of.",
                        verdict.message,
                        verdict.rules.join(", ")
                    );
                    return Verdict {
                        outcome: Outcome::Deny,
                        message: message.trim_start().to_owned(),
                        ..verdict
                    };
                }
            },
        };
    }
    Verdict { terms: Some(all.unwrap_or_default()), ..verdict }
}
