//! Room 4: the snapshot. What a wallet is told at an epoch, as Rapid Gossip Sync bytes; when an epoch is cut; and
//! how it is published.
//!
//! Owns the format. Promises that a published snapshot is what the official client reads as exactly the view it was
//! made from, and that whoever looks at the published files sees a whole snapshot at every instant.

mod body;
mod choose;
mod contents;
mod cut;
pub mod decode;
mod delta;
mod desk;
mod encode;
mod left_out;
mod packing;
mod publish;
mod schedule;
mod served;
#[cfg(test)]
pub(crate) mod testing;
mod verify;

use bytes::Bytes;

pub use body::{Body, Coding, Variant};
pub use choose::{Choice, Grid, Mode, choose, reachable};
pub use contents::{Breakdown, Contents, ToldChannel, ToldNode, ToldUpdate, What};
pub use cut::{Cut, CutError, Matter, cut};
pub use decode::{Decoded, Undecodable, decode};
pub use delta::{REACH_S, SERVED_FOR_S, delta};
pub use desk::{Answer, Desk, DeskStatus, Told};
pub use encode::{TooLarge, Version, encode, encode_full};
pub use left_out::LeftOut;
pub use packing::{Effort, Packed, Packer};
pub use publish::Folder;
pub use schedule::{Blocked, Circumstances, Decision, Interval, Schedule};
pub use served::{Made, Served};
pub(crate) use verify::Quiet;
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

/// The snapshots of one epoch that are made when it is cut: what wallets fetch to which there is no shorter answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    pub epoch: Epoch,
    pub counts: Counts,
    /// All of the view, for a wallet that has nothing.
    pub full: Bodies,
    /// The same and that all is gone that left the view of late, for a wallet that may have anything.
    pub returning: Bodies,
    pub left_out: LeftOut,
}

/// One snapshot in both versions of the format.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bodies {
    /// RGS version 1: no capacities, no node details.
    pub v1: Bytes,
    /// RGS version 2.
    pub v2: Bytes,
}

impl Bodies {
    /// A handle on the bytes of a version.
    pub fn of(&self, version: Version) -> Bytes {
        match version {
            Version::V1 => self.v1.clone(),
            Version::V2 => self.v2.clone(),
        }
    }
}

/// How much of the network a snapshot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    pub channels: u32,
    pub nodes: u32,
    /// Policies told: two a channel in a full snapshot.
    pub directions: u32,
}
