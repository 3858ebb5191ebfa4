//! Finds rules that can never decide: shadowed by a stricter one, or about a fact that their
//! actions do not have.

use super::conditions::{Condition, Flag};
use super::matcher::Rule;
use super::{Outcome, PolicyError, actions};

/// Refuses a file with a rule that can never decide.
pub(super) fn reachable(rules: &[Rule]) -> Result<(), PolicyError> {
    for (at, rule) in rules.iter().enumerate() {
        if let Some(reason) = misplaced(rule) {
            return Err(PolicyError::Unreachable { rule: rule.id.clone(), reason });
        }
        // What only observes hides nothing, and is hidden by nothing.
        if rule.observes {
            continue;
        }
        let hidden_for = |action: &str| {
            rules.iter().enumerate().find(|(other, by)| *other != at && hides(by, *other, rule, at, action))
        };
        let by: Option<Vec<&str>> =
            rule.action.iter().map(|action| hidden_for(action).map(|(_, by)| by.id.as_str())).collect();
        if let Some(mut by) = by {
            by.dedup();
            let reason = format!("wherever it matches, '{}' decides", by.join("', '"));
            return Err(PolicyError::Unreachable { rule: rule.id.clone(), reason });
        }
    }
    Ok(())
}

/// Whether `by` always decides for `action` where `rule` matches.
fn hides(by: &Rule, by_at: usize, rule: &Rule, at: usize, action: &str) -> bool {
    // A twin of the same effect further up says the same first; the terms of both would count.
    let stronger = by.effect > rule.effect
        || (by.effect == rule.effect && by_at < at && by.effect != Outcome::Ask && same(by, rule));
    stronger
        && !by.observes
        && by.action.contains(&action)
        && by.conditions.iter().all(|wide| rule.conditions.iter().any(|narrow| wide.follows_from(narrow)))
}

/// Whether two rules have the same conditions.
fn same(a: &Rule, b: &Rule) -> bool {
    let within = |a: &Rule, b: &Rule| {
        a.conditions.iter().all(|wide| b.conditions.iter().any(|narrow| wide.follows_from(narrow)))
    };
    within(a, b) && within(b, a)
}

/// Why a rule's own conditions can never hold.
fn misplaced(rule: &Rule) -> Option<String> {
    rule.conditions.iter().find_map(|condition| {
        let fits: fn(&str) -> bool = match condition {
            Condition::Branch(_) | Condition::BranchNot(_) | Condition::Flag(Flag::OwnBranch, true) => {
                actions::has_branch
            }
            Condition::AnyPath(_) | Condition::Paths(_) | Condition::Special(_) => actions::has_paths,
            Condition::Field(_) => |action| action.starts_with("work_item."),
            Condition::Flag(Flag::TouchesCi | Flag::TouchesPolicy | Flag::HiddenCharacters, true) => {
                actions::has_paths
            }
            Condition::Flag(Flag::OwnPr, true) => {
                |action| action.starts_with("pull_request.") || action.starts_with("thread.")
            }
            _ => return None,
        };
        (!rule.action.iter().any(|action| fits(action)))
            .then(|| format!("none of its actions has a '{}'", condition.key()))
    })
}
