//! What a wallet is told, before it becomes bytes: announcements, nodes' details, updates.

use std::sync::Arc;

use crate::gossip::{Direction, NodeDetails, NodeId, Policy, ShortChannelId};
use crate::history::{Changed, View};

/// All that one snapshot says, full or a delta.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contents {
    /// The epoch's, in unix seconds.
    pub timestamp: u32,
    /// In ascending order of their ids: whoever an announcement names, or whose details are told.
    pub nodes: Vec<ToldNode>,
    /// Announcements, in ascending order of their short channel ids.
    pub channels: Vec<ToldChannel>,
    /// In ascending order of short channel id and direction; each at most once.
    pub updates: Vec<ToldUpdate>,
}

/// A node, and which of its details are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToldNode {
    pub id: NodeId,
    /// Contents even where they are empty: a wallet that has older ones has to lose them.
    pub features: Option<Arc<NodeDetails>>,
    pub addresses: Option<Arc<NodeDetails>>,
}

/// An announcement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToldChannel {
    pub scid: ShortChannelId,
    /// Feature bits, big-endian.
    pub features: Box<[u8]>,
    /// Indexes of `node_id_1` and `node_id_2` in [`Contents::nodes`].
    pub nodes: [u32; 2],
    pub capacity_sat: Option<u64>,
}

/// An update of one direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToldUpdate {
    pub scid: ShortChannelId,
    pub direction: Direction,
    pub what: What,
}

/// What is told of a direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// All of it.
    Whole(Policy),
    /// The parts that changed; a client that lacks the direction passes over it, unless all of it takes fewer bytes.
    Parts(Policy, Changed),
    /// That it is still there, as it was: clients forget what is not mentioned for long.
    Reminder { enabled: bool },
    /// That its channel is no more. A client that does not have it passes over it.
    Gone,
}

/// How much of each kind a snapshot tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Breakdown {
    pub announcements: u32,
    /// Nodes of which any detail is told (in version 2 only).
    pub node_details: u32,
    /// Directions that are told as a whole.
    pub whole: u32,
    /// Directions of which the parts are told that changed.
    pub changed: u32,
    pub reminders: u32,
    /// Directions of channels that are no more.
    pub gone: u32,
}

impl Contents {
    /// All of a view.
    pub fn full(view: &View) -> Self {
        let nodes = view.nodes.iter().map(|node| ToldNode::all(node.id, node.details.clone()));
        let channels = view.channels.iter().map(|channel| ToldChannel {
            scid: channel.scid,
            features: channel.features.clone(),
            nodes: channel.nodes,
            capacity_sat: channel.capacity_sat,
        });
        let updates = view.channels.iter().flat_map(|channel| {
            let directions = Direction::BOTH.into_iter().zip(channel.policies);
            directions.map(|(direction, policy)| ToldUpdate {
                scid: channel.scid,
                direction,
                what: What::Whole(policy),
            })
        });
        Self {
            timestamp: view.epoch.timestamp,
            nodes: nodes.collect(),
            channels: channels.collect(),
            updates: updates.collect(),
        }
    }

    /// Nothing, at a time: such a snapshot changes nothing at a client, not even the time of its last sync.
    pub fn nothing(timestamp: u32) -> Self {
        Self { timestamp, nodes: Vec::new(), channels: Vec::new(), updates: Vec::new() }
    }

    /// And that these channels, which it does not speak of, are no more.
    pub fn with_departed(mut self, departed: &[ShortChannelId]) -> Self {
        self.updates.extend(departed.iter().copied().flat_map(ToldUpdate::gone));
        self.updates.sort_unstable_by_key(ToldUpdate::place);
        self
    }

    /// How much of each kind it tells.
    pub fn breakdown(&self) -> Breakdown {
        let detailed = self.nodes.iter().filter(|node| node.features.is_some() || node.addresses.is_some());
        let mut breakdown = Breakdown {
            announcements: self.channels.len() as u32, // the encoder checks these lengths
            node_details: detailed.count() as u32,
            ..Breakdown::default()
        };
        for update in &self.updates {
            *match update.what {
                What::Whole(_) => &mut breakdown.whole,
                What::Parts(..) => &mut breakdown.changed,
                What::Reminder { .. } => &mut breakdown.reminders,
                What::Gone => &mut breakdown.gone,
            } += 1;
        }
        breakdown
    }
}

impl ToldNode {
    /// All of its details, if it has announced any.
    pub fn all(id: NodeId, details: Option<Arc<NodeDetails>>) -> Self {
        Self { id, features: details.clone(), addresses: details }
    }
}

impl ToldUpdate {
    /// Both directions of a channel that is no more.
    pub fn gone(scid: ShortChannelId) -> [Self; 2] {
        Direction::BOTH.map(|direction| Self { scid, direction, what: What::Gone })
    }

    /// Where it stands among the others.
    pub fn place(&self) -> (ShortChannelId, Direction) {
        (self.scid, self.direction)
    }
}
