//! The product as one of the peers of a side-by-side benchmark of agent loops, webhook receivers and
//! event streams. A scripted model and a tool API that all peers share stand behind `--base`.
//!
//! - `peer loop --base URL --runs N --steps N --conc N` works the shared script through the real loop,
//!   journal synced, and prints one line of JSON.
//! - `peer hook` serves the webhook receiver on port 9203 as `POST /hook`, its journal in `HOOK_DB`.
//! - `peer sse` serves one run's live stream on port 9303 as `GET /events`, at `SSE_RATE` frames a second.
//! - `peer fill FILE N [waiting]` makes a journal with N runs that have not ended.
//!
//! The shared API knows neither Azure DevOps nor the sidecar, so `loop` puts a translator between, in a
//! process of its own (`peer adapter`, on the other processor) whose work is not counted.

mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    // As the program's own: a thread for each processor that it may use.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    let done = runtime.block_on(async {
        match arguments.first().map(String::as_str) {
            Some("loop") => support::work::work(&arguments).await,
            Some("adapter") => support::adapter::serve(&arguments).await,
            Some("hook") => support::doors::hook().await,
            Some("sse") => support::doors::sse().await,
            Some("fill") => support::fill::fill(&arguments).await,
            // `cargo bench` runs every bench: alone, this one has nobody to be compared with.
            _ => {
                println!("peer: see benches/peer.rs");
                Ok(())
            }
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
