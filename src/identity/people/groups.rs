//! Somebody's groups: as a token lists them, or, where there are too many for a token, as Graph does.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::PeopleError;
use crate::http::{read_body, reason};

/// Most groups that are read of one person.
const MAX_GROUPS: usize = 12_000;
/// Longest time for Graph's answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Largest answer, in bytes: the most groups with their ids.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Groups, by object id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    /// All of them.
    Listed(Vec<String>),
    /// There are more than a token holds; until Graph has been asked they count as none (A64).
    TooMany,
}

impl Groups {
    /// What a token's claims say.
    pub(super) fn of(claims: &Map<String, Value>) -> Self {
        let points_elsewhere = claims.get("_claim_names").is_some_and(|names| names.get("groups").is_some());
        let says_so = match claims.get("hasgroups") {
            Some(Value::Bool(says)) => *says,
            Some(Value::String(says)) => says.eq_ignore_ascii_case("true"),
            _ => false,
        };
        if points_elsewhere || says_so {
            return Self::TooMany;
        }
        let listed = claims.get("groups").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Self::Listed(listed.iter().filter_map(|id| id.as_str().map(str::to_owned)).take(MAX_GROUPS).collect())
    }
}

#[derive(Deserialize)]
struct Members {
    value: Vec<String>,
}

/// All groups of the person whose token for Graph this is.
///
/// # Errors
/// [`PeopleError::Graph`].
pub(super) async fn ask(
    http: &reqwest::Client,
    graph: &Url,
    token: &SecretString,
) -> Result<Vec<String>, PeopleError> {
    let url = format!("{}/v1.0/me/getMemberObjects", graph.as_str().trim_end_matches('/'));
    let failed = PeopleError::Graph;
    let request =
        http.post(url).bearer_auth(token.expose_secret()).json(&json!({"securityEnabledOnly": false}));
    let answer = request.timeout(TIMEOUT).send().await.map_err(|error| failed(reason(error)))?;
    let status = answer.status();
    if !status.is_success() {
        return Err(failed(format!("it answered {status}")));
    }
    let body = read_body(answer, MAX_ANSWER_BYTES).await.map_err(|error| failed(error.to_string()))?;
    let members: Members =
        serde_json::from_slice(&body).map_err(|_| failed("its answer is no list of groups".into()))?;
    Ok(members.value.into_iter().take(MAX_GROUPS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_listed_or_too_many_in_every_form_of_the_claim() {
        let of = |claims: Value| Groups::of(claims.as_object().unwrap());
        assert_eq!(of(json!({"groups": ["a", 1, "b"]})), Groups::Listed(vec!["a".into(), "b".into()]));
        assert_eq!(of(json!({})), Groups::Listed(vec![]));
        let sources =
            json!({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {}}, "groups": ["a"]});
        for overage in [sources, json!({"hasgroups": true}), json!({"hasgroups": "true"})] {
            assert_eq!(of(overage), Groups::TooMany);
        }
        assert_eq!(of(json!({"_claim_names": {"other": "src1"}})), Groups::Listed(vec![]));
    }
}
