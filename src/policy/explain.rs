//! Why the judge says what it says: every rule about the action, and every condition of it.

use std::fmt;

use serde::Serialize;

use super::conditions::Condition;
use super::facts::{Facts, Verdict};
use super::{Outcome, Policy, fixed};

/// One condition of a rule, beside what the facts say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConditionTrace {
    /// Its key in the rule file.
    pub key: &'static str,
    /// What the rule wants.
    pub wanted: String,
    /// What the facts say.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
}

/// One rule about the action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleTrace {
    /// The rule's id.
    pub id: String,
    /// What it says where it matches.
    pub effect: Outcome,
    /// Every condition holds.
    pub matches: bool,
    /// It is among those that decided.
    pub decides: bool,
    /// It is only noted.
    pub observes: bool,
    /// It is a rule of the program, in no file.
    pub fixed: bool,
    /// Its conditions; none for a rule of the program.
    pub conditions: Vec<ConditionTrace>,
}

/// A decision with its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The action.
    pub action: String,
    /// What is decided.
    pub verdict: Verdict,
    /// Every rule about this action, matching or not.
    pub rules: Vec<RuleTrace>,
}

/// A rule as the page lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleShown {
    /// Its id.
    pub id: String,
    /// What it says.
    pub effect: Outcome,
    /// The actions it is about.
    pub actions: Vec<String>,
    /// Its conditions, each as `key = value`.
    pub conditions: Vec<String>,
    /// What it tells.
    pub message: String,
    /// It is only noted.
    pub observes: bool,
    /// It is a rule of the program, in no file.
    pub fixed: bool,
    /// Who approves, where it asks.
    pub approvers: Vec<String>,
}

impl Policy {
    /// Decides on `facts` and says why. For people: slower than [`Policy::decide`], and the same.
    pub fn explain(&self, facts: &Facts) -> Explanation {
        let verdict = self.decide(facts).on(facts);
        let hits = self.matcher.hits(facts);
        let trace = |condition: &Condition| ConditionTrace {
            key: condition.key(),
            wanted: condition.wanted(),
            found: condition.found(facts),
            holds: condition.holds(facts, &hits),
        };
        let listed = self.matcher.about(&facts.action).map(|rule| RuleTrace {
            id: rule.id.clone(),
            effect: rule.effect,
            matches: rule.matches(facts, &hits),
            decides: verdict.rules.contains(&rule.id),
            observes: rule.observes,
            fixed: false,
            conditions: rule.conditions.iter().map(trace).collect(),
        });
        let own = fixed::RULES.iter().filter(|rule| (rule.matches)(facts)).map(|rule| RuleTrace {
            id: rule.id.to_owned(),
            effect: rule.effect,
            matches: true,
            decides: verdict.rules.iter().any(|id| id == rule.id),
            observes: false,
            fixed: true,
            conditions: Vec::new(),
        });
        let rules = listed.chain(own).collect();
        Explanation { action: facts.action.clone(), verdict, rules }
    }

    /// Every rule, those of the program last.
    pub fn rules(&self) -> Vec<RuleShown> {
        let listed = self.matcher.rules.iter().map(|rule| RuleShown {
            id: rule.id.clone(),
            effect: rule.effect,
            actions: rule.action.iter().map(|action| (*action).to_owned()).collect(),
            conditions: rule
                .conditions
                .iter()
                .map(|one| format!("{} = {}", one.key(), one.wanted()))
                .collect(),
            message: rule.message.clone().unwrap_or_default(),
            observes: rule.observes,
            fixed: false,
            approvers: rule.terms.as_ref().map(|terms| terms.approvers.any_of.clone()).unwrap_or_default(),
        });
        let own = fixed::RULES.iter().map(|rule| RuleShown {
            id: rule.id.to_owned(),
            effect: rule.effect,
            actions: Vec::new(),
            conditions: Vec::new(),
            message: rule.message.to_owned(),
            observes: false,
            fixed: true,
            approvers: Vec::new(),
        });
        listed.chain(own).collect()
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.action, self.verdict.outcome)?;
        if !self.verdict.message.is_empty() {
            writeln!(f, "  {}", self.verdict.message)?;
        }
        match self.verdict.rules.as_slice() {
            [] => writeln!(f, "  decided by: no rule (what no rule allows is denied)")?,
            rules => writeln!(f, "  decided by: {}", rules.join(", "))?,
        }
        if let Some(terms) = &self.verdict.terms {
            let people = if terms.approvers.min == 1 { "person" } else { "people" };
            let groups = terms.approvers.any_of.join(" or ");
            writeln!(
                f,
                "  approval: {} {people} of {groups}, within {} s",
                terms.approvers.min, terms.ttl_s
            )?;
        }
        for observed in &self.verdict.observed {
            writeln!(f, "  only observed: {observed}")?;
        }
        for rule in &self.rules {
            let mark = match (rule.matches, rule.decides) {
                (true, true) => "decides",
                (true, false) => "matches",
                _ => "no",
            };
            let note = match (rule.fixed, rule.observes) {
                (true, _) => " (fixed)",
                (_, true) => " (observes)",
                _ => "",
            };
            writeln!(f, "\n{mark:<8} {} {}{note}", rule.effect, rule.id)?;
            for one in &rule.conditions {
                let mark = if one.holds { "yes" } else { "no " };
                writeln!(f, "    {mark} {} = {} (found: {})", one.key, one.wanted, one.found)?;
            }
        }
        Ok(())
    }
}
