//! One request of the set-up, as it is printed and as it is sent.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;

/// Whose API it goes to; each has its own token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Api {
    /// Microsoft Graph.
    Graph,
    /// Azure DevOps.
    AzureDevOps,
}

/// A request. What is not known yet stands in it as a name in braces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Request {
    #[serde(skip)]
    pub(crate) api: Api,
    /// GET, POST, PATCH, PUT or DELETE.
    pub method: &'static str,
    /// Where to.
    pub url: String,
    /// Headers besides the bearer token.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(&'static str, &'static str)>,
    /// The JSON body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

/// The type of ordinary bodies.
const JSON: (&str, &str) = ("Content-Type", "application/json");
/// The type of changes to an entitlement.
const JSON_PATCH: (&str, &str) = ("Content-Type", "application/json-patch+json");
/// Where a service hook has its password.
const PASSWORD_AT: &str = "/consumerInputs/basicAuthPassword";
/// The header without which Graph makes an ordinary application of a blueprint (SETUP.md §2).
const TYPED: (&str, &str) = ("OData-Version", "4.0");

impl Request {
    /// A call of Graph.
    pub(crate) fn graph(method: &'static str, url: String, body: Option<Value>) -> Self {
        let headers = std::iter::once(TYPED).chain(body.is_some().then_some(JSON)).collect();
        Self { api: Api::Graph, method, url, headers, body }
    }

    /// A call of Azure DevOps.
    pub(crate) fn azure_devops(method: &'static str, url: String, body: Option<Value>) -> Self {
        let headers = body.is_some().then_some(JSON).into_iter().collect();
        Self { api: Api::AzureDevOps, method, url, headers, body }
    }

    /// The same with a JSON Patch document as its body.
    pub(crate) fn patching(mut self) -> Self {
        self.headers = vec![JSON_PATCH];
        self
    }

    /// Whether everything in it is known, so that it can be sent.
    pub fn is_complete(&self) -> bool {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        !has_placeholder(&self.url) && !has_placeholder(&body)
    }

    /// Whether it only reads.
    pub fn reads(&self) -> bool {
        self.method == "GET"
    }

    /// As text for people.
    pub fn shown(&self) -> String {
        let mut text = format!("{} {}", self.method, self.url);
        for (name, value) in &self.headers {
            text.push_str(&format!("\n{name}: {value}"));
        }
        if let Some(body) = &self.body {
            let body = serde_json::to_string_pretty(body).unwrap_or_default();
            text.push_str(&format!("\n{body}"));
        }
        text
    }

    /// The same with the password of the service hooks in its place. Not to be printed.
    pub(crate) fn filled(&self, password: &str) -> Self {
        let mut copy = self.clone();
        let place = copy.body.as_mut().and_then(|body| body.pointer_mut(PASSWORD_AT));
        if let Some(place) = place {
            *place = Value::from(password);
        }
        copy
    }
}

/// A name in braces such as `{agent_user}`; JSON's own braces are followed by a quote.
fn has_placeholder(text: &str) -> bool {
    text.split('{').skip(1).any(|rest| {
        let name = rest.split('}').next().unwrap_or_default();
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        is_name && rest.len() > name.len()
    })
}

/// An answer, parsed.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// Entries of a list, under Graph's and Azure DevOps' common name.
    pub(crate) fn list(&self) -> &[Value] {
        self.body.get("value").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// A text of the body.
    pub(crate) fn text(&self, name: &str) -> &str {
        text(&self.body, name)
    }
}

/// Everything but RFC 3986's unreserved characters, and the braces of placeholders, is escaped.
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'{').remove(b'}');

/// A text as one part of an address.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A text of an object.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_keeps_a_request_from_being_sent() {
        let graph = |url: &str, body| Request::graph("POST", url.into(), body);
        assert!(graph("https://g/v1.0/users", Some(json!({"a": {"b": 1}, "c": {}}))).is_complete());
        assert!(!graph("https://g/v1.0/users/{agent_user}", None).is_complete());
        assert!(!graph("https://g/v1.0/users", Some(json!({"clientId": "{agent_identity}"}))).is_complete());
        assert!(graph("https://g/x", Some(json!({"sponsor": "users/1"}))).is_complete());
    }

    #[test]
    fn a_password_is_filled_in_only_to_be_sent() {
        let body = json!({"consumerInputs": {"url": "https://x", "basicAuthPassword": "{webhook_password}"}});
        let request = Request::azure_devops("POST", "https://x".into(), Some(body));
        assert!(!request.is_complete() && request.shown().contains("{webhook_password}"));
        let filled = request.filled("s3cret-value");
        assert!(filled.is_complete() && filled.shown().contains("s3cret-value"));
    }
}
