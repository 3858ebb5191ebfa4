//! Sign-in of a person at the command line by device code (TOKENS.md §3).
//!
//! The program shows an address and a code; the person signs in with a browser anywhere. It is a
//! public client: there is no secret, and the tokens are the person's own.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::EntraRefusal;
use super::causes::cause;
use crate::clock::{Clock, add};
use crate::http::{plain, read_body, reason};

/// Where people sign in to Microsoft's public cloud.
pub const PUBLIC_AUTHORITY: &str = "https://login.microsoftonline.com";
/// Longest time for one answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Longest text of Entra that is shown, in characters.
const MAX_TEXT_CHARS: usize = 600;
/// Bounds of the wait between two questions; Entra asks for five seconds.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// What is added to the wait when Entra asks to slow down (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// Longest time for the whole sign-in, whatever Entra says.
const MAX_LIFE: Duration = Duration::from_secs(30 * 60);
/// Failed connections in a row that are waited out while the person signs in.
const MAX_MISSES: u32 = 5;

/// Why nobody is signed in. Holds no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// The person declined.
    #[error("the sign-in was declined")]
    Declined,
    /// Nobody signed in in time.
    #[error("nobody signed in before the code expired")]
    Expired,
    /// Entra refused.
    #[error("Entra refused the sign-in: {}", .0.detail)]
    Refused(EntraRefusal),
    /// No answer.
    #[error("Entra did not answer at {address}: {cause}")]
    Unreachable {
        /// Origin asked.
        address: String,
        /// What happened.
        cause: String,
    },
    /// An answer that is none.
    #[error("the answer of {0} is not one of Entra's token endpoint")]
    Unreadable(String),
}

impl SignInError {
    /// What to do.
    pub fn remedy(&self) -> String {
        match self {
            Self::Declined | Self::Expired => "Run the command again.".into(),
            Self::Refused(refusal) => match cause(refusal.code) {
                Some(cause) => format!("{} {}", cause.cause, cause.remedy),
                None => format!("Look up AADSTS{} in Microsoft's list of codes.", refusal.code),
            },
            Self::Unreachable { .. } | Self::Unreadable(_) => {
                "Check the tenant, the address of Entra, and what the network lets out.".into()
            }
        }
    }
}

/// A public client of one tenant.
pub struct DeviceSignIn {
    /// The one HTTP client.
    pub http: reqwest::Client,
    /// Time.
    pub clock: Clock,
    /// Entra, without the tenant.
    pub authority: Url,
    /// Tenant, by GUID or domain.
    pub tenant: String,
    /// Application id of the public client.
    pub client_id: String,
}

/// A sign-in that waits for its person.
pub struct Prompt {
    /// What the person is to do, in Entra's words.
    pub message: String,
    /// Where to sign in.
    pub verification_uri: String,
    /// What to type there.
    pub user_code: String,
    /// Until when.
    pub until: Timestamp,
    code: SecretString,
    interval: Duration,
}

/// The person's tokens.
#[derive(Clone)]
pub struct Signed {
    /// The access token.
    pub access_token: SecretString,
    /// When it expires.
    pub expires_at: Timestamp,
    /// To get further ones, when `offline_access` was asked.
    pub refresh_token: Option<SecretString>,
    /// Who it is, when `openid` was asked.
    pub id_token: Option<SecretString>,
}

#[derive(Deserialize)]
struct RawPrompt {
    user_code: String,
    device_code: SecretString,
    verification_uri: String,
    expires_in: u64,
    interval: Option<u64>,
    message: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RawTokens {
    access_token: SecretString,
    expires_in: u64,
    refresh_token: Option<SecretString>,
    id_token: Option<SecretString>,
}

#[derive(Deserialize)]
struct RawError {
    error: String,
    error_description: Option<String>,
}

pub(super) enum Refused {
    /// `error` of the token endpoint with the rest of it.
    Told(String, EntraRefusal),
    Failed(SignInError),
}

impl From<Refused> for SignInError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Told(_, refusal) => Self::Refused(refusal),
            Refused::Failed(error) => error,
        }
    }
}

impl DeviceSignIn {
    /// Begins a sign-in for `scope`.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn begin(&self, scope: &str) -> Result<Prompt, SignInError> {
        let form = [("client_id", self.client_id.as_str()), ("scope", scope)];
        let raw: RawPrompt = self.ask("devicecode", &form).await?;
        let code = plain(&raw.user_code, MAX_TEXT_CHARS);
        let uri = plain(&raw.verification_uri, MAX_TEXT_CHARS);
        let message = raw.message.unwrap_or_else(|| format!("Open {uri} and enter the code {code}."));
        let interval = Duration::from_secs(raw.interval.unwrap_or(5)).clamp(INTERVAL.0, INTERVAL.1);
        let life = Duration::from_secs(raw.expires_in).min(MAX_LIFE);
        Ok(Prompt {
            message: plain(&message, MAX_TEXT_CHARS),
            verification_uri: uri,
            user_code: code,
            until: add(self.clock.now(), life),
            code: raw.device_code,
            interval,
        })
    }

    /// Waits until the person has signed in.
    ///
    /// # Errors
    /// [`SignInError`]; a short loss of the network is waited out.
    pub async fn finish(&self, prompt: &Prompt) -> Result<Signed, SignInError> {
        let (mut interval, mut misses) = (prompt.interval, 0);
        loop {
            self.clock.sleep(interval).await;
            if self.clock.now() > prompt.until {
                return Err(SignInError::Expired);
            }
            let form = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                ("client_id", self.client_id.as_str()),
                ("device_code", prompt.code.expose_secret()),
            ];
            match self.ask::<RawTokens>("token", &form).await {
                Ok(raw) => return Ok(self.signed(raw)),
                Err(Refused::Told(error, refusal)) => match error.as_str() {
                    "authorization_pending" => {}
                    "slow_down" => interval = (interval + SLOWER).min(INTERVAL.1),
                    "authorization_declined" | "access_denied" => return Err(SignInError::Declined),
                    "expired_token" => return Err(SignInError::Expired),
                    _ => return Err(SignInError::Refused(refusal)),
                },
                Err(Refused::Failed(SignInError::Unreachable { .. })) if misses < MAX_MISSES => misses += 1,
                Err(Refused::Failed(error)) => return Err(error),
            }
        }
    }

    /// A token for `scope` by a refresh token.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn refresh(&self, token: &SecretString, scope: &str) -> Result<Signed, SignInError> {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", self.client_id.as_str()),
            ("refresh_token", token.expose_secret()),
            ("scope", scope),
        ];
        Ok(self.signed(self.ask("token", &form).await?))
    }

    pub(super) fn signed(&self, raw: RawTokens) -> Signed {
        Signed {
            access_token: raw.access_token,
            expires_at: add(self.clock.now(), Duration::from_secs(raw.expires_in)),
            refresh_token: raw.refresh_token,
            id_token: raw.id_token,
        }
    }

    pub(super) async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        endpoint: &str,
        form: &[(&str, &str)],
    ) -> Result<T, Refused> {
        let mut url = self.authority.clone();
        let address = url.origin().ascii_serialization();
        let unreachable =
            |cause| Refused::Failed(SignInError::Unreachable { address: address.clone(), cause });
        let unreadable = || Refused::Failed(SignInError::Unreadable(address.clone()));
        url.path_segments_mut().map_err(|()| unreadable())?.pop_if_empty().extend([
            self.tenant.as_str(),
            "oauth2",
            "v2.0",
            endpoint,
        ]);
        let asked = self.http.post(url).form(form).timeout(TIMEOUT).send().await;
        let answer = asked.map_err(|error| unreachable(reason(error)))?;
        let good = answer.status().is_success();
        let body =
            read_body(answer, MAX_ANSWER_BYTES).await.map_err(|error| unreachable(error.to_string()))?;
        if good {
            return serde_json::from_slice(&body).map_err(|_| unreadable());
        }
        let told: RawError = serde_json::from_slice(&body).map_err(|_| unreadable())?;
        let words = told.error_description.unwrap_or_default();
        let refusal = super::sidecar::entra(&words).unwrap_or(EntraRefusal {
            code: 0,
            detail: plain(&format!("{} {words}", told.error), MAX_TEXT_CHARS),
            trace_id: None,
            correlation_id: None,
        });
        Err(Refused::Told(told.error, refusal))
    }
}
