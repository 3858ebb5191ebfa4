//! Finds what an outgoing text quotes at length from what a run has read (F4). It is a flag for
//! people, not a judgement.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Length of a stretch that is looked up, in bytes.
const WINDOW: usize = 48;
/// Distance between the stretches that are remembered, in bytes: every quotation of
/// `WINDOW + STRIDE` bytes holds one of them.
const STRIDE: usize = 16;
/// Most stretches that are remembered of one run.
const MAX_STRETCHES: usize = 200_000;
/// Most bytes of an outgoing text that are looked up.
const MAX_SEARCHED: usize = 256 * 1024;

/// The stretches of all that a run has read, each with the text it stood in.
#[derive(Debug, Default)]
pub(super) struct Quotes {
    stretches: HashMap<u64, u16>,
    objects: Vec<String>,
}

impl Quotes {
    /// Remembers a text that was read from `object`.
    pub(super) fn remember(&mut self, object: &str, text: &str) {
        let Ok(number) = u16::try_from(self.objects.len()) else { return };
        self.objects.push(object.to_owned());
        for window in text.as_bytes().windows(WINDOW).step_by(STRIDE) {
            if self.stretches.len() >= MAX_STRETCHES {
                return;
            }
            self.stretches.entry(hash(window)).or_insert(number);
        }
    }

    /// The objects that `text` quotes at length, each once.
    pub(super) fn quoted_in(&self, text: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        if self.stretches.is_empty() {
            return found;
        }
        let searched = text.as_bytes().get(..MAX_SEARCHED).unwrap_or(text.as_bytes());
        for window in searched.windows(WINDOW) {
            let object = self.stretches.get(&hash(window)).and_then(|at| self.objects.get(usize::from(*at)));
            if let Some(object) = object.filter(|object| !found.contains(object)) {
                found.push(object.clone());
            }
        }
        found
    }
}

fn hash(window: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    window.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_quotation_is_found_and_a_short_one_is_not() {
        let mut quotes = Quotes::default();
        let text: String = (0..40).map(|n| format!("line {n} of the file. ")).collect();
        quotes.remember("/src/a.ts", &text);
        let quoted = format!("As I read: {} and so on", &text[101..101 + WINDOW + STRIDE]);
        assert_eq!(quotes.quoted_in(&quoted), ["/src/a.ts"]);
        assert!(quotes.quoted_in(&text[101..130]).is_empty());
        assert!(quotes.quoted_in(&"something else altogether ".repeat(9)).is_empty());
    }
}
