//! Work items that were assigned to the co-worker or mention it.
//!
//! A delivery says that an item changed, not what changed in it. So the item is looked at as it is:
//! an assignment or a mention that nobody has judged yet is what the event was about.

use super::mentions::mentions;
use super::{Agent, Meaning, Order, Standing, TriageError, nothing, order, person, prompts};
use crate::azure_devops::{Error, Person, WorkItem};
use crate::event::{self, TriggerKind};

/// The version of the first assignment or mention in a work item that nobody has judged; none where
/// there is nothing to do.
pub(in crate::agent) async fn assignment_or_mention(
    agent: &Agent,
    id: u32,
) -> Result<Option<String>, TriageError> {
    let Meaning::Orders(orders) = agent.work_item_changed(id).await? else { return Ok(None) };
    let versions: Vec<String> = orders.into_iter().map(|order| order.trigger.version).collect();
    let seen = agent.journal.seen(&versions).await?;
    Ok(versions.into_iter().find(|version| !seen.contains(version)))
}

/// What was found in an item: orders, and the reason that people read when there are none.
struct Look {
    orders: Vec<Order>,
    why: String,
}

impl Agent {
    pub(super) async fn work_item_changed(&self, id: u32) -> Result<Meaning, TriageError> {
        let subject = event::work_item(id);
        let served = self.toolbox.served();
        let item = match self.toolbox.reads().work_item(&served.project, id).await {
            Ok(item) => item,
            Err(Error::NotFound(_)) => {
                return Ok(match self.active(&subject).await? {
                    Some(run) => Meaning::Stop {
                        run,
                        by: "the end of its work item",
                        why: "The work item was deleted, so the run about it was stopped.".into(),
                    },
                    None => nothing("The work item is not there any more, or not visible to the co-worker."),
                });
            }
            Err(error) => return Err(error.into()),
        };
        if !item.project.eq_ignore_ascii_case(&served.project) {
            return Ok(nothing("The work item is in a project that this co-worker does not serve."));
        }
        let mut look = Look { orders: Vec::new(), why: self.plainly_nothing(&item).await? };
        self.assigned(&item, &mut look).await?;
        self.described(&item, &mut look).await?;
        self.discussed(&item, &mut look).await?;
        Ok(match look.orders.is_empty() {
            true => nothing(look.why),
            false => Meaning::Orders(look.orders),
        })
    }

    async fn plainly_nothing(&self, item: &WorkItem) -> Result<String, TriageError> {
        let by = item.changed_by.as_ref().map(|person| person.id.as_str()).unwrap_or_default();
        Ok(match self.is_me(by).await? {
            true => "The co-worker changed it itself.".into(),
            false => {
                "The work item is not newly assigned to the co-worker, and nothing in it mentions it.".into()
            }
        })
    }

    /// The last assignment, when it is to the co-worker and somebody who may instruct made it.
    async fn assigned(&self, item: &WorkItem, look: &mut Look) -> Result<(), TriageError> {
        let me = &self.toolbox.me().await?.id;
        let is_mine =
            |person: &Option<Person>| person.as_ref().is_some_and(|p| p.id.eq_ignore_ascii_case(me));
        if !is_mine(&item.assigned_to) {
            return Ok(());
        }
        let served = &self.toolbox.served().project;
        let last = self.toolbox.reads().last_assignment(served, item.id).await?;
        let Some(last) = last.filter(|last| is_mine(&last.to)) else { return Ok(()) };
        let from = person(&last.by);
        let version = format!("assignment:{}@{}", item.id, last.update);
        let text = prompts::assigned(item.id, &from.name);
        let wanted = order(TriggerKind::WorkItemAssigned, event::work_item(item.id), version, from, text);
        match self.why_not(&last.by.id, last.at, "The co-worker assigned it to itself.").await? {
            Some(why) => look.why = why,
            None => look.orders.push(wanted),
        }
        Ok(())
    }

    /// A mention in the description, as the item was made. Who changed a description later is not
    /// told plainly by the service, so a later mention has to be a comment.
    async fn described(&self, item: &WorkItem, look: &mut Look) -> Result<(), TriageError> {
        let me = self.toolbox.me().await?;
        let Some(author) = item.created_by.as_ref().filter(|_| mentions(&item.description, &me.id)) else {
            return Ok(());
        };
        let why = "The co-worker wrote it itself.";
        let mut refused = self.why_not(&author.id, item.created, why).await?;
        if let Some(changed_by) = item.changed_by.as_ref().filter(|by| by.id != author.id) {
            // Whoever changed the item last may have changed these very words.
            refused = refused.or(self.why_not(&changed_by.id, None, why).await?);
        }
        let from = person(author);
        let text = prompts::mentioned_in_work_item(item.id, &from.name, &item.description);
        let version = format!("work_item_text:{}", item.id);
        match refused {
            Some(why) => look.why = why,
            None => look.orders.push(order(
                TriggerKind::WorkItemMention,
                event::work_item(item.id),
                version,
                from,
                text,
            )),
        }
        Ok(())
    }

    /// Comments that mention the co-worker; the words are those of whoever edited them last.
    async fn discussed(&self, item: &WorkItem, look: &mut Look) -> Result<(), TriageError> {
        let me = self.toolbox.me().await?;
        let served = &self.toolbox.served().project;
        let comments = self.toolbox.reads().work_item_comments(served, item.id).await?;
        for said in comments.iter().filter(|said| mentions(&said.text, &me.id)) {
            let why = self.why_not(&said.edited_by.id, said.edited, "The co-worker wrote it itself.").await?;
            if let Some(why) = why {
                look.why = why;
                continue;
            }
            let from = person(&said.edited_by);
            let version = format!("work_item_comment:{}/{}@{}", item.id, said.id, said.version);
            let text = prompts::mentioned_in_work_item(item.id, &from.name, &said.text);
            let subject = event::work_item(item.id);
            look.orders.push(order(TriggerKind::WorkItemMention, subject, version, from, text));
        }
        Ok(())
    }

    /// Why words or deeds of this identity are not acted on.
    async fn why_not(
        &self,
        id: &str,
        at: Option<jiff::Timestamp>,
        own: &str,
    ) -> Result<Option<String>, TriageError> {
        if self.is_me(id).await? {
            return Ok(Some(own.to_owned()));
        }
        if let Some(why) = self.too_old(at).await? {
            return Ok(Some(why.to_owned()));
        }
        Ok(match self.standing(id).await? {
            Standing::Instructs { .. } => None,
            Standing::DoesNot(why) => Some(why),
        })
    }
}
