//! Runs and the queue.

use ado_coworker::journal::{JournalError, Limits, MAX_ATTEMPTS, RunView};

use super::*;

on_both! {
    async fn a_run_is_worked_once_and_survives_a_restart(store: Store) {
        let clock = stepped();
        let journal = store.open(&clock).await;
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
        assert!(!journal.release(&claim).await.unwrap());
        journal.append(&second, 2, vec![finished()]).await.unwrap();
        drop(journal);

        let journal = store.open(&clock).await;
        let row = journal.run(&id).await.unwrap().unwrap();
        assert_eq!((row.status, row.last_seq), (Status::Done, 3));
        let view = RunView::of(&journal.whole_log(&id).await.unwrap());
        assert_eq!(view.answer.as_deref(), Some("Done."));
        assert_eq!(journal.first_fault(&id).await.unwrap(), None);
    }

    async fn a_run_is_not_ended_over_words_that_its_holder_has_not_read(store: Store) {
        let journal = store.open(&Clock::Real).await;
        let id = journal.create(new_run("hello")).await.unwrap();
        let claim = journal.claim("a", LEASE).await.unwrap().unwrap();
        journal.add_from_outside(&id, message("wait")).await.unwrap();
        let log = journal.append(&claim, 2, vec![finished()]).await.unwrap();
        assert_eq!(log.iter().map(|l| &l.entry).collect::<Vec<_>>(), [&message("wait")]);
        assert_eq!(journal.run(&id).await.unwrap().unwrap().status, Status::Running);
        let log = journal.append(&claim, 3, vec![finished()]).await.unwrap();
        assert_eq!(log.len(), 1);
        assert_eq!(journal.run(&id).await.unwrap().unwrap().status, Status::Done);
        // Words to a run that has ended queue it again.
        journal.add_from_outside(&id, message("and now?")).await.unwrap();
        assert_eq!(journal.run(&id).await.unwrap().unwrap().status, Status::Queued);
        assert!(journal.claim("a", LEASE).await.unwrap().is_some());
    }

    async fn a_run_that_waits_is_due_when_it_said(store: Store) {
        let clock = stepped();
        let journal = store.open(&clock).await;
        let id = journal.create(new_run("hello")).await.unwrap();
        let claim = journal.claim("a", LEASE).await.unwrap().unwrap();
        let wake_at = Some(clock.now().as_microsecond() + 60_000_000);
        let waiting_for = ado_coworker::journal::WaitingFor::RateLimit;
        let waits = Entry::Waiting { waiting_for, reason: "later".into(), wake_at };
        journal.append(&claim, 2, vec![waits]).await.unwrap();
        clock.advance(Duration::from_secs(59));
        assert_eq!(journal.claim("a", LEASE).await.unwrap(), None);
        assert_eq!(journal.claim_run(&id, "a", LEASE).await.unwrap(), None);
        // A clock that jumps back changes nothing, and none is taken twice when it comes forward.
        clock.jump(jiff::Timestamp::from_second(1_700_000_000).unwrap());
        assert_eq!(journal.claim("a", LEASE).await.unwrap(), None);
        clock.jump(jiff::Timestamp::from_second(1_800_000_061).unwrap());
        assert!(journal.claim("a", LEASE).await.unwrap().is_some());
        assert_eq!(journal.claim("b", LEASE).await.unwrap(), None);
    }

    async fn many_writers_share_commits_and_nothing_is_lost(store: Store) {
        let journal = store.open(&Clock::Real).await;
        let other = store.open(&Clock::Real).await;
        let makers = (0..200).map(|i| {
            let journal = if i % 2 == 0 { journal.clone() } else { other.clone() };
            tokio::spawn(async move { journal.create(new_run(&format!("run {i}"))).await.unwrap() })
        });
        let made: Vec<_> = makers.collect();
        for maker in made {
            maker.await.unwrap();
        }
        assert_eq!(journal.runs(1_000, None).await.unwrap().len(), 200);
        assert_eq!(other.unfinished().await.unwrap(), 200);
    }

    async fn limits_hold_and_projects_take_turns(store: Store) {
        let limits = Limits { per_project: 3, per_repository: 2, per_model: 6, model: "gpt".into() };
        let journal = store.open(&Clock::Real).await.limited(limits.clone());
        let make = async |project: &str, repository: &str, subject: Option<&str>| {
            let run = NewRun {
                project: project.into(),
                repository: repository.into(),
                subject: subject.map(Into::into),
                ..new_run("x")
            };
            journal.create(run).await.unwrap()
        };
        // A project with much to do, and one that comes later with little.
        for _ in 0..4 {
            make("A", "one", None).await;
        }
        for _ in 0..4 {
            make("A", "two", None).await;
        }
        make("B", "one", Some("work_item:1")).await;
        make("B", "one", Some("work_item:1")).await;
        let mut taken = Vec::new();
        let mut claims = Vec::new();
        while let Some(claim) = journal.claim("w", LEASE).await.unwrap() {
            let log = journal.log(&claim.run, 0).await.unwrap();
            let Entry::Created { project, repository, .. } = &log[0].entry else { panic!() };
            taken.push(format!("{project}/{repository}"));
            claims.push(claim);
        }
        // B's second run is about the same thing as its first; A has reached its limit.
        assert_eq!(taken, ["A/one", "B/one", "A/two", "A/one"]);
        // The end of a run leaves room.
        journal.append(&claims[1], 99, vec![finished()]).await.unwrap();
        let next = journal.claim("w", LEASE).await.unwrap().unwrap();
        let Entry::Created { project, .. } = &journal.log(&next.run, 0).await.unwrap()[0].entry else { panic!() };
        assert_eq!(project, "B");
        // One deployment over all: another process with the same model gets no more than the limit.
        for project in ["C", "D", "E"] {
            make(project, "one", None).await;
        }
        let other = store.open(&Clock::Real).await.limited(limits.clone());
        let mut more = 0;
        while other.claim("v", LEASE).await.unwrap().is_some() {
            more += 1;
        }
        assert_eq!(more, 2);
        let third = store.open(&Clock::Real).await.limited(Limits { model: "mini".into(), ..limits });
        assert!(third.claim("u", LEASE).await.unwrap().is_some());
    }

    async fn a_run_that_ends_its_worker_each_time_is_set_aside(store: Store) {
        let clock = stepped();
        let journal = store.open(&clock).await;
        let poison = journal.create(new_run("poison")).await.unwrap();
        for _ in 0..MAX_ATTEMPTS {
            assert_eq!(journal.claim("w", LEASE).await.unwrap().unwrap().run, poison);
            clock.advance(LEASE + Duration::from_secs(1));
        }
        let innocent = journal.create(new_run("innocent")).await.unwrap();
        assert_eq!(journal.claim("w", LEASE).await.unwrap().unwrap().run, innocent);
        assert_eq!(journal.run(&poison).await.unwrap().unwrap().status, Status::Parked);
        let view = RunView::of(&journal.whole_log(&poison).await.unwrap());
        assert!(view.answer.unwrap().contains("3 times in a row"));
        assert!(view.remedy.unwrap().contains("send the run a message"));
        assert_eq!(journal.first_fault(&poison).await.unwrap(), None);
        // A person may send it on.
        journal.add_from_outside(&poison, message("again")).await.unwrap();
        let claim = journal.claim("w", LEASE).await.unwrap().unwrap();
        assert_eq!(claim.run, poison);
        // Being handed back is no crash.
        journal.release(&claim).await.unwrap();
        for _ in 0..=MAX_ATTEMPTS {
            let claim = journal.claim_run(&poison, "w", LEASE).await.unwrap().unwrap();
            journal.release(&claim).await.unwrap();
        }
        assert_ne!(journal.run(&poison).await.unwrap().unwrap().status, Status::Parked);
    }
}
