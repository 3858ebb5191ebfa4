//! Texts of files as code search compares them, kept so that a second search does not read them again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Outcome;

/// Bytes of text that are kept; then it begins anew.
const KEPT_BYTES: usize = 64 * 1024 * 1024;

/// Texts by object id; nothing for files that are not searched.
type Texts = HashMap<String, Option<Arc<str>>>;

/// The kept texts, and the bytes of them all.
#[derive(Debug, Default)]
pub struct Searched(Mutex<(usize, Texts)>);

impl Searched {
    /// The text of an object: kept, or as `read` gives it.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn text(
        &self,
        sha: &str,
        read: impl FnOnce() -> Outcome<Option<String>>,
    ) -> Outcome<Option<Arc<str>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = kept.1.get(sha) {
            return Ok(text.clone());
        }
        let text: Option<Arc<str>> = read()?.map(Arc::from);
        if kept.0 > KEPT_BYTES {
            *kept = Default::default();
        }
        kept.0 += sha.len() + text.as_ref().map_or(0, |t| t.len());
        kept.1.insert(sha.to_owned(), text.clone());
        Ok(text)
    }
}
