//! The house's own log, the switch that stops everything, and erasing, on both stores.

use ado_coworker::journal::{Class, Erasable, JournalError, Note, RunId};

use super::*;

on_both! {
    async fn who_holds_a_run_has_lost_it_when_everything_is_stopped(store: Store) {
        let clock = stepped();
        let (journal, other) = (store.open(&clock).await, store.open(&clock).await);
        let run = journal.create(new_run("work")).await.unwrap();
        let claim = journal.claim("a", LEASE).await.unwrap().unwrap();
        assert!(journal.holds(&claim));
        assert!(other.halt(Person::named("alice"), "why".into()).await.unwrap());
        assert!(!other.halt(Person::named("bob"), "again".into()).await.unwrap(), "it is stopped already");
        let halt = journal.halted().await.unwrap().unwrap();
        assert_eq!((halt.by.name.as_str(), halt.reason.as_str()), ("alice", "why"));
        let refused = journal.append(&claim, 99, vec![trouble("late")]).await;
        assert!(matches!(refused, Err(JournalError::Fenced(_))), "{refused:?}");
        assert!(!journal.renew(&claim, LEASE).await.unwrap());
        assert_eq!(journal.claim("b", LEASE).await.unwrap(), None);
        assert_eq!(journal.claim_intake(LEASE).await.unwrap(), None);
        assert_eq!(journal.run(&run).await.unwrap().unwrap().status, Status::Queued);
        assert!(other.lift(Person::named("alice")).await.unwrap());
        assert!(!other.lift(Person::named("alice")).await.unwrap());
        let again = journal.claim("b", LEASE).await.unwrap().expect("it goes on");
        assert!(again.run == run && again.fence > claim.fence);
        let log = journal.whole_log(&RunId::house()).await.unwrap();
        let notes: Vec<bool> =
            log.iter().map(|l| matches!(l.entry, Entry::House { note: Note::Halted { .. } })).collect();
        assert_eq!(notes, [true, false]);
        assert_eq!(journal.first_fault(&RunId::house()).await.unwrap(), None);
        assert_eq!(journal.runs(10, None).await.unwrap().len(), 1, "the house's log is no run");
    }

    async fn a_killed_run_has_ended_whoever_works_it(store: Store) {
        let journal = store.open(&stepped()).await;
        let run = journal.create(new_run("work")).await.unwrap();
        let claim = journal.claim("a", LEASE).await.unwrap().unwrap();
        assert!(journal.kill(&run, &Person::named("alice"), "").await.unwrap());
        assert!(!journal.holds(&claim));
        let refused = journal.append(&claim, 99, vec![trouble("late")]).await;
        assert!(matches!(refused, Err(JournalError::Fenced(_))), "{refused:?}");
        assert_eq!(journal.run(&run).await.unwrap().unwrap().status, Status::Cancelled);
        assert!(!journal.kill(&run, &Person::named("alice"), "").await.unwrap(), "it has ended already");
    }

    async fn bodies_are_erased_by_class_and_by_run(store: Store) {
        let clock = stepped();
        let journal = store.open(&clock).await;
        let run = journal.create(new_run("work")).await.unwrap();
        let claim = journal.claim("a", LEASE).await.unwrap().unwrap();
        let later = clock.now().as_microsecond() + 1;
        let old = |class| Erasable::Old(class, later);
        assert_eq!(journal.erasable(&old(Class::Transcripts)).await.unwrap(), 0, "it is under way");
        journal.append(&claim, 99, vec![trouble("x"), finished()]).await.unwrap();
        assert!(journal.hold(&run, true, Person::named("carol")).await.unwrap());
        assert_eq!(journal.erase(old(Class::Transcripts)).await.unwrap(), 0, "it is held");
        assert!(journal.hold(&run, false, Person::named("carol")).await.unwrap());
        assert_eq!(journal.erasable(&old(Class::Transcripts)).await.unwrap(), 1);
        assert_eq!(journal.erase(old(Class::Transcripts)).await.unwrap(), 1);
        assert_eq!(journal.erase(old(Class::Bodies)).await.unwrap(), 1);
        assert_eq!(journal.first_fault(&run).await.unwrap(), None);
        let left: Vec<bool> =
            journal.record(&run, 0).await.unwrap().iter().map(|entry| entry.body.is_some()).collect();
        assert_eq!(left, [true, false, false, true]);
        let whole = Erasable::Runs(vec![run.clone()]);
        assert_eq!(journal.erasable(&whole).await.unwrap(), 2);
        assert_eq!(journal.erase(whole).await.unwrap(), 2);
        assert_eq!(journal.first_fault(&run).await.unwrap(), None);
        let since = journal.since(0, i64::MAX, 2).await.unwrap();
        assert!(since.len() >= 3, "entries of one instant come together: {}", since.len());
    }
}
