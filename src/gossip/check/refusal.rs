//! Why a message was not kept, counted by reason and by kind.

use std::collections::BTreeMap;

use super::super::{ChannelAnnouncement, ChannelUpdate, NodeAnnouncement};

/// Why the checking stage did not keep a message. The names are those of the status page and the metrics.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Refusal {
    /// The same message, or a newer one in its place, is here already; on a live network, most are.
    AlreadyKnown,
    /// It speaks of another chain.
    WrongChain,
    /// A `channel_update` older than two weeks (BOLT 7 lets such channels be forgotten).
    Stale,
    /// A `channel_update` stamped more than a day ahead.
    FromTheFuture,
    /// `node_id_1` is not below `node_id_2` (BOLT 7); official clients drop a snapshot for it.
    NodesOutOfOrder,
    /// Both funding keys are the same.
    SameFundingKeys,
    /// An update of a channel, or a node, that nobody announced.
    NoChannel,
    /// `htlc_maximum_msat` above the channel's proven capacity, or above all bitcoin.
    HtlcMaximum,
    /// Over 1,024 bytes that BOLT 7 does not define.
    ExcessData,
    /// A signature does not fit, or a key is no point of the curve.
    BadSignature,
    /// The message cannot be told apart into its fields.
    Malformed,
    /// More than 300,000 channels or 200,000 nodes: official clients would drop the snapshot.
    NetworkFull,
    /// A peer announced too many channels that nobody can prove, too fast.
    UnprovenTooFast,
    /// As many announcements compete for this short channel id as may wait side by side.
    TooManyCandidates,
    /// The room for messages that wait for a funding proof is full.
    WaitingRoomFull,
    /// The funding output is not what the announcement says, as found now or remembered from before.
    FundingRefused,
    /// It waited for a channel whose funding proof failed.
    ChannelRefused,
    /// Replaced by a newer update of the same direction while it waited for its turn.
    Superseded,
}

impl Refusal {
    /// Every reason, in the order of their declaration.
    pub const ALL: [Refusal; 18] = [
        Refusal::AlreadyKnown,
        Refusal::WrongChain,
        Refusal::Stale,
        Refusal::FromTheFuture,
        Refusal::NodesOutOfOrder,
        Refusal::SameFundingKeys,
        Refusal::NoChannel,
        Refusal::HtlcMaximum,
        Refusal::ExcessData,
        Refusal::BadSignature,
        Refusal::Malformed,
        Refusal::NetworkFull,
        Refusal::UnprovenTooFast,
        Refusal::TooManyCandidates,
        Refusal::WaitingRoomFull,
        Refusal::FundingRefused,
        Refusal::ChannelRefused,
        Refusal::Superseded,
    ];

    /// The reason as a word for counters: `already_known`, `wrong_chain`, …
    pub fn name(self) -> &'static str {
        match self {
            Refusal::AlreadyKnown => "already_known",
            Refusal::WrongChain => "wrong_chain",
            Refusal::Stale => "stale",
            Refusal::FromTheFuture => "from_the_future",
            Refusal::NodesOutOfOrder => "nodes_out_of_order",
            Refusal::SameFundingKeys => "same_funding_keys",
            Refusal::NoChannel => "no_channel",
            Refusal::HtlcMaximum => "htlc_maximum",
            Refusal::ExcessData => "excess_data",
            Refusal::BadSignature => "bad_signature",
            Refusal::Malformed => "malformed",
            Refusal::NetworkFull => "network_full",
            Refusal::UnprovenTooFast => "unproven_too_fast",
            Refusal::TooManyCandidates => "too_many_candidates",
            Refusal::WaitingRoomFull => "waiting_room_full",
            Refusal::FundingRefused => "funding_refused",
            Refusal::ChannelRefused => "channel_refused",
            Refusal::Superseded => "superseded",
        }
    }
}

/// The kinds of gossip messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Channel,
    Update,
    Node,
    /// So malformed that it has none.
    None,
}

impl Kind {
    /// Every kind, in the order of their declaration.
    pub const ALL: [Kind; 4] = [Kind::Channel, Kind::Update, Kind::Node, Kind::None];

    /// Of a whole message, type included.
    pub(super) fn of_wire(bytes: &[u8]) -> Self {
        match bytes.first_chunk().copied().map(u16::from_be_bytes) {
            Some(ChannelAnnouncement::TYPE) => Kind::Channel,
            Some(ChannelUpdate::TYPE) => Kind::Update,
            Some(NodeAnnouncement::TYPE) => Kind::Node,
            _ => Kind::None,
        }
    }

    /// As BOLT 7 names it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Channel => "channel_announcement",
            Kind::Update => "channel_update",
            Kind::Node => "node_announcement",
            Kind::None => "unreadable",
        }
    }
}

/// How many messages of one kind met which end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ends {
    pub accepted: u64,
    /// By [`Refusal`], in its order.
    pub refused: [u64; Refusal::ALL.len()],
}

/// How many messages met which end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Messages that went into the checking stage.
    pub received: u64,
    /// Messages that came out as facts.
    pub accepted: u64,
    /// The others, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// The same by [`Kind`], in its order.
    pub by_kind: [Ends; Kind::ALL.len()],
}

impl Tally {
    pub(super) fn accept(&mut self, kind: Kind) {
        self.accepted += 1;
        self.by_kind[kind as usize].accepted += 1;
    }

    pub(super) fn refuse(&mut self, kind: Kind, reason: Refusal) {
        *self.refused.entry(reason).or_default() += 1;
        self.by_kind[kind as usize].refused[reason as usize] += 1;
    }

    /// How many were refused for `reason`.
    pub fn refused_for(&self, reason: Refusal) -> u64 {
        self.refused.get(&reason).copied().unwrap_or(0)
    }
}
