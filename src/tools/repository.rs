//! What the owners of the repository say about work in it: `AGENTS.md` and `.ado-coworker.toml`.
//!
//! Read from the branch that changes go into, at its tip, and from nowhere else: a feature branch
//! speaks for whoever pushed to it (GOVERNANCE A07). It is information, whatever it says.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Toolbox;
use crate::action::{BranchName, CommitId, ItemPath};
use crate::azure_devops::{Error, Version};
use crate::journal::RunId;
use crate::mask::Origin;

/// The file that tells how to work here.
const INSTRUCTIONS: &str = "AGENTS.md";
/// The settings that a repository keeps for the co-worker.
const SETTINGS: &str = "/.ado-coworker.toml";
/// Largest of these files that is taken, in bytes.
const MAX_FILE_BYTES: usize = 16 * 1024;
/// Most folders whose own instructions are looked for.
const MAX_FOLDERS: usize = 6;
/// Most names in one setting.
const MAX_NAMES: usize = 10;
/// Most repairs of one pull request that a repository can ask for.
const MAX_REPAIRS: u32 = 10;

/// What `.ado-coworker.toml` may say.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RepositorySettings {
    /// Who reviews the co-worker's pull requests: names or mail addresses.
    pub reviewers: Vec<String>,
    /// Labels for its pull requests.
    pub labels: Vec<String>,
    /// Most runs that repair one pull request after failed builds, in a week.
    pub repairs: Option<u32>,
    /// Anything else, by name: told, and without effect.
    #[serde(flatten)]
    unknown: toml::Table,
    /// What is wrong with the file, in sentences.
    #[serde(skip)]
    pub faults: Vec<String>,
}

impl RepositorySettings {
    /// Reads the file. What is wrong with it is told in `faults`; the rest counts.
    pub fn read(text: &str) -> Self {
        let mut settings: Self = match toml::from_str(text) {
            Ok(settings) => settings,
            Err(error) => {
                let fault = format!("It cannot be read: {}.", error.message());
                return Self { faults: vec![fault], ..Self::default() };
            }
        };
        let unknown: Vec<String> =
            settings.unknown.keys().take(MAX_NAMES).map(|name| format!("'{name}'")).collect();
        if !unknown.is_empty() {
            let known = "reviewers, labels, repairs";
            settings.faults.push(format!("It has the unknown {}; known are {known}.", unknown.join(", ")));
        }
        for names in [&mut settings.reviewers, &mut settings.labels] {
            names.retain(|name| {
                !name.trim().is_empty() && name.chars().count() <= 100 && !name.contains('\n')
            });
            names.truncate(MAX_NAMES);
        }
        if settings.repairs.is_some_and(|repairs| repairs > MAX_REPAIRS) {
            settings
                .faults
                .push(format!("repairs is more than {MAX_REPAIRS}, which is the most there can be."));
            settings.repairs = Some(MAX_REPAIRS);
        }
        settings
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RepositoryWords {
    /// Branch and commit that it was read from.
    pub read_from: Option<(BranchName, CommitId)>,
    /// Path and text of each `AGENTS.md`, secrets hidden.
    pub instructions: Vec<(String, String)>,
    /// The settings.
    pub settings: RepositorySettings,
}

impl Toolbox {
    /// What the repository says about the work of `run`: about a pull request, of the branch that it
    /// goes into and of the folders that it touches; else of the default branch.
    ///
    /// # Errors
    /// As every request. A file that is not there is none.
    pub async fn repository_words(
        &self,
        run: &RunId,
        pull_request: Option<u32>,
    ) -> Result<RepositoryWords, Error> {
        let mut folders = BTreeSet::new();
        let branch = match pull_request {
            Some(id) => {
                let found = self.azure.pull_request(&self.served, id).await?;
                let changes = self.azure.pull_request_changes(&self.served, id).await?;
                folders.extend(changes.files.iter().flat_map(|file| folders_of(&file.path)));
                BranchName::new(&found.target_branch).ok()
            }
            None => self.repository().await?.default_branch.clone(),
        };
        let Some(branch) = branch else { return Ok(RepositoryWords::default()) };
        let Some(tip) = self.azure.branch(&self.served, &branch).await? else {
            return Ok(RepositoryWords::default());
        };
        let at = Version::Commit(tip.tip.clone());
        let mut words = RepositoryWords { read_from: Some((branch, tip.tip)), ..RepositoryWords::default() };
        let session = self.veil.of(run);
        for folder in std::iter::once(String::new()).chain(folders.into_iter().take(MAX_FOLDERS)) {
            let path = format!("{folder}/{INSTRUCTIONS}");
            if let Some(text) = self.words_in(&at, &path).await? {
                let hidden = session.mask_text(&text, &Origin::Other(path.clone())).text;
                words.instructions.push((path, hidden));
            }
        }
        if let Some(text) = self.words_in(&at, SETTINGS).await? {
            words.settings = RepositorySettings::read(&text);
        }
        Ok(words)
    }

    /// The settings on the default branch.
    ///
    /// # Errors
    /// As every request. No file means the defaults.
    pub async fn repository_settings(&self) -> Result<RepositorySettings, Error> {
        let Some(branch) = self.repository().await?.default_branch.clone() else {
            return Ok(RepositorySettings::default());
        };
        let text = self.words_in(&Version::Branch(branch), SETTINGS).await?;
        Ok(text.map(|text| RepositorySettings::read(&text)).unwrap_or_default())
    }

    async fn words_in(&self, at: &Version, path: &str) -> Result<Option<String>, Error> {
        let Ok(path) = ItemPath::new(path) else { return Ok(None) };
        match self.azure.file(&self.served, at, &path, MAX_FILE_BYTES).await {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_owned())),
            Err(Error::NotFound(_)) => Ok(None),
            Err(Error::TooLarge(_)) => {
                Ok(Some(format!("(Left out: the file is larger than {MAX_FILE_BYTES} bytes.)")))
            }
            Err(error) => Err(error),
        }
    }
}

/// The folders above a file, the root left out.
fn folders_of(path: &str) -> Vec<String> {
    path.match_indices('/').skip(1).map(|(at, _)| path[..at].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_or_wrong_is_told_and_the_rest_counts() {
        let settings =
            RepositorySettings::read("reviewers = ['alice', ' ']\nrepairs = 99\ncolour = 'blue'\n");
        assert_eq!(settings.reviewers, ["alice"]);
        assert_eq!(settings.repairs, Some(MAX_REPAIRS));
        assert!(
            settings.faults.len() == 2 && settings.faults[0].contains("'colour'"),
            "{:?}",
            settings.faults
        );
        assert!(RepositorySettings::read("reviewers = 3").faults[0].starts_with("It cannot be read"));
        assert_eq!(RepositorySettings::read(""), RepositorySettings::default());
    }

    #[test]
    fn folders_are_those_above_a_file() {
        assert_eq!(folders_of("/src/auth/login.ts"), ["/src", "/src/auth"]);
        assert!(folders_of("/README.md").is_empty());
    }
}
