//! State as the JSON of the service.
//!
//! Purpose: one place for field names, order and addresses, used by REST answers and by service
//! hooks. Invariant: addresses carry GUIDs and start with the base that the caller used. It must
//! never change anything, and never know who is asking.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::state::people::SERVICE;
use super::state::{Person, World};

mod build;
mod git;
mod policy;
mod pull_request;
mod work_item;

pub use work_item::Expand;

pub use git::{content_metadata, is_binary, item_path};

/// The state seen through one base address.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The state.
    pub world: &'a World,
    /// Address of the organisation without a slash at the end.
    pub base: &'a str,
}

impl<'a> View<'a> {
    /// The view with the organisation's own address.
    pub fn of(world: &'a World) -> Self {
        Self { world, base: world.base() }
    }

    /// The organisation's own address with `user@` in front of the host, as clone addresses have it.
    pub(super) fn with_user(&self, path: &str) -> String {
        let (scheme, rest) = self.base.split_once("://").unwrap_or(("http", self.base));
        format!("{scheme}://{}@{rest}{path}", self.world.organization)
    }

    /// IdentityRef of an id; unknown ids give a nameless one.
    pub fn identity(&self, id: Uuid) -> Value {
        let Some(person) = self.world.person(id) else { return json!({"id": id}) };
        let descriptor = descriptor_of(person);
        json!({
            "displayName": person.display_name,
            "url": self.identity_url(id),
            "_links": {"avatar": {"href": format!("{}/_apis/GraphProfile/MemberAvatars/{descriptor}", self.base)}},
            "id": id,
            "uniqueName": person.account,
            "imageUrl": format!("{}/_api/_common/identityImage?id={id}", self.base),
            "descriptor": descriptor,
        })
    }

    /// Address of an identity.
    pub fn identity_url(&self, id: Uuid) -> String {
        format!("{}/_apis/Identities/{id}", self.base)
    }

    /// Identity of connectionData.
    pub fn connection_identity(&self, person: &Person) -> Value {
        json!({
            "id": person.id,
            "descriptor": claims_descriptor(person),
            "subjectDescriptor": descriptor_of(person),
            "providerDisplayName": person.display_name,
            "customDisplayName": person.display_name,
            "isActive": true,
            "properties": {"Account": {"$type": "System.String", "$value": person.account}},
            "resourceVersion": 2,
            "metaTypeId": 0,
        })
    }

    /// Identity of the identities API.
    pub fn full_identity(&self, person: &Person) -> Value {
        let text = |value: &str| json!({"$type": "System.String", "$value": value});
        let alias = person.account.split('@').next().unwrap_or_default();
        json!({
            "id": person.id,
            "descriptor": claims_descriptor(person),
            "subjectDescriptor": descriptor_of(person),
            "providerDisplayName": person.display_name,
            "isActive": true,
            "members": [],
            "memberOf": [],
            "memberIds": [],
            "properties": {
                "SchemaClassName": text("User"),
                "Description": text(""),
                "Domain": text(crate::simulator::tokens::TENANT_ID),
                "Account": text(&person.account),
                "DN": text(""),
                "Mail": text(&person.account),
                "SpecialType": text("Generic"),
                "PUID": text("aad:"),
                "ComplianceValidated": {"$type": "System.DateTime", "$value": "2026-04-01T00:00:00Z"},
                "http://schemas.microsoft.com/identity/claims/objectidentifier": text(&person.object_id.to_string()),
                "DirectoryAlias": text(alias),
            },
            "resourceVersion": 2,
            "metaTypeId": 255,
        })
    }

    /// GraphUser.
    pub fn graph_user(&self, person: &Person) -> Value {
        let descriptor = descriptor_of(person);
        let graph = |kind: &str| json!({"href": format!("{}/_apis/Graph/{kind}/{descriptor}", self.base)});
        json!({
            "subjectKind": "user",
            "metaType": "member",
            "directoryAlias": person.account.split('@').next().unwrap_or_default(),
            "domain": crate::simulator::tokens::TENANT_ID,
            "principalName": person.account,
            "mailAddress": person.account,
            "origin": "aad",
            "originId": person.object_id,
            "displayName": person.display_name,
            "_links": {
                "self": graph("Users"),
                "memberships": graph("Memberships"),
                "membershipState": graph("MembershipStates"),
                "storageKey": graph("StorageKeys"),
                "avatar": {"href": format!("{}/_apis/GraphProfile/MemberAvatars/{descriptor}", self.base)},
            },
            "url": format!("{}/_apis/Graph/Users/{descriptor}", self.base),
            "descriptor": descriptor,
        })
    }
}

/// Subject descriptor of an identity.
pub fn descriptor(id: Uuid) -> String {
    format!("aad.{}", URL_SAFE_NO_PAD.encode(id.to_string()))
}

/// Subject descriptor of somebody: accounts of services have one of their own kind.
pub fn descriptor_of(person: &Person) -> String {
    let own = descriptor(person.id);
    if person.role == SERVICE { own.replacen("aad.", "svc.", 1) } else { own }
}

/// Identity descriptor of a person, by which access control entries name them.
pub fn claims_descriptor(person: &Person) -> String {
    let tenant = crate::simulator::tokens::TENANT_ID;
    format!("Microsoft.IdentityModel.Claims.ClaimsIdentity;{tenant}\\{}", person.account)
}

/// The parts of an event envelope that do not depend on the subscription.
pub fn envelope(world: &World, event: Uuid, project: Uuid) -> Value {
    let base = format!("{}/", world.base());
    json!({
        "id": event,
        "resourceContainers": {
            "collection": {"id": world.instance_id, "baseUrl": base},
            "account": {"id": world.instance_id, "baseUrl": base},
            "project": {"id": project, "baseUrl": base},
        },
    })
}

/// The envelope with its fields in the order of real deliveries.
pub fn ordered_envelope(mut envelope: Value) -> Value {
    let order = [
        "subscriptionId",
        "notificationId",
        "id",
        "eventType",
        "publisherId",
        "message",
        "detailedMessage",
        "resource",
        "resourceVersion",
        "resourceContainers",
        "createdDate",
    ];
    Value::Object(order.iter().map(|key| ((*key).to_owned(), envelope[*key].take())).collect())
}

/// Adds a field when there is a value.
pub fn put(map: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        map.insert(key.to_owned(), value.into());
    }
}

/// An instant as the service writes it.
pub fn stamp(instant: Timestamp) -> String {
    instant.to_string()
}
