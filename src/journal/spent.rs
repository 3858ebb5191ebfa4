//! What runs use, counted from the entries of their logs, for budgets. The counts are kept in the
//! transaction that writes an entry, so they are right after a crash and over all replicas.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::store::read;
use super::{Entry, Journal, JournalError, RunId};
use crate::policy::SpentBy;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// One thing that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Turns,
    Steps,
    WorkedMs,
    Input,
    Cached,
    Output,
    Writes,
}

impl Item {
    const ALL: [Self; 7] =
        [Self::Turns, Self::Steps, Self::WorkedMs, Self::Input, Self::Cached, Self::Output, Self::Writes];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Turns => "turns",
            Self::Steps => "steps",
            Self::WorkedMs => "worked_ms",
            Self::Input => "input",
            Self::Cached => "cached",
            Self::Output => "output",
            Self::Writes => "writes",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|item| item.as_str() == text)
    }

    /// Whether the row is named after the deployment of the run's holder.
    pub(super) fn is_of_deployment(self) -> bool {
        matches!(self, Self::Input | Self::Cached | Self::Output)
    }
}

/// What an entry uses: what, the action of a write, how much. A write that was intended counts until
/// it is known that it was not done; see [`undone`].
pub(super) fn used(entry: &Entry) -> Vec<(Item, &'static str, i64)> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX / 2);
    match entry {
        Entry::Replied { usage, duration_ms, .. } => vec![
            (Item::Turns, "", 1),
            (Item::Input, "", number(usage.input)),
            (Item::Cached, "", number(usage.cached)),
            (Item::Output, "", number(usage.output)),
            (Item::WorkedMs, "", number(*duration_ms)),
        ],
        Entry::ToolStarted { .. } => vec![(Item::Steps, "", 1)],
        Entry::ToolFinished { duration_ms, .. } | Entry::Carried { duration_ms, .. } => {
            vec![(Item::WorkedMs, "", number(*duration_ms))]
        }
        Entry::Intended { action, .. } => vec![(Item::Writes, action.kind(), 1)],
        _ => Vec::new(),
    }
}

/// The write that an entry says was not done after all: step and number.
pub(super) fn undone(entry: &Entry) -> Option<(u32, u32)> {
    match entry {
        Entry::Performed { step, write, effect: None, .. } => Some((*step, *write)),
        _ => None,
    }
}

/// The day of an instant, in days since 1970, UTC.
pub(super) fn day(ts: i64) -> i64 {
    ts.div_euclid(DAY)
}

/// The first day of the month of an instant, in days since 1970, UTC.
pub(super) fn month(ts: i64) -> i64 {
    let at = Timestamp::from_microsecond(ts).unwrap_or_default().to_zoned(TimeZone::UTC);
    day(ts) - i64::from(at.day()) + 1
}

impl Journal {
    /// What was used by a run and by everything that it counts in, at `now` (microseconds).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn spent(&self, run: &RunId, now: i64) -> Result<SpentBy, JournalError> {
        read!(self, spent(run, day(now), month(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months_are_of_utc() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_microsecond();
        assert_eq!(day(at("1970-01-02T00:00:00Z")), 1);
        assert_eq!(day(at("1969-12-31T23:59:59Z")), -1);
        let (first, last) = (at("2026-11-01T00:00:00Z"), at("2026-11-30T23:59:59Z"));
        assert_eq!(month(first), day(first));
        assert_eq!(month(last), day(first));
        assert_eq!(month(at("2026-12-01T00:00:00Z")), day(last) + 1);
    }
}
