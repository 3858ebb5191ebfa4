//! An approval as a person sees it: exactly what would be done, who asked, why it is asked, what to
//! look at twice; the model's own words last and as plain text.

use serde_json::{Value, json};

use super::diff::Diff;
use super::steps::{Field, field, one_line, web_address};
use super::text::visible;
use super::viewer::Viewer;
use super::when::{Moment, rfc3339};
use super::{State, leave, shown::Badge};
use crate::action::{Action, FileChange};
use crate::journal::RunId;
use crate::policy::Grant;
use crate::policy::approval::{self, Answer, Approval, Approver, BREAK_GLASS, Who};

/// The card of an approval.
pub(super) struct Card {
    pub(super) id: String,
    pub(super) code: String,
    pub(super) digest: String,
    pub(super) run: String,
    pub(super) badge: Badge,
    /// It waits for people.
    pub(super) open: bool,
    /// The glass was broken: shown in red.
    pub(super) glass: Option<String>,
    /// What would be done, in a sentence of the program's own.
    pub(super) title: String,
    pub(super) target: String,
    pub(super) target_url: Option<String>,
    pub(super) asked_by: String,
    pub(super) asked: Moment,
    pub(super) expires: Moment,
    pub(super) rules: String,
    pub(super) message: String,
    pub(super) approvers: String,
    /// The rule wants a reason for a yes, too.
    pub(super) wants_reason: bool,
    /// Leave for more than this once, as long as it is open.
    pub(super) grant: Option<leave::Shown>,
    /// Who approved so far, and how many more are needed.
    pub(super) so_far: String,
    pub(super) flags: Vec<String>,
    pub(super) taint: Vec<TaintShown>,
    pub(super) fields: Vec<Field>,
    pub(super) diff: Option<Diff>,
    pub(super) files: Vec<String>,
    pub(super) title_now: Option<String>,
    pub(super) branch_now: Option<String>,
    pub(super) decisions: Vec<String>,
    pub(super) why: String,
    pub(super) rationale: String,
    pub(super) may: May,
}

/// A text of somebody else that was read before.
pub(super) struct TaintShown {
    pub(super) what: String,
    pub(super) by: String,
    pub(super) url: Option<String>,
}

/// What the viewer may do with it.
pub(super) struct May {
    pub(super) decide: bool,
    /// Leave for more of this kind.
    pub(super) kind: bool,
    /// Take it back.
    pub(super) revoke: bool,
    pub(super) glass: bool,
    /// Why not, where not.
    pub(super) why_not: String,
    /// Where to sign in, for who is not signed in: path and name.
    pub(super) sign_in: Option<(String, String)>,
}

/// The viewer as somebody who decides on this approval.
pub(super) fn approver(viewer: &Viewer, approval: &Approval) -> Approver {
    let roles = viewer.roles.iter().map(|role| role.as_str().to_owned());
    let all: Vec<String> = roles.chain(viewer.groups.iter().cloned()).collect();
    let wanted = approval.request.terms().approvers.any_of;
    // Only what matters here is kept in the record.
    let matters =
        |own: &String| own == BREAK_GLASS || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(own));
    Approver {
        who: Who::from(&viewer.person),
        memberships: all.into_iter().filter(matters).collect(),
        is_human: true,
        signed_in_at: viewer.signed_in_at.map(|at| at.as_microsecond()),
    }
}

/// Where an approval is, in words.
fn badge(approval: &Approval, now: i64) -> Badge {
    use approval::State as S;
    let (words, tone) = match approval.state_at(now) {
        S::Requested | S::Pending => ("Waits for approval", "wait"),
        S::PartiallyApproved => ("Needs one more", "wait"),
        S::Approved => ("Approved", "busy"),
        S::Executing => ("Being done", "busy"),
        S::Executed => ("Done", "good"),
        S::Failed => ("Failed", "bad"),
        S::Unknown => ("Not known whether done", "bad"),
        S::Denied => ("Denied", "bad"),
        S::Expired => ("Expired", "quiet"),
        S::Cancelled => ("Cancelled", "quiet"),
        S::Superseded => ("Out of date", "quiet"),
        S::Revoked => ("Taken back", "bad"),
        S::Refused => ("Refused by the rules", "bad"),
    };
    Badge { words, tone }
}

impl Card {
    /// The card as `viewer` sees it now.
    pub(super) fn new(state: &State, viewer: &Viewer, run: &RunId, approval: &Approval) -> Self {
        let request = &approval.request;
        let now = state.clock.now().as_microsecond();
        let open = approval.state_at(now).is_open();
        let action = approval.action();
        let terms = request.terms();
        let names: Vec<&str> = approval.approved_by().iter().map(|who| who.name.as_str()).collect();
        let so_far = match (names.is_empty(), open) {
            (true, true) => format!("{} needed.", people(approval.missing())),
            (false, true) => format!("{}; {} more needed.", names.join(", "), people(approval.missing())),
            (true, false) => String::new(),
            (false, false) => format!("Approved by {}.", names.join(", ")),
        };
        Self {
            id: request.id.clone(),
            code: approval.code(),
            digest: approval.digest.to_string(),
            run: run.to_string(),
            badge: badge(approval, now),
            open,
            glass: approval.break_glass().and_then(|decision| decision.break_glass.clone()),
            title: sentence(action),
            target: visible(&request.target.what).into_owned(),
            target_url: request.target.url.as_deref().and_then(web_address),
            asked_by: request.requested_by.name.clone(),
            asked: Moment::of(approval.requested_at),
            expires: Moment::of(request.expires_at),
            rules: request.verdict.rules.join(", "),
            message: request.verdict.message.clone(),
            approvers: terms.approvers.any_of.join(", "),
            wants_reason: terms.require_reason,
            grant: leave::Shown::of(viewer, approval, now),
            so_far,
            flags: request.shown.flags.clone(),
            taint: request.taint.iter().map(TaintShown::from).collect(),
            fields: fields(approval),
            diff: request.shown.diff.as_deref().filter(|diff| !diff.trim().is_empty()).map(Diff::parse),
            files: files(&request.action),
            title_now: title_of(action),
            branch_now: match action {
                Action::Push { branch, .. } => Some(branch.to_string()),
                _ => None,
            },
            decisions: approval.decisions.iter().map(|(at, decision)| told(*at, decision)).collect(),
            why: approval.why.clone(),
            rationale: visible(&request.shown.rationale).into_owned(),
            may: May::of(state, viewer, approval, now),
        }
    }
}

fn people(count: usize) -> String {
    if count == 1 { "1 person".to_owned() } else { format!("{count} people") }
}

fn told(at: i64, decision: &approval::Decision) -> String {
    let did = match decision.answer {
        Answer::Approve if decision.break_glass.is_some() => "broke the glass and approved",
        Answer::Approve if decision.edits.as_ref().is_some_and(|edits| !edits.is_empty()) => {
            "approved with changes"
        }
        Answer::Approve => "approved",
        Answer::Deny => "denied",
    };
    let reason = decision.reason.trim();
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("{} {did}, {}{}", decision.by.who.name, Moment::of(at).words, visible(&reason))
}

impl From<&approval::Source> for TaintShown {
    fn from(source: &approval::Source) -> Self {
        let by = source.author.as_ref().map(|who| who.name.clone()).unwrap_or_default();
        Self { what: one_line(&source.what), by, url: source.url.as_deref().and_then(web_address) }
    }
}

impl May {
    fn of(state: &State, viewer: &Viewer, approval: &Approval, now: i64) -> Self {
        let open = approval.state_at(now).is_open();
        let by = approver(viewer, approval);
        let refusal = approval.request.not_for(&by, now);
        let signs_in = open && viewer.local && state.has_sign_in();
        let back = format!("/approvals/{}", approval.request.id);
        Self {
            decide: open && refusal.is_none(),
            kind: approval.request.terms().grant >= Grant::Session,
            revoke: leave::is_open(approval, now) && leave::may(viewer, approval).is_ok(),
            glass: open && refusal.is_some() && approval.request.glass_not_for(&by, now).is_none(),
            why_not: refusal.filter(|_| open).map(|refusal| refusal.to_string()).unwrap_or_default(),
            sign_in: signs_in.then(|| match state.config.always_local {
                // The demo has people to sign in as.
                true => (format!("/sign-in?as=alice&to={back}"), "Sign in as alice".to_owned()),
                false => (format!("/sign-in?to={back}"), "Sign in".to_owned()),
            }),
        }
    }
}

/// What an action does, in plain words.
pub(super) fn sentence(action: &Action) -> String {
    match action {
        Action::CreateWorkItem { work_item_type, title, .. } => {
            format!("Create the {work_item_type} “{}”", one_line(title))
        }
        Action::UpdateWorkItem { id, .. } => format!("Change work item {id}"),
        Action::CommentOnWorkItem { id, .. } => format!("Comment on work item {id}"),
        Action::CreateBranch { branch, .. } => format!("Create the branch {branch}"),
        Action::Push { branch, changes, .. } => match changes.len() {
            1 => format!("Push a change of 1 file to {branch}"),
            n => format!("Push a change of {n} files to {branch}"),
        },
        Action::CreatePullRequest { source, target, .. } => {
            format!("Open a draft pull request from {source} into {target}")
        }
        Action::UpdatePullRequest { pull_request_id, .. } => {
            format!("Change the words of pull request {pull_request_id}")
        }
        Action::PublishPullRequest { pull_request_id, .. } => {
            format!("Ask people to review pull request {pull_request_id}")
        }
        Action::RedraftPullRequest { pull_request_id, .. } => {
            format!("Make pull request {pull_request_id} a draft again")
        }
        Action::AbandonPullRequest { pull_request_id, .. } => {
            format!("Give up pull request {pull_request_id}")
        }
        Action::CreateThread { pull_request_id, .. } => format!("Comment on pull request {pull_request_id}"),
        Action::QueueBuild { branch, .. } => format!("Start a build of {branch}"),
        Action::ReplyToThread { pull_request_id, thread_id, .. } => {
            format!("Answer in thread {thread_id} of pull request {pull_request_id}")
        }
        Action::SetThreadStatus { thread_id, status, .. } => {
            format!("Set thread {thread_id} to {}", status.as_str())
        }
    }
}

/// The parts of the action, with what is there now beside what would be there.
fn fields(approval: &Approval) -> Vec<Field> {
    let Ok(Value::Object(parts)) = serde_json::to_value(approval.action()) else { return Vec::new() };
    let shown = &approval.request.shown;
    let mut fields = Vec::new();
    for (name, value) in &parts {
        match (name.as_str(), value) {
            // The title of the card, the diff and the list of files say these.
            ("action" | "changes" | "author", _) | (_, Value::Null) => {}
            ("fields", Value::Object(changed)) => {
                for (name, value) in changed {
                    let plain = name.rsplit('.').next().unwrap_or(name);
                    if let Some(before) = shown.before.get(name) {
                        fields.push(field(&format!("{plain} now"), before.clone()));
                    }
                    fields.push(field(&format!("{plain} then"), words(value)));
                }
            }
            (name, value) => {
                let known = shown.names.get(name).map(|known| format!("{known} ({})", words(value)));
                fields.push(field(&name.replace('_', " "), known.unwrap_or_else(|| words(value))));
            }
        }
    }
    for path in files(approval.action()) {
        fields.push(field("file", path));
    }
    fields
}

fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn files(action: &Action) -> Vec<String> {
    let Action::Push { changes, .. } = action else { return Vec::new() };
    changes.iter().flat_map(FileChange::paths).map(|path| path.as_str().to_owned()).collect()
}

fn title_of(action: &Action) -> Option<String> {
    match action {
        Action::CreateWorkItem { title, .. } | Action::CreatePullRequest { title, .. } => Some(title.clone()),
        Action::Push { message, .. } => message.lines().next().map(str::to_owned),
        _ => None,
    }
}

/// An approval in the JSON API, as `viewer` sees it.
pub(super) fn json(state: &State, viewer: &Viewer, run: &RunId, approval: &Approval) -> Value {
    let request = &approval.request;
    let now = state.clock.now().as_microsecond();
    let terms = request.terms();
    let decisions: Vec<Value> = approval
        .decisions
        .iter()
        .map(|(at, decision)| {
            json!({
                "by": decision.by.who.name, "decision": decision.answer, "reason": decision.reason,
                "at": rfc3339(*at), "edits": decision.edits, "break_glass": decision.break_glass,
            })
        })
        .collect();
    let refusal = request.not_for(&approver(viewer, approval), now);
    let open = approval.state_at(now).is_open();
    json!({
        "id": request.id,
        "url": state.public(&format!("/approvals/{}", request.id)),
        "code": approval.code(),
        "state": approval.state_at(now),
        "run": run,
        "run_url": state.public(&format!("/runs/{run}")),
        "step": request.step,
        "tool": request.tool,
        "intent": sentence(approval.action()),
        "action": approval.action(),
        "digest": approval.digest,
        "target": request.target,
        "diff": request.shown.diff,
        "before": request.shown.before,
        "requested_by": request.requested_by.name,
        "requested_at": rfc3339(approval.requested_at),
        "expires_at": rfc3339(request.expires_at),
        "rules": request.verdict.rules,
        "message": request.verdict.message,
        "approvers": { "any_of": terms.approvers.any_of, "min": terms.approvers.min, "missing": approval.missing() },
        "grant": terms.grant,
        "granted": leave::json(approval, now),
        "reason_required": terms.require_reason,
        "decisions": decisions,
        "flags": request.shown.flags,
        "taint": request.taint,
        "untrusted_rationale": request.shown.rationale,
        "reason": approval.why,
        "supersedes": request.supersedes,
        "you_may_decide": open && refusal.is_none(),
        "why_not": refusal.filter(|_| open).map(|refusal| refusal.to_string()),
    })
}
