//! What a simulated organisation is never without, whatever was done to it.

use std::collections::{BTreeMap, BTreeSet};

use ado_coworker::simulator::azure_devops::state::{
    Data, PullRequest, PullRequestStatus, Relation, Target, World,
};

use super::Bench;

/// What holds at every moment.
pub fn check_state(bench: &Bench, now: &Data) {
    let world = bench.organisation.lock();
    for repository in now.repositories.values() {
        let store = world.store(repository.id).unwrap();
        let mut on_disk = store.references().unwrap();
        on_disk.retain(|name, _| name.starts_with("refs/heads/") || name.starts_with("refs/tags/"));
        let known: BTreeMap<_, _> =
            repository.refs.iter().map(|(name, r)| (name.clone(), r.sha.clone())).collect();
        assert_eq!(known, on_disk, "the references of {} differ from those on disk", repository.name);
        for (name, sha) in &known {
            let object = store.find(sha).map(|id| id.to_string());
            assert_eq!(object.as_ref(), Some(sha), "{name} points at nothing");
            assert!(
                !name.starts_with("refs/heads/") || store.tree(sha).is_err(),
                "{name} points at no commit"
            );
            assert!(store.is_commit(sha), "{name} points at no commit");
        }
    }
    for item in now.work_items.values() {
        let revisions: Vec<u32> = item.revisions.iter().map(|r| r.rev).collect();
        assert_eq!(revisions, (1..=item.rev).collect::<Vec<_>>(), "revisions of work item {}", item.id);
        for relation in &item.relations {
            check_relation(now, item.id, relation);
        }
    }
    let mut active = BTreeSet::new();
    for found in now.pull_requests.values() {
        check_pull_request(now, &world, found);
        let branches = (found.source_repository, &found.source_ref, found.repository, &found.target_ref);
        let open = found.status == PullRequestStatus::Active;
        assert!(!open || active.insert(branches), "two active pull requests for {branches:?}");
    }
    for (before, after) in now.ledger.iter().zip(now.ledger.iter().skip(1)) {
        assert!(after.seq == before.seq + 1 && after.at >= before.at, "{before:?} {after:?}");
    }
    let made =
        now.ledger.iter().filter(|e| e.kind.ends_with(".created") || e.kind == "pull_request.completed");
    let made: Vec<_> =
        made.map(|e| (&e.kind, &e.target)).filter(|(k, _)| k.as_str() != "ref.created").collect();
    assert_eq!(
        made.len(),
        made.iter().collect::<BTreeSet<_>>().len(),
        "an effect is twice in the ledger: {made:?}"
    );
}

fn check_relation(now: &Data, id: u32, relation: &Relation) {
    match &relation.target {
        Target::WorkItem(other) => {
            let other =
                now.work_items.get(other).unwrap_or_else(|| panic!("{id} links to nothing: {relation:?}"));
            assert!(other.deleted.is_none(), "{id} links to a deleted work item: {relation:?}");
            let back = other.relations.iter().filter(|r| r.target == Target::WorkItem(id)).count();
            assert!(back > 0, "{} does not link back to {id}", other.id);
        }
        Target::Url(url) => {
            if let Some(artifact) = url.strip_prefix("vstfs:///Git/PullRequestId/") {
                let number = artifact.to_ascii_lowercase().rsplit("%2f").next().unwrap().parse().unwrap();
                assert!(now.pull_requests.contains_key(&number), "{id} links to no pull request: {url}");
            }
        }
    }
}

fn check_pull_request(now: &Data, world: &World, found: &PullRequest) {
    let (id, open) = (found.id, found.status == PullRequestStatus::Active);
    assert_eq!(found.closed.is_some(), !open, "closing date of pull request {id}");
    let numbers: Vec<u32> = found.iterations.iter().map(|i| i.id).collect();
    assert_eq!(
        numbers,
        (1..=u32::try_from(numbers.len()).unwrap()).collect::<Vec<_>>(),
        "iterations of {id}"
    );
    let store = world.store(found.repository).unwrap();
    assert!(store.is_commit(&found.source_commit), "source of {id}");
    if found.status == PullRequestStatus::Completed {
        let merged =
            found.merge_commit.as_deref().unwrap_or_else(|| panic!("{id} completed without a commit"));
        assert!(store.is_commit(merged));
    } else if let Some(tip) = now.repositories[&found.source_repository].refs.get(&found.source_ref) {
        assert!(!open || tip.sha == found.source_commit, "pull request {id} lags behind its source branch");
    }
}

/// What may change from one moment to the next.
pub fn check_step(before: &Data, now: &Data, time_passed: bool) {
    use PullRequestStatus::{Abandoned, Active, Completed};
    for (id, old) in &before.pull_requests {
        let new = &now.pull_requests[id];
        let legal = match (old.status, new.status) {
            (Active, Completed) => time_passed,
            (Abandoned, Active) | (Active, Abandoned) => true,
            (from, to) => from == to,
        };
        assert!(legal, "pull request {id} went from {:?} to {:?}", old.status, new.status);
        assert!(new.iterations.len() >= old.iterations.len() && new.threads.len() >= old.threads.len());
        assert!(old.status == Active || new.status == Active || old.merge_commit == new.merge_commit);
    }
    for (id, old) in &before.work_items {
        let Some(new) = now.work_items.get(id) else { continue };
        let raised = new.rev - old.rev;
        assert!(raised <= 1 || time_passed, "work item {id} went from revision {} to {}", old.rev, new.rev);
        assert_eq!(new.revisions[..old.revisions.len()].len(), old.revisions.len());
    }
    assert!(now.ledger.starts_with(&before.ledger), "the ledger lost or changed an entry");
    assert!(now.next.work_item >= before.next.work_item && now.next.pull_request >= before.next.pull_request);
}
