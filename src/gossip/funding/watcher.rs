//! Watching the chain: every block of the best chain is read once, whole and in order, and what it spends of known
//! channels' funding outputs is told to the checking stage.
//!
//! Owns the way through the chain; the checking stage owns what is known of channels and decides what a spend means.
//! Holds one block at a time. While bitcoind cannot be asked it waits; what it asks in vain makes bitcoind suspect, as
//! the prover's questions do.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::{BlockHash, Txid};
use rand_chacha::ChaCha8Rng;
use tokio::sync::{mpsc, oneshot, watch};

use super::link::{CONFIRMATIONS, pause};
use super::rest::{MAX_HEADERS, Rest, RestError};
use super::scan::Candidate;
use super::{BlockSpends, FundingTag, Order, Spend, Timing};
use crate::gossip::{BlockId, ShortChannelId, Trail};

/// So often in a row a block is asked for that bitcoind says it does not have, before it is passed over.
const MISSING_AT_MOST: u32 = 4;

/// So many failures in a row, of a bitcoind that answers otherwise, the operator should know of.
const TOLD_AFTER: u32 = 4;

/// Failures in a row, since the last block that was read.
#[derive(Clone, Copy, Default)]
struct Failures {
    all: u32,
    /// The last ones, as far as they said that there is no such block.
    missing: u32,
}

impl Failures {
    fn count(&mut self, error: &RestError) {
        self.all = self.all.saturating_add(1);
        self.missing = if matches!(error, RestError::NotFound(_)) { self.missing.saturating_add(1) } else { 0 };
    }
}

/// What the watcher asks the checking stage. Nobody answers once the collector has stopped.
#[derive(Debug)]
pub enum Question {
    /// Up to where the chain was looked through. To be answered when this collector leads, and no sooner.
    Trail(oneshot::Sender<Trail>),
    /// Which channels' funding outputs have such scripts? Each comes with the place in `tags` of what it matches.
    Matches { tags: Vec<FundingTag>, reply: oneshot::Sender<Vec<(usize, ShortChannelId)>> },
    /// Takes in the next block; answered when what came of it is on its way to the journal.
    Block(BlockSpends, oneshot::Sender<()>),
}

/// Where bitcoind's chain stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tip {
    pub block: BlockId,
    /// Blocks below this height are not on bitcoind's disk any more.
    pub pruned_below: u32,
}

pub(super) struct Watcher {
    pub rest: Arc<Rest>,
    pub timing: Timing,
    pub rng: ChaCha8Rng,
    /// None while bitcoind cannot be asked.
    pub tip: watch::Receiver<Option<Tip>>,
    /// To the prover, which hands questions on: what it has proven before goes first.
    pub orders: mpsc::WeakUnboundedSender<Order>,
}

/// Why there is no next block now.
enum Trouble {
    Rest(RestError),
    /// The service is stopping.
    Stopped,
}

impl From<RestError> for Trouble {
    fn from(error: RestError) -> Self {
        Self::Rest(error)
    }
}

impl Watcher {
    /// Runs until nobody answers any more.
    pub async fn run(mut self) {
        let Ok(mut trail) = self.ask(Question::Trail).await else { return };
        let mut failures = Failures::default();
        loop {
            let Some(tip) = self.usable_tip().await else { return };
            let before = trail.last();
            match self.catch_up(&mut trail, tip, failures).await {
                Ok(()) => failures = Failures::default(),
                Err(Trouble::Stopped) => return,
                Err(Trouble::Rest(error)) => {
                    if trail.last() != before {
                        failures = Failures::default();
                    }
                    failures.count(&error);
                    if failures.all == TOLD_AFTER {
                        tracing::warn!(
                            "the chain cannot be read on: {error}; it is tried again, and channels that have ended stay \
                             meanwhile"
                        );
                    }
                    self.order(Order::Doubt(error));
                    tokio::time::sleep(pause(&self.timing, failures.all - 1, &mut self.rng)).await;
                    continue;
                }
            }
            if trail.last() == before && self.tip.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until bitcoind can be asked; none if it never will.
    async fn usable_tip(&mut self) -> Option<Tip> {
        *self.tip.wait_for(Option::is_some).await.ok()?
    }

    /// Reads what lies between the trail and the tip, or as much of it as one answer lists. Nothing is read while the
    /// tip is below the trail's end: bitcoind is catching up, or in the middle of a reorganisation.
    async fn catch_up(&mut self, trail: &mut Trail, tip: Tip, failures: Failures) -> Result<(), Trouble> {
        let Some(last) = trail.last() else { return self.begin(trail, tip).await };
        if tip.block.height < last.height || tip.block == last {
            return Ok(());
        }
        let mut blocks = self.blocks_after(trail, tip).await?;
        let kept = blocks.iter().position(|block| block.height >= tip.pruned_below).unwrap_or(blocks.len());
        let pruned: Vec<BlockId> = blocks.drain(..kept).collect();
        if let (Some(first), Some(last)) = (pruned.first(), pruned.last()) {
            tracing::warn!(
                "bitcoind has pruned the blocks {} to {} before they were looked through: channels that were closed in \
                 them stay until they have been silent for too long",
                first.height,
                last.height
            );
            // What a reorganisation may have undone among them stays closed: the spends are in its blocks, too, as a rule.
            self.pass_over(trail, *last).await?;
        }
        for (nth, block) in blocks.into_iter().enumerate() {
            match self.read(trail, block).await {
                Err(Trouble::Rest(RestError::NotFound(_))) if nth == 0 && failures.missing + 1 >= MISSING_AT_MOST => {
                    tracing::warn!(
                        "bitcoind does not have block {} ({}): it is passed over, and channels that were closed in it \
                         stay until they have been silent for too long",
                        block.height,
                        block.hash
                    );
                    self.pass_over(trail, block).await?;
                }
                read => read?,
            }
        }
        Ok(())
    }

    /// The first start: what was proven before is unknown, and what is proven from now on is unspent at this tip.
    async fn begin(&mut self, trail: &mut Trail, tip: Tip) -> Result<(), Trouble> {
        self.hand_over(trail, tip.block, Vec::new()).await?;
        self.order(Order::Reach(tip.block));
        Ok(())
    }

    /// The blocks of the best chain after the last one of the trail that is in it.
    async fn blocks_after(&self, trail: &Trail, tip: Tip) -> Result<Vec<BlockId>, RestError> {
        let mut oldest = tip.block.height;
        for known in trail.newest_first() {
            let (first, hashes) = (known.height, self.hashes(known.height, known.hash, tip).await?);
            if !hashes.is_empty() {
                return Ok(numbered(first, hashes).skip(1).collect());
            }
            oldest = known.height;
        }
        // The trail is short when this was begun a moment ago.
        let first = oldest.saturating_sub(CONFIRMATIONS);
        tracing::warn!("bitcoind's chain has none of the last blocks any more: it is read again from block {first}");
        let hash = self.rest.block_hash(first).await?;
        Ok(numbered(first, self.hashes(first, hash, tip).await?).collect())
    }

    async fn hashes(&self, height: u32, hash: BlockHash, tip: Tip) -> Result<Vec<BlockHash>, RestError> {
        let count = (tip.block.height.saturating_sub(height)).saturating_add(1).min(MAX_HEADERS);
        self.rest.block_hashes(hash, count).await
    }

    async fn read(&mut self, trail: &mut Trail, block: BlockId) -> Result<(), Trouble> {
        let candidates = self.rest.block(block.hash).await?;
        self.order(Order::Reach(block));
        let spends = self.spends(&candidates).await?;
        self.hand_over(trail, block, spends).await
    }

    async fn pass_over(&mut self, trail: &mut Trail, block: BlockId) -> Result<(), Trouble> {
        self.order(Order::Reach(block));
        self.hand_over(trail, block, Vec::new()).await
    }

    async fn hand_over(&mut self, trail: &mut Trail, block: BlockId, spends: Vec<Spend>) -> Result<(), Trouble> {
        self.ask(|reply| Question::Block(BlockSpends { block, spends }, reply)).await?;
        trail.push(block);
        Ok(())
    }

    /// Those of the candidates that spend a known channel's very output: others may have its keys.
    async fn spends(&mut self, candidates: &[Candidate]) -> Result<Vec<Spend>, Trouble> {
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let tags = candidates.iter().map(|candidate| candidate.tag).collect();
        let matches = self.ask(|reply| Question::Matches { tags, reply }).await?;
        let mut fitting: Vec<(&Candidate, ShortChannelId)> =
            matches.into_iter().filter_map(|(nth, scid)| Some((candidates.get(nth)?, scid))).collect();
        fitting.retain(|(candidate, scid)| candidate.output.vout == u32::from(scid.output()));
        let mut blocks: BTreeMap<u32, Option<Vec<Txid>>> = BTreeMap::new();
        let mut spends: BTreeMap<ShortChannelId, Spend> = BTreeMap::new();
        for (candidate, scid) in &fitting {
            let height = scid.height();
            if let std::collections::btree_map::Entry::Vacant(entry) = blocks.entry(height) {
                entry.insert(self.txids(height).await?);
            }
            let fits = match blocks.get(&height) {
                Some(Some(txids)) => txids.get(scid.tx_index() as usize) == Some(&candidate.output.txid),
                // The block is gone: it will do that no other channel fits.
                _ => fitting.iter().filter(|(other, of)| other == candidate || of == scid).count() == 1,
            };
            if fits {
                spends.insert(*scid, Spend { scid: *scid, closes: candidate.closes });
            }
        }
        Ok(spends.into_values().collect())
    }

    /// The ids of a block's transactions; none where bitcoind does not have it.
    async fn txids(&self, height: u32) -> Result<Option<Vec<Txid>>, RestError> {
        let contents = match self.rest.block_hash(height).await {
            Ok(hash) => self.rest.block_contents(hash).await,
            Err(error) => Err(error),
        };
        match contents {
            Ok(contents) => Ok(Some(contents.txids)),
            Err(RestError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, Trouble> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Ask(question(reply)));
        answer.await.map_err(|_| Trouble::Stopped)
    }

    /// An order that nobody takes any more is one that nobody answers: see [`Trouble::Stopped`].
    fn order(&self, order: Order) {
        if let Some(orders) = self.orders.upgrade() {
            let _ = orders.send(order);
        }
    }
}

fn numbered(first: u32, hashes: Vec<BlockHash>) -> impl Iterator<Item = BlockId> {
    (first..).zip(hashes).map(|(height, hash)| BlockId { height, hash })
}
