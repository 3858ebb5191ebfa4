use super::*;
use crate::policy::{Outcome as Judged, Verdict};

async fn journal(folder: &tempfile::TempDir, clock: Clock) -> Journal {
    let url = format!("sqlite:{}", folder.path().join("journal.db").display());
    Journal::open(&url, clock).await.unwrap()
}

fn new_run(text: &str) -> NewRun {
    NewRun {
        instruction: text.into(),
        source: Source::Chat,
        requested_by: Person::named("bob"),
        project: "Fabrikam".into(),
        repository: "web-shop".into(),
        subject: Some("pull_request:1".into()),
        trigger: None,
    }
}

fn finished() -> Entry {
    Entry::Finished { status: Status::Done, answer: "Done.".into(), remedy: None }
}

const LEASE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_run_is_worked_once_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::stepped(jiff::Timestamp::from_second(1_800_000_000).unwrap());
    let journal = journal(&folder, clock.clone()).await;
    let id = journal.create(new_run("hello")).await.unwrap();
    let claim = journal.claim("a", LEASE).await.unwrap().unwrap();
    assert_eq!(claim.run, id);
    assert_eq!(journal.claim("b", LEASE).await.unwrap(), None);
    assert_eq!(journal.run(&id).await.unwrap().unwrap().status, Status::Running);

    // The holder's lease runs out: the next holder's fence is larger and the first is shut out.
    clock.advance(LEASE + Duration::from_secs(1));
    let second = journal.claim("b", LEASE).await.unwrap().unwrap();
    assert!(second.fence > claim.fence);
    let stale = journal.append(&claim, 2, vec![finished()]).await.unwrap_err();
    assert!(matches!(stale, JournalError::Fenced(_)));
    assert!(!journal.renew(&claim, LEASE).await.unwrap());
    journal.append(&second, 2, vec![finished()]).await.unwrap();
    drop(journal);

    let journal = super::tests::journal(&folder, clock).await;
    let row = journal.run(&id).await.unwrap().unwrap();
    assert_eq!((row.status, row.last_seq), (Status::Done, 3));
    let view = RunView::of(&journal.whole_log(&id).await.unwrap());
    assert_eq!(view.answer.as_deref(), Some("Done."));
    assert_eq!(journal.first_fault(&id).await.unwrap(), None);
}

#[tokio::test]
async fn a_run_is_not_ended_over_words_that_its_holder_has_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder, Clock::Real).await;
    let id = journal.create(new_run("hello")).await.unwrap();
    let claim = journal.claim("a", LEASE).await.unwrap().unwrap();
    let steer = Entry::Message { from: Person::named("bob"), text: "wait".into() };
    journal.add_from_outside(&id, steer.clone()).await.unwrap();
    let log = journal.append(&claim, 2, vec![finished()]).await.unwrap();
    assert_eq!(log.iter().map(|l| &l.entry).collect::<Vec<_>>(), [&steer]);
    assert_eq!(journal.run(&id).await.unwrap().unwrap().status, Status::Running);
    let log = journal.append(&claim, 3, vec![finished()]).await.unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(journal.run(&id).await.unwrap().unwrap().status, Status::Done);
    // Words to a run that has ended queue it again.
    journal.add_from_outside(&id, steer).await.unwrap();
    assert_eq!(journal.run(&id).await.unwrap().unwrap().status, Status::Queued);
    assert!(journal.claim("a", LEASE).await.unwrap().is_some());
}

#[tokio::test]
async fn an_event_is_received_once_and_settled_once() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder, Clock::Real).await;
    let event = OutsideEvent::WorkItemChanged { work_item_id: 3 };
    let first =
        journal.receive("workitem.updated:e1", "work item 3 updated", event.clone(), None).await.unwrap();
    let again = journal.receive("workitem.updated:e1", "work item 3 updated", event, None).await.unwrap();
    assert!(!first.duplicate && again.duplicate);
    assert_eq!(first.id, again.id);
    let row = journal.claim_intake(LEASE).await.unwrap().unwrap();
    assert_eq!(row.event, OutsideEvent::WorkItemChanged { work_item_id: 3 });
    assert_eq!(journal.claim_intake(LEASE).await.unwrap(), None);
    journal.settle(&row.id, IntakeStatus::Ignored, Some("own echo".into()), None).await.unwrap();
    let row = journal.intake_row(&first.id).await.unwrap().unwrap();
    assert_eq!((row.status, row.reason.as_deref()), (IntakeStatus::Ignored, Some("own echo")));
    assert!(journal.redeliver(&first.id).await.unwrap());
    assert!(journal.claim_intake(LEASE).await.unwrap().is_some());
}

#[tokio::test]
async fn every_change_of_the_record_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder, Clock::Real).await;
    let id = journal.create(new_run("hello")).await.unwrap();
    let claim = journal.claim("a", LEASE).await.unwrap().unwrap();
    for text in ["one", "two", "three"] {
        let entry = Entry::Trouble { what: text.into(), remedy: None };
        journal.append(&claim, 99, vec![entry]).await.unwrap();
    }
    assert_eq!(journal.first_fault(&id).await.unwrap(), None);
    let url = format!("sqlite:{}", folder.path().join("journal.db").display());
    let attacker = SqlitePool::connect(&url).await.unwrap();
    let cases = [
        ("UPDATE log SET body = replace(body, 'two', 'TWO') WHERE seq = 4", Some(4)),
        ("UPDATE log SET body = replace(body, 'TWO', 'two') WHERE seq = 4", None),
        ("UPDATE log SET ts = ts + 1 WHERE seq = 3", Some(3)),
        ("UPDATE log SET ts = ts - 1 WHERE seq = 3", None),
        ("DELETE FROM log WHERE seq = 5", Some(5)),
    ];
    for (sql, expected) in cases {
        sqlx::query(sql).execute(&attacker).await.unwrap();
        assert_eq!(journal.first_fault(&id).await.unwrap(), expected, "{sql}");
    }
}

#[tokio::test]
async fn many_writers_share_commits_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder, Clock::Real).await;
    let makers = (0..200).map(|i| {
        let journal = journal.clone();
        tokio::spawn(async move { journal.create(new_run(&format!("run {i}"))).await.unwrap() })
    });
    for maker in makers {
        maker.await.unwrap();
    }
    assert_eq!(journal.runs(1_000, None).await.unwrap().len(), 200);
    assert_eq!(journal.unfinished().await.unwrap(), 200);
}

#[test]
fn an_unknown_entry_is_kept_and_not_guessed_at() {
    let entry: Entry = serde_json::from_str(r#"{"type":"dreamt","of":"sheep"}"#).unwrap();
    assert_eq!(entry, Entry::Unknown);
}

#[test]
fn the_view_tells_a_refused_step_from_a_failed_one() {
    let verdict = Verdict {
        outcome: Judged::Deny,
        rules: vec!["protected-branches".into()],
        message: "no".into(),
        policy: crate::digest::Digest::of("t", b""),
        ..Verdict::default()
    };
    let entries = [
        Entry::ToolStarted {
            step: 1,
            call_id: "c".into(),
            tool: "push_changes".into(),
            arguments: serde_json::json!({}),
        },
        Entry::Decided { step: 1, action: "git.push".into(), verdict },
        Entry::ToolFinished {
            step: 1,
            call_id: "c".into(),
            tool: "push_changes".into(),
            outcome: Outcome { summary: "not allowed".into(), ..Outcome::default() },
            duration_ms: 1,
        },
    ];
    let log: Vec<Logged> = entries
        .into_iter()
        .zip(1..)
        .map(|(entry, seq)| Logged { seq, ts: 0, body: String::new(), entry })
        .collect();
    let view = RunView::of(&log);
    assert_eq!(view.steps.len(), 1);
    assert_eq!(view.steps[0].status, StepStatus::Refused);
    assert_eq!(view.steps[0].changed, 3);
}
