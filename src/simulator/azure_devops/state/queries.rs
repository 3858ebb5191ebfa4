//! Saved queries: the folders "My Queries" and "Shared Queries" of each project and what is in them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::Permission;
use super::{Actor, Outcome, World, wiql};
use crate::simulator::azure_devops::refusal::Refusal;

/// Saved queries and folders of one project.
const QUERIES: usize = 1_000;
/// Longest name, in characters.
const NAME: usize = 255;
/// Longest text of a query, in characters.
const WIQL: usize = 32_000;
/// Deepest folder.
const DEPTH: usize = 10;

/// The two folders at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// Seen by their owner.
    Mine,
    /// Seen by everybody in the project.
    Shared,
}

impl Root {
    /// Name of the folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mine => "My Queries",
            Self::Shared => "Shared Queries",
        }
    }

    /// Id of the folder: one for each project, and for each owner of private ones.
    pub fn id(self, project: Uuid, owner: Uuid) -> Uuid {
        match self {
            Self::Mine => Uuid::from_u128(project.as_u128() ^ owner.as_u128() ^ 0x0071),
            Self::Shared => Uuid::from_u128(project.as_u128() ^ 0x5aed),
        }
    }
}

/// A saved query, or a folder of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedQuery {
    /// Id.
    pub id: Uuid,
    /// Its project.
    pub project: Uuid,
    /// Below which folder at the top.
    pub root: Root,
    /// The folder it is in, unless it is right below the top.
    pub folder: Option<Uuid>,
    /// Name.
    pub name: String,
    /// The query; none for a folder.
    pub wiql: Option<String>,
    /// Who made it.
    pub created_by: Uuid,
    /// When.
    pub created: Timestamp,
    /// Who changed it last.
    pub modified_by: Uuid,
    /// When.
    pub modified: Timestamp,
}

/// Where a query is, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// One of the folders at the top.
    Top(Root),
    /// A query or folder.
    Saved(Uuid),
}

/// 404 for a saved query.
pub fn no_query(text: &str) -> Refusal {
    let text =
        format!("TF401243: The query {text} does not exist, or you do not have permission to read it.");
    Refusal::new(404, "QueryItemNotFoundException", text)
}

impl World {
    /// Whether somebody may see a saved query.
    fn sees(&self, actor: Actor, query: &SavedQuery) -> bool {
        query.root == Root::Shared || query.created_by == actor.id
    }

    /// What is right below a place, by name.
    pub fn queries_below(&self, actor: Actor, project: Uuid, spot: Spot) -> Vec<&SavedQuery> {
        let fits = |q: &&SavedQuery| {
            let here = match spot {
                Spot::Top(root) => q.root == root && q.folder.is_none(),
                Spot::Saved(id) => q.folder == Some(id),
            };
            here && q.project == project && self.sees(actor, q)
        };
        let mut found: Vec<&SavedQuery> = self.queries.values().filter(fits).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// The place with an id or a path.
    ///
    /// # Errors
    /// 404 otherwise.
    pub fn query_spot(&self, actor: Actor, project: Uuid, text: &str) -> Outcome<Spot> {
        let missing = || no_query(text);
        if let Ok(id) = Uuid::try_parse(text) {
            let top = [Root::Mine, Root::Shared].into_iter().find(|r| r.id(project, actor.id) == id);
            let saved = self.queries.get(&id).filter(|q| q.project == project && self.sees(actor, q));
            return top.map(Spot::Top).or_else(|| saved.map(|q| Spot::Saved(q.id))).ok_or_else(missing);
        }
        let mut names = text.split('/').filter(|name| !name.is_empty());
        let first = names.next().unwrap_or_default();
        let root = [Root::Mine, Root::Shared].into_iter().find(|r| r.name().eq_ignore_ascii_case(first));
        let mut spot = Spot::Top(root.ok_or_else(missing)?);
        for name in names {
            let below = self.queries_below(actor, project, spot);
            let found = below.iter().find(|q| q.name.eq_ignore_ascii_case(name)).ok_or_else(missing)?;
            spot = Spot::Saved(found.id);
        }
        Ok(spot)
    }

    /// Saves a query or makes a folder, and gives its id.
    ///
    /// # Errors
    /// 400 for a bad name or query, 409 for a taken name, 403 without permission.
    pub fn save_query(
        &mut self,
        actor: Actor,
        project: Uuid,
        spot: Spot,
        name: &str,
        text: Option<&str>,
    ) -> Outcome<Uuid> {
        self.require_query_write(actor, project)?;
        self.check_query(actor, project, spot, name, text)?;
        let (root, folder) = match spot {
            Spot::Top(root) => (root, None),
            Spot::Saved(id) => match self.queries.get(&id).filter(|q| q.wiql.is_none()) {
                Some(folder) => (folder.root, Some(id)),
                None => return Err(Refusal::invalid("query (only a folder has something below it)")),
            },
        };
        if self.query_path(folder, root).split('/').count() > DEPTH {
            return Err(Refusal::invalid(format!("query (folders are at most {DEPTH} deep)")));
        }
        let (id, now) = (self.new_id(), self.now());
        let query = SavedQuery {
            id,
            project,
            root,
            folder,
            name: name.to_owned(),
            wiql: text.map(str::to_owned),
            created_by: actor.id,
            created: now,
            modified_by: actor.id,
            modified: now,
        };
        self.data.queries.insert(id, query);
        self.record(actor, "query.saved", format!("query/{name}"));
        Ok(id)
    }

    /// Renames a query or gives it another text.
    ///
    /// # Errors
    /// As [`World::save_query`].
    pub fn change_query(
        &mut self,
        actor: Actor,
        id: Uuid,
        name: Option<&str>,
        text: Option<&str>,
    ) -> Outcome<()> {
        let missing = || no_query(&id.to_string());
        let old = self.queries.get(&id).ok_or_else(missing)?.clone();
        self.require_query_write(actor, old.project)?;
        let spot = old.folder.map_or(Spot::Top(old.root), Spot::Saved);
        let renamed = name.filter(|name| !name.eq_ignore_ascii_case(&old.name));
        if let Some(name) = renamed {
            self.check_query(actor, old.project, spot, name, None)?;
        }
        if let Some(text) = text {
            check_text(text)?;
        }
        let now = self.now();
        let query = self.data.queries.get_mut(&id).ok_or_else(missing)?;
        query.name = name.map_or(old.name, str::to_owned);
        query.wiql = text.filter(|_| old.wiql.is_some()).map(str::to_owned).or(old.wiql);
        (query.modified, query.modified_by) = (now, actor.id);
        self.record(actor, "query.changed", format!("query/{id}"));
        Ok(())
    }

    /// Removes a query, or a folder with everything in it.
    ///
    /// # Errors
    /// 404 for an unknown one, 403 without permission.
    pub fn remove_query(&mut self, actor: Actor, id: Uuid) -> Outcome<()> {
        let project = self.queries.get(&id).ok_or_else(|| no_query(&id.to_string()))?.project;
        self.require_query_write(actor, project)?;
        let mut gone = vec![id];
        let mut next = 0;
        while let Some(one) = gone.get(next).copied() {
            gone.extend(self.queries.values().filter(|q| q.folder == Some(one)).map(|q| q.id));
            next += 1;
        }
        for id in gone {
            self.data.queries.remove(&id);
        }
        self.record(actor, "query.removed", format!("query/{id}"));
        Ok(())
    }

    /// Path of a folder, from the top.
    pub fn query_path(&self, folder: Option<Uuid>, root: Root) -> String {
        let mut names = Vec::new();
        let mut at = folder;
        // Folders are made one below the other, so this ends; the limit is for a damaged file.
        while let Some(found) = at.and_then(|id| self.queries.get(&id)).filter(|_| names.len() <= DEPTH) {
            names.push(found.name.as_str());
            at = found.folder;
        }
        names.push(root.name());
        names.reverse();
        names.join("/")
    }

    fn require_query_write(&self, actor: Actor, project: Uuid) -> Outcome<()> {
        if self.may(actor.id, project, None, Permission::WorkItemWrite) {
            return Ok(());
        }
        Err(Refusal::denied("TF401256: You do not have Write permissions for the query folder."))
    }

    fn check_query(
        &self,
        actor: Actor,
        project: Uuid,
        spot: Spot,
        name: &str,
        text: Option<&str>,
    ) -> Outcome<()> {
        let bad = name.trim().is_empty()
            || name.chars().count() > NAME
            || name.contains(['/', '\\', '<', '>', '*', '?', '"', ':', '&', '#', '%', '|', '+'])
            || name.chars().any(char::is_control);
        if bad || self.queries.values().filter(|q| q.project == project).count() >= QUERIES {
            return Err(Refusal::invalid(format!(
                "name ('{}' is no name of a query)",
                name.escape_default()
            )));
        }
        if self.queries_below(actor, project, spot).iter().any(|q| q.name.eq_ignore_ascii_case(name)) {
            let text = format!("TF237018: A query or folder with the name {name} already exists.");
            return Err(Refusal::new(409, "QueryItemAlreadyExistsException", text));
        }
        text.map_or(Ok(()), check_text)
    }
}

fn check_text(text: &str) -> Outcome<()> {
    if text.chars().count() > WIQL {
        return Err(Refusal::query(format!("The text is longer than {WIQL} characters.")));
    }
    wiql::parse(text).map(drop).map_err(Refusal::query)
}
