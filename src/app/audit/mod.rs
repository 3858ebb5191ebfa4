//! `audit list | show | verify | export`, and the key that signs the record.

mod access;
mod look;
mod reconcile;
mod retention;
mod stream;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use secrecy::ExposeSecret as _;

use super::cli::Told;
use crate::audit::Key;
use crate::clock::Clock;
use crate::config::{self, Config, Settings};
use crate::journal::{self, Journal, RunId};

/// Name of the key that is made beside the database.
const OWN_KEY: &str = "record-key.pem";
/// Exit status where nothing can be said, because something cannot be read.
const UNREADABLE: u8 = 2;

/// What `audit` does.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// List the runs of the record, the newest first, with how far each is signed.
    #[command(after_help = "Example:\n  ado-coworker audit list\n  ado-coworker audit list --limit 5 --json")]
    List {
        /// Most runs to list.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// How to print.
        #[command(flatten)]
        told: Told,
    },
    /// Show the record of a run, entry by entry.
    #[command(after_help = "Example:\n  ado-coworker audit show 0193b1d6a7f27c0c9d5c1f0e2a3b4c5d\n  \
                      ado-coworker audit show 0193b1d6a7f27c0c9d5c1f0e2a3b4c5d --json")]
    Show {
        /// The run.
        run: String,
        /// How to print.
        #[command(flatten)]
        told: Told,
    },
    /// Check a record: of a run, of an exported bundle (tar or unpacked), or of a whole journal.
    #[command(
        after_help = "Exit status: 0 nothing was changed (also where it is not signed: a warning says so), 1 it was \
                      changed, and the first entry and the kind of change are printed, 2 it cannot be read.\n\nExample:\n  \
                      ado-coworker audit verify\n  ado-coworker audit verify 0193b1d6a7f27c0c9d5c1f0e2a3b4c5d --json\n  \
                      ado-coworker audit verify bundle.tar --pubkey record-key.pub --head sha256:9f0c…"
    )]
    Verify(verify::Options),
    /// Join the record with what Azure DevOps says the agent user did, and name what no run did.
    #[command(
        after_help = "Needs the settings of `serve`, and asks with the agent user's own token. Exit status: 0 everything \
                      is in the record, 1 something is not, 2 it cannot be told.\n\nExample:\n  ado-coworker audit \
                      reconcile\n  ado-coworker audit reconcile --since 2026-11-01 --json"
    )]
    Reconcile(reconcile::Options),
    /// Set rights granted beside rights used by recorded calls, and name the unused.
    #[command(
        after_help = "Needs the settings of `serve`, and reads what `doctor` reads.\n\nExample:\n  ado-coworker audit \
                      access --days 90\n  ado-coworker audit access --days 30 --json"
    )]
    Access(access::Options),
    /// Erase bodies whose time is over, or all that a person ordered; the chain holds.
    #[command(
        after_help = "Words to and from the model, and arguments and results of tools, are kept 30 days; decisions, \
                      approvals and what was written outside 400 days; the chain for ever. `serve` does this once a \
                      day. Runs under way and runs that are held are left alone.\n\nExample:\n  ado-coworker audit \
                      retention --dry-run\n  ado-coworker audit retention\n  ado-coworker audit retention --forget \
                      5f0c3f6e-7a51-4b7e-9f3c-0d6f3a1b2c4d --dry-run\n  ado-coworker audit retention --hold \
                      0193b1d6a7f27c0c9d5c1f0e2a3b4c5d"
    )]
    Retention(retention::Options),
    /// Tell the record as JSON lines for a SIEM: who did what, when, how it was decided; no bodies.
    #[command(
        after_help = "Go on after a stop with the `position` of the last line. Each `activity_id` joins a line with the \
                      audit log of Azure DevOps, each `token` with Entra's \
                      sign-in logs, where it is uniqueTokenIdentifier, for example:\n  \
                      AADNonInteractiveUserSignInLogs | where UniqueTokenIdentifier == \"<token>\"\n\nExample:\n  ado-coworker audit \
                      stream\n  ado-coworker audit stream --after 1795334400123456 --follow"
    )]
    Stream(stream::Options),
    /// Write the record of a run into a tar file that anybody can check without this program.
    #[command(
        after_help = "Example:\n  ado-coworker audit export 0193b1d6a7f27c0c9d5c1f0e2a3b4c5d -o bundle.tar\n  \
                      mkdir bundle && tar -xf bundle.tar -C bundle && python3 bundle/verify.py"
    )]
    Export {
        /// The run.
        run: String,
        /// The file to make.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// How to print.
        #[command(flatten)]
        told: Told,
    },
}

/// Does one of the commands. Gives the exit status.
pub(super) async fn audit(command: Command) -> anyhow::Result<u8> {
    let done = match command {
        Command::List { limit, told } => look::list(limit, told.json).await,
        Command::Show { run, told } => look::show(&run, told.json).await,
        Command::Verify(options) => verify::verify(&options).await,
        Command::Reconcile(options) => reconcile::reconcile(&options).await,
        Command::Access(options) => access::access(&options).await,
        Command::Retention(options) => retention::retention(&options).await,
        Command::Stream(options) => stream::stream(&options).await,
        Command::Export { run, output, told } => look::export(&run, &output, told.json).await,
    };
    done.or_else(|error| {
        eprintln!("error: {error:#}");
        Ok(UNREADABLE)
    })
}

/// The key that signs the record of a configured process; none where there is no place for one.
pub(super) fn signing_key(config: &Config) -> anyhow::Result<Option<Key>> {
    if let Some(path) = &config.record_key_file {
        return Ok(Some(Key::read(path).context("RECORD_KEY_FILE")?));
    }
    let folder = journal::folder_of(config.database_url.expose_secret())
        .or_else(|| journal::folder_of(config::DEFAULT_DATABASE))
        .unwrap_or_default();
    let path = folder.join(OWN_KEY);
    let made = match folder.as_os_str().is_empty() {
        true => Ok(()),
        false => std::fs::create_dir_all(&folder),
    };
    match made.map_err(anyhow::Error::from).and_then(|()| Ok(Key::read_or_make(&path)?)) {
        Ok((key, made)) => {
            let (path, key_id) = (path.display(), key.id());
            if made {
                tracing::warn!(
                    "RECORD_KEY_FILE is not set: the record is signed with the key {key_id}, made in {path}. Whoever \
                     can write there could sign a changed record."
                );
            }
            Ok(Some(key))
        }
        // A key that is there and cannot be used is not passed over.
        Err(error) if path.exists() => Err(error),
        Err(error) => {
            tracing::warn!(
                "RECORD_KEY_FILE is not set, and no key can be made: the record is not signed: {error:#}"
            );
            Ok(None)
        }
    }
}

/// Opens the journal that the settings name, which must be there.
async fn open() -> anyhow::Result<Journal> {
    let settings = Settings::read()?;
    open_at(settings.get("DATABASE_URL").unwrap_or(config::DEFAULT_DATABASE)).await
}

async fn open_at(url: &str) -> anyhow::Result<Journal> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.trim_start_matches("//");
        let path = Path::new(path.split('?').next().unwrap_or(path));
        anyhow::ensure!(
            path.exists(),
            "there is no journal at {}; name it in DATABASE_URL (the demo's is sqlite:data/demo/ado-coworker.db)",
            path.display()
        );
    }
    Ok(Journal::open(url, Clock::Real).await?)
}

/// Reads a run's id.
fn run_id(text: &str) -> anyhow::Result<RunId> {
    RunId::parse(text).with_context(|| format!("'{text}' is no id of a run; `audit list` shows them"))
}
