//! Builds the rooms from the settings, starts them, stops them.

mod audit;
pub mod cli;
mod demo;
mod doctor;
mod login;
mod measure;
mod patience;
mod policies;
mod run;
mod setup;
mod token;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::action::RepositoryRef;
use crate::agent::{Agent, PromptFacts};
use crate::audit::{Notary, retention};
use crate::clock::Clock;
use crate::config::{self, AgentUser, Config};
use crate::doctor::Doctor;
use crate::http::{IN_PLACE, Quiet};
use crate::identity::people::People;
use crate::identity::{self, Audience, Identity, IdentityError};
use crate::journal::{self, Journal, Limits};
use crate::mask::{Masker, sanitise};
use crate::model::{BearerSource, Model, NoBearer};
use crate::policy::InForce;
use crate::tools::{Notifier, Toolbox};
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
    let done = match command {
        cli::Command::Demo(options) => demo::demo(options, stop).await,
        cli::Command::Serve => serve(stop).await,
        cli::Command::Run(options) => run::run(options, stop).await,
        cli::Command::Simulate(options) => demo::simulate(options, stop).await,
        cli::Command::Doctor(told) => doctor::doctor(&told).await,
        cli::Command::Setup(command) => setup::setup(command).await,
        cli::Command::Token(cli::Token::Show(told)) => token::show(&told).await,
        cli::Command::Backup(options) => backup(&options).await,
        cli::Command::Login => login::login(stop).await,
        cli::Command::Logout => login::logout(),
        cli::Command::Whoami(told) => login::whoami(&told).await,
        cli::Command::Policy(command) => policies::policy(&command).await,
        cli::Command::Audit(command) => audit::audit(command).await,
        cli::Command::Healthcheck => healthcheck().await,
    };
    // The collector is waited for, on a thread where that is no harm.
    let _ = tokio::task::spawn_blocking(telemetry::end).await;
    done
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
    let app = App::build(config.clone(), public_url(&config, listening), Clock::Real).await?;
    println!("ready http://{listening}");
    println!("organisation {organization}");
    println!("model {model}");
    app.serve(listener, stop).await.map(|()| 0)
}

/// Copies the journal while it may be in use.
async fn backup(options: &cli::Backup) -> anyhow::Result<u8> {
    let settings = config::Settings::read()?;
    let url = settings.get("DATABASE_URL").unwrap_or(config::DEFAULT_DATABASE);
    let bytes = journal::backup(url, &options.file).await?;
    println!("{} ({bytes} bytes)", options.file.display());
    Ok(0)
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
    people: Option<Arc<People>>,
    azure: azure_devops::Client,
    /// The pauses that the model, the sidecar and Azure DevOps asked for.
    quiet: Vec<Arc<Quiet>>,
    notary: Option<Notary>,
    http: reqwest::Client,
    clock: Clock,
}

struct ModelBearer(Arc<Identity>);

impl BearerSource for ModelBearer {
    fn bearer(&self) -> BoxFuture<'_, anyhow::Result<SecretString>> {
        Box::pin(async { self.0.bearer(Audience::Model).await.map_err(no_bearer) })
    }

    fn token_id(&self) -> Option<String> {
        self.0.token_id(Audience::Model)
    }

    fn renew<'a>(&'a self, rejected: &'a SecretString) -> BoxFuture<'a, anyhow::Result<SecretString>> {
        Box::pin(async move { self.0.renew(Audience::Model, rejected).await.map_err(no_bearer) })
    }
}

/// Tells the model's client whether waiting helps.
fn no_bearer(error: IdentityError) -> anyhow::Error {
    match error.is_transient() {
        true => error.into(),
        false => NoBearer { why: error.to_string(), remedy: error.remedy() }.into(),
    }
}

impl App {
    /// Whether an app can be built from `config`, as far as that is seen without opening anything.
    ///
    /// # Errors
    /// When the policy is in doubt, or a secret is one that cannot be hidden.
    fn check(config: &Config) -> anyhow::Result<()> {
        policies::load(config)?;
        Masker::new(own_secrets(config)).map(drop)?;
        Ok(())
    }

    /// Builds everything; asks nobody outside yet. `public_url` is how people reach this process,
    /// `clock` what it takes the time from.
    ///
    /// # Errors
    /// When the policy is in doubt, the journal cannot be opened, or the trust store not be read.
    pub async fn build(config: Config, public_url: Url, clock: Clock) -> anyhow::Result<Self> {
        telemetry::export(config.otlp_endpoint.as_ref())?;
        let http = config::http_client()?;
        let policy = Arc::new(InForce::new(policies::load(&config)?));
        let masker = Arc::new(Masker::new(own_secrets(&config))?);
        let key = audit::signing_key(&config)?;
        telemetry::hide_with(hider(masker.clone()));
        let journal = Journal::open(config.database_url.expose_secret(), clock.clone()).await?;
        let limits = Limits { model: config.model.deployment.clone(), ..Limits::default() };
        let journal = journal.limited(limits).cleaning(cleaner(masker.clone()));
        let notary = key.map(|key| Notary::new(journal.clone(), key, clock.clone()));
        let identity = Identity::new(&config.identity, http.clone(), clock.clone());
        let bearer = Arc::new(ModelBearer(identity.clone()));
        let model = Model::new(&config.model, bearer, http.clone(), clock.clone());
        // A longer pause lays a run aside instead of holding it.
        let azure = azure_devops::Client::with_patience(
            &config.azure_devops,
            identity.clone(),
            http.clone(),
            clock.clone(),
            IN_PLACE,
        );
        let quiet = vec![azure.quiet(), model.quiet(), identity.quiet()];
        let served = RepositoryRef {
            project: config.azure_devops.project.clone(),
            repository: config.azure_devops.repository.clone(),
        };
        let notifier = config.notify_url.clone();
        let notifier = notifier.map(|url| Notifier::new(url, http.clone(), clock.clone()));
        let toolbox = Toolbox::new(azure.clone(), policy.clone(), served, public_url, clock.clone(), masker)
            .notifying(notifier);
        let facts = PromptFacts {
            organization_url: config.azure_devops.organization_url.to_string(),
            agent_identity: config.identity.agent_identity_id.clone(),
            agent_user: match &config.identity.agent_user {
                AgentUser::Username(name) => name.clone(),
                AgentUser::ObjectId(id) => id.to_string(),
            },
        };
        let instructors = config.web.role_groups.of(config::Role::Instructor).to_vec();
        let agent = Agent::new(journal.clone(), model, toolbox, clock.clone(), facts, instructors)?;
        let worker = Worker::new(journal.clone(), Arc::new(agent));
        let sign_in = config.sign_in.as_ref();
        let people = sign_in.map(|own| People::new(own, own_names(&config), http.clone(), clock.clone()));
        Ok(Self { journal, worker, config, identity, policy, people, azure, quiet, notary, http, clock })
    }

    /// Asks Azure DevOps on a person's behalf, where the blueprint lets the agent identity do that.
    fn rights(&self) -> Option<web::Rights> {
        self.config.sign_in.as_ref()?.blueprint_id.as_ref()?;
        let (azure, project) = (self.azure.clone(), self.config.azure_devops.project.clone());
        Some(Arc::new(move |oid, token| {
            let (azure, project) = (azure.clone(), project.clone());
            Box::pin(async move {
                azure.is_seen_by(&project, &token, &oid).await.map_err(|error| {
                    tracing::warn!(%error, "somebody's own rights cannot be checked");
                    error.to_string()
                })
            })
        }))
    }

    fn web_state(&self, closing: CancellationToken) -> web::State {
        let identity = self.identity.clone();
        let blueprint = self.config.sign_in.as_ref().and_then(|own| own.blueprint_id.clone());
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
            model_key: self.config.model.api_key.is_some(),
            people: self.people.clone(),
            agents: own_names(&self.config).into(),
            rights: self.rights(),
            who: Arc::new(move || {
                let who = identity.who()?;
                let shown = |claim: identity::Claim| web::ClaimShown {
                    name: claim.name,
                    value: claim.value,
                    meaning: claim.meaning,
                };
                Some(web::WhoShown {
                    agent_user: who.username.or_else(|| who.object_id.clone())?,
                    agent_user_id: who.object_id,
                    agent_identity: who.agent_identity_id,
                    blueprint: who.blueprint_id.or_else(|| blueprint.clone()),
                    has_agent_facets: who.has_agent_facets,
                    claims: identity.claims().into_iter().map(shown).collect(),
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

    /// Serves the page and works the queue, as far as its role says, until `stop` is cancelled; then
    /// takes nothing more, and lets go of what is under way.
    ///
    /// # Errors
    /// When the listener fails, or the disk of the journal.
    pub async fn serve(mut self, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
        // Port 0 in the settings is another one by now.
        self.config.web.listen_address = listener.local_addr()?;
        let state = self.web_state(stop.child_token());
        let tasks = TaskTracker::new();
        if !self.config.duty.serves() && self.config.web.public_url.is_none() {
            tracing::warn!("PUBLIC_URL is not set: a worker has no page, and its links to runs lead nowhere");
        }
        if self.config.duty.works() {
            state.ready.up("worker");
            tasks.spawn(self.worker.clone().work(stop.clone()));
            tasks.spawn(self.worker.clone().watch(self.config.triggers, stop.clone()));
        }
        tasks.spawn(retention::work(self.journal.clone(), self.clock.clone(), stop.clone()));
        if let Some(notary) = self.notary.clone() {
            tasks.spawn(notary.work(stop.clone()));
        }
        tasks.spawn(policies::watch(self.policy.clone(), self.config.clone(), stop.clone()));
        tasks.spawn(verify_identity(self.identity.clone(), stop.clone()));
        tasks.spawn(patience::share(
            self.journal.clone(),
            self.quiet.clone(),
            self.clock.clone(),
            stop.clone(),
        ));
        tasks.spawn(measure::measure(self.journal.clone(), self.clock.clone(), stop.clone()));
        let router = if self.config.duty.serves() { web::router(state) } else { web::health_router(state) };
        let served = tokio::select! {
            served = web::serve(listener, router, stop.clone()) => served,
            // No draining: what could be written now would not be there afterwards.
            why = self.journal.failure() => anyhow::bail!(
                "the disk of the journal failed ({why}); the process ends, because what it wrote last may not be \
                 there. Check the disk, then start it again: it goes on from what is on the disk."
            ),
        };
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        served.context("serving the page")
    }
}

/// Ids and names of the agent: a token that names one is not a person's.
fn own_names(config: &Config) -> Vec<String> {
    let user = match &config.identity.agent_user {
        AgentUser::Username(name) => name.clone(),
        AgentUser::ObjectId(id) => id.to_string(),
    };
    vec![config.identity.agent_identity_id.clone(), user]
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
    // Only a password in it is a secret, but it is the whole that must not be seen.
    let database = Some(("database-url", config.database_url.clone()))
        .filter(|(_, url)| url.expose_secret().starts_with("postgres"));
    key.into_iter().chain(webhook).chain(database).collect()
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
