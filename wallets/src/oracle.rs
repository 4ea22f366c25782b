//! Whether a wallet's graph routes like that of a wallet which starts afresh at the same epoch (design 4.4, "The
//! promise"), and what may differ, each with the sentence that says so.

use std::collections::BTreeMap;

use lightning::ln::msgs::SocketAddress;
use lightning::routing::gossip::{NetworkGraph, NodeId};
use rgsd::gossip::Policy;
use rgsd::snapshot::Version;

use crate::DAY;
use crate::wallet::Quiet;

/// What a graph says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Picture {
    channels: BTreeMap<u64, Channel>,
    /// `None` where nothing is known of a node but its id.
    nodes: BTreeMap<NodeId, Option<Details>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Channel {
    nodes: [NodeId; 2],
    features: Vec<u8>,
    capacity_sat: Option<u64>,
    policies: [Option<Policy>; 2],
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Details {
    features: Vec<u8>,
    addresses: Vec<SocketAddress>,
}

/// What happened to a wallet that the promise makes an exception for.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// The newest snapshot that it has read anything of.
    newest: u32,
    /// Its last sync in version 1.
    last_v1: Option<u32>,
    /// Channels that it deleted by itself: whose they were, and its last sync at that time.
    lost: BTreeMap<u64, ([NodeId; 2], u32)>,
    /// The newest snapshot of which it may hold what its last sync says nothing of: read in part, or forgotten about, when
    /// it was further already; or read before it asked as one that has nothing.
    left_over: u32,
    /// The last sync that it remembered when it lost its graph, but not the time.
    graph_lost: Option<u32>,
}

/// A sync that is to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Sync {
    /// The epoch's time that the wallet was told.
    pub epoch: u32,
    pub version: Version,
}

/// "Whatever a wallet lost by itself (failed payments, a crash that kept the timestamp) is whole again within 30 days."
const WHOLE_AGAIN_AFTER_S: u32 = 30 * DAY;

impl Past {
    /// It has read a snapshot of this epoch, or a part of one.
    pub fn read(&mut self, sync: Sync) {
        self.newest = self.newest.max(sync.epoch);
        if sync.version == Version::V1 {
            self.last_v1 = self.last_v1.max(Some(sync.epoch));
        }
    }

    /// It has read a part of a snapshot of this epoch.
    pub fn read_partly(&mut self, sync: Sync) {
        if sync.epoch < self.newest {
            self.left_over = self.left_over.max(sync.epoch);
        }
        self.read(sync);
    }

    /// It asks with this last sync now, instead of the other.
    pub fn asks_with(&mut self, last_sync: u32, instead_of: u32) {
        if last_sync > instead_of {
            self.left_over = self.left_over.max(last_sync);
        }
    }

    /// It has forgotten what was last mentioned more than 14 days before `now`, by snapshots' times less seven days.
    pub fn pruned(&mut self, now: u32) {
        if now > self.left_over.saturating_add(7 * DAY) {
            self.left_over = 0;
        }
    }

    /// It asks as one that has nothing, whatever it has.
    pub fn starts_afresh(&mut self) {
        self.left_over = self.newest;
    }

    /// It deleted a channel between these nodes.
    pub fn lost(&mut self, scid: u64, nodes: [NodeId; 2], last_sync: u32) {
        self.lost.insert(scid, (nodes, last_sync));
    }

    /// Its graph is older than the last sync that it asks with.
    pub fn lost_graph(&mut self, last_sync: u32) {
        self.graph_lost = Some(last_sync);
    }

    /// "A wallet 'at `s`' may hold anything from `s` to `e`": a replica that lags cannot take back what another has
    /// told.
    fn knows_better(&self, sync: Sync) -> bool {
        sync.epoch < self.newest
    }

    /// "A crash that kept the timestamp": until 30 days later nothing is sure.
    fn misses_its_graph(&self, sync: Sync) -> bool {
        self.graph_lost.is_some_and(|last_sync| is_recent(last_sync, sync))
    }

    /// "Failed payments": the channel may be missing.
    fn misses(&self, scid: u64, sync: Sync) -> bool {
        self.lost.get(&scid).is_some_and(|(_, last_sync)| is_recent(*last_sync, sync))
    }

    /// "A node whose last channel goes loses its details."
    fn misses_details_of(&self, node: &NodeId, sync: Sync) -> bool {
        self.lost.values().any(|(nodes, last_sync)| nodes.contains(node) && is_recent(*last_sync, sync))
    }

    /// "A wallet that starts from any `Full(a)`": with what is left over from a snapshot that was cut short, it is not one
    /// that starts; nor is a part of an older one "anything from `s` to `e`". What the view does not show, a wallet
    /// forgets "7 days after the server last mentioned it", when it prunes.
    fn has_left_overs(&self) -> bool {
        self.left_over > 0
    }

    /// "What a start on v1 never gave": the client passes over announcements of channels that it has.
    fn never_learns_capacities(&self) -> bool {
        self.last_v1.is_some()
    }

    /// "What a start on v1 never gave": details are told when they change, and every 30 days.
    fn misses_details(&self, sync: Sync) -> bool {
        sync.version == Version::V1 || self.last_v1.is_some_and(|last_sync| is_recent(last_sync, sync))
    }
}

fn is_recent(last_sync: u32, sync: Sync) -> bool {
    sync.epoch < last_sync.saturating_add(WHOLE_AGAIN_AFTER_S)
}

/// Whether the promise says anything of this sync.
pub fn is_promised(past: &Past, sync: Sync) -> bool {
    !past.knows_better(sync) && !past.misses_its_graph(sync)
}

/// How a wallet's graph differs from that of one which starts afresh, beyond what the promise leaves open.
/// `proven_late` tells of channels whose capacity was not known yet when they were announced.
pub fn difference(
    wallet: &Picture,
    fresh: &Picture,
    past: &Past,
    sync: Sync,
    proven_late: impl Fn(u64) -> bool,
) -> Option<String> {
    for (scid, expected) in &fresh.channels {
        let had = wallet.channels.get(scid);
        let is_there = had.is_some_and(|had| had.policies.iter().all(Option::is_some));
        if past.misses(*scid, sync) && (!is_there || past.has_left_overs()) {
            continue;
        }
        let may_lack_capacity = sync.version == Version::V1 || past.never_learns_capacities() || proven_late(*scid);
        let same = had.is_some_and(|had| {
            let lacks_capacity = had.capacity_sat.is_none() && may_lack_capacity;
            let known = lacks_capacity || sync.version == Version::V1;
            let capacity_sat = if known { had.capacity_sat } else { expected.capacity_sat };
            *had == Channel { capacity_sat, ..expected.clone() }
        });
        if !same {
            return Some(format!("channel {scid} is {expected:?}, but the wallet has {had:?}"));
        }
    }
    let gone = wallet.channels.iter().filter(|(scid, _)| !fresh.channels.contains_key(scid));
    for (scid, had) in gone {
        // "Save channels that left the View, which are disabled."
        if had.policies.iter().flatten().any(|policy| policy.enabled) && !past.has_left_overs() {
            return Some(format!("channel {scid} is not in the view, but the wallet has {had:?}"));
        }
    }
    if past.misses_details(sync) {
        return None;
    }
    let mut nodes = fresh.nodes.iter().filter(|(id, _)| !past.misses_details_of(id, sync));
    let (id, expected) = nodes.find(|(id, details)| wallet.nodes.get(id) != Some(details))?;
    Some(format!("node {id} is {expected:?}, but the wallet has {:?}", wallet.nodes.get(id)))
}

impl Picture {
    pub fn of(graph: &NetworkGraph<Quiet>) -> Self {
        let graph = graph.read_only();
        let channels = graph.channels().unordered_iter().map(|(scid, read)| {
            let channel = Channel {
                nodes: [read.node_one, read.node_two],
                features: read.features.le_flags().to_vec(),
                capacity_sat: read.capacity_sats,
                policies: [&read.one_to_two, &read.two_to_one].map(|read| read.as_ref().map(Policy::from)),
            };
            (*scid, channel)
        });
        let nodes = graph.nodes().unordered_iter().map(|(id, read)| {
            let details = read.announcement_info.as_ref().map(|told| Details {
                features: told.features().le_flags().to_vec(),
                addresses: told.addresses().to_vec(),
            });
            (*id, details)
        });
        Self { channels: channels.collect(), nodes: nodes.collect() }
    }

    /// How many channels a payment could take, one way or the other.
    pub fn routable(&self) -> usize {
        self.channels.keys().filter(|scid| self.policies(**scid).is_some()).count()
    }

    /// What a channel charges in both directions, where a payment could take it.
    pub fn policies(&self, scid: u64) -> Option<[Policy; 2]> {
        let [one, two] = self.channels.get(&scid)?.policies;
        let policies = [one?, two?];
        policies.iter().any(|policy| policy.enabled).then_some(policies)
    }

    /// What a node tells of itself: its features, little-endian, and its addresses.
    pub fn details(&self, node: &NodeId) -> Option<(&[u8], &[SocketAddress])> {
        let details = self.nodes.get(node)?.as_ref()?;
        Some((&details.features, &details.addresses))
    }
}
