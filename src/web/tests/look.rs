//! To look at the pages: `cargo test --lib web::tests::look -- --ignored` serves them for a while
//! at http://127.0.0.1:4199, with runs of every kind; what is sent is answered by a story.

use super::*;
use crate::journal::IntakeStatus;

/// How long the pages can be looked at.
const OPEN: Duration = Duration::from_secs(300);
/// Between two portions of a story.
const PACE: Duration = Duration::from_millis(700);

#[tokio::test]
#[ignore = "serves pages for a person to look at"]
async fn serve_pages_with_a_story() {
    let listener = TcpListener::bind("127.0.0.1:4199").await.unwrap();
    let config = config::Web { listen_address: listener.local_addr().unwrap(), ..settings() };
    let door = Door::with(config, Clock::Real).await;
    past(&door).await;
    let journal = door.state.journal.clone();
    let mut work = journal.work();
    tokio::spawn(async move {
        loop {
            if let Some(claim) = journal.claim("story", LEASE).await.unwrap() {
                tokio::spawn(tell(journal.clone(), claim));
            }
            let _ = tokio::time::timeout(PACE, work.changed()).await;
        }
    });
    let closing = door.state.closing.clone();
    tokio::spawn(async move {
        tokio::time::sleep(OPEN).await;
        closing.cancel();
    });
    serve(listener, door.router.clone(), door.state.closing.clone()).await.unwrap();
}

/// Works a run: the whole story for a new one, a short answer to a follow-up; stops when told to.
async fn tell(journal: Journal, claim: Claim) {
    let log = journal.whole_log(&claim.run).await.unwrap();
    let told = log.iter().any(|l| matches!(l.entry, Entry::Finished { .. }));
    let work = if told {
        vec![vec![replied(3, "You are welcome.")], vec![finished(Status::Done, "You are welcome.", None)]]
    } else {
        story::work()
    };
    for portion in work {
        if let Entry::Replied { turn, text, .. } = &portion[0] {
            for (n, word) in text.split_inclusive(' ').enumerate() {
                journal.words(&claim.run, *turn, n == 0, word);
                tokio::time::sleep(PACE / 12).await;
            }
        }
        tokio::time::sleep(PACE).await;
        let log = journal.append(&claim, 0, portion.clone()).await.unwrap();
        if log.iter().any(|l| matches!(l.entry, Entry::CancelRequested { .. })) {
            let stopped = vec![finished(Status::Cancelled, "Stopped by bob.", None)];
            journal.append(&claim, i64::MAX, stopped).await.unwrap();
            return;
        }
        if portion.iter().any(Entry::leaves_the_run) && !log.iter().any(|l| l.entry == portion[0]) {
            journal.append(&claim, i64::MAX, portion).await.unwrap();
        }
    }
}

/// Runs that ended in every way, one that waits, and events with every fate.
async fn past(door: &Door) {
    door.run(story::INSTRUCTION).await;
    let claim = door.claim().await;
    for portion in story::work() {
        door.append(&claim, portion).await;
    }
    let ends = [
        (
            "Delete the branch main.",
            finished(
                Status::Refused,
                "Branches of others are not deleted by the co-worker.",
                Some("Ask a person who may, or widen the rule 'own-branches'."),
            ),
        ),
        (
            "Summarise what changed in the last sprint and post it to issue 2",
            finished(
                Status::Failed,
                "Azure DevOps did not answer for five minutes (HTTP 503, four tries).",
                Some("Look at /readyz. When the service is back, say 'go on' here."),
            ),
        ),
        ("Rename the module 'checkout' everywhere", finished(Status::Cancelled, "Stopped by bob.", None)),
        (
            "Fix the flaky test",
            Entry::Waiting {
                waiting_for: WaitingFor::Person,
                reason:
                    "There are two flaky tests, `cart.test.ts` and `login.test.ts`. Which one do you mean?"
                        .into(),
                wake_at: None,
            },
        ),
    ];
    for (instruction, end) in ends {
        door.run(instruction).await;
        let claim = door.claim().await;
        door.append(&claim, vec![message("alice", "And tell me when it is done."), end]).await;
    }
    let journal = &door.state.journal;
    let run = journal.runs(1, None).await.unwrap()[0].id.clone();
    let comment = crate::event::OutsideEvent::BuildCompleted { build_id: 3 };
    let fates = [
        (
            "ms.vss-code.git-pullrequest-comment-event:1",
            "comment on pull request 12",
            IntakeStatus::Running,
            None,
            Some(run.clone()),
        ),
        (
            "ms.vss-code.git-pullrequest-comment-event:2",
            "comment on pull request 12",
            IntakeStatus::Ignored,
            Some("the co-worker wrote this comment itself"),
            None,
        ),
        ("workitem.updated:3", "work item 4 updated", IntakeStatus::Merged, None, Some(run)),
        (
            "build.complete:4",
            "build 31 completed",
            IntakeStatus::Failed,
            Some("Azure DevOps answered 503 four times"),
            None,
        ),
    ];
    for (key, summary, status, reason, run) in fates {
        journal.receive(key, summary, comment.clone(), None).await.unwrap();
        let judging = journal.claim_intake(LEASE).await.unwrap().unwrap();
        journal.settle(&judging, status, reason.map(Into::into), run).await.unwrap();
    }
    let reason = Some("the body is not a JSON object".to_owned());
    journal
        .receive("not_understood:5", "a delivery that is not understood", comment.clone(), reason)
        .await
        .unwrap();
    journal.receive("git.push:6", "push 7", comment, None).await.unwrap();
}
