//! What would change: recorded facts, decided by an old and by a new set of rules.

use serde::Serialize;

use super::{Facts, Outcome, Policy};

/// A recorded decision that comes out differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where it was recorded, for example a run's id and a sequence number.
    pub at: String,
    /// The action.
    pub action: String,
    /// What the old rules say.
    pub old: Outcome,
    /// The rules that say so.
    pub old_rules: Vec<String>,
    /// What the new rules say.
    pub new: Outcome,
    /// The rules that say so.
    pub new_rules: Vec<String>,
}

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Decisions that were compared.
    pub decisions: usize,
    /// Entries that hold a decision without its facts, and could not be compared.
    pub without_facts: usize,
    /// Those that come out differently.
    pub differences: Vec<Difference>,
}

/// Decides each of the recorded facts by both sets of rules.
pub fn compare<'f>(
    old: &Policy,
    new: &Policy,
    recorded: impl IntoIterator<Item = (String, Option<&'f Facts>)>,
) -> Compared {
    let mut compared = Compared::default();
    for (at, facts) in recorded {
        let Some(facts) = facts else {
            compared.without_facts += 1;
            continue;
        };
        compared.decisions += 1;
        let (before, after) = (old.decide(facts), new.decide(facts));
        if before.outcome != after.outcome {
            compared.differences.push(Difference {
                at,
                action: facts.action.clone(),
                old: before.outcome,
                old_rules: before.rules,
                new: after.outcome,
                new_rules: after.rules,
            });
        }
    }
    compared
}
