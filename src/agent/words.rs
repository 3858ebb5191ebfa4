//! What the repository says about the work, for the prompt.

use super::Agent;
use super::state::Order;
use crate::journal::RunId;
use crate::tools::RepositoryWords;

impl Agent {
    /// What the repository says about the work of a run; nothing where it cannot be read now: the
    /// model can read the same files with its tools.
    pub(super) async fn repository_words(&self, run: &RunId, order: Option<&Order>) -> RepositoryWords {
        let subject = order.and_then(|order| order.trigger.as_ref()).map(|trigger| trigger.subject.as_str());
        let pull_request = subject.and_then(|subject| subject.strip_prefix("pull_request:")?.parse().ok());
        match self.toolbox.repository_words(run, pull_request).await {
            Ok(words) => words,
            Err(error) => {
                tracing::warn!(%run, %error, "the repository's own instructions cannot be read");
                RepositoryWords::default()
            }
        }
    }
}
