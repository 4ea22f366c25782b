//! The shape of a network: which nodes have channels, how large these are, and what each end charges.
//!
//! A shape has no keys, short channel ids, timestamps or signatures; [`Network`](super::Network) adds those. It is
//! read from a map of the real network ([`Topology::open`]) or drawn at random ([`Topology::generate`]), and is plain
//! data, so that a test can also write one by hand or change one.

use std::fs::File;
use std::io::{BufRead, Read};
use std::path::Path;

use anyhow::Context;

use super::{gossmap, shape};
use crate::gossip::Policy;

/// Nodes, numbered from 0, and the channels between them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topology {
    /// How many nodes there are; those of every channel are below this.
    pub nodes: u32,
    pub channels: Vec<TopologyChannel>,
}

/// A channel between two different nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopologyChannel {
    pub nodes: [u32; 2],
    pub capacity_sat: u64,
    /// `policies[0]` is what `nodes[0]` charges. (Which of the two is `node_id_1` depends on their keys, not on this.)
    pub policies: [Policy; 2],
}

impl Topology {
    /// Reads a file of Core Lightning's compressed map format; see [`Topology::read_gossmap`].
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        File::open(path)
            .map_err(anyhow::Error::from)
            .and_then(Self::read_gossmap)
            .with_context(|| format!("cannot read a network's shape from {}", path.display()))
    }

    /// Reads Core Lightning's "GOSSMAP_COMPRESSv1" format, as it comes: in gzip. Anything else is refused in one sentence, after reading no
    /// more than [`gossmap::MAX_DECOMPRESSED`] bytes and without holding more than the tables read so far.
    pub fn read_gossmap(source: impl Read) -> anyhow::Result<Self> {
        gossmap::read(source)
    }

    /// The same for a map that somebody else unpacks.
    pub fn read_unpacked_gossmap(source: impl BufRead) -> anyhow::Result<Self> {
        gossmap::read_unpacked(source)
    }

    /// Draws a plausible network with that many channels: a few hubs and many leaves, a third of the channels disabled
    /// on both sides, fees and limits as common as they were on mainnet in February 2026. The same arguments give
    /// the same network.
    pub fn generate(channels: usize, seed: u64) -> Self {
        shape::generate(channels, seed)
    }
}
