//! Build definitions after they were made, and the tags of builds.

use uuid::Uuid;

use super::access::Permission;
use super::{Actor, Outcome, World};
use crate::simulator::azure_devops::refusal::Refusal;

/// Tags of one build.
const TAGS: usize = 100;
/// Longest tag, in characters.
const TAG: usize = 400;

impl World {
    /// Changes the name and the YAML file of a definition that is at `revision`.
    ///
    /// # Errors
    /// 404 for an unknown one, 409 for a revision that is not the last or a name that is taken, 403
    /// without permission.
    pub fn update_definition(
        &mut self,
        actor: Actor,
        project: Uuid,
        id: u32,
        revision: u32,
        name: &str,
        yaml: &str,
    ) -> Outcome<()> {
        let found = self.definition(project, id)?;
        self.require_git(actor, self.repository(found.repository)?, Permission::ManagePolicies)?;
        if found.revision != revision {
            return Err(Refusal::new(
                409,
                "InvalidDefinitionException",
                format!(
                    "The revision of the definition is {}, not {revision}. Read it again.",
                    found.revision
                ),
            ));
        }
        let same = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
        let taken = |d: &&super::build::Definition| d.project == project && d.id != id && same(&d.name, name);
        if name.trim().is_empty() || self.definitions.values().any(|d| taken(&d)) {
            return Err(Refusal::new(
                409,
                "DefinitionExistsException",
                format!("The build definition {name} already exists, or its name is empty."),
            ));
        }
        if let Some(found) = self.data.definitions.get_mut(&id) {
            name.clone_into(&mut found.name);
            yaml.clone_into(&mut found.yaml);
            found.revision += 1;
        }
        self.record(actor, "definition.set", format!("definition/{name}"));
        Ok(())
    }

    /// Removes a definition with its builds.
    ///
    /// # Errors
    /// 404 for an unknown one, 403 without permission.
    pub fn delete_definition(&mut self, actor: Actor, project: Uuid, id: u32) -> Outcome<()> {
        let found = self.definition(project, id)?;
        self.require_git(actor, self.repository(found.repository)?, Permission::ManagePolicies)?;
        let name = found.name.clone();
        self.data.builds.retain(|b| b.definition != id);
        self.data.definitions.remove(&id);
        self.record(actor, "definition.deleted", format!("definition/{name}"));
        Ok(())
    }

    /// Puts tags on a build, or takes them off.
    ///
    /// # Errors
    /// 404 for an unknown build, 400 for tags that cannot be, 403 without permission.
    pub fn tag_build(
        &mut self,
        actor: Actor,
        project: Uuid,
        id: u32,
        tags: &[String],
        on: bool,
    ) -> Outcome<Vec<String>> {
        let definition = self.build(project, id)?.definition;
        self.require_queue(actor, self.definition(project, definition)?)?;
        let bad = |tag: &String| tag.trim().is_empty() || tag.chars().count() > TAG || tag.contains(',');
        if on && (tags.is_empty() || tags.iter().any(bad)) {
            return Err(Refusal::invalid(format!("tags (each has 1 to {TAG} characters and no comma)")));
        }
        let Some(build) = self.data.builds.get_mut(&id) else { return Ok(Vec::new()) };
        for tag in tags {
            build.tags.retain(|t| !t.eq_ignore_ascii_case(tag));
            if on {
                build.tags.insert(tag.trim().to_owned());
            }
        }
        if build.tags.len() > TAGS {
            let last = build.tags.len() - TAGS;
            build.tags = std::mem::take(&mut build.tags).into_iter().skip(last).collect();
        }
        let now = build.tags.iter().cloned().collect();
        self.record(actor, "build.tagged", format!("build/{id}"));
        Ok(now)
    }
}
