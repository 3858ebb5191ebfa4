//! Sessions of people who have signed in to the page.
//!
//! A browser holds a random id in a cookie; only its hash is kept here. The person's tokens are in
//! memory only: when the process starts anew a session goes on, and its groups are known for a
//! while longer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use crate::clock::add;
use crate::identity::people::{Groups, People, PeopleError, SignedIn};
use crate::identity::{SignInError, Signed};

/// How long a session lasts. Then the person signs in again (GOVERNANCE §4.1: at most 12 hours).
pub(super) const LIFE: Duration = Duration::from_secs(12 * 3_600);
/// Groups older than this are read again when the session is used.
const GROUPS_FRESH: Duration = Duration::from_secs(10 * 60);
/// Groups older than this count as none: Entra could not be asked for too long.
const GROUPS_LAST: Duration = Duration::from_secs(3_600);
/// A person's access token is not used in its last minutes.
const TOKEN_MARGIN: Duration = Duration::from_secs(2 * 60);
/// Most sessions at once; the one that ends first goes.
const MAX_SESSIONS: usize = 10_000;

/// What is kept of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) oid: String,
    pub(super) name: String,
    pub(super) account: Option<String>,
    pub(super) groups: Vec<String>,
    /// Whether Entra listed all groups.
    pub(super) groups_complete: bool,
    pub(super) groups_read_at: Timestamp,
    pub(super) signed_in_at: Timestamp,
    pub(super) ends_at: Timestamp,
}

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
#[derive(Default)]
pub(super) struct Sessions {
    kept: Mutex<HashMap<SessionKey, Session>>,
    live: Mutex<HashMap<SessionKey, Live>>,
}

impl Session {
    fn new(signed_in: &SignedIn, now: Timestamp) -> Self {
        let person = &signed_in.person;
        let (groups, groups_complete) = listed(&person.groups);
        Self {
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
}

fn listed(groups: &Groups) -> (Vec<String>, bool) {
    match groups {
        Groups::Listed(groups) => (groups.clone(), true),
        Groups::TooMany => (Vec::new(), false),
    }
}

impl Sessions {
    /// Begins a session for who has just signed in.
    pub(super) fn begin(&self, id: &str, signed_in: SignedIn, now: Timestamp) -> Session {
        let session = Session::new(&signed_in, now);
        let key = SessionKey::of(id);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, session| session.ends_at > now);
        if kept.len() >= MAX_SESSIONS
            && let Some(first) = kept.iter().min_by_key(|(_, s)| s.ends_at).map(|(key, _)| key.clone())
        {
            kept.remove(&first);
        }
        live.retain(|key, _| kept.contains_key(key));
        live.insert(key.clone(), Arc::new(tokio::sync::Mutex::new(signed_in.tokens)));
        kept.insert(key, session.clone());
        session
    }

    /// Ends a session.
    pub(super) fn end(&self, key: &SessionKey) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.live.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The session as it is now: with groups that are not too old, or with none. `at_once` has the
    /// groups read anew, for a decision that hangs on them.
    pub(super) async fn find(
        &self,
        key: &SessionKey,
        people: &People,
        now: Timestamp,
        at_once: bool,
    ) -> Option<Session> {
        let session = self.get(key).filter(|session| session.ends_at > now)?;
        if !at_once && add(session.groups_read_at, GROUPS_FRESH) > now {
            return Some(session);
        }
        match self.renew(key, people, now, at_once).await {
            Renewed::Now => self.get(key),
            Renewed::Over => None,
            Renewed::Not if add(session.groups_read_at, GROUPS_LAST) > now => Some(session),
            Renewed::Not => Some(Session { groups: Vec::new(), groups_complete: false, ..session }),
        }
    }

    fn get(&self, key: &SessionKey) -> Option<Session> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn live(&self, key: &SessionKey) -> Option<Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    async fn renew(&self, key: &SessionKey, people: &People, now: Timestamp, at_once: bool) -> Renewed {
        let Some(live) = self.live(key) else { return Renewed::Not };
        let mut tokens = live.lock().await;
        // Somebody else may have done it while we waited.
        let read_at = self.get(key).map(|session| session.groups_read_at);
        if !at_once && read_at.is_none_or(|at| add(at, GROUPS_FRESH) > now) {
            return Renewed::Now;
        }
        let Some(refresh) = tokens.refresh_token.clone() else { return Renewed::Not };
        match people.renew(&refresh).await {
            Ok(newer) => {
                let (groups, groups_complete) = listed(&newer.person.groups);
                *tokens =
                    Signed { refresh_token: newer.tokens.refresh_token.or(Some(refresh)), ..newer.tokens };
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(session) = kept.get_mut(key) {
                    *session = Session { groups, groups_complete, groups_read_at: now, ..session.clone() };
                }
                Renewed::Now
            }
            Err(error @ PeopleError::SignIn(SignInError::Refused(_))) => {
                tracing::warn!(%error, "a session ends: Entra no longer signs its person in");
                drop(tokens);
                self.end(key);
                Renewed::Over
            }
            Err(error) => {
                tracing::warn!(%error, "somebody's groups cannot be read anew");
                Renewed::Not
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
        if add(now, TOKEN_MARGIN) >= live.lock().await.expires_at {
            self.renew(key, people, now, true).await;
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
