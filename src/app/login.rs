//! `login`, `logout`, `whoami`: the person at the command line. The agent is never signed in here; its
//! tokens are never on a disk.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::cli;
use crate::clock::{Clock, add};
use crate::config::{self, Fault, Faults, RoleGroups, Settings, SignIn};
use crate::identity::people::{Groups, People, Verified};
use crate::identity::{SignInError, Signed};

/// Name of the file in the folder of this program's own files.
const FILE: &str = "sign-in.json";
/// Largest such file, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// A token is renewed this long before it expires.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);

/// What is kept of a sign-in, readable by its owner only.
#[derive(Serialize, Deserialize)]
struct Kept {
    tenant_id: String,
    client_id: String,
    access_token: String,
    expires_at: Timestamp,
    refresh_token: Option<String>,
}

/// The person at the command line.
pub(super) struct Person {
    /// The person's own token for the blueprint.
    pub(super) token: SecretString,
    /// Who it is.
    pub(super) verified: Verified,
}

/// The settings that a command-line sign-in needs.
fn settings() -> anyhow::Result<(Settings, SignIn)> {
    let settings = Settings::read()?;
    let sign_in = settings.check_sign_in()?;
    if sign_in.blueprint_id.is_none() {
        let problem = "is not set; the person's token is made for the blueprint, give its application id";
        return Err(Faults(vec![Fault { name: "BLUEPRINT_ID".into(), problem: problem.into() }]).into());
    }
    Ok((settings, sign_in))
}

fn people(sign_in: &SignIn) -> anyhow::Result<Arc<People>> {
    Ok(People::new(sign_in, Vec::new(), config::http_client()?, Clock::Real))
}

fn file() -> anyhow::Result<PathBuf> {
    let folder =
        config::own_folder().context("there is no home folder; set XDG_CONFIG_HOME to a folder of yours")?;
    Ok(folder.join(FILE))
}

/// Signs a person in by device code.
pub(super) async fn login(stop: CancellationToken) -> anyhow::Result<u8> {
    let (_, sign_in) = settings()?;
    let people = people(&sign_in)?;
    let device = people.device();
    let told = |error: SignInError| anyhow::anyhow!("{error}\n{}", error.remedy());
    let prompt = device.begin(&people.scope()).await.map_err(told)?;
    eprintln!("{}", prompt.message);
    let signed = tokio::select! {
        signed = device.finish(&prompt) => signed.map_err(told)?,
        () = stop.cancelled() => bail!("stopped; nobody was signed in"),
    };
    let verified = people.bearer(signed.access_token.expose_secret()).await;
    let verified = verified.map_err(|error| anyhow::anyhow!("{error}\n{}", error.remedy()))?;
    keep(&file()?, &sign_in, &signed)?;
    println!("Signed in as {}.", shown(&verified));
    Ok(0)
}

/// Forgets the person.
pub(super) fn logout() -> anyhow::Result<u8> {
    let path = file()?;
    match std::fs::remove_file(&path) {
        Ok(()) => println!("Signed out."),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => println!("Nobody was signed in."),
        Err(error) => return Err(error).with_context(|| format!("removing {}", path.display())),
    }
    Ok(0)
}

/// Says who is signed in.
pub(super) async fn whoami(told: &cli::Told) -> anyhow::Result<u8> {
    let (settings, sign_in) = settings()?;
    let Some(person) = signed_in(&sign_in).await? else {
        match told.json {
            true => println!("{}", json!({ "signed_in": false })),
            false => println!("Nobody is signed in. Run `ado-coworker login`."),
        }
        return Ok(1);
    };
    let verified = &person.verified;
    let (groups, complete) = match &verified.groups {
        Groups::Listed(groups) => (groups.clone(), true),
        Groups::TooMany => (Vec::new(), false),
    };
    let by_groups = RoleGroups::parse(settings.get("ROLE_GROUPS").unwrap_or_default()).unwrap_or_default();
    let roles: Vec<&str> = by_groups.roles(&groups).into_iter().map(config::Role::as_str).collect();
    if told.json {
        let shown = json!({
            "signed_in": true, "name": verified.name, "account": verified.account, "oid": verified.oid,
            "tenant_id": sign_in.tenant_id, "groups": groups, "groups_complete": complete, "roles": roles,
            "token_expires_at": verified.expires_at.to_string(),
        });
        println!("{}", serde_json::to_string_pretty(&shown)?);
    } else {
        println!("{}, until {}.", shown(verified), verified.expires_at.strftime("%H:%M UTC"));
        match (complete, roles.is_empty()) {
            (false, _) => println!("Too many groups to be in the token: they count as none here."),
            (true, true) => println!("No role, by the ROLE_GROUPS set here."),
            (true, false) => println!("Roles, by the ROLE_GROUPS set here: {}.", roles.join(", ")),
        }
    }
    Ok(0)
}

fn shown(verified: &Verified) -> String {
    match &verified.account {
        Some(account) => format!("{} ({account})", verified.name),
        None => verified.name.clone(),
    }
}

/// The person who is signed in, where somebody is and sign-in is configured; for commands that work
/// without one as well.
pub(super) async fn whoever() -> anyhow::Result<Option<Person>> {
    match Settings::read()?.check_sign_in() {
        Ok(sign_in) if sign_in.blueprint_id.is_some() => signed_in(&sign_in).await,
        _ => Ok(None),
    }
}

/// The person who is signed in, with a token that is renewed where needed.
async fn signed_in(sign_in: &SignIn) -> anyhow::Result<Option<Person>> {
    let path = file()?;
    let Some(kept) = read(&path)? else { return Ok(None) };
    if kept.tenant_id != sign_in.tenant_id || kept.client_id != sign_in.client_id {
        bail!("the sign-in in {} is for another tenant or client; run `ado-coworker login`", path.display());
    }
    let people = people(sign_in)?;
    let mut token = SecretString::from(kept.access_token);
    if add(Clock::Real.now(), RENEW_BEFORE) >= kept.expires_at {
        let refresh = kept.refresh_token.map(SecretString::from);
        let refresh = refresh.context("the sign-in has expired; run `ado-coworker login`")?;
        let renewed = people.device().refresh(&refresh, &people.scope()).await;
        let renewed = renewed.map_err(|error| {
            anyhow::anyhow!("{error}\nRun `ado-coworker login` again. {}", error.remedy())
        })?;
        let renewed = Signed { refresh_token: renewed.refresh_token.clone().or(Some(refresh)), ..renewed };
        keep(&path, sign_in, &renewed)?;
        token = renewed.access_token;
    }
    let verified = people.bearer(token.expose_secret()).await;
    let verified = verified.map_err(|error| anyhow::anyhow!("{error}\n{}", error.remedy()))?;
    Ok(Some(Person { token, verified }))
}

fn read(path: &Path) -> anyhow::Result<Option<Kept>> {
    use std::os::unix::fs::PermissionsExt as _;
    let found = match std::fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let shown = path.display();
    if found.permissions().mode() & 0o077 != 0 {
        bail!("{shown} can be read by others; run `chmod 600 {shown}`, or `ado-coworker login` again");
    }
    if found.len() > MAX_FILE_BYTES {
        bail!("{shown} is not a sign-in; remove it and run `ado-coworker login`");
    }
    let text = std::fs::read(path).with_context(|| format!("reading {shown}"))?;
    let kept = serde_json::from_slice(&text);
    // What cannot be read may hold a token: none of it goes into the words.
    kept.map(Some)
        .map_err(|_| anyhow::anyhow!("{shown} is not a sign-in; remove it and run `ado-coworker login`"))
}

/// Writes the file anew, for its owner only, whole or not at all.
fn keep(path: &Path, sign_in: &SignIn, signed: &Signed) -> anyhow::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let kept = Kept {
        tenant_id: sign_in.tenant_id.clone(),
        client_id: sign_in.client_id.clone(),
        access_token: signed.access_token.expose_secret().to_owned(),
        expires_at: signed.expires_at,
        refresh_token: signed.refresh_token.as_ref().map(|token| token.expose_secret().to_owned()),
    };
    let folder = path.parent().context("the file has no folder")?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    // One that is left of a crash may have other rights.
    let _ = std::fs::remove_file(&draft);
    let written = || -> anyhow::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec(&kept)?)?;
        file.sync_all()?;
        Ok(std::fs::rename(&draft, path)?)
    };
    written().with_context(|| format!("writing {}", path.display()))
}
