//! The change feed: tells whoever watches a run that its log grew, and carries the words of a
//! model turn while they are still being written.
//!
//! Half-written words are not part of the record and live in memory only; a watcher that comes
//! later is given the turn from its beginning.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use super::RunId;
use super::standing::{Grown, Told};

/// Notices held for a slow watcher before it has to read the log again.
const NOTICES: usize = 256;
/// Most bytes of an unfinished turn that are kept for late watchers.
const MAX_LIVE_BYTES: usize = 256 * 1024;

/// Channels that may be kept although nobody watches them.
const IDLE_CHANNELS: usize = 1_024;
/// Notices about changed runs held for a slow listener.
const CHANGES: usize = 256;

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The log grew.
    Appended {
        /// To this sequence number; [`i64::MAX`] where it is not known how far.
        seq: i64,
        /// By who holds the run in this process; false for people, and where it is not known.
        by_holder: bool,
    },
    /// More words of an unfinished turn.
    Delta {
        /// Which turn.
        turn: u32,
        /// Where they begin, in bytes of the turn's text.
        offset: usize,
        /// The words. Offset 0 begins the turn anew.
        text: String,
    },
}

/// Everybody in this process who wants to know what was committed, here or by another replica.
pub(super) struct Bus {
    pub(super) feed: Feed,
    work: watch::Sender<u64>,
    changes: broadcast::Sender<RunId>,
}

impl Bus {
    pub(super) fn new() -> Self {
        Self { feed: Feed::default(), work: watch::Sender::new(0), changes: broadcast::Sender::new(CHANGES) }
    }

    /// Tells what was committed.
    pub(super) fn tell(&self, told: &Told) {
        for Grown { run, seq, complete, by_holder } in &told.runs {
            self.feed.appended(run, *seq, *complete, *by_holder);
            // Nobody may be listening.
            let _ = self.changes.send(run.clone());
        }
        if told.work {
            self.work.send_modify(|n| *n = n.wrapping_add(1));
        }
    }

    /// Notices may have been missed: everybody looks for themselves.
    pub(super) fn look_again(&self) {
        for (run, channel) in self.feed.lock().iter() {
            let _ = channel.notices.send(Notice::Appended { seq: i64::MAX, by_holder: false });
            let _ = self.changes.send(run.clone());
        }
        self.work.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Changes whenever there may be work.
    pub(super) fn work(&self) -> watch::Receiver<u64> {
        self.work.subscribe()
    }

    /// Tells of every run that changes.
    pub(super) fn changes(&self) -> broadcast::Receiver<RunId> {
        self.changes.subscribe()
    }
}

/// The feeds of all runs that are watched or being written.
#[derive(Default)]
pub(super) struct Feed {
    runs: Mutex<HashMap<RunId, Channel>>,
}

struct Channel {
    notices: broadcast::Sender<Notice>,
    turn: u32,
    text: String,
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Channel>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a run. The first value is the unfinished turn so far, where there is one.
    pub(super) fn watch(&self, run: &RunId) -> (Option<Notice>, broadcast::Receiver<Notice>) {
        let mut runs = self.lock();
        if runs.len() >= IDLE_CHANNELS {
            // A watched run that never moves again would otherwise be kept for ever.
            runs.retain(|_, channel| channel.notices.receiver_count() > 0 || !channel.text.is_empty());
        }
        let channel = runs.entry(run.clone()).or_insert_with(Channel::new);
        let so_far = (!channel.text.is_empty()).then(|| Notice::Delta {
            turn: channel.turn,
            offset: 0,
            text: channel.text.clone(),
        });
        (so_far, channel.notices.subscribe())
    }

    /// The log of `run` grew; words of a turn that the log now holds are forgotten.
    pub(super) fn appended(&self, run: &RunId, seq: i64, turn_is_complete: bool, by_holder: bool) {
        let mut runs = self.lock();
        let Some(channel) = runs.get_mut(run) else { return };
        if turn_is_complete {
            channel.text.clear();
        }
        // No receiver is no fault: the channel is then dropped.
        if channel.notices.send(Notice::Appended { seq, by_holder }).is_err() && channel.text.is_empty() {
            runs.remove(run);
        }
    }

    /// Words of an unfinished turn; `restart` throws away what there was of it.
    pub(super) fn words(&self, run: &RunId, turn: u32, restart: bool, text: &str) {
        let mut runs = self.lock();
        let channel = runs.entry(run.clone()).or_insert_with(Channel::new);
        if restart || channel.turn != turn {
            channel.turn = turn;
            channel.text.clear();
        }
        let offset = channel.text.len();
        if offset + text.len() <= MAX_LIVE_BYTES {
            channel.text.push_str(text);
            // Nobody may be watching; the words are kept for who comes later.
            let _ = channel.notices.send(Notice::Delta { turn, offset, text: text.to_owned() });
        }
    }
}

impl Channel {
    fn new() -> Self {
        Self { notices: broadcast::Sender::new(NOTICES), turn: 0, text: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_watcher_gets_the_turn_from_its_beginning() {
        let (feed, run) = (Feed::default(), RunId::generate());
        feed.words(&run, 1, false, "Hel");
        feed.words(&run, 1, false, "lo");
        let (so_far, mut notices) = feed.watch(&run);
        assert_eq!(so_far, Some(Notice::Delta { turn: 1, offset: 0, text: "Hello".into() }));
        feed.words(&run, 1, false, "!");
        assert_eq!(notices.try_recv().unwrap(), Notice::Delta { turn: 1, offset: 5, text: "!".into() });
        feed.words(&run, 1, true, "");
        assert_eq!(notices.try_recv().unwrap(), Notice::Delta { turn: 1, offset: 0, text: String::new() });
        feed.appended(&run, 3, true, true);
        assert_eq!(notices.try_recv().unwrap(), Notice::Appended { seq: 3, by_holder: true });
        assert_eq!(feed.watch(&run).0, None);
    }

    #[test]
    fn channels_that_nobody_watches_do_not_pile_up() {
        let feed = Feed::default();
        let kept = feed.watch(&RunId::generate());
        for _ in 0..IDLE_CHANNELS + 10 {
            feed.watch(&RunId::generate());
        }
        assert!(feed.lock().len() < 20);
        drop(kept);
    }
}
