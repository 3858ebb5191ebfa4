//! Measures at intervals what no single act changes: what waits in the journal, and memory.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::journal::{Backlog, Journal, Status, WaitingFor};
use crate::meter;

/// Between two times that is measured.
const EVERY: Duration = Duration::from_secs(10);
/// Where a run that has not ended can be.
const PLACES: [(Status, Option<WaitingFor>); 6] = [
    (Status::Queued, None),
    (Status::Running, None),
    (Status::Waiting, Some(WaitingFor::Approval)),
    (Status::Waiting, Some(WaitingFor::Person)),
    (Status::Waiting, Some(WaitingFor::Build)),
    (Status::Waiting, Some(WaitingFor::RateLimit)),
];

/// Measures until `stop`.
pub(super) async fn measure(journal: Journal, clock: Clock, stop: CancellationToken) {
    loop {
        let now = clock.now().as_microsecond();
        // A store that does not answer is told by those who need it.
        if let Ok(backlog) = journal.backlog(now).await {
            tell(&backlog, now);
        }
        meter::tidy();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

fn tell(backlog: &Backlog, now: i64) {
    for (status, waiting_for) in PLACES {
        let here = |(s, w, _): &&(Status, Option<WaitingFor>, i64)| (*s, *w) == (status, waiting_for);
        let count = backlog.unfinished.iter().find(here).map_or(0, |(.., count)| *count);
        meter::runs_unfinished(status.as_str(), waiting_for.map_or("", WaitingFor::as_str), small(count));
    }
    let age = now.saturating_sub(backlog.due_since.unwrap_or(now));
    let age = Duration::from_micros(u64::try_from(age).unwrap_or(0));
    meter::queue(small(backlog.due), age, small(backlog.events));
}

fn small(count: i64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
