//! Threads of pull requests: answer in one, start one at quoted code.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::anchor::{self, Found, Span};
use super::{Desk, Fault, Tool, Work, edit, ending, pull_requests, read, schema, text, words};
use crate::action::{Action, Anchor, CommitId, ItemPath, RepositoryRef, ThreadStatus};
use crate::azure_devops::{ChangedFile, Effect, Error, PullRequestChanges, Version, limits};
use crate::journal::{Link, Outcome};
use crate::policy::Facts;

/// Most changed files that are named when another one was asked for.
const MAX_NAMED: usize = 30;

pub(super) const REPLY: Tool = Tool {
    name: "reply_to_thread",
    description: "Answers in a thread of a pull request and, where status is given, sets the thread's status. Use \
                  fixed only after the fix was pushed; null leaves the status as it is.",
    parameters: schema::strict::<Reply>,
    run: |desk, arguments| Box::pin(reply(desk, arguments)) as Work<'_>,
};

pub(super) const CREATE: Tool = Tool {
    name: "create_thread",
    description: "Starts a new thread in your own pull request. To comment on code give path and quote: the lines, \
                  copied exactly from the changed file; their place is found from them. path and quote null: a comment \
                  on the whole.",
    parameters: schema::strict::<Create>,
    run: |desk, arguments| Box::pin(create(desk, arguments)) as Work<'_>,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reply {
    pull_request_id: u32,
    thread_id: u32,
    text: String,
    status: Option<ThreadStatus>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Create {
    pull_request_id: u32,
    path: Option<String>,
    quote: Option<String>,
    text: String,
}

/// A pull request that is written in: where it is, its number, and whether it is our own.
struct Place {
    repository: RepositoryRef,
    id: u32,
    own: bool,
    web_url: String,
}

async fn place(desk: &mut Desk<'_>, id: u32) -> Result<Place, Fault> {
    desk.gate.read("pull_request.read").await?;
    let found = desk.toolbox.azure.pull_request(&desk.toolbox.served, id).await?;
    let repository = pull_requests::place(desk, &found)?;
    let own = found.created_by.id == desk.toolbox.me().await?.id;
    Ok(Place { repository, id, own, web_url: found.web_url })
}

async fn write(desk: &mut Desk<'_>, own: bool, action: Action) -> Result<Effect, Fault> {
    let facts = Facts { own_pull_request: own, ..desk.gate.facts(action.kind()) };
    desk.gate.write(action, facts).await
}

/// Does a later part of a call whose first part is done. What fails for good becomes words, so
/// that the model does not repeat what was done.
pub(super) async fn also(
    desk: &mut Desk<'_>,
    own: bool,
    action: Action,
) -> Result<Result<Effect, String>, Fault> {
    match write(desk, own, action).await {
        Ok(effect) => Ok(Ok(effect)),
        Err(Fault::Azure(error)) => match ending::settle(error.clone()) {
            Ok(_) => Ok(Err(format!("{error}. {}", error.remedy()))),
            Err(interrupted) => Err(interrupted.into()),
        },
        Err(Fault::Refused(verdict)) => Ok(Err(format!("not allowed. {}", verdict.message))),
        Err(other) => Err(other),
    }
}

/// Posts what did not fit into a description as a closed thread; what came of it, in words.
pub(super) async fn post_rest(
    desk: &mut Desk<'_>,
    repository: &RepositoryRef,
    pull_request_id: u32,
    own: bool,
    rest: Vec<String>,
) -> Result<Option<String>, Fault> {
    let mut rest = rest.into_iter();
    let Some(first) = rest.next() else { return Ok(None) };
    // Closed: it asks nobody for anything, and open threads can block a completion.
    let (repository, status) = (repository.clone(), ThreadStatus::Closed);
    let action = Action::CreateThread {
        repository: repository.clone(),
        pull_request_id,
        text: first,
        status,
        anchor: None,
    };
    let told = match also(desk, own, action).await? {
        Err(error) => Err(error),
        Ok(effect) => {
            let thread_id = effect.id.and_then(|id| id.parse().ok()).unwrap_or_default();
            let mut told = Ok(thread_id);
            for text in rest {
                let action = Action::ReplyToThread {
                    repository: repository.clone(),
                    pull_request_id,
                    thread_id,
                    text,
                };
                if let Err(error) = also(desk, own, action).await? {
                    told = Err(error);
                    break;
                }
            }
            told
        }
    };
    let cut = "The description was longer than 4,000 characters and was cut at a paragraph";
    Ok(Some(match told {
        Ok(thread) => format!("{cut}; the rest stands in thread {thread}."),
        Err(error) => format!("{cut}. The rest could not be posted: {error} Post it with create_thread."),
    }))
}

async fn reply(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let args: Reply = read(arguments)?;
    if args.text.trim().is_empty() {
        return Err(words("The reply is empty.", "Give the text of the reply."));
    }
    let Place { repository, id: pull_request_id, own, web_url } = place(desk, args.pull_request_id).await?;
    let thread_id = args.thread_id;
    let said = |text: String| {
        let repository = repository.clone();
        Action::ReplyToThread { repository, pull_request_id, thread_id, text }
    };
    let mut pieces = text::comments(&args.text).into_iter();
    let first = said(pieces.next().unwrap_or_default());
    let effect = match write(desk, own, first).await {
        Err(Fault::Azure(Error::NotFound(_))) => {
            return Err(no_thread(desk, &repository, pull_request_id, thread_id).await?);
        }
        other => other?,
    };
    let mut notes = rest(desk, own, pieces, said).await?;
    let mut status = args.status;
    if let Some(wanted) = args.status {
        let action = Action::SetThreadStatus { repository, pull_request_id, thread_id, status: wanted };
        if let Err(error) = also(desk, own, action).await? {
            notes.push(format!("The reply was posted, but the status was not set: {error}"));
            status = None;
        }
    }
    let url = effect.web_url.clone().unwrap_or(web_url);
    let status = status.map(ThreadStatus::as_str);
    let mut content = json!({ "pull_request_id": pull_request_id, "thread_id": thread_id,
        "comment_id": effect.comment_id, "status": status, "url": url });
    if !notes.is_empty() {
        content["notes"] = json!(notes);
    }
    let set = status.map(|status| format!(" and set it to {status}")).unwrap_or_default();
    Ok(Outcome {
        ok: true,
        content: content.to_string(),
        summary: format!("Answered in thread {thread_id} of pull request {pull_request_id}{set}"),
        target_url: Some(url.clone()),
        links: vec![Link { kind: "thread".into(), title: format!("Thread {thread_id}"), url }],
        diff: None,
    })
}

/// Posts the further pieces of a text that is too long for one comment.
pub(super) async fn rest(
    desk: &mut Desk<'_>,
    own: bool,
    pieces: impl Iterator<Item = String>,
    said: impl Fn(String) -> Action,
) -> Result<Vec<String>, Fault> {
    let mut count = 1;
    for piece in pieces {
        if let Err(error) = also(desk, own, said(piece)).await? {
            return Ok(vec![format!(
                "The text was too long for one comment, and only {count} of its parts were posted: {error}"
            )]);
        }
        count += 1;
    }
    Ok(if count > 1 {
        vec![format!("The text was too long for one comment; it stands in {count}.")]
    } else {
        Vec::new()
    })
}

/// There is no such thread: says which there are.
async fn no_thread(
    desk: &Desk<'_>,
    repository: &RepositoryRef,
    pull_request: u32,
    thread: u32,
) -> Result<Fault, Fault> {
    let threads = desk.toolbox.azure.threads(repository, pull_request).await?;
    // Threads of the service itself have no status and take no answers.
    let ids: Vec<String> =
        threads.iter().filter(|found| found.status.is_some()).map(|found| found.id.to_string()).collect();
    let remedy = match ids.is_empty() {
        true => "There is none to answer in; use create_thread for a new one.".to_owned(),
        false => format!("Its threads are: {}.", ids.join(", ")),
    };
    Ok(words(format!("Pull request {pull_request} has no thread {thread}."), remedy))
}

async fn create(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let args: Create = read(arguments)?;
    if args.text.trim().is_empty() {
        return Err(words("The comment is empty.", "Give the text of the comment."));
    }
    let Place { repository, id: pull_request_id, own, web_url } = place(desk, args.pull_request_id).await?;
    let quote = args.quote.filter(|quote| !quote.trim().is_empty());
    let anchor = match (args.path.filter(|path| !path.trim().is_empty()), quote) {
        (None, None) => None,
        (Some(path), Some(quote)) => {
            desk.gate.read("git.read").await?;
            Some(anchored(desk, &repository, pull_request_id, &path, &quote).await?)
        }
        (Some(_), None) => {
            return Err(words(
                "quote is missing.",
                "Copy the lines that the comment is about from the file into quote.",
            ));
        }
        (None, Some(_)) => {
            return Err(words("path is missing.", "Give the file that the quoted lines are in."));
        }
    };
    let mut pieces = text::comments(&args.text).into_iter();
    let action = Action::CreateThread {
        repository: repository.clone(),
        pull_request_id,
        text: pieces.next().unwrap_or_default(),
        status: ThreadStatus::Active,
        anchor: anchor.clone(),
    };
    let effect = write(desk, own, action).await?;
    let thread_id = effect.id.as_deref().and_then(|id| id.parse::<u32>().ok()).unwrap_or_default();
    let said = |text: String| {
        let repository = repository.clone();
        Action::ReplyToThread { repository, pull_request_id, thread_id, text }
    };
    let notes = rest(desk, own, pieces, said).await?;
    let url = effect.web_url.unwrap_or(web_url);
    let mut content =
        json!({ "pull_request_id": pull_request_id, "thread_id": thread_id, "status": "active", "url": url });
    let mut at = String::new();
    if let Some(anchor) = anchor {
        content["file"] = json!(anchor.path);
        content["lines"] = json!([anchor.start_line, anchor.end_line]);
        if anchor.is_left {
            content["side"] = json!("the file before the pull request");
        }
        at = format!(" at {}:{}", anchor.path, anchor.start_line);
    }
    if !notes.is_empty() {
        content["notes"] = json!(notes);
    }
    Ok(Outcome {
        ok: true,
        content: content.to_string(),
        summary: format!("Started thread {thread_id} in pull request {pull_request_id}{at}"),
        target_url: Some(url.clone()),
        links: vec![Link { kind: "thread".into(), title: format!("Thread {thread_id}"), url }],
        diff: None,
    })
}

/// The anchor of quoted code: in the file as the pull request has it, else as it was before.
async fn anchored(
    desk: &Desk<'_>,
    repository: &RepositoryRef,
    pull_request: u32,
    path: &str,
    quote: &str,
) -> Result<Anchor, Fault> {
    let wanted = ItemPath::new(path)?;
    let changes = desk.toolbox.azure.pull_request_changes(repository, pull_request).await?;
    let Some(file) = changes.files.iter().find(|file| file.path == wanted.as_str()) else {
        return Err(not_changed(&wanted, pull_request, &changes));
    };
    let Some(change_tracking_id) = file.change_tracking_id else {
        return Err(words(
            "Azure DevOps does not say where comments on this file belong.",
            "Give path and quote null, and name the file and line in the text.",
        ));
    };
    let (right, left) = sides(&changes, file)?;
    let mut text = None;
    for (is_left, side) in [(false, right), (true, left)] {
        let Some((commit, path)) = side else { continue };
        let found = plain_text(desk, repository, commit, &path).await?;
        match anchor::find(&found, quote) {
            Found::Once(Span { start_line, start_offset, end_line, end_offset }) => {
                let (path, iteration) = (wanted, changes.iteration);
                return Ok(Anchor {
                    path,
                    is_left,
                    start_line,
                    start_offset,
                    end_line,
                    end_offset,
                    change_tracking_id,
                    iteration,
                });
            }
            Found::Often(lines) => return Err(too_often(&wanted, &lines)),
            Found::Nowhere => text = text.or(Some(found)),
        }
    }
    Err(nowhere(&wanted, text.as_deref().unwrap_or_default(), quote))
}

type Side = Option<(CommitId, ItemPath)>;

/// The versions of a file that a pull request compares: with it, and before it.
fn sides(changes: &PullRequestChanges, file: &ChangedFile) -> Result<(Side, Side), Fault> {
    let is = |kind: &str| file.change.split(',').any(|part| part.trim().eq_ignore_ascii_case(kind));
    let path = ItemPath::new(&file.path)?;
    let original = ItemPath::new(file.original_path.as_deref().unwrap_or(&file.path))?;
    let right = changes.source_commit.clone().filter(|_| !is("delete")).map(|commit| (commit, path));
    let left = changes.common_commit.clone().filter(|_| !is("add")).map(|commit| (commit, original));
    Ok((right, left))
}

async fn plain_text(
    desk: &Desk<'_>,
    repository: &RepositoryRef,
    commit: CommitId,
    path: &ItemPath,
) -> Result<String, Fault> {
    let version = Version::Commit(commit);
    let bytes = desk.toolbox.azure.file(repository, &version, path, limits::FILE_BYTES).await?;
    let text = String::from_utf8(bytes).map_err(|_| {
        words(
            format!("{path} is not a text file."),
            "Give path and quote null, and name the file in the text.",
        )
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n"))
}

fn not_changed(path: &ItemPath, pull_request: u32, changes: &PullRequestChanges) -> Fault {
    let named: Vec<&str> = changes.files.iter().take(MAX_NAMED).map(|file| file.path.as_str()).collect();
    words(
        format!("Pull request {pull_request} does not change {path}."),
        format!(
            "It changes: {}. For another file give path and quote null, and name the file in the text.",
            named.join(", ")
        ),
    )
}

fn too_often(path: &ItemPath, lines: &[usize]) -> Fault {
    let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
    words(
        format!("{path}: the quote stands more than once, in line {}.", lines.join(", ")),
        "Quote more of the lines around it, so that it is found once.",
    )
}

fn nowhere(path: &ItemPath, text: &str, quote: &str) -> Fault {
    let remedy = match edit::nearest(text, quote) {
        Some((line, text)) => {
            format!("The nearest line is {line}: `{text}`. Copy the lines exactly from the file.")
        }
        None => "Read the file on the pull request's source branch and copy the lines exactly.".to_owned(),
    };
    words(format!("{path}: the quote is not in the file, nor in the file before the pull request."), remedy)
}
