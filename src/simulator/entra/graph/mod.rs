//! The part of Microsoft Graph that provisions agents (SETUP.md).
//!
//! Invariant: every call has a bearer token of this tenant for Graph with the permission that the real
//! call needs, and what is made is seen only after the replication delay.
//! It must never know who calls beyond what the token says.

mod applications;
mod grants;
mod principals;
mod users;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Extracted;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::keys::text;
use super::token::correlation;
use super::{Entra, State};
use crate::simulator::tokens::{AUDIENCE_GRAPH, TENANT_ID};

/// Longest text of a property, in characters.
const MAX_TEXT_CHARS: usize = 1_024;

/// A refusal of Graph.
#[derive(Debug)]
struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Fault {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Request_BadRequest", message)
    }

    fn missing(id: &str) -> Self {
        let message = format!(
            "Resource '{id}' does not exist or one of its queried reference-property objects are not present."
        );
        Self::new(StatusCode::NOT_FOUND, "Request_ResourceNotFound", message)
    }

    fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Request_MultipleObjectsWithSameKeyValue", message)
    }

    fn denied() -> Self {
        let message = "Insufficient privileges to complete the operation.";
        Self::new(StatusCode::FORBIDDEN, "Authorization_RequestDenied", message)
    }
}

/// What a call answers: status and body; a body of null is none.
type Outcome = Result<(StatusCode, Value), Fault>;

/// Who calls, as the token says.
struct Caller {
    /// Application id of the client.
    application: String,
    /// Object id of the user, in a delegated call.
    user: Option<String>,
    permissions: Vec<String>,
    /// The user may administer; an application needs no role.
    administers: bool,
}

/// One call, read.
struct Call<'a> {
    method: &'a str,
    /// Path segments after the version, without type casts.
    path: Vec<&'a str>,
    /// The type that the path is cast to, lower case, without its namespace.
    cast: Option<String>,
    filter: Option<String>,
    body: Value,
    /// Has `OData-Version: 4.0`; without it types in bodies are not read.
    typed: bool,
    caller: Caller,
    now: Timestamp,
}

impl Call<'_> {
    /// Demands one of these permissions.
    fn need(&self, any_of: &[&str]) -> Result<(), Fault> {
        let has = |name: &&str| self.caller.permissions.iter().any(|own| own == *name);
        if self.caller.administers && any_of.iter().any(has) { Ok(()) } else { Err(Fault::denied()) }
    }

    /// A text of the body.
    fn text(&self, name: &str) -> Result<Option<String>, Fault> {
        match self.body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.chars().count() <= MAX_TEXT_CHARS => {
                Ok(Some(text.trim().to_owned()))
            }
            Some(_) => Err(Fault::bad(format!("Invalid value specified for property '{name}' of resource."))),
        }
    }

    /// A text of the body that must be there.
    fn need_text(&self, name: &str) -> Result<String, Fault> {
        let found = self.text(name)?.filter(|text| !text.is_empty());
        found.ok_or_else(|| Fault::bad(format!("A value is required for property '{name}' of resource.")))
    }

    /// Object ids of the people that `{name}@odata.bind` refers to; each must exist.
    fn bound(&self, state: &State, name: &str) -> Result<Vec<String>, Fault> {
        let all = self.body.get(format!("{name}@odata.bind")).and_then(Value::as_array);
        let id = |link: &Value| {
            let id = link.as_str().and_then(|link| link.rsplit('/').next()).unwrap_or_default().to_owned();
            let known = state.directory.user(&id, self.now).is_some()
                || state.directory.groups.iter().any(|group| group.id == id);
            if known { Ok(id) } else { Err(Fault::missing(&id)) }
        };
        all.map(Vec::as_slice).unwrap_or_default().iter().map(id).collect()
    }

    /// The type that the call makes, lower case, without its namespace.
    fn kind(&self) -> Option<String> {
        let named = self.body.get("@odata.type").and_then(Value::as_str).filter(|_| self.typed);
        let named = named.and_then(|kind| kind.rsplit('.').next()).map(str::to_ascii_lowercase);
        self.cast.clone().or(named)
    }

    /// A list, filtered as `$filter` says.
    fn list(&self, items: impl Iterator<Item = Value>) -> Outcome {
        let clauses = self.filter.as_deref().map(clauses).transpose()?.unwrap_or_default();
        let fits = |item: &Value| {
            clauses.iter().all(|(name, value)| {
                let found = item.get(name);
                found.and_then(Value::as_str).is_some_and(|found| found.eq_ignore_ascii_case(value))
            })
        };
        Ok((StatusCode::OK, json!({"value": items.filter(fits).collect::<Vec<_>>()})))
    }
}

/// Reads `a eq 'x' and b eq 'y'`.
fn clauses(filter: &str) -> Result<Vec<(String, String)>, Fault> {
    let clause = |text: &str| {
        let (name, value) = text.split_once(" eq ")?;
        let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'");
        Some((name.trim().to_owned(), value))
    };
    let unsupported = || {
        let message = format!("The filter '{filter}' is not supported here; use property eq 'value'.");
        Fault::new(StatusCode::BAD_REQUEST, "Request_UnsupportedQuery", message)
    };
    filter.split(" and ").map(|part| clause(part).ok_or_else(unsupported)).collect()
}

/// Every path of Graph.
pub(super) async fn route(
    Extracted(entra): Extracted<Arc<Entra>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let now = entra.now();
    let path = percent_encoding::percent_decode_str(uri.path()).decode_utf8_lossy().into_owned();
    let query = uri.query().unwrap_or_default();
    let outcome = read(&entra, method.as_str(), &path, query, &headers, &body, now)
        .and_then(|call| answer(&mut entra.lock(), &call));
    let request = Uuid::new_v4();
    let (status, body) = outcome.unwrap_or_else(|fault| {
        let client = correlation(&headers).unwrap_or(request);
        let inner = json!({"date": now.strftime("%Y-%m-%dT%H:%M:%S").to_string(), "request-id": request,
            "client-request-id": client});
        let body = json!({"error": {"code": fault.code, "message": fault.message, "innerError": inner}});
        (fault.status, body)
    });
    let ids = [("request-id", request.to_string())];
    if body.is_null() { (status, ids).into_response() } else { (status, ids, Json(body)).into_response() }
}

fn read<'a>(
    entra: &Entra,
    method: &'a str,
    path: &'a str,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Call<'a>, Fault> {
    let caller = caller(entra, headers, now)?;
    let is_cast = |part: &&str| {
        let lower = part.to_ascii_lowercase();
        lower.starts_with("microsoft.graph.") || lower.starts_with("graph.")
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).skip(1).collect();
    let cast = parts.iter().find(|part| is_cast(part)).and_then(|part| part.rsplit('.').next());
    let body = match body.is_empty() {
        true => Value::Object(Map::new()),
        false => {
            serde_json::from_slice(body).map_err(|_| Fault::bad("Unable to read JSON request payload."))?
        }
    };
    let filter = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "$filter");
    Ok(Call {
        method,
        cast: cast.map(str::to_ascii_lowercase),
        path: parts.into_iter().filter(|part| !is_cast(part)).collect(),
        filter: filter.map(|(_, value)| value.into_owned()),
        body,
        typed: headers.get("odata-version").is_some_and(|value| value.as_bytes() == b"4.0"),
        caller,
        now,
    })
}

fn caller(entra: &Entra, headers: &HeaderMap, now: Timestamp) -> Result<Caller, Fault> {
    let refuse = |message: &str| Fault::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message);
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
        .ok_or_else(|| refuse("Access token is empty."))?
        .1;
    let claims = entra.authority.verify(token.trim(), AUDIENCE_GRAPH);
    let claims = claims.map_err(|refused| refuse(&format!("Access token validation failure: {refused}.")))?;
    let scopes = text(&claims, "scp").split_whitespace().map(str::to_owned);
    let roles = claims.get("roles").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let roles = roles.iter().filter_map(Value::as_str).map(str::to_owned);
    let user = (text(&claims, "idtyp") == "user").then(|| text(&claims, "oid").to_owned());
    let administers = match &user {
        Some(id) => entra.lock().directory.user(id, now).is_some_and(|user| user.administrator),
        None => true,
    };
    Ok(Caller {
        application: text(&claims, "appid").to_owned(),
        permissions: scopes.chain(roles).collect(),
        user,
        administers,
    })
}

fn answer(state: &mut State, call: &Call<'_>) -> Outcome {
    match (call.path.first().copied().unwrap_or_default(), &call.path.get(1..).unwrap_or_default()) {
        ("applications", rest) => applications::answer(state, call, rest),
        ("servicePrincipals", rest) => principals::answer(state, call, rest),
        ("users", rest) => users::answer(state, call, rest),
        ("me", rest) => users::me(state, call, rest),
        ("oauth2PermissionGrants", rest) => grants::answer(state, call, rest),
        ("identity", ["conditionalAccess", "policies", rest @ ..]) => grants::policies(state, call, rest),
        ("organization", []) if call.method == "GET" => {
            let domain = json!({"name": super::seed::DOMAIN, "isDefault": true, "isInitial": true});
            call.list(std::iter::once(
                json!({"id": TENANT_ID, "displayName": "Contoso", "verifiedDomains": [domain]}),
            ))
        }
        _ => unknown(call),
    }
}

/// A path or verb that this subset does not have.
fn unknown(call: &Call<'_>) -> Outcome {
    let message = format!("Resource not found for the segment '{}'.", call.path.join("/"));
    Err(Fault::new(StatusCode::NOT_FOUND, "BadRequest", message))
}

/// Refuses one more object than a kind may have.
fn room<T>(objects: &[T]) -> Result<(), Fault> {
    if objects.len() < super::directory::MAX_OBJECTS {
        return Ok(());
    }
    let message = "The directory object quota limit for the tenant has been exceeded.";
    Err(Fault::new(StatusCode::FORBIDDEN, "Directory_QuotaExceeded", message))
}

/// People by their ids, as a list.
fn people(state: &State, call: &Call<'_>, ids: &[String]) -> Outcome {
    let users = ids.iter().filter_map(|id| state.directory.user(id, call.now));
    call.list(users.map(users::shown))
}
