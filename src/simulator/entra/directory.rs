//! What the tenant holds: applications, principals, people, groups, grants, policies.
//!
//! Everything has the instant from which it is seen; until then reads and token requests act as if
//! it were not there, as they do while the real directory replicates.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most objects of one kind.
pub const MAX_OBJECTS: usize = 2_000;
/// Most federated credentials of one application (SETUP.md §3.3).
pub const MAX_FEDERATED: usize = 20;

/// An application.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Application {
    /// Object id.
    pub id: String,
    /// Application (client) id; equal to the object id for blueprints.
    pub app_id: String,
    /// Display name.
    pub name: String,
    /// An agent identity blueprint.
    pub blueprint: bool,
    /// May sign people in without a credential.
    pub public: bool,
    /// An application of Microsoft, whose object is in another tenant.
    pub first_party: bool,
    /// Where codes may be sent. A loopback address without a port stands for any port, one
    /// without a path for any path.
    pub redirect_uris: Vec<String>,
    /// Names of it as a resource.
    pub identifier_uris: Vec<String>,
    /// Delegated permissions: id and value.
    pub scopes: Vec<(String, String)>,
    /// Application permissions: id and value.
    pub roles: Vec<(String, String)>,
    /// Version of access tokens for it, 1 or 2.
    pub token_version: u8,
    /// Client secrets.
    pub secrets: Vec<Secret>,
    /// Federated credentials.
    pub federated: Vec<Federated>,
    /// Object ids of owners and sponsors.
    pub owners: Vec<String>,
    /// Object ids of sponsors.
    pub sponsors: Vec<String>,
    /// Seen from.
    pub since: Timestamp,
}

/// A client secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Secret {
    /// `keyId`.
    pub id: String,
    /// Display name.
    pub name: String,
    /// SHA-256 of the secret in hexadecimal; the secret itself is told once and kept nowhere.
    pub hash: String,
    /// Its first three characters, by which people tell secrets apart.
    pub hint: String,
    /// When it ends.
    pub ends: Timestamp,
    /// Usable from.
    pub since: Timestamp,
}

impl Secret {
    /// The secret `text` under this id and name.
    pub fn new(id: String, name: String, text: &str, ends: Timestamp, since: Timestamp) -> Self {
        Self { id, name, hash: hashed(text), hint: text.chars().take(3).collect(), ends, since }
    }
}

/// SHA-256 of a text in hexadecimal.
pub fn hashed(text: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A federated identity credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Federated {
    /// Object id.
    pub id: String,
    /// Unique name within the application.
    pub name: String,
    /// `iss` of the tokens it trusts.
    pub issuer: String,
    /// `sub` of the tokens it trusts.
    pub subject: String,
    /// `aud` of the tokens it trusts.
    pub audience: String,
    /// Usable from.
    pub since: Timestamp,
}

/// What a service principal stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// An ordinary application or a resource.
    Application,
    /// A blueprint.
    Blueprint,
    /// An agent identity, child of a blueprint's application id.
    AgentIdentity(String),
    /// A managed identity of Azure.
    ManagedIdentity,
}

/// A service principal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Principal {
    /// Object id.
    pub id: String,
    /// Application id; equal to the object id for agent identities.
    pub app_id: String,
    /// Display name.
    pub name: String,
    /// What it stands for.
    pub kind: Kind,
    /// May get tokens.
    pub enabled: bool,
    /// Users need an assignment.
    pub assignment_required: bool,
    /// Object ids of owners.
    pub owners: Vec<String>,
    /// Object ids of sponsors.
    pub sponsors: Vec<String>,
    /// Seen from.
    pub since: Timestamp,
}

/// A person or an agent user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// Object id.
    pub id: String,
    /// User principal name.
    pub upn: String,
    /// Display name.
    pub name: String,
    /// The agent identity whose user it is; none for a person.
    pub parent: Option<String>,
    /// May sign in.
    pub enabled: bool,
    /// Holds a directory role that may administer applications.
    pub administrator: bool,
    /// In more groups than a token can list.
    pub overage: bool,
    /// Manager's object id.
    pub manager: Option<String>,
    /// Refresh tokens from before this instant are revoked.
    pub valid_from: Timestamp,
    /// Seen from.
    pub since: Timestamp,
}

/// A group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Object id.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Object ids of members.
    pub members: Vec<String>,
}

/// A delegated grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Id.
    pub id: String,
    /// Object id of the client's principal.
    pub client: String,
    /// Object id of the resource's principal.
    pub resource: String,
    /// The user it is for; none for all (`AllPrincipals`).
    pub user: Option<String>,
    /// Granted scopes.
    pub scope: String,
    /// Seen from.
    pub since: Timestamp,
}

/// An application permission, or a user's assignment to an application.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Assignment {
    /// Id.
    pub id: String,
    /// Object id of who has it.
    pub principal: String,
    /// Object id of the resource's principal.
    pub resource: String,
    /// Id of the role.
    pub role: String,
    /// Seen from.
    pub since: Timestamp,
}

/// Whom a conditional access policy is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Every agent identity.
    AllAgents,
    /// Every agent user.
    AllAgentUsers,
    /// The agent identities of this blueprint, and their users.
    ChildrenOf(String),
    /// This agent identity or user, by object id.
    One(String),
}

/// A conditional access policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// Id.
    pub id: String,
    /// Whom it is about.
    pub targets: Vec<Target>,
    /// Asks for multifactor sign-in instead of blocking.
    pub multifactor: bool,
    /// In force; a report-only policy is not.
    pub enabled: bool,
    /// As it was sent.
    pub body: Value,
}

/// The tenant's objects.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Directory {
    /// Applications.
    pub applications: Vec<Application>,
    /// Service principals.
    pub principals: Vec<Principal>,
    /// People and agent users.
    pub users: Vec<User>,
    /// Groups.
    pub groups: Vec<Group>,
    /// Delegated grants.
    pub grants: Vec<Grant>,
    /// Application permissions and assignments of users.
    pub assignments: Vec<Assignment>,
    /// Conditional access.
    pub policies: Vec<Policy>,
}

impl Directory {
    /// The application with this application id or object id.
    pub fn application(&self, id: &str, now: Timestamp) -> Option<&Application> {
        let found = self.applications.iter().find(|app| same(&app.app_id, id) || same(&app.id, id));
        found.filter(|app| app.since <= now)
    }

    /// As [`Directory::application`], to change it.
    pub fn application_mut(&mut self, id: &str, now: Timestamp) -> Option<&mut Application> {
        let found = self.applications.iter_mut().find(|app| same(&app.app_id, id) || same(&app.id, id));
        found.filter(|app| app.since <= now)
    }

    /// The service principal of this application.
    pub fn principal_of(&self, app_id: &str, now: Timestamp) -> Option<&Principal> {
        self.principals.iter().find(|found| same(&found.app_id, app_id)).filter(|found| found.since <= now)
    }

    /// The service principal with this object id.
    pub fn principal(&self, id: &str, now: Timestamp) -> Option<&Principal> {
        self.principals.iter().find(|found| same(&found.id, id)).filter(|found| found.since <= now)
    }

    /// The user with this object id or user principal name.
    pub fn user(&self, id_or_name: &str, now: Timestamp) -> Option<&User> {
        let found = self.users.iter().find(|user| same(&user.id, id_or_name) || same(&user.upn, id_or_name));
        found.filter(|user| user.since <= now)
    }

    /// As [`Directory::user`], to change it.
    pub fn user_mut(&mut self, id_or_name: &str, now: Timestamp) -> Option<&mut User> {
        let found =
            self.users.iter_mut().find(|user| same(&user.id, id_or_name) || same(&user.upn, id_or_name));
        found.filter(|user| user.since <= now)
    }

    /// The application that a scope's resource part names.
    pub fn resource(&self, name: &str) -> Option<&Application> {
        let name = name.trim_end_matches('/');
        let bare = name.strip_prefix("api://").unwrap_or(name);
        self.applications.iter().find(|app| {
            same(&app.app_id, bare)
                || app.identifier_uris.iter().any(|uri| same(uri.trim_end_matches('/'), name))
        })
    }

    /// The scopes that `client` has been granted on `resource` for `user`, each once.
    pub fn granted(&self, client: &str, resource: &str, user: &str, now: Timestamp) -> Vec<&str> {
        let fits = |grant: &&Grant| {
            same(&grant.client, client)
                && same(&grant.resource, resource)
                && grant.user.as_deref().is_none_or(|id| same(id, user))
                && grant.since <= now
        };
        let mut scopes: Vec<&str> = Vec::new();
        for scope in self.grants.iter().filter(fits).flat_map(|grant| grant.scope.split_whitespace()) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        scopes
    }

    /// The application permissions of `principal` on the resource application.
    pub fn roles<'a>(&self, principal: &str, resource: &'a Application, now: Timestamp) -> Vec<&'a str> {
        let Some(owner) = self.principal_of(&resource.app_id, now) else { return Vec::new() };
        let of = |has: &&Assignment| {
            same(&has.principal, principal) && same(&has.resource, &owner.id) && has.since <= now
        };
        let value = |has: &Assignment| resource.roles.iter().find(|role| same(&role.0, &has.role));
        self.assignments.iter().filter(of).filter_map(value).map(|role| role.1.as_str()).collect()
    }

    /// The groups of a user.
    pub fn groups_of(&self, user: &str) -> Vec<&Group> {
        self.groups.iter().filter(|group| group.members.iter().any(|member| same(member, user))).collect()
    }
}

/// Ids and user principal names are compared without regard to case.
pub fn same(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
}
