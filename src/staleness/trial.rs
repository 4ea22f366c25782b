//! A route held against what was in force when it was tried: forwarded all the way, or refused, and why.

use std::collections::HashMap;
use std::time::Duration;

use lightning::routing::router::{Path, Route};
use serde::Serialize;

use super::draw;
use super::past::{Channel, Past, Version};
use super::share::fee_msat;
use crate::gossip::{Direction, NodeId, Policy, ShortChannelId, UnixMs};

/// Why a payment fails at the first try: the failure that a node on the way answers with (BOLT 4, "Failure Messages").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    FeeInsufficient,
    IncorrectCltvExpiry,
    AmountBelowMinimum,
    /// More than the direction forwards at a time (`htlc_maximum_msat`).
    TemporaryChannelFailure,
    ChannelDisabled,
    /// The channel is closed.
    UnknownNextPeer,
    /// No node's answer: the wallet's graph has no way to the payee.
    NoRoute,
}

impl Cause {
    /// Every cause, in the order of their declaration.
    pub const ALL: [Cause; 7] = [
        Cause::FeeInsufficient,
        Cause::IncorrectCltvExpiry,
        Cause::AmountBelowMinimum,
        Cause::TemporaryChannelFailure,
        Cause::ChannelDisabled,
        Cause::UnknownNextPeer,
        Cause::NoRoute,
    ];

    /// BOLT 4's name.
    pub fn name(self) -> &'static str {
        match self {
            Cause::FeeInsufficient => "fee_insufficient",
            Cause::IncorrectCltvExpiry => "incorrect_cltv_expiry",
            Cause::AmountBelowMinimum => "amount_below_minimum",
            Cause::TemporaryChannelFailure => "temporary_channel_failure",
            Cause::ChannelDisabled => "channel_disabled",
            Cause::UnknownNextPeer => "unknown_next_peer",
            Cause::NoRoute => "no_route",
        }
    }
}

/// For how long after a change nodes still honour the fee before it: these times, each by as many nodes as its weight
/// says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grace(Vec<(Duration, u32)>);

impl Grace {
    /// `None` where no node would honour or refuse anything: there is no weight.
    pub fn new(choices: Vec<(Duration, u32)>) -> Option<Self> {
        choices.iter().any(|(_, weight)| *weight > 0).then_some(Self(choices))
    }

    /// The times, and their weights.
    pub fn choices(&self) -> &[(Duration, u32)] {
        &self.0
    }

    /// A node's own, which never changes.
    fn of(&self, node: &NodeId, seed: u64) -> Duration {
        let total: u64 = self.0.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let words = node
            .as_slice()
            .chunks(8)
            .map(|chunk| chunk.iter().fold(0, |word: u64, byte| word << 8 | u64::from(*byte)));
        let parts: Vec<u64> = std::iter::once(seed).chain(words).collect();
        let mut draw = draw::hash(&parts) % total.max(1);
        for (time, weight) in &self.0 {
            match draw.checked_sub(u64::from(*weight)) {
                Some(rest) => draw = rest,
                None => return *time,
            }
        }
        Duration::ZERO // not reached: the draw is below the total
    }
}

/// Judges routes.
pub(super) struct Court<'a> {
    past: &'a Past,
    /// The places of a short channel id's channels: one, unless another came to its place.
    places: HashMap<ShortChannelId, Vec<u32>>,
    /// By node.
    graces: Vec<Duration>,
}

impl<'a> Court<'a> {
    pub fn new(past: &'a Past, grace: &Grace, seed: u64) -> Self {
        let mut places: HashMap<ShortChannelId, Vec<u32>> = HashMap::new();
        for (channel, place) in past.channels().iter().zip(0..) {
            places.entry(channel.scid).or_default().push(place);
        }
        let graces = past.nodes().iter().map(|node| grace.of(node, seed)).collect();
        Self { past, places, graces }
    }

    /// What comes of a route that a wallet takes at `at` which was told at `told`. All parts must arrive.
    pub fn judge(&self, route: &Route, told: UnixMs, at: UnixMs) -> Result<(), Cause> {
        route.paths.iter().try_for_each(|path| self.judge_path(path, told, at))
    }

    /// The first hop is the wallet's own channel, for which nobody charges.
    fn judge_path(&self, path: &Path, told: UnixMs, at: UnixMs) -> Result<(), Cause> {
        let mut amount_msat: u64 = path.hops.iter().map(|hop| hop.fee_msat).sum();
        for (before, hop) in path.hops.iter().zip(path.hops.iter().skip(1)) {
            // LDK notes with each hop what its node takes for forwarding over the next one.
            amount_msat = amount_msat.saturating_sub(before.fee_msat);
            let channel = self.channel(ShortChannelId(hop.short_channel_id), told);
            let channel = channel.filter(|channel| channel.is_open(at)).ok_or(Cause::UnknownNextPeer)?;
            let target = NodeId::from_pubkey(&hop.pubkey);
            let to_two = self.past.nodes().get(channel.nodes[1] as usize) == Some(&target);
            let direction = if to_two { Direction::OneToTwo } else { Direction::TwoToOne };
            let in_force = channel.in_force(direction, at);
            let grace = self.graces[channel.nodes[direction as usize] as usize]; // one for each node
            let offer = Offer { amount_msat, fee_msat: before.fee_msat, cltv_expiry_delta: before.cltv_expiry_delta };
            offer.held_against(in_force, grace, at)?;
        }
        Ok(())
    }

    /// The channel that a wallet knew under this id.
    fn channel(&self, scid: ShortChannelId, told: UnixMs) -> Option<&'a Channel> {
        let channels = self.places.get(&scid)?.iter().filter_map(|place| self.past.channels().get(*place as usize));
        channels.into_iter().find(|channel| channel.announced <= told && told < channel.known_ended)
    }
}

/// What a node is offered for forwarding.
struct Offer {
    amount_msat: u64,
    fee_msat: u64,
    cltv_expiry_delta: u32,
}

impl Offer {
    /// In the order in which nodes look. `versions` are those that were in force until now, the last one is.
    fn held_against(&self, versions: &[Version], grace: Duration, at: UnixMs) -> Result<(), Cause> {
        let Some(Version { policy, .. }) = versions.last() else { return Err(Cause::UnknownNextPeer) };
        let pays = |policy: &Policy| self.fee_msat >= fee_msat(policy, self.amount_msat);
        match () {
            () if !policy.enabled => Err(Cause::ChannelDisabled),
            () if self.amount_msat < policy.htlc_minimum_msat => Err(Cause::AmountBelowMinimum),
            () if self.amount_msat > policy.htlc_maximum_msat => Err(Cause::TemporaryChannelFailure),
            () if !pays(policy) && !honoured(versions, grace, at).is_some_and(pays) => Err(Cause::FeeInsufficient),
            () if self.cltv_expiry_delta < policy.cltv_expiry_delta.into() => Err(Cause::IncorrectCltvExpiry),
            () => Ok(()),
        }
    }
}

/// The policy whose fee was in force before the last change of the fee, if that is not longer ago than the grace.
fn honoured(versions: &[Version], grace: Duration, at: UnixMs) -> Option<&Policy> {
    let fee = |version: &Version| (version.policy.fee_base_msat, version.policy.fee_proportional_millionths);
    let newest = versions.last()?;
    let before = versions.iter().rposition(|version| fee(version) != fee(newest))?;
    let changed = versions.get(before + 1)?.in_force;
    (at < changed.plus(grace)).then(|| &versions[before].policy)
}
