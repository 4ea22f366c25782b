//! Chance that is the same every time: each draw follows from the seed and from what it is for, so that neither the
//! number of cores nor the order of the work changes a figure.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Mixes numbers into one (the finalizer of SplitMix64, over and over).
pub fn hash(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |mixed, part| {
        let mut mixed = (mixed ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// Randomness of its own for the thing with this number.
pub fn rng(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}
