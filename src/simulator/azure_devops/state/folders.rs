//! Folders of build definitions.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::Permission;
use super::{Actor, Outcome, World};
use crate::simulator::azure_devops::refusal::Refusal;

/// Folders of one organisation.
const FOLDERS: usize = 1_000;
/// Longest path, in characters.
const PATH: usize = 400;

/// A folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Folder {
    /// Its project.
    pub project: Uuid,
    /// Path with backslashes, from `\`.
    pub path: String,
    /// One line.
    pub description: Option<String>,
    /// Who made it.
    pub created_by: Uuid,
    /// When.
    pub created: Timestamp,
    /// Who changed it last, and when.
    pub changed: Option<(Uuid, Timestamp)>,
}

/// The path as it is kept.
///
/// # Errors
/// 400 for one that cannot be.
fn clean(path: &str) -> Outcome<String> {
    let names: Vec<&str> = path.split(['\\', '/']).filter(|name| !name.is_empty()).collect();
    let bad = |name: &&str| {
        name.trim() != *name
            || name.contains([':', '*', '?', '"', '<', '>', '|'])
            || name.chars().any(char::is_control)
    };
    if names.is_empty() || path.chars().count() > PATH || names.iter().any(bad) {
        return Err(Refusal::invalid(format!("path ('{}' is no folder)", path.escape_default())));
    }
    Ok(format!("\\{}", names.join("\\")))
}

fn key(project: Uuid, path: &str) -> String {
    format!("{project}{}", path.to_lowercase())
}

fn is_below(path: &str, folder: &str) -> bool {
    let (path, folder) = (path.to_lowercase(), folder.to_lowercase());
    path == folder || path.strip_prefix(&folder).is_some_and(|rest| rest.starts_with('\\'))
}

/// 404 for a folder.
fn no_folder(path: &str) -> Refusal {
    Refusal::new(404, "FolderNotFoundException", format!("The folder {path} was not found."))
}

impl World {
    /// Folders of a project at and below a path, by path.
    ///
    /// # Errors
    /// 404 for a path that is no folder.
    pub fn folders_below(&self, project: Uuid, path: Option<&str>) -> Outcome<Vec<&Folder>> {
        let path = path.map(clean).transpose()?;
        let own = self.folders.values().filter(|folder| folder.project == project);
        let mut found: Vec<&Folder> = match &path {
            Some(path) => own.filter(|folder| is_below(&folder.path, path)).collect(),
            None => own.collect(),
        };
        if found.is_empty()
            && let Some(path) = path
        {
            return Err(no_folder(&path));
        }
        found.sort_by_key(|folder| folder.path.to_lowercase());
        Ok(found)
    }

    /// Makes a folder with those above it, and gives its path.
    ///
    /// # Errors
    /// 400 for a bad path, 409 for one that is there, 403 without permission.
    pub fn make_folder(
        &mut self,
        actor: Actor,
        project: Uuid,
        path: &str,
        description: Option<&str>,
    ) -> Outcome<String> {
        self.require_folders(actor, project)?;
        let path = clean(path)?;
        if self.folders.contains_key(&key(project, &path)) || self.folders.len() >= FOLDERS {
            let text = format!("The folder {path} already exists, or there are too many.");
            return Err(Refusal::new(409, "FolderExistsException", text));
        }
        self.ensure_folders(actor, project, &path);
        if let Some(folder) = self.data.folders.get_mut(&key(project, &path)) {
            folder.description = description.map(str::to_owned);
        }
        self.record(actor, "folder.created", format!("folder{path}"));
        Ok(path)
    }

    /// Describes a folder, or moves it with everything below it; gives its path.
    ///
    /// # Errors
    /// 404 for an unknown one, else as [`World::make_folder`].
    pub fn change_folder(
        &mut self,
        actor: Actor,
        project: Uuid,
        path: &str,
        to: Option<&str>,
        description: Option<&str>,
    ) -> Outcome<String> {
        self.require_folders(actor, project)?;
        let from = clean(path)?;
        if !self.folders.contains_key(&key(project, &from)) {
            return Err(no_folder(&from));
        }
        let to = to.map(clean).transpose()?.unwrap_or_else(|| from.clone());
        if to != from && (is_below(&to, &from) || self.folders.contains_key(&key(project, &to))) {
            return Err(Refusal::invalid("path (a folder cannot be moved there)"));
        }
        let moved: Vec<Folder> = self
            .folders
            .values()
            .filter(|f| f.project == project && is_below(&f.path, &from))
            .cloned()
            .collect();
        for folder in &moved {
            self.data.folders.remove(&key(project, &folder.path));
        }
        if let Some((above, _)) = to.rsplit_once('\\').filter(|(above, _)| !above.is_empty()) {
            self.ensure_folders(actor, project, above);
        }
        let now = self.now();
        for mut folder in moved {
            let rest = folder.path.get(from.len()..).unwrap_or_default().to_owned();
            if rest.is_empty() {
                folder.changed = Some((actor.id, now));
                folder.description = description.map(str::to_owned).or(folder.description);
            }
            folder.path = format!("{to}{rest}");
            self.data.folders.insert(key(project, &folder.path), folder);
        }
        self.record(actor, "folder.changed", format!("folder{from}"));
        Ok(to)
    }

    /// Removes a folder with everything below it.
    ///
    /// # Errors
    /// 404 for an unknown one, 403 without permission.
    pub fn remove_folder(&mut self, actor: Actor, project: Uuid, path: &str) -> Outcome<()> {
        self.require_folders(actor, project)?;
        let path = clean(path)?;
        let gone: Vec<String> =
            self.folders_below(project, Some(&path))?.iter().map(|f| key(project, &f.path)).collect();
        for key in gone {
            self.data.folders.remove(&key);
        }
        self.record(actor, "folder.removed", format!("folder{path}"));
        Ok(())
    }

    fn require_folders(&self, actor: Actor, project: Uuid) -> Outcome<()> {
        if self.may(actor.id, project, None, Permission::QueueBuilds) {
            return Ok(());
        }
        Err(Refusal::denied("Access denied. You need Edit build pipeline permissions to change folders."))
    }

    fn ensure_folders(&mut self, actor: Actor, project: Uuid, path: &str) {
        let mut so_far = String::new();
        for name in path.split('\\').filter(|name| !name.is_empty()) {
            so_far = format!("{so_far}\\{name}");
            let created = self.now();
            if !self.folders.contains_key(&key(project, &so_far)) {
                let (path, created_by) = (so_far.clone(), actor.id);
                let folder = Folder { project, path, description: None, created_by, created, changed: None };
                self.data.folders.insert(key(project, &so_far), folder);
            }
        }
    }
}
