//! What came in from outside.

use ado_coworker::event::OutsideEvent;
use ado_coworker::journal::{IntakeStatus, JournalError, Judging, MAX_ATTEMPTS, Received};

use super::*;

const EVENT: OutsideEvent = OutsideEvent::WorkItemChanged { work_item_id: 3 };

async fn receive(journal: &Journal, key: &str) -> Received {
    journal.receive(&format!("workitem.updated:{key}"), "work item 3 updated", EVENT, None).await.unwrap()
}

async fn take(journal: &Journal) -> Judging {
    journal.claim_intake(LEASE).await.unwrap().expect("there is an event")
}

async fn fate(journal: &Journal, received: &Received) -> IntakeStatus {
    journal.intake_row(&received.id).await.unwrap().unwrap().status
}

on_both! {
    async fn an_event_is_received_once_and_settled_once(store: Store) {
        let clock = stepped();
        let journal = store.open(&clock).await;
        let first = receive(&journal, "e1").await;
        let again = receive(&journal, "e1").await;
        assert!(!first.duplicate && again.duplicate);
        assert_eq!(first.id, again.id);
        let judging = take(&journal).await;
        assert_eq!(judging.events[0].event, EVENT);
        assert_eq!(journal.claim_intake(LEASE).await.unwrap(), None);

        // Who judged too long is too late.
        clock.advance(LEASE + Duration::from_secs(1));
        let second = take(&journal).await;
        let late = journal.settle(&judging, IntakeStatus::Failed, None, None).await.unwrap();
        assert!(!late);
        let reason = Some("own echo".to_owned());
        assert!(journal.settle(&second, IntakeStatus::Ignored, reason.clone(), None).await.unwrap());
        assert!(!journal.settle(&second, IntakeStatus::Failed, None, None).await.unwrap());
        let row = journal.intake_row(&first.id).await.unwrap().unwrap();
        assert_eq!((row.status, row.reason), (IntakeStatus::Ignored, reason));
        assert!(journal.redeliver(&first.id).await.unwrap());
        assert!(journal.claim_intake(LEASE).await.unwrap().is_some());
    }

    async fn an_events_run_and_its_settlement_are_one_commit(store: Store) {
        let journal = store.open(&Clock::Real).await;
        let received = receive(&journal, "e1").await;
        let judging = take(&journal).await;
        // The store fails at the second of the two.
        break_table(&store, "runs").await;
        let error = journal.order(about("fix it", "work_item:3"), &judging).await.unwrap_err();
        assert!(matches!(error, JournalError::Store(_)), "{error}");
        assert_eq!(fate(&journal, &received).await, IntakeStatus::Received);
        mend_table(&store, "runs").await;
        break_table(&store, "log").await;
        journal.order(about("fix it", "work_item:3"), &judging).await.unwrap_err();
        assert_eq!(fate(&journal, &received).await, IntakeStatus::Received);
        assert_eq!(journal.runs(10, None).await.unwrap(), []);
        mend_table(&store, "log").await;

        let ordered = journal.order(about("fix it", "work_item:3"), &judging).await.unwrap();
        assert!(!ordered.joined);
        assert_eq!(fate(&journal, &received).await, IntakeStatus::Running);
        // Whoever lost the events can neither start nor steer a run.
        let late = journal.order(about("fix it", "work_item:3"), &judging).await.unwrap_err();
        assert!(matches!(late, JournalError::Superseded), "{late}");
        let late = journal.steer(&ordered.run, message("x"), &judging, &received.id, None).await.unwrap_err();
        assert!(matches!(late, JournalError::Superseded), "{late}");
        assert_eq!(journal.runs(10, None).await.unwrap().len(), 1);
        assert_eq!(journal.whole_log(&ordered.run).await.unwrap().len(), 2);
    }

    async fn a_second_order_about_the_same_thing_joins_the_run(store: Store) {
        let journal = store.open(&Clock::Real).await;
        let (first, second) = (receive(&journal, "e1").await, receive(&journal, "e2").await);
        let made = journal.order(about("one", "pull_request:1"), &take(&journal).await).await.unwrap();
        let joined = journal.order(about("two", "pull_request:1"), &take(&journal).await).await.unwrap();
        assert_eq!((&joined.run, joined.joined), (&made.run, true));
        let log = journal.whole_log(&made.run).await.unwrap();
        assert_eq!(log[2].entry, message("two"));
        let row = journal.intake_row(&second.id).await.unwrap().unwrap();
        assert_eq!((row.status, row.run.as_ref()), (IntakeStatus::Merged, Some(&made.run)));
        assert!(row.reason.is_some());

        // The event that began it ends with it; a person who sends it on brings both back.
        let claim = journal.claim("w", LEASE).await.unwrap().unwrap();
        let parked = Entry::Finished { status: Status::Parked, answer: "?".into(), remedy: None };
        journal.append(&claim, 99, vec![parked]).await.unwrap();
        assert_eq!(fate(&journal, &first).await, IntakeStatus::Parked);
        assert_eq!(fate(&journal, &second).await, IntakeStatus::Merged);
        journal.add_from_outside(&made.run, message("go on")).await.unwrap();
        assert_eq!(fate(&journal, &first).await, IntakeStatus::Running);
        let claim = journal.claim("w", LEASE).await.unwrap().unwrap();
        journal.append(&claim, 99, vec![finished()]).await.unwrap();
        assert_eq!(fate(&journal, &first).await, IntakeStatus::Done);

        // It has ended: the next order begins another.
        receive(&journal, "e3").await;
        let next = journal.order(about("three", "pull_request:1"), &take(&journal).await).await.unwrap();
        assert!(!next.joined && next.run != made.run);
    }

    async fn two_replicas_that_judge_at_once_start_one_run(store: Store) {
        let journals = [store.open(&Clock::Real).await, store.open(&Clock::Real).await];
        for round in 0..20 {
            let subject = format!("work_item:{round}");
            let mut judgings = Vec::new();
            for (n, journal) in journals.iter().enumerate() {
                receive(journal, &format!("{round}-{n}")).await;
                judgings.push(take(journal).await);
            }
            let orders = journals.iter().zip(&judgings).map(|(j, judging)| j.order(about("x", &subject), judging));
            let made: Vec<_> = futures_util::future::join_all(orders).await.into_iter().map(Result::unwrap).collect();
            assert_eq!(made[0].run, made[1].run);
            assert_eq!(made.iter().filter(|ordered| ordered.joined).count(), 1);
        }
    }

    async fn events_about_one_thing_are_judged_together_after_a_while(store: Store) {
        let clock = stepped();
        let journal = store.open(&clock).await;
        let wait = Duration::from_secs(10);
        let receive_about = async |n: u32, subject: &str| {
            let key = format!("comment:{n}");
            journal.receive_about(&key, "a comment", EVENT, None, Some(subject), wait).await.unwrap()
        };
        receive_about(1, "pull_request:1").await;
        clock.advance(Duration::from_secs(6));
        receive_about(2, "pull_request:1").await;
        receive_about(3, "pull_request:2").await;
        assert_eq!(journal.claim_intake(LEASE).await.unwrap(), None);
        clock.advance(Duration::from_secs(5));
        let judging = take(&journal).await;
        assert_eq!(judging.events.len(), 2);
        assert!(judging.events[0].received_at < judging.events[1].received_at);
        // One that comes while they are judged waits until they are settled.
        receive_about(4, "pull_request:1").await;
        clock.advance(wait);
        let other = take(&journal).await;
        assert_eq!(other.events.len(), 1);
        assert_eq!(journal.claim_intake(LEASE).await.unwrap(), None);
        let echo = &judging.events[0].id;
        assert!(journal.settle_one(&judging, echo, IntakeStatus::Ignored, None, None).await.unwrap());
        journal.order(about("fix", "pull_request:1"), &judging).await.unwrap();
        let fates: Vec<_> = journal.intake(10).await.unwrap().into_iter().rev().map(|row| row.status).collect();
        let [ignored, running, received] = [IntakeStatus::Ignored, IntakeStatus::Running, IntakeStatus::Received];
        assert_eq!(fates, [ignored, running, received, received]);
        assert_eq!(take(&journal).await.events.len(), 1);
    }

    async fn an_event_that_ends_its_worker_each_time_is_set_aside(store: Store) {
        let clock = stepped();
        let journal = store.open(&clock).await;
        let poison = receive(&journal, "poison").await;
        // That something outside is down is no crash.
        for _ in 0..=MAX_ATTEMPTS {
            assert!(journal.postpone(&take(&journal).await, Duration::from_secs(1)).await.unwrap());
            assert_eq!(journal.claim_intake(LEASE).await.unwrap(), None);
            clock.advance(Duration::from_secs(1));
        }
        for _ in 0..MAX_ATTEMPTS {
            take(&journal).await;
            clock.advance(LEASE + Duration::from_secs(1));
        }
        let innocent = receive(&journal, "innocent").await;
        assert_eq!(take(&journal).await.events[0].id, innocent.id);
        let row = journal.intake_row(&poison.id).await.unwrap().unwrap();
        assert_eq!(row.status, IntakeStatus::Parked);
        assert!(row.reason.unwrap().contains("3 times"));
        journal.redeliver(&poison.id).await.unwrap();
        assert_eq!(take(&journal).await.events[0].id, poison.id);
    }
}

/// Every new row of `table` is an error from now on.
async fn break_table(store: &Store, table: &str) {
    let sqlite =
        format!("CREATE TRIGGER broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END");
    let postgres = format!(
        "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$; \
         CREATE TRIGGER broken BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION broken()"
    );
    store.sql(if store.url.starts_with("sqlite:") { sqlite.leak() } else { postgres.leak() }).await;
}

async fn mend_table(store: &Store, table: &str) {
    let postgres = format!("DROP TRIGGER broken ON {table}; DROP FUNCTION broken()");
    store.sql(if store.url.starts_with("sqlite:") { "DROP TRIGGER broken" } else { postgres.leak() }).await;
}
