//! The waiting room: announcements whose funding is being proven, and what arrived about them meanwhile.
//!
//! Everything in here has good signatures. Competing announcements of one short channel id sit side by side, each
//! with its own updates; a node's announcement waits while any candidate names the node. Bounded in messages and
//! bytes; each candidate holds the newest update of each direction.

use std::collections::{BTreeSet, HashMap};

use super::super::{ChannelAnnouncement, ChannelUpdate, Direction, NodeAnnouncement, NodeId, ShortChannelId};
use super::Refusal;

/// A candidate's number; also the claim's that asks for its proof.
pub(super) type CandidateId = u64;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    pub messages: usize,
    pub bytes: usize,
    /// Announcements of one short channel id, from all peers and from any one of them.
    pub candidates: usize,
    pub candidates_per_peer: usize,
}

impl Default for Capacity {
    /// A whole network.
    fn default() -> Self {
        Self { messages: 200_000, bytes: 128 << 20, candidates: 8, candidates_per_peer: 2 }
    }
}

pub(super) struct Candidate {
    pub announcement: ChannelAnnouncement,
    pub peer: NodeId,
    updates: [Option<ChannelUpdate>; 2],
}

impl Candidate {
    /// The updates that waited, in the order of their directions.
    pub fn into_updates(self) -> impl Iterator<Item = ChannelUpdate> {
        self.updates.into_iter().flatten()
    }

    fn len(&self) -> usize {
        self.announcement.wire().len() + self.updates.iter().flatten().map(|u| u.wire().len()).sum::<usize>()
    }

    fn messages(&self) -> usize {
        1 + self.updates.iter().flatten().count()
    }
}

/// What became of a message that was to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Placed {
    /// It waits.
    Added,
    /// It waits in the place of an older one.
    InPlaceOfAnother,
    /// There is no candidate for it to wait with.
    Nowhere,
}

#[derive(Default)]
struct WaitingNode {
    /// Candidates that name it.
    candidates: usize,
    announcement: Option<NodeAnnouncement>,
}

pub(super) struct WaitingRoom {
    capacity: Capacity,
    candidates: HashMap<CandidateId, Candidate>,
    by_scid: HashMap<ShortChannelId, Vec<CandidateId>>,
    by_peer: HashMap<NodeId, BTreeSet<(ShortChannelId, CandidateId)>>,
    nodes: HashMap<NodeId, WaitingNode>,
    messages: usize,
    bytes: usize,
}

impl WaitingRoom {
    pub fn new(capacity: Capacity) -> Self {
        let (candidates, by_scid, by_peer, nodes) = Default::default();
        Self { capacity, candidates, by_scid, by_peer, nodes, messages: 0, bytes: 0 }
    }

    pub fn messages(&self) -> usize {
        self.messages
    }

    pub fn is_half_empty(&self) -> bool {
        self.messages <= self.capacity.messages / 2 && self.bytes <= self.capacity.bytes / 2
    }

    pub fn candidate_count(&self) -> usize {
        self.candidates.len()
    }

    fn candidates_of(&self, scid: ShortChannelId) -> impl Iterator<Item = (CandidateId, &Candidate)> {
        let ids = self.by_scid.get(&scid).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| Some((*id, self.candidates.get(id)?)))
    }

    /// The keys that may sign for a direction of a channel that waits here.
    pub fn signers(&self, scid: ShortChannelId, direction: Direction) -> impl Iterator<Item = NodeId> {
        self.candidates_of(scid).map(move |(_, c)| c.announcement.nodes()[direction as usize])
    }

    /// Whether the same channel, between the same nodes and keys, waits already.
    pub fn has_channel(&self, scid: ShortChannelId, nodes: &[NodeId; 2], keys: &[NodeId; 2]) -> bool {
        self.candidates_of(scid)
            .any(|(_, c)| c.announcement.nodes() == *nodes && c.announcement.bitcoin_keys() == *keys)
    }

    /// The candidates for a place that name these nodes; more than one where they differ in their keys.
    pub fn between(&self, scid: ShortChannelId, nodes: &[NodeId; 2]) -> Vec<CandidateId> {
        self.candidates_of(scid).filter(|(_, c)| c.announcement.nodes() == *nodes).map(|(id, _)| id).collect()
    }

    pub fn has_node(&self, id: &NodeId) -> bool {
        self.nodes.contains_key(id)
    }

    /// Whether the channel at this place waits.
    pub fn has_place(&self, scid: ShortChannelId) -> bool {
        self.by_scid.contains_key(&scid)
    }

    /// Timestamp of the node announcement that waits for `id`.
    pub fn node_timestamp(&self, id: &NodeId) -> Option<u32> {
        Some(self.nodes.get(id)?.announcement.as_ref()?.timestamp())
    }

    /// Whether an update with this timestamp, or a newer one, waits with every candidate for this place.
    pub fn has_update(&self, scid: ShortChannelId, direction: Direction, timestamp: u32) -> bool {
        let mut candidates = self.candidates_of(scid).peekable();
        candidates.peek().is_some()
            && candidates.all(|(_, c)| {
                c.updates[direction as usize].as_ref().is_some_and(|waiting| waiting.timestamp() >= timestamp)
            })
    }

    /// Lets an announcement in under the number `id`.
    pub fn admit_channel(
        &mut self,
        id: CandidateId,
        announcement: &ChannelAnnouncement,
        peer: NodeId,
    ) -> Result<(), Refusal> {
        let scid = announcement.scid();
        let of_peer = self.candidates_of(scid).filter(|(_, c)| c.peer == peer).count();
        if of_peer >= self.capacity.candidates_per_peer
            || self.candidates_of(scid).count() >= self.capacity.candidates
        {
            return Err(Refusal::TooManyCandidates);
        }
        self.make_room(1, announcement.wire().len())?;
        for node in announcement.nodes() {
            self.nodes.entry(node).or_default().candidates += 1;
        }
        self.by_scid.entry(scid).or_default().push(id);
        self.by_peer.entry(peer).or_default().insert((scid, id));
        let announcement = announcement.clone();
        self.candidates.insert(id, Candidate { announcement, peer, updates: [None, None] });
        Ok(())
    }

    /// Lets an update wait with each candidate for which `signer` may sign its direction; keeps the newest.
    pub fn admit_update(&mut self, update: &ChannelUpdate, signer: NodeId) -> Result<Placed, Refusal> {
        let direction = update.direction() as usize;
        let ids: Vec<_> = self
            .candidates_of(update.scid())
            .filter(|(_, c)| c.announcement.nodes()[direction] == signer)
            .map(|(id, _)| id)
            .collect();
        let mut outcome = Ok(Placed::Nowhere);
        for id in ids {
            let Some(candidate) = self.candidates.get(&id) else { continue };
            let replaced = candidate.updates[direction].as_ref().map(|u| (u.timestamp(), u.wire().len()));
            if replaced.is_some_and(|(timestamp, _)| timestamp >= update.timestamp()) {
                outcome = outcome.and(Err(Refusal::AlreadyKnown));
                continue;
            }
            let (messages, bytes) = replaced.map_or((1, 0), |(_, len)| (0, len));
            self.make_room(messages, update.wire().len())?;
            self.bytes -= bytes;
            if let Some(candidate) = self.candidates.get_mut(&id) {
                candidate.updates[direction] = Some(update.clone());
            }
            outcome = Ok(if replaced.is_some() { Placed::InPlaceOfAnother } else { Placed::Added });
        }
        outcome
    }

    /// Lets a node's announcement wait, if a candidate names the node; keeps the newest.
    pub fn admit_node(&mut self, announcement: &NodeAnnouncement) -> Result<Placed, Refusal> {
        let id = announcement.node_id();
        let Some(node) = self.nodes.get(&id) else { return Ok(Placed::Nowhere) };
        let replaced = node.announcement.as_ref().map(|n| (n.timestamp(), n.wire().len()));
        if replaced.is_some_and(|(timestamp, _)| timestamp >= announcement.timestamp()) {
            return Err(Refusal::AlreadyKnown);
        }
        let (messages, bytes) = replaced.map_or((1, 0), |(_, len)| (0, len));
        self.make_room(messages, announcement.wire().len())?;
        self.bytes -= bytes;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.announcement = Some(announcement.clone());
        }
        Ok(if replaced.is_some() { Placed::InPlaceOfAnother } else { Placed::Added })
    }

    /// Takes out a candidate whose proof has settled.
    pub fn take(&mut self, id: CandidateId) -> Option<Candidate> {
        let candidate = self.candidates.remove(&id)?;
        self.messages -= candidate.messages();
        self.bytes -= candidate.len();
        let scid = candidate.announcement.scid();
        if let Some(ids) = self.by_scid.get_mut(&scid) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_scid.remove(&scid);
            }
        }
        if let Some(of_peer) = self.by_peer.get_mut(&candidate.peer) {
            of_peer.remove(&(scid, id));
            if of_peer.is_empty() {
                self.by_peer.remove(&candidate.peer);
            }
        }
        Some(candidate)
    }

    /// Ends a candidate's hold on a node, after [`take`](Self::take). Gives up the node's announcement for good when
    /// `wanted` or when no other candidate names the node.
    pub fn release_node(&mut self, id: &NodeId, wanted: bool) -> Option<NodeAnnouncement> {
        let node = self.nodes.get_mut(id)?;
        node.candidates = node.candidates.saturating_sub(1);
        let last = node.candidates == 0;
        let announcement = if wanted || last { self.take_node(id) } else { None };
        if last {
            self.nodes.remove(id);
        }
        announcement
    }

    /// Gives up a node's announcement; the candidates that name the node still wait.
    pub fn take_node(&mut self, id: &NodeId) -> Option<NodeAnnouncement> {
        let announcement = self.nodes.get_mut(id)?.announcement.take()?;
        self.messages -= 1;
        self.bytes -= announcement.wire().len();
        Some(announcement)
    }

    /// Who gives way, in a full room, to a message of `peer` about the channel at `scid`. The peer with most candidates
    /// gives way to the others; to itself it gives way with a channel of a later block, because one of a block to come
    /// cannot be proven now.
    pub fn in_the_way_of(&self, peer: NodeId, scid: Option<ShortChannelId>) -> Option<CandidateId> {
        let (largest, candidates) = self.by_peer.iter().max_by_key(|(id, candidates)| (candidates.len(), **id))?;
        let (last, id) = candidates.last()?;
        let of_another = *largest != peer && Some(*last) != scid;
        (of_another || scid.is_some_and(|scid| *last > scid)).then_some(*id)
    }

    fn make_room(&mut self, messages: usize, bytes: usize) -> Result<(), Refusal> {
        if self.messages + messages > self.capacity.messages || self.bytes + bytes > self.capacity.bytes {
            return Err(Refusal::WaitingRoomFull);
        }
        self.messages += messages;
        self.bytes += bytes;
        Ok(())
    }
}
