//! Changing a pull request of one's own: its words, and whether people are asked to review it.
//! Completing, approving and auto-completing are no actions of this program.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::pull_requests::{FOOTER, Words, place};
use super::{Desk, Fault, Tool, Work, builds, read, schema, threads, words};
use crate::action::{Action, RepositoryRef};
use crate::azure_devops::{Effect, PullRequest, PullRequestStatus};
use crate::journal::{Link, Outcome};
use crate::policy::Facts;

pub(super) const PULL_REQUEST: Tool = Tool {
    name: "update_pull_request",
    description: "Changes your own pull request. Give null for what stays as it is. A description replaces the whole old \
                  one. state: published asks people to review it (its builds must have succeeded), draft takes that \
                  back, abandoned gives it up.",
    parameters: schema::strict::<Update>,
    run: |desk, arguments| Box::pin(update(desk, arguments)) as Work<'_>,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Update {
    id: u32,
    title: Option<String>,
    description: Option<String>,
    state: Option<State>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
enum State {
    Published,
    Draft,
    Abandoned,
}

async fn update(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let args: Update = read(arguments)?;
    let title = args.title.filter(|title| !title.trim().is_empty());
    if title.is_none() && args.description.is_none() && args.state.is_none() {
        return Err(words("Nothing to change was given.", "Give a title, a description or a state."));
    }
    desk.gate.read("pull_request.read").await?;
    let found = desk.toolbox.azure.pull_request(&desk.toolbox.served, args.id).await?;
    let repository = place(desk, &found)?;
    if found.status == PullRequestStatus::Completed {
        return Err(words(
            format!("Pull request {} is completed; it cannot be changed.", found.id),
            "Push to a new branch and open a new pull request.",
        ));
    }
    let own = found.created_by.id == desk.toolbox.me().await?.id;
    let mut done = Vec::new();
    let mut notes = Vec::new();
    // What can be refused comes first, so that a refusal leaves everything as it was; a pull
    // request that was given up takes no new words, so that comes last.
    if let Some(state) = args.state.filter(|state| *state != State::Abandoned) {
        set_state(desk, &repository, &found, own, state).await?;
        done.push(if state == State::Published { "published" } else { "made a draft again" });
    }
    if title.is_some() || args.description.is_some() {
        let rest = set_words(desk, &repository, &found, own, title.as_deref(), args.description.as_deref());
        notes = rest.await?;
        done.push("its words changed");
    }
    if args.state == Some(State::Abandoned) {
        set_state(desk, &repository, &found, own, State::Abandoned).await?;
        done.push("abandoned");
    }
    let mut content = json!({ "id": found.id, "done": done, "url": found.web_url });
    if !notes.is_empty() {
        content["notes"] = json!(notes);
    }
    let title = format!("Pull request {}: {}", found.id, title.as_deref().unwrap_or(&found.title));
    Ok(Outcome {
        ok: true,
        content: content.to_string(),
        summary: format!("Pull request {}: {}", found.id, done.join(", ")),
        target_url: Some(found.web_url.clone()),
        links: vec![Link { kind: "pull_request".into(), title, url: found.web_url }],
        diff: None,
    })
}

async fn set_state(
    desk: &mut Desk<'_>,
    repository: &RepositoryRef,
    found: &PullRequest,
    own: bool,
    state: State,
) -> Result<Effect, Fault> {
    let (repository, pull_request_id) = (repository.clone(), found.id);
    let action = match state {
        State::Published => Action::PublishPullRequest { repository, pull_request_id },
        State::Draft => Action::RedraftPullRequest { repository, pull_request_id },
        State::Abandoned => Action::AbandonPullRequest { repository, pull_request_id },
    };
    let build_green = state == State::Published && builds::is_green(desk, found).await?;
    let facts = Facts { own_pull_request: own, build_green, ..desk.gate.facts(action.kind()) };
    desk.gate.write(action, facts).await
}

/// Sets title and description as they fit; what to tell the model.
async fn set_words(
    desk: &mut Desk<'_>,
    repository: &RepositoryRef,
    found: &PullRequest,
    own: bool,
    title: Option<&str>,
    description: Option<&str>,
) -> Result<Vec<String>, Fault> {
    // The line that leads back to the run stays where it was.
    let (old, footer) = match found.description.rfind(FOOTER) {
        Some(at) => found.description.split_at(at),
        None => (found.description.as_str(), ""),
    };
    let fitted = Words::fitted(title.unwrap_or(&found.title), description.unwrap_or(old), footer);
    // A title that is cut opens the description, which then changes as well.
    let changes_description = description.is_some() || !fitted.notes.is_empty();
    let action = Action::UpdatePullRequest {
        repository: repository.clone(),
        pull_request_id: found.id,
        title: title.map(|_| fitted.title),
        description: changes_description.then_some(fitted.description),
    };
    let facts = Facts { own_pull_request: own, ..desk.gate.facts(action.kind()) };
    desk.gate.write(action, facts).await?;
    let mut notes = fitted.notes;
    if changes_description {
        notes.extend(threads::post_rest(desk, repository, found.id, own, fitted.rest).await?);
    }
    Ok(notes)
}
