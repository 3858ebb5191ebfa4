//! What each setting must be, and the words for the one that is not.

use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use super::{
    Accountable, AgentUser, AzureDevOps, Cloud, Config, Duty, Fault, Identity, Model, Profile, RoleGroups,
    Settings, SignIn, Triggers, Web, WebhookCredentials, people,
};

/// Checks every setting; the faults are all there are.
pub(super) fn check(settings: &Settings) -> (Option<Config>, Vec<Fault>) {
    let mut check = Check { settings, faults: Vec::new() };
    let config = check.config();
    (config, check.faults)
}

/// Checks what signing in needs, and that it is configured.
pub(super) fn sign_in(settings: &Settings) -> Result<SignIn, Vec<Fault>> {
    let mut check = Check { settings, faults: Vec::new() };
    check.required("SIGN_IN_CLIENT_ID", "the application id of the public client with which people sign in");
    match check.sign_in() {
        Some(sign_in) if check.faults.is_empty() => Ok(sign_in),
        _ => Err(check.faults),
    }
}

/// Checks the addresses of Entra and Graph.
pub(super) fn cloud(settings: &Settings) -> Result<Cloud, Vec<Fault>> {
    let mut check = Check { settings, faults: Vec::new() };
    match check.cloud() {
        Some(cloud) if check.faults.is_empty() => Ok(cloud),
        _ => Err(check.faults),
    }
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

    /// Whether what is sent to `url` stays between the two ends: over http only on this machine.
    fn is_private(&mut self, name: &str, url: &Url) -> bool {
        let is_private = url.scheme() == "https" || is_loopback(url);
        if !is_private {
            self.fault(
                name,
                "is http on another machine, where the agent's tokens would travel in clear; use https",
            );
        }
        is_private
    }

    fn config(&mut self) -> Option<Config> {
        let azure_devops = self.azure_devops();
        let identity = self.identity();
        let model = self.model();
        let mut web = self.web();
        let triggers = self.triggers(web.as_ref().is_some_and(|web| web.webhook.is_some()));
        if let Some(web) = web.as_mut().filter(|_| !triggers.webhook) {
            web.webhook = None;
        }
        let database_url = self.settings.get("DATABASE_URL").unwrap_or(super::DEFAULT_DATABASE).to_owned();
        if !["sqlite:", "postgres://", "postgresql://"].iter().any(|kind| database_url.starts_with(kind)) {
            self.fault(
                "DATABASE_URL",
                "must begin with sqlite: and name a file, or with postgres:// and name a server and a database",
            );
        }
        let sign_in = self.sign_in();
        let profile = self.profile();
        let duty = self.duty();
        if let Some(web) = web.as_ref().filter(|_| duty.serves()) {
            self.check_openness(web, sign_in.is_some());
        }
        let policy_file = self.settings.get("POLICY_FILE").map(PathBuf::from);
        let otlp_endpoint = self.url("OTEL_EXPORTER_OTLP_ENDPOINT", "for example http://localhost:4318");
        let notify_url = self.url("NOTIFY_URL", "for example https://example.com/hooks/approvals");
        let notify_url = notify_url.map(|url| SecretString::from(String::from(url)));
        Some(Config {
            azure_devops: azure_devops?,
            identity: identity?,
            model: model?,
            web: web?,
            triggers,
            duty,
            sign_in,
            profile: profile?,
            database_url: SecretString::from(database_url),
            policy_file,
            record_key_file: self.settings.get("RECORD_KEY_FILE").map(PathBuf::from),
            notify_url,
            otlp_endpoint,
            foreign: self.settings.foreign.clone(),
        })
    }

    fn duty(&mut self) -> Duty {
        self.parsed("ROLE", "give all, web or worker").unwrap_or(Duty::All)
    }

    fn azure_devops(&mut self) -> Option<AzureDevOps> {
        const HINT: &str = "for example https://dev.azure.com/contoso";
        let url = self
            .required("AZURE_DEVOPS_ORGANIZATION_URL", HINT)
            .and_then(|_| self.url("AZURE_DEVOPS_ORGANIZATION_URL", HINT));
        let url = url.filter(|url| self.is_private("AZURE_DEVOPS_ORGANIZATION_URL", url));
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
        let endpoint = self
            .required("AZURE_OPENAI_ENDPOINT", HINT)
            .and_then(|_| self.url("AZURE_OPENAI_ENDPOINT", HINT));
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
        let public_url =
            self.url("PUBLIC_URL", "how people reach the page, for example https://coworker.contoso.com");
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
        let groups = RoleGroups::parse(self.settings.get("ROLE_GROUPS").unwrap_or_default());
        let role_groups = groups.unwrap_or_else(|problem| {
            self.fault("ROLE_GROUPS", &problem);
            RoleGroups::default()
        });
        Some(Web {
            listen_address: listen_address?,
            public_url,
            webhook,
            notice,
            local_person: "local person".to_owned(),
            always_local: false,
            role_groups,
            accountable: Accountable {
                owner: self.settings.get("AGENT_OWNER").map(str::to_owned),
                sponsor: self.settings.get("AGENT_SPONSOR").map(str::to_owned),
            },
            suggestion: None,
            offers: Vec::new(),
        })
    }
}

/// How events are found.
impl Check<'_> {
    fn triggers(&mut self, has_credentials: bool) -> Triggers {
        const HINT: &str = "give webhook, poll or webhook,poll";
        let triggers: Triggers = match self.settings.get("TRIGGERS") {
            Some(_) => self.parsed("TRIGGERS", HINT).unwrap_or_else(|| Triggers::usual(has_credentials)),
            None => Triggers::usual(has_credentials),
        };
        if triggers.webhook && !has_credentials && self.settings.get("WEBHOOK_PASSWORD").is_none() {
            self.fault(
                "WEBHOOK_PASSWORD",
                "is not set, and TRIGGERS has webhook; set it with WEBHOOK_USERNAME",
            );
        }
        triggers
    }
}

/// What people's sign-in needs.
impl Check<'_> {
    fn sign_in(&mut self) -> Option<SignIn> {
        self.settings.get("SIGN_IN_CLIENT_ID")?;
        let client_id = self.guid("SIGN_IN_CLIENT_ID", "the application id of the public client for sign-in");
        self.required("AZURE_TENANT_ID", "people sign in to one tenant; give its id, a GUID");
        let tenant_id = self.guid("AZURE_TENANT_ID", "the id of the tenant that people sign in to");
        let blueprint_id = self.guid("BLUEPRINT_ID", "the application id of the agent's blueprint");
        let cloud = self.cloud();
        Some(SignIn { client_id: client_id?, tenant_id: tenant_id?, blueprint_id, cloud: cloud? })
    }

    /// Where Entra and Graph are; https, or http on this machine.
    fn cloud(&mut self) -> Option<Cloud> {
        let mut address =
            |name: &str, hint: &str| self.url(name, hint).filter(|url| self.is_private(name, url));
        let authority =
            address("AZURE_AUTHORITY_HOST", "Entra's address, for example https://login.microsoftonline.com");
        let graph =
            address("GRAPH_URL", "Microsoft Graph's address, for example https://graph.microsoft.com");
        people::cloud(authority, graph)
    }

    fn guid(&mut self, name: &str, hint: &str) -> Option<String> {
        let id: Option<uuid::Uuid> = self.parsed(name, &format!("it is not a GUID; give {hint}"));
        id.map(|id| id.to_string())
    }

    fn profile(&mut self) -> Option<Profile> {
        let profile = match self.settings.get("PROFILE") {
            Some(_) => self.parsed("PROFILE", "it is development or federated")?,
            None => Profile::default(),
        };
        if profile == Profile::Federated && self.settings.get("AZURE_OPENAI_API_KEY").is_some() {
            self.fault(
                "AZURE_OPENAI_API_KEY",
                "is a static secret, which PROFILE=federated does not allow; take it away and grant the agent user \
                 the model, so that its token comes through the sidecar",
            );
        }
        let database = self.settings.get("DATABASE_URL").unwrap_or_default();
        if profile == Profile::Federated && holds_password(database) {
            self.fault(
                "DATABASE_URL",
                "holds a password, a static secret, which PROFILE=federated does not allow; let the server know this \
                 host by a client certificate (sslcert, sslkey) or a socket, or keep the journal in SQLite",
            );
        }
        Some(profile)
    }

    /// A page that others can reach needs people to sign in.
    fn check_openness(&mut self, web: &Web, has_sign_in: bool) {
        let published_here = web.public_url.as_ref().is_some_and(is_loopback);
        if has_sign_in {
            match &web.public_url {
                None if !web.listen_address.ip().is_loopback() => {
                    self.fault(
                        "PUBLIC_URL",
                        "is not set; it is where people come back to after they sign in",
                    );
                }
                // Entra takes no other address to come back to.
                Some(url) if url.scheme() != "https" && !published_here => {
                    self.fault(
                        "PUBLIC_URL",
                        "is http on another machine, where people cannot sign in; use https",
                    );
                }
                _ => {}
            }
        }
        if !has_sign_in && !published_here && !web.listen_address.ip().is_loopback() {
            self.fault(
                "LISTEN_ADDRESS",
                "lets other machines reach the page, and nobody has to sign in; set SIGN_IN_CLIENT_ID, or listen on \
                 127.0.0.1, or, where it is published on this machine only (as by compose), say so with PUBLIC_URL \
                 http://127.0.0.1:4192",
            );
        }
    }
}

/// Whether a database's address has a password in it, before the host or among its parameters.
fn holds_password(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| {
        url.password().is_some() || url.query_pairs().any(|(name, _)| name.eq_ignore_ascii_case("password"))
    })
}

/// Whether `url` is this machine's.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
