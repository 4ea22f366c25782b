//! Room 3: the history. What the network looked like at any recent epoch, built from journal entries alone.

use std::sync::Arc;

use crate::gossip::{NodeDetails, NodeId, Policy, ShortChannelId};
use crate::journal::Epoch;

/// The network at one epoch: every channel that a wallet starting there is told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    pub epoch: Epoch,
    /// The nodes of `channels`, and no others, in ascending order of their ids.
    pub nodes: Vec<ViewNode>,
    /// In ascending order of their short channel ids.
    pub channels: Vec<ViewChannel>,
}

/// A node that has at least one channel in the view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewNode {
    pub id: NodeId,
    /// What it announced of itself; `None` while it announced nothing.
    pub details: Option<Arc<NodeDetails>>,
}

/// A channel, both of whose directions have been heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewChannel {
    pub scid: ShortChannelId,
    /// The channel's feature bits, big-endian; almost always empty.
    pub features: Box<[u8]>,
    /// Indexes of `node_id_1` and `node_id_2` in [`View::nodes`].
    pub nodes: [u32; 2],
    /// The funding output's value, where it is proven.
    pub capacity_sat: Option<u64>,
    /// By [`Direction`](crate::gossip::Direction): what each end charges.
    pub policies: [Policy; 2],
}
