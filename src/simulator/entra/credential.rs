//! Who a client is, and how it proves it: secret, federated assertion, or the exchange token of its
//! blueprint.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Extracted};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::claims::exchange_subject;
use super::directory::{Application, Kind, Principal, hashed, same};
use super::error::Refusal;
use super::keys::{Bad, Unchecked};
use super::seed::{EXCHANGE_ID, MANAGED_IDENTITY_ID};
use super::token::Form;
use super::{Entra, State, jwks};
use crate::simulator::tokens::{ISSUER_V1, ISSUER_V2, Refused, TENANT_ID};

/// The audience that a federated token must have.
pub const EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";
/// The one kind of client assertion.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Life of a managed identity's token, in seconds.
const MANAGED_IDENTITY_LIFE_SECONDS: i64 = 24 * 3_600;
/// How far an assertion's start may lie in the future, in seconds.
const CLOCK_SKEW_SECONDS: i64 = 300;

/// How a client has proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Not at all: a public client.
    None,
    /// By a secret.
    Secret,
    /// By a signed assertion.
    Assertion,
}

impl Proof {
    /// The value of `azpacr` and `appidacr`.
    pub fn class(self) -> &'static str {
        match self {
            Self::None => "0",
            Self::Secret => "1",
            Self::Assertion => "2",
        }
    }
}

/// The application that asks.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its principal.
    pub principal: Principal,
    /// Its application; agent identities have none of their own.
    pub application: Option<Application>,
    /// How it proved itself.
    pub proof: Proof,
}

impl Client {
    /// The blueprint of an agent identity.
    pub fn parent(&self) -> Option<&str> {
        match &self.principal.kind {
            Kind::AgentIdentity(parent) => Some(parent),
            _ => None,
        }
    }

    /// Whether it needs no credential.
    pub fn public(&self) -> bool {
        self.application.as_ref().is_some_and(|app| app.public)
    }
}

impl State {
    /// The next refusal that a test asked for.
    pub(super) fn injected(&mut self) -> Result<(), Refusal> {
        let Some((code, left)) = self.injected else { return Ok(()) };
        self.injected = (left > 1).then_some((code, left - 1));
        Err(Refusal::new(code))
    }

    /// The client with this application id.
    ///
    /// # Errors
    /// AADSTS700016 when it is not in the tenant, 7000112 when it or its blueprint is disabled.
    pub(super) fn client(&self, id: &str, now: Timestamp) -> Result<Client, Refusal> {
        let missing = || Refusal::of(700_016, id);
        let principal = self.directory.principal_of(id, now).ok_or_else(missing)?.clone();
        let application = self.directory.application(&principal.app_id, now).cloned();
        let client = Client { principal, application, proof: Proof::None };
        if !client.principal.enabled {
            return Err(Refusal::of(7_000_112, id));
        }
        match client.parent() {
            Some(parent) => {
                let parent = self.directory.principal_of(parent, now).ok_or_else(missing)?;
                if !parent.enabled {
                    return Err(Refusal::of(7_000_112, &parent.app_id));
                }
            }
            None if client.application.is_none() => return Err(missing()),
            None => {}
        }
        Ok(client)
    }
}

/// Checks the credential of `client` in the form.
///
/// # Errors
/// The code of TOKENS.md §6 that says what is wrong with it.
pub async fn prove(
    entra: &Arc<Entra>,
    mut client: Client,
    form: &Form,
    grant: &str,
) -> Result<Client, Refusal> {
    let (secret, assertion) = (form.get("client_secret"), form.get("client_assertion"));
    let id = client.principal.app_id.clone();
    if client.public() {
        return match secret.or(assertion) {
            Some(_) => Err(Refusal::of(700_025, id)),
            None if grant == "client_credentials" => Err(Refusal::new(7_000_218)),
            None => Ok(client),
        };
    }
    client.proof = match (secret, assertion) {
        (Some(secret), _) => {
            check_secret(&client, secret, entra.now())?;
            Proof::Secret
        }
        (None, Some(assertion)) => {
            if form.need("client_assertion_type")? != ASSERTION_TYPE {
                return Err(Refusal::of(90_023, "client_assertion_type is not jwt-bearer"));
            }
            match client.parent() {
                Some(parent) => check_exchange(entra, assertion, parent, &id)?,
                None => check_federated(entra, assertion, &client).await?,
            }
            Proof::Assertion
        }
        (None, None) if grant == "client_credentials" => return Err(Refusal::new(7_000_216)),
        (None, None) => return Err(Refusal::new(7_000_218)),
    };
    Ok(client)
}

fn check_secret(client: &Client, secret: &str, now: Timestamp) -> Result<(), Refusal> {
    let id = &client.principal.app_id;
    // Agent identities hold no credential of their own: they have no application.
    let secrets = client.application.as_ref().map(|app| app.secrets.as_slice()).unwrap_or_default();
    let hash = hashed(secret);
    let equal = |own: &str| bool::from(subtle::ConstantTimeEq::ct_eq(own.as_bytes(), hash.as_bytes()));
    match secrets.iter().find(|own| own.since <= now && equal(&own.hash)) {
        Some(own) if own.ends <= now => Err(Refusal::of(7_000_222, id)),
        Some(_) => Ok(()),
        None => Err(Refusal::of(7_000_215, id)),
    }
}

/// Parses an assertion and checks its time.
fn timely(assertion: &str, now: Timestamp) -> Result<Unchecked<'_>, Refusal> {
    let token = Unchecked::read(assertion).map_err(|_| Refusal::new(50_027))?;
    let time = |name: &str| token.claims.get(name).and_then(Value::as_f64).map(|seconds| seconds as i64);
    let now = now.as_second();
    let early = time("nbf").is_some_and(|from| from > now + CLOCK_SKEW_SECONDS);
    if early || time("exp").unwrap_or(0) <= now { Err(Refusal::new(700_024)) } else { Ok(token) }
}

/// One of our own signatures.
fn own_signature(entra: &Entra, token: &Unchecked<'_>) -> Result<(), Refusal> {
    entra.authority.check_signature(token).map_err(|refused| match refused {
        Refused::Expired => Refusal::new(700_024),
        _ => Refusal::new(700_027),
    })
}

/// Whether `assertion` is T1: this tenant's exchange token of `parent` for `child`.
fn check_exchange(entra: &Entra, assertion: &str, parent: &str, child: &str) -> Result<(), Refusal> {
    let token = timely(assertion, entra.now())?;
    if token.text("iss") != ISSUER_V2 {
        return Err(Refusal::of(700_211, token.text("iss")));
    }
    own_signature(entra, &token)?;
    if token.text("aud") != EXCHANGE_ID {
        return Err(Refusal::of(700_212, token.text("aud")));
    }
    let expected = exchange_subject(parent, &child.to_ascii_lowercase());
    if same(token.text("sub"), &expected) { Ok(()) } else { Err(Refusal::of(7_002_137, token.text("sub"))) }
}

/// Whether `assertion` fits a federated credential of the client: issuer, signature by the issuer's
/// published keys, audience and subject, all exact.
async fn check_federated(entra: &Arc<Entra>, assertion: &str, client: &Client) -> Result<(), Refusal> {
    let now = entra.now();
    let token = timely(assertion, now)?;
    let issuer = token.text("iss").to_owned();
    let entra_issued = issuer == ISSUER_V2 || issuer == ISSUER_V1;
    if entra_issued {
        own_signature(entra, &token)?;
        if token.text("idtyp") == "user" {
            return Err(Refusal::new(700_229));
        }
        if token.text("sub").starts_with("/eid1/") {
            return Err(Refusal::of(7_002_137, token.text("sub")));
        }
    }
    let all = client.application.as_ref().map(|app| app.federated.as_slice()).unwrap_or_default();
    let seen: Vec<_> = all.iter().filter(|own| own.since <= now).collect();
    if seen.is_empty() {
        return Err(Refusal::new(70_021));
    }
    let of_issuer: Vec<_> = seen.iter().filter(|own| own.issuer == issuer).collect();
    if of_issuer.is_empty() {
        return Err(Refusal::of(700_211, issuer));
    }
    if !entra_issued {
        foreign_signature(entra, &token, &issuer).await?;
    }
    let audience = token.claims.get("aud");
    let has = |wanted: &str| match audience {
        Some(Value::Array(many)) => many.iter().any(|one| one == wanted),
        // The audience of our own tokens is the resource's id.
        Some(one) => one == wanted || (entra_issued && one == EXCHANGE_ID && wanted == EXCHANGE_AUDIENCE),
        None => false,
    };
    if !of_issuer.iter().any(|own| has(&own.audience)) {
        return Err(Refusal::of(700_212, audience.map(Value::to_string).unwrap_or_default()));
    }
    let subject = token.text("sub");
    if of_issuer.iter().any(|own| has(&own.audience) && own.subject == subject) {
        return Ok(());
    }
    Err(Refusal::of(if entra_issued { 700_223 } else { 700_213 }, subject))
}

async fn foreign_signature(entra: &Entra, token: &Unchecked<'_>, issuer: &str) -> Result<(), Refusal> {
    let keys = jwks::fetch(&entra.http, issuer).await.map_err(|error| {
        tracing::warn!(issuer, %error, "the keys of a federated issuer cannot be read");
        Refusal::of(700_027, "the keys of the issuer cannot be read")
    })?;
    token.check(&keys).map_err(|bad| match bad {
        Bad::UnknownKey(id) => Refusal::of(7_000_272, id),
        _ => Refusal::new(700_027),
    })
}

/// What a request to the managed identity endpoint asks.
#[derive(Debug, Deserialize)]
pub struct Managed {
    resource: Option<String>,
    client_id: Option<String>,
}

/// `GET /metadata/identity/oauth2/token`: the token of the host's managed identity, as the real
/// endpoint gives it to whoever runs on the host (TOKENS.md §1.7).
pub async fn managed_identity(
    Extracted(entra): Extracted<Arc<Entra>>,
    headers: HeaderMap,
    Query(asked): Query<Managed>,
) -> Response {
    let refuse = |words: &str| {
        let body = json!({"error": "invalid_request", "error_description": words});
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    };
    if headers.get("metadata").is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"true")) {
        return refuse("Required metadata header not specified.");
    }
    let resource = asked.resource.unwrap_or_default();
    if resource.trim_end_matches("/.default") != EXCHANGE_AUDIENCE {
        return refuse("This endpoint gives tokens for api://AzureADTokenExchange only.");
    }
    let now = entra.now();
    let found = entra.lock().directory.principal(MANAGED_IDENTITY_ID, now).cloned();
    let found = found.filter(|own| asked.client_id.as_deref().is_none_or(|id| same(id, &own.app_id)));
    let Some(identity) = found else { return refuse("Identity not found.") };
    let from = now.as_second();
    let claims = json!({"aud": EXCHANGE_ID, "iss": ISSUER_V2, "iat": from, "nbf": from,
        "exp": from + MANAGED_IDENTITY_LIFE_SECONDS, "azp": identity.app_id, "azpacr": "2", "idtyp": "app",
        "oid": identity.id, "sub": identity.id, "tid": TENANT_ID, "ver": "2.0"});
    let Value::Object(claims) = claims else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    Json(json!({"access_token": entra.authority.sign(claims), "client_id": identity.app_id,
        "expires_in": MANAGED_IDENTITY_LIFE_SECONDS.to_string(), "resource": resource, "token_type": "Bearer"}))
    .into_response()
}
