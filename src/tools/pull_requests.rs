//! Pull requests: read with their threads, open.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Desk, Fault, Tool, Work, people, read, schema, text, threads, words};
use crate::action::{Action, BranchName, RepositoryRef};
use crate::azure_devops::{self, PullRequest, Thread, Writer, limits};
use crate::journal::{Link, Outcome};
use crate::policy::Facts;

/// Most reviewers of one pull request.
const MAX_REVIEWERS: usize = 10;
/// Most threads that are shown.
const MAX_THREADS: usize = 60;
/// Most changed files that are listed.
const MAX_FILES: usize = 300;

pub(super) const GET: Tool = Tool {
    name: "get_pull_request",
    description: "Reads a pull request: description, reviewers, work items, changed files, and its threads with who \
                  wrote each comment (you, person, system).",
    parameters: schema::strict::<Get>,
    run: |desk, arguments| Box::pin(get(desk, arguments)) as Work<'_>,
};

pub(super) const CREATE: Tool = Tool {
    name: "create_pull_request",
    description: "Opens a draft pull request from a pushed branch. The description (Markdown) says what, why and \
                  how it was checked. target_branch null means the default branch; \
                  reviewers are names or mail addresses, an empty list means the person who gave the order.",
    parameters: schema::strict::<Create>,
    run: |desk, arguments| Box::pin(create(desk, arguments)) as Work<'_>,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Get {
    id: u32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Create {
    source_branch: String,
    target_branch: Option<String>,
    title: String,
    description: String,
    work_item_ids: Vec<u32>,
    reviewers: Vec<String>,
}

/// The place of a pull request, when it is in the served repository.
pub(super) fn place(desk: &Desk<'_>, found: &PullRequest) -> Result<RepositoryRef, Fault> {
    let served = &desk.toolbox.served;
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    if same(&found.project, &served.project) && same(&found.repository, &served.repository) {
        return Ok(served.clone());
    }
    Err(words(
        format!(
            "Pull request {} is in {}/{}, which this co-worker does not serve.",
            found.id, found.project, found.repository
        ),
        format!("Only {}/{} is served.", served.project, served.repository),
    ))
}

async fn get(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let Get { id } = read(arguments)?;
    desk.gate.read("pull_request.read").await?;
    let azure = &desk.toolbox.azure;
    let found = azure.pull_request(&desk.toolbox.served, id).await?;
    let repository = place(desk, &found)?;
    let threads = azure.threads(&repository, id).await?;
    let changes = azure.pull_request_changes(&repository, id).await?;
    let ids = &found.work_item_ids;
    let work_items = azure.work_items(&repository.project, ids).await?;
    let me = desk.toolbox.me().await?;
    saw(desk, &found, &threads, me);
    let who = |person: &azure_devops::Person| match person.id == me.id {
        true => "you".to_owned(),
        false => person.name.clone(),
    };
    let reviewers: Vec<Value> =
        found.reviewers.iter().map(|r| json!({ "name": r.person.name, "vote": vote(r.vote) })).collect();
    let work_items: Vec<Value> = work_items.iter().map(|w| json!({ "id": w.id, "title": w.title })).collect();
    let files: Vec<&str> = changes.files.iter().take(MAX_FILES).map(|file| file.path.as_str()).collect();
    let threads: Vec<Value> =
        threads.iter().rev().take(MAX_THREADS).rev().map(|t| thread(t, &me.id)).collect();
    let content = json!({
        "id": found.id, "title": found.title, "description": found.description, "status": found.status,
        "is_draft": found.is_draft, "source_branch": found.source_branch, "target_branch": found.target_branch,
        "created_by": who(&found.created_by), "reviewers": reviewers, "work_items": work_items,
        "changed_files": files, "threads": threads, "url": found.web_url,
    });
    Ok(Outcome {
        ok: true,
        content: content.to_string(),
        summary: format!("Pull request {}: {}", found.id, found.title),
        target_url: Some(found.web_url),
        ..Outcome::default()
    })
}

/// Notes what was read of a pull request: its own words, and those of everybody in its threads.
fn saw(desk: &mut Desk<'_>, found: &PullRequest, threads: &[Thread], me: &azure_devops::Me) {
    let object = format!("pull_request:{}", found.id);
    let words = format!("{}\n{}\n{}", found.title, found.description, found.source_branch);
    desk.saw_text_of("pull_request", object.clone(), Some(&found.created_by), me, &words);
    for thread in threads {
        for comment in thread.comments.iter().filter(|comment| comment.written_by == Writer::Person) {
            let object = format!("{object}/thread:{}/comment:{}", thread.id, comment.id);
            desk.saw_text_of("comment", object, Some(&comment.author), me, &comment.text);
        }
    }
}

fn vote(vote: i32) -> &'static str {
    match vote {
        10 => "approved",
        5 => "approved with suggestions",
        -5 => "waits for the author",
        -10 => "rejected",
        _ => "none",
    }
}

fn thread(thread: &Thread, me: &str) -> Value {
    let comments: Vec<Value> = thread
        .comments
        .iter()
        .map(|comment| {
            let who = match comment.written_by {
                Writer::System => "system",
                Writer::Person if comment.author.id == me => "you",
                Writer::Person => "person",
            };
            json!({ "id": comment.id, "author": comment.author.name, "who": who, "text": comment.text })
        })
        .collect();
    json!({ "id": thread.id, "status": thread.status, "file": thread.file, "line": thread.line, "comments": comments })
}

async fn create(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let args: Create = read(arguments)?;
    let source = BranchName::new(&args.source_branch)?;
    let target = target_branch(desk, args.target_branch.as_deref()).await?;
    if args.title.trim().is_empty() {
        return Err(words("The title is empty.", "Give a short title."));
    }
    let words_of = Words::fitted(&args.title, &args.description, &footer(&desk.gate.run_url()));
    let served = desk.toolbox.served.clone();
    let branch = desk.toolbox.azure.branch(&served, &source).await?;
    let Some(branch) = branch else {
        let error = format!("There is no branch {source}.");
        return Err(words(error, "Push the changes first; push_changes tells the branch's name."));
    };
    let me = desk.toolbox.me().await?.id.clone();
    let reviewers = reviewers(desk, &args.reviewers, &me).await?;
    let names: Vec<String> = reviewers.iter().map(|person| person.name.clone()).collect();
    let action = Action::CreatePullRequest {
        repository: served.clone(),
        source: source.clone(),
        target: target.clone(),
        title: words_of.title.clone(),
        description: words_of.description,
        reviewer_ids: reviewers.into_iter().map(|person| person.id).collect(),
        work_item_ids: args.work_item_ids.clone(),
    };
    let facts = Facts {
        branch: Some(source.as_str().to_owned()),
        own_branch: branch.creator.is_some_and(|creator| creator.id == me),
        own_pull_request: true,
        ..desk.gate.facts(action.kind())
    };
    let effect = desk.gate.write(action.clone(), facts).await?;
    // An approver may have changed it.
    let title_of = match desk.gate.approved_form(action) {
        Action::CreatePullRequest { title, .. } => title,
        _ => words_of.title,
    };
    let id = effect.id.as_deref().and_then(|id| id.parse::<u32>().ok()).unwrap_or_default();
    let url = effect.web_url.clone().unwrap_or_default();
    let mut notes = words_of.notes;
    if names.is_empty() {
        let note = "It has no reviewer: the person who gave the order is not known in the organisation.";
        notes.push(note.to_owned());
    }
    notes.extend(threads::post_rest(desk, &served, id, true, words_of.rest).await?);
    let title = format!("Pull request {id}: {title_of}");
    let mut content = json!({
        "id": id, "title": title_of, "is_draft": true, "source_branch": source, "target_branch": target,
        "reviewers": names, "work_item_ids": args.work_item_ids, "url": url,
    });
    if !notes.is_empty() {
        content["notes"] = json!(notes);
    }
    Ok(Outcome {
        ok: true,
        content: content.to_string(),
        summary: title.clone(),
        target_url: effect.web_url,
        links: vec![Link { kind: "pull_request".into(), title, url }],
        diff: None,
    })
}

async fn target_branch(desk: &Desk<'_>, wanted: Option<&str>) -> Result<BranchName, Fault> {
    if let Some(wanted) = wanted {
        return Ok(BranchName::new(wanted)?);
    }
    let repository = desk.toolbox.repository().await?;
    let default = repository.default_branch.clone();
    default.ok_or_else(|| words("The repository has no default branch.", "Give target_branch."))
}

/// Title and description as they fit, and what did not.
pub(super) struct Words {
    pub(super) title: String,
    pub(super) description: String,
    /// The rest of the description, as comments.
    pub(super) rest: Vec<String>,
    /// What to tell the model.
    pub(super) notes: Vec<String>,
}

impl Words {
    pub(super) fn fitted(title: &str, description: &str, footer: &str) -> Self {
        let (short, is_cut) = text::title(title, limits::PULL_REQUEST_TITLE);
        let mut notes = Vec::new();
        let mut description = description.to_owned();
        if is_cut {
            notes.push(
                "The title was cut at 400 characters; the whole of it opens the description.".to_owned(),
            );
            description = text::with_whole_title(title, &description);
        }
        let (description, rest) = text::description(&description, footer);
        Self { title: short, description, rest, notes }
    }
}

/// How the line begins that leads from a description back to the run.
pub(super) const FOOTER: &str = "\n\n---\nOpened by ado-coworker";

fn footer(run_url: &str) -> String {
    format!("{FOOTER}: [what it did]({run_url}).")
}

async fn reviewers(
    desk: &mut Desk<'_>,
    names: &[String],
    me: &str,
) -> Result<Vec<azure_devops::Person>, Fault> {
    if names.len() > MAX_REVIEWERS {
        return Err(words("There are too many reviewers.", "Give at most 10."));
    }
    let mut reviewers: Vec<azure_devops::Person> = Vec::new();
    for name in names {
        let person = people::resolve(desk, name).await?;
        if !reviewers.iter().any(|known| known.id == person.id) {
            reviewers.push(person);
        }
    }
    if reviewers.is_empty() {
        // Who gave the order reviews, where the organisation knows them.
        let account = desk.requested_by.account.clone().unwrap_or_else(|| desk.requested_by.name.clone());
        reviewers.extend(people::resolve(desk, &account).await.ok());
    }
    reviewers.retain(|person| person.id != me);
    Ok(reviewers)
}
