//! What runs use, counted from the entries of their logs, for budgets. The counts are kept in the
//! transaction that writes an entry, so they are right after a crash and over all replicas.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::store::read;
use super::{Entry, Journal, JournalError, RunId};
use crate::policy::SpentBy;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// What entries use, under one name: that of the action for a write, none (the deployment of the run's
/// holder) for all else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) name: Option<&'static str>,
    pub(super) turns: i64,
    pub(super) steps: i64,
    pub(super) worked_ms: i64,
    pub(super) input: i64,
    pub(super) cached: i64,
    pub(super) output: i64,
    pub(super) writes: i64,
}

impl Used {
    /// Writes of one action; negative for one that was not done after all.
    pub(super) fn writes(action: &'static str, writes: i64) -> Self {
        Self { name: Some(action), writes, ..Self::default() }
    }

    /// What an entry uses. A write that was intended counts until it is known that it was not done;
    /// see [`undone`].
    pub(super) fn by(entry: &Entry) -> Option<Self> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX / 2);
        match entry {
            Entry::Replied { usage, duration_ms, .. } => Some(Self {
                turns: 1,
                worked_ms: number(*duration_ms),
                input: number(usage.input),
                cached: number(usage.cached),
                output: number(usage.output),
                ..Self::default()
            }),
            Entry::ToolStarted { .. } => Some(Self { steps: 1, ..Self::default() }),
            Entry::ToolFinished { duration_ms, .. } | Entry::Carried { duration_ms, .. } => {
                Some(Self { worked_ms: number(*duration_ms), ..Self::default() })
            }
            Entry::Intended { action, .. } => Some(Self::writes(action.kind(), 1)),
            _ => None,
        }
    }

    /// Adds it to what is known under its name.
    pub(super) fn add_to(self, all: &mut Vec<Self>) {
        let Some(known) = all.iter_mut().find(|known| known.name == self.name) else { return all.push(self) };
        for (sum, more) in [
            (&mut known.turns, self.turns),
            (&mut known.steps, self.steps),
            (&mut known.worked_ms, self.worked_ms),
            (&mut known.input, self.input),
            (&mut known.cached, self.cached),
            (&mut known.output, self.output),
            (&mut known.writes, self.writes),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// Whether the holder looks at its budgets after this entry, so that the totals come with the commit.
pub(super) fn counted_after(entry: &Entry) -> bool {
    matches!(entry, Entry::Prepared { .. } | Entry::ToolFinished { .. })
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
