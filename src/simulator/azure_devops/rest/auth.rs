//! Who is calling: a bearer token of the agent, or a person's password over Basic.

use std::sync::Arc;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use uuid::Uuid;

use super::Reply;
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::Organisation;
use crate::simulator::tokens::{AUDIENCE_AZURE_DEVOPS, Authority, TENANT_ID};

/// Why nobody is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// No Authorization header.
    Missing,
    /// A header that cannot be read, or a token that is not good.
    Bad,
    /// A good token of somebody the organisation does not know.
    Stranger(String),
    /// A wrong password.
    Password,
}

/// The identity behind the Authorization header.
///
/// # Errors
/// [`Unknown`] says why there is none.
pub fn caller(
    organisation: &Organisation,
    authority: &Arc<Authority>,
    headers: &HeaderMap,
) -> Result<Uuid, Unknown> {
    let header = headers.get("authorization").ok_or(Unknown::Missing)?;
    let header = header.to_str().map_err(|_| Unknown::Bad)?;
    let (scheme, value) = header.split_once(' ').ok_or(Unknown::Bad)?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => bearer(organisation, authority, value.trim()),
        "basic" => basic(organisation, authority, value.trim()),
        _ => Err(Unknown::Bad),
    }
}

fn bearer(organisation: &Organisation, authority: &Arc<Authority>, token: &str) -> Result<Uuid, Unknown> {
    let claims = authority.verify(token, AUDIENCE_AZURE_DEVOPS).map_err(|_| Unknown::Bad)?;
    let claim = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let object = Uuid::try_parse(claim("oid")).ok();
    let world = organisation.lock();
    let known = world.people.values().find(|p| Some(p.object_id) == object && !world.left.contains(&p.id));
    known.map(|p| p.id).ok_or_else(|| Unknown::Stranger(claim("oid").to_owned()))
}

fn basic(organisation: &Organisation, authority: &Arc<Authority>, value: &str) -> Result<Uuid, Unknown> {
    let decoded = STANDARD.decode(value).map_err(|_| Unknown::Bad)?;
    let text = String::from_utf8(decoded).map_err(|_| Unknown::Bad)?;
    let (_, password) = text.split_once(':').ok_or(Unknown::Bad)?;
    let known = {
        let world = organisation.lock();
        let found = world.people.values().find(|p| {
            p.password
                .as_ref()
                .is_some_and(|own| subtle::ConstantTimeEq::ct_eq(own.as_bytes(), password.as_bytes()).into())
        });
        found.map(|p| p.id)
    };
    // git credential helpers send an Entra token as the password.
    known.map_or_else(|| bearer(organisation, authority, password).map_err(|_| Unknown::Password), Ok)
}

/// The answer to a request without a usable identity (fact sheet, section 3).
pub fn sign_in(why: Unknown, suppress: bool, base: &str) -> Reply {
    if let Unknown::Stranger(id) = &why {
        let text = format!("TF400813: The user '{id}' is not authorized to access this resource.");
        return challenge(Reply::refusal(&Refusal::new(401, "UnauthorizedRequestException", text)), base);
    }
    if suppress || why == Unknown::Password {
        return challenge(Reply::empty(401), base);
    }
    let page = "<!DOCTYPE html><html lang=\"en\"><head><title>Sign in to the simulated organisation</title></head>\
                <body><h1>Sign in</h1><p>This request had no usable identity.</p></body></html>";
    match why {
        Unknown::Missing => {
            let origin = base.rsplit_once('/').map_or(base, |(origin, _)| origin);
            Reply::empty(302).header("location", format!("{origin}/_signin?realm=simulator&reply_to={base}"))
        }
        _ => Reply::bytes(203, "text/html; charset=utf-8", page.as_bytes().to_vec()),
    }
}

/// Adds the headers that make a client offer credentials.
pub fn challenge(reply: Reply, base: &str) -> Reply {
    let origin = base.rsplit_once('/').map_or(base, |(origin, _)| origin);
    reply
        .header(
            "WWW-Authenticate",
            format!("Bearer authorization_uri=https://login.microsoftonline.com/{TENANT_ID}"),
        )
        .header("WWW-Authenticate", format!("Basic realm=\"{origin}/\""))
}
