//! People: how they sign in, and whose token a request brings.
//!
//! Purpose: sign-in by authorization code with PKCE as a public client, renewal, the groups of a
//! person, and the check of a person's access token.
//! Invariant: nobody is believed before a signature by Entra's published keys, issuer, tenant,
//! audience, expiry and, at sign-in, the nonce were checked; a token of an agent or an application is
//! never a person's; groups that are not known count as none.
//! Must never know: sessions, cookies, pages, roles.

mod groups;
mod keys;
mod token;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SecureRandom as _;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::device::{DeviceSignIn, RawTokens, SignInError, Signed};
use crate::clock::Clock;
use crate::config;
use crate::http::plain;
use keys::Keys;
use token::{Expected, Unchecked};

pub use groups::Groups;
pub use token::Verified;

/// Name of the permission that the blueprint exposes to people's clients (TOKENS.md §3).
pub const ACCESS_SCOPE: &str = "access_as_user";
/// Random bytes of a secret that only we and the browser know.
const RANDOM_BYTES: usize = 32;
/// Longest text of Entra that is shown, in characters.
const MAX_TEXT_CHARS: usize = 400;

/// Why somebody is not believed, or cannot sign in. Holds no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeopleError {
    /// Entra refused or was not reached.
    #[error("{0}")]
    SignIn(SignInError),
    /// Entra's keys cannot be read.
    #[error("Entra's metadata and keys cannot be read: {0}")]
    Keys(String),
    /// The token is not one that counts here.
    #[error("the token {0}")]
    Token(String),
    /// The token is an agent's, or an application's own.
    #[error("the token is an agent's or an application's own, not a person's")]
    Agent,
    /// Graph did not tell somebody's groups.
    #[error("Microsoft Graph did not list the groups: {0}")]
    Graph(String),
    /// The machine's random source failed.
    #[error("the machine's random source failed")]
    Random,
}

impl PeopleError {
    /// What to do.
    pub fn remedy(&self) -> String {
        match self {
            Self::SignIn(error) => error.remedy(),
            Self::Keys(_) => {
                "Check AZURE_AUTHORITY_HOST and AZURE_TENANT_ID, and that this process reaches Entra.".into()
            }
            Self::Token(_) => {
                "Sign in again; for programs, get a new token with `ado-coworker login`.".into()
            }
            Self::Agent => {
                "Only people decide here. Send the token of a person, from `ado-coworker login`.".into()
            }
            Self::Graph(_) => "Check GRAPH_URL, and that the sign-in client may read User.Read.".into(),
            Self::Random => "Try again; if it happens again, the machine is not well.".into(),
        }
    }
}

impl From<SignInError> for PeopleError {
    fn from(error: SignInError) -> Self {
        Self::SignIn(error)
    }
}

/// A sign-in that was begun: what must be kept until the browser comes back.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Where to send the browser.
    pub url: Url,
    /// Comes back with the browser.
    pub state: String,
    /// Comes back in the id token.
    pub nonce: String,
    /// Proves that whoever redeems the code began the sign-in.
    pub verifier: SecretString,
}

/// Somebody who has signed in.
#[derive(Clone)]
pub struct SignedIn {
    /// Who.
    pub person: Verified,
    /// The person's tokens: the access token is for the blueprint where one is configured, else of
    /// no use here.
    pub tokens: Signed,
}

/// The people of one tenant, as they sign in to one application.
pub struct People {
    settings: config::SignIn,
    client: DeviceSignIn,
    keys: Keys,
    /// Ids and names of the agent: never a person's.
    agents: Vec<String>,
}

impl People {
    /// Asks nobody yet. `agents` are ids and names of this process's own agent.
    pub fn new(
        settings: &config::SignIn,
        agents: Vec<String>,
        http: reqwest::Client,
        clock: Clock,
    ) -> Arc<Self> {
        let authority = &settings.cloud.authority;
        let keys = Keys::new(http.clone(), clock.clone(), authority, &settings.tenant_id);
        let client = DeviceSignIn {
            http,
            clock,
            authority: authority.clone(),
            tenant: settings.tenant_id.clone(),
            client_id: settings.client_id.clone(),
        };
        Arc::new(Self { settings: settings.clone(), client, keys, agents })
    }

    /// The client for sign-in at the command line.
    pub fn device(&self) -> &DeviceSignIn {
        &self.client
    }

    /// What is asked of Entra: who it is, and where possible a token for acting on its behalf.
    pub fn scope(&self) -> String {
        match &self.settings.blueprint_id {
            Some(blueprint) => format!("openid profile offline_access api://{blueprint}/{ACCESS_SCOPE}"),
            None => "openid profile offline_access".to_owned(),
        }
    }

    /// Begins a sign-in that comes back to `redirect`; `hint` is the account to offer first.
    ///
    /// # Errors
    /// When Entra's metadata cannot be read.
    pub async fn begin(&self, redirect: &Url, hint: Option<&str>) -> Result<Begun, PeopleError> {
        let mut url = self.keys.published().await?.authorization_endpoint.clone();
        let (state, nonce, verifier) = (random()?, random()?, random()?);
        let challenge =
            URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes()));
        let scope = self.scope();
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs([
                ("client_id", self.settings.client_id.as_str()),
                ("response_type", "code"),
                ("response_mode", "query"),
                ("redirect_uri", redirect.as_str()),
                ("scope", &scope),
                ("state", &state),
                ("nonce", &nonce),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
            ]);
            if let Some(hint) = hint {
                query.append_pair("login_hint", hint);
            }
        }
        Ok(Begun { url, state, nonce, verifier: verifier.into() })
    }

    /// Redeems the code that came back, and checks who it is.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn finish(
        &self,
        code: &str,
        redirect: &Url,
        nonce: &str,
        verifier: &SecretString,
    ) -> Result<SignedIn, PeopleError> {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", self.settings.client_id.as_str()),
            ("code", code),
            ("redirect_uri", redirect.as_str()),
            ("code_verifier", verifier.expose_secret()),
        ];
        let raw: RawTokens = self.client.ask("token", &form).await.map_err(SignInError::from)?;
        self.signed_in(self.client.signed(raw), Some(nonce)).await
    }

    /// The same person later: still enabled, with the groups of now.
    ///
    /// # Errors
    /// [`PeopleError`]; a refusal of Entra means that the sign-in is over.
    pub async fn renew(&self, refresh: &SecretString) -> Result<SignedIn, PeopleError> {
        let signed = self.client.refresh(refresh, &self.scope()).await?;
        self.signed_in(signed, None).await
    }

    async fn signed_in(&self, signed: Signed, nonce: Option<&str>) -> Result<SignedIn, PeopleError> {
        let id_token = signed.id_token.as_ref();
        let id_token =
            id_token.ok_or_else(|| PeopleError::Token("is missing: Entra sent no id token".into()))?;
        let mut person = self.check(id_token.expose_secret(), &self.settings.client_id, nonce).await?;
        if person.groups == Groups::TooMany
            && let Some(refresh) = &signed.refresh_token
        {
            match self.all_groups(refresh).await {
                Ok(groups) => person.groups = Groups::Listed(groups),
                Err(error) => tracing::warn!(%error, "somebody's groups are not known and count as none"),
            }
        }
        Ok(SignedIn { person, tokens: signed })
    }

    async fn all_groups(&self, refresh: &SecretString) -> Result<Vec<String>, PeopleError> {
        let graph = &self.settings.cloud.graph;
        // Graph is asked for by its name, wherever it is reached.
        let signed = self.client.refresh(refresh, "https://graph.microsoft.com/User.Read").await?;
        groups::ask(&self.client.http, graph, &signed.access_token).await
    }

    /// Whose access token for us this is.
    ///
    /// # Errors
    /// [`PeopleError`]; an agent's token is told as such before anything else is looked at.
    pub async fn bearer(&self, token: &str) -> Result<Verified, PeopleError> {
        let Some(audience) = &self.settings.blueprint_id else {
            self.refuse_agents(token)?;
            return Err(PeopleError::Token(
                "is not taken: BLUEPRINT_ID is not set, so it has no audience here".into(),
            ));
        };
        self.check(token, audience, None).await
    }

    fn refuse_agents(&self, token: &str) -> Result<(), PeopleError> {
        let agents: Vec<&str> = self.agents.iter().map(String::as_str).collect();
        if Unchecked::read(token)?.is_agents(&agents) { Err(PeopleError::Agent) } else { Ok(()) }
    }

    async fn check(&self, token: &str, audience: &str, nonce: Option<&str>) -> Result<Verified, PeopleError> {
        self.refuse_agents(token)?;
        let unchecked = Unchecked::read(token)?;
        let published = self.keys.with_key(&unchecked.key_id).await?;
        let key = published.key(&unchecked.key_id);
        let key = key.ok_or_else(|| PeopleError::Token("is signed by an unknown key".into()))?;
        let tenant = &self.settings.tenant_id;
        // A resource may ask for tokens of version 1, whose issuer is another (TOKENS.md §2.7).
        let issuers = [published.issuer.clone(), format!("https://sts.windows.net/{tenant}/")];
        let now = self.client.clock.now();
        unchecked.check(key, &Expected { issuers: &issuers, tenant, audience, nonce, now })
    }
}

/// Whether `token` claims to be an agent's or an application's own; what cannot be read does not.
pub fn claims_to_be_an_agents(token: &str, agents: &[&str]) -> bool {
    Unchecked::read(token).is_ok_and(|token| token.is_agents(agents))
}

/// What Entra sent back instead of a code, in words.
pub fn refused(error: &str, description: &str) -> PeopleError {
    let refusal = super::sidecar::entra(description);
    match (error, refusal) {
        ("access_denied", None) => PeopleError::SignIn(SignInError::Declined),
        (_, Some(refusal)) if refusal.code == 65_004 => PeopleError::SignIn(SignInError::Declined),
        (_, Some(refusal)) => PeopleError::SignIn(SignInError::Refused(refusal)),
        (error, None) => PeopleError::Token(format!("was not given: {}", plain(error, MAX_TEXT_CHARS))),
    }
}

/// Whether two secrets are the same, without telling by its time where they differ.
pub fn same_secret(left: &str, right: &str) -> bool {
    token::same_text(left, right)
}

/// A random secret as text.
///
/// # Errors
/// [`PeopleError::Random`].
pub fn random() -> Result<String, PeopleError> {
    let mut bytes = [0; RANDOM_BYTES];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| PeopleError::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
