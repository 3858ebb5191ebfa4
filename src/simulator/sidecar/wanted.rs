//! What a query asks for, after the silent rules (SIDECAR.md §4).

use super::Version;

/// The request's parameters that count.
#[derive(Debug, Default, PartialEq)]
pub struct Wanted {
    /// `AgentIdentity`.
    pub agent: Option<String>,
    /// `AgentUsername` or `AgentUserId`.
    pub user: Option<AgentUser>,
    /// `RequestAppToken`; only true has an effect.
    pub app_token: bool,
    /// `ForceRefresh`.
    pub force: bool,
    /// `Scopes`; empty for those of the profile.
    pub scopes: Vec<String>,
    /// `Tenant`.
    pub tenant: Option<String>,
    /// `CorrelationId`.
    pub correlation: Option<uuid::Uuid>,
    /// `FmiPath`: for whom the blueprint's own token is.
    pub fmi_path: Option<String>,
    /// For `DownstreamApi`.
    pub call: Outbound,
}

/// Overrides of an outbound call.
#[derive(Debug, Default, PartialEq)]
pub struct Outbound {
    /// `BaseUrl`; only version 1.0.0 honours it.
    pub base_url: Option<String>,
    /// `RelativePath`.
    pub relative_path: Option<String>,
    /// `HttpMethod`.
    pub method: Option<String>,
    /// `AcceptHeader`.
    pub accept: Option<String>,
    /// `ContentType`.
    pub content_type: Option<String>,
    /// `ExtraHeaderParameters.*`.
    pub headers: Vec<(String, String)>,
    /// `ExtraQueryParameters.*`.
    pub query: Vec<(String, String)>,
}

/// The agent user, by name or by object id.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentUser {
    /// User principal name; wins over an id.
    Name(String),
    /// Object id; text that is none is dropped without a word.
    Id(uuid::Uuid),
}

impl AgentUser {
    /// As it stands in cache keys; name and id make two entries (SIDECAR.md §9).
    pub fn key(&self) -> String {
        match self {
            Self::Name(name) => name.to_uppercase(),
            Self::Id(id) => id.to_string().to_uppercase(),
        }
    }
}

impl Wanted {
    /// Reads the query; nothing of it counts when the gate is closed.
    pub fn read(query: &[(String, String)], gate: bool, version: Version) -> Self {
        if !gate {
            tracing::warn!(
                "the sidecar ignores the request's overrides and agent parameters: the gate is closed"
            );
            return Self::default();
        }
        let all = |name: &str| {
            let own = query.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name));
            own.map(|(_, value)| value.trim())
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let get = |name: &str| all(name).into_iter().next();
        let set = |name: &str| get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let extra = |prefix: &str| {
            let own = |(key, value): &(String, String)| {
                let head = key.get(..prefix.len())?;
                head.eq_ignore_ascii_case(prefix).then(|| (key[prefix.len()..].to_owned(), value.clone()))
            };
            query.iter().filter_map(own).collect()
        };
        let agent = get("AgentIdentity");
        let by_id = || get("AgentUserId").and_then(|id| id.parse().ok()).map(AgentUser::Id);
        let user = agent.as_ref().and_then(|_| get("AgentUsername").map(AgentUser::Name).or_else(by_id));
        let base_url = get("optionsOverride.BaseUrl").filter(|_| version == Version::V1_0_0);
        Self {
            agent,
            user,
            app_token: set("optionsOverride.RequestAppToken"),
            force: set("optionsOverride.AcquireTokenOptions.ForceRefresh"),
            scopes: all("optionsOverride.Scopes"),
            tenant: get("optionsOverride.AcquireTokenOptions.Tenant"),
            correlation: get("optionsOverride.AcquireTokenOptions.CorrelationId")
                .and_then(|id| id.parse().ok()),
            fmi_path: get("optionsOverride.AcquireTokenOptions.FmiPath"),
            call: Outbound {
                base_url,
                relative_path: get("optionsOverride.RelativePath"),
                method: get("optionsOverride.HttpMethod"),
                accept: get("optionsOverride.AcceptHeader"),
                content_type: get("optionsOverride.ContentType"),
                headers: extra("optionsOverride.ExtraHeaderParameters."),
                query: extra("optionsOverride.ExtraQueryParameters."),
            },
        }
    }
}
