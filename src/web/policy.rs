//! The rules in force, which of them decided lately, and why.

use askama::Template;
use axum::response::Response;

use super::pages;
use super::problem::Problem;
use super::shown::{Badge, Shell};
use super::viewer::Viewer;
use super::when::Moment;
use super::{App, Shared};
use crate::journal::Entry;
use crate::policy::{Outcome, RuleShown, Verdict};

/// Runs whose decisions are shown.
const RUNS: i64 = 12;
/// Most decisions that are shown.
const MAX_DECISIONS: usize = 60;

struct Decided {
    run: String,
    seq: i64,
    at: Moment,
    action: String,
    outcome: Badge,
    rules: String,
    message: String,
    why: String,
}

struct Rule {
    shown: RuleShown,
    badge: Badge,
    actions: String,
}

#[derive(Template)]
#[template(path = "policy.html")]
struct Page {
    shell: Shell,
    hash: String,
    refused: Option<String>,
    rules: Vec<Rule>,
    decisions: Vec<Decided>,
}

fn badge(outcome: Outcome) -> Badge {
    match outcome {
        Outcome::Allow => Badge { words: "Allow", tone: "good" },
        Outcome::Ask => Badge { words: "Ask", tone: "wait" },
        Outcome::Deny => Badge { words: "Deny", tone: "bad" },
    }
}

/// `GET /policy`.
pub(super) async fn page(app: Shared, viewer: Viewer) -> Result<Response, Problem> {
    let policy = app.state.policy.get();
    let rules = policy.rules().into_iter().map(|shown| {
        let actions = match shown.actions.as_slice() {
            [] => "every write".to_owned(),
            actions if actions.len() > 12 => format!("{} actions", actions.len()),
            actions => actions.join(", "),
        };
        Rule { badge: badge(shown.effect), actions, shown }
    });
    pages::page(&Page {
        shell: Shell::new(&app, &viewer, "policy", "Rules"),
        hash: policy.hash().short().to_owned(),
        refused: app.state.policy.refused(),
        rules: rules.collect(),
        decisions: decisions(&app).await?,
    })
}

/// The newest decisions, newest first.
async fn decisions(app: &App) -> Result<Vec<Decided>, Problem> {
    let mut found = Vec::new();
    for run in app.state.journal.runs(RUNS, None).await? {
        for logged in app.state.journal.whole_log(&run.id).await?.iter().rev() {
            let (action, verdict) = match &logged.entry {
                Entry::Decided { action, verdict, .. } => (action.as_str(), verdict),
                Entry::Intended { action, verdict, .. } => (action.kind(), verdict),
                _ => continue,
            };
            found.push(Decided {
                run: run.id.to_string(),
                seq: logged.seq,
                at: Moment::of(logged.ts),
                action: action.to_owned(),
                outcome: badge(verdict.outcome),
                rules: if verdict.rules.is_empty() { "no rule".to_owned() } else { verdict.rules.join(", ") },
                message: verdict.message.clone(),
                why: why(verdict),
            });
            if found.len() == MAX_DECISIONS {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// The facts that most often decide, in words.
fn why(verdict: &Verdict) -> String {
    let Some(facts) = &verdict.facts else { return String::new() };
    let mut words = Vec::new();
    let mut add = |is: bool, text: String| {
        if is {
            words.push(text);
        }
    };
    add(facts.branch.is_some(), format!("branch {}", facts.branch.as_deref().unwrap_or_default()));
    add(facts.files > 0, format!("{} files", facts.files));
    add(facts.deleted > 0, format!("{} deleted", facts.deleted));
    add(facts.touches_ci, "changes builds".to_owned());
    add(facts.touches_policy, "changes rules".to_owned());
    add(!facts.special.is_empty(), facts.special.join(", ").replace('_', " "));
    add(facts.hidden_characters, "hidden characters".to_owned());
    add(!facts.new_hosts.is_empty(), format!("new hosts {}", facts.new_hosts.join(", ")));
    add(true, format!("taint {}", facts.taint.as_str()));
    add(facts.taint_elsewhere, "has read another project".to_owned());
    add(facts.class_b, "has read secrets".to_owned());
    add(facts.run_object, "the run's own object".to_owned());
    add(facts.outside_plan, "outside the plan".to_owned());
    words.join(" · ")
}
