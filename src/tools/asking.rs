//! Asking people: what the judge leaves to a person becomes an approval in the run's log, with all
//! that the person needs to see, and a notice where people are.

use super::gate::Gate;
use super::results::counted;
use super::{Fault, Interrupted, target};
use crate::action::{Action, FileChange, ThreadStatus};
use crate::journal::Entry;
use crate::mask::Origin;
use crate::policy::approval::{
    Approval, Change, MAX_OPEN, MAX_PER_HOUR, Proof, Request, Source, Use, Who, resource,
};
use crate::policy::{Facts, Label, TaintSource, Verdict};
use crate::trace;

/// An hour, in microseconds.
const HOUR: i64 = 3_600_000_000;
/// Writes of a step from this number on are notices of the program's own.
pub const NOTICES: u32 = 1_000;
/// Deleted files from which a card says so.
const MANY_DELETIONS: u32 = 5;
/// Longest rationale that is kept, in characters.
const MAX_RATIONALE: usize = 4_000;

impl Gate<'_> {
    /// Leave that an open grant gives for this action, with the entry that uses it up.
    pub(super) async fn granted(
        &mut self,
        action: &Action,
        facts: &Facts,
    ) -> Result<Option<(Proof, Entry)>, Fault> {
        let Ok(digest) = action.digest() else { return Ok(None) };
        let now = self.now();
        let used = Use {
            run: self.run().to_owned(),
            action: action.kind().to_owned(),
            resource: resource(action),
            digest: digest.clone(),
            requested_by: self.instructor(),
            taint: sources(facts),
        };
        let others = self.journal().open_grants(now).await?;
        for mut approval in others {
            let change = Change::GrantUsed { used: used.clone() };
            if approval.apply(&change, now).is_err() {
                continue;
            }
            let id = approval.request.id.clone();
            if let Some(proof) = approval.granted(&digest) {
                return Ok(Some((proof, Entry::ApprovalChanged { id, what: change })));
            }
        }
        Ok(None)
    }

    /// Asks people for leave to do this. There is always a fault: the model is told that it waits.
    pub(super) async fn ask(&mut self, action: Action, facts: Facts, verdict: Verdict, write: u32) -> Fault {
        counted(action.kind(), &verdict, self.toolbox().policy().hash());
        match self.asked(action, facts, verdict, write).await {
            Ok(approval) => Fault::Waits(Box::new(approval)),
            Err(fault) => fault,
        }
    }

    async fn asked(
        &mut self,
        action: Action,
        facts: Facts,
        verdict: Verdict,
        write: u32,
    ) -> Result<Approval, Fault> {
        let known =
            self.of_run().approvals.iter().find(|known| known.state.is_open() && same(known, &action));
        if let Some(known) = known.cloned() {
            // Asked before: by this very call before a crash, or by the model again.
            self.tell_people(&known).await?;
            return Ok(known);
        }
        self.check_caps().await?;
        let request = self.request(action, facts, verdict, write).await?;
        let approval = Approval::request(request.clone(), self.now());
        let id = request.id.clone();
        self.record(vec![Entry::ApprovalRequested { request: Box::new(request) }]).await?;
        trace::event("adoc.approval.requested", || vec![trace::attribute(trace::APPROVAL, id)]);
        self.notify(&approval);
        self.tell_people(&approval).await?;
        Ok(approval)
    }

    /// Too many questions wear people out: the run then waits until some are answered.
    async fn check_caps(&mut self) -> Result<(), Fault> {
        let open: Vec<&Approval> =
            self.of_run().approvals.iter().filter(|known| known.state.is_open()).collect();
        if open.len() >= MAX_OPEN {
            let reason = format!(
                "{} approvals of this run are open, which is the most. It goes on when one of them is decided.",
                open.len()
            );
            let wake_at = open.iter().map(|known| known.request.expires_at).min();
            return Err(Interrupted::AskedTooMuch { reason, wake_at }.into());
        }
        let now = self.now();
        let (count, first) = self.journal().asked_since(now - HOUR).await?;
        if count >= MAX_PER_HOUR {
            let reason = format!(
                "The co-worker has asked for {count} approvals within an hour, which is the most. It asks again later."
            );
            return Err(Interrupted::AskedTooMuch { reason, wake_at: first.map(|first| first + HOUR) }.into());
        }
        Ok(())
    }

    async fn request(
        &mut self,
        action: Action,
        facts: Facts,
        verdict: Verdict,
        write: u32,
    ) -> Result<Request, Fault> {
        let target = target::read(self.toolbox(), &action).await?;
        let me = self.toolbox().me().await?;
        let agent = [Some(me.id.clone()), me.account.clone()].into_iter().flatten().collect();
        let digest = action.digest().map_err(|error| Interrupted::Unclear(error.to_string()))?;
        let mut shown = self.take_shown();
        shown.flags = flags(&action, &facts);
        let rationale: String = self.of_run().said.chars().take(MAX_RATIONALE).collect();
        let origin = Origin::Other("model".to_owned());
        shown.rationale = self.session().mask_text(&rationale, &origin).text;
        shown.diff = shown.diff.map(|diff| self.session().mask_text(&diff, &origin).text);
        for value in shown.before.values_mut() {
            *value = self.session().mask_text(value, &origin).text;
        }
        let ttl = verdict.terms.clone().unwrap_or_default().ttl_s;
        let expires_at =
            self.now().saturating_add(i64::try_from(ttl).unwrap_or(i64::MAX / 2_000_000) * 1_000_000);
        let supersedes = self
            .of_run()
            .approvals
            .iter()
            .rev()
            .find(|known| !known.state.is_open() && resource(&known.request.action) == resource(&action));
        Ok(Request {
            id: uuid::Uuid::now_v7().simple().to_string(),
            run: self.run().to_owned(),
            step: self.step(),
            write,
            tool: self.tool().to_owned(),
            digest,
            target,
            taint: sources(&facts),
            verdict,
            requested_by: self.instructor(),
            agent,
            shown,
            expires_at,
            supersedes: supersedes.map(|known| known.request.id.clone()),
            action: action.for_record(),
        })
    }

    /// Says once, where people work, that an approval waits: in the pull request or the work item that
    /// it is about. A notice that cannot be written keeps nothing from happening.
    async fn tell_people(&mut self, approval: &Approval) -> Result<(), Fault> {
        let write = NOTICES + approval.request.write;
        let Some(action) = self.notice(approval) else { return Ok(()) };
        self.post_if_possible(action, write).await
    }

    /// Writes a notice, once; one that cannot be written is told in the log.
    pub(super) async fn post_if_possible(&mut self, action: Action, write: u32) -> Result<(), Fault> {
        if self.was_written(write) {
            return Ok(());
        }
        match self.own_write(action, write).await {
            Err(Fault::Interrupted(Interrupted::Journal(error))) => {
                Err(Fault::Interrupted(Interrupted::Journal(error)))
            }
            Err(error) => {
                tracing::warn!(run = %self.run(), %error, "a notice could not be written");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    fn notice(&self, approval: &Approval) -> Option<Action> {
        let link = format!("{}/approvals/{}", self.public_url(), approval.request.id);
        let rules = approval.request.verdict.rules.join(", ");
        let text = format!(
            "**Approval needed: code {}.** I would like to do this: `{}` ({}). Rule {rules} leaves it to: {}.\n\n\
             [See exactly what would be done, and decide]({link}). What is written here does not count as a decision.",
            approval.code(),
            approval.request.action.kind(),
            approval.request.target.what,
            approval.request.terms().approvers.any_of.join(", "),
        );
        self.at_place(text)
    }

    /// A comment in the pull request or the work item that the run is about.
    pub(super) fn at_place(&self, text: String) -> Option<Action> {
        let (kind, id) = self.of_run().place.clone()?;
        let served = self.toolbox().served.clone();
        match kind.as_str() {
            "pull_request" => Some(Action::CreateThread {
                repository: served,
                pull_request_id: id,
                text,
                // Closed: an open thread can block a completion.
                status: ThreadStatus::Closed,
                anchor: None,
            }),
            "work_item" => Some(Action::CommentOnWorkItem { project: served.project, id, text }),
            _ => None,
        }
    }

    /// Who gave the order behind the run.
    fn instructor(&self) -> Who {
        Who::from(self.of_run().requested_by)
    }
}

/// Whether an open approval is for the same effect: the trailers of a commit tell the step, which
/// differs when the model asks again.
fn same(known: &Approval, action: &Action) -> bool {
    let plain = |action: &Action| match action.for_record() {
        Action::Push { repository, branch, old_commit, message, author, changes } => {
            let message = message.split("\n\nAgent-Run: ").next().unwrap_or_default().to_owned();
            Action::Push { repository, branch, old_commit, message, author, changes }
        }
        other => other,
    };
    plain(&known.request.action) == plain(action)
}

/// Texts of others that the run had read.
fn sources(facts: &Facts) -> Vec<Source> {
    let author = |source: &TaintSource| {
        let (id, name) = (source.author_id.clone(), source.author.clone());
        let account = name.clone().filter(|name| name.contains('@'));
        (id.is_some() || name.is_some()).then(|| Who {
            name: name.unwrap_or_default(),
            account,
            ids: id.into_iter().collect(),
        })
    };
    let of_others = facts.taint_sources.iter().filter(|source| source.label >= Label::Internal);
    of_others
        .map(|source| Source {
            what: format!("{} {}", source.kind.replace('_', " "), source.object),
            url: source.url.clone(),
            author: author(source),
        })
        .collect()
}

/// What a person should look at twice; computed, never the model's words.
fn flags(action: &Action, facts: &Facts) -> Vec<String> {
    let mut flags = Vec::new();
    if let Action::Push { changes, .. } = action {
        let deletes = |change: &&FileChange| matches!(change, FileChange::Delete { .. });
        let deleted = u32::try_from(changes.iter().filter(deletes).count()).unwrap_or(u32::MAX);
        if deleted >= MANY_DELETIONS {
            flags.push(format!("Deletes {deleted} files."));
        }
    }
    if facts.touches_ci {
        flags.push("Changes what build machines do.".to_owned());
    }
    if facts.hidden_characters {
        flags.push("New text hides characters or turns its direction.".to_owned());
    }
    if !facts.new_hosts.is_empty() {
        flags.push(format!("Points to hosts that are not listed: {}.", facts.new_hosts.join(", ")));
    }
    if !facts.special.is_empty() {
        flags.push(format!(
            "Changes files that act beyond themselves: {}.",
            facts.special.join(", ").replace('_', " ")
        ));
    }
    if !facts.quotes.is_empty() {
        flags.push(format!("Quotes at length: {}.", facts.quotes.join(", ")));
    }
    if facts.outside_plan {
        flags.push("Is not among what the event that began this run is about.".to_owned());
    }
    flags
}
