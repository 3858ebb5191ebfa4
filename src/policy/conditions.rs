//! The conditions of a rule: how each is written, when it holds, and how it is told.

use super::facts::{Facts, Label, Level, Trigger};

/// A fact that is true or false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    ProjectServed,
    OwnPr,
    OwnBranch,
    RunObject,
    BuildGreen,
    Fork,
    TouchesCi,
    TouchesPolicy,
    HiddenCharacters,
    NewHosts,
    TaintElsewhere,
    ClassB,
    OutsidePlan,
    Quotes,
}

impl Flag {
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::ProjectServed => "project_served",
            Self::OwnPr => "own_pr",
            Self::OwnBranch => "own_branch",
            Self::RunObject => "run_object",
            Self::BuildGreen => "build_green",
            Self::Fork => "fork",
            Self::TouchesCi => "touches_ci",
            Self::TouchesPolicy => "touches_policy",
            Self::HiddenCharacters => "hidden_characters",
            Self::NewHosts => "new_hosts",
            Self::TaintElsewhere => "taint_elsewhere",
            Self::ClassB => "class_b",
            Self::OutsidePlan => "outside_plan",
            Self::Quotes => "quotes",
        }
    }

    fn of(self, facts: &Facts) -> bool {
        match self {
            Self::ProjectServed => facts.project_served,
            Self::OwnPr => facts.own_pull_request,
            Self::OwnBranch => facts.own_branch,
            Self::RunObject => facts.run_object,
            Self::BuildGreen => facts.build_green,
            Self::Fork => facts.fork,
            Self::TouchesCi => facts.touches_ci,
            Self::TouchesPolicy => facts.touches_policy,
            Self::HiddenCharacters => facts.hidden_characters,
            Self::NewHosts => !facts.new_hosts.is_empty(),
            Self::TaintElsewhere => facts.taint_elsewhere,
            Self::ClassB => facts.class_b,
            Self::OutsidePlan => facts.outside_plan,
            Self::Quotes => !facts.quotes.is_empty(),
        }
    }
}

/// A fact that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Deleted,
    Renamed,
    Files,
    Bytes,
    DeletedInRun,
    FilesInRun,
    BytesInRun,
    WritesInRun,
    CallsPerMinute,
    Reviewers,
}

impl Count {
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Deleted => "deleted_over",
            Self::Renamed => "renamed_over",
            Self::Files => "files_over",
            Self::Bytes => "bytes_over",
            Self::DeletedInRun => "deleted_in_run_over",
            Self::FilesInRun => "files_in_run_over",
            Self::BytesInRun => "bytes_in_run_over",
            Self::WritesInRun => "writes_in_run_over",
            Self::CallsPerMinute => "calls_per_minute_over",
            Self::Reviewers => "reviewers_over",
        }
    }

    fn of(self, facts: &Facts) -> u64 {
        match self {
            Self::Deleted => facts.deleted.into(),
            Self::Renamed => facts.renamed.into(),
            Self::Files => facts.files.into(),
            Self::Bytes => facts.bytes,
            Self::DeletedInRun => facts.deleted_in_run.into(),
            Self::FilesInRun => facts.files_in_run.into(),
            Self::BytesInRun => facts.bytes_in_run,
            Self::WritesInRun => facts.writes_in_run.into(),
            Self::CallsPerMinute => facts.calls_per_minute.into(),
            Self::Reviewers => facts.reviewers_added.into(),
        }
    }
}

/// A stretch of the patterns of all rules, in one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patterns {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) written: Vec<String>,
}

impl Patterns {
    /// Whether one of the sorted `hits` is among these.
    fn hit(&self, hits: &[usize]) -> bool {
        let at = hits.partition_point(|hit| *hit < self.from);
        hits.get(at).is_some_and(|hit| *hit < self.to)
    }
}

/// One condition. All conditions of a rule have to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Flag(Flag, bool),
    Over(Count, u64),
    TaintAtLeast(Label),
    Trigger(Vec<Trigger>),
    LevelAtLeast(Level),
    Group(Vec<String>),
    Project(Vec<String>),
    Repository(Vec<String>),
    Special(Vec<String>),
    Field(Vec<String>),
    /// Letters count, where a rule allows; they do not, where it asks or denies.
    Branch(Patterns),
    /// The branch fits none, or there is none: for rules that hold everything else back.
    BranchNot(Patterns),
    AnyPath(Patterns),
    /// Every path.
    Paths(Patterns),
}

/// Which patterns a call's branch and paths fit.
#[derive(Default)]
pub(super) struct Hits {
    pub(super) branch: Vec<usize>,
    /// All patterns that some path fits.
    pub(super) any_path: Vec<usize>,
    /// For each path those that it fits.
    pub(super) paths: Vec<Vec<usize>>,
}

impl Condition {
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Flag(flag, _) => flag.key(),
            Self::Over(count, _) => count.key(),
            Self::TaintAtLeast(_) => "taint_at_least",
            Self::Trigger(_) => "trigger",
            Self::LevelAtLeast(_) => "instructor_at_least",
            Self::Group(_) => "instructor_group",
            Self::Project(_) => "project",
            Self::Repository(_) => "repository",
            Self::Special(_) => "special",
            Self::Field(_) => "field",
            Self::Branch(_) => "branch",
            Self::BranchNot(_) => "branch_not",
            Self::AnyPath(_) => "any_path",
            Self::Paths(_) => "paths",
        }
    }

    pub(super) fn holds(&self, facts: &Facts, hits: &Hits) -> bool {
        let same = |list: &[String], one: &str| list.iter().any(|item| item.eq_ignore_ascii_case(one));
        match self {
            Self::Flag(flag, wanted) => flag.of(facts) == *wanted,
            Self::Over(count, limit) => count.of(facts) > *limit,
            Self::TaintAtLeast(label) => facts.taint >= *label,
            Self::Trigger(list) => list.contains(&facts.trigger),
            Self::LevelAtLeast(level) => facts.instructor.level >= *level,
            Self::Group(list) => facts.instructor.groups.iter().any(|group| same(list, group)),
            Self::Project(list) => same(list, &facts.project),
            Self::Repository(list) => facts.repository.as_deref().is_some_and(|name| same(list, name)),
            Self::Special(list) => facts.special.iter().any(|kind| same(list, kind)),
            Self::Field(list) => facts.fields.iter().any(|field| same(list, field)),
            Self::Branch(patterns) => patterns.hit(&hits.branch),
            Self::BranchNot(patterns) => !patterns.hit(&hits.branch),
            Self::AnyPath(patterns) => patterns.hit(&hits.any_path),
            Self::Paths(patterns) => {
                !hits.paths.is_empty() && hits.paths.iter().all(|hits| patterns.hit(hits))
            }
        }
    }

    /// What the rule wants, as it is written.
    pub(super) fn wanted(&self) -> String {
        match self {
            Self::Flag(_, wanted) => wanted.to_string(),
            Self::Over(_, limit) => limit.to_string(),
            Self::TaintAtLeast(label) => label.as_str().to_owned(),
            Self::Trigger(list) => named(list),
            Self::LevelAtLeast(level) => named(level),
            Self::Group(list)
            | Self::Project(list)
            | Self::Repository(list)
            | Self::Special(list)
            | Self::Field(list) => list.join(", "),
            Self::Branch(patterns)
            | Self::BranchNot(patterns)
            | Self::AnyPath(patterns)
            | Self::Paths(patterns) => patterns.written.join(", "),
        }
    }

    /// What the facts say about it.
    pub(super) fn found(&self, facts: &Facts) -> String {
        let list = |list: &[String]| match list {
            [] => "none".to_owned(),
            list => list.join(", "),
        };
        match self {
            Self::Flag(Flag::NewHosts, _) => list(&facts.new_hosts),
            Self::Flag(Flag::Quotes, _) => list(&facts.quotes),
            Self::Flag(flag, _) => flag.of(facts).to_string(),
            Self::Over(count, _) => count.of(facts).to_string(),
            Self::TaintAtLeast(_) => facts.taint.as_str().to_owned(),
            Self::Trigger(_) => named(&facts.trigger),
            Self::LevelAtLeast(_) => named(&facts.instructor.level),
            Self::Group(_) => list(&facts.instructor.groups),
            Self::Project(_) => facts.project.clone(),
            Self::Repository(_) => facts.repository.clone().unwrap_or_else(|| "none".to_owned()),
            Self::Special(_) => list(&facts.special),
            Self::Field(_) => list(&facts.fields),
            Self::Branch(_) | Self::BranchNot(_) => facts.branch.clone().unwrap_or_else(|| "none".to_owned()),
            Self::AnyPath(_) | Self::Paths(_) => list(&facts.paths),
        }
    }

    /// Whether this condition holds wherever `other` does.
    pub(super) fn follows_from(&self, other: &Self) -> bool {
        let within = |small: &[String], large: &[String]| {
            small.iter().all(|one| large.iter().any(|other| other.eq_ignore_ascii_case(one)))
        };
        let globs = |small: &Patterns, large: &Patterns| {
            small.written.iter().all(|one| large.written.iter().any(|other| covers(other, one)))
        };
        match (self, other) {
            (Self::Flag(a, x), Self::Flag(b, y)) => a == b && x == y,
            (Self::Over(a, x), Self::Over(b, y)) => a == b && x <= y,
            (Self::TaintAtLeast(x), Self::TaintAtLeast(y)) => x <= y,
            (Self::LevelAtLeast(x), Self::LevelAtLeast(y)) => x <= y,
            (Self::Trigger(x), Self::Trigger(y)) => y.iter().all(|one| x.contains(one)),
            (Self::Group(x), Self::Group(y))
            | (Self::Project(x), Self::Project(y))
            | (Self::Repository(x), Self::Repository(y))
            | (Self::Special(x), Self::Special(y))
            | (Self::Field(x), Self::Field(y)) => within(y, x),
            (Self::Branch(x), Self::Branch(y))
            | (Self::AnyPath(x), Self::AnyPath(y) | Self::Paths(y))
            | (Self::Paths(x), Self::Paths(y)) => globs(y, x),
            (Self::BranchNot(x), Self::BranchNot(y)) => globs(x, y),
            _ => false,
        }
    }
}

/// The word of a value in the rule file.
fn named<T: serde::Serialize>(value: &T) -> String {
    let word = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match serde_json::to_value(value) {
        Ok(serde_json::Value::Array(items)) => items.iter().map(word).collect::<Vec<_>>().join(", "),
        Ok(value) => word(&value),
        Err(_) => String::new(),
    }
}

/// Whether everything that fits `narrow` certainly fits `wide`.
fn covers(wide: &str, narrow: &str) -> bool {
    let (wide, narrow) = (wide.to_lowercase(), narrow.to_lowercase());
    if wide == narrow || wide == "**" {
        return true;
    }
    if let Some(folder) = wide.strip_suffix("/**")
        && narrow.strip_prefix(folder).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
        && !folder.contains(['*', '?', '[', '{'])
    {
        return true;
    }
    let is_plain = !narrow.contains(['*', '?', '[', '{', '\\']);
    is_plain
        && globset::GlobBuilder::new(&wide)
            .literal_separator(true)
            .build()
            .is_ok_and(|glob| glob.compile_matcher().is_match(&narrow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_surely_holds() {
        for (wide, narrow) in [
            ("**", "x/*"),
            ("agent/**", "agent/x"),
            ("agent/**", "agent/1-*"),
            ("release/*", "release/1"),
            ("MAIN", "main"),
        ] {
            assert!(covers(wide, narrow), "{wide} {narrow}");
        }
        for (wide, narrow) in
            [("agent/*", "agent/**"), ("agent/**", "agent"), ("main", "m*"), ("a/**", "ab/c")]
        {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
    }
}
