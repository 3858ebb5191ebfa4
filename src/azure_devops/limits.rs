//! How much is sent and taken, in one place. Too long text is refused before it is sent: whoever
//! writes it cuts it with [`cut`] and puts the rest where a person would.

use super::Error;

/// Longest title of a pull request, in UTF-16 units as the service counts (FACTS §13).
pub const PULL_REQUEST_TITLE: usize = 400;
/// Longest description of a pull request, in UTF-16 units.
pub const PULL_REQUEST_DESCRIPTION: usize = 4_000;
/// Longest title of a work item, in UTF-16 units.
pub const WORK_ITEM_TITLE: usize = 255;
/// Longest long-text field of a work item, in UTF-16 units.
pub const WORK_ITEM_TEXT: usize = 1_000_000;
/// Longest comment, on a work item or in a pull request, in UTF-16 units.
pub const COMMENT: usize = 150_000;
/// Longest text that is searched for in code, in UTF-16 units.
pub const SEARCH_TEXT: usize = 1_000;
/// Most test runs of one build that are looked into.
pub const TEST_RUNS: usize = 20;
/// Longest WIQL query, in UTF-16 units.
pub const WIQL: usize = 32_000;
/// Most work items in one batch.
pub const BATCH: usize = 200;
/// Most work items that one query gives.
pub const QUERY_RESULTS: usize = 1_000;
/// Largest push, in bytes of the request.
pub const PUSH_BYTES: usize = 20 * 1024 * 1024;
/// Largest file that is read, in bytes.
pub const FILE_BYTES: usize = 5 * 1024 * 1024;
/// Largest JSON answer, in bytes.
pub const ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Largest list of files, in bytes.
pub const LISTING_BYTES: usize = 64 * 1024 * 1024;
/// Largest answer to a failed request that is read, in bytes.
pub const FAILURE_BYTES: usize = 64 * 1024;
/// Most pages that one list is followed for.
pub const PAGES: usize = 50;

/// The length of `text` as the service counts it: UTF-16 units.
pub fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The longest beginning of `text` that has at most `limit` UTF-16 units.
pub fn cut(text: &str, limit: usize) -> &str {
    let mut left = limit;
    for (at, c) in text.char_indices() {
        match left.checked_sub(c.len_utf16()) {
            Some(rest) => left = rest,
            None => return &text[..at],
        }
    }
    text
}

/// Refuses text that is longer than `limit`.
pub(super) fn check(what: &str, text: &str, limit: usize) -> Result<(), Error> {
    let found = length(text);
    if found <= limit {
        return Ok(());
    }
    Err(Error::invalid(format!("the {what} has {found} characters; at most {limit} are allowed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_measured_and_cut_as_the_service_counts() {
        assert_eq!(length("aé😀"), 4);
        assert_eq!((cut("aé😀b", 3), cut("aé😀b", 4), cut("ab", 9)), ("aé", "aé😀", "ab"));
        assert!(check("title", &"x".repeat(400), PULL_REQUEST_TITLE).is_ok());
        let error = check("title", &"😀".repeat(201), PULL_REQUEST_TITLE).unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }
}
