//! Looking for events: whether what service hooks miss is found.

use std::time::Duration;

use jiff::Timestamp;

use super::{Doctor, Findings, LOOKING};
use crate::journal::{FOUND, FOUND_AT, Journal, JournalError, LOOKED_AT};

/// A process that serves looks at least this often; with room for pauses and restarts.
const STALE: Duration = Duration::from_secs(30 * 60);

impl Doctor {
    /// When somebody looked last for events, and what was found.
    pub(super) async fn looking(&self, findings: &mut Findings) {
        let how = match (self.config.triggers.webhook, self.config.triggers.poll) {
            (true, true) => "Service hooks bring events, and they are looked for.",
            (true, false) => "Service hooks bring events; every ten minutes is looked for what they missed.",
            _ => "Events are looked for every 15 seconds; no service hook is needed.",
        };
        let Some(journal) = &self.journal else {
            return findings.skip(
                LOOKING,
                format!("{how} When that was done last is known to the process that serves."),
            );
        };
        let (looked, found) = match read(journal).await {
            Ok(read) => read,
            Err(error) => {
                return findings.warn(
                    LOOKING,
                    format!("The journal cannot be read: {error}."),
                    "Look at the database.",
                );
            }
        };
        let Some(at) = looked else {
            return findings.skip(LOOKING, format!("{how} Nobody has looked yet."));
        };
        let ago = Duration::try_from(self.clock.now().duration_since(at)).unwrap_or(Duration::ZERO);
        let reason = format!("{how} The last look was {} ago. {found}", words(ago));
        match ago > STALE {
            false => findings.ok(LOOKING, reason),
            true => findings.warn(
                LOOKING,
                reason,
                "Look for 'looking for events failed' in the log of the process that serves.",
            ),
        }
    }
}

async fn read(journal: &Journal) -> Result<(Option<Timestamp>, String), JournalError> {
    let at = |micros: Option<i64>| micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
    let looked = at(journal.mark_if_any(LOOKED_AT).await?);
    let found = journal.mark_if_any(FOUND).await?.unwrap_or(0);
    let found = match at(journal.mark_if_any(FOUND_AT).await?) {
        Some(last) => {
            format!("Looking has found {found}, the last at {}.", last.strftime("%Y-%m-%d %H:%M UTC"))
        }
        None => "Looking has found nothing that was missed.".to_owned(),
    };
    Ok((looked, found))
}

fn words(ago: Duration) -> String {
    match ago.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} minutes", seconds / 60),
    }
}
