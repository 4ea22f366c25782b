//! The claims whose block is not read yet, by block, and what each block waits for.
//!
//! Owns the count of claims in each state; every move between states goes through here.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::BlockHash;
use tokio::time::Instant;

use super::FundingScript;
use crate::gossip::ShortChannelId;

/// Who asked about a short channel id, and which script they expect there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asker {
    pub id: u64,
    pub script: FundingScript,
}

/// What a block waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// To be asked for its hash.
    NeedsHash,
    /// To be asked for its transaction ids; `tip` was the chain's tip when it had this hash.
    NeedsContents { hash: BlockHash, tip: BlockHash },
    /// An answer is on its way.
    Asked,
    /// The chain has yet to reach it, by six confirmations.
    ForBlocks,
    /// bitcoind does not have it: pruned, or not downloaded.
    Unavailable { until: Instant },
    /// The last try failed.
    Failed { until: Instant },
}

struct Block {
    stage: Stage,
    /// How often in a row it was asked for in vain.
    failures: u32,
    claims: Vec<(ShortChannelId, Asker)>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Board {
    blocks: BTreeMap<u32, Block>,
    needs_hash: BTreeSet<u32>,
    needs_contents: BTreeSet<u32>,
    for_blocks: BTreeSet<u32>,
    timers: BTreeSet<(Instant, u32)>,
    claims: u64,
    claims_for_blocks: u64,
    claims_unavailable: u64,
}

impl Board {
    pub fn claims(&self) -> u64 {
        self.claims
    }

    pub fn claims_for_blocks(&self) -> u64 {
        self.claims_for_blocks
    }

    /// Those of [`Self::claims_for_blocks`] at or below `height`.
    pub fn claims_for_blocks_to(&self, height: u32) -> u64 {
        let blocks = self.for_blocks.range(..=height).filter_map(|height| self.blocks.get(height));
        blocks.map(|block| block.claims.len() as u64).sum()
    }

    pub fn claims_unavailable(&self) -> u64 {
        self.claims_unavailable
    }

    pub fn stage(&self, height: u32) -> Option<Stage> {
        self.blocks.get(&height).map(|block| block.stage)
    }

    pub fn needs_hash(&self) -> &BTreeSet<u32> {
        &self.needs_hash
    }

    pub fn needs_contents(&self) -> &BTreeSet<u32> {
        &self.needs_contents
    }

    /// Adds a claim; a block that nobody asked about so far begins at [`Stage::NeedsHash`].
    pub fn add(&mut self, scid: ShortChannelId, asker: Asker) {
        let height = scid.height();
        let block = self.blocks.entry(height).or_insert_with(|| {
            self.needs_hash.insert(height);
            Block { stage: Stage::NeedsHash, failures: 0, claims: Vec::new() }
        });
        block.claims.push((scid, asker));
        let stage = block.stage;
        self.claims += 1;
        if let Some(count) = self.count_of(stage) {
            *count += 1;
        }
    }

    /// Takes one claim out; whether it was there.
    pub fn withdraw(&mut self, scid: ShortChannelId, id: u64) -> bool {
        let height = scid.height();
        let Some(block) = self.blocks.get_mut(&height) else { return false };
        let found = block.claims.iter().position(|(claimed, asker)| (*claimed, asker.id) == (scid, id));
        let Some(at) = found else { return false };
        block.claims.swap_remove(at);
        let (stage, empty) = (block.stage, block.claims.is_empty());
        self.claims -= 1;
        if let Some(count) = self.count_of(stage) {
            *count -= 1;
        }
        if empty {
            self.take(height);
        }
        true
    }

    /// Takes a block and its claims out.
    pub fn take(&mut self, height: u32) -> Vec<(ShortChannelId, Asker)> {
        self.move_to(height, Stage::Asked);
        let claims = self.blocks.remove(&height).map(|block| block.claims).unwrap_or_default();
        self.claims -= claims.len() as u64;
        claims
    }

    /// Moves a block to another state. One that is no longer there stays away.
    pub fn move_to(&mut self, height: u32, stage: Stage) {
        let Some(block) = self.blocks.get_mut(&height) else { return };
        let (before, claims) = (std::mem::replace(&mut block.stage, stage), block.claims.len() as u64);
        match before {
            Stage::NeedsHash => drop(self.needs_hash.remove(&height)),
            Stage::NeedsContents { .. } => drop(self.needs_contents.remove(&height)),
            Stage::ForBlocks => drop(self.for_blocks.remove(&height)),
            Stage::Unavailable { until } | Stage::Failed { until } => drop(self.timers.remove(&(until, height))),
            Stage::Asked => {}
        }
        if let Some(count) = self.count_of(before) {
            *count -= claims;
        }
        match stage {
            Stage::NeedsHash => drop(self.needs_hash.insert(height)),
            Stage::NeedsContents { .. } => drop(self.needs_contents.insert(height)),
            Stage::ForBlocks => drop(self.for_blocks.insert(height)),
            Stage::Unavailable { until } | Stage::Failed { until } => drop(self.timers.insert((until, height))),
            Stage::Asked => {}
        }
        if let Some(count) = self.count_of(stage) {
            *count += claims;
        }
    }

    /// Counts a try in vain; how many there were before.
    pub fn count_failure(&mut self, height: u32) -> u32 {
        self.blocks.get_mut(&height).map_or(0, |block| {
            block.failures = block.failures.saturating_add(1);
            block.failures - 1
        })
    }

    /// Sorts the blocks that wait for their hash or for the chain by what the chain has: up to `confirmed` it is
    /// deep enough, and below `pruned_below` bitcoind has forgotten it and is asked again at `later`.
    pub fn sort(&mut self, confirmed: Option<u32>, pruned_below: u32, later: Instant) {
        let reached = confirmed.map_or_else(BTreeSet::new, |top| self.for_blocks.range(..=top).copied().collect());
        for height in reached {
            self.move_to(height, Stage::NeedsHash);
        }
        let first_unreached = confirmed.map_or(0, |top| top.saturating_add(1));
        let unreached: Vec<u32> = self.needs_hash.range(first_unreached..).copied().collect();
        for height in unreached {
            self.move_to(height, Stage::ForBlocks);
        }
        let pruned: Vec<u32> = self.needs_hash.range(..pruned_below).copied().collect();
        for height in pruned {
            self.move_to(height, Stage::Unavailable { until: later });
        }
    }

    /// Puts up for another try what has waited long enough; whether there was anything.
    pub fn wake(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some((until, height)) = self.timers.first().copied()
            && until <= now
        {
            self.move_to(height, Stage::NeedsHash);
            any = true;
        }
        any
    }

    /// When [`Self::wake`] will have something to do.
    pub fn next_wake(&self) -> Option<Instant> {
        self.timers.first().map(|(until, _)| *until)
    }

    /// Puts up for another try whatever failed, because bitcoind is well again.
    pub fn retry_failed(&mut self) {
        let waiting: Vec<u32> = self.timers.iter().map(|(_, height)| *height).collect();
        for height in waiting {
            if let Some(block) = self.blocks.get_mut(&height)
                && matches!(block.stage, Stage::Failed { .. })
            {
                block.failures = 0;
                self.move_to(height, Stage::NeedsHash);
            }
        }
    }

    fn count_of(&mut self, stage: Stage) -> Option<&mut u64> {
        match stage {
            Stage::ForBlocks => Some(&mut self.claims_for_blocks),
            Stage::Unavailable { .. } => Some(&mut self.claims_unavailable),
            _ => None,
        }
    }
}
