//! What the pages show, made ready: no template decides or computes.

use std::collections::HashSet;
use std::sync::PoisonError;

use jiff::Timestamp;

use super::assets;
use super::card::Card;
use super::kill::{HaltShown, may_stop_all};
use super::steps::{LinkShown, StepShown, one_line, web_address};
use super::viewer::Viewer;
use super::when::{Moment, duration, grouped, rfc3339};
use super::{App, budget, markdown};
use crate::journal::{Entry, IntakeRow, Logged, RunRow, RunView, Source, Status, Step, StepKind, WaitingFor};
use crate::policy::approval::Approval;

/// What is around every page.
pub(super) struct Shell {
    /// Names these very assets.
    pub(super) version: &'static str,
    pub(super) title: String,
    /// Which entry of the menu is this page: `new`, `runs`, `events`, `doctor` or none.
    pub(super) here: &'static str,
    pub(super) notice: Option<String>,
    pub(super) you: String,
    /// The viewer's roles in words; empty for the local person, who only instructs.
    pub(super) roles: String,
    /// Whether the viewer has signed in.
    pub(super) signed_in: bool,
    /// Whether people can sign in here.
    pub(super) can_sign_in: bool,
    pub(super) who: Option<WhoLine>,
    pub(super) serves: String,
    pub(super) organization_url: Option<String>,
    pub(super) model: String,
    /// The model is reached with a key.
    pub(super) model_key: bool,
    /// Everything is stopped.
    pub(super) halt: Option<HaltShown>,
    /// Whether the viewer may stop everything.
    pub(super) may_stop_all: bool,
    pub(super) owner: Option<String>,
    pub(super) sponsor: Option<String>,
}

/// The verified co-worker in one line.
pub(super) struct WhoLine {
    pub(super) user: String,
    pub(super) identity: String,
    pub(super) identity_short: String,
    pub(super) expires: Moment,
}

impl Shell {
    pub(super) fn new(app: &App, viewer: &Viewer, here: &'static str, title: &str) -> Self {
        let state = &app.state;
        let who = (state.who)().map(|who| WhoLine {
            identity_short: who.agent_identity.chars().take(8).collect(),
            user: who.agent_user,
            identity: who.agent_identity,
            expires: Moment::at(who.token_expires),
        });
        let served = &state.organization;
        let halt = app.halt.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self {
            version: &assets::VERSION,
            title: title.to_owned(),
            here,
            notice: state.config.notice.clone(),
            you: viewer.person.name.clone(),
            roles: if viewer.local { String::new() } else { roles_of(viewer) },
            signed_in: viewer.signed_in_at.is_some(),
            can_sign_in: state.has_sign_in(),
            who,
            serves: format!("{} / {}", served.project, served.repository),
            organization_url: web_address(served.url.as_str()),
            model: state.model.clone(),
            model_key: state.model_key,
            halt: halt.map(|halt| HaltShown::new(&halt, viewer)),
            may_stop_all: may_stop_all(viewer),
            owner: state.config.accountable.owner.clone(),
            sponsor: state.config.accountable.sponsor.clone(),
        }
    }
}

fn roles_of(viewer: &Viewer) -> String {
    let names: Vec<&str> = viewer.roles.iter().map(|role| role.as_str()).collect();
    match (names.is_empty(), viewer.groups_complete) {
        (_, false) => "groups not known".into(),
        (true, true) => "no role".into(),
        (false, true) => names.join(", ").replace('_', " "),
    }
}

/// A status in words, with the style's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Badge {
    pub(super) words: &'static str,
    /// `quiet`, `busy`, `wait`, `good` or `bad`.
    pub(super) tone: &'static str,
}

/// The badge of a run.
pub(super) fn badge(status: Status, waiting_for: Option<WaitingFor>) -> Badge {
    let (words, tone) = match (status, waiting_for) {
        (Status::Queued, _) => ("Queued", "busy"),
        (Status::Running, _) => ("Working", "busy"),
        (Status::Waiting, Some(WaitingFor::Person)) => ("Waits for you", "wait"),
        (Status::Waiting, Some(WaitingFor::Approval)) => ("Waits for approval", "wait"),
        (Status::Waiting, Some(WaitingFor::Build)) => ("Waits for a build", "wait"),
        (Status::Waiting, Some(WaitingFor::RateLimit)) => ("Waits for a service", "wait"),
        (Status::Waiting, None) => ("Waiting", "wait"),
        (Status::Done, _) => ("Done", "good"),
        (Status::Refused, _) => ("Refused", "bad"),
        (Status::Failed, _) => ("Failed", "bad"),
        (Status::Cancelled, _) => ("Stopped", "quiet"),
        (Status::Parked, _) => ("Needs a person", "bad"),
    };
    Badge { words, tone }
}

/// A run in a list.
pub(super) struct RunLine {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) badge: Badge,
    pub(super) from: String,
    pub(super) created: Moment,
}

impl From<&RunRow> for RunLine {
    fn from(row: &RunRow) -> Self {
        let from = match row.source {
            Source::Chat => row.requested_by.clone(),
            Source::CommandLine => format!("{}, command line", row.requested_by),
            Source::Webhook => format!("{}, from Azure DevOps", row.requested_by),
        };
        Self {
            id: row.id.to_string(),
            title: one_line(&row.instruction),
            badge: badge(row.status, row.waiting_for),
            from,
            created: Moment::of(row.created_at),
        }
    }
}

/// A run's own page.
pub(super) struct RunShown {
    pub(super) line: RunLine,
    /// It may change by itself.
    pub(super) live: bool,
    /// What stands in the empty box under the run.
    pub(super) prompt: &'static str,
    pub(super) stopping: bool,
    pub(super) last_seq: i64,
    /// Newest articles in order; all of them on the first page.
    pub(super) steps: Vec<StepShown>,
    pub(super) links: Vec<LinkShown>,
    /// The answer, where no reply in the timeline says it already.
    pub(super) answer_html: String,
    /// What it waits for, rendered and sanitised.
    pub(super) waiting: Option<String>,
    /// What was left to people, open ones and those of interest.
    pub(super) approvals: Vec<Approval>,
    /// The same as cards, for who looks at it.
    pub(super) cards: Vec<Card>,
    /// Time worked until the clock that runs now, in words.
    pub(super) worked: String,
    /// RFC 3339 instant from which the page counts on, while it works.
    pub(super) counts_from: Option<String>,
    pub(super) tokens: String,
    pub(super) tokens_exact: String,
    pub(super) model: String,
    /// How far budgets are used up.
    pub(super) budget: Option<budget::Shown>,
}

impl RunShown {
    /// The page of a run; of its steps only those that changed after `after`.
    pub(super) fn new(row: &RunRow, log: &[Logged], after: i64, now: Timestamp) -> Self {
        let view = RunView::of(log);
        let work = Work::of(log);
        let live = !row.status.is_final();
        let usage = view.usage;
        let changed = |step: &&Step| step.changed > after;
        let ends: HashSet<i64> = log.iter().filter(|l| l.entry.leaves_the_run()).map(|l| l.seq).collect();
        let shown = |step: &Step| StepShown { ends: ends.contains(&step.seq), ..StepShown::from(step) };
        Self {
            line: RunLine::from(row),
            live,
            prompt: match (row.status, row.waiting_for) {
                (Status::Waiting, Some(WaitingFor::Person)) => "Answer here",
                _ if live => "Steer it while it works",
                _ => "Follow up here",
            },
            stopping: live && work.stop_asked,
            last_seq: view.last_seq,
            steps: view.steps.iter().filter(changed).map(shown).collect(),
            links: view.links.iter().map(LinkShown::from).collect(),
            answer_html: unsaid_answer(row.status, &view),
            waiting: view
                .waiting_reason
                .filter(|_| row.status == Status::Waiting)
                .map(|why| markdown::render(&why)),
            approvals: view.approvals,
            cards: Vec::new(),
            worked: duration(work.total(now.as_microsecond())),
            counts_from: work.since.map(|since| rfc3339(since - work.micros)),
            tokens: grouped(usage.input + usage.output),
            tokens_exact: format!(
                "{} read ({} of them from cache), {} written",
                grouped(usage.input),
                grouped(usage.cached),
                grouped(usage.output)
            ),
            model: view.model.unwrap_or_default(),
            budget: None,
        }
    }
}

fn unsaid_answer(status: Status, view: &RunView) -> String {
    let replies = view.steps.iter().rev().filter(|step| step.kind == StepKind::Reply);
    let said = replies.map(|step| step.text.trim()).next();
    match view.answer.as_deref().map(str::trim) {
        Some(answer) if status == Status::Done && !answer.is_empty() && said != Some(answer) => {
            markdown::render(answer)
        }
        _ => String::new(),
    }
}

/// How long a run was worked, pauses left out.
#[derive(Default)]
struct Work {
    micros: i64,
    since: Option<i64>,
    stop_asked: bool,
}

impl Work {
    fn of(log: &[Logged]) -> Self {
        let mut work = Self::default();
        for logged in log {
            match &logged.entry {
                Entry::Waiting { .. } | Entry::Finished { .. } => {
                    if let Some(since) = work.since.take() {
                        work.micros += logged.ts - since;
                    }
                    // While it waits to look what its last write did, it still stops.
                    work.stop_asked &= matches!(logged.entry, Entry::Waiting { .. });
                }
                Entry::CancelRequested { .. } => work.stop_asked = true,
                entry => {
                    work.stop_asked &= !matches!(entry, Entry::Message { .. });
                    work.since = work.since.or(Some(logged.ts));
                }
            }
        }
        work
    }

    fn total(&self, now: i64) -> u64 {
        let micros = self.micros + self.since.map_or(0, |since| now - since);
        u64::try_from(micros / 1_000).unwrap_or(0)
    }
}

/// An event in the list.
pub(super) struct EventLine {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) summary: String,
    pub(super) badge: Badge,
    pub(super) reason: Option<String>,
    pub(super) run: Option<String>,
    pub(super) received: Moment,
    /// Its fate is still open.
    pub(super) open: bool,
}

impl EventLine {
    pub(super) fn new(row: &IntakeRow) -> Self {
        let fate = row.status.as_str();
        let (words, tone) = match fate {
            "received" => ("Not looked at yet", "busy"),
            "ignored" => ("Ignored", "quiet"),
            "merged" => ("Joined a run", "good"),
            "running" => ("Started a run", "busy"),
            "done" => ("Run ended", "good"),
            "parked" => ("Needs a person", "bad"),
            _ => ("Failed", "bad"),
        };
        Self {
            id: row.id.clone(),
            kind: row.kind.clone(),
            summary: row.summary.clone(),
            badge: Badge { words, tone },
            reason: row.reason.clone(),
            run: row.run.as_ref().map(ToString::to_string),
            received: Moment::of(row.received_at),
            open: fate == "received",
        }
    }
}
