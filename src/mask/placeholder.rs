//! What stands for a secret in masked text: `[[secret:class:id]]`.

/// Longest class, in bytes.
pub const MAX_CLASS_BYTES: usize = 24;
/// Longest placeholder, in bytes.
pub const MAX_PLACEHOLDER_BYTES: usize = 56;
/// What every placeholder of a secret begins with.
pub(super) const OPEN: &str = "[[secret:";
/// The same for personal data. None are written yet; forged ones are refused all the same.
pub(super) const OPEN_PERSONAL: &str = "[[pii:";
/// The letters of an id: hardly a vowel, so that no word comes out.
const LETTERS: &[u8; 32] = b"0123456789bcdfghjklmnpqrstvwxyza";

/// A placeholder in a text.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Placeholder {
    /// The class as written.
    pub class: String,
    /// The id as written.
    pub id: String,
    /// First byte of it in the text.
    pub start: usize,
    /// The byte after it.
    pub end: usize,
    /// Whether this session gave it out. One that it did not is forged.
    pub issued: bool,
}

/// The id of so many letters from the front of `digest`.
pub(super) fn id(digest: &[u8], letters: usize) -> String {
    let bit = |index: usize| -> usize {
        let byte = digest.get(index / 8).copied().unwrap_or_default();
        usize::from(byte >> (7 - index % 8) & 1)
    };
    (0..letters)
        .map(|letter| {
            let value = (0..5).fold(0, |value, offset| value << 1 | bit(letter * 5 + offset));
            char::from(LETTERS.get(value).copied().unwrap_or(b'0')).to_ascii_lowercase()
        })
        .collect()
}

/// The placeholders of a text: (class, id, start, end).
pub(super) fn find(text: &str) -> Vec<(&str, &str, usize, usize)> {
    let mut found = Vec::new();
    for open in [OPEN, OPEN_PERSONAL] {
        for (start, _) in text.match_indices(open) {
            let body = start + open.len();
            let rest = text.get(body..).unwrap_or_default();
            let Some(close) = rest.find("]]").filter(|close| *close <= MAX_PLACEHOLDER_BYTES) else {
                continue;
            };
            let (class, id) = rest.get(..close).and_then(|inner| inner.split_once(':')).unwrap_or_default();
            found.push((class, id, start, body + close + 2));
        }
    }
    found.sort_by_key(|(_, _, start, _)| *start);
    found
}

/// Where something stands that is written exactly as a placeholder, broken or not: its inside is
/// too short to be a secret, and no rule may read it as one.
pub(super) fn atoms(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    if !text.contains('[') {
        return found;
    }
    for open in ["[secret:", "[pii:"] {
        for (start, _) in text.match_indices(open) {
            let rest = text.get(start + open.len()..).unwrap_or_default();
            let Some((class, after)) = rest.split_once(':') else { continue };
            let Some((id, _)) = after.split_once(']') else { continue };
            let plain =
                |part: &str| part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if class.len() <= MAX_CLASS_BYTES && id.len() <= 12 && plain(class) && plain(id) {
                let end = start + open.len() + class.len() + 1 + id.len();
                // The brackets belong to it.
                found.push((start.saturating_sub(1), end + 2));
            }
        }
    }
    found
}

/// Where text from outside begins something that looks like a placeholder, in any case and with
/// blanks or invisible characters inside: the offsets behind the first bracket.
pub(super) fn forged(text: &str) -> Vec<usize> {
    let mut offsets = Vec::new();
    for (start, _) in text.match_indices('[') {
        let mut letters =
            text.get(start..).unwrap_or_default().chars().filter(|c| !super::shadow::invisible(*c));
        let seen: String = letters.by_ref().take(OPEN.len()).map(|c| c.to_ascii_lowercase()).collect();
        if seen.starts_with(OPEN) || seen.starts_with(OPEN_PERSONAL) {
            offsets.push(start + 1);
        }
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_letters_that_case_does_not_confuse() {
        let mut lower: Vec<u8> = LETTERS.iter().map(u8::to_ascii_lowercase).collect();
        lower.sort_unstable();
        lower.dedup();
        assert_eq!(lower.len(), 32);
        assert_eq!(id(&[0xff; 8], 6).len(), 6);
        assert_ne!(id(&[1, 2, 3, 4], 6), id(&[1, 2, 4, 4], 6));
    }

    #[test]
    fn placeholders_and_forgeries_are_found() {
        let text = "a [[secret:jwt:k7f3q2]] b [[SECRET:x:y]] [\u{200B}[secret:z:w]]";
        assert_eq!(find(text), [("jwt", "k7f3q2", 2, 23)]);
        assert_eq!(forged(text).len(), 3);
        assert!(forged("[ [secret:x:y]] [secret] [[link]]").is_empty());
    }
}
