//! What an approver may change before saying yes: words, fewer files, another branch of the
//! co-worker's. The result is another action with another digest.

use serde::{Deserialize, Serialize};

use crate::action::{Action, BranchName, FileChange};

/// Where branches of the co-worker begin.
const OWN_BRANCHES: &str = "agent/";
/// Longest title that is taken, in characters.
const MAX_TITLE: usize = 255;
/// Longest description that is taken, in characters.
const MAX_DESCRIPTION: usize = 4_000;

/// A person's changes to an action. What is absent stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Edits {
    /// New title; of a push, the first line of the commit message.
    pub title: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// Another branch for a push, which begins with `agent/`.
    pub branch: Option<String>,
    /// The files of a push that are kept.
    pub files: Option<Vec<String>>,
}

impl Edits {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the action would reach further than the one that was asked for: another branch, or
    /// an address that was not in the text.
    pub fn widens(&self, action: &Action) -> bool {
        let before = serde_json::to_string(action).unwrap_or_default();
        let texts = [self.title.as_deref(), self.description.as_deref()];
        let mut addresses =
            texts.into_iter().flatten().flat_map(str::split_whitespace).filter(|word| word.contains("//"));
        self.branch.is_some() || addresses.any(|word| !before.contains(word))
    }

    /// The action with these changes.
    ///
    /// # Errors
    /// In words, what cannot be changed.
    pub fn apply(&self, action: &Action) -> Result<Action, String> {
        let mut changed = action.clone();
        if let Some(title) = &self.title {
            set_title(&mut changed, &line(title)?)?;
        }
        if let Some(description) = &self.description {
            if description.chars().count() > MAX_DESCRIPTION {
                return Err(format!("The description is longer than {MAX_DESCRIPTION} characters."));
            }
            *description_of(&mut changed).ok_or("This action has no description to change.")? =
                description.clone();
        }
        if let Some(branch) = &self.branch {
            set_branch(&mut changed, branch)?;
        }
        if let Some(files) = &self.files {
            keep_files(&mut changed, files)?;
        }
        Ok(changed)
    }

    /// The part of these changes that is about where a push goes, for the branch that is made first.
    #[must_use]
    pub fn of_branch(&self) -> Self {
        Self { branch: self.branch.clone(), ..Self::default() }
    }
}

fn line(title: &str) -> Result<String, String> {
    let title = title.trim();
    let fits = !title.is_empty() && title.chars().count() <= MAX_TITLE && !title.contains(['\n', '\r']);
    if fits {
        Ok(title.to_owned())
    } else {
        Err(format!("Give a title of one line, at most {MAX_TITLE} characters."))
    }
}

fn set_title(action: &mut Action, new: &str) -> Result<(), String> {
    match action {
        Action::CreateWorkItem { title, .. } | Action::CreatePullRequest { title, .. } => {
            new.clone_into(title);
        }
        Action::UpdatePullRequest { title: Some(title), .. } => new.clone_into(title),
        Action::UpdateWorkItem { fields, .. } if fields.contains_key("System.Title") => {
            fields.insert("System.Title".into(), new.to_owned());
        }
        Action::Push { message, .. } => {
            let rest = message.split_once('\n').map_or("", |(_, rest)| rest);
            *message = if rest.is_empty() { new.to_owned() } else { format!("{new}\n{rest}") };
        }
        _ => return Err("This action has no title to change.".into()),
    }
    Ok(())
}

fn description_of(action: &mut Action) -> Option<&mut String> {
    match action {
        Action::CreateWorkItem { description, .. } | Action::CreatePullRequest { description, .. } => {
            Some(description)
        }
        Action::UpdatePullRequest { description, .. } => description.as_mut(),
        Action::UpdateWorkItem { fields, .. } => fields.get_mut("System.Description"),
        _ => None,
    }
}

fn set_branch(action: &mut Action, new: &str) -> Result<(), String> {
    let new = BranchName::new(new).map_err(|error| error.to_string())?;
    let own = |name: &BranchName| name.as_str().starts_with(OWN_BRANCHES);
    match action {
        Action::Push { branch, .. } | Action::CreateBranch { branch, .. } if own(branch) && own(&new) => {
            *branch = new;
            Ok(())
        }
        _ => {
            Err("Only the branch of a push can be changed, and only to another that begins with agent/."
                .into())
        }
    }
}

fn keep_files(action: &mut Action, files: &[String]) -> Result<(), String> {
    let Action::Push { changes, .. } = action else {
        return Err("This action has no files.".into());
    };
    let touches = |change: &FileChange, file: &str| {
        change
            .paths()
            .iter()
            .any(|path| path.as_str().trim_start_matches('/') == file.trim_start_matches('/'))
    };
    if let Some(missing) = files.iter().find(|file| !changes.iter().any(|change| touches(change, file))) {
        return Err(format!("{missing} is not among the files of this push."));
    }
    changes.retain(|change| files.iter().any(|file| touches(change, file)));
    match changes.is_empty() {
        true => Err("No file would be left; deny it instead.".into()),
        false => Ok(()),
    }
}
