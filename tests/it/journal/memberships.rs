//! Since when people are seen in their groups.

use ado_coworker::journal::Session;

use super::*;

const DAY: i64 = 24 * 3_600 * 1_000_000;

async fn seen(journal: &Journal, clock: &Clock, oid: &str, groups: &[&str], complete: bool) {
    let now = clock.now();
    let session = Session {
        oid: oid.into(),
        name: "n".into(),
        account: None,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        groups_complete: complete,
        groups_read_at: now,
        signed_in_at: now,
        ends_at: now,
    };
    journal.keep_session(oid, &session).await.unwrap();
}

async fn new(journal: &Journal, clock: &Clock, oid: &str) -> Vec<String> {
    journal.joined_since(oid, clock.now().as_microsecond() - DAY).await.unwrap()
}

on_both! {
    async fn a_new_group_of_a_known_person_is_new_for_a_day(store: Store) {
        let clock = stepped();
        let journal = store.open(&clock).await;
        seen(&journal, &clock, "carol", &["a", "b"], true).await;
        seen(&journal, &clock, "mallory", &[], true).await;
        assert!(new(&journal, &clock, "carol").await.is_empty(), "nobody knows since when");
        clock.advance(Duration::from_secs(60));
        seen(&journal, &clock, "mallory", &["a"], true).await;
        assert_eq!(new(&journal, &clock, "mallory").await, ["a"], "was known without it");
        // A list that was not whole says nothing.
        seen(&journal, &clock, "carol", &["c"], false).await;
        assert!(new(&journal, &clock, "carol").await.is_empty());
        clock.advance(Duration::from_secs(23 * 3_600));
        seen(&journal, &clock, "mallory", &["a"], true).await;
        assert_eq!(new(&journal, &clock, "mallory").await, ["a"]);
        clock.advance(Duration::from_secs(2 * 3_600));
        assert!(new(&journal, &clock, "mallory").await.is_empty());
        // Taken out and put in again: new again.
        seen(&journal, &clock, "carol", &["b"], true).await;
        seen(&journal, &clock, "carol", &["a", "b"], true).await;
        assert_eq!(new(&journal, &clock, "carol").await, ["a"]);
    }
}
