//! Manners that every HTTP client of ours shares.
//!
//! Purpose: waits between attempts, the pauses that a service asks for ([`Quiet`]), bodies with a
//! limit, and words about a failure.
//! Invariant: no address parameter and no token gets into such words; every wait has an end.
//! Must never know: which service is asked, and for what.

mod quiet;

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};

pub use quiet::{IN_PLACE, MAX_PAUSE, Quiet};

/// The wait before attempt `attempt + 1` (the first attempt is 1): doubles from `first` up to
/// `longest`, and half of it is left to chance so that clients do not come back in step.
pub fn backoff(attempt: u32, first: Duration, longest: Duration) -> Duration {
    let doubled = first.saturating_mul(1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
    let half = doubled.min(longest) / 2;
    // 16 random bits are plenty for a wait.
    let chance = u32::from(u16::from_le_bytes([
        uuid::Uuid::new_v4().as_bytes()[0],
        uuid::Uuid::new_v4().as_bytes()[1],
    ]));
    half + half.saturating_mul(chance) / u32::from(u16::MAX)
}

/// What `Retry-After` asks for, as seconds or as a date compared with `now`; `None` when the
/// header is absent or cannot be read.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// The instant in a `Date` header; `None` when it is absent or cannot be read.
pub fn date(header: Option<&HeaderValue>) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(header?.to_str().ok()?).ok()?.timestamp())
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Longer than the limit, which is in bytes.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The connection broke, or the body is shorter than announced.
    #[error("the answer broke off: {0}")]
    Broken(String),
}

/// Reads a whole body of at most `limit` bytes, counted after decompression.
///
/// # Errors
/// [`BodyError`].
pub async fn read_body(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Err(BodyError::TooLarge(limit)),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(BodyError::Broken(reason(error))),
        }
    }
}

/// An error of the HTTP client in words, with its causes and without the URL.
pub fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    plain(&text, 300)
}

/// Somebody else's text made fit for an error or a log: one line, at most `max_chars` characters,
/// nothing in it that looks like a token.
pub fn plain(text: &str, max_chars: usize) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        // Every JWT starts with the base64 form of `{"`.
        match word.find("eyJ").filter(|at| word.len() - at > 30) {
            Some(at) => {
                line.push_str(&word[..at]);
                line.push_str("[token]");
            }
            None => line.push_str(word),
        }
    }
    let mut kept: String = line.chars().take(max_chars).collect();
    if kept.len() < line.len() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str) -> Option<Duration> {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
        retry_after(&headers, "2026-11-22T10:00:00Z".parse().unwrap())
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(asked("Sun, 22 Nov 2026 10:01:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(asked("Sun, 22 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO));
        for bad in ["", "soon", "-1", "NaN"] {
            assert_eq!(asked(bad), None, "{bad}");
        }
    }

    #[test]
    fn waits_grow_stay_in_bounds_and_differ() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(5));
        for attempt in 1..100 {
            let wait = backoff(attempt, first, longest);
            assert!(wait >= first / 2 && wait <= longest, "{attempt}: {wait:?}");
        }
        let waits: std::collections::BTreeSet<Duration> =
            (0..20).map(|_| backoff(9, first, longest)).collect();
        assert!(waits.len() > 10);
    }

    #[test]
    fn foreign_text_is_one_short_line_without_tokens() {
        let token = format!("eyJhbGciOiJub25lIn0.{}.sig", "A".repeat(40));
        assert_eq!(plain(&format!("a\r\n b\u{7}c Bearer={token} d"), 100), "a b c Bearer=[token] d");
        assert_eq!(plain("abcdef", 3), "abc…");
    }
}
