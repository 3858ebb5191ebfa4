//! What the tenant remembers of sign-ins: codes, device codes, refresh tokens, and a log.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::add;

/// Most entries of each kind; the oldest goes first.
const MAX_ENTRIES: usize = 1_000;
/// Life of an authorization code.
pub const CODE_LIFE: Duration = Duration::from_secs(600);
/// Life of a device code (TOKENS.md §3).
pub const DEVICE_LIFE: Duration = Duration::from_secs(900);
/// Life of a refresh token.
const REFRESH_LIFE: Duration = Duration::from_secs(90 * 24 * 3_600);

/// An authorization code that was given out.
#[derive(Clone, Debug)]
pub struct Code {
    /// The code.
    pub code: String,
    /// Who may redeem it.
    pub client: String,
    /// Where it was sent.
    pub redirect_uri: String,
    /// Object id of who signed in.
    pub user: String,
    /// What was asked.
    pub scope: String,
    /// Comes back in the id token.
    pub nonce: Option<String>,
    /// PKCE challenge, S256.
    pub challenge: Option<String>,
    /// Good until.
    pub until: Timestamp,
    /// Redeemed.
    pub used: bool,
}

/// What the person at the device page has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet.
    Pending,
    /// Signed in, by object id.
    User(String),
    /// Declined.
    Declined,
}

/// A device sign-in under way.
#[derive(Clone, Debug)]
pub struct Device {
    /// The secret half.
    pub device_code: String,
    /// The half that is typed.
    pub user_code: String,
    /// Who asked.
    pub client: String,
    /// What was asked.
    pub scope: String,
    /// Good until.
    pub until: Timestamp,
    /// The answer so far.
    pub answer: Answer,
}

/// A refresh token that was given out.
#[derive(Clone, Debug)]
pub struct Refresh {
    /// The token.
    pub token: String,
    /// Who may use it.
    pub client: String,
    /// For whom, by object id.
    pub user: String,
    /// What was asked first.
    pub scope: String,
    /// When it was given.
    pub given: Timestamp,
}

impl Refresh {
    /// Whether it has run out.
    pub fn expired(&self, now: Timestamp) -> bool {
        add(self.given, REFRESH_LIFE) <= now
    }
}

/// One request of the token endpoint, for the tenant's sign-in log.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// When.
    pub at: Timestamp,
    /// `grant_type`.
    pub grant: String,
    /// `client_id`.
    pub client: String,
    /// `scope`.
    pub scope: String,
    /// Code of the refusal; none when a token was issued.
    pub code: Option<u32>,
    /// The caller's `client-request-id`.
    pub correlation: Option<uuid::Uuid>,
}

/// All of them.
#[derive(Default)]
pub struct Sessions {
    /// Authorization codes.
    pub codes: VecDeque<Code>,
    /// Device sign-ins.
    pub devices: VecDeque<Device>,
    /// Refresh tokens.
    pub refresh: VecDeque<Refresh>,
    /// Requests of the token endpoint.
    pub log: VecDeque<SignIn>,
}

/// Keeps `entry`, and drops the oldest when there are too many.
pub fn keep<T>(entries: &mut VecDeque<T>, entry: T) {
    if entries.len() >= MAX_ENTRIES {
        entries.pop_front();
    }
    entries.push_back(entry);
}
