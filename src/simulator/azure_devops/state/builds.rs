//! Builds.

use super::policies::Policy;
use super::{Actor, Outcome, PullRequest, World};

impl World {
    pub(super) fn advance_build(&mut self, _build: u32) -> Outcome<()> {
        Ok(())
    }

    /// Queues the validation builds of a pull request again.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn requeue_validation(&mut self, actor: Actor, id: u32) -> Outcome<()> {
        self.queue_validation(actor, id)
    }

    pub(super) fn queue_validation(&mut self, _actor: Actor, id: u32) -> Outcome<()> {
        let Some(found) = self.pull_requests.get(&id) else { return Ok(()) };
        let _ = self.validations(found);
        Ok(())
    }

    pub(super) fn evaluate_build(
        &self,
        _policy: &Policy,
        _found: &PullRequest,
    ) -> (&'static str, Option<u32>) {
        ("queued", None)
    }
}
