//! The organisation: everything it holds, and every rule about it.
//!
//! Purpose: one [`World`] behind one lock. REST, git, service hooks and the web face read it
//! through [`std::ops::Deref`] to [`Data`] and change it only through the methods of `World`,
//! which check permission and invariants, record the effect in the ledger, and tell the service
//! hooks. Invariant: a reference points at an existing commit; a revision grows by one; a pull
//! request moves along legal edges; no link points at nothing. It must never know HTTP.

use std::fs::File;
use std::io::Write as _;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use super::refusal::Refusal;
use crate::clock::Clock;

pub mod access;
pub mod attachments;
pub mod build;
mod build_plan;
pub mod builds;
pub mod checks;
pub mod completion;
pub mod data;
mod definitions;
pub mod deliveries;
pub mod entries;
mod events;
pub mod fields;
pub mod folders;
mod groups;
pub mod hooks;
pub mod jobs;
mod keeping;
pub mod ledger;
pub mod members;
pub mod operations;
pub mod patch;
pub mod people;
pub mod policies;
pub mod process;
pub mod pull_request;
pub mod pull_requests;
pub mod pushes;
pub mod queries;
pub mod repositories;
pub mod reviewers;
mod searched;
pub mod seed;
pub mod table;
pub mod teams;
pub mod threads;
pub mod tree;
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
    /// How many activities there were, and the seed of their ids.
    activities: Arc<(u64, AtomicU64)>,
}

/// The state, held for one operation. What was changed is written to the log when it is let go, before
/// anybody is answered: who was told of an effect finds it again after a kill.
pub struct Held<'a>(MutexGuard<'a, World>);

/// The state with its surroundings. Read it through `Deref`; change it through its methods.
pub struct World {
    data: Data,
    root: PathBuf,
    base: String,
    clock: Clock,
    wake: Arc<Notify>,
    dirty: bool,
    tenant: Option<members::Tenant>,
    /// Jobs that are being done without the state.
    under_way: usize,
    log: Option<(File, u64)>,
    searched: searched::Searched,
}

impl Deref for World {
    type Target = Data;
    fn deref(&self) -> &Data {
        &self.data
    }
}

impl Deref for Held<'_> {
    type Target = World;
    fn deref(&self) -> &World {
        &self.0
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.0
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if std::mem::take(&mut self.0.dirty) && self.0.log.is_some() {
            self.0.write_down();
        }
    }
}

impl Organisation {
    /// An organisation over `data`, with its repositories below `root` and its address `base`
    /// (`http://127.0.0.1:4193/contoso`, no slash at the end).
    pub fn new(data: Data, root: PathBuf, base: String, clock: Clock) -> Self {
        let wake = Arc::new(Notify::new());
        let activities = Arc::new((data.random, AtomicU64::new(0)));
        let world = World {
            data,
            root,
            base,
            clock: clock.clone(),
            wake: wake.clone(),
            dirty: false,
            under_way: 0,
            log: None,
            searched: searched::Searched::default(),
            tenant: None,
        };
        Self { world: Arc::new(Mutex::new(world)), wake, clock, activities }
    }

    /// The state, for one operation. Never hold it across an await.
    pub fn lock(&self) -> Held<'_> {
        Held(self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The id of one request's activity; seeded, and there without waiting for the state.
    pub fn activity(&self) -> Uuid {
        let (seed, count) = (self.activities.0, self.activities.1.fetch_add(2, Ordering::Relaxed));
        let part = |at: u64| mixed((!seed).wrapping_add(at.wrapping_mul(GOLDEN)));
        guid(part(count), part(count + 1))
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
        self.data.random = self.data.random.wrapping_add(GOLDEN);
        mixed(self.data.random)
    }

    /// A fresh GUID from the seeded sequence.
    pub fn new_id(&mut self) -> Uuid {
        guid(self.random(), self.random())
    }

    /// Marks that the state differs from what was last saved.
    fn touch(&mut self) {
        self.dirty = true;
    }

    /// Begins a log: from now on every change is written to `file`, which holds `bytes` already.
    pub fn log_to(&mut self, file: File, bytes: u64, generation: u64) {
        self.data.settle();
        self.data.generation = generation;
        self.dirty = false;
        self.log = Some((file, bytes));
    }

    /// Length of the log, in bytes.
    pub fn logged(&self) -> u64 {
        self.log.as_ref().map_or(0, |(_, bytes)| *bytes)
    }

    fn write_down(&mut self) {
        let line = self.data.take_changes().map(|line| format!("{line}\n"));
        let Some((file, bytes)) = &mut self.log else { return };
        let written = line
            .map_err(std::io::Error::from)
            .and_then(|line| file.write_all(line.as_bytes()).map(|()| line.len()));
        match written {
            Ok(length) => *bytes += u64::try_from(length).unwrap_or(0),
            Err(error) => {
                // Half a line must not stand before the next one.
                let _ = file.set_len(*bytes);
                tracing::warn!(%error, "a change of the simulated organisation was not written down")
            }
        }
    }

    /// What code search has read.
    pub fn searched(&self) -> &searched::Searched {
        &self.searched
    }

    /// Folder of the bare repositories.
    pub fn root(&self) -> &std::path::Path {
        &self.root
    }
}

/// Step of the random sequence (splitmix64).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn guid(high: u64, low: u64) -> Uuid {
    uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes()).into_uuid()
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
