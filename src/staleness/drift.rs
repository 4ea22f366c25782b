//! How stale wallets' fees are at each interval, over time: the capacity-weighted share of directions whose fee as it was
//! told is below the fee in force. Without routes, so without chance but for the rhythms.

use std::ops::AddAssign;
use std::time::Duration;

use rayon::prelude::*;

use super::past::{Channel, Past};
use super::share::{Share, weight_sat};
use crate::gossip::{Direction, UnixMs};

/// So many looks at most, evenly over the time.
const LOOKS: u64 = 84;
/// How old is what a wallet goes by, in intervals: the middles of four parts of equally many wallets. The age is the sum of two even
/// draws (see [`simulate`](super::simulate())), and below `a`, where that is at most 1, is half the square of it.
const AGES: [f64; 4] = [0.5, 0.866_025_4, 1.133_974_6, 1.5];

/// The shares at each look.
#[derive(Clone, PartialEq, Debug)]
pub struct Drift {
    pub looks: Vec<UnixMs>,
    /// By interval, and by look.
    pub shares: Vec<Vec<Share>>,
}

impl Drift {
    /// Of `intervals`, between two times that are at least twice the longest interval apart.
    pub fn of(past: &Past, span: (UnixMs, UnixMs), intervals: &[Duration]) -> Self {
        let longest_ms = intervals.iter().map(|interval| interval.as_millis() as u64).max().unwrap_or(0);
        let first = span.0.0.saturating_add(longest_ms.saturating_mul(2)).min(span.1.0);
        let looks: Vec<UnixMs> = (0..=LOOKS).map(|n| UnixMs(first + (span.1.0 - first) / LOOKS * n)).collect();
        let none = || Sums(vec![vec![Share::default(); looks.len()]; intervals.len()]);
        let with = |mut sums: Sums, channel: &Channel| {
            for (shares, interval) in sums.0.iter_mut().zip(intervals) {
                for (share, at) in shares.iter_mut().zip(&looks) {
                    AGES.iter().for_each(|age| count(share, channel, *at, interval.mul_f64(*age)));
                }
            }
            sums
        };
        let both = |mut sums: Sums, others: Sums| {
            sums += others;
            sums
        };
        let sums = past.channels().par_iter().fold(none, with).reduce(none, both);
        Self { shares: sums.0, looks }
    }

    /// Of one of the intervals, over all the time.
    pub fn mean(&self, interval: usize) -> f64 {
        let mut all = Share::default();
        self.shares.get(interval).into_iter().flatten().for_each(|share| all += *share);
        all.value()
    }
}

struct Sums(Vec<Vec<Share>>);

impl AddAssign for Sums {
    fn add_assign(&mut self, others: Self) {
        for (share, other) in self.0.iter_mut().flatten().zip(others.0.into_iter().flatten()) {
            *share += other;
        }
    }
}

/// Counts a channel's directions at `at`, as a wallet has them whose knowledge is so old.
fn count(share: &mut Share, channel: &Channel, at: UnixMs, age: Duration) {
    let told_at = UnixMs(at.0.saturating_sub(age.as_millis() as u64));
    let Some(told) = channel.told(told_at).filter(|_| channel.is_open(at)) else { return };
    let weight_sat = weight_sat(channel.capacity_sat, told);
    for direction in Direction::BOTH {
        if let Some(in_force) = channel.in_force(direction, at).last() {
            share.count(weight_sat, told[direction as usize], &in_force.policy);
        }
    }
}
