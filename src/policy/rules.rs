//! The rule file: its form, its checks, and how one rule matches.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Deserialize;

use super::{Facts, Outcome, Policy};
use crate::digest::Digest;

/// Most rules in one file.
const MAX_RULES: usize = 1_000;

/// Why a rule file is refused. Nothing starts on a rule file with a doubt in it.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML, an unknown key or a wrong type.
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
    /// A rule that matches on nothing.
    #[error("rule '{0}' names no action; give at least one in 'action'")]
    Empty(String),
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
    /// A test inside a rule gives another outcome than it expects.
    #[error(
        "rule '{rule}': its test {number} expects {expected} and gets {found}; correct the rule or the test"
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
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default, rename = "rule")]
    rules: Vec<Form>,
}

/// A rule as written. A condition that is absent does not restrict; conditions are joined by AND.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    id: String,
    effect: Outcome,
    action: Vec<String>,
    branch: Option<Vec<String>>,
    any_path: Option<Vec<String>>,
    project_served: Option<bool>,
    own_pull_request: Option<bool>,
    own_branch: Option<bool>,
    build_green: Option<bool>,
    deleted_over: Option<u32>,
    message: Option<String>,
    #[serde(default, rename = "test")]
    tests: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    facts: Facts,
    expect: Outcome,
}

/// One rule, ready to match.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) effect: Outcome,
    pub(super) message: Option<String>,
    action: GlobSet,
    branch: Option<GlobSet>,
    any_path: Option<GlobSet>,
    project_served: Option<bool>,
    own_pull_request: Option<bool>,
    own_branch: Option<bool>,
    build_green: Option<bool>,
    deleted_over: Option<u32>,
}

impl Rule {
    pub(super) fn matches(&self, facts: &Facts) -> bool {
        let flag = |wanted: Option<bool>, found: bool| wanted.is_none_or(|w| w == found);
        self.action.is_match(&facts.action)
            && flag(self.project_served, facts.project_served)
            && flag(self.own_pull_request, facts.own_pull_request)
            && flag(self.own_branch, facts.own_branch)
            && flag(self.build_green, facts.build_green)
            && self.deleted_over.is_none_or(|limit| facts.deleted > limit)
            && self
                .branch
                .as_ref()
                .is_none_or(|globs| facts.branch.as_ref().is_some_and(|branch| globs.is_match(branch)))
            && self.any_path.as_ref().is_none_or(|globs| {
                facts.paths.iter().any(|path| globs.is_match(path.trim_start_matches('/')))
            })
    }
}

/// Reads and checks a rule file, and runs the tests inside it.
///
/// # Errors
/// [`PolicyError`] for the first doubt found.
pub fn parse(text: &str) -> Result<Policy, PolicyError> {
    let file: File = toml::from_str(text)?;
    if file.version != 1 {
        return Err(PolicyError::Version(file.version));
    }
    if file.rules.len() > MAX_RULES {
        return Err(PolicyError::TooMany(file.rules.len()));
    }
    let mut rules: Vec<Rule> = Vec::with_capacity(file.rules.len());
    let mut tests = Vec::new();
    for form in file.rules {
        if rules.iter().any(|rule| rule.id == form.id) {
            return Err(PolicyError::Duplicate(form.id));
        }
        let id = form.id.clone();
        rules.push(compile(&form)?);
        tests.push((id, form.tests));
    }
    let policy = Policy { rules, hash: Digest::of("ado-coworker policy v1", text.as_bytes()) };
    for (rule, tests) in tests {
        for (i, test) in tests.into_iter().enumerate() {
            let found = policy.decide(&test.facts).outcome;
            if found != test.expect {
                return Err(PolicyError::Test { rule, number: i + 1, expected: test.expect, found });
            }
        }
    }
    Ok(policy)
}

fn compile(form: &Form) -> Result<Rule, PolicyError> {
    if form.action.is_empty() {
        return Err(PolicyError::Empty(form.id.clone()));
    }
    let optional = |patterns: &Option<Vec<String>>, any_case: bool| {
        patterns.as_ref().map(|patterns| globs(&form.id, patterns, any_case)).transpose()
    };
    Ok(Rule {
        id: form.id.clone(),
        effect: form.effect,
        message: form.message.clone(),
        action: globs(&form.id, &form.action, false)?,
        branch: optional(&form.branch, true)?,
        // Azure DevOps serves people on systems that ignore case: a rule must not be dodged by it.
        any_path: optional(&form.any_path, true)?,
        project_served: form.project_served,
        own_pull_request: form.own_pull_request,
        own_branch: form.own_branch,
        build_green: form.build_green,
        deleted_over: form.deleted_over,
    })
}

fn globs(rule: &str, patterns: &[String], any_case: bool) -> Result<GlobSet, PolicyError> {
    let fault = |glob: &str, error: globset::Error| PolicyError::Glob {
        rule: rule.to_owned(),
        glob: glob.to_owned(),
        reason: error.kind().to_string(),
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .case_insensitive(any_case)
            .build()
            .map_err(|error| fault(pattern, error))?;
        set.add(glob);
    }
    set.build().map_err(|error| fault("(all)", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Action, BranchName, CommitId, RepositoryRef};
    use proptest::prelude::*;

    fn default_policy() -> Policy {
        parse(super::super::DEFAULT_POLICY).expect("the rules that ship are good")
    }

    fn push(branch: &str) -> Facts {
        Facts {
            action: "git.push".into(),
            project_served: true,
            branch: Some(branch.into()),
            own_branch: true,
            ..Facts::default()
        }
    }

    #[test]
    fn pushes_reach_own_branches_only() {
        let policy = default_policy();
        assert_eq!(policy.decide(&push("agent/1-x")).outcome, Outcome::Allow);
        for branch in ["main", "Main", "release/1", "feature/x", "agent"] {
            assert_eq!(policy.decide(&push(branch)).outcome, Outcome::Deny, "{branch}");
        }
        assert_eq!(policy.decide(&Facts { own_branch: false, ..push("agent/1-x") }).outcome, Outcome::Deny);
        assert_eq!(
            policy.decide(&Facts { project_served: false, ..push("agent/1-x") }).outcome,
            Outcome::Deny
        );
    }

    #[test]
    fn a_build_is_a_persons_decision_and_nothing_completes_or_votes() {
        let policy = default_policy();
        let facts = |action: &str| Facts {
            action: action.into(),
            project_served: true,
            own_pull_request: true,
            own_branch: true,
            build_green: true,
            branch: Some("agent/1-x".into()),
            ..Facts::default()
        };
        assert_eq!(policy.decide(&facts("build.queue")).outcome, Outcome::Ask);
        for action in ["pull_request.complete", "pull_request.vote", "pull_request.auto_complete"] {
            assert_eq!(policy.decide(&facts(action)).outcome, Outcome::Deny, "{action}");
        }
        assert_eq!(policy.decide(&facts("pull_request.publish")).outcome, Outcome::Allow);
        let red = Facts { build_green: false, ..facts("pull_request.publish") };
        assert_eq!(policy.decide(&red).rules, ["publish-when-green"]);
    }

    #[test]
    fn nothing_listed_means_deny() {
        let facts = Facts { action: "permissions.grant".into(), project_served: true, ..Facts::default() };
        let verdict = default_policy().decide(&facts);
        assert_eq!(verdict.outcome, Outcome::Deny);
        assert!(verdict.rules.is_empty());
    }

    #[test]
    fn a_permit_needs_facts_about_its_own_action() {
        let action = Action::CreateBranch {
            repository: RepositoryRef { project: "P".into(), repository: "r".into() },
            branch: BranchName::new("agent/x").unwrap(),
            commit: CommitId::new(&"a".repeat(40)).unwrap(),
        };
        let verdict = default_policy().permit(action, &push("agent/x")).unwrap_err();
        assert_eq!(verdict.outcome, Outcome::Deny);
    }

    #[test]
    fn a_rule_file_with_a_doubt_is_refused() {
        let rule = "version = 1\n[[rule]]\nid = \"a\"\neffect = \"allow\"\naction = [\"git.push\"]\n";
        assert!(parse(rule).is_ok());
        assert!(matches!(parse("version = 2"), Err(PolicyError::Version(2))));
        assert!(matches!(parse(&format!("{rule}brnach = [\"main\"]\n")), Err(PolicyError::Form(_))));
        assert!(matches!(parse(&format!("{rule}branch = [\"a{{\"]\n")), Err(PolicyError::Glob { .. })));
        let twice = format!("{rule}[[rule]]\nid = \"a\"\neffect = \"deny\"\naction = [\"x\"]\n");
        assert!(matches!(parse(&twice), Err(PolicyError::Duplicate(_))));
        let failing =
            format!("{rule}[[rule.test]]\nfacts = {{ action = \"git.push\" }}\nexpect = \"deny\"\n");
        assert!(matches!(parse(&failing), Err(PolicyError::Test { number: 1, .. })));
    }

    proptest! {
        #[test]
        fn deciding_is_total_and_an_unknown_action_is_denied(action in "\\PC{0,20}", branch in "\\PC{0,20}") {
            let policy = default_policy();
            let facts = Facts { action: format!("unknown.{action}"), branch: Some(branch), project_served: true,
                own_branch: true, own_pull_request: true, build_green: true, ..Facts::default() };
            prop_assert_eq!(policy.decide(&facts).outcome, Outcome::Deny);
        }
    }
}
