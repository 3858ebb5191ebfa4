//! What can be seen without asking anybody outside: settings, environment, database, secrets.

use std::net::IpAddr;
use std::path::Path;

use secrecy::ExposeSecret as _;
use url::{Host, Url};

use super::{
    API_KEY, COLLECT, DATABASE, DATABASE_PASSWORD, Doctor, FOREIGN_SECRETS, Findings, RECORD_KEY, SETTINGS,
    WEBHOOK_PASSWORD, sentence,
};
use crate::audit::Key;
use crate::config::{Fault, Foreign};
use crate::journal::{self, Found};

/// The line of settings that cannot be used.
pub(super) fn faults(findings: &mut Findings, faults: &[Fault]) {
    let told: Vec<String> = faults.iter().map(|fault| format!("{}: {}", fault.name, fault.problem)).collect();
    let remedy = "Put them in the environment or in .env (see .env.example), then run doctor again.";
    findings.fail(SETTINGS, sentence(&told.join("; ")), remedy);
}

/// What a first contact needs, and who has it.
const TO_COLLECT: &[(&str, &str)] = &[
    ("AZURE_DEVOPS_ORGANIZATION_URL", "the organisation's address (its administrators)"),
    ("AZURE_DEVOPS_PROJECT", "the project's name"),
    ("AZURE_DEVOPS_REPOSITORY", "the repository's name"),
    ("AZURE_TENANT_ID", "the tenant's id (Entra, overview)"),
    (
        "AGENT_IDENTITY_ID",
        "the agent identity's id, and with it the agent user's name (`setup apply` makes them)",
    ),
    ("AGENT_USERNAME", "the agent user's name"),
    ("SIDECAR_URL", "the sidecar's address on this machine"),
    ("AZURE_OPENAI_ENDPOINT", "the model's endpoint"),
    ("AZURE_OPENAI_DEPLOYMENT", "the model's deployment"),
];

/// The line of what has to be collected before anything else.
pub(super) fn collect(findings: &mut Findings, faults: &[Fault]) {
    let lacks =
        |name: &str| faults.iter().any(|fault| fault.name == name && fault.problem.starts_with("is not set"));
    let missing: Vec<&str> =
        TO_COLLECT.iter().filter(|(name, _)| lacks(name)).map(|(_, what)| *what).collect();
    if missing.is_empty() {
        return findings.ok(COLLECT, "Nothing: every setting that a run needs is given.");
    }
    findings.warn(
        COLLECT,
        format!("Before anything else, find out: {}.", missing.join("; ")),
        "Nothing is written to the organisation until you order something: doctor reads only, and proves each of these \
         by a read as soon as it is given.",
    );
}

/// The line of secrets that do not belong in this process.
pub(super) fn foreign(findings: &mut Findings, foreign: &Foreign) {
    if !foreign.sidecar.is_empty() {
        let names = foreign.sidecar.join(", ");
        return findings.fail(
            FOREIGN_SECRETS,
            format!("{names} belongs to the auth sidecar, and `serve` refuses to start with it."),
            "Give it to the sidecar's environment only, and take it out of this one.",
        );
    }
    if !foreign.stray.is_empty() {
        let names = foreign.stray.join(", ");
        return findings.warn(
            FOREIGN_SECRETS,
            format!("{names} could open Entra or Azure DevOps. The co-worker does not read it, but what runs beside it could."),
            "Take it out of this process's environment; on AKS leave this container out of the injection of workload \
             identity.",
        );
    }
    findings.ok(FOREIGN_SECRETS, "No variable of the sidecar and no known credential for Entra or Azure DevOps is in this process's reach.");
}

/// Whether `url` leads to this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        None => false,
    }
}

impl Doctor {
    /// Settings and environment.
    pub(super) fn settings(&self, findings: &mut Findings) {
        let config = &self.config;
        let organization = &config.azure_devops.organization_url;
        if organization.scheme() == "http" && !is_loopback(organization) {
            findings.warn(
                SETTINGS,
                "AZURE_DEVOPS_ORGANIZATION_URL begins with http: bearer tokens would travel in clear.",
                "Use https.",
            );
        } else if config.identity.tenant_id.is_none() {
            findings.warn(
                SETTINGS,
                "They can be used, but without AZURE_TENANT_ID a token of any tenant is taken.",
                "Set AZURE_TENANT_ID to the agent's tenant.",
            );
        } else {
            findings.ok(SETTINGS, "They can be used.");
        }
        collect(findings, &[]);
        foreign(findings, &config.foreign);
    }

    /// The journal.
    pub(super) async fn database(&self, findings: &mut Findings) {
        let url = self.config.database_url.expose_secret();
        let found = match &self.journal {
            Some(journal) => journal.unfinished().await.map(|unfinished| Found::Ready { unfinished }),
            None => {
                let path = url.strip_prefix("sqlite:").map(|path| path.trim_start_matches("//"));
                let path = path.map(|path| Path::new(path.split('?').next().unwrap_or(path)));
                if let Some(path) = path.filter(|path| !path.exists()) {
                    return absent(findings, path);
                }
                journal::look(url).await
            }
        };
        match found {
            Ok(Found::Empty) => findings.ok(DATABASE, "It answers. The first start makes its tables."),
            Ok(Found::Older) => findings.warn(
                DATABASE,
                "It answers. It was made by an older version, and the next start brings it up to date.",
                "Make a copy first (`ado-coworker backup` of the older version).",
            ),
            Ok(Found::Newer { schema }) => findings.fail(
                DATABASE,
                format!("It has schema {schema}, which this program does not know."),
                "Use the newer version that made it, or name another database in DATABASE_URL.",
            ),
            Ok(Found::Ready { unfinished: 0 }) => findings.ok(DATABASE, "It answers. No run is under way."),
            Ok(Found::Ready { unfinished: 1 }) => findings.ok(DATABASE, "It answers. One run is under way."),
            Ok(Found::Ready { unfinished }) => {
                findings.ok(DATABASE, format!("It answers. {unfinished} runs are under way."));
            }
            Err(error) => findings.fail(
                DATABASE,
                sentence(&error.to_string()),
                "Check DATABASE_URL; for a file the rights on it and its folder and the space on the disk, for a server that it is up and lets this user in.",
            ),
        }
    }

    /// The key that signs the record.
    pub(super) fn record_key(&self, findings: &mut Findings) {
        match self.config.record_key_file.as_deref().map(Key::read) {
            Some(Ok(key)) => findings.ok(RECORD_KEY, format!("RECORD_KEY_FILE holds the key {}.", key.id())),
            Some(Err(error)) => findings.fail(
                RECORD_KEY,
                sentence(&error.to_string()),
                "Name an Ed25519 key in PKCS#8 PEM in RECORD_KEY_FILE, readable by its owner only: openssl genpkey \
                 -algorithm ed25519 -out record-key.pem.",
            ),
            None => findings.warn(
                RECORD_KEY,
                "RECORD_KEY_FILE is not set: the record is signed with a key that is made beside the database, where \
                 whoever can change the record finds it, too.",
                "Give a key from a place of its own in RECORD_KEY_FILE, and keep its public part elsewhere.",
            ),
        }
    }

    /// Secrets that stay the same until somebody changes them, and what would replace them.
    pub(super) fn static_secrets(&self, findings: &mut Findings) {
        match &self.config.model.api_key {
            None => findings.ok(API_KEY, "None: the model takes the agent user's token."),
            Some(_) => findings.warn(
                API_KEY,
                "AZURE_OPENAI_API_KEY is in force; it is meant for development.",
                "Leave it out: the sidecar's profile aoai gives a token instead. The agent user needs the role \
                 Cognitive Services OpenAI User on the resource.",
            ),
        }
        match &self.config.web.webhook {
            None => findings.ok(WEBHOOK_PASSWORD, "None: no webhook is taken."),
            Some(_) => findings.warn(
                WEBHOOK_PASSWORD,
                "WEBHOOK_PASSWORD is in force: service hooks know only a user name and a password.",
                "Nothing replaces it yet, because deliveries are not signed. Keep it long and random, deliver over \
                 https, and change it now and then, here and in each service hook.",
            ),
        }
        let database = Url::parse(self.config.database_url.expose_secret());
        match database.is_ok_and(|url| url.password().is_some()) {
            false => findings.ok(DATABASE_PASSWORD, "None in DATABASE_URL."),
            true => findings.warn(
                DATABASE_PASSWORD,
                "DATABASE_URL has a password in it.",
                "A client certificate in DATABASE_URL (sslcert, sslkey) or a socket on this machine replaces it. Until then \
                 give it as DATABASE_URL_FILE, and change it now and then.",
            ),
        }
    }
}

fn absent(findings: &mut Findings, path: &Path) {
    // The nearest folder that is there must take new entries.
    let parent = path.ancestors().skip(1).find(|folder| folder.as_os_str().is_empty() || folder.exists());
    let parent = parent.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let writable =
        std::fs::metadata(parent).is_ok_and(|found| found.is_dir() && !found.permissions().readonly());
    if writable {
        findings.ok(DATABASE, format!("There is none yet; the first start makes {}.", path.display()));
    } else {
        findings.fail(
            DATABASE,
            format!("There is none, and {} cannot be written to.", parent.display()),
            "Name a file in a folder that can be written to in DATABASE_URL.",
        );
    }
}
