//! The command line: commands and exit codes.

use std::process::ExitCode;

use ado_coworker::app::{self, cli};
use clap::Parser as _;

fn main() -> ExitCode {
    ado_coworker::fault_point::arm();
    let arguments = cli::Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the program cannot start its threads: {error}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(app::run_command(arguments.command)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            let usage = error.downcast_ref::<ado_coworker::config::Faults>().is_some();
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}
