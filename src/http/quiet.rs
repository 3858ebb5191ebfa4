//! The pause that a service asked for, kept by all who call it as the same user: one who is told to
//! wait slows all the others down, before they are told themselves.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use super::{backoff, retry_after};
use crate::clock::{self, Clock};

/// Longest pause that a request waits out where it is; for a longer one, whoever can be laid aside
/// is laid aside.
pub const IN_PLACE: Duration = Duration::from_secs(15);
/// Longest pause that is kept for a service: Azure DevOps' own window is five minutes (FACTS §5).
pub const MAX_PAUSE: Duration = Duration::from_secs(15 * 60);
/// Part of a limit, one in so many, below which requests are spread out.
const LITTLE_LEFT: f64 = 10.0;
/// Longest pause between requests that are spread out.
const LONGEST_GAP: Duration = Duration::from_secs(1);
/// Longest pause where a limit is used up and nothing else is said.
const USED_UP: Duration = Duration::from_secs(30);

/// What is known of one service's patience with us.
#[derive(Debug)]
pub struct Quiet {
    system: &'static str,
    until: Mutex<Timestamp>,
}

impl Quiet {
    /// Nothing is known of `system` yet.
    pub fn new(system: &'static str) -> Self {
        Self { system, until: Mutex::new(Timestamp::MIN) }
    }

    /// Its name.
    pub fn system(&self) -> &'static str {
        self.system
    }

    /// Hears what an answer asks for, whatever its status.
    pub fn hear(&self, headers: &HeaderMap, now: Timestamp) {
        if let Some(pause) = wish(headers, now) {
            self.ask(pause, now);
        }
    }

    /// Nobody calls for so long.
    pub fn ask(&self, pause: Duration, now: Timestamp) {
        self.keep(clock::add(now, pause.min(MAX_PAUSE)));
    }

    /// Nobody calls before this instant, which is cut to [`MAX_PAUSE`] by whoever gives it.
    pub fn keep(&self, until: Timestamp) {
        let mut known = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *known = until.max(*known);
    }

    /// Until when nobody calls; long ago where nothing was asked for.
    pub fn until(&self) -> Timestamp {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long nobody calls from now.
    pub fn left(&self, now: Timestamp) -> Duration {
        Duration::try_from(self.until().duration_since(now)).unwrap_or(Duration::ZERO)
    }

    /// Waits the pause out and gives how long that took.
    ///
    /// # Errors
    /// How long the pause still is, when that is more than `patience`.
    pub async fn wait(&self, clock: &Clock, patience: Duration) -> Result<Duration, Duration> {
        let mut waited = Duration::ZERO;
        loop {
            let left = self.left(clock.now());
            if left.is_zero() {
                return Ok(waited);
            }
            if waited.saturating_add(left) > patience {
                return Err(left);
            }
            // Those who wait for the same end do not all come back at the same instant.
            let wait = left + backoff(1, left / 10, left / 10).min(patience.saturating_sub(waited + left));
            clock.sleep(wait).await;
            waited += wait;
        }
    }
}

/// The pause that an answer asks for: `Retry-After`; or what its rate limit has left.
fn wish(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    if let Some(pause) = retry_after(headers, now) {
        return Some(pause);
    }
    // Azure OpenAI: two limits, each with the time to its renewal.
    for kind in ["requests", "tokens"] {
        if number(&format!("x-ratelimit-remaining-{kind}")).is_some_and(|left| left <= 0.0) {
            let reset = headers.get(format!("x-ratelimit-reset-{kind}")).and_then(|text| text.to_str().ok());
            return Some(reset.and_then(spelled).unwrap_or(LONGEST_GAP).min(USED_UP));
        }
    }
    // Azure DevOps: what is left of the window, and when it would be whole again (FACTS §5).
    let (limit, left) = (number("x-ratelimit-limit")?, number("x-ratelimit-remaining")?);
    let delay = number("x-ratelimit-delay").and_then(|delay| Duration::try_from_secs_f64(delay).ok());
    let reset = number("x-ratelimit-reset").unwrap_or_default() - now.as_second() as f64;
    if left > limit / LITTLE_LEFT {
        return None;
    }
    let gap = |share: f64| Duration::try_from_secs_f64((reset / share).max(0.0)).unwrap_or_default();
    Some(if left <= 0.0 {
        delay.unwrap_or(gap(LITTLE_LEFT)).min(USED_UP)
    } else {
        gap(left).min(LONGEST_GAP)
    })
}

/// A time such as `6m0s`, `1.5s` or `20ms`; none where it is not one.
fn spelled(text: &str) -> Option<Duration> {
    let (mut seconds, mut rest) = (0.0, text.trim());
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let value: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |at| end + at);
        seconds += value
            * match &rest[end..unit_end] {
                "h" => 3_600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&'static str, &str)]) -> Option<Duration> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        wish(&HeaderMap::from_iter(headers), Timestamp::from_second(1_000).unwrap())
    }

    #[test]
    fn an_answer_asks_for_a_pause_in_several_ways() {
        assert_eq!(asked(&[]), None);
        assert_eq!(
            asked(&[("retry-after", "7"), ("x-ratelimit-remaining", "0")]),
            Some(Duration::from_secs(7))
        );
        let window = |left: &str, more: &[(&'static str, &str)]| {
            let mut all = vec![("x-ratelimit-limit", "200"), ("x-ratelimit-reset", "1100")];
            all.push(("x-ratelimit-remaining", left));
            all.extend(more);
            asked(&all)
        };
        assert_eq!(window("150", &[]), None, "much is left");
        assert_eq!(window("10", &[]), Some(LONGEST_GAP), "100 s for 10 units");
        assert_eq!(window("0", &[]), Some(Duration::from_secs(10)));
        assert_eq!(window("0", &[("x-ratelimit-delay", "2.500")]), Some(Duration::from_millis(2_500)));
        let model =
            |reset| asked(&[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", reset)]);
        assert_eq!(model("1.5s"), Some(Duration::from_millis(1_500)));
        assert_eq!(model("20ms"), Some(Duration::from_millis(20)));
        assert_eq!(model("1h6m0s"), Some(USED_UP));
        assert_eq!(model("soon"), Some(LONGEST_GAP));
        assert_eq!(asked(&[("x-ratelimit-remaining-tokens", "900")]), None);
    }

    #[tokio::test]
    async fn one_who_is_told_to_wait_slows_all_down() {
        let clock = Clock::stepped(Timestamp::UNIX_EPOCH);
        let quiet = Quiet::new("azure_devops");
        assert_eq!(quiet.wait(&clock, IN_PLACE).await, Ok(Duration::ZERO));
        quiet.ask(Duration::from_secs(5), clock.now());
        quiet.ask(Duration::from_secs(2), clock.now());
        assert_eq!(quiet.left(clock.now()), Duration::from_secs(5), "the longest wish counts");
        assert_eq!(quiet.wait(&clock, Duration::from_secs(4)).await, Err(Duration::from_secs(5)));
        let (waited, ()) = tokio::join!(quiet.wait(&clock, IN_PLACE), async {
            for _ in 0..7 {
                tokio::task::yield_now().await;
                clock.advance(Duration::from_secs(1));
            }
        });
        assert!(waited.unwrap() >= Duration::from_secs(5));
        quiet.ask(MAX_PAUSE * 4, clock.now());
        assert_eq!(quiet.left(clock.now()), MAX_PAUSE);
    }
}
