//! One piece of work against bitcoind: one request, seldom two or three, and what came of it.

use std::collections::BTreeMap;

use bitcoin::BlockHash;

use super::link::CONFIRMATIONS;
use super::lookups::{Lookup, Outcome};
use super::rest::{Rest, RestError};
use super::wire::{BlockContents, ChainInfo};
use crate::gossip::{BlockId, REORG_DEPTH};

/// What to ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Job {
    /// Where does the chain stand?
    Look,
    /// Which hashes have the blocks at these ascending heights?
    Hashes(HashesJob),
    /// Which transactions are in this block?
    Contents { height: u32, hash: BlockHash, tip: BlockHash },
    /// Are these outputs unspent?
    Lookups(Vec<Lookup>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct HashesJob {
    /// Ascending, not empty; more than one only where one range of headers covers them all.
    pub heights: Vec<u32>,
    /// A block from which the range can start without another request.
    pub anchor: Option<(u32, BlockHash)>,
    /// The chain's tip as the question was put.
    pub tip: BlockHash,
}

/// What came of it.
pub(super) enum Done {
    Looked(Result<ChainInfo, RestError>),
    /// The hashes of some blocks, those asked for among them as far as the chain has them.
    Hashed(HashesJob, Result<Vec<(u32, BlockHash)>, RestError>),
    Read {
        height: u32,
        hash: BlockHash,
        tip: BlockHash,
        contents: Result<BlockContents, RestError>,
    },
    /// What was found, and the chain's tip at that moment.
    LookedUp(Vec<Lookup>, Result<(BlockId, Vec<Found>), RestError>),
}

/// What a lookup has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Settled(Outcome),
    /// A reorganisation has put another block in the place of the one that was read.
    Moved,
    /// The chain has become shorter: too few confirmations.
    TooNew,
}

impl Job {
    pub async fn run(self, rest: &Rest) -> Done {
        match self {
            Self::Look => Done::Looked(rest.chain_info().await),
            Self::Hashes(job) => {
                let answer = hashes(rest, &job).await;
                Done::Hashed(job, answer)
            }
            Self::Contents { height, hash, tip } => {
                Done::Read { height, hash, tip, contents: rest.block_contents(hash).await }
            }
            Self::Lookups(lookups) => {
                let answer = look_up(rest, &lookups).await;
                Done::LookedUp(lookups, answer)
            }
        }
    }
}

async fn hashes(rest: &Rest, job: &HashesJob) -> Result<Vec<(u32, BlockHash)>, RestError> {
    let (Some(&first), Some(&last)) = (job.heights.first(), job.heights.last()) else { return Ok(Vec::new()) };
    if let Some((height, hash)) = job.anchor {
        let found = rest.block_hashes(hash, last - height + 1).await?;
        if !found.is_empty() {
            return Ok((height..).zip(found).collect());
        }
        // A reorganisation has taken the anchor out of the chain.
    }
    let hash = match rest.block_hash(first).await {
        Err(RestError::NotFound(_)) => return Ok(Vec::new()),
        answer => answer?,
    };
    if first == last {
        return Ok(vec![(first, hash)]);
    }
    let mut found = rest.block_hashes(hash, last - first + 1).await?;
    if found.is_empty() {
        found.push(hash);
    }
    Ok((first..).zip(found).collect())
}

async fn look_up(rest: &Rest, lookups: &[Lookup]) -> Result<(BlockId, Vec<Found>), RestError> {
    let answer = rest.utxos(lookups.iter().map(|lookup| lookup.output)).await?;
    let mut hashes_now: BTreeMap<u32, Option<BlockHash>> = BTreeMap::new();
    let mut found = Vec::with_capacity(lookups.len());
    for (lookup, coin) in lookups.iter().zip(&answer.coins) {
        let height = lookup.scid.height();
        if height + CONFIRMATIONS - 1 > answer.height {
            found.push(Found::TooNew);
            continue;
        }
        // The block was read under one tip and the output under another: is it still the same block? Far below
        // the tip no reorganisation reaches, and the question is spared.
        if lookup.tip != answer.tip && height + REORG_DEPTH > answer.height {
            if let std::collections::btree_map::Entry::Vacant(entry) = hashes_now.entry(height) {
                entry.insert(match rest.block_hash(height).await {
                    Err(RestError::NotFound(_)) => None,
                    answer => Some(answer?),
                });
            }
            if hashes_now.get(&height) != Some(&Some(lookup.block)) {
                found.push(Found::Moved);
                continue;
            }
        }
        found.push(Found::Settled(coin.map_or(Outcome::SpentOrMissing, Outcome::Unspent)));
    }
    Ok((BlockId { height: answer.height, hash: answer.tip }, found))
}
