//! What the checking stage remembers of everything it let through: just enough to refuse the rest cheaply.
//!
//! Built from the same facts that go to the journal, so a restart that reads the journal knows as much as before.

use std::collections::HashMap;
use std::time::Duration;

use super::super::funding::{FundingScript, funding_script};
use super::super::{ChannelUpdate, Direction, Fact, NodeId, ShortChannelId, UnixMs};

/// A direction may send this many updates at once …
const UPDATE_BURST: u8 = 20;
/// … and one more for each of these.
pub(super) const UPDATE_REFILL: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Known {
    channels: HashMap<ShortChannelId, KnownChannel>,
    nodes: HashMap<NodeId, KnownNode>,
    /// Channels that still lack a proof, with the script that would prove them.
    unproven: HashMap<ShortChannelId, FundingScript>,
}

pub(super) struct KnownChannel {
    pub nodes: [NodeId; 2],
    pub capacity_sat: Option<u64>,
    pub directions: [KnownDirection; 2],
    /// When the last message about it was accepted, in unix seconds.
    pub heard_s: u32,
}

#[derive(Clone, Copy)]
pub(super) struct KnownDirection {
    /// Timestamp of the last accepted update; 0 before the first.
    pub timestamp: u32,
    tokens: u8,
    refilled_s: u32,
}

impl KnownDirection {
    const NEW: Self = Self { timestamp: 0, tokens: UPDATE_BURST, refilled_s: 0 };

    /// Takes the right to one more update, if there is one at `now_s`.
    pub fn take_turn(&mut self, now_s: u32) -> bool {
        let refill_s = UPDATE_REFILL.as_secs() as u32;
        let earned = now_s.saturating_sub(self.refilled_s) / refill_s;
        if earned >= u32::from(UPDATE_BURST - self.tokens) {
            self.tokens = UPDATE_BURST;
            self.refilled_s = now_s;
        } else {
            self.tokens += earned as u8;
            self.refilled_s += earned * refill_s;
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

#[derive(Default)]
struct KnownNode {
    /// How many known channels it has.
    channels: u32,
    /// Timestamp of its last accepted announcement.
    timestamp: Option<u32>,
}

impl Known {
    pub fn channel(&self, scid: ShortChannelId) -> Option<&KnownChannel> {
        self.channels.get(&scid)
    }

    pub fn channel_mut(&mut self, scid: ShortChannelId) -> Option<&mut KnownChannel> {
        self.channels.get_mut(&scid)
    }

    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub fn has_node(&self, id: &NodeId) -> bool {
        self.nodes.contains_key(id)
    }

    /// Timestamp of the node's last announcement; `None` before the first, or where it has no channel.
    pub fn node_timestamp(&self, id: &NodeId) -> Option<u32> {
        self.nodes.get(id)?.timestamp
    }

    /// Channels without a proof, and the script each of them must show.
    pub fn unproven(&self) -> impl Iterator<Item = (ShortChannelId, &FundingScript)> {
        self.unproven.iter().map(|(scid, script)| (*scid, script))
    }

    /// Channels of which nothing was heard since `before_s`, in ascending order.
    pub fn silent_since(&self, before_s: u32) -> Vec<ShortChannelId> {
        let silent = self.channels.iter().filter(|(_, c)| c.heard_s < before_s);
        let mut silent: Vec<_> = silent.map(|(scid, _)| *scid).collect();
        silent.sort_unstable();
        silent
    }

    /// Takes in what was accepted, now or before a restart.
    pub fn learn(&mut self, seen: UnixMs, fact: &Fact) {
        match fact {
            Fact::Channel { announcement, capacity_sat } => {
                let scid = announcement.scid();
                self.remove(scid);
                let nodes = announcement.nodes();
                for node in &nodes {
                    self.nodes.entry(*node).or_default().channels += 1;
                }
                if capacity_sat.is_none() {
                    self.unproven.insert(scid, funding_script(&announcement.bitcoin_keys()));
                }
                let directions = [KnownDirection::NEW; 2];
                let heard_s = seen.secs();
                self.channels.insert(scid, KnownChannel { nodes, capacity_sat: *capacity_sat, directions, heard_s });
            }
            Fact::Update(update) => self.learn_update(seen, update),
            Fact::Node(node) => {
                if let Some(known) = self.nodes.get_mut(&node.node_id()) {
                    known.timestamp = Some(node.timestamp());
                }
            }
            Fact::Proof { scid, capacity_sat } => {
                self.unproven.remove(scid);
                if let Some(channel) = self.channels.get_mut(scid) {
                    channel.capacity_sat = Some(*capacity_sat);
                }
            }
            Fact::Closed { scid, .. } => self.remove(*scid),
            Fact::SyncCompleted { .. } => {}
        }
    }

    fn learn_update(&mut self, seen: UnixMs, update: &ChannelUpdate) {
        if let Some(channel) = self.channels.get_mut(&update.scid()) {
            channel.heard_s = seen.secs();
            channel.directions[update.direction() as usize].timestamp = update.timestamp();
        }
    }

    fn remove(&mut self, scid: ShortChannelId) {
        self.unproven.remove(&scid);
        let Some(channel) = self.channels.remove(&scid) else { return };
        for id in channel.nodes {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.channels -= 1;
                if node.channels == 0 {
                    self.nodes.remove(&id);
                }
            }
        }
    }
}

impl KnownChannel {
    /// Who signs for a direction.
    pub fn signer(&self, direction: Direction) -> NodeId {
        self.nodes[direction as usize]
    }
}
