//! The record: hash chains, commitments, erased bodies.

use ado_coworker::digest::{Digest, hex};
use ado_coworker::journal::{Recorded, RunId, commitment};

use super::*;

/// From schema 15 back to the one before it.
const BACK_ON_SQLITE: &str = "DELETE FROM _sqlx_migrations WHERE version >= 15; CREATE TABLE before (run_id TEXT NOT NULL REFERENCES runs (id), seq INTEGER NOT NULL, ts INTEGER NOT NULL, \
    body TEXT, salt BLOB, commitment TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL, \
    PRIMARY KEY (run_id, seq)) STRICT, WITHOUT ROWID; INSERT INTO before SELECT * FROM log; DROP TABLE log; \
    ALTER TABLE before RENAME TO log; CREATE INDEX log_ts ON log (ts)";

async fn three_entries(journal: &Journal) -> RunId {
    let id = journal.create(new_run("hello")).await.unwrap();
    let claim = journal.claim("a", LEASE).await.unwrap().unwrap();
    for text in ["one", "two", "three"] {
        journal.append(&claim, 99, vec![trouble(text)]).await.unwrap();
    }
    id
}

on_both! {
    async fn every_change_of_the_record_is_found(store: Store) {
        let journal = store.open(&Clock::Real).await;
        let id = three_entries(&journal).await;
        assert_eq!(journal.first_fault(&id).await.unwrap(), None);
        let cases = [
            ("UPDATE log SET body = replace(body, 'two', 'TWO') WHERE seq = 4", Some(4)),
            ("UPDATE log SET body = replace(body, 'TWO', 'two') WHERE seq = 4", None),
            ("UPDATE log SET ts = ts + 1 WHERE seq = 3", Some(3)),
            ("UPDATE log SET ts = ts - 1 WHERE seq = 3", None),
            ("UPDATE log SET commitment = (SELECT commitment FROM log WHERE seq = 2), \
              body = (SELECT body FROM log WHERE seq = 2), salt = (SELECT salt FROM log WHERE seq = 2) \
              WHERE seq = 3", Some(3)),
        ];
        for (sql, expected) in cases {
            store.sql(sql).await;
            assert_eq!(journal.first_fault(&id).await.unwrap(), expected, "{sql}");
        }
        let other = three_entries(&journal).await;
        assert_eq!(journal.first_fault(&other).await.unwrap(), None);
        store.sql("DELETE FROM log WHERE seq = 5").await;
        assert_eq!(journal.first_fault(&other).await.unwrap(), Some(5));
    }

    async fn a_body_can_be_erased_and_the_chain_holds(store: Store) {
        let journal = store.open(&Clock::Real).await;
        let id = three_entries(&journal).await;
        let before = journal.record(&id, 0).await.unwrap();
        // Whoever has an export checks it without this program's help.
        let mut head = String::new();
        for entry in &before {
            let Recorded { seq, ts, body, salt, commitment: bound, prev, hash } = entry;
            let salt = salt.as_deref().unwrap();
            let salt: Vec<u8> =
                (0..32).step_by(2).map(|i| u8::from_str_radix(&salt[i..i + 2], 16).unwrap()).collect();
            assert_eq!(hex(&salt), entry.salt.clone().unwrap());
            assert_eq!(&commitment(&salt, body.as_deref().unwrap()), bound);
            let text = format!("{id}\n{seq}\n{ts}\n{bound}");
            assert_eq!(prev, &head);
            assert_eq!(Digest::chain("ado-coworker log v2", prev, text.as_bytes()).as_str(), hash);
            head.clone_from(hash);
        }
        let salts: std::collections::BTreeSet<_> = before.iter().map(|entry| &entry.salt).collect();
        assert_eq!(salts.len(), before.len());

        store.sql("UPDATE log SET body = NULL, salt = NULL WHERE seq IN (2, 4)").await;
        assert_eq!(journal.first_fault(&id).await.unwrap(), None);
        let log = journal.whole_log(&id).await.unwrap();
        assert_eq!((&log[1].entry, &log[3].entry), (&Entry::Erased, &Entry::Erased));
        assert_eq!(log[2].entry, trouble("one"));
        // Only both together: a body without its salt proves nothing.
        store.sql("UPDATE log SET salt = NULL WHERE seq = 3").await;
        assert_eq!(journal.first_fault(&id).await.unwrap(), Some(3));
    }

    async fn a_newer_schema_is_refused_by_an_older_program(store: Store) {
        drop(store.open(&Clock::Real).await);
        store.sql("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                   VALUES (9999, 'of the future', TRUE, '', 0)").await;
        let error = Journal::open(&store.url, Clock::Real).await.err().expect("it is refused").to_string();
        assert!(error.contains("schema 9999") && error.contains("use a newer ado-coworker"), "{error}");
    }
}

#[tokio::test]
async fn a_record_of_the_schema_before_is_taken_over_whole() {
    let store = Store::sqlite();
    let journal = store.open(&Clock::Real).await;
    let id = three_entries(&journal).await;
    let before = journal.record(&id, 0).await.unwrap();
    drop(journal);
    store.sql(BACK_ON_SQLITE).await;
    let journal = store.open(&Clock::Real).await;
    assert_eq!(journal.record(&id, 0).await.unwrap(), before);
    let more = Entry::Message { from: Person::named("alice"), text: "and more".to_owned() };
    journal.add_from_outside(&id, more).await.unwrap();
    assert_eq!(journal.first_fault(&id).await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_password() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://me:s3cret@127.0.0.1:{port}/work");
    let error = Journal::open(&url, Clock::Real).await.err().expect("nobody is there").to_string();
    assert!(error.contains(&format!("database work at 127.0.0.1:{port}")), "{error}");
    assert!(error.contains("check DATABASE_URL") && !error.contains("s3cret"), "{error}");
}
