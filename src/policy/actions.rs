//! The names of actions that rules can speak of.

/// Every name. The last ones are no actions of this program: a rule may forbid them all the same,
/// and none will ever match.
pub const KNOWN: &[&str] = &[
    "work_item.read",
    "git.read",
    "pull_request.read",
    "build.read",
    "identity.read",
    "work_item.create",
    "work_item.update",
    "work_item.comment",
    "git.create_branch",
    "git.push",
    "pull_request.create",
    "pull_request.update",
    "pull_request.publish",
    "pull_request.redraft",
    "pull_request.abandon",
    "thread.create",
    "thread.reply",
    "thread.set_status",
    "build.queue",
    "git.force_push",
    "git.delete_branch",
    "git.push_tag",
    "pull_request.complete",
    "pull_request.auto_complete",
    "pull_request.vote",
    "pull_request.approve",
    "pull_request.add_reviewer",
    "work_item.delete",
    "build.cancel",
    "build_definition.change",
    "repository.create",
    "repository.delete",
    "repository.change",
    "permission.change",
    "branch_policy.change",
    "service_connection.read",
    "service_connection.change",
    "variable_group.read",
    "variable_group.change",
    "secure_file.read",
    "service_hook.change",
    "agent_pool.change",
    "extension.install",
    "environment.change",
    "wiki.read",
    "wiki.update",
    "mcp.call",
];

/// Whether an action only reads.
pub fn is_read(action: &str) -> bool {
    action.ends_with(".read")
}

/// Whether facts about this action can have a branch.
pub(super) fn has_branch(action: &str) -> bool {
    action.starts_with("git.")
        || matches!(action, "build.queue" | "pull_request.create" | "pull_request.publish")
}

/// Whether facts about this action can have paths.
pub(super) fn has_paths(action: &str) -> bool {
    matches!(action, "git.push" | "git.force_push" | "wiki.update")
}
