//! The last gate: admission, in the order of arrival, of messages whose signatures are good; and what a funding
//! proof sets free.

use lightning::ln::msgs;
use lightning::util::ser::Writeable;

use super::super::funding::{Claim, Verdict, funding_script};
use super::super::{
    ChannelAnnouncement, ChannelUpdate, Closing, Direction, Fact, Malformed, NodeAnnouncement, NodeId,
    ShortChannelId, UnixMs,
};
use super::signatures::Signed;
use super::waiting::{Candidate, CandidateId, Placed, WaitingRoom};
use super::{Checker, Kind, Outcome, Refusal};

impl Checker {
    /// A channel: to the waiting room with a question for the prover, or straight through where nobody can prove.
    pub(super) fn admit_channel(
        &mut self,
        now: UnixMs,
        peer: NodeId,
        m: &msgs::ChannelAnnouncement,
        outcome: &mut Outcome,
    ) -> Result<(), Refusal> {
        self.pass_channel(now, &m.contents)?;
        let announcement = ChannelAnnouncement::from_wire(wire(ChannelAnnouncement::TYPE, m))?;
        if !self.rules.proofs {
            if !self.unproven_rates.take(peer, now, &self.rules.limits) {
                return Err(Refusal::UnprovenTooFast);
            }
            self.accept(now, Fact::Channel { announcement, capacity_sat: None }, outcome);
            return Ok(());
        }
        let (scid, script) = (announcement.scid(), funding_script(&announcement.bitcoin_keys()));
        let id = self.next_claim;
        self.wait(peer, Some(scid), outcome, |room| room.admit_channel(id, &announcement, peer))?;
        self.next_claim += 1;
        outcome.claims.push(Claim { id, scid, script });
        Ok(())
    }

    /// An update: to the known channel if its signer speaks for that, and to the candidates that it speaks for.
    pub(super) fn admit_update(
        &mut self,
        now: UnixMs,
        peer: NodeId,
        m: &msgs::ChannelUpdate,
        signed: Signed,
        outcome: &mut Outcome,
    ) -> Result<(), Refusal> {
        let update = ChannelUpdate::from_wire(wire(ChannelUpdate::TYPE, m))?;
        let Signed::By(signer) = signed else { return Err(Refusal::BadSignature) };
        let (scid, direction) = (update.scid(), update.direction());
        let of_known = self.known.channel(scid).is_some_and(|channel| channel.signer(direction) == signer);
        if !self.waiting.has_place(scid) {
            return if of_known { self.admit_to_known(now, update, outcome) } else { Err(Refusal::NoChannel) };
        }
        let placed = self.wait(peer, Some(scid), outcome, |room| room.admit_update(&update, signer));
        if of_known && self.admit_to_known(now, update, outcome).is_ok() {
            return Ok(());
        }
        self.note(Kind::Update, placed?)
    }

    /// A node's announcement: through, if it has a known channel; else to the waiting room, if a candidate names it.
    pub(super) fn admit_node(
        &mut self,
        now: UnixMs,
        peer: NodeId,
        m: &msgs::NodeAnnouncement,
        outcome: &mut Outcome,
    ) -> Result<(), Refusal> {
        let announcement = NodeAnnouncement::from_wire(wire(NodeAnnouncement::TYPE, m))?;
        if self.known.has_node(&announcement.node_id()) {
            return self.admit_node_to_known(now, announcement, outcome);
        }
        if !self.waiting.has_node(&announcement.node_id()) {
            return Err(Refusal::NoChannel);
        }
        let placed = self.wait(peer, None, outcome, |room| room.admit_node(&announcement))?;
        self.note(Kind::Node, placed)
    }

    /// Lets a message into the waiting room; if that is full, whoever takes more than their share gives way.
    fn wait<T>(
        &mut self,
        peer: NodeId,
        scid: Option<ShortChannelId>,
        outcome: &mut Outcome,
        admit: impl Fn(&mut WaitingRoom) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        loop {
            match admit(&mut self.waiting) {
                Err(Refusal::WaitingRoomFull) => {}
                admitted => return admitted,
            }
            let last = self.waiting.in_the_way_of(peer, scid).ok_or(Refusal::WaitingRoomFull)?;
            if !self.evict(last, outcome) {
                return Err(Refusal::WaitingRoomFull);
            }
        }
    }

    fn note(&mut self, kind: Kind, placed: Placed) -> Result<(), Refusal> {
        match placed {
            Placed::Added => Ok(()),
            Placed::InPlaceOfAnother => {
                self.tally.refuse(kind, Refusal::Superseded);
                Ok(())
            }
            Placed::Nowhere => Err(Refusal::NoChannel),
        }
    }

    /// Lets an update of a known channel through, or holds it until its direction may speak again.
    pub(super) fn admit_to_known(
        &mut self,
        now: UnixMs,
        update: ChannelUpdate,
        outcome: &mut Outcome,
    ) -> Result<(), Refusal> {
        let (scid, direction) = (update.scid(), update.direction());
        self.fits_known(scid, direction, update.timestamp(), update.policy().htlc_maximum_msat)?;
        let channel = self.known.channel_mut(scid).ok_or(Refusal::NoChannel)?;
        let turn = channel.directions[direction as usize].turns.take(now.secs());
        // Whatever was held is older: `fits_known` has looked.
        if turn {
            self.drop_held(scid, direction);
            self.accept(now, Fact::Update(update), outcome);
        } else if self.held.insert((scid, direction), update).is_some() {
            self.tally.refuse(Kind::Update, Refusal::Superseded);
        }
        Ok(())
    }

    pub(super) fn drop_held(&mut self, scid: ShortChannelId, direction: Direction) {
        if self.held.remove(&(scid, direction)).is_some() {
            self.tally.refuse(Kind::Update, Refusal::Superseded);
        }
    }

    /// The same for a node that has a known channel.
    pub(super) fn admit_node_to_known(
        &mut self,
        now: UnixMs,
        announcement: NodeAnnouncement,
        outcome: &mut Outcome,
    ) -> Result<(), Refusal> {
        let id = announcement.node_id();
        if !self.known.has_node(&id) {
            return Err(Refusal::NoChannel); // its last channel was closed while this was held
        }
        let held = self.held_nodes.get(&id).map(NodeAnnouncement::timestamp);
        let heard = self.known.node_timestamp(&id).max(held);
        if heard.is_some_and(|heard| heard >= announcement.timestamp()) {
            return Err(Refusal::AlreadyKnown);
        }
        if self.known.take_node_turn(&id, now) {
            if self.held_nodes.remove(&id).is_some() {
                self.tally.refuse(Kind::Node, Refusal::Superseded);
            }
            self.accept(now, Fact::Node(announcement), outcome);
        } else if self.held_nodes.insert(id, announcement).is_some() {
            self.tally.refuse(Kind::Node, Refusal::Superseded);
        }
        Ok(())
    }

    /// A candidate's proof has settled: the channel goes through with all that waited for it, or none of it does.
    pub(super) fn settle_candidate(&mut self, now: UnixMs, id: CandidateId, verdict: Verdict, outcome: &mut Outcome) {
        let Some(candidate) = self.waiting.take(id) else { return };
        match verdict {
            Verdict::Proven { capacity_sat } => self.accept_candidate(now, candidate, capacity_sat, outcome),
            Verdict::Refused(_) => self.refuse_candidate(now, candidate),
        }
    }

    fn accept_candidate(&mut self, now: UnixMs, candidate: Candidate, capacity_sat: u64, outcome: &mut Outcome) {
        let announcement = candidate.announcement.clone();
        let nodes = announcement.nodes();
        if let Err(full) = self.pass_size(&nodes) {
            return self.drop_candidate(candidate, full, full);
        }
        if self.proven_lately(now, announcement.scid()) {
            return self.drop_candidate(candidate, Refusal::AlreadyKnown, Refusal::ChannelRefused);
        }
        // A channel that stood here before, between other nodes, was reorganised away: its held updates go with it.
        for direction in Direction::BOTH {
            self.drop_held(announcement.scid(), direction);
        }
        self.withdraw_late_claim(announcement.scid(), outcome); // of the channel before
        self.accept(now, Fact::Channel { announcement, capacity_sat: Some(capacity_sat) }, outcome);
        for update in candidate.into_updates() {
            let admitted = self.admit_to_known(now, update, outcome);
            self.count(Kind::Update, admitted);
        }
        for node in &nodes {
            if let Some(announcement) = self.waiting.release_node(node, true) {
                let admitted = self.admit_node_to_known(now, announcement, outcome);
                self.count(Kind::Node, admitted);
            }
        }
    }

    fn refuse_candidate(&mut self, now: UnixMs, candidate: Candidate) {
        let announcement = &candidate.announcement;
        self.refused.remember(now, (announcement.scid(), announcement.bitcoin_keys()));
        self.drop_candidate(candidate, Refusal::FundingRefused, Refusal::ChannelRefused);
    }

    /// Returns whether it was there.
    fn evict(&mut self, id: CandidateId, outcome: &mut Outcome) -> bool {
        let Some(candidate) = self.waiting.take(id) else { return false };
        outcome.lost = true;
        outcome.withdrawn.push((id, candidate.announcement.scid()));
        self.drop_candidate(candidate, Refusal::WaitingRoomFull, Refusal::WaitingRoomFull);
        true
    }

    /// Counts a candidate out, for one reason, and what waited for nobody else, for another.
    fn drop_candidate(&mut self, candidate: Candidate, reason: Refusal, of_the_others: Refusal) {
        let nodes = candidate.announcement.nodes();
        self.tally.refuse(Kind::Channel, reason);
        for _ in candidate.into_updates() {
            self.tally.refuse(Kind::Update, of_the_others);
        }
        for node in &nodes {
            if self.waiting.release_node(node, false).is_some() {
                self.tally.refuse(Kind::Node, of_the_others);
            }
        }
    }

    /// A channel that was let through before has been looked up.
    pub(super) fn settle_late(&mut self, now: UnixMs, scid: ShortChannelId, verdict: Verdict, outcome: &mut Outcome) {
        let Some(channel) = self.known.channel(scid) else { return };
        let fact = match verdict {
            Verdict::Proven { .. } if channel.capacity_sat.is_some() => return,
            Verdict::Proven { capacity_sat } => Fact::Proof { scid, capacity_sat },
            Verdict::Refused(_) => Fact::Closed { scid, reason: Closing::Unfunded },
        };
        self.accept(now, fact, outcome);
    }

    pub(super) fn count(&mut self, kind: Kind, admitted: Result<(), Refusal>) {
        if let Err(refusal) = admitted {
            self.tally.refuse(kind, refusal);
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Self {
        Refusal::Malformed
    }
}

/// A message's bytes with its type before them.
pub(super) fn wire(kind: u16, message: &impl Writeable) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.serialized_length() + 2);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&message.encode());
    bytes
}
