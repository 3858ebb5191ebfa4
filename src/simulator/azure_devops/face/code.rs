//! The repository: folders, files, commits, branches.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use serde::Deserialize;

use super::super::git::store::{Commit, Store};
use super::super::state::{Project, Repository, World};
use super::diff::{self, FileDiff};
use super::page::{Fault, Page, Place, Visitor, Who, segment, show};
use super::text::{ago, instant, markdown, short};

/// Commits of a history page.
const MAX_COMMITS: usize = 100;
/// The file that is shown below the list of its folder.
const README: &str = "readme.md";

/// A repository on a page, opened.
pub struct Code {
    /// Name.
    pub name: String,
    /// Address without the host.
    pub path: String,
    /// What `git clone` takes.
    pub clone_url: String,
}

impl Code {
    /// The repository as pages name it.
    pub fn of(world: &World, place: &Place, repository: &Repository) -> Self {
        let host = world.base().trim_end_matches(&format!("/{}", world.organization)).to_owned();
        let path = place.code(repository);
        Self { name: repository.name.clone(), clone_url: format!("{host}{path}"), path }
    }

    /// The address of a file or folder at a version (`GBmain`, `GC…`).
    pub fn at(&self, path: &str, version: &str) -> String {
        let path: Vec<String> = path.split('/').map(segment).collect();
        format!("{}?path={}&version={}", self.path, path.join("/"), segment(version))
    }

    /// The address of a branch.
    pub fn branch(&self, name: &str) -> String {
        format!("{}?version={}", self.path, segment(&format!("GB{}", branch_name(name))))
    }
}

/// `main` of `refs/heads/main`.
pub fn branch_name(name: &str) -> &str {
    name.strip_prefix("refs/heads/").unwrap_or(name)
}

/// A commit in a list.
pub struct CommitLine {
    /// Whole id.
    pub sha: String,
    /// Its first digits.
    pub short: String,
    /// First line of the message.
    pub subject: String,
    /// Author's name as the commit says.
    pub author: String,
    /// First letter of it.
    pub initial: String,
    /// When, in words.
    pub when: String,
    /// When.
    pub instant: String,
}

/// A commit as a line.
pub fn commit_line(world: &World, commit: &Commit) -> CommitLine {
    CommitLine {
        short: short(&commit.sha),
        sha: commit.sha.clone(),
        subject: commit.message.lines().next().unwrap_or_default().to_owned(),
        author: commit.author.name.clone(),
        initial: commit
            .author
            .name
            .chars()
            .next()
            .map_or(String::new(), |first| first.to_uppercase().collect()),
        when: ago(world.now(), commit.committer.date),
        instant: instant(commit.committer.date),
    }
}

/// A place in a repository.
#[derive(Default, Deserialize)]
pub struct Spot {
    #[serde(default)]
    path: String,
    #[serde(default)]
    version: String,
}

/// The commit of a version and how it is called.
fn resolve(repository: &Repository, store: &Store, version: &str) -> Option<(String, String)> {
    let named = |name: &str| repository.refs.get(name).and_then(|found| store.peel(&found.sha));
    match (version.get(..2), version.get(2..)) {
        (Some("GB"), Some(name)) => Some((named(&format!("refs/heads/{name}"))?, name.to_owned())),
        (Some("GT"), Some(name)) => Some((named(&format!("refs/tags/{name}"))?, name.to_owned())),
        (Some("GC"), Some(sha)) => Some((store.peel(sha)?, short(sha))),
        _ => {
            let name = repository.default_branch.as_deref()?;
            Some((named(name)?, branch_name(name).to_owned()))
        }
    }
}

/// A repository that the visitor may read.
struct Opened<'w> {
    repository: &'w Repository,
    project: &'w Project,
    code: Code,
    store: Store,
}

fn open<'w>(visitor: &Visitor, world: &'w World, project: &str, name: &str) -> Result<Opened<'w>, Fault> {
    let repository = world.visible_repository(visitor.reader(), Some(project), name)?;
    let project = world.visible_project(visitor.reader(), project)?;
    let code = Code::of(world, &Place::of(world, project), repository);
    Ok(Opened { repository, project, code, store: world.store(repository.id)? })
}

struct EntryLine {
    name: String,
    url: String,
    folder: bool,
}

#[derive(Template)]
#[template(path = "simulator/folder.html")]
struct FolderPage {
    page: Page,
    code: Code,
    branches: Vec<String>,
    version: String,
    version_name: String,
    crumbs: Vec<(String, String)>,
    entries: Vec<EntryLine>,
    newest: Option<CommitLine>,
    readme: Option<String>,
}

#[derive(Template)]
#[template(path = "simulator/file.html")]
struct FilePage {
    page: Page,
    version_name: String,
    crumbs: Vec<(String, String)>,
    lines: Vec<String>,
    size: usize,
    facts: Vec<&'static str>,
    note: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "simulator/empty_repository.html")]
struct EmptyPage {
    page: Page,
    code: Code,
}

/// `/{organization}/{project}/_git/{repository}?path=&version=`
pub async fn browse(
    visitor: Visitor,
    Path((_, project, name)): Path<(String, String, String)>,
    Query(spot): Query<Spot>,
) -> Result<Response, Fault> {
    let world = visitor.organisation.lock();
    let Opened { repository, project, code, store } = open(&visitor, &world, &project, &name)?;
    let page = |title: String| visitor.page_in(&world, project, "code", title);
    let Some((commit, version_name)) = resolve(repository, &store, &spot.version) else {
        if spot.version.is_empty() {
            return Ok(show(&EmptyPage { page: page(code.name.clone()), code }));
        }
        return Err(Fault::missing(&format!("There is no version “{}” in {}.", spot.version, code.name)));
    };
    let version = if spot.version.is_empty() { format!("GB{version_name}") } else { spot.version.clone() };
    let crumbs = crumbs(&code, &spot.path, &version);
    let missing = || Fault::missing(&format!("There is no {} in {version_name}.", spot.path));
    let entry = store.entry(&commit, &spot.path).ok_or_else(missing)?;
    let title = if entry.path == "/" { code.name.clone() } else { entry.path.clone() };
    if !entry.folder {
        let bytes = store.blob(&entry.sha)?;
        let text = diff::readable(&bytes);
        let note = match (&text, bytes.len() > diff::MAX_BYTES) {
            (Some(_), _) => None,
            (None, true) => Some("This file is too large to show."),
            (None, false) => Some("This file is not text."),
        };
        let facts = [
            (bytes.starts_with(b"\xef\xbb\xbf"), "byte-order mark"),
            (has_crlf(&bytes), "CRLF line endings"),
        ];
        let facts = facts.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
        let lines = text.unwrap_or_default().lines().map(diff::escape).collect();
        let (page, size) = (page(title), bytes.len());
        return Ok(show(&FilePage { page, version_name, crumbs, lines, size, facts, note }));
    }
    let mut below = store.below(&entry, false)?;
    below.sort_by_key(|found| (!found.folder, found.path.to_lowercase()));
    let readme = below
        .iter()
        .find(|found| found.path.rsplit('/').next().is_some_and(|n| n.eq_ignore_ascii_case(README)));
    let readme = readme.and_then(|found| diff::readable(&store.blob(&found.sha).ok()?));
    let entries = below.iter().map(|found| EntryLine {
        name: found.path.rsplit('/').next().unwrap_or_default().to_owned(),
        url: code.at(&found.path, &version),
        folder: found.folder,
    });
    let newest = store.history(&commit, &[], 1)?;
    Ok(show(&FolderPage {
        page: page(title),
        branches: repository
            .refs
            .keys()
            .filter_map(|name| Some(name.strip_prefix("refs/heads/")?.to_owned()))
            .collect(),
        entries: entries.collect(),
        newest: newest.first().map(|commit| commit_line(&world, commit)),
        readme: readme.map(|text| markdown(&text, &Place::of(&world, project).path)),
        code,
        version,
        version_name,
        crumbs,
    }))
}

fn has_crlf(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\r\n")
}

fn crumbs(code: &Code, path: &str, version: &str) -> Vec<(String, String)> {
    let mut crumbs = vec![(code.name.clone(), code.at("/", version))];
    let mut so_far = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        so_far.push('/');
        so_far.push_str(part);
        crumbs.push((part.to_owned(), code.at(&so_far, version)));
    }
    crumbs
}

#[derive(Template)]
#[template(path = "simulator/commits.html")]
struct CommitsPage {
    page: Page,
    code: Code,
    version_name: String,
    commits: Vec<CommitLine>,
}

/// `/{organization}/{project}/_git/{repository}/commits`
pub async fn history(
    visitor: Visitor,
    Path((_, project, name)): Path<(String, String, String)>,
    Query(spot): Query<Spot>,
) -> Result<Response, Fault> {
    let world = visitor.organisation.lock();
    let Opened { repository, project, code, store } = open(&visitor, &world, &project, &name)?;
    let found = resolve(repository, &store, &spot.version);
    let (commits, version_name) = match found {
        Some((commit, name)) => (store.history(&commit, &[], MAX_COMMITS)?, name),
        None => (Vec::new(), String::new()),
    };
    let commits = commits.iter().map(|commit| commit_line(&world, commit)).collect();
    Ok(show(&CommitsPage {
        page: visitor.page_in(&world, project, "commits", "Commits"),
        code,
        version_name,
        commits,
    }))
}

#[derive(Template)]
#[template(path = "simulator/commit.html")]
struct CommitPage {
    page: Page,
    code: Code,
    commit: CommitLine,
    account: String,
    body: String,
    parents: Vec<(String, String)>,
    files: Vec<FileDiff>,
    added: usize,
    removed: usize,
}

/// `/{organization}/{project}/_git/{repository}/commit/{sha}`
pub async fn commit(
    visitor: Visitor,
    Path((_, project, name, sha)): Path<(String, String, String, String)>,
) -> Result<Response, Fault> {
    let world = visitor.organisation.lock();
    let Opened { project, code, store, .. } = open(&visitor, &world, &project, &name)?;
    let commit = store.commit(&sha)?;
    let files = diff::between(&store, commit.parents.first().map(String::as_str), &commit.sha)?;
    let line = commit_line(&world, &commit);
    let body = commit.message.split_once('\n').map_or("", |(_, body)| body.trim()).to_owned();
    Ok(show(&CommitPage {
        page: visitor.page_in(&world, project, "commits", line.subject.clone()),
        account: commit.author.email.clone(),
        body,
        parents: commit.parents.iter().map(|sha| (sha.clone(), short(sha))).collect(),
        added: files.iter().map(|file| file.added).sum(),
        removed: files.iter().map(|file| file.removed).sum(),
        commit: line,
        code,
        files,
    }))
}

struct BranchLine {
    name: String,
    url: String,
    by: Who,
    commit: Option<CommitLine>,
    ahead: usize,
    behind: usize,
    is_default: bool,
    protected: bool,
    pull: Option<u32>,
}

#[derive(Template)]
#[template(path = "simulator/branches.html")]
struct BranchesPage {
    page: Page,
    code: Code,
    branches: Vec<BranchLine>,
}

/// `/{organization}/{project}/_git/{repository}/branches`
pub async fn branches(
    visitor: Visitor,
    Path((_, project, name)): Path<(String, String, String)>,
) -> Result<Response, Fault> {
    let world = visitor.organisation.lock();
    let Opened { repository, project, code, store } = open(&visitor, &world, &project, &name)?;
    let default = repository.default_branch.clone().unwrap_or_default();
    let tip = repository.refs.get(&default).map(|found| found.sha.clone());
    let mut branches: Vec<BranchLine> = Vec::new();
    for (full, found) in repository.refs.iter().filter(|(name, _)| name.starts_with("refs/heads/")) {
        let compared = tip.as_ref().and_then(|tip| store.ahead_behind(&found.sha, tip).ok());
        let (ahead, behind) = compared.unwrap_or_default();
        let pull = world
            .pull_requests
            .values()
            .rev()
            .find(|pull| pull.source_repository == repository.id && pull.source_ref == *full);
        branches.push(BranchLine {
            name: branch_name(full).to_owned(),
            url: code.branch(full),
            by: Who::of(&world, found.creator),
            commit: store.commit(&found.sha).ok().map(|commit| commit_line(&world, &commit)),
            ahead,
            behind,
            is_default: *full == default,
            protected: world.is_protected(repository.id, full),
            pull: pull.map(|pull| pull.id),
        });
    }
    branches.sort_by_key(|branch| !branch.is_default);
    Ok(show(&BranchesPage { page: visitor.page_in(&world, project, "branches", "Branches"), code, branches }))
}
