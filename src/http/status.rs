//! What `/status.json` tells: the service's state in one value, for machines.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::gossip::UnixMs;
use crate::journal::link::Role;
use crate::journal::{Seq, Term};
use crate::snapshot::{DeskStatus, Snapshot};

/// Whoever can tell the state of the service.
pub trait StatusSource: Send + Sync + 'static {
    /// The state now. Called for each request: it must not wait for anything.
    fn status(&self) -> Status;
}

/// The state of the service.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Status {
    /// Of `rgsd`.
    pub version: String,
    pub network: String,
    /// Whether wallets get a snapshot. Set by this room, from the very snapshot that they would get.
    pub ready: bool,
    /// What an operator should know, in one sentence.
    pub problem: Option<String>,
    /// The snapshot that is served; `None` before the first.
    pub epoch: Option<EpochStatus>,
    /// Channels and nodes' details that the last snapshot lacks, because the official client read them otherwise than
    /// they are.
    pub left_out: u64,
    /// What wallets get that come back.
    pub deltas: DeskStatus,
    pub journal: JournalStatus,
    /// The remote archive; `None` where none is configured.
    pub archive: Option<ArchiveStatus>,
    pub peers: Vec<PeerStatus>,
    pub proofs: ProofStatus,
    pub messages: MessageCounts,
    /// Where published snapshots are uploaded to.
    pub uploads: Vec<UploadStatus>,
}

/// Which snapshot is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct EpochStatus {
    /// Unix seconds.
    pub timestamp: u32,
    pub seq: Seq,
    pub age_seconds: u64,
    pub channels: u32,
    pub nodes: u32,
    pub directions: u32,
}

impl EpochStatus {
    /// Of a snapshot, at `now`.
    pub fn of(snapshot: &Snapshot, now: UnixMs) -> Self {
        let (epoch, counts) = (snapshot.epoch, snapshot.counts);
        Self {
            timestamp: epoch.timestamp,
            seq: epoch.seq,
            age_seconds: (now.0 / 1000).saturating_sub(u64::from(epoch.timestamp)),
            channels: counts.channels,
            nodes: counts.nodes,
            directions: counts.directions,
        }
    }
}

/// How far the journal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct JournalStatus {
    pub last_seq: Seq,
}

/// How things stand with the archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ArchiveStatus {
    /// What this service is to it.
    pub role: Role,
    /// For how many writers it has been written; `None` while that is not known.
    pub term: Option<Term>,
    /// Whether the last thing asked of it worked.
    pub connected: bool,
    /// Its last entry, as far as known; `None`, as what follows, before it was reached for the first time.
    pub last_seq: Option<Seq>,
    /// How many entries the writer has yet to ship, or a follower to copy.
    pub lag_entries: Option<u64>,
    /// How old the oldest of those is; for a follower that is cut off, since when.
    pub lag_seconds: Option<u64>,
}

/// One place that published snapshots are uploaded to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct UploadStatus {
    pub to: String,
    /// Which epoch was uploaded last, since the start; in unix seconds.
    pub epoch: Option<u32>,
    /// How old the served epoch is, if it is not there yet.
    pub lag_seconds: u64,
    /// Why it is not, in a sentence.
    pub trouble: Option<String>,
}

/// One configured peer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PeerStatus {
    /// Its public key, in hexadecimal digits.
    pub node_id: String,
    /// `host:port`.
    pub address: String,
    /// One word, such as `connected`.
    pub state: String,
}

/// Funding proofs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ProofStatus {
    /// Whether a bitcoind is configured: without one, channels are accepted unproven.
    pub required: bool,
    /// Announcements that wait for theirs.
    pub pending: u64,
    /// Up to which block the chain was looked through for channels that end; `None` before the first look.
    pub chain_height: Option<u32>,
    /// Channels whose output was spent, perhaps by a splice: they stay until their successor is there, or 72 blocks.
    pub closing: u64,
}

/// What became of the messages since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct MessageCounts {
    pub received: u64,
    pub accepted: u64,
    /// By reason.
    pub refused: BTreeMap<String, u64>,
    /// Lost because a queue, or the disk, was full.
    pub dropped: u64,
    /// Waiting for a channel's funding proof.
    pub waiting: u64,
}
