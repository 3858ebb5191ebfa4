//! Which groups somebody is in, as Azure DevOps tells it at this moment: for rules about who gave the
//! order. What cannot be resolved counts as no group.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::Toolbox;
use crate::azure_devops::{Error, Group, KnownIdentity};
use crate::clock;
use crate::journal::Person;

/// How deep groups are in groups that are looked into.
const MAX_DEPTH: usize = 4;
/// Most groups that are looked into for one person.
const MAX_GROUPS: usize = 40;
/// How long an answer is believed.
const KEPT: Duration = Duration::from_secs(60);
/// Most answers kept.
const MAX_KEPT: usize = 500;
/// Most people with a like name that are looked at.
const ALIKE: usize = 10;

/// Groups of people, and until when each answer is believed.
#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<String, (Timestamp, Vec<String>)>>);

impl Toolbox {
    /// Every group that somebody is in, as far as the limits go. A Server that has no Graph has none.
    ///
    /// # Errors
    /// As every request.
    pub async fn groups_of(&self, known: &KnownIdentity) -> Result<Vec<Group>, Error> {
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        let mut edge: Vec<String> = known.descriptor.iter().cloned().collect();
        for _ in 0..MAX_DEPTH {
            let mut next = Vec::new();
            for descriptor in &edge {
                for container in or_none(self.azure.groups_of(descriptor).await)?.unwrap_or_default() {
                    if seen.len() < MAX_GROUPS && seen.insert(container.clone()) {
                        found.extend(or_none(self.azure.group(&container).await)?);
                        next.push(container);
                    }
                }
            }
            edge = next;
        }
        Ok(found)
    }

    /// Object ids and names of the groups of who gave the order.
    pub(super) async fn instructor_groups(&self, person: &Person) -> Vec<String> {
        let Some(key) = person.id.clone().or_else(|| person.account.clone()) else { return Vec::new() };
        let now = self.now();
        let kept = self.memberships.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((_, groups)) = kept.filter(|(until, _)| *until > now) {
            return groups;
        }
        let groups = match self.groups_now(person).await {
            Ok(groups) => groups,
            Err(error) => {
                tracing::warn!(%error, "the groups of who gave the order cannot be told: they count as none");
                return Vec::new();
            }
        };
        let mut kept = self.memberships.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(key, (clock::add(now, KEPT), groups.clone()));
        groups
    }

    async fn groups_now(&self, person: &Person) -> Result<Vec<String>, Error> {
        let id = match (&person.id, &person.account) {
            (Some(id), _) => Some(id.clone()),
            (None, Some(account)) => {
                let alike = self.azure.find_people(account, ALIKE).await?;
                let same = |found: &String| found.eq_ignore_ascii_case(account);
                alike.into_iter().find(|found| found.account.as_ref().is_some_and(same)).map(|found| found.id)
            }
            (None, None) => None,
        };
        let Some(id) = id else { return Ok(Vec::new()) };
        let Some(known) = self.azure.identity(&id).await? else { return Ok(Vec::new()) };
        let groups = self.groups_of(&known).await?;
        Ok(groups
            .into_iter()
            .flat_map(|group| group.origin_id.into_iter().chain([group.principal_name]))
            .collect())
    }
}

fn or_none<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound(_) | Error::Forbidden(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
