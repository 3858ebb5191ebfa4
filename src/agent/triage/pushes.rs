//! Commits that arrived.

use super::{Agent, Meaning, TriageError, nothing, prompts};
use crate::action::BranchName;
use crate::event;

/// Branches of the co-worker begin so (CONTRACTS).
const OWN: &str = "agent/";

/// The version of a push.
pub(in crate::agent) fn push_version(push: u32) -> String {
    format!("push:{push}")
}

impl Agent {
    pub(super) async fn pushed(&self, repository_id: &str, push: u32) -> Result<Meaning, TriageError> {
        if !self.serves(repository_id).await? {
            return Ok(nothing("It is in a repository that this co-worker does not serve."));
        }
        let (azure, served) = (self.toolbox.reads(), self.toolbox.served());
        let push = azure.push_by_id(served, push).await?;
        if self.is_me(&push.by.id).await? {
            return Ok(nothing("The co-worker pushed it itself."));
        }
        for moved in push.moved.iter().filter(|moved| moved.branch.starts_with(OWN)) {
            let Ok(branch) = BranchName::new(&moved.branch) else { continue };
            for pull_request in azure.active_pull_requests_from(served, &branch).await? {
                if !self.is_me(&pull_request.created_by.id).await? {
                    continue;
                }
                if let Some(run) = self.active(&event::pull_request(pull_request.id)).await? {
                    let tip = moved.tip.as_ref().map(|tip| tip.as_str().to_owned());
                    let text = prompts::pushed(&push.by.name, &moved.branch, tip.as_deref());
                    return Ok(Meaning::Tell { run, text, version: Some(push_version(push.id)) });
                }
            }
        }
        Ok(nothing("It touches no branch that a run of the co-worker is about."))
    }
}
