//! The loop, and what it costs.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Instant;

use ado_coworker::app::App;
use ado_coworker::clock::Clock;
use ado_coworker::journal::Status;
use anyhow::Context as _;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::{after, config, order};

/// The processor that stands for the outside world; the other one is the product's.
const OTHER_PROCESSOR: &str = "1";

/// The translator; it ends with this process.
struct Adapter(Child);

impl Drop for Adapter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[allow(clippy::disallowed_methods, reason = "the translator must not count as the product's work")]
fn adapter(base: &str) -> anyhow::Result<(Adapter, String)> {
    let own = std::env::current_exe()?;
    let mut command = std::process::Command::new("taskset");
    command.args(["-c", OTHER_PROCESSOR]).arg(own).args(["adapter", "--base", base]).stdout(Stdio::piped());
    let mut child = command.spawn().context("taskset (util-linux) starts the translator")?;
    let mut address = String::new();
    let out = child.stdout.take().context("the translator has an output")?;
    BufReader::new(out).read_line(&mut address)?;
    Ok((Adapter(child), format!("http://{}", address.trim())))
}

/// Processor seconds of this process, all threads: user and system, in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap_or(0.0) / 1024.0
}

/// Milliseconds since the launch, as the launcher measured it; 0 without it.
#[allow(clippy::disallowed_methods, reason = "the harness tells the time of the launch so")]
fn since_launch() -> f64 {
    let launch = std::env::var("START_NS").ok().and_then(|text| text.parse::<i128>().ok());
    let now = ado_coworker::clock::Clock::Real.now().as_nanosecond();
    launch.map_or(0.0, |launch| (now - launch) as f64 / 1e6)
}

/// Works the runs and prints what it took.
pub async fn work(arguments: &[String]) -> anyhow::Result<()> {
    let base = after(arguments, "--base", "http://127.0.0.1:9100".to_owned());
    let (runs, steps) = (after(arguments, "--runs", 100_usize), after(arguments, "--steps", 20_usize));
    let conc = after(arguments, "--conc", 1_usize);
    let folder = tempfile::Builder::new().prefix("peer-").tempdir_in(scratch())?;
    let file = folder.path().join("journal.db").display().to_string();
    let (_adapter, world) = adapter(&base)?;
    let config = config(&world, &format!("script-{steps}"), &file)?;
    let app = Arc::new(App::build(config, world.parse()?, Clock::Real).await?);
    let ready_ms = since_launch();
    // A first run fills what every run shares: tokens, who the agent is, connections.
    one(app.clone()).await??;
    let (size, base_mib) = (stored(&file), peak_mib());
    let (since, cpu) = (Instant::now(), cpu_seconds());
    let all = futures_util::stream::iter((0..runs).map(|_| one(app.clone()))).buffer_unordered(conc);
    for done in all.collect::<Vec<_>>().await {
        done??;
    }
    let (wall, cpu) = (since.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let n = (runs * steps) as f64;
    println!(
        "{{\"peer\":\"product\",\"runs\":{runs},\"steps\":{steps},\"conc\":{conc},\"wall_s\":{wall:.4},\"cpu_s\":{cpu:.4},\
         \"wall_ms_step\":{:.4},\"cpu_ms_step\":{:.4},\"peak_mb\":{:.1},\"base_mb\":{base_mib:.1},\"ready_ms\":{ready_ms:.1},\
         \"bytes_step\":{:.0}}}",
        wall * 1e3 / n,
        cpu * 1e3 / n,
        peak_mib(),
        (stored(&file) - size) / n
    );
    Ok(())
}

/// Where there is room: the harness's folder, else the system's.
#[allow(clippy::disallowed_methods, reason = "the harness names its folder so")]
fn scratch() -> std::path::PathBuf {
    std::env::var_os("BENCH_DATA").map_or_else(std::env::temp_dir, Into::into)
}

/// Bytes of the journal with its write-ahead log.
fn stored(file: &str) -> f64 {
    let size = |end: &str| std::fs::metadata(format!("{file}{end}")).map_or(0, |found| found.len());
    (size("") + size("-wal")) as f64
}

/// One run from its order to its end, in a task of its own, as the program works runs.
fn one(app: Arc<App>) -> tokio::task::JoinHandle<anyhow::Result<()>> {
    tokio::spawn(async move {
        let id = app.journal.create(order()).await?;
        let held = app.worker.work_only(&id, &CancellationToken::new()).await?;
        let row = app.journal.run(&id).await?.context("the run is there")?;
        anyhow::ensure!(held && row.status == Status::Done, "run {id} is {}", row.status.as_str());
        Ok(())
    })
}
