//! The claims whose funding transaction is known, waiting for a look at its output: in batches of fifteen.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bitcoin::{BlockHash, OutPoint};
use tokio::time::Instant;

use super::board::Asker;
use super::rest::MAX_OUTPUTS;
use super::wire::Coin;
use super::{FundingScript, Refusal, Verdict};
use crate::gossip::ShortChannelId;

/// An output to look up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lookup {
    pub scid: ShortChannelId,
    pub output: OutPoint,
    /// The block that was read, and the chain's tip when it was in the best chain.
    pub block: BlockHash,
    pub tip: BlockHash,
}

/// What the chain holds at a short channel id, whoever asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    NoSuchTransaction,
    SpentOrMissing,
    Unspent(Coin),
}

impl Outcome {
    /// What that means for one who expects `script` at `scid`.
    pub fn verdict(self, scid: ShortChannelId, script: &FundingScript) -> Verdict {
        match self {
            Self::NoSuchTransaction => Verdict::Refused(Refusal::NoSuchTransaction),
            Self::SpentOrMissing => Verdict::Refused(Refusal::SpentOrMissing),
            Self::Unspent(coin) if coin.height != scid.height() => Verdict::Refused(Refusal::WrongHeight),
            Self::Unspent(coin) if coin.script.as_ref() != Some(script) => Verdict::Refused(Refusal::WrongScript),
            Self::Unspent(coin) => Verdict::Proven { capacity_sat: coin.value_sat },
        }
    }
}

/// All of them, with whoever asked.
#[derive(Default)]
pub(super) struct Lookups {
    queue: VecDeque<(Instant, Lookup)>,
    askers: HashMap<ShortChannelId, Vec<Asker>>,
    claims: u64,
}

impl Lookups {
    pub fn claims(&self) -> u64 {
        self.claims
    }

    pub fn add(&mut self, lookup: Lookup, asker: Asker, now: Instant) {
        self.claims += 1;
        let askers = self.askers.entry(lookup.scid).or_default();
        askers.push(asker);
        if askers.len() == 1 {
            self.queue.push_back((now, lookup));
        }
    }

    /// Lets one more wait for a lookup that is under way; whether there is one.
    pub fn join(&mut self, scid: ShortChannelId, asker: Asker) -> bool {
        let Some(askers) = self.askers.get_mut(&scid) else { return false };
        askers.push(asker);
        self.claims += 1;
        true
    }

    /// Takes one claim out; whether it was there. Its lookup goes on.
    pub fn withdraw(&mut self, scid: ShortChannelId, id: u64) -> bool {
        let Some(askers) = self.askers.get_mut(&scid) else { return false };
        let Some(at) = askers.iter().position(|asker| asker.id == id) else { return false };
        askers.swap_remove(at);
        self.claims -= 1;
        true
    }

    /// Whoever waits for a lookup that has ended.
    pub fn take(&mut self, scid: ShortChannelId) -> Vec<Asker> {
        let askers = self.askers.remove(&scid).unwrap_or_default();
        self.claims -= askers.len() as u64;
        askers
    }

    /// The next batch: a full one; or a smaller one, if no more are about to come or its first has waited for `hold`.
    pub fn next_batch(&mut self, now: Instant, more_to_come: bool, hold: Duration) -> Option<Vec<Lookup>> {
        let (since, _) = self.queue.front()?;
        let due = self.queue.len() >= MAX_OUTPUTS || !more_to_come || now.duration_since(*since) >= hold;
        let size = self.queue.len().min(MAX_OUTPUTS);
        due.then(|| self.queue.drain(..size).map(|(_, lookup)| lookup).collect())
    }

    /// Since when the longest-waiting one is in the queue.
    pub fn oldest(&self) -> Option<Instant> {
        self.queue.front().map(|(since, _)| *since)
    }
}
