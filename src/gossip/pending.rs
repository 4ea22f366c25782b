//! What a collector that stands by has accepted, and the leader's journal lacks so far.
//!
//! Owns one fact, the newest, for each thing that a fact can be about, so that it is bounded by the network; keeps them
//! in the order in which they were accepted. Promises that what it gives out, put behind the leader's journal, completes
//! it: the newest of what either collector accepted, and nothing that the journal has already. Pure: it reads no clock
//! and looks at no signature.
//!
//! While an announcement is pending, the leader's journal has no channel at its place, or one between other nodes. What
//! the leader journals of that place, short of another announcement, then speaks of a channel that ours will replace.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use super::{ChannelAnnouncement, Closing, Direction, Fact, NodeId, ShortChannelId, UnixMs};

/// See the module's words.
#[derive(Default, Debug)]
pub(super) struct Pending {
    /// By the order of their acceptance.
    facts: BTreeMap<u64, (UnixMs, Fact)>,
    places: HashMap<Key, u64>,
    next: u64,
}

/// What a fact is about: of each, the newest is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Key {
    Closing(ShortChannelId),
    Channel(ShortChannelId),
    Proof(ShortChannelId),
    Update(ShortChannelId, Direction),
    Node(NodeId),
    Block,
    Sync,
}

impl Key {
    fn of(fact: &Fact) -> Self {
        match fact {
            Fact::Channel { announcement, .. } => Self::Channel(announcement.scid()),
            Fact::Update(update) => Self::Update(update.scid(), update.direction()),
            Fact::Node(node) => Self::Node(node.node_id()),
            Fact::Proof { scid, .. } => Self::Proof(*scid),
            // What the chain says of a channel; while another collector leads, it is that one which looks.
            Fact::Closed { scid, .. } | Fact::PossibleSplice { scid, .. } | Fact::Reopened { scid } => {
                Self::Closing(*scid)
            }
            Fact::Block(_) => Self::Block,
            Fact::SyncCompleted { .. } => Self::Sync,
        }
    }
}

impl Pending {
    /// How many facts are pending.
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// This collector accepted a fact, which goes to the end. A channel, and a closing, end what was pending of the
    /// channel that stood there before; a closing itself stays, because the journal may have that channel.
    pub fn add(&mut self, seen: UnixMs, fact: Fact) {
        match &fact {
            Fact::Channel { announcement, .. } => self.remove_channel(announcement.scid()),
            Fact::Closed { scid, .. } => self.remove_channel(*scid),
            _ => {}
        }
        let key = Key::of(&fact);
        self.remove(key);
        self.places.insert(key, self.next);
        self.facts.insert(self.next, (seen, fact));
        self.next += 1;
    }

    /// The leader journaled a fact: what it settles is pending no more. `replaces` says that it announces another
    /// channel, between other nodes, than the one that this collector has at the place. Returns whether the fact holds
    /// here, too; if not, it speaks of a channel that a pending one has replaced.
    pub fn told(&mut self, seen: UnixMs, fact: &Fact, replaces: bool) -> bool {
        match fact {
            Fact::Channel { announcement, capacity_sat } => {
                self.told_channel(announcement.scid(), *capacity_sat, replaces);
            }
            // What a spend closed may be reopened; if it is not, the journal passes over what is said of it.
            Fact::Closed { scid, reason: Closing::Spent { .. } } => return !self.has_channel(*scid),
            Fact::Closed { scid, .. } => {
                self.remove(Key::Closing(*scid));
                if self.has_channel(*scid) {
                    return false;
                }
                self.remove_channel(*scid);
            }
            Fact::Update(update) if self.has_channel(update.scid()) => return false,
            Fact::Proof { scid, .. } | Fact::PossibleSplice { scid, .. } | Fact::Reopened { scid }
                if self.has_channel(*scid) =>
            {
                return false;
            }
            Fact::PossibleSplice { .. } | Fact::Reopened { .. } => {}
            Fact::Update(_) | Fact::Node(_) | Fact::Proof { .. } | Fact::Block(_) | Fact::SyncCompleted { .. } => {
                let settled = |(since, pending): &(UnixMs, Fact)| match (pending, fact) {
                    (Fact::Update(pending), Fact::Update(told)) => pending.timestamp() <= told.timestamp(),
                    (Fact::Node(pending), Fact::Node(told)) => pending.timestamp() <= told.timestamp(),
                    (Fact::SyncCompleted { .. }, _) => *since <= seen,
                    _ => true, // the first proof holds
                };
                let key = Key::of(fact);
                if self.get(key).is_some_and(settled) {
                    self.remove(key);
                }
            }
        }
        true
    }

    /// The channels that were proven here, in the order of their acceptance.
    pub fn proven(&self) -> impl Iterator<Item = &ChannelAnnouncement> {
        self.facts.values().filter_map(|(_, fact)| match fact {
            Fact::Channel { announcement, capacity_sat: Some(_) } => Some(announcement),
            _ => None,
        })
    }

    /// Everything, in the order of acceptance, but a completed sync last: it speaks of all the others.
    pub fn in_order(mut self) -> impl Iterator<Item = (UnixMs, Fact)> {
        let sync = self.remove(Key::Sync).map(|(_, fact)| fact);
        self.facts.into_values().chain(sync)
    }

    fn told_channel(&mut self, scid: ShortChannelId, capacity_sat: Option<u64>, replaces: bool) {
        self.remove(Key::Closing(scid));
        if replaces {
            return self.remove_channel(scid);
        }
        if capacity_sat.is_some() {
            self.remove(Key::Proof(scid));
        }
        let Some((place, (seen, ours))) = self.remove(Key::Channel(scid)) else { return };
        if let (Fact::Channel { capacity_sat: Some(proven_sat), .. }, None) = (ours, capacity_sat) {
            // The leader could not prove what we could.
            self.places.insert(Key::Proof(scid), place);
            self.facts.insert(place, (seen, Fact::Proof { scid, capacity_sat: proven_sat }));
        }
    }

    fn has_channel(&self, scid: ShortChannelId) -> bool {
        self.places.contains_key(&Key::Channel(scid))
    }

    fn get(&self, key: Key) -> Option<&(UnixMs, Fact)> {
        self.facts.get(self.places.get(&key)?)
    }

    /// Takes a fact out, with its place in the order.
    fn remove(&mut self, key: Key) -> Option<(u64, (UnixMs, Fact))> {
        let place = self.places.remove(&key)?;
        Some((place, self.facts.remove(&place)?))
    }

    /// Takes out all that is pending of a channel, but for the closing of the one before it.
    fn remove_channel(&mut self, scid: ShortChannelId) {
        self.remove(Key::Channel(scid));
        self.remove(Key::Proof(scid));
        for direction in Direction::BOTH {
            self.remove(Key::Update(scid, direction));
        }
    }
}
