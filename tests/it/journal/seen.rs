//! What was judged, marks, and turns.

use ado_coworker::event::TriggerKind;
use ado_coworker::journal::Seen;

use super::*;

fn version(n: usize) -> String {
    format!("comment:1/2/{n}@0")
}

fn seen(n: usize, kind: Option<TriggerKind>) -> Seen {
    Seen { version: version(n), subject: "pull_request:1".into(), kind }
}

on_both! {
    async fn a_version_belongs_to_the_event_that_saw_it_first(store: Store) {
        let clock = stepped();
        let journal = store.open(&clock).await;
        let failed = Some(TriggerKind::BuildFailed);
        let own = journal.see("first", vec![seen(1, failed), seen(2, None)]).await.unwrap();
        assert_eq!(own.len(), 2);
        let other = journal.see("second", vec![seen(2, failed), seen(3, failed)]).await.unwrap();
        assert_eq!(other.into_iter().collect::<Vec<_>>(), [version(3)]);
        // The same event may ask again: after a crash, or because a person redelivered it.
        assert_eq!(journal.see("first", vec![seen(1, failed)]).await.unwrap().len(), 1);

        let many: Vec<String> = (0..450).map(version).collect();
        let mut known: Vec<String> = journal.seen(&many).await.unwrap().into_iter().collect();
        known.sort();
        assert_eq!(known, [version(1), version(2), version(3)]);
        assert!(journal.seen(&[]).await.unwrap().is_empty());
        let since = clock.now().as_microsecond();
        let count = async |since| journal.seen_of("pull_request:1", TriggerKind::BuildFailed, since).await.unwrap();
        assert_eq!((count(since).await, count(since + 1).await), (2, 0));
    }

    async fn one_replica_takes_a_turn_and_marks_are_kept(store: Store) {
        let clock = stepped();
        let (one, other) = (store.open(&clock).await, store.open(&clock).await);
        let every = Duration::from_secs(10);
        assert!(one.take_turn("look", every).await.unwrap());
        assert!(!other.take_turn("look", every).await.unwrap());
        clock.advance(every);
        assert!(other.take_turn("look", every).await.unwrap());
        assert!(!one.take_turn("look", every).await.unwrap());

        assert_eq!(one.mark_if_any("since").await.unwrap(), None);
        assert_eq!(one.mark("since", 5).await.unwrap(), 5);
        assert_eq!(other.mark("since", 9).await.unwrap(), 5);
        other.set_mark("since", 9).await.unwrap();
        assert_eq!(one.mark("since", 5).await.unwrap(), 9);
    }

    async fn runs_that_events_began_are_counted(store: Store) {
        let clock = stepped();
        let journal = store.open(&clock).await;
        let run = |subject: &str, source| NewRun { subject: Some(subject.into()), source, ..new_run("x") };
        journal.create(run("pull_request:1", Source::Webhook)).await.unwrap();
        journal.create(run("pull_request:1", Source::Chat)).await.unwrap();
        let since = clock.now().as_microsecond();
        clock.advance(Duration::from_secs(1));
        let newest = journal.create(run("pull_request:1", Source::Webhook)).await.unwrap();
        journal.create(run("work_item:2", Source::Webhook)).await.unwrap();
        let count = async |about: Option<&str>, since| journal.runs_from_events(about, since).await.unwrap();
        assert_eq!((count(Some("pull_request:1"), since).await, count(None, since).await), (2, 3));
        assert_eq!(count(None, since + 1).await, 2);
        assert_eq!(journal.newest_run_about("pull_request:1").await.unwrap().unwrap().id, newest);
        assert_eq!(journal.active_subjects().await.unwrap(), ["pull_request:1", "work_item:2"]);
    }
}
