//! Pauses that outside systems asked for, known to every process of one journal: to them all of its
//! processes are one user. A process that starts again keeps a pause that it was told before.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::http::Quiet;
use crate::journal::Journal;

/// Between two looks at what others were told.
const EVERY: Duration = Duration::from_secs(2);
/// A shorter pause is over before others would hear of it.
const WORTH_TELLING: Duration = Duration::from_secs(3);

/// Tells the others, and hears of theirs, until `stop`.
pub(super) async fn share(journal: Journal, known: Vec<Arc<Quiet>>, clock: Clock, stop: CancellationToken) {
    loop {
        for quiet in &known {
            // A journal that does not answer is told by those who need it.
            if let Err(error) = exchange(&journal, quiet, &clock).await {
                tracing::debug!(%error, system = quiet.system(), "pauses are not shared now");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn exchange(
    journal: &Journal,
    quiet: &Quiet,
    clock: &Clock,
) -> Result<(), crate::journal::JournalError> {
    let (name, now) = (format!("quiet.{}", quiet.system()), clock.now());
    let there = journal.mark_if_any(&name).await?.unwrap_or_default();
    let here = quiet.until().as_microsecond();
    if there > here && there > now.as_microsecond() {
        quiet.keep(Timestamp::from_microsecond(there).unwrap_or(now));
    } else if here > there && quiet.left(now) >= WORTH_TELLING {
        journal.set_mark(&name, here).await?;
    }
    Ok(())
}
