//! The list of effects: who did what, when, under which ActivityId.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Actor, World};

/// Entries kept; the oldest go first.
const LEDGER_ENTRIES: usize = 100_000;

/// Entries beyond that which may gather before the oldest are dropped, so that it is rarely done.
const LEDGER_SLACK: usize = 10_000;

/// One effect.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Entry {
    /// Position, from 1.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Identity id of who did it.
    pub who: Uuid,
    /// Account of who did it.
    pub account: String,
    /// ActivityId of the request.
    #[serde(rename = "activityId")]
    pub activity: Uuid,
    /// What happened, `pull_request.created`.
    pub kind: String,
    /// To what, `pull_request/12`.
    pub target: String,
}

impl World {
    /// Writes an effect down and marks the state as changed.
    pub(super) fn record(&mut self, actor: Actor, kind: &str, target: String) {
        let seq = self.data.ledger.last().map_or(1, |last| last.seq + 1);
        let account = self.person(actor.id).map(|p| p.account.clone()).unwrap_or_default();
        let at = self.now();
        self.data.ledger.push(Entry {
            seq,
            at,
            who: actor.id,
            account,
            activity: actor.activity,
            kind: kind.to_owned(),
            target,
        });
        if self.data.ledger.len() > LEDGER_ENTRIES + LEDGER_SLACK {
            self.data.ledger.drop_first(LEDGER_SLACK);
        }
        self.touch();
    }
}
