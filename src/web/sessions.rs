//! Sessions of people who have signed in to the page.
//!
//! A browser holds a random id in a cookie; only its hash is in the journal. The person's tokens are in
//! memory only: after a restart a session goes on, and its groups are believed for a while longer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use crate::clock::add;
use crate::identity::people::{Groups, People, PeopleError, SignedIn};
use crate::identity::{SignInError, Signed};
use crate::journal::{Journal, JournalError, Session};

/// How long a session lasts. Then the person signs in again (GOVERNANCE §4.1: at most 12 hours).
pub(super) const LIFE: Duration = Duration::from_secs(12 * 3_600);
/// Groups older than this are read again when the session is used.
const GROUPS_FRESH: Duration = Duration::from_secs(10 * 60);
/// Groups older than this count as none: Entra could not be asked for too long.
const GROUPS_LAST: Duration = Duration::from_secs(3_600);
/// A person's access token is not used in its last minutes.
const TOKEN_MARGIN: Duration = Duration::from_secs(2 * 60);
/// Most people whose tokens are held at once.
const MAX_LIVE: usize = 10_000;

/// The key under which a session is kept: the hash of the id in the cookie.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SessionKey(String);

impl SessionKey {
    /// The key of the session with this id.
    pub(super) fn of(id: &str) -> Self {
        Self(crate::digest::hex(&Sha256::digest(id.as_bytes())))
    }
}

/// A person's tokens; renewed by one request at a time.
type Live = Arc<tokio::sync::Mutex<Signed>>;

/// All sessions.
pub(super) struct Sessions {
    journal: Journal,
    live: Mutex<HashMap<SessionKey, Live>>,
}

fn session_of(signed_in: &SignedIn, now: Timestamp) -> Session {
    let person = &signed_in.person;
    let (groups, groups_complete) = listed(&person.groups);
    Session {
        oid: person.oid.clone(),
        name: person.name.clone(),
        account: person.account.clone(),
        groups,
        groups_complete,
        groups_read_at: now,
        signed_in_at: person.signed_in_at.min(now),
        ends_at: add(now, LIFE),
    }
}

fn listed(groups: &Groups) -> (Vec<String>, bool) {
    match groups {
        Groups::Listed(groups) => (groups.clone(), true),
        Groups::TooMany => (Vec::new(), false),
    }
}

impl Sessions {
    pub(super) fn new(journal: Journal) -> Self {
        Self { journal, live: Mutex::default() }
    }

    /// Begins a session for who has just signed in.
    pub(super) async fn begin(
        &self,
        id: &str,
        signed_in: SignedIn,
        now: Timestamp,
    ) -> Result<Session, JournalError> {
        let session = session_of(&signed_in, now);
        let key = SessionKey::of(id);
        self.journal.keep_session(&key.0, &session).await?;
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.len() >= MAX_LIVE {
            // Those people's groups grow old, and then they sign in again.
            live.clear();
        }
        live.insert(key, Arc::new(tokio::sync::Mutex::new(signed_in.tokens)));
        Ok(session)
    }

    /// Ends a session.
    pub(super) async fn end(&self, key: &SessionKey) -> Result<(), JournalError> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.journal.end_session(&key.0).await
    }

    /// The session as it is now: with groups that are not too old, or with none. `at_once` has the
    /// groups read anew, for a decision that hangs on them.
    pub(super) async fn find(
        &self,
        key: &SessionKey,
        people: &People,
        now: Timestamp,
        at_once: bool,
    ) -> Result<Option<Session>, JournalError> {
        let found = self.journal.session(&key.0).await?;
        let Some(session) = found.filter(|session| session.ends_at > now) else { return Ok(None) };
        if !at_once && add(session.groups_read_at, GROUPS_FRESH) > now {
            return Ok(Some(session));
        }
        Ok(match self.renew(key, people, now, at_once).await? {
            Renewed::Now => self.journal.session(&key.0).await?,
            Renewed::Over => None,
            Renewed::Not if add(session.groups_read_at, GROUPS_LAST) > now => Some(session),
            Renewed::Not => Some(Session { groups: Vec::new(), groups_complete: false, ..session }),
        })
    }

    fn live(&self, key: &SessionKey) -> Option<Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    async fn renew(
        &self,
        key: &SessionKey,
        people: &People,
        now: Timestamp,
        at_once: bool,
    ) -> Result<Renewed, JournalError> {
        let Some(live) = self.live(key) else { return Ok(Renewed::Not) };
        let mut tokens = live.lock().await;
        // Somebody else may have done it while we waited.
        let Some(session) = self.journal.session(&key.0).await? else { return Ok(Renewed::Over) };
        if !at_once && add(session.groups_read_at, GROUPS_FRESH) > now {
            return Ok(Renewed::Now);
        }
        let Some(refresh) = tokens.refresh_token.clone() else { return Ok(Renewed::Not) };
        match people.renew(&refresh).await {
            // Whoever that is, it is not the person of this session.
            Ok(newer) if newer.person.oid != session.oid => Ok(Renewed::Not),
            Ok(newer) => {
                let (groups, groups_complete) = listed(&newer.person.groups);
                *tokens =
                    Signed { refresh_token: newer.tokens.refresh_token.or(Some(refresh)), ..newer.tokens };
                let session = Session { groups, groups_complete, groups_read_at: now, ..session };
                self.journal.keep_session(&key.0, &session).await?;
                Ok(Renewed::Now)
            }
            Err(error @ PeopleError::SignIn(SignInError::Refused(_))) => {
                tracing::warn!(%error, "a session ends: Entra no longer signs its person in");
                drop(tokens);
                self.end(key).await?;
                Ok(Renewed::Over)
            }
            Err(error) => {
                tracing::warn!(%error, "somebody's groups cannot be read anew");
                Ok(Renewed::Not)
            }
        }
    }

    /// The person's own access token, where there is one that is still good.
    pub(super) async fn token(
        &self,
        key: &SessionKey,
        people: &People,
        now: Timestamp,
    ) -> Option<SecretString> {
        let live = self.live(key)?;
        let expires_at = live.lock().await.expires_at;
        if add(now, TOKEN_MARGIN) >= expires_at
            && let Err(error) = self.renew(key, people, now, true).await
        {
            tracing::warn!(%error, "a session cannot be read");
        }
        let tokens = live.lock().await;
        (tokens.expires_at > now).then(|| tokens.access_token.clone())
    }
}

enum Renewed {
    /// The groups are those of now.
    Now,
    /// Entra was not asked, or did not answer.
    Not,
    /// Entra refused: the session has ended.
    Over,
}
