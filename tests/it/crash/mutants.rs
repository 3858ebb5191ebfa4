//! The checker is checked: each defence is switched off in turn, and the audit must find what comes
//! of it. An audit that passes a mutant is a failing audit.

use super::audit::Evidence;
use super::site::{SENTENCE, Site, signal};

/// The main job and a comment, without waiting for what follows from the comment.
async fn work(site: &mut Site) {
    let id = site.order(SENTENCE).await;
    let run = site.settled(&id).await;
    let links = run["links"].as_array().cloned().unwrap_or_default();
    if let Some(link) = links.iter().find(|link| link["kind"] == "pull_request") {
        let number = link["url"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
        site.comment(number, "make the timeout configurable").await;
        site.quiet().await;
    }
}

/// The audit finds a violation of one of `invariants`.
async fn caught(site: &mut Site, invariants: &[&str]) {
    site.close().await;
    let found = Evidence::of(site, Vec::new()).await.violations();
    let right = found.iter().any(|fault| invariants.iter().any(|number| fault.starts_with(number)));
    assert!(right, "the mutant was not caught by {invariants:?}: {found:#?}");
}

async fn mutant(armed: &str, once: &str, invariants: &[&str]) {
    let mut site = Site::start().await;
    (site.armed, site.armed_once) = (armed.to_owned(), once.to_owned());
    assert!(site.open().await);
    work(&mut site).await;
    caught(&mut site, invariants).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn a_missing_intent_is_caught() {
    mutant("intent=return", "", &["3:"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn an_answer_before_the_commit_is_caught() {
    let once = "commit_before_answer=return;journal.before_receive=return(abort)";
    mutant("", once, &["2:"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn a_retry_without_looking_up_is_caught() {
    mutant("probe=return", "azure_devops.after_write=return(abort)", &["1:"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn events_remembered_in_memory_only_are_caught() {
    mutant("stored_dedup=return", "webhook.before_answer=return(abort)", &["2:"]).await;
}

/// A process that stands still between its intent and its request, past its lease, does not send
/// it when it goes on: another has made the write meanwhile.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn a_write_is_not_sent_with_a_lease_that_has_run_out() {
    let mut site = Site::start().await;
    // Longer than it is paused: it goes on after the pause and not before.
    site.armed_once = "azure_devops.before_write=1*sleep(8000)->off".into();
    assert!(site.open().await);
    let first = site.pid();
    let id = site.order(SENTENCE).await;
    site.until("the first write", async |site| {
        site.passed().iter().any(|point| point == "azure_devops.before_write").then_some(())
    })
    .await;
    signal("STOP", first);
    let second = site.open_replica().await;
    super::replicas::until_finished(&site.database(), &id).await;
    signal("CONT", first);
    tokio::time::sleep(std::time::Duration::from_secs(9)).await;
    signal("TERM", second);
    site.close().await;
    let found = Evidence::of(&site, Vec::new()).await.violations();
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn a_missing_fence_is_caught() {
    let mut site = Site::start().await;
    site.armed = "fence=return".into();
    // Held in the middle of a turn until another has taken the run; then it goes on as if nothing had been.
    site.armed_once = "model.after_reply=1*off->1*sleep(1000)->off".into();
    assert!(site.open().await);
    let first = site.pid();
    let id = site.order(SENTENCE).await;
    site.until("the second turn", async |site| {
        site.passed().iter().filter(|point| *point == "model.after_reply").nth(1).map(|_| ())
    })
    .await;
    signal("STOP", first);
    let second = site.open_replica().await;
    let database = site.database();
    super::replicas::until_finished(&database, &id).await;
    signal("CONT", first);
    site.until("the paused one to be at work again", async |site| {
        let page = site.get(&format!("/api/runs/{id}")).await?;
        (page["status"] != "running").then_some(())
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    signal("TERM", second);
    caught(&mut site, &["5:", "1:"]).await;
}
