//! Wires the rooms into the running service.

use crate::config::Config;

/// Runs the service until it is stopped.
pub async fn run(config: Config) -> anyhow::Result<()> {
    anyhow::bail!("serving {} is not wired up yet", config.network)
}
