//! Text from outside, made safe to look at: characters that cannot be seen are spelt out, so that
//! what a person reads is what is there. (Escaping for HTML is the templates' work.)

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::action::is_hidden;

/// `text` with zero-width and direction-changing characters spelt as `⟨U+202E⟩`.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            // Writing to a String cannot fail.
            let _ = write!(out, "⟨U+{:04X}⟩", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The first `most` characters, or none when there are no more than that.
pub(super) fn cut(text: &str, most: usize) -> Option<&str> {
    text.char_indices().nth(most).map(|(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_spelt_out() {
        assert_eq!(visible("if a\u{202e} {"), "if a⟨U+202E⟩ {");
        assert_eq!(visible("gr\u{fc}n"), "grün");
    }

    #[test]
    fn cutting_counts_characters() {
        assert_eq!((cut("éé", 2), cut("ééé", 2)), (None, Some("éé")));
    }
}
