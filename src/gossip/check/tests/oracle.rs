//! LDK as the oracle: on generated, mutated and reordered traffic, what its `P2PGossipSync` accepts we accept, and
//! what it refuses we refuse. The exceptions are the limits that LDK lacks: [`stricter_than_ldk`] names them.

use std::sync::Arc;

use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning::ln::msgs::{RoutingMessageHandler, UnsignedChannelAnnouncement};
use lightning::routing::gossip::{NetworkGraph, P2PGossipSync};
use lightning::routing::utxo::UtxoLookup;
use lightning::util::logger::{Logger, Record};
use lightning::util::ser::Writeable;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::gossip::{Clock, Policy, SystemClock};

struct Quiet;

impl Logger for Quiet {
    fn log(&self, _record: Record) {}
}

type Oracle = P2PGossipSync<Arc<NetworkGraph<Arc<Quiet>>>, Arc<dyn UtxoLookup + Send + Sync>, Arc<Quiet>>;

fn oracle() -> (Oracle, Arc<NetworkGraph<Arc<Quiet>>>) {
    let graph = Arc::new(NetworkGraph::new(bitcoin::Network::Regtest, Arc::new(Quiet)));
    (P2PGossipSync::new(Arc::clone(&graph), None, Arc::new(Quiet)), graph)
}

fn ldk_accepts(oracle: &Oracle, message: &Gossip) -> bool {
    match message {
        Gossip::Channel(m) => oracle.handle_channel_announcement(None, m).is_ok(),
        Gossip::Update(m) => oracle.handle_channel_update(None, m).is_ok(),
        Gossip::Node(m) => oracle.handle_node_announcement(None, m).is_ok(),
    }
}

/// Where we refuse what LDK accepts, on purpose.
fn stricter_than_ldk(refusal: Refusal) -> bool {
    match refusal {
        // BOLT 7 asks for ascending node ids, and official clients drop a whole snapshot for less.
        Refusal::NodesOutOfOrder
        // A journal keeps what LDK only does not relay.
        | Refusal::ExcessData
        // What a peer without a bitcoind behind it may claim, and what a direction may say in a short time.
        | Refusal::UnprovenTooFast | Refusal::NetworkFull | Refusal::Superseded => true,
        _ => false,
    }
}

/// True, odd, false and broken messages about one network.
struct Traffic {
    network: Network,
    rng: ChaCha8Rng,
    now: UnixMs,
}

impl Traffic {
    fn new(seed: u64, now: UnixMs) -> Self {
        let spec = NetworkSpec { seed, ..NetworkSpec::default() };
        let network = Network::new(&Topology::generate(25, seed), spec, now).expect("a valid network");
        Self { network, rng: ChaCha8Rng::seed_from_u64(seed), now }
    }

    fn messages(mut self) -> Vec<Gossip> {
        let mut all = self.network.dump();
        for _ in 0..60 {
            let more = self.odd_message(&all);
            all.push(more);
        }
        let mutated: Vec<_> = (0..80).map(|_| self.flipped(&all)).collect();
        all.extend(mutated);
        let repeated: Vec<_> = all.sample(&mut self.rng, 40).cloned().collect();
        all.extend(repeated);
        // Mostly in order, as on a live network, with a good many out of place.
        for _ in 0..all.len() / 4 {
            let (a, b) = (self.rng.random_range(0..all.len()), self.rng.random_range(0..all.len()));
            all.swap(a, b);
        }

        all.iter().filter_map(|bytes| Gossip::from_wire(bytes).ok()).collect()
    }

    fn odd_message(&mut self, all: &[Bytes]) -> Bytes {
        let index = self.rng.random_range(0..self.network.channels().len());
        let direction = Direction::BOTH[self.rng.random_range(0..2)];
        let policy = self.network.channels()[index].policies[direction as usize];
        let (now, day) = (self.now.secs(), 86_400);
        match self.rng.random_range(0..9) {
            0 => self.network.next_update(self.now),
            1 => self.network.next_node_announcement(self.now),
            2 => self.network.rival(index, 1)[self.rng.random_range(0..3)].clone(),
            3 => self.network.sign_policy(index, direction, &policy, now - 15 * day),
            4 => self.network.sign_policy(index, direction, &policy, now + 2 * day),
            5 => self.network.sign_policy(index, direction, &Policy { htlc_maximum_msat: u64::MAX, ..policy }, now),
            6 => self.network.sign_policy(index, direction, &Policy { fee_base_msat: u32::MAX, ..policy }, now),
            7 => all.choose(&mut self.rng).cloned().expect("a network has messages"),
            _ => self.strange_announcement(),
        }
    }

    /// Well signed, but with equal or descending keys, or much excess.
    fn strange_announcement(&mut self) -> Bytes {
        let key = |n: u8| SecretKey::from_slice(&[n; 32]).expect("a valid key");
        let secp = Secp256k1::new();
        let id = |n: u8| NodeId::from_pubkey(&key(n).public_key(&secp));
        let mut nodes = [1, 2];
        nodes.sort_by_key(|n| id(*n));
        let mut funding = [3, 4];
        let mut excess_data = Vec::new();
        match self.rng.random_range(0..5) {
            0 => nodes = [nodes[0]; 2],
            1 => nodes.reverse(),
            2 => funding = [3; 2],
            3 => excess_data = vec![7; 1025],
            _ => excess_data = vec![7; 1024],
        }
        let contents = UnsignedChannelAnnouncement {
            features: lightning::types::features::ChannelFeatures::empty(),
            chain_hash: ChainHash::REGTEST,
            short_channel_id: self.rng.random_range(1..1000) << 40,
            node_id_1: id(nodes[0]),
            node_id_2: id(nodes[1]),
            bitcoin_key_1: id(funding[0]),
            bitcoin_key_2: id(funding[1]),
            excess_data,
        };
        let digest = bitcoin::hashes::Hash::hash(&contents.encode());
        let digest: bitcoin::hashes::sha256d::Hash = digest;
        let digest = bitcoin::secp256k1::Message::from_digest(*bitcoin::hashes::Hash::as_byte_array(&digest));
        let sign = |n: u8| secp.sign_ecdsa(&digest, &key(n));
        let message = msgs::ChannelAnnouncement {
            node_signature_1: sign(nodes[0]),
            node_signature_2: sign(nodes[1]),
            bitcoin_signature_1: sign(funding[0]),
            bitcoin_signature_2: sign(funding[1]),
            contents,
        };
        [&ChannelAnnouncement::TYPE.to_be_bytes()[..], &message.encode()].concat().into()
    }

    fn flipped(&mut self, all: &[Bytes]) -> Bytes {
        let mut bytes = all.choose(&mut self.rng).expect("a network has messages").to_vec();
        let bit = self.rng.random_range(16..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes.into()
    }
}

#[test]
fn what_ldk_accepts_we_accept_and_what_it_refuses_we_refuse() {
    let now = SystemClock.now(); // LDK holds updates against it
    let (mut accepted, mut refused, mut stricter) = (0, 0, 0);
    for seed in 0..40 {
        let (oracle, _graph) = oracle();
        let mut checker = Checker::new(rules(false));
        for (n, message) in Traffic::new(seed, now).messages().into_iter().enumerate() {
            let before = checker.tally().clone();
            let said = format!("seed {seed}, message {n}: {message:?}");
            let ldk = ldk_accepts(&oracle, &message);
            let ours = checker.check(now, vec![Heard { peer: peer(2), message }]).facts.len() == 1;
            let why = Refusal::ALL.into_iter().find(|r| checker.tally().refused_for(*r) > before.refused_for(*r));
            match (ldk, ours) {
                (true, true) => accepted += 1,
                (false, false) => refused += 1,
                (true, false) if why.is_some_and(stricter_than_ldk) => {
                    stricter += 1;
                    break; // from here on, the two know different networks
                }
                _ => panic!("LDK {ldk}, ours {ours} ({why:?}): {said}"),
            }
        }
    }
    assert!(accepted > 1500 && refused > 1500 && stricter > 3, "{accepted} {refused} {stricter}");
}

#[test]
fn batches_of_any_size_end_with_the_graph_that_ldk_has() {
    let now = SystemClock.now();
    for seed in 100..110 {
        let (oracle, graph) = oracle();
        let mut checker = Checker::new(rules(false));
        let mut traffic = Traffic::new(seed, now);
        let mut messages = traffic.network.dump();
        messages.extend((0..100).map(|_| traffic.network.next_update(now)));
        let rival = traffic.network.rival(3, 2);
        messages.extend(rival);
        messages.shuffle(&mut traffic.rng);
        let mut messages = heard(messages);
        for heard in &messages {
            ldk_accepts(&oracle, &heard.message);
        }
        while !messages.is_empty() {
            let many = traffic.rng.random_range(1..=messages.len().min(50));
            let batch = messages.drain(..many).collect();
            checker.check(now, batch);
        }
        let graph = graph.read_only();
        assert_eq!(checker.channel_count(), graph.channels().len());
        for (scid, info) in graph.channels().unordered_iter() {
            let known = checker.known.channel(ShortChannelId(*scid)).expect("LDK has it");
            assert_eq!(known.nodes, [info.node_one, info.node_two]);
            let timestamps = [&info.one_to_two, &info.two_to_one].map(|d| d.as_ref().map_or(0, |d| d.last_update));
            assert_eq!(known.directions.map(|d| d.timestamp), timestamps, "{scid}");
        }
        for (id, node) in graph.nodes().unordered_iter() {
            let timestamp = node.announcement_info.as_ref().map(|info| info.last_update());
            assert_eq!(checker.known.node_timestamp(id), timestamp);
        }
    }
}
