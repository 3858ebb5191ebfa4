//! The simulated outside world: an Azure DevOps organisation, an auth sidecar, a model.
//!
//! Purpose: separate HTTP servers on loopback that behave as the real ones, for the demo and the
//! tests. Invariant: nothing but HTTP leads in or out; it imports nothing of ours but the clock.
//! It must never know that an agent exists.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

pub mod azure_devops;
pub mod entra;
pub mod model;
pub mod seed;
pub mod sidecar;
pub mod tokens;

pub use azure_devops::Webhook;

use crate::clock::Clock;
use tokens::Authority;

/// Servers get this long to finish what they are doing at shutdown.
const SHUTDOWN_TIME: Duration = Duration::from_secs(3);

/// How to start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to listen on.
    pub listen: IpAddr,
    /// Port of the organisation; 0 for any free one.
    pub organization_port: u16,
    /// Port of Entra and Graph; 0 for any free one.
    pub entra_port: u16,
    /// Port of the sidecar; 0 for any free one.
    pub sidecar_port: u16,
    /// Port of the stand-in model; 0 for any free one.
    pub model_port: u16,
    /// Folder of the state.
    pub data: PathBuf,
    /// A saved folder to start from.
    pub load: Option<PathBuf>,
    /// Clock of everything simulated.
    pub clock: Clock,
    /// Pace of the stand-in model, per word.
    pub pace: Duration,
    /// Where service hooks go.
    pub webhook: Option<Webhook>,
    /// Seed of ids and of what is random.
    pub seed: u64,
    /// Whether the co-worker exists in tenant and organisation; without, it is the world before
    /// `setup`. What is kept in the folder wins.
    pub provisioned: bool,
}

/// Running servers.
pub struct Running {
    /// Address of the organisation, `http://127.0.0.1:4193/contoso`.
    pub organization_url: Url,
    /// Address of Entra and Graph.
    pub entra_url: Url,
    /// Address of the sidecar.
    pub sidecar_url: Url,
    /// Address of the stand-in model.
    pub model_url: Url,
    /// The organisation's state, for pages and tests of the simulator itself.
    pub organisation: azure_devops::state::Organisation,
    /// Who mints tokens.
    pub authority: Arc<Authority>,
    tenant: Arc<entra::Entra>,
    data: PathBuf,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts the organisation, Entra, the sidecar and the stand-in model.
///
/// # Errors
/// When a port is taken (the text names it and the server that wanted it) or the data folder
/// cannot be used.
pub async fn start(settings: Settings) -> anyhow::Result<Running> {
    let organization = bind(settings.listen, settings.organization_port, "simulated organisation").await?;
    let entra = bind(settings.listen, settings.entra_port, "simulated Entra").await?;
    let sidecar = bind(settings.listen, settings.sidecar_port, "simulated sidecar").await?;
    let model = bind(settings.listen, settings.model_port, "stand-in model").await?;
    let authority = Authority::new(settings.clock.clone())?;
    let origin = format!("http://{}", reachable(organization.local_addr()?));
    let opening = azure_devops::Origin {
        data: settings.data.clone(),
        load: settings.load,
        base: format!("{origin}/{}", azure_devops::state::seed::ORGANIZATION),
        clock: settings.clock.clone(),
        seed: settings.seed,
        webhook: settings.webhook,
        files: seed::web_shop(),
        provisioned: settings.provisioned,
    };
    if let Some(from) = &opening.load {
        entra::bring(from, &settings.data).context("cannot load the simulated tenant")?;
    }
    let organisation = tokio::task::spawn_blocking(move || azure_devops::open(opening)).await??;
    let host = azure_devops::host(organisation.clone(), authority.clone(), origin.clone());
    let (stop, stopped) = watch::channel(false);
    let organization_url = Url::parse(&format!("{origin}/{}", organisation.lock().organization))?;
    let sidecar_url = Url::parse(&format!("http://{}", reachable(sidecar.local_addr()?)))?;
    let model_url = Url::parse(&format!("http://{}", reachable(model.local_addr()?)))?;
    let entra_url = Url::parse(&format!("http://{}", reachable(entra.local_addr()?)))?;
    let kept = Some(settings.data.clone());
    let tenant = entra::Settings { base: entra_url.clone(), provisioned: settings.provisioned, data: kept };
    let tenant = entra::Entra::new(authority.clone(), &tenant)?;
    organisation.lock().connect(members_of(tenant.clone()));
    let connected = sidecar::Settings::connected(settings.clock.clone(), &tenant)?;
    let sidecar_routes = sidecar::router(authority.clone(), connected);
    let model_routes = model::router(settings.pace, settings.clock.clone(), authority.clone());
    let faults = host.faults.clone();
    let work = organisation.clone();
    let tasks = vec![
        tokio::spawn(serve_organisation(organization, azure_devops::router(host), stopped.clone())),
        tokio::spawn(serve(entra, entra::router(tenant.clone()), stopped.clone())),
        tokio::spawn(until_stopped(stopped.clone(), entra::keep(tenant.clone(), settings.data.clone()))),
        tokio::spawn(serve(sidecar, sidecar_routes, stopped.clone())),
        tokio::spawn(serve(model, model_routes, stopped.clone())),
        tokio::spawn(until_stopped(stopped.clone(), async move {
            if let Err(error) = azure_devops::run(work, faults).await {
                tracing::error!(%error, "the simulated organisation's worker ended");
            }
        })),
        tokio::spawn(until_stopped(stopped, azure_devops::keep(organisation.clone(), settings.data.clone()))),
    ];
    let data = settings.data;
    Ok(Running {
        organization_url,
        entra_url,
        sidecar_url,
        model_url,
        organisation,
        authority,
        tenant,
        data,
        stop,
        tasks,
    })
}

/// The people of `tenant`, for the organisation that is connected to it.
fn members_of(tenant: Arc<entra::Entra>) -> azure_devops::state::members::Tenant {
    Arc::new(move |wanted| {
        let (id, account, display_name) = tenant.find_user(wanted)?;
        let object_id = uuid::Uuid::try_parse(&id).ok()?;
        Some(azure_devops::state::members::Found { object_id, account, display_name })
    })
}

impl Running {
    /// Ends all servers and saves the state.
    ///
    /// # Errors
    /// When the state cannot be saved.
    pub async fn shutdown(self) -> anyhow::Result<()> {
        // Nobody may be left to hear it.
        let _ = self.stop.send(true);
        for mut task in self.tasks {
            if tokio::time::timeout(SHUTDOWN_TIME, &mut task).await.is_err() {
                task.abort();
            }
        }
        tokio::task::spawn_blocking(move || {
            azure_devops::storage::save(&self.organisation, &self.data)?;
            self.tenant.save(&self.data)
        })
        .await?
    }

    /// Writes the state and the repositories into another folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_to(&self, folder: &std::path::Path) -> anyhow::Result<()> {
        azure_devops::storage::save_to(&self.organisation, folder)?;
        self.tenant.save(folder)
    }
}

async fn bind(listen: IpAddr, port: u16, who: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind((listen, port)).await.with_context(|| {
        format!(
            "port {port} on {listen} is taken or not allowed, and the {who} wants it; choose another port"
        )
    })
}

/// The address under which a listener can be reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        _ => address,
    }
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is as good as a stop.
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn until_stopped(stopped: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = wait(stopped) => {}
    }
}

async fn serve(listener: TcpListener, router: Router, stopped: watch::Receiver<bool>) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(wait(stopped)).await {
        tracing::error!(%error, "a simulated server ended");
    }
}

async fn serve_organisation(listener: TcpListener, router: Router, stopped: watch::Receiver<bool>) {
    let service = router.into_make_service_with_connect_info::<azure_devops::Connection>();
    let served = axum::serve(azure_devops::Wire(listener), service).with_graceful_shutdown(wait(stopped));
    if let Err(error) = served.await {
        tracing::error!(%error, "the simulated organisation ended");
    }
}
