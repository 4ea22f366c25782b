//! The limits that a journal needs and the protocol lacks, and what they remember.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::super::{NodeId, ShortChannelId, UnixMs};
use super::Capacity;

/// Refused fundings that are remembered …
const REFUSED_AT_MOST: usize = 100_000;
/// … and for how long: a reorganisation may have made them good since.
const REFUSED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// How much of everything is let through.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Official clients drop a snapshot with more nodes …
    pub nodes: usize,
    /// … or with more than twice as many updates.
    pub channels: usize,
    /// Channels that nobody can prove: how many a peer may announce at once, and how many an hour after that.
    pub unproven_burst: u32,
    pub unproven_per_hour: u32,
    pub waiting: Capacity,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nodes: 200_000,
            channels: 300_000,
            unproven_burst: 100_000,
            unproven_per_hour: 600,
            waiting: Capacity::default(),
        }
    }
}

/// What each peer may still announce without proof.
#[derive(Default)]
pub(super) struct UnprovenRates {
    by_peer: HashMap<NodeId, Bucket>,
}

struct Bucket {
    tokens: u32,
    refilled: UnixMs,
}

impl UnprovenRates {
    /// Takes the right to one more unproven channel of `peer`, if there is one.
    pub fn take(&mut self, peer: NodeId, now: UnixMs, limits: &Limits) -> bool {
        let full = Bucket { tokens: limits.unproven_burst, refilled: now };
        let bucket = self.by_peer.entry(peer).or_insert(full);
        bucket.refilled = bucket.refilled.min(now); // a clock that was ahead must not hold anybody up
        let per_hour = u64::from(limits.unproven_per_hour);
        let earned = now.since(bucket.refilled).as_secs().saturating_mul(per_hour) / 3600;
        if earned > 0 {
            let tokens = u64::from(bucket.tokens).saturating_add(earned).min(u64::from(limits.unproven_burst));
            bucket.tokens = u32::try_from(tokens).unwrap_or(limits.unproven_burst);
            bucket.refilled = now;
        }
        let taken = bucket.tokens > 0;
        bucket.tokens = bucket.tokens.saturating_sub(1);
        taken
    }
}

/// What identifies a funding claim: the place, and the two keys that the output should pay.
type Funding = (ShortChannelId, [NodeId; 2]);

/// Fundings that bitcoind refused, so that the next full sync does not ask again.
#[derive(Default)]
pub(super) struct RefusedFundings {
    fundings: HashSet<Funding>,
    order: VecDeque<(UnixMs, Funding)>,
}

impl RefusedFundings {
    pub fn remember(&mut self, now: UnixMs, funding: Funding) {
        if self.fundings.insert(funding) {
            self.order.push_back((now, funding));
        }
        while self.order.len() > REFUSED_AT_MOST {
            self.forget_first();
        }
    }

    pub fn contains(&mut self, now: UnixMs, funding: &Funding) -> bool {
        while self.order.front().is_some_and(|(since, _)| now.since(*since) > REFUSED_FOR) {
            self.forget_first();
        }
        self.fundings.contains(funding)
    }

    fn forget_first(&mut self) {
        if let Some((_, funding)) = self.order.pop_front() {
            self.fundings.remove(&funding);
        }
    }
}
