//! Signs what is new in the record, a moment after it was written.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Key;
use crate::clock::Clock;
use crate::journal::{Checkpoint, Journal, JournalError};

/// A run is signed when it has this many entries that no signature covers.
const EVERY_ENTRIES: i64 = 256;
/// And at the latest this long after its last signature, when it has any.
const EVERY: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// The signing of one journal's record. Cheap to clone.
#[derive(Clone)]
pub struct Notary {
    journal: Journal,
    key: Arc<Key>,
    clock: Clock,
}

impl Notary {
    /// A notary with this key.
    pub fn new(journal: Journal, key: Key, clock: Clock) -> Self {
        Self { journal, key: Arc::new(key), clock }
    }

    /// Signs until `stop`, and once more then.
    pub async fn work(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            // What is not signed now is signed at the next look, or by the next process.
            if let Err(error) = self.sign_what_is_new().await {
                tracing::warn!(%error, "the record could not be signed");
            }
        }
    }

    /// Signs everything that is due.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn sign_what_is_new(&self) -> Result<usize, JournalError> {
        let mut signed = 0;
        loop {
            let now = self.clock.now().as_microsecond();
            let age = i64::try_from(EVERY.as_micros()).unwrap_or(i64::MAX);
            let places = self.journal.unsigned(EVERY_ENTRIES, age, now).await?;
            if places.is_empty() {
                return Ok(signed);
            }
            let points: Vec<Checkpoint> = places.iter().map(|place| self.key.sign(place, now)).collect();
            signed += points.len();
            self.journal.sign(self.key.public_key(), points).await?;
        }
    }
}
