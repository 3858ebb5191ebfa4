use axum::body::BodyDataStream;
use futures_util::StreamExt as _;

use super::*;

/// Reads a stream event by event.
struct Events {
    body: BodyDataStream,
    text: String,
}

/// Name, id and data of an event.
type Got = (String, Option<i64>, Value);

impl Events {
    async fn open(door: &Door, path: &str, last: Option<i64>) -> Self {
        let request = request("GET", path);
        let request = match last {
            Some(last) => request.header("last-event-id", last.to_string()),
            None => request,
        };
        let response = door.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event; none when the stream is over.
    async fn next(&mut self) -> Option<Got> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let part =
                    |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let Some(data) = part("data: ") {
                    let id = part("id: ").map(|id| id.parse().unwrap());
                    return Some((part("event: ").unwrap(), id, serde_json::from_str(&data).unwrap()));
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(5), self.body.next())
                .await
                .expect("no event came")?;
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    async fn names(mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Some((name, ..)) = self.next().await {
            names.push(name);
        }
        names
    }
}

#[tokio::test]
async fn a_run_is_watched_from_its_beginning_to_its_end() {
    let door = Door::open().await;
    let id = door.run("hello").await;
    let path = format!("/api/runs/{id}/events");
    let mut events = Events::open(&door, &path, None).await;
    let (name, seq, data) = events.next().await.unwrap();
    assert_eq!(
        (name.as_str(), seq, &data["seq"], &data["type"]),
        ("created", Some(1), &json!(1), &json!("created"))
    );
    assert_eq!((&data["ts"], &data["project"]), (&json!("2027-01-15T08:00:00Z"), &json!("Fabrikam")));
    assert_eq!(events.next().await.unwrap().2["text"], "hello");

    let claim = door.claim().await;
    door.state.journal.words(&id, 1, true, "Hel");
    let (name, seq, data) = events.next().await.unwrap();
    assert_eq!((name.as_str(), seq, data), ("delta", None, json!({"turn": 1, "offset": 0, "text": "Hel"})));
    door.state.journal.words(&id, 1, false, "lo");
    assert_eq!(events.next().await.unwrap().2, json!({"turn": 1, "offset": 3, "text": "lo"}));

    // Who comes in the middle of a turn gets it from its beginning, after the log.
    let mut late = Events::open(&door, &path, Some(1)).await;
    assert_eq!(late.next().await.unwrap().1, Some(2));
    assert_eq!(late.next().await.unwrap().2, json!({"turn": 1, "offset": 0, "text": "Hello"}));
    drop(late);

    door.append(&claim, vec![replied(1, "Hello")]).await;
    assert_eq!(events.next().await.unwrap().0, "replied");
    // Words that come after their turn is complete are not shown again.
    door.state.journal.words(&id, 1, true, "Hel");
    door.append(&claim, vec![finished(Status::Done, "Hello", None)]).await;
    assert_eq!(events.next().await.unwrap().0, "finished");
    assert_eq!(events.next().await.unwrap(), ("end".into(), None, json!({"status": "done", "seq": 4})));
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_left() {
    let door = Door::open().await;
    let id = door.run("hello").await;
    let claim = door.claim().await;
    door.append(&claim, vec![replied(1, "a"), finished(Status::Done, "a", None)]).await;
    let path = format!("/api/runs/{id}/events");
    let all = ["created", "message", "replied", "finished", "end"];
    assert_eq!(Events::open(&door, &path, None).await.names().await, all);
    assert_eq!(Events::open(&door, &path, Some(3)).await.names().await, all[3..]);
    assert_eq!(Events::open(&door, &format!("{path}?after=2"), None).await.names().await, all[2..]);
    // The header is the newer one: the browser sends it on reconnect with the old address.
    assert_eq!(Events::open(&door, &format!("{path}?after=1"), Some(4)).await.names().await, all[4..]);
    assert_eq!(Events::open(&door, &format!("{path}?after=99"), None).await.names().await, all[4..]);
    for bad in ["-1", "x", ""] {
        assert_eq!(door.get(&format!("{path}?after={bad}")).await.problem().0, 400);
    }
}

#[tokio::test]
async fn a_watcher_that_lags_misses_no_entry() {
    let door = Door::open().await;
    let id = door.run("hello").await;
    let claim = door.claim().await;
    let mut events = Events::open(&door, &format!("/api/runs/{id}/events"), None).await;
    assert_eq!(events.next().await.unwrap().1, Some(1));
    // More notices than are held, while nobody reads.
    for n in 0..400 {
        door.state.journal.words(&id, 1, n == 0, "x");
    }
    let trouble = |n| Entry::Trouble { what: format!("{n}"), remedy: None };
    door.append(&claim, (0..1_500).map(trouble).collect()).await;
    let mut seqs = Vec::new();
    let mut words = None;
    while seqs.last() != Some(&1_502) || words.is_none() {
        match events.next().await.unwrap() {
            (_, Some(seq), _) => seqs.push(seq),
            (_, None, data) => words = Some(data),
        }
    }
    assert_eq!(seqs, (2..=1_502).collect::<Vec<i64>>());
    assert_eq!(words.unwrap(), json!({"turn": 1, "offset": 0, "text": "x".repeat(400)}));
}

#[tokio::test]
async fn streams_end_when_the_process_does_and_are_bounded() {
    let door = Door::open().await;
    let id = door.run("hello").await;
    let path = format!("/api/runs/{id}/events");
    let mut open = Vec::new();
    for _ in 0..MAX_WATCHERS {
        open.push(Events::open(&door, &path, None).await);
    }
    assert_eq!(door.get(&path).await.problem().0, 503);
    let first = open.swap_remove(0);
    drop(open);
    door.state.closing.cancel();
    assert_eq!(first.names().await, ["created", "message"]);
}

#[tokio::test]
async fn serving_ends_soon_although_somebody_watches() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let door = Door::open().await;
    let id = door.run("hello").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(listener, door.router.clone(), door.state.closing.clone()));
    let mut watcher = tokio::net::TcpStream::connect(address).await.unwrap();
    let ask = format!("GET /api/runs/{id}/events HTTP/1.1\r\nhost: {address}\r\n\r\n");
    watcher.write_all(ask.as_bytes()).await.unwrap();
    let mut some = [0; 64];
    assert!(watcher.read(&mut some).await.unwrap() > 0);
    door.state.closing.cancel();
    tokio::time::timeout(DRAIN / 2, serving).await.expect("the watcher was waited for").unwrap().unwrap();
}
