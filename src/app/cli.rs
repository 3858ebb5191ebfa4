//! What can be typed.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use url::Url;

/// An autonomous co-worker for teams on Azure DevOps.
#[derive(Parser, Debug)]
#[command(name = "ado-coworker", version, about, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one in a process")]
pub enum Command {
    /// Show it working on a simulated organisation, on this machine, without any account.
    #[command(
        after_help = "Example:\n  ado-coworker demo\n  ado-coworker demo --port 0 --simulator-port 0 --data /tmp/demo"
    )]
    Demo(Demo),
    /// Serve the page, the API and the webhooks, and work the queue.
    #[command(
        after_help = "Settings come from the environment or .env; see .env.example.\n\nExample:\n  ado-coworker serve"
    )]
    Serve,
    /// Give one order, work it, print the answer.
    #[command(
        after_help = "Exit status: 0 done, 1 failed, 2 settings, 3 waiting for a person, refused or parked.\n\nExample:\n  ado-coworker run \"List the open work items\"\n  ado-coworker run --url http://127.0.0.1:4192 \"List the open work items\""
    )]
    Run(Run),
    /// Only the simulated organisation, sidecar and stand-in model.
    #[command(after_help = "Example:\n  ado-coworker simulate --save /tmp/organisation")]
    Simulate(Simulate),
    /// Say what is missing before the co-worker can work, and what heals it. Only reads.
    #[command(
        after_help = "Exit status: 0 nothing failed, 1 something did.\n\nExample:\n  ado-coworker doctor\n  ado-coworker doctor --json\n  ado-coworker doctor --admin\n  ado-coworker doctor --deployment compose.yaml"
    )]
    Doctor(Doctor),
    /// Make the co-worker exist in Entra and Azure DevOps, or take it away again.
    #[command(
        subcommand,
        after_help = "Example:\n  ado-coworker setup plan\n  ado-coworker setup apply\n  ado-coworker setup teardown"
    )]
    Setup(super::setup::Command),
    /// Look at the agent user's token.
    #[command(
        subcommand,
        after_help = "Example:\n  ado-coworker token show\n  ado-coworker token show --json"
    )]
    Token(Token),
    /// Copy the journal into a file, also while it is in use (SQLite).
    #[command(
        after_help = "The copy is whole and checked. A file that is there already is left alone.\n\nExample:\n  ado-coworker backup /backup/journal-2026-11-22.db"
    )]
    Backup(Backup),
    /// Sign in at the command line, as a person, with a browser on any device.
    #[command(
        after_help = "The token is kept in a file that only you can read; `logout` removes it.\n\nExample:\n  ado-coworker login"
    )]
    Login,
    /// Forget who signed in at the command line.
    #[command(after_help = "Example:\n  ado-coworker logout")]
    Logout,
    /// Say who is signed in at the command line.
    #[command(
        after_help = "Exit status: 0 somebody is, 1 nobody.\n\nExample:\n  ado-coworker whoami\n  ado-coworker whoami --json"
    )]
    Whoami(Told),
    /// Look at rules: check them, run their tests, explain a decision, compare two sets.
    #[command(
        subcommand,
        after_help = "Example:\n  ado-coworker policy check my-policy.toml\n  ado-coworker policy explain --facts '{\"action\":\"git.push\",\"branch\":\"main\"}'"
    )]
    Policy(Policy),
    /// Look at the record: list, show, check, export.
    #[command(
        subcommand,
        after_help = "The journal is the one that DATABASE_URL names.\n\nExample:\n  ado-coworker audit list\n  \
                      ado-coworker audit verify\n  DATABASE_URL=sqlite:data/demo/ado-coworker.db ado-coworker audit verify"
    )]
    Audit(super::audit::Command),
    /// Say whether a serving process is well; for containers.
    #[command(after_help = "Example:\n  ado-coworker healthcheck")]
    Healthcheck,
}

/// Options of `backup`.
#[derive(Args, Debug)]
pub struct Backup {
    /// The file to make.
    pub file: PathBuf,
}

/// How a command tells what it found.
#[derive(Args, Debug)]
pub struct Told {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Also read what only an administrator can: signs one in, with SETUP_CLIENT_ID.
    #[arg(long)]
    pub admin: bool,
    /// Only read this compose file or Kubernetes manifest, and say what does not fit.
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    pub deployment: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `policy` does. Without a file: the rules that ship.
#[derive(Subcommand, Debug)]
pub enum Policy {
    /// Read a rule file and refuse it on any doubt.
    #[command(
        after_help = "Exit status: 0 it is well, 1 it is refused, 2 it cannot be read.\n\nExample:\n  ado-coworker policy check my-policy.toml"
    )]
    Check {
        /// The rule file.
        file: Option<PathBuf>,
        /// How to print.
        #[command(flatten)]
        told: Told,
    },
    /// Run the tests inside a rule file.
    #[command(
        after_help = "Exit status: 0 all pass, 1 one fails or the file is refused, 2 it cannot be read.\n\nExample:\n  ado-coworker policy test my-policy.toml --json"
    )]
    Test {
        /// The rule file.
        file: Option<PathBuf>,
        /// How to print.
        #[command(flatten)]
        told: Told,
    },
    /// Say what is decided on facts, by which rule, and why.
    #[command(
        after_help = "Facts that are not given are false, zero or empty. Names of facts: action, project_served, branch, \
                      paths, added, deleted, renamed, files, bytes, deleted_in_run, files_in_run, writes_in_run, own_pr, \
                      own_branch, run_object, build_green, touches_ci, touches_policy, special, fields, new_hosts, taint, \
                      taint_elsewhere, class_b, outside_plan, trigger.\n\nExample:\n  ado-coworker policy explain --facts \
                      '{\"action\":\"git.push\",\"branch\":\"agent/7-x\",\"project_served\":true,\"own_branch\":true,\"run_object\":true}'\n  \
                      ado-coworker policy explain --facts @facts.json my-policy.toml --json"
    )]
    Explain {
        /// The facts as JSON, or @ and the name of a file that holds them.
        #[arg(long)]
        facts: String,
        /// The rule file.
        file: Option<PathBuf>,
        /// How to print.
        #[command(flatten)]
        told: Told,
    },
    /// Decide recorded actions again by two rule files, and show what comes out differently.
    #[command(
        after_help = "A recording is a journal (its file or URL), an exported bundle (tar or folder), or JSON lines.\n\nExample:\n  \
                      ado-coworker policy diff policies/default.toml my-policy.toml --replay data/demo/ado-coworker.db"
    )]
    Diff {
        /// The rules as they are.
        old: PathBuf,
        /// The rules as they would be.
        new: PathBuf,
        /// The recorded decisions.
        #[arg(long)]
        replay: String,
        /// How to print.
        #[command(flatten)]
        told: Told,
    },
}

/// What `token` does.
#[derive(Subcommand, Debug)]
pub enum Token {
    /// Show the claims of the token that the sidecar gives, explained; never the token.
    #[command(after_help = "Example:\n  ado-coworker token show")]
    Show(Told),
}

/// Options of `demo`.
#[derive(Args, Debug)]
pub struct Demo {
    /// Address to listen on, for the page and everything simulated.
    #[arg(long, default_value = "127.0.0.1")]
    pub listen: IpAddr,
    /// Port of the page; 0 takes any free one.
    #[arg(long, default_value_t = 4192)]
    pub port: u16,
    /// Port of the simulated organisation; sidecar and model take the ports after the next one; 0
    /// takes any free ones.
    #[arg(long, default_value_t = 4193)]
    pub simulator_port: u16,
    /// Where runs and the simulated organisation are kept.
    #[arg(long, default_value = "data/demo")]
    pub data: PathBuf,
    /// Milliseconds between two words of the stand-in model.
    #[arg(long, default_value_t = 35)]
    pub pace: u64,
}

/// Options of `run`.
#[derive(Args, Debug)]
pub struct Run {
    /// The order, in words.
    pub instruction: String,
    /// Give it to a server instead of working it here.
    #[arg(long)]
    pub url: Option<Url>,
    /// Print the run as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `simulate`.
#[derive(Args, Debug)]
pub struct Simulate {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub listen: IpAddr,
    /// Port of the simulated organisation; 0 takes any free ones.
    #[arg(long, default_value_t = 4193)]
    pub simulator_port: u16,
    /// Folder with a saved organisation to begin with.
    #[arg(long)]
    pub load: Option<PathBuf>,
    /// Folder to keep the organisation in; without it, it is gone at the end.
    #[arg(long)]
    pub save: Option<PathBuf>,
    /// Milliseconds between two words of the stand-in model.
    #[arg(long, default_value_t = 35)]
    pub pace: u64,
    /// Begin with a tenant and an organisation in which the co-worker does not exist yet, to try
    /// `setup`.
    #[arg(long)]
    pub unprovisioned: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed_and_every_command_has_an_example() {
        let command = super::Arguments::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example:"), "{} has no example", sub.get_name());
        }
    }
}
