//! A broken glass: people are told at once, and a work item asks for a review within a day
//! (GOVERNANCE §4.2). What is written for it goes through the gate like everything else.

use std::time::Duration;

use super::asking::NOTICES;
use super::ending::settle;
use super::gate::Gate;
use super::{Call, Fault, Interrupted, Toolbox, veil};
use crate::action::Action;
use crate::azure_devops::Effect;
use crate::clock;
use crate::journal::{Entry, Holder};
use crate::policy::approval::Approval;

/// How long the review may take.
const REVIEW_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);
/// The write of a step that makes the work item has this number, plus that of the approved write.
const REVIEW_ITEM: u32 = 2 * NOTICES;
/// The comment that leads to it has this one.
const REVIEW_COMMENT: u32 = 3 * NOTICES;
/// Type of the work item: the one that every process of Azure DevOps has.
const REVIEW_TYPE: &str = "Task";
/// Longest ticket that is written outside, in characters.
const MAX_TICKET: usize = 60;

impl Toolbox {
    /// Tells of a broken glass and asks for its review, once: `call` is the one that asked for the
    /// approval, with what is known of its writes.
    ///
    /// # Errors
    /// [`Interrupted`], when it has to be tried again later.
    pub async fn ask_for_review(
        &self,
        holder: &mut Holder,
        call: Call<'_>,
        approval: &Approval,
    ) -> Result<(), Interrupted> {
        let session = self.veil.of(holder.run());
        let mut gate = Gate::new(self, holder, session, call);
        let (work_item, why_not) = match gate.review(approval).await {
            Ok(effect) => (effect.web_url, None),
            Err(Fault::Interrupted(Interrupted::Unclear(why))) => (None, Some(why)),
            Err(Fault::Interrupted(interrupted)) => return Err(interrupted),
            Err(Fault::Azure(error)) => (None, Some(settle(error)?.summary)),
            Err(fault) => (None, Some(fault.to_string())),
        };
        if let Some(why) = &why_not {
            tracing::error!(run = %holder.run(), %why, "the review of a broken glass could not be asked for");
        }
        let entry = Entry::ReviewAsked { id: approval.request.id.clone(), work_item, why_not };
        holder.record(vec![entry]).await?;
        Ok(())
    }
}

impl Gate<'_> {
    async fn review(&mut self, approval: &Approval) -> Result<Effect, Fault> {
        // With each attempt: rather told twice after a crash than not at all.
        if let Some(notifier) = &self.toolbox().notifier {
            notifier.glass_broken(approval, &self.public_url());
        }
        let write = REVIEW_ITEM + approval.request.write;
        let made = match self.earlier(write) {
            Some(earlier) => self.settled(&earlier, "work_item.create").await?,
            None => None,
        };
        let effect = match made {
            Some(effect) => effect,
            None => self.own_write(self.review_item(approval), write).await?,
        };
        self.comment(approval, &effect).await?;
        Ok(effect)
    }

    /// The work item. Words of people stay on the card: only names, numbers and the link go out.
    fn review_item(&self, approval: &Approval) -> Action {
        let (code, until) = (approval.code(), clock::add(self.toolbox().now(), REVIEW_WITHIN));
        let until = until.strftime("%Y-%m-%d %H:%M UTC");
        let link = format!("{}/approvals/{}", self.public_url(), approval.request.id);
        Action::CreateWorkItem {
            project: self.toolbox().served.project.clone(),
            work_item_type: REVIEW_TYPE.to_owned(),
            title: format!("Review the broken glass {code} by {until}"),
            description: format!(
                "{who} let `{action}` ({target}) pass for the co-worker by breaking the glass, ticket {ticket}.\n\n\
                 Somebody else looks by {until} whether that was right: [what was done, by whom and why]({link}).",
                who = breaker(approval),
                action = approval.request.action.kind(),
                target = approval.request.target.what,
                ticket = ticket(approval),
            ),
            assigned_to: None,
            parent_id: None,
            run_url: Some(self.run_url()),
        }
    }

    /// Says it where people work, too. What cannot be said there keeps nothing from happening.
    async fn comment(&mut self, approval: &Approval, item: &Effect) -> Result<(), Fault> {
        let text = format!(
            "**{who} broke the glass for {code}** (`{action}`, ticket {ticket}). Work item {item} asks for the review \
             within 24 hours.",
            who = breaker(approval),
            code = approval.code(),
            action = approval.request.action.kind(),
            ticket = ticket(approval),
            item = item.id.as_deref().unwrap_or("with its title"),
        );
        let Some(action) = self.at_place(text) else { return Ok(()) };
        self.post_if_possible(action, REVIEW_COMMENT + approval.request.write).await
    }

    /// Writes something of the program's own: of a fixed list, and only where no rule denies it.
    pub(super) async fn own_write(&mut self, action: Action, write: u32) -> Result<Effect, Fault> {
        let mut facts = self.placed(&action, self.facts(action.kind()));
        if let Action::CreateThread { repository, pull_request_id, .. } = &action {
            let found = self.toolbox().azure.pull_request(repository, *pull_request_id).await?;
            facts.own_pull_request = found.created_by.id == self.toolbox().me().await?.id;
        }
        // It stands where the run's own object is.
        facts.run_object = true;
        veil::check_action(self.session(), &action)?;
        match self.judged(|policy| policy.permit_notice(action, &facts)) {
            Ok((permit, verdict)) => self.perform(permit, verdict, write, None).await,
            Err(verdict) => Err(Fault::Refused(verdict)),
        }
    }
}

fn breaker(approval: &Approval) -> &str {
    approval.break_glass().map_or("Somebody", |decision| decision.by.who.name.as_str())
}

/// The ticket as it may go out: letters, digits and what tickets are written with.
fn ticket(approval: &Approval) -> String {
    let ticket = approval.break_glass().and_then(|decision| decision.break_glass.as_deref());
    let plain = |c: &char| c.is_ascii_alphanumeric() || "-_#/. ".contains(*c);
    ticket.unwrap_or_default().chars().filter(plain).take(MAX_TICKET).collect()
}
