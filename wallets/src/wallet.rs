//! A wallet: the official client, and what an app does to it between syncs.

use lightning::routing::gossip::NetworkGraph;
use lightning::util::logger::{Logger, Record};
use lightning::util::ser::{ReadableArgs, Writeable};
use lightning_rapid_gossip_sync::RapidGossipSync;

use bitcoin::Network;

/// The client's graph, and the time of its last sync.
pub struct Wallet {
    graph: NetworkGraph<Quiet>,
    clock: LastSync,
    /// What the last whole snapshot said of itself; 0 before the first.
    returned: u32,
}

/// Where an app takes the time from that it asks with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastSync {
    /// From the graph, where the client notes it; not after an empty delta.
    InGraph,
    /// From what the client returned, kept apart from the graph (ldk-node).
    Returned,
}

/// A wallet's state on its disk.
#[derive(Clone)]
pub struct Saved {
    graph: Vec<u8>,
    returned: u32,
}

/// What came of reading a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// All of it, stamped with this time. Where it told no update, the client has not pruned its graph.
    Whole { timestamp: u32, pruned: bool },
    /// The client gave up, with some of it applied.
    Failed,
}

impl Wallet {
    /// One that has never synced.
    pub fn new(clock: LastSync) -> Self {
        Self { graph: NetworkGraph::new(Network::Bitcoin, Quiet), clock, returned: 0 }
    }

    /// The time that it asks with; 0 for never.
    pub fn last_sync(&self) -> u32 {
        match self.clock {
            LastSync::InGraph => self.graph.get_last_rapid_gossip_sync_timestamp().unwrap_or(0),
            LastSync::Returned => self.returned,
        }
    }

    /// Reads a body, and prunes after it, as the client does by itself.
    pub fn read(&mut self, bytes: &[u8], now: u32) -> Read {
        let before = self.graph.get_last_rapid_gossip_sync_timestamp();
        let sync = RapidGossipSync::new(&self.graph, Quiet);
        match sync.update_network_graph_no_std(bytes, Some(now.into())) {
            Ok(timestamp) => {
                self.returned = timestamp;
                // It notes the time only then, and no epoch is told twice but by a snapshot without updates.
                Read::Whole { timestamp, pruned: self.graph.get_last_rapid_gossip_sync_timestamp() != before }
            }
            Err(_) => Read::Failed,
        }
    }

    /// What LDK's background processor does every hour.
    pub fn prune(&self, now: u32) {
        self.graph.remove_stale_channels_and_tracking_with_time(now.into());
    }

    /// What LDK does when a payment meets `unknown_next_peer`.
    pub fn lose(&self, scid: u64) {
        self.graph.channel_failed_permanent(scid);
    }

    pub fn save(&self) -> Saved {
        Saved { graph: self.graph.encode(), returned: self.returned }
    }

    /// Starts with what was on the disk.
    pub fn load(&mut self, saved: &Saved) {
        self.graph = NetworkGraph::read(&mut &saved.graph[..], Quiet).expect("what was written");
        self.returned = saved.returned;
    }

    /// Starts with an old graph and a newer time: they are written one after the other, and one of them was too late.
    pub fn load_graph_only(&mut self, saved: &Saved) {
        let last_sync = self.last_sync();
        self.graph = NetworkGraph::read(&mut &saved.graph[..], Quiet).expect("what was written");
        self.ask_with(last_sync);
    }

    /// Asks with another time from now on.
    pub fn ask_with(&mut self, last_sync: u32) {
        self.graph.set_last_rapid_gossip_sync_timestamp(last_sync);
        self.returned = last_sync;
    }

    pub fn graph(&self) -> &NetworkGraph<Quiet> {
        &self.graph
    }
}

/// The client's own log: the oracle says all there is to say.
pub struct Quiet;

impl Logger for Quiet {
    fn log(&self, _record: Record) {}
}

impl std::ops::Deref for Quiet {
    type Target = Self;

    fn deref(&self) -> &Self {
        self
    }
}
