//! Who speaks next: draws channels so unevenly as on mainnet.
//!
//! There, the busiest tenth of the channels sends 63 % of all updates; the median channel sends 2 a day, the 90th
//! percentile 7, the 99th 72.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::harmonic::Harmonic;
use super::network::Channel;
use crate::gossip::Direction;

pub(super) struct Traffic {
    /// Indexes of the channels with an enabled direction, the busiest first.
    ranking: Vec<usize>,
    /// Draws from the busiest tenth.
    busiest: Harmonic,
}

impl Traffic {
    pub(super) fn new(rng: &mut ChaCha8Rng, channels: &[Channel]) -> Self {
        let mut ranking: Vec<usize> = (0..channels.len()).filter(|&i| speaks(&channels[i])).collect();
        if ranking.is_empty() {
            ranking = (0..channels.len()).collect();
        }
        ranking.shuffle(rng);
        let tenth = ranking.len() / 10;
        // Within it, a channel at the fraction x of the tenth speaks as often as 1 / (x + 0.02) says: this meets the
        // 90th and the 99th percentile.
        Self { busiest: Harmonic::new(tenth, tenth as u64 / 50), ranking }
    }

    /// A new channel starts among the quiet.
    pub(super) fn add(&mut self, index: usize, channel: &Channel) {
        if speaks(channel) {
            self.ranking.push(index);
        }
    }

    /// A channel and one of its directions, one that has not yet spoken in this second if that is easily found: the
    /// timestamps of a direction that speaks more than once a second run ahead of the clock.
    pub(super) fn pick(&self, rng: &mut ChaCha8Rng, channels: &[Channel], now: u32) -> (usize, Direction) {
        let mut picked = self.draw(rng, channels);
        for _ in 0..16 {
            if channels[picked.0].timestamps[picked.1 as usize] < now {
                break;
            }
            picked = self.draw(rng, channels);
        }
        picked
    }

    fn draw(&self, rng: &mut ChaCha8Rng, channels: &[Channel]) -> (usize, Direction) {
        let index = self.ranking[self.rank(rng)];
        let [one, two] = channels[index].policies.map(|policy| policy.enabled);
        let direction = match (one, two) {
            (true, false) => Direction::OneToTwo,
            (false, true) => Direction::TwoToOne,
            _ => Direction::BOTH[usize::from(rng.random::<bool>())],
        };
        (index, direction)
    }

    fn rank(&self, rng: &mut ChaCha8Rng) -> usize {
        let tenth = self.busiest.ranks();
        if tenth == 0 || rng.random_ratio(37, 100) {
            return rng.random_range(tenth..self.ranking.len());
        }
        self.busiest.draw(rng, tenth)
    }
}

fn speaks(channel: &Channel) -> bool {
    channel.policies.iter().any(|policy| policy.enabled)
}
