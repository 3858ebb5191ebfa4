//! Log lines on standard error.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::model;

/// What is logged when `LOG` says nothing.
const DEFAULT_FILTER: &str = "warn,ado_coworker=info";

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
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Another subscriber is there already only in tests, and then it is the one that is wanted.
    let _ = subscriber.try_init();
    Ok(())
}
