//! `setup plan | apply | teardown`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use url::Url;

use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::identity::DeviceSignIn;
use crate::setup::{
    APPLY_PERMISSIONS, Credential, Done, Folder, Given, Line, Problem, Session, Setup, TEARDOWN_PERMISSIONS,
    Wanted,
};

/// The exit status when a person said no (CONTRACTS).
const NOT_CONFIRMED: u8 = 3;

/// What `setup` does.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Print every request that a set-up makes, asking nobody.
    #[command(
        after_help = "Example:\n  ado-coworker setup plan\n  ado-coworker setup plan --agent reviewer --json"
    )]
    Plan(Options),
    /// Make what is missing, after showing it. Safe to repeat; goes on where it was interrupted.
    #[command(
        after_help = "Example:\n  ado-coworker setup apply\n  ado-coworker setup apply --service-account coworker/agent \
                      --issuer https://oidc.example/cluster"
    )]
    Apply(Options),
    /// Take the agent away again, after showing what goes.
    #[command(after_help = "Example:\n  ado-coworker setup teardown --agent ado-coworker")]
    Teardown(Options),
}

/// Options of `setup`.
#[derive(Args, Debug)]
pub struct Options {
    /// Name of the agent identity, and of its agent user.
    #[arg(long, default_value = "ado-coworker")]
    agent: String,
    /// Name of the blueprint; agents of one family share it.
    #[arg(long, default_value = "ado-coworker blueprint")]
    blueprint: String,
    /// User principal name of the agent user; else AGENT_USERNAME.
    #[arg(long)]
    user: Option<String>,
    /// Who answers for the agent, by user principal name; else who signs in.
    #[arg(long)]
    sponsor: Option<String>,
    /// Who administers the agent, by user principal name; else the sponsor.
    #[arg(long)]
    owner: Option<String>,
    /// Days that the client secret lasts, where one is used (development).
    #[arg(long, default_value_t = 90)]
    secret_days: u16,
    /// Trust a managed identity instead of a secret: the object id of its principal.
    #[arg(long, conflicts_with = "service_account")]
    managed_identity: Option<String>,
    /// Trust a Kubernetes service account instead of a secret: NAMESPACE/NAME.
    #[arg(long, requires = "issuer")]
    service_account: Option<String>,
    /// The cluster's OIDC issuer, exactly as its tokens have it.
    #[arg(long, requires = "service_account")]
    issuer: Option<String>,
    /// The model is reached with a key: make no grant for it.
    #[arg(long)]
    no_model: bool,
    /// Folder of the files that are written; else setup/AGENT.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Entra, where it is not the public cloud's.
    #[arg(long)]
    authority: Option<Url>,
    /// Microsoft Graph, where it is not the public cloud's.
    #[arg(long)]
    graph: Option<Url>,
    /// Longest wait for one thing to be seen everywhere, in seconds.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// Do not ask before the requests are made.
    #[arg(long)]
    yes: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Options {
    fn credential(&self) -> Credential {
        match (&self.managed_identity, &self.service_account) {
            (Some(principal), _) => Credential::ManagedIdentity { principal: principal.clone() },
            (None, Some(account)) => {
                let (namespace, name) = account.split_once('/').unwrap_or_default();
                Credential::Kubernetes {
                    issuer: self.issuer.clone().unwrap_or_default(),
                    namespace: namespace.to_owned(),
                    service_account: name.to_owned(),
                }
            }
            (None, None) => Credential::Secret { days: self.secret_days },
        }
    }

    fn open(&self, settings: &Settings, make: bool) -> anyhow::Result<Setup> {
        let given = Given {
            agent: self.agent.clone(),
            blueprint: self.blueprint.clone(),
            user: self.user.clone(),
            sponsor: self.sponsor.clone(),
            owner: self.owner.clone(),
            authority: self.authority.clone(),
            graph: self.graph.clone(),
            model: !self.no_model,
        };
        let wanted = Wanted::read(settings, &given, self.credential())?;
        let folder = self.out.clone().unwrap_or_else(|| PathBuf::from("setup").join(&self.agent));
        let folder = Folder::open(&folder, make)?;
        Ok(Setup::open(wanted, folder, Clock::Real.now(), Duration::from_secs(self.patience))?)
    }
}

/// Does it. Gives the exit status.
pub(super) async fn setup(command: Command) -> anyhow::Result<u8> {
    let settings = Settings::read()?;
    match command {
        Command::Plan(options) => {
            let setup = options.open(&settings, false)?;
            print_plan(&setup.plan(), options.json)?;
            Ok(0)
        }
        Command::Apply(options) => told(apply(&settings, &options).await),
        Command::Teardown(options) => told(teardown(&settings, &options).await),
    }
}

/// A problem with its remedy.
fn told(outcome: anyhow::Result<u8>) -> anyhow::Result<u8> {
    outcome.map_err(|error| match error.downcast_ref::<Problem>() {
        Some(problem) => anyhow::anyhow!("{problem}.\n{}", problem.remedy()),
        None => error,
    })
}

async fn sign_in(setup: &Setup, permissions: &[&str]) -> anyhow::Result<Session> {
    let client = DeviceSignIn {
        http: config::http_client()?,
        clock: Clock::Real,
        authority: setup.authority(),
        tenant: setup.tenant(),
        client_id: setup.client_id(),
    };
    let (mut session, prompt) = Session::begin(client, permissions).await?;
    eprintln!("{}", prompt.message);
    session.signed_in(&prompt).await?;
    eprintln!("Signed in.");
    Ok(session)
}

async fn apply(settings: &Settings, options: &Options) -> anyhow::Result<u8> {
    let mut setup = options.open(settings, true)?;
    let mut session = sign_in(&setup, APPLY_PERMISSIONS).await?;
    let lines = setup.survey(&mut session).await?;
    let open = lines.iter().filter(|line| line.done != Done::There).count();
    if open > 0 {
        for line in lines.iter().filter(|line| line.done != Done::There) {
            eprintln!("\n{}", title(line));
            line.requests.iter().for_each(|request| eprintln!("{}", indented(&request.shown())));
        }
        if !confirmed(options.yes, &format!("\nMake these {open} changes?"))? {
            return Ok(NOT_CONFIRMED);
        }
    }
    let mut told: Vec<Value> = Vec::new();
    let mut tell = |line: &Line| {
        eprintln!("{:8} {}", line.done.as_str(), line.title);
        told.push(json!({"id": line.id, "title": line.title, "outcome": line.done.as_str()}));
    };
    setup.apply(&mut session, &mut tell).await?;
    let files = setup.written();
    if options.json {
        let files: Vec<Value> =
            files.iter().map(|file| json!({"path": file.path, "what": file.what})).collect();
        println!("{}", serde_json::to_string_pretty(&json!({"steps": told, "files": files}))?);
        return Ok(0);
    }
    let changed = told.iter().filter(|step| step["outcome"] != "there").count();
    match changed {
        0 => println!("Everything was there; nothing was changed."),
        1 => println!("Done: one change."),
        n => println!("Done: {n} changes."),
    }
    for file in files {
        println!("{}  {}", file.path.display(), file.what);
    }
    println!("Next: start the sidecar with its file, then `ado-coworker doctor` with the agent's settings.");
    Ok(0)
}

async fn teardown(settings: &Settings, options: &Options) -> anyhow::Result<u8> {
    let mut setup = options.open(settings, false)?;
    let mut session = sign_in(&setup, TEARDOWN_PERMISSIONS).await?;
    let removals = setup.removals(&mut session).await?;
    if removals.is_empty() {
        println!("There is nothing to take away.");
        return Ok(0);
    }
    for removal in &removals {
        eprintln!("\n{}\n{}", removal.title, indented(&removal.request.shown()));
    }
    eprintln!(
        "\nClose or hand over its open pull requests and work items first. Tokens that are out already stay"
    );
    eprintln!("good for up to 90 minutes: stop the agent and its sidecar.");
    if !confirmed(options.yes, &format!("\nTake these {} things away?", removals.len()))? {
        return Ok(NOT_CONFIRMED);
    }
    let mut gone: Vec<Value> = Vec::new();
    let mut tell = |removal: &crate::setup::Removal| {
        eprintln!("gone     {}", removal.title);
        gone.push(json!({"title": removal.title}));
    };
    setup.teardown(&mut session, &removals, &mut tell).await?;
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&json!({"gone": gone}))?),
        false => {
            println!("Done: {} is gone. What it wrote in Azure DevOps stays under its name.", options.agent)
        }
    }
    Ok(0)
}

fn title(line: &Line) -> String {
    match line.done {
        Done::Changed => format!("{} (is there, but differs)", line.title),
        _ => line.title.clone(),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn print_plan(lines: &[Line], json: bool) -> anyhow::Result<()> {
    if json {
        let steps: Vec<Value> = lines
            .iter()
            .map(|line| json!({"id": line.id, "title": line.title, "requests": line.requests}))
            .collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "steps": steps }))?);
        return Ok(());
    }
    for (at, line) in lines.iter().enumerate() {
        println!("{}. {}", at + 1, line.title);
        line.requests.iter().for_each(|request| println!("{}", indented(&request.shown())));
    }
    println!(
        "\nNames in braces are ids that become known on the way. Each step looks first and makes only what is"
    );
    println!(
        "missing. `ado-coworker setup apply` signs an administrator in, shows what is missing, and asks."
    );
    Ok(())
}

/// Asks at the terminal; without one, only `--yes` says yes.
fn confirmed(yes: bool, question: &str) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "nobody can be asked here; look at the plan and give --yes"
    );
    eprint!("{question} Type yes: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("yes"))
}
