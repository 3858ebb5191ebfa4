//! Answers.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::{Organisation, Outcome};

/// A JSON answer, as Content-Type.
const JSON: &str = "application/json; charset=utf-8";

/// An answer before the headers that are always there.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// An answer with a body of some type.
    pub fn bytes(status: u16, kind: &str, body: Vec<u8>) -> Self {
        Self { status, headers: vec![("content-type".into(), kind.into())], body }
    }

    /// JSON.
    pub fn json(status: u16, value: &Value) -> Self {
        Self::bytes(status, JSON, value.to_string().into_bytes())
    }

    /// 200 with JSON.
    pub fn ok(value: Value) -> Self {
        Self::json(200, &value)
    }

    /// 200 with `{"count", "value"}`.
    pub fn list(values: Vec<Value>) -> Self {
        Self::ok(super::listed(values))
    }

    /// 200 with `{"count", "value"}` of many small things.
    ///
    /// # Errors
    /// When one has no form in JSON.
    pub fn listed<T: Serialize>(values: &[T]) -> Outcome<Self> {
        #[derive(Serialize)]
        struct List<'a, T> {
            count: usize,
            value: &'a [T],
        }
        let body = serde_json::to_vec(&List { count: values.len(), value: values });
        Ok(Self::bytes(200, JSON, body.map_err(Refusal::body_unreadable)?))
    }

    /// A status without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: vec![("content-length".into(), "0".into())], body: Vec::new() }
    }

    /// An error body.
    pub fn refusal(refusal: &Refusal) -> Self {
        let encoded =
            percent_encoding::utf8_percent_encode(&refusal.message, percent_encoding::NON_ALPHANUMERIC);
        Self::json(refusal.status, &refusal.body()).header("X-TFS-ServiceError", encoded.to_string())
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: String) -> Self {
        self.headers.push((name.into(), value));
        self
    }

    /// Names the version served in the Content-Type of a JSON answer.
    #[must_use]
    pub fn with_version(mut self, version: &str) -> Self {
        for (name, value) in &mut self.headers {
            if name == "content-type" && value == JSON && !version.is_empty() {
                *value = format!("{JSON}; api-version={version}");
            }
        }
        self
    }

    /// Says for whom the request was done.
    #[must_use]
    pub fn with_user(self, organisation: &Organisation, id: Uuid) -> Self {
        let account = organisation.lock().account(id);
        self.header("X-VSS-UserData", format!("{id}:{account}"))
    }
}
