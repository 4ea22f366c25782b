//! What the checking stage remembers of everything it let through: just enough to refuse the rest cheaply.
//!
//! Built from the same facts that go to the journal, so a restart that reads the journal knows as much as before.

use std::collections::HashMap;

use super::super::funding::{FundingScript, funding_script};
use super::super::{ChannelAnnouncement, ChannelUpdate, Direction, Fact, NodeId, ShortChannelId, UnixMs};

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

    /// Gives the right to speak once, if there is none.
    fn give(&mut self) {
        self.left = self.left.max(1);
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

    /// Lets a direction speak once more at least.
    pub fn give_turn(&mut self, scid: ShortChannelId, direction: Direction) {
        if let Some(channel) = self.channels.get_mut(&scid) {
            channel.directions[direction as usize].turns.give();
        }
    }

    /// The same for a node.
    pub fn give_node_turn(&mut self, id: &NodeId) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.turns.give();
        }
    }

    /// Channels without a proof.
    pub fn unproven(&self) -> impl ExactSizeIterator<Item = ShortChannelId> {
        self.unproven.keys().copied()
    }

    /// The script that a channel must show, if it lacks a proof.
    pub fn unproven_script(&self, scid: ShortChannelId) -> Option<&FundingScript> {
        self.unproven.get(&scid)
    }

    /// Channels of which nothing was heard since `before_s`, in ascending order.
    pub fn silent_since(&self, before_s: u32) -> Vec<ShortChannelId> {
        let silent = self.channels.iter().filter(|(_, c)| c.heard_s < before_s);
        let mut silent: Vec<_> = silent.map(|(scid, _)| *scid).collect();
        silent.sort_unstable();
        silent
    }

    /// Takes in what was accepted: now, before a restart, or by another collector. Facts of the last kind may be older
    /// than what is known: the newest of each is what counts, as it does for the history.
    pub fn learn(&mut self, seen: UnixMs, fact: &Fact) {
        match fact {
            Fact::Channel { announcement, capacity_sat } => self.learn_channel(seen, announcement, *capacity_sat),
            Fact::Update(update) => self.learn_update(seen, update),
            Fact::Node(node) => {
                if let Some(known) = self.nodes.get_mut(&node.node_id()) {
                    known.timestamp = known.timestamp.max(Some(node.timestamp()));
                }
            }
            Fact::Proof { scid, capacity_sat } => self.prove(*scid, *capacity_sat),
            Fact::Closed { scid, .. } => self.remove(*scid),
            Fact::SyncCompleted { .. } => {}
        }
    }

    /// One with other nodes than the channel that is there begins another channel; one with the same nodes keeps what
    /// was heard and proven of it.
    fn learn_channel(&mut self, seen: UnixMs, announcement: &ChannelAnnouncement, capacity_sat: Option<u64>) {
        let (scid, nodes, now_s) = (announcement.scid(), announcement.nodes(), seen.secs());
        if self.channels.get(&scid).is_none_or(|known| known.nodes != nodes) {
            self.remove(scid);
            for node in &nodes {
                self.nodes.entry(*node).or_default().channels += 1;
            }
            let directions = [KnownDirection { timestamp: 0, turns: Turns::default() }; 2];
            let channel = KnownChannel { nodes, capacity_sat: None, directions, announced_s: now_s, heard_s: now_s };
            self.channels.insert(scid, channel);
        }
        if let Some(capacity_sat) = capacity_sat {
            self.prove(scid, capacity_sat);
        } else if self.channels.get(&scid).is_some_and(|known| known.capacity_sat.is_none()) {
            self.unproven.insert(scid, funding_script(&announcement.bitcoin_keys()));
        }
    }

    fn learn_update(&mut self, seen: UnixMs, update: &ChannelUpdate) {
        let Some(channel) = self.channels.get_mut(&update.scid()) else { return };
        let direction = &mut channel.directions[update.direction() as usize];
        if update.timestamp() > direction.timestamp {
            direction.timestamp = update.timestamp();
            channel.heard_s = seen.secs();
        }
    }

    fn prove(&mut self, scid: ShortChannelId, capacity_sat: u64) {
        self.unproven.remove(&scid);
        if let Some(channel) = self.channels.get_mut(&scid) {
            channel.capacity_sat.get_or_insert(capacity_sat);
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
