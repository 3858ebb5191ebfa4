//! What the organisation holds: people, projects, repositories, and the collections of the rest.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Counters;
use super::access::Denial;
use super::attachments::Attachment;
use super::build::{Build, Definition};
use super::entries::AccessEntry;
use super::folders::Folder;
use super::hooks::Subscription;
use super::jobs::Job;
use super::ledger::Entry;
use super::operations::Operation;
use super::policies::Policy;
use super::pull_request::PullRequest;
use super::queries::SavedQuery;
use super::table::{Log, Table};
use super::teams::Teams;
use super::work_item::WorkItem;
use crate::simulator::azure_devops::wire_enum::wire_enum;

/// Forty zeros: "no object".
pub const ZERO_SHA: &str = "0000000000000000000000000000000000000000";

/// The identity that writes system comments.
pub const SYSTEM_ID: Uuid = Uuid::from_u128(0x0000_0002_0000_8888_8000_0000_0000_0000);

/// Everything that is saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Data {
    /// Name in the address, `contoso`.
    pub organization: String,
    /// Id of the organisation.
    pub instance_id: Uuid,
    /// Identities by id.
    pub people: Table<Uuid, Person>,
    /// Projects by id.
    pub projects: Table<Uuid, Project>,
    /// Repositories by id.
    pub repositories: Table<Uuid, Repository>,
    /// Pushes, oldest first.
    pub pushes: Log<Push>,
    /// Pull requests by number.
    pub pull_requests: Table<u32, PullRequest>,
    /// Work items by id, deleted ones too.
    pub work_items: Table<u32, WorkItem>,
    /// Branch policies by id.
    pub policies: Table<u32, Policy>,
    /// Service hook subscriptions by id.
    pub subscriptions: Table<Uuid, Subscription>,
    /// What goes on for a while, as the making of a project.
    #[serde(default)]
    pub operations: Table<Uuid, Operation>,
    /// Saved queries and their folders.
    #[serde(default)]
    pub queries: Table<Uuid, SavedQuery>,
    /// Files on work items and pull requests; their bytes are beside the repositories.
    #[serde(default)]
    pub attachments: Table<Uuid, Attachment>,
    /// Folders of build definitions, by project and path.
    #[serde(default)]
    pub folders: Table<String, Folder>,
    /// Build definitions by id.
    pub definitions: Table<u32, Definition>,
    /// Builds by id.
    pub builds: Table<u32, Build>,
    /// Permissions taken away.
    pub denials: Vec<Denial>,
    /// Access control entries.
    #[serde(default)]
    pub entries: Vec<AccessEntry>,
    /// Who administers the organisation.
    #[serde(default = "super::seed::administrators")]
    pub administrators: BTreeSet<Uuid>,
    /// Members of a project who only read in it: project, person.
    #[serde(default)]
    pub readers: BTreeSet<(Uuid, Uuid)>,
    /// People who were members of the organisation and are no more; what they did stays theirs.
    #[serde(default)]
    pub left: BTreeSet<Uuid>,
    /// Statuses posted on commits, by repository and commit.
    pub commit_statuses: Log<CommitStatus>,
    /// Every effect in order.
    pub ledger: Log<Entry>,
    /// Work that is due at some instant, in the order in which it was added.
    pub jobs: Table<u64, Job>,
    /// Numbers given out.
    pub next: Counters,
    /// State of the random sequence.
    pub random: u64,
    /// Number of the log that goes on from here.
    #[serde(default)]
    pub generation: u64,
}

wire_enum! {
    /// What a person may use.
    Licence { Basic = 1 "basic", Stakeholder = 2 "stakeholder" }
}

/// A human, the agent's user, or the system.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Person {
    /// Identity id; reviewers and authors are named by it.
    pub id: Uuid,
    /// Entra object id, the `oid` of a bearer token.
    pub object_id: Uuid,
    /// Short name, `alice`.
    pub name: String,
    /// Name that pages show.
    pub display_name: String,
    /// Mail and user principal name.
    pub account: String,
    /// What the person does, in a word.
    pub role: String,
    /// Password over Basic, as the service takes personal access tokens.
    pub password: Option<String>,
    /// Access level.
    pub licence: Licence,
}

wire_enum! {
    /// Set of work item types and states.
    Process { Basic = 1 "Basic", Agile = 2 "Agile" }
}

/// A project with its teams.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Project {
    /// Id.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// One line.
    pub description: String,
    /// Its process.
    pub process: Process,
    /// Who may read and work in it.
    pub members: BTreeSet<Uuid>,
    /// Those of them who are in no group of the project: invited from outside, or services.
    #[serde(default)]
    pub guests: BTreeSet<Uuid>,
    /// The team it starts with: id and name.
    pub team: (Uuid, String),
    /// Its other teams, and what teams work on.
    #[serde(default)]
    pub teams: Teams,
    /// Area paths, with backslashes; the first is the root.
    pub areas: Vec<String>,
    /// Iteration paths, with backslashes; the first is the root.
    pub iterations: Vec<String>,
    /// First and last day of iterations, by position.
    #[serde(default)]
    pub iteration_dates: BTreeMap<usize, super::tree::Dates>,
    /// Grows with every change to the project.
    pub revision: u32,
    /// When it last changed.
    pub updated: Timestamp,
}

/// A Git repository; its objects are a bare repository on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Repository {
    /// Id, and name of its folder.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// Its project.
    pub project: Uuid,
    /// `refs/heads/main`; absent while the repository is empty.
    pub default_branch: Option<String>,
    /// Branches and tags by full name. Equal to the references on disk after every operation.
    pub refs: Table<String, Reference>,
    /// The repository it was forked from.
    pub parent: Option<Uuid>,
    /// Size in bytes, as a rough figure that grows with every push.
    #[serde(default)]
    pub size: u64,
}

/// A branch or tag.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Reference {
    /// Object it points at.
    pub sha: String,
    /// Who made it.
    pub creator: Uuid,
    /// Who locked it.
    pub locked_by: Option<Uuid>,
}

/// One push, over REST or git.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Push {
    /// Number.
    pub id: u32,
    /// Where.
    pub repository: Uuid,
    /// Who.
    pub by: Uuid,
    /// When.
    pub date: Timestamp,
    /// Moved references.
    pub updates: Vec<RefUpdate>,
    /// Commits it brought, newest first, at most 100.
    pub commits: Vec<String>,
}

/// A moved reference.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct RefUpdate {
    /// Full name.
    pub name: String,
    /// Before; zeros for a new one.
    pub old: String,
    /// After; zeros for a deleted one.
    pub new: String,
}

/// A status posted on a commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommitStatus {
    /// Where.
    pub repository: Uuid,
    /// On which commit.
    pub sha: String,
    /// The status itself.
    pub status: super::pull_request::Status,
}

impl Data {
    /// A person by id; every id in the state is one.
    pub fn person(&self, id: Uuid) -> Option<&Person> {
        self.people.get(&id)
    }

    /// A person by id, mail, short name or display name, ignoring case; also `Name <mail>`.
    pub fn find_person(&self, text: &str) -> Option<&Person> {
        let text = text.trim();
        let mail = text.rsplit_once('<').map(|(_, rest)| rest.trim_end_matches('>')).unwrap_or(text);
        let id = Uuid::try_parse(mail).ok();
        self.people.values().find(|p| {
            Some(p.id) == id
                || p.account.eq_ignore_ascii_case(mail)
                || p.display_name.eq_ignore_ascii_case(mail)
                || p.name.eq_ignore_ascii_case(mail)
        })
    }

    /// A project by id or name, ignoring case, whoever may see it.
    pub fn find_project(&self, text: &str) -> Option<&Project> {
        let id = Uuid::try_parse(text).ok();
        self.projects.values().find(|p| Some(p.id) == id || p.name.eq_ignore_ascii_case(text))
    }
}
