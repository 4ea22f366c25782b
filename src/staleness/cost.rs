//! What an interval costs: what a wallet fetches in a day, with full snapshots and with deltas, and how long the server is
//! at work in an hour.
//!
//! The bytes are those of real snapshots: a history is fed with what happened, epochs of our own are cut at its end, and
//! what lies an interval apart gives a delta. Bodies are version 2 of the format, as they are, because the official client never asks for compression.

use std::time::Duration;

use anyhow::Context;
use bitcoin::Network;
use bitcoin::constants::ChainHash;

use crate::gossip::{Fact, UnixMs};
use crate::history::History;
use crate::journal::{Entry, Event, Graph, Seq};
use crate::snapshot::{Contents, LeftOut, Matter, REACH_S, Version, cut, delta, encode, rules};

const DAY_S: u32 = 24 * 3600;
/// So many deltas are made for each interval …
const SAMPLES: u32 = 4;
/// … each of which ends in another part of these last days, or of what there is.
const SAMPLED_S: u32 = 2 * DAY_S;
/// How often a snapshot is made, for the time that it takes.
const RUNS: u32 = 3;

/// What an interval costs.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Cost {
    /// Of one wallet.
    pub requests_a_day: f64,
    /// Of one wallet that fetches the full snapshot each time, or a delta after the first.
    pub full_bytes_a_day: f64,
    pub delta_bytes_a_day: f64,
    /// Of the server, for cutting, encoding and verifying: as measured.
    pub cpu_s_an_hour: f64,
}

/// Takes what happened in its order, and measures at the end.
pub struct Meter {
    history: History,
    graph: Graph,
    intervals: Vec<Duration>,
    /// The times of the epochs that are yet to be cut, the last first.
    due: Vec<u32>,
    /// By interval, the epochs between which deltas lie.
    pairs: Vec<Vec<(u32, u32)>>,
    seq: Seq,
}

impl Meter {
    /// For what happens up to `span`'s end.
    pub fn new(span: (UnixMs, UnixMs), intervals: &[Duration], graph: Graph) -> Self {
        let (from, to) = (span.0.secs(), span.1.secs());
        let apart = (to.saturating_sub(from) / 2).min(SAMPLED_S) / SAMPLES;
        let ends = || (0..SAMPLES).map(|n| to.saturating_sub(n * apart));
        let pair = |end: u32, interval: &Duration| {
            let back = u32::try_from(interval.as_secs()).unwrap_or(u32::MAX).clamp(1, REACH_S - 1);
            (end.saturating_sub(back).max(1), end)
        };
        let pairs: Vec<Vec<(u32, u32)>> =
            intervals.iter().map(|interval| ends().map(|end| pair(end, interval)).collect()).collect();
        let mut due: Vec<u32> = pairs.iter().flatten().flat_map(|(since, until)| [*since, *until]).collect();
        due.sort_unstable_by(|a, b| b.cmp(a));
        due.dedup();
        Self { history: History::new(), graph, intervals: intervals.to_vec(), due, pairs, seq: Seq(0) }
    }

    /// Takes the next fact.
    pub fn take(&mut self, seen: UnixMs, fact: Fact) {
        while let Some(timestamp) = self.due.pop_if(|due| seen.0 > u64::from(*due) * 1_000) {
            self.cut(timestamp);
        }
        self.apply(seen, Event::Fact(fact));
    }

    /// Measures. `now_s` is the system's time in unix seconds, by which LDK judges; `cpu` tells how much of the
    /// processors' time was used so far.
    pub fn finish(mut self, network: Network, now_s: u32, cpu: impl Fn() -> Duration) -> anyhow::Result<Vec<Cost>> {
        while let Some(timestamp) = self.due.pop() {
            self.cut(timestamp);
        }
        let chain = ChainHash::using_genesis_block_const(network);
        let epoch = *self.history.last_epoch().context("nothing happened")?;
        let view = self.history.view(&epoch).context("the last epoch is known")?;
        let full = encode(&Contents::full(&view), chain, Version::V2)?.len() as f64;
        let before = cpu();
        for _ in 0..RUNS {
            let matter = Matter::of(&self.history, &epoch).context("the last epoch is known")?;
            cut(matter, &LeftOut::default(), network, now_s)?;
        }
        let cpu_s = (cpu().saturating_sub(before) / RUNS).as_secs_f64();
        let cost = |(interval, pairs): (&Duration, &Vec<(u32, u32)>)| {
            let times_a_day = 86_400.0 / interval.as_secs_f64();
            let deltas: Vec<f64> = pairs.iter().filter_map(|pair| self.delta(*pair, chain, full)).collect();
            let delta = deltas.iter().sum::<f64>() / deltas.len().max(1) as f64;
            Cost {
                requests_a_day: times_a_day,
                full_bytes_a_day: full * times_a_day,
                delta_bytes_a_day: delta * times_a_day,
                cpu_s_an_hour: cpu_s * times_a_day / 24.0,
            }
        };
        Ok(self.intervals.iter().zip(&self.pairs).map(cost).collect())
    }

    /// How many bytes one takes; never more than the full snapshot.
    fn delta(&self, (since, until): (u32, u32), chain: ChainHash, full: f64) -> Option<f64> {
        let (since, until) = (self.history.epoch_at(since)?, self.history.epoch_at(until)?);
        let contents = delta(&self.history.span(&since, &until)?, &LeftOut::default());
        Some((encode(&contents, chain, Version::V2).ok()?.len() as f64).min(full))
    }

    fn cut(&mut self, timestamp: u32) {
        self.apply(UnixMs(u64::from(timestamp) * 1_000), Event::Epoch { timestamp, rules: rules(self.graph) });
    }

    fn apply(&mut self, seen: UnixMs, event: Event) {
        self.seq = Seq(self.seq.0 + 1);
        self.history.apply(&Entry { seq: self.seq, seen, event });
    }
}
