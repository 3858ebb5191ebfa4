//! `audit stream`.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;

use super::open;
use crate::audit::events;
use crate::clock::Clock;

/// Between two looks for more.
const LOOK: Duration = Duration::from_secs(1);
/// How old an entry is before it is told: until then a replica may still commit an older one.
const SETTLED: Duration = Duration::from_secs(5);

/// Options of `audit stream`.
#[derive(Args, Debug)]
pub struct Options {
    /// Only what comes after this position: the `position` of the last line that was taken.
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: i64,
    /// Go on with what is added, until it is stopped.
    #[arg(long)]
    follow: bool,
    /// Print JSON lines; nothing else is printed anyhow.
    #[arg(long)]
    json: bool,
}

pub(super) async fn stream(options: &Options) -> anyhow::Result<u8> {
    let journal = open().await?;
    let mut position = options.after;
    let settled = i64::try_from(SETTLED.as_micros()).unwrap_or(i64::MAX);
    loop {
        let now = Clock::Real.now().as_microsecond();
        let until = if options.follow { now - settled } else { now };
        let (lines, last) = events::after(&journal, position, until).await?;
        let mut out = std::io::stdout().lock();
        for line in &lines {
            // Whoever reads may have gone: that is no fault of the record.
            if writeln!(out, "{line}").is_err() {
                return Ok(0);
            }
        }
        out.flush()?;
        drop(out);
        position = last;
        match (lines.is_empty(), options.follow) {
            (true, false) => return Ok(0),
            (true, true) => tokio::time::sleep(LOOK).await,
            (false, _) => {}
        }
    }
}
