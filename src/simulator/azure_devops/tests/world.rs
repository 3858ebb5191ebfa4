//! Random operations of two actors keep the invariants of the state.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use crate::clock::Clock;
use crate::simulator::azure_devops::git::change::FileChange;
use crate::simulator::azure_devops::state::patch::Operation;
use crate::simulator::azure_devops::state::pull_requests::{NewPullRequest, PullRequestChange};
use crate::simulator::azure_devops::state::pushes::NewCommit;
use crate::simulator::azure_devops::state::seed::{ALICE, BOB, FABRIKAM, WEB_SHOP, data};
use crate::simulator::azure_devops::state::{
    Actor, Organisation, PullRequestStatus, RefUpdate, Target, World, ZERO_SHA,
};

/// One thing somebody may try.
#[derive(Clone, Debug)]
enum Act {
    Push(u8, u8),
    DeleteBranch(u8),
    Open(u8),
    Complete(u8),
    Abandon(u8),
    Reactivate(u8),
    Issue,
    State(u8, u8),
    Link(u8, u8, u8),
    Unlink(u8),
    Delete(u8),
    Wait(u16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..4u8, any::<u8>()).prop_map(|(b, f)| Act::Push(b, f)),
        (0..4u8).prop_map(Act::DeleteBranch),
        (0..4u8).prop_map(Act::Open),
        (1..6u8).prop_map(Act::Complete),
        (1..6u8).prop_map(Act::Abandon),
        (1..6u8).prop_map(Act::Reactivate),
        Just(Act::Issue),
        (1..10u8, 0..4u8).prop_map(|(i, s)| Act::State(i, s)),
        (1..10u8, 1..10u8, 0..3u8).prop_map(|(a, b, k)| Act::Link(a, b, k)),
        (1..10u8).prop_map(Act::Unlink),
        (1..10u8).prop_map(Act::Delete),
        (0..2_000u16).prop_map(Act::Wait),
    ]
}

fn branch(number: u8) -> String {
    format!("refs/heads/b{number}")
}

/// Tries one thing; refusals are fine.
fn perform(world: &mut World, clock: &Clock, who: Uuid, act: &Act) {
    let actor = Actor { id: who, activity: world.new_id() };
    let add = |path: &str, value| Operation { op: "add".into(), path: path.into(), from: None, value };
    let change = |status| PullRequestChange { status: Some(status), ..PullRequestChange::default() };
    match act {
        Act::Push(b, file) => {
            let name = branch(*b);
            let refs = &world.repositories[&WEB_SHOP].refs;
            let old = refs.get(&name).or(refs.get("refs/heads/main")).map(|r| r.sha.clone()).unwrap();
            let content = FileChange::Add(format!("/f{file}.txt"), vec![*b, *file]);
            let commit = NewCommit {
                message: "m".into(),
                changes: vec![content],
                author: None,
                committer: None,
                parent: None,
            };
            let _ = world.push(actor, WEB_SHOP, &name, &old, vec![commit]);
        }
        Act::DeleteBranch(b) => {
            let Some(old) = world.repositories[&WEB_SHOP].refs.get(&branch(*b)).map(|r| r.sha.clone()) else {
                return;
            };
            let update = RefUpdate { name: branch(*b), old, new: ZERO_SHA.into() };
            let _ = world.update_references(actor, WEB_SHOP, vec![update]);
        }
        Act::Open(b) => {
            let new = NewPullRequest {
                title: "t".into(),
                description: String::new(),
                source_ref: branch(*b),
                target_ref: "refs/heads/main".into(),
                source_repository: None,
                is_draft: false,
                reviewers: vec![(ALICE, false)],
                work_items: vec![1],
                labels: Vec::new(),
                completion: None,
            };
            let _ = world.create_pull_request(actor, WEB_SHOP, new);
        }
        Act::Complete(p) => {
            let source = world.pull_requests.get(&u32::from(*p)).map(|p| p.source_commit.clone());
            let change = PullRequestChange { source_commit: source, ..change(PullRequestStatus::Completed) };
            let _ = world.update_pull_request(actor, u32::from(*p), change);
        }
        Act::Abandon(p) => {
            drop(world.update_pull_request(actor, u32::from(*p), change(PullRequestStatus::Abandoned)))
        }
        Act::Reactivate(p) => {
            drop(world.update_pull_request(actor, u32::from(*p), change(PullRequestStatus::Active)))
        }
        Act::Issue => drop(world.create_work_item(
            actor,
            FABRIKAM,
            "Issue",
            &[add("/fields/System.Title", json!("i"))],
            false,
        )),
        Act::State(i, s) => {
            let state = ["To Do", "Doing", "Done", "Nonsense"][usize::from(*s)];
            drop(world.update_work_item(
                actor,
                u32::from(*i),
                &[add("/fields/System.State", json!(state))],
                false,
            ));
        }
        Act::Link(a, b, kind) => {
            let rel = [
                "System.LinkTypes.Hierarchy-Forward",
                "System.LinkTypes.Hierarchy-Reverse",
                "System.LinkTypes.Related",
            ][usize::from(*kind)];
            let value = json!({"rel": rel, "url": format!("x/_apis/wit/workItems/{b}")});
            drop(world.update_work_item(actor, u32::from(*a), &[add("/relations/-", value)], false));
        }
        Act::Unlink(i) => {
            let remove = Operation {
                op: "remove".into(),
                path: "/relations/0".into(),
                from: None,
                value: json!(null),
            };
            drop(world.update_work_item(actor, u32::from(*i), &[remove], false));
        }
        Act::Delete(i) => drop(world.delete_work_item(actor, u32::from(*i), *i % 2 == 0)),
        Act::Wait(ms) => {
            clock.advance(std::time::Duration::from_millis(u64::from(*ms)));
            drop(world.run_due());
        }
    }
}

/// What must always hold.
fn check(world: &World) {
    for repository in world.repositories.values() {
        let store = world.store(repository.id).unwrap();
        let known: Vec<_> = repository.refs.iter().map(|(n, r)| (n.clone(), r.sha.clone())).collect();
        let on_disk: Vec<_> = store.references().unwrap().into_iter().collect();
        assert_eq!(known, on_disk);
        assert!(known.iter().all(|(_, sha)| store.is_commit(sha)));
    }
    for pull_request in world.pull_requests.values() {
        assert_eq!(pull_request.closed.is_some(), pull_request.status != PullRequestStatus::Active);
        if pull_request.status == PullRequestStatus::Completed {
            assert!(pull_request.merge_commit.is_some());
        }
        assert!(pull_request.iterations.iter().zip(1..).all(|(i, n)| i.id == n));
    }
    for item in world.work_items.values() {
        assert!(item.revisions.iter().zip(1..).all(|(r, n)| r.rev == n), "revisions of {}", item.id);
        assert_eq!(usize::try_from(item.rev).unwrap(), item.revisions.len());
        for relation in &item.relations {
            let Target::WorkItem(other) = &relation.target else { continue };
            let back = world.work_items.get(other).expect("a link to nothing");
            assert!(
                back.deleted.is_none()
                    && back.relations.iter().any(|r| r.target == Target::WorkItem(item.id))
            );
        }
        assert!(item.relations.iter().filter(|r| r.rel.ends_with("Hierarchy-Reverse")).count() <= 1);
    }
    assert!(world.ledger.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_after_any_sequence(acts in proptest::collection::vec((any::<bool>(), act()), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::stepped(Timestamp::from_second(1_790_000_000).unwrap());
        let organisation =
            Organisation::new(data(clock.now(), 7, true), folder.path().to_owned(), "http://x/contoso".into(), clock.clone());
        let mut world = organisation.lock();
        world.fill(&[("/README.md", b"x")]).unwrap();
        for (alice, act) in &acts {
            perform(&mut world, &clock, if *alice { ALICE } else { BOB }, act);
        }
        check(&world);
        // Nothing of it is lost on disk.
        let saved = serde_json::to_string::<crate::simulator::azure_devops::state::Data>(&world).unwrap();
        let loaded: crate::simulator::azure_devops::state::Data = serde_json::from_str(&saved).unwrap();
        prop_assert_eq!(serde_json::to_string(&loaded).unwrap(), saved);
    }
}
