//! What of the organisation has to be written down after an operation, and reading it back.
//!
//! A log line holds the changed entries of each collection. Lines bring a copy of the state up to date;
//! one that is applied twice does no harm.

use serde_json::{Map, Value};

use super::attachments::Attachment;
use super::build::{Build, Definition};
use super::data::{Data, Person, Project, Reference, Repository};
use super::folders::Folder;
use super::hooks::{Notification, Subscription};
use super::jobs::Job;
use super::operations::Operation;
use super::policies::Policy;
use super::pull_request::PullRequest;
use super::queries::SavedQuery;
use super::table::{Entry, Written, join, split};
use super::work_item::WorkItem;

impl Entry for Person {}
impl Entry for Project {}
impl Entry for Reference {}
impl Entry for PullRequest {}
impl Entry for WorkItem {}
impl Entry for Policy {}
impl Entry for Notification {}
impl Entry for Definition {}
impl Entry for Build {}
impl Entry for Job {}
impl Entry for Operation {}
impl Entry for SavedQuery {}
impl Entry for Attachment {}
impl Entry for Folder {}

// A repository may have thousands of branches, a subscription hundreds of deliveries.
impl Entry for Repository {
    fn take_changes(&mut self) -> Written<Value> {
        split(self, "refs", |r| &mut r.refs)
    }
    fn apply(before: Option<Self>, changes: Value) -> Written<Self> {
        join(before, changes, |r| &mut r.refs)
    }
}

impl Entry for Subscription {
    fn take_changes(&mut self) -> Written<Value> {
        split(self, "notifications", |s| &mut s.notifications)
    }
    fn apply(before: Option<Self>, changes: Value) -> Written<Self> {
        join(before, changes, |s| &mut s.notifications)
    }
}

/// Does the same with every collection.
macro_rules! collections {
    ($do:ident) => {
        $do!(
            people,
            projects,
            repositories,
            pushes,
            pull_requests,
            work_items,
            policies,
            subscriptions,
            operations,
            queries,
            attachments,
            folders,
            definitions,
            builds,
            commit_statuses,
            ledger,
            jobs
        )
    };
}

/// Does the same with everything that is so small that each line has it whole.
macro_rules! small {
    ($do:ident) => {
        $do!(denials, entries, administrators, readers, left, next, random)
    };
}

impl Data {
    /// One log line, as JSON: everything changed since the last time.
    ///
    /// # Errors
    /// When something has no form in JSON.
    pub fn take_changes(&mut self) -> Written<Value> {
        let mut line = Map::new();
        macro_rules! take {
            ($($name:ident),*) => {
                $(if let Some(changes) = self.$name.take_changes()? {
                    line.insert(stringify!($name).into(), changes);
                })*
            };
        }
        collections!(take);
        macro_rules! take_whole {
            ($($name:ident),*) => {
                $(line.insert(stringify!($name).into(), serde_json::to_value(&self.$name)?);)*
            };
        }
        small!(take_whole);
        Ok(Value::Object(line))
    }

    /// Brings the state up to date with one log line.
    ///
    /// # Errors
    /// When it is no such line.
    pub fn apply(&mut self, mut line: Value) -> Written<()> {
        macro_rules! apply {
            ($($name:ident),*) => {
                $(if let Some(changes) = line.get_mut(stringify!($name)) {
                    self.$name.apply(changes.take())?;
                })*
            };
        }
        collections!(apply);
        macro_rules! apply_whole {
            ($($name:ident),*) => {
                $(if let Some(whole) = line.get_mut(stringify!($name)) {
                    self.$name = serde_json::from_value(whole.take())?;
                })*
            };
        }
        small!(apply_whole);
        Ok(())
    }

    /// Notes that all of it is written down.
    pub fn settle(&mut self) {
        macro_rules! settle {
            ($($name:ident),*) => { $(self.$name.settle();)* };
        }
        collections!(settle);
    }
}
