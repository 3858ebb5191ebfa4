//! Hears, while a run is worked, that somebody wants it to end or has stopped everything.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::journal::{Entry, Journal, Notice, RunId};

/// Time between two looks for what another process wrote and did not announce.
const LOOK: Duration = Duration::from_secs(1);

/// What is tripped.
pub(super) struct Heard {
    /// What is under way is to end.
    pub(super) cancel: CancellationToken,
    /// The run is nobody's any more.
    pub(super) lost: CancellationToken,
}

/// Listens until something is heard.
pub(super) async fn listen(journal: Journal, run: RunId, heard: Heard) {
    let (_, mut own) = journal.watch(&run);
    let (_, mut house) = journal.watch(&RunId::house());
    let mut read = journal.run(&run).await.ok().flatten().map_or(0, |row| row.last_seq);
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let notice = tokio::select! {
            notice = own.recv() => notice,
            notice = house.recv() => notice,
            _ = looks.tick() => Err(RecvError::Lagged(0)),
        };
        match notice {
            Ok(Notice::Appended { by_holder: false, .. }) | Err(RecvError::Lagged(_)) => {}
            // What this run's own work wrote asks for nothing.
            Ok(Notice::Appended { by_holder: true, .. } | Notice::Delta { .. }) => continue,
            Err(RecvError::Closed) => return,
        }
        if let Ok(Some(_)) = journal.halted().await {
            journal.let_go(&run);
            heard.lost.cancel();
            return heard.cancel.cancel();
        }
        let Ok(log) = journal.log(&run, read).await else { continue };
        if log.iter().any(|logged| matches!(logged.entry, Entry::Killed { .. })) {
            journal.let_go(&run);
            return heard.cancel.cancel();
        }
        if log.iter().any(|logged| matches!(logged.entry, Entry::CancelRequested { .. })) {
            return heard.cancel.cancel();
        }
        read = log.last().map_or(read, |logged| logged.seq);
    }
}
