//! Builds the rooms from the settings, starts them, stops them.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::action::RepositoryRef;
use crate::agent::{Agent, PromptFacts};
use crate::clock::Clock;
use crate::config::{self, AgentUser, Config};
use crate::identity::{Audience, Identity};
use crate::journal::Journal;
use crate::model::{BearerSource, Model};
use crate::policy::{self, Policy};
use crate::tools::Toolbox;
use crate::worker::Worker;
use crate::{azure_devops, web};

/// The rooms of one process, ready to serve or to work.
pub struct App {
    /// The journal.
    pub journal: Journal,
    /// Works the queue.
    pub worker: Worker,
    config: Config,
    identity: Arc<Identity>,
    clock: Clock,
}

struct ModelBearer(Arc<Identity>);

impl BearerSource for ModelBearer {
    fn bearer(&self) -> BoxFuture<'_, anyhow::Result<SecretString>> {
        Box::pin(async { Ok(self.0.bearer(Audience::Model).await?) })
    }

    fn renew<'a>(&'a self, rejected: &'a SecretString) -> BoxFuture<'a, anyhow::Result<SecretString>> {
        Box::pin(async move { Ok(self.0.renew(Audience::Model, rejected).await?) })
    }
}

impl App {
    /// Builds everything; asks nobody outside yet. `public_url` is how people reach this process.
    ///
    /// # Errors
    /// When the policy is in doubt, the journal cannot be opened, or the trust store not be read.
    pub async fn build(config: Config, public_url: Url) -> anyhow::Result<Self> {
        let clock = Clock::Real;
        let http = config::http_client()?;
        let policy = Arc::new(load_policy(&config)?);
        let journal = Journal::open(&config.database_url, clock.clone()).await?;
        let identity = Identity::new(&config.identity, http.clone(), clock.clone());
        let bearer = Arc::new(ModelBearer(identity.clone()));
        let model = Model::new(&config.model, bearer, http.clone(), clock.clone());
        let azure = azure_devops::Client::new(&config.azure_devops, identity.clone(), http, clock.clone());
        let served = RepositoryRef {
            project: config.azure_devops.project.clone(),
            repository: config.azure_devops.repository.clone(),
        };
        let toolbox = Toolbox::new(azure, policy, served, public_url);
        let facts = PromptFacts {
            organization_url: config.azure_devops.organization_url.to_string(),
            agent_user: match &config.identity.agent_user {
                AgentUser::Username(name) => name.clone(),
                AgentUser::ObjectId(id) => id.to_string(),
            },
        };
        let agent = Agent::new(journal.clone(), model, toolbox, clock.clone(), facts)?;
        let worker = Worker::new(journal.clone(), Arc::new(agent));
        Ok(Self { journal, worker, config, identity, clock })
    }

    fn web_state(&self, closing: CancellationToken) -> web::State {
        let identity = self.identity.clone();
        web::State {
            journal: self.journal.clone(),
            clock: self.clock.clone(),
            config: self.config.web.clone(),
            organization: web::Organization {
                url: self.config.azure_devops.organization_url.clone(),
                project: self.config.azure_devops.project.clone(),
                repository: self.config.azure_devops.repository.clone(),
            },
            model: self.config.model.deployment.clone(),
            who: Arc::new(move || {
                let who = identity.who()?;
                Some(web::WhoShown {
                    agent_user: who.username.or(who.object_id)?,
                    agent_identity: who.agent_identity_id,
                    token_expires: who.expires_at,
                })
            }),
            ready: web::Ready::default(),
            closing,
        }
    }

    /// Serves the page and works the queue until `stop` is cancelled.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
        let state = self.web_state(stop.child_token());
        state.ready.set_worker(true);
        let tasks = TaskTracker::new();
        tasks.spawn(self.worker.clone().work(stop.clone()));
        tasks.spawn(verify_identity(self.identity.clone(), stop.clone()));
        let served = web::serve(listener, web::router(state), stop.clone()).await;
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        served.context("serving the page")
    }
}

fn load_policy(config: &Config) -> anyhow::Result<Policy> {
    match &config.policy_file {
        None => Ok(policy::parse(policy::DEFAULT_POLICY)?),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("POLICY_FILE names {}, which cannot be read", path.display()))?;
            policy::parse(&text).with_context(|| format!("in {}", path.display()))
        }
    }
}

/// Asks for a first token, so that the page can say who the co-worker is. A sidecar that is not up
/// yet is asked again when the first run needs it.
async fn verify_identity(identity: Arc<Identity>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        answer = identity.bearer(Audience::AzureDevOps) => if let Err(error) = answer {
            tracing::warn!(%error, remedy = %error.remedy(), "the co-worker's identity is not verified yet");
        }
    }
}

/// Binds a port and says plainly which one is taken and which option changes it.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn bind(address: SocketAddr, what: &str, option: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("port {} for {what} is taken; choose another with {option}", address.port())
        }
        _ => anyhow::anyhow!("{what} cannot listen on {address}: {error}; see {option}"),
    })
}
