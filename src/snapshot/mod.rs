//! Room 4: the snapshot. What a wallet is told at an epoch, as Rapid Gossip Sync bytes; when an epoch is cut; and
//! how it is published.
//!
//! Owns the format. Promises that a published snapshot is what the official client reads as exactly the view it was
//! made from, and that whoever looks at the published files sees a whole snapshot at every instant.

mod choose;
mod contents;
mod cut;
pub mod decode;
mod delta;
mod encode;
mod publish;
mod schedule;
#[cfg(test)]
pub(crate) mod testing;
mod verify;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;

pub use choose::{Choice, Grid, Mode, choose, reachable};
pub use contents::{Breakdown, Contents, ToldChannel, ToldNode, ToldUpdate, What};
pub use cut::{Cut, CutError, cut};
pub use decode::{Decoded, Undecodable, decode};
pub use delta::{REACH_S, SERVED_FOR_S, delta};
pub use encode::{TooLarge, Version, encode, encode_full};
pub use publish::Folder;
pub use schedule::{Blocked, Circumstances, Decision, Interval, Schedule};
pub use verify::{Differences, Rejected, differences};

use crate::journal::{Epoch, Graph, Rules};

/// The version of the rules by which snapshots are made: it changes whenever the same journal would give other
/// bytes, and epochs under another version are unknown. Version 1 told nobody what had left the view.
pub const RULES_VERSION: u16 = 2;

/// A snapshot older than this applies as nothing at official clients: they backdate it by seven days, and drop what
/// is two weeks old.
pub const USELESS_AFTER_S: u32 = 7 * 24 * 3600;

/// Today's rules, with this `graph` setting.
pub fn rules(graph: Graph) -> Rules {
    Rules { version: RULES_VERSION, graph }
}

/// The latest published snapshot; empty before the first. Whoever reads it keeps what it got, whatever comes next.
pub type Latest = Arc<ArcSwapOption<Snapshot>>;

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
