//! Makes a co-worker exist: its identity in Entra, its place in Azure DevOps, its settings.
//!
//! Purpose: [`steps`] is the list of everything that must be there, in order; [`Setup::survey`]
//! says what is missing, [`Setup::apply`] makes it, [`Setup::teardown`] takes it away.
//! Invariant: every request is one that `plan` prints; each step looks before it makes, so that
//! doing it again changes nothing; what was made is written down at once, so that an interrupted
//! set-up goes on where it ended. Requests carry the administrator's own token, never the agent's,
//! and no secret is printed or kept anywhere but in the sidecar's file.
//! Must never know: runs, tools, rules, the journal.

mod azure_devops;
mod engine;
mod entra;
mod files;
mod grants;
mod request;
mod session;
mod teardown;
mod wanted;

pub use engine::{Done, Line, Setup};
pub use files::{Folder, Written};
pub use request::Request;
pub use session::{APPLY_PERMISSIONS, Problem, Session, TEARDOWN_PERMISSIONS};
pub use teardown::Removal;
pub use wanted::{Credential, Given, Wanted};

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use request::Answer;

/// Ids that are known so far, by name. Saved; holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    ids: BTreeMap<String, String>,
    /// The step whose request was sent and whose answer is not known.
    begun: Option<String>,
}

impl Known {
    /// The value of `name`, or a placeholder in braces while it is not known.
    pub(crate) fn id(&self, name: &str) -> String {
        self.get(name).map_or_else(|| format!("{{{name}}}"), str::to_owned)
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.ids.get(name).map(String::as_str)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.ids.insert(name.to_owned(), value.to_owned());
    }

    fn forget(&mut self, name: &str) {
        self.ids.remove(name);
    }
}

/// Everything that a step may look at.
pub(crate) struct Context {
    wanted: Wanted,
    known: Known,
    now: Timestamp,
    /// Id of the secret in the sidecar's file.
    secret_on_disk: Option<String>,
    /// A secret that was just made: its id and itself.
    fresh_secret: Option<(String, SecretString)>,
    /// Digest of the webhook password in its file.
    webhook_digest: Option<String>,
}

/// What a look found.
pub(crate) enum Found {
    /// It is there, as it should be.
    There,
    /// It is not there.
    Absent,
    /// It is there, but something must be changed first.
    Differs(Request),
}

/// One thing that must be there.
pub(crate) trait Step: Send + Sync {
    /// Its name for machines.
    fn id(&self) -> String;
    /// What it is, for people.
    fn title(&self, context: &Context) -> String;
    /// The question whether it is there.
    fn look(&self, context: &Context) -> Request;
    /// What the answer means; ids in it are learnt.
    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem>;
    /// The request that makes it; none where it must be there already.
    fn make(&self, _context: &Context) -> Option<Request> {
        None
    }
    /// Learns from the answer to that request.
    fn made(&self, _context: &mut Context, _answer: &Answer) -> Result<(), Problem> {
        Ok(())
    }
    /// Whether making it twice makes two.
    fn doubles(&self) -> bool {
        false
    }
}

/// Every step for what is wanted, in the order in which they build on each other.
pub(crate) fn steps(wanted: &Wanted) -> Vec<Box<dyn Step>> {
    let mut all = entra::steps(wanted);
    all.extend(azure_devops::steps(wanted));
    all
}
