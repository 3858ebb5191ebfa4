//! What makes the record tamper-evident, and still so after bodies were erased (GOVERNANCE §5.1).
//!
//! An entry's body is bound by a salted commitment, and the chain of hashes runs over the
//! commitments. Whoever erases body and salt leaves the chain whole, and nobody can guess a short
//! body from what is left.

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{Entry, JournalError, Logged, RunId};
use crate::digest::{Digest, hex};

/// Domain of the hash chain of one run.
const LOG_DOMAIN: &str = "ado-coworker log v2";
/// Domain of the chain over the ends of runs.
const HEADS_DOMAIN: &str = "ado-coworker heads v1";
/// Room for an entry's text before it has to grow, in bytes.
const USUAL_BYTES: usize = 2_048;
/// Bytes of an entry's salt.
pub const SALT_BYTES: usize = 16;

/// An entry that is ready to be written.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) entry: Entry,
    pub(super) body: String,
    pub(super) salt: [u8; SALT_BYTES],
    pub(super) commitment: String,
}

impl Draft {
    pub(super) fn of(entry: Entry) -> Result<Self, JournalError> {
        let failed = |error: &dyn std::fmt::Display| JournalError::Store(error.to_string());
        let mut body = Vec::with_capacity(USUAL_BYTES);
        serde_json::to_writer(&mut body, &entry).map_err(|error| failed(&error))?;
        let body = String::from_utf8(body).map_err(|error| failed(&error))?;
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new()
            .fill(&mut salt)
            .map_err(|_| JournalError::Store("the system gives no random bytes".to_owned()))?;
        let commitment = commitment(&salt, &body);
        Ok(Self { entry, body, salt, commitment })
    }

    /// The entry in its place.
    pub(super) fn logged(self, seq: i64, ts: i64) -> Logged {
        Logged { seq, ts, body: self.body, entry: self.entry }
    }

    pub(super) fn all(entries: Vec<Entry>) -> Result<Vec<Self>, JournalError> {
        entries.into_iter().map(Self::of).collect()
    }
}

/// The commitment to a body: `hmac-sha256:` and the HMAC-SHA-256 of the body under the salt.
pub fn commitment(salt: &[u8], body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt);
    format!("hmac-sha256:{}", hex(hmac::sign(&key, body.as_bytes()).as_ref()))
}

/// The hash of an entry: SHA-256 over the domain, the hash before it (empty for the first), run,
/// sequence number, time in microseconds and commitment, each on a line of its own.
pub fn entry_hash(run: &RunId, seq: i64, ts: i64, commitment: &str, prev: &str) -> Digest {
    Digest::chain(LOG_DOMAIN, prev, format!("{run}\n{seq}\n{ts}\n{commitment}").as_bytes())
}

/// The hash of the `n`th end of a run in the chain over all of them.
pub fn head_hash(n: i64, run: &RunId, seq: i64, head: &str, prev: &str) -> Digest {
    Digest::chain(HEADS_DOMAIN, prev, format!("{n}\n{run}\n{seq}\n{head}").as_bytes())
}
