//! The trees of areas and iterations of a project.
//!
//! A node is known by its position in the list of paths, so that ids and links to it stay when it is
//! renamed or moved; a removed node leaves an empty path behind.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Actor, FieldValue, Outcome, Project, World};
use crate::simulator::azure_devops::refusal::Refusal;

/// Nodes one tree may have, removed ones counted.
const NODES: usize = 10_000;
/// Longest name of a node, in characters.
const NAME: usize = 255;
/// Deepest node below the root.
const DEPTH: usize = 14;

/// First and last day of an iteration.
pub type Dates = (Option<Timestamp>, Option<Timestamp>);

/// Which tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Areas.
    Areas,
    /// Iterations.
    Iterations,
}

impl Tree {
    /// The field of a work item that is a node of the tree.
    fn field(self) -> &'static str {
        match self {
            Self::Areas => "System.AreaPath",
            Self::Iterations => "System.IterationPath",
        }
    }
}

impl Project {
    /// Paths of a tree; the first is the root, an empty one was removed.
    pub fn paths(&self, tree: Tree) -> &[String] {
        match tree {
            Tree::Areas => &self.areas,
            Tree::Iterations => &self.iterations,
        }
    }

    /// Position of a node, ignoring case.
    pub fn node(&self, tree: Tree, path: &str) -> Option<usize> {
        self.paths(tree).iter().position(|p| !p.is_empty() && p.eq_ignore_ascii_case(path))
    }

    /// Position of the node with a number, as REST gives it.
    pub fn node_numbered(&self, tree: Tree, number: u64) -> Option<usize> {
        let at = usize::try_from(number).ok()?.checked_sub(offset(tree))?;
        self.paths(tree).get(at).filter(|path| !path.is_empty()).map(|_| at)
    }

    /// Number and GUID of the node at a position.
    pub fn node_ids(&self, tree: Tree, at: usize) -> (usize, Uuid) {
        let number = at + offset(tree);
        (number, Uuid::from_u128(self.id.as_u128() ^ (number as u128)))
    }

    fn paths_mut(&mut self, tree: Tree) -> &mut Vec<String> {
        match tree {
            Tree::Areas => &mut self.areas,
            Tree::Iterations => &mut self.iterations,
        }
    }
}

fn offset(tree: Tree) -> usize {
    match tree {
        Tree::Areas => 1,
        Tree::Iterations => 20_001,
    }
}

/// A path that is not in the tree.
pub fn no_node(path: &str) -> Refusal {
    let text = format!("VS402485: The specified path '{path}' does not exist.");
    Refusal::new(404, "ClassificationNodeDoesNotExistException", text)
}

impl World {
    /// Adds a node below the one at `parent` and gives its position.
    ///
    /// # Errors
    /// 400 for a bad name, 409 for a taken one, 403 for who does not administer.
    pub fn add_node(
        &mut self,
        actor: Actor,
        project: Uuid,
        tree: Tree,
        parent: usize,
        name: &str,
        dates: Dates,
    ) -> Outcome<usize> {
        self.require_administrator(actor)?;
        let home = self.project_by_id(project)?;
        let paths = home.paths(tree);
        if paths.len() >= NODES {
            return Err(Refusal::invalid(format!("name (a project has at most {NODES} nodes)")));
        }
        let above = paths.get(parent).cloned().unwrap_or_default();
        let path = child(home, tree, &above, name)?;
        let at = paths.len();
        if let Some(home) = self.data.projects.get_mut(&project) {
            home.paths_mut(tree).push(path.clone());
        }
        self.date_node(project, tree, at, dates);
        self.record(actor, "node.created", format!("node/{path}"));
        Ok(at)
    }

    /// Renames a node or gives it other dates.
    ///
    /// # Errors
    /// As [`World::add_node`]; 400 for the root's name.
    pub fn change_node(
        &mut self,
        actor: Actor,
        project: Uuid,
        tree: Tree,
        at: usize,
        name: Option<&str>,
        dates: Dates,
    ) -> Outcome<()> {
        self.require_administrator(actor)?;
        let home = self.project_by_id(project)?;
        let path = home.paths(tree).get(at).cloned().unwrap_or_default();
        let own = path.rsplit('\\').next().unwrap_or_default();
        if let Some(name) = name.filter(|name| *name != own) {
            let Some((above, _)) = path.rsplit_once('\\') else {
                return Err(Refusal::invalid("name (the root has the name of the project)"));
            };
            // A change of letter case is no second node.
            let renamed = match name.eq_ignore_ascii_case(own) {
                true => format!("{above}\\{name}"),
                false => child(home, tree, above, name)?,
            };
            self.move_paths(project, tree, &path, &renamed);
        }
        self.date_node(project, tree, at, dates);
        self.record(actor, "node.changed", format!("node/{path}"));
        Ok(())
    }

    /// Puts a node with everything below it under another one.
    ///
    /// # Errors
    /// 400 for the root and for a place below itself, else as [`World::add_node`].
    pub fn move_node(
        &mut self,
        actor: Actor,
        project: Uuid,
        tree: Tree,
        at: usize,
        parent: usize,
    ) -> Outcome<()> {
        self.require_administrator(actor)?;
        let home = self.project_by_id(project)?;
        let path = |at: usize| home.paths(tree).get(at).cloned().unwrap_or_default();
        let (from, above) = (path(at), path(parent));
        let Some((old, name)) = from.rsplit_once('\\') else {
            return Err(Refusal::invalid("id (the root stays where it is)"));
        };
        if old.eq_ignore_ascii_case(&above) {
            return Ok(());
        }
        if above.eq_ignore_ascii_case(&from) || starts_below(&above, &from) {
            return Err(Refusal::invalid("id (a node cannot be moved below itself)"));
        }
        let to = child(home, tree, &above, name)?;
        self.move_paths(project, tree, &from, &to);
        self.record(actor, "node.moved", format!("node/{from}"));
        Ok(())
    }

    /// Removes a node with everything below it; its work items go to the node at `heir`.
    ///
    /// # Errors
    /// 400 for the root and for an heir that goes as well, 403 for who does not administer.
    pub fn delete_node(
        &mut self,
        actor: Actor,
        project: Uuid,
        tree: Tree,
        at: usize,
        heir: usize,
    ) -> Outcome<()> {
        self.require_administrator(actor)?;
        let home = self.project_by_id(project)?;
        let path = |at: usize| home.paths(tree).get(at).cloned().unwrap_or_default();
        let (gone, heir) = (path(at), path(heir));
        if at == 0 || heir.is_empty() || heir.eq_ignore_ascii_case(&gone) || starts_below(&heir, &gone) {
            return Err(Refusal::invalid("$reclassifyId (another node that stays is needed)"));
        }
        self.reclassify(project, tree, |path| {
            (path.eq_ignore_ascii_case(&gone) || starts_below(path, &gone)).then(|| heir.clone())
        });
        if let Some(home) = self.data.projects.get_mut(&project) {
            for path in home.paths_mut(tree) {
                if path.eq_ignore_ascii_case(&gone) || starts_below(path, &gone) {
                    path.clear();
                }
            }
        }
        self.record(actor, "node.deleted", format!("node/{gone}"));
        Ok(())
    }

    /// A project that an operation has already found.
    pub(super) fn project_by_id(&self, id: Uuid) -> Outcome<&Project> {
        self.projects.get(&id).ok_or_else(|| Refusal::project_id(&id.to_string()))
    }

    fn date_node(&mut self, project: Uuid, tree: Tree, at: usize, (start, finish): Dates) {
        let Some(home) = self.data.projects.get_mut(&project).filter(|_| tree == Tree::Iterations) else {
            return;
        };
        if start.is_some() || finish.is_some() {
            let dates = home.iteration_dates.entry(at).or_default();
            *dates = (start.or(dates.0), finish.or(dates.1));
        }
    }

    fn move_paths(&mut self, project: Uuid, tree: Tree, from: &str, to: &str) {
        let moved = |path: &str| {
            let rest = path.get(from.len()..).unwrap_or_default();
            (path.eq_ignore_ascii_case(from) || starts_below(path, from)).then(|| format!("{to}{rest}"))
        };
        self.reclassify(project, tree, moved);
        if let Some(home) = self.data.projects.get_mut(&project) {
            for path in home.paths_mut(tree) {
                if let Some(moved) = moved(path) {
                    *path = moved;
                }
            }
        }
    }

    /// Work items follow their nodes, without a revision of their own.
    fn reclassify(&mut self, project: Uuid, tree: Tree, moved: impl Fn(&str) -> Option<String>) {
        let field = tree.field();
        let items = self.work_items.values().filter(|item| item.project == project);
        let found: Vec<_> = items.filter_map(|i| Some((i.id, moved(i.text(field))?))).collect();
        for (id, path) in found {
            if let Some(item) = self.data.work_items.get_mut(&id) {
                item.fields.insert(field.to_owned(), FieldValue::Text(path));
            }
        }
    }
}

/// Whether `path` is somewhere below `above`.
fn starts_below(path: &str, above: &str) -> bool {
    let head = path.get(..above.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(above)) && path[above.len()..].starts_with('\\')
}

/// The path of a child with a name that can be one and is not taken.
fn child(home: &Project, tree: Tree, above: &str, name: &str) -> Outcome<String> {
    let bad = name.trim().is_empty()
        || name.trim() != name
        || name.chars().count() > NAME
        || name.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|', '#', '$', '&', '+'])
        || name.chars().any(char::is_control)
        || name == "."
        || name == "..";
    if bad {
        let text = format!("name ('{}' cannot be the name of a node)", name.escape_default());
        return Err(Refusal::invalid(text));
    }
    if above.split('\\').count() > DEPTH {
        return Err(Refusal::invalid(format!("path (a tree is at most {DEPTH} levels deep)")));
    }
    let path = format!("{above}\\{name}");
    if home.node(tree, &path).is_some() {
        let text = format!(
            "VS402371: Classification node name {name} is already in use by a different child of parent \
             classification node {above}."
        );
        return Err(Refusal::new(409, "ClassificationNodeDuplicateNameException", text));
    }
    Ok(path)
}
