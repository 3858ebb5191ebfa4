//! Every setting, read once, checked once, all faults reported together.
//!
//! Settings come by name from the environment, then from `.env` (which sets nothing in the
//! process), and secrets also from a file named by `…_FILE`. No other file reads the environment.

mod check;
mod people;
mod role;
mod triggers;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

pub use people::{Cloud, Profile, Role, RoleGroups, SignIn};
pub use role::Duty;
pub use triggers::Triggers;

/// Time to open a connection to an outside system.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence on an open connection; a model may think for a while before its first byte.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// All settings of a process that serves or runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Azure DevOps.
    pub azure_devops: AzureDevOps,
    /// The agent's identity.
    pub identity: Identity,
    /// The model.
    pub model: Model,
    /// The page, the API and the webhooks.
    pub web: Web,
    /// How people sign in; none means that nobody does.
    pub sign_in: Option<SignIn>,
    /// How strict this process is with itself.
    pub profile: Profile,
    /// How events are found.
    pub triggers: Triggers,
    /// What this process does.
    pub duty: Duty,
    /// The journal, `sqlite:<path>` or `postgres://…`; may hold a password.
    pub database_url: SecretString,
    /// Rule file; none means the rules that ship.
    pub policy_file: Option<PathBuf>,
    /// The key that signs the record; none means one that is made beside the database.
    pub record_key_file: Option<PathBuf>,
    /// Where chat tools are told of approvals; its path may hold a secret.
    pub notify_url: Option<SecretString>,
    /// The collector of spans and metrics.
    pub otlp_endpoint: Option<Url>,
    /// What else is in the environment and does not belong there.
    pub foreign: Foreign,
}

/// Where the organisation is and what this co-worker serves in it.
#[derive(Clone, Debug)]
pub struct AzureDevOps {
    /// Organisation or collection URL, without a slash at the end: `https://dev.azure.com/contoso`.
    pub organization_url: Url,
    /// The project served.
    pub project: String,
    /// The repository served.
    pub repository: String,
}

/// Who the agent is and where its tokens come from.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Base URL of the auth sidecar.
    pub sidecar_url: Url,
    /// Tenant that tokens must be from.
    pub tenant_id: Option<String>,
    /// Application id of the agent identity.
    pub agent_identity_id: String,
    /// The agent user.
    pub agent_user: AgentUser,
}

/// How the agent user is named to the sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentUser {
    /// By user principal name.
    Username(String),
    /// By object id.
    ObjectId(uuid::Uuid),
}

/// Which model, and how it is reached.
#[derive(Clone, Debug)]
pub struct Model {
    /// Endpoint of the resource, `https://….openai.azure.com`.
    pub endpoint: Url,
    /// Deployment name; also the model name on the v1 surface.
    pub deployment: String,
    /// A dated api-version; none means the v1 surface.
    pub api_version: Option<String>,
    /// A key, for development only; none means a token through the sidecar.
    pub api_key: Option<SecretString>,
}

/// The page and the webhooks.
#[derive(Clone, Debug)]
pub struct Web {
    /// Where to listen.
    pub listen_address: SocketAddr,
    /// How people and Azure DevOps reach this process.
    pub public_url: Option<Url>,
    /// Basic credentials that service hooks must bring; none means that no webhook is taken.
    pub webhook: Option<WebhookCredentials>,
    /// Banner on the page.
    pub notice: Option<String>,
    /// Name of the person at the page who is not signed in.
    pub local_person: String,
    /// Who is not signed in is the local person, wherever the request comes from: the demo, which is
    /// published on this machine only.
    pub always_local: bool,
    /// Which groups give which role.
    pub role_groups: RoleGroups,
    /// Who answers for the agent.
    pub accountable: Accountable,
    /// The sentence that stands in the box at first.
    pub suggestion: Option<String>,
    /// Other sentences that can be sent with one press, each with what happens then.
    pub offers: Vec<(String, String)>,
}

/// The people who answer for the agent, by name or account, as set-up recorded them: the agent's own
/// rights do not reach to reading them from Entra.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accountable {
    /// Who administers it.
    pub owner: Option<String>,
    /// Who answers for it.
    pub sponsor: Option<String>,
}

/// Basic credentials of the service hooks.
#[derive(Clone, Debug)]
pub struct WebhookCredentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: SecretString,
}

/// One setting that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Name of the setting.
    pub name: String,
    /// What is wrong and what to put there.
    pub problem: String,
}

/// Every fault found in the settings, together.
#[derive(Debug, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "the settings cannot be used:")?;
        for fault in &self.0 {
            writeln!(f, "  {}: {}", fault.name, fault.problem)?;
        }
        write!(f, "put them in the environment or in .env (see .env.example)")
    }
}

/// Every name that is read. Also the list that `.env.example` and README must keep.
pub const NAMES: &[&str] = &[
    "AZURE_DEVOPS_ORGANIZATION_URL",
    "AZURE_DEVOPS_PROJECT",
    "AZURE_DEVOPS_REPOSITORY",
    "SIDECAR_URL",
    "AZURE_TENANT_ID",
    "AGENT_IDENTITY_ID",
    "AGENT_USERNAME",
    "AGENT_USER_ID",
    "AZURE_OPENAI_ENDPOINT",
    "AZURE_OPENAI_DEPLOYMENT",
    "AZURE_OPENAI_API_VERSION",
    "AZURE_OPENAI_API_KEY",
    "DATABASE_URL",
    "LISTEN_ADDRESS",
    "PUBLIC_URL",
    "WEBHOOK_USERNAME",
    "WEBHOOK_PASSWORD",
    "TRIGGERS",
    "ROLE",
    "POLICY_FILE",
    "RECORD_KEY_FILE",
    "NOTIFY_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "SIGN_IN_CLIENT_ID",
    "ROLE_GROUPS",
    "PROFILE",
    "BLUEPRINT_ID",
    "AZURE_AUTHORITY_HOST",
    "GRAPH_URL",
    "AGENT_OWNER",
    "AGENT_SPONSOR",
];
/// The journal where `DATABASE_URL` is not set.
pub const DEFAULT_DATABASE: &str = "sqlite:data/ado-coworker.db";
/// Names read besides those in [`NAMES`]: they change how the process presents itself.
pub const MORE_NAMES: [&str; 3] = ["NOTICE", "LOG", "SETUP_CLIENT_ID"];
/// Settings whose value may come from a file named by `<NAME>_FILE`.
pub const SECRET_NAMES: [&str; 4] =
    ["AZURE_OPENAI_API_KEY", "DATABASE_URL", "WEBHOOK_PASSWORD", "NOTIFY_URL"];
/// Beginnings of names that belong to the sidecar and must not be in our environment.
const FOREIGN_SECRETS: [&str; 2] = ["BLUEPRINT_CLIENT_SECRET", "AzureAd__"];

/// Other variables whose value could open Entra or Azure DevOps. They are never read; that they are
/// there is worth a word.
const STRAY_SECRETS: [&str; 8] = [
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_PASSWORD",
    "IDENTITY_HEADER",
    "AZURE_DEVOPS_EXT_PAT",
    "AZURE_DEVOPS_PAT",
    "SYSTEM_ACCESSTOKEN",
];

/// Names of variables in the environment whose values do not belong in this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// Secrets and settings of the auth sidecar: `serve` refuses to start with them.
    pub sidecar: Vec<String>,
    /// Other credentials for Entra or Azure DevOps, and those of the sidecar that `.env` names.
    pub stray: Vec<String>,
}

/// The raw settings by name, before they are checked.
#[derive(Clone, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
    foreign: Foreign,
}

impl Settings {
    /// Reads the environment and then `.env` in the working folder, by name.
    ///
    /// # Errors
    /// When `.env` exists and cannot be read, or a `…_FILE` cannot.
    pub fn read() -> anyhow::Result<Self> {
        Self::from_sources(&environment(), Path::new(".env"))
    }

    fn from_sources(environment: &BTreeMap<String, String>, dotenv: &Path) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let mut file = BTreeMap::new();
        if dotenv.exists() {
            let entries = dotenvy::from_path_iter(dotenv).context("reading .env")?;
            for entry in entries {
                let (name, value) = entry.context(".env has a line that cannot be read")?;
                file.insert(name, value);
            }
        }
        let find = |name: &str| {
            environment.get(name).or_else(|| file.get(name)).filter(|v| !v.trim().is_empty()).cloned()
        };
        let mut values = BTreeMap::new();
        for name in NAMES.iter().copied().chain(MORE_NAMES) {
            if let Some(value) = find(name) {
                values.insert(name.to_owned(), value.trim().to_owned());
            }
        }
        for name in SECRET_NAMES {
            if let Some(path) = find(&format!("{name}_FILE")) {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("{name}_FILE names {path}, which cannot be read"))?;
                // An empty file is none, as an empty variable is.
                if !text.trim().is_empty() {
                    values.insert(name.to_owned(), text.trim().to_owned());
                }
            }
        }
        // The sidecar reads its names in any letter case.
        let begins = |name: &str, prefix: &str| {
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let is_sidecars = |name: &&String| FOREIGN_SECRETS.iter().any(|prefix| begins(name, prefix));
        let is_stray = |name: &&String| STRAY_SECRETS.contains(&name.as_str());
        let foreign = Foreign {
            sidecar: environment.keys().filter(is_sidecars).cloned().collect(),
            // A file beside us is not our environment, but within our reach all the same.
            stray: environment
                .keys()
                .filter(is_stray)
                .chain(file.keys().filter(|name| is_stray(name) || is_sidecars(name)))
                .cloned()
                .collect(),
        };
        Ok(Self { values, foreign })
    }

    /// The value of `name`, where one is given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Gives `name` a value where it has none.
    pub fn default_to(&mut self, name: &str, value: &str) {
        self.values.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }

    /// Sets `name` to `value`.
    pub fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }

    /// Takes the value of `name` away.
    pub fn unset(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// What else is in the environment, by name.
    pub fn foreign(&self) -> &Foreign {
        &self.foreign
    }

    /// Checks the settings alone, whatever else is in the environment.
    ///
    /// # Errors
    /// [`Faults`], with every fault there is.
    pub fn check_own(&self) -> Result<Config, Faults> {
        match check::check(self) {
            (Some(config), faults) if faults.is_empty() => Ok(config),
            (_, faults) => Err(Faults(faults)),
        }
    }

    /// Checks only what signing in needs, for commands that know nothing of an agent.
    ///
    /// # Errors
    /// [`Faults`], also when sign-in is not configured.
    pub fn check_sign_in(&self) -> Result<SignIn, Faults> {
        check::sign_in(self).map_err(Faults)
    }

    /// Checks only the addresses of Entra and Graph; the public cloud's where none are given.
    ///
    /// # Errors
    /// [`Faults`].
    pub fn check_cloud(&self) -> Result<Cloud, Faults> {
        check::cloud(self).map_err(Faults)
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`Faults`], with every fault there is.
    pub fn check(&self) -> Result<Config, Faults> {
        let (config, mut faults) = check::check(self);
        for name in &self.foreign.sidecar {
            let problem = "belongs to the auth sidecar; take it out of this process's environment".to_owned();
            faults.push(Fault { name: name.clone(), problem });
        }
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(Faults(faults)),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The folder of this program's own files of the person who runs it: in `XDG_CONFIG_HOME`, else in
/// `.config` of the home folder. None when there is neither.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn own_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(config.join("ado-coworker"))
}

/// The one HTTP client for all outside systems: with timeouts, and without redirects, so that no
/// bearer follows one. The TLS provider is installed on the way.
///
/// # Errors
/// When the system's trust store cannot be read.
#[allow(clippy::disallowed_methods, reason = "the one place that builds a client")]
pub fn http_client() -> anyhow::Result<reqwest::Client> {
    install_tls();
    Ok(reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("ado-coworker/", env!("CARGO_PKG_VERSION")))
        .build()?)
}

/// Makes ring the process's TLS provider. Safe to call again.
pub fn install_tls() {
    // An error means that one is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
