//! What a run's log holds: one entry per thing that happened, in order.
//!
//! Entries are facts and never change. A reader that meets an entry type it does not know gets
//! [`Entry::Unknown`] and must not guess: the run is parked for a person.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Note;
use crate::action::Action;
use crate::digest::Digest;
use crate::event::Trigger;
use crate::policy::approval::{Change, Request, Who};
use crate::policy::{Label, TaintSource, Verdict};
use crate::trace::Called;

/// Identifies a run: 32 hexadecimal digits that sort by time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub(super) String);

impl RunId {
    /// A new id.
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().simple().to_string())
    }

    /// Reads an id from a path or a trailer.
    pub fn parse(text: &str) -> Option<Self> {
        let ok = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        ok.then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a run is (CONTRACTS: run status).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for a worker.
    Queued,
    /// A worker holds it.
    Running,
    /// Waits for something outside; see [`WaitingFor`].
    Waiting,
    /// Ended with an answer.
    Done,
    /// Ended because what was asked may not be done.
    Refused,
    /// Ended by a fault.
    Failed,
    /// Ended by a person.
    Cancelled,
    /// Stopped for a person to look at, because going on would be guessing.
    Parked,
}

impl Status {
    /// The name in API and journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Parked => "parked",
        }
    }

    /// The status with this name.
    pub fn parse(text: &str) -> Option<Self> {
        const ALL: [Status; 8] = [
            Status::Queued,
            Status::Running,
            Status::Waiting,
            Status::Done,
            Status::Refused,
            Status::Failed,
            Status::Cancelled,
            Status::Parked,
        ];
        ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether nothing more will happen by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Refused | Self::Failed | Self::Cancelled | Self::Parked)
    }
}

/// What a waiting run waits for (CONTRACTS: `waiting_for`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// A person's decision on an action.
    Approval,
    /// A person's words.
    Person,
    /// A build.
    Build,
    /// An outside system that asked for patience.
    RateLimit,
}

impl WaitingFor {
    /// The name in API and journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Person => "person",
            Self::Build => "build",
            Self::RateLimit => "rate_limit",
        }
    }

    /// The one with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Approval, Self::Person, Self::Build, Self::RateLimit].into_iter().find(|w| w.as_str() == text)
    }
}

/// How a run came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The page or the API.
    Chat,
    /// The command line.
    CommandLine,
    /// A service hook.
    Webhook,
}

impl Source {
    /// The name in API and journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::CommandLine => "command_line",
            Self::Webhook => "webhook",
        }
    }

    /// The one with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Chat, Self::CommandLine, Self::Webhook].into_iter().find(|s| s.as_str() == text)
    }
}

/// A person as shown; the id is the identity's in Azure DevOps where it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Display name.
    pub name: String,
    /// Account (mail address), where known.
    pub account: Option<String>,
    /// Identity id in Azure DevOps, where known.
    pub id: Option<String>,
    /// Object id in Entra, where the person has signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oid: Option<String>,
}

impl Person {
    /// A person known by name only.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), account: None, id: None, oid: None }
    }
}

impl From<&Person> for Who {
    fn from(person: &Person) -> Self {
        let ids = [&person.id, &person.oid].into_iter().flatten().cloned().collect();
        Self { name: person.name.clone(), account: person.account.clone(), ids }
    }
}

/// A tool call that the model asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The model's id of the call.
    pub id: String,
    /// Tool name.
    pub name: String,
    /// Arguments as the model wrote them (JSON text, perhaps broken).
    pub arguments: String,
}

/// Tokens used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read by the model.
    pub input: u64,
    /// Of those, from its cache.
    pub cached: u64,
    /// Tokens written by the model.
    pub output: u64,
}

/// Something in the organisation that a run made or used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// `work_item`, `branch`, `commit`, `pull_request`, `thread` or `build`.
    pub kind: String,
    /// What people read.
    pub title: String,
    /// Where it is.
    pub url: String,
}

/// What a tool call came to, for people; the model's part is in `content`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether it did what was asked.
    pub ok: bool,
    /// What the model is given, JSON text.
    pub content: String,
    /// One line for people.
    pub summary: String,
    /// Where the thing it worked on can be seen.
    pub target_url: Option<String>,
    /// What was made.
    #[serde(default)]
    pub links: Vec<Link>,
    /// Unified diff of a push.
    pub diff: Option<String>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Entry {
    /// The run exists.
    Created {
        /// How it came to be.
        source: Source,
        /// Who asked.
        requested_by: Person,
        /// Project served.
        project: String,
        /// Repository served.
        repository: String,
        /// What it is about, for example `pull_request:12`.
        subject: Option<String>,
        /// What in Azure DevOps began it; none for an order from a person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trigger: Option<Trigger>,
    },
    /// Somebody said something: the instruction first, steering later.
    Message {
        /// Who.
        from: Person,
        /// What.
        text: String,
    },
    /// Which prompts, tools and rules this run is worked with (hashes).
    Prepared {
        /// System prompt and playbook, exactly as given to the model.
        system: String,
        /// Hash of the prompts.
        prompts: String,
        /// Hash of the tool schemas.
        tools: String,
        /// Hash of the policy.
        policy: String,
    },
    /// The model answered a turn completely.
    Replied {
        /// Which turn, from 1.
        turn: u32,
        /// Sequence number of the newest entry that the model was given; words that came later
        /// are for the next turn.
        read_to: i64,
        /// Its words.
        text: String,
        /// The calls it wants.
        calls: Vec<Call>,
        /// Why it stopped, as the service named it.
        finish: String,
        /// Tokens.
        usage: Usage,
        /// The model that answered, as it named itself.
        model: String,
        /// The service's id of the request.
        request_id: Option<String>,
        /// How long it took, in milliseconds.
        duration_ms: u64,
        /// The requests that it took, by the ids that both sides know.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outside: Vec<Called>,
    },
    /// Work on a tool call began.
    ToolStarted {
        /// Number of the tool call in the run, from 1.
        step: u32,
        /// The model's id of the call.
        call_id: String,
        /// Tool name.
        tool: String,
        /// Arguments, parsed where they parse.
        arguments: Value,
    },
    /// What a call read changed how far the run is trusted, or something was cleaned.
    TaintChanged {
        /// Step.
        step: u32,
        /// The highest label of all that the run has read.
        label: Label,
        /// It has read something secret.
        class_b: bool,
        /// The texts that are new.
        #[serde(default)]
        sources: Vec<TaintSource>,
        /// What was cleaned, each with how often.
        #[serde(default)]
        flags: Vec<String>,
    },
    /// The judge decided on an action of a step and did not allow it.
    Decided {
        /// Step.
        step: u32,
        /// The action's name.
        action: String,
        /// What the judge said.
        verdict: Verdict,
    },
    /// An action waits for people. The journal refuses it where the rules deny it.
    ApprovalRequested {
        /// What is asked.
        request: Box<Request>,
    },
    /// Something happened to an approval. The journal refuses what its state does not allow.
    ApprovalChanged {
        /// Which.
        id: String,
        /// What.
        what: Change,
    },
    /// The call behind an approval was made again, and this is what came of it.
    Carried {
        /// Which approval.
        id: String,
        /// The step of the call.
        step: u32,
        /// What it came to.
        #[serde(flatten)]
        outcome: Outcome,
        /// How long it took, in milliseconds.
        duration_ms: u64,
    },
    /// Somebody broke the glass for an approval, and a review of that was asked for.
    ReviewAsked {
        /// Which approval.
        id: String,
        /// The page of the work item.
        work_item: Option<String>,
        /// Why there is none.
        why_not: Option<String>,
    },
    /// An allowed action is about to be performed. Synced before it is sent.
    Intended {
        /// Step.
        step: u32,
        /// Which write of the step, from 1.
        write: u32,
        /// Exactly what.
        action: Action,
        /// Its digest.
        digest: Digest,
        /// What the judge said.
        verdict: Verdict,
    },
    /// What became of an intended action.
    Performed {
        /// Step.
        step: u32,
        /// Which write of the step.
        write: u32,
        /// What Azure DevOps answered, or none where it failed.
        effect: Option<Value>,
        /// The fault, where it failed.
        error: Option<String>,
    },
    /// A tool call has its result.
    ToolFinished {
        /// Step.
        step: u32,
        /// The model's id of the call.
        call_id: String,
        /// Tool name.
        tool: String,
        /// What it came to.
        #[serde(flatten)]
        outcome: Outcome,
        /// How long it took, in milliseconds.
        duration_ms: u64,
    },
    /// Something went wrong that the run survives.
    Trouble {
        /// What, for people.
        what: String,
        /// What can be done about it.
        remedy: Option<String>,
    },
    /// The run waits.
    Waiting {
        /// For what.
        waiting_for: WaitingFor,
        /// In words.
        reason: String,
        /// When it goes on by itself, microseconds since 1970.
        wake_at: Option<i64>,
    },
    /// The run goes on after waiting.
    Resumed {},
    /// A person asked it to stop.
    CancelRequested {
        /// Who.
        by: Person,
    },
    /// A person ended it at once; the end follows.
    Killed {
        /// Who.
        by: Person,
        /// Why; may be empty.
        reason: String,
    },
    /// What a step asked of Azure DevOps, in order.
    Exchanged {
        /// Step.
        step: u32,
        /// Each request with its answer.
        exchanges: Vec<Called>,
    },
    /// Something in the house's own log.
    House {
        /// What.
        note: Note,
    },
    /// The end.
    Finished {
        /// How.
        status: Status,
        /// The answer, Markdown; or what went wrong.
        answer: String,
        /// What a person can do, where it did not end well.
        remedy: Option<String>,
    },
    /// An entry whose body was erased; only its commitment is left in the record.
    #[serde(skip)]
    Erased,
    /// An entry this program does not know.
    #[serde(other)]
    Unknown,
}

impl Entry {
    /// Whether the holder of the run lets go of it with this entry.
    pub fn leaves_the_run(&self) -> bool {
        matches!(self, Self::Waiting { .. } | Self::Finished { .. })
    }
}

/// An entry in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// Sequence number in the run, from 1.
    pub seq: i64,
    /// When, microseconds since 1970, UTC.
    pub ts: i64,
    /// The JSON text as stored; empty when it was erased.
    pub body: String,
    /// What it says.
    pub entry: Entry,
}
