//! `demo` and `simulate`: the outside world on this machine.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{App, bind, cli};
use crate::clock::Clock;
use crate::config::{self, Config, Settings};
use crate::simulator::{self, tokens};

/// The sentence that stands in the box at first.
const SUGGESTION: &str =
    "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it.";
/// What else the first page offers, with what happens then.
const OFFERS: [(&str, &str); 2] = [
    (
        "Add a lint step to azure-pipelines.yml.",
        "Asks: a rule leaves build definitions to a person. Approve it as alice.",
    ),
    ("Push a change of the README straight to main.", "Is refused: no rule file can allow it."),
];
/// The person at the page who is not signed in (CONTRACTS).
const LOCAL_PERSON: &str = "bob";
/// User name of the simulated organisation's webhooks.
const WEBHOOK_USERNAME: &str = "azure-devops";

/// Runs the demo until `stop`.
pub(super) async fn demo(options: cli::Demo, stop: CancellationToken) -> anyhow::Result<u8> {
    let given = Settings::read()?;
    // Before anything is made: a folder half made for settings that cannot be used helps nobody.
    App::check(&settings(&given, &Addresses::unknown()?, &options.data, "not made yet")?)?;
    std::fs::create_dir_all(&options.data).with_context(|| format!("making {}", options.data.display()))?;
    let listener = bind(SocketAddr::new(options.listen, options.port), "the page", "--port").await?;
    let listening = listener.local_addr()?;
    let page = page_url(listening)?;
    let password = uuid::Uuid::new_v4().simple().to_string();
    let organization = options.data.join("organization");
    let running = start(simulator::Settings {
        webhook: Some(simulator::Webhook {
            url: page.join("/webhooks/azure-devops")?,
            username: WEBHOOK_USERNAME.into(),
            password: password.clone(),
        }),
        ..simulation(options.listen, options.simulator_port, &organization, options.pace)
    })
    .await?;
    let mut config = settings(&given, &Addresses::of(&running), &options.data, &password)?;
    let real = given.get("AZURE_OPENAI_ENDPOINT").is_some();
    config.web.listen_address = listening;
    config.web.public_url = Some(page.clone());
    config.web.local_person = LOCAL_PERSON.into();
    config.web.always_local = true;
    config.web.suggestion = Some(SUGGESTION.into());
    config.web.offers = OFFERS.map(|(text, what)| (text.to_owned(), what.to_owned())).to_vec();
    config.web.notice = Some(given.get("NOTICE").map_or_else(|| notice(real, &config), str::to_owned));
    let deployment = config.model.deployment.clone();
    let app = App::build(config, page.clone(), Clock::Real).await?;
    let told = stop.clone();
    let told = tokio::spawn(async move {
        println!("ready {}", page.as_str().trim_end_matches('/'));
        println!("organisation {} (simulated; sign in as alice, bob or carol)", running.organization_url);
        match real {
            true => println!("model {deployment}"),
            false => println!("model {deployment} (a scripted stand-in, not an AI)"),
        }
        told.cancelled().await;
        running
    });
    let served = app.serve(listener, stop.clone()).await;
    stop.cancel();
    told.await.context("ending the simulation")?.shutdown().await?;
    served.map(|()| 0)
}

async fn start(settings: simulator::Settings) -> anyhow::Result<simulator::Running> {
    simulator::start(settings)
        .await
        .context("the simulation cannot start; --simulator-port changes its ports")
}

fn page_url(listening: SocketAddr) -> anyhow::Result<Url> {
    // A wildcard address is not one that a browser can open.
    let host = match listening.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    Ok(Url::parse(&format!("http://{host}:{}/", listening.port()))?)
}

fn simulation(listen: IpAddr, port: u16, data: &Path, pace: u64) -> simulator::Settings {
    // CONTRACTS: organisation, then Entra, sidecar, stand-in model on the ports after it.
    let after = |n: u16| if port == 0 { 0 } else { port.saturating_add(n) };
    simulator::Settings {
        listen,
        organization_port: port,
        entra_port: after(1),
        sidecar_port: after(2),
        model_port: after(3),
        data: data.to_path_buf(),
        load: None,
        clock: Clock::Real,
        pace: Duration::from_millis(pace),
        webhook: None,
        seed: 1,
        provisioned: true,
    }
}

/// Where the simulated servers are.
struct Addresses {
    organization: Url,
    entra: Url,
    sidecar: Url,
    model: Url,
}

impl Addresses {
    /// Those of no server: what stands in while settings are only checked.
    fn unknown() -> anyhow::Result<Self> {
        let nowhere = Url::parse("http://127.0.0.1:1/")?;
        Ok(Self {
            organization: nowhere.join("organization")?,
            entra: nowhere.clone(),
            sidecar: nowhere.clone(),
            model: nowhere,
        })
    }

    fn of(running: &simulator::Running) -> Self {
        Self {
            organization: running.organization_url.clone(),
            entra: running.entra_url.clone(),
            sidecar: running.sidecar_url.clone(),
            model: running.model_url.clone(),
        }
    }
}

/// The settings of a co-worker in the simulated organisation. It is told base URLs and ids, as it
/// would be told those of a real one.
fn settings(
    given: &Settings,
    addresses: &Addresses,
    data: &Path,
    webhook_password: &str,
) -> anyhow::Result<Config> {
    let mut settings = given.clone();
    let database = format!("sqlite:{}", data.join("ado-coworker.db").display());
    for (name, value) in [
        ("AZURE_DEVOPS_ORGANIZATION_URL", addresses.organization.as_str()),
        ("AZURE_DEVOPS_PROJECT", "Fabrikam"),
        ("AZURE_DEVOPS_REPOSITORY", "web-shop"),
        ("SIDECAR_URL", addresses.sidecar.as_str()),
        ("AZURE_TENANT_ID", tokens::TENANT_ID),
        ("AGENT_IDENTITY_ID", tokens::AGENT_IDENTITY_ID),
        ("AGENT_USERNAME", tokens::AGENT_USER_UPN),
        ("SIGN_IN_CLIENT_ID", simulator::entra::SIGN_IN_CLIENT_ID),
        ("BLUEPRINT_ID", tokens::BLUEPRINT_ID),
        ("AZURE_AUTHORITY_HOST", addresses.entra.as_str()),
        ("GRAPH_URL", addresses.entra.as_str()),
        ("ROLE_GROUPS", &role_groups()),
        ("AGENT_OWNER", "alice@contoso.example"),
        ("AGENT_SPONSOR", "alice@contoso.example"),
        ("WEBHOOK_USERNAME", WEBHOOK_USERNAME),
        ("WEBHOOK_PASSWORD", webhook_password),
        ("DATABASE_URL", &database),
    ] {
        settings.set(name, value);
    }
    for name in ["AGENT_USER_ID", "LISTEN_ADDRESS", "PUBLIC_URL"] {
        settings.unset(name);
    }
    settings.default_to("AZURE_OPENAI_ENDPOINT", addresses.model.as_str());
    settings.default_to("AZURE_OPENAI_DEPLOYMENT", "stand-in");
    Ok(settings.check()?)
}

/// Who may what in the simulated tenant: alice approves and administers, carol approves and reads the
/// record. Nothing narrows who instructs: everybody who signs in, and in Azure DevOps the people of
/// the project.
fn role_groups() -> String {
    use simulator::entra::{GROUP_ADMINS, GROUP_APPROVERS, GROUP_AUDITORS};
    format!(
        "approver={GROUP_APPROVERS};auditor={GROUP_AUDITORS};admin={GROUP_ADMINS};break_glass={GROUP_ADMINS}"
    )
}

fn notice(real_model: bool, config: &Config) -> String {
    let world = "Demo: the Azure DevOps organisation and the identities are simulated on this machine";
    match real_model {
        true => format!("{world}. The model is {}.", config.model.deployment),
        false => format!("{world}, and the model is a scripted stand-in, not an AI."),
    }
}

/// Runs only the simulation until `stop`.
pub(super) async fn simulate(options: cli::Simulate, stop: CancellationToken) -> anyhow::Result<u8> {
    config::install_tls();
    let temporary = std::env::temp_dir().join(format!("ado-coworker-{}", uuid::Uuid::new_v4().simple()));
    let data = options.save.clone().unwrap_or_else(|| temporary.clone());
    let running = start(simulator::Settings {
        load: options.load.clone(),
        provisioned: !options.unprovisioned,
        ..simulation(options.listen, options.simulator_port, &data, options.pace)
    })
    .await?;
    println!("ready {}", running.organization_url);
    println!("sidecar {}", running.sidecar_url);
    println!("model {} (a scripted stand-in, not an AI)", running.model_url);
    println!("entra {} (sign-in and Graph)", running.entra_url);
    stop.cancelled().await;
    running.shutdown().await?;
    if options.save.is_none() {
        // Best effort: it lies in the system's own folder for temporary files.
        let _ = std::fs::remove_dir_all(&temporary);
    }
    Ok(0)
}
