//! Now and sleep, real or stepped.
//!
//! Everything in the product that asks for the time or waits asks a [`Clock`], so that a recorded
//! run replays to the same decisions and a test can move time by hand. Only this file may read
//! the machine's clock (`clippy.toml` bans it elsewhere).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

/// A source of time. Cheap to clone; clones of a stepped clock share their time.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock and tokio's timer.
    #[default]
    Real,
    /// Time that moves only when [`Clock::advance`] or [`Clock::jump`] is called.
    Stepped(Arc<Stepped>),
}

/// The shared state of a stepped clock.
#[derive(Debug)]
pub struct Stepped {
    now: Mutex<Timestamp>,
    moved: watch::Sender<u64>,
}

impl Clock {
    /// A clock that stands at `start` until it is moved.
    pub fn stepped(start: Timestamp) -> Self {
        let (moved, _) = watch::channel(0);
        Clock::Stepped(Arc::new(Stepped { now: Mutex::new(start), moved }))
    }

    /// The current instant, UTC.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::Real => Timestamp::now(),
            Clock::Stepped(stepped) => *stepped.now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Waits for `duration` by this clock.
    pub async fn sleep(&self, duration: Duration) {
        match self {
            Clock::Real => tokio::time::sleep(duration).await,
            Clock::Stepped(stepped) => {
                let until = add(self.now(), duration);
                let mut moved = stepped.moved.subscribe();
                while self.now() < until {
                    // The sender lives in `stepped`, which we hold: `changed` cannot fail.
                    if moved.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Moves a stepped clock forward and wakes its sleepers. Does nothing to the real clock.
    pub fn advance(&self, duration: Duration) {
        self.jump(add(self.now(), duration));
    }

    /// Sets a stepped clock to `instant`, forwards or backwards. Does nothing to the real clock.
    pub fn jump(&self, instant: Timestamp) {
        if let Clock::Stepped(stepped) = self {
            *stepped.now.lock().unwrap_or_else(PoisonError::into_inner) = instant;
            stepped.moved.send_modify(|n| *n += 1);
        }
    }
}

/// `instant + duration`, held at the largest representable instant instead of overflowing.
pub fn add(instant: Timestamp, duration: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(duration)
        .ok()
        .and_then(|d| instant.checked_add(d).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stepped_sleep_ends_when_time_is_moved_and_not_before() {
        let clock = Clock::stepped(Timestamp::UNIX_EPOCH);
        let other = clock.clone();
        let sleeper = tokio::spawn(async move { other.sleep(Duration::from_secs(10)).await });
        // The sleeper must have asked for the time before it is moved.
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(9));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
        assert_eq!(clock.now(), Timestamp::from_second(10).unwrap());
    }
}
