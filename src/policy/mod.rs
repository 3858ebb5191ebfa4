//! The one pure judge: rules in TOML over facts computed in Rust.
//!
//! Purpose: says `allow`, `ask` or `deny` for one exact action, and which rule said so.
//! Invariant: deny beats ask beats allow, and what no rule allows is denied; deciding cannot fail.
//! A [`Permit`] can be made only here, only by an allowing decision, and holds the very action it
//! was given for, so that nothing else can be written with it.
//! Must never know: models, prompts, the network, the time of day.

pub mod approval;
mod rules;
mod terms;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::digest::Digest;

pub use rules::{PolicyError, parse};
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

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        })
    }
}

/// What is known about one action, from resolved data only, never from model text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Facts {
    /// Name of the action, for example `git.push` or `git.read`.
    pub action: String,
    /// Project it concerns, as configured.
    pub project: String,
    /// Whether that project is the one this co-worker serves.
    pub project_served: bool,
    /// Repository it concerns.
    pub repository: Option<String>,
    /// Branch that is written, without `refs/heads/`.
    pub branch: Option<String>,
    /// Every path that is written.
    pub paths: Vec<String>,
    /// How many files are deleted.
    pub deleted: u32,
    /// The pull request was opened by the agent user.
    pub own_pull_request: bool,
    /// The branch did not exist, or the agent user created it.
    pub own_branch: bool,
    /// The newest build of each definition for the pull request succeeded and is of its newest
    /// commit; also where there is no build.
    pub build_green: bool,
}

/// The judge's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Allow, ask or deny.
    pub outcome: Outcome,
    /// Ids of the rules that matched with that outcome; empty when nothing matched (then: deny).
    pub rules: Vec<String>,
    /// What to tell the model and the person.
    pub message: String,
    /// Hash of the rule file that decided.
    pub policy: Digest,
    /// Who has to approve, and how; only where the outcome is `ask`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
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
    rules: Vec<rules::Rule>,
    hash: Digest,
}

impl Policy {
    /// Decides on `facts`. Total: every input has an answer, and doubt is a denial.
    pub fn decide(&self, facts: &Facts) -> Verdict {
        let matched: Vec<&rules::Rule> = self.rules.iter().filter(|rule| rule.matches(facts)).collect();
        let Some(outcome) = matched.iter().map(|rule| rule.effect).max() else {
            return Verdict {
                outcome: Outcome::Deny,
                rules: Vec::new(),
                message: format!("No rule allows {} here.", facts.action),
                policy: self.hash.clone(),
                terms: None,
            };
        };
        let deciding: Vec<&&rules::Rule> = matched.iter().filter(|rule| rule.effect == outcome).collect();
        let message = deciding.iter().find_map(|rule| rule.message.clone()).unwrap_or_default();
        Verdict {
            outcome,
            rules: deciding.iter().map(|rule| rule.id.clone()).collect(),
            message,
            policy: self.hash.clone(),
            terms: (outcome == Outcome::Ask).then(Terms::default),
        }
    }

    /// Decides on `action` and, when it is allowed, gives the permit for it.
    ///
    /// # Errors
    /// The verdict, when it is not `allow`.
    pub fn permit(&self, action: Action, facts: &Facts) -> Result<(Permit, Verdict), Verdict> {
        let verdict = self.decide(facts);
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
        let verdict = self.decide(facts);
        let digest = action.digest().ok().filter(|_| facts.action == action.kind());
        let digest = digest.filter(|digest| digest == proof.digest());
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
        let verdict = self.decide(facts);
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
}
