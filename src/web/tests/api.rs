use sha2::{Digest as _, Sha256};

use super::*;

#[tokio::test]
async fn a_run_is_asked_for_and_read_back() {
    let door = Door::open().await;
    let answer = door
        .post("/api/runs", json!({"instruction": " Fix it ", "project": "fabrikam", "repository": null}))
        .await;
    assert_eq!(answer.status, 202);
    let (id, url) = (answer.json()["id"].as_str().unwrap().to_owned(), answer.json()["url"].clone());
    assert_eq!(url, format!("http://127.0.0.1:4192/runs/{id}"));
    assert_eq!(answer.headers["location"], url.as_str().unwrap());

    let claim = door.claim().await;
    door.append(
        &claim,
        vec![
            started(1, "create_work_item", json!({"title": "Fix it"})),
            tool_done(
                1,
                "create_work_item",
                Outcome {
                    ok: true,
                    target_url: Some("http://127.0.0.1:4193/contoso/1".into()),
                    links: vec![link("work_item", "Issue 1", "_workitems/edit/1")],
                    ..Outcome::default()
                },
            ),
            started(2, "read_file", json!({"path": "/a"})),
        ],
    )
    .await;
    let run = door.get(&format!("/api/runs/{id}")).await.json();
    assert_eq!(
        (&run["status"], &run["instruction"], &run["source"]),
        (&json!("running"), &json!("Fix it"), &json!("chat"))
    );
    assert_eq!(
        (&run["requested_by"], &run["answer"], &run["created_at"]),
        (&json!("bob"), &json!(null), &json!("2027-01-15T08:00:00Z"))
    );
    assert!(run.get("waiting_for").is_none());
    assert_eq!(
        run["steps"],
        json!([
            {"seq": 2, "kind": "message", "status": "ok", "duration_ms": null, "text": "Fix it"},
            {"seq": 3, "kind": "tool", "tool": "create_work_item", "status": "ok",
             "target_url": "http://127.0.0.1:4193/contoso/1", "duration_ms": 140},
            {"seq": 5, "kind": "tool", "tool": "read_file", "status": "running", "duration_ms": null},
        ])
    );
    assert_eq!(
        run["links"],
        json!([{"kind": "work_item", "title": "Issue 1",
        "url": "http://127.0.0.1:4193/contoso/Fabrikam/_workitems/edit/1"}])
    );

    let waits =
        Entry::Waiting { waiting_for: WaitingFor::Person, reason: "Which one?".into(), wake_at: None };
    door.append(&claim, vec![replied(1, "Hm."), waits]).await;
    let run = door.get(&format!("/api/runs/{id}")).await.json();
    assert_eq!(
        (&run["status"], &run["waiting_for"], &run["waiting_reason"]),
        (&json!("waiting"), &json!("person"), &json!("Which one?"))
    );
    assert_eq!(run["usage"], json!({"input": 3210, "cached": 1024, "output": 87}));
    let list = door.get("/api/runs").await.json();
    assert_eq!(list["runs"].as_array().unwrap().len(), 1);
    assert_eq!(list["runs"][0]["id"], id.as_str());
}

#[tokio::test]
async fn lists_page_back() {
    let door = Door::open().await;
    for n in 0..5 {
        door.run(&format!("run {n}")).await;
        door.state.clock.advance(Duration::from_secs(1));
    }
    let page = door.get("/api/runs?limit=2").await.json();
    let names = |page: &Value| {
        page["runs"].as_array().unwrap().iter().map(|r| r["instruction"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&page), ["run 4", "run 3"]);
    let before = page["runs"][1]["created_at"].as_str().unwrap();
    assert_eq!(
        names(&door.get(&format!("/api/runs?limit=2&before={before}")).await.json()),
        ["run 2", "run 1"]
    );
    for bad in ["/api/runs?limit=0", "/api/runs?limit=201", "/api/runs?limit=x", "/api/runs?before=yesterday"]
    {
        assert_eq!(door.get(bad).await.problem().0, 400, "{bad}");
    }
}

#[tokio::test]
async fn bad_requests_are_answered_with_what_to_do() {
    let door = Door::open().await;
    let id = door.run("hello").await;
    let long = "é".repeat(input::MAX_INSTRUCTION_CHARS + 1);
    let enormous = "x".repeat(input::MAX_BODY_BYTES + 1);
    let (messages, nobody) =
        (format!("/api/runs/{id}/messages"), "/api/runs/00000000000000000000000000000000");
    let cases = [
        ("/api/runs", json!({"instruction": " \n "}), 400, "empty"),
        ("/api/runs", json!({"instruction": long}), 413, "16000"),
        ("/api/runs", json!({"instruction": enormous}), 413, "larger"),
        ("/api/runs", json!({"instruction": 7}), 400, "cannot be read"),
        ("/api/runs", json!({"instruction": "x", "branch": "y"}), 400, "branch"),
        ("/api/runs", json!({"instruction": "x", "project": "Other"}), 404, "'Fabrikam'"),
        ("/api/runs", json!({"instruction": "x", "repository": "other"}), 404, "'web-shop'"),
        (&messages, json!({"text": ""}), 400, "empty"),
        (&messages, json!({"text": long}), 413, "16000"),
        (&format!("{nobody}/messages"), json!({"text": "x"}), 404, "no run"),
        (&format!("{nobody}/cancel"), json!({}), 404, "no run"),
        ("/api/runs/nonsense/messages", json!({"text": "x"}), 404, "no run nonsense"),
        ("/api/events/nonsense/redeliver", json!({}), 404, "no event"),
        ("/api/nowhere", json!({}), 404, "nothing at this address"),
        ("/api/openapi.json", json!({}), 405, "method"),
    ];
    for (path, body, status, says) in cases {
        let (got, detail) = door.post(path, body).await.problem();
        assert_eq!(got, status, "{path}: {detail}");
        assert!(detail.contains(says), "{path}: {detail}");
    }
    for path in [nobody, &format!("{nobody}/events"), "/api/audit/00000000000000000000000000000000"] {
        assert_eq!(door.get(path).await.problem().0, 404, "{path}");
    }
    let untyped = request("POST", "/api/runs").body(Body::from(r#"{"instruction":"x"}"#)).unwrap();
    assert_eq!(door.send(untyped).await.problem().0, 415);
    let most = "é".repeat(input::MAX_INSTRUCTION_CHARS);
    assert_eq!(door.post("/api/runs", json!({"instruction": most})).await.status, 202);
}

#[tokio::test]
async fn a_run_is_steered_stopped_and_reopened() {
    let door = Door::open().await;
    let id = door.run("hello").await;
    let claim = door.claim().await;
    let (messages, cancel) = (format!("/api/runs/{id}/messages"), format!("/api/runs/{id}/cancel"));
    let answer = door.post(&messages, json!({"text": "faster"})).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (202, json!({"id": id, "seq": 3})));
    assert_eq!(door.post(&cancel, json!({})).await.status, 202);
    door.append(&claim, vec![finished(Status::Cancelled, "Stopped.", None)]).await;
    let (status, detail) = door.post(&cancel, json!({})).await.problem();
    assert_eq!(status, 409, "{detail}");
    assert_eq!(door.get(&format!("/api/runs/{id}")).await.json()["status"], "cancelled");
    door.post(&messages, json!({"text": "go on"})).await;
    assert_eq!(door.get(&format!("/api/runs/{id}")).await.json()["status"], "queued");
}

#[tokio::test]
async fn the_record_can_be_checked_by_anyone() {
    let door = Door::open().await;
    let id = door.run("hello").await;
    let claim = door.claim().await;
    door.append(&claim, vec![replied(1, "Hi."), finished(Status::Done, "Hi.", None)]).await;
    let answer = door.get(&format!("/api/audit/{id}")).await;
    let record = answer.json();
    assert_eq!((&record["run"], &record["first_fault"]), (&json!(id), &json!(null)));
    let mut prev = String::new();
    for entry in record["entries"].as_array().unwrap() {
        // By the rule that openapi.json gives, from what stands in the answer.
        let body = serde_json::to_string(&entry["entry"]).unwrap();
        assert!(answer.body.contains(&body));
        let salt = entry["salt"].as_str().unwrap();
        let salt: Vec<u8> =
            (0..salt.len()).step_by(2).map(|i| u8::from_str_radix(&salt[i..i + 2], 16).unwrap()).collect();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &salt);
        let tag = ring::hmac::sign(&key, body.as_bytes());
        let commitment = format!("hmac-sha256:{}", crate::digest::hex(tag.as_ref()));
        assert_eq!(entry["commitment"], commitment);
        let (seq, ts) = (&entry["seq"], &entry["ts_us"]);
        let text = format!("ado-coworker log v2\n{prev}\n{id}\n{seq}\n{ts}\n{commitment}");
        let hash = format!("sha256:{}", crate::digest::hex(&Sha256::digest(text.as_bytes())));
        assert_eq!(
            (entry["prev"].as_str(), entry["hash"].as_str()),
            (Some(prev.as_str()), Some(hash.as_str()))
        );
        prev = hash;
    }
    door.sql("UPDATE log SET body = NULL, salt = NULL WHERE seq = 4").await;
    let record = door.get(&format!("/api/audit/{id}")).await.json();
    assert_eq!((&record["first_fault"], &record["entries"][3]["entry"]), (&json!(null), &json!(null)));
    door.sql("UPDATE log SET body = 'no json' WHERE seq = 3").await;
    let record = door.get(&format!("/api/audit/{id}")).await.json();
    assert_eq!((&record["first_fault"], &record["entries"][2]["entry"]), (&json!(3), &json!("no json")));
    assert_eq!(door.get(&format!("/api/runs/{id}")).await.problem().0, 500);
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let door = Door::open().await;
    assert_eq!(door.get("/healthz").await.json(), json!({"status": "ok"}));
    assert_eq!(door.get("/readyz").await.json(), json!({"status": "ready"}));
    door.state.ready.waits("worker", "it has not started");
    let (status, detail) = door.get("/readyz").await.problem();
    assert!(status == 503 && detail.contains("worker: it has not started"), "{detail}");
    door.state.ready.up("worker");
    door.state.closing.cancel();
    assert!(door.get("/readyz").await.problem().1.contains("ending"));
}

#[tokio::test]
async fn a_failing_journal_is_said_to_fail() {
    let door = Door::open().await;
    let id = door.run("hello").await;
    door.sql("ALTER TABLE runs RENAME TO gone").await;
    for answer in [
        door.post("/api/runs", json!({"instruction": "x"})).await,
        door.get("/api/runs").await,
        door.get(&format!("/api/runs/{id}")).await,
        door.post(&format!("/api/runs/{id}/messages"), json!({"text": "x"})).await,
    ] {
        let (status, detail) = answer.problem();
        assert!(status == 503 && detail.contains("Nothing was changed"), "{detail}");
        assert_eq!(answer.headers["retry-after"], "5");
        // What the database said is for the log only.
        assert!(!answer.body.contains("no such table"));
    }
    assert_eq!(door.get("/readyz").await.problem().0, 503);
    let page = door.get("/").await;
    assert!(page.status == 503 && page.body.contains("<h1") && page.body.contains("Not available right now"));
}

#[tokio::test]
async fn a_page_of_another_site_can_do_nothing() {
    let door = Door::open().await;
    let foreign = |name: &'static str, value: &'static str| {
        request("POST", "/api/runs")
            .header("content-type", "application/json")
            .header(name, value)
            .body(Body::from(r#"{"instruction":"x"}"#))
            .unwrap()
    };
    assert_eq!(door.send(foreign("sec-fetch-site", "cross-site")).await.problem().0, 403);
    assert_eq!(door.send(foreign("origin", "https://evil.example")).await.problem().0, 403);
    assert_eq!(door.send(foreign("origin", "http://127.0.0.1:4192")).await.status, 202);
    let rebound =
        Request::builder().uri("/api/runs").header("host", "evil.example").body(Body::empty()).unwrap();
    assert_eq!(door.send(rebound).await.problem().0, 421);
    assert_eq!(door.state.journal.unfinished().await.unwrap(), 1);
    for path in ["/", "/api/runs", "/nowhere", "/static/app.js"] {
        let headers = door.get(path).await.headers;
        assert!(
            headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
    }
}

#[tokio::test]
async fn a_container_published_on_loopback_is_guarded_too() {
    let public_url = Some(Url::parse("http://localhost:4192").unwrap());
    let listen_address = SocketAddr::from(([0, 0, 0, 0], 4192));
    let config = config::Web { public_url, listen_address, ..settings() };
    let door = Door::with(config.clone(), Clock::Real).await;
    let from =
        |host: &str| Request::builder().uri("/healthz").header("host", host).body(Body::empty()).unwrap();
    assert_eq!(door.send(from("evil.example")).await.problem().0, 421);
    assert_eq!(door.send(from("localhost:4192")).await.status, 200);
    // Behind a proxy any name may come.
    let door = Door::with(config::Web { public_url: None, ..config }, Clock::Real).await;
    assert_eq!(door.send(from("10.1.2.3:4192")).await.status, 200);
}
