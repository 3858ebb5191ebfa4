//! Headers, sign-in, waiting, limits: what every request has in common.

use super::*;
use crate::trace::Span;

fn own((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[tokio::test]
async fn a_request_carries_what_the_service_wants_and_nothing_else_is_needed() {
    let world = world().await;
    let body = json!({ "id": "r", "name": "web-shop", "defaultBranch": "refs/heads/main", "size": 1, "new": [1],
                       "project": { "id": "p", "name": "Fabrikam", "state": "wellFormed" } });
    let mut bytes = b"\xef\xbb\xbf".to_vec();
    bytes.extend(body.to_string().into_bytes());
    world.service.say(200, &[], bytes);
    let run = Span::of_run("11111111222233334444555555555555", true, "a run", Vec::new);
    let found = run.over(world.client.repository(&shop())).await.unwrap();
    assert_eq!(found.default_branch, Some(branch("main")));
    assert!(found.web_url.ends_with("/contoso/Fabrikam/_git/web-shop"), "{}", found.web_url);
    let seen = &world.service.seen()[0];
    assert_eq!(seen.path, "/contoso/Fabrikam/_apis/git/repositories/web-shop");
    assert_eq!(seen.query["api-version"], "7.1");
    let header = |name: &str| seen.headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert!(header("authorization").starts_with("Bearer eyJ"));
    assert_eq!(
        (header("accept"), header("x-tfs-fedauthredirect")),
        ("application/json".into(), "Suppress".into())
    );
    assert_eq!(header("x-tfs-session"), "11111111-2222-3333-4444-555555555555", "all of a run");
    let (trace, span) = header("traceparent").strip_prefix("00-").unwrap().split_once('-').map(own).unwrap();
    assert_eq!(trace, "11111111222233334444555555555555");
    assert_eq!(header("x-vss-e2eid").replace('-', ""), format!("1111111122223333{}", &span[..16]));
}

#[tokio::test]
async fn a_rejected_token_is_renewed_once_and_then_it_is_said() {
    let world = world().await;
    let page = b"<html>Sign In</html>".to_vec();
    world.service.say(203, &[("content-type", "text/html")], page.clone());
    world.service.json(json!({ "authenticatedUser": { "id": "me", "providerDisplayName": "ado-coworker" } }));
    assert_eq!(world.client.who_am_i().await.unwrap().id, "me");
    assert_eq!((world.service.seen().len(), world.sidecar.count()), (2, 2));
    let tokens: Vec<_> =
        world.service.seen().iter().map(|seen| seen.headers["authorization"].clone()).collect();
    assert_ne!(tokens[0], tokens[1]);

    world.service.say(302, &[("location", "https://spsprod.vssps.visualstudio.com/_signin")], "");
    world.service.say(
        401,
        &[],
        json!({ "message": "TF400813: The user 'x' is not authorized." }).to_string(),
    );
    let error = world.client.perform(permit(reply("x"))).await.unwrap_err();
    assert!(matches!(error, Error::SignInRequired(_)), "{error}");
    assert!(error.remedy().contains("Basic access") && !error.may_have_happened());
    assert_eq!(world.service.seen().len(), 4);
    assert!(!format!("{error} {error:?}").contains("eyJ"));
}

#[tokio::test]
async fn throttling_is_waited_out_for_reads_and_writes() {
    let world = world().await;
    for _ in 0..2 {
        world.service.say(429, &[("retry-after", "3")], "");
    }
    world.service.json(json!({ "value": null }));
    let before = world.clock.now();
    assert_eq!(in_time(&world.clock, world.client.threads(&shop(), 1)).await.unwrap(), vec![]);
    assert!(world.clock.now().duration_since(before).as_secs() >= 6);

    world.service.say(429, &[], "");
    world.service.json(json!({ "id": 2, "author": { "id": "me" } }));
    let effect = in_time(&world.clock, world.client.perform(permit(reply("x")))).await.unwrap();
    assert_eq!((effect.id.as_deref(), effect.comment_id), (Some("3"), Some(2)));
    assert_eq!(world.service.seen().len(), 5);
}

#[tokio::test]
async fn a_pause_that_is_too_long_is_an_error_at_once_and_is_kept() {
    let world = world().await;
    world.service.say(429, &[("retry-after", "120")], "");
    let error = world.client.threads(&shop(), 1).await.unwrap_err();
    assert!(
        matches!(error, Error::Throttled { after: Some(after), .. } if after.as_secs() == 120),
        "{error}"
    );
    world.clock.advance(Duration::from_secs(20));
    let error = world.client.threads(&shop(), 1).await.unwrap_err();
    assert!(
        matches!(error, Error::Throttled { after: Some(after), .. } if after.as_secs() == 100),
        "{error}"
    );
    assert_eq!(world.service.seen().len(), 1);
    world.clock.advance(Duration::from_secs(100));
    world.service.json(json!({ "value": [] }));
    world.client.threads(&shop(), 1).await.unwrap();
}

#[tokio::test]
async fn retry_after_on_a_success_delays_the_next_call() {
    let world = world().await;
    world.service.say(200, &[("retry-after", "5")], r#"{"value":[]}"#);
    world.service.json(json!({ "value": [] }));
    world.client.threads(&shop(), 1).await.unwrap();
    let before = world.clock.now();
    in_time(&world.clock, world.client.threads(&shop(), 1)).await.unwrap();
    assert!(world.clock.now().duration_since(before).as_secs() >= 5);
}

#[tokio::test]
async fn a_failing_service_is_asked_again_but_not_told_again() {
    let world = world().await;
    world.service.say(503, &[], "");
    world.service.say(500, &[], "");
    world.service.json(json!({ "value": [] }));
    in_time(&world.clock, world.client.threads(&shop(), 1)).await.unwrap();
    assert_eq!(world.service.seen().len(), 3);
    for _ in 0..9 {
        world.service.say(503, &[("retry-after", "1")], "");
    }
    let error = in_time(&world.clock, world.client.threads(&shop(), 1)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert_eq!(world.service.seen().len(), 7);
    let error = in_time(&world.clock, world.client.perform(permit(reply("x")))).await.unwrap_err();
    assert!(error.may_have_happened(), "{error}");
    assert_eq!(world.service.seen().len(), 8);
}

#[tokio::test]
async fn a_broken_answer_is_asked_for_again_but_a_write_is_left_open() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(Mutex::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = listener.accept().await {
            *counted.lock().unwrap() += 1;
            let _ = stream.read(&mut [0; 16_384]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"value\":[").await;
        }
    });
    let (_sidecar, client, clock) = client(&address).await;
    let error = in_time(&clock, client.threads(&shop(), 1)).await.unwrap_err();
    assert!(matches!(error, Error::Transport { sent: true, .. }), "{error}");
    assert_eq!(*count.lock().unwrap(), retry::MAX_ATTEMPTS);
    let error = in_time(&clock, client.perform(permit(reply("x")))).await.unwrap_err();
    assert!(error.may_have_happened(), "{error}");
    assert_eq!(*count.lock().unwrap(), retry::MAX_ATTEMPTS + 1);
}

#[tokio::test]
async fn without_a_connection_nothing_happened() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let (_sidecar, client, clock) = client(&address).await;
    let error = in_time(&clock, client.perform(permit(reply("x")))).await.unwrap_err();
    assert!(matches!(error, Error::Transport { sent: false, .. }), "{error}");
    assert!(!error.may_have_happened());
}
