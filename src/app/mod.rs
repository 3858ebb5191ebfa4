//! Builds the rooms from the settings, starts them, stops them.

pub mod cli;
mod demo;
mod doctor;
mod policies;
mod run;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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
use crate::doctor::Doctor;
use crate::identity::{Audience, Identity};
use crate::journal::Journal;
use crate::mask::{Masker, sanitise};
use crate::model::{BearerSource, Model};
use crate::policy::InForce;
use crate::tools::Toolbox;
use crate::weaken::{Defence, off};
use crate::worker::Worker;
use crate::{azure_devops, telemetry, web};

/// Longest wait for an answer to a health check.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Does a command. Gives the exit status (CONTRACTS).
///
/// # Errors
/// What kept it from being done; faults in the settings are [`config::Faults`].
pub async fn run_command(command: cli::Command) -> anyhow::Result<u8> {
    config::install_tls();
    let log = config::Settings::read().ok().and_then(|settings| settings.get("LOG").map(str::to_owned));
    telemetry::start(log.as_deref())?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    match command {
        cli::Command::Demo(options) => demo::demo(options, stop).await,
        cli::Command::Serve => serve(stop).await,
        cli::Command::Run(options) => run::run(options, stop).await,
        cli::Command::Simulate(options) => demo::simulate(options, stop).await,
        cli::Command::Doctor(told) => doctor::doctor(&told).await,
        cli::Command::Token(cli::Token::Show(told)) => doctor::show_token(&told).await,
        cli::Command::Policy(command) => policies::policy(&command).await,
        cli::Command::Healthcheck => healthcheck().await,
    }
}

async fn stop_on_signal(stop: CancellationToken) {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
    stop.cancel();
}

async fn serve(stop: CancellationToken) -> anyhow::Result<u8> {
    let config = config::Settings::read()?.check()?;
    let listener = bind(config.web.listen_address, "the page", "LISTEN_ADDRESS").await?;
    let listening = listener.local_addr()?;
    let (organization, model) =
        (config.azure_devops.organization_url.clone(), config.model.deployment.clone());
    let app = App::build(config.clone(), public_url(&config, listening)).await?;
    println!("ready http://{listening}");
    println!("organisation {organization}");
    println!("model {model}");
    app.serve(listener, stop).await.map(|()| 0)
}

/// How people reach this process.
fn public_url(config: &Config, listening: SocketAddr) -> Url {
    let own = || Url::parse(&format!("http://{listening}/")).ok();
    match config.web.public_url.clone().or_else(own) {
        Some(url) => url,
        // A socket address always makes a URL.
        None => config.azure_devops.organization_url.clone(),
    }
}

/// Asks the serving process whether it is ready, and the sidecar whether it lives.
async fn healthcheck() -> anyhow::Result<u8> {
    let config = config::Settings::read()?.check()?;
    let http = config::http_client()?;
    let page = format!("http://{}/readyz", config.web.listen_address);
    let sidecar = config.identity.sidecar_url.join("/healthz")?.to_string();
    for url in [page, sidecar] {
        // The sidecar's first family wants this name (SIDECAR.md §6).
        let answer = http.get(&url).header("host", "localhost").timeout(HEALTH_TIMEOUT).send().await;
        let status = answer.with_context(|| format!("asking {url}"))?.status();
        anyhow::ensure!(status.is_success(), "{url} answered {status}");
    }
    println!("well");
    Ok(0)
}

/// The rooms of one process, ready to serve or to work.
pub struct App {
    /// The journal.
    pub journal: Journal,
    /// Works the queue.
    pub worker: Worker,
    config: Config,
    identity: Arc<Identity>,
    policy: Arc<InForce>,
    http: reqwest::Client,
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
        let policy = Arc::new(InForce::new(policies::load(&config)?));
        let masker = Arc::new(Masker::new(own_secrets(&config))?);
        telemetry::hide_with(hider(masker.clone()));
        let journal = Journal::open(&config.database_url, clock.clone()).await?.cleaning(cleaner(masker.clone()));
        let identity = Identity::new(&config.identity, http.clone(), clock.clone());
        let bearer = Arc::new(ModelBearer(identity.clone()));
        let model = Model::new(&config.model, bearer, http.clone(), clock.clone());
        let azure =
            azure_devops::Client::new(&config.azure_devops, identity.clone(), http.clone(), clock.clone());
        let served = RepositoryRef {
            project: config.azure_devops.project.clone(),
            repository: config.azure_devops.repository.clone(),
        };
        let toolbox = Toolbox::new(azure, policy.clone(), served, public_url, clock.clone(), masker);
        let facts = PromptFacts {
            organization_url: config.azure_devops.organization_url.to_string(),
            agent_user: match &config.identity.agent_user {
                AgentUser::Username(name) => name.clone(),
                AgentUser::ObjectId(id) => id.to_string(),
            },
        };
        let agent = Agent::new(journal.clone(), model, toolbox, clock.clone(), facts)?;
        let worker = Worker::new(journal.clone(), Arc::new(agent));
        Ok(Self { journal, worker, config, identity, policy, http, clock })
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
            policy: self.policy.clone(),
            doctor: doctor::for_page(Doctor::new(
                self.config.clone(),
                self.policy.get(),
                self.http.clone(),
                self.clock.clone(),
                Some(self.journal.clone()),
            )),
            ready: web::Ready::default(),
            closing,
        }
    }

    /// Serves the page and works the queue until `stop` is cancelled.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(mut self, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
        // Port 0 in the settings is another one by now.
        self.config.web.listen_address = listener.local_addr()?;
        let state = self.web_state(stop.child_token());
        state.ready.up("worker");
        let tasks = TaskTracker::new();
        tasks.spawn(self.worker.clone().work(stop.clone()));
        tasks.spawn(policies::watch(self.policy.clone(), self.config.clone(), stop.clone()));
        tasks.spawn(verify_identity(self.identity.clone(), stop.clone()));
        let served = web::serve(listener, web::router(state), stop.clone()).await;
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        served.context("serving the page")
    }
}

/// Words of people as they are kept: without hidden characters and comments, secrets and look-alikes
/// of placeholders.
fn cleaner(masker: Arc<Masker>) -> crate::journal::Cleaner {
    Arc::new(move |text| {
        let seen = match off(Defence::SanitiseIn) {
            true => text.to_owned(),
            false => sanitise::incoming(text, sanitise::Kind::Prose).text,
        };
        if off(Defence::Mask) { seen } else { masker.typed(&seen) }
    })
}

/// Hides secrets in log lines.
fn hider(masker: Arc<Masker>) -> telemetry::Hide {
    Box::new(move |line| masker.redact(line).into_owned())
}

/// The secrets that this process was given: never to be seen in what it reads or writes.
fn own_secrets(config: &Config) -> Vec<(&'static str, SecretString)> {
    let key = config.model.api_key.clone().map(|key| ("model-key", key));
    let webhook = config.web.webhook.as_ref().map(|hook| ("webhook-password", hook.password.clone()));
    key.into_iter().chain(webhook).collect()
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
