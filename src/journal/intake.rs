//! What came in from outside: received once, judged together, settled once.

use std::time::Duration;

use super::command::{Answer, Command, Delivered, Settled};
use super::{IntakeStatus, Journal, JournalError, Judging, Received, RunId};
use crate::event::OutsideEvent;
use crate::fault_point;
use crate::meter;
use crate::weaken::{Defence, off};

/// How long an event, and with it the key that makes it happen once, is kept after it came in.
pub const KEEP_EVENTS: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Most events forgotten at once.
pub const SWEEP: i64 = 1_000;

impl Journal {
    /// Writes down what came from outside, once per key. `refused` settles it at once as ignored.
    ///
    /// # Errors
    /// When it cannot be written: the sender must be told to come again.
    pub async fn receive(
        &self,
        key: &str,
        summary: &str,
        event: OutsideEvent,
        refused: Option<String>,
    ) -> Result<Received, JournalError> {
        self.receive_about(key, summary, event, refused, None, Duration::ZERO).await
    }

    /// The same for an event about `subject`: it is judged after `wait` at the earliest, so that
    /// more about the same subject can come in, and then together with that.
    ///
    /// # Errors
    /// When it cannot be written: the sender must be told to come again.
    pub async fn receive_about(
        &self,
        key: &str,
        summary: &str,
        event: OutsideEvent,
        refused: Option<String>,
        subject: Option<&str>,
        wait: Duration,
    ) -> Result<Received, JournalError> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let key = if off(Defence::Dedup) { format!("{key} {id}") } else { key.to_owned() };
        let ignored = refused.is_some();
        let command = Command::Receive(Delivered {
            id,
            key: remembered(&key),
            summary: summary.to_owned(),
            event,
            refused,
            subject: subject.map(str::to_owned),
            after: wait,
        });
        if fault_point::is_off("commit_before_answer") {
            return Ok(self.receive_later(command));
        }
        fault_point::pass("journal.before_receive");
        let answer = self.soon(command).await?;
        fault_point::pass("journal.after_receive");
        match answer {
            Answer::Received(received) => {
                meter::events(fate(received.duplicate, ignored), 1);
                Ok(received)
            }
            _ => Err(JournalError::Closed),
        }
    }

    /// What a test puts in place of the write when that defence is switched off.
    fn receive_later(&self, command: Command) -> Received {
        let writer = self.writer.clone();
        tokio::spawn(async move {
            // Long enough for the answer to be on its way.
            tokio::time::sleep(Duration::from_millis(200)).await;
            fault_point::pass("journal.before_receive");
            writer.write(command).await
        });
        Received { id: String::new(), duplicate: false }
    }

    /// Takes the oldest event that is due to be judged, and all that wait about the same subject,
    /// for `lease`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim_intake(&self, lease: Duration) -> Result<Option<Judging>, JournalError> {
        let token = uuid::Uuid::new_v4().simple().to_string();
        match self.writer.write(Command::ClaimIntake { token, lease }).await? {
            Answer::Judging(judging) => Ok(judging),
            _ => Err(JournalError::Closed),
        }
    }

    /// Settles the fate of events that mean no order. False: they are judged elsewhere by now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn settle(
        &self,
        judging: &Judging,
        status: IntakeStatus,
        reason: Option<String>,
        run: Option<RunId>,
    ) -> Result<bool, JournalError> {
        self.settle_some(Settled { token: judging.token.clone(), only: None, status, reason, run }).await
    }

    /// Settles one of the events that are judged together; the others stay to be settled.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn settle_one(
        &self,
        judging: &Judging,
        event: &str,
        status: IntakeStatus,
        reason: Option<String>,
        run: Option<RunId>,
    ) -> Result<bool, JournalError> {
        let only = Some(event.to_owned());
        self.settle_some(Settled { token: judging.token.clone(), only, status, reason, run }).await
    }

    async fn settle_some(&self, settled: Settled) -> Result<bool, JournalError> {
        fault_point::pass("journal.before_settle");
        let status = settled.status;
        let done = self.done(Command::Settle(settled)).await?;
        meter::events(status.as_str(), u64::from(done));
        fault_point::pass("journal.after_settle");
        Ok(done)
    }

    /// Gives events back that cannot be judged now; they are due again after `wait`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn postpone(&self, judging: &Judging, wait: Duration) -> Result<bool, JournalError> {
        self.done(Command::Postpone { token: judging.token.clone(), after: wait }).await
    }

    /// Forgets events that were settled more than [`KEEP_EVENTS`] ago, at most [`SWEEP`] of them; gives
    /// how many. A delivery that comes again after that time is told by its own date.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sweep(&self) -> Result<u64, JournalError> {
        match self.writer.write(Command::Sweep { older_than: KEEP_EVENTS, most: SWEEP }).await? {
            Answer::Gone(rows) => Ok(rows),
            _ => Err(JournalError::Closed),
        }
    }

    /// Puts an event back to be judged again. False when there is no such event.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn redeliver(&self, id: &str) -> Result<bool, JournalError> {
        match self.soon(Command::Redeliver { id: id.to_owned() }).await? {
            Answer::Done(found) => Ok(found),
            _ => Err(JournalError::Closed),
        }
    }
}

fn fate(duplicate: bool, ignored: bool) -> &'static str {
    match (duplicate, ignored) {
        (true, _) => "duplicate",
        (false, true) => "ignored",
        (false, false) => "received",
    }
}

/// The key under which an event is known. With the defence switched off, no longer than this process lives.
fn remembered(key: &str) -> String {
    match fault_point::is_off("stored_dedup") {
        true => format!("{key}:{}", std::process::id()),
        false => key.to_owned(),
    }
}
