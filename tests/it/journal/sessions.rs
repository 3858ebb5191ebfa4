//! Who has signed in, and looking at a journal from outside.

use std::time::Duration;

use ado_coworker::clock::add;
use ado_coworker::journal::{Found, Session, look};

use super::*;

fn session(clock: &Clock, name: &str, groups: usize) -> Session {
    let now = clock.now();
    Session {
        oid: "66666666-ffff-4fff-8fff-666666666666".into(),
        name: name.into(),
        account: Some("alice@contoso.example".into()),
        groups: (0..groups).map(|n| format!("60000000-0000-4000-8000-{n:012}")).collect(),
        groups_complete: groups < 200,
        groups_read_at: now,
        signed_in_at: now,
        ends_at: add(now, Duration::from_secs(8 * 3_600)),
    }
}

on_both! {
    async fn a_session_is_seen_by_every_replica_until_it_is_ended(store: Store) {
        let clock = stepped();
        let (one, other) = (store.open(&clock).await, store.open(&clock).await);
        let alice = session(&clock, "Alice 'the lead' Martin\u{1f600}", 250);
        one.keep_session("key-of-alice", &alice).await.unwrap();
        assert_eq!(other.session("key-of-alice").await.unwrap(), Some(alice.clone()));
        assert_eq!(other.session("key-of-nobody").await.unwrap(), None);
        // Kept again with what was read meanwhile, it is one session.
        let later = Session { groups: Vec::new(), groups_complete: true, ..alice };
        other.keep_session("key-of-alice", &later).await.unwrap();
        assert_eq!(one.session("key-of-alice").await.unwrap(), Some(later));
        drop((one, other));
        let again = store.open(&clock).await;
        assert!(again.session("key-of-alice").await.unwrap().is_some(), "a restart keeps it");
        again.end_session("key-of-alice").await.unwrap();
        again.end_session("key-of-alice").await.unwrap();
        assert_eq!(again.session("key-of-alice").await.unwrap(), None);
    }

    async fn looking_changes_nothing(store: Store) {
        let clock = stepped();
        let is_file = store.url.starts_with("sqlite:");
        if is_file {
            assert!(look(&store.url).await.is_err(), "there is no file, and none is made");
        } else {
            assert_eq!(look(&store.url).await.unwrap(), Found::Empty);
            assert_eq!(look(&store.url).await.unwrap(), Found::Empty, "no tables were made");
        }
        let journal = store.open(&clock).await;
        journal.create(new_run("one")).await.unwrap();
        assert_eq!(look(&store.url).await.unwrap(), Found::Ready { unfinished: 1 });
        drop(journal);
        assert_eq!(look(&store.url).await.unwrap(), Found::Ready { unfinished: 1 });
        store.sql("INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success, checksum, \
                   execution_time FROM _sqlx_migrations WHERE version = 1").await;
        assert_eq!(look(&store.url).await.unwrap(), Found::Newer { schema: 9_999 });
        store.sql("DELETE FROM _sqlx_migrations WHERE version > 1").await;
        assert_eq!(look(&store.url).await.unwrap(), Found::Older);
        assert_eq!(look(&store.url).await.unwrap(), Found::Older, "it was not brought up to date");
    }
}
