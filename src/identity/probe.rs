//! What kind of sidecar there is, asked without asking for a token (SIDECAR.md §3, §6).

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HOST};

use super::{Identity, IdentityError};
use crate::http::{read_body, reason};

/// Longest time for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer that is looked at, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// A host name that no sidecar is reached by.
const STRANGE_HOST: &str = "not-the-sidecar.invalid";

/// Versions of the sidecar that behave alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// 1.0.0: takes the host name `localhost` only, and has no gates.
    Host,
    /// 1.1.0 and later: takes calls over loopback only, and its gates are closed unless opened.
    Loopback,
    /// `ASPNETCORE_ENVIRONMENT=Development`: takes calls from everybody, whatever its version.
    Development,
}

/// A sidecar that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// Which versions it behaves like.
    pub family: Family,
    /// Its clock, where its answer has a date; in whole seconds.
    pub date: Option<Timestamp>,
}

struct Answer {
    status: u16,
    text: String,
    date: Option<Timestamp>,
}

impl Identity {
    /// Looks at the sidecar: whether it is well, and of which family. Asks for no token.
    ///
    /// # Errors
    /// [`IdentityError`]: unreachable, not a sidecar, not well, or not for callers from here.
    pub async fn sidecar(&self) -> Result<Sidecar, IdentityError> {
        let health = self.look("healthz", "localhost").await?;
        let address = || self.settings.sidecar_url.origin().ascii_serialization();
        match health.status {
            200 => {}
            500.. => {
                let detail = format!("its health check says {:?}", health.text);
                return Err(IdentityError::Sidecar { status: health.status, detail });
            }
            403 if health.text.is_empty() => return Err(IdentityError::NotLoopback),
            status => return Err(IdentityError::NotASidecar { address: address(), status }),
        }
        // Only Development serves its description; the loopback rule comes before everything else.
        let description = self.look("openapi/v1.json", "localhost").await?;
        if description.status == 403 && description.text.is_empty() {
            return Err(IdentityError::NotLoopback);
        }
        let strange = self.look("healthz", STRANGE_HOST).await?;
        let family = match (description.status, strange.status) {
            (200, _) => Family::Development,
            (_, 400) => Family::Host,
            _ => Family::Loopback,
        };
        Ok(Sidecar { family, date: health.date })
    }

    async fn look(&self, path: &str, host: &'static str) -> Result<Answer, IdentityError> {
        let mut url = self.settings.sidecar_url.clone();
        let path = format!("{}/{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let address = url.origin().ascii_serialization();
        let failed =
            |cause| IdentityError::Unreachable { address: address.clone(), waited_seconds: 0, cause };
        let asked = self.http.get(url).header(HOST, host).timeout(TIMEOUT).send().await;
        let answer = asked.map_err(|error| failed(reason(error)))?;
        let status = answer.status().as_u16();
        let date = crate::http::date(answer.headers().get(DATE));
        let body = read_body(answer, MAX_ANSWER_BYTES).await.map_err(|error| failed(error.to_string()))?;
        let text = crate::http::plain(&String::from_utf8_lossy(&body), 100);
        Ok(Answer { status, text, date })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::get;

    use super::*;
    use crate::clock::Clock;
    use crate::identity::fake;

    /// A sidecar by its answers: to a strange host name, and for its description.
    async fn looked(
        host: u16,
        description: (u16, &'static str),
        health: u16,
    ) -> Result<Family, IdentityError> {
        let healthz = move |headers: HeaderMap| async move {
            let is_local = headers["host"] == "localhost";
            StatusCode::from_u16(if is_local { health } else { host }).unwrap()
        };
        let described = move || async move { (StatusCode::from_u16(description.0).unwrap(), description.1) };
        let router =
            axum::Router::new().route("/healthz", get(healthz)).route("/openapi/v1.json", get(described));
        let settings = fake::settings(&fake::serve(router).await);
        let http = crate::config::http_client().unwrap();
        let found = Identity::new(&settings, http, Clock::Real).sidecar().await?;
        assert!(found.date.is_some());
        Ok(found.family)
    }

    #[tokio::test]
    async fn each_family_is_known_by_how_it_answers() {
        assert_eq!(looked(400, (404, ""), 200).await, Ok(Family::Host));
        assert_eq!(looked(200, (404, ""), 200).await, Ok(Family::Loopback));
        assert_eq!(looked(200, (200, "{}"), 200).await, Ok(Family::Development));
        assert_eq!(looked(200, (403, ""), 200).await, Err(IdentityError::NotLoopback));
        assert!(matches!(looked(200, (404, ""), 503).await, Err(IdentityError::Sidecar { status: 503, .. })));
        assert!(matches!(looked(200, (404, ""), 404).await, Err(IdentityError::NotASidecar { .. })));
    }
}
