//! What the service says when it does not do what it was asked: status, typeKey, TF code.
//!
//! Texts and keys follow the error table of the fact sheet (section 4); where it marks a value as
//! unverified the choice made here is the most plausible one.

use serde_json::{Map, Value, json};

/// A refused request, rendered as the service's error body.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{status} {type_key}: {message}")]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Short exception name; clients branch on it.
    pub type_key: &'static str,
    /// Namespace before the key in `typeName`.
    pub namespace: &'static str,
    /// Text for people, with the TF or VS code in front.
    pub message: String,
    /// 3000 for most, 3200 for work items.
    pub event_id: u32,
    /// `customProperties`, when the service gives some.
    pub custom: Option<Box<Value>>,
}

const GIT: &str = "Microsoft.TeamFoundation.Git.Server";
const CORE: &str = "Microsoft.TeamFoundation.Core.WebApi";
const WIT: &str = "Microsoft.TeamFoundation.WorkItemTracking.Server";
const VSS: &str = "Microsoft.VisualStudio.Services.WebApi";

impl Refusal {
    /// A refusal of any kind.
    pub fn new(status: u16, type_key: &'static str, message: impl Into<String>) -> Self {
        Self { status, type_key, namespace: VSS, message: message.into(), event_id: 3000, custom: None }
    }

    fn of(namespace: &'static str, status: u16, type_key: &'static str, message: String) -> Self {
        let event_id = if namespace == WIT { 3200 } else { 3000 };
        Self { status, type_key, namespace, message, event_id, custom: None }
    }

    /// The JSON error body.
    pub fn body(&self) -> Value {
        let mut body = Map::new();
        body.insert("$id".into(), json!("1"));
        if let Some(custom) = &self.custom {
            body.insert("customProperties".into(), (**custom).clone());
        }
        body.insert("innerException".into(), Value::Null);
        body.insert("message".into(), json!(self.message));
        let name = format!("{}.{}, {}", self.namespace, self.type_key, self.namespace);
        body.insert("typeName".into(), json!(name));
        body.insert("typeKey".into(), json!(self.type_key));
        body.insert("errorCode".into(), json!(0));
        body.insert("eventId".into(), json!(self.event_id));
        Value::Object(body)
    }

    /// An argument that cannot be used.
    pub fn invalid(message: impl Into<String>) -> Self {
        let message = format!("Invalid argument value.\r\nParameter name: {}", message.into());
        let mut refusal = Self::of(
            "Microsoft.TeamFoundation.SourceControl.WebServer",
            400,
            "InvalidArgumentValueException",
            message,
        );
        refusal.event_id = 0;
        refusal
    }

    /// A body that is missing or cannot be read.
    pub fn body_unreadable(why: impl std::fmt::Display) -> Self {
        Self::new(
            400,
            "VssPropertyValidationException",
            format!("Value cannot be null.\r\nParameter name: body ({why})"),
        )
    }

    /// A project name that nobody may see or that does not exist.
    pub fn project_name(name: &str) -> Self {
        Self::of(
            CORE,
            404,
            "ProjectDoesNotExistWithNameException",
            format!(
                "TF200016: The following project does not exist: {name}. Verify that the name of the project is \
                 correct and that the project exists on the specified Azure DevOps Server."
            ),
        )
    }

    /// A project GUID that nobody may see or that does not exist.
    pub fn project_id(id: &str) -> Self {
        Self::of(
            CORE,
            404,
            "ProjectDoesNotExistException",
            format!(
                "VS800075: The project with id 'vstfs:///Classification/TeamProject/{id}' does not exist, or you do \
                 not have permission to access it."
            ),
        )
    }

    /// A repository that is absent or hidden.
    pub fn repository(name: &str) -> Self {
        Self::of(
            GIT,
            404,
            "GitRepositoryNotFoundException",
            format!(
                "TF401019: The Git repository with name or identifier {name} does not exist or you do not have \
                 permissions for the operation you are attempting."
            ),
        )
    }

    /// An item path that is not in the tree.
    pub fn item(path: &str, repository: &str, version: &str, commit: &str) -> Self {
        Self::of(
            GIT,
            404,
            "GitItemNotFoundException",
            format!(
                "TF401174: The item '{path}' could not be found in the repository '{repository}' at the version \
                 specified by '<{version} >' (resolved to commit '{commit}')"
            ),
        )
    }

    /// A branch, tag or commit that cannot be resolved.
    pub fn version(version: &str, repository: &str) -> Self {
        Self::of(
            GIT,
            404,
            "GitUnresolvableToCommitException",
            format!(
                "TF401175:The version descriptor <{version} > could not be resolved to a version in the repository \
                 {repository}"
            ),
        )
    }

    /// An object id that is not in the repository.
    pub fn object(id: &str, repository: &str) -> Self {
        Self::of(
            GIT,
            404,
            "GitObjectDoesNotExistException",
            format!("TF401035: The object '{id}' does not exist in the repository {repository}."),
        )
    }

    /// The branch moved since the caller looked.
    pub fn stale_reference(name: &str) -> Self {
        Self::of(
            GIT,
            409,
            "GitReferenceStaleException",
            format!(
                "TF401028: The reference '{name}' has already been updated by another client, so you cannot update \
                 it. Please try again."
            ),
        )
    }

    /// A malformed or reserved reference name.
    pub fn reference_name(name: &str) -> Self {
        Self::of(
            GIT,
            400,
            "InvalidGitRefNameException",
            format!("TF401025: '{name}' is not a valid Git ref name."),
        )
    }

    /// The branch takes changes only through pull requests.
    pub fn reference_policy() -> Self {
        Self::of(
            GIT,
            403,
            "GitRefUpdateRejectedByPolicyException",
            "TF402455: Pushes to this branch are not permitted; you must use a pull request to update this branch."
                .into(),
        )
    }

    /// A missing Git permission.
    pub fn git_permission(permission: &str, identity: &str, scope: &str) -> Self {
        Self::of(
            GIT,
            403,
            "GitNeedsPermissionException",
            format!(
                "TF401027: You need the Git '{permission}' permission to perform this action. Details: identity \
                 '{identity}', scope '{scope}'."
            ),
        )
    }

    /// An unknown pull request.
    pub fn pull_request() -> Self {
        Self::of(
            GIT,
            404,
            "GitPullRequestNotFoundException",
            "TF401180: The requested pull request was not found.".into(),
        )
    }

    /// A second active pull request for the same branches.
    pub fn pull_request_exists() -> Self {
        Self::of(
            GIT,
            409,
            "GitPullRequestExistsException",
            "TF401179: An active pull request for the source and target branch already exists.".into(),
        )
    }

    /// A pull request whose branches are gone.
    pub fn pull_request_branches() -> Self {
        Self::of(
            GIT,
            400,
            "GitPullRequestCannotBeActivated",
            "TF401398: The pull request cannot be activated because the source and/or the target branch no longer \
             exists, or the requested refs are not branches"
                .into(),
        )
    }

    /// A change to a completed or abandoned pull request.
    pub fn pull_request_closed() -> Self {
        Self::of(
            GIT,
            400,
            "GitPullRequestNotEditableException",
            "TF401181: The pull request cannot be edited due to its state.".into(),
        )
    }

    /// Completion of a pull request whose source has moved.
    pub fn pull_request_stale() -> Self {
        Self::of(
            GIT,
            409,
            "GitPullRequestStaleException",
            "TF401192: The pull request has changed since you last read it; read it again and retry.".into(),
        )
    }

    /// A thread or comment that is not there.
    pub fn thread(id: u32) -> Self {
        Self::new(
            404,
            "DiscussionThreadNotFoundException",
            format!("TF401237: The thread {id} was not found."),
        )
    }

    /// A work item that is absent or hidden.
    pub fn work_item(id: u32) -> Self {
        Self::of(
            WIT,
            404,
            "WorkItemUnauthorizedAccessException",
            format!("TF401232: Work item {id} does not exist, or you do not have permissions to read it."),
        )
    }

    /// A rule of the process that a field breaks.
    pub fn rule(field: &str, name: &str, code: &'static str, flags: &str) -> Self {
        let message = format!("TF401320: Rule Error for field {name}. Error code: {flags}.");
        let mut refusal = Self::of(WIT, 400, "RuleValidationException", message.clone());
        refusal.custom = Some(Box::new(json!({"RuleValidationErrors": [{
            "fieldReferenceName": field, "fieldStatusFlags": flags, "errorMessage": message,
            "fieldStatusCode": code, "ruleValidationErrors": null,
        }]})));
        refusal
    }

    /// `test` on `/rev` met another revision.
    pub fn patch_test(path: &str, actual: &Value, given: &Value) -> Self {
        Self::new(
            412,
            "TestPatchOperationFailedException",
            format!(
                "VS403351: Test Operation for path {path} failed, value {actual} was not equal to test value {given}."
            ),
        )
    }

    /// A field that no type has.
    pub fn field(name: &str) -> Self {
        Self::of(
            WIT,
            400,
            "WorkItemTrackingFieldDefinitionNotFoundException",
            format!("TF51535: Cannot find field {name}."),
        )
    }

    /// A work item type that the project does not have.
    pub fn work_item_type(name: &str, project: &str) -> Self {
        Self::of(
            WIT,
            404,
            "WorkItemTypeNotFoundException",
            format!(
                "VS402323: Work item type {name} does not exist in project {project} or you do not have permission to access it."
            ),
        )
    }

    /// An assignee nobody knows.
    pub fn unknown_identity(value: &str, field: &str, name: &str) -> Self {
        let mut refusal = Self::of(
            WIT,
            400,
            "WorkItemFieldInvalidException",
            format!("The identity value '{value}' for field '{name}' is an unknown identity."),
        );
        refusal.custom = Some(Box::new(json!({"ReferenceName": field})));
        refusal
    }

    /// An area or iteration path that is not in the tree.
    pub fn tree_path(id: i64, field: &str) -> Self {
        Self::of(
            WIT,
            400,
            "WorkItemFieldInvalidTreeNameException",
            format!("TF401347: Invalid tree name given for work item {id}, field '{field}'."),
        )
    }

    /// A link that cannot be made.
    pub fn link(message: impl Into<String>) -> Self {
        Self::of(WIT, 400, "WorkItemLinkInvalidException", message.into())
    }

    /// A query the service cannot run.
    pub fn query(message: impl std::fmt::Display) -> Self {
        Self::of(
            WIT,
            400,
            "WorkItemTrackingQueryException",
            format!("TF51006: The query statement is not valid. {message}"),
        )
    }

    /// Access that the caller's permissions or licence do not give.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(403, "AccessCheckException", message)
    }
}

impl From<git2::Error> for Refusal {
    /// A repository on disk that could not be read or written: the simulator's own trouble.
    fn from(error: git2::Error) -> Self {
        Self::new(500, "GitServerException", format!("The repository could not be used: {}", error.message()))
    }
}
