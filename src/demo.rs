//! The service on a synthetic network of its own.

use crate::cli::DemoOptions;

/// Runs the demo until it is stopped.
pub async fn run(options: DemoOptions) -> anyhow::Result<()> {
    anyhow::bail!("the demo of {} channels is not wired up yet", options.channels)
}
