//! How many requests a sync takes, and over how many connections.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::bitcoind::Bitcoind;
use super::*;

/// A mainnet-like spread: channels in one block of thirteen, 1.6 in each of these. Returns (requests, blocks).
async fn sync(channels: usize, blocks: u32, shuffled: bool) -> (u64, u64) {
    let height = blocks * 13;
    let bitcoind = Bitcoind::start(height + 10, 12).await;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut heights: Vec<u32> = (0..blocks).map(|block| block * 13 + rng.random_range(0..13)).collect();
    let more: Vec<u32> = (0..channels - heights.len()).map(|_| heights[rng.random_range(0..heights.len())]).collect();
    heights.extend(more);
    heights.sort_unstable();
    let mut channel = 0;
    let mut claims: Vec<Claim> = Vec::new();
    for (id, height) in heights.iter().enumerate() {
        channel = if id > 0 && heights[id - 1] == *height { channel + 1 } else { 0 };
        bitcoind.chain().fund(*height, channel, 0, &script(id as u64), id as u64);
        claims.push(claim(id as u64, scid(*height, channel, 0), script(id as u64)));
    }
    if shuffled {
        claims.shuffle(&mut rng);
    }
    let mut rig = Rig::with(bitcoind, Timing::default());
    rig.wait_for(|status| status.reachable).await;
    let begin = std::time::Instant::now();
    for some in claims.chunks(100) {
        some.iter().for_each(|claim| rig.prover.prove(claim.clone()));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    rig.all_proven(channels).await;
    let chain = rig.bitcoind.chain();
    let requests = chain.requests.values().sum();
    println!(
        "{channels} channels in {blocks} blocks, shuffled: {shuffled}: {requests} requests, {:?}",
        begin.elapsed()
    );
    println!("  {:?}, {} connections", chain.requests, chain.connections);
    assert!(chain.connections <= 16, "{} connections", chain.connections);
    (requests, blocks.into())
}

#[tokio::test]
async fn a_sync_in_the_chains_order_takes_few_requests() {
    let (requests, blocks) = sync(1_600, 1_000, false).await;
    assert!(requests * 100 <= blocks * 125, "{requests} requests for {blocks} blocks");
}

#[tokio::test]
async fn a_sync_in_any_order_takes_few_requests() {
    let (requests, blocks) = sync(1_600, 1_000, true).await;
    assert!(requests * 100 <= blocks * 160, "{requests} requests for {blocks} blocks");
}

#[tokio::test]
async fn sparse_claims_take_one_hash_each() {
    let bitcoind = Bitcoind::start(9_010, 2).await;
    let mut rig = Rig::with(bitcoind, fast());
    for height in [1, 3_000, 6_000, 9_000] {
        rig.fund_and_claim(height.into(), height, 1, 0);
    }
    rig.all_proven(4).await;
    let chain = rig.bitcoind.chain();
    let asked = ["blockhashbyheight", "headers", "block", "getutxos"].map(|kind| chain.asked(kind));
    assert_eq!(asked, [4, 0, 4, 1]);
}
