//! Hears, while a run is worked, that somebody wants it to end or has stopped everything.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::journal::{Entry, Journal, Notice, RunId};

/// Longest time without looking, for what another process wrote and did not announce.
const LOOK: Duration = Duration::from_secs(1);

/// Least time between two looks.
const HEAR_EVERY: Duration = Duration::from_millis(50);

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
    loop {
        let notice = tokio::select! {
            notice = own.recv() => notice,
            notice = house.recv() => notice,
            () = tokio::time::sleep(LOOK) => Err(RecvError::Lagged(0)),
        };
        match notice {
            Ok(Notice::Appended(_)) | Err(RecvError::Lagged(_)) => {
                // A run in full swing tells of every commit of its own: one look for all of them.
                tokio::time::sleep(HEAR_EVERY).await;
                while own.try_recv().is_ok() {}
            }
            Ok(Notice::Delta { .. }) => continue,
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
