//! Whether an intended write happened, by what Azure DevOps really keeps.
//!
//! After a crash, or an answer that never came, the target is asked before anything is repeated:
//! a commit by its trailers and the branch's tip, a pull request by its branches, a comment by
//! author, text and time, a work item by creator, title, time and the link to its run, a change of one
//! by the revision that it must have made, a build by being the only newer one of ours, a setting by
//! being so. What cannot be told stays [`Lookup::Unclear`], and a person decides.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::work_items::tags;
use super::{
    Build, Client, Effect, EffectKind, Error, LinkKind, Me, PullRequest, PullRequestStatus, Version, WorkItem,
};
use crate::action::{Action, BranchName, CommitId, Relation, RepositoryRef, WorkItemLink};

/// How far the service's clock may stand from ours.
const CLOCK_SKEW: Duration = Duration::from_secs(120);
/// Newest work items with the same title that are looked at.
const SAME_TITLE: usize = 20;
/// Newest commits of a branch that are searched for the trailers.
const COMMITS: u32 = 50;

/// What the target says about an intended write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It happened, and this is what it did.
    Happened(Effect),
    /// It did not happen: it can be done now.
    DidNotHappen,
    /// It cannot be told; the words say why.
    Unclear(String),
}

impl Client {
    /// Looks up whether `action`, intended at `intended` by `me`, happened.
    ///
    /// # Errors
    /// When the target cannot be asked.
    pub async fn lookup(&self, action: &Action, intended: Timestamp, me: &Me) -> Result<Lookup, Error> {
        let since = intended.checked_sub(CLOCK_SKEW).unwrap_or(Timestamp::MIN);
        match action {
            Action::CreateWorkItem { project, title, run_url, .. } => {
                self.created_work_item(project, title, run_url.as_deref(), since, me).await
            }
            Action::UpdateWorkItem { project, id, rev, fields, link } => {
                let item = self.work_item(project, *id).await?;
                // A link is there once, whoever made it.
                let linked = link.as_ref().is_none_or(|link| is_linked(&item, link));
                let changed = match fields.is_empty() {
                    true => linked,
                    // The write names the revision that it changes: it made the next one, or none.
                    false if item.rev <= *rev => false,
                    false => {
                        let before = self.work_item_revision(project, *id, *rev).await?;
                        let next = self.work_item_revision(project, *id, rev + 1).await?;
                        let is = |(name, wanted): (&String, &String)| stands(name, wanted, &before, &next);
                        next.changed_by.as_ref().is_some_and(|person| person.id == me.id)
                            && fields.iter().all(is)
                    }
                };
                Ok(if changed { Lookup::Happened(self.found_item(&item)) } else { Lookup::DidNotHappen })
            }
            Action::CommentOnWorkItem { project, id, text } => {
                let comments = self.work_item_comments(project, *id).await?;
                let said = comments.iter().find(|comment| {
                    comment.author.id == me.id
                        && comment.created.is_some_and(|at| at >= since)
                        && same_text(&comment.text, text)
                });
                Ok(said.map_or(Lookup::DidNotHappen, |comment| {
                    Lookup::Happened(Effect {
                        id: Some(id.to_string()),
                        comment_id: Some(comment.id),
                        web_url: Some(self.transport.address.work_item(project, *id)),
                        ..found(EffectKind::WorkItem)
                    })
                }))
            }
            Action::CreateBranch { repository, branch, commit } => {
                self.created_branch(repository, branch, commit, me).await
            }
            Action::Push { repository, branch, old_commit, message, .. } => {
                self.pushed(repository, branch, old_commit, message).await
            }
            Action::CreatePullRequest { repository, source, target, .. } => {
                // Also one that somebody closed meanwhile: it was made.
                let all = self.pull_requests_from(repository, source, "all").await?;
                let fits = |found: &&PullRequest| {
                    let is_open = found.status == PullRequestStatus::Active;
                    let is_ours = found.created_by.id == me.id && found.created.is_some_and(|at| at >= since);
                    found.target_branch == target.as_str() && (is_open || is_ours)
                };
                Ok(match all.iter().find(fits) {
                    Some(own) if own.created_by.id == me.id => Lookup::Happened(Effect {
                        id: Some(own.id.to_string()),
                        title: Some(own.title.clone()),
                        commit: own.source_commit.clone().map(String::from),
                        web_url: Some(own.web_url.clone()),
                        ..found(EffectKind::PullRequest)
                    }),
                    Some(other) => Lookup::Unclear(format!(
                        "pull request {} for the same branches is {}'s",
                        other.id, other.created_by.name
                    )),
                    None => Lookup::DidNotHappen,
                })
            }
            Action::ReplyToThread { repository, pull_request_id, thread_id, text } => {
                self.replied(repository, (*pull_request_id, *thread_id), text, since, me).await
            }
            Action::CreateThread { repository, pull_request_id, text, .. } => {
                self.opened_thread(repository, *pull_request_id, text, since, me).await
            }
            // Setting the same again would change nothing, but tell everybody again.
            Action::SetThreadStatus { repository, pull_request_id, thread_id, status } => {
                let threads = self.threads(repository, *pull_request_id).await?;
                let is_set =
                    threads.iter().any(|found| found.id == *thread_id && found.status == Some(*status));
                Ok(match is_set {
                    true => self.found_comment(repository, *pull_request_id, *thread_id, None),
                    false => Lookup::DidNotHappen,
                })
            }
            Action::UpdatePullRequest { repository, pull_request_id, title, description } => {
                let is_so = |found: &PullRequest| {
                    title.as_ref().is_none_or(|title| *title == found.title)
                        && description.as_ref().is_none_or(|text| same_text(text, &found.description))
                };
                self.changed_pull_request(repository, *pull_request_id, is_so).await
            }
            Action::PublishPullRequest { repository, pull_request_id } => {
                self.changed_pull_request(repository, *pull_request_id, |found| !found.is_draft).await
            }
            Action::RedraftPullRequest { repository, pull_request_id } => {
                self.changed_pull_request(repository, *pull_request_id, |found| found.is_draft).await
            }
            Action::AbandonPullRequest { repository, pull_request_id } => {
                let is_so = |found: &PullRequest| found.status == PullRequestStatus::Abandoned;
                self.changed_pull_request(repository, *pull_request_id, is_so).await
            }
            Action::QueueBuild { repository, definition_id, branch, after } => {
                let own = self.own_builds(repository, *definition_id, branch, me).await?;
                let newer: Vec<&Build> = own.iter().filter(|build| build.id > *after).collect();
                Ok(match newer.as_slice() {
                    [] => Lookup::DidNotHappen,
                    [build] => Lookup::Happened(Effect {
                        id: Some(build.id.to_string()),
                        title: Some(format!("{} {}", build.definition, build.number)),
                        web_url: Some(build.web_url.clone()),
                        ..found(EffectKind::Build)
                    }),
                    [..] => Lookup::Unclear(format!(
                        "more than one build of {branch} was started at the same time; see definition {definition_id}"
                    )),
                })
            }
        }
    }

    /// A setting of a pull request is known by being so.
    async fn changed_pull_request(
        &self,
        repository: &RepositoryRef,
        id: u32,
        is_so: impl Fn(&PullRequest) -> bool,
    ) -> Result<Lookup, Error> {
        let there = self.pull_request(repository, id).await?;
        if !is_so(&there) {
            return Ok(Lookup::DidNotHappen);
        }
        Ok(Lookup::Happened(Effect {
            id: Some(there.id.to_string()),
            title: Some(there.title),
            web_url: Some(there.web_url),
            ..found(EffectKind::PullRequest)
        }))
    }

    async fn created_work_item(
        &self,
        project: &str,
        title: &str,
        run_url: Option<&str>,
        since: Timestamp,
        me: &Me,
    ) -> Result<Lookup, Error> {
        let quoted = title.replace('\'', "''");
        let wiql = format!(
            "SELECT [System.Id] FROM workitems WHERE [System.TeamProject] = @project \
             AND [System.Title] = '{quoted}' AND [System.CreatedBy] = @me ORDER BY [System.Id] DESC"
        );
        for summary in self.query_work_items(project, &wiql, SAME_TITLE).await? {
            let item = self.work_item(project, summary.id).await?;
            let ours = item.created_by.as_ref().is_some_and(|person| person.id == me.id);
            let recent = item.created.is_some_and(|at| at >= since);
            let of_run = run_url.is_none_or(|url| {
                item.relations.iter().any(|link| link.kind == LinkKind::Hyperlink && link.url == url)
            });
            if ours && recent && of_run {
                return Ok(Lookup::Happened(self.found_item(&item)));
            }
        }
        Ok(Lookup::DidNotHappen)
    }

    fn found_item(&self, item: &super::WorkItem) -> Effect {
        Effect {
            id: Some(item.id.to_string()),
            title: Some(item.title.clone()),
            web_url: Some(item.web_url.clone()),
            ..found(EffectKind::WorkItem)
        }
    }

    async fn created_branch(
        &self,
        repository: &RepositoryRef,
        branch: &BranchName,
        commit: &CommitId,
        me: &Me,
    ) -> Result<Lookup, Error> {
        let Some(there) = self.branch(repository, branch).await? else { return Ok(Lookup::DidNotHappen) };
        if there.creator.as_ref().is_none_or(|creator| creator.id != me.id) {
            return Ok(Lookup::Unclear(format!("branch {branch} is somebody else's")));
        }
        Ok(Lookup::Happened(Effect {
            id: Some(branch.to_string()),
            title: Some(branch.to_string()),
            commit: Some(commit.to_string()),
            web_url: Some(there.web_url),
            ..found(EffectKind::Branch)
        }))
    }

    /// A push is known by the trailers of its commit, which name the run and the step.
    async fn pushed(
        &self,
        repository: &RepositoryRef,
        branch: &BranchName,
        old_commit: &CommitId,
        message: &str,
    ) -> Result<Lookup, Error> {
        let Some(there) = self.branch(repository, branch).await? else {
            return Ok(Lookup::Unclear(format!("branch {branch} is gone")));
        };
        if there.tip == *old_commit {
            return Ok(Lookup::DidNotHappen);
        }
        let wanted = trailers(message);
        for commit in self.commits(repository, &Version::Branch(branch.clone()), COMMITS).await? {
            if commit.id == *old_commit {
                break;
            }
            let whole = self.commit(repository, &commit.id).await?;
            if !wanted.is_empty() && trailers(&whole.message) == wanted {
                return Ok(Lookup::Happened(Effect {
                    id: Some(whole.id.to_string()),
                    title: whole.message.lines().next().map(str::to_owned),
                    commit: Some(whole.id.to_string()),
                    web_url: Some(whole.web_url),
                    ..found(EffectKind::Commit)
                }));
            }
        }
        // Somebody else moved the branch: pushing now is refused by the service, in words.
        Ok(Lookup::DidNotHappen)
    }

    async fn replied(
        &self,
        repository: &RepositoryRef,
        (pull_request, thread): (u32, u32),
        text: &str,
        since: Timestamp,
        me: &Me,
    ) -> Result<Lookup, Error> {
        let threads = self.threads(repository, pull_request).await?;
        let mut threads = threads.iter().filter(|found| found.id == thread);
        let said = threads.find_map(|thread| thread.comments.iter().rev().find(|c| ours(c, text, since, me)));
        Ok(said.map_or(Lookup::DidNotHappen, |comment| {
            self.found_comment(repository, pull_request, thread, Some(comment.id))
        }))
    }

    async fn opened_thread(
        &self,
        repository: &RepositoryRef,
        pull_request: u32,
        text: &str,
        since: Timestamp,
        me: &Me,
    ) -> Result<Lookup, Error> {
        let threads = self.threads(repository, pull_request).await?;
        let opened = threads.iter().rev().find_map(|thread| {
            let first = thread.comments.first().filter(|c| ours(c, text, since, me))?;
            Some((thread.id, first.id))
        });
        Ok(opened.map_or(Lookup::DidNotHappen, |(thread, comment)| {
            self.found_comment(repository, pull_request, thread, Some(comment))
        }))
    }

    fn found_comment(
        &self,
        repository: &RepositoryRef,
        pull_request: u32,
        thread: u32,
        comment_id: Option<u32>,
    ) -> Lookup {
        let address = &self.transport.address;
        let page = address.pull_request(&repository.project, &repository.repository, pull_request);
        Lookup::Happened(Effect {
            id: Some(thread.to_string()),
            comment_id,
            web_url: Some(format!("{page}?discussionId={thread}")),
            ..found(EffectKind::Thread)
        })
    }
}

fn found(kind: EffectKind) -> Effect {
    Effect { kind, id: None, title: None, commit: None, comment_id: None, web_url: None, activity_id: None }
}

/// The lines of a commit message that say which run and step made it.
fn trailers(message: &str) -> Vec<&str> {
    message.lines().map(str::trim).filter(|line| line.starts_with("Agent-")).collect()
}

/// Whether a comment is our own `text`, written since then.
fn ours(comment: &super::Comment, text: &str, since: Timestamp, me: &Me) -> bool {
    comment.author.id == me.id
        && comment.published.is_some_and(|at| at >= since)
        && same_text(&comment.text, text)
}

/// Whether a work item has this link.
fn is_linked(item: &WorkItem, link: &WorkItemLink) -> bool {
    let kind = match link.relation {
        Relation::Parent => LinkKind::Parent,
        Relation::Child => LinkKind::Child,
        Relation::Related => LinkKind::Related,
    };
    item.relations.iter().any(|known| known.kind == kind && known.target_id == Some(link.target_id))
}

/// Whether a field stands as it was written, at the revision `next`. Long texts and people are kept in the
/// service's own form: they must have changed, and be there or not as they were written.
fn stands(name: &str, wanted: &str, before: &WorkItem, next: &WorkItem) -> bool {
    match name {
        "System.Title" => same_text(wanted, &next.title),
        "System.State" => wanted.trim().eq_ignore_ascii_case(&next.state),
        "System.Tags" => {
            let wanted: BTreeSet<String> = tags(wanted).map(str::to_lowercase).collect();
            wanted == next.tags.iter().map(|tag| tag.to_lowercase()).collect()
        }
        _ => {
            let is = next.fields.get(name);
            let is_empty = is.is_none_or(|is| is == "" || is.is_null());
            wanted.trim().is_empty() == is_empty && is != before.fields.get(name)
        }
    }
}

/// Equal but for line endings and white space at the ends, which the service may change.
fn same_text(a: &str, b: &str) -> bool {
    let plain = |text: &str| text.replace("\r\n", "\n").trim().to_owned();
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_commit_is_known_by_its_trailers_alone() {
        let one = "Fix it\n\nAgent-Run: 01a\nAgent-Step: 4";
        assert_eq!(trailers(one), trailers("Another title\n\nAgent-Run: 01a\r\nAgent-Step: 4\n"));
        assert_ne!(trailers(one), trailers("Fix it\n\nAgent-Run: 01a\nAgent-Step: 5"));
        assert!(trailers("Fix it").is_empty());
    }

    #[test]
    fn a_field_stands_as_it_was_written_or_another_write_made_the_revision() {
        let fields = BTreeMap::from([
            ("System.AssignedTo".to_owned(), serde_json::json!({ "uniqueName": "alice@contoso.example" })),
            ("System.Description".to_owned(), serde_json::json!("<div>In HTML</div>")),
        ]);
        let item = WorkItem {
            id: 1,
            rev: 4,
            work_item_type: "Issue".to_owned(),
            title: "Fix it".to_owned(),
            state: "Doing".to_owned(),
            assigned_to: None,
            created_by: None,
            created: None,
            changed_by: None,
            description: String::new(),
            description_format: crate::azure_devops::TextFormat::Html,
            tags: vec!["A".to_owned(), "b".to_owned()],
            project: "P".to_owned(),
            relations: Vec::new(),
            fields,
            web_url: String::new(),
        };
        let before = WorkItem { fields: BTreeMap::new(), ..item.clone() };
        for (name, wanted, is) in [
            ("System.Title", "Fix it ", true),
            ("System.Title", "Fix that", false),
            ("System.State", "Done", false),
            ("System.State", "doing", true),
            ("System.Tags", "b, a", true),
            ("System.Tags", "b; a", true),
            ("System.Tags", "", false),
            ("System.Description", "In Markdown", true),
            ("System.Description", "", false),
            ("System.AssignedTo", "alice", true),
            ("Microsoft.VSTS.TCM.ReproSteps", "Press it", false),
        ] {
            assert_eq!(stands(name, wanted, &before, &item), is, "{name} {wanted}");
        }
        assert!(!stands("System.Description", "In Markdown", &item, &item), "that revision left it alone");
    }
}
