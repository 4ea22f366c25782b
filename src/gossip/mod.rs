//! Room 1: the wire. Peers, the checking stage, funding proofs, closings.
//!
//! Owns the connections to Lightning peers and the decision what of their gossip is kept. Promises that every
//! [`Fact`] it hands on has passed the rules of BOLT 7, with its signatures checked and its funding output proven
//! where a bitcoind is configured; there, it also says which channels the chain ends. Knows nothing of journals,
//! snapshots or wallets.

mod chain;
pub mod check;
mod clock;
pub mod collector;
pub mod funding;
mod identity;
mod intake;
mod message;
mod peers;
mod pending;
pub mod sync;
mod wire;

pub(crate) use chain::is_final;
pub use chain::{BlockId, REORG_DEPTH, Trail};
pub use clock::{Clock, ShiftedClock, SystemClock, UnixMs};
pub use identity::node_key;
pub use lightning::routing::gossip::NodeId;
pub use message::{
    ChannelAnnouncement, ChannelUpdate, Direction, Malformed, NodeAnnouncement, NodeDetails, Policy, ShortChannelId,
    addresses_in,
};
pub use peers::{PeerAddress, PeerState};
pub use wire::Secrets;

/// Something about the network that was checked and is worth keeping.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// A channel was announced. `capacity_sat` is the value of its funding output where that was looked up, and
    /// `None` where no bitcoind could be asked: the channel is then unproven.
    Channel { announcement: ChannelAnnouncement, capacity_sat: Option<u64> },
    /// One direction of an announced channel has a new policy, or repeats its old one.
    Update(ChannelUpdate),
    /// A node of an announced channel tells of itself.
    Node(NodeAnnouncement),
    /// A channel that was accepted unproven has been looked up since.
    Proof { scid: ShortChannelId, capacity_sat: u64 },
    /// A channel is no more.
    Closed { scid: ShortChannelId, reason: Closing },
    /// A channel's funding output was spent in the block at this height, perhaps by a splice: the channel stays for now
    /// (BOLT 7, "The `channel_announcement` Message": it is forgotten 72 blocks later, or when its successor is there).
    PossibleSplice { scid: ShortChannelId, height: u32 },
    /// The spend for which a channel was closed, or might have been, is in the chain no more: the channel goes on as it
    /// was.
    Reopened { scid: ShortChannelId },
    /// The best chain was looked through for spends up to this block. Where that is not above the last one, a
    /// reorganisation has put it in another's place.
    Block(BlockId),
    /// A peer has told us everything it knows.
    SyncCompleted { peer: NodeId },
}

impl Fact {
    /// The signed message that a peer sent, type included; `None` for something that we found out.
    pub fn message(&self) -> Option<&[u8]> {
        match self {
            Fact::Channel { announcement, .. } => Some(announcement.wire()),
            Fact::Update(update) => Some(update.wire()),
            Fact::Node(node) => Some(node.wire()),
            Fact::Proof { .. }
            | Fact::Closed { .. }
            | Fact::PossibleSplice { .. }
            | Fact::Reopened { .. }
            | Fact::Block(_)
            | Fact::SyncCompleted { .. } => None,
        }
    }

    /// Whether it is a message that a peer sent, rather than something we found out.
    pub fn is_message(&self) -> bool {
        self.message().is_some()
    }
}

/// Why a channel was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closing {
    /// Neither direction was heard for longer than the retention.
    Silent,
    /// A look at the chain found no such funding output: it had been accepted unproven, or proven while another collector
    /// watched the chain.
    Unfunded,
    /// A recording says so, without a reason.
    Recorded,
    /// Its funding output was spent in the block at this height. Until that is [`REORG_DEPTH`] blocks deep, the channel
    /// may come back.
    Spent { height: u32 },
}
