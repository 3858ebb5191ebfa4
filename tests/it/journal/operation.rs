//! What operators meet: a full disk, backups, records of a newer program.

use ado_coworker::digest::Digest;
use ado_coworker::event::OutsideEvent;
use ado_coworker::journal::{IntakeStatus, JournalError, KEEP_EVENTS, commitment, entry_hash};
use serde_json::{Value, json};

use super::*;
use crate::harness::{HOOK, Process, World, command, settings};

/// A co-worker of whom only the doors matter: nobody is behind its addresses.
async fn alone(folder: &std::path::Path, more: &[(&'static str, String)]) -> (Process, String) {
    let nobody = "http://127.0.0.1:9/contoso";
    let mut given = settings(nobody, "http://127.0.0.1:9", "http://127.0.0.1:9", folder);
    given.extend(more.iter().cloned());
    let mut serve = command(&["serve"]);
    serve.envs(given);
    let mut server = Process::start(serve);
    let page = server.told("ready").await;
    (server, page)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_says_so_and_goes_on_when_there_is_space() {
    let store = Store::sqlite();
    let url = format!("{}?max_page_count=120", store.url);
    let journal = Journal::open(&url, Clock::Real).await.unwrap();
    let id = journal.create(new_run("hello")).await.unwrap();
    let claim = journal.claim("w", LEASE).await.unwrap().unwrap();
    let long = "x".repeat(50_000);
    let mut written = 0;
    let error = loop {
        match journal.append(&claim, i64::MAX, vec![trouble(&long)]).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 50, "the limit does not hold");
    };
    assert!(matches!(error, JournalError::Full), "{error}");
    assert_eq!(journal.whole_log(&id).await.unwrap().len(), 2 + written);
    store.sql("UPDATE log SET body = NULL, salt = NULL WHERE seq > 2").await;
    journal.append(&claim, i64::MAX, vec![trouble(&long)]).await.unwrap();
    assert_eq!(journal.first_fault(&id).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_and_webhook_of_a_full_journal_ask_to_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", folder.path().join("journal.db").display());
    let limited =
        [("DATABASE_URL", format!("{file}?max_page_count=130")), ("TRIGGERS", "webhook".to_owned())];
    let (_server, page) = alone(folder.path(), &limited).await;
    let http = ado_coworker::config::http_client().unwrap();
    let deliver = async |n: usize| {
        let body = json!({ "id": format!("e{n}"), "eventType": "workitem.updated", "resource": { "workItemId": n } });
        let request = http.post(format!("{page}/webhooks/azure-devops")).basic_auth(HOOK.0, Some(HOOK.1));
        request.json(&body).send().await.unwrap().status().as_u16()
    };
    let order = async || {
        let request =
            http.post(format!("{page}/api/runs")).json(&json!({ "instruction": "y".repeat(15_000) }));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let mut orders = 0;
    let problem = loop {
        match order().await {
            (202, _) => orders += 1,
            (503, problem) => break problem,
            other => panic!("{other:?}"),
        }
        assert!(orders < 50, "the limit does not hold");
    };
    assert!(problem["detail"].as_str().unwrap().contains("no space left"), "{problem}");
    let mut taken = 0;
    let status = loop {
        match deliver(taken).await {
            200 => taken += 1,
            other => break other,
        }
        assert!(taken < 5_000, "the limit does not hold");
    };
    assert_eq!(status, 503);
    let readable = http.get(format!("{page}/api/runs")).send().await.unwrap().status();
    assert_eq!(readable.as_u16(), 200);
    let store = Store { url: file, _folder: folder };
    store.sql("UPDATE log SET body = NULL, salt = NULL; DELETE FROM intake").await;
    assert_eq!(deliver(taken).await, 200);
    assert_eq!(order().await.0, 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_made_while_it_writes_and_is_whole() {
    let store = Store::sqlite();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy.db");
    let journal = store.open(&Clock::Real).await;
    let id = journal.create(new_run("hello")).await.unwrap();
    let claim = journal.claim("w", LEASE).await.unwrap().unwrap();
    let writing = tokio::spawn({
        let journal = journal.clone();
        async move {
            for n in 0..300 {
                journal.append(&claim, i64::MAX, vec![trouble(&n.to_string())]).await.unwrap();
            }
        }
    });
    let backup = async |url: &str| {
        let mut backup = command(&["backup", file.to_str().unwrap()]);
        let output =
            backup.env("DATABASE_URL", url).stderr(std::process::Stdio::piped()).output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(backup(&store.url).await.0, Some(0));
    writing.await.unwrap();
    let copy = Journal::open(&format!("sqlite:{}", file.display()), Clock::Real).await.unwrap();
    assert_eq!(copy.first_fault(&id).await.unwrap(), None);
    assert!(copy.whole_log(&id).await.unwrap().len() >= 2);
    drop(copy);
    // What is there is left alone, and a server has its own tool.
    let (status, said) = backup(&store.url).await;
    assert!(status == Some(1) && said.contains("is there already"), "{said}");
    let (status, said) = backup("postgres://me:s3cret@127.0.0.1:9/work").await;
    assert!(status == Some(1) && said.contains("pg_dump") && !said.contains("s3cret"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_a_newer_program_parks_the_run_and_the_page_says_so() {
    let store = Store::sqlite();
    let journal = store.open(&Clock::Real).await;
    let id = journal.create(new_run("hello")).await.unwrap();
    // As a newer program would have written it.
    let record = journal.record(&id, 0).await.unwrap();
    let (prev, ts, body) = (&record[1].hash, record[1].ts, r#"{"type":"dreamt","of":"sheep"}"#);
    let bound = commitment(&[7; 16], body);
    let hash: Digest = entry_hash(&id, 3, ts, &bound, prev);
    let sql = format!(
        "INSERT INTO log (run_id, seq, ts, body, salt, commitment, prev, hash) \
         VALUES ('{id}', 3, {ts}, '{body}', x'{}', '{bound}', '{prev}', '{hash}'); \
         UPDATE runs SET last_seq = 3, head = '{hash}'",
        "07".repeat(16)
    );
    store.sql(sql.leak()).await;
    assert_eq!(journal.first_fault(&id).await.unwrap(), None);
    drop(journal);

    let world = World::start_set("0", &[("DATABASE_URL", &store.url)]).await;
    let run = world.settled(id.as_str()).await;
    assert_eq!(run["status"], "parked", "{run}");
    let page =
        world.http.get(format!("{}/runs/{id}", world.page)).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("written by another version of the program"), "{page}");
}

on_both! {
    async fn old_events_are_forgotten_and_what_is_under_way_is_not(store: Store) {
        let clock = stepped();
        let journal = store.open(&clock).await;
        let event = OutsideEvent::WorkItemChanged { work_item_id: 3 };
        let settled = journal.receive("a:1", "old", event.clone(), Some("nothing to do".into())).await.unwrap();
        let waiting = journal.receive("a:2", "waits", event.clone(), None).await.unwrap();
        clock.advance(KEEP_EVENTS - Duration::from_secs(1));
        assert_eq!(journal.sweep().await.unwrap(), 0);
        assert!(journal.receive("a:1", "old", event.clone(), None).await.unwrap().duplicate);
        clock.advance(Duration::from_secs(2));
        assert_eq!(journal.sweep().await.unwrap(), 1);
        assert_eq!(journal.intake_row(&settled.id).await.unwrap(), None);
        let row = journal.intake_row(&waiting.id).await.unwrap().unwrap();
        assert_eq!(row.status, IntakeStatus::Received);
    }
}
