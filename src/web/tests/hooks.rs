use base64::Engine as _;

use super::*;
use crate::journal::IntakeStatus;

const PATH: &str = "/webhooks/azure-devops";

fn basic(pair: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

impl Door {
    async fn deliver(&self, authorization: Option<&str>, body: impl Into<Body>) -> Answer {
        let request = request("POST", PATH).header("content-type", "application/json");
        let request = match authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        };
        self.send(request.body(body.into()).unwrap()).await
    }
}

fn update(id: &str) -> String {
    json!({"id": id, "eventType": "workitem.updated", "resource": {"id": 3, "workItemId": 17}}).to_string()
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_nothing_is_written() {
    let door = Door::open().await;
    let good = basic("hook:s3cret:with colon");
    let wrong = [
        basic("hook:s3cret"),
        basic("Hook:s3cret:with colon"),
        basic("hook"),
        basic(""),
        "Basic !!!".into(),
        "Basic".into(),
        good.replace("Basic", "Bearer"),
        format!("{good}x"),
    ];
    for value in wrong.iter().map(|v| Some(v.as_str())).chain([None]) {
        let answer = door.deliver(value, update("e")).await;
        assert_eq!(answer.problem().0, 401, "{value:?}");
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Basic realm="));
    }
    assert_eq!(door.state.journal.intake(10).await.unwrap(), []);
    assert_eq!(door.deliver(Some(&good.replace("Basic", "basic")), update("e")).await.status, 200);

    let closed = Door::with(config::Web { webhook: None, ..settings() }, Clock::Real).await;
    let (status, detail) = closed.deliver(Some(&good), update("e")).await.problem();
    assert!(status == 401 && detail.contains("WEBHOOK_USERNAME"), "{detail}");
}

#[tokio::test]
async fn a_delivery_is_written_down_once() {
    let door = Door::open().await;
    let good = basic("hook:s3cret:with colon");
    let first = door.deliver(Some(&good), update("e1")).await.json();
    let again = door.deliver(Some(&good), update("e1")).await.json();
    assert_eq!(
        (&first["status"], &again["status"], &first["id"]),
        (&json!("received"), &json!("duplicate"), &again["id"])
    );
    assert_eq!(first["url"], format!("http://127.0.0.1:4192/events/{}", first["id"].as_str().unwrap()));
    let listed = door.get("/api/events").await.json();
    let event = &listed["events"][0];
    assert_eq!(
        (&event["type"], &event["status"], &event["summary"]),
        (&json!("workitem.updated"), &json!("received"), &json!("work item 17 updated"))
    );

    // It waits a little for others about the same thing. Its fate follows its run.
    assert_eq!(door.state.journal.claim_intake(LEASE).await.unwrap(), None);
    door.state.clock.advance(Duration::from_secs(4));
    let judging = door.state.journal.claim_intake(LEASE).await.unwrap().unwrap();
    let row = &judging.events[0];
    let run = door.run("woken").await;
    let running = IntakeStatus::Running;
    assert!(door.state.journal.settle(&judging, running, None, Some(run.clone())).await.unwrap());
    assert_eq!(door.get("/api/events").await.json()["events"][0]["status"], "running");
    let claim = door.claim().await;
    door.append(&claim, vec![finished(Status::Failed, "No.", None)]).await;
    let event = door.get("/api/events").await.json()["events"][0].clone();
    assert_eq!((&event["status"], &event["run"]), (&json!("failed"), &json!(run)));
    assert_eq!(door.get(&format!("/events/{}", row.id)).await.headers["location"], format!("/runs/{run}"));

    let answer = door.post(&format!("/api/events/{}/redeliver", row.id), json!({})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (202, &json!("received")));
    assert!(door.state.journal.claim_intake(LEASE).await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_not_understood_is_ignored_with_its_reason_and_never_refused() {
    let door = Door::open().await;
    let good = basic("hook:s3cret:with colon");
    let cases: [(&[u8], &str); 9] = [
        (b"", "not a JSON object"),
        (b"{", "not a JSON object"),
        (b"[1,2]", "not a JSON object"),
        (b"\xff\xfe\x00", "not a JSON object"),
        (b"\"text\"", "not a JSON object"),
        (br#"{"eventType":"workitem.created"}"#, "no id"),
        (br#"{"id":"1"}"#, "no eventType"),
        (br#"{"id":"1","eventType":"tfvc.checkin"}"#, "tfvc.checkin"),
        (br#"{"id":"2","eventType":"workitem.created","resource":{"id":"seven"}}"#, "lacks its ids"),
    ];
    for (body, says) in cases {
        let first = door.deliver(Some(&good), body.to_vec()).await;
        assert_eq!((first.status.as_u16(), &first.json()["status"]), (200, &json!("ignored")), "{body:?}");
        let row = door.state.journal.intake_row(first.json()["id"].as_str().unwrap()).await.unwrap().unwrap();
        assert!(row.reason.as_deref().unwrap().contains(says), "{row:?}");
        assert_eq!(door.deliver(Some(&good), body.to_vec()).await.json()["status"], "duplicate");
    }
    assert_eq!(door.state.journal.claim_intake(LEASE).await.unwrap(), None);
}

#[tokio::test]
async fn too_much_is_refused_and_a_failing_journal_asks_to_come_again() {
    let door = Door::open().await;
    let good = basic("hook:s3cret:with colon");
    let most = 4 * 1024 * 1024;
    let (status, detail) = door.deliver(Some(&good), vec![b' '; most + 1]).await.problem();
    assert!(status == 413 && detail.contains("4194304"), "{detail}");
    // Without an announced length, too.
    let chunks = futures_util::stream::iter((0..5).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024 * 1024])));
    assert_eq!(door.deliver(Some(&good), Body::from_stream(chunks)).await.problem().0, 413);
    assert_eq!(door.deliver(Some(&good), vec![b' '; most]).await.status, 200);

    door.sql("ALTER TABLE intake RENAME TO gone").await;
    let answer = door.deliver(Some(&good), update("e9")).await;
    assert_eq!(answer.problem().0, 503);
    assert_eq!(answer.headers["retry-after"], "5");
}
