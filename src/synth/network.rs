//! A network whose every message is signed by the right keys, and which changes as the real one does.
//!
//! Owns the truth: which channels there are and what each direction charges, and the signed messages that say so.
//! Promises that the same seed, topology and clock give the same bytes, and that LDK accepts every message. Reads no
//! clock and does no I/O; signing a whole network uses all cores.

use anyhow::{Context, ensure};
use bitcoin::ScriptBuf;
use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::{PublicKey, SecretKey};
use bytes::Bytes;
use lightning::ln::chan_utils::make_funding_redeemscript;
use lightning::routing::gossip::NodeId;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::keys::{self, Purpose};
use super::topology::{Topology, TopologyChannel};
use super::traffic::Traffic;
use super::{place, shape, wire};
use crate::gossip::{Direction, Policy, ShortChannelId, UnixMs};

/// Everything about a network that is not its shape.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkSpec {
    /// Decides all keys, places in the chain and later changes.
    pub seed: u64,
    pub chain: bitcoin::Network,
    /// Height of the first block with a channel.
    pub first_height: u32,
    /// How many transactions each block holds, the coinbase included; at least 4.
    pub transactions_per_block: u32,
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self { seed: 1, chain: bitcoin::Network::Regtest, first_height: 100, transactions_per_block: 12 }
    }
}

/// A node: its keys, and what it last told of itself.
#[derive(Clone, Debug)]
pub struct Node {
    pub secret: SecretKey,
    pub id: NodeId,
    pub timestamp: u32,
    /// The signed `node_announcement`.
    pub announcement: Bytes,
}

/// A channel as it stands: what is in its newest messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Channel {
    pub scid: ShortChannelId,
    /// Indexes, among the network's nodes, of `node_id_1` and `node_id_2`.
    pub nodes: [u32; 2],
    pub node_ids: [NodeId; 2],
    /// `bitcoin_key_1` and `bitcoin_key_2`.
    pub funding_keys: [PublicKey; 2],
    pub capacity_sat: u64,
    /// By [`Direction`], as are the two below.
    pub policies: [Policy; 2],
    pub timestamps: [u32; 2],
    /// The signed `channel_update`s.
    pub updates: [Bytes; 2],
    /// The signed `channel_announcement`.
    pub announcement: Bytes,
}

impl Channel {
    /// The announcement and both updates.
    pub fn messages(&self) -> [Bytes; 3] {
        [self.announcement.clone(), self.updates[0].clone(), self.updates[1].clone()]
    }

    /// The script of the funding output (BOLT 3: P2WSH of a 2-of-2).
    pub fn funding_script(&self) -> ScriptBuf {
        self.witness_script().to_p2wsh()
    }

    /// What a spend of the funding output reveals (BOLT 3: a 2-of-2).
    pub fn witness_script(&self) -> ScriptBuf {
        make_funding_redeemscript(&self.funding_keys[0], &self.funding_keys[1])
    }
}

/// See the module's head.
pub struct Network {
    spec: NetworkSpec,
    nodes: Vec<Node>,
    /// In ascending order of their short channel ids, which is also the topology's order.
    channels: Vec<Channel>,
    traffic: Traffic,
    rng: ChaCha8Rng,
}

impl Network {
    /// Gives `topology` keys, places in the chain and signatures. Its messages' timestamps lie in the twelve hours
    /// before `now`.
    pub fn new(topology: &Topology, spec: NetworkSpec, now: UnixMs) -> anyhow::Result<Self> {
        check(topology, &spec)?;
        let now = seconds(now);
        let mut rng = keys::rng(spec.seed, 0);
        let nodes: Vec<Node> = (0..topology.nodes).into_par_iter().map(|i| node(&spec, i, now)).collect();
        let places = place::in_blocks(&mut rng, topology.channels.len(), &spec)?;
        let signer = Signer { spec: &spec, nodes: &nodes };
        let channels: Vec<Channel> = topology
            .channels
            .par_iter()
            .zip(places)
            .enumerate()
            .map(|(i, (shape, scid))| {
                let mut rng = keys::rng(spec.seed, 1 + i as u64);
                signer.channel(i, shape, scid, [recently(&mut rng, now), recently(&mut rng, now)])
            })
            .collect();
        let traffic = Traffic::new(&mut rng, &channels);
        Ok(Self { spec, nodes, channels, traffic, rng })
    }

    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    pub fn chain_hash(&self) -> ChainHash {
        ChainHash::using_genesis_block_const(self.spec.chain)
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// In ascending order of their short channel ids, which is also the topology's order.
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Where this channel is in [`Network::channels`].
    pub fn index_of(&self, scid: ShortChannelId) -> Option<usize> {
        self.channels.binary_search_by_key(&scid, |channel| channel.scid).ok()
    }

    /// Height of the newest channel's block.
    pub fn last_height(&self) -> u32 {
        self.channels.last().map_or(self.spec.first_height, |channel| channel.scid.height())
    }

    /// Every current message, in the order in which Core Lightning stores them: each channel's announcement and its
    /// two updates, and a node's announcement as soon as one of its channels is announced.
    pub fn dump(&self) -> Vec<Bytes> {
        self.dump_where(|_| true)
    }

    /// The same for the channels that `keep` names, and their nodes.
    pub fn dump_where(&self, mut keep: impl FnMut(&Channel) -> bool) -> Vec<Bytes> {
        let mut told = vec![false; self.nodes.len()];
        let mut messages = Vec::with_capacity(3 * self.channels.len() + self.nodes.len());
        for channel in self.channels.iter().filter(|channel| keep(channel)) {
            messages.extend(channel.messages());
            for node in channel.nodes.map(|node| node as usize) {
                if !std::mem::replace(&mut told[node], true) {
                    messages.push(self.nodes[node].announcement.clone());
                }
            }
        }
        messages
    }

    /// Something happens: one direction of a channel changes its fee or, half of the time, repeats what it said.
    /// Busy channels come up more often. The signed update is newer than that direction's last.
    pub fn next_update(&mut self, now: UnixMs) -> Bytes {
        let now = seconds(now);
        let (index, direction) = self.traffic.pick(&mut self.rng, &self.channels, now);
        let channel = &self.channels[index];
        let mut policy = channel.policies[direction as usize];
        if self.rng.random() {
            policy.fee_proportional_millionths = another_fee(&mut self.rng, policy.fee_proportional_millionths);
        }
        let timestamp = now.max(channel.timestamps[direction as usize].saturating_add(1));
        self.set_policy(index, direction, policy, timestamp)
    }

    /// A node speaks up again, with new details of itself.
    pub fn next_node_announcement(&mut self, now: UnixMs) -> Bytes {
        let index = self.rng.random_range(0..self.nodes.len());
        let timestamp = seconds(now).max(self.nodes[index].timestamp.saturating_add(1));
        let details = wire::Details::draw(&mut self.rng);
        self.announce_node(index, &details, timestamp)
    }

    /// Makes a node say this of itself: features as BOLT 9 has them, big-endian, and address descriptors (BOLT 7), one
    /// after the other. Neither is looked at.
    ///
    /// # Panics
    /// If there is no node `index`.
    pub fn set_node(&mut self, index: usize, features: &[u8], addresses: &[u8], timestamp: u32) -> Bytes {
        let details = wire::Details { features: features.into(), colour: [0; 3], addresses: addresses.into() };
        self.announce_node(index, &details, timestamp)
    }

    fn announce_node(&mut self, index: usize, details: &wire::Details, timestamp: u32) -> Bytes {
        let node = &mut self.nodes[index];
        node.timestamp = timestamp;
        node.announcement = wire::node_announcement(details, &node.secret, node.id, timestamp);
        node.announcement.clone()
    }

    /// Makes this the channel's policy in this direction, whatever it was, and signs it.
    ///
    /// # Panics
    /// If there is no channel `index`.
    pub fn set_policy(&mut self, index: usize, direction: Direction, policy: Policy, timestamp: u32) -> Bytes {
        let update = self.sign_policy(index, direction, &policy, timestamp);
        let channel = &mut self.channels[index];
        channel.policies[direction as usize] = policy;
        channel.timestamps[direction as usize] = timestamp;
        channel.updates[direction as usize] = update.clone();
        update
    }

    /// Signs an update for a channel without making it the truth: for updates that must not be believed.
    ///
    /// # Panics
    /// If there is no channel `index`.
    pub fn sign_policy(&self, index: usize, direction: Direction, policy: &Policy, timestamp: u32) -> Bytes {
        let signer = Signer { spec: &self.spec, nodes: &self.nodes };
        let channel = &self.channels[index];
        signer.update(channel.scid, direction, policy, timestamp, channel.nodes)
    }

    /// Opens a channel between two random nodes, in the block at `height`: that of the last channel or a later one.
    /// Its index is the highest; its updates are of this very second.
    pub fn add_channel(&mut self, height: u32, now: UnixMs) -> anyhow::Result<&Channel> {
        let count = self.nodes.len() as u32;
        let a = self.rng.random_range(0..count);
        let b = (a + self.rng.random_range(1..count)) % count;
        let mut shape = shape::channel(&mut self.rng, [a, b]);
        shape.policies.iter_mut().for_each(|policy| policy.enabled = true);
        self.add_channel_like(&shape, height, now)
    }

    /// The same, with everything given.
    pub fn add_channel_like(
        &mut self,
        shape: &TopologyChannel,
        height: u32,
        now: UnixMs,
    ) -> anyhow::Result<&Channel> {
        check_channel(shape, self.nodes.len())?;
        let last = self.channels.last().map(|channel| channel.scid);
        let scid = place::after(last, height, self.spec.transactions_per_block)?;
        let signer = Signer { spec: &self.spec, nodes: &self.nodes };
        let index = self.channels.len();
        let channel = signer.channel(index, shape, scid, [seconds(now); 2]);
        self.traffic.add(index, &channel);
        self.channels.push(channel);
        Ok(&self.channels[index])
    }

    /// What an impostor would say: a well-signed announcement and updates for the short channel id of channel
    /// `index`, by keys that have nothing to do with this network or its chain.
    ///
    /// # Panics
    /// If there is no channel `index`.
    pub fn rival(&self, index: usize, impostor: u64) -> [Bytes; 3] {
        let real = &self.channels[index];
        let secret = |purpose, end| keys::secret(self.spec.seed, purpose, 2 * impostor + end);
        let mut nodes = [0, 1].map(|end| secret(Purpose::RivalNode, end));
        nodes.sort_by_key(keys::id);
        let funding = [0, 1].map(|end| secret(Purpose::RivalFunding, end));
        let end = |i: usize| wire::End {
            node: &nodes[i],
            id: keys::id(&nodes[i]),
            funding: &funding[i],
            funding_key: keys::public(&funding[i]),
        };
        let announcement = wire::channel_announcement(self.chain_hash(), real.scid, [end(0), end(1)]);
        let [one, two] = Direction::BOTH.map(|direction| {
            let at = direction as usize;
            let (policy, timestamp) = (&real.policies[at], real.timestamps[at]);
            wire::channel_update(self.chain_hash(), real.scid, direction, policy, timestamp, &nodes[at])
        });
        [announcement, one, two]
    }
}

/// Signs for the nodes of a network.
struct Signer<'a> {
    spec: &'a NetworkSpec,
    nodes: &'a [Node],
}

impl Signer<'_> {
    fn chain(&self) -> ChainHash {
        ChainHash::using_genesis_block_const(self.spec.chain)
    }

    fn channel(&self, index: usize, shape: &TopologyChannel, scid: ShortChannelId, timestamps: [u32; 2]) -> Channel {
        let id = |node: u32| self.nodes[node as usize].id;
        let (mut nodes, mut policies) = (shape.nodes, shape.policies);
        if id(nodes[0]) > id(nodes[1]) {
            nodes.reverse();
            policies.reverse();
        }
        let funding = [0, 1].map(|end| keys::secret(self.spec.seed, Purpose::Funding, 2 * index as u64 + end));
        let funding_keys = [keys::public(&funding[0]), keys::public(&funding[1])];
        let end = |i: usize| {
            let node = &self.nodes[nodes[i] as usize];
            wire::End { node: &node.secret, id: node.id, funding: &funding[i], funding_key: funding_keys[i] }
        };
        let announcement = wire::channel_announcement(self.chain(), scid, [end(0), end(1)]);
        let updates = Direction::BOTH.map(|direction| {
            let at = direction as usize;
            self.update(scid, direction, &policies[at], timestamps[at], nodes)
        });
        Channel {
            scid,
            nodes,
            node_ids: nodes.map(id),
            funding_keys,
            capacity_sat: shape.capacity_sat,
            policies,
            timestamps,
            updates,
            announcement,
        }
    }

    fn update(
        &self,
        scid: ShortChannelId,
        direction: Direction,
        policy: &Policy,
        timestamp: u32,
        nodes: [u32; 2],
    ) -> Bytes {
        let node = &self.nodes[nodes[direction as usize] as usize];
        wire::channel_update(self.chain(), scid, direction, policy, timestamp, &node.secret)
    }
}

fn node(spec: &NetworkSpec, index: u32, now: u32) -> Node {
    let secret = keys::secret(spec.seed, Purpose::Node, index.into());
    let id = keys::id(&secret);
    // The streams above all channels' belong to the nodes.
    let mut rng = keys::rng(spec.seed, (1 << 32) + u64::from(index));
    let timestamp = recently(&mut rng, now);
    let details = wire::Details::draw(&mut rng);
    Node { secret, id, timestamp, announcement: wire::node_announcement(&details, &secret, id, timestamp) }
}

fn recently(rng: &mut ChaCha8Rng, now: u32) -> u32 {
    now.saturating_sub(rng.random_range(60..12 * 3600))
}

/// Up to half or double, and never the same.
fn another_fee(rng: &mut ChaCha8Rng, fee: u32) -> u32 {
    let step = rng.random_range(1..=fee / 2 + 10);
    if rng.random() && step <= fee { fee - step } else { fee.saturating_add(step).min(1_000_000) }
}

fn seconds(time: UnixMs) -> u32 {
    u32::try_from(time.0 / 1000).unwrap_or(u32::MAX)
}

fn check(topology: &Topology, spec: &NetworkSpec) -> anyhow::Result<()> {
    ensure!(!topology.channels.is_empty(), "a network needs at least one channel");
    ensure!(spec.transactions_per_block >= 4, "a block needs at least 4 transactions");
    for (i, channel) in topology.channels.iter().enumerate() {
        check_channel(channel, topology.nodes as usize).with_context(|| format!("channel {i} of the topology"))?;
    }
    Ok(())
}

fn check_channel(channel: &TopologyChannel, nodes: usize) -> anyhow::Result<()> {
    let [a, b] = channel.nodes;
    ensure!(a != b, "has node {a} at both ends");
    ensure!((a.max(b) as usize) < nodes, "names node {}, but there are {nodes}", a.max(b));
    Ok(())
}

#[cfg(test)]
mod tests;
