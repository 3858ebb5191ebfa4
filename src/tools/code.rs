//! Code: list, read, and push several files as one commit.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Desk, Fault, Tool, Work, branch, edit, outgoing, read, schema, veil, words};
use crate::action::{Action, Author, BranchName, CommitId, Content, FileChange, ItemPath};
use crate::azure_devops::{Branch, ItemKind, Recursion, Version, limits};
use crate::journal::{Link, Outcome};
use crate::policy::Facts;

/// Most paths that a listing gives.
const MAX_PATHS: usize = 1_000;
/// Most lines that are read at once.
const MAX_LINES: usize = 1_500;
/// Most files of one push.
const MAX_CHANGES: usize = 100;
/// Longest commit message, in characters.
const MAX_MESSAGE: usize = 4_000;
/// Most bytes of a diff that are kept.
const MAX_DIFF_BYTES: usize = 256 * 1024;

pub(super) const LIST: Tool = Tool {
    name: "list_files",
    description: "Lists files of the repository. path null means the root, branch null the default branch; folders \
                  end with /.",
    parameters: schema::strict::<List>,
    run: |desk, arguments| Box::pin(list(desk, arguments)) as Work<'_>,
};

pub(super) const READ: Tool = Tool {
    name: "read_file",
    description: "Reads a text file. branch null means the default branch; lines count from 1, null means all.",
    parameters: schema::strict::<Read>,
    run: |desk, arguments| Box::pin(read_file(desk, arguments)) as Work<'_>,
};

pub(super) const PUSH: Tool = Tool {
    name: "push_changes",
    description: "Commits changes of files, all in one commit, and pushes it. branch null makes a new agent/ branch \
                  from the default branch; only agent/ branches can be pushed to. For an edit give edits: each \
                  old_text exactly as in the file and found once. For add give content, for rename new_path. \
                  base_commit is the commit at which you read the files; the push fails if the branch moved.",
    parameters: schema::strict::<Push>,
    run: |desk, arguments| Box::pin(push(desk, arguments)) as Work<'_>,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {
    path: Option<String>,
    branch: Option<String>,
    recursive: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Read {
    path: String,
    branch: Option<String>,
    start_line: Option<u32>,
    end_line: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Push {
    branch: Option<String>,
    work_item_id: Option<u32>,
    message: String,
    base_commit: Option<String>,
    changes: Vec<Change>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Change {
    path: String,
    action: Kind,
    content: Option<String>,
    edits: Option<Vec<Edit>>,
    new_path: Option<String>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Add,
    Edit,
    Delete,
    Rename,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Edit {
    old_text: String,
    new_text: String,
}

/// A branch that is read, and the commit it stands at.
async fn at(desk: &mut Desk<'_>, branch: Option<&str>) -> Result<(BranchName, CommitId), Fault> {
    desk.gate.read("git.read").await?;
    let name = match branch.filter(|name| !name.is_empty()) {
        Some(name) => BranchName::new(name)?,
        None => default_branch(desk).await?,
    };
    match desk.toolbox.azure.branch(&desk.toolbox.served, &name).await? {
        Some(found) => Ok((name, found.tip)),
        None => {
            Err(words(format!("There is no branch {name}."), "Leave branch null for the default branch."))
        }
    }
}

async fn default_branch(desk: &Desk<'_>) -> Result<BranchName, Fault> {
    let repository = desk.toolbox.repository().await?;
    repository.default_branch.clone().ok_or_else(|| {
        words("The repository is empty: it has no default branch.", "Ask the person to add a first commit.")
    })
}

async fn list(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let args: List = read(arguments)?;
    let (branch, commit) = at(desk, args.branch.as_deref()).await?;
    let root = args.path.as_deref().is_none_or(|path| path.trim_matches('/').is_empty());
    let folder = match args.path.as_deref().filter(|_| !root) {
        Some(path) => Some(ItemPath::new(path.trim_end_matches('/'))?),
        None => None,
    };
    let recursion = if args.recursive.unwrap_or(false) { Recursion::Full } else { Recursion::OneLevel };
    let version = Version::Commit(commit.clone());
    let items = desk.toolbox.azure.items(&desk.toolbox.served, &version, folder.as_ref(), recursion).await?;
    let shown = |kind, path: &str| match kind {
        ItemKind::Folder => format!("{path}/"),
        ItemKind::File | ItemKind::Submodule => path.to_owned(),
    };
    let all = items.len();
    let names: Vec<&str> = items.iter().map(|item| item.path.as_str()).collect();
    desk.toolbox.repository().await?;
    desk.saw_files(format!("names on {branch}"), &names.join("\n"), Some(&branch));
    let paths: Vec<String> = items.iter().take(MAX_PATHS).map(|item| shown(item.kind, &item.path)).collect();
    let mut content = json!({ "branch": branch, "commit": commit, "paths": paths });
    if all > MAX_PATHS {
        content["left_out"] = json!(format!("{} more; list a folder", all - MAX_PATHS));
    }
    let place = folder.as_ref().map_or("/", ItemPath::as_str);
    Ok(Outcome {
        ok: true,
        content: content.to_string(),
        summary: format!("{all} entries in {place} on {branch}"),
        ..Outcome::default()
    })
}

async fn read_file(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let args: Read = read(arguments)?;
    let path = ItemPath::new(&args.path)?;
    let (branch, commit) = at(desk, args.branch.as_deref()).await?;
    let text = text_of(desk, &Version::Commit(commit.clone()), &path).await?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
    let lines = text.lines().count();
    let from = args.start_line.map_or(1, |line| line.max(1) as usize);
    let to = args.end_line.map_or(lines, |line| line as usize).min(lines).min(from + MAX_LINES - 1);
    if from > to && lines > 0 {
        return Err(words(format!("{path} has {lines} lines."), "Ask for lines that are there."));
    }
    let whole = from == 1 && to == lines;
    let part = match whole {
        true => text.clone(),
        false => text.split_inclusive('\n').skip(from - 1).take(to + 1 - from).collect(),
    };
    let mut content =
        json!({ "path": path, "branch": branch, "commit": commit, "lines": lines, "text": part });
    if !whole {
        content["shown"] = json!(format!("lines {from} to {to}"));
    }
    let repository = desk.toolbox.repository().await?;
    desk.saw_files(path.as_str().to_owned(), &text, Some(&branch));
    let summary = match whole {
        true => format!("{path}, {lines} lines"),
        false => format!("{path}, lines {from} to {to} of {lines}"),
    };
    let mut url = url::Url::parse(&repository.web_url).ok();
    if let Some(url) = url.as_mut() {
        url.query_pairs_mut()
            .append_pair("path", path.as_str())
            .append_pair("version", &format!("GB{branch}"));
    }
    Ok(Outcome {
        ok: true,
        content: content.to_string(),
        summary,
        target_url: url.map(String::from),
        ..Outcome::default()
    })
}

async fn text_of(desk: &Desk<'_>, version: &Version, path: &ItemPath) -> Result<String, Fault> {
    let bytes = desk.toolbox.azure.file(&desk.toolbox.served, version, path, limits::FILE_BYTES).await?;
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).ok_or_else(|| {
        words(
            format!("{path} is not a UTF-8 text file."),
            "It cannot be read or edited here; leave it as it is.",
        )
    })
}

/// Where a push goes.
struct Destination {
    branch: BranchName,
    tip: CommitId,
    /// Its page; none for a branch that is not there yet.
    url: Option<String>,
    own: bool,
}

async fn push(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let args: Push = read(arguments)?;
    let title = args.message.lines().next().unwrap_or_default().trim().to_owned();
    if title.is_empty() || args.message.chars().count() > MAX_MESSAGE {
        return Err(words(
            "The commit message is empty or too long.",
            "Say in one line what the commit does.",
        ));
    }
    if args.changes.is_empty() || args.changes.len() > MAX_CHANGES {
        return Err(words(
            format!("Give 1 to {MAX_CHANGES} changes."),
            "Split a larger change into several pushes.",
        ));
    }
    desk.gate.read("git.read").await?;
    let to = destination(desk, args.branch.as_deref(), args.work_item_id, &title).await?;
    if let Some(base) = args.base_commit.as_deref().filter(|base| !base.is_empty()) {
        let base = CommitId::new(base)?;
        if base != to.tip {
            return Err(words(
                format!("{} moved: it stands at {} and not at {}.", to.branch, to.tip, base),
                "Read the files again and make the change on what is there now.",
            ));
        }
    }
    let mut changes = Vec::with_capacity(args.changes.len());
    let mut diffs = Vec::with_capacity(args.changes.len());
    for change in &args.changes {
        let mut diff = String::new();
        changes.push(prepare(desk, &Version::Commit(to.tip.clone()), change, &mut diff).await?);
        diffs.push(diff);
    }
    let diff = joined(diffs.iter());
    desk.gate.shown().diff = Some(diff.clone());
    let hosts = outgoing::hosts_in_diff(&diff, &desk.toolbox.hosts()?);
    let sent = send(desk, &to, &args.message, changes.clone(), hosts).await?;
    let Action::Push { branch, message, changes: kept, .. } = &sent.action else {
        return Err(words("The push became another action.", "Read the branch to see what is there."));
    };
    // An approver may have left files out.
    let of_kept = changes.iter().zip(&diffs).filter(|(change, _)| kept.contains(change));
    let diff = joined(of_kept.map(|(_, diff)| diff));
    Ok(pushed(branch, message, kept, &sent, diff))
}

/// Diffs of files, one after the other, up to what is shown.
fn joined<'d>(diffs: impl Iterator<Item = &'d String>) -> String {
    let mut all: String = diffs.map(String::as_str).collect();
    if all.len() > MAX_DIFF_BYTES {
        all.truncate(super::text::floor(&all, MAX_DIFF_BYTES));
        all.push_str("\n(the rest of the diff is not shown)\n");
    }
    all
}

async fn destination(
    desk: &mut Desk<'_>,
    branch: Option<&str>,
    work_item: Option<u32>,
    title: &str,
) -> Result<Destination, Fault> {
    // After a crash or a wait: the branch that this very step began to make.
    if let Some((branch, tip)) = desk.gate.begun_branch() {
        return Ok(Destination { branch, tip, url: None, own: true });
    }
    let served = desk.toolbox.served.clone();
    let azure = desk.toolbox.azure.clone();
    let me = desk.toolbox.me().await?.id.clone();
    let is_own = |found: &Branch| found.creator.as_ref().is_some_and(|creator| creator.id == me);
    // The same of a branch that was there: the change was made on what it stood at then.
    if let Some((branch, tip)) = desk.gate.begun_push() {
        let Some(found) = azure.branch(&served, &branch).await? else {
            return Err(words(
                format!("{branch} is gone since this push was begun."),
                "Look whether the change is on another branch.",
            ));
        };
        return Ok(Destination { branch, tip, own: is_own(&found), url: Some(found.web_url) });
    }
    let named = branch.filter(|name| !name.is_empty());
    let mut name = match named {
        Some(name) => BranchName::new(name)?,
        None => BranchName::new(&branch::new_name(work_item, title, ""))?,
    };
    let mut found = azure.branch(&served, &name).await?;
    if let Some(there) = found.as_ref().filter(|_| named.is_none())
        && !is_left_over(desk, there, &me).await?
    {
        let run = desk.gate.run();
        let tail = run[run.len().saturating_sub(6)..].to_owned();
        name = BranchName::new(&branch::new_name(work_item, title, &tail))?;
        found = azure.branch(&served, &name).await?;
    }
    if let Some(found) = found {
        let own = is_own(&found);
        return Ok(Destination { branch: name, tip: found.tip, url: Some(found.web_url), own });
    }
    let base = default_branch(desk).await?;
    match azure.branch(&served, &base).await? {
        Some(base) => Ok(Destination { branch: name, tip: base.tip, url: None, own: true }),
        None => Err(words(
            format!("There is no branch {base} to start from."),
            "Ask the person to look at the repository.",
        )),
    }
}

/// Whether a branch is our own and has no commit of its own: what a first push left that was refused.
async fn is_left_over(desk: &Desk<'_>, branch: &Branch, me: &str) -> Result<bool, Fault> {
    let is_own = branch.creator.as_ref().is_some_and(|creator| creator.id == me);
    let base = desk.toolbox.azure.branch(&desk.toolbox.served, &default_branch(desk).await?).await?;
    Ok(is_own && base.is_some_and(|base| base.tip == branch.tip))
}

/// Turns a change as the model wrote it into the exact bytes that will be pushed.
async fn prepare(
    desk: &Desk<'_>,
    version: &Version,
    change: &Change,
    diff: &mut String,
) -> Result<FileChange, Fault> {
    let path = ItemPath::new(&change.path)?;
    match change.action {
        Kind::Add => {
            let Some(content) = &change.content else {
                return Err(words(
                    format!("{path}: content is missing."),
                    "Give the whole text of the new file.",
                ));
            };
            veil::check_file(desk.gate.session(), path.as_str(), "", content)?;
            add_diff(diff, &path, "", content);
            Ok(FileChange::Add { path, content: Content::Text(content.clone()) })
        }
        Kind::Edit => {
            let old = text_of(desk, version, &path).await?;
            let new = match (&change.edits, &change.content) {
                (Some(edits), None) => {
                    let pairs: Vec<_> =
                        edits.iter().map(|e| (e.old_text.clone(), e.new_text.clone())).collect();
                    edit::apply(path.as_str(), &old, &pairs)?
                }
                (None, Some(content)) => edit::rewrite(&old, content),
                _ => {
                    return Err(words(
                        format!("{path}: an edit needs edits."),
                        "Give edits with old_text and new_text, or the whole new content, not both.",
                    ));
                }
            };
            veil::check_file(desk.gate.session(), path.as_str(), &old, &new)?;
            add_diff(diff, &path, &old, &new);
            Ok(FileChange::Edit { path, content: Content::Text(new) })
        }
        Kind::Delete => {
            diff.push_str(&format!("--- a{path}\n+++ /dev/null\n"));
            Ok(FileChange::Delete { path })
        }
        Kind::Rename => {
            let Some(new_path) = &change.new_path else {
                return Err(words(
                    format!("{path}: new_path is missing."),
                    "Give the path after the rename.",
                ));
            };
            let new_path = ItemPath::new(new_path)?;
            diff.push_str(&format!("rename from {path}\nrename to {new_path}\n"));
            Ok(FileChange::Rename { path, new_path })
        }
    }
}

fn add_diff(diff: &mut String, path: &ItemPath, old: &str, new: &str) {
    let (old, new) = (old.replace("\r\n", "\n"), new.replace("\r\n", "\n"));
    let text = similar::TextDiff::from_lines(&old, &new)
        .unified_diff()
        .context_radius(3)
        .header(&format!("a{path}"), &format!("b{path}"))
        .to_string();
    diff.push_str(&text);
}

async fn send(
    desk: &mut Desk<'_>,
    to: &Destination,
    message: &str,
    changes: Vec<FileChange>,
    new_hosts: Vec<String>,
) -> Result<Sent, Fault> {
    let repository = desk.toolbox.served.clone();
    let facts = |kind: &str, desk: &Desk<'_>| Facts {
        branch: Some(to.branch.as_str().to_owned()),
        own_branch: to.own,
        // A branch that this call makes is the run's own.
        run_object: to.url.is_none(),
        new_hosts: new_hosts.clone(),
        ..desk.gate.facts(kind)
    };
    let me = desk.toolbox.me().await?;
    let author = Author {
        name: me.name.clone(),
        email: me.account.clone().unwrap_or_else(|| "ado-coworker@invalid".into()),
    };
    let message =
        format!("{}\n\nAgent-Run: {}\nAgent-Step: {}", message.trim_end(), desk.gate.run(), desk.gate.step());
    let action = Action::Push {
        repository: repository.clone(),
        branch: to.branch.clone(),
        old_commit: to.tip.clone(),
        message,
        author,
        changes,
    };
    let mut branch_url = to.url.clone();
    if branch_url.is_none() {
        // No branch is made for a push that is then refused or left to a person.
        desk.gate.foresee(&action, facts(action.kind(), desk)).await?;
        let action = Action::CreateBranch { repository, branch: to.branch.clone(), commit: to.tip.clone() };
        let facts = facts(action.kind(), desk);
        branch_url = desk.gate.write(action, facts).await?.web_url;
    }
    let facts = facts(action.kind(), desk);
    let effect = desk.gate.write(action.clone(), facts).await?;
    let Some(commit) = effect.commit.as_deref().map(CommitId::new).transpose()? else {
        return Err(words(
            "The push has no commit id in its answer.",
            "Read the branch to see what is there.",
        ));
    };
    Ok(Sent { action: desk.gate.approved_form(action), commit, commit_url: effect.web_url, branch_url })
}

/// What a push made.
struct Sent {
    /// The push as it was carried out: an approver may have changed it.
    action: Action,
    commit: CommitId,
    commit_url: Option<String>,
    branch_url: Option<String>,
}

fn pushed(branch: &BranchName, message: &str, changes: &[FileChange], sent: &Sent, diff: String) -> Outcome {
    let title = message.lines().next().unwrap_or_default();
    let files: Vec<&str> = changes.iter().flat_map(FileChange::paths).map(ItemPath::as_str).collect();
    let commit = &sent.commit;
    let content = json!({ "branch": branch, "commit": commit, "files": files, "url": sent.branch_url });
    let files = match files.len() {
        1 => "1 file".to_owned(),
        n => format!("{n} files"),
    };
    Outcome {
        ok: true,
        content: content.to_string(),
        summary: format!("{} to {}: {title} ({files})", commit.short(), branch),
        target_url: sent.commit_url.clone(),
        links: [
            ("branch", branch.as_str().to_owned(), &sent.branch_url),
            ("commit", format!("{}: {title}", commit.short()), &sent.commit_url),
        ]
        .into_iter()
        .filter_map(|(kind, title, url)| Some(Link { kind: kind.into(), title, url: url.clone()? }))
        .collect(),
        diff: (!diff.is_empty()).then_some(diff),
    }
}
