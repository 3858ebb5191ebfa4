//! What is to be there: read from settings and options, checked once, all faults together.

use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use crate::config::{Fault, Faults, Settings};
use crate::identity::PUBLIC_AUTHORITY;

/// Where Microsoft Graph is, in the public cloud.
const PUBLIC_GRAPH: &str = "https://graph.microsoft.com";
/// Longest name of a blueprint or an agent, in characters.
const MAX_NAME_CHARS: usize = 100;
/// Characters of a user principal name's first part besides letters and digits (SETUP.md §3.7).
const NAME_MARKS: &str = "'.-_!#^~";

/// How the blueprint proves itself; it is the sidecar's business only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A client secret, for development.
    Secret {
        /// Days that it lasts.
        days: u16,
    },
    /// The managed identity of the host, by object id.
    ManagedIdentity {
        /// Object id of the identity's principal.
        principal: String,
    },
    /// A service account of a cluster.
    Kubernetes {
        /// The cluster's OIDC issuer.
        issuer: String,
        /// Namespace of the service account.
        namespace: String,
        /// Name of the service account.
        service_account: String,
    },
}

/// What the command line gives.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Name of the agent identity.
    pub agent: String,
    /// Name of the blueprint, shared by agents of one family.
    pub blueprint: String,
    /// User principal name of the agent user; else `AGENT_USERNAME`.
    pub user: Option<String>,
    /// Who answers for the agent; else who signs in.
    pub sponsor: Option<String>,
    /// Who administers it; else the sponsor.
    pub owner: Option<String>,
    /// Entra's address; else `AZURE_AUTHORITY_HOST`, else the public cloud's.
    pub authority: Option<Url>,
    /// Graph's address; else `GRAPH_URL`, else the public cloud's.
    pub graph: Option<Url>,
    /// Whether the model is reached with a token of the agent user.
    pub model: bool,
}

/// What is to be there.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub(crate) agent: String,
    pub(crate) blueprint: String,
    pub(crate) user: String,
    pub(crate) sponsor: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) credential: Credential,
    pub(crate) model: bool,
    pub(crate) tenant: String,
    pub(crate) client_id: String,
    pub(crate) authority: Url,
    pub(crate) graph: String,
    pub(crate) organization: Url,
    pub(crate) project: String,
    pub(crate) repository: String,
    /// Address that service hooks deliver to; none makes none.
    pub(crate) webhook: Option<String>,
    pub(crate) public_url: Option<String>,
    pub(crate) webhook_username: String,
    /// The password of the settings; without one it is made.
    pub(crate) webhook_password: Option<SecretString>,
    pub(crate) model_endpoint: Option<String>,
    pub(crate) model_deployment: Option<String>,
}

impl Wanted {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// Every fault there is, with what to put there.
    pub fn read(settings: &Settings, given: &Given, credential: Credential) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let mut fault = |name: &str, problem: &str| {
            faults.push(Fault { name: name.to_owned(), problem: problem.to_owned() });
        };
        let mut need = |name: &str, hint: &str| match settings.get(name) {
            Some(value) => value.to_owned(),
            None => {
                fault(name, &format!("is not set; {hint}"));
                String::new()
            }
        };
        let organization = need(
            "AZURE_DEVOPS_ORGANIZATION_URL",
            "the organisation, for example https://dev.azure.com/contoso",
        );
        let project = need("AZURE_DEVOPS_PROJECT", "the project that the co-worker serves");
        let repository = need("AZURE_DEVOPS_REPOSITORY", "the repository that it works in");
        let tenant = need("AZURE_TENANT_ID", "the tenant, a GUID");
        let client_id = need(
            "SETUP_CLIENT_ID",
            "the application id of the public client that administrators sign in with (see README)",
        );
        let organization = http_url(&organization).or_else(|| {
            if !organization.is_empty() {
                fault("AZURE_DEVOPS_ORGANIZATION_URL", "must be an http or https URL");
            }
            None
        });
        for (name, value) in [("AZURE_TENANT_ID", &tenant), ("SETUP_CLIENT_ID", &client_id)] {
            if !value.is_empty() && Uuid::try_parse(value).is_err() {
                fault(name, "is not a GUID");
            }
        }
        let user = given.user.clone().or_else(|| settings.get("AGENT_USERNAME").map(str::to_owned));
        let user = user.unwrap_or_default();
        if !is_user_name(&user) {
            fault(
                "AGENT_USERNAME",
                "give the agent user's principal name here or with --user, such as ado-coworker@contoso.com, in a \
                 verified domain of the tenant",
            );
        }
        for (option, name) in [("--agent", &given.agent), ("--blueprint", &given.blueprint)] {
            if !is_name(name) {
                fault(option, "is a name of 1 to 100 letters, digits, blanks, dots, dashes or underscores");
            }
        }
        credential_faults(&credential, &mut fault);
        let public_url = settings.get("PUBLIC_URL").map(|url| url.trim_end_matches('/').to_owned());
        let authority = settings.get("AZURE_AUTHORITY_HOST").unwrap_or(PUBLIC_AUTHORITY);
        let authority = given.authority.clone().or_else(|| http_url(authority));
        if authority.is_none() {
            fault("AZURE_AUTHORITY_HOST", "must be an http or https URL");
        }
        let graph = settings.get("GRAPH_URL").unwrap_or(PUBLIC_GRAPH).to_owned();
        let graph = given.graph.as_ref().map_or(graph, ToString::to_string);
        // The administrator's tokens go there.
        let places = [
            ("AZURE_DEVOPS_ORGANIZATION_URL", organization.clone()),
            ("AZURE_AUTHORITY_HOST", authority.clone()),
            ("GRAPH_URL", http_url(&graph)),
        ];
        for (name, url) in places {
            if url.is_some_and(|url| url.scheme() == "http" && !is_loopback(&url)) {
                fault(name, "begins with http; that is for this machine only, use https");
            }
        }
        if http_url(&graph).is_none() {
            fault("GRAPH_URL", "must be an http or https URL");
        }
        let (Some(organization), Some(authority), true) = (organization, authority, faults.is_empty()) else {
            return Err(Faults(faults));
        };
        Ok(Self {
            agent: given.agent.clone(),
            blueprint: given.blueprint.clone(),
            user,
            sponsor: given.sponsor.clone(),
            owner: given.owner.clone(),
            credential,
            model: given.model,
            tenant,
            client_id,
            authority,
            graph: graph.trim_end_matches('/').to_owned(),
            organization,
            project,
            repository,
            webhook: public_url.as_ref().map(|url| format!("{url}/webhooks/azure-devops")),
            public_url,
            webhook_username: settings.get("WEBHOOK_USERNAME").unwrap_or("azure-devops").to_owned(),
            webhook_password: settings
                .get("WEBHOOK_PASSWORD")
                .map(|text| SecretString::from(text.to_owned())),
            model_endpoint: settings.get("AZURE_OPENAI_ENDPOINT").map(str::to_owned),
            model_deployment: settings.get("AZURE_OPENAI_DEPLOYMENT").map(str::to_owned),
        })
    }

    /// A host of the organisation besides its main one (`vsaex`, `vssps`); everything else than
    /// Azure DevOps Services serves all from one host (FACTS §1).
    pub(crate) fn host(&self, service: &str) -> String {
        let mut url = self.organization.clone();
        let host = match self.organization.host_str() {
            Some("dev.azure.com") => Some(format!("{service}.dev.azure.com")),
            Some(host) => host
                .strip_suffix(".visualstudio.com")
                .map(|name| format!("{name}.{service}.visualstudio.com")),
            None => None,
        };
        if let Some(host) = host {
            // Both are hosts that parse; on the impossible failure the main host is kept.
            let _ = url.set_host(Some(&host));
        }
        url.as_str().trim_end_matches('/').to_owned()
    }

    /// The organisation's main address, without a slash at the end.
    pub(crate) fn main(&self) -> String {
        self.organization.as_str().trim_end_matches('/').to_owned()
    }
}

fn http_url(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok()?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return None;
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url.set_query(None);
    Some(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn is_name(text: &str) -> bool {
    let fine = |c: char| c.is_alphanumeric() || " .-_".contains(c);
    !text.trim().is_empty() && text.chars().count() <= MAX_NAME_CHARS && text.chars().all(fine)
}

fn is_user_name(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else { return false };
    let allowed = |c: char| c.is_ascii_alphanumeric() || NAME_MARKS.contains(c);
    !name.is_empty() && name.chars().all(allowed) && domain.contains('.') && !domain.contains('@')
}

fn credential_faults(credential: &Credential, fault: &mut impl FnMut(&str, &str)) {
    match credential {
        Credential::Secret { days } if *days == 0 || *days > 730 => {
            fault("--secret-days", "is 1 to 730 days");
        }
        Credential::ManagedIdentity { principal } if Uuid::try_parse(principal).is_err() => {
            fault("--managed-identity", "is the object id of the identity's principal, a GUID");
        }
        Credential::Kubernetes { issuer, namespace, service_account } => {
            if http_url(issuer).is_none() {
                fault("--issuer", "is the cluster's OIDC issuer, a URL, exactly as its tokens have it");
            }
            let fine = |text: &str| {
                !text.is_empty()
                    && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
            };
            if !fine(namespace) || !fine(service_account) {
                fault("--service-account", "is NAMESPACE/NAME of one service account");
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users_are_checked_before_entra_does() {
        assert!(is_user_name("ado-coworker@contoso.com"));
        for bad in ["", "ado-coworker", "a b@contoso.com", "a@contoso", "a@b@c.d", "@contoso.com"] {
            assert!(!is_user_name(bad), "{bad}");
        }
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let credential = Credential::Kubernetes {
            issuer: "x".into(),
            namespace: "*".into(),
            service_account: String::new(),
        };
        let faults =
            Wanted::read(&Settings::default(), &Given::default(), credential).unwrap_err().to_string();
        for name in [
            "AZURE_DEVOPS_ORGANIZATION_URL",
            "AZURE_TENANT_ID",
            "SETUP_CLIENT_ID",
            "AGENT_USERNAME",
            "--agent",
            "--issuer",
            "--service-account",
        ] {
            assert!(faults.contains(name), "{name} is missing in {faults}");
        }
    }
}
