//! What an event from outside means: nothing, words for a run that is under way, or a new run.
//!
//! Only ids come in; the objects are read again here. The agent never acts on what it did itself,
//! and only the words of people who may instruct become orders.

mod authority;
mod builds;
mod guards;
mod mentions;
mod pull_requests;
mod pushes;
mod work_items;

use std::time::Duration;

use jiff::Timestamp;

use super::{Agent, prompts};
use crate::azure_devops::{self, Error};
use crate::clock;
use crate::event::{OutsideEvent, Trigger, TriggerKind};
use crate::journal::{
    Entry, IntakeRow, IntakeStatus, JournalError, Judging, NewRun, Person, RunId, Seen, Source, Status,
};
pub(super) use authority::Authority;
use authority::Standing;
pub(super) use builds::build_version;
pub(super) use mentions::mentions;
pub(super) use pull_requests::{comment_version, review_version};
pub(super) use pushes::push_version;
pub(super) use work_items::assignment_or_mention;

/// What happened longer ago is not acted on (GOVERNANCE A27).
pub const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How far the clocks of the service and of this machine may be apart.
const CLOCK_SLACK: Duration = Duration::from_secs(5 * 60);
/// How long after its beginning a run is sent on by further events about the same thing.
const TOGETHER: Duration = Duration::from_secs(60);
/// Longest words of all events that are judged together, in characters.
const MAX_WORDS: usize = 60_000;

/// Why an event is ignored whose object was judged in this version before.
const ALREADY: &str = "It was judged already, with another event about the same thing.";

/// Something that somebody, or a fact, wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Order {
    trigger: Trigger,
    from: Person,
    text: String,
}

/// What an event means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// Nothing, and why. Where a version of something was judged, it is remembered.
    Nothing { why: String, version: Option<String> },
    /// Work.
    Orders(Vec<Order>),
    /// A fact for the run that is under way.
    Tell { run: RunId, text: String, version: Option<String> },
    /// The run that is under way has lost its object.
    Stop { run: RunId, by: &'static str, why: String },
}

/// Why an event could not be judged now.
#[derive(Debug, thiserror::Error)]
pub enum TriageError {
    /// Azure DevOps could not be asked; it may be possible later.
    #[error("{0}")]
    Later(Error),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl From<Error> for TriageError {
    fn from(error: Error) -> Self {
        Self::Later(error)
    }
}

fn nothing(why: impl Into<String>) -> Meaning {
    Meaning::Nothing { why: why.into(), version: None }
}

/// The same; `version` was judged and need not be looked at again.
fn judged(version: String, why: impl Into<String>) -> Meaning {
    Meaning::Nothing { why: why.into(), version: Some(version) }
}

fn person(found: &azure_devops::Person) -> Person {
    Person { name: found.name.clone(), account: found.account.clone(), id: Some(found.id.clone()), oid: None }
}

impl Agent {
    /// Decides on events about one thing and settles them; where they mean work, a run is started or
    /// steered in the same commit.
    ///
    /// # Errors
    /// [`TriageError`]: the events stay to be judged again.
    pub async fn triage(&self, judging: &Judging) -> Result<(), TriageError> {
        let (mut orders, mut kept): (Vec<Order>, Vec<&IntakeRow>) = (Vec::new(), Vec::new());
        for row in &judging.events {
            match self.meaning(&row.event).await? {
                Meaning::Orders(wanted) => {
                    let new = self.unseen(row, wanted).await?;
                    if new.is_empty() {
                        self.ignore(judging, row, ALREADY.to_owned()).await?;
                    } else {
                        orders.extend(new);
                        kept.push(row);
                    }
                }
                Meaning::Nothing { why, version } => {
                    self.is_first(row, version).await?;
                    self.ignore(judging, row, why).await?;
                }
                Meaning::Tell { run, text, version } => {
                    if !self.is_first(row, version).await? {
                        self.ignore(judging, row, ALREADY.to_owned()).await?;
                        continue;
                    }
                    let from = Person::named("Azure DevOps");
                    self.pass_on(
                        judging,
                        row,
                        &run,
                        Entry::Message { from, text },
                        "Told to the run under way.",
                    )
                    .await?;
                }
                Meaning::Stop { run, by, why } => {
                    let entry = Entry::CancelRequested { by: Person::named(by) };
                    self.pass_on(judging, row, &run, entry, &why).await?;
                }
            }
        }
        let Some(first) = orders.first() else { return Ok(()) };
        if let Some(why) = self.over_budget(&first.trigger).await? {
            for row in kept {
                self.ignore(judging, row, why.clone()).await?;
            }
            return Ok(());
        }
        if !self.goes_on(judging, &orders).await? {
            self.journal.order(self.run_for(&orders), judging).await?;
        }
        Ok(())
    }

    /// What comes within a minute of a run's beginning belongs to that run, also when it has ended by
    /// then: ten comments in a minute are one run that sees all ten. True: its words were added.
    async fn goes_on(&self, judging: &Judging, orders: &[Order]) -> Result<bool, TriageError> {
        let first = &orders[0];
        let Some(newest) = self.journal.newest_run_about(&first.trigger.subject).await? else {
            return Ok(false);
        };
        let age = self.clock.now().as_microsecond().saturating_sub(newest.created_at);
        let is_young = u64::try_from(age).is_ok_and(|age| Duration::from_micros(age) < TOGETHER);
        if newest.status != Status::Done || newest.source != Source::Webhook || !is_young {
            return Ok(false);
        }
        let entry = Entry::Message { from: first.from.clone(), text: joined(orders) };
        self.journal.add_from_outside(&newest.id, entry).await?;
        let why = Some("Came within a minute of the run's beginning, so that run goes on.".to_owned());
        self.journal.settle(judging, IntakeStatus::Merged, why, Some(newest.id)).await?;
        Ok(true)
    }

    /// Remembers a version that means no work by itself; false where another event saw it first.
    async fn is_first(&self, row: &IntakeRow, version: Option<String>) -> Result<bool, JournalError> {
        let Some(version) = version else { return Ok(true) };
        let subject = row.event.group().unwrap_or_default();
        let own = self.journal.see(&row.id, vec![Seen { version, subject, kind: None }]).await?;
        Ok(!own.is_empty())
    }

    async fn ignore(&self, judging: &Judging, row: &IntakeRow, why: String) -> Result<(), JournalError> {
        self.journal.settle_one(judging, &row.id, IntakeStatus::Ignored, Some(why), None).await.map(|_| ())
    }

    /// An entry for a run that is under way.
    async fn pass_on(
        &self,
        judging: &Judging,
        row: &IntakeRow,
        run: &RunId,
        entry: Entry,
        why: &str,
    ) -> Result<(), JournalError> {
        self.journal.steer(run, entry, judging, &row.id, Some(why.to_owned())).await.map(|_| ())
    }

    /// Those orders whose version nobody saw before this event. The same event may be judged again:
    /// after a crash, or because a person redelivered it.
    async fn unseen(&self, row: &IntakeRow, wanted: Vec<Order>) -> Result<Vec<Order>, JournalError> {
        let seen = |order: &Order| Seen {
            version: order.trigger.version.clone(),
            subject: order.trigger.subject.clone(),
            kind: Some(order.trigger.kind),
        };
        let own = self.journal.see(&row.id, wanted.iter().map(seen).collect()).await?;
        Ok(wanted.into_iter().filter(|order| own.contains(&order.trigger.version)).collect())
    }

    /// One run that sees all of them.
    fn run_for(&self, orders: &[Order]) -> NewRun {
        let served = self.toolbox.served();
        let first = &orders[0];
        NewRun {
            instruction: joined(orders),
            source: Source::Webhook,
            requested_by: first.from.clone(),
            project: served.project.clone(),
            repository: served.repository.clone(),
            subject: Some(first.trigger.subject.clone()),
            trigger: Some(first.trigger.clone()),
        }
    }

    async fn meaning(&self, event: &OutsideEvent) -> Result<Meaning, TriageError> {
        let meaning = match event {
            OutsideEvent::PullRequestCommented { repository_id, pull_request_id, thread_id, comment_id } => {
                let Some(thread) = thread_id else {
                    return Ok(nothing(
                        "The delivery does not name the thread; subscribe to resource version 2.0.",
                    ));
                };
                self.comment(repository_id, *pull_request_id, *thread, *comment_id).await
            }
            OutsideEvent::PullRequestChanged { repository_id, pull_request_id } => {
                self.pull_request_changed(repository_id, *pull_request_id).await
            }
            OutsideEvent::WorkItemChanged { work_item_id } => self.work_item_changed(*work_item_id).await,
            OutsideEvent::Pushed { repository_id, push_id } => self.pushed(repository_id, *push_id).await,
            OutsideEvent::BuildCompleted { build_id } => self.build_completed(*build_id).await,
            OutsideEvent::Other {} => Ok(nothing("Events of this kind are not acted on.")),
        };
        match meaning {
            Err(TriageError::Later(Error::NotFound(_))) => {
                Ok(nothing("What it is about is not there any more, or not visible to the co-worker."))
            }
            other => other,
        }
    }

    /// Whether this repository is the one that is served.
    async fn serves(&self, repository_id: &str) -> Result<bool, TriageError> {
        Ok(self.toolbox.repository().await?.id.eq_ignore_ascii_case(repository_id))
    }

    async fn is_me(&self, id: &str) -> Result<bool, TriageError> {
        Ok(self.toolbox.me().await?.id.eq_ignore_ascii_case(id))
    }

    /// Whether the words of the identity with this id instruct.
    async fn standing(&self, id: &str) -> Result<Standing, TriageError> {
        Ok(self.authority.of(&self.toolbox, id, self.clock.now()).await?)
    }

    /// Why something that was done at this instant is not acted on any more; a sentence.
    pub(super) async fn too_old(&self, at: Option<Timestamp>) -> Result<Option<&'static str>, TriageError> {
        let Some(at) = at else { return Ok(None) };
        if clock::add(at, MAX_AGE) < self.clock.now() {
            return Ok(Some("It is older than seven days."));
        }
        let began = Timestamp::from_microsecond(self.began().await?).unwrap_or(Timestamp::MIN);
        let is_older = clock::add(at, CLOCK_SLACK) < began;
        Ok(is_older.then_some("It is older than this co-worker's own record."))
    }

    /// When this journal began, microseconds since 1970. What is older is not its business.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub async fn began(&self) -> Result<i64, JournalError> {
        self.journal.mark("began", self.clock.now().as_microsecond()).await
    }

    /// The run about `subject` that is under way.
    async fn active(&self, subject: &str) -> Result<Option<RunId>, TriageError> {
        Ok(self.journal.active_run_about(subject).await?.map(|row| row.id))
    }
}

/// The words of all orders, within the limit.
fn joined(orders: &[Order]) -> String {
    let (mut text, mut left) = (String::new(), 0);
    for order in orders {
        let separator = if text.is_empty() { "" } else { "\n\n" };
        if text.chars().count() + order.text.chars().count() > MAX_WORDS && !text.is_empty() {
            left += 1;
            continue;
        }
        text.push_str(separator);
        text.extend(order.text.chars().take(MAX_WORDS));
    }
    if left > 0 {
        text.push_str(&format!(
            "\n\nThere are {left} more like these, too long to stand here: read the threads."
        ));
    }
    text
}

/// An order of `kind` about `subject`.
fn order(kind: TriggerKind, subject: String, version: String, from: Person, text: String) -> Order {
    let trigger = Trigger { kind, subject, author_id: from.id.clone(), version, hops: 0 };
    Order { trigger, from, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Order {
        let from = Person::named("alice");
        order(
            TriggerKind::ReviewComment,
            "pull_request:1".into(),
            text.chars().take(9).collect(),
            from,
            text.into(),
        )
    }

    #[test]
    fn one_run_sees_the_words_of_all_events_within_bounds() {
        assert_eq!(joined(&[wanted("a"), wanted("b")]), "a\n\nb");
        let long = wanted(&"x".repeat(MAX_WORDS + 5));
        assert_eq!(joined(std::slice::from_ref(&long)).chars().count(), MAX_WORDS);
        let text = joined(&[wanted("short"), long.clone(), long, wanted("last")]);
        assert!(text.starts_with("short\n\nlast\n\nThere are 2 more"), "{text}");
    }
}
