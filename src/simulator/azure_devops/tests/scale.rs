//! How it behaves with a large state. Run by hand, in a release build for real figures.

use std::time::Instant;

use reqwest::Method;
use serde_json::json;

use super::{Bench, REPOSITORY, bench};
use crate::simulator::azure_devops::git::change::FileChange;
use crate::simulator::azure_devops::state::pull_requests::NewPullRequest;
use crate::simulator::azure_devops::state::pushes::NewCommit;
use crate::simulator::azure_devops::state::seed::{ALICE, FABRIKAM, WEB_SHOP};
use crate::simulator::azure_devops::state::{Actor, RefUpdate, ZERO_SHA, patch};

/// Work items.
const ITEMS: usize = 10_000;
/// Pull requests.
const PULL_REQUESTS: usize = 2_000;

fn fill(bench: &Bench) {
    let mut world = bench.running.organisation.lock();
    let actor = Actor { id: ALICE, activity: world.new_id() };
    for number in 0..ITEMS {
        let title = json!([{"op": "add", "path": "/fields/System.Title", "value": format!("Item {number}")}]);
        world.create_work_item(actor, FABRIKAM, "Issue", &patch::parse(&title).unwrap(), false).unwrap();
    }
    let tip = world.repositories[&WEB_SHOP].refs["refs/heads/main"].sha.clone();
    for part in 0..2 {
        let tip = world.repositories[&WEB_SHOP].refs["refs/heads/main"].sha.clone();
        let file = |n: usize| FileChange::Add(format!("/many/d{}/f{n}.txt", n % 100), vec![b'x'; 200]);
        let changes = (0..5_000).map(|n| file(part * 5_000 + n)).collect();
        let commit =
            NewCommit { message: "many".into(), changes, author: None, committer: None, parent: None };
        world.push(actor, WEB_SHOP, "refs/heads/main", &tip, vec![commit]).unwrap();
    }
    for number in 0..PULL_REQUESTS {
        let name = format!("refs/heads/b{number}");
        let update = RefUpdate { name: name.clone(), old: ZERO_SHA.into(), new: tip.clone() };
        world.update_references(actor, WEB_SHOP, vec![update]).unwrap();
        let new = NewPullRequest {
            title: format!("Pull request {number}"),
            description: String::new(),
            source_ref: name,
            target_ref: "refs/heads/main".into(),
            source_repository: None,
            is_draft: true,
            reviewers: Vec::new(),
            work_items: Vec::new(),
            labels: Vec::new(),
            completion: None,
        };
        world.create_pull_request(actor, WEB_SHOP, new).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes of work; run it by hand"]
async fn a_large_organisation_answers_quickly() {
    let bench = bench(None).await;
    let started = Instant::now();
    fill(&bench);
    println!("filled in {:?}", started.elapsed());
    while !bench.running.organisation.lock().jobs.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    println!("settled after {:?}", started.elapsed());
    let query = json!({"query": "SELECT [System.Id] FROM WorkItems WHERE [System.Title] CONTAINS '77' ORDER BY [System.ChangedDate] DESC"});
    let title = json!([{"op": "add", "path": "/fields/System.Title", "value": "One more"}]);
    let reads = [
        (Method::GET, "_apis/wit/workitems/500".to_owned(), None),
        (Method::POST, "Fabrikam/_apis/wit/wiql?$top=50".into(), Some(query)),
        (Method::POST, "Fabrikam/_apis/wit/workitems/$Issue".into(), Some(title)),
        (Method::GET, format!("{REPOSITORY}/pullrequests?$top=50"), None),
        (Method::GET, "_apis/git/pullrequests/50".into(), None),
        (Method::GET, format!("{REPOSITORY}/items?path=/many/d5/f5.txt&includeContent=true"), None),
        (Method::GET, format!("{REPOSITORY}/items?scopePath=/many/d5&recursionLevel=OneLevel"), None),
        (Method::GET, format!("{REPOSITORY}/items?scopePath=/&recursionLevel=Full"), None),
        (Method::GET, format!("{REPOSITORY}/refs?filter=heads/b1"), None),
        (Method::GET, format!("{REPOSITORY}/commits?$top=20"), None),
    ];
    for (method, path, body) in reads {
        let mut times = Vec::new();
        for _ in 0..7 {
            let started = Instant::now();
            bench.ok("alice", method.clone(), &path, body.clone()).await;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        println!("{:>10?}  {method} {path}", times[3]);
    }
    let started = Instant::now();
    let changes = json!([{"changeType": "add", "item": {"path": "/one.txt"}, "newContent": {"content": "x", "contentType": "rawtext"}}]);
    bench.push_branch("agent/one", changes).await;
    println!("{:>10?}  a push", started.elapsed());
    bench.running.shutdown().await.unwrap();
}
