//! The organisation: everything it holds, and every rule about it.
//!
//! Purpose: one [`World`] behind one lock. REST, git, service hooks and the web face read it
//! through [`std::ops::Deref`] to [`Data`] and change it only through the methods of `World`,
//! which check permission and invariants, record the effect in the ledger, and tell the service
//! hooks. Invariant: a reference points at an existing commit; a revision grows by one; a pull
//! request moves along legal edges; no link points at nothing. It must never know HTTP.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use super::refusal::Refusal;
use crate::clock::Clock;

pub mod access;
pub mod build;
pub mod builds;
pub mod checks;
pub mod completion;
pub mod data;
pub mod deliveries;
pub mod entries;
mod events;
pub mod fields;
pub mod hooks;
pub mod jobs;
pub mod ledger;
pub mod members;
pub mod patch;
pub mod people;
pub mod policies;
pub mod process;
pub mod pull_request;
pub mod pull_requests;
pub mod pushes;
pub mod repositories;
pub mod reviewers;
pub mod seed;
pub mod threads;
pub mod wiql;
mod wiql_run;
pub mod work_item;
mod work_item_links;
mod work_item_patch;
pub mod work_items;

pub use data::*;
pub use fields::FieldValue;
pub use pull_request::*;
pub use work_item::*;

/// What an operation gives: a value, or the service's refusal.
pub type Outcome<T> = Result<T, Refusal>;

/// Who does something, and under which activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Identity id.
    pub id: Uuid,
    /// ActivityId of the request, as answered in its header.
    pub activity: Uuid,
}

/// The shared organisation. Cheap to clone.
#[derive(Clone)]
pub struct Organisation {
    world: Arc<Mutex<World>>,
    wake: Arc<Notify>,
    clock: Clock,
}

/// The state with its surroundings. Read it through `Deref`; change it through its methods.
pub struct World {
    data: Data,
    root: PathBuf,
    base: String,
    clock: Clock,
    wake: Arc<Notify>,
    dirty: bool,
    tenant: Option<members::Tenant>,
}

impl Deref for World {
    type Target = Data;
    fn deref(&self) -> &Data {
        &self.data
    }
}

impl Organisation {
    /// An organisation over `data`, with its repositories below `root` and its address `base`
    /// (`http://127.0.0.1:4193/contoso`, no slash at the end).
    pub fn new(data: Data, root: PathBuf, base: String, clock: Clock) -> Self {
        let wake = Arc::new(Notify::new());
        let world =
            World { data, root, base, clock: clock.clone(), wake: wake.clone(), dirty: true, tenant: None };
        Self { world: Arc::new(Mutex::new(world)), wake, clock }
    }

    /// The state, for one operation. Never hold it across an await.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock of the simulation.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Completes when a job was added.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Wakes whoever waits in [`Organisation::woken`].
    pub fn wake(&self) {
        self.wake.notify_one();
    }
}

impl World {
    /// Address of the organisation, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The instant, in whole milliseconds as the service keeps it.
    pub fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// The clock of the simulation.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The next number of the seeded random sequence (splitmix64).
    pub fn random(&mut self) -> u64 {
        self.data.random = self.data.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.data.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A fresh GUID from the seeded sequence.
    pub fn new_id(&mut self) -> Uuid {
        let (high, low) = (self.random(), self.random());
        uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes()).into_uuid()
    }

    /// Marks that the state differs from what was last saved.
    fn touch(&mut self) {
        self.dirty = true;
    }

    /// Takes the mark of [`World::touch`].
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// Folder of the bare repositories.
    pub fn root(&self) -> &std::path::Path {
        &self.root
    }
}

/// Numbers given out one after another.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Work items.
    pub work_item: u32,
    /// Pull requests, one sequence for the organisation.
    pub pull_request: u32,
    /// Pushes.
    pub push: u32,
    /// Threads of pull requests.
    pub thread: u32,
    /// Comments of work items.
    pub comment: u32,
    /// Policy configurations.
    pub policy: u32,
    /// Build definitions.
    pub definition: u32,
    /// Builds.
    pub build: u32,
    /// Commit and pull request statuses.
    pub status: u32,
}

impl Counters {
    /// Adds one and returns the new number, so that the first is 1.
    pub fn next(counter: &mut u32) -> u32 {
        *counter += 1;
        *counter
    }
}
