//! The record for those who must trust it: signed, exported, checked.
//!
//! Purpose: signs the chains of the journal, writes a run as a bundle that anyone can check, and
//! checks bundles and the journal itself.
//! Invariant: checking needs nothing but what is in the bundle; a change is named by the first entry
//! that it spoils and by its kind.
//! Must never know: models, tools, Azure DevOps, who asks.

mod bundle;
mod check;
pub mod events;
mod key;
mod notary;
mod reconcile;
pub mod retention;
pub mod usage;
mod whole;

pub use bundle::{Bundle, BundleError, Line, export};
pub use check::{Fault, Report, Tampering, Trusted, check};
pub use key::{Key, KeyError, public_key};
pub use notary::Notary;
pub use reconcile::Known;
pub use usage::{Usage, Used};
pub use whole::{OfRun, Whole, check_journal};

use crate::journal::Checkpoint;

/// First line of what a signature covers.
const CHECKPOINT_DOMAIN: &str = "ado-coworker checkpoint v1";

/// What a signature covers: the domain, the chain, the sequence number, the hash and the time, each
/// on a line of its own.
fn signed_text(chain: &str, seq: i64, hash: &str, ts_us: i64) -> String {
    format!("{CHECKPOINT_DOMAIN}\n{chain}\n{seq}\n{hash}\n{ts_us}")
}

/// What the signature of `point` covers.
fn text_of(point: &Checkpoint) -> String {
    signed_text(&point.chain, point.seq, &point.hash, point.ts_us)
}
