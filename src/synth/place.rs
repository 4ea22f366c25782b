//! Places channels in the chain: which block, transaction and output funds each.

use anyhow::ensure;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::network::NetworkSpec;
use crate::gossip::ShortChannelId;

/// Outputs of every transaction of a synthetic chain, numbered from 0.
pub(super) const OUTPUTS: u16 = 4;

/// Heights have 24 bits (BOLT 7).
const MAX_HEIGHT: u32 = 0xff_ffff;

/// Places for that many channels, ascending: one to three a block, 1.6 on average, as on mainnet.
pub(super) fn in_blocks(
    rng: &mut ChaCha8Rng,
    channels: usize,
    spec: &NetworkSpec,
) -> anyhow::Result<Vec<ShortChannelId>> {
    let mut places = Vec::with_capacity(channels + 2);
    let mut height = spec.first_height;
    while places.len() < channels {
        ensure!(
            height <= MAX_HEIGHT,
            "the chain is too short for {channels} channels from height {}",
            spec.first_height
        );
        let in_block = match rng.random_range(0..100) {
            0..55 => 1,
            55..85 => 2,
            _ => 3,
        };
        let mut indexes = distinct(rng, in_block, spec.transactions_per_block);
        indexes.sort_unstable();
        for index in indexes {
            places.push(ShortChannelId::new(height, index, rng.random_range(0..OUTPUTS)));
        }
        height += 1;
    }
    places.truncate(channels);
    Ok(places)
}

/// The first place at `height` that comes after `last`.
pub(super) fn after(
    last: Option<ShortChannelId>,
    height: u32,
    transactions_per_block: u32,
) -> anyhow::Result<ShortChannelId> {
    ensure!(height <= MAX_HEIGHT, "there is no block at height {height}");
    let last = last.unwrap_or(ShortChannelId(0));
    ensure!(height >= last.height(), "block {height} comes before the last channel's, {}", last.height());
    let index = if height == last.height() { last.tx_index() + 1 } else { 1 };
    ensure!(index < transactions_per_block, "block {height} is full");
    Ok(ShortChannelId::new(height, index, (height % u32::from(OUTPUTS)) as u16))
}

/// `count` (at most 3) different transactions of a block, none of them its coinbase.
fn distinct(rng: &mut ChaCha8Rng, count: usize, transactions: u32) -> Vec<u32> {
    let mut indexes = Vec::with_capacity(count);
    while indexes.len() < count {
        let index = rng.random_range(1..transactions);
        if !indexes.contains(&index) {
            indexes.push(index);
        }
    }
    indexes
}
