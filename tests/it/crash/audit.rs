//! Judges what became of a story from outside: by the simulator's ledger, the store, the stream
//! that a browser saw, and everything that was written anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ado_coworker::clock::Clock;
use ado_coworker::journal::{Entry, IntakeRow, IntakeStatus, Journal, Logged, RunRow, Status};
use serde_json::Value;

use super::site::Site;
use super::watcher::Seen;

pub const AGENT: &str = "ado-coworker@contoso.example";
/// Effects that the co-worker asks for. Others follow from them by themselves.
const ASKED_FOR: [&str; 8] = [
    "work_item.created",
    "work_item.commented",
    "ref.created",
    "ref.updated",
    "pull_request.created",
    "thread.created",
    "comment.created",
    "build.queued.manually",
];
/// Effects that follow at a time of their own.
const BY_ITSELF: [&str; 3] = ["build.", "pull_request.merge_attempted", "work_item.updated"];
/// Most attempts at one write that a few deaths explain.
const ATTEMPTS: usize = 12;
/// Newest rows that are read of each kind.
const ROWS: i64 = 20_000;

/// A delivery of a service hook, as the organisation keeps it.
#[derive(Debug)]
pub struct Delivery {
    pub kind: String,
    pub event: String,
    /// The co-worker said that it has it.
    pub acknowledged: bool,
    pub is_over: bool,
}

/// All deliveries in the organisation's state.
pub fn deliveries(state: &Value) -> Vec<Delivery> {
    let subscriptions = state["subscriptions"].as_object().expect("the state has subscriptions");
    let mut found = Vec::new();
    for subscription in subscriptions.values() {
        for sent in
            subscription["notifications"].as_object().expect("a subscription has notifications").values()
        {
            found.push(Delivery {
                kind: sent["body"]["eventType"].as_str().unwrap_or_default().to_owned(),
                event: sent["body"]["id"].as_str().unwrap_or_default().to_owned(),
                acknowledged: sent["answer_status"].as_u64().is_some_and(|status| status / 100 == 2),
                is_over: sent["status"] == "completed",
            });
        }
    }
    found
}

/// What a run did, without what differs each time: times, ids of requests, pauses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub status: &'static str,
    pub tools: Vec<(String, bool)>,
    pub turns: usize,
}

/// Everything there is to judge by.
pub struct Evidence {
    ledger: Vec<Value>,
    runs: Vec<(RunRow, Vec<Logged>)>,
    broken_chains: Vec<String>,
    intake: Vec<IntakeRow>,
    deliveries: Vec<Delivery>,
    seen: Vec<Seen>,
    texts: Vec<(String, Vec<u8>)>,
}

impl Evidence {
    /// Reads everything, when the co-worker is closed.
    pub async fn of(site: &Site, seen: Vec<Seen>) -> Self {
        let ledger = site.simulator(&site.organization, "ledger", None).await;
        let state = site.simulator(&site.organization, "state", None).await;
        let asked = site.simulator(&site.model, "requests", None).await;
        let journal = Journal::open(&site.database(), Clock::Real).await.unwrap();
        let (mut runs, mut broken_chains) = (Vec::new(), Vec::new());
        for row in journal.runs(ROWS, None).await.unwrap() {
            if let Some(seq) = journal.first_fault(&row.id).await.unwrap() {
                broken_chains.push(format!("run {} from entry {seq}", row.id));
            }
            let log = journal.whole_log(&row.id).await.unwrap();
            runs.push((row, log));
        }
        runs.sort_by_key(|(row, _)| row.created_at);
        let mut texts = vec![("the requests to the model".to_owned(), asked.to_string().into_bytes())];
        texts.extend(seen.iter().map(|seen| ("a stream".to_owned(), seen.text.clone().into_bytes())));
        for entry in std::fs::read_dir(site.folder()).unwrap() {
            let path = entry.unwrap().path();
            texts.push((name(&path), std::fs::read(&path).unwrap_or_default()));
        }
        Self {
            ledger: ledger["value"].as_array().unwrap().clone(),
            runs,
            broken_chains,
            intake: journal.intake(ROWS).await.unwrap(),
            deliveries: deliveries(&state),
            seen,
            texts,
        }
    }

    /// The co-worker's effects, as lines that are the same each time.
    pub fn effects(&self) -> Vec<String> {
        let own = self.ledger.iter().filter(|entry| entry["account"] == AGENT);
        let told = own.filter(|entry| {
            let kind = entry["kind"].as_str().unwrap_or_default();
            !BY_ITSELF.iter().any(|itself| kind.starts_with(itself))
        });
        let mut lines: Vec<String> =
            told.map(|entry| format!("{} {}", text(&entry["kind"]), text(&entry["target"]))).collect();
        lines.sort();
        lines
    }

    pub fn shapes(&self) -> Vec<Shape> {
        self.runs.iter().map(|(row, log)| shape(row, log)).collect()
    }

    /// Writes that were found at the target, that were not and were made again, and runs parked.
    pub fn ambiguous(&self) -> (usize, usize, usize) {
        let entries = || self.runs.iter().flat_map(|(_, log)| log.iter().map(|logged| &logged.entry));
        let found = |entry: &&Entry| {
            matches!(entry, Entry::Performed { effect: Some(effect), .. }
            if effect["activity_id"].is_null())
        };
        let absent = |entry: &&Entry| {
            matches!(entry, Entry::Performed { effect: None, error: Some(error), .. }
            if error.contains("ended before"))
        };
        let parked = self.runs.iter().filter(|(row, _)| row.status == Status::Parked).count();
        (entries().filter(found).count(), entries().filter(absent).count(), parked)
    }

    /// Every invariant that does not hold, in words. Empty is what is wanted.
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.effects_are_those_of_the_journal(&mut found);
        self.events_are_kept(&mut found);
        self.intents_come_first(&mut found);
        self.logs_are_whole(&mut found);
        self.work_is_done_once(&mut found);
        self.everything_ended(&mut found);
        self.streams_are_the_log(&mut found);
        self.nothing_secret_is_written(&mut found);
        found
    }

    /// 1: for each run and step one effect in the ledger, and one only.
    fn effects_are_those_of_the_journal(&self, found: &mut Vec<String>) {
        let mut claimed: BTreeMap<(String, String), i64> = BTreeMap::new();
        for (row, log) in &self.runs {
            let mut done = BTreeSet::new();
            for (step, write, claim) in claims(log) {
                if !done.insert((step, write)) {
                    found.push(format!("1: run {} step {step} write {write} was done twice", row.id));
                }
                *claimed.entry(claim).or_default() += 1;
            }
        }
        for entry in self.ledger.iter().filter(|entry| entry["account"] == AGENT) {
            let key = (text(&entry["kind"]), text(&entry["target"]));
            if ASKED_FOR.contains(&key.0.as_str()) {
                *claimed.entry(key).or_default() -= 1;
            }
        }
        for ((kind, target), left) in claimed.into_iter().filter(|(_, left)| *left != 0) {
            match left > 0 {
                true => {
                    found.push(format!("1: the journal tells of {kind} {target}, the organisation does not"))
                }
                false => found.push(format!(
                    "1: {kind} {target} happened {} time(s) more than the journal tells",
                    -left
                )),
            }
        }
    }

    /// 2: what was acknowledged is in the store, once, and starts at most one run. Events about one
    /// thing may start one run together.
    fn events_are_kept(&self, found: &mut Vec<String>) {
        let distinct = |kind: &str, only_acknowledged: bool| {
            let of_kind = self.deliveries.iter().filter(|delivery| delivery.kind == kind);
            let of_kind = of_kind.filter(|delivery| delivery.acknowledged || !only_acknowledged);
            of_kind.map(|delivery| delivery.event.as_str()).collect::<BTreeSet<_>>().len()
        };
        let kinds: BTreeSet<&str> = self.deliveries.iter().map(|delivery| delivery.kind.as_str()).collect();
        for kind in kinds {
            let stored = self.intake.iter().filter(|row| row.kind == kind).count();
            let (acknowledged, sent) = (distinct(kind, true), distinct(kind, false));
            if stored < acknowledged {
                found.push(format!(
                    "2: {acknowledged} events {kind} were acknowledged and {stored} are stored"
                ));
            }
            if stored > sent {
                found.push(format!("2: {sent} events {kind} were sent and {stored} are stored"));
            }
        }
        let starting = self.intake.iter().filter(|row| row.status != IntakeStatus::Merged);
        let started: BTreeSet<_> = starting.filter_map(|row| row.run.clone()).collect();
        let by_hook = self.runs.iter().filter(|(row, _)| row.source.as_str() == "webhook").count();
        if by_hook > started.len() {
            found.push(format!("2: {by_hook} runs came from webhooks, but events started {}", started.len()));
        }
    }

    /// 3: no effect without an intent that was written before it.
    fn intents_come_first(&self, found: &mut Vec<String>) {
        for (row, log) in &self.runs {
            let mut intended = BTreeMap::new();
            for logged in log {
                match &logged.entry {
                    Entry::Intended { step, write, .. } => {
                        intended.insert((*step, *write), logged.ts);
                    }
                    Entry::Performed { step, write, effect: Some(effect), .. } => {
                        let Some(at) = intended.get(&(*step, *write)) else {
                            found.push(format!(
                                "3: run {} step {step} did a write that it never intended",
                                row.id
                            ));
                            continue;
                        };
                        let activity = effect["activity_id"].as_str().unwrap_or("-");
                        let early = self.ledger.iter().find(|entry| {
                            entry["activityId"] == activity
                                && instant(&entry["at"]).is_some_and(|when| when < *at)
                        });
                        if let Some(early) = early {
                            found.push(format!("3: {} came before its intent", early["kind"]));
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// 4: logs are prefix-closed and unbroken.
    fn logs_are_whole(&self, found: &mut Vec<String>) {
        found.extend(self.broken_chains.iter().map(|chain| format!("4: the hash chain is broken: {chain}")));
        for (row, log) in &self.runs {
            let gap = log.iter().zip(1..).find(|(logged, seq)| logged.seq != *seq);
            if gap.is_some() || log.len() as i64 != row.last_seq {
                found.push(format!("4: the log of run {} has a gap or lacks its end", row.id));
            }
            if log.iter().any(|logged| logged.entry == Entry::Unknown) {
                found.push(format!("4: the log of run {} holds an entry that does not read back", row.id));
            }
        }
    }

    /// 5: nobody but the one holder added to a run: each turn and step is there once.
    fn work_is_done_once(&self, found: &mut Vec<String>) {
        for (row, log) in &self.runs {
            let mut once = BTreeSet::new();
            for logged in log {
                let what = match &logged.entry {
                    Entry::Prepared { .. } => "preparation".to_owned(),
                    Entry::Replied { turn, .. } => format!("turn {turn}"),
                    Entry::ToolStarted { step, .. } => format!("start of step {step}"),
                    Entry::ToolFinished { step, .. } => format!("end of step {step}"),
                    _ => continue,
                };
                if !once.insert(what.clone()) {
                    found.push(format!("5: run {} has its {what} twice", row.id));
                }
            }
        }
    }

    /// 6 and 9: every run and every event came to an end, with few attempts.
    fn everything_ended(&self, found: &mut Vec<String>) {
        for (row, log) in &self.runs {
            if !row.status.is_final() && row.status != Status::Waiting {
                found.push(format!("9: run {} is still {}", row.id, row.status.as_str()));
            }
            let mut attempts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
            for logged in log {
                if let Entry::Intended { step, write, .. } = &logged.entry {
                    *attempts.entry((*step, *write)).or_default() += 1;
                }
            }
            if let Some(((step, _), n)) = attempts.iter().find(|(_, n)| **n > ATTEMPTS) {
                found.push(format!("6: run {} tried step {step} {n} times", row.id));
            }
        }
        for row in self.intake.iter().filter(|row| row.status == IntakeStatus::Received) {
            found.push(format!("9: event {} ({}) was never judged", row.id, row.kind));
        }
    }

    /// 7: what a browser saw, with all its reconnects, is the log, once.
    fn streams_are_the_log(&self, found: &mut Vec<String>) {
        for seen in &self.seen {
            let Some((_, log)) = self.runs.iter().find(|(row, _)| row.id.as_str() == seen.run) else {
                found.push(format!("7: a stream was of run {}, which is not there", seen.run));
                continue;
            };
            let wanted: Vec<i64> = log.iter().map(|logged| logged.seq).take(seen.ids.len()).collect();
            if seen.ids != wanted || (seen.ended && seen.ids.len() != log.len()) {
                found.push(format!(
                    "7: the stream of run {} had entries {:?} of {}",
                    seen.run,
                    seen.ids,
                    log.len()
                ));
            }
            for logged in log {
                let Entry::Replied { turn, text, .. } = &logged.entry else { continue };
                let Some(words) = seen.words.get(turn) else { continue };
                if !text.starts_with(words.as_str()) {
                    found.push(format!("7: turn {turn} was shown as '{words}' and logged as '{text}'"));
                }
            }
        }
    }

    /// 8: no bearer and no password anywhere.
    fn nothing_secret_is_written(&self, found: &mut Vec<String>) {
        for (place, bytes) in &self.texts {
            let text = String::from_utf8_lossy(bytes);
            if text.contains(crate::harness::HOOK.1) {
                found.push(format!("8: the webhook's password is in {place}"));
            }
            // Every token begins with the base64 form of `{"` and has two dots.
            let token = text.match_indices("eyJ").find(|(at, _)| {
                let run: String = text[*at..]
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
                    .collect();
                run.len() > 60 && run.matches('.').count() == 2
            });
            if token.is_some() {
                found.push(format!("8: a bearer token is in {place}"));
            }
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Microseconds since 1970.
fn instant(value: &Value) -> Option<i64> {
    value.as_str()?.parse::<jiff::Timestamp>().ok().map(|at| at.as_microsecond())
}

fn shape(row: &RunRow, log: &[Logged]) -> Shape {
    let tools = log.iter().filter_map(|logged| match &logged.entry {
        Entry::ToolFinished { tool, outcome, .. } => Some((tool.clone(), outcome.ok)),
        _ => None,
    });
    let turns = log.iter().filter(|logged| matches!(logged.entry, Entry::Replied { .. })).count();
    Shape { status: row.status.as_str(), tools: tools.collect(), turns }
}

/// Step, write, and the line of the ledger for each write that the log says is done.
fn claims(log: &[Logged]) -> Vec<(u32, u32, (String, String))> {
    let mut actions: BTreeMap<(u32, u32), Value> = BTreeMap::new();
    let mut found = Vec::new();
    for logged in log {
        match &logged.entry {
            Entry::Intended { step, write, action, .. } => {
                actions.insert((*step, *write), serde_json::to_value(action).unwrap());
            }
            Entry::Performed { step, write, effect: Some(effect), .. } => {
                let Some(action) = actions.get(&(*step, *write)) else { continue };
                found.extend(ledger_line(action, effect).map(|line| (*step, *write, line)));
            }
            _ => {}
        }
    }
    found
}

/// What the organisation writes down for an action, where it is one of [`ASKED_FOR`].
fn ledger_line(action: &Value, effect: &Value) -> Option<(String, String)> {
    let id = text(&effect["id"]);
    let head = |branch: &str| format!("web-shop/refs/heads/{branch}");
    let pull_request = &action["pull_request_id"];
    let line = match action["action"].as_str()? {
        "work_item.create" => ("work_item.created", format!("work_item/{id}")),
        "git.create_branch" => ("ref.created", head(&id)),
        "git.push" => ("ref.updated", head(action["branch"].as_str()?)),
        "pull_request.create" => ("pull_request.created", format!("pull_request/{id}")),
        "thread.create" => ("thread.created", format!("pull_request/{pull_request}/threads/{id}")),
        "thread.reply" => {
            let comment = &effect["comment_id"];
            ("comment.created", format!("pull_request/{pull_request}/threads/{id}/comments/{comment}"))
        }
        _ => return None,
    };
    Some((line.0.to_owned(), line.1))
}
