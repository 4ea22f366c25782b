//! The checking stage: what of the gossip is kept, decided once, with the clock passed in.
//!
//! A batch of messages goes through three gates. The cheap refusals come first, because on a live network most of
//! what arrives has arrived before. Signatures come second, on all cores. Admission comes last, in the order of
//! arrival: a channel to the waiting room until its funding is proven (or straight through where no bitcoind is
//! configured), everything else to the channel it speaks of, whether that is known or still waits. Live gossip and
//! recordings pass the same gates; no system clock is read and nothing is written. What the chain says of the channels
//! that were let through is decided here as well (`spends`).

mod admit;
mod cheap;
mod known;
mod late;
mod limits;
mod recorded;
mod refusal;
mod signatures;
mod spends;
#[cfg(test)]
mod tests;
mod told;
mod waiting;

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::{Secp256k1, VerifyOnly};
use lightning::ln::msgs;
use lightning::util::ser::LengthReadable;

use self::cheap::{Announced, Copies};
use self::known::Known;
use self::late::LateClaims;
pub use self::limits::Limits;
use self::limits::{RefusedFundings, UnprovenRates};
pub use self::recorded::{Judged, Recorded, Replayer};
pub use self::refusal::{Ends, Kind, Refusal, Tally};
use self::signatures::Signed;
pub use self::waiting::Capacity;
use self::waiting::{CandidateId, WaitingRoom};
use super::funding::{Claim, Settled};
use super::{
    ChannelAnnouncement, ChannelUpdate, Closing, Direction, Fact, Malformed, NodeAnnouncement, NodeId,
    ShortChannelId, UnixMs,
};

/// A `channel_update` older than this is refused (BOLT 7: two weeks).
const STALE_AFTER_S: u32 = 14 * 24 * 3600;

/// A gossip message as LDK reads it off the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gossip {
    Channel(Box<msgs::ChannelAnnouncement>),
    Update(Box<msgs::ChannelUpdate>),
    Node(Box<msgs::NodeAnnouncement>),
}

impl Gossip {
    /// Reads a whole message, type included, as LDK reads it off the wire.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, Malformed> {
        let (kind, mut body) = bytes.split_at_checked(2).unwrap_or_default();
        let malformed = |kind| Malformed { kind, len: bytes.len() };
        match <[u8; 2]>::try_from(kind).map(u16::from_be_bytes) {
            Ok(ChannelAnnouncement::TYPE) => LengthReadable::read_from_fixed_length_buffer(&mut body)
                .map(|m| Self::Channel(Box::new(m)))
                .map_err(|_| malformed("channel_announcement")),
            Ok(ChannelUpdate::TYPE) => LengthReadable::read_from_fixed_length_buffer(&mut body)
                .map(|m| Self::Update(Box::new(m)))
                .map_err(|_| malformed("channel_update")),
            Ok(NodeAnnouncement::TYPE) => LengthReadable::read_from_fixed_length_buffer(&mut body)
                .map(|m| Self::Node(Box::new(m)))
                .map_err(|_| malformed("node_announcement")),
            _ => Err(malformed("gossip message")),
        }
    }

    /// Which kind it is of.
    pub fn kind(&self) -> Kind {
        match self {
            Gossip::Channel(_) => Kind::Channel,
            Gossip::Update(_) => Kind::Update,
            Gossip::Node(_) => Kind::Node,
        }
    }

    /// How many bytes it takes on the wire, give or take a few, to bound queues by.
    pub fn approximate_len(&self) -> usize {
        match self {
            Gossip::Channel(m) => 432 + m.contents.features.le_flags().len() + m.contents.excess_data.len(),
            Gossip::Update(m) => 138 + m.contents.excess_data.len(),
            Gossip::Node(m) => {
                144 + m.contents.features.le_flags().len()
                    + addresses_len(&m.contents)
                    + m.contents.excess_address_data.len()
                    + m.contents.excess_data.len()
            }
        }
    }
}

fn addresses_len(m: &msgs::UnsignedNodeAnnouncement) -> usize {
    let len = |address: &msgs::SocketAddress| match address {
        msgs::SocketAddress::Hostname { hostname, .. } => 4 + usize::from(hostname.len()),
        _ => 38, // the longest of the others, Tor v3
    };
    m.addresses.iter().map(len).sum()
}

/// A message, and the peer that sent it.
#[derive(Clone, Debug)]
pub struct Heard {
    pub peer: NodeId,
    pub message: Gossip,
}

/// What the checking stage is set up with.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub chain: ChainHash,
    /// Whether somebody will settle [`Claim`]s: with a bitcoind, a channel waits for its proof.
    pub proofs: bool,
    /// A channel silent for longer than this is closed.
    pub retention: Duration,
    pub limits: Limits,
    pub signatures: Signatures,
}

/// What is done about signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signatures {
    /// Every one is checked.
    Checked,
    /// None is looked at: for a recording whose recorder has checked them.
    Trusted,
}

/// What came of a step: facts for the journal, in order, and questions for the prover.
#[derive(Default, Debug)]
pub struct Outcome {
    pub facts: Vec<Fact>,
    pub claims: Vec<Claim>,
    /// Questions that nobody waits for any more: their numbers and places.
    pub withdrawn: Vec<(u64, ShortChannelId)>,
    /// How many badly signed messages came from whom.
    pub forgeries: BTreeMap<NodeId, u32>,
    /// A bounded room was full and messages were lost: somebody should ask for a full sync later.
    pub lost: bool,
    /// Which messages of the batch were refused at once, by their index in it, and why.
    pub refused: Vec<(usize, Refusal)>,
}

/// The checking stage. See the module's words.
pub struct Checker {
    rules: Rules,
    secp: Secp256k1<VerifyOnly>,
    known: Known,
    waiting: WaitingRoom,
    /// Updates over their direction's rate: the newest of each, until its minute comes.
    held: BTreeMap<(ShortChannelId, Direction), ChannelUpdate>,
    /// The same for nodes.
    held_nodes: BTreeMap<NodeId, NodeAnnouncement>,
    refused: RefusedFundings,
    unproven_rates: UnprovenRates,
    late_claims: LateClaims,
    next_claim: CandidateId,
    tally: Tally,
}

impl Checker {
    pub fn new(rules: Rules) -> Self {
        Self {
            waiting: WaitingRoom::new(rules.limits.waiting),
            rules,
            secp: Secp256k1::verification_only(),
            known: Known::default(),
            held: BTreeMap::new(),
            held_nodes: BTreeMap::new(),
            refused: RefusedFundings::default(),
            unproven_rates: UnprovenRates::default(),
            late_claims: LateClaims::default(),
            next_claim: 1,
            tally: Tally::default(),
        }
    }

    /// Takes in what the journal holds, in its order, before the first [`check`](Self::check).
    pub fn learn(&mut self, seen: UnixMs, fact: &Fact) {
        self.known.learn(seen, fact);
    }

    /// The questions for the channels that were accepted unproven, once a bitcoind is there to answer them.
    pub fn claim_unproven(&mut self) -> Vec<Claim> {
        let mut unproven: Vec<_> = self.known.unproven().collect();
        unproven.sort_unstable();
        unproven.into_iter().filter_map(|scid| self.claim_late(scid)).collect()
    }

    /// Counts since the start.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Channels that were let through and are not closed.
    pub fn channel_count(&self) -> usize {
        self.known.channel_count()
    }

    /// Those of them whose funding is proven.
    pub fn proven_count(&self) -> usize {
        self.known.channel_count() - self.known.unproven().len()
    }

    /// Whether a channel at this place was let through.
    pub fn is_known(&self, scid: ShortChannelId) -> bool {
        self.known.channel(scid).is_some()
    }

    /// Channels that wait for their funding proof.
    pub fn waiting_channels(&self) -> usize {
        self.waiting.candidate_count()
    }

    /// Messages in the waiting room.
    pub fn waiting_messages(&self) -> usize {
        self.waiting.messages()
    }

    /// Whether a channel at this place waits for its proof.
    pub fn is_waiting(&self, scid: ShortChannelId) -> bool {
        self.waiting.has_place(scid)
    }

    /// Whether the waiting room is at most half full.
    pub fn waiting_has_room(&self) -> bool {
        self.waiting.is_half_empty()
    }

    /// Passes a batch through the gates, in the order of arrival, as `peer` would send it. What cannot be read is
    /// refused.
    pub fn check_wire(&mut self, now: UnixMs, peer: NodeId, batch: &[Vec<u8>]) -> Outcome {
        let mut read = Vec::with_capacity(batch.len());
        for bytes in batch {
            match Gossip::from_wire(bytes) {
                Ok(message) => read.push(Heard { peer, message }),
                Err(_) => {
                    self.tally.received += 1;
                    self.tally.refuse(Kind::of_wire(bytes), Refusal::Malformed);
                }
            }
        }
        self.check(now, read)
    }

    /// Passes a batch through the gates, in the order of arrival.
    pub fn check(&mut self, now: UnixMs, batch: Vec<Heard>) -> Outcome {
        self.tally.received += batch.len() as u64;
        let mut outcome = Outcome::default();
        for (index, signed) in self.check_signatures(|_| now, &batch, Copies::new(&batch), &mut outcome) {
            let heard = &batch[index];
            let admitted = match (&heard.message, signed) {
                (Gossip::Channel(m), _) => self.admit_channel(now, heard.peer, m, &mut outcome),
                (Gossip::Update(m), signer) => self.admit_update(now, heard.peer, m, signer, &mut outcome),
                (Gossip::Node(m), _) => self.admit_node(now, heard.peer, m, &mut outcome),
            };
            if let Err(refusal) = admitted {
                self.refuse(index, heard.message.kind(), refusal, &mut outcome);
                outcome.lost |= refusal == Refusal::WaitingRoomFull;
            }
        }
        outcome
    }

    /// The messages that pass the first two gates, by their index in the batch. Announcements go first: only those
    /// that are well signed say who may speak for their channels. `now` is the time of each, by its index.
    fn check_signatures(
        &mut self,
        now: impl Fn(usize) -> UnixMs + Copy,
        batch: &[Heard],
        mut copies: Copies<'_>,
        outcome: &mut Outcome,
    ) -> BTreeMap<usize, Signed> {
        let mut announced = Announced::default();
        let mut passed = BTreeMap::new();
        for announcements in [true, false] {
            let jobs = self.refuse_cheaply(now, batch, announcements, &announced, &mut copies, outcome);
            let signed = match self.rules.signatures {
                Signatures::Checked => signatures::check_all(&self.secp, batch, &jobs),
                Signatures::Trusted => signatures::trust_all(batch, &jobs),
            };
            for (job, signed) in jobs.into_iter().zip(signed) {
                let heard = &batch[job.index];
                match signed {
                    Some(signed) => {
                        announced.add(heard, self.rules.limits.waiting.candidates_per_peer);
                        passed.insert(job.index, signed);
                    }
                    None => {
                        self.refuse(job.index, heard.message.kind(), Refusal::BadSignature, outcome);
                        *outcome.forgeries.entry(heard.peer).or_default() += 1;
                    }
                }
            }
        }
        passed
    }

    /// Takes in what the prover found out, and what waited for it.
    pub fn settle(&mut self, now: UnixMs, settled: impl IntoIterator<Item = Settled>) -> Outcome {
        let mut outcome = Outcome::default();
        for Settled { id, verdict } in settled {
            match self.late_claims.remove(id) {
                Some(scid) => self.settle_late(now, scid, verdict, &mut outcome),
                None => self.settle_candidate(now, id, verdict, &mut outcome),
            }
        }
        outcome
    }

    /// Lets through the held updates and announcements whose minute has come.
    pub fn release_held(&mut self, now: UnixMs) -> Outcome {
        let mut outcome = Outcome::default();
        for update in std::mem::take(&mut self.held).into_values() {
            let admitted = self.admit_to_known(now, update, &mut outcome);
            self.count(Kind::Update, admitted);
        }
        for announcement in std::mem::take(&mut self.held_nodes).into_values() {
            let admitted = self.admit_node_to_known(now, announcement, &mut outcome);
            self.count(Kind::Node, admitted);
        }
        outcome
    }

    /// Closes the channels that have been silent for longer than the retention. It looks at every channel, so once
    /// an hour will do.
    pub fn close_silent(&mut self, now: UnixMs) -> Outcome {
        let mut outcome = Outcome::default();
        let retention_s = u32::try_from(self.rules.retention.as_secs()).unwrap_or(u32::MAX).max(STALE_AFTER_S);
        for scid in self.known.silent_since(now.secs().saturating_sub(retention_s)) {
            self.accept(now, Fact::Closed { scid, reason: Closing::Silent }, &mut outcome);
        }
        outcome
    }

    /// Counts a message of the batch out.
    fn refuse(&mut self, index: usize, kind: Kind, reason: Refusal, outcome: &mut Outcome) {
        self.tally.refuse(kind, reason);
        outcome.refused.push((index, reason));
    }

    fn accept(&mut self, now: UnixMs, fact: Fact, outcome: &mut Outcome) {
        if let Some(kind) = fact.message().map(Kind::of_wire) {
            self.tally.accept(kind);
        }
        self.known.learn(now, &fact);
        outcome.facts.push(fact);
    }
}
