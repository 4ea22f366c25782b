//! Unequal draws: the first ranks come up much more often than the last.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Draws ranks from 0 up; rank `r` is as likely as `1 / (r + offset)` says. Whole numbers only, so that all machines
/// draw alike.
pub(super) struct Harmonic {
    /// The weights up to and including each rank.
    cumulative: Vec<u64>,
}

impl Harmonic {
    /// `offset` is at least 1; the larger, the more equal are the first ranks.
    pub(super) fn new(ranks: usize, offset: u64) -> Self {
        const UNIT: u64 = 1 << 32;
        let weights = (0..ranks as u64).map(|rank| UNIT / (rank + offset.max(1)));
        let cumulative = weights.scan(0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { cumulative: cumulative.collect() }
    }

    pub(super) fn ranks(&self) -> usize {
        self.cumulative.len()
    }

    /// One of the first `ranks` ranks (of all, if there are fewer); 0 if there is none.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng, ranks: usize) -> usize {
        let Some(&total) = self.cumulative[..ranks.min(self.ranks())].last() else { return 0 };
        let draw = rng.random_range(0..total);
        self.cumulative.partition_point(|&sum| sum <= draw)
    }
}
