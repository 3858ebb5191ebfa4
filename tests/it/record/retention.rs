//! Erasing what has its time behind it, the stream for other systems, and who may read a record.

use std::time::Duration;

use ado_coworker::audit::{Key, Notary, Trusted, check_journal, retention};
use ado_coworker::clock::Clock;
use ado_coworker::journal::{Entry, Journal, NewRun, Note, Person, RunId, Source, Status};
use serde_json::Value;

use super::audit;
use crate::harness::Demo;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const OID: &str = "5f0c3f6e-7a51-4b7e-9f3c-0d6f3a1b2c4d";

async fn ended(journal: &Journal, by: &Person) -> RunId {
    let new = NewRun {
        instruction: "Tell nobody of tangerine".into(),
        source: Source::Chat,
        requested_by: by.clone(),
        project: "Fabrikam".into(),
        repository: "web-shop".into(),
        subject: None,
        trigger: None,
    };
    let run = journal.create(new).await.unwrap();
    let claim = journal.claim("a", Duration::from_secs(60)).await.unwrap().unwrap();
    let started = Entry::ToolStarted {
        step: 1,
        call_id: "c".into(),
        tool: "read_file".into(),
        arguments: serde_json::json!({ "path": "tangerine.txt" }),
    };
    let end = Entry::Finished { status: Status::Done, answer: "Done.".into(), remedy: None };
    journal.append(&claim, i64::MAX, vec![started, end]).await.unwrap();
    run
}

/// Entries of a run whose body is gone.
async fn erased(journal: &Journal, run: &RunId) -> Vec<i64> {
    let record = journal.record(run, 0).await.unwrap();
    record
        .iter()
        .filter(|entry| entry.body.is_none() && entry.salt.is_none())
        .map(|entry| entry.seq)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_its_time_behind_it_is_erased_and_the_chain_holds() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("journal.db").display());
    let clock = Clock::stepped(jiff::Timestamp::from_second(1_800_000_000).unwrap());
    let journal = Journal::open(&url, clock.clone()).await.unwrap();
    let (key, _) = Key::read_or_make(&folder.path().join("record-key.pem")).unwrap();
    let notary = Notary::new(journal.clone(), key, clock.clone());
    let sound = async |erased: i64| {
        notary.sign_what_is_new().await.unwrap();
        let whole = check_journal(&journal, Trusted::default()).await.unwrap();
        assert!(whole.is_sound() && whole.signed, "{whole:?}");
        assert_eq!(whole.erased, erased);
    };
    let alice = Person { oid: Some(OID.into()), ..Person::named("Alice") };
    let (old, held) = (ended(&journal, &Person::named("bob")).await, ended(&journal, &alice).await);
    journal.hold(&held, true, Person::named("carol")).await.unwrap();
    sound(0).await;
    assert!(retention::foresee(&journal, &clock).await.unwrap().values().all(|count| *count == 0));

    clock.advance(31 * DAY);
    let new = ended(&journal, &alice).await;
    let foreseen = retention::foresee(&journal, &clock).await.unwrap();
    assert_eq!((foreseen["transcripts"], foreseen["bodies"], foreseen["decisions"]), (1, 1, 0));
    assert_eq!(erased(&journal, &old).await, [] as [i64; 0], "counting erases nothing");
    assert_eq!(retention::apply(&journal, &clock).await.unwrap(), foreseen);
    assert_eq!(erased(&journal, &old).await, [2, 3]);
    assert_eq!(erased(&journal, &held).await, [] as [i64; 0]);
    assert_eq!(journal.run(&old).await.unwrap().unwrap().instruction, "(erased)");
    sound(2).await;
    // That it was done, and how much, stands in the house's log and in the chain over the ends.
    let house = journal.whole_log(&RunId::house()).await.unwrap();
    let last = &house.last().unwrap().entry;
    assert!(
        matches!(last, Entry::House { note: Note::RetentionApplied { erased, .. } } if *erased == foreseen)
    );
    assert_eq!(journal.newest_head().await.unwrap().unwrap().run, RunId::house());

    // A person is forgotten: what they ordered, but for what is held.
    let (runs, bodies) = retention::forget(&journal, OID, true).await.unwrap();
    assert_eq!((runs, bodies), (1, 4));
    assert_eq!(retention::forget(&journal, &OID.to_uppercase(), false).await.unwrap(), (1, 4));
    assert_eq!(erased(&journal, &new).await, [1, 2, 3, 4]);
    assert_eq!(erased(&journal, &held).await, [] as [i64; 0]);
    sound(6).await;

    clock.advance(400 * DAY);
    retention::apply(&journal, &clock).await.unwrap();
    assert_eq!(erased(&journal, &old).await, [1, 2, 3, 4]);
    journal.hold(&held, false, Person::named("carol")).await.unwrap();
    retention::apply(&journal, &clock).await.unwrap();
    assert_eq!(erased(&journal, &held).await, [1, 2, 3, 4]);
    notary.sign_what_is_new().await.unwrap();
    assert!(check_journal(&journal, Trusted::default()).await.unwrap().is_sound());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_read_by_whom_it_concerns_and_who_looked_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let own = demo.order("List the open work items").await;
    let run = own["id"].as_str().unwrap();
    let database = folder.path().join("ado-coworker.db");
    let get = async |path: String| {
        let response = demo.http.get(format!("{}{path}", demo.page)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, page) = get(format!("/runs/{run}/replay")).await;
    assert!(status == 200 && page.contains("data-replay") && page.contains("Skip to content"), "{page}");
    let (status, rows) = get(format!("/runs/{run}/replay/rows")).await;
    let rows: Value = serde_json::from_str(&rows).unwrap();
    let rows = rows["rows"].as_array().unwrap();
    assert!(status == 200 && rows.len() >= 6, "{rows:?}");
    for lane in ["human", "model", "azure_devops", "run"] {
        assert!(rows.iter().any(|row| row["lane"] == lane), "{lane}: {rows:?}");
    }
    // Every request to Azure DevOps is there with the service's own id of it.
    let asked = rows.iter().find(|row| row["type"] == "exchanged").expect("requests are recorded");
    let (status, entry) = get(format!("/runs/{run}/replay/entries/{}", asked["seq"])).await;
    assert!(status == 200 && entry.contains("_apis/wit/wiql") && entry.contains("ActivityId"), "{entry}");
    assert_eq!(get(format!("/runs/{run}/replay/entries/9999")).await.0, 404);
    let (status, _) = get(format!("/api/audit/{run}")).await;
    assert_eq!(status, 200);
    let (_, house) = audit(&database, &["show", &"0".repeat(32), "--json"]).await;
    for how in ["replay", "record"] {
        assert!(house.contains(&format!("\"how\":\"{how}\"")), "{house}");
    }

    // What an event from somebody else began is not the local person's to read.
    let path = "/Fabrikam/_apis/wit/workitems/$Issue?api-version=7.1";
    let body = serde_json::json!([{ "op": "add", "path": "/fields/System.Title", "value": "Say hello" },
        { "op": "add", "path": "/fields/System.AssignedTo", "value": "ado-coworker@contoso.example" }]);
    let url = format!("{}{path}", demo.organization);
    let request = demo.http.post(url).header("content-type", "application/json-patch+json");
    let made = request.basic_auth("alice", Some("demo-alice")).body(body.to_string()).send().await.unwrap();
    assert!(made.status().is_success(), "{}", made.text().await.unwrap());
    let hers = crate::harness::eventually("a run that the event began", async || {
        let runs = demo.get("/api/runs").await;
        let found = runs["runs"].as_array().unwrap().iter().find(|row| row["source"] == "webhook").cloned();
        found.map(|row| row["id"].as_str().unwrap().to_owned())
    })
    .await;
    for path in
        [format!("/api/audit/{hers}"), format!("/runs/{hers}/replay"), format!("/runs/{hers}/replay/rows")]
    {
        assert_eq!(get(path.clone()).await.0, 403, "{path}");
    }

    // The same record as lines for another system, without a word that anybody said.
    let (status, text) = audit(&database, &["stream"]).await;
    assert_eq!(status, 0, "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_run: Vec<&Value> = lines.iter().filter(|line| line["run"] == run).collect();
    assert_eq!(of_run.len(), rows.len());
    assert!(!text.contains("open work items"), "{text}");
    assert!(of_run.iter().any(|line| line["exchanges"][0]["activity_id"].is_string()), "{text}");
    let middle = lines[lines.len() / 2]["position"].to_string();
    let (_, rest) = audit(&database, &["stream", "--after", &middle]).await;
    let positions: Vec<i64> = rest
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["position"].as_i64().unwrap())
        .collect();
    assert!(!positions.is_empty() && positions.is_sorted(), "{rest}");
    assert!(positions[0] > middle.parse().unwrap());
    demo.stop().await;
}
