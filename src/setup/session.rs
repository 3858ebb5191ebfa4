//! The administrator's session: their sign-in, their tokens, their requests.

use std::collections::HashMap;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::request::{Answer, Api, Request, text};
use crate::clock::{Clock, add};
use crate::http::{backoff, plain, read_body, reason, retry_after};
use crate::identity::{DeviceSignIn, Prompt, SignInError, Signed};

/// What `setup apply` asks of Graph, all delegated (SETUP.md §1).
pub const APPLY_PERMISSIONS: &[&str] = &[
    "User.Read",
    "User.Read.All",
    "Application.Read.All",
    "AgentIdentityBlueprint.Create",
    "AgentIdentityBlueprint.AddRemoveCreds.All",
    "AgentIdentityBlueprint.UpdateAuthProperties.All",
    "AgentIdentityBlueprintPrincipal.Create",
    "AgentIdentity.Create.All",
    "AgentIdUser.ReadWrite.All",
    "DelegatedPermissionGrant.ReadWrite.All",
];
/// What `setup teardown` asks of Graph, all delegated (SETUP.md §6).
pub const TEARDOWN_PERMISSIONS: &[&str] = &[
    "User.Read.All",
    "Application.Read.All",
    "AgentIdentity.EnableDisable.All",
    "AgentIdentity.DeleteRestore.All",
    "AgentIdentityBlueprint.AddRemoveCreds.All",
    "AgentIdentityBlueprint.DeleteRestore.All",
    "AgentIdUser.ReadWrite.All",
    "DelegatedPermissionGrant.ReadWrite.All",
];
/// The scope of Azure DevOps.
const AZURE_DEVOPS_SCOPE: &str = "499b84ac-1321-427f-aa17-267ca6975798/.default";
/// Longest time for one answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Longest text of the other side that is shown, in characters.
const MAX_TEXT_CHARS: usize = 500;
/// Attempts of one request that meets a busy or failing service.
const ATTEMPTS: u32 = 6;
/// First and longest wait between them.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(20));
/// Longest wait that the other side may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(120);
/// A token is renewed this long before it ends.
const RENEW_BEFORE: Duration = Duration::from_secs(120);

/// Why the set-up cannot go on. Holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Nobody is signed in.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// A request was refused.
    #[error("{method} {url} was refused with {status} {code}: {message}")]
    Refused {
        /// Method of the request.
        method: &'static str,
        /// Its address.
        url: String,
        /// Status.
        status: u16,
        /// The service's name of the error.
        code: String,
        /// Its words.
        message: String,
    },
    /// No answer.
    #[error("{url} did not answer: {cause}")]
    Unreachable {
        /// Its address.
        url: String,
        /// What happened.
        cause: String,
    },
    /// An answer that cannot be used.
    #[error("{0}")]
    Unreadable(String),
    /// Several things have the name.
    #[error("there is more than one {what} with the name '{name}'")]
    Ambiguous {
        /// What kind.
        what: String,
        /// Its name.
        name: String,
    },
    /// The user name belongs to somebody else.
    #[error("{name} is not the user of this agent identity")]
    Taken {
        /// The user principal name.
        name: String,
    },
    /// Something that must be there is not.
    #[error("not found: {what}")]
    Missing {
        /// What.
        what: String,
    },
    /// Azure DevOps took the request and did not do it.
    #[error("Azure DevOps did not add the agent user: {words}")]
    NotDone {
        /// Its words.
        words: String,
    },
    /// It was made and cannot be seen.
    #[error("not visible after {seconds} s: {what}")]
    NotSeen {
        /// What.
        what: String,
        /// How long we looked, in seconds.
        seconds: u64,
    },
    /// A file cannot be read or written.
    #[error("{0}")]
    File(String),
}

impl Problem {
    /// What to do.
    pub fn remedy(&self) -> String {
        match self {
            Self::SignIn(error) => error.remedy(),
            Self::Refused { status: 403, url, .. } if url.contains("/_apis/") => {
                "The administrator who signs in must be in Project Collection Administrators of the organisation.".into()
            }
            Self::Refused { status: 403, .. } => {
                "The administrator needs the role Agent ID Administrator (and, for grants, Cloud Application \
                 Administrator), and the application of SETUP_CLIENT_ID the permissions that README names."
                    .into()
            }
            Self::Refused { status: 401 | 203 | 302, url, .. } if url.contains("/_apis/") => {
                "Sign in as a member of the organisation; it must be connected to the tenant in AZURE_TENANT_ID.".into()
            }
            Self::Refused { .. } => "Mend what it says and run the command again: it goes on where it ended.".into(),
            Self::Unreachable { .. } | Self::Unreadable(_) => {
                "Check the address and the network, and run the command again: it goes on where it ended.".into()
            }
            Self::Ambiguous { .. } => "Delete the one that is not used, or choose another name.".into(),
            Self::Taken { .. } => "Choose another name with --user, or delete that user.".into(),
            Self::Missing { .. } => "Check the name, and whether the administrator may see it.".into(),
            Self::NotDone { .. } => {
                "Check that the organisation is connected to the tenant and has a free Basic licence, and run the \
                 command again."
                    .into()
            }
            Self::NotSeen { .. } => {
                "Directories take time to agree. Run the command again in some minutes: it goes on where it ended, and \
                 --patience makes it wait longer."
                    .into()
            }
            Self::File(_) => "Check the folder given with --out, its owner and the space on the disk.".into(),
        }
    }
}

/// A signed-in administrator.
pub struct Session {
    sign_in: DeviceSignIn,
    graph_scope: String,
    refresh: Option<SecretString>,
    tokens: HashMap<&'static str, Signed>,
}

impl Session {
    /// Begins the sign-in with these permissions of Graph. Show the prompt, then call
    /// [`Session::signed_in`].
    ///
    /// # Errors
    /// [`Problem::SignIn`].
    pub async fn begin(sign_in: DeviceSignIn, permissions: &[&str]) -> Result<(Self, Prompt), Problem> {
        let named: Vec<String> =
            permissions.iter().map(|name| format!("https://graph.microsoft.com/{name}")).collect();
        let graph_scope = format!("{} openid profile offline_access", named.join(" "));
        let prompt = sign_in.begin(&graph_scope).await?;
        Ok((Self { sign_in, graph_scope, refresh: None, tokens: HashMap::new() }, prompt))
    }

    /// Waits for the person.
    ///
    /// # Errors
    /// [`Problem::SignIn`].
    pub async fn signed_in(&mut self, prompt: &Prompt) -> Result<(), Problem> {
        let signed = self.sign_in.finish(prompt).await?;
        self.keep("graph", signed);
        Ok(())
    }

    /// Time.
    pub(crate) fn clock(&self) -> &Clock {
        &self.sign_in.clock
    }

    fn keep(&mut self, name: &'static str, signed: Signed) {
        if signed.refresh_token.is_some() {
            self.refresh = signed.refresh_token.clone();
        }
        self.tokens.insert(name, signed);
    }

    async fn token(&mut self, api: Api) -> Result<SecretString, Problem> {
        let name = if api == Api::Graph { "graph" } else { "azure_devops" };
        let soon = add(self.clock().now(), RENEW_BEFORE);
        if let Some(held) = self.tokens.get(name).filter(|held| held.expires_at > soon) {
            return Ok(held.access_token.clone());
        }
        let missing = || Problem::Unreadable("Entra gave no refresh token; sign in again".into());
        let refresh = self.refresh.clone().ok_or_else(missing)?;
        let scope = match api {
            Api::Graph => self.graph_scope.clone(),
            Api::AzureDevOps => format!("{AZURE_DEVOPS_SCOPE} offline_access"),
        };
        let signed = self.sign_in.refresh(&refresh, &scope).await?;
        let token = signed.access_token.clone();
        self.keep(name, signed);
        Ok(token)
    }

    /// Sends a request. 404 is an answer; every other refusal is a problem. A busy or failing
    /// service is waited out for a while.
    ///
    /// # Errors
    /// [`Problem`].
    pub(crate) async fn send(&mut self, request: &Request) -> Result<Answer, Problem> {
        let mut attempt = 1;
        loop {
            let (wait, failed) = match self.once(request).await {
                Ok(answer) => return Ok(answer),
                Err((wait, failed)) => (wait, failed),
            };
            let Some(wait) = wait.filter(|_| attempt < ATTEMPTS) else { return Err(failed) };
            let wait = if wait.is_zero() { backoff(attempt, WAIT.0, WAIT.1) } else { wait };
            self.clock().sleep(wait).await;
            attempt += 1;
        }
    }

    /// One attempt; with a failure, how long to wait before another one is worth it.
    async fn once(&mut self, request: &Request) -> Result<Answer, (Option<Duration>, Problem)> {
        let token = self.token(request.api).await.map_err(|problem| (None, problem))?;
        let url = request.url.split('?').next().unwrap_or_default().to_owned();
        let method =
            request.method.parse().map_err(|_| (None, Problem::Unreadable(request.method.into())))?;
        let mut call = self.sign_in.http.request(method, &request.url).timeout(TIMEOUT);
        call = call.bearer_auth(token.expose_secret()).header("X-TFS-FedAuthRedirect", "Suppress");
        for (name, value) in &request.headers {
            call = call.header(*name, *value);
        }
        if let Some(body) = &request.body {
            call = call.body(body.to_string());
        }
        let unreachable = |cause| Problem::Unreachable { url: url.clone(), cause };
        // What was sent may have arrived: only reads are tried again at once.
        let again = request.reads().then_some(Duration::ZERO);
        let answer = call.send().await.map_err(|error| (again, unreachable(reason(error))))?;
        let status = answer.status().as_u16();
        let asked = retry_after(answer.headers(), self.clock().now());
        let body = read_body(answer, MAX_ANSWER_BYTES)
            .await
            .map_err(|error| (again, unreachable(error.to_string())))?;
        let body: Value =
            serde_json::from_slice(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body)).unwrap_or_default();
        match status {
            200 | 201 | 204 | 404 => Ok(Answer { status, body }),
            _ => {
                let failed = refused(request.method, url, status, &body);
                let busy = status == 429 || (status >= 500 && request.reads()) || status == 503;
                Err((busy.then(|| asked.unwrap_or_default().min(LONGEST_ASKED)), failed))
            }
        }
    }
}

/// A refusal in the words of Graph or of Azure DevOps.
fn refused(method: &'static str, url: String, status: u16, body: &Value) -> Problem {
    let graph = body.get("error").cloned().unwrap_or_default();
    let either = |own: &str, other: &str| {
        let found = if graph.is_object() { text(&graph, own) } else { text(body, other) };
        plain(found, MAX_TEXT_CHARS)
    };
    Problem::Refused {
        method,
        url,
        status,
        code: either("code", "typeKey"),
        message: either("message", "message"),
    }
}
