//! The queue between LDK's callbacks, which must never block, and the collector's thread.
//!
//! Bounded in bytes. From a low mark on it asks LDK to read less (`processing_queue_high`), which pauses peers that
//! send announcements; beyond the bound messages are dropped and counted, and their peer is noted, so that it can
//! be asked for everything again. While the journal has no room, messages are dropped as well.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lightning::ln::msgs::ReplyChannelRange;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

use super::check::{Heard, Kind};
use super::funding::Finding;
use super::{Fact, NodeId, UnixMs};

/// Bytes from which LDK is asked to read less, and below which it may go on.
const HIGH_BYTES: usize = 8 << 20;
const LOW_BYTES: usize = 2 << 20;
/// Bytes beyond which messages are dropped: of any one peer, so that none can crowd out the others, and of all.
const FULL_BYTES_OF_A_PEER: usize = 24 << 20;
const FULL_BYTES: usize = 64 << 20;

/// What reaches the collector, in the order in which it happened.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A peer has connected; it answers `query_channel_range` or it does not.
    Connected { peer: NodeId, queries: bool },
    /// A connection was lost.
    Disconnected(NodeId),
    /// A connection could not be made.
    Unreachable(NodeId),
    /// A part of a peer's inventory.
    Inventory { peer: NodeId, reply: ReplyChannelRange },
    /// A gossip message.
    Message(Heard),
    /// What the prover and the watcher found out, in its order.
    Found(Finding),
    /// What the leader journaled, in its order. The permit bounds how much of it is queued.
    Told { entries: Vec<(UnixMs, Fact)>, permit: OwnedSemaphorePermit },
    /// Whole messages that another collector accepted and could not journal.
    Offered { messages: Vec<Vec<u8>>, done: oneshot::Sender<()> },
    /// Lead from now on.
    Lead { done: oneshot::Sender<()> },
}

impl Arrival {
    /// How much of the queue's bound it takes: what a peer can send at will counts.
    fn len(&self) -> usize {
        match self {
            Arrival::Message(heard) => heard.message.approximate_len(),
            Arrival::Inventory { reply, .. } => 32 + 8 * reply.short_channel_ids.len(),
            _ => 0,
        }
    }
}

#[derive(Default)]
struct Queue {
    arrivals: VecDeque<Arrival>,
    bytes: usize,
    bytes_of: BTreeMap<NodeId, usize>,
    /// Peers of which messages were dropped.
    overflowed: BTreeSet<NodeId>,
    closed: bool,
}

impl Queue {
    /// An arrival has left: its bytes are free.
    fn forget(&mut self, arrival: &Arrival) {
        let (peer, len) = match arrival {
            Arrival::Message(heard) => (heard.peer, arrival.len()),
            Arrival::Inventory { peer, .. } => (*peer, arrival.len()),
            _ => return,
        };
        self.bytes -= len;
        if let Some(of_peer) = self.bytes_of.get_mut(&peer) {
            *of_peer -= len;
            if *of_peer == 0 {
                self.bytes_of.remove(&peer);
            }
        }
    }
}

/// The queue. See the module's words.
#[derive(Default)]
pub(super) struct Intake {
    queue: Mutex<Queue>,
    filled: Condvar,
    high: AtomicBool,
    paused: AtomicBool,
    dropped: AtomicU64,
    dropped_while_paused: AtomicU64,
    /// The messages among all these, by kind.
    dropped_by_kind: [AtomicU64; Kind::ALL.len()],
    /// Told when the queue has drained and LDK should look again.
    pub drained: Arc<Notify>,
}

impl Intake {
    /// Takes in what `peer` sent, or drops and counts it.
    pub fn sent(&self, peer: NodeId, arrival: Arrival) {
        let len = arrival.len();
        let mut queue = self.lock();
        if self.paused.load(Ordering::Relaxed) {
            self.dropped_while_paused.fetch_add(1, Ordering::Relaxed);
            self.count_dropped(&arrival);
            return; // one peer will be asked for all, afterwards
        }
        let of_peer = queue.bytes_of.get(&peer).copied().unwrap_or(0);
        if queue.bytes + len > FULL_BYTES || of_peer + len > FULL_BYTES_OF_A_PEER {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.count_dropped(&arrival);
            queue.overflowed.insert(peer);
            return;
        }
        queue.bytes += len;
        queue.bytes_of.insert(peer, of_peer + len);
        if queue.bytes > HIGH_BYTES {
            self.high.store(true, Ordering::Relaxed);
        }
        self.put(queue, arrival);
    }

    fn count_dropped(&self, arrival: &Arrival) {
        if let Arrival::Message(heard) = arrival {
            self.dropped_by_kind[heard.message.kind() as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes in what happened here. Such events are few: a connection makes two, a claim one, and whoever asks, tells,
    /// offers or wants us to lead waits for the answer.
    /// Returns whether there is still somebody who will take it.
    pub fn event(&self, arrival: Arrival) -> bool {
        self.put(self.lock(), arrival)
    }

    fn put(&self, mut queue: MutexGuard<'_, Queue>, arrival: Arrival) -> bool {
        if queue.closed {
            return false; // whoever waits for an answer learns that there will be none
        }
        queue.arrivals.push_back(arrival);
        if queue.arrivals.len() == 1 {
            self.filled.notify_one();
        }
        true
    }

    /// Waits for arrivals, for `patience` at most, and takes up to `at_most` of them. `None` once closed.
    pub fn take(&self, at_most: usize, patience: Duration) -> Option<Vec<Arrival>> {
        let queue = self.lock();
        let waited = self.filled.wait_timeout_while(queue, patience, |q| q.arrivals.is_empty() && !q.closed);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if queue.closed {
            return None;
        }
        let many = queue.arrivals.len().min(at_most);
        let taken: Vec<_> = queue.arrivals.drain(..many).collect();
        for arrival in &taken {
            queue.forget(arrival);
        }
        if queue.bytes < LOW_BYTES && self.high.swap(false, Ordering::Relaxed) {
            self.drained.notify_one();
        }
        Some(taken)
    }

    /// The peers of which messages were dropped since the last call.
    pub fn take_overflowed(&self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.lock().overflowed)
    }

    /// Whether LDK should read less.
    pub fn is_high(&self) -> bool {
        self.high.load(Ordering::Relaxed)
    }

    /// Drops all messages from now on, or no longer.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Messages dropped since the start, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed) + self.dropped_while_paused()
    }

    /// The messages among them, by kind, without what peers said of what they have.
    pub fn dropped_by_kind(&self) -> [u64; Kind::ALL.len()] {
        self.dropped_by_kind.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Those of them that came during a pause.
    pub fn dropped_while_paused(&self) -> u64 {
        self.dropped_while_paused.load(Ordering::Relaxed)
    }

    /// Ends the collector's waiting; what is still queued is given up (peers will be asked again).
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.arrivals.clear();
        drop(queue);
        self.filled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic elsewhere cannot leave the queue half-changed: every change is one push or one drain.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
