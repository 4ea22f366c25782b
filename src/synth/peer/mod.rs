//! A Lightning peer on TCP that tells what its [`Store`] holds, as well or as badly as a test wants.
//!
//! Speaks BOLT 8 as responder, BOLT 1 (`init`, `ping`) and of BOLT 7 `gossip_timestamp_filter` and
//! `query_channel_range`; ignores all else. Owns its listener, its connections and their tasks, and ends all of them
//! when it is stopped or dropped.

mod protocol;
mod session;
mod store;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::{PublicKey, SecretKey};
use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use store::Store;

use super::keys;
use crate::gossip::ShortChannelId;

/// Messages of [`PeerHandle::broadcast`] that a client may be behind; it misses what is older.
const BROADCASTS: usize = 4096;

/// How a peer behaves. The default is a good peer.
#[derive(Clone, Default)]
pub struct Behaviour {
    /// Gossip messages a second; as fast as it goes if `None`.
    pub pace: Option<u32>,
    /// Falls silent on a client after that many gossip messages, but stays connected and answers pings.
    pub stall_after: Option<u64>,
    /// Hangs up on a client after that many gossip messages.
    pub drop_after: Option<u64>,
    /// Knows only these channels; all if `None`.
    pub serves: Option<Arc<dyn Fn(ShortChannelId) -> bool + Send + Sync>>,
    /// Leaves `query_channel_range` unanswered.
    pub refuses_queries: bool,
    /// Sent as they are, before anything else, to whoever sends a `gossip_timestamp_filter`.
    pub prelude: Vec<Bytes>,
}

/// Starts peers.
pub struct Peer;

impl Peer {
    /// Serves `store` on `listener` as the node whose key is `secret`.
    pub fn start(
        listener: TcpListener,
        secret: SecretKey,
        chain: ChainHash,
        behaviour: Behaviour,
        store: Arc<Store>,
    ) -> anyhow::Result<PeerHandle> {
        let addr = listener.local_addr().context("a peer's listener has no address")?;
        let shared = Arc::new(Shared {
            secret,
            chain,
            store,
            behaviour: watch::channel(Arc::new(behaviour)).0,
            broadcast: broadcast::channel(BROADCASTS).0,
            sessions: ArcSwap::from_pointee(CancellationToken::new()),
            connections: AtomicUsize::new(0),
            dumps: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        shared.tasks.spawn(accept(listener, shared.clone()));
        Ok(PeerHandle { node_id: keys::public(&secret), addr, shared })
    }
}

/// A running peer; dropping it stops it.
pub struct PeerHandle {
    pub node_id: PublicKey,
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

impl PeerHandle {
    /// Clients connected now, their handshake done.
    pub fn connection_count(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many times a client asked for everything (`first_timestamp` 0).
    pub fn dumps(&self) -> u64 {
        self.shared.dumps.load(Ordering::Relaxed)
    }

    /// How many gossip messages were sent to all clients together.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// What this peer knows; append to it what shall also be in later dumps.
    pub fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }

    /// Sends `message`, whatever it is, to every client connected now and keeps no copy. It overtakes the gossip that
    /// a client has not read yet.
    pub fn broadcast(&self, message: Bytes) {
        // An error says that nobody is connected.
        let _ = self.shared.broadcast.send(message);
    }

    /// From now on, for present and later clients.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.shared.behaviour.send_replace(Arc::new(behaviour));
    }

    /// Hangs up on everybody; they may come back.
    pub fn disconnect_all(&self) {
        self.shared.sessions.swap(Arc::new(CancellationToken::new())).cancel();
    }

    /// Hangs up on everybody and frees the port.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for PeerHandle {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

/// What the sessions of a peer share.
struct Shared {
    secret: SecretKey,
    chain: ChainHash,
    store: Arc<Store>,
    behaviour: watch::Sender<Arc<Behaviour>>,
    broadcast: broadcast::Sender<Bytes>,
    /// Ends the present sessions.
    sessions: ArcSwap<CancellationToken>,
    connections: AtomicUsize,
    dumps: AtomicU64,
    sent: AtomicU64,
    tasks: TaskTracker,
    stop: CancellationToken,
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                shared.tasks.spawn(serve(stream, shared.clone()));
            }
            Err(error) => {
                // Out of file descriptors, most likely: others may end soon.
                tracing::warn!(%error, "a synthetic peer could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let hang_up = CancellationToken::clone(&shared.sessions.load());
    let ended = tokio::select! {
        () = shared.stop.cancelled() => return,
        () = hang_up.cancelled() => return,
        ended = session::run(stream, &shared) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!("a synthetic peer's connection ended: {error:#}");
    }
}

#[cfg(test)]
mod tests;
