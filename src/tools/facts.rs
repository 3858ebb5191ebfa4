//! Computes the facts that the judge decides on, from the action itself, from the run's log and
//! from what the service says; and cleans the words of the action before they are judged.

use super::gate::Gate;
use super::standing::Standing;
use super::{Fault, Toolbox, classes, outgoing, veil};
use crate::action::Action;
use crate::event::TriggerKind;
use crate::journal::Source;
use crate::policy::{Facts, Instructor, Level, Trigger};
use crate::weaken::{Defence, off};

/// The action with its words cleaned, and everything that is known about it. `facts` has what the
/// tool resolved: whose branch, whose pull request, whether builds are green.
pub(super) async fn complete(
    gate: &mut Gate<'_>,
    action: Action,
    facts: Facts,
) -> Result<(Action, Facts), Fault> {
    let (toolbox, standing) = (gate.toolbox(), gate.of_run().standing);
    let hosts = toolbox.hosts()?;
    let (action, cleaned) = outgoing::clean(action, &hosts);
    veil::check_action(gate.session(), &action)?;
    let obeyed = match &action {
        Action::Push { .. } => toolbox.obeyed().await?,
        _ => Vec::new(),
    };
    let mut facts = of_action(&action, &obeyed, gate.placed(&action, facts));
    facts.new_hosts.extend(cleaned.new_hosts);
    // What this very call did before: the run's standing is from before the call.
    let just_now = Standing::of(gate.unseen());
    of_run(standing, &just_now, gate.now(), &mut facts);
    if let Some(person) = standing.requested_by().filter(|_| toolbox.policy().asks_for_groups()) {
        facts.instructor.groups = toolbox.instructor_groups(person).await;
    }
    facts.quotes = standing.quotes.quoted_in(&outgoing::words(&action));
    facts.run_object |= just_now.made_its_object(&action) || run_object(toolbox, standing, &action).await?;
    facts.reviewers_added = reviewers(toolbox, standing, &action).await?;
    facts.outside_plan = standing.is_of_event() && !is_planned(standing, &action, facts.run_object);
    weakened(&mut facts);
    for (flag, count) in cleaned.flags {
        *gate.flags.entry(flag).or_default() += count;
    }
    Ok((action, facts))
}

/// What the action itself says.
fn of_action(action: &Action, obeyed: &[String], facts: Facts) -> Facts {
    let mut facts = facts;
    match action {
        Action::Push { branch, changes, .. } => {
            let found = classes::of(changes, obeyed);
            facts.branch = Some(branch.as_str().to_owned());
            facts.files = u32::try_from(found.paths.len()).unwrap_or(u32::MAX);
            facts.paths = found.paths;
            facts.added = found.added;
            facts.deleted = found.deleted;
            facts.renamed = found.renamed;
            facts.bytes = found.bytes;
            facts.touches_ci = found.touches_ci;
            facts.touches_policy = found.touches_policy;
            facts.special = found.special;
            facts.hidden_characters = found.hidden_characters;
        }
        Action::CreateBranch { branch, .. } | Action::QueueBuild { branch, .. } => {
            facts.branch = Some(branch.as_str().to_owned());
            // Builds of pull requests from forks are refs of their own; a branch name cannot be one,
            // and what cannot be one is refused all the same.
            facts.fork = branch.as_str().starts_with("refs/pull/");
        }
        Action::CreateWorkItem { assigned_to: Some(_), .. } => facts.fields.push("System.AssignedTo".into()),
        Action::UpdateWorkItem { fields, .. } => facts.fields = fields.keys().cloned().collect(),
        _ => {}
    }
    if !matches!(action, Action::Push { .. }) {
        facts.bytes = outgoing::words(action).len() as u64;
    }
    facts
}

/// What the run has done and read so far, with this action.
fn of_run(standing: &Standing, just_now: &Standing, now: i64, facts: &mut Facts) {
    facts.deleted_in_run = standing.deleted.saturating_add(just_now.deleted).saturating_add(facts.deleted);
    facts.files_in_run = standing.files.saturating_add(just_now.files).saturating_add(facts.files);
    facts.bytes_in_run = standing.bytes.saturating_add(just_now.bytes).saturating_add(facts.bytes);
    let writes = standing.writes(&facts.action).saturating_add(just_now.writes(&facts.action));
    facts.writes_in_run = writes.saturating_add(1);
    facts.calls_per_minute = standing.calls_in_minute(now);
    facts.trigger = match standing.source() {
        _ if standing.is_of_event() => Trigger::Event,
        Some(Source::CommandLine) => Trigger::CommandLine,
        _ => Trigger::Chat,
    };
    facts.instructor = instructor(standing);
    facts.taint = standing.label;
    facts.class_b = standing.class_b;
    facts.taint_elsewhere = standing.sources.iter().any(|source| {
        let other = |a: &str, b: &str| !a.eq_ignore_ascii_case(b);
        let other_repository = match (&source.repository, &facts.repository) {
            (Some(read), Some(written)) => other(read, written),
            _ => false,
        };
        other(&source.project, &facts.project) || other_repository
    });
    facts.taint_sources = standing.sources.clone();
}

fn instructor(standing: &Standing) -> Instructor {
    let Some(person) = standing.requested_by() else { return Instructor::default() };
    Instructor {
        id: person.oid.clone().or_else(|| person.id.clone()),
        name: person.account.clone().unwrap_or_else(|| person.name.clone()),
        groups: Vec::new(),
        // Who gives orders was checked at the door: at the page by role, in events by identity.
        level: Level::Instructor,
    }
}

/// Whether the action is on what the run made itself, or what its order named.
async fn run_object(toolbox: &Toolbox, standing: &Standing, action: &Action) -> Result<bool, Fault> {
    Ok(match action {
        // New things become the run's own.
        Action::CreateWorkItem { .. } | Action::CreateBranch { .. } => true,
        Action::UpdateWorkItem { id, .. } | Action::CommentOnWorkItem { id, .. } => {
            standing.work_items.contains(id)
        }
        Action::Push { branch, .. } | Action::QueueBuild { branch, .. } => {
            is_own_branch(toolbox, standing, branch.as_str()).await?
        }
        Action::CreatePullRequest { source, .. } => is_own_branch(toolbox, standing, source.as_str()).await?,
        Action::UpdatePullRequest { pull_request_id, .. }
        | Action::PublishPullRequest { pull_request_id, .. }
        | Action::RedraftPullRequest { pull_request_id, .. }
        | Action::AbandonPullRequest { pull_request_id, .. }
        | Action::CreateThread { pull_request_id, .. }
        | Action::ReplyToThread { pull_request_id, .. }
        | Action::SetThreadStatus { pull_request_id, .. } => standing.pull_requests.contains(pull_request_id),
    })
}

/// Whether the run made the branch, its order named it, or it is the source of its pull request.
async fn is_own_branch(toolbox: &Toolbox, standing: &Standing, branch: &str) -> Result<bool, Fault> {
    if standing.branches.contains(branch) {
        return Ok(true);
    }
    for id in &standing.pull_requests {
        match toolbox.azure.pull_request(&toolbox.served, *id).await {
            Ok(found) if found.source_branch == branch => return Ok(true),
            // A number that the order names and that is no pull request makes nothing its own.
            Ok(_) | Err(crate::azure_devops::Error::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// How many people are asked to review whom the order neither came from nor named, and whom the
/// settings of the repository, on its default branch, do not name either.
async fn reviewers(toolbox: &Toolbox, standing: &Standing, action: &Action) -> Result<u32, Fault> {
    let Action::CreatePullRequest { reviewer_ids, .. } = action else { return Ok(0) };
    let order = standing.order.to_lowercase();
    let settings = match reviewer_ids.is_empty() {
        true => Vec::new(),
        false => toolbox.repository_settings().await?.reviewers,
    };
    let mut added = 0;
    for id in reviewer_ids {
        let person = toolbox.known_person(id);
        let asked = standing.requested_by().is_some_and(|asked| {
            let same = |a: &Option<String>, b: &str| a.as_deref().is_some_and(|a| a.eq_ignore_ascii_case(b));
            same(&asked.id, id)
                || person.as_ref().is_some_and(|person| {
                    let account = person.account.as_deref().unwrap_or(&person.name);
                    same(&asked.account, account)
                        || asked.name.eq_ignore_ascii_case(&person.name)
                        || account
                            .split('@')
                            .next()
                            .is_some_and(|local| asked.name.eq_ignore_ascii_case(local))
                })
        });
        let named = person.as_ref().is_some_and(|person| {
            let account = person.account.as_deref().unwrap_or_default().to_lowercase();
            let local = account.split('@').next().unwrap_or_default().to_owned();
            [person.name.to_lowercase(), account, local]
                .iter()
                .any(|name| name.len() > 2 && order.contains(name.as_str()))
        });
        let usual = person.as_ref().is_some_and(|person| {
            let account = person.account.as_deref().unwrap_or_default();
            let local = account.split('@').next().unwrap_or_default();
            let is_one =
                |name: &str| !name.is_empty() && settings.iter().any(|n| n.eq_ignore_ascii_case(name));
            is_one(&person.name) || is_one(account) || is_one(local)
        });
        added += u32::from(!asked && !named && !usual);
    }
    Ok(added)
}

/// Whether a run that an event began does this by itself: fixed from what the event was about.
fn is_planned(standing: &Standing, action: &Action, run_object: bool) -> bool {
    let subject = standing.work_items.iter().next();
    let builds_on_item =
        matches!(standing.kind(), Some(TriggerKind::WorkItemAssigned | TriggerKind::WorkItemMention));
    match action {
        Action::CreateBranch { .. } | Action::CreatePullRequest { .. } => builds_on_item,
        // Breaking the item down: its own children only.
        Action::CreateWorkItem { parent_id, .. } => builds_on_item && parent_id.as_ref() == subject,
        Action::QueueBuild { .. } | Action::AbandonPullRequest { .. } => false,
        _ => run_object,
    }
}

/// In a build for tests, what a defence that is switched off would not have seen.
fn weakened(facts: &mut Facts) {
    if off(Defence::ProtectedBranch) && facts.branch.is_some() {
        facts.branch = Some("agent/weakened".to_owned());
        (facts.own_branch, facts.run_object) = (true, true);
    }
    if off(Defence::OwnPr) {
        (facts.own_pull_request, facts.run_object) = (true, true);
    }
    if off(Defence::PathCheck) {
        facts.paths.clear();
        facts.special.clear();
        (facts.touches_ci, facts.touches_policy) = (false, false);
    }
    if off(Defence::Counters) {
        (facts.deleted, facts.deleted_in_run, facts.files, facts.files_in_run) = (0, 0, 0, 0);
        (facts.writes_in_run, facts.bytes_in_run, facts.renamed) = (0, 0, 0);
    }
    if off(Defence::Taint) {
        facts.taint = crate::policy::Label::Trusted;
        (facts.taint_elsewhere, facts.class_b) = (false, false);
    }
    if off(Defence::PlanLock) {
        facts.outside_plan = false;
    }
    if off(Defence::EgressHosts) {
        facts.new_hosts.clear();
    }
    if off(Defence::SanitiseOut) {
        facts.hidden_characters = false;
    }
}
