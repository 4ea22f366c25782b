//! What is current: what a recording must begin with so that it tells of the whole network by itself.
//!
//! Pure. Takes facts as the history does: of each direction and each node the newest message counts, an announcement
//! with other nodes begins another channel, the first proof of a channel's capacity holds, and a channel that was closed
//! by a spend may come back until that is final. Promises that the
//! records it gives, taken as facts again, give the same records, in the same order.

use std::collections::BTreeMap;

use super::{Body, Flags, Record};
use crate::gossip::{
    ChannelAnnouncement, ChannelUpdate, Closing, Direction, Fact, NodeAnnouncement, NodeId, ShortChannelId, UnixMs,
    is_final,
};

/// See the module's head.
#[derive(Default)]
pub struct Keeper {
    channels: BTreeMap<ShortChannelId, Channel>,
    /// Those of the channels.
    nodes: BTreeMap<NodeId, Node>,
    /// Channels that were closed by a spend and may come back.
    spent: BTreeMap<ShortChannelId, Spent>,
}

/// What was known of a channel when it was closed by a spend in the block at this height, and is of its nodes.
struct Spent {
    height: u32,
    channel: Channel,
    announcements: [Option<NodeAnnouncement>; 2],
}

impl Spent {
    fn hear(&mut self, announcement: &NodeAnnouncement) {
        for (node, newest) in self.channel.announcement.nodes().iter().zip(&mut self.announcements) {
            let newer = newest.as_ref().is_none_or(|newest| newest.timestamp() < announcement.timestamp());
            if *node == announcement.node_id() && newer {
                *newest = Some(announcement.clone());
            }
        }
    }
}

struct Channel {
    announcement: ChannelAnnouncement,
    /// When that was accepted, in unix seconds.
    accepted_s: u32,
    capacity_sat: Option<u64>,
    directions: [Option<ChannelUpdate>; 2],
}

#[derive(Default)]
struct Node {
    channels: u32,
    announcement: Option<NodeAnnouncement>,
}

/// How much is current.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub channels: usize,
    /// Nodes that have a channel, whether or not they announced themselves.
    pub nodes: usize,
}

/// What an announcement means for the channel that is known at its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// There was none, or it is the same one.
    Plain,
    /// A channel between other nodes was there, and is no more.
    TakesOver,
    /// It is the same channel, of which nobody knew the capacity.
    Proves,
}

impl Keeper {
    /// What an announcement with such a capacity would mean.
    pub fn place_of(&self, announcement: &ChannelAnnouncement, capacity_sat: Option<u64>) -> Place {
        match self.channels.get(&announcement.scid()) {
            Some(known) if known.announcement.nodes() != announcement.nodes() => Place::TakesOver,
            Some(known) if known.capacity_sat.is_none() && capacity_sat.is_some() => Place::Proves,
            _ => Place::Plain,
        }
    }

    /// Learns a fact that was accepted at `seen`. What makes no sense (an update of an unknown channel, say) is passed
    /// over.
    pub fn take(&mut self, seen: UnixMs, fact: Fact) {
        match fact {
            Fact::Channel { announcement, capacity_sat } => self.announced(seen, announcement, capacity_sat),
            Fact::Update(update) => self.updated(update),
            Fact::Node(announcement) => self.node(announcement),
            Fact::Proof { scid, capacity_sat } => {
                if let Some(channel) = self.channels.get_mut(&scid) {
                    channel.capacity_sat.get_or_insert(capacity_sat);
                }
            }
            Fact::Closed { scid, reason: Closing::Spent { height } } => self.spent(scid, height),
            Fact::Closed { scid, .. } => self.drop_channel(scid),
            Fact::Reopened { scid } => self.reopened(scid),
            Fact::Block(block) => self.spent.retain(|_, spent| !is_final(spent.height, block.height)),
            Fact::PossibleSplice { .. } | Fact::SyncCompleted { .. } => {}
        }
    }

    /// What comes back with a channel that was closed by a spend, if there is one at this place: the channel itself, and
    /// the announcements of its nodes.
    pub fn records_of_spent(&self, scid: ShortChannelId) -> impl Iterator<Item = Record> + '_ {
        self.spent.get(&scid).into_iter().flat_map(|spent| {
            let announcements = spent.announcements.iter().flatten().map(node_record);
            spent.channel.records().chain(announcements)
        })
    }

    /// Everything that is current: the channels by their short channel ids, each with its capacity (0 where that is
    /// unknown) and its updates, then the announcements of the nodes by their ids.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let nodes = self.nodes.values().filter_map(|node| node.announcement.as_ref()).map(node_record);
        self.channels.values().flat_map(Channel::records).chain(nodes)
    }

    pub fn counts(&self) -> Counts {
        Counts { channels: self.channels.len(), nodes: self.nodes.len() }
    }

    fn announced(&mut self, seen: UnixMs, announcement: ChannelAnnouncement, capacity_sat: Option<u64>) {
        let (scid, accepted_s) = (announcement.scid(), seen.secs());
        if let Some(known) = self.channels.get_mut(&scid)
            && known.announcement.nodes() == announcement.nodes()
        {
            known.capacity_sat = known.capacity_sat.or(capacity_sat);
            (known.announcement, known.accepted_s) = (announcement, accepted_s);
            return;
        }
        self.drop_channel(scid);
        self.spent.remove(&scid);
        self.insert(scid, Channel { announcement, accepted_s, capacity_sat, directions: [None, None] });
    }

    fn insert(&mut self, scid: ShortChannelId, channel: Channel) {
        for id in channel.announcement.nodes() {
            self.nodes.entry(id).or_default().channels += 1;
        }
        self.channels.insert(scid, channel);
    }

    fn updated(&mut self, update: ChannelUpdate) {
        let Some(channel) = self.channels.get_mut(&update.scid()) else { return };
        let newest = &mut channel.directions[update.direction() as usize];
        if newest.as_ref().is_none_or(|newest| newest.timestamp() < update.timestamp()) {
            *newest = Some(update);
        }
    }

    /// A node whose channel may come back is heard meanwhile, as the history hears it.
    fn node(&mut self, announcement: NodeAnnouncement) {
        self.spent.values_mut().for_each(|spent| spent.hear(&announcement));
        let Some(node) = self.nodes.get_mut(&announcement.node_id()) else { return };
        if node.announcement.as_ref().is_none_or(|newest| newest.timestamp() < announcement.timestamp()) {
            node.announcement = Some(announcement);
        }
    }

    fn spent(&mut self, scid: ShortChannelId, height: u32) {
        let Some(nodes) = self.channels.get(&scid).map(|channel| channel.announcement.nodes()) else { return };
        let announcements = nodes.map(|id| self.nodes.get(&id)?.announcement.clone());
        if let Some(channel) = self.take_out(scid) {
            self.spent.insert(scid, Spent { height, channel, announcements });
        }
    }

    fn reopened(&mut self, scid: ShortChannelId) {
        let Some(Spent { channel, announcements, .. }) = self.spent.remove(&scid) else { return };
        self.insert(scid, channel);
        announcements.into_iter().flatten().for_each(|announcement| self.node(announcement));
    }

    fn drop_channel(&mut self, scid: ShortChannelId) {
        self.take_out(scid);
    }

    /// Takes out the channel, and its nodes if it was their last one.
    fn take_out(&mut self, scid: ShortChannelId) -> Option<Channel> {
        let channel = self.channels.remove(&scid)?;
        for id in channel.announcement.nodes() {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.channels -= 1;
                if node.channels == 0 {
                    self.nodes.remove(&id);
                }
            }
        }
        Some(channel)
    }
}

impl Channel {
    fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let updates =
            Direction::BOTH.into_iter().filter_map(|direction| self.directions[direction as usize].as_ref());
        channel_records(self.accepted_s, &self.announcement, self.capacity_sat)
            .into_iter()
            .chain(updates.map(update_record))
    }
}

/// An announcement that was accepted at `accepted_s` (unix seconds), and the amount, for which readers wait.
pub(super) fn channel_records(
    accepted_s: u32,
    announcement: &ChannelAnnouncement,
    capacity_sat: Option<u64>,
) -> [Record; 2] {
    let amount = Body::Amount { capacity_sat: capacity_sat.unwrap_or(0) };
    [record(accepted_s, Body::Message(announcement.wire().into())), record(0, amount)]
}

pub(super) fn update_record(update: &ChannelUpdate) -> Record {
    record(update.timestamp(), Body::Message(update.wire().into()))
}

pub(super) fn node_record(node: &NodeAnnouncement) -> Record {
    record(node.timestamp(), Body::Message(node.wire().into()))
}

pub(super) fn record(timestamp: u32, body: Body) -> Record {
    Record { flags: Flags::default(), timestamp, body }
}

#[cfg(test)]
pub(super) mod tests;
