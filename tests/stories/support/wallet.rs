//! A wallet: what the official client makes of a snapshot, held against the network as it is.

use std::collections::{BTreeMap, BTreeSet};

use lightning::ln::msgs::{NodeAnnouncement, SocketAddress};
use lightning::routing::gossip::{NetworkGraph, NodeId};
use lightning::util::logger::{Logger, Record};
use lightning::util::ser::LengthReadable;
use lightning_rapid_gossip_sync::RapidGossipSync;
use rgsd::gossip::{Clock, Policy, ShortChannelId, SystemClock};
use rgsd::snapshot::Version;
use rgsd::synth::Network;

/// Where a snapshot holds its timestamp: after the magic bytes, the version and the chain's hash.
const TIMESTAMP_AT: std::ops::Range<usize> = 36..40;

/// A channel as a wallet should see it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Channel {
    nodes: [NodeId; 2],
    /// `None` where the format has none.
    capacity_sat: Option<u64>,
    policies: [Option<Policy>; 2],
}

/// What a node tells of itself: its features' bits and its addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Details {
    features: Vec<u8>,
    addresses: Vec<SocketAddress>,
}

/// The part of a network that a wallet should know.
#[derive(Clone)]
pub struct Truth {
    channels: BTreeMap<u64, Channel>,
    nodes: BTreeMap<NodeId, Details>,
}

impl Truth {
    pub fn of(network: &Network) -> Self {
        let routable = |channel: &&rgsd::synth::Channel| channel.policies.iter().any(|policy| policy.enabled);
        let channel = |channel: &rgsd::synth::Channel| {
            let policies = channel.policies.map(Some);
            let told = Channel { nodes: channel.node_ids, capacity_sat: Some(channel.capacity_sat), policies };
            (channel.scid.0, told)
        };
        let nodes = network.nodes().iter().map(|node| (node.id, details(&node.announcement))).collect();
        Self { channels: network.channels().iter().filter(routable).map(channel).collect(), nodes }
    }

    /// The channels that `keep` names, and their nodes.
    pub fn only(mut self, keep: impl Fn(ShortChannelId) -> bool) -> Self {
        self.channels.retain(|scid, _| keep(ShortChannelId(*scid)));
        self
    }

    /// The same without a channel.
    pub fn without(self, scid: ShortChannelId) -> Self {
        self.only(|other| other != scid)
    }

    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    fn node_ids(&self) -> BTreeSet<NodeId> {
        self.channels.values().flat_map(|channel| channel.nodes).collect()
    }
}

fn details(announcement: &[u8]) -> Details {
    let message = NodeAnnouncement::read_from_fixed_length_buffer(&mut &announcement[2..]).expect("an announcement");
    let features = message.contents.features.le_flags().to_vec();
    Details { features, addresses: message.contents.addresses }
}

/// A wallet, after its first sync or later ones.
pub struct Wallet {
    graph: NetworkGraph<Quiet>,
    version: Version,
    /// The snapshot's timestamp, in unix seconds.
    pub synced_at: u32,
}

impl Wallet {
    /// The official client reads a snapshot. It holds updates against the machine's clock, so it gets them stamped
    /// with that clock's time.
    pub fn read(bytes: &[u8], version: Version) -> Self {
        let mut copy = bytes.to_vec();
        let stamp: [u8; 4] = copy[TIMESTAMP_AT].try_into().expect("four bytes");
        copy[TIMESTAMP_AT].copy_from_slice(&SystemClock.now().secs().to_be_bytes());
        let graph = NetworkGraph::new(bitcoin::Network::Regtest, Quiet);
        let read = RapidGossipSync::new(&graph, Quiet).update_network_graph(&copy);
        read.expect("the official client accepts the snapshot");
        Self { graph, version, synced_at: u32::from_be_bytes(stamp) }
    }

    /// A wallet that takes snapshots as they come, one after the other, none so far. The machine's clock must be within a
    /// week of theirs.
    pub fn empty(version: Version) -> Self {
        Self { graph: NetworkGraph::new(bitcoin::Network::Regtest, Quiet), version, synced_at: 0 }
    }

    /// The official client reads a snapshot into what is there.
    pub fn sync(&mut self, bytes: &[u8]) {
        let stamp = u32::from_be_bytes(bytes[TIMESTAMP_AT].try_into().expect("four bytes"));
        let read = RapidGossipSync::new(&self.graph, Quiet).update_network_graph_no_std(bytes, Some(stamp.into()));
        assert_eq!(read.expect("the official client accepts the snapshot"), stamp);
        // Where nothing is told, the client does not take the time either.
        self.synced_at = self.graph.get_last_rapid_gossip_sync_timestamp().unwrap_or(0);
    }

    /// The same of a snapshot that is stamped with another time.
    pub fn sync_as_of(&mut self, bytes: &[u8], timestamp: u32) {
        let mut copy = bytes.to_vec();
        copy[TIMESTAMP_AT].copy_from_slice(&timestamp.to_be_bytes());
        self.sync(&copy);
    }

    /// What this wallet thinks that a direction charges.
    pub fn policy(&self, scid: ShortChannelId, direction: usize) -> Option<Policy> {
        self.channels().remove(&scid.0)?.policies[direction]
    }

    /// Every channel that this wallet knows: what its directions charge, and its capacity.
    pub fn told(&self) -> BTreeMap<ShortChannelId, ([Option<Policy>; 2], Option<u64>)> {
        let told = |(scid, channel): (u64, Channel)| (ShortChannelId(scid), (channel.policies, channel.capacity_sat));
        self.channels().into_iter().map(told).collect()
    }

    /// Which version of the format it asks for.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Every node that this wallet knows.
    pub fn node_ids(&self) -> Vec<NodeId> {
        self.graph.read_only().nodes().unordered_keys().copied().collect()
    }

    /// The same of the channels that it would send a payment through, in one direction at least.
    pub fn routable(&self) -> BTreeMap<ShortChannelId, ([Option<Policy>; 2], Option<u64>)> {
        let mut told = self.told();
        told.retain(|_, (policies, _)| policies.iter().flatten().any(|policy| policy.enabled));
        told
    }

    /// What this wallet knows of a node: the features' bits, big-endian, and how many addresses it has.
    pub fn told_of(&self, node: &NodeId) -> Option<(Vec<u8>, usize)> {
        let Details { features, addresses } = self.nodes().remove(node)?;
        Some((features.into_iter().rev().skip_while(|byte| *byte == 0).collect(), addresses.len()))
    }

    pub fn channel_count(&self) -> usize {
        self.graph.read_only().channels().len()
    }

    /// Asserts that this wallet knows all of `truth` that its format can tell, and nothing else.
    pub fn assert_knows(&self, truth: &Truth) {
        assert_eq!(self.difference(truth), None);
    }

    /// The first thing that this wallet does not know as it is.
    pub fn difference(&self, truth: &Truth) -> Option<String> {
        let version = self.version;
        let mut channels = truth.channels.clone();
        if version == Version::V1 {
            channels.values_mut().for_each(|channel| channel.capacity_sat = None);
        }
        let nodes = match version {
            Version::V1 => BTreeMap::new(),
            Version::V2 => truth.node_ids().into_iter().map(|id| (id, truth.nodes[&id].clone())).collect(),
        };
        let channel = first_difference(&self.channels(), &channels);
        let node = || first_difference(&self.nodes(), &nodes);
        channel.or_else(node).map(|difference| format!("{version:?}, {difference}"))
    }

    fn channels(&self) -> BTreeMap<u64, Channel> {
        let graph = self.graph.read_only();
        let channels = graph.channels().unordered_iter().map(|(scid, read)| {
            let policies = [&read.one_to_two, &read.two_to_one].map(|read| read.as_ref().map(Policy::from));
            let nodes = [read.node_one, read.node_two];
            (*scid, Channel { nodes, capacity_sat: read.capacity_sats, policies })
        });
        channels.collect()
    }

    fn nodes(&self) -> BTreeMap<NodeId, Details> {
        let graph = self.graph.read_only();
        let nodes = graph.nodes().unordered_iter().filter_map(|(id, read)| {
            let told = read.announcement_info.as_ref()?;
            let features = told.features().le_flags().to_vec();
            Some((*id, Details { features, addresses: told.addresses().to_vec() }))
        });
        nodes.collect()
    }
}

/// One difference says enough; nobody reads two networks.
fn first_difference<K, V>(read: &BTreeMap<K, V>, truth: &BTreeMap<K, V>) -> Option<String>
where
    K: Ord + std::fmt::Debug,
    V: PartialEq + std::fmt::Debug,
{
    let wrong = truth.iter().find(|(key, value)| read.get(key) != Some(value));
    let wrong = wrong.map(|(key, value)| format!("{key:?} is {value:?}, but was read as {:?}", read.get(key)));
    let surplus = || read.keys().find(|key| !truth.contains_key(key));
    wrong.or_else(|| surplus().map(|key| format!("{key:?} does not exist, but was read")))
}

/// The client's own log: the assertions say all there is to say.
struct Quiet;

impl Logger for Quiet {
    fn log(&self, _record: Record) {}
}

impl std::ops::Deref for Quiet {
    type Target = Self;

    fn deref(&self) -> &Self {
        self
    }
}
