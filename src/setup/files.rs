//! The folder of one set-up: the agent's settings, the sidecar's variables with the secret, the
//! webhook password, and how far it has come.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::{Context, Credential, Known, Problem, Wanted};

/// The agent's settings.
const AGENT: &str = "agent.env";
/// The sidecar's variables.
const SIDECAR: &str = "sidecar.env";
/// The password that service hooks bring.
const PASSWORD: &str = "webhook-password";
/// How far the set-up has come.
const PROGRESS: &str = "progress.json";
/// Largest file that is read back, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// The line of the sidecar's file that names its secret.
const KEY_ID: &str = "# keyId ";
/// The variable of the secret.
const SECRET: &str = "AzureAd__ClientCredentials__0__ClientSecret";
/// The port that the sidecar listens on.
const SIDECAR_PORT: u16 = 5000;

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where.
    pub path: PathBuf,
    /// What it is.
    pub what: &'static str,
}

/// The folder of one set-up; only its owner can look in.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Opens the folder; `make` makes it when it is not there.
    ///
    /// # Errors
    /// [`Problem::File`].
    pub fn open(path: &Path, make: bool) -> Result<Self, Problem> {
        if make {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|error| failed("cannot make", path, &error))?;
        }
        Ok(Self(path.to_path_buf()))
    }

    fn read(&self, name: &str) -> Result<Option<String>, Problem> {
        let path = self.0.join(name);
        match fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("cannot read", &path, &error)),
            Ok(found) if found.len() > MAX_BYTES => {
                return Err(Problem::File(format!("{} is too large", path.display())));
            }
            Ok(_) => {}
        }
        fs::read_to_string(&path).map(Some).map_err(|error| failed("cannot read", &path, &error))
    }

    /// Writes a file for its owner alone, by a new one that takes its place; whether it changed.
    fn write(&self, name: &str, text: &str) -> Result<bool, Problem> {
        if self.read(name)?.as_deref() == Some(text) {
            return Ok(false);
        }
        let (path, new) = (self.0.join(name), self.0.join(format!("{name}.new")));
        let write = || {
            // A file that is left from before keeps its rights, so it goes first.
            let _ = fs::remove_file(&new);
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(|error| failed("cannot write", &path, &error))?;
        Ok(true)
    }

    pub(super) fn known(&self) -> Result<Known, Problem> {
        let Some(text) = self.read(PROGRESS)? else { return Ok(Known::default()) };
        let path = self.0.join(PROGRESS);
        serde_json::from_str(&text)
            .map_err(|error| Problem::File(format!("{} cannot be read: {error}", path.display())))
    }

    pub(super) fn keep(&self, known: &Known) -> Result<(), Problem> {
        let text = serde_json::to_string_pretty(known).unwrap_or_default();
        self.write(PROGRESS, &format!("{text}\n")).map(|_| ())
    }

    /// The secret in the sidecar's file, with its id.
    fn secret(&self) -> Result<Option<(String, SecretString)>, Problem> {
        let Some(text) = self.read(SIDECAR)? else { return Ok(None) };
        let after = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).map(str::trim);
        let secret = after(&format!("{SECRET}=")).map(|value| value.trim_matches('\''));
        let (Some(id), Some(secret)) = (after(KEY_ID), secret) else { return Ok(None) };
        Ok(Some((id.to_owned(), SecretString::from(secret.to_owned()))))
    }

    pub(super) fn secret_id(&self) -> Result<Option<String>, Problem> {
        Ok(self.secret()?.map(|(id, _)| id))
    }

    /// The password of the service hooks: that of the settings, else the one in its file.
    pub(super) fn password(&self, wanted: &Wanted) -> Result<Option<SecretString>, Problem> {
        let kept = self.read(PASSWORD)?.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(wanted.webhook_password.clone().or(kept.map(SecretString::from)))
    }

    /// The same, or a new one; written down.
    pub(super) fn keep_password(&self, wanted: &Wanted) -> Result<SecretString, Problem> {
        let fresh = || {
            let text = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
            SecretString::from(text)
        };
        let password = self.password(wanted)?.unwrap_or_else(fresh);
        self.write(PASSWORD, &format!("{}\n", password.expose_secret()))?;
        Ok(password)
    }

    /// Writes the sidecar's file, with a secret that was just made or the one it has.
    pub(super) fn write_sidecar(&self, context: &Context) -> Result<bool, Problem> {
        let secret = match &context.fresh_secret {
            Some((id, secret)) => Some((id.clone(), secret.clone())),
            None => self.secret()?,
        };
        self.write(SIDECAR, &sidecar(&context.wanted, &context.known, secret.as_ref())?)
    }

    /// Writes the agent's file.
    pub(super) fn write_agent(&self, context: &Context) -> Result<bool, Problem> {
        let password = context.wanted.webhook.is_some().then(|| self.absolute(PASSWORD));
        let sidecar = self.absolute(SIDECAR);
        self.write(AGENT, &agent(&context.wanted, &context.known, password.as_deref(), &sidecar)?)
    }

    fn absolute(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::path::absolute(&path).unwrap_or(path)
    }

    /// What lies in the folder for people to use.
    pub fn written(&self) -> Vec<Written> {
        let all = [
            (AGENT, "the agent's settings"),
            (SIDECAR, "the sidecar's variables, with its credential"),
            (PASSWORD, "the password that service hooks bring"),
        ];
        let there = all.into_iter().map(|(name, what)| Written { path: self.0.join(name), what });
        there.filter(|file| file.path.exists()).collect()
    }

    /// Removes what is of no use after a teardown: the sidecar's secret and the progress. The agent's
    /// settings stay, with the webhook password that they name: `doctor` still reads them.
    ///
    /// # Errors
    /// [`Problem::File`].
    pub fn clear(&self) -> Result<(), Problem> {
        for name in [SIDECAR, PROGRESS] {
            let path = self.0.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("cannot remove", &path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Problem {
    Problem::File(format!("{what} {}: {error}", path.display()))
}

/// Lines of `NAME=value` that compose, docker and our own reader all take the same way.
fn lines(head: &str, pairs: &[(&str, String)]) -> Result<String, Problem> {
    let mut text = head.to_owned();
    for (name, value) in pairs {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_./:@~+=,-".contains(c);
        if value.contains(['\'', '\n', '\r']) {
            return Err(Problem::File(format!("the value of {name} has a quote or a line end in it")));
        }
        match value.chars().all(plain) {
            true => text.push_str(&format!("{name}={value}\n")),
            false => text.push_str(&format!("{name}='{value}'\n")),
        }
    }
    Ok(text)
}

fn agent(wanted: &Wanted, known: &Known, password: Option<&Path>, sidecar: &Path) -> Result<String, Problem> {
    let head = format!(
        "# Settings of the agent '{}', written by `ado-coworker setup`. No secret is in this file.\n",
        wanted.agent
    );
    let mut pairs = vec![
        ("AZURE_DEVOPS_ORGANIZATION_URL", wanted.main()),
        ("AZURE_DEVOPS_PROJECT", wanted.project.clone()),
        ("AZURE_DEVOPS_REPOSITORY", wanted.repository.clone()),
        ("SIDECAR_URL", format!("http://localhost:{SIDECAR_PORT}")),
        ("AZURE_TENANT_ID", wanted.tenant.clone()),
        ("BLUEPRINT_ID", known.id("blueprint")),
        ("AGENT_IDENTITY_ID", known.id("agent_identity")),
        ("AGENT_USERNAME", wanted.user.clone()),
    ];
    let given = [
        ("AGENT_OWNER", &wanted.owner),
        ("AGENT_SPONSOR", &wanted.sponsor),
        ("AZURE_OPENAI_ENDPOINT", &wanted.model_endpoint),
        ("AZURE_OPENAI_DEPLOYMENT", &wanted.model_deployment),
        ("PUBLIC_URL", &wanted.public_url),
    ];
    pairs.extend(given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    if let Some(password) = password {
        pairs.push(("WEBHOOK_USERNAME", wanted.webhook_username.clone()));
        pairs.push(("WEBHOOK_PASSWORD_FILE", password.display().to_string()));
    }
    // Not a setting: compose.yaml finds the sidecar's file by it.
    pairs.push(("SIDECAR_ENV_FILE", sidecar.display().to_string()));
    lines(&head, &pairs)
}

fn sidecar(
    wanted: &Wanted,
    known: &Known,
    secret: Option<&(String, SecretString)>,
) -> Result<String, Problem> {
    let mut head = format!(
        "# Variables of the auth sidecar of '{}', written by `ado-coworker setup`. For the sidecar only:\n\
         # the agent refuses to start with them.\n",
        wanted.agent
    );
    let mut pairs = vec![
        ("AzureAd__Instance", format!("{}/", wanted.authority.as_str().trim_end_matches('/'))),
        ("AzureAd__TenantId", wanted.tenant.clone()),
        ("AzureAd__ClientId", known.id("blueprint")),
    ];
    let kind = "AzureAd__ClientCredentials__0__SourceType";
    match (&wanted.credential, secret) {
        (Credential::Secret { .. }, Some((id, secret))) => {
            head.push_str(&format!("{KEY_ID}{id}\n"));
            pairs.push((kind, "ClientSecret".into()));
            pairs.push((SECRET, secret.expose_secret().to_owned()));
        }
        (Credential::Secret { .. }, None) => {}
        (Credential::ManagedIdentity { .. }, _) => {
            pairs.push((kind, "SignedAssertionFromManagedIdentity".into()));
        }
        (Credential::Kubernetes { .. }, _) => pairs.push((kind, "SignedAssertionFilePath".into())),
    }
    pairs.extend([
        ("DownstreamApis__ado__BaseUrl", format!("{}/", wanted.main())),
        ("DownstreamApis__ado__Scopes__0", "499b84ac-1321-427f-aa17-267ca6975798/.default".into()),
    ]);
    if wanted.model {
        let base = wanted.model_endpoint.clone().unwrap_or("https://cognitiveservices.azure.com/".into());
        pairs.push(("DownstreamApis__aoai__BaseUrl", base));
        pairs
            .push(("DownstreamApis__aoai__Scopes__0", "https://cognitiveservices.azure.com/.default".into()));
    }
    pairs.extend([
        // Since 1.1.0 the agent's parameters are ignored without it (SIDECAR.md §5).
        ("Sidecar__AllowOverrides__GetAuthorizationHeaderUnauthenticated", "true".into()),
        ("ASPNETCORE_URLS", format!("http://127.0.0.1:{SIDECAR_PORT}")),
    ]);
    lines(&head, &pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_a_reader_could_misread_them() {
        let text = lines("", &[("A", "plain/1".into()), ("B", "two words $x #y".into())]).unwrap();
        assert_eq!(text, "A=plain/1\nB='two words $x #y'\n");
        assert!(lines("", &[("A", "it's".into())]).is_err());
    }

    #[test]
    fn a_file_is_for_its_owner_alone_and_is_written_only_when_it_changes() {
        use std::os::unix::fs::PermissionsExt as _;
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::open(&outer.path().join("a/b"), true).unwrap();
        assert!(folder.write("x", "one\n").unwrap() && !folder.write("x", "one\n").unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.0.join("x")), 0o600);
        assert_eq!(mode(&folder.0), 0o700);
    }
}
