//! The simulated Azure DevOps organisation.
//!
//! Purpose: behave as the service does towards clients that we did not write: REST, git smart
//! HTTP, service hooks and their manners, over real bare repositories. [`state`] holds every rule
//! and is what pages and REST both call; [`render`] gives the wire form; [`rest`], [`git`] and
//! [`control`] are doors. Invariant: an effect happens through one method of
//! [`state::World`], whoever asks. It must never know the product it is used by.

mod control;
pub mod face;
mod faults;
pub mod git;
pub mod host;
mod refusal;
pub mod render;
pub mod rest;
mod seen;
pub mod state;
pub mod storage;
#[cfg(test)]
mod tests;
mod wire;
mod wire_enum;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use url::Url;

pub use faults::Faults;
pub use host::{Host, router};
pub use refusal::Refusal;
pub use seen::Requests;
pub use wire::{Connection, Wire};
pub use worker::{keep, run};

use self::state::hooks::EVENT_TYPES;
use self::state::seed::{ALICE, FABRIKAM};
use self::state::{Actor, Organisation};
use crate::clock::Clock;

/// Where service hooks of the demo go.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Address.
    pub url: Url,
    /// User name over Basic.
    pub username: String,
    /// Password over Basic.
    pub password: String,
}

/// What an organisation is made from.
pub struct Origin {
    /// Folder of `state.json` and the repositories.
    pub data: PathBuf,
    /// A saved folder to start from.
    pub load: Option<PathBuf>,
    /// Address of the organisation, without a slash at the end.
    pub base: String,
    /// Clock.
    pub clock: Clock,
    /// Seed of ids.
    pub seed: u64,
    /// Where service hooks go.
    pub webhook: Option<Webhook>,
    /// Files of the seeded repository.
    pub files: Vec<(&'static str, &'static [u8])>,
    /// Whether the agent user is a member from the start; without, it is an organisation before
    /// `setup`.
    pub provisioned: bool,
}

/// Opens the organisation: from `load`, else from what `data` holds, else freshly seeded.
///
/// # Errors
/// When the folder cannot be read or written.
pub fn open(origin: Origin) -> anyhow::Result<Organisation> {
    let Origin { data, load, base, clock, seed, webhook, files, provisioned } = origin;
    if let Some(from) = &load {
        storage::bring(from, &data).context("cannot load the simulated organisation")?;
    }
    let root = storage::repositories(&data);
    std::fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    storage::break_locks(&root)?;
    let organisation = if storage::exists(&data) {
        Organisation::new(storage::load(&data)?, root, base, clock)
    } else {
        storage::clear(&root)?;
        let fresh = state::seed::data(clock.now(), seed, provisioned);
        let organisation = Organisation::new(fresh, root, base, clock);
        organisation.lock().fill(&files).context("cannot seed the simulated organisation")?;
        organisation
    };
    organisation.lock().agree_with_disk().context("cannot read the simulated repositories")?;
    storage::attach(&organisation, &data).context("cannot write the simulated organisation")?;
    if let Some(webhook) = webhook {
        subscribe(&organisation, &webhook)?;
    }
    Ok(organisation)
}

/// One subscription for each event type to the demo's receiver, in place of those it had.
fn subscribe(organisation: &Organisation, webhook: &Webhook) -> anyhow::Result<()> {
    let mut world = organisation.lock();
    let alice = Actor { id: ALICE, activity: world.new_id() };
    let own: Vec<_> = world.subscriptions.values().filter(|s| s.created_by == ALICE).map(|s| s.id).collect();
    for id in own {
        world.delete_subscription(alice, id)?;
    }
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    for (event_type, version, _) in EVENT_TYPES.iter().filter(|(name, ..)| *name != "git.pullrequest.merged")
    {
        let publisher = BTreeMap::from([pair("projectId", &FABRIKAM.to_string())]);
        let consumer = BTreeMap::from([
            pair("url", webhook.url.as_str()),
            pair("basicAuthUsername", &webhook.username),
            pair("basicAuthPassword", &webhook.password),
        ]);
        world.set_subscription(alice, None, event_type, Some(version), publisher, consumer)?;
    }
    Ok(())
}

/// What the servers of an organisation share.
pub fn host(
    organisation: Organisation,
    authority: Arc<crate::simulator::tokens::Authority>,
    origin: String,
) -> Host {
    let process = organisation.lock().new_id();
    Host { organisation, authority, faults: Arc::default(), requests: Arc::default(), origin, process }
}
