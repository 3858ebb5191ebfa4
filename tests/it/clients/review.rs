//! Builds, code search, and writing in pull requests, through our own client.

use ado_coworker::action::Anchor;
use ado_coworker::azure_devops::{Build, BuildResult, BuildStatus, Lookup};

use super::*;
use crate::harness::eventually;

const BROKEN: &str = "{ \"session\": \n";

#[tokio::test]
async fn a_build_fails_for_a_reason_that_can_be_read() {
    builds_search_and_review(&world().await).await;
}

/// The whole, in either layout.
pub async fn builds_search_and_review(world: &World) {
    let (branch, tip) = broken_branch(world).await;
    let opened = world
        .perform(Action::CreatePullRequest {
            repository: shop(),
            source: branch.clone(),
            target: BranchName::new("main").unwrap(),
            title: "Break the configuration".into(),
            description: String::new(),
            reviewer_ids: Vec::new(),
            work_item_ids: Vec::new(),
        })
        .await
        .unwrap();
    let id = number(&opened);
    failed_build(world, id, &tip).await;
    queued_build(world, &branch).await;
    search(world).await;
    anchored_thread(world, id, &tip).await;
    changed_words(world, id).await;
}

async fn broken_branch(world: &World) -> (BranchName, CommitId) {
    let main = BranchName::new("main").unwrap();
    let base = world.client.branch(&shop(), &main).await.unwrap().unwrap().tip;
    let branch = BranchName::new("agent/broken").unwrap();
    let create = Action::CreateBranch { repository: shop(), branch: branch.clone(), commit: base.clone() };
    world.perform(create).await.unwrap();
    let changes = vec![FileChange::Edit { path: path("/config/default.json"), content: text(BROKEN) }];
    let pushed = world.perform(push(world, &branch, &base, changes)).await.unwrap();
    (branch, CommitId::new(pushed.commit.as_deref().unwrap()).unwrap())
}

async fn ended(world: &World, reference: &str) -> Build {
    let repository = world.client.repository(&shop()).await.unwrap().id;
    eventually(&format!("the build of {reference}"), async || {
        let builds = world.client.builds(PROJECT, &repository, reference, 5).await.unwrap();
        builds.into_iter().find(|build| build.status == BuildStatus::Completed)
    })
    .await
}

async fn failed_build(world: &World, pull_request: u32, tip: &CommitId) {
    let client = &world.client;
    let build = ended(world, &format!("refs/pull/{pull_request}/merge")).await;
    assert_eq!((build.result, build.source_commit.as_ref()), (Some(BuildResult::Failed), Some(tip)));
    assert_eq!(client.build(PROJECT, build.id).await.unwrap(), build);
    let steps = client.failed_steps(PROJECT, build.id).await.unwrap();
    assert_eq!((steps.len(), steps[0].name.as_str()), (1, "Test"), "{steps:?}");
    assert!(steps[0].errors[0].contains("config/default.json"), "{steps:?}");
    let log = steps[0].log_id.unwrap();
    let tail = client.log_tail(PROJECT, build.id, log, 3).await.unwrap();
    assert!(tail.total > 3 && tail.lines.len() == 3, "{tail:?}");
    let whole = client.log_tail(PROJECT, build.id, log, 10_000).await.unwrap();
    assert_eq!((whole.total, &whole.lines[whole.total - 3..]), (tail.total, tail.lines.as_slice()));
    let tests = client.test_summary(PROJECT, build.id, 10).await.unwrap();
    assert!(tests.total > 1 && tests.failed.len() == 1, "{tests:?}");
    assert!(tests.failed[0].message.contains("default.json"), "{tests:?}");
    let absent = client.build(PROJECT, 99_999).await.unwrap_err();
    assert!(matches!(absent, Error::NotFound(_)), "{absent}");
}

async fn queued_build(world: &World, branch: &BranchName) {
    let repository = world.client.repository(&shop()).await.unwrap().id;
    let definitions = world.client.build_definitions(PROJECT, &repository).await.unwrap();
    assert_eq!(definitions.len(), 1, "{definitions:?}");
    let (definition_id, branch) = (definitions[0].id, branch.clone());
    let reference = branch.full();
    let action = Action::QueueBuild { repository: shop(), definition_id, branch, after: 0 };
    let looked_up =
        async || world.client.lookup(&action, jiff::Timestamp::UNIX_EPOCH, &world.me).await.unwrap();
    assert_eq!(looked_up().await, Lookup::DidNotHappen);
    let queued = world.perform(action.clone()).await.unwrap();
    assert_eq!(queued.kind, EffectKind::Build);
    let Lookup::Happened(found) = looked_up().await else { panic!("{:?}", looked_up().await) };
    assert_eq!((found.id, found.web_url), (queued.id.clone(), queued.web_url.clone()));
    let build = ended(world, &reference).await;
    assert_eq!((build.id, &build.requested_for.id), (number(&queued), &world.me.id));
    let timeline_of_another = world.client.failed_steps(PROJECT, 99_999).await.unwrap_err();
    assert!(matches!(timeline_of_another, Error::NotFound(_)), "{timeline_of_another}");
}

async fn search(world: &World) {
    let client = &world.client;
    let found = client.search_code(&shop(), "totalCents", None, 10).await.unwrap();
    let hit = found.hits.iter().find(|hit| hit.path == "/src/cart/prices.ts").unwrap();
    let version = Version::Commit(hit.commit.clone().unwrap());
    let file = client.file(&shop(), &version, &path(&hit.path), limits::FILE_BYTES).await.unwrap();
    let file: Vec<char> = String::from_utf8(file).unwrap().chars().collect();
    let place = hit.matches[0];
    let word: String = file[place.offset..place.offset + place.length].iter().collect();
    assert_eq!(word, "totalCents");
    let below = client.search_code(&shop(), "totalCents", Some(&path("/test")), 10).await.unwrap();
    assert!(below.hits.iter().all(|hit| hit.path.starts_with("/test/")) && !below.hits.is_empty());
    assert!(client.search_code(&shop(), "nothinglikethis", None, 10).await.unwrap().hits.is_empty());
    assert!(matches!(client.search_code(&shop(), " ", None, 1).await, Err(Error::Invalid(_))));
}

async fn anchored_thread(world: &World, pull_request_id: u32, tip: &CommitId) {
    let changes = world.client.pull_request_changes(&shop(), pull_request_id).await.unwrap();
    assert_eq!(changes.source_commit.as_ref(), Some(tip));
    assert!(changes.common_commit.is_some());
    let anchor = Anchor {
        path: path("/config/default.json"),
        is_left: false,
        start_line: 1,
        start_offset: 3,
        end_line: 1,
        end_offset: 12,
        change_tracking_id: changes.files[0].change_tracking_id.unwrap(),
        iteration: changes.iteration,
    };
    let create = |anchor: Option<Anchor>, status| Action::CreateThread {
        repository: shop(),
        pull_request_id,
        text: "This is not closed.".into(),
        status,
        anchor,
    };
    let made = world.perform(create(Some(anchor), ThreadStatus::Active)).await.unwrap();
    let route = format!(
        "{PROJECT}/_apis/git/repositories/web-shop/pullRequests/{pull_request_id}/threads/{}",
        number(&made)
    );
    let seen = world.seen_by_alice(&format!("{route}?api-version=7.1")).await;
    let context = &seen["threadContext"];
    assert_eq!(context["filePath"], "/config/default.json");
    assert_eq!(context["rightFileStart"], json!({ "line": 1, "offset": 3 }));
    assert_eq!(context["rightFileEnd"], json!({ "line": 1, "offset": 12 }));
    let iterations = &seen["pullRequestThreadContext"]["iterationContext"];
    assert_eq!(
        (&iterations["firstComparingIteration"], &iterations["secondComparingIteration"]),
        (&json!(1), &json!(1))
    );
    let closed = world.perform(create(None, ThreadStatus::Closed)).await.unwrap();
    let threads = world.client.threads(&shop(), pull_request_id).await.unwrap();
    let found = threads.iter().find(|thread| thread.id == number(&closed)).unwrap();
    assert_eq!((found.status, found.file.as_deref()), (Some(ThreadStatus::Closed), None));
}

async fn changed_words(world: &World, pull_request_id: u32) {
    let repository = shop();
    let update = |title: &str| Action::UpdatePullRequest {
        repository: shop(),
        pull_request_id,
        title: Some(title.into()),
        description: Some("Why".into()),
    };
    world.perform(update("Repair it")).await.unwrap();
    world
        .perform(Action::PublishPullRequest { repository: repository.clone(), pull_request_id })
        .await
        .unwrap();
    let found = world.client.pull_request(&shop(), pull_request_id).await.unwrap();
    assert_eq!(
        (found.title.as_str(), found.description.as_str(), found.is_draft),
        ("Repair it", "Why", false)
    );
    world
        .perform(Action::RedraftPullRequest { repository: repository.clone(), pull_request_id })
        .await
        .unwrap();
    assert!(world.client.pull_request(&shop(), pull_request_id).await.unwrap().is_draft);
    world.perform(Action::AbandonPullRequest { repository, pull_request_id }).await.unwrap();
    let found = world.client.pull_request(&shop(), pull_request_id).await.unwrap();
    assert_eq!(found.status, PullRequestStatus::Abandoned);
    let late = world.perform(update("Too late")).await.unwrap_err();
    assert!(matches!(late, Error::Conflict(_) | Error::Invalid(_)), "{late}");
}
