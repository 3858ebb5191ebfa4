//! Times and durations in the words of the API and of the page.

use jiff::Timestamp;

/// Microseconds since 1970 as RFC 3339.
pub(super) fn rfc3339(micros: i64) -> String {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// An instant, for machines and for people.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// RFC 3339; the page's script turns it into the reader's own time.
    pub(super) exact: String,
    /// Day and time, UTC.
    pub(super) words: String,
}

impl Moment {
    pub(super) fn of(micros: i64) -> Self {
        Self::at(Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    pub(super) fn at(instant: Timestamp) -> Self {
        Self { exact: instant.to_string(), words: instant.strftime("%-d %b, %H:%M UTC").to_string() }
    }
}

/// A duration, as short as it stays true.
pub(super) fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_times() {
        assert_eq!(duration(999), "999 ms");
        assert_eq!(duration(1_250), "1.2 s");
        assert_eq!(duration(61_000), "1 min 1 s");
        assert_eq!(duration(7_260_000), "2 h 1 min");
        assert_eq!([grouped(7), grouped(1_234), grouped(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!(rfc3339(1_800_000_000_123_456), "2027-01-15T08:00:00.123456Z");
        assert_eq!(Moment::of(1_800_000_000_123_456).words, "15 Jan, 08:00 UTC");
    }
}
