//! Every setting, read once, checked once, all faults reported together.
//!
//! Settings come by name from the environment, then from `.env` (which sets nothing in the
//! process), and secrets also from a file named by `…_FILE`. No other file reads the environment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

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
    /// The journal, `sqlite:<path>`.
    pub database_url: String,
    /// Rule file; none means the rules that ship.
    pub policy_file: Option<PathBuf>,
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
    /// The sentence that stands in the box at first.
    pub suggestion: Option<String>,
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
pub const NAMES: [&str; 18] = [
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
    "POLICY_FILE",
];
/// Names read besides those in [`NAMES`]: they change how the process presents itself.
pub const MORE_NAMES: [&str; 2] = ["NOTICE", "LOG"];
/// Settings whose value may come from a file named by `<NAME>_FILE`.
pub const SECRET_NAMES: [&str; 2] = ["AZURE_OPENAI_API_KEY", "WEBHOOK_PASSWORD"];
/// Beginnings of names that belong to the sidecar and must not be in our environment.
const FOREIGN_SECRETS: [&str; 2] = ["BLUEPRINT_CLIENT_SECRET", "AzureAd__"];

/// The raw settings by name, before they are checked.
#[derive(Clone, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
    foreign: Vec<String>,
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
        for name in NAMES.into_iter().chain(MORE_NAMES) {
            if let Some(value) = find(name) {
                values.insert(name.to_owned(), value.trim().to_owned());
            }
        }
        for name in SECRET_NAMES {
            if let Some(path) = find(&format!("{name}_FILE")) {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("{name}_FILE names {path}, which cannot be read"))?;
                values.insert(name.to_owned(), text.trim().to_owned());
            }
        }
        let is_foreign = |name: &&String| FOREIGN_SECRETS.iter().any(|prefix| name.starts_with(prefix));
        let foreign = environment.keys().filter(is_foreign).cloned().collect();
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

    /// Checks everything.
    ///
    /// # Errors
    /// [`Faults`], with every fault there is.
    pub fn check(&self) -> Result<Config, Faults> {
        let mut check = Check { settings: self, faults: Vec::new() };
        let config = check.config();
        for name in &self.foreign {
            check.fault(name, "belongs to the auth sidecar; take it out of this process's environment");
        }
        match config {
            Some(config) if check.faults.is_empty() => Ok(config),
            _ => Err(Faults(check.faults)),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

struct Check<'a> {
    settings: &'a Settings,
    faults: Vec<Fault>,
}

impl Check<'_> {
    fn fault(&mut self, name: &str, problem: &str) {
        self.faults.push(Fault { name: name.to_owned(), problem: problem.to_owned() });
    }

    fn required(&mut self, name: &str, hint: &str) -> Option<String> {
        let value = self.settings.get(name).map(str::to_owned);
        if value.is_none() {
            self.fault(name, &format!("is not set; {hint}"));
        }
        value
    }

    fn parsed<T: std::str::FromStr>(&mut self, name: &str, hint: &str) -> Option<T> {
        let text = self.settings.get(name)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.fault(name, &format!("cannot be read; {hint}"));
        }
        value
    }

    fn url(&mut self, name: &str, hint: &str) -> Option<Url> {
        let url: Url = self.parsed(name, hint)?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !url.username().is_empty() {
            self.fault(name, &format!("must be an http or https URL without user name; {hint}"));
            return None;
        }
        Some(url)
    }

    fn config(&mut self) -> Option<Config> {
        let azure_devops = self.azure_devops();
        let identity = self.identity();
        let model = self.model();
        let web = self.web();
        let database_url = self.settings.get("DATABASE_URL").unwrap_or("sqlite:data/ado-coworker.db").to_owned();
        if !database_url.starts_with("sqlite:") {
            self.fault("DATABASE_URL", "must begin with sqlite: and name a file");
        }
        let policy_file = self.settings.get("POLICY_FILE").map(PathBuf::from);
        Some(Config {
            azure_devops: azure_devops?,
            identity: identity?,
            model: model?,
            web: web?,
            database_url,
            policy_file,
        })
    }

    fn azure_devops(&mut self) -> Option<AzureDevOps> {
        const HINT: &str = "for example https://dev.azure.com/contoso";
        let url = self
            .required("AZURE_DEVOPS_ORGANIZATION_URL", HINT)
            .and_then(|_| self.url("AZURE_DEVOPS_ORGANIZATION_URL", HINT));
        let project = self.required("AZURE_DEVOPS_PROJECT", "the name of the project the co-worker serves");
        let repository = self.required("AZURE_DEVOPS_REPOSITORY", "the name of the repository it works in");
        let mut organization_url = url?;
        let path = organization_url.path().trim_end_matches('/').to_owned();
        organization_url.set_path(&path);
        Some(AzureDevOps { organization_url, project: project?, repository: repository? })
    }

    fn identity(&mut self) -> Option<Identity> {
        const HINT: &str = "the auth sidecar's address, for example http://localhost:5000";
        let sidecar_url = self.required("SIDECAR_URL", HINT).and_then(|_| self.url("SIDECAR_URL", HINT));
        let agent_identity_id =
            self.required("AGENT_IDENTITY_ID", "the application id of the agent identity, a GUID");
        if agent_identity_id.as_ref().is_some_and(|id| uuid::Uuid::parse_str(id).is_err()) {
            self.fault("AGENT_IDENTITY_ID", "is not a GUID; give the application id of the agent identity");
        }
        // The sidecar takes both and silently prefers one: we do not let it guess (SIDECAR.md §4.1).
        let agent_user = match (self.settings.get("AGENT_USERNAME"), self.settings.get("AGENT_USER_ID")) {
            (Some(name), None) => Some(AgentUser::Username(name.to_owned())),
            (None, Some(id)) => match uuid::Uuid::parse_str(id) {
                Ok(id) => Some(AgentUser::ObjectId(id)),
                Err(_) => {
                    self.fault("AGENT_USER_ID", "is not a GUID; give the agent user's object id");
                    None
                }
            },
            (Some(_), Some(_)) => {
                self.fault("AGENT_USER_ID", "give either AGENT_USERNAME or AGENT_USER_ID, not both");
                None
            }
            (None, None) => {
                self.fault("AGENT_USERNAME", "is not set; give the agent user's user principal name");
                None
            }
        };
        let tenant_id = self.settings.get("AZURE_TENANT_ID").map(str::to_owned);
        Some(Identity {
            sidecar_url: sidecar_url?,
            tenant_id,
            agent_identity_id: agent_identity_id?,
            agent_user: agent_user?,
        })
    }

    fn model(&mut self) -> Option<Model> {
        const HINT: &str = "for example https://contoso.openai.azure.com";
        let endpoint =
            self.required("AZURE_OPENAI_ENDPOINT", HINT).and_then(|_| self.url("AZURE_OPENAI_ENDPOINT", HINT));
        let deployment = self.required("AZURE_OPENAI_DEPLOYMENT", "the name of the model deployment");
        let api_version = self.settings.get("AZURE_OPENAI_API_VERSION").map(str::to_owned);
        let key = self.settings.get("AZURE_OPENAI_API_KEY");
        if key.is_some_and(|key| key.chars().any(|c| !c.is_ascii_graphic())) {
            self.fault("AZURE_OPENAI_API_KEY", "has characters that no key has; copy it again");
            return None;
        }
        let api_key = key.map(|key| SecretString::from(key.to_owned()));
        Some(Model { endpoint: endpoint?, deployment: deployment?, api_version, api_key })
    }

    fn web(&mut self) -> Option<Web> {
        const HINT: &str = "for example 127.0.0.1:4192";
        let listen_address = match self.settings.get("LISTEN_ADDRESS") {
            Some(_) => self.parsed("LISTEN_ADDRESS", HINT),
            None => Some(SocketAddr::from(([127, 0, 0, 1], 4192))),
        };
        let public_url = self.url("PUBLIC_URL", "how people reach the page, for example https://coworker.contoso.com");
        let webhook = match (self.settings.get("WEBHOOK_USERNAME"), self.settings.get("WEBHOOK_PASSWORD")) {
            (Some(username), Some(password)) => Some(WebhookCredentials {
                username: username.to_owned(),
                password: SecretString::from(password.to_owned()),
            }),
            (None, None) => None,
            (Some(_), None) => {
                self.fault("WEBHOOK_PASSWORD", "is not set; service hooks need both user name and password");
                None
            }
            (None, Some(_)) => {
                self.fault("WEBHOOK_USERNAME", "is not set; service hooks need both user name and password");
                None
            }
        };
        let notice = self.settings.get("NOTICE").map(str::to_owned);
        Some(Web {
            listen_address: listen_address?,
            public_url,
            webhook,
            notice,
            local_person: "local person".to_owned(),
            suggestion: None,
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let environment = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::from_sources(&environment, Path::new("/nonexistent/.env")).unwrap()
    }

    const GOOD: [(&str, &str); 8] = [
        ("AZURE_DEVOPS_ORGANIZATION_URL", "https://dev.azure.com/contoso/"),
        ("AZURE_DEVOPS_PROJECT", "Fabrikam"),
        ("AZURE_DEVOPS_REPOSITORY", "web-shop"),
        ("SIDECAR_URL", "http://localhost:5000"),
        ("AGENT_IDENTITY_ID", "44444444-dddd-4ddd-8ddd-444444444444"),
        ("AGENT_USERNAME", "ado-coworker@contoso.example"),
        ("AZURE_OPENAI_ENDPOINT", "https://contoso.openai.azure.com"),
        ("AZURE_OPENAI_DEPLOYMENT", "gpt"),
    ];

    #[test]
    fn good_settings_are_taken() {
        let config = settings(&GOOD).check().unwrap();
        assert_eq!(config.azure_devops.organization_url.as_str(), "https://dev.azure.com/contoso");
        assert_eq!(config.web.listen_address.port(), 4192);
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let faults = settings(&[
            ("AZURE_DEVOPS_ORGANIZATION_URL", "ftp://x"),
            ("AGENT_USERNAME", "a"),
            ("AGENT_USER_ID", "b"),
            ("LISTEN_ADDRESS", "somewhere"),
            ("WEBHOOK_USERNAME", "hook"),
            ("AzureAd__ClientSecret", "s3cret-value"),
        ])
        .check()
        .unwrap_err();
        let text = faults.to_string();
        for name in [
            "AZURE_DEVOPS_ORGANIZATION_URL",
            "AZURE_DEVOPS_PROJECT",
            "SIDECAR_URL",
            "AGENT_USER_ID",
            "AZURE_OPENAI_ENDPOINT",
            "LISTEN_ADDRESS",
            "WEBHOOK_PASSWORD",
            "AzureAd__ClientSecret",
        ] {
            assert!(text.contains(name), "{name} is missing in {text}");
        }
        assert!(!text.contains("s3cret-value"));
    }

    #[test]
    fn dotenv_is_read_by_name_and_the_environment_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let secret = folder.path().join("password");
        std::fs::write(&secret, "from-file\n").unwrap();
        let text = format!("LOG=debug\nUNKNOWN=1\nNOTICE=\"from dotenv\"\nWEBHOOK_PASSWORD_FILE={}\n", secret.display());
        std::fs::write(&path, text).unwrap();
        let environment = BTreeMap::from([("LOG".to_owned(), "warn".to_owned())]);
        let settings = Settings::from_sources(&environment, &path).unwrap();
        assert_eq!(settings.get("LOG"), Some("warn"));
        assert_eq!(settings.get("NOTICE"), Some("from dotenv"));
        assert_eq!(settings.get("WEBHOOK_PASSWORD"), Some("from-file"));
        assert_eq!(settings.get("UNKNOWN"), None);
    }
}
