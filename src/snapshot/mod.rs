//! Room 4: the snapshot. What a wallet is told at an epoch, as Rapid Gossip Sync bytes.

use bytes::Bytes;

use crate::journal::Epoch;

/// The full snapshot of one epoch, in both versions of the format: what wallets fetch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    pub epoch: Epoch,
    pub counts: Counts,
    /// RGS version 1: no capacities, no node details.
    pub v1: Bytes,
    /// RGS version 2.
    pub v2: Bytes,
}

/// How much of the network a snapshot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    pub channels: u32,
    pub nodes: u32,
    /// Policies told: two a channel in a full snapshot.
    pub directions: u32,
}
