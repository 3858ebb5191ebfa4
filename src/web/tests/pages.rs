use super::*;

#[tokio::test]
async fn a_conversation_works_without_javascript() {
    let door = Door::open().await;
    let page = door.get("/").await;
    assert!(
        page.status == 200 && page.body.contains("Fix login timeout") && page.body.contains("No runs yet")
    );
    let answer = door.form("/runs", "Do <this>\r\nnow").await;
    assert_eq!(answer.status, 303);
    let run = answer.headers["location"].to_str().unwrap().to_owned();
    let page = door.get(&run).await;
    assert!(page.body.contains("Do &#60;this&#62;\nnow"), "{}", page.body);
    assert!(page.body.contains("http-equiv=\"refresh\"") && page.body.contains(">Stop</button>"));
    let answer = door.form(&format!("{run}/messages"), "faster").await;
    assert_eq!(answer.headers["location"], format!("{run}#step-3"));
    assert_eq!(door.form(&format!("{run}/cancel"), "").await.headers["location"], run.as_str());
    assert!(door.get(&run).await.body.contains("Stopping"));
    assert!(door.get("/").await.body.contains(&run));
}

#[tokio::test]
async fn the_doctor_shows_each_check_with_its_remedy() {
    let door = Door::open().await;
    let page = door.get("/doctor").await;
    assert_eq!(page.status, 200);
    for words in ["Failed: 1", "&#60;two&#62; was looked at.", "Mend it.", "Check again"] {
        assert!(page.body.contains(words), "{words} is not in {}", page.body);
    }
    assert_eq!(door.form("/doctor", "").await.headers["location"], "/doctor");
    let checks = door.get("/api/doctor").await.json();
    assert_eq!(checks["checks"][1]["status"], "failed");
    assert_eq!(checks["checks"][0]["remedy"], "");
}

#[tokio::test]
async fn what_is_wrong_is_said_on_a_page() {
    let door = Door::open().await;
    let cases = [
        ("/nowhere", 404, "nothing at this address"),
        ("/runs/nonsense", 404, "no run nonsense"),
        ("/runs/00000000000000000000000000000000", 404, "no run 0000"),
        ("/events/nonsense", 404, "no event nonsense"),
        ("/runs?limit=0", 400, "Give a whole number"),
    ];
    for (path, status, says) in cases {
        let page = door.get(path).await;
        assert_eq!(
            (page.status.as_u16(), &page.headers["content-type"].to_str().unwrap()[..9]),
            (status, "text/html")
        );
        assert!(page.body.contains(says) && page.body.contains("<main"), "{path}: {}", page.body);
    }
    let long = "é".repeat(input::MAX_INSTRUCTION_CHARS + 1);
    let page = door.form("/runs", &long).await;
    assert!(
        page.status == 413 && page.body.contains("16000") && page.body.contains(&long),
        "what was typed is lost"
    );
    let run = format!("/runs/{}", door.run("x").await);
    let page = door.form(&format!("{run}/messages"), " ").await;
    assert!(page.status == 400 && page.body.contains("role=\"alert\">The text is empty"), "{}", page.body);
    // A fragment that fails is not a page inside a page.
    let request = request("GET", "/runs/nonsense/timeline").header("x-fragment", "1");
    assert_eq!(door.send(request.body(Body::empty()).unwrap()).await.problem().0, 404);
}

#[tokio::test]
async fn an_update_has_only_what_changed() {
    let door = Door::open().await;
    let id = door.run("hello").await;
    let claim = door.claim().await;
    let whole = story::work();
    door.append(&claim, whole[0].clone()).await;
    let after = |seq: i64| format!("/runs/{id}/timeline?after={seq}");
    let articles = |text: &str| text.matches("id=\"step-").count();
    assert_eq!(articles(&door.get(&after(0)).await.body), 2);
    assert_eq!(articles(&door.get(&after(3)).await.body), 0);
    door.append(&claim, whole[1].clone()).await;
    let update = door.get(&after(3)).await.body;
    assert!(
        articles(&update) == 1 && update.contains("id=\"step-3\"") && update.contains("data-seq=\"5\""),
        "{update}"
    );
    // The page shows the same articles, word for word.
    let page = door.get(&format!("/runs/{id}")).await.body;
    let article = |text: &str| {
        text[text.find("<article id=\"step-3\"").unwrap()..].split("</article>").next().unwrap().to_owned()
    };
    assert_eq!(article(&page), article(&update));
}

#[tokio::test]
async fn an_event_waits_for_its_fate_and_shows_it() {
    let door = Door::open().await;
    let journal = &door.state.journal;
    let event = crate::event::OutsideEvent::WorkItemChanged { work_item_id: 1 };
    let id = journal.receive("workitem.updated:1", "work item <1> updated", event, None).await.unwrap().id;
    let page = door.get(&format!("/events/{id}")).await;
    assert!(page.headers["refresh"] == "2" && page.body.contains("work item &#60;1&#62; updated"));
    let ignored = crate::journal::IntakeStatus::Ignored;
    let judging = journal.claim_intake(LEASE).await.unwrap().unwrap();
    journal.settle(&judging, ignored, Some("its own echo".into()), None).await.unwrap();
    let page = door.get(&format!("/events/{id}")).await;
    assert!(page.headers.get("refresh").is_none() && page.body.contains("its own echo"));
    assert!(door.get("/events").await.body.contains("its own echo"));
    let answer = door.form(&format!("/events/{id}/redeliver"), "").await;
    assert_eq!(answer.headers["location"], format!("/events#event-{id}"));
    assert!(door.get("/events").await.body.contains("Not looked at yet"));
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere_and_have_nothing_inline() {
    let door = Door::open().await;
    let id = door.run("hello").await;
    for path in ["/", "/runs", "/events", "/nowhere", &format!("/runs/{id}")] {
        let page = door.get(path).await.body;
        for bad in ["<style", " style=", "<script>", "javascript:", " onclick", "src=\"http", "href=\"//"] {
            assert!(!page.contains(bad), "{path} has {bad}");
        }
        for part in page.split("\"/static/").skip(1) {
            let file = format!("/static/{}", part.split('"').next().unwrap());
            let answer = door.get(&file).await;
            assert!(
                answer.status == 200
                    && answer.headers["cache-control"].to_str().unwrap().contains("immutable")
            );
        }
    }
}

/// The story's run as a row and a log, with times and ids that stay the same.
fn story_shown(status: Status, portions: usize, after: i64) -> String {
    let mut entries = vec![message("bob", story::INSTRUCTION)];
    entries.extend(story::work().into_iter().take(portions).flatten());
    shown(status, entries, after)
}

fn shown(status: Status, entries: Vec<Entry>, after: i64) -> String {
    let id = RunId::parse("0190d3b0f0007000800000000000abcd").unwrap();
    let start = 1_800_000_000_000_000;
    let log: Vec<crate::journal::Logged> = (2..)
        .zip(entries)
        .map(|(seq, entry)| crate::journal::Logged {
            seq,
            ts: start + seq * 500_000,
            body: String::new(),
            entry,
        })
        .collect();
    let row = crate::journal::RunRow {
        id,
        status,
        waiting_for: None,
        instruction: story::INSTRUCTION.into(),
        source: Source::Chat,
        requested_by: "bob".into(),
        subject: None,
        created_at: start,
        updated_at: start,
        last_seq: log.len() as i64 + 1,
        head: String::new(),
        signed_to: 0,
    };
    let now = Timestamp::from_second(1_800_000_009).unwrap();
    let run = crate::web::shown::RunShown::new(&row, &log, after, now);
    askama::Template::render(&crate::web::pages::Timeline { run }).unwrap()
}

fn snapshot(name: &str, html: &str) {
    insta::with_settings!({snapshot_path => "../snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(name, html);
    });
}

#[test]
fn the_timeline_of_a_finished_run() {
    snapshot("finished", &story_shown(Status::Done, usize::MAX, 0));
}

#[test]
fn the_timeline_of_a_run_under_way() {
    snapshot("under_way", &story_shown(Status::Running, 3, 3));
}

#[tokio::test]
async fn the_fragments_around_the_timeline() {
    let door = Door::open().await;
    let main = |page: &str| page[page.find("<main").unwrap()..page.find("</main>").unwrap()].to_owned();
    let event = crate::event::OutsideEvent::WorkItemChanged { work_item_id: 1 };
    let id = door
        .state
        .journal
        .receive("workitem.updated:1", "work item 1 updated", event, None)
        .await
        .unwrap()
        .id;
    let run = door.run(story::INSTRUCTION).await;
    let running = crate::journal::IntakeStatus::Running;
    let judging = door.state.journal.claim_intake(LEASE).await.unwrap().unwrap();
    door.state.journal.settle(&judging, running, None, Some(run.clone())).await.unwrap();
    let claim = door.claim().await;
    let why = "Which of the two, `a` or `b`?".to_owned();
    let waits = Entry::Waiting { waiting_for: WaitingFor::Person, reason: why, wake_at: None };
    door.append(&claim, vec![waits]).await;
    let hide = |text: String| text.replace(run.as_str(), "[run]").replace(&id, "[event]");
    snapshot("home", &hide(main(&door.get("/").await.body)));
    snapshot("events", &hide(main(&door.get("/events").await.body)));
    snapshot("waiting", &hide(main(&door.get(&format!("/runs/{run}")).await.body)));
    snapshot("not_found", &main(&door.get("/nowhere").await.body));
}

#[test]
fn the_timeline_of_a_run_that_failed() {
    let end = finished(Status::Failed, "Azure DevOps did not answer.", Some("Say 'go on' when it does."));
    snapshot("failed", &shown(Status::Failed, vec![message("bob", "x"), end], 0));
}

#[test]
fn what_tools_and_models_say_stays_text() {
    let nasty = r#"<img src=x onerror=alert(1)> "quoted" \u{202e}"#;
    let outcome = Outcome {
        ok: true,
        content: json!({"text": nasty}).to_string(),
        summary: nasty.into(),
        target_url: Some("javascript:alert(1)".into()),
        links: vec![Link { kind: nasty.into(), title: nasty.into(), url: "data:text/html,x".into() }],
        diff: Some(format!("--- a/{nasty}\n+++ b/{nasty}\n@@ -0,0 +1 @@\n+{nasty}\n")),
    };
    let entries = vec![
        message(nasty, nasty),
        started(1, nasty, json!({nasty: nasty, "deep": [{"x": nasty}]})),
        denied(1, nasty),
        tool_done(1, nasty, outcome),
        replied(1, nasty),
        Entry::Trouble { what: nasty.into(), remedy: Some(nasty.into()) },
        finished(Status::Failed, nasty, Some(nasty)),
    ];
    let html = shown(Status::Failed, entries, 0);
    for bad in ["<img", "javascript:", "data:text", "=\"\"quoted"] {
        assert!(!html.contains(bad), "{bad} is in {html}");
    }
}
