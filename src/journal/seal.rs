//! Signatures over the record, and what may be erased of it.

use super::command::Command;
use super::store::read;
use super::{Journal, JournalError, RunId};

/// Name of the chain over the ends of all runs, where a checkpoint names a chain.
pub const HEADS: &str = "heads";
/// Most places to sign, or ends of runs, read at once.
const AT_ONCE: i64 = 256;

/// A place in a chain that no signature covers yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    /// A run's id, or [`HEADS`].
    pub chain: String,
    /// Sequence number of the newest entry.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
}

/// A signed place in a chain.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Checkpoint {
    /// A run's id, or [`HEADS`].
    pub chain: String,
    /// Sequence number of the entry.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
    /// When it was signed, microseconds since 1970, UTC.
    pub ts_us: i64,
    /// Id of the key.
    pub key: String,
    /// Ed25519 signature, base64.
    pub signature: String,
}

/// A key that signed parts of this record.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RecordKey {
    /// The first 16 hexadecimal digits of the SHA-256 of the public key.
    pub id: String,
    /// Ed25519 public key, base64.
    pub public_key: String,
    /// First use, microseconds since 1970, UTC.
    pub first_used_us: i64,
    /// Last use, microseconds since 1970, UTC.
    pub last_used_us: i64,
}

/// The end of a run in the chain over all of them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Head {
    /// Place in the chain, from 1.
    pub n: i64,
    /// The run.
    pub run: RunId,
    /// Its newest entry then.
    pub seq: i64,
    /// Hash of that entry.
    pub head: String,
    /// Hash of the end before; empty for the first.
    pub prev: String,
    /// Hash of this end.
    pub hash: String,
}

impl Journal {
    /// Places that should be signed now: runs that ended, that have `entries` new entries, or that have
    /// any and were not signed for `age_us` microseconds; and the chain over the ends of runs.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unsigned(
        &self,
        entries: i64,
        age_us: i64,
        now_us: i64,
    ) -> Result<Vec<Unsigned>, JournalError> {
        read!(self, unsigned(entries, now_us - age_us, AT_ONCE))
    }

    /// Writes signatures down, with the key that made them.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn sign(&self, public_key: String, checkpoints: Vec<Checkpoint>) -> Result<bool, JournalError> {
        self.done(Command::Sign { public_key, checkpoints }).await
    }

    /// The signatures over a chain (a run's id or [`HEADS`]), oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn checkpoints(&self, chain: &str) -> Result<Vec<Checkpoint>, JournalError> {
        read!(self, checkpoints(chain))
    }

    /// Every key that signed something here.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn record_keys(&self) -> Result<Vec<RecordKey>, JournalError> {
        read!(self, record_keys())
    }

    /// The newest end of a run.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest_head(&self) -> Result<Option<Head>, JournalError> {
        read!(self, newest_head())
    }

    /// Ends of runs after the `after`th, oldest first, a page at a time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn heads(&self, after: i64) -> Result<Vec<Head>, JournalError> {
        read!(self, heads(after, AT_ONCE))
    }
}
