//! The rule file: its form, and how it becomes rules that are ready to match.

use globset::{Glob, GlobBuilder};
use serde::Deserialize;

use super::conditions::{Condition, Count, Flag, Patterns};
use super::facts::{Facts, Label, Level, Trigger};
use super::matcher::{Matcher, Rule};
use super::terms::{self, Approvers, Grant, MAX_APPROVERS, MAX_TTL, Terms};
use super::{Outcome, Policy, PolicyError, actions, budget, check};
use crate::digest::Digest;
use crate::mask::sanitise::Hosts;

/// Most rules in one file.
pub(super) const MAX_RULES: usize = 2_000;
/// Longest id of a rule, in bytes.
const MAX_ID_BYTES: usize = 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    egress: Egress,
    #[serde(default)]
    budget: budget::Form,
    #[serde(default, rename = "rule")]
    rules: Vec<Form>,
}

/// Where outgoing text may point to, besides the organisation and this program's own page.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Egress {
    #[serde(default)]
    hosts: Vec<String>,
}

/// Whether a rule decides.
#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Enforce {
    /// It does.
    #[default]
    Enforce,
    /// It is only noted.
    Observe,
}

/// A rule as written. A condition that is absent does not restrict; conditions are joined by AND.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    id: String,
    effect: Outcome,
    action: Vec<String>,
    #[serde(default)]
    enforce: Enforce,
    message: Option<String>,
    approvers: Option<Approvers>,
    ttl: Option<String>,
    grant: Option<Grant>,
    require_reason: Option<bool>,
    branch: Option<Vec<String>>,
    branch_not: Option<Vec<String>>,
    any_path: Option<Vec<String>>,
    paths: Option<Vec<String>>,
    project: Option<Vec<String>>,
    repository: Option<Vec<String>>,
    special: Option<Vec<String>>,
    field: Option<Vec<String>>,
    trigger: Option<Vec<Trigger>>,
    instructor_group: Option<Vec<String>>,
    instructor_at_least: Option<Level>,
    taint_at_least: Option<Label>,
    project_served: Option<bool>,
    #[serde(alias = "own_pull_request")]
    own_pr: Option<bool>,
    own_branch: Option<bool>,
    run_object: Option<bool>,
    build_green: Option<bool>,
    fork: Option<bool>,
    touches_ci: Option<bool>,
    touches_policy: Option<bool>,
    hidden_characters: Option<bool>,
    new_hosts: Option<bool>,
    taint_elsewhere: Option<bool>,
    class_b: Option<bool>,
    outside_plan: Option<bool>,
    quotes: Option<bool>,
    deleted_over: Option<u64>,
    renamed_over: Option<u64>,
    files_over: Option<u64>,
    bytes_over: Option<u64>,
    deleted_in_run_over: Option<u64>,
    files_in_run_over: Option<u64>,
    bytes_in_run_over: Option<u64>,
    writes_in_run_over: Option<u64>,
    calls_per_minute_over: Option<u64>,
    reviewers_over: Option<u64>,
    #[serde(default, rename = "test")]
    tests: Vec<Test>,
}

/// A test inside a rule: the whole file has to decide so.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Test {
    pub(super) facts: Facts,
    pub(super) expect: Outcome,
}

/// What a test of a rule file came to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Tested {
    /// The rule it stands in.
    pub rule: String,
    /// Which one, from 1.
    pub number: usize,
    /// What it expects.
    pub expected: Outcome,
    /// What the file decides.
    pub found: Outcome,
    /// The rules that decided.
    pub rules: Vec<String>,
}

impl Tested {
    /// Whether it holds.
    pub fn passed(&self) -> bool {
        self.expected == self.found
    }
}

/// Reads and checks a rule file, and runs the tests inside it.
///
/// # Errors
/// [`PolicyError`] for the first doubt found.
pub fn parse(text: &str) -> Result<Policy, PolicyError> {
    let (policy, tested) = parse_and_test(text)?;
    match tested.into_iter().find(|test| !test.passed()) {
        None => Ok(policy),
        Some(Tested { rule, number, expected, found, rules }) => {
            let deciding = if rules.is_empty() { "no rule".to_owned() } else { rules.join(", ") };
            Err(PolicyError::Test { rule, number, expected, found, deciding })
        }
    }
}

/// Reads and checks a rule file, and gives what each test inside it came to.
///
/// # Errors
/// [`PolicyError`] for the first doubt found, failing tests aside.
pub fn parse_and_test(text: &str) -> Result<(Policy, Vec<Tested>), PolicyError> {
    let file: File = toml::from_str(text)?;
    if file.version != 1 {
        return Err(PolicyError::Version(file.version));
    }
    if file.rules.len() > MAX_RULES {
        return Err(PolicyError::TooMany(file.rules.len()));
    }
    let egress = Hosts::new(file.egress.hosts.iter().map(String::as_str))?;
    let mut rules: Vec<Rule> = Vec::with_capacity(file.rules.len());
    let mut globs = Globs::default();
    let mut tests = Vec::new();
    let mut ids = std::collections::HashSet::new();
    for mut form in file.rules {
        check_id(&form.id)?;
        if !ids.insert(form.id.clone()) {
            return Err(PolicyError::Duplicate(form.id));
        }
        tests.push((form.id.clone(), std::mem::take(&mut form.tests)));
        rules.push(compile(form, &mut globs)?);
    }
    check::reachable(&rules)?;
    let matcher = Matcher::new(rules, globs.branch, globs.exact, globs.path)?;
    let hash = Digest::of("ado-coworker policy v1", text.as_bytes());
    let budgets = file.budget.read()?;
    let policy = Policy { matcher, hash, egress: file.egress.hosts, hosts: egress, budgets };
    let mut tested = Vec::new();
    for (rule, tests) in tests {
        for (i, test) in tests.into_iter().enumerate() {
            let verdict = policy.decide(&test.facts);
            let (expected, found) = (test.expect, verdict.outcome);
            tested.push(Tested { rule: rule.clone(), number: i + 1, expected, found, rules: verdict.rules });
        }
    }
    Ok((policy, tested))
}

fn check_id(id: &str) -> Result<(), PolicyError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(plain) {
        true => Ok(()),
        false => Err(PolicyError::Id(id.chars().take(MAX_ID_BYTES).filter(|c| !c.is_control()).collect())),
    }
}

/// The patterns of all rules so far.
#[derive(Default)]
struct Globs {
    /// Of rules that ask or deny: letters do not count.
    branch: Vec<Glob>,
    /// Of rules that allow, and of what is excepted.
    exact: Vec<Glob>,
    path: Vec<Glob>,
}

fn compile(mut form: Form, globs: &mut Globs) -> Result<Rule, PolicyError> {
    let id = form.id.clone();
    let action = actions_of(&form)?;
    let allows = form.effect == Outcome::Allow;
    let mut conditions = plain_conditions(&mut form)?;
    if let Some(written) = listed(&id, "branch", form.branch.take())? {
        let set = if allows { &mut globs.exact } else { &mut globs.branch };
        conditions.push(Condition::Branch(add(&id, written, set, !allows)?));
    }
    if let Some(written) = listed(&id, "branch_not", form.branch_not.take())? {
        conditions.push(Condition::BranchNot(add(&id, written, &mut globs.exact, false)?));
    }
    // Azure DevOps serves people on systems that ignore case: a rule must not be dodged by it.
    if let Some(written) = listed(&id, "any_path", form.any_path.take())? {
        conditions.push(Condition::AnyPath(add(&id, written, &mut globs.path, true)?));
    }
    if let Some(written) = listed(&id, "paths", form.paths.take())? {
        conditions.push(Condition::Paths(add(&id, written, &mut globs.path, true)?));
    }
    let terms = terms_of(&form)?;
    let observes = form.enforce == Enforce::Observe;
    Ok(Rule { id, effect: form.effect, observes, message: form.message, action, conditions, terms })
}

/// The known actions that a rule is about.
fn actions_of(form: &Form) -> Result<Vec<&'static str>, PolicyError> {
    if form.action.is_empty() {
        return Err(PolicyError::Empty { rule: form.id.clone(), key: "action" });
    }
    let mut found = Vec::new();
    for pattern in &form.action {
        let glob = glob(&form.id, pattern, false)?.compile_matcher();
        let fits: Vec<&'static str> =
            actions::KNOWN.iter().copied().filter(|name| glob.is_match(name)).collect();
        if fits.is_empty() {
            let known = actions::KNOWN.join(", ");
            return Err(PolicyError::Action { rule: form.id.clone(), pattern: pattern.clone(), known });
        }
        found.extend(fits);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn plain_conditions(form: &mut Form) -> Result<Vec<Condition>, PolicyError> {
    let id = form.id.clone();
    let mut found = Vec::new();
    let flags = [
        (Flag::ProjectServed, form.project_served),
        (Flag::OwnPr, form.own_pr),
        (Flag::OwnBranch, form.own_branch),
        (Flag::RunObject, form.run_object),
        (Flag::BuildGreen, form.build_green),
        (Flag::Fork, form.fork),
        (Flag::TouchesCi, form.touches_ci),
        (Flag::TouchesPolicy, form.touches_policy),
        (Flag::HiddenCharacters, form.hidden_characters),
        (Flag::NewHosts, form.new_hosts),
        (Flag::TaintElsewhere, form.taint_elsewhere),
        (Flag::ClassB, form.class_b),
        (Flag::OutsidePlan, form.outside_plan),
        (Flag::Quotes, form.quotes),
    ];
    found.extend(flags.into_iter().filter_map(|(flag, wanted)| Some(Condition::Flag(flag, wanted?))));
    let counts = [
        (Count::Deleted, form.deleted_over),
        (Count::Renamed, form.renamed_over),
        (Count::Files, form.files_over),
        (Count::Bytes, form.bytes_over),
        (Count::DeletedInRun, form.deleted_in_run_over),
        (Count::FilesInRun, form.files_in_run_over),
        (Count::BytesInRun, form.bytes_in_run_over),
        (Count::WritesInRun, form.writes_in_run_over),
        (Count::CallsPerMinute, form.calls_per_minute_over),
        (Count::Reviewers, form.reviewers_over),
    ];
    found.extend(counts.into_iter().filter_map(|(count, limit)| Some(Condition::Over(count, limit?))));
    found.extend(form.taint_at_least.map(Condition::TaintAtLeast));
    found.extend(form.instructor_at_least.map(Condition::LevelAtLeast));
    if let Some(triggers) = form.trigger.take() {
        if triggers.is_empty() {
            return Err(PolicyError::Empty { rule: id, key: "trigger" });
        }
        found.push(Condition::Trigger(triggers));
    }
    found.extend(listed(&id, "instructor_group", form.instructor_group.take())?.map(Condition::Group));
    found.extend(listed(&id, "project", form.project.take())?.map(Condition::Project));
    found.extend(listed(&id, "repository", form.repository.take())?.map(Condition::Repository));
    found.extend(listed(&id, "special", form.special.take())?.map(Condition::Special));
    found.extend(listed(&id, "field", form.field.take())?.map(Condition::Field));
    Ok(found)
}

/// A list that has something in it, or is not there.
fn listed(
    rule: &str,
    key: &'static str,
    list: Option<Vec<String>>,
) -> Result<Option<Vec<String>>, PolicyError> {
    match list {
        Some(list) if list.is_empty() || list.iter().any(|one| one.trim().is_empty()) => {
            Err(PolicyError::Empty { rule: rule.to_owned(), key })
        }
        other => Ok(other),
    }
}

fn add(rule: &str, written: Vec<String>, set: &mut Vec<Glob>, fold: bool) -> Result<Patterns, PolicyError> {
    let from = set.len();
    for pattern in &written {
        let bare = pattern.strip_prefix("refs/heads/").unwrap_or(pattern);
        set.push(glob(rule, bare.trim_start_matches('/'), fold)?);
    }
    Ok(Patterns { from, to: set.len(), written })
}

fn glob(rule: &str, pattern: &str, fold: bool) -> Result<Glob, PolicyError> {
    let text = if fold { pattern.to_lowercase() } else { pattern.to_owned() };
    GlobBuilder::new(&text).literal_separator(true).build().map_err(|error| PolicyError::Glob {
        rule: rule.to_owned(),
        glob: pattern.to_owned(),
        reason: error.kind().to_string(),
    })
}

fn terms_of(form: &Form) -> Result<Option<Terms>, PolicyError> {
    let value = |reason: String| PolicyError::Value { rule: form.id.clone(), reason };
    let given = form.approvers.is_some()
        || form.ttl.is_some()
        || form.grant.is_some()
        || form.require_reason.is_some();
    if form.effect != Outcome::Ask {
        return match given {
            true => Err(value(
                "'approvers', 'ttl', 'grant' and 'require_reason' belong to rules with effect \"ask\"".into(),
            )),
            false => Ok(None),
        };
    }
    let mut terms = Terms::default();
    if let Some(approvers) = &form.approvers {
        if approvers.any_of.is_empty() {
            return Err(PolicyError::Empty { rule: form.id.clone(), key: "approvers.any_of" });
        }
        if approvers.min == 0 || approvers.min > MAX_APPROVERS {
            return Err(value(format!("approvers.min is 1 to {MAX_APPROVERS}")));
        }
        let known = |name: &String| terms::ROLES.contains(&name.as_str()) || terms::is_object_id(name);
        if let Some(group) = approvers.any_of.iter().find(|name| !known(name)) {
            return Err(PolicyError::Approvers { rule: form.id.clone(), group: group.clone() });
        }
        terms.approvers = approvers.clone();
    }
    if let Some(text) = &form.ttl {
        let limit = MAX_TTL.as_secs() / 3600;
        let ttl = terms::time(text).ok_or_else(|| {
            value(format!("ttl '{text}' is not a time; write 90s, 30m or 2h, at most {limit}h"))
        })?;
        terms.ttl_s = ttl.as_secs();
    }
    terms.grant = form.grant.unwrap_or_default();
    terms.require_reason = form.require_reason.unwrap_or_default();
    Ok(Some(terms))
}
