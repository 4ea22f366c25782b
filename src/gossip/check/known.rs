//! What the checking stage remembers of everything it let through: just enough to refuse the rest cheaply.
//!
//! Built from the same facts that go to the journal, so a restart that reads the journal knows as much as before.

use std::collections::HashMap;

use super::super::funding::{FundingScript, funding_script};
use super::super::{ChannelUpdate, Direction, Fact, NodeId, ShortChannelId, UnixMs};

/// A direction, or a node, may speak so many times at once …
const BURST: u8 = 20;
/// … and once more every so many seconds.
const REFILL_S: u32 = 60;

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
    /// When its announcement, and when the last message about it, was accepted, in unix seconds.
    pub announced_s: u32,
    pub heard_s: u32,
}

#[derive(Clone, Copy)]
pub(super) struct KnownDirection {
    /// Timestamp of the last accepted update; 0 before the first.
    pub timestamp: u32,
    pub turns: Turns,
}

/// How often somebody may still speak.
#[derive(Clone, Copy)]
pub(super) struct Turns {
    left: u8,
    refilled_s: u32,
}

impl Default for Turns {
    fn default() -> Self {
        Self { left: BURST, refilled_s: 0 }
    }
}

impl Turns {
    /// Takes the right to speak once more, if there is one at `now_s`.
    pub fn take(&mut self, now_s: u32) -> bool {
        self.refilled_s = self.refilled_s.min(now_s); // a clock that was ahead must not hold anybody up
        let earned = (now_s - self.refilled_s) / REFILL_S;
        if earned >= u32::from(BURST - self.left) {
            *self = Self { left: BURST, refilled_s: now_s };
        } else {
            self.left += earned as u8; // less than the burst
            self.refilled_s += earned * REFILL_S;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

#[derive(Default)]
struct KnownNode {
    /// How many known channels it has.
    channels: u32,
    /// Timestamp of its last accepted announcement.
    timestamp: Option<u32>,
    turns: Turns,
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

    /// Takes a known node's right to speak once more.
    pub fn take_node_turn(&mut self, id: &NodeId, now: UnixMs) -> bool {
        self.nodes.get_mut(id).is_some_and(|node| node.turns.take(now.secs()))
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
                let directions = [KnownDirection { timestamp: 0, turns: Turns::default() }; 2];
                let (capacity_sat, now_s) = (*capacity_sat, seen.secs());
                let channel = KnownChannel { nodes, capacity_sat, directions, announced_s: now_s, heard_s: now_s };
                self.channels.insert(scid, channel);
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
