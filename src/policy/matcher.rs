//! Finds the rules that match, quickly: rules by action first, then all patterns of all rules at
//! once, then the other conditions.

use std::collections::HashMap;

use globset::{Candidate, Glob, GlobSet, GlobSetBuilder};

use super::conditions::{Condition, Hits};
use super::facts::Facts;
use super::terms::Terms;
use super::{Outcome, PolicyError};

/// One rule, ready to match.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) effect: Outcome,
    /// It is noted, and does not decide.
    pub(super) observes: bool,
    pub(super) message: Option<String>,
    /// The known actions it is about.
    pub(super) action: Vec<&'static str>,
    pub(super) conditions: Vec<Condition>,
    /// Who approves, where it asks.
    pub(super) terms: Option<Terms>,
}

impl Rule {
    pub(super) fn matches(&self, facts: &Facts, hits: &Hits) -> bool {
        self.conditions.iter().all(|condition| condition.holds(facts, hits))
    }
}

/// All rules of a file.
#[derive(Debug)]
pub(super) struct Matcher {
    pub(super) rules: Vec<Rule>,
    by_action: HashMap<&'static str, Vec<usize>>,
    /// Patterns for branches where letters do not count.
    folded: GlobSet,
    /// Those where they do, counted on behind the others.
    exact: GlobSet,
    paths: GlobSet,
}

impl Matcher {
    /// Over `rules`, whose patterns are in these lists.
    pub(super) fn new(
        mut rules: Vec<Rule>,
        folded: Vec<Glob>,
        exact: Vec<Glob>,
        paths: Vec<Glob>,
    ) -> Result<Self, PolicyError> {
        // Patterns of allowing rules come behind the others, so that one list of hits serves both.
        for rule in &mut rules {
            let allows = rule.effect == Outcome::Allow;
            for condition in &mut rule.conditions {
                let letters_count = allows || matches!(condition, Condition::BranchNot(_));
                if let Condition::BranchNot(patterns) | Condition::Branch(patterns) = condition
                    && letters_count
                {
                    patterns.from += folded.len();
                    patterns.to += folded.len();
                }
            }
        }
        let mut by_action: HashMap<&'static str, Vec<usize>> = HashMap::new();
        for (at, rule) in rules.iter().enumerate() {
            for action in &rule.action {
                by_action.entry(action).or_default().push(at);
            }
        }
        Ok(Self { rules, by_action, folded: set(folded)?, exact: set(exact)?, paths: set(paths)? })
    }

    /// The rules that match, in the order of the file.
    pub(super) fn matching<'m>(&'m self, facts: &Facts) -> Vec<&'m Rule> {
        let hits = self.hits(facts);
        self.about(&facts.action).filter(|rule| rule.matches(facts, &hits)).collect()
    }

    /// The rules about an action, in the order of the file.
    pub(super) fn about(&self, action: &str) -> impl Iterator<Item = &Rule> {
        self.by_action.get(action).into_iter().flatten().filter_map(|at| self.rules.get(*at))
    }

    pub(super) fn hits(&self, facts: &Facts) -> Hits {
        let mut hits = Hits::default();
        if let Some(branch) = &facts.branch {
            let mut exact = Vec::new();
            self.folded.matches_candidate_into(&Candidate::new(&branch.to_lowercase()), &mut hits.branch);
            self.exact.matches_candidate_into(&Candidate::new(branch), &mut exact);
            let behind = self.folded.len();
            hits.branch.extend(exact.into_iter().map(|at| at + behind));
        }
        if !self.paths.is_empty() {
            for path in &facts.paths {
                let folded = path.trim_start_matches('/').to_lowercase();
                hits.paths.push(self.paths.matches_candidate(&Candidate::new(&folded)));
            }
            hits.any_path = hits.paths.iter().flatten().copied().collect();
            hits.any_path.sort_unstable();
            hits.any_path.dedup();
        }
        hits
    }
}

fn set(globs: Vec<Glob>) -> Result<GlobSet, PolicyError> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(glob);
    }
    builder.build().map_err(|error| PolicyError::Glob {
        rule: "(all)".to_owned(),
        glob: error.glob().unwrap_or_default().to_owned(),
        reason: error.kind().to_string(),
    })
}
