//! Code search: the index of the default branch, which may lag behind the last push.

use serde::Deserialize;
use serde_json::json;

use super::routes::CODE_SEARCH;
use super::transport::Question;
use super::{Client, Error, limits};
use crate::action::{CommitId, ItemPath, RepositoryRef};

/// What a code search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeSearch {
    /// Files that match, also those that were not asked for.
    pub total: u32,
    /// The files, best first.
    pub hits: Vec<CodeHit>,
}

/// A file that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeHit {
    /// Path with a leading slash; as stored, so it may be one that we would not write.
    pub path: String,
    /// Branch that was indexed.
    pub branch: Option<String>,
    /// Commit that was indexed: the matches count in the file as it is there.
    pub commit: Option<CommitId>,
    /// Matches in the text; empty when only the name matches.
    pub matches: Vec<CodeMatch>,
}

/// A match in a text. The service says where by characters, not by lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeMatch {
    /// Characters before it.
    pub offset: usize,
    /// Its length, in characters.
    pub length: usize,
}

#[derive(Deserialize)]
struct RawSearch {
    count: Option<u32>,
    results: Option<Vec<RawHit>>,
}

#[derive(Deserialize)]
struct RawHit {
    path: Option<String>,
    repository: Option<RawRepository>,
    matches: Option<RawMatches>,
    versions: Option<Vec<RawVersion>>,
}

#[derive(Deserialize)]
struct RawRepository {
    name: Option<String>,
}

#[derive(Deserialize)]
struct RawMatches {
    content: Option<Vec<RawMatch>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMatch {
    char_offset: Option<i64>,
    length: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawVersion {
    branch_name: Option<String>,
    change_id: Option<String>,
}

impl RawHit {
    fn into_hit(self) -> Option<CodeHit> {
        let version = self.versions.unwrap_or_default().into_iter().next();
        let (branch, commit) = version.map(|found| (found.branch_name, found.change_id)).unwrap_or_default();
        let place = |found: RawMatch| {
            let offset = usize::try_from(found.char_offset?).ok()?;
            Some(CodeMatch { offset, length: usize::try_from(found.length?).ok()? })
        };
        let content = self.matches.and_then(|matches| matches.content).unwrap_or_default();
        let matches = content.into_iter().filter_map(place).collect();
        let commit = commit.and_then(|id| CommitId::new(&id).ok());
        Some(CodeHit { path: self.path?, branch, commit, matches })
    }
}

impl Client {
    /// Searches the code of one repository, below `folder` where one is given; the first `most` files.
    ///
    /// # Errors
    /// [`Error`]; [`Error::NotFound`] where the organisation has no code search.
    pub async fn search_code(
        &self,
        repository: &RepositoryRef,
        text: &str,
        folder: Option<&ItemPath>,
        most: usize,
    ) -> Result<CodeSearch, Error> {
        limits::check("text", text, limits::SEARCH_TEXT)?;
        if text.trim().is_empty() {
            return Err(Error::invalid("give a text to look for".into()));
        }
        let mut filters = json!({ "Project": [repository.project], "Repository": [repository.repository] });
        if let Some(folder) = folder {
            filters["Path"] = json!([folder.as_str()]);
        }
        let body = json!({ "searchText": text, "$skip": 0, "$top": most, "filters": filters, "includeFacets": false });
        let segments = [repository.project.as_str()];
        let found: RawSearch = self.ask(Question::of(&CODE_SEARCH, &segments).body(body)).await?;
        // The filter is the service's; that nothing of another repository comes through is ours.
        let elsewhere = |hit: &RawHit| {
            let name = hit.repository.as_ref().and_then(|found| found.name.as_deref());
            name.is_some_and(|name| !name.eq_ignore_ascii_case(&repository.repository))
        };
        let results = found.results.unwrap_or_default().into_iter().filter(|hit| !elsewhere(hit));
        let hits: Vec<CodeHit> = results.filter_map(RawHit::into_hit).collect();
        let total = found.count.unwrap_or_else(|| u32::try_from(hits.len()).unwrap_or(u32::MAX));
        Ok(CodeSearch { total, hits: hits.into_iter().take(most).collect() })
    }
}
