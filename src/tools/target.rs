//! The version of what an action changes: read when people are asked, and again before it is done.

use super::{Fault, Toolbox};
use crate::action::{Action, BranchName, CommitId, RepositoryRef};
use crate::policy::approval::Target;

/// Reads what `action` would change, as it is now.
pub(super) async fn read(toolbox: &Toolbox, action: &Action) -> Result<Target, Fault> {
    match action {
        Action::CreateWorkItem { project, .. } => Ok(new(format!("a new work item in {project}"))),
        Action::UpdateWorkItem { project, id, .. } => {
            let item = toolbox.azure.work_item(project, *id).await?;
            let what = format!("{} {id}: {}", item.work_item_type, item.title);
            Ok(Target { what, version: item.rev.to_string(), url: Some(item.web_url) })
        }
        // A comment changes nothing that was there: it has no version to compare.
        Action::CommentOnWorkItem { project, id, .. } => {
            let item = toolbox.azure.work_item(project, *id).await?;
            let what = format!("{} {id}: {}", item.work_item_type, item.title);
            Ok(Target { what, version: String::new(), url: Some(item.web_url) })
        }
        Action::CreateBranch { repository, branch, commit } => tip(toolbox, repository, branch, commit).await,
        Action::Push { repository, branch, old_commit, .. } => {
            tip(toolbox, repository, branch, old_commit).await
        }
        Action::QueueBuild { repository, branch, .. }
        | Action::CreatePullRequest { repository, source: branch, .. } => {
            let found = toolbox.azure.branch(repository, branch).await?;
            let version = found.as_ref().map_or_else(String::new, |found| found.tip.to_string());
            Ok(Target { what: format!("branch {branch}"), version, url: found.map(|found| found.web_url) })
        }
        Action::UpdatePullRequest { repository, pull_request_id, .. }
        | Action::PublishPullRequest { repository, pull_request_id }
        | Action::RedraftPullRequest { repository, pull_request_id }
        | Action::AbandonPullRequest { repository, pull_request_id }
        | Action::CreateThread { repository, pull_request_id, .. }
        | Action::ReplyToThread { repository, pull_request_id, .. }
        | Action::SetThreadStatus { repository, pull_request_id, .. } => {
            let found = toolbox.azure.pull_request(repository, *pull_request_id).await?;
            let version = found.source_commit.map(String::from).unwrap_or_default();
            let what = format!("pull request {pull_request_id}: {}", found.title);
            Ok(Target { what, version, url: Some(found.web_url) })
        }
    }
}

fn new(what: String) -> Target {
    Target { what, ..Target::default() }
}

/// The tip of a branch. One that is not there yet will be made at `from`.
async fn tip(
    toolbox: &Toolbox,
    repository: &RepositoryRef,
    branch: &BranchName,
    from: &CommitId,
) -> Result<Target, Fault> {
    let found = toolbox.azure.branch(repository, branch).await?;
    let what = match found {
        Some(_) => format!("branch {branch}"),
        None => format!("branch {branch}, which is made for it"),
    };
    let version = found.as_ref().map_or(from, |found| &found.tip).to_string();
    Ok(Target { what, version, url: found.map(|found| found.web_url) })
}
