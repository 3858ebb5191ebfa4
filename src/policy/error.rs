//! Why a rule file is refused.

use super::Outcome;
use super::rules::MAX_RULES;

/// Why a rule file is refused. Nothing starts on a rule file with a doubt in it.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML, an unknown key, an unknown word or a wrong type.
    #[error("the policy file cannot be read: {0}")]
    Form(#[from] toml::de::Error),
    /// Another version of the format.
    #[error("policy version {0} is not known; this program reads version 1")]
    Version(u32),
    /// More rules than are allowed.
    #[error("the policy file has {0} rules; at most {MAX_RULES} are allowed")]
    TooMany(usize),
    /// Two rules with one id.
    #[error("two rules are called '{0}'; give each its own id")]
    Duplicate(String),
    /// An id that is empty, too long or not plain.
    #[error("the rule id '{0}' is not plain; use 1 to 60 letters, digits, '-', '_' and '.'")]
    Id(String),
    /// A condition that lists nothing.
    #[error("rule '{rule}': '{key}' lists nothing; give at least one or leave it out")]
    Empty {
        /// The rule's id.
        rule: String,
        /// The key of the condition.
        key: &'static str,
    },
    /// A pattern for actions that fits none.
    #[error("rule '{rule}': there is no action '{pattern}'; known are: {known}")]
    Action {
        /// The rule's id.
        rule: String,
        /// The pattern as written.
        pattern: String,
        /// The known actions.
        known: String,
    },
    /// A glob that does not parse.
    #[error("rule '{rule}': the pattern '{glob}' cannot be read: {reason}")]
    Glob {
        /// The rule's id.
        rule: String,
        /// The pattern.
        glob: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A value that means nothing.
    #[error("rule '{rule}': {reason}")]
    Value {
        /// The rule's id.
        rule: String,
        /// What is wrong, and what to write.
        reason: String,
    },
    /// A rule that can never match.
    #[error("rule '{rule}' can never decide: {reason}; take it out or change one of them")]
    Unreachable {
        /// The rule's id.
        rule: String,
        /// Why.
        reason: String,
    },
    /// A group or role that nobody can be found in.
    #[error(
        "rule '{rule}': the approvers '{group}' cannot be resolved; name a role (approver, admin, auditor) or the \
         object id of a group that ROLE_GROUPS lists"
    )]
    Approvers {
        /// The rule's id.
        rule: String,
        /// The role or group.
        group: String,
    },
    /// A limit, a price or a kind of write that means nothing.
    #[error("[budget]: {key}: {reason}")]
    Budget {
        /// Which.
        key: String,
        /// What is wrong, and what to write.
        reason: String,
    },
    /// A host that cannot be on the egress list.
    #[error("egress: {0}")]
    Host(#[from] crate::mask::sanitise::BadHost),
    /// A test inside a rule gives another outcome than it expects.
    #[error(
        "rule '{rule}': its test {number} expects {expected} and gets {found} ({deciding}); correct the rule or the \
         test"
    )]
    Test {
        /// The rule's id.
        rule: String,
        /// Which test, from 1.
        number: usize,
        /// What the test says.
        expected: Outcome,
        /// What the whole file decides.
        found: Outcome,
        /// The rules that decided.
        deciding: String,
    },
}
