//! One pull request: description, changes with what was said about them, checks.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use serde::Deserialize;

use super::super::state::policies::policy_name;
use super::super::state::{Iteration, MergeStatus, Project, PullRequest, PullRequestStatus, Target, World};
use super::builds::build_url;
use super::code::{Code, CommitLine, commit_line};
use super::conversation::{CommentView, THREAD_STATES, ThreadView, conversation};
use super::diff::{self, FileDiff, Row};
use super::page::{Fault, Page, Place, Visitor, Who, show as render};
use super::pull_requests::{PullLine, lines};
use super::text::{ago, markdown, short};
use super::told::about_thread;

/// What is suggested where a change speaks of a timeout.
const SUGGESTION: &str = "make the timeout configurable";
/// Commits shown of a pull request.
const MAX_COMMITS: usize = 100;

/// A file of the diff with what was said about it.
pub struct FileView {
    diff: FileDiff,
    /// Number for addresses within the page.
    at: usize,
    threads: Vec<ThreadView>,
    /// Address of the file on the source branch.
    url: String,
}

impl FileView {
    fn threads_at(&self, row: &Row) -> impl Iterator<Item = &ThreadView> {
        self.threads.iter().filter(|thread| thread.at(&self.diff, row))
    }

    /// Threads on lines that are not shown any more.
    fn elsewhere(&self) -> Vec<&ThreadView> {
        let shown = |thread: &&ThreadView| self.diff.rows.iter().any(|row| thread.at(&self.diff, row));
        self.threads.iter().filter(|thread| !shown(thread)).collect()
    }
}

/// The line a comment form stands at.
struct Draft {
    file: String,
    side: &'static str,
    line: usize,
    text: &'static str,
    suggested: bool,
}

impl Draft {
    fn at(&self, file: &FileDiff, row: &Row) -> bool {
        row.kind != "gap" && self.file == file.path && self.side == row.side() && self.line == row.line()
    }
}

struct Check {
    name: String,
    words: String,
    tone: &'static str,
    url: Option<String>,
}

struct Step {
    id: u32,
    who: Who,
    when: String,
    commit: String,
    short: String,
}

#[derive(Template)]
#[template(path = "simulator/pull_request.html")]
struct PullPage {
    page: Page,
    code: Code,
    pull: PullLine,
    action: String,
    source_url: Option<String>,
    target_url: String,
    description: String,
    files: Vec<FileView>,
    added: usize,
    removed: usize,
    general: Vec<ThreadView>,
    events: Vec<CommentView>,
    commits: Vec<CommitLine>,
    checks: Vec<Check>,
    steps: Vec<Step>,
    items: Vec<(u32, String, String)>,
    draft: Option<Draft>,
    my_vote: i32,
    reviewing: bool,
    merge: Option<(&'static str, String)>,
    blocking: Vec<String>,
    states: [(&'static str, &'static str); 6],
}

/// What the address of the page adds.
#[derive(Default, Deserialize)]
pub struct Look {
    file: Option<String>,
    line: Option<usize>,
    side: Option<String>,
    told: Option<u32>,
}

/// `/{organization}/{project}/_git/{repository}/pullrequest/{id}`
pub async fn show(
    visitor: Visitor,
    Path((_, project, name, id)): Path<(String, String, String, u32)>,
    Query(look): Query<Look>,
) -> Result<Response, Fault> {
    let world = visitor.organisation.lock();
    let repository = world.visible_repository(visitor.reader(), Some(&project), &name)?;
    let project = world.visible_project(visitor.reader(), &project)?;
    let pull = world.visible_pull_request(visitor.reader(), id)?;
    if pull.repository != repository.id {
        return Err(Fault::missing(&format!("Pull request {id} belongs to another repository.")));
    }
    let place = Place::of(&world, project);
    let code = Code::of(&world, &place, repository);
    let store = world.store(repository.id)?;
    let last = pull.iterations.last();
    let (from, to) =
        last.map_or((String::new(), pull.source_commit.clone()), |it| (it.common.clone(), it.source.clone()));
    let base = (!from.is_empty()).then_some(from.as_str());
    let diffs = diff::between(&store, base, &to)?;
    let commits = store.history(&to, &base.into_iter().collect::<Vec<_>>(), MAX_COMMITS)?;
    let draft = draft(&world, &visitor, pull, &diffs, &look);
    let (mut threads, events) = conversation(&world, &place, &store, pull);
    if let Some(told) = look.told {
        for thread in threads.iter_mut().filter(|thread| thread.id == told) {
            thread.told = about_thread(&world, id, told);
        }
    }
    let line =
        lines(&world, &visitor, project, Some(repository.id), None).into_iter().find(|line| line.id == id);
    let line = line.ok_or_else(|| Fault::missing("There is no such pull request."))?;
    let files = place_threads(&code, &line, diffs, &mut threads);
    let mut page = visitor.page_in(&world, project, "pulls", format!("Pull request {id}: {}", pull.title));
    page.refresh = look.told.is_some_and(|told| waits(&threads, &files, told));
    Ok(render(&PullPage {
        action: format!("{}/pullrequest/{id}", code.path),
        source_url: source_url(&world, &place, pull),
        target_url: code.branch(&pull.target_ref),
        description: markdown(&pull.description, &place.path),
        added: files.iter().map(|file| file.diff.added).sum(),
        removed: files.iter().map(|file| file.diff.removed).sum(),
        commits: commits.iter().map(|commit| commit_line(&world, commit)).collect(),
        checks: checks(&world, &place, pull),
        steps: steps(&world, pull),
        items: items(&world, &place, project, pull),
        my_vote: pull
            .reviewers
            .iter()
            .find(|reviewer| reviewer.id == visitor.person)
            .map_or(0, |found| found.vote),
        reviewing: pull.reviewers.iter().any(|reviewer| reviewer.id == visitor.person),
        merge: merge(pull),
        blocking: world.blocking_policies(id),
        states: THREAD_STATES,
        general: threads,
        pull: line,
        page,
        code,
        files,
        events,
        draft,
    }))
}

fn steps(world: &World, pull: &PullRequest) -> Vec<Step> {
    let step = |it: &Iteration| Step {
        id: it.id,
        who: Who::of(world, it.author),
        when: ago(world.now(), it.created),
        short: short(&it.source),
        commit: it.source.clone(),
    };
    pull.iterations.iter().rev().map(step).collect()
}

/// The address of the source branch, in a fork where it is one; none when it is gone.
fn source_url(world: &World, place: &Place, pull: &PullRequest) -> Option<String> {
    let home = world.repositories.get(&pull.source_repository)?;
    home.refs.contains_key(&pull.source_ref).then(|| Code::of(world, place, home).branch(&pull.source_ref))
}

/// Whether the page should look again: nobody has answered this thread yet, or nobody was told yet.
fn waits(general: &[ThreadView], files: &[FileView], told: u32) -> bool {
    let all = general.iter().chain(files.iter().flat_map(|file| &file.threads));
    all.filter(|thread| thread.id == told).any(|thread| {
        let answered = thread.comments.last().is_some_and(|comment| comment.who.agent);
        let hopeless = thread.told.is_empty() || thread.told.iter().all(|told| told.state == "failed");
        !answered && !hopeless
    })
}

/// Where the comment form stands: at the line the address names; else, on a pull request of the agent
/// that nobody has spoken about yet, at its most telling new line.
fn draft(
    world: &World,
    visitor: &Visitor,
    pull: &PullRequest,
    diffs: &[FileDiff],
    look: &Look,
) -> Option<Draft> {
    if pull.status != PullRequestStatus::Active {
        return None;
    }
    if let (Some(file), Some(line)) = (&look.file, look.line) {
        let side = if look.side.as_deref() == Some("left") { "left" } else { "right" };
        return Some(Draft { file: file.clone(), side, line, text: "", suggested: false });
    }
    let spoken = pull.threads.iter().any(|thread| thread.status.is_some());
    if !Who::of(world, pull.created_by).agent
        || pull.created_by == visitor.person
        || spoken
        || look.told.is_some()
    {
        return None;
    }
    let new = |(file, row): (&FileDiff, &Row)| (row.kind == "new").then(|| (file.path.clone(), row.line()));
    let rows = || diffs.iter().flat_map(|file| file.rows.iter().map(move |row| (file, row)));
    let code = |file: &FileDiff| !file.path.contains("/test");
    let telling = |(file, row): &(&FileDiff, &Row)| code(file) && row.html.to_lowercase().contains("timeout");
    let timeout = rows().filter(telling).find_map(new);
    let text = if timeout.is_some() { SUGGESTION } else { "" };
    let (file, line) = timeout.or_else(|| rows().find_map(new))?;
    Some(Draft { file, side: "right", line, text, suggested: true })
}

/// Gives each file its threads; those of no file shown stay in the general conversation.
fn place_threads(
    code: &Code,
    pull: &PullLine,
    diffs: Vec<FileDiff>,
    threads: &mut Vec<ThreadView>,
) -> Vec<FileView> {
    let version = format!("GB{}", pull.branches.0);
    let mut files = Vec::new();
    for (at, diff) in diffs.into_iter().enumerate() {
        let mine = |thread: &mut ThreadView| thread.file == diff.path;
        let own = threads.extract_if(.., mine).collect();
        files.push(FileView { url: code.at(&diff.path, &version), at, threads: own, diff });
    }
    files
}

fn checks(world: &World, place: &Place, pull: &PullRequest) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for found in world.evaluate_policies(pull.id) {
        let Some(policy) = world.policies.get(&found.policy) else { continue };
        let tone = match found.status {
            "approved" => "done",
            "rejected" | "broken" => "bad",
            "notApplicable" => "todo",
            _ => "doing",
        };
        let kind = if policy.blocking { "required" } else { "optional" };
        let words = format!("{}, {kind}", found.status);
        let url = found.build.map(|id| build_url(place, id));
        checks.push(Check { name: policy_name(policy.kind).to_owned(), words, tone, url });
    }
    let mut seen = Vec::new();
    for status in pull.statuses.iter().rev() {
        let key = (status.genre.clone(), status.name.clone());
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let tone = match status.state.name() {
            "succeeded" => "done",
            "failed" | "error" => "bad",
            "pending" => "doing",
            _ => "todo",
        };
        let url =
            status.target_url.clone().filter(|url| url.starts_with("http://") || url.starts_with("https://"));
        let words = format!("{} {}", status.state.name(), status.description);
        checks.push(Check { name: status.name.clone(), words, tone, url });
    }
    checks
}

fn items(world: &World, place: &Place, project: &Project, pull: &PullRequest) -> Vec<(u32, String, String)> {
    let artifact = Target::Url(pull.artifact_id(project.id));
    let same = |target: &Target| match (target, &artifact) {
        (Target::Url(one), Target::Url(other)) => one.eq_ignore_ascii_case(other),
        _ => false,
    };
    let linked =
        world.work_items.values().filter(|item| item.relations.iter().any(|relation| same(&relation.target)));
    linked
        .map(|item| (item.id, item.title().to_owned(), format!("{}/_workitems/edit/{}", place.path, item.id)))
        .collect()
}

fn merge(pull: &PullRequest) -> Option<(&'static str, String)> {
    let message = pull.merge_message.clone().unwrap_or_default();
    match (pull.status, pull.merge_status) {
        (PullRequestStatus::Active, MergeStatus::Queued) => {
            Some(("doing", "The merge is being tried.".into()))
        }
        (PullRequestStatus::Active, MergeStatus::Conflicts) => {
            Some(("bad", format!("It does not merge. {message}")))
        }
        (PullRequestStatus::Active, MergeStatus::Succeeded) => {
            Some(("done", "It merges without conflicts.".into()))
        }
        (PullRequestStatus::Active, _) if !message.is_empty() => Some(("bad", message)),
        _ => None,
    }
}
