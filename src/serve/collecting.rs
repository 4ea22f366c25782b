//! How a collector is set up by the configuration, for the service and for a recording alike.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bitcoin::constants::ChainHash;
use rand::RngExt;

use crate::config::Config;
use crate::gossip::check::{Limits, Rules, Signatures};
use crate::gossip::collector::{Mode, Setup};
use crate::gossip::{Clock, NodeId, Secrets, funding, node_key};

/// How gossip is checked.
pub(crate) fn rules(config: &Config) -> Rules {
    Rules {
        chain: ChainHash::using_genesis_block_const(config.network),
        proofs: config.bitcoind.rest_url.is_some(),
        retention: config.retention,
        limits: Limits::default(),
        signatures: Signatures::Checked,
    }
}

/// Who is listened to.
pub(crate) fn peers(config: &Config) -> Vec<NodeId> {
    config.peers.iter().map(|peer| NodeId::from_pubkey(&peer.node_id)).collect()
}

/// All that a collector needs; the node's key is in the data directory. Says so where nobody can prove channels.
pub(crate) fn setup(
    config: &Config,
    mode: Mode,
    storage_full: Arc<AtomicBool>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Setup> {
    let bitcoind = config.bitcoind.rest_url.as_ref().map(|url| funding::Settings {
        rest_url: url.expose(),
        network: config.network,
        timing: funding::Timing::default(),
    });
    if bitcoind.is_none() {
        tracing::warn!("no bitcoind.rest_url is configured: channels are accepted without proof of their funding");
    }
    let peers = config.peers.clone();
    Ok(Setup { rules: rules(config), peers, secrets: secrets(config)?, bitcoind, storage_full, mode, clock })
}

fn secrets(config: &Config) -> anyhow::Result<Secrets> {
    let mut rng = rand::rng();
    let node_key = node_key(&config.data_dir, || rng.random())?;
    Ok(Secrets { node_key, ephemeral: rng.random() })
}
