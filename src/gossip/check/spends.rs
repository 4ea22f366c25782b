//! Spends of funding outputs: which channels they close, which of them may be splices, and what a reorganisation undoes.
//!
//! Blocks come in the order of the chain. Of one that is not above the last, everything that was said of its height and
//! of later ones is void, unless the block itself says it again: so a reorganisation needs no word of its own, and a
//! block whose spends were journaled before the service was killed may simply be taken again.

use super::super::funding::{BlockSpends, FundingScript, FundingTag, Spend};
use super::super::{BlockId, Closing, Fact, NodeId, ShortChannelId, Trail, UnixMs, is_final};
use super::known::{Known, KnownChannel};
use super::{Checker, Outcome, STALE_AFTER_S};

/// How many blocks a channel stays after a spend that may be a splice (BOLT 7, "The `channel_announcement` Message").
const SPLICED_WITHIN: u32 = 72;

/// A spend that may be a splice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Splice {
    /// Of the block with the spend.
    height: u32,
    /// Whether wallets can be told of a later channel between the same nodes.
    replaced: bool,
}

/// A channel that was closed by a spend.
pub(super) struct ClosedBySpend {
    /// Of the block with the spend.
    height: u32,
    pub channel: KnownChannel,
    /// The script that it must still show, where it lacks a proof.
    unproven: Option<FundingScript>,
}

impl Checker {
    /// The last blocks that were looked through for spends.
    pub fn trail(&self) -> &Trail {
        &self.known.trail
    }

    /// Channels that stay for now, though their funding output was spent.
    pub fn possible_splices(&self) -> usize {
        self.known.splices.len()
    }

    /// The channels whose funding output has, or had, such a script, each with the place in `tags` of what it matches.
    pub fn matches(&self, tags: &[FundingTag]) -> Vec<(usize, ShortChannelId)> {
        let all = |tag: FundingTag| (tag, ShortChannelId(0))..=(tag, ShortChannelId(u64::MAX));
        let matches = tags
            .iter()
            .enumerate()
            .map(|(at, tag)| self.known.tags.range(all(*tag)).map(move |(_, scid)| (at, *scid)));
        matches.flatten().collect()
    }

    /// Takes in the next block of the best chain, with its spends of known channels' funding outputs.
    pub fn take_block(&mut self, now: UnixMs, BlockSpends { block, spends }: &BlockSpends) -> Outcome {
        let mut outcome = Outcome::default();
        for scid in self.known.void(*block, spends) {
            let was_closed = self.known.closed.contains_key(&scid);
            self.accept(now, Fact::Reopened { scid }, &mut outcome);
            if was_closed {
                outcome.claims.extend(self.claim_late(scid));
                outcome.lost = true; // its updates were refused meanwhile
            }
        }
        for Spend { scid, closes } in spends {
            self.take_spend(now, *scid, *closes, block.height, &mut outcome);
        }
        self.accept(now, Fact::Block(*block), &mut outcome);
        self.close_spliced(now, &mut outcome);
        outcome
    }

    /// Closes the channels that have been replaced since their output was spent, or not replaced in time.
    pub fn settle_splices(&mut self, now: UnixMs) -> Outcome {
        let mut outcome = Outcome::default();
        self.close_spliced(now, &mut outcome);
        outcome
    }

    fn take_spend(&mut self, now: UnixMs, scid: ShortChannelId, closes: bool, height: u32, outcome: &mut Outcome) {
        if self.known.channel(scid).is_none() {
            return;
        }
        if closes {
            self.close(now, scid, height, outcome);
        } else if !self.known.splices.contains_key(&scid) {
            self.accept(now, Fact::PossibleSplice { scid, height }, outcome);
        }
    }

    fn close_spliced(&mut self, now: UnixMs, outcome: &mut Outcome) {
        for (scid, height) in self.known.settled_splices() {
            self.close(now, scid, height, outcome);
        }
    }

    fn close(&mut self, now: UnixMs, scid: ShortChannelId, height: u32, outcome: &mut Outcome) {
        self.withdraw_late_claim(scid, outcome);
        self.accept(now, Fact::Closed { scid, reason: Closing::Spent { height } }, outcome);
    }
}

impl Known {
    /// Whether a channel between these nodes was at this place until its output was spent.
    pub fn was_spent(&self, scid: ShortChannelId, nodes: &[NodeId; 2]) -> bool {
        self.closed.get(&scid).is_some_and(|closed| closed.channel.nodes == *nodes)
    }

    /// The channel at this place, be it that its output was spent.
    pub fn last_at(&self, scid: ShortChannelId) -> Option<&KnownChannel> {
        self.channel(scid).or_else(|| self.closed.get(&scid).map(|closed| &closed.channel))
    }

    pub(super) fn close_by_spend(&mut self, scid: ShortChannelId, height: u32) {
        if let Some((channel, unproven)) = self.take_out(scid) {
            self.closed.insert(scid, ClosedBySpend { height, channel, unproven });
        }
    }

    pub(super) fn reopen(&mut self, scid: ShortChannelId) {
        self.splices.remove(&scid);
        if let Some(ClosedBySpend { channel, unproven, .. }) = self.closed.remove(&scid) {
            self.take_back(scid, channel, unproven);
        }
    }

    pub(super) fn note_splice(&mut self, seen: UnixMs, scid: ShortChannelId, height: u32) {
        let Some(nodes) = self.channel(scid).map(|channel| channel.nodes) else { return };
        let replaced = self.channels.iter().any(|(other, channel)| {
            *other != scid && other.height() >= height && channel.nodes == nodes && channel.is_shown(seen)
        });
        self.splices.insert(scid, Splice { height, replaced });
    }

    /// A channel has been heard: it may be the one that another was spliced into.
    pub(super) fn look_for_replaced(&mut self, seen: UnixMs, scid: ShortChannelId) {
        if self.splices.is_empty() {
            return;
        }
        let Some(nodes) = self.channel(scid).filter(|channel| channel.is_shown(seen)).map(|channel| channel.nodes)
        else {
            return;
        };
        for (spliced, splice) in &mut self.splices {
            let between_the_same = self.channels.get(spliced).is_some_and(|channel| channel.nodes == nodes);
            splice.replaced |= *spliced != scid && scid.height() >= splice.height && between_the_same;
        }
    }

    /// The chain was looked through up to this block.
    pub(super) fn reach(&mut self, block: BlockId) {
        self.trail.push(block);
        let settled: Vec<_> = self.closed.extract_if(.., |_, closed| is_final(closed.height, block.height)).collect();
        for (scid, closed) in settled {
            self.forget(scid, &closed.channel);
        }
    }

    /// The possible splices that are to be decided, with the height of each one's spend.
    fn settled_splices(&self) -> Vec<(ShortChannelId, u32)> {
        let Some(tip) = self.trail.last() else { return Vec::new() };
        let settled = |splice: &Splice| splice.replaced || tip.height >= splice.height.saturating_add(SPLICED_WITHIN);
        self.splices.iter().filter(|(_, splice)| settled(splice)).map(|(scid, s)| (*scid, s.height)).collect()
    }

    /// The channels of which a spend was noted that this block puts an end to.
    fn void(&self, block: BlockId, spends: &[Spend]) -> Vec<ShortChannelId> {
        let closed = self.closed.iter().map(|(scid, closed)| (*scid, closed.height));
        let spliced = self.splices.iter().map(|(scid, splice)| (*scid, splice.height));
        let again = |scid, height| height == block.height && spends.iter().any(|spend| spend.scid == scid);
        let void = closed.chain(spliced).filter(|(scid, height)| *height >= block.height && !again(*scid, *height));
        void.map(|(scid, _)| scid).collect()
    }
}

impl KnownChannel {
    /// Whether wallets are told of it: both directions have been heard lately, and one is enabled.
    fn is_shown(&self, now: UnixMs) -> bool {
        let lately = now.secs().saturating_sub(STALE_AFTER_S);
        let heard = self.directions.iter().all(|d| d.timestamp > 0 && d.timestamp >= lately);
        heard && self.directions.iter().any(|direction| direction.enabled)
    }
}
