//! What takes a while: projects are made, changed and removed by an operation that clients ask after.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::jobs::JobKind;
use super::{Actor, Outcome, Process, Project, World};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::wire_enum::wire_enum;

/// Between two states of an operation.
const STEP: Duration = Duration::from_millis(300);
/// Operations that are remembered.
const KEPT: usize = 1_000;
/// Projects one organisation takes.
const PROJECTS: usize = 1_000;
/// Longest name of a project, in characters.
const NAME: usize = 64;

wire_enum! {
    /// State of an operation.
    OperationStatus {
        NotSet = 0 "notSet", Queued = 1 "queued", InProgress = 2 "inProgress", Cancelled = 3 "cancelled",
        Succeeded = 4 "succeeded", Failed = 5 "failed",
    }
}

/// What an operation does to a project.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Task {
    /// Makes it.
    Create {
        /// Name.
        name: String,
        /// One line.
        description: String,
        /// Its process.
        process: Process,
    },
    /// Renames or describes it.
    Change {
        /// Which.
        project: Uuid,
        /// New name.
        name: Option<String>,
        /// New line.
        description: Option<String>,
    },
    /// Removes it.
    Delete {
        /// Which.
        project: Uuid,
    },
}

/// Something that goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Operation {
    /// Id.
    pub id: Uuid,
    /// State.
    pub status: OperationStatus,
    /// What for.
    pub task: Task,
    /// Who asked for it, under which activity.
    pub by: (Uuid, Uuid),
    /// Why it failed.
    pub error: Option<String>,
}

impl World {
    /// Begins an operation and gives its id.
    ///
    /// # Errors
    /// 403 for who does not administer, 400 for a bad or taken name.
    pub fn begin_operation(&mut self, actor: Actor, task: Task) -> Outcome<Uuid> {
        self.require_administrator(actor)?;
        match &task {
            Task::Create { name, .. } => self.check_project_name(name, None)?,
            Task::Change { project, name: Some(name), .. } => {
                self.check_project_name(name, Some(*project))?
            }
            _ => {}
        }
        let id = self.new_id();
        let by = (actor.id, actor.activity);
        let operation = Operation { id, status: OperationStatus::NotSet, task, by, error: None };
        self.data.operations.insert(id, operation);
        while self.operations.len() > KEPT {
            let is_over =
                |o: &&Operation| matches!(o.status, OperationStatus::Succeeded | OperationStatus::Failed);
            let Some(done) = self.operations.values().find(is_over).map(|o| o.id) else { break };
            self.data.operations.remove(&done);
        }
        self.schedule(STEP, JobKind::Operate { operation: id });
        Ok(id)
    }

    /// Takes an operation one state further.
    pub(super) fn operate(&mut self, id: Uuid) -> Outcome<()> {
        let Some(found) = self.data.operations.get_mut(&id) else { return Ok(()) };
        match found.status {
            OperationStatus::NotSet | OperationStatus::Queued => {
                found.status = OperationStatus::InProgress;
                self.schedule(STEP, JobKind::Operate { operation: id });
            }
            OperationStatus::InProgress => {
                let (task, (who, activity)) = (found.task.clone(), found.by);
                let outcome = self.perform(Actor { id: who, activity }, task);
                if let Some(found) = self.data.operations.get_mut(&id) {
                    found.status = match &outcome {
                        Ok(()) => OperationStatus::Succeeded,
                        Err(_) => OperationStatus::Failed,
                    };
                    found.error = outcome.err().map(|refusal| refusal.message);
                }
            }
            _ => {}
        }
        self.touch();
        Ok(())
    }

    fn perform(&mut self, actor: Actor, task: Task) -> Outcome<()> {
        match task {
            Task::Create { name, description, process } => {
                self.check_project_name(&name, None)?;
                self.make_project(actor, &name, &description, process)
            }
            Task::Change { project, name, description } => {
                if let Some(name) = &name {
                    self.check_project_name(name, Some(project))?;
                    self.rename_project(project, name);
                }
                if let Some(found) = self.data.projects.get_mut(&project) {
                    found.description = description.unwrap_or(std::mem::take(&mut found.description));
                    found.revision += 1;
                }
                self.record(actor, "project.changed", format!("project/{project}"));
                Ok(())
            }
            Task::Delete { project } => self.remove_project(actor, project),
        }
    }

    fn make_project(&mut self, actor: Actor, name: &str, description: &str, process: Process) -> Outcome<()> {
        let (id, team) = (self.new_id(), self.new_id());
        let mut members: BTreeSet<Uuid> = self.administrators.clone();
        members.insert(actor.id);
        let project = Project {
            id,
            name: name.to_owned(),
            description: description.to_owned(),
            process,
            members,
            guests: BTreeSet::new(),
            team: (team, format!("{name} Team")),
            teams: Default::default(),
            areas: vec![name.to_owned()],
            iterations: vec![name.to_owned(), format!("{name}\\Sprint 1")],
            iteration_dates: Default::default(),
            revision: 1,
            updated: self.now(),
        };
        self.data.projects.insert(id, project);
        // A project comes with an empty repository of its own name.
        self.create_repository(actor, id, name, None)?;
        self.record(actor, "project.created", format!("project/{name}"));
        Ok(())
    }

    fn rename_project(&mut self, project: Uuid, name: &str) {
        let updated = self.now();
        let Some(found) = self.data.projects.get_mut(&project) else { return };
        let old = std::mem::replace(&mut found.name, name.to_owned());
        found.updated = updated;
        let renamed = |path: &str| {
            let rest = path.get(old.len()..).filter(|rest| rest.is_empty() || rest.starts_with('\\'));
            rest.map(|rest| format!("{name}{rest}"))
        };
        for path in found.areas.iter_mut().chain(&mut found.iterations) {
            *path = renamed(path).unwrap_or(std::mem::take(path));
        }
        let items: Vec<u32> =
            self.work_items.values().filter(|i| i.project == project).map(|i| i.id).collect();
        for id in items {
            let Some(item) = self.data.work_items.get_mut(&id) else { continue };
            for field in ["System.TeamProject", "System.AreaPath", "System.IterationPath"] {
                if let Some(path) = renamed(item.text(field)) {
                    item.fields.insert(field.to_owned(), super::FieldValue::Text(path));
                }
            }
        }
    }

    fn remove_project(&mut self, actor: Actor, project: Uuid) -> Outcome<()> {
        let name = self.project_by_id(project)?.name.clone();
        let repositories: Vec<Uuid> =
            self.repositories.values().filter(|r| r.project == project).map(|r| r.id).collect();
        for repository in repositories {
            self.delete_repository(actor, repository)?;
        }
        let gone: BTreeSet<u32> =
            self.work_items.values().filter(|i| i.project == project).map(|i| i.id).collect();
        self.data.work_items.retain(|item| item.project != project);
        let linked = |item: &super::WorkItem| {
            item.relations
                .iter()
                .any(|r| matches!(r.target, super::Target::WorkItem(id) if gone.contains(&id)))
        };
        let others: Vec<u32> = self.work_items.values().filter(|i| linked(i)).map(|i| i.id).collect();
        for id in others {
            if let Some(item) = self.data.work_items.get_mut(&id) {
                // No link points at nothing.
                item.relations
                    .retain(|r| !matches!(r.target, super::Target::WorkItem(id) if gone.contains(&id)));
            }
        }
        self.data.policies.retain(|policy| policy.project != project);
        self.data.queries.retain(|query| query.project != project);
        self.data.folders.retain(|folder| folder.project != project);
        let scope = project.to_string();
        self.data.subscriptions.retain(|s| s.publisher_inputs.get("projectId") != Some(&scope));
        self.data.readers.retain(|(of, _)| *of != project);
        self.data.denials.retain(|denial| denial.scope != project);
        self.data.projects.remove(&project);
        self.record(actor, "project.deleted", format!("project/{name}"));
        Ok(())
    }

    fn check_project_name(&self, name: &str, own: Option<Uuid>) -> Outcome<()> {
        let bad = name.trim().is_empty()
            || name.trim() != name
            || name.chars().count() > NAME
            || name.starts_with(['_', '.'])
            || name.ends_with('.')
            || name.chars().any(|c| c.is_control() || "\\/:*?\"'<>;#$@&{}[],+=|%".contains(c))
            || Uuid::try_parse(name).is_ok();
        if bad || self.projects.len() >= PROJECTS {
            let text = format!(
                "TF200012: The following project name is not valid: {}. The name contains characters or words that \
                 are not allowed, or is longer than {NAME} characters.",
                name.escape_default()
            );
            return Err(Refusal::new(400, "InvalidProjectNameException", text));
        }
        if self.projects.values().any(|p| Some(p.id) != own && p.name.eq_ignore_ascii_case(name)) {
            let text = format!(
                "TF200019: The following project already exists on the Azure DevOps Server: {name}. You cannot create \
                 a new project with the same name as an existing project. Provide a different name."
            );
            return Err(Refusal::new(400, "ProjectAlreadyExistsException", text));
        }
        Ok(())
    }
}
