//! The typed client of Azure DevOps.
//!
//! Purpose: reads give an agent the few fields it needs, in our own types; [`Client::perform`]
//! writes, and is the only function that does.
//! Invariant: nothing is written without a [`Permit`](crate::policy::Permit): every writing route
//! is private to `write`, and the transport sends one only together with the permit. Requests go
//! to the configured organisation only, along routes built from typed parts, and follow no
//! redirect, so that no bearer can be led elsewhere.
//! Must never know: models, prompts, runs, the journal, rules.

mod activity;
mod address;
mod bodies;
mod builds;
mod effect;
mod error;
mod git;
mod groups;
pub mod limits;
mod lookup;
mod people;
mod probes;
mod pull_requests;
mod remedies;
mod retry;
mod routes;
mod search;
mod threads;
mod transport;
mod work_item_history;
mod work_items;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config;
use crate::http::Quiet;
use crate::identity::Identity;
use serde::de::DeserializeOwned;
use transport::{Answer, Question, Transport};

pub use activity::{Deed, Did};
pub use builds::{Build, BuildResult, BuildStatus, Definition, FailedStep, FailedTest, LogTail, TestSummary};
pub use effect::{Effect, EffectKind};
pub use error::{Error, Failure};
pub use git::{Branch, BranchMove, Commit, Item, ItemKind, Push, Recursion, Repository, Version};
pub use groups::{Group, IdentityKind, KnownIdentity, Team};
pub use lookup::Lookup;
pub use people::{Me, Person};
pub use probes::{Project, Reached, Subscription};
pub use pull_requests::{ChangedFile, PullRequest, PullRequestChanges, PullRequestStatus, Reviewer, Role};
pub use search::{CodeHit, CodeMatch, CodeSearch};
pub use threads::{Comment, Side, Thread, Writer};
pub use work_item_history::Assignment;
pub use work_items::{
    LinkKind, State, TextFormat, WorkItem, WorkItemComment, WorkItemRelation, WorkItemSummary, WorkItemType,
};

/// Says right before a write is sent whether it still may be.
pub type Guard = Arc<dyn Fn() -> bool + Send + Sync>;

/// A client of one organisation, acting as the agent user. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
    /// Asked before each write.
    guard: Option<Guard>,
}

impl Client {
    /// A client for `settings`' organisation. Asks nobody yet.
    pub fn new(
        settings: &config::AzureDevOps,
        identity: Arc<Identity>,
        http: reqwest::Client,
        clock: Clock,
    ) -> Client {
        Self::with_patience(settings, identity, http, clock, retry::MAX_WAIT)
    }

    /// The pause that the service asked for.
    pub fn quiet(&self) -> Arc<Quiet> {
        self.transport.quiet.clone()
    }

    /// The organisation's host.
    pub fn host(&self) -> &str {
        self.transport.address.host()
    }

    /// The same, whose requests wait at most `patience` each for a service that asks them to.
    pub fn with_patience(
        settings: &config::AzureDevOps,
        identity: Arc<Identity>,
        http: reqwest::Client,
        clock: Clock,
        patience: Duration,
    ) -> Client {
        let transport = Transport::new(&settings.organization_url, identity, http, clock, patience);
        Client { transport: Arc::new(transport), guard: None }
    }

    /// The same client, which sends a write only while `guard` says so: at the last moment, after
    /// every wait for a token or for the service.
    pub fn guarded(&self, guard: Guard) -> Client {
        Client { guard: Some(guard), ..self.clone() }
    }

    async fn ask<T: DeserializeOwned>(&self, question: Question<'_>) -> Result<T, Error> {
        Ok(self.ask_page(question).await?.value)
    }

    async fn ask_page<T: DeserializeOwned>(&self, question: Question<'_>) -> Result<Answer<T>, Error> {
        self.transport.ask(question).await
    }
}
