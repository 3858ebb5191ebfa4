//! Masking of text that arrives in pieces.
//!
//! Whole lines are masked and handed on; the last line, and what might go on in the next piece,
//! waits. What has been handed on stays in view for a while, so that a name on one line and its
//! secret on the next are still seen together.

use std::collections::BTreeMap;

use super::session::{Hit, Origin, Session};

/// Most bytes that wait for the end of a line or of a key block before they are handed on anyway.
/// No single token of the table is longer than this but web tokens and key blocks; when such a one
/// is cut, its two parts are masked as what they are.
pub const HOLD_BACK_BYTES: usize = 64 * 1024;
/// Bytes before the waiting text that stay in view.
const VIEW_BYTES: usize = 4 * 1024;

/// Masks a stream. Give it pieces, hand on what it returns, and call [`MaskStream::finish`].
pub struct MaskStream<'s> {
    session: &'s Session,
    origin: Origin,
    /// Original text: first what has been handed on (`seen` bytes), then what waits.
    buffer: String,
    seen: usize,
    counts: BTreeMap<String, u32>,
}

impl<'s> MaskStream<'s> {
    pub(super) fn new(session: &'s Session, origin: Origin) -> Self {
        Self { session, origin, buffer: String::new(), seen: 0, counts: BTreeMap::new() }
    }

    /// Takes a piece; returns what is now certain.
    pub fn push(&mut self, piece: &str) -> String {
        let mut out = String::new();
        let mut rest = piece;
        // Bounded memory, whatever the size of the piece.
        while !rest.is_empty() {
            let mut take = rest.len().min(HOLD_BACK_BYTES);
            while !rest.is_char_boundary(take) {
                take -= 1;
            }
            let (now, later) = rest.split_at(take);
            self.buffer.push_str(now);
            rest = later;
            let ready = self.ready();
            let overdue = self.buffer.len() - self.seen > HOLD_BACK_BYTES;
            self.emit(ready, overdue, &mut out);
        }
        out
    }

    /// Masks and returns what still waits, and says what was hidden in the whole stream.
    pub fn finish(mut self) -> (String, Vec<Hit>) {
        let mut out = String::new();
        let end = self.buffer.len();
        self.emit(end, true, &mut out);
        let hits = std::mem::take(&mut self.counts).into_iter().map(|(class, count)| Hit { class, count });
        (out, hits.collect())
    }

    /// The offset up to which the text is certain.
    fn ready(&self) -> usize {
        let waiting = self.buffer.get(self.seen..).unwrap_or_default();
        let overdue = waiting.len() > HOLD_BACK_BYTES;
        let whole_lines = waiting.rfind('\n').map_or(0, |at| at + 1);
        let open_block = open_block(waiting);
        match (overdue, open_block) {
            (true, _) => self.buffer.len(),
            (false, Some(start)) => self.seen + whole_lines.min(start),
            // The line before the last may go on in the last one: hold one whole line back, too.
            (false, None) => {
                let before = waiting.get(..whole_lines.saturating_sub(1)).unwrap_or_default();
                self.seen + before.rfind('\n').map_or(0, |at| at + 1)
            }
        }
    }

    fn emit(&mut self, end: usize, last: bool, out: &mut String) {
        if end <= self.seen {
            return;
        }
        let (masked, end, hits) = self.session.mask_between(&self.buffer, self.seen, end, last, &self.origin);
        out.push_str(&masked);
        for hit in hits {
            *self.counts.entry(hit.class).or_insert(0) += hit.count;
        }
        self.seen = end;
        let mut drop = end.saturating_sub(VIEW_BYTES);
        while !self.buffer.is_char_boundary(drop) {
            drop -= 1;
        }
        self.buffer.drain(..drop);
        self.seen -= drop;
    }
}

/// Where a key block begins that has no end yet.
fn open_block(text: &str) -> Option<usize> {
    let start = text.rfind("-----BEGIN")?;
    let block = text.get(start..)?;
    let end = block.find("-----END").and_then(|at| block.get(at + 8..)?.find("-----"));
    end.is_none().then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_without_an_end_is_open() {
        assert_eq!(open_block("a\n-----BEGIN X PRIVATE KEY-----\nabc"), Some(2));
        assert_eq!(open_block("-----BEGIN X-----\n-----END X-----\n"), None);
    }
}
