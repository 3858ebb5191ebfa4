//! When a failed request is sent again. Pure: the transport asks and obeys.

use std::time::Duration;

use super::Error;
use crate::http::backoff;

/// Most attempts for one request.
pub(super) const MAX_ATTEMPTS: u32 = 4;
/// Longest time that one request waits in all; more becomes [`Error::Throttled`].
pub(super) const MAX_WAIT: Duration = Duration::from_secs(60);
/// First wait when the service does not name one.
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// Longest wait when the service does not name one.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Whether a request may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Safety {
    /// It changes nothing.
    Read,
    /// Only when it is certain that nothing happened.
    Write,
}

/// How long to wait before the next attempt, or `None` to give up. `attempt` is the number of
/// attempts made, `waited` the time waited so far.
pub(super) fn next_wait(error: &Error, safety: Safety, attempt: u32, waited: Duration) -> Option<Duration> {
    let asked = match (error, safety) {
        // Refused before it was looked at: safe for both.
        (Error::Throttled { after, .. }, _) => *after,
        (Error::Unavailable { after, .. }, Safety::Read) => *after,
        (Error::Transport { sent: false, .. }, _) | (Error::Transport { .. }, Safety::Read) => None,
        _ => return None,
    };
    if attempt >= MAX_ATTEMPTS {
        return None;
    }
    let wait = asked.unwrap_or_else(|| backoff(attempt, FIRST_WAIT, LONGEST_WAIT));
    (waited.saturating_add(wait) <= MAX_WAIT).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure_devops::Failure;

    fn failure() -> Failure {
        Failure::said("x".into())
    }

    fn throttled(seconds: Option<u64>) -> Error {
        Error::Throttled { after: seconds.map(Duration::from_secs), failure: failure() }
    }

    fn unavailable(after: Option<Duration>) -> Error {
        Error::Unavailable { after, failure: failure() }
    }

    #[test]
    fn reads_are_repeated_where_waiting_may_help() {
        let wait = |error: &Error| next_wait(error, Safety::Read, 1, Duration::ZERO);
        assert_eq!(wait(&throttled(Some(7))), Some(Duration::from_secs(7)));
        assert_eq!(wait(&unavailable(Some(Duration::from_secs(2)))), Some(Duration::from_secs(2)));
        assert!(wait(&unavailable(None)).is_some());
        for sent in [true, false] {
            assert!(wait(&Error::Transport { sent, failure: failure() }).is_some());
        }
        let lasting = [
            Error::NotFound(failure()),
            Error::Forbidden(failure()),
            Error::SignInRequired(failure()),
            Error::Conflict(failure()),
            Error::PolicyRefused(failure()),
            Error::Invalid(failure()),
            Error::TooLarge(failure()),
            Error::Identity(crate::identity::IdentityError::NotLoopback),
        ];
        for error in lasting {
            assert_eq!(wait(&error), None, "{error}");
        }
    }

    #[test]
    fn writes_are_repeated_only_when_nothing_happened() {
        let wait = |error: &Error| next_wait(error, Safety::Write, 1, Duration::ZERO);
        assert!(wait(&throttled(None)).is_some());
        assert!(wait(&Error::Transport { sent: false, failure: failure() }).is_some());
        assert_eq!(wait(&Error::Transport { sent: true, failure: failure() }), None);
        assert_eq!(wait(&unavailable(Some(Duration::from_secs(1)))), None);
    }

    #[test]
    fn attempts_and_waiting_are_bounded() {
        assert_eq!(next_wait(&throttled(Some(61)), Safety::Read, 1, Duration::ZERO), None);
        assert_eq!(next_wait(&throttled(Some(30)), Safety::Read, 2, Duration::from_secs(31)), None);
        assert!(next_wait(&throttled(Some(30)), Safety::Read, 2, Duration::from_secs(30)).is_some());
        assert_eq!(next_wait(&throttled(Some(1)), Safety::Read, MAX_ATTEMPTS, Duration::ZERO), None);
    }
}
