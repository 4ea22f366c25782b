//! The first gate: what can be refused without looking at a signature.

use std::collections::{HashMap, HashSet};

use lightning::ln::msgs;

use super::super::{Direction, NodeAnnouncement, NodeId, ShortChannelId, UnixMs};
use super::known::KnownChannel;
use super::signatures::Job;
use super::{Checker, Gossip, Heard, Outcome, Refusal, STALE_AFTER_S, addresses_len};

/// A `channel_update` stamped further ahead than this is refused, as LDK does.
const AHEAD_AT_MOST_S: u32 = 24 * 3600;
/// Undefined bytes in a message beyond which it is not kept; LDK does not relay such messages either.
const EXCESS_AT_MOST: usize = 1024;
/// Bytes of features, and of addresses, beyond which a message is not kept. Real ones have some dozens; a few hundred
/// nodes or channels with the most that fits into a message would make a snapshot too large for wallets.
const FEATURES_AT_MOST: usize = 256;
const ADDRESSES_AT_MOST: usize = 1024;
/// How long a proven channel stays before another one may take its place: a reorganisation is healed in a day.
const REPLACED_AFTER_S: u32 = 24 * 3600;
/// All bitcoin there will be: LDK's limit for `htlc_maximum_msat`.
const ALL_BITCOIN_MSAT: u64 = 21_000_000 * 100_000_000 * 1000;

/// What a batch itself announces, well signed: later messages of the batch may speak of it.
#[derive(Default)]
pub(super) struct Announced {
    channels: HashMap<ShortChannelId, Vec<([NodeId; 2], NodeId)>>,
    nodes: HashSet<NodeId>,
}

impl Announced {
    /// Takes an announcement in, if its peer has announced fewer others at its place.
    pub fn add(&mut self, heard: &Heard, at_most: usize) {
        let Gossip::Channel(m) = &heard.message else { return };
        let nodes = [m.contents.node_id_1, m.contents.node_id_2];
        let announced = self.channels.entry(ShortChannelId(m.contents.short_channel_id)).or_default();
        let of_peer = announced.iter().filter(|(_, peer)| *peer == heard.peer).count();
        if of_peer < at_most && !announced.iter().any(|(pair, _)| *pair == nodes) {
            announced.push((nodes, heard.peer));
            self.nodes.extend(nodes);
        }
    }
}

/// Finds a batch's exact copies: two peers may send the same message at nearly the same time.
pub(super) struct Copies<'a> {
    batch: &'a [Heard],
    /// `None` where none are sought.
    last: Option<HashMap<Subject, usize>>,
}

impl<'a> Copies<'a> {
    pub fn new(batch: &'a [Heard]) -> Self {
        Self { batch, last: Some(HashMap::with_capacity(batch.len())) }
    }

    /// Finds none: where a batch ends must not decide what becomes of a copy whose original came too early.
    pub fn unsought(batch: &'a [Heard]) -> Self {
        Self { batch, last: None }
    }

    /// Whether this message came before. Only an exact copy shares its original's fate: a forgery with the same
    /// timestamp must not push out the true message.
    fn has(&mut self, index: usize) -> bool {
        let message = &self.batch[index].message;
        let Some(last) = &mut self.last else { return false };
        let earlier = last.insert(Subject::of(message), index);
        earlier.is_some_and(|earlier| self.batch[earlier].message == *message)
    }
}

/// Which of a batch's messages could be one another's copies.
#[derive(PartialEq, Eq, Hash)]
enum Subject {
    Channel(ShortChannelId),
    Update(ShortChannelId, Direction, u32),
    Node(NodeId, u32),
}

impl Subject {
    fn of(message: &Gossip) -> Self {
        match message {
            Gossip::Channel(m) => Self::Channel(ShortChannelId(m.contents.short_channel_id)),
            Gossip::Update(m) => {
                let m = &m.contents;
                let direction = Direction::from_flags(m.channel_flags);
                Self::Update(ShortChannelId(m.short_channel_id), direction, m.timestamp)
            }
            Gossip::Node(m) => Self::Node(m.contents.node_id, m.contents.timestamp),
        }
    }
}

impl Checker {
    /// Counts out what can be refused at once of a batch's channel announcements, or of its other messages; the rest
    /// are jobs for the signature gate, in order.
    pub(super) fn refuse_cheaply(
        &mut self,
        now: impl Fn(usize) -> UnixMs,
        batch: &[Heard],
        announcements: bool,
        announced: &Announced,
        copies: &mut Copies<'_>,
        outcome: &mut Outcome,
    ) -> Vec<Job> {
        let mut jobs = Vec::with_capacity(batch.len());
        for (index, heard) in batch.iter().enumerate() {
            if matches!(heard.message, Gossip::Channel(_)) != announcements {
                continue;
            }
            match self.pass_cheaply(now(index), &heard.message, announced) {
                Ok(_) if copies.has(index) => {
                    self.refuse(index, heard.message.kind(), Refusal::AlreadyKnown, outcome)
                }
                Ok(signers) => jobs.push(Job { index, signers }),
                Err(refusal) => self.refuse(index, heard.message.kind(), refusal, outcome),
            }
        }
        jobs
    }

    /// The keys that may have signed an update; none for the messages that name their signers themselves.
    fn pass_cheaply(&mut self, now: UnixMs, message: &Gossip, announced: &Announced) -> Result<Vec<NodeId>, Refusal> {
        match message {
            Gossip::Channel(m) => self.pass_channel(now, &m.contents).map(|()| Vec::new()),
            Gossip::Update(m) => self.pass_update(now, &m.contents, announced),
            Gossip::Node(m) => self.pass_node(&m.contents, announced).map(|()| Vec::new()),
        }
    }

    pub(super) fn pass_channel(&mut self, now: UnixMs, m: &msgs::UnsignedChannelAnnouncement) -> Result<(), Refusal> {
        let scid = ShortChannelId(m.short_channel_id);
        let nodes = [m.node_id_1, m.node_id_2];
        let keys = [m.bitcoin_key_1, m.bitcoin_key_2];
        if m.chain_hash != self.rules.chain {
            return Err(Refusal::WrongChain);
        }
        if nodes[0] >= nodes[1] {
            return Err(Refusal::NodesOutOfOrder);
        }
        if keys[0] == keys[1] {
            return Err(Refusal::SameFundingKeys);
        }
        if m.excess_data.len() > EXCESS_AT_MOST || m.features.le_flags().len() > FEATURES_AT_MOST {
            return Err(Refusal::ExcessData);
        }
        // Only the chain can tell which of two channels at one place is real, so without proofs the first one stays.
        let stays = |known: &KnownChannel| known.nodes == nodes || !self.rules.proofs;
        if self.known.channel(scid).is_some_and(stays) || self.proven_lately(now, scid) {
            return Err(Refusal::AlreadyKnown);
        }
        if self.waiting.has_channel(scid, &nodes, &keys) {
            return Err(Refusal::AlreadyKnown);
        }
        if self.known.was_spent(scid, &nodes) || self.refused.contains(now, &(scid, keys)) {
            return Err(Refusal::FundingRefused);
        }
        self.pass_size(&nodes)
    }

    /// Whether a proven channel took this place less than a day ago. It stays for as long, or its owner could fill
    /// journals by announcing it under ever new nodes.
    pub(super) fn proven_lately(&self, now: UnixMs, scid: ShortChannelId) -> bool {
        let lately = |known: &KnownChannel| now.secs().saturating_sub(known.announced_s) < REPLACED_AFTER_S;
        self.known.channel(scid).is_some_and(|known| known.capacity_sat.is_some() && lately(known))
    }

    /// Whether the network may grow by a channel between these nodes. What waits for a proof does not count: most of
    /// it may be made up.
    pub(super) fn pass_size(&self, nodes: &[NodeId; 2]) -> Result<(), Refusal> {
        let limits = &self.rules.limits;
        let new_nodes = nodes.iter().filter(|id| !self.known.has_node(id)).count();
        let fits =
            self.known.channel_count() < limits.channels && self.known.node_count() + new_nodes <= limits.nodes;
        if fits { Ok(()) } else { Err(Refusal::NetworkFull) }
    }

    fn pass_update(
        &self,
        now: UnixMs,
        m: &msgs::UnsignedChannelUpdate,
        announced: &Announced,
    ) -> Result<Vec<NodeId>, Refusal> {
        if m.chain_hash != self.rules.chain {
            return Err(Refusal::WrongChain);
        }
        if m.timestamp < now.secs().saturating_sub(STALE_AFTER_S) {
            return Err(Refusal::Stale);
        }
        if m.timestamp > now.secs().saturating_add(AHEAD_AT_MOST_S) {
            return Err(Refusal::FromTheFuture);
        }
        if m.htlc_maximum_msat > ALL_BITCOIN_MSAT {
            return Err(Refusal::HtlcMaximum);
        }
        if m.excess_data.len() > EXCESS_AT_MOST {
            return Err(Refusal::ExcessData);
        }
        let scid = ShortChannelId(m.short_channel_id);
        let direction = Direction::from_flags(m.channel_flags);
        self.signers(scid, direction, m, announced)
    }

    /// Everybody who may speak for this direction: the known channel's node and those of all that compete with it.
    fn signers(
        &self,
        scid: ShortChannelId,
        direction: Direction,
        m: &msgs::UnsignedChannelUpdate,
        announced: &Announced,
    ) -> Result<Vec<NodeId>, Refusal> {
        let mut refusal = Refusal::NoChannel;
        let mut signers = Vec::new();
        if let Some(channel) = self.known.channel(scid) {
            match self.fits_known(scid, direction, m.timestamp, m.htlc_maximum_msat) {
                Ok(()) => signers.push(channel.signer(direction)),
                Err(unfit) => refusal = unfit,
            }
        }
        if self.waiting.has_update(scid, direction, m.timestamp) {
            refusal = Refusal::AlreadyKnown;
        } else {
            signers.extend(self.waiting.signers(scid, direction));
        }
        signers
            .extend(announced.channels.get(&scid).into_iter().flatten().map(|(nodes, _)| nodes[direction as usize]));
        if signers.is_empty() { Err(refusal) } else { Ok(signers) }
    }

    /// Whether a known channel can take this update: newer than what it has, and within its capacity.
    pub(super) fn fits_known(
        &self,
        scid: ShortChannelId,
        direction: Direction,
        timestamp: u32,
        htlc_maximum_msat: u64,
    ) -> Result<(), Refusal> {
        let channel = self.known.channel(scid).ok_or(Refusal::NoChannel)?;
        if channel.capacity_sat.is_some_and(|sat| htlc_maximum_msat > sat.saturating_mul(1000)) {
            return Err(Refusal::HtlcMaximum);
        }
        let held = self.held.get(&(scid, direction)).is_some_and(|held| held.timestamp() >= timestamp);
        if held || channel.directions[direction as usize].timestamp >= timestamp {
            return Err(Refusal::AlreadyKnown);
        }
        Ok(())
    }

    fn pass_node(&self, m: &msgs::UnsignedNodeAnnouncement, announced: &Announced) -> Result<(), Refusal> {
        if m.excess_data.len() + m.excess_address_data.len() > EXCESS_AT_MOST
            || m.features.le_flags().len() > FEATURES_AT_MOST
            || addresses_len(m) > ADDRESSES_AT_MOST
        {
            return Err(Refusal::ExcessData);
        }
        let id = m.node_id;
        if !self.known.has_node(&id) && !self.waiting.has_node(&id) && !announced.nodes.contains(&id) {
            return Err(Refusal::NoChannel);
        }
        let held = self.held_nodes.get(&id).map(NodeAnnouncement::timestamp);
        let heard = self.known.node_timestamp(&id).max(self.waiting.node_timestamp(&id)).max(held);
        if heard.is_some_and(|heard| heard >= m.timestamp) { Err(Refusal::AlreadyKnown) } else { Ok(()) }
    }
}
