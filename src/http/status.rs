//! What `/status.json` tells: the service's state in one value, for machines.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::gossip::UnixMs;
use crate::gossip::check::{Ends, Kind};
use crate::history::{HourOfFees, Size};
use crate::journal::link::Role;
use crate::journal::{Seq, Term};
use crate::snapshot::{Body, Coding, DeskStatus, Served, Snapshot, Version};
use crate::staleness::live::{AGES, Live};
use crate::staleness::share::REFERENCE_MSAT;

/// Whoever can tell the state of the service.
pub trait StatusSource: Send + Sync + 'static {
    /// The state now. Called for each request: it must not wait for anything.
    fn status(&self) -> Status;
}

/// The state of the service.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
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
    /// How often a snapshot is cut.
    pub interval_seconds: u32,
    /// When the next one is due, in unix seconds; past when it is overdue, `None` before the first.
    pub next_cut: Option<u32>,
    /// How large the served snapshot is.
    pub snapshots: Option<SnapshotSizes>,
    /// The snapshots that were served since the start, the last ones, oldest first.
    pub recent: Vec<RecentSnapshot>,
    /// Channels and nodes' details that the last snapshot lacks, because the official client read them otherwise than
    /// they are.
    pub left_out: u64,
    /// What wallets get that come back.
    pub deltas: DeskStatus,
    pub journal: JournalStatus,
    /// What is remembered of the network.
    pub history: Size,
    pub fee_changes: FeeStatus,
    pub stale_fees: StaleFeeStatus,
    /// The remote archive; `None` where none is configured.
    pub archive: Option<ArchiveStatus>,
    pub peers: Vec<PeerStatus>,
    pub proofs: ProofStatus,
    pub messages: MessageCounts,
    /// Where published snapshots are uploaded to.
    pub uploads: Vec<UploadStatus>,
    #[serde(skip)]
    pub metered: Metered,
}

/// What the metrics tell beyond the status.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metered {
    /// How far apart epochs are cut.
    pub interval_s: u64,
    /// How many entries the journal holds.
    pub journal_entries: u64,
    /// The disk has no room for the journal.
    pub storage_full: bool,
    /// Updates that changed what a direction charges, since the start.
    pub fee_changes: u64,
    /// What became of messages, by [`Kind`].
    pub by_kind: [Ends; Kind::ALL.len()],
    pub dropped_by_kind: [u64; Kind::ALL.len()],
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

/// How large the snapshots of an epoch are that are made when it is cut, by version of the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SnapshotSizes {
    pub v1: BodySizes,
    pub v2: BodySizes,
}

/// Bytes, by who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct BodySizes {
    /// For a wallet that has nothing.
    pub full: EncodedSizes,
    /// For one that comes back with what no delta can begin with.
    pub returning: EncodedSizes,
}

/// Bytes, by how they are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct EncodedSizes {
    /// As they are.
    pub identity: usize,
    /// Compressed; `None` where that is not done yet, or makes them no shorter.
    pub zstd: Option<usize>,
    pub gzip: Option<usize>,
    pub br: Option<usize>,
}

impl EncodedSizes {
    fn of(body: &Body) -> Self {
        let coded = |coding| body.coded(coding).map(|variant| variant.bytes.len());
        Self {
            identity: body.identity().bytes.len(),
            zstd: coded(Coding::Zstd),
            gzip: coded(Coding::Gzip),
            br: coded(Coding::Brotli),
        }
    }
}

impl SnapshotSizes {
    pub fn of(served: &Served) -> Self {
        let sizes = |version| BodySizes {
            full: EncodedSizes::of(&served.full(version)),
            returning: EncodedSizes::of(&served.returning(version)),
        };
        Self { v1: sizes(Version::V1), v2: sizes(Version::V2) }
    }
}

/// A snapshot that was served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct RecentSnapshot {
    /// Unix seconds.
    pub timestamp: u32,
    pub channels: u32,
    /// Of the full snapshot, by version of the format.
    pub v1_bytes: usize,
    pub v2_bytes: usize,
}

impl RecentSnapshot {
    pub fn of(snapshot: &Snapshot) -> Self {
        Self {
            timestamp: snapshot.epoch.timestamp,
            channels: snapshot.counts.channels,
            v1_bytes: snapshot.full.v1.len(),
            v2_bytes: snapshot.full.v2.len(),
        }
    }
}

/// How often fees change: base or proportional ones, of directions that had one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct FeeStatus {
    /// Since the first entry that the journal still had at the start.
    pub total: u64,
    /// The last 24 full hours and the running one, oldest first.
    pub hours: Vec<HourOfFees>,
}

/// How much of the network wallets would pay too little for now: the share of directions, by their channels' capacity,
/// whose fee as they were told is below the one in force. From 0 to 1; made anew every few seconds.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct StaleFeeStatus {
    /// The served epoch, in unix seconds; `None`, as its share, while it is not known what it told: before the first
    /// one, and until the journal is read.
    pub epoch: Option<u32>,
    /// What a wallet that synced with it gets wrong.
    pub share: Option<f64>,
    /// The same of wallets that synced earlier, as far as such epochs are known; the shortest age first.
    pub ages: Vec<StaleFeesByAge>,
    /// The payment for which fees are compared.
    pub reference_sat: u64,
}

/// What a wallet gets wrong that synced some time ago.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct StaleFeesByAge {
    /// How long ago: `1h`, `6h`, `24h`, or `3d`.
    pub age: &'static str,
    /// What was the newest epoch then, in unix seconds.
    pub epoch: u32,
    pub share: f64,
}

impl StaleFeeStatus {
    pub fn of(live: &Live) -> Self {
        let ages = AGES.iter().zip(&live.ages).filter_map(|(age, figure)| {
            figure.map(|figure| StaleFeesByAge {
                age: age.name,
                epoch: figure.epoch.timestamp,
                share: figure.share.value(),
            })
        });
        Self {
            epoch: live.served.map(|served| served.epoch.timestamp),
            share: live.served.map(|served| served.share.value()),
            ages: ages.collect(),
            reference_sat: REFERENCE_MSAT / 1_000,
        }
    }

    /// What a wallet of that age gets wrong.
    pub fn of_age(&self, age: &str) -> Option<f64> {
        self.ages.iter().find(|known| known.age == age).map(|known| known.share)
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
