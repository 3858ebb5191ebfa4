//! Reads that only show whether everything is in place: reachability, the project, permissions,
//! service hooks.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::DATE;
use secrecy::SecretString;
use serde::Deserialize;

use super::address::Host;
use super::people::List;
use super::routes::{Method, Read};
use super::transport::Question;
use super::{Client, Error, Failure};
use crate::http::{date, plain, reason};
use crate::identity::Audience;

/// Longest time for the answer of a host that is only looked at.
const REACH_TIMEOUT: Duration = Duration::from_secs(8);
/// Longest text that is kept of a subscription, in characters.
const MAX_TEXT_CHARS: usize = 500;

const PROJECT: Read = read("_apis/projects/{project}");
const REPOSITORIES: Read = read("{project}/_apis/git/repositories");
const AREAS: Read = read("{project}/_apis/wit/classificationnodes/areas");
const PERMISSIONS: Read = read("_apis/permissions/{namespace}/{bits}");
const SUBSCRIPTIONS: Read = read("_apis/hooks/subscriptions");

const fn read(template: &'static str) -> Read {
    Read { method: Method::Get, host: Host::Main, template, version: "7.1" }
}

/// What the organisation tells everybody, without a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Status of the answer; any status shows that the host is there.
    pub status: u16,
    /// Its clock, in whole seconds.
    pub date: Option<Timestamp>,
    /// The Entra tenant that the organisation belongs to (FACTS §3).
    pub tenant_id: Option<String>,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Project {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
}

/// A subscription of service hooks, without its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Id.
    pub id: String,
    /// For example `git.push`.
    pub event_type: String,
    /// Form of the event's resource, for example `2.0`.
    pub resource_version: String,
    /// `enabled`, `onProbation`, `disabledByUser` and others.
    pub status: String,
    /// Where it delivers.
    pub url: String,
    /// Project it is limited to; empty for all.
    pub project_id: String,
    /// Repository it is limited to; empty for all.
    pub repository_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSubscription {
    id: String,
    event_type: Option<String>,
    resource_version: Option<String>,
    status: Option<String>,
    publisher_inputs: Option<BTreeMap<String, Option<String>>>,
    consumer_inputs: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Deserialize)]
struct RawNode {
    identifier: String,
}

#[derive(Deserialize)]
struct RawName {
    name: String,
}

/// The service wraps lists; its own description shows this one bare.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawAnswers {
    Wrapped { value: Vec<bool> },
    Bare(Vec<bool>),
}

impl From<RawSubscription> for Subscription {
    fn from(raw: RawSubscription) -> Self {
        let input = |inputs: &Option<BTreeMap<String, Option<String>>>, name: &str| {
            let found = inputs.as_ref().and_then(|inputs| inputs.get(name)).cloned().flatten();
            plain(&found.unwrap_or_default(), MAX_TEXT_CHARS)
        };
        Self {
            id: raw.id,
            event_type: raw.event_type.unwrap_or_default(),
            resource_version: raw.resource_version.unwrap_or_default(),
            status: raw.status.unwrap_or_default(),
            url: input(&raw.consumer_inputs, "url"),
            project_id: input(&raw.publisher_inputs, "projectId"),
            repository_id: input(&raw.publisher_inputs, "repository"),
        }
    }
}

impl Client {
    /// Whether the organisation's host answers at all. Sends no token and waits for nothing.
    ///
    /// # Errors
    /// [`Error::Transport`] when there is no answer.
    pub async fn reach(&self) -> Result<Reached, Error> {
        let url = self.transport.address.url(Host::Identities, "", &[])?;
        let asked = self.transport.http.head(url).timeout(REACH_TIMEOUT).send().await;
        let answer =
            asked.map_err(|error| Error::Transport { sent: false, failure: Failure::said(reason(error)) })?;
        let tenant = answer.headers().get("X-VSS-ResourceTenant").and_then(|id| id.to_str().ok());
        let tenant_id = tenant.and_then(|id| uuid::Uuid::parse_str(id.trim()).ok()).filter(|id| !id.is_nil());
        Ok(Reached {
            status: answer.status().as_u16(),
            date: date(answer.headers().get(DATE)),
            tenant_id: tenant_id.map(|id| id.to_string()),
        })
    }

    /// Whether the person `oid`, whose own token for the blueprint is `person`, sees `project`: asked
    /// on that person's behalf.
    ///
    /// # Errors
    /// [`Error`] when it could not be found out.
    pub async fn is_seen_by(&self, project: &str, person: &SecretString, oid: &str) -> Result<bool, Error> {
        let token = self.transport.identity.on_behalf_of(Audience::AzureDevOps, person, oid).await?;
        let segments = [project];
        match self.transport.ask_as::<Project>(Question::of(&PROJECT, &segments), &token).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound(_) | Error::Forbidden(_) | Error::SignInRequired(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A project by name or id.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn project(&self, project: &str) -> Result<Project, Error> {
        self.ask(Question::of(&PROJECT, &[project])).await
    }

    /// Names of the repositories of a project that the agent user may see.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn repository_names(&self, project: &str) -> Result<Vec<String>, Error> {
        let found = self.ask::<List<RawName>>(Question::of(&REPOSITORIES, &[project])).await?;
        Ok(found.value.unwrap_or_default().into_iter().map(|found| found.name).collect())
    }

    /// Identifier of a project's root area, by which its permissions are named.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn root_area(&self, project: &str) -> Result<String, Error> {
        Ok(self.ask::<RawNode>(Question::of(&AREAS, &[project])).await?.identifier)
    }

    /// Whether the agent user has all of `bits` of a security namespace on `token` (SETUP.md §5.3).
    ///
    /// # Errors
    /// [`Error`].
    pub async fn has_permission(&self, namespace: &str, bits: u32, token: &str) -> Result<bool, Error> {
        let bits = bits.to_string();
        let segments = [namespace, &bits];
        let answer = self.ask(Question::of(&PERMISSIONS, &segments).with("tokens", token)).await?;
        let (RawAnswers::Wrapped { value } | RawAnswers::Bare(value)) = answer;
        Ok(value.first().copied().unwrap_or(false))
    }

    /// The service hook subscriptions that the agent user may see. Without the permission to see
    /// them the service gives an empty list.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>, Error> {
        let found = self.ask::<List<RawSubscription>>(Question::of(&SUBSCRIPTIONS, &[])).await?;
        Ok(found.value.unwrap_or_default().into_iter().map(Subscription::from).collect())
    }
}
