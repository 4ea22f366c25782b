//! What the checking stage remembers of everything it let through: just enough to refuse the rest cheaply.
//!
//! Built from the same facts that go to the journal, so a restart that reads the journal knows as much as before.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::funding::{FundingScript, FundingTag, funding_script};
use super::super::{
    ChannelAnnouncement, ChannelUpdate, Closing, Direction, Fact, NodeId, ShortChannelId, Trail, UnixMs,
};
use super::spends::{ClosedBySpend, Splice};

/// A direction, or a node, may speak so many times at once …
const BURST: u8 = 20;
/// … and once more every so many seconds.
const REFILL_S: u32 = 60;

#[derive(Default)]
pub(super) struct Known {
    pub(super) channels: HashMap<ShortChannelId, KnownChannel>,
    nodes: HashMap<NodeId, KnownNode>,
    /// Channels that still lack a proof, with the script that would prove them.
    unproven: HashMap<ShortChannelId, FundingScript>,
    /// The channels, those closed by a spend included, by what a spend of their funding output reveals; after a splice
    /// two may have the same keys.
    pub(super) tags: BTreeSet<(FundingTag, ShortChannelId)>,
    /// How far the chain was looked through for spends.
    pub(super) trail: Trail,
    /// Channels that stay for now, though their funding output was spent.
    pub(super) splices: BTreeMap<ShortChannelId, Splice>,
    /// Channels that were closed by a spend, while a reorganisation may undo that. They keep their hold on their nodes.
    pub(super) closed: BTreeMap<ShortChannelId, ClosedBySpend>,
}

pub(super) struct KnownChannel {
    pub nodes: [NodeId; 2],
    pub capacity_sat: Option<u64>,
    pub directions: [KnownDirection; 2],
    pub tag: FundingTag,
    /// When its announcement, and when the last message about it, was accepted, in unix seconds.
    pub announced_s: u32,
    pub heard_s: u32,
}

#[derive(Clone, Copy)]
pub(super) struct KnownDirection {
    /// Timestamp of the last accepted update, and whether that enabled the direction; 0 before the first.
    pub timestamp: u32,
    pub enabled: bool,
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

    /// Takes a channel back in, with the script that it must still show.
    pub(super) fn take_back(&mut self, scid: ShortChannelId, channel: KnownChannel, unproven: Option<FundingScript>) {
        self.insert(scid, channel);
        self.unproven.extend(unproven.map(|script| (scid, script)));
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
            Fact::Closed { scid, reason: Closing::Spent { height } } => self.close_by_spend(*scid, *height),
            Fact::Closed { scid, .. } => self.remove(*scid),
            Fact::PossibleSplice { scid, height } => self.note_splice(seen, *scid, *height),
            Fact::Reopened { scid } => self.reopen(*scid),
            Fact::Block(block) => self.reach(*block),
            Fact::SyncCompleted { .. } => {}
        }
    }

    /// One with other nodes than the channel that is there begins another channel; one with the same nodes keeps what
    /// was heard and proven of it.
    fn learn_channel(&mut self, seen: UnixMs, announcement: &ChannelAnnouncement, capacity_sat: Option<u64>) {
        let (scid, nodes, now_s) = (announcement.scid(), announcement.nodes(), seen.secs());
        let tag = FundingTag::of_keys(&announcement.bitcoin_keys());
        if self.channels.get(&scid).is_none_or(|known| known.nodes != nodes) {
            self.remove(scid);
            if let Some(closed) = self.closed.remove(&scid) {
                self.forget(scid, &closed.channel);
            }
            for node in &nodes {
                self.nodes.entry(*node).or_default().channels += 1;
            }
            let directions = [KnownDirection { timestamp: 0, enabled: false, turns: Turns::default() }; 2];
            let (capacity_sat, announced_s, heard_s) = (None, now_s, now_s);
            self.insert(scid, KnownChannel { nodes, capacity_sat, directions, tag, announced_s, heard_s });
        }
        if let Some(known) = self.channels.get_mut(&scid).filter(|known| known.capacity_sat.is_none()) {
            self.tags.remove(&(known.tag, scid)); // of two announcements with other keys, the later one is asked about
            self.tags.insert((tag, scid));
            known.tag = tag;
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
            direction.enabled = update.policy().enabled;
            channel.heard_s = seen.secs();
            self.look_for_replaced(seen, update.scid());
        }
    }

    fn prove(&mut self, scid: ShortChannelId, capacity_sat: u64) {
        self.unproven.remove(&scid);
        if let Some(channel) = self.channels.get_mut(&scid) {
            channel.capacity_sat.get_or_insert(capacity_sat);
        }
    }

    fn insert(&mut self, scid: ShortChannelId, channel: KnownChannel) {
        self.tags.insert((channel.tag, scid));
        self.channels.insert(scid, channel);
    }

    /// Takes a channel out, with the script that it must still show; its tag and its hold on its nodes stay.
    pub(super) fn take_out(&mut self, scid: ShortChannelId) -> Option<(KnownChannel, Option<FundingScript>)> {
        let channel = self.channels.remove(&scid)?;
        self.splices.remove(&scid);
        Some((channel, self.unproven.remove(&scid)))
    }

    fn remove(&mut self, scid: ShortChannelId) {
        if let Some((channel, _)) = self.take_out(scid) {
            self.forget(scid, &channel);
        }
    }

    /// Ends what is left of a channel that was taken out.
    pub(super) fn forget(&mut self, scid: ShortChannelId, channel: &KnownChannel) {
        self.tags.remove(&(channel.tag, scid));
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
