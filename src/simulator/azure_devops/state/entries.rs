//! Access control entries: what one person may or may not do on one securable, by namespace and
//! token, as administrators set it (SETUP.md §5.3).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Actor, Outcome, World};
use crate::simulator::azure_devops::refusal::Refusal;

/// Git Repositories; token `repoV2/{project}/{repository}`.
pub const GIT: Uuid = Uuid::from_u128(0x2e9eb7ed_3c0a_47d4_87c1_0ffdd275fd87);
/// Areas; token `vstfs:///Classification/Node/{identifier}`, those of a path joined by colons.
pub const AREAS: Uuid = Uuid::from_u128(0x83e28ad4_2d72_4ceb_97b0_c7726d5502c3);
/// Service hooks; token `PublisherSecurity/{project}`.
pub const HOOKS: Uuid = Uuid::from_u128(0xcb594ebe_87dd_4fc9_ac2c_6a10a4c92046);
/// Builds; token `{project}` or `{project}/{definition}`.
pub const BUILDS: Uuid = Uuid::from_u128(0x33344d9c_fc72_4d6f_aba5_fa317101a7e9);
/// The organisation's audit log; token `AllPermissions`.
pub const AUDIT: Uuid = Uuid::from_u128(0xa6cc6381_a1ca_4b36_b3c1_4e65211e82b6);
/// What is mixed into a project's id to make the identifier of its root area.
pub const ROOT_AREA: u128 = 1;

/// Most entries of the organisation.
const MAX_ENTRIES: usize = 10_000;
/// Longest token, in characters.
const MAX_TOKEN_CHARS: usize = 1_000;

/// The entry of one person on one securable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessEntry {
    /// Security namespace.
    pub namespace: Uuid,
    /// The securable.
    pub token: String,
    /// Whose.
    pub person: Uuid,
    /// Bits allowed.
    pub allow: u32,
    /// Bits denied; they win.
    pub deny: u32,
}

/// `token` and everything it inherits from, nearest first.
fn lineage(namespace: Uuid, token: &str) -> Vec<&str> {
    let cut = if namespace == AREAS { ":vstfs:///" } else { "/" };
    let mut all = vec![token];
    while let Some((parent, _)) = all.last().and_then(|last| last.rsplit_once(cut)) {
        all.push(parent);
    }
    all
}

impl World {
    /// What the entries say of one `bit`: allowed, denied, or nothing.
    pub fn entry(&self, person: Uuid, namespace: Uuid, token: &str, bit: u32) -> Option<bool> {
        if self.entries.is_empty() {
            return None;
        }
        lineage(namespace, token).into_iter().find_map(|token| {
            let fits = |own: &&AccessEntry| {
                own.person == person && own.namespace == namespace && own.token.eq_ignore_ascii_case(token)
            };
            let own = self.entries.iter().find(fits)?;
            if own.deny & bit != 0 {
                return Some(false);
            }
            (own.allow & bit != 0).then_some(true)
        })
    }

    /// Refuses who does not administer the organisation.
    pub fn require_administrator(&self, actor: Actor) -> Outcome<()> {
        if self.administrators.contains(&actor.id) {
            return Ok(());
        }
        let account = self.person(actor.id).map(|p| p.account.clone()).unwrap_or_default();
        let text = format!(
            "Access Denied: {account} needs the following permission(s) to perform this action: Manage permissions"
        );
        Err(Refusal::new(403, "AccessCheckException", text))
    }

    /// Sets entries; with `merge` bits are added to those that a person has already.
    ///
    /// # Errors
    /// 403 for who does not administer, 400 for an overlong token or too many entries.
    pub fn set_entries(
        &mut self,
        actor: Actor,
        wanted: &[AccessEntry],
        merge: bool,
    ) -> Outcome<Vec<AccessEntry>> {
        self.require_administrator(actor)?;
        if self.entries.len() + wanted.len() > MAX_ENTRIES {
            return Err(Refusal::invalid("accessControlEntries (there are too many)"));
        }
        let mut set = Vec::new();
        for entry in wanted {
            if entry.token.is_empty() || entry.token.chars().count() > MAX_TOKEN_CHARS {
                return Err(Refusal::invalid("token"));
            }
            let twin = |own: &&mut AccessEntry| {
                own.person == entry.person
                    && own.namespace == entry.namespace
                    && own.token.eq_ignore_ascii_case(&entry.token)
            };
            match self.data.entries.iter_mut().find(twin) {
                Some(own) if merge => {
                    // What is allowed now is no longer denied, and the other way round.
                    own.allow = (own.allow & !entry.deny) | entry.allow;
                    own.deny = (own.deny & !entry.allow) | entry.deny;
                    set.push(own.clone());
                }
                Some(own) => {
                    *own = entry.clone();
                    set.push(own.clone());
                }
                None => {
                    self.data.entries.push(entry.clone());
                    set.push(entry.clone());
                }
            }
            self.record(actor, "access.set", format!("{}/{}", entry.namespace, entry.token));
        }
        Ok(set)
    }

    /// Removes the entries of `people` on `token`; whether there were any.
    ///
    /// # Errors
    /// 403 for who does not administer.
    pub fn remove_entries(
        &mut self,
        actor: Actor,
        namespace: Uuid,
        token: &str,
        people: &[Uuid],
    ) -> Outcome<bool> {
        self.require_administrator(actor)?;
        let before = self.entries.len();
        self.data.entries.retain(|own| {
            own.namespace != namespace
                || !own.token.eq_ignore_ascii_case(token)
                || !people.contains(&own.person)
        });
        let removed = self.entries.len() < before;
        if removed {
            self.record(actor, "access.removed", format!("{namespace}/{token}"));
        }
        Ok(removed)
    }
}
