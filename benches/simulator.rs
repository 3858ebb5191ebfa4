//! How fast the simulated organisation answers when it holds much: 10,000 work items, a repository of 10,000
//! files, 2,000 pull requests. Prints figures; judges nothing.
//!
//! `cargo bench --bench simulator`, or `-- --tenth` for a tenth of everything.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a measurement, which reads the clock and fails by panicking"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use ado_coworker::clock::Clock;
use ado_coworker::simulator::azure_devops::git::change::FileChange;
use ado_coworker::simulator::azure_devops::state::patch::Operation;
use ado_coworker::simulator::azure_devops::state::pull_requests::NewPullRequest;
use ado_coworker::simulator::azure_devops::state::pushes::NewCommit;
use ado_coworker::simulator::azure_devops::state::seed::{ALICE, FABRIKAM, WEB_SHOP};
use ado_coworker::simulator::azure_devops::state::{Actor, RefUpdate, ZERO_SHA};
use ado_coworker::simulator::azure_devops::{self, Origin};
use ado_coworker::simulator::{self, Settings};
use serde_json::{Value, json};

const WORK_ITEMS: usize = 10_000;
const FILES: usize = 10_000;
const PULL_REQUESTS: usize = 2_000;
/// Files of one push; the organisation takes no more than 5,000.
const FILES_OF_A_PUSH: usize = 5_000;
/// Times each question is asked.
const SAMPLES: usize = 40;

fn main() {
    let part = if std::env::args().any(|argument| argument == "--tenth") { 10 } else { 1 };
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved");
    let began = Instant::now();
    fill(&saved, part);
    println!("made the state in {:.1?}", began.elapsed());
    println!(
        "{} work items, {} files, {} pull requests",
        WORK_ITEMS / part,
        FILES / part,
        PULL_REQUESTS / part
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(measure(&saved, &folder.path().join("data"), part));
}

/// Makes the organisation by its own rules, and saves it.
fn fill(saved: &Path, part: usize) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::stepped("2026-03-02T09:00:00Z".parse().unwrap());
    let organisation = azure_devops::open(Origin {
        data: folder.path().to_owned(),
        load: None,
        base: "http://127.0.0.1:1/contoso".into(),
        clock: clock.clone(),
        seed: 1,
        webhook: None,
        files: simulator::seed::web_shop(),
        provisioned: true,
    })
    .unwrap();
    let mut world = organisation.lock();
    let alice = Actor { id: ALICE, activity: world.new_id() };
    for number in 0..WORK_ITEMS / part {
        let add =
            |path: &str, value: Value| Operation { op: "add".into(), path: path.into(), from: None, value };
        let operations = [
            add("/fields/System.Title", json!(format!("Work item {number} about the {}", number % 97))),
            add("/fields/System.Description", json!(format!("<p>{}</p>", "What is to be done. ".repeat(20)))),
            add("/fields/System.Tags", json!(format!("tag{}; area{}", number % 13, number % 7))),
        ];
        world.create_work_item(alice, FABRIKAM, ["Task", "Issue"][number % 2], &operations, false).unwrap();
    }
    let main = "refs/heads/main";
    let commit =
        |changes| NewCommit { message: "Files".into(), changes, author: None, committer: None, parent: None };
    for start in (0..FILES / part).step_by(FILES_OF_A_PUSH) {
        let end = (start + FILES_OF_A_PUSH).min(FILES / part);
        let file = |n: usize| {
            FileChange::Add(format!("many/{}/file{n}.txt", n % 100), format!("file {n}\n").repeat(20).into())
        };
        let tip = world.repositories[&WEB_SHOP].refs[main].sha.clone();
        world.push(alice, WEB_SHOP, main, &tip, vec![commit((start..end).map(file).collect())]).unwrap();
    }
    let base = world.repositories[&WEB_SHOP].refs[main].sha.clone();
    for number in 0..PULL_REQUESTS / part {
        let name = format!("refs/heads/topic/{number}");
        let change = FileChange::Add(format!("topics/{number}.md"), format!("# Topic {number}\n").into());
        let mut new = commit(vec![change]);
        new.parent = Some(base.clone());
        world.push(alice, WEB_SHOP, &name, ZERO_SHA, vec![new]).unwrap();
        let opened = NewPullRequest {
            title: format!("Topic {number}"),
            description: "About the topic. ".repeat(20),
            source_ref: name,
            target_ref: main.into(),
            source_repository: None,
            is_draft: number % 10 == 0,
            reviewers: Vec::new(),
            work_items: vec![u32::try_from(number + 1).unwrap()],
            labels: Vec::new(),
            completion: None,
        };
        world.create_pull_request(alice, WEB_SHOP, opened).unwrap();
    }
    let update = RefUpdate { name: "refs/heads/release".into(), old: ZERO_SHA.into(), new: base };
    world.update_references(alice, WEB_SHOP, vec![update]).unwrap();
    // Whatever would go on by itself has ended before anything is measured.
    while world.next_due().is_some() {
        clock.advance(Duration::from_secs(60));
        world.run_due();
    }
    drop(world);
    azure_devops::storage::save_to(&organisation, saved).unwrap();
}

async fn measure(saved: &Path, data: &Path, part: usize) {
    let began = Instant::now();
    let running = simulator::start(Settings {
        provisioned: true,
        listen: "127.0.0.1".parse().unwrap(),
        organization_port: 0,
        entra_port: 0,
        sidecar_port: 0,
        model_port: 0,
        data: data.to_owned(),
        load: Some(saved.to_owned()),
        clock: Clock::Real,
        pace: Duration::ZERO,
        webhook: None,
        seed: 1,
    })
    .await
    .unwrap();
    let url = running.organization_url.to_string();
    let http = ado_coworker::config::http_client().unwrap();
    ask(&http, &url, "GET", "_apis/projects", None).await;
    println!("started with it, first answer after {:.1?}", began.elapsed());
    let shop = "Fabrikam/_apis/git/repositories/web-shop";
    let ids: Vec<usize> = (1..=200).collect();
    let listed = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let wiql = |condition: &str| json!({"query": format!("SELECT [System.Id] FROM WorkItems WHERE [System.TeamProject] = @project AND {condition}")});
    let pull_request = PULL_REQUESTS / part / 2;
    let reads = [
        ("projects", "GET", "_apis/projects".to_owned(), None),
        ("one work item, everything", "GET", "_apis/wit/workitems/500?$expand=all".to_owned(), None),
        ("200 work items", "GET", format!("_apis/wit/workitems?ids={listed}"), None),
        (
            "query, few found",
            "POST",
            "Fabrikam/_apis/wit/wiql".to_owned(),
            Some(wiql("[System.Title] CONTAINS 'item 777 '")),
        ),
        (
            "query, all found, sorted",
            "POST",
            "Fabrikam/_apis/wit/wiql".to_owned(),
            Some(wiql("[System.State] <> 'Done' ORDER BY [System.ChangedDate] DESC, [System.Title]")),
        ),
        ("comments of a work item", "GET", "Fabrikam/_apis/wit/workItems/500/comments".to_owned(), None),
        ("branches", "GET", format!("{shop}/refs?filter=heads/&$top=1000"), None),
        ("one branch", "GET", format!("{shop}/refs?filter=heads/main"), None),
        ("all files", "GET", format!("{shop}/items?recursionLevel=full"), None),
        ("one folder", "GET", format!("{shop}/items?scopePath=/many/7&recursionLevel=oneLevel"), None),
        ("one file", "GET", format!("{shop}/items?path=/many/7/file7.txt&includeContent=true"), None),
        ("commits", "GET", format!("{shop}/commits?searchCriteria.$top=100"), None),
        (
            "commits of a file",
            "GET",
            format!("{shop}/commits?searchCriteria.itemPath=/README.md&searchCriteria.$top=10"),
            None,
        ),
        (
            "active pull requests",
            "GET",
            format!("{shop}/pullrequests?searchCriteria.status=active&$top=100"),
            None,
        ),
        ("one pull request", "GET", format!("{shop}/pullrequests/{pull_request}"), None),
        (
            "changes of a pull request",
            "GET",
            format!("{shop}/pullrequests/{pull_request}/iterations/1/changes"),
            None,
        ),
        ("threads of a pull request", "GET", format!("{shop}/pullrequests/{pull_request}/threads"), None),
        (
            "difference of two branches",
            "GET",
            format!("{shop}/diffs/commits?baseVersion=main&targetVersion=topic/1"),
            None,
        ),
        ("builds", "GET", "Fabrikam/_apis/build/builds?$top=100".to_owned(), None),
        (
            "code search",
            "POST",
            "Fabrikam/_apis/search/codesearchresults".to_owned(),
            Some(json!({"searchText": "session", "$skip": 0, "$top": 25})),
        ),
    ];
    println!("{:28} {:>10} {:>10} {:>10} {:>10}", "read", "median", "95 %", "longest", "bytes");
    for (name, method, path, body) in reads {
        let mut times = Vec::new();
        let mut size = 0;
        for _ in 0..SAMPLES {
            let began = Instant::now();
            size = ask(&http, &url, method, &path, body.as_ref()).await;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        let [median, most, longest] = [SAMPLES / 2, SAMPLES * 95 / 100, SAMPLES - 1].map(|at| times[at]);
        println!("{name:28} {median:>10.1?} {most:>10.1?} {longest:>10.1?} {size:>10}");
    }
    running.shutdown().await.unwrap();
}

/// Asks as alice; how many bytes came.
async fn ask(http: &reqwest::Client, url: &str, method: &str, path: &str, body: Option<&Value>) -> usize {
    let preview = if path.contains("comments") { "7.1-preview" } else { "7.1" };
    let join = if path.contains('?') { '&' } else { '?' };
    let address = format!("{}/{path}{join}api-version={preview}", url.trim_end_matches('/'));
    let mut request = http.request(method.parse().unwrap(), address).basic_auth("alice", Some("demo-alice"));
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await.unwrap();
    let status = response.status();
    let bytes = response.bytes().await.unwrap();
    assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&bytes));
    bytes.len()
}
