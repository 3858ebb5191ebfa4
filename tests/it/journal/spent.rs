//! What runs use is counted with the entries that say so.

use ado_coworker::action::Action;
use ado_coworker::journal::{Call, Claim, Holder, Limits, Outcome, RunId, Usage};
use ado_coworker::policy::{Scope, Tokens, Verdict};
use serde_json::json;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn replied(turn: u32) -> Entry {
    Entry::Replied {
        turn,
        read_to: 2,
        text: "ok".into(),
        calls: Vec::<Call>::new(),
        finish: "stop".into(),
        usage: Usage { input: 100, cached: 60, output: 10 },
        model: "what it calls itself".into(),
        request_id: None,
        duration_ms: 700,
        outside: Vec::new(),
    }
}

fn tool(step: u32) -> [Entry; 2] {
    let (call_id, tool) = ("c".to_owned(), "read_file".to_owned());
    [
        Entry::ToolStarted { step, call_id: call_id.clone(), tool: tool.clone(), arguments: json!({}) },
        Entry::ToolFinished { step, call_id, tool, outcome: Outcome::default(), duration_ms: 300 },
    ]
}

fn finished_tool(step: u32) -> Entry {
    let [_, finished] = tool(step);
    finished
}

fn intended(write: u32) -> Entry {
    let action = Action::CommentOnWorkItem { project: "Fabrikam".into(), id: 7, text: "t".into() };
    let digest = action.digest().unwrap();
    Entry::Intended { step: 1, write, action, digest, verdict: Verdict::default() }
}

fn performed(write: u32, done: bool) -> Entry {
    let effect = done.then(|| json!({ "id": "1" }));
    Entry::Performed { step: 1, write, effect, error: None }
}

async fn add(journal: &Journal, claim: &Claim, entries: Vec<Entry>) {
    journal.append(claim, i64::MAX, entries).await.unwrap();
}

/// Model calls, tool calls, milliseconds and comments that are counted for a run in each scope.
async fn counted(journal: &Journal, run: &RunId, clock: &Clock) -> [(u64, u64, u64, u64); 4] {
    let spent = journal.spent(run, clock.now().as_microsecond()).await.unwrap();
    Scope::ALL.map(|scope| {
        let spent = spent.of(scope);
        let comments = spent.writes.get("work_item.comment").copied().unwrap_or(0);
        (spent.turns, spent.steps, spent.worked_ms, comments)
    })
}

on_both! {
    async fn what_runs_use_is_counted_once_and_survives_a_restart(store: Store) {
        let clock = stepped();
        let limits = Limits { model: "gpt-x".into(), ..Limits::default() };
        let journal = store.open(&clock).await.limited(limits);
        let id = journal.create(about("hello", "work_item:7")).await.unwrap();
        let claim = journal.claim_run(&id, "a", LEASE).await.unwrap().unwrap();
        add(&journal, &claim, vec![replied(1)]).await;
        add(&journal, &claim, tool(1).into()).await;
        add(&journal, &claim, vec![replied(2), finished()]).await;
        let all = (2, 1, 1_700, 0);
        assert_eq!(counted(&journal, &id, &clock).await, [all; 4]);
        let tokens = |spent: &ado_coworker::policy::Spent| spent.tokens.clone();
        let spent = journal.spent(&id, clock.now().as_microsecond()).await.unwrap();
        let expected = Tokens { input: 200, cached: 120, output: 20 };
        assert_eq!(tokens(spent.of(Scope::Run)), [("gpt-x".to_owned(), expected)].into());
        drop(journal);

        // Another process, another run: of its own nothing, of the others the same.
        let journal = store.open(&clock).await;
        let other = journal.create(about("again", "work_item:7")).await.unwrap();
        let nothing = (0, 0, 0, 0);
        assert_eq!(counted(&journal, &other, &clock).await, [nothing, all, all, all]);
        let aside = journal.create(about("aside", "work_item:8")).await.unwrap();
        assert_eq!(counted(&journal, &aside, &clock).await, [nothing, nothing, all, all]);
        let elsewhere = NewRun { project: "Northwind".into(), ..about("else", "work_item:7") };
        let elsewhere = journal.create(elsewhere).await.unwrap();
        assert_eq!(counted(&journal, &elsewhere, &clock).await, [nothing, nothing, all, nothing]);
        // The run goes on two days later (17 January 2027, in the same month).
        clock.advance(2 * DAY);
        assert_eq!(counted(&journal, &id, &clock).await, [all, nothing, nothing, all]);
        clock.advance(20 * DAY);
        assert_eq!(counted(&journal, &id, &clock).await, [all, nothing, nothing, nothing], "another month");
    }

    async fn what_a_commit_counted_is_what_the_journal_counts(store: Store) {
        let clock = stepped();
        let journal = store.open(&clock).await;
        let [id, other] = [journal.create(about("a", "work_item:7")).await, journal.create(about("b", "work_item:8")).await];
        let (id, other) = (id.unwrap(), other.unwrap());
        let claim = journal.claim_run(&id, "a", LEASE).await.unwrap().unwrap();
        let beside = journal.claim_run(&other, "a", LEASE).await.unwrap().unwrap();
        let mut holder = Holder::take(journal.clone(), claim).await.unwrap();
        let now = clock.now().as_microsecond();
        // With the totals of the commit, without, and as others add.
        for entries in [tool(1).into(), vec![replied(1)], vec![finished_tool(2)], tool(3).into()] {
            add(&journal, &beside, vec![replied(1)]).await;
            holder.record(entries).await.unwrap();
            assert_eq!(holder.spent(now).await.unwrap(), journal.spent(&id, now).await.unwrap());
        }
        holder.record(tool(4).into()).await.unwrap();
        holder.record(vec![replied(2)]).await.unwrap();
        assert_eq!(holder.spent(now).await.unwrap().of(Scope::Run).turns, 2, "an older count is not kept");
    }

    async fn a_write_that_was_not_done_after_all_is_not_counted(store: Store) {
        let clock = stepped();
        let journal = store.open(&clock).await;
        let id = journal.create(new_run("hello")).await.unwrap();
        let claim = journal.claim_run(&id, "a", LEASE).await.unwrap().unwrap();
        add(&journal, &claim, vec![intended(1)]).await;
        assert_eq!(counted(&journal, &id, &clock).await[0].3, 1, "it may have happened");
        add(&journal, &claim, vec![performed(1, false)]).await;
        assert_eq!(counted(&journal, &id, &clock).await[0].3, 0);
        // Tried again, and a second one.
        add(&journal, &claim, vec![intended(1)]).await;
        add(&journal, &claim, vec![performed(1, true)]).await;
        add(&journal, &claim, vec![intended(2), performed(2, false), intended(2), performed(2, true)]).await;
        assert_eq!(counted(&journal, &id, &clock).await, [(0, 0, 0, 2), (0, 0, 0, 0), (0, 0, 0, 2), (0, 0, 0, 2)]);
    }
}
