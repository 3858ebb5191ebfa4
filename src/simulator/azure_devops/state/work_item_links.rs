//! Links of work items as seen from the other side: mirrored links, pull requests.

use uuid::Uuid;

use super::patch::Operation;
use super::work_items::Draft;
use super::{Actor, LINK_TYPES, Outcome, Relation, Target, Update, World};
use serde_json::json;

impl World {
    /// Makes the other work item know about a link, without touching its revision.
    pub(super) fn mirror_links(&mut self, actor: Actor, id: u32, added: &[Relation], removed: &[Relation]) {
        let now = self.now();
        for (relation, add) in added.iter().map(|r| (r, true)).chain(removed.iter().map(|r| (r, false))) {
            let Target::WorkItem(other) = relation.target else { continue };
            let Some((_, _, back)) = LINK_TYPES.iter().find(|(rel, ..)| *rel == relation.rel) else {
                continue;
            };
            let name = LINK_TYPES.iter().find(|(rel, ..)| rel == back).map(|(_, name, _)| (*name).to_owned());
            let Some(item) = self.data.work_items.get_mut(&other) else { continue };
            let target = Target::WorkItem(id);
            let mirrored = Relation { rel: (*back).into(), target, name, comment: None, created: now, id: 0 };
            let before = item.relations.len();
            item.relations.retain(|r| r.rel != mirrored.rel || r.target != mirrored.target);
            let gone = item.relations.len() < before;
            if add {
                item.relations.push(mirrored.clone());
            } else if !gone {
                continue;
            }
            let (added, removed) = if add { (vec![mirrored], vec![]) } else { (vec![], vec![mirrored]) };
            let update = Update {
                id: u32::try_from(item.updates.len()).unwrap_or(u32::MAX).saturating_add(1),
                rev: item.rev,
                by: actor.id,
                date: now,
                fields: Default::default(),
                added,
                removed,
                history: None,
            };
            item.updates.push(update);
        }
    }

    /// Links a work item to a pull request.
    pub(super) fn link_pull_request(
        &mut self,
        actor: Actor,
        work_item: u32,
        pull_request: u32,
    ) -> Outcome<()> {
        let Some(found) = self.pull_requests.get(&pull_request) else { return Ok(()) };
        let project = self.repository(found.repository)?.project;
        let url = found.artifact_id(project);
        if self.work_items_of(pull_request).contains(&work_item) {
            return Ok(());
        }
        let item = self.visible_work_item(actor, work_item)?.clone();
        self.require_work_item_write(actor, item.project)?;
        let value = json!({"rel": "ArtifactLink", "url": url, "attributes": {"name": "Pull Request"}});
        let operation = Operation { op: "add".into(), path: "/relations/-".into(), from: None, value };
        let mut draft = Draft { before: item.clone(), item, history: None, is_new: false };
        self.apply_operations(actor, &mut draft, &[operation])?;
        self.save(actor, draft)?;
        Ok(())
    }

    /// Work items that link to a pull request, by number.
    pub fn work_items_of(&self, pull_request: u32) -> Vec<u32> {
        let Some(found) = self.pull_requests.get(&pull_request) else { return Vec::new() };
        let project = self.repositories.get(&found.repository).map_or(Uuid::nil(), |r| r.project);
        let artifact = found.artifact_id(project);
        let links = |relation: &Relation| matches!(&relation.target, Target::Url(u) if u.eq_ignore_ascii_case(&artifact));
        self.work_items
            .values()
            .filter(|w| w.deleted.is_none() && w.relations.iter().any(links))
            .map(|w| w.id)
            .collect()
    }

    /// Moves the work items of a completed pull request to their completed state.
    pub(super) fn complete_linked_work_items(&mut self, actor: Actor, pull_request: u32) -> Outcome<()> {
        for id in self.work_items_of(pull_request) {
            let Some(item) = self.work_items.get(&id) else { continue };
            let process = self.projects.get(&item.project).map(|p| p.process);
            let done = process.and_then(|p| p.find(item.kind())).and_then(|k| k.completed());
            let Some(done) = done.filter(|d| d.name != item.state()) else { continue };
            let path = "/fields/System.State".to_owned();
            let operation = Operation { op: "add".into(), path, from: None, value: json!(done.name) };
            // Somebody who may not write the work item completes the pull request all the same.
            let _ = self.update_work_item(actor, id, &[operation], false);
        }
        Ok(())
    }
}
