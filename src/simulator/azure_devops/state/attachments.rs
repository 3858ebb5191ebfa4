//! Files on work items and pull requests. Their bytes are files beside the repositories.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::Permission;
use super::{Actor, Outcome, World};
use crate::simulator::azure_devops::refusal::Refusal;

/// Longest name of a file, in characters.
const NAME: usize = 255;
/// Files of one organisation.
const ATTACHMENTS: usize = 10_000;
/// Folder of the bytes, among the repositories.
const FOLDER: &str = "attachments";

/// A file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// Id.
    pub id: Uuid,
    /// Number among the files of a pull request.
    pub number: u32,
    /// Name of the file.
    pub name: String,
    /// The project it may be read in.
    pub project: Uuid,
    /// The pull request it is on; else it is one for work items.
    pub pull_request: Option<u32>,
    /// Who brought it.
    pub by: Uuid,
    /// When.
    pub created: Timestamp,
    /// SHA-1 of the bytes, as git makes it.
    pub content_hash: String,
}

/// 404 for a file.
pub fn no_attachment(name: &str) -> Refusal {
    let text = format!("TF237082: The attachment {name} could not be found.");
    Refusal::new(404, "AttachmentNotFoundException", text)
}

impl World {
    /// Keeps a file and gives its id.
    ///
    /// # Errors
    /// 400 for a bad or taken name, 403 without permission, 500 when it cannot be written.
    pub fn attach(
        &mut self,
        actor: Actor,
        project: Uuid,
        pull_request: Option<u32>,
        name: &str,
        bytes: &[u8],
    ) -> Outcome<Uuid> {
        let permission = match pull_request {
            Some(_) => Permission::PullRequestContribute,
            None => Permission::WorkItemWrite,
        };
        let repository = pull_request.and_then(|id| Some(self.pull_requests.get(&id)?.repository));
        if !self.may(actor.id, project, repository, permission) {
            return Err(Refusal::denied("TF237083: You do not have permissions to add attachments."));
        }
        let bad = name.trim().is_empty()
            || name.chars().count() > NAME
            || name.contains(['/', '\\', ':', '*', '?', '"', '<', '>', '|'])
            || name.chars().any(char::is_control);
        if bad || self.attachments.len() >= ATTACHMENTS {
            return Err(Refusal::invalid(format!(
                "fileName ('{}' cannot be the name of a file here)",
                name.escape_default()
            )));
        }
        let siblings =
            || self.attachments.values().filter(|a| pull_request.is_some() && a.pull_request == pull_request);
        if siblings().any(|a| a.name.eq_ignore_ascii_case(name)) {
            let text = format!("TF401187: An attachment with the name {name} already exists.");
            return Err(Refusal::new(409, "GitPullRequestAttachmentExistsException", text));
        }
        let number = siblings().map(|a| a.number).max().unwrap_or(0) + 1;
        let id = self.new_id();
        let content_hash = git2::Oid::hash_object(git2::ObjectType::Blob, bytes)?.to_string();
        self.write_attachment(id, bytes).map_err(|error| {
            Refusal::new(500, "AttachmentStorageException", format!("The file could not be written: {error}"))
        })?;
        let created = self.now();
        let name = name.to_owned();
        let entry =
            Attachment { id, number, name, project, pull_request, by: actor.id, created, content_hash };
        self.data.attachments.insert(id, entry);
        self.record(actor, "attachment.created", format!("attachment/{id}"));
        Ok(id)
    }

    /// A file that `actor` may read.
    ///
    /// # Errors
    /// 404 otherwise.
    pub fn visible_attachment(&self, actor: Actor, id: Uuid) -> Outcome<&Attachment> {
        let readable = |a: &&Attachment| self.may(actor.id, a.project, None, Permission::WorkItemRead);
        self.attachments.get(&id).filter(readable).ok_or_else(|| no_attachment(&id.to_string()))
    }

    /// Where the bytes of a file are.
    pub fn attachment_path(&self, id: Uuid) -> PathBuf {
        self.root().join(FOLDER).join(id.to_string())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// 403 for who did not bring it and does not administer.
    pub fn detach(&mut self, actor: Actor, id: Uuid) -> Outcome<()> {
        if self.attachments.get(&id).is_some_and(|a| a.by != actor.id) {
            self.require_administrator(actor)?;
        }
        if self.data.attachments.remove(&id).is_some() {
            // A file that is left over harms nobody: nothing names it any more.
            let _ = std::fs::remove_file(self.attachment_path(id));
            self.record(actor, "attachment.deleted", format!("attachment/{id}"));
        }
        Ok(())
    }

    fn write_attachment(&self, id: Uuid, bytes: &[u8]) -> std::io::Result<()> {
        std::fs::create_dir_all(self.root().join(FOLDER))?;
        std::fs::write(self.attachment_path(id), bytes)
    }
}
