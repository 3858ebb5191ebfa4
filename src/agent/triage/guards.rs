//! What keeps events from causing each other without end (A15). Own identity is checked where the
//! objects are read; here is how much one thing and one project may begin.

use std::time::Duration;

use super::{Agent, MAX_AGE, TriageError};
use crate::event::Trigger;

/// Most runs that events about one object begin in an hour. Two programs that answer each other come
/// to an end here; a person who reviews does not reach it, because their comments are one run.
const PER_OBJECT_AND_HOUR: i64 = 20;
/// Most runs that events about one object begin in a day.
const PER_OBJECT_AND_DAY: i64 = 60;
/// Most runs that events begin in an hour in the whole project.
const PER_PROJECT_AND_HOUR: i64 = 60;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Agent {
    /// Why no further run may begin now; a sentence. A run that is under way takes the words anyhow:
    /// its own budget ends it.
    pub(super) async fn over_budget(&self, trigger: &Trigger) -> Result<Option<String>, TriageError> {
        if self.active(&trigger.subject).await?.is_some() {
            return Ok(None);
        }
        let subject = trigger.subject.as_str();
        for (about, span, most, words) in [
            (Some(subject), HOUR, PER_OBJECT_AND_HOUR, "about this in an hour"),
            (Some(subject), DAY, PER_OBJECT_AND_DAY, "about this in a day"),
            (None, HOUR, PER_PROJECT_AND_HOUR, "in this project in an hour"),
        ] {
            if self.journal.runs_from_events(about, self.ago(span)).await? >= most {
                return Ok(Some(format!(
                    "Events have begun {most} runs {words}, which is as much as they may. Redeliver it later."
                )));
            }
        }
        Ok(None)
    }

    /// Microseconds since 1970 of the instant that long ago.
    fn ago(&self, span: Duration) -> i64 {
        let now = self.clock.now().as_microsecond();
        now.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX))
    }

    pub(super) fn a_week_ago(&self) -> i64 {
        self.ago(MAX_AGE)
    }
}
