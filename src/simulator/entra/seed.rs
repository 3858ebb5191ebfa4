//! The tenant as it starts: people, groups, resources, sign-in clients, and the co-worker.

use jiff::{SignedDuration, Timestamp};

use super::directory::{Application, Assignment, Directory, Grant, Group, Kind, Principal, Secret, User};
use crate::simulator::tokens::{
    AGENT_IDENTITY_ID, AGENT_USER_ID, AGENT_USER_UPN, AUDIENCE_AZURE_DEVOPS, AUDIENCE_COGNITIVE_SERVICES,
    AUDIENCE_GRAPH, BLUEPRINT_ID,
};

/// The resource of exchange tokens.
pub const EXCHANGE_ID: &str = "fb60f99c-7a34-4190-8149-302f77469936";
/// Microsoft Graph.
pub const GRAPH_ID: &str = "00000003-0000-0000-c000-000000000000";
/// Azure OpenAI.
const COGNITIVE_SERVICES_ID: &str = "7d312290-28c8-473c-a0ed-8e53749b6d6d";
/// Permission `user_impersonation` of Azure DevOps.
const AZURE_DEVOPS_PERMISSION_ID: &str = "ee69721e-6c3a-468f-a9ec-302d16a4c599";
/// Object id of the blueprint's principal.
pub const BLUEPRINT_PRINCIPAL_ID: &str = "33333333-cccc-4ccc-8ccc-333333333333";
/// Public client with which people sign in to the co-worker's page and command line.
pub const SIGN_IN_CLIENT_ID: &str = "77777777-ffff-4fff-8fff-777777777777";
/// Public client with which an administrator runs `setup`.
pub const SETUP_CLIENT_ID: &str = "88888888-ffff-4fff-8fff-888888888888";
/// A managed identity of Azure; it is registered nowhere until somebody does it.
pub const MANAGED_IDENTITY_ID: &str = "99999999-eeee-4eee-8eee-999999999999";
/// The domain of user principal names.
pub const DOMAIN: &str = "contoso.example";
/// Group of those who may instruct the co-worker: everybody.
pub const GROUP_INSTRUCTORS: &str = "60000000-0000-4000-8000-000000000001";
/// Group of those who may approve: alice and carol.
pub const GROUP_APPROVERS: &str = "60000000-0000-4000-8000-000000000002";
/// Group of those who may read the record: carol.
pub const GROUP_AUDITORS: &str = "60000000-0000-4000-8000-000000000003";
/// Group of those who may administer the co-worker: alice.
pub const GROUP_ADMINS: &str = "60000000-0000-4000-8000-000000000004";

/// Object ids of the people; the simulated organisation knows them by these.
const ALICE: &str = "a1e3e000-0000-4000-8000-000000000001";
const BOB: &str = "b04f0000-0000-4000-8000-000000000002";
const CAROL: &str = "cabf1000-0000-4000-8000-000000000003";

/// Delegated permissions of Graph.
const GRAPH_SCOPES: &[&str] = &[
    "openid",
    "profile",
    "email",
    "offline_access",
    "User.Read",
    "User.Read.All",
    "GroupMember.Read.All",
    "Application.Read.All",
    "Directory.Read.All",
    "AgentIdentityBlueprint.Create",
    "AgentIdentityBlueprint.AddRemoveCreds.All",
    "AgentIdentityBlueprint.UpdateAuthProperties.All",
    "AgentIdentityBlueprint.ReadWrite.All",
    "AgentIdentityBlueprint.DeleteRestore.All",
    "AgentIdentityBlueprintPrincipal.Create",
    "AgentIdentity.Create.All",
    "AgentIdentity.EnableDisable.All",
    "AgentIdentity.DeleteRestore.All",
    "AgentIdUser.ReadWrite.All",
    "AppRoleAssignment.ReadWrite.All",
    "DelegatedPermissionGrant.ReadWrite.All",
    "Policy.Read.All",
    "Policy.ReadWrite.ConditionalAccess",
];
/// What every signed-in application may ask of Graph here.
const SIGN_IN_SCOPES: &str = "openid profile email offline_access User.Read";
/// Application permissions of Graph.
const GRAPH_ROLES: &[&str] =
    &["AgentIdentity.CreateAsManager", "AgentIdUser.ReadWrite.IdentityParentedBy", "User.Read.All"];
/// The role that a blueprint has without anybody granting it (SETUP.md §1).
pub const ROLE_CREATE_AS_MANAGER: &str = "AgentIdentity.CreateAsManager";

/// The tenant at `now`; with the co-worker when its blueprint's secret is given.
pub fn directory(now: Timestamp, blueprint_secret: Option<&str>) -> Directory {
    let mut directory = Directory::default();
    add_people(&mut directory, now);
    add_resources(&mut directory, now);
    add_clients(&mut directory, now);
    if let Some(secret) = blueprint_secret {
        add_coworker(&mut directory, now, secret);
    }
    directory
}

/// The id of a permission of Graph: the same for its name in every tenant.
fn permission_id(name: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    uuid::Uuid::from_bytes(bytes).to_string()
}

fn person(id: &str, name: &str, display: &str, now: Timestamp) -> User {
    User {
        id: id.into(),
        upn: format!("{name}@{DOMAIN}"),
        name: display.into(),
        parent: None,
        enabled: true,
        administrator: id == ALICE,
        overage: false,
        manager: None,
        valid_from: now,
        since: now,
    }
}

fn add_people(directory: &mut Directory, now: Timestamp) {
    directory.users = vec![
        person(ALICE, "alice", "Alice Martin", now),
        person(BOB, "bob", "Bob Keller", now),
        person(CAROL, "carol", "Carol Nguyen", now),
    ];
    let group = |id: &str, name: &str, members: &[&str]| Group {
        id: id.into(),
        name: format!("ado-coworker {name}"),
        members: members.iter().map(|member| (*member).to_owned()).collect(),
    };
    directory.groups = vec![
        group(GROUP_INSTRUCTORS, "instructors", &[ALICE, BOB, CAROL]),
        group(GROUP_APPROVERS, "approvers", &[ALICE, CAROL]),
        group(GROUP_AUDITORS, "auditors", &[CAROL]),
        group(GROUP_ADMINS, "admins", &[ALICE]),
    ];
}

fn pairs(names: &[&str]) -> Vec<(String, String)> {
    names.iter().map(|name| (permission_id(name), (*name).to_owned())).collect()
}

fn add_resources(directory: &mut Directory, now: Timestamp) {
    let impersonation = |id: &str| vec![(id.to_owned(), "user_impersonation".to_owned())];
    let resource = |app_id: &str, name: &str, uri: &str, scopes, roles| Application {
        id: app_id.into(),
        app_id: app_id.into(),
        name: name.into(),
        first_party: true,
        identifier_uris: vec![uri.into()],
        scopes,
        roles,
        token_version: 1,
        since: now,
        ..Application::default()
    };
    let azure_devops = impersonation(AZURE_DEVOPS_PERMISSION_ID);
    let model = impersonation(&permission_id("cognitive user_impersonation"));
    let resources = [
        resource(GRAPH_ID, "Microsoft Graph", AUDIENCE_GRAPH, pairs(GRAPH_SCOPES), pairs(GRAPH_ROLES)),
        resource(
            AUDIENCE_AZURE_DEVOPS,
            "Azure DevOps",
            "https://app.vssps.visualstudio.com",
            azure_devops,
            vec![],
        ),
        resource(
            COGNITIVE_SERVICES_ID,
            "Microsoft Cognitive Services",
            AUDIENCE_COGNITIVE_SERVICES,
            model,
            vec![],
        ),
        resource(EXCHANGE_ID, "Azure AD Token Exchange", "api://AzureADTokenExchange", vec![], vec![]),
    ];
    for application in resources {
        // Its principal's object id differs from tenant to tenant; here it is made of the name.
        let id = permission_id(&format!("principal of {}", application.app_id));
        directory.principals.push(principal(
            &id,
            &application.app_id,
            &application.name,
            Kind::Application,
            now,
        ));
        directory.applications.push(application);
    }
}

/// A service principal that may get tokens.
pub fn principal(id: &str, app_id: &str, name: &str, kind: Kind, now: Timestamp) -> Principal {
    Principal {
        id: id.into(),
        app_id: app_id.into(),
        name: name.into(),
        kind,
        enabled: true,
        assignment_required: false,
        owners: Vec::new(),
        sponsors: Vec::new(),
        since: now,
    }
}

fn add_clients(directory: &mut Directory, now: Timestamp) {
    for (app_id, name) in
        [(SIGN_IN_CLIENT_ID, "ado-coworker sign-in"), (SETUP_CLIENT_ID, "ado-coworker set-up")]
    {
        let id = permission_id(&format!("principal of {app_id}"));
        directory.applications.push(Application {
            id: permission_id(app_id),
            app_id: app_id.into(),
            name: name.into(),
            public: true,
            redirect_uris: vec!["http://127.0.0.1".into(), "http://localhost".into(), "http://[::1]".into()],
            token_version: 2,
            since: now,
            ..Application::default()
        });
        directory.principals.push(principal(&id, app_id, name, Kind::Application, now));
        let scopes = if app_id == SETUP_CLIENT_ID { GRAPH_SCOPES.join(" ") } else { SIGN_IN_SCOPES.into() };
        grant(directory, &id, GRAPH_ID, None, &scopes, now);
        grant(directory, &id, AUDIENCE_AZURE_DEVOPS, None, "user_impersonation", now);
    }
    let managed = principal(
        MANAGED_IDENTITY_ID,
        &permission_id(MANAGED_IDENTITY_ID),
        "ado-coworker-host",
        Kind::ManagedIdentity,
        now,
    );
    directory.principals.push(managed);
}

fn grant(
    directory: &mut Directory,
    client: &str,
    resource: &str,
    user: Option<&str>,
    scope: &str,
    since: Timestamp,
) {
    let Some(resource) = directory.principal_of(resource, since).map(|found| found.id.clone()) else {
        return;
    };
    directory.grants.push(Grant {
        id: permission_id(&format!("grant {client} {resource} {user:?}")),
        client: client.into(),
        resource,
        user: user.map(str::to_owned),
        scope: scope.into(),
        since,
    });
}

/// The seeded blueprint's secret, made anew at each start.
pub fn blueprint_secret(now: Timestamp, text: &str) -> Secret {
    let ends = now.checked_add(SignedDuration::from_hours(24 * 180)).unwrap_or(Timestamp::MAX);
    Secret::new(permission_id("the blueprint's secret"), "development".into(), text, ends, now)
}

fn add_coworker(directory: &mut Directory, now: Timestamp, secret: &str) {
    directory.applications.push(Application {
        id: BLUEPRINT_ID.into(),
        app_id: BLUEPRINT_ID.into(),
        name: "ado-coworker blueprint".into(),
        blueprint: true,
        identifier_uris: vec![format!("api://{BLUEPRINT_ID}")],
        scopes: vec![(permission_id("access_as_user"), "access_as_user".into())],
        token_version: 2,
        secrets: vec![blueprint_secret(now, secret)],
        owners: vec![ALICE.into()],
        sponsors: vec![ALICE.into()],
        since: now,
        ..Application::default()
    });
    let sponsored = |mut principal: Principal| {
        principal.owners = vec![ALICE.into()];
        principal.sponsors = vec![ALICE.into()];
        principal
    };
    let agent = Kind::AgentIdentity(BLUEPRINT_ID.into());
    let blueprint = "ado-coworker blueprint";
    directory.principals.extend([
        sponsored(principal(BLUEPRINT_PRINCIPAL_ID, BLUEPRINT_ID, blueprint, Kind::Blueprint, now)),
        sponsored(principal(AGENT_IDENTITY_ID, AGENT_IDENTITY_ID, "ado-coworker", agent, now)),
    ]);
    directory.users.push(User {
        parent: Some(AGENT_IDENTITY_ID.into()),
        upn: AGENT_USER_UPN.into(),
        ..person(AGENT_USER_ID, "ado-coworker", "ado-coworker", now)
    });
    let user = Some(AGENT_USER_ID);
    grant(directory, AGENT_IDENTITY_ID, AUDIENCE_AZURE_DEVOPS, user, "user_impersonation", now);
    grant(directory, AGENT_IDENTITY_ID, GRAPH_ID, user, SIGN_IN_SCOPES, now);
    grant(directory, AGENT_IDENTITY_ID, COGNITIVE_SERVICES_ID, user, "user_impersonation", now);
    // For the people on whose behalf it may act; one grant for all would cover the agent user too.
    for person in [ALICE, BOB, CAROL] {
        grant(directory, AGENT_IDENTITY_ID, AUDIENCE_AZURE_DEVOPS, Some(person), "user_impersonation", now);
    }
    let sign_in = directory.principal_of(SIGN_IN_CLIENT_ID, now).map(|found| found.id.clone());
    grant(directory, &sign_in.unwrap_or_default(), BLUEPRINT_ID, None, "access_as_user", now);
    let graph = directory.principal_of(GRAPH_ID, now).map(|found| found.id.clone()).unwrap_or_default();
    directory.assignments.push(Assignment {
        id: permission_id("the blueprint's role"),
        principal: BLUEPRINT_PRINCIPAL_ID.into(),
        resource: graph,
        role: permission_id("AgentIdUser.ReadWrite.IdentityParentedBy"),
        since: now,
    });
}
