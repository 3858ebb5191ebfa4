//! What is known about one action. Everything here was computed in Rust from resolved data: what
//! the service said, what the action holds, what the run's log holds. Nothing comes from the
//! words of a model.

use serde::{Deserialize, Serialize};

use super::Terms;
use crate::digest::{self, Digest};

/// Most sources of taint that facts carry; a run that has more is no less tainted.
pub const MAX_TAINT_SOURCES: usize = 64;
/// Most paths that a recorded decision keeps.
const MAX_RECORDED_PATHS: usize = 256;

/// How far a text may be trusted (GOVERNANCE §6.1). Ordered: the label of a run is the highest of
/// all that it has read, and never goes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Our own prompts and rules, and what this program itself wrote.
    #[default]
    Trusted,
    /// Words of a person who may give orders.
    Instructor,
    /// Text of the team: members of the project, files on the default branch.
    Internal,
    /// Everything else.
    Untrusted,
}

impl Label {
    /// The name in rules and in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Instructor => "instructor",
            Self::Internal => "internal",
            Self::Untrusted => "untrusted",
        }
    }
}

/// One text that a run has read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct TaintSource {
    /// `work_item`, `comment`, `pull_request`, `file`, `build_log`, `search`, `person` or `error`.
    pub kind: String,
    /// Which one, for example `work_item:7` or `/src/cart.ts`.
    pub object: String,
    /// Project it is in.
    pub project: String,
    /// Repository it is in, where it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Identity id of its author in Azure DevOps, where there is one author.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author_id: Option<String>,
    /// Account or display name of the author.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// How far it is trusted.
    pub label: Label,
    /// Short digest of the text as it was read.
    pub hash: String,
    /// Its page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// How a run came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A person at the page or the API.
    #[default]
    Chat,
    /// A person at the command line.
    CommandLine,
    /// Something that happened in the organisation: a service hook or a poll.
    Event,
}

/// What the person behind a run may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Not known.
    #[default]
    None,
    /// A member of the project who may not give orders.
    Member,
    /// May give orders.
    Instructor,
}

/// The person whose order the run works on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Instructor {
    /// Identity id, where known.
    pub id: Option<String>,
    /// Account or name.
    pub name: String,
    /// Groups, by object id and by name; empty where they could not be resolved, or no rule asks.
    pub groups: Vec<String>,
    /// What they may do.
    pub level: Level,
}

/// What is known about one action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Facts {
    /// Name of the action, for example `git.push` or `git.read`.
    pub action: String,
    /// Project it concerns, as resolved.
    pub project: String,
    /// Whether that project is the one this co-worker serves.
    pub project_served: bool,
    /// Repository it concerns.
    pub repository: Option<String>,
    /// Branch that is written, without `refs/heads/`.
    pub branch: Option<String>,
    /// Every path that is written: NFC, lower case, without a leading slash.
    pub paths: Vec<String>,
    /// Files added.
    pub added: u32,
    /// Files deleted or emptied.
    pub deleted: u32,
    /// Files renamed.
    pub renamed: u32,
    /// Files touched in all.
    pub files: u32,
    /// Bytes of all new contents and texts.
    pub bytes: u64,
    /// Files deleted by this run so far, with this action.
    pub deleted_in_run: u32,
    /// Files touched by this run so far, with this action.
    pub files_in_run: u32,
    /// Bytes written by this run so far, with this action.
    pub bytes_in_run: u64,
    /// Writes of this very action by this run so far, with this one.
    pub writes_in_run: u32,
    /// Calls of tools by this run in the last minute.
    pub calls_per_minute: u32,
    /// The pull request was opened by the agent user.
    #[serde(rename = "own_pr", alias = "own_pull_request")]
    pub own_pull_request: bool,
    /// The branch did not exist, or the agent user created it.
    pub own_branch: bool,
    /// The object is this run's own: made by it, or what its order named.
    pub run_object: bool,
    /// The newest build of each definition for the pull request succeeded and is of its newest
    /// commit; also where there is no build.
    pub build_green: bool,
    /// A build is asked for code of a fork.
    pub fork: bool,
    /// It changes what a build runs.
    pub touches_ci: bool,
    /// It changes rules, approvers or owners of code.
    pub touches_policy: bool,
    /// Files that act beyond themselves: `git_settings`, `lock_file`, `dependencies`,
    /// `package_source`, `package_scripts`, `instructions`.
    pub special: Vec<String>,
    /// New text of a file turns its direction or hides characters.
    pub hidden_characters: bool,
    /// Fields of a work item that are changed, by reference name.
    pub fields: Vec<String>,
    /// People who are asked to review and did not give the order.
    pub reviewers_added: u32,
    /// Hosts in outgoing text that are not on the egress list.
    pub new_hosts: Vec<String>,
    /// How the run came to be.
    pub trigger: Trigger,
    /// Who gave the order.
    pub instructor: Instructor,
    /// The highest label of all that the run has read.
    pub taint: Label,
    /// What it has read.
    pub taint_sources: Vec<TaintSource>,
    /// It has read a text from another project or repository than the one that is written.
    pub taint_elsewhere: bool,
    /// It has read something secret.
    pub class_b: bool,
    /// The run began with an event, and the action is not among those its beginning fixed.
    pub outside_plan: bool,
    /// Objects that the outgoing text quotes at length.
    pub quotes: Vec<String>,
}

impl Facts {
    /// The digest of exactly these facts.
    pub fn hash(&self) -> Digest {
        // Facts are plain values, so the text can always be made; none would be a digest of nothing.
        let text = digest::canonical(self).unwrap_or_default();
        Digest::of("ado-coworker facts v1", text.as_bytes())
    }

    /// These facts as a record keeps them: lists of a bounded length.
    pub fn for_record(&self) -> Self {
        let mut kept = self.clone();
        kept.paths.truncate(MAX_RECORDED_PATHS);
        kept.taint_sources.truncate(MAX_TAINT_SOURCES);
        kept
    }
}

/// What the judge says about one action, and everything that a reader needs to see why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Allow, ask or deny.
    pub outcome: super::Outcome,
    /// Ids of the rules that matched with that outcome, the first one first; empty when nothing
    /// matched (then: deny).
    pub rules: Vec<String>,
    /// What to tell the model and the person.
    pub message: String,
    /// Hash of the rule file that decided.
    pub policy: Digest,
    /// Names this decision: 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Digest of the facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts_hash: Option<Digest>,
    /// The facts, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Box<Facts>>,
    /// How long deciding took, in microseconds.
    #[serde(default)]
    pub micros: u64,
    /// Rules that only observe and would have asked or denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<String>,
    /// Who may approve it and for how long; where a person is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
}

impl Default for Verdict {
    /// A denial by nobody.
    fn default() -> Self {
        Self {
            outcome: super::Outcome::Deny,
            rules: Vec::new(),
            message: String::new(),
            policy: Digest::of("ado-coworker policy v1", b""),
            id: String::new(),
            facts_hash: None,
            facts: None,
            micros: 0,
            observed: Vec::new(),
            terms: None,
        }
    }
}

impl Verdict {
    /// This verdict with the facts it was given on.
    pub fn on(self, facts: &Facts) -> Self {
        Self { facts_hash: Some(facts.hash()), facts: Some(Box::new(facts.for_record())), ..self }
    }
}
