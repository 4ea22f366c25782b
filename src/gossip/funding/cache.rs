//! What bitcoind said lately, kept so that it need not be asked again; bounded to a few megabytes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::{BlockHash, Txid};
use tokio::time::Instant;

use super::lookups::Outcome;
use crate::gossip::ShortChannelId;

/// Hashes of the best chain's blocks by height, and so the starting points for ranges of them.
#[derive(Default)]
pub(super) struct Hashes {
    by_height: BTreeMap<u32, BlockHash>,
    order: VecDeque<u32>,
}

impl Hashes {
    /// About 1.5 MB.
    const CAPACITY: usize = 32_768;

    pub fn get(&self, height: u32) -> Option<BlockHash> {
        self.by_height.get(&height).copied()
    }

    /// The highest block known from `from` up to `to`.
    pub fn last_in(&self, from: u32, to: u32) -> Option<(u32, BlockHash)> {
        self.by_height.range(from..=to).next_back().map(|(height, hash)| (*height, *hash))
    }

    pub fn insert(&mut self, height: u32, hash: BlockHash) {
        if self.by_height.insert(height, hash).is_none() {
            self.order.push_back(height);
        }
        while self.order.len() > Self::CAPACITY {
            if let Some(oldest) = self.order.pop_front() {
                self.by_height.remove(&oldest);
            }
        }
    }

    pub fn forget(&mut self, height: u32) {
        if self.by_height.remove(&height).is_some() {
            self.order.retain(|known| *known != height);
        }
    }

    /// Forgets the blocks from `height` on.
    pub fn forget_from(&mut self, height: u32) {
        if !self.by_height.split_off(&height).is_empty() {
            self.order.retain(|known| *known < height);
        }
    }
}

/// Transaction ids of the blocks last read.
#[derive(Default)]
pub(super) struct Contents {
    by_block: HashMap<BlockHash, Arc<[Txid]>>,
    order: VecDeque<BlockHash>,
    txids: usize,
}

impl Contents {
    /// In transaction ids: 2 MB, about twenty full blocks.
    const CAPACITY: usize = 65_536;

    pub fn get(&self, block: BlockHash) -> Option<Arc<[Txid]>> {
        self.by_block.get(&block).cloned()
    }

    pub fn insert(&mut self, block: BlockHash, txids: Arc<[Txid]>) {
        self.txids += txids.len();
        match self.by_block.insert(block, txids) {
            Some(same) => self.txids -= same.len(),
            None => self.order.push_back(block),
        }
        while self.txids > Self::CAPACITY {
            let Some(oldest) = self.order.pop_front() else { break };
            self.txids -= self.by_block.remove(&oldest).map_or(0, |txids| txids.len());
        }
    }
}

/// What was found at short channel ids in the last minutes, for competing announcements of them.
#[derive(Default)]
pub(super) struct Outcomes {
    by_scid: HashMap<ShortChannelId, (Instant, Outcome)>,
    order: VecDeque<(Instant, ShortChannelId)>,
}

impl Outcomes {
    /// About 2 MB.
    const CAPACITY: usize = 16_384;
    /// An output may be spent at any time; what was found is believed for so long.
    const LIFETIME: Duration = Duration::from_secs(600);

    pub fn get(&self, scid: ShortChannelId, now: Instant) -> Option<Outcome> {
        let (found, outcome) = self.by_scid.get(&scid).copied()?;
        (now.duration_since(found) < Self::LIFETIME).then_some(outcome)
    }

    pub fn insert(&mut self, scid: ShortChannelId, outcome: Outcome, now: Instant) {
        self.by_scid.insert(scid, (now, outcome));
        self.order.push_back((now, scid));
        while self.order.len() > Self::CAPACITY {
            let Some((found, oldest)) = self.order.pop_front() else { break };
            // One that was found again since has a younger place in the order.
            if self.by_scid.get(&oldest).is_some_and(|(latest, _)| *latest == found) {
                self.by_scid.remove(&oldest);
            }
        }
    }

    /// Forgets what was found from `height` on.
    pub fn forget_from(&mut self, height: u32) {
        self.by_scid.retain(|scid, _| scid.height() < height);
        self.order.retain(|(_, scid)| scid.height() < height);
    }
}
