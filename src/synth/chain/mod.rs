//! A synthetic bitcoind: the chain that funds a network's channels, behind bitcoind's REST paths.
//!
//! Answers the few requests that proofs and closings need, in bitcoind's formats and with its status codes, and counts
//! them. Can be busy, unreachable, still syncing, pruned, or wrong about its blocks, and reorganise its chain. Owns its server's task and connections; a chain can be
//! served on several listeners, one after another or at once.

mod answers;
mod blocks;
mod listener;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::network::{Channel, Network};
use crate::gossip::ShortChannelId;
use blocks::Blocks;
pub use blocks::Spending;
use listener::DroppingListener;

/// How the node fares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    #[default]
    Normal,
    /// Every answer is 503, as while bitcoind starts or its work queue is full.
    Busy,
    /// Connections are dropped at once, open ones too.
    Down,
    /// Initial block download: it knows all headers, but has checked blocks up to this height only.
    InitialDownload(u32),
    /// It has thrown away the blocks below this height.
    Pruned(u32),
    /// Whole blocks are not what they should be; all else is well.
    BadBlocks(BadBlock),
}

/// What comes in the place of a whole block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadBlock {
    Garbage,
    /// The block before it.
    Another,
    /// The right header over the transactions of the block before it.
    OtherTransactions,
    /// More bytes than any block has.
    Huge,
    /// It is not there, though nothing was pruned.
    Missing,
}

/// Requests so far, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Requests {
    pub chaininfo: u64,
    pub blockhashbyheight: u64,
    pub headers: u64,
    /// For a block's transaction ids.
    pub block: u64,
    pub whole_block: u64,
    pub getutxos: u64,
    /// Anything else: paths that bitcoind has and this chain has not, or none has.
    pub other: u64,
}

impl Requests {
    pub fn total(&self) -> u64 {
        let of_blocks = self.blockhashbyheight + self.headers + self.block + self.whole_block;
        self.chaininfo + of_blocks + self.getutxos + self.other
    }
}

/// A chain. Clones are the same chain.
#[derive(Clone)]
pub struct Chain {
    shared: Arc<Shared>,
}

impl Chain {
    /// The chain that funds the network's channels, mined up to `tip_height`; channels above it are funded when their
    /// block is mined.
    pub fn of(network: &Network, tip_height: u32) -> Self {
        let blocks = Blocks::of(network, tip_height);
        Self {
            shared: Arc::new(Shared {
                blocks: RwLock::new(blocks),
                mode: watch::channel(Mode::Normal).0,
                latency_ms: AtomicU64::new(0),
                counts: Counts::default(),
            }),
        }
    }

    /// Answers requests on `listener` until the server is stopped or dropped.
    pub fn serve(&self, listener: TcpListener) -> anyhow::Result<ChainServer> {
        let addr = listener.local_addr().context("a chain's listener has no address")?;
        let stop = CancellationToken::new();
        let listener = DroppingListener::new(listener, self.shared.mode.subscribe(), stop.clone());
        let server = axum::serve(listener, answers::router(self.shared.clone()));
        let server = server.with_graceful_shutdown(stop.clone().cancelled_owned());
        let task = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::warn!("a synthetic chain's server ended: {error}");
            }
        });
        Ok(ChainServer { addr, stop, task })
    }

    pub fn tip_height(&self) -> u32 {
        self.shared.read().tip()
    }

    /// Appends that many blocks.
    pub fn mine(&self, count: u32) {
        self.shared.write().mine(count);
    }

    /// Funds a channel that was added to the network after the chain was made. Its block must not be mined yet.
    pub fn add_funding(&self, channel: &Channel) -> anyhow::Result<()> {
        self.shared.write().fund(channel)
    }

    /// Spends a channel's funding output. That is gone at once; the transaction is in the next block.
    pub fn spend(&self, scid: ShortChannelId, how: Spending) -> anyhow::Result<()> {
        self.shared.write().spend(scid, how)
    }

    /// Puts other blocks in the place of the last `depth`, and one more: with the same transactions, but for the spends
    /// of the channels in `without`, whose outputs are unspent again.
    pub fn reorganise(&self, depth: u32, without: &[ShortChannelId]) -> anyhow::Result<()> {
        self.shared.write().reorganise(depth, without)
    }

    pub fn set_mode(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Every answer takes that much longer from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.latency_ms.store(latency.as_millis() as u64, Ordering::Relaxed);
    }

    /// Requests so far, those that were answered with an error included.
    pub fn requests(&self) -> Requests {
        let counts = &self.shared.counts;
        let [chaininfo, blockhashbyheight, headers, block, whole_block, getutxos, other] = [
            &counts.chaininfo,
            &counts.blockhashbyheight,
            &counts.headers,
            &counts.block,
            &counts.whole_block,
            &counts.getutxos,
            &counts.other,
        ]
        .map(|count| count.load(Ordering::Relaxed));
        Requests { chaininfo, blockhashbyheight, headers, block, whole_block, getutxos, other }
    }
}

/// A chain's running server; dropping it stops it.
pub struct ChainServer {
    pub addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl ChainServer {
    /// What goes in front of `/rest`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Drops all connections and frees the port.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // It can only have panicked, which was reported where it happened.
        let _ = (&mut self.task).await;
    }
}

impl Drop for ChainServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Shared {
    blocks: RwLock<Blocks>,
    mode: watch::Sender<Mode>,
    latency_ms: AtomicU64,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    chaininfo: AtomicU64,
    blockhashbyheight: AtomicU64,
    headers: AtomicU64,
    block: AtomicU64,
    whole_block: AtomicU64,
    getutxos: AtomicU64,
    other: AtomicU64,
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Blocks> {
        self.blocks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Blocks> {
        self.blocks.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
