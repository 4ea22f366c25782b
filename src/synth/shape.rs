//! Draws the shape of a plausible network.
//!
//! The numbers are those of the mainnet map of 3 February 2026 (50,808 channels, 17,324 nodes): how common each fee,
//! cltv delta, minimum and maximum was, that a third of the channels was disabled on both sides, and that the 253
//! busiest nodes had 42 % of all channel ends.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::harmonic::Harmonic;
use super::topology::{Topology, TopologyChannel};
use crate::gossip::Policy;

/// Values and how common they are; the weights need not add up to anything.
type Mix<T> = [(T, u32)];

const CAPACITY_SAT: &Mix<u64> = &[
    (20_000, 39),
    (50_000, 14),
    (100_000, 25),
    (200_000, 12),
    (500_000, 26),
    (1_000_000, 60),
    (1_500_000, 11),
    (2_000_000, 36),
    (2_500_000, 9),
    (3_000_000, 22),
    (5_000_000, 55),
    (10_000_000, 60),
    (16_777_215, 6),
    (25_000_000, 8),
    (50_000_000, 10),
    (100_000_000, 9),
    (500_000_000, 2),
];
const MINIMUM_MSAT: &Mix<u64> =
    &[(1_000, 760), (1, 99), (100_000, 27), (1_000_000, 23), (0, 17), (10_000, 8), (5_000, 7), (9_000, 4)];
const BASE_MSAT: &Mix<u32> = &[
    (0, 440),
    (1_000, 400),
    (1, 33),
    (500, 15),
    (100, 9),
    (2_000, 7),
    (5_000, 7),
    (10_000, 5),
    (10, 5),
    (200, 4),
    (999, 3),
    (100_000, 2),
];
const PROPORTIONAL: &Mix<u32> = &[
    (1, 220),
    (0, 67),
    (500, 51),
    (100, 44),
    (10, 43),
    (1_000, 30),
    (499, 26),
    (2_000, 17),
    (200, 17),
    (2_500, 14),
    (5_000, 11),
    (300, 9),
    (10_000, 6),
];
const CLTV_DELTA: &Mix<u16> = &[
    (80, 380),
    (144, 176),
    (40, 170),
    (100, 112),
    (34, 65),
    (18, 25),
    (51, 8),
    (72, 8),
    (120, 6),
    (222, 3),
    (288, 2),
];

/// Channels disabled on both sides, and on one, in a thousand.
const DISABLED_BOTH: u32 = 333;
const DISABLED_ONE: u32 = 39;

/// Makes the 253 busiest of mainnet's nodes have 42 % of all channel ends, and the busiest 2 %.
const HUBS_OFFSET: u64 = 4;

pub(super) fn generate(channels: usize, seed: u64) -> Topology {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let nodes = (channels * 341 / 1000).clamp(2, u32::MAX as usize) as u32;
    let ends = draw_ends(&mut rng, nodes, channels);
    Topology { nodes, channels: ends.into_iter().map(|ends| channel(&mut rng, ends)).collect() }
}

/// A channel between these two nodes, its size and policies drawn at random.
pub(super) fn channel(rng: &mut ChaCha8Rng, nodes: [u32; 2]) -> TopologyChannel {
    let capacity_sat = capacity(rng);
    let mut policies = [policy(rng, capacity_sat), policy(rng, capacity_sat)];
    let fate = rng.random_range(0..1000);
    if fate < DISABLED_BOTH {
        policies.iter_mut().for_each(|policy| policy.enabled = false);
    } else if fate < DISABLED_BOTH + DISABLED_ONE {
        policies[(fate % 2) as usize].enabled = false;
    }
    TopologyChannel { nodes, capacity_sat, policies }
}

/// Every node gets a channel to a busier one, so that all are connected; the other channels join two nodes that were
/// drawn by how busy they are. Node 0 is the busiest.
fn draw_ends(rng: &mut ChaCha8Rng, nodes: u32, channels: usize) -> Vec<[u32; 2]> {
    let hubs = Harmonic::new(nodes as usize, HUBS_OFFSET);
    let mut draw = |among: u32| hubs.draw(rng, among as usize) as u32;
    let connecting = channels.min(nodes as usize - 1) as u32;
    let mut ends: Vec<[u32; 2]> = (1..=connecting).map(|node| [node, draw(node)]).collect();
    while ends.len() < channels {
        let (a, b) = (draw(nodes), draw(nodes));
        ends.push([a, if a == b { (a + 1) % nodes } else { b }]);
    }
    ends
}

fn capacity(rng: &mut ChaCha8Rng) -> u64 {
    let capacity_sat = pick(rng, CAPACITY_SAT);
    // A third of the channels have no round size.
    if rng.random_ratio(1, 3) { capacity_sat + rng.random_range(0..capacity_sat / 2) } else { capacity_sat }
}

fn policy(rng: &mut ChaCha8Rng, capacity_sat: u64) -> Policy {
    let htlc_maximum_msat = match rng.random_range(0..100) {
        0..64 => capacity_sat * 990,
        64..72 => capacity_sat * 1000,
        _ => capacity_sat * 10 * rng.random_range(1..100),
    };
    let mut fee_proportional_millionths = pick(rng, PROPORTIONAL);
    if rng.random_ratio(2, 5) {
        // Mainnet knows 2,865 different ones.
        fee_proportional_millionths = rng.random_range(0..3000);
    }
    Policy {
        htlc_minimum_msat: pick(rng, MINIMUM_MSAT).min(htlc_maximum_msat),
        htlc_maximum_msat,
        fee_base_msat: pick(rng, BASE_MSAT),
        fee_proportional_millionths,
        cltv_expiry_delta: pick(rng, CLTV_DELTA),
        enabled: true,
    }
}

fn pick<T: Copy>(rng: &mut ChaCha8Rng, mix: &Mix<T>) -> T {
    let total: u32 = mix.iter().map(|&(_, weight)| weight).sum();
    let mut draw = rng.random_range(0..total);
    for &(value, weight) in mix {
        if draw < weight {
            return value;
        }
        draw -= weight;
    }
    mix[0].0
}
