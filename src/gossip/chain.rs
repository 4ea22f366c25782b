//! What the rooms have to know of Bitcoin's chain.

use std::collections::BTreeMap;

use bitcoin::BlockHash;

/// No reorganisation is deeper: what was said of a block that lies so many blocks below the tip is final.
pub const REORG_DEPTH: u32 = 100;

/// A block of the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockId {
    pub height: u32,
    pub hash: BlockHash,
}

/// Whether what happened in the block at `height` is final once the chain has come to `tip`.
pub(crate) fn is_final(height: u32, tip: u32) -> bool {
    tip >= height.saturating_add(REORG_DEPTH)
}

/// The last blocks that were looked through for spends, as many as a reorganisation may reach.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trail {
    by_height: BTreeMap<u32, BlockHash>,
}

impl Trail {
    /// Takes the next block; one that is not above the last puts an end to those from its height on.
    pub fn push(&mut self, block: BlockId) {
        self.by_height.split_off(&block.height);
        self.by_height.insert(block.height, block.hash);
        while self.by_height.len() > REORG_DEPTH as usize {
            self.by_height.pop_first();
        }
    }

    /// The last block; none before the first.
    pub fn last(&self) -> Option<BlockId> {
        self.newest_first().next()
    }

    /// All blocks, from the last one down. There are gaps where blocks could not be had.
    pub fn newest_first(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.by_height.iter().rev().map(|(height, hash)| BlockId { height: *height, hash: *hash })
    }
}
