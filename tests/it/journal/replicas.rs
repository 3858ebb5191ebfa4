//! Several processes on one PostgreSQL, and the server out of reach.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ado_coworker::journal::{JournalError, Notice};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::*;
use crate::harness::{PATIENCE, World, eventually};

/// A way to the server that can be cut.
struct Way {
    open: Arc<AtomicBool>,
    cut: Arc<Notify>,
    url: String,
}

impl Way {
    async fn to(database: &str) -> Self {
        let mut url = url::Url::parse(database).unwrap();
        let target: SocketAddr = format!("127.0.0.1:{}", url.port().unwrap()).parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let way = Self { open: Arc::new(AtomicBool::new(true)), cut: Arc::default(), url: url.to_string() };
        let (open, cut) = (way.open.clone(), way.cut.clone());
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let cut = cut.clone();
                if !open.load(Ordering::SeqCst) {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut to) = TcpStream::connect(target).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                        () = cut.notified() => {}
                    }
                });
            }
        });
        way
    }

    /// Ends every connection; new ones end at once until it is mended.
    fn cut(&self) {
        self.open.store(false, Ordering::SeqCst);
        self.cut.notify_waiters();
    }

    fn mend(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_writes_the_others_are_told() {
    let store = Store::postgres().await;
    let (one, other) = (store.open(&Clock::Real).await, store.open(&Clock::Real).await);
    let (mut work, mut changes) = (other.work(), other.changes());
    // The listener of a process that has just begun may not stand yet: until it does, somebody looks.
    let _ = eventually("the first notice", async || {
        one.create(new_run("x")).await.unwrap();
        tokio::time::timeout(Duration::from_millis(500), changes.recv()).await.ok()
    })
    .await;
    work.mark_unchanged();
    let id = one.create(new_run("hello")).await.unwrap();
    tokio::time::timeout(PATIENCE, work.changed()).await.expect("work is announced").unwrap();
    let (_, mut notices) = other.watch(&id);
    one.add_from_outside(&id, message("more")).await.unwrap();
    let told = async {
        loop {
            match notices.recv().await.unwrap() {
                Notice::Appended { seq: 3, .. } => return,
                _ => continue,
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("the watcher at the other replica is told");
    assert_eq!(other.log(&id, 2).await.unwrap()[0].entry, message("more"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_out_of_reach_is_waited_for_and_nothing_is_lost_or_doubled() {
    let direct = postgres::database().await;
    let way = Way::to(&direct).await;
    let journal = Journal::open(&way.url, Clock::Real).await.unwrap();
    let id = journal.create(new_run("hello")).await.unwrap();
    let claim = journal.claim("w", LEASE).await.unwrap().unwrap();
    // The connection breaks again and again, also between a commit and its answer.
    let holder = tokio::spawn({
        let (journal, claim) = (journal.clone(), claim.clone());
        async move {
            for n in 0..60 {
                let entry = vec![trouble(&n.to_string())];
                journal.append(&claim, i64::MAX, entry).await.unwrap();
            }
        }
    });
    for n in 0u64..25 {
        tokio::time::sleep(Duration::from_millis(7 + n * 13 % 31)).await;
        way.cut();
        tokio::time::sleep(Duration::from_millis(n * 7 % 40)).await;
        way.mend();
    }
    tokio::time::timeout(PATIENCE, holder).await.expect("it goes on").unwrap();
    let log = journal.whole_log(&id).await.unwrap();
    let said: Vec<_> = log[2..].iter().map(|logged| logged.entry.clone()).collect();
    assert_eq!(said, (0..60).map(|n| trouble(&n.to_string())).collect::<Vec<_>>());
    assert_eq!(journal.first_fault(&id).await.unwrap(), None);

    // Gone for longer: whoever is outside is told so, the holder waits.
    way.cut();
    let waiting = tokio::spawn({
        let (journal, claim) = (journal.clone(), claim.clone());
        async move { journal.append(&claim, i64::MAX, vec![trouble("late")]).await }
    });
    let refused = journal.add_from_outside(&id, message("hello?")).await.unwrap_err();
    assert!(matches!(refused, JournalError::Unavailable), "{refused}");
    assert!(!waiting.is_finished());
    way.mend();
    tokio::time::timeout(PATIENCE, waiting).await.expect("it goes on").unwrap().unwrap();
    journal.add_from_outside(&id, message("again")).await.unwrap();
    let log = journal.whole_log(&id).await.unwrap();
    let said: Vec<_> = log[62..].iter().map(|logged| logged.entry.clone()).collect();
    assert_eq!(said, [trouble("late"), message("again")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_serves_and_another_works() {
    let database = postgres::database().await;
    let world = World::start_set("0", &[("DATABASE_URL", &database), ("ROLE", "web")]).await;
    world.script(json!([{ "kind": "reply", "text": "Worked elsewhere." }])).await;
    let id = world.begin("hello").await;
    let url = format!("{}/api/runs/{id}/events", world.page);
    let stream = tokio::spawn(world.http.get(url).send().await.unwrap().text());
    let (worker, health) = world.beside(&[("ROLE", "worker"), ("PUBLIC_URL", &world.page)]).await;
    let run = world.settled(&id).await;
    assert_eq!((&run["status"], &run["answer"]), (&json!("done"), &json!("Worked elsewhere.")));
    // The stream at the process that serves has the whole log, once and in order.
    let text = tokio::time::timeout(PATIENCE, stream).await.expect("it ends").unwrap().unwrap();
    let ids: Vec<i64> =
        text.lines().filter_map(|line| line.strip_prefix("id:")?.trim().parse().ok()).collect();
    assert_eq!(ids, (1..=*ids.last().unwrap()).collect::<Vec<_>>());
    assert!(text.contains("event: end") || text.contains("event:end"), "{text}");
    // A worker tells how it is and serves nothing else.
    let status =
        async |path: &str| world.http.get(format!("{health}{path}")).send().await.unwrap().status().as_u16();
    assert_eq!((status("/readyz").await, status("/").await, status("/api/runs").await), (200, 404, 404));

    // A stopped worker hands its run back, and another takes it up.
    world
        .script(json!([{ "kind": "delay", "ms": 60_000 }, { "kind": "reply", "text": "By the second." }]))
        .await;
    let before = asked(&world).await;
    let id = world.begin("think").await;
    // Until the model is asked: else it is the second worker that it keeps waiting.
    eventually("the model to be asked", async || (asked(&world).await > before).then_some(())).await;
    assert!(worker.stop().await);
    assert_eq!(world.run(&id).await["status"], "queued");
    let (second, _) = world.beside(&[("ROLE", "worker"), ("PUBLIC_URL", &world.page)]).await;
    assert_eq!(world.settled(&id).await["answer"], "By the second.");
    assert!(second.stop().await);
}

/// How many requests the model has had.
async fn asked(world: &World) -> usize {
    let url = format!("{}/_simulator/requests", world.model.trim_end_matches('/'));
    let requests: serde_json::Value = world.http.get(url).send().await.unwrap().json().await.unwrap();
    requests["requests"].as_array().map_or(0, Vec::len)
}
