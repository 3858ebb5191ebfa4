//! Log lines on standard error; counting, and what a collector is sent.
//!
//! Purpose: starts all that tells an operator what the process does.
//! Invariant: no secret of the process is in a line; a collector that is not there stops nothing.
//! Must never know: runs, prompts, tokens.

mod export;

use std::io;
use std::sync::OnceLock;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::model;

pub use export::{end, export};

/// What is logged when `LOG` says nothing.
const DEFAULT_FILTER: &str = "warn,ado_coworker=info";

/// Hides secrets in a line.
pub type Hide = Box<dyn Fn(&str) -> String + Send + Sync>;

/// Set once the secrets of the process are known.
static HIDE: OnceLock<Hide> = OnceLock::new();

/// From now on every line passes `hide` before it is written. The first call counts.
pub fn hide_with(hide: Hide) {
    let _ = HIDE.set(hide);
}

/// Standard error, line by line, without secrets.
struct Lines;

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut out = io::stderr().lock();
        match HIDE.get() {
            Some(hide) => io::Write::write_all(&mut out, hide(&String::from_utf8_lossy(line)).as_bytes())?,
            None => io::Write::write_all(&mut out, line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::Write::flush(&mut io::stderr())
    }
}

/// Starts logging by the filter of the setting `LOG` (`tracing` directives, for example `debug`).
///
/// # Errors
/// When the filter cannot be read.
pub fn start(filter: Option<&str>) -> anyhow::Result<()> {
    let filter = filter.unwrap_or(DEFAULT_FILTER);
    // Last, so that nothing in LOG lets a library write prompts or bodies.
    let text = format!("{filter},{}", model::LOG_DIRECTIVES);
    let filter = EnvFilter::try_new(&text)
        .with_context(|| format!("LOG is '{filter}'; use directives such as warn or ado_coworker=debug"))?;
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Lines).with_target(false);
    // Another subscriber is there already only in tests, and then it is the one that is wanted.
    let _ = subscriber.try_init();
    Ok(())
}
