//! What another collector journaled, while this one checks on its own.
//!
//! It has passed that collector's checking stage, so nothing of it is checked again. What is newer here stays as it is;
//! what waited here for a channel that the other one has let through waits no longer.

use super::super::funding::{Claim, FundingScript, funding_script};
use super::super::{ChannelAnnouncement, Direction, Fact, NodeAnnouncement, ShortChannelId, UnixMs};
use super::{Checker, Kind, Outcome, Refusal};

impl Checker {
    /// Whether this fact announces another channel, between other nodes, than the one that is known at its place, or was
    /// until a spend that may yet be undone.
    pub fn would_replace(&self, fact: &Fact) -> bool {
        let Fact::Channel { announcement, .. } = fact else { return false };
        self.known.last_at(announcement.scid()).is_some_and(|known| known.nodes != announcement.nodes())
    }

    /// Takes in what another collector accepted at `seen`. The outcome gets what this sets free, and questions for the
    /// prover that arise or have become moot.
    pub fn told(&mut self, now: UnixMs, seen: UnixMs, fact: &Fact, outcome: &mut Outcome) {
        let replaces = self.would_replace(fact);
        self.known.learn(seen, fact);
        match fact {
            Fact::Channel { announcement, .. } => self.told_channel(now, announcement, replaces, outcome),
            Fact::Update(update) => {
                let (scid, direction) = (update.scid(), update.direction());
                if self.held.get(&(scid, direction)).is_some_and(|held| held.timestamp() <= update.timestamp()) {
                    self.drop_held(scid, direction);
                }
            }
            Fact::Node(node) => {
                let id = node.node_id();
                if self.held_nodes.get(&id).is_some_and(|held| held.timestamp() <= node.timestamp()) {
                    self.held_nodes.remove(&id);
                    self.tally.refuse(Kind::Node, Refusal::Superseded);
                }
            }
            Fact::Proof { scid, .. } | Fact::Closed { scid, .. } => self.withdraw_late_claim(*scid, outcome),
            Fact::Reopened { scid } => {
                self.withdraw_late_claim(*scid, outcome);
                outcome.claims.extend(self.claim_late(*scid));
            }
            Fact::PossibleSplice { .. } | Fact::Block(_) | Fact::SyncCompleted { .. } => {}
        }
    }

    fn told_channel(
        &mut self,
        now: UnixMs,
        announcement: &ChannelAnnouncement,
        replaces: bool,
        outcome: &mut Outcome,
    ) {
        let scid = announcement.scid();
        if replaces {
            Direction::BOTH.into_iter().for_each(|direction| self.drop_held(scid, direction));
        }
        self.withdraw_late_claim(scid, outcome);
        outcome.claims.extend(self.claim_late(scid));
        self.release_candidates(now, announcement, outcome);
        for node in announcement.nodes() {
            let waiting = self.waiting.take_node(&node); // with candidates for other places
            self.admit_released(now, waiting, outcome);
        }
    }

    /// Ends the waiting of candidates for a channel that is known now.
    fn release_candidates(&mut self, now: UnixMs, announcement: &ChannelAnnouncement, outcome: &mut Outcome) {
        let (scid, nodes) = (announcement.scid(), announcement.nodes());
        for id in self.waiting.between(scid, &nodes) {
            let Some(candidate) = self.waiting.take(id) else { continue };
            outcome.withdrawn.push((id, scid));
            self.tally.refuse(Kind::Channel, Refusal::AlreadyKnown);
            for update in candidate.into_updates() {
                let admitted = self.admit_to_known(now, update, outcome);
                self.count(Kind::Update, admitted);
            }
            for node in &nodes {
                let waiting = self.waiting.release_node(node, true);
                self.admit_released(now, waiting, outcome);
            }
        }
    }

    fn admit_released(&mut self, now: UnixMs, waiting: Option<NodeAnnouncement>, outcome: &mut Outcome) {
        if let Some(announcement) = waiting {
            let admitted = self.admit_node_to_known(now, announcement, outcome);
            self.count(Kind::Node, admitted);
        }
    }

    /// The question for a channel that is known and unproven, where somebody is there to answer it.
    pub(super) fn claim_late(&mut self, scid: ShortChannelId) -> Option<Claim> {
        let script = *self.known.unproven_script(scid).filter(|_| self.rules.proofs)?;
        Some(self.new_late_claim(scid, script))
    }

    /// The question for a channel that was proven while another collector watched the chain.
    pub fn claim_again(&mut self, announcement: &ChannelAnnouncement) -> Option<Claim> {
        let scid = announcement.scid();
        self.known.channel(scid).filter(|known| self.rules.proofs && known.nodes == announcement.nodes())?;
        Some(self.new_late_claim(scid, funding_script(&announcement.bitcoin_keys())))
    }

    fn new_late_claim(&mut self, scid: ShortChannelId, script: FundingScript) -> Claim {
        let id = self.next_claim;
        self.next_claim += 1;
        self.late_claims.add(id, scid);
        Claim { id, scid, script }
    }

    pub(super) fn withdraw_late_claim(&mut self, scid: ShortChannelId, outcome: &mut Outcome) {
        if let Some(id) = self.late_claims.remove_channel(scid) {
            outcome.withdrawn.push((id, scid));
        }
    }
}
