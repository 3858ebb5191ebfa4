//! What to do about each error: by typeKey or code where one is known, else by kind.

use super::Error;

/// typeKeys and codes, and what heals them.
const BY_CODE: &[(&[&str], &str)] = &[
    (
        &["ProjectDoesNotExistWithNameException", "ProjectDoesNotExistException", "TF200016", "VS800075"],
        "Check the project's name, and that the agent user is a member of that project.",
    ),
    (
        &["GitRepositoryNotFoundException", "TF401019"],
        "Check the repository's name, that the agent user may read it, and that its access level is Basic: with \
         Stakeholder access repositories look absent.",
    ),
    (
        &["GitItemNotFoundException", "TF401174"],
        "Check the path and the branch; list the folder to see what is there.",
    ),
    (
        &["GitUnresolvableToCommitException", "TF401175"],
        "Check the branch or commit; it may have been deleted.",
    ),
    (
        &["GitReferenceStaleException", "TF401028"],
        "Somebody else pushed to the branch. Read its new tip, apply the change to it, and push again.",
    ),
    (
        &["TF402455", "GitRefUpdateRejectedByPolicyException"],
        "The branch takes changes by pull request only. Push to another branch and open a pull request.",
    ),
    (
        &["TF401027", "GitNeedsPermissionException"],
        "Give the agent user the named Git permission on this repository or branch, or leave it to a person.",
    ),
    (&["GitPullRequestNotFoundException", "TF401180"], "Check the pull request's number and repository."),
    (
        &["GitPullRequestExistsException", "TF401179"],
        "There is an active pull request for these branches already: use it.",
    ),
    (
        &["GitPullRequestCannotBeActivated", "TF401398"],
        "Both branches must exist and differ. Push the source branch first.",
    ),
    (
        &["GitPullRequestNotEditableException", "TF401181"],
        "The pull request is completed or abandoned. Open a new one.",
    ),
    (
        &["WorkItemUnauthorizedAccessException", "TF401232"],
        "Check the work item's number, and that the agent user may read its area.",
    ),
    (
        &["RuleValidationException", "TF401320"],
        "A field breaks a rule of the work item type. Read the type's states and required fields, then correct it.",
    ),
    (
        &["TestPatchOperationFailedException", "VS403351", "WorkItemRevisionMismatchException", "TF26071"],
        "Somebody else changed the work item. Read it again and repeat the change on what it says now.",
    ),
    (&["TF401347", "WorkItemFieldInvalidTreeNameException"], "Check the area or iteration path."),
    (&["TF51535", "WorkItemTrackingFieldDefinitionNotFoundException"], "Check the field's reference name."),
    (&["VS402337"], "The query finds too much. Narrow it down."),
    (&["TF400813"], "Add the agent user to the organisation with Basic access, and to the project."),
    (&["TF24668"], "The organisation is stopped. Ask its administrator."),
    (
        &[
            "VssInvalidPreviewVersionException",
            "VssVersionOutOfRangeException",
            "VssVersionNotSupportedException",
        ],
        "This server does not serve REST version 7.1. Use Azure DevOps Services or Server 2022.1 or later.",
    ),
];

/// What to do about `error`.
pub(super) fn remedy(error: &Error) -> &'static str {
    let coded = error.failure().and_then(|failure| {
        BY_CODE.iter().find(|(codes, _)| failure.is_any(codes)).map(|(_, remedy)| *remedy)
    });
    coded.unwrap_or(match error {
        Error::NotFound(_) => {
            "Check the name or number, and that the agent user may see it. If everything is absent, check \
             AZURE_DEVOPS_ORGANIZATION_URL."
        }
        Error::Forbidden(_) => "Give the agent user this permission in Azure DevOps, or leave it to a person.",
        Error::SignInRequired(_) => {
            "Add the agent user to the organisation with Basic access; check that the organisation belongs to the \
             agent's tenant and that the sidecar's profile 'ado' asks for Azure DevOps."
        }
        Error::Throttled { .. } => "Wait for the time named; the agent user's usage is over the organisation's limit.",
        Error::Conflict(_) => "Read it again and repeat the change on what it says now.",
        Error::PolicyRefused(_) => "Fulfil the branch's policy, or work on another branch.",
        Error::Invalid(_) => "Correct the request as the message says.",
        Error::Unavailable { .. } => "Try again later; see status.dev.azure.com.",
        Error::Transport { .. } => "Check the network and AZURE_DEVOPS_ORGANIZATION_URL, then try again.",
        Error::TooLarge(_) => "Ask for less: a smaller file, a folder instead of the whole tree, fewer items.",
        Error::Identity(_) => "See the identity's own remedy.",
    })
}
