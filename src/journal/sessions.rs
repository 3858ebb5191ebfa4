//! Who has signed in to the page, for all replicas and across a restart. Never a token.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::command::Command;
use super::store::read;
use super::{Journal, JournalError};

/// A person who has signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Object id in Entra.
    pub oid: String,
    /// Display name.
    pub name: String,
    /// User principal name, where known.
    pub account: Option<String>,
    /// Object ids of groups in Entra.
    pub groups: Vec<String>,
    /// Whether these are all of them.
    pub groups_complete: bool,
    /// When they were read.
    pub groups_read_at: Timestamp,
    /// When the person signed in.
    pub signed_in_at: Timestamp,
    /// When the session ends by itself.
    pub ends_at: Timestamp,
}

impl Journal {
    /// Keeps a session under `key`, which must not lead to what the browser holds.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn keep_session(&self, key: &str, session: &Session) -> Result<(), JournalError> {
        let body = serde_json::to_string(session).map_err(|error| JournalError::Store(error.to_string()))?;
        let ends_at = session.ends_at.as_microsecond();
        let groups = session.groups_complete.then(|| session.groups.clone());
        let (key, oid) = (key.to_owned(), session.oid.clone());
        self.done(Command::KeepSession { key, body, ends_at, oid, groups }).await.map(|_| ())
    }

    /// Groups in which this person was first seen after `since` (microseconds since 1970), having been
    /// known without them before. Entra does not tell since when somebody is in a group.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn joined_since(&self, oid: &str, since: i64) -> Result<Vec<String>, JournalError> {
        read!(self, joined_since(oid, since))
    }

    /// The session under `key`, ended or not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn session(&self, key: &str) -> Result<Option<Session>, JournalError> {
        let body: Option<String> = read!(self, session(key))?;
        // One that another version wrote differently is as good as none: the person signs in again.
        Ok(body.and_then(|body| serde_json::from_str(&body).ok()))
    }

    /// Ends the session under `key`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn end_session(&self, key: &str) -> Result<(), JournalError> {
        self.done(Command::EndSession { key: key.to_owned() }).await.map(|_| ())
    }
}
