//! People, and who we are in the organisation.

use serde::{Deserialize, Serialize};

use super::routes::{CONNECTION, IDENTITIES};
use super::transport::Question;
use super::{Client, Error, limits};

/// A person or group, as Azure DevOps names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Identity id in Azure DevOps (not the Entra object id): what reviewers and mentions use.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Account, usually the mail address.
    pub account: Option<String>,
    /// Whether it is a group.
    #[serde(default)]
    pub is_group: bool,
}

/// Who the bearer is to the organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Me {
    /// Identity id of the agent user in Azure DevOps: compare authors with this.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Account.
    pub account: Option<String>,
    /// Id of the organisation.
    pub organization_id: Option<String>,
}

/// `IdentityRef` in git, build and work item answers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IdentityRef {
    id: Option<String>,
    display_name: Option<String>,
    unique_name: Option<String>,
    is_container: Option<bool>,
}

impl From<IdentityRef> for Person {
    fn from(found: IdentityRef) -> Self {
        let account = found.unique_name.filter(|name| !name.is_empty());
        let name = found.display_name.or_else(|| account.clone()).unwrap_or_default();
        Self { id: found.id.unwrap_or_default(), name, account, is_group: found.is_container == Some(true) }
    }
}

/// The wrapper of every list: `{"count": n, "value": […]}`; `value` may be null.
#[derive(Deserialize)]
pub(super) struct List<T> {
    #[serde(default = "Option::default")]
    pub(super) value: Option<Vec<T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Connection {
    authenticated_user: Identity,
    instance_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    id: String,
    pub(super) descriptor: Option<String>,
    pub(super) subject_descriptor: Option<String>,
    provider_display_name: Option<String>,
    custom_display_name: Option<String>,
    pub(super) is_active: Option<bool>,
    is_container: Option<bool>,
    #[serde(default)]
    properties: Option<Properties>,
}

#[derive(Default, Deserialize)]
struct Properties {
    #[serde(rename = "Account")]
    account: Option<Property>,
    #[serde(rename = "Mail")]
    mail: Option<Property>,
    #[serde(rename = "SchemaClassName")]
    class: Option<Property>,
    #[serde(rename = "http://schemas.microsoft.com/identity/claims/objectidentifier")]
    object_id: Option<Property>,
}

#[derive(Clone, Deserialize)]
struct Property {
    #[serde(rename = "$value")]
    value: Option<serde_json::Value>,
}

impl Identity {
    /// Object id in Entra.
    pub(super) fn object_id(&self) -> Option<String> {
        Property::text(self.properties.as_ref()?.object_id.clone())
    }
}

impl Property {
    fn text(property: Option<Property>) -> Option<String> {
        property?.value?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

impl From<Identity> for Person {
    fn from(found: Identity) -> Self {
        let properties = found.properties.unwrap_or_default();
        let account = Property::text(properties.account).or_else(|| Property::text(properties.mail));
        let is_group = found.is_container == Some(true)
            || Property::text(properties.class).is_some_and(|class| class.eq_ignore_ascii_case("Group"));
        let name = [found.custom_display_name, found.provider_display_name].into_iter().flatten();
        let name = name.filter(|name| !name.is_empty()).chain(account.clone()).next().unwrap_or_default();
        Self { id: found.id, name, account, is_group }
    }
}

impl Client {
    /// Who the agent user is in the organisation. Proves sign-in and membership.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn who_am_i(&self) -> Result<Me, Error> {
        let found = self.ask::<Connection>(Question::of(&CONNECTION, &[])).await?;
        let organization_id = found.instance_id;
        let Person { id, name, account, .. } = found.authenticated_user.into();
        Ok(Me { id, name, account, organization_id })
    }

    /// People whose name, account or mail address fits `text`, active ones only; groups are
    /// marked. The first `most` of them.
    ///
    /// # Errors
    /// [`Error`]; nobody found is an empty list.
    pub async fn find_people(&self, text: &str, most: usize) -> Result<Vec<Person>, Error> {
        let text = text.trim();
        if text.is_empty() || limits::length(text) > limits::WORK_ITEM_TITLE {
            return Err(Error::invalid("give a name, an account or a mail address to look for".into()));
        }
        let question = Question::of(&IDENTITIES, &[])
            .with("searchFilter", "General")
            .with("filterValue", text)
            .with("queryMembership", "None");
        // An unknown person may come as null (FACTS §11).
        let found = self.ask::<List<Option<Identity>>>(question).await?.value.unwrap_or_default();
        let active = found.into_iter().flatten().filter(|identity| identity.is_active != Some(false));
        Ok(active.map(Person::from).take(most).collect())
    }
}
