//! Which legs a request needs, and the tokens that are kept between requests (SIDECAR.md §4.2 and §9).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::entra::{Fields, Granted, ask, assertion, credential};
use super::problem::Failure;
use super::wanted::{AgentUser, Wanted};
use super::{Settings, Sidecar, Version};
use crate::clock::add;

/// A kept token is given out until this long before it expires, in seconds.
const MARGIN_SECONDS: i64 = 300;
/// Most tokens kept.
const MAX_KEPT: usize = 200;
/// The scope of exchange tokens.
const EXCHANGE_SCOPE: &str = "api://AzureADTokenExchange/.default";
/// What the library adds to the scopes of a user.
const OPENID_SCOPES: &str = "openid profile offline_access";

/// Tokens in memory; a restart empties it.
#[derive(Default)]
pub struct Cache(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    kept: HashMap<String, Kept>,
    /// How often everything was forgotten.
    cleared: u64,
}

#[derive(Clone)]
struct Kept {
    token: String,
    until: Timestamp,
    refresh: Option<String>,
}

impl Cache {
    /// Forgets everything.
    pub fn clear(&self) {
        let mut shelf = self.shelf();
        shelf.kept.clear();
        shelf.cleared += 1;
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cleared(&self) -> u64 {
        self.shelf().cleared
    }

    fn get(&self, key: &str) -> Option<Kept> {
        self.shelf().kept.get(key).cloned()
    }

    fn fresh(&self, key: &str, now: Timestamp) -> Option<String> {
        self.get(key).filter(|kept| kept.until > now).map(|kept| kept.token)
    }

    /// Keeps a token that was asked for when everything had been forgotten `cleared` times. One that
    /// was under way while everything was forgotten belongs to what is forgotten.
    fn keep(&self, key: String, granted: &Granted, now: Timestamp, cleared: u64) {
        let seconds = u64::try_from(granted.expires_in - MARGIN_SECONDS).unwrap_or(0);
        let kept = Kept {
            token: granted.access_token.clone(),
            until: add(now, Duration::from_secs(seconds)),
            refresh: granted.refresh_token.clone(),
        };
        let mut shelf = self.shelf();
        if shelf.cleared != cleared {
            return;
        }
        if shelf.kept.len() >= MAX_KEPT {
            shelf.kept.clear();
        }
        shelf.kept.insert(key, kept);
    }
}

/// One request on its way through the legs.
struct Walk<'a> {
    sidecar: &'a Sidecar,
    settings: &'a Settings,
    http: &'a reqwest::Client,
    tenant: &'a str,
    scope: String,
    wanted: &'a Wanted,
    /// How often the cache had been cleared when it set out.
    cleared: u64,
}

impl Sidecar {
    /// A token for profile `api`, as wanted; `caller` is the inbound token.
    pub(super) async fn acquire(
        &self,
        settings: &Settings,
        api: &str,
        wanted: &Wanted,
        caller: Option<&str>,
    ) -> Result<String, Failure> {
        let profile = settings.profiles.iter().find(|profile| profile.name == api);
        let configured = profile.and_then(|profile| profile.audience.as_deref());
        let scope = match (wanted.scopes.is_empty(), configured) {
            (false, _) => wanted.scopes.join(" "),
            (true, Some(audience)) => format!("{audience}/.default"),
            (true, None) => return Err(Failure::NoScopes),
        };
        let app = wanted.app_token || profile.is_some_and(|profile| profile.request_app_token);
        let walk = Walk {
            sidecar: self,
            settings,
            http: self.http()?,
            tenant: wanted.tenant.as_deref().unwrap_or(&settings.tenant_id),
            scope,
            wanted,
            cleared: self.cache.cleared(),
        };
        match (&wanted.agent, &wanted.user, caller) {
            (None, _, _) if app => walk.blueprint().await,
            (Some(agent), _, _) if app => walk.agent(agent, &walk.scope, wanted.force).await,
            (Some(agent), Some(user), _) => walk.agent_user(agent, user).await,
            (agent, _, Some(token)) => walk.on_behalf_of(agent.as_deref(), token).await,
            (_, None, None) | (None, Some(_), None) => Err(Failure::NoAccount),
        }
    }
}

impl Walk<'_> {
    fn now(&self) -> Timestamp {
        self.settings.clock.now()
    }

    async fn ask(&self, mut fields: Fields, proof: Fields) -> Result<Granted, Failure> {
        fields.extend(proof);
        // The agent user's path does not read the correlation id (SIDECAR.md §4.3).
        let correlation = self.wanted.correlation.filter(|_| self.wanted.user.is_none());
        ask(self.http, self.settings, self.tenant, &fields, correlation).await
    }

    /// The token that `fields` bring, kept under `key`.
    async fn fetch(&self, key: String, fields: Fields, proof: Fields) -> Result<String, Failure> {
        let granted = self.ask(fields, proof).await?;
        self.sidecar.cache.keep(key, &granted, self.now(), self.cleared);
        Ok(granted.access_token)
    }

    /// The blueprint's own token.
    async fn blueprint(&self) -> Result<String, Failure> {
        let path = self.wanted.fmi_path.as_deref();
        let (client, for_whom) = (&self.settings.client_id, path.unwrap_or_default());
        let key = format!("app {client} {} {} {for_whom}", self.tenant, self.scope);
        if let Some(token) = self.sidecar.cache.fresh(&key, self.now()).filter(|_| !self.wanted.force) {
            return Ok(token);
        }
        let mut fields = client_credentials(client, &self.scope);
        fields.extend(path.map(|path| ("fmi_path", path.to_owned())));
        self.fetch(key, fields, credential(self.http, self.settings).await?).await
    }

    /// T1: the blueprint's token for the agent identity. Kept, also when a refresh is forced: the
    /// force is for the token at the end.
    async fn first(&self, agent: &str) -> Result<String, Failure> {
        let key = format!("t1 {} {agent} {}", self.settings.client_id, self.tenant);
        if let Some(token) = self.sidecar.cache.fresh(&key, self.now()) {
            return Ok(token);
        }
        let mut fields = client_credentials(&self.settings.client_id, EXCHANGE_SCOPE);
        fields.push(("fmi_path", agent.to_owned()));
        self.fetch(key, fields, credential(self.http, self.settings).await?).await
    }

    /// A token of the agent identity as an application; T2 with the exchange scope.
    async fn agent(&self, agent: &str, scope: &str, force: bool) -> Result<String, Failure> {
        let key = format!("app {agent} {} {scope}", self.tenant);
        if let Some(token) = self.sidecar.cache.fresh(&key, self.now()).filter(|_| !force) {
            return Ok(token);
        }
        let first = self.first(agent).await?;
        self.fetch(key, client_credentials(agent, scope), assertion(first)).await
    }

    /// The agent user's token: silently when that is possible, else by the three legs.
    async fn agent_user(&self, agent: &str, user: &AgentUser) -> Result<String, Failure> {
        let key = format!("user {agent}:{}:{} {}", user.key(), self.tenant.to_uppercase(), self.scope);
        // Whether 1.0.0 finds a kept token here is not known; it is taken not to.
        if self.settings.version == Version::V1_1 && !self.wanted.force {
            if let Some(token) = self.sidecar.cache.fresh(&key, self.now()) {
                return Ok(token);
            }
            if let Some(refresh) = self.sidecar.cache.get(&key).and_then(|kept| kept.refresh) {
                match self.refreshed(agent, refresh, &key).await {
                    // Somebody would have to answer a prompt, and nobody is there: the legs decide.
                    Err(Failure::Entra { .. }) => {}
                    outcome => return outcome,
                }
            }
        }
        let first = self.first(agent).await?;
        let second = self.agent(agent, EXCHANGE_SCOPE, false).await?;
        let (name, value) = match user {
            AgentUser::Name(name) => ("username", name.clone()),
            AgentUser::Id(id) => ("user_id", id.to_string()),
        };
        let fields = vec![
            ("grant_type", "user_fic".to_owned()),
            ("client_id", agent.to_owned()),
            ("scope", format!("{} {OPENID_SCOPES}", self.scope)),
            ("user_federated_identity_credential", second),
            ("requested_token_use", "on_behalf_of".to_owned()),
            (name, value),
        ];
        self.fetch(key, fields, assertion(first)).await
    }

    async fn refreshed(&self, agent: &str, refresh: String, key: &str) -> Result<String, Failure> {
        let first = self.first(agent).await?;
        let fields = vec![
            ("grant_type", "refresh_token".to_owned()),
            ("client_id", agent.to_owned()),
            ("scope", format!("{} {OPENID_SCOPES}", self.scope)),
            ("refresh_token", refresh),
        ];
        self.fetch(key.to_owned(), fields, assertion(first)).await
    }

    /// A token of the person who calls, for the agent identity or for the blueprint itself.
    async fn on_behalf_of(&self, agent: Option<&str>, caller: &str) -> Result<String, Failure> {
        let client = agent.unwrap_or(&self.settings.client_id);
        let hash = ring::digest::digest(&ring::digest::SHA256, caller.as_bytes());
        let hash = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, hash);
        let key = format!("obo {client} {} {} {hash}", self.tenant, self.scope);
        if let Some(token) = self.sidecar.cache.fresh(&key, self.now()).filter(|_| !self.wanted.force) {
            return Ok(token);
        }
        let proof = match agent {
            Some(agent) => assertion(self.first(agent).await?),
            None => credential(self.http, self.settings).await?,
        };
        let fields = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()),
            ("client_id", client.to_owned()),
            ("scope", format!("{} {OPENID_SCOPES}", self.scope)),
            ("assertion", caller.to_owned()),
            ("requested_token_use", "on_behalf_of".to_owned()),
        ];
        self.fetch(key, fields, proof).await
    }
}

fn client_credentials(client: &str, scope: &str) -> Fields {
    vec![
        ("grant_type", "client_credentials".to_owned()),
        ("client_id", client.to_owned()),
        ("scope", scope.to_owned()),
    ]
}
