//! Tests of the whole masker: what must be hidden, what must pass, and what holds for any text.

mod canary;
mod ordinary;
mod properties;
mod recall;
mod sample;

use std::sync::Arc;

use secrecy::SecretString;

use super::{Masker, Origin, Session};

/// A session over these known values.
pub(super) fn session(known: &[&str]) -> Session {
    masker(known).session([7; 32])
}

pub(super) fn masker(known: &[&str]) -> Arc<Masker> {
    let known = known.iter().map(|value| ("known", SecretString::from(*value)));
    Arc::new(Masker::new(known).unwrap())
}

pub(super) fn here() -> Origin {
    Origin::Other("test".to_owned())
}

pub(super) fn file(path: &str) -> Origin {
    Origin::File {
        project: "p".to_owned(),
        repository: "r".to_owned(),
        path: path.to_owned(),
        commit: "c".to_owned(),
    }
}

/// `text` masked, without known values.
pub(super) fn masked(text: &str) -> String {
    session(&[]).mask_text(text, &here()).text
}
