//! The pages over a seeded organisation in which the agent has opened a pull request.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::request::Builder;
use axum::http::{Request, StatusCode};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::super::git::change::FileChange;
use super::super::state::pull_requests::NewPullRequest;
use super::super::state::pushes::NewCommit;
use super::super::state::{Actor, Organisation, ZERO_SHA, seed};
use super::*;
use crate::clock::Clock;
use crate::simulator::seed::recipes::LOGIN_TIMEOUT;
use crate::simulator::seed::web_shop;

const PULL: &str = "/contoso/Fabrikam/_git/web-shop/pullrequest/1";

struct Bench {
    router: Router,
    organisation: Organisation,
    _folder: tempfile::TempDir,
}

/// The seeded files with the repair of the login timeout.
fn repaired() -> Vec<FileChange> {
    let edited = LOGIN_TIMEOUT.files.iter().map(|(path, edits)| {
        let inner = path.trim_start_matches('/');
        let (_, bytes) = web_shop().into_iter().find(|(path, _)| *path == inner).unwrap();
        let mut text = String::from_utf8(bytes.to_vec()).unwrap();
        for edit in *edits {
            text = text.replacen(edit.old[0], edit.new, 1);
        }
        FileChange::Edit(inner.to_owned(), text.into_bytes())
    });
    edited.collect()
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::stepped("2026-11-21T10:00:00Z".parse().unwrap());
    let data = seed::data(clock.now(), 7, true);
    let agent = data.find_person("ado-coworker@contoso.example").unwrap().id;
    let base = "http://127.0.0.1:4193/contoso".to_owned();
    let organisation = Organisation::new(data, folder.path().to_owned(), base, clock);
    {
        let mut world = organisation.lock();
        world.fill(&web_shop()).unwrap();
        let actor = Actor { id: agent, activity: Uuid::nil() };
        let main = world.repositories[&seed::WEB_SHOP].refs["refs/heads/main"].sha.clone();
        let commit = NewCommit {
            message: "Fix login timeout\n\nWork item: #3\n\nAgent-Run: r1\nAgent-Step: 5".into(),
            changes: repaired(),
            author: None,
            committer: None,
            parent: Some(main),
        };
        let branch = "refs/heads/agent/3-fix-login-timeout";
        world.push(actor, seed::WEB_SHOP, branch, ZERO_SHA, vec![commit]).unwrap();
        let alice = world.find_person("alice").unwrap().id;
        let new = NewPullRequest {
            title: "Fix login timeout".into(),
            description: format!("{}\n\nWork item: #3", LOGIN_TIMEOUT.solution),
            source_ref: branch.into(),
            target_ref: "refs/heads/main".into(),
            is_draft: true,
            reviewers: vec![(alice, false)],
            work_items: vec![3],
            source_repository: None,
            labels: Vec::new(),
            completion: None,
        };
        world.create_pull_request(actor, seed::WEB_SHOP, new).unwrap();
        let inputs =
            BTreeMap::from([("url".to_owned(), "http://127.0.0.1:9/webhooks/azure-devops".to_owned())]);
        let alice = Actor { id: alice, activity: Uuid::nil() };
        for kind in ["ms.vss-code.git-pullrequest-comment-event", "workitem.commented"] {
            world.set_subscription(alice, None, kind, None, BTreeMap::new(), inputs.clone()).unwrap();
        }
        world.run_due();
    }
    Bench { router: router(organisation.clone()), organisation, _folder: folder }
}

impl Bench {
    async fn send(&self, request: Builder, body: &str) -> (StatusCode, HeaderMap, String) {
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        (parts.status, parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn page(&self, path: &str) -> String {
        let (status, _, body) = self.send(Request::get(path), "").await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// Posts a form as a person and gives where it leads.
    async fn post(&self, path: &str, person: &str, form: &str) -> String {
        let request = Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", format!("simulator-person={person}"))
            .header("host", "127.0.0.1:4193")
            .header("origin", "http://127.0.0.1:4193");
        let (status, headers, body) = self.send(request, form).await;
        assert_eq!(status, StatusCode::SEE_OTHER, "{path}: {body}");
        headers["location"].to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn every_page_is_there() {
    let bench = bench();
    for (path, words) in [
        ("/contoso", "Newest effects"),
        ("/contoso/", "Fabrikam"),
        ("/contoso/Fabrikam", "Active pull requests"),
        ("/contoso/Fabrikam/_workitems", "New Issue"),
        ("/contoso/fabrikam/_workitems?kind=Task&state=open", "Task"),
        ("/contoso/Fabrikam/_workitems/create/Issue", "Assigned to"),
        ("/contoso/Fabrikam/_workitems/edit/3", "Discussion"),
        ("/contoso/Fabrikam/_git/web-shop", "src/"),
        ("/contoso/Fabrikam/_git/web-shop?path=/src/auth/login.ts&version=GBmain", "LOGIN_TIMEOUT"),
        ("/contoso/Fabrikam/_git/web-shop?path=/data/products.csv", "byte-order mark"),
        ("/contoso/Fabrikam/_git/web-shop?path=/scripts/start.cmd", "CRLF line endings"),
        ("/contoso/Fabrikam/_git/web-shop/commits", "Web shop"),
        ("/contoso/Fabrikam/_git/web-shop/branches", "agent/3-fix-login-timeout"),
        ("/contoso/Fabrikam/_git/web-shop/pullrequests", "Fix login timeout"),
        (PULL, "LOGIN_TIMEOUT"),
        ("/contoso/Fabrikam/_build", "for pull request 1"),
        ("/contoso/_settings/serviceHooks", "Pull request commented on"),
        ("/_static/simulator.css", "--paper"),
        ("/_static/simulator.js", "mostLooks"),
    ] {
        assert!(bench.page(path).await.contains(words), "{path} lacks {words}");
    }
    let tip = bench.organisation.lock().pull_requests[&1].source_commit.clone();
    assert!(bench.page(&format!("/contoso/Fabrikam/_git/web-shop/commit/{tip}")).await.contains("<mark>"));
    assert_eq!(bench.send(Request::get("/"), "").await.1["location"], "/contoso");
}

#[tokio::test]
async fn what_is_not_there_or_not_for_you_is_a_page_that_says_so() {
    let bench = bench();
    for path in [
        "/elsewhere",
        "/contoso/Nowhere",
        "/contoso/Fabrikam/_workitems/edit/999",
        "/contoso/Fabrikam/_git/web-shop?path=/no/such",
        "/contoso/Fabrikam/_git/web-shop?version=GBnone",
        "/contoso/Fabrikam/_git/web-shop/pullrequest/77",
        "/contoso/Fabrikam/_what",
    ] {
        let (status, _, body) = bench.send(Request::get(path), "").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(body.contains("Not found"), "{path}");
    }
    // What no handler of ours refused is a page, too.
    for (request, form, status) in [
        (Request::get("/contoso/Fabrikam/_workitems/edit/abc"), "", StatusCode::BAD_REQUEST),
        (Request::get("/contoso/Fabrikam/_build/results?buildId=x"), "", StatusCode::BAD_REQUEST),
        (Request::post("/contoso/Fabrikam/_build"), "nothing", StatusCode::UNPROCESSABLE_ENTITY),
        (Request::delete("/contoso/Fabrikam"), "", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let (found, headers, body) = bench.send(request, form).await;
        assert_eq!(found, status, "{body}");
        assert!(headers["content-type"].to_str().unwrap().starts_with("text/html"), "{body}");
        assert!(body.contains("That did not work"), "{body}");
    }
    let as_bob = Request::get("/contoso/Northwind").header("cookie", "simulator-person=bob");
    assert_eq!(bench.send(as_bob, "").await.0, StatusCode::NOT_FOUND, "bob is no member");
    assert!(bench.page("/contoso/Northwind/_git/ledger").await.contains("Nothing was pushed"));
}

#[tokio::test]
async fn the_reviewer_finds_a_comment_ready_and_posts_it() {
    let bench = bench();
    let page = bench.page(PULL).await;
    assert!(page.contains("make the timeout configurable") && page.contains("id=\"comment\""));
    assert!(page.contains("name=\"file\" value=\"/src/auth/login.ts\""));
    let form = "file=%2Fsrc%2Fauth%2Flogin.ts&line=6&side=right&text=make+the+timeout+configurable";
    let there = bench.post(&format!("{PULL}/threads"), "alice", form).await;
    let thread = {
        let world = bench.organisation.lock();
        let found = world.pull_requests[&1].threads.iter().find(|thread| thread.context.is_some()).unwrap();
        let context = found.context.as_ref().unwrap();
        assert_eq!(
            (context.file_path.as_str(), context.right_file_start.unwrap().line),
            ("/src/auth/login.ts", 6)
        );
        assert_eq!(world.people[&found.comments[0].author].name, "alice");
        found.id
    };
    assert_eq!(there, format!("{PULL}?told={thread}#thread-{thread}"));
    let after = bench.page(there.split('#').next().unwrap()).await;
    assert!(
        after.contains("Telling ado-coworker") && after.contains("/_static/simulator.js"),
        "not delivered yet"
    );
    assert!(!after.contains("id=\"comment\""), "nothing is suggested twice");
    delivered(&bench, "{\"status\": \"recorded\", \"url\": \"http://127.0.0.1:4192/runs/7\"}");
    let after = bench.page(there.split('#').next().unwrap()).await;
    assert!(
        after.contains("ado-coworker was told") && after.contains("href=\"http://127.0.0.1:4192/runs/7\"")
    );

    let answer =
        bench.post(&format!("{PULL}/threads/{thread}"), "carol", "text=Agreed.&status=pending").await;
    assert!(answer.contains("told="));
    let world = bench.organisation.lock();
    let found = world.pull_requests[&1].threads.iter().find(|found| found.id == thread).unwrap();
    assert_eq!((found.comments.len(), found.status.unwrap().name()), (2, "pending"));
}

#[tokio::test]
async fn a_thread_stays_with_its_line_after_a_push() {
    let bench = bench();
    let form =
        |line: u32| format!("file=%2Fsrc%2Fauth%2Flogin.ts&line={line}&side=right&text=Look+here+{line}");
    bench.post(&format!("{PULL}/threads"), "alice", &form(6)).await;
    bench.post(&format!("{PULL}/threads"), "alice", &form(34)).await;
    {
        let mut world = bench.organisation.lock();
        world.clock().advance(std::time::Duration::from_secs(60));
        let (agent, pull) = (world.find_person("ado-coworker").unwrap().id, world.pull_requests[&1].clone());
        let repaired = match &repaired()[0] {
            FileChange::Edit(_, bytes) => String::from_utf8(bytes.clone()).unwrap(),
            other => panic!("{other:?}"),
        };
        let changed =
            format!("// One\n// Two\n{}", repaired.replace("const LOGIN_TIMEOUT_SECONDS = 30 * 60;\n", ""));
        let commit = NewCommit {
            message: "More".into(),
            changes: vec![FileChange::Edit("src/auth/login.ts".into(), changed.into_bytes())],
            author: None,
            committer: None,
            parent: None,
        };
        let actor = Actor { id: agent, activity: Uuid::nil() };
        world.push(actor, seed::WEB_SHOP, &pull.source_ref, &pull.source_commit, vec![commit]).unwrap();
    }
    let page = bench.page(PULL).await;
    assert!(page.contains("On line 6 of an earlier version"), "its line is gone");
    let before = &page[..page.find("Look here 34").unwrap()];
    let line = &before[before.rfind("&amp;line=").unwrap()..];
    assert!(line.starts_with("&amp;line=35&"), "two lines came before it and one went: {}", &line[..40]);
}

fn answered(body: &str) -> super::super::state::hooks::Answer {
    let took = std::time::Duration::from_millis(3);
    super::super::state::hooks::Answer { status: Some(200), body: body.to_owned(), error: None, took }
}

fn delivered(bench: &Bench, body: &str) {
    let mut world = bench.organisation.lock();
    let waiting: Vec<(Uuid, u32)> = world
        .subscriptions
        .values()
        .flat_map(|found| found.notifications.values().map(|entry| (found.id, entry.id)))
        .collect();
    assert!(!waiting.is_empty(), "posting gives service hooks");
    for (subscription, notification) in waiting {
        let answer = answered(body);
        world.delivery_answered(subscription, notification, answer);
    }
}

#[tokio::test]
async fn a_receiver_cannot_make_a_link_that_runs_code() {
    let bench = bench();
    let there = bench.post(&format!("{PULL}/threads"), "alice", "text=Hello").await;
    delivered(&bench, "{\"url\": \"javascript:alert(1)\"}");
    let page = bench.page(there.split('#').next().unwrap()).await;
    assert!(page.contains("was told") && !page.contains("href=\"javascript"));
}

#[tokio::test]
async fn a_person_works_on_work_items() {
    let bench = bench();
    let form = "title=Prices+in+cents&description=All+of+**them**&assigned=bob";
    let there = bench.post("/contoso/Fabrikam/_workitems/create/Issue", "carol", form).await;
    let id: u32 = there.split(['/', '?']).nth(5).unwrap().parse().unwrap();
    let page = bench.page(there.split('?').next().unwrap()).await;
    assert!(page.contains("<strong>them</strong>") && page.contains("assigned to Bob"));
    let (rev, edit) = {
        let world = bench.organisation.lock();
        (world.work_items[&id].rev, format!("/contoso/Fabrikam/_workitems/edit/{id}"))
    };
    let form = format!(
        "title=Prices+in+cents&description=All+of+**them**&state=Doing&assigned=alice&tags=money&rev={rev}"
    );
    bench.post(&edit, "bob", &form).await;
    bench.post(&format!("{edit}/comments"), "alice", "text=On+it").await;
    let page = bench.page(&edit).await;
    assert!(
        page.contains("On it") && page.contains("set State to “Doing”") && page.contains("assigned to Alice")
    );
    let request = Request::post(&edit).header("content-type", "application/x-www-form-urlencoded");
    let (status, _, body) = bench.send(request, &form.replace("Prices", "Costs")).await;
    assert!(
        status.is_client_error() && body.contains("Changed meanwhile"),
        "an old form does not overwrite: {body}"
    );
}

#[tokio::test]
async fn votes_and_fates_go_through_the_same_rules() {
    let bench = bench();
    bench.post(&format!("{PULL}/vote"), "alice", "vote=10").await;
    bench.post(&format!("{PULL}/state"), "alice", "state=publish").await;
    assert!(bench.page(PULL).await.contains("aria-pressed"));
    bench.post(&format!("{PULL}/state"), "alice", "state=abandon").await;
    assert!(bench.page(PULL).await.contains("Reactivate"));
    let late =
        Request::post(format!("{PULL}/vote")).header("content-type", "application/x-www-form-urlencoded");
    assert!(bench.send(late, "vote=10").await.0.is_client_error(), "an abandoned one takes no votes");
}

#[tokio::test]
async fn a_person_runs_a_build_and_reads_its_log() {
    let bench = bench();
    let there = bench.post("/contoso/Fabrikam/_build", "bob", "definition=1&branch=main").await;
    assert!(bench.page(&there).await.contains("It has not started yet"));
    for _ in 0..100 {
        let mut world = bench.organisation.lock();
        world.clock().advance(std::time::Duration::from_secs(1));
        world.run_due();
    }
    let page = bench.page(&there).await;
    assert!(
        page.contains("by hand")
            && page.contains("pill done\">Succeeded")
            && page.contains("Compile")
            && page.contains("joblog"),
        "{page}"
    );
    assert!(!page.contains("simulator.js"), "a finished build is not looked at again");
}

#[tokio::test]
async fn forms_of_other_sites_are_refused() {
    let bench = bench();
    let form = || {
        let request = Request::post(format!("{PULL}/threads")).header("host", "127.0.0.1:4193");
        request.header("content-type", "application/x-www-form-urlencoded")
    };
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        assert_eq!(
            bench.send(form().header(name, value), "text=x").await.0,
            StatusCode::FORBIDDEN,
            "{name}: {value}"
        );
    }
    assert_eq!(
        bench.organisation.lock().pull_requests[&1].threads.iter().filter(|t| t.status.is_some()).count(),
        0
    );
    let rebound = Request::post(format!("{PULL}/threads"))
        .header("host", "evil.example:4193")
        .header("origin", "http://evil.example:4193")
        .header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(bench.send(rebound, "text=x").await.0, StatusCode::FORBIDDEN, "a name that leads here");
    let ours = form().header("origin", "http://127.0.0.1:4193").header("sec-fetch-site", "same-origin");
    assert_eq!(bench.send(ours, "text=x").await.0, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn choosing_a_person_sets_a_cookie_and_leads_back_here_only() {
    let bench = bench();
    let post = |form: &'static str| {
        let request =
            Request::post("/contoso/_person").header("content-type", "application/x-www-form-urlencoded");
        bench.send(request, form)
    };
    let (status, headers, _) = post("person=bob&back=%2Fcontoso%2FFabrikam").await;
    assert_eq!(
        (status, &headers["location"]),
        (StatusCode::SEE_OTHER, &"/contoso/Fabrikam".parse().unwrap())
    );
    assert!(headers["set-cookie"].to_str().unwrap().starts_with("simulator-person=bob;"));
    assert_eq!(post("person=bob&back=%2F%2Fevil.example").await.1["location"], "/");
    assert_eq!(post("person=mallory&back=%2F").await.0, StatusCode::BAD_REQUEST);
}

/// For eyes: `cargo test --lib face -- --ignored` serves everything from port 4593 on until it is
/// stopped, with a receiver at 4597 told of comments when there is one.
#[tokio::test]
#[ignore = "serves until stopped"]
async fn serve_for_looking() {
    let folder = tempfile::tempdir().unwrap();
    let url = "http://127.0.0.1:4597/webhooks/azure-devops".parse().unwrap();
    let (username, password) = ("hooks".to_owned(), "demo".to_owned());
    let settings = crate::simulator::Settings {
        listen: std::net::Ipv4Addr::LOCALHOST.into(),
        organization_port: 4593,
        entra_port: 4594,
        sidecar_port: 4595,
        model_port: 4596,
        data: folder.path().to_owned(),
        load: None,
        clock: Clock::Real,
        pace: std::time::Duration::from_millis(5),
        webhook: Some(crate::simulator::Webhook { url, username, password }),
        seed: 7,
        provisioned: true,
    };
    let running = crate::simulator::start(settings).await.unwrap();
    println!("serving {}", running.organization_url);
    std::future::pending::<()>().await;
}
