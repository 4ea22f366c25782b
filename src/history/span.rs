//! From one known epoch to another: what became of each channel and each node, seen through the views in between.

use std::collections::HashMap;
use std::ops::BitOrAssign;
use std::sync::Arc;

use super::channels::{Channel, Heard, is_heard};
use super::timeline::{Ordinal, Version};
use super::{History, is_shown};
use crate::gossip::{NodeDetails, NodeId, Policy, ShortChannelId};
use crate::journal::Epoch;

/// The time from one known epoch to a later one, both included. All that is told of it is of epochs: what came and
/// went between two of them is not seen.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    history: &'a History,
    from: Ordinal,
    to: Ordinal,
}

/// What became of a channel that some view of the span shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Passage<'a> {
    pub scid: ShortChannelId,
    /// Feature bits, big-endian.
    pub features: &'a [u8],
    /// Its ends' numbers, below [`Span::nodes`].
    pub nodes: [u32; 2],
    /// The funding output's value, where it is proven.
    pub capacity_sat: Option<u64>,
    /// Whether the view of the span's first epoch shows it.
    pub before: bool,
    /// What both directions charge in the view of the span's last epoch, if that shows it.
    pub now: Option<[Policy; 2]>,
    /// Whether every view shows it.
    pub throughout: bool,
    /// What took another value meanwhile, by direction, even where it is back. Not known of a channel that was closed
    /// meanwhile, or announced anew: `throughout` is then false.
    pub changed: [Changed; 2],
}

/// Which parts of a policy have taken another value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changed {
    pub enabled: bool,
    pub cltv_expiry_delta: bool,
    pub htlc_minimum_msat: bool,
    pub htlc_maximum_msat: bool,
    pub fee_base_msat: bool,
    pub fee_proportional_millionths: bool,
}

/// Which parts of what a node told of itself have taken another value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodeChanged {
    pub features: bool,
    pub addresses: bool,
}

impl Changed {
    /// Whether anything has.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    fn between(a: &Policy, b: &Policy) -> Self {
        Self {
            enabled: a.enabled != b.enabled,
            cltv_expiry_delta: a.cltv_expiry_delta != b.cltv_expiry_delta,
            htlc_minimum_msat: a.htlc_minimum_msat != b.htlc_minimum_msat,
            htlc_maximum_msat: a.htlc_maximum_msat != b.htlc_maximum_msat,
            fee_base_msat: a.fee_base_msat != b.fee_base_msat,
            fee_proportional_millionths: a.fee_proportional_millionths != b.fee_proportional_millionths,
        }
    }
}

impl BitOrAssign for Changed {
    fn bitor_assign(&mut self, other: Self) {
        self.enabled |= other.enabled;
        self.cltv_expiry_delta |= other.cltv_expiry_delta;
        self.htlc_minimum_msat |= other.htlc_minimum_msat;
        self.htlc_maximum_msat |= other.htlc_maximum_msat;
        self.fee_base_msat |= other.fee_base_msat;
        self.fee_proportional_millionths |= other.fee_proportional_millionths;
    }
}

impl<'a> Span<'a> {
    pub(super) fn new(history: &'a History, from: Ordinal, to: Ordinal) -> Self {
        Self { history, from, to }
    }

    /// The first epoch.
    pub fn from(&self) -> &'a Epoch {
        self.epoch(self.from)
    }

    /// The last epoch.
    pub fn to(&self) -> &'a Epoch {
        self.epoch(self.to)
    }

    /// How many nodes there are: their numbers are below this.
    pub fn nodes(&self) -> usize {
        self.history.nodes.len()
    }

    /// Hands out every channel that some view of the span shows, each once, in no particular order.
    pub fn visit(&self, mut visit: impl FnMut(Passage<'a>)) {
        let turns = self.turns();
        // A channel that was closed, or announced anew, has a life for each time: they are put together.
        let (mut ended, mut begun) = (HashMap::new(), Vec::new());
        for channel in self.history.channels.between(self.from, self.to) {
            if channel.until <= self.to {
                if let Some(passage) = self.passage(channel, &turns) {
                    // One life at most shows it at the first epoch: which of several is kept does not matter otherwise.
                    let first: &mut Passage<'a> = ended.entry(passage.scid).or_insert_with(|| passage.clone());
                    if passage.before {
                        *first = passage;
                    }
                }
            } else if channel.from > self.from {
                begun.push(channel);
            } else if let Some(passage) = self.passage(channel, &turns) {
                visit(passage);
            }
        }
        for channel in begun {
            match (self.passage(channel, &turns), ended.remove(&channel.scid)) {
                (Some(mut passage), ended) => {
                    passage.before = ended.is_some_and(|ended| ended.before && ended.nodes == passage.nodes);
                    visit(passage);
                }
                (None, Some(ended)) => visit(ended),
                (None, None) => {}
            }
        }
        ended.into_values().for_each(visit);
    }

    /// What a node told of itself, as of the last epoch.
    pub fn node(&self, node: u32) -> (NodeId, Option<Arc<NodeDetails>>) {
        let nodes = &self.history.nodes;
        (nodes.id(node), nodes.details(node, self.to).cloned())
    }

    /// Which parts of that took another value meanwhile.
    pub fn node_changed(&self, node: u32) -> NodeChanged {
        let mut changed = NodeChanged::default();
        let mut newer: Option<&Version<Arc<NodeDetails>>> = None;
        for version in self.history.nodes.between(node, self.from, self.to) {
            if let Some(newer) = newer.replace(version) {
                changed.features |= newer.value.features != version.value.features;
                changed.addresses |= newer.value.addresses != version.value.addresses;
            }
        }
        if newer.is_some_and(|oldest| oldest.since > self.from) {
            changed = NodeChanged { features: true, addresses: true }; // it had told nothing
        }
        changed
    }

    /// One life of a channel within the span; `None` if no view shows it.
    fn passage(&self, channel: &'a Channel, turns: &[Ordinal]) -> Option<Passage<'a>> {
        let passage = Passage {
            scid: channel.scid,
            features: &channel.features,
            nodes: channel.nodes,
            capacity_sat: channel.capacity_sat(self.to),
            before: true,
            now: None,
            throughout: true,
            changed: [Changed::default(); 2],
        };
        self.undisturbed(channel, passage.clone()).or_else(|| self.disturbed(channel, turns, passage))
    }

    /// The passage of a channel of which both directions were known all the time, and one enabled, as it is with most;
    /// `None` if that cannot be said at a glance.
    fn undisturbed(&self, channel: &'a Channel, mut passage: Passage<'a>) -> Option<Passage<'a>> {
        if channel.from > self.from || channel.until <= self.to {
            return None;
        }
        let (past, to) = (self.history.channels.past(), self.to().timestamp);
        let most_msat = channel.most_msat(self.to);
        let (mut now, mut enabled) = ([None; 2], [true; 2]);
        for (number, direction) in channel.directions().iter().enumerate() {
            let mut newer: Option<&Version<Heard>> = None;
            for version in direction.between(past, self.from, self.to) {
                let Heard { policy, timestamp } = &version.value;
                if policy.htlc_maximum_msat > most_msat || !is_heard(*timestamp, to) {
                    return None;
                }
                enabled[number] &= policy.enabled;
                match newer.replace(version) {
                    Some(newer) => passage.changed[number] |= Changed::between(&newer.value.policy, policy),
                    None => now[number] = Some(*policy),
                }
            }
            newer.filter(|oldest| oldest.since <= self.from)?;
        }
        passage.now = Some([now[0]?, now[1]?]);
        enabled.contains(&true).then_some(passage)
    }

    /// The passage of any channel. Goes back in time, from one change of either direction to the next: in between nothing
    /// changes but that a direction may fall silent.
    fn disturbed(&self, channel: &Channel, turns: &[Ordinal], mut passage: Passage<'a>) -> Option<Passage<'a>> {
        let past = self.history.channels.past();
        let (first, last) = (channel.from.max(self.from), self.to.min(channel.until - 1));
        let mut directions = channel.directions().each_ref().map(|direction| direction.between(past, first, last));
        let mut versions = directions.each_mut().map(Iterator::next);
        passage.throughout = first == self.from && last == self.to;
        let (mut end, mut ever) = (last, false);
        loop {
            let begun = |turn: Ordinal| if turn <= end { turn } else { 0 };
            let turn = turns.iter().rev().copied().find(|turn| *turn <= end).unwrap_or(0);
            let since = versions.iter().flatten().map(|version| version.since).max().unwrap_or(0);
            let begin = first.max(since).max(turn).max(begun(channel.proven()));
            let shown_at = |epoch| self.shown(channel, versions, epoch);
            // A silence only ever begins in between: what the last epoch of these shows, all of them do.
            let at_end = shown_at(end);
            let at_begin = if begin == end { at_end } else { shown_at(begin) };
            if end == self.to {
                passage.now = at_end;
            }
            passage.throughout &= at_end.is_some();
            ever |= at_begin.is_some();
            if begin == first {
                passage.before = first == self.from && at_begin.is_some();
                return ever.then_some(passage);
            }
            end = begin - 1;
            for direction in 0..2 {
                let Some(newer) = versions[direction].filter(|version| version.since > end) else { continue };
                versions[direction] = directions[direction].next();
                if let Some(older) = versions[direction] {
                    passage.changed[direction] |= Changed::between(&newer.value.policy, &older.value.policy);
                }
            }
        }
    }

    /// What a view shows of a channel whose directions are at these versions.
    fn shown(
        &self,
        channel: &Channel,
        versions: [Option<&Version<Heard>>; 2],
        epoch: Ordinal,
    ) -> Option<[Policy; 2]> {
        let [Some(one), Some(two)] = versions else { return None };
        let cut = self.epoch(epoch);
        let policies = channel.known([&one.value, &two.value], epoch, cut.timestamp)?;
        is_shown(&policies, cut.rules.graph).then_some(policies)
    }

    /// The epochs from which on another setting decides which channels are shown, in order.
    fn turns(&self) -> Vec<Ordinal> {
        let graph = |epoch: Ordinal| self.epoch(epoch).rules.graph;
        (self.from + 1..=self.to).filter(|epoch| graph(*epoch) != graph(epoch - 1)).collect()
    }

    fn epoch(&self, ordinal: Ordinal) -> &'a Epoch {
        &self.history.epochs[(ordinal - self.history.first_epoch) as usize] // within the span, so it is known
    }
}
